//! A stream: records in the order of their ids, and consumer groups.

use super::entry::{Collection, Type};

/// A stream: records in the order of their ids, and consumer groups.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    words: Vec<u8>,
}

impl Collection for Stream {
    const TYPE: Type = Type::Stream;

    fn memory_bytes(&self) -> usize {
        self.words.capacity()
    }

    fn encoding(&self) -> &'static str {
        "stream"
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
