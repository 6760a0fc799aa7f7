//! ZADD and ZINCRBY.

use super::super::{Cx, Done, Fault, class};
use super::{limits, wrote_members};
use crate::base::number::parse_f64;
use crate::resp::Line;
use crate::structures::sorted_set::{Limits, SortedSet};

/// Which members ZADD may touch, and how.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Options {
    /// Only new members.
    pub(in super::super) only_new: bool,
    /// Only members that are there.
    pub(in super::super) only_existing: bool,
    /// Existing members only get higher scores.
    pub(in super::super) only_greater: bool,
    /// Existing members only get lower scores.
    pub(in super::super) only_less: bool,
    /// The reply counts members with another score too.
    pub(in super::super) count_changed: bool,
    /// The score is added to the one that is there.
    pub(in super::super) increment: bool,
}

impl Options {
    /// Parses the words in front of the first score; returns that score's index as well.
    fn parse(line: &Line<'_>) -> Result<(Options, usize), Fault> {
        let mut options = Options::default();
        let mut at = 2;
        while at < line.len() {
            let option = if line.is(at, "nx") {
                &mut options.only_new
            } else if line.is(at, "xx") {
                &mut options.only_existing
            } else if line.is(at, "ch") {
                &mut options.count_changed
            } else if line.is(at, "incr") {
                &mut options.increment
            } else if line.is(at, "gt") {
                &mut options.only_greater
            } else if line.is(at, "lt") {
                &mut options.only_less
            } else {
                break;
            };
            *option = true;
            at += 1;
        }
        let left = line.len() - at;
        if left == 0 || !left.is_multiple_of(2) {
            return Err(Fault::Syntax);
        }
        options.check(left / 2)?;
        Ok((options, at))
    }

    /// The options fit together, and to the number of members.
    fn check(&self, members: usize) -> Done {
        if self.only_new && self.only_existing {
            return Err(Fault::text(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        let comparisons = [self.only_greater, self.only_less, self.only_new];
        if comparisons.into_iter().filter(|&option| option).count() > 1 {
            return Err(Fault::text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.increment && members > 1 {
            return Err(Fault::text(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    /// The score that a member gets, given the one that it has: `None` when it stays as it is.
    fn new_score(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, Fault> {
        let Some(old) = old else {
            return Ok((!self.only_existing).then_some(given));
        };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment { old + given } else { given };
        if score.is_nan() {
            return Err(Fault::text("ERR resulting score is not a number (NaN)"));
        }
        let refused = self.only_less && score >= old || self.only_greater && score <= old;
        Ok((!refused).then_some(score))
    }
}

/// Members of a line with their scores. Most lines have one, which needs no allocation.
pub(in super::super) struct Addition {
    first: f64,
    more: Vec<f64>,
    /// The first member's index.
    at: usize,
    /// Arguments from member to member.
    step: usize,
}

impl Addition {
    /// The members from the argument `at` on, every `step`th, each with what `score` makes of its index.
    pub(in super::super) fn parse(
        line: &Line<'_>,
        at: usize,
        step: usize,
        score: impl Fn(usize) -> Result<f64, Fault>,
    ) -> Result<Addition, Fault> {
        Ok(Addition {
            first: score(at)?,
            more: (at + step..line.len())
                .step_by(step)
                .map(score)
                .collect::<Result<_, _>>()?,
            at,
            step,
        })
    }

    /// The number of members.
    pub(in super::super) fn len(&self) -> usize {
        1 + self.more.len()
    }

    /// The members' indexes and their scores.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        let scores = std::iter::once(self.first).chain(self.more.iter().copied());
        (self.at..).step_by(self.step).zip(scores)
    }
}

/// What became of a line's members.
#[derive(Default)]
struct Outcome {
    added: usize,
    updated: usize,
    /// The score of the last member that the options let through.
    score: Option<f64>,
    fault: Option<Fault>,
}

/// Adds the line's members.
fn add(
    set: &mut SortedSet,
    line: &Line<'_>,
    addition: &Addition,
    options: &Options,
    limits: &Limits,
) -> Outcome {
    if set.is_empty() {
        let first = line.arg(addition.at);
        *set = SortedSet::for_members(addition.len(), first.len(), limits);
    } else {
        set.expect_members(addition.len(), limits);
    }
    let mut outcome = Outcome::default();
    for (index, given) in addition.iter() {
        set.update(line.arg(index), limits, |old| {
            let score = match options.new_score(old, given) {
                Ok(score) => score?,
                Err(fault) => {
                    outcome.fault = Some(fault);
                    return None;
                }
            };
            outcome.score = Some(score);
            match old {
                None => outcome.added += 1,
                Some(old) if old != score => outcome.updated += 1,
                Some(_) => {}
            }
            Some(score)
        });
    }
    outcome
}

pub(super) fn zadd(cx: &mut Cx<'_>) -> Done {
    let (options, at) = Options::parse(&cx.line)?;
    let addition = Addition::parse(&cx.line, at + 1, 2, score_before(cx.line))?;
    add_members(cx, &options, &addition)
}

pub(super) fn zincrby(cx: &mut Cx<'_>) -> Done {
    let options = Options {
        increment: true,
        ..Options::default()
    };
    let addition = Addition::parse(&cx.line, 3, 2, score_before(cx.line))?;
    add_members(cx, &options, &addition)
}

/// The score of a member is the argument before it.
fn score_before(line: Line<'_>) -> impl Fn(usize) -> Result<f64, Fault> {
    move |index| parse_f64(line.arg(index - 1)).ok_or(Fault::NotFloat)
}

/// Adds members to the key's set, and replies with what the options ask for.
pub(in super::super) fn add_members(
    cx: &mut Cx<'_>,
    options: &Options,
    addition: &Addition,
) -> Done {
    let (limits, line, key) = (limits(cx), cx.line, cx.key(1));
    let add = |set: &mut SortedSet| add(set, &line, addition, options, &limits);
    let (outcome, existed) = if options.only_existing {
        let outcome = cx.keyspace.edit(cx.db, key, add)?;
        (outcome.unwrap_or_default(), true)
    } else {
        cx.keyspace.edit_or_new(cx.db, key, add)?
    };
    if let Some(fault) = outcome.fault {
        return Err(fault);
    }
    let changed = outcome.added + outcome.updated;
    if changed > 0 {
        if !existed {
            cx.notify(cx.db, key.bytes, "new", class::NEW);
        }
        let event = if options.increment { "zincr" } else { "zadd" };
        wrote_members(cx, key, event, changed);
    }
    match outcome.score {
        _ if options.count_changed && !options.increment => cx.reply.count(changed),
        _ if !options.increment => cx.reply.count(outcome.added),
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}
