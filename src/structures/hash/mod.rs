//! A hash: fields with a value each.

use super::entry::{Collection, Type};

/// A hash: fields with a value each.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    words: Vec<u8>,
}

impl Collection for Hash {
    const TYPE: Type = Type::Hash;

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
