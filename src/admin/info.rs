//! INFO: the state of the node as text, section by section.
//!
//! A section is a row of [`SECTIONS`] with the function that writes it; which rows a line asks for is decided first,
//! then the cores are visited once, then the sections are written in the order of the table.

use std::fmt::Write;
use std::time::Duration;

use super::facts::{Facts, Memory};
use crate::command::connection::REDIS_VERSION;
use crate::command::replicating::{Question, Status};
use crate::command::{ClientCx, Command, CoreView, Fault, Flow, Group, Run, Where, category, flag};
use crate::pubsub::Kind;
use crate::stats::Rate;

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    categories: category::DANGEROUS,
    group: Group::Server,
    summary: "Returns information and statistics about the server.",
    syntax: "[section [section ...]]",
    tips: &[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ],
    ..Command::new("info", -1, flag::LOADING | flag::STALE, Run::Client(info))
}];

/// What the sections are written from.
struct Report<'a, 'b> {
    facts: Facts,
    memory: Memory,
    status: Status,
    core: &'a CoreView<'b>,
}

/// Where a section is shown without being named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// By default.
    Default,
    /// With `all`.
    All,
}

struct Section {
    /// The name by which it is asked for.
    name: &'static str,
    /// The head line.
    title: &'static str,
    shown: Shown,
    write: fn(&Report<'_, '_>, &mut String),
}

const fn section(
    name: &'static str,
    title: &'static str,
    shown: Shown,
    write: fn(&Report<'_, '_>, &mut String),
) -> Section {
    Section {
        name,
        title,
        shown,
        write,
    }
}

const SECTIONS: &[Section] = &[
    section("server", "Server", Shown::Default, server),
    section("clients", "Clients", Shown::Default, clients),
    section("memory", "Memory", Shown::Default, memory),
    section("persistence", "Persistence", Shown::Default, persistence),
    section("stats", "Stats", Shown::Default, stats),
    section("replication", "Replication", Shown::Default, replication),
    section("cpu", "CPU", Shown::Default, cpu),
    section("modules", "Modules", Shown::Default, |_, _| {}),
    section("commandstats", "Commandstats", Shown::All, commandstats),
    section("errorstats", "Errorstats", Shown::Default, errorstats),
    section("latencystats", "Latencystats", Shown::All, latencystats),
    section("cluster", "Cluster", Shown::Default, cluster),
    section("keyspace", "Keyspace", Shown::Default, keyspace),
    section("mesh", "Mesh", Shown::All, mesh),
];

/// The rows that a line asks for, by place in [`SECTIONS`].
fn wanted<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<usize> {
    let mut wanted = vec![false; SECTIONS.len()];
    let mut want = |test: &dyn Fn(&Section) -> bool| {
        for (wanted, section) in wanted.iter_mut().zip(SECTIONS) {
            *wanted |= test(section);
        }
    };
    if names.len() == 0 {
        want(&|section| section.shown == Shown::Default);
    }
    for name in names {
        if name.eq_ignore_ascii_case(b"default") {
            want(&|section| section.shown == Shown::Default);
        } else if name.eq_ignore_ascii_case(b"all") || name.eq_ignore_ascii_case(b"everything") {
            want(&|_| true);
        } else {
            want(&|section| name.eq_ignore_ascii_case(section.name.as_bytes()));
        }
    }
    (0..SECTIONS.len()).filter(|&index| wanted[index]).collect()
}

fn info(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let wanted = wanted(cx.line.args().skip(1));
    let histograms = wanted
        .iter()
        .any(|&index| SECTIONS[index].name == "latencystats");
    Ok(Flow::visit(
        Where::All,
        move |core| Facts::of(core, histograms),
        move |parts, _| {
            Ok(Flow::ask(Question::Status, move |answer, cx| {
                report(cx, &wanted, Facts::merge(parts), *answer.status());
                Ok(Flow::Done)
            }))
        },
    ))
}

/// Writes the wanted sections.
fn report(cx: &mut ClientCx<'_, '_>, wanted: &[usize], facts: Facts, status: Status) {
    let report = Report {
        memory: Memory::of(&facts, cx.core.os),
        facts,
        status,
        core: cx.core,
    };
    let mut text = String::new();
    for &index in wanted {
        let section = &SECTIONS[index];
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str(&format!("# {}\r\n", section.title));
        (section.write)(&report, &mut text);
    }
    cx.reply.verbatim("txt", text.as_bytes());
}

