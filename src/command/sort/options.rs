//! SORT's arguments.

use super::super::Fault;
use super::items::Stretch;
use super::pattern::Pattern;
use crate::base::number::parse_i64;
use crate::resp::Line;

/// What a line asks for.
pub(super) struct Options<'a> {
    pub(super) descending: bool,
    /// Weights are compared as bytes, not as numbers.
    pub(super) alpha: bool,
    /// A BY pattern makes the same key of every element: they keep the order that they have.
    pub(super) unsorted: bool,
    /// Makes the keys of the weights; without it elements are their own weights.
    pub(super) by: Option<Pattern<'a>>,
    /// What is returned of each element, instead of itself.
    pub(super) get: Vec<Pattern<'a>>,
    /// The argument with the key that gets the result.
    pub(super) store: Option<usize>,
    offset: i64,
    /// Below zero: all.
    count: i64,
}

impl<'a> Options<'a> {
    /// Parses a line; the last of several equal options counts. `stores`: it may name a destination.
    pub(super) fn parse(line: &Line<'a>, stores: bool) -> Result<Options<'a>, Fault> {
        let mut options = Options {
            descending: false,
            alpha: false,
            unsorted: false,
            by: None,
            get: Vec::new(),
            store: None,
            offset: 0,
            count: -1,
        };
        let integer = |index| parse_i64(line.arg(index)).ok_or(Fault::NotInteger);
        let mut at = 2;
        while at < line.len() {
            let left = line.len() - at - 1;
            if line.is(at, "asc") {
                options.descending = false;
            } else if line.is(at, "desc") {
                options.descending = true;
            } else if line.is(at, "alpha") {
                options.alpha = true;
            } else if line.is(at, "limit") && left >= 2 {
                options.offset = integer(at + 1)?;
                options.count = integer(at + 2)?;
                at += 2;
            } else if stores && line.is(at, "store") && left >= 1 {
                options.store = Some(at + 1);
                at += 1;
            } else if line.is(at, "by") && left >= 1 {
                let pattern = Pattern::parse(line.arg(at + 1));
                options.unsorted |= !pattern.is_lookup();
                options.by = Some(pattern);
                at += 1;
            } else if line.is(at, "get") && left >= 1 {
                options.get.push(Pattern::parse(line.arg(at + 1)));
                at += 1;
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }

    /// Sorts after all, by the bytes of the elements.
    pub(super) fn sort_plainly(&mut self) {
        self.unsorted = false;
        self.alpha = true;
        self.by = None;
    }

    /// The patterns that lead to other keys.
    pub(super) fn lookups(&self) -> impl Iterator<Item = Pattern<'a>> {
        let by = self.by.filter(|_| !self.unsorted);
        let all = by.into_iter().chain(self.get.iter().copied());
        all.filter(Pattern::is_lookup)
    }

    /// Elements that have an order are taken in it, from the end on.
    pub(super) fn takes_from_end(&self) -> bool {
        self.unsorted && self.descending
    }

    /// Of `len` elements that have an order: which must be loaded, and which of these are returned. When they are not sorted, only
    /// what is returned needs to be loaded.
    pub(super) fn part(&self, len: usize) -> (Stretch, Stretch) {
        let Stretch { start, count } = self.stretch(len);
        if !self.unsorted {
            return (
                Stretch {
                    start: 0,
                    count: len,
                },
                Stretch { start, count },
            );
        }
        let loaded = if self.descending {
            len - start - count
        } else {
            start
        };
        (
            Stretch {
                start: loaded,
                count,
            },
            Stretch { start: 0, count },
        )
    }

    /// The elements to return of `len`.
    pub(super) fn stretch(&self, len: usize) -> Stretch {
        let clamp = |value: i64| usize::try_from(value).unwrap_or(0).min(len);
        let start = clamp(self.offset);
        let count = match self.count {
            ..0 => len,
            count => clamp(count),
        };
        Stretch {
            start,
            count: count.min(len - start),
        }
    }
}
