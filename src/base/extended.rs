//! Floating point with a mantissa of 64 bits, as the x87 unit computes it and INCRBYFLOAT shows it.
//!
//! Redis keeps such numbers in C's `long double`. On x86 that is this format: a sign, 15 bits of exponent and 64 bits of
//! mantissa, so that 0.1 + 0.2 shows as 0.3. Rust has no such type, so it is computed here: parsing, adding and
//! printing are each exact and then rounded once, to nearest with ties to even.
//!
//! Invariants:
//! - A finite value is `mantissa × 2^exponent`. The mantissa's top bit is set unless the exponent is the lowest (a
//!   subnormal) or the value is zero, which has the lowest exponent.

use std::fmt;

use super::double::{HexFloat, parse_exponent};

/// The exponent of the last mantissa bit of the smallest numbers.
const EXPONENT_MIN: i32 = -16445;
/// The exponent of the last mantissa bit of the largest numbers.
const EXPONENT_MAX: i32 = 16320;
/// Longer texts are refused, as Redis does.
const TEXT_BYTES_MAX: usize = 5 * 1024;
/// Digits behind the point that are printed.
const FRACTION_DIGITS: usize = 17;
/// 10 to the power of [`FRACTION_DIGITS`].
const FRACTION_SCALE: u128 = 10u128.pow(FRACTION_DIGITS as u32);

/// A number of x87's extended precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Finite { mantissa: u64, exponent: i32 },
    Infinite,
    NotANumber,
}

impl Extended {
    /// Zero.
    pub const ZERO: Extended = Extended {
        negative: false,
        class: Class::Finite {
            mantissa: 0,
            exponent: EXPONENT_MIN,
        },
    };

    /// Parses a number as [`super::number::parse_f64`] does, with more precision and range.
    pub fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let class = match magnitude {
            [b'0', b'x' | b'X', hex @ ..] => {
                let HexFloat {
                    mantissa,
                    exponent,
                    sticky,
                } = HexFloat::parse(hex)?;
                finite_or_range_error(round(mantissa, exponent, sticky), mantissa == 0)?
            }
            [b'0'..=b'9' | b'.', ..] => parse_decimal(magnitude)?,
            _ if magnitude.eq_ignore_ascii_case(b"inf")
                || magnitude.eq_ignore_ascii_case(b"infinity") =>
            {
                Class::Infinite
            }
            _ => return None,
        };
        Some(Extended { negative, class })
    }

    /// The value is not a number: the result of adding infinities of different sign.
    pub fn is_nan(self) -> bool {
        self.class == Class::NotANumber
    }

    /// The value is infinite.
    pub fn is_infinite(self) -> bool {
        self.class == Class::Infinite
    }

    /// The value is neither infinite nor NaN.
    pub fn is_finite(self) -> bool {
        matches!(self.class, Class::Finite { .. })
    }

    /// Appends the text that INCRBYFLOAT shows: 17 digits behind the point, without the zeros at the end.
    pub fn format(self, out: &mut Vec<u8>) {
        let begin = out.len();
        if self.negative && !self.is_nan() {
            out.push(b'-');
        }
        match self.class {
            Class::NotANumber => out.extend_from_slice(b"nan"),
            Class::Infinite => out.extend_from_slice(b"inf"),
            Class::Finite { mantissa, exponent } => push_finite(out, mantissa, exponent),
        }
        if &out[begin..] == b"-0" {
            out.remove(begin);
        }
    }
}

impl From<i64> for Extended {
    fn from(value: i64) -> Extended {
        Extended {
            negative: value < 0,
            class: round(u128::from(value.unsigned_abs()), 0, false),
        }
    }
}

impl fmt::Display for Extended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(40);
        self.format(&mut text);
        formatter.write_str(&String::from_utf8_lossy(&text))
    }
}

impl std::ops::Neg for Extended {
    type Output = Extended;

    fn neg(self) -> Extended {
        Extended {
            negative: !self.negative,
            ..self
        }
    }
}

impl std::ops::Add for Extended {
    type Output = Extended;

