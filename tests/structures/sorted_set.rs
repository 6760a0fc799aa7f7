//! Sorted sets against a std map and a sorted list, in both forms.

use std::collections::BTreeMap;

use shardine::structures::entry::Collection;
use shardine::structures::listpack::{Element, Listpack};
use shardine::structures::sorted_set::{Limits, SortedSet};

use super::{Random, rounds};

const COMPACT: Limits = Limits {
    members: 128,
    member_bytes: 64,
    seed: 1,
};
const FULL: Limits = Limits {
    members: 0,
    ..COMPACT
};

fn member(number: u64) -> Vec<u8> {
    match number % 7 {
        0 => number.to_string().into_bytes(),
        1 => format!("{number:0>60}").into_bytes(),
        _ => format!("member:{number}").into_bytes(),
    }
}

fn score(random: &mut Random) -> f64 {
    match random.below(10) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => random.below(1 << 20) as f64 / 1024.0 - 100.0,
        3 => 1e19 * random.below(5) as f64,
        _ => random.below(40) as f64 - 20.0,
    }
}

/// The model's elements in the set's order.
fn sorted(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<(Vec<u8>, f64)> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    all.sort_by(|left, right| {
        let scores = left.1.partial_cmp(&right.1).expect("no NaN");
        scores.then_with(|| left.0.cmp(&right.0))
    });
    all
}

fn owned<'a>(elements: impl Iterator<Item = (Element<'a>, f64)>) -> Vec<(Vec<u8>, f64)> {
    elements
        .map(|(member, score)| (member.to_vec(), score))
        .collect()
}

fn compare(set: &SortedSet, model: &BTreeMap<Vec<u8>, f64>, random: &mut Random) {
    set.check();
    let expected = sorted(model);
    assert_eq!(set.len(), expected.len());
    assert_eq!(set.is_empty(), expected.is_empty());
    assert_eq!(owned(set.iter()), expected);
    let len = expected.len() as u64 + 1;
    for _ in 0..5 {
        let (one, other) = (random.below(len) as usize, random.below(len) as usize);
        let (start, end) = (one.min(other), one.max(other));
        assert_eq!(owned(set.range(start..end, false)), expected[start..end]);
        let mut backwards = owned(set.range(start..end, true));
        backwards.reverse();
        assert_eq!(backwards, expected[start..end]);
        let bound = score(random);
        assert_eq!(
            set.count_while_score(|score| score < bound),
            expected.iter().filter(|(_, score)| *score < bound).count()
        );
        let at = set.get(one).map(|(member, score)| (member.to_vec(), score));
        assert_eq!(at.as_ref(), expected.get(one));
        if let Some((member, score)) = expected.get(one) {
            assert_eq!(set.rank(member), Some((one, *score)));
        }
    }
    let mut scanned = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = set.scan(cursor, 10, &mut |member, score| {
            scanned.push((member.to_vec(), score));
        });
        if cursor == 0 {
            break;
        }
    }
    scanned.sort_by(|left, right| left.0.cmp(&right.0));
    let all: Vec<(Vec<u8>, f64)> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    assert_eq!(scanned, all);
}

fn run(random: &mut Random, limits: &Limits, members: u64, steps: u64) {
    let mut set = SortedSet::for_members(1, 1, limits);
    let mut model: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
    for phase in 0..4 {
        let insert_percent = if phase % 2 == 0 { 80 } else { 15 };
        for step in 0..steps {
            let name = member(random.below(members));
            if random.chance(insert_percent) {
                let score = score(random);
                assert_eq!(
                    set.insert(&name, score, limits),
                    model.insert(name, score).is_none()
                );
            } else if random.chance(95) {
                assert_eq!(set.remove(&name), model.remove(&name));
            } else {
                let len = model.len() as u64 + 1;
                let start = random.below(len) as usize;
                let end = (start + random.below(30) as usize).min(model.len());
                for (name, _) in &sorted(&model)[start..end] {
                    model.remove(name);
                }
                set.remove_range(start..end);
            }
            let name = member(random.below(members));
            assert_eq!(set.score(&name), model.get(&name).copied());
            if step % (steps / 10) == 0 {
                compare(&set, &model, random);
            }
        }
    }
    compare(&set, &model, random);
    compare(&set.clone(), &model, random);
    if let Some(pack) = set.as_listpack() {
        let read = Listpack::from_bytes(pack.as_bytes()).expect("a listpack");
        let read = SortedSet::from_listpack(read, limits).expect("a sorted set");
        compare(&read, &model, random);
    }
    while set.free_some(100) > 0 {
        set.memory_bytes();
    }
}

#[test]
fn sorted_set_behaves_as_a_sorted_map() {
    let mut random = Random::from_env();
    for _ in 0..rounds() {
        run(&mut random, &COMPACT, 60, 400);
        run(&mut random, &COMPACT, 400, 1_000);
        run(&mut random, &FULL, 60, 400);
        run(&mut random, &FULL, 6_000, 8_000);
    }
}

#[test]
fn sorted_set_of_rising_and_falling_scores_fills_its_nodes() {
    for falling in [false, true] {
        let mut set = SortedSet::for_members(1, 1, &FULL);
        for number in 0..20_000i32 {
            let score = f64::from(if falling { -number } else { number });
            set.insert(&member(number as u64), score, &FULL);
        }
        set.check();
        let per_member = set.memory_bytes() / 20_000;
        assert!(per_member < 80, "{per_member} bytes");
        for rank in [0, 1, 9_999, 19_999] {
            let (_, score) = set.get(rank).expect("a rank");
            let expected = rank as i32 - if falling { 19_999 } else { 0 };
            assert_eq!(score, f64::from(expected));
        }
        set.remove_range(5..19_995);
        set.check();
        assert_eq!(set.len(), 10);
    }
}

#[test]
fn sorted_set_leaves_its_compact_form_when_it_is_too_large() {
    let mut set = SortedSet::default();
    for number in 0..128 {
        set.insert(&member(number), 1.0, &COMPACT);
    }
    assert_eq!(set.encoding(), "listpack");
    set.insert(&member(5), 2.0, &COMPACT);
    assert_eq!(set.encoding(), "listpack");
    set.insert(&member(128), 1.0, &COMPACT);
    assert_eq!(set.encoding(), "skiplist");
    let mut set = SortedSet::default();
    set.insert(&[b'x'; 64], 1.0, &COMPACT);
    assert_eq!(set.encoding(), "listpack");
    set.insert(&[b'y'; 65], 1.0, &COMPACT);
    assert_eq!(set.encoding(), "skiplist");
    assert_eq!(set.len(), 2);
}

#[test]
fn listpacks_that_are_no_sorted_sets_are_refused() {
    let read = |elements: &[&str]| {
        let mut pack = Listpack::new();
        for element in elements {
            pack.push_back(element.as_bytes());
        }
        SortedSet::from_listpack(pack, &COMPACT).map(|set| set.len())
    };
    assert_eq!(read(&["a", "1", "b", "1", "c", "2.5"]), Ok(3));
    assert_eq!(read(&["a", "-inf", "b", "inf"]), Ok(2));
    for elements in [
        &["a"][..],
        &["a", "x"],
        &["a", "nan"],
        &["a", "1", "b"],
        &["b", "1", "a", "1"],
        &["a", "2", "b", "1"],
        &["a", "1", "b", "2", "a", "3"],
        &["a", "1", "a", "1"],
    ] {
        assert!(read(elements).is_err(), "{elements:?}");
    }
}
