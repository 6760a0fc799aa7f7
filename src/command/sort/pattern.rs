//! Patterns that make a key of an element: `weight_*`, or `user:*->name` for a field of a hash.

/// A BY or GET pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without an asterisk: there is no value.
    Nothing,
    /// A key, and a field when it is that of a hash.
    Lookup {
        /// What stands before the element.
        prefix: &'a [u8],
        /// What stands behind it.
        suffix: &'a [u8],
        /// The field.
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    /// Any text is a pattern. The first asterisk stands for the element, and the first arrow behind it, when something follows, begins
    /// the field.
    pub(super) fn parse(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(asterisk) = memchr::memchr(b'*', text) else {
            return Pattern::Nothing;
        };
        let (prefix, rest) = (&text[..asterisk], &text[asterisk + 1..]);
        let arrow = memchr::memmem::find(rest, b"->").filter(|arrow| arrow + 2 < rest.len());
        Pattern::Lookup {
            prefix,
            suffix: &rest[..arrow.unwrap_or(rest.len())],
            field: arrow.map(|arrow| &rest[arrow + 2..]),
        }
    }

    /// It leads to other keys.
    pub(super) fn is_lookup(&self) -> bool {
        matches!(self, Pattern::Lookup { .. })
    }

    /// The field of the hash that it leads to.
    pub(super) fn field(&self) -> Option<&'a [u8]> {
        match self {
            Pattern::Lookup { field, .. } => *field,
            _ => None,
        }
    }

    /// Writes the key for an element to `key`. False when there is none.
    pub(super) fn make_key(&self, element: &[u8], key: &mut Vec<u8>) -> bool {
        let Pattern::Lookup { prefix, suffix, .. } = self else {
            return false;
        };
        key.clear();
        for part in [prefix, element, suffix] {
            key.extend_from_slice(part);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_taken_apart_as_redis_does() {
        let lookup = |prefix, suffix, field| Pattern::Lookup {
            prefix,
            suffix,
            field,
        };
        for (text, expected) in [
            ("#", Pattern::Element),
            ("", Pattern::Nothing),
            ("weight", Pattern::Nothing),
            ("a->b", Pattern::Nothing),
            ("*", lookup(b"", b"", None)),
            ("w_*_x", lookup(b"w_", b"_x", None)),
            ("#*", lookup(b"#", b"", None)),
            ("**", lookup(b"", b"*", None)),
            ("w*->f", lookup(b"w", b"", Some(b"f"))),
            ("w*x->f->g", lookup(b"w", b"x", Some(b"f->g"))),
            ("w*->", lookup(b"w", b"->", None)),
            ("w->*", lookup(b"w->", b"", None)),
        ] {
            assert_eq!(Pattern::parse(text.as_bytes()), expected, "{text}");
        }
    }
}
