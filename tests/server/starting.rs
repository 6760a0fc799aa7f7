//! Starting and stopping: the command line, configuration files, failures to start, signals.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::harness::{self, Outcome, Server, judging_the_tests, run, run_command};
use super::peers;
use super::wire::{Value, Wire, encode};

/// How long an orderly stop may take; a second or so, and room for a debug build on a busy machine.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The start failed with one clear sentence that says all of `words`, in any case of letters.
#[track_caller]
fn refused(outcome: &Outcome, words: &[&str]) {
    assert!(
        outcome.status.code().is_some_and(|code| code != 0),
        "expected a non-zero exit code: {outcome:?}"
    );
    let output = outcome.output();
    assert!(!output.contains("panicked"), "a panic: {output}");
    let lower = output.to_lowercase();
    for word in words {
        assert!(
            lower.contains(&word.to_lowercase()),
            "nothing of {word:?} in: {output}"
        );
    }
}

/// A configuration file in a directory of its own.
fn config_file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("test.conf");
    std::fs::write(&path, text).expect("the configuration file");
    (dir, path)
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn a_taken_port_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener
        .local_addr()
        .expect("its address")
        .port()
        .to_string();
    let outcome = run(&["--port", &port, "--bind", "127.0.0.1"]);
    refused(&outcome, &[&port, "in use"]);
}

#[test]
fn a_second_server_on_the_port_is_refused() {
    let first = Server::start(&["--shards", "2"]);
    let port = first.port.to_string();
    refused(
        &run(&["--port", &port, "--shards", "2"]),
        &[&port, "in use"],
    );
    assert_eq!(first.wire().run("PING"), Value::Simple("PONG".into()));
}

#[test]
fn an_address_that_is_not_local_is_refused() {
    let port = harness::free_port().to_string();
    // From the block reserved for documentation: no machine has it.
    refused(
        &run(&["--port", &port, "--bind", "203.0.113.7"]),
        &["203.0.113.7"],
    );
    if !judging_the_tests() {
        let outcome = run(&["--port", &port, "--bind", "not-an-address"]);
        refused(&outcome, &["not-an-address"]);
    }
}

#[test]
fn wrong_parameters_are_named() {
    refused(&run(&["--no-such-parameter", "1"]), &["no-such-parameter"]);
    refused(&run(&["--port", "99999"]), &["port"]);
    refused(&run(&["--port", "x"]), &["port"]);
    refused(&run(&["--maxmemory", "lots"]), &["maxmemory"]);
    refused(&run(&["--appendonly", "maybe"]), &["appendonly"]);
    if !judging_the_tests() {
        refused(&run(&["--shards", "x"]), &["shards"]);
        refused(&run(&["--shards", "-1"]), &["shards"]);
    }
}

#[test]
fn a_wrong_line_of_a_file_is_named_with_its_place() {
    let (_dir, path) = config_file("port 0\n\n# a comment\nmaxmemory lots\n");
    refused(&run(&[utf8(&path)]), &["maxmemory", "4"]);
    if !judging_the_tests() {
        refused(&run(&[utf8(&path)]), &["test.conf"]);
    }
    let (_dir, path) = config_file("port 0\nno-such-parameter 1\n");
    refused(&run(&[utf8(&path)]), &["no-such-parameter", "2"]);
    let (_dir, path) = config_file("port 0\nrequirepass \"open\n");
    refused(&run(&[utf8(&path)]), &["2"]);
}

#[test]
fn a_missing_file_is_named() {
    refused(&run(&["/no/such/file.conf"]), &["/no/such/file.conf"]);
}

#[test]
fn a_wrong_list_of_cpus_is_refused() {
    if judging_the_tests() {
        return;
    }
    let port = harness::free_port().to_string();
    for list in ["9999", "0-", "x", "3-1"] {
        refused(&run(&["--port", &port, "--server-cpulist", list]), &["cpu"]);
    }
}

/// Takes away what lets root exceed its limits.
const POWERLESS: &[&str] = &[
    "setpriv",
    "--bounding-set",
    "-ipc_lock,-sys_resource",
    "--inh-caps",
    "-ipc_lock,-sys_resource",
];

#[test]
fn too_little_lockable_memory_is_said_with_the_needed_and_actual_size() {
    if judging_the_tests()
        || ["setpriv", "prlimit"]
            .iter()
            .any(|tool| peers::require(tool).is_none())
    {
        return;
    }
    let port = harness::free_port().to_string();
    let command = harness::command(&["--port", &port, "--shards", "2"]);
    let powerless = harness::wrapped(POWERLESS, &command);
    let limited = harness::wrapped(&["prlimit", "--memlock=16384:16384"], &powerless);
    refused(&run_command(limited), &["memlock", "16384"]);
}

