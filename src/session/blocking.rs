//! A session whose line waits for keys: the beginning, the end, and who may serve it.
//!
//! The owners of the keys keep the line in the order of arrival (`shard::waiters`) and serve it (`serving`). The session's
//! core alone decides for its client: it accepts one offer at a time, ends the waiting when time is over, when CLIENT
//! UNBLOCK says so or when the client goes, and tells the other owners to forget the line.
//!
//! ```text
//!  session's core C           owner A of key a              owner B of key b
//!       │ ── BLPOP a b (Lend … nothing there) ──▶ │ ──────────────────▶ │
//!       │ ── Await, Return ─────────────────────▶ │ ──────────────────▶ │
//!       │                                  LPUSH a: a is claimed        │
//!       │ ◀── Offer ───────────────────────────── │          LPUSH b: b is claimed
//!       │ ── Answer(accepted) ──────────────────▶ │                     │
//!       │ ◀── Offer ─────────────────────────────────────────────────── │
//!       │ ── Answer(busy) ────────────────────────────────────────────▶ │ next in line
//!       │ ◀── Served(reply) ───────────────────── │ runs the line on a  │
//!       │ ── Forget ──────────────────────────────────────────────────▶ │
//! ```
//!
//! Invariants:
//! - A waiting line has a pending slot, the last one: nothing behind it runs.
//! - Offers are answered at once, so whoever holds a key for an offer never waits for anything but a message.
//! - A session that does not wait is known to no owner but by messages under way.

use super::{Blocked, Core, Session, SessionId};
use crate::command::{CommandId, Unblock};
use crate::mesh::{Message, OwnedLine, Ticket, Verdict};
use crate::resp::{Output, Reply};
use crate::txn::Txn;

/// What a session waits for.
pub(super) struct Waiting {
    ticket: Ticket,
    command: CommandId,
    /// Monotonic nanoseconds; `None`: for ever.
    deadline_ns: Option<u64>,
    /// The owners that know of it.
    owners: Vec<usize>,
    /// An owner is serving it, or it is tried as a new line.
    served: bool,
    /// Owners whose offers came meanwhile.
    missed: Vec<usize>,
    /// The line as it is tried anew, when its keys have several owners.
    line: Option<OwnedLine>,
}

/// A line that begins to wait.
pub(super) struct NewWait {
    pub(super) ticket: Ticket,
    pub(super) command: CommandId,
    /// Milliseconds; 0 is for ever.
    pub(super) timeout_ms: u64,
    pub(super) owners: Vec<usize>,
    /// The line, when its keys have several owners.
    pub(super) line: Option<OwnedLine>,
}

/// When a wait of a session ends: what deadlines are sorted by.
pub(super) type Deadline = (u64, u32, u32);

fn deadline(at_ns: u64, ticket: Ticket) -> Deadline {
    (at_ns, ticket.session, ticket.generation)
}

impl Core {
    /// A line of one of this core's sessions waits, or waits on.
    pub(super) fn waits(&mut self, wait: NewWait) {
        let Some(mut session) = self.sessions.take(SessionId::of(wait.ticket)) else {
            for owner in wait.owners {
                self.forget_at(owner, wait.ticket);
            }
            return;
        };
        self.begin_waiting(&mut session, wait);
        if session.input_ended {
            self.touch(&mut session);
        }
        self.sessions.put(session);
    }

    /// The session's last line waits, or waits on.
    pub(super) fn begin_waiting(&mut self, session: &mut Session, wait: NewWait) {
        if session.is_waiting(wait.ticket) {
            self.wait_on(session);
            return;
        }
        let timeout_ns = wait.timeout_ms.saturating_mul(1_000_000);
        let deadline_ns = (timeout_ns > 0).then(|| self.now.mono_ns.saturating_add(timeout_ns));
        if let Some(at_ns) = deadline_ns {
            self.deadlines.insert(deadline(at_ns, wait.ticket));
        }
        session.blocked = Blocked::Keys;
        session.client.blocked = true;
        session.client.unblockable = true;
        session.waiting = Some(Box::new(Waiting {
            ticket: wait.ticket,
            command: wait.command,
            deadline_ns,
            owners: wait.owners,
            served: false,
            missed: Vec::new(),
            line: wait.line,
        }));
    }

    /// Who was about to serve the session found nothing: it waits on.
    fn wait_on(&mut self, session: &mut Session) {
        let Some(waiting) = &mut session.waiting else {
            return;
        };
        waiting.served = false;
        session.client.unblockable = true;
        let ticket = waiting.ticket;
        if let Some(at_ns) = waiting.deadline_ns {
            self.deadlines.insert(deadline(at_ns, ticket));
        }
        for owner in std::mem::take(&mut waiting.missed) {
            self.send(owner, Message::Recheck(ticket));
        }
    }

