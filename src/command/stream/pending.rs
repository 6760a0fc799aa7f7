//! XPENDING, XCLAIM and XAUTOCLAIM: what was delivered and not acknowledged, and who takes it over.

use super::super::{Cx, Done, Fault, class};
use super::args::{parse_from, parse_id, parse_int, parse_to};
use super::group::check_group;
use super::log::GroupLog;
use super::read::{looked_up, parse_count, push_record};
use super::{must_obey, push_id};
use crate::base::number::parse_i64;
use crate::keyspace::Key;
use crate::resp::{Line, Reply};
use crate::structures::stream::{ConsumerId, Group, Pending, Records, Stream, StreamId};

/// Pending entries that XAUTOCLAIM looks at for each that it may claim.
const ATTEMPTS_PER_CLAIM: usize = 10;
/// What XAUTOCLAIM claims at most without a COUNT.
const CLAIMS: usize = 100;
const CLAIMS_MAX: i64 = i64::MAX / 16;

pub(super) fn xpending(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let range = match line.len() {
        3 => None,
        6..=9 => Some(PendingRange::parse(&line)?),
        _ => return Err(Fault::Syntax),
    };
    let (key, name) = (cx.key(1), line.arg(2));
    check_group(cx, key, name)?;
    let group = looked_up(cx.keyspace, cx.db, key).and_then(|stream| stream.groups().get(name));
    let Some(group) = group else {
        return Ok(());
    };
    match range {
        None => summarize(&mut cx.reply, group),
        Some(range) => range.push(&mut cx.reply, group, cx.now_ms),
    }
    Ok(())
}

/// XPENDING without a range: how many there are, from where to where, and whose.
fn summarize(reply: &mut Reply<'_>, group: &Group) {
    let pending = group.pending();
    reply.array(4);
    reply.count(pending.len());
    let (Some((first, _)), Some((last, _))) = (pending.first(), pending.last()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    push_id(reply, first);
    push_id(reply, last);
    let owners = || {
        group
            .consumers()
            .filter(|consumer| !consumer.pending().is_empty())
    };
    reply.array(owners().count());
    for consumer in owners() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending().len() as i64);
    }
}

/// The arguments of XPENDING about single entries.
struct PendingRange<'a> {
    idle_ms: i64,
    from: StreamId,
    to: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> PendingRange<'a> {
    fn parse(line: &Line<'a>) -> Result<PendingRange<'a>, Fault> {
        let (mut idle_ms, mut at) = (0, 3);
        if line.is(3, "idle") {
            idle_ms = parse_i64(line.arg(4)).ok_or(Fault::NotInteger)?;
            if line.len() < 8 {
                return Err(Fault::Syntax);
            }
            at = 5;
        }
        let count = parse_count(line.arg(at + 2))?;
        Ok(PendingRange {
            idle_ms,
            from: parse_from(line.arg(at))?,
            to: parse_to(line.arg(at + 1))?,
            count,
            consumer: (at + 3 < line.len()).then(|| line.arg(at + 3)),
        })
    }

    fn push(&self, reply: &mut Reply<'_>, group: &Group, now_ms: i64) {
        let Some(name) = self.consumer else {
            let entries = group.pending().iter_from(self.from);
            return self.push_entries(
                reply,
                group,
                now_ms,
                entries.map(|(id, entry)| (id, *entry)),
            );
        };
        let Some(consumer) = group.find_consumer(name) else {
            return reply.empty_array();
        };
        let ids = group.consumer(consumer).pending().iter_from(self.from);
        let entries = ids.filter_map(|(id, ())| Some((id, *group.pending().get(id)?)));
        self.push_entries(reply, group, now_ms, entries);
    }

    fn push_entries(
        &self,
        reply: &mut Reply<'_>,
        group: &Group,
        now_ms: i64,
        entries: impl Iterator<Item = (StreamId, Pending)>,
    ) {
        let begin = reply.begin_array();
        let mut len = 0;
        let entries = entries
            .take_while(|(id, _)| *id <= self.to)
            .filter(|(_, entry)| self.idle_ms == 0 || idle_ms(entry, now_ms) >= self.idle_ms)
            .take(self.count);
        for (id, entry) in entries {
            reply.array(4);
            push_id(reply, id);
            reply.bulk(group.consumer(entry.consumer).name());
            reply.int(idle_ms(&entry, now_ms).max(0));
            reply.int(entry.deliveries);
            len += 1;
        }
        reply.end_array(begin, len);
    }
}

fn idle_ms(pending: &Pending, now_ms: i64) -> i64 {
    now_ms.saturating_sub(pending.delivered_ms)
}

/// The arguments of XCLAIM.
struct Claim {
    min_idle_ms: i64,
    ids: Vec<StreamId>,
    /// What the entries shall look as if they were delivered at.
    delivered_ms: i64,
    deliveries: Option<i64>,
    force: bool,
    only_ids: bool,
    last_id: StreamId,
}

