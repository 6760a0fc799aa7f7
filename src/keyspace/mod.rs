//! One shard's databases: keys, values, expiry, access clocks, memory, and what is left to free.
//!
//! Lives on a shard, which alone touches it. Pure: the shard tells it the time ([`Keyspace::set_now`]), runs its
//! slices ([`Keyspace::expire_slice`], [`Keyspace::free_slice`]), and drains what expired.
//!
//! Invariants:
//! - An expired key is never seen, whether or not it was deleted already, but for [`ExpiryPolicy::Ignore`]. A key is
//!   expired when the time is past its expiry; in that very millisecond it still lives.
//! - Only under [`ExpiryPolicy::Delete`] anything is deleted because of its expiry.
//! - A database's sums (keys, expiries, bytes) are exact after every call.
//! - A lookup allocates nothing.
//!
//! | file | what |
//! |---|---|
//! | `hasher` | hash of a key, its shard |
//! | `database` | a table and its sums |
//! | `strings` | string values: set, edit |
//! | `collections` | the other values: read, edit |
//! | `expiry` | expiry of one key, active expiry |
//! | `fields` | expiry of fields of hashes |
//! | `walk` | scan, random, all |
//! | `garbage` | what was detached and is freed in slices |
//! | `snapshot` | all entries as they are at one moment, read out in slices |
//! | `access` | LRU and LFU |

mod access;
mod collections;
mod database;
mod expiry;
mod fields;
mod garbage;
mod hasher;
mod snapshot;
mod strings;
mod walk;

pub use access::{AccessPolicy, Usage};
pub use expiry::{Expired, ExpiredPart, ExpiryPolicy, Progress};
pub use hasher::{Key, KeyHasher, shard_of, tag_of};
pub use snapshot::SnapshotEncoder;
pub use strings::{NewExpiry, NewString, StringBuf};

pub use crate::structures::entry::{Collection, Entry, StringView, Type, ValueView, WrongType};

use access::AccessClock;
use database::Database;
use expiry::Expiring;
use garbage::Garbage;
use snapshot::Snapshot;
use strings::Scratch;

use crate::structures::table::Place;

/// Bytes that a table takes for one key, on average: for estimates about a single key.
const TABLE_BYTES_PER_KEY: usize = 11;

/// An entry outside any table: it knows its key, value, expiry and access clock, and may move to another core.
pub type OwnedEntry = Entry;

/// Counts since the start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys deleted because they expired.
    pub expired: u64,
    /// Fields of hashes deleted because they expired.
    pub expired_fields: u64,
    /// Keys deleted to free memory.
    pub evicted: u64,
    /// Slices of active expiry that left some for the next.
    pub expired_time_cap_reached: u64,
    /// Share of expired keys among those with an expiry that active expiry looked at, in percent, a running average.
    pub expired_stale_percent: f64,
}

/// One shard's databases.
pub struct Keyspace {
    /// Created when first written to.
    databases: Vec<Option<Box<Database>>>,
    hasher: KeyHasher,
    now_ms: i64,
    touch: bool,
    access: AccessClock,
    expiring: Expiring,
    garbage: Garbage,
    scratch: Scratch,
    stats: Stats,
    snapshot: Snapshot,
}

impl Keyspace {
    /// Empty databases 0 to `count - 1`. `seed` starts the random numbers of the LFU counter.
    pub fn new(count: usize, hasher: KeyHasher, seed: u64) -> Keyspace {
        Keyspace {
            databases: (0..count).map(|_| None).collect(),
            hasher,
            now_ms: 0,
            touch: true,
            access: AccessClock::new(seed),
            expiring: Expiring::default(),
            garbage: Garbage::default(),
            scratch: Scratch::default(),
            stats: Stats::default(),
            snapshot: Snapshot::default(),
        }
    }

