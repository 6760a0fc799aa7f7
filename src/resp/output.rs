//! Outgoing bytes: replies one after the other, large values by reference.
//!
//! ```text
//! bytes   |$2\r\nab\r\n$20000\r\n|\r\n+OK\r\n|
//! shared                         ^ at: 20000 bytes that lie elsewhere
//! ```
//!
//! Small replies are copied into one growing buffer; a large value is kept as [`Bytes`] together with the place in
//! the buffer where it belongs. An output of a million small replies is one allocation, and a value of 100 MB is sent
//! from where the table holds it. An `Output` belongs to one session, or travels as part of one batch.
//!
//! Invariants:
//! - `shared` is in order of `at`, and `at` is at most `bytes.len()`. Several may have the same `at`.
//! - `start` bytes of `bytes` are sent already, and so are `skip` bytes of the first shared string.
//! - A shared string only ever is the payload of a bulk: headers and line ends are always in `bytes`.

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;

use super::line::BIG_ARGUMENT_BYTES_MIN;

/// A value of this many bytes or more is sent from where it lies; copying is cheaper for a smaller one.
pub const SHARED_BYTES_MIN: usize = BIG_ARGUMENT_BYTES_MIN;

/// The capacity that a cleared output keeps for its next use.
const KEPT_CAPACITY_BYTES_MAX: usize = 64 * 1024;

/// A string by reference within the output.
#[derive(Clone, Debug)]
struct Shared {
    /// Its place: before `bytes[at]`.
    at: usize,
    /// The sum of the lengths of the shared strings before it, those that are sent already included.
    before: usize,
    text: Bytes,
}

/// What lies at a position of the output.
enum Piece<'a> {
    /// Own bytes, up to the next shared string.
    Copied(&'a [u8]),
    /// A shared string, from the offset on.
    Shared(&'a Bytes, usize),
}

/// Outgoing bytes, contiguous but for large values.
#[derive(Clone, Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// The bytes before this are sent.
    start: usize,
    shared: Vec<Shared>,
    /// The shared strings before this one are sent.
    first_shared: usize,
    /// So much of `shared[first_shared]` is sent.
    skip: usize,
    /// The sum of the lengths of all of `shared`.
    shared_bytes: usize,
    /// So many bytes of `shared` are sent.
    shared_sent: usize,
}

/// A place within an output, to insert a header at or to cut the output off at. Valid until bytes before it are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    shared: usize,
}

impl Mark {
    /// The place `count` copied bytes further.
    pub(super) fn behind(self, count: usize) -> Mark {
        Mark {
            bytes: self.bytes + count,
            ..self
        }
    }

    /// Corrects a mark for `count` bytes that were inserted at `at`.
    pub(super) fn moved_by_insert(&mut self, at: Mark, count: usize) {
        if self.bytes > at.bytes || (self.bytes == at.bytes && self.shared > at.shared) {
            self.bytes += count;
        }
    }
}

impl Output {
    /// An empty output; allocates nothing.
    pub const fn new() -> Output {
        Output {
            bytes: Vec::new(),
            start: 0,
            shared: Vec::new(),
            first_shared: 0,
            skip: 0,
            shared_bytes: 0,
            shared_sent: 0,
        }
    }

