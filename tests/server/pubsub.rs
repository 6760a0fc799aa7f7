//! Publish and subscribe over several cores, and keyspace notifications beside the real Redis's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Commands, ControlFlow, PubSubCommands};

use super::harness::{Server, judging_the_tests, wait_until};
use super::wire::{Value, Wire, encode};
use super::{SHARDS, on_all_shards};

/// The words of a message: `message news hello`.
#[track_caller]
fn words(value: &Value) -> String {
    let words = value.elements().iter().map(|element| match element {
        Value::Int(number) => number.to_string(),
        Value::Null => "nil".into(),
        other => other.text(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The next message or confirmation.
#[track_caller]
fn next(wire: &mut Wire) -> String {
    words(&wire.reply())
}

/// A connection with subscriptions, each confirmed.
#[track_caller]
fn listener(server: &Server, resp3: bool, lines: &[&str]) -> Wire {
    let mut wire = server.wire();
    if resp3 {
        wire.run("HELLO 3");
    }
    for line in lines {
        wire.send(&encode(&line.split_whitespace().collect::<Vec<_>>()));
        let mut missing = line.split_whitespace().count() - 1;
        while missing > 0 {
            let message = next(&mut wire);
            let (word, _) = message.split_once(' ').expect("several words");
            missing -= usize::from(word.ends_with("subscribe"));
        }
    }
    wire
}

/// Many connections of one kind, so that each core has some.
#[track_caller]
fn listeners(server: &Server, count: usize, lines: &[&str]) -> Vec<Wire> {
    (0..count)
        .map(|n| listener(server, n % 3 == 0, lines))
        .collect()
}

#[test]
fn every_subscriber_hears_every_message_and_publish_counts_them() {
    on_all_shards(&[], |server| {
        let mut named = listeners(server, 9, &["SUBSCRIBE news other"]);
        let mut patterns = listeners(server, 6, &["PSUBSCRIBE n* x*"]);
        let mut sharded = listeners(server, 5, &["SSUBSCRIBE news"]);
        // Whichever core the publisher is on.
        for n in 0..5 {
            let mut publisher = server.wire();
            assert_eq!(
                publisher.call(&["PUBLISH", "news", &n.to_string()]),
                Value::Int(15)
            );
            assert_eq!(publisher.call(&["PUBLISH", "other", "o"]), Value::Int(9));
            assert_eq!(publisher.call(&["PUBLISH", "nil", "x"]), Value::Int(6));
            assert_eq!(publisher.call(&["PUBLISH", "nobody?", "x"]), Value::Int(6));
            assert_eq!(publisher.call(&["PUBLISH", "a", "x"]), Value::Int(0));
            assert_eq!(publisher.call(&["SPUBLISH", "news", "s"]), Value::Int(5));
            for wire in &mut named {
                assert_eq!(next(wire), format!("message news {n}"));
                assert_eq!(next(wire), "message other o");
            }
            for wire in &mut patterns {
                assert_eq!(next(wire), format!("pmessage n* news {n}"));
                assert_eq!(next(wire), "pmessage n* nil x");
                assert_eq!(next(wire), "pmessage n* nobody? x");
            }
            for wire in &mut sharded {
                assert_eq!(next(wire), "smessage news s");
            }
        }
        let mut wire = server.wire();
        assert_eq!(
            words(&wire.run("PUBSUB NUMSUB news nobody")),
            "news 9 nobody 0"
        );
        assert_eq!(words(&wire.run("PUBSUB CHANNELS").sorted()), "news other");
        assert_eq!(words(&wire.run("PUBSUB CHANNELS o*")), "other");
        assert_eq!(words(&wire.run("PUBSUB SHARDCHANNELS")), "news");
        assert_eq!(
            words(&wire.run("PUBSUB SHARDNUMSUB news other")),
            "news 5 other 0"
        );
        assert_eq!(wire.run("PUBSUB NUMPAT"), Value::Int(2));
        assert_eq!(server.info("pubsub_channels"), "2");
        assert_eq!(server.info("pubsub_patterns"), "2");
        assert_eq!(server.info("pubsubshard_channels"), "1");
        let list = wire.run("CLIENT LIST TYPE pubsub").text();
        assert_eq!(list.lines().count(), 20, "{list}");
        assert_eq!(list.matches(" flags=P ").count(), 20, "{list}");
        assert_eq!(list.matches(" sub=2 psub=0 ssub=0 ").count(), 9, "{list}");
        assert_eq!(list.matches(" sub=0 psub=2 ssub=0 ").count(), 6, "{list}");
        // Who leaves is heard of everywhere before it is told so.
        for wire in &mut named {
            assert_eq!(words(&wire.run("UNSUBSCRIBE news")), "unsubscribe news 1");
        }
        assert_eq!(server.wire().run("PUBLISH news x"), Value::Int(6));
        drop(patterns);
        wait_until("the patterns are gone", Duration::from_secs(30), || {
            (0..4).all(|_| server.wire().run("PUBSUB NUMPAT") == Value::Int(0))
        });
        assert_eq!(server.wire().run("PUBLISH news x"), Value::Int(0));
        assert_eq!(wire.run("CLIENT KILL TYPE pubsub"), Value::Int(14));
        wait_until("the channels are gone", Duration::from_secs(30), || {
            (0..4).all(|_| server.wire().run("PUBSUB CHANNELS").elements().is_empty())
        });
        drop(sharded);
    });
}

#[test]
fn messages_of_one_publisher_keep_their_order() {
    const MESSAGES: usize = 3_000;
    on_all_shards(&[], |server| {
        let mut listening = listeners(server, 6, &["SUBSCRIBE a b", "PSUBSCRIBE a*"]);
        let publish = |name: &str| {
            let mut bytes = vec![];
            for n in 0..MESSAGES {
                let channel = if n % 2 == 0 { "a" } else { "b" };
                bytes.extend(encode(&["PUBLISH", channel, &format!("{name}:{n}")]));
            }
            bytes
        };
        let mut publishers: Vec<Wire> = (0..3).map(|_| server.wire()).collect();
        for (index, wire) in publishers.iter_mut().enumerate() {
            wire.send(&publish(&index.to_string()));
        }
        for wire in &mut publishers {
            for n in 0..MESSAGES {
                assert_eq!(wire.reply(), Value::Int(if n % 2 == 0 { 12 } else { 6 }));
            }
        }
        for wire in &mut listening {
            let (mut named, mut matched) = ([0; 3], [0; 3]);
            for _ in 0..3 * (MESSAGES + MESSAGES / 2) {
                let message = next(wire);
                let (publisher, number) =
                    message.rsplit_once(' ').unwrap().1.split_once(':').unwrap();
                let publisher: usize = publisher.parse().unwrap();
                let number: usize = number.parse().unwrap();
                if message.starts_with("pmessage") {
                    assert_eq!(number, matched[publisher], "{message}");
                    matched[publisher] += 2;
                } else {
                    assert_eq!(number, named[publisher], "{message}");
                    named[publisher] += 1;
                }
            }
        }
    });
}

#[test]
fn what_was_written_before_a_message_is_seen_after_it() {
    on_all_shards(&[], |server| {
        let mut listening = listeners(server, 4, &["SUBSCRIBE c"]);
        let mut readers: Vec<Wire> = (0..4).map(|_| server.wire()).collect();
        let mut publisher = server.wire();
        for n in 0..200 {
            let (key, n) = (format!("key{n}"), n.to_string());
            let mut bytes = encode(&["SET", &key, &n]);
            bytes.extend(encode(&["PUBLISH", "c", &key]));
            publisher.send(&bytes);
            for (wire, reader) in listening.iter_mut().zip(&mut readers) {
                assert_eq!(next(wire), format!("message c {key}"));
                assert_eq!(reader.call(&["GET", &key]).text(), n);
            }
            assert_eq!(
                (publisher.reply().text().as_str(), publisher.reply()),
                ("OK", Value::Int(4))
            );
        }
    });
}

#[test]
fn a_resp2_subscriber_may_only_change_its_subscriptions() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        wire.run("SET k 1");
        assert_eq!(words(&wire.run("SUBSCRIBE a")), "subscribe a 1");
        assert_eq!(
            wire.run("GET k").text(),
            "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context"
        );
        assert!(
            wire.run("CLIENT ID")
                .text()
                .starts_with("ERR Can't execute 'client|id': only ")
        );
        assert_eq!(words(&wire.run("PING")), "pong ");
        assert_eq!(words(&wire.run("PING hi")), "pong hi");
        assert_eq!(words(&wire.run("SSUBSCRIBE s")), "ssubscribe s 1");
        assert_eq!(words(&wire.run("PSUBSCRIBE p")), "psubscribe p 2");
        assert_eq!(
            words(&wire.run("UNSUBSCRIBE nowhere")),
            "unsubscribe nowhere 2"
        );
        assert_eq!(words(&wire.run("UNSUBSCRIBE")), "unsubscribe a 1");
        assert_eq!(words(&wire.run("UNSUBSCRIBE")), "unsubscribe nil 1");
        assert_eq!(words(&wire.run("PUNSUBSCRIBE p")), "punsubscribe p 0");
        assert!(wire.run("GET k").is_error());
        assert_eq!(words(&wire.run("SUNSUBSCRIBE")), "sunsubscribe s 0");
        assert_eq!(wire.run("GET k").text(), "1");
        wire.run("SUBSCRIBE a");
        assert_eq!(wire.run("RESET").text(), "RESET");
        assert_eq!(wire.run("GET k").text(), "1");
        for _ in 0..4 {
            assert_eq!(server.wire().run("PUBLISH a x"), Value::Int(0));
        }
        // Lines behind a subscription in one pipeline are judged after it.
        wire.send(
            &[
                encode(&["SUBSCRIBE", "a", "b"]),
                encode(&["GET", "k"]),
                encode(&["QUIT"]),
            ]
            .concat(),
        );
        assert_eq!(next(&mut wire), "subscribe a 1");
        assert_eq!(next(&mut wire), "subscribe b 2");
        assert!(wire.reply().is_error());
        assert_eq!(wire.reply().text(), "OK");
        assert!(wire.read_to_end().is_empty());
    });
}

#[test]
fn a_resp3_subscriber_runs_lines_and_hears_itself() {
    on_all_shards(&[], |server| {
        let mut wire = listener(server, true, &["SUBSCRIBE a", "PSUBSCRIBE *"]);
        let lines = [
            &["SET", "k", "1"][..],
            &["GET", "k"],
            &["PUBLISH", "a", "x"],
            &["PING"],
        ];
        wire.send(&lines.map(encode).concat());
        assert_eq!(wire.reply().text(), "OK");
        assert_eq!(wire.reply().text(), "1");
        let rest: Vec<Value> = (0..4).map(|_| wire.reply()).collect();
        if judging_the_tests() {
            // Redis 7.0 has the messages before the reply, later versions behind it.
            return;
        }
        assert_eq!(rest[0], Value::Int(2));
        assert!(
            matches!(&rest[1], Value::Push(_)) && words(&rest[1]) == "message a x",
            "{rest:?}"
        );
        assert!(
            matches!(&rest[2], Value::Push(_)) && words(&rest[2]) == "pmessage * a x",
            "{rest:?}"
        );
        assert_eq!(rest[3].text(), "PONG");
        // Silence is for replies.
        wire.send(&encode(&["CLIENT", "REPLY", "OFF"]));
        wire.send(&[encode(&["SUBSCRIBE", "z"]), encode(&["PUBLISH", "z", "1"])].concat());
        assert_eq!(next(&mut wire), "subscribe z 3");
        assert_eq!(next(&mut wire), "message z 1");
        assert_eq!(next(&mut wire), "pmessage * z 1");
        assert_eq!(wire.run("CLIENT REPLY ON").text(), "OK");
    });
}

#[test]
fn a_thousand_subscribers_on_all_cores() {
    on_all_shards(&[], |server| {
        let mut all = listeners(server, 1_000, &["SUBSCRIBE crowd"]);
        let mut publisher = server.wire();
        let big = "x".repeat(40_000);
        for payload in ["small", &big] {
            assert_eq!(
                publisher.call(&["PUBLISH", "crowd", payload]),
                Value::Int(1_000)
            );
            for wire in &mut all {
                let message = wire.reply();
                assert_eq!(message.elements()[2].text(), payload);
            }
        }
    });
}

#[test]
fn a_slow_subscriber_is_cut_at_its_limit() {
    on_all_shards(&[], |server| {
        let mut control = server.wire();
        let limit = [
            "CONFIG",
            "SET",
            "client-output-buffer-limit",
            "pubsub 1mb 0 0 normal 0 0 0",
        ];
        assert_eq!(control.call(&limit).text(), "OK");
        let slow = listeners(server, 4, &["SUBSCRIBE flood"]);
        let mut quick = listener(server, false, &["PSUBSCRIBE f*"]);
        let payload = "x".repeat(10_000);
        let mut publishers: Vec<Wire> = (0..4).map(|_| server.wire()).collect();
        // The sockets' buffers take some megabytes before the server holds anything.
        let mut cut = false;
        for n in 0..20_000 {
            let reached = publishers[n % 4]
                .call(&["PUBLISH", "flood", &payload])
                .int();
            assert!(next(&mut quick).starts_with("pmessage f* flood x"));
            cut = reached == 1;
            if cut {
                break;
            }
        }
        assert!(cut, "the slow subscribers are gone");
        // Redis 7.0 does not count them.
        if !judging_the_tests() {
            assert_eq!(
                server.info("client_output_buffer_limit_disconnections"),
                "4"
            );
        }
        drop(slow);
    });
}

/// Sends a line and reads until its last confirmation; returns how many messages came meanwhile.
#[track_caller]
fn heard_until_confirmed(wire: &mut Wire, line: &str, confirmations: usize) -> usize {
    wire.send(&encode(&line.split_whitespace().collect::<Vec<_>>()));
    let (mut heard, mut confirmed) = (0, 0);
    while confirmed < confirmations {
        let message = next(wire);
        let (word, _) = message.split_once(' ').expect("several words");
        if word.ends_with("subscribe") {
            confirmed += 1;
        } else {
            // The confirmations of a line stand together.
            assert_eq!(confirmed, 0, "{message}");
            heard += 1;
        }
    }
    heard
}

#[test]
fn counts_are_exact_while_subscriptions_come_and_go() {
    on_all_shards(&[], |server| {
        let (heard, counted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let heard = &heard;
                scope.spawn(move || {
                    let mut wire = server.wire();
                    for round in 0..150 {
                        if (round + thread) % 5 == 0 {
                            wire = server.wire();
                        }
                        let mut sum = heard_until_confirmed(&mut wire, "SUBSCRIBE a b c", 3);
                        sum += heard_until_confirmed(&mut wire, "PSUBSCRIBE ? [ab]", 2);
                        sum += heard_until_confirmed(&mut wire, "UNSUBSCRIBE b nosuch", 2);
                        sum += heard_until_confirmed(&mut wire, "PUNSUBSCRIBE", 2);
                        sum += heard_until_confirmed(&mut wire, "UNSUBSCRIBE", 2);
                        heard.fetch_add(sum, Ordering::Relaxed);
                        // Nothing comes behind the last confirmation.
                        assert!(wire.leftover().is_empty());
                        assert_eq!(wire.run("ECHO x").text(), "x");
                    }
                });
            }
            for channel in ["a", "b", "c"] {
                let counted = &counted;
                scope.spawn(move || {
                    let mut wire = server.wire();
                    for _ in 0..1_000 {
                        let count = wire.call(&["PUBLISH", channel, "x"]).int();
                        counted.fetch_add(count as usize, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(heard.into_inner(), counted.into_inner());
    });
}

#[test]
fn subscriptions_of_lost_clients_are_forgotten() {
    on_all_shards(&[], |server| {
        let mut publisher = server.wire();
        for round in 0..20 {
            let mut wire = server.wire();
            wire.send(&encode(&["SUBSCRIBE", "a", "b", "c"]));
            if round % 2 == 0 {
                wire.reply();
            }
            wire.send(&encode(&["PSUBSCRIBE", "?"]));
            wire.send(&encode(&["UNSUBSCRIBE", "b"]));
            publisher.run("PUBLISH b x");
            wire.reset_at_end();
        }
        wait_until(
            "all subscriptions are gone",
            Duration::from_secs(30),
            || {
                (0..4).all(|_| {
                    let mut wire = server.wire();
                    wire.run("PUBLISH a x") == Value::Int(0)
                        && wire.run("PUBSUB CHANNELS").elements().is_empty()
                        && wire.run("PUBSUB NUMPAT") == Value::Int(0)
                })
            },
        );
    });
}

#[test]
fn the_redis_crate_subscribes() {
    on_all_shards(&[], |server| {
        let mut publisher = server.client();
        let mut connection = server.client();
        let mut listening = connection.as_pubsub();
        // The library reads one confirmation per call.
        listening.subscribe("one").expect("SUBSCRIBE");
        listening.subscribe("two").expect("SUBSCRIBE");
        listening.psubscribe("t*").expect("PSUBSCRIBE");
        let reached: i64 = publisher.publish("two", "payload").expect("PUBLISH");
        assert_eq!(reached, 2);
        let message = listening.get_message().expect("a message");
        assert_eq!(message.get_channel_name(), "two");
        assert_eq!(message.get_payload::<String>().expect("text"), "payload");
        let message = listening.get_message().expect("a message");
        assert_eq!(message.get_pattern::<String>().expect("a pattern"), "t*");
        listening.unsubscribe(&["one", "two"]).expect("UNSUBSCRIBE");
        listening.punsubscribe("t*").expect("PUNSUBSCRIBE");
        drop(listening);
        let mut other = server.client();
        std::thread::scope(|scope| {
            let heard = scope.spawn(|| {
                other.subscribe(&["count"], |message: redis::Msg| {
                    let number: i64 = message.get_payload().expect("a number");
                    if number == 3 {
                        ControlFlow::Break(number)
                    } else {
                        ControlFlow::Continue
                    }
                })
            });
            wait_until("it listens", Duration::from_secs(30), || {
                let counts: Vec<(String, i64)> = redis::cmd("PUBSUB")
                    .arg("NUMSUB")
                    .arg("count")
                    .query(&mut publisher)
                    .expect("PUBSUB");
                counts == [("count".to_owned(), 1)]
            });
            for n in 1..=3 {
                let _: i64 = publisher.publish("count", n).expect("PUBLISH");
            }
            assert_eq!(
                heard.join().expect("the listener").expect("a subscription"),
                3
            );
        });
    });
}

/// Lines whose events are compared.
const EVENTS: &str = include_str!("events.txt");

/// Waits until keys with 20 ms to live are due, by the server's own clock.
#[track_caller]
fn wait_until_due(wire: &mut Wire) {
    let mut now_us = || {
        let time = wire.run("TIME");
        let part = |index: usize| {
            time.elements()[index]
                .text()
                .parse::<u64>()
                .expect("a number")
        };
        part(0) * 1_000_000 + part(1)
    };
    let begin = now_us();
    wait_until("the keys are due", Duration::from_secs(30), || {
        now_us() > begin + 30_000
    });
}

/// The events that each line causes, in order. The line that ends them comes over the same core with one shard only;
/// with more, `count` says how many there are in all.
fn events(server: &Server, classes: &str, count: Option<usize>) -> Vec<(String, Vec<String>)> {
    let mut wire = server.wire();
    wire.run("FLUSHALL");
    assert_eq!(wire.run("DEBUG SET-ACTIVE-EXPIRE 0").text(), "OK");
    assert_eq!(
        wire.call(&["CONFIG", "SET", "notify-keyspace-events", classes])
            .text(),
        "OK"
    );
    let mut listening = listener(server, false, &["PSUBSCRIBE __key*__:*", "SUBSCRIBE end"]);
    let mut found = vec![];
    let text = |message: &str| message["pmessage __key*__:* ".len()..].to_owned();
    for line in EVENTS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line == "@due" {
            wait_until_due(&mut wire);
            continue;
        }
        wire.run(line);
        let mut seen = vec![];
        if count.is_none() {
            wire.run("PUBLISH end x");
            loop {
                let message = next(&mut listening);
                if message == "message end x" {
                    break;
                }
                seen.push(text(&message));
            }
        }
        found.push((line.to_owned(), seen));
    }
    if let Some(count) = count {
        let all = (0..count).map(|_| text(&next(&mut listening))).collect();
        found = vec![("all lines".to_owned(), all)];
    }
    found
}

/// What each channel says, in its order: with several cores events of different keys may change places.
fn by_channel(events: &[(String, Vec<String>)]) -> BTreeMap<String, Vec<String>> {
    let mut channels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events.iter().flat_map(|(_, events)| events) {
        let (channel, payload) = event.split_once(' ').expect("a channel and a payload");
        channels
            .entry(channel.into())
            .or_default()
            .push(payload.into());
    }
    for (channel, payloads) in &mut channels {
        if channel.starts_with("__keyevent") {
            payloads.sort_unstable();
        }
    }
    channels
}

#[test]
fn keyspace_events_are_those_of_redis() {
    let debug = ["--enable-debug-command", "yes"];
    let Some(peer) = Server::redis(&debug) else {
        return;
    };
    for classes in ["KEAmn", "Kg$", "Exm", "En"] {
        let expected = events(&peer, classes, None);
        let count = expected.iter().map(|(_, events)| events.len()).sum();
        assert!(count > 10, "{classes}: {count} events");
        for shards in SHARDS {
            let shards_text = shards.to_string();
            let server = Server::start(&[&["--shards", &shards_text][..], &debug].concat());
            if shards == 1 {
                for (expected, got) in expected.iter().zip(events(&server, classes, None)) {
                    assert_eq!(*expected, got, "{classes}");
                }
            } else {
                let got = events(&server, classes, Some(count));
                assert_eq!(
                    by_channel(&expected),
                    by_channel(&got),
                    "{classes}, {shards} shards"
                );
            }
        }
    }
}

#[test]
fn keys_that_expire_unasked_are_told_of() {
    on_all_shards(&["--notify-keyspace-events", "Ex"], |server| {
        let mut listening = listener(server, true, &["SUBSCRIBE __keyevent@0__:expired"]);
        let mut wire = server.wire();
        for n in 0..20 {
            wire.run(&format!("SET key{n} v PX 20"));
        }
        let mut gone: Vec<String> = (0..20).map(|_| next(&mut listening)).collect();
        gone.sort_unstable();
        let mut expected: Vec<String> = (0..20)
            .map(|n| format!("message __keyevent@0__:expired key{n}"))
            .collect();
        expected.sort_unstable();
        assert_eq!(gone, expected);
        // Without a class there are no events.
        wire.call(&["CONFIG", "SET", "notify-keyspace-events", ""]);
        wire.run("SET k v");
        wire.run("PUBLISH __keyevent@0__:expired last");
        assert_eq!(next(&mut listening), "message __keyevent@0__:expired last");
    });
}
