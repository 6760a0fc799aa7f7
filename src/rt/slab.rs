//! A core's connections by number: a slab of small slots with generations.
//!
//! Invariants:
//! - A [`ConnId`] names one connection for ever: its slot may serve another connection later, but under
//!   another generation, so that a stale id finds nothing instead of a stranger.
//! - Generation 0 belongs to no connection: the loop uses those tokens for its own descriptors.
//! - An idle connection costs one slot here and nothing else in user memory.

use std::os::fd::OwnedFd;

/// Names one connection of one core. Plain data; worthless on another core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    /// The number as it travels through the kernel as an event's user data.
    pub(super) fn token(self) -> u64 {
        self.0
    }

    /// The id behind an event's user data, or none when the token is one of the loop's own.
    pub(super) fn from_token(token: u64) -> Option<Self> {
        (token >> 32 != 0).then_some(Self(token))
    }

    /// The slot: small, dense, and reused. Good as an index into a core's own table of sessions when the
    /// id is compared as well.
    pub fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interest {
    pub read: bool,
    pub write: bool,
}

/// One live connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub fd: OwnedFd,
    /// What the core asked for.
    pub wanted: Interest,
    /// What the kernel was told; none while the descriptor is not registered at all.
    pub registered: Option<Interest>,
    /// `wanted` changed and the connection is in the list of changes already.
    pub changed: bool,
    /// The peer has shut down its side, and the core chose to keep writing.
    pub input_ended: bool,
    /// It was begun from here, and the peer has not answered yet.
    pub connecting: bool,
    pub unix: bool,
}

struct Slot {
    generation: u32,
    /// The next free slot while this one is free; meaningless otherwise.
    next_free: u32,
    conn: Option<Conn>,
}

const NONE: u32 = u32::MAX;

/// All connections of one core.
pub(super) struct Slab {
    slots: Vec<Slot>,
    first_free: u32,
    count: usize,
}

const _: () = assert!(size_of::<Slot>() < 64);

impl Slab {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            first_free: NONE,
            count: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn insert(&mut self, conn: Conn) -> ConnId {
        self.count += 1;
        if self.first_free == NONE {
            let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 descriptors exist");
            self.slots.push(Slot {
                generation: 1,
                next_free: NONE,
                conn: Some(conn),
            });
            return ConnId::new(slot, 1);
        }
        let index = self.first_free;
        let slot = &mut self.slots[index as usize];
        self.first_free = slot.next_free;
        slot.conn = Some(conn);
        ConnId::new(index, slot.generation)
    }

    pub fn get(&self, id: ConnId) -> Option<&Conn> {
        let slot = self.slots.get(id.slot())?;
        if slot.generation != id.generation() {
            return None;
        }
        slot.conn.as_ref()
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.generation != id.generation() {
            return None;
        }
        slot.conn.as_mut()
    }

    pub fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.generation != id.generation() {
            return None;
        }
        let conn = slot.conn.take()?;
        // After 2^32 connections in one slot the numbers start again, past the reserved zero.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        slot.next_free = self.first_free;
        self.first_free = id.0 as u32;
        self.count -= 1;
        Some(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn() -> Conn {
        let (end, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Conn {
            fd: end.into(),
            wanted: Interest {
                read: true,
                write: false,
            },
            registered: None,
            changed: false,
            input_ended: false,
            connecting: false,
            unix: true,
        }
    }

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert(conn());
        assert!(slab.get(first).is_some());
        assert!(slab.remove(first).is_some());
        assert!(slab.get(first).is_none());
        assert!(slab.remove(first).is_none());
        let second = slab.insert(conn());
        assert_eq!(first.slot(), second.slot());
        assert_ne!(first, second);
        assert!(slab.get_mut(first).is_none());
        assert!(slab.get_mut(second).is_some());
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn generations_wrap_past_zero() {
        let mut slab = Slab::new();
        let id = slab.insert(conn());
        slab.slots[0].generation = u32::MAX;
        assert!(slab.get(id).is_none());
        let last = ConnId::new(0, u32::MAX);
        assert!(slab.remove(last).is_some());
        let next = slab.insert(conn());
        assert_eq!(next, ConnId::new(0, 1));
        assert_eq!(ConnId::from_token(next.token()), Some(next));
        assert_eq!(ConnId::from_token(7), None);
    }

    #[test]
    fn free_slots_are_reused_before_new_ones() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..4).map(|_| slab.insert(conn())).collect();
        slab.remove(ids[1]);
        slab.remove(ids[3]);
        assert_eq!(slab.len(), 2);
        slab.insert(conn());
        slab.insert(conn());
        assert_eq!(slab.slots.len(), 4);
        assert_eq!(slab.insert(conn()).slot(), 4);
    }
}
