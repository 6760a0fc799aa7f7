//! Expiry: of one key, on access, and in slices over all databases.

use super::fields::{Sweeper, is_spent};
use super::{Entry, Key, Keyspace};
use crate::structures::table::Place;

/// What happens to an expired key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ExpiryPolicy {
    /// It is deleted.
    #[default]
    Delete,
    /// A follower's clients: it is hidden and stays until the leader deletes it.
    Hide,
    /// The leader's lines on a follower: it is a key like any other, since the leader alone decides what expires.
    Ignore,
}

/// What one slice of active expiry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Keys deleted.
    pub expired: usize,
    /// The slice ended with its budget: another one should follow soon.
    pub more_due: bool,
    /// The moment before which no further slice finds anything; `None` when no key and no field has an expiry.
    pub next_due_ms: Option<i64>,
}

/// A key that expired, or lost fields that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// What of it.
    pub part: ExpiredPart,
}

/// What of a key expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpiredPart {
    /// The key itself.
    Key,
    /// Fields of its hash.
    Fields {
        /// These; some may be missing when they were the last.
        names: Vec<Box<[u8]>>,
        /// They were the last: the key went with them.
        last: bool,
    },
}

/// State of expiry.
#[derive(Default)]
pub(super) struct Expiring {
    pub(super) policy: ExpiryPolicy,
    pub(super) record: bool,
    /// What expired, for who logs and notifies.
    pub(super) expired: Vec<Expired>,
    /// The database where the next slice begins.
    next_db: usize,
}

impl Expiring {
    /// A key expired.
    pub(super) fn note_key(&mut self, db: usize, entry: &Entry) {
        if self.record {
            self.expired.push(Expired {
                db,
                key: entry.key().into(),
                part: ExpiredPart::Key,
            });
        }
    }
}

impl Keyspace {
    /// What happens to expired keys from now on.
    pub fn set_expiry_policy(&mut self, policy: ExpiryPolicy) {
        self.expiring.policy = policy;
    }

    /// What happens to expired keys.
    pub fn expiry_policy(&self) -> ExpiryPolicy {
        self.expiring.policy
    }

    /// Whether keys that expire are kept for [`Keyspace::take_expired`].
    pub fn record_expired(&mut self, record: bool) {
        self.expiring.record = record;
        if !record {
            self.expiring.expired = Vec::new();
        }
    }

    /// Some key expired since the last [`Keyspace::take_expired`].
    #[inline]
    pub fn has_expired(&self) -> bool {
        !self.expiring.expired.is_empty()
    }

    /// What expired since the last call, in order. Empty unless it is recorded.
    pub fn take_expired(&mut self) -> Vec<Expired> {
        std::mem::take(&mut self.expiring.expired)
    }

    /// A key's expiry: `None` without the key, `Some(None)` when it never expires.
    pub fn expiry(&mut self, db: usize, key: Key<'_>) -> Option<Option<i64>> {
        let place = self.find(db, key)?;
        self.entry_at(db, place).map(|entry| entry.expiry())
    }

    /// Sets or removes a key's expiry; says whether the key is there. A moment in the past is set like any other.
    pub fn set_expiry(&mut self, db: usize, key: Key<'_>, expiry: Option<i64>) -> bool {
        let Some(place) = self.find(db, key) else {
            return false;
        };
        if let Some(database) = self.database(db) {
            database.change(place, |entry| entry.set_expiry(expiry));
        }
        true
    }

    /// The number of keys that have an expiry.
    pub fn expires(&self, db: usize) -> usize {
        self.get(db).map_or(0, |database| database.totals.expires)
    }

    /// Mean time to live of those, milliseconds; 0 when there are none.
    pub fn avg_ttl(&self, db: usize) -> i64 {
        let Some(database) = self.get(db) else {
            return 0;
        };
        let totals = database.totals;
        if totals.expires == 0 {
            return 0;
        }
        let mean = totals.expiry_sum_ms / totals.expires as i128;
        (mean - i128::from(self.now_ms)).clamp(0, i128::from(i64::MAX)) as i64
    }

