//! What one client has asked for. Lives in its session's client.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::pubsub::Subscriber;

/// Of which keys a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Of what it has read.
    #[default]
    Reads,
    /// Of what it has read behind CLIENT CACHING YES.
    OptIn,
    /// Of what it has read, but for what stood behind CLIENT CACHING NO.
    OptOut,
    /// Of all keys under its prefixes.
    Broadcast,
}

/// Another client that is told instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Its id.
    pub id: u64,
    /// Its core.
    pub core: usize,
    /// Its place there.
    pub session: Subscriber,
}

/// A client that tracks.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    /// Of which keys it hears.
    pub mode: Mode,
    /// Not of its own changes.
    pub noloop: bool,
    /// CLIENT CACHING spoke of the line that comes, or of the transaction that runs.
    pub caching: bool,
    /// Who is told instead.
    pub redirect: Option<Redirect>,
    /// That client was found to be gone.
    pub broken: bool,
    /// Its prefixes; none unless it [broadcasts](Mode::Broadcast).
    pub prefixes: BTreeSet<Arc<[u8]>>,
}

impl Tracking {
    /// What it reads now is to be remembered.
    #[inline]
    pub fn reads(&self) -> bool {
        match self.mode {
            Mode::Reads => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast => false,
        }
    }

    /// Memory, roughly: prefixes are shared with the tables.
    pub fn memory_bytes(&self) -> usize {
        let prefixes = self.prefixes.iter();
        size_of::<Tracking>()
            + prefixes
                .map(|prefix| prefix.len() + 2 * size_of::<Arc<[u8]>>())
                .sum::<usize>()
    }
}
