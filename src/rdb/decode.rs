//! From a record's bytes to an entry.

use std::borrow::Cow;

use super::cursor::{Cursor, Text};
use super::error::{Error, Problem};
use super::grammar::kind;
use super::{hash, list, set, sorted_set, stream};
use crate::config::Config;
use crate::keyspace::{Entry, KeyHasher};
use crate::structures::entry::{BigString, canonical_integer};
use crate::structures::list::NodeLimit;

/// The longest text that may be an integer.
const INTEGER_BYTES_MAX: usize = 20;

/// Which form collections get when they are read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    list: NodeLimit,
    hash: crate::structures::hash::Limits,
    set: crate::structures::set::Limits,
    sorted_set: crate::structures::sorted_set::Limits,
}

impl Limits {
    /// Those that the parameters ask for. `hasher` has the secrets that members are hashed with.
    pub fn new(config: &Config, hasher: &KeyHasher) -> Limits {
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Limits {
            list: NodeLimit::from_setting(config.list_max_listpack_size),
            hash: crate::structures::hash::Limits {
                entries: count(config.hash_max_listpack_entries),
                value_bytes: count(config.hash_max_listpack_value),
            },
            set: crate::structures::set::Limits {
                ints: count(config.set_max_intset_entries),
                entries: count(config.set_max_listpack_entries),
                value_bytes: count(config.set_max_listpack_value),
            },
            sorted_set: crate::structures::sorted_set::Limits {
                members: count(config.zset_max_listpack_entries),
                member_bytes: count(config.zset_max_listpack_value),
                seed: hasher.hash(b"members of sorted sets"),
            },
        }
    }
}

/// Reads a value of type `type_` into an entry for `key`.
pub(super) fn entry(
    type_: u8,
    key: &[u8],
    expiry: Option<i64>,
    cursor: &mut Cursor<'_>,
    limits: &Limits,
) -> Result<Entry, Error> {
    Ok(match type_ {
        kind::STRING => string(key, expiry, cursor.text()?),
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            let list = list::read(type_, cursor, limits.list)?;
            Entry::from_collection(key, list, expiry, 0)
        }
        kind::HASH
        | kind::HASH_ZIPMAP
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::HASH_METADATA
        | kind::HASH_LISTPACK_EX => {
            let hash = hash::read(type_, cursor, limits.hash)?;
            Entry::from_collection(key, hash, expiry, 0)
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => {
            let set = set::read(type_, cursor, limits.set)?;
            Entry::from_collection(key, set, expiry, 0)
        }
        kind::SORTED_SET
        | kind::SORTED_SET_2
        | kind::SORTED_SET_ZIPLIST
        | kind::SORTED_SET_LISTPACK => {
            let set = sorted_set::read(type_, cursor, &limits.sorted_set)?;
            Entry::from_collection(key, set, expiry, 0)
        }
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => {
            Entry::from_collection(key, stream::read(type_, cursor)?, expiry, 0)
        }
        _ => return Err(cursor.error(Problem::UnknownType(type_))),
    })
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
        Cow::Borrowed(bytes) => Entry::from_bytes(key, bytes, expiry, 0),
        Cow::Owned(bytes) => Entry::from_big(key, BigString::new(bytes.into()), expiry, 0),
    }
}
