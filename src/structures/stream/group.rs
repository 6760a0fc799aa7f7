//! Consumer groups: how far a group has read, who has what, and since when.
//!
//! A pending entry is kept once, with the group; each consumer has the ids of its own besides, to find them without looking
//! through those of others.
//!
//! Invariants:
//! - An id is in exactly one consumer's `pending` when it is in the group's, and that entry names the consumer.
//! - `consumer_bytes` and [`Groups`]' `bytes` are right after every call.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StreamId;
use super::id_map::IdMap;
use super::records::Records;
use crate::structures::entry::allocated;

/// A consumer's number in its group; a deleted consumer's is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// A record that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was delivered last, milliseconds since 1970.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: i64,
    /// To whom.
    pub consumer: ConsumerId,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// When it asked for something last, milliseconds since 1970.
    pub seen_ms: i64,
    /// When it got something last; `None` when it never did.
    pub active_ms: Option<i64>,
    pending: IdMap<()>,
}

impl Consumer {
    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The ids that it was delivered and did not acknowledge.
    pub fn pending(&self) -> &IdMap<()> {
        &self.pending
    }

    fn memory_bytes(&self) -> usize {
        // The name is shared between the consumer and the group's tree, behind two counts.
        allocated(self.name.len() + 16)
            + allocated(size_of::<Consumer>())
            + self.pending.memory_bytes()
    }
}

/// A consumer group.
#[derive(Debug)]
pub struct Group {
    /// The id of the record that was delivered last to some consumer for the first time.
    pub last_id: StreamId,
    /// How many records lie up to there, deleted ones too; `None` when that is not known.
    pub read: Option<i64>,
    pending: IdMap<Pending>,
    by_name: BTreeMap<Arc<[u8]>, ConsumerId>,
    /// By number.
    consumers: Vec<Option<Box<Consumer>>>,
    /// The numbers without a consumer.
    free: Vec<ConsumerId>,
    consumer_bytes: usize,
}

impl Clone for Group {
    fn clone(&self) -> Group {
        let consumers = self.consumers.clone();
        Group {
            // A copy has no spare room, so its bytes are counted anew.
            consumer_bytes: consumers
                .iter()
                .flatten()
                .map(|consumer| consumer.memory_bytes())
                .sum(),
            consumers,
            pending: self.pending.clone(),
            by_name: self.by_name.clone(),
            free: self.free.clone(),
            ..Group::new(self.last_id, self.read)
        }
    }
}

impl Group {
    fn new(last_id: StreamId, read: Option<i64>) -> Group {
        Group {
            last_id,
            read,
            pending: IdMap::new(),
            by_name: BTreeMap::new(),
            consumers: Vec::new(),
            free: Vec::new(),
            consumer_bytes: 0,
        }
    }

    /// The pending entries of all consumers.
    pub fn pending(&self) -> &IdMap<Pending> {
        &self.pending
    }

    /// The number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// The consumer of that name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.by_name.get(name).copied()
    }

    /// A consumer by its number.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize]
            .as_deref()
            .expect("a consumer's number is asked for while it is there")
    }

    /// A consumer by its number, to set its times.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize]
            .as_deref_mut()
            .expect("a consumer's number is asked for while it is there")
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.by_name.values().map(|id| self.consumer(*id))
    }

    /// Adds a consumer whose name is not there yet.
    pub fn add_consumer(&mut self, name: &[u8], now_ms: i64) -> ConsumerId {
        let consumer = Box::new(Consumer {
            name: name.into(),
            seen_ms: now_ms,
            active_ms: None,
            pending: IdMap::new(),
        });
        self.consumer_bytes += consumer.memory_bytes();
        let name = consumer.name.clone();
        let id = self.free.pop().unwrap_or_else(|| {
            self.consumers.push(None);
            let index = self.consumers.len() - 1;
            ConsumerId(u32::try_from(index).expect("fewer than 2^32 consumers"))
        });
        self.consumers[id.0 as usize] = Some(consumer);
        self.by_name.insert(name, id);
        id
    }

    /// The consumer of that name, and whether it had to be added.
    pub fn consumer_or_new(&mut self, name: &[u8], now_ms: i64) -> (ConsumerId, bool) {
        match self.find_consumer(name) {
            Some(id) => (id, false),
            None => (self.add_consumer(name, now_ms), true),
        }
    }

    /// Deletes a consumer with its pending entries; returns how many those were, `None` without the consumer.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.by_name.remove(name)?;
        let consumer = self.consumers[id.0 as usize].take()?;
        self.free.push(id);
        self.consumer_bytes -= consumer.memory_bytes();
        for (id, ()) in consumer.pending.iter() {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry pending with a consumer, whoever had it before.
    pub fn assign(&mut self, id: StreamId, pending: Pending) {
        let old = self.pending.insert(id, pending);
        if old.is_some_and(|old| old.consumer == pending.consumer) {
            return;
        }
        if let Some(old) = old {
            self.change_pending(old.consumer, |pending| {
                pending.remove(id);
            });
        }
        self.change_pending(pending.consumer, |pending| {
            pending.insert(id, ());
        });
    }

    /// Shows a consumer's pending entries from an id on to `show`; those that it says yes to count as delivered once more.
    pub fn deliver_again(
        &mut self,
        consumer: ConsumerId,
        from: StreamId,
        count: usize,
        now_ms: i64,
        mut show: impl FnMut(StreamId) -> bool,
    ) {
        let Some(consumer) = &self.consumers[consumer.0 as usize] else {
            return;
        };
        for (id, ()) in consumer.pending.iter_from(from).take(count) {
            if show(id)
                && let Some(pending) = self.pending.get_mut(id)
            {
                pending.delivered_ms = now_ms;
                pending.deliveries = pending.deliveries.saturating_add(1);
            }
        }
    }

    /// Takes out a pending entry; says whether it was there.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(old) = self.pending.remove(id) else {
            return false;
        };
        self.change_pending(old.consumer, |pending| {
            pending.remove(id);
        });
        true
    }

    /// How many records the group has still to read, where that is known.
    pub fn lag(&self, records: &Records) -> Option<i64> {
        let added = records.added as i64;
        if added == 0 {
            return Some(0);
        }
        match self.read {
            Some(read) if !records.has_gap_from(self.last_id) => Some(added.wrapping_sub(read)),
            _ => {
                let position = records.position_of(self.last_id)?;
                Some(added.wrapping_sub(position as i64))
            }
        }
    }

    /// A record behind [`Group::last_id`] is delivered for the first time.
    pub fn advance(&mut self, records: &Records, id: StreamId) {
        match self.read {
            Some(read) if !records.has_gap_from(id) => self.read = Some(read.saturating_add(1)),
            _ if records.added > 0 => {
                self.read = records.position_of(id).map(|position| position as i64);
            }
            _ => {}
        }
        self.last_id = id;
    }

    fn change_pending(&mut self, id: ConsumerId, change: impl FnOnce(&mut IdMap<()>)) {
        let pending = &mut self.consumer_mut(id).pending;
        let before = pending.memory_bytes();
        change(pending);
        let after = pending.memory_bytes();
        self.consumer_bytes = self.consumer_bytes - before + after;
    }

    fn memory_bytes(&self) -> usize {
        allocated(size_of::<Group>())
            + self.pending.memory_bytes()
            + self.consumer_bytes
            + allocated(self.consumers.capacity() * size_of::<Option<Box<Consumer>>>())
            + allocated(self.free.capacity() * size_of::<ConsumerId>())
            + tree_bytes(self.by_name.len(), size_of::<(Arc<[u8]>, ConsumerId)>())
    }

    /// Frees about `budget` allocations' worth; returns how many, 0 when little is left.
    fn free_some(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget && self.pending.drop_chunk() > 0 {
            freed += 1;
        }
        while freed < budget
            && let Some((_, id)) = self.by_name.pop_first()
            && let Some(consumer) = self.consumers[id.0 as usize].take()
        {
            self.consumer_bytes -= consumer.memory_bytes();
            freed += 2 + consumer.pending.chunk_count();
        }
        freed
    }
}

