//! Files written and read back, cut anywhere, changed and broken.

use proptest::prelude::*;

use super::super::{Encoder, Facts, Version, Writer};
use super::*;
use crate::config::Config;
use crate::keyspace::{Entry, KeyHasher};

fn limits() -> Limits {
    Limits::new(&Config::default(), &KeyHasher::from_seeds([1, 2, 3, 4]))
}

/// What a file is made of in these tests.
#[derive(Clone, Debug)]
struct Key {
    db: usize,
    key: Vec<u8>,
    value: Vec<u8>,
    expiry: Option<i64>,
    usage: Usage,
}

fn file(keys: &[Key], compress: bool, checksum: bool) -> Vec<u8> {
    let mut encoder = Encoder::new(Version::V10, compress);
    let mut writer = Writer::new(Version::V10, checksum);
    let mut out = Vec::new();
    let facts = Facts {
        redis_version: "7.2.4",
        created_s: 1_700_000_000,
        ..Facts::default()
    };
    writer.begin(&facts, &mut out);
    writer.function(b"#!lua name=l\n", &mut out);
    let mut db = None;
    for key in keys {
        if db != Some(key.db) {
            db = Some(key.db);
            writer.select(key.db, keys.len() as u64, 0, &mut out);
        }
        let from = out.len();
        let entry = Entry::from_bytes(&key.key, &key.value, key.expiry, 0);
        encoder.entry(&entry, key.usage, &mut out);
        writer.passed(&out[from..]);
    }
    writer.end(&mut out);
    out
}

/// Reads `file` in pieces of `piece` bytes and returns its keys.
fn read(file: &[u8], piece: usize) -> Result<Vec<Key>, Error> {
    let mut reader = Reader::new(true, limits());
    let mut keys = Vec::new();
    for piece in file.chunks(piece) {
        reader.feed(piece);
        while let Some(item) = reader.next_item()? {
            if let Item::Key { db, entry, usage } = item {
                keys.push(Key {
                    db,
                    key: entry.key().to_vec(),
                    value: entry
                        .string()
                        .unwrap()
                        .with_bytes(&mut itoa::Buffer::new())
                        .to_vec(),
                    expiry: entry.expiry(),
                    usage,
                });
            }
        }
    }
    reader.finish()?;
    Ok(keys)
}

fn keys() -> impl Strategy<Value = Vec<Key>> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        any::<i16>().prop_map(|value| value.to_string().into_bytes()),
        (any::<u8>(), 0usize..20_000).prop_map(|(byte, times)| vec![byte; times]),
        prop::collection::vec(0u8..2, 0..3000),
    ];
    let usage = prop_oneof![
        Just(Usage::Unknown),
        any::<u64>().prop_map(Usage::Idle),
        any::<u8>().prop_map(Usage::Frequency),
    ];
    let key = (0usize..3, value.clone(), value, any::<Option<i64>>(), usage);
    let key = key.prop_map(|(db, key, value, expiry, usage)| Key {
        db,
        key,
        value,
        expiry,
        usage,
    });
    prop::collection::vec(key, 0..10)
}

fn same(a: &[Key], b: &[Key]) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

proptest! {
    #[test]
    fn a_file_comes_back_however_it_is_cut(
        keys in keys(), piece in 1usize..5000, compress: bool, checksum: bool,
    ) {
        let file = file(&keys, compress, checksum);
        prop_assert!(same(&read(&file, piece).unwrap(), &keys));
        prop_assert!(same(&read(&file, usize::MAX).unwrap(), &keys));
    }

    #[test]
    fn a_file_that_is_cut_short_is_an_error(keys in keys(), at: prop::sample::Index) {
        let file = file(&keys, true, true);
        let cut = &file[..at.index(file.len())];
        prop_assert!(read(cut, 1000).is_err());
    }

    #[test]
    fn a_changed_file_is_an_error_and_no_panic(
        keys in keys(), at: prop::sample::Index, change in 1u8.., checksum: bool,
    ) {
        let mut file = file(&keys, true, checksum);
        let at = at.index(file.len() - 8);
        file[at] ^= change;
        let result = read(&file, 100);
        prop_assert!(!checksum || result.is_err());
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&[b"REDIS0011", &bytes[..]].concat(), 7);
    }
}

fn message(file: &[u8]) -> String {
    read(file, 3).unwrap_err().to_string()
}

#[test]
fn errors_name_what_and_where() {
    assert_eq!(
        message(b"VALKEY080"),
        "this is no RDB data: it does not begin with REDIS and four digits at byte 0"
    );
    assert_eq!(
        message(b"REDIS00xx"),
        "this is no RDB data: it does not begin with REDIS and four digits at byte 0"
    );
    assert_eq!(
        message(b"REDIS0013"),
        "RDB version 13, where 1 to 12 can be read, at byte 0"
    );
    assert_eq!(
        message(b""),
        "the data ends in the middle of a value at byte 0"
    );
    assert_eq!(
        message(b"REDIS0010\xfe\x00\x00\x03ke"),
        "the data ends in the middle of a value at byte 15"
    );
    assert_eq!(
        message(b"REDIS0010\xfe\x00\x1e"),
        "unknown value type 30 at byte 11"
    );
    assert_eq!(
        message(b"REDIS0010\x06"),
        "value type 6 (module value of Redis 4.0 previews) cannot be read at byte 9"
    );
    assert_eq!(
        message(b"REDIS0010\x00\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
        "a length or count of 18446744073709551615 that the data cannot have at byte 12"
    );
    assert_eq!(
        message(b"REDIS0010\xff12345678"),
        format!(
            "checksum {:016x} where the data has {:016x} at byte 10",
            u64::from_le_bytes(*b"12345678"),
            crc64(0, b"REDIS0010\xff")
        )
    );
}

#[test]
fn old_opcodes_are_read_and_others_passed_over() {
    let file = [
        &b"REDIS0004\xfe\x02"[..],
        b"\xfd\x02\x00\x00\x00\x00\x01a\x01b",
        // A module's facts, a cluster's slot.
        b"\xf7\x81\x00\x00\x00\x00\x00\x00\x00\x01\x02\x01\x00",
        b"\xf4\x00\x00\x00",
        b"\x00\x01c\x01d\xff",
    ]
    .concat();
    let keys = read(&file, 1).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!((keys[0].db, keys[0].expiry), (2, Some(2000)));
    assert_eq!((&keys[1].value[..], keys[1].expiry), (&b"d"[..], None));
}

#[test]
fn what_follows_the_file_is_left() {
    let mut reader = Reader::new(true, limits());
    let mut file = file(&[], true, true);
    file.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    reader.feed(&file);
    let mut last = None;
    while let Some(item) = reader.next_item().unwrap() {
        last = Some(item);
    }
    assert!(matches!(last, Some(Item::End { checked: true })));
    assert!(reader.is_at_end());
    assert_eq!(reader.unread(), b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(reader.offset(), file.len() as u64 - 14);
}

#[test]
fn module_names_are_spelled_out() {
    assert_eq!(module_name(0), "AAAAAAAAA");
    assert_eq!(module_name(u64::MAX), "_________");
}

#[test]
fn a_large_value_in_small_pieces_takes_linear_time() {
    // Quadratic work would be some hundred gigabytes.
    let keys = [Key {
        db: 0,
        key: b"k".to_vec(),
        value: (0..4_000_000u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect(),
        expiry: None,
        usage: Usage::Unknown,
    }];
    let file = file(&keys, false, true);
    assert!(same(&read(&file, 64).unwrap(), &keys));
}
