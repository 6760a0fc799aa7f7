//! Finding the end of a record in bytes that come in pieces, without decoding anything.
//!
//! A scan remembers how far it has come, so each byte is looked at once however small the pieces are, and most
//! bytes (those of strings) not at all. Once a record is whole it is decoded in one go by code that needs not know of pieces.
//! A decoder that stops and goes on at any byte would hold less of a large collection twice, but each of the twenty
//! types would need one, beside the plain one for payloads of RESTORE.
//!
//! Invariant: a scan allocates nothing: what it holds does not depend on the data.

use super::cursor::{Head, STRING_INT8, STRING_INT16, STRING_INT32, head};
use super::error::Problem;
use super::grammar::{Part, is_value, parts};

/// Longer strings are held to be corrupt lengths: no machine holds them.
const STRING_BYTES_MAX: u64 = 1 << 40;

/// A stream's consumers' pending ids: the deepest that parts are nested.
const DEPTH_MAX: usize = 4;

const KEY: &[Part] = &[Part::String];

/// Kinds of parts in a module's value.
mod module {
    pub const END: u64 = 0;
    pub const SIGNED: u64 = 1;
    pub const UNSIGNED: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}

/// Parts that are still to come.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    parts: &'static [Part],
    /// The next of them.
    next: usize,
    /// How often they come after this time.
    again: u64,
}

/// How far the scan of one record has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// Bytes of the record that are behind it. May be more than there are: the rest of a string is to come.
    at: u64,
    levels: [Level; DEPTH_MAX],
    depth: usize,
    began: bool,
}

impl Scan {
    /// Goes on over `record`, all of the record's bytes that there are (and maybe more behind it). `Some` with the
    /// record's length when it is whole; the scan is then ready for the next.
    pub(super) fn run(&mut self, record: &[u8]) -> Result<Option<usize>, Problem> {
        if !self.began {
            let Some(&first) = record.first() else {
                return Ok(None);
            };
            self.push(parts(first)?, 0);
            self.at = 1;
            self.began = true;
            if is_value(first) {
                self.push(KEY, 0);
            }
        }
        loop {
            let Some(rest) = usize::try_from(self.at)
                .ok()
                .and_then(|at| record.get(at..))
            else {
                return Ok(None);
            };
            let Some(level) = self.depth.checked_sub(1).map(|top| &mut self.levels[top]) else {
                let length = record.len() - rest.len();
                *self = Scan::default();
                return Ok(Some(length));
            };
            let Some(part) = level.parts.get(level.next) else {
                if level.again == 0 {
                    self.depth -= 1;
                } else {
                    level.again -= 1;
                    level.next = 0;
                }
                continue;
            };
            let Some(length) = self.pass(part, rest)? else {
                return Ok(None);
            };
            self.at += length;
        }
    }

    /// How far it has come, for the place of an error.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn push(&mut self, parts: &'static [Part], again: u64) {
        self.levels[self.depth] = Level {
            parts,
            next: 0,
            again,
        };
        self.depth += 1;
    }

    /// This level's next part is behind it.
    fn passed(&mut self) {
        self.levels[self.depth - 1].next += 1;
    }

    /// Goes past `part` at the start of `rest`: its length in bytes, or `None` when it cannot be told yet.
    fn pass(&mut self, part: &'static Part, rest: &[u8]) -> Result<Option<u64>, Problem> {
        let length = match part {
            Part::Bytes(length) => Some(u64::from(*length)),
            Part::String => string(rest)?,
            Part::Length => plain_length(rest)?.map(|(_, length)| length),
            Part::Score => rest.first().map(|&length| match length {
                // Not a number and the infinities have no text.
                253.. => 1,
                length => 1 + u64::from(length),
            }),
            Part::Times(parts) => {
                let Some((count, length)) = plain_length(rest)? else {
                    return Ok(None);
                };
                self.passed();
                if let Some(again) = count.checked_sub(1) {
                    self.push(parts, again);
                }
                return Ok(Some(length));
            }
            // One part of the value at a time; the part itself stays until the end has come.
            Part::Module => {
                let Some((kind, kind_length)) = plain_length(rest)? else {
                    return Ok(None);
                };
                let rest = &rest[kind_length as usize..];
                let length = match kind {
                    module::END => {
                        self.passed();
                        Some(0)
                    }
                    module::SIGNED | module::UNSIGNED => {
                        plain_length(rest)?.map(|(_, length)| length)
                    }
                    module::FLOAT => Some(4),
                    module::DOUBLE => Some(8),
                    module::STRING => string(rest)?,
                    _ => return Err(Problem::Corrupt("module value")),
                };
                return Ok(length.map(|length| kind_length + length));
            }
        };
        if length.is_some() {
            self.passed();
        }
        Ok(length)
    }
}

