//! The order of a large sorted set: a B+-tree over (score, member) that counts, so that ranks are found in O(log n).
//!
//! ```text
//!   inner   [ first, len, node | first, len, node | … ]      first: a copy of the subtree's first item, len: its items
//!   leaf    [ score, member | score, member | … ]            up to 63 items of 16 bytes
//! ```
//!
//! There are no links between leaves: a walk finds each next leaf by its rank, a descent per some fifty items. Every
//! question about the order is one about ranks: where does a score begin, what lies at a rank.
//!
//! Invariants:
//! - Items are in strictly ascending order of (score, member); no score is NaN.
//! - A child's `first` and `len` are exact; no node but a leaf root is empty; all leaves lie at one depth.
//! - Members are aliases of entries that the owner of the tree keeps alive as long as they are in it.
//! - Arrays have eight sizes, one less than a multiple of eight: sizes of the allocator, less the word that it needs. Growing
//!   in such steps instead of at once keeps leaves nine tenths full where halves after splits would leave two thirds.

use std::cmp::Ordering;

use crate::structures::entry::{Alias, Entry, allocated};
use crate::structures::prefetch::prefetch;

/// Items of a leaf, and children of an inner node, at most.
const NODE_LEN_MAX: usize = 63;

/// A node with fewer is merged with a neighbour, or takes some from it.
const NODE_LEN_LOW: usize = 16;

/// Two nodes with this many together become one.
const MERGED_LEN_MAX: usize = 47;

/// Capacities are one less than a multiple of this.
const CAPACITY_STEP: usize = 8;

/// One member with its score.
#[derive(Clone, Copy)]
pub(super) struct Item {
    /// The score.
    pub(super) score: f64,
    member: Alias,
}

impl Item {
    /// An item for the member that is `entry`'s key.
    ///
    /// # Safety
    /// As for [`Alias::new`]: the item is used no longer than the entry lives.
    #[inline]
    pub(super) unsafe fn new(score: f64, entry: &Entry) -> Item {
        Item {
            score,
            // SAFETY: the caller's promise.
            member: unsafe { Alias::new(entry) },
        }
    }

    /// The member.
    #[inline]
    pub(super) fn member(&self) -> &[u8] {
        self.member.key()
    }

    #[inline]
    fn compare(&self, score: f64, member: &[u8]) -> Ordering {
        compare((self.score, || self.member()), (score, || member))
    }
}

/// The order of a sorted set: by score, members of equal scores by their bytes. Members are asked for only when they decide.
#[inline]
pub(super) fn compare<'a, 'b>(
    (left, left_member): (f64, impl FnOnce() -> &'a [u8]),
    (right, right_member): (f64, impl FnOnce() -> &'b [u8]),
) -> Ordering {
    if left < right {
        Ordering::Less
    } else if left > right {
        Ordering::Greater
    } else {
        left_member().cmp(right_member())
    }
}

enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

struct Child {
    first: Item,
    len: usize,
    node: Node,
}

/// What is taken out of the tree.
#[derive(Clone, Copy)]
enum Target<'a> {
    Rank(usize),
    Item(f64, &'a [u8]),
}

/// Whether a node lies at the begin or the end of the tree: there a full node is left full, as scores that only rise
/// (times) or fall never come back to it.
#[derive(Clone, Copy)]
struct Edges {
    left: bool,
    right: bool,
}

/// The tree. Lives in a sorted set, beside the entries of its members.
pub(super) struct Tree {
    root: Node,
    len: usize,
    bytes: usize,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            root: Node::Leaf(Vec::new()),
            len: 0,
            bytes: 0,
        }
    }
}

