//! Whole databases: count, empty and swap them.
//!
//! These lines have no keys and run on every shard. What they change is no single key, so watchers and trackers are
//! told with an empty key and no event class ([`whole_database`]).

use super::generic::check_database;
use super::{Command, Cx, Done, Fault, Group, Merge, Run, Spread, category, flag};
use crate::base::number::parse_i64;

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        categories: category::KEYSPACE,
        group: Group::Server,
        summary: "Returns the number of keys in the database.",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        ..Command::new(
            "dbsize",
            1,
            flag::READONLY | flag::FAST,
            Run::Keys(dbsize, Spread::All(Merge::Sum)),
        )
    },
    Command {
        categories: category::KEYSPACE | category::DANGEROUS,
        group: Group::Server,
        complexity: "O(N) where N is the number of keys in the selected database",
        summary: "Removes all keys from the current database.",
        syntax: "[ASYNC | SYNC]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..Command::new(
            "flushdb",
            -1,
            flag::WRITE,
            Run::Keys(flushdb, Spread::All(Merge::Same)),
        )
    },
    Command {
        categories: category::KEYSPACE | category::DANGEROUS,
        group: Group::Server,
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Removes all keys from all databases.",
        syntax: "[ASYNC | SYNC]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..Command::new(
            "flushall",
            -1,
            flag::WRITE,
            Run::Keys(flushall, Spread::All(Merge::Same)),
        )
    },
    Command {
        categories: category::KEYSPACE | category::DANGEROUS,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the count of clients watching keys of both databases",
        summary: "Swaps two Redis databases.",
        syntax: "index1 index2",
        ..Command::new(
            "swapdb",
            3,
            flag::WRITE | flag::FAST,
            Run::Keys(swapdb, Spread::All(Merge::Same)),
        )
    },
];

/// Tells watchers and trackers that any key of a database may have changed: an empty key of no class, which no
/// keyspace notification is made from.
fn whole_database(cx: &mut Cx<'_>, db: usize, event: &'static str) {
    cx.notify(db, b"", event, 0);
}

fn dbsize(cx: &mut Cx<'_>) -> Done {
    cx.reply.int(cx.keyspace.len(cx.db) as i64);
    Ok(())
}

/// How the memory of what is removed is freed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Freeing {
    /// Before the reply.
    Now,
    /// Later, in slices.
    Later,
}

impl Freeing {
    fn parse(cx: &Cx<'_>) -> Result<Freeing, Fault> {
        match cx.line.len() {
            1 if cx.config.lazyfree_lazy_user_flush => Ok(Freeing::Later),
            1 => Ok(Freeing::Now),
            2 if cx.line.is(1, "sync") => Ok(Freeing::Now),
            2 if cx.line.is(1, "async") => Ok(Freeing::Later),
            _ => Err(Fault::Syntax),
        }
    }
}

/// Empties one database.
fn empty(cx: &mut Cx<'_>, db: usize, freeing: Freeing, event: &'static str) {
    let removed = match freeing {
        Freeing::Now => cx.keyspace.flush_now(db),
        Freeing::Later => cx.keyspace.flush(db),
    };
    cx.effects.dirty += removed as u64;
    // Also of an empty one: who caches its keys may not know yet what became of them.
    whole_database(cx, db, event);
}

fn flushdb(cx: &mut Cx<'_>) -> Done {
    let freeing = Freeing::parse(cx)?;
    // Logged even when nothing was there: a follower may still hold what has expired here.
    cx.effects.dirty += 1;
    empty(cx, cx.db, freeing, "flushdb");
    cx.reply.ok();
    Ok(())
}

fn flushall(cx: &mut Cx<'_>) -> Done {
    let freeing = Freeing::parse(cx)?;
    cx.effects.dirty += 1;
    for db in 0..cx.config.databases as usize {
        empty(cx, db, freeing, "flushall");
    }
    cx.reply.ok();
    Ok(())
}

