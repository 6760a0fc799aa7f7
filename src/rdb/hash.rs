//! Hashes.
//!
//! ```text
//!   HASH              count | field value …                             what is written of large hashes
//!   HASH_ZIPMAP       zipmap
//!   HASH_ZIPLIST      ziplist: field value …
//!   HASH_LISTPACK     listpack: field value …                           what is written of small hashes
//!   HASH_METADATA     soonest | count | expiry field value …            what is written with expiries, version 12
//!   HASH_LISTPACK_EX  soonest | listpack: field value expiry …
//! ```
//!
//! In HASH_METADATA an expiry is a length: milliseconds behind the soonest, plus one; 0 for none. In HASH_LISTPACK_EX it is the time
//! itself, milliseconds since 1970, or 0.

use super::blob::{pairs, ziplist, zipmap};
use super::cursor::Cursor;
use super::encode::{Encoder, Version, push_element, push_length};
use super::error::{Error, Problem};
use super::grammar::kind;
use crate::structures::hash::{Field, Hash, Limits, SEE_ALL};
use crate::structures::listpack::{Element, Listpack};

/// Times of expiry have 48 bits.
const EXPIRY_MAX: i64 = (1 << 48) - 1;
const CORRUPT: Problem = Problem::Corrupt("hash");

/// Reads a hash.
pub(super) fn read(type_: u8, cursor: &mut Cursor<'_>, limits: Limits) -> Result<Hash, Error> {
    let start = cursor.clone();
    let mut hash = Hash::default();
    match type_ {
        kind::HASH => {
            let count = cursor.count(2)?;
            hash.prepare(count, 0, 0, limits);
            for _ in 0..count {
                field(&mut hash, cursor, None, limits)?;
            }
        }
        kind::HASH_ZIPMAP | kind::HASH_ZIPLIST => {
            let (blob, start) = cursor.blob()?;
            let mut add = |pair: Result<(Element<'_>, Element<'_>), Problem>| {
                let (name, value) = pair?;
                insert(&mut hash, name, value, None, limits)
            };
            let added = if type_ == kind::HASH_ZIPMAP {
                zipmap::elements(&blob)
                    .and_then(|elements| pairs(elements, "hash").try_for_each(&mut add))
            } else {
                ziplist::elements(&blob)
                    .and_then(|elements| pairs(elements, "hash").try_for_each(&mut add))
            };
            added.map_err(|problem| start.error(problem))?;
        }
        kind::HASH_LISTPACK => {
            let at = cursor.clone();
            let listpack = cursor.listpack()?;
            hash = Hash::from_listpack(listpack, limits).map_err(|_| at.error(CORRUPT))?;
        }
        kind::HASH_METADATA => {
            let soonest = cursor.i64_le()?;
            let count = cursor.count(3)?;
            hash.prepare(count, 0, 0, limits);
            for _ in 0..count {
                let at = cursor.clone();
                let expiry = match cursor.length()? {
                    0 => None,
                    behind => {
                        let expiry = soonest.checked_add_unsigned(behind - 1);
                        Some(checked_expiry(expiry).map_err(|problem| at.error(problem))?)
                    }
                };
                field(&mut hash, cursor, expiry, limits)?;
            }
        }
        _ => {
            cursor.i64_le()?;
            let at = cursor.clone();
            let listpack = cursor.listpack()?;
            triples(&mut hash, &listpack, limits).map_err(|problem| at.error(problem))?;
        }
    }
    if hash.len() == 0 {
        return Err(start.error(Problem::Empty("hash")));
    }
    Ok(hash)
}

/// Reads a field and its value.
fn field(
    hash: &mut Hash,
    cursor: &mut Cursor<'_>,
    expiry: Option<i64>,
    limits: Limits,
) -> Result<(), Error> {
    let start = cursor.clone();
    let (name, value) = (cursor.text()?, cursor.text()?);
    insert(hash, name.element(), value.element(), expiry, limits)
        .map_err(|problem| start.error(problem))
}

/// Adds the fields of a listpack with expiries.
fn triples(hash: &mut Hash, listpack: &Listpack, limits: Limits) -> Result<(), Problem> {
    let mut elements = listpack.iter();
    while let Some(name) = elements.next() {
        let value = elements.next().ok_or(CORRUPT)?;
        let expiry = match elements.next().and_then(|expiry| expiry.to_int()) {
            Some(0) => None,
            expiry => Some(checked_expiry(expiry)?),
        };
        insert(hash, name, value, expiry, limits)?;
    }
    Ok(())
}

fn checked_expiry(expiry: Option<i64>) -> Result<i64, Problem> {
    expiry
        .filter(|expiry| (0..=EXPIRY_MAX).contains(expiry))
        .ok_or(Problem::Corrupt("expiry of a field"))
}

fn insert(
    hash: &mut Hash,
    name: Element<'_>,
    value: Element<'_>,
    expiry: Option<i64>,
    limits: Limits,
) -> Result<(), Problem> {
    let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
    if hash.insert_new(
        name.to_bytes(&mut a),
        value.to_bytes(&mut b),
        expiry,
        limits,
    ) {
        Ok(())
    } else {
        // The field was there already.
        Err(CORRUPT)
    }
}

/// Some field of the hash expires.
pub(super) fn has_expiries(hash: &Hash) -> bool {
    hash.deadline().is_some()
}

/// Appends a hash and returns its type. Versions before 12 have no place for expiries: fields that have expired are left out, the others
/// live for ever.
pub(super) fn write(hash: &Hash, encoder: &mut Encoder, out: &mut Vec<u8>) -> u8 {
    if let Some(listpack) = hash.as_listpack() {
        encoder.string(listpack.as_bytes(), out);
        return kind::HASH_LISTPACK;
    }
    let field = |field: &Field<'_>, encoder: &mut Encoder, out: &mut Vec<u8>| {
        push_element(field.name, encoder, out);
        push_element(field.value, encoder, out);
    };
    if !has_expiries(hash) || encoder.version() < Version::V12 {
        let now_ms = encoder.now_ms();
        push_length(hash.live_len(now_ms) as u64, out);
        for each in hash.iter(now_ms) {
            field(&each, encoder, out);
        }
        return kind::HASH;
    }
    let soonest = hash.iter(SEE_ALL).filter_map(|field| field.expiry).min();
    let soonest = soonest.unwrap_or(0);
    out.extend(soonest.to_le_bytes());
    push_length(hash.len() as u64, out);
    for each in hash.iter(SEE_ALL) {
        let behind = each.expiry.map_or(0, |expiry| expiry.abs_diff(soonest) + 1);
        push_length(behind, out);
        field(&each, encoder, out);
    }
    kind::HASH_METADATA
}
