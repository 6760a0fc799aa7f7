//! One core of the running node: the session core, or the replication shard, bound to sockets and rings.
//!
//! Core 0 accepts connections and deals them out in turn; a connection then lives on its core for good.
//!
//! The stop: core 0 is told (a signal, SHUTDOWN), closes the listeners and tells all. Every core reads no more, finishes and
//! sends what is under way, and reports. When all have, or at the deadline, core 0 ends the cores.
//!

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::os::{Requests, System};
use super::replication_core::ReplicationCore;
use crate::command::replicating::FollowRequest;
use crate::command::{Close, Node, Now, Place, Registry};
use crate::config::Config;
use crate::keyspace::KeyHasher;
use crate::mesh::{Message, Outbox};
use crate::rt::{self, Closed, ConnId, Io, Next, Purger, ReadTarget, Signal, Socket, WriteResult};
use crate::session::{Core, CoreOptions, Peer, SessionId};

/// What the cores are built from. Read-only but for two counters that change when a connection comes or goes.
pub(super) struct Shared {
    pub config: Arc<Config>,
    pub node: Arc<Node>,
    pub registry: &'static Registry,
    pub hasher: KeyHasher,
    pub shards: usize,
    /// Gives free memory back.
    pub purger: Purger,
    /// Connections of the node.
    pub connections: AtomicU64,
    /// `maxclients`, or fewer when the limit of open files is lower.
    pub clients_max: AtomicU64,
    /// The file that is loaded at the start.
    pub load: Option<PathBuf>,
    /// Why the node ends, when that is no good reason.
    pub failure: OnceLock<String>,
}

impl Shared {
    /// The node must end, with this sentence.
    pub(super) fn fail(&self, why: String) {
        tracing::error!("{why}");
        // The first reason counts.
        let _ = self.failure.set(why);
    }
}

/// What cores send each other.
pub(super) enum Envelope {
    /// A message of the mesh.
    Mesh(Message),
    /// A connection for the receiver, and its client's id.
    Connection(Socket, u64),
    /// To the replication shard: a connection that follows, and what it has sent already.
    Follower(Socket, Box<FollowRequest>, Vec<u8>),
    /// To the replication shard: the parameters have changed.
    Config(Arc<Config>),
    /// To the replication shard: save the data, then tell core 0 to finish; with `force` even if that fails.
    Stop { how: StopHow },
    /// To core 0: the end is given up.
    Stay,
    /// Stop reading, finish what is under way.
    Finish,
    /// The sender has finished.
    Finished,
    /// End.
    End,
}

/// Pieces of one send.
pub(super) const WRITE_PIECES: usize = 64;
/// How a signal ends the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopHow {
    /// Followers get everything first.
    pub(super) waits: bool,
    /// The data is saved.
    pub(super) saves: bool,
    /// It ends even if it cannot be saved.
    pub(super) force: bool,
}

/// What is under way when the stop begins may take this long.
const FINISH_NS_MAX: u64 = 1_000_000_000;

/// A core of the node.
pub(super) enum NodeCore {
    Shard(Box<ShardCore>),
    Replication(Box<ReplicationCore>),
}

impl NodeCore {
    pub(super) fn new(index: usize, shared: &Arc<Shared>) -> NodeCore {
        if index == shared.shards {
            NodeCore::Replication(Box::new(ReplicationCore::new(shared)))
        } else {
            NodeCore::Shard(Box::new(ShardCore::new(index, shared)))
        }
    }
}

