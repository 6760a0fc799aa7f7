//! MULTI and EXEC: the queue of lines, and an EXEC whose keys have one owner.
//!
//! Such an EXEC is one plain call: at once when the owner is the own shard, else one message there and one back. All others
//! take their place in the order of transactions (`exec`).
//!
//! Invariants:
//! - A line is queued only after everything that may refuse it was asked; what refused one refuses EXEC.
//! - No line of another client runs between two lines of an EXEC on any shard that it touches.

use super::{Blocked, Core, Session};
use crate::command::{CommandId, Flow, ReplyMode, Run, flag};
use crate::log::LogStep;
use crate::mesh::{Claim, ExecLines, Head, Message, OwnedLine};
use crate::resp::{Line, Output, Proto, Reply};
use crate::shard::reserve::Claimant;
use crate::txn::Route;

/// Whose the keys of queued lines are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Owner {
    /// There are none.
    #[default]
    Nobody,
    /// One shard's.
    One(usize),
    /// Several shards', or a line needs more than its keys.
    Several,
}

impl Owner {
    fn add(&mut self, shard: usize) {
        *self = match *self {
            Owner::Nobody => Owner::One(shard),
            Owner::One(one) if one == shard => Owner::One(one),
            _ => Owner::Several,
        };
    }
}

/// The lines between MULTI and EXEC.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) lines: Vec<OwnedLine>,
    pub(super) bytes: usize,
    /// The flags of all commands.
    flags: u32,
    owner: Owner,
    /// Some line runs on the session's core.
    client_lines: bool,
}

impl Core {
    /// Queues a line between MULTI and EXEC.
    #[cold]
    pub(super) fn queue_line(&mut self, session: &mut Session, line: &Line<'_>, id: CommandId) {
        let registered = self.registry.get(id);
        let command = registered.command;
        if matches!(command.run, Run::Container) {
            self.reject_unknown(session, line);
            return;
        }
        if command.has(flag::NO_MULTI) {
            self.reject(session, id, "ERR Command not allowed inside a transaction");
            return;
        }
        // An EXEC that will be refused needs no lines.
        if !session.client.multi_failed {
            let mut head = Head {
                command: id,
                args: line.len() as u32,
                ..session.head()
            };
            let queue = session.queue.get_or_insert_default();
            queue.flags |= command.flags;
            if let Run::Keys(..) = command.run {
                match self.planner.route(registered, session.client.db, line) {
                    Route::Anywhere => {}
                    Route::One { shard, hash } => {
                        head.hash = hash;
                        queue.owner.add(shard);
                    }
                    Route::Several | Route::All => queue.owner = Owner::Several,
                }
            } else {
                queue.client_lines = true;
                // It may visit cores; those that are fast do not.
                if !command.has(flag::FAST) {
                    queue.owner = Owner::Several;
                }
            }
            let line = OwnedLine::new(head, line);
            queue.bytes += line.memory_bytes();
            queue.lines.push(line);
            session.client.multi = Some(queue.lines.len() as u32);
        }
        let proto = session.client.proto;
        session.reply(|out| Reply::new(out, proto).simple("QUEUED"));
    }

    /// Drops the queue and the watches of a session whose client has none any more.
    pub(super) fn follow_client(&mut self, session: &mut Session) {
        if session.client.multi.is_none() {
            session.queue = None;
        }
        if session.client.watching == 0 && session.watched.is_some() {
            self.end_watching(session);
        }
    }

    /// Starts an EXEC. False when it cannot start yet.
    pub(super) fn start_exec(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        id: CommandId,
    ) -> bool {
        let queue = session.queue.as_deref();
        let flags = queue.map_or(0, |queue| queue.flags);
        let may_change = flags & (flag::WRITE | flag::MAY_REPLICATE) != 0;
        if self.gated
            && flags & flag::WRITE != 0
            && !session.is_leader()
            && let Some(refusal) = self.refusal_of_writes()
        {
            self.reject(session, id, refusal);
            return true;
        }
        if may_change && self.is_paused_now() && !session.is_leader() {
            session.blocked = Blocked::Pause;
            session.client.blocked = true;
            self.wait_for_turn(session);
            return false;
        }
        let client_lines = queue.is_some_and(|queue| queue.client_lines);
        let mut owner = queue.map_or(Owner::Nobody, |queue| queue.owner);
        for &shard in session.watched.iter().flat_map(|watched| &watched.shards) {
            owner.add(shard);
        }
        match owner {
            Owner::Nobody => self.exec_now(session, id),
            Owner::One(shard) if shard == self.place.index => {
                if client_lines && !self.shard.reservations.is_idle() {
                    return self.start_exec_txn(session, line, id);
                }
                let claim = self.claim_of_queue(session);
                let reservations = &self.shard.reservations;
                if claim
                    .as_ref()
                    .is_none_or(|claim| reservations.admits(&claim.keys, claim.whole, claim.write))
                {
                    self.exec_now(session, id);
                } else if let Some(claim) = claim {
                    let exec = self.pack_exec(session, line, id, shard);
                    self.shard.claim(claim, Claimant::Exec(shard, exec));
                }
            }
            Owner::One(shard) if !client_lines => {
                if self.outboxes[shard].is_full() {
                    session.blocked = Blocked::Outbox(shard);
                    self.wait_for_turn(session);
                    return false;
                }
                let exec = self.pack_exec(session, line, id, shard);
                self.send(shard, Message::Exec(exec));
            }
            _ => return self.start_exec_txn(session, line, id),
        }
        true
    }

