//! Sets.
//!
//! ```text
//!   SET           count | member …                            what is written of others, and of all before version 11
//!   SET_INTSET    bytes of an integer 4 | count 4 | integers  what is written of sets of integers
//!   SET_LISTPACK  listpack: member …                          what is written of small sets
//! ```

use super::cursor::Cursor;
use super::encode::{Encoder, Version, push_element, push_length};
use super::error::{Error, Problem};
use super::grammar::kind;
use crate::structures::entry::Collection;
use crate::structures::set::{Limits, Set};

const CORRUPT: Problem = Problem::Corrupt("set");

/// Reads a set.
pub(super) fn read(type_: u8, cursor: &mut Cursor<'_>, limits: Limits) -> Result<Set, Error> {
    let start = cursor.clone();
    let mut set = Set::default();
    match type_ {
        kind::SET => {
            for _ in 0..cursor.count(1)? {
                let at = cursor.clone();
                if !set.insert_element(cursor.text()?.element(), limits) {
                    return Err(at.error(CORRUPT));
                }
            }
        }
        kind::SET_INTSET => {
            let (blob, at) = cursor.blob()?;
            set = Set::from_ints(&blob, limits).map_err(|_| at.error(CORRUPT))?;
        }
        _ => {
            let at = cursor.clone();
            let listpack = cursor.listpack()?;
            set = Set::from_listpack(listpack, limits).map_err(|_| at.error(CORRUPT))?;
        }
    }
    if set.is_empty() {
        return Err(start.error(Problem::Empty("set")));
    }
    Ok(set)
}

/// Appends a set and returns its type.
pub(super) fn write(set: &Set, encoder: &mut Encoder, out: &mut Vec<u8>) -> u8 {
    if let Some(ints) = set.as_ints() {
        encoder.string(ints.as_bytes(), out);
        return kind::SET_INTSET;
    }
    if let Some(listpack) = set.as_listpack()
        && encoder.version() >= Version::V11
    {
        encoder.string(listpack.as_bytes(), out);
        return kind::SET_LISTPACK;
    }
    push_length(set.len() as u64, out);
    for member in set.iter() {
        push_element(member, encoder, out);
    }
    kind::SET
}
