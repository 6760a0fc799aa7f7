//! XLEN, XRANGE, XREVRANGE and XREAD: commands that read records, and how records are replied.

use super::super::string::missed;
use super::super::{Block, Cx, Done, Fault, Ready};
use super::args::{parse_from, parse_id, parse_int, parse_to};
use super::push_id;
use crate::base::number::parse_i64;
use crate::keyspace::{Entry, Key, Keyspace, Type};
use crate::resp::{Line, Reply};
use crate::structures::listpack::Element;
use crate::structures::stream::{Record, Stream, StreamId};

/// Replies with a record: its id, and its fields and values.
pub(super) fn push_record(reply: &mut Reply<'_>, record: Record<'_>) {
    reply.array(2);
    push_id(reply, record.id);
    reply.array(record.field_count() * 2);
    for (field, value) in record {
        push_element(reply, field);
        push_element(reply, value);
    }
}

#[inline]
fn push_element(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Int(integer) => reply.bulk_int(integer),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Replies with an array of records, at most `count` when that is not 0.
pub(super) fn push_records<'r>(
    reply: &mut Reply<'_>,
    records: impl Iterator<Item = Record<'r>>,
    count: usize,
) {
    let begin = reply.begin_array();
    let mut len = 0;
    for record in records.take(if count == 0 { usize::MAX } else { count }) {
        push_record(reply, record);
        len += 1;
    }
    reply.end_array(begin, len);
}

