//! Values as numbers: INCR and its relatives.

use super::wrote_string;
use crate::base::extended::Extended;
use crate::base::number::parse_i64;
use crate::command::{Cx, Done, Fault};
use crate::keyspace::{NewExpiry, NewString, StringView};

pub(super) fn incr(cx: &mut Cx<'_>) -> Done {
    add(cx, 1)
}

pub(super) fn decr(cx: &mut Cx<'_>) -> Done {
    add(cx, -1)
}

pub(super) fn incrby(cx: &mut Cx<'_>) -> Done {
    let by = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    add(cx, by)
}

pub(super) fn decrby(cx: &mut Cx<'_>) -> Done {
    let by = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    let by = by
        .checked_neg()
        .ok_or(Fault::text("ERR decrement would overflow"))?;
    add(cx, by)
}

/// Adds to the integer in the line's key; a missing key counts as 0.
fn add(cx: &mut Cx<'_>, by: i64) -> Done {
    let key = cx.key(1);
    let found = match cx.keyspace.write(cx.db, key) {
        None => None,
        Some(entry) => Some(match entry.string()? {
            StringView::Int(integer) => integer,
            StringView::Bytes(bytes) => parse_i64(bytes).ok_or(Fault::NotInteger)?,
            StringView::Shared(_) => return Err(Fault::NotInteger),
        }),
    };
    let sum = found
        .unwrap_or(0)
        .checked_add(by)
        .ok_or(Fault::text("ERR increment or decrement would overflow"))?;
    cx.keyspace.set_integer(cx.db, key, sum, NewExpiry::Keep);
    wrote_string(cx, key, "incrby", found.is_some());
    cx.reply.int(sum);
    Ok(())
}

pub(super) fn incrbyfloat(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let found = match cx.keyspace.write(cx.db, key) {
        None => None,
        Some(entry) => {
            let mut digits = itoa::Buffer::new();
            let text = entry.string()?.with_bytes(&mut digits);
            Some(Extended::parse(text).ok_or(Fault::NotFloat)?)
        }
    };
    let by = Extended::parse(cx.line.arg(2)).ok_or(Fault::NotFloat)?;
    let sum = found.unwrap_or(Extended::ZERO) + by;
    if !sum.is_finite() {
        return Err(Fault::text("ERR increment would produce NaN or Infinity"));
    }
    let mut text = Vec::new();
    sum.format(&mut text);
    cx.keyspace
        .set_string(cx.db, key, NewString::Text(&text), NewExpiry::Keep);
    wrote_string(cx, key, "incrbyfloat", found.is_some());
    // Another machine may round otherwise: a follower is told the result.
    cx.log(&[b"SET", key.bytes, &text, b"KEEPTTL"]);
    cx.reply.bulk(&text);
    Ok(())
}