impl Tree {
    /// The number of items.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the nodes.
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Inserts an item that is not there.
    pub(super) fn insert(&mut self, item: Item) {
        let edges = Edges {
            left: true,
            right: true,
        };
        self.len += 1;
        if let Some(right) = self.root.insert(item, edges, &mut self.bytes) {
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::new()));
            if let Node::Inner(children) = &mut self.root {
                push(children, Child::of(left), &mut self.bytes);
                push(children, right, &mut self.bytes);
            }
        }
    }

    /// Takes out the item with this score and member.
    pub(super) fn remove(&mut self, score: f64, member: &[u8]) -> Option<Item> {
        self.take(Target::Item(score, member))
    }

    /// Takes out the item at a rank.
    pub(super) fn remove_at(&mut self, rank: usize) -> Option<Item> {
        if rank >= self.len {
            return None;
        }
        self.take(Target::Rank(rank))
    }

    fn take(&mut self, target: Target<'_>) -> Option<Item> {
        let item = self.root.take(target, &mut self.bytes)?;
        self.len -= 1;
        while let Node::Inner(children) = &mut self.root
            && children.len() <= 1
        {
            let only = children.pop();
            self.bytes -= cost(children);
            self.root = only.map_or(Node::Leaf(Vec::new()), |child| child.node);
        }
        Some(item)
    }

    /// How many items lie before this score and member.
    pub(super) fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.count_while(|item| item.compare(score, member).is_lt())
    }

    /// How many items from the first on satisfy `holds`, which no item does behind one that does not.
    pub(super) fn count_while(&self, mut holds: impl FnMut(&Item) -> bool) -> usize {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return before + items.partition_point(holds),
                Node::Inner(children) => {
                    let at = children.partition_point(|child| holds(&child.first));
                    let Some(at) = at.checked_sub(1) else {
                        return before;
                    };
                    before += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// The leaf of a rank, and the rank's index in it; nothing beyond the last rank.
    fn leaf_at(&self, rank: usize) -> (&[Item], usize) {
        let (mut node, mut rank) = (&self.root, rank);
        'down: loop {
            match node {
                Node::Leaf(items) => return (items, rank),
                Node::Inner(children) => {
                    for child in children {
                        if rank < child.len {
                            node = &child.node;
                            continue 'down;
                        }
                        rank -= child.len;
                    }
                    return (&[], 0);
                }
            }
        }
    }

    /// The item at a rank.
    pub(super) fn get(&self, rank: usize) -> Option<&Item> {
        let (items, index) = self.leaf_at(rank);
        items.get(index)
    }

    /// The items of a range of ranks, in descending order if `reverse`.
    pub(super) fn range(&self, ranks: std::ops::Range<usize>, reverse: bool) -> Items<'_> {
        let end = ranks.end.min(self.len);
        Items {
            tree: self,
            start: ranks.start.min(end),
            end,
            reverse,
            leaf: &[],
            at: 0,
        }
    }

    /// Frees about `budget` items' worth of nodes from the end on; returns how many. The tree is no order any more.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        /// Freeing a leaf costs about as much as freeing one member.
        fn free(node: &mut Node, budget: usize, bytes: &mut usize) -> usize {
            let Node::Inner(children) = node else {
                return 0;
            };
            let mut freed = 0;
            while freed < budget
                && let Some(last) = children.last_mut()
            {
                freed += free(&mut last.node, budget - freed, bytes);
                if freed < budget
                    && let Some(child) = children.pop()
                {
                    *bytes -= child.node.cost();
                    freed += 1;
                }
            }
            freed
        }
        let freed = free(&mut self.root, budget, &mut self.bytes);
        self.len = 0;
        freed
    }

    /// Asserts every invariant, for model tests: reads the whole tree.
    pub(super) fn check(&self) {
        let mut bytes = 0;
        assert_eq!(self.root.check(true, &mut bytes).0, self.len);
        assert_eq!(bytes, self.bytes);
        let mut before: Option<&Item> = None;
        for item in self.range(0..self.len, false) {
            if let Some(before) = before {
                assert!(before.compare(item.score, item.member()).is_lt());
            }
            before = Some(item);
        }
    }
}

/// The bytes that an array takes.
#[inline]
fn cost<T>(items: &Vec<T>) -> usize {
    match items.capacity() {
        0 => 0,
        capacity => allocated((capacity + 1) * size_of::<T>()),
    }
}

/// Makes room for `more`, in steps.
fn grow<T>(items: &mut Vec<T>, more: usize, bytes: &mut usize) {
    let len = items.len() + more;
    if len > items.capacity() {
        let capacity = (len + 1).next_multiple_of(CAPACITY_STEP) - 1;
        *bytes -= cost(items);
        items.reserve_exact(capacity - items.len());
        *bytes += cost(items);
    }
}

