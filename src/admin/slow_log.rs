//! The SLOWLOG container: the slow logs of the cores, read as one.

use crate::base::number::parse_i64;
use crate::command::{
    ClientCx, ClientHandler, Command, CoreView, Fault, Flow, Group, Run, Where, flag, help,
};
use crate::stats::{SlowEntry, slow_merge};

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "A container for slow log commands.",
    subcommands: SUBCOMMANDS,
    ..Command::new("slowlog", -2, 0, Run::Container)
}];

const ADMIN: u32 = flag::ADMIN | flag::LOADING | flag::STALE;

const SUBCOMMANDS: &[Command] = &[
    Command {
        complexity: "O(N) where N is the number of entries returned",
        summary: "Returns the slow log's entries.",
        syntax: "[count]",
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        ..row("slowlog|get", -2, ADMIN, get)
    },
    Command {
        since: "6.2.0",
        summary: "Returns helpful text about the different subcommands.",
        ..row("slowlog|help", 2, flag::LOADING | flag::STALE, slowlog_help)
    },
    Command {
        summary: "Returns the number of entries in the slow log.",
        tips: &[
            "request_policy:all_nodes",
            "response_policy:agg_sum",
            "nondeterministic_output",
        ],
        ..row("slowlog|len", 2, ADMIN, len)
    },
    Command {
        complexity: "O(N) where N is the number of entries in the slowlog",
        summary: "Clears all entries from the slow log.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("slowlog|reset", 2, ADMIN, reset)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        since: "2.2.12",
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

const HELP: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

fn slowlog_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "SLOWLOG", HELP);
    Ok(Flow::Done)
}

/// The newest entries of a core, and how many it ever logged.
fn newest(core: &mut CoreView<'_>, count: usize) -> (Vec<SlowEntry>, u64) {
    let count = count.min(core.config.slowlog_max_len as usize);
    (core.stats.slow.newest(count), core.stats.slow.logged())
}

fn get(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let count = match cx.line.len() {
        2 => 10,
        3 => match parse_i64(cx.line.arg(2)) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => {
                return Err(Fault::text(
                    "ERR count should be greater than or equal to -1",
                ));
            }
        },
        _ => {
            return Err(Fault::subcommand("SLOWLOG", cx.line.arg(1)));
        }
    };
    Ok(Flow::visit(
        Where::All,
        move |core| newest(core, count),
        move |parts, cx| {
            let count = count.min(cx.core.config.slowlog_max_len as usize);
            let logged = parts.iter().map(|(_, logged)| logged).sum();
            let parts = parts.into_iter().map(|(entries, _)| entries).collect();
            let entries = slow_merge(parts, logged, count);
            let reply = &mut cx.reply;
            reply.array(entries.len());
            for (id, entry) in entries {
                reply.array(6);
                reply.int(id as i64);
                reply.int(entry.wall_us / 1_000_000);
                reply.int(entry.duration_us as i64);
                reply.array(entry.args.len());
                for arg in &entry.args {
                    reply.bulk(arg);
                }
                reply.bulk(entry.addr.as_bytes());
                reply.bulk(&entry.name);
            }
            Ok(Flow::Done)
        },
    ))
}

fn len(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| core.stats.slow.len(),
        |parts, cx| {
            let len: usize = parts.iter().sum();
            cx.reply
                .count(len.min(cx.core.config.slowlog_max_len as usize));
            Ok(Flow::Done)
        },
    ))
}

fn reset(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| core.stats.slow.reset(),
        |_, cx| {
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

#[cfg(test)]
mod tests {
    use crate::admin::testnode::TestNode;

    #[test]
    fn the_cores_read_as_one_log() {
        let mut node = TestNode::new(2);
        node.connect(0);
        for (core, at) in [(0, 1), (1, 2), (0, 3)] {
            let args: [&[u8]; 2] = [b"get", b"k"];
            let stats = node.stats(core);
            stats.slow_check(
                at * 1_000_000,
                5000,
                128,
                args.into_iter(),
                "1.2.3.4:5",
                b"me",
            );
        }
        assert_eq!(node.run(0, "SLOWLOG LEN"), ":3|");
        assert_eq!(
            node.run(0, "SLOWLOG GET 2"),
            "*2|*6|:2|:3|:5|*2|$3|get|$1|k|$9|1.2.3.4:5|$2|me|*6|:1|:2|:5|*2|$3|get|$1|k|$9|1.2.3.4:5|$2|me|"
        );
        node.run(0, "CONFIG SET slowlog-max-len 2");
        assert_eq!(node.run(0, "SLOWLOG LEN"), ":2|");
        assert_eq!(node.run(0, "SLOWLOG RESET"), "+OK|");
        assert_eq!(node.run(0, "SLOWLOG GET -1"), "*0|");
        assert_eq!(
            node.run(0, "SLOWLOG GET -2"),
            "-ERR count should be greater than or equal to -1|"
        );
    }
}
