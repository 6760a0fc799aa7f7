//! A line that waits for keys, as the owners of the keys keep it.

use super::{OwnedLine, Ticket};
use crate::command::Ready;
use crate::keyspace::Type;

/// Names a waiting line in the whole node: the core of its session, and its ticket there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId {
    /// The session's core.
    pub core: u16,
    /// Where the reply goes.
    pub ticket: Ticket,
}

/// Keys that a waiting line needs besides the one that can serve it: BLMOVE's destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// None: it can be served from any of the keys that it waits for.
    None,
    /// These, by their marks; the same shard owns them.
    Here(Vec<u64>),
    /// Some that another shard owns.
    Elsewhere,
}

/// A line that waits, with those of its keys that one shard owns.
#[derive(Clone, Debug)]
pub struct Waiter {
    /// Its name.
    pub id: WaiterId,
    /// The line, as it runs again.
    pub line: OwnedLine,
    /// Databases and keys that it waits for on this shard.
    pub keys: Vec<(usize, Box<[u8]>)>,
    /// The type of value that it waits for.
    pub kind: Type,
    /// What decides in place of `kind`.
    pub ready: Option<Ready>,
    /// What else it needs.
    pub others: Others,
    /// It changes what it is served from, so that its session must be asked first.
    pub writes: bool,
}

/// What a session's core says to an owner that can serve one of its waiting lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits: serve it.
    Accepted,
    /// It does not wait any more.
    Gone,
    /// Another owner is about to serve it. Should that fail, this core will ask for another look.
    Busy,
}
