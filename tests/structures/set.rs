//! Sets in all forms, and their algebra, against std's sets.

use std::collections::BTreeSet;

use shardine::base::random::Random as Draws;
use shardine::structures::entry::Collection;
use shardine::structures::listpack::{Element, Listpack};
use shardine::structures::set::{Ints, Limits, Set, algebra};

use super::{Random, rounds};

type Model = BTreeSet<Vec<u8>>;

const LIMITS: Limits = Limits {
    ints: 60,
    entries: 20,
    value_bytes: 12,
};

/// Mostly integers of all widths, or mostly texts.
fn member(random: &mut Random, texts: u64) -> Vec<u8> {
    if random.chance(texts) {
        return format!(
            "m{:0>1$}",
            random.below(80),
            1 + random.below(3) as usize * 5
        )
        .into_bytes();
    }
    let number = random.below(60) as i64 - 30;
    let wide = [1, 1000, 100_000, 1 << 40][random.below(4) as usize];
    (number * wide).to_string().into_bytes()
}

fn bytes(element: Element<'_>) -> Vec<u8> {
    element.to_vec()
}

/// The set holds what the model holds, in a form that Redis would allow.
fn same(set: &Set, model: &Model) {
    assert_eq!(set.len(), model.len());
    assert_eq!(set.is_empty(), model.is_empty());
    let seen: Vec<Vec<u8>> = set.iter().map(bytes).collect();
    assert_eq!(seen.len(), model.len());
    assert_eq!(&seen.into_iter().collect::<Model>(), model);
    match set.encoding() {
        "intset" => {
            assert!(set.len() <= LIMITS.ints);
            let ints = set.as_ints().expect("integers");
            let again = Ints::from_bytes(ints.as_bytes()).expect("what was written");
            assert!(again.iter().eq(ints.iter()));
            assert!(ints.iter().is_sorted());
        }
        "listpack" => {
            assert!(set.len() <= LIMITS.entries);
            assert!(
                model
                    .iter()
                    .all(|member| member.len() <= LIMITS.value_bytes)
            );
        }
        other => assert_eq!(other, "hashtable"),
    }
}

#[test]
fn sets_behave_as_sets() {
    let mut random = Random::from_env();
    let mut draws = Draws::new(random.next());
    for _ in 0..150 * rounds() {
        let texts = [0, 0, 5, 50, 100][random.below(5) as usize];
        let (mut set, mut model) = (Set::default(), Model::new());
        for _ in 0..random.below(250) {
            let name = member(&mut random, texts);
            assert_eq!(set.contains(&name), model.contains(&name));
            let element = Element::of(&name);
            assert_eq!(set.contains_element(element), model.contains(&name));
            match random.below(10) {
                0..=4 => assert_eq!(set.insert(&name, LIMITS), model.insert(name)),
                5 => assert_eq!(
                    set.insert_element(element, LIMITS),
                    model.insert(name.clone())
                ),
                6..=7 => assert_eq!(set.remove(&name), model.remove(&name)),
                8 => {
                    let drawn = set.random(&mut draws).map(bytes);
                    assert_eq!(drawn.is_none(), model.is_empty());
                    assert!(drawn.is_none_or(|drawn| model.contains(&drawn)));
                }
                _ if set.len() > 1 => {
                    let count = random.below(set.len() as u64) as usize;
                    let mut taken = Model::new();
                    let mut all = 0;
                    let take = |element: Element<'_>| {
                        all += 1;
                        taken.insert(bytes(element));
                    };
                    if random.chance(50) {
                        set.sample(count, &mut draws, take);
                    } else {
                        set.take(count, &mut draws, LIMITS, take);
                        model.retain(|member| !taken.contains(member));
                    }
                    assert_eq!((all, taken.len()), (count, count));
                }
                _ => {}
            }
            if random.chance(10) {
                same(&set, &model);
            }
        }
        same(&set, &model);
        same(&set.clone(), &model);
        let mut scanned = Model::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 7, &mut |element| {
                scanned.insert(bytes(element));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, model);
        set.become_ints(LIMITS);
        same(&set, &model);
        while set.free_some(10) > 0 {}
    }
}

#[test]
fn forms_are_those_of_redis() {
    let limits = Limits {
        ints: 512,
        entries: 128,
        value_bytes: 64,
    };
    let mut set = Set::default();
    set.prepare(b"1", 1, limits);
    (0..512).for_each(|number| assert!(set.insert(number.to_string().as_bytes(), limits)));
    assert_eq!(set.encoding(), "intset");
    set.insert(b"512", limits);
    assert_eq!(set.encoding(), "hashtable");
    for (ints, text, encoding) in [
        (127, 64, "listpack"),
        (128, 1, "hashtable"),
        (0, 64, "listpack"),
        (3, 65, "hashtable"),
    ] {
        let mut set = Set::default();
        (0..ints).for_each(|number| assert!(set.insert(number.to_string().as_bytes(), limits)));
        assert!(set.insert(&vec![b'a'; text], limits));
        assert_eq!(set.encoding(), encoding, "{ints} integers, {text} bytes");
    }
    let mut set = Set::default();
    set.prepare(b"a", 129, limits);
    assert_eq!(set.encoding(), "hashtable");
    let no_ints = Limits { ints: 0, ..limits };
    let mut set = Set::default();
    set.prepare(b"1", 1, no_ints);
    set.insert(b"1", no_ints);
    assert_eq!(set.encoding(), "listpack");
}

