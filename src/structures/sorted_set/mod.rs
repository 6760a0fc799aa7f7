//! A sorted set: distinct members in the order of their scores, those of equal scores in the order of their bytes.
//!
//! Small sets are a listpack (`compact`), others a table of the members and a tree of their order (`full`, `tree`). Both
//! answer all questions about the order in ranks: where does a score begin, what lies at a rank.
//!
//! Invariants:
//! - No score is NaN.
//! - A set never goes back from the full form to the compact one by itself.

mod compact;
mod full;
mod tree;

use std::ops::Range;

use super::entry::{Collection, Type};
use super::listpack::{Corrupt, Element, Listpack};
use full::Full;

/// When a set leaves its compact form, and what its members are hashed with then.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most members of a compact set.
    pub members: usize,
    /// The longest member of a compact set, in bytes.
    pub member_bytes: usize,
    /// A secret of the process: who knows it can make members collide.
    pub seed: u64,
}

#[derive(Clone)]
enum Form {
    Compact(Listpack),
    Full(Box<Full>),
}

/// A sorted set: distinct members in the order of their scores. Lives in an entry on a shard.
#[derive(Clone)]
pub struct SortedSet(Form);

impl Default for SortedSet {
    fn default() -> SortedSet {
        SortedSet(Form::Compact(Listpack::new()))
    }
}

impl SortedSet {
    /// An empty set for some members, the longest of which is expected to be this long: in the form that they need.
    pub fn for_members(members: usize, member_bytes: usize, limits: &Limits) -> SortedSet {
        if members <= limits.members && member_bytes <= limits.member_bytes {
            SortedSet::default()
        } else {
            SortedSet(Form::Full(Box::new(Full::new(limits.seed))))
        }
    }

    /// The set of a listpack from outside: of members with scores, in order. One that is too large for the compact form is
    /// converted.
    pub fn from_listpack(pack: Listpack, limits: &Limits) -> Result<SortedSet, Corrupt> {
        compact::validate(&pack)?;
        let mut set = SortedSet(Form::Compact(pack));
        set.expect_members(set.len(), limits);
        Ok(set)
    }

