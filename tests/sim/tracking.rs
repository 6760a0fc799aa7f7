//! Client-side caches on simulated nodes never keep what is stale.
//!
//! Clients keep copies of what they read and drop what they are told to, in every mode that Redis has, while others
//! write, empty databases and rename keys, messages crawl and clients hang up. What a client has cached when everything is at rest is
//! what a reader finds. (What it caches in between may be older for a moment: it is told behind its replies.)

use std::collections::{BTreeMap, VecDeque};

use shardine::base::random::Random;
use shardine::resp::{Value, decode, encode_line};

use super::node::{ConnectionId, Delivery, Node, NodeOptions};
use super::with_seeds;

const KEYS: usize = 8;

/// What the client does with the reply of a line.
enum Asked {
    /// Nothing.
    Ignored,
    /// It caches the values of these keys, in the reply itself or in its last element.
    Values(Vec<String>),
}

struct Client {
    connection: ConnectionId,
    mode: &'static str,
    /// The client's id, of the client that hears for others.
    asked: VecDeque<Asked>,
    cache: BTreeMap<String, Value>,
}

struct Run {
    node: Node,
    random: Random,
    shards: usize,
    clients: Vec<Client>,
    values: usize,
    dropped: usize,
}

fn key(at: usize) -> String {
    // Some share an owner, some a prefix.
    ["a1", "a2", "b1", "b2", "{t}1", "{t}2", "c", "d"][at].into()
}

impl Run {
    fn send(&mut self, client: usize, line: &str, asked: Asked) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut bytes = Vec::new();
        encode_line(&args, &mut bytes);
        let client = &mut self.clients[client];
        client.asked.push_back(asked);
        self.node.send(client.connection, &bytes);
    }

    fn connect(&mut self) {
        let core = self.random.index(self.shards);
        let mode = ["", "OPTIN", "OPTOUT", "BCAST", "BCAST PREFIX a PREFIX b"];
        let client = Client {
            connection: self.node.connect(core),
            mode: mode[self.random.index(mode.len())],
            asked: VecDeque::new(),
            cache: BTreeMap::new(),
        };
        let tracking = format!("CLIENT TRACKING ON {}", client.mode);
        self.clients.push(client);
        let at = self.clients.len() - 1;
        self.send(at, "HELLO 3", Asked::Ignored);
        self.send(at, tracking.trim_end(), Asked::Ignored);
    }

    fn key(&mut self) -> String {
        key(self.random.index(KEYS))
    }

    /// A read whose reply is cached, as far as the client's mode lets it.
    fn read(&mut self, client: usize) {
        let mode = self.clients[client].mode;
        let keys: Vec<String> = (0..1 + self.random.index(3)).map(|_| self.key()).collect();
        let covered =
            mode != "BCAST PREFIX a PREFIX b" || keys.iter().all(|key| key.starts_with(['a', 'b']));
        let caching = match mode {
            "OPTIN" => {
                let caching = self.random.one_in(2);
                if caching {
                    self.send(client, "CLIENT CACHING YES", Asked::Ignored);
                }
                caching
            }
            "OPTOUT" => {
                let caching = self.random.one_in(2);
                if !caching {
                    self.send(client, "CLIENT CACHING NO", Asked::Ignored);
                }
                caching
            }
            _ => covered,
        };
        let asked = match caching {
            true => Asked::Values(keys.clone()),
            false => Asked::Ignored,
        };
        let line = format!("MGET {}", keys.join(" "));
        match self.random.index(3) {
            0 => self.send(client, &line, asked),
            1 if keys.len() == 1 => self.send(client, &format!("GET {}", keys[0]), asked),
            _ => {
                self.send(client, "MULTI", Asked::Ignored);
                let between = ["PING", "CLIENT ID", "STRLEN c", "EXISTS a1 b1 c"];
                let between = between[self.random.index(between.len())];
                self.send(client, between, Asked::Ignored);
                self.send(client, &line, Asked::Ignored);
                self.send(client, "EXEC", asked);
            }
        }
    }

    fn write(&mut self, client: usize) {
        self.values += 1;
        let (a, b, value) = (self.key(), self.key(), self.values);
        let line = match self.random.index(24) {
            0..8 => format!("SET {a} {value}"),
            8..11 => format!("MSET {a} {value} {b} {value}"),
            11 => format!("DEL {a} {b}"),
            12 => format!("RENAME {a} {b}"),
            13 => format!("COPY {a} {b} REPLACE"),
            14 => format!("BITOP OR {a} {b} {a}"),
            15 => format!("SET {a} {value} PX 5"),
            16 => format!("MSETNX {a} {value} {b} {value}"),
            17 => "FLUSHALL".into(),
            18 if self.random.one_in(4) => "SWAPDB 0 1".into(),
            19 | 20 => {
                self.send(client, "MULTI", Asked::Ignored);
                self.send(client, &format!("SET {a} {value}"), Asked::Ignored);
                self.send(client, &format!("APPEND {b} {value}"), Asked::Ignored);
                "EXEC".into()
            }
            _ => format!("APPEND {a} {value}"),
        };
        self.send(client, &line, Asked::Ignored);
    }

    /// Takes what the clients have received.
    fn observe(&mut self) {
        for client in &mut self.clients {
            let received = &mut self.node.connection(client.connection).received;
            let mut at = 0;
            while let Some((value, len)) = decode(&received[at..]).expect("well formed") {
                at += len;
                let Value::Push(parts) = value else {
                    let asked = client.asked.pop_front().expect("somebody asked");
                    take_values(client, asked, value);
                    continue;
                };
                assert_eq!(parts[0], Value::Bulk(b"invalidate".to_vec()));
                match &parts[1] {
                    Value::Array(keys) => {
                        for key in keys {
                            let Value::Bulk(key) = key else {
                                panic!("{key:?} is no key");
                            };
                            let key = String::from_utf8_lossy(key);
                            self.dropped += usize::from(client.cache.remove(&*key).is_some());
                        }
                    }
                    other => {
                        assert_eq!(other, &Value::Null);
                        client.cache.clear();
                    }
                }
            }
            received.drain(..at);
        }
    }

    fn step(&mut self) {
        self.node.step();
        self.observe();
    }

    fn settle(&mut self) {
        while self.node.is_busy() {
            self.step();
        }
        // What has expired is noticed.
        for _ in 0..3 {
            self.node.advance_ms(20);
            while self.node.is_busy() {
                self.step();
            }
        }
        self.observe();
    }

    /// Every copy is what a reader finds.
    fn check(&mut self) {
        self.settle();
        let reader = self.node.connect(0);
        let names: Vec<String> = (0..KEYS).map(key).collect();
        let line = format!("HELLO 3\r\nMGET {}\r\n", names.join(" "));
        self.node.send(reader, line.as_bytes());
        self.settle();
        let received = std::mem::take(&mut self.node.connection(reader).received);
        let (_, hello) = decode(&received).expect("a reply").expect("HELLO's");
        let Ok(Some((Value::Array(found), _))) = decode(&received[hello..]) else {
            panic!("no reply to MGET");
        };
        let found: BTreeMap<String, Value> = names.into_iter().zip(found).collect();
        for (at, client) in self.clients.iter().enumerate() {
            assert!(client.asked.is_empty(), "client {at} waits in vain");
            for (key, value) in &client.cache {
                assert_eq!(
                    value, &found[key],
                    "client {at} ({}) has an old {key}",
                    client.mode
                );
            }
        }
        self.node.hang_up(reader);
    }
}

