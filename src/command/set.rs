//! Set commands: the table, and the commands on single members.
//!
//! | file | what |
//! |---|---|
//! | `set` | rows; SADD, SREM, SMOVE, SMEMBERS and what asks for members |
//! | `set/random` | SPOP, SRANDMEMBER |
//! | `set/algebra` | SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD |

mod algebra;
mod random;
#[cfg(test)]
mod tests;

use super::digest::{self, Digest};
use super::list::push_element;
use super::scan::{Found, ScanOptions, Scanned, value_cursor};
use super::string::missed;
use super::{Command, Cx, Done, Group, KeySpec, Run, Spread, category, class, flag, key_flag};
use crate::config::Config;
use crate::keyspace::Key;
use crate::structures::set::{Limits, Set};

const READ: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const READ_ALL: &[KeySpec] = &[KeySpec::range(1, -1, 1, key_flag::RO | key_flag::ACCESS)];
const LOOK: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const INSERT: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)];
const DELETE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)];
const TAKE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];
const SOURCES: KeySpec = KeySpec::range(2, -1, 1, key_flag::RO | key_flag::ACCESS);
const REPLACE: &[KeySpec] = &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE), SOURCES];

const READS: u32 = flag::READONLY;
const READS_FAST: u32 = flag::READONLY | flag::FAST;
const WRITES: u32 = flag::WRITE | flag::DENYOOM;
const TAKES_FAST: u32 = flag::WRITE | flag::FAST;

const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];

