//! Active expiry: a walk over the segments that skips those with nothing due.
//!
//! A *round* passes every segment once. The table's deadline is exact after a round and only ever moved earlier until the
//! next one ends, so that a table with nothing due costs one comparison, and a round costs one comparison per segment with
//! nothing due. A segment that is split or merged during a round is passed again or left for the next: never forgotten, since
//! its deadline then goes into the table's.

use super::segment::{GROUP_SLOTS, NO_DEADLINE};
use super::{Element, TableOf};

/// How many segments with nothing due cost as much as one removed entry.
const SKIPS_PER_UNIT: usize = 16;

/// How many entries looked at and kept cost as much as one removed entry.
const KEPT_PER_UNIT: usize = 4;

/// Where the current round stands.
#[derive(Clone)]
pub(super) struct Sweep {
    /// The segment to pass next; 0 between rounds.
    next: usize,
    /// Nothing in the table expires before this.
    deadline: i64,
    /// The table's deadline after this round, as far as it is known.
    coming: i64,
}

impl Sweep {
    pub(super) fn new() -> Sweep {
        Sweep {
            next: 0,
            deadline: NO_DEADLINE,
            coming: NO_DEADLINE,
        }
    }

    /// An entry expires at `at`.
    #[inline]
    pub(super) fn note(&mut self, at: i64) {
        self.deadline = self.deadline.min(at);
        self.coming = self.coming.min(at);
    }

    /// A segment with this deadline may have moved behind the walk.
    pub(super) fn revisit(&mut self, deadline: i64) {
        self.coming = self.coming.min(deadline);
    }
}

/// What one call of [`TableOf::expire`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries removed.
    pub expired: usize,
    /// Entries looked at that have an expiry and are not due.
    pub kept: usize,
    /// The budget is used up: there may be more.
    pub more: bool,
}

impl<E: Element> TableOf<E> {
    /// The moment before which nothing expires; `None` when nothing does. May be too early, never too late.
    #[inline]
    pub fn deadline(&self) -> Option<i64> {
        (self.sweep.deadline != NO_DEADLINE).then_some(self.sweep.deadline)
    }

    /// The number of elements whose deadline is before `now`: passes over segments with nothing due.
    pub fn due(&self, now: i64) -> usize {
        let segments = self.segments.iter();
        let due = segments.filter(|segment| segment.deadline < now);
        due.flat_map(|segment| segment.entries())
            .filter(|(_, _, element)| element.deadline().is_some_and(|at| at < now))
            .count()
    }

    /// The deadlines of all elements are before `now`.
    pub fn is_spent(&self, now: i64) -> bool {
        let is_due = |element: &E| element.deadline().is_some_and(|at| at < now);
        self.segments.iter().all(|segment| {
            segment.len() == 0
                || segment.deadline < now
                    && segment.entries().all(|(_, _, element)| is_due(element))
        })
    }

    /// Removes entries whose deadline is before `now`, hands each to `expired`, and takes what it cost off `budget`
    /// (about one per removed entry). Ends with the budget, or when nothing is due any more.
    pub fn expire(&mut self, now: i64, budget: &mut usize, expired: impl FnMut(E)) -> Swept {
        self.expire_parts(now, budget, &mut Whole(expired))
    }

    /// As [`TableOf::expire`], for elements of which a part may be due.
    pub fn expire_parts(
        &mut self,
        now: i64,
        budget: &mut usize,
        reaper: &mut impl Reaper<E>,
    ) -> Swept {
        let mut swept = Swept::default();
        let mut skipped = 0;
        loop {
            if self.sweep.next >= self.segments.len() {
                self.sweep.next = 0;
                self.sweep.deadline = self.sweep.coming;
            }
            if self.sweep.next == 0 {
                if self.sweep.deadline >= now {
                    return swept;
                }
                self.sweep.coming = NO_DEADLINE;
            }
            if *budget == 0 {
                swept.more = true;
                return swept;
            }
            let index = self.sweep.next;
            if self.segments[index].deadline >= now {
                self.sweep.coming = self.sweep.coming.min(self.segments[index].deadline);
                self.sweep.next += 1;
                skipped += 1;
                if skipped % SKIPS_PER_UNIT == 0 {
                    *budget -= 1;
                }
                continue;
            }
            let seen = self.expire_segment(index, now, budget, reaper);
            swept.expired += seen.expired;
            swept.kept += seen.kept;
            *budget = budget.saturating_sub(1 + seen.expired + seen.kept / KEPT_PER_UNIT);
            // The segment's deadline is `now` or later from here on, unless the budget ended within an element: it (or what took
            // its place) is passed by the branch above, or looked at again.
            self.settle(index);
        }
    }

    fn expire_segment(
        &mut self,
        index: usize,
        now: i64,
        budget: &mut usize,
        reaper: &mut impl Reaper<E>,
    ) -> Swept {
        let segment = &mut self.segments[index];
        let mut seen = Swept::default();
        segment.deadline = NO_DEADLINE;
        for group in 0..segment.group_count() {
            segment.prefetch_entries_ahead(group);
            for slot in 0..GROUP_SLOTS {
                let Some(element) = segment.entry_mut(group, slot) else {
                    continue;
                };
                let Some(at) = element.deadline() else {
                    continue;
                };
                if at >= now || !reaper.shorten(element, budget) {
                    seen.kept += 1;
                    let deadline = element.deadline();
                    segment.note_deadline(deadline);
                } else if let Some(element) = segment.remove(group, slot) {
                    seen.expired += 1;
                    reaper.expired(element);
                }
            }
        }
        self.len -= seen.expired;
        seen
    }
}

/// What becomes of elements whose deadline has passed.
pub trait Reaper<E> {
    /// Takes off the element what is due and what that cost off `budget`; true when the element is to go as a whole. With the
    /// budget used up it leaves the rest for later.
    fn shorten(&mut self, element: &mut E, budget: &mut usize) -> bool;

    /// The element went.
    fn expired(&mut self, element: E);
}

/// Elements that expire as a whole.
struct Whole<F>(F);

impl<E, F: FnMut(E)> Reaper<E> for Whole<F> {
    fn shorten(&mut self, _: &mut E, _: &mut usize) -> bool {
        true
    }

    fn expired(&mut self, element: E) {
        (self.0)(element);
    }
}
