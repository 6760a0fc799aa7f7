//! LZF, the compression of long strings in RDB data.
//!
//! Compressed bytes are a sequence of
//!
//! ```text
//!   000nnnnn  n + 1 bytes follow as they are
//!   lllooooo  oooooooo            a copy of l + 2 bytes (l from 1 to 6) that begin o + 1 bytes before the end
//!   111ooooo  llllllll  oooooooo  a copy of l + 9 bytes
//! ```
//!
//! The compressor looks for earlier occurrences of the next three bytes in a table of their hashes, takes the last one, and
//! goes in larger steps the longer it finds nothing.

/// The most bytes behind which a copy may begin.
const DISTANCE_MAX: usize = 1 << 13;
/// The longest copy.
const COPY_BYTES_MAX: usize = 264;
/// The shortest copy worth its bytes.
const COPY_BYTES_MIN: usize = 3;
/// The longest run of plain bytes.
const PLAIN_BYTES_MAX: usize = 32;
/// The most that one compressed byte can stand for: the longest copy takes three.
const EXPANSION_MAX: u64 = (COPY_BYTES_MAX / 3) as u64;

const TABLE_BITS_MIN: u32 = 8;
const TABLE_BITS_MAX: u32 = 14;
/// After this many bytes (as a power of two) without a copy the step grows by one.
const STEP_SHIFT: u32 = 6;

/// The `length` bytes that `input` stands for; `None` when it does not stand for exactly so many. Allocates no more than `input`
/// could become.
pub fn decompress(input: &[u8], length: u64) -> Option<Vec<u8>> {
    if length > input.len() as u64 * EXPANSION_MAX {
        return None;
    }
    let length = usize::try_from(length).ok()?;
    let mut out = Vec::with_capacity(length);
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        if control < 32 {
            let (plain, after) = after.split_at_checked(control as usize + 1)?;
            if plain.len() > length - out.len() {
                return None;
            }
            out.extend_from_slice(plain);
            rest = after;
            continue;
        }
        let (copied, after) = match control >> 5 {
            7 => {
                let (&more, after) = after.split_first()?;
                (more as usize + 9, after)
            }
            short => (short as usize + 2, after),
        };
        let (&low, after) = after.split_first()?;
        rest = after;
        let distance = (control as usize & 0x1F) << 8 | low as usize;
        let start = out.len().checked_sub(distance + 1)?;
        if copied > length - out.len() {
            return None;
        }
        // The copy may reach into what it makes itself: each round doubles what is there to copy.
        let end = out.len() + copied;
        while out.len() < end {
            let part = (end - out.len()).min(out.len() - start);
            out.extend_from_within(start..start + part);
        }
    }
    (out.len() == length).then_some(out)
}

/// Compresses strings one after the other; keeps its table between them.
#[derive(Default)]
pub struct Compressor {
    /// For each hash of three bytes the place where they were seen last, plus `base`.
    table: Vec<u32>,
    /// Entries below are from earlier strings, so that the table need not be cleared for each.
    base: u32,
}

