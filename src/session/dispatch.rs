//! From bytes to lines to the place where each line runs.
//!
//! Lines are parsed in windows: first all lines of a window, then the fetching of all their keys' places in the table, then
//! the running. A line that cannot start yet is kept as a copy, with all lines behind it.

use std::ops::Range;

use super::{Blocked, Core, Session};
use crate::command::pubsub::replies_with_pushes;
use crate::command::{
    Client, ClientCx, ClientHandler, Close, CommandId, Flow, ReplyMode, Run, flag,
};
use crate::mesh::{Head, OwnedLine, Ticket};
use crate::resp::{Arguments, Line, Output, Parsed, ProtocolError, Reply};
use crate::txn::Route;

/// Lines whose keys are fetched together.
const WINDOW: usize = 16;
/// An entry is fetched this many lines after its bucket.
const BUCKET_LINES_AHEAD: usize = 6;
/// Lines that a session runs in one turn.
const TURN_LINES_MAX: usize = 1024;
/// Lines of one session that may be under way on other cores.
const UNDER_WAY_MAX: usize = 16 * 1024;

/// One parsed line of a window.
struct Planned {
    spans: Range<usize>,
    command: Option<CommandId>,
    /// Where it runs, when that is plain before it runs: one key.
    route: Option<Route>,
}

/// Scratch space for parsing, one per core.
#[derive(Default)]
pub struct Window {
    args: Arguments,
    lines: Vec<Planned>,
    /// Replies of client commands are made here.
    out: Output,
}

impl Core {
    /// Runs the whole lines of `input`, as many as may run in this turn. Returns the bytes done with; the parser
    /// keeps what it knows of an unfinished line.
    pub(super) fn process(&mut self, session: &mut Session, input: &[u8]) -> usize {
        let mut window = std::mem::take(&mut self.window);
        let mut at = 0;
        let mut run = 0;
        session.lines_wait = true;
        while run < TURN_LINES_MAX && session.may_parse() {
            let parsed = self.fill(&mut window, session, input, &mut at);
            let count = window.lines.len();
            run += count;
            for index in 0..count {
                let planned = &window.lines[index];
                let line = window.args.line(input, planned.spans.clone());
                let runs = session.may_run()
                    && self.dispatch(
                        session,
                        &line,
                        planned.command,
                        planned.route,
                        &mut window.out,
                    );
                if !runs {
                    self.keep_lines(&window, index, session, input);
                    break;
                }
                session.note_started();
            }
            match parsed {
                Ok(true) => {}
                Ok(false) => {
                    session.lines_wait = false;
                    break;
                }
                Err(error) => {
                    if !session.queued.is_empty() {
                        session.broken = Some(error);
                    } else if session.client.close.is_none() {
                        self.protocol_error(session, error);
                    }
                    at = input.len();
                    break;
                }
            }
        }
        if session.client.close.is_some() {
            at = input.len();
        }
        window.args.clear();
        window.lines.clear();
        self.window = window;
        at
    }

