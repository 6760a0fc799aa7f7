//! Unions, intersections and differences of sorted sets, and of sets, whose members count with a score of 1.

use super::super::string::missed;
use super::super::{Cx, Done, Fault};
use super::{limits, push_elements, store};
use crate::base::number::{parse_f64, parse_i64};
use crate::keyspace::{Entry, ValueView};
use crate::resp::Line;
use crate::structures::listpack::Element;
use crate::structures::set::Set;
use crate::structures::sorted_set::{Limits, SortedSet};

/// What is done with the inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// How the scores of a member in several inputs become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    /// A NaN, which infinities of different signs add up to, becomes zero.
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => not_nan(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One input.
#[derive(Clone, Copy)]
enum Members<'a> {
    None,
    Scored(&'a SortedSet),
    Plain(&'a Set),
}

impl<'a> Members<'a> {
    fn of(entry: Option<&'a Entry>) -> Result<Members<'a>, Fault> {
        match entry.map(Entry::value) {
            None => Ok(Members::None),
            Some(ValueView::SortedSet(set)) => Ok(Members::Scored(set)),
            Some(ValueView::Set(set)) => Ok(Members::Plain(set)),
            Some(_) => Err(Fault::WrongType),
        }
    }

    fn len(&self) -> usize {
        match self {
            Members::None => 0,
            Members::Scored(set) => set.len(),
            Members::Plain(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Members::None => None,
            Members::Scored(set) => set.score(member),
            Members::Plain(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Calls `each` for every member until it says no.
    fn each(&self, mut each: impl FnMut(&[u8], f64) -> bool) {
        let mut digits = itoa::Buffer::new();
        let mut each = |member: Element<'_>, score| each(member.to_bytes(&mut digits), score);
        match self {
            Members::None => {}
            Members::Scored(set) => {
                set.iter().all(|(member, score)| each(member, score));
            }
            Members::Plain(set) => {
                set.iter().all(|member| each(member, 1.0));
            }
        }
    }
}

/// An input with its weight.
#[derive(Clone, Copy)]
struct Source<'a> {
    members: Members<'a>,
    weight: f64,
}

impl Source<'_> {
    fn score(&self, member: &[u8]) -> Option<f64> {
        Some(self.weight * self.members.score(member)?)
    }
}

/// A line, but for its inputs.
struct Query {
    operation: Operation,
    /// The first key is the result's.
    stores: bool,
    /// Only the number of members is asked for.
    counts: bool,
    first: usize,
    keys: usize,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Counting ends here; 0 for never.
    limit: usize,
}

impl Query {
    /// Parses the number of keys; options are looked at after the keys' types.
    fn parse_keys(
        line: &Line<'_>,
        command: &str,
        operation: Operation,
        stores: bool,
    ) -> Result<Query, Fault> {
        let count_at = if stores { 2 } else { 1 };
        let count = parse_i64(line.arg(count_at)).ok_or(Fault::NotInteger)?;
        if count < 1 {
            return Err(Fault::text(format!(
                "ERR at least 1 input key is needed for '{command}' command"
            )));
        }
        let keys = usize::try_from(count)
            .ok()
            .filter(|&keys| keys < line.len() - count_at)
            .ok_or(Fault::Syntax)?;
        Ok(Query {
            operation,
            stores,
            counts: false,
            first: count_at + 1,
            keys,
            weights: Vec::new(),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        })
    }

    fn parse_options(&mut self, line: &Line<'_>) -> Done {
        let mut at = self.first + self.keys;
        while at < line.len() {
            let left = line.len() - at;
            let weighs = self.operation != Operation::Difference && !self.counts;
            if weighs && left > self.keys && line.is(at, "weights") {
                let weights = (at + 1..=at + self.keys).map(|index| {
                    parse_f64(line.arg(index)).ok_or(Fault::text("ERR weight value is not a float"))
                });
                self.weights = weights.collect::<Result<_, _>>()?;
                at += self.keys;
            } else if weighs && left >= 2 && line.is(at, "aggregate") {
                at += 1;
                self.aggregate = if line.is(at, "sum") {
                    Aggregate::Sum
                } else if line.is(at, "min") {
                    Aggregate::Min
                } else if line.is(at, "max") {
                    Aggregate::Max
                } else {
                    return Err(Fault::Syntax);
                };
            } else if !self.stores && !self.counts && line.is(at, "withscores") {
                self.with_scores = true;
            } else if self.counts && left >= 2 && line.is(at, "limit") {
                at += 1;
                self.limit = parse_i64(line.arg(at))
                    .and_then(|limit| usize::try_from(limit).ok())
                    .ok_or(Fault::text("ERR LIMIT can't be negative"))?;
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        Ok(())
    }

    fn weight(&self, index: usize) -> f64 {
        self.weights.get(index).copied().unwrap_or(1.0)
    }

    /// Looks the keys up, as reads, and checks their types.
    fn touch_keys(&self, cx: &mut Cx<'_>) -> Done {
        for index in self.first..self.first + self.keys {
            let key = cx.key(index);
            match cx.keyspace.read(cx.db, key) {
                Some(entry) => drop(Members::of(Some(entry))?),
                None => missed(cx, key),
            }
        }
        Ok(())
    }

    /// The inputs, in the line's order.
    fn sources<'a>(&self, cx: &'a Cx<'_>) -> Result<Vec<Source<'a>>, Fault> {
        (0..self.keys)
            .map(|index| {
                let entry = cx.keyspace.inspect(cx.db, cx.key(self.first + index));
                Ok(Source {
                    members: Members::of(entry)?,
                    weight: self.weight(index),
                })
            })
            .collect()
    }

    fn result(&self, mut sources: Vec<Source<'_>>, limits: &Limits) -> SortedSet {
        match self.operation {
            Operation::Difference => difference(&sources, limits),
            Operation::Union => {
                sources.sort_by_key(|source| source.members.len());
                union(&sources, self.aggregate, limits)
            }
            Operation::Intersection => {
                let mut result = SortedSet::default();
                intersect(sources, self.aggregate, |member, score| {
                    result.insert(member, score, limits);
                    true
                });
                result
            }
        }
    }
}

fn union(sources: &[Source<'_>], aggregate: Aggregate, limits: &Limits) -> SortedSet {
    let mut result = SortedSet::default();
    for source in sources {
        source.members.each(|member, score| {
            let score = not_nan(source.weight * score);
            result.update(member, limits, |old| {
                Some(old.map_or(score, |old| aggregate.of(old, score)))
            });
            true
        });
    }
    result
}

/// Emits the members that all inputs have until `emit` says no.
fn intersect(
    mut sources: Vec<Source<'_>>,
    aggregate: Aggregate,
    mut emit: impl FnMut(&[u8], f64) -> bool,
) {
    sources.sort_by_key(|source| source.members.len());
    let Some((smallest, others)) = sources.split_first() else {
        return;
    };
    smallest.members.each(|member, score| {
        let mut score = not_nan(smallest.weight * score);
        for other in others {
            match other.score(member) {
                Some(found) => score = aggregate.of(score, found),
                None => return true,
            }
        }
        emit(member, score)
    });
}

fn difference(sources: &[Source<'_>], limits: &Limits) -> SortedSet {
    let mut result = SortedSet::default();
    let Some((first, others)) = sources.split_first() else {
        return result;
    };
    let first_len = first.members.len();
    let others_len: usize = others.iter().map(|other| other.members.len()).sum();
    // Looking every member up in all the others, or removing all of theirs from a copy: what takes fewer steps, of
    // which the first kind is the cheaper.
    if first_len * others.len() / 2 <= first_len + others_len {
        let mut others: Vec<&Source<'_>> = others.iter().collect();
        others.sort_by_key(|other| std::cmp::Reverse(other.members.len()));
        first.members.each(|member, score| {
            if !others.iter().any(|other| other.score(member).is_some()) {
                result.insert(member, score, limits);
            }
            true
        });
        return result;
    }
    first.members.each(|member, score| {
        result.insert(member, score, limits);
        true
    });
    for other in others {
        other.members.each(|member, _| {
            result.remove(member);
            !result.is_empty()
        });
    }
    // The copy may have left the compact form for members that are gone.
    let mut small = SortedSet::default();
    if result.len() <= limits.members {
        let mut digits = itoa::Buffer::new();
        for (member, score) in result.iter() {
            small.insert(member.to_bytes(&mut digits), score, limits);
        }
        return small;
    }
    result
}

fn combine(cx: &mut Cx<'_>, command: &str, operation: Operation) -> Done {
    let mut query = Query::parse_keys(&cx.line, command, operation, false)?;
    query.touch_keys(cx)?;
    query.parse_options(&cx.line)?;
    // As in Redis, what is only shown never is in the compact form, where a zero loses its sign.
    let limits = Limits {
        members: 0,
        ..limits(cx)
    };
    let result = query.result(query.sources(cx)?, &limits);
    push_elements(
        &mut cx.reply,
        result.len(),
        result.iter(),
        query.with_scores,
    );
    Ok(())
}

fn combine_and_store(cx: &mut Cx<'_>, command: &'static str, operation: Operation) -> Done {
    let mut query = Query::parse_keys(&cx.line, command, operation, true)?;
    query.touch_keys(cx)?;
    query.parse_options(&cx.line)?;
    let result = query.result(query.sources(cx)?, &limits(cx));
    store(cx, cx.key(1), result, command);
    Ok(())
}

pub(super) fn zunion(cx: &mut Cx<'_>) -> Done {
    combine(cx, "zunion", Operation::Union)
}

pub(super) fn zinter(cx: &mut Cx<'_>) -> Done {
    combine(cx, "zinter", Operation::Intersection)
}

pub(super) fn zdiff(cx: &mut Cx<'_>) -> Done {
    combine(cx, "zdiff", Operation::Difference)
}

pub(super) fn zunionstore(cx: &mut Cx<'_>) -> Done {
    combine_and_store(cx, "zunionstore", Operation::Union)
}

pub(super) fn zinterstore(cx: &mut Cx<'_>) -> Done {
    combine_and_store(cx, "zinterstore", Operation::Intersection)
}

pub(super) fn zdiffstore(cx: &mut Cx<'_>) -> Done {
    combine_and_store(cx, "zdiffstore", Operation::Difference)
}

pub(super) fn zintercard(cx: &mut Cx<'_>) -> Done {
    let mut query = Query::parse_keys(&cx.line, "zintercard", Operation::Intersection, false)?;
    query.counts = true;
    query.touch_keys(cx)?;
    query.parse_options(&cx.line)?;
    let mut count = 0;
    intersect(query.sources(cx)?, Aggregate::Sum, |_, _| {
        count += 1;
        count != query.limit
    });
    cx.reply.count(count);
    Ok(())
}
