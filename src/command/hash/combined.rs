//! Commands that do two things to fields at once: HGETEX, HSETEX, HGETDEL.

use super::expire::{
    NOT_POSITIVE, Unit, fields_from, goes_at_once, hash_is_there, log_deleted, log_fields, moment,
};
use super::{limits, push, remove_live, set_pairs, wrong_number, wrote, wrote_less};
use crate::base::number::parse_i64;
use crate::command::{Cx, Done, Fault};
use crate::keyspace::Collection;
use crate::resp::Line;
use crate::structures::hash::{Found, Hash, Ttl};

/// The unit and the origin of a time that follows one of the words EX, PX, EXAT and PXAT.
fn unit_and_origin(word: &[u8], now_ms: i64) -> Option<(Unit, i64)> {
    match word.to_ascii_lowercase().as_slice() {
        b"ex" => Some((Unit::Seconds, now_ms)),
        b"px" => Some((Unit::Milliseconds, now_ms)),
        b"exat" => Some((Unit::Seconds, 0)),
        b"pxat" => Some((Unit::Milliseconds, 0)),
        _ => None,
    }
}

pub(super) fn hgetdel(cx: &mut Cx<'_>) -> Done {
    let (key, line) = (cx.key(1), cx.line);
    let there = hash_is_there(cx, key)?;
    let first = fields_from(&line, 2, NOT_POSITIVE)?;
    cx.reply.array(line.len() - first);
    if !there {
        (first..line.len()).for_each(|_| cx.reply.null());
        return Ok(());
    }
    let now = cx.keyspace.fields_now();
    let reply = &mut cx.reply;
    let mut removed: Vec<&[u8]> = Vec::new();
    let emptied = cx.keyspace.edit(cx.db, key, |hash: &mut Hash| {
        for index in first..line.len() {
            let name = line.arg(index);
            match hash.get(name, now) {
                Some(value) => {
                    push(reply, value);
                    hash.remove(name);
                    removed.push(name);
                }
                None => reply.null(),
            }
        }
        hash.is_empty()
    })?;
    if !removed.is_empty() {
        log_deleted(cx, key, &removed);
        wrote_less(cx, key, "hdel", removed.len(), emptied == Some(true));
    }
    Ok(())
}

/// What HGETEX does to the fields that it returns.
#[derive(Clone, Copy)]
enum Change {
    Nothing,
    Persist,
    End(i64),
    Delete,
}

pub(super) fn hgetex(cx: &mut Cx<'_>) -> Done {
    let (key, line) = (cx.key(1), cx.line);
    let there = hash_is_there(cx, key)?;
    let (change, at) = match unit_and_origin(line.arg(2), cx.now_ms) {
        Some((unit, origin_ms)) => {
            let at_ms = moment(line.arg(3), unit, origin_ms, "hgetex")?;
            // Behind a time Redis wants two more arguments before it looks at them.
            if line.len() < 6 {
                return Err(wrong_number("hgetex"));
            }
            if goes_at_once(cx, at_ms) {
                (Change::Delete, 4)
            } else {
                (Change::End(at_ms), 4)
            }
        }
        None if line.is(2, "persist") => (Change::Persist, 3),
        None => (Change::Nothing, 2),
    };
    let first = fields_from(&line, at, NOT_POSITIVE)?;
    cx.reply.array(line.len() - first);
    if !there {
        (first..line.len()).for_each(|_| cx.reply.null());
        return Ok(());
    }
    let now = cx.keyspace.fields_now();
    let reply = &mut cx.reply;
    let mut changed: Vec<&[u8]> = Vec::new();
    let emptied = cx.keyspace.edit(cx.db, key, |hash: &mut Hash| {
        for index in first..line.len() {
            let name = line.arg(index);
            let Some(field) = hash.field(name, now) else {
                reply.null();
                continue;
            };
            let had_end = field.expiry.is_some();
            push(reply, field.value);
            let done = match change {
                Change::Nothing => false,
                Change::Persist => had_end && hash.set_expiry(name, None),
                Change::End(at_ms) => hash.set_expiry(name, Some(at_ms)),
                Change::Delete => hash.remove(name),
            };
            if done {
                changed.push(name);
            }
        }
        hash.is_empty()
    })?;
    if changed.is_empty() {
        return Ok(());
    }
    match change {
        Change::Nothing => {}
        Change::Persist => {
            log_fields(cx, key, &[b"HPERSIST"], &changed);
            wrote(cx, key, "hpersist", changed.len(), true);
        }
        Change::End(at_ms) => {
            let mut digits = itoa::Buffer::new();
            let at = digits.format(at_ms).as_bytes();
            log_fields(cx, key, &[b"HPEXPIREAT", at], &changed);
            wrote(cx, key, "hexpire", changed.len(), true);
        }
        Change::Delete => {
            log_deleted(cx, key, &changed);
            wrote_less(cx, key, "hdel", changed.len(), emptied == Some(true));
        }
    }
    Ok(())
}

/// What becomes of the ends of the fields that HSETEX sets.
#[derive(Clone, Copy)]
enum End {
    Never,
    Keep,
    At(i64),
}

/// HSETEX's options, and where its pairs begin.
struct Setting {
    /// Whether all fields must exist, or none of them.
    must_exist: Option<bool>,
    end: End,
    first: usize,
}

