//! When fields end: set it, ask for it, take it away.
//!
//! As with keys, the four commands that set it differ only in the unit and the origin of their argument, and what
//! followers get is always the absolute form: HPEXPIREAT for the fields that it was set of, or HDEL for a moment that has passed.
//! Replies are one number per field, in the order of the line.

use super::{wrote, wrote_less};
use crate::base::number::parse_i64;
use crate::command::string::missed;
use crate::command::{Cx, Done, Fault};
use crate::keyspace::{Collection, ExpiryPolicy, Key};
use crate::resp::Line;
use crate::structures::hash::Hash;

/// The latest moment at which a field may end, milliseconds since 1970: as in Redis, which keeps 46 bits.
const LATEST_MS: i64 = (1 << 46) - 1;

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const CONDITION_FAILED: i64 = 0;
const DONE: i64 = 1;
const DELETED: i64 = 2;

/// Milliseconds of the unit that times are given in.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Seconds = 1000,
    Milliseconds = 1,
}

pub(super) fn hexpire(cx: &mut Cx<'_>) -> Done {
    set_ends(cx, "hexpire", Unit::Seconds, cx.now_ms)
}

pub(super) fn hpexpire(cx: &mut Cx<'_>) -> Done {
    set_ends(cx, "hpexpire", Unit::Milliseconds, cx.now_ms)
}

pub(super) fn hexpireat(cx: &mut Cx<'_>) -> Done {
    set_ends(cx, "hexpireat", Unit::Seconds, 0)
}

pub(super) fn hpexpireat(cx: &mut Cx<'_>) -> Done {
    set_ends(cx, "hpexpireat", Unit::Milliseconds, 0)
}

pub(super) fn httl(cx: &mut Cx<'_>) -> Done {
    reply_ends(cx, |at_ms, now_ms| rounded_up(at_ms - now_ms))
}

pub(super) fn hpttl(cx: &mut Cx<'_>) -> Done {
    reply_ends(cx, |at_ms, now_ms| at_ms - now_ms)
}

pub(super) fn hexpiretime(cx: &mut Cx<'_>) -> Done {
    reply_ends(cx, |at_ms, _| rounded_up(at_ms))
}

pub(super) fn hpexpiretime(cx: &mut Cx<'_>) -> Done {
    reply_ends(cx, |at_ms, _| at_ms)
}

fn rounded_up(ms: i64) -> i64 {
    (ms + 999) / 1000
}

/// The moment that `text` names, in units since `origin_ms`; milliseconds since 1970.
pub(super) fn moment(text: &[u8], unit: Unit, origin_ms: i64, command: &str) -> Result<i64, Fault> {
    let time = parse_i64(text).ok_or(Fault::NotInteger)?;
    if time < 0 {
        return Err(Fault::text("ERR invalid expire time, must be >= 0"));
    }
    time.checked_mul(unit as i64)
        .and_then(|ms| ms.checked_add(origin_ms))
        .filter(|&at| at <= LATEST_MS)
        .ok_or_else(|| Fault::text(format!("ERR invalid expire time in '{command}' command")))
}

