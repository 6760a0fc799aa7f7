//! One numbered database of a shard: a table, and sums over its entries that are always right.

use crate::structures::entry::Entry;
use crate::structures::table::{Place, Table};

use super::hasher::{Key, KeyHasher};
use super::snapshot::Unpassed;

/// A database. Every way an entry comes, goes or changes its size or expiry passes here, so that the sums hold.
#[derive(Default)]
pub(super) struct Database {
    pub(super) table: Table,
    pub(super) totals: Totals,
    /// Some hash has, or had, fields that expire.
    pub(super) timed_fields: bool,
    /// The version of what is written now.
    pub(super) version: bool,
    /// The snapshot that has not passed all entries.
    pub(super) unpassed: Option<Box<Unpassed>>,
}

/// Sums over the entries of a database.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// Keys that have an expiry.
    pub(super) expires: usize,
    /// Sum of all expiries, milliseconds since 1970; wide enough for any number of them.
    pub(super) expiry_sum_ms: i128,
    /// Bytes of all entries.
    pub(super) entry_bytes: usize,
}

impl Totals {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.entry_bytes += entry.memory_bytes();
        self.add_expiry(entry.expiry());
    }

    pub(super) fn subtract(&mut self, entry: &Entry) {
        self.entry_bytes -= entry.memory_bytes();
        self.subtract_expiry(entry.expiry());
    }

    fn add_expiry(&mut self, expiry: Option<i64>) {
        if let Some(at) = expiry {
            self.expires += 1;
            self.expiry_sum_ms += i128::from(at);
        }
    }

    fn subtract_expiry(&mut self, expiry: Option<i64>) {
        if let Some(at) = expiry {
            self.expires -= 1;
            self.expiry_sum_ms -= i128::from(at);
        }
    }
}

impl Database {
    #[inline]
    pub(super) fn find(&self, key: Key<'_>) -> Option<Place> {
        self.table.find(key.hash, key.bytes)
    }

    /// Inserts an entry whose key is not there.
    pub(super) fn insert(&mut self, hasher: &KeyHasher, hash: u64, mut entry: Entry) -> Place {
        entry.set_version(self.version);
        self.totals.add(&entry);
        self.timed_fields |= entry.has_timed_fields();
        self.table.insert(hash, entry, |key| hasher.hash(key))
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, place: Place) -> Entry {
        self.keep_old(place);
        let entry = self.table.remove(place);
        self.totals.subtract(&entry);
        entry
    }

    /// Changes an entry in any way but its key.
    #[inline]
    pub(super) fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.keep_old(place);
        let entry = self.table.entry_mut(place);
        self.totals.subtract(entry);
        let result = change(entry);
        self.totals.add(entry);
        let deadline = entry.deadline();
        if let Some(at) = deadline {
            self.timed_fields |= entry.has_timed_fields();
            self.table.note_expiry(place, at);
        }
        result
    }

    /// Changes what the entry holds outside its block, and nothing else of it.
    #[inline]
    pub(super) fn edit<R>(&mut self, place: Place, edit: impl FnOnce(&mut Entry) -> R) -> R {
        self.keep_old(place);
        let entry = self.table.entry_mut(place);
        let before = entry.outside_bytes();
        let result = edit(entry);
        self.totals.entry_bytes = self.totals.entry_bytes - before + entry.outside_bytes();
        let deadline = entry.deadline();
        if let Some(at) = deadline {
            self.timed_fields |= entry.has_timed_fields();
            self.table.note_expiry(place, at);
        }
        result
    }

    /// The entry is about to change or go: the snapshot gets it as it is, if it has not passed it.
    #[inline]
    fn keep_old(&mut self, place: Place) {
        if let Some(unpassed) = &mut self.unpassed {
            unpassed.pass(self.version, self.table.entry_mut(place));
        }
    }

    /// Bytes of the table and its entries.
    pub(super) fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.totals.entry_bytes
    }
}