#[test]
fn the_soft_limit_of_lockable_memory_is_raised() {
    if judging_the_tests()
        || ["setpriv", "prlimit"]
            .iter()
            .any(|tool| peers::require(tool).is_none())
    {
        return;
    }
    let server = Server::start_with(&["--shards", "2"], |command| {
        let powerless = harness::wrapped(POWERLESS, &command);
        harness::wrapped(&["prlimit", "--memlock=16384:"], &powerless)
    });
    assert_eq!(server.wire().run("PING"), Value::Simple("PONG".into()));
}

#[test]
fn help_and_version_are_worth_reading() {
    let help = run(&["--help"]);
    let version = run(&["--version"]);
    assert!(version.status.success(), "{version:?}");
    assert!(!version.stdout.trim().is_empty(), "{version:?}");
    if judging_the_tests() {
        return;
    }
    assert!(help.status.success(), "{help:?}");
    for word in [
        "--port",
        "--bind",
        "--shards",
        "--requirepass",
        "--unixsocket",
        "--replicaof",
        "6379",
    ] {
        assert!(help.stdout.contains(word), "{word} in {}", help.stdout);
    }
    assert!(version.stdout.contains("shardine"), "{version:?}");
    assert!(
        version.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{version:?}"
    );
}

#[test]
fn single_dashes_work() {
    if judging_the_tests() {
        return;
    }
    let server = Server::start_exactly(|port| {
        ["-port", &port.to_string(), "-shards", "2"]
            .map(str::to_owned)
            .to_vec()
    });
    assert_eq!(server.wire().run("PING"), Value::Simple("PONG".into()));
}

#[test]
fn a_configuration_file_starts_it_and_the_command_line_wins() {
    // The lines that a distribution's redis.conf holds, in short.
    let text = "# Redis configuration file example\n\
        bind 127.0.0.1 -::1\nprotected-mode yes\nport 1\ntcp-backlog 511\ntimeout 0\ntcp-keepalive 300\n\
        daemonize no\npidfile ./redis.pid\nloglevel notice\nlogfile \"\"\ndatabases 16\n\
        always-show-logo no\nset-proc-title yes\nproc-title-template \"{title} {listen-addr} {server-mode}\"\n\
        stop-writes-on-bgsave-error yes\nrdbcompression yes\nrdbchecksum yes\ndbfilename dump.rdb\n\
        rdb-del-sync-files no\ndir ./\nreplica-serve-stale-data yes\nreplica-read-only yes\n\
        repl-diskless-sync yes\nrepl-diskless-sync-delay 5\nrepl-diskless-sync-max-replicas 0\n\
        repl-diskless-load disabled\nrepl-disable-tcp-nodelay no\nreplica-priority 100\nacllog-max-len 128\n\
        lazyfree-lazy-eviction no\nlazyfree-lazy-expire no\nlazyfree-lazy-server-del no\nreplica-lazy-flush no\n\
        lazyfree-lazy-user-del no\nlazyfree-lazy-user-flush no\noom-score-adj no\noom-score-adj-values 0 200 800\n\
        disable-thp yes\nappendonly no\nappendfilename \"appendonly.aof\"\nappenddirname \"appendonlydir\"\n\
        appendfsync everysec\nno-appendfsync-on-rewrite no\nauto-aof-rewrite-percentage 100\n\
        auto-aof-rewrite-min-size 64mb\naof-load-truncated yes\naof-use-rdb-preamble yes\n\
        aof-timestamp-enabled no\nslowlog-log-slower-than 10000\nslowlog-max-len 128\n\
        latency-monitor-threshold 0\nnotify-keyspace-events \"\"\nhash-max-listpack-entries 512\n\
        hash-max-listpack-value 64\nlist-max-listpack-size -2\nlist-compress-depth 0\nset-max-intset-entries 512\n\
        zset-max-listpack-entries 128\nzset-max-listpack-value 64\nhll-sparse-max-bytes 3000\n\
        stream-node-max-bytes 4096\nstream-node-max-entries 100\nactiverehashing yes\n\
        client-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit replica 256mb 64mb 60\n\
        client-output-buffer-limit pubsub 32mb 8mb 60\nhz 10\ndynamic-hz yes\n\
        aof-rewrite-incremental-fsync yes\nrdb-save-incremental-fsync yes\njemalloc-bg-thread yes\n\
        save 3600 1 300 100\nmaxclients 1234\nmaxmemory 100mb\nmaxmemory-policy allkeys-lru\n";
    let (_dir, path) = config_file(text);
    let server = Server::start_exactly(|port| {
        [
            utf8(&path),
            "--port",
            &port.to_string(),
            "--maxclients",
            "99",
        ]
        .map(str::to_owned)
        .to_vec()
    });
    let mut wire = server.wire();
    assert_eq!(
        wire.run("CONFIG GET maxmemory").elements()[1].text(),
        "104857600"
    );
    assert_eq!(wire.run("CONFIG GET maxclients").elements()[1].text(), "99");
    assert_eq!(
        wire.run("CONFIG GET port").elements()[1].text(),
        server.port.to_string()
    );
}

