//! A segment of the table: an array of groups, each one cache line of seven slots.
//!
//! ```text
//!   group    | tag 0..6, overflow 7 : 8 bytes | entry 0 | ... | entry 6 |      64 bytes
//! ```
//!
//! An entry belongs to its home group; when that is full it goes to the next one with room, and every full
//! group it passed counts it in its overflow byte. A search goes on past a group only while that count is not zero,
//! and a removal takes the count back, so deletions leave nothing behind that slows a later search.
//!
//! Invariants:
//! - A slot's tag is zero exactly when the slot is empty.
//! - A group's overflow is the number of entries that passed it, or 255 for good once it got there (until the next
//!   [`Segment::resize`], which counts afresh).
//! - The mark of an entry is the low 16 bits of its hash and gives its home in an array of any size, so that
//!   resizing, merging and removing read no entry.

use super::Element;
use crate::structures::entry::allocated;
use crate::structures::prefetch::prefetch;

/// Slots of a group: seven words and their tags fill a cache line.
pub(super) const GROUP_SLOTS: usize = 7;

/// Groups of a segment that is split rather than grown.
pub(super) const SEGMENT_GROUPS_MAX: usize = 63;

/// No key of the segment expires.
pub(super) const NO_DEADLINE: i64 = i64::MAX;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const OVERFLOW_SHIFT: u32 = 56;
const OVERFLOW_ONE: u64 = 1 << OVERFLOW_SHIFT;
const OVERFLOW_MASK: u64 = 0xFF << OVERFLOW_SHIFT;

/// What a search compares before it looks at an entry: 24 bits of the hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint {
    tag: u8,
    mark: u16,
}

impl Fingerprint {
    #[inline]
    pub(super) fn of(hash: u64) -> Fingerprint {
        Fingerprint {
            tag: ((hash >> 16) as u8).max(1),
            mark: hash as u16,
        }
    }

    #[inline]
    fn home(self, groups: usize) -> usize {
        (usize::from(self.mark) * groups) >> 16
    }
}

#[repr(C)]
pub(super) struct Group<E> {
    control: u64,
    slots: [Option<E>; GROUP_SLOTS],
}

/// Bytes of a group: a cache line.
const GROUP_BYTES: usize = 64;

impl<E: Element + Clone> Clone for Group<E> {
    fn clone(&self) -> Group<E> {
        let copy = |element: &E| {
            let mut copy = element.clone();
            copy.set_mark(element.mark());
            copy
        };
        Group {
            control: self.control,
            slots: std::array::from_fn(|slot| self.slots[slot].as_ref().map(copy)),
        }
    }
}

impl<E: Element> Group<E> {
    const EMPTY: Group<E> = {
        assert!(size_of::<Group<E>>() == GROUP_BYTES);
        Group {
            control: 0,
            slots: [const { None }; GROUP_SLOTS],
        }
    };

    /// The slots whose tag may be `tag`: bit 7 of their byte. The lowest one is right; above a right one a wrong one may
    /// follow, which costs a comparison.
    #[inline]
    fn matches(&self, tag: u8) -> u64 {
        let difference = (self.control ^ (LOW_BITS * u64::from(tag))) | OVERFLOW_MASK;
        difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS
    }

    #[inline]
    fn overflow(&self) -> u64 {
        self.control >> OVERFLOW_SHIFT
    }

    fn count_passing(&mut self) {
        if self.overflow() < 255 {
            self.control += OVERFLOW_ONE;
        }
    }

    fn uncount_passing(&mut self) {
        if self.overflow() < 255 {
            debug_assert!(self.overflow() > 0);
            self.control -= OVERFLOW_ONE;
        }
    }

    #[inline]
    fn tag(&self, slot: usize) -> u8 {
        (self.control >> (slot * 8)) as u8
    }
}

/// A stretch of the hash order with its entries.
pub(super) struct Segment<E> {
    groups: Box<[Group<E>]>,
    /// The first position of the stretch.
    pub(super) start: u64,
    /// No entry is due before this; may be earlier than the earliest deadline.
    pub(super) deadline: i64,
    len: u32,
    /// Leading bits of the position that all entries have in common.
    pub(super) depth: u8,
}

impl<E: Element + Clone> Clone for Segment<E> {
    fn clone(&self) -> Segment<E> {
        Segment {
            groups: self.groups.clone(),
            ..*self
        }
    }
}

/// The number of groups, at least `groups`, that fill one of the allocator's size classes but for one group: aligned allocations
/// of mimalloc 3 need some bytes to spare, and would take the next class for a full one.
fn size_class(groups: usize) -> usize {
    allocated((groups + 1) * GROUP_BYTES) / GROUP_BYTES - 1
}

/// The number of groups for `len` entries with some room to grow.
fn groups_for(len: usize) -> usize {
    size_class((len * 11).div_ceil(65).max(1))
}

