//! The keyspace against plain maps, with a clock of its own.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use shardine::keyspace::{
    AccessPolicy, Entry, Expired, ExpiredPart, ExpiryPolicy, Key, KeyHasher, Keyspace, NewExpiry,
    NewString, StringView,
};

use super::{Random, rounds};

const DATABASES: usize = 3;
const HASHER: KeyHasher = KeyHasher::from_seeds([5, 6, 7, 8]);

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new(DATABASES, HASHER, 1);
    keyspace.set_now(1_000_000);
    keyspace
}

fn key(bytes: &[u8]) -> Key<'_> {
    Key {
        bytes,
        hash: HASHER.hash(bytes),
    }
}

fn text(entry: &Entry) -> Vec<u8> {
    let mut buffer = itoa::Buffer::new();
    entry.string().unwrap().with_bytes(&mut buffer).to_vec()
}

fn set(keyspace: &mut Keyspace, name: &str, value: &str, expiry: NewExpiry) -> bool {
    keyspace.set_string(
        0,
        key(name.as_bytes()),
        NewString::Bytes(value.as_bytes()),
        expiry,
    )
}

fn get(keyspace: &mut Keyspace, name: &str) -> Option<Vec<u8>> {
    keyspace.peek(0, key(name.as_bytes())).map(text)
}

#[derive(Clone, PartialEq, Debug)]
struct Value {
    bytes: Vec<u8>,
    expiry: Option<i64>,
}

/// A database as it should be.
type Model = BTreeMap<Vec<u8>, Value>;

fn random_value(random: &mut Random) -> Vec<u8> {
    let length = [0, 1, 20, 44, 45, 200, 300, 1024, 1025, 5000][random.below(10) as usize];
    if random.chance(30) {
        (random.next() as i64 >> random.below(64))
            .to_string()
            .into_bytes()
    } else {
        vec![b'a' + random.below(26) as u8; length]
    }
}

fn random_key(random: &mut Random) -> Vec<u8> {
    format!("key:{}", random.below(600)).into_bytes()
}

#[test]
fn keyspace_behaves_as_maps() {
    let mut random = Random::from_env();
    for _ in 0..rounds() {
        run(&mut random);
    }
}

fn run(random: &mut Random) {
    let mut keyspace = keyspace();
    keyspace.record_expired(true);
    let mut models = vec![Model::new(); DATABASES];
    let mut now = keyspace.now_ms();
    let mut expired_in_model = 0;
    for step in 0..30_000 {
        let db = random.below(DATABASES as u64) as usize;
        let name = random_key(random);
        match random.below(100) {
            0..35 => step_set(random, &mut keyspace, &mut models[db], db, &name),
            35..50 => step_edit(random, &mut keyspace, &mut models[db], db, &name),
            50..58 => {
                let removed = keyspace.remove(db, key(&name));
                assert_eq!(removed, models[db].remove(&name).is_some());
            }
            58..66 => {
                let (to, to_db) = (random_key(random), random.below(DATABASES as u64) as usize);
                let taken = keyspace.take(db, key(&name));
                let value = models[db].remove(&name);
                assert_eq!(taken.is_some(), value.is_some());
                if let (Some(entry), Some(value)) = (taken, value) {
                    let replaced = keyspace.put(to_db, entry.with_key(&to));
                    assert_eq!(replaced, models[to_db].insert(to, value).is_some());
                }
            }
            66..76 => {
                let at = random.chance(70).then(|| now + random.below(3_000) as i64);
                assert_eq!(
                    keyspace.set_expiry(db, key(&name), at),
                    models[db].contains_key(&name)
                );
                if let Some(value) = models[db].get_mut(&name) {
                    value.expiry = at;
                }
            }
            76..94 => {
                let entry = keyspace.read(db, key(&name));
                let value = models[db].get(&name);
                assert_eq!(entry.map(text), value.map(|value| value.bytes.clone()));
                let expiry = keyspace.expiry(db, key(&name));
                assert_eq!(expiry, models[db].get(&name).map(|value| value.expiry));
            }
            94..98 => {
                now += random.below(60) as i64;
                keyspace.set_now(now);
                for model in &mut models {
                    let before = model.len();
                    model.retain(|_, value| value.expiry.is_none_or(|at| at >= now));
                    expired_in_model += before - model.len();
                }
                keyspace.expire_slice(1 + random.below(20) as usize);
            }
            98 => {
                keyspace.free_slice(random.below(50) as usize);
                let a = random.below(DATABASES as u64) as usize;
                keyspace.swap(a, db);
                models.swap(a, db);
            }
            _ if random.chance(10) => {
                keyspace.flush(db);
                models[db].clear();
            }
            _ => {}
        }
        if step % 1_000 == 0 {
            check(random, &mut keyspace, &models);
        }
    }
    // What expired and was then overwritten, flushed or met counts as well.
    assert!(keyspace.stats().expired as usize <= expired_in_model);
    assert_eq!(
        keyspace.stats().expired as usize,
        keyspace.take_expired().len()
    );
}

