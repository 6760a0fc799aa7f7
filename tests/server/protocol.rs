//! The protocol over a real socket: pipelines, split reads, large values, order of replies.

use std::io::Write;

use super::harness::Server;
use super::on_all_shards;
use super::wire::{Value, Wire, encode};

/// A small generator of random numbers: the same seed gives the same test.
struct Random(u64);

impl Random {
    /// From `SEED`, or a fixed seed; a failing test prints it.
    fn new() -> Random {
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0x5eed);
        eprintln!("SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

/// Sends `bytes` while `read` takes replies: neither side waits for the other's buffer.
fn send_while_reading(wire: &mut Wire, bytes: &[u8], read: impl FnOnce(&mut Wire)) {
    let mut sender = wire.sender();
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || sender.write_all(bytes));
        read(wire);
        sending
            .join()
            .expect("the sender")
            .expect("all bytes are sent");
    });
}

#[test]
fn a_pipeline_of_a_hundred_thousand_lines_in_one_write() {
    on_all_shards(&[], |server| {
        let mut bytes = vec![];
        for n in 0..50_000 {
            bytes.extend(encode(&["SET", &format!("key{n}"), &n.to_string()]));
            bytes.extend(encode(&["GET", &format!("key{}", n / 2)]));
        }
        let mut wire = server.wire();
        send_while_reading(&mut wire, &bytes, |wire| {
            for n in 0..50_000 {
                assert_eq!(wire.reply(), Value::Simple("OK".into()));
                assert_eq!(wire.reply(), Value::Bulk((n / 2).to_string().into_bytes()));
            }
        });
        assert_eq!(wire.run("DBSIZE"), Value::Int(50_000));
    });
}

#[test]
fn a_line_with_a_hundred_thousand_keys() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        let names: Vec<String> = (0..100_000).map(|n| format!("key{n}")).collect();
        let mut mset = vec!["MSET"];
        names
            .iter()
            .for_each(|name| mset.extend([name.as_str(), name]));
        assert_eq!(wire.call(&mset), Value::Simple("OK".into()));
        let mut mget = vec!["MGET"];
        mget.extend(names.iter().map(String::as_str));
        let values = wire.call(&mget);
        for (name, value) in names.iter().zip(values.elements()) {
            assert_eq!(value, &Value::Bulk(name.clone().into_bytes()));
        }
        mget[0] = "DEL";
        assert_eq!(wire.call(&mget), Value::Int(100_000));
    });
}

#[test]
fn lines_split_at_every_byte() {
    on_all_shards(&[], |server| {
        let mut bytes = encode(&["SET", "some key", "some\r\nvalue"]);
        bytes.extend(b"PING\r\n*0\r\n\r\nECHO \"in line\"\r\n");
        bytes.extend(encode(&["MSET", "a", "1", "b", "2", "c", ""]));
        bytes.extend(encode(&["MGET", "a", "b", "c", "none"]));
        bytes.extend(encode(&["GET", "some key"]));
        let expected = b"+OK\r\n+PONG\r\n$7\r\nin line\r\n+OK\r\n*4\r\n$1\r\n1\r\n$1\r\n2\r\n$0\r\n\r\n$-1\r\n\
            $11\r\nsome\r\nvalue\r\n";
        let mut other = server.wire();
        for at in 1..bytes.len() {
            let mut wire = server.wire();
            wire.send(&bytes[..at]);
            // Another client's round trip: the first part has very likely been read by then.
            other.run("PING");
            wire.send(&bytes[at..]);
            let mut got = vec![];
            (0..6).for_each(|_| got.extend(wire.reply_raw().1));
            assert_eq!(
                got.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "split at {at}"
            );
        }
        let mut wire = server.wire();
        for byte in &bytes {
            wire.send(&[*byte]);
        }
        let mut got = vec![];
        (0..6).for_each(|_| got.extend(wire.reply_raw().1));
        assert_eq!(got, expected);
    });
}

