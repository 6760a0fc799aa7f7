//! Clients that wait for elements of lists, on simulated nodes: pushes, pops, moves, timeouts, hang-ups, in any delivery.
//!
//! Every element has a name of its own. Held to:
//! - Every element is given to one client, or is in a list at the end, or may have been on its way to a client that hung up. None
//!   is given twice, none is lost.
//! - When the node is at rest nobody waits for a list that has an element.
//! - Of the clients that wait for a key the first to have come is served first.
//! - The stream that followers receive holds the same data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shardine::base::random::Random;
use shardine::resp::{Value, decode};

use super::node::{ConnectionId, Delivery, Node, NodeOptions};
use super::replication::{assert_followed, config};
use super::with_seeds;

const KEYS: usize = 6;

fn line(args: &[&str]) -> Vec<u8> {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let mut bytes = Vec::new();
    shardine::resp::encode_line(&args, &mut bytes);
    bytes
}

/// A key; some lie together.
fn key(n: usize) -> String {
    match n % KEYS {
        n @ 0..2 => format!("{{t}}{n}"),
        n => format!("key{n}"),
    }
}

fn node(seed: u64, random: &mut Random) -> (Node, usize) {
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
    (node, shards)
}

/// The elements that a reply shows.
fn elements_of(reply: &Value, found: &mut Vec<String>) {
    match reply {
        Value::Bulk(text) if text.starts_with(b"e") => {
            found.push(String::from_utf8(text.to_vec()).expect("an element"));
        }
        Value::Array(values) => values.iter().for_each(|value| elements_of(value, found)),
        _ => {}
    }
}

struct Client {
    connection: ConnectionId,
    /// The replies that are missing: whether they give elements away.
    missing: VecDeque<bool>,
    /// The keys of its last line, if that may wait.
    waits: Vec<String>,
    lines_left: usize,
}

struct Run {
    node: Node,
    random: Random,
    pushed: BTreeSet<String>,
    given: BTreeMap<String, usize>,
    /// So many elements may have been on their way to clients that hung up.
    unsure: usize,
}

impl Run {
    fn element(&mut self) -> String {
        let element = format!("e{}", self.pushed.len());
        self.pushed.insert(element.clone());
        element
    }

    /// The client sends something; `clients` is how many there are.
    fn begin(&mut self, client: &mut Client, clients: usize) {
        client.lines_left -= 1;
        let count = 1 + self.random.index(3);
        let keys: Vec<String> = (0..count).map(|_| key(self.random.index(KEYS))).collect();
        let first = keys[0].as_str();
        let timeout = ["0", "0", "0.002", "0.05"][self.random.index(4)];
        let mut lines = Vec::new();
        client.waits.clear();
        match self.random.index(14) {
            0..4 => {
                let mut args = vec![["BLPOP", "BRPOP"][self.random.index(2)]];
                args.extend(keys.iter().map(String::as_str));
                args.push(timeout);
                lines.push((line(&args), true));
                client.waits = keys.clone();
            }
            4 => {
                let numkeys = keys.len().to_string();
                let mut args = vec!["BLMPOP", timeout, &numkeys];
                args.extend(keys.iter().map(String::as_str));
                args.extend(["LEFT", "COUNT", "2"]);
                lines.push((line(&args), true));
                client.waits = keys.clone();
            }
            5 | 6 => {
                let to = key(self.random.index(KEYS));
                let args = ["BLMOVE", first, &to, "LEFT", "RIGHT", timeout];
                lines.push((line(&args), false));
                client.waits = vec![first.into()];
            }
            7 | 8 => {
                let mut args = vec!["RPUSH".to_string(), first.into()];
                args.extend((0..1 + self.random.index(3)).map(|_| self.element()));
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                lines.push((line(&args), false));
            }
            9 => {
                let other = key(self.random.index(KEYS));
                lines.push((line(&["MULTI"]), false));
                lines.push((line(&["RPUSH", first, &self.element()]), false));
                if self.random.one_in(2) {
                    lines.push((line(&["LPOP", first]), true));
                }
                lines.push((line(&["LPUSH", &other, &self.element()]), false));
                lines.push((line(&["EXEC"]), true));
            }
            10 => lines.push((line(&["LPOP", first]), true)),
            11 => {
                let hidden = format!("hidden{}", self.random.index(3));
                lines.push((line(&["RPUSH", &hidden, &self.element()]), false));
                lines.push((line(&["RENAMENX", &hidden, first]), false));
            }
            12 => {
                let id = (1 + self.random.index(clients)).to_string();
                lines.push((line(&["CLIENT", "UNBLOCK", &id]), false));
            }
            _ => {
                let last = keys[keys.len() - 1].as_str();
                lines.push((line(&["LPUSH", first, &self.element()]), false));
                lines.push((line(&["LMOVE", first, last, "LEFT", "RIGHT"]), false));
            }
        }
        for (line, gives) in lines {
            client.missing.push_back(gives);
            self.node.send(client.connection, &line);
        }
    }

