//! A list: elements in order, reached from both ends.
//!
//! Compact, it is one listpack; full, a deque of listpacks, each as large as the parameter `list-max-listpack-size` allows.
//!
//! | file | what |
//! |---|---|
//! | `mod` | the list in either form, and when it goes from one to the other |
//! | `nodes` | the full form |
//! | `iter` | walking over it |
//! | `limit` | how large a node may be |
//!
//! Invariant: a list changes its form where Redis 7.2 does: to full before an addition that would make the listpack too large,
//! back when what was removed leaves one node of half the limit.

mod iter;
mod limit;
mod nodes;

pub use iter::Iter;
pub use limit::NodeLimit;
pub use nodes::Node;

use nodes::{Nodes, remove_from};

use super::entry::{Collection, Type, allocated};
use super::listpack::{Element, Listpack, Needle};

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the first element is: `LEFT`.
    Front,
    /// Where the last element is: `RIGHT`.
    Back,
}

/// A list: elements in order, reached from both ends.
#[derive(Clone, Debug, Default)]
pub struct List(Form);

#[derive(Clone, Debug)]
enum Form {
    Compact(Listpack),
    Full(Box<Nodes>),
}

impl Default for Form {
    fn default() -> Form {
        Form::Compact(Listpack::new())
    }
}