#[test]
fn memory_is_told_truly() {
    let mut random = Random::from_env();
    let mut set = Set::default();
    assert_eq!(set.memory_bytes(), 0);
    for number in 0..10_000u64 {
        set.insert(
            format!("member:{}", random.below(1 << 40)).as_bytes(),
            LIMITS,
        );
        if number > 1_000 {
            // An element's block of 24 or 32 bytes, and its share of the table.
            let each = set.memory_bytes() / set.len();
            assert!((24..64).contains(&each), "{each}");
        }
    }
    let before = set.memory_bytes();
    assert!(set.free_some(1_000) >= 1_000);
    assert!(set.memory_bytes() < before);
}

#[test]
fn damaged_forms_are_refused() {
    let ints = |width: u32, len: u32, body: &[u8]| {
        let bytes = [&width.to_le_bytes()[..], &len.to_le_bytes()[..], body].concat();
        Set::from_ints(&bytes, LIMITS)
    };
    assert!(ints(2, 2, &[1, 0, 2, 0]).is_ok());
    assert!(ints(2, 0, &[]).is_ok_and(|set| set.is_empty()));
    assert!(ints(8, 1, &[0xFF; 8]).is_ok_and(|set| set.contains(b"-1")));
    assert!(ints(2, 2, &[2, 0, 1, 0]).is_err());
    assert!(ints(2, 2, &[1, 0, 1, 0]).is_err());
    assert!(ints(2, 2, &[1, 0, 2]).is_err());
    assert!(ints(3, 1, &[1, 0, 2]).is_err());
    assert!(ints(8, u32::MAX, &[]).is_err());
    assert!(Set::from_ints(&[2, 0, 0], LIMITS).is_err());
    let mut pack = Listpack::new();
    pack.push_back(b"a");
    pack.push_back(b"5");
    assert!(Set::from_listpack(pack.clone(), LIMITS).is_ok_and(|set| set.len() == 2));
    pack.push_back(b"a");
    assert!(Set::from_listpack(pack, LIMITS).is_err());
    let mut random = Random::from_env();
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..random.below(40))
            .map(|_| random.below(9) as u8)
            .collect();
        let _ = Set::from_ints(&bytes, LIMITS);
    }
}

#[test]
fn algebra_is_that_of_sets() {
    let mut random = Random::from_env();
    for _ in 0..300 * rounds() {
        let mut sets = vec![];
        let mut models = vec![];
        for _ in 0..1 + random.below(5) {
            let (mut set, mut model) = (Set::default(), Model::new());
            let texts = [0, 20, 100][random.below(3) as usize];
            let size = [4, 30, 300][random.below(3) as usize];
            for _ in 0..random.below(size) {
                let name = member(&mut random, texts);
                set.insert(&name, LIMITS);
                model.insert(name);
            }
            sets.push(set);
            models.push(model);
        }
        // The same one may be given twice.
        let mut chosen: Vec<usize> = (0..sets.len()).collect();
        if random.chance(20) {
            chosen.push(random.below(sets.len() as u64) as usize);
        }
        let given: Vec<&Set> = chosen.iter().map(|&index| &sets[index]).collect();
        let model = |combine: fn(&Model, &Model) -> Model| {
            let rest = &chosen[1..];
            rest.iter().fold(models[chosen[0]].clone(), |all, &index| {
                combine(&all, &models[index])
            })
        };
        let check = |emitted: Vec<Vec<u8>>, expected: &Model| {
            assert_eq!(emitted.len(), expected.len());
            assert_eq!(&emitted.into_iter().collect::<Model>(), expected);
        };
        let mut emitted = vec![];
        algebra::union(&given, |element| emitted.push(bytes(element)));
        check(emitted, &model(|a, b| a | b));

        let expected = model(|a, b| a & b);
        let mut emitted = vec![];
        let count = algebra::intersection(&mut given.clone(), usize::MAX, |element| {
            emitted.push(bytes(element));
        });
        assert_eq!(count, expected.len());
        check(emitted, &expected);
        let limit = random.below(10) as usize;
        let count = algebra::intersection(&mut given.clone(), limit, |_| {});
        assert_eq!(count, limit.min(expected.len()));

        let mut emitted = vec![];
        algebra::difference(given[0], &mut given[1..].to_vec(), |element| {
            emitted.push(bytes(element));
        });
        check(emitted, &model(|a, b| a - b));
    }
}

#[test]
fn random_members_are_equally_likely() {
    let mut draws = Draws::new(4);
    for count in [10, 50, 500] {
        let mut set = Set::default();
        (0..count).for_each(|number| {
            set.insert(number.to_string().as_bytes(), LIMITS);
        });
        let mut counts = vec![0u32; count];
        let mut note = |element: Element<'_>| {
            counts[element.to_int().expect("an integer") as usize] += 1;
        };
        set.draw(count * 400, &mut draws, &mut note);
        for _ in 0..400 {
            set.sample(count / 2, &mut draws, &mut note);
            set.sample(count / 5, &mut draws, &mut note);
        }
        // 680 times each: five standard deviations are some 130.
        assert!(
            counts.iter().all(|&times| (530..830).contains(&times)),
            "{count}: {counts:?}"
        );
    }
}