/// About the bytes of a library tree with so many items: blocks of eleven, two thirds full when names come in any order.
fn tree_bytes(len: usize, item_bytes: usize) -> usize {
    const BLOCK_ITEMS: usize = 11;
    const BLOCK_HEAD_BYTES: usize = 16;
    match len {
        0 => 0,
        1..=BLOCK_ITEMS => allocated(BLOCK_ITEMS * item_bytes + BLOCK_HEAD_BYTES),
        _ => (len / 7 + 1) * allocated(BLOCK_ITEMS * item_bytes + BLOCK_HEAD_BYTES),
    }
}

/// The groups of a stream, by name.
#[derive(Debug, Default)]
pub struct Groups {
    by_name: BTreeMap<Box<[u8]>, Box<Group>>,
    bytes: usize,
}

impl Clone for Groups {
    fn clone(&self) -> Groups {
        let by_name = self.by_name.clone();
        let mut bytes = 0;
        for (name, group) in &by_name {
            bytes += allocated(name.len()) + group.memory_bytes();
        }
        Groups { bytes, by_name }
    }
}

impl Groups {
    /// No groups.
    pub(super) const fn new() -> Groups {
        Groups {
            by_name: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// There is no group.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The group of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.by_name.get(name).map(|group| &**group)
    }

    /// The groups in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.by_name.iter().map(|(name, group)| (&**name, &**group))
    }

    /// Adds a group; says whether the name was free.
    pub fn add(&mut self, name: &[u8], last_id: StreamId, read: Option<i64>) -> bool {
        if self.by_name.contains_key(name) {
            return false;
        }
        let group = Box::new(Group::new(last_id, read));
        self.bytes += allocated(name.len()) + group.memory_bytes();
        self.by_name.insert(name.into(), group);
        true
    }

    /// Removes a group; says whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some((name, group)) = self.by_name.remove_entry(name) else {
            return false;
        };
        self.bytes -= allocated(name.len()) + group.memory_bytes();
        true
    }

    /// Changes a group; `None` without it.
    pub(super) fn edit<R>(&mut self, name: &[u8], edit: impl FnOnce(&mut Group) -> R) -> Option<R> {
        let group = self.by_name.get_mut(name)?;
        let before = group.memory_bytes();
        let result = edit(group);
        self.bytes = self.bytes - before + group.memory_bytes();
        Some(result)
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + tree_bytes(self.by_name.len(), size_of::<(Box<[u8]>, Box<Group>)>())
    }

    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget
            && let Some(mut first) = self.by_name.first_entry()
        {
            let group = first.get_mut();
            let before = group.memory_bytes();
            let some = group.free_some(budget - freed);
            self.bytes -= before - group.memory_bytes();
            freed += some;
            if some == 0 {
                let (name, group) = first.remove_entry();
                self.bytes -= allocated(name.len()) + group.memory_bytes();
                freed += 3;
            }
        }
        freed
    }
}
