//! The leader's side: who may go on where it was, who gets all data, who is too slow.

use std::io::IoSlice;

use super::follower::{Follower, Said, State};
use super::following::FEED_CORE;
use super::rounds::{Round, facts, version_for};
use super::{Purpose, Replication, SECOND_NS};
use crate::command::connection::REDIS_VERSION;
use crate::command::replicating::{Backlog, FollowRequest, Status};
use crate::mesh::{CutFacts, CutWork, Message, SnapshotSpec};
use crate::rdb::Version;

/// The line that followers get regularly, so that they know the link is alive.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

impl Replication {
    /// A connection asked to follow; it has been handed over, and its bytes go through [`Replication::pieces`].
    pub fn add_follower(&mut self, handle: u64, request: FollowRequest) {
        if request.failover {
            return self.take_over(handle, request);
        }
        let now_ns = self.now.mono_ns;
        let mut follower = Follower::new(request, now_ns);
        let name = follower.name();
        match follower.request.from.clone() {
            Some((id, offset)) if self.can_go_on(&id, offset) => {
                tracing::info!(
                    "Partial resynchronization request from {name} accepted. Sending {} bytes of backlog starting from offset {offset}.",
                    self.stream.end() + 1 - offset as u64
                );
                self.syncs[1] += 1;
                follower.go_on(&self.id, offset as u64 - 1);
            }
            from => {
                if let Some((id, _)) = from.filter(|(id, _)| id != b"?") {
                    tracing::info!(
                        "Partial resynchronization not possible for {name} (asked for {})",
                        String::from_utf8_lossy(&id)
                    );
                    self.syncs[2] += 1;
                }
                tracing::info!("Full resync requested by replica {name}");
                self.syncs[0] += 1;
                let delay_ns = if self.config.repl_diskless_sync {
                    self.config.repl_diskless_sync_delay * SECOND_NS
                } else {
                    0
                };
                self.gather_until_ns.get_or_insert(now_ns + delay_ns);
            }
        }
        self.followers.insert(handle, follower);
    }

    /// Nobody has to read everything again: the stream has this id, and the offset, the first byte that is wanted, is kept.
    fn can_go_on(&self, id: &[u8], offset: i64) -> bool {
        let Ok(offset) = u64::try_from(offset) else {
            return false;
        };
        let same = id.eq_ignore_ascii_case(self.id.as_bytes());
        let before = || {
            self.id2
                .as_ref()
                .is_some_and(|id2| id.eq_ignore_ascii_case(id2.as_bytes()))
                && self.second_offset.is_some_and(|second| offset <= second)
        };
        (same || before())
            && self.backlog
            && self
                .cuts
                .iter()
                .all(|(purpose, _)| *purpose != Purpose::Silence)
            && (self.stream.first() + 1..=self.stream.end() + 1).contains(&offset)
    }

    /// A follower's connection is gone.
    pub fn remove_follower(&mut self, handle: u64) {
        self.successors.retain(|(of, _)| *of != handle);
        if let Some(follower) = self.followers.remove(&handle) {
            tracing::info!("Connection with replica {} lost.", follower.name());
            if self.followers.is_empty() {
                self.alone_since_ns = self.now.mono_ns;
            }
        }
    }

    /// CLIENT KILL: these clients are to be closed.
    pub(super) fn close_followers(&mut self, clients: &[u64]) {
        for follower in self.followers.values_mut() {
            follower.closing |= clients.contains(&follower.request.client);
        }
    }

    /// Handles of all followers.
    pub fn followers(&self) -> Vec<u64> {
        self.followers.keys().copied().collect()
    }

    /// Bytes came from a follower.
    pub fn follower_read(&mut self, handle: u64, data: &[u8]) {
        let now_ns = self.now.mono_ns;
        if let Some(follower) = self.followers.get_mut(&handle) {
            let was = follower.state;
            if follower.read(data, now_ns) == Said::Acknowledged && was == State::Loading {
                tracing::info!("Synchronization with replica {} succeeded", follower.name());
            }
        }
    }

