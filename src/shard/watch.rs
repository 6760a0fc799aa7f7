//! Watched keys of one shard: whose EXEC fails when which key changes.
//!
//! Lives on a shard, which tells it every change of its keys; whoever watches is known by the client's id. A client whose
//! watch is broken is forgotten but for that fact, so that a key that changes often costs its watchers once.
//!
//! Invariants:
//! - A watch that is not broken watches a key that has not changed since: whether the key was there at WATCH is whether it
//!   is there now, unless it expired unnoticed.
//! - Without watches there is nothing here, and the shard does not listen.

use std::collections::HashMap;

use crate::command::{Write, class};

/// One client's watch of one key.
#[derive(Clone, Copy)]
struct Watcher {
    client: u64,
    /// The key was there at WATCH; `None`: a transaction held it, nobody knows.
    existed: Option<bool>,
}

/// What one client watches on this shard.
#[derive(Default)]
struct Watching {
    keys: Vec<(usize, Box<[u8]>)>,
    broken: bool,
}

/// All watches of one shard.
#[derive(Default)]
pub struct Watches {
    /// Per database and key.
    keys: HashMap<usize, HashMap<Box<[u8]>, Vec<Watcher>>>,
    clients: HashMap<u64, Watching>,
}

impl Watches {
    /// Nobody watches anything, and no client has a broken watch to be told of.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// The client watches a key that it does not watch yet.
    pub fn watch(&mut self, client: u64, db: usize, key: &[u8], existed: Option<bool>) {
        let watching = self.clients.entry(client).or_default();
        if watching.broken {
            return;
        }
        watching.keys.push((db, key.into()));
        self.keys
            .entry(db)
            .or_default()
            .entry(key.into())
            .or_default()
            .push(Watcher { client, existed });
    }

    /// The keys that the client watches here, with their databases.
    pub fn keys_of(&self, client: u64) -> &[(usize, Box<[u8]>)] {
        self.clients
            .get(&client)
            .map_or(&[], |watching| &watching.keys)
    }

    /// The client's watch of the key is of a key that was there.
    pub fn existed(&self, client: u64, db: usize, key: &[u8]) -> bool {
        self.watchers(db, key)
            .iter()
            .any(|watcher| watcher.client == client && watcher.existed == Some(true))
    }

    /// The client watches nothing any more. True: a key of its changed meanwhile.
    pub fn forget(&mut self, client: u64) -> bool {
        let Some(watching) = self.clients.remove(&client) else {
            return false;
        };
        self.leave(client, &watching.keys);
        watching.broken
    }

    /// Breaks the watches of what a line changed. `exists` says whether a key is there now.
    pub fn changed(&mut self, write: &Write, mut exists: impl FnMut(usize, &[u8]) -> bool) {
        if write.class & class::KEY_MISS != 0 {
            return;
        }
        if write.key.is_empty() && write.class == 0 {
            self.database_changed(write.db, &mut exists);
            return;
        }
        // A key that had expired before it was watched is gone now: nothing changed.
        let logical =
            |watcher: &Watcher| write.class & class::EXPIRED == 0 || watcher.existed != Some(false);
        let broken: Vec<u64> = self
            .watchers(write.db, &write.key)
            .iter()
            .filter(|watcher| logical(watcher))
            .map(|watcher| watcher.client)
            .collect();
        for client in broken {
            self.break_client(client);
        }
    }

    /// A database was emptied or exchanged: a watch breaks when its key was there before or is there now.
    fn database_changed(&mut self, db: usize, exists: &mut impl FnMut(usize, &[u8]) -> bool) {
        let mut broken = Vec::new();
        for (key, watchers) in self.keys.get(&db).into_iter().flatten() {
            let exists = exists(db, key);
            broken.extend(
                watchers
                    .iter()
                    .filter(|watcher| exists || watcher.existed != Some(false))
                    .map(|watcher| watcher.client),
            );
        }
        for client in broken {
            self.break_client(client);
        }
    }

    /// The client's EXEC will fail, whatever else it watches.
    pub fn break_client(&mut self, client: u64) {
        if let Some(watching) = self.clients.get_mut(&client) {
            watching.broken = true;
            let keys = std::mem::take(&mut watching.keys);
            self.leave(client, &keys);
        }
    }

    fn watchers(&self, db: usize, key: &[u8]) -> &[Watcher] {
        self.keys
            .get(&db)
            .and_then(|keys| keys.get(key))
            .map_or(&[], Vec::as_slice)
    }

    fn leave(&mut self, client: u64, keys: &[(usize, Box<[u8]>)]) {
        for (db, key) in keys {
            let Some(of_db) = self.keys.get_mut(db) else {
                continue;
            };
            if let Some(watchers) = of_db.get_mut(key) {
                watchers.retain(|watcher| watcher.client != client);
                if watchers.is_empty() {
                    of_db.remove(key);
                }
            }
            if of_db.is_empty() {
                self.keys.remove(db);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(db: usize, key: &[u8], class: u32) -> Write {
        Write {
            db,
            key: key.into(),
            event: "",
            class,
        }
    }

    #[test]
    fn a_change_breaks_its_watchers_once_and_for_all_their_keys() {
        let mut watches = Watches::default();
        watches.watch(1, 0, b"a", Some(true));
        watches.watch(1, 3, b"b", Some(false));
        watches.watch(2, 3, b"a", Some(true));
        watches.changed(&write(0, b"a", class::KEY_MISS), |_, _| true);
        watches.changed(&write(1, b"a", class::STRING), |_, _| true);
        assert_eq!(watches.keys_of(1).len(), 2);
        watches.changed(&write(0, b"a", class::STRING), |_, _| true);
        assert!(watches.keys_of(1).is_empty());
        watches.watch(1, 0, b"c", Some(true));
        assert!(watches.forget(1));
        assert!(!watches.forget(1));
        assert!(!watches.forget(2));
        assert!(watches.is_empty() && watches.keys.is_empty());
    }

    #[test]
    fn what_had_expired_before_the_watch_may_go() {
        let mut watches = Watches::default();
        watches.watch(1, 0, b"gone", Some(false));
        watches.watch(2, 0, b"there", Some(true));
        watches.watch(3, 0, b"lent", None);
        for key in [&b"gone"[..], b"there", b"lent"] {
            watches.changed(&write(0, key, class::EXPIRED), |_, _| false);
        }
        assert!(!watches.forget(1));
        assert!(watches.forget(2));
        assert!(watches.forget(3));
    }

    #[test]
    fn whole_databases_break_only_keys_that_are_or_were_there() {
        let mut watches = Watches::default();
        for (client, key, existed) in [(1, "was", true), (2, "is", false), (3, "never", false)] {
            watches.watch(client, 0, key.as_bytes(), Some(existed));
            watches.watch(client + 10, 1, key.as_bytes(), Some(existed));
        }
        watches.changed(&write(0, b"", 0), |db, key| db == 0 && key == b"is");
        let broken: Vec<bool> = [1, 2, 3, 11, 12, 13].map(|id| watches.forget(id)).into();
        assert_eq!(broken, [true, true, false, false, false, false]);
    }
}
