//! Members that go: by name, within a range, or popped from either end.

use super::super::{Cx, Done, Fault, class};
use super::bounds::{Bounds, By};
use super::{push_member, wrote_members};
use crate::base::number::parse_i64;
use crate::keyspace::Key;
use crate::resp::Line;
use crate::structures::sorted_set::SortedSet;

pub(super) fn zrem(cx: &mut Cx<'_>) -> Done {
    let (key, line) = (cx.key(1), cx.line);
    let edited = cx.keyspace.edit(cx.db, key, |set: &mut SortedSet| {
        let members = (2..line.len()).map(|index| line.arg(index));
        let removed = members.filter(|member| set.remove(member).is_some());
        (removed.count(), set.is_empty())
    })?;
    let (removed, emptied) = edited.unwrap_or_default();
    if removed > 0 {
        removed_members(cx, key, "zrem", removed, emptied);
    }
    cx.reply.count(removed);
    Ok(())
}

/// Tells of removed members, and of the key's end when none is left.
fn removed_members(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    event: &'static str,
    count: usize,
    emptied: bool,
) {
    wrote_members(cx, key, event, count);
    if emptied {
        cx.notify(cx.db, key.bytes, "del", class::GENERIC);
    }
}

pub(super) fn zremrangebyrank(cx: &mut Cx<'_>) -> Done {
    remove_range(cx, By::Rank, "zremrangebyrank")
}

pub(super) fn zremrangebyscore(cx: &mut Cx<'_>) -> Done {
    remove_range(cx, By::Score, "zremrangebyscore")
}

pub(super) fn zremrangebylex(cx: &mut Cx<'_>) -> Done {
    remove_range(cx, By::Member, "zremrangebylex")
}

fn remove_range(cx: &mut Cx<'_>, by: By, event: &'static str) -> Done {
    let bounds = Bounds::parse(by, &cx.line, 2, 3)?;
    let key = cx.key(1);
    let found = match cx.keyspace.write(cx.db, key) {
        Some(entry) => {
            let set: &SortedSet = entry.collection()?;
            Some((bounds.ranks(set, false), set.len()))
        }
        None => None,
    };
    let Some((ranks, len)) = found.filter(|(ranks, _)| !ranks.is_empty()) else {
        cx.reply.int(0);
        return Ok(());
    };
    let (count, emptied) = (ranks.len(), ranks.len() == len);
    if emptied {
        // A large set is freed a little at a time.
        cx.keyspace.remove(cx.db, key);
    } else {
        cx.keyspace
            .edit(cx.db, key, |set: &mut SortedSet| set.remove_range(ranks))?;
    }
    removed_members(cx, key, event, count, emptied);
    cx.reply.count(count);
    Ok(())
}

/// The end of a sorted set that members are popped from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum End {
    /// The lowest scores.
    Min,
    /// The highest scores.
    Max,
}

impl End {
    /// The word that names the end.
    pub(in super::super) fn parse(line: &Line<'_>, index: usize) -> Result<End, Fault> {
        if line.is(index, "min") {
            Ok(End::Min)
        } else if line.is(index, "max") {
            Ok(End::Max)
        } else {
            Err(Fault::Syntax)
        }
    }

    /// The command that pops there, which is the event's name too.
    pub(super) fn command(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }
}

/// How popped members are replied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Shape {
    /// Members and scores in one array.
    Flat,
    /// An array of pairs.
    Pairs,
    /// Members and scores, in an array that the caller has begun.
    Bare,
}

/// Pops up to `count` (at least one) members, replies with them, and tells of it; returns how many. 0 without such a key: then
/// nothing is replied.
pub(in super::super) fn pop(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
    shape: Shape,
) -> Result<usize, Fault> {
    let reply = &mut cx.reply;
    let popped = cx.keyspace.edit(cx.db, key, |set: &mut SortedSet| {
        let len = set.len();
        let count = count.min(len);
        let ranks = match end {
            End::Min => 0..count,
            End::Max => len - count..len,
        };
        match shape {
            Shape::Flat => reply.array(count * 2),
            Shape::Pairs => reply.array(count),
            Shape::Bare => {}
        }
        for (member, score) in set.range(ranks.clone(), end == End::Max) {
            if shape == Shape::Pairs {
                reply.array(2);
            }
            push_member(reply, member);
            reply.double(score);
        }
        set.remove_range(ranks);
        (count, count == len)
    })?;
    let Some((count, emptied)) = popped else {
        return Ok(0);
    };
    removed_members(cx, key, end.command(), count, emptied);
    Ok(count)
}