/// The rows of the set commands.
pub const TABLE: &[Command] = &[
    Command {
        keys: INSERT,
        complexity: "O(1) for each member added.",
        summary: "Adds one or more members to a set. Creates the key if it doesn't exist.",
        syntax: "key member [member ...]",
        ..row(
            "sadd",
            -3,
            WRITES | flag::FAST,
            Run::Keys(sadd, Spread::One),
        )
    },
    Command {
        keys: READ,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members asked for.",
        summary: "Returns whether members belong to a set.",
        syntax: "key member [member ...]",
        ..row(
            "smismember",
            -3,
            READS_FAST,
            Run::Keys(smismember, Spread::One),
        )
    },
    Command {
        keys: LOOK,
        summary: "Returns whether a member belongs to a set.",
        syntax: "key member",
        ..row(
            "sismember",
            3,
            READS_FAST,
            Run::Keys(sismember, Spread::One),
        )
    },
    Command {
        keys: LOOK,
        summary: "Returns the number of members of a set.",
        syntax: "key",
        ..row("scard", 2, READS_FAST, Run::Keys(scard, Spread::One))
    },
    Command {
        keys: READ,
        complexity: "O(N) where N is the number of members of the set.",
        summary: "Returns all members of a set.",
        syntax: "key",
        tips: ANY_ORDER,
        ..row("smembers", 2, READS, Run::Keys(smembers, Spread::One))
    },
    Command {
        keys: &[
            KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
            KeySpec::one(2, key_flag::RW | key_flag::INSERT),
        ],
        summary: "Moves a member from one set to another.",
        syntax: "source destination member",
        ..row("smove", 4, TAKES_FAST, Run::Keys(smove, Spread::Gather))
    },
    Command {
        keys: TAKE,
        complexity: "O(1) without the count argument, otherwise O(N) where N is the count.",
        summary: "Removes random members from a set and returns them.",
        syntax: "key [count]",
        tips: ANY_OUTPUT,
        ..row("spop", -2, TAKES_FAST, Run::Keys(random::spop, Spread::One))
    },
    Command {
        keys: READ,
        complexity: "O(1) without the count argument, otherwise O(N) where N is the absolute value of the count.",
        summary: "Returns random members of a set.",
        syntax: "key [count]",
        tips: ANY_OUTPUT,
        ..row(
            "srandmember",
            -2,
            READS,
            Run::Keys(random::srandmember, Spread::One),
        )
    },
    Command {
        keys: DELETE,
        complexity: "O(N) where N is the number of members to be removed.",
        summary: "Removes one or more members from a set. Deletes the key with the last one.",
        syntax: "key member [member ...]",
        ..row("srem", -3, TAKES_FAST, Run::Keys(srem, Spread::One))
    },
    Command {
        keys: READ,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, N being the number of members of the set.",
        summary: "Iterates over the members of a set.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        tips: ANY_OUTPUT,
        ..row("sscan", -3, READS, Run::Keys(sscan, Spread::One))
    },
    Command {
        keys: READ_ALL,
        complexity: "O(N*M) where N is the number of members of the smallest set and M is the number of sets.",
        summary: "Returns the members that several sets have in common.",
        syntax: "key [key ...]",
        tips: ANY_ORDER,
        ..row(
            "sinter",
            -2,
            READS,
            Run::Keys(algebra::sinter, Spread::Gather),
        )
    },
    Command {
        keys: &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)],
        since: "7.0.0",
        complexity: "O(N*M) where N is the number of members of the smallest set and M is the number of sets.",
        summary: "Returns how many members several sets have in common.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        ..row(
            "sintercard",
            -3,
            READS,
            Run::Keys(algebra::sintercard, Spread::Gather),
        )
    },
    Command {
        keys: REPLACE,
        complexity: "O(N*M) where N is the number of members of the smallest set and M is the number of sets.",
        summary: "Keeps the members that several sets have in common in a key.",
        syntax: "destination key [key ...]",
        ..row(
            "sinterstore",
            -3,
            WRITES,
            Run::Keys(algebra::sinterstore, Spread::Gather),
        )
    },
    Command {
        keys: READ_ALL,
        complexity: "O(N) where N is the number of members of all sets together.",
        summary: "Returns the members that any of several sets has.",
        syntax: "key [key ...]",
        tips: ANY_ORDER,
        ..row(
            "sunion",
            -2,
            READS,
            Run::Keys(algebra::sunion, Spread::Gather),
        )
    },
    Command {
        keys: REPLACE,
        complexity: "O(N) where N is the number of members of all sets together.",
        summary: "Keeps the members that any of several sets has in a key.",
        syntax: "destination key [key ...]",
        ..row(
            "sunionstore",
            -3,
            WRITES,
            Run::Keys(algebra::sunionstore, Spread::Gather),
        )
    },
    Command {
        keys: READ_ALL,
        complexity: "O(N) where N is the number of members of all sets together.",
        summary: "Returns the members of a set that none of the other sets has.",
        syntax: "key [key ...]",
        tips: ANY_ORDER,
        ..row(
            "sdiff",
            -2,
            READS,
            Run::Keys(algebra::sdiff, Spread::Gather),
        )
    },
    Command {
        keys: REPLACE,
        complexity: "O(N) where N is the number of members of all sets together.",
        summary: "Keeps the members of a set that none of the other sets has in a key.",
        syntax: "destination key [key ...]",
        ..row(
            "sdiffstore",
            -3,
            WRITES,
            Run::Keys(algebra::sdiffstore, Spread::Gather),
        )
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        group: Group::Set,
        categories: category::SET,
        ..Command::new(name, arity, flags, run)
    }
}

/// Up to where sets stay in a small form.
#[inline]
pub(super) fn limits(config: &Config) -> Limits {
    let size = |setting: u64| usize::try_from(setting).unwrap_or(usize::MAX);
    Limits {
        ints: size(config.set_max_intset_entries),
        entries: size(config.set_max_listpack_entries),
        value_bytes: size(config.set_max_listpack_value),
    }
}

fn sadd(cx: &mut Cx<'_>) -> Done {
    let (key, line, limits) = (cx.key(1), cx.line, limits(cx.config));
    let (added, existed) = cx.keyspace.edit_or_new(cx.db, key, |set: &mut Set| {
        set.prepare(line.arg(2), line.len() - 2, limits);
        let members = line.args().skip(2);
        members.filter(|member| set.insert(member, limits)).count()
    })?;
    added_to(cx, key, added, existed);
    cx.reply.count(added);
    Ok(())
}

/// Tells of members that were added.
fn added_to(cx: &mut Cx<'_>, key: Key<'_>, added: usize, existed: bool) {
    if !existed {
        cx.notify(cx.db, key.bytes, "new", class::NEW);
    }
    if added > 0 {
        cx.notify(cx.db, key.bytes, "sadd", class::SET);
        cx.effects.dirty += added as u64;
    }
}

