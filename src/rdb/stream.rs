//! Streams.
//!
//! ```text
//!   stream     nodes | records | last id | first id²| greatest deleted id² | records ever added² | groups
//!   nodes      count | first id as 16 bytes, the highest first | listpack …
//!   groups     count | name | last id | records read² | pending | consumers …
//!   pending    count | id as 16 bytes | delivered, milliseconds 8 | deliveries …
//!   consumers  count | name | seen, milliseconds 8 | active, milliseconds 8³ | count | id as 16 bytes … …
//! ```
//!
//! What is marked 2 and 3 is there from STREAM_2 and STREAM_3 on; ids and counts are lengths where nothing else is said. STREAM_2 is what is
//! written, and STREAM_3 from version 11 on.

use super::cursor::Cursor;
use super::encode::{Encoder, Version, push_length};
use super::error::{Error, Problem};
use super::grammar::kind;
use crate::structures::stream::{Group, Pending, Records, Stream, StreamId};

const CORRUPT: Problem = Problem::Corrupt("stream");

/// Bytes that a node, group, pending entry, consumer takes at least.
const NODE_BYTES_MIN: usize = 18;
const GROUP_BYTES_MIN: usize = 5;
const PENDING_BYTES_MIN: usize = 25;
const CONSUMER_BYTES_MIN: usize = 10;
const ID_BYTES: usize = 16;

/// Reads a stream.
pub(super) fn read(type_: u8, cursor: &mut Cursor<'_>) -> Result<Stream, Error> {
    let mut stream = Stream::default();
    let records = stream.records_mut();
    for _ in 0..cursor.count(NODE_BYTES_MIN)? {
        let (id, start) = cursor.blob()?;
        let id = <[u8; ID_BYTES]>::try_from(&*id).map_err(|_| start.error(CORRUPT))?;
        let listpack = cursor.listpack()?;
        records
            .add_node(id_of(id), listpack)
            .map_err(|_| start.error(CORRUPT))?;
    }
    let at = cursor.clone();
    let count = cursor.length()?;
    let last_id = id(cursor)?;
    if count != records.len() || last_id < records.last_id {
        return Err(at.error(CORRUPT));
    }
    records.last_id = last_id;
    records.added = count;
    if type_ != kind::STREAM {
        // The first id follows from the records.
        id(cursor)?;
        records.max_deleted_id = id(cursor)?;
        records.added = cursor.length()?;
    }
    for _ in 0..cursor.count(GROUP_BYTES_MIN)? {
        group(type_, &mut stream, cursor)?;
    }
    Ok(stream)
}

fn group(type_: u8, stream: &mut Stream, cursor: &mut Cursor<'_>) -> Result<(), Error> {
    let at = cursor.clone();
    let name = cursor.text()?.into_bytes();
    let last_id = id(cursor)?;
    let read = if type_ == kind::STREAM {
        let position = stream.records().position_of(last_id);
        position.and_then(|position| i64::try_from(position).ok())
    } else {
        // What is not known is written as -1.
        i64::try_from(cursor.length()?).ok()
    };
    if !stream.groups_mut().add(&name, last_id, read) {
        return Err(at.error(CORRUPT));
    }
    let mut waiting = pending(cursor)?;
    let read = stream.edit_group(&name, |_, group| {
        for _ in 0..cursor.count(CONSUMER_BYTES_MIN)? {
            consumer(type_, group, &mut waiting, cursor)?;
        }
        Ok(())
    });
    read.unwrap_or(Ok(()))?;
    if waiting.iter().any(|waiting| !waiting.assigned) {
        return Err(at.error(CORRUPT));
    }
    Ok(())
}

/// A pending entry whose consumer is still to come.
struct Waiting {
    id: StreamId,
    delivered_ms: i64,
    deliveries: i64,
    assigned: bool,
}

/// The pending entries of a group in the order of their ids, each once.
fn pending(cursor: &mut Cursor<'_>) -> Result<Vec<Waiting>, Error> {
    let at = cursor.clone();
    let count = cursor.count(PENDING_BYTES_MIN)?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(Waiting {
            id: id_of(cursor.chunk()?),
            delivered_ms: cursor.i64_le()?,
            deliveries: i64::try_from(cursor.length()?).unwrap_or(i64::MAX),
            assigned: false,
        });
    }
    all.sort_unstable_by_key(|waiting| waiting.id);
    if all.windows(2).any(|pair| pair[0].id == pair[1].id) {
        return Err(at.error(CORRUPT));
    }
    Ok(all)
}

