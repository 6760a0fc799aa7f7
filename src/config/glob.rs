//! The patterns of CONFIG GET: `*`, `?`, `[a-z]`, `[^a]`, `\x`, without regard to case.

/// Whether the text matches the pattern, both taken in lower case.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // After a mismatch only the last star can give way, so one place to go back to is enough: time is
    // bounded by the product of both lengths whatever the pattern.
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if at < pattern.len() && pattern[at] == b'*' {
            star = Some((at + 1, position));
            at += 1;
            continue;
        }
        if position == text.len() && at == pattern.len() {
            return true;
        }
        if position < text.len()
            && at < pattern.len()
            && let (true, length) = one(&pattern[at..], text[position])
        {
            at += length;
            position += 1;
            continue;
        }
        match star {
            Some((after, tried)) if tried < text.len() => {
                star = Some((after, tried + 1));
                (at, position) = (after, tried + 1);
            }
            _ => return false,
        }
    }
}

/// Whether the pattern's first element takes the byte, and how long that element is.
fn one(pattern: &[u8], byte: u8) -> (bool, usize) {
    let byte = byte.to_ascii_lowercase();
    match pattern {
        [b'?', ..] => (true, 1),
        [b'\\', escaped, ..] => (escaped.to_ascii_lowercase() == byte, 2),
        [b'[', ..] => set(pattern, byte),
        [literal, ..] => (literal.to_ascii_lowercase() == byte, 1),
        [] => (false, 0),
    }
}

/// The element `[…]`; one that is not closed reaches to the end of the pattern.
fn set(pattern: &[u8], byte: u8) -> (bool, usize) {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= escaped.to_ascii_lowercase() == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (first.to_ascii_lowercase(), last.to_ascii_lowercase());
                found |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= literal.to_ascii_lowercase() == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "aXbXXc", true),
            ("MAX*y", "maxmemory", true),
            ("max?emory", "maxmemory", true),
            ("[lm]ax*", "maxmemory", true),
            ("[^m]ax*", "maxmemory", false),
            ("[a-z]*", "maxmemory", true),
            ("[z-a]*", "maxmemory", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[", "a", false),
            ("[a", "a", true),
            ("***", "abc", true),
            ("?", "", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product() {
        assert!(!matches(
            "*a".repeat(500).as_bytes(),
            "a".repeat(499).as_bytes()
        ));
    }
}
