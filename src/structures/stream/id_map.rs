//! A sorted map from ids to small values, for ids that mostly come in their order and go from the front.
//!
//! ```text
//!   chunks | first | items ─▶ [id value | id value | … ]    up to CHUNK_ITEMS_MAX
//!          | first | items ─▶ [ … ]
//! ```
//!
//! A binary search finds the chunk, another one the item. An id behind all others is appended without a search, and full
//! chunks stay full. What a B-tree of the library was not good at: it leaves nodes half empty when ids grow, which
//! costs pending entries more than their own size.
//!
//! Invariants:
//! - No chunk is empty, and `first` is its first item's id; ids grow from item to item and from chunk to chunk.
//! - `bytes` is what the chunks' items take, by size class.

use super::StreamId;
use crate::structures::entry::allocated;

/// Items of a chunk. Moving half a chunk for an insert in its middle takes less than the search before it. The list of the chunks
/// itself moves when one comes or goes in front of it: of a million items that is 300 KB for each 128 of them.
const CHUNK_ITEMS_MAX: usize = 128;

/// A chunk with fewer items than this joins a neighbour where both fit well.
const CHUNK_ITEMS_LOW: usize = CHUNK_ITEMS_MAX / 4;

/// A sorted map from ids to small values. Part of a stream.
#[derive(Debug)]
pub struct IdMap<V> {
    chunks: Vec<Chunk<V>>,
    len: usize,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Chunk<V> {
    first: StreamId,
    items: Vec<(StreamId, V)>,
}

impl<V> Chunk<V> {
    fn bytes(&self) -> usize {
        allocated(self.items.capacity() * size_of::<(StreamId, V)>())
    }

    fn position(&self, id: StreamId) -> Result<usize, usize> {
        self.items.binary_search_by_key(&id, |item| item.0)
    }
}

impl<V> Default for IdMap<V> {
    fn default() -> IdMap<V> {
        IdMap::new()
    }
}

impl<V: Clone> Clone for IdMap<V> {
    fn clone(&self) -> IdMap<V> {
        let chunks = self.chunks.clone();
        IdMap {
            bytes: chunks.iter().map(Chunk::bytes).sum(),
            chunks,
            len: self.len,
        }
    }
}

impl<V> IdMap<V> {
    /// An empty map, without an allocation.
    pub const fn new() -> IdMap<V> {
        IdMap {
            chunks: Vec::new(),
            len: 0,
            bytes: 0,
        }
    }

    /// The number of items.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// There is no item.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated, without what the values own.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + allocated(self.chunks.capacity() * size_of::<Chunk<V>>())
    }

    /// The number of allocations.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// The value of `id`.
    pub fn get(&self, id: StreamId) -> Option<&V> {
        let chunk = &self.chunks[self.chunk_of(id)?];
        let at = chunk.position(id).ok()?;
        Some(&chunk.items[at].1)
    }

