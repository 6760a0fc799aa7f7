//! Puts the replies of several shards together into one, without decoding them into values.
//!
//! A line that touches several shards gets one encoded reply from each. Its elements are found by walking over the
//! headers, and are moved as bytes, the large ones by reference.
//!
//! Invariants:
//! - The bytes were written by [`Reply`] on a core of this process. That they are malformed is a broken
//!   invariant, not an input error, and panics.
//! - All parts are in the dialect of the reply that they become part of.

use std::ops::Range;

use crate::base::number::parse_i64;

use super::output::Output;
use super::reply::Reply;

/// One encoded element, with all that belongs to it, within an output.
#[derive(Clone, Debug)]
pub struct Encoded<'a> {
    out: &'a Output,
    range: Range<usize>,
}

/// The header of an element.
struct Header {
    kind: u8,
    /// The number behind the type where there is one.
    number: i64,
    /// The position behind the header.
    end: usize,
}

impl<'a> Encoded<'a> {
    /// The element that begins at `at` of what is to be sent of `out`; `None` at its end.
    pub fn at(out: &'a Output, at: usize) -> Option<Encoded<'a>> {
        (at < out.len()).then(|| Encoded {
            out,
            range: at..element_end(out, at),
        })
    }

    /// The element that makes up all of `out`, or its first.
    pub fn first(out: &'a Output) -> Option<Encoded<'a>> {
        Encoded::at(out, 0)
    }

    /// All elements of `out`, one after the other.
    pub fn all(out: &'a Output) -> impl Iterator<Item = Encoded<'a>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let element = Encoded::at(out, at)?;
            at = element.range.end;
            Some(element)
        })
    }

    /// Where the element lies in its output.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The output that the element lies in.
    pub fn output(&self) -> &'a Output {
        self.out
    }

    /// The byte that says the element's type.
    pub fn kind(&self) -> u8 {
        header(self.out, self.range.start).kind
    }

    /// The element is an error.
    pub fn is_error(&self) -> bool {
        self.kind() == b'-'
    }

    /// The element is a null of any kind.
    pub fn is_null(&self) -> bool {
        let header = header(self.out, self.range.start);
        header.kind == b'_' || (matches!(header.kind, b'$' | b'*') && header.number == -1)
    }

    /// The value of an integer.
    pub fn int(&self) -> Option<i64> {
        let header = header(self.out, self.range.start);
        (header.kind == b':').then_some(header.number)
    }

    /// The text of an error, without the minus sign and the line end.
    pub fn error_text(&self) -> Option<&'a [u8]> {
        let header = header(self.out, self.range.start);
        let line = self.out.piece(self.range.start)?;
        (header.kind == b'-').then(|| &line[1..header.end - self.range.start - 2])
    }

    /// The bytes of a bulk or verbatim string (with its format), which are contiguous.
    pub fn text(&self) -> Option<&'a [u8]> {
        let header = header(self.out, self.range.start);
        if !matches!(header.kind, b'$' | b'=') || header.number < 0 {
            return None;
        }
        let len = header.number as usize;
        match len {
            0 => Some(&[]),
            _ => Some(&self.out.piece(header.end)?[..len]),
        }
    }

    /// The elements of an array, set or push; of a map its keys and values in turn. None has none.
    pub fn elements(&self) -> Elements<'a> {
        let header = header(self.out, self.range.start);
        let left = match header.kind {
            b'*' | b'~' | b'>' => header.number.max(0),
            b'%' => header.number * 2,
            _ => 0,
        };
        Elements {
            out: self.out,
            at: header.end,
            left: left as usize,
        }
    }

    /// The bytes of all elements, without the header.
    fn body(&self) -> Range<usize> {
        header(self.out, self.range.start).end..self.range.end
    }
}

/// The elements of an aggregate, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    out: &'a Output,
    at: usize,
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Encoded<'a>;

    fn next(&mut self) -> Option<Encoded<'a>> {
        self.left = self.left.checked_sub(1)?;
        let range = self.at..element_end(self.out, self.at);
        self.at = range.end;
        Some(Encoded {
            out: self.out,
            range,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// The first error among `parts`.
pub fn first_error<'a, 'b>(parts: &'b [Encoded<'a>]) -> Option<&'b Encoded<'a>> {
    parts.iter().find(|part| part.is_error())
}

/// Replies the sum of integers (DEL, EXISTS, UNLINK, TOUCH, DBSIZE), or the first error.
pub fn sum(reply: &mut Reply<'_>, parts: &[Encoded<'_>]) {
    if let Some(error) = first_error(parts) {
        return reply.encoded(error);
    }
    let sum = parts.iter().fold(0i64, |sum, part| {
        let value = part.int().expect("a part of a sum is an integer");
        sum.saturating_add(value)
    });
    reply.int(sum);
}

/// Replies one array of the elements of all parts (KEYS), or the first error.
pub fn concat(reply: &mut Reply<'_>, parts: &[Encoded<'_>]) {
    if let Some(error) = first_error(parts) {
        return reply.encoded(error);
    }
    reply.array(parts.iter().map(|part| part.elements().len()).sum());
    for part in parts {
        reply.output().append_range(part.out, part.body());
    }
}

