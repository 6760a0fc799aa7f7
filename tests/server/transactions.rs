//! MULTI, EXEC and WATCH under concurrency: amounts that move between shards, counters under WATCH, clients that go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Server, wait_until};
use super::on_all_shards;
use super::wire::{Value, Wire};

/// Accounts, on all shards.
const ACCOUNTS: u64 = 16;
/// What each account begins with.
const AMOUNT: i64 = 100;
const MOVERS: u64 = 8;
const MOVES: u64 = 150;
const PATIENCE: Duration = Duration::from_secs(40);

fn account(n: u64) -> String {
    format!("account{}", n % ACCOUNTS)
}

/// The numbers of a reply's elements.
fn numbers(value: &Value) -> Vec<i64> {
    let elements = value.elements().iter();
    elements
        .map(|value| value.text().parse().expect("a number"))
        .collect()
}

fn all_accounts() -> Vec<String> {
    let names = (0..ACCOUNTS).map(account);
    std::iter::once("MGET".into()).chain(names).collect()
}

fn open_accounts(wire: &mut Wire) {
    for n in 0..ACCOUNTS {
        wire.call(&["SET", &account(n), &AMOUNT.to_string()]);
    }
}

/// One client that moves amounts; some moves are MSETs and RENAMEs in disguise, so that all kinds of steps occur.
fn move_amounts(wire: &mut Wire, mover: u64) {
    for step in 0..MOVES {
        let from = account(mover * 7 + step * 3);
        let to = account(mover * 5 + step * 11 + 1);
        if from == to {
            continue;
        }
        assert_eq!(wire.run("MULTI").text(), "OK");
        wire.call(&["DECRBY", &from, "5"]);
        match step % 4 {
            0 => {
                wire.call(&["RENAME", &from, "{moving}"]);
                wire.run("PING");
                wire.call(&["RENAME", "{moving}", &from]);
            }
            1 => {
                wire.call(&["MGET", &from, &to]);
            }
            2 => {
                wire.call(&["CLIENT", "SETNAME", "mover"]);
            }
            _ => {}
        }
        wire.call(&["INCRBY", &to, "5"]);
        let done = wire.run("EXEC");
        assert!(
            done.elements().iter().all(|element| !element.is_error()),
            "{done:?}"
        );
    }
}

/// The sum of all accounts on `seen` is right in every look while amounts are moved on `server`.
fn the_sum_holds(server: &Server, seen: &Server) {
    let moving = AtomicBool::new(true);
    let looks = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (moving, looks) = (&moving, &looks);
            let mut wire = seen.wire();
            scope.spawn(move || {
                while moving.load(Ordering::Relaxed) {
                    let amounts = if reader == 0 {
                        numbers(&wire.call(&all_accounts()))
                    } else {
                        wire.run("MULTI");
                        for n in 0..ACCOUNTS {
                            wire.call(&["GET", &account(n)]);
                        }
                        numbers(&wire.run("EXEC"))
                    };
                    let sum: i64 = amounts.iter().sum();
                    assert_eq!(sum, AMOUNT * ACCOUNTS as i64, "{amounts:?}");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let movers: Vec<_> = (0..MOVERS)
            .map(|mover| {
                let mut wire = server.wire();
                scope.spawn(move || move_amounts(&mut wire, mover))
            })
            .collect();
        let ends: Vec<_> = movers.into_iter().map(|mover| mover.join()).collect();
        moving.store(false, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok), "a mover failed");
    });
    assert!(looks.into_inner() > 0);
}

#[test]
fn the_sum_of_all_accounts_never_changes() {
    on_all_shards(&[], |server| {
        open_accounts(&mut server.wire());
        the_sum_holds(server, server);
    });
}

#[test]
fn no_follower_sees_half_a_transaction() {
    on_all_shards(&["--repl-diskless-sync-delay", "0"], |leader| {
        open_accounts(&mut leader.wire());
        let followers = [Some(Server::start(&["--shards", "3"])), Server::redis(&[])];
        for follower in followers.into_iter().flatten() {
            let mut wire = follower.wire();
            wire.run(&format!("REPLICAOF 127.0.0.1 {}", leader.port));
            wait_until("the link is up", PATIENCE, || {
                follower.info("master_link_status") == "up"
            });
            the_sum_holds(leader, &follower);
        }
    });
}

/// Adds one to `key` under WATCH, as often as it takes; returns how often it failed.
fn increment_watched(wire: &mut Wire, key: &str, also: &str) -> u64 {
    for failed in 0.. {
        wire.call(&["WATCH", key, also]);
        let old: i64 = match wire.call(&["GET", key]) {
            Value::Null => 0,
            value => value.text().parse().expect("a number"),
        };
        wire.run("MULTI");
        wire.call(&["SET", key, &(old + 1).to_string()]);
        if failed % 2 == 0 {
            wire.call(&["INCR", also]);
        }
        match wire.run("EXEC") {
            Value::Array(_) => return failed,
            Value::Null => {}
            other => panic!("{other:?}"),
        }
    }
    unreachable!()
}