/// Lines `name:value`, several at once. Writing to a string cannot fail.
macro_rules! lines {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => {
        $(let _ = write!($out, concat!($name, ":{}\r\n"), $value);)*
    };
}

/// Bytes as people read them: `1.09M`.
pub(super) fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit < 5 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", ["K", "M", "G", "T", "P", "E"][unit])
}

fn server(report: &Report<'_, '_>, out: &mut String) {
    let (core, node, config) = (report.core, report.core.node, &**report.core.config);
    let up = Duration::from_micros(core.now.wall_us.saturating_sub(node.started_us).max(0) as u64)
        .as_secs();
    lines!(out,
        "redis_version": REDIS_VERSION,
        "shardine_version": env!("CARGO_PKG_VERSION"),
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "redis_mode": "standalone",
        "os": node.os,
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": node.multiplexing_api,
        "process_id": node.pid,
        "process_supervised": "no",
        "run_id": node.run_id,
        "tcp_port": config.port,
        "server_time_usec": core.now.wall_us,
        "uptime_in_seconds": up,
        "uptime_in_days": up / 86_400,
        "hz": config.hz,
        "configured_hz": config.hz,
        "lru_clock": (core.now.wall_us / 1_000_000) & 0xff_ffff,
        "executable": node.executable,
        "config_file": node.config_file,
        "io_threads_active": 0,
        "shards": node.shards,
    );
    if config.port != 0 {
        let _ = write!(out, "listener0:name=tcp");
        for address in &config.bind {
            let _ = write!(out, ",bind={address}");
        }
        let _ = write!(out, ",port={}\r\n", config.port);
    }
    if !config.unixsocket.is_empty() {
        lines!(out, "listener1": format_args!("name=unix,bind={}", config.unixsocket));
    }
}

fn clients(report: &Report<'_, '_>, out: &mut String) {
    let (clients, stats) = (&report.facts.clients, &report.facts.stats);
    lines!(out,
        "connected_clients": clients.count,
        "cluster_connections": 0,
        "maxclients": report.core.config.maxclients,
        "client_recent_max_input_buffer": stats.query_buffer_peak_bytes.max(clients.query_bytes_max as u64),
        "client_recent_max_output_buffer": stats.output_buffer_peak_bytes.max(clients.output_bytes_max as u64),
        "blocked_clients": clients.blocked,
        "tracking_clients": clients.tracking,
        "pubsub_clients": clients.subscribers,
        "watching_clients": clients.watching,
        "clients_in_timeout_table": clients.waiting.timeouts,
        "total_watched_keys": clients.watched_keys,
        "total_blocking_keys": clients.waiting.keys,
        "total_blocking_keys_on_nokey": clients.waiting.keys_on_missing,
    );
}

fn memory(report: &Report<'_, '_>, out: &mut String) {
    let (memory, config) = (&report.memory, &**report.core.config);
    let machine = report.core.os.machine_memory_bytes();
    let backlog_bytes = report.status.backlog.map_or(0, |backlog| backlog.bytes);
    let followers = report.status.followers.iter();
    let unsent_bytes: u64 = followers.map(|follower| follower.unsent_bytes).sum();
    lines!(out,
        "used_memory": memory.used,
        "used_memory_human": human(memory.used),
        "used_memory_rss": memory.resident,
        "used_memory_rss_human": human(memory.resident),
        "used_memory_peak": memory.peak,
        "used_memory_peak_human": human(memory.peak),
        "used_memory_peak_perc": format_args!("{:.2}%", memory.used as f64 * 100.0 / memory.peak.max(1) as f64),
        "used_memory_overhead": memory.overhead,
        "used_memory_startup": memory.startup,
        "used_memory_dataset": memory.dataset,
        "used_memory_dataset_perc": format_args!("{:.2}%", memory.dataset_percent()),
        "total_system_memory": machine,
        "total_system_memory_human": human(machine),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": human(0),
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": human(0),
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": human(0),
        "maxmemory": config.maxmemory,
        "maxmemory_human": human(config.maxmemory),
        "maxmemory_policy": config.maxmemory_policy.name(),
        "mem_fragmentation_ratio": format_args!("{:.2}", memory.fragmentation()),
        "mem_fragmentation_bytes": memory.resident as i64 - memory.used as i64,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": backlog_bytes,
        "mem_total_replication_buffers": backlog_bytes,
        "mem_clients_slaves": unsent_bytes,
        "mem_clients_normal": report.facts.clients.memory_bytes,
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": report.core.node.allocator,
        "active_defrag_running": 0,
        "lazyfree_pending_objects": report.facts.garbage_keys,
    );
}

