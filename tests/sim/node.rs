//! A whole node in one thread: the real cores and the real orderer, with queues for rings, a counter for the clock and byte
//! strings for sockets.
//!
//! ```text
//!   clients ── random pieces of bytes ──▶ core 0 ══ queues of a few messages ══ core 1 …
//!           ◀── random pieces of bytes ──        ╲══════ orderer ══════╱
//! ```
//!
//! One step is one turn of one core, as the server's loop does it: some of the messages and bytes that wait for it, the
//! turn, then what it has to say. With [`Delivery::InOrder`] the cores take turns and everything arrives at
//! once; with [`Delivery::Random`] a seed chooses the core, how much arrives and how much is sent.
//!
//! Invariants:
//! - The same options and calls give the same run, to the byte.
//! - Messages of one core to another arrive in their order, and a queue never holds more than its capacity.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use shardine::base::random::Random;
use shardine::command::{Close, Node as Facts, Now, Os, Place};
use shardine::config::Config;
use shardine::keyspace::{KeyHasher, shard_of};
use shardine::mesh::Message;
use shardine::replication::{Replication, SaveStep};
use shardine::session::{Core, CoreOptions, Peer, SessionId};

/// The wall clock when a node starts, milliseconds since 1970.
pub const STARTED_MS: i64 = 1_700_000_000_000;
/// A node that takes more steps than this without coming to rest hangs.
const STEPS_MAX: usize = 2_000_000;

/// How messages and bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All that waits arrives at once, core after core.
    InOrder,
    /// As this seed says.
    Random(u64),
}

/// What a node is built from.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub shards: usize,
    pub delivery: Delivery,
    /// Messages that the queue from one core to another holds.
    pub link_messages_max: usize,
    /// Bytes of one connection that arrive in one turn.
    pub piece_bytes_max: usize,
    pub config: Config,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions {
            shards: 1,
            delivery: Delivery::InOrder,
            link_messages_max: 1024,
            piece_bytes_max: usize::MAX,
            config: Config::default(),
        }
    }
}

/// A connection: bytes on their way in, bytes that came out.
pub struct Connection {
    core: usize,
    session: SessionId,
    /// Sent by the client and not yet received by the core, from `delivered` on.
    input: Vec<u8>,
    delivered: usize,
    /// Received by the client and not taken by the test.
    pub received: Vec<u8>,
    /// The client sends no more after `input`.
    finishing: bool,
    input_ended: bool,
    /// The core reads no further for now.
    paused: bool,
    /// The session has bytes that the socket did not take.
    unsent: bool,
    closed: bool,
}

/// Names a connection of a [`Node`].
pub type ConnectionId = usize;

/// The operating system of a simulated core: nothing but a clock and random numbers.
struct SimulatedOs {
    clock_ns: Rc<Cell<u64>>,
    random: Cell<u64>,
}

impl Os for SimulatedOs {
    fn resident_bytes(&self) -> u64 {
        1 << 20
    }
    fn machine_memory_bytes(&self) -> u64 {
        1 << 30
    }
    fn cpu_seconds(&self) -> [f64; 4] {
        [0.0; 4]
    }
    fn thread_cpu_seconds(&self) -> [f64; 2] {
        [0.0; 2]
    }
    fn runtime_counters(&self) -> Vec<(&'static str, u64)> {
        vec![("turns", 1)]
    }
    fn collect_memory(&self) {}

    fn trim_memory(&self) {}

    fn purge_memory(&self) {}
    fn allocator_report(&self) -> String {
        "simulated".into()
    }
    fn read_file(&self, path: &str) -> Result<String, String> {
        Err(format!("{path}: a simulated node has no files"))
    }
    fn write_file(&self, path: &str, _text: &str) -> Result<(), String> {
        Err(format!("{path}: a simulated node has no files"))
    }
    fn sleep(&self, ms: u64) {
        self.clock_ns.set(self.clock_ns.get() + ms * 1_000_000);
    }
    fn monotonic_ns(&self) -> u64 {
        self.clock_ns.get()
    }
    fn log_warning(&self, _text: &str) {}
    fn shutdown(&self) {}
    fn random(&self) -> u64 {
        let mut state = self.random.get();
        let drawn = shardine::base::random::split_mix(&mut state);
        self.random.set(state);
        drawn
    }
}

