//! Doubles as text: parsed as C's `strtod` does for Redis's commands, printed as Redis 7.2 prints them.
//!
//! Invariants:
//! - What [`format_f64`] prints, [`parse_f64`] reads back to the same value (but for NaN, which is never read).
//! - The digits are the shortest that identify the value.

use super::number::push_i64;

/// The most characters that [`format_f64`] writes.
pub const DOUBLE_TEXT_BYTES_MAX: usize = 32;

/// Integers up to this magnitude are printed as integers, whatever their trailing zeros.
const EXACT_INTEGER_MAX: f64 = (1u64 << 52) as f64;

/// Parses a double: decimal or hexadecimal, with or without exponent, or `inf`/`infinity` in any case, each with an
/// optional sign. `None` for white space anywhere, NaN, and for numbers that overflow or underflow to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    // Surrounding white space and the like never reach the parsers below: neither accepts it.
    let (negative, magnitude) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = match magnitude {
        [b'0', b'x' | b'X', hex @ ..] => {
            let number = HexFloat::parse(hex)?;
            number.to_f64()?
        }
        [b'0'..=b'9' | b'.', ..] => {
            // What remains are digits, one point and an exponent: the two languages agree on these.
            let value: f64 = std::str::from_utf8(magnitude).ok()?.parse().ok()?;
            let mantissa = magnitude
                .split(|byte| byte.eq_ignore_ascii_case(&b'e'))
                .next();
            let is_zero = mantissa
                .is_some_and(|digits| !digits.iter().any(|digit| matches!(digit, b'1'..=b'9')));
            if value.is_infinite() || (value == 0.0 && !is_zero) {
                return None;
            }
            value
        }
        _ if magnitude.eq_ignore_ascii_case(b"inf")
            || magnitude.eq_ignore_ascii_case(b"infinity") =>
        {
            f64::INFINITY
        }
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

/// Appends the shortest text that reads back as `value`: integers without a point, `inf`, `-inf`, `nan`, and an
/// exponent (`1e+21`, `1.5e-10`) where the plain form would be long.
pub fn format_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    if value == 0.0 {
        return out.extend_from_slice(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    }
    if value.abs() <= EXACT_INTEGER_MAX && value == value.trunc() {
        return push_i64(out, value as i64);
    }
    if value < 0.0 {
        out.push(b'-');
    }
    let mut digits = [0u8; 20];
    let (count, exponent) = shortest_digits(value.abs(), &mut digits);
    push_digits(out, &digits[..count], exponent);
}

/// Appends `value` as C's `%.17g` does: seventeen digits without the zeros at their end, which identify the value but are
/// not the shortest.
pub fn format_f64_17(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 || !value.is_finite() {
        return format_f64(out, value);
    }
    let text = format!("{:.16e}", value.abs());
    let (mantissa, scale) = text.split_once('e').unwrap_or((&text, "0"));
    let scale: i32 = scale.parse().unwrap_or(0);
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if value < 0.0 {
        out.push(b'-');
    }
    if !(-4..17).contains(&scale) {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if scale < 0 { b"e-" } else { b"e+" });
        if scale.abs() < 10 {
            out.push(b'0');
        }
        return push_i64(out, i64::from(scale.abs()));
    }
    // The number of digits before the point.
    let integer = scale + 1;
    if integer <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + -integer as usize, b'0');
        return out.extend_from_slice(&digits);
    }
    let integer = integer as usize;
    digits.resize(digits.len().max(integer), b'0');
    out.extend_from_slice(&digits[..integer]);
    if digits.len() > integer {
        out.push(b'.');
        out.extend_from_slice(&digits[integer..]);
    }
}

/// The shortest decimal digits of a finite positive `value` and the power of ten of the last one.
fn shortest_digits(value: f64, digits: &mut [u8; 20]) -> (usize, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let (mantissa, mut exponent) = match memchr::memchr(b'e', text) {
        None => (text, 0),
        Some(at) => {
            let power = std::str::from_utf8(&text[at + 1..])
                .ok()
                .and_then(|power| power.parse().ok());
            (&text[..at], power.unwrap_or(0))
        }
    };
    let mut count = 0;
    let mut after_point = false;
    for &byte in mantissa {
        if byte == b'.' {
            after_point = true;
            continue;
        }
        if after_point {
            exponent -= 1;
        }
        if count == 0 && byte == b'0' {
            continue;
        }
        // A mantissa has at most 17 digits before its trailing zeros, and zeros only below 1e16: 20 are enough.
        digits[count] = byte;
        count += 1;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
        exponent += 1;
    }
    (count, exponent)
}

/// Writes digits × 10^exponent in the form that is short: an integer with up to seven zeros appended, a fraction
/// with up to six, or one digit, the rest and an exponent.
fn push_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    // The power of ten of the first digit.
    let scale = exponent + count - 1;
    if exponent >= 0 && scale.abs() < count + 7 {
        out.extend_from_slice(digits);
        out.resize(out.len() + exponent as usize, b'0');
    } else if exponent < 0 && (exponent > -7 || scale.abs() < 4) {
        let integer = count + exponent;
        if integer <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + -integer as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            out.extend_from_slice(&digits[..integer as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[integer as usize..]);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if scale < 0 { b"e-" } else { b"e+" });
        push_i64(out, i64::from(scale.abs()));
    }
}

/// A hexadecimal number without its `0x`: mantissa × 2^exponent, with a sticky bit for digits beyond the mantissa.
pub(super) struct HexFloat {
    pub mantissa: u128,
    pub exponent: i64,
    /// Digits that the mantissa has no room for were not all zero.
    pub sticky: bool,
}

