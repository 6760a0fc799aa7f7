//! What the server knows of a value beyond its contents: OBJECT and MEMORY USAGE.
//!
//! None of these counts as an access of the key.

use super::{
    ClientCx, Command, Cx, Done, Fault, Flow, Group, KeySpec, Run, Spread, category, flag, key_flag,
};
use crate::base::number::parse_i64;
use crate::keyspace::{AccessPolicy, Entry, StringView};

/// The commands of this file.
pub const TABLE: &[Command] = &[Command {
    group: Group::Generic,
    since: "2.2.3",
    complexity: "Depends on subcommand.",
    summary: "A container for object introspection commands.",
    subcommands: &[
        Command {
            summary: "Returns the internal encoding of a key's value.",
            ..subcommand("object|encoding", encoding)
        },
        Command {
            since: "4.0.0",
            summary: "Returns the logarithmic access frequency counter of a key.",
            ..subcommand("object|freq", freq)
        },
        Command {
            categories: category::KEYSPACE,
            since: "6.2.0",
            summary: "Returns helpful text about the different subcommands.",
            ..Command::new(
                "object|help",
                2,
                flag::LOADING | flag::STALE,
                Run::Client(help),
            )
        },
        Command {
            summary: "Returns the time since the last access to a key.",
            ..subcommand("object|idletime", idletime)
        },
        Command {
            summary: "Returns the reference count of a key's value.",
            ..subcommand("object|refcount", refcount)
        },
    ],
    ..Command::new("object", -2, 0, Run::Container)
}];

/// The row of `MEMORY USAGE`, for MEMORY's subcommands.
pub const MEMORY_USAGE: Command = Command {
    keys: KEYS,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Estimates the memory usage of a key.",
    syntax: "key [SAMPLES count]",
    ..Command::new(
        "memory|usage",
        -3,
        flag::READONLY,
        Run::Keys(memory_usage, Spread::One),
    )
};

const KEYS: &[KeySpec] = &[KeySpec::one(2, key_flag::RO)];

/// What the rows of OBJECT's subcommands on a key have in common.
const fn subcommand(name: &'static str, handler: fn(&mut Cx<'_>) -> Done) -> Command {
    Command {
        categories: category::KEYSPACE,
        keys: KEYS,
        group: Group::Generic,
        since: "2.2.3",
        syntax: "key",
        tips: &["nondeterministic_output"],
        ..Command::new(name, 3, flag::READONLY, Run::Keys(handler, Spread::One))
    }
}

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Print this help.",
];

fn help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.reply.array(HELP.len());
    for line in HELP {
        cx.reply.simple(line);
    }
    Ok(Flow::Done)
}

