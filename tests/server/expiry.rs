//! Keys that go at their time, seen from outside.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::harness::{Server, judging_the_tests, wait_until};
use super::on_all_shards;
use super::wire::{Value, encode};

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_millis() as u64
}

/// A field of the line `db0:keys=…,expires=…,avg_ttl=…`.
fn db0(server: &Server, field: &str) -> u64 {
    let text = server.info("db0");
    text.split(',')
        .find_map(|part| part.strip_prefix(field)?.strip_prefix('='))
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {field} in {text}"))
}

#[test]
fn a_hundred_thousand_keys_due_in_one_second_are_gone_within_two() {
    const KEYS: usize = 100_000;
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        assert_eq!(wire.run("SET stays 1").text(), "OK");
        // Far enough away that all are set before, also by a debug build on a busy machine.
        let due = unix_ms() + 10_000;
        for from in (0..KEYS).step_by(10_000) {
            let mut bytes = vec![];
            for n in from..from + 10_000 {
                let at = (due + n as u64 % 1_000).to_string();
                bytes.extend(encode(&["SET", &format!("key{n}"), "value", "PXAT", &at]));
            }
            wire.send(&bytes);
            (0..10_000).for_each(|_| assert_eq!(wire.reply().text(), "OK"));
        }
        assert!(unix_ms() < due, "the keys were set in time");
        assert_eq!(wire.run("DBSIZE"), Value::Int(KEYS as i64 + 1));
        assert_eq!(db0(server, "expires"), KEYS as u64);
        let left = due + 500 - unix_ms();
        let average = db0(server, "avg_ttl");
        // Redis's own figure is an estimate of its sampling.
        assert!(
            judging_the_tests() || average.abs_diff(left) <= 250,
            "avg_ttl {average}, {left} ms are left on average"
        );
        // Moved closer, so that the test does not wait: the new times count.
        let due = unix_ms() + 4_000;
        for from in (0..KEYS).step_by(10_000) {
            let mut bytes = vec![];
            for n in from..from + 10_000 {
                let at = (due + n as u64 % 1_000).to_string();
                bytes.extend(encode(&["PEXPIREAT", &format!("key{n}"), &at]));
            }
            wire.send(&bytes);
            (0..10_000).for_each(|_| {
                let reply = wire.reply();
                assert!(reply == Value::Int(1) || unix_ms() >= due, "{reply:?}");
            });
        }
        let deadline = due + 1_000 + 2_000;
        let left = Duration::from_millis(deadline.saturating_sub(unix_ms()).max(1));
        wait_until("all keys are gone", left, || {
            wire.run("DBSIZE") == Value::Int(1)
        });
        assert_eq!(server.info("expired_keys"), KEYS.to_string());
        assert_eq!(db0(server, "expires"), 0);
        assert_eq!(wire.run("GET stays").text(), "1");
    });
}

#[test]
fn a_key_is_there_until_its_millisecond_and_not_after() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        for n in 0..20 {
            let key = format!("key{n}");
            let set = Instant::now();
            assert_eq!(wire.run(&format!("SET {key} v PX 20")).text(), "OK");
            let confirmed = Instant::now();
            loop {
                let asked = Instant::now();
                let gone = wire.run(&format!("GET {key}")) == Value::Null;
                // The server's clock counts whole milliseconds.
                if gone {
                    assert!(
                        set.elapsed() >= Duration::from_millis(19),
                        "gone after {:?}",
                        set.elapsed()
                    );
                    break;
                }
                assert!(
                    asked.duration_since(confirmed) <= Duration::from_millis(22),
                    "still there after {:?}",
                    asked.duration_since(confirmed)
                );
            }
        }
    });
}
