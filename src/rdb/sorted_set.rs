//! Sorted sets.
//!
//! ```text
//!   SORTED_SET           count | member, score as text …
//!   SORTED_SET_2         count | member, score as eight bytes …       what is written of large sets
//!   SORTED_SET_ZIPLIST   ziplist: member score …
//!   SORTED_SET_LISTPACK  listpack: member score …                     what is written of small sets
//! ```

use super::blob::{pairs, ziplist};
use super::cursor::Cursor;
use super::encode::{Encoder, push_element, push_length};
use super::error::{Error, Problem};
use super::grammar::kind;
use crate::base::number::parse_f64;
use crate::structures::listpack::Element;
use crate::structures::sorted_set::{Limits, SortedSet};

const CORRUPT: Problem = Problem::Corrupt("sorted set");

/// Lengths of a score's text that stand for what has no text.
const SCORE_NAN: u8 = 253;
const SCORE_INFINITY: u8 = 254;
const SCORE_MINUS_INFINITY: u8 = 255;

/// Reads a sorted set.
pub(super) fn read(
    type_: u8,
    cursor: &mut Cursor<'_>,
    limits: &Limits,
) -> Result<SortedSet, Error> {
    let start = cursor.clone();
    let mut set = SortedSet::default();
    match type_ {
        kind::SORTED_SET | kind::SORTED_SET_2 => {
            let count = cursor.count(2)?;
            set.expect_members(count, limits);
            for _ in 0..count {
                let at = cursor.clone();
                let member = cursor.text()?;
                let score = if type_ == kind::SORTED_SET_2 {
                    cursor.double()?
                } else {
                    score(cursor)?
                };
                insert(&mut set, member.element(), score, limits)
                    .map_err(|problem| at.error(problem))?;
            }
        }
        kind::SORTED_SET_ZIPLIST => {
            let (blob, start) = cursor.blob()?;
            let add = |pair: Result<(Element<'_>, Element<'_>), Problem>| {
                let (member, score) = pair?;
                let score = match score {
                    Element::Int(score) => score as f64,
                    Element::Bytes(text) => parse_f64(text).ok_or(CORRUPT)?,
                };
                insert(&mut set, member, score, limits)
            };
            ziplist::elements(&blob)
                .and_then(|elements| pairs(elements, "sorted set").try_for_each(add))
                .map_err(|problem| start.error(problem))?;
        }
        _ => {
            let at = cursor.clone();
            let listpack = cursor.listpack()?;
            set = SortedSet::from_listpack(listpack, limits).map_err(|_| at.error(CORRUPT))?;
        }
    }
    if set.is_empty() {
        return Err(start.error(Problem::Empty("sorted set")));
    }
    Ok(set)
}

/// Reads a score that is text behind its length.
fn score(cursor: &mut Cursor<'_>) -> Result<f64, Error> {
    let at = cursor.clone();
    Ok(match cursor.byte()? {
        SCORE_NAN => f64::NAN,
        SCORE_INFINITY => f64::INFINITY,
        SCORE_MINUS_INFINITY => f64::NEG_INFINITY,
        length => {
            let text = cursor.take(u64::from(length))?;
            parse_f64(text).ok_or_else(|| at.error(CORRUPT))?
        }
    })
}

fn insert(
    set: &mut SortedSet,
    member: Element<'_>,
    score: f64,
    limits: &Limits,
) -> Result<(), Problem> {
    let mut digits = itoa::Buffer::new();
    if score.is_nan() || !set.insert(member.to_bytes(&mut digits), score, limits) {
        // No number, or a member that was there already.
        return Err(CORRUPT);
    }
    Ok(())
}

/// Appends a sorted set and returns its type.
pub(super) fn write(set: &SortedSet, encoder: &mut Encoder, out: &mut Vec<u8>) -> u8 {
    if let Some(listpack) = set.as_listpack() {
        encoder.string(listpack.as_bytes(), out);
        return kind::SORTED_SET_LISTPACK;
    }
    push_length(set.len() as u64, out);
    for (member, score) in set.iter() {
        push_element(member, encoder, out);
        out.extend(score.to_le_bytes());
    }
    kind::SORTED_SET_2
}
