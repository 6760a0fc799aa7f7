//! The session core's side of an EXEC over several owners, step by step, and the shard's side of its hops.
//!
//! The plan and the order of the steps are [`Exec`]'s. Once ordered it runs to its end, whether its client is still there or
//! not; what remains of it then runs with nobody's client.

use super::{Blocked, Core, Session, SessionId, Slot};
use crate::command::{Client, CommandId, Flow, ReplyMode, Run, Visit};
use crate::keyspace::OwnedEntry;
use crate::log::LogStep;
use crate::mesh::{Batch, Head, Message, OwnedLine, TxnId};
use crate::resp::{Line, Output, Proto, Reply};
use crate::txn::{Exec, Start, Step};

impl Core {
    /// Starts an EXEC over several owners once all lines before it are answered. False when it must wait for them.
    pub(super) fn start_exec_txn(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        id: CommandId,
    ) -> bool {
        if !session.slots.is_empty() {
            session.blocked = Blocked::Drain;
            return false;
        }
        let head = Head {
            command: id,
            ..session.head()
        };
        session.pend();
        // What is shown of the reply is decided line by line.
        if let Some(Slot::Pending { silent }) = session.slots.back_mut() {
            *silent = false;
        }
        session.blocked = Blocked::Away;
        let shown = self.show_later(session, line, id).is_some();
        let watched = session.watched.take();
        session.client.watching = 0;
        let start = Start {
            exec: OwnedLine::new(head, line),
            lines: session.end_multi(),
            watched: watched.map(|watched| watched.marks).unwrap_or_default(),
            client: session.client.id,
            silent: session.client.reply_mode == ReplyMode::Skip,
            ticks: self.last_ticks,
            place: self.place,
            shown,
        };
        let databases = self.config.databases;
        let (exec, claims) = Exec::new(start, self.registry, &mut self.planner, databases);
        let id = self.order_granting(claims);
        self.execs.insert(id.number, exec);
        true
    }

    fn exec(&mut self, id: TxnId) -> &mut Exec {
        debug_assert_eq!(id.core as usize, self.place.index);
        self.execs
            .get_mut(&id.number)
            .expect("a transaction lives until its last answer")
    }

    /// A shard granted one of this core's EXECs.
    pub(super) fn exec_granted(&mut self, id: TxnId, broken: bool) {
        if !self.exec(id).granted(broken) {
            return;
        }
        let shown = self.shows(id);
        let exec = self.exec(id);
        if !exec.is_broken() {
            exec.begin_reply(shown);
            self.go_on(id);
            return;
        }
        let messages = exec.release(id);
        if shown {
            let proto = exec.proto();
            Reply::new(&mut exec.out, proto).null_array();
        }
        self.send_all(messages);
        self.end_exec(id, false);
    }

    /// Does the steps of an EXEC up to one that waits for others.
    fn go_on(&mut self, id: TxnId) {
        loop {
            let (registry, outboxes) = (self.registry, &mut self.outboxes);
            let exec = self
                .execs
                .get_mut(&id.number)
                .expect("a transaction lives until its last answer");
            match exec.step(id, registry, |shard| outboxes[shard].spare()) {
                Step::Client(index) => {
                    if let Some((line, ns, visit)) = self.exec_client(id, index) {
                        self.start_visit(line, ns, Some(id), visit);
                        return;
                    }
                }
                Step::Wait(messages) => {
                    self.send_all(messages);
                    return;
                }
                Step::Done(messages) => {
                    self.send_all(messages);
                    self.end_exec(id, true);
                    return;
                }
            }
        }
    }

    fn send_all(&mut self, messages: Vec<(usize, Message)>) {
        for (shard, message) in messages {
            self.send(shard, message);
        }
    }

