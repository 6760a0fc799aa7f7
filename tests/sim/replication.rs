//! The log of simulated nodes: what a follower would receive, applied to a node of its own, must give the same data.
//!
//! Clients send random lines and transactions in any delivery. The stream is then run, line by line, by one client of a
//! fresh node with one shard: replayed in its order by the simplest follower there is.

use std::collections::BTreeMap;

use shardine::base::random::Random;
use shardine::config::Config;
use shardine::resp::{Value, decode, decode_all, encode_line};

use super::lines::LineMaker;
use super::node::{Delivery, Node, NodeOptions};
use super::types::{self, TypeMaker};
use super::with_seeds;

pub(super) fn config() -> Config {
    let mut config = Config::default();
    shardine::config::parse_file("enable-debug-command yes", "test", &mut config, &mut |_| {
        Ok(Vec::new())
    })
    .expect("a parameter");
    config
}

fn line(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_line(args, &mut bytes);
    bytes
}

/// The stream's lines and the replies to them, side by side, for a failure's message.
fn transcript(stream: &[u8], mut replies: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = stream;
    while let Ok(Some((line, len))) = decode(rest) {
        rest = &rest[len..];
        let reply = match decode(replies) {
            Ok(Some((reply, len))) => {
                replies = &replies[len..];
                format!("{reply:?}")
            }
            _ => "none".into(),
        };
        let Value::Array(words) = line else { break };
        for word in words {
            let Value::Bulk(word) = word else { break };
            let word = word.escape_ascii().to_string();
            text.push_str(&word[..word.len().min(30)]);
            text.push(' ');
        }
        text.push_str(&format!("=> {}\n", &reply[..reply.len().min(60)]));
    }
    text
}

/// The digest of a node's data.
fn digest(node: &mut Node) -> String {
    let client = node.connect(0);
    node.send(client, &line(&[b"DEBUG", b"DIGEST"]));
    node.settle();
    String::from_utf8(std::mem::take(&mut node.connection(client).received)).expect("text")
}

/// What the digest does not tell of the keys: when they expire, and the groups of streams.
fn details(node: &mut Node) -> BTreeMap<String, String> {
    let mut details = BTreeMap::new();
    for db in 0..2 {
        for name in keys(node, db) {
            let mut found = Vec::new();
            for question in ["TYPE", "PEXPIRETIME"] {
                found.extend(ask_in(node, db, &[question.as_bytes(), &name]));
            }
            found.extend(ask_in(node, db, &[b"DEBUG", b"DIGEST-VALUE", &name]));
            match &found[0] {
                Value::Simple(kind) if kind == b"stream" => {
                    found.extend(ask_in(node, db, &[b"XINFO", b"GROUPS", &name]));
                }
                Value::Simple(kind) if kind == b"hash" => {
                    let fields = ask_in(node, db, &[b"HKEYS", &name]);
                    let Some(Value::Array(mut fields)) = fields.into_iter().next() else {
                        panic!("fields");
                    };
                    fields.sort_by_key(|field| format!("{field:?}"));
                    for field in fields {
                        let Value::Bulk(field) = field else {
                            panic!("a field")
                        };
                        found.push(Value::Bulk(field.clone()));
                        let end = [b"HPEXPIRETIME", &name[..], b"FIELDS", b"1", &field];
                        found.extend(ask_in(node, db, &end));
                    }
                }
                _ => {}
            }
            details.insert(
                format!("{db} {}", name.escape_ascii()),
                format!("{found:?}"),
            );
        }
    }
    details
}

/// The reply to a line in a database.
fn ask_in(node: &mut Node, db: usize, args: &[&[u8]]) -> Option<Value> {
    let client = node.connect(0);
    let select = line(&[b"SELECT", db.to_string().as_bytes()]);
    node.send(client, &[select, line(args)].concat());
    node.settle();
    let received = std::mem::take(&mut node.connection(client).received);
    node.hang_up(client);
    decode_all(&received)
        .expect("replies are well formed")
        .pop()
}

/// The names of all keys of a database.
fn keys(node: &mut Node, db: usize) -> Vec<Vec<u8>> {
    let Some(Value::Array(names)) = ask_in(node, db, &[b"KEYS", b"*"]) else {
        panic!("names");
    };
    let names = names.into_iter().map(|name| match name {
        Value::Bulk(name) => name,
        other => panic!("{other:?}"),
    });
    names.collect()
}

fn has_error(reply: &Value) -> bool {
    match reply {
        Value::Error(_) => true,
        Value::Array(values) => values.iter().any(has_error),
        _ => false,
    }
}

/// The log of the node, run line by line on a fresh one, gives the same data.
#[track_caller]
pub(super) fn assert_followed(node: &mut Node) {
    assert_followed_by(node, config());
}