/// Replies one array of `len` elements (MGET): each part is an array, and its places say where each of its elements
/// goes. Places are distinct and below `len`. Replies the first error instead, if there is one.
pub fn interleave(reply: &mut Reply<'_>, len: usize, parts: &[(Encoded<'_>, &[u32])]) {
    if let Some((error, _)) = parts.iter().find(|(part, _)| part.is_error()) {
        return reply.encoded(error);
    }
    let mut placed: Vec<Option<Encoded<'_>>> = vec![None; len];
    for (part, places) in parts {
        let elements = part.elements();
        assert_eq!(elements.len(), places.len(), "each element has its place");
        for (element, place) in elements.zip(*places) {
            placed[*place as usize] = Some(element);
        }
    }
    reply.array(len);
    for element in placed {
        let element = element.expect("each place has its element");
        reply.output().append_range(element.out, element.range);
    }
}

/// The header at `at`; it is contiguous, as only the payload of a bulk ever lies elsewhere.
fn header(out: &Output, at: usize) -> Header {
    let line = out.piece(at).expect("an element begins here");
    let end = memchr::memchr(b'\r', line).expect("a header has a line end");
    let kind = line[0];
    let number = match kind {
        b':' | b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => {
            parse_i64(&line[1..end]).expect("a header holds an integer")
        }
        _ => 0,
    };
    Header {
        kind,
        number,
        end: at + end + 2,
    }
}

/// The position behind the element at `at` and all that belongs to it.
fn element_end(out: &Output, at: usize) -> usize {
    let mut at = at;
    let mut missing: i64 = 1;
    while missing > 0 {
        let header = header(out, at);
        at = header.end;
        missing -= 1;
        match header.kind {
            b'$' | b'=' | b'!' if header.number >= 0 => at += header.number as usize + 2,
            b'*' | b'~' | b'>' => missing += header.number.max(0),
            b'%' => missing += header.number * 2,
            // The element that the attributes belong to follows them.
            b'|' => missing += header.number * 2 + 1,
            _ => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::resp::{Proto, SHARED_BYTES_MIN};

    fn written(write: impl FnOnce(&mut Reply<'_>)) -> Output {
        let mut out = Output::new();
        write(&mut Reply::new(&mut out, Proto::Resp3));
        out
    }

    fn large(byte: u8) -> Bytes {
        Bytes::from(vec![byte; SHARED_BYTES_MIN])
    }

    #[test]
    fn elements_of_every_type_are_found() {
        let large = large(b'x');
        let out = written(|reply| {
            reply.map(1);
            reply.bulk_shared(&large);
            reply.set(2);
            reply.int(1);
            reply.null();
            reply.attribute(1);
            reply.simple("popularity");
            reply.double(0.5);
            reply.verbatim("txt", b"a\r\nb");
            reply.error("ERR no");
            reply.null_array();
            reply.boolean(true);
            reply.big_number("12345");
            reply.bulk(b"");
        });
        let all: Vec<_> = Encoded::all(&out).collect();
        let kinds: Vec<u8> = all.iter().map(Encoded::kind).collect();
        assert_eq!(kinds, b"%|-_#($");
        assert_eq!(all[0].elements().len(), 2);
        assert_eq!(all[0].elements().next().unwrap().text(), Some(&large[..]));
        assert_eq!(all[2].error_text(), Some(&b"ERR no"[..]));
        assert!(all[3].is_null());
        assert_eq!(all[6].text(), Some(&b""[..]));
        assert_eq!(all.last().unwrap().range().end, out.len());
    }

    #[test]
    fn sums_add_up_unless_there_is_an_error() {
        let outputs = [
            written(|reply| reply.int(2)),
            written(|reply| reply.int(40)),
        ];
        let parts: Vec<_> = outputs.iter().filter_map(Encoded::first).collect();
        assert_eq!(written(|reply| sum(reply, &parts)).to_vec(), b":42\r\n");
        let failed = written(|reply| reply.error("ERR no"));
        let parts = [parts[0].clone(), Encoded::first(&failed).unwrap()];
        let out = written(|reply| {
            sum(reply, &parts);
            assert_eq!(reply.error_code(), Some(&b"ERR"[..]));
        });
        assert_eq!(out.to_vec(), b"-ERR no\r\n");
    }

    #[test]
    fn arrays_are_joined_and_interleaved() {
        let one = written(|reply| {
            reply.array(2);
            reply.bulk(b"a");
            reply.bulk_shared(&large(b'c'));
        });
        let two = written(|reply| {
            reply.array(2);
            reply.bulk_shared(&large(b'd'));
            reply.null();
        });
        let empty = written(|reply| reply.empty_array());
        let parts: Vec<_> = [&one, &empty, &two]
            .into_iter()
            .filter_map(Encoded::first)
            .collect();
        let expect = |order: &[u8]| {
            written(|reply| {
                reply.array(4);
                for byte in order {
                    match byte {
                        b'a' => reply.bulk(b"a"),
                        b'_' => reply.null(),
                        _ => reply.bulk(&large(*byte)),
                    }
                }
            })
            .to_vec()
        };
        assert_eq!(
            written(|reply| concat(reply, &parts)).to_vec(),
            expect(b"acd_")
        );
        let placed = [
            (parts[0].clone(), &[2, 0][..]),
            (parts[2].clone(), &[3, 1][..]),
        ];
        assert_eq!(
            written(|reply| interleave(reply, 4, &placed)).to_vec(),
            expect(b"c_ad")
        );
    }
}
