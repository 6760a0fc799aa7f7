//! What cores say to each other: batches of lines and replies, reservations, visits. Plain data, no transport (that is
//! `rt`'s) and no decisions (those are the session's, the shard's and the orderer's).
//!
//! ```text
//!   session's core                         owner's core
//!   ──────────────                         ────────────
//!   lines of all its sessions ── Lines ──▶ runs them in order, writes replies into the same batch
//!   answers its sessions      ◀─ Replies ─ the batch comes back, and is used again
//!                             ◀─ Late ──── replies of lines that had to wait for a reservation
//!                             ◀─ Waits ─── a line waits for keys; see `session::blocking` for what follows
//! ```
//!
//! Invariants:
//! - Messages from one core to another arrive in the order in which they were sent.
//! - Every line of a batch is answered exactly once: in the batch, or late.
//! - A batch is allocated by the core that sends lines, travels to the owner and comes back: its buffers grow to the
//!   size of the traffic and are then reused.

mod batch;
mod outbox;
mod wait;

use std::sync::Arc;

use bytes::Bytes;

pub use batch::{Batch, BatchLines, BatchReplies, ExecLines, Head, Late, OwnedLine, REPLIED_LATER};
pub use outbox::{OUTBOX_MESSAGES_MAX, Outbox};
pub use wait::{Others, Verdict, Waiter, WaiterId};

use crate::command::replicating::{Applied, Question, Standing};
use crate::command::{CommandId, Part, Write, cx::VisitPart};
use crate::keyspace::{Expired, OwnedEntry, Usage};
use crate::log::Chunk;
pub use crate::log::TxnId;
use crate::pubsub::{Kind, Publication, Subscriber};
use crate::rdb::Version;
use crate::resp::Output;
use crate::tracking::{Broadcast, Invalidation, Redirect, Stale};

/// Where an answer goes: a line of a session on the core that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The session's slot on its core.
    pub session: u32,
    /// Tells a session from later ones in the same slot.
    pub generation: u32,
    /// The line's number in its session; it wraps around.
    pub line: u32,
}

/// What a transaction reserves on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Marks of the keys ([`crate::shard::mark`]), sorted, each once. Empty with `whole`.
    pub keys: Vec<u64>,
    /// The whole shard.
    pub whole: bool,
    /// Others may not even read meanwhile.
    pub write: bool,
    /// The client whose watch ends when this is granted.
    pub watcher: Option<u64>,
}

impl Claim {
    /// Brings marks that were added in any order into their form.
    pub fn finish(&mut self) {
        if self.whole {
            self.keys.clear();
        }
        self.keys.sort_unstable();
        self.keys.dedup();
    }
}

/// One shard's share of a transaction.
pub struct Share {
    /// The shard.
    pub shard: u16,
    /// What is reserved there.
    pub claim: Claim,
    /// What runs there as soon as that is granted.
    pub line: Option<Box<OwnedLine>>,
}

/// A key on its way to be lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentKey {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// Its hash.
    pub hash: u64,
}

