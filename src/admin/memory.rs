//! The MEMORY container.

use std::fmt::Write;

use super::facts::{Facts, Memory};
use crate::command::object::MEMORY_USAGE;
use crate::command::{
    ClientCx, ClientHandler, Command, Fault, Flow, Group, Run, Where, flag, help,
};
use crate::resp::Reply;

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for memory diagnostics commands.",
    subcommands: SUBCOMMANDS,
    ..Command::new("memory", -2, 0, Run::Container)
}];

const TIPS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        tips: TIPS,
        summary: "Outputs a memory problems report.",
        ..row("memory|doctor", 0, doctor)
    },
    Command {
        summary: "Returns helpful text about the different subcommands.",
        ..row("memory|help", flag::LOADING | flag::STALE, memory_help)
    },
    Command {
        tips: TIPS,
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Returns the allocator statistics.",
        ..row("memory|malloc-stats", 0, malloc_stats)
    },
    Command {
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Asks the allocator to release memory.",
        ..row("memory|purge", 0, purge)
    },
    Command {
        tips: TIPS,
        summary: "Returns details about memory usage.",
        ..row("memory|stats", 0, stats)
    },
    MEMORY_USAGE,
];

const fn row(name: &'static str, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        since: "4.0.0",
        ..Command::new(name, 2, flags, Run::Client(handler))
    }
}

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

fn memory_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "MEMORY", HELP);
    Ok(Flow::Done)
}

fn malloc_stats(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let report = cx.core.os.allocator_report();
    cx.reply.verbatim("txt", report.as_bytes());
    Ok(Flow::Done)
}

fn purge(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| core.os.purge_memory(),
        |_, cx| {
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

fn number(reply: &mut Reply<'_>, name: &str, value: u64) {
    reply.bulk(name.as_bytes());
    reply.int(value as i64);
}

fn double(reply: &mut Reply<'_>, name: &str, value: f64) {
    reply.bulk(name.as_bytes());
    reply.double(value);
}

fn stats(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| Facts::of(core, false),
        |parts, cx| {
            let facts = Facts::merge(parts);
            let memory = Memory::of(&facts, cx.core.os);
            let keys = facts.keys() as u64;
            let reply = &mut cx.reply;
            let databases: Vec<_> = facts
                .databases
                .iter()
                .enumerate()
                .filter(|(_, db)| db.keys > 0)
                .collect();
            reply.map(19 + databases.len());
            number(reply, "peak.allocated", memory.peak);
            number(reply, "total.allocated", memory.used);
            number(reply, "startup.allocated", memory.startup);
            number(reply, "replication.backlog", 0);
            number(reply, "clients.slaves", 0);
            number(reply, "clients.normal", facts.clients.memory_bytes as u64);
            number(reply, "cluster.links", 0);
            number(reply, "aof.buffer", 0);
            number(reply, "lua.caches", 0);
            number(reply, "functions.caches", 0);
            for (index, database) in databases {
                reply.bulk(format!("db.{index}").as_bytes());
                reply.map(2);
                number(
                    reply,
                    "overhead.hashtable.main",
                    database.table_bytes as u64,
                );
                // Expiries stand in the entries: there is no second table for them.
                number(reply, "overhead.hashtable.expires", 0);
            }
            number(reply, "overhead.total", memory.overhead);
            number(reply, "keys.count", keys);
            number(
                reply,
                "keys.bytes-per-key",
                memory.dataset.checked_div(keys).unwrap_or(0),
            );
            number(reply, "dataset.bytes", memory.dataset);
            double(reply, "dataset.percentage", memory.dataset_percent());
            double(
                reply,
                "peak.percentage",
                memory.used as f64 * 100.0 / memory.peak.max(1) as f64,
            );
            number(reply, "allocator.resident", memory.resident);
            double(reply, "fragmentation", memory.fragmentation());
            reply.bulk(b"fragmentation.bytes");
            reply.int(memory.resident as i64 - memory.used as i64);
            Ok(Flow::Done)
        },
    ))
}

/// Below this much memory ratios say nothing.
const TELLING_BYTES_MIN: u64 = 5 << 20;

fn doctor(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| Facts::of(core, false),
        |parts, cx| {
            let facts = Facts::merge(parts);
            let text = diagnose(&facts, &Memory::of(&facts, cx.core.os));
            cx.reply.verbatim("txt", text.as_bytes());
            Ok(Flow::Done)
        },
    ))
}

fn diagnose(facts: &Facts, memory: &Memory) -> String {
    if memory.used < TELLING_BYTES_MIN {
        return "This node holds next to nothing: there is too little memory in use to judge it.\n"
            .into();
    }
    let mut out = String::new();
    if memory.peak > memory.used + memory.used / 2 {
        let _ = writeln!(
            out,
            "* Peak: at its peak the node used {:.1} times the memory that it uses now. Pages that are not given back \
             yet may make resident memory look high; MEMORY PURGE returns them.",
            memory.peak as f64 / memory.used as f64
        );
    }
    if memory.fragmentation() > 1.4 && memory.resident - memory.used > 10 << 20 {
        let _ = writeln!(
            out,
            "* Fragmentation: resident memory is {:.2} times what is in use. MEMORY PURGE returns free pages.",
            memory.fragmentation()
        );
    }
    let per_client = facts.clients.memory_bytes / facts.clients.count.max(1);
    if per_client > 200 << 10 {
        let _ = writeln!(
            out,
            "* Clients: they take {} KiB each on average. CLIENT LIST shows those that do not read their replies \
             (omem) or send very large lines (qbuf).",
            per_client >> 10
        );
    }
    if out.is_empty() {
        out.push_str("No problem was found in how memory is used.\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::admin::testnode::TestNode;
    use crate::keyspace::{NewExpiry, NewString};

    #[test]
    fn stats_add_up_over_the_cores() {
        let mut node = TestNode::new(2);
        node.connect(0);
        for core in 0..2 {
            let keyspace = node.keyspace(core);
            let key = keyspace.key(b"key");
            keyspace.set_string(3, key, NewString::Bytes(b"value"), NewExpiry::Clear);
        }
        let reply = node.run(0, "MEMORY STATS");
        assert!(reply.starts_with("*40|$14|peak.allocated|:"), "{reply}");
        assert!(
            reply.contains("$4|db.3|*4|$23|overhead.hashtable.main|:"),
            "{reply}"
        );
        assert!(reply.contains("$10|keys.count|:2|"), "{reply}");
        assert!(node.text(0, "MEMORY DOCTOR").contains("too little memory"));
        assert_eq!(node.run(0, "MEMORY PURGE"), "+OK|");
        assert_eq!(node.os.purged.get(), 2);
        assert_eq!(node.text(0, "MEMORY MALLOC-STATS"), "none");
    }
}