    /// Parses the next window and fetches its keys' places. False when the input has no further whole line.
    fn fill(
        &mut self,
        window: &mut Window,
        session: &mut Session,
        input: &[u8],
        at: &mut usize,
    ) -> Result<bool, ProtocolError> {
        window.args.clear();
        window.lines.clear();
        self.limits.unauthenticated = !session.client.authenticated;
        // A client that is not known yet may become known by its next line.
        let lines_max = if session.client.authenticated {
            WINDOW
        } else {
            1
        };
        let mut more = Ok(true);
        while window.lines.len() < lines_max {
            let first = window.args.spans.len();
            match session
                .parser
                .next(input, at, &self.limits, &mut window.args)
            {
                Ok(Parsed::Line) => {}
                Ok(Parsed::Empty) => continue,
                Ok(Parsed::Incomplete) => {
                    more = Ok(false);
                    break;
                }
                Err(error) => {
                    more = Err(error);
                    break;
                }
            }
            if let Some(applying) = &mut session.applying {
                applying.parsed(input.len() - *at);
            }
            let spans = first..window.args.spans.len();
            let line = window.args.line(input, spans.clone());
            let command = self.registry.resolve(&line);
            let mut route = None;
            if let Some(id) = command {
                let registered = self.registry.get(id);
                if registered.only_key.is_some() {
                    let planned = self.planner.route(registered, session.client.db, &line);
                    if let Route::One { shard, hash } = planned
                        && shard == self.place.index
                    {
                        self.shard.prefetch_bucket(session.client.db, hash);
                    }
                    route = Some(planned);
                }
            }
            window.lines.push(Planned {
                spans,
                command,
                route,
            });
            // By now the bucket that was asked for some lines ago is there.
            if let Some(ago) = window.lines.len().checked_sub(BUCKET_LINES_AHEAD + 1) {
                self.prefetch_planned(session, &window.lines[ago]);
            }
        }
        if window.lines.len() > 1 {
            let fetched = window.lines.len().saturating_sub(BUCKET_LINES_AHEAD);
            for planned in &window.lines[fetched..] {
                self.prefetch_planned(session, planned);
            }
        }
        more
    }

    /// Fetches the entry of a planned line, if it is the own shard's.
    #[inline]
    fn prefetch_planned(&self, session: &Session, planned: &Planned) {
        if let Some(Route::One { shard, hash }) = planned.route
            && shard == self.place.index
        {
            self.shard.prefetch_entry(session.client.db, hash);
        }
    }

    /// Keeps the lines of the window from `index` on: they run later.
    fn keep_lines(&self, window: &Window, index: usize, session: &mut Session, input: &[u8]) {
        if session.client.close.is_some() {
            return;
        }
        for planned in &window.lines[index..] {
            let line = window.args.line(input, planned.spans.clone());
            session.queued.push_back(OwnedLine::new(idle_head(), &line));
        }
    }

    /// Runs lines that were parsed earlier, until one cannot start.
    pub(super) fn run_queued(&mut self, session: &mut Session) {
        let mut out = Output::default();
        while session.may_run()
            && let Some(owned) = session.queued.pop_front()
        {
            let line = owned.line();
            let command = self.registry.resolve(&line);
            if !self.dispatch(session, &line, command, None, &mut out) {
                session.queued.push_front(owned);
                break;
            }
            session.note_started();
        }
        if session.client.close.is_some() {
            session.queued.clear();
        } else if session.queued.is_empty()
            && let Some(error) = session.broken.take()
        {
            self.protocol_error(session, error);
        }
    }

    /// Starts a line. False when it cannot start yet: the session is blocked, and the line must be kept.
    #[inline]
    fn dispatch(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        command: Option<CommandId>,
        route: Option<Route>,
        out: &mut Output,
    ) -> bool {
        let Some(id) = command else {
            self.reject_unknown(session, line);
            session.pass_line();
            return true;
        };
        let registry = self.registry;
        let registered = registry.get(id);
        let command = registered.command;
        if (!command.arity_holds(line.len())
            || !session.client.authenticated
            || command.has(flag::PROTECTED)
            || session.client.subscriptions.is_some()
            || self.gated)
            && let Some(refusal) = self.refusal(session, command, line)
        {
            self.reject(session, id, &refusal);
            session.pass_line();
            return true;
        }
        if (self.switches.pause != crate::command::Pause::Off
            || self.switches.standing.holds_writes())
            && !session.is_leader()
            && self.pauses(command)
        {
            session.blocked = Blocked::Pause;
            session.client.blocked = true;
            self.wait_for_turn(session);
            return false;
        }
        session.client.last_command = Some(command);
        if session.client.multi.is_some() && !command.has(flag::UNQUEUED) {
            self.queue_line(session, line, id);
            session.pass_line();
            return true;
        }
        let started = match command.run {
            Run::Keys(..) => {
                let route = match route {
                    Some(route) => route,
                    None => self.planner.route(registered, session.client.db, line),
                };
                self.start_keys(session, line, id, route)
            }
            Run::Client(_) if command.has(flag::PUBSUB) && self.holds_back(session) => false,
            Run::Client(handler) => self.run_client(session, line, id, handler, out),
            Run::Container => {
                self.reject_unknown(session, line);
                return true;
            }
        };
        if !started {
            return false;
        }
        session.client.commands += 1;
        if self.monitored && !std::mem::take(&mut session.shown_later) {
            self.feed_monitors(&session.client, command, line);
        }
        if session.client.tracking.is_some() && session.blocked != Blocked::Away {
            session.client.end_line();
        }
        session.pass_line();
        true
    }

