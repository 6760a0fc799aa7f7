//! Writes replies into an [`Output`], in the dialect that the client chose.
//!
//! Invariants:
//! - Each call writes one whole element, or the header of one whose elements follow. The caller writes as many as
//!   it announced.
//! - RESP2 has no maps, sets, pushes, doubles, booleans, big numbers or verbatim strings: each falls back to what
//!   Redis sends such a client.
//! - Nothing allocates but the output's own growth.

use bytes::Bytes;

use crate::base::extended::Extended;
use crate::base::number::{format_f64, i64_len, push_i64, push_u64};

use super::merge::Encoded;
use super::output::{Mark, Output, SHARED_BYTES_MIN};

/// The protocol that a client speaks; RESP2 until it says `HELLO 3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// Redis's protocol up to version 5.
    #[default]
    Resp2,
    /// With types for maps, sets, doubles and more, and with pushes.
    Resp3,
}

impl Proto {
    /// The number as HELLO names it.
    pub fn number(self) -> i64 {
        match self {
            Proto::Resp2 => 2,
            Proto::Resp3 => 3,
        }
    }
}

/// Writes one line's reply. Lives on the core that executes the line, for as long as that takes.
pub struct Reply<'a> {
    out: &'a mut Output,
    proto: Proto,
    begin: Mark,
    /// Where the first error of this reply begins, behind its minus sign.
    error_at: Option<Mark>,
}

impl<'a> Reply<'a> {
    /// A reply that goes behind what `out` holds.
    #[inline]
    pub fn new(out: &'a mut Output, proto: Proto) -> Reply<'a> {
        let begin = out.mark();
        Reply {
            out,
            proto,
            begin,
            error_at: None,
        }
    }

    /// The protocol that the client speaks.
    #[inline]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// The client speaks RESP3.
    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.proto == Proto::Resp3
    }

