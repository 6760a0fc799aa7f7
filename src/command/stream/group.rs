//! XGROUP, XREADGROUP and XACK: groups come and go, their consumers read, and acknowledge what they read.

use super::super::string::missed;
use super::super::{ClientCx, Cx, Done, Fault, Flow, class, help};
use super::args::{parse_id, parse_id_or_edge, parse_ids};
use super::log::GroupLog;
use super::read::{ReadArgs, begin_stream, push_record};
use super::{no_group, no_group_for_key};
use crate::base::number::parse_i64;
use crate::keyspace::{Entry, Key};
use crate::resp::{Line, Reply};
use crate::structures::stream::{ConsumerId, Group, Pending, Records, Stream, StreamId};

const HELP: &[&str] = &[
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
];

pub(super) fn xgroup_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "XGROUP", HELP);
    Ok(Flow::Done)
}

/// The options behind the id of XGROUP CREATE and SETID.
struct GroupOptions {
    make_stream: bool,
    read: Option<i64>,
}

impl GroupOptions {
    /// `words` is the greatest number of words of the line.
    fn parse(line: &Line<'_>, create: bool, words: usize) -> Result<GroupOptions, Fault> {
        let mut options = GroupOptions {
            make_stream: false,
            read: None,
        };
        let mut at = 5;
        while at < line.len() {
            if create && line.is(at, "mkstream") {
                options.make_stream = true;
            } else if line.is(at, "entriesread") && at + 1 < line.len() {
                at += 1;
                let read = parse_i64(line.arg(at)).ok_or(Fault::NotInteger)?;
                if read < -1 {
                    return Err(Fault::text(
                        "ERR value for ENTRIESREAD must be positive or -1",
                    ));
                }
                options.read = (read >= 0).then_some(read);
            } else {
                return Err(Fault::subcommand("XGROUP", line.arg(1)));
            }
            at += 1;
        }
        if line.len() > words {
            return Err(Fault::subcommand("XGROUP", line.arg(1)));
        }
        Ok(options)
    }
}

fn no_key() -> Fault {
    Fault::text(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to \
         create an empty stream automatically.",
    )
}

pub(super) fn create(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let options = GroupOptions::parse(&line, true, 8)?;
    let key = cx.key(2);
    let exists = match cx.keyspace.write(cx.db, key) {
        Some(entry) => entry.collection::<Stream>().map(|_| true)?,
        None if options.make_stream => false,
        None => return Err(no_key()),
    };
    let id = match line.arg(4) {
        b"$" => None,
        id => Some(parse_id(id, 0)?),
    };
    let (added, _) = cx.keyspace.edit_or_new(cx.db, key, |stream: &mut Stream| {
        let id = id.unwrap_or(stream.records().last_id);
        stream.groups_mut().add(line.arg(3), id, options.read)
    })?;
    if !added {
        return Err(Fault::text("BUSYGROUP Consumer Group name already exists"));
    }
    if !exists {
        cx.notify(cx.db, key.bytes, "new", class::NEW);
    }
    cx.wrote(key.bytes, "xgroup-create", class::STREAM);
    cx.reply.ok();
    Ok(())
}

/// Changes the group that the line names; an error without the key or the group.
fn edit_group<R>(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    edit: impl FnOnce(&Records, &mut Group) -> R,
) -> Result<R, Fault> {
    let name = cx.line.arg(3);
    let edited = cx.keyspace.edit(cx.db, key, |stream: &mut Stream| {
        stream.edit_group(name, edit)
    })?;
    edited
        .ok_or_else(no_key)?
        .ok_or_else(|| no_group_for_key(key.bytes, name))
}

pub(super) fn set_id(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let options = GroupOptions::parse(&line, false, 7)?;
    let key = cx.key(2);
    // Redis looks for the group before it looks at the id.
    let last = edit_group(cx, key, |records, _| records.last_id)?;
    let id = match line.arg(4) {
        b"$" => last,
        id => parse_id_or_edge(id, 0)?,
    };
    edit_group(cx, key, |_, group| {
        group.last_id = id;
        group.read = options.read;
    })?;
    cx.wrote(key.bytes, "xgroup-setid", class::STREAM);
    cx.reply.ok();
    Ok(())
}

pub(super) fn destroy(cx: &mut Cx<'_>) -> Done {
    let (key, name) = (cx.key(2), cx.line.arg(3));
    let removed = cx
        .keyspace
        .edit(cx.db, key, |stream: &mut Stream| {
            stream.groups_mut().remove(name)
        })?
        .ok_or_else(no_key)?;
    if removed {
        cx.wrote(key.bytes, "xgroup-destroy", class::STREAM);
    }
    cx.reply.int(i64::from(removed));
    Ok(())
}

