//! The string values of an entry: how they are seen, replaced and modified.

use std::ptr;

use bytes::{Bytes, BytesMut};

use super::collection::{Collection as _, with_collection};
use super::{
    EMBSTR_BYTES_MAX, Entry, HAS_EXPIRY, INLINE_VALUE_BYTES_MAX, KIND_MASK, Kind, LENGTH_MASK, RAW,
    Shape, VALUE_LENGTH_SHIFT, write_value,
};

/// The key holds another type than the command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
pub struct WrongType;

/// A string that lies outside its entry, shared with the replies that carry it.
#[derive(Clone, Debug)]
pub struct BigString {
    bytes: Bytes,
    /// What the allocation behind `bytes` takes: a string that grows has room at its end.
    allocated_bytes: usize,
}

impl BigString {
    /// A string that somebody made for the table: kept as it is.
    pub fn new(bytes: Bytes) -> BigString {
        BigString {
            allocated_bytes: bytes.len(),
            bytes,
        }
    }

    /// A copy of `bytes`.
    pub fn copy(bytes: &[u8]) -> BigString {
        BigString::new(Bytes::copy_from_slice(bytes))
    }

    /// A string that was built in `buffer`, whose spare capacity it keeps.
    pub fn from_buffer(buffer: BytesMut) -> BigString {
        BigString {
            allocated_bytes: buffer.capacity(),
            bytes: buffer.freeze(),
        }
    }

    /// The string as a buffer, with its spare capacity; copied when somebody else still holds it.
    pub fn into_buffer(self) -> BytesMut {
        self.bytes
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]))
    }

    /// The string.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Memory that it holds.
    pub fn allocated_bytes(&self) -> usize {
        self.allocated_bytes
    }
}

/// A value to write into a block.
pub(super) enum Value<'a> {
    Inline(&'a [u8]),
    Integer(i64),
    Big(BigString),
    /// Room for a collection of this kind, which whoever asked for it moves in.
    Collection(Kind),
}

impl Value<'_> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Value::Inline(_) => Kind::Inline,
            Value::Integer(_) => Kind::Integer,
            Value::Big(_) => Kind::Big,
            Value::Collection(kind) => *kind,
        }
    }

    pub(super) fn inline_length(&self) -> usize {
        match self {
            Value::Inline(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// A string as it is kept.
#[derive(Clone, Copy, Debug)]
pub enum StringView<'a> {
    /// An integer; its text is the canonical one.
    Int(i64),
    /// Bytes inside the entry.
    Bytes(&'a [u8]),
    /// A large string: a clone of it shares the bytes.
    Shared(&'a Bytes),
}

impl<'a> StringView<'a> {
    /// Length in bytes.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            StringView::Int(integer) => {
                let digits = integer
                    .unsigned_abs()
                    .checked_ilog10()
                    .map_or(1, |log| log as usize + 1);
                digits + usize::from(*integer < 0)
            }
            StringView::Bytes(bytes) => bytes.len(),
            StringView::Shared(bytes) => bytes.len(),
        }
    }

    /// The bytes; an integer is written into `buffer`.
    #[inline]
    pub fn with_bytes<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            StringView::Int(integer) => buffer.format(*integer).as_bytes(),
            StringView::Bytes(bytes) => bytes,
            StringView::Shared(bytes) => bytes,
        }
    }
}

/// The integer whose canonical text is `bytes`: no sign but `-`, no leading zero, no space.
#[inline]
pub fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