thread_local! {
    /// The clock for durations is a plain function: each reading is a microsecond later.
    static TICKS: Cell<u64> = const { Cell::new(0) };
}

fn ticks() -> u64 {
    TICKS.set(TICKS.get() + 1_000);
    TICKS.get()
}

/// A simulated node.
pub struct Node {
    shards: usize,
    cores: Vec<Core>,
    pub replication: Replication,
    /// The file that is being saved, and the one that was saved last.
    writing: Vec<u8>,
    pub file: Option<Vec<u8>>,
    /// The disk is full.
    pub disk_fails: bool,
    saves_enabled: bool,
    /// The queue from core `a` to core `b` at `a * (shards + 1) + b`.
    links: Vec<VecDeque<Message>>,
    link_messages_max: usize,
    piece_bytes_max: usize,
    hasher: KeyHasher,
    connections: Vec<Connection>,
    clock_ns: Rc<Cell<u64>>,
    random: Option<Random>,
    /// How likely each core gets the next turn; some are much slower than others.
    weights: Vec<u64>,
    /// The core wants a turn although nothing waits for it.
    due: Vec<bool>,
    /// Steps taken so far.
    pub steps: usize,
    /// How often a queue refused a message.
    pub refusals: usize,
    /// How often an outbox was too full for further lines.
    pub full_outboxes: usize,
    next_connection: u64,
}

impl Node {
    pub fn new(options: NodeOptions) -> Node {
        TICKS.set(0);
        let shards = options.shards;
        let (mut random, seed) = match options.delivery {
            Delivery::InOrder => (None, 0),
            Delivery::Random(seed) => (Some(Random::new(seed)), seed),
        };
        let mut seeds = Random::new(seed ^ 0x5eed);
        let hasher = KeyHasher::from_seeds(std::array::from_fn(|_| seeds.next_u64()));
        let clock_ns = Rc::new(Cell::new(1_000_000_000));
        let config = Arc::new(options.config);
        let facts = Arc::new(Facts {
            run_id: "5".repeat(40),
            replication_id: "7".repeat(40),
            started_us: STARTED_MS * 1000,
            pid: 1,
            executable: "shardine".into(),
            config_file: String::new(),
            os: "simulated".into(),
            multiplexing_api: "simulated",
            allocator: "simulated".into(),
            shards,
        });
        let cores: Vec<Core> = (0..shards)
            .map(|index| {
                Core::new(CoreOptions {
                    place: Place {
                        index,
                        count: shards,
                    },
                    orderer: shards,
                    registry: shardine::admin::registry(),
                    config: config.clone(),
                    node: facts.clone(),
                    hasher,
                    os: Box::new(SimulatedOs {
                        clock_ns: clock_ns.clone(),
                        random: Cell::new(seeds.next_u64()),
                    }),
                    ticks,
                })
            })
            .collect();
        let weights = (0..=shards)
            .map(|_| {
                random
                    .as_mut()
                    .map_or(1, |random| [1, 4, 16, 64][random.index(4)])
            })
            .collect();
        Node {
            shards,
            cores,
            replication: Replication::new(shards, config.clone(), "7".repeat(40), hasher, seed),
            writing: Vec::new(),
            file: None,
            disk_fails: false,
            saves_enabled: false,
            links: (0..(shards + 1) * (shards + 1))
                .map(|_| VecDeque::new())
                .collect(),
            link_messages_max: options.link_messages_max,
            piece_bytes_max: options.piece_bytes_max,
            hasher,
            connections: Vec::new(),
            clock_ns,
            random,
            weights,
            due: vec![true; shards + 1],
            steps: 0,
            refusals: 0,
            full_outboxes: 0,
            next_connection: 1,
        }
    }