    /// The listpack, in the compact form.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Form::Compact(pack) => Some(pack),
            Form::Full(_) => None,
        }
    }

    /// The number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Compact(pack) => pack.len() / 2,
            Form::Full(full) => full.len(),
        }
    }

    /// There is no member.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Form::Compact(pack) => pack.is_empty(),
            Form::Full(full) => full.len() == 0,
        }
    }

    /// Leaves the compact form when it is too small for so many members.
    pub fn expect_members(&mut self, members: usize, limits: &Limits) {
        if members > limits.members {
            self.expand(limits);
        }
    }

    fn expand(&mut self, limits: &Limits) {
        if let Form::Compact(pack) = &self.0 {
            let mut full = Box::new(Full::new(limits.seed));
            let mut digits = itoa::Buffer::new();
            for (member, score) in compact::range(pack, 0..pack.len() / 2, false) {
                full.insert_new(member.to_bytes(&mut digits), score);
            }
            self.0 = Form::Full(full);
        }
    }

    /// A member's score.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Compact(pack) => compact::find(pack, member).map(|(_, score)| score),
            Form::Full(full) => full.score(member),
        }
    }

    /// A member's rank, from 0 on, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Form::Compact(pack) => compact::rank(pack, member),
            Form::Full(full) => {
                let score = full.score(member)?;
                Some((full.tree().rank(score, member), score))
            }
        }
    }

    /// Asks for a member's new score, given the one that it has, and sets it; with `None` all stays as it is. The score is
    /// not NaN.
    pub fn update(
        &mut self,
        member: &[u8],
        limits: &Limits,
        new_score: impl FnOnce(Option<f64>) -> Option<f64>,
    ) {
        match &mut self.0 {
            Form::Full(full) => full.update(member, new_score),
            Form::Compact(pack) => {
                let found = compact::find(pack, member);
                let Some(score) = new_score(found.map(|(_, score)| score)) else {
                    return;
                };
                debug_assert!(!score.is_nan());
                if let Some((pos, old)) = found {
                    if score != old {
                        compact::remove(pack, pos);
                        compact::insert(pack, member, score);
                    }
                } else if pack.len() / 2 < limits.members
                    && member.len() <= limits.member_bytes
                    && pack.would_fit(member.len())
                {
                    compact::insert(pack, member, score);
                } else {
                    self.expand(limits);
                    if let Form::Full(full) = &mut self.0 {
                        full.insert_new(member, score);
                    }
                }
            }
        }
    }

    /// Sets a member's score; true when the member is new.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> bool {
        let mut new = false;
        self.update(member, limits, |old| {
            new = old.is_none();
            Some(score)
        });
        new
    }

    /// Removes a member; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Compact(pack) => {
                let (pos, score) = compact::find(pack, member)?;
                compact::remove(pack, pos);
                Some(score)
            }
            Form::Full(full) => full.remove(member),
        }
    }

    /// Removes the members of a range of ranks.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        match &mut self.0 {
            Form::Compact(pack) => compact::remove_range(pack, start..end),
            Form::Full(full) => {
                for _ in start..end {
                    full.remove_at(start);
                }
            }
        }
    }

    /// How many scores from the lowest on satisfy `holds`, which no score does above one that does not.
    pub fn count_while_score(&self, mut holds: impl FnMut(f64) -> bool) -> usize {
        match &self.0 {
            Form::Compact(pack) => compact::count_while_score(pack, holds),
            Form::Full(full) => full.tree().count_while(|item| holds(item.score)),
        }
    }

    /// How many members from the first on satisfy `holds`, of a set whose members all have one score. In any other the answer
    /// is between none and all.
    pub fn count_while_member(&self, mut holds: impl FnMut(&[u8]) -> bool) -> usize {
        match &self.0 {
            Form::Compact(pack) => compact::count_while_member(pack, holds),
            Form::Full(full) => full.tree().count_while(|item| holds(item.member())),
        }
    }

    /// The elements of a range of ranks, in descending order if `reverse`.
    pub fn range(&self, ranks: Range<usize>, reverse: bool) -> Elements<'_> {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        Elements(match &self.0 {
            Form::Compact(pack) => Walk::Compact(compact::range(pack, start..end, reverse)),
            Form::Full(full) => Walk::Full(full.tree().range(start..end, reverse)),
        })
    }

    /// All elements in ascending order.
    pub fn iter(&self) -> Elements<'_> {
        self.range(0..self.len(), false)
    }

    /// The element at a rank.
    pub fn get(&self, rank: usize) -> Option<(Element<'_>, f64)> {
        match &self.0 {
            Form::Compact(pack) if rank < pack.len() / 2 => {
                compact::range(pack, rank..rank + 1, false).next()
            }
            Form::Compact(_) => None,
            Form::Full(full) => {
                let item = full.tree().get(rank)?;
                Some((Element::Bytes(item.member()), item.score))
            }
        }
    }

    /// Emits about `count` elements from `cursor` (0 at first) on; returns the cursor to go on from, 0 at the end. What is there
    /// during the whole of a walk is emitted. A compact set is emitted at once.
    pub fn scan(&self, cursor: u64, count: usize, emit: &mut dyn FnMut(Element<'_>, f64)) -> u64 {
        match &self.0 {
            Form::Compact(_) => {
                for (member, score) in self.iter() {
                    emit(member, score);
                }
                0
            }
            Form::Full(full) => full.scan(cursor, count, &mut |member, score| {
                emit(Element::Bytes(member), score);
            }),
        }
    }

    /// Asserts every invariant, for model tests: reads the whole set.
    pub fn check(&self) {
        match &self.0 {
            Form::Compact(pack) => {
                compact::validate(pack).expect("members with scores in order");
            }
            Form::Full(full) => full.check(),
        }
    }
}

impl std::fmt::Debug for SortedSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SortedSet")
            .field("encoding", &self.encoding())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Collection for SortedSet {
    const TYPE: Type = Type::SortedSet;

    #[inline]
    fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Compact(pack) => pack.memory_bytes(),
            Form::Full(full) => full.memory_bytes(),
        }
    }

    fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Compact(_) => "listpack",
            Form::Full(_) => "skiplist",
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        SortedSet::is_empty(self)
    }

    fn free_effort(&self) -> usize {
        match &self.0 {
            Form::Compact(_) => 1,
            Form::Full(full) => full.len(),
        }
    }

    fn free_some(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Compact(_) => 0,
            Form::Full(full) => full.free_some(budget),
        }
    }
}

enum Walk<'a> {
    Compact(compact::Pairs<'a>),
    Full(tree::Items<'a>),
}

/// A walk over elements: members with their scores.
pub struct Elements<'a>(Walk<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Element<'a>, f64)> {
        match &mut self.0 {
            Walk::Compact(pairs) => pairs.next(),
            Walk::Full(items) => {
                let item = items.next()?;
                Some((Element::Bytes(item.member()), item.score))
            }
        }
    }
}
