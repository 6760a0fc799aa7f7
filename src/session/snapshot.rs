//! The shard's side of a snapshot: it reads its entries out a little each turn and sends them to the replication shard.
//!
//! No more than a window of bytes is on its way: a follower or disk that is slow slows the walk, and nothing else.

use super::Core;
use crate::keyspace::{Entry, SnapshotEncoder, Usage};
use crate::mesh::{CutFacts, Message, SnapshotSpec};
use crate::rdb::Encoder;

/// Bytes of one slice: some 100 µs of work.
const SLICE_BYTES: usize = 32 * 1024;
/// Bytes on their way to the replication shard.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A snapshot under way. Lives on a shard's core.
#[derive(Default)]
pub(super) struct Sending {
    active: bool,
    /// Sent, and not yet taken.
    on_their_way: usize,
}

impl SnapshotEncoder for Encoder {
    fn select(&mut self, db: usize, out: &mut Vec<u8>) {
        Encoder::select(self, db, out);
    }

    fn entry(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        Encoder::entry(self, entry, Usage::Unknown, out);
    }
}

impl Core {
    /// What the replication shard must know of this shard at a cut.
    pub(super) fn cut_facts(&self) -> CutFacts {
        CutFacts {
            changes: self.stats.totals.changes,
            timed_fields: self.shard.keyspace.has_timed_fields(),
        }
    }

    /// Tells the replication shard how much was changed, for save points.
    pub(super) fn tell_changes(&mut self) {
        let changes = self.stats.totals.changes;
        if changes != self.told_changes {
            self.told_changes = changes;
            self.send(self.orderer, Message::Changes(changes));
        }
    }

    /// Begins a snapshot: at a cut.
    pub(super) fn begin_snapshot(&mut self, spec: SnapshotSpec) {
        let now_ms = self.now.wall_ms();
        let encoder = || Box::new(Encoder::new(spec.version, spec.compress).at(now_ms)) as _;
        self.shard.keyspace.begin_snapshot(encoder);
        self.snapshot = Sending {
            active: true,
            on_their_way: 0,
        };
    }

    /// Goes on with the snapshot. True when it wants another turn at once.
    pub(super) fn snapshot_turn(&mut self) -> bool {
        if !self.snapshot.active || self.snapshot.on_their_way >= WINDOW_BYTES {
            return false;
        }
        let mut bytes = Vec::new();
        let last = self.shard.keyspace.snapshot_slice(SLICE_BYTES, &mut bytes);
        self.snapshot.active = !last;
        self.snapshot.on_their_way += bytes.len();
        if last || !bytes.is_empty() {
            self.send(self.orderer, Message::Snapshot(bytes, last));
        }
        !last
    }

    /// The replication shard has passed bytes of the snapshot on.
    pub(super) fn snapshot_taken(&mut self, bytes: usize) {
        self.snapshot.on_their_way = self.snapshot.on_their_way.saturating_sub(bytes);
    }

    /// Nobody wants the snapshot any more: the walk goes on to its end, and sends that.
    pub(super) fn abandon_snapshot(&mut self) {
        self.shard.keyspace.abandon_snapshot();
        self.snapshot.on_their_way = 0;
    }
}
