//! Everything that one core owns, as a plain state machine: its shard, its sessions, its transactions and visits, and what
//! it has to say to other cores. Bytes and messages go in, bytes and messages come out; sockets and rings are the
//! server's, or a simulation's.
//!
//! A turn: [`Core::read`] and [`Core::deliver`] for all that came in, then [`Core::turn`] once, then the owner sends what
//! [`Core::next_touched`] sessions and [`Core::outbox`]es hold.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;

use super::blocking::{Deadline, NewWait};
use super::dispatch::Window;
use super::serving::Round;
use super::visits::PendingVisit;
use super::{Blocked, Session, SessionId, Sessions};
use crate::command::replicating::{Role, Standing};
use crate::command::{Client, Close, Node, Now, Os, Place, Registry, Switches};
use crate::config::Config;
use crate::keyspace::{KeyHasher, Keyspace};
use crate::log::LogStep;
use crate::mesh::{Claim, Message, Outbox, Ticket, TxnId};
use crate::pubsub::{self, Subscriber};
use crate::resp::{Limits, Output};
use crate::shard::Shard;
use crate::shard::reserve::{ClaimId, Claimant};
use crate::stats::CoreStats;
use crate::tracking;
use crate::txn::{Exec, Planner, Txn};

/// What a core is built from.
pub struct CoreOptions {
    /// The shard's place.
    pub place: Place,
    /// The core that orders transactions; its number follows those of the shards.
    pub orderer: usize,
    /// All commands.
    pub registry: &'static Registry,
    /// The parameters.
    pub config: Arc<Config>,
    /// Facts about the node.
    pub node: Arc<Node>,
    /// The hash of keys, the same on every core.
    pub hasher: KeyHasher,
    /// The operating system.
    pub os: Box<dyn Os>,
    /// A clock for durations, nanoseconds.
    pub ticks: fn() -> u64,
}

/// Where a connection comes from.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Unique in the node, rising.
    pub id: u64,
    /// The peer's address.
    pub addr: String,
    /// The local address.
    pub laddr: String,
    /// The file descriptor.
    pub fd: i32,
    /// It came over the unix socket.
    pub unix: bool,
    /// It came from the loopback interface or the unix socket.
    pub local: bool,
    /// A handle of the transport, given back with the session.
    pub handle: u64,
}

