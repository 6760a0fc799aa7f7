//! WAIT: clients that wait until followers have acknowledged what they wrote.

use super::Replication;
use super::follower::State;
use crate::command::replicating::Answer;

/// A client that waits.
pub(super) struct Waiter {
    pub(super) core: usize,
    /// The visit that is answered.
    pub(super) id: u64,
    /// What the lanes held; the stream comes to it.
    positions: Vec<u64>,
    /// The offset that is to be acknowledged, once it is known.
    offset: Option<u64>,
    followers: i64,
    until_ms: Option<i64>,
}

impl Replication {
    pub(super) fn begin_wait(
        &mut self,
        core: usize,
        id: u64,
        positions: Vec<u64>,
        followers: i64,
        until_ms: Option<i64>,
    ) {
        self.waiters.push(Waiter {
            core,
            id,
            positions,
            offset: None,
            followers,
            until_ms,
        });
    }

    /// Answers those whose writes enough followers have, or whose time is over.
    pub(super) fn serve_waiters(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let mut asks = false;
        let mut waiting = std::mem::take(&mut self.waiters);
        waiting.retain_mut(|waiter| {
            if waiter.offset.is_none() {
                let positions = waiter.positions.iter().enumerate();
                let merged = !self.logging
                    || positions
                        .into_iter()
                        .all(|(lane, &position)| self.merge.position(lane) >= position);
                if merged {
                    waiter.offset = Some(self.stream.end());
                    asks = true;
                }
            }
            let acknowledged = waiter
                .offset
                .map_or(0, |offset| self.acknowledged(offset) as i64);
            let enough = waiter.offset.is_some() && acknowledged >= waiter.followers;
            let late = waiter
                .until_ms
                .is_some_and(|until_ms| self.now.wall_ms() >= until_ms);
            if enough || late {
                self.answer(waiter.core, waiter.id, Answer::Acknowledged(acknowledged));
                return false;
            }
            true
        });
        self.wants_acknowledgements |= asks && !waiting.is_empty();
        self.waiters = waiting;
    }

    /// When the next waiter's time is over, wall clock milliseconds.
    pub(super) fn next_waiter_ms(&self) -> Option<i64> {
        self.waiters
            .iter()
            .filter_map(|waiter| waiter.until_ms)
            .min()
    }

    /// Followers that have acknowledged an offset.
    fn acknowledged(&self, offset: u64) -> usize {
        self.followers
            .values()
            .filter(|follower| follower.state == State::Online && follower.acknowledged >= offset)
            .count()
    }

    /// Asks all followers for an acknowledgement, once for all who wait.
    pub(super) fn ask_for_acknowledgements(&mut self) {
        if self.is_still() {
            return;
        }
        if std::mem::take(&mut self.wants_acknowledgements) && !self.followers.is_empty() {
            self.stream
                .append(b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");
        }
    }
}