impl Claim {
    fn parse(line: &Line<'_>, now_ms: i64, obey: bool) -> Result<Claim, Fault> {
        let min_idle_ms = parse_int(line.arg(4), "ERR Invalid min-idle-time argument for XCLAIM")?;
        let ids: Vec<StreamId> = (5..line.len())
            .map_while(|index| parse_id(line.arg(index), 0).ok())
            .collect();
        let mut at = 5 + ids.len();
        let mut claim = Claim {
            min_idle_ms: min_idle_ms.max(0),
            ids,
            delivered_ms: now_ms,
            deliveries: None,
            force: false,
            only_ids: false,
            last_id: StreamId::MIN,
        };
        while at < line.len() {
            let more = at + 1 < line.len();
            let value_at = at + 1;
            if line.is(at, "force") {
                claim.force = true;
            } else if line.is(at, "justid") {
                claim.only_ids = true;
            } else if more && line.is(at, "idle") {
                let text = "ERR Invalid IDLE option argument for XCLAIM";
                claim.delivered_ms = now_ms.wrapping_sub(parse_int(line.arg(value_at), text)?);
                at += 1;
            } else if more && line.is(at, "time") {
                let text = "ERR Invalid TIME option argument for XCLAIM";
                claim.delivered_ms = parse_int(line.arg(value_at), text)?;
                at += 1;
            } else if more && line.is(at, "retrycount") {
                let text = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
                let deliveries = parse_int(line.arg(value_at), text)?;
                claim.deliveries = (deliveries >= 0).then_some(deliveries);
                at += 1;
            } else if more && line.is(at, "lastid") {
                claim.last_id = parse_id(line.arg(value_at), 0)?;
                at += 1;
            } else {
                return Err(Fault::showing(
                    "ERR Unrecognized XCLAIM option '{}'",
                    &[line.arg(at)],
                ));
            }
            at += 1;
        }
        // A time that makes no sense is no error: clients compute it from their own clocks. A leader's clock is right.
        if !obey && !(0..=now_ms).contains(&claim.delivered_ms) {
            claim.delivered_ms = now_ms;
        }
        Ok(claim)
    }

    /// Claims the entries for `consumer`; returns how many were replied.
    fn run(
        &self,
        claiming: &mut Claiming<'_, '_>,
        consumer: ConsumerId,
        reply: &mut Reply<'_>,
    ) -> usize {
        let mut told = true;
        if self.last_id > claiming.group.last_id {
            claiming.group.last_id = self.last_id;
            told = false;
        }
        let mut len = 0;
        for &id in &self.ids {
            let old = claiming.group.pending().get(id).copied();
            let Some(record) = claiming.records.get(id) else {
                if let Some(old) = old {
                    claiming.forget(id, old);
                    told = true;
                }
                continue;
            };
            let deliveries = match old {
                None if self.force => 1,
                None => continue,
                Some(old)
                    if self.min_idle_ms > 0
                        && idle_ms(&old, claiming.now_ms) < self.min_idle_ms =>
                {
                    continue;
                }
                Some(old) => old.deliveries,
            };
            let more = i64::from(!self.only_ids);
            claiming.claim(
                id,
                Pending {
                    delivered_ms: self.delivered_ms,
                    deliveries: self
                        .deliveries
                        .unwrap_or_else(|| deliveries.saturating_add(more)),
                    consumer,
                },
            );
            told = true;
            if self.only_ids {
                push_id(reply, id);
            } else {
                push_record(reply, record);
            }
            len += 1;
        }
        if !told {
            claiming.log.set_id(claiming.group);
            claiming.log.changed();
        }
        len
    }
}

/// Entries change hands in one group.
struct Claiming<'a, 'g> {
    log: GroupLog<'a>,
    records: &'g Records,
    group: &'g mut Group,
    now_ms: i64,
    claimed: bool,
}

impl Claiming<'_, '_> {
    fn claim(&mut self, id: StreamId, pending: Pending) {
        self.group.assign(id, pending);
        self.group.consumer_mut(pending.consumer).active_ms = Some(self.now_ms);
        self.log.claim(self.group, id, pending);
        self.log.changed();
        self.claimed = true;
    }

    /// Drops an entry whose record is gone. A follower that is told to claim it drops it too.
    fn forget(&mut self, id: StreamId, pending: Pending) {
        self.log.claim(self.group, id, pending);
        self.log.changed();
        self.group.acknowledge(id);
    }
}

