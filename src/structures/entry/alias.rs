//! A second handle on an entry, for a structure that keeps entries of a table in an order of its own.

use std::ptr::NonNull;

use super::Entry;

/// Where an entry's block lies. Reads it, does not own it; lives beside the owner and never longer.
#[derive(Clone, Copy)]
pub(in crate::structures) struct Alias(NonNull<u8>);

// SAFETY: an alias only reads, and who makes one promises that it is used together with the entry's owner: it moves to
// another core together with it or not at all.
unsafe impl Send for Alias {}

impl Alias {
    /// Another handle on `entry`.
    ///
    /// # Safety
    /// While the alias is read the entry is neither dropped nor given a block of another size, and nobody changes it on another
    /// thread. Moving the `Entry` value (within its table) is fine.
    #[inline]
    pub(in crate::structures) unsafe fn new(entry: &Entry) -> Alias {
        // SAFETY: the block of a live entry is not null.
        Alias(unsafe { NonNull::new_unchecked(entry.block()) })
    }

    /// The entry's key.
    #[inline]
    pub(in crate::structures) fn key(&self) -> &[u8] {
        // SAFETY: an `Entry` is one word with the block's address, as an `Alias` is, and the mark in it may be zero. By the
        // contract of `new` the block is alive; the borrow drops nothing.
        let entry = unsafe { &*std::ptr::from_ref(self).cast::<Entry>() };
        entry.key()
    }

    /// Where the block lies, for a prefetch.
    #[inline]
    pub(in crate::structures) fn block(&self) -> *const u8 {
        self.0.as_ptr()
    }
}
