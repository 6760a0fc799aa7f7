//! The timeouts of commands that wait.

use super::Fault;
use crate::base::extended::Extended;
use crate::base::number::parse_i64;

/// Seconds, with a fraction, as milliseconds, rounded up; 0 is for ever.
pub fn parse_seconds(text: &[u8], now_ms: i64) -> Result<u64, Fault> {
    let seconds = Extended::parse(text).map(Extended::to_f64);
    let Some(seconds) = seconds else {
        return Err(Fault::text("ERR timeout is not a float or out of range"));
    };
    let ms = (seconds * 1000.0).ceil();
    if ms > i64::MAX as f64 {
        return Err(out_of_range());
    }
    // What is beyond the numbers on the other side is negative too.
    in_range(ms as i64, now_ms)
}

/// Whole milliseconds; 0 is for ever.
pub fn parse_ms(text: &[u8], now_ms: i64) -> Result<u64, Fault> {
    match parse_i64(text) {
        Some(ms) => in_range(ms, now_ms),
        None => Err(Fault::text("ERR timeout is not an integer or out of range")),
    }
}

fn in_range(ms: i64, now_ms: i64) -> Result<u64, Fault> {
    if ms < 0 {
        return Err(Fault::text("ERR timeout is negative"));
    }
    match ms.checked_add(now_ms) {
        Some(_) => Ok(ms as u64),
        None => Err(out_of_range()),
    }
}

fn out_of_range() -> Fault {
    Fault::text("ERR timeout is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_to_milliseconds() {
        let now_ms = 1_700_000_000_000;
        let parse = |text: &str| match parse_seconds(text.as_bytes(), now_ms) {
            Ok(ms) => ms.to_string(),
            Err(fault) => fault.to_string(),
        };
        for (text, ms) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0001", "0"),
            ("0.0001", "1"),
            ("1e-300", "1"),
            ("1e-4000", "1"),
            ("0.5", "500"),
            ("1.0005", "1001"),
            ("0x10", "16000"),
            ("9e15", "9000000000000000000"),
        ] {
            assert_eq!(parse(text), ms, "{text}");
        }
        for text in ["", "abc", "1 ", " 1", "nan", "1,5"] {
            assert_eq!(
                parse(text),
                "ERR timeout is not a float or out of range",
                "{text}"
            );
        }
        for text in ["-1", "-0.001", "-inf", "-1e4000"] {
            assert_eq!(parse(text), "ERR timeout is negative", "{text}");
        }
        for text in ["inf", "1e400", "1e4000", "9.3e15", "9223372036854775"] {
            assert_eq!(parse(text), "ERR timeout is out of range", "{text}");
        }
    }

    #[test]
    fn milliseconds_are_integers() {
        assert_eq!(parse_ms(b"0", 5), Ok(0));
        assert_eq!(parse_ms(b"1500", 5), Ok(1500));
        for (text, error) in [
            ("-1", "ERR timeout is negative"),
            ("1.5", "ERR timeout is not an integer or out of range"),
            ("", "ERR timeout is not an integer or out of range"),
            ("9223372036854775807", "ERR timeout is out of range"),
        ] {
            let fault = parse_ms(text.as_bytes(), 5).expect_err(text);
            assert_eq!(fault.to_string(), error);
        }
    }
}
