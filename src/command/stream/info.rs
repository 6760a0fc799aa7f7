//! XINFO: what is known of a stream, its groups and their consumers.

use super::super::string::missed;
use super::super::{ClientCx, Cx, Done, Fault, Flow, help};
use super::read::{looked_up, push_record, push_records};
use super::{no_group_for_key, push_id};
use crate::base::number::parse_i64;
use crate::resp::{Line, Reply};
use crate::structures::stream::{Group, Records, Stream, StreamId};

/// What XINFO STREAM FULL shows of each list when no COUNT is given.
const FULL_COUNT: usize = 10;

const HELP: &[&str] = &[
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
];

pub(super) fn xinfo_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "XINFO", HELP);
    Ok(Flow::Done)
}

/// Looks the line's stream up; an error without it.
fn look_up(cx: &mut Cx<'_>) -> Result<(), Fault> {
    let key = cx.key(2);
    if cx.keyspace.read_collection::<Stream>(cx.db, key)?.is_some() {
        return Ok(());
    }
    missed(cx, key);
    Err(Fault::NoSuchKey)
}

pub(super) fn stream(cx: &mut Cx<'_>) -> Done {
    look_up(cx)?;
    let full = parse_full(&cx.line)?;
    let key = cx.key(2);
    let Some(stream) = looked_up(cx.keyspace, cx.db, key) else {
        return Ok(());
    };
    let (reply, records) = (&mut cx.reply, stream.records());
    reply.map(if full.is_some() { 9 } else { 10 });
    reply.bulk(b"length");
    reply.int(records.len() as i64);
    reply.bulk(b"radix-tree-keys");
    reply.count(records.nodes().len());
    reply.bulk(b"radix-tree-nodes");
    // There is no radix tree. Redis has at least one node, and one more with the first key.
    reply.count(records.nodes().len() + 1);
    reply.bulk(b"last-generated-id");
    push_id(reply, records.last_id);
    reply.bulk(b"max-deleted-entry-id");
    push_id(reply, records.max_deleted_id);
    reply.bulk(b"entries-added");
    reply.int(records.added as i64);
    reply.bulk(b"recorded-first-entry-id");
    push_id(reply, records.first_id());
    match full {
        None => {
            reply.bulk(b"groups");
            reply.count(stream.groups().len());
            let (first, last) = (StreamId::MIN, StreamId::MAX);
            reply.bulk(b"first-entry");
            match records.range(first, last).next() {
                Some(record) => push_record(reply, record),
                None => reply.null(),
            }
            reply.bulk(b"last-entry");
            match records.range_back(first, last).next() {
                Some(record) => push_record(reply, record),
                None => reply.null(),
            }
        }
        Some(count) => {
            reply.bulk(b"entries");
            push_records(reply, records.range(StreamId::MIN, StreamId::MAX), count);
            reply.bulk(b"groups");
            reply.array(stream.groups().len());
            for (name, group) in stream.groups().iter() {
                push_full_group(reply, records, name, group, count);
            }
        }
    }
    Ok(())
}

/// How much XINFO STREAM FULL shows of each list, 0 for all; `None` without FULL.
fn parse_full(line: &Line<'_>) -> Result<Option<usize>, Fault> {
    match line.len() {
        3 => Ok(None),
        4 if line.is(3, "full") => Ok(Some(FULL_COUNT)),
        6 if line.is(3, "full") && line.is(4, "count") => {
            let count = parse_i64(line.arg(5)).ok_or(Fault::NotInteger)?;
            Ok(Some(usize::try_from(count).unwrap_or(FULL_COUNT)))
        }
        _ => Err(Fault::subcommand("XINFO", line.arg(1))),
    }
}

fn push_full_group(
    reply: &mut Reply<'_>,
    records: &Records,
    name: &[u8],
    group: &Group,
    count: usize,
) {
    let shown = |len: usize| if count == 0 { len } else { len.min(count) };
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(name);
    reply.bulk(b"last-delivered-id");
    push_id(reply, group.last_id);
    push_read(reply, records, group);
    let pending = group.pending();
    reply.bulk(b"pel-count");
    reply.count(pending.len());
    reply.bulk(b"pending");
    reply.array(shown(pending.len()));
    for (id, entry) in pending.iter().take(shown(pending.len())) {
        reply.array(4);
        push_id(reply, id);
        reply.bulk(group.consumer(entry.consumer).name());
        reply.int(entry.delivered_ms);
        reply.int(entry.deliveries);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(5);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        reply.bulk(b"seen-time");
        reply.int(consumer.seen_ms);
        reply.bulk(b"active-time");
        reply.int(consumer.active_ms.unwrap_or(-1));
        let own = consumer.pending();
        reply.bulk(b"pel-count");
        reply.count(own.len());
        reply.bulk(b"pending");
        reply.array(shown(own.len()));
        for (id, ()) in own.iter().take(shown(own.len())) {
            reply.array(3);
            push_id(reply, id);
            let entry = pending.get(id);
            reply.int(entry.map_or(0, |entry| entry.delivered_ms));
            reply.int(entry.map_or(0, |entry| entry.deliveries));
        }
    }
}

/// How far a group has read, and how far it is behind; null where that is not known.
fn push_read(reply: &mut Reply<'_>, records: &Records, group: &Group) {
    for (name, number) in [("entries-read", group.read), ("lag", group.lag(records))] {
        reply.bulk(name.as_bytes());
        match number {
            Some(number) => reply.int(number),
            None => reply.null(),
        }
    }
}

pub(super) fn groups(cx: &mut Cx<'_>) -> Done {
    look_up(cx)?;
    let key = cx.key(2);
    let Some(stream) = looked_up(cx.keyspace, cx.db, key) else {
        return Ok(());
    };
    let reply = &mut cx.reply;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups().iter() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.count(group.consumer_count());
        reply.bulk(b"pending");
        reply.count(group.pending().len());
        reply.bulk(b"last-delivered-id");
        push_id(reply, group.last_id);
        push_read(reply, stream.records(), group);
    }
    Ok(())
}

pub(super) fn consumers(cx: &mut Cx<'_>) -> Done {
    look_up(cx)?;
    let (key, name) = (cx.key(2), cx.line.arg(3));
    let group = looked_up(cx.keyspace, cx.db, key).and_then(|stream| stream.groups().get(name));
    let Some(group) = group else {
        return Err(no_group_for_key(key.bytes, name));
    };
    let (reply, now_ms) = (&mut cx.reply, cx.now_ms);
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        reply.bulk(b"pending");
        reply.count(consumer.pending().len());
        reply.bulk(b"idle");
        reply.int(now_ms.saturating_sub(consumer.seen_ms).max(0));
        reply.bulk(b"inactive");
        reply.int(match consumer.active_ms {
            Some(active_ms) => now_ms.saturating_sub(active_ms),
            None => -1,
        });
    }
    Ok(())
}
