//! ZRANGE and its relatives: ranges of a sorted set, replied, stored or counted.

use std::ops::Range;

use super::super::string::missed;
use super::super::{Cx, Done, Fault};
use super::bounds::{Bounds, By, integer};
use super::{limits, push_elements, store};
use crate::resp::Line;
use crate::structures::sorted_set::SortedSet;

/// What a command's name says of the range; what it leaves open the options say.
#[derive(Clone, Copy)]
struct Form {
    by: Option<By>,
    reverse: Option<bool>,
    /// The range goes to a key, which is the line's first.
    stores: bool,
}

/// A range as a line asks for it.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    /// Below zero: all.
    count: i64,
}

impl<'a> Query<'a> {
    fn parse(line: &Line<'a>, form: Form) -> Result<Query<'a>, Fault> {
        let first = if form.stores { 3 } else { 2 };
        let (mut by, mut reverse, mut with_scores) = (form.by, form.reverse, false);
        let (mut offset, mut count) = (0, -1);
        let mut at = first + 2;
        while at < line.len() {
            if !form.stores && line.is(at, "withscores") {
                with_scores = true;
            } else if line.is(at, "limit") && at + 2 < line.len() {
                offset = integer(line, at + 1)?;
                count = integer(line, at + 2)?;
                at += 2;
            } else if reverse.is_none() && line.is(at, "rev") {
                reverse = Some(true);
            } else if by.is_none() && line.is(at, "bylex") {
                by = Some(By::Member);
            } else if by.is_none() && line.is(at, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(Fault::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(Fault::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) = if reverse && by != By::Rank {
            (first + 1, first)
        } else {
            (first, first + 1)
        };
        if by == By::Rank {
            (offset, count) = (0, -1);
        }
        Ok(Query {
            bounds: Bounds::parse(by, line, min, max)?,
            reverse,
            with_scores,
            offset,
            count,
        })
    }

    /// The ranks that are asked for.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let ranks = self.bounds.ranks(set, self.reverse);
        let len = ranks.len();
        let Some(skipped) = usize::try_from(self.offset)
            .ok()
            .filter(|&skipped| skipped < len)
        else {
            return 0..0;
        };
        let taken = usize::try_from(self.count).map_or(len, |count| count.min(len));
        let taken = taken.min(len - skipped);
        if self.reverse {
            let end = ranks.end - skipped;
            end - taken..end
        } else {
            let start = ranks.start + skipped;
            start..start + taken
        }
    }
}

pub(super) fn zrange(cx: &mut Cx<'_>) -> Done {
    reply_range(cx, None, None)
}

pub(super) fn zrevrange(cx: &mut Cx<'_>) -> Done {
    reply_range(cx, Some(By::Rank), Some(true))
}

pub(super) fn zrangebyscore(cx: &mut Cx<'_>) -> Done {
    reply_range(cx, Some(By::Score), Some(false))
}

pub(super) fn zrevrangebyscore(cx: &mut Cx<'_>) -> Done {
    reply_range(cx, Some(By::Score), Some(true))
}

pub(super) fn zrangebylex(cx: &mut Cx<'_>) -> Done {
    reply_range(cx, Some(By::Member), Some(false))
}

pub(super) fn zrevrangebylex(cx: &mut Cx<'_>) -> Done {
    reply_range(cx, Some(By::Member), Some(true))
}

fn reply_range(cx: &mut Cx<'_>, by: Option<By>, reverse: Option<bool>) -> Done {
    let form = Form {
        by,
        reverse,
        stores: false,
    };
    let query = Query::parse(&cx.line, form)?;
    let key = cx.key(1);
    let Some(set) = cx.keyspace.read_collection::<SortedSet>(cx.db, key)? else {
        missed(cx, key);
        cx.reply.empty_array();
        return Ok(());
    };
    let ranks = query.ranks(set);
    let elements = set.range(ranks.clone(), query.reverse);
    push_elements(&mut cx.reply, ranks.len(), elements, query.with_scores);
    Ok(())
}

pub(super) fn zrangestore(cx: &mut Cx<'_>) -> Done {
    let form = Form {
        by: None,
        reverse: None,
        stores: true,
    };
    let query = Query::parse(&cx.line, form)?;
    let (limits, source) = (limits(cx), cx.key(2));
    let stored = match cx.keyspace.read_collection::<SortedSet>(cx.db, source)? {
        Some(set) => {
            let ranks = query.ranks(set);
            let mut stored = SortedSet::for_members(ranks.len(), 0, &limits);
            let mut digits = itoa::Buffer::new();
            for (member, score) in set.range(ranks, false) {
                stored.insert(member.to_bytes(&mut digits), score, &limits);
            }
            stored
        }
        None => {
            missed(cx, source);
            SortedSet::default()
        }
    };
    store(cx, cx.key(1), stored, "zrangestore");
    Ok(())
}

pub(super) fn zcount(cx: &mut Cx<'_>) -> Done {
    count(cx, By::Score)
}

pub(super) fn zlexcount(cx: &mut Cx<'_>) -> Done {
    count(cx, By::Member)
}

fn count(cx: &mut Cx<'_>, by: By) -> Done {
    let bounds = Bounds::parse(by, &cx.line, 2, 3)?;
    let key = cx.key(1);
    let count = match cx.keyspace.read_collection::<SortedSet>(cx.db, key)? {
        Some(set) => bounds.ranks(set, false).len(),
        None => {
            missed(cx, key);
            0
        }
    };
    cx.reply.count(count);
    Ok(())
}