    /// What the queued lines, all for the own shard, would have to reserve there; `None` when nothing is reserved.
    fn claim_of_queue(&mut self, session: &Session) -> Option<Claim> {
        if self.shard.reservations.is_idle() {
            return None;
        }
        let lines = session.queue.iter().flat_map(|queue| &queue.lines);
        let lines = lines.map(|line| (&line.head, line.line()));
        let watcher = session.watched.is_some().then_some(session.client.id);
        Some(self.shard.claim_of_exec(self.registry, lines, watcher))
    }

    /// Runs all lines now: everything is here, and nothing is reserved.
    fn exec_now(&mut self, session: &mut Session, id: CommandId) {
        let start_ticks = self.last_ticks;
        let lines = session.end_multi();
        let broken = session.watched.is_some() && self.end_watch_here(session.client.id);
        session.watched = None;
        session.client.watching = 0;
        let shows = |session: &Session| {
            matches!(
                session.client.reply_mode,
                ReplyMode::On | ReplyMode::SkipNext
            )
        };
        let mut out = std::mem::take(&mut self.exec_out);
        let mut reply = Reply::new(&mut out, session.client.proto);
        match (shows(session), broken) {
            (false, _) => {}
            (true, true) => reply.null_array(),
            (true, false) => reply.array(lines.len()),
        }
        if !broken {
            self.shard.lane.begin_unit();
            self.prefetch(&lines);
            let mut hidden = Output::default();
            for owned in &lines {
                let line = owned.line();
                let command = self.registry.get(owned.head.command).command;
                let into = if shows(session) {
                    &mut out
                } else {
                    &mut hidden
                };
                match command.run {
                    Run::Client(handler) => {
                        let mut own = Output::default();
                        session.client.executing = true;
                        let (flow, _) = self.call_client(
                            &mut session.client,
                            &line,
                            owned.head.command,
                            handler,
                            &mut own,
                        );
                        session.client.executing = false;
                        debug_assert!(matches!(flow, Flow::Done), "a fast command visits nobody");
                        if shows(session) {
                            out.append(&mut own);
                        }
                    }
                    _ => {
                        let head = Head {
                            command: owned.head.command,
                            args: owned.head.args,
                            hash: owned.head.hash,
                            ..session.head()
                        };
                        let ran = self.run_here(self.place.index, &head, &line, into);
                        if ran.ns >= self.slow_ns {
                            self.note_slow(&session.client, owned.head.command, &line, ran.ns);
                        }
                    }
                }
                if self.monitored {
                    self.feed_monitors(&session.client, command, &line);
                }
                hidden.clear();
            }
            self.shard.lane.end_unit();
            self.begin_rounds();
        }
        self.stats
            .record(id, self.last_ticks.saturating_sub(start_ticks), false);
        session.stage(&out, 0..out.len());
        out.clear();
        self.exec_out = out;
        if self.has_news() {
            self.send_news(Some(session));
        }
    }

    /// Fetches the places of the first lines' keys.
    fn prefetch(&self, lines: &[OwnedLine]) {
        const AHEAD: usize = 16;
        let ahead = &lines[..lines.len().min(AHEAD)];
        if ahead.len() > 1 {
            for line in ahead {
                self.shard
                    .prefetch_bucket(line.head.db as usize, line.head.hash);
            }
            for line in ahead {
                self.shard
                    .prefetch_entry(line.head.db as usize, line.head.hash);
            }
        }
    }

    /// The lines for one owner, and a slot for their reply.
    fn pack_exec(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        id: CommandId,
        shard: usize,
    ) -> Box<ExecLines> {
        let lines = session.end_multi();
        let ticket = session.pend();
        let mut batch = self.outboxes[shard].spare();
        let own = session.head();
        for line in &lines {
            let head = Head {
                command: line.head.command,
                args: line.head.args,
                hash: line.head.hash,
                ticket,
                ..own
            };
            batch.push(head, &line.line());
        }
        let watching = session.watched.take().is_some();
        session.client.watching = 0;
        if watching {
            // A WATCH behind this line must not be taken for one before it.
            session.blocked = Blocked::Away;
        }
        Box::new(ExecLines {
            ticket,
            command: id,
            ticks: self.last_ticks,
            resp3: own.resp3,
            watcher: watching.then_some(session.client.id),
            broken: false,
            lines: batch,
            shown: self.show_later(session, line, id),
        })
    }

