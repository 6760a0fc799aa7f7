//! Several sets: SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD.

use std::ops::Range;

use super::super::list::push_element;
use super::super::string::missed;
use super::limits;
use crate::base::number::parse_i64;
use crate::command::{Cx, Done, Fault, class};
use crate::keyspace::{Key, Keyspace};
use crate::structures::listpack::Element;
use crate::structures::set::{Limits, Set, algebra};

/// Looks at the keys in `range` as reads do: each must be a set or missing. Says whether one is missing.
fn look<'a>(cx: &mut Cx<'a>, range: Range<usize>) -> Result<(Vec<Key<'a>>, bool), Fault> {
    let mut keys = Vec::with_capacity(range.len());
    let mut some_missing = false;
    for index in range {
        let key = cx.key(index);
        if cx.keyspace.read_collection::<Set>(cx.db, key)?.is_none() {
            missed(cx, key);
            some_missing = true;
        }
        keys.push(key);
    }
    Ok((keys, some_missing))
}

/// The sets of keys that [`look`] has seen, without the missing ones.
fn sets<'k>(keyspace: &'k Keyspace, db: usize, keys: &[Key<'_>]) -> Vec<&'k Set> {
    let set = |key: &Key<'_>| keyspace.inspect(db, *key)?.collection::<Set>().ok();
    keys.iter().filter_map(set).collect()
}

/// What is made of several sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

impl Operation {
    /// Emits the members of the result for the sets of `keys`.
    fn run<'k>(
        self,
        keyspace: &'k Keyspace,
        db: usize,
        keys: &[Key<'_>],
        emit: impl FnMut(Element<'k>),
    ) {
        let mut all = sets(keyspace, db, keys);
        match self {
            Operation::Intersection => {
                algebra::intersection(&mut all, usize::MAX, emit);
            }
            Operation::Union => algebra::union(&all, emit),
            Operation::Difference => {
                // Without the first nothing is left; without another nothing is taken away.
                if let Some(first) = sets(keyspace, db, &keys[..1]).first() {
                    algebra::difference(first, &mut all[1..], emit);
                }
            }
        }
    }

    /// The event that tells of a result that was stored.
    fn event(self) -> &'static str {
        match self {
            Operation::Intersection => "sinterstore",
            Operation::Union => "sunionstore",
            Operation::Difference => "sdiffstore",
        }
    }

    /// The result as a set of its own.
    fn collect(self, keyspace: &Keyspace, db: usize, keys: &[Key<'_>], limits: Limits) -> Set {
        let mut result = Set::default();
        if self == Operation::Intersection {
            let all = sets(keyspace, db, keys);
            let smallest = all.iter().min_by_key(|set| set.len());
            if smallest.is_some_and(|set| set.as_ints().is_none()) {
                result = Set::new_pack();
            }
        }
        self.run(keyspace, db, keys, |member| {
            result.insert_element(member, limits);
        });
        if self == Operation::Intersection {
            result.become_ints(limits);
        }
        result
    }
}

fn reply_with(cx: &mut Cx<'_>, operation: Operation) -> Done {
    let (keys, some_missing) = look(cx, 1..cx.line.len())?;
    if some_missing && operation == Operation::Intersection {
        cx.reply.set(0);
        return Ok(());
    }
    let begin = cx.reply.begin_set();
    let mut len = 0;
    let reply = &mut cx.reply;
    operation.run(cx.keyspace, cx.db, &keys, |member| {
        push_element(reply, member);
        len += 1;
    });
    cx.reply.end_set(begin, len);
    Ok(())
}

fn store(cx: &mut Cx<'_>, operation: Operation) -> Done {
    let (keys, some_missing) = look(cx, 2..cx.line.len())?;
    let result = if some_missing && operation == Operation::Intersection {
        Set::default()
    } else {
        operation.collect(cx.keyspace, cx.db, &keys, limits(cx.config))
    };
    let destination = cx.key(1);
    let len = result.len();
    let existed = cx.keyspace.set_collection(cx.db, destination, result, None);
    if len > 0 {
        if !existed {
            cx.notify(cx.db, destination.bytes, "new", class::NEW);
        }
        cx.wrote(destination.bytes, operation.event(), class::SET);
    } else if existed {
        cx.wrote(destination.bytes, "del", class::GENERIC);
    }
    cx.reply.count(len);
    Ok(())
}

pub(super) fn sinter(cx: &mut Cx<'_>) -> Done {
    reply_with(cx, Operation::Intersection)
}

pub(super) fn sunion(cx: &mut Cx<'_>) -> Done {
    reply_with(cx, Operation::Union)
}

pub(super) fn sdiff(cx: &mut Cx<'_>) -> Done {
    reply_with(cx, Operation::Difference)
}

pub(super) fn sinterstore(cx: &mut Cx<'_>) -> Done {
    store(cx, Operation::Intersection)
}

pub(super) fn sunionstore(cx: &mut Cx<'_>) -> Done {
    store(cx, Operation::Union)
}

pub(super) fn sdiffstore(cx: &mut Cx<'_>) -> Done {
    store(cx, Operation::Difference)
}

pub(super) fn sintercard(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let numkeys = parse_i64(line.arg(1))
        .and_then(|number| usize::try_from(number).ok())
        .filter(|&number| number > 0)
        .ok_or(Fault::text("ERR numkeys should be greater than 0"))?;
    if numkeys > line.len() - 2 {
        return Err(Fault::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let mut limit = usize::MAX;
    let mut at = 2 + numkeys;
    while at < line.len() {
        if !line.is(at, "limit") || at + 1 == line.len() {
            return Err(Fault::Syntax);
        }
        limit = parse_i64(line.arg(at + 1))
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(Fault::text("ERR LIMIT can't be negative"))?;
        at += 2;
    }
    // No limit is what 0 means.
    let limit = if limit == 0 { usize::MAX } else { limit };
    let (keys, some_missing) = look(cx, 2..2 + numkeys)?;
    let count = if some_missing {
        0
    } else {
        algebra::intersection(&mut sets(cx.keyspace, cx.db, &keys), limit, |_| {})
    };
    cx.reply.count(count);
    Ok(())
}
