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

    /// The value as a double: rounded, infinite when it is too large. A value that is not zero does not become zero.
    pub fn to_f64(self) -> f64 {
        let magnitude = match self.class {
            Class::NotANumber => f64::NAN,
            Class::Infinite => f64::INFINITY,
            Class::Finite { mantissa: 0, .. } => 0.0,
            Class::Finite { mantissa, exponent } => {
                let value = mantissa as f64 * 2f64.powi(exponent);
                value.max(f64::MIN_POSITIVE)
            }
        };
        if self.negative { -magnitude } else { magnitude }
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
    if digits.len() <= 19 && (-17..=0).contains(&power) {
        return Some(small_decimal(&digits, power.unsigned_abs() as u32));
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

/// `digits`, at most 19, divided by `10^power`, at most 17: what nearly all texts are, without numbers of any size.
fn small_decimal(digits: &[u8], power: u32) -> Class {
    let number = digits
        .iter()
        .fold(0u128, |number, digit| number * 10 + u128::from(*digit));
    let shift = number.leading_zeros();
    // The dividend has 128 bits and the divisor at most 57: the quotient has more than the format keeps.
    let (dividend, divisor) = (number << shift, 10u128.pow(power));
    round(
        dividend / divisor,
        -i64::from(shift),
        dividend % divisor != 0,
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums as INCRBYFLOAT of Redis 7.0.15 on x86-64 gives them.
    const SUMS: &str = "
        0.1 0.2 = 0.3
        3 1.1 = 4.1
        5.0e3 200 = 5200
        10.50 0.1 = 10.6
        1 -1 = 0
        -0 0 = 0
        18446744073709551616.5 .5 = 18446744073709551616
        1e-17 0 = 0.00000000000000001
        2.5e-17 5e-18 = 0.00000000000000003
        +0x3c2ce1898fdcd57839.cf5p40 363.865 = 1220500415799147018997082416480256
        -3.864633853372935e-08 +5773983311.415143 = 5773983311.41514296131208539
        3.0147375977868555e-06 7.951056783751586e-21 = 0.00000301473759779
        -0.2116519457437177 +0xa84ce6ad91759069d491.1a4b9c372be21fp-78 = 2.41804172405245868
        -867.57 -281474976710658.25 = -281474976711525.82000732421875
        -524286 929e-19 = -524286
        0.44482576189987266 -46391178362172637.35663971541890956154689 = -46391178362172636.91015625
        917e-3 0.0023185127724596466 = 0.91931851277245965
        -2.219284762988541e-3059 +7.745551611226498e-09 = 0.00000000774555161
        403007.000000555808 0x3096e45.7612p-21 = 403031.29471141186999716
        +450.677 -8.092371281887483e+16 = -80923712818874379.3203125
        13.5 8.891801207174678e-16 = 13.50000000000000089
        -0.8319007479577687 +818 = 817.16809925204223131
        +42239825422359698.0000000000000000614023 +0x2206b907ce8.15247793585517299d0cp41 = 5141903201737005414219776
        -0.000000000000002526254 +787 = 786.99999999999999745
        494e-1 +104.557 = 153.957
        0.4745069414452604 1228.5 = 1228.9745069414452604
        0.23487629420857314 0 = 0.23487629420857314
        0.44515830549497104 670 = 670.44515830549497104
        2199023255549.25 -29055.5 = 2199023226493.75
        69786725631854.5 5.516194929630747e-18 = 69786725631854.5
        0.9918328036267031 +2.966258352751583e-17 = 0.99183280362670313
        +485310002081925864528.112055627664 505857022211899736.333 = 485815859104137764288
        8.569798506064170e-4626 0.24607375122603892 = 0.24607375122603892
        0x337b13f.32aa98439f7a55300p31 6.000000000000000000081 = 115924395411983399.8125
        48e29 829 = 4800000000000000000008589934592
        +0xf0fa6f38c4c153b.2a841134ceb251b7ec62p7 0x30e83b6374e8718528795e7d9f.1b437320b3p79 = 2342187462117923759209047206774279342366292152101634048
        99 255 = 354
        -0.05154791902210398 0.0001985128911859033 = -0.05134940613091808
        -627 0x23d35e638a1e4d90352a600.5p-23 = 82608345376814116760
        +0x1d6c5fc0451e7972318e7d27942.36e9p30 0.0443 = 40048969728609462591161321028233837150208
        549755813885.125 72.5 = 549755813957.625
        930888179971618.5 0xda5f691201d1dde43c88.99cd17e1p-26 = 16297500630280857.97265625
        442e-15 0xedd07b0f078.d1365d217f5355b48p41 = 35937492688701802093215744
        +1048574.125 -53.144 = 1048520.98099999999999454
        -11750327054487.5 8338.0000359927892540 = -11750327046149.49996376037597656
        0.07 5.54060769779297e-4222 = 0.07
        +0.0000763887 1e8 = 100000000.00007638870010851
        -23595234873422574.0327 0.000000000005640 = -23595234873422574.033203125
        +3921.5 -278336599.5 = -278332678
        976e17 +191 = 97600000000000000192
        791 -20e-23 = 791
        +126e-10 -37654.5 = -37654.49999998739999896
        900990838827129088.0000000000006835429511 -0x1603450.a108b2a4844b58866p-6 = 900990838826768430.75
        769 -0 = 769
        12795436989395952.5 8388609.25 = 12795436997784561.75
        -8.208029823390121e-09 116540637917416.5 = 116540637917416.5
        0x31876a5.d867b9ef6e465338e3fp-93 -3.945330146517041e-4242 = 0
        8.045084251693285e-17 4.8708372694179104e+17 = 487083726941791040
        984e-11 0.000778460 = 0.00077846984
        323 0.000000000000024706 = 323.0000000000000247
        3.6e-4951 -6859779.5 = -6859779.5
        -114698127006109196.5 -0.6530669982365253 = -114698127006109197.15625
        +941133018984757530.000903992 36893488147419103230 = 37834621166403860760
        0.0431069638402104 -75.893354057546402 = -75.8502470937061916
        +80 -921e5 = -92099920
        +2147483648.25 +571.69 = 2147484219.93999999994412065
        +7420151593.00000000000000000000012215 +2046.75 = 7420153639.75
        -0.00000000000000715477 8.503632022404376e-20 = -0.00000000000000715
        57638787561539209.5 -18 = 57638787561539191.5";

    fn parse(text: &str) -> Option<Extended> {
        Extended::parse(text.as_bytes())
    }

    #[test]
    fn sums_are_those_of_the_x87() {
        for line in SUMS.lines().skip(1) {
            let (terms, sum) = line.split_once(" = ").unwrap();
            let (left, right) = terms.trim().split_once(' ').unwrap();
            let (left, right) = (parse(left).unwrap(), parse(right).unwrap());
            assert_eq!((left + right).to_string(), sum, "{line}");
            assert_eq!((right + left).to_string(), sum, "{line}");
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        let largest = parse("1.18973149535723176502e+4932").unwrap();
        assert!(largest.is_finite());
        assert!((largest + largest).is_infinite());
        assert_eq!(largest.to_string().len(), 4933);
        assert!(
            largest
                .to_string()
                .starts_with("118973149535723176502126385303097020516906332229462420044032373389")
        );
        assert_eq!((largest + -largest).to_string(), "0");
        for text in [
            "1.18973149535723176508e+4932",
            "1e4933",
            "0x1p16384",
            "1e-4951",
            "1.8e-4951",
            "0x1p-16446",
            "1e99999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in [
            "1.9e-4951",
            "3.6e-4951",
            "0x1p-16445",
            "0x1.8p-16446",
            "0e99999999999",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), "0", "{text}");
        }
    }

    #[test]
    fn infinities_and_what_is_no_number() {
        let infinite = parse("inf").unwrap();
        assert!(infinite.is_infinite() && parse("-Infinity").unwrap().is_infinite());
        assert!((infinite + -infinite).is_nan());
        assert!((infinite + Extended::from(1)).is_infinite());
        assert_eq!(infinite.to_string(), "inf");
        assert_eq!((-infinite).to_string(), "-inf");
        for text in [
            "", " 1", "1 ", "nan", "abc", "1e", "1e+", ".", "-", "0x", "0x.p1", "1.2.3", "0x8p-3a",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&"1".repeat(TEXT_BYTES_MAX)), None);
        assert!(parse(&"0".repeat(TEXT_BYTES_MAX - 1)).is_some());
    }

    #[test]
    fn integers_are_exact() {
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN, 1 << 53, -(1 << 62) - 1] {
            assert_eq!(Extended::from(value).to_string(), value.to_string());
            assert_eq!(parse(&value.to_string()), Some(Extended::from(value)));
        }
    }
}
