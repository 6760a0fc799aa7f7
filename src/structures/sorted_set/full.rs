//! The full form of a sorted set: a table from members to scores, and a tree with their order.
//!
//! An element is an [`Entry`]: the member is its key, the bits of the score its integer. The table owns the entries and finds
//! them by member, growing in steps of a few microseconds; the tree's items point to them, so a member exists once.
//!
//! Invariants:
//! - Table and tree hold the same elements with the same scores.
//! - An entry leaves the tree before it leaves the table, and its block never moves in between: the score is as long as
//!   any other.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use super::tree::{Item, Tree};
use crate::structures::entry::{Entry, StringView, allocated};
use crate::structures::table::{Place, Table};

/// The full form. Lives in a box of its sorted set.
pub(super) struct Full {
    table: Table,
    tree: Tree,
    hasher: MemberHasher,
    /// Bytes of the elements' entries.
    entry_bytes: usize,
}

/// Hashes the members of one set.
#[derive(Clone, Copy)]
struct MemberHasher(u64);

impl MemberHasher {
    #[inline]
    fn hash(self, member: &[u8]) -> u64 {
        const CONSTANTS: [u64; 3] = [
            0x243f_6a88_85a3_08d3,
            0x1319_8a2e_0370_7344,
            0xa409_3822_299f_31d0,
        ];
        let [a, b, c] = CONSTANTS;
        let mut hasher = RandomState::with_seeds(self.0, a, b ^ self.0, c).build_hasher();
        hasher.write(member);
        hasher.finish()
    }
}

#[inline]
fn score_of(entry: &Entry) -> f64 {
    match entry.string() {
        Ok(StringView::Int(bits)) => f64::from_bits(bits.cast_unsigned()),
        _ => unreachable!("an element's value is the bits of its score"),
    }
}

impl Full {
    /// An empty set whose members are hashed under `seed`.
    pub(super) fn new(seed: u64) -> Full {
        Full {
            table: Table::new(),
            tree: Tree::default(),
            hasher: MemberHasher(seed),
            entry_bytes: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        allocated(size_of::<Full>())
            + self.table.memory_bytes()
            + self.tree.memory_bytes()
            + self.entry_bytes
    }

    #[inline]
    fn find(&self, member: &[u8]) -> Option<Place> {
        self.table.find(self.hasher.hash(member), member)
    }

    #[inline]
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        Some(score_of(self.table.entry(self.find(member)?)))
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Adds a member that is not there.
    pub(super) fn insert_new(&mut self, member: &[u8], score: f64) {
        self.insert_hashed(self.hasher.hash(member), member, score);
    }

    fn insert_hashed(&mut self, hash: u64, member: &[u8], score: f64) {
        let entry = Entry::from_integer(member, score.to_bits().cast_signed(), None, 0);
        self.entry_bytes += entry.memory_bytes();
        // SAFETY: the table owns the entry from here on and never changes its block; the item is taken out of the tree
        // before the entry is dropped (invariant).
        let item = unsafe { Item::new(score, &entry) };
        let hasher = self.hasher;
        self.table.insert(hash, entry, |key| hasher.hash(key));
        self.tree.insert(item);
    }

    /// Asks for a member's new score, given the one that it has, and sets it.
    #[inline]
    pub(super) fn update(
        &mut self,
        member: &[u8],
        new_score: impl FnOnce(Option<f64>) -> Option<f64>,
    ) {
        let hash = self.hasher.hash(member);
        let Some(place) = self.table.find(hash, member) else {
            if let Some(score) = new_score(None) {
                self.insert_hashed(hash, member, score);
            }
            return;
        };
        let entry = self.table.entry_mut(place);
        let old = score_of(entry);
        if let Some(score) = new_score(Some(old))
            && score != old
        {
            self.tree.remove(old, member);
            entry.set_integer(score.to_bits().cast_signed());
            // SAFETY: as for a new entry; the score has the old one's length, so the block is the same.
            self.tree.insert(unsafe { Item::new(score, entry) });
        }
    }

    /// Removes a member; returns its score.
    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let place = self.find(member)?;
        let score = score_of(self.table.entry(place));
        self.tree.remove(score, member);
        self.drop_entry(place);
        Some(score)
    }

    /// Removes the element at a rank.
    pub(super) fn remove_at(&mut self, rank: usize) {
        // The item goes first, and its entry, which it points to, lives on in the table.
        if let Some(item) = self.tree.remove_at(rank)
            && let Some(place) = self.find(item.member())
        {
            self.drop_entry(place);
        }
    }

    fn drop_entry(&mut self, place: Place) {
        let entry = self.table.remove(place);
        self.entry_bytes -= entry.memory_bytes();
    }

    /// Emits about `count` members in the order of their hashes from `cursor` on; returns the cursor to go on from, 0 at the end.
    pub(super) fn scan(&self, cursor: u64, count: usize, emit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        let hasher = self.hasher;
        let mut emit = |entry: &Entry| emit(entry.key(), score_of(entry));
        self.table
            .scan(cursor, count, |key| hasher.hash(key), &mut emit)
    }

    /// Frees about `budget` allocations' worth; the set is used no more.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        // All items go before the first entry does.
        let freed = self.tree.free_some(budget);
        if freed >= budget {
            return freed;
        }
        self.tree = Tree::default();
        if self.table.is_empty() {
            return freed;
        }
        let mut bytes = 0;
        let removed = self
            .table
            .dismantle(budget - freed, |entry| bytes += entry.memory_bytes());
        self.entry_bytes -= bytes;
        freed + removed
    }

    /// Asserts every invariant, for model tests.
    pub(super) fn check(&self) {
        let hasher = self.hasher;
        self.table.check(|key| hasher.hash(key));
        self.tree.check();
        assert_eq!(self.table.len(), self.tree.len());
        for item in self.tree.range(0..self.tree.len(), false) {
            let score = self.score(item.member()).expect("an item's member");
            assert_eq!(score.to_bits(), item.score.to_bits());
        }
        let bytes: usize = self.table.iter().map(Entry::memory_bytes).sum();
        assert_eq!(bytes, self.entry_bytes);
    }
}

impl Clone for Full {
    fn clone(&self) -> Full {
        let mut copy = Full::new(self.hasher.0);
        for item in self.tree.range(0..self.tree.len(), false) {
            copy.insert_new(item.member(), item.score);
        }
        copy
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        // Items before entries. Nothing reads an item on the way, but the order is the invariant.
        self.tree = Tree::default();
    }
}