impl HexFloat {
    /// Parses hexadecimal digits with an optional point and an optional binary exponent (`1.8p-3`).
    pub fn parse(text: &[u8]) -> Option<HexFloat> {
        let mut number = HexFloat {
            mantissa: 0,
            exponent: 0,
            sticky: false,
        };
        let mut any_digit = false;
        let mut after_point = false;
        let mut at = 0;
        while at < text.len() {
            match text[at] {
                b'.' if !after_point => after_point = true,
                byte => {
                    let Some(digit) = (byte as char).to_digit(16) else {
                        break;
                    };
                    any_digit = true;
                    if number.mantissa >> 124 == 0 {
                        number.mantissa = number.mantissa << 4 | u128::from(digit);
                        number.exponent -= if after_point { 4 } else { 0 };
                    } else {
                        number.sticky |= digit != 0;
                        number.exponent += if after_point { 0 } else { 4 };
                    }
                }
            }
            at += 1;
        }
        if !any_digit {
            return None;
        }
        if at < text.len() {
            if !text[at].eq_ignore_ascii_case(&b'p') {
                return None;
            }
            number.exponent = number
                .exponent
                .saturating_add(parse_exponent(&text[at + 1..])?);
        }
        Some(number)
    }

    /// The nearest double, ties to even; `None` when it overflows or underflows to zero.
    fn to_f64(&self) -> Option<f64> {
        if self.mantissa == 0 {
            return Some(0.0);
        }
        let bits = 128 - i64::from(self.mantissa.leading_zeros());
        let top = self.exponent.saturating_add(bits - 1);
        if !(-1076..=1024).contains(&top) {
            return None;
        }
        // The exponent of the last bit that a double of this size keeps.
        let lowest = (top - 52).max(-1074);
        let shift = lowest - self.exponent;
        let kept = if shift <= 0 {
            self.mantissa << -shift
        } else {
            round_shift(self.mantissa, shift as u32, self.sticky)
        };
        // Both factors are exact: 53 bits, and powers of two whose product is exact by the choice of `lowest`.
        let half = lowest / 2;
        let value = kept as f64 * 2f64.powi(half as i32) * 2f64.powi((lowest - half) as i32);
        (value != 0.0 && value.is_finite()).then_some(value)
    }
}

/// `value / 2^shift`, rounded to nearest with ties to even; `sticky` says that something above zero follows.
pub(super) fn round_shift(value: u128, shift: u32, sticky: bool) -> u128 {
    if shift == 0 {
        return value;
    }
    if shift > 128 {
        return 0;
    }
    let half = 1u128 << (shift - 1);
    let (kept, rest) = if shift == 128 {
        (0, value)
    } else {
        (value >> shift, value & ((half << 1).wrapping_sub(1)))
    };
    let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
    kept + u128::from(up)
}

/// Parses an exponent with an optional sign; values beyond any use saturate.
pub(super) fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1_000_000_000)
    });
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        format_f64(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_of_every_form_are_parsed() {
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("+1", 1.0),
            ("1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("-2.5e-1", -0.25),
            ("0.1", 0.1),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
            ("0e999999999999", 0.0),
            ("inf", f64::INFINITY),
            ("+Infinity", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
            ("0x10", 16.0),
            ("0x1p3", 8.0),
            ("-0x.8", -0.5),
            ("0X1.8P-1", 0.75),
            ("0x1.8p-1074", 1e-323),
            ("0x1fffffffffffff8p0", 144115188075855870.0),
            ("0x0p999999999999999999", 0.0),
        ] {
            assert_eq!(
                parse_f64(text.as_bytes()).map(f64::to_bits),
                Some(value.to_bits()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_redis_refuses_is_refused() {
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "nan(1)",
            "infx",
            "in",
            "1e",
            "1e+",
            "-",
            "+",
            ".",
            "--1",
            "1_0",
            "1,5",
            "0x",
            "0x.",
            "0x1p",
            "0x1g",
            "1e400",
            "-1e400",
            "1e-400",
            "0x1p1024",
            "0x1p-1080",
            "1\0",
            "1f",
            "1.2.3",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_shortest_text_is_printed() {
        for (value, expect) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (3.25, "3.25"),
            (100.0, "100"),
            (4503599627370496.0, "4503599627370496"),
            (4503599627370497.0, "4503599627370497"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1.5e17, "1.5e+17"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (0.001, "0.001"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (0.00012, "0.00012"),
            (0.00012345, "1.2345e-4"),
            (0.0012345678, "0.0012345678"),
            (1.2345e-10, "1.2345e-10"),
            (1e100, "1e+100"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(text(value), expect);
        }
    }

    #[test]
    fn seventeen_digits_are_printed() {
        for (value, expect) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::NEG_INFINITY, "-inf"),
            (1.0, "1"),
            (-100.0, "-100"),
            (1.5, "1.5"),
            (0.1, "0.10000000000000001"),
            (-0.3, "-0.29999999999999999"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (12345678.25, "12345678.25"),
            (2251799813685249.5, "2251799813685249.5"),
        ] {
            let mut out = Vec::new();
            format_f64_17(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let mut random = crate::base::random::Random::new(11);
        for _ in 0..20_000 {
            let value = f64::from_bits(random.next_u64());
            if value.is_nan() {
                continue;
            }
            let text = text(value);
            assert!(text.len() <= DOUBLE_TEXT_BYTES_MAX);
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
    }
}
