//! The allocation of a listpack: its bytes, whose number stands in the first four of them.
//!
//! Invariants:
//! - The block is `allocated(total)` bytes long, where `total` is what the first four bytes say; the first `total` bytes are
//!   initialised, begin with the header and end with [`END`].
//! - There is no block exactly when there is no element.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::{self, NonNull};

use super::element::Room;
use crate::structures::entry::allocated;

/// Bytes in front of the first element.
pub(super) const HEADER_BYTES: usize = 6;

/// The byte behind the last element.
pub(super) const END: u8 = 0xFF;

/// What a listpack without elements consists of.
const EMPTY_BYTES: &[u8; HEADER_BYTES + 1] = &[HEADER_BYTES as u8 + 1, 0, 0, 0, 0, 0, END];

const COUNT_OFFSET: usize = 4;

/// The bytes of a listpack.
#[derive(Default)]
pub(super) struct Block(Option<NonNull<u8>>);

// SAFETY: a block is owned alone and holds nothing but bytes.
unsafe impl Send for Block {}

impl Block {
    pub(super) const EMPTY: Block = Block(None);

    /// A copy of the bytes of a listpack, whose header gives their number.
    pub(super) fn copy(bytes: &[u8]) -> Block {
        if bytes.len() <= EMPTY_BYTES.len() {
            return Block::EMPTY;
        }
        let total = bytes.first_chunk().copied().map(u32::from_le_bytes);
        assert_eq!(total.map(|total| total as usize), Some(bytes.len()));
        let block = allocate(bytes.len());
        // SAFETY: the block is fresh and at least as long as `bytes`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), block.as_ptr(), bytes.len()) };
        Block(Some(block))
    }

    /// The bytes, header and end included.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self.0 {
            None => EMPTY_BYTES,
            // SAFETY: `total` bytes of the block are initialised (invariant), borrowed as long as their owner.
            Some(block) => unsafe { std::slice::from_raw_parts(block.as_ptr(), total(block)) },
        }
    }

    /// The number of elements as the header has it.
    #[inline]
    pub(super) fn count(&self) -> u16 {
        let bytes = self.bytes();
        u16::from_le_bytes([bytes[COUNT_OFFSET], bytes[COUNT_OFFSET + 1]])
    }

    /// Writes the number of elements into the header, if there is one.
    #[inline]
    pub(super) fn write_count(&mut self, count: u16) {
        if let Some(bytes) = self.bytes_mut() {
            bytes[COUNT_OFFSET..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        }
    }

    /// Memory of the block in bytes.
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.map_or(0, |block| allocated(total(block)))
    }

    /// Copies `length` bytes from one place to another.
    pub(super) fn move_bytes(&mut self, from: usize, length: usize, to: usize) {
        if let Some(bytes) = self.bytes_mut() {
            assert!(to >= HEADER_BYTES && to <= from);
            bytes.copy_within(from..from + length, to);
        }
    }

    /// Puts what `fill` writes, `inserted` bytes, in the place of `removed` bytes at `at`, and writes the number of bytes into the
    /// header. Panics when `fill` leaves room.
    #[inline]
    pub(super) fn splice(
        &mut self,
        at: usize,
        removed: usize,
        inserted: usize,
        fill: impl FnOnce(&mut Room<'_>),
    ) {
        let Some(gap) = self.open(at, removed, inserted) else {
            return;
        };
        // SAFETY: the gap is `inserted` bytes of the block, which is borrowed mutably.
        let gap = unsafe { std::slice::from_raw_parts_mut(gap.cast().as_ptr(), inserted) };
        let mut room = Room::new(gap);
        fill(&mut room);
        assert!(room.is_full(), "a listpack without gaps");
    }

    /// Removes `removed` bytes at `at`.
    #[inline]
    pub(super) fn cut(&mut self, at: usize, removed: usize) {
        self.open(at, removed, 0);
    }

    /// Makes of `removed` bytes at `at` a gap of `inserted` bytes that are not initialised, and writes the number of bytes into
    /// the header. `None` when no element is left: there is no block then.
    #[inline]
    fn open(&mut self, at: usize, removed: usize, inserted: usize) -> Option<NonNull<u8>> {
        let old = self.bytes().len();
        assert!(at >= HEADER_BYTES && removed < old && at < old - removed);
        let new = old - removed + inserted;
        let header = u32::try_from(new).expect("no listpack is asked to hold 4 GiB");
        if new == EMPTY_BYTES.len() {
            *self = Block::EMPTY;
            return None;
        }
        let mut block = match self.0 {
            Some(block) if new > old => resize(block, old, new),
            Some(block) => block,
            None => {
                let block = allocate(new);
                // SAFETY: the block is fresh and longer than that.
                unsafe {
                    ptr::copy_nonoverlapping(EMPTY_BYTES.as_ptr(), block.as_ptr(), old);
                }
                block
            }
        };
        // SAFETY: the block holds the larger of `old` and `new` bytes. The tail of `old - at - removed` bytes (not negative, by
        // the assertion) is initialised and moves to end at `new`. The header is four bytes before `at`.
        unsafe {
            if inserted != removed {
                let tail = old - at - removed;
                ptr::copy(
                    block.add(at + removed).as_ptr(),
                    block.add(at + inserted).as_ptr(),
                    tail,
                );
            }
            block.cast::<[u8; 4]>().write(header.to_le_bytes());
        }
        if new < old {
            block = resize(block, old, new);
        }
        self.0 = Some(block);
        // SAFETY: `at` lies inside the block.
        Some(unsafe { block.add(at) })
    }

    #[inline]
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let block = self.0?;
        // SAFETY: as in `bytes`, and `&mut self` is its only user. Callers leave the first four bytes alone.
        Some(unsafe { std::slice::from_raw_parts_mut(block.as_ptr(), total(block)) })
    }
}

impl Clone for Block {
    fn clone(&self) -> Block {
        Block::copy(self.bytes())
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        if let Some(block) = self.0 {
            // SAFETY: the block was allocated with this layout (invariant) and is not used again.
            unsafe { dealloc(block.as_ptr(), layout(total(block))) };
        }
    }
}

/// The number of bytes that a block says it holds.
#[inline]
fn total(block: NonNull<u8>) -> usize {
    // SAFETY: a live block begins with its number of bytes.
    u32::from_le_bytes(unsafe { block.cast::<[u8; 4]>().read() }) as usize
}

#[inline]
fn layout(total: usize) -> Layout {
    Layout::from_size_align(allocated(total), 1).expect("4 GiB are a valid size")
}

fn allocate(total: usize) -> NonNull<u8> {
    let layout = layout(total);
    // SAFETY: the size is not zero, as every listpack has a header.
    let block = unsafe { alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives a block the room for another number of bytes. The bytes that both have in common stay.
#[inline]
fn resize(block: NonNull<u8>, old: usize, new: usize) -> NonNull<u8> {
    if allocated(old) == allocated(new) {
        return block;
    }
    // SAFETY: the block was allocated with the layout of `old` bytes, and the new size is not zero. The old block is not used
    // again by callers.
    let block = unsafe { realloc(block.as_ptr(), layout(old), allocated(new)) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout(new)))
}
