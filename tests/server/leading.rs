//! The server as a leader: the real Redis follows it, through full and partial synchronisation, while clients write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{Server, wait_until};
use super::on_all_shards;
use super::wire::{Value, Wire};

const DEBUG: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
];
/// A follower that is healthy has caught up by then, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(30);

fn follower_of(leader: &Server) -> Option<Server> {
    let port = leader.port.to_string();
    Server::redis(&[
        "--enable-debug-command",
        "yes",
        "--replicaof",
        "127.0.0.1",
        &port,
    ])
}

fn field(server: &Server, section: &str, field: &str) -> String {
    let text = server.wire().call(&["INFO", section]).text();
    let start = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_default().to_string()
}

/// Waits until the follower has everything; both have the same data then.
fn converge(leader: &Server, follower: &Server) {
    let offsets = || {
        (
            field(leader, "replication", "master_repl_offset"),
            field(follower, "replication", "slave_repl_offset"),
        )
    };
    wait_until("the follower has caught up", PATIENCE, || {
        let (ours, theirs) = offsets();
        field(follower, "replication", "master_link_status") == "up" && ours == theirs
    });
    let digest = |server: &Server| server.wire().run("DEBUG DIGEST").text();
    wait_until("both have the same data", PATIENCE, || {
        digest(leader) == digest(follower)
    });
}

/// One writer's lines: every type, transactions, expiries, several databases.
fn write_some(wire: &mut Wire, writer: u64, step: u64) {
    let key = |kind: &str| format!("{kind}{}", (writer * 31 + step * 7) % 50);
    let lines: Vec<Vec<String>> = [
        format!("SET {} v{step}", key("string")),
        format!("APPEND {} +{step}", key("string")),
        format!("INCRBY {} 3", key("count")),
        format!("RPUSH {} a{step} b{step} c{step}", key("list")),
        format!("LPOP {}", key("list")),
        format!(
            "LMOVE {} {} LEFT RIGHT",
            key("list"),
            format_args!("list{}", step % 50)
        ),
        format!(
            "HSET {} f{} v{step} g{} {step}",
            key("hash"),
            step % 20,
            step % 7
        ),
        format!("HINCRBYFLOAT {} n 0.5", key("hash")),
        format!("SADD {} m{} {step}", key("set"), step % 40),
        format!("SPOP {}", key("set")),
        format!(
            "SUNIONSTORE union{} {} {}",
            step % 10,
            key("set"),
            format_args!("set{}", step % 50)
        ),
        format!("ZADD {} {step} m{}", key("zset"), step % 40),
        format!("ZPOPMIN {}", key("zset")),
        format!("XADD {} MAXLEN ~ 100 * f {step}", key("stream")),
        format!("PFADD {} {step}", key("hll")),
        format!(
            "MSET x{} {step} y{} {step} z{} {step}",
            step % 9,
            step % 8,
            step % 7
        ),
        format!("RENAME x{} y{}", step % 9, step % 8),
        format!("SET brief{} v PX {}", step % 30, 1 + step % 100),
        format!("EXPIRE {} 1000", key("string")),
        format!("DEL {} {}", key("count"), key("hll")),
        format!("COPY {} copy{} REPLACE", key("hash"), step % 10),
        format!(
            "GEOADD places {}.5 {}.25 p{}",
            step % 90,
            step % 60,
            step % 30
        ),
        format!("SETRANGE wide{} {} x", step % 3, step % 3000),
        format!("SELECT {}", step % 3),
    ]
    .iter()
    .map(|line| line.split(' ').map(String::from).collect())
    .collect();
    let mut bytes = Vec::new();
    let multi = step.is_multiple_of(4);
    let mut replies = lines.len();
    if multi {
        bytes.extend(super::wire::encode(&["MULTI"]));
        replies += 2;
    }
    for line in &lines {
        bytes.extend(super::wire::encode(line));
    }
    if multi {
        bytes.extend(super::wire::encode(&["EXEC"]));
    }
    wire.send(&bytes);
    for _ in 0..replies {
        // Some lines may fail (RENAME of a missing key): they change nothing then, here and there.
        wire.reply();
    }
}

/// Runs `during` while some clients write.
fn while_writing(leader: &Server, during: impl FnOnce()) {
    let writing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let writing = &writing;
            scope.spawn(move || {
                let mut wire = leader.wire();
                let mut step = 0;
                while writing.load(Ordering::Relaxed) {
                    write_some(&mut wire, writer, step);
                    step += 1;
                }
            });
        }
        let stop = StopAtEnd(&writing);
        during();
        drop(stop);
    });
}

