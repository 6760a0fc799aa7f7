//! List commands: the table, and the commands that add and look.
//!
//! | file | what |
//! |---|---|
//! | `list` | rows; LPUSH and its relatives, LLEN, LINDEX, LRANGE |
//! | `list/take` | what takes elements from the ends: LPOP, RPOP, LMPOP, LMOVE, RPOPLPUSH |
//! | `list/change` | what changes the inside: LSET, LINSERT, LREM, LTRIM |
//! | `list/position` | LPOS |
//! | `list/blocking` | what waits for elements: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH |
//!
//! What takes elements is written so that commands that wait for them can share it: [`take::pop`], [`take::transfer`].

mod blocking;
mod change;
mod position;
pub(super) mod take;

use super::digest::{self, Digest};
use super::string::missed;
use super::{
    Command, Cx, Done, Fault, Group, KeySpec, Run, Spread, category, class, flag, key_flag,
};
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::keyspace::Key;
use crate::resp::{Line, Reply};
use crate::structures::list::{End, List, NodeLimit};
use crate::structures::listpack::Element;

const READ: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const LOOK: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const INSERT: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const DELETE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)];
const TAKE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];
const TAKE_AND_INSERT: &[KeySpec] = &[TAKE[0], KeySpec::one(2, key_flag::RW | key_flag::INSERT)];
const TAKE_COUNTED: &[KeySpec] = &[KeySpec::counted(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];

const POP: &[KeySpec] = &[KeySpec::range(
    1,
    -2,
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];
const POP_COUNTED: &[KeySpec] = &[KeySpec::counted(
    2,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];

const READS: u32 = flag::READONLY;
const READS_FAST: u32 = flag::READONLY | flag::FAST;
const ADDS: u32 = flag::WRITE | flag::DENYOOM;
const ADDS_FAST: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const TAKES: u32 = flag::WRITE;
const TAKES_FAST: u32 = flag::WRITE | flag::FAST;
const WAITS: u32 = flag::WRITE | flag::BLOCKING;

/// Elements that are longer than this are refused.
const ELEMENT_BYTES_MAX: usize = u32::MAX as usize - 1023;

/// The rows of the list commands.
pub const TABLE: &[Command] = &[
    Command {
        keys: INSERT,
        complexity: "O(1) for each element added",
        summary: "Puts one or more elements in front of a list. Creates the key if it doesn't exist.",
        syntax: "key element [element ...]",
        ..row("lpush", -3, ADDS_FAST, Run::Keys(lpush, Spread::One))
    },
    Command {
        keys: INSERT,
        complexity: "O(1) for each element added",
        summary: "Appends one or more elements to a list. Creates the key if it doesn't exist.",
        syntax: "key element [element ...]",
        ..row("rpush", -3, ADDS_FAST, Run::Keys(rpush, Spread::One))
    },
    Command {
        keys: INSERT,
        since: "2.2.0",
        complexity: "O(1) for each element added",
        summary: "Puts one or more elements in front of a list only when the list exists.",
        syntax: "key element [element ...]",
        ..row("lpushx", -3, ADDS_FAST, Run::Keys(lpushx, Spread::One))
    },
    Command {
        keys: INSERT,
        since: "2.2.0",
        complexity: "O(1) for each element added",
        summary: "Appends one or more elements to a list only when the list exists.",
        syntax: "key element [element ...]",
        ..row("rpushx", -3, ADDS_FAST, Run::Keys(rpushx, Spread::One))
    },
    Command {
        keys: TAKE,
        complexity: "O(N) where N is the number of elements returned",
        summary: "Removes and returns the first elements of a list. Deletes the key with the last element.",
        syntax: "key [count]",
        ..row("lpop", -2, TAKES_FAST, Run::Keys(take::lpop, Spread::One))
    },
    Command {
        keys: TAKE,
        complexity: "O(N) where N is the number of elements returned",
        summary: "Removes and returns the last elements of a list. Deletes the key with the last element.",
        syntax: "key [count]",
        ..row("rpop", -2, TAKES_FAST, Run::Keys(take::rpop, Spread::One))
    },
    Command {
        keys: TAKE_COUNTED,
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of keys and M is the number of elements returned",
        summary: "Removes and returns elements from an end of the first of several lists that has some.",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        ..row("lmpop", -4, TAKES, Run::Keys(take::lmpop, Spread::Gather))
    },
    Command {
        keys: TAKE_AND_INSERT,
        since: "6.2.0",
        summary: "Takes an element from an end of one list and adds it to an end of another, and returns it.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        ..row("lmove", 5, ADDS, Run::Keys(take::lmove, Spread::Gather))
    },
    Command {
        keys: TAKE_AND_INSERT,
        since: "1.2.0",
        deprecated: Some(("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")),
        summary: "Takes the last element of a list and puts it in front of another, and returns it.",
        syntax: "source destination",
        ..row(
            "rpoplpush",
            3,
            ADDS,
            Run::Keys(take::rpoplpush, Spread::Gather),
        )
    },
    Command {
        keys: POP,
        since: "2.0.0",
        complexity: "O(N) where N is the number of keys",
        summary: "Removes and returns the first element of the first of several lists that has one, or waits for one.",
        syntax: "key [key ...] timeout:double",
        ..row(
            "blpop",
            -3,
            WAITS,
            Run::Keys(blocking::blpop, Spread::Gather),
        )
    },
    Command {
        keys: POP,
        since: "2.0.0",
        complexity: "O(N) where N is the number of keys",
        summary: "Removes and returns the last element of the first of several lists that has one, or waits for one.",
        syntax: "key [key ...] timeout:double",
        ..row(
            "brpop",
            -3,
            WAITS,
            Run::Keys(blocking::brpop, Spread::Gather),
        )
    },
    Command {
        keys: POP_COUNTED,
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of keys and M is the number of elements returned",
        summary: "Removes and returns elements from an end of the first of several lists that has some, or waits for some.",
        syntax: "timeout:double numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        ..row(
            "blmpop",
            -5,
            flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
            Run::Keys(blocking::blmpop, Spread::Gather),
        )
    },
    Command {
        keys: TAKE_AND_INSERT,
        since: "6.2.0",
        summary: "Takes an element from an end of one list and adds it to an end of another, and returns it; or waits for one.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout:double",
        ..row(
            "blmove",
            6,
            WAITS | flag::DENYOOM,
            Run::Keys(blocking::blmove, Spread::Gather),
        )
    },
    Command {
        keys: TAKE_AND_INSERT,
        since: "2.2.0",
        deprecated: Some(("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")),
        summary: "Takes the last element of a list and puts it in front of another, and returns it; or waits for one.",
        syntax: "source destination timeout:double",
        ..row(
            "brpoplpush",
            4,
            WAITS | flag::DENYOOM,
            Run::Keys(blocking::brpoplpush, Spread::Gather),
        )
    },
    Command {
        keys: LOOK,
        summary: "Returns the length of a list.",
        syntax: "key",
        ..row("llen", 2, READS_FAST, Run::Keys(llen, Spread::One))
    },
    Command {
        keys: READ,
        complexity: "O(N/M) where N is the number of elements to the nearer end and M how many a node holds",
        summary: "Returns the element of a list at an index.",
        syntax: "key index",
        ..row("lindex", 3, READS, Run::Keys(lindex, Spread::One))
    },
    Command {
        keys: READ,
        complexity: "O(S/M+N) where S is the distance of the start from the nearer end, M how many elements a node holds, and N the number of elements returned",
        summary: "Returns the elements of a list between two indexes.",
        syntax: "key start stop",
        ..row("lrange", 4, READS, Run::Keys(lrange, Spread::One))
    },
    Command {
        keys: READ,
        since: "6.0.6",
        complexity: "O(N) where N is the number of elements looked at",
        summary: "Returns the indexes of elements of a list that are equal to a value.",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        ..row("lpos", -3, READS, Run::Keys(position::lpos, Spread::One))
    },
    Command {
        keys: UPDATE,
        complexity: "O(N/M) where N is the number of elements to the nearer end and M how many a node holds",
        summary: "Sets the element of a list at an index.",
        syntax: "key index element",
        ..row("lset", 4, ADDS, Run::Keys(change::lset, Spread::One))
    },
    Command {
        keys: INSERT,
        since: "2.2.0",
        complexity: "O(N) where N is the number of elements before the pivot",
        summary: "Inserts an element before or behind another one of a list.",
        syntax: "key <BEFORE | AFTER> pivot element",
        ..row("linsert", 5, ADDS, Run::Keys(change::linsert, Spread::One))
    },
    Command {
        keys: DELETE,
        complexity: "O(N) where N is the number of elements looked at",
        summary: "Removes elements that are equal to a value from a list. Deletes the key with the last element.",
        syntax: "key count element",
        ..row("lrem", 4, TAKES, Run::Keys(change::lrem, Spread::One))
    },
    Command {
        keys: DELETE,
        complexity: "O(N) where N is the number of elements removed",
        summary: "Removes all elements of a list but those between two indexes. Deletes the key with the last element.",
        syntax: "key start stop",
        ..row("ltrim", 4, TAKES, Run::Keys(change::ltrim, Spread::One))
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        group: Group::List,
        categories: category::LIST,
        ..Command::new(name, arity, flags, run)
    }
}

fn lpush(cx: &mut Cx<'_>) -> Done {
    push(cx, End::Front, false)
}

fn rpush(cx: &mut Cx<'_>) -> Done {
    push(cx, End::Back, false)
}

fn lpushx(cx: &mut Cx<'_>) -> Done {
    push(cx, End::Front, true)
}

fn rpushx(cx: &mut Cx<'_>) -> Done {
    push(cx, End::Back, true)
}

/// Adds the arguments from 2 on at an end.
fn push(cx: &mut Cx<'_>, end: End, only_existing: bool) -> Done {
    let (key, line, limit) = (cx.key(1), cx.line, node_limit(cx.config));
    let count = line.len() - 2;
    let mut bytes = 0;
    for element in line.args().skip(2) {
        check_element(element)?;
        bytes += element.len();
    }
    let add = |list: &mut List| {
        list.make_room(bytes, count, limit);
        for element in line.args().skip(2) {
            list.push(end, element, limit);
        }
        list.len()
    };
    let (len, existed) = if only_existing {
        match cx.keyspace.edit(cx.db, key, add)? {
            Some(len) => (len, true),
            None => {
                cx.reply.int(0);
                return Ok(());
            }
        }
    } else {
        cx.keyspace.edit_or_new(cx.db, key, add)?
    };
    pushed(cx, key, end, existed);
    cx.effects.dirty += count as u64;
    cx.reply.count(len);
    Ok(())
}

/// Tells of elements that were added at an end, which the caller counts.
fn pushed(cx: &mut Cx<'_>, key: Key<'_>, end: End, existed: bool) {
    if !existed {
        cx.notify(cx.db, key.bytes, "new", class::NEW);
    }
    let event = match end {
        End::Front => "lpush",
        End::Back => "rpush",
    };
    cx.notify(cx.db, key.bytes, event, class::LIST);
}

fn llen(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read_collection::<List>(cx.db, key)? {
        Some(list) => cx.reply.count(list.len()),
        None => {
            missed(cx, key);
            cx.reply.int(0);
        }
    }
    Ok(())
}

fn lindex(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let Some(list) = cx.keyspace.read_collection::<List>(cx.db, key)? else {
        missed(cx, key);
        cx.reply.null();
        return Ok(());
    };
    // As in Redis, a wrong index is no error for a key that does not exist.
    let index = integer(&cx.line, 2)?;
    match absolute(index, list.len()).and_then(|index| list.get(index)) {
        Some(element) => push_element(&mut cx.reply, element),
        None => cx.reply.null(),
    }
    Ok(())
}

fn lrange(cx: &mut Cx<'_>) -> Done {
    let (start, stop) = (integer(&cx.line, 2)?, integer(&cx.line, 3)?);
    let key = cx.key(1);
    let Some(list) = cx.keyspace.read_collection::<List>(cx.db, key)? else {
        missed(cx, key);
        cx.reply.empty_array();
        return Ok(());
    };
    let (start, count) = stretch(start, stop, list.len());
    cx.reply.array(count);
    for element in list.range(start, count) {
        push_element(&mut cx.reply, element);
    }
    Ok(())
}

/// How large nodes of lists may become.
#[inline]
pub(super) fn node_limit(config: &Config) -> NodeLimit {
    NodeLimit::from_setting(config.list_max_listpack_size)
}

/// An integer argument.
#[inline]
fn integer(line: &Line<'_>, index: usize) -> Result<i64, Fault> {
    parse_i64(line.arg(index)).ok_or(Fault::NotInteger)
}

/// `LEFT` or `RIGHT`.
pub(super) fn parse_end(line: &Line<'_>, index: usize) -> Result<End, Fault> {
    if line.is(index, "left") {
        Ok(End::Front)
    } else if line.is(index, "right") {
        Ok(End::Back)
    } else {
        Err(Fault::Syntax)
    }
}

fn check_element(element: &[u8]) -> Done {
    if element.len() <= ELEMENT_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::text("ERR Element too large"))
}

/// The index from the beginning that an index, negative from the end, means; `None` before the beginning.
#[inline]
fn absolute(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok()
}

/// The first element and the number of elements between two indexes, both included, either of which may be negative from the end.
#[inline]
fn stretch(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let start = absolute(start, len).unwrap_or(0);
    match absolute(stop, len) {
        Some(stop) if start <= stop && start < len => (start, stop.min(len - 1) - start + 1),
        _ => (0, 0),
    }
}

/// Replies with an element.
#[inline]
pub(super) fn push_element(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Int(integer) => reply.bulk_int(integer),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(list: &List, digest: &mut Digest) {
    let mut buffer = itoa::Buffer::new();
    for element in list.iter() {
        digest::mix(digest, element.to_bytes(&mut buffer));
    }
}
