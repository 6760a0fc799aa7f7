//! An EXEC that needs more than one owner: its plan, and its lines in steps under one set of reservations.
//!
//! ```text
//!  lines   SET a  INCR b  MGET a c │ PING │ RENAME a b │ SET c
//!  steps   one hop: each owner     │ the  │ lend, run, │ one hop; the last step releases
//!          runs its parts in order │ core │ give back  │
//! ```
//!
//! Lines on different owners commute, as nobody else sees their keys meanwhile: so all lines up to the next one that runs
//! on the session's core make one hop, one message per owner, whatever their order is.
//!
//! Invariants:
//! - Everything that any line touches, and every watched key, is reserved before the first line runs and until the last one
//!   has run.
//! - The steps of one EXEC follow each other; the replies are put together in the order of the lines.
//! - Work is linear in the lines and keys, times the owners of a line.

use super::{KeyPlace, Planner, Route, Txn, lends, merge_encoded, part_args};
use crate::command::connection::selected;
use crate::command::{Merge, Registry, Run, Spread, flag};
use crate::keyspace::OwnedEntry;
use crate::mesh::{Batch, Claim, Head, Message, OwnedLine, Ticket, TxnId};
use crate::resp::{Encoded, Line, Output, Proto, Reply, Span};
use crate::shard::mark;

/// How one line runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// On the session's core, with its client.
    Client,
    /// As a whole on one owner.
    One(u16),
    /// Any of the reserved owners will do: it has no keys.
    Anywhere,
    /// In parts on the owners of its keys.
    Split(Merge),
    /// On all shards.
    All(Merge),
    /// Once, on lent entries.
    Gather,
}

/// One line's plan; its keys are a range of all keys.
struct LinePlan {
    kind: Kind,
    keys: std::ops::Range<usize>,
}

/// What comes next.
pub enum Step {
    /// Run this line on the session's core.
    Client(usize),
    /// Send these messages, and go on when all are answered.
    Wait(Vec<(usize, Message)>),
    /// All lines have run: send these messages, which release what is still reserved.
    Done(Vec<(usize, Message)>),
}

/// A key that the client watches.
pub struct WatchedMark {
    /// Its owner.
    pub shard: u16,
    /// Its mark.
    pub mark: u64,
}

/// What an EXEC starts with.
pub struct Start {
    /// EXEC itself; its head says where the reply goes and how the first line runs.
    pub exec: OwnedLine,
    /// The queued lines.
    pub lines: Vec<OwnedLine>,
    /// The watched keys.
    pub watched: Vec<WatchedMark>,
    /// The client's id.
    pub client: u64,
    /// No reply at all.
    pub silent: bool,
    /// Monitors are shown the lines when they have run.
    pub shown: bool,
    /// A clock's reading, nanoseconds.
    pub ticks: u64,
    /// The session's own shard, and the number of all.
    pub place: crate::command::Place,
}

/// An EXEC over several owners, on its session's core from plan to reply.
pub struct Exec {
    /// EXEC itself. Its head follows the client from line to line: database, protocol, access clock.
    pub exec: OwnedLine,
    /// The lines.
    pub lines: Vec<OwnedLine>,
    /// The replies so far.
    pub out: Output,
    /// No reply at all.
    pub silent: bool,
    /// Monitors are shown the lines when they have run.
    pub shown: bool,
    /// When it started.
    pub ticks: u64,
    plans: Vec<LinePlan>,
    keys: Vec<KeyPlace>,
    /// Who has reserved, in the order of the shards.
    shards: Vec<u16>,
    shards_of_node: usize,
    missing: usize,
    broken: bool,
    /// The next line to run, or the first of the hop under way.
    next: usize,
    /// Where the hop under way ends.
    hop_end: usize,
    /// What came back of the hop under way, by the place in `shards`.
    hopped: Vec<Option<Box<Batch>>>,
    lending: Option<Txn>,
    released: bool,
}