    fn receive(&mut self, client: &mut Client) {
        let received = &mut self.node.connection(client.connection).received;
        let mut at = 0;
        while let Ok(Some((reply, len))) = decode(&received[at..]) {
            at += len;
            // Another client may have renamed the hidden key.
            assert!(
                !matches!(&reply, Value::Error(text) if !text.ends_with(b"no such key")),
                "{reply:?}"
            );
            let gives = client.missing.pop_front();
            if gives.expect("a reply belongs to a line") {
                let mut found = Vec::new();
                elements_of(&reply, &mut found);
                for element in found {
                    *self.given.entry(element).or_default() += 1;
                }
            }
        }
        received.drain(..at);
    }

    /// A client that may be waiting goes, and comes back with a new connection.
    fn hang_up(&mut self, client: &mut Client, core: usize) {
        self.receive(client);
        if client.missing.is_empty() || client.waits.is_empty() {
            return;
        }
        self.unsure += 2;
        self.node.hang_up(client.connection);
        client.missing.clear();
        client.waits.clear();
        client.connection = self.node.connect(core);
    }
}

fn elements_go_where_they_belong(seed: u64) {
    let mut random = Random::new(seed ^ 0xb10c);
    let (mut node, shards) = node(seed, &mut random);
    let mut clients: Vec<Client> = (0..3 + random.index(8))
        .map(|n| Client {
            connection: node.connect(n % shards),
            missing: VecDeque::new(),
            waits: Vec::new(),
            lines_left: 40,
        })
        .collect();
    let hang_ups = random.one_in(2);
    let mut run = Run {
        node,
        random,
        pushed: BTreeSet::new(),
        given: BTreeMap::new(),
        unsure: 0,
    };
    let count = clients.len();
    while clients
        .iter()
        .any(|client| client.lines_left > 0 && client.missing.is_empty())
    {
        for _ in 0..1 + run.random.index(20) {
            run.node.step();
        }
        for client in &mut clients {
            run.receive(client);
            if client.missing.is_empty() && client.lines_left > 0 && run.random.one_in(3) {
                run.begin(client, count);
            }
            if hang_ups && run.random.one_in(400) {
                let core = run.random.index(shards);
                run.hang_up(client, core);
            }
        }
    }
    run.node.settle();
    run.node.advance_ms(100);
    run.node.assert_quiet();
    let looker = run.node.connect(0);
    let mut left = BTreeMap::new();
    let names = (0..KEYS)
        .map(key)
        .chain((0..3).map(|n| format!("hidden{n}")));
    for name in names {
        run.node.send(looker, &line(&["LRANGE", &name, "0", "-1"]));
        run.node.settle();
        let received = std::mem::take(&mut run.node.connection(looker).received);
        let (reply, _) = decode(&received).expect("a reply").expect("a whole reply");
        let mut found = Vec::new();
        elements_of(&reply, &mut found);
        left.insert(name, found);
    }
    for client in &mut clients {
        run.receive(client);
        if !client.missing.is_empty() {
            assert_eq!(client.missing.len(), 1, "only its last line waits");
            for name in &client.waits {
                assert!(left[name].is_empty(), "a client waits for {name}: {left:?}");
            }
        }
    }
    for element in left.into_values().flatten() {
        *run.given.entry(element).or_default() += 1;
    }
    assert!(
        run.given.values().all(|times| *times == 1),
        "{:?}",
        run.given
    );
    let gone = run.pushed.len() - run.given.len();
    assert!(gone <= run.unsure, "{gone} elements are lost");
    assert_followed(&mut run.node);
}

#[test]
fn every_element_is_given_once_in_any_delivery() {
    with_seeds(120, elements_go_where_they_belong);
}

