//! The replication shard as a plain state machine: it gives transactions their order, makes one stream of the shards' logs, and
//! hands it to followers. Messages and bytes go in, messages and bytes come out; sockets and files are the server's.
//!
//! Lives on a core of its own, whose number follows those of the shards.
//!
//! | file | what |
//! |---|---|
//! | `leader` | followers: who may go on where it was, who gets all data, what they acknowledge |
//! | `follower` | one follower's connection |
//! | `rounds` | full synchronisations |
//! | `loading` | data from a file, or from a leader, to the shards |
//! | `saving` | saves to disk: SAVE, BGSAVE, save points, the end |
//! | `waiting` | WAIT |
//! | `roles` | who leads: REPLICAOF and its end |
//! | `failover` | FAILOVER: the role is handed to a follower |
//! | `parting` | the end: followers get everything first |
//! | `following` | the link to a leader, its stages |
//! | `handshake` | what is said before data flows |
//! | `incoming` | all data of a leader, on its way in |
//! | `feed` | the leader's stream between arrival and application |
//!
//! Invariants:
//! - A transaction's reservations leave for all of its shards before the next transaction's do.
//! - The stream holds every logged entry exactly once, those of one shard in their order.
//! - A *cut* is an instant at which no shard runs anything, and all that was logged before is in the stream.
//! - Nothing that a follower does or leaves undone holds up a shard.

mod failover;
mod feed;
mod follower;
mod following;
mod handshake;
mod incoming;
mod leader;
mod loading;
mod parting;
mod roles;
mod rounds;
mod saving;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::random::Random;
use crate::command::Now;
use crate::command::replicating::{Answer, FollowRequest, Question, Role, Standing};
use crate::config::Config;
use crate::keyspace::KeyHasher;
use crate::log::{Merge, Stream};
use crate::mesh::{CutFacts, CutWork, Message, Outbox, Share};
use failover::Failover;
use follower::Follower;
use following::{Following, Stage};
pub use loading::{Counts, LoadError, Loading, Origin};
use parting::Parting;
use rounds::Round;
pub use saving::SaveStep;
use saving::Saving;
use waiting::Waiter;

/// What a cut is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A full synchronisation begins.
    Round,
    /// A save begins.
    Save,
    /// Nobody reads the log any more.
    Silence,
    /// The node is to follow: shards log no more.
    Demote,
    /// The node is to lead: shards log.
    Lead,
    /// A failover or the end: what clients were let through to write is in the stream.
    Stop,
    /// A leader's data follows: the old goes.
    Load,
    /// A leader's data is incomplete: it goes.
    Forget,
}

/// The replication shard.
pub struct Replication {
    shards: usize,
    outboxes: Vec<Outbox>,
    config: Arc<Config>,
    now: Now,
    random: Random,
    merge: Merge,
    /// What followers receive.
    pub stream: Stream,
    /// Shards log, or will from the cut under way on.
    logging: bool,
    /// What the cut under way is for, and those that wait for theirs.
    cuts: VecDeque<(Purpose, CutWork)>,
    /// Shards that are not at the cut yet.
    missing: usize,
    /// Cores that have not swept yet, before a cut that wants it.
    unswept: usize,
    /// The id of the stream.
    id: String,
    /// The id that it had before, which is right up to `second_offset`.
    id2: Option<String>,
    second_offset: Option<u64>,
    /// Followers by the handles of their connections, which rise.
    followers: BTreeMap<u64, Follower>,
    round: Option<Round>,
    /// Followers wait for a round, which begins then at the latest.
    gather_until_ns: Option<u64>,
    /// The past is kept for followers that come back.
    backlog: bool,
    /// Since when there has been no follower.
    alone_since_ns: u64,
    next_ping_ns: u64,
    next_second_ns: u64,
    waiters: Vec<Waiter>,
    /// Followers shall acknowledge at once.
    wants_acknowledgements: bool,
    /// What the cores know.
    standing: Standing,
    /// Full synchronisations, accepted and refused partial ones.
    syncs: [u64; 3],
    hasher: KeyHasher,
    /// Data is being loaded.
    loading: Option<Loading>,
    /// What the last load brought.
    last_load: Counts,
    /// A file is loaded at the start, or will be: until then the node does not follow.
    expects_file: bool,
    saving: Saving,
    /// What the shards at the cut under way said.
    cut_facts: CutFacts,
    /// Present while the node follows.
    following: Option<Box<Following>>,
    /// Loading can go on.
    loads: bool,
    /// The data is what the id and the end of the stream say.
    usable: bool,
    /// Those who asked for the leader's role, which has just come.
    promoted: Vec<(usize, u64)>,
    /// The leader that was asked for while the node began to lead.
    follow_next: Option<(String, u16)>,
    /// The role is being handed to a follower.
    failover: Option<Failover>,
    /// The node is about to end.
    parting: Option<Parting>,
    /// The owner's wait for the followers is over; whether the node ends.
    owner_parted: Option<bool>,
    /// Those who asked this follower to lead (PSYNC … FAILOVER), by the handles of their connections: they follow when it does.
    successors: Vec<(u64, FollowRequest)>,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Replication {
    /// The replication shard of a node with so many shards, with an empty stream called `id`.
    pub fn new(
        shards: usize,
        config: Arc<Config>,
        id: String,
        hasher: KeyHasher,
        seed: u64,
    ) -> Replication {
        let mut standing = Standing::default();
        let following = config.replicaof.as_ref().map(|of| {
            standing.role = Role::Follower { up: false };
            standing.replicaof = Some(Arc::new(of.clone()));
            Box::new(Following::new(
                of.host.clone(),
                of.port,
                Stage::Waiting(0),
                0,
            ))
        });
        Replication {
            shards,
            outboxes: (0..shards).map(|_| Outbox::default()).collect(),
            config,
            now: Now::default(),
            random: Random::new(seed),
            merge: Merge::new(shards),
            stream: Stream::default(),
            logging: false,
            cuts: VecDeque::new(),
            missing: 0,
            unswept: 0,
            id,
            id2: None,
            second_offset: None,
            followers: BTreeMap::new(),
            round: None,
            gather_until_ns: None,
            backlog: false,
            alone_since_ns: 0,
            next_ping_ns: 0,
            next_second_ns: 0,
            waiters: Vec::new(),
            wants_acknowledgements: false,
            standing,
            syncs: [0; 3],
            hasher,
            loading: None,
            last_load: Counts::default(),
            expects_file: false,
            saving: Saving::new(shards),
            cut_facts: CutFacts::default(),
            following,
            loads: false,
            usable: true,
            promoted: Vec::new(),
            follow_next: None,
            failover: None,
            parting: None,
            owner_parted: None,
            successors: Vec::new(),
        }
    }

    /// Tells the time. Called before everything else of a turn.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
    }

