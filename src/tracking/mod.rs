//! Client-side caching: who must be told when which key changes. The tables of one core.
//!
//! A client that tracks keeps copies of what it reads and is told when they are stale. In the usual mode the owner of a
//! key remembers who has read it, and tells them once; in the broadcasting mode a client names prefixes, and hears of every
//! change of every key under them, whether it has read it or not.
//!
//! ```text
//!   owner's core                                  session's core
//!   key → (core 1, session 4), (core 0, session 2)    the session's modes, its redirection ([`Tracking`])
//!   prefix → sessions here, sessions per core     (the same table of prefixes on every core)
//!      └── Stale: key, session, who changed it ─────▶ NOLOOP, RESP2, redirection are decided here
//! ```
//!
//! As in Redis, keys are told apart by name alone, whatever their database. The owner does not hear of a client that stops
//! tracking: its entries go with the next change of their keys, and nobody is told.
//!
//! Lives on a core, pure: what travels between cores is the session's business. What is to be told is queued
//! here ([`Tables::take_outgoing`]) and leaves behind the reply of the line that changed the key; broadcasts leave once a turn.
//!
//! Invariants:
//! - Who has read a key is told of its next change, unless it is gone or tracks no more.
//! - With no tracking client in the node the tables are empty, but for keys that nobody has changed since.
//! - A prefix without clients on any core has no entry.

mod client;
mod keys;
mod prefixes;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::pubsub::Subscriber;
use keys::Keys;
use prefixes::Prefixes;

pub use client::{Mode, Redirect, Tracking};
pub use prefixes::Broadcast;

/// A session of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionAt {
    /// Its core.
    pub core: u16,
    /// Its place there.
    pub session: Subscriber,
}

/// What a client must forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// These keys.
    Keys(Vec<Arc<[u8]>>),
    /// All keys.
    All,
}

/// A key that a session has read has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// The session, on the core that is told.
    pub session: Subscriber,
    /// The key.
    pub key: Arc<[u8]>,
    /// Who changed it; nobody when it had to make room.
    pub by: Option<SessionAt>,
}

/// What the session's layer is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// To this core.
    Key(u16, Invalidation),
    /// To all tracking sessions of the own core: all keys.
    All,
    /// To all other cores: a session of this core hears of these prefixes no more.
    Left(Vec<Arc<[u8]>>),
}

/// The tables of one core.
#[derive(Debug)]
pub struct Tables {
    own: u16,
    /// The sessions of this core that track.
    trackers: BTreeSet<Subscriber>,
    /// What was read of the own shard.
    keys: Keys,
    /// The most keys remembered here.
    keys_max: usize,
    /// Turns in a row that have found too many keys.
    turns_over: usize,
    prefixes: Prefixes,
    /// Whole databases have changed, and the sessions of this core are not told yet.
    all_changed: bool,
    outgoing: Vec<Outgoing>,
}

/// Keys that the first turn with too many of them forgets; the next one twice as many, and so on.
const FORGOTTEN_PER_TURN: usize = 100;

impl Tables {
    /// The tables of the core `own` among `cores`. `seed` chooses what is forgotten when there are too many keys.
    pub fn new(own: usize, cores: usize, seed: u64) -> Tables {
        Tables {
            own: own as u16,
            trackers: BTreeSet::new(),
            keys: Keys::new(seed),
            keys_max: usize::MAX,
            turns_over: 0,
            prefixes: Prefixes::new(own, cores),
            all_changed: false,
            outgoing: Vec::new(),
        }
    }

