//! Visits: work that a client command does on other cores, and the making of its reply from their answers.

use std::sync::Arc;

use super::{Core, SessionId};
use crate::command::WaitingCount;
use crate::command::cx::VisitMerge;
use crate::command::{Client, ClientCx, CoreView, Flow, Part, Visit, Where, cx::VisitPart};
use crate::mesh::{Claim, Message, OwnedLine, TxnId};
use crate::resp::{Line, Output, Reply};
use crate::shard::reserve::Claimant;

/// A visit whose answers are not all there.
pub(super) struct PendingVisit {
    /// The line that asked for it, with the ticket for its reply.
    line: OwnedLine,
    /// The time that its handlers took on this core so far.
    ns: u64,
    /// The time that the slowest part took.
    parts_ns: u64,
    /// The EXEC that the line is one of.
    exec: Option<TxnId>,
    parts: Vec<Option<Part>>,
    /// The core of the first part: 0, or the only one visited.
    first: usize,
    missing: usize,
    merge: VisitMerge,
}

impl Core {
    /// This core, as a visit or a client command sees it.
    pub(super) fn view(&mut self) -> CoreView<'_> {
        CoreView {
            place: self.place,
            keyspace: &mut self.shard.keyspace,
            waiting: WaitingCount {
                timeouts: self.deadlines.len(),
                ..self.shard.waiters.count()
            },
            stats: &mut self.stats,
            clients: &mut self.sessions,
            pubsub: &mut self.pubsub,
            lane: &mut self.shard.lane,
            tracking: &mut self.tracking,
            config: &mut self.config,
            node: &self.node,
            registry: self.registry,
            switches: &mut self.switches,
            os: &*self.os,
            now: self.now,
        }
    }

    /// The nanoseconds since the last time that this was asked.
    pub(super) fn lap_ns(&mut self) -> u64 {
        let ticks = (self.ticks)();
        let ns = ticks.saturating_sub(self.last_ticks);
        self.last_ticks = ticks;
        ns
    }

    /// Sends the parts of a visit to their cores: `line` asked for it, and its handler took `ns` so far. A line of an
    /// EXEC lets that go on.
    pub(super) fn start_visit(
        &mut self,
        line: OwnedLine,
        ns: u64,
        exec: Option<TxnId>,
        visit: Visit,
    ) {
        let id = self.next_visit;
        self.next_visit += 1;
        let (first, count) = match visit.to {
            Where::All => (0, self.place.count),
            Where::One(core) => (core, 1),
            Where::Replication => (self.orderer, 1),
        };
        self.visits.insert(
            id,
            PendingVisit {
                line,
                ns,
                parts_ns: 0,
                exec,
                parts: (0..count).map(|_| None).collect(),
                first,
                missing: count,
                merge: visit.merge,
            },
        );
        if let Some(question) = visit.question {
            self.send(self.orderer, Message::Ask(id, question));
            return;
        }
        for core in first..first + count {
            let at_once = exec.is_some() || !visit.data;
            self.send(core, Message::Visit(id, visit.part.clone(), at_once));
        }
    }

    /// A visit's part came: it runs, or waits until nothing is lent.
    pub(super) fn visit_came(&mut self, from: usize, id: u64, part: VisitPart, at_once: bool) {
        if at_once || self.shard.reservations.is_idle() {
            self.visited_here(from, id, &part);
            return;
        }
        let claim = Claim {
            keys: Vec::new(),
            whole: true,
            write: true,
            watcher: None,
        };
        let claimant = Claimant::Visit(from, id, part);
        self.shard.claim(claim, claimant);
        self.run_ready();
    }

    /// Runs a visit's part here and answers.
    pub(super) fn visited_here(&mut self, from: usize, id: u64, part: &VisitPart) {
        self.lap_ns();
        let answer = self.run_part(part);
        let ns = self.lap_ns();
        self.send(from, Message::Visited(id, answer, ns));
    }

    fn run_part(&mut self, part: &VisitPart) -> Part {
        let config = Arc::clone(&self.config);
        let was_idle = self.tracking.is_idle();
        let answer = part(&mut self.view());
        if was_idle != self.tracking.is_idle() {
            self.weigh_listening();
        }
        if !Arc::ptr_eq(&config, &self.config) {
            self.apply_config();
        }
        self.close_marked();
        answer
    }

    /// Sessions that a visit marked for closing are handed to the owner of the sockets, those whose waiting is to end are
    /// answered.
    fn close_marked(&mut self) {
        for id in self.sessions.marked() {
            let mut session = self
                .sessions
                .take(id)
                .expect("a marked session is in its place");
            if let Some(how) = session.client.unblock.take() {
                self.sessions.put(session);
                self.unblock(id, how);
                continue;
            }
            self.touch(&mut session);
            self.sessions.put(session);
        }
    }

    /// A core answered. When it was the last, the reply is made.
    pub(super) fn visit_answered(&mut self, id: u64, from: usize, part: Part, ns: u64) {
        let pending = self
            .visits
            .get_mut(&id)
            .expect("a visit waits for its answers");
        pending.parts[from - pending.first] = Some(part);
        pending.parts_ns = pending.parts_ns.max(ns);
        pending.missing -= 1;
        if pending.missing > 0 {
            return;
        }
        let mut pending = self.visits.remove(&id).expect("it was there");
        let parts = std::mem::take(&mut pending.parts);
        self.merge_visit(pending, parts.into_iter().flatten().collect());
    }

    fn merge_visit(&mut self, pending: PendingVisit, parts: Vec<Part>) {
        let PendingVisit {
            line,
            ns,
            parts_ns,
            exec,
            merge,
            ..
        } = pending;
        self.lap_ns();
        let ticket = line.head.ticket;
        let id = SessionId::of(ticket);
        let mut session = self.sessions.take(id);
        // The client may have gone meanwhile; what it asked for goes on.
        let mut nobody = Client::new(0, self.now.wall_ms());
        let client = match &mut session {
            Some(session) => &mut session.client,
            None => &mut nobody,
        };
        let mut out = Output::default();
        let mut fault_text = None;
        let was_idle = self.tracking.is_idle();
        let flow = {
            let mut view = self.view();
            let proto = client.proto;
            let mut cx = ClientCx {
                line: Line::new(&[], &[], &[]),
                reply: Reply::new(&mut out, proto),
                client,
                core: &mut view,
            };
            match merge(parts, &mut cx) {
                Ok(flow) => flow,
                Err(fault) => {
                    cx.reply.error(fault.as_bytes());
                    fault_text = Some(fault);
                    Flow::Done
                }
            }
        };
        if was_idle != self.tracking.is_idle() {
            self.weigh_listening();
        }
        let failed = fault_text.is_some();
        if let Some(fault) = fault_text {
            self.stats.error(crate::shard::error_code(fault.as_bytes()));
        }
        let ns = ns + parts_ns + self.lap_ns();
        if let Some(mut session) = session {
            self.follow_client(&mut session);
            self.sessions.put(session);
        }
        match flow {
            Flow::Done => {
                self.stats.record(line.head.command, ns, failed);
                if ns >= self.slow_ns
                    && let Some(entry) = self.slow_entry(line.head.command, &line.line(), ns)
                {
                    self.keep_slow_of(ticket, entry);
                }
                match exec {
                    Some(exec) => self.exec_visited(exec, out),
                    None => {
                        let len = out.len();
                        self.answer(ticket, &out, 0..len);
                    }
                }
            }
            Flow::Visit(visit) => self.start_visit(line, ns, exec, visit),
            Flow::Watch | Flow::Exec | Flow::Follow(_) => {
                unreachable!("a visit ends with a reply")
            }
        }
    }
}
