//! The keyspace table against std's maps, with good hashes and with hostile ones.

use std::collections::{BTreeMap, HashMap, HashSet};

use shardine::keyspace::KeyHasher;
use shardine::structures::entry::Entry;
use shardine::structures::table::Table;

use super::{Random, rounds};

type Hash = fn(&[u8]) -> u64;

fn good(key: &[u8]) -> u64 {
    KeyHasher::from_seeds([1, 2, 3, 4]).hash(key)
}

fn constant(_: &[u8]) -> u64 {
    0x1234_5678_9ABC_DEF0
}

fn same_low_bits(key: &[u8]) -> u64 {
    good(key) & !0xFF_FFFF
}

fn same_leading_bits(key: &[u8]) -> u64 {
    good(key) & 0xFF_FFFF
}

fn few_values(key: &[u8]) -> u64 {
    good(key) % 7 * 0x0001_2345_6789
}

fn last_position(key: &[u8]) -> u64 {
    good(key) | 0xFFFF_FFFF_FF00
}

const HASHES: [(&str, Hash, u64); 6] = [
    ("good", good, 20_000),
    ("constant", constant, 900),
    ("same low bits", same_low_bits, 3_000),
    ("same leading bits", same_leading_bits, 3_000),
    ("few values", few_values, 900),
    ("last position", last_position, 1_500),
];

fn key(number: u64) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn entry(number: u64, expiry: Option<i64>) -> Entry {
    Entry::from_integer(&key(number), number as i64, expiry, 0)
}

#[test]
fn table_behaves_as_a_map() {
    let mut random = Random::from_env();
    for (name, hash, keys) in HASHES {
        println!("{name}");
        for _ in 0..rounds() {
            run(&mut random, hash, keys);
        }
    }
}

/// Phases of growing and shrinking, so that splits, merges and both ends of the directory's life occur.
fn run(random: &mut Random, hash: Hash, keys: u64) {
    let mut table = Table::new();
    let mut model: BTreeMap<u64, Option<i64>> = BTreeMap::new();
    let mut now = 0;
    for phase in 0..6 {
        let insert_percent = if phase % 2 == 0 { 85 } else { 10 };
        for _ in 0..keys * 3 / 2 {
            let number = random.below(keys);
            let found = table.find(hash(&key(number)), &key(number));
            assert_eq!(found.is_some(), model.contains_key(&number));
            match found {
                None if random.chance(insert_percent) => {
                    let expiry = random.chance(30).then(|| now + random.below(5_000) as i64);
                    let place = table.insert(hash(&key(number)), entry(number, expiry), hash);
                    assert_eq!(table.entry(place).key(), key(number));
                    model.insert(number, expiry);
                }
                Some(place) if !random.chance(insert_percent) => {
                    let entry = table.remove(place);
                    assert_eq!(entry.key(), key(number));
                    assert_eq!(Some(entry.expiry()), model.remove(&number));
                }
                Some(place) if random.chance(20) => {
                    let at = now + random.below(5_000) as i64;
                    table.entry_mut(place).set_expiry(Some(at));
                    table.note_expiry(place, at);
                    model.insert(number, Some(at));
                }
                _ => {}
            }
            if random.chance(2) {
                now += random.below(50) as i64;
                let mut budget = random.below(20) as usize;
                table.expire(now, &mut budget, |entry| {
                    let number = entry_number(&entry);
                    let expiry = model.remove(&number).flatten();
                    assert_eq!(expiry, entry.expiry());
                    assert!(expiry.is_some_and(|at| at < now));
                });
            }
            assert_eq!(table.len(), model.len());
        }
        table.check(hash);
        let mut budget = usize::MAX;
        let due = model.values().flatten().filter(|&&at| at < now).count();
        // The first call may end a round that passed some of them too early.
        let mut expired = table.expire(now, &mut budget, |_| {}).expired;
        expired += table.expire(now, &mut budget, |_| {}).expired;
        assert_eq!(expired, due);
        model.retain(|_, expiry| expiry.is_none_or(|at| at >= now));
        let first = model.values().flatten().min().copied();
        assert!(
            table
                .deadline()
                .is_none_or(|at| first.is_none_or(|first| at <= first))
        );
        assert_eq!(table.iter().count(), model.len());
        assert!(
            table
                .iter()
                .all(|entry| model.contains_key(&entry_number(entry)))
        );
        scan_under_change(random, &mut table, &mut model, hash, keys);
        table.check(hash);
    }
    for number in model.keys() {
        let place = table
            .find(hash(&key(*number)), &key(*number))
            .expect("still there");
        table.remove(place);
    }
    table.check(hash);
    assert!(table.is_empty());
    assert!(
        table.memory_bytes() < 8 * 1024,
        "{} bytes",
        table.memory_bytes()
    );
}

