//! Lines whose keys have several owners: their plan, their place in the order, their steps.
//!
//! ```text
//!  session's core            orderer              shard A            shard B
//!       │ ── Order ────────────▶ │ ── Reserve ──────▶ │                  │
//!       │                        │ ── Reserve ─────────────────────────▶ │
//!       │ ◀──────────────────────────────── Granted ─ │                  │
//!       │ ◀─────────────────────────────────────────────────── Granted ─ │
//!       │ ── Work, or Lend … Return ────────────────▶ │ (answers, releases)
//!       │ ── Work, or Lend … Return ───────────────────────────────────▶ │
//! ```
//!
//! All is plain data and functions: who sends the messages is the session's core.
//!
//! Invariants:
//! - Work starts only when every shard has granted: nobody can see one shard after the line and another before it.
//! - Every shard sees all transactions in the orderer's order, so two of them never wait for each other.
//! - Once ordered, a transaction runs to its end, whether its client is still there or not: nothing stays reserved.

mod exec;
mod merge;
mod plan;

pub use exec::{Exec, Start, Step, WatchedMark};
pub use merge::{merge, merge_encoded};
pub use plan::{KeyPlace, Planner, Route};

use std::collections::HashMap;

use crate::command::{Command, Effects, Find, Merge, Run, Spread, Write, flag};
use crate::keyspace::OwnedEntry;
use crate::mesh::{Claim, LentKey, Message, OwnedLine, Returned, Ticket, TxnId};
use crate::resp::{Line, Output, Proto};
use crate::shard::mark;

/// One shard's share of a transaction.
struct Part {
    shard: u16,
    /// Its keys, in the order of the line.
    keys: Vec<KeyPlace>,
    reply: Output,
    lent: Vec<Option<OwnedEntry>>,
}

/// A line over several shards, on its session's core from plan to reply.
pub struct Txn {
    /// Where the reply goes.
    pub ticket: Ticket,
    /// The line.
    pub line: OwnedLine,
    command: &'static Command,
    spread: Spread,
    parts: Vec<Part>,
    /// Answers that are missing before the next step.
    missing: usize,
    /// The time that the slowest part took, nanoseconds.
    pub ns: u64,
    /// Its number in the EXEC that it is a line of.
    pub step: u32,
}

impl Txn {
    /// Plans the line of `command` over the owners of its keys; `Spread::All` over all `shards`. Returns what each
    /// shard must reserve.
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
        if let Spread::All(_) = spread {
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
                    whole: marks.is_empty(),
                    keys: marks,
                    // A lent entry is not there for readers either.
                    write: command.has(flag::WRITE) || matches!(spread, Spread::Gather),
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
            let message = match self.spread {
                Spread::Gather => {
                    Message::Lend(id, part.keys.iter().map(|key| self.lent_key(key)).collect())
                }
                _ => Message::Work(id, Box::new(self.part_line(part))),
            };
            (part.shard as usize, message)
        });
        messages.collect()
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
        self.part(shard).lent = entries;
        self.missing -= 1;
        self.missing == 0
    }

    /// Moves the lent entries out: each with its database.
    pub fn take_lent(&mut self) -> impl Iterator<Item = (usize, OwnedEntry)> + '_ {
        self.parts.iter_mut().flat_map(|part| {
            part.keys
                .iter()
                .zip(part.lent.drain(..))
                .filter_map(|(key, entry)| Some((key.db, entry?)))
        })
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
                (
                    part.shard,
                    part.keys.iter().map(|key| self.lent_key(key)).collect(),
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
        let mut log = Some(effects.log);
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
                let returned = Returned {
                    entries,
                    writes,
                    log: log.take().unwrap_or_default(),
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
            reply: Output::default(),
            lent: Vec::new(),
        }
    }
}