    /// The parameters have changed.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// A file will be loaded at the start: until that is done no leader's data is asked for.
    pub fn expect_load(&mut self) {
        self.expects_file = true;
    }

    /// What is to be sent to the core `peer`.
    pub fn outbox(&mut self, peer: usize) -> &mut Outbox {
        &mut self.outboxes[peer]
    }

    /// A message from a shard's core.
    pub fn deliver(&mut self, from: usize, message: Message) {
        match message {
            Message::Order(txn, shares) => {
                let writing = shares.iter().filter(|share| share.claim.write).count();
                if self.logging && writing > 0 {
                    self.merge.ordered(txn, writing as u16);
                }
                for Share { shard, claim, line } in shares {
                    self.outboxes[shard as usize].push(Message::Reserve(txn, claim, line));
                }
            }
            Message::Log(chunk) => self.merge.push(from, chunk, &mut self.stream),
            Message::AtCut(facts) => self.at_cut(facts),
            Message::Changes(changes) => self.changes_told(from, changes),
            Message::Swept => self.swept(),
            Message::Applied(applied) => self.stream_applied(&applied),
            Message::Snapshot(bytes, last) => self.snapshot_came(from, &bytes, last),
            Message::Loaded(keys, expired) => {
                if let Some(loading) = &mut self.loading {
                    loading.taken(keys, expired);
                    self.loads = true;
                }
            }
            Message::Ask(id, question) => self.asked(from, id, question),
            other => unreachable!("{other:?} was sent to the replication shard"),
        }
    }

    /// The rest of a turn. Returns when it must be called again, in monotonic nanoseconds.
    pub fn turn(&mut self) -> u64 {
        let now_ns = self.now.mono_ns;
        self.begin_round_if_due();
        self.begin_save_if_due();
        let link_ns = self.following_turn();
        if now_ns >= self.next_second_ns {
            self.next_second_ns = now_ns + SECOND_NS / 10;
            self.housekeeping();
        }
        self.serve_waiters();
        let failover_ms = self.failover_turn();
        let parting_ms = self.parting_turn();
        self.ask_for_acknowledgements();
        self.take_round();
        self.tell_standing();
        let gather_ns = match self.round {
            None => self.gather_until_ns.unwrap_or(u64::MAX),
            Some(_) => u64::MAX,
        };
        let next_ms = self.next_waiter_ms().into_iter();
        let next_ms = next_ms.chain(failover_ms).chain(parting_ms).min();
        let waiter_ns = next_ms.map_or(u64::MAX, |until_ms| {
            let left_ms = until_ms.saturating_sub(self.now.wall_ms()).max(0);
            now_ns.saturating_add(left_ms as u64 * 1_000_000)
        });
        self.next_second_ns
            .min(gather_ns)
            .min(waiter_ns)
            .min(link_ns)
    }