fn step_set(
    random: &mut Random,
    keyspace: &mut Keyspace,
    model: &mut Model,
    db: usize,
    name: &[u8],
) {
    let bytes = random_value(random);
    let at = keyspace.now_ms() + random.below(3_000) as i64;
    let expiry = [NewExpiry::Clear, NewExpiry::Keep, NewExpiry::At(at)][random.below(3) as usize];
    let value = match random.below(3) {
        0 => NewString::Bytes(&bytes),
        1 => NewString::Text(&bytes),
        _ => NewString::Shared(Bytes::from(bytes.clone())),
    };
    let old = model.get(name).cloned();
    assert_eq!(
        keyspace.set_string(db, key(name), value, expiry),
        old.is_some()
    );
    let expiry = match expiry {
        NewExpiry::Clear => None,
        NewExpiry::Keep => old.and_then(|old| old.expiry),
        NewExpiry::At(at) => Some(at),
    };
    model.insert(name.to_vec(), Value { bytes, expiry });
}

fn step_edit(
    random: &mut Random,
    keyspace: &mut Keyspace,
    model: &mut Model,
    db: usize,
    name: &[u8],
) {
    let create = random.chance(50);
    let (offset, added) = (random.below(2_000) as usize, random_value(random));
    let append = random.chance(60);
    let edited = keyspace.edit_string(db, key(name), create, |string| {
        if append {
            string.extend_from_slice(&added);
        } else {
            string.write_at(offset, &added);
        }
        string.len()
    });
    if create {
        model.entry(name.to_vec()).or_insert(Value {
            bytes: Vec::new(),
            expiry: None,
        });
    }
    let expected = model.get_mut(name).map(|value| {
        let at = if append { value.bytes.len() } else { offset };
        let end = at + added.len();
        if value.bytes.len() < end {
            value.bytes.resize(end, 0);
        }
        value.bytes[at..end].copy_from_slice(&added);
        value.bytes.len()
    });
    assert_eq!(edited.unwrap(), expected);
}

