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