impl Compressor {
    /// Appends the compressed `input` to `out` if that saves at least `gain_min` bytes, and says whether it did.
    pub fn compress(&mut self, input: &[u8], gain_min: usize, out: &mut Vec<u8>) -> bool {
        let Some(bytes_max) = input.len().checked_sub(gain_min) else {
            return false;
        };
        let Ok(input_length) = u32::try_from(input.len()) else {
            return false;
        };
        let bits = input_length
            .checked_ilog2()
            .unwrap_or(0)
            .clamp(TABLE_BITS_MIN, TABLE_BITS_MAX);
        self.prepare(bits, input_length);
        let base = self.base;
        let start = out.len();
        let table = &mut self.table[..1 << bits];
        let (mut at, mut plain_from) = (0, 0);
        while let Some(&[a, b, c]) = input.get(at..).and_then(<[u8]>::first_chunk) {
            let next = u32::from_le_bytes([a, b, c, 0]);
            let hash = (next.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize;
            let seen = std::mem::replace(&mut table[hash], base + at as u32);
            let copied = match seen.checked_sub(base) {
                Some(seen) if at - seen as usize <= DISTANCE_MAX => {
                    common(input, seen as usize, at)
                }
                _ => 0,
            };
            if copied < COPY_BYTES_MIN {
                at += 1 + ((at - plain_from) >> STEP_SHIFT);
                continue;
            }
            push_plain(&input[plain_from..at], out);
            let distance = at - (seen - base) as usize - 1;
            push_copy(distance, copied, out);
            if out.len() - start > bytes_max {
                break;
            }
            at += copied;
            plain_from = at;
        }
        if out.len() - start <= bytes_max {
            push_plain(&input[plain_from..], out);
        }
        self.base += input_length;
        let worthwhile = out.len() - start <= bytes_max;
        if !worthwhile {
            out.truncate(start);
        }
        worthwhile
    }

    /// Makes the table large enough, and everything in it older than a string of `input_length` bytes that comes now.
    fn prepare(&mut self, bits: u32, input_length: u32) {
        // Zero is older than any base.
        if self.base == 0 || self.base.checked_add(input_length).is_none() {
            self.table.fill(0);
            self.base = 1;
        }
        if self.table.len() < 1 << bits {
            self.table.resize(1 << bits, 0);
        }
    }
}

/// How many bytes from `earlier` on are the same as from `later` on, up to the longest copy.
fn common(input: &[u8], earlier: usize, later: usize) -> usize {
    let pairs = input[earlier..].iter().zip(&input[later..]);
    pairs
        .take(COPY_BYTES_MAX)
        .take_while(|(a, b)| a == b)
        .count()
}

fn push_plain(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(PLAIN_BYTES_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn push_copy(distance: usize, copied: usize, out: &mut Vec<u8>) {
    let high = (distance >> 8) as u8;
    match copied - 2 {
        short @ 1..7 => out.push((short as u8) << 5 | high),
        long => out.extend_from_slice(&[7 << 5 | high, (long - 7) as u8]),
    }
    out.push(distance as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(compressor: &mut Compressor, input: &[u8]) -> Option<usize> {
        let mut out = b"before".to_vec();
        if !compressor.compress(input, 4, &mut out) {
            assert_eq!(out, b"before");
            return None;
        }
        let compressed = &out[6..];
        assert!(compressed.len() + 4 <= input.len());
        assert_eq!(
            decompress(compressed, input.len() as u64).as_deref(),
            Some(input)
        );
        Some(compressed.len())
    }

    #[test]
    fn repetitions_shrink_and_noise_does_not() {
        let mut compressor = Compressor::default();
        assert_eq!(round(&mut compressor, b""), None);
        assert_eq!(round(&mut compressor, b"abcdefghijklmnopqrstuvwxyz"), None);
        let zeros = round(&mut compressor, &[0; 100_000]).unwrap();
        assert!(zeros < 1200, "{zeros}");
        let words = "the same words again and ".repeat(1000);
        let words = round(&mut compressor, words.as_bytes()).unwrap();
        assert!(words < 400, "{words}");
    }

    #[test]
    fn a_table_that_was_used_for_four_gigabytes_starts_again() {
        let mut compressor = Compressor::default();
        round(&mut compressor, &[7; 1000]);
        compressor.base = u32::MAX - 500;
        assert!(round(&mut compressor, &[7; 1000]).is_some());
        assert_eq!(compressor.base, 1001);
    }

    #[test]
    fn what_does_not_decompress_to_its_length_is_refused() {
        for (input, length) in [
            (&b"\x02abc"[..], 4),
            (b"\x02abc", 2),
            (b"\x05abc", 6),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0\x00", 10),
            (b"\x00a\xe0\x00\x00", 9),
            (b"\x00a\xe0\x00\x00", u64::MAX),
        ] {
            assert_eq!(decompress(input, length), None, "{input:?}");
        }
        assert_eq!(decompress(b"\x00a\xe0\x00\x00", 10), Some(vec![b'a'; 10]));
    }

    proptest! {
        #[test]
        fn anything_comes_back(parts in prop::collection::vec(
            (prop::collection::vec(0u8..4, 0..20), 1usize..300), 0..20,
        )) {
            let input: Vec<u8> = parts.into_iter().flat_map(|(part, times)| part.repeat(times)).collect();
            let mut compressor = Compressor::default();
            round(&mut compressor, &input);
            round(&mut compressor, &input[input.len() / 2..]);
            round(&mut compressor, &input);
        }

        #[test]
        fn nothing_panics(input in prop::collection::vec(any::<u8>(), 0..100), length in 0u64..5000) {
            let _ = decompress(&input, length);
        }
    }
}
