//! LCS: the longest common subsequence of two strings.
//!
//! The usual table holds, for each prefix of `a` (row) and of `b` (column), the length of their longest common
//! subsequence. Neighbours in a row differ by 0 or 1, so a row is kept as bits: bit `j` says that the length grows from
//! column `j` to column `j + 1`. A row follows from the one before by an addition with carries over whole words
//! (Crochemore et al., 2001; Hyyrö, 2004), 64 columns at a time, and the bits are all that the way back needs:
//! where the two bytes differ, the way goes up exactly when the bit is set.

use crate::command::{Cx, Done, Fault};
use crate::base::number::parse_i64;

/// What of the subsequence the client wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Text,
    Length,
    Ranges,
}

/// One stretch of equal bytes: where it starts in each string, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    a: usize,
    b: usize,
    len: usize,
}

/// The table of two strings as rows of bits.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    /// Words of a row.
    words: usize,
    /// The rows of `a`'s prefixes of one byte and more; only the last one when just the length is wanted.
    rows: Vec<u64>,
    /// The length of the subsequence.
    len: usize,
}

impl<'a> Table<'a> {
    /// Fills the table. With `whole` unset it only knows the length.
    fn new(a: &'a [u8], b: &'a [u8], whole: bool) -> Table<'a> {
        let words = b.len().div_ceil(64);
        let masks = Masks::new(b, words);
        let mut rows = Vec::with_capacity(if whole { a.len() * words } else { 0 });
        // The complement of a row: a set bit is a column where the length stays.
        let mut level = vec![u64::MAX; words];
        for &byte in a {
            if let Some(mask) = masks.of(byte) {
                let mut carry = false;
                for (level, &mask) in level.iter_mut().zip(mask) {
                    let (sum, over) = level.overflowing_add(*level & mask);
                    let (sum, over_again) = sum.overflowing_add(u64::from(carry));
                    carry = over | over_again;
                    *level = sum | (*level & !mask);
                }
            }
            if whole {
                rows.extend(level.iter().map(|level| !level));
            }
        }
        let len = level.iter().map(|level| level.count_zeros() as usize).sum();
        Table { a, b, words, rows, len }
    }

    /// The length grows at column `column` (0 is the first byte of `b`) in the row of the first `row + 1` bytes of `a`.
    #[inline]
    fn grows(&self, row: usize, column: usize) -> bool {
        self.rows[row * self.words + column / 64] >> (column % 64) & 1 == 1
    }

    /// Walks back through the table and hands out the stretches of the subsequence, the last one first.
    fn stretches(&self, mut each: impl FnMut(Stretch)) {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        let mut len = 0;
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                len += 1;
                i -= 1;
                j -= 1;
                continue;
            }
            if len > 0 {
                each(Stretch { a: i, b: j, len });
                len = 0;
            }
            if self.grows(i - 1, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        if len > 0 {
            each(Stretch { a: i, b: j, len });
        }
    }

    /// The subsequence itself.
    fn text(&self) -> Vec<u8> {
        let mut text = vec![0; self.len];
        let mut end = self.len;
        self.stretches(|stretch| {
            let start = end - stretch.len;
            text[start..end].copy_from_slice(&self.a[stretch.a..stretch.a + stretch.len]);
            end = start;
        });
        text
    }
}

/// For each byte that a string has, the columns where it stands.
struct Masks {
    words: usize,
    /// Index of a byte's mask, plus one; 0 for a byte that the string does not have.
    index: [u16; 256],
    masks: Vec<u64>,
}

impl Masks {
    fn new(text: &[u8], words: usize) -> Masks {
        let mut index = [0u16; 256];
        let mut masks = Vec::new();
        let mut kinds = 0;
        for (column, &byte) in text.iter().enumerate() {
            if index[byte as usize] == 0 {
                kinds += 1;
                index[byte as usize] = kinds;
                masks.resize(kinds as usize * words, 0);
            }
            masks[(index[byte as usize] as usize - 1) * words + column / 64] |= 1 << (column % 64);
        }
        Masks { words, index, masks }
    }

    #[inline]
    fn of(&self, byte: u8) -> Option<&[u64]> {
        let index = (self.index[byte as usize] as usize).checked_sub(1)?;
        Some(&self.masks[index * self.words..(index + 1) * self.words])
    }
}
