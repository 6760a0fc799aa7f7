//! A set: distinct members.

use super::entry::{Collection, Type};

/// A set: distinct members.
#[derive(Clone, Debug, Default)]
pub struct Set {
    words: Vec<u8>,
}

impl Collection for Set {
    const TYPE: Type = Type::Set;

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
