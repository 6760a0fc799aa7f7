//! The LATENCY container: spikes by event (the latency monitor) and distributions by command (latency tracking).

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::command::{
    ClientCx, ClientHandler, Command, CommandId, Fault, Flow, Group, Run, Where, flag, help,
};
use crate::stats::{CoreStats, LatencyMonitor, Spikes};

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "A container for latency diagnostics commands.",
    subcommands: SUBCOMMANDS,
    ..Command::new("latency", -2, 0, Run::Container)
}];

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;
const TIPS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        summary: "Returns a human-readable latency analysis report.",
        ..row("latency|doctor", 2, ADMIN, doctor)
    },
    Command {
        summary: "Returns a latency graph for an event.",
        syntax: "event",
        ..row("latency|graph", 3, ADMIN, graph)
    },
    Command {
        tips: &[],
        summary: "Returns helpful text about the different subcommands.",
        ..row("latency|help", 2, flag::LOADING | flag::STALE, latency_help)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with latency information being retrieved.",
        summary: "Returns the cumulative distribution of latencies of a subset or all commands.",
        syntax: "[command [command ...]]",
        ..row("latency|histogram", -2, ADMIN, histogram)
    },
    Command {
        summary: "Returns timestamp-latency samples for an event.",
        syntax: "event",
        ..row("latency|history", 3, ADMIN, history)
    },
    Command {
        summary: "Returns the latest latency samples for all events.",
        ..row("latency|latest", 2, ADMIN, latest)
    },
    Command {
        tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
        summary: "Resets the latency data for one or more events.",
        syntax: "[event [event ...]]",
        ..row("latency|reset", -2, ADMIN, reset)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        since: "2.8.13",
        tips: TIPS,
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
];

fn latency_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "LATENCY", HELP);
    Ok(Flow::Done)
}

/// Visits all cores for their spikes and replies from the merged ones.
fn with_spikes(
    reply: impl FnOnce(&LatencyMonitor, &mut ClientCx<'_, '_>) -> Result<(), Fault> + 'static,
) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| core.stats.latency.clone(),
        |parts, cx| {
            let mut all = LatencyMonitor::default();
            parts.iter().for_each(|part| all.merge(part));
            reply(&all, cx)?;
            Ok(Flow::Done)
        },
    ))
}

fn latest(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    with_spikes(|all, cx| {
        cx.reply.array(all.events().len());
        for (name, spikes) in all.events() {
            let last = spikes.last();
            cx.reply.array(4);
            cx.reply.bulk(name.as_bytes());
            cx.reply.int(last.map_or(0, |sample| sample.at_s));
            cx.reply
                .int(last.map_or(0, |sample| i64::from(sample.latency_ms)));
            cx.reply.int(i64::from(spikes.worst_ms));
        }
        Ok(())
    })
}

fn history(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let event = cx.line.arg(2).to_vec();
    with_spikes(move |all, cx| {
        let samples = all.event(&event).map(|(_, spikes)| spikes.samples());
        cx.reply
            .array(samples.as_ref().map_or(0, ExactSizeIterator::len));
        for sample in samples.into_iter().flatten() {
            cx.reply.array(2);
            cx.reply.int(sample.at_s);
            cx.reply.int(i64::from(sample.latency_ms));
        }
        Ok(())
    })
}

fn reset(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let named: Vec<Vec<u8>> = cx.line.args().skip(2).map(<[u8]>::to_vec).collect();
    Ok(Flow::visit(
        Where::All,
        move |core| {
            let monitor = &mut core.stats.latency;
            let events: Vec<&'static str> = monitor
                .events()
                .map(|(name, _)| name)
                .filter(|name| {
                    named.is_empty()
                        || named
                            .iter()
                            .any(|wanted| name.as_bytes().eq_ignore_ascii_case(wanted))
                })
                .collect();
            for event in &events {
                monitor.reset(event.as_bytes());
            }
            events
        },
        |parts, cx| {
            let events: BTreeSet<&str> = parts.into_iter().flatten().collect();
            cx.reply.count(events.len());
            Ok(Flow::Done)
        },
    ))
}

