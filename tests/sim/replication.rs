//! The log of simulated nodes: what a follower would receive, applied to a node of its own, must give the same data.
//!
//! Clients send random lines and transactions in any delivery. The stream is then run, line by line, by one client of a
//! fresh node with one shard: replayed in its order by the simplest follower there is.

use shardine::base::random::Random;
use shardine::config::Config;
use shardine::resp::{Value, decode, encode_line};

use super::lines::LineMaker;
use super::node::{Delivery, Node, NodeOptions};
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

/// The log of the node, run line by line on a fresh one, gives the same data.
#[track_caller]
pub(super) fn assert_followed(node: &mut Node) {
    let stream = &node.replication.stream;
    let bytes: Vec<u8> = stream.pieces(0).flatten().copied().collect();
    let mut follower = Node::new(NodeOptions {
        config: config(),
        ..NodeOptions::default()
    });
    let leader = follower.connect(0);
    follower.send(leader, &bytes);
    follower.settle();
    let replies = std::mem::take(&mut follower.connection(leader).received);
    let transcript = || transcript(&bytes, &replies);
    assert!(
        !replies.windows(3).any(|start| start == b"\n-E"),
        "{}",
        transcript()
    );
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
