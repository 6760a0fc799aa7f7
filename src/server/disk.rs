//! Files of data, written and read in threads of their own: a core never waits for a disk.
//!
//! Blocks pass through bounded channels; both sides are asked from the core's turns, since nobody can wake it from outside.
//! A file is written beside its place, made durable, and renamed: at any time there is the old one or the new one, whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Blocks between a core and a thread.
const BLOCKS_MAX: usize = 8;
/// Bytes of a block that is read.
const BLOCK_BYTES: usize = 256 * 1024;
/// Bytes after which a file that is written goes to the disk, so that the end has not to wait for all of it.
const SYNC_BYTES: usize = 4 << 20;

enum Order {
    Write(Vec<u8>),
    Finish,
}

/// A file that is being written. Dropped before its end it is removed.
pub(super) struct FileWriter {
    orders: Option<SyncSender<Order>>,
    /// What the channel did not take.
    left: Option<Order>,
    outcome: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWriter {
    /// Begins a file that will be called `name` in `folder`; `incremental`: it goes to the disk a little at a time.
    pub(super) fn start(folder: &Path, name: &str, incremental: bool) -> io::Result<FileWriter> {
        let (orders, from_core) = sync_channel(BLOCKS_MAX);
        let (to_core, outcome) = sync_channel(1);
        let path = folder.join(name);
        let temporary = folder.join(format!("temp-{}.rdb", std::process::id()));
        let work = move || {
            let result = write(&temporary, &path, &from_core, incremental);
            if let Some(result) = result.transpose() {
                if result.is_err() {
                    let _ = std::fs::remove_file(&temporary);
                }
                // A core that has ended asks no more.
                let _ =
                    to_core.send(result.map_err(|error| format!("{}: {error}", path.display())));
            } else {
                let _ = std::fs::remove_file(&temporary);
            }
        };
        let thread = std::thread::Builder::new()
            .name("save".into())
            .spawn(work)?;
        Ok(FileWriter {
            orders: Some(orders),
            left: None,
            outcome,
            thread: Some(thread),
        })
    }

    /// It takes another block.
    pub(super) fn has_room(&mut self) -> bool {
        if let Some(order) = self.left.take() {
            self.give(order);
        }
        self.left.is_none()
    }

    /// Writes a block. There must be room.
    pub(super) fn write(&mut self, block: Vec<u8>) {
        self.give(Order::Write(block));
    }

    /// All blocks are there: makes the file durable and puts it in its place.
    pub(super) fn finish(&mut self) {
        self.give(Order::Finish);
    }

    fn give(&mut self, order: Order) {
        if let Some(orders) = &self.orders {
            match orders.try_send(order) {
                Ok(()) => {}
                Err(TrySendError::Full(order)) => self.left = Some(order),
                // It has failed, as its outcome says.
                Err(TrySendError::Disconnected(_)) => self.orders = None,
            }
        }
    }

    /// How it ended, when it has.
    pub(super) fn outcome(&mut self) -> Option<Result<(), String>> {
        match self.outcome.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the writing thread has ended".into())),
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A thread that failed has said so.
            let _ = thread.join();
        }
    }
}

/// Writes what comes; `None` when the core does not want the file any more.
fn write(
    temporary: &Path,
    path: &Path,
    orders: &Receiver<Order>,
    incremental: bool,
) -> io::Result<Option<()>> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(temporary)?;
    let mut unsynced = 0;
    loop {
        match orders.recv() {
            Ok(Order::Write(block)) => {
                file.write_all(&block)?;
                unsynced += block.len();
                if incremental && unsynced >= SYNC_BYTES {
                    file.sync_data()?;
                    unsynced = 0;
                }
            }
            Ok(Order::Finish) => break,
            Err(_) => return Ok(None),
        }
    }
    file.sync_all()?;
    std::fs::rename(temporary, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Some(()))
}

/// A file that is being read.
pub(super) struct FileReader {
    blocks: Receiver<io::Result<Vec<u8>>>,
    /// Bytes of the file.
    pub(super) total_bytes: u64,
}

/// What is read next.
pub(super) enum ReadStep {
    /// The disk has not answered yet.
    Nothing,
    /// The next bytes.
    Block(Vec<u8>),
    /// That was all.
    End,
    /// It cannot be read.
    Failed(io::Error),
}

impl FileReader {
    /// Begins to read a file.
    pub(super) fn start(path: PathBuf) -> io::Result<FileReader> {
        let mut file = File::open(path)?;
        let total_bytes = file.metadata()?.len();
        let (to_core, blocks) = sync_channel(BLOCKS_MAX);
        std::thread::Builder::new()
            .name("load".into())
            .spawn(move || {
                loop {
                    let mut block = vec![0; BLOCK_BYTES];
                    let read = file.read(&mut block);
                    let ended = matches!(read, Ok(0) | Err(_));
                    let sent = to_core.send(read.map(|bytes| {
                        block.truncate(bytes);
                        block
                    }));
                    if ended || sent.is_err() {
                        return;
                    }
                }
            })?;
        Ok(FileReader {
            blocks,
            total_bytes,
        })
    }

    /// What there is.
    pub(super) fn next(&mut self) -> ReadStep {
        match self.blocks.try_recv() {
            Ok(Ok(block)) if block.is_empty() => ReadStep::End,
            Ok(Ok(block)) => ReadStep::Block(block),
            Ok(Err(error)) => ReadStep::Failed(error),
            Err(TryRecvError::Empty) => ReadStep::Nothing,
            Err(TryRecvError::Disconnected) => ReadStep::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(writer: &mut FileWriter) -> Result<(), String> {
        loop {
            if let Some(outcome) = writer.outcome() {
                return outcome;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_file_appears_whole_and_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.rdb");
        std::fs::write(&path, "old").unwrap();
        let mut writer = FileWriter::start(folder.path(), "a.rdb", true).unwrap();
        for _ in 0..100 {
            while !writer.has_room() {
                std::thread::yield_now();
            }
            writer.write(vec![7; 100_000]);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        while !writer.has_room() {
            std::thread::yield_now();
        }
        writer.finish();
        while !writer.has_room() {
            std::thread::yield_now();
        }
        assert_eq!(wait(&mut writer), Ok(()));
        let mut reader = FileReader::start(path).unwrap();
        assert_eq!(reader.total_bytes, 10_000_000);
        let mut bytes = 0;
        loop {
            match reader.next() {
                ReadStep::Block(block) => bytes += block.len(),
                ReadStep::Nothing => std::thread::yield_now(),
                ReadStep::End => break,
                ReadStep::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!(bytes, 10_000_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_abandoned_or_failed_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.rdb"), "old").unwrap();
        let mut writer = FileWriter::start(folder.path(), "a.rdb", false).unwrap();
        writer.write(vec![7; 1000]);
        drop(writer);
        assert_eq!(std::fs::read(folder.path().join("a.rdb")).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = folder.path().join("missing");
        let mut writer = FileWriter::start(&missing, "a.rdb", false).unwrap();
        assert!(wait(&mut writer).is_err());
        writer.write(vec![7; 1000]);
        assert!(writer.has_room());
    }
}