    /// Starts a keys command where its keys are.
    #[inline]
    fn start_keys(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        id: CommandId,
        route: Route,
    ) -> bool {
        let (shard, hash) = match route {
            Route::One { shard, hash } => (shard, hash),
            Route::Anywhere => (self.place.index, 0),
            Route::Several | Route::All => return self.start_txn(session, line, id),
        };
        let mut head = Head {
            command: id,
            may_block: !session.is_leader(),
            args: line.len() as u32,
            hash,
            ..session.head()
        };
        if shard != self.place.index {
            if self.outboxes[shard].is_full() {
                session.blocked = Blocked::Outbox(shard);
                self.wait_for_turn(session);
                return false;
            }
            head.ticket = session.pend();
            self.outboxes[shard].push_line(head, line);
            self.hold_behind(session, id);
            return true;
        }
        if !self.shard.reservations.is_idle() && !self.admits_here(&head, line) {
            session.pend();
            self.wait_here(self.place.index, OwnedLine::new(head, line));
            self.hold_behind(session, id);
            return true;
        }
        let own = self.place.index;
        let ran = session.reply(|out| self.run_here(own, &head, line, out));
        if ran.blocked {
            head.ticket = session.pend();
            let wait = self.wait_for_keys(own, &head, line);
            self.begin_waiting(session, wait);
            return true;
        }
        if self.shard.effects.listening && self.has_news() {
            self.send_news(Some(session));
        }
        if ran.ns >= self.slow_ns {
            self.note_slow(&session.client, id, line, ran.ns);
        }
        true
    }

    /// Nothing behind a line runs that may have to wait for keys, until it is known whether it does.
    #[inline]
    fn hold_behind(&self, session: &mut Session, id: CommandId) {
        if self.registry.get(id).command.has(flag::BLOCKING) {
            session.blocked = Blocked::Away;
        }
    }

    /// Runs a client command, and begins what it asks for.
    fn run_client(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        id: CommandId,
        handler: ClientHandler,
        out: &mut Output,
    ) -> bool {
        out.clear();
        if self.registry.get(id).parent.is_some() {
            // CLIENT INFO shows what its own session holds.
            session.measure();
        }
        let pushes = replies_with_pushes(self.registry.get(id).command);
        let (flow, ns) = self.call_client(&mut session.client, line, id, handler, out);
        match flow {
            Flow::Done => {
                if pushes {
                    session.stage(out, 0..out.len());
                } else {
                    session.stage_reply(out);
                }
                if self.has_news() {
                    self.send_news(Some(session));
                }
            }
            Flow::Visit(visit) => {
                let head = Head {
                    ticket: session.pend_reply(pushes),
                    command: id,
                    ..idle_head()
                };
                session.blocked = Blocked::Away;
                self.start_visit(OwnedLine::new(head, line), ns, None, visit);
            }
            Flow::Watch => return self.start_watch(session, line),
            Flow::Exec => return self.start_exec(session, line, id),
            Flow::Follow(request) => {
                if !session.slots.is_empty() {
                    session.blocked = Blocked::Drain;
                    return false;
                }
                session.blocked = Blocked::Away;
                session.handoff = Some(request);
                self.touch(session);
            }
        }
        if session.queue.is_some() || session.watched.is_some() {
            self.follow_client(session);
        }
        true
    }