fn encoding(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(2);
    match cx.keyspace.inspect(cx.db, key) {
        Some(entry) => cx.reply.bulk(entry.encoding().as_bytes()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// The integers that Redis keeps one shared object for each.
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;

/// The reference count that Redis would show. Nothing is counted here: a small integer shows the count
/// of Redis's shared objects, anything else is the key's own.
pub(super) fn reference_count(entry: &Entry) -> i64 {
    match entry.string() {
        Ok(StringView::Int(integer)) if SHARED_INTEGERS.contains(&integer) => i64::from(i32::MAX),
        _ => 1,
    }
}

fn refcount(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(2);
    match cx.keyspace.inspect(cx.db, key) {
        Some(entry) => cx.reply.int(reference_count(entry)),
        None => cx.reply.null(),
    }
    Ok(())
}

fn counts_frequency(cx: &Cx<'_>) -> bool {
    matches!(cx.keyspace.access_policy(), AccessPolicy::Lfu { .. })
}

fn idletime(cx: &mut Cx<'_>) -> Done {
    let counts_frequency = counts_frequency(cx);
    let key = cx.key(2);
    match cx.keyspace.inspect(cx.db, key) {
        Some(_) if counts_frequency => {
            return Err(Fault::text(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
                 policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(entry) => cx.reply.int(cx.keyspace.idle_seconds(entry) as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

fn freq(cx: &mut Cx<'_>) -> Done {
    let counts_frequency = counts_frequency(cx);
    let key = cx.key(2);
    match cx.keyspace.inspect(cx.db, key) {
        Some(_) if !counts_frequency => {
            return Err(Fault::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(entry) => cx.reply.int(i64::from(cx.keyspace.frequency(entry))),
        None => cx.reply.null(),
    }
    Ok(())
}

/// MEMORY USAGE: bytes of the entry with its place in the table. `SAMPLES` is checked and changes nothing for values that
/// are measured as a whole.
fn memory_usage(cx: &mut Cx<'_>) -> Done {
    let mut at = 3;
    while at < cx.line.len() {
        if !cx.line.is(at, "samples") || at + 1 == cx.line.len() {
            return Err(Fault::Syntax);
        }
        if parse_i64(cx.line.arg(at + 1)).ok_or(Fault::NotInteger)? < 0 {
            return Err(Fault::Syntax);
        }
        at += 2;
    }
    let key = cx.key(2);
    match cx.keyspace.inspect(cx.db, key) {
        Some(entry) => cx.reply.count(cx.keyspace.memory_usage(entry)),
        None => cx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testkit::Kit;
    use super::*;
    use crate::keyspace::{NewExpiry, NewString};

    const MEMORY: &[Command] = &[Command {
        subcommands: &[MEMORY_USAGE],
        ..Command::new("memory", -2, 0, Run::Container)
    }];

    fn kit(value: &[u8]) -> Kit {
        let mut kit = Kit::new(&[TABLE, MEMORY]);
        let key = kit.keyspace.key(b"a");
        kit.keyspace
            .set_string(0, key, NewString::Bytes(value), NewExpiry::Clear);
        kit
    }

    #[test]
    fn the_policy_decides_between_idletime_and_freq() {
        let mut kit = kit(b"value");
        kit.advance_ms(7000);
        kit.expect("OBJECT IDLETIME a", ":7|");
        assert!(
            kit.run(&[b"OBJECT", b"FREQ", b"a"])
                .starts_with(b"-ERR An LFU maxmemory policy is not selected, ")
        );
        kit.keyspace.set_access_policy(AccessPolicy::Lfu {
            log_factor: 10,
            decay_minutes: 1,
        });
        let key = kit.keyspace.key(b"b");
        kit.keyspace
            .set_string(0, key, NewString::Bytes(b"value"), NewExpiry::Clear);
        kit.expect("OBJECT FREQ b", ":5|");
        assert!(
            kit.run(&[b"OBJECT", b"IDLETIME", b"a"])
                .starts_with(b"-ERR An LFU maxmemory policy is selected, ")
        );
        kit.expect("OBJECT FREQ missing", "$-1|");
        kit.expect("OBJECT IDLETIME missing", "$-1|");
    }

    #[test]
    fn encodings_have_the_names_of_redis() {
        for (value, encoding) in [
            ("12", "$3|int|"),
            ("012", "$6|embstr|"),
            (&"x".repeat(45), "$3|raw|"),
        ] {
            kit(value.as_bytes()).expect("OBJECT ENCODING a", encoding);
        }
    }

    #[test]
    fn memory_usage_covers_key_and_value() {
        let mut large = kit(&[b'x'; 100_000]);
        let reply = String::from_utf8(large.run(&[b"MEMORY", b"USAGE", b"a"])).unwrap();
        let bytes: usize = reply[1..].trim().parse().unwrap();
        assert!((100_000..140_000).contains(&bytes), "{bytes}");
        large.expect("MEMORY USAGE missing SAMPLES 5", "$-1|");
        large.expect("MEMORY USAGE a SAMPLES -1", "-ERR syntax error|");
        large.expect("MEMORY USAGE a SAMPLES", "-ERR syntax error|");
        large.expect(
            "MEMORY USAGE a SAMPLES x",
            "-ERR value is not an integer or out of range|",
        );
    }
}
