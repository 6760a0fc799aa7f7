//! The stream of bytes that followers receive, by offset.
//!
//! ```text
//!   offset   first                                                    end
//!            │ block │ block │ block │ block │ block │ last block … │
//!                        ▲ a follower's cursor          ▲ another's
//! ```
//!
//! An offset is the number of bytes before it since the stream's begin, plus what the stream began with. The last byte has the number
//! `end`, which is what Redis calls `master_repl_offset`; the first byte that is kept has the number `first + 1`.

use std::collections::VecDeque;

/// Bytes of a block.
const BLOCK_BYTES: usize = 64 * 1024;

/// The stream. Lives on the replication shard.
#[derive(Debug, Default)]
pub struct Stream {
    blocks: VecDeque<Vec<u8>>,
    /// Bytes before the first that is kept.
    first: u64,
    /// Bytes in all.
    end: u64,
    /// Bytes of the first block before the first that is kept.
    skipped: usize,
}

impl Stream {
    /// An empty stream that goes on from an offset.
    pub fn starting_at(offset: u64) -> Stream {
        Stream {
            first: offset,
            end: offset,
            ..Stream::default()
        }
    }

    /// Bytes in all: the offset of the last one.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes before the first that is kept.
    #[inline]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Memory of the blocks, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }

    /// Adds bytes at the end.
    #[inline]
    pub fn append(&mut self, mut bytes: &[u8]) {
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self
                .blocks
                .back()
                .map_or(0, |block| BLOCK_BYTES - block.len());
            if room == 0 {
                self.blocks.push_back(Vec::with_capacity(BLOCK_BYTES));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.blocks
                .back_mut()
                .expect("there is a block with room")
                .extend_from_slice(now);
            bytes = later;
        }
    }

    /// The bytes from an offset on, up to the end of the block that they lie in; empty at the end of the stream. The offset must be kept.
    pub fn piece(&self, offset: u64) -> &[u8] {
        self.pieces(offset).next().unwrap_or_default()
    }

    /// All bytes from an offset on, block by block. The offset must be kept.
    pub fn pieces(&self, offset: u64) -> impl Iterator<Item = &[u8]> {
        assert!(
            (self.first..=self.end).contains(&offset),
            "the bytes from {offset} on are not kept"
        );
        let from = (offset - self.first) as usize + self.skipped;
        // All blocks but the last are full, and of one size.
        let block = from / BLOCK_BYTES;
        let mut within = from % BLOCK_BYTES;
        self.blocks.iter().skip(block).filter_map(move |bytes| {
            let piece = &bytes[std::mem::take(&mut within)..];
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Drops the bytes before an offset, block by block.
    pub fn trim(&mut self, before: u64) {
        while self.blocks.len() > 1 {
            let first_block = BLOCK_BYTES - self.skipped;
            if self.first + first_block as u64 > before {
                return;
            }
            self.blocks.pop_front();
            self.first += first_block as u64;
            self.skipped = 0;
        }
    }

    /// Drops all bytes; the stream goes on from an offset.
    pub fn restart_at(&mut self, offset: u64) {
        *self = Stream::starting_at(offset);
    }
}
