//! Words of a line of redis.conf, and the quoting that puts any text into one word.
//!
//! Words are parted by blanks. `"…"` knows the escapes `\n \r \t \b \a \\ \" \xHH`, `'…'` only `\'`; a closing
//! quote must be followed by a blank or the end of the line.

use thiserror::Error;

/// Why a line cannot be split into words.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QuoteError {
    /// A quote is not closed, or its end is followed by more of the same word.
    #[error("unbalanced quotes")]
    Unbalanced,
    /// An escape makes bytes that are no text.
    #[error("the value is not valid UTF-8")]
    NotText,
}

/// Splits a line into its words.
pub fn split_arguments(line: &str) -> Result<Vec<String>, QuoteError> {
    let mut rest = line.as_bytes();
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let mut word = Vec::new();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => break,
                b'"' => quoted(tail, b'"', &mut word)?,
                b'\'' => quoted(tail, b'\'', &mut word)?,
                _ => {
                    word.push(byte);
                    tail
                }
            };
        }
        // The vertical tab parts words but is not among the blanks of `trim_ascii_start`.
        rest = rest.strip_prefix(b"\x0b").unwrap_or(rest);
        words.push(String::from_utf8(word).map_err(|_| QuoteError::NotText)?);
    }
}

/// Reads up to the closing quote; returns what follows it.
fn quoted<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Result<&'a [u8], QuoteError> {
    loop {
        let (byte, tail) = match rest {
            [b'\\', b'x', high, low, tail @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), tail)
            }
            [b'\\', b'\'', tail @ ..] if quote == b'\'' => (b'\'', tail),
            [b'\\', escape, tail @ ..] if quote == b'"' => (
                match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                },
                tail,
            ),
            [end, tail @ ..] if *end == quote => {
                let closed = tail
                    .first()
                    .is_none_or(|next| next.is_ascii_whitespace() || *next == 0x0b);
                return if closed {
                    Ok(tail)
                } else {
                    Err(QuoteError::Unbalanced)
                };
            }
            [byte, tail @ ..] => (*byte, tail),
            [] => return Err(QuoteError::Unbalanced),
        };
        word.push(byte);
        rest = tail;
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// The text as one word in double quotes, printable ASCII only.
pub fn quote(text: &str) -> String {
    use std::fmt::Write;
    let mut word = String::with_capacity(text.len() + 2);
    word.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => word.extend(['\\', byte.into()]),
            b'\n' => word.push_str("\\n"),
            b'\r' => word.push_str("\\r"),
            b'\t' => word.push_str("\\t"),
            0x07 => word.push_str("\\a"),
            0x08 => word.push_str("\\b"),
            b' '..=b'~' => word.push(byte.into()),
            _ => write!(word, "\\x{byte:02x}").expect("writing to a string cannot fail"),
        }
    }
    word.push('"');
    word
}

/// The text as one word, quoted only where it has to be.
pub(super) fn word(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte));
    if plain { text.into() } else { quote(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_split_and_unquoted() {
        for (line, words) in [
            ("", vec![]),
            ("  \t ", vec![]),
            ("a  b\tc", vec!["a", "b", "c"]),
            ("a\x0bb", vec!["a", "b"]),
            (r#"save "" """#, vec!["save", "", ""]),
            (r#"a "b c" 'd e'"#, vec!["a", "b c", "d e"]),
            (r#""\x41\n\"\\\q" '\n\''"#, vec!["A\n\"\\q", "\\n'"]),
            (r#"pre"fix""#, vec!["prefix"]),
            (r#""\xc3\xa9""#, vec!["é"]),
            ("é 'ü'", vec!["é", "ü"]),
        ] {
            assert_eq!(split_arguments(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn unbalanced_quotes_are_errors() {
        for line in [r#"a "b"#, r#"a 'b"#, r#""a"b"#, r#""a\""#, "'a'b"] {
            assert_eq!(split_arguments(line), Err(QuoteError::Unbalanced), "{line}");
        }
        assert_eq!(split_arguments(r#""\xff""#), Err(QuoteError::NotText));
    }

    proptest! {
        #[test]
        fn quoted_text_comes_back(text in any::<String>()) {
            prop_assert_eq!(split_arguments(&quote(&text)).unwrap(), vec![text]);
        }

        #[test]
        fn any_line_is_words_or_an_error(line in any::<String>()) {
            let _ = split_arguments(&line);
        }
    }
}