    /// Calls a client command's handler, with all that counts and times it, unless it goes on elsewhere. Returns the time
    /// too, nanoseconds.
    pub(super) fn call_client(
        &mut self,
        client: &mut Client,
        line: &Line<'_>,
        id: CommandId,
        handler: ClientHandler,
        out: &mut Output,
    ) -> (Flow, u64) {
        let mut failed = false;
        let mut code = None;
        let was_monitor = client.monitor;
        let was_idle = self.tracking.is_idle();
        let flow = {
            let mut view = self.view();
            let mut cx = ClientCx {
                line: *line,
                reply: Reply::new(out, client.proto),
                client,
                core: &mut view,
            };
            match handler(&mut cx) {
                Ok(flow) => flow,
                Err(fault) => {
                    cx.reply.error(fault.as_bytes());
                    code = Some(fault);
                    failed = true;
                    Flow::Done
                }
            }
        };
        if let Some(fault) = code {
            self.stats.error(crate::shard::error_code(fault.as_bytes()));
        }
        if was_idle != self.tracking.is_idle() {
            self.weigh_listening();
        }
        match (was_monitor, client.monitor) {
            (false, true) => self.monitors_changed(1),
            (true, false) => self.monitors_changed(-1),
            _ => {}
        }
        if matches!(flow, Flow::Exec) {
            // It is counted when its lines have run.
            return (flow, 0);
        }
        let ns = self.lap_ns();
        if !matches!(flow, Flow::Visit(_)) {
            self.stats.record(id, ns, failed);
            if ns >= self.slow_ns {
                self.note_slow(client, id, line, ns);
            }
        }
        (flow, ns)
    }

    /// Answers a protocol error, after which the connection is of no use.
    fn protocol_error(&mut self, session: &mut Session, error: ProtocolError) {
        let mut out = Output::default();
        Reply::new(&mut out, session.client.proto).error(error.message());
        self.stats.error("ERR");
        session.stage_reply(&out);
        session.client.close(Close::AfterReply);
    }
}

impl Session {
    /// Further lines may be parsed.
    #[inline]
    pub(super) fn may_parse(&self) -> bool {
        self.may_run() && self.queued.is_empty() && self.slots.len() < UNDER_WAY_MAX
    }

    /// Further lines may be run.
    #[inline]
    fn may_run(&self) -> bool {
        self.blocked == Blocked::No && self.client.close.is_none()
    }

    /// A line has had its turn: what CLIENT REPLY said about it is over.
    #[inline]
    fn pass_line(&mut self) {
        if self.client.reply_mode != ReplyMode::On {
            self.client.reply_mode = match self.client.reply_mode {
                ReplyMode::SkipNext => ReplyMode::Skip,
                ReplyMode::Skip => ReplyMode::On,
                other => other,
            };
        }
    }

    /// It has lines that may be run.
    pub(super) fn can_go_on(&self) -> bool {
        self.may_run()
            && (!self.queued.is_empty() || (self.lines_wait && self.slots.len() < UNDER_WAY_MAX))
    }

    /// The ticket that [`Session::pend`] would give.
    pub(super) fn next_ticket(&self) -> Ticket {
        Ticket {
            session: self.id.slot,
            generation: self.id.generation,
            line: self.first_line.wrapping_add(self.slots.len() as u32),
        }
    }

    /// Adds a finished reply in its place, unless replies are off.
    pub(super) fn stage_reply(&mut self, reply: &Output) {
        if self.client.reply_mode == ReplyMode::On {
            self.stage(reply, 0..reply.len());
        }
    }
}

/// The head of a line that is kept before it is planned.
fn idle_head() -> Head {
    Head {
        ticket: Ticket {
            session: 0,
            generation: 0,
            line: 0,
        },
        command: 0,
        db: 0,
        resp3: false,
        no_touch: false,
        tracks: false,
        may_block: false,
        leader: false,
        args: 0,
        hash: 0,
    }
}
