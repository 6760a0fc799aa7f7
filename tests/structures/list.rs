//! The list against a deque.

use std::collections::VecDeque;

use shardine::keyspace::Collection;
use shardine::structures::list::{End, List, NodeLimit};

use super::{Random, rounds};

type Model = VecDeque<Vec<u8>>;

fn element(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0..8 => random.below(50).to_string().into_bytes(),
        8..19 => vec![b'a' + random.below(4) as u8; random.below(60) as usize],
        _ => vec![b'x'; random.below(12_000) as usize],
    }
}

fn end(random: &mut Random) -> End {
    if random.chance(50) {
        End::Front
    } else {
        End::Back
    }
}

fn check(list: &List, model: &Model) {
    assert_eq!(list.len(), model.len());
    assert_eq!(list.iter().len(), model.len());
    assert!(
        list.iter()
            .map(|element| element.to_vec())
            .eq(model.iter().cloned())
    );
    let nodes = match list.nodes() {
        None => return assert_eq!(list.encoding(), "listpack"),
        Some(nodes) => nodes.collect::<Vec<_>>(),
    };
    assert_eq!(list.encoding(), "quicklist");
    assert!(
        nodes
            .iter()
            .all(|node| node.count() == node.pack().len() && node.count() > 0)
    );
    let packs: usize = nodes.iter().map(|node| node.pack().memory_bytes()).sum();
    assert!(list.memory_bytes() >= packs + nodes.len() * 16);
    assert!(list.memory_bytes() <= packs + nodes.len() * 160 + 400);
}

#[test]
fn list_behaves_as_a_deque() {
    let mut random = Random::from_env();
    let random = &mut random;
    for _ in 0..12 * rounds() {
        let setting = [-2, -1, -5, 0, 1, 3, 128, 100_000][random.below(8) as usize];
        let limit = NodeLimit::from_setting(setting);
        let mut list = List::default();
        let mut model = Model::new();
        for phase in 0..4 {
            let grows = if phase % 2 == 0 { 80 } else { 25 };
            for step in 0..400 {
                if random.chance(grows) {
                    grow(random, &mut list, &mut model, limit);
                } else {
                    shrink(random, &mut list, &mut model, limit);
                }
                look(random, &list, &model);
                if step % 8 == 0 {
                    check(&list, &model);
                }
            }
            check(&list.clone(), &model);
        }
        while list.free_some(10) > 0 {}
    }
}

fn grow(random: &mut Random, list: &mut List, model: &mut Model, limit: NodeLimit) {
    let new = element(random);
    list.make_room(new.len(), 1, limit);
    if random.chance(60) {
        let end = end(random);
        list.push(end, &new, limit);
        match end {
            End::Front => model.push_front(new),
            End::Back => model.push_back(new),
        }
        return;
    }
    let pivot = element(random);
    let behind = random.chance(50);
    let found = model.iter().position(|element| *element == pivot);
    assert_eq!(list.insert(&pivot, behind, &new, limit), found.is_some());
    if let Some(found) = found {
        model.insert(found + usize::from(behind), new);
    }
}

fn shrink(random: &mut Random, list: &mut List, model: &mut Model, limit: NodeLimit) {
    let len = model.len();
    match random.below(10) {
        0 => {
            let start = random.below(len as u64 + 2) as usize;
            let count = random.below(40) as usize;
            list.remove_range(start, count);
            let start = start.min(len);
            model.drain(start..(start + count).min(len));
        }
        1 => {
            let needle = element(random);
            let max = 1 + random.below(4) as usize;
            let end = end(random);
            let mut found: Vec<usize> = (0..len).filter(|&at| model[at] == needle).collect();
            if end == End::Front {
                found.reverse();
            }
            let removed = &found[found.len().saturating_sub(max)..];
            assert_eq!(list.remove(&needle, end, max), removed.len());
            let mut removed = removed.to_vec();
            removed.sort_unstable();
            for at in removed.into_iter().rev() {
                model.remove(at);
            }
        }
        2..5 => {
            let index = random.below(len as u64 + 2) as usize;
            let new = element(random);
            list.make_room(new.len(), 1, limit);
            assert_eq!(list.set(index, &new, limit), index < len);
            if index < len {
                model[index] = new;
            }
        }
        _ => {
            let end = end(random);
            let expected = match end {
                End::Front => model.pop_front(),
                End::Back => model.pop_back(),
            };
            assert_eq!(list.peek(end).map(|element| element.to_vec()), expected);
            list.remove_end(end, 1);
        }
    }
    if random.chance(30) {
        list.compact(limit, true);
    }
}

fn look(random: &mut Random, list: &List, model: &Model) {
    let len = model.len();
    let index = random.below(len as u64 + 2) as usize;
    let found = list.get(index).map(|element| element.to_vec());
    assert_eq!(found.as_ref(), model.get(index));
    let count = random.below(20) as usize;
    let (start, end) = (index.min(len), (index + count).min(len));
    let expected: Vec<&Vec<u8>> = model.range(start..end).collect();
    let mut range = list.range(index, count);
    assert_eq!(range.len(), expected.len());
    let (mut front, mut back) = (0, expected.len());
    while front < back {
        let next = if random.chance(50) {
            front += 1;
            (range.next(), expected[front - 1])
        } else {
            back -= 1;
            (range.next_back(), expected[back])
        };
        assert_eq!(
            next.0.map(|element| element.to_vec()).as_ref(),
            Some(next.1)
        );
    }
    assert_eq!((range.next(), range.next_back()), (None, None));
}

#[test]
fn a_long_list_goes_full_and_comes_back_at_half() {
    let limit = NodeLimit::from_setting(4);
    // What is left when the list is compact again: one node, of half the limit at most.
    for (end, compact_at) in [(End::Front, 1), (End::Back, 2)] {
        let mut list = List::default();
        for number in 0..5 {
            list.make_room(1, 1, limit);
            list.push(End::Back, number.to_string().as_bytes(), limit);
            let full = number == 4;
            assert_eq!(list.nodes().is_some(), full);
        }
        for left in (1..5).rev() {
            list.remove_end(end, 1);
            list.compact(limit, true);
            assert_eq!(list.len(), left);
            assert_eq!(list.nodes().is_some(), left > compact_at, "{left} left");
        }
    }
}

#[test]
fn many_elements_take_little_more_than_themselves() {
    let limit = NodeLimit::from_setting(-2);
    let mut list = List::default();
    for number in 0..200_000u64 {
        list.make_room(16, 1, limit);
        list.push(End::Back, format!("element:{number:08}").as_bytes(), limit);
    }
    let bytes = list.memory_bytes() as f64 / list.len() as f64;
    assert!(bytes < 18.3, "{bytes} bytes per element of 18");
    assert_eq!(list.remove(b"element:00100000", End::Back, 1), 1);
    list.remove_range(1, 199_997);
    assert_eq!(list.len(), 2);
    assert!(list.memory_bytes() < 1_000, "{}", list.memory_bytes());
}
