//! A set of integers, sorted, in the exact bytes of Redis's intset.
//!
//! ```text
//!   header    | bytes of an integer u32: 2, 4 or 8 | integers u32 |          little endian
//!   integers  | ascending, each of that width, two's complement, little endian |
//! ```
//!
//! The width is that of the widest integer that was ever in. Since the bytes are Redis's own, they go into a dump or a
//! snapshot, and come out of one, as they are.
//!
//! Lives in a small set, as one word.

mod block;

use block::{Block, HEADER_BYTES};

use crate::structures::listpack::Corrupt;

/// Integers in ascending order; one word.
#[derive(Clone, Default)]
pub struct Ints(Block);

/// The bytes that an integer takes.
#[inline]
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// Reads the integers of a body.
#[inline]
fn read(body: &[u8], width: usize, index: usize) -> i64 {
    let bytes = &body[index * width..][..width];
    match *bytes {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => i64::from_le_bytes(*bytes.first_chunk().expect("no other width")),
    }
}

/// Writes an integer, which fits the width, to a body.
#[inline]
fn write(body: &mut [u8], width: usize, index: usize, value: i64) {
    body[index * width..][..width].copy_from_slice(&value.to_le_bytes()[..width]);
}

impl Ints {
    /// Takes over the serialised form after checking all of it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Ints, Corrupt> {
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Corrupt)?;
        let [a, b, c, d, e, f, g, h] = *header;
        let width = u32::from_le_bytes([a, b, c, d]) as usize;
        let len = u32::from_le_bytes([e, f, g, h]) as usize;
        if !matches!(width, 2 | 4 | 8) || len.checked_mul(width) != Some(body.len()) {
            return Err(Corrupt);
        }
        let ascends = |index| read(body, width, index - 1) < read(body, width, index);
        if !(1..len).all(ascends) {
            return Err(Corrupt);
        }
        let mut block = Block::default();
        block.resize(width, len);
        block.body_mut().copy_from_slice(body);
        Ok(Ints(block))
    }

    /// The serialised form.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Memory of the allocation in bytes; 0 when empty.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// The number of integers.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is no integer.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integer at an index, in ascending order.
    #[inline]
    pub fn get(&self, index: usize) -> i64 {
        read(self.0.body(), self.0.width(), index)
    }

    /// The smallest and the largest integer.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let last = self.len().checked_sub(1)?;
        Some((self.get(0), self.get(last)))
    }

    /// All integers, ascending.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        let (body, width) = (self.0.body(), self.0.width());
        (0..self.len()).map(move |index| read(body, width, index))
    }

    /// The integer is in.
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        width_of(value) <= self.0.width() && self.search(value).is_ok()
    }

    /// Adds an integer; says whether it is new.
    pub fn insert(&mut self, value: i64) -> bool {
        let (width, len) = (self.0.width(), self.len());
        if width_of(value) > width {
            self.widen(value);
            return true;
        }
        let Err(index) = self.search(value) else {
            return false;
        };
        self.0.resize(width, len + 1);
        let body = self.0.body_mut();
        body.copy_within(index * width..len * width, (index + 1) * width);
        write(body, width, index, value);
        true
    }

    /// Removes an integer; says whether it was in.
    pub fn remove(&mut self, value: i64) -> bool {
        if width_of(value) > self.0.width() {
            return false;
        }
        let found = self.search(value);
        if let Ok(index) = found {
            self.remove_at(index);
        }
        found.is_ok()
    }

    /// Removes the integer at an index.
    pub fn remove_at(&mut self, index: usize) {
        let (width, len) = (self.0.width(), self.len());
        let body = self.0.body_mut();
        body.copy_within((index + 1) * width.., index * width);
        self.0.resize(width, len - 1);
    }

    /// Keeps the integers that `keep` wants, which is asked for each, ascending.
    pub fn retain(&mut self, mut keep: impl FnMut(i64) -> bool) {
        let (width, len) = (self.0.width(), self.len());
        let body = self.0.body_mut();
        let mut kept = 0;
        for index in 0..len {
            let value = read(body, width, index);
            if keep(value) {
                write(body, width, kept, value);
                kept += 1;
            }
        }
        self.0.resize(width, kept);
    }

    /// Adds an integer that is wider than all before, and so smaller or larger than each.
    fn widen(&mut self, value: i64) {
        let (old, width, len) = (self.0.width(), width_of(value), self.len());
        self.0.resize(width, len + 1);
        let body = self.0.body_mut();
        let shift = usize::from(value < 0);
        // From the last on, as the wide places of the first lie where narrow ones are still to be read.
        for index in (0..len).rev() {
            let moved = read(body, old, index);
            write(body, width, index + shift, moved);
        }
        write(body, width, if value < 0 { 0 } else { len }, value);
    }

    /// Where the integer is, or else belongs.
    #[inline]
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (body, len) = (self.0.body(), self.len());
        match self.0.width() {
            2 => search(len, value, |index| read(body, 2, index)),
            4 => search(len, value, |index| read(body, 4, index)),
            _ => search(len, value, |index| read(body, 8, index)),
        }
    }
}

#[inline]
fn search(len: usize, value: i64, at: impl Fn(usize) -> i64) -> Result<usize, usize> {
    // Ids come in ascending order often.
    if len == 0 || at(len - 1) < value {
        return Err(len);
    }
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if at(middle) < value {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if at(low) == value { Ok(low) } else { Err(low) }
}

impl std::fmt::Debug for Ints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
