//! The compact form of a sorted set: a listpack of members, each followed by its score, in the set's order.
//!
//! A score that is a whole number is an integer element, any other its shortest text, as in Redis, so that the bytes
//! can go into a dump. A zero loses its sign on the way.

use std::ops::Range;

use super::tree::compare;
use crate::base::number::{format_f64, parse_f64};
use crate::structures::listpack::{Corrupt, Element, Listpack, Pos};

/// Whole numbers beyond this magnitude are kept as text.
const INTEGER_SCORE_MAX: f64 = (1u64 << 62) as f64;

fn score_of(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Int(value) => Some(value as f64),
        Element::Bytes(text) => parse_f64(text),
    }
}

/// The score at a position that is one (invariant of the form, asserted where bytes come from outside).
#[inline]
fn score_at(pack: &Listpack, pos: Pos) -> f64 {
    score_of(pack.get(pos)).expect("every second element is a score")
}

/// The members with their scores, as positions: of the member, and the score.
fn pairs(pack: &Listpack) -> impl Iterator<Item = (Pos, f64)> {
    let mut next = pack.first();
    std::iter::from_fn(move || {
        let member = next?;
        let score = pack.next(member)?;
        next = pack.next(score);
        Some((member, score_at(pack, score)))
    })
}

/// Where a member lies, and its score.
pub(super) fn find(pack: &Listpack, member: &[u8]) -> Option<(Pos, f64)> {
    let pos = pack.find(pack.first()?, member, 1)?;
    Some((pos, score_at(pack, pack.next(pos)?)))
}

/// A member's rank and score.
pub(super) fn rank(pack: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    let mut elements = pack.iter();
    let mut rank = 0;
    while let (Some(other), Some(score)) = (elements.next(), elements.next()) {
        if other == *member {
            return Some((rank, score_of(score)?));
        }
        rank += 1;
    }
    None
}

/// Inserts a member that is not there.
pub(super) fn insert(pack: &mut Listpack, member: &[u8], score: f64) {
    let mut digits = itoa::Buffer::new();
    let behind = pairs(pack).find(|&(pos, other)| {
        compare(
            (score, || member),
            (other, || pack.get(pos).to_bytes(&mut digits)),
        )
        .is_lt()
    });
    let pos = behind.map_or_else(|| pack.end(), |(pos, _)| pos);
    let score_pos = pack.insert_before(pos, member);
    let score_pos = pack.next(score_pos).unwrap_or_else(|| pack.end());
    if score.abs() <= INTEGER_SCORE_MAX && score == score.trunc() {
        pack.insert_before_int(score_pos, score as i64);
    } else {
        let mut text = Vec::with_capacity(32);
        format_f64(&mut text, score);
        pack.insert_before(score_pos, &text);
    }
}

/// Removes the member at a position with its score.
pub(super) fn remove(pack: &mut Listpack, pos: Pos) {
    pack.remove_range(pos, 2);
}

/// The position of the member at a rank, or the end.
fn seek(pack: &Listpack, rank: usize) -> Pos {
    isize::try_from(rank * 2)
        .ok()
        .and_then(|index| pack.seek(index))
        .unwrap_or_else(|| pack.end())
}

/// Removes a range of ranks.
pub(super) fn remove_range(pack: &mut Listpack, ranks: Range<usize>) {
    pack.remove_range(seek(pack, ranks.start), ranks.len() * 2);
}

/// How many scores from the first on satisfy `holds`.
pub(super) fn count_while_score(pack: &Listpack, mut holds: impl FnMut(f64) -> bool) -> usize {
    pairs(pack).take_while(|&(_, score)| holds(score)).count()
}

/// How many members from the first on satisfy `holds`.
pub(super) fn count_while_member(pack: &Listpack, mut holds: impl FnMut(&[u8]) -> bool) -> usize {
    let mut digits = itoa::Buffer::new();
    pack.iter()
        .step_by(2)
        .take_while(|member| holds(member.to_bytes(&mut digits)))
        .count()
}

/// A walk over members and scores.
pub(super) struct Pairs<'a> {
    elements: crate::structures::listpack::Iter<'a>,
    left: usize,
    reverse: bool,
}

/// The elements of a range of ranks, in descending order if `reverse`.
pub(super) fn range(pack: &Listpack, ranks: Range<usize>, reverse: bool) -> Pairs<'_> {
    Pairs {
        elements: if reverse {
            pack.iter_before(seek(pack, ranks.end))
        } else {
            pack.iter_from(seek(pack, ranks.start))
        },
        left: ranks.len(),
        reverse,
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Element<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        let (member, score) = if self.reverse {
            let score = self.elements.next_back()?;
            (self.elements.next_back()?, score)
        } else {
            (self.elements.next()?, self.elements.next()?)
        };
        Some((member, score_of(score)?))
    }
}

/// Checks that bytes from outside are members with scores in the set's order, no member twice.
pub(super) fn validate(pack: &Listpack) -> Result<(), Corrupt> {
    let mut members: Vec<Vec<u8>> = Vec::with_capacity(pack.len() / 2);
    let mut last = f64::NEG_INFINITY;
    let mut elements = pack.iter();
    while let Some(member) = elements.next() {
        let score = elements.next().and_then(score_of).ok_or(Corrupt)?;
        let member = member.to_vec();
        if let Some(before) = members.last()
            && !compare((last, || before), (score, || &member)).is_lt()
        {
            return Err(Corrupt);
        }
        last = score;
        members.push(member);
    }
    members.sort_unstable();
    if members.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Corrupt);
    }
    Ok(())
}
