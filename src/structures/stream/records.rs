//! The records of a stream: nodes in the order of their master ids, and the counts that go with them.
//!
//! Appends go to the last node, trims take nodes off the front, and a record is found by its node and a walk in it:
//! no step takes longer because the stream is long.
//!
//! Invariants:
//! - A node's ids lie from its master id up to the next node's. A node whose last record is deleted goes.
//! - `len` is the number of records that are not deleted, `node_bytes` the memory of the nodes.
//! - `first_id` is the first record's id, `0-0` without one.

use super::StreamId;
use super::id_map::{self, IdMap};
use super::node::{self, Node, Place, Record};
use crate::structures::listpack::{Corrupt, Listpack};

/// No node, and no record, is larger.
pub const NODE_BYTES_MAX: usize = 1 << 30;

/// When a node is full: `stream-node-max-bytes` and `stream-node-max-entries`, 0 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Bytes of a node.
    pub bytes: u64,
    /// Records of a node, deleted ones too.
    pub entries: u64,
}

impl NodeLimits {
    /// A node takes no record with `extra` bytes of fields and values any more.
    fn are_reached(self, node: &Node<'_>, node_bytes: usize, extra: usize) -> bool {
        let bytes = match usize::try_from(self.bytes) {
            Ok(bytes @ 1..=NODE_BYTES_MAX) => bytes,
            _ => NODE_BYTES_MAX,
        };
        let entries = (node.live + node.deleted) as u64;
        node_bytes + extra >= bytes || self.entries > 0 && entries >= self.entries
    }
}

/// The id that a new record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// The time, or what follows the last id.
    Auto,
    /// These milliseconds, and the next free number.
    Ms(u64),
    /// This id.
    Given(StreamId),
}

/// What a trim leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// At most so many records, the last ones.
    Len(u64),
    /// The records from this id on.
    From(StreamId),
}

/// How a trim works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What is left.
    pub keep: Keep,
    /// Only whole nodes go.
    pub whole_nodes: bool,
    /// At most so many records go; 0 is no limit.
    pub limit: u64,
}

/// A record that is larger than a node may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// The records of a stream.
#[derive(Clone, Debug)]
pub struct Records {
    nodes: IdMap<Listpack>,
    node_bytes: usize,
    len: u64,
    /// The id of the record that was added last, deleted or not; XSETID changes it.
    pub last_id: StreamId,
    first_id: StreamId,
    /// The greatest id that was deleted other than by trimming.
    pub max_deleted_id: StreamId,
    /// Records that were ever added.
    pub added: u64,
}

impl Records {
    /// No records, none ever added.
    pub const fn new() -> Records {
        Records {
            nodes: IdMap::new(),
            node_bytes: 0,
            len: 0,
            last_id: StreamId::MIN,
            first_id: StreamId::MIN,
            max_deleted_id: StreamId::MIN,
            added: 0,
        }
    }

    /// The number of records.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// There is no record.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first record's id; `0-0` without a record.
    #[inline]
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The nodes: master ids and listpacks.
    pub fn nodes(&self) -> &IdMap<Listpack> {
        &self.nodes
    }

