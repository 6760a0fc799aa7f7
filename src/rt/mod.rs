//! The runtime: one pinned executor per core, and in it a readiness loop that drives a plain state machine.
//!
//! This is the only module that names glommio. A core of the node is a type that implements [`Core`]: plain
//! callbacks, no async, no sockets of its own. [`run`] starts one thread per core, builds the core in it, and
//! feeds it what happens: connections, bytes, messages of other cores, signals, time.
//!
//! ```text
//!   thread "shard-0", pinned                      thread "shard-1", pinned
//!   ┌ glommio LocalExecutor ─────────┐            ┌ glommio LocalExecutor ─────────┐
//!   │  one task: Driver ◀─▶ Core     │   mesh     │  one task: Driver ◀─▶ Core     │
//!   │  epoll: listeners, signals,    │ ◀═rings══▶ │  epoll: connections, wake      │
//!   │  connections, wake             │            │                                │
//!   └────────────────────────────────┘            └────────────────────────────────┘
//! ```
//!
//! Invariants:
//! - **The one task never awaits.** glommio loses wake-ups when its `need_preempt` is already true as its run
//!   loop is entered (a preempt timer that fired, an eventfd written by another thread): it then believes
//!   that nothing ran and parks with a runnable task in its queue. Neither can hurt here. On entry no timer
//!   has fired (it is set to an hour) and no other thread holds anything of the executor, so the task starts;
//!   from then on glommio's loop is not entered until the task has ended, and before it could park it looks
//!   at the task's result, which is there. Should the timer fire meanwhile, it costs one interrupted wait.
//! - Nothing else of glommio is used on a core: no timers, channels, sockets, files, wakers, no blocking pool.
//! - Everything the system may refuse is checked before the first core runs and is a [`StartError`] with one
//!   sentence, never a panic.
//! - A panic in any core ends the process: a node that lost a slice must not go on.
//! - The loop is level-triggered epoll. It measured at least equal to an io_uring of our own (multishot accept
//!   and receive, provided buffers) and is simpler; everything of the system stays behind [`Core`] and [`Io`],
//!   so that another driver can take its place.

mod clock;
mod driver;
mod io;
mod mesh;
mod net;
mod probe;
mod purge;
mod signals;
mod slab;
mod start;
pub mod sys;
#[cfg(test)]
mod tests;

pub use clock::{Now, monotonic_ns_fresh, ticks_ns};
pub use driver::ReadTarget;
pub use io::{Counters, Io, WRITE_PIECES_MAX, WriteResult};
pub use net::{BindError, Listener, Socket};
pub use probe::{available_cpus, check_cpus, probe, raise_nofile};
pub use purge::Purger;
pub use signals::Signal;
pub use slab::ConnId;
pub use start::{CoreSpec, StartError, run};

/// What a core does. Lives in its thread from start to end; every call is on that thread.
///
/// All callbacks get the core's [`Io`]. They must not block, and may close any connection, the one at hand
/// included.
pub trait Core: 'static {
    /// What cores tell each other.
    type Message: Send + 'static;

    /// A listener of this core accepted a connection: serve it with [`Io::adopt`], send it to another core
    /// inside a message, or drop it, which closes it.
    fn accepted(&mut self, io: &mut Io<Self::Message>, socket: Socket);

    /// Bytes of a connection, at most [`Options::read_bytes_max`] of them. The buffer is the core's shared
    /// one: what is not consumed must be copied.
    fn received(&mut self, io: &mut Io<Self::Message>, conn: ConnId, data: &[u8]);

    /// Asked before each receive: where the core wants the bytes, when it waits for the rest of something
    /// large. With none, or no spare capacity, they come through [`Core::received`].
    fn read_target(&mut self, conn: ConnId) -> Option<ReadTarget<'_>> {
        let _ = conn;
        None
    }

    /// `bytes` more bytes lie at the end of the buffer that [`Core::read_target`] gave.
    fn filled(&mut self, io: &mut Io<Self::Message>, conn: ConnId, bytes: usize) {
        let _ = (io, conn, bytes);
    }

    /// A connection for which [`Io::want_writable`] is on can take bytes.
    fn writable(&mut self, io: &mut Io<Self::Message>, conn: ConnId);

    /// The peer will send no more. True keeps the connection for what is still to be written: the core closes
    /// it later (or hears of its failure). False, the default, has it closed and reported at once.
    fn input_ended(&mut self, io: &mut Io<Self::Message>, conn: ConnId) -> bool {
        let _ = (io, conn);
        false
    }

    /// The connection is gone, and its id dead. Not called for the core's own [`Io::close`].
    fn closed(&mut self, io: &mut Io<Self::Message>, conn: ConnId, why: Closed);

    /// A message of core `from`. Messages of one sender come in the order of their pushes.
    fn message(&mut self, io: &mut Io<Self::Message>, from: usize, message: Self::Message);

    /// Somebody wants the node to end. Only on core 0, only with [`Options::signals`].
    fn signal(&mut self, io: &mut Io<Self::Message>, signal: Signal);

    /// After all events of a turn, and once at the start: the place to flush outboxes and sockets. Says when
    /// it must run again at the latest.
    fn turn(&mut self, io: &mut Io<Self::Message>) -> Next;
}

/// When a core must run again at the latest. Events run it earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: there is work left (after a look at the sockets and rings, which get their share).
    Now,
    /// At this monotonic moment, in nanoseconds; the kernel rounds it up to a millisecond.
    At(u64),
    /// When something happens.
    Idle,
    /// Never: this core ends. Its connections are closed, messages to it dropped.
    Stop,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// The peer closed it.
    EndOfFile,
    /// Reset, timed out, or the kernel gave up on it.
    Failed(std::io::Error),
}

/// How the cores run. The same for all of them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Core 0 takes over SIGTERM and SIGINT.
    pub signals: bool,
    /// How long an idle core watches its rings before it sleeps. Pays only where every core has a CPU to
    /// itself; zero otherwise.
    pub spin_us: u64,
    /// Messages that fit into the ring between two cores.
    pub ring_capacity: usize,
    /// Bytes of one receive: a connection's share of a turn, and the size of the core's shared buffer.
    pub read_bytes_max: usize,
    /// Bytes of one receive straight into a [`ReadTarget`].
    pub large_read_bytes_max: usize,
    /// Ready descriptors handled in one turn.
    pub events_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            signals: false,
            spin_us: 0,
            ring_capacity: 256,
            read_bytes_max: 32 * 1024,
            large_read_bytes_max: 64 * 1024,
            events_max: 128,
        }
    }
}
