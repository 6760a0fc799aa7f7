//! Commands that wait for elements of lists: what they take, and what they wait for, is in one place each.
//!
//! How they wait is none of their business: see [`Block`].

use super::super::timeout::parse_seconds;
use super::super::{Block, Cx, Done};
use super::parse_end;
use super::take::{PopMany, pop, transfer};
use crate::keyspace::Type;
use crate::structures::list::End;

pub(super) fn blpop(cx: &mut Cx<'_>) -> Done {
    pop_or_wait(cx, End::Front)
}

pub(super) fn brpop(cx: &mut Cx<'_>) -> Done {
    pop_or_wait(cx, End::Back)
}

fn pop_or_wait(cx: &mut Cx<'_>, end: End) -> Done {
    let last = cx.line.len() - 1;
    let timeout_ms = parse_seconds(cx.line.arg(last), cx.now_ms)?;
    for index in 1..last {
        let key = cx.key(index);
        if !cx.looks_at(key.bytes) {
            continue;
        }
        let found = pop(cx, key, end, 1, |reply, _| {
            reply.array(2);
            reply.bulk(key.bytes);
        })?;
        if found {
            let name: &[u8] = match end {
                End::Front => b"LPOP",
                End::Back => b"RPOP",
            };
            cx.log(&[name, key.bytes]);
            return Ok(());
        }
    }
    wait(cx, timeout_ms, 1..last);
    Ok(())
}

pub(super) fn blmpop(cx: &mut Cx<'_>) -> Done {
    // Redis looks at the timeout last.
    let pops = PopMany::parse(&cx.line, 2)?;
    let timeout_ms = parse_seconds(cx.line.arg(1), cx.now_ms)?;
    if !pops.run(cx)? {
        wait(cx, timeout_ms, pops.first..pops.first + pops.keys);
    }
    Ok(())
}

pub(super) fn blmove(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let (from, to) = (parse_end(&line, 3)?, parse_end(&line, 4)?);
    move_or_wait(cx, from, to, 5, |cx| {
        cx.log(&[b"LMOVE", line.arg(1), line.arg(2), line.arg(3), line.arg(4)]);
    })
}

pub(super) fn brpoplpush(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    move_or_wait(cx, End::Back, End::Front, 3, |cx| {
        cx.log(&[b"RPOPLPUSH", line.arg(1), line.arg(2)]);
    })
}

/// Moves an element, or waits for one of the source as long as the argument at `timeout_at` says.
fn move_or_wait(
    cx: &mut Cx<'_>,
    from: End,
    to: End,
    timeout_at: usize,
    log: impl FnOnce(&mut Cx<'_>),
) -> Done {
    let timeout_ms = parse_seconds(cx.line.arg(timeout_at), cx.now_ms)?;
    if transfer(cx, cx.key(1), cx.key(2), from, to)? {
        log(cx);
    } else if cx.may_block {
        wait(cx, timeout_ms, 1..2);
    } else {
        cx.reply.null();
    }
    Ok(())
}

fn wait(cx: &mut Cx<'_>, timeout_ms: u64, keys: std::ops::Range<usize>) {
    cx.block(Block {
        timeout_ms,
        keys,
        kind: Type::List,
        ready: None,
        replace: Vec::new(),
    });
}