fn take_values(client: &mut Client, asked: Asked, value: Value) {
    assert!(
        !matches!(value, Value::Error(_)) || matches!(asked, Asked::Ignored),
        "{value:?}"
    );
    let Asked::Values(keys) = asked else {
        return;
    };
    let values = match value {
        // EXEC: MGET's reply is the last.
        Value::Array(mut replies) if matches!(replies.last(), Some(Value::Array(_))) => {
            match replies.pop() {
                Some(Value::Array(values)) => values,
                _ => unreachable!("just looked at"),
            }
        }
        Value::Array(values) => values,
        single => vec![single],
    };
    assert_eq!(keys.len(), values.len());
    client.cache.extend(keys.into_iter().zip(values));
}

/// Plays one seed. Returns how many copies were dropped because they were stale.
fn caches_hold(seed: u64) -> usize {
    let mut random = Random::new(seed ^ 0x7ac3);
    let shards = 1 + random.index(4);
    let mut options = NodeOptions {
        shards,
        delivery: Delivery::Random(seed),
        link_messages_max: [1, 2, 8, 1024][random.index(4)],
        ..NodeOptions::default()
    };
    if random.one_in(4) {
        options.config.tracking_table_max_keys = 3;
    }
    let mut run = Run {
        node: Node::new(options),
        random,
        shards,
        clients: Vec::new(),
        values: 0,
        dropped: 0,
    };
    for _ in 0..4 {
        run.connect();
    }
    for round in 0..120 {
        let client = run.random.index(run.clients.len());
        match run.random.index(40) {
            0..18 => run.read(client),
            18..38 => run.write(client),
            38 => {
                let gone = run.clients.swap_remove(client);
                run.node.hang_up(gone.connection);
                run.connect();
            }
            // Who tracks no more forgets everything, and begins anew.
            _ => {
                run.settle();
                run.clients[client].cache.clear();
                let mode = run.clients[client].mode;
                run.send(client, "CLIENT TRACKING OFF", Asked::Ignored);
                let on = format!("CLIENT TRACKING ON {mode}");
                run.send(client, on.trim_end(), Asked::Ignored);
            }
        }
        for _ in 0..run.random.index(30) {
            run.step();
        }
        if round % 40 == 39 {
            run.check();
        }
    }
    for client in std::mem::take(&mut run.clients) {
        run.node.hang_up(client.connection);
    }
    run.settle();
    run.node.assert_quiet();
    run.dropped
}

#[test]
fn no_cache_keeps_what_is_stale() {
    let mut dropped = 0;
    with_seeds(300, |seed| dropped += caches_hold(seed));
    assert!(dropped > 0, "nothing was ever told");
}
