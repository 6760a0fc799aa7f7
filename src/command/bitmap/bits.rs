//! Bits of byte strings, counted, found and combined. Bit 0 is the highest bit of byte 0.
//!
//! Pure functions over slices. Whatever can be long is worked on in words:
//! - counting adds sixteen words in carry-save form before it counts one (Harley and Seal), since the baseline
//!   instruction set has no population count;
//! - searching skips blocks of 32 bytes;
//! - combining is a plain loop over two slices of one length, which the compiler turns into vector instructions.

/// Words that one step of [`count`] takes in.
const BLOCK_WORDS: usize = 16;

/// The number of set bits.
pub fn count(bytes: &[u8]) -> u64 {
    let mut blocks = bytes.chunks_exact(BLOCK_WORDS * 8);
    let [mut ones, mut twos, mut fours, mut eights] = [0u64; 4];
    let mut sixteens_count = 0u64;
    for block in &mut blocks {
        let mut words = [0u64; BLOCK_WORDS];
        for (word, chunk) in words.iter_mut().zip(block.chunks_exact(8)) {
            *word = u64::from_ne_bytes(chunk.try_into().expect("a chunk of eight"));
        }
        let mut carry_eights = [0u64; 2];
        for (half, carry_eight) in words.chunks_exact(8).zip(&mut carry_eights) {
            let mut carry_fours = [0u64; 2];
            for (quarter, carry_four) in half.chunks_exact(4).zip(&mut carry_fours) {
                let two_a = add(&mut ones, quarter[0], quarter[1]);
                let two_b = add(&mut ones, quarter[2], quarter[3]);
                *carry_four = add(&mut twos, two_a, two_b);
            }
            *carry_eight = add(&mut fours, carry_fours[0], carry_fours[1]);
        }
        sixteens_count += ones_of(add(&mut eights, carry_eights[0], carry_eights[1]));
    }
    let mut count = 16 * sixteens_count
        + 8 * ones_of(eights)
        + 4 * ones_of(fours)
        + 2 * ones_of(twos)
        + ones_of(ones);
    let mut words = blocks.remainder().chunks_exact(8);
    for chunk in &mut words {
        count += ones_of(u64::from_ne_bytes(
            chunk.try_into().expect("a chunk of eight"),
        ));
    }
    for byte in words.remainder() {
        count += u64::from(byte.count_ones());
    }
    count
}

/// Adds `a` and `b` to `sum`, bit by bit; the carries are returned.
#[inline(always)]
fn add(sum: &mut u64, a: u64, b: u64) -> u64 {
    let half = *sum ^ a;
    let carry = (*sum & a) | (half & b);
    *sum = half ^ b;
    carry
}

#[inline(always)]
fn ones_of(word: u64) -> u64 {
    u64::from(word.count_ones())
}

/// The number of set bits from bit `first` to bit `last`, both included and within `bytes`.
pub fn count_between(bytes: &[u8], first: u64, last: u64) -> u64 {
    let (head, tail) = ((first / 8) as usize, (last / 8) as usize);
    let before = bytes[head] & !head_mask(first);
    let after = bytes[tail] & !tail_mask(last);
    count(&bytes[head..=tail]) - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

/// The bits of a byte from `first` on.
#[inline]
fn head_mask(first: u64) -> u8 {
    0xff >> (first % 8)
}

/// The bits of a byte up to and with `last`.
#[inline]
fn tail_mask(last: u64) -> u8 {
    0xff << (7 - last % 8)
}

/// The first bit that equals `bit`.
pub fn position(bytes: &[u8], bit: bool) -> Option<u64> {
    let skip = if bit { 0 } else { u64::MAX };
    let mut blocks = bytes.chunks_exact(32);
    let mut base = 0;
    for block in &mut blocks {
        let mut differ = 0;
        for chunk in block.chunks_exact(8) {
            differ |= u64::from_ne_bytes(chunk.try_into().expect("a chunk of eight")) ^ skip;
        }
        if differ != 0 {
            return position_in_few(block, skip as u8, base);
        }
        base += 32 * 8;
    }
    position_in_few(blocks.remainder(), skip as u8, base)
}

/// [`position`] in a few bytes that lie at bit `base`; `skip` is the byte without such a bit.
fn position_in_few(bytes: &[u8], skip: u8, base: u64) -> Option<u64> {
    let index = bytes.iter().position(|&byte| byte != skip)?;
    Some(base + index as u64 * 8 + u64::from((bytes[index] ^ skip).leading_zeros()))
}

/// The first bit from `first` to `last` (both included and within `bytes`) that equals `bit`.
pub fn position_between(bytes: &[u8], bit: bool, first: u64, last: u64) -> Option<u64> {
    let skip = if bit { 0 } else { 0xff };
    let (head, tail) = ((first / 8) as usize, (last / 8) as usize);
    let mut wanted = (bytes[head] ^ skip) & head_mask(first);
    if head == tail {
        wanted &= tail_mask(last);
    }
    if wanted != 0 {
        return Some(head as u64 * 8 + u64::from(wanted.leading_zeros()));
    }
    if head == tail {
        return None;
    }
    if let Some(at) = position(&bytes[head + 1..tail], bit) {
        return Some((head as u64 + 1) * 8 + at);
    }
    let wanted = (bytes[tail] ^ skip) & tail_mask(last);
    (wanted != 0).then(|| tail as u64 * 8 + u64::from(wanted.leading_zeros()))
}

/// How BITOP combines its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bits set in all.
    And,
    /// Bits set in any.
    Or,
    /// Bits set in an odd number.
    Xor,
    /// Bits not set in the only source.
    Not,
}