    fn asked(&mut self, from: usize, id: u64, question: Question) {
        let answer = match question {
            Question::Status => Answer::Status(Box::new(self.status())),
            Question::Wait {
                positions,
                followers,
                until_ms,
            } => return self.begin_wait(from, id, positions, followers, until_ms),
            Question::CloseFollowers(clients) => {
                self.close_followers(&clients);
                Answer::Done("OK")
            }
            Question::ChangeId(new) => {
                self.id = String::from_utf8_lossy(&new).into();
                (self.id2, self.second_offset) = (None, None);
                Answer::Done("OK")
            }
            Question::Follow { host, port } => {
                let answer = self.follow(host, port);
                self.tell_standing();
                answer
            }
            Question::Lead { wait: true } => return self.lead(Some((from, id))),
            Question::Lead { wait: false } => {
                self.lead(None);
                Answer::Done("OK")
            }
            Question::Save(how) => return self.asked_to_save(from, id, how),
            Question::Failover {
                to,
                force,
                until_ms,
            } => self.begin_failover(to, force, until_ms),
            Question::Part => return self.asked_to_part(from, id),
            Question::Stay => self.stay(),
            Question::AbortFailover => self.asked_to_abort_failover(),
        };
        self.answer(from, id, answer);
    }

    fn answer(&mut self, core: usize, id: u64, answer: Answer) {
        self.outboxes[core].push(Message::Visited(id, Box::new(answer), 0));
    }

    /// Asks for a cut, at which every shard does `work`.
    fn cut(&mut self, purpose: Purpose, work: CutWork) {
        self.cuts.push_back((purpose, work));
        if self.cuts.len() == 1 {
            self.begin_cut();
        }
    }

    /// Has shards log from now on, whoever reads it: for tests.
    pub fn log(&mut self) {
        let work = CutWork {
            log: Some(true),
            ..CutWork::default()
        };
        self.backlog = true;
        self.cut(Purpose::Silence, work);
    }

    fn begin_cut(&mut self) {
        let Some((purpose, work)) = self.cuts.front() else {
            return;
        };
        if matches!(purpose, Purpose::Demote | Purpose::Stop) {
            // What was let through before clients' writes were refused is still logged.
            self.unswept = self.shards;
            for outbox in &mut self.outboxes {
                outbox.push(Message::Sweep);
            }
            return;
        }
        // Transactions that are ordered from now on come behind the cut on every shard.
        if let Some(logging) = work.log {
            self.logging = logging;
        }
        self.send_cut();
    }

    fn send_cut(&mut self) {
        self.missing = self.shards;
        for outbox in &mut self.outboxes {
            outbox.push(Message::Cut);
        }
    }

    /// All lines that had been sent to a shard have arrived there.
    fn swept(&mut self) {
        self.unswept -= 1;
        if self.unswept == 0 {
            // Transactions that are ordered from now on come behind the cut on every shard.
            let demotes = |(purpose, _): &(Purpose, _)| *purpose == Purpose::Demote;
            self.logging &= !self.cuts.front().is_some_and(demotes);
            self.send_cut();
        }
    }

    /// A shard is at the cut. With the last of them all do their work, and go on.
    fn at_cut(&mut self, facts: CutFacts) {
        self.cut_facts.add(facts);
        self.missing -= 1;
        if self.missing > 0 {
            return;
        }
        let facts = std::mem::take(&mut self.cut_facts);
        let Some((purpose, mut work)) = self.cuts.pop_front() else {
            return;
        };
        debug_assert!(
            self.merge.is_drained(),
            "what was logged before a cut is merged"
        );
        match purpose {
            Purpose::Round => self.round_begins(facts, &mut work),
            Purpose::Save => self.save_begins(facts, &mut work),
            Purpose::Lead => self.promoted(),
            Purpose::Silence
            | Purpose::Demote
            | Purpose::Stop
            | Purpose::Load
            | Purpose::Forget => {}
        }
        for outbox in &mut self.outboxes {
            outbox.push(Message::CutDone(work.clone()));
        }
        match purpose {
            Purpose::Round | Purpose::Save => self.release_feed(),
            Purpose::Lead => self.role_changed(),
            Purpose::Demote => self.demoted(),
            Purpose::Stop => {
                self.stopped();
                self.stopped_to_part();
            }
            Purpose::Load => self.flushed(),
            Purpose::Silence | Purpose::Forget => {}
        }
        self.begin_cut();
    }

    /// Forty random hexadecimal digits.
    fn random_id(&mut self) -> String {
        let mut digits = String::new();
        for _ in 0..3 {
            digits.push_str(&format!("{:016x}", self.random.next_u64()));
        }
        digits.truncate(40);
        digits
    }

    fn send_standing(&mut self) {
        for outbox in &mut self.outboxes {
            outbox.push(Message::Standing(self.standing.clone()));
        }
    }
}
