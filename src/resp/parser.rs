//! Splits a client's bytes into command lines, as they arrive.
//!
//! The session reads into a buffer and calls [`Parser::next`] until it says `Incomplete`:
//!
//! ```text
//! input  |*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900000\r\nxxxxxxxx|
//!         ^at, spans of GET k            ^at stays: the unfinished line      ^ into a buffer of its own
//! ```
//!
//! Whole lines stay where they are: their arguments are spans of the input. Of an unfinished line the session keeps
//! what [`Parser::keep`] gives it, appends what it reads next, and goes on with that as input, the line at its start.
//! A large argument never passes through there: it goes into an allocation of its own, directly if the session
//! asks for it ([`Parser::feed_big`], [`Parser::big_target`]).
//!
//! Invariants:
//! - No byte is looked at twice, however the input is cut into pieces, but for the header of the next argument.
//! - The result does not depend on where the input was cut.
//! - A parser between two lines owns no memory. A large argument gets room for its announced length only when its first
//!   64 KiB have arrived, and pages that nothing arrived in are not resident.
//! - Lines, limits and error texts are those of Redis 7.2. One difference: where Redis waits for more input because
//!   a zero byte hides the line end from it, this parser sees the line end.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::base::number::parse_i64;

use super::inline;
use super::line::{BIG_ARGUMENT_BYTES_MIN, Line, Span};

/// The longest inline line, and the longest line that announces a length.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments in a line before the client is known.
const UNAUTHENTICATED_MULTIBULK_MAX: i64 = 10;
/// The longest argument before the client is known.
const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16 * 1024;
/// A large argument's buffer begins with room for this many bytes, if it is at least that large. When so many have
/// arrived it gets its whole announced length: pages that were not received into are not resident, and a longer
/// staircase would copy many megabytes within one turn.
const BIG_RESERVE_BYTES_MIN: usize = 64 << 10;
/// Scratch space for more spans than that is given back after use.
const KEPT_SPANS_MAX: usize = 16 * 1024;

/// What a client may send. Lives in the session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest inline line, and the longest line that announces a length.
    pub inline_bytes_max: usize,
    /// The most arguments in a line.
    pub multibulk_max: i64,
    /// The longest argument. Above 4 GiB - 1 it has no further effect.
    pub bulk_bytes_max: u64,
    /// The client has yet to authenticate: ten arguments of 16 KiB are all it may send.
    pub unauthenticated: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            inline_bytes_max: INLINE_BYTES_MAX,
            multibulk_max: i64::from(i32::MAX),
            bulk_bytes_max: 512 << 20,
            unauthenticated: false,
        }
    }
}

/// What [`Parser::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A line; its arguments were appended.
    Line,
    /// A line without arguments (`*0`, an empty inline line): nothing to execute or to answer.
    Empty,
    /// The input ends within a line, or with the last one.
    Incomplete,
}

/// Why the bytes cannot be a line. The session answers [`ProtocolError::message`] and closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProtocolError {
    #[error("invalid multibulk length")]
    MultibulkLength,
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    #[error("too big mbulk count string")]
    MultibulkHeaderTooBig,
    #[error("expected '$', got '{}'", _0.escape_ascii())]
    ExpectedBulk(u8),
    #[error("invalid bulk length")]
    BulkLength,
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("too big bulk count string")]
    BulkHeaderTooBig,
    #[error("too big inline request")]
    InlineTooBig,
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The error reply's text, its code included.
    pub fn message(self) -> Vec<u8> {
        match self {
            ProtocolError::ExpectedBulk(byte) => {
                // The client's byte goes back as it came.
                let mut message = b"ERR Protocol error: expected '$', got '".to_vec();
                message.extend_from_slice(&[byte, b'\'']);
                message
            }
            _ => format!("ERR Protocol error: {self}").into_bytes(),
        }
    }
}

/// Arguments of one or several lines over the same input. Scratch space of a core, cleared for every batch.
#[derive(Debug, Default)]
pub struct Arguments {
    /// Where the arguments lie; each line appends its own.
    pub spans: Vec<Span>,
    /// The large ones.
    pub big: Vec<Bytes>,
}

