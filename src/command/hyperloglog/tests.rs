//! Tests of the forms against a plain model, and of what lines log.

use bytes::BytesMut;

use super::super::testkit::Kit;
use super::registers::{self, REGISTERS, Registers, View};
use super::*;
use crate::base::random::Random;
use crate::keyspace::{NewExpiry, NewString, StringBuf};

/// The registers in `buffer`.
fn registers_of(buffer: &StringBuf<'_>) -> Registers {
    let mut registers = [0; REGISTERS];
    let view = View::new(buffer).expect("a HyperLogLog");
    view.merge_into(&mut registers).expect("runs that add up");
    registers
}

#[test]
fn both_forms_hold_what_was_added() {
    for (seed, sparse_bytes_max) in [(1, 0), (2, 100), (3, 3_000), (4, 100_000)] {
        let mut random = Random::new(seed);
        let mut model = [0; REGISTERS];
        let mut bytes = BytesMut::new();
        let mut buffer = StringBuf::new(&mut bytes);
        registers::init(&mut buffer);
        for step in 0..4_000 {
            let element = random.next_u64().to_le_bytes();
            let (index, rank) = estimate::place(&element);
            let changed =
                registers::add(&mut buffer, std::iter::once(&element[..]), sparse_bytes_max);
            assert_eq!(changed, Ok(u64::from(rank > model[index])));
            model[index] = model[index].max(rank);
            let view = View::new(&buffer).expect("a HyperLogLog");
            assert!(view.is_dense() || buffer.len() as u64 <= sparse_bytes_max.max(18));
            if step % 100 == 0 {
                assert!(registers_of(&buffer) == model, "seed {seed}, step {step}");
                assert_eq!(view.count(), Ok(registers::count_of(&model)));
            }
        }
    }
}

#[test]
fn raising_all_gives_what_raising_one_by_one_gives() {
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let (mut one_bytes, mut all_bytes) = (BytesMut::new(), BytesMut::new());
        let mut one = StringBuf::new(&mut one_bytes);
        let mut all = StringBuf::new(&mut all_bytes);
        registers::init(&mut one);
        registers::init(&mut all);
        let values = 1 + random.below(4);
        let mut model: Registers = [0; REGISTERS];
        for _ in 0..5 {
            for _ in 0..random.below(300) {
                // Close together, so that runs are split and joined.
                let index = random.index(200) * (1 + random.index(80));
                model[index] = model[index].max(1 + random.below(values) as u8);
            }
            for (index, &rank) in model.iter().enumerate() {
                if rank > 0 {
                    registers::raise_from_start(&mut one, index, rank, 3_000).expect("no damage");
                }
            }
            registers::raise_all(&mut all, &model, 3_000).expect("no damage");
            assert!(one[..] == all[..], "seed {seed}");
            assert!(registers_of(&all) == model, "seed {seed}");
        }
    }
}

#[test]
fn any_bytes_are_taken_without_a_panic() {
    let mut random = Random::new(9);
    for _ in 0..300 {
        let mut bytes = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80".to_vec();
        let runs = random.index(60);
        bytes.extend((0..runs).map(|_| random.next_u64() as u8));
        if random.one_in(2) {
            bytes.extend(b"\x7f\xff");
        }
        let mut kit = Kit::new(&[TABLE]);
        let key = kit.keyspace.key(b"k");
        kit.keyspace
            .set_string(0, key, NewString::Bytes(&bytes), NewExpiry::Clear);
        for line in [
            &[&b"PFCOUNT"[..], b"k"][..],
            &[b"PFADD", b"k", b"a", b"b", b"c", b"d", b"e"],
            &[b"PFCOUNT", b"k", b"k"],
            &[b"PFMERGE", b"other", b"k"],
            &[b"PFDEBUG", b"DECODE", b"k"],
            &[b"PFDEBUG", b"GETREG", b"k"],
            &[b"PFDEBUG", b"TODENSE", b"k"],
        ] {
            kit.run(line);
        }
    }
}

#[test]
fn a_line_that_fails_changes_nothing() {
    let mut kit = Kit::new(&[TABLE]);
    // 64 registers only: some elements have a place, others have none.
    let short = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\x00";
    let key = kit.keyspace.key(b"k");
    kit.keyspace
        .set_string(0, key, NewString::Bytes(short), NewExpiry::Clear);
    kit.expect(
        "PFADD k a b c d e f g h i j k l m n o p q r s t u v w x y z",
        "-INVALIDOBJ Corrupted HLL object detected|",
    );
    let entry = kit.keyspace.peek(0, key).expect("the key");
    let value = entry.string().expect("a string");
    assert_eq!(value.with_bytes(&mut itoa::Buffer::new()), short);
}

#[test]
fn events_and_log() {
    let mut kit = Kit::new(&[TABLE]);
    kit.expect("PFADD a x y z", ":1|");
    kit.events("new a,pfadd a");
    kit.logged("*5|$5|PFADD|$1|a|$1|x|$1|y|$1|z|");
    assert_eq!(kit.effects.dirty, 4);
    kit.expect("PFADD a x", ":0|");
    kit.events("");
    kit.logged("");
    kit.expect("PFCOUNT a", ":3|");
    assert_eq!(kit.effects.dirty, 1);
    kit.logged("*2|$7|PFCOUNT|$1|a|");
    kit.expect("PFCOUNT a", ":3|");
    kit.logged("");
    kit.expect("PFCOUNT a b", ":3|");
    kit.events("keymiss b");
    kit.expect("PFMERGE b a", "+OK|");
    kit.events("keymiss b,new b,pfadd b");
}

#[test]
fn the_self_test_holds() {
    assert_eq!(selftest::run(), Ok(()));
}