pub(super) fn create_consumer(cx: &mut Cx<'_>) -> Done {
    let (key, name, now_ms) = (cx.key(2), cx.line.arg(4), cx.now_ms);
    let (_, created) = edit_group(cx, key, |_, group| group.consumer_or_new(name, now_ms))?;
    if created {
        cx.wrote(key.bytes, "xgroup-createconsumer", class::STREAM);
    }
    cx.reply.int(i64::from(created));
    Ok(())
}

pub(super) fn delete_consumer(cx: &mut Cx<'_>) -> Done {
    let (key, name) = (cx.key(2), cx.line.arg(4));
    let deleted = edit_group(cx, key, |_, group| group.delete_consumer(name))?;
    if deleted.is_some() {
        cx.wrote(key.bytes, "xgroup-delconsumer", class::STREAM);
    }
    cx.reply.count(deleted.unwrap_or(0));
    Ok(())
}

pub(super) fn xack(cx: &mut Cx<'_>) -> Done {
    let (key, name) = (cx.key(1), cx.line.arg(2));
    let Some(stream) = cx.keyspace.read_collection::<Stream>(cx.db, key)? else {
        missed(cx, key);
        cx.reply.int(0);
        return Ok(());
    };
    if stream.groups().get(name).is_none() {
        cx.reply.int(0);
        return Ok(());
    }
    let ids = parse_ids(&cx.line, 3)?;
    let acknowledged = cx.keyspace.edit(cx.db, key, |stream: &mut Stream| {
        stream.edit_group(name, |_, group| {
            ids.iter().filter(|id| group.acknowledge(**id)).count()
        })
    })?;
    let acknowledged = acknowledged.flatten().unwrap_or(0);
    // No event: nobody is told of an acknowledgement.
    cx.effects.dirty += acknowledged as u64;
    cx.reply.count(acknowledged);
    Ok(())
}

/// What XREADGROUP asks of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What no consumer has seen.
    New,
    /// What is pending with this one, behind the id.
    Pending(StreamId),
}

pub(super) fn xreadgroup(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let args = ReadArgs::parse(&line, cx.now_ms, true)?;
    let group_at = args.group_at.unwrap_or(0);
    let (group_name, consumer_name) = (line.arg(group_at), line.arg(group_at + 1));
    let mut wanted = Vec::with_capacity(args.streams);
    for index in 0..args.streams {
        let key = cx.key(args.keys_at + index);
        if !cx.looks_at(key.bytes) {
            wanted.push(None);
            continue;
        }
        let stream = cx.keyspace.read_collection::<Stream>(cx.db, key)?;
        let missing = stream.is_none();
        if stream.is_none_or(|stream| stream.groups().get(group_name).is_none()) {
            if missing {
                missed(cx, key);
            }
            return Err(Fault::showing(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                &[key.bytes, group_name],
            ));
        }
        wanted.push(Some(match line.arg(args.id_at(index)) {
            b">" => Wanted::New,
            b"$" => return Err(meaningless("$")),
            b"+" => return Err(meaningless("+")),
            id => match parse_id(id, 0)? {
                StreamId::MAX => Wanted::New,
                id => Wanted::Pending(id),
            },
        }));
    }
    let begin = cx.reply.begin_array();
    let mut served = 0;
    for (index, wanted) in wanted.into_iter().enumerate() {
        let Some(wanted) = wanted else {
            continue;
        };
        let key = cx.key(args.keys_at + index);
        let (now_ms, reply) = (cx.now_ms, &mut cx.reply);
        let effects = &mut *cx.effects;
        let read = cx.keyspace.edit(cx.db, key, |stream: &mut Stream| {
            stream.edit_group(group_name, |records, group| {
                let log = GroupLog::new(effects, key.bytes, group_name);
                let mut reading = Reading {
                    reply,
                    log,
                    records,
                    group,
                    now_ms,
                    key: key.bytes,
                };
                reading.read(consumer_name, wanted, &args)
            })
        })?;
        let (created, replied) = read.flatten().unwrap_or((false, false));
        if created {
            cx.wrote(key.bytes, "xgroup-createconsumer", class::STREAM);
        }
        served += usize::from(replied);
    }
    if served == 0 {
        args.wait(cx, xreadgroup_is_ready, Vec::new());
        return Ok(());
    }
    if cx.reply.is_resp3() {
        cx.reply.end_map(begin, served);
    } else {
        cx.reply.end_array(begin, served);
    }
    Ok(())
}