/// A line before another is being served by the owner of its other key while both could be served here, the second with a
/// claim of its own.
fn a_busy_line_is_passed_by_one_with_two_keys(seed: u64) {
    let mut random = Random::new(seed ^ 0xb5ed);
    let (mut node, shards) = node(seed, &mut random);
    let clients = [
        line(&["BLPOP", "key2", "key3", "{t}0", "0"]),
        line(&["BLMOVE", "{t}0", "{t}1", "LEFT", "RIGHT", "0"]),
    ];
    let clients = clients.map(|line| {
        let connection = node.connect(random.index(shards));
        node.send(connection, &line);
        node.settle();
        connection
    });
    for name in ["key2", "key3", "{t}0"] {
        let pusher = node.connect(random.index(shards));
        node.send(pusher, &line(&["RPUSH", name, "e1", "e2"]));
    }
    node.settle();
    for client in clients {
        let received = &node.connection(client).received;
        assert!(!received.is_empty(), "a client waits in vain");
    }
    node.assert_quiet();
}

#[test]
fn a_busy_line_holds_nobody_up() {
    with_seeds(200, a_busy_line_is_passed_by_one_with_two_keys);
}

/// One that waits, having come when all before it already waited.
struct Waiter {
    connection: ConnectionId,
    keys: Vec<String>,
    gone: bool,
}

fn the_first_to_come_is_served_first(seed: u64) {
    let mut random = Random::new(seed ^ 0xf1f0);
    let (mut node, shards) = node(seed, &mut random);
    let mut waiters = Vec::new();
    for n in 0..4 + random.index(12) {
        let connection = node.connect(n % shards);
        let count = 1 + random.index(2);
        let keys: Vec<String> = (0..count).map(|_| key(random.index(4))).collect();
        let mut args = vec!["BLPOP"];
        args.extend(keys.iter().map(String::as_str));
        args.push("0");
        node.send(connection, &line(&args));
        node.settle();
        waiters.push(Waiter {
            connection,
            keys,
            gone: false,
        });
    }
    // One pusher for each key, so that the elements of a key have an order.
    for n in 0..4 {
        let pusher = node.connect(random.index(shards));
        let mut bytes = Vec::new();
        for number in 0..random.index(8) {
            let element = format!("{number}");
            let push = line(&["RPUSH", &key(n), &element]);
            if random.one_in(3) {
                bytes.extend(
                    [
                        line(&["MULTI"]),
                        push,
                        line(&["INCR", "other"]),
                        line(&["EXEC"]),
                    ]
                    .concat(),
                );
            } else {
                bytes.extend(push);
            }
        }
        node.send(pusher, &bytes);
    }
    while node.is_busy() {
        node.step();
        if random.one_in(200) {
            let at = random.index(waiters.len());
            node.hang_up(waiters[at].connection);
            waiters[at].gone = true;
        }
    }
    // Per key the numbers of the elements that waiters got, in the order of their arrival.
    let mut served: BTreeMap<String, Vec<(usize, i64)>> = BTreeMap::new();
    for (at, waiter) in waiters
        .iter()
        .enumerate()
        .filter(|(_, waiter)| !waiter.gone)
    {
        let received = std::mem::take(&mut node.connection(waiter.connection).received);
        let Ok(Some((Value::Array(values), _))) = decode(&received) else {
            continue;
        };
        let text = |value: &Value| match value {
            Value::Bulk(text) => String::from_utf8(text.to_vec()).expect("text"),
            other => panic!("{other:?}"),
        };
        let number = text(&values[1]).parse().expect("a number");
        served
            .entry(text(&values[0]))
            .or_default()
            .push((at, number));
    }
    let all_served: BTreeSet<usize> = served.values().flatten().map(|(at, _)| *at).collect();
    for (name, served) in &served {
        assert!(
            served.is_sorted_by_key(|(_, number)| *number),
            "{name}: {served:?}"
        );
        let last = served.last().expect("somebody was served").0;
        for (at, waiter) in waiters.iter().enumerate().take(last) {
            assert!(
                waiter.gone || !waiter.keys.contains(name) || all_served.contains(&at),
                "{name}: {at} was passed over, {served:?}"
            );
        }
    }
}

#[test]
fn clients_are_served_in_the_order_of_their_arrival() {
    with_seeds(150, the_first_to_come_is_served_first);
}