pub(super) fn zpopmin(cx: &mut Cx<'_>) -> Done {
    pop_from_key(cx, End::Min)
}

pub(super) fn zpopmax(cx: &mut Cx<'_>) -> Done {
    pop_from_key(cx, End::Max)
}

fn pop_from_key(cx: &mut Cx<'_>, end: End) -> Done {
    let (count, shape) = match cx.line.len() {
        2 => (1, Shape::Flat),
        3 => {
            let count = parse_i64(cx.line.arg(2)).and_then(|count| usize::try_from(count).ok());
            let count = count.ok_or(Fault::text("ERR value is out of range, must be positive"))?;
            let pairs = cx.reply.is_resp3();
            (count, if pairs { Shape::Pairs } else { Shape::Flat })
        }
        _ => return Err(Fault::Syntax),
    };
    let key = cx.key(1);
    let popped = if count > 0 {
        pop(cx, key, end, count, shape)?
    } else {
        if let Some(entry) = cx.keyspace.write(cx.db, key) {
            entry.collection::<SortedSet>()?;
        }
        0
    };
    if popped == 0 {
        cx.reply.empty_array();
    }
    Ok(())
}

/// What a ZMPOP asks for beside its keys.
pub(in super::super) struct MultiPop {
    /// The number of keys.
    pub keys: usize,
    /// The end.
    pub end: End,
    /// The most members.
    pub count: usize,
}

impl MultiPop {
    /// Parses the line from the number of keys on, which stands at `at`.
    pub(in super::super) fn parse(line: &Line<'_>, at: usize) -> Result<MultiPop, Fault> {
        let positive = |index: usize, text: &'static str| {
            parse_i64(line.arg(index))
                .and_then(|number| usize::try_from(number).ok())
                .filter(|&number| number > 0)
                .ok_or(Fault::text(text))
        };
        let keys = positive(at, "ERR numkeys should be greater than 0")?;
        let end_at = keys
            .checked_add(at + 1)
            .filter(|&end_at| end_at < line.len())
            .ok_or(Fault::Syntax)?;
        let end = End::parse(line, end_at)?;
        let count = match line.len() - end_at {
            1 => 1,
            3 if line.is(end_at + 1, "count") => {
                positive(end_at + 2, "ERR count should be greater than 0")?
            }
            len if len > 3 && line.is(end_at + 1, "count") => {
                positive(end_at + 2, "ERR count should be greater than 0")?;
                return Err(Fault::Syntax);
            }
            _ => return Err(Fault::Syntax),
        };
        Ok(MultiPop { keys, end, count })
    }

    /// Pops from the first of the keys at `first` on that holds a sorted set, and replies with it; false, and no reply, when
    /// none does.
    pub(in super::super) fn run(&self, cx: &mut Cx<'_>, first: usize) -> Result<bool, Fault> {
        for index in first..first + self.keys {
            let key = cx.key(index);
            if !cx.looks_at(key.bytes) {
                continue;
            }
            let Some(entry) = cx.keyspace.write(cx.db, key) else {
                continue;
            };
            entry.collection::<SortedSet>()?;
            cx.reply.array(2);
            cx.reply.bulk(key.bytes);
            let popped = pop(cx, key, self.end, self.count, Shape::Pairs)?;
            let popped = itoa::Buffer::new().format(popped).to_owned();
            let command = self.end.command().to_ascii_uppercase();
            cx.log(&[command.as_bytes(), key.bytes, popped.as_bytes()]);
            return Ok(true);
        }
        Ok(false)
    }
}

pub(super) fn zmpop(cx: &mut Cx<'_>) -> Done {
    let pop = MultiPop::parse(&cx.line, 1)?;
    if !pop.run(cx, 2)? {
        cx.reply.null_array();
    }
    Ok(())
}
