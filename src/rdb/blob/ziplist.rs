//! Ziplists.
//!
//! ```text
//!   | length of all 4 | offset of the last element 4 | number of elements 2 | element … | FF |
//!
//!   element   | length of the element before 1, or FE and 4 | head | bytes? |
//!
//!   00nnnnnn                     n bytes
//!   01nnnnnn nnnnnnnn            n bytes
//!   80, n in 4 bytes             n bytes; the highest byte first, as above
//!   C0 D0 E0 F0 FE               an integer of 2, 4, 8, 3, 1 bytes
//!   1111vvvv                     an integer from 0 to 12, plus one
//! ```
//!
//! A number of elements of 65535 means that it is not known.

use super::super::error::Problem;
use super::{Next, integer};
use crate::structures::listpack::Element;

const HEADER_BYTES: usize = 10;
const END: u8 = 0xFF;
const LONG_LENGTH: u8 = 0xFE;
const CORRUPT: Problem = Problem::Corrupt("ziplist");

/// The elements of the ziplist `bytes`.
pub fn elements(bytes: &[u8]) -> Result<Elements<'_>, Problem> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(CORRUPT)?;
    let (last, rest) = rest.split_first_chunk::<4>().ok_or(CORRUPT)?;
    let (count, rest) = rest.split_first_chunk::<2>().ok_or(CORRUPT)?;
    if u32::from_le_bytes(*length) as usize != bytes.len() || rest.is_empty() {
        return Err(CORRUPT);
    }
    Ok(Elements {
        rest,
        at: HEADER_BYTES,
        last: u32::from_le_bytes(*last) as usize,
        count: u16::from_le_bytes(*count),
        before: 0,
        seen: 0,
    })
}

/// See [`elements`].
pub struct Elements<'a> {
    /// From the next element on; empty behind the end.
    rest: &'a [u8],
    /// Where that is.
    at: usize,
    /// Where the last element begins, as the header has it.
    last: usize,
    count: u16,
    /// The length of the element before.
    before: usize,
    seen: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Next<'a>;

    fn next(&mut self) -> Option<Next<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        if self.rest[0] == END {
            let count_is_right = self.count == u16::MAX || self.seen == usize::from(self.count);
            let is_end =
                self.rest.len() == 1 && count_is_right && self.at - self.before == self.last;
            self.rest = &[];
            return (!is_end).then_some(Err(CORRUPT));
        }
        match element(self.rest, self.before) {
            // There is no end mark behind the last element.
            Some((_, [])) | None => {
                self.rest = &[];
                Some(Err(CORRUPT))
            }
            Some((element, rest)) => {
                self.before = self.rest.len() - rest.len();
                self.at += self.before;
                self.rest = rest;
                self.seen += 1;
                Some(Ok(element))
            }
        }
    }
}

/// The first element of `bytes` and what is behind it; the element before takes `before` bytes.
fn element(bytes: &[u8], before: usize) -> Option<(Element<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (said, rest) = if first == LONG_LENGTH {
        let (length, rest) = rest.split_first_chunk()?;
        (u32::from_le_bytes(*length) as usize, rest)
    } else {
        (usize::from(first), rest)
    };
    if said != before {
        return None;
    }
    let (&head, rest) = rest.split_first()?;
    let string = |length: usize, rest| {
        let (string, rest) = <[u8]>::split_at_checked(rest, length)?;
        Some((Element::Bytes(string), rest))
    };
    let number = |width: usize| {
        let (number, rest) = rest.split_at_checked(width)?;
        Some((Element::Int(integer(number)), rest))
    };
    match head {
        0..0x40 => string(usize::from(head), rest),
        0x40..0x80 => {
            let (&low, rest) = rest.split_first()?;
            string((usize::from(head) & 0x3F) << 8 | usize::from(low), rest)
        }
        0x80 => {
            let (length, rest) = rest.split_first_chunk()?;
            string(u32::from_be_bytes(*length) as usize, rest)
        }
        0xC0 => number(2),
        0xD0 => number(4),
        0xE0 => number(8),
        0xF0 => number(3),
        0xFE => number(1),
        0xF1..=0xFD => Some((Element::Int(i64::from(head & 0x0F) - 1), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ziplist(last: u32, count: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 11).to_le_bytes().to_vec();
        bytes.extend(last.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend_from_slice(body);
        bytes.push(END);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Element<'_>>, Problem> {
        elements(bytes)?.collect()
    }

    #[test]
    fn all_heads_are_read() {
        let long = [&b"\x02\x41\x2c"[..], &[b'x'; 300]].concat();
        let longer = [
            &b"\xfe\x2f\x01\x00\x00\x80\x00\x00\x40\x00"[..],
            &[b'y'; 16384],
        ]
        .concat();
        let body = [
            &b"\x00\x03abc"[..],
            b"\x05\xc0\x00\x80",
            b"\x04\xd0\x00\x00\x00\x80",
            b"\x06\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
            b"\x0a\xf0\x00\x00\x80",
            b"\x05\xfe\xff",
            b"\x03\xf1",
            b"\x02\xfd",
            &long,
            &longer,
        ]
        .concat();
        let expected = [
            Element::Bytes(b"abc"),
            Element::Int(-32768),
            Element::Int(-(1 << 31)),
            Element::Int(i64::MIN),
            Element::Int(-(1 << 23)),
            Element::Int(-1),
            Element::Int(0),
            Element::Int(12),
            Element::Bytes(&[b'x'; 300]),
            Element::Bytes(&[b'y'; 16384]),
        ];
        let last = (10 + body.len() - longer.len()) as u32;
        assert_eq!(read(&ziplist(last, 10, &body)).unwrap(), expected);
        assert_eq!(read(&ziplist(last, u16::MAX, &body)).unwrap(), expected);
        assert_eq!(read(&ziplist(10, 0, b"")), Ok(vec![]));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let body = b"\x00\x01a\x03\x01b";
        let good = ziplist(13, 2, body);
        assert_eq!(read(&good).unwrap().len(), 2);
        for wrong in [
            ziplist(13, 1, body),
            ziplist(10, 2, body),
            ziplist(13, 2, b"\x00\x01a\x02\x01b"),
            ziplist(13, 2, b"\x00\x01a\x03\x02b"),
            ziplist(13, 2, b"\x00\x01a\x03\xc1b"),
            ziplist(13, 2, b"\x00\x01a\xfe\x03\x00"),
            good[..good.len() - 1].to_vec(),
            [&good[..], b"\xff"].concat(),
            b"".to_vec(),
            b"\x0a\x00\x00\x00\x0a\x00\x00\x00\x00\x00".to_vec(),
        ] {
            assert_eq!(read(&wrong), Err(CORRUPT), "{wrong:x?}");
        }
    }
}
