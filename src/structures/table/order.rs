//! Walks in hash order, and random picks.

use super::{Element, POSITION_BITS, Place, SEGMENT_GROUPS_MAX, TableOf, position};
use crate::structures::table::segment::GROUP_SLOTS;

impl<E: Element> TableOf<E> {
    /// Emits about `count` entries in hash order from the position `cursor` on, and returns the position to go on from; 0 when
    /// the end is reached. Entries of one position go out together, so that no position is left half done:
    /// whatever is in the table during the whole of a walk from 0 to 0 is emitted. `hash` hashes a key.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        hash: impl Fn(&[u8]) -> u64,
        emit: &mut dyn FnMut(&E),
    ) -> u64 {
        let mut cursor = position(cursor);
        let mut left = count.max(1);
        let mut batch: Vec<(u64, Place)> = Vec::new();
        loop {
            let index = self.segment_of(cursor);
            let segment = &self.segments[index];
            batch.clear();
            for (group, slot, entry) in segment.entries() {
                let at = position(hash(entry.key()));
                if at >= cursor {
                    let place = Place {
                        segment: index as u32,
                        group,
                        slot,
                    };
                    batch.push((at, place));
                }
            }
            if batch.len() > left {
                batch.select_nth_unstable_by_key(left - 1, |&(at, _)| at);
                let last = batch[left - 1].0;
                for (at, place) in &batch {
                    if *at <= last {
                        emit(self.entry(*place));
                    }
                }
                return position(last + 1);
            }
            for (_, place) in &batch {
                emit(self.entry(*place));
            }
            left -= batch.len();
            cursor = position(segment.start + (1 << (POSITION_BITS - u32::from(segment.depth))));
            if cursor == 0 || left == 0 {
                return cursor;
            }
        }
    }

    /// Calls `each` for every entry of the segment that holds the position `cursor` (0 at first); returns the cursor of the
    /// next segment in the hash order, `None` at the end. Some hundred entries a call. An entry that is there during the whole of a
    /// walk is passed, perhaps twice; `each` must leave key and expiry alone.
    pub fn pass_segment(&mut self, cursor: u64, mut each: impl FnMut(&mut E)) -> Option<u64> {
        let index = self.segment_of(position(cursor));
        let segment = &mut self.segments[index];
        for group in 0..segment.group_count() {
            segment.prefetch_entries_ahead(group);
            for slot in 0..GROUP_SLOTS {
                if let Some(entry) = segment.entry_mut(group, slot) {
                    each(entry);
                }
            }
        }
        let next = position(segment.start + (1 << (POSITION_BITS - u32::from(segment.depth))));
        (next != 0).then_some(next)
    }

    /// A random entry, each as likely as any other; `None` in an empty table.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<&E> {
        const TRIES_MAX: usize = 200;
        if self.len == 0 {
            return None;
        }
        let slots_max = if self.segments.len() == 1 {
            self.segments[0].group_count() * GROUP_SLOTS
        } else {
            SEGMENT_GROUPS_MAX * GROUP_SLOTS
        };
        let mut pick = |below: usize| ((u128::from(random()) * below as u128) >> 64) as usize;
        for _ in 0..TRIES_MAX {
            let segment = &self.segments[pick(self.segments.len())];
            let slots = segment.group_count() * GROUP_SLOTS;
            let slot = pick(slots.max(slots_max));
            if let Some(entry) = segment.entry(slot / GROUP_SLOTS, slot % GROUP_SLOTS) {
                return Some(entry);
            }
        }
        // A nearly empty table in the middle of shrinking: the first entry after a random segment.
        let first = pick(self.segments.len());
        let (before, after) = self.segments.split_at(first);
        let mut segments = after.iter().chain(before);
        let segment = segments.find(|segment| segment.len() > 0)?;
        let nth = pick(segment.len());
        segment.entries().nth(nth).map(|(_, _, entry)| entry)
    }
}
