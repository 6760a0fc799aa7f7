//! From a record's bytes to an entry.

use super::cursor::{Cursor, Text};
use super::error::{Error, Problem};
use super::grammar::kind;
use crate::keyspace::Entry;
use crate::structures::entry::{BigString, canonical_integer};

/// The longest text that may be an integer.
const INTEGER_BYTES_MAX: usize = 20;

/// Reads a value of type `type_` into an entry for `key`.
pub(super) fn entry(
    type_: u8,
    key: &[u8],
    expiry: Option<i64>,
    cursor: &mut Cursor<'_>,
) -> Result<Entry, Error> {
    match type_ {
        kind::STRING => Ok(string(key, expiry, cursor.text()?)),
        _ => Err(cursor.error(Problem::Refused(type_, "collection"))),
    }
}

fn string(key: &[u8], expiry: Option<i64>, text: Text<'_>) -> Entry {
    let bytes = match text {
        Text::Int(integer) => return Entry::from_integer(key, integer, expiry, 0),
        Text::Bytes(bytes) => bytes,
    };
    if bytes.len() <= INTEGER_BYTES_MAX
        && let Some(integer) = canonical_integer(&bytes)
    {
        return Entry::from_integer(key, integer, expiry, 0);
    }
    match bytes {
        std::borrow::Cow::Borrowed(bytes) => Entry::from_bytes(key, bytes, expiry, 0),
        std::borrow::Cow::Owned(bytes) => {
            Entry::from_big(key, BigString::new(bytes.into()), expiry, 0)
        }
    }
}
