//! Commands: what a row of a command table is, what a handler sees, and how lines find their row.
//!
//! A command is declared in exactly one place: a [`Command`] row in its family's const table, with the handler
//! below the table. Arity checks, routing, gates, statistics, COMMAND's replies and docs/commands.md come from the row.
//!
//! There are two kinds of handlers ([`Run`]):
//! - **keys**: a plain `fn(&mut Cx)` that runs on the shard that owns the line's keys. When the keys have several
//!   owners, [`Spread`] says how the same handler still serves the line: on every owner with its own keys and the
//!   replies merged, or once, on the session's core, over entries that their owners lend for the time.
//! - **client**: a plain `fn(&mut ClientCx)` that runs on the session's core and sees the session's [`Client`]; what
//!   concerns the whole node it hands out as a [`Visit`] of the cores.
//!
//! Invariants:
//! - A handler never waits, and reaches nothing but what its context holds.
//! - A handler parses all of its arguments before it changes anything: a line that fails has changed nothing.

pub mod bitmap;
mod client;
pub mod client_command;
mod client_list;
pub mod client_tracking;
pub mod cluster;
pub mod connection;
pub mod cx;
pub mod database;
pub mod debug_keys;
mod describe;
pub mod digest;
pub mod dump;
pub mod expire;
mod fault;
pub mod generic;
pub mod geo;
pub mod hash;
mod help;
pub mod hyperloglog;
mod keys;
pub mod list;
pub mod object;
mod protect;
pub mod pubsub;
mod registry;
pub mod replicating;
pub mod replication;
pub mod saving;
pub mod scan;
pub mod set;
pub mod sort;
pub mod sorted_set;
pub mod stream;
pub mod string;
pub mod syntax;
#[cfg(test)]
pub mod testkit;
pub mod timeout;
pub mod transaction;

pub use client::{Client, Close, ReplyMode, Unblock};
pub use client_list::ClientType;
pub use cx::{
    Block, ClientCx, Clients, CoreView, Cx, Effects, Flow, Node, Now, Os, Part, Pause, Place,
    Ready, Switches, Visit, WaitingCount, Where, Write, class,
};
pub use describe::{CATEGORIES, KeyRange, key_flag_names};
pub use fault::{Done, Fault};
pub use help::help;
pub use keys::{Begin, Find, KeyRef, KeySpec, key_flag};
pub use protect::{check_protected, protected_action_allowed};
pub use registry::{CommandId, Registered, Registry};

use crate::keyspace::Entry;
use crate::resp::Line;

/// Command flags, as COMMAND INFO names them.
pub mod flag {
    /// May change the keyspace.
    pub const WRITE: u32 = 1;
    /// Never changes the keyspace.
    pub const READONLY: u32 = 1 << 1;
    /// May grow memory: refused when memory is at its limit.
    pub const DENYOOM: u32 = 1 << 2;
    /// For administrators.
    pub const ADMIN: u32 = 1 << 3;
    /// Has to do with publish and subscribe.
    pub const PUBSUB: u32 = 1 << 4;
    /// Not for scripts.
    pub const NOSCRIPT: u32 = 1 << 5;
    /// May block its client.
    pub const BLOCKING: u32 = 1 << 6;
    /// Works while data is being loaded.
    pub const LOADING: u32 = 1 << 7;
    /// Works on a follower with stale data.
    pub const STALE: u32 = 1 << 8;
    /// Not shown by MONITOR.
    pub const SKIP_MONITOR: u32 = 1 << 9;
    /// Not kept in the slow log.
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    /// Constant or logarithmic time.
    pub const FAST: u32 = 1 << 11;
    /// Works before authentication.
    pub const NO_AUTH: u32 = 1 << 12;
    /// Not allowed between MULTI and EXEC.
    pub const NO_MULTI: u32 = 1 << 13;
    /// The row's key specs do not show all keys.
    pub const MOVABLEKEYS: u32 = 1 << 14;
    /// May reach followers although it is no write.
    pub const MAY_REPLICATE: u32 = 1 << 15;
    /// Works in a script that has run too long.
    pub const ALLOW_BUSY: u32 = 1 << 16;
    /// Not while data is being loaded beside the old data.
    pub const NO_ASYNC_LOADING: u32 = 1 << 17;
    /// The keys are optional.
    pub const NO_MANDATORY_KEYS: u32 = 1 << 18;
    /// Needs a setting that is off by default.
    pub const PROTECTED: u32 = 1 << 19;
    /// Works right after ASKING.
    pub const ASKING: u32 = 1 << 20;
    /// Between MULTI and EXEC the line runs at once instead of being queued. Not shown.
    pub const UNQUEUED: u32 = 1 << 21;
    /// Selects the database that its argument 1 names. Not shown.
    pub const SELECTS: u32 = 1 << 22;
    /// Works for a RESP2 client that has subscriptions. Not shown by COMMAND INFO.
    pub const WHILE_SUBSCRIBED: u32 = 1 << 23;
    /// What CLIENT CACHING said of the next line is not about this one. Not shown.
    pub const KEEPS_CACHING: u32 = 1 << 24;
}