/// Gives room back that two steps down would do without.
fn shrink<T>(items: &mut Vec<T>, bytes: &mut usize) {
    let capacity = (items.len() + 1).next_multiple_of(CAPACITY_STEP) - 1;
    if capacity + CAPACITY_STEP < items.capacity() {
        *bytes -= cost(items);
        items.shrink_to(capacity);
        *bytes += cost(items);
    }
}

fn push<T>(items: &mut Vec<T>, item: T, bytes: &mut usize) {
    insert(items, items.len(), item, bytes);
}

fn insert<T>(items: &mut Vec<T>, at: usize, item: T, bytes: &mut usize) {
    grow(items, 1, bytes);
    items.insert(at, item);
}

/// Inserts at `at`; a full array is split first, and what lies behind the split is returned.
fn insert_or_split<T>(
    items: &mut Vec<T>,
    at: usize,
    item: T,
    edges: Edges,
    bytes: &mut usize,
) -> Option<Vec<T>> {
    let len = items.len();
    if len < NODE_LEN_MAX {
        insert(items, at, item, bytes);
        return None;
    }
    let split_at = if edges.right && at == len {
        len
    } else if edges.left && at <= 1 {
        1
    } else {
        len / 2
    };
    let mut right = Vec::new();
    grow(&mut right, len - split_at + 1, bytes);
    right.extend(items.drain(split_at..));
    if at < split_at {
        items.insert(at, item);
    } else {
        right.insert(at - split_at, item);
    }
    shrink(items, bytes);
    shrink(&mut right, bytes);
    Some(right)
}

/// Makes one of two neighbours that are small, or evens them out; true when `right` is empty then.
fn balance<T>(left: &mut Vec<T>, right: &mut Vec<T>, bytes: &mut usize) -> bool {
    let total = left.len() + right.len();
    if total <= MERGED_LEN_MAX {
        grow(left, right.len(), bytes);
        left.append(right);
        *bytes -= cost(right);
        return true;
    }
    let half = total / 2;
    if left.len() < half {
        let more = half - left.len();
        grow(left, more, bytes);
        left.extend(right.drain(..more));
    } else {
        let more = left.len() - half;
        grow(right, more, bytes);
        right.splice(0..0, left.drain(half..));
    }
    shrink(left, bytes);
    shrink(right, bytes);
    false
}

impl Child {
    fn of(node: Node) -> Child {
        Child {
            first: *node.first().expect("no node but a leaf root is empty"),
            len: node.items(),
            node,
        }
    }

    /// Brings `first` and `len` up to date with the node.
    fn refresh(&mut self) {
        self.first = *self.node.first().expect("no node but a leaf root is empty");
        self.len = self.node.items();
    }
}

