//! Snapshots: every entry as it was at one moment, read out a little at a time while the data changes.
//!
//! There are two versions, and one of them is that of all new entries. A snapshot begins by exchanging the two: from
//! then on the entries with the old version are those that it has not passed. The walk passes them in hash order; whoever is about to change or
//! remove one passes it first, so the snapshot gets it as it was. Whatever is written later has the new version and is
//! left alone. When the walk is at its end, everything has the new version.
//!
//! ```text
//!   hash order   ●●●●●●●●●●|○○○○●○○○○●○○      ● passed or new   ○ not passed
//!                          ▲ the walk  ▲ written since: passed by the writer
//! ```
//!
//! Invariants:
//! - Each entry that was there at the begin is read out once, as it was at the begin.
//! - Without a snapshot all entries have the same version, and nothing costs anything but one test per write.
//! - A database keeps the number that it had at the begin, whatever it is exchanged with.

use std::collections::VecDeque;

use super::database::Database;
use super::{Entry, Keyspace};

/// How a snapshot writes what it reads.
pub trait SnapshotEncoder: Send {
    /// The entries that follow are of this database.
    fn select(&mut self, db: usize, out: &mut Vec<u8>);
    /// An entry.
    fn entry(&mut self, entry: &Entry, out: &mut Vec<u8>);
}

/// Writes nothing: for a snapshot that nobody wants any more.
struct Nothing;

impl SnapshotEncoder for Nothing {
    fn select(&mut self, _: usize, _: &mut Vec<u8>) {}
    fn entry(&mut self, _: &Entry, _: &mut Vec<u8>) {}
}

/// A database's part of a snapshot under way.
pub(super) struct Unpassed {
    /// The database's number at the begin.
    db: usize,
    encoder: Box<dyn SnapshotEncoder>,
    /// Entries that were written since the last slice, as they were.
    written: Vec<u8>,
    /// Where the walk goes on.
    cursor: u64,
}

impl Unpassed {
    /// Reads an entry out, unless that was done. `version` is that of new entries.
    #[inline]
    pub(super) fn pass(&mut self, version: bool, entry: &mut Entry) {
        if entry.version() != version {
            self.encoder.entry(entry, &mut self.written);
            entry.set_version(version);
        }
    }
}

/// State of snapshots.
#[derive(Default)]
pub(super) struct Snapshot {
    /// The version of what is written now.
    pub(super) version: bool,
    /// A snapshot is under way.
    active: bool,
    /// Databases that were emptied before the walk was through.
    detached: VecDeque<Box<Database>>,
}

impl Keyspace {
    /// Begins a snapshot of everything as it is now; `encoder` makes one for each database. There must be none under way.
    pub fn begin_snapshot(&mut self, mut encoder: impl FnMut() -> Box<dyn SnapshotEncoder>) {
        assert!(!self.snapshot.active, "one snapshot at a time");
        self.snapshot.active = true;
        let version = !self.snapshot.version;
        self.snapshot.version = version;
        for (db, database) in self.databases.iter_mut().enumerate() {
            let Some(database) = database else { continue };
            database.version = version;
            database.unpassed = Some(Box::new(Unpassed {
                db,
                encoder: encoder(),
                written: Vec::new(),
                cursor: 0,
            }));
        }
    }

    /// Some hash may have fields that expire.
    pub fn has_timed_fields(&self) -> bool {
        self.databases
            .iter()
            .flatten()
            .any(|database| database.timed_fields)
    }

    /// A snapshot is under way.
    pub fn in_snapshot(&self) -> bool {
        self.snapshot.active
    }

    /// Bytes of entries that were written since the last slice and wait for the next.
    pub fn snapshot_bytes(&self) -> usize {
        let databases = self.databases.iter().flatten();
        databases
            .chain(&self.snapshot.detached)
            .filter_map(|database| database.unpassed.as_ref())
            .map(|unpassed| unpassed.written.len())
            .sum()
    }

    /// Goes on with the snapshot until about `bytes_max` bytes were added to `out`, at least by one step, which is some
    /// hundred entries. True when it is complete.
    pub fn snapshot_slice(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        while let Some(mut database) = self.snapshot.detached.pop_front() {
            let done = database.read_out(start + bytes_max, out);
            if !done {
                self.snapshot.detached.push_front(database);
                return false;
            }
            self.garbage.add(*database);
        }
        for database in self.databases.iter_mut().flatten() {
            if !database.read_out(start + bytes_max, out) {
                return false;
            }
        }
        self.snapshot.active = false;
        true
    }

    /// Nobody wants the snapshot any more. What it has not passed must be marked all the same, so slices go on; they only
    /// add nothing.
    pub fn abandon_snapshot(&mut self) {
        let databases = self.databases.iter_mut().flatten();
        for database in databases.chain(&mut self.snapshot.detached) {
            if let Some(unpassed) = &mut database.unpassed {
                unpassed.written = Vec::new();
                unpassed.encoder = Box::new(Nothing);
            }
        }
    }

