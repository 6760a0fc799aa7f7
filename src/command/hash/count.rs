//! Values of fields as numbers: HINCRBY and HINCRBYFLOAT.

use super::{limits, set_one, wrote};
use crate::base::extended::Extended;
use crate::base::number::parse_i64;
use crate::command::{Cx, Done, Fault};
use crate::structures::hash::{Hash, Ttl};

pub(super) fn hincrby(cx: &mut Cx<'_>) -> Done {
    let by = parse_i64(cx.line.arg(3)).ok_or(Fault::NotInteger)?;
    let key = cx.key(1);
    let (name, now) = (cx.line.arg(2), cx.keyspace.fields_now());
    let found = match cx.keyspace.write(cx.db, key) {
        Some(entry) => entry.collection::<Hash>()?.get(name, now),
        None => None,
    };
    let old = match found {
        Some(value) => value
            .to_int()
            .ok_or(Fault::text("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = old
        .checked_add(by)
        .ok_or(Fault::text("ERR increment or decrement would overflow"))?;
    let mut digits = itoa::Buffer::new();
    set_one(cx, key, digits.format(sum).as_bytes(), "hincrby")?;
    cx.reply.int(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(cx: &mut Cx<'_>) -> Done {
    let by = Extended::parse(cx.line.arg(3)).ok_or(Fault::NotFloat)?;
    if !by.is_finite() {
        return Err(Fault::text("ERR value is NaN or Infinity"));
    }
    let key = cx.key(1);
    let (name, now) = (cx.line.arg(2), cx.keyspace.fields_now());
    let found = match cx.keyspace.write(cx.db, key) {
        Some(entry) => entry.collection::<Hash>()?.field(name, now),
        None => None,
    };
    let expiry = found.and_then(|field| field.expiry);
    let old = match found {
        Some(field) => Extended::parse(field.value.to_bytes(&mut itoa::Buffer::new()))
            .ok_or(Fault::text("ERR hash value is not a float"))?,
        None => Extended::ZERO,
    };
    let sum = old + by;
    if !sum.is_finite() {
        return Err(Fault::text("ERR increment would produce NaN or Infinity"));
    }
    let mut text = Vec::new();
    sum.format(&mut text);
    let limits = limits(cx.config);
    let (_, existed) = cx.keyspace.edit_or_new(cx.db, key, |hash: &mut Hash| {
        hash.set(name, &text, Ttl::Keep, now, limits)
    })?;
    // Another machine may round otherwise: a follower is told the result.
    cx.log(&[b"HSET", key.bytes, name, &text]);
    if let Some(at) = expiry {
        // HSET has taken it away there.
        let mut digits = itoa::Buffer::new();
        let at = digits.format(at).as_bytes();
        cx.log(&[b"HPEXPIREAT", key.bytes, at, b"FIELDS", b"1", name]);
    }
    wrote(cx, key, "hincrbyfloat", 1, existed);
    cx.reply.bulk(&text);
    Ok(())
}
