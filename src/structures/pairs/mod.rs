//! Keys with a value each, many of them: what a large hash and a large set are made of. A set has empty values.
//!
//! A table as that of the keyspace ([`crate::structures::table`]), whose elements are [`Pair`]s: it grows one small
//! segment at a time, a scan cursor is a place in hash order that survives growth, and segments know their earliest
//! deadline, so that fields with an expiry need no index. Beside a pair's own block an element takes some 11 bytes.
//!
//! Lives on a shard, inside a collection. The hash is keyed once per process ([`set_hash_seeds`]), so that nobody can
//! make up keys that collide.

mod pair;

pub use pair::Pair;

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use ahash::RandomState;

use super::table::{Place, TableOf};
use crate::base::random::Random;

static HASH_SEEDS: OnceLock<[u64; 4]> = OnceLock::new();

/// Keys the hash of all [`Pairs`] of the process; for its start, before any are made. Later calls do nothing. Without it
/// the keys are fixed, which tests that replay a run need.
pub fn set_hash_seeds(seeds: [u64; 4]) {
    // A second node in one process shares the keys of the first: changing them would lose every pair.
    let _ = HASH_SEEDS.set(seeds);
}

/// What hashes the keys, for tables of elements that do not outlive a command.
#[inline]
pub fn hash_state() -> RandomState {
    let [a, b, c, d] = *HASH_SEEDS.get_or_init(|| [11, 22, 33, 44]);
    RandomState::with_seeds(a, b, c, d)
}

#[inline]
fn hash(key: &[u8]) -> u64 {
    let mut hasher = hash_state().build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// Keys with a value each.
#[derive(Clone, Default)]
pub struct Pairs {
    table: TableOf<Pair>,
    pair_bytes: usize,
    expiring: usize,
}

impl Pairs {
    /// No pairs.
    pub fn new() -> Pairs {
        Pairs::default()
    }

    /// The number of pairs.
    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// There is no pair.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Memory of the table and its pairs, without this struct itself. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.pair_bytes
    }

    /// The pair with this key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&Pair> {
        let place = self.find(key)?;
        Some(self.table.entry(place))
    }

    /// There is a pair with this key.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// Sets a key's value; says whether the key is new. An expiry of the key stays.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> bool {
        let hashed = hash(key);
        match self.table.find(hashed, key) {
            Some(place) => {
                self.change(place, |pair| pair.set_value(value));
                false
            }
            None => {
                self.insert_new(hashed, Pair::new(key, value, None));
                true
            }
        }
    }

    /// Adds a pair unless its key is there; says whether it was added.
    pub fn insert_pair(&mut self, pair: Pair) -> bool {
        let hashed = hash(pair.key());
        if self.table.find(hashed, pair.key()).is_some() {
            return false;
        }
        self.insert_new(hashed, pair);
        true
    }

    /// Takes a pair out.
    pub fn take(&mut self, key: &[u8]) -> Option<Pair> {
        let place = self.find(key)?;
        let pair = self.table.remove(place);
        self.pair_bytes -= pair.memory_bytes();
        self.expiring -= usize::from(pair.expiry().is_some());
        Some(pair)
    }

    /// Removes a pair; says whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.take(key).is_some()
    }

    /// Sets or removes the expiry of a key; says whether the key is there.
    pub fn set_expiry(&mut self, key: &[u8], expiry: Option<i64>) -> bool {
        let Some(place) = self.find(key) else {
            return false;
        };
        let had = self.table.entry(place).expiry().is_some();
        self.expiring -= usize::from(had);
        self.expiring += usize::from(expiry.is_some());
        self.change(place, |pair| pair.set_expiry(expiry));
        if let Some(at) = expiry {
            self.table.note_expiry(place, at);
        }
        true
    }

    /// All pairs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.table.iter()
    }

    /// A random pair, each as likely as any other; `None` when there is none.
    pub fn random(&self, random: &mut Random) -> Option<&Pair> {
        self.table.random(|| random.next_u64())
    }

    /// Emits about `count` pairs from `cursor` (below 2^48, 0 at first) on; returns the cursor to go on from, 0 at the end. What
    /// is there during the whole of a walk is emitted, whatever else comes and goes.
    pub fn scan(&self, cursor: u64, count: usize, emit: &mut dyn FnMut(&Pair)) -> u64 {
        self.table.scan(cursor, count, hash, emit)
    }

    /// The number of pairs that expire.
    #[inline]
    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// The moment before which nothing expires; `None` when nothing does. May be too early, never too late.
    #[inline]
    pub fn deadline(&self) -> Option<i64> {
        // After the last one that expires went, the table only finds out at its next round.
        self.table.deadline().filter(|_| self.expiring > 0)
    }

    /// The number of pairs whose expiry is before `now`. Costs what is due, and one comparison for each few hundred
    /// others.
    pub fn due(&self, now: i64) -> usize {
        if self.deadline().is_none_or(|at| at >= now) {
            return 0;
        }
        self.table.due(now)
    }

    /// No pair is left at `now`: all have an expiry, and it is before that.
    pub fn is_spent(&self, now: i64) -> bool {
        self.expiring == self.len()
            && self.deadline().is_none_or(|at| at < now)
            && self.table.is_spent(now)
    }

    /// Removes pairs whose expiry is before `now`, hands each to `expired`, and takes what it cost off `budget` (about one per
    /// pair). Ends with the budget, or when nothing is due any more.
    pub fn expire(&mut self, now: i64, budget: &mut usize, mut expired: impl FnMut(Pair)) {
        let (bytes, expiring) = (&mut self.pair_bytes, &mut self.expiring);
        self.table.expire(now, budget, |pair| {
            *bytes -= pair.memory_bytes();
            *expiring -= 1;
            expired(pair);
        });
    }

    /// Frees about `budget` pairs, whichever; the rest is no table any more, but for another call of this. Returns how many, 0
    /// when none is left.
    pub fn free_some(&mut self, budget: usize) -> usize {
        if self.table.is_empty() {
            return 0;
        }
        let bytes = &mut self.pair_bytes;
        self.table
            .dismantle(budget, |pair| *bytes -= pair.memory_bytes())
    }

    /// Asserts every invariant, for model tests: reads all pairs.
    pub fn check(&self) {
        self.table.check(hash);
        let bytes: usize = self.iter().map(Pair::memory_bytes).sum();
        assert_eq!(bytes, self.pair_bytes);
        let expiring = self.iter().filter(|pair| pair.expiry().is_some());
        assert_eq!(expiring.count(), self.expiring);
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<Place> {
        self.table.find(hash(key), key)
    }

    fn insert_new(&mut self, hashed: u64, pair: Pair) {
        self.pair_bytes += pair.memory_bytes();
        self.expiring += usize::from(pair.expiry().is_some());
        self.table.insert(hashed, pair, hash);
    }

    fn change(&mut self, place: Place, change: impl FnOnce(&mut Pair)) {
        let pair = self.table.entry_mut(place);
        self.pair_bytes -= pair.memory_bytes();
        change(pair);
        self.pair_bytes += pair.memory_bytes();
    }
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|pair| (pair.key(), pair.value())))
            .finish()
    }
}