    /// The number of bytes that are still to be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start + self.shared_bytes - self.shared_sent
    }

    /// Nothing is to be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends `text`: by reference when it is large, else as a copy.
    #[inline]
    pub fn push_shared(&mut self, text: Bytes) {
        if text.len() < SHARED_BYTES_MIN {
            self.bytes.extend_from_slice(&text);
        } else {
            self.push_reference(text);
        }
    }

    fn push_reference(&mut self, text: Bytes) {
        let before = self.shared_bytes;
        self.shared_bytes += text.len();
        self.shared.push(Shared {
            at: self.bytes.len(),
            before,
            text,
        });
    }

    /// The buffer that takes what is copied; only ever append to it.
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The place where the next byte goes.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            shared: self.shared.len(),
        }
    }

    /// The copied bytes behind `mark`.
    pub(super) fn bytes_from(&self, mark: Mark) -> &[u8] {
        &self.bytes[mark.bytes..]
    }

    /// Removes everything behind `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        debug_assert!(mark.bytes >= self.start && mark.shared >= self.first_shared);
        self.bytes.truncate(mark.bytes);
        for removed in self.shared.drain(mark.shared..) {
            self.shared_bytes -= removed.text.len();
        }
    }

    /// Puts `header` at `mark`, before everything that was appended since.
    pub fn insert(&mut self, mark: Mark, header: &[u8]) {
        debug_assert!(mark.bytes >= self.start && mark.shared >= self.first_shared);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(header);
        if mark.bytes < end {
            self.bytes
                .copy_within(mark.bytes..end, mark.bytes + header.len());
            self.bytes[mark.bytes..mark.bytes + header.len()].copy_from_slice(header);
        }
        for shared in &mut self.shared[mark.shared..] {
            shared.at += header.len();
        }
    }

    /// The pieces that are to be sent, in order; none is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let piece = self.piece(at)?;
            at += piece.len();
            Some(piece)
        })
    }

    /// Fills `slices` with the first pieces for a vectored write and returns their number.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(self.pieces()) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// The longest contiguous run of bytes from `at` (counted from the first byte that is to be sent), or `None` at
    /// the end.
    #[inline]
    pub fn piece(&self, at: usize) -> Option<&[u8]> {
        if self.first_shared == self.shared.len() {
            let rest = &self.bytes[self.start..];
            return rest.get(at..).filter(|piece| !piece.is_empty());
        }
        Some(match self.find(at)? {
            Piece::Copied(bytes) => bytes,
            Piece::Shared(text, offset) => &text[offset..],
        })
    }

    fn find(&self, at: usize) -> Option<Piece<'_>> {
        if at >= self.len() {
            return None;
        }
        let position = at + self.start + self.shared_sent;
        // The shared strings that begin at or before the position; the last of them may hold it.
        let passed = self
            .shared
            .partition_point(|shared| shared.at + shared.before <= position);
        if let Some(shared) = passed.checked_sub(1).map(|last| &self.shared[last]) {
            let offset = position - shared.at - shared.before;
            if offset < shared.text.len() {
                return Some(Piece::Shared(&shared.text, offset));
            }
        }
        let (before, end) = match self.shared.get(passed) {
            Some(next) => (next.before, next.at),
            None => (self.shared_bytes, self.bytes.len()),
        };
        Some(Piece::Copied(&self.bytes[position - before..end]))
    }

    /// Notes that the first `count` bytes are sent. `count` is at most [`Output::len`].
    pub fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        if count >= self.len() {
            return self.clear();
        }
        let mut left = count;
        while left > 0 {
            let next = self.shared.get(self.first_shared);
            let plain = next.map_or(self.bytes.len(), |shared| shared.at) - self.start;
            let step = plain.min(left);
            self.start += step;
            left -= step;
            let Some(shared) = next.filter(|_| step == plain) else {
                continue;
            };
            let step = (shared.text.len() - self.skip).min(left);
            self.skip += step;
            self.shared_sent += step;
            left -= step;
            if self.skip == shared.text.len() {
                self.skip = 0;
                // The memory of what is sent goes back at once; the element itself follows with the others.
                self.shared[self.first_shared].text = Bytes::new();
                self.first_shared += 1;
            }
        }
        self.drop_sent();
    }

    /// Moves what is left to the front once at least half of the buffer is sent: each byte moves once on average.
    fn drop_sent(&mut self) {
        if self.start < KEPT_CAPACITY_BYTES_MAX || self.start * 2 < self.bytes.len() {
            return;
        }
        self.bytes.drain(..self.start);
        self.shared.drain(..self.first_shared);
        let gone = self.shared_sent - self.skip;
        for shared in &mut self.shared {
            shared.at -= self.start;
            shared.before -= gone;
        }
        self.shared_bytes -= gone;
        self.shared_sent = self.skip;
        self.start = 0;
        self.first_shared = 0;
    }

    /// Removes everything; a modest capacity stays for the next use.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_CAPACITY_BYTES_MAX {
            self.bytes.shrink_to(KEPT_CAPACITY_BYTES_MAX);
        }
        self.shared = Vec::new();
        self.start = 0;
        self.first_shared = 0;
        self.skip = 0;
        self.shared_bytes = 0;
        self.shared_sent = 0;
    }

    /// Gives all memory back that holds no bytes.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.shared.shrink_to_fit();
    }

    /// The memory of the output's own buffers and of the strings that it refers to, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let own = self.bytes.capacity() + self.shared.capacity() * size_of::<Shared>();
        own + self.shared_bytes - self.shared_sent
    }

    /// Moves everything from `other` behind what is here; `other` is empty then.
    pub fn append(&mut self, other: &mut Output) {
        if self.is_empty() && other.bytes.len() >= KEPT_CAPACITY_BYTES_MAX {
            std::mem::swap(self, other);
        } else {
            self.append_range(other, 0..other.len());
        }
        other.clear();
    }

    /// Appends the bytes `range` of `other`, counted from its first byte that is to be sent: large values by
    /// reference, the others as a copy.
    pub fn append_range(&mut self, other: &Output, range: Range<usize>) {
        debug_assert!(range.end <= other.len());
        let mut at = range.start;
        while at < range.end {
            let left = range.end - at;
            match other.find(at) {
                Some(Piece::Copied(bytes)) => {
                    let bytes = &bytes[..bytes.len().min(left)];
                    self.extend(bytes);
                    at += bytes.len();
                }
                Some(Piece::Shared(text, offset)) => {
                    let end = text.len().min(offset + left);
                    self.push_shared(text.slice(offset..end));
                    at += end - offset;
                }
                None => return,
            }
        }
    }

    /// A copy of everything that is to be sent, in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        for piece in self.pieces() {
            all.extend_from_slice(piece);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn large(random: &mut Random) -> Bytes {
        let mut text = vec![0; SHARED_BYTES_MIN + random.index(5)];
        random.fill(&mut text);
        Bytes::from(text)
    }

    /// Appends the same random bytes to both.
    fn grow(random: &mut Random, out: &mut Output, model: &mut Vec<u8>) {
        if random.one_in(4) {
            let text = large(random);
            model.extend_from_slice(&text);
            out.push_shared(text);
        } else {
            let mut text = vec![0; random.index(20)];
            random.fill(&mut text);
            if random.one_in(50) {
                text.resize(70_000, 7);
            }
            model.extend_from_slice(&text);
            out.extend(&text);
        }
    }

    fn check(out: &Output, model: &[u8], random: &mut Random) {
        assert_eq!(out.len(), model.len());
        assert_eq!(out.is_empty(), model.is_empty());
        assert!(out.pieces().all(|piece| !piece.is_empty()));
        assert!(out.to_vec() == model);
        let mut slices = [IoSlice::new(&[]); 3];
        let count = out.io_slices(&mut slices);
        let gathered: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        assert!(model.starts_with(&gathered) && (count == 3 || gathered == model));
        if !model.is_empty() {
            let start = random.index(model.len());
            let end = start + random.index(model.len() - start + 1);
            let mut part = Output::new();
            part.extend(b"x");
            part.append_range(out, start..end);
            assert!(part.to_vec()[1..] == model[start..end]);
        }
    }

    #[test]
    fn an_output_behaves_like_one_long_string() {
        for seed in 0..12 {
            let mut random = Random::new(seed);
            let (mut out, mut model) = (Output::new(), Vec::new());
            for _ in 0..60 {
                match random.index(8) {
                    0..4 => grow(&mut random, &mut out, &mut model),
                    4 | 5 => {
                        let count = match random.one_in(5) {
                            true => model.len(),
                            false => random.index(model.len().min(60_000) + 1),
                        };
                        out.advance(count);
                        model.drain(..count);
                    }
                    6 => {
                        let (mark, len) = (out.mark(), model.len());
                        grow(&mut random, &mut out, &mut model);
                        grow(&mut random, &mut out, &mut model);
                        if random.one_in(2) {
                            out.truncate(mark);
                            model.truncate(len);
                        } else {
                            out.insert(mark, b"*12\r\n");
                            model.splice(len..len, *b"*12\r\n");
                        }
                    }
                    _ => {
                        let (mut other, mut other_model) = (Output::new(), Vec::new());
                        grow(&mut random, &mut other, &mut other_model);
                        grow(&mut random, &mut other, &mut other_model);
                        out.append(&mut other);
                        model.append(&mut other_model);
                        assert!(other.is_empty());
                    }
                }
                check(&out, &model, &mut random);
            }
        }
    }

    #[test]
    fn large_values_are_not_copied() {
        let text = Bytes::from(vec![1; SHARED_BYTES_MIN]);
        let mut out = Output::new();
        out.extend(b"$16384\r\n");
        out.push_shared(text.clone());
        out.extend(b"\r\n");
        let mut second = Output::new();
        second.append_range(&out, 0..out.len());
        assert!(second.pieces().any(|piece| piece.as_ptr() == text.as_ptr()));
        assert!(second.memory_bytes() >= SHARED_BYTES_MIN);
        second.advance(8 + SHARED_BYTES_MIN);
        assert_eq!(second.to_vec(), b"\r\n");
    }

    #[test]
    fn a_cleared_output_keeps_little_memory() {
        let mut out = Output::new();
        assert_eq!(out.memory_bytes(), 0);
        out.extend(&vec![0; 10 << 20]);
        out.advance(10 << 20);
        assert!(out.memory_bytes() <= KEPT_CAPACITY_BYTES_MAX);
        out.shrink();
        assert_eq!(out.memory_bytes(), 0);
    }

    #[test]
    fn an_output_that_is_never_empty_does_not_grow_for_ever() {
        let mut out = Output::new();
        out.extend(b"x");
        for _ in 0..10_000 {
            out.extend(&[0; 1000]);
            out.advance(1000);
        }
        assert_eq!(out.len(), 1);
        assert!(out.memory_bytes() < 4 * KEPT_CAPACITY_BYTES_MAX);
    }
}
