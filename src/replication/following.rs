//! The follower's side: the link to the leader, all data when it is needed, the stream, and what is said back.
//!
//! ```text
//!   Demoting ──▶ Waiting ──▶ Connecting ──▶ Handshake ──▶ Syncing ──▶ Online
//!   (lanes off)    ▲                            └─────────────────────▶ │
//!                  └────────────────── Draining ◀───────────────────────┘   the link is gone, or unwanted
//!                                         └──▶ Promoting ──▶ (a leader)     (lanes on)
//! ```
//!
//! Invariants:
//! - The end of the stream is what the data is, whenever nothing is under way on the data cores.
//! - A link ends with a drain: what came as whole lines is applied, the rest is forgotten and asked for again.
//! - While it follows, no shard logs.

use super::feed::Feed;
use super::handshake::{Handshake, Hello, Outcome};
use super::incoming::{Incoming, Phase};
use super::{Loading, Purpose, Replication, SECOND_NS};
use crate::command::replicating::{Answer, Applied, LinkStatus, SyncStatus};
use crate::mesh::{CutWork, Message};
use crate::rdb::Limits;
use crate::resp::encode_line;

/// The data core that runs the stream.
pub(super) const FEED_CORE: usize = 0;
/// Progress of a full synchronisation is logged this often.
const PROGRESS_NS: u64 = 5 * SECOND_NS;

/// How far it is.
pub(super) enum Stage {
    /// It led until now: shards stop logging.
    Demoting,
    /// The next try begins then.
    Waiting(u64),
    /// A connection is on its way, or its name is being looked up.
    Connecting,
    /// The two make themselves known.
    Handshake(Box<Handshake>, Option<(String, u64)>),
    /// All data comes.
    Syncing(Box<Incoming>),
    /// The stream comes.
    Online,
    /// The link is gone; a data core applies what came.
    Draining,
    /// It will lead: shards begin to log.
    Promoting,
}

/// What comes when the link is gone and drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another try, at once or a second later.
    Again(u64),
    /// Another leader.
    Follow(String, u16),
    /// It leads.
    Lead,
}

/// A node that follows. Lives on the replication shard.
pub(super) struct Following {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) stage: Stage,
    pub(super) then: Then,
    pub(super) feed: Feed,
    /// What the leader is to get.
    out: Vec<u8>,
    /// Where the owner of the sockets is to connect to.
    connect: bool,
    /// It is to close the connection.
    drop: bool,
    /// When something came, or the stage began.
    heard_ns: u64,
    /// When something was said last: an acknowledgement, or a sign of life.
    said_ns: u64,
    /// Since when the link is down; `None` while it is up.
    pub(super) down_since_ns: Option<u64>,
    progress_ns: u64,
    /// Who asked for the leader's role.
    pub(super) askers: Vec<(usize, u64)>,
    /// The handshake tells the leader to hand over.
    pub(super) failover: bool,
}

impl Following {
    pub(super) fn new(host: String, port: u16, stage: Stage, now_ns: u64) -> Following {
        Following {
            host,
            port,
            stage,
            then: Then::Again(0),
            feed: Feed::default(),
            out: Vec::new(),
            connect: false,
            drop: false,
            heard_ns: now_ns,
            said_ns: now_ns,
            down_since_ns: Some(now_ns),
            progress_ns: now_ns,
            askers: Vec::new(),
            failover: false,
        }
    }

    fn is_connected(&self) -> bool {
        matches!(
            self.stage,
            Stage::Connecting | Stage::Handshake(..) | Stage::Syncing(_) | Stage::Online
        )
    }

    /// Nothing of the stream is under way, and nothing begins: until the feed is released.
    pub(super) fn is_quiet_for_cut(&mut self) -> bool {
        match &self.stage {
            Stage::Online => {
                self.feed.holding = true;
                self.feed.is_quiet()
            }
            Stage::Draining => false,
            Stage::Syncing(_) => !self.is_loading(),
            _ => true,
        }
    }

    /// The data is neither the old nor all of the new.
    pub(super) fn is_loading(&self) -> bool {
        matches!(&self.stage, Stage::Syncing(incoming) if incoming.phase != Phase::Begins)
    }

