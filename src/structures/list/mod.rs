//! A list: elements in order, reached from both ends.

use super::entry::{Collection, Type};

/// A list: elements in order, reached from both ends.
#[derive(Clone, Debug, Default)]
pub struct List {
    words: Vec<u8>,
}

impl Collection for List {
    const TYPE: Type = Type::List;

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
