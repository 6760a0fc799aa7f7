//! Pairs, the table of large hashes and sets, against std's maps.

use std::collections::{BTreeMap, HashMap};

use shardine::base::random::Random as Draws;
use shardine::structures::pairs::Pairs;

use super::{Random, rounds};

fn key(number: u64) -> Vec<u8> {
    format!("field:{number}").into_bytes()
}

fn value(random: &mut Random) -> Vec<u8> {
    let length =
        [0, 3, 20, 70, 300, 70_000][random.below(6) as usize % (1 + random.below(6)) as usize];
    vec![random.next() as u8; length]
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn same(pairs: &Pairs, model: &Model) {
    pairs.check();
    assert_eq!(pairs.len(), model.len());
    let seen: HashMap<&[u8], (&[u8], Option<i64>)> = pairs
        .iter()
        .map(|pair| (pair.key(), (pair.value(), pair.expiry())))
        .collect();
    assert_eq!(seen.len(), model.len());
    for (key, (value, expiry)) in model {
        assert_eq!(seen[&key[..]], (&value[..], *expiry));
    }
}

#[test]
fn pairs_behave_as_a_map() {
    let mut random = Random::from_env();
    for keys in [1, 40, 3_000].repeat(rounds()) {
        let (mut pairs, mut model) = (Pairs::new(), Model::new());
        let mut now = 0;
        for phase in 0..6 {
            let insert_percent = if phase % 2 == 0 { 80 } else { 15 };
            for _ in 0..keys * 2 {
                let key = key(random.below(keys));
                if random.chance(insert_percent) {
                    let value = value(&mut random);
                    let expiry = model.get(&key).and_then(|(_, expiry)| *expiry);
                    assert_eq!(pairs.insert(&key, &value), !model.contains_key(&key));
                    model.insert(key.clone(), (value, expiry));
                } else {
                    assert_eq!(pairs.remove(&key), model.remove(&key).is_some());
                }
                if random.chance(20) {
                    let expiry = random.chance(80).then(|| now + random.below(500) as i64);
                    let found = model.get_mut(&key);
                    assert_eq!(pairs.set_expiry(&key, expiry), found.is_some());
                    if let Some((_, at)) = found {
                        *at = expiry;
                    }
                }
                let found = pairs.get(&key).map(|pair| (pair.value(), pair.expiry()));
                let expected = model.get(&key).map(|(value, expiry)| (&value[..], *expiry));
                assert_eq!(found, expected);
                if random.chance(3) {
                    now += random.below(30) as i64;
                    let first = model.values().filter_map(|(_, expiry)| *expiry).min();
                    assert!(
                        pairs
                            .deadline()
                            .is_none_or(|at| first.is_none_or(|first| at <= first))
                    );
                    assert!(first.is_none() || pairs.deadline().is_some());
                    let due = model
                        .values()
                        .filter(|(_, at)| at.is_some_and(|at| at < now));
                    assert_eq!(pairs.due(now), due.count());
                    let mut budget = random.below(10) as usize;
                    pairs.expire(now, &mut budget, |pair| {
                        let (_, expiry) = model.remove(pair.key()).expect("a pair that was there");
                        assert_eq!(expiry, pair.expiry());
                        assert!(expiry.is_some_and(|at| at < now));
                    });
                }
            }
            same(&pairs, &model);
            same(&pairs.clone(), &model);
        }
        let mut copy = pairs.clone();
        let mut freed = 0;
        loop {
            match copy.free_some(100) {
                0 => break,
                count => freed += count,
            }
        }
        assert!(freed >= model.len() && copy.is_empty());
        same(&pairs, &model);
    }
}

#[test]
fn random_pairs_are_equally_likely() {
    let mut pairs = Pairs::new();
    assert!(pairs.random(&mut Draws::new(1)).is_none());
    for number in 0..2_000u64 {
        assert!(pairs.insert(&key(number), &number.to_le_bytes()));
    }
    let mut counts = vec![0u32; 2_000];
    let mut draws = Draws::new(7);
    for _ in 0..200_000 {
        let pair = pairs.random(&mut draws).expect("pairs are there");
        let number: [u8; 8] = pair.value().try_into().expect("eight bytes");
        counts[u64::from_le_bytes(number) as usize] += 1;
    }
    // 100 expected with a standard deviation of 10.
    assert!(counts.iter().all(|&count| (40..=160).contains(&count)));
}

#[test]
fn a_scan_emits_what_stays() {
    let mut pairs = Pairs::new();
    for number in 0..1_000 {
        pairs.insert(&key(number), b"");
    }
    let mut seen = BTreeMap::<Vec<u8>, u32>::new();
    let (mut cursor, mut others) = (0, 1_000);
    loop {
        cursor = pairs.scan(cursor, 10, &mut |pair| {
            *seen.entry(pair.key().to_vec()).or_default() += 1;
        });
        if cursor == 0 {
            break;
        }
        for _ in 0..30 {
            pairs.insert(&key(others), b"");
            others += 1;
        }
    }
    assert!((0..1_000).all(|number| seen.contains_key(&key(number))));
    assert!(seen.values().all(|&times| times == 1));
}

#[test]
fn a_pair_costs_little_beside_its_bytes() {
    let mut pairs = Pairs::new();
    for number in 0..100_000u64 {
        pairs.insert(&number.to_le_bytes(), &[b'v'; 13]);
    }
    // 24 bytes for the pair itself.
    let bytes = pairs.memory_bytes() as f64 / 100_000.0;
    assert!(bytes < 24.0 + 13.0, "{bytes} bytes per pair");
}
