//! Walks over a database: in hash order, at random, all of it. Expired keys are passed over.

use super::{Entry, Keyspace};

impl Keyspace {
    /// Emits about `count` keys in hash order from `cursor` (below 2^48, 0 at first) on; returns the cursor to go on from, 0 at
    /// the end. What is there during the whole of a walk is emitted, whatever else comes and goes.
    pub fn scan(&self, db: usize, cursor: u64, count: usize, emit: &mut dyn FnMut(&Entry)) -> u64 {
        let Some(database) = self.get(db) else {
            return 0;
        };
        let hasher = self.hasher;
        let mut emit = |entry: &Entry| {
            if !self.is_hidden(entry) {
                emit(entry);
            }
        };
        database
            .table
            .scan(cursor, count, |key| hasher.hash(key), &mut emit)
    }

    /// A random key, each as likely as any other; `None` when there is none, or hardly one that did not expire.
    pub fn random(&self, db: usize, mut random: impl FnMut() -> u64) -> Option<&Entry> {
        const EXPIRED_TRIES_MAX: usize = 100;
        let table = &self.get(db)?.table;
        for _ in 0..EXPIRED_TRIES_MAX {
            let entry = table.random(&mut random)?;
            if !self.is_hidden(entry) {
                return Some(entry);
            }
        }
        table.iter().find(|entry| !self.is_hidden(entry))
    }

    /// Calls `each` for every key, in no order.
    pub fn for_each(&self, db: usize, mut each: impl FnMut(&Entry)) {
        if let Some(database) = self.get(db) {
            for entry in database.table.iter() {
                if !self.is_hidden(entry) {
                    each(entry);
                }
            }
        }
    }
}
