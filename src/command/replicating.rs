//! What sessions ask the replication shard, and what it answers: plain data, the same for real and simulated nodes.

use std::sync::Arc;

use super::Client;
use crate::config::ReplicaOf;

/// Asked by a client command; answered with an [`Answer`], some of them later.
#[derive(Clone, Debug)]
pub enum Question {
    /// How things stand: INFO, ROLE.
    Status,
    /// WAIT: when have so many followers acknowledged all that the lanes hold up to these positions?
    Wait {
        /// Of each shard's lane.
        positions: Vec<u64>,
        /// So many followers.
        followers: i64,
        /// Answer by then with what there is, wall clock milliseconds; `None`: never.
        until_ms: Option<i64>,
    },
    /// REPLICAOF: follow this server.
    Follow {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// REPLICAOF NO ONE.
    Lead {
        /// The answer comes when the node leads; else at once. An EXEC cannot wait for that: it holds the shards.
        wait: bool,
    },
    /// FAILOVER.
    Failover {
        /// The follower that shall lead, by its announced address; `None`: the first that has everything.
        to: Option<(String, u16)>,
        /// At the timeout go on in any case.
        force: bool,
        /// Give up, or force, by then, wall clock milliseconds.
        until_ms: Option<i64>,
    },
    /// FAILOVER ABORT.
    AbortFailover,
    /// SHUTDOWN: answered when the followers have everything, or it has taken too long.
    Part,
    /// SHUTDOWN ABORT: writes go on.
    Stay,
    /// SAVE, BGSAVE, SHUTDOWN.
    Save(SaveHow),
    /// CLIENT KILL of those that follow, by their clients' ids.
    CloseFollowers(Vec<u64>),
    /// The id of the write log shall be this (DEBUG CHANGE-REPL-ID).
    ChangeId([u8; 40]),
}

/// How the data is to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveHow {
    /// The answer comes at once.
    Background,
    /// The answer comes when it is done.
    Wait,
    /// The answer comes when it is done, and nothing changes any more: the node ends. After a failure it goes on.
    AndHold,
}

/// What the replication shard answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// So many followers have acknowledged.
    Acknowledged(i64),
    /// It is done, or begun: the text of a simple reply.
    Done(&'static str),
    /// It is not: the text of an error.
    Refused(String),
}

impl Answer {
    /// How things stand: the answer to [`Question::Status`].
    pub fn status(self) -> Box<Status> {
        match self {
            Answer::Status(status) => status,
            other => unreachable!("{other:?} is another question's answer"),
        }
    }
}

/// How far a follower has applied its leader's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// All of the stream up to there is applied.
    pub offset: u64,
    /// All bytes up to there were looked at, and nothing is under way: more are needed to go on.
    pub taken: u64,
    /// The database that the stream has selected there.
    pub db: u16,
    /// The leader asked for an acknowledgement.
    pub acknowledge: bool,
    /// This is the last word: the stream's session is gone.
    pub ended: bool,
    /// It is gone because what came was no stream, or somebody closed it.
    pub broken: bool,
}

/// What a node is to others.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Role {
    /// It takes writes.
    #[default]
    Leader,
    /// It follows another server.
    Follower {
        /// The link is up: the data is the leader's, but for what is on its way.
        up: bool,
    },
}

impl Status {
    /// The followers as clients, for CLIENT's filters and lists.
    pub fn follower_clients(&self, now_ms: i64) -> Vec<Client> {
        let shown = |follower: &FollowerStatus| {
            let client = follower.client.as_ref()?.as_follower();
            let unsent_bytes = follower.unsent_bytes as usize;
            Some(Client {
                active_ms: now_ms.saturating_sub_unsigned(follower.lag_seconds * 1000),
                output_bytes: unsent_bytes,
                memory_bytes: unsent_bytes + size_of::<Client>(),
                ..client
            })
        };
        self.followers.iter().filter_map(shown).collect()
    }
}

/// What every core must know of the replication shard's state. Sent when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    /// What the node is to others.
    pub role: Role,
    /// The leader's address, on a follower.
    pub replicaof: Option<Arc<ReplicaOf>>,
    /// Data is being loaded: no command that looks at it runs.
    pub loading: bool,
    /// Followers that acknowledged lately (`min-replicas-max-lag`).
    pub good_followers: u64,
    /// The last save failed, and `stop-writes-on-bgsave-error` minds.
    pub save_failed: bool,
    /// The node hands its role to a follower.
    pub failing_over: bool,
    /// The node is about to end, and waits for its followers.
    pub parting: bool,
}

impl Standing {
    /// What clients write waits, and nothing expires: the log must not grow.
    #[inline]
    pub fn holds_writes(&self) -> bool {
        self.failing_over || self.parting
    }
}

