//! Client-side caching over several cores: many clients with caches, redirection, clients that go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{Server, wait_until};
use super::on_all_shards;
use super::wire::{Value, Wire, encode};

const KEYS: usize = 40;
const WRITES: usize = 600;
const PATIENCE: Duration = Duration::from_secs(20);

fn key(at: usize) -> String {
    format!("key:{}", at % KEYS)
}

/// A client that caches what it reads.
struct Cache {
    wire: Wire,
    copies: HashMap<String, Value>,
    hits: usize,
    stale: usize,
}

impl Cache {
    fn new(server: &Server, mode: &str) -> Cache {
        let mut wire = server.wire();
        wire.run("HELLO 3");
        let tracking = format!("CLIENT TRACKING ON {mode}");
        assert_eq!(wire.run(&tracking).text(), "OK");
        Cache {
            wire,
            copies: HashMap::new(),
            hits: 0,
            stale: 0,
        }
    }

    /// The next reply; what comes before it is forgotten.
    fn reply(&mut self) -> Value {
        loop {
            match self.wire.reply() {
                Value::Push(parts) => match &parts[1] {
                    Value::Array(keys) => {
                        for key in keys {
                            self.stale += usize::from(self.copies.remove(&key.text()).is_some());
                        }
                    }
                    _ => self.copies.clear(),
                },
                reply => return reply,
            }
        }
    }

    /// Reads some keys in one pipeline: as GETs and as an MGET.
    fn read(&mut self, from: usize) {
        let wanted: Vec<String> = (from..from + 4).map(key).collect();
        let missing: Vec<String> = wanted
            .into_iter()
            .filter(|key| !self.copies.contains_key(key))
            .collect();
        self.hits += 4 - missing.len();
        if missing.is_empty() {
            // Something to hear of behind.
            self.wire.send(&encode(&["PING"]));
            self.reply();
            return;
        }
        let mut lines = Vec::new();
        for key in &missing {
            lines.extend(encode(&["GET", key]));
        }
        let mut mget = vec!["MGET".to_string()];
        mget.extend(missing.iter().cloned());
        lines.extend(encode(&mget));
        self.wire.send(&lines);
        for key in &missing {
            let value = self.reply();
            self.copies.insert(key.clone(), value);
        }
        let values = self.reply();
        for (key, value) in missing.into_iter().zip(values.elements()) {
            self.copies.insert(key, value.clone());
        }
    }
}

#[test]
fn no_cache_is_stale_in_the_end() {
    on_all_shards(&[], |server| {
        let writing = AtomicBool::new(true);
        let mut caches: Vec<Cache> = [
            "",
            "BCAST",
            "NOLOOP",
            "BCAST PREFIX key: PREFIX b",
            "OPTOUT",
            "",
        ]
        .iter()
        .map(|mode| Cache::new(server, mode))
        .collect();
        std::thread::scope(|scope| {
            for (at, cache) in caches.iter_mut().enumerate() {
                let writing = &writing;
                scope.spawn(move || {
                    let mut from = at * 7;
                    while writing.load(Ordering::Relaxed) {
                        cache.read(from);
                        from += 3;
                    }
                });
            }
            let mut writer = server.wire();
            for at in 0..WRITES {
                let value = at.to_string();
                let reply = match at % 50 {
                    0 => writer.call(&["RENAME", &key(at), &key(at + 1)]),
                    1 => writer.call(&["DEL", &key(at), &key(at + 9)]),
                    2..10 => writer.call(&["MSET", &key(at), &value, &key(at * 3), &value]),
                    _ if at % 200 == 199 => writer.run("FLUSHALL"),
                    _ => writer.call(&["SET", &key(at * 13), &value]),
                };
                assert!(
                    !reply.is_error() || reply.text() == "ERR no such key",
                    "{reply:?}"
                );
            }
            writing.store(false, Ordering::Relaxed);
        });
        let mut reader = server.wire();
        reader.run("HELLO 3");
        for cache in &mut caches {
            // What is under way between cores has arrived when a line for each of them is answered.
            for at in 0..KEYS {
                cache
                    .wire
                    .send(&encode(&["EXISTS", &format!("other:{at}")]));
                cache.reply();
            }
            assert!(cache.hits > 0 && cache.stale > 0);
            for (key, copy) in &cache.copies {
                assert_eq!(&reader.call(&["GET", key]), copy, "{key}");
            }
        }
    });
}

#[test]
fn one_connection_hears_for_many() {
    on_all_shards(&[], |server| {
        let mut ear = server.wire();
        let id = ear.run("CLIENT ID").int().to_string();
        ear.run("SUBSCRIBE __redis__:invalidate");
        let mut readers: Vec<Wire> = (0..6).map(|_| server.wire()).collect();
        for (at, reader) in readers.iter_mut().enumerate() {
            assert_eq!(
                reader
                    .call(&["CLIENT", "TRACKING", "ON", "REDIRECT", &id])
                    .text(),
                "OK"
            );
            reader.call(&["GET", &key(at)]);
        }
        let mut writer = server.wire();
        let mut told = Vec::new();
        for at in 0..6 {
            writer.call(&["SET", &key(at), "1"]);
            let message = ear.reply();
            assert_eq!(message.elements()[1].text(), "__redis__:invalidate");
            told.push(message.elements()[2].elements()[0].text());
        }
        assert_eq!(told, (0..6).map(key).collect::<Vec<_>>());
        // It goes, and those that it heard for learn of it.
        drop(ear);
        for reader in &mut readers {
            reader.run("HELLO 3");
        }
        wait_until("the connection is gone", PATIENCE, || {
            writer.run("CLIENT LIST TYPE pubsub").text().is_empty()
        });
        for (at, reader) in readers.iter_mut().enumerate() {
            reader.call(&["GET", &key(at)]);
            writer.call(&["SET", &key(at), "2"]);
            let broken = reader.reply();
            assert_eq!(broken.elements()[0].text(), "tracking-redir-broken");
            assert_eq!(broken.elements()[1].int().to_string(), id);
        }
    });
}

#[test]
fn nothing_stays_behind_clients_that_go() {
    on_all_shards(&[], |server| {
        let mut control = server.wire();
        for round in 0..3 {
            let mut caches: Vec<Cache> = ["", "BCAST PREFIX a PREFIX b", "OPTIN", "BCAST"]
                .iter()
                .map(|mode| Cache::new(server, mode))
                .collect();
            let info = control.run("INFO everything").text();
            assert!(info.contains("tracking_clients:4\r\n"), "{info}");
            assert!(info.contains("tracking_total_prefixes:3\r\n"), "{info}");
            caches[0].read(round);
            drop(caches);
            wait_until("all prefixes are gone", PATIENCE, || {
                let info = control.run("INFO everything").text();
                info.contains("tracking_clients:0\r\n")
                    && info.contains("tracking_total_prefixes:0\r\n")
            });
            for at in 0..KEYS {
                control.call(&["SET", &key(at), "x"]);
            }
            let info = control.run("INFO stats").text();
            assert!(info.contains("tracking_total_items:0\r\n"), "{info}");
        }
    });
}