fn persistence(report: &Report<'_, '_>, out: &mut String) {
    let saving = &report.status.saving;
    let changes = report.facts.stats.totals.changes;
    lines!(out,
        "loading": u8::from(saving.loading.is_some()),
        "async_loading": 0,
        "current_cow_peak": 0,
        "current_cow_size": 0,
        "current_cow_size_age": 0,
        "current_fork_perc": "0.00",
        "current_save_keys_processed": 0,
        "current_save_keys_total": 0,
        "rdb_changes_since_last_save": changes.saturating_sub(saving.saved_changes),
        "rdb_bgsave_in_progress": u8::from(saving.saving),
        "rdb_last_save_time": saving.last_save_s,
        "rdb_last_bgsave_status": if saving.last_ok { "ok" } else { "err" },
        "rdb_last_bgsave_time_sec": saving.last_seconds,
        "rdb_current_bgsave_time_sec": saving.current_seconds,
        "rdb_saves": saving.saves,
        "rdb_last_cow_size": 0,
        "rdb_last_load_keys_expired": saving.last_load.expired,
        "rdb_last_load_keys_loaded": saving.last_load.keys,
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_last_write_status": "ok",
        "aof_last_cow_size": 0,
    );
    if let Some(load) = &saving.loading {
        let percent = load.read_bytes as f64 * 100.0 / load.total_bytes.max(1) as f64;
        let left = load.total_bytes.saturating_sub(load.read_bytes);
        let eta = match load.read_bytes {
            0 => 1,
            read => (u128::from(load.seconds) * u128::from(left) / u128::from(read)) as u64,
        };
        lines!(out,
            "loading_start_time": load.begun_s,
            "loading_total_bytes": load.total_bytes,
            "loading_rdb_used_mem": 0,
            "loading_loaded_bytes": load.read_bytes,
            "loading_loaded_perc": format_args!("{percent:.2}"),
            "loading_eta_seconds": eta,
        );
    }
}

fn stats(report: &Report<'_, '_>, out: &mut String) {
    let (stats, keyspace) = (&report.facts.stats, &report.facts.keyspace);
    // Every core knows the names of all.
    let pubsub = &*report.core.pubsub;
    let totals = &stats.totals;
    let kib = |rate: Rate| stats.rate(rate) as f64 / 1024.0;
    let command_ns: u64 = stats.commands().iter().map(|command| command.ns).sum();
    lines!(out,
        "total_connections_received": totals.connections,
        "total_commands_processed": totals.commands,
        "instantaneous_ops_per_sec": stats.rate(Rate::Commands),
        "total_net_input_bytes": totals.net_in_bytes,
        "total_net_output_bytes": totals.net_out_bytes,
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": format_args!("{:.2}", kib(Rate::NetIn)),
        "instantaneous_output_kbps": format_args!("{:.2}", kib(Rate::NetOut)),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": totals.connections_rejected,
        "sync_full": report.status.syncs[0],
        "sync_partial_ok": report.status.syncs[1],
        "sync_partial_err": report.status.syncs[2],
        "expired_keys": keyspace.expired,
        "expired_subkeys": keyspace.expired_fields,
        "expired_stale_perc": format_args!("{:.2}", keyspace.expired_stale_percent),
        "expired_time_cap_reached_count": keyspace.expired_time_cap_reached,
        "expire_cycle_cpu_milliseconds": totals.expire_ns / 1_000_000,
        "evicted_keys": keyspace.evicted,
        "evicted_clients": 0,
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": keyspace.hits,
        "keyspace_misses": keyspace.misses,
        "pubsub_channels": pubsub.len(Kind::Channel),
        "pubsub_patterns": pubsub.len(Kind::Pattern),
        "pubsubshard_channels": pubsub.len(Kind::ShardChannel),
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": report.facts.tracked[0],
        "tracking_total_items": report.facts.tracked[1],
        "tracking_total_prefixes": report.core.tracking.prefixes(),
        "unexpected_error_replies": totals.leader_errors,
        "total_error_replies": totals.errors,
        "dump_payload_sanitizations": 0,
        "total_reads_processed": report.facts.runtime("socket_reads"),
        "total_writes_processed": report.facts.runtime("socket_writes"),
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "client_query_buffer_limit_disconnections": totals.query_limit_disconnections,
        "client_output_buffer_limit_disconnections": totals.output_limit_disconnections,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
        "eventloop_cycles": report.facts.runtime("turns"),
        "eventloop_duration_cmd_sum": command_ns / 1000,
        "acl_access_denied_auth": totals.auth_denied,
        "acl_access_denied_cmd": 0,
        "acl_access_denied_key": 0,
        "acl_access_denied_channel": 0,
    );
}

