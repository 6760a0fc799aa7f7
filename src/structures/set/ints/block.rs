//! The allocation of a set of integers: its bytes, whose number follows from the first eight of them.
//!
//! Invariants:
//! - The block is `allocated(total)` bytes long, where `total` follows from width and number in the header; the first `total`
//!   bytes are initialised.
//! - There is no block exactly when there is no integer.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

use crate::structures::entry::allocated;

/// Bytes in front of the first integer.
pub(super) const HEADER_BYTES: usize = 8;

/// What a set without integers consists of: integers of two bytes, none of them.
const EMPTY_BYTES: [u8; HEADER_BYTES] = [2, 0, 0, 0, 0, 0, 0, 0];

/// The bytes of a set of integers.
#[derive(Default)]
pub(super) struct Block(Option<NonNull<u8>>);

// SAFETY: a block is owned alone and holds nothing but bytes.
unsafe impl Send for Block {}

impl Block {
    /// The bytes, header included.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self.0 {
            None => &EMPTY_BYTES,
            // SAFETY: `total` bytes of the block are initialised (invariant), borrowed as long as their owner.
            Some(block) => unsafe { std::slice::from_raw_parts(block.as_ptr(), total(block)) },
        }
    }

    /// The integers.
    #[inline]
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes()[HEADER_BYTES..]
    }

    /// The integers, for modification.
    #[inline]
    pub(super) fn body_mut(&mut self) -> &mut [u8] {
        let Some(block) = self.0 else {
            return &mut [];
        };
        // SAFETY: as in `bytes`, and `&mut self` is its only user; the header is left out.
        unsafe {
            std::slice::from_raw_parts_mut(
                block.as_ptr().add(HEADER_BYTES),
                total(block) - HEADER_BYTES,
            )
        }
    }

    /// Bytes of one integer.
    #[inline]
    pub(super) fn width(&self) -> usize {
        word(self.bytes(), 0)
    }

    /// The number of integers.
    #[inline]
    pub(super) fn len(&self) -> usize {
        word(self.bytes(), 4)
    }

    /// Memory of the block in bytes.
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.map_or(0, |block| allocated(total(block)))
    }

    /// Gives the block another width and number. The bytes that old and new have in common stay, those that are new are
    /// zero; what the integers become is up to the caller.
    pub(super) fn resize(&mut self, width: usize, len: usize) {
        assert!(matches!(width, 2 | 4 | 8));
        let count = u32::try_from(len).expect("a set becomes a table before that");
        if len == 0 {
            *self = Block::default();
            return;
        }
        let old = self.bytes().len();
        let new = HEADER_BYTES + width * len;
        let block = match self.0 {
            Some(block) if allocated(old) == allocated(new) => block,
            Some(block) => {
                // SAFETY: the block was allocated with the layout of `old` bytes, the new size is not zero, and the old
                // block is not used again.
                let moved = unsafe { realloc(block.as_ptr(), layout(old), allocated(new)) };
                NonNull::new(moved).unwrap_or_else(|| handle_alloc_error(layout(new)))
            }
            None => allocate(new),
        };
        // From here on the header must be written before anything can go wrong.
        self.0 = Some(block);
        // SAFETY: the block is at least `new` bytes long, and the bytes from `old` on are not initialised yet. Without an
        // old block `old` is the length of the header, which is written here.
        unsafe {
            let base = block.as_ptr();
            if new > old {
                base.add(old).write_bytes(0, new - old);
            }
            base.cast::<[u8; 4]>().write((width as u32).to_le_bytes());
            base.add(4).cast::<[u8; 4]>().write(count.to_le_bytes());
        }
    }
}

impl Clone for Block {
    fn clone(&self) -> Block {
        let mut block = Block::default();
        block.resize(self.width(), self.len());
        block.body_mut().copy_from_slice(self.body());
        block
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

/// The number at an offset of the header.
#[inline]
fn word(bytes: &[u8], at: usize) -> usize {
    let word = bytes[at..].first_chunk().copied();
    u32::from_le_bytes(word.expect("the header is there")) as usize
}

/// The number of bytes that a block says it holds.
#[inline]
fn total(block: NonNull<u8>) -> usize {
    // SAFETY: a live block begins with its header.
    let header = unsafe { block.cast::<[u8; HEADER_BYTES]>().read() };
    HEADER_BYTES + word(&header, 0) * word(&header, 4)
}

#[inline]
fn layout(total: usize) -> Layout {
    Layout::from_size_align(allocated(total), 1).expect("the size fits the address space")
}

fn allocate(total: usize) -> NonNull<u8> {
    let layout = layout(total);
    // SAFETY: the size is not zero, as there is a header.
    let block = unsafe { alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}