    /// Runs a line of an EXEC with its client. Returns the visit that it asks for, with the line and the time that it took.
    fn exec_client(&mut self, id: TxnId, index: usize) -> Option<(OwnedLine, u64, Visit)> {
        let exec = self.exec(id);
        let mut owned = exec.lines[index].clone();
        owned.head.ticket = exec.ticket();
        let session_id = SessionId::of(exec.ticket());
        let (db, proto) = (exec.exec.head.db as usize, exec.proto());
        let Run::Client(handler) = self.registry.get(owned.head.command).command.run else {
            unreachable!("other lines run on shards");
        };
        let mut session = self.sessions.take(session_id);
        if let Some(session) = &mut session
            && self.registry.get(owned.head.command).parent.is_some()
        {
            session.measure();
        }
        let mut nobody = Client::new(0, self.now.wall_ms());
        (nobody.db, nobody.proto) = (db, proto);
        let client = match &mut session {
            Some(session) => &mut session.client,
            None => &mut nobody,
        };
        client.executing = true;
        let mut out = Output::default();
        let (flow, ns) =
            self.call_client(client, &owned.line(), owned.head.command, handler, &mut out);
        client.executing = false;
        let head = Head {
            db: client.db as u16,
            resp3: client.proto == Proto::Resp3,
            no_touch: client.no_touch,
            tracks: client.tracks_reads(),
            ..self.exec(id).exec.head
        };
        self.exec(id).exec.head = head;
        if let Some(session) = session {
            self.sessions.put(session);
        }
        match flow {
            Flow::Visit(visit) => Some((owned, ns, visit)),
            Flow::Done => {
                self.add_reply(id, &mut out);
                None
            }
            Flow::Watch | Flow::Exec | Flow::Follow(_) => unreachable!("such lines are not queued"),
        }
    }

    /// A visit that a line of an EXEC asked for is over.
    pub(super) fn exec_visited(&mut self, id: TxnId, mut out: Output) {
        self.add_reply(id, &mut out);
        self.go_on(id);
    }

    fn add_reply(&mut self, id: TxnId, out: &mut Output) {
        if self.shows(id) {
            self.exec(id).out.append(out);
        }
    }

    /// The EXEC's client sees replies now.
    fn shows(&mut self, id: TxnId) -> bool {
        let exec = self.exec(id);
        let (silent, session) = (exec.silent, SessionId::of(exec.ticket()));
        let mode = self
            .sessions
            .get(session)
            .map_or(ReplyMode::Off, |session| session.client.reply_mode);
        !silent && matches!(mode, ReplyMode::On | ReplyMode::SkipNext)
    }

    /// Lines of an EXEC for the own shard, which has granted it.
    pub(super) fn exec_hop(&mut self, id: TxnId, mut lines: Box<Batch>, release: bool) {
        self.enter(id, LogStep::default());
        self.run_lines(id.core as usize, &mut lines);
        self.shard.lane.leave();
        self.send(
            id.core as usize,
            Message::Hopped(id, self.place.index as u16, lines),
        );
        if release {
            self.txn_release(id);
        }
    }

    /// A shard ran its lines of a hop of one of this core's EXECs.
    pub(super) fn exec_hopped(&mut self, id: TxnId, shard: u16, lines: Box<Batch>) {
        if !self.exec(id).hopped(shard, lines) {
            return;
        }
        let shown = self.shows(id);
        let exec = self.exec(id);
        let ticket = exec.ticket();
        for (shard, mut batch) in exec.end_hop(shown) {
            for (_, entry) in batch.slow.drain(..) {
                self.keep_slow_of(ticket, entry);
            }
            self.outboxes[shard].recycle(batch);
        }
        self.go_on(id);
    }

    /// A shard lent its entries for a line of an EXEC.
    pub(super) fn exec_lent(&mut self, id: TxnId, shard: u16, entries: Vec<Option<OwnedEntry>>) {
        let Some(mut txn) = self.exec(id).lent(shard, entries) else {
            return;
        };
        if self.follow(id, &mut txn) {
            self.exec(id).lends_further(txn);
            return;
        }
        self.exec(id).ran_lent();
        let out = self.run_lent(id, &mut txn, false);
        let mut out = out.expect("a line of an EXEC does not wait");
        self.add_reply(id, &mut out);
        self.go_on(id);
    }

    /// The last line of an EXEC has run, or none may.
    fn end_exec(&mut self, id: TxnId, ran: bool) {
        let exec = self.execs.remove(&id.number).expect("it was there");
        self.end_exec_stats(exec.exec.head.command, exec.ticks);
        let ticket = exec.ticket();
        if let Some(session) = self.sessions.get(SessionId::of(ticket))
            && session.client.reply_mode == ReplyMode::SkipNext
        {
            session.client.reply_mode = ReplyMode::Skip;
        }
        if exec.shown {
            for line in exec.lines.iter().filter(|_| ran) {
                self.show_line(ticket, &line.head, &line.line());
            }
            self.show_line(ticket, &exec.exec.head, &exec.exec.line());
        }
        let len = exec.out.len();
        self.answer(ticket, &exec.out, 0..len);
    }
}
