//! String values: set as a whole, or edited in place.

use std::ops::{Deref, DerefMut};

use bytes::{Bytes, BytesMut};

use super::{Entry, Key, Keyspace, WrongType};
use crate::structures::entry::{BigString, INLINE_VALUE_BYTES_MAX, StringView, canonical_integer};
use crate::structures::table::Place;

/// The longest text that may be an integer.
const INTEGER_BYTES_MAX: usize = 20;

/// A scratch buffer larger than this is not kept.
const SCRATCH_BYTES_MAX: usize = 4 * INLINE_VALUE_BYTES_MAX;

/// A short string that grew in place beyond this moves out of its entry, where growing costs no copy each time.
const GROWN_INLINE_BYTES_MAX: usize = 256;

/// A new string value.
#[derive(Clone, Debug)]
pub enum NewString<'a> {
    /// These bytes, copied; canonical integers are kept as integers.
    Bytes(&'a [u8]),
    /// These bytes, copied; never kept as an integer (INCRBYFLOAT's result).
    Text(&'a [u8]),
    /// These bytes, kept without a copy when they are many.
    Shared(Bytes),
    /// These bytes, the result of an edit (BITOP's): `raw` as after an edit in place, never kept as an integer.
    Edited(Bytes),
    /// An integer.
    Int(i64),
}

/// What becomes of the expiry when a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewExpiry {
    /// The key never expires.
    Clear,
    /// As it was; a new key never expires.
    Keep,
    /// At this moment, milliseconds since 1970.
    At(i64),
}

/// A string under modification: bytes that may grow. Growing is amortised.
#[derive(Debug)]
pub struct StringBuf<'a>(&'a mut BytesMut);