impl Arguments {
    /// The line whose spans are `spans`, over the input that it was parsed from.
    #[inline]
    pub fn line<'a>(&'a self, input: &'a [u8], spans: Range<usize>) -> Line<'a> {
        Line::new(input, &self.spans[spans], &self.big)
    }

    /// Forgets all lines.
    #[inline]
    pub fn clear(&mut self) {
        self.spans.clear();
        self.big.clear();
        if self.spans.capacity() > KEPT_SPANS_MAX {
            self.spans.shrink_to(KEPT_SPANS_MAX);
            self.big.shrink_to(KEPT_SPANS_MAX);
        }
    }
}

/// Splits one client's bytes into lines. Lives in the session.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that the last input ended in.
    partial: Option<Box<Partial>>,
}

/// A line that has not arrived as a whole. All positions count from the line's start.
#[derive(Debug, Default)]
struct Partial {
    spans: Vec<Span>,
    big: Vec<Bytes>,
    /// The sum of the lengths of `big`.
    big_bytes: usize,
    /// Arguments still to come; 0 while their number is not known.
    missing: i64,
    /// What lies before this is parsed.
    position: usize,
    /// So many bytes behind `position` hold no line end.
    scanned: usize,
    /// The length of the argument at `position`, if its header is read.
    bulk_len: Option<usize>,
    /// The large argument that is being received.
    filling: Option<Filling>,
    /// The parts of the input that large arguments were copied from: not kept.
    holes: Vec<Range<usize>>,
    /// The number of spans before the first hole.
    spans_kept: usize,
}

/// A large argument on its way in.
#[derive(Debug)]
struct Filling {
    buffer: BytesMut,
    len: usize,
}

impl Filling {
    fn remaining(&self) -> usize {
        self.len - self.buffer.len()
    }

    /// Makes room for at least one byte more, if one is missing.
    fn reserve(&mut self) {
        if self.buffer.len() < self.buffer.capacity() || self.remaining() == 0 {
            return;
        }
        let wanted = match self.buffer.len() {
            0 => self.len.min(BIG_RESERVE_BYTES_MIN),
            _ => self.len,
        };
        // A new buffer instead of `reserve`, which could take twice of what is needed.
        let mut larger = BytesMut::with_capacity(wanted);
        larger.extend_from_slice(&self.buffer);
        self.buffer = larger;
    }

    /// Takes what belongs to the argument from the front of `bytes` and returns how much that was.
    fn feed(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.remaining());
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            self.reserve();
            let room = (self.buffer.capacity() - self.buffer.len()).min(rest.len());
            let (now, later) = rest.split_at(room);
            self.buffer.extend_from_slice(now);
            rest = later;
        }
        taken
    }
}

/// How far the slow path came.
enum Progress {
    /// The line ends here.
    Line(usize),
    /// A line without arguments ends here.
    Empty(usize),
    Incomplete,
}

impl Parser {
    /// A parser before its first line.
    pub const fn new() -> Parser {
        Parser { partial: None }
    }

    /// Parses the line at `input[*at..]`. On `Line`, its arguments are appended to `args`; on `Line` and `Empty`,
    /// `*at` moves behind it. On `Incomplete` the session calls [`Parser::keep`] or [`Parser::compact`], and the next
    /// input begins with what these left. After an error the connection is of no further use.
    #[inline]
    pub fn next(
        &mut self,
        input: &[u8],
        at: &mut usize,
        limits: &Limits,
        args: &mut Arguments,
    ) -> Result<Parsed, ProtocolError> {
        if self.partial.is_some() {
            return self.resume(input, at, limits, args);
        }
        let start = *at;
        let Some(first) = input.get(start) else {
            return Ok(Parsed::Incomplete);
        };
        let spans_before = args.spans.len();
        let (missing, position) = match first {
            b'*' => fast_line(input, start, limits, &mut args.spans),
            _ => (0, start),
        };
        if missing == 0 && position > start {
            *at = position;
            return Ok(Parsed::Line);
        }
        // Large arguments, the unfinished, the malformed and inline lines: what was found so far is kept.
        let found = args.spans.drain(spans_before..);
        self.partial = Some(Box::new(Partial {
            spans: found.map(|span| span.moved_back(start)).collect(),
            missing,
            position: position - start,
            ..Partial::default()
        }));
        self.resume(input, at, limits, args)
    }