/// Ends the writers also when an assertion fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn redis_follows_while_clients_write_and_the_link_is_cut() {
    on_all_shards(DEBUG, |leader| {
        let mut wire = leader.wire();
        for step in 0..200 {
            write_some(&mut wire, 9, step);
        }
        wire.run("CONFIG SET repl-backlog-size 64mb");
        let mut follower = None;
        while_writing(leader, || {
            follower = follower_of(leader);
            let Some(follower) = &follower else { return };
            wait_until("the link is up", PATIENCE, || {
                field(follower, "replication", "master_link_status") == "up"
            });
            for cut in 1..=5 {
                let accepted = || field(leader, "stats", "sync_partial_ok");
                let before = accepted();
                follower.wire().run("CLIENT KILL TYPE master");
                wait_until("the follower is back", PATIENCE, || {
                    accepted() != before
                        && field(follower, "replication", "master_link_status") == "up"
                });
                assert_eq!(field(leader, "stats", "sync_full"), "1", "cut {cut}");
            }
        });
        let Some(follower) = &follower else { return };
        converge(leader, follower);
    });
}

#[test]
fn several_followers_share_one_walk() {
    on_all_shards(&["--repl-diskless-sync-delay", "1"], |leader| {
        let mut wire = leader.wire();
        for step in 0..300 {
            write_some(&mut wire, 1, step);
        }
        let (Some(one), Some(two)) = (follower_of(leader), follower_of(leader)) else {
            return;
        };
        for follower in [&one, &two] {
            wait_until("the link is up", PATIENCE, || {
                field(follower, "replication", "master_link_status") == "up"
            });
        }
        assert_eq!(wire.run("SELECT 0").text(), "OK");
        assert_eq!(wire.run("SET a 1").text(), "OK");
        assert_eq!(wire.run("WAIT 2 20000"), Value::Int(2));
        assert_eq!(one.wire().run("GET a").text(), "1");
        assert_eq!(two.wire().run("GET a").text(), "1");
        assert_eq!(field(leader, "replication", "connected_slaves"), "2");
    });
}

#[test]
fn wait_counts_followers_and_knows_its_time() {
    on_all_shards(DEBUG, |leader| {
        let mut wire = leader.wire();
        assert_eq!(wire.run("WAIT 0 0"), Value::Int(0));
        assert_eq!(wire.run("WAIT 1 20"), Value::Int(0));
        assert!(wire.run("WAIT x 0").is_error() && wire.run("WAIT 1 -1").is_error());
        assert_eq!(wire.run("CONFIG SET min-replicas-to-write 1").text(), "OK");
        assert_eq!(
            wire.run("SET a 1").text(),
            "NOREPLICAS Not enough good replicas to write."
        );
        let Some(follower) = follower_of(leader) else {
            return;
        };
        wait_until("writes are taken", PATIENCE, || {
            !wire.run("SET a 1").is_error()
        });
        assert_eq!(wire.run("WAIT 1 20000"), Value::Int(1));
        assert_eq!(follower.wire().run("GET a").text(), "1");
        assert_eq!(wire.run("MULTI").text(), "OK");
        wire.run("SET a 2");
        wire.run("WAIT 5 0");
        assert_eq!(wire.run("EXEC").elements().len(), 2);
        assert_eq!(wire.run("WAIT 2 100"), Value::Int(1));
    });
}

#[test]
fn a_stopped_follower_is_dropped_at_its_limit() {
    let mut args = DEBUG.to_vec();
    args.extend([
        "--client-output-buffer-limit",
        "replica 4mb 0 0",
        "--repl-backlog-size",
        "64kb",
    ]);
    on_all_shards(&args, |leader| {
        let Some(follower) = follower_of(leader) else {
            return;
        };
        wait_until("the link is up", PATIENCE, || {
            field(&follower, "replication", "master_link_status") == "up"
        });
        let mut wire = leader.wire();
        follower.signal(rustix::process::Signal::STOP);
        let value = "x".repeat(100_000);
        wait_until("the follower is dropped", PATIENCE, || {
            for _ in 0..20 {
                assert_eq!(wire.call(&["SET", "large", &value]).text(), "OK");
            }
            field(leader, "replication", "connected_slaves") == "0"
        });
        follower.signal(rustix::process::Signal::CONT);
        converge(leader, &follower);
    });
}
