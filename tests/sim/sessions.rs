//! Sessions that must wait: for other lines and for room in the queues between cores.

use shardine::resp::{Value, decode_all, encode_line};

use super::node::{ConnectionId, Delivery, Node, NodeOptions};

fn node(shards: usize) -> (Node, ConnectionId) {
    let mut node = Node::new(NodeOptions {
        shards,
        ..NodeOptions::default()
    });
    let client = node.connect(0);
    (node, client)
}

/// What the client got, as text.
fn received(node: &mut Node, client: ConnectionId) -> String {
    let bytes = std::mem::take(&mut node.connection(client).received);
    String::from_utf8(bytes).expect("text")
}

#[test]
fn broken_bytes_behind_a_waiting_line_are_answered_last() {
    let (mut node, client) = node(2);
    node.send(
        client,
        b"DBSIZE\r\nSET a 1\r\nGET a\r\n*1\r\n$x\r\nGET a\r\n",
    );
    node.settle();
    assert_eq!(
        received(&mut node, client),
        ":0\r\n+OK\r\n$1\r\n1\r\n-ERR Protocol error: invalid bulk length\r\n"
    );
    assert!(node.connection(client).is_closed());
}

#[test]
fn a_session_ends_when_its_last_line_waited_and_filled_a_window() {
    // Lines are parsed sixteen at a time: behind the last one there is nothing to look at.
    let (mut node, client) = node(2);
    let lines = "PING\r\n".repeat(15) + "DBSIZE\r\n";
    node.send(client, lines.as_bytes());
    node.finish(client);
    node.settle();
    assert_eq!(
        received(&mut node, client),
        "+PONG\r\n".repeat(15) + ":0\r\n"
    );
    assert!(node.connection(client).is_closed());
    node.assert_quiet();
}

/// Two cores send each other far more than their queues hold, each through a client that never waits.
fn flood(seed: u64) -> usize {
    const LINES: usize = 1500;
    let mut node = Node::new(NodeOptions {
        shards: 2,
        delivery: Delivery::Random(seed),
        link_messages_max: 1,
        piece_bytes_max: 100,
        ..NodeOptions::default()
    });
    // A counter on each core, for the client of the other one.
    let counter = |node: &Node, shard| {
        let mut names = (0..).map(|at| format!("counter{at}"));
        names.find(|name| node.shard_of(name.as_bytes()) == shard)
    };
    let clients: Vec<ConnectionId> = (0..2).map(|core| node.connect(core)).collect();
    for (core, client) in clients.iter().enumerate() {
        let name = counter(&node, 1 - core).expect("every shard owns some");
        let mut line = Vec::new();
        encode_line(&[b"INCR", name.as_bytes()], &mut line);
        for _ in 0..LINES {
            node.send(*client, &line);
        }
    }
    node.settle();
    for client in clients {
        let replies = decode_all(&node.connection(client).received).expect("replies");
        let counted: Vec<Value> = (1..=LINES as i64).map(Value::Int).collect();
        assert!(replies == counted, "replies come once and in order");
    }
    node.assert_quiet();
    node.full_outboxes
}

#[test]
fn cores_whose_queues_are_full_towards_each_other_still_drain() {
    let mut full = 0;
    super::with_seeds(30, |seed| full += flood(seed));
    assert!(full > 0, "no outbox was ever full");
}