/// One core.
pub struct Core {
    pub(super) place: Place,
    pub(super) orderer: usize,
    pub(super) registry: &'static Registry,
    pub(super) config: Arc<Config>,
    pub(super) node: Arc<Node>,
    pub(super) os: Box<dyn Os>,
    pub(super) ticks: fn() -> u64,
    pub(super) last_ticks: u64,
    pub(super) now: Now,
    pub(super) shard: Shard,
    /// Lent entries live here while their line runs.
    pub(super) scratch: Shard,
    pub(super) sessions: Sessions,
    pub(super) stats: CoreStats,
    pub(super) switches: Switches,
    /// Who listens to what.
    pub(super) pubsub: pubsub::Tables,
    /// Who must be told when which key changes.
    pub(super) tracking: tracking::Tables,
    /// Scratch space: whom a publication is for.
    pub(super) receivers: Vec<Subscriber>,
    pub(super) planner: Planner,
    pub(super) window: Window,
    /// What a session may send, from the parameters.
    pub(super) limits: Limits,
    /// The node's state may keep lines from running.
    pub(super) gated: bool,
    /// A line that takes this long is noted.
    pub(super) slow_ns: u64,
    pub(super) outboxes: Vec<Outbox>,
    /// Messages to this core itself: delivered within the turn.
    pub(super) own: VecDeque<Message>,
    pub(super) txns: HashMap<u64, Txn>,
    /// EXECs over several owners, numbered with the others.
    pub(super) execs: HashMap<u64, Exec>,
    pub(super) next_txn: u64,
    pub(super) snapshot: super::snapshot::Sending,
    /// The session of the leader's stream, and how many there have been.
    pub(super) leader: Option<SessionId>,
    pub(super) next_leader: u64,
    /// Cores whose lines for this shard have all arrived.
    pub(super) swept: usize,
    /// The claim of the cut that holds the shard.
    pub(super) cut: Option<ClaimId>,
    /// The cut stays until the node ends.
    pub(super) held: bool,
    /// Changes that the replication shard knows of.
    pub(super) told_changes: u64,
    /// Reservations of this shard that were granted to transactions.
    pub(super) granted: HashMap<TxnId, ClaimId>,
    pub(super) visits: HashMap<u64, PendingVisit>,
    pub(super) next_visit: u64,
    /// Rounds of offers that wait for a core's answer.
    pub(super) rounds: HashMap<u64, Round>,
    pub(super) next_round: u64,
    /// When the waiting of sessions ends.
    pub(super) deadlines: BTreeSet<Deadline>,
    /// How many monitors each core has.
    pub(super) monitors: Vec<u32>,
    /// Some core has one.
    pub(super) monitored: bool,
    /// Sessions that have lines to run and may.
    runnable: VecDeque<SessionId>,
    /// Sessions that have bytes to send or must be closed.
    touched: Vec<SessionId>,
    /// Sessions that wait for something which each turn looks at: a pause, a full outbox.
    waiting: Vec<SessionId>,
    /// Sessions whose reading the owner of the sockets has paused.
    paused_reading: Vec<SessionId>,
    /// The most memory since the last trim.
    memory_high: u64,
    /// Runs of the housekeeping that still trim.
    trims_left: u32,
    /// Runs of the housekeeping since the last trim.
    untrimmed: u32,
    next_cron_ns: u64,
    expiry_due_ns: u64,
    /// Active expiry waits for the shard.
    pub(super) expiry_claimed: bool,
    pub(super) scratch_out: Output,
    /// Replies of an EXEC are made here.
    pub(super) exec_out: Output,
}

/// Housekeeping runs this often.
const CRON_NS: u64 = 100_000_000;
/// Expired keys are looked for this often while there are none.
const EXPIRY_IDLE_NS: u64 = 10_000_000;
/// Entries that one turn looks at for expiry.
const EXPIRY_SLICE: usize = 1_000;
/// What one turn frees of what was detached: so many steps, but none begins when the time is over. What a step takes differs a
/// lot, as freeing the last of the entries of a page of memory frees the page.
const FREE_STEPS: usize = 10;
const FREE_STEP: usize = 100;
const FREE_NS: u64 = 300_000;
/// When so much was freed, memory is given back to the system in this many successive runs of the housekeeping,
const TRIM_BYTES_MIN: u64 = 8 << 20;
const TRIMS: u32 = 2;
/// and otherwise each time after so many, for what was no data, such as buffers of connections.
const TRIM_RUNS: u32 = 50;
/// Input of a blocked session beyond this is left in the socket.
const BLOCKED_INPUT_BYTES_MAX: usize = 256 * 1024;