impl Exec {
    /// Plans all lines. Returns what each shard must reserve: at least one does.
    pub fn new(
        start: Start,
        registry: &'static Registry,
        planner: &mut Planner,
        databases: u64,
    ) -> (Exec, Vec<(u16, Claim)>) {
        let mut exec = Exec {
            exec: start.exec,
            lines: start.lines,
            out: Output::default(),
            silent: start.silent,
            shown: start.shown,
            ticks: start.ticks,
            plans: Vec::new(),
            keys: Vec::new(),
            shards: Vec::new(),
            shards_of_node: start.place.count,
            missing: 0,
            broken: false,
            next: 0,
            hop_end: 0,
            hopped: Vec::new(),
            lending: None,
            released: false,
        };
        let mut claims: Vec<Option<Claim>> = vec![None; start.place.count];
        let mut whole = false;
        let mut db = exec.exec.head.db as usize;
        for line in &mut exec.lines {
            let registered = registry.get(line.head.command);
            let command = registered.command;
            let first_key = exec.keys.len();
            let kind = match command.run {
                Run::Keys(_, spread) => {
                    let route = planner.route_in_full(registered, db, &line.line());
                    exec.keys.extend_from_slice(planner.keys());
                    let lends = matches!(route, Route::Several | Route::All) && lends(spread);
                    for key in planner.keys() {
                        let claim = claims[key.shard as usize].get_or_insert_default();
                        claim.keys.push(mark(key.db, key.hash));
                        claim.write |= lends || command.has(flag::WRITE);
                    }
                    match (route, spread) {
                        (Route::Anywhere, _) => Kind::Anywhere,
                        (Route::One { shard, .. }, _) => {
                            if spread.leaves_its_keys(&line.line()) {
                                claims[shard].get_or_insert_default().whole = true;
                            }
                            Kind::One(shard as u16)
                        }
                        (_, Spread::All(merge)) => {
                            whole = true;
                            Kind::All(merge)
                        }
                        (_, Spread::Split(merge)) => Kind::Split(merge),
                        (route, Spread::Gather | Spread::Follow(_)) => {
                            whole |= route == Route::All;
                            Kind::Gather
                        }
                        (_, Spread::One | Spread::Route(_)) => {
                            unreachable!("such lines have one owner")
                        }
                    }
                }
                _ => {
                    if command.has(flag::SELECTS)
                        && let Ok(selected) = selected(line.line().arg(1), databases)
                    {
                        db = selected;
                    }
                    // It may visit all cores, and see their whole data.
                    whole |= !command.has(flag::FAST);
                    Kind::Client
                }
            };
            line.head.db = db as u16;
            exec.plans.push(LinePlan {
                kind,
                keys: first_key..exec.keys.len(),
            });
        }
        for watched in &start.watched {
            let claim = claims[watched.shard as usize].get_or_insert_default();
            claim.keys.push(watched.mark);
            claim.watcher = Some(start.client);
        }
        if whole {
            for claim in &mut claims {
                claim.get_or_insert_default().whole = true;
            }
        } else if claims.iter().all(Option::is_none) {
            claims[start.place.index] = Some(Claim::default());
        }
        let claims: Vec<(u16, Claim)> = claims
            .into_iter()
            .enumerate()
            .filter_map(|(shard, claim)| {
                let mut claim = claim?;
                claim.write |= claim.whole;
                claim.finish();
                Some((shard as u16, claim))
            })
            .collect();
        exec.shards = claims.iter().map(|(shard, _)| *shard).collect();
        exec.missing = claims.len();
        (exec, claims)
    }

    /// Where the reply goes.
    pub fn ticket(&self) -> Ticket {
        self.exec.head.ticket
    }

    /// A shard granted; `broken`: a watched key of its had changed. True when it was the last.
    pub fn granted(&mut self, broken: bool) -> bool {
        self.broken |= broken;
        self.missing -= 1;
        self.missing == 0
    }

    /// No line may run: a watched key has changed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The messages that release what is still reserved.
    pub fn release(&mut self, id: TxnId) -> Vec<(usize, Message)> {
        if std::mem::replace(&mut self.released, true) {
            return Vec::new();
        }
        let shards = self.shards.iter();
        shards
            .map(|&shard| (shard as usize, Message::Release(id)))
            .collect()
    }

