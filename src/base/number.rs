//! Integers as text, by the rules that Redis's commands and protocol apply.
//!
//! Invariants:
//! - [`parse_i64`] accepts exactly the canonical form: what it accepts, formatting gives back byte for byte,
//!   so a string that parses can be stored as an integer without losing anything.
//! - Nothing here allocates but the caller's own buffer.

pub use super::double::{format_f64, format_f64_17, parse_f64};

/// Parses a canonical decimal integer: no plus sign, no spaces, no leading zeros, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        // 19 digits never overflow a u64; i64 has no value with more.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if negative {
        // The magnitude of i64::MIN has no positive counterpart.
        (value <= 1 << 63).then(|| (value as i64).wrapping_neg())
    } else {
        i64::try_from(value).ok()
    }
}

/// Parses an unsigned integer as leniently as Redis does for cursors and stream ids: leading white space, a plus
/// sign and leading zeros are allowed, a value below zero is not.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let text = &text[text.iter().take_while(|byte| is_space(**byte)).count()..];
    let digits = match text {
        [b'+', rest @ ..] => rest,
        _ => text,
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Parses an amount of memory in bytes: digits and an optional unit in any case. `k` is 1000, `kb` is 1024, and
/// so on for `m`, `mb`, `g` and `gb`; `b` and no unit are bytes. `None` for another unit, a sign or an overflow.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    parse_u64(number)?.checked_mul(factor)
}

/// Appends `value` in decimal.
#[inline]
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    // One digit is the most frequent case by far: array lengths, flags, counters that begin.
    if (0..10).contains(&value) {
        out.push(b'0' + value as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Appends `value` in decimal.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// The number of characters of `value` in decimal.
pub fn i64_len(value: i64) -> usize {
    let magnitude = value.unsigned_abs();
    let digits = magnitude.checked_ilog10().map_or(1, |log| log as usize + 1);
    digits + usize::from(value < 0)
}

/// White space of the C locale.
#[inline]
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_i64_accepts_only_the_canonical_form() {
        for value in [
            0,
            1,
            -1,
            9,
            10,
            42,
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
            i64::MIN + 1,
        ] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "-01",
            "00",
            "1a",
            "a",
            "1.0",
            "--1",
            "0x1",
            "1\0",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "10000000000000000000",
            "99999999999999999999",
            "100000000000000000000000000",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn parse_u64_allows_what_strtoull_allows_but_no_negatives() {
        assert_eq!(parse_u64(b"0"), Some(0));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"+007"), Some(7));
        assert_eq!(parse_u64(b" 7"), Some(7));
        for text in [
            "",
            "+",
            " ",
            "18446744073709551616",
            "-1",
            "7 ",
            "1x",
            "++1",
        ] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn parse_memory_knows_both_kinds_of_units() {
        assert_eq!(parse_memory(b"0"), Some(0));
        assert_eq!(parse_memory(b"12b"), Some(12));
        assert_eq!(parse_memory(b"1k"), Some(1000));
        assert_eq!(parse_memory(b"1Kb"), Some(1024));
        assert_eq!(parse_memory(b"2M"), Some(2_000_000));
        assert_eq!(parse_memory(b"2MB"), Some(2 << 20));
        assert_eq!(parse_memory(b"3g"), Some(3_000_000_000));
        assert_eq!(parse_memory(b"3GB"), Some(3 << 30));
        for text in ["", "b", "-1", "1t", "1 mb", "1.5gb", "99999999999gb"] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn formatted_integers_have_the_announced_length() {
        for value in [0, 5, -5, 10, 99, 100, -100, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            push_i64(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(out.len(), i64_len(value));
        }
        let mut out = Vec::new();
        push_u64(&mut out, u64::MAX);
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }
}
