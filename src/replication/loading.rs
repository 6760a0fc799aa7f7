//! Loading: the bytes of an RDB file become entries, which are dealt to the shards that own them.
//!
//! ```text
//!   file or leader ── feed ──▶ reader ──▶ a batch per shard ── Load ──▶ shard
//!                                         ◀──────────────── Loaded ───
//! ```
//!
//! Invariants:
//! - No more than [`BATCHES_MAX`] batches are on their way; whoever has the bytes holds the others back meanwhile
//!   ([`Loading::wants_more`]).
//! - It is done when the end was read and every shard has taken its entries.

use super::Replication;
pub use crate::command::replicating::LoadCounts as Counts;
use crate::command::replicating::LoadStatus;
use crate::config::Config;
use crate::keyspace::{KeyHasher, shard_of};
use crate::mesh::{LoadedEntry, Message, Outbox};
use crate::rdb::{self, Item, Limits, Reader};

/// Entries of a batch.
const BATCH_ENTRIES: usize = 256;
/// Batches that shards have not taken. The bytes that are fed at once may add some more.
const BATCHES_MAX: usize = 64;

/// Why data cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The data is wrong.
    #[error("{0}")]
    Data(#[from] rdb::Error),
    /// It has a database that this server has not.
    #[error("the data has keys in database {db}, and this server has {databases} databases")]
    Database {
        /// The database.
        db: usize,
        /// `databases`.
        databases: usize,
    },
}

/// Where the log of the server that wrote the data stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of its log.
    pub id: Option<String>,
    /// Bytes of the log that the data holds.
    pub offset: Option<u64>,
    /// The database that the log's next line belongs to; `None` when the log selects one first.
    pub db: Option<u16>,
}

/// A load under way. Lives on the replication shard.
pub struct Loading {
    reader: Reader,
    hasher: KeyHasher,
    databases: usize,
    /// A batch for each shard.
    batches: Vec<Vec<LoadedEntry>>,
    on_their_way: usize,
    counts: Counts,
    origin: Origin,
    /// Functions, and data of modules that no key holds.
    passed_over: u64,
    /// Bytes of the data, when that is known.
    total_bytes: u64,
    begun_ms: i64,
}

impl Loading {
    /// Begins to load; the shards have nothing, or what the data is to be added to.
    pub fn new(shards: usize, hasher: KeyHasher, config: &Config) -> Loading {
        let limits = Limits::new(config, &hasher);
        Loading {
            reader: Reader::new(config.rdbchecksum, limits),
            hasher,
            databases: config.databases as usize,
            batches: (0..shards).map(|_| Vec::new()).collect(),
            on_their_way: 0,
            counts: Counts::default(),
            origin: Origin::default(),
            passed_over: 0,
            total_bytes: 0,
            begun_ms: 0,
        }
    }

    /// Takes the next bytes, and deals the entries in them to the shards. An error is for good.
    pub fn feed(&mut self, bytes: &[u8], outboxes: &mut [Outbox]) -> Result<(), LoadError> {
        self.reader.feed(bytes);
        while let Some(item) = self.reader.next_item()? {
            match item {
                Item::Key { db, entry, usage } => {
                    if db >= self.databases {
                        let databases = self.databases;
                        return Err(LoadError::Database { db, databases });
                    }
                    let key = entry.key();
                    let hash = self.hasher.hash(key);
                    let shard = shard_of(&self.hasher, key, hash, self.batches.len());
                    self.batches[shard].push(LoadedEntry { db, usage, entry });
                    if self.batches[shard].len() >= BATCH_ENTRIES {
                        self.hand_over(shard, outboxes);
                    }
                }
                Item::Aux { key, value } => self.fact(&key, &value),
                Item::Function(_) | Item::ModuleAux { .. } => self.passed_over += 1,
                Item::Header { .. }
                | Item::SelectDb(_)
                | Item::ResizeDb { .. }
                | Item::End { .. } => {}
            }
        }
        for shard in 0..self.batches.len() {
            self.hand_over(shard, outboxes);
        }
        Ok(())
    }