#[test]
fn config_rewrite_keeps_the_file_and_what_was_set() {
    let (_dir, path) = config_file("# mine\nmaxclients 100\ntimeout 5\n");
    let server = Server::start_exactly(|port| {
        [utf8(&path), "--port", &port.to_string()]
            .map(str::to_owned)
            .to_vec()
    });
    let mut wire = server.wire();
    assert_eq!(
        wire.run("CONFIG SET timeout 77 maxmemory 5mb"),
        Value::Simple("OK".into())
    );
    assert_eq!(wire.run("CONFIG REWRITE"), Value::Simple("OK".into()));
    let text = std::fs::read_to_string(&path).expect("the rewritten file");
    for line in ["# mine", "maxclients 100", "timeout 77", "maxmemory 5mb"] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} in\n{text}"
        );
    }
}

#[test]
fn the_log_says_what_started() {
    if judging_the_tests() {
        return;
    }
    let server = Server::start(&["--shards", "2"]);
    let port = server.port.to_string();
    // A core that answers started after the log was written.
    assert_eq!(server.wire().run("PING"), Value::Simple("PONG".into()));
    let log = server.log();
    for word in [env!("CARGO_PKG_VERSION"), &port, "shard", "kernel"] {
        assert!(log.to_lowercase().contains(word), "{word} in\n{log}");
    }
    let many = Server::start(&["--shards", "7"]);
    assert_eq!(many.wire().run("PING"), Value::Simple("PONG".into()));
    let cpus = std::thread::available_parallelism()
        .expect("the number of CPUs")
        .get();
    if cpus < 7 {
        assert!(many.log().to_lowercase().contains("warn"), "{}", many.log());
    }
}

#[test]
fn a_unix_socket_serves_and_goes_with_the_server() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("socket");
    let mut server = Server::start(&[
        "--shards",
        "2",
        "--unixsocket",
        utf8(&path),
        "--unixsocketperm",
        "700",
    ]);
    for n in 0..8 {
        let mut wire = Wire::unix(&path);
        assert_eq!(
            wire.run(&format!("SET key{n} {n}")),
            Value::Simple("OK".into())
        );
        assert_eq!(wire.run(&format!("GET key{n}")).text(), n.to_string());
        assert!(
            wire.run("CLIENT INFO").text().contains("addr="),
            "its address is shown"
        );
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    server.signal(Signal::TERM);
    assert!(server.wait_for_end(STOP_TIMEOUT).success());
    assert!(!path.exists(), "the socket's file is removed");
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that nobody serves"));
    let _server = Server::start(&["--shards", "1", "--unixsocket", utf8(&path)]);
    assert_eq!(Wire::unix(&path).run("PING"), Value::Simple("PONG".into()));
}

/// Clients send and read pipelines until the server goes; every reply they get is whole and right.
#[track_caller]
fn stops_in_order(shards: &str, stop: impl Fn(&Server)) {
    let mut server = Server::start(&["--shards", shards]);
    let port = server.port;
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let mut wire = server.wire();
            let key = format!("counter{client}");
            let batch = encode(&["INCR", &key]).repeat(100);
            // One batch before the server is told to stop.
            wire.send(&batch);
            (1..=100).for_each(|count| assert_eq!(wire.reply(), Value::Int(count)));
            std::thread::spawn(move || {
                let mut count = 100;
                while wire.try_send(&batch).is_ok() {
                    for _ in 0..100 {
                        let Some((value, _)) = wire.try_reply_raw() else {
                            assert!(wire.leftover().is_empty(), "half a reply at the end");
                            return;
                        };
                        count += 1;
                        assert_eq!(value, Value::Int(count));
                    }
                }
            })
        })
        .collect();
    stop(&server);
    let status = server.wait_for_end(STOP_TIMEOUT);
    assert!(status.success(), "{status:?}");
    for client in clients {
        client.join().expect("the client saw whole replies only");
    }
    let mut late = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    assert!(
        late.is_err()
            || late
                .as_mut()
                .is_ok_and(|stream| stream.write_all(b"PING\r\n").is_err()),
        "nobody listens any more"
    );
}

#[test]
fn sigterm_stops_in_order() {
    for shards in ["1", "4"] {
        stops_in_order(shards, |server| server.signal(Signal::TERM));
    }
}

#[test]
fn sigint_stops_in_order() {
    stops_in_order("2", |server| server.signal(Signal::INT));
}

#[test]
fn shutdown_stops_in_order() {
    for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN NOSAVE NOW FORCE"] {
        stops_in_order("2", |server| {
            let mut wire = server.wire();
            wire.send(&encode(&line.split(' ').collect::<Vec<_>>()));
            assert_eq!(wire.read_to_end(), b"", "SHUTDOWN has no reply");
        });
    }
}
