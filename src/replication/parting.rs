//! The end of a leader: SHUTDOWN and SIGTERM wait until its followers have everything, at most `shutdown-timeout` seconds.
//!
//! Meanwhile clients' writes wait (`Standing::parting`), and the stream grows no more once a cut has ended what was let through, as
//! in a failover. A follower that is still getting all data is not waited for.

use super::follower::State;
use super::{Purpose, Replication};
use crate::command::replicating::Answer;
use crate::mesh::CutWork;

/// Who wants the node to end.
enum Asker {
    /// A client, by its core and the number of its question.
    Client(usize, u64),
    /// The owner of this shard: a signal.
    Owner,
}

/// The node is about to end. Lives on the replication shard.
pub(super) struct Parting {
    /// They hear of it when the wait is over.
    askers: Vec<Asker>,
    /// What clients were let through to write is in the stream.
    stopped: bool,
    /// Wall clock milliseconds.
    until_ms: i64,
}

impl Replication {
    /// SHUTDOWN: the answer comes when the followers have everything, or the time is over.
    pub(super) fn asked_to_part(&mut self, core: usize, id: u64) {
        self.part(Asker::Client(core, id));
    }

    /// A signal ends the node: [`Replication::parted`] says when the followers have everything.
    pub fn part_for_the_end(&mut self) {
        self.part(Asker::Owner);
    }

    /// The owner's wait is over, once: whether the node ends.
    pub fn parted(&mut self) -> Option<bool> {
        self.owner_parted.take()
    }

    fn part(&mut self, asker: Asker) {
        let now_ms = self.now.wall_ms();
        let online = |state| matches!(state, State::Online | State::Loading);
        let followed = self.followers.values().any(|of| online(of.state));
        let timeout_ms = (self.config.shutdown_timeout as i64).saturating_mul(1000);
        if let Some(parting) = &mut self.parting
            && !parting.askers.is_empty()
        {
            return parting.askers.push(asker);
        }
        if self.following.is_some() || self.parting.is_some() || !followed || timeout_ms == 0 {
            return self.answer_parting(asker, &Answer::Done("OK"));
        }
        self.parting = Some(Parting {
            askers: vec![asker],
            stopped: false,
            until_ms: now_ms.saturating_add(timeout_ms),
        });
        // Cores hear that writes wait before they are asked whether all that they had let through has arrived.
        self.tell_standing();
        self.cut(Purpose::Stop, CutWork::default());
    }

    /// SHUTDOWN ABORT, or an end that failed: the node goes on.
    pub fn stay(&mut self) -> Answer {
        let Some(parting) = self.parting.take() else {
            return Answer::Refused("ERR No shutdown in progress.".into());
        };
        tracing::warn!("The shutdown is given up: writes go on.");
        for asker in parting.askers {
            let text = "ERR Errors trying to SHUTDOWN. Check logs.";
            self.answer_parting(asker, &Answer::Refused(text.into()));
        }
        Answer::Done("OK")
    }

    fn answer_parting(&mut self, asker: Asker, answer: &Answer) {
        match asker {
            Asker::Client(core, id) => self.answer(core, id, answer.clone()),
            Asker::Owner => self.owner_parted = Some(matches!(answer, Answer::Done(_))),
        }
    }

    /// All shards have stopped: the stream has its end.
    pub(super) fn stopped_to_part(&mut self) {
        if let Some(parting) = &mut self.parting {
            parting.stopped = true;
            tracing::info!("Writes wait. Waiting for replicas before shutting down.");
        }
    }

    /// Goes on with the wait, once a turn. Returns when that must be done again at the latest, wall clock milliseconds.
    pub(super) fn parting_turn(&mut self) -> Option<i64> {
        let parting = self.parting.as_ref()?;
        if parting.askers.is_empty() {
            return None;
        }
        let end = self.stream.end();
        let lagging = || {
            let online = self.followers.values();
            online.filter(|of| of.state == State::Online && of.acknowledged < end)
        };
        let late = self.now.wall_ms() >= parting.until_ms;
        if !(late || parting.stopped && lagging().next().is_none()) {
            return Some(parting.until_ms);
        }
        for follower in lagging() {
            tracing::warn!(
                "Lagging replica {} reported offset {} behind master, the end is {end}.",
                follower.name(),
                end - follower.acknowledged
            );
        }
        let askers = self
            .parting
            .as_mut()
            .map(|parting| std::mem::take(&mut parting.askers));
        for asker in askers.unwrap_or_default() {
            self.answer_parting(asker, &Answer::Done("OK"));
        }
        None
    }
}