    fn fact(&mut self, key: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match key {
            b"repl-id" if value.len() == 40 => self.origin.id = Some(text()),
            b"repl-offset" => {
                let offset: Option<i64> = text().parse().ok();
                self.origin.offset = offset.and_then(|offset| u64::try_from(offset).ok());
            }
            b"repl-stream-db" => self.origin.db = text().parse().ok(),
            _ => {}
        }
    }

    fn hand_over(&mut self, shard: usize, outboxes: &mut [Outbox]) {
        if self.batches[shard].is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batches[shard]);
        self.on_their_way += 1;
        outboxes[shard].push(Message::Load(batch));
    }

    /// A shard has taken a batch.
    pub fn taken(&mut self, keys: u64, expired: u64) {
        self.on_their_way -= 1;
        self.counts.keys += keys;
        self.counts.expired += expired;
    }

    /// More bytes may be fed.
    pub fn wants_more(&self) -> bool {
        self.on_their_way < BATCHES_MAX && !self.reader.is_at_end()
    }

    /// The end of the data was read; entries may still be on their way.
    pub fn is_at_end(&self) -> bool {
        self.reader.is_at_end()
    }

    /// Every entry is in its place.
    pub fn is_done(&self) -> bool {
        self.reader.is_at_end() && self.on_their_way == 0
    }

    /// Bytes that were fed behind the end of the data.
    pub fn unread(&self) -> &[u8] {
        self.reader.unread()
    }

    /// There will be no more bytes: an error when some are missing.
    pub fn finish(&self) -> Result<(), LoadError> {
        Ok(self.reader.finish()?)
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// What the shards have taken so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Functions, and data of modules that no key holds, which are not kept here.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// What the data says of where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Replication {
    /// Data is about to come, so many bytes of it (0: not known): no command that looks at it runs until it is there.
    pub fn begin_load(&mut self, total_bytes: u64) {
        self.loading = Some(Loading {
            total_bytes,
            begun_ms: self.now.wall_ms(),
            ..Loading::new(self.shards, self.hasher, &self.config)
        });
        self.standing.loading = true;
        self.send_standing();
    }

    /// More bytes may be given to [`Replication::load`].
    pub fn load_wants_more(&self) -> bool {
        self.loading.as_ref().is_some_and(Loading::wants_more)
    }

    /// Takes the next bytes of the data that is being loaded; `None`: there are no more.
    pub fn load(&mut self, bytes: Option<&[u8]>) -> Result<(), LoadError> {
        let Some(loading) = &mut self.loading else {
            return Ok(());
        };
        match bytes {
            Some(bytes) => loading.feed(bytes, &mut self.outboxes),
            None => loading.finish(),
        }
    }

    /// Ends the load when every entry is in its place.
    pub fn end_load_if_done(&mut self) -> Option<Loading> {
        let loading = self.loading.take_if(|loading| loading.is_done())?;
        self.expects_file = false;
        self.last_load = loading.counts;
        self.standing.loading = false;
        self.send_standing();
        Some(loading)
    }

    /// A file was loaded at the start: when nothing of it is missing here, a follower goes on from there, and behind a leader the
    /// followers of whoever wrote it do.
    pub fn loaded_from_file(&mut self, loading: &Loading) {
        if let Origin {
            id: Some(id),
            offset: Some(offset),
            db,
        } = &loading.origin
            && loading.counts.expired == 0
        {
            self.stream.restart_at(*offset);
            if self.following.is_some() {
                self.id = id.clone();
                self.merge.set_db(Some(db.unwrap_or(0)));
                return;
            }
            self.id2 = Some(id.clone());
            self.second_offset = Some(offset + 1);
            self.alone_since_ns = self.now.mono_ns;
            self.log();
        }
    }

    /// How far the load is, for the log.
    pub fn load_progress(&self) -> String {
        let status = self.load_status().unwrap_or_default();
        format!(
            "{} of {} bytes, {} keys",
            status.read_bytes, status.total_bytes, status.counts.keys
        )
    }

    /// The load under way, for INFO.
    pub(super) fn load_status(&self) -> Option<LoadStatus> {
        let loading = self.loading.as_ref()?;
        let ms = self.now.wall_ms() - loading.begun_ms;
        Some(LoadStatus {
            begun_s: loading.begun_ms / 1000,
            seconds: ms.max(0) as u64 / 1000,
            total_bytes: loading.total_bytes,
            read_bytes: loading.offset(),
            counts: loading.counts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Entry, Usage};
    use crate::rdb::{Encoder, Facts, LogPosition, Version, Writer};

    fn file(keys: usize) -> Vec<u8> {
        let id = "a".repeat(40);
        let log = LogPosition {
            db: 3,
            id: &id,
            offset: 77,
        };
        let facts = Facts {
            log: Some(log),
            ..Facts::default()
        };
        let mut writer = Writer::new(Version::V10, true);
        let mut out = Vec::new();
        writer.begin(&facts, &mut out);
        let mut encoder = Encoder::new(Version::V10, true);
        let from = out.len();
        encoder.select(2, &mut out);
        for index in 0..keys {
            let entry = Entry::from_integer(format!("key{index}").as_bytes(), 1, None, 0);
            encoder.entry(&entry, Usage::Unknown, &mut out);
        }
        writer.passed(&out[from..]);
        writer.end(&mut out);
        out
    }

    fn drain(outboxes: &mut [Outbox]) -> Vec<Vec<LoadedEntry>> {
        let mut batches = Vec::new();
        for outbox in outboxes {
            outbox.flush(|message| {
                match message {
                    Message::Load(batch) => batches.push(batch),
                    other => unreachable!("{other:?}"),
                }
                Ok(())
            });
        }
        batches
    }

    #[test]
    fn entries_go_to_their_owners_and_the_end_waits_for_them() {
        let hasher = KeyHasher::from_seeds([1, 2, 3, 4]);
        let mut loading = Loading::new(3, hasher, &Config::default());
        let mut outboxes: Vec<Outbox> = (0..3).map(|_| Outbox::default()).collect();
        let file = file(100_000);
        let (mut keys, mut pieces) = (0, file.chunks(10_000));
        while !loading.is_done() {
            if loading.wants_more() {
                let piece = pieces.next().expect("the file ends the load");
                loading.feed(piece, &mut outboxes).unwrap();
                continue;
            }
            let batches = drain(&mut outboxes);
            assert!(batches.len() < BATCHES_MAX + 20, "{}", batches.len());
            for batch in batches {
                assert!(batch.iter().all(|loaded| loaded.db == 2));
                keys += batch.len();
                loading.taken(batch.len() as u64 - 1, 1);
            }
        }
        assert_eq!(keys, 100_000);
        assert_eq!(loading.counts().keys + loading.counts().expired, 100_000);
        let origin = loading.origin();
        assert_eq!(origin.id.as_deref(), Some("a".repeat(40).as_str()));
        assert_eq!((origin.offset, origin.db), (Some(77), Some(3)));
        assert_eq!(loading.offset(), file.len() as u64);
        assert_eq!(loading.finish(), Ok(()));
    }

    #[test]
    fn data_that_is_cut_short_or_of_too_many_databases_is_refused() {
        let hasher = KeyHasher::from_seeds([1, 2, 3, 4]);
        let mut outboxes = [Outbox::default()];
        let file = file(10);
        let mut loading = Loading::new(1, hasher, &Config::default());
        loading
            .feed(&file[..file.len() - 1], &mut outboxes)
            .unwrap();
        assert!(loading.finish().is_err());
        let config = Config {
            databases: 2,
            ..Config::default()
        };
        let mut loading = Loading::new(1, hasher, &config);
        let error = loading.feed(&file, &mut outboxes).unwrap_err();
        assert_eq!(
            error,
            LoadError::Database {
                db: 2,
                databases: 2
            }
        );
    }
}