    /// The value of `id`, to be changed.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        let index = self.chunk_of(id)?;
        let chunk = &mut self.chunks[index];
        let at = chunk.position(id).ok()?;
        Some(&mut chunk.items[at].1)
    }

    /// The item with the smallest id.
    #[inline]
    pub fn first(&self) -> Option<(StreamId, &V)> {
        let (id, value) = self.chunks.first()?.items.first()?;
        Some((*id, value))
    }

    /// The item with the greatest id.
    #[inline]
    pub fn last(&self) -> Option<(StreamId, &V)> {
        let (id, value) = self.chunks.last()?.items.last()?;
        Some((*id, value))
    }

    /// The value with the greatest id, to be changed.
    #[inline]
    pub fn last_mut(&mut self) -> Option<(StreamId, &mut V)> {
        let (id, value) = self.chunks.last_mut()?.items.last_mut()?;
        Some((*id, value))
    }

    /// The value with the smallest id, to be changed.
    #[inline]
    pub fn first_mut(&mut self) -> Option<(StreamId, &mut V)> {
        let (id, value) = self.chunks.first_mut()?.items.first_mut()?;
        Some((*id, value))
    }

    /// The last value that is not behind `id`, to be changed.
    pub fn around_mut(&mut self, id: StreamId) -> Option<(StreamId, &mut V)> {
        let index = self.chunk_of(id)?;
        let chunk = &mut self.chunks[index];
        let at = match chunk.position(id) {
            Ok(at) => at,
            Err(at) => at.checked_sub(1)?,
        };
        let (id, value) = &mut chunk.items[at];
        Some((*id, value))
    }

    /// Puts a value in; returns the one that it replaces.
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let Some(mut index) = self.chunk_of(id) else {
            self.insert_chunk(0, vec![(id, value)]);
            self.len = 1;
            return None;
        };
        let mut at = match self.chunks[index].items.last() {
            Some(last) if last.0 < id => self.chunks[index].items.len(),
            _ => match self.chunks[index].position(id) {
                Ok(at) => {
                    let old = std::mem::replace(&mut self.chunks[index].items[at].1, value);
                    return Some(old);
                }
                Err(at) => at,
            },
        };
        self.len += 1;
        if self.chunks[index].items.len() == CHUNK_ITEMS_MAX {
            if at == CHUNK_ITEMS_MAX && index + 1 == self.chunks.len() {
                self.insert_chunk(index + 1, vec![(id, value)]);
                return None;
            }
            self.bytes -= self.chunks[index].bytes();
            let upper = self.chunks[index].items.split_off(CHUNK_ITEMS_MAX / 2);
            self.chunks[index].items.shrink_to_fit();
            self.bytes += self.chunks[index].bytes();
            self.insert_chunk(index + 1, upper);
            if at > CHUNK_ITEMS_MAX / 2 {
                index += 1;
                at -= CHUNK_ITEMS_MAX / 2;
            }
        }
        let chunk = &mut self.chunks[index];
        if chunk.items.len() == chunk.items.capacity() {
            self.bytes -= chunk.bytes();
            chunk.items.reserve_exact(chunk.items.len());
            self.bytes += chunk.bytes();
        }
        chunk.items.insert(at, (id, value));
        chunk.first = chunk.items[0].0;
        None
    }

    /// Takes a value out.
    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        let index = self.chunk_of(id)?;
        let at = self.chunks[index].position(id).ok()?;
        Some(self.remove_at(index, at))
    }

    /// Takes out the item with the smallest id.
    pub fn pop_first(&mut self) -> Option<(StreamId, V)> {
        let id = self.first()?.0;
        Some((id, self.remove_at(0, 0)))
    }

    /// Takes out the item with the greatest id.
    pub fn pop_last(&mut self) -> Option<(StreamId, V)> {
        let id = self.last()?.0;
        let index = self.chunks.len() - 1;
        Some((
            id,
            self.remove_at(index, self.chunks[index].items.len() - 1),
        ))
    }

    /// Drops the last chunk; returns how many items that were, 0 when nothing is left. For freeing in slices.
    pub fn drop_chunk(&mut self) -> usize {
        let Some(chunk) = self.chunks.pop() else {
            return 0;
        };
        self.bytes -= chunk.bytes();
        self.len -= chunk.items.len();
        chunk.items.len()
    }

    /// The items from the first that is not before `id` on, in their order.
    pub fn iter_from(&self, id: StreamId) -> Iter<'_, V> {
        let Some(chunk) = self.chunk_of(id) else {
            return self.iter_at(0, 0);
        };
        let at = self.chunks[chunk].position(id).unwrap_or_else(|at| at);
        self.iter_at(chunk, at)
    }

    /// The items in their order, from the last that is not behind `id` on; from the first when there is none such.
    pub fn iter_around(&self, id: StreamId) -> Iter<'_, V> {
        let Some(chunk) = self.chunk_of(id) else {
            return self.iter_at(0, 0);
        };
        let at = self.chunks[chunk]
            .position(id)
            .unwrap_or_else(|at| at.saturating_sub(1));
        self.iter_at(chunk, at)
    }

    /// The items backwards, from the last that is not behind `id` on.
    pub fn iter_back_from(&self, id: StreamId) -> IterBack<'_, V> {
        let Some(chunk) = self.chunk_of(id) else {
            return IterBack {
                map: self,
                chunk: 0,
                left: 0,
            };
        };
        let left = match self.chunks[chunk].position(id) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        IterBack {
            map: self,
            chunk,
            left,
        }
    }

    /// All items in their order.
    pub fn iter(&self) -> Iter<'_, V> {
        self.iter_at(0, 0)
    }

    fn iter_at(&self, chunk: usize, at: usize) -> Iter<'_, V> {
        Iter {
            map: self,
            chunk,
            at,
        }
    }

    /// The chunk where `id` is or would be; `None` in an empty map.
    #[inline]
    fn chunk_of(&self, id: StreamId) -> Option<usize> {
        let last = self.chunks.len().checked_sub(1)?;
        if self.chunks[last].first <= id {
            return Some(last);
        }
        let behind = self.chunks.partition_point(|chunk| chunk.first <= id);
        Some(behind.saturating_sub(1))
    }

    fn insert_chunk(&mut self, index: usize, items: Vec<(StreamId, V)>) {
        if self.chunks.len() == self.chunks.capacity() {
            self.chunks.reserve_exact(self.chunks.len().max(1));
        }
        let chunk = Chunk {
            first: items[0].0,
            items,
        };
        self.bytes += chunk.bytes();
        self.chunks.insert(index, chunk);
    }

    fn remove_at(&mut self, index: usize, at: usize) -> V {
        self.len -= 1;
        let chunk = &mut self.chunks[index];
        let before = chunk.bytes();
        let (_, value) = chunk.items.remove(at);
        let left = chunk.items.len();
        if left == 0 {
            self.bytes -= before;
            self.chunks.remove(index);
            let chunks = self.chunks.len();
            if chunks * 4 <= self.chunks.capacity() {
                self.chunks.shrink_to(chunks * 2);
            }
            return value;
        }
        if left * 4 <= chunk.items.capacity() {
            chunk.items.shrink_to(left * 2);
        }
        chunk.first = chunk.items[0].0;
        self.bytes = self.bytes - before + chunk.bytes();
        if left < CHUNK_ITEMS_LOW {
            self.join_neighbour(index);
        }
        value
    }

    /// Joins a chunk with the one behind it, or before it, when both leave room in one.
    fn join_neighbour(&mut self, index: usize) {
        let lower = if index + 1 < self.chunks.len() {
            index
        } else if index > 0 {
            index - 1
        } else {
            return;
        };
        let both = self.chunks[lower].items.len() + self.chunks[lower + 1].items.len();
        if both > CHUNK_ITEMS_MAX / 2 {
            return;
        }
        let upper = self.chunks.remove(lower + 1);
        self.bytes -= upper.bytes() + self.chunks[lower].bytes();
        self.chunks[lower].items.extend(upper.items);
        self.bytes += self.chunks[lower].bytes();
    }
}