    fn state(&self) -> &'static str {
        match self.stage {
            Stage::Demoting | Stage::Waiting(_) | Stage::Draining | Stage::Promoting => "connect",
            Stage::Connecting => "connecting",
            Stage::Handshake(_, None) => "handshake",
            Stage::Handshake(_, Some(_)) | Stage::Syncing(_) => "sync",
            Stage::Online => "connected",
        }
    }
}

/// The connection, as the owner of the sockets sees it.
impl Replication {
    /// Where to connect to, once per try.
    pub fn link_connect(&mut self) -> Option<(String, u16)> {
        let following = self.following.as_mut()?;
        std::mem::take(&mut following.connect).then(|| (following.host.clone(), following.port))
    }

    /// The connection is to be closed, if there is one.
    pub fn link_drop(&mut self) -> bool {
        self.following
            .as_mut()
            .is_some_and(|following| std::mem::take(&mut following.drop))
    }

    /// What the leader is to get.
    pub fn link_output(&self) -> &[u8] {
        self.following
            .as_ref()
            .map_or(&[], |following| &following.out)
    }

    /// So many bytes of it were sent.
    pub fn link_sent(&mut self, bytes: usize) {
        if let Some(following) = &mut self.following {
            following.out.drain(..bytes);
        }
    }

    /// Bytes of the leader are welcome.
    pub fn link_reads(&self) -> bool {
        self.following
            .as_ref()
            .is_some_and(|following| match &following.stage {
                Stage::Syncing(incoming) => match incoming.phase {
                    Phase::Begins => true,
                    Phase::Flushes | Phase::Ended => false,
                    // Behind the end of the data its mark is still to come.
                    Phase::Loads => self
                        .loading
                        .as_ref()
                        .is_some_and(|loading| loading.is_at_end() || loading.wants_more()),
                },
                Stage::Online => following.feed.has_room(),
                _ => true,
            })
    }

    /// The connection is there.
    pub fn link_connected(&mut self) {
        let hello = self.hello();
        let now_ns = self.now.mono_ns;
        if let Some(following) = &mut self.following
            && matches!(following.stage, Stage::Connecting)
        {
            tracing::info!("Non blocking connect for SYNC fired the event.");
            following.heard_ns = now_ns;
            let handshake = Handshake::begin(hello, &mut following.out);
            following.stage = Stage::Handshake(Box::new(handshake), None);
        }
    }

    /// The connection is gone, or could not be made.
    pub fn link_lost(&mut self, why: &str) {
        let Some(following) = &mut self.following else {
            return;
        };
        following.drop = false;
        match following.stage {
            Stage::Connecting => {
                tracing::warn!("Error condition on socket for SYNC: {why}");
                self.end_link(SECOND_NS);
            }
            Stage::Handshake(..) | Stage::Syncing(_) => {
                tracing::warn!("Connection with master lost while synchronizing: {why}");
                self.end_link(SECOND_NS);
            }
            Stage::Online => {
                tracing::info!("Connection with master lost.");
                self.end_link(0);
            }
            _ => {}
        }
    }

    /// Bytes came from the leader.
    pub fn link_read(&mut self, mut data: &[u8]) {
        let now_ns = self.now.mono_ns;
        while !data.is_empty() {
            let Some(following) = &mut self.following else {
                return;
            };
            following.heard_ns = now_ns;
            match &mut following.stage {
                Stage::Handshake(handshake, full) => {
                    match handshake.read(&mut data, &mut following.out) {
                        Ok(None) => {}
                        Ok(Some(Outcome::Full { id, offset })) => {
                            following.failover = false;
                            self.failover = None;
                            tracing::info!("Full resync from master: {id}:{offset}");
                            *full = Some((id, offset));
                        }
                        Ok(Some(Outcome::Data(framing))) => {
                            let full = full.take().expect("the data was announced");
                            let incoming = Incoming::new(full, framing);
                            match incoming.total {
                                Some(bytes) => tracing::info!(
                                    "MASTER <-> REPLICA sync: receiving {bytes} bytes from master to parser"
                                ),
                                None => tracing::info!(
                                    "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to parser"
                                ),
                            }
                            following.progress_ns = now_ns;
                            following.stage = Stage::Syncing(Box::new(incoming));
                        }
                        Ok(Some(Outcome::Continue(id))) => {
                            self.end_failover();
                            self.go_on(id);
                        }
                        Err(text) if self.failover.is_some() => {
                            tracing::warn!("{text}");
                            return self.abort_failover("Failover target rejected psync request");
                        }
                        Err(text) => return self.fail(&text),
                    }
                }
                Stage::Syncing(incoming) => {
                    incoming.came(data);
                    return self.load_on();
                }
                Stage::Online => return self.stream_came(data),
                // It is being dropped.
                _ => return,
            }
        }
    }
}