/// Bytes that no two places of a value share, so that a shifted copy shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32 / 4 + 1)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(len)
        .collect()
}

#[test]
fn a_value_of_a_hundred_megabytes_comes_back() {
    on_all_shards(&[], |server| {
        let value = pattern(100 << 20);
        let mut wire = server.wire();
        assert_eq!(
            wire.call(&[b"SET".as_slice(), b"big", &value]),
            Value::Simple("OK".into())
        );
        assert_eq!(wire.run("STRLEN big"), Value::Int(100 << 20));
        let Value::Bulk(got) = wire.run("GET big") else {
            panic!("no string")
        };
        assert!(got == value, "the value is unchanged");
        let Value::Bulk(got) = wire.run("GETRANGE big 50000000 50000099") else {
            panic!("no string")
        };
        assert_eq!(got, &value[50_000_000..50_000_100]);
        assert_eq!(wire.run("DEL big"), Value::Int(1));
    });
}

#[test]
fn values_around_every_buffer_size() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        let all = pattern(1 << 20);
        for center in [
            44,
            128,
            1 << 10,
            4 << 10,
            16 << 10,
            32 << 10,
            64 << 10,
            128 << 10,
            256 << 10,
            512 << 10,
        ] {
            for len in center - 2..=center + 2 {
                let value = &all[..len];
                let key = format!("key{len}");
                // Several in one pipeline, with something small on both sides.
                let mut bytes = encode(&["ECHO", "before"]);
                bytes.extend(encode(&[b"SET".as_slice(), key.as_bytes(), value]));
                bytes.extend(encode(&["GET", &key]));
                bytes.extend(encode(&["APPEND", &key, "x"]));
                bytes.extend(encode(&["STRLEN", &key]));
                bytes.extend(encode(&["ECHO", "after"]));
                send_while_reading(&mut wire, &bytes, |wire| {
                    assert_eq!(wire.reply().text(), "before");
                    assert_eq!(wire.reply().text(), "OK");
                    assert!(
                        wire.reply() == Value::Bulk(value.to_vec()),
                        "GET of {len} bytes"
                    );
                    assert_eq!(wire.reply(), Value::Int(len as i64 + 1));
                    assert_eq!(wire.reply(), Value::Int(len as i64 + 1));
                    assert_eq!(wire.reply().text(), "after");
                });
            }
        }
    });
}

#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        let mut bytes = vec![];
        for n in 0..1_000 {
            bytes.extend(encode(&["SET", &format!("key{n}"), "v"]));
        }
        bytes.extend(encode(&["MGET", "key0", "key1", "key2", "key3"]));
        wire.send(&bytes);
        wire.finish_sending();
        let replies = wire.read_to_end();
        let end = b"*4\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\nv\r\n";
        assert_eq!(replies.len(), 5_000 + end.len());
        assert!(replies.ends_with(end));
    });
}

#[test]
fn quit_answers_what_came_before_it() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        let mut bytes = vec![];
        for n in 0..100 {
            bytes.extend(encode(&["SET", &format!("key{n}"), "v"]));
        }
        bytes.extend(encode(&["QUIT"]));
        bytes.extend(encode(&["PING"]));
        wire.send(&bytes);
        assert_eq!(wire.read_to_end(), b"+OK\r\n".repeat(101));
    });
}

#[test]
fn replies_can_be_switched_off() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        let mut bytes = vec![];
        for line in [
            "CLIENT REPLY OFF",
            "SET a 1",
            "SET b 2",
            "GET a",
            "CLIENT REPLY ON",
            "GET a",
            "CLIENT REPLY SKIP",
            "GET b",
            "GET b",
            "CLIENT REPLY SKIP",
            "SET c 3",
            "MGET a b c",
        ] {
            bytes.extend(encode(&line.split(' ').collect::<Vec<_>>()));
        }
        wire.send(&bytes);
        assert_eq!(wire.reply().text(), "OK");
        assert_eq!(wire.reply().text(), "1");
        assert_eq!(wire.reply().text(), "2");
        assert_eq!(wire.reply().elements().len(), 3);
        assert_eq!(wire.run("PING").text(), "PONG");
    });
}