    /// The pieces that a follower gets next. Returns how many there are.
    pub fn pieces<'a>(&'a self, handle: u64, pieces: &mut [IoSlice<'a>]) -> usize {
        self.followers.get(&handle).map_or(0, |follower| {
            follower.pieces(self.round.as_ref(), &self.stream, pieces)
        })
    }

    /// So many bytes of them were sent.
    pub fn advance(&mut self, handle: u64, bytes: usize) {
        let now_ns = self.now.mono_ns;
        if let Some(follower) = self.followers.get_mut(&handle) {
            follower.advance(bytes, self.round.as_ref(), now_ns);
        }
    }

    /// A follower's connection is to be closed.
    pub fn wants_close(&self, handle: u64) -> bool {
        self.followers
            .get(&handle)
            .is_some_and(|follower| follower.closing)
    }

    /// Begins a round when somebody waits for one, none is under way and the delay is over.
    pub(super) fn begin_round_if_due(&mut self) {
        let due = self
            .gather_until_ns
            .is_some_and(|until_ns| self.now.mono_ns >= until_ns);
        if !due || self.round.is_some() || !self.cuts.is_empty() {
            return;
        }
        if !self.quiet_for_round() {
            return;
        }
        self.gather_until_ns = None;
        let waiting: Vec<&FollowRequest> = self
            .followers
            .values()
            .filter(|follower| follower.state == State::Waiting)
            .map(|follower| &follower.request)
            .collect();
        let Some(version) = waiting.iter().map(|request| version_for(request)).min() else {
            self.release_feed();
            return;
        };
        let whole = waiting.iter().any(|request| !request.info.eof);
        let spec = SnapshotSpec {
            version,
            compress: self.config.rdbcompression,
        };
        self.round = Some(Round::new(version, self.shards, whole));
        let work = CutWork {
            // On a follower the stream is the leader's.
            log: self.following.is_none().then_some(true),
            snapshot: Some(spec),
            ..CutWork::default()
        };
        self.cut(Purpose::Round, work);
    }

    /// Nothing of a leader's stream is under way: a cut has the data of the stream's end. Else it is held back, and is soon.
    pub(super) fn quiet_for_round(&mut self) -> bool {
        match &mut self.following {
            None => true,
            Some(following) => following.is_quiet_for_cut(),
        }
    }

    /// The leader's stream may go on.
    pub(super) fn release_feed(&mut self) {
        if let Some(following) = &mut self.following {
            for bytes in following.feed.release() {
                self.outboxes[FEED_CORE].push(Message::Leader(bytes));
            }
        }
    }

    /// The database that the stream has selected behind a cut: the leader's, or none, which makes the next entry select.
    pub(super) fn db_at_cut(&mut self) -> usize {
        if self.following.is_some() {
            return usize::from(self.merge.db().unwrap_or(0));
        }
        self.merge.forget_db();
        0
    }