impl Replication {
    /// What is said of this node.
    fn hello(&self) -> Hello {
        let config = &self.config;
        let from = self
            .usable
            .then(|| (self.id.clone(), self.stream.end() + 1));
        Hello {
            auth: (!config.masterauth.is_empty())
                .then(|| (config.masteruser.clone(), config.masterauth.clone())),
            port: match config.replica_announce_port {
                0 => config.port,
                port => port,
            },
            ip: config.replica_announce_ip.clone(),
            from,
            failover: self
                .following
                .as_ref()
                .is_some_and(|following| following.failover),
        }
    }

    /// The link ends with a line in the log, and is tried again in a second.
    fn fail(&mut self, text: &str) {
        tracing::warn!("{text}");
        self.end_link(SECOND_NS);
    }

    /// The link has ended: what came is applied, then comes what is to come; another try begins so much later.
    pub(super) fn end_link(&mut self, again_ns: u64) {
        let now_ns = self.now.mono_ns;
        let Some(following) = &mut self.following else {
            return;
        };
        following.drop |= following.is_connected();
        following.connect = false;
        following.out.clear();
        following.down_since_ns.get_or_insert(now_ns);
        if let Then::Again(delay_ns) = &mut following.then {
            *delay_ns = again_ns;
        }
        let loads = following.is_loading();
        following.stage = Stage::Draining;
        if following.feed.running {
            self.outboxes[FEED_CORE].push(Message::LeaderEnds);
            return;
        }
        if loads {
            tracing::warn!("The data of the master did not arrive as a whole: it is dropped");
            self.forget_data();
        }
        self.drained();
    }

    /// What shards hold is no data of any stream.
    fn forget_data(&mut self) {
        self.loading = None;
        self.usable = false;
        self.backlog = false;
        self.id = self.random_id();
        (self.id2, self.second_offset) = (None, None);
        let work = CutWork {
            flush: true,
            ..CutWork::default()
        };
        self.cut(Purpose::Forget, work);
    }

    /// All that came of the leader is applied, and nothing else of it will be.
    fn drained(&mut self) {
        let now_ns = self.now.mono_ns;
        let Some(following) = &mut self.following else {
            return;
        };
        following.feed.end();
        match std::mem::replace(&mut following.then, Then::Again(0)) {
            Then::Again(delay_ns) => following.stage = Stage::Waiting(now_ns + delay_ns),
            Then::Follow(host, port) => {
                (following.host, following.port) = (host, port);
                following.down_since_ns = Some(now_ns);
                following.stage = Stage::Waiting(now_ns);
            }
            Then::Lead => {
                following.stage = Stage::Promoting;
                let work = CutWork {
                    log: Some(self.backlog),
                    ..CutWork::default()
                };
                self.cut(Purpose::Lead, work);
            }
        }
    }

