//! Saves: the walk of a round that goes to a file, and when one is due.
//!
//! ```text
//!   SAVE, BGSAVE, save points, the end ──▶ wanted ── no round ──▶ cut ──▶ shards read out ──▶ blocks ──▶ the owner's disk
//! ```
//!
//! Files are the owner's matter: it takes blocks as long as it has room ([`Replication::save_step`]) and says how it ended
//! ([`Replication::save_ended`]). A save and a full synchronisation wait for each other.
//!
//! Invariants:
//! - The file holds one moment: that of the cut. Changes are counted from there on when it is safe on disk.
//! - The save before the end holds the shards at its cut: what was answered is in the file.

use super::rounds::{Round, facts};
use super::{Purpose, Replication, SECOND_NS};
use crate::command::connection::REDIS_VERSION;
use crate::command::replicating::{Answer, SaveHow, SavingStatus};
use crate::mesh::{CutFacts, CutWork, Message, SnapshotSpec};
use crate::rdb::Version;

/// Bytes that the owner gets at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// A save that failed is tried again after this time, when it was not asked for.
const RETRY_NS: u64 = 5 * SECOND_NS;

/// Who hears of a save's end.
#[derive(Clone, Copy, Debug)]
enum Waiter {
    /// This visit of this core.
    Client(usize, u64),
    /// The owner, who ends the node then.
    Owner,
}

/// A save that waits for its cut.
#[derive(Default)]
struct Wanted {
    waiters: Vec<Waiter>,
    /// Nothing may change from the cut on until it has failed.
    hold: bool,
    /// Nobody waits: its outcome is shown by INFO.
    background: bool,
}

/// The save under way.
struct UnderWay {
    wanted: Wanted,
    begun_ns: u64,
    /// Changes of all shards at the cut; `None` before it.
    changes: Option<u64>,
    /// Bytes that the owner has taken.
    taken: u64,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The owner has not been told to begin.
    Begin,
    Blocks,
    /// The owner has everything.
    Ending,
}

/// What the owner is to do next for a save.
#[derive(Debug, PartialEq, Eq)]
pub enum SaveStep {
    /// Nothing now.
    Nothing,
    /// Begin a file.
    Begin,
    /// Write these bytes.
    Block(Vec<u8>),
    /// That was all: make it durable and put it in its place, then [`Replication::save_ended`].
    End,
}

/// Saves. Lives on the replication shard.
pub(super) struct Saving {
    /// There is an owner who writes files.
    enabled: bool,
    wanted: Option<Wanted>,
    under_way: Option<UnderWay>,
    /// Changes, as each shard told last.
    changes: Vec<u64>,
    /// Changes at the last save.
    saved_changes: u64,
    last_save_s: i64,
    last_ok: bool,
    last_seconds: i64,
    last_try_ns: u64,
    saves: u64,
    /// The owner's save has ended so.
    owner_answer: Option<bool>,
}

impl Saving {
    pub(super) fn new(shards: usize) -> Saving {
        Saving {
            enabled: false,
            wanted: None,
            under_way: None,
            changes: vec![0; shards],
            saved_changes: 0,
            last_save_s: 0,
            last_ok: true,
            last_seconds: -1,
            last_try_ns: 0,
            saves: 0,
            owner_answer: None,
        }
    }

    /// The bytes that the file has taken of the round; `None` when the round is none of its.
    pub(super) fn taken(&self) -> Option<u64> {
        let save = self.under_way.as_ref()?;
        (save.changes.is_some()).then_some(save.taken)
    }

    /// The last save in the background failed.
    pub(super) fn failed(&self) -> bool {
        !self.last_ok
    }

    fn is_busy(&self) -> bool {
        self.wanted.is_some() || self.under_way.is_some()
    }
}

impl Replication {
    /// The owner writes files: save points act, and the time of the last save is now.
    pub fn enable_saves(&mut self) {
        self.saving.enabled = true;
        self.saving.last_save_s = self.now.wall_ms() / 1000;
    }