    /// The round's cut: the offset is known, and those who wait take part. When fields of hashes expire, the version is one that
    /// can say so: who cannot read it could not follow the lines of the stream either, and says so in its log, as behind a leader
    /// that is Redis. Without their expiry the fields would outlive it on whoever leads next.
    pub(super) fn round_begins(&mut self, cut: CutFacts, work: &mut CutWork) {
        if !self.backlog {
            self.backlog = true;
            // What followers had before this stream was kept is of no use.
            let end = self.stream.end();
            self.stream.restart_at(end);
        }
        let offset = self.stream.end();
        let db = self.db_at_cut();
        let Some(round) = &mut self.round else { return };
        if cut.timed_fields && round.version < Version::V12 {
            tracing::warn!(
                "Fields of hashes expire: replicas get RDB version 12, which neither Redis before 7.4 nor Valkey can load."
            );
            round.version = Version::V12;
            if let Some(spec) = &mut work.snapshot {
                spec.version = Version::V12;
            }
        }
        let now_s = self.now.wall_ms() / 1000;
        let facts = facts(REDIS_VERSION, now_s, &self.id, offset, db);
        let checksum = self.config.rdbchecksum;
        round.begin(offset, checksum, &facts);
        let empty = Round::without_data(round.version, checksum, &facts);
        let waiting: Vec<u64> = self
            .followers
            .iter()
            .filter(|(_, follower)| follower.state == State::Waiting)
            .map(|(&handle, _)| handle)
            .collect();
        for handle in waiting {
            let mark = self.random_id();
            let mark = mark.as_bytes().try_into().expect("forty digits");
            let id = &self.id;
            if let Some(follower) = self.followers.get_mut(&handle) {
                follower.begin_sync(id, offset, mark, &empty);
                follower.heard_ns = self.now.mono_ns;
                follower.moved_ns = self.now.mono_ns;
            }
        }
    }

    /// Entries of a shard's walk.
    pub(super) fn snapshot_came(&mut self, from: usize, bytes: &[u8], last: bool) {
        let Some(round) = &mut self.round else { return };
        round.add(from, bytes, last);
        if round.complete {
            let length = round.bytes.end();
            for follower in self.followers.values_mut() {
                follower.length_known(length);
            }
        }
    }

    /// Lets the shards' walks go on as far as those who take part have come, and ends the round when all are through.
    pub fn take_round(&mut self) {
        let Some(round) = &mut self.round else { return };
        if round.offset.is_none() {
            return;
        }
        let slowest = self
            .followers
            .values()
            .filter_map(|follower| match follower.state {
                State::Syncing(at) => Some(at),
                _ => None,
            })
            .chain(self.saving.taken())
            .min();
        // Nobody takes part any more: the walk is let through to its end.
        let taken = slowest.unwrap_or(round.bytes.end());
        for (shard, bytes) in round.taken(taken) {
            self.outboxes[shard].push(Message::SnapshotTaken(bytes));
        }
        if round.complete && slowest.is_none() {
            self.round = None;
        }
    }

    /// Ten times a second: pings, limits, time-outs, the backlog.
    pub(super) fn housekeeping(&mut self) {
        let now_ns = self.now.mono_ns;
        if now_ns >= self.next_ping_ns {
            let period_ns = self.config.repl_ping_replica_period * SECOND_NS;
            self.next_ping_ns = now_ns + period_ns;
            let online = |follower: &Follower| follower.state != State::Waiting;
            let leads = self.logging && self.following.is_none() && !self.is_still();
            if leads && self.followers.values().any(online) {
                self.stream.append(PING);
            }
        }
        self.keep_waiting_alive();
        self.close_slow_followers();
        self.look_at_save_points();
        self.trim();
        self.watch_link();
        let ttl_ns = self.config.repl_backlog_ttl.saturating_mul(SECOND_NS);
        if self.backlog
            && self.following.is_none()
            && self.followers.is_empty()
            && ttl_ns > 0
            && now_ns.saturating_sub(self.alone_since_ns) > ttl_ns
            && self.cuts.is_empty()
        {
            self.forget_backlog();
        }
    }

    /// Nobody has followed for long: nothing is logged any more, and who comes back gets all data.
    fn forget_backlog(&mut self) {
        tracing::info!(
            "Replication backlog freed after {} seconds without connected replicas.",
            self.config.repl_backlog_ttl
        );
        self.backlog = false;
        self.id = self.random_id();
        (self.id2, self.second_offset) = (None, None);
        let work = CutWork {
            log: Some(false),
            ..CutWork::default()
        };
        self.cut(Purpose::Silence, work);
    }

