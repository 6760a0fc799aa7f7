//! The sessions of one core: a slab with generations, so that an answer for a session that is gone finds nobody.

use super::Session;
use crate::command::{Client, Clients};
use crate::mesh::Ticket;

/// Names a session on its core, for all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Its place; reused.
    pub slot: u32,
    /// Tells it from earlier and later ones there.
    pub generation: u32,
}

impl SessionId {
    /// The session that a ticket belongs to.
    #[inline]
    pub fn of(ticket: Ticket) -> SessionId {
        SessionId {
            slot: ticket.session,
            generation: ticket.generation,
        }
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
}

/// The sessions of one core. A session that is being worked on is taken out for the time and put back.
#[derive(Default)]
pub struct Sessions {
    slots: Vec<Slot>,
    free: Vec<u32>,
    count: usize,
    /// Where the next sweep goes on.
    swept: usize,
}

impl Sessions {
    /// Adds the session that `make` builds for its id.
    pub fn open(&mut self, make: impl FnOnce(SessionId) -> Session) -> SessionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        let id = SessionId {
            slot,
            generation: entry.generation,
        };
        entry.session = Some(Box::new(make(id)));
        self.count += 1;
        id
    }

    /// The session, unless it is gone or taken.
    #[inline]
    pub fn get(&mut self, id: SessionId) -> Option<&mut Session> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.session.as_deref_mut()
    }

    /// Takes the session out to work on it beside the core.
    #[inline]
    pub fn take(&mut self, id: SessionId) -> Option<Box<Session>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.session.take()
    }

    /// Puts a taken session back.
    #[inline]
    pub fn put(&mut self, session: Box<Session>) {
        let slot = &mut self.slots[session.id.slot as usize];
        debug_assert!(slot.session.is_none() && slot.generation == session.id.generation);
        slot.session = Some(session);
    }

    /// Removes a session that is in its place.
    pub fn close(&mut self, id: SessionId) -> Option<Box<Session>> {
        let session = self.take(id)?;
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.count -= 1;
        Some(session)
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.count
    }

    /// No sessions.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All sessions that are in their place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots
            .iter_mut()
            .filter_map(|slot| slot.session.as_deref_mut())
    }

    fn ids(&self, wanted: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        self.slots
            .iter()
            .filter_map(|slot| slot.session.as_ref())
            .filter(|session| wanted(session))
            .map(|session| session.id)
            .collect()
    }

    /// The sessions that are marked for closing, or whose waiting is to end.
    pub fn marked(&self) -> Vec<SessionId> {
        self.ids(|session| session.client.close.is_some() || session.client.unblock.is_some())
    }

    /// The monitors.
    pub fn monitors(&self) -> Vec<SessionId> {
        self.ids(|session| session.client.monitor)
    }

    /// The next tenth of the sessions; ten calls go round.
    pub fn next_tenth(&mut self) -> Vec<SessionId> {
        if self.swept >= self.slots.len() {
            self.swept = 0;
        }
        let end = (self.swept + self.slots.len().div_ceil(10)).min(self.slots.len());
        let part = &self.slots[self.swept..end];
        self.swept = end;
        part.iter()
            .filter_map(|slot| Some(slot.session.as_ref()?.id))
            .collect()
    }

    /// Memory of all sessions.
    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self
                .slots
                .iter()
                .filter_map(|slot| slot.session.as_ref())
                .map(|session| session.memory_bytes())
                .sum::<usize>()
    }
}

impl Clients for Sessions {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Client)) {
        for session in self.iter_mut() {
            session.measure();
            visit(&mut session.client);
        }
    }

    fn count(&self) -> usize {
        self.count
    }
}