impl Entry {
    /// The string, or [`WrongType`] for a value that is none.
    #[inline]
    pub fn string(&self) -> Result<StringView<'_>, WrongType> {
        let shape = self.shape();
        Ok(match self.kind() {
            // SAFETY: the block of an inline string holds `inline_length` initialised bytes at that offset.
            Kind::Inline => StringView::Bytes(unsafe {
                std::slice::from_raw_parts(
                    self.block().add(shape.inline_offset()),
                    shape.inline_length(),
                )
            }),
            // SAFETY: the value word of an integer is an aligned i64.
            Kind::Integer => StringView::Int(unsafe {
                self.block().add(shape.word_offset()).cast::<i64>().read()
            }),
            Kind::Big => StringView::Shared(self.big().bytes()),
            _ => return Err(WrongType),
        })
    }

    /// The encoding's name, as OBJECT ENCODING says it.
    pub fn encoding(&self) -> &'static str {
        match self.string() {
            Ok(StringView::Int(_)) => "int",
            Ok(StringView::Bytes(bytes)) if bytes.len() <= EMBSTR_BYTES_MAX && !self.is_raw() => {
                "embstr"
            }
            Ok(StringView::Bytes(_) | StringView::Shared(_)) => "raw",
            Err(WrongType) => with_collection!(self, |collection| collection.encoding()),
        }
    }

    /// The string was modified in place.
    #[inline]
    pub(super) fn is_raw(&self) -> bool {
        self.header() & RAW != 0
    }

    /// Replaces the value by a copy of `bytes` (inline when short), not raw, never made an integer.
    pub fn set_bytes(&mut self, bytes: &[u8]) {
        if bytes.len() <= INLINE_VALUE_BYTES_MAX {
            self.replace(Value::Inline(bytes), false);
        } else {
            self.replace(Value::Big(BigString::copy(bytes)), false);
        }
    }

    /// Replaces the value by `string`, copied when it is short enough for the block.
    pub fn set_big(&mut self, string: BigString) {
        if string.bytes().len() <= INLINE_VALUE_BYTES_MAX {
            self.replace(Value::Inline(string.bytes()), false);
        } else {
            self.replace(Value::Big(string), false);
        }
    }

    /// Replaces the value by an integer.
    pub fn set_integer(&mut self, integer: i64) {
        self.replace(Value::Integer(integer), false);
    }

    /// Replaces the value by bytes that were modified: `raw`. Short ones go inline.
    pub fn set_raw(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= INLINE_VALUE_BYTES_MAX);
        self.replace(Value::Inline(bytes), true);
    }

    /// Replaces the value by a big string that was modified.
    pub fn set_raw_big(&mut self, string: BigString) {
        self.replace(Value::Big(string), true);
    }

    /// Takes a big string out, leaving an empty one; `None` for any other value.
    pub fn take_big(&mut self) -> Option<BigString> {
        (self.kind() == Kind::Big)
            .then(|| std::mem::replace(self.big_mut(), BigString::new(Bytes::new())))
    }

    #[inline]
    pub(super) fn big(&self) -> &BigString {
        debug_assert_eq!(self.kind(), Kind::Big);
        // SAFETY: the value word of a big string is an aligned `BigString`, borrowed as long as its owner.
        unsafe { &*self.block().add(self.shape().word_offset()).cast() }
    }

    #[inline]
    pub(super) fn big_mut(&mut self) -> &mut BigString {
        debug_assert_eq!(self.kind(), Kind::Big);
        // SAFETY: as in `big`, and `&mut self` is its only user.
        unsafe { &mut *self.block().add(self.shape().word_offset()).cast() }
    }

    fn replace(&mut self, value: Value<'_>, raw: bool) {
        let old = self.shape();
        let mut header = old.header & !(KIND_MASK | RAW | LENGTH_MASK << VALUE_LENGTH_SHIFT)
            | value.kind() as u64
            | (value.inline_length() as u64) << VALUE_LENGTH_SHIFT;
        if raw {
            header |= RAW;
        }
        let new = Shape { header, ..old };
        // SAFETY: the value is not looked at again: the new one is written over it below.
        unsafe { self.drop_outside() };
        let target = self.target(new.length());
        // SAFETY: what the old value owned was dropped. The target is this block or
        // a fresh one of the new length. What precedes the value word has the same place in both shapes; the
        // key moves by the difference of the value words, and is moved before the new value is written over its old
        // place. The value's bytes lie outside the block: they are borrowed while `self` is borrowed mutably.
        unsafe {
            let block = self.block();
            ptr::copy(
                block.add(old.key_offset()),
                target.add(new.key_offset()),
                old.key_length,
            );
            if target != block {
                ptr::copy_nonoverlapping(block, target, old.word_offset());
            }
            target.cast::<u64>().write(header);
            write_value(target, new, value);
            self.adopt(target, old.length());
        }
        debug_assert_eq!(old.header & HAS_EXPIRY, header & HAS_EXPIRY);
    }
}
