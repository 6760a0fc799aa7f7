//! Fields of hashes that expire: on access, and as part of active expiry.
//!
//! A hash is due when its earliest field is, and stands with that moment in the table's deadlines as a key with an
//! expiry does. An access to a hash that is due removes what expired, a slice of it when that is much; readers pass
//! over the rest. A hash whose last field expired goes with its key, and is gone from the moment when that field expires.

use super::database::Totals;
use super::expiry::{Expired, ExpiredPart, Expiring};
use super::garbage::Garbage;
use super::snapshot::Unpassed;
use super::{Collection, Entry, ExpiryPolicy, Keyspace};
use crate::structures::hash::{Hash, SEE_ALL};
use crate::structures::table::{Place, Reaper};

/// An access removes at most about this many fields that expired: some 100 µs.
const FIELDS_AT_ACCESS_MAX: usize = 1_000;

impl Keyspace {
    /// Fields whose expiry is before this moment are not there: the time, or [`SEE_ALL`] under [`ExpiryPolicy::Ignore`].
    #[inline]
    pub fn fields_now(&self) -> i64 {
        match self.expiring.policy {
            ExpiryPolicy::Ignore => SEE_ALL,
            ExpiryPolicy::Delete | ExpiryPolicy::Hide => self.now_ms,
        }
    }

    /// A lookup met a hash that may have fields that expired: what the policy makes of it.
    pub(super) fn meet_expired_fields(&mut self, db: usize, place: Place) -> Option<Place> {
        let now = self.now_ms;
        match self.expiring.policy {
            ExpiryPolicy::Ignore => return Some(place),
            ExpiryPolicy::Hide => {
                let entry = self.entry_at(db, place)?;
                return (!is_spent(entry, now)).then_some(place);
            }
            ExpiryPolicy::Delete => {}
        }
        let (expiring, stats) = (&mut self.expiring, &mut self.stats);
        let database = self.databases[db].as_deref_mut()?;
        let gone = database.edit(place, |entry| {
            let mut budget = FIELDS_AT_ACCESS_MAX;
            stats.expired_fields += expire_fields(db, entry, now, &mut budget, expiring);
            is_spent(entry, now)
        });
        if !gone {
            return Some(place);
        }
        let entry = database.remove(place);
        expiring.note_last(db, &entry);
        self.garbage.drop_entry(entry);
        None
    }
}

/// The entry is a hash without a field that outlasts `now`.
pub(super) fn is_spent(entry: &Entry, now: i64) -> bool {
    entry
        .collection()
        .is_ok_and(|hash: &Hash| hash.is_spent(now))
}

/// Removes fields of a hash that expired, and records them; returns how many.
fn expire_fields(
    db: usize,
    entry: &mut Entry,
    now: i64,
    budget: &mut usize,
    expiring: &mut Expiring,
) -> u64 {
    let mut count = 0;
    let mut names: Vec<Box<[u8]>> = Vec::new();
    if let Ok(hash) = entry.collection_mut::<Hash>() {
        hash.expire(now, budget, |name| {
            count += 1;
            if expiring.record {
                names.push(name.into());
            }
        });
    }
    if !names.is_empty() {
        expiring.expired.push(Expired {
            db,
            key: entry.key().into(),
            part: ExpiredPart::Fields { names, last: false },
        });
    }
    count
}

impl Expiring {
    /// The fields that an entry lost were its last.
    fn note_last(&mut self, of_db: usize, entry: &Entry) {
        if !self.record {
            return;
        }
        match self.expired.last_mut() {
            Some(Expired {
                db,
                key,
                part: ExpiredPart::Fields { last, .. },
            }) if *db == of_db && **key == *entry.key() => *last = true,
            _ => self.expired.push(Expired {
                db: of_db,
                key: entry.key().into(),
                part: ExpiredPart::Fields {
                    names: Vec::new(),
                    last: true,
                },
            }),
        }
    }
}

/// Active expiry of one database: keys, and fields of hashes.
pub(super) struct Sweeper<'a> {
    pub(super) db: usize,
    pub(super) now: i64,
    pub(super) expiring: &'a mut Expiring,
    pub(super) garbage: &'a mut Garbage,
    pub(super) totals: &'a mut Totals,
    pub(super) version: bool,
    pub(super) unpassed: Option<&'a mut Unpassed>,
    /// Keys that expired.
    pub(super) keys: usize,
    /// Fields that expired.
    pub(super) fields: u64,
}

impl Sweeper<'_> {
    /// A snapshot gets the entry as it is, if it has not passed it.
    fn keep_old(&mut self, entry: &mut Entry) {
        if let Some(unpassed) = &mut self.unpassed {
            unpassed.pass(self.version, entry);
        }
    }

    fn is_past(&self, entry: &Entry) -> bool {
        entry.expiry().is_some_and(|at| at < self.now)
    }
}

impl Reaper<Entry> for Sweeper<'_> {
    fn shorten(&mut self, entry: &mut Entry, budget: &mut usize) -> bool {
        if self.is_past(entry) {
            return true;
        }
        self.keep_old(entry);
        let before = entry.outside_bytes();
        self.fields += expire_fields(self.db, entry, self.now, budget, self.expiring);
        self.totals.entry_bytes = self.totals.entry_bytes - before + entry.outside_bytes();
        entry.collection().is_ok_and(|hash: &Hash| hash.is_empty())
    }

    fn expired(&mut self, mut entry: Entry) {
        self.totals.subtract(&entry);
        self.keep_old(&mut entry);
        if self.is_past(&entry) {
            self.keys += 1;
            self.expiring.note_key(self.db, &entry);
        } else {
            self.expiring.note_last(self.db, &entry);
        }
        self.garbage.drop_entry(entry);
    }
}
