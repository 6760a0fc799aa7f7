//! Commands that wait for members of sorted sets: what they take, and what they wait for.
//!
//! How they wait is none of their business: see [`Block`].

use std::ops::Range;

use super::super::timeout::parse_seconds;
use super::super::{Block, Cx, Done};
use super::remove::{End, MultiPop, Shape, pop};
use crate::keyspace::Type;
use crate::structures::sorted_set::SortedSet;

pub(super) fn bzpopmin(cx: &mut Cx<'_>) -> Done {
    pop_or_wait(cx, End::Min)
}

pub(super) fn bzpopmax(cx: &mut Cx<'_>) -> Done {
    pop_or_wait(cx, End::Max)
}

fn pop_or_wait(cx: &mut Cx<'_>, end: End) -> Done {
    let last = cx.line.len() - 1;
    let timeout_ms = parse_seconds(cx.line.arg(last), cx.now_ms)?;
    for index in 1..last {
        let key = cx.key(index);
        if !cx.looks_at(key.bytes) {
            continue;
        }
        let Some(entry) = cx.keyspace.write(cx.db, key) else {
            continue;
        };
        entry.collection::<SortedSet>()?;
        cx.reply.array(3);
        cx.reply.bulk(key.bytes);
        pop(cx, key, end, 1, Shape::Bare)?;
        let command = end.command().to_ascii_uppercase();
        cx.log(&[command.as_bytes(), key.bytes]);
        return Ok(());
    }
    wait(cx, timeout_ms, 1..last);
    Ok(())
}

pub(super) fn bzmpop(cx: &mut Cx<'_>) -> Done {
    // Redis looks at the timeout last.
    let pop = MultiPop::parse(&cx.line, 2)?;
    let timeout_ms = parse_seconds(cx.line.arg(1), cx.now_ms)?;
    if !pop.run(cx, 3)? {
        wait(cx, timeout_ms, 3..3 + pop.keys);
    }
    Ok(())
}

fn wait(cx: &mut Cx<'_>, timeout_ms: u64, keys: Range<usize>) {
    cx.block(Block {
        timeout_ms,
        keys,
        kind: Type::SortedSet,
        ready: None,
        replace: Vec::new(),
    });
}
