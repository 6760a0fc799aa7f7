//! Zipmaps.
//!
//! ```text
//!   | number of pairs 1 | pair … | FF |
//!
//!   pair    | length | key | length | free 1 | value | free bytes |
//!   length  1 byte below FE, or FE and 4 bytes
//! ```
//!
//! A number of pairs of 254 or more means that it is not known.

use super::super::error::Problem;
use super::Next;
use crate::structures::listpack::Element;

const END: u8 = 0xFF;
const LONG_LENGTH: u8 = 0xFE;
const CORRUPT: Problem = Problem::Corrupt("zipmap");

/// The keys and values of the zipmap `bytes`, in turn.
pub fn elements(bytes: &[u8]) -> Result<Elements<'_>, Problem> {
    let (&count, rest) = bytes.split_first().ok_or(CORRUPT)?;
    if rest.is_empty() {
        return Err(CORRUPT);
    }
    Ok(Elements {
        rest,
        count,
        seen: 0,
    })
}

/// See [`elements`].
pub struct Elements<'a> {
    /// From the next element on; empty behind the end.
    rest: &'a [u8],
    count: u8,
    seen: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Next<'a>;

    fn next(&mut self) -> Option<Next<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let is_key = self.seen.is_multiple_of(2);
        if is_key && self.rest[0] == END {
            let count_is_right =
                self.count >= LONG_LENGTH || self.seen / 2 == usize::from(self.count);
            let is_end = self.rest.len() == 1 && count_is_right;
            self.rest = &[];
            return (!is_end).then_some(Err(CORRUPT));
        }
        match element(self.rest, is_key) {
            // There is no end mark behind the last pair, or no value.
            Some((_, [])) | None => {
                self.rest = &[];
                Some(Err(CORRUPT))
            }
            Some((bytes, rest)) => {
                self.rest = rest;
                self.seen += 1;
                Some(Ok(Element::Bytes(bytes)))
            }
        }
    }
}

fn element(bytes: &[u8], is_key: bool) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (length, rest) = match first {
        END => return None,
        LONG_LENGTH => {
            let (length, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        short => (usize::from(short), rest),
    };
    if is_key {
        return rest.split_at_checked(length);
    }
    let (&free, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((value, rest.get(usize::from(free)..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Element<'_>>, Problem> {
        elements(bytes)?.collect()
    }

    #[test]
    fn pairs_with_free_bytes_and_long_lengths_are_read() {
        let long = [
            &b"\x02\xfe\x04\x00\x00\x00long\x01\x02v??\x01k\xfe\x2c\x01\x00\x00\x00"[..],
            &[b'x'; 300],
            b"\xff",
        ]
        .concat();
        let expected = [&b"long"[..], b"v", b"k", &[b'x'; 300]].map(Element::Bytes);
        assert_eq!(read(&long).unwrap(), expected);
        assert_eq!(read(b"\xfe\x01a\x01\x00b\xff").unwrap().len(), 2);
        assert_eq!(read(b"\x00\xff"), Ok(vec![]));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for wrong in [
            &b""[..],
            b"\x00",
            b"\x02\x01a\x01\x00b\xff",
            b"\x01\x01a\xff",
            b"\x01\x01a\x01\x00b",
            b"\x01\x01a\x01\x02b\xff",
            b"\x01\x01a\x09\x00b\xff",
            b"\x01\x01a\x01\x00b\xff\xff",
            b"\x01\xfe\xff\xff\xff\xffa\xff",
        ] {
            assert_eq!(read(wrong), Err(CORRUPT), "{wrong:x?}");
        }
    }
}