    #[cold]
    fn resume(
        &mut self,
        input: &[u8],
        at: &mut usize,
        limits: &Limits,
        args: &mut Arguments,
    ) -> Result<Parsed, ProtocolError> {
        let Some(partial) = &mut self.partial else {
            return Ok(Parsed::Incomplete);
        };
        let progress = partial.resume(&input[*at..], limits)?;
        let (parsed, len) = match progress {
            Progress::Incomplete => return Ok(Parsed::Incomplete),
            Progress::Line(len) => (Parsed::Line, len),
            Progress::Empty(len) => (Parsed::Empty, len),
        };
        let big_before = args.big.len();
        let spans = partial.spans.iter().map(|span| span.moved(*at, big_before));
        args.spans.extend(spans);
        args.big.append(&mut partial.big);
        self.partial = None;
        *at += len;
        Ok(parsed)
    }

    /// Appends to `tail` what must be kept of the unfinished line at `input[at..]`; `tail` is empty before.
    pub fn keep(&mut self, input: &[u8], at: usize, tail: &mut Vec<u8>) {
        debug_assert!(tail.is_empty());
        let line = &input[at..];
        let Some(partial) = &mut self.partial else {
            return tail.extend_from_slice(line);
        };
        let mut from = 0;
        for hole in &partial.holes {
            tail.extend_from_slice(&line[from..hole.start]);
            from = hole.end;
        }
        tail.extend_from_slice(&line[from..]);
        partial.close_holes();
    }

    /// Removes from `tail`, which was the input, all but what must be kept of the unfinished line at `tail[at..]`.
    pub fn compact(&mut self, tail: &mut Vec<u8>, at: usize) {
        let holes = self
            .partial
            .as_ref()
            .map_or(&[][..], |partial| &partial.holes);
        if at == 0 && holes.is_empty() {
            return;
        }
        let mut to = 0;
        let mut from = at;
        for hole in holes {
            tail.copy_within(from..at + hole.start, to);
            to += at + hole.start - from;
            from = at + hole.end;
        }
        let end = tail.len();
        tail.copy_within(from..end, to);
        tail.truncate(to + end - from);
        if let Some(partial) = &mut self.partial {
            partial.close_holes();
        }
    }

    /// The last input ended within a line.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// So many bytes of a large argument are still to come: zero when none is being received. The next bytes of the
    /// connection can then go to [`Parser::feed_big`] or [`Parser::big_target`] instead of the next input.
    pub fn big_remaining(&self) -> usize {
        let filling = self
            .partial
            .as_ref()
            .and_then(|partial| partial.filling.as_ref());
        filling.map_or(0, Filling::remaining)
    }

    /// Takes the bytes of the large argument that is being received from the front of `bytes`, and returns how many
    /// these were: the others are the next input's.
    pub fn feed_big(&mut self, bytes: &[u8]) -> usize {
        let filling = self
            .partial
            .as_mut()
            .and_then(|partial| partial.filling.as_mut());
        filling.map_or(0, |filling| filling.feed(bytes))
    }

    /// The buffer of the large argument that is being received, with room reserved, and the number of bytes that are
    /// missing. The caller may append up to that many bytes, for instance by reading into the spare capacity, and must
    /// not remove any. `None` when no byte is missing.
    pub fn big_target(&mut self) -> Option<(&mut BytesMut, usize)> {
        let filling = self.partial.as_mut()?.filling.as_mut()?;
        let remaining = filling.remaining();
        if remaining == 0 {
            return None;
        }
        filling.reserve();
        Some((&mut filling.buffer, remaining))
    }