impl Core {
    /// A core without sessions and data.
    pub fn new(options: CoreOptions) -> Core {
        let databases = options.config.databases as usize;
        let cores = options.orderer + 1;
        let seed = options.os.random();
        let keyspace = || Keyspace::new(databases, options.hasher, seed);
        let mut core = Core {
            place: options.place,
            orderer: options.orderer,
            registry: options.registry,
            shard: Shard::new(keyspace(), options.place, seed),
            scratch: Shard::new(keyspace(), options.place, !seed),
            sessions: Sessions::default(),
            stats: CoreStats::new(options.registry.all().len()),
            switches: Switches::default(),
            pubsub: pubsub::Tables::new(options.place.index, options.place.count),
            tracking: tracking::Tables::new(options.place.index, options.place.count, seed),
            receivers: Vec::new(),
            planner: Planner::new(options.hasher, options.place.count),
            window: Window::default(),
            limits: Limits::default(),
            gated: false,
            slow_ns: u64::MAX,
            outboxes: (0..cores).map(|_| Outbox::default()).collect(),
            own: VecDeque::new(),
            txns: HashMap::new(),
            execs: HashMap::new(),
            next_txn: 0,
            snapshot: super::snapshot::Sending::default(),
            leader: None,
            next_leader: 0,
            swept: 0,
            cut: None,
            held: false,
            told_changes: 0,
            granted: HashMap::new(),
            visits: HashMap::new(),
            next_visit: 0,
            rounds: HashMap::new(),
            next_round: 0,
            deadlines: BTreeSet::new(),
            monitors: vec![0; options.place.count],
            monitored: false,
            runnable: VecDeque::new(),
            touched: Vec::new(),
            waiting: Vec::new(),
            paused_reading: Vec::new(),
            memory_high: 0,
            trims_left: 0,
            untrimmed: 0,
            next_cron_ns: 0,
            expiry_due_ns: 0,
            expiry_claimed: false,
            scratch_out: Output::default(),
            exec_out: Output::default(),
            config: options.config,
            node: options.node,
            os: options.os,
            ticks: options.ticks,
            last_ticks: 0,
            now: Now::default(),
        };
        core.scratch.keyspace.record_expired(true);
        core.apply_config();
        if let Some(of) = core.config.replicaof.clone() {
            core.set_standing(Standing {
                role: Role::Follower { up: false },
                replicaof: Some(Arc::new(of)),
                ..Standing::default()
            });
        }
        core
    }

