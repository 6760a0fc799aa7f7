//! What handlers see: [`Cx`] on a shard, [`ClientCx`] on a session's core, [`CoreView`] when a core is visited.
//!
//! Fields are public and disjoint on purpose: a handler reads an entry out of `keyspace` while it writes to `reply`.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::replicating::{Answer, FollowRequest, Question, Standing};
use super::{Client, Fault};
use crate::base::random::Random;
use crate::config::Config;
use crate::keyspace::{Entry, Expired, ExpiredPart, Key, Keyspace, Type};
use crate::log::Lane;
use crate::pubsub;
use crate::resp::{Line, Proto, Reply};
use crate::stats::CoreStats;
use crate::tracking;

/// Classes of keyspace events, one bit each, as `notify-keyspace-events` names them.
pub mod class {
    /// `g`: commands on any type.
    pub const GENERIC: u32 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u32 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u32 = 1 << 4;
    /// `s`: sets.
    pub const SET: u32 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u32 = 1 << 6;
    /// `z`: sorted sets.
    pub const SORTED_SET: u32 = 1 << 7;
    /// `x`: a key expired.
    pub const EXPIRED: u32 = 1 << 8;
    /// `e`: a key was evicted.
    pub const EVICTED: u32 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u32 = 1 << 10;
    /// `m`: a read missed.
    pub const KEY_MISS: u32 = 1 << 11;
    /// `n`: a key was created.
    pub const NEW: u32 = 1 << 14;
}

/// One change of one key: what the after-write step tells watchers, trackers and subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// The event's name, as keyspace notifications send it.
    pub event: &'static str,
    /// One bit of [`class`].
    pub class: u32,
}

/// Keys that expired and fields that did, as changes.
pub fn expired_writes(expired: Vec<Expired>) -> impl Iterator<Item = Write> {
    expired.into_iter().flat_map(|Expired { db, key, part }| {
        let write = |event, class| Write {
            db,
            key: key.clone(),
            event,
            class,
        };
        let (first, second) = match part {
            ExpiredPart::Key => (write("expired", class::EXPIRED), None),
            ExpiredPart::Fields { last, .. } => (
                write("hexpired", class::HASH),
                last.then(|| write("del", class::GENERIC)),
            ),
        };
        std::iter::once(first).chain(second)
    })
}

/// What a line did besides its reply. Lives on a shard, reused from line to line.
#[derive(Default, Debug)]
pub struct Effects {
    /// Changes made by the line: 0 means that nothing is logged.
    pub dirty: u64,
    /// Somebody wants [`Effects::writes`]; set by the shard before the line runs.
    pub listening: bool,
    /// Somebody wants the log form; set by the shard before the line runs.
    pub logging: bool,
    /// The changed keys, kept only while `listening`.
    pub writes: Vec<Write>,
    /// The lines to log instead of the line as it came, each a RESP array; kept only while `logging`.
    pub log: Vec<u8>,
    /// The line said what to log: `log`, which may be nothing.
    pub rewritten: bool,
    /// What the line found expired before it changed something, to be logged before it; kept only while `logging`.
    pub expired: Vec<Expired>,
    /// The line has no reply yet: it waits for this.
    pub block: Option<Box<Block>>,
}

impl Effects {
    /// Forgets the line before. Keeps the allocations and what the shard wants to know.
    #[inline]
    pub fn reset(&mut self) {
        self.dirty = 0;
        if self.listening || self.logging {
            self.writes.clear();
        }
        if self.logging {
            self.log.clear();
            self.expired.clear();
        }
        self.rewritten = false;
    }

    /// The line found this expired.
    pub fn note_expired(&mut self, expired: Vec<Expired>) {
        if self.logging {
            self.expired.extend_from_slice(&expired);
        }
        self.writes.extend(expired_writes(expired));
    }

    /// As [`Cx::log`], for who has no whole context.
    pub fn log(&mut self, args: &[&[u8]]) {
        self.rewritten = true;
        if self.logging {
            crate::resp::encode_line(args, &mut self.log);
        }
    }
}

/// What a line waits for that found nothing: [`Cx::block`].
///
/// How a blocking handler is written: it looks at its keys in their order, passing over those that [`Cx::looks_at`] excludes,
/// and serves the line from the first that can. When none can it calls `cx.block(Block { .. })`, writes no reply, and returns
/// `Ok(())`. The line then runs again, as a whole, each time that one of `keys` can serve it; a run that blocks again waits on,
/// with its place in line and its first timeout. The mechanism replies null when the time is over, and at once when the line may not
/// block; a command with another reply for that asks [`Cx::may_block`] first. The row needs `flag::BLOCKING`. What is
/// logged is the handler's: it says with [`Cx::log`] what a line without blocking would have done.
#[derive(Clone, Debug)]
pub struct Block {
    /// Milliseconds; 0 is for ever.
    pub timeout_ms: u64,
    /// The arguments that are the keys it waits for. The line's other keys are needed too when it runs again.
    pub keys: Range<usize>,
    /// The type of value that it waits for. Values of other types leave it waiting.
    pub kind: Type,
    /// Decides in place of `kind` whether a key can serve the line now.
    pub ready: Option<Ready>,
    /// Arguments that are others when the line runs again, in their order: what XREAD's `$` stood for.
    pub replace: Vec<(usize, Vec<u8>)>,
}