fn histogram(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let registry = cx.core.registry;
    // A container stands for its subcommands.
    let mut wanted: Vec<CommandId> = Vec::new();
    for name in cx.line.args().skip(2) {
        let found = match name.iter().position(|byte| *byte == b'|') {
            None => registry.find(name),
            Some(bar) => registry
                .find(&name[..bar])
                .and_then(|container| registry.find_subcommand(container, &name[bar + 1..])),
        };
        let Some(id) = found else { continue };
        wanted.push(id);
        wanted.extend(&registry.get(id).subcommands);
    }
    let all = cx.line.len() == 2;
    Ok(Flow::visit(
        Where::All,
        |core| core.stats.snapshot(true),
        move |parts, cx| {
            let mut merged = CoreStats::new(registry.all().len());
            parts.iter().for_each(|part| merged.merge(part));
            let ids =
                (0..registry.all().len() as CommandId).filter(|id| all || wanted.contains(id));
            let shown: Vec<_> = ids
                .filter_map(|id| {
                    let histogram = merged.commands()[id as usize].histogram.as_ref()?;
                    Some((registry.get(id).command.name, histogram))
                })
                .collect();
            cx.reply.map(shown.len());
            for (name, histogram) in shown {
                let steps = histogram.doubling_steps();
                cx.reply.bulk(name.as_bytes());
                cx.reply.map(2);
                cx.reply.bulk(b"calls");
                cx.reply.int(histogram.total() as i64);
                cx.reply.bulk(b"histogram_usec");
                cx.reply.map(steps.len());
                for (ns, count) in steps {
                    cx.reply.int((ns / 1000) as i64);
                    cx.reply.int(count as i64);
                }
            }
            Ok(Flow::Done)
        },
    ))
}

const GRAPH_ROWS: usize = 4;
const GRAPH_COLUMNS: usize = 80;