    /// The next step. `spare` gives an empty batch for a shard.
    pub fn step(
        &mut self,
        id: TxnId,
        registry: &'static Registry,
        spare: impl FnMut(usize) -> Box<Batch>,
    ) -> Step {
        let Some(plan) = self.plans.get(self.next) else {
            return Step::Done(self.release(id));
        };
        match plan.kind {
            Kind::Client => {
                self.next += 1;
                Step::Client(self.next - 1)
            }
            Kind::Gather => {
                let keys = &self.keys[plan.keys.clone()];
                let mut line = self.lines[self.next].clone();
                line.head = self.head_of(self.next, 0);
                let command = registry.get(line.head.command).command;
                let (mut txn, _) = Txn::new(command, line, keys, self.shards_of_node);
                txn.step = self.next as u32;
                let messages = txn.start(id);
                self.lending = Some(txn);
                Step::Wait(messages)
            }
            _ => Step::Wait(self.hop(id, registry, spare)),
        }
    }

    /// The head of a line that is about to run.
    fn head_of(&self, index: usize, hash: u64) -> Head {
        let own = &self.lines[index].head;
        let ticket = Ticket {
            line: index as u32,
            ..self.ticket()
        };
        Head {
            ticket,
            command: own.command,
            args: own.args,
            hash,
            ..self.exec.head
        }
    }

    fn keys_of(&self, index: usize) -> &[KeyPlace] {
        &self.keys[self.plans[index].keys.clone()]
    }

    fn place_of(&self, shard: u16) -> usize {
        self.shards
            .binary_search(&shard)
            .expect("a line's owners have reserved")
    }

    /// All lines up to the next that runs here, one message per owner.
    fn hop(
        &mut self,
        id: TxnId,
        registry: &'static Registry,
        mut spare: impl FnMut(usize) -> Box<Batch>,
    ) -> Vec<(usize, Message)> {
        let end = self.plans[self.next..]
            .iter()
            .position(|plan| matches!(plan.kind, Kind::Client | Kind::Gather))
            .map_or(self.plans.len(), |count| self.next + count);
        let mut batches: Vec<Option<Box<Batch>>> = self.shards.iter().map(|_| None).collect();
        for index in self.next..end {
            self.push_parts(index, registry, &mut batches, &mut spare);
        }
        let last = end == self.plans.len();
        self.hop_end = end;
        self.released = last;
        self.missing = batches.iter().flatten().count();
        self.hopped = self.shards.iter().map(|_| None).collect();
        let shards = self.shards.iter().zip(batches);
        shards
            .filter_map(|(&shard, batch)| match batch {
                Some(batch) => Some((shard as usize, Message::Hop(id, batch, last))),
                None if last => Some((shard as usize, Message::Release(id))),
                None => None,
            })
            .collect()
    }

