//! The replication shard's files: what it saves goes to a thread that writes, what it loads at the start comes from one that
//! reads.

use std::path::Path;
use std::sync::Arc;

use super::disk::{FileReader, FileWriter, ReadStep};
use super::node::Shared;
use crate::config::Config;
use crate::replication::{Replication, SaveStep};

/// While a file is written or read the core looks after it this often: the kernel's timers are no finer.
const LOOK_NS: u64 = 1_000_000;
/// Blocks that are read in one turn.
const TURN_BLOCKS_MAX: usize = 4;
/// How often the progress of a load is logged, nanoseconds.
const PROGRESS_NS: u64 = 5_000_000_000;

/// Files of the replication shard. Lives on its core.
pub(super) struct Saves {
    shared: Arc<Shared>,
    config: Arc<Config>,
    writer: Option<FileWriter>,
    reader: Option<FileReader>,
    began: bool,
    begun_ns: u64,
    next_progress_ns: u64,
}

impl Saves {
    pub(super) fn new(shared: &Arc<Shared>) -> Saves {
        Saves {
            shared: shared.clone(),
            config: shared.config.clone(),
            writer: None,
            reader: None,
            began: false,
            begun_ns: 0,
            next_progress_ns: 0,
        }
    }

    pub(super) fn set_config(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Goes on with what is under way. Returns when it must be called again, monotonic nanoseconds. An error ends the node.
    pub(super) fn turn(
        &mut self,
        replication: &mut Replication,
        now_ns: u64,
    ) -> Result<u64, String> {
        if !self.began {
            self.began = true;
            replication.enable_saves();
            self.begin_load(replication, now_ns)?;
        }
        self.load(replication, now_ns)?;
        self.save(replication);
        let busy = self.reader.is_some() || replication.is_saving();
        Ok(if busy { now_ns + LOOK_NS } else { u64::MAX })
    }

    fn begin_load(&mut self, replication: &mut Replication, now_ns: u64) -> Result<(), String> {
        let Some(path) = &self.shared.load else {
            return Ok(());
        };
        let reader = FileReader::start(path.clone())
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        tracing::info!("loading {}, {} bytes", path.display(), reader.total_bytes);
        replication.begin_load(reader.total_bytes);
        self.reader = Some(reader);
        self.begun_ns = now_ns;
        self.next_progress_ns = now_ns + PROGRESS_NS;
        Ok(())
    }

    fn load(&mut self, replication: &mut Replication, now_ns: u64) -> Result<(), String> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let path = self.shared.load.as_deref().unwrap_or(Path::new(""));
        let wrong =
            |why: &dyn std::fmt::Display| format!("{} cannot be loaded: {why}", path.display());
        for _ in 0..TURN_BLOCKS_MAX {
            if !replication.load_wants_more() {
                break;
            }
            let loaded = match reader.next() {
                ReadStep::Nothing => break,
                ReadStep::Block(block) => replication.load(Some(&block)),
                ReadStep::End => replication.load(None),
                ReadStep::Failed(error) => return Err(wrong(&error)),
            };
            loaded.map_err(|error| wrong(&error))?;
        }
        if let Some(done) = replication.end_load_if_done() {
            self.reader = None;
            let seconds = now_ns.saturating_sub(self.begun_ns) as f64 / 1e9;
            let counts = done.counts();
            tracing::info!(
                "DB loaded from disk: {} keys, {} expired, in {seconds:.3} seconds",
                counts.keys,
                counts.expired
            );
            if done.passed_over() > 0 {
                tracing::warn!(
                    "{} functions or data of modules in the file are not kept: the next save is without them",
                    done.passed_over()
                );
            }
            replication.loaded_from_file(&done);
        } else if now_ns >= self.next_progress_ns {
            self.next_progress_ns = now_ns + PROGRESS_NS;
            tracing::info!("loading: {}", replication.load_progress());
        }
        Ok(())
    }

    fn save(&mut self, replication: &mut Replication) {
        if !replication.is_saving() {
            return;
        }
        if let Some(writer) = &mut self.writer
            && let Some(outcome) = writer.outcome()
        {
            self.writer = None;
            replication.save_ended(outcome);
            return;
        }
        while self.writer.as_mut().is_none_or(FileWriter::has_room) {
            match (replication.save_step(), &mut self.writer) {
                (SaveStep::Begin, _) => {
                    let config = &self.config;
                    let folder = Path::new(&config.dir);
                    let incremental = config.rdb_save_incremental_fsync;
                    match FileWriter::start(folder, &config.dbfilename, incremental) {
                        Ok(writer) => self.writer = Some(writer),
                        Err(error) => return replication.save_ended(Err(error.to_string())),
                    }
                }
                (SaveStep::Block(block), Some(writer)) => writer.write(block),
                (SaveStep::End, Some(writer)) => {
                    writer.finish();
                    return;
                }
                _ => return,
            }
        }
    }
}
