//! Hashes against std's maps, in all their forms, with fields that expire.

use std::collections::BTreeMap;

use shardine::structures::entry::Collection;
use shardine::structures::hash::{Found, Hash, Limits, SEE_ALL, Ttl};
use shardine::structures::listpack::Listpack;

use super::{Random, rounds};

const LIMITS: Limits = Limits {
    entries: 20,
    value_bytes: 16,
};

fn name(random: &mut Random, names: u64) -> Vec<u8> {
    // Canonical integers, words and names that only look like integers.
    let number = random.below(names);
    match number % 3 {
        0 => number.to_string().into_bytes(),
        1 => format!("f{number}").into_bytes(),
        _ => format!("0{number}").into_bytes(),
    }
}

fn value(random: &mut Random, long: bool) -> Vec<u8> {
    let number = random.next();
    match random.below(4) {
        0 => Vec::new(),
        1 => (number as i16).to_string().into_bytes(),
        2 => vec![number as u8; 7],
        _ if long => vec![number as u8; 30],
        _ => b"17.0".to_vec(),
    }
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn same(hash: &Hash, model: &Model, now: i64) {
    let live: Model = model
        .iter()
        .filter(|(_, (_, at))| at.is_none_or(|at| at >= now))
        .map(|(name, field)| (name.clone(), field.clone()))
        .collect();
    let seen: Model = hash
        .iter(now)
        .map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expiry)))
        .collect();
    assert_eq!(seen, live);
    assert_eq!(hash.iter(now).count(), live.len());
    assert_eq!(hash.live_len(now), live.len());
    assert_eq!(hash.is_spent(now), live.is_empty());
    assert_eq!(hash.len(), model.len());
    assert_eq!(hash.is_empty(), model.is_empty());
    let first = model.values().filter_map(|(_, at)| *at).min();
    match (hash.deadline(), first) {
        (None, Some(first)) => panic!("the deadline {first} is not known"),
        (Some(deadline), Some(first)) => assert!(deadline <= first),
        (_, None) => {}
    }
}

#[test]
fn a_hash_behaves_as_a_map() {
    let mut random = Random::from_env();
    for (names, long) in [(5, false), (18, false), (18, true), (200, true)].repeat(rounds()) {
        let (mut hash, mut model, mut now) = (Hash::default(), Model::new(), 1_000);
        let mut full = false;
        for _ in 0..1_500 {
            let name = name(&mut random, names);
            let expired = model
                .get(&name)
                .is_some_and(|(_, at)| at.is_some_and(|at| at < now));
            match random.below(10) {
                0..=4 => {
                    let value = value(&mut random, long);
                    let ttl = if random.chance(50) {
                        Ttl::Keep
                    } else {
                        Ttl::Clear
                    };
                    let found = hash.set(&name, &value, ttl, now, LIMITS);
                    let old = model.get(&name).map(|(_, at)| *at);
                    let expected = match old {
                        None => Found::Nothing,
                        Some(_) if expired => Found::Expired,
                        Some(_) => Found::Field,
                    };
                    assert_eq!(found, expected);
                    let keeps = ttl == Ttl::Keep && !expired;
                    let expiry = old.flatten().filter(|_| keeps);
                    full |= value.len() > LIMITS.value_bytes;
                    model.insert(name.clone(), (value, expiry));
                }
                5 | 6 => assert_eq!(hash.remove(&name), model.remove(&name).is_some()),
                7 | 8 => {
                    let expiry = random.chance(70).then(|| now + random.below(100) as i64);
                    let found = model.get_mut(&name);
                    assert_eq!(hash.set_expiry(&name, expiry), found.is_some());
                    if let Some((_, at)) = found {
                        *at = expiry;
                    }
                }
                _ => {
                    now += random.below(20) as i64;
                    let mut budget = random.below(10) as usize;
                    hash.expire(now, &mut budget, |name| {
                        let (_, at) = model.remove(name).expect("a field that was there");
                        assert!(at.is_some_and(|at| at < now));
                    });
                }
            }
            full |= model.len() > LIMITS.entries;
            assert_eq!(hash.is_table(), full);
            let live = model
                .get(&name)
                .filter(|(_, at)| at.is_none_or(|at| at >= now));
            let seen = hash.field(&name, now);
            let seen = seen.map(|field| (field.value.to_vec(), field.expiry));
            assert_eq!(seen.as_ref(), live);
            same(&hash, &model, now);
        }
        same(&hash.clone(), &model, SEE_ALL);
        let mut scanned = Model::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, 7, now, &mut |field| {
                scanned.insert(field.name.to_vec(), (field.value.to_vec(), field.expiry));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned.len(), hash.live_len(now));
        while hash.free_some(50) > 0 {}
    }
}

#[test]
fn a_listpack_from_outside_is_checked() {
    let pack = |elements: &[&str]| {
        let mut pack = Listpack::new();
        for element in elements {
            pack.push_back(element.as_bytes());
        }
        pack
    };
    let hash = Hash::from_listpack(pack(&["a", "1", "b", "2"]), LIMITS).unwrap();
    assert_eq!((hash.len(), hash.encoding()), (2, "listpack"));
    assert!(Hash::from_listpack(pack(&["a", "1", "b"]), LIMITS).is_err());
    assert!(Hash::from_listpack(pack(&["a", "1", "a", "2"]), LIMITS).is_err());
    assert!(Hash::from_listpack(pack(&["7", "1", "7", "2"]), LIMITS).is_err());
    let long = "x".repeat(17);
    let hash = Hash::from_listpack(pack(&["a", &long, "b", "2"]), LIMITS).unwrap();
    assert_eq!((hash.len(), hash.encoding()), (2, "hashtable"));
    assert_eq!(hash.get(b"a", SEE_ALL).unwrap().to_vec(), long.as_bytes());
    let many: Vec<String> = (0..42).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let hash = Hash::from_listpack(pack(&many), LIMITS).unwrap();
    assert_eq!((hash.len(), hash.encoding()), (21, "hashtable"));
    assert!(
        Hash::from_listpack(Listpack::new(), LIMITS)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn fields_are_added_while_a_hash_is_built() {
    let mut hash = Hash::default();
    assert!(hash.insert_new(b"a", b"1", Some(5), LIMITS));
    assert!(!hash.insert_new(b"a", b"2", None, LIMITS));
    assert!(hash.insert_new(b"b", b"2", None, LIMITS));
    assert_eq!(hash.encoding(), "listpackex");
    assert_eq!(hash.field(b"a", 5).unwrap().expiry, Some(5));
    assert!(hash.field(b"a", 6).is_none());
}