    /// EXEC as monitors will be shown it when its lines have run, if there are monitors.
    pub(super) fn show_later(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        id: CommandId,
    ) -> Option<Box<OwnedLine>> {
        session.shown_later = self.monitored;
        let head = Head {
            command: id,
            ..session.head()
        };
        self.monitored.then(|| Box::new(OwnedLine::new(head, line)))
    }

    /// An EXEC for the own shard, of a session of the core `from`: it runs, or waits until its keys are free.
    pub(super) fn exec_arrived(&mut self, from: usize, exec: Box<ExecLines>) {
        if !self.shard.reservations.is_idle() {
            let lines = exec.lines.lines();
            let claim = self.shard.claim_of_exec(self.registry, lines, exec.watcher);
            let reservations = &mut self.shard.reservations;
            if !reservations.admits(&claim.keys, claim.whole, claim.write) {
                self.shard.claim(claim, Claimant::Exec(from, exec));
                return;
            }
        }
        self.run_exec(from, exec);
    }

    /// Runs an EXEC on the own shard, which nobody else touches meanwhile.
    pub(super) fn run_exec(&mut self, from: usize, mut exec: Box<ExecLines>) {
        exec.broken = exec
            .watcher
            .is_some_and(|client| self.end_watch_here(client));
        if !exec.broken {
            self.shard.lane.begin_unit();
            self.run_lines(from, &mut exec.lines);
            self.shard.lane.end_unit();
            self.begin_rounds();
        }
        if from == self.place.index {
            self.executed(from, *exec);
        } else {
            self.send(from, Message::Executed(exec));
        }
    }

    /// Runs the lines of one EXEC of a session of the core `from` one after the other, with nothing in between.
    pub(super) fn run_lines(&mut self, from: usize, batch: &mut crate::mesh::Batch) {
        let (lines, replies) = batch.parts();
        let mut first = 0;
        for head in lines.heads {
            let line = lines.line(first, head.args as usize);
            first += head.args as usize;
            let before = replies.out.len();
            self.shard.lane.set_step(LogStep::of(head.ticket.line));
            let ran = self.run_here(from, head, &line, replies.out);
            replies.lens.push(replies.out.len() - before);
            if ran.ns >= self.slow_ns
                && let Some(entry) = self.slow_entry(head.command, &line, ran.ns)
            {
                replies.slow.push((replies.lens.len() - 1, entry));
            }
        }
    }

    /// An EXEC of this core's session `ticket` was run by its one owner.
    pub(super) fn executed(&mut self, from: usize, mut exec: ExecLines) {
        let proto = if exec.resp3 {
            Proto::Resp3
        } else {
            Proto::Resp2
        };
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, proto);
        if exec.broken {
            reply.null_array();
        } else {
            reply.array(exec.lines.heads.len());
            out.append(&mut exec.lines.replies);
        }
        for (_, entry) in exec.lines.slow.drain(..) {
            self.keep_slow_of(exec.ticket, entry);
        }
        self.end_exec_stats(exec.command, exec.ticks);
        if let Some(shown) = &exec.shown {
            for (head, line) in exec.lines.lines().filter(|_| !exec.broken) {
                self.show_line(exec.ticket, head, &line);
            }
            self.show_line(exec.ticket, &shown.head, &shown.line());
        }
        let len = out.len();
        self.answer(exec.ticket, &out, 0..len);
        self.outboxes[from].recycle(exec.lines);
    }

    /// An EXEC that began at `ticks` has ended.
    pub(super) fn end_exec_stats(&mut self, id: CommandId, ticks: u64) {
        let now = (self.ticks)();
        self.stats.record(id, now.saturating_sub(ticks), false);
    }

    /// Shows a line that ran elsewhere to the monitors, while its client is there.
    pub(super) fn show_line(&mut self, ticket: crate::mesh::Ticket, head: &Head, line: &Line<'_>) {
        let id = super::SessionId::of(ticket);
        if let Some(session) = self.sessions.take(id) {
            let command = self.registry.get(head.command).command;
            let own = head.db as usize;
            self.feed_monitors_in(own, &session.client, command, line);
            self.sessions.put(session);
        }
    }
}

impl Session {
    /// The head of a line that runs now.
    pub(super) fn head(&self) -> Head {
        Head {
            ticket: self.next_ticket(),
            command: 0,
            db: self.client.db as u16,
            resp3: self.client.proto == Proto::Resp3,
            no_touch: self.client.no_touch,
            tracks: self.client.tracks_reads(),
            may_block: false,
            leader: self.client.leader,
            args: 0,
            hash: 0,
        }
    }

    /// Leaves MULTI with the queued lines.
    pub(super) fn end_multi(&mut self) -> Vec<OwnedLine> {
        self.client.multi = None;
        self.queue
            .take()
            .map(|queue| queue.lines)
            .unwrap_or_default()
    }
}
