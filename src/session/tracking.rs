//! Client-side caching on a core: what its lines have read and changed, and telling its sessions what is stale.
//!
//! What a line has made stale goes behind its reply. What comes for a session with lines under way goes behind those lines:
//! a value that such a line has read before the change cannot reach the client after the client was told. Broadcasts are
//! collected for a turn, and go behind all that the turn has answered.

use super::{Core, Session, SessionId};
use crate::command::client_tracking::{write_broken, write_stale};
use crate::command::{KeyRef, Write, class, flag};
use crate::mesh::{Head, Message};
use crate::pubsub::Subscriber;
use crate::resp::{Line, Output, Proto, Reply};
use crate::tracking::{
    Broadcast, Invalidation, Mode, Outgoing, Redirect, SessionAt, Stale, Tracking,
};

impl Core {
    /// A line of a tracking client has run on the own shard: remembers the keys, if it was one that reads.
    pub(super) fn remember_reads(&mut self, head: &Head, line: &Line<'_>, by: SessionAt) {
        let command = self.registry.get(head.command).command;
        if !command.has(flag::READONLY) {
            return;
        }
        let mut keys: Vec<KeyRef> = Vec::new();
        command.find_keys(line, &mut keys);
        for key in keys {
            self.remember_read(line.arg(key.arg), by);
        }
    }

    /// A session has read a key of the own shard.
    pub(super) fn remember_read(&mut self, key: &[u8], by: SessionAt) {
        self.tracking.remember(key, by);
        if !self.shard.effects.listening {
            self.weigh_listening();
        }
    }

    /// Notes whom changes of the own shard's keys make stale.
    pub(super) fn tell_trackers(&mut self, writes: &[Write], by: Option<SessionAt>) {
        let mut all = false;
        for write in writes {
            if write.key.is_empty() && write.class == 0 {
                all = true;
            } else if write.class & class::KEY_MISS == 0 {
                let expired = write.class & class::EXPIRED != 0;
                self.tracking.changed(&write.key, by, expired);
            }
        }
        if all {
            self.tracking.all_changed();
            // A transaction over several shards may be ahead here of what it does elsewhere, where a session of this core could
            // still read what is about to go: its release tells.
            if self.granted.is_empty() {
                self.tracking.tell_all();
            }
        }
    }