    fn add(self, other: Extended) -> Extended {
        let (left, right) = match (self.class, other.class) {
            (Class::NotANumber, _) => return self,
            (_, Class::NotANumber) => return other,
            (Class::Infinite, Class::Infinite) if self.negative != other.negative => {
                return Extended {
                    negative: false,
                    class: Class::NotANumber,
                };
            }
            (Class::Infinite, _) => return self,
            (_, Class::Infinite) => return other,
            (
                Class::Finite { mantissa, exponent },
                Class::Finite {
                    mantissa: other_mantissa,
                    exponent: other_exponent,
                },
            ) => ((mantissa, exponent), (other_mantissa, other_exponent)),
        };
        // The number with the larger exponent is the larger one: only subnormals lack the top bit.
        let swap = (right.1, right.0) > (left.1, left.0);
        let ((large, high), (small, low), negative) = if swap {
            (right, left, other.negative)
        } else {
            (left, right, self.negative)
        };
        // One bit is left free for a carry; what falls off at the low end is kept as one sticky bit, which is far
        // enough below the last bit kept to decide the rounding correctly.
        const GUARD_BITS: u32 = 63;
        let distance = (high - low) as u32;
        let wide = u128::from(small) << GUARD_BITS;
        let (aligned, lost) = match distance {
            0 => (wide, false),
            1..128 => (wide >> distance, wide << (128 - distance) != 0),
            _ => (0, wide != 0),
        };
        let aligned = aligned | u128::from(lost);
        let wide = u128::from(large) << GUARD_BITS;
        let sum = if self.negative == other.negative {
            wide + aligned
        } else {
            wide - aligned
        };
        Extended {
            // An exact zero is positive unless both are negative.
            negative: if sum == 0 {
                self.negative && other.negative
            } else {
                negative
            },
            class: round(sum, i64::from(high) - i64::from(GUARD_BITS), false),
        }
    }
}

/// Rounds `value × 2^exponent` to the format; `sticky` says that something above zero follows the last bit.
fn round(value: u128, exponent: i64, sticky: bool) -> Class {
    if value == 0 {
        return Extended::ZERO.class;
    }
    let bits = 128 - i64::from(value.leading_zeros());
    let lowest = (exponent.saturating_add(bits - 64)).max(i64::from(EXPONENT_MIN));
    if lowest > i64::from(EXPONENT_MAX) {
        return Class::Infinite;
    }
    let shift = lowest - exponent;
    let mut kept = if shift <= 0 {
        value << -shift
    } else {
        super::double::round_shift(value, u32::try_from(shift).unwrap_or(u32::MAX), sticky)
    };
    let mut lowest = lowest as i32;
    if kept >> 64 != 0 {
        kept >>= 1;
        lowest += 1;
    }
    match (u64::try_from(kept), lowest > EXPONENT_MAX) {
        (Ok(0), _) => Extended::ZERO.class,
        (Ok(mantissa), false) => Class::Finite {
            mantissa,
            exponent: lowest,
        },
        _ => Class::Infinite,
    }
}

/// Refuses what C's `strtold` reports as out of range: an overflow, or an underflow to zero.
fn finite_or_range_error(class: Class, is_zero: bool) -> Option<Class> {
    match class {
        Class::Finite { mantissa, .. } => (mantissa != 0 || is_zero).then_some(class),
        _ => None,
    }
}

/// Parses digits with an optional point and an optional exponent.
fn parse_decimal(text: &[u8]) -> Option<Class> {
    let mantissa_len = text
        .iter()
        .position(|byte| byte.eq_ignore_ascii_case(&b'e'))
        .unwrap_or(text.len());
    let mut power = match text.get(mantissa_len + 1..) {
        None => 0,
        Some(exponent) => parse_exponent(exponent)?,
    };
    let mut digits = Vec::with_capacity(mantissa_len);
    let mut any_digit = false;
    let mut after_point = false;
    for &byte in &text[..mantissa_len] {
        match byte {
            b'.' if !after_point => after_point = true,
            b'0'..=b'9' => {
                any_digit = true;
                power -= i64::from(after_point);
                if byte != b'0' || !digits.is_empty() {
                    digits.push(byte - b'0');
                }
            }
            _ => return None,
        }
    }
    while digits.last() == Some(&0) {
        digits.pop();
        power += 1;
    }
    if !any_digit {
        return None;
    }
    if digits.is_empty() {
        return Some(Extended::ZERO.class);
    }
    // The power of ten of the first digit: far outside, the exact arithmetic below would only be long.
    let scale = power + digits.len() as i64;
    if !(-4960..=4940).contains(&scale) {
        return None;
    }
    let mut number = Natural::from_digits(&digits);
    if power >= 0 {
        number.multiply_power_of_ten(power as u32);
        let (top, exponent, sticky) = number.top_bits();
        return finite_or_range_error(round(top, exponent, sticky), false);
    }
    let mut divisor = Natural::from_digits(&[1]);
    divisor.multiply_power_of_ten(-power as u32);
    let (quotient, exponent, sticky) = number.divide(divisor);
    finite_or_range_error(round(quotient, exponent, sticky), false)
}