    /// A client asks for a save.
    pub(super) fn asked_to_save(&mut self, from: usize, id: u64, how: SaveHow) {
        if !self.saving.enabled {
            return self.answer(from, id, Answer::Refused("ERR".into()));
        }
        if self.saving.is_busy() && how != SaveHow::AndHold {
            let text = "ERR Background save already in progress".into();
            return self.answer(from, id, Answer::Refused(text));
        }
        if how == SaveHow::Background {
            let text = match self.round {
                None => "Background saving started",
                Some(_) => "Background saving scheduled",
            };
            self.answer(from, id, Answer::Done(text));
            self.want_save(None, false);
        } else {
            self.want_save(Some(Waiter::Client(from, id)), how == SaveHow::AndHold);
        }
    }

    /// The owner ends the node: it is saved, and nothing changes from then on.
    pub fn save_for_the_end(&mut self) {
        self.want_save(Some(Waiter::Owner), true);
    }

    /// Whether the save for the end has succeeded, once.
    pub fn saved_for_the_end(&mut self) -> Option<bool> {
        self.saving.owner_answer.take()
    }

    fn want_save(&mut self, waiter: Option<Waiter>, hold: bool) {
        let wanted = self.saving.wanted.get_or_insert_default();
        wanted.background |= waiter.is_none();
        wanted.hold |= hold;
        wanted.waiters.extend(waiter);
    }

    /// A shard has changed so much since the start.
    pub(super) fn changes_told(&mut self, from: usize, changes: u64) {
        self.saving.changes[from] = changes;
    }

    /// Wants a save when a save point says so.
    pub(super) fn look_at_save_points(&mut self) {
        let saving = &self.saving;
        if !saving.enabled || saving.is_busy() || self.loading.is_some() {
            return;
        }
        let now_ns = self.now.mono_ns;
        if !saving.last_ok && now_ns.saturating_sub(saving.last_try_ns) <= RETRY_NS {
            return;
        }
        let sum: u64 = saving.changes.iter().sum();
        let changes = sum.saturating_sub(saving.saved_changes);
        let passed_s = self.now.wall_ms() / 1000 - saving.last_save_s;
        let due = self.config.save.iter().find(|point| {
            changes >= point.changes && passed_s > i64::try_from(point.seconds).unwrap_or(i64::MAX)
        });
        if let Some(point) = due {
            tracing::info!(
                "{} changes in {} seconds. Saving...",
                point.changes,
                point.seconds
            );
            self.want_save(None, false);
        }
    }

    /// Begins the save that is wanted when no round is under way.
    pub(super) fn begin_save_if_due(&mut self) {
        if self.round.is_some()
            || !self.cuts.is_empty()
            || self.loading.is_some()
            || self.saving.under_way.is_some()
        {
            return;
        }
        if self.saving.wanted.is_none() || !self.quiet_for_round() {
            return;
        }
        let Some(wanted) = self.saving.wanted.take() else {
            return;
        };
        let work = CutWork {
            snapshot: Some(SnapshotSpec {
                version: Version::V10,
                compress: self.config.rdbcompression,
            }),
            hold: wanted.hold,
            ..CutWork::default()
        };
        self.saving.under_way = Some(UnderWay {
            wanted,
            begun_ns: self.now.mono_ns,
            changes: None,
            taken: 0,
            step: Step::Begin,
        });
        self.saving.saves += 1;
        self.saving.last_try_ns = self.now.mono_ns;
        self.round = Some(Round::new(Version::V10, self.shards, false));
        self.cut(Purpose::Save, work);
    }

    /// The save's cut: the version is the lowest that holds everything.
    pub(super) fn save_begins(&mut self, cut: CutFacts, work: &mut CutWork) {
        let version = match cut.timed_fields {
            true => Version::V12,
            false => Version::V10,
        };
        if let Some(spec) = &mut work.snapshot {
            spec.version = version;
        }
        let offset = self.stream.end();
        // A follower that comes back to whoever loads the file goes on with the database selected.
        let db = self.db_at_cut();
        let (Some(round), Some(save)) = (&mut self.round, &mut self.saving.under_way) else {
            return;
        };
        save.changes = Some(cut.changes);
        round.version = version;
        let now_s = self.now.wall_ms() / 1000;
        let mut facts = facts(REDIS_VERSION, now_s, &self.id, offset, db);
        if !self.backlog {
            facts.log = None;
        }
        round.begin(offset, self.config.rdbchecksum, &facts);
    }

