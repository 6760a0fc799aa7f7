//! A shard: the owner of a slice of the keyspace, which runs lines on it one after the other.
//!
//! Lives on one core. Whoever has a line for the shard calls it as a plain function; nothing here waits. A line that meets
//! a reserved key is kept, and runs when the key is free ([`Shard::next`]).
//!
//! Invariants:
//! - A handler runs from begin to end without anything else touching the shard.
//! - A line changes data only while no transaction holds its keys.

pub mod reserve;
pub mod waiters;
pub mod watch;

use reserve::{ClaimId, Claimant, Reservations};
use waiters::Waiters;
use watch::Watches;

use crate::base::random::Random;
use crate::command::cx::expired_writes;
use crate::command::{
    Block, CommandId, Cx, Effects, KeyRef, Place, Registry, Run, Spread, Switches, flag,
};
use crate::config::Config;
use crate::keyspace::{Expired, ExpiredPart, ExpiryPolicy, Key, Keyspace, OwnedEntry};
use crate::log::{Lane, LogStep};
use crate::mesh::{Claim, Head, LentKey, Others, OwnedLine, Waiter, WaiterId};
use crate::resp::{Line, Output, Proto, Reply, encode_args, encode_line};
use crate::stats::CoreStats;

/// The mark of a key in reservations: its hash, told apart by database. Two keys of one mark wait for each other
/// without need, which harms nobody.
#[inline]
pub fn mark(db: usize, hash: u64) -> u64 {
    hash ^ (db as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a line needs besides the shard: things of the core, lent for the call.
pub struct Env<'a> {
    /// All commands.
    pub registry: &'static Registry,
    /// The parameters.
    pub config: &'a Config,
    /// The core's counters.
    pub stats: &'a mut CoreStats,
    /// The core's switches.
    pub switches: &'a mut Switches,
    /// Wall clock of the turn, milliseconds.
    pub now_ms: i64,
    /// A clock for durations, nanoseconds.
    pub ticks: fn() -> u64,
    /// When the line before ended: where this line's duration begins.
    pub last_ticks: u64,
    /// The line had waited, and this key can serve it.
    pub woken_by: Option<&'a [u8]>,
}

/// A line that took longer than the slow log's threshold, or an error to be counted, is noticed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Nanoseconds.
    pub ns: u64,
    /// The reply is an error.
    pub failed: bool,
    /// There is no reply: the line waits for what [`Effects::block`] says.
    pub blocked: bool,
}

/// The owner of a slice of the keyspace.
pub struct Shard {
    /// The data.
    pub keyspace: Keyspace,
    /// What the last line did.
    pub effects: Effects,
    /// Which keys are reserved.
    pub reservations: Reservations,
    /// Which keys are watched.
    pub watches: Watches,
    /// What followers must apply.
    pub lane: Lane,
    /// Which lines wait for keys.
    pub waiters: Waiters,
    place: Place,
    random: Random,
    keys: Vec<KeyRef>,
    marks: Vec<u64>,
}