    /// Tells the core the time. Called before everything else of a turn.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        self.shard.keyspace.set_now(now.wall_ms());
        self.scratch.keyspace.set_now(now.wall_ms());
        self.last_ticks = (self.ticks)();
    }

    /// A connection was accepted.
    pub fn open(&mut self, peer: Peer) -> SessionId {
        let mut client = Client::new(peer.id, self.now.wall_ms());
        client.addr = peer.addr.into();
        client.laddr = peer.laddr.into();
        client.fd = peer.fd;
        client.unix = peer.unix;
        client.local = peer.local;
        client.authenticated = self.config.requirepass.is_empty();
        let id = self
            .sessions
            .open(|id| Session::new(id, client, peer.handle));
        self.stats.totals.connections += 1;
        if let Some(refusal) = self.protected_mode_refusal(peer.local) {
            let mut session = self
                .sessions
                .take(id)
                .expect("a new session is in its place");
            session.out.extend(refusal);
            session.client.close(Close::AfterReply);
            self.touch(&mut session);
            self.sessions.put(session);
        }
        id
    }

    /// Bytes came in for a session.
    pub fn read(&mut self, id: SessionId, data: &[u8]) {
        let Some(mut session) = self.sessions.take(id) else {
            return;
        };
        session.client.net_in_bytes += data.len() as u64;
        self.stats.totals.net_in_bytes += data.len() as u64;
        session.client.active_ms = self.now.wall_ms();
        // The bytes of a large argument go into its own allocation.
        let data = &data[session.parser.feed_big(data)..];
        if session.input.is_empty() && session.may_parse() {
            let used = self.process(&mut session, data);
            session.parser.keep(data, used, &mut session.input);
        } else if session.parser.big_remaining() == 0 {
            session.input.extend_from_slice(data);
            // They may complete a line that cannot start now.
            session.lines_wait = true;
            if !session.runnable {
                self.process_input(&mut session);
            }
        }
        self.after_work(session);
    }

    /// Where the bytes of a large argument go that the session is receiving, and how many may.
    pub fn big_target(&mut self, id: SessionId) -> Option<(&mut BytesMut, usize)> {
        self.sessions.get(id)?.parser.big_target()
    }

    /// So many bytes were received there.
    pub fn big_filled(&mut self, id: SessionId, bytes: usize) {
        let Some(mut session) = self.sessions.take(id) else {
            return;
        };
        session.client.net_in_bytes += bytes as u64;
        self.stats.totals.net_in_bytes += bytes as u64;
        session.client.active_ms = self.now.wall_ms();
        if session.parser.big_remaining() == 0 {
            session.lines_wait = true;
            if !session.runnable {
                self.process_input(&mut session);
            }
        }
        self.after_work(session);
    }

    /// The client will send no more. True: it is still owed something, and closes itself when that is done.
    pub fn input_ended(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        session.input_ended = true;
        !session.wants_close() || !session.out.is_empty()
    }

    /// The session's reading was paused by the owner of the socket: it is told when to go on.
    pub fn watch_reading(&mut self, id: SessionId) {
        self.paused_reading.push(id);
    }

    /// The next session whose reading may go on.
    pub fn next_readable(&mut self) -> Option<SessionId> {
        let sessions = &mut self.sessions;
        let at = self.paused_reading.iter().position(|&id| {
            sessions
                .get(id)
                .is_none_or(|session| !session.reading_paused)
        })?;
        Some(self.paused_reading.swap_remove(at))
    }

    /// Nothing is under way but lines that wait for keys: no lines, transactions or visits of this core, and nothing to send.
    pub fn is_quiet(&mut self) -> bool {
        if self.held {
            // Whoever waits for the shard is not answered any more.
            return self.own.is_empty()
                && self.outboxes.iter().all(Outbox::is_empty)
                && self
                    .sessions
                    .iter_mut()
                    .all(|session| session.out.is_empty());
        }
        self.txns.is_empty()
            && self.execs.is_empty()
            && self.visits.is_empty()
            && self.own.is_empty()
            && self.outboxes.iter().all(Outbox::is_empty)
            && self.shard.reservations.is_idle()
            && self
                .sessions
                .iter_mut()
                .all(|session| session.is_at_rest() && session.out.is_empty())
    }

    /// Some client watches keys of the own shard, or has not heard yet that its watch is broken.
    pub fn is_watched(&self) -> bool {
        !self.shard.watches.is_empty()
    }

    /// The connection is gone. What its lines began is finished all the same; nobody hears of it.
    pub fn close(&mut self, id: SessionId) -> Option<Box<Session>> {
        let mut session = self.sessions.close(id)?;
        self.end_watching(&mut session);
        if let Some(waiting) = session.waiting.take() {
            self.end_waiting(&waiting);
            self.deliver_own();
        }
        if let Some(subscriptions) = session.client.subscriptions.take() {
            self.subscriber_gone(id, *subscriptions);
        }
        if session.client.monitor {
            self.monitors_changed(-1);
        }
        self.tracker_gone(&mut session);
        Some(session)
    }

    /// The session, to send its bytes.
    pub fn session(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get(id)
    }

    /// All sessions.
    pub fn sessions(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    /// The core's counters.
    pub fn stats(&mut self) -> &mut CoreStats {
        &mut self.stats
    }

    /// The parameters as they are now.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The shard's data.
    pub fn keyspace(&mut self) -> &mut Keyspace {
        &mut self.shard.keyspace
    }

    /// What is to be sent to the core `peer`.
    pub fn outbox(&mut self, peer: usize) -> &mut Outbox {
        &mut self.outboxes[peer]
    }

    /// The next session that has bytes to send or is to be closed.
    pub fn next_touched(&mut self) -> Option<SessionId> {
        let id = self.touched.pop()?;
        if let Some(session) = self.sessions.get(id) {
            session.touched = false;
        }
        Some(id)
    }

    /// A message from another core.
    pub fn deliver(&mut self, from: usize, message: Message) {
        self.deliver_one(from, message);
        self.deliver_own();
    }

    pub(super) fn deliver_own(&mut self) {
        loop {
            // What was told before goes first.
            if self.has_news() {
                self.send_news(None);
            }
            // What was claimed for lines that wait is handed out before anybody comes.
            if self.shard.reservations.has_ready() {
                self.run_ready();
            }
            let Some(message) = self.own.pop_front() else {
                break;
            };
            self.deliver_one(self.place.index, message);
        }
    }

    fn deliver_one(&mut self, from: usize, message: Message) {
        match message {
            Message::Lines(batch) => self.run_batch(from, batch),
            Message::Replies(batch) => self.take_replies(from, batch),
            Message::Late(late) => {
                let mut at = 0;
                for (ticket, len) in late.replies {
                    self.answer(ticket, &late.out, at..at + len);
                    at += len;
                }
                for (ticket, entry) in late.slow {
                    self.keep_slow_of(ticket, entry);
                }
            }
            Message::Order(..) => unreachable!("only the orderer orders"),
            Message::Reserve(txn, claim, line) => {
                let claimant = match claim.watcher {
                    Some(client) => Claimant::Watcher(txn, client),
                    None => Claimant::Txn(txn, line),
                };
                self.shard.claim(claim, claimant);
                self.run_ready();
            }
            Message::Granted(txn, _, broken) => self.txn_granted(txn, broken),
            Message::Worked(txn, shard, reply, ns) => self.txn_worked(txn, shard, reply, ns),
            Message::Lend(txn, keys, step, leader) => {
                self.enter(txn, LogStep::before(step));
                let entries = self.shard.lend(&keys, leader);
                self.tell_expired();
                self.shard.lane.leave();
                self.send(
                    txn.core as usize,
                    Message::Lent(txn, self.place.index as u16, entries),
                );
            }
            Message::Lent(txn, shard, entries) => self.txn_lent(txn, shard, entries),
            Message::Return(txn, returned) => self.txn_returned(txn, *returned),
            Message::Hop(txn, lines, release) => self.exec_hop(txn, lines, release),
            Message::Hopped(txn, shard, lines) => self.exec_hopped(txn, shard, lines),
            Message::Release(txn) => self.txn_release(txn),
            Message::Exec(exec) => self.exec_arrived(from, exec),
            Message::Executed(exec) => self.executed(from, *exec),
            Message::Watch(ticket, client, keys) => {
                self.watch_here(client, &keys);
                self.send(from, Message::Watched(ticket));
            }
            Message::Watched(ticket) => self.watched(ticket),
            Message::Unwatch(client) => self.unwatch_here(client),
            Message::Waits(ticket, command, timeout_ms) => self.waits(NewWait {
                ticket,
                command,
                timeout_ms,
                owners: vec![from],
                line: None,
            }),
            Message::Await(waiter) => self.await_here(*waiter),
            Message::Forget(ticket) => self.forget_here(from, ticket),
            Message::Offer(round, ticket, anew) => {
                let verdict = self.verdict(from, ticket, anew);
                self.send(from, Message::Answer(round, verdict));
            }
            Message::Answer(round, verdict) => self.offer_answered(round, verdict),
            Message::Served(ticket, reply) => self.served(from, ticket, reply.as_ref()),
            Message::Recheck(ticket) => self.recheck(from, ticket),
            Message::Visit(visit, part, at_once) => {
                self.visit_came(from, visit, part, at_once);
            }
            Message::Visited(visit, part, ns) => self.visit_answered(visit, from, part, ns),
            Message::Publications(publications) => {
                for publication in &publications {
                    self.receive_publication(publication, None);
                }
            }
            Message::Unsubscribed(names) => {
                for (kind, names) in names {
                    self.pubsub.gone_elsewhere(from, kind, &names);
                }
            }
            Message::Stale(keys) => self.stale_came(keys, None),
            Message::Broadcasts(all) => {
                for broadcast in &all {
                    self.broadcast_came(broadcast);
                }
            }
            Message::Redirected(to, of, stale) => self.redirected(from, to, of, &stale),
            Message::RedirectGone(of, id) => self.redirect_gone(of, id, None),
            Message::PrefixesLeft(prefixes) => {
                self.tracking.leave_elsewhere(from, &prefixes);
                self.weigh_listening();
            }
            Message::Monitors(count) => self.set_monitors(from, count),
            Message::Monitor(bytes) => self.feed_own_monitors(&bytes),
            Message::Cut => {
                let claim = Claim {
                    whole: true,
                    ..Claim::default()
                };
                self.shard.claim(claim, Claimant::Cut);
                self.run_ready();
            }
            Message::CutDone(work) => self.cut_done(&work),
            Message::SnapshotTaken(bytes) => self.snapshot_taken(bytes),
            Message::SnapshotAbandoned => self.abandon_snapshot(),
            Message::Standing(standing) => self.set_standing(standing),
            Message::Load(batch) => self.load(batch),
            Message::Sweep => self.sweep(),
            Message::Swept => self.swept(),
            Message::LeaderBegins(offset, db) => self.leader_begins(offset, db),
            Message::Leader(bytes) => self.leader_came(&bytes),
            Message::LeaderEnds => self.leader_ends(),
            Message::Log(_)
            | Message::AtCut(_)
            | Message::Changes(_)
            | Message::Snapshot(..)
            | Message::Ask(..)
            | Message::Applied(_)
            | Message::Loaded(..) => {
                unreachable!("only the replication shard is told")
            }
        }
    }

    /// Sends a message, or keeps it for this core's own turn.
    pub(super) fn send(&mut self, to: usize, message: Message) {
        if to == self.place.index {
            self.own.push_back(message);
        } else {
            self.outboxes[to].push(message);
        }
    }

    /// The rest of a turn: lines that can go on, expiry, housekeeping. Returns when it must be called again, in
    /// monotonic nanoseconds; a time that has passed means at once.
    pub fn turn(&mut self) -> u64 {
        self.deliver_own();
        self.look_at_waiting();
        self.end_timeouts();
        for _ in 0..self.runnable.len() {
            let Some(id) = self.runnable.pop_front() else {
                break;
            };
            let Some(mut session) = self.sessions.take(id) else {
                continue;
            };
            session.runnable = false;
            if session.blocked == Blocked::No {
                self.process_input(&mut session);
            }
            self.after_work(session);
        }
        self.deliver_own();
        let now = self.now.mono_ns;
        if now >= self.expiry_due_ns {
            self.expiry_due_ns = if self.expire() {
                now
            } else {
                now + EXPIRY_IDLE_NS
            };
            self.tell_expired();
            self.deliver_own();
        }
        if now >= self.next_cron_ns {
            self.next_cron_ns = now + CRON_NS;
            self.cron();
        }
        let forgetting = self.end_turn_of_tracking();
        let reading_out = self.snapshot_turn();
        self.leader_turn();
        self.send_log();
        if reading_out || forgetting || !self.runnable.is_empty() || !self.own.is_empty() {
            return now;
        }
        let timeout_ns = self
            .deadlines
            .first()
            .map_or(u64::MAX, |(at_ns, ..)| *at_ns);
        self.next_cron_ns.min(self.expiry_due_ns).min(timeout_ns)
    }

    /// Runs what the session has received and not run yet.
    pub(super) fn process_input(&mut self, session: &mut Session) {
        self.run_queued(session);
        if !session.may_parse() {
            return;
        }
        if session.input.is_empty() {
            session.lines_wait = false;
            return;
        }
        let mut input = std::mem::take(&mut session.input);
        let used = self.process(session, &input);
        session.parser.compact(&mut input, used);
        if !input.is_empty() {
            session.input = input;
        }
    }

    /// Puts a session back and notes what it needs next.
    pub(super) fn after_work(&mut self, mut session: Box<Session>) {
        if !session.out.is_empty() || session.client.close.is_some() || session.input_ended {
            self.check_output_limit(&mut session);
            self.touch(&mut session);
        }
        if session.blocked == Blocked::No && !session.runnable && session.can_go_on() {
            session.runnable = true;
            self.runnable.push_back(session.id);
        }
        session.reading_paused =
            session.lines_wait && session.input.len() > BLOCKED_INPUT_BYTES_MAX;
        self.check_query_limit(&mut session);
        self.sessions.put(session);
        self.deliver_own();
    }

    /// The session goes into the list of those that have something to send.
    pub(super) fn touch(&mut self, session: &mut Session) {
        if !session.touched {
            session.touched = true;
            self.touched.push(session.id);
        }
    }

    /// The session waits for something that each turn looks at.
    pub(super) fn wait_for_turn(&mut self, session: &Session) {
        self.waiting.push(session.id);
    }

    fn look_at_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.waiting) {
            let paused = self.is_paused_now();
            let Some(session) = self.sessions.get(id) else {
                continue;
            };
            let free = match session.blocked {
                Blocked::Pause => !paused,
                Blocked::Outbox(peer) => !self.outboxes[peer].is_full(),
                _ => continue,
            };
            if free {
                let session = self.sessions.get(id).expect("it was there");
                session.blocked = Blocked::No;
                session.client.blocked = false;
                if !session.runnable {
                    session.runnable = true;
                    self.runnable.push_back(id);
                }
            } else {
                self.waiting.push(id);
            }
        }
    }

    /// A line of one of this core's sessions is answered.
    pub(super) fn answer(&mut self, ticket: Ticket, reply: &Output, range: std::ops::Range<usize>) {
        let id = SessionId::of(ticket);
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        session.answer(ticket.line, reply, range);
        let waiting = session.stop_waiting(ticket.line);
        if matches!(
            session.blocked,
            Blocked::Drain | Blocked::Away | Blocked::Keys
        ) && session.slots.is_empty()
        {
            if session.blocked != Blocked::Drain {
                session.client.end_line();
            }
            session.blocked = Blocked::No;
        }
        if !session.runnable && session.can_go_on() {
            session.runnable = true;
            self.runnable.push_back(id);
        }
        let wanted =
            !session.out.is_empty() || session.client.close.is_some() || session.input_ended;
        if wanted && !session.touched {
            session.touched = true;
            self.touched.push(id);
        }
        if let Some(waiting) = waiting {
            self.end_waiting(&waiting);
        }
    }

    /// Looks for expired keys and frees what was detached, a little. True when there is more to do.
    fn expire(&mut self) -> bool {
        let freeing = self.free();
        if !self.switches.active_expire || self.is_paused_now() {
            return freeing;
        }
        if self.shard.effects.logging && !self.shard.reservations.is_idle() {
            self.claim_expiry();
            return freeing;
        }
        self.expire_now() || freeing
    }

    /// Frees a little of what was detached. True when there is more.
    fn free(&mut self) -> bool {
        let until = (self.ticks)() + FREE_NS;
        for _ in 0..FREE_STEPS {
            if !self.shard.keyspace.free_slice(FREE_STEP) {
                return false;
            }
            if (self.ticks)() >= until {
                break;
            }
        }
        true
    }

    /// Deletes some of what has expired. True when there is more.
    pub(super) fn expire_now(&mut self) -> bool {
        let progress = self.shard.keyspace.expire_slice(EXPIRY_SLICE);
        self.tell_expired();
        progress.more_due
    }

    /// Waits until nothing is reserved: a key that has expired may be held, and its deletion would be logged behind what its
    /// holder does to it later.
    fn claim_expiry(&mut self) {
        let due = self.shard.keyspace.next_due_ms();
        if self.expiry_claimed || due.is_none_or(|due_ms| due_ms > self.now.wall_ms()) {
            return;
        }
        self.expiry_claimed = true;
        let claim = Claim {
            whole: true,
            write: true,
            ..Claim::default()
        };
        self.shard.claim(claim, Claimant::Expiry);
        self.run_ready();
    }

    /// Housekeeping, ten times a second.
    fn cron(&mut self) {
        let memory = self.shard.keyspace.memory() as u64;
        self.stats.tick(self.now.mono_ns, memory);
        self.trim(memory);
        self.tell_changes();
        self.sweep_sessions();
    }

    /// Has memory returned to the system after much of it was freed: the allocator does not do so by itself. But not while more is
    /// being freed. Who returns it needs a CPU, and if that can only be this one, it should be while this core has nothing to do.
    fn trim(&mut self, memory: u64) {
        self.memory_high = self.memory_high.max(memory);
        if self.memory_high - memory >= TRIM_BYTES_MIN {
            self.memory_high = memory;
            self.trims_left = TRIMS;
        }
        self.untrimmed += 1;
        if self.trims_left > 0 && !self.shard.keyspace.has_garbage() {
            self.trims_left -= 1;
            self.os.collect_memory();
        } else if self.untrimmed < TRIM_RUNS {
            return;
        }
        self.untrimmed = 0;
        self.os.trim_memory();
    }
}
