//! The full form of a list: listpacks in a deque.
//!
//! ```text
//!   nodes    | pack, count | pack, count | … |        16 bytes each, side by side
//!                 │             │
//!              listpack      listpack                 up to 8 KiB by default
//! ```
//!
//! A search for an index adds up the counts, which lie side by side, and opens one node. Redis links its nodes: each is a
//! block of 40 bytes of its own, and each step of a search a cache miss.
//!
//! Invariants:
//! - No node is empty.
//! - A node exceeds the limit only when it holds one element, or was made under another limit.
//! - `len` is the sum of the counts, `bytes` that of the listpacks' memory.

use std::collections::VecDeque;

use super::End;
use super::iter::Iter;
use super::limit::NodeLimit;
use crate::structures::entry::allocated;
use crate::structures::listpack::{Element, Listpack, Needle, Pos};

/// Some elements of a list, one behind the other.
#[derive(Clone, Debug)]
pub struct Node {
    pack: Listpack,
    count: u32,
}

impl Node {
    /// A node of the elements of a listpack.
    fn new(pack: Listpack) -> Node {
        let count = pack.len() as u32;
        Node { pack, count }
    }

    /// The elements.
    #[inline]
    pub fn pack(&self) -> &Listpack {
        &self.pack
    }

    /// The number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    #[inline]
    fn has_room(&self, limit: NodeLimit, extra: usize) -> bool {
        limit.has_room(self.pack.bytes_len(), self.count(), extra)
    }
}

/// The full form of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    nodes: VecDeque<Node>,
    len: usize,
    bytes: usize,
}

/// Where an element is.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    pos: Pos,
}

impl Nodes {
    /// The elements of a listpack.
    pub(super) fn from_pack(pack: Listpack) -> Nodes {
        let mut nodes = Nodes::default();
        nodes.push_pack(pack);
        nodes
    }

    /// Appends the elements of a listpack as a node of their own.
    pub(super) fn push_pack(&mut self, pack: Listpack) {
        if !pack.is_empty() {
            self.insert_node(self.nodes.len(), Node::new(pack));
        }
    }

    /// The only node, when its size allows a compact list.
    pub(super) fn compact(&mut self, limit: NodeLimit, shrinking: bool) -> Option<Listpack> {
        let node = match self.nodes.len() {
            1 => &self.nodes[0],
            _ => return None,
        };
        if !limit.allows_compact(node.pack.bytes_len(), node.count(), shrinking) {
            return None;
        }
        self.len = 0;
        self.bytes = 0;
        self.nodes.pop_front().map(|node| node.pack)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn nodes(&self) -> &VecDeque<Node> {
        &self.nodes
    }

    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        allocated(self.nodes.capacity() * size_of::<Node>()) + self.bytes
    }

