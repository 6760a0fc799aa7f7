//! Transactions on simulated nodes: amounts that move between accounts, counters under WATCH, clients that hang up anywhere.
//!
//! Every client acts on what it was answered, so it sends a line group, waits for the replies and decides what comes next; the
//! groups of all clients are in flight at once, in pieces and in an order that the seed chooses.
//!
//! Held to:
//! - The sum of all accounts is the same in every MGET and SORT and in every EXEC that reads all accounts.
//! - A counter is the number of EXECs that were answered with an array, plus at most those whose client hung up before the
//!   answer: no update is lost, none happens twice.
//! - At the end nothing is reserved, nobody watches, nobody waits.

use shardine::base::random::Random;
use shardine::resp::{Value, decode};

use super::node::{ConnectionId, Delivery, Node, NodeOptions};
use super::with_seeds;

const ACCOUNTS: usize = 6;
const AMOUNT: i64 = 50;
const COUNTERS: usize = 3;
const SORT_ACCOUNTS: [&str; 6] = ["SORT", "holders", "BY", "account*", "GET", "account*"];

/// What a client is doing.
enum Doing {
    Nothing,
    /// A group without a question; its last reply is an EXEC's.
    Moving,
    /// The last reply has all accounts.
    Looking,
    /// WATCH and GET of a counter.
    Reading(usize),
    /// EXEC of the counter's new value.
    Writing(usize),
}

struct Client {
    connection: ConnectionId,
    doing: Doing,
    /// Replies of the group that are missing.
    missing: usize,
    groups_left: usize,
    /// What it sent last was not whole: no answer will come.
    cut: bool,
}

struct Run {
    node: Node,
    random: Random,
    counted: [i64; COUNTERS],
    unsure: [i64; COUNTERS],
    conflicts: usize,
}

fn line(args: &[&str]) -> Vec<u8> {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let mut bytes = Vec::new();
    shardine::resp::encode_line(&args, &mut bytes);
    bytes
}

fn account(n: usize) -> String {
    format!("account{n}")
}

fn numbers(value: &Value) -> Vec<i64> {
    let Value::Array(elements) = value else {
        panic!("{value:?} is no array");
    };
    elements
        .iter()
        .flat_map(|element| match element {
            Value::Bulk(text) => {
                let text = std::str::from_utf8(text).ok();
                vec![text.and_then(|text| text.parse().ok()).expect("a number")]
            }
            nested => numbers(nested),
        })
        .collect()
}

impl Run {
    fn send(&mut self, client: &mut Client, lines: &[Vec<u8>], doing: Doing) {
        client.missing = lines.len();
        client.doing = doing;
        self.node.send(client.connection, &lines.concat());
    }

    /// The client begins something new.
    fn begin(&mut self, client: &mut Client) {
        client.groups_left -= 1;
        let from = account(self.random.index(ACCOUNTS));
        let to = account(self.random.index(ACCOUNTS));
        let names: Vec<String> = (0..ACCOUNTS).map(account).collect();
        match self.random.index(8) {
            0 => {
                let mut mget = vec!["MGET"];
                mget.extend(names.iter().map(String::as_str));
                self.send(client, &[line(&mget)], Doing::Looking);
            }
            1 => {
                let mut lines = vec![line(&["MULTI"])];
                lines.extend(names.iter().map(|name| line(&["GET", name])));
                lines.push(line(&["EXEC"]));
                self.send(client, &lines, Doing::Looking);
            }
            2 => {
                let counter = self.random.index(COUNTERS);
                let name = format!("counter{counter}");
                let lines = [line(&["WATCH", &name, &from]), line(&["GET", &name])];
                self.send(client, &lines, Doing::Reading(counter));
            }
            // Its own keys name the accounts, which are borrowed in a second round.
            3 => self.send(client, &[line(&SORT_ACCOUNTS)], Doing::Looking),
            4 => {
                let lines = [line(&["MULTI"]), line(&SORT_ACCOUNTS), line(&["EXEC"])];
                self.send(client, &lines, Doing::Looking);
            }
            _ => {
                let mut lines = vec![line(&["MULTI"]), line(&["DECRBY", &from, "3"])];
                for _ in 0..self.random.index(4) {
                    match self.random.index(8) {
                        0 => {
                            let away = ["RENAMENX", &from, "moving"];
                            lines.extend([line(&away), line(&["RENAMENX", "moving", &from])]);
                        }
                        1 => lines.push(line(&["MGET", &from, &to, "other"])),
                        2 => lines.push(line(&["MSET", "x", "1", "y", "2", "z", "3"])),
                        3 => lines.push(line(&["PING"])),
                        4 => lines.push(line(&["DBSIZE"])),
                        5 => {
                            let sort = ["SORT", "holders", "BY", "account*", "STORE", "sorted"];
                            lines.push(line(&sort));
                        }
                        6 => lines.push(line(&["LMOVE", "holders", "holders", "LEFT", "RIGHT"])),
                        _ => lines.push(line(&["CLIENT", "SETNAME", "mover"])),
                    }
                }
                lines.extend([line(&["INCRBY", &to, "3"]), line(&["EXEC"])]);
                if self.random.one_in(8) {
                    // It goes before EXEC arrives whole: nothing may have happened.
                    let last = lines.last_mut().expect("EXEC");
                    last.truncate(last.len() - 1);
                    client.cut = true;
                }
                self.send(client, &lines, Doing::Moving);
            }
        }
    }

