//! Writing the primitives of the format, and entries made of them.

use super::cursor::{STRING_INT8, STRING_INT16, STRING_INT32, STRING_LZF};
use super::grammar::{kind, opcode};
use super::lzf::Compressor;
use super::{hash, list, set, sorted_set, stream};
use crate::base::number::{i64_len, parse_i64, push_i64};
use crate::keyspace::{Entry, StringView, Usage, ValueView};
use crate::structures::listpack::Element;

/// Strings up to this length may be written as integers: the longest text of 32 bits.
const INTEGER_BYTES_MAX: usize = 11;
/// Strings up to this length are not compressed.
const PLAIN_BYTES_MAX: usize = 20;
/// What compression must save at least.
const GAIN_BYTES_MIN: usize = 4;

/// The format that RDB data is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// Redis 7.0 and later read it.
    #[default]
    V10,
    /// Redis 7.2 and later read it: streams keep when consumers were active.
    V11,
    /// Redis 7.4 and later read it: hashes keep when fields expire.
    V12,
}

impl Version {
    /// The lowest version that keeps all that belongs to the value of an entry, but for when consumers of a stream were
    /// active.
    pub fn needed(entry: &Entry) -> Version {
        match entry.value() {
            ValueView::Hash(hash) if hash::has_expiries(hash) => Version::V12,
            _ => Version::V10,
        }
    }

    /// The version as the header has it.
    pub fn number(self) -> u16 {
        match self {
            Version::V10 => 10,
            Version::V11 => 11,
            Version::V12 => 12,
        }
    }
}

/// Turns entries into RDB bytes. Each shard has its own.
pub struct Encoder {
    version: Version,
    now_ms: i64,
    compressor: Option<Compressor>,
    /// A compressed string, whose length comes before it.
    scratch: Vec<u8>,
}

impl Encoder {
    /// For data of `version`, with long strings compressed or not (`rdbcompression`).
    pub fn new(version: Version, compress: bool) -> Encoder {
        Encoder {
            version,
            now_ms: i64::MIN,
            compressor: compress.then(Compressor::default),
            scratch: Vec::new(),
        }
    }

    /// The same at this time, milliseconds since 1970: it decides which fields of hashes have expired where their times
    /// cannot be written. Without it none has.
    pub fn at(self, now_ms: i64) -> Encoder {
        Encoder { now_ms, ..self }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The version of what it writes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Appends that the entries from here on belong to database `db`.
    pub fn select(&mut self, db: usize, out: &mut Vec<u8>) {
        out.push(opcode::SELECT_DB);
        push_length(db as u64, out);
    }

    /// Appends an entry: its expiry, `usage` if known, its type, key and value.
    pub fn entry(&mut self, entry: &Entry, usage: Usage, out: &mut Vec<u8>) {
        if let Some(at_ms) = entry.expiry() {
            out.push(opcode::EXPIRY_MS);
            out.extend(at_ms.to_le_bytes());
        }
        match usage {
            Usage::Unknown => {}
            Usage::Idle(seconds) => {
                out.push(opcode::IDLE);
                push_length(seconds, out);
            }
            Usage::Frequency(counter) => out.extend([opcode::FREQUENCY, counter]),
        }
        let at = out.len();
        out.push(0);
        self.string(entry.key(), out);
        out[at] = self.value(entry, out);
    }

    /// Appends an entry's value without its type, which is returned.
    pub(super) fn value(&mut self, entry: &Entry, out: &mut Vec<u8>) -> u8 {
        match entry.value() {
            ValueView::String(view) => {
                match view {
                    StringView::Int(value) => integer(value, out),
                    StringView::Bytes(bytes) => self.string(bytes, out),
                    StringView::Shared(bytes) => self.string(bytes, out),
                }
                kind::STRING
            }
            ValueView::List(list) => list::write(list, self, out),
            ValueView::SortedSet(set) => sorted_set::write(set, self, out),
            ValueView::Stream(stream) => stream::write(stream, self, out),
            ValueView::Hash(hash) => hash::write(hash, self, out),
            ValueView::Set(set) => set::write(set, self, out),
        }
    }

    /// Appends a string in its shortest form.
    #[inline]
    pub(super) fn string(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if bytes.len() <= INTEGER_BYTES_MAX
            && let Some(value) = parse_i64(bytes)
            && short_integer(value, out)
        {
            return;
        }
        if bytes.len() > PLAIN_BYTES_MAX
            && let Some(compressor) = &mut self.compressor
        {
            self.scratch.clear();
            if compressor.compress(bytes, GAIN_BYTES_MIN, &mut self.scratch) {
                out.push(STRING_LZF);
                push_length(self.scratch.len() as u64, out);
                push_length(bytes.len() as u64, out);
                out.extend_from_slice(&self.scratch);
                return;
            }
        }
        push_length(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
}

/// Appends an element as a string.
#[inline]
pub(super) fn push_element(element: Element<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
    match element {
        Element::Int(value) => integer(value, out),
        Element::Bytes(bytes) => encoder.string(bytes, out),
    }
}

/// Appends a string that is an integer.
pub(super) fn integer(value: i64, out: &mut Vec<u8>) {
    if !short_integer(value, out) {
        push_length(i64_len(value) as u64, out);
        push_i64(out, value);
    }
}

/// Appends an integer of up to 32 bits as such; says whether it is one.
fn short_integer(value: i64, out: &mut Vec<u8>) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.extend([STRING_INT8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(STRING_INT16);
        out.extend(value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(STRING_INT32);
        out.extend(value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// Appends a length.
#[inline]
pub(super) fn push_length(length: u64, out: &mut Vec<u8>) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend((0x4000 | length as u16).to_be_bytes()),
        0x4000..=0xFFFF_FFFF => {
            out.push(0x80);
            out.extend((length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend(length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8], compress: bool) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new(Version::V10, compress).string(bytes, &mut out);
        out
    }

    #[test]
    fn strings_take_their_shortest_form() {
        assert_eq!(string(b"", true), b"\x00");
        assert_eq!(string(b"ab", true), b"\x02ab");
        assert_eq!(string(b"-1", true), b"\xc0\xff");
        assert_eq!(string(b"-01", true), b"\x03-01");
        assert_eq!(string(b"128", true), b"\xc1\x80\x00");
        assert_eq!(string(b"-2147483648", true), b"\xc2\x00\x00\x00\x80");
        assert_eq!(string(b"2147483648", true), b"\x0a2147483648");
        assert_eq!(string(&[b'a'; 20], true)[0], 20);
        assert_eq!(string(&[b'a'; 21], true), b"\xc3\x05\x15\x00a\xe0\x0b\x00");
        assert_eq!(string(&[b'a'; 21], false)[0], 21);
        assert_eq!(string(b"abcdefghijklmnopqrstuvwxyz", true)[0], 26);
        let mut out = Vec::new();
        integer(i64::MIN, &mut out);
        assert_eq!(out, b"\x14-9223372036854775808");
    }

    #[test]
    fn entries_tell_expiry_and_access_first() {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(Version::V10, true);
        let entry = Entry::from_bytes(b"key", b"value", Some(256), 0);
        encoder.entry(&entry, Usage::Idle(70), &mut out);
        assert_eq!(
            out,
            b"\xfc\x00\x01\x00\x00\x00\x00\x00\x00\xf8\x40\x46\x00\x03key\x05value"
        );
        out.clear();
        let entry = Entry::from_integer(b"12", 5, None, 0);
        encoder.entry(&entry, Usage::Frequency(255), &mut out);
        assert_eq!(out, b"\xf9\xff\x00\xc0\x0c\xc0\x05");
    }
}