impl Node {
    /// Items or children.
    fn size(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.len(),
        }
    }

    /// Items in the subtree.
    fn items(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.iter().map(|child| child.len).sum(),
        }
    }

    fn first(&self) -> Option<&Item> {
        match self {
            Node::Leaf(items) => items.first(),
            Node::Inner(children) => children.first().map(|child| &child.first),
        }
    }

    fn cost(&self) -> usize {
        match self {
            Node::Leaf(items) => cost(items),
            Node::Inner(children) => cost(children),
        }
    }

    /// Inserts an item; returns the new right neighbour if the node was split.
    fn insert(&mut self, item: Item, edges: Edges, bytes: &mut usize) -> Option<Child> {
        let right = match self {
            Node::Leaf(items) => {
                let (score, member) = (item.score, item.member());
                let at = items.partition_point(|other| other.compare(score, member).is_lt());
                Node::Leaf(insert_or_split(items, at, item, edges, bytes)?)
            }
            Node::Inner(children) => {
                let (score, member) = (item.score, item.member());
                let at = children
                    .partition_point(|child| child.first.compare(score, member).is_lt())
                    .saturating_sub(1);
                let below = Edges {
                    left: edges.left && at == 0,
                    right: edges.right && at + 1 == children.len(),
                };
                let child = &mut children[at];
                let split = child.node.insert(item, below, bytes);
                if split.is_some() {
                    child.refresh();
                } else {
                    child.len += 1;
                    if let Some(first) = child.node.first() {
                        child.first = *first;
                    }
                }
                Node::Inner(insert_or_split(children, at + 1, split?, edges, bytes)?)
            }
        };
        Some(Child::of(right))
    }

    fn take(&mut self, target: Target<'_>, bytes: &mut usize) -> Option<Item> {
        match self {
            Node::Leaf(items) => {
                let at = match target {
                    Target::Rank(rank) => rank,
                    Target::Item(score, member) => items
                        .binary_search_by(|item| item.compare(score, member))
                        .ok()?,
                };
                let item = items.remove(at);
                shrink(items, bytes);
                Some(item)
            }
            Node::Inner(children) => {
                let (mut at, mut below) = (0, target);
                match target {
                    Target::Rank(mut rank) => {
                        while rank >= children[at].len {
                            rank -= children[at].len;
                            at += 1;
                        }
                        below = Target::Rank(rank);
                    }
                    Target::Item(score, member) => {
                        at = children
                            .partition_point(|child| child.first.compare(score, member).is_le())
                            .checked_sub(1)?;
                    }
                }
                let child = &mut children[at];
                let item = child.node.take(below, bytes)?;
                child.len -= 1;
                if let Some(first) = child.node.first() {
                    child.first = *first;
                }
                if child.node.size() < NODE_LEN_LOW {
                    settle(children, at, bytes);
                    shrink(children, bytes);
                }
                Some(item)
            }
        }
    }

    /// The number of items and the depth, with every invariant of the subtree asserted.
    fn check(&self, is_root: bool, bytes: &mut usize) -> (usize, usize) {
        *bytes += self.cost();
        assert!(self.size() <= NODE_LEN_MAX);
        match self {
            Node::Leaf(items) => {
                assert!(is_root || !items.is_empty());
                (items.len(), 0)
            }
            Node::Inner(children) => {
                assert!(children.len() > usize::from(is_root));
                let (mut sum, mut depths) = (0, Vec::new());
                for child in children {
                    let (len, depth) = child.node.check(false, bytes);
                    assert_eq!(len, child.len);
                    let first = child.node.first().expect("no empty node");
                    assert_eq!(first.score.to_bits(), child.first.score.to_bits());
                    assert_eq!(first.member.block(), child.first.member.block());
                    sum += len;
                    depths.push(depth + 1);
                }
                depths.dedup();
                assert_eq!(depths.len(), 1);
                (sum, depths[0])
            }
        }
    }
}

/// A child has become small: it goes when it is empty, else it is merged with a neighbour or takes some from it.
fn settle(children: &mut Vec<Child>, at: usize, bytes: &mut usize) {
    if children[at].node.size() == 0 {
        *bytes -= children.remove(at).node.cost();
        return;
    }
    if children.len() < 2 {
        return;
    }
    let at = at.min(children.len() - 2);
    let (left, right) = children.split_at_mut(at + 1);
    let (left, right) = (&mut left[at], &mut right[0]);
    let merged = match (&mut left.node, &mut right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => balance(left, right, bytes),
        (Node::Inner(left), Node::Inner(right)) => balance(left, right, bytes),
        _ => unreachable!("all leaves lie at one depth"),
    };
    left.refresh();
    if merged {
        children.remove(at + 1);
    } else {
        right.refresh();
    }
}

/// Items ahead that a walk prefetches the members of.
const PREFETCHED: usize = 4;

/// A walk over a range of ranks.
pub(super) struct Items<'a> {
    tree: &'a Tree,
    start: usize,
    end: usize,
    reverse: bool,
    leaf: &'a [Item],
    /// Forward the index of the next item in the leaf, backward that behind it.
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a Item;

    #[inline]
    fn next(&mut self) -> Option<&'a Item> {
        if self.start == self.end {
            return None;
        }
        if self.reverse {
            self.end -= 1;
            if self.at == 0 {
                let (leaf, at) = self.tree.leaf_at(self.end);
                (self.leaf, self.at) = (leaf, at + 1);
            }
            self.at -= 1;
            if let Some(ahead) = self.at.checked_sub(PREFETCHED) {
                prefetch(self.leaf[ahead].member.block());
            }
            return self.leaf.get(self.at);
        }
        if self.at == self.leaf.len() {
            (self.leaf, self.at) = self.tree.leaf_at(self.start);
        }
        self.start += 1;
        self.at += 1;
        if let Some(ahead) = self.leaf.get(self.at + PREFETCHED) {
            prefetch(ahead.member.block());
        }
        self.leaf.get(self.at - 1)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.end - self.start;
        (len, Some(len))
    }
}

impl ExactSizeIterator for Items<'_> {}