    /// The client's group is answered: it looks at the last reply.
    fn answered(&mut self, client: &mut Client, last: Value) {
        match std::mem::replace(&mut client.doing, Doing::Nothing) {
            Doing::Nothing => {}
            Doing::Moving => {
                let Value::Array(replies) = last else {
                    panic!("{last:?} answers EXEC");
                };
                assert!(
                    !replies.iter().any(|reply| matches!(reply, Value::Error(_))),
                    "{replies:?}"
                );
            }
            Doing::Looking => {
                let amounts = numbers(&last);
                let sum: i64 = amounts.iter().sum();
                assert_eq!(sum, AMOUNT * ACCOUNTS as i64, "{amounts:?}");
            }
            Doing::Reading(counter) => {
                let old: i64 = match last {
                    Value::Null | Value::NullArray => 0,
                    Value::Bulk(text) => std::str::from_utf8(&text)
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .expect("a number"),
                    other => panic!("{other:?} is no counter"),
                };
                let name = format!("counter{counter}");
                let mut lines = vec![
                    line(&["MULTI"]),
                    line(&["SET", &name, &(old + 1).to_string()]),
                ];
                if self.random.one_in(2) {
                    lines.push(line(&["INCR", &format!("other{counter}")]));
                }
                lines.push(line(&["EXEC"]));
                self.send(client, &lines, Doing::Writing(counter));
            }
            Doing::Writing(counter) => match last {
                Value::Array(_) => self.counted[counter] += 1,
                _ => self.conflicts += 1,
            },
        }
    }

    /// Takes the replies that a client has received. Returns the last one when its group is answered.
    fn receive(&mut self, client: &mut Client) -> Option<Value> {
        let received = &mut self.node.connection(client.connection).received;
        let mut at = 0;
        let mut last = None;
        while client.missing > 0
            && let Ok(Some((value, len))) = decode(&received[at..])
        {
            at += len;
            client.missing -= 1;
            last = Some(value);
        }
        received.drain(..at);
        last.filter(|_| client.missing == 0)
    }

    /// The client's connection ends, and it comes back with a new one.
    fn hang_up(&mut self, client: &mut Client, cores: usize) {
        self.node.hang_up(client.connection);
        if let Doing::Writing(counter) = client.doing {
            self.unsure[counter] += 1;
        }
        client.doing = Doing::Nothing;
        client.missing = 0;
        client.cut = false;
        client.connection = self.node.connect(self.random.index(cores));
    }
}

fn transactions_hold(seed: u64) -> usize {
    let mut random = Random::new(seed ^ 0xacc0);
    let shards = [1, 2, 3, 4][random.index(4)];
    let mut node = Node::new(NodeOptions {
        shards,
        delivery: Delivery::Random(seed),
        link_messages_max: [1, 2, 8, 1024][random.index(4)],
        ..NodeOptions::default()
    });
    let first = node.connect(0);
    for n in 0..ACCOUNTS {
        node.send(first, &line(&["SET", &account(n), &AMOUNT.to_string()]));
    }
    for n in 0..ACCOUNTS {
        node.send(first, &line(&["RPUSH", "holders", &n.to_string()]));
    }
    node.settle();
    let mut clients: Vec<Client> = (0..2 + random.index(8))
        .map(|n| Client {
            connection: node.connect(n % shards),
            doing: Doing::Nothing,
            missing: 0,
            groups_left: 30,
            cut: false,
        })
        .collect();
    let hang_ups = random.one_in(2);
    let mut run = Run {
        node,
        random,
        counted: [0; COUNTERS],
        unsure: [0; COUNTERS],
        conflicts: 0,
    };
    let mut idle_steps = 0;
    while clients
        .iter()
        .any(|client| client.groups_left > 0 || client.missing > 0)
    {
        run.node.step();
        idle_steps += 1;
        for client in &mut clients {
            if let Some(last) = run.receive(client) {
                idle_steps = 0;
                run.answered(client, last);
            }
            if client.missing == 0 && client.groups_left > 0 {
                run.begin(client);
            }
            let goes = match client.cut {
                true => run.random.one_in(200),
                false => hang_ups && run.random.one_in(4_000),
            };
            if goes {
                idle_steps = 0;
                run.hang_up(client, shards);
            }
            assert!(idle_steps < 50_000, "clients wait in vain");
        }
    }
    run.node.settle();
    for client in &clients {
        run.node.hang_up(client.connection);
    }
    let mut last = vec!["MGET".to_string()];
    last.extend((0..ACCOUNTS).map(account));
    last.extend((0..COUNTERS).map(|n| format!("counter{n}")));
    run.node.connection(first).received.clear();
    let args: Vec<&str> = last.iter().map(String::as_str).collect();
    for n in 0..COUNTERS {
        let counter = format!("counter{n}");
        run.node.send(first, &line(&["SETNX", &counter, "0"]));
    }
    run.node.send(first, &line(&args));
    run.node.settle();
    let received = run.node.connection(first).received.clone();
    let at = received
        .iter()
        .position(|byte| *byte == b'*')
        .expect("MGET's reply");
    let (value, _) = decode(&received[at..])
        .expect("a reply")
        .expect("a whole reply");
    let values = numbers(&value);
    let sum: i64 = values[..ACCOUNTS].iter().sum();
    assert_eq!(sum, AMOUNT * ACCOUNTS as i64);
    for (counter, value) in values[ACCOUNTS..].iter().enumerate() {
        let (sure, unsure) = (run.counted[counter], run.unsure[counter]);
        assert!(
            (sure..=sure + unsure).contains(value),
            "counter{counter} is {value}, counted {sure} and perhaps {unsure}"
        );
    }
    run.node.assert_quiet();
    run.node.assert_unwatched();
    run.conflicts
}

#[test]
fn amounts_and_counters_hold_in_any_delivery() {
    let mut conflicts = 0;
    with_seeds(60, |seed| conflicts += transactions_hold(seed));
    println!("{conflicts} conflicts");
}
