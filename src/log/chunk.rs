//! Entries on their way from a shard to the replication shard.

use super::{LogStep, TxnId};

/// What a head stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// One entry of `len` bytes.
    Entry,
    /// No bytes: the next so many entries are one unit, which nobody may see half of.
    Unit(u32),
    /// No bytes: the next so many entries are this shard's part of a transaction over several.
    Part(TxnId, u32),
}

/// One entry, or what the entries behind it belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the entry.
    pub(super) len: u32,
    /// The database, or [`super::NO_DB`].
    pub(super) db: u16,
    /// In a part: which step of its transaction made it. Entries of all parts are put in the order of the steps.
    pub(super) step: LogStep,
    pub(super) mark: Mark,
}

/// Entries of one lane: a run of heads and the bytes that they stand for, each entry a line as a RESP array.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) heads: Vec<Head>,
}

impl Chunk {
    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of entries.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the entries of another, which is emptied.
    pub(super) fn append(&mut self, other: &mut Chunk) {
        self.bytes.append(&mut other.bytes);
        self.heads.append(&mut other.heads);
    }

    /// Adds a mark for the entries that follow.
    pub(super) fn mark(&mut self, mark: Mark) {
        self.heads.push(Head {
            len: 0,
            db: 0,
            step: LogStep::default(),
            mark,
        });
    }

    /// Adds one entry that `write` writes.
    #[inline]
    pub(super) fn entry(&mut self, db: u16, step: LogStep, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.heads.push(Head {
            len: (self.bytes.len() - start) as u32,
            db,
            step,
            mark: Mark::Entry,
        });
    }

    /// The number of entries, marks not counted.
    pub(super) fn entries(&self) -> u32 {
        self.heads
            .iter()
            .filter(|head| head.mark == Mark::Entry)
            .count() as u32
    }
}