impl<'a> StringBuf<'a> {
    /// A string that lies in no keyspace.
    pub fn new(bytes: &'a mut BytesMut) -> StringBuf<'a> {
        StringBuf(bytes)
    }

    /// Adds `bytes` at the end.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Makes it at least `len` bytes long with zero bytes at the end.
    #[inline]
    pub fn grow_to(&mut self, len: usize) {
        if self.0.len() < len {
            self.0.resize(len, 0);
        }
    }

    /// Writes `bytes` at `offset`, with zero bytes between the end so far and there.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        self.grow_to(offset + bytes.len());
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Cuts it to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Deref for StringBuf<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl DerefMut for StringBuf<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

/// Where short strings are edited.
#[derive(Default)]
pub(super) struct Scratch(BytesMut);

impl Keyspace {
    /// Sets a key's value whatever it was; says whether the key was there.
    #[inline]
    pub fn set_string(
        &mut self,
        db: usize,
        key: Key<'_>,
        value: NewString<'_>,
        expiry: NewExpiry,
    ) -> bool {
        let value = with_integer(value);
        match self.find(db, key) {
            Some(place) => {
                self.overwrite(db, place, value, expiry);
                true
            }
            None => {
                self.insert_new(db, key, value, expiry);
                false
            }
        }
    }

    /// Sets a key's value to an integer; says whether the key was there.
    #[inline]
    pub fn set_integer(
        &mut self,
        db: usize,
        key: Key<'_>,
        integer: i64,
        expiry: NewExpiry,
    ) -> bool {
        self.set_string(db, key, NewString::Int(integer), expiry)
    }

    /// Modifies a string in place. Without the key nothing happens and the result is `None`, unless `create`: then it starts
    /// empty. The expiry stays. A large string is copied only if a reply still holds it.
    pub fn edit_string<R>(
        &mut self,
        db: usize,
        key: Key<'_>,
        create: bool,
        edit: impl FnOnce(&mut StringBuf<'_>) -> R,
    ) -> Result<Option<R>, WrongType> {
        let place = match self.find(db, key) {
            Some(place) => place,
            None if create => {
                self.remove_hidden(db, key);
                let entry = Entry::from_bytes(key.bytes, b"", None, self.access.fresh());
                let hasher = self.hasher;
                self.database_or_new(db).insert(&hasher, key.hash, entry)
            }
            None => return Ok(None),
        };
        if self.touch {
            self.use_entry(db, place);
        }
        let scratch = &mut self.scratch.0;
        let Some(database) = self.databases[db].as_deref_mut() else {
            return Ok(None);
        };
        database
            .change(place, |entry| edit_entry(entry, scratch, edit))
            .map(Some)
    }

    fn overwrite(&mut self, db: usize, place: Place, value: NewString<'_>, expiry: NewExpiry) {
        let touch = self.touch;
        let Some(database) = self.databases[db].as_deref_mut() else {
            return;
        };
        let (access, garbage) = (&mut self.access, &mut self.garbage);
        database.change(place, |entry| {
            if let Some(old) = entry.take_big() {
                garbage.drop_big(old);
            } else if let Some(old) = entry.take_collection() {
                garbage.drop_entry(old);
            }
            match expiry {
                NewExpiry::Clear => entry.set_expiry(None),
                NewExpiry::Keep => {}
                NewExpiry::At(at) => entry.set_expiry(Some(at)),
            }
            match value {
                NewString::Bytes(bytes) | NewString::Text(bytes) => entry.set_bytes(bytes),
                NewString::Shared(bytes) => entry.set_big(BigString::new(bytes)),
                NewString::Edited(bytes) => set_edited(entry, bytes),
                NewString::Int(integer) => entry.set_integer(integer),
            }
            if touch {
                entry.set_access(access.used(entry.access()));
            }
        });
    }

    fn insert_new(&mut self, db: usize, key: Key<'_>, value: NewString<'_>, expiry: NewExpiry) {
        let expiry = match expiry {
            NewExpiry::Clear | NewExpiry::Keep => None,
            NewExpiry::At(at) => Some(at),
        };
        self.remove_hidden(db, key);
        let access = self.access.fresh();
        let entry = match value {
            NewString::Bytes(bytes) | NewString::Text(bytes) => {
                Entry::from_bytes(key.bytes, bytes, expiry, access)
            }
            NewString::Shared(bytes) => {
                Entry::from_big(key.bytes, BigString::new(bytes), expiry, access)
            }
            NewString::Edited(bytes) => {
                let mut entry = Entry::from_bytes(key.bytes, b"", expiry, access);
                set_edited(&mut entry, bytes);
                entry
            }
            NewString::Int(integer) => Entry::from_integer(key.bytes, integer, expiry, access),
        };
        let hasher = self.hasher;
        self.database_or_new(db).insert(&hasher, key.hash, entry);
    }
}

/// Makes the value what an edit in place would have left.
fn set_edited(entry: &mut Entry, bytes: Bytes) {
    if bytes.len() <= INLINE_VALUE_BYTES_MAX {
        entry.set_raw(&bytes);
    } else {
        entry.set_raw_big(BigString::new(bytes));
    }
}

/// Canonical integers become integers.
#[inline]
fn with_integer(value: NewString<'_>) -> NewString<'_> {
    let integer = match &value {
        NewString::Bytes(bytes) if bytes.len() <= INTEGER_BYTES_MAX => canonical_integer(bytes),
        NewString::Shared(bytes) if bytes.len() <= INTEGER_BYTES_MAX => canonical_integer(bytes),
        _ => None,
    };
    integer.map_or(value, NewString::Int)
}

fn edit_entry<R>(
    entry: &mut Entry,
    scratch: &mut BytesMut,
    edit: impl FnOnce(&mut StringBuf<'_>) -> R,
) -> Result<R, WrongType> {
    if let Some(string) = entry.take_big() {
        let mut buffer = string.into_buffer();
        let result = edit(&mut StringBuf(&mut buffer));
        entry.set_raw_big(BigString::from_buffer(buffer));
        return Ok(result);
    }
    scratch.clear();
    let old: StringView<'_> = entry.string()?;
    scratch.extend_from_slice(old.with_bytes(&mut itoa::Buffer::new()));
    let old_len = scratch.len();
    let result = edit(&mut StringBuf(scratch));
    let len = scratch.len();
    let stays = len <= INLINE_VALUE_BYTES_MAX && (len <= old_len || len <= GROWN_INLINE_BYTES_MAX);
    if stays {
        entry.set_raw(scratch);
    } else if scratch.capacity() > len * 2 {
        entry.set_raw_big(BigString::copy(scratch));
    } else {
        entry.set_raw_big(BigString::from_buffer(std::mem::take(scratch)));
    }
    if scratch.capacity() > SCRATCH_BYTES_MAX {
        *scratch = BytesMut::new();
    }
    Ok(result)
}