    /// +CONTINUE: the stream goes on where it was.
    fn go_on(&mut self, id: Option<String>) {
        tracing::info!("Successful partial resynchronization with master.");
        if let Some(id) = id.filter(|id| *id != self.id) {
            tracing::info!("Master replication ID changed to {id}");
            self.second_offset = Some(self.stream.end() + 1);
            self.id2 = Some(std::mem::replace(&mut self.id, id));
            self.disconnect_followers();
        }
        self.backlog = true;
        tracing::info!("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
        self.begin_stream(self.merge.db().unwrap_or(0));
    }

    /// The stream goes on from its end.
    fn begin_stream(&mut self, db: u16) {
        let offset = self.stream.end();
        if let Some(following) = &mut self.following {
            following.stage = Stage::Online;
            following.down_since_ns = None;
            following.feed.begin(offset);
        }
        self.merge.set_db(Some(db));
        self.outboxes[FEED_CORE].push(Message::LeaderBegins(offset, db));
        self.acknowledge();
    }

    /// Bytes of the stream came.
    fn stream_came(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if let Some(following) = &mut self.following
            && let Some(bytes) = following.feed.came(data)
        {
            self.outboxes[FEED_CORE].push(Message::Leader(bytes));
        }
    }

    /// A data core said how far it is.
    pub(super) fn stream_applied(&mut self, applied: &Applied) {
        let Some(following) = &mut self.following else {
            return;
        };
        following.feed.applied(applied, &mut self.stream);
        self.merge.set_db(Some(applied.db));
        if applied.broken {
            tracing::warn!("The stream of the master cannot be read on: it is asked for again");
            following.feed.running = false;
            self.end_link(SECOND_NS);
        } else if applied.ended {
            following.feed.running = false;
            if matches!(following.stage, Stage::Draining) {
                self.drained();
            }
        } else if applied.acknowledge {
            self.acknowledge();
        }
    }

    /// Tells the leader what is applied.
    fn acknowledge(&mut self) {
        let offset = self.stream.end().to_string();
        if let Some(following) = &mut self.following
            && matches!(following.stage, Stage::Online)
        {
            following.said_ns = self.now.mono_ns;
            let out = &mut following.out;
            encode_line(&[b"REPLCONF", b"ACK", offset.as_bytes()], out);
        }
    }

    /// Goes on with all data, as far as there are bytes and room.
    fn load_on(&mut self) {
        if let Err(text) = self.try_load() {
            tracing::warn!("Failed trying to load the MASTER synchronization DB: {text}");
            self.end_link(SECOND_NS);
        }
    }

    fn try_load(&mut self) -> Result<(), String> {
        let Some(following) = &mut self.following else {
            return Ok(());
        };
        let Stage::Syncing(incoming) = &mut following.stage else {
            return Ok(());
        };
        match incoming.phase {
            Phase::Begins => {
                if incoming.has_header(Limits::new(&self.config, &self.hasher))? {
                    tracing::info!("MASTER <-> REPLICA sync: Flushing old data");
                    incoming.phase = Phase::Flushes;
                    self.usable = false;
                    self.disconnect_followers();
                    self.tell_standing();
                    let work = CutWork {
                        flush: true,
                        ..CutWork::default()
                    };
                    self.cut(Purpose::Load, work);
                }
            }
            Phase::Loads => {
                if let Some(loading) = &mut self.loading {
                    let bytes = incoming.take();
                    let fed = loading.feed(&bytes, &mut self.outboxes);
                    fed.map_err(|error| error.to_string())?;
                    incoming.look_for_end(loading)?;
                }
                self.end_load();
            }
            Phase::Ended => self.end_load(),
            Phase::Flushes => {}
        }
        Ok(())
    }

    /// The old data is gone: the new may come.
    pub(super) fn flushed(&mut self) {
        if let Some(following) = &mut self.following
            && let Stage::Syncing(incoming) = &mut following.stage
        {
            tracing::info!("MASTER <-> REPLICA sync: Loading DB in memory");
            incoming.phase = Phase::Loads;
            self.loading = Some(Loading::new(self.shards, self.hasher, &self.config));
            self.loads = true;
        }
    }

    /// When all data is in its place: the stream begins.
    fn end_load(&mut self) {
        let Some(following) = &mut self.following else {
            return;
        };
        let Stage::Syncing(incoming) = &following.stage else {
            return;
        };
        if incoming.phase != Phase::Ended {
            return;
        }
        let Some(loading) = self.loading.take_if(|loading| loading.is_done()) else {
            return;
        };
        let Stage::Syncing(incoming) = std::mem::replace(&mut following.stage, Stage::Online)
        else {
            return;
        };
        tracing::info!(
            "MASTER <-> REPLICA sync: Finished with success, {} keys loaded",
            loading.counts().keys
        );
        if loading.passed_over() > 0 {
            tracing::warn!(
                "{} functions or data of modules of the master are not kept: neither saves nor replicas of this server have them",
                loading.passed_over()
            );
        }
        self.id = incoming.id.clone();
        (self.id2, self.second_offset) = (None, None);
        self.stream.restart_at(incoming.offset);
        (self.usable, self.backlog) = (true, true);
        self.begin_stream(loading.origin().db.unwrap_or(0));
        self.stream_came(&incoming.into_rest());
    }

    /// The follower's part of a turn. Returns when the next is due.
    pub(super) fn following_turn(&mut self) -> u64 {
        let now_ns = self.now.mono_ns;
        if std::mem::take(&mut self.loads) {
            self.load_on();
        }
        let Some(following) = &mut self.following else {
            return u64::MAX;
        };
        match following.stage {
            // The shards take one load at a time. Housekeeping looks again.
            Stage::Waiting(_) if self.expects_file => u64::MAX,
            Stage::Waiting(at_ns) if now_ns >= at_ns => {
                tracing::info!("Connecting to MASTER {}:{}", following.host, following.port);
                tracing::info!("MASTER <-> REPLICA sync started");
                following.stage = Stage::Connecting;
                following.connect = true;
                following.heard_ns = now_ns;
                u64::MAX
            }
            Stage::Waiting(at_ns) => at_ns,
            _ => u64::MAX,
        }
    }

    /// Ten times a second: signs of life, time-outs, progress.
    pub(super) fn watch_link(&mut self) {
        let now_ns = self.now.mono_ns;
        let timeout_ns = self.config.repl_timeout * SECOND_NS;
        let reads = self.link_reads();
        let keys = self.loaded_keys();
        let Some(following) = &mut self.following else {
            return;
        };
        let silent = reads && now_ns.saturating_sub(following.heard_ns) > timeout_ns;
        let second = now_ns.saturating_sub(following.said_ns) >= SECOND_NS;
        match &following.stage {
            Stage::Connecting | Stage::Handshake(..) if silent => {
                self.fail("Timeout connecting to the MASTER...");
            }
            Stage::Syncing(incoming) => {
                if silent {
                    return self.fail(
                        "Timeout receiving bulk data from MASTER... If the problem persists try to set the \
                         'repl-timeout' parameter in redis.conf to a larger value.",
                    );
                }
                if now_ns.saturating_sub(following.progress_ns) >= PROGRESS_NS {
                    following.progress_ns = now_ns;
                    tracing::info!(
                        "MASTER <-> REPLICA sync: {} bytes received, {} keys loaded",
                        incoming.read,
                        keys
                    );
                }
                if second {
                    following.said_ns = now_ns;
                    following.out.push(b'\n');
                }
            }
            Stage::Online if silent => {
                self.fail("MASTER timeout: no data nor PING received...");
            }
            Stage::Online if second => self.acknowledge(),
            _ => {}
        }
    }

    /// Keys of the data that is being loaded.
    fn loaded_keys(&self) -> u64 {
        self.loading
            .as_ref()
            .map_or(0, |loading| loading.counts().keys)
    }

    /// As INFO and ROLE show the link.
    pub(super) fn link_status(&self) -> Option<LinkStatus> {
        let following = self.following.as_ref()?;
        let now_ns = self.now.mono_ns;
        let seconds = |since_ns: u64| (now_ns.saturating_sub(since_ns) / SECOND_NS) as i64;
        let up = matches!(following.stage, Stage::Online);
        let applied = self.stream.end() as i64;
        let sync = match &following.stage {
            Stage::Syncing(incoming) => Some(SyncStatus {
                total_bytes: incoming.total,
                read_bytes: incoming.read,
                last_io_seconds: seconds(following.heard_ns),
                keys: self.loaded_keys(),
            }),
            Stage::Handshake(_, Some(_)) => Some(SyncStatus::default()),
            _ => None,
        };
        Some(LinkStatus {
            host: following.host.clone(),
            port: following.port,
            state: following.state(),
            last_io_seconds: if up { seconds(following.heard_ns) } else { -1 },
            read_offset: match following.feed.running {
                true => following.feed.received() as i64,
                false => applied,
            },
            applied_offset: applied,
            down_seconds: following.down_since_ns.map(seconds),
            sync,
        })
    }

    /// Answers those who asked for the leader's role.
    pub(super) fn answer_askers(&mut self, askers: Vec<(usize, u64)>, answer: &Answer) {
        for (core, id) in askers {
            self.answer(core, id, answer.clone());
        }
    }
}
