//! The after-write step: what a line changed is told to whoever wants to know. One step for all commands, behind
//! every run of a line on the own shard and behind every return of lent entries.
//!
//! Nobody listens in the usual case: then handlers record nothing ([`Effects::listening`] is off), and the step is one test.
//!
//! [`Effects::listening`]: crate::command::Effects::listening

use super::Core;
use crate::command::Write;

impl Core {
    /// Tells who listens of what the line that just ran on the own shard changed.
    #[inline]
    pub(super) fn after_run(&mut self) {
        if self.shard.effects.listening && !self.shard.effects.writes.is_empty() {
            let writes = std::mem::take(&mut self.shard.effects.writes);
            self.tell(&writes);
            self.shard.effects.writes = writes;
        }
    }

    /// Tells who listens of changes of keys that this shard owns.
    #[cold]
    pub(super) fn tell(&mut self, writes: &[Write]) {
        debug_assert!(!writes.is_empty());
    }
}