/// Whether the line that waits for a key can be served now (or must be told that it never will): the key's value, `None`
/// without one; the key; the line.
pub type Ready = fn(Option<&Entry>, &[u8], &Line<'_>) -> bool;

/// Where a shard stands among the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// This shard.
    pub index: usize,
    /// All shards.
    pub count: usize,
}

/// Context of a keys handler: one line on the shard that owns its keys.
pub struct Cx<'a> {
    /// The line.
    pub line: Line<'a>,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// The shard's data; its clock is set.
    pub keyspace: &'a mut Keyspace,
    /// The client's database.
    pub db: usize,
    /// Hash of the line's first key; 0 for a line without keys.
    pub hash: u64,
    /// Wall clock in milliseconds since 1970.
    pub now_ms: i64,
    /// The parameters.
    pub config: &'a Config,
    /// What the line did.
    pub effects: &'a mut Effects,
    /// Random choices (SPOP, SRANDMEMBER …). What they changed is logged as it came out: see [`Cx::log`].
    pub random: &'a mut Random,
    /// The shard's place among the shards.
    pub place: Place,
    /// Node-wide switches that DEBUG and others set.
    pub switches: &'a mut Switches,
    /// The line may wait for keys: it is no line of an EXEC.
    pub may_block: bool,
    /// A line that had waited runs again because this key can serve it.
    pub woken_by: Option<&'a [u8]>,
}

impl<'a> Cx<'a> {
    /// The argument at `index` as a key. The hash of a line's first key travels with the line, so `key(1)` costs nothing for
    /// almost every command.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'a> {
        let bytes = self.line.arg(index);
        let hash = if index == 1 && self.hash != 0 {
            self.hash
        } else {
            self.keyspace.hasher().hash(bytes)
        };
        Key { bytes, hash }
    }

    /// The line changed `key`: counts it, and tells whoever listens.
    #[inline]
    pub fn wrote(&mut self, key: &[u8], event: &'static str, class: u32) {
        self.wrote_in(self.db, key, event, class);
    }

    /// As [`Cx::wrote`], in another database.
    #[inline]
    pub fn wrote_in(&mut self, db: usize, key: &[u8], event: &'static str, class: u32) {
        self.effects.dirty += 1;
        self.notify(db, key, event, class);
    }

    /// Tells whoever listens of an event that is no further change (a second event of one change).
    #[inline]
    pub fn notify(&mut self, db: usize, key: &[u8], event: &'static str, class: u32) {
        if self.effects.listening {
            if self.keyspace.has_expired() {
                // What a lookup found expired came before.
                let expired = self.keyspace.take_expired();
                self.effects.note_expired(expired);
            }
            self.effects.writes.push(Write {
                db,
                key: key.into(),
                event,
                class,
            });
        }
    }

    /// Logs this line instead of the line as it came. Called several times it logs several lines. Relative times
    /// must be absolute in it and random choices made.
    pub fn log(&mut self, args: &[&[u8]]) {
        self.effects.log(args);
    }

    /// The line found nothing and waits, or is answered null when it may not.
    pub fn block(&mut self, block: Block) {
        if self.may_block {
            self.effects.block = Some(Box::new(block));
        } else {
            self.reply.null_array();
        }
    }

    /// A line may be served from this key of those that it waits for: any at first, the one that can serve it when it runs
    /// again. The others may have another owner, or be promised to somebody else.
    #[inline]
    pub fn looks_at(&self, key: &[u8]) -> bool {
        self.woken_by.is_none_or(|woken_by| woken_by == key)
    }

    /// Logs nothing for this line, although it changed something.
    pub fn log_nothing(&mut self) {
        self.effects.rewritten = true;
    }
}

/// The time of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, microseconds since 1970.
    pub wall_us: i64,
    /// Monotonic nanoseconds since some moment.
    pub mono_ns: u64,
}

impl Now {
    /// Wall clock, milliseconds since 1970.
    #[inline]
    pub fn wall_ms(self) -> i64 {
        self.wall_us / 1000
    }
}