    /// The memory that the unfinished line holds besides the session's own buffer, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let Some(partial) = &self.partial else {
            return 0;
        };
        let filling = partial
            .filling
            .as_ref()
            .map_or(0, |filling| filling.buffer.capacity());
        let spans = partial.spans.capacity() * size_of::<Span>();
        size_of::<Partial>() + spans + filling + partial.big_bytes
    }
}

/// Parses the line at `input[start..]` as long as it is well-formed, complete and without large arguments. Returns the
/// number of arguments that are missing (0 with a position behind `start`: the line is whole) and the position behind
/// what was parsed. A line whose number of arguments is not usable yields `(0, start)`.
#[inline]
fn fast_line(input: &[u8], start: usize, limits: &Limits, spans: &mut Vec<Span>) -> (i64, usize) {
    let Some((count, mut at)) = short_number(input, start) else {
        return (0, start);
    };
    let count = count as i64;
    if count == 0
        || count > limits.multibulk_max
        || (limits.unauthenticated && count > UNAUTHENTICATED_MULTIBULK_MAX)
    {
        return (0, start);
    }
    for index in 0..count {
        let header = at;
        let Some((len, text)) = short_number(input, header).filter(|_| input[header] == b'$')
        else {
            return (count - index, header);
        };
        let end = text + len + 2;
        if end > input.len() || len >= BIG_ARGUMENT_BYTES_MIN || len as u64 > limits.bulk_bytes_max
        {
            return (count - index, header);
        }
        spans.push(Span::inline(text, len));
        at = end;
    }
    (0, at)
}

/// The number of one to five digits behind the byte at `at`, and the position behind its line end. `None` for
/// everything else, which may be malformed, longer or incomplete. The byte behind the carriage return is skipped unseen,
/// as Redis does.
#[inline]
fn short_number(input: &[u8], at: usize) -> Option<(usize, usize)> {
    match input.get(at + 1..)? {
        [ones @ b'0'..=b'9', b'\r', _, ..] => Some((usize::from(ones - b'0'), at + 4)),
        [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', _, ..] => Some((
            usize::from(tens - b'0') * 10 + usize::from(ones - b'0'),
            at + 5,
        )),
        text => {
            let digits = text
                .iter()
                .take(5)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if digits < 3
                || text[0] == b'0'
                || text.get(digits) != Some(&b'\r')
                || digits + 2 > text.len()
            {
                return None;
            }
            let add = |number, byte: &u8| number * 10 + usize::from(byte - b'0');
            Some((text[..digits].iter().fold(0, add), at + 1 + digits + 2))
        }
    }
}

impl Partial {
    /// Goes on with `line`, which begins with what was kept of the line.
    fn resume(&mut self, line: &[u8], limits: &Limits) -> Result<Progress, ProtocolError> {
        debug_assert!(self.holes.is_empty(), "what was not kept is still there");
        self.spans_kept = self.spans.len();
        if line.first() != Some(&b'*') {
            return self.inline(line, limits);
        }
        if self.missing == 0 {
            let too_big = ProtocolError::MultibulkHeaderTooBig;
            let Some(end) = self.line_end(b'\r', line, limits, too_big)? else {
                return Ok(Progress::Incomplete);
            };
            let count = parse_i64(&line[1..end])
                .filter(|count| *count <= limits.multibulk_max)
                .ok_or(ProtocolError::MultibulkLength)?;
            if limits.unauthenticated && count > UNAUTHENTICATED_MULTIBULK_MAX {
                return Err(ProtocolError::UnauthenticatedMultibulkLength);
            }
            self.position = end + 2;
            if count <= 0 {
                return Ok(Progress::Empty(self.position));
            }
            self.missing = count;
        }
        while self.missing > 0 {
            if !self.argument(line, limits)? {
                return Ok(Progress::Incomplete);
            }
            self.missing -= 1;
        }
        Ok(Progress::Line(self.position))
    }