#[test]
fn no_update_is_lost_under_watch() {
    const CLIENTS: i64 = 8;
    const EACH: i64 = 60;
    on_all_shards(&[], |server| {
        let conflicts = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let mut wire = server.wire();
                let conflicts = &conflicts;
                scope.spawn(move || {
                    let also = format!("own{client}");
                    for step in 0..EACH {
                        let key = format!("counter{}", step % 3);
                        let failed = increment_watched(&mut wire, &key, &also);
                        conflicts.fetch_add(failed, Ordering::Relaxed);
                    }
                });
            }
        });
        let counters = server.wire().run("MGET counter0 counter1 counter2");
        assert_eq!(numbers(&counters).iter().sum::<i64>(), CLIENTS * EACH);
        assert_eq!(server.info("watching_clients"), "0");
        eprintln!("{} conflicts", conflicts.into_inner());
    });
}

#[test]
fn clients_that_go_leave_nothing_reserved() {
    on_all_shards(&[], |server| {
        open_accounts(&mut server.wire());
        for n in 0..60u64 {
            let mut wire = server.wire();
            let mut bytes = b"WATCH account1 account2 account3\r\nMULTI\r\n".to_vec();
            bytes.extend(format!("DECR {}\r\nINCR {}\r\n", account(n), account(n + 1)).bytes());
            if n % 3 > 0 {
                bytes.extend(b"RENAME account5 account5\r\nDBSIZE\r\nCLIENT LIST\r\n");
            }
            if n % 2 > 0 {
                bytes.extend(b"EXEC\r\n");
            }
            wire.send(&bytes);
            if n % 5 == 0 {
                wire.reset_at_end();
            }
        }
        let mut wire = server.wire();
        wait_until(
            "all clients but one are gone",
            Duration::from_secs(10),
            || server.info("connected_clients") == "1" || server.info("connected_clients") == "2",
        );
        let amounts = numbers(&wire.call(&all_accounts()));
        assert_eq!(amounts.iter().sum::<i64>(), AMOUNT * ACCOUNTS as i64);
        assert_eq!(wire.run("FLUSHALL").text(), "OK");
        assert_eq!(server.info("watching_clients"), "0");
    });
}

#[test]
fn an_exec_of_a_hundred_thousand_lines_is_linear() {
    const LINES: usize = 100_000;
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        for kind in 0..2 {
            let mut bytes = b"MULTI\r\n".to_vec();
            for n in 0..LINES {
                match (kind, n % 1000) {
                    (1, 0) => bytes.extend(b"PING\r\n"),
                    _ => bytes.extend(format!("SET key{n} {n}\r\n").bytes()),
                }
            }
            bytes.extend(b"EXEC\r\n");
            let start = Instant::now();
            let mut sender = wire.sender();
            let done = std::thread::scope(|scope| {
                scope.spawn(move || std::io::Write::write_all(&mut sender, &bytes));
                assert_eq!(wire.reply().text(), "OK");
                for _ in 0..LINES {
                    assert_eq!(wire.reply().text(), "QUEUED");
                }
                wire.reply()
            });
            assert_eq!(done.elements().len(), LINES);
            // Quadratic work would take minutes.
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{:?}",
                start.elapsed()
            );
        }
    });
}

#[test]
fn monitors_see_the_lines_and_then_exec() {
    on_all_shards(&[], |server: &Server| {
        let mut monitor = server.wire();
        assert_eq!(monitor.run("MONITOR").text(), "OK");
        let mut wire = server.wire();
        for line in [
            "MULTI",
            "SET a 1",
            "SELECT 2",
            "MSET a 1 b 2 c 3 d 4",
            "EXEC",
        ] {
            wire.run(line);
        }
        wire.run("MULTI");
        wire.run("SET b 1");
        wire.run("EXEC");
        let mut seen = Vec::new();
        while seen.len() < 7 {
            let text = monitor.reply().text();
            let from = text.find('[').expect("a database");
            let db = text[from + 1..].split(' ').next().expect("a database");
            let line = &text[text.find("] ").expect("a line") + 2..];
            seen.push(format!("{db} {line}"));
        }
        assert_eq!(
            seen,
            [
                r#"0 "MULTI""#,
                r#"0 "SET" "a" "1""#,
                r#"2 "SELECT" "2""#,
                r#"2 "MSET" "a" "1" "b" "2" "c" "3" "d" "4""#,
                r#"2 "EXEC""#,
                r#"2 "MULTI""#,
                r#"2 "SET" "b" "1""#,
            ]
        );
    });
}