/// XREADGROUP's client waits for a record that its group has not read, or to be told that there is no such group any more.
fn xreadgroup_is_ready(entry: Option<&Entry>, _: &[u8], line: &Line<'_>) -> bool {
    let Some(Ok(stream)) = entry.map(Entry::collection::<Stream>) else {
        return true;
    };
    let args = ReadArgs::parse(line, 0, true).ok();
    let group = args
        .and_then(|args| args.group_at)
        .and_then(|at| stream.groups().get(line.arg(at)));
    match (group, stream.records().last_present_id()) {
        (Some(group), last) => last.is_some_and(|last| last > group.last_id),
        (None, _) => true,
    }
}

fn meaningless(id: &str) -> Fault {
    Fault::text(format!(
        "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
         specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty result set."
    ))
}

/// A consumer reads from one stream.
struct Reading<'a, 'r> {
    reply: &'a mut Reply<'r>,
    log: GroupLog<'a>,
    records: &'a Records,
    group: &'a mut Group,
    now_ms: i64,
    key: &'a [u8],
}

impl Reading<'_, '_> {
    /// Says whether the consumer is new and whether there is something to reply.
    fn read(&mut self, name: &[u8], wanted: Wanted, args: &ReadArgs) -> (bool, bool) {
        let (consumer, created) = self.group.consumer_or_new(name, self.now_ms);
        self.group.consumer_mut(consumer).seen_ms = self.now_ms;
        let count = if args.count == 0 {
            usize::MAX
        } else {
            args.count
        };
        let last = self.records.last_present_id();
        let (start, delivered) = match wanted {
            Wanted::Pending(id) => (id.next(), 0),
            Wanted::New => {
                let start = self.group.last_id.next();
                let start = start.filter(|start| last.is_some_and(|last| last >= *start));
                (start, start.map_or(0, |_| count))
            }
        };
        let mut named = false;
        if created && args.no_ack {
            self.log.create_consumer(name);
            named = true;
        }
        if let Some(start) = start {
            begin_stream(self.reply, self.key);
            let begin = self.reply.begin_array();
            let len = if wanted == Wanted::New {
                named |= !args.no_ack;
                self.deliver(consumer, start, delivered, !args.no_ack)
            } else {
                self.show_pending(consumer, start, count)
            };
            self.reply.end_array(begin, len);
            self.log.changed();
        }
        if created && !named {
            self.log.create_consumer(name);
        }
        (created, start.is_some())
    }

    /// Replies with records that no consumer has seen; they become pending if the consumer is to acknowledge them.
    fn deliver(
        &mut self,
        consumer: ConsumerId,
        start: StreamId,
        count: usize,
        acknowledged: bool,
    ) -> usize {
        let mut len = 0;
        for record in self.records.range(start, StreamId::MAX).take(count) {
            let id = record.id;
            self.group.advance(self.records, id);
            push_record(self.reply, record);
            len += 1;
            if acknowledged {
                let pending = Pending {
                    delivered_ms: self.now_ms,
                    deliveries: 1,
                    consumer,
                };
                self.group.assign(id, pending);
                self.log.claim(self.group, id, pending);
            }
        }
        if acknowledged {
            self.group.consumer_mut(consumer).active_ms = Some(self.now_ms);
        }
        self.log.set_id(self.group);
        len
    }

    /// Replies with what is pending with the consumer; of records that are gone, only the id is left.
    fn show_pending(&mut self, consumer: ConsumerId, start: StreamId, count: usize) -> usize {
        let (reply, records, mut len) = (&mut *self.reply, self.records, 0);
        self.group
            .deliver_again(consumer, start, count, self.now_ms, |id| {
                len += 1;
                match records.get(id) {
                    Some(record) => {
                        push_record(reply, record);
                        true
                    }
                    None => {
                        reply.array(2);
                        super::push_id(reply, id);
                        reply.null_array();
                        false
                    }
                }
            });
        len
    }
}

/// The group that XPENDING, XCLAIM and XAUTOCLAIM need.
pub(super) fn check_group(cx: &mut Cx<'_>, key: Key<'_>, name: &[u8]) -> Done {
    let Some(stream) = cx.keyspace.read_collection::<Stream>(cx.db, key)? else {
        missed(cx, key);
        return Err(no_group(key.bytes, name));
    };
    match stream.groups().get(name) {
        Some(_) => Ok(()),
        None => Err(no_group(key.bytes, name)),
    }
}
