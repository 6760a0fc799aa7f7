//! A stream: records in the order of their ids, and consumer groups.
//!
//! | file | what |
//! |---|---|
//! | `id` | ids |
//! | `id_map` | a sorted map from ids, for nodes and pending entries |
//! | `node` | some records in a listpack |
//! | `records` | all records: append, delete, trim, walk |
//! | `group` | consumer groups, consumers, pending entries |
//!
//! Lives in an entry on a shard. A key may hold a stream without records: it still knows the last id, and its groups.

mod group;
mod id;
mod id_map;
mod node;
mod records;

pub use group::{Consumer, ConsumerId, Group, Groups, Pending};
pub use id::{IdText, StreamId};
pub use id_map::{IdMap, Iter, IterBack};
pub use node::Record;
pub use records::{
    Keep, NODE_BYTES_MAX, NewId, NodeLimits, Range, RangeBack, Records, TooLarge, Trim,
};

use super::entry::{Collection, Type, allocated};

/// Bytes of groups that take about as long to free as one allocation.
const GROUP_BYTES_PER_EFFORT: usize = 2048;

/// A stream; one word.
#[derive(Clone, Debug, Default)]
pub struct Stream(Option<Box<Parts>>);

#[derive(Clone, Debug, Default)]
struct Parts {
    records: Records,
    groups: Groups,
}

/// What a stream is that nothing was done with.
const UNTOUCHED: &Parts = &Parts {
    records: Records::new(),
    groups: Groups::new(),
};

impl Stream {
    /// The records.
    #[inline]
    pub fn records(&self) -> &Records {
        &self.parts().records
    }

    /// The records, to be changed.
    #[inline]
    pub fn records_mut(&mut self) -> &mut Records {
        &mut self.0.get_or_insert_default().records
    }

    /// The consumer groups.
    #[inline]
    pub fn groups(&self) -> &Groups {
        &self.parts().groups
    }

    /// The consumer groups, to add and remove some.
    pub fn groups_mut(&mut self) -> &mut Groups {
        &mut self.0.get_or_insert_default().groups
    }

    /// Changes a group with a look at the records; `None` without the group.
    pub fn edit_group<R>(
        &mut self,
        name: &[u8],
        edit: impl FnOnce(&Records, &mut Group) -> R,
    ) -> Option<R> {
        let parts = self.0.as_deref_mut()?;
        let records = &parts.records;
        parts.groups.edit(name, |group| edit(records, group))
    }

    #[inline]
    fn parts(&self) -> &Parts {
        self.0.as_deref().unwrap_or(UNTOUCHED)
    }
}

impl Collection for Stream {
    const TYPE: Type = Type::Stream;

    const GOES_WHEN_EMPTY: bool = false;

    #[inline]
    fn memory_bytes(&self) -> usize {
        match &self.0 {
            Some(parts) => {
                allocated(size_of::<Parts>())
                    + parts.records.memory_bytes()
                    + parts.groups.memory_bytes()
            }
            None => 0,
        }
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn is_empty(&self) -> bool {
        self.records().is_empty()
    }

    fn free_effort(&self) -> usize {
        let parts = self.parts();
        let nodes = parts.records.nodes();
        1 + nodes.len() + nodes.chunk_count() + parts.groups.memory_bytes() / GROUP_BYTES_PER_EFFORT
    }

    fn free_some(&mut self, budget: usize) -> usize {
        let Some(parts) = &mut self.0 else {
            return 0;
        };
        match parts.records.free_some(budget) {
            0 => parts.groups.free_some(budget),
            freed => freed,
        }
    }
}
