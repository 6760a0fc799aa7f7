//! The leader's stream on a follower: a session without a socket, on the first data core.
//!
//! ```text
//!   replication shard ── Leader(bytes) ──▶ this session ── lines ──▶ shards
//!                     ◀── Applied(offset) ──     ◀── replies ──
//! ```
//!
//! It is a session like any other: lines with one owner go there in batches and run side by side, lines over several shards
//! and MULTI … EXEC take their place in the order. Three things are its own: nothing that keeps clients out keeps it out,
//! keys do not expire for its lines, and nobody reads the replies. It counts them instead: a line whose reply is there is applied.
//!
//! Invariants:
//! - The offset that is reported lies behind a whole line, outside of MULTI … EXEC, and all before it is applied.
//! - When the session ends, all whole lines are applied. What remains, part of a line or of a transaction, has left no trace.

use std::collections::VecDeque;

use super::{Core, Session};
use crate::command::{Client, replicating::Applied};
use crate::mesh::Message;
use crate::resp::Encoded;

/// Ids of the leader's sessions begin here: those of connections do not come so far.
const FIRST_ID: u64 = 1 << 48;
/// A reply of the leader's lines that the log shows is cut off here.
const SHOWN_BYTES_MAX: usize = 200;

/// A line of the stream.
struct Parsed {
    /// The stream's offset behind it.
    end: u64,
    /// Behind it a follower may go on: it is not followed by more of its transaction.
    whole: bool,
    /// It asks for an acknowledgement.
    asks: bool,
}

/// What the session of a leader's stream keeps besides. Lives in the session.
#[derive(Default)]
pub(super) struct Applying {
    /// The stream's offset behind all bytes that came.
    received: u64,
    /// Lines that are parsed and not applied, in their order.
    lines: VecDeque<Parsed>,
    /// So many of them have been started.
    started: usize,
    /// What was reported last, but for what is only said once.
    reported: Applied,
    /// The stream has ended: no bytes will follow.
    ending: bool,
}

impl Applying {
    /// A line was parsed; `left` bytes that came are behind it.
    pub(super) fn parsed(&mut self, left: usize) {
        self.lines.push_back(Parsed {
            end: self.received - left as u64,
            whole: false,
            asks: false,
        });
    }

    /// The next of the parsed lines was started.
    pub(super) fn started(&mut self, client: &mut Client) {
        let line = &mut self.lines[self.started];
        line.whole = client.multi.is_none();
        line.asks = std::mem::take(&mut client.asked_for_acknowledgement);
        self.started += 1;
    }

    /// All started lines but the last `under_way` are answered. Returns how far that is, and whether to acknowledge it.
    fn settle(&mut self, under_way: usize) -> (u64, bool) {
        let mut offset = self.reported.offset;
        let mut asks = false;
        let done = self.started - under_way;
        for line in self.lines.drain(..done) {
            asks |= line.asks;
            if line.whole {
                offset = line.end;
            }
        }
        self.started = under_way;
        (offset, asks)
    }
}

impl Core {
    /// A leader's stream goes on from `offset` with this database selected.
    pub(super) fn leader_begins(&mut self, offset: u64, db: u16) {
        let mut client = Client::new(FIRST_ID + self.next_leader, self.now.wall_ms());
        self.next_leader += 1;
        client.leader = true;
        client.authenticated = true;
        client.local = true;
        client.db = db as usize;
        let reported = Applied {
            offset,
            taken: offset,
            db,
            ..Applied::default()
        };
        let applying = Applying {
            received: offset,
            reported,
            ..Applying::default()
        };
        // No transport has it, and nobody is to look for its bytes.
        let id = self.sessions.open(|id| Session {
            applying: Some(Box::new(applying)),
            touched: true,
            ..Session::new(id, client, u64::MAX)
        });
        self.leader = Some(id);
    }