/// Facts about the node that never change while it runs.
#[derive(Clone, Debug)]
pub struct Node {
    /// 40 hex digits, new at each start.
    pub run_id: String,
    /// 40 hex digits: the id of the write log.
    pub replication_id: String,
    /// Wall clock at start, microseconds since 1970.
    pub started_us: i64,
    /// The process.
    pub pid: u32,
    /// The executable's path.
    pub executable: String,
    /// The configuration file's absolute path; empty without one.
    pub config_file: String,
    /// The kernel's name and release: `Linux 6.1.0 x86_64`.
    pub os: String,
    /// How sockets are waited for: `io_uring` or `epoll`.
    pub multiplexing_api: &'static str,
    /// The allocator's name and version.
    pub allocator: String,
    /// Data shards.
    pub shards: usize,
}

/// Switches of one core that DEBUG and CLIENT PAUSE set; every core has the same.
#[derive(Clone, Debug)]
pub struct Switches {
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// DEBUG SET-DISABLE-DENY-SCRIPTS.
    pub deny_scripts_disabled: bool,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Some session of the node is a MONITOR.
    pub monitored: bool,
    /// How replication and persistence stand.
    pub standing: Standing,
    /// Counts the changes of the parameters, so that two of them reach every core in one order.
    pub config_version: u64,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            active_expire: true,
            deny_scripts_disabled: false,
            pause: Pause::Off,
            monitored: false,
            standing: Standing::default(),
            config_version: 0,
        }
    }
}

/// CLIENT PAUSE: what waits, until which wall clock millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing waits.
    Off,
    /// Writes wait until then.
    Write(i64),
    /// All commands wait until then.
    All(i64),
}

impl Pause {
    /// Something waits at this moment, wall clock milliseconds.
    pub fn is_in_force(self, now_ms: i64) -> bool {
        match self {
            Pause::Off => false,
            Pause::Write(until_ms) | Pause::All(until_ms) => now_ms < until_ms,
        }
    }
}

/// What only the operating system knows or does. `rt` implements it; a simulation has its own.
pub trait Os {
    /// Resident memory of the process, bytes.
    fn resident_bytes(&self) -> u64;
    /// Physical memory of the machine, bytes.
    fn machine_memory_bytes(&self) -> u64;
    /// CPU time of the process: system and user, then those of its ended children, seconds.
    fn cpu_seconds(&self) -> [f64; 4];
    /// CPU time of this core's thread: system and user, seconds.
    fn thread_cpu_seconds(&self) -> [f64; 2];
    /// Counters of this core's runtime: `(name, value)`, the same names on every core.
    fn runtime_counters(&self) -> Vec<(&'static str, u64)>;
    /// Returns free memory of the allocator to the system.
    fn purge_memory(&self);
    /// Collects what this core freed, so that it can be returned: some 100 µs for a gigabyte of data in pieces.
    fn collect_memory(&self);
    /// Has the free memory of all cores returned to the system soon, by somebody else.
    fn trim_memory(&self);
    /// The allocator's own statistics as text.
    fn allocator_report(&self) -> String;
    /// Reads a whole file.
    fn read_file(&self, path: &str) -> Result<String, String>;
    /// Replaces a file as a whole, durably.
    fn write_file(&self, path: &str, text: &str) -> Result<(), String>;
    /// Blocks this core's thread (DEBUG SLEEP).
    fn sleep(&self, ms: u64);
    /// A monotonic clock read now, nanoseconds.
    fn monotonic_ns(&self) -> u64;
    /// Writes a line to the server's log.
    fn log_warning(&self, text: &str);
    /// Begins the orderly stop of the node.
    fn shutdown(&self);
    /// 64 random bits.
    fn random(&self) -> u64;
}

/// The clients of one core.
pub trait Clients {
    /// Calls `visit` for each client, in no order. A client that gets its [`Client::close`] set is closed after the visit.
    fn each(&mut self, visit: &mut dyn FnMut(&mut Client));
    /// The number of clients.
    fn count(&self) -> usize;
}

/// How much waits for keys, for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingCount {
    /// Keys of the shard that lines wait for.
    pub keys: usize,
    /// Those of them of which some line wants to hear that they are gone.
    pub keys_on_missing: usize,
    /// Sessions of the core whose waiting has an end.
    pub timeouts: usize,
}

/// One core, as a visit sees it.
pub struct CoreView<'a> {
    /// The core's place among the data cores.
    pub place: Place,
    /// The shard's data.
    pub keyspace: &'a mut Keyspace,
    /// Lines that wait for keys.
    pub waiting: WaitingCount,
    /// The core's counters, slow log and latency records.
    pub stats: &'a mut CoreStats,
    /// The core's clients. The client whose line is run is not among them: handlers have it beside.
    pub clients: &'a mut dyn Clients,
    /// Who listens to what.
    pub pubsub: &'a mut pubsub::Tables,
    /// What followers must apply.
    pub lane: &'a mut Lane,
    /// Who must be told when which key changes.
    pub tracking: &'a mut tracking::Tables,
    /// The parameters: the same on each core; replaced as a whole by CONFIG SET.
    pub config: &'a mut Arc<Config>,
    /// Facts about the node.
    pub node: &'a Node,
    /// All commands.
    pub registry: &'static super::Registry,
    /// Switches of the core.
    pub switches: &'a mut Switches,
    /// The operating system.
    pub os: &'a dyn Os,
    /// The time of the turn.
    pub now: Now,
}