fn replication(report: &Report<'_, '_>, out: &mut String) {
    let (status, config) = (&report.status, &**report.core.config);
    match &status.link {
        None => {
            lines!(out, "role": "master");
        }
        Some(link) => {
            let up = link.state == "connected";
            lines!(out,
                "role": "slave",
                "master_host": link.host,
                "master_port": link.port,
                "master_link_status": if up { "up" } else { "down" },
                "master_last_io_seconds_ago": link.last_io_seconds,
                "master_sync_in_progress": u8::from(link.sync.is_some()),
                "slave_read_repl_offset": link.read_offset,
                "slave_repl_offset": link.applied_offset,
            );
            if let Some(sync) = &link.sync {
                let total = sync.total_bytes.map_or(-1, |bytes| bytes as i64);
                let left = sync
                    .total_bytes
                    .map_or(-1, |bytes| bytes.saturating_sub(sync.read_bytes) as i64);
                let done = match sync.total_bytes {
                    Some(total) if total > 0 => sync.read_bytes as f64 * 100.0 / total as f64,
                    _ => 0.0,
                };
                lines!(out,
                    "master_sync_total_bytes": total,
                    "master_sync_read_bytes": sync.read_bytes,
                    "master_sync_left_bytes": left,
                    "master_sync_perc": format_args!("{done:.2}"),
                    "master_sync_last_io_seconds_ago": sync.last_io_seconds,
                );
            }
            if let Some(seconds) = link.down_seconds {
                lines!(out, "master_link_down_since_seconds": seconds);
            }
            lines!(out,
                "slave_priority": config.replica_priority,
                "slave_read_only": u8::from(config.replica_read_only),
                "replica_announced": u8::from(config.replica_announced),
            );
        }
    }
    lines!(out, "connected_slaves": status.followers.len());
    if config.min_replicas_to_write > 0 && config.min_replicas_max_lag > 0 {
        lines!(out, "min_slaves_good_slaves": report.core.switches.standing.good_followers);
    }
    for (index, follower) in status.followers.iter().enumerate() {
        let _ = write!(
            out,
            "slave{index}:ip={},port={},state={},offset={},lag={}\r\n",
            follower.ip, follower.port, follower.state, follower.offset, follower.lag_seconds
        );
    }
    let backlog = status.backlog.unwrap_or_default();
    lines!(out,
        "master_failover_state": status.failover_state,
        "master_replid": status.id,
        "master_replid2": status.id2,
        "master_repl_offset": status.offset,
        "second_repl_offset": status.second_offset,
        "repl_backlog_active": u8::from(status.backlog.is_some()),
        "repl_backlog_size": config.repl_backlog_size,
        "repl_backlog_first_byte_offset": backlog.first_byte,
        "repl_backlog_histlen": backlog.bytes,
    );
}

fn cpu(report: &Report<'_, '_>, out: &mut String) {
    let [system, user, children_system, children_user] = report.core.os.cpu_seconds();
    let [cores_system, cores_user] = report.facts.thread_cpu_s;
    for (name, seconds) in [
        ("used_cpu_sys", system),
        ("used_cpu_user", user),
        ("used_cpu_sys_children", children_system),
        ("used_cpu_user_children", children_user),
        ("used_cpu_sys_main_thread", cores_system),
        ("used_cpu_user_main_thread", cores_user),
    ] {
        let _ = write!(out, "{name}:{seconds:.6}\r\n");
    }
}

