//! Who listens to which channel: the tables of one core, and what is published.
//!
//! Every core knows, for each channel and pattern of the node, how many subscriptions each core has, and in detail its
//! own. So PUBLISH is answered where it is asked: the count is exact, and only cores that have a subscription are told.
//!
//! ```text
//!   core 0 (its own, by session)      what core 0 knows of the others
//!   news  → session 3, session 8      core 1: 2   core 2: 0   core 3: 1
//!   ne*   → session 8                 core 1: 0   core 2: 4   core 3: 0
//! ```
//!
//! A subscription is confirmed to its client when every core has taken it in, and one that ends stays in the tables of
//! its own core until every core has forgotten it. The changes of a core are numbered and travel in order, and a
//! publication says up to which change its publisher had counted: subscriptions that came later or had ended
//! pass it over.
//!
//! Lives on a core, pure: what travels between cores is the session's business.
//!
//! Invariants:
//! - A publication reaches exactly the subscriptions that its count has, but for those whose client is gone or was
//!   reset meanwhile.
//! - Publications of one core reach each core in the order in which they were made.
//! - A channel without subscriptions on any core has no entry.

mod subscriptions;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::base::glob;

pub use subscriptions::Subscriptions;

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A channel: SUBSCRIBE.
    Channel,
    /// A pattern of channels: PSUBSCRIBE.
    Pattern,
    /// A shard channel, of a name space of its own: SSUBSCRIBE.
    ShardChannel,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::ShardChannel];
}

/// A session on its core, as the tables know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber {
    /// The session's place.
    pub slot: u32,
    /// Tells it from earlier and later ones there.
    pub generation: u32,
}

/// A message on its way to the subscriptions of one core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Channel or shard channel.
    pub kind: Kind,
    /// The channel's name.
    pub channel: Bytes,
    /// What was published.
    pub payload: Bytes,
    /// The core has subscriptions of the channel itself.
    pub named: bool,
    /// The patterns that match and that the core has subscriptions of.
    pub patterns: Vec<Bytes>,
    /// The last change of the core that the publisher had counted.
    pub changes: u64,
}

/// From which change on a subscription counts, and from which on no more.
#[derive(Clone, Copy, Debug)]
struct Span {
    joined: u64,
    ended: u64,
}

impl Span {
    fn has(self, change: u64) -> bool {
        self.joined <= change && change < self.ended
    }
}

/// The subscriptions of one name.
#[derive(Debug)]
struct Members {
    /// This core's.
    here: BTreeMap<Subscriber, Span>,
    /// How many of them have ended.
    ended: usize,
    /// How many each core has; this core's own place is unused.
    elsewhere: Box<[u32]>,
}

impl Members {
    fn new(cores: usize) -> Members {
        Members {
            here: BTreeMap::new(),
            ended: 0,
            elsewhere: vec![0; cores].into(),
        }
    }

    fn count_here(&self) -> usize {
        self.here.len() - self.ended
    }

    fn count(&self) -> usize {
        self.count_here()
            + self
                .elsewhere
                .iter()
                .map(|&count| count as usize)
                .sum::<usize>()
    }

    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.iter().all(|&count| count == 0)
    }
}

/// The tables of one core.
#[derive(Debug)]
pub struct Tables {
    own: usize,
    names: [HashMap<Bytes, Members>; 3],
    /// Changes of each core that this core knows of; at the own place, all that there were.
    changes: Box<[u64]>,
    /// What was published and not sent yet, each for a core.
    outgoing: Vec<(usize, Publication)>,
}

impl Tables {
    /// The tables of the core `own` among `cores`.
    pub fn new(own: usize, cores: usize) -> Tables {
        Tables {
            own,
            names: Default::default(),
            changes: vec![0; cores].into(),
            outgoing: Vec::new(),
        }
    }

    fn next_change(&mut self) -> u64 {
        self.changes[self.own] += 1;
        self.changes[self.own]
    }

    /// A session of this core subscribes to names that it is not subscribed to. Returns the number of the change,
    /// which the other cores are told ([`Tables::join_elsewhere`]).
    pub fn join(&mut self, subscriber: Subscriber, kind: Kind, names: &[Bytes]) -> u64 {
        let joined = self.next_change();
        let span = Span {
            joined,
            ended: u64::MAX,
        };
        for name in names {
            let known = self.members(kind, name).here.insert(subscriber, span);
            debug_assert!(known.is_none(), "a session subscribes once");
        }
        joined
    }

    /// A session of this core subscribes no more to names that it is subscribed to. Returns the number of the change,
    /// which the other cores are told ([`Tables::leave_elsewhere`]); when all know, [`Tables::forget`].
    pub fn end(&mut self, subscriber: Subscriber, kind: Kind, names: &[Bytes]) -> u64 {
        let ended = self.next_change();
        for name in names {
            let members = self.members(kind, name);
            let span = members.here.get_mut(&subscriber);
            span.expect("who leaves is there").ended = ended;
            members.ended += 1;
        }
        ended
    }

