//! The after-write step: what a line changed is told to whoever wants to know. One step for all commands, behind
//! every run of a line on the own shard and behind every return of lent entries.
//!
//! Nobody listens in the usual case: then handlers record nothing ([`Effects::listening`] is off), and the step is one test.
//!
//! [`Effects::listening`]: crate::command::Effects::listening

use super::Core;
use crate::command::Write;
use crate::command::cx::expired_writes;

impl Core {
    /// Who listens has changed.
    pub(super) fn weigh_listening(&mut self) {
        let listening = !self.shard.watches.is_empty();
        self.shard.effects.listening = listening;
        self.shard.keyspace.record_expired(listening);
    }

    /// Tells who listens of what the line that just ran on the own shard changed.
    #[inline]
    pub(super) fn after_run(&mut self) {
        if self.shard.effects.listening {
            self.tell_run();
        }
    }

    #[cold]
    fn tell_run(&mut self) {
        self.tell_expired();
        if !self.shard.effects.writes.is_empty() {
            let writes = std::mem::take(&mut self.shard.effects.writes);
            self.tell(&writes);
            self.shard.effects.writes = writes;
        }
    }

    /// Tells who listens of keys that expired and that no line has told of.
    pub(super) fn tell_expired(&mut self) {
        if self.shard.keyspace.has_expired() {
            let writes: Vec<Write> = expired_writes(self.shard.keyspace.take_expired()).collect();
            self.tell(&writes);
        }
    }

    /// Tells who listens of changes of keys that this shard owns.
    #[cold]
    pub(super) fn tell(&mut self, writes: &[Write]) {
        if !self.shard.watches.is_empty() {
            let keyspace = &mut self.shard.keyspace;
            for write in writes {
                self.shard.watches.changed(write, |db, key| {
                    let key = keyspace.key(key);
                    keyspace.contains(db, key)
                });
            }
        }
    }
}
