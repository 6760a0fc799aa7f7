//! Reading the primitives of the format out of bytes that are all there: integers, lengths, strings.
//!
//! Invariants:
//! - Nothing is allocated but what the remaining bytes can fill: counts are held against them, and the length of a
//!   compressed string against what its compressed bytes can become at most.
//! - A cursor that gave an error stands where the fault is.

use std::borrow::Cow;

use super::error::{Error, Problem};
use super::lzf;
use crate::structures::listpack::{Element, Listpack};

/// The first two bits of a length.
const SIX_BITS: u8 = 0;
const FOURTEEN_BITS: u8 = 1;
const WHOLE_BYTES: u8 = 2;

/// First bytes of lengths in whole bytes.
const LENGTH_32: u8 = 0x80;
const LENGTH_64: u8 = 0x81;

/// First bytes of encoded strings.
pub(super) const STRING_INT8: u8 = 0xC0;
pub(super) const STRING_INT16: u8 = 0xC1;
pub(super) const STRING_INT32: u8 = 0xC2;
pub(super) const STRING_LZF: u8 = 0xC3;

/// A string as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// Written as an integer.
    Int(i64),
    /// Written plainly, or decompressed.
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Text<'a> {
    pub(super) fn element(&self) -> Element<'_> {
        match self {
            Text::Int(integer) => Element::Int(*integer),
            Text::Bytes(bytes) => Element::Bytes(bytes),
        }
    }

    /// The bytes, whatever the encoding.
    pub(super) fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Text::Int(integer) => Cow::Owned(itoa::Buffer::new().format(integer).into()),
            Text::Bytes(bytes) => bytes,
        }
    }
}

/// What a length's place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A length, of a plain string where one begins here.
    Length(u64),
    /// The first byte of an encoded string.
    Encoded(u8),
}

/// The head at the start of `bytes` and how many bytes it takes; `None` when they are too few.
#[inline]
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Problem> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    Ok(match first >> 6 {
        SIX_BITS => Some((Head::Length(u64::from(first)), 1)),
        FOURTEEN_BITS => rest.first().map(|&low| {
            let length = u64::from(first & 0x3F) << 8 | u64::from(low);
            (Head::Length(length), 2)
        }),
        WHOLE_BYTES if first == LENGTH_32 => rest
            .first_chunk()
            .map(|bytes| (Head::Length(u64::from(u32::from_be_bytes(*bytes))), 5)),
        WHOLE_BYTES if first == LENGTH_64 => rest
            .first_chunk()
            .map(|bytes| (Head::Length(u64::from_be_bytes(*bytes)), 9)),
        WHOLE_BYTES => return Err(Problem::Encoding),
        _ if first <= STRING_LZF => Some((Head::Encoded(first), 1)),
        _ => return Err(Problem::Encoding),
    })
}