/// One message from core to core.
pub enum Message {
    /// Lines for the receiver's shard.
    Lines(Box<Batch>),
    /// A batch comes back with its replies.
    Replies(Box<Batch>),
    /// Replies of lines that waited.
    Late(Box<Late>),
    /// To the orderer: give this transaction its place, and reserve.
    Order(TxnId, Vec<Share>),
    /// From the orderer to a shard: the next transaction there. With a line the shard runs it when it has granted, answers, and
    /// keeps the reservation.
    Reserve(TxnId, Claim, Option<Box<OwnedLine>>),
    /// From a shard (its index) to the coordinator: the reservation is granted; whether a watch was broken there.
    Granted(TxnId, u16, bool),
    /// From a shard (its index): the reply of its part, and the nanoseconds that it took.
    Worked(TxnId, u16, Output, u64),
    /// To a shard that granted: hand over these entries to the line of this number in its EXEC, keep the reservation. The flag says
    /// that it is for the leader's line.
    Lend(TxnId, Vec<LentKey>, u32, bool),
    /// From a shard (its index): the entries, `None` for keys that do not exist.
    Lent(TxnId, u16, Vec<Option<OwnedEntry>>),
    /// To a shard that lent: the entries, and what was done to them.
    Return(TxnId, Box<Returned>),
    /// To a shard that granted: run these lines of an EXEC, whose tickets hold their numbers in it, send them back with
    /// their replies; whether to release.
    Hop(TxnId, Box<Batch>, bool),
    /// From a shard (its index): the lines with their replies.
    Hopped(TxnId, u16, Box<Batch>),
    /// To a shard that granted: nothing more to do there.
    Release(TxnId),
    /// All lines of an EXEC whose keys have one owner.
    Exec(Box<ExecLines>),
    /// They come back with their replies.
    Executed(Box<ExecLines>),
    /// The client with this id watches these keys. The answer goes to the ticket.
    Watch(Ticket, u64, Vec<LentKey>),
    /// They are watched.
    Watched(Ticket),
    /// The client with this id watches nothing any more.
    Unwatch(u64),
    /// This line of the receiver's found nothing: it waits for keys of the sender, so many milliseconds, 0 for ever.
    Waits(Ticket, CommandId, u64),
    /// This line waits for keys of the receiver; or it waits on, having found nothing again.
    Await(Box<Waiter>),
    /// This line of the sender's waits no more.
    Forget(Ticket),
    /// A key of the sender is held for this line of the receiver's. The answer goes to the sender's round of that number.
    /// Whether the line must run as a new one does, as it needs keys of other owners.
    Offer(u64, Ticket, bool),
    /// The answer to an offer.
    Answer(u64, Verdict),
    /// The reply of a line that waited; `None`: it found nothing again.
    Served(Ticket, Option<Output>),
    /// This line of the sender's can be served again: look at its keys.
    Recheck(Ticket),
    /// Run this part once nothing of the shard is lent (at once when the flag says so: it is no matter of the data, or
    /// belongs to an EXEC, which holds the shard itself), and answer with its number.
    Visit(u64, VisitPart, bool),
    /// The answer of a visit, and the nanoseconds that it took.
    Visited(u64, Part, u64),
    /// For the receiver's sessions, in the order in which they were published.
    Publications(Vec<Publication>),
    /// Subscriptions of a session of the sender that is gone.
    Unsubscribed(Vec<(Kind, Vec<Bytes>)>),
    /// Keys of the sender's shard have changed that sessions of the receiver have read.
    Stale(Vec<Invalidation>),
    /// Keys of the sender's shard have changed under prefixes that sessions of the receiver hear of.
    Broadcasts(Vec<Broadcast>),
    /// For a client of the receiver in place of a session of the sender: what is stale.
    Redirected(Redirect, Subscriber, Stale),
    /// The session of the sender that should have heard for one of the receiver is gone: that session, and the client's id
    /// that was told.
    RedirectGone(Subscriber, u64),
    /// A session of the sender hears of these prefixes no more.
    PrefixesLeft(Vec<Arc<[u8]>>),
    /// So many sessions of the sender are monitors now.
    Monitors(u32),
    /// A line for the receiver's monitors, as they are shown it.
    Monitor(Arc<[u8]>),
    /// To the replication shard: answer this as the visit of this number.
    Ask(u64, Question),
    /// From the replication shard, when it has changed: how things stand.
    Standing(Standing),
    /// To the replication shard: what the sender's shard changed.
    Log(Chunk),
    /// From the replication shard: run nothing until [`Message::CutDone`], and say when.
    Cut,
    /// To the replication shard: nothing runs on the sender's shard, and all that it logged has been sent.
    AtCut(CutFacts),
    /// To the replication shard: how many changes the sender's shard has counted.
    Changes(u64),
    /// From the replication shard, when all shards are at the cut: do this, and go on.
    CutDone(CutWork),
    /// To the replication shard: the next entries of the sender's snapshot as RDB bytes; whether they are the last.
    Snapshot(Vec<u8>, bool),
    /// From the replication shard: so many bytes of the snapshot have found their way, more may come.
    SnapshotTaken(usize),
    /// From the replication shard: nobody wants the snapshot any more.
    SnapshotAbandoned,
    /// From the replication shard: say when everything that cores have sent to the receiver so far has arrived. And the answer. And
    /// from each shard's core to each other: what came before this is all.
    Sweep,
    /// See [`Message::Sweep`].
    Swept,
    /// From the replication shard to the first shard's core: a leader's stream begins at this offset, with this database selected.
    LeaderBegins(u64, u16),
    /// The stream's next bytes.
    Leader(Bytes),
    /// No further bytes will come of it.
    LeaderEnds,
    /// To the replication shard: how far the stream is applied.
    Applied(Applied),
    /// From the replication shard: entries of the receiver's shard, which are loaded.
    Load(Vec<LoadedEntry>),
    /// To the replication shard, for each batch: so many keys of it were taken, so many had expired.
    Loaded(u64, u64),
}

