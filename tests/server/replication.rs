//! Leaders and followers as processes: this server and the real Redis in either role, chains, links that break, ends without
//! warning, and the change of roles.
//!
//! What must hold in the end is always the same: one digest, one offset.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::harness::{Server, wait_until};
use super::wire::{Value, Wire};
use shardine::base::random::Random;

const SHARDS: [&str; 3] = ["1", "2", "4"];
const SYNC_TIMEOUT: Duration = Duration::from_secs(40);
const COMMON: [&str; 4] = [
    "--repl-diskless-sync-delay",
    "0",
    "--enable-debug-command",
    "yes",
];

fn shardine(shards: &str, args: &[&str]) -> Server {
    let mut all = vec!["--shards", shards];
    all.extend(COMMON);
    all.extend(args);
    Server::start(&all)
}

fn redis(args: &[&str]) -> Option<Server> {
    let mut all = COMMON.to_vec();
    all.extend(args);
    Server::redis(&all)
}

fn run(server: &Server, line: &str) -> String {
    match server.wire().run(line) {
        Value::Int(number) => number.to_string(),
        other => other.text(),
    }
}

/// The first element of an array of strings.
fn first(server: &Server, line: &str, at: usize) -> String {
    server.wire().run(line).elements()[at].text()
}

fn follow(follower: &Server, port: u16) {
    let reply = run(follower, &format!("REPLICAOF 127.0.0.1 {port}"));
    assert!(reply.starts_with("OK"), "{reply}");
}

/// Waits until the follower has all that the leader has.
#[track_caller]
fn caught_up(leader: &Server, follower: &Server) {
    wait_until(
        "the link is up and nothing is on its way",
        SYNC_TIMEOUT,
        || {
            follower.info("master_link_status") == "up"
                && leader.info("master_repl_offset") == follower.info("slave_repl_offset")
        },
    );
}

/// Waits until both have the same data, of the same stream. Keys that expire make them differ for a moment.
#[track_caller]
fn same(leader: &Server, follower: &Server) {
    let mut seen = String::new();
    let mut look = || {
        caught_up(leader, follower);
        let both = [leader, follower];
        let digests = both.map(|server| run(server, "DEBUG DIGEST"));
        let ids = both.map(|server| server.info("master_replid"));
        seen = format!("{digests:?} {ids:?}");
        digests[0] == digests[1] && ids[0] == ids[1]
    };
    let deadline = std::time::Instant::now() + SYNC_TIMEOUT / 4;
    let mut same = false;
    // The look that found them the same counts: at another moment a key may have expired on one side only.
    wait_until("both are the same", SYNC_TIMEOUT, || {
        same = look();
        same || std::time::Instant::now() > deadline
    });
    if !same {
        tell_differences(leader, follower);
    }
    assert!(same, "{seen}");
}

/// Prints the keys that differ.
fn tell_differences(leader: &Server, follower: &Server) {
    let mut wires = [leader.wire(), follower.wire()];
    for db in 0..4 {
        let mut seen = wires.each_mut().map(|wire| {
            wire.run(&format!("SELECT {db}"));
            let keys = wire.run("KEYS *");
            let keys = keys.elements().iter().map(Value::text);
            let keys: Vec<String> = keys.collect();
            keys.into_iter()
                .map(|key| {
                    let digest = wire.run(&format!("DEBUG DIGEST-VALUE {key}"));
                    let ttl = wire.run(&format!("PEXPIRETIME {key}"));
                    format!("{db} {key} {digest:?} {ttl:?}")
                })
                .collect::<std::collections::BTreeSet<String>>()
        });
        let [leader, follower] = &mut seen;
        for key in leader.symmetric_difference(follower) {
            eprintln!("{} {key}", leader.contains(key));
        }
    }
}

