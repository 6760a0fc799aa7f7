//! The leader's role goes to a follower: by FAILOVER, with this server and the real Redis on either side, and by Sentinel when the
//! leader is killed. What a client was told is kept is kept.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::SHARDS;
use super::harness::{Server, wait_until};
use super::wire::{Value, Wire};

const PATIENCE: Duration = Duration::from_secs(60);
const COMMON: [&str; 4] = [
    "--repl-diskless-sync-delay",
    "0",
    "--enable-debug-command",
    "yes",
];

fn shardine(shards: usize, args: &[&str]) -> Server {
    let shards = shards.to_string();
    let mut all = vec!["--shards", &shards];
    all.extend(COMMON);
    all.extend(args);
    Server::start(&all)
}

fn run(server: &Server, line: &str) -> Value {
    server.wire().run(line)
}

fn follow(follower: &Server, leader: &Server) {
    let reply = run(follower, &format!("REPLICAOF 127.0.0.1 {}", leader.port));
    assert_eq!(reply.text(), "OK");
    caught_up(leader, follower);
}

#[track_caller]
fn caught_up(leader: &Server, follower: &Server) {
    wait_until("the follower has everything", PATIENCE, || {
        follower.info("master_link_status") == "up"
            && leader.info("master_repl_offset") == follower.info("slave_repl_offset")
    });
}

fn digest(server: &Server) -> String {
    run(server, "DEBUG DIGEST").text()
}

/// Adds one to counters on whichever server leads, until it is told to stop: counts what was answered, and what may have been done.
struct Writer {
    /// Where the leader is believed to be.
    port: AtomicU16,
    writing: AtomicBool,
    answered: [AtomicU64; 4],
}

impl Writer {
    fn new(port: u16) -> Writer {
        Writer {
            port: AtomicU16::new(port),
            writing: AtomicBool::new(true),
            answered: Default::default(),
        }
    }

    /// Lines that are refused come again; a refusal is the sign to look elsewhere.
    fn run(&self, client: usize) {
        let mut port = self.port.load(Ordering::SeqCst);
        let mut wire = Wire::connect(port);
        while self.writing.load(Ordering::SeqCst) {
            let reply = wire.call(&["INCR", &format!("counter:{client}")]);
            if reply.is_error() {
                let text = reply.text();
                assert!(text.starts_with("READONLY"), "{text}");
                wait_until("the leader is known", PATIENCE, || {
                    let now = self.port.load(Ordering::SeqCst);
                    now != port || !self.writing.load(Ordering::SeqCst)
                });
                port = self.port.load(Ordering::SeqCst);
                wire = Wire::connect(port);
                continue;
            }
            self.answered[client].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// What every client was told is there.
    fn check(&self, leader: &Server) {
        for (client, answered) in self.answered.iter().enumerate() {
            let kept = run(leader, &format!("GET counter:{client}")).text();
            assert_eq!(
                kept,
                answered.load(Ordering::SeqCst).to_string(),
                "counter:{client}"
            );
        }
    }
}

/// The role goes to and fro between two servers while clients write.
fn hand_to_and_fro(a: &Server, b: &Server) {
    run(a, "DEBUG POPULATE 1000");
    follow(b, a);
    let writer = Writer::new(a.port);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let writer = &writer;
            scope.spawn(move || writer.run(client));
        }
        let _stop = Stop(&writer.writing);
        for round in 0..4 {
            let (leader, follower) = if round % 2 == 0 { (a, b) } else { (b, a) };
            let before = writer.answered[0].load(Ordering::SeqCst);
            wait_until("clients write", PATIENCE, || {
                writer.answered[0].load(Ordering::SeqCst) > before + 20
            });
            let to = format!("FAILOVER TO 127.0.0.1 {}", follower.port);
            let line = if round < 2 { "FAILOVER" } else { &to };
            assert_eq!(run(leader, line).text(), "OK");
            wait_until("the follower leads", PATIENCE, || {
                follower.info("role") == "master"
            });
            wait_until("the leader follows", PATIENCE, || {
                leader.info("role") == "slave" && leader.info("master_link_status") == "up"
            });
            assert_eq!(leader.info("master_failover_state"), "no-failover");
            writer.port.store(follower.port, Ordering::SeqCst);
        }
    });
    caught_up(a, b);
    writer.check(a);
    assert_eq!(digest(a), digest(b));
    let fulls = [a, b].map(|server| server.info("sync_full").parse::<u64>().expect("a number"));
    assert_eq!(fulls.iter().sum::<u64>(), 1, "{fulls:?}");
}

/// Sets the flag at the end of its scope, however that ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn failover_loses_no_answered_write() {
    for shards in SHARDS {
        hand_to_and_fro(&shardine(shards, &[]), &shardine(2, &[]));
        let Some(redis) = Server::redis(&COMMON) else {
            return;
        };
        hand_to_and_fro(&shardine(shards, &[]), &redis);
    }
}