    /// A save is under way, and its owner should ask often what to do.
    pub fn is_saving(&self) -> bool {
        self.saving.taken().is_some()
    }

    /// What the owner is to do next; asked when it can do something.
    pub fn save_step(&mut self) -> SaveStep {
        let (Some(round), Some(save)) = (&self.round, &mut self.saving.under_way) else {
            return SaveStep::Nothing;
        };
        if save.changes.is_none() {
            return SaveStep::Nothing;
        }
        match save.step {
            Step::Begin => {
                save.step = Step::Blocks;
                SaveStep::Begin
            }
            Step::Blocks => {
                let there = (round.bytes.end() - save.taken) as usize;
                if there == 0 && round.complete {
                    save.step = Step::Ending;
                    return SaveStep::End;
                }
                if there == 0 || there < BLOCK_BYTES && !round.complete {
                    // Shards wait when the file is far behind only: what they have sent comes soon.
                    return SaveStep::Nothing;
                }
                let mut block = Vec::with_capacity(there.min(BLOCK_BYTES));
                for piece in round.bytes.pieces(save.taken) {
                    let room = BLOCK_BYTES - block.len();
                    block.extend_from_slice(&piece[..piece.len().min(room)]);
                    if block.len() == BLOCK_BYTES {
                        break;
                    }
                }
                save.taken += block.len() as u64;
                SaveStep::Block(block)
            }
            Step::Ending => SaveStep::Nothing,
        }
    }

    /// The file is in its place, or the save failed, at any time after its begin: the sentence says why.
    pub fn save_ended(&mut self, result: Result<(), String>) {
        let Some(save) = self.saving.under_way.take() else {
            return;
        };
        let saving = &mut self.saving;
        let ok = result.is_ok();
        let seconds = self.now.mono_ns.saturating_sub(save.begun_ns) / SECOND_NS;
        match result {
            Ok(()) => {
                tracing::info!("DB saved on disk");
                saving.last_save_s = self.now.wall_ms() / 1000;
                saving.saved_changes = save.changes.unwrap_or_default();
                saving.last_ok = true;
            }
            Err(why) => {
                tracing::warn!("Saving the DB failed: {why}");
                saving.last_ok &= !save.wanted.background;
                for outbox in &mut self.outboxes {
                    outbox.push(Message::SnapshotAbandoned);
                    if save.wanted.hold {
                        // They go on.
                        outbox.push(Message::CutDone(CutWork::default()));
                    }
                }
            }
        }
        if save.wanted.background {
            self.saving.last_seconds = seconds as i64;
        }
        for waiter in save.wanted.waiters {
            match waiter {
                Waiter::Owner => self.saving.owner_answer = Some(ok),
                Waiter::Client(core, id) if ok => self.answer(core, id, Answer::Done("OK")),
                Waiter::Client(core, id) => self.answer(core, id, Answer::Refused("ERR".into())),
            }
        }
    }

    /// Saves and loading, for INFO and LASTSAVE.
    pub(super) fn saving_status(&self) -> SavingStatus {
        let saving = &self.saving;
        let current = saving
            .under_way
            .as_ref()
            .map(|save| self.now.mono_ns.saturating_sub(save.begun_ns) / SECOND_NS);
        SavingStatus {
            saving: saving.is_busy(),
            saved_changes: saving.saved_changes,
            last_save_s: saving.last_save_s,
            last_ok: saving.last_ok,
            last_seconds: saving.last_seconds,
            current_seconds: current.map_or(-1, |seconds| seconds as i64),
            saves: saving.saves,
            loading: self.load_status(),
            last_load: self.last_load,
        }
    }
}