fn swapdb(cx: &mut Cx<'_>) -> Done {
    let index = |at: usize, fault: &'static str| {
        parse_i64(cx.line.arg(at))
            .filter(|&index| i32::try_from(index).is_ok())
            .ok_or(Fault::text(fault))
    };
    let first = index(1, "ERR invalid first DB index")?;
    let second = index(2, "ERR invalid second DB index")?;
    let (first, second) = (
        check_database(first, cx.config)?,
        check_database(second, cx.config)?,
    );
    cx.effects.dirty += 1;
    if first != second {
        cx.keyspace.swap(first, second);
        whole_database(cx, first, "swapdb");
        whole_database(cx, second, "swapdb");
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testkit::Kit;
    use super::*;
    use crate::keyspace::{NewExpiry, NewString};

    fn kit() -> Kit {
        let mut kit = Kit::new(&[TABLE]);
        for (db, name) in [(0, "a"), (0, "b"), (5, "c")] {
            let key = kit.keyspace.key(name.as_bytes());
            kit.keyspace
                .set_string(db, key, NewString::Bytes(b"value"), NewExpiry::Clear);
        }
        kit
    }

    #[test]
    fn flushing_an_empty_database_is_logged_and_told() {
        let mut kit = kit();
        kit.db = 3;
        kit.expect("FLUSHDB", "+OK|");
        kit.logged("*1|$7|FLUSHDB|");
        kit.events("flushdb ");
        kit.expect("FLUSHALL SYNC", "+OK|");
        kit.logged("*2|$8|FLUSHALL|$4|SYNC|");
        assert_eq!(kit.effects.dirty, 4);
        kit.expect("FLUSHALL", "+OK|");
        kit.logged("*1|$8|FLUSHALL|");
        kit.events(&["flushall "; 16].join(","));
    }

    #[test]
    fn flushes_and_swaps_tell_of_whole_databases() {
        let mut kit = kit();
        let told = |kit: &Kit| -> Vec<(usize, &'static str, u32)> {
            let of = |write: &super::super::Write| (write.db, write.event, write.class);
            assert!(kit.effects.writes.iter().all(|write| write.key.is_empty()));
            kit.effects.writes.iter().map(of).collect()
        };
        kit.expect("SWAPDB 0 1", "+OK|");
        assert_eq!(told(&kit), [(0, "swapdb", 0), (1, "swapdb", 0)]);
        kit.expect("SWAPDB 7 7", "+OK|");
        assert_eq!(told(&kit), []);
        kit.expect("FLUSHALL", "+OK|");
        let all: Vec<_> = (0..16).map(|db| (db, "flushall", 0)).collect();
        assert_eq!(told(&kit), all);
    }

    #[test]
    fn freeing_follows_the_option_then_the_parameter() {
        for (lazy, line, later) in [
            (false, "FLUSHDB", false),
            (true, "FLUSHDB", true),
            (true, "FLUSHALL SYNC", false),
            (false, "FLUSHALL async", true),
        ] {
            let mut kit = kit();
            kit.config.lazyfree_lazy_user_flush = lazy;
            kit.expect(line, "+OK|");
            kit.expect("DBSIZE", ":0|");
            assert_eq!(kit.keyspace.has_garbage(), later, "{line} {lazy}");
        }
    }

    #[test]
    fn a_flushed_large_value_is_freed_in_slices() {
        let mut kit = Kit::new(&[TABLE, super::super::set::TABLE]);
        for start in (0..10_000).step_by(100) {
            let members: Vec<String> = (start..start + 100).map(|n| format!("m{n}")).collect();
            kit.expect(&format!("SADD s {}", members.join(" ")), ":100|");
        }
        kit.expect("FLUSHALL ASYNC", "+OK|");
        let before = kit.keyspace.memory();
        assert!(kit.keyspace.free_slice(100));
        assert!(kit.keyspace.memory() > before / 2);
        let slices =
            std::iter::repeat_with(|| kit.keyspace.free_slice(100)).take_while(|left| *left);
        assert!(slices.count() >= 5);
        assert_eq!(kit.keyspace.garbage_keys(), 0);
    }
}