fn srem(cx: &mut Cx<'_>) -> Done {
    let (key, line) = (cx.key(1), cx.line);
    let removed = cx.keyspace.edit(cx.db, key, |set: &mut Set| {
        let members = line.args().skip(2);
        let removed = members.filter(|member| set.remove(member)).count();
        (removed, set.len() == 0)
    })?;
    let (removed, emptied) = removed.unwrap_or_default();
    if removed > 0 {
        cx.notify(cx.db, key.bytes, "srem", class::SET);
        cx.effects.dirty += removed as u64;
        if emptied {
            cx.notify(cx.db, key.bytes, "del", class::GENERIC);
        }
    }
    cx.reply.count(removed);
    Ok(())
}

fn smove(cx: &mut Cx<'_>) -> Done {
    let (source, destination) = (cx.key(1), cx.key(2));
    let (member, limits) = (cx.line.arg(3), limits(cx.config));
    let found = match cx.keyspace.write(cx.db, source) {
        Some(entry) => entry.collection::<Set>()?.contains(member),
        None => {
            cx.reply.int(0);
            return Ok(());
        }
    };
    if let Some(entry) = cx.keyspace.write(cx.db, destination) {
        entry.collection::<Set>()?;
    }
    cx.reply.int(i64::from(found));
    if !found || source.bytes == destination.bytes {
        return Ok(());
    }
    let emptied = cx.keyspace.edit(cx.db, source, |set: &mut Set| {
        set.remove(member);
        set.len() == 0
    })?;
    cx.wrote(source.bytes, "srem", class::SET);
    if emptied == Some(true) {
        cx.notify(cx.db, source.bytes, "del", class::GENERIC);
    }
    let (new, existed) = cx
        .keyspace
        .edit_or_new(cx.db, destination, |set: &mut Set| {
            set.prepare(member, 1, limits);
            set.insert(member, limits)
        })?;
    added_to(cx, destination, usize::from(new), existed);
    Ok(())
}

fn sismember(cx: &mut Cx<'_>) -> Done {
    let (key, member) = (cx.key(1), cx.line.arg(2));
    let found = match cx.keyspace.read_collection::<Set>(cx.db, key)? {
        Some(set) => set.contains(member),
        None => {
            missed(cx, key);
            false
        }
    };
    cx.reply.int(i64::from(found));
    Ok(())
}

fn smismember(cx: &mut Cx<'_>) -> Done {
    let (key, members) = (cx.key(1), cx.line.args().skip(2));
    match cx.keyspace.read_collection::<Set>(cx.db, key)? {
        Some(set) => {
            cx.reply.array(cx.line.len() - 2);
            for member in members {
                cx.reply.int(i64::from(set.contains(member)));
            }
        }
        None => {
            missed(cx, key);
            cx.reply.array(cx.line.len() - 2);
            members.for_each(|_| cx.reply.int(0));
        }
    }
    Ok(())
}

fn scard(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read_collection::<Set>(cx.db, key)? {
        Some(set) => cx.reply.count(set.len()),
        None => {
            missed(cx, key);
            cx.reply.int(0);
        }
    }
    Ok(())
}

fn smembers(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read_collection::<Set>(cx.db, key)? {
        Some(set) => {
            cx.reply.set(set.len());
            let reply = &mut cx.reply;
            set.iter().for_each(|member| push_element(reply, member));
        }
        None => {
            missed(cx, key);
            cx.reply.set(0);
        }
    }
    Ok(())
}

fn sscan(cx: &mut Cx<'_>) -> Done {
    let cursor = value_cursor(cx.line.arg(2))?;
    let key = cx.key(1);
    let mut found = Found::default();
    let Some(set) = cx.keyspace.read_collection::<Set>(cx.db, key)? else {
        missed(cx, key);
        found.reply(&mut cx.reply, 0);
        return Ok(());
    };
    // As in Redis, wrong options are no error for a key that does not exist.
    let options = ScanOptions::parse(&cx.line, 3, Scanned::Members)?;
    let mut digits = itoa::Buffer::new();
    let next = set.scan(cursor, options.count, &mut |member| {
        let member = member.to_bytes(&mut digits);
        if options.matches(member) {
            found.push(member);
        }
    });
    found.reply(&mut cx.reply, next);
    Ok(())
}

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(set: &Set, digest: &mut Digest) {
    let mut digits = itoa::Buffer::new();
    for member in set.iter() {
        digest::add(digest, member.to_bytes(&mut digits));
    }
}