/// ACL categories beyond those that follow from the flags (read, write, admin, dangerous with admin, pubsub, blocking, fast, slow).
pub mod category {
    /// Works on keys of any type.
    pub const KEYSPACE: u32 = 1;
    /// Strings.
    pub const STRING: u32 = 1 << 1;
    /// Bitmaps.
    pub const BITMAP: u32 = 1 << 2;
    /// Lists.
    pub const LIST: u32 = 1 << 3;
    /// Sets.
    pub const SET: u32 = 1 << 4;
    /// Sorted sets.
    pub const SORTEDSET: u32 = 1 << 5;
    /// Hashes.
    pub const HASH: u32 = 1 << 6;
    /// HyperLogLogs.
    pub const HYPERLOGLOG: u32 = 1 << 7;
    /// Geospatial indexes.
    pub const GEO: u32 = 1 << 8;
    /// Streams.
    pub const STREAM: u32 = 1 << 9;
    /// About the connection.
    pub const CONNECTION: u32 = 1 << 10;
    /// Transactions.
    pub const TRANSACTION: u32 = 1 << 11;
    /// Scripts.
    pub const SCRIPTING: u32 = 1 << 12;
    /// Can harm the service.
    pub const DANGEROUS: u32 = 1 << 13;
    /// Reads, although no flag says so.
    pub const READ: u32 = 1 << 14;
    /// Writes, although no flag says so.
    pub const WRITE: u32 = 1 << 15;
    /// For administrators, although no flag says so.
    pub const ADMIN: u32 = 1 << 16;
}

/// The documentation groups of COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// String commands.
    String,
    /// Bitmap commands.
    Bitmap,
    /// Commands on keys of any type.
    Generic,
    /// Connection commands.
    Connection,
    /// Server commands.
    Server,
    /// Transactions.
    Transactions,
    /// Publish and subscribe.
    Pubsub,
    /// List commands.
    List,
    /// Hash commands.
    Hash,
    /// Set commands.
    Set,
    /// Sorted set commands.
    SortedSet,
    /// Stream commands.
    Stream,
    /// HyperLogLog commands.
    HyperLogLog,
    /// Geospatial commands.
    Geo,
    /// Cluster commands.
    Cluster,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    pub fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::Generic => "generic",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
            Group::Pubsub => "pubsub",
            Group::List => "list",
            Group::Hash => "hash",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::Cluster => "cluster",
        }
    }
}

/// How the replies of one line's parts become the line's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// All parts say the same; the first is taken.
    Same,
    /// The integers are added.
    Sum,
    /// Each part's array holds its keys' elements in their order; they go back to the keys' places.
    Interleave,
    /// The arrays are joined.
    Concat,
}

