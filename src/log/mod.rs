//! The write log: what shards changed, brought into one order, as the byte stream that followers apply.
//!
//! ```text
//!   shard 0   SET a 1 │ part of T7: SET b 2 │ INCR c      ── lane ──┐
//!                                                                    ├─ merge ─▶ … SELECT 0, SET a 1, MULTI, SET b 2, SET x 3, EXEC, INCR c, …
//!   shard 1   part of T7: SET x 3 │ SET y 5               ── lane ──┘           ▲ offsets count these bytes
//! ```
//!
//! - A [`Lane`] lives on a shard: entries in the order in which they must be applied there.
//! - The [`Merge`] lives on the replication shard: it takes the lanes' chunks and appends to the [`Stream`].
//! - The [`Stream`] is the bytes themselves, by offset, with as much of the past as the backlog holds and followers still need.
//!
//! Pure: no clock, no sockets.
//!
//! Invariants:
//! - Entries of one lane keep their order. Lines on different shards commute, so any interleaving of lanes is right.
//! - The parts of one transaction leave together, between `MULTI` and `EXEC`, when every lane has come to it.
//! - Every lane meets transactions in the order that the orderer gave them: no two lanes wait for each other.

mod chunk;
mod lane;
mod merge;
mod stream;

pub use chunk::Chunk;
pub use lane::{Lane, SlotId};
pub use merge::Merge;
pub use stream::Stream;

/// A transaction: the core that coordinates it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TxnId {
    /// The coordinating core.
    pub core: u16,
    /// Rising per core.
    pub number: u64,
}

/// Where an entry of a transaction stands among those of all its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogStep(u32);

impl LogStep {
    /// Before the line of this number in its EXEC: what was found expired when entries were lent for it.
    pub fn before(line: u32) -> LogStep {
        LogStep(line << 1)
    }

    /// What that line does.
    pub fn of(line: u32) -> LogStep {
        LogStep(line << 1 | 1)
    }
}

/// The database of an entry that has none (PUBLISH): no `SELECT` goes before it.
pub const NO_DB: u16 = u16::MAX;

#[cfg(test)]
mod tests;