    /// Changes the dialect of what follows (HELLO answers in the new one).
    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// The output, for bytes that are encoded already.
    #[inline]
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    /// Nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.out.mark() == self.begin
    }

    /// Removes all that was written through this `Reply`.
    pub fn rewind(&mut self) {
        self.out.truncate(self.begin);
        self.error_at = None;
    }

    /// An error was written, at the top or as an element.
    #[inline]
    pub fn has_error(&self) -> bool {
        self.error_at.is_some()
    }

    /// The text of the first error that was written, without the minus sign and the line end.
    pub fn error_text(&self) -> Option<&[u8]> {
        let text = self.out.bytes_from(self.error_at?);
        Some(&text[..memchr::memchr(b'\r', text).unwrap_or(text.len())])
    }

    /// The code of the first error that was written: its first word (`ERR`, `WRONGTYPE`).
    pub fn error_code(&self) -> Option<&[u8]> {
        let text = self.error_text()?;
        Some(&text[..memchr::memchr(b' ', text).unwrap_or(text.len())])
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend(b"+OK\r\n");
    }

    /// A simple string; `text` has no line end.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        let bytes = self.out.buffer();
        bytes.reserve(text.len() + 3);
        bytes.push(b'+');
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }

    /// An error. `text` begins with its code: `ERR no such key`. Line ends within it become spaces, those around it
    /// vanish.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let end = text
            .iter()
            .rposition(|byte| !is_line_end(byte))
            .map_or(0, |last| last + 1);
        self.out.extend(b"-");
        self.error_at.get_or_insert(self.out.mark());
        let bytes = self.out.buffer();
        bytes.reserve(end + 2);
        bytes.extend(
            text[..end]
                .iter()
                .map(|byte| if is_line_end(byte) { b' ' } else { *byte }),
        );
        bytes.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// The length of something, as an integer.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.header(b':', value as i64);
    }

    /// A binary-safe string, copied into the output.
    #[inline]
    pub fn bulk(&mut self, text: &[u8]) {
        let bytes = self.out.buffer();
        bytes.reserve(text.len() + 24);
        push_header(bytes, b'$', text.len() as i64);
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(b"\r\n");
    }

    /// A binary-safe string, by reference when it is large.
    #[inline]
    pub fn bulk_shared(&mut self, text: &Bytes) {
        if text.len() < SHARED_BYTES_MIN {
            return self.bulk(text);
        }
        self.header(b'$', text.len() as i64);
        self.out.push_shared(text.clone());
        self.out.extend(b"\r\n");
    }

    /// An integer in the form of a binary-safe string.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        let bytes = self.out.buffer();
        push_header(bytes, b'$', i64_len(value) as i64);
        push_i64(bytes, value);
        bytes.extend_from_slice(b"\r\n");
    }

    /// An integer without sign in the form of a binary-safe string.
    pub fn bulk_u64(&mut self, value: u64) {
        let mut buffer = itoa::Buffer::new();
        self.bulk(buffer.format(value).as_bytes());
    }

    /// No value where a string could be: `$-1` or `_`.
    #[inline]
    pub fn null(&mut self) {
        match self.proto {
            Proto::Resp2 => self.out.extend(b"$-1\r\n"),
            Proto::Resp3 => self.out.extend(b"_\r\n"),
        }
    }

    /// No value where an array could be: `*-1` or `_`.
    #[inline]
    pub fn null_array(&mut self) {
        match self.proto {
            Proto::Resp2 => self.out.extend(b"*-1\r\n"),
            Proto::Resp3 => self.out.extend(b"_\r\n"),
        }
    }

    /// The header of an array of `len` elements.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// An array without elements.
    #[inline]
    pub fn empty_array(&mut self) {
        self.out.extend(b"*0\r\n");
    }

    /// The header of a map of `len` pairs: in RESP2 an array of twice as many elements.
    #[inline]
    pub fn map(&mut self, len: usize) {
        match self.proto {
            Proto::Resp2 => self.header(b'*', len as i64 * 2),
            Proto::Resp3 => self.header(b'%', len as i64),
        }
    }

    /// The header of a set of `len` elements: in RESP2 an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'~' } else { b'*' }, len as i64);
    }

    /// The header of a message of `len` elements that answers no line: in RESP2 an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'>' } else { b'*' }, len as i64);
    }

    /// The header of `len` pairs of attributes of the element that follows. Only RESP3 has them: the caller leaves
    /// them out for others.
    pub fn attribute(&mut self, len: usize) {
        debug_assert!(self.is_resp3());
        self.header(b'|', len as i64);
    }

    /// A double: in RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        match self.proto {
            Proto::Resp2 => self.bulk_double(value),
            Proto::Resp3 => {
                let bytes = self.out.buffer();
                bytes.push(b',');
                format_f64(bytes, value);
                bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A double in the form of a bulk string, in either protocol.
    pub fn bulk_double(&mut self, value: f64) {
        let bytes = self.out.buffer();
        // The length is known once the text is: two digits are kept free for it and one is taken back if need be.
        let begin = bytes.len();
        bytes.extend_from_slice(b"$00\r\n");
        format_f64(bytes, value);
        let len = bytes.len() - begin - 5;
        bytes.extend_from_slice(b"\r\n");
        bytes[begin + 1] = b'0' + (len / 10) as u8;
        bytes[begin + 2] = b'0' + (len % 10) as u8;
        if len < 10 {
            bytes.remove(begin + 1);
        }
    }

    /// A number of extended precision in the form that people read (INCRBYFLOAT, GEODIST): in RESP2 a bulk string.
    pub fn long_double(&mut self, value: Extended) {
        self.double_text(value.to_string().as_bytes());
    }

    /// The text of a number as a double: in RESP2 a bulk string.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => self.typed_text(b',', text),
        }
    }

    /// A truth value: in RESP2 an integer, 1 or 0.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.out.extend(match (self.proto, value) {
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp2, false) => b":0\r\n",
            (Proto::Resp3, true) => b"#t\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
        });
    }

    /// An integer of any size, in digits: in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.proto {
            Proto::Resp2 => self.bulk(digits.as_bytes()),
            Proto::Resp3 => self.typed_text(b'(', digits.as_bytes()),
        }
    }

    /// A string with a format of three letters (`txt`, `mkd`): in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        if self.proto == Proto::Resp2 {
            return self.bulk(text);
        }
        let bytes = self.out.buffer();
        push_header(bytes, b'=', text.len() as i64 + 4);
        bytes.extend_from_slice(format.as_bytes());
        bytes.push(b':');
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(b"\r\n");
    }

    /// An element that is encoded already, in the same dialect.
    pub fn encoded(&mut self, element: &Encoded<'_>) {
        if element.is_error() && self.error_at.is_none() {
            self.error_at = Some(self.out.mark().behind(1));
        }
        self.out.append_range(element.output(), element.range());
    }

    /// An array of bulk strings.
    pub fn bulks<'b>(&mut self, texts: impl ExactSizeIterator<Item = &'b [u8]>) {
        self.array(texts.len());
        for text in texts {
            self.bulk(text);
        }
    }

    /// Begins an array whose length is known only at its end; [`Reply::end_array`] puts the header in. The
    /// elements move once for that.
    #[inline]
    pub fn begin_array(&mut self) -> Mark {
        self.out.mark()
    }

    /// Ends an array of `len` elements that began at `begin`.
    pub fn end_array(&mut self, begin: Mark, len: usize) {
        self.insert_header(begin, b'*', len);
    }

    /// Begins a map whose length is known only at its end.
    #[inline]
    pub fn begin_map(&mut self) -> Mark {
        self.out.mark()
    }

    /// Ends a map of `len` pairs that began at `begin`.
    pub fn end_map(&mut self, begin: Mark, len: usize) {
        match self.proto {
            Proto::Resp2 => self.insert_header(begin, b'*', len * 2),
            Proto::Resp3 => self.insert_header(begin, b'%', len),
        }
    }

    /// Begins a set whose length is known only at its end.
    #[inline]
    pub fn begin_set(&mut self) -> Mark {
        self.out.mark()
    }

    /// Ends a set of `len` elements that began at `begin`.
    pub fn end_set(&mut self, begin: Mark, len: usize) {
        self.insert_header(begin, if self.is_resp3() { b'~' } else { b'*' }, len);
    }

    fn insert_header(&mut self, begin: Mark, kind: u8, len: usize) {
        let mut header = [0u8; 24];
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(len).as_bytes();
        header[0] = kind;
        header[1..1 + digits.len()].copy_from_slice(digits);
        header[1 + digits.len()..3 + digits.len()].copy_from_slice(b"\r\n");
        let header = &header[..3 + digits.len()];
        self.out.insert(begin, header);
        if let Some(error) = &mut self.error_at {
            error.moved_by_insert(begin, header.len());
        }
    }

    #[inline]
    fn header(&mut self, kind: u8, number: i64) {
        push_header(self.out.buffer(), kind, number);
    }

    fn typed_text(&mut self, kind: u8, text: &[u8]) {
        let bytes = self.out.buffer();
        bytes.push(kind);
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Writes `kind`, `number` and a line end.
#[inline]
fn push_header(bytes: &mut Vec<u8>, kind: u8, number: i64) {
    if (0..10).contains(&number) {
        // The most frequent headers are four bytes, written as one piece.
        bytes.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']);
    } else if (10..100).contains(&number) {
        let (tens, ones) = (number as u8 / 10, number as u8 % 10);
        bytes.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
    } else {
        bytes.push(kind);
        if number < 0 {
            push_i64(bytes, number);
        } else {
            push_u64(bytes, number as u64);
        }
        bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write` sends in RESP2 and RESP3.
    fn check(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        for (proto, expect) in [(Proto::Resp2, resp2), (Proto::Resp3, resp3)] {
            let mut out = Output::new();
            write(&mut Reply::new(&mut out, proto));
            assert_eq!(String::from_utf8_lossy(&out.to_vec()), expect, "{proto:?}");
        }
    }

    #[test]
    fn elements_that_are_the_same_in_both_protocols() {
        let same = |write: fn(&mut Reply<'_>), expect: &str| check(write, expect, expect);
        same(|reply| reply.ok(), "+OK\r\n");
        same(|reply| reply.simple("PONG"), "+PONG\r\n");
        same(|reply| reply.int(0), ":0\r\n");
        same(|reply| reply.int(99), ":99\r\n");
        same(|reply| reply.int(-1), ":-1\r\n");
        same(|reply| reply.int(i64::MIN), ":-9223372036854775808\r\n");
        same(|reply| reply.count(100), ":100\r\n");
        same(|reply| reply.bulk(b""), "$0\r\n\r\n");
        same(|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
        same(|reply| reply.bulk(&[b'x'; 10]), "$10\r\nxxxxxxxxxx\r\n");
        same(|reply| reply.bulk_int(-10), "$3\r\n-10\r\n");
        same(
            |reply| reply.bulk_u64(u64::MAX),
            "$20\r\n18446744073709551615\r\n",
        );
        same(|reply| reply.bulk_double(1.5), "$3\r\n1.5\r\n");
        same(
            |reply| reply.bulk_double(-1.2345678901234567e-100),
            "$24\r\n-1.2345678901234567e-100\r\n",
        );
        same(|reply| reply.array(12), "*12\r\n");
        same(|reply| reply.empty_array(), "*0\r\n");
        same(
            |reply| reply.bulks([&b"a"[..], b"bc"].into_iter()),
            "*2\r\n$1\r\na\r\n$2\r\nbc\r\n",
        );
    }

    #[test]
    fn elements_that_differ() {
        check(|reply| reply.null(), "$-1\r\n", "_\r\n");
        check(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        check(|reply| reply.map(3), "*6\r\n", "%3\r\n");
        check(|reply| reply.set(3), "*3\r\n", "~3\r\n");
        check(|reply| reply.push(3), "*3\r\n", ">3\r\n");
        check(|reply| reply.double(0.1), "$3\r\n0.1\r\n", ",0.1\r\n");
        check(|reply| reply.double(3.0), "$1\r\n3\r\n", ",3\r\n");
        check(
            |reply| reply.double(f64::NEG_INFINITY),
            "$4\r\n-inf\r\n",
            ",-inf\r\n",
        );
        check(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
        check(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
        check(|reply| reply.big_number("123"), "$3\r\n123\r\n", "(123\r\n");
        check(
            |reply| reply.verbatim("txt", b"a b"),
            "$3\r\na b\r\n",
            "=7\r\ntxt:a b\r\n",
        );
        check(
            |reply| reply.long_double(Extended::from(7)),
            "$1\r\n7\r\n",
            ",7\r\n",
        );
    }

    #[test]
    fn headers_are_put_in_once_the_length_is_known() {
        let write = |reply: &mut Reply<'_>| {
            reply.ok();
            let outer = reply.begin_array();
            reply.int(1);
            let map = reply.begin_map();
            reply.bulk(b"k");
            reply.bulk_shared(&Bytes::from(vec![b'v'; SHARED_BYTES_MIN]));
            reply.end_map(map, 1);
            let set = reply.begin_set();
            reply.end_set(set, 0);
            reply.end_array(outer, 3);
        };
        let large = "v".repeat(SHARED_BYTES_MIN);
        check(
            write,
            &format!("+OK\r\n*3\r\n:1\r\n*2\r\n$1\r\nk\r\n$16384\r\n{large}\r\n*0\r\n"),
            &format!("+OK\r\n*3\r\n:1\r\n%1\r\n$1\r\nk\r\n$16384\r\n{large}\r\n~0\r\n"),
        );
    }

    #[test]
    fn errors_are_one_line_and_noticed() {
        let mut out = Output::new();
        out.extend(b"+earlier\r\n");
        let mut reply = Reply::new(&mut out, Proto::Resp2);
        assert!(reply.is_empty() && !reply.has_error());
        let outer = reply.begin_array();
        reply.int(5);
        reply.error("WRONGTYPE Operation\r\nagainst\n");
        reply.error("ERR second");
        reply.end_array(outer, 3);
        assert_eq!(reply.error_code(), Some(&b"WRONGTYPE"[..]));
        assert_eq!(
            reply.error_text(),
            Some(&b"WRONGTYPE Operation  against"[..])
        );
        assert!(!reply.is_empty());
        assert_eq!(
            reply.output().to_vec(),
            b"+earlier\r\n*3\r\n:5\r\n-WRONGTYPE Operation  against\r\n-ERR second\r\n"
        );
        reply.rewind();
        assert!(!reply.has_error() && reply.is_empty());
        reply.error("NOAUTH");
        assert_eq!(reply.error_code(), Some(&b"NOAUTH"[..]));
        assert_eq!(out.to_vec(), b"+earlier\r\n-NOAUTH\r\n");
    }
}
