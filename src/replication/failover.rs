//! FAILOVER: a leader hands its role to one of its followers, and no acknowledged write is lost.
//!
//! ```text
//!   FAILOVER ──▶ Stopping ──▶ Waiting ──────────▶ Handing ──────────▶ a follower of the new leader
//!                (writes wait, (a follower has     (PSYNC … FAILOVER:
//!                 what runs     everything)         it leads now)
//!                 ends)
//! ```
//!
//! From the beginning to the new leader's answer clients' writes wait (`Standing::failing_over`); then they are refused as on any
//! follower. From the cut that ends `Stopping` on the stream grows no more: nothing expires, no pings, no requests for
//! acknowledgements.
//!
//! The other side is [`Replication::take_over`]: a follower that gets PSYNC … FAILOVER with its own id leads, and then
//! answers as a leader does.
//!
//! Invariants:
//! - The role changes hands only when a follower has acknowledged the whole stream, or by force.
//! - Every way out of a failover lets the writes go on.

use super::follower::{Follower, State};
use super::{Purpose, Replication};
use crate::command::replicating::{Answer, FollowRequest};
use crate::mesh::CutWork;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Writes that were let through are still on their way.
    Stopping,
    /// A follower is to acknowledge the whole stream.
    Waiting,
    /// The node follows whom it asks to lead.
    Handing,
}

/// A failover under way. Lives on the replication shard.
pub(super) struct Failover {
    stage: Stage,
    /// Whom it is for; `None`: the first that has everything.
    to: Option<(String, u16)>,
    /// At the end of the time it goes on in any case.
    force: bool,
    /// Wall clock milliseconds.
    until_ms: Option<i64>,
}

impl Replication {
    /// FAILOVER. Whether there is somebody to take over was asked before.
    pub(super) fn begin_failover(
        &mut self,
        to: Option<(String, u16)>,
        force: bool,
        until_ms: Option<i64>,
    ) -> Answer {
        if self.failover.is_some() {
            return Answer::Refused("ERR FAILOVER already in progress.".into());
        }
        if self.following.is_some() {
            let text = "ERR FAILOVER is not valid when server is a replica.";
            return Answer::Refused(text.into());
        }
        match &to {
            Some((host, port)) => tracing::info!("FAILOVER requested to {host}:{port}."),
            None => tracing::info!("FAILOVER requested."),
        }
        self.failover = Some(Failover {
            stage: Stage::Stopping,
            to,
            force,
            until_ms,
        });
        // Cores hear that writes wait before they are asked whether all that they had let through has arrived.
        self.tell_standing();
        self.cut(Purpose::Stop, CutWork::default());
        Answer::Done("OK")
    }

    /// FAILOVER ABORT.
    pub(super) fn asked_to_abort_failover(&mut self) -> Answer {
        if self.failover.is_none() {
            return Answer::Refused("ERR No failover in progress.".into());
        }
        self.abort_failover("Failover manually aborted");
        Answer::Done("OK")
    }

    /// All shards have stopped: the stream has its end.
    pub(super) fn stopped(&mut self) {
        if let Some(failover) = &mut self.failover
            && failover.stage == Stage::Stopping
        {
            failover.stage = Stage::Waiting;
        }
    }

    /// The stream must not grow by what the replication shard itself adds.
    pub(super) fn is_still(&self) -> bool {
        self.failover.is_some() || self.parting.is_some()
    }

    /// Goes on with a failover, once a turn. Returns when that must be done again at the latest, wall clock milliseconds.
    pub(super) fn failover_turn(&mut self) -> Option<i64> {
        let failover = self.failover.as_ref()?;
        if failover.stage == Stage::Handing {
            return None;
        }
        let late = failover
            .until_ms
            .is_some_and(|until_ms| self.now.wall_ms() >= until_ms);
        let end = self.stream.end();
        let synced = |follower: &&Follower| {
            failover.stage == Stage::Waiting
                && follower.state == State::Online
                && follower.acknowledged >= end
        };
        let named = |follower: &&Follower| follower.request.info.listening_port != 0;
        let followers = self.followers.values().filter(synced).filter(named);
        let mut followers = followers.map(address);
        let found = match &failover.to {
            Some(to) => followers.find(|address| address == to),
            None => followers.next(),
        };
        if let Some((host, port)) = found {
            tracing::info!("Failover target is synced, failing over to {host}:{port}.");
            self.hand_over(host, port);
            return None;
        }
        if !late {
            return failover.until_ms;
        }
        match failover.to.clone().filter(|_| failover.force) {
            Some((host, port)) => {
                tracing::info!("Failover to {host}:{port} time out exceeded, failing over.");
                self.hand_over(host, port);
            }
            None => self.abort_failover("Replica never caught up before timeout"),
        }
        None
    }

    /// The node follows this server, and asks it to lead.
    fn hand_over(&mut self, host: String, port: u16) {
        if let Some(failover) = &mut self.failover {
            failover.stage = Stage::Handing;
        }
        self.begin_following(host, port);
        if let Some(following) = &mut self.following {
            following.failover = true;
        }
    }

    /// The node asks its leader-to-be to take over.
    pub(super) fn is_handing_over(&self) -> bool {
        self.failover
            .as_ref()
            .is_some_and(|failover| failover.stage == Stage::Handing)
    }

    /// As INFO shows it.
    pub(super) fn failover_state(&self) -> &'static str {
        match self.failover.as_ref().map(|failover| failover.stage) {
            None => "no-failover",
            Some(Stage::Stopping | Stage::Waiting) => "waiting-for-sync",
            Some(Stage::Handing) => "failover-in-progress",
        }
    }

    /// The new leader has taken over, or another change of roles makes an end of it: writes go on, or are refused.
    pub(super) fn end_failover(&mut self) {
        self.failover = None;
        if let Some(following) = &mut self.following {
            following.failover = false;
        }
    }

    /// The node goes on as the leader that it was.
    pub(super) fn abort_failover(&mut self, why: &str) {
        tracing::warn!("Aborting failover: {why}.");
        let handing = self.is_handing_over();
        self.end_failover();
        if handing {
            self.lead(None);
        }
    }

    /// PSYNC … FAILOVER came: this follower shall lead if it has the asker's stream, and then answer.
    pub(super) fn take_over(&mut self, handle: u64, mut request: FollowRequest) {
        let id = request.from.as_ref().map(|(id, _)| id.as_slice());
        let same = id.is_some_and(|id| id.eq_ignore_ascii_case(self.id.as_bytes()));
        let refusal = match self.following {
            None => "-ERR PSYNC FAILOVER can't be sent to a master.\r\n",
            Some(_) if !same => "-ERR PSYNC FAILOVER replid must match my replid.\r\n",
            Some(_) => {
                tracing::info!("Failover request received for replid {}.", self.id);
                request.failover = false;
                self.successors.push((handle, request));
                self.lead(None);
                return;
            }
        };
        let mut follower = Follower::new(request, self.now.mono_ns);
        follower.out.extend_from_slice(refusal.as_bytes());
        follower.closing = true;
        self.followers.insert(handle, follower);
    }
}

/// Where a follower says that it listens.
fn address(follower: &Follower) -> (String, u16) {
    (follower.ip().into(), follower.request.info.listening_port)
}