/// The same with a follower of the given configuration.
#[track_caller]
fn assert_followed_by(node: &mut Node, config: Config) {
    let stream = &node.replication.stream;
    let bytes: Vec<u8> = stream.pieces(0).flatten().copied().collect();
    let mut follower = Node::new(NodeOptions {
        config,
        ..NodeOptions::default()
    });
    let leader = follower.connect(0);
    follower.send(leader, &bytes);
    follower.settle();
    let replies = std::mem::take(&mut follower.connection(leader).received);
    let transcript = || transcript(&bytes, &replies);
    let answers = decode_all(&replies).expect("replies are well formed");
    assert!(!answers.iter().any(has_error), "{}", transcript());
    let (theirs, ours) = (details(&mut follower), details(node));
    for name in ours.keys().chain(theirs.keys()) {
        assert_eq!(theirs.get(name), ours.get(name), "{name}: {}", transcript());
    }
    assert_eq!(digest(&mut follower), digest(node), "{}", transcript());
}

fn the_stream_holds_the_data(seed: u64) {
    let mut random = Random::new(seed ^ 0x106);
    let shards = [1, 2, 3, 4][random.index(4)];
    let mut node = Node::new(NodeOptions {
        shards,
        delivery: Delivery::Random(seed),
        link_messages_max: [1, 2, 8, 1024][random.index(4)],
        config: config(),
        ..NodeOptions::default()
    });
    node.replication.log();
    node.wake_replication();
    node.settle();
    let mut maker = LineMaker::new(seed);
    let clients: Vec<_> = (0..1 + random.index(5))
        .map(|n| node.connect(n % shards))
        .collect();
    let mut dbs = vec![0; clients.len()];
    for _ in 0..150 {
        let at = random.index(clients.len());
        let mut bytes = Vec::new();
        let mut add = |args: &[Vec<u8>]| {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            encode_line(&args, &mut bytes);
        };
        if random.one_in(10) {
            dbs[at] = 1 - dbs[at];
            add(&super::lines::args(&format!("SELECT {}", dbs[at])));
        }
        let count = 1 + random.index(4);
        let multi = random.one_in(4);
        if multi {
            add(&super::lines::args("MULTI"));
        }
        for _ in 0..count {
            add(&maker.known(dbs[at]));
        }
        if multi {
            add(&super::lines::args("EXEC"));
        }
        node.send(clients[at], &bytes);
        for _ in 0..random.index(30) {
            node.step();
        }
    }
    node.settle();
    node.assert_quiet();
    assert_followed(&mut node);
}

#[test]
fn a_follower_of_the_stream_has_the_same_data() {
    with_seeds(80, the_stream_holds_the_data);
}

/// Clients that send lines about all types, some of which wait, while time passes in jumps. Ends at rest.
fn run_of_all_types(seed: u64) -> Node {
    let mut random = Random::new(seed ^ 0xa117);
    let shards = [1, 2, 3, 4][random.index(4)];
    let mut node = Node::new(NodeOptions {
        shards,
        delivery: Delivery::Random(seed),
        link_messages_max: [1, 2, 8, 1024][random.index(4)],
        config: types::config(seed),
        ..NodeOptions::default()
    });
    node.replication.log();
    node.wake_replication();
    node.settle();
    let mut maker = TypeMaker::new(seed);
    let clients: Vec<_> = (0..1 + random.index(5))
        .map(|n| node.connect(n % shards))
        .collect();
    let mut dbs = vec![0; clients.len()];
    for _ in 0..200 {
        let at = random.index(clients.len());
        let mut lines = Vec::new();
        if random.one_in(20) {
            dbs[at] = 1 - dbs[at];
            lines.push(super::lines::args(&format!("SELECT {}", dbs[at])));
        }
        let multi = random.one_in(4);
        if multi {
            lines.push(super::lines::args("MULTI"));
        }
        for _ in 0..1 + random.index(4) {
            lines.push(maker.line(dbs[at], true));
        }
        if multi {
            lines.push(super::lines::args("EXEC"));
        }
        let mut bytes = Vec::new();
        for args in lines {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            encode_line(&args, &mut bytes);
        }
        node.send(clients[at], &bytes);
        for _ in 0..random.index(30) {
            node.step();
        }
        if random.one_in(12) {
            node.advance_ms([1, 20, 70, 500][random.index(4)]);
        }
    }
    node.settle();
    // Each step is long enough for a line that waits; behind it another may wait, so there are many steps.
    for _ in 0..60 {
        node.advance_ms(20_000);
        node.settle();
    }
    node.assert_quiet();
    node
}

#[test]
fn a_follower_of_the_stream_has_the_same_data_of_all_types() {
    // The follower has its leader's limits of small forms: those keep no sign of a zero score, the large ones do.
    with_seeds(60, |seed| {
        assert_followed_by(&mut run_of_all_types(seed), types::config(seed));
    });
}