    /// The hasher of its keys.
    #[inline]
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// A key with its hash.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key {
            bytes,
            hash: self.hasher.hash(bytes),
        }
    }

    /// The number of databases.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// Sets the time: milliseconds since 1970.
    #[inline]
    pub fn set_now(&mut self, now_ms: i64) {
        if self.now_ms != now_ms {
            self.now_ms = now_ms;
            self.access.set_now(now_ms);
        }
    }

    /// The time that was set.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Whether reads and writes set the access clock (CLIENT NO-TOUCH switches it off).
    #[inline]
    pub fn set_touch(&mut self, touch: bool) {
        self.touch = touch;
    }

    /// What access clocks hold from now on. Clocks set before under another policy mean nothing until the next use.
    pub fn set_access_policy(&mut self, policy: AccessPolicy) {
        self.access.policy = policy;
    }

    /// What access clocks hold.
    pub fn access_policy(&self) -> AccessPolicy {
        self.access.policy
    }

    /// Seconds since the entry was used last; only under [`AccessPolicy::Lru`].
    pub fn idle_seconds(&self, entry: &Entry) -> u64 {
        self.access.idle_seconds(entry.access())
    }

    /// The entry's access counter; only under [`AccessPolicy::Lfu`].
    pub fn frequency(&self, entry: &Entry) -> u32 {
        self.access.frequency(entry.access())
    }

    /// The access clock of an entry that comes in from elsewhere and was used so.
    pub fn restored_access(&self, usage: Usage) -> u32 {
        self.access.restored(usage)
    }

    /// Reads a key: counts a hit or a miss and sets the access clock.
    #[inline]
    pub fn read(&mut self, db: usize, key: Key<'_>) -> Option<&Entry> {
        match self.find(db, key) {
            Some(place) => {
                self.stats.hits += 1;
                if self.touch {
                    self.use_entry(db, place);
                }
                self.entry_at(db, place)
            }
            None => {
                self.stats.misses += 1;
                None
            }
        }
    }

    /// Reads a key as [`Keyspace::read`] does, but leaves the access clock alone (EXISTS, TYPE, TTL).
    #[inline]
    pub fn read_untouched(&mut self, db: usize, key: Key<'_>) -> Option<&Entry> {
        match self.find(db, key) {
            Some(place) => {
                self.stats.hits += 1;
                self.entry_at(db, place)
            }
            None => {
                self.stats.misses += 1;
                None
            }
        }
    }

    /// Looks at a key as [`Keyspace::peek`] does, but only passes over an expired one: for questions about the entry that
    /// need the keyspace too.
    pub fn inspect(&self, db: usize, key: Key<'_>) -> Option<&Entry> {
        let database = self.get(db)?;
        let entry = database.table.entry(database.find(key)?);
        (!self.is_hidden(entry)).then_some(entry)
    }

    /// Looks at a key: counts nothing and leaves the access clock alone.
    #[inline]
    pub fn peek(&mut self, db: usize, key: Key<'_>) -> Option<&Entry> {
        let place = self.find(db, key)?;
        self.entry_at(db, place)
    }

    /// Looks at a key that will be modified: sets the access clock and counts neither hit nor miss.
    #[inline]
    pub fn write(&mut self, db: usize, key: Key<'_>) -> Option<&Entry> {
        let place = self.find(db, key)?;
        if self.touch {
            self.use_entry(db, place);
        }
        self.entry_at(db, place)
    }

    /// Sets the access clock whatever [`Keyspace::set_touch`] says (TOUCH), counts a hit or a miss; says whether the key is
    /// there.
    pub fn touch(&mut self, db: usize, key: Key<'_>) -> bool {
        let found = self.find(db, key);
        match found {
            Some(place) => {
                self.stats.hits += 1;
                self.use_entry(db, place);
            }
            None => self.stats.misses += 1,
        }
        found.is_some()
    }

    /// The key is there. Counts nothing and leaves the access clock alone.
    #[inline]
    pub fn contains(&mut self, db: usize, key: Key<'_>) -> bool {
        self.find(db, key).is_some()
    }

    /// Deletes a key; says whether it was there.
    #[inline]
    pub fn remove(&mut self, db: usize, key: Key<'_>) -> bool {
        match self.take(db, key) {
            Some(entry) => {
                self.garbage.drop_entry(entry);
                true
            }
            None => false,
        }
    }

    /// Takes a key out.
    pub fn take(&mut self, db: usize, key: Key<'_>) -> Option<OwnedEntry> {
        let place = self.find(db, key)?;
        Some(self.database(db)?.remove(place))
    }

    /// Puts an entry in under its key; says whether it replaced one.
    pub fn put(&mut self, db: usize, entry: OwnedEntry) -> bool {
        let hash = self.hasher.hash(entry.key());
        let key = Key {
            bytes: entry.key(),
            hash,
        };
        let replaced = self.remove(db, key);
        self.remove_hidden(db, key);
        let hasher = self.hasher;
        self.database_or_new(db).insert(&hasher, hash, entry);
        replaced
    }

    /// The number of keys, with those that expired and were not deleted yet.
    #[inline]
    pub fn len(&self, db: usize) -> usize {
        self.get(db).map_or(0, |database| database.table.len())
    }

    /// There is no key.
    pub fn is_empty(&self, db: usize) -> bool {
        self.len(db) == 0
    }

    /// The number of slots of the database's table.
    pub fn slots(&self, db: usize) -> usize {
        self.get(db).map_or(0, |database| database.table.slots())
    }

    /// The counts.
    #[inline]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&mut self) {
        self.stats = Stats::default();
    }

    /// Bytes of all tables and entries, with what waits to be freed.
    pub fn memory(&self) -> usize {
        let databases = self.databases.iter().flatten();
        databases
            .map(|database| database.memory_bytes())
            .sum::<usize>()
            + self.garbage.memory_bytes()
    }

    /// Bytes of one database's table, without its entries.
    pub fn table_memory(&self, db: usize) -> usize {
        self.get(db)
            .map_or(0, |database| database.table.memory_bytes())
    }

    /// Bytes that one key takes: its entry, its value, its share of the table.
    pub fn memory_usage(&self, entry: &Entry) -> usize {
        entry.memory_bytes() + TABLE_BYTES_PER_KEY
    }

    /// First stage of a batched lookup: asks for the memory where the key's slot is.
    #[inline]
    pub fn prefetch_group(&self, db: usize, hash: u64) {
        if let Some(database) = self.get(db) {
            database.table.prefetch_group(hash);
        }
    }

    /// Second stage, some lookups later: asks for the entry.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, hash: u64) {
        if let Some(database) = self.get(db) {
            database.table.prefetch_entry(hash);
        }
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.databases.swap(a, b);
    }

    /// Empties a database: O(1), the memory is freed by [`Keyspace::free_slice`]. Returns how many keys it had.
    pub fn flush(&mut self, db: usize) -> usize {
        let Some(database) = self.databases.get_mut(db).and_then(Option::take) else {
            return 0;
        };
        let len = database.table.len();
        self.detach(database);
        len
    }

    /// Empties all databases as [`Keyspace::flush`] does.
    pub fn flush_all(&mut self) -> usize {
        (0..self.databases.len()).map(|db| self.flush(db)).sum()
    }

    /// Empties a database and frees its memory before it returns.
    pub fn flush_now(&mut self, db: usize) -> usize {
        let Some(database) = self.databases.get_mut(db).and_then(Option::take) else {
            return 0;
        };
        let len = database.table.len();
        if database.unpassed.is_some() {
            self.detach(database);
        }
        len
    }

    /// Empties all databases as [`Keyspace::flush_now`] does.
    pub fn flush_all_now(&mut self) -> usize {
        (0..self.databases.len()).map(|db| self.flush_now(db)).sum()
    }

    /// The place of a key that is there and not expired.
    #[inline]
    fn find(&mut self, db: usize, key: Key<'_>) -> Option<Place> {
        let database = self.get(db)?;
        let place = database.find(key)?;
        match database.table.entry(place).deadline() {
            Some(at) if self.is_past(at) => self.meet_expired(db, place),
            _ => Some(place),
        }
    }

    #[inline]
    fn use_entry(&mut self, db: usize, place: Place) {
        if let Some(database) = self.databases[db].as_deref_mut() {
            let entry = database.table.entry_mut(place);
            entry.set_access(self.access.used(entry.access()));
        }
    }

    #[inline]
    fn entry_at(&self, db: usize, place: Place) -> Option<&Entry> {
        self.get(db).map(|database| database.table.entry(place))
    }

    #[inline]
    fn get(&self, db: usize) -> Option<&Database> {
        self.databases.get(db)?.as_deref()
    }

    #[inline]
    fn database(&mut self, db: usize) -> Option<&mut Database> {
        self.databases.get_mut(db)?.as_deref_mut()
    }

    #[inline]
    fn database_or_new(&mut self, db: usize) -> &mut Database {
        let version = self.snapshot.version;
        self.databases[db].get_or_insert_with(|| {
            Box::new(Database {
                version,
                ..Database::default()
            })
        })
    }
}