fn entry_number(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(entry.key()).unwrap();
    text.strip_prefix("key:").unwrap().parse().unwrap()
}

/// Whatever is there from the beginning to the end of a scan is emitted, with others coming and going in masses.
fn scan_under_change(
    random: &mut Random,
    table: &mut Table,
    model: &mut BTreeMap<u64, Option<i64>>,
    hash: Hash,
    keys: u64,
) {
    let mut must: HashSet<u64> = model.keys().copied().collect();
    let mut seen: HashMap<u64, usize> = HashMap::new();
    let mut cursor = 0;
    let changes = [0, 1, 200][random.below(3) as usize];
    let remove_percent = random.below(100);
    loop {
        let count = 1 + random.below(100) as usize;
        cursor = table.scan(cursor, count, hash, &mut |entry| {
            *seen.entry(entry_number(entry)).or_default() += 1;
        });
        assert!(cursor < 1 << 48);
        if cursor == 0 {
            break;
        }
        for _ in 0..changes {
            let number = random.below(keys);
            let found = table.find(hash(&key(number)), &key(number));
            match found {
                Some(place) if random.chance(remove_percent) => {
                    table.remove(place);
                    model.remove(&number);
                    must.remove(&number);
                }
                None if !random.chance(remove_percent) => {
                    table.insert(hash(&key(number)), entry(number, None), hash);
                    model.insert(number, None);
                }
                _ => {}
            }
        }
    }
    for number in &must {
        assert!(seen.contains_key(number), "key {number} was not emitted");
    }
    assert!(seen.values().all(|&times| times == 1 || changes > 0));
    assert!(changes > 0 || seen.len() == model.len());
}

#[test]
fn scan_emits_about_as_many_as_asked() {
    let mut table = Table::new();
    for number in 0..10_000 {
        table.insert(good(&key(number)), entry(number, None), good);
    }
    let mut cursor = 0;
    let mut calls = 0;
    loop {
        let mut emitted = 0;
        cursor = table.scan(cursor, 10, good, &mut |_| emitted += 1);
        calls += 1;
        assert!(emitted <= 10);
        if cursor == 0 {
            break;
        }
    }
    assert!((1000..1100).contains(&calls), "{calls}");
}

#[test]
fn random_entries_are_equally_likely() {
    let mut random = Random::from_env();
    for keys in [1, 10, 2_000] {
        let mut table = Table::new();
        for number in 0..keys {
            table.insert(good(&key(number)), entry(number, None), good);
        }
        let mut counts = vec![0u32; keys as usize];
        for _ in 0..keys * 100 {
            let entry = table.random(|| random.next()).expect("not empty");
            counts[entry_number(entry) as usize] += 1;
        }
        // 100 expected with a standard deviation of 10.
        assert!(
            counts.iter().all(|&count| (40..=160).contains(&count)),
            "{counts:?}"
        );
    }
    assert!(Table::new().random(|| random.next()).is_none());
}

#[test]
fn a_full_table_wastes_few_slots() {
    let mut table = Table::new();
    for number in 0..200_000 {
        table.insert(good(&key(number)), entry(number, None), good);
        if number > 1_000 && number % 10_000 == 0 {
            let bytes = table.memory_bytes() as f64 / table.len() as f64;
            assert!(bytes < 12.5, "{bytes} bytes per key at {number} keys");
        }
    }
    table.check(good);
}

#[test]
fn a_dismantled_table_is_empty() {
    let mut table = Table::new();
    for number in 0..5_000 {
        table.insert(good(&key(number)), entry(number, None), good);
    }
    let mut taken = 0;
    while !table.is_empty() {
        assert!(table.dismantle(1_000, |_| taken += 1) > 0);
    }
    assert_eq!(taken, 5_000);
    table.check(good);
}
