//! Who leads: REPLICAOF, its end, and what changes with it.
//!
//! A leader that is to follow first has its clients' writes refused, then waits until every line that was let through has
//! arrived (a *sweep*), then has the shards stop logging at a cut. So its offset is exact, and it can ask the new leader to go on
//! from there. A follower that is to lead applies what it has received, has the shards log from a cut on, and takes a new id: up to that
//! offset the old one is right too.

use super::following::{Following, Stage, Then};
use super::{Purpose, Replication};
use crate::command::replicating::{Answer, Role, Standing};
use crate::config::ReplicaOf;
use crate::mesh::CutWork;

impl Replication {
    /// REPLICAOF host port.
    pub(super) fn follow(&mut self, host: String, port: u16) -> Answer {
        if self.failover.is_some() {
            return Answer::Refused("ERR REPLICAOF not allowed while failing over.".into());
        }
        if let Some(following) = &mut self.following {
            let leading = matches!(following.stage, Stage::Promoting);
            let same = match &following.then {
                Then::Follow(host2, port2) => *host2 == host && *port2 == port,
                Then::Lead => false,
                Then::Again(_) => following.host == host && following.port == port && !leading,
            };
            if same {
                tracing::info!(
                    "REPLICAOF would result into synchronization with the master we are already connected with. No operation performed."
                );
                return Answer::Done("OK Already connected to specified master");
            }
            tracing::info!("REPLICAOF {host}:{port} enabled (user request)");
            following.then = Then::Follow(host, port);
            if !matches!(
                following.stage,
                Stage::Demoting | Stage::Promoting | Stage::Draining
            ) {
                self.end_link(0);
            }
            return Answer::Done("OK");
        }
        tracing::info!("REPLICAOF {host}:{port} enabled (user request)");
        self.begin_following(host, port);
        Answer::Done("OK")
    }

    /// A leader becomes a follower.
    pub(super) fn begin_following(&mut self, host: String, port: u16) {
        tracing::info!(
            "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be able to \
             synchronize with the new master with just a partial transfer."
        );
        let following = Following::new(host, port, Stage::Demoting, self.now.mono_ns);
        self.following = Some(Box::new(following));
        for waiter in std::mem::take(&mut self.waiters) {
            let refused = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
            self.answer(waiter.core, waiter.id, Answer::Refused(refused.into()));
        }
        self.tell_standing();
        let work = CutWork {
            log: Some(false),
            ..CutWork::default()
        };
        self.cut(Purpose::Demote, work);
    }

    /// The shards log no more.
    pub(super) fn demoted(&mut self) {
        let now_ns = self.now.mono_ns;
        let Some(following) = &mut self.following else {
            return;
        };
        if following.then == Then::Again(0) {
            following.stage = Stage::Waiting(now_ns);
        } else {
            self.end_link(0);
        }
    }

    /// REPLICAOF NO ONE; the answer comes when it leads.
    pub(super) fn lead(&mut self, asker: Option<(usize, u64)>) {
        let Some(following) = &mut self.following else {
            if let Some((core, id)) = asker {
                self.answer(core, id, Answer::Done("OK"));
            }
            return;
        };
        following.askers.extend(asker);
        following.then = Then::Lead;
        match following.stage {
            Stage::Promoting => following.then = Then::Again(0),
            Stage::Demoting | Stage::Draining => {}
            _ => self.end_link(0),
        }
    }

    /// The shards log from now on: it leads.
    pub(super) fn promoted(&mut self) {
        let Some(following) = self.following.take() else {
            return;
        };
        let new = self.random_id();
        let second = self.stream.end() + 1;
        tracing::info!(
            "Setting secondary replication ID to {}, valid up to offset: {second}. New replication ID is {new}",
            self.id
        );
        self.id2 = Some(std::mem::replace(&mut self.id, new));
        self.second_offset = Some(second);
        self.usable = true;
        self.alone_since_ns = self.now.mono_ns;
        self.merge.forget_db();
        self.disconnect_followers();
        tracing::info!("MASTER MODE enabled");
        self.promoted = following.askers;
        if let Then::Follow(host, port) = following.then {
            self.follow_next = Some((host, port));
        }
    }

    /// After a cut has let the shards go on: those who asked for the change hear of it.
    pub(super) fn role_changed(&mut self) {
        self.tell_standing();
        let askers = std::mem::take(&mut self.promoted);
        self.answer_askers(askers, &Answer::Done("OK"));
        for (handle, request) in std::mem::take(&mut self.successors) {
            self.add_follower(handle, request);
        }
        if let Some((host, port)) = self.follow_next.take() {
            self.begin_following(host, port);
        }
    }

    /// Followers of this node must ask anew: what they follow is another stream.
    pub(super) fn disconnect_followers(&mut self) {
        for follower in self.followers.values_mut() {
            follower.closing = true;
        }
    }

    /// How things stand.
    fn standing_now(&self) -> Standing {
        let mut standing = Standing {
            role: Role::Leader,
            loading: self.loading.is_some(),
            good_followers: self.good_followers(),
            save_failed: self.saving.failed() && !self.config.save.is_empty(),
            replicaof: None,
            failing_over: self.failover.is_some(),
            parting: self.parting.is_some(),
        };
        if let Some(following) = &self.following {
            standing.role = Role::Follower {
                up: matches!(following.stage, Stage::Online),
            };
            standing.loading |= following.is_loading();
            let (host, port) = match &following.then {
                Then::Follow(host, port) => (host, *port),
                _ => (&following.host, following.port),
            };
            standing.replicaof = match &self.standing.replicaof {
                Some(of) if of.host == *host && of.port == port => Some(of.clone()),
                _ => Some(std::sync::Arc::new(ReplicaOf {
                    host: host.clone(),
                    port,
                })),
            };
        }
        standing
    }

    /// Tells all cores how things stand, when that has changed.
    pub(super) fn tell_standing(&mut self) {
        let standing = self.standing_now();
        if standing != self.standing {
            self.standing = standing;
            self.send_standing();
        }
    }
}