/// Context of a client handler: one line on its session's core.
pub struct ClientCx<'a, 'b> {
    /// The line. Empty while parts of a visit are merged: what is needed then is captured before.
    pub line: Line<'a>,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// The session's client.
    pub client: &'a mut Client,
    /// The session's core.
    pub core: &'a mut CoreView<'b>,
}

/// What happens after a client handler.
#[must_use]
pub enum Flow {
    /// The reply is written (or there is none).
    Done,
    /// Cores are visited, then the answers merged.
    Visit(Visit),
    /// The keys of the line are watched, then the session replies.
    Watch,
    /// The queued lines run, and their replies are the reply.
    Exec,
    /// The connection goes to the replication shard: it is a follower from now on.
    Follow(Box<FollowRequest>),
}

/// What a visit brings back from one core.
pub type Part = Box<dyn Any + Send>;

/// Which cores are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Each data core.
    All,
    /// One data core.
    One(usize),
    /// The replication shard, which is asked something.
    Replication,
}

/// What runs on each core of a visit.
pub type VisitPart = Arc<dyn Fn(&mut CoreView<'_>) -> Part + Send + Sync>;
/// What makes the reply of the parts, in the order of the cores, on the session's core.
pub type VisitMerge = Box<dyn FnOnce(Vec<Part>, &mut ClientCx<'_, '_>) -> Result<Flow, Fault>>;

/// Work on several cores for one line, and how the answers become its reply. Visits are not ordered with writes of
/// other sessions: they are for administration, not for data.
pub struct Visit {
    /// The cores.
    pub to: Where,
    /// What each does.
    pub part: VisitPart,
    /// What the replication shard is asked.
    pub question: Option<Question>,
    /// What is made of it.
    pub merge: VisitMerge,
    /// It may look at the data, and waits until nothing of it is lent. Else it runs in its turn among the messages.
    pub data: bool,
}

impl Flow {
    /// Asks the replication shard.
    pub fn ask(
        question: Question,
        merge: impl FnOnce(Answer, &mut ClientCx<'_, '_>) -> Result<Flow, Fault> + 'static,
    ) -> Flow {
        Flow::Visit(Visit {
            to: Where::Replication,
            part: Arc::new(|_| Box::new(())),
            question: Some(question),
            data: false,
            merge: Box::new(move |mut parts, cx| {
                let answer = parts.pop().and_then(|part| part.downcast::<Answer>().ok());
                let answer = answer.expect("the replication shard answers with an answer");
                merge(*answer, cx)
            }),
        })
    }

    /// Visits cores with typed parts. `merge` may return another visit.
    pub fn visit<T: Send + 'static>(
        to: Where,
        part: impl Fn(&mut CoreView<'_>) -> T + Send + Sync + 'static,
        merge: impl FnOnce(Vec<T>, &mut ClientCx<'_, '_>) -> Result<Flow, Fault> + 'static,
    ) -> Flow {
        Flow::Visit(Visit {
            to,
            part: Arc::new(move |core| Box::new(part(core))),
            question: None,
            merge: Box::new(move |parts, cx| {
                let parts = parts
                    .into_iter()
                    .map(|part| *part.downcast::<T>().expect("a visit's parts have its type"))
                    .collect();
                merge(parts, cx)
            }),
            data: true,
        })
    }

    /// As [`Flow::visit`], of cores whose data does not matter: their tables of clients are changed before whatever the
    /// client's core has to say afterwards.
    pub fn visit_tables<T: Send + 'static>(
        to: Where,
        part: impl Fn(&mut CoreView<'_>) -> T + Send + Sync + 'static,
        merge: impl FnOnce(Vec<T>, &mut ClientCx<'_, '_>) -> Result<Flow, Fault> + 'static,
    ) -> Flow {
        match Flow::visit(to, part, merge) {
            Flow::Visit(visit) => Flow::Visit(Visit {
                data: false,
                ..visit
            }),
            other => other,
        }
    }
}

/// Protocol version of a client, for handlers that choose a shape by it.
impl ClientCx<'_, '_> {
    /// The client's protocol.
    pub fn proto(&self) -> Proto {
        self.client.proto
    }

    /// A big argument shared, or a copy of a small one.
    pub fn owned(&self, index: usize) -> Bytes {
        match self.line.shared(index) {
            Some(shared) => shared.clone(),
            None => Bytes::copy_from_slice(self.line.arg(index)),
        }
    }
}
