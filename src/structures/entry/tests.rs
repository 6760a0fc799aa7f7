//! Tests of entries: layouts, sizes, values in and out.

use super::*;
use crate::structures::list::NodeLimit;
use crate::structures::listpack::Listpack;
use bytes::Bytes;

fn text(entry: &Entry) -> Vec<u8> {
    let mut buffer = itoa::Buffer::new();
    let view = entry.string().unwrap();
    let bytes = view.with_bytes(&mut buffer).to_vec();
    assert_eq!(bytes.len(), view.len());
    bytes
}

#[test]
fn size_classes_follow_the_allocator() {
    for (bytes, class) in [
        (1, 8),
        (8, 8),
        (9, 16),
        (56, 56),
        (57, 64),
        (64, 64),
        (65, 80),
        (80, 80),
        (81, 96),
        (112, 112),
        (128, 128),
        (129, 160),
        (160, 160),
        (161, 192),
        (1024, 1024),
        (1025, 1280),
    ] {
        assert_eq!(allocated(bytes), class, "{bytes}");
    }
}

#[test]
fn a_small_key_takes_fifty_six_bytes() {
    let entry = Entry::from_bytes(&[b'k'; 16], &[b'v'; 32], None, 0);
    assert_eq!(entry.memory_bytes(), 56);
    assert_eq!(entry.encoding(), "embstr");
}

#[test]
fn values_of_every_kind_replace_each_other() {
    let big = vec![b'x'; INLINE_VALUE_BYTES_MAX + 1];
    let values: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"a".to_vec(),
        vec![b'y'; 45],
        vec![b'z'; INLINE_VALUE_BYTES_MAX],
        big.clone(),
        b"-17".to_vec(),
        b"9223372036854775807".to_vec(),
    ];
    for key_length in [0, 1, 16, 300, 65_535, 65_536, 100_000] {
        let key = vec![b'k'; key_length];
        for expiry in [None, Some(77)] {
            for from in &values {
                for to in &values {
                    let mut entry = Entry::from_bytes(&key, from, expiry, 0xABCDEF);
                    entry.set_mark(0xFFEE);
                    match canonical_integer(to) {
                        Some(integer) => entry.set_integer(integer),
                        None => entry.set_bytes(to),
                    }
                    assert_eq!(text(&entry), *to);
                    assert!(entry.has_key(&key));
                    assert_eq!(entry.expiry(), expiry);
                    assert_eq!(entry.access(), 0xABCDEF);
                    assert_eq!(entry.mark(), 0xFFEE);
                    for at in [Some(5), Some(6), None, None, Some(7)] {
                        entry.set_expiry(at);
                        assert_eq!(entry.expiry(), at);
                        assert_eq!(text(&entry), *to);
                        assert!(entry.has_key(&key));
                    }
                    assert_eq!(entry.mark(), 0xFFEE);
                    let copy = entry.with_key(b"other");
                    assert_eq!(text(&copy), *to);
                    assert_eq!((copy.key(), copy.expiry()), (&b"other"[..], Some(7)));
                    assert_eq!(copy.encoding(), entry.encoding());
                }
            }
        }
    }
}

#[test]
fn a_big_string_is_shared_and_copied_only_while_shared() {
    let bytes = Bytes::from(vec![b'v'; 5000]);
    let mut entry = Entry::from_big(b"k", BigString::new(bytes.clone()), None, 0);
    let StringView::Shared(kept) = entry.string().unwrap() else {
        panic!("kept outside");
    };
    assert_eq!(kept.as_ptr(), bytes.as_ptr());
    let buffer = entry.take_big().unwrap().into_buffer();
    assert_ne!(buffer.as_ptr(), bytes.as_ptr());
    let place = buffer.as_ptr();
    entry.set_raw_big(BigString::from_buffer(buffer));
    let buffer = entry.take_big().unwrap().into_buffer();
    assert_eq!(buffer.as_ptr(), place);
    assert_eq!(entry.encoding(), "raw");
}

#[test]
fn encodings_are_named_as_redis_names_them() {
    let mut entry = Entry::from_bytes(b"k", &[b'v'; 44], None, 0);
    assert_eq!(entry.encoding(), "embstr");
    entry.set_bytes(&[b'v'; 45]);
    assert_eq!(entry.encoding(), "raw");
    entry.set_raw(b"v");
    assert_eq!(entry.encoding(), "raw");
    assert_eq!(entry.clone().encoding(), "raw");
    entry.set_bytes(b"v");
    assert_eq!(entry.encoding(), "embstr");
    entry.set_integer(3);
    assert_eq!((entry.encoding(), entry.type_().name()), ("int", "string"));
}

#[test]
fn only_canonical_text_is_an_integer() {
    for (text, integer) in [
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("10", Some(10)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("-9223372036854775809", None),
        ("99999999999999999999", None),
        ("", None),
        ("-", None),
        ("-0", None),
        ("00", None),
        ("01", None),
        ("+1", None),
        (" 1", None),
        ("1 ", None),
        ("1a", None),
    ] {
        assert_eq!(canonical_integer(text.as_bytes()), integer, "{text:?}");
        if let Some(integer) = integer {
            assert_eq!(StringView::Int(integer).len(), text.len());
        }
    }
}

#[test]
fn an_entry_may_be_dropped_on_another_thread() {
    let entry = Entry::from_bytes(b"key", &[1; 2000], Some(1), 0);
    std::thread::spawn(move || drop(entry)).join().unwrap();
}

#[test]
fn a_collection_moves_to_another_key_as_it_is() {
    let mut pack = Listpack::new();
    pack.push_back(b"element");
    let bytes = pack.as_bytes().as_ptr();
    let list = List::from_listpack(pack, NodeLimit::from_setting(-2));
    let entry = Entry::from_collection(b"key", list, Some(7), 0xABCDEF).renamed(b"another key");
    assert_eq!(entry.key(), b"another key");
    assert_eq!((entry.expiry(), entry.access()), (Some(7), 0xABCDEF));
    let list: &List = entry.collection().expect("a list");
    let moved = list.listpack().expect("a compact one");
    assert_eq!(moved.as_bytes().as_ptr(), bytes);
    for text in [&b"v"[..], b"12", &[b'v'; 5000]] {
        let mut entry = Entry::from_bytes(b"key", text, Some(7), 1);
        if text.len() <= INLINE_VALUE_BYTES_MAX {
            entry.set_raw(text);
        }
        let renamed = entry.clone().renamed(b"k");
        assert_eq!((renamed.key(), renamed.expiry()), (&b"k"[..], Some(7)));
        assert_eq!(renamed.encoding(), entry.encoding());
    }
}
