//! From elements to registers, and from registers to a count: the arithmetic of HyperLogLogs.
//!
//! An element's hash chooses a register with its low bits; the position of the lowest set bit among the others is
//! its rank, and a register keeps the highest rank that it met. The count is estimated from how many registers hold which
//! rank, after Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017). Hash, seed and
//! formula are those of Redis, so that values and counts are the same here and there.

/// Bits of the hash that choose the register.
const INDEX_BITS: u32 = 14;

/// Registers of a HyperLogLog.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// The highest rank: all bits that are left were zero, and the one behind them counts.
const RANK_MAX: usize = 64 - INDEX_BITS as usize + 1;

/// How many of all the registers hold each value. Only damaged ones hold more than [`RANK_MAX`].
pub type Histogram = [u32; 64];

/// Redis's seed of the hash.
const SEED: u64 = 0xadc8_3b19;

/// The register of an element, and its rank there.
#[inline]
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur_64a(element, SEED);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    (index, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A, by Austin Appleby, over words in little-endian order on every machine.
fn murmur_64a(bytes: &[u8], seed: u64) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let words = bytes.chunks_exact(8);
    let tail = words.remainder();
    for word in words {
        let mut word = u64::from_le_bytes(word.try_into().expect("a chunk is eight bytes"));
        word = word.wrapping_mul(FACTOR);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

/// The estimated number of distinct elements.
pub fn count(histogram: &Histogram) -> u64 {
    /// 1 / (2 ln 2).
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let registers = REGISTERS as f64;
    let share = |number: u32| f64::from(number) / registers;
    let mut sum = registers * tau(share(REGISTERS as u32 - histogram[RANK_MAX]));
    for &number in histogram[1..RANK_MAX].iter().rev() {
        sum = (sum + f64::from(number)) * 0.5;
    }
    sum += registers * sigma(share(histogram[0]));
    (ALPHA * registers * registers / sum).round() as u64
}

/// Ertl's σ: what registers without an element add.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut factor, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * factor;
        factor += factor;
        if sum == before {
            return sum;
        }
    }
}

/// Ertl's τ: what registers at the highest rank add.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut factor, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        factor *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * factor;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_nothing_and_everything_much() {
        let mut histogram = [0; 64];
        histogram[0] = REGISTERS as u32;
        assert_eq!(count(&histogram), 0);
        histogram[0] = REGISTERS as u32 - 1;
        histogram[1] = 1;
        assert_eq!(count(&histogram), 1);
        histogram = [0; 64];
        histogram[RANK_MAX] = REGISTERS as u32;
        assert!(count(&histogram) > 1 << 60);
    }

    #[test]
    fn a_damaged_histogram_is_counted_without_a_panic() {
        let mut histogram = [0; 64];
        histogram[63] = REGISTERS as u32;
        assert!(count(&histogram) > 0);
    }

    #[test]
    fn ranks_stay_within_their_bounds() {
        for number in 0..100_000u32 {
            let (index, rank) = place(&number.to_le_bytes());
            assert!(index < REGISTERS && (1..=RANK_MAX as u8).contains(&rank));
        }
    }
}