    /// Something was published, or has become stale, and is not sent yet.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.pubsub.has_outgoing() || self.tracking.has_outgoing()
    }

    /// Sends that. `current` is the session whose line ran, when it is not in its place.
    #[cold]
    pub(super) fn send_news(&mut self, mut current: Option<&mut Session>) {
        if self.tracking.has_outgoing() {
            self.send_stale(current.as_deref_mut());
            self.weigh_listening();
        }
        if self.pubsub.has_outgoing() {
            self.send_publications(current);
        }
    }

    fn send_stale(&mut self, mut current: Option<&mut Session>) {
        let mut elsewhere: Vec<Vec<Invalidation>> = Vec::new();
        for outgoing in self.tracking.take_outgoing() {
            match outgoing {
                Outgoing::Key(core, key) if core as usize == self.place.index => {
                    self.stale_came(vec![key], current.as_deref_mut());
                }
                Outgoing::Key(core, key) => {
                    elsewhere.resize_with(self.place.count, Vec::new);
                    elsewhere[core as usize].push(key);
                }
                Outgoing::All => {
                    let trackers: Vec<Subscriber> = self.tracking.trackers().collect();
                    for tracker in trackers {
                        self.tell_stale(tracker, &Stale::All, current.as_deref_mut(), |_| true);
                    }
                }
                Outgoing::Left(prefixes) => {
                    for core in 0..self.place.count {
                        if core != self.place.index {
                            self.send(core, Message::PrefixesLeft(prefixes.clone()));
                        }
                    }
                }
            }
        }
        for (core, keys) in elsewhere.into_iter().enumerate() {
            if !keys.is_empty() {
                self.send(core, Message::Stale(keys));
            }
        }
    }

    /// Keys have changed that sessions of this core have read.
    pub(super) fn stale_came(
        &mut self,
        keys: Vec<Invalidation>,
        mut current: Option<&mut Session>,
    ) {
        for Invalidation { session, key, by } in keys {
            let own = self.session_at(session);
            let stale = Stale::Keys(vec![key]);
            self.tell_stale(session, &stale, current.as_deref_mut(), |tracking| {
                tracking.mode != Mode::Broadcast && !(tracking.noloop && by == Some(own))
            });
        }
    }

    /// Keys have changed under a prefix that sessions of this core hear of.
    pub(super) fn broadcast_came(&mut self, broadcast: &Broadcast) {
        let all = broadcast.keys.iter().map(|(key, _)| key.clone());
        let all = Stale::Keys(all.collect());
        for session in self.tracking.members(&broadcast.prefix) {
            let own = self.session_at(session);
            let mut noloop = false;
            self.tell_stale(session, &all, None, |tracking| {
                noloop = tracking.noloop;
                !noloop
            });
            if noloop {
                let others = broadcast.keys.iter().filter(|(_, by)| *by != Some(own));
                let others: Vec<_> = others.map(|(key, _)| key.clone()).collect();
                if !others.is_empty() {
                    self.tell_stale(session, &Stale::Keys(others), None, |_| true);
                }
            }
        }
    }

    fn session_at(&self, session: Subscriber) -> SessionAt {
        SessionAt {
            core: self.place.index as u16,
            session,
        }
    }

    /// Tells a session of this core, or the client that hears for it, what is stale, if it tracks and `wants` to know.
    fn tell_stale(
        &mut self,
        to: Subscriber,
        stale: &Stale,
        mut current: Option<&mut Session>,
        wants: impl FnOnce(&Tracking) -> bool,
    ) {
        let id = SessionId::from(to);
        let session = match current.as_deref_mut() {
            Some(session) if session.id == id => Some(session),
            _ => self.sessions.get(id),
        };
        let Some(session) = session else {
            return;
        };
        let Some(tracking) = session.client.tracking.as_deref() else {
            return;
        };
        if !wants(tracking) {
            return;
        }
        match tracking.redirect {
            None => {
                // In RESP2 nothing can be told between replies.
                if session.client.proto == Proto::Resp3 {
                    self.push_to(to, current, |reply| write_stale(reply, stale));
                }
            }
            Some(redirect) if redirect.core == self.place.index => {
                if !self.tell_redirected(redirect.session, stale, current.as_deref_mut()) {
                    self.redirect_gone(to, redirect.id, current);
                }
            }
            Some(redirect) => {
                let message = Message::Redirected(redirect, to, stale.clone());
                self.send(redirect.core, message);
            }
        }
    }

    /// Tells a session of this core what is stale for another. False: it is gone.
    fn tell_redirected(
        &mut self,
        to: Subscriber,
        stale: &Stale,
        mut current: Option<&mut Session>,
    ) -> bool {
        let id = SessionId::from(to);
        let session = match current.as_deref_mut() {
            Some(session) if session.id == id => Some(session),
            _ => self.sessions.get(id),
        };
        let Some(session) = session else {
            return false;
        };
        if session.client.proto == Proto::Resp3 || session.client.is_subscriber() {
            self.push_to(to, current, |reply| write_stale(reply, stale));
        }
        true
    }

    /// A session of this core hears for the session `of` of the core `from`.
    pub(super) fn redirected(&mut self, from: usize, to: Redirect, of: Subscriber, stale: &Stale) {
        if !self.tell_redirected(to.session, stale, None) {
            self.send(from, Message::RedirectGone(of, to.id));
        }
    }

    /// The client that should hear for a session of this core is gone.
    pub(super) fn redirect_gone(
        &mut self,
        of: Subscriber,
        id: u64,
        mut current: Option<&mut Session>,
    ) {
        let own = SessionId::from(of);
        let session = match current.as_deref_mut() {
            Some(session) if session.id == own => Some(session),
            _ => self.sessions.get(own),
        };
        let Some(session) = session else {
            return;
        };
        let Some(tracking) = session.client.tracking.as_deref_mut() else {
            return;
        };
        if tracking.redirect.is_none_or(|redirect| redirect.id != id) {
            // It has turned to somebody else meanwhile.
            return;
        }
        tracking.broken = true;
        if session.client.proto == Proto::Resp3 {
            self.push_to(of, current, |reply| write_broken(reply, id));
        }
    }

    /// Adds a message that answers no line to what a session of this core, which is there, is sent.
    fn push_to(
        &mut self,
        to: Subscriber,
        current: Option<&mut Session>,
        write: impl FnOnce(&mut Reply<'_>),
    ) {
        let id = SessionId::from(to);
        let mut message = Output::default();
        if let Some(session) = current
            && session.id == id
        {
            write(&mut Reply::new(&mut message, session.client.proto));
            session.push(&message);
            return;
        }
        let Some(mut session) = self.sessions.take(id) else {
            return;
        };
        write(&mut Reply::new(&mut message, session.client.proto));
        session.push(&message);
        self.check_output_limit(&mut session);
        self.touch(&mut session);
        self.sessions.put(session);
    }

    /// The end of a turn: broadcasts leave, and keys beyond the limit are forgotten. True when there are more of them.
    pub(super) fn end_turn_of_tracking(&mut self) -> bool {
        if self.tracking.is_idle() {
            return false;
        }
        if self.tracking.has_broadcasts() {
            let mut by_core: Vec<Vec<Broadcast>> = vec![Vec::new(); self.place.count];
            for (core, broadcast) in self.tracking.take_broadcasts() {
                by_core[core].push(broadcast);
            }
            for (core, broadcasts) in by_core.into_iter().enumerate() {
                if core == self.place.index {
                    for broadcast in &broadcasts {
                        self.broadcast_came(broadcast);
                    }
                } else if !broadcasts.is_empty() {
                    self.send(core, Message::Broadcasts(broadcasts));
                }
            }
        }
        let more = self.tracking.make_room();
        self.deliver_own();
        more
    }

    /// A client is gone that may have tracked.
    pub(super) fn tracker_gone(&mut self, session: &mut Session) {
        let Some(tracking) = session.client.tracking.take() else {
            return;
        };
        self.tracking.stop(session.id.into(), *tracking);
        self.weigh_listening();
        if self.has_news() {
            self.send_news(None);
        }
    }
}