    /// Bytes of the leader's stream.
    pub(super) fn leader_came(&mut self, bytes: &[u8]) {
        // A stream that broke has no session, until the replication shard begins another.
        let Some(id) = self.leader else { return };
        if let Some(session) = self.sessions.get(id)
            && let Some(applying) = &mut session.applying
        {
            applying.received += bytes.len() as u64;
        }
        self.read(id, bytes);
    }

    /// No further bytes will come: the session ends when all whole lines are applied.
    pub(super) fn leader_ends(&mut self) {
        // One that broke is gone, and has said so.
        if let Some(session) = self.leader.and_then(|id| self.sessions.get(id))
            && let Some(applying) = &mut session.applying
        {
            applying.ending = true;
        }
    }

    /// At the end of a turn: tells the replication shard how far the stream is applied, if that has changed.
    pub(super) fn leader_turn(&mut self) {
        let Some(id) = self.leader else { return };
        let Some(mut session) = self.sessions.take(id) else {
            return;
        };
        let Some(mut applying) = session.applying.take() else {
            return;
        };
        self.look_at_replies(&mut session);
        let (offset, acknowledge) = applying.settle(session.slots.len());
        let drained = session.is_drained();
        let broken = session.client.close.is_some();
        let applied = Applied {
            offset,
            taken: if drained { applying.received } else { offset },
            db: session.client.db as u16,
            ..Applied::default()
        };
        let ended = applying.ending && drained || broken && session.slots.is_empty();
        if applied != applying.reported || acknowledge || ended {
            applying.reported = applied.clone();
            self.report(Applied {
                acknowledge,
                ended,
                broken: broken && ended && !applying.ending,
                ..applied
            });
        }
        session.applying = Some(applying);
        self.sessions.put(session);
        if ended {
            self.close(id);
            self.leader = None;
        }
    }

    fn report(&mut self, applied: Applied) {
        self.send(self.orderer, Message::Applied(applied));
    }

    /// Drops the replies. An error among them means that this follower's data differs from its leader's.
    fn look_at_replies(&mut self, session: &mut Session) {
        // Those of a transaction's lines are in that of its EXEC.
        let replies = Encoded::all(&session.out);
        let replies = replies.flat_map(|reply| {
            let inside = reply.elements();
            std::iter::once(reply).chain(inside)
        });
        for reply in replies {
            if let Some(text) = reply.error_text() {
                self.stats.totals.leader_errors += 1;
                let shown = &text[..text.len().min(SHOWN_BYTES_MAX)];
                self.os.log_warning(&format!(
                    "== CRITICAL == This replica is sending an error to its master: '{}'",
                    String::from_utf8_lossy(shown)
                ));
            }
        }
        session.out.clear();
    }

    /// Another node's data follows: drops what is there. Watchers and trackers hear of it as of FLUSHALL.
    pub(super) fn drop_data(&mut self) {
        self.shard.keyspace.flush_all();
        let writes: Vec<_> = (0..self.config.databases as usize)
            .map(|db| crate::command::Write {
                db,
                key: Box::default(),
                event: "flushall",
                class: 0,
            })
            .collect();
        self.tell(&writes, None);
    }

    /// The replication shard wants to know when all lines that sessions have sent to shards so far have arrived.
    pub(super) fn sweep(&mut self) {
        for shard in (0..self.place.count).filter(|shard| *shard != self.place.index) {
            self.outboxes[shard].push(Message::Swept);
        }
        self.swept();
    }

    /// All that one core had sent to this shard has arrived.
    pub(super) fn swept(&mut self) {
        self.swept += 1;
        if self.swept == self.place.count {
            self.swept = 0;
            self.send(self.orderer, Message::Swept);
        }
    }
}

impl Session {
    /// It runs the leader's stream.
    #[inline]
    pub(super) fn is_leader(&self) -> bool {
        self.client.leader
    }

    /// A parsed line was started.
    #[inline]
    pub(super) fn note_started(&mut self) {
        if let Some(applying) = &mut self.applying {
            applying.started(&mut self.client);
        }
    }
}