    /// Frees up to `budget` nodes.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        let freed = budget.min(self.nodes.len());
        for _ in 0..freed {
            self.remove_node(self.nodes.len() - 1);
        }
        freed
    }

    /// Adds an element at an end.
    #[inline]
    pub(super) fn push(&mut self, end: End, bytes: &[u8], limit: NodeLimit) {
        let at = match end {
            End::Front => 0,
            End::Back => self.nodes.len().saturating_sub(1),
        };
        let room = self
            .nodes
            .get(at)
            .is_some_and(|node| node.has_room(limit, bytes.len()));
        if !room {
            let at = match end {
                End::Front => 0,
                End::Back => self.nodes.len(),
            };
            return self.insert_alone(at, bytes);
        }
        self.edit(at, |pack| match end {
            End::Front => pack.push_front(bytes),
            End::Back => pack.push_back(bytes),
        });
        self.count_up(at);
    }

    /// The element at an index.
    pub(super) fn get(&self, index: usize) -> Option<Element<'_>> {
        let place = self.seek(index)?;
        Some(self.nodes[place.node].pack.get(place.pos))
    }

    /// `count` elements from `start` on; both must be there.
    pub(super) fn range(&self, start: usize, count: usize) -> Iter<'_> {
        const NOTHING: &Listpack = &Listpack::new();
        let places = self.seek(start).zip(self.seek(start + count.max(1) - 1));
        let Some((first, last)) = places.filter(|_| count > 0) else {
            let nothing = NOTHING.iter();
            return Iter::new(nothing.clone(), self.nodes.range(0..0), nothing, 0);
        };
        let (front, back) = (&self.nodes[first.node].pack, &self.nodes[last.node].pack);
        let end = back.next(last.pos).unwrap_or(back.end());
        if first.node == last.node {
            let front = front.iter_between(first.pos, end);
            return Iter::new(front, self.nodes.range(0..0), NOTHING.iter(), count);
        }
        let between = self.nodes.range(first.node + 1..last.node);
        Iter::new(
            front.iter_from(first.pos),
            between,
            back.iter_before(end),
            count,
        )
    }

    /// Replaces the element at an index; false when there is none.
    pub(super) fn set(&mut self, index: usize, bytes: &[u8], limit: NodeLimit) -> bool {
        let Some(place) = self.seek(index) else {
            return false;
        };
        let node = &self.nodes[place.node];
        let old = node.pack.get(place.pos).byte_len();
        let others = node.pack.bytes_len().saturating_sub(old);
        if node.count == 1 || limit.has_room(others, node.count() - 1, bytes.len()) {
            self.edit(place.node, |pack| {
                pack.replace(place.pos, bytes);
            });
            return true;
        }
        // Others are in the node, so it does not vanish.
        let next = self.edit(place.node, |pack| pack.remove(place.pos));
        self.nodes[place.node].count -= 1;
        self.len -= 1;
        let pos = next.unwrap_or(self.nodes[place.node].pack.end());
        self.insert_at(Place { pos, ..place }, bytes, limit);
        true
    }

    /// Puts an element before or behind the first one that is `pivot`; false when there is none.
    pub(super) fn insert(
        &mut self,
        pivot: &[u8],
        behind: bool,
        bytes: &[u8],
        limit: NodeLimit,
    ) -> bool {
        let found = self
            .nodes
            .iter()
            .enumerate()
            .find_map(|(node, Node { pack, .. })| {
                let pos = pack.find(pack.first()?, pivot, 0)?;
                Some(Place { node, pos })
            });
        let Some(mut place) = found else {
            return false;
        };
        if behind {
            let pack = &self.nodes[place.node].pack;
            place.pos = pack.next(place.pos).unwrap_or(pack.end());
        }
        self.insert_at(place, bytes, limit);
        true
    }

    /// Removes `count` elements from `start` on; all must be there.
    pub(super) fn remove_range(&mut self, start: usize, count: usize) {
        let Some(place) = self.seek(start).filter(|_| count > 0) else {
            return;
        };
        let mut left = count;
        let mut first = place.node;
        let node = &self.nodes[first];
        if node.pack.first() != Some(place.pos) {
            // Some elements of this node stay in front.
            let behind = node.pack.iter_from(place.pos).count();
            let removed = behind.min(left);
            self.edit(first, |pack| {
                pack.remove_range(place.pos, removed);
            });
            self.count_down(first, removed);
            left -= removed;
            first += 1;
        }
        let mut whole = first;
        while left > 0 && self.nodes[whole].count() <= left {
            left -= self.nodes[whole].count();
            whole += 1;
        }
        for node in self.nodes.drain(first..whole) {
            self.len -= node.count();
            self.bytes -= node.pack.memory_bytes();
        }
        if left > 0 {
            self.edit(first, |pack| {
                if let Some(pos) = pack.first() {
                    pack.remove_range(pos, left);
                }
            });
            self.count_down(first, left);
        }
        self.give_back_room();
    }

    /// Removes up to `max` elements that are `needle`, from an end on; returns how many.
    pub(super) fn remove(&mut self, needle: Needle<'_>, end: End, max: usize) -> usize {
        let (mut removed, mut emptied) = (0, false);
        for step in 0..self.nodes.len() {
            if removed == max {
                break;
            }
            let at = match end {
                End::Front => step,
                End::Back => self.nodes.len() - 1 - step,
            };
            let here = self.edit(at, |pack| remove_from(pack, needle, end, max - removed));
            self.count_down(at, here);
            emptied |= self.nodes[at].count == 0;
            removed += here;
        }
        if emptied {
            self.nodes.retain(|node| node.count > 0);
            self.give_back_room();
        }
        removed
    }

    /// Where the element at an index is; the walk begins at the nearer end.
    #[inline]
    fn seek(&self, index: usize) -> Option<Place> {
        if index >= self.len {
            return None;
        }
        let (node, inside) = if index < self.len / 2 {
            let mut inside = index;
            let mut node = 0;
            while inside >= self.nodes[node].count() {
                inside -= self.nodes[node].count();
                node += 1;
            }
            (node, inside)
        } else {
            let mut before = self.len;
            let mut node = self.nodes.len();
            while before > index {
                node -= 1;
                before -= self.nodes[node].count();
            }
            (node, index - before)
        };
        let pos = self.nodes[node].pack.seek(inside as isize)?;
        Some(Place { node, pos })
    }

    /// Puts an element in front of a place, which may be behind the last element of its node.
    fn insert_at(&mut self, place: Place, bytes: &[u8], limit: NodeLimit) {
        let Place { node, pos } = place;
        let pack = &self.nodes[node].pack;
        let at_begin = pack.first() == Some(pos);
        let at_end = pos == pack.end();
        let has_room = |node: &Node| node.has_room(limit, bytes.len());
        if has_room(&self.nodes[node]) {
            self.edit(node, |pack| {
                pack.insert_before(pos, bytes);
            });
            self.count_up(node);
        } else if at_begin && node > 0 && has_room(&self.nodes[node - 1]) {
            self.edit(node - 1, |pack| pack.push_back(bytes));
            self.count_up(node - 1);
        } else if at_end && self.nodes.get(node + 1).is_some_and(has_room) {
            self.edit(node + 1, |pack| pack.push_front(bytes));
            self.count_up(node + 1);
        } else if at_begin {
            self.insert_alone(node, bytes);
        } else if at_end {
            self.insert_alone(node + 1, bytes);
        } else {
            let tail = self.edit(node, |pack| pack.split_off(pos));
            let tail = Node::new(tail);
            self.count_down(node, tail.count());
            self.insert_node(node + 1, tail);
            let mut right = node + 1;
            if has_room(&self.nodes[node]) {
                self.edit(node, |pack| pack.push_back(bytes));
                self.count_up(node);
            } else {
                self.insert_alone(right, bytes);
                right += 1;
            }
            self.merge_with_next(right, limit);
            if node > 0 {
                self.merge_with_next(node - 1, limit);
            }
        }
    }

    /// Makes one node of a node and the next, when that is not too large: what was split is not left in pieces.
    fn merge_with_next(&mut self, at: usize, limit: NodeLimit) {
        let Some(next) = self.nodes.get(at + 1) else {
            return;
        };
        let node = &self.nodes[at];
        let bytes = node.pack.bytes_len() + next.pack.bytes_len();
        if !limit.allows(bytes, node.count() + next.count()) {
            return;
        }
        if let Some(next) = self.remove_node(at + 1) {
            self.edit(at, |pack| pack.append(&next.pack));
            self.nodes[at].count += next.count;
            self.len += next.count();
        }
    }

    fn insert_alone(&mut self, at: usize, bytes: &[u8]) {
        let mut pack = Listpack::new();
        pack.push_back(bytes);
        self.insert_node(at, Node { pack, count: 1 });
    }

    fn insert_node(&mut self, at: usize, node: Node) {
        self.len += node.count();
        self.bytes += node.pack.memory_bytes();
        if self.nodes.capacity() == 0 {
            // Many a list has one large node and no more.
            self.nodes.reserve_exact(1);
        }
        self.nodes.insert(at, node);
    }

    fn remove_node(&mut self, at: usize) -> Option<Node> {
        let node = self.nodes.remove(at)?;
        self.len -= node.count();
        self.bytes -= node.pack.memory_bytes();
        Some(node)
    }

    /// Changes a node's listpack. The counts are the caller's.
    #[inline]
    fn edit<R>(&mut self, at: usize, edit: impl FnOnce(&mut Listpack) -> R) -> R {
        let pack = &mut self.nodes[at].pack;
        let before = pack.memory_bytes();
        let result = edit(pack);
        self.bytes = self.bytes - before + pack.memory_bytes();
        result
    }

    #[inline]
    fn count_up(&mut self, at: usize) {
        self.nodes[at].count += 1;
        self.len += 1;
    }

    #[inline]
    fn count_down(&mut self, at: usize, removed: usize) {
        self.nodes[at].count -= removed as u32;
        self.len -= removed;
    }

    /// A deque of few nodes does not keep the room of many.
    fn give_back_room(&mut self) {
        if self.nodes.capacity() > 8 && self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }
}

/// Removes up to `max` elements that are `needle` from a listpack, from an end on; returns how many.
pub(super) fn remove_from(pack: &mut Listpack, needle: Needle<'_>, end: End, max: usize) -> usize {
    let found = pack.iter().filter(|element| needle.is(*element)).count();
    if found == 0 {
        return 0;
    }
    let removed = found.min(max);
    let skipped = match end {
        End::Front => 0,
        End::Back => found - removed,
    };
    let mut met = 0;
    pack.retain(|element| {
        if !needle.is(element) {
            return true;
        }
        met += 1;
        met <= skipped || met > skipped + removed
    });
    removed
}