    /// The waiting is over; owners that still know of it forget it.
    pub(super) fn end_waiting(&mut self, waiting: &Waiting) {
        if let Some(at_ns) = waiting.deadline_ns {
            self.deadlines.remove(&deadline(at_ns, waiting.ticket));
        }
        for &owner in &waiting.owners {
            self.forget_at(owner, waiting.ticket);
        }
    }

    fn forget_at(&mut self, owner: usize, ticket: Ticket) {
        if owner == self.place.index {
            self.forget_here(owner, ticket);
        } else {
            self.send(owner, Message::Forget(ticket));
        }
    }

    /// `owner` can serve a line: may it? `anew`: the line needs keys of other owners, and is tried as a new one.
    pub(super) fn verdict(&mut self, owner: usize, ticket: Ticket, anew: bool) -> Verdict {
        let Some(session) = self.sessions.get(SessionId::of(ticket)) else {
            return Verdict::Gone;
        };
        if !session.is_waiting(ticket) || session.client.close.is_some() {
            return Verdict::Gone;
        }
        let Some(waiting) = &mut session.waiting else {
            return Verdict::Gone;
        };
        if waiting.served {
            if !waiting.missed.contains(&owner) {
                waiting.missed.push(owner);
            }
            return Verdict::Busy;
        }
        waiting.served = true;
        session.client.unblockable = false;
        if anew {
            let line = waiting.line.clone();
            self.try_anew(line.expect("a line with keys of several owners is kept"));
        }
        Verdict::Accepted
    }

    /// Orders a line that waits as if it came now. It keeps its place in line, should it find nothing.
    fn try_anew(&mut self, line: OwnedLine) {
        let registered = self.registry.get(line.head.command);
        self.planner
            .route_in_full(registered, line.head.db as usize, &line.line());
        let (txn, claims) = Txn::new(
            registered.command,
            line,
            self.planner.keys(),
            self.place.count,
        );
        let id = self.order_granting(claims);
        self.txns.insert(id.number, txn);
    }

    /// `owner` ran a line that waited: its reply, or `None` when it found nothing again.
    pub(super) fn served(&mut self, owner: usize, ticket: Ticket, reply: Option<&Output>) {
        let Some(session) = self.sessions.get(SessionId::of(ticket)) else {
            return;
        };
        let Some(waiting) = session.waiting.as_mut() else {
            return;
        };
        if waiting.ticket != ticket {
            return;
        }
        match reply {
            Some(reply) => {
                // It has forgotten the line already.
                waiting.owners.retain(|of| *of != owner);
                self.answer(ticket, reply, 0..reply.len());
            }
            None => {
                if let Some(mut session) = self.sessions.take(SessionId::of(ticket)) {
                    self.wait_on(&mut session);
                    self.sessions.put(session);
                }
            }
        }
    }

    /// Ends the waiting of the sessions whose time is over.
    pub(super) fn end_timeouts(&mut self) {
        while let Some(&(at_ns, slot, generation)) = self.deadlines.first()
            && at_ns <= self.now.mono_ns
        {
            self.deadlines.pop_first();
            self.unblock(SessionId { slot, generation }, Unblock::Timeout);
        }
    }

    /// Answers a waiting session in place of an owner, unless one is about to.
    pub(super) fn unblock(&mut self, id: SessionId, how: Unblock) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let Some(waiting) = session.waiting.as_ref().filter(|waiting| !waiting.served) else {
            return;
        };
        let (ticket, command) = (waiting.ticket, waiting.command);
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, session.client.proto);
        match how {
            Unblock::Timeout => reply.null_array(),
            Unblock::Error => reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        }
        if how == Unblock::Error {
            self.stats.error("UNBLOCKED");
        }
        self.stats.record(command, 0, how == Unblock::Error);
        let len = out.len();
        self.answer(ticket, &out, 0..len);
    }
}

impl Session {
    /// The line of this ticket waits for keys.
    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|waiting| waiting.ticket == ticket)
    }

    /// The line of this number is answered: its waiting, if it waited.
    pub(super) fn stop_waiting(&mut self, line: u32) -> Option<Box<Waiting>> {
        let waiting = self
            .waiting
            .take_if(|waiting| waiting.ticket.line == line)?;
        self.client.blocked = false;
        self.client.unblockable = false;
        Some(waiting)
    }
}

impl Waiting {
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Waiting>() + self.line.as_ref().map_or(0, OwnedLine::memory_bytes)
    }
}
