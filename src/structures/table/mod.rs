//! The table of a database's keys: extendible hashing, growing one small segment at a time.
//!
//! Lives on a shard, inside its keyspace; large hashes and sets are such tables too (`pairs`). A pure structure: it is handed hashes, never computes one of its own accord, and
//! where it must have one again (a split, a scan) it asks the function it is given.
//!
//! ```text
//!   hash       63 ... 48 | 47 ........ 24 | 23 .. 16 | 15 ..... 0
//!              the shard   position: segment   tag      mark, home group
//!
//!   directory  [ 0 | 0 | 1 | 2 ]     indexed by the leading `depth` bits of the position
//!                └───┘   │   │
//!   segments   [ A       B   C ]     dense; A covers as much of the hash order as B and C together
//! ```
//!
//! The *position* of a key is the low 48 bits of its hash (the higher ones choose the shard and are alike within one). The
//! *hash order* is the order of positions; a segment holds a contiguous stretch of it, which a split halves. A scan
//! cursor is a position, so splits and merges do not disturb it.
//!
//! A segment grows in steps (the allocator's size classes) up to 63 groups of seven slots, then splits. Growing and merging move
//! words and read no entry; a split hashes some 400 keys. Both take some microseconds, and that is the longest pause
//! that growth makes but for the directory's doubling (four bytes for each few hundred keys).
//! Sixteen slots per group compared with SSE2 was considered: tags and words then lie on different cache lines, a miss more on
//! each lookup; seven slots share one line and compare as one ordinary word.
//!
//! Invariants:
//! - `directory[p >> (48 - depth)]` is the segment whose stretch contains position `p`.
//! - `segments` is dense: a removed one is replaced by the last.
//! - `deadline` is not after any expiry in the table, and a segment's not after any expiry in the segment.
//! - Keys whose hashes agree in all 48 bits, which only an attacker who knows the hash's keys could produce, make one segment
//!   grow beyond its usual size: slower, never wrong.

mod order;
mod segment;
mod sweep;

pub use sweep::{Reaper, Swept};

use super::entry::Entry;
use segment::{Fingerprint, GROUP_SLOTS, SEGMENT_GROUPS_MAX, Segment};

/// Bits of a position.
pub const POSITION_BITS: u32 = 48;

/// Bits of the position that the directory may use; the rest are the tag's and the mark's.
const DEPTH_MAX: u32 = 24;

/// Two neighbours with this many entries together become one: well below what a split leaves, so that a size at the edge
/// does not split and merge in turn.
const MERGE_LEN_MAX: usize = SEGMENT_GROUPS_MAX * GROUP_SLOTS * 9 / 20;

/// The directory is doubled only up to this many slots per segment.
const DIRECTORY_SLOTS_PER_SEGMENT_MAX: usize = 16;

/// Where an entry lies; good until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    segment: u32,
    group: u32,
    slot: u8,
}

/// What a table holds: a thing with a key, one word wide, whose upper 16 bits are the table's.
pub trait Element: Sized {
    /// The key.
    fn key(&self) -> &[u8];

    /// The key is `key`.
    fn has_key(&self, key: &[u8]) -> bool;

    /// The moment before which nothing of it expires, milliseconds since 1970; `None` when nothing does.
    fn deadline(&self) -> Option<i64>;

    /// The table's bits in the element's word.
    fn mark(&self) -> u16;

    /// Sets the table's bits in the element's word.
    fn set_mark(&mut self, mark: u16);

    /// Where its key lies, for a prefetch.
    fn block(&self) -> *const u8;
}

/// The table of a database's keys.
pub type Table = TableOf<Entry>;

/// A table of elements.
pub struct TableOf<E> {
    directory: Vec<u32>,
    segments: Vec<Segment<E>>,
    depth: u32,
    len: usize,
    /// Segments by their depth, up to the directory's, to see when that can be halved.
    segments_of_depth: Vec<u32>,
    segments_bytes: usize,
    sweep: sweep::Sweep,
}

impl<E: Element> Default for TableOf<E> {
    fn default() -> TableOf<E> {
        TableOf::new()
    }
}

impl<E: Element + Clone> Clone for TableOf<E> {
    fn clone(&self) -> TableOf<E> {
        TableOf {
            directory: self.directory.clone(),
            segments: self.segments.clone(),
            segments_of_depth: self.segments_of_depth.clone(),
            sweep: self.sweep.clone(),
            ..*self
        }
    }
}

#[inline]
fn position(hash: u64) -> u64 {
    hash & ((1 << POSITION_BITS) - 1)
}