impl Setting {
    fn parse(line: &Line<'_>, now_ms: i64) -> Result<Setting, Fault> {
        let (mut must_exist, mut end, mut at) = (None, End::Never, 2);
        while at < line.len() {
            let word = line.arg(at);
            if line.is(at, "fields") {
                let first = pairs_from(line, at)?;
                return Ok(Setting {
                    must_exist,
                    end,
                    first,
                });
            }
            let time = unit_and_origin(word, now_ms);
            let keeps = line.is(at, "keepttl");
            let (all, none) = (line.is(at, "fxx"), line.is(at, "fnx"));
            if (time.is_some() || keeps) && !matches!(end, End::Never) {
                return Err(Fault::text(
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                ));
            }
            if (all || none) && must_exist.is_some() {
                return Err(Fault::text(
                    "ERR Only one of FXX or FNX arguments can be specified",
                ));
            }
            if let Some((unit, origin_ms)) = time {
                at += 1;
                if at == line.len() {
                    return Err(Fault::text("ERR missing expire time"));
                }
                end = End::At(moment(line.arg(at), unit, origin_ms, "hsetex")?);
            } else if keeps {
                end = End::Keep;
            } else if all || none {
                must_exist = Some(all);
            } else {
                return Err(Fault::showing("ERR unknown argument: {}", &[word]));
            }
            at += 1;
        }
        Err(Fault::Syntax)
    }
}

/// Where the pairs begin behind `FIELDS numfields` at the argument `at`.
fn pairs_from(line: &Line<'_>, at: usize) -> Result<usize, Fault> {
    if at + 3 >= line.len() {
        return Err(wrong_number("hsetex"));
    }
    let count = parse_i64(line.arg(at + 1))
        .filter(|count| (1..=i64::from(i32::MAX)).contains(count))
        .ok_or(Fault::text("ERR invalid number of fields"))?;
    let first = at + 2;
    let args = line.len() - first;
    if !args.is_multiple_of(2) || usize::try_from(count) != Ok(args / 2) {
        return Err(wrong_number("hsetex"));
    }
    Ok(first)
}

pub(super) fn hsetex(cx: &mut Cx<'_>) -> Done {
    let setting = Setting::parse(&cx.line, cx.now_ms)?;
    let (key, line, first) = (cx.key(1), cx.line, setting.first);
    let now = cx.keyspace.fields_now();
    let existed = hash_is_there(cx, key)?;
    if let Some(must_exist) = setting.must_exist {
        let hash = cx.keyspace.peek(cx.db, key);
        let hash = hash.map(|entry| entry.collection::<Hash>()).transpose()?;
        let holds = (first..line.len()).step_by(2).all(|index| {
            let there = hash.is_some_and(|hash| hash.get(line.arg(index), now).is_some());
            there == must_exist
        });
        if !holds {
            cx.reply.int(0);
            return Ok(());
        }
    }
    let names: Vec<&[u8]> = (first..line.len())
        .step_by(2)
        .map(|at| line.arg(at))
        .collect();
    if let End::At(at_ms) = setting.end
        && goes_at_once(cx, at_ms)
    {
        let edited = cx.keyspace.edit(cx.db, key, |hash: &mut Hash| {
            for name in &names {
                remove_live(hash, name, now);
            }
            hash.is_empty()
        })?;
        log_deleted(cx, key, &names);
        wrote(cx, key, "hset", names.len(), existed);
        cx.notify(cx.db, key.bytes, "hdel", crate::command::class::HASH);
        if edited.unwrap_or(true) {
            cx.notify(cx.db, key.bytes, "del", crate::command::class::GENERIC);
        }
        cx.reply.int(1);
        return Ok(());
    }
    let limits = limits(cx.config);
    let mut revived: Vec<&[u8]> = Vec::new();
    set_pairs(cx, key, first, |hash, name, value| {
        let ttl = match setting.end {
            End::Never => Ttl::Clear,
            End::Keep | End::At(_) => Ttl::Keep,
        };
        let found = hash.set(name, value, ttl, now, limits);
        if let End::At(at_ms) = setting.end {
            hash.set_expiry(name, Some(at_ms));
        }
        if found == Found::Expired {
            revived.push(name);
        }
        found
    })?;
    log_setting(cx, &setting, &revived);
    wrote(cx, key, "hset", names.len(), existed);
    if matches!(setting.end, End::At(_)) {
        cx.notify(cx.db, key.bytes, "hexpire", crate::command::class::HASH);
    }
    cx.reply.int(1);
    Ok(())
}

/// Logs what was set, without conditions and with an absolute end.
fn log_setting(cx: &mut Cx<'_>, setting: &Setting, revived: &[&[u8]]) {
    let (key, line) = (cx.key(1), cx.line);
    if !revived.is_empty() {
        // A follower still has these fields, with ends that must not be kept.
        log_deleted(cx, key, revived);
    }
    let mut digits = itoa::Buffer::new();
    let mut count = itoa::Buffer::new();
    let pairs = (line.len() - setting.first) / 2;
    let mut args: Vec<&[u8]> = match setting.end {
        End::Never => vec![b"HSET", key.bytes],
        End::Keep => vec![b"HSETEX", key.bytes, b"KEEPTTL"],
        End::At(at_ms) => vec![
            b"HSETEX",
            key.bytes,
            b"PXAT",
            digits.format(at_ms).as_bytes(),
        ],
    };
    if !matches!(setting.end, End::Never) {
        args.push(b"FIELDS");
        args.push(count.format(pairs).as_bytes());
    }
    args.extend((setting.first..line.len()).map(|index| line.arg(index)));
    cx.log(&args);
}