    /// Deletes keys and fields of hashes that expired, about `budget` of them. Costs one comparison per database when nothing is due; a
    /// slice of 1,000 takes some 100 µs. Deletes only under [`ExpiryPolicy::Delete`].
    pub fn expire_slice(&mut self, budget: usize) -> Progress {
        let mut progress = Progress::default();
        if self.expiring.policy != ExpiryPolicy::Delete {
            return progress;
        }
        let (now, count) = (self.now_ms, self.databases.len());
        let (mut left, mut kept) = (budget.max(1), 0);
        for _ in 0..count {
            let db = self.expiring.next_db % count;
            if let Some(database) = self.databases[db].as_deref_mut() {
                let mut sweeper = Sweeper {
                    db,
                    now,
                    expiring: &mut self.expiring,
                    garbage: &mut self.garbage,
                    totals: &mut database.totals,
                    version: database.version,
                    unpassed: database.unpassed.as_deref_mut(),
                    keys: 0,
                    fields: 0,
                };
                let table = &mut database.table;
                let swept = table.expire_parts(now, &mut left, &mut sweeper);
                progress.expired += sweeper.keys;
                self.stats.expired_fields += sweeper.fields;
                kept += swept.kept;
                if swept.more {
                    progress.more_due = true;
                    break;
                }
            }
            self.expiring.next_db = db + 1;
        }
        self.stats.expired += progress.expired as u64;
        if progress.more_due {
            self.stats.expired_time_cap_reached += 1;
        }
        if progress.expired + kept > 0 {
            let stale = progress.expired as f64 * 100.0 / (progress.expired + kept) as f64;
            let average = &mut self.stats.expired_stale_percent;
            *average = *average * 0.95 + stale * 0.05;
        }
        progress.next_due_ms = self.next_due_ms();
        progress
    }

    /// The moment before which no key and no field of a hash expires; `None` when none does or expired keys are left alone.
    pub fn next_due_ms(&self) -> Option<i64> {
        if self.expiring.policy != ExpiryPolicy::Delete {
            return None;
        }
        let databases = self.databases.iter().flatten();
        let first = databases
            .filter_map(|database| database.table.deadline())
            .min()?;
        Some(first.saturating_add(1))
    }

    /// The expiry `at` is past.
    #[inline]
    pub(super) fn is_past(&self, at: i64) -> bool {
        at < self.now_ms
    }

    /// A lookup met an entry whose deadline is past: what the policy makes of it.
    #[cold]
    pub(super) fn meet_expired(&mut self, db: usize, place: Place) -> Option<Place> {
        let expiry = self.entry_at(db, place)?.expiry();
        if !expiry.is_some_and(|at| self.is_past(at)) {
            return self.meet_expired_fields(db, place);
        }
        match self.expiring.policy {
            ExpiryPolicy::Ignore => return Some(place),
            ExpiryPolicy::Hide => return None,
            ExpiryPolicy::Delete => {}
        }
        let entry = self.database(db)?.remove(place);
        self.stats.expired += 1;
        self.expiring.note_key(db, &entry);
        self.garbage.drop_entry(entry);
        None
    }

    /// Removes the expired entry that may stand hidden under a key that is about to be created.
    #[inline]
    pub(super) fn remove_hidden(&mut self, db: usize, key: Key<'_>) {
        if self.expiring.policy == ExpiryPolicy::Hide
            && let Some(database) = self.database(db)
            && let Some(place) = database.find(key)
        {
            database.remove(place);
        }
    }

    /// Walks pass over this entry.
    #[inline]
    pub(super) fn is_hidden(&self, entry: &Entry) -> bool {
        self.expiring.policy != ExpiryPolicy::Ignore
            && entry.deadline().is_some_and(|at| self.is_past(at))
            && (entry.expiry().is_some_and(|at| self.is_past(at)) || is_spent(entry, self.now_ms))
    }
}