fn check(random: &mut Random, keyspace: &mut Keyspace, models: &[Model]) {
    while keyspace.expire_slice(100).more_due {}
    while keyspace.expire_slice(100).more_due {}
    let mut memory = 0;
    for (db, model) in models.iter().enumerate() {
        assert_eq!(keyspace.len(db), model.len());
        let expiries: Vec<i64> = model.values().filter_map(|value| value.expiry).collect();
        assert_eq!(keyspace.expires(db), expiries.len());
        if !expiries.is_empty() {
            let mean = expiries.iter().sum::<i64>() / expiries.len() as i64;
            assert_eq!(keyspace.avg_ttl(db), (mean - keyspace.now_ms()).max(0));
        }
        let mut all = Model::new();
        keyspace.for_each(db, |entry| {
            memory += entry.memory_bytes();
            let value = Value {
                bytes: text(entry),
                expiry: entry.expiry(),
            };
            assert!(all.insert(entry.key().to_vec(), value).is_none());
        });
        assert_eq!(all, *model);
        memory += keyspace.table_memory(db);
        let mut scanned = HashSet::new();
        let mut cursor = 0;
        loop {
            cursor = keyspace.scan(db, cursor, 10, &mut |entry| {
                assert!(scanned.insert(entry.key().to_vec()));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned.len(), model.len());
        let some = keyspace.random(db, || random.next());
        assert_eq!(some.is_some(), !model.is_empty());
        assert!(some.is_none_or(|entry| model.contains_key(entry.key())));
    }
    while keyspace.free_slice(100) {}
    assert_eq!(keyspace.memory(), memory);
}

#[test]
fn a_key_lives_through_the_millisecond_of_its_expiry() {
    let mut keyspace = keyspace();
    keyspace.record_expired(true);
    set(&mut keyspace, "k", "v", NewExpiry::At(1_000_010));
    keyspace.set_now(1_000_010);
    assert!(get(&mut keyspace, "k").is_some());
    assert_eq!(keyspace.expire_slice(10).expired, 0);
    keyspace.set_now(1_000_011);
    assert!(keyspace.read(0, key(b"k")).is_none());
    assert_eq!(
        keyspace.take_expired(),
        vec![Expired {
            db: 0,
            key: b"k".to_vec().into_boxed_slice(),
            part: ExpiredPart::Key,
        }]
    );
    let stats = keyspace.stats();
    assert_eq!((stats.hits, stats.misses, stats.expired), (0, 1, 1));
    assert_eq!(
        (keyspace.len(0), keyspace.expires(0), keyspace.avg_ttl(0)),
        (0, 0, 0)
    );
}

#[test]
fn a_follower_hides_what_expired_and_deletes_nothing_by_itself() {
    let mut keyspace = keyspace();
    keyspace.record_expired(true);
    keyspace.set_expiry_policy(ExpiryPolicy::Hide);
    set(&mut keyspace, "k", "v", NewExpiry::At(1_000_010));
    keyspace.set_now(1_000_011);
    assert!(get(&mut keyspace, "k").is_none());
    assert_eq!(keyspace.scan(0, 0, 10, &mut |_| panic!("hidden")), 0);
    assert!(keyspace.random(0, || 1).is_none());
    assert!(!keyspace.remove(0, key(b"k")));
    assert_eq!(keyspace.expire_slice(10), Default::default());
    assert_eq!((keyspace.len(0), keyspace.stats().expired), (1, 0));
    // The leader's own line finds it.
    keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
    assert_eq!(get(&mut keyspace, "k"), Some(b"v".to_vec()));
    assert!(keyspace.remove(0, key(b"k")));
    // A client of a writable follower creates it anew.
    for create in [0, 1, 2] {
        set(&mut keyspace, "k", "v", NewExpiry::At(1_000_010));
        keyspace.set_expiry_policy(ExpiryPolicy::Hide);
        match create {
            0 => assert!(!set(&mut keyspace, "k", "new", NewExpiry::Keep)),
            1 => assert!(!keyspace.put(0, Entry::from_bytes(b"k", b"new", None, 0))),
            _ => {
                let edited = keyspace.edit_string(0, key(b"k"), true, |string| {
                    string.extend_from_slice(b"new");
                });
                assert_eq!(edited, Ok(Some(())));
            }
        }
        assert_eq!(get(&mut keyspace, "k"), Some(b"new".to_vec()));
        assert_eq!((keyspace.len(0), keyspace.expires(0)), (1, 0));
        keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
    }
    assert!(!keyspace.has_expired());
}

#[test]
fn many_keys_due_at_once_go_in_slices_and_their_memory_with_them() {
    let mut keyspace = keyspace();
    for number in 0..50_000 {
        set(
            &mut keyspace,
            &format!("stays:{}", number % 100),
            "v",
            NewExpiry::At(9_000_000),
        );
        set(
            &mut keyspace,
            &format!("key:{number}"),
            "v",
            NewExpiry::At(1_000_000 + number % 7),
        );
    }
    let full = keyspace.memory();
    assert_eq!(keyspace.next_due_ms(), Some(1_000_001));
    keyspace.set_now(1_001_000);
    let (mut expired, mut slices) = (0, 0);
    loop {
        let progress = keyspace.expire_slice(500);
        assert!(progress.expired < 1_500, "{progress:?}");
        expired += progress.expired;
        slices += 1;
        if !progress.more_due {
            break;
        }
    }
    assert_eq!((expired, keyspace.len(0)), (50_000, 100));
    assert!((30..200).contains(&slices), "{slices}");
    assert!(
        keyspace.memory() < full / 20,
        "{} of {full}",
        keyspace.memory()
    );
    assert!(keyspace.next_due_ms().is_some_and(|at| at > 1_001_000));
    assert_eq!(keyspace.expire_slice(500).expired, 0);
    assert_eq!(keyspace.next_due_ms(), Some(9_000_001));
}

#[test]
fn flushed_databases_are_empty_at_once_and_freed_in_slices() {
    let mut keyspace = keyspace();
    for number in 0..5_000 {
        set(
            &mut keyspace,
            &format!("key:{number}"),
            "v",
            NewExpiry::Clear,
        );
    }
    let full = keyspace.memory();
    assert_eq!(keyspace.flush_all(), 5_000);
    assert_eq!((keyspace.len(0), get(&mut keyspace, "key:1")), (0, None));
    assert_eq!((keyspace.memory(), keyspace.garbage_keys()), (full, 5_000));
    set(&mut keyspace, "key:1", "new", NewExpiry::Clear);
    let mut slices = 1;
    while keyspace.free_slice(1_000) {
        slices += 1;
    }
    assert!((3..=6).contains(&slices), "{slices}");
    assert!(keyspace.memory() < 1_000);
    assert_eq!(get(&mut keyspace, "key:1"), Some(b"new".to_vec()));
    assert_eq!(keyspace.flush_all_now(), 1);
    assert_eq!(keyspace.memory(), 0);
}

#[test]
fn large_values_are_shared_with_replies_and_freed_later() {
    let mut keyspace = keyspace();
    let bytes = Bytes::from(vec![b'v'; 1 << 20]);
    keyspace.set_string(
        0,
        key(b"k"),
        NewString::Shared(bytes.clone()),
        NewExpiry::Clear,
    );
    let Some(Ok(StringView::Shared(kept))) = keyspace.read(0, key(b"k")).map(Entry::string) else {
        panic!("shared");
    };
    let reply = kept.clone();
    assert_eq!(reply.as_ptr(), bytes.as_ptr());
    let append = |keyspace: &mut Keyspace| {
        keyspace
            .edit_string(0, key(b"k"), false, |string| {
                string.extend_from_slice(b"x");
                string.as_ptr()
            })
            .unwrap()
            .unwrap()
    };
    let copied = append(&mut keyspace);
    assert_ne!(copied, bytes.as_ptr());
    assert_eq!(reply.len(), 1 << 20);
    let moves = (0..10_000)
        .scan(copied, |before, _| {
            let now = append(&mut keyspace);
            Some(std::mem::replace(before, now) != now)
        })
        .filter(|&moved| moved)
        .count();
    assert!(moves <= 2, "{moves}");
    assert!(keyspace.remove(0, key(b"k")));
    assert!(keyspace.has_garbage() && keyspace.memory() > 1 << 20);
    while keyspace.free_slice(10) {}
    assert!(keyspace.memory() < 10_000);
}

#[test]
fn encodings_follow_what_happened_to_a_string() {
    let mut keyspace = keyspace();
    let encoding = |keyspace: &mut Keyspace| keyspace.peek(0, key(b"k")).unwrap().encoding();
    set(&mut keyspace, "k", "123", NewExpiry::Clear);
    assert_eq!(encoding(&mut keyspace), "int");
    keyspace.set_string(0, key(b"k"), NewString::Text(b"124"), NewExpiry::Keep);
    assert_eq!(encoding(&mut keyspace), "embstr");
    keyspace
        .edit_string(0, key(b"k"), false, |string| string.extend_from_slice(b"5"))
        .unwrap();
    assert_eq!(
        (encoding(&mut keyspace), get(&mut keyspace, "k")),
        ("raw", Some(b"1245".to_vec()))
    );
    keyspace.set_integer(0, key(b"k"), -7, NewExpiry::Keep);
    assert_eq!(
        (encoding(&mut keyspace), get(&mut keyspace, "k")),
        ("int", Some(b"-7".to_vec()))
    );
    let missing = keyspace.edit_string(0, key(b"none"), false, |_| panic!("not created"));
    assert_eq!(missing, Ok(None));
    assert_eq!(keyspace.len(0), 1);
}

#[test]
fn access_clocks_follow_reads_unless_told_not_to() {
    let mut keyspace = keyspace();
    set(&mut keyspace, "k", "v", NewExpiry::Clear);
    let idle = |keyspace: &mut Keyspace| {
        let access = keyspace.peek(0, key(b"k")).unwrap().clone();
        keyspace.idle_seconds(&access)
    };
    keyspace.set_now(1_010_000);
    assert_eq!(idle(&mut keyspace), 10);
    keyspace.set_touch(false);
    keyspace.read(0, key(b"k"));
    assert_eq!(idle(&mut keyspace), 10);
    assert!(keyspace.touch(0, key(b"k")));
    assert_eq!(idle(&mut keyspace), 0);
    keyspace.set_now(1_015_000);
    keyspace.set_touch(true);
    keyspace.read(0, key(b"k"));
    assert_eq!(idle(&mut keyspace), 0);
    keyspace.set_access_policy(AccessPolicy::Lfu {
        log_factor: 0,
        decay_minutes: 1,
    });
    set(&mut keyspace, "f", "v", NewExpiry::Clear);
    for _ in 0..10 {
        keyspace.read(0, key(b"f"));
    }
    let entry = keyspace.peek(0, key(b"f")).unwrap().clone();
    assert_eq!(keyspace.frequency(&entry), 15);
}