    /// The shard that owns a key.
    pub fn shard_of(&self, key: &[u8]) -> usize {
        shard_of(&self.hasher, key, self.hasher.hash(key), self.shards)
    }

    fn now(&self) -> Now {
        let mono_ns = self.clock_ns.get();
        Now {
            wall_us: STARTED_MS * 1000 + (mono_ns / 1000) as i64,
            mono_ns,
        }
    }

    /// The wall clock, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.now().wall_ms()
    }

    /// Moves the clock, with turns of all cores on the way, as a node has them.
    pub fn advance_ms(&mut self, ms: u64) {
        let end_ns = self.clock_ns.get() + ms * 1_000_000;
        while self.clock_ns.get() < end_ns {
            let step_ns = (end_ns - self.clock_ns.get()).min(50_000_000);
            self.clock_ns.set(self.clock_ns.get() + step_ns);
            for core in 0..=self.shards {
                self.turn(core);
            }
        }
        self.settle();
    }

    /// A client connects; `core` serves it.
    pub fn connect(&mut self, core: usize) -> ConnectionId {
        let id = self.connections.len();
        let now = self.now();
        self.cores[core].begin_turn(now);
        let session = self.cores[core].open(Peer {
            id: self.next_connection,
            addr: format!("127.0.0.1:{}", 40_000 + id),
            laddr: "127.0.0.1:6379".into(),
            fd: 10 + id as i32,
            unix: false,
            local: true,
            handle: id as u64,
        });
        self.next_connection += 1;
        self.connections.push(Connection {
            core,
            session,
            input: Vec::new(),
            delivered: 0,
            received: Vec::new(),
            finishing: false,
            input_ended: false,
            paused: false,
            unsent: false,
            closed: false,
        });
        id
    }

    /// The connection.
    pub fn connection(&mut self, id: ConnectionId) -> &mut Connection {
        &mut self.connections[id]
    }

    /// The client sends bytes; they arrive as the delivery says.
    pub fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.connections[id].input.extend_from_slice(bytes);
    }

    /// The client will send nothing more, but still reads.
    pub fn finish(&mut self, id: ConnectionId) {
        self.connections[id].finishing = true;
    }

    /// The client is gone, with whatever was under way in both directions.
    pub fn hang_up(&mut self, id: ConnectionId) {
        let now = self.now();
        let connection = &mut self.connections[id];
        if connection.closed {
            return;
        }
        connection.closed = true;
        let core = &mut self.cores[connection.core];
        core.begin_turn(now);
        core.close(connection.session);
        self.due[connection.core] = true;
    }

    /// Keys of a database, on all shards.
    pub fn keys_count(&mut self, db: usize) -> usize {
        self.cores
            .iter_mut()
            .map(|core| core.keyspace().len(db))
            .sum()
    }

    /// Nothing is under way on any core: no line, no transaction, no reservation, nothing to send.
    pub fn assert_quiet(&mut self) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            let unfinished = core
                .sessions()
                .iter_mut()
                .filter(|session| !session.is_drained() || !session.out.is_empty())
                .count();
            assert!(
                core.is_quiet(),
                "core {index} is not quiet ({unfinished} unfinished sessions)"
            );
        }
        assert!((0..self.shards).all(|shard| self.replication.outbox(shard).is_empty()));
        assert!(self.links.iter().all(VecDeque::is_empty));
    }

    /// No shard keeps a watch.
    pub fn assert_unwatched(&self) {
        for (index, core) in self.cores.iter().enumerate() {
            assert!(!core.is_watched(), "somebody watches keys of core {index}");
        }
    }

    /// The replication shard has been asked for something: it gets a turn.
    pub fn wake_replication(&mut self) {
        self.due[self.shards] = true;
    }

    /// Steps until everything sent has arrived and nobody has anything left to do.
    #[track_caller]
    pub fn settle(&mut self) {
        let first = self.steps;
        while self.is_busy() {
            assert!(
                self.steps - first < STEPS_MAX,
                "the node does not come to rest"
            );
            self.step();
        }
    }

    /// Something waits to arrive, to be sent or to be run.
    pub fn is_busy(&self) -> bool {
        self.due.iter().any(|due| *due)
            || self.links.iter().any(|link| !link.is_empty())
            || self
                .connections
                .iter()
                .any(|connection| connection.has_input() || connection.unsent)
    }

    /// One turn of one core.
    pub fn step(&mut self) {
        self.steps += 1;
        let core = match &mut self.random {
            None => self.steps % (self.shards + 1),
            Some(random) => {
                self.clock_ns
                    .set(self.clock_ns.get() + random.below(200_000));
                pick(random, &self.weights)
            }
        };
        self.turn(core);
    }

    /// Some of `most`: all of it in order, else as the seed says.
    fn some_of(random: &mut Option<Random>, most: usize) -> usize {
        let Some(random) = random else {
            return most;
        };
        if random.one_in(3) {
            most
        } else {
            random.index(most + 1)
        }
    }

    fn turn(&mut self, index: usize) {
        let now = self.now();
        if index == self.shards {
            self.replication.begin_turn(now);
            if !std::mem::replace(&mut self.saves_enabled, true) {
                self.replication.enable_saves();
            }
        }
        if index < self.shards {
            self.cores[index].begin_turn(now);
            self.receive(index);
        }
        let mut peers: Vec<usize> = (0..=self.shards).filter(|peer| *peer != index).collect();
        if let Some(random) = &mut self.random {
            random.shuffle(&mut peers);
        }
        for &peer in &peers {
            let link = peer * (self.shards + 1) + index;
            for _ in 0..Node::some_of(&mut self.random, self.links[link].len()) {
                let message = self.links[link].pop_front().expect("it was counted");
                self.deliver(index, peer, message);
            }
        }
        self.due[index] = false;
        if index < self.shards {
            self.due[index] = self.cores[index].turn() <= now.mono_ns;
            self.flush_sessions(index);
        } else {
            self.replication.turn();
            self.write_file();
        }
        for &peer in &peers {
            self.flush_link(index, peer);
        }
    }

    /// The disk: it takes what is saved at once.
    fn write_file(&mut self) {
        loop {
            match self.replication.save_step() {
                SaveStep::Nothing => return,
                SaveStep::Begin => self.writing.clear(),
                SaveStep::Block(_) if self.disk_fails => {
                    self.replication.save_ended(Err("the disk is full".into()));
                }
                SaveStep::Block(block) => self.writing.extend(block),
                SaveStep::End => {
                    self.file = Some(std::mem::take(&mut self.writing));
                    self.replication.save_ended(Ok(()));
                }
            }
            // It may let the shards' walks go on, or end the round.
            self.replication.take_round();
            self.due[self.shards] = true;
        }
    }

    fn deliver(&mut self, index: usize, from: usize, message: Message) {
        if index < self.shards {
            self.cores[index].deliver(from, message);
            return;
        }
        self.replication.deliver(from, message);
    }

    /// Hands a core's messages to the queue. As long as some are left over, the core wants another turn.
    fn flush_link(&mut self, index: usize, peer: usize) {
        let outbox = match self.cores.get_mut(index) {
            Some(core) => core.outbox(peer),
            None if peer < self.shards => self.replication.outbox(peer),
            None => return,
        };
        if outbox.is_empty() {
            return;
        }
        let link = &mut self.links[index * (self.shards + 1) + peer];
        let most = self.link_messages_max;
        let all_gone = outbox.flush(|message| {
            if link.len() < most {
                link.push_back(message);
                return Ok(());
            }
            Err(message)
        });
        self.refusals += usize::from(!all_gone);
        self.full_outboxes += usize::from(outbox.is_full());
        // A session that waited for room in the outbox looks at it in the next turn.
        self.due[index] = true;
    }

    /// Bytes arrive at a core.
    fn receive(&mut self, index: usize) {
        for id in 0..self.connections.len() {
            let connection = &mut self.connections[id];
            if connection.core != index || !connection.has_input() {
                continue;
            }
            let waiting = connection.input.len() - connection.delivered;
            let most = Node::some_of(&mut self.random, waiting.min(self.piece_bytes_max));
            let core = &mut self.cores[index];
            let mut end = connection.delivered + most;
            // The transport may read a large argument straight into its place.
            let into_place = self.random.as_mut().is_some_and(|random| random.one_in(2));
            if into_place && let Some((buffer, bytes_max)) = core.big_target(connection.session) {
                end = end.min(connection.delivered + bytes_max);
                buffer.extend_from_slice(&connection.input[connection.delivered..end]);
                core.big_filled(connection.session, end - connection.delivered);
            } else if most > 0 {
                core.read(
                    connection.session,
                    &connection.input[connection.delivered..end],
                );
            }
            connection.delivered = end;
            if connection.finishing
                && connection.delivered == connection.input.len()
                && !connection.input_ended
            {
                connection.input_ended = true;
                if !core.input_ended(connection.session) {
                    connection.closed = true;
                    core.close(connection.session);
                }
            }
        }
    }

    /// Takes what the sessions have to send, as the server does.
    fn flush_sessions(&mut self, index: usize) {
        let mut touched = Vec::new();
        while let Some(id) = self.cores[index].next_touched() {
            if let Some(session) = self.cores[index].session(id) {
                touched.push(session.handle as ConnectionId);
            }
        }
        for (id, connection) in self.connections.iter().enumerate() {
            if connection.core == index && connection.unsent && !touched.contains(&id) {
                touched.push(id);
            }
        }
        for id in touched {
            self.flush_session(id);
        }
        while let Some(id) = self.cores[index].next_readable() {
            if let Some(session) = self.cores[index].session(id) {
                self.connections[session.handle as usize].paused = false;
            }
        }
    }

    fn flush_session(&mut self, id: ConnectionId) {
        let connection = &mut self.connections[id];
        let core = &mut self.cores[connection.core];
        let Some(session) = core.session(connection.session) else {
            connection.unsent = false;
            return;
        };
        let mut gone = session.client.close == Some(Close::Now);
        if !gone {
            let bytes = session.out.to_vec();
            let most = Node::some_of(&mut self.random, bytes.len());
            connection.received.extend_from_slice(&bytes[..most]);
            session.out.advance(most);
        }
        connection.unsent = !session.out.is_empty() && !gone;
        connection.paused = session.reading_paused;
        gone |= !connection.unsent && session.wants_close();
        if gone {
            connection.closed = true;
            core.close(connection.session);
        } else if connection.paused {
            core.watch_reading(connection.session);
        }
    }
}

impl Connection {
    /// Something of it waits to arrive and may.
    fn has_input(&self) -> bool {
        let more = self.delivered < self.input.len() || (self.finishing && !self.input_ended);
        more && !self.closed && !self.paused
    }

    /// Bytes that have arrived at the core so far.
    pub fn delivered(&self) -> usize {
        self.delivered
    }

    /// The server, or the client, has closed it.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

/// An index, each as likely as its weight says.
fn pick(random: &mut Random, weights: &[u64]) -> usize {
    let mut drawn = random.below(weights.iter().sum());
    for (index, weight) in weights.iter().enumerate() {
        if drawn < *weight {
            return index;
        }
        drawn -= weight;
    }
    unreachable!("the draw is below the sum")
}
