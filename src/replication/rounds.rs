//! Full synchronisations: one walk over all shards at a time, for all who wait for one when it begins.
//!
//! ```text
//!   followers wait ── delay ──▶ cut ──▶ shards read out ──▶ bytes, kept until all who take part have them ──▶ end
//! ```

use crate::command::replicating::FollowRequest;
use crate::log::Stream;
use crate::rdb::{Facts, LogPosition, Version, Writer};

/// Bytes of a snapshot that may wait for those who take part; more, and the shards' walks wait.
const WAITING_BYTES_MAX: u64 = 4 << 20;

/// The walk that is under way, or about to begin.
pub(super) struct Round {
    /// The version of the format; at the cut it may become a higher one.
    pub(super) version: Version,
    /// The stream's offset at the cut; `None` before it.
    pub(super) offset: Option<u64>,
    /// The bytes made so far that somebody needs.
    pub(super) bytes: Stream,
    writer: Option<Writer>,
    /// Shards whose walk is not at its end.
    shards_left: usize,
    /// Bytes that shards were not told are taken.
    owed: Vec<(usize, usize)>,
    /// All bytes are made.
    pub(super) complete: bool,
    /// Somebody must know the length first: nothing is dropped before the end.
    pub(super) whole: bool,
}

impl Round {
    /// A round that waits for its cut.
    pub(super) fn new(version: Version, shards: usize, whole: bool) -> Round {
        Round {
            version,
            offset: None,
            bytes: Stream::default(),
            writer: None,
            shards_left: shards,
            owed: Vec::new(),
            complete: false,
            whole,
        }
    }

    /// All bytes of a snapshot without data at the same offset, for who wants none (`rdb-filter-only`).
    pub(super) fn without_data(version: Version, checksum: bool, facts: &Facts<'_>) -> Vec<u8> {
        let mut writer = Writer::new(version, checksum);
        let mut bytes = Vec::new();
        writer.begin(facts, &mut bytes);
        writer.end(&mut bytes);
        bytes
    }

    /// The cut is there: the header.
    pub(super) fn begin(&mut self, offset: u64, checksum: bool, facts: &Facts<'_>) {
        self.offset = Some(offset);
        let mut writer = Writer::new(self.version, checksum);
        let mut bytes = Vec::new();
        writer.begin(facts, &mut bytes);
        self.bytes.append(&bytes);
        self.writer = Some(writer);
    }

    /// A shard sent entries.
    pub(super) fn add(&mut self, shard: usize, bytes: &[u8], last: bool) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        writer.passed(bytes);
        self.bytes.append(bytes);
        self.owed.push((shard, bytes.len()));
        if last {
            self.shards_left -= 1;
        }
        if self.shards_left == 0
            && let Some(writer) = self.writer.take()
        {
            let mut end = Vec::new();
            writer.end(&mut end);
            self.bytes.append(&end);
            self.complete = true;
        }
    }

    /// All who take part have the bytes before `taken`. Returns which shards are to be told that how many bytes are taken.
    pub(super) fn taken(&mut self, taken: u64) -> Vec<(usize, usize)> {
        if !self.whole {
            self.bytes.trim(taken);
        }
        let waiting = self.bytes.end() - taken;
        if self.whole || waiting < WAITING_BYTES_MAX {
            return std::mem::take(&mut self.owed);
        }
        Vec::new()
    }
}

/// The facts of a snapshot at an offset.
pub(super) fn facts<'a>(
    redis_version: &'a str,
    now_s: i64,
    id: &'a str,
    offset: u64,
    db: usize,
) -> Facts<'a> {
    Facts {
        redis_version,
        created_s: now_s,
        used_memory_bytes: 0,
        log: Some(LogPosition {
            db,
            id,
            offset: offset as i64,
        }),
        aof_base: false,
    }
}

/// The highest version of the format that a follower reads for certain: only some say what they are.
pub(super) fn version_for(request: &FollowRequest) -> Version {
    const REDIS_7_2: u32 = 7 << 16 | 2 << 8;
    match request.info.version {
        _ if request.info.version_12 => Version::V12,
        0..REDIS_7_2 => Version::V10,
        // It is Valkey that says so, and no version of it reads Redis's 12.
        _ => Version::V11,
    }
}