#[test]
fn a_failover_that_cannot_be_is_given_up() {
    for shards in SHARDS {
        let leader = shardine(shards, &[]);
        let follower = shardine(2, &[]);
        follow(&follower, &leader);
        let port = follower.port;
        for (line, refusal) in [
            ("FAILOVER ABORT", "ERR No failover in progress."),
            (
                "FAILOVER TO 127.0.0.1 1",
                "ERR FAILOVER target HOST and PORT is not a replica.",
            ),
            (
                "PSYNC 0 1 FAILOVER",
                "ERR PSYNC FAILOVER can't be sent to a master.",
            ),
        ] {
            assert_eq!(run(&leader, line).text(), refusal);
        }
        assert_eq!(
            run(&follower, "FAILOVER").text(),
            "ERR FAILOVER is not valid when server is a replica."
        );
        assert_eq!(
            run(&follower, "PSYNC 0 1 FAILOVER").text(),
            "ERR PSYNC FAILOVER replid must match my replid."
        );
        // A follower that is stopped acknowledges nothing: writes wait until the time is over.
        follower.signal(Signal::STOP);
        assert_eq!(run(&leader, "SET a 1").text(), "OK");
        let line = format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 300");
        assert_eq!(run(&leader, &line).text(), "OK");
        assert_eq!(leader.info("master_failover_state"), "waiting-for-sync");
        assert_eq!(
            run(&leader, "FAILOVER").text(),
            "ERR FAILOVER already in progress."
        );
        assert_eq!(
            run(&leader, "REPLICAOF 127.0.0.1 1").text(),
            "ERR REPLICAOF not allowed while failing over."
        );
        assert_eq!(
            run(&leader, "PSYNC ? -1").text(),
            "NOMASTERLINK Can't SYNC while failing over"
        );
        let mut writer = leader.wire();
        assert_eq!(run(&leader, "GET a").text(), "1");
        assert_eq!(writer.run("SET a 2").text(), "OK");
        assert_eq!(leader.info("master_failover_state"), "no-failover");
        assert_eq!(leader.info("role"), "master");
        // Without a time it waits until it is told to give up.
        assert_eq!(run(&leader, "FAILOVER").text(), "OK");
        writer.send(b"SET a 3\r\n");
        assert_eq!(run(&leader, "GET a").text(), "2");
        assert_eq!(run(&leader, "FAILOVER ABORT").text(), "OK");
        assert_eq!(writer.reply().text(), "OK");
        // By force it follows whom it names, who does not answer; then it leads on.
        assert_eq!(
            run(&leader, &format!("{line} FORCE")).text(),
            "OK",
            "{}",
            leader.log()
        );
        wait_until("it follows", PATIENCE, || {
            leader.info("master_failover_state") == "failover-in-progress"
        });
        assert!(run(&leader, "SET a 4").text().starts_with("READONLY"));
        assert_eq!(run(&leader, "FAILOVER ABORT").text(), "OK");
        wait_until("it leads", PATIENCE, || leader.info("role") == "master");
        assert_eq!(run(&leader, "SET a 5").text(), "OK");
        follower.signal(Signal::CONT);
        caught_up(&leader, &follower);
        assert_eq!(run(&follower, "GET a").text(), "5");
    }
}

#[test]
fn a_leader_that_ends_gives_its_followers_everything_first() {
    for shards in SHARDS {
        let mut leader = shardine(shards, &["--shutdown-timeout", "60"]);
        let follower = shardine(2, &[]);
        follow(&follower, &leader);
        assert_eq!(
            run(&leader, "SHUTDOWN ABORT").text(),
            "ERR No shutdown in progress."
        );
        // It waits for a follower that acknowledges nothing, until it is called back.
        follower.signal(Signal::STOP);
        assert_eq!(run(&leader, "SET a 1").text(), "OK");
        for by_signal in [false, true] {
            let mut ending = leader.wire();
            let begun = format!("{}", leader.log().matches("Waiting for replicas").count());
            match by_signal {
                false => ending.send(b"SHUTDOWN NOSAVE\r\n"),
                true => leader.signal(Signal::TERM),
            }
            wait_until("it waits", PATIENCE, || {
                leader
                    .log()
                    .matches("Waiting for replicas")
                    .count()
                    .to_string()
                    != begun
            });
            let mut writer = leader.wire();
            writer.send(b"SET a 2\r\n");
            assert_eq!(
                run(&leader, "GET a").text(),
                if by_signal { "2" } else { "1" }
            );
            assert_eq!(run(&leader, "SHUTDOWN ABORT").text(), "OK");
            assert_eq!(writer.reply().text(), "OK");
            if !by_signal {
                assert_eq!(
                    ending.reply().text(),
                    "ERR Errors trying to SHUTDOWN. Check logs."
                );
            }
        }
        // With a follower that runs it ends by itself, and nothing is missing.
        let mut lines = Vec::new();
        for number in 0..20_000 {
            lines.extend(format!("SET key:{number} {number}\r\n").bytes());
        }
        let mut writer = leader.wire();
        writer.send(&lines);
        for _ in 0..20_000 {
            assert_eq!(writer.reply().text(), "OK");
        }
        leader.signal(Signal::TERM);
        follower.signal(Signal::CONT);
        leader.wait_for_end(PATIENCE);
        assert_eq!(run(&follower, "DBSIZE"), Value::Int(20_001));
    }
}