/// An entry that is loaded.
pub struct LoadedEntry {
    /// The database.
    pub db: usize,
    /// When it was used.
    pub usage: Usage,
    /// The entry. Its access clock is not set.
    pub entry: OwnedEntry,
}

/// What shards do at a cut.
#[derive(Clone, Debug, Default)]
pub struct CutWork {
    /// Log from now on, or no more.
    pub log: Option<bool>,
    /// Begin a snapshot, and send it.
    pub snapshot: Option<SnapshotSpec>,
    /// Go on only when another [`Message::CutDone`] comes: the node is about to end.
    pub hold: bool,
    /// Drop all data: another node's follows.
    pub flush: bool,
}

/// What a shard says of itself at a cut; added up, of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutFacts {
    /// Changes that it has counted.
    pub changes: u64,
    /// It may have hashes with fields that expire.
    pub timed_fields: bool,
}

impl CutFacts {
    /// Adds what another shard says.
    pub fn add(&mut self, other: CutFacts) {
        self.changes += other.changes;
        self.timed_fields |= other.timed_fields;
    }
}

/// How shards write a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSpec {
    /// The version of the RDB format.
    pub version: Version,
    /// Long strings are compressed.
    pub compress: bool,
}

/// Lent entries on their way back.
pub struct Returned {
    /// The entries as they are now, in the order of the keys.
    pub entries: Vec<(LentKey, Option<OwnedEntry>)>,
    /// What was changed of them.
    pub writes: Vec<Write>,
    /// What the owner logs first: what the line found expired, of any owner and database.
    pub expired: Vec<Expired>,
    /// What the owner logs then: lines as RESP arrays.
    pub log: Vec<u8>,
    /// The database that they are for.
    pub db: u16,
    /// The number of the line in its EXEC.
    pub step: u32,
    /// Nothing more is to be done there.
    pub release: bool,
    /// The line, or its EXEC.
    pub ticket: Ticket,
    /// Its client is told when the keys change, which it has read.
    pub tracks: bool,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Message::Lines(batch) => write!(f, "Lines({})", batch.heads.len()),
            Message::Replies(batch) => write!(f, "Replies({})", batch.heads.len()),
            Message::Late(late) => write!(f, "Late({})", late.replies.len()),
            Message::Order(txn, claims) => write!(f, "Order({txn:?}, {} shards)", claims.len()),
            Message::Reserve(txn, ..) => write!(f, "Reserve({txn:?})"),
            Message::Granted(txn, shard, _) => write!(f, "Granted({txn:?}, {shard})"),
            Message::Worked(txn, shard, ..) => write!(f, "Worked({txn:?}, {shard})"),
            Message::Lend(txn, keys, ..) => write!(f, "Lend({txn:?}, {} keys)", keys.len()),
            Message::Lent(txn, shard, _) => write!(f, "Lent({txn:?}, {shard})"),
            Message::Return(txn, ..) => write!(f, "Return({txn:?})"),
            Message::Hop(txn, lines, _) => {
                write!(f, "Hop({txn:?}, {} lines)", lines.heads.len())
            }
            Message::Hopped(txn, shard, _) => write!(f, "Hopped({txn:?}, {shard})"),
            Message::Release(txn) => write!(f, "Release({txn:?})"),
            Message::Exec(exec) => write!(f, "Exec({} lines)", exec.lines.heads.len()),
            Message::Executed(exec) => write!(f, "Executed({} lines)", exec.lines.heads.len()),
            Message::Watch(_, client, keys) => write!(f, "Watch({client}, {} keys)", keys.len()),
            Message::Watched(ticket) => write!(f, "Watched({ticket:?})"),
            Message::Unwatch(client) => write!(f, "Unwatch({client})"),
            Message::Waits(ticket, _, ms) => write!(f, "Waits({ticket:?}, {ms} ms)"),
            Message::Await(waiter) => write!(f, "Await({:?})", waiter.id),
            Message::Forget(ticket) => write!(f, "Forget({ticket:?})"),
            Message::Offer(round, ticket, _) => write!(f, "Offer({round}, {ticket:?})"),
            Message::Answer(round, verdict) => write!(f, "Answer({round}, {verdict:?})"),
            Message::Served(ticket, reply) => write!(f, "Served({ticket:?}, {})", reply.is_some()),
            Message::Recheck(ticket) => write!(f, "Recheck({ticket:?})"),
            Message::Visit(visit, ..) => write!(f, "Visit({visit})"),
            Message::Visited(visit, ..) => write!(f, "Visited({visit})"),
            Message::Publications(publications) => {
                write!(f, "Publications({})", publications.len())
            }
            Message::Unsubscribed(names) => write!(f, "Unsubscribed({} kinds)", names.len()),
            Message::Stale(keys) => write!(f, "Stale({} keys)", keys.len()),
            Message::Broadcasts(all) => write!(f, "Broadcasts({})", all.len()),
            Message::Redirected(to, ..) => write!(f, "Redirected({})", to.id),
            Message::RedirectGone(of, _) => write!(f, "RedirectGone({of:?})"),
            Message::PrefixesLeft(prefixes) => write!(f, "PrefixesLeft({})", prefixes.len()),
            Message::Monitors(count) => write!(f, "Monitors({count})"),
            Message::Monitor(bytes) => write!(f, "Monitor({} bytes)", bytes.len()),
            Message::Ask(visit, question) => write!(f, "Ask({visit}, {question:?})"),
            Message::Standing(standing) => write!(f, "{standing:?}"),
            Message::Log(chunk) => write!(f, "Log({} bytes)", chunk.bytes_len()),
            Message::Cut => write!(f, "Cut"),
            Message::AtCut(facts) => write!(f, "AtCut({facts:?})"),
            Message::Changes(changes) => write!(f, "Changes({changes})"),
            Message::CutDone(work) => write!(f, "CutDone({work:?})"),
            Message::Snapshot(bytes, last) => write!(f, "Snapshot({} bytes, {last})", bytes.len()),
            Message::SnapshotTaken(bytes) => write!(f, "SnapshotTaken({bytes})"),
            Message::SnapshotAbandoned => write!(f, "SnapshotAbandoned"),
            Message::Load(batch) => write!(f, "Load({} entries)", batch.len()),
            Message::Loaded(keys, expired) => write!(f, "Loaded({keys}, {expired})"),
            Message::Sweep => write!(f, "Sweep"),
            Message::Swept => write!(f, "Swept"),
            Message::LeaderBegins(offset, db) => write!(f, "LeaderBegins({offset}, {db})"),
            Message::Leader(bytes) => write!(f, "Leader({} bytes)", bytes.len()),
            Message::LeaderEnds => write!(f, "LeaderEnds"),
            Message::Applied(applied) => write!(f, "{applied:?}"),
        }
    }
}