impl List {
    /// A list of the elements of a listpack, in the form that its size asks for.
    pub fn from_listpack(pack: Listpack, limit: NodeLimit) -> List {
        let mut list = List(Form::Compact(pack));
        list.make_room(0, 0, limit);
        list
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Compact(pack) => pack.len(),
            Form::Full(nodes) => nodes.len(),
        }
    }

    /// There is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Form::Compact(pack) => pack.is_empty(),
            Form::Full(nodes) => nodes.len() == 0,
        }
    }

    /// Makes the list full when `count` more elements of `bytes` bytes together are too much for the compact form. Called before
    /// anything is put in.
    #[inline]
    pub fn make_room(&mut self, bytes: usize, count: usize, limit: NodeLimit) {
        if let Form::Compact(pack) = &mut self.0
            && !limit.allows(pack.bytes_len().saturating_add(bytes), pack.len() + count)
        {
            let pack = std::mem::take(pack);
            self.0 = Form::Full(Box::new(Nodes::from_pack(pack)));
        }
    }

    /// Makes the list compact when its elements are few enough. Called after elements went (`shrinking`), or when a list that was
    /// made in the full form is complete.
    #[inline]
    pub fn compact(&mut self, limit: NodeLimit, shrinking: bool) {
        if let Form::Full(nodes) = &mut self.0
            && let Some(pack) = nodes.compact(limit, shrinking)
        {
            self.0 = Form::Compact(pack);
        }
    }

    /// Adds an element at an end, without making the list full: see [`List::make_room`].
    #[inline]
    pub fn push(&mut self, end: End, bytes: &[u8], limit: NodeLimit) {
        match (&mut self.0, end) {
            (Form::Compact(pack), End::Front) => pack.push_front(bytes),
            (Form::Compact(pack), End::Back) => pack.push_back(bytes),
            (Form::Full(nodes), end) => nodes.push(end, bytes, limit),
        }
    }

    /// Appends a node of a full list that is being put together. The list is full from then on.
    pub fn push_node(&mut self, node: Listpack) {
        match &mut self.0 {
            Form::Compact(pack) => {
                let mut nodes = Nodes::from_pack(std::mem::take(pack));
                nodes.push_pack(node);
                self.0 = Form::Full(Box::new(nodes));
            }
            Form::Full(nodes) => nodes.push_pack(node),
        }
    }

    /// The element at an end.
    #[inline]
    pub fn peek(&self, end: End) -> Option<Element<'_>> {
        match end {
            End::Front => self.get(0),
            End::Back => self.get(self.len().checked_sub(1)?),
        }
    }

    /// Removes up to `count` elements at an end.
    #[inline]
    pub fn remove_end(&mut self, end: End, count: usize) {
        let len = self.len();
        let count = count.min(len);
        let start = match end {
            End::Front => 0,
            End::Back => len - count,
        };
        self.remove_range(start, count);
    }

    /// The element at an index.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        match &self.0 {
            Form::Compact(pack) => Some(pack.get(pack.seek(isize::try_from(index).ok()?)?)),
            Form::Full(nodes) => nodes.get(index),
        }
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0, self.len())
    }

    /// Up to `count` elements from `start` on, from either end.
    pub fn range(&self, start: usize, count: usize) -> Iter<'_> {
        let len = self.len();
        let start = start.min(len);
        let count = count.min(len - start);
        match &self.0 {
            Form::Compact(pack) => {
                let end = pack.end();
                let from = pack.seek(start as isize).unwrap_or(end);
                let to = pack.seek((start + count) as isize).unwrap_or(end);
                let nothing = pack.iter_from(end);
                Iter::new(
                    pack.iter_between(from, to),
                    Default::default(),
                    nothing,
                    count,
                )
            }
            Form::Full(nodes) => nodes.range(start, count),
        }
    }

    /// Replaces the element at an index; false when there is none.
    pub fn set(&mut self, index: usize, bytes: &[u8], limit: NodeLimit) -> bool {
        match &mut self.0 {
            Form::Compact(pack) => {
                let pos = isize::try_from(index)
                    .ok()
                    .and_then(|index| pack.seek(index));
                pos.map(|pos| pack.replace(pos, bytes)).is_some()
            }
            Form::Full(nodes) => nodes.set(index, bytes, limit),
        }
    }

    /// Puts an element before or behind the first one that is `pivot`; false when there is none.
    pub fn insert(&mut self, pivot: &[u8], behind: bool, bytes: &[u8], limit: NodeLimit) -> bool {
        match &mut self.0 {
            Form::Compact(pack) => {
                let found = pack.first().and_then(|first| pack.find(first, pivot, 0));
                match found {
                    Some(pos) if behind => pack.insert_after(pos, bytes),
                    Some(pos) => pack.insert_before(pos, bytes),
                    None => return false,
                };
                true
            }
            Form::Full(nodes) => nodes.insert(pivot, behind, bytes, limit),
        }
    }

    /// Removes up to `max` elements that are `needle`, from an end on; returns how many.
    pub fn remove(&mut self, needle: &[u8], end: End, max: usize) -> usize {
        let needle = Needle::new(needle);
        match &mut self.0 {
            Form::Compact(pack) => remove_from(pack, needle, end, max),
            Form::Full(nodes) => nodes.remove(needle, end, max),
        }
    }

    /// Removes up to `count` elements from `start` on.
    pub fn remove_range(&mut self, start: usize, count: usize) {
        let len = self.len();
        let start = start.min(len);
        let count = count.min(len - start);
        match &mut self.0 {
            Form::Compact(pack) => {
                if let Some(pos) = pack.seek(start as isize) {
                    pack.remove_range(pos, count);
                }
            }
            Form::Full(nodes) => nodes.remove_range(start, count),
        }
    }

    /// The listpack of a compact list.
    pub fn listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Form::Compact(pack) => Some(pack),
            Form::Full(_) => None,
        }
    }

    /// The nodes of a full list.
    pub fn nodes(&self) -> Option<impl ExactSizeIterator<Item = &Node>> {
        match &self.0 {
            Form::Compact(_) => None,
            Form::Full(nodes) => Some(nodes.nodes().iter()),
        }
    }
}

impl Collection for List {
    const TYPE: Type = Type::List;

    #[inline]
    fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Compact(pack) => pack.memory_bytes(),
            Form::Full(nodes) => allocated(size_of::<Nodes>()) + nodes.memory_bytes(),
        }
    }

    fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Compact(_) => "listpack",
            Form::Full(_) => "quicklist",
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        List::is_empty(self)
    }

    #[inline]
    fn free_effort(&self) -> usize {
        match &self.0 {
            Form::Compact(_) => 1,
            Form::Full(nodes) => 2 + nodes.nodes().len(),
        }
    }

    fn free_some(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Compact(_) => 0,
            Form::Full(nodes) => nodes.free_some(budget),
        }
    }
}