/// A place in bytes.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begins in the file.
    origin: u64,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, which lie at `origin` in the file.
    pub(super) fn new(bytes: &'a [u8], origin: u64) -> Cursor<'a> {
        Cursor {
            bytes,
            at: 0,
            origin,
        }
    }

    /// Where it stands in the file.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.origin + self.at as u64
    }

    pub(super) fn error(&self, problem: Problem) -> Error {
        Error {
            offset: self.offset(),
            problem,
        }
    }

    /// All that remains.
    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next `length` bytes.
    #[inline]
    pub(super) fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest().get(..length))
            .ok_or_else(|| self.error(Problem::CutShort))?;
        self.at += taken.len();
        Ok(taken)
    }

    #[inline]
    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let chunk = *self
            .rest()
            .first_chunk()
            .ok_or_else(|| self.error(Problem::CutShort))?;
        self.at += N;
        Ok(chunk)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.chunk().map(|[byte]: [u8; 1]| byte)
    }

    /// Milliseconds, or any other eight-byte integer, little-endian.
    #[inline]
    pub(super) fn i64_le(&mut self) -> Result<i64, Error> {
        self.chunk().map(i64::from_le_bytes)
    }

    /// A binary double.
    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, Error> {
        self.chunk().map(f64::from_le_bytes)
    }

    #[inline]
    fn head(&mut self) -> Result<Head, Error> {
        match head(self.rest()) {
            Ok(Some((head, length))) => {
                self.at += length;
                Ok(head)
            }
            Ok(None) => Err(self.error(Problem::CutShort)),
            Err(problem) => Err(self.error(problem)),
        }
    }

    /// A length.
    #[inline]
    pub(super) fn length(&mut self) -> Result<u64, Error> {
        let at = self.at;
        match self.head()? {
            Head::Length(length) => Ok(length),
            Head::Encoded(_) => {
                self.at = at;
                Err(self.error(Problem::Encoding))
            }
        }
    }

    /// The number of the items that follow, each at least `bytes_min` bytes: no more than there are bytes for.
    #[inline]
    pub(super) fn count(&mut self, bytes_min: usize) -> Result<usize, Error> {
        let at = self.at;
        let count = self.length()?;
        let possible = self.rest().len() / bytes_min;
        match usize::try_from(count) {
            Ok(count) if count <= possible => Ok(count),
            _ => {
                self.at = at;
                Err(self.error(Problem::Length(count)))
            }
        }
    }

    /// A string.
    #[inline]
    pub(super) fn text(&mut self) -> Result<Text<'a>, Error> {
        Ok(match self.head()? {
            Head::Length(length) => Text::Bytes(Cow::Borrowed(self.take(length)?)),
            Head::Encoded(STRING_INT8) => Text::Int(i64::from(i8::from_le_bytes(self.chunk()?))),
            Head::Encoded(STRING_INT16) => Text::Int(i64::from(i16::from_le_bytes(self.chunk()?))),
            Head::Encoded(STRING_INT32) => Text::Int(i64::from(i32::from_le_bytes(self.chunk()?))),
            Head::Encoded(_) => Text::Bytes(Cow::Owned(self.compressed()?)),
        })
    }

    /// The rest of a compressed string, behind its first byte.
    fn compressed(&mut self) -> Result<Vec<u8>, Error> {
        let compressed_length = self.length()?;
        let length = self.length()?;
        let start = self.clone();
        let compressed = self.take(compressed_length)?;
        lzf::decompress(compressed, length).ok_or_else(|| start.error(Problem::Compressed))
    }

    /// A string's bytes, and a cursor at its start for errors in it.
    pub(super) fn blob(&mut self) -> Result<(Cow<'a, [u8]>, Cursor<'a>), Error> {
        let start = self.clone();
        Ok((self.text()?.into_bytes(), start))
    }

    /// A listpack, checked.
    pub(super) fn listpack(&mut self) -> Result<Listpack, Error> {
        let (blob, start) = self.blob()?;
        Listpack::from_bytes(&blob).map_err(|_| start.error(Problem::Corrupt("listpack")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<Text<'_>, Error> {
        Cursor::new(bytes, 100).text()
    }

    fn length(bytes: &[u8]) -> Result<u64, Error> {
        Cursor::new(bytes, 100).length()
    }

    #[test]
    fn lengths_come_in_four_sizes() {
        assert_eq!(length(b"\x3f"), Ok(63));
        assert_eq!(length(b"\x40\x40"), Ok(64));
        assert_eq!(length(b"\x7f\xff"), Ok(16383));
        assert_eq!(length(b"\x80\x00\x00\x40\x00"), Ok(16384));
        assert_eq!(length(b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"), Ok(1 << 32));
    }

    #[test]
    fn strings_are_plain_integers_or_compressed() {
        assert_eq!(text(b"\x02ab"), Ok(Text::Bytes(Cow::Borrowed(b"ab"))));
        assert_eq!(text(b"\xc0\xff"), Ok(Text::Int(-1)));
        assert_eq!(text(b"\xc1\x00\x80"), Ok(Text::Int(-32768)));
        assert_eq!(text(b"\xc2\x00\x00\x01\x00"), Ok(Text::Int(65536)));
        let wrong = text(b"\xc3\x05\x0b\x00a\xe0\x00\x00").unwrap_err();
        assert_eq!((wrong.offset, wrong.problem), (103, Problem::Compressed));
        assert_eq!(
            text(b"\xc3\x04\x07\x00a\x80\x00"),
            Ok(Text::Bytes(Cow::Owned(b"aaaaaaa".to_vec())))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let cut_short = Error {
            offset: 101,
            problem: Problem::CutShort,
        };
        assert_eq!(text(b"\x05abc"), Err(cut_short.clone()));
        assert_eq!(text(b"\xc1a"), Err(cut_short));
        assert_eq!(text(b"\x82").unwrap_err().problem, Problem::Encoding);
        assert_eq!(text(b"\xc4").unwrap_err().problem, Problem::Encoding);
        assert_eq!(length(b"\xc0\x01").unwrap_err().problem, Problem::Encoding);
        assert_eq!(length(b"\x40").unwrap_err().problem, Problem::CutShort);
        assert_eq!(
            Cursor::new(b"\x05abc", 7).count(1),
            Err(Error {
                offset: 7,
                problem: Problem::Length(5)
            })
        );
        // A gigabyte is not allocated for six bytes.
        let bomb = b"\xc3\x06\x80\x40\x00\x00\x00aaaaaa";
        assert_eq!(text(bomb).unwrap_err().problem, Problem::Compressed);
    }
}