impl<E: Element> Segment<E> {
    pub(super) fn new(start: u64, depth: u8, groups: usize) -> Segment<E> {
        Segment {
            groups: (0..groups).map(|_| Group::EMPTY).collect(),
            start,
            deadline: NO_DEADLINE,
            len: 0,
            depth,
        }
    }

    /// An empty segment with room for `len` entries.
    pub(super) fn with_room(start: u64, depth: u8, len: usize) -> Segment<E> {
        Segment::new(start, depth, groups_for(len))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Bytes of its array.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.groups) + GROUP_BYTES
    }

    /// An entry can be inserted: about one slot in fourteen stays free, so that searches stay short.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        let groups = self.groups.len();
        self.len() < groups * GROUP_SLOTS - groups / 2
    }

    #[inline]
    pub(super) fn prefetch_group(&self, fingerprint: Fingerprint) {
        prefetch(&raw const self.groups[fingerprint.home(self.groups.len())]);
    }

    /// Prefetches the entry that the home group most likely holds for `fingerprint`.
    #[inline]
    pub(super) fn prefetch_entry(&self, fingerprint: Fingerprint) {
        let group = &self.groups[fingerprint.home(self.groups.len())];
        let mut hits = group.matches(fingerprint.tag);
        while hits != 0 {
            let slot = hits.trailing_zeros() as usize / 8;
            if let Some(entry) = &group.slots[slot]
                && entry.mark() == fingerprint.mark
            {
                prefetch(entry.block());
                prefetch(entry.block().wrapping_add(56));
                prefetch(entry.block().wrapping_add(112));
                return;
            }
            hits &= hits - 1;
        }
    }

    /// The group and slot of `key`.
    #[inline]
    pub(super) fn find(&self, fingerprint: Fingerprint, key: &[u8]) -> Option<(u32, u8)> {
        let mut index = fingerprint.home(self.groups.len());
        for _ in 0..self.groups.len() {
            let group = &self.groups[index];
            let mut hits = group.matches(fingerprint.tag);
            while hits != 0 {
                let slot = hits.trailing_zeros() as usize / 8;
                if let Some(entry) = &group.slots[slot]
                    && entry.mark() == fingerprint.mark
                    && entry.has_key(key)
                {
                    return Some((index as u32, slot as u8));
                }
                hits &= hits - 1;
            }
            if group.overflow() == 0 {
                return None;
            }
            index = self.next(index);
        }
        None
    }

    /// Inserts an entry; there is a free slot.
    #[inline]
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, mut entry: E) -> (u32, u8) {
        let mut index = fingerprint.home(self.groups.len());
        loop {
            let group = &mut self.groups[index];
            let free = group.matches(0);
            if free != 0 {
                let slot = free.trailing_zeros() as usize / 8;
                entry.set_mark(fingerprint.mark);
                group.slots[slot] = Some(entry);
                group.control |= u64::from(fingerprint.tag) << (slot * 8);
                self.len += 1;
                return (index as u32, slot as u8);
            }
            group.count_passing();
            index = self.next(index);
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, index: usize, slot: usize) -> Option<E> {
        let group = &mut self.groups[index];
        let mut entry = group.slots[slot].take()?;
        group.control &= !(0xFF << (slot * 8));
        self.len -= 1;
        let fingerprint = Fingerprint {
            tag: 0,
            mark: entry.mark(),
        };
        let mut passed = fingerprint.home(self.groups.len());
        while passed != index {
            self.groups[passed].uncount_passing();
            passed = self.next(passed);
        }
        entry.set_mark(0);
        Some(entry)
    }

    #[inline]
    pub(super) fn entry(&self, index: usize, slot: usize) -> Option<&E> {
        self.groups.get(index)?.slots.get(slot)?.as_ref()
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, index: usize, slot: usize) -> Option<&mut E> {
        self.groups.get_mut(index)?.slots.get_mut(slot)?.as_mut()
    }

    /// All entries with their groups and slots. Entries ahead are prefetched.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, u8, &E)> {
        (0..self.groups.len()).flat_map(move |index| {
            self.prefetch_entries_ahead(index);
            let slots = self.groups[index].slots.iter().enumerate();
            slots.filter_map(move |(slot, entry)| Some((index as u32, slot as u8, entry.as_ref()?)))
        })
    }

    /// Takes all entries out, the next ones prefetched; the segment is used no more.
    pub(super) fn dismantle(&mut self, mut taken: impl FnMut(E)) {
        for index in 0..self.groups.len() {
            self.prefetch_entries_ahead(index);
            for slot in &mut self.groups[index].slots {
                if let Some(entry) = slot.take() {
                    taken(entry);
                }
            }
        }
    }

    /// Prefetches the entries that a walk over the groups meets after those of `index`.
    pub(super) fn prefetch_entries_ahead(&self, index: usize) {
        const AHEAD: usize = 3;
        let first = if index == 0 { 0 } else { index + AHEAD };
        for group in self.groups.iter().take(index + AHEAD + 1).skip(first) {
            for entry in group.slots.iter().flatten() {
                prefetch(entry.block());
            }
        }
    }

    /// Gives the segment another number of groups.
    fn resize(&mut self, groups: usize) {
        let old = std::mem::take(&mut self.groups);
        self.groups = (0..groups).map(|_| Group::EMPTY).collect();
        self.len = 0;
        self.absorb(old);
    }

    /// Makes room for more entries.
    pub(super) fn grow(&mut self) {
        let groups = self.groups.len();
        let wanted = if groups < SEGMENT_GROUPS_MAX {
            groups + 1
        } else {
            groups + groups / 2
        };
        self.resize(size_class(wanted));
    }

    /// Gives memory back when few slots are used.
    pub(super) fn shrink(&mut self) {
        let slots = self.groups.len() * GROUP_SLOTS;
        if self.groups.len() > 1 && self.len() * 5 < slots * 2 {
            let groups = groups_for(self.len());
            if groups < self.groups.len() {
                self.resize(groups);
            }
        }
    }

    /// Takes over all entries of `other`, making room first.
    pub(super) fn merge(&mut self, other: Segment<E>) {
        let groups = groups_for(self.len() + other.len());
        self.deadline = self.deadline.min(other.deadline);
        if groups > self.groups.len() || groups * 2 < self.groups.len() {
            self.resize(groups);
        }
        self.absorb(other.groups);
    }

    fn absorb(&mut self, groups: Box<[Group<E>]>) {
        for mut group in groups {
            for slot in 0..GROUP_SLOTS {
                let tag = group.tag(slot);
                if let Some(entry) = group.slots[slot].take() {
                    let mark = entry.mark();
                    self.insert(Fingerprint { tag, mark }, entry);
                }
            }
        }
    }

    /// Splits into the entries whose position has `bit` clear and those that have it set.
    pub(super) fn split(
        &mut self,
        bit: u64,
        hash: &impl Fn(&[u8]) -> u64,
    ) -> (Segment<E>, Segment<E>) {
        let mut upper: Vec<u8> = vec![0; self.groups.len()];
        let mut upper_len = 0;
        for (index, slot, entry) in self.entries() {
            if hash(entry.key()) & bit != 0 {
                upper[index as usize] |= 1 << slot;
                upper_len += 1;
            }
        }
        let depth = self.depth + 1;
        let mut low: Segment<E> = Segment::with_room(self.start, depth, self.len() - upper_len);
        let mut high = Segment::with_room(self.start | bit, depth, upper_len);
        let groups = std::mem::take(&mut self.groups);
        for (mut group, upper) in groups.into_iter().zip(upper) {
            for slot in 0..GROUP_SLOTS {
                let tag = group.tag(slot);
                if let Some(entry) = group.slots[slot].take() {
                    let half = if upper >> slot & 1 == 0 {
                        &mut low
                    } else {
                        &mut high
                    };
                    half.note_deadline(entry.deadline());
                    let mark = entry.mark();
                    half.insert(Fingerprint { tag, mark }, entry);
                }
            }
        }
        (low, high)
    }

    /// An entry of the segment is due at `deadline`.
    #[inline]
    pub(super) fn note_deadline(&mut self, deadline: Option<i64>) {
        if let Some(at) = deadline {
            self.deadline = self.deadline.min(at);
        }
    }

    #[inline]
    fn next(&self, index: usize) -> usize {
        if index + 1 == self.groups.len() {
            0
        } else {
            index + 1
        }
    }

    /// Asserts every invariant of the segment.
    pub(super) fn check(&self, hash: &impl Fn(&[u8]) -> u64) {
        let mut passed = vec![0u64; self.groups.len()];
        let mut len = 0;
        for (index, slot, entry) in self.entries() {
            let fingerprint = Fingerprint::of(hash(entry.key()));
            assert_eq!(fingerprint.mark, entry.mark());
            assert_eq!(
                fingerprint.tag,
                self.groups[index as usize].tag(usize::from(slot))
            );
            let mut at = fingerprint.home(self.groups.len());
            while at != index as usize {
                passed[at] += 1;
                at = self.next(at);
            }
            assert!(entry.deadline().is_none_or(|at| at >= self.deadline));
            len += 1;
        }
        assert_eq!(len, self.len());
        for (group, passed) in self.groups.iter().zip(passed) {
            assert!(group.overflow() == passed || group.overflow() == 255);
            for slot in 0..GROUP_SLOTS {
                assert_eq!(group.tag(slot) == 0, group.slots[slot].is_none());
            }
        }
    }
}
