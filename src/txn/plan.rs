//! Which shards a line needs. Scratch space lives here, so that planning a line allocates nothing.

use crate::command::{KeyRef, Registered, Run, Spread};
use crate::keyspace::{KeyHasher, shard_of};
use crate::resp::Line;

/// A key of a line and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// The argument.
    pub arg: usize,
    /// Its place among the line's keys.
    pub order: usize,
    /// The database.
    pub db: usize,
    /// The key's hash.
    pub hash: u64,
    /// The owner.
    pub shard: u16,
}

/// Where a line runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On any shard: it has no keys, or is malformed and the handler says how.
    Anywhere,
    /// On one shard. `hash` is the hash of argument 1 when that is a key, else 0.
    One {
        /// The owner.
        shard: usize,
        /// Travels with the line.
        hash: u64,
    },
    /// On several: [`Planner::keys`] has the keys.
    Several,
    /// On all, as a whole. Where such a line has keys, [`Planner::keys`] has them.
    All,
}

/// Finds owners; one per core.
pub struct Planner {
    hasher: KeyHasher,
    shards: usize,
    found: Vec<KeyRef>,
    keys: Vec<KeyPlace>,
}

impl Planner {
    /// A planner for a node of `shards` shards.
    pub fn new(hasher: KeyHasher, shards: usize) -> Planner {
        Planner {
            hasher,
            shards,
            found: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// The keys of the line planned last.
    pub fn keys(&self) -> &[KeyPlace] {
        &self.keys
    }

    /// A key that a line's own keys have led to.
    pub fn place(&self, key: &[u8]) -> (u64, usize) {
        let hash = self.hasher.hash(key);
        (hash, shard_of(&self.hasher, key, hash, self.shards))
    }

    /// Plans a line. A command with one key costs one hash and nothing else.
    #[inline]
    pub fn route(&mut self, registered: &Registered, db: usize, line: &Line<'_>) -> Route {
        if let Some(arg) = registered.only_key
            && arg < line.len()
        {
            let key = line.arg(arg);
            let hash = self.hasher.hash(key);
            return Route::One {
                shard: shard_of(&self.hasher, key, hash, self.shards),
                hash: if arg == 1 { hash } else { 0 },
            };
        }
        self.route_in_full(registered, db, line)
    }

    /// As [`Planner::route`], and [`Planner::keys`] has the keys whatever the route is.
    pub fn route_in_full(&mut self, registered: &Registered, db: usize, line: &Line<'_>) -> Route {
        self.keys.clear();
        match registered.command.run {
            Run::Keys(_, Spread::All(_)) if self.shards > 1 => return Route::All,
            Run::Keys(_, Spread::All(_)) => return Route::One { shard: 0, hash: 0 },
            Run::Keys(_, Spread::Route(route)) => {
                return Route::One {
                    shard: route(line, self.shards),
                    hash: 0,
                };
            }
            _ => {}
        }
        self.found.clear();
        if !registered.command.find_keys(line, &mut self.found) || self.found.is_empty() {
            return Route::Anywhere;
        }
        for (order, key) in self.found.iter().enumerate() {
            let bytes = line.arg(key.arg);
            let hash = self.hasher.hash(bytes);
            self.keys.push(KeyPlace {
                arg: key.arg,
                order,
                db: key.db.unwrap_or(db),
                hash,
                shard: shard_of(&self.hasher, bytes, hash, self.shards) as u16,
            });
        }
        if let Run::Keys(_, spread @ Spread::Follow(_)) = registered.command.run
            && self.shards > 1
            && spread.leaves_its_keys(line)
        {
            return Route::All;
        }
        let first = self.keys[0];
        if self.keys.iter().all(|key| key.shard == first.shard) {
            Route::One {
                shard: first.shard as usize,
                hash: if first.arg == 1 { first.hash } else { 0 },
            }
        } else {
            Route::Several
        }
    }
}