/// How replication and persistence stand.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The id of the write log.
    pub id: String,
    /// The id that it had before, up to [`Status::second_offset`]; zeros without one.
    pub id2: String,
    /// The offset up to which the id before was right, or -1.
    pub second_offset: i64,
    /// Bytes of the write log.
    pub offset: u64,
    /// Bytes of the past that are kept; `None` without a backlog.
    pub backlog: Option<Backlog>,
    /// Those who follow, in the order in which they came.
    pub followers: Vec<FollowerStatus>,
    /// The link to the leader; `None` on a leader.
    pub link: Option<LinkStatus>,
    /// `no-failover`, `waiting-for-sync` or `failover-in-progress`.
    pub failover_state: &'static str,
    /// Counts of full synchronisations, accepted and refused partial ones.
    pub syncs: [u64; 3],
    /// Persistence.
    pub saving: SavingStatus,
}

/// The part of the stream that is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// The number of the first byte that is kept.
    pub first_byte: u64,
    /// Bytes that are kept.
    pub bytes: u64,
}

/// One follower.
#[derive(Clone, Debug, Default)]
pub struct FollowerStatus {
    /// The client's id.
    pub id: u64,
    /// The address that it announced, or comes from.
    pub ip: String,
    /// The port that it listens on.
    pub port: u16,
    /// `wait_bgsave`, `send_bulk` or `online`.
    pub state: &'static str,
    /// Acknowledged bytes.
    pub offset: u64,
    /// Seconds since it acknowledged.
    pub lag_seconds: u64,
    /// Its client, as it was when it began to follow.
    pub client: Option<Arc<Client>>,
    /// Bytes that wait to be sent to it.
    pub unsent_bytes: u64,
}

/// The link of a follower to its leader.
#[derive(Clone, Debug, Default)]
pub struct LinkStatus {
    /// The leader.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `connect`, `connecting`, `handshake`, `sync` or `connected`.
    pub state: &'static str,
    /// Seconds since the leader said something; -1 without a link.
    pub last_io_seconds: i64,
    /// Bytes received.
    pub read_offset: i64,
    /// Bytes applied.
    pub applied_offset: i64,
    /// Seconds since the link broke; `None` while it is up.
    pub down_seconds: Option<i64>,
    /// A full synchronisation under way.
    pub sync: Option<SyncStatus>,
}

/// A full synchronisation under way, on the follower.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyncStatus {
    /// Bytes in all; `None` when the leader has not said.
    pub total_bytes: Option<u64>,
    /// Bytes read.
    pub read_bytes: u64,
    /// Seconds since something was read.
    pub last_io_seconds: i64,
    /// Keys loaded.
    pub keys: u64,
}

/// Saves to disk, and loading.
#[derive(Clone, Debug, Default)]
pub struct SavingStatus {
    /// The load under way.
    pub loading: Option<LoadStatus>,
    /// What the last load brought.
    pub last_load: LoadCounts,
    /// A save is under way.
    pub saving: bool,
    /// The sum of the shards' changes at the last save.
    pub saved_changes: u64,
    /// When the last save ended, seconds since 1970; the start before the first.
    pub last_save_s: i64,
    /// The last save that ran in the background succeeded.
    pub last_ok: bool,
    /// Seconds that the last one took; -1 without one.
    pub last_seconds: i64,
    /// Seconds since the one under way began; -1 without one.
    pub current_seconds: i64,
    /// Saves since the start.
    pub saves: u64,
}

/// Data that is being loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadStatus {
    /// When it began, seconds since 1970.
    pub begun_s: i64,
    /// Seconds since then.
    pub seconds: u64,
    /// Bytes of the data; 0 when that is not known.
    pub total_bytes: u64,
    /// Bytes read so far.
    pub read_bytes: u64,
    /// Keys so far.
    pub counts: LoadCounts,
}

/// What shards have taken of data that is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Keys that are there now.
    pub keys: u64,
    /// Keys that had expired, and were dropped.
    pub expired: u64,
}

/// A connection that asks to follow: what it has said of itself (REPLCONF).
#[derive(Clone, Debug, Default)]
pub struct FollowerInfo {
    /// The port that it listens on.
    pub listening_port: u16,
    /// The address under which it wants to be known; empty: where it comes from.
    pub announced_ip: String,
    /// It understands a payload of unknown length (`capa eof`).
    pub eof: bool,
    /// It understands a new id in `+CONTINUE` (`capa psync2`).
    pub psync2: bool,
    /// It reads version 12 of RDB data: it said so, or what only a server that does says (`capa rdb-channel-repl`).
    pub version_12: bool,
    /// The version of the server that it says it is, as `major * 65536 + minor * 256 + patch`; 0 when it did not say.
    pub version: u32,
    /// It wants the data once, and no stream.
    pub rdb_only: bool,
    /// It wants no data: only functions.
    pub without_data: bool,
}

/// What a connection that is handed to the replication shard asked for.
#[derive(Clone, Debug)]
pub struct FollowRequest {
    /// PSYNC's id and offset; `None` for SYNC.
    pub from: Option<(Vec<u8>, i64)>,
    /// PSYNC … FAILOVER: the receiver shall lead.
    pub failover: bool,
    /// What it said of itself.
    pub info: FollowerInfo,
    /// The client's id.
    pub client: u64,
    /// Where it comes from, `ip:port`.
    pub addr: String,
    /// What CLIENT LIST shows of it.
    pub shown: Arc<Client>,
}