/// A `COUNT`: what is below zero counts as 0.
pub(super) fn parse_count(text: &[u8]) -> Result<usize, Fault> {
    let count = parse_i64(text).ok_or(Fault::NotInteger)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(super) fn xlen(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read_collection::<Stream>(cx.db, key)? {
        Some(stream) => cx.reply.int(stream.records().len() as i64),
        None => {
            missed(cx, key);
            cx.reply.int(0);
        }
    }
    Ok(())
}

pub(super) fn xrange(cx: &mut Cx<'_>) -> Done {
    range(cx, false)
}

pub(super) fn xrevrange(cx: &mut Cx<'_>) -> Done {
    range(cx, true)
}

fn range(cx: &mut Cx<'_>, backwards: bool) -> Done {
    let line = cx.line;
    let (from_at, to_at) = if backwards { (3, 2) } else { (2, 3) };
    let from = parse_from(line.arg(from_at))?;
    let to = parse_to(line.arg(to_at))?;
    let mut count = None;
    for at in (4..line.len()).step_by(2) {
        if !line.is(at, "count") || at + 1 == line.len() {
            return Err(Fault::Syntax);
        }
        count = Some(parse_count(line.arg(at + 1))?);
    }
    let key = cx.key(1);
    match cx.keyspace.read_collection::<Stream>(cx.db, key)? {
        // As in Redis: an explicit 0 asks for nothing, not for everything.
        Some(_) if count == Some(0) => cx.reply.null_array(),
        Some(stream) => {
            let (records, count) = (stream.records(), count.unwrap_or(0));
            if backwards {
                push_records(&mut cx.reply, records.range_back(from, to), count);
            } else {
                push_records(&mut cx.reply, records.range(from, to), count);
            }
        }
        None => {
            missed(cx, key);
            cx.reply.empty_array();
        }
    }
    Ok(())
}

/// The arguments of XREAD and XREADGROUP.
pub(super) struct ReadArgs {
    /// Records of each stream at most; 0 for any number.
    pub(super) count: usize,
    /// Milliseconds to wait when there is nothing; 0 for ever.
    pub(super) block_ms: Option<i64>,
    /// XREADGROUP: nothing becomes pending.
    pub(super) no_ack: bool,
    /// XREADGROUP: the arguments with the group and the consumer.
    pub(super) group_at: Option<usize>,
    /// The first key; the ids follow the keys.
    pub(super) keys_at: usize,
    /// The number of keys.
    pub(super) streams: usize,
}

impl ReadArgs {
    /// Parses all but the ids, whose meaning depends on the streams.
    pub(super) fn parse(line: &Line<'_>, now_ms: i64, grouped: bool) -> Result<ReadArgs, Fault> {
        let mut args = ReadArgs {
            count: 0,
            block_ms: None,
            no_ack: false,
            group_at: None,
            keys_at: 0,
            streams: 0,
        };
        let mut at = 1;
        while at < line.len() {
            let more = line.len() - 1 - at;
            if more > 0 && line.is(at, "block") {
                at += 1;
                args.block_ms = Some(parse_timeout(line.arg(at), now_ms)?);
            } else if more > 0 && line.is(at, "count") {
                at += 1;
                args.count = parse_count(line.arg(at))?;
            } else if more > 0 && line.is(at, "streams") {
                args.keys_at = at + 1;
                if more % 2 == 1 {
                    let (name, symbol) = if grouped {
                        ("xreadgroup", '>')
                    } else {
                        ("xread", '$')
                    };
                    return Err(Fault::text(format!(
                        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
                    )));
                }
                args.streams = more / 2;
                break;
            } else if more > 1 && line.is(at, "group") {
                if !grouped {
                    return Err(only_grouped("GROUP"));
                }
                args.group_at = Some(at + 1);
                at += 2;
            } else if line.is(at, "noack") {
                if !grouped {
                    return Err(only_grouped("NOACK"));
                }
                args.no_ack = true;
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        if args.keys_at == 0 {
            return Err(Fault::Syntax);
        }
        if grouped && args.group_at.is_none() {
            return Err(Fault::text("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(args)
    }

    /// Where the id of the stream at `index` is.
    pub(super) fn id_at(&self, index: usize) -> usize {
        self.keys_at + self.streams + index
    }

    /// The ids that the line names for a key.
    pub(super) fn ids_of<'l>(&self, line: &Line<'l>, key: &[u8]) -> impl Iterator<Item = &'l [u8]> {
        (0..self.streams)
            .filter(move |index| line.arg(self.keys_at + index) == key)
            .map(move |index| line.arg(self.id_at(index)))
    }

    /// No stream has anything to read: the client waits if it said so. `replace` is for ids that mean something else later.
    pub(super) fn wait(&self, cx: &mut Cx<'_>, ready: Ready, replace: Vec<(usize, Vec<u8>)>) {
        match self.block_ms {
            Some(timeout_ms) => cx.block(Block {
                timeout_ms: timeout_ms.unsigned_abs(),
                keys: self.keys_at..self.keys_at + self.streams,
                kind: Type::Stream,
                ready: Some(ready),
                replace,
            }),
            None => cx.reply.null_array(),
        }
    }
}

fn only_grouped(option: &str) -> Fault {
    Fault::text(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    ))
}

/// `BLOCK`'s milliseconds.
fn parse_timeout(text: &[u8], now_ms: i64) -> Result<i64, Fault> {
    let timeout = parse_int(text, "ERR timeout is not an integer or out of range")?;
    if timeout < 0 {
        return Err(Fault::text("ERR timeout is negative"));
    }
    if timeout.checked_add(now_ms).is_none() {
        return Err(Fault::text("ERR timeout is out of range"));
    }
    Ok(timeout)
}

/// The stream in a key that was looked up before.
pub(super) fn looked_up<'k>(keyspace: &'k Keyspace, db: usize, key: Key<'_>) -> Option<&'k Stream> {
    keyspace.inspect(db, key)?.collection().ok()
}

pub(super) fn xread(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let args = ReadArgs::parse(&line, cx.now_ms, false)?;
    // The first id to read of each stream that has something behind the id that the line names.
    let mut starts: Vec<Option<StreamId>> = Vec::with_capacity(args.streams);
    let mut replace = Vec::new();
    for index in 0..args.streams {
        let key = cx.key(args.keys_at + index);
        if !cx.looks_at(key.bytes) {
            starts.push(None);
            continue;
        }
        let stream = cx.keyspace.read_collection::<Stream>(cx.db, key)?;
        let last = stream.and_then(|stream| stream.records().last_present_id());
        let behind = match line.arg(args.id_at(index)) {
            b"$" => {
                let id = stream.map_or(StreamId::MIN, |stream| stream.records().last_id);
                if args.block_ms.is_some() {
                    replace.push((args.id_at(index), id.text().to_vec()));
                }
                Some(id)
            }
            b"+" => match last {
                Some(last) => last.previous(),
                None => stream.map(|stream| stream.records().last_id),
            },
            b">" => {
                return Err(Fault::text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            id => Some(parse_id(id, 0)?),
        };
        let missing = stream.is_none();
        let start = behind.unwrap_or(StreamId::MIN).next();
        starts.push(start.filter(|start| last.is_some_and(|last| last >= *start)));
        if missing {
            missed(cx, key);
        }
    }
    let served = starts.iter().flatten().count();
    if served == 0 {
        args.wait(cx, xread_is_ready, replace);
        return Ok(());
    }
    begin_streams(&mut cx.reply, served);
    for (index, start) in starts.into_iter().enumerate() {
        let key = cx.key(args.keys_at + index);
        if let Some(start) = start
            && let Some(stream) = looked_up(cx.keyspace, cx.db, key)
        {
            begin_stream(&mut cx.reply, key.bytes);
            let records = stream.records().range(start, StreamId::MAX);
            push_records(&mut cx.reply, records, args.count);
        }
    }
    Ok(())
}

/// XREAD's client waits for a record behind the id that its line names.
fn xread_is_ready(entry: Option<&Entry>, key: &[u8], line: &Line<'_>) -> bool {
    let stream = entry.and_then(|entry| entry.collection::<Stream>().ok());
    let Some(last) = stream.and_then(|stream| stream.records().last_present_id()) else {
        return false;
    };
    ReadArgs::parse(line, 0, false).is_ok_and(|args| {
        args.ids_of(line, key).any(|id| match id {
            b"+" => true,
            id => parse_id(id, 0).is_ok_and(|id| last > id),
        })
    })
}

/// The head of a reply about some streams.
fn begin_streams(reply: &mut Reply<'_>, streams: usize) {
    if reply.is_resp3() {
        reply.map(streams);
    } else {
        reply.array(streams);
    }
}

/// The head of what is said about one stream, before its records.
pub(super) fn begin_stream(reply: &mut Reply<'_>, key: &[u8]) {
    if !reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(key);
}
