//! XADD, XTRIM, XDEL and XSETID: commands that change the records.

use super::super::{Cx, Done, Fault, class};
use super::args::{self, TrimArgs, parse_id, parse_ids};
use super::{must_obey, push_id};
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::keyspace::Key;
use crate::structures::stream::{Keep, NewId, NodeLimits, Records, Stream, StreamId, Trim};

fn limits(config: &Config) -> NodeLimits {
    NodeLimits {
        bytes: config.stream_node_max_bytes,
        entries: config.stream_node_max_entries,
    }
}

/// What XADD did.
struct Added {
    id: StreamId,
    trimmed: u64,
    /// What a follower is to keep instead of what the line says.
    left: Keep,
}

pub(super) fn xadd(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let options = args::parse_add(&line, cx.config, must_obey(cx))?;
    let (new_id, id_at) = match options.id {
        Some((new_id, at)) if line.len() - at > 2 && (line.len() - at) % 2 == 1 => (new_id, at),
        _ => {
            return Err(Fault::text(
                "ERR wrong number of arguments for 'xadd' command",
            ));
        }
    };
    if new_id == NewId::Given(StreamId::MIN) {
        return Err(Fault::text(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let key = cx.key(1);
    if options.only_existing && cx.keyspace.write(cx.db, key).is_none() {
        cx.reply.null();
        return Ok(());
    }
    let pairs = (id_at + 1..line.len())
        .step_by(2)
        .map(move |index| (line.arg(index), line.arg(index + 1)));
    let (now_ms, limits) = (cx.now_ms, limits(cx.config));
    let (result, existed) = cx.keyspace.edit_or_new(cx.db, key, |stream: &mut Stream| {
        let records = stream.records_mut();
        if records.last_id == StreamId::MAX {
            return Err(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            );
        }
        let id = records.new_id(new_id, now_ms).ok_or(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        )?;
        records
            .append(id, pairs, limits)
            .map_err(|_| "ERR Elements are too large to be stored")?;
        let trimmed = options.trim.map_or(0, |args| records.trim(args.trim));
        let left = options
            .trim
            .map_or(Keep::Len(0), |args| left(records, args.trim));
        Ok(Added { id, trimmed, left })
    })?;
    let added = match result {
        Ok(added) => added,
        Err(text) => {
            if !existed {
                cx.keyspace.remove(cx.db, key);
            }
            return Err(Fault::text(text));
        }
    };
    if !existed {
        cx.notify(cx.db, key.bytes, "new", class::NEW);
    }
    cx.wrote(key.bytes, "xadd", class::STREAM);
    if added.trimmed > 0 {
        cx.notify(cx.db, key.bytes, "xtrim", class::STREAM);
    }
    push_id(&mut cx.reply, added.id);
    let trim = options.trim.filter(|args| args.trim.whole_nodes);
    if trim.is_some() || !matches!(new_id, NewId::Given(_)) {
        log_exactly(cx, trim, added.left, Some((id_at, added.id)));
    }
    Ok(())
}

pub(super) fn xtrim(cx: &mut Cx<'_>) -> Done {
    let args = args::parse_trim(&cx.line, cx.config, must_obey(cx))?;
    let key = cx.key(1);
    let trimmed = cx.keyspace.edit(cx.db, key, |stream: &mut Stream| {
        let records = stream.records_mut();
        let trimmed = records.trim(args.trim);
        (trimmed, left(records, args.trim))
    })?;
    let (trimmed, left) = trimmed.unwrap_or((0, Keep::Len(0)));
    if trimmed > 0 {
        wrote_many(cx, key, "xtrim", trimmed);
        if args.trim.whole_nodes {
            log_exactly(cx, Some(args), left, None);
        }
    }
    cx.reply.int(trimmed as i64);
    Ok(())
}

/// What an exact trim would have to say to leave the records that are there.
fn left(records: &Records, trim: Trim) -> Keep {
    match trim.keep {
        Keep::Len(_) => Keep::Len(records.len()),
        Keep::From(_) if records.is_empty() => Keep::From(StreamId::MAX),
        Keep::From(_) => Keep::From(records.first_id()),
    }
}

/// Logs the line with the id that the record got, and with an exact trim to what was left: nodes may lie otherwise elsewhere.
fn log_exactly(cx: &mut Cx<'_>, trim: Option<TrimArgs>, left: Keep, id: Option<(usize, StreamId)>) {
    if !cx.effects.logging {
        cx.log_nothing();
        return;
    }
    let line = cx.line;
    let mut number = itoa::Buffer::new();
    let left_id = match left {
        Keep::From(id) => id.text(),
        Keep::Len(_) => StreamId::MIN.text(),
    };
    let left: &[u8] = match left {
        Keep::Len(len) => number.format(len).as_bytes(),
        Keep::From(_) => &left_id,
    };
    let id = id.map(|(at, id)| (at, id.text()));
    let mut args: Vec<&[u8]> = Vec::with_capacity(line.len());
    for index in 0..line.len() {
        match (&trim, &id) {
            (Some(trim), _) if index == trim.value_at => args.push(left),
            (Some(trim), _) if index == trim.word_at + 1 => args.push(b"="),
            (
                Some(TrimArgs {
                    limit_at: Some(at), ..
                }),
                _,
            ) if index == *at || index == at + 1 => {}
            (_, Some((at, id))) if index == *at => args.push(id),
            _ => args.push(line.arg(index)),
        }
    }
    cx.log(&args);
}

/// One event for a number of changes.
fn wrote_many(cx: &mut Cx<'_>, key: Key<'_>, event: &'static str, count: u64) {
    cx.wrote(key.bytes, event, class::STREAM);
    cx.effects.dirty += count - 1;
}

pub(super) fn xdel(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.write(cx.db, key) else {
        cx.reply.int(0);
        return Ok(());
    };
    entry.collection::<Stream>()?;
    let ids = parse_ids(&cx.line, 2)?;
    let deleted = cx.keyspace.edit(cx.db, key, |stream: &mut Stream| {
        let records = stream.records_mut();
        let deleted = ids.iter().filter(|id| records.delete(**id)).count();
        if deleted > 0 {
            records.deleted();
        }
        deleted as u64
    })?;
    let deleted = deleted.unwrap_or(0);
    if deleted > 0 {
        wrote_many(cx, key, "xdel", deleted);
    }
    cx.reply.int(deleted as i64);
    Ok(())
}

pub(super) fn xsetid(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let id = parse_id(line.arg(2), 0)?;
    let (mut added, mut max_deleted_id) = (None, StreamId::MIN);
    let mut at = 3;
    while at < line.len() {
        if at + 1 == line.len() {
            return Err(Fault::Syntax);
        }
        if line.is(at, "entriesadded") {
            let number = parse_i64(line.arg(at + 1)).ok_or(Fault::NotInteger)?;
            added = Some(
                u64::try_from(number)
                    .map_err(|_| Fault::text("ERR entries_added must be positive"))?,
            );
        } else if line.is(at, "maxdeletedid") {
            max_deleted_id = parse_id(line.arg(at + 1), 0)?;
            if id < max_deleted_id {
                return Err(Fault::text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(Fault::Syntax);
        }
        at += 2;
    }
    let key = cx.key(1);
    let set = cx.keyspace.edit(cx.db, key, |stream: &mut Stream| {
        let records = stream.records_mut();
        if id < records.max_deleted_id {
            return Err(
                "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
            );
        }
        if records.last_present_id().is_some_and(|last| id < last) {
            return Err(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            );
        }
        if added.is_some_and(|added| records.len() > added) {
            return Err(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            );
        }
        records.last_id = id;
        records.added = added.unwrap_or(records.added);
        if max_deleted_id != StreamId::MIN {
            records.max_deleted_id = max_deleted_id;
        }
        Ok(())
    })?;
    set.ok_or(Fault::NoSuchKey)?.map_err(Fault::text)?;
    cx.wrote(key.bytes, "xsetid", class::STREAM);
    cx.reply.ok();
    Ok(())
}