impl Operation {
    /// Combines `source` into `into`, which is at least as long; a shorter source counts as padded with zeros.
    pub fn combine(self, into: &mut [u8], source: &[u8]) {
        let (common, rest) = into.split_at_mut(source.len());
        match self {
            Operation::And => {
                common.iter_mut().zip(source).for_each(|(a, b)| *a &= b);
                rest.fill(0);
            }
            Operation::Or => common.iter_mut().zip(source).for_each(|(a, b)| *a |= b),
            Operation::Xor => common.iter_mut().zip(source).for_each(|(a, b)| *a ^= b),
            Operation::Not => common.iter_mut().zip(source).for_each(|(a, b)| *a = !b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn bit_at(bytes: &[u8], at: u64) -> bool {
        bytes[(at / 8) as usize] >> (7 - at % 8) & 1 == 1
    }

    /// Strings of all lengths around the block sizes: sparse, dense and mixed ones.
    fn strings() -> impl Iterator<Item = Vec<u8>> {
        let mut random = Random::new(7);
        (0..600).map(move |round| {
            let len = (random.next_u64() % 300) as usize;
            let mut bytes = vec![if round % 2 == 0 { 0 } else { 0xff }; len];
            for _ in 0..round % 5 * len / 4 {
                bytes[(random.next_u64() % len.max(1) as u64) as usize] = random.next_u64() as u8;
            }
            bytes
        })
    }

    #[test]
    fn ranges_equal_what_single_bits_say() {
        let mut random = Random::new(9);
        for bytes in strings() {
            let bits = bytes.len() as u64 * 8;
            assert_eq!(
                count(&bytes),
                (0..bits).filter(|&at| bit_at(&bytes, at)).count() as u64
            );
            for wanted in [false, true] {
                let expected = (0..bits).find(|&at| bit_at(&bytes, at) == wanted);
                assert_eq!(position(&bytes, wanted), expected);
            }
            if bits == 0 {
                continue;
            }
            let first = random.next_u64() % bits;
            let last = first + random.next_u64() % (bits - first);
            let set = (first..=last).filter(|&at| bit_at(&bytes, at)).count() as u64;
            assert_eq!(count_between(&bytes, first, last), set);
            for wanted in [false, true] {
                let expected = (first..=last).find(|&at| bit_at(&bytes, at) == wanted);
                assert_eq!(position_between(&bytes, wanted, first, last), expected);
            }
        }
    }

    #[test]
    fn shorter_sources_count_as_padded_with_zeros() {
        let cases = [
            (Operation::And, [0x30, 0, 0]),
            (Operation::Or, [0xf3, 0x55, 0xaa]),
            (Operation::Xor, [0xc3, 0x55, 0xaa]),
        ];
        for (operation, expected) in cases {
            let mut into = [0xf0, 0x55, 0xaa];
            operation.combine(&mut into, &[0x33]);
            assert_eq!(into, expected, "{operation:?}");
        }
        let mut into = [0; 2];
        Operation::Not.combine(&mut into, &[0x0f, 0xff]);
        assert_eq!(into, [0xf0, 0]);
    }
}
