//! LCS: the longest common subsequence of two strings.
//!
//! The usual table holds, for each prefix of `a` (row) and of `b` (column), the length of their longest common
//! subsequence. Neighbours in a row differ by 0 or 1, so a row is kept as bits: bit `j` says that the length grows from
//! column `j` to column `j + 1`. A row follows from the one before by an addition with carries over whole words
//! (Crochemore et al., 2001; Hyyrö, 2004), 64 columns at a time, and the bits are all that the way back needs:
//! where the two bytes differ, the way goes up exactly when the bit is set.

use bytes::Bytes;

use super::missed;
use crate::base::number::parse_i64;
use crate::command::{Cx, Done, Fault};
use crate::keyspace::StringView;

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
        Table {
            a,
            b,
            words,
            rows,
            len,
        }
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
        Masks {
            words,
            index,
            masks,
        }
    }

    #[inline]
    fn of(&self, byte: u8) -> Option<&[u64]> {
        let index = (self.index[byte as usize] as usize).checked_sub(1)?;
        Some(&self.masks[index * self.words..(index + 1) * self.words])
    }
}

pub(super) fn lcs(cx: &mut Cx<'_>) -> Done {
    let a = text_of(cx, 1)?;
    let b = text_of(cx, 2)?;
    let mut wanted = Wanted::Text;
    let (mut length, mut ranges, mut with_len) = (false, false, false);
    let mut len_min = 0;
    let mut at = 3;
    while at < cx.line.len() {
        if cx.line.is(at, "idx") {
            ranges = true;
            wanted = Wanted::Ranges;
        } else if cx.line.is(at, "len") {
            length = true;
            wanted = Wanted::Length;
        } else if cx.line.is(at, "withmatchlen") {
            with_len = true;
        } else if cx.line.is(at, "minmatchlen") && at + 1 < cx.line.len() {
            at += 1;
            let len = parse_i64(cx.line.arg(at)).ok_or(Fault::NotInteger)?;
            len_min = usize::try_from(len).unwrap_or(0);
        } else {
            return Err(Fault::Syntax);
        }
        at += 1;
    }
    if length && ranges {
        return Err(Fault::text(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    check_size(cx, a.len() as u64, b.len() as u64)?;
    match wanted {
        Wanted::Length => cx.reply.count(Table::new(&a, &b, false).len),
        Wanted::Text => cx.reply.bulk(&Table::new(&a, &b, true).text()),
        Wanted::Ranges => {
            let table = Table::new(&a, &b, true);
            cx.reply.map(2);
            cx.reply.bulk(b"matches");
            let begin = cx.reply.begin_array();
            let mut count = 0;
            table.stretches(|Stretch { a, b, len }| {
                if len < len_min {
                    return;
                }
                count += 1;
                cx.reply.array(2 + usize::from(with_len));
                for start in [a, b] {
                    cx.reply.array(2);
                    cx.reply.count(start);
                    cx.reply.count(start + len - 1);
                }
                if with_len {
                    cx.reply.count(len);
                }
            });
            cx.reply.end_array(begin, count);
            cx.reply.bulk(b"len");
            cx.reply.count(table.len);
        }
    }
    Ok(())
}

/// The string at a key argument, shared or copied: two entries cannot be borrowed at once. A missing key is empty.
fn text_of(cx: &mut Cx<'_>, index: usize) -> Result<Bytes, Fault> {
    let key = cx.key(index);
    let Some(entry) = cx.keyspace.read(cx.db, key) else {
        missed(cx, key);
        return Ok(Bytes::new());
    };
    match entry.string() {
        Ok(StringView::Shared(bytes)) => Ok(bytes.clone()),
        Ok(other) => Ok(Bytes::copy_from_slice(
            other.with_bytes(&mut itoa::Buffer::new()),
        )),
        Err(_) => Err(Fault::text(
            "ERR The specified keys must contain string values",
        )),
    }
}

/// Holds Redis's limit on the product of the lengths, which is of its table of 32-bit numbers. It also bounds the time that the
/// line takes.
fn check_size(cx: &Cx<'_>, a: u64, b: u64) -> Done {
    let too_long = u64::from(u32::MAX) - 1;
    if a >= too_long || b >= too_long {
        return Err(Fault::text("ERR String too long for LCS"));
    }
    if (a + 1) * (b + 1) > cx.config.proto_max_bulk_len / 4 {
        return Err(Fault::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}
