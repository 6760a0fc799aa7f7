//! All data of a leader on its way in: where it begins, where it ends, and what comes behind it.
//!
//! The old data goes when the header of the new has been read, not before: a leader that only promises leaves it alone.

use super::Loading;
use crate::rdb::{Item, Limits, Reader};

/// How the end of the data is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// These forty characters are behind it.
    Mark([u8; 40]),
}

/// How far the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The header was not read.
    Begins,
    /// The old data is going.
    Flushes,
    /// Entries are dealt out.
    Loads,
    /// The end was read.
    Ended,
}

/// A full synchronisation under way. Lives on the replication shard.
pub(super) struct Incoming {
    /// The stream's id and the offset at which the data is.
    pub(super) id: String,
    pub(super) offset: u64,
    pub(super) phase: Phase,
    /// Bytes in all, when that was said.
    pub(super) total: Option<u64>,
    /// Bytes that came.
    pub(super) read: u64,
    framing: Framing,
    /// Bytes of the data that have not come, when their number is known.
    left: u64,
    /// Bytes of the data that were not dealt out yet.
    waiting: Vec<u8>,
    /// What came behind the data.
    rest: Vec<u8>,
}

impl Incoming {
    /// Data that begins now.
    pub(super) fn new((id, offset): (String, u64), framing: Framing) -> Incoming {
        let total = match framing {
            Framing::Length(bytes) => Some(bytes),
            Framing::Mark(_) => None,
        };
        Incoming {
            id,
            offset,
            phase: Phase::Begins,
            total,
            read: 0,
            framing,
            left: total.unwrap_or(u64::MAX),
            waiting: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// Bytes came.
    pub(super) fn came(&mut self, data: &[u8]) {
        let own = usize::try_from(self.left).map_or(data.len(), |left| left.min(data.len()));
        let (own, rest) = data.split_at(own);
        self.read += own.len() as u64;
        if self.total.is_some() {
            self.left -= own.len() as u64;
        }
        self.waiting.extend_from_slice(own);
        self.rest.extend_from_slice(rest);
    }

    /// The header is there, whole: it is checked. From then on the old data may go.
    pub(super) fn has_header(&mut self, limits: Limits) -> Result<bool, String> {
        let mut reader = Reader::new(false, limits);
        reader.feed(&self.waiting);
        match reader.next_item() {
            Ok(Some(Item::Header { .. })) => Ok(true),
            Ok(_) if self.left == 0 => Err("the data ends before it begins".into()),
            Ok(_) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is to be dealt out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }

    /// Looks whether all data was dealt out, and whether it ends as it must.
    pub(super) fn look_for_end(&mut self, loading: &Loading) -> Result<(), String> {
        if !loading.is_at_end() {
            return match self.left {
                0 => loading.finish().map_err(|error| error.to_string()),
                _ => Ok(()),
            };
        }
        let unread = loading.unread();
        match self.framing {
            Framing::Length(_) if self.left > 0 || !unread.is_empty() => {
                return Err("the data ends before its announced length".into());
            }
            Framing::Length(_) => {}
            Framing::Mark(mark) => {
                let there = unread.len().min(mark.len());
                if unread[..there] != mark[..there] {
                    return Err("the data does not end with its mark".into());
                }
                if there < mark.len() {
                    return Ok(());
                }
                self.rest = unread[mark.len()..].to_vec();
            }
        }
        self.phase = Phase::Ended;
        Ok(())
    }

    /// What came behind the data: the stream.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.rest
    }
}
