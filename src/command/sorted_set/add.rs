//! ZADD and ZINCRBY.

use super::super::{Cx, Done, Fault, class};
use super::{limits, wrote_members};
use crate::base::number::parse_f64;
use crate::keyspace::Key;
use crate::resp::Line;
use crate::structures::sorted_set::{Limits, SortedSet};

/// Which members ZADD may touch, and how.
#[derive(Clone, Copy, Default)]
struct Options {
    /// Only new members.
    only_new: bool,
    /// Only members that are there.
    only_existing: bool,
    /// Existing members only get higher scores.
    only_greater: bool,
    /// Existing members only get lower scores.
    only_less: bool,
    /// The reply counts members with another score too.
    count_changed: bool,
    /// The score is added to the one that is there.
    increment: bool,
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

/// The scores of a line. Most have one, which needs no allocation.
struct Scores {
    first: f64,
    more: Vec<f64>,
}

impl Scores {
    fn parse(line: &Line<'_>, at: usize) -> Result<Scores, Fault> {
        let score = |index: usize| parse_f64(line.arg(index)).ok_or(Fault::NotFloat);
        Ok(Scores {
            first: score(at)?,
            more: (at + 2..line.len())
                .step_by(2)
                .map(score)
                .collect::<Result<_, _>>()?,
        })
    }

    fn iter(&self) -> impl Iterator<Item = f64> {
        std::iter::once(self.first).chain(self.more.iter().copied())
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

/// Adds the line's members, which begin behind the scores at `at`.
fn add(
    set: &mut SortedSet,
    line: &Line<'_>,
    at: usize,
    scores: &Scores,
    options: &Options,
    limits: &Limits,
) -> Outcome {
    let members = (line.len() - at) / 2;
    if set.is_empty() {
        *set = SortedSet::for_members(members, line.arg(at + 1).len(), limits);
    } else {
        set.expect_members(members, limits);
    }
    let mut outcome = Outcome::default();
    for (index, given) in scores.iter().enumerate() {
        let member = line.arg(at + 1 + index * 2);
        set.update(member, limits, |old| {
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
    add_members(cx, options, at)
}

pub(super) fn zincrby(cx: &mut Cx<'_>) -> Done {
    let options = Options {
        increment: true,
        ..Options::default()
    };
    add_members(cx, options, 2)
}

fn add_members(cx: &mut Cx<'_>, options: Options, at: usize) -> Done {
    let scores = Scores::parse(&cx.line, at)?;
    let event = if options.increment { "zincr" } else { "zadd" };
    let outcome = add_to_key(
        cx,
        cx.key(1),
        event,
        options.only_existing,
        |set, line, limits| add(set, line, at, &scores, &options, limits),
    )?;
    match outcome.score {
        _ if !options.increment => {
            let changed = if options.count_changed {
                outcome.updated
            } else {
                0
            };
            cx.reply.count(outcome.added + changed);
        }
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

/// Runs `add` on the key's set, a new one unless `only_existing`, and tells what it did.
fn add_to_key(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    event: &'static str,
    only_existing: bool,
    add: impl FnOnce(&mut SortedSet, &Line<'_>, &Limits) -> Outcome,
) -> Result<Outcome, Fault> {
    let (limits, line) = (limits(cx), cx.line);
    let add = |set: &mut SortedSet| add(set, &line, &limits);
    let (outcome, existed) = if only_existing {
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
        wrote_members(cx, key, event, changed);
    }
    Ok(outcome)
}
