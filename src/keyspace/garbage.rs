//! What was detached and not freed yet: flushed tables and large values, freed a slice at a time.

use std::collections::VecDeque;

use crate::structures::entry::{BigString, Entry};
use crate::structures::table::Table;

use super::Keyspace;
use super::database::Database;

/// A value that takes more effort to free than this is freed in slices and not where it is deleted: that takes longer than
/// a command should.
const EFFORT_AT_ONCE_MAX: usize = 32;

/// Keys handed to [`Keyspace::free_slice`].
#[derive(Default)]
pub(super) struct Garbage {
    tables: VecDeque<Table>,
    entries: VecDeque<Entry>,
    entry_bytes: usize,
}

impl Garbage {
    pub(super) fn add(&mut self, database: Database) {
        self.entry_bytes += database.totals.entry_bytes;
        self.tables.push_back(database.table);
    }

    /// Drops an entry, later if it is large.
    #[inline]
    pub(super) fn drop_entry(&mut self, entry: Entry) {
        if entry.free_effort() > EFFORT_AT_ONCE_MAX {
            self.entry_bytes += entry.memory_bytes();
            self.entries.push_back(entry);
        }
    }

    /// Drops a large string that was replaced, later if it is very large.
    pub(super) fn drop_big(&mut self, string: BigString) {
        const LARGE_BYTES_MIN: usize = 256 * 1024;
        if string.allocated_bytes() > LARGE_BYTES_MIN {
            self.drop_entry(Entry::from_big(b"", string, None, 0));
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.entry_bytes + self.tables.iter().map(Table::memory_bytes).sum::<usize>()
    }

    fn keys(&self) -> usize {
        self.entries.len() + self.tables.iter().map(Table::len).sum::<usize>()
    }
}

impl Keyspace {
    /// Frees about `budget` detached entries; says whether some are left. A slice of 1,000 takes some 100 µs.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        let garbage = &mut self.garbage;
        let mut left = budget;
        while left > 0
            && let Some(entry) = garbage.entries.front_mut()
        {
            let bytes = entry.memory_bytes();
            let freed = entry.free_some(left);
            left = left.saturating_sub(freed.max(1));
            if freed > 0 {
                garbage.entry_bytes -= bytes - entry.memory_bytes();
                continue;
            }
            garbage.entry_bytes -= bytes;
            left = left.saturating_sub(entry.free_effort());
            garbage.entries.pop_front();
        }
        while left > 0
            && let Some(table) = garbage.tables.front_mut()
        {
            let (entries, entry_bytes) = (&mut garbage.entries, &mut garbage.entry_bytes);
            let freed = table.dismantle(left, |entry| {
                // A large value of a flushed database is freed in slices like one that was deleted.
                if entry.free_effort() > EFFORT_AT_ONCE_MAX {
                    entries.push_back(entry);
                } else {
                    *entry_bytes -= entry.memory_bytes();
                }
            });
            left = left.saturating_sub(freed);
            if table.is_empty() {
                garbage.tables.pop_front();
            }
        }
        self.has_garbage()
    }

    /// Something waits for [`Keyspace::free_slice`].
    #[inline]
    pub fn has_garbage(&self) -> bool {
        !self.garbage.entries.is_empty() || !self.garbage.tables.is_empty()
    }

    /// Entries that wait to be freed.
    pub fn garbage_keys(&self) -> usize {
        self.garbage.keys()
    }
}
