//! Intersection, union and difference of several sets: the members of the result one by one, each once.
//!
//! A set may be given several times. Nothing is copied: what has to be remembered are borrowed members.

use std::collections::HashSet;

use super::super::listpack::Element;
use super::super::pairs::hash_state;
use super::{Set, canonical};

/// Emits the members of all `sets`, at most `limit` of them. Takes the size of the smallest times the number of sets. `sets` is sorted by
/// size, and not empty.
pub fn intersection<'a>(
    sets: &mut [&'a Set],
    limit: usize,
    mut emit: impl FnMut(Element<'a>),
) -> usize {
    sets.sort_by_key(|set| set.len());
    let Some((&smallest, others)) = sets.split_first() else {
        return 0;
    };
    let others: Vec<&Set> = others
        .iter()
        .copied()
        .filter(|other| !std::ptr::eq(*other, smallest))
        .collect();
    let mut found = 0;
    for member in smallest.iter() {
        if found == limit {
            break;
        }
        if others.iter().all(|other| other.contains_element(member)) {
            emit(member);
            found += 1;
        }
    }
    found
}

/// Emits the members of any of `sets`. Takes their sizes together; remembers what is not in the largest.
pub fn union<'a>(sets: &[&'a Set], mut emit: impl FnMut(Element<'a>)) {
    let Some(&largest) = sets.iter().max_by_key(|set| set.len()) else {
        return;
    };
    largest.iter().for_each(&mut emit);
    let others = || sets.iter().filter(|set| !std::ptr::eq(**set, largest));
    let alone = others().count() < 2;
    let mut seen = HashSet::with_hasher(hash_state());
    for member in others().flat_map(|set| set.iter()) {
        if !largest.contains_element(member) && (alone || seen.insert(canonical(member))) {
            emit(member);
        }
    }
}

/// Emits the members of `first` that are in none of `others`. Takes the lesser of the size of `first` times the number of
/// sets, and all sizes together.
pub fn difference<'a>(first: &'a Set, others: &mut [&'a Set], mut emit: impl FnMut(Element<'a>)) {
    if others.iter().any(|other| std::ptr::eq(*other, first)) {
        return;
    }
    let by_looking_up = first.len().saturating_mul(others.len() + 1);
    let by_striking_out = others.iter().map(|other| other.len()).sum::<usize>() + first.len();
    // Looking up is cheaper for each member, and ends early for those that are found.
    if by_looking_up / 2 <= by_striking_out {
        // What is in some other set is most likely in a large one.
        others.sort_by_key(|other| std::cmp::Reverse(other.len()));
        for member in first.iter() {
            if !others.iter().any(|other| other.contains_element(member)) {
                emit(member);
            }
        }
        return;
    }
    let mut struck: HashSet<Element<'_>, _> = HashSet::with_hasher(hash_state());
    for member in others.iter().flat_map(|other| other.iter()) {
        if first.contains_element(member) {
            struck.insert(canonical(member));
            if struck.len() == first.len() {
                return;
            }
        }
    }
    first
        .iter()
        .filter(|member| !struck.contains(&canonical(*member)))
        .for_each(emit);
}
