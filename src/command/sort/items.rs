//! The elements to sort: copied side by side, since what they are sorted by comes out of the same keyspace.

use std::cmp::Ordering;
use std::ops::Range;

use crate::base::number::{is_space, parse_f64};
use crate::structures::listpack::Element;

/// Some elements, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: usize,
    pub(super) count: usize,
}

/// Bytes among all bytes.
#[derive(Clone, Copy)]
struct Text {
    start: usize,
    len: usize,
}

/// What an element is sorted by.
#[derive(Clone, Copy)]
enum Weight {
    /// Itself, as bytes.
    Itself,
    /// Nothing was found: 0 among numbers, and before all bytes.
    Missing,
    Number(f64),
    Text(Text),
}

struct Item {
    element: Text,
    weight: Weight,
}

/// The elements, and which of them are returned when they are in order.
#[derive(Default)]
pub(super) struct Items {
    bytes: Vec<u8>,
    items: Vec<Item>,
    selected: Range<usize>,
}

impl Items {
    /// Appends elements.
    pub(super) fn extend<'a>(&mut self, elements: impl Iterator<Item = Element<'a>>) {
        let mut buffer = itoa::Buffer::new();
        for element in elements {
            self.push(element.to_bytes(&mut buffer));
        }
    }

    /// Appends an element.
    pub(super) fn push(&mut self, element: &[u8]) {
        let element = self.keep(element);
        self.items.push(Item {
            element,
            weight: Weight::Itself,
        });
    }

    /// Says which elements are returned. All of these must be there.
    pub(super) fn select(&mut self, stretch: Stretch) {
        self.selected = stretch.start..stretch.start + stretch.count;
    }

    /// The indexes of the elements that are returned.
    pub(super) fn selected(&self) -> Range<usize> {
        self.selected.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn element(&self, index: usize) -> &[u8] {
        self.text(self.items[index].element)
    }

    pub(super) fn elements(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().map(|item| self.text(item.element))
    }

    /// Elements are numbers and sorted by their value; `None` when one is no number.
    pub(super) fn weigh_by_themselves(&mut self) -> Option<()> {
        for index in 0..self.items.len() {
            let number = parse_weight(self.element(index))?;
            self.items[index].weight = Weight::Number(number);
        }
        Some(())
    }

    /// The weights come from elsewhere; what does not come is missing.
    pub(super) fn weigh_by_others(&mut self) {
        for item in &mut self.items {
            item.weight = Weight::Missing;
        }
    }

    pub(super) fn set_number(&mut self, index: usize, number: f64) {
        self.items[index].weight = Weight::Number(number);
    }

    pub(super) fn set_text(&mut self, index: usize, text: &[u8]) {
        self.items[index].weight = Weight::Text(self.keep(text));
    }

    /// Sorts as far as the selected elements need it.
    pub(super) fn sort(&mut self, alpha: bool, descending: bool) {
        let mut items = std::mem::take(&mut self.items);
        let compare = |a: &Item, b: &Item| {
            let order = if alpha {
                self.compare_texts(a, b)
            } else {
                self.compare_numbers(a, b)
            };
            if descending { order.reverse() } else { order }
        };
        let Range { start, end } = self.selected.clone();
        // Equal weights keep the order that the elements had, so a part can only be picked out where they are none.
        let picks = !alpha && end < items.len() / 2;
        if picks && start < end {
            items.select_nth_unstable_by(end, compare);
            items[..end].sort_by(compare);
        } else {
            items.sort_by(compare);
        }
        self.items = items;
    }

    /// Elements of equal weight are in the order of their bytes.
    fn compare_numbers(&self, a: &Item, b: &Item) -> Ordering {
        let number = |item: &Item| match item.weight {
            Weight::Number(number) => number,
            _ => 0.0,
        };
        let order = number(a).partial_cmp(&number(b));
        match order {
            Some(Ordering::Equal) | None => self.text(a.element).cmp(self.text(b.element)),
            Some(order) => order,
        }
    }

    fn compare_texts(&self, a: &Item, b: &Item) -> Ordering {
        let text = |item: &Item| match item.weight {
            Weight::Itself => Some(self.text(item.element)),
            Weight::Text(text) => Some(self.text(text)),
            _ => None,
        };
        text(a).cmp(&text(b))
    }

    fn text(&self, text: Text) -> &[u8] {
        &self.bytes[text.start..text.start + text.len]
    }

    fn keep(&mut self, bytes: &[u8]) -> Text {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Text {
            start,
            len: bytes.len(),
        }
    }
}

/// A number as C's `strtod` reads it, up to the first zero byte: with white space in front, and nothing at all being 0.
pub(super) fn parse_weight(text: &[u8]) -> Option<f64> {
    let text = match memchr::memchr(0, text) {
        Some(end) => &text[..end],
        None => text,
    };
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = text.iter().take_while(|byte| is_space(**byte)).count();
    parse_f64(&text[blanks..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_strtod_does() {
        for (text, expected) in [
            ("", Some(0.0)),
            (" \t12", Some(12.0)),
            ("1.5e3", Some(1500.0)),
            ("0x10", Some(16.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("12\0x", Some(12.0)),
            ("\0", Some(0.0)),
            (" ", None),
            ("12 ", None),
            ("nan", None),
            ("x", None),
            ("1e400", None),
        ] {
            assert_eq!(parse_weight(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_part_is_that_of_the_whole_order() {
        let numbers = (0..1000u64).map(|number| (number * 7919 % 500).to_string());
        let texts: Vec<String> = numbers.collect();
        let sorted = |count| {
            let mut items = Items::default();
            texts.iter().for_each(|text| items.push(text.as_bytes()));
            items.select(Stretch { start: 0, count });
            assert!(items.weigh_by_themselves().is_some());
            items.sort(false, true);
            let selected = items.selected();
            selected
                .map(|index| items.element(index).to_vec())
                .collect::<Vec<_>>()
        };
        let all = sorted(1000);
        assert!(
            all.is_sorted_by_key(|text| std::cmp::Reverse(parse_weight(text).map(|n| n as i64)))
        );
        for count in [0, 1, 2, 10, 499, 500, 501, 999] {
            assert_eq!(sorted(count), all[..count], "{count}");
        }
    }
}
