//! A listpack: small elements one behind the other in one allocation, in the exact bytes of Redis's format.
//!
//! Lives in the compact forms of the collections and in the nodes of lists and streams. Since the bytes are those of
//! Redis's own listpack, they go into a dump or a snapshot, and come out of one, as they are.
//!
//! ```text
//!   header             | bytes in all u32 | elements u16 |                 little endian; 65,535 elements: unknown
//!   element            | encoding 1..=9 | data | back length 1..=5 |       back length: of encoding and data
//!   end                | 0xFF |
//! ```
//!
//! A position is the offset of an element in the bytes. It stays right until something before it changes.
//!
//! Invariants:
//! - Elements that are canonical integers are stored as integers when they are put in.
//! - Without elements there is no allocation; else the block is as long as the size class of its bytes, so that the owner
//!   is one word and the layout is known when it is freed.
//! - Bytes from outside are checked in full by [`Listpack::from_bytes`]; every other access is bounds-checked all the same.

mod block;
mod element;
mod iter;
#[cfg(test)]
mod tests;

pub use element::{Element, Needle};
pub use iter::Iter;

use block::{Block, HEADER_BYTES};
use element::{Room, decode, encoded_bytes, entry_bytes, previous, shape};

/// The offset of an element in the bytes of its listpack.
pub type Pos = usize;

/// No listpack grows beyond this.
const BYTES_MAX: usize = 1 << 30;

/// More than an element takes beside its data.
const OVERHEAD_BYTES_MAX: usize = 10;

/// The number of elements that says that somebody has to count.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Bytes that are no listpack, or none that can hold what it is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt data")]
pub struct Corrupt;

/// Small elements in one allocation; one word.
#[derive(Clone, Default)]
pub struct Listpack(Block);

impl Listpack {
    /// Without elements and without an allocation.
    pub const fn new() -> Listpack {
        Listpack(Block::EMPTY)
    }