    /// A session of this core is out of this name: its subscription ended and all cores know, or it is gone.
    pub fn forget(&mut self, subscriber: Subscriber, kind: Kind, name: &[u8]) {
        self.shrink(kind, name, |members| {
            let span = members.here.remove(&subscriber);
            let span = span.expect("who leaves is there");
            members.ended -= usize::from(span.ended != u64::MAX);
        });
    }

    /// A session of `core` subscribed to these names.
    pub fn join_elsewhere(&mut self, core: usize, kind: Kind, names: &[Bytes], change: u64) {
        debug_assert!(core != self.own && change > self.changes[core]);
        self.changes[core] = change;
        for name in names {
            self.members(kind, name).elsewhere[core] += 1;
        }
    }

    /// A session of `core` ended its subscriptions of these names.
    pub fn leave_elsewhere(&mut self, core: usize, kind: Kind, names: &[Bytes], change: u64) {
        debug_assert!(core != self.own && change > self.changes[core]);
        self.changes[core] = change;
        self.gone_elsewhere(core, kind, names);
    }

    /// A session of `core` is gone and with it these subscriptions.
    pub fn gone_elsewhere(&mut self, core: usize, kind: Kind, names: &[Bytes]) {
        for name in names {
            self.shrink(kind, name, |members| members.elsewhere[core] -= 1);
        }
    }

    fn members(&mut self, kind: Kind, name: &Bytes) -> &mut Members {
        let cores = self.changes.len();
        self.names[kind as usize]
            .entry(name.clone())
            .or_insert_with(|| Members::new(cores))
    }

    fn shrink(&mut self, kind: Kind, name: &[u8], change: impl FnOnce(&mut Members)) {
        let names = &mut self.names[kind as usize];
        let members = names.get_mut(name).expect("a name with members is known");
        change(members);
        if members.is_empty() {
            names.remove(name);
        }
    }

    /// Nobody of the node has any subscription.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(HashMap::is_empty)
    }

    /// Names of this kind with at least one subscription.
    pub fn len(&self, kind: Kind) -> usize {
        self.names[kind as usize].len()
    }

    /// Subscriptions of one name, in the node.
    pub fn count(&self, kind: Kind, name: &[u8]) -> usize {
        self.names[kind as usize]
            .get(name)
            .map_or(0, Members::count)
    }

    /// The names of this kind that match `pattern`, all without one, in order.
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let mut names: Vec<Bytes> = self.names[kind as usize]
            .keys()
            .filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name, false)))
            .cloned()
            .collect();
        names.sort_unstable();
        names
    }

    /// Publishes to a channel or shard channel: puts a publication for every core with a subscription into
    /// [`Tables::take_outgoing`]. Returns the number of subscriptions that it reaches.
    pub fn publish(&mut self, kind: Kind, channel: &[u8], payload: &[u8]) -> usize {
        self.publish_with(kind, channel, || Bytes::copy_from_slice(payload))
    }

    /// As [`Tables::publish`]; `payload` is asked for only when somebody receives it.
    pub fn publish_with(
        &mut self,
        kind: Kind,
        channel: &[u8],
        payload: impl FnOnce() -> Bytes,
    ) -> usize {
        debug_assert!(kind != Kind::Pattern);
        let Tables {
            own,
            names,
            changes,
            outgoing,
        } = self;
        let named = names[kind as usize].get(channel);
        let mut matching: Vec<(&Bytes, &Members)> = Vec::new();
        // Shard channels know no patterns.
        if kind == Kind::Channel {
            let patterns = names[Kind::Pattern as usize].iter();
            matching.extend(patterns.filter(|(pattern, _)| glob::matches(pattern, channel, false)));
            matching.sort_unstable_by_key(|(pattern, _)| *pattern);
        }
        if named.is_none() && matching.is_empty() {
            return 0;
        }
        let of_core = |members: &Members, core: usize| match core == *own {
            true => members.count_here(),
            false => members.elsewhere[core] as usize,
        };
        let (channel, payload) = (Bytes::copy_from_slice(channel), payload());
        let mut reached = 0;
        for core in 0..changes.len() {
            let named = named.map_or(0, |members| of_core(members, core));
            let mut count = named;
            let mut patterns = Vec::new();
            for (pattern, members) in &matching {
                let subscribed = of_core(members, core);
                if subscribed > 0 {
                    count += subscribed;
                    patterns.push((*pattern).clone());
                }
            }
            if count > 0 {
                reached += count;
                let publication = Publication {
                    kind,
                    channel: channel.clone(),
                    payload: payload.clone(),
                    named: named > 0,
                    patterns,
                    changes: changes[core],
                };
                outgoing.push((core, publication));
            }
        }
        reached
    }

    /// Something was published and not sent yet.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What was published since the last call, each with its core, in order.
    pub fn take_outgoing(&mut self) -> Vec<(usize, Publication)> {
        std::mem::take(&mut self.outgoing)
    }

    /// Appends this core's subscribers of a name whom a publication of `changes` counted.
    pub fn receivers(&self, kind: Kind, name: &[u8], changes: u64, into: &mut Vec<Subscriber>) {
        if let Some(members) = self.names[kind as usize].get(name) {
            let counted = members.here.iter().filter(|(_, span)| span.has(changes));
            into.extend(counted.map(|(subscriber, _)| *subscriber));
        }
    }
}

#[cfg(test)]
mod tests;