    /// Followers that wait for their data get an empty line each second.
    fn keep_waiting_alive(&mut self) {
        let now_ns = self.now.mono_ns;
        for follower in self.followers.values_mut() {
            let silent = match follower.state {
                State::Waiting => true,
                // It gets nothing before the length is known.
                State::Syncing(0) => !follower.request.info.eof,
                _ => false,
            };
            if silent && follower.request.from.is_some() {
                follower.heard_ns = now_ns;
                if now_ns.saturating_sub(follower.moved_ns) >= SECOND_NS && follower.out.is_empty()
                {
                    follower.moved_ns = now_ns;
                    follower.out.push(b'\n');
                }
            }
        }
    }

    fn close_slow_followers(&mut self) {
        let now_ns = self.now.mono_ns;
        let timeout_ns = self.config.repl_timeout * SECOND_NS;
        let limit = &self.config.client_output_buffer_limit.replica;
        let backlog_bytes = self.config.repl_backlog_size;
        for follower in self.followers.values_mut() {
            let name = follower.name();
            let unsent = follower.unsent(&self.stream);
            // As much as the backlog holds is no reason: it is kept anyway.
            let hard = limit.hard_bytes > 0 && unsent >= limit.hard_bytes.max(backlog_bytes);
            let soft = limit.soft_bytes > 0 && unsent >= limit.soft_bytes.max(backlog_bytes);
            let since_ns = follower.over_soft_since_ns.filter(|_| soft);
            let soft_for_long =
                since_ns.is_some_and(|since| now_ns - since > limit.soft_seconds * SECOND_NS);
            if hard || soft_for_long {
                tracing::warn!(
                    "Replica {name} closed for overcoming of output buffer limits ({unsent} bytes unsent)."
                );
                follower.closing = true;
            }
            let quiet_ns = match follower.state {
                State::Waiting => 0,
                State::Syncing(_) => now_ns.saturating_sub(follower.moved_ns),
                State::Loading | State::Online => now_ns.saturating_sub(follower.heard_ns),
            };
            let acknowledges = follower.request.from.is_some();
            if acknowledges && quiet_ns > timeout_ns {
                tracing::warn!("Disconnecting timedout replica: {name}");
                follower.closing = true;
            }
            follower.over_soft_since_ns = soft.then_some(since_ns.unwrap_or(now_ns));
        }
    }

    /// Drops what neither the backlog nor a follower needs.
    fn trim(&mut self) {
        let slowest = self
            .followers
            .values()
            .filter(|follower| follower.state != State::Waiting)
            .map(|follower| follower.cursor)
            .min()
            .unwrap_or(u64::MAX);
        let kept = match self.backlog {
            true => self
                .stream
                .end()
                .saturating_sub(self.config.repl_backlog_size),
            false => self.stream.end(),
        };
        self.stream.trim(slowest.min(kept));
    }

    /// Followers that acknowledged lately.
    pub(super) fn good_followers(&self) -> u64 {
        let lag_ns = self.config.min_replicas_max_lag * SECOND_NS;
        self.followers
            .values()
            .filter(|follower| {
                follower.state == State::Online
                    && self.now.mono_ns.saturating_sub(follower.heard_ns) <= lag_ns
            })
            .count() as u64
    }

    /// How things stand.
    pub(super) fn status(&self) -> Status {
        let first = self.stream.first();
        let end = self.stream.end();
        Status {
            id: self.id.clone(),
            id2: self.id2.clone().unwrap_or_else(|| "0".repeat(40)),
            second_offset: self.second_offset.map_or(-1, |offset| offset as i64),
            offset: end,
            backlog: self.backlog.then(|| Backlog {
                first_byte: first + 1,
                bytes: end - first,
            }),
            followers: self
                .followers
                .values()
                .map(|follower| follower.status(self.now.mono_ns, &self.stream))
                .collect(),
            link: self.link_status(),
            failover_state: self.failover_state(),
            syncs: self.syncs,
            saving: self.saving_status(),
        }
    }
}