/// How a keys handler serves a line whose keys have several owners.
#[derive(Clone, Copy)]
pub enum Spread {
    /// The line never has more than one key.
    One,
    /// The handler runs on every owner with that owner's keys (and what belongs to them, by the key step).
    Split(Merge),
    /// The owners lend the entries; the handler runs once, on the session's core.
    Gather,
    /// As `Gather`; but the value of the line's first key may name further keys, which are lent in a second round.
    Follow(Follow),
    /// No keys: the handler runs on every shard, with the whole shard reserved.
    All(Merge),
    /// No keys: the line itself names the shard (`line, shards -> shard`), as SCAN's cursor does.
    Route(fn(&Line<'_>, usize) -> usize),
}

impl Spread {
    /// The line may look at more of a shard than its keys there: what it waits for, and reserves, is the whole shard.
    pub fn leaves_its_keys(&self, line: &Line<'_>) -> bool {
        match self {
            Spread::One | Spread::Split(_) | Spread::Gather => false,
            Spread::Follow(follow) => (follow.is_needed)(line),
            Spread::All(_) | Spread::Route(_) => true,
        }
    }
}

/// Keys that only the value of a line's first key names, as SORT's patterns do. Nobody knows them when the line is planned: all shards
/// are reserved as a whole.
#[derive(Clone, Copy)]
pub struct Follow {
    /// The line may need such keys.
    pub is_needed: fn(&Line<'_>) -> bool,
    /// Appends these keys, in the line's database, to a list (`line, entry of its first key, list`).
    pub keys: fn(&Line<'_>, &Entry, &mut Vec<Box<[u8]>>),
}

/// A handler of a keys command.
pub type KeysHandler = fn(&mut Cx<'_>) -> Done;
/// A handler of a client command.
pub type ClientHandler = fn(&mut ClientCx<'_, '_>) -> Result<Flow, Fault>;

/// Where and how a command runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// On the owner of the keys.
    Keys(KeysHandler, Spread),
    /// On the session's core.
    Client(ClientHandler),
    /// A container: only its subcommands run.
    Container,
}

/// One command or subcommand.
pub struct Command {
    /// Lower case; a subcommand is `container|name`.
    pub name: &'static str,
    /// The exact number of arguments with the name, or minus the smallest.
    pub arity: i32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bits of [`category`] beyond those that the flags imply.
    pub categories: u32,
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// Another database in which the line touches its first key. Reserved with the keys, and told to nobody.
    pub other_db: Option<fn(&crate::resp::Line<'_>) -> Option<usize>>,
    /// The documentation group.
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// The version of Redis since which another command is preferred, and what that is.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Complexity in words.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The arguments in the usual notation: `key value [NX | XX] [EX seconds | PX milliseconds]`.
    pub syntax: &'static str,
    /// Command tips of COMMAND INFO, such as `nondeterministic_output`.
    pub tips: &'static [&'static str],
    /// Where and how it runs.
    pub run: Run,
    /// The argument at an index is a secret, which neither the slow log nor MONITOR may show.
    pub secret: Option<fn(&Line<'_>, usize) -> bool>,
    /// The subcommands of a container.
    pub subcommands: &'static [Command],
}

impl Command {
    /// A row with the parts that matter for running; the documentation is added by struct update.
    pub const fn new(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
        Command {
            name,
            arity,
            flags,
            categories: 0,
            keys: &[],
            other_db: None,
            group: Group::Generic,
            since: "1.0.0",
            deprecated: None,
            complexity: "O(1)",
            summary: "",
            syntax: "",
            tips: &[],
            run,
            secret: None,
            subcommands: &[],
        }
    }

    /// A line of `len` arguments, the name included, satisfies the arity.
    #[inline]
    pub fn arity_holds(&self, len: usize) -> bool {
        if self.arity >= 0 {
            len == self.arity as usize
        } else {
            len >= self.arity.unsigned_abs() as usize
        }
    }

    /// The arguments of a line as they may be shown: secrets are replaced.
    pub fn shown_args<'a>(&self, line: Line<'a>) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let secret = self.secret;
        line.args().enumerate().map(move |(index, arg)| {
            if secret.is_some_and(|secret| secret(&line, index)) {
                b"(redacted)"
            } else {
                arg
            }
        })
    }

    /// The flag bits are all set.
    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Command) -> bool {
        std::ptr::eq(self, other)
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