fn commandstats(report: &Report<'_, '_>, out: &mut String) {
    for (registered, stats) in report
        .core
        .registry
        .all()
        .iter()
        .zip(report.facts.stats.commands())
    {
        if stats.calls + stats.rejected + stats.failed == 0 {
            continue;
        }
        let us = stats.ns / 1000;
        let per_call = if stats.calls == 0 {
            0.0
        } else {
            stats.ns as f64 / 1000.0 / stats.calls as f64
        };
        let _ = write!(
            out,
            "cmdstat_{}:calls={},usec={us},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}\r\n",
            registered.command.name, stats.calls, stats.rejected, stats.failed
        );
    }
}

fn errorstats(report: &Report<'_, '_>, out: &mut String) {
    let mut errors: Vec<(&str, u64)> = report.facts.stats.errors().collect();
    errors.sort_unstable();
    for (code, count) in errors {
        let _ = write!(out, "errorstat_{code}:count={count}\r\n");
    }
}

fn latencystats(report: &Report<'_, '_>, out: &mut String) {
    let percentiles = &report.core.config.latency_tracking_info_percentiles;
    if percentiles.is_empty() {
        return;
    }
    for (registered, stats) in report
        .core
        .registry
        .all()
        .iter()
        .zip(report.facts.stats.commands())
    {
        let Some(histogram) = &stats.histogram else {
            continue;
        };
        let figures: Vec<String> = percentiles
            .iter()
            .map(|&percentile| {
                format!(
                    "p{percentile}={:.3}",
                    histogram.percentile(percentile) as f64 / 1000.0
                )
            })
            .collect();
        let name = registered.command.name;
        let _ = write!(
            out,
            "latency_percentiles_usec_{name}:{}\r\n",
            figures.join(",")
        );
    }
}

fn cluster(_: &Report<'_, '_>, out: &mut String) {
    lines!(out, "cluster_enabled": 0);
}

fn keyspace(report: &Report<'_, '_>, out: &mut String) {
    for (db, database) in report.facts.databases.iter().enumerate() {
        if database.keys > 0 {
            let _ = write!(
                out,
                "db{db}:keys={},expires={},avg_ttl={}\r\n",
                database.keys,
                database.expires,
                database.avg_ttl_ms()
            );
        }
    }
}

fn mesh(report: &Report<'_, '_>, out: &mut String) {
    for (name, value) in &report.facts.runtime {
        let _ = write!(out, "{name}:{value}\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testnode::TestNode;

    fn names(line: &str) -> Vec<&'static str> {
        let wanted = wanted(
            line.split_whitespace()
                .map(str::as_bytes)
                .collect::<Vec<_>>()
                .into_iter(),
        );
        wanted
            .into_iter()
            .map(|index| SECTIONS[index].name)
            .collect()
    }

    #[test]
    fn sections_are_chosen_by_name() {
        assert_eq!(names("CPU server cpu nosuch"), ["server", "cpu"]);
        assert_eq!(names(""), names("default"));
        assert!(!names("").contains(&"commandstats"));
        assert_eq!(names("everything").len(), SECTIONS.len());
        assert_eq!(names("all"), names("everything"));
    }

    #[test]
    fn bytes_as_people_read_them() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(25_276_502_016), "23.54G");
        assert_eq!(human(u64::MAX), "16.00E");
    }

    #[test]
    fn counters_of_the_cores_are_added() {
        let mut node = TestNode::new(2);
        node.connect(0);
        node.connect(1);
        for core in 0..2 {
            let stats = node.stats(core);
            stats.totals.net_in_bytes = 100;
            stats.record(0, 2000, true);
            stats.error("ERR");
        }
        let text = node.text(
            0,
            "INFO stats clients commandstats errorstats mesh latencystats",
        );
        for line in [
            "total_net_input_bytes:200",
            "connected_clients:2",
            "total_error_replies:2",
            "errorstat_ERR:count=2",
            ":calls=2,usec=4,usec_per_call=2.00,rejected_calls=0,failed_calls=2",
            "mesh_messages:14",
            "p50=2.007,p99=2.007,p99.9=2.007",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("# Server"));
    }

    #[test]
    fn the_reply_is_verbatim_text() {
        let mut node = TestNode::new(1);
        node.connect(0);
        node.run(0, "HELLO 3");
        assert_eq!(
            node.run(0, "INFO cluster"),
            "=34|txt:# Cluster|cluster_enabled:0||"
        );
        assert_eq!(node.run(0, "INFO nosuch"), "=4|txt:|");
    }
}