fn consumer(
    type_: u8,
    group: &mut Group,
    waiting: &mut [Waiting],
    cursor: &mut Cursor<'_>,
) -> Result<(), Error> {
    let at = cursor.clone();
    let name = cursor.text()?.into_bytes();
    if group.find_consumer(&name).is_some() {
        return Err(at.error(CORRUPT));
    }
    let seen_ms = cursor.i64_le()?;
    let active_ms = match type_ {
        kind::STREAM_3 => cursor.i64_le()?,
        _ => seen_ms,
    };
    let consumer = group.add_consumer(&name, seen_ms);
    group.consumer_mut(consumer).active_ms = (active_ms >= 0).then_some(active_ms);
    for _ in 0..cursor.count(ID_BYTES)? {
        let at = cursor.clone();
        let id = id_of(cursor.chunk()?);
        let found = waiting.binary_search_by_key(&id, |waiting| waiting.id);
        let found = found.ok().map(|index| &mut waiting[index]);
        let Some(entry) = found.filter(|entry| !entry.assigned) else {
            return Err(at.error(CORRUPT));
        };
        entry.assigned = true;
        group.assign(
            id,
            Pending {
                delivered_ms: entry.delivered_ms,
                deliveries: entry.deliveries,
                consumer,
            },
        );
    }
    Ok(())
}

/// An id as two lengths.
fn id(cursor: &mut Cursor<'_>) -> Result<StreamId, Error> {
    Ok(StreamId {
        ms: cursor.length()?,
        seq: cursor.length()?,
    })
}

/// The id that sixteen bytes are.
fn id_of(bytes: [u8; ID_BYTES]) -> StreamId {
    let both = u128::from_be_bytes(bytes);
    StreamId {
        ms: (both >> 64) as u64,
        seq: both as u64,
    }
}

fn id_bytes(id: StreamId) -> [u8; ID_BYTES] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

fn push_id(id: StreamId, out: &mut Vec<u8>) {
    push_length(id.ms, out);
    push_length(id.seq, out);
}

/// Appends a stream and returns its type.
pub(super) fn write(stream: &Stream, encoder: &mut Encoder, out: &mut Vec<u8>) -> u8 {
    write_records(stream.records(), encoder, out);
    let with_active = encoder.version() >= Version::V11;
    push_length(stream.groups().len() as u64, out);
    for (name, group) in stream.groups().iter() {
        encoder.string(name, out);
        write_group(group, with_active, encoder, out);
    }
    if with_active {
        kind::STREAM_3
    } else {
        kind::STREAM_2
    }
}

fn write_records(records: &Records, encoder: &mut Encoder, out: &mut Vec<u8>) {
    push_length(records.nodes().len() as u64, out);
    for (id, listpack) in records.nodes().iter() {
        encoder.string(&id_bytes(id), out);
        encoder.string(listpack.as_bytes(), out);
    }
    push_length(records.len(), out);
    push_id(records.last_id, out);
    push_id(records.first_id(), out);
    push_id(records.max_deleted_id, out);
    push_length(records.added, out);
}

fn write_group(group: &Group, with_active: bool, encoder: &mut Encoder, out: &mut Vec<u8>) {
    push_id(group.last_id, out);
    push_length(group.read.unwrap_or(-1) as u64, out);
    push_length(group.pending().len() as u64, out);
    for (id, pending) in group.pending().iter() {
        out.extend(id_bytes(id));
        out.extend(pending.delivered_ms.to_le_bytes());
        push_length(pending.deliveries.max(0) as u64, out);
    }
    push_length(group.consumer_count() as u64, out);
    for consumer in group.consumers() {
        encoder.string(consumer.name(), out);
        out.extend(consumer.seen_ms.to_le_bytes());
        if with_active {
            out.extend(consumer.active_ms.unwrap_or(-1).to_le_bytes());
        }
        push_length(consumer.pending().len() as u64, out);
        for (id, ()) in consumer.pending().iter() {
            out.extend(id_bytes(id));
        }
    }
}