    /// Parses the next argument; false when it has not arrived as a whole.
    fn argument(&mut self, line: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        if self.bulk_len.is_none() {
            let too_big = ProtocolError::BulkHeaderTooBig;
            let Some(end) = self.line_end(b'\r', line, limits, too_big)? else {
                return Ok(false);
            };
            let len = bulk_len(&line[self.position..end], limits)?;
            self.position = end + 2;
            self.bulk_len = Some(len);
            if len >= BIG_ARGUMENT_BYTES_MIN {
                self.filling = Some(Filling {
                    buffer: BytesMut::new(),
                    len,
                });
            }
        }
        if let Some(filling) = &mut self.filling {
            let taken = filling.feed(&line[self.position..]);
            if taken > 0 {
                self.holes.push(self.position..self.position + taken);
                self.position += taken;
            }
            if filling.remaining() > 0 || line.len() - self.position < 2 {
                return Ok(false);
            }
            self.position += 2;
            self.spans.push(Span::big(self.big.len(), filling.len));
            self.big.push(std::mem::take(&mut filling.buffer).freeze());
            self.big_bytes += filling.len;
            self.filling = None;
        } else {
            let len = self.bulk_len.unwrap_or(0);
            if line.len() - self.position < len + 2 {
                return Ok(false);
            }
            self.spans.push(Span::inline(self.position, len));
            self.position += len + 2;
        }
        self.bulk_len = None;
        Ok(true)
    }

    fn inline(&mut self, line: &[u8], limits: &Limits) -> Result<Progress, ProtocolError> {
        let too_big = ProtocolError::InlineTooBig;
        let Some(end) = self.line_end(b'\n', line, limits, too_big)? else {
            return Ok(Progress::Incomplete);
        };
        let text = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
        inline::split(text, &mut self.spans, &mut self.big)
            .ok_or(ProtocolError::UnbalancedQuotes)?;
        match self.spans.is_empty() {
            true => Ok(Progress::Empty(end + 1)),
            false => Ok(Progress::Line(end + 1)),
        }
    }

    /// Finds the `terminator` of what begins at `position`; `None` when it has not arrived. A carriage return counts
    /// once the byte behind it is there too.
    fn line_end(
        &mut self,
        terminator: u8,
        line: &[u8],
        limits: &Limits,
        too_big: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let rest = &line[self.position..];
        let found =
            memchr::memchr(terminator, &rest[self.scanned..]).map(|index| self.scanned + index);
        let len = found.unwrap_or(rest.len());
        if len > limits.inline_bytes_max {
            return Err(too_big);
        }
        let arrived = found.is_some() && (terminator == b'\n' || rest.len() - len >= 2);
        self.scanned = if arrived { 0 } else { len };
        Ok(arrived.then_some(self.position + len))
    }

    /// Corrects the positions for the holes that were just removed from the input.
    fn close_holes(&mut self) {
        let mut holes = self.holes.drain(..).peekable();
        let mut removed = 0;
        for span in &mut self.spans[self.spans_kept..] {
            if span.big_index().is_some() {
                continue;
            }
            while let Some(hole) = holes.next_if(|hole| hole.end <= span.range().start) {
                removed += hole.len();
            }
            *span = span.moved_back(removed);
        }
        self.position -= removed + holes.map(|hole| hole.len()).sum::<usize>();
    }
}

/// The length that an argument's header (`$5`, without its line end) announces.
fn bulk_len(header: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let digits = match header {
        [b'$', digits @ ..] => digits,
        [byte, ..] => return Err(ProtocolError::ExpectedBulk(*byte)),
        // The carriage return is where the dollar should be.
        [] => return Err(ProtocolError::ExpectedBulk(b'\r')),
    };
    let len = parse_i64(digits).ok_or(ProtocolError::BulkLength)?;
    // A span holds lengths of 32 bits.
    let len_max = limits.bulk_bytes_max.min(u64::from(u32::MAX));
    if len < 0 || len as u64 > len_max {
        return Err(ProtocolError::BulkLength);
    }
    if limits.unauthenticated && len > UNAUTHENTICATED_BULK_BYTES_MAX {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(len as usize)
}
