//! Lines whose keys have several owners: their plan, their place in the order, their steps.
//!
//! ```text
//!  session's core            orderer              shard A            shard B
//!       │ ── Order ────────────▶ │ ── Reserve ──────▶ │                  │
//!       │                        │ ── Reserve ─────────────────────────▶ │
//!       │ ◀──────────────── Worked, or Granted … Lent ─ │                  │
//!       │ ◀─────────────────────────────────── Worked, or Granted … Lent ─ │
//!       │ ── Release, or Return ─────────────────────▶ │                  │
//!       │ ── Release, or Return ────────────────────────────────────────▶ │
//! ```
//!
//! The parts of a split line travel with the reservations, and run as soon as they are granted; entries are lent when all
//! have granted.
//!
//! All is plain data and functions: who sends the messages is the session's core.
//!
//! Invariants:
//! - Nothing that a transaction has touched is released before all of it is done: nobody can see one shard after the line and
//!   another before it.
//! - Every shard sees all transactions in the orderer's order, so two of them never wait for each other.
//! - Once ordered, a transaction runs to its end, whether its client is still there or not: nothing stays reserved.

mod exec;
mod merge;
mod plan;

pub use exec::{Exec, Start, Step, WatchedMark};
pub use merge::{merge, merge_encoded};
pub use plan::{KeyPlace, Planner, Route};

use std::collections::{HashMap, HashSet};

use crate::command::{Block, Command, Effects, Find, Follow, Merge, Run, Spread, Write, flag};
use crate::keyspace::OwnedEntry;
use crate::mesh::{
    Claim, LentKey, Message, Others, OwnedLine, Returned, Ticket, TxnId, Waiter, WaiterId,
};
use crate::resp::{Line, Output, Proto};
use crate::shard::mark;

/// One shard's share of a transaction.
struct Part {
    shard: u16,
    /// Its keys, in the order of the line.
    keys: Vec<KeyPlace>,
    /// The keys that those have led to.
    further: Vec<LentKey>,
    reply: Output,
    /// What is lent, each with its database.
    lent: Vec<(usize, OwnedEntry)>,
}

/// A line over several shards, on its session's core from plan to reply.
pub struct Txn {
    /// Where the reply goes.
    pub ticket: Ticket,
    /// The line.
    pub line: OwnedLine,
    command: &'static Command,
    spread: Spread,
    /// How to find the keys that the line's own keys lead to; `None` without such keys, or when they are found.
    follow: Option<Follow>,
    parts: Vec<Part>,
    /// Answers that are missing before the next step.
    missing: usize,
    /// The time that the slowest part took, nanoseconds.
    pub ns: u64,
    /// Its number in the EXEC that it is a line of.
    pub step: u32,
}

impl Txn {
    /// Plans the line of `command` over the owners of its keys, or over all `shards`. Returns what each shard must reserve.
    pub fn new(
        command: &'static Command,
        line: OwnedLine,
        keys: &[KeyPlace],
        shards: usize,
    ) -> (Txn, Vec<(u16, Claim)>) {
        let Run::Keys(_, spread) = command.run else {
            unreachable!("only keys commands are planned");
        };
        let mut parts: Vec<Part> = Vec::new();
        let whole = spread.leaves_its_keys(&line.line());
        let follow = match spread {
            Spread::Follow(follow) if whole => Some(follow),
            _ => None,
        };
        if whole {
            parts.extend((0..shards as u16).map(Part::new));
        }
        for key in keys {
            let part = match parts.iter().position(|part| part.shard == key.shard) {
                Some(part) => part,
                None => {
                    parts.push(Part::new(key.shard));
                    parts.len() - 1
                }
            };
            parts[part].keys.push(*key);
        }
        let claims = parts
            .iter()
            .map(|part| {
                let mut marks: Vec<u64> =
                    part.keys.iter().map(|key| mark(key.db, key.hash)).collect();
                marks.sort_unstable();
                marks.dedup();
                let claim = Claim {
                    whole,
                    keys: marks,
                    // A lent entry is not there for readers either.
                    write: command.has(flag::WRITE) || lends(spread),
                    watcher: None,
                };
                (part.shard, claim)
            })
            .collect();
        let txn = Txn {
            ticket: line.head.ticket,
            line,
            command,
            spread,
            follow,
            missing: parts.len(),
            ns: 0,
            step: 0,
            parts,
        };
        (txn, claims)
    }

    /// A shard granted. When it was the last, the messages of the next step.
    pub fn granted(&mut self, id: TxnId) -> Option<Vec<(usize, Message)>> {
        self.missing -= 1;
        (self.missing == 0).then(|| self.start(id))
    }

