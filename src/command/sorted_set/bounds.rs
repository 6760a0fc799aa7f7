//! Ranges as arguments: of ranks, of scores (`(1.5`, `+inf`), of members (`[a`, `(b`, `-`, `+`).
//!
//! Whatever a range is about, a set turns it into a range of ranks, which everything else works on.

use std::ops::Range;

use super::super::Fault;
use crate::base::number::{is_space, parse_f64, parse_i64};
use crate::resp::Line;
use crate::structures::sorted_set::SortedSet;

/// An integer argument.
pub(super) fn integer(line: &Line<'_>, index: usize) -> Result<i64, Fault> {
    parse_i64(line.arg(index)).ok_or(Fault::NotInteger)
}

/// Where the ranks `start` to `stop` lie among `len`, negative ones counted from the end; empty when there are none.
pub(super) fn ranks_between(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_end = |rank: i64| if rank < 0 { rank + len } else { rank };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop {
        return 0..0;
    }
    start as usize..stop as usize + 1
}

/// A range of scores.
#[derive(Clone, Copy)]
pub(in super::super) struct ScoreRange {
    /// The lowest score.
    pub min: f64,
    /// The highest score.
    pub max: f64,
    /// The lowest score itself does not belong to the range.
    pub min_excluded: bool,
    /// The highest score itself does not belong to the range.
    pub max_excluded: bool,
}

impl ScoreRange {
    /// Parses the two arguments.
    pub(super) fn parse(min: &[u8], max: &[u8]) -> Result<ScoreRange, Fault> {
        let edge = |text: &[u8]| match text {
            [b'(', rest @ ..] => Some((lenient_f64(rest)?, true)),
            _ => Some((lenient_f64(text)?, false)),
        };
        match (edge(min), edge(max)) {
            (Some((min, min_excluded)), Some((max, max_excluded))) => Ok(ScoreRange {
                min,
                max,
                min_excluded,
                max_excluded,
            }),
            _ => Err(Fault::text("ERR min or max is not a float")),
        }
    }

    /// The ranks of the members within the range.
    pub(in super::super) fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let start = set
            .count_while_score(|score| score < self.min || self.min_excluded && score == self.min);
        let end = set
            .count_while_score(|score| score < self.max || !self.max_excluded && score == self.max);
        start..end.max(start)
    }
}

/// A number as C's `strtod` reads it: white space in front is passed over, nothing at all is zero, what follows a NUL is not
/// seen, and a number that is too large or too small becomes infinite or zero.
fn lenient_f64(text: &[u8]) -> Option<f64> {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    let text = &text[..end];
    if text.is_empty() {
        return Some(0.0);
    }
    let text = &text[text.iter().take_while(|byte| is_space(**byte)).count()..];
    parse_f64(text).or_else(|| {
        let plain = text
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        let text = std::str::from_utf8(text).ok().filter(|_| plain)?;
        text.parse().ok()
    })
}

/// One end of a range of members.
#[derive(Clone, Copy)]
enum Edge<'a> {
    /// Before all members.
    Lowest,
    /// Behind all members.
    Highest,
    /// At this one, which belongs to the range.
    Included(&'a [u8]),
    /// At this one, which does not.
    Excluded(&'a [u8]),
}

impl<'a> Edge<'a> {
    fn parse(text: &'a [u8]) -> Option<Edge<'a>> {
        match text {
            b"-" => Some(Edge::Lowest),
            b"+" => Some(Edge::Highest),
            [b'[', rest @ ..] => Some(Edge::Included(rest)),
            [b'(', rest @ ..] => Some(Edge::Excluded(rest)),
            _ => None,
        }
    }
}

/// A lexicographical range, of a set whose members all have the same score.
#[derive(Clone, Copy)]
pub(super) struct MemberRange<'a> {
    min: Edge<'a>,
    max: Edge<'a>,
}

impl<'a> MemberRange<'a> {
    /// Parses the two arguments.
    pub(super) fn parse(min: &'a [u8], max: &'a [u8]) -> Result<MemberRange<'a>, Fault> {
        match (Edge::parse(min), Edge::parse(max)) {
            (Some(min), Some(max)) => Ok(MemberRange { min, max }),
            _ => Err(Fault::text("ERR min or max not valid string range item")),
        }
    }

    /// The ranks of the members within the range.
    pub(super) fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let start = match self.min {
            Edge::Lowest => 0,
            Edge::Highest => set.len(),
            Edge::Included(min) => set.count_while_member(|member| member < min),
            Edge::Excluded(min) => set.count_while_member(|member| member <= min),
        };
        let end = match self.max {
            Edge::Lowest => 0,
            Edge::Highest => set.len(),
            Edge::Included(max) => set.count_while_member(|member| member <= max),
            Edge::Excluded(max) => set.count_while_member(|member| member < max),
        };
        start..end.max(start)
    }
}

/// A range of any kind.
#[derive(Clone, Copy)]
pub(super) enum Bounds<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(MemberRange<'a>),
}

/// What a range is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Member,
}

impl<'a> Bounds<'a> {
    /// Parses the two arguments.
    pub(super) fn parse(by: By, line: &Line<'a>, min: usize, max: usize) -> Result<Self, Fault> {
        Ok(match by {
            By::Rank => Bounds::Ranks(integer(line, min)?, integer(line, max)?),
            By::Score => Bounds::Scores(ScoreRange::parse(line.arg(min), line.arg(max))?),
            By::Member => Bounds::Members(MemberRange::parse(line.arg(min), line.arg(max))?),
        })
    }

    /// The ranks of the members within the range; ranks are counted from the end if `reverse`.
    pub(super) fn ranks(&self, set: &SortedSet, reverse: bool) -> Range<usize> {
        match self {
            Bounds::Ranks(start, stop) => {
                let len = set.len();
                let ranks = ranks_between(*start, *stop, len);
                if reverse {
                    len - ranks.end..len - ranks.start
                } else {
                    ranks
                }
            }
            Bounds::Scores(range) => range.ranks(set),
            Bounds::Members(range) => range.ranks(set),
        }
    }
}