    /// Takes over the serialised form, header and end included, after checking all of it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Listpack, Corrupt> {
        let total = bytes.first_chunk().copied().map(u32::from_le_bytes);
        if total.map(|total| total as usize) != Some(bytes.len()) || bytes.len() <= HEADER_BYTES {
            return Err(Corrupt);
        }
        let end = bytes.len() - 1;
        let (mut pos, mut count) = (HEADER_BYTES, 0usize);
        while pos < end {
            let (head, data) = shape(&bytes[pos..end]).ok_or(Corrupt)?;
            let length = head + data;
            let next = pos + length + element::back_length_bytes(length);
            if next > end || previous(bytes, next) != Some(pos) {
                return Err(Corrupt);
            }
            pos = next;
            count += 1;
        }
        let announced = u16::from_le_bytes([bytes[4], bytes[5]]);
        if bytes[end] != block::END
            || (announced != COUNT_UNKNOWN && usize::from(announced) != count)
        {
            return Err(Corrupt);
        }
        let mut listpack = Listpack(Block::copy(bytes));
        listpack.set_count(count);
        Ok(listpack)
    }

    /// The serialised form, header and end included.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The length of the serialised form.
    #[inline]
    pub fn bytes_len(&self) -> usize {
        self.0.bytes().len()
    }

    /// Memory of the allocation in bytes; 0 when empty.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// The number of elements. Counts them all when there are more than 65,534.
    #[inline]
    pub fn len(&self) -> usize {
        match self.0.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// There is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes_len() == HEADER_BYTES + 1
    }

    /// Another `extra` bytes of data, spread over any number of elements that is small beside them, can be put in.
    #[inline]
    pub fn would_fit(&self, extra: usize) -> bool {
        self.bytes_len()
            .checked_add(extra)
            .is_some_and(|bytes| bytes <= BYTES_MAX)
    }

    /// The first element.
    #[inline]
    pub fn first(&self) -> Option<Pos> {
        (!self.is_empty()).then_some(HEADER_BYTES)
    }

    /// The last element.
    #[inline]
    pub fn last(&self) -> Option<Pos> {
        self.prev(self.end())
    }

    /// The element behind `pos`.
    #[inline]
    pub fn next(&self, pos: Pos) -> Option<Pos> {
        self.not_end(pos + entry_bytes(self.as_bytes(), pos))
    }

    /// The element before `pos`, which may also be [`Listpack::end`].
    #[inline]
    pub fn prev(&self, pos: Pos) -> Option<Pos> {
        if pos <= HEADER_BYTES {
            return None;
        }
        previous(self.as_bytes(), pos)
    }

    /// The position behind the last element, where [`Listpack::insert_before`] appends.
    #[inline]
    pub fn end(&self) -> Pos {
        self.bytes_len() - 1
    }

    /// The element at `pos`.
    #[inline]
    pub fn get(&self, pos: Pos) -> Element<'_> {
        decode(self.as_bytes(), pos).0
    }

    /// The element at an index; a negative one counts from the end, -1 being the last.
    pub fn seek(&self, index: isize) -> Option<Pos> {
        let (mut steps, mut backwards) = if index < 0 {
            (index.unsigned_abs() - 1, true)
        } else {
            (index.unsigned_abs(), false)
        };
        let count = self.0.count();
        if count != COUNT_UNKNOWN {
            let count = usize::from(count);
            if steps >= count {
                return None;
            }
            if steps > count / 2 {
                steps = count - 1 - steps;
                backwards = !backwards;
            }
        }
        if backwards {
            let mut pos = self.last()?;
            for _ in 0..steps {
                pos = self.prev(pos)?;
            }
            Some(pos)
        } else {
            let mut pos = self.first()?;
            for _ in 0..steps {
                pos = self.next(pos)?;
            }
            Some(pos)
        }
    }

    /// All elements, from either end.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self.as_bytes(), HEADER_BYTES, self.end())
    }

    /// The elements from `pos` on.
    #[inline]
    pub fn iter_from(&self, pos: Pos) -> Iter<'_> {
        Iter::new(self.as_bytes(), pos, self.end())
    }

    /// The elements before `pos`; reversed, this walks from `pos` towards the first.
    #[inline]
    pub fn iter_before(&self, pos: Pos) -> Iter<'_> {
        Iter::new(self.as_bytes(), HEADER_BYTES, pos)
    }

    /// The elements from `from` on that stand before `to`.
    #[inline]
    pub fn iter_between(&self, from: Pos, to: Pos) -> Iter<'_> {
        Iter::new(self.as_bytes(), from, to)
    }

    /// The first element from `pos` on that is `needle`. Between two elements that are compared, `skip` are passed over:
    /// of pairs, 1 compares the fields alone.
    pub fn find(&self, pos: Pos, needle: &[u8], skip: usize) -> Option<Pos> {
        let bytes = self.as_bytes();
        let end = self.end();
        let needle = Needle::new(needle);
        let mut pos = pos;
        while pos < end {
            let (element, length) = decode(bytes, pos);
            if needle.is(element) {
                return Some(pos);
            }
            pos += length;
            for _ in 0..skip {
                if pos >= end {
                    return None;
                }
                pos += entry_bytes(bytes, pos);
            }
        }
        None
    }

    /// Appends an element.
    #[inline]
    pub fn push_back(&mut self, bytes: &[u8]) {
        self.put(self.end(), 0, Element::of(bytes));
    }

    /// Appends an integer.
    #[inline]
    pub fn push_back_int(&mut self, integer: i64) {
        self.put(self.end(), 0, Element::Int(integer));
    }

    /// Appends an element of another listpack, in the form that it has there.
    #[inline]
    pub fn push_back_element(&mut self, element: Element<'_>) {
        self.put(self.end(), 0, element);
    }

    /// Appends the elements that `each` gives to what it is handed, with room made once for all of them: it is called twice, and
    /// gives the same both times.
    #[inline]
    pub fn push_back_all(&mut self, each: impl Fn(&mut dyn FnMut(Element<'_>))) {
        let (mut bytes, mut added) = (0, 0);
        each(&mut |element| {
            bytes += encoded_bytes(element);
            added += 1;
        });
        let count = self.0.count();
        self.0.splice(self.end(), 0, bytes, |room| {
            each(&mut |element| room.put(element));
        });
        if count != COUNT_UNKNOWN {
            self.set_count(usize::from(count) + added);
        }
    }

    /// Puts an element in front.
    #[inline]
    pub fn push_front(&mut self, bytes: &[u8]) {
        self.put(HEADER_BYTES, 0, Element::of(bytes));
    }

    /// Puts an element in front of the one at `pos`, which may also be [`Listpack::end`]; returns its position.
    #[inline]
    pub fn insert_before(&mut self, pos: Pos, bytes: &[u8]) -> Pos {
        self.put(pos, 0, Element::of(bytes));
        pos
    }

    /// Puts an integer in front of the element at `pos`, which may also be [`Listpack::end`]; returns its position.
    #[inline]
    pub fn insert_before_int(&mut self, pos: Pos, integer: i64) -> Pos {
        self.put(pos, 0, Element::Int(integer));
        pos
    }

    /// Puts an element behind the one at `pos`; returns its position.
    #[inline]
    pub fn insert_after(&mut self, pos: Pos, bytes: &[u8]) -> Pos {
        let pos = pos + entry_bytes(self.as_bytes(), pos);
        self.insert_before(pos, bytes)
    }

    /// Puts another element in the place of the one at `pos`; returns its position, which is the same.
    #[inline]
    pub fn replace(&mut self, pos: Pos, bytes: &[u8]) -> Pos {
        let removed = entry_bytes(self.as_bytes(), pos);
        self.put(pos, removed, Element::of(bytes));
        pos
    }

    /// Puts an integer in the place of the element at `pos`; returns its position, which is the same.
    #[inline]
    pub fn replace_int(&mut self, pos: Pos, integer: i64) -> Pos {
        let removed = entry_bytes(self.as_bytes(), pos);
        self.put(pos, removed, Element::Int(integer));
        pos
    }

    /// Removes the element at `pos`; returns the position of the one behind it.
    #[inline]
    pub fn remove(&mut self, pos: Pos) -> Option<Pos> {
        self.cut(pos, pos + entry_bytes(self.as_bytes(), pos), 1);
        self.not_end(pos)
    }

    /// Removes up to `count` elements from `pos` on; returns the position of the one behind them.
    pub fn remove_range(&mut self, pos: Pos, count: usize) -> Option<Pos> {
        let (bytes, end) = (self.as_bytes(), self.end());
        let (mut to, mut removed) = (pos, 0);
        while removed < count && to < end {
            to += entry_bytes(bytes, to);
            removed += 1;
        }
        self.cut(pos, to, removed);
        self.not_end(pos)
    }

    /// Keeps the first `count` elements only.
    pub fn truncate(&mut self, count: usize) {
        let len = self.len();
        if count >= len {
            return;
        }
        if let Ok(index) = isize::try_from(count)
            && let Some(pos) = self.seek(index)
        {
            self.cut(pos, self.end(), len - count);
        }
    }

    /// Keeps the elements that `keep` says yes to, in one pass. It is called once per element, in order.
    pub fn retain(&mut self, mut keep: impl FnMut(Element<'_>) -> bool) {
        let end = self.end();
        let (mut from, mut to, mut kept) = (HEADER_BYTES, HEADER_BYTES, 0);
        while from < end {
            let (element, length) = decode(self.as_bytes(), from);
            if keep(element) {
                if from != to {
                    self.0.move_bytes(from, length, to);
                }
                to += length;
                kept += 1;
            }
            from += length;
        }
        if to != end {
            self.0.cut(to, end - to);
            self.set_count(kept);
        }
    }

    /// Takes out the elements from `pos` on into a listpack of their own.
    pub fn split_off(&mut self, pos: Pos) -> Listpack {
        let mut tail = Listpack::new();
        if pos < self.end() {
            let moved = self.iter_from(pos).count();
            tail.append_encoded(&self.as_bytes()[pos..self.end()], moved);
            self.cut(pos, self.end(), moved);
        }
        tail
    }

    /// Appends all elements of `other`.
    pub fn append(&mut self, other: &Listpack) {
        if other.is_empty() {
            return;
        }
        let elements = &other.as_bytes()[HEADER_BYTES..other.end()];
        self.append_encoded(elements, self.len() + other.len());
    }

    /// Puts an element in the place of `removed` bytes (none, or those of one element) at `pos`.
    #[inline]
    fn put(&mut self, pos: Pos, removed: usize, element: Element<'_>) {
        let count = self.0.count();
        self.0.splice(pos, removed, encoded_bytes(element), |room| {
            room.put(element)
        });
        if removed == 0 && count != COUNT_UNKNOWN {
            self.0.write_count(count + 1);
        }
    }

    /// Removes the bytes of `removed` elements.
    #[inline]
    fn cut(&mut self, from: Pos, to: Pos, removed: usize) {
        if from == to {
            return;
        }
        let count = self.0.count();
        self.0.cut(from, to - from);
        if count != COUNT_UNKNOWN {
            self.0.write_count(count - removed as u16);
        } else {
            let count = self.iter().count();
            self.set_count(count);
        }
    }

    /// Appends whole elements, after which there are `count` in all.
    fn append_encoded(&mut self, elements: &[u8], count: usize) {
        self.0
            .splice(self.end(), 0, elements.len(), |room| room.bytes(elements));
        self.set_count(count);
    }

    fn set_count(&mut self, count: usize) {
        self.0
            .write_count(u16::try_from(count).unwrap_or(COUNT_UNKNOWN));
    }

    #[inline]
    fn not_end(&self, pos: Pos) -> Option<Pos> {
        (pos < self.end()).then_some(pos)
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Elements in a growing buffer, for a listpack of many elements that is allocated once.
pub struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    /// Room for about `bytes` bytes of elements.
    pub fn with_capacity(bytes: usize) -> Builder {
        let mut buffer = Vec::with_capacity(bytes);
        buffer.clear();
        Builder {
            bytes: buffer,
            count: 0,
        }
    }

    /// Appends an element.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.put(Element::of(bytes));
    }

    /// Appends an integer.
    #[inline]
    pub fn push_int(&mut self, integer: i64) {
        self.put(Element::Int(integer));
    }

    /// Appends an element of another listpack, in the form that it has there.
    #[inline]
    pub fn push_element(&mut self, element: Element<'_>) {
        self.put(element);
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// There is no element.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Another `extra` bytes of data, spread over any number of elements that is small beside them, can be put in.
    pub fn would_fit(&self, extra: usize) -> bool {
        self.bytes
            .len()
            .checked_add(extra)
            .is_some_and(|bytes| bytes <= BYTES_MAX - HEADER_BYTES)
    }

    /// The listpack.
    pub fn finish(self) -> Listpack {
        let mut listpack = Listpack::new();
        if self.count > 0 {
            listpack.append_encoded(&self.bytes, self.count);
        }
        listpack
    }

    #[inline]
    fn put(&mut self, element: Element<'_>) {
        let bytes = encoded_bytes(element);
        self.bytes.reserve(bytes);
        let mut room = Room::new(&mut self.bytes.spare_capacity_mut()[..bytes]);
        room.put(element);
        assert!(room.is_full(), "an element without gaps");
        // SAFETY: these bytes behind the length are reserved, and were just filled.
        unsafe { self.bytes.set_len(self.bytes.len() + bytes) };
        self.count += 1;
    }
}

/// The bytes that an element with this data takes at most.
#[inline]
pub const fn element_bytes_max(data: usize) -> usize {
    data.saturating_add(OVERHEAD_BYTES_MAX)
}
