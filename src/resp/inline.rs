//! Splits an inline line (what a person types into telnet) into arguments, with Redis's rules for quotes.
//!
//! Words are separated by white space. `"…"` knows `\n \r \t \b \a \xHH` and takes any other escaped byte literally;
//! `'…'` only knows `\'`. A quote may begin within a word, and what follows a closing quote must be white space or the
//! end.

use bytes::Bytes;

use crate::base::number::is_space;

use super::line::{BIG_ARGUMENT_BYTES_MIN, Span};

/// Splits `text`, which lies at the start of the line's buffer. Words as they are become spans of it; one that had to be
/// rewritten, or is large, becomes a string of its own in `big`. `None` for unbalanced quotes.
pub fn split(text: &[u8], spans: &mut Vec<Span>, big: &mut Vec<Bytes>) -> Option<()> {
    let mut at = 0;
    loop {
        at += text[at..]
            .iter()
            .take_while(|byte| is_space(**byte))
            .count();
        if at == text.len() {
            return Some(());
        }
        let plain = text[at..]
            .iter()
            .take_while(|byte| !ends_plain(**byte))
            .count();
        let end = at + plain;
        if !matches!(text.get(end), Some(b'"' | b'\'')) {
            push(Word::Plain(at, &text[at..end]), spans, big);
            at = end;
            continue;
        }
        let mut word = Vec::new();
        at = quoted_word(text, at, &mut word)?;
        push(Word::Rewritten(word), spans, big);
    }
}

enum Word<'a> {
    Plain(usize, &'a [u8]),
    Rewritten(Vec<u8>),
}

fn push(word: Word<'_>, spans: &mut Vec<Span>, big: &mut Vec<Bytes>) {
    let bytes = match word {
        Word::Plain(at, text) if text.len() < BIG_ARGUMENT_BYTES_MIN => {
            return spans.push(Span::inline(at, text.len()));
        }
        Word::Plain(_, text) => Bytes::copy_from_slice(text),
        Word::Rewritten(text) => Bytes::from(text),
    };
    spans.push(Span::big(big.len(), bytes.len()));
    big.push(bytes);
}

/// What ends a run of plain bytes: a separator or a quote. Vertical tabs and form feeds separate words but do not end
/// one, as in Redis.
fn ends_plain(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'\'')
}

/// Rewrites the word at `text[at..]` into `word` and returns the position behind it.
fn quoted_word(text: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match text.get(at) {
            None | Some(b' ' | b'\n' | b'\r' | b'\t') => return Some(at),
            Some(b'"') => {
                at = double_quoted(text, at + 1, word)?;
                return ends_word(text, at);
            }
            Some(b'\'') => {
                at = single_quoted(text, at + 1, word)?;
                return ends_word(text, at);
            }
            Some(byte) => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

/// A closing quote must be followed by white space or the end.
fn ends_word(text: &[u8], at: usize) -> Option<usize> {
    text.get(at)
        .is_none_or(|byte| is_space(*byte))
        .then_some(at)
}

fn double_quoted(text: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match text.get(at..)? {
            [b'"', ..] => return Some(at + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: &u8| (*byte as char).to_digit(16).unwrap_or(0) as u8;
                word.push(digit(high) << 4 | digit(low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                at += 2;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

fn single_quoted(text: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match text.get(at..)? {
            [b'\'', ..] => return Some(at + 1),
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Line;

    fn check(text: &str, expect: Option<&[&str]>) {
        let (mut spans, mut big) = (Vec::new(), Vec::new());
        let split = split(text.as_bytes(), &mut spans, &mut big);
        let words: Vec<&[u8]> = Line::new(text.as_bytes(), &spans, &big).args().collect();
        let expect: Option<Vec<&[u8]>> =
            expect.map(|words| words.iter().map(|word| word.as_bytes()).collect());
        assert_eq!(split.map(|()| words), expect, "{text:?}");
    }

    #[test]
    fn words_and_quotes() {
        check("", Some(&[]));
        check("  \t ", Some(&[]));
        check("ping", Some(&["ping"]));
        check(" set  a\tb ", Some(&["set", "a", "b"]));
        check(r#"set "a b" 'c d'"#, Some(&["set", "a b", "c d"]));
        check(r#"echo "" ''"#, Some(&["echo", "", ""]));
        check(
            r#"echo "\x41\n\r\t\b\a\q\"""#,
            Some(&["echo", "A\n\r\t\u{8}\u{7}q\""]),
        );
        check(r#"echo "\xZZ""#, Some(&["echo", "xZZ"]));
        check(r"echo '\'\n'", Some(&["echo", r"'\n"]));
        check(r#"foo"bar" x"#, Some(&["foobar", "x"]));
        check("a\u{b}b \u{c}c", Some(&["a\u{b}b", "c"]));
    }

    #[test]
    fn unbalanced_quotes() {
        for text in [
            r#"""#,
            r#""abc"#,
            r#""abc\"#,
            r#""abc\""#,
            "'",
            "'abc",
            r"'abc\'",
            r#""a"b"#,
            "'a'b",
            r#"a"b"c"#,
            r#""a"'b'"#,
        ] {
            check(text, None);
        }
    }
}
