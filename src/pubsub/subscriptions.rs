//! What one client is subscribed to. Lives in its session's client.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Kind, Subscriber, Tables};

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub struct Subscriptions {
    names: [BTreeSet<Bytes>; 3],
    /// Ended for the client, but cores that do not know so yet may still publish to them.
    ending: Vec<(Kind, Bytes)>,
}

impl Subscriptions {
    /// Subscribes; false when it was subscribed already.
    pub fn add(&mut self, kind: Kind, name: Bytes) -> bool {
        self.names[kind as usize].insert(name)
    }

    /// Begins to end a subscription; false when there was none.
    pub fn end(&mut self, kind: Kind, name: &[u8]) -> bool {
        match self.names[kind as usize].take(name) {
            Some(name) => {
                self.ending.push((kind, name));
                true
            }
            None => false,
        }
    }

    /// Subscriptions of one kind, in order.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &Bytes> {
        self.names[kind as usize].iter()
    }

    /// How many of one kind.
    pub fn len(&self, kind: Kind) -> usize {
        self.names[kind as usize].len()
    }

    /// No subscription, those that are ending left aside.
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    /// Some are ending: messages of theirs still belong before the confirmation.
    pub fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// All other cores know what ends: it leaves this core's tables.
    pub fn finish_ending(&mut self, subscriber: Subscriber, tables: &mut Tables) {
        for (kind, name) in self.ending.drain(..) {
            tables.forget(subscriber, kind, &name);
        }
    }

    /// The client is gone: all leaves this core's tables. Returns what the other cores must be told.
    pub fn leave_all(
        mut self,
        subscriber: Subscriber,
        tables: &mut Tables,
    ) -> Vec<(Kind, Vec<Bytes>)> {
        self.finish_ending(subscriber, tables);
        let mut left = Vec::new();
        for (kind, names) in Kind::ALL.into_iter().zip(self.names) {
            for name in &names {
                tables.forget(subscriber, kind, name);
            }
            if !names.is_empty() {
                left.push((kind, names.into_iter().collect()));
            }
        }
        left
    }

    /// Memory, roughly: names are shared with the tables.
    pub fn memory_bytes(&self) -> usize {
        const PER_NAME_BYTES: usize = 2 * size_of::<Bytes>();
        let names = self.names.iter().flatten();
        size_of::<Subscriptions>() + names.map(|name| name.len() + PER_NAME_BYTES).sum::<usize>()
    }
}
