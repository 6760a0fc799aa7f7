//! A parsed command line: argument slices over bytes that somebody else owns.
//!
//! Invariants:
//! - A line has at least one argument; argument 0 is the command's name as the client typed it.
//! - Arguments up to [`BIG_ARGUMENT_BYTES_MIN`] lie in the line's buffer; a larger one is a [`Bytes`] of its own,
//!   filled once from the socket, so that it can travel to another core and into the table
//!   without a further copy. So is a small one that had to be rewritten (a quoted word of an inline line).
//! - A `Line` is three borrowed slices and is copied freely.

use bytes::Bytes;

/// An argument of this many bytes or more is received into an allocation of its own.
pub const BIG_ARGUMENT_BYTES_MIN: usize = 16 * 1024;

/// Marks a [`Span`] whose `offset` is an index into the line's big arguments.
const BIG: u64 = 1 << 63;

/// Where one argument lies: a range of the line's buffer, or one of its big arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    offset: u64,
    len: u32,
}

impl Span {
    /// `len` bytes at `offset` of the line's buffer.
    #[inline]
    pub fn inline(offset: usize, len: usize) -> Span {
        debug_assert!(len <= u32::MAX as usize);
        Span {
            offset: offset as u64,
            len: len as u32,
        }
    }

    /// The big argument at `index`, `len` bytes long.
    #[inline]
    pub fn big(index: usize, len: usize) -> Span {
        debug_assert!(len <= u32::MAX as usize);
        Span {
            offset: index as u64 | BIG,
            len: len as u32,
        }
    }

    /// The index of the big argument, or `None` for one that lies in the buffer.
    #[inline]
    pub fn big_index(self) -> Option<usize> {
        (self.offset & BIG != 0).then_some((self.offset & !BIG) as usize)
    }

    /// The range in the buffer; only for an argument that lies there.
    #[inline]
    pub fn range(self) -> std::ops::Range<usize> {
        debug_assert!(self.offset & BIG == 0);
        self.offset as usize..self.offset as usize + self.len as usize
    }

    /// The argument's length in bytes.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// The span in a buffer that holds `bytes` more in front, with `big` more big arguments before its own.
    #[inline]
    pub fn moved(self, bytes: usize, big: usize) -> Span {
        let by = if self.offset & BIG != 0 { big } else { bytes };
        Span {
            offset: self.offset + by as u64,
            len: self.len,
        }
    }

    /// The span, which is not of a big argument, in a buffer without its first `bytes`.
    #[inline]
    pub fn moved_back(self, bytes: usize) -> Span {
        Span::inline(self.range().start - bytes, self.len())
    }
}

/// One command line: its name and arguments.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    big: &'a [Bytes],
}

impl<'a> Line<'a> {
    /// A line over `bytes` with its arguments at `spans`; `big` holds the big arguments.
    #[inline]
    pub fn new(bytes: &'a [u8], spans: &'a [Span], big: &'a [Bytes]) -> Line<'a> {
        Line { bytes, spans, big }
    }

    /// The number of arguments, the name included.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The argument at `index` (0 is the name). Panics past the end: arity is checked before a handler runs.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        match span.big_index() {
            None => &self.bytes[span.range()],
            Some(big) => &self.big[big],
        }
    }

    /// The argument at `index` as a reference-counted string when it is a big one: keeping that copies nothing.
    #[inline]
    pub fn shared(&self, index: usize) -> Option<&'a Bytes> {
        let span = self.spans[index];
        let big = span.big_index()?;
        (span.len() >= BIG_ARGUMENT_BYTES_MIN).then(|| &self.big[big])
    }

    /// All arguments in order, the name first.
    pub fn args(self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        (0..self.len()).map(move |index| self.arg(index))
    }

    /// The argument at `index` is `word`, in any case of ASCII letters.
    #[inline]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.arg(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Another line over the same bytes, with other places: a part of this line.
    pub fn with_spans<'b>(&self, spans: &'b [Span]) -> Line<'b>
    where
        'a: 'b,
    {
        Line::new(self.bytes, spans, self.big)
    }

    /// The places of the arguments.
    pub fn spans(&self) -> &'a [Span] {
        self.spans
    }
}