impl Shard {
    /// An owner with its (empty) data. `seed` starts the random choices of its lines.
    pub fn new(keyspace: Keyspace, place: Place, seed: u64) -> Shard {
        Shard {
            keyspace,
            effects: Effects::default(),
            reservations: Reservations::default(),
            watches: Watches::default(),
            lane: Lane::default(),
            waiters: Waiters::default(),
            place,
            random: Random::new(seed),
            keys: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Where the shard stands among the shards.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The line may run now. One test while nothing is reserved.
    #[inline]
    pub fn admits(&mut self, registry: &Registry, head: &Head, line: &Line<'_>) -> bool {
        if self.reservations.is_idle() {
            return true;
        }
        let claim = self.claim_of(registry, head.command, head.db as usize, line);
        self.reservations
            .admits(&claim.keys, claim.whole, claim.write)
    }

    /// Keeps a line of `core` until its keys are free.
    pub fn wait(&mut self, registry: &Registry, core: usize, line: OwnedLine) {
        let claim = self.claim_of(
            registry,
            line.head.command,
            line.head.db as usize,
            &line.line(),
        );
        self.claim(claim, Claimant::Line(core, Box::new(line)));
    }

    /// Adds a claim.
    pub fn claim(&mut self, claim: Claim, claimant: Claimant) {
        self.reservations.claim(claim, claimant, &mut self.lane);
    }

    /// Adds a claim on one key that goes before all who wait for it.
    pub fn claim_first(&mut self, mark: u64, claimant: Claimant) {
        self.reservations
            .claim_first(mark, claimant, &mut self.lane);
    }

    /// What the line would reserve.
    fn claim_of(
        &mut self,
        registry: &Registry,
        command: CommandId,
        db: usize,
        line: &Line<'_>,
    ) -> Claim {
        let command = registry.get(command).command;
        self.keys.clear();
        self.marks.clear();
        command.find_keys(line, &mut self.keys);
        let hasher = *self.keyspace.hasher();
        self.marks.extend(
            self.keys
                .iter()
                .map(|key| mark(key.db.unwrap_or(db), hasher.hash(line.arg(key.arg)))),
        );
        self.marks.sort_unstable();
        self.marks.dedup();
        Claim {
            keys: self.marks.clone(),
            whole: matches!(command.run, Run::Keys(_, spread) if spread.leaves_its_keys(line)),
            write: command.has(flag::WRITE),
            watcher: None,
        }
    }

    /// What all lines of an EXEC would reserve together, with the keys that its client watches here.
    pub fn claim_of_exec<'a>(
        &mut self,
        registry: &Registry,
        lines: impl Iterator<Item = (&'a Head, Line<'a>)>,
        watcher: Option<u64>,
    ) -> Claim {
        let mut all = Claim::default();
        for (head, line) in lines {
            let claim = self.claim_of(registry, head.command, head.db as usize, &line);
            all.keys.extend(claim.keys);
            all.whole |= claim.whole;
            all.write |= claim.write;
        }
        if let Some(client) = watcher {
            let hasher = *self.keyspace.hasher();
            let watched = self.watches.keys_of(client).iter();
            all.keys
                .extend(watched.map(|(db, key)| mark(*db, hasher.hash(key))));
        }
        all.finish();
        all
    }

    /// The key is there, as far as this shard knows: a transaction may have borrowed it.
    pub fn sees(&mut self, watched: &LentKey) -> Option<bool> {
        let key = Key {
            bytes: &watched.key,
            hash: watched.hash,
        };
        let marks = [mark(watched.db, watched.hash)];
        // Nothing may be deleted here: whoever holds the key says what followers hear of it.
        let there = self.keyspace.inspect(watched.db, key).is_some();
        (there || self.reservations.admits(&marks, false, false)).then_some(there)
    }

    /// Looks at every key that the client watches here, and breaks the watch where one has expired or is gone without a trace.
    pub fn look_at_watched(&mut self, client: u64) {
        let keys = self.watches.keys_of(client).to_vec();
        for (db, key) in keys {
            let found = self.keyspace.key(&key);
            let gone = self.keyspace.inspect(db, found).is_none();
            if gone && self.watches.existed(client, db, &key) {
                self.watches.break_client(client);
            }
        }
    }

    /// A line of a session of `core` that ran here with all of its keys and found nothing, as it waits.
    pub fn waiter(
        &mut self,
        registry: &Registry,
        core: usize,
        head: &Head,
        line: &Line<'_>,
        block: &Block,
    ) -> Waiter {
        let command = registry.get(head.command).command;
        let db = head.db as usize;
        self.keys.clear();
        command.find_keys(line, &mut self.keys);
        let hasher = *self.keyspace.hasher();
        let mut others: Vec<u64> = self
            .keys
            .iter()
            .filter(|key| !block.keys.contains(&key.arg))
            .map(|key| mark(key.db.unwrap_or(db), hasher.hash(line.arg(key.arg))))
            .collect();
        others.sort_unstable();
        others.dedup();
        Waiter {
            id: WaiterId {
                core: core as u16,
                ticket: head.ticket,
            },
            line: OwnedLine::replacing(*head, line, &block.replace),
            keys: block
                .keys
                .clone()
                .map(|arg| (db, line.arg(arg).into()))
                .collect(),
            kind: block.kind,
            ready: block.ready,
            others: match others.is_empty() {
                true => Others::None,
                false => Others::Here(others),
            },
            writes: command.has(flag::WRITE),
        }
    }

    /// Runs a line; its reply goes to `out`.
    #[inline]
    pub fn run(&mut self, env: &mut Env<'_>, head: &Head, line: Line<'_>, out: &mut Output) -> Ran {
        let registered = env.registry.get(head.command);
        let Run::Keys(handler, spread) = registered.command.run else {
            unreachable!("only keys commands are sent to shards");
        };
        self.effects.reset();
        self.keyspace.set_touch(!head.no_touch);
        let proto = if head.resp3 {
            Proto::Resp3
        } else {
            Proto::Resp2
        };
        let mut cx = Cx {
            line,
            reply: Reply::new(out, proto),
            keyspace: &mut self.keyspace,
            db: head.db as usize,
            hash: head.hash,
            now_ms: env.now_ms,
            config: env.config,
            effects: &mut self.effects,
            random: &mut self.random,
            place: self.place,
            switches: env.switches,
            may_block: head.may_block,
            woken_by: env.woken_by,
        };
        let result = if head.leader {
            let policy = cx.keyspace.expiry_policy();
            cx.keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
            let result = handler(&mut cx);
            cx.keyspace.set_expiry_policy(policy);
            result
        } else {
            handler(&mut cx)
        };
        let mut failed = false;
        if let Err(fault) = result {
            cx.reply.error(fault.as_bytes());
            env.stats.error(error_code(fault.as_bytes()));
            failed = true;
        }
        if self.effects.logging {
            let changes = match spread {
                // Every shard runs a line on everything; one of them logs it, whether it had anything itself or not.
                Spread::All(_) => {
                    self.place.index == 0 && !failed && registered.command.has(flag::WRITE)
                }
                _ => self.effects.dirty > 0,
            };
            self.log(env.config, changes, head.db, &line);
        }
        let ticks = (env.ticks)();
        let ns = ticks.saturating_sub(env.last_ticks);
        env.last_ticks = ticks;
        let blocked = self.effects.block.is_some();
        if !blocked {
            env.stats.record(head.command, ns, failed);
        }
        env.stats.totals.changes += self.effects.dirty;
        Ran {
            ns,
            failed,
            blocked,
        }
    }

    /// The two stages of fetching a key's place in the table ahead of its line: first all buckets of a window, then all
    /// entries.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, hash: u64) {
        self.keyspace.prefetch_group(db, hash);
    }

