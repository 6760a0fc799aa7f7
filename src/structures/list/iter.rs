//! Walking over a list, or a stretch of it, from either end.

use std::collections::vec_deque;

use super::nodes::Node;
use crate::structures::listpack::{self, Element};

/// The elements of a stretch of a list.
#[derive(Clone)]
pub struct Iter<'a> {
    /// What is left of the first node.
    front: listpack::Iter<'a>,
    /// The nodes between.
    nodes: vec_deque::Iter<'a, Node>,
    /// What is left of the last node, unless it is the first.
    back: listpack::Iter<'a>,
    left: usize,
}

impl<'a> Iter<'a> {
    #[inline]
    pub(super) fn new(
        front: listpack::Iter<'a>,
        nodes: vec_deque::Iter<'a, Node>,
        back: listpack::Iter<'a>,
        left: usize,
    ) -> Iter<'a> {
        Iter {
            front,
            nodes,
            back,
            left,
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(element) = self.front.next() {
                self.left -= 1;
                return Some(element);
            }
            match self.nodes.next() {
                Some(node) => self.front = node.pack().iter(),
                None => {
                    let element = self.back.next()?;
                    self.left -= 1;
                    return Some(element);
                }
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(element) = self.back.next_back() {
                self.left -= 1;
                return Some(element);
            }
            match self.nodes.next_back() {
                Some(node) => self.back = node.pack().iter(),
                None => {
                    let element = self.front.next_back()?;
                    self.left -= 1;
                    return Some(element);
                }
            }
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}
