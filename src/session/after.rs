//! The after-write step: what a line changed is told to whoever wants to know. One step for all commands, behind
//! every run of a line on the own shard and behind every return of lent entries.
//!
//! Nobody listens in the usual case: then handlers record nothing ([`Effects::listening`] is off), and the step is one test.
//!
//! Keyspace notifications are published by the owner of the key, so that those of one key keep their order.
//!
//! [`Effects::listening`]: crate::command::Effects::listening

use super::{Core, SessionId};
use crate::command::{Write, class, cx::expired_writes};
use crate::config::KeyspaceEvents;
use crate::mesh::Head;
use crate::pubsub::Kind;
use crate::resp::Line;
use crate::tracking::SessionAt;

impl Core {
    /// Decides whether lines record what they change; to be asked again when a reason comes or goes.
    pub(super) fn weigh_listening(&mut self) {
        let listening = self.config.notify_keyspace_events.0 != 0
            || !self.shard.watches.is_empty()
            || !self.tracking.is_idle()
            || !self.shard.waiters.is_empty();
        self.shard.effects.listening = listening;
        self.shard
            .keyspace
            .record_expired(listening || self.shard.effects.logging);
        // Lent entries tell their owners, who know whether anybody listens.
        self.scratch.keyspace.record_expired(true);
    }

    /// Tells who listens of what the line of the core `from` that just ran on the own shard changed, and notes what it
    /// has read.
    #[inline]
    pub(super) fn after_run(&mut self, from: usize, head: &Head, line: &Line<'_>) {
        if self.shard.effects.listening | self.shard.effects.logging | head.tracks {
            self.tell_run(from, head, line);
        }
    }

    #[cold]
    fn tell_run(&mut self, from: usize, head: &Head, line: &Line<'_>) {
        let by = SessionAt {
            core: from as u16,
            session: SessionId::of(head.ticket).into(),
        };
        self.tell_writes(by);
        // What the line found expired came before what it has read.
        if head.tracks {
            self.remember_reads(head, line, by);
        }
    }

    fn tell_writes(&mut self, by: SessionAt) {
        if !self.shard.effects.writes.is_empty() {
            let mut writes = std::mem::take(&mut self.shard.effects.writes);
            self.tell(&writes, Some(by));
            // What expires next is added to them.
            writes.clear();
            self.shard.effects.writes = writes;
        }
        self.tell_expired_by(Some(by));
    }

    /// Tells who listens of keys that expired and that no line has told of.
    pub(super) fn tell_expired(&mut self) {
        self.tell_expired_by(None);
    }

    /// As [`Core::tell_expired`]; `by`: whose line has noticed them.
    fn tell_expired_by(&mut self, by: Option<SessionAt>) {
        if self.shard.keyspace.has_expired() {
            if self.shard.effects.logging {
                self.log_expired_alone(by);
                return;
            }
            let writes: Vec<Write> = expired_writes(self.shard.keyspace.take_expired()).collect();
            self.tell(&writes, by);
        }
    }

    /// As [`Core::tell_expired_by`], for followers too.
    fn log_expired_alone(&mut self, by: Option<SessionAt>) {
        self.shard.log_expired(&self.config);
        let writes = std::mem::take(&mut self.shard.effects.writes);
        self.tell(&writes, by);
    }

    /// Tells who listens of changes of keys that this shard owns. `by`: whose line made them.
    #[cold]
    pub(super) fn tell(&mut self, writes: &[Write], by: Option<SessionAt>) {
        if !self.shard.watches.is_empty() {
            let keyspace = &mut self.shard.keyspace;
            // A read that missed has changed nothing.
            for write in writes.iter().filter(|write| write.class != class::KEY_MISS) {
                self.shard.watches.changed(write, |db, key| {
                    let key = keyspace.key(key);
                    keyspace.inspect(db, key).is_some()
                });
            }
        }
        if !self.tracking.is_idle() {
            self.tell_trackers(writes, by);
        }
        for write in writes {
            self.publish_event(write);
        }
        if !self.shard.waiters.is_empty() {
            for write in writes {
                self.shard.waiters.changed(write);
            }
            // Nobody comes in between the lines of an EXEC, and its entries stay together.
            if !self.shard.lane.in_unit() {
                self.begin_rounds();
            }
        }
    }

    /// Publishes a keyspace notification, if its class is asked for.
    fn publish_event(&mut self, write: &Write) {
        let events = self.config.notify_keyspace_events;
        if events.0 & write.class == 0 || self.pubsub.is_empty() {
            return;
        }
        if events.any(KeyspaceEvents::KEYSPACE) {
            let channel = channel("keyspace", write.db, &write.key);
            self.pubsub
                .publish(Kind::Channel, &channel, write.event.as_bytes());
        }
        if events.any(KeyspaceEvents::KEYEVENT) {
            let channel = channel("keyevent", write.db, write.event.as_bytes());
            self.pubsub.publish(Kind::Channel, &channel, &write.key);
        }
    }
}

/// `__keyspace@0__:key` or `__keyevent@0__:event`.
fn channel(space: &str, db: usize, name: &[u8]) -> Vec<u8> {
    let mut channel = format!("__{space}@{db}__:").into_bytes();
    channel.extend_from_slice(name);
    channel
}