    /// The second stage.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, hash: u64) {
        self.keyspace.prefetch_entry(db, hash);
    }

    /// Takes entries out for a transaction that holds their keys.
    /// For the leader's lines expired keys are keys like any other.
    pub fn lend(&mut self, keys: &[LentKey], leader: bool) -> Vec<Option<OwnedEntry>> {
        let policy = self.keyspace.expiry_policy();
        if leader {
            self.keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
        }
        let entries = keys
            .iter()
            .map(|lent| {
                let key = Key {
                    bytes: &lent.key,
                    hash: lent.hash,
                };
                self.keyspace.peek(lent.db, key)?;
                self.keyspace.take(lent.db, key)
            })
            .collect();
        self.keyspace.set_expiry_policy(policy);
        entries
    }

    /// Takes lent entries back, as the transaction left them.
    pub fn take_back(&mut self, entries: Vec<(LentKey, Option<OwnedEntry>)>) {
        for (lent, entry) in entries {
            if let Some(entry) = entry {
                self.keyspace.put(lent.db, entry);
            }
        }
    }

    /// What runs from now on is the work of a granted claim, in this step of its transaction.
    pub fn enter(&mut self, claim: ClaimId, step: LogStep) {
        if self.lane.is_on() {
            self.lane.enter(self.reservations.slot(claim), step);
        }
    }

    /// Ends a claim.
    pub fn release(&mut self, claim: ClaimId) {
        self.lane.leave();
        self.reservations.release(claim, &mut self.lane);
    }

    /// Switches the lane, at a cut.
    pub fn switch_lane(&mut self, on: bool) {
        self.lane.switch(on);
        self.effects.logging = on;
    }

    /// Logs what the line that has just run did, if it `changes` anything, behind the keys that it found expired.
    #[cold]
    fn log(&mut self, config: &Config, changes: bool, db: u16, line: &Line<'_>) {
        if !self.lane.is_on() {
            return self.log_lent(line);
        }
        for expired in std::mem::take(&mut self.effects.expired) {
            self.log_one_expired(config, &expired);
        }
        self.log_expired(config);
        let effects = &self.effects;
        if effects.rewritten {
            self.lane.append_encoded(db, &effects.log);
        } else if changes {
            self.lane
                .append(db, |bytes| encode_args(line.args(), bytes));
        }
    }

    /// Leaves in the effects what the line that has just run on lent entries is to log: an owner does it.
    fn log_lent(&mut self, line: &Line<'_>) {
        let effects = &mut self.effects;
        if !effects.rewritten && effects.dirty > 0 {
            encode_args(line.args(), &mut effects.log);
        }
        effects.note_expired(self.keyspace.take_expired());
    }

    /// Logs keys and fields that were found expired, and leaves them to the after-write step.
    pub fn log_expired(&mut self, config: &Config) {
        if !self.keyspace.has_expired() {
            return;
        }
        let expired = self.keyspace.take_expired();
        for expired in &expired {
            self.log_one_expired(config, expired);
        }
        self.effects.writes.extend(expired_writes(expired));
    }

    /// Logs a key or fields that were found expired, in its database.
    pub fn log_one_expired(&mut self, config: &Config, expired: &Expired) {
        self.lane.append(expired.db as u16, |bytes| {
            encode_expired(config, expired, bytes);
        });
    }

    /// Logs that a key is gone.
    pub fn log_deleted(&mut self, config: &Config, db: usize, key: &[u8]) {
        self.lane.append(db as u16, |bytes| {
            encode_line(&[deletion(config), key], bytes)
        });
    }
}

/// Appends the line that followers get for what expired.
fn encode_expired(config: &Config, expired: &Expired, bytes: &mut Vec<u8>) {
    match &expired.part {
        ExpiredPart::Fields { names, last: false } => {
            let mut args: Vec<&[u8]> = vec![b"HDEL", &expired.key];
            args.extend(names.iter().map(|name| &**name));
            encode_line(&args, bytes);
        }
        ExpiredPart::Key | ExpiredPart::Fields { last: true, .. } => {
            encode_line(&[deletion(config), &expired.key], bytes);
        }
    }
}

/// The command that followers get for an expired key.
fn deletion(config: &Config) -> &'static [u8] {
    if config.lazyfree_lazy_expire {
        b"UNLINK"
    } else {
        b"DEL"
    }
}

/// The code word of an error reply's text.
pub fn error_code(text: &[u8]) -> &str {
    let word = text.split(|byte| *byte == b' ').next().unwrap_or(text);
    std::str::from_utf8(word).unwrap_or("ERR")
}
