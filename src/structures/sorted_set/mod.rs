//! A sorted set: distinct members in the order of their scores.

use super::entry::{Collection, Type};

/// A sorted set: distinct members in the order of their scores.
#[derive(Clone, Debug, Default)]
pub struct SortedSet {
    words: Vec<u8>,
}

impl Collection for SortedSet {
    const TYPE: Type = Type::SortedSet;

    fn memory_bytes(&self) -> usize {
        self.words.capacity()
    }

    fn encoding(&self) -> &'static str {
        "listpack"
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn free_effort(&self) -> usize {
        1
    }

    fn free_some(&mut self, _budget: usize) -> usize {
        0
    }
}