/// Some data of all types.
fn fill(server: &Server) {
    let mut wire = server.wire();
    wire.run("SELECT 3");
    wire.run("SET elsewhere 1");
    wire.run("SELECT 0");
    wire.run("DEBUG POPULATE 3000 key 40");
    for line in [
        "RPUSH list a b c 1 2 3",
        "SADD set a b 1 2",
        "ZADD zset 1 a 2.5 b inf c",
        "HSET hash f v g 7",
        "XADD stream 5-1 f v",
        "SET gone 1 PX 1",
        "SET expiring 1 PX 100000000",
        "SETRANGE large 100000 x",
    ] {
        let reply = wire.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
}

/// Random lines of every kind of plan: one owner, several, everything, transactions, other databases.
struct Load {
    random: Random,
    /// Some keys expire.
    expires: bool,
}

impl Load {
    fn new(seed: u64) -> Load {
        Load {
            random: Random::new(seed),
            expires: true,
        }
    }

    fn key(&mut self) -> String {
        format!("k{}", self.random.below(200))
    }

    fn line(&mut self) -> String {
        let (a, b) = (self.key(), self.key());
        let number = self.random.below(1000);
        match self.random.below(24) {
            0..=7 => format!("SET {a} {number}"),
            8 => format!("INCRBY n{a} {number}"),
            9 => format!("APPEND s{a} {number}"),
            10 => format!("MSET {a} {number} {b} {number} x{a} 1"),
            11 => format!("DEL {a} {b} l{a}"),
            12 => format!("RENAME n{a} n{b}"),
            13 => format!("RPUSH l{a} {number} {b}"),
            14 => format!("LMOVE l{a} l{b} LEFT RIGHT"),
            15 => format!("HSET h{a} {b} {number}"),
            16 => format!("SADD t{a} {b} {number}"),
            17 => format!("SPOP t{a}"),
            18 => format!("ZADD z{a} {number} {b}"),
            19 if self.expires => format!("SET e{a} 1 PX {}", 1 + number),
            20 => format!("SELECT {}", number % 3),
            21 => format!("SUNIONSTORE t{a} t{b} t{a}"),
            22 => format!("GETDEL {a}"),
            _ if number < 5 => "FLUSHDB".into(),
            _ => format!("COPY {a} {b} REPLACE"),
        }
    }

    /// Runs so many lines, some of them in transactions; errors do not matter.
    fn run(&mut self, wire: &mut Wire, lines: usize) {
        let mut batch = String::new();
        let mut count = 0;
        for _ in 0..lines {
            let multi = self.random.below(10) == 0;
            let inside = if multi { 1 + self.random.below(4) } else { 1 };
            if multi {
                batch.push_str("MULTI\r\n");
            }
            for _ in 0..inside {
                batch.push_str(&self.line());
                batch.push_str("\r\n");
            }
            if multi {
                batch.push_str("EXEC\r\n");
            }
            count += inside + 2 * u64::from(multi);
        }
        wire.send(batch.as_bytes());
        for _ in 0..count {
            wire.reply();
        }
    }
}

/// A link that can be cut: bytes go through until then.
struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    links: Arc<Mutex<Vec<TcpStream>>>,
    /// Connections that were accepted.
    count: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

impl Proxy {
    fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = Proxy {
            port: listener.local_addr().expect("an address").port(),
            target: Arc::new(AtomicU16::new(target)),
            links: Arc::default(),
            count: Arc::default(),
            ends: Arc::default(),
        };
        let (target, links) = (proxy.target.clone(), proxy.links.clone());
        let (count, ends) = (proxy.count.clone(), proxy.ends.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let port = target.load(Ordering::SeqCst);
                let (Ok(near), Ok(far)) = (near, TcpStream::connect((Ipv4Addr::LOCALHOST, port)))
                else {
                    continue;
                };
                count.fetch_add(1, Ordering::SeqCst);
                let clone = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                links
                    .lock()
                    .expect("no panics")
                    .extend([clone(&near), clone(&far)]);
                let (near2, far2) = (clone(&near), clone(&far));
                std::thread::spawn(move || pass(near, far));
                std::thread::spawn(move || pass(far2, near2));
            }
        });
        proxy
    }

    /// Ends all connections, in the middle of whatever they carry.
    fn cut(&self) {
        for link in self.links.lock().expect("no panics").drain(..) {
            // It may have ended by itself.
            let _ = link.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[test]
fn this_server_follows_redis() {
    for shards in SHARDS {
        let Some(leader) = redis(&[]) else { return };
        fill(&leader);
        let of = format!("127.0.0.1 {}", leader.port);
        let follower = shardine(shards, &["--replicaof", &of]);
        same(&leader, &follower);
        assert_eq!(follower.info("role"), "slave");
        assert_eq!(first(&follower, "ROLE", 0), "slave");
        assert_eq!(first(&leader, "ROLE", 0), "master");
        let mut load = Load::new(7);
        load.run(&mut leader.wire(), 1500);
        same(&leader, &follower);
        // Acknowledgements are asked for in the stream.
        run(&leader, "SET last 1");
        assert_eq!(run(&leader, "WAIT 1 20000"), "1");
        let refused = run(&follower, "SET a 1");
        assert!(refused.contains("READONLY"), "{refused}");
        assert_eq!(first(&follower, "CONFIG GET replicaof", 1), of);
        assert_eq!(follower.info("unexpected_error_replies"), "0");
    }
}

#[test]
fn a_chain_of_all_kinds_has_one_stream() {
    for shards in SHARDS {
        let first = shardine(shards, &[]);
        fill(&first);
        let second = shardine("2", &[]);
        follow(&second, first.port);
        let third = shardine("1", &[]);
        follow(&third, second.port);
        let Some(fourth) = redis(&[]) else { return };
        follow(&fourth, third.port);
        same(&first, &fourth);
        Load::new(11).run(&mut first.wire(), 1500);
        same(&first, &second);
        same(&first, &third);
        same(&first, &fourth);
        // While lines are on their way, one more joins in the middle.
        let mut wire = first.wire();
        let mut load = Load::new(12);
        let late = shardine("4", &[]);
        follow(&late, second.port);
        for _ in 0..40 {
            load.run(&mut wire, 50);
        }
        same(&first, &late);
        same(&first, &fourth);
    }
}

#[test]
fn links_that_break_are_taken_up_where_they_broke() {
    for shards in SHARDS {
        let leader = shardine(shards, &["--repl-backlog-size", "64mb"]);
        fill(&leader);
        let proxy = Proxy::start(leader.port);
        let follower = shardine("2", &[]);
        follow(&follower, proxy.port);
        same(&leader, &follower);
        let mut load = Load::new(3);
        let mut wire = leader.wire();
        for _ in 0..30 {
            let links = proxy.count.load(Ordering::SeqCst);
            load.run(&mut wire, 60);
            proxy.cut();
            load.run(&mut wire, 60);
            wait_until("the link comes back", SYNC_TIMEOUT, || {
                proxy.count.load(Ordering::SeqCst) > links
            });
        }
        same(&leader, &follower);
        assert_eq!(leader.info("sync_full"), "1");
        assert!(
            leader
                .info("sync_partial_ok")
                .parse::<u64>()
                .expect("a number")
                >= 20
        );
    }
}

#[test]
fn a_leader_that_becomes_a_follower_and_comes_back_needs_no_full_synchronisation() {
    for shards in SHARDS {
        let a = shardine(shards, &[]);
        fill(&a);
        let b = shardine("2", &[]);
        follow(&b, a.port);
        same(&a, &b);
        let mut load = Load::new(5);
        // What a leader deletes between its last look and the change is its own, and needs all data anew.
        load.expires = false;
        for round in 0..4 {
            let (leader, follower) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
            load.run(&mut leader.wire(), 200);
            same(leader, follower);
            let was = leader.info("master_replid");
            assert_eq!(run(follower, "REPLICAOF NO ONE"), "OK");
            assert_eq!(follower.info("role"), "master");
            assert_eq!(follower.info("master_replid2"), was);
            assert_eq!(first(follower, "CONFIG GET replicaof", 1), "");
            load.run(&mut follower.wire(), 100);
            follow(leader, follower.port);
            same(follower, leader);
            load.run(&mut follower.wire(), 100);
            same(follower, leader);
        }
        let fulls =
            [&a, &b].map(|server| server.info("sync_full").parse::<u64>().expect("a number"));
        assert_eq!(fulls.iter().sum::<u64>(), 1, "{fulls:?}");
    }
}

#[test]
fn whoever_is_killed_comes_back_or_is_followed_no_more() {
    for shards in ["1", "4"] {
        let Some(leader) = redis(&[]) else { return };
        fill(&leader);
        run(&leader, "DEBUG POPULATE 200000 many 50");
        // The link breaks in the middle of all data, several times, and then holds.
        let proxy = Proxy::start(leader.port);
        let follower = shardine(shards, &[]);
        follow(&follower, proxy.port);
        for _ in 0..3 {
            wait_until("data is being loaded", SYNC_TIMEOUT, || {
                follower.info("master_sync_in_progress") == "1"
            });
            proxy.cut();
        }
        same(&leader, &follower);
        assert_eq!(run(&follower, "DBSIZE"), run(&leader, "DBSIZE"));
        // The leader is gone: data is served, and the link is down.
        drop(leader);
        wait_until("the link is down", SYNC_TIMEOUT, || {
            follower.info("master_link_status") == "down"
        });
        assert_eq!(run(&follower, "EXISTS elsewhere hash"), "1");
        let Some(other) = redis(&[]) else { return };
        run(&other, "SET only 1");
        proxy.target.store(other.port, Ordering::SeqCst);
        same(&other, &follower);
        assert_eq!(run(&follower, "DBSIZE"), "1");
        // The follower is gone, and another takes its place.
        drop(follower);
        let next = shardine(shards, &[]);
        follow(&next, proxy.port);
        same(&other, &next);
    }
}

#[test]
fn a_follower_that_is_started_again_goes_on_from_its_file() {
    for (shards, of_redis) in [("1", true), ("2", false), ("4", true)] {
        let leader = match of_redis {
            true => redis(&[]),
            false => Some(shardine("2", &[])),
        };
        let Some(leader) = leader else { return };
        fill(&leader);
        // The file takes longer to load than the leader to answer.
        run(&leader, "DEBUG POPULATE 300000 many 50");
        let of = format!("127.0.0.1 {}", leader.port);
        let mut follower = shardine(shards, &["--replicaof", &of]);
        same(&leader, &follower);
        let syncs = || ["sync_full", "sync_partial_ok"].map(|field| leader.info(field));
        for (line, expected) in [
            ("SET since 1", ["1", "1"]),
            // Its stream is no longer this.
            ("DEBUG CHANGE-REPL-ID", ["2", "1"]),
        ] {
            follower.wire().send(b"SHUTDOWN SAVE\r\n");
            follower.wait_for_end(SYNC_TIMEOUT);
            assert!(run(&leader, line).starts_with("OK"));
            run(&leader, "SET since 2");
            follower.start_again();
            same(&leader, &follower);
            assert_eq!(syncs(), expected, "{line}");
        }
    }
}

#[test]
fn keys_that_expired_stay_until_the_leader_says_so() {
    let Some(leader) = redis(&["--hz", "1"]) else {
        return;
    };
    for shards in ["1", "4"] {
        let follower = shardine(shards, &[]);
        follow(&follower, leader.port);
        let mut wire = leader.wire();
        wire.run("DEBUG SET-ACTIVE-EXPIRE 0");
        for key in ["a", "b", "c", "d"] {
            wire.run(&format!("SET {key} 1 PX 1"));
        }
        caught_up(&leader, &follower);
        wait_until("the keys are hidden", SYNC_TIMEOUT, || {
            run(&follower, "EXISTS a b c d") == "0"
        });
        assert_eq!(run(&follower, "DBSIZE"), "4");
        wire.run("GET a");
        wire.run("EXISTS b c");
        wait_until("the leader has said so", SYNC_TIMEOUT, || {
            run(&follower, "DBSIZE") == "1"
        });
        wire.run("FLUSHALL");
        wire.run("DEBUG SET-ACTIVE-EXPIRE 1");
    }
}
