//! Single members: scores, ranks, random ones; and walks over all of them.

use std::collections::HashSet;

use super::super::scan::{Found, ScanOptions, Scanned, value_cursor};
use super::super::string::missed;
use super::super::{Cx, Done, Fault};
use super::bounds::integer;
use super::{push_elements, push_member};
use crate::base::number::{format_f64, format_f64_17};
use crate::base::random::Random;
use crate::structures::sorted_set::SortedSet;

pub(super) fn zcard(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let count = match cx.keyspace.read_collection::<SortedSet>(cx.db, key)? {
        Some(set) => set.len(),
        None => {
            missed(cx, key);
            0
        }
    };
    cx.reply.count(count);
    Ok(())
}

pub(super) fn zscore(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read_collection::<SortedSet>(cx.db, key)? {
        Some(set) => match set.score(cx.line.arg(2)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        },
        None => {
            missed(cx, key);
            cx.reply.null();
        }
    }
    Ok(())
}

pub(super) fn zmscore(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let found = cx.keyspace.read_collection::<SortedSet>(cx.db, key)?;
    let missing = found.is_none();
    cx.reply.array(cx.line.len() - 2);
    for index in 2..cx.line.len() {
        match found.and_then(|set| set.score(cx.line.arg(index))) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    if missing {
        missed(cx, key);
    }
    Ok(())
}

pub(super) fn zrank(cx: &mut Cx<'_>) -> Done {
    rank(cx, "zrank", false)
}

pub(super) fn zrevrank(cx: &mut Cx<'_>) -> Done {
    rank(cx, "zrevrank", true)
}

fn rank(cx: &mut Cx<'_>, command: &str, reverse: bool) -> Done {
    let with_score = match cx.line.len() {
        3 => false,
        4 if cx.line.is(3, "withscore") => true,
        4 => return Err(Fault::Syntax),
        _ => {
            return Err(Fault::text(format!(
                "ERR wrong number of arguments for '{command}' command"
            )));
        }
    };
    let key = cx.key(1);
    let found = match cx.keyspace.read_collection::<SortedSet>(cx.db, key)? {
        Some(set) => set.rank(cx.line.arg(2)).map(|(rank, score)| {
            let rank = if reverse { set.len() - 1 - rank } else { rank };
            (rank, score)
        }),
        None => {
            missed(cx, key);
            None
        }
    };
    match found {
        Some((rank, score)) if with_score => {
            cx.reply.array(2);
            cx.reply.count(rank);
            cx.reply.double(score);
        }
        Some((rank, _)) => cx.reply.count(rank),
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
    }
    Ok(())
}

/// The most elements that a reply repeats members to: more is no use to anybody, and the memory would not be there.
const REPEATED_MEMBERS_MAX: u64 = i32::MAX as u64;

/// ZRANDMEMBER's count: below zero, members may come several times.
fn parse_count(cx: &Cx<'_>) -> Result<(i64, bool), Fault> {
    let count = integer(&cx.line, 2)?;
    if count == i64::MIN {
        return Err(Fault::text(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_scores = match cx.line.len() {
        3 => false,
        4 if cx.line.is(3, "withscores") => true,
        _ => return Err(Fault::Syntax),
    };
    let out_of_range = with_scores && count.unsigned_abs() > i64::MAX as u64 / 2
        || count < 0 && count.unsigned_abs() > REPEATED_MEMBERS_MAX;
    if out_of_range {
        return Err(Fault::text("ERR value is out of range"));
    }
    Ok((count, with_scores))
}

pub(super) fn zrandmember(cx: &mut Cx<'_>) -> Done {
    let count = if cx.line.len() > 2 {
        Some(parse_count(cx)?)
    } else {
        None
    };
    let key = cx.key(1);
    let Some(set) = cx.keyspace.read_collection::<SortedSet>(cx.db, key)? else {
        missed(cx, key);
        match count {
            Some(_) => cx.reply.empty_array(),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let len = set.len();
    let Some((count, with_scores)) = count else {
        if let Some((member, _)) = set.get(cx.random.index(len)) {
            push_member(&mut cx.reply, member);
        }
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let random = &mut *cx.random;
    if count < 0 {
        let members = (0..wanted).filter_map(|_| set.get(random.index(len)));
        push_elements(&mut cx.reply, wanted, members, with_scores);
    } else if wanted >= len {
        push_elements(&mut cx.reply, len, set.iter(), with_scores);
    } else if wanted > len / 8 {
        // Each member is taken with the chance that the members wanted are among those left.
        let (mut wanted_still, mut left) = (wanted, len);
        let members = set.iter().filter(|_| {
            let taken = random.index(left) < wanted_still;
            wanted_still -= usize::from(taken);
            left -= 1;
            taken
        });
        push_elements(&mut cx.reply, wanted, members, with_scores);
    } else {
        let ranks = distinct_ranks(random, len, wanted);
        let members = ranks.into_iter().filter_map(|rank| set.get(rank));
        push_elements(&mut cx.reply, wanted, members, with_scores);
    }
    Ok(())
}

/// `wanted` different ranks, few of all.
fn distinct_ranks(random: &mut Random, len: usize, wanted: usize) -> Vec<usize> {
    let mut seen = HashSet::with_capacity(wanted);
    let mut ranks = Vec::with_capacity(wanted);
    while ranks.len() < wanted {
        let rank = random.index(len);
        if seen.insert(rank) {
            ranks.push(rank);
        }
    }
    ranks
}

pub(super) fn zscan(cx: &mut Cx<'_>) -> Done {
    let cursor = value_cursor(cx.line.arg(2))?;
    let (key, line) = (cx.key(1), cx.line);
    let (mut found, mut next) = (Found::default(), 0);
    match cx.keyspace.read_collection::<SortedSet>(cx.db, key)? {
        // As in Redis, wrong options are no error for a key that does not exist.
        None => missed(cx, key),
        Some(set) => {
            let options = ScanOptions::parse(&line, 3, Scanned::Members)?;
            // Redis shows the scores of a large set with all digits.
            let format = if set.as_listpack().is_some() {
                format_f64
            } else {
                format_f64_17
            };
            let (mut digits, mut text) = (itoa::Buffer::new(), Vec::new());
            next = set.scan(cursor, options.count, &mut |member, score| {
                let member = member.to_bytes(&mut digits);
                if options.matches(member) {
                    text.clear();
                    format(&mut text, score);
                    found.push(member);
                    found.push(&text);
                }
            });
        }
    }
    found.reply(&mut cx.reply, next);
    Ok(())
}
