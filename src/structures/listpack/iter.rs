//! Walking over a listpack from either end.

use super::Pos;
use super::element::{Element, decode, previous};

/// The elements of a stretch of a listpack.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: Pos,
    back: Pos,
}

impl<'a> Iter<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], front: Pos, back: Pos) -> Iter<'a> {
        Iter { bytes, front, back }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (element, length) = decode(self.bytes, self.front);
        self.front += length;
        Some(element)
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        self.back = previous(self.bytes, self.back)?;
        Some(decode(self.bytes, self.back).0)
    }
}

impl std::iter::FusedIterator for Iter<'_> {}