    /// Adds a line, or its parts, to the batches of its owners.
    fn push_parts(
        &self,
        index: usize,
        registry: &'static Registry,
        batches: &mut [Option<Box<Batch>>],
        spare: &mut impl FnMut(usize) -> Box<Batch>,
    ) {
        let line = self.lines[index].line();
        let keys = self.keys_of(index);
        let mut push = |place: usize, head: Head, line: &Line<'_>| {
            let shard = self.shards[place] as usize;
            batches[place]
                .get_or_insert_with(|| spare(shard))
                .push(head, line);
        };
        match self.plans[index].kind {
            Kind::Anywhere => push(0, self.head_of(index, 0), &line),
            Kind::One(shard) => {
                let first = keys.first().filter(|key| key.arg == 1);
                let head = self.head_of(index, first.map_or(0, |key| key.hash));
                push(self.place_of(shard), head, &line);
            }
            Kind::All(_) => {
                for place in 0..self.shards.len() {
                    push(place, self.head_of(index, 0), &line);
                }
            }
            Kind::Split(_) => {
                let command = registry.get(self.lines[index].head.command).command;
                for owner in owners(keys) {
                    let own: Vec<KeyPlace> = of_owner(keys, owner).copied().collect();
                    let spans: Vec<Span> = part_args(command, &line, &own)
                        .map(|arg| line.spans()[arg])
                        .collect();
                    let mut head = self.head_of(index, own[0].hash);
                    head.args = spans.len() as u32;
                    push(self.place_of(owner), head, &line.with_spans(&spans));
                }
            }
            Kind::Client | Kind::Gather => unreachable!("such lines are no part of a hop"),
        }
    }

    /// A shard sent its lines of the hop back. True when it was the last.
    pub fn hopped(&mut self, shard: u16, lines: Box<Batch>) -> bool {
        let place = self.place_of(shard);
        self.hopped[place] = Some(lines);
        self.missing -= 1;
        self.missing == 0
    }

    /// The hop is over: adds its replies, when they are `shown`. Returns the batches of the shards.
    pub fn end_hop(&mut self, shown: bool) -> Vec<(usize, Box<Batch>)> {
        let batches = std::mem::take(&mut self.hopped);
        let mut out = std::mem::take(&mut self.out);
        let mut readers: Vec<Reader<'_>> = batches
            .iter()
            .map(|batch| Reader {
                batch: batch.as_deref(),
                index: 0,
                at: 0,
            })
            .collect();
        let proto = self.proto();
        for index in self.next..self.hop_end {
            let keys = self.keys_of(index);
            let mut merged = |how: Merge, parts: Vec<(Encoded<'_>, Vec<u32>)>| {
                if shown {
                    let parts = parts
                        .iter()
                        .map(|(reply, places)| (reply.clone(), places.as_slice()))
                        .collect();
                    merge_encoded(how, proto, parts, &mut out);
                }
            };
            match self.plans[index].kind {
                Kind::Split(how) => {
                    let parts = owners(keys)
                        .into_iter()
                        .map(|owner| {
                            let reply = readers[self.place_of(owner)].next_encoded();
                            let places = of_owner(keys, owner).map(|key| key.order as u32);
                            (reply, places.collect())
                        })
                        .collect();
                    merged(how, parts);
                }
                Kind::All(how) => {
                    let parts = readers
                        .iter_mut()
                        .map(|reader| (reader.next_encoded(), Vec::new()))
                        .collect();
                    merged(how, parts);
                }
                kind => {
                    let place = match kind {
                        Kind::One(shard) => self.place_of(shard),
                        _ => 0,
                    };
                    let (replies, range) = readers[place].next();
                    if shown {
                        out.append_range(replies, range);
                    }
                }
            }
        }
        self.out = out;
        self.next = self.hop_end;
        self.shards
            .iter()
            .zip(batches)
            .filter_map(|(&shard, batch)| Some((shard as usize, batch?)))
            .collect()
    }

    /// A shard lent its entries of the line under way. With the last of them: the line as a transaction of its own.
    /// Giving back releases nothing: not all who have reserved have lent.
    pub fn lent(&mut self, shard: u16, entries: Vec<Option<OwnedEntry>>) -> Option<Txn> {
        let lending = self.lending.as_mut().expect("a line is under way");
        if !lending.lent(shard, entries) {
            return None;
        }
        self.lending.take()
    }

    /// The line whose entries were all lent asks for further ones.
    pub fn lends_further(&mut self, txn: Txn) {
        self.lending = Some(txn);
    }

    /// The line whose entries were all lent has run.
    pub fn ran_lent(&mut self) {
        self.next += 1;
    }

    /// The protocol of the replies.
    pub fn proto(&self) -> Proto {
        if self.exec.head.resp3 {
            Proto::Resp3
        } else {
            Proto::Resp2
        }
    }

    /// Begins the reply, when it is `shown`: the lines' replies are its elements.
    pub fn begin_reply(&mut self, shown: bool) {
        if shown {
            let (proto, lines) = (self.proto(), self.lines.len());
            Reply::new(&mut self.out, proto).array(lines);
        }
    }
}

/// The owners of keys, in the order of their first keys.
fn owners(keys: &[KeyPlace]) -> Vec<u16> {
    let mut owners = Vec::new();
    for key in keys {
        if !owners.contains(&key.shard) {
            owners.push(key.shard);
        }
    }
    owners
}

/// One owner's keys.
fn of_owner(keys: &[KeyPlace], owner: u16) -> impl Iterator<Item = &KeyPlace> {
    keys.iter().filter(move |key| key.shard == owner)
}

/// The replies of a batch, one after the other.
struct Reader<'a> {
    batch: Option<&'a Batch>,
    index: usize,
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> (&'a Output, std::ops::Range<usize>) {
        let batch = self.batch.expect("a shard with lines has answered");
        let range = self.at..self.at + batch.reply_lens[self.index];
        self.index += 1;
        self.at = range.end;
        (&batch.replies, range)
    }

    fn next_encoded(&mut self) -> Encoded<'a> {
        let (replies, range) = self.next();
        Encoded::at(replies, range.start).expect("a line has a reply")
    }
}