/// Hands a core's messages to the ring, as many as it takes.
pub(super) fn flush_outbox(io: &mut Io<Envelope>, peer: usize, outbox: &mut Outbox) {
    if outbox.is_empty() {
        return;
    }
    outbox.flush(|message| {
        io.push(peer, Envelope::Mesh(message))
            .map_err(|envelope| match envelope {
                Envelope::Mesh(message) => message,
                _ => unreachable!("the ring gives back what it was given"),
            })
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Finishing until this moment, monotonic nanoseconds.
    Finishing(u64),
    Ending,
}

/// A data core: shard and sessions.
pub(super) struct ShardCore {
    index: usize,
    shared: Arc<Shared>,
    core: Core,
    requests: Rc<Requests>,
    /// The session of each connection, by the connection's slot.
    sessions: Vec<Option<(ConnId, SessionId)>>,
    /// The parameters that were taken on last.
    config: Arc<Config>,
    stage: Stage,
    /// This core has told core 0 that it has finished.
    finished: bool,
    /// On core 0: cores that have finished.
    finished_cores: usize,
    /// A signal came, and the data is being saved.
    stopping: bool,
    next_core: usize,
    next_client: u64,
    /// What a full ring did not take.
    unsent: VecDeque<(usize, Envelope)>,
    /// Sessions with bytes that the socket has not taken.
    began: bool,
}

impl ShardCore {
    fn new(index: usize, shared: &Arc<Shared>) -> ShardCore {
        let requests = Rc::new(Requests::default());
        let mut seed = [0; 8];
        rt::sys::fill_random(&mut seed);
        let os = System::new(
            requests.clone(),
            shared.purger.clone(),
            u64::from_le_bytes(seed),
        );
        let mut core = Core::new(CoreOptions {
            place: Place {
                index,
                count: shared.shards,
            },
            orderer: shared.shards,
            registry: shared.registry,
            config: shared.config.clone(),
            node: shared.node.clone(),
            hasher: shared.hasher,
            os: Box::new(os),
            ticks: rt::ticks_ns,
        });
        if shared.load.is_some() {
            core.expect_load();
        }
        ShardCore {
            index,
            shared: shared.clone(),
            core,
            requests,
            sessions: Vec::new(),
            config: shared.config.clone(),
            stage: Stage::Running,
            finished: false,
            finished_cores: 0,
            stopping: false,
            next_core: 0,
            next_client: 1,
            unsent: VecDeque::new(),
            began: false,
        }
    }

    /// The first callback of a turn tells the core the time.
    #[inline]
    fn begin(&mut self, io: &Io<Envelope>) {
        if !self.began {
            self.began = true;
            let now = io.now();
            self.core.begin_turn(Now {
                wall_us: now.wall_us as i64,
                mono_ns: now.monotonic_ns,
            });
        }
    }

    fn session_of(&self, conn: ConnId) -> Option<SessionId> {
        match self.sessions.get(conn.slot())? {
            Some((owner, session)) if *owner == conn => Some(*session),
            _ => None,
        }
    }

    fn accepted(&mut self, io: &mut Io<Envelope>, socket: Socket) {
        if self.stage != Stage::Running {
            return;
        }
        let clients_max = self.shared.clients_max.load(Ordering::Relaxed);
        if self.shared.connections.load(Ordering::Relaxed) >= clients_max {
            self.core.stats().totals.connections_rejected += 1;
            socket.reject(b"-ERR max number of clients reached\r\n");
            return;
        }
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let id = self.next_client;
        self.next_client += 1;
        let core = self.next_core;
        self.next_core = (core + 1) % self.shared.shards;
        if core == self.index {
            self.adopt(io, socket, id);
        } else {
            self.post(io, core, Envelope::Connection(socket, id));
        }
    }

    fn adopt(&mut self, io: &mut Io<Envelope>, socket: Socket, id: u64) {
        let keepalive_s = self.config.tcp_keepalive as u32;
        if keepalive_s > 0 && !socket.is_unix() {
            // A connection without probes is still a connection.
            let _ = socket.set_keepalive(keepalive_s);
        }
        let unix = socket.is_unix();
        let peer = socket.peer_addr();
        let socket_path = || format!("{}:0", self.config.unixsocket);
        let addr = peer.map_or_else(socket_path, |addr| addr.to_string());
        let laddr = socket
            .local_addr()
            .map_or_else(socket_path, |addr| addr.to_string());
        let local = unix || peer.is_some_and(|addr| addr.ip().to_canonical().is_loopback());
        let fd = socket.fd();
        let conn = io.adopt(socket);
        if self.sessions.len() <= conn.slot() {
            self.sessions.resize(conn.slot() + 1, None);
        }
        let session = self.core.open(Peer {
            id,
            addr,
            laddr,
            fd,
            unix,
            local,
            handle: conn.slot() as u64,
        });
        self.sessions[conn.slot()] = Some((conn, session));
    }

    /// Sends an envelope, or keeps it until the ring takes it.
    fn post(&mut self, io: &mut Io<Envelope>, peer: usize, envelope: Envelope) {
        if let Err(envelope) = io.push(peer, envelope) {
            self.unsent.push_back((peer, envelope));
        }
    }

    fn message(&mut self, io: &mut Io<Envelope>, from: usize, envelope: Envelope) {
        match envelope {
            Envelope::Mesh(message) => self.core.deliver(from, message),
            Envelope::Connection(socket, id) => self.adopt(io, socket, id),
            Envelope::Finish => self.finish(io),
            Envelope::Stay => self.stopping = false,
            Envelope::Finished => self.finished_cores += 1,
            Envelope::End => self.stage = Stage::Ending,
            Envelope::Follower(..) | Envelope::Config(_) | Envelope::Stop { .. } => {
                unreachable!("only the replication shard is told")
            }
        }
    }

    /// Somebody wants the node to end: it is saved before, when it would be otherwise. A second signal does not wait for that.
    fn signalled(&mut self, io: &mut Io<Envelope>, signal: Signal) {
        let options = match signal {
            Signal::Terminate => self.config.shutdown_on_sigterm,
            Signal::Interrupt => self.config.shutdown_on_sigint,
        };
        let saves = options.save || !options.nosave && !self.config.save.is_empty();
        let how = StopHow {
            waits: !options.now,
            saves: saves && !self.core.is_loading(),
            force: options.force,
        };
        let at_once = !how.waits && !how.saves;
        if at_once || std::mem::replace(&mut self.stopping, true) {
            tracing::info!("{signal:?} received: the server stops");
            return self.finish(io);
        }
        match how.saves {
            true => tracing::info!("{signal:?} received: the server saves the data and stops"),
            false => tracing::info!("{signal:?} received: the server stops"),
        }
        self.post(io, self.shared.shards, Envelope::Stop { how });
    }

    /// Begins the stop on this core.
    fn finish(&mut self, io: &mut Io<Envelope>) {
        if self.stage != Stage::Running {
            return;
        }
        self.stage = Stage::Finishing(io.now().monotonic_ns + FINISH_NS_MAX);
        io.stop_listening();
        for (conn, _) in self.sessions.iter().flatten() {
            io.pause_reading(*conn);
        }
        if self.index == 0 {
            for peer in 1..self.shared.shards {
                self.post(io, peer, Envelope::Finish);
            }
        }
    }

    /// Writes what a session has to send, and closes it when that was asked for.
    fn flush_session(&mut self, io: &mut Io<Envelope>, id: SessionId) {
        let Some(session) = self.core.session(id) else {
            return;
        };
        let Some(Some((conn, _))) = self.sessions.get(session.handle as usize) else {
            return;
        };
        if session.holds_replies() {
            return;
        }
        let conn = *conn;
        if session.out.is_empty()
            && let Some(request) = session.handoff.take()
        {
            let input = session.take_input();
            self.hand_over(io, conn, request, input);
            return;
        }
        let mut gone = session.client.close == Some(Close::Now);
        let mut sent = 0;
        while !gone && !session.out.is_empty() {
            let mut pieces = [IoSlice::new(&[]); WRITE_PIECES];
            let count = session.out.io_slices(&mut pieces);
            let offered: usize = pieces[..count].iter().map(|piece| piece.len()).sum();
            match io.write(conn, &pieces[..count]) {
                WriteResult::Wrote(bytes) => {
                    session.out.advance(bytes);
                    sent += bytes;
                    if bytes < offered {
                        break;
                    }
                }
                WriteResult::WouldBlock => break,
                WriteResult::Failed => gone = true,
            }
        }
        session.client.net_out_bytes += sent as u64;
        let unsent = !session.out.is_empty();
        let paused = session.reading_paused;
        gone |= !unsent && session.wants_close();
        self.core.stats().totals.net_out_bytes += sent as u64;
        if gone {
            io.close(conn);
            self.forget(conn);
            return;
        }
        io.want_writable(conn, unsent);
        if paused {
            io.pause_reading(conn);
            self.core.watch_reading(id);
        }
    }

    /// A connection follows from now on: the replication shard serves it.
    fn hand_over(
        &mut self,
        io: &mut Io<Envelope>,
        conn: ConnId,
        request: Box<FollowRequest>,
        input: Vec<u8>,
    ) {
        if let Some(socket) = io.take(conn) {
            let replication = self.shared.shards;
            self.post(io, replication, Envelope::Follower(socket, request, input));
        }
        self.forget(conn);
    }

    /// The session of a connection that is gone ends.
    fn forget(&mut self, conn: ConnId) {
        if let Some(id) = self.session_of(conn) {
            self.sessions[conn.slot()] = None;
            self.core.close(id);
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn turn(&mut self, io: &mut Io<Envelope>) -> Next {
        self.begin(io);
        self.requests.counters.set(*io.counters());
        let due_ns = self.core.turn();
        while let Some(id) = self.core.next_touched() {
            self.flush_session(io, id);
        }
        while let Some(id) = self.core.next_readable() {
            if let Some(session) = self.core.session(id)
                && let Some(Some((conn, _))) = self.sessions.get(session.handle as usize)
                && self.stage == Stage::Running
            {
                io.resume_reading(*conn);
            }
        }
        for peer in 0..=self.shared.shards {
            if peer != self.index {
                flush_outbox(io, peer, self.core.outbox(peer));
            }
        }
        while let Some((peer, envelope)) = self.unsent.pop_front() {
            if let Err(envelope) = io.push(peer, envelope) {
                self.unsent.push_front((peer, envelope));
                break;
            }
        }
        self.take_on_config(io);
        if self.requests.shutdown.take() {
            if self.index == 0 {
                self.finish(io);
            } else {
                self.post(io, 0, Envelope::Finish);
            }
        }
        self.began = false;
        self.stop_if_finished(io, due_ns)
    }

    fn stop_if_finished(&mut self, io: &mut Io<Envelope>, due_ns: u64) -> Next {
        let now = io.now().monotonic_ns;
        match self.stage {
            Stage::Running if due_ns <= now => Next::Now,
            Stage::Running => Next::At(due_ns),
            Stage::Ending => Next::Stop,
            Stage::Finishing(deadline_ns) => {
                if !self.finished && (self.core.is_quiet() || now >= deadline_ns) {
                    self.finished = true;
                    if self.index == 0 {
                        self.finished_cores += 1;
                    } else {
                        self.post(io, 0, Envelope::Finished);
                    }
                }
                if self.index == 0
                    && (self.finished_cores == self.shared.shards || now >= deadline_ns)
                {
                    for peer in 1..=self.shared.shards {
                        self.post(io, peer, Envelope::End);
                    }
                    self.stage = Stage::Ending;
                    return if self.unsent.is_empty() {
                        Next::Stop
                    } else {
                        Next::Now
                    };
                }
                if due_ns <= now {
                    Next::Now
                } else {
                    Next::At(due_ns.min(deadline_ns))
                }
            }
        }
    }

    /// CONFIG SET changed parameters: takes on those that concern the process.
    fn take_on_config(&mut self, io: &mut Io<Envelope>) {
        if Arc::ptr_eq(&self.config, self.core.config()) {
            return;
        }
        let old = std::mem::replace(&mut self.config, self.core.config().clone());
        if self.index != 0 {
            return;
        }
        let replication = self.shared.shards;
        self.post(io, replication, Envelope::Config(self.config.clone()));
        if old.loglevel != self.config.loglevel {
            super::log::set_level(self.config.loglevel);
        }
        if old.maxclients != self.config.maxclients {
            let granted = rt::raise_nofile(self.config.maxclients + super::boot::OWN_DESCRIPTORS);
            let clients_max = self
                .config
                .maxclients
                .min(granted.saturating_sub(super::boot::OWN_DESCRIPTORS));
            self.shared
                .clients_max
                .store(clients_max, Ordering::Relaxed);
        }
        if old.port != self.config.port || old.bind != self.config.bind {
            self.listen_anew(io);
        }
    }

    /// Listens on what `bind` and `port` say now; keeps the old sockets when that is not possible.
    fn listen_anew(&mut self, io: &mut Io<Envelope>) {
        // The unix socket cannot change, and is listening.
        let mut config = Config::clone(&self.config);
        config.unixsocket.clear();
        match super::boot::listen(&config) {
            Ok(listeners) => {
                io.stop_listening_tcp();
                for listener in listeners {
                    if let Err(error) = io.listen(listener) {
                        tracing::error!("a listening socket cannot be watched: {error}");
                    }
                }
            }
            Err(error) => tracing::error!("{error}; the old listening sockets stay"),
        }
    }
}

impl rt::Core for NodeCore {
    type Message = Envelope;

    fn accepted(&mut self, io: &mut Io<Envelope>, socket: Socket) {
        if let NodeCore::Shard(core) = self {
            core.begin(io);
            core.accepted(io, socket);
        }
    }

    fn received(&mut self, io: &mut Io<Envelope>, conn: ConnId, data: &[u8]) {
        match self {
            NodeCore::Shard(core) => {
                if let Some(session) = core.session_of(conn) {
                    core.begin(io);
                    core.core.read(session, data);
                }
            }
            NodeCore::Replication(core) => core.received(io, conn, data),
        }
    }

    fn read_target(&mut self, conn: ConnId) -> Option<ReadTarget<'_>> {
        let NodeCore::Shard(core) = self else {
            return None;
        };
        let session = core.session_of(conn)?;
        let (buffer, bytes_max) = core.core.big_target(session)?;
        Some(ReadTarget { buffer, bytes_max })
    }

    fn filled(&mut self, io: &mut Io<Envelope>, conn: ConnId, bytes: usize) {
        if let NodeCore::Shard(core) = self
            && let Some(session) = core.session_of(conn)
        {
            core.begin(io);
            core.core.big_filled(session, bytes);
        }
    }

    fn writable(&mut self, io: &mut Io<Envelope>, conn: ConnId) {
        match self {
            NodeCore::Shard(core) => {
                if let Some(session) = core.session_of(conn) {
                    core.begin(io);
                    core.flush_session(io, session);
                }
            }
            NodeCore::Replication(core) => core.writable(io, conn),
        }
    }

    fn input_ended(&mut self, io: &mut Io<Envelope>, conn: ConnId) -> bool {
        let NodeCore::Shard(core) = self else {
            return false;
        };
        let Some(session) = core.session_of(conn) else {
            return false;
        };
        core.begin(io);
        core.core.input_ended(session)
    }

    fn closed(&mut self, io: &mut Io<Envelope>, conn: ConnId, why: Closed) {
        match self {
            NodeCore::Shard(core) => {
                core.begin(io);
                core.forget(conn);
            }
            NodeCore::Replication(core) => core.closed(io, conn, &why),
        }
    }

    fn message(&mut self, io: &mut Io<Envelope>, from: usize, message: Envelope) {
        match self {
            NodeCore::Shard(core) => {
                core.begin(io);
                core.message(io, from, message);
            }
            NodeCore::Replication(core) => core.message(io, from, message),
        }
    }

    fn signal(&mut self, io: &mut Io<Envelope>, signal: Signal) {
        if let NodeCore::Shard(core) = self {
            core.begin(io);
            core.signalled(io, signal);
        }
    }

    fn turn(&mut self, io: &mut Io<Envelope>) -> Next {
        match self {
            NodeCore::Shard(core) => core.turn(io),
            NodeCore::Replication(core) => core.turn(io),
        }
    }
}