    /// Takes leave of a database that was emptied: it is freed in slices, after the snapshot has read it.
    pub(super) fn detach(&mut self, database: Box<Database>) {
        if database.unpassed.is_some() {
            self.snapshot.detached.push_back(database);
        } else {
            self.garbage.add(*database);
        }
    }
}

impl Database {
    /// Reads out what was written meanwhile, then goes on with the walk until `out` has `len_max` bytes. True at its end.
    fn read_out(&mut self, len_max: usize, out: &mut Vec<u8>) -> bool {
        let Some(mut unpassed) = self.unpassed.take() else {
            return true;
        };
        // The entries of this slice go behind the database's number, if there are any.
        let before = out.len();
        unpassed.encoder.select(unpassed.db, out);
        let begin = out.len();
        out.append(&mut unpassed.written);
        let mut cursor = Some(unpassed.cursor);
        let mut first = true;
        while let Some(at) = cursor {
            if out.len() >= len_max && !first {
                unpassed.cursor = at;
                self.unpassed = Some(unpassed);
                return false;
            }
            first = false;
            let (version, encoder) = (self.version, &mut unpassed.encoder);
            cursor = self.table.pass_segment(at, |entry| {
                if entry.version() != version {
                    encoder.entry(entry, out);
                    entry.set_version(version);
                }
            });
        }
        if out.len() == begin {
            out.truncate(before);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::{KeyHasher, NewExpiry, NewString};

    struct Text;

    impl SnapshotEncoder for Text {
        fn select(&mut self, db: usize, out: &mut Vec<u8>) {
            out.extend(format!("db {db}\n").bytes());
        }

        fn entry(&mut self, found: &Entry, out: &mut Vec<u8>) {
            entry(found, out);
        }
    }

    fn entry(entry: &Entry, out: &mut Vec<u8>) {
        out.extend_from_slice(entry.key());
        out.push(b'=');
        let value = entry.string().unwrap();
        out.extend_from_slice(value.with_bytes(&mut itoa::Buffer::new()));
        out.push(b'\n');
    }

    type Data = BTreeMap<(usize, String), String>;

    fn read(keyspace: &Keyspace) -> Data {
        let mut data = Data::new();
        for db in 0..keyspace.databases() {
            keyspace.for_each(db, |found| {
                let mut text = Vec::new();
                entry(found, &mut text);
                add(
                    &mut data,
                    db,
                    std::str::from_utf8(&text).unwrap().trim_end(),
                );
            });
        }
        data
    }

    fn add(data: &mut Data, db: usize, text: &str) {
        let (key, value) = text.split_once('=').unwrap();
        let old = data.insert((db, key.into()), value.into());
        assert!(old.is_none(), "{key} comes twice");
    }

    fn change(keyspace: &mut Keyspace, random: &mut Random, number: usize) {
        let name = format!("key{}", random.index(5000));
        let db = random.index(3);
        let key = keyspace.key(name.as_bytes());
        match random.index(1000) {
            0 => {
                keyspace.flush(db);
            }
            1 => keyspace.swap(0, db),
            2 => {
                keyspace.flush_now(db);
            }
            3..300 => {
                keyspace.remove(db, key);
            }
            300..400 => {
                let _ = keyspace.edit_string(db, key, true, |text| text.extend_from_slice(b"+"));
            }
            400..450 => {
                if let Some(found) = keyspace.take(db, key) {
                    keyspace.put((db + 1) % 3, found);
                }
            }
            450..480 => {
                keyspace.set_expiry(db, key, Some(1_000 + number as i64));
            }
            480 => {
                keyspace.set_now(keyspace.now_ms() + 10);
                keyspace.expire_slice(100);
            }
            _ => {
                let value = format!("v{number}");
                let value = NewString::Bytes(value.as_bytes());
                keyspace.set_string(db, key, value, NewExpiry::Clear);
            }
        }
    }

    #[test]
    fn a_snapshot_is_what_was_there_at_its_begin() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut keyspace = Keyspace::new(4, KeyHasher::from_seeds([seed, 2, 3, 4]), seed);
            keyspace.set_now(1_000);
            for number in 0..10_000 {
                change(&mut keyspace, &mut random, number);
            }
            for round in 0..3 {
                let expected = read(&keyspace);
                keyspace.begin_snapshot(|| Box::new(Text));
                let mut out = Vec::new();
                let mut number = 100_000 * (round + 1);
                loop {
                    let mut done = keyspace.snapshot_slice(200, &mut out);
                    for _ in 0..random.index(100) {
                        number += 1;
                        change(&mut keyspace, &mut random, number);
                        // A walk that is through stays so.
                        done |= !keyspace.in_snapshot();
                    }
                    if done {
                        break;
                    }
                }
                let mut found = Data::new();
                let mut db = 0;
                for line in std::str::from_utf8(&out).unwrap().lines() {
                    match line.strip_prefix("db ") {
                        Some(number) => db = number.parse().unwrap(),
                        None => add(&mut found, db, line),
                    }
                }
                // What had expired at the begin may be read out too.
                found.retain(|key, _| expected.contains_key(key));
                assert!(found == expected, "seed {seed}, round {round}");
            }
        }
    }
}
