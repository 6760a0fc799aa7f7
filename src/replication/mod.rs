//! The replication shard as a plain state machine: it gives transactions their order, makes one stream of the shards' logs, and
//! hands it to followers. Messages go in, messages come out; sockets and files are the server's.
//!
//! Lives on a core of its own, whose number follows those of the shards.
//!
//! Invariants:
//! - A transaction's reservations leave for all of its shards before the next transaction's do.
//! - The stream holds every logged entry exactly once, those of one shard in their order.
//! - A *cut* is an instant at which no shard runs anything, and all that was logged before is in the stream.

use std::collections::VecDeque;

use crate::log::{Merge, Stream};
use crate::mesh::{CutWork, Message, Outbox};

/// The replication shard.
pub struct Replication {
    shards: usize,
    outboxes: Vec<Outbox>,
    merge: Merge,
    /// What followers receive.
    pub stream: Stream,
    /// Shards log.
    logging: bool,
    /// What the cut under way is for, and those that wait for theirs.
    cuts: VecDeque<CutWork>,
    /// Shards that are not at the cut yet.
    missing: usize,
}

impl Replication {
    /// The replication shard of a node with so many shards, with an empty stream.
    pub fn new(shards: usize) -> Replication {
        Replication {
            shards,
            outboxes: (0..shards).map(|_| Outbox::default()).collect(),
            merge: Merge::new(shards),
            stream: Stream::default(),
            logging: false,
            cuts: VecDeque::new(),
            missing: 0,
        }
    }

    /// What is to be sent to the core `peer`.
    pub fn outbox(&mut self, peer: usize) -> &mut Outbox {
        &mut self.outboxes[peer]
    }

    /// A message from a shard's core.
    pub fn deliver(&mut self, from: usize, message: Message) {
        match message {
            Message::Order(txn, claims) => {
                let writing = claims.iter().filter(|(_, claim)| claim.write).count();
                if self.logging && writing > 0 {
                    self.merge.ordered(txn, writing as u16);
                }
                for (shard, claim) in claims {
                    self.outboxes[shard as usize].push(Message::Reserve(txn, claim));
                }
            }
            Message::Log(chunk) => self.merge.push(from, chunk, &mut self.stream),
            Message::AtCut => self.at_cut(),
            other => unreachable!("{other:?} was sent to the replication shard"),
        }
    }

    /// Asks for a cut, at which every shard does `work`.
    pub fn cut(&mut self, work: CutWork) {
        self.cuts.push_back(work);
        if self.cuts.len() == 1 {
            self.begin_cut();
        }
    }

    fn begin_cut(&mut self) {
        let Some(work) = self.cuts.front() else {
            return;
        };
        // Transactions that are ordered from now on come behind the cut on every shard.
        if let Some(logging) = work.log {
            self.logging = logging;
        }
        self.missing = self.shards;
        for outbox in &mut self.outboxes {
            outbox.push(Message::Cut);
        }
    }

    /// A shard is at the cut. With the last of them all do their work, and go on.
    fn at_cut(&mut self) {
        self.missing -= 1;
        if self.missing > 0 {
            return;
        }
        let Some(work) = self.cuts.pop_front() else {
            return;
        };
        debug_assert!(
            self.merge.is_drained(),
            "what was logged before a cut is merged"
        );
        for outbox in &mut self.outboxes {
            outbox.push(Message::CutDone(work.clone()));
        }
        self.begin_cut();
    }
}
