//! The leader's stream between its arrival and its application.
//!
//! ```text
//!        stream              │ pending: received, given to the data core, not known to be applied │ held back
//!        ──────────── end ───┤                                                                     │
//! ```
//!
//! Bytes go into the node's own stream when they are applied, not before: so its end is what the data is, followers of this
//! node are never ahead of it, and whoever leads next goes on from there.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::command::replicating::Applied;
use crate::log::Stream;

/// Bytes that may be under way on the data cores; more, and the link is not read.
const UNDER_WAY_BYTES_MAX: u64 = 4 << 20;

/// See the head of the file. Lives on the replication shard.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// A data core runs the stream.
    pub(super) running: bool,
    /// From the end of the stream on: what was received and is not applied.
    pending: VecDeque<Bytes>,
    /// Of this, what the data core has not been given.
    held: VecDeque<Bytes>,
    /// The offset behind all bytes that it was given.
    given: u64,
    /// The offset up to which it needs more to go on.
    taken: u64,
    /// Nothing is given to it now: a cut wants it quiet.
    pub(super) holding: bool,
    /// Bytes that are held.
    held_bytes: u64,
}

impl Feed {
    /// A stream begins at this offset.
    pub(super) fn begin(&mut self, offset: u64) {
        *self = Feed {
            running: true,
            given: offset,
            taken: offset,
            holding: self.holding,
            ..Feed::default()
        };
    }

    /// Bytes came. Returns what the data core gets.
    pub(super) fn came(&mut self, data: &[u8]) -> Option<Bytes> {
        let bytes = Bytes::copy_from_slice(data);
        self.pending.push_back(bytes.clone());
        if self.holding {
            self.held_bytes += bytes.len() as u64;
            self.held.push_back(bytes);
            return None;
        }
        self.given += bytes.len() as u64;
        Some(bytes)
    }

    /// What was held and need not be any more: the data core gets it.
    pub(super) fn release(&mut self) -> VecDeque<Bytes> {
        self.holding = false;
        self.given += std::mem::take(&mut self.held_bytes);
        std::mem::take(&mut self.held)
    }

    /// The data core said how far it is: those bytes are the stream's.
    pub(super) fn applied(&mut self, applied: &Applied, stream: &mut Stream) {
        self.taken = applied.taken;
        let mut new = applied.offset.saturating_sub(stream.end());
        while new > 0
            && let Some(first) = self.pending.front_mut()
        {
            let now = new.min(first.len() as u64) as usize;
            stream.append(&first[..now]);
            first.advance(now);
            new -= now as u64;
            if first.is_empty() {
                self.pending.pop_front();
            }
        }
    }

    /// Everything that the data core was given is applied, as far as it can be.
    pub(super) fn is_quiet(&self) -> bool {
        !self.running || self.taken == self.given
    }

    /// More bytes may come.
    pub(super) fn has_room(&self) -> bool {
        !self.holding && self.given - self.taken < UNDER_WAY_BYTES_MAX
    }

    /// The offset behind all bytes that were received.
    pub(super) fn received(&self) -> u64 {
        self.given + self.held_bytes
    }

    /// The stream's session is gone: what was not applied is of no use.
    pub(super) fn end(&mut self) {
        *self = Feed {
            holding: self.holding,
            ..Feed::default()
        };
    }
}
