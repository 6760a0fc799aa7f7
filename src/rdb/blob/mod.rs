//! Blobs: collections that older encodings hold as one string. Listpacks, the newer ones, are a structure of their own.
//!
//! | file | what | in |
//! |---|---|---|
//! | `zipmap` | pairs of strings | Redis 2.4 and earlier |
//! | `ziplist` | strings and integers, each knowing the length of the one before | Redis 2.6 to 6.2 |
//!
//! Each is an iterator over elements that borrow from the blob. What it yields was checked: an element lies inside the
//! blob and all that the blob says of it is true. What lies at the end is checked when the end is reached; an error is the
//! last that comes. Nothing is allocated.

pub(super) mod ziplist;
pub(super) mod zipmap;

use super::error::Problem;
use crate::structures::listpack::Element;

/// What the iterators yield.
pub(super) type Next<'a> = Result<Element<'a>, Problem>;

/// A sign-extended little-endian integer of up to eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let mut word = [0; 8];
    word[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(word) >> (64 - 8 * bytes.len())
}

/// An iterator of elements taken two by two; an odd one is an error.
pub(super) fn pairs<'a>(
    mut elements: impl Iterator<Item = Next<'a>>,
    odd: &'static str,
) -> impl Iterator<Item = Result<(Element<'a>, Element<'a>), Problem>> {
    std::iter::from_fn(move || {
        let first = elements.next()?;
        Some(first.and_then(|first| {
            let second = elements.next().unwrap_or(Err(Problem::Corrupt(odd)))?;
            Ok((first, second))
        }))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_of_all_widths_keep_their_sign() {
        assert_eq!(integer(&[0xFF]), -1);
        assert_eq!(integer(&[0, 0x80]), -32768);
        assert_eq!(integer(&[0xFF, 0xFF, 0x7F]), 0x7F_FFFF);
        assert_eq!(integer(&i64::MIN.to_le_bytes()), i64::MIN);
    }

    #[test]
    fn an_odd_element_is_an_error() {
        let one = [Ok(Element::Int(1))].into_iter();
        let all: Vec<_> = pairs(one, "pair").collect();
        assert_eq!(all, [Err(Problem::Corrupt("pair"))]);
    }

    /// Reads a blob in every format; returns how many elements came before the error.
    fn read_all(bytes: &[u8]) {
        for elements in [
            ziplist::elements(bytes).map(Iterator::count),
            zipmap::elements(bytes).map(Iterator::count),
        ] {
            let count = elements.unwrap_or(0);
            assert!(count <= bytes.len() + 1, "{count} elements");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            read_all(&bytes);
        }

        #[test]
        fn nothing_panics_behind_a_good_header(
            body in prop::collection::vec(any::<u8>(), 1..60), count in 0u16..20,
        ) {
            let mut ziplist = (body.len() as u32 + 10).to_le_bytes().to_vec();
            ziplist.extend(10u32.to_le_bytes());
            ziplist.extend(count.to_le_bytes());
            ziplist.extend(&body);
            read_all(&ziplist);
        }
    }
}