    /// All have granted: the messages of the next step.
    pub fn start(&mut self, id: TxnId) -> Vec<(usize, Message)> {
        self.missing = self.parts.len();
        let messages = self.parts.iter().map(|part| {
            let keys = part.keys.iter().map(|key| self.lent_key(key));
            let lend = Message::Lend(id, keys.collect(), self.step, self.line.head.leader);
            (part.shard as usize, lend)
        });
        messages.collect()
    }

    /// What each shard of the plan runs as soon as it has granted, in the order of the claims; nothing for a line whose
    /// entries are lent.
    pub fn lines(&self) -> Vec<Option<Box<OwnedLine>>> {
        let line = |part| (!lends(self.spread)).then(|| Box::new(self.part_line(part)));
        self.parts.iter().map(line).collect()
    }

    /// The messages that release what a line has reserved whose parts ran as soon as they could.
    pub fn release(&self, id: TxnId) -> impl Iterator<Item = (usize, Message)> + '_ {
        let parts = self.parts.iter();
        parts.map(move |part| (part.shard as usize, Message::Release(id)))
    }

    /// A shard answered with the reply of its part. When it was the last, the merged reply.
    pub fn worked(&mut self, shard: u16, reply: Output, ns: u64) -> Option<Output> {
        self.part(shard).reply = reply;
        self.ns = self.ns.max(ns);
        self.missing -= 1;
        if self.missing > 0 {
            return None;
        }
        let merge = match self.spread {
            Spread::Split(merge) | Spread::All(merge) => merge,
            _ => Merge::Same,
        };
        let parts: Vec<(&Output, Vec<u32>)> = self
            .parts
            .iter()
            .map(|part| {
                (
                    &part.reply,
                    part.keys.iter().map(|key| key.order as u32).collect(),
                )
            })
            .collect();
        let proto = if self.line.head.resp3 {
            Proto::Resp3
        } else {
            Proto::Resp2
        };
        Some(merge::merge(merge, proto, &parts))
    }

    /// A shard lent its entries. True when it was the last.
    pub fn lent(&mut self, shard: u16, entries: Vec<Option<OwnedEntry>>) -> bool {
        let part = self.part(shard);
        let dbs: Vec<usize> = if part.further.is_empty() {
            part.keys.iter().map(|key| key.db).collect()
        } else {
            part.further.iter().map(|key| key.db).collect()
        };
        let entries = dbs.into_iter().zip(entries);
        part.lent
            .extend(entries.filter_map(|(db, entry)| Some((db, entry?))));
        self.missing -= 1;
        self.missing == 0
    }

    /// Moves the lent entries out: each with its database.
    pub fn take_lent(&mut self) -> impl Iterator<Item = (usize, OwnedEntry)> + '_ {
        self.parts.iter_mut().flat_map(|part| part.lent.drain(..))
    }

    /// The line's own keys are all lent. Asks for the entries of those that the first one's value names, once; `place` gives a key's
    /// hash and owner. Without such keys there is nothing to wait for, and no message.
    pub fn follow(
        &mut self,
        id: TxnId,
        place: impl Fn(&[u8]) -> (u64, usize),
    ) -> Vec<(usize, Message)> {
        let Some(follow) = self.follow.take() else {
            return Vec::new();
        };
        let mut further = Vec::new();
        if let Some(entry) = self.first_entry() {
            (follow.keys)(&self.line.line(), entry, &mut further);
        }
        let db = self.line.head.db as usize;
        let own = self.parts.iter().flat_map(|part| &part.keys);
        let own = own.map(|key| self.lent_key(key));
        let mut known: HashSet<Box<[u8]>> =
            own.filter(|key| key.db == db).map(|key| key.key).collect();
        for key in further {
            if known.insert(key.clone()) {
                let (hash, shard) = place(&key);
                let further = &mut self.part(shard as u16).further;
                further.push(LentKey { db, key, hash });
            }
        }
        let parts = self.parts.iter().filter(|part| !part.further.is_empty());
        let messages: Vec<(usize, Message)> = parts
            .map(|part| {
                let lend =
                    Message::Lend(id, part.further.clone(), self.step, self.line.head.leader);
                (part.shard as usize, lend)
            })
            .collect();
        self.missing = messages.len();
        messages
    }

    /// The entry of the line's first key, when it is lent.
    fn first_entry(&self) -> Option<&OwnedEntry> {
        let mut parts = self.parts.iter();
        parts.find_map(|part| {
            let first = part.keys.iter().find(|key| key.order == 0)?;
            let line = self.line.line();
            let key = line.arg(first.arg);
            let mut lent = part.lent.iter();
            lent.find_map(|(db, entry)| (*db == first.db && entry.has_key(key)).then_some(entry))
        })
    }

    /// The line waits: what each owner of keys that it waits for keeps of it.
    pub fn waiters(&self, core: usize, block: &Block) -> Vec<(usize, Waiter)> {
        let awaited = |key: &&KeyPlace| block.keys.contains(&key.arg);
        let keys = || self.parts.iter().flat_map(|part| &part.keys);
        let others = match keys().all(|key| awaited(&key)) {
            true => Others::None,
            false => Others::Elsewhere,
        };
        let line = OwnedLine::replacing(self.line.head, &self.line.line(), &block.replace);
        self.parts
            .iter()
            .filter(|part| part.keys.iter().any(|key| awaited(&key)))
            .map(|part| {
                let keys = part.keys.iter().filter(awaited);
                let waiter = Waiter {
                    id: WaiterId {
                        core: core as u16,
                        ticket: self.ticket,
                    },
                    line: line.clone(),
                    keys: keys
                        .map(|key| (key.db, self.line.line().arg(key.arg).into()))
                        .collect(),
                    kind: block.kind,
                    ready: block.ready,
                    others: others.clone(),
                    writes: self.command.has(flag::WRITE),
                };
                (part.shard as usize, waiter)
            })
            .collect()
    }

    /// The messages that bring every entry back to its owner, `take` taking it out of the scratch data, and that
    /// may release the reservations.
    pub fn give_back(
        &mut self,
        id: TxnId,
        effects: Effects,
        release: bool,
        mut take: impl FnMut(&LentKey) -> Option<OwnedEntry>,
    ) -> Vec<(usize, Message)> {
        let parts: Vec<(u16, Vec<LentKey>)> = self
            .parts
            .iter()
            .map(|part| {
                let keys = part.keys.iter().map(|key| self.lent_key(key));
                (
                    part.shard,
                    keys.chain(part.further.iter().cloned()).collect(),
                )
            })
            .collect();
        let mut own: Vec<Vec<Write>> = parts.iter().map(|_| Vec::new()).collect();
        if !effects.writes.is_empty() {
            let owners: HashMap<(usize, &[u8]), usize> = parts
                .iter()
                .enumerate()
                .flat_map(|(part, (_, keys))| {
                    keys.iter().map(move |key| ((key.db, &*key.key), part))
                })
                .collect();
            for write in effects.writes {
                if let Some(&part) = owners.get(&(write.db, &*write.key)) {
                    own[part].push(write);
                }
            }
        }
        // The parts leave the lanes together, so any of them can hold the line.
        let mut log = Some((effects.expired, effects.log));
        let (db, step) = (self.line.head.db, self.step);
        parts
            .into_iter()
            .zip(own)
            .map(|((shard, keys), writes)| {
                let entries = keys
                    .into_iter()
                    .map(|key| {
                        let entry = take(&key);
                        (key, entry)
                    })
                    .collect();
                let (expired, log) = log.take().unwrap_or_default();
                let returned = Returned {
                    entries,
                    writes,
                    expired,
                    log,
                    db,
                    step,
                    release,
                    ticket: self.ticket,
                    tracks: self.line.head.tracks && self.command.has(flag::READONLY),
                };
                (shard as usize, Message::Return(id, Box::new(returned)))
            })
            .collect()
    }

    fn part(&mut self, shard: u16) -> &mut Part {
        self.parts
            .iter_mut()
            .find(|part| part.shard == shard)
            .expect("only shards of the plan answer")
    }

    fn lent_key(&self, key: &KeyPlace) -> LentKey {
        LentKey {
            db: key.db,
            key: self.line.line().arg(key.arg).into(),
            hash: key.hash,
        }
    }

    /// The line with only one owner's keys and what belongs to each of them.
    fn part_line(&self, part: &Part) -> OwnedLine {
        let line = self.line.line();
        let mut head = self.line.head;
        if matches!(self.spread, Spread::All(_)) {
            return OwnedLine::new(head, &line);
        }
        head.hash = part.keys[0].hash;
        OwnedLine::pick(head, &line, part_args(self.command, &line, &part.keys))
    }
}

/// The owners lend their entries to the session's core.
fn lends(spread: Spread) -> bool {
    matches!(spread, Spread::Gather | Spread::Follow(_))
}

/// The arguments of a line with only these of its keys and what belongs to each of them.
fn part_args<'a>(
    command: &Command,
    line: &Line<'_>,
    keys: &'a [KeyPlace],
) -> impl Iterator<Item = usize> + 'a {
    let step = match command.keys[0].find {
        Find::Range { step, .. } | Find::Keynum { step, .. } => step,
    };
    let len = line.len();
    std::iter::once(0).chain(
        keys.iter()
            .flat_map(move |key| key.arg..(key.arg + step).min(len)),
    )
}

impl Part {
    fn new(shard: u16) -> Part {
        Part {
            shard,
            keys: Vec::new(),
            further: Vec::new(),
            reply: Output::default(),
            lent: Vec::new(),
        }
    }
}
