//! Patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET know them.
//!
//! `*` any run of bytes, `?` any byte, `[a-c]`, `[^x]` a class, `\` takes the next byte literally. Malformed patterns
//! match as they do in Redis: an unclosed class ends with the pattern, a last lone `\` is itself.
//!
//! Every element but `*` matches exactly one byte, so that going back to the latest `*` is enough: the time is at
//! most the product of the two lengths, never exponential.

/// `text` matches `pattern` as a whole; `nocase` ignores the case of ASCII letters.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        // Not even `*` matches the empty text in Redis; callers treat a lone `*` as "all" beforehand.
        return pattern.is_empty();
    }
    let mut pattern_at = 0;
    let mut text_at = 0;
    // Where to go on when the attempt fails: behind the latest star, one byte of the text further.
    let mut star: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern_at < pattern.len() {
            if pattern[pattern_at] == b'*' {
                pattern_at += 1;
                star = Some((pattern_at, text_at));
                continue;
            }
            let (matched, next) = match_one(&pattern[pattern_at..], text[text_at], nocase);
            if matched {
                pattern_at += next;
                text_at += 1;
                continue;
            }
        }
        let Some((behind_star, from)) = star else {
            return false;
        };
        if behind_star == pattern.len() {
            return true;
        }
        text_at = from + 1;
        pattern_at = behind_star;
        star = Some((behind_star, text_at));
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'*')
}

/// Matches the element at the start of `pattern` (not a star) against `byte`; the second value is its length.
#[inline]
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'[', ..] => match_class(pattern, byte, nocase),
        [b'\\', literal, ..] => (same(*literal, byte, nocase), 2),
        [literal, ..] => (same(*literal, byte, nocase), 1),
        [] => (false, 0),
    }
}

/// Matches a class that starts at `pattern[0]`.
fn match_class(pattern: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut matched = false;
    loop {
        match &pattern[at..] {
            // An unclosed class ends with the pattern.
            [] => break,
            // The escaped byte of a class is compared as it is, even when case is ignored.
            [b'\\', literal, ..] => {
                matched |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                matched |= in_range(*first, *last, byte, nocase);
                at += 3;
            }
            [literal, ..] => {
                matched |= same(*literal, byte, nocase);
                at += 1;
            }
        }
    }
    (matched != negated, at)
}

/// A range compares signed bytes, as C's `char` on x86, and its ends may come in either order.
fn in_range(first: u8, last: u8, byte: u8, nocase: bool) -> bool {
    let (mut low, mut high) = (first as i8, last as i8);
    if low > high {
        (low, high) = (high, low);
    }
    if nocase {
        let lower = |byte: i8| (byte as u8).to_ascii_lowercase() as i8;
        (lower(low)..=lower(high)).contains(&lower(byte as i8))
    } else {
        (low..=high).contains(&(byte as i8))
    }
}

#[inline]
fn same(left: u8, right: u8, nocase: bool) -> bool {
    left == right || (nocase && left.eq_ignore_ascii_case(&right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &[u8], matching: &[&[u8]], others: &[&[u8]]) {
        for text in matching {
            assert!(
                matches(pattern, text, false),
                "{} {}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
        }
        for text in others {
            assert!(
                !matches(pattern, text, false),
                "{} {}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn stars_and_question_marks() {
        check(b"*", &[b"a", b"abc"], &[b""]);
        check(b"", &[b""], &[b"a"]);
        check(b"**", &[b"a"], &[b""]);
        check(b"a*", &[b"a", b"ab", b"abc"], &[b"b", b""]);
        check(b"*a", &[b"a", b"ba", b"aa"], &[b"ab"]);
        check(b"h?llo", &[b"hello", b"h?llo"], &[b"hllo", b"heello"]);
        check(b"*a*b*", &[b"ab", b"xaxbx"], &[b"ba", b"a"]);
        check(b"a**?", &[b"ab", b"abc"], &[b"a"]);
    }

    #[test]
    fn classes_also_malformed_ones() {
        check(b"h[ae]llo", &[b"hallo", b"hello"], &[b"hillo", b"h[llo"]);
        check(b"h[^e]llo", &[b"hallo"], &[b"hello"]);
        check(b"[a-c]", &[b"a", b"b", b"c"], &[b"d", b"-"]);
        check(b"[c-a]", &[b"a", b"b", b"c"], &[b"d", b"-"]);
        // The range reaches to the bracket, and the class is not closed.
        check(b"[a-]", &[b"a", b"]", b"^"], &[b"-", b"b"]);
        check(b"[\\]]", &[b"]"], &[b"\\"]);
        check(b"[ab", &[b"a", b"b"], &[b"[", b"ab"]);
        check(b"[", &[], &[b"[", b"a"]);
        check(b"[^", &[b"a", b"["], &[b"aa"]);
        check(b"[]", &[], &[b"]", b"a"]);
        check(b"[^]", &[b"a"], &[b""]);
        check(b"[\\", &[b"\\"], &[b"["]);
        // Signed: 0x80 to 0xff lie below zero.
        check(b"[\x80-a]", &[b"\xff", b"\x00", b"a"], &[b"b", b"\x7f"]);
    }

    #[test]
    fn a_backslash_takes_the_next_byte_literally() {
        check(b"a\\*", &[b"a*"], &[b"ab", b"a\\*"]);
        check(b"a\\", &[b"a\\"], &[b"a"]);
        check(b"\\a", &[b"a"], &[b"\\a"]);
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(matches(b"MaxMem*", b"maxmemory", true));
        assert!(matches(b"[A-C]x", b"bX", true));
        assert!(!matches(b"[\\A]", b"a", true));
        assert!(!matches(b"A", b"a", false));
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let text = [b'a'; 10_000];
        let pattern = b"a*".repeat(500);
        assert!(matches(&pattern, &text, false));
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text, false));
    }
}