/// Items in their order.
#[derive(Debug)]
pub struct Iter<'a, V> {
    map: &'a IdMap<V>,
    chunk: usize,
    at: usize,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (StreamId, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let chunk = self.map.chunks.get(self.chunk)?;
            if let Some((id, value)) = chunk.items.get(self.at) {
                self.at += 1;
                return Some((*id, value));
            }
            self.chunk += 1;
            self.at = 0;
        }
    }
}

/// Items backwards.
#[derive(Debug)]
pub struct IterBack<'a, V> {
    map: &'a IdMap<V>,
    chunk: usize,
    /// The items of the chunk that are still to come.
    left: usize,
}

impl<'a, V> Iterator for IterBack<'a, V> {
    type Item = (StreamId, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.left == 0 {
            self.chunk = self.chunk.checked_sub(1)?;
            self.left = self.map.chunks[self.chunk].items.len();
        }
        self.left -= 1;
        let (id, value) = &self.map.chunks[self.chunk].items[self.left];
        Some((*id, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::random::Random;

    fn id(number: u64) -> StreamId {
        StreamId {
            ms: number / 3,
            seq: number % 3,
        }
    }

    fn check(map: &IdMap<u64>, model: &BTreeMap<StreamId, u64>) {
        assert_eq!(map.len(), model.len());
        assert!(
            map.iter()
                .map(|(id, value)| (id, *value))
                .eq(model.iter().map(|(id, value)| (*id, *value)))
        );
        let bytes: usize = map.chunks.iter().map(Chunk::bytes).sum();
        assert_eq!(map.bytes, bytes);
        for chunk in &map.chunks {
            assert_eq!(Some(chunk.first), chunk.items.first().map(|item| item.0));
            assert!(chunk.items.len() <= CHUNK_ITEMS_MAX);
        }
    }

    #[test]
    fn the_map_behaves_as_a_sorted_map() {
        let mut random = Random::new(7);
        for insert_percent in [90, 50, 20] {
            let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
            for step in 0..20_000u64 {
                let key = id(random.below(3_000));
                if random.below(100) < insert_percent {
                    assert_eq!(map.insert(key, step), model.insert(key, step));
                } else if random.below(10) < 5 {
                    assert_eq!(map.remove(key), model.remove(&key));
                } else {
                    assert_eq!(map.pop_first(), model.pop_first());
                }
                let key = id(random.below(3_000));
                assert_eq!(map.get(key), model.get(&key));
                let from = map.iter_from(key).next();
                assert_eq!(from, model.range(key..).next().map(|(id, v)| (*id, v)));
                let back = map.iter_back_from(key).next();
                let model_back = model.range(..=key).next_back().map(|(id, v)| (*id, v));
                assert_eq!(back, model_back);
                let around = map.iter_around(key).next().map(|item| item.0);
                let first = model.keys().next().copied();
                assert_eq!(around, model_back.map(|item| item.0).or(first));
                assert_eq!(
                    map.last().map(|item| item.0),
                    model.keys().next_back().copied()
                );
                if step % 500 == 0 {
                    check(&map, &model);
                    assert!(map.iter_back_from(StreamId::MAX).count() == model.len());
                }
            }
            check(&map, &model);
            check(&map.clone(), &model);
            while map.drop_chunk() > 0 {}
            assert_eq!((map.len(), map.bytes), (0, 0));
        }
    }

    #[test]
    fn growing_ids_fill_chunks_and_leave_from_the_front() {
        let mut map = IdMap::default();
        for number in 0..10_000 {
            map.insert(id(number), number);
        }
        assert_eq!(map.chunk_count(), 10_000usize.div_ceil(CHUNK_ITEMS_MAX));
        for number in 0..10_000 {
            assert_eq!(map.pop_first(), Some((id(number), number)));
        }
        assert_eq!((map.len(), map.bytes), (0, 0));
    }
}