/// A length or count and the bytes that it takes.
fn plain_length(rest: &[u8]) -> Result<Option<(u64, u64)>, Problem> {
    match head(rest)? {
        Some((Head::Length(value), length)) => Ok(Some((value, length as u64))),
        Some((Head::Encoded(_), _)) => Err(Problem::Encoding),
        None => Ok(None),
    }
}

/// The bytes that a string takes with its head.
fn string(rest: &[u8]) -> Result<Option<u64>, Problem> {
    let Some((first, head_length)) = head(rest)? else {
        return Ok(None);
    };
    let head_length = head_length as u64;
    let (bytes, heads) = match first {
        Head::Length(length) => (length, head_length),
        Head::Encoded(STRING_INT8) => (1, head_length),
        Head::Encoded(STRING_INT16) => (2, head_length),
        Head::Encoded(STRING_INT32) => (4, head_length),
        Head::Encoded(_) => {
            let rest = &rest[head_length as usize..];
            let Some((compressed, first_length)) = plain_length(rest)? else {
                return Ok(None);
            };
            let rest = &rest[first_length as usize..];
            let Some((_, second_length)) = plain_length(rest)? else {
                return Ok(None);
            };
            (compressed, head_length + first_length + second_length)
        }
    };
    if bytes > STRING_BYTES_MAX {
        return Err(Problem::Length(bytes));
    }
    Ok(Some(bytes + heads))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans `record` in pieces of `piece` bytes; the same bytes follow once more.
    fn scan(record: &[u8], piece: usize) -> Result<usize, Problem> {
        let mut bytes = record.to_vec();
        bytes.extend_from_slice(record);
        let mut scan = Scan::default();
        let mut there = 0;
        loop {
            if let Some(length) = scan.run(&bytes[..there])? {
                return Ok(length);
            }
            assert!(there < bytes.len(), "no end");
            there = (there + piece).min(bytes.len());
        }
    }

    #[track_caller]
    fn is_one_record(record: &[u8]) {
        for piece in 1..=record.len() {
            assert_eq!(
                scan(record, piece),
                Ok(record.len()),
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn records_of_all_shapes_end_where_they_end() {
        is_one_record(b"\xff");
        is_one_record(b"\xfe\x03");
        is_one_record(b"\xfb\x40\x80\x80\x00\x00\x00\x05");
        is_one_record(b"\xfa\x03key\xc1ab");
        is_one_record(b"\x00\x03key\x05value");
        is_one_record(b"\x00\x03key\xc3\x04\x07\x00a\x80\x00");
        is_one_record(b"\x01\x03key\x00");
        is_one_record(b"\x01\x03key\x03\x01a\x00\xc0\x05");
        is_one_record(b"\x03\x03key\x03\x01a\xfd\x01b\x033.5\x01c\xff");
        is_one_record(b"\x05\x03key\x01\x01a12345678");
        is_one_record(b"\x18\x03key12345678\x02\x01\x01a\x01b\x00\x01c\x01d");
        // A module's facts: a string, a double, two integers.
        is_one_record(
            b"\xf7\x81\x00\x00\x00\x00\x00\x00\x00\x01\x02\x01\x05\x03abc\x04abcdefgh\x01\x05\x00",
        );
        let id = [7; 16];
        let ms = [1; 8];
        let stream = [
            &b"\x15\x01s\x01\x10"[..],
            &id,
            b"\x03abc\x01\x05\x06\x01\x02\x00\x00\x09\x02\x05group\x05\x06\x01\x01",
            &id,
            &ms,
            b"\x03\x01\x04name",
            &ms,
            &ms,
            b"\x01",
            &id,
            b"\x05other\x00\x00\x00\x00\x00",
        ];
        is_one_record(&stream.concat());
    }

    #[test]
    fn what_no_record_holds_is_refused() {
        assert_eq!(scan(b"\x08", 1), Err(Problem::UnknownType(8)));
        assert_eq!(scan(b"\xf3", 1), Err(Problem::UnknownType(243)));
        assert!(matches!(scan(b"\x07", 1), Err(Problem::Refused(7, _))));
        assert!(matches!(scan(b"\xf6", 1), Err(Problem::Refused(246, _))));
        assert_eq!(scan(b"\x00\x82", 1), Err(Problem::Encoding));
        assert_eq!(scan(b"\x01\x00\xc0", 1), Err(Problem::Encoding));
        assert_eq!(
            scan(b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff", 1),
            Err(Problem::Length(u64::MAX))
        );
        // Any number of elements is possible as long as their bytes may come.
        let mut endless = Scan::default();
        let record = b"\x02\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a";
        assert_eq!(endless.run(record), Ok(None));
        assert_eq!(endless.at(), record.len() as u64);
    }
}