/// Writes `mantissa × 2^exponent` with the digits that are printed behind the point, without zeros at the end.
fn push_finite(out: &mut Vec<u8>, mantissa: u64, exponent: i32) {
    if exponent >= 0 {
        let mut number = Natural::from(mantissa);
        number.shift_left(exponent as u32);
        return number.push_decimal(out);
    }
    // 64 bits times 10^17 are less than 2^121: all of it fits, and what is shifted out is exact for the rounding.
    let scaled = super::double::round_shift(
        u128::from(mantissa) * FRACTION_SCALE,
        exponent.unsigned_abs(),
        false,
    );
    let (integer, mut fraction) = (scaled / FRACTION_SCALE, (scaled % FRACTION_SCALE) as u64);
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    if fraction == 0 {
        return;
    }
    let mut digits = FRACTION_DIGITS;
    while fraction.is_multiple_of(10) {
        fraction /= 10;
        digits -= 1;
    }
    out.push(b'.');
    let end = out.len() + digits;
    out.resize(end, b'0');
    for place in out[end - digits..].iter_mut().rev() {
        *place = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
}

/// A natural number of any size: 32-bit limbs, the lowest first, without zeros at the top.
#[derive(Clone, Debug)]
struct Natural {
    limbs: Vec<u32>,
}

impl From<u64> for Natural {
    fn from(value: u64) -> Natural {
        let mut number = Natural {
            limbs: vec![value as u32, (value >> 32) as u32],
        };
        number.trim();
        number
    }
}

impl Natural {
    fn from_digits(digits: &[u8]) -> Natural {
        let mut number = Natural { limbs: Vec::new() };
        for chunk in digits.chunks(9) {
            let value = chunk
                .iter()
                .fold(0, |value, digit| value * 10 + u32::from(*digit));
            number.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        number
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.limbs {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.limbs.push(carry as u32);
        }
    }

    fn multiply_power_of_ten(&mut self, power: u32) {
        for _ in 0..power / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        self.multiply_add(10u32.pow(power % 9), 0);
    }

    /// The number of bits up to the highest one that is set.
    fn bits(&self) -> i64 {
        match self.limbs.last() {
            None => 0,
            Some(top) => self.limbs.len() as i64 * 32 - i64::from(top.leading_zeros()),
        }
    }

    fn shift_left(&mut self, count: u32) {
        let (limbs, bits) = (count as usize / 32, count % 32);
        if bits != 0 {
            self.multiply_add(1 << bits, 0);
        }
        if !self.limbs.is_empty() {
            self.limbs.splice(0..0, std::iter::repeat_n(0, limbs));
        }
    }

    /// The highest 96 to 128 bits, the exponent of the last of them, and whether anything was left out.
    fn top_bits(&self) -> (u128, i64, bool) {
        let low = self.limbs.len().saturating_sub(4);
        let top = self.limbs[low..]
            .iter()
            .rev()
            .fold(0, |top, limb| top << 32 | u128::from(*limb));
        (
            top,
            low as i64 * 32,
            self.limbs[..low].iter().any(|limb| *limb != 0),
        )
    }

    /// The quotient's highest 65 or 66 bits, the exponent of the last of them, and whether there is a remainder.
    fn divide(mut self, mut divisor: Natural) -> (u128, i64, bool) {
        // Both get the same number of bits, so that the first bit of the quotient is 0 or 1.
        let shift = divisor.bits() - self.bits();
        if shift > 0 {
            self.shift_left(shift as u32);
        } else {
            divisor.shift_left(-shift as u32);
        }
        const QUOTIENT_BITS: i64 = 66;
        let mut quotient: u128 = 0;
        for step in 0..QUOTIENT_BITS {
            if step > 0 {
                self.shift_left(1);
            }
            let fits = !self.is_less(&divisor);
            if fits {
                self.subtract(&divisor);
            }
            quotient = quotient << 1 | u128::from(fits);
        }
        (
            quotient,
            -shift - (QUOTIENT_BITS - 1),
            !self.limbs.is_empty(),
        )
    }

    fn is_less(&self, other: &Natural) -> bool {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length
            .then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
            .is_lt()
    }

    /// Subtracts `other`, which is not larger.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = false;
        for (index, limb) in self.limbs.iter_mut().enumerate() {
            let subtrahend = other.limbs.get(index).copied().unwrap_or(0);
            let (difference, first) = limb.overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(u32::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        debug_assert!(!borrow);
        self.trim();
    }

    fn push_decimal(mut self, out: &mut Vec<u8>) {
        const CHUNK: u64 = 1_000_000_000;
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            let mut rest = 0;
            for limb in self.limbs.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / CHUNK) as u32;
                rest = value % CHUNK;
            }
            self.trim();
            chunks.push(rest as u32);
        }
        let mut chunks = chunks.iter().rev();
        let first = chunks.next().copied().unwrap_or(0);
        out.extend_from_slice(itoa::Buffer::new().format(first).as_bytes());
        for chunk in chunks {
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(*chunk).as_bytes();
            out.resize(out.len() + 9 - digits.len(), b'0');
            out.extend_from_slice(digits);
        }
    }
}