    /// Bytes allocated.
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.node_bytes + self.nodes.memory_bytes()
    }

    /// The id that a new record gets; `None` when it would not be greater than the last.
    pub fn new_id(&self, request: NewId, now_ms: i64) -> Option<StreamId> {
        let now_ms = u64::try_from(now_ms).unwrap_or(0);
        let id = match request {
            NewId::Auto if now_ms > self.last_id.ms => StreamId { ms: now_ms, seq: 0 },
            NewId::Auto => self.last_id.next()?,
            NewId::Ms(ms) if ms == self.last_id.ms => StreamId {
                ms,
                seq: self.last_id.seq.checked_add(1)?,
            },
            NewId::Ms(ms) => StreamId { ms, seq: 0 },
            NewId::Given(id) => id,
        };
        (id > self.last_id).then_some(id)
    }

    /// Appends a record with fields and values under an id from [`Records::new_id`].
    pub fn append<'b>(
        &mut self,
        id: StreamId,
        pairs: impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> + Clone,
        limits: NodeLimits,
    ) -> Result<(), TooLarge> {
        debug_assert!(id > self.last_id);
        let data: usize = pairs
            .clone()
            .map(|(field, value)| field.len() + value.len())
            .sum();
        if data > NODE_BYTES_MAX {
            return Err(TooLarge);
        }
        let last = self.nodes.last_mut().and_then(|(master, listpack)| {
            let node = Node::new(master, listpack);
            if limits.are_reached(&node, listpack.bytes_len(), data) {
                return None;
            }
            Some((node.tail(pairs.clone()), listpack))
        });
        match last {
            Some((tail, listpack)) => {
                self.node_bytes -= listpack.memory_bytes();
                tail.append(listpack, id, pairs);
                self.node_bytes += listpack.memory_bytes();
            }
            None => {
                let listpack = node::new(pairs);
                self.node_bytes += listpack.memory_bytes();
                self.nodes.insert(id, listpack);
            }
        }
        self.len += 1;
        self.added = self.added.saturating_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        Ok(())
    }

    /// Deletes a record; says whether it was there. [`Records::deleted`] is to follow when all are.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((master, listpack)) = self.nodes.around_mut(id) else {
            return false;
        };
        let node = Node::new(master, listpack);
        let Some(place) = node.find(id) else {
            return false;
        };
        let (live, deleted) = (node.live - 1, node.deleted + 1);
        self.node_bytes -= listpack.memory_bytes();
        if live == 0 {
            self.nodes.remove(master);
        } else {
            node::delete(listpack, &place);
            node::set_counts(listpack, live, deleted);
            self.node_bytes += listpack.memory_bytes();
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        true
    }

    /// Finds the first record anew, after deletions.
    pub fn deleted(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.first_id = first.map_or(StreamId::MIN, |record| record.id);
    }

    /// Removes the oldest records; returns how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let mut removed = 0;
        while let Some((master, listpack)) = self.nodes.first() {
            if matches!(trim.keep, Keep::Len(len) if self.len <= len) {
                break;
            }
            let node = Node::new(master, listpack);
            let live = node.live as u64;
            if trim.limit > 0 && removed + live > trim.limit {
                break;
            }
            let whole = match trim.keep {
                Keep::Len(len) => self.len - live >= len,
                Keep::From(id) => node.last().is_none_or(|last| last.id < id),
            };
            if !whole {
                if !trim.whole_nodes {
                    removed += self.trim_first_node(trim.keep);
                }
                break;
            }
            if let Some((_, listpack)) = self.nodes.pop_first() {
                self.node_bytes -= listpack.memory_bytes();
            }
            self.len -= live;
            removed += live;
        }
        if removed > 0 {
            self.deleted();
        }
        removed
    }

    /// Deletes the records of the first node that are not to be kept; some are.
    fn trim_first_node(&mut self, keep: Keep) -> u64 {
        let Some((master, listpack)) = self.nodes.first_mut() else {
            return 0;
        };
        self.node_bytes -= listpack.memory_bytes();
        let (mut live, mut deleted, mut removed) = {
            let node = Node::new(master, listpack);
            (node.live, node.deleted, 0)
        };
        let mut next = Node::new(master, listpack).first();
        while let Some(place) = next {
            let stay = match keep {
                Keep::Len(len) => self.len <= len,
                Keep::From(id) => place.id >= id,
            };
            if stay {
                break;
            }
            if !place.deleted {
                node::delete(listpack, &place);
                (live, deleted, removed) = (live - 1, deleted + 1, removed + 1);
                self.len -= 1;
            }
            // Flags have the same length before and after, so the place still holds.
            next = Node::new(master, listpack).next(&place);
        }
        if live == 0 {
            self.nodes.remove(master);
        } else {
            node::set_counts(listpack, live, deleted);
            self.node_bytes += listpack.memory_bytes();
        }
        removed
    }

    /// The record is there.
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// The record with this id.
    pub fn get(&self, id: StreamId) -> Option<Record<'_>> {
        let (master, listpack) = self.nodes.iter_around(id).next()?;
        let node = Node::new(master, listpack);
        Some(node.record(&node.find(id)?))
    }

    /// The id of the last record that is there; `None` without one.
    pub fn last_present_id(&self) -> Option<StreamId> {
        let last = self.range_back(StreamId::MIN, StreamId::MAX).next();
        last.map(|record| record.id)
    }

    /// The records from one id to another, both included, in their order.
    pub fn range(&self, from: StreamId, to: StreamId) -> Range<'_> {
        Range {
            nodes: self.nodes.iter_around(from),
            node: None,
            from,
            to,
        }
    }

    /// The records from one id to another, both included, backwards.
    pub fn range_back(&self, from: StreamId, to: StreamId) -> RangeBack<'_> {
        RangeBack {
            nodes: self.nodes.iter_back_from(to),
            node: None,
            from,
            to,
        }
    }

    /// How many records were ever added up to and with `id`, where that is known: at either end of the stream, and only
    /// while nothing was deleted from its middle.
    pub fn position_of(&self, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if self.is_empty() && id <= self.last_id || id == self.last_id {
            return Some(self.added);
        }
        let unbroken = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if id > self.last_id || !unbroken {
            return None;
        }
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(self.added.wrapping_sub(self.len)),
            std::cmp::Ordering::Equal => Some(self.added.wrapping_sub(self.len).wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Something may have been deleted from `id` on.
    pub fn has_gap_from(&self, id: StreamId) -> bool {
        !self.is_empty() && self.max_deleted_id != StreamId::MIN && id <= self.max_deleted_id
    }

    /// Takes over a node from outside, behind all others, after checking it.
    pub fn add_node(&mut self, master: StreamId, listpack: Listpack) -> Result<(), Corrupt> {
        let checked = node::check(master, &listpack)?;
        if let Some((before, listpack)) = self.nodes.last() {
            let last = Node::new(before, listpack).last().ok_or(Corrupt)?;
            if last.id >= master {
                return Err(Corrupt);
            }
        }
        if self.len == 0 {
            self.first_id = checked.first_live.unwrap_or(StreamId::MIN);
        }
        self.len += checked.live;
        self.last_id = self.last_id.max(checked.last);
        self.node_bytes += listpack.memory_bytes();
        self.nodes.insert(master, listpack);
        Ok(())
    }

    /// Frees up to `budget` nodes; returns how many.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        for freed in 0..budget {
            match self.nodes.pop_last() {
                Some((_, listpack)) => self.node_bytes -= listpack.memory_bytes(),
                None => return freed,
            }
        }
        budget
    }
}