impl<E: Element> TableOf<E> {
    /// An empty table: one group.
    pub fn new() -> TableOf<E> {
        let first = Segment::new(0, 0, 1);
        TableOf {
            directory: vec![0],
            segments_bytes: first.memory_bytes(),
            segments: vec![first],
            depth: 0,
            len: 0,
            segments_of_depth: vec![1],
            sweep: sweep::Sweep::new(),
        }
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// There is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory of the table itself, without its entries.
    pub fn memory_bytes(&self) -> usize {
        self.segments_bytes
            + self.directory.capacity() * size_of::<u32>()
            + self.segments_of_depth.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<Segment<E>>()
    }

    /// The number of slots, used or not.
    pub fn slots(&self) -> usize {
        let groups = self.segments.iter().map(Segment::group_count);
        groups.sum::<usize>() * GROUP_SLOTS
    }

    /// First stage of a batched lookup: fetches the group of a key with this hash into the cache.
    #[inline]
    pub fn prefetch_group(&self, hash: u64) {
        self.segments[self.segment_of(position(hash))].prefetch_group(Fingerprint::of(hash));
    }

    /// Second stage, once the group is there: fetches the entry.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.segments[self.segment_of(position(hash))].prefetch_entry(Fingerprint::of(hash));
    }

    /// Where `key`, whose hash is `hash`, lies.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let index = self.segment_of(position(hash));
        let (group, slot) = self.segments[index].find(Fingerprint::of(hash), key)?;
        Some(Place {
            segment: index as u32,
            group,
            slot,
        })
    }

    /// The entry at a place that was just found. Panics when there is none: the place is out of date.
    #[inline]
    pub fn entry(&self, place: Place) -> &E {
        self.segments[place.segment as usize]
            .entry(place.group as usize, place.slot as usize)
            .expect("an entry at its place")
    }

    /// As [`TableOf::entry`], to modify. A new deadline must be told to [`TableOf::note_expiry`].
    #[inline]
    pub fn entry_mut(&mut self, place: Place) -> &mut E {
        self.segments[place.segment as usize]
            .entry_mut(place.group as usize, place.slot as usize)
            .expect("an entry at its place")
    }

    /// The entry at `place` got a deadline, or another one.
    #[inline]
    pub fn note_expiry(&mut self, place: Place, at: i64) {
        self.segments[place.segment as usize].note_deadline(Some(at));
        self.sweep.note(at);
    }

    /// Inserts an entry whose key is not in the table. `hash` hashes a key; `entry_hash` is that of this one.
    #[inline]
    pub fn insert(&mut self, entry_hash: u64, entry: E, hash: impl Fn(&[u8]) -> u64) -> Place {
        let mut index = self.segment_of(position(entry_hash));
        while !self.segments[index].has_room() {
            self.make_room(index, &hash);
            index = self.segment_of(position(entry_hash));
        }
        let deadline = entry.deadline();
        let segment = &mut self.segments[index];
        let (group, slot) = segment.insert(Fingerprint::of(entry_hash), entry);
        self.len += 1;
        let place = Place {
            segment: index as u32,
            group,
            slot,
        };
        if let Some(at) = deadline {
            self.note_expiry(place, at);
        }
        place
    }

    /// Takes an entry out.
    pub fn remove(&mut self, place: Place) -> E {
        let index = place.segment as usize;
        let entry = self.segments[index]
            .remove(place.group as usize, place.slot as usize)
            .expect("an entry at its place");
        self.len -= 1;
        self.settle(index);
        entry
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.segments
            .iter()
            .flat_map(|segment| segment.entries().map(|(_, _, entry)| entry))
    }

    /// Takes entries out until the table is empty or about `budget` are gone; the rest is no table any more, but for
    /// another call of this. `taken` gets each, to drop it now or later. Says how many went.
    pub fn dismantle(&mut self, budget: usize, mut taken: impl FnMut(E)) -> usize {
        let mut count = 0;
        while count < budget
            && let Some(mut segment) = self.segments.pop()
        {
            count += segment.len() + 1;
            self.len -= segment.len();
            self.segments_bytes -= segment.memory_bytes();
            segment.dismantle(&mut taken);
        }
        if self.segments.is_empty() {
            *self = TableOf::new();
        }
        count
    }

    #[inline]
    fn segment_of(&self, position: u64) -> usize {
        self.directory[self.slot_of(position)] as usize
    }

    #[inline]
    fn slot_of(&self, position: u64) -> usize {
        (position >> (POSITION_BITS - self.depth)) as usize
    }

    /// Makes room in a full segment: it grows or is split.
    #[cold]
    fn make_room(&mut self, index: usize, hash: &impl Fn(&[u8]) -> u64) {
        let segments = self.segments.len();
        let segment = &mut self.segments[index];
        let depth = u32::from(segment.depth);
        let may_split = segment.group_count() >= SEGMENT_GROUPS_MAX
            && depth < DEPTH_MAX
            && (depth < self.depth
                || self.directory.len() < segments * DIRECTORY_SLOTS_PER_SEGMENT_MAX);
        if may_split {
            self.split(index, hash);
        } else {
            self.segments_bytes -= segment.memory_bytes();
            segment.grow();
            self.segments_bytes += segment.memory_bytes();
        }
    }

    fn split(&mut self, index: usize, hash: &impl Fn(&[u8]) -> u64) {
        let depth = u32::from(self.segments[index].depth);
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&at| [at, at]).collect();
            self.depth += 1;
            self.segments_of_depth.push(0);
        }
        let old = &mut self.segments[index];
        self.segments_bytes -= old.memory_bytes();
        let (low, high) = old.split(1 << (POSITION_BITS - 1 - depth), hash);
        self.segments_bytes += low.memory_bytes() + high.memory_bytes();
        *old = low;
        self.segments.push(high);
        self.point_at(self.segments.len() - 1);
        self.segments_of_depth[depth as usize] -= 1;
        self.segments_of_depth[depth as usize + 1] += 2;
    }

    /// Points the directory's slots of a segment's stretch at it.
    fn point_at(&mut self, index: usize) {
        let segment = &self.segments[index];
        let first = self.slot_of(segment.start);
        let count = 1 << (self.depth - u32::from(segment.depth));
        self.directory[first..first + count].fill(index as u32);
    }

    /// Gives memory back after entries of a segment were removed: merges it with its neighbour, or shrinks it.
    #[inline]
    fn settle(&mut self, mut index: usize) {
        while self.segments[index].len() <= MERGE_LEN_MAX / 2 && self.depth > 0 {
            match self.merge(index) {
                Some(merged) => index = merged,
                None => break,
            }
        }
        let segment = &mut self.segments[index];
        self.segments_bytes -= segment.memory_bytes();
        segment.shrink();
        self.segments_bytes += segment.memory_bytes();
    }

    /// Merges a segment with the other half of the stretch they came from, if that is one segment and both hold little.
    fn merge(&mut self, index: usize) -> Option<usize> {
        let segment = &self.segments[index];
        let depth = segment.depth;
        if depth == 0 {
            return None;
        }
        let bit = 1 << (POSITION_BITS - u32::from(depth));
        let other = self.segment_of(segment.start ^ bit);
        let neighbour = &self.segments[other];
        if neighbour.depth != depth || segment.len() + neighbour.len() > MERGE_LEN_MAX {
            return None;
        }
        let (low, high) = if segment.start & bit == 0 {
            (index, other)
        } else {
            (other, index)
        };
        self.segments_of_depth[usize::from(depth)] -= 2;
        self.segments_of_depth[usize::from(depth) - 1] += 1;
        // The last segment moves to the removed one's place, which a sweep may have passed already.
        let removed = self.segments.swap_remove(high);
        let low = if low == self.segments.len() {
            high
        } else {
            low
        };
        let merged = &mut self.segments[low];
        self.segments_bytes -= merged.memory_bytes() + removed.memory_bytes();
        merged.merge(removed);
        merged.depth -= 1;
        self.segments_bytes += merged.memory_bytes();
        self.sweep.revisit(merged.deadline);
        self.point_at(low);
        if high < self.segments.len() && high != low {
            self.sweep.revisit(self.segments[high].deadline);
            self.point_at(high);
        }
        self.halve_directory();
        // Without this the vector would keep the largest extent that it ever had.
        if self.segments.capacity() > 64 && self.segments.len() * 4 < self.segments.capacity() {
            self.segments.shrink_to(self.segments.len() * 2);
        }
        Some(low)
    }

    /// Halves the directory while no segment needs its last bit and it is much larger than the segments are many.
    fn halve_directory(&mut self) {
        while self.segments_of_depth[self.depth as usize] == 0
            && self.directory.len() >= self.segments.len() * 4
        {
            self.directory = self.directory.iter().copied().step_by(2).collect();
            self.depth -= 1;
            self.segments_of_depth.pop();
        }
    }

    /// Asserts every invariant, for model tests: reads the whole table.
    pub fn check(&self, hash: impl Fn(&[u8]) -> u64) {
        assert_eq!(self.directory.len(), 1 << self.depth);
        assert_eq!(self.segments_of_depth.len(), self.depth as usize + 1);
        let mut slot = 0;
        let mut seen = 0;
        while slot < self.directory.len() {
            let index = self.directory[slot] as usize;
            let segment = &self.segments[index];
            assert_eq!(self.slot_of(segment.start), slot);
            let count = 1 << (self.depth - u32::from(segment.depth));
            assert!(
                self.directory[slot..slot + count]
                    .iter()
                    .all(|&at| at as usize == index)
            );
            for (_, _, entry) in segment.entries() {
                assert_eq!(self.segment_of(position(hash(entry.key()))), index);
                assert!(
                    entry
                        .deadline()
                        .is_none_or(|at| self.deadline().is_some_and(|first| at >= first))
                );
            }
            segment.check(&hash);
            slot += count;
            seen += 1;
        }
        assert_eq!(seen, self.segments.len());
        assert_eq!(
            self.len,
            self.segments.iter().map(Segment::len).sum::<usize>()
        );
        let bytes: usize = self.segments.iter().map(Segment::memory_bytes).sum();
        assert_eq!(bytes, self.segments_bytes);
    }
}