    /// Nobody has to be told of any change on this core.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.trackers.is_empty() && self.keys.len() == 0 && self.prefixes.len() == 0
    }

    /// A session of this core tracks from now on, or still does.
    pub fn start(&mut self, session: Subscriber) {
        self.trackers.insert(session);
    }

    /// A session of this core tracks no more.
    pub fn stop(&mut self, session: Subscriber, tracking: Tracking) {
        self.trackers.remove(&session);
        if tracking.prefixes.is_empty() {
            return;
        }
        for prefix in &tracking.prefixes {
            self.prefixes.leave(session, prefix);
        }
        let left = tracking.prefixes.into_iter().collect();
        self.outgoing.push(Outgoing::Left(left));
    }

    /// The sessions of this core that track.
    pub fn trackers(&self) -> impl Iterator<Item = Subscriber> {
        self.trackers.iter().copied()
    }

    /// A session of this core hears of this prefix, which it did not before.
    pub fn join(&mut self, session: Subscriber, prefix: &Arc<[u8]>) {
        self.prefixes.join(session, prefix);
    }

    /// A session of `core` hears of these prefixes, which it did not before.
    pub fn join_elsewhere(&mut self, core: usize, prefixes: &[Arc<[u8]>]) {
        for prefix in prefixes {
            self.prefixes.join_elsewhere(core, prefix);
        }
    }

    /// A session of `core` hears of these prefixes no more.
    pub fn leave_elsewhere(&mut self, core: usize, prefixes: &[Arc<[u8]>]) {
        for prefix in prefixes {
            self.prefixes.leave_elsewhere(core, prefix);
        }
    }

    /// A session has read a key of the own shard.
    pub fn remember(&mut self, key: &[u8], by: SessionAt) {
        self.keys.remember(key, by);
    }

    /// A key of the own shard has changed. `expired`: by its own time, whoever noticed it.
    pub fn changed(&mut self, key: &[u8], by: Option<SessionAt>, expired: bool) {
        if self.prefixes.len() > 0 {
            self.prefixes.changed(key, by.filter(|_| !expired));
        }
        if let Some((key, readers)) = self.keys.forget(key) {
            self.tell(&key, readers, by);
        }
    }

    /// Whole databases have changed on this shard. Its core's sessions are told with [`Tables::tell_all`], when that holds on all
    /// shards.
    pub fn all_changed(&mut self) {
        self.keys.clear();
        self.all_changed = true;
    }

    /// What has changed as a whole here has changed so on all shards: no key is read any more as it was before.
    pub fn tell_all(&mut self) {
        if std::mem::take(&mut self.all_changed) {
            self.outgoing.push(Outgoing::All);
        }
    }

    fn tell(
        &mut self,
        key: &Arc<[u8]>,
        readers: impl IntoIterator<Item = SessionAt>,
        by: Option<SessionAt>,
    ) {
        self.outgoing.extend(readers.into_iter().map(|reader| {
            let invalidation = Invalidation {
                session: reader.session,
                key: key.clone(),
                by,
            };
            Outgoing::Key(reader.core, invalidation)
        }));
    }

    /// Sets the most keys that the node remembers, of which this core has its share of `cores`; 0: no limit.
    pub fn limit(&mut self, keys_max: u64, cores: usize) {
        let (own, cores) = (u64::from(self.own), cores as u64);
        self.keys_max = match keys_max {
            0 => usize::MAX,
            // All shares together are the limit, however small it is.
            _ => (keys_max / cores + u64::from(own < keys_max % cores)) as usize,
        };
    }

    /// Forgets keys beyond the limit, some of them at random. True when there are still too many.
    pub fn make_room(&mut self) -> bool {
        let over = self.keys.len().saturating_sub(self.keys_max);
        if over == 0 {
            self.turns_over = 0;
            return false;
        }
        self.turns_over += 1;
        let forgotten = over.min(self.turns_over.saturating_mul(FORGOTTEN_PER_TURN));
        for _ in 0..forgotten {
            if let Some((key, readers)) = self.keys.forget_any() {
                self.tell(&key, readers, None);
            }
        }
        over > forgotten
    }

    /// Something is to be told.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What is to be told, in order.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Keys have changed of which some core wants to hear.
    #[inline]
    pub fn has_broadcasts(&self) -> bool {
        self.prefixes.has_changes()
    }

    /// What has changed under prefixes since the last call, each with its core.
    pub fn take_broadcasts(&mut self) -> Vec<(usize, Broadcast)> {
        self.prefixes.take_broadcasts()
    }

    /// The sessions of this core that hear of a prefix.
    pub fn members(&self, prefix: &[u8]) -> Vec<Subscriber> {
        self.prefixes.members(prefix)
    }

    /// Keys of the own shard that somebody has read.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The same, counted once for each reader.
    pub fn items(&self) -> usize {
        self.keys.items()
    }

    /// Prefixes of the node of which somebody hears.
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Memory, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.prefixes.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(slot: u32) -> Subscriber {
        Subscriber {
            slot,
            generation: 0,
        }
    }

    fn at(core: u16, slot: u32) -> SessionAt {
        SessionAt {
            core,
            session: session(slot),
        }
    }

    /// What is told, as `core/slot:key`.
    fn told(tables: &mut Tables) -> String {
        let shown = tables.take_outgoing().into_iter().map(|out| match out {
            Outgoing::Key(core, told) => {
                format!("{core}/{}:{}", told.session.slot, told.key.escape_ascii())
            }
            Outgoing::All => "all".into(),
            Outgoing::Left(prefixes) => format!("left {}", prefixes.len()),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn readers_are_told_once() {
        let mut tables = Tables::new(0, 2, 1);
        for by in [at(1, 7), at(0, 3), at(1, 7)] {
            tables.remember(b"a", by);
        }
        tables.remember(b"b", at(0, 3));
        assert_eq!((tables.keys(), tables.items()), (2, 3));
        tables.changed(b"a", Some(at(0, 3)), false);
        assert_eq!(told(&mut tables), "0/3:a 1/7:a");
        tables.changed(b"a", None, false);
        assert_eq!(told(&mut tables), "");
        assert_eq!((tables.keys(), tables.items()), (1, 1));
        tables.all_changed();
        assert_eq!((told(&mut tables).as_str(), tables.keys()), ("", 0));
        tables.tell_all();
        assert_eq!(told(&mut tables), "all");
        tables.tell_all();
        assert_eq!(told(&mut tables), "");
        assert!(tables.is_idle());
    }

    #[test]
    fn shares_of_the_limit_add_up() {
        for (keys_max, cores) in [(1, 4), (3, 2), (1_000_000, 3), (7, 7)] {
            let share = |own| {
                let mut tables = Tables::new(own, cores, 1);
                tables.limit(keys_max, cores);
                tables.keys_max as u64
            };
            assert_eq!((0..cores).map(share).sum::<u64>(), keys_max);
        }
    }

    #[test]
    fn too_many_keys_are_forgotten_in_growing_steps() {
        let mut tables = Tables::new(0, 1, 1);
        for number in 0..1000u32 {
            tables.remember(&number.to_be_bytes(), at(0, 1));
        }
        tables.limit(10, 1);
        let mut turns = 1;
        while tables.make_room() {
            turns += 1;
        }
        assert_eq!((turns, tables.keys(), tables.items()), (4, 10, 10));
        assert_eq!(tables.take_outgoing().len(), 990);
        tables.limit(0, 1);
        assert!(!tables.make_room());
    }
}