impl Default for Records {
    fn default() -> Records {
        Records::new()
    }
}

/// Records in their order.
pub struct Range<'a> {
    nodes: id_map::Iter<'a, Listpack>,
    /// The node, and the record in it that was seen last.
    node: Option<(Node<'a>, Place)>,
    from: StreamId,
    to: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let place = match &self.node {
                Some((node, place)) => node.next(place).map(|place| (*node, place)),
                None => {
                    let (master, listpack) = self.nodes.next()?;
                    let node = Node::new(master, listpack);
                    node.first().map(|place| (node, place))
                }
            };
            self.node = place;
            let Some((node, place)) = &self.node else {
                continue;
            };
            if place.id > self.to {
                return None;
            }
            if !place.deleted && place.id >= self.from {
                return Some(node.record(place));
            }
        }
    }
}

/// Records backwards.
pub struct RangeBack<'a> {
    nodes: id_map::IterBack<'a, Listpack>,
    /// The node, and the record in it that was seen last.
    node: Option<(Node<'a>, Place)>,
    from: StreamId,
    to: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let place = match &self.node {
                Some((node, place)) => node.previous(place).map(|place| (*node, place)),
                None => {
                    let (master, listpack) = self.nodes.next()?;
                    let node = Node::new(master, listpack);
                    node.last().map(|place| (node, place))
                }
            };
            self.node = place;
            let Some((node, place)) = &self.node else {
                continue;
            };
            if place.id < self.from {
                return None;
            }
            if !place.deleted && place.id <= self.to {
                return Some(node.record(place));
            }
        }
    }
}
