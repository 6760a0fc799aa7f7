//! WATCH: the session's side, and the shard's.
//!
//! The owners of the keys keep the watches; the session knows what it watches and where. A WATCH is confirmed when all owners
//! know of it, and the session starts nothing until then: so whatever ends the watching finds it complete.

use std::collections::HashSet;

use super::{Blocked, Core, Session};
use crate::keyspace::shard_of;
use crate::mesh::{LentKey, Message, Ticket};
use crate::resp::{Line, Output, Proto, Reply};
use crate::shard::mark;
use crate::txn::WatchedMark;

/// What a session watches.
#[derive(Default)]
pub(super) struct Watched {
    keys: HashSet<(usize, Box<[u8]>)>,
    /// The same, with their owners.
    pub(super) marks: Vec<WatchedMark>,
    /// The owners.
    pub(super) shards: Vec<usize>,
    /// Owners that do not know yet.
    missing: usize,
}

impl Watched {
    pub(super) fn memory_bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|(_, key)| key.len()).sum();
        keys + self.keys.capacity() * size_of::<(usize, Box<[u8]>)>()
            + self.marks.capacity() * size_of::<WatchedMark>()
    }
}

impl Core {
    /// Watches the line's keys. False when the line must wait for those before it.
    pub(super) fn start_watch(&mut self, session: &mut Session, line: &Line<'_>) -> bool {
        if !session.slots.is_empty() {
            session.blocked = Blocked::Drain;
            return false;
        }
        let (db, own) = (session.client.db, self.place.index);
        let hasher = *self.shard.keyspace.hasher();
        let watched = session.watched.get_or_insert_default();
        let mut by_shard: Vec<(usize, Vec<LentKey>)> = Vec::new();
        for key in line.args().skip(1) {
            if !watched.keys.insert((db, key.into())) {
                continue;
            }
            let hash = hasher.hash(key);
            let shard = shard_of(&hasher, key, hash, self.place.count);
            watched.marks.push(WatchedMark {
                shard: shard as u16,
                mark: mark(db, hash),
            });
            if !watched.shards.contains(&shard) {
                watched.shards.push(shard);
            }
            let key = LentKey {
                db,
                key: key.into(),
                hash,
            };
            match by_shard.iter_mut().find(|(of, _)| *of == shard) {
                Some((_, keys)) => keys.push(key),
                None => by_shard.push((shard, vec![key])),
            }
        }
        session.client.watching = watched.keys.len() as u32;
        let client = session.client.id;
        if let Some(at) = by_shard.iter().position(|(shard, _)| *shard == own) {
            let (_, keys) = by_shard.swap_remove(at);
            self.watch_here(client, &keys);
        }
        if by_shard.is_empty() {
            let proto = session.client.proto;
            session.reply(|out| Reply::new(out, proto).ok());
            return true;
        }
        if let Some(watched) = &mut session.watched {
            watched.missing = by_shard.len();
        }
        let ticket = session.pend();
        session.blocked = Blocked::Away;
        for (shard, keys) in by_shard {
            self.send(shard, Message::Watch(ticket, client, keys));
        }
        true
    }

    /// A client watches keys of the own shard.
    pub(super) fn watch_here(&mut self, client: u64, keys: &[LentKey]) {
        let seen: Vec<Option<bool>> = keys.iter().map(|key| self.shard.sees(key)).collect();
        // What had expired before is no change for this client.
        self.tell_expired();
        for (key, existed) in keys.iter().zip(seen) {
            self.shard.watches.watch(client, key.db, &key.key, existed);
        }
        self.weigh_listening();
    }

    /// An owner knows what the session of `ticket` watches there.
    pub(super) fn watched(&mut self, ticket: Ticket) {
        let Some(session) = self.sessions.get(super::SessionId::of(ticket)) else {
            return;
        };
        let watched = session
            .watched
            .as_mut()
            .expect("a session that waits for its watches has some");
        watched.missing -= 1;
        if watched.missing == 0 {
            let mut out = Output::default();
            Reply::new(&mut out, Proto::Resp2).ok();
            let len = out.len();
            self.answer(ticket, &out, 0..len);
        }
    }

    /// The session watches nothing any more.
    pub(super) fn end_watching(&mut self, session: &mut Session) {
        session.client.watching = 0;
        let Some(watched) = session.watched.take() else {
            return;
        };
        for &shard in &watched.shards {
            if shard == self.place.index {
                self.unwatch_here(session.client.id);
            } else {
                self.send(shard, Message::Unwatch(session.client.id));
            }
        }
    }

    /// A client watches nothing on the own shard any more.
    pub(super) fn unwatch_here(&mut self, client: u64) {
        self.shard.watches.forget(client);
        self.weigh_listening();
    }

    /// A client's watch of keys of the own shard ends with its EXEC. True: one of them has changed.
    pub(super) fn end_watch_here(&mut self, client: u64) -> bool {
        self.shard.look_at_watched(client);
        self.tell_expired();
        let broken = self.shard.watches.forget(client);
        self.weigh_listening();
        broken
    }
}