/// A server says all this of itself. Sentinel closes the connections of whom it reconfigures: then it has not said so.
fn says(server: &Server, fields: &[(&str, &str)]) -> bool {
    let mut wire = server.wire();
    let sent = wire.try_send(b"INFO replication\r\n");
    let Some((text, _)) = sent.ok().and_then(|()| wire.try_reply_raw()) else {
        return false;
    };
    let text = text.text();
    let mut fields = fields.iter();
    fields.all(|(field, value)| text.contains(&format!("{field}:{value}\r\n")))
}

/// Sentinel's idea of who leads.
fn elected(sentinel: &Server) -> u16 {
    let reply = run(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME main");
    reply.elements()[1].text().parse().expect("a port")
}

#[test]
fn sentinel_promotes_a_follower_and_no_write_that_was_waited_for_is_lost() {
    for shards in SHARDS {
        let mut leader = shardine(shards, &[]);
        let followers = [shardine(2, &[]), shardine(1, &[])];
        for follower in &followers {
            follow(follower, &leader);
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("sentinel.conf");
        std::fs::write(&file, "").expect("Sentinel's file");
        let sentinel = Server::redis_exactly(|port| {
            let port = port.to_string();
            let file = file.display().to_string();
            vec![file, "--sentinel".into(), "--port".into(), port]
        });
        let Some(sentinel) = sentinel else { return };
        for line in [
            format!("SENTINEL MONITOR main 127.0.0.1 {} 1", leader.port),
            "SENTINEL SET main down-after-milliseconds 3000 failover-timeout 20000".into(),
        ] {
            assert_eq!(run(&sentinel, &line).text(), "OK");
        }
        wait_until("Sentinel knows the followers", PATIENCE, || {
            let known = run(&sentinel, "SENTINEL REPLICAS main");
            let up = |value: &&Value| {
                let words: Vec<String> = value.elements().iter().map(Value::text).collect();
                let status = words.iter().position(|word| word == "master-link-status");
                status.is_some_and(|at| words[at + 1] == "ok")
            };
            known.elements().iter().filter(up).count() == 2
        });
        let kept = Mutex::new(BTreeSet::new());
        let mut wire = leader.wire();
        for number in 0..200 {
            wire.call(&["SET", &format!("key:{number}"), "1"]);
            if wire.run("WAIT 2 5000") == Value::Int(2) {
                kept.lock().expect("one thread").insert(number);
            }
        }
        // What comes now is not waited for, and may be lost.
        wire.call(&["MSET", "x", "1", "y", "1"]);
        drop(wire);
        leader.kill();
        wait_until("a follower is promoted", PATIENCE, || {
            elected(&sentinel) != leader.port
        });
        // One failover is enough: a machine that stops for a moment must not bring about the next.
        let patient = "SENTINEL SET main down-after-milliseconds 600000";
        assert_eq!(run(&sentinel, patient).text(), "OK");
        let port = elected(&sentinel);
        let [first, second] = &followers;
        let (new, other) = if first.port == port {
            (first, second)
        } else {
            (second, first)
        };
        let up = ("master_link_status", "up");
        let leader_port = ("master_port", &*port.to_string());
        wait_until("it leads, and the other follows it", PATIENCE, || {
            says(new, &[("role", "master"), ("connected_slaves", "1")])
                && says(other, &[leader_port, up])
        });
        // Sentinel is done with both, and closes nobody's connection any more.
        wait_until("Sentinel's failover ends", PATIENCE, || {
            sentinel.log().contains("+failover-end")
        });
        let kept = kept.into_inner().expect("one thread");
        assert!(kept.len() > 100, "{} writes were waited for", kept.len());
        for number in &kept {
            assert_eq!(run(new, &format!("GET key:{number}")).text(), "1");
        }
        assert_eq!(new.info("sync_full"), "0");
        assert_eq!(new.info("sync_partial_ok"), "1");
        leader.start_again();
        wait_until("the old leader follows", PATIENCE, || {
            says(&leader, &[("role", "slave"), up])
        });
        run(new, "SET after 1");
        caught_up(new, &leader);
        caught_up(new, other);
        assert_eq!(digest(new), digest(&leader));
        assert_eq!(digest(new), digest(other));
    }
}