/// A random line on a few keys: every command here has one right reply once those before it are done.
fn random_line(random: &mut Random) -> Vec<String> {
    let mut key = || format!("k{}", random.below(12));
    let (a, b, c) = (key(), key(), key());
    let n = random.below(100).to_string();
    let small = random.below(20).to_string();
    let words: &[&str] = match random.below(26) {
        0 | 1 => &["SET", &a, &n],
        2 | 3 => &["GET", &a],
        4 | 5 => &["INCRBY", &a, &n],
        6 => &["APPEND", &a, &small],
        7 => &["STRLEN", &a],
        8 => &["MSET", &a, &n, &b, &small],
        9 | 10 => &["MGET", &a, &b, &c],
        11 => &["DEL", &a, &b],
        12 => &["EXISTS", &a, &b, &c],
        13 => &["RENAME", &a, &b],
        14 => &["RENAMENX", &a, &b],
        15 => &["COPY", &a, &b, "REPLACE"],
        16 => &["MSETNX", &a, &n, &b, &n],
        17 => &["BITOP", "XOR", &a, &b, &c],
        18 => &["SETRANGE", &a, &small, &n],
        19 => &["GETDEL", &a],
        20 => &["SET", &a, &n, "NX", "GET"],
        21 => &["DBSIZE"],
        22 => &["LCS", &a, &b],
        23 => &["EXPIRE", &a, "1000"],
        24 => &["TTL", &a],
        _ => &["SETBIT", &a, &small, "1"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn random_pipelines_are_answered_as_by_redis() {
    let Some(peer) = Server::redis(&[]) else {
        return;
    };
    on_all_shards(&[], |server| {
        let mut random = Random::new();
        let mut wires = (peer.wire(), server.wire());
        wires.0.run("FLUSHALL");
        for round in 0..20 {
            let lines: Vec<_> = (0..500).map(|_| random_line(&mut random)).collect();
            let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(line)).collect();
            let read = |wire: &mut Wire| {
                let mut replies = vec![];
                send_while_reading(wire, &bytes, |wire| {
                    replies = lines.iter().map(|_| wire.reply_raw().1).collect();
                });
                replies
            };
            let (expected, got) = (read(&mut wires.0), read(&mut wires.1));
            for (at, line) in lines.iter().enumerate() {
                assert_eq!(
                    expected[at].escape_ascii().to_string(),
                    got[at].escape_ascii().to_string(),
                    "round {round}, line {at}: {line:?}; before it {:?}",
                    &lines[at.saturating_sub(8)..at]
                );
            }
        }
    });
}

#[test]
fn many_clients_pipeline_at_once() {
    on_all_shards(&[], |server| {
        std::thread::scope(|scope| {
            for client in 0..16 {
                scope.spawn(move || {
                    let mut wire = server.wire();
                    let mut bytes = vec![];
                    for n in 0..2_000 {
                        bytes.extend(encode(&["SET", &format!("{client}:{n}"), &n.to_string()]));
                        bytes.extend(encode(&["INCR", "shared"]));
                        bytes.extend(encode(&["GET", &format!("{client}:{n}")]));
                    }
                    let mut last = 0;
                    send_while_reading(&mut wire, &bytes, |wire| {
                        for n in 0..2_000 {
                            assert_eq!(wire.reply().text(), "OK");
                            let count = wire.reply().int();
                            assert!(
                                count > last,
                                "a counter that only grows: {last}, then {count}"
                            );
                            last = count;
                            assert_eq!(wire.reply().text(), n.to_string());
                        }
                    });
                });
            }
        });
        let mut wire = server.wire();
        assert_eq!(wire.run("GET shared").text(), "32000");
        assert_eq!(wire.run("DBSIZE"), Value::Int(32_001));
    });
}