/// Reads `FIELDS numfields field …` from the argument `at` on, with nothing behind it; returns where the fields begin.
/// `not_positive` says what a wrong number is told.
pub(super) fn fields_from(
    line: &Line<'_>,
    at: usize,
    not_positive: &'static str,
) -> Result<usize, Fault> {
    if at >= line.len() || !line.is(at, "fields") {
        return Err(Fault::text(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    let count = (at + 1 < line.len())
        .then(|| parse_i64(line.arg(at + 1)))
        .flatten()
        .filter(|&count| count > 0)
        .ok_or(Fault::text(not_positive))?;
    if usize::try_from(count) != Ok(line.len() - at - 2) {
        return Err(Fault::text(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(at + 2)
}

/// What is told of a wrong number of fields.
pub(super) const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// The key holds a hash; false when there is none.
pub(super) fn hash_is_there(cx: &mut Cx<'_>, key: Key<'_>) -> Result<bool, Fault> {
    match cx.keyspace.write(cx.db, key) {
        Some(entry) => Ok(entry.collection::<Hash>().map(|_| true)?),
        None => Ok(false),
    }
}

/// A field whose end is `at_ms` is to go at once. Not on a follower, which keeps it, hides it, and waits for its leader's HDEL.
pub(super) fn goes_at_once(cx: &Cx<'_>, at_ms: i64) -> bool {
    at_ms <= cx.now_ms && cx.keyspace.expiry_policy() == ExpiryPolicy::Delete
}

/// Logs `words` with the key as their second, then `FIELDS`, the number of `fields` and these.
pub(super) fn log_fields(cx: &mut Cx<'_>, key: Key<'_>, words: &[&[u8]], fields: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    let mut args: Vec<&[u8]> = vec![words[0], key.bytes];
    args.extend(&words[1..]);
    args.push(b"FIELDS");
    args.push(digits.format(fields.len()).as_bytes());
    args.extend(fields);
    cx.log(&args);
}

/// Logs that `fields` are deleted.
pub(super) fn log_deleted(cx: &mut Cx<'_>, key: Key<'_>, fields: &[&[u8]]) {
    let mut args: Vec<&[u8]> = vec![b"HDEL", key.bytes];
    args.extend(fields);
    cx.log(&args);
}

/// When a new end takes the place of the current one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    OnlyWithout,
    OnlyWith,
    OnlyLater,
    OnlyEarlier,
}

impl Condition {
    fn parse(word: &[u8]) -> Option<Condition> {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => Some(Condition::OnlyWithout),
            b"xx" => Some(Condition::OnlyWith),
            b"gt" => Some(Condition::OnlyLater),
            b"lt" => Some(Condition::OnlyEarlier),
            _ => None,
        }
    }

    /// The end `at_ms` may replace `current_ms`. A field without an end counts as ending last.
    fn holds(self, current_ms: Option<i64>, at_ms: i64) -> bool {
        match (self, current_ms) {
            (Condition::Always, _) => true,
            (Condition::OnlyWithout, current) => current.is_none(),
            (Condition::OnlyWith, current) => current.is_some(),
            (Condition::OnlyLater, current) => current.is_some_and(|current| at_ms > current),
            (Condition::OnlyEarlier, current) => current.is_none_or(|current| at_ms < current),
        }
    }
}

/// Sets the end of fields to argument 2, in units since `origin_ms`.
fn set_ends(cx: &mut Cx<'_>, command: &str, unit: Unit, origin_ms: i64) -> Done {
    let (key, line) = (cx.key(1), cx.line);
    let there = hash_is_there(cx, key)?;
    let at_ms = moment(line.arg(2), unit, origin_ms, command)?;
    let (condition, at) = match Condition::parse(line.arg(3)) {
        Some(condition) => (condition, 4),
        None => (Condition::Always, 3),
    };
    let not_positive = "ERR Parameter `numFields` should be greater than 0";
    let first = fields_from(&line, at, not_positive)?;
    cx.reply.array(line.len() - first);
    if !there {
        (first..line.len()).for_each(|_| cx.reply.int(NO_FIELD));
        return Ok(());
    }
    let deletes = goes_at_once(cx, at_ms);
    let now = cx.keyspace.fields_now();
    let reply = &mut cx.reply;
    let mut changed: Vec<&[u8]> = Vec::new();
    let emptied = cx.keyspace.edit(cx.db, key, |hash: &mut Hash| {
        for index in first..line.len() {
            let name = line.arg(index);
            let done = match hash.field(name, now) {
                None => NO_FIELD,
                Some(field) if !condition.holds(field.expiry, at_ms) => CONDITION_FAILED,
                Some(_) if deletes => {
                    hash.remove(name);
                    DELETED
                }
                Some(_) => {
                    hash.set_expiry(name, Some(at_ms));
                    DONE
                }
            };
            if matches!(done, DONE | DELETED) {
                changed.push(name);
            }
            reply.int(done);
        }
        hash.is_empty()
    })?;
    if changed.is_empty() {
        return Ok(());
    }
    if deletes {
        log_deleted(cx, key, &changed);
        wrote_less(cx, key, "hdel", changed.len(), emptied == Some(true));
    } else {
        let mut digits = itoa::Buffer::new();
        let at = digits.format(at_ms).as_bytes();
        log_fields(cx, key, &[b"HPEXPIREAT", at], &changed);
        wrote(cx, key, "hexpire", changed.len(), true);
    }
    Ok(())
}

/// Replies what `shown` makes of the end of each field and the present: -1 without an end, -2 without the field.
fn reply_ends(cx: &mut Cx<'_>, shown: impl Fn(i64, i64) -> i64) -> Done {
    let (key, line) = (cx.key(1), cx.line);
    let (now, now_ms) = (cx.keyspace.fields_now(), cx.now_ms);
    let hash = cx.keyspace.read_collection::<Hash>(cx.db, key)?;
    let first = fields_from(&line, 2, NOT_POSITIVE)?;
    let there = hash.is_some();
    cx.reply.array(line.len() - first);
    for index in first..line.len() {
        let answer = match hash.and_then(|hash| hash.field(line.arg(index), now)) {
            None => NO_FIELD,
            Some(field) => field.expiry.map_or(NO_EXPIRY, |at| shown(at, now_ms)),
        };
        cx.reply.int(answer);
    }
    if !there {
        missed(cx, key);
    }
    Ok(())
}

pub(super) fn hpersist(cx: &mut Cx<'_>) -> Done {
    let (key, line) = (cx.key(1), cx.line);
    let there = hash_is_there(cx, key)?;
    let first = fields_from(&line, 2, NOT_POSITIVE)?;
    cx.reply.array(line.len() - first);
    if !there {
        (first..line.len()).for_each(|_| cx.reply.int(NO_FIELD));
        return Ok(());
    }
    let now = cx.keyspace.fields_now();
    let reply = &mut cx.reply;
    let changed = cx.keyspace.edit(cx.db, key, |hash: &mut Hash| {
        let mut changed = false;
        for index in first..line.len() {
            let name = line.arg(index);
            let done = match hash.field(name, now).map(|field| field.expiry) {
                None => NO_FIELD,
                Some(None) => NO_EXPIRY,
                Some(Some(_)) => {
                    changed = true;
                    hash.set_expiry(name, None);
                    DONE
                }
            };
            reply.int(done);
        }
        changed
    })?;
    if changed == Some(true) {
        wrote(cx, key, "hpersist", 1, true);
    }
    Ok(())
}