fn graph(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let event = cx.line.arg(2).to_vec();
    with_spikes(move |all, cx| {
        let Some((name, spikes)) = all.event(&event) else {
            let template = "ERR No samples available for event '{}'";
            return Err(Fault::showing(template, &[&event]));
        };
        let text = draw(name, spikes, cx.core.now.wall_ms() / 1000);
        cx.reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}

/// How long ago something was, as short as it gets: `3m`.
fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// A column per sample, oldest first, with its age written downwards below.
fn draw(name: &str, spikes: &Spikes, now_s: i64) -> String {
    let summary = spikes.summary(now_s);
    let (high, low) = (summary.most_ms, summary.least_ms);
    let mut out = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        spikes.worst_ms,
        "-".repeat(GRAPH_COLUMNS)
    );
    let samples: Vec<_> = spikes.samples().collect();
    for columns in samples.chunks(GRAPH_COLUMNS) {
        // Three levels to a row: the sample stands on full rows and ends in `_`, `o` or `#`.
        let levels = (GRAPH_ROWS * 3 - 1) as f64;
        let range = f64::from((high - low).max(1));
        let heights: Vec<usize> = columns
            .iter()
            .map(|sample| (f64::from(sample.latency_ms - low) / range * levels).round() as usize)
            .collect();
        for row in (0..GRAPH_ROWS).rev() {
            let line: String = heights
                .iter()
                .map(|&height| match height / 3 {
                    full if full > row => '|',
                    full if full == row => ['_', 'o', '#'][height % 3],
                    _ => ' ',
                })
                .collect();
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out.push('\n');
        let labels: Vec<String> = columns
            .iter()
            .map(|sample| ago(now_s - sample.at_s))
            .collect();
        let longest = labels.iter().map(String::len).max().unwrap_or(0);
        for place in 0..longest {
            let line: String = labels
                .iter()
                .map(|label| {
                    label
                        .as_bytes()
                        .get(place)
                        .map_or(' ', |byte| char::from(*byte))
                })
                .collect();
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

/// What an event's spikes usually come from.
fn advice(event: &str) -> &'static str {
    match event {
        "command" => {
            "Look for slow commands with SLOWLOG GET, and for large values and O(N) commands that could be split up \
             or replaced by SCAN."
        }
        "fast-command" => {
            "Commands of constant time were slow: the machine is short of CPU, it swaps, or a core is shared with \
             other processes."
        }
        "expire-cycle" => "Many keys expire at the same moment: spread their times to live.",
        _ => "Look at the load of the machine at the times that LATENCY HISTORY names.",
    }
}

fn doctor(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let off = cx.core.config.latency_monitor_threshold == 0;
    with_spikes(move |all, cx| {
        let mut out = String::new();
        if all.events().len() == 0 {
            out.push_str(if off {
                "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> switches it on.\n"
            } else {
                "No latency spike was observed since the last reset.\n"
            });
        }
        let now_s = cx.core.now.wall_ms() / 1000;
        for (number, (event, spikes)) in all.events().enumerate() {
            let summary = spikes.summary(now_s);
            let _ = writeln!(
                out,
                "{}. {event}: {} spikes (mean {} ms, mean deviation {} ms, period {:.2} s). Worst of all time: {} ms.\n   {}",
                number + 1,
                summary.samples,
                summary.mean_ms,
                summary.deviation_ms,
                summary.period_s,
                spikes.worst_ms,
                advice(event),
            );
        }
        cx.reply.verbatim("txt", out.as_bytes());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testnode::TestNode;

    fn node() -> TestNode {
        let mut node = TestNode::new(2);
        node.connect(0);
        node.stats(0)
            .latency_spike("command", 20_000_000, 1_000_000);
        node.stats(1)
            .latency_spike("command", 90_000_000, 2_000_000);
        node.stats(1)
            .latency_spike("expire-cycle", 30_000_000, 2_000_000);
        node
    }

    #[test]
    fn spikes_of_the_cores_are_merged() {
        let mut node = node();
        assert_eq!(
            node.run(0, "LATENCY LATEST"),
            "*2|*4|$7|command|:2000|:90|:90|*4|$12|expire-cycle|:2000|:30|:30|"
        );
        assert_eq!(
            node.run(0, "LATENCY HISTORY command"),
            "*2|*2|:1000|:20|*2|:2000|:90|"
        );
        assert_eq!(node.run(0, "LATENCY HISTORY nosuch"), "*0|");
        assert_eq!(node.run(0, "LATENCY RESET nosuch command"), ":1|");
        assert_eq!(node.run(0, "LATENCY RESET"), ":1|");
        assert_eq!(node.run(0, "LATENCY LATEST"), "*0|");
    }

    #[test]
    fn graph_and_doctor_are_texts() {
        let mut node = node();
        let graph = node.text(0, "LATENCY GRAPH command");
        assert!(
            graph.starts_with("command - high 90 ms, low 20 ms (all time high 90 ms)\n"),
            "{graph}"
        );
        assert!(graph.contains("\n_|\n"), "{graph}");
        assert!(
            node.text(0, "LATENCY DOCTOR")
                .contains("1. command: 2 spikes")
        );
        assert_eq!(
            node.run(0, "LATENCY GRAPH nosuch"),
            "-ERR No samples available for event 'nosuch'|"
        );
    }

    #[test]
    fn histograms_by_command_and_container() {
        let mut node = node();
        let ids: Vec<CommandId> = [&b"ping"[..], b"client"]
            .iter()
            .filter_map(|name| node.registry.find(name))
            .collect();
        let sub = node
            .registry
            .find_subcommand(ids[1], b"id")
            .expect("CLIENT ID is known");
        node.stats(0).record(ids[0], 900, false);
        node.stats(1).record(ids[0], 3000, false);
        node.stats(1).record(sub, 900, false);
        assert_eq!(
            node.run(0, "LATENCY HISTOGRAM ping nosuch"),
            "*2|$4|ping|*4|$5|calls|:2|$14|histogram_usec|*4|:1|:1|:4|:2|"
        );
        assert_eq!(
            node.run(0, "LATENCY HISTOGRAM client"),
            "*2|$9|client|id|*4|$5|calls|:1|$14|histogram_usec|*2|:1|:1|"
                .replace("client|id", "client\\|id")
        );
    }
}