/// Runs `run` with the consumer that the line names, which is made if need be.
fn with_consumer<'k, R>(
    cx: &mut Cx<'k>,
    key: Key<'k>,
    run: impl FnOnce(&mut Claiming<'_, '_>, ConsumerId, &mut Reply<'_>) -> R,
) -> Result<Option<R>, Fault> {
    let (name, consumer_name) = (cx.line.arg(2), cx.line.arg(3));
    let (now_ms, reply, effects) = (cx.now_ms, &mut cx.reply, &mut *cx.effects);
    let result = cx.keyspace.edit(cx.db, key, |stream: &mut Stream| {
        stream.edit_group(name, |records, group| {
            let (consumer, created) = group.consumer_or_new(consumer_name, now_ms);
            group.consumer_mut(consumer).seen_ms = now_ms;
            let mut claiming = Claiming {
                log: GroupLog::new(effects, key.bytes, name),
                records,
                group,
                now_ms,
                claimed: false,
            };
            let result = run(&mut claiming, consumer, reply);
            if created && !claiming.claimed {
                claiming.log.create_consumer(consumer_name);
            }
            (result, created)
        })
    })?;
    let Some((result, created)) = result.flatten() else {
        return Ok(None);
    };
    if created {
        cx.wrote(key.bytes, "xgroup-createconsumer", class::STREAM);
    }
    Ok(Some(result))
}

pub(super) fn xclaim(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    check_group(cx, key, cx.line.arg(2))?;
    let claim = Claim::parse(&cx.line, cx.now_ms, must_obey(cx))?;
    let begin = cx.reply.begin_array();
    let len = with_consumer(cx, key, |claiming, consumer, reply| {
        claim.run(claiming, consumer, reply)
    })?;
    cx.reply.end_array(begin, len.unwrap_or(0));
    Ok(())
}

/// The arguments of XAUTOCLAIM.
struct AutoClaim {
    min_idle_ms: i64,
    start: StreamId,
    count: usize,
    only_ids: bool,
}

impl AutoClaim {
    fn parse(line: &Line<'_>) -> Result<AutoClaim, Fault> {
        let min_idle_ms = parse_int(
            line.arg(4),
            "ERR Invalid min-idle-time argument for XAUTOCLAIM",
        )?;
        let mut claim = AutoClaim {
            min_idle_ms: min_idle_ms.max(0),
            start: parse_from(line.arg(5))?,
            count: CLAIMS,
            only_ids: false,
        };
        let mut at = 6;
        while at < line.len() {
            if at + 1 < line.len() && line.is(at, "count") {
                at += 1;
                claim.count = parse_i64(line.arg(at))
                    .filter(|count| (1..=CLAIMS_MAX).contains(count))
                    .ok_or(Fault::text("ERR COUNT must be > 0"))?
                    as usize;
            } else if line.is(at, "justid") {
                claim.only_ids = true;
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        Ok(claim)
    }

    fn run(&self, claiming: &mut Claiming<'_, '_>, consumer: ConsumerId) -> AutoClaimed {
        let mut outcome = AutoClaimed::default();
        let mut next = Some(self.start);
        let (mut left, mut attempts) = (self.count, self.count * ATTEMPTS_PER_CLAIM);
        while left > 0
            && attempts > 0
            && let Some(from) = next
        {
            let Some((id, &old)) = claiming.group.pending().iter_from(from).next() else {
                break;
            };
            attempts -= 1;
            next = id.next();
            if !claiming.records.contains(id) {
                claiming.forget(id, old);
                outcome.gone.push(id);
                left -= 1;
            } else if self.min_idle_ms == 0 || idle_ms(&old, claiming.now_ms) >= self.min_idle_ms {
                let more = i64::from(!self.only_ids);
                claiming.claim(
                    id,
                    Pending {
                        delivered_ms: claiming.now_ms,
                        deliveries: old.deliveries.saturating_add(more),
                        consumer,
                    },
                );
                outcome.claimed.push(id);
                left -= 1;
            }
        }
        let behind = next.and_then(|next| claiming.group.pending().iter_from(next).next());
        outcome.cursor = behind.map_or(StreamId::MIN, |(id, _)| id);
        outcome
    }
}

/// What XAUTOCLAIM did.
#[derive(Default)]
struct AutoClaimed {
    /// Where the next call goes on; `0-0` at the end.
    cursor: StreamId,
    claimed: Vec<StreamId>,
    /// Entries that were dropped because their records are gone.
    gone: Vec<StreamId>,
}

pub(super) fn xautoclaim(cx: &mut Cx<'_>) -> Done {
    let claim = AutoClaim::parse(&cx.line)?;
    let key = cx.key(1);
    check_group(cx, key, cx.line.arg(2))?;
    with_consumer(cx, key, |claiming, consumer, reply| {
        let outcome = claim.run(claiming, consumer);
        reply.array(3);
        push_id(reply, outcome.cursor);
        reply.array(outcome.claimed.len());
        for id in outcome.claimed {
            match claiming.records.get(id) {
                Some(record) if !claim.only_ids => push_record(reply, record),
                _ => push_id(reply, id),
            }
        }
        reply.array(outcome.gone.len());
        for id in outcome.gone {
            push_id(reply, id);
        }
    })?;
    Ok(())
}
