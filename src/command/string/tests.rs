//! What the scripts of `tests/commands` cannot see: what is logged, which events are told, how values are kept.

use crate::command::testkit::Kit;
use crate::command::{bitmap, string};
use crate::resp::BIG_ARGUMENT_BYTES_MIN;

fn kit() -> Kit {
    Kit::new(&[string::TABLE, bitmap::TABLE])
}

const NOW: i64 = 1_700_000_000_000;

#[test]
fn followers_are_told_moments_and_results() {
    let mut kit = kit();
    for (line, reply, logged) in [
        ("GET a", "$-1|", ""),
        ("set a 1", "+OK|", "set a 1"),
        ("SET a 1 EX 10", "+OK|", "SET a 1 PXAT 1700000010000"),
        ("SET a 1 PX 10", "+OK|", "SET a 1 PXAT 1700000000010"),
        (
            "SET a 1 EXAT 1700000020",
            "+OK|",
            "SET a 1 PXAT 1700000020000",
        ),
        ("SET a 2 GET KEEPTTL", "$1|1|", "SET a 2 KEEPTTL"),
        ("SET a 2 XX GET", "$1|2|", "SET a 2"),
        ("SET a 2 KEEPTTL", "+OK|", "SET a 2 KEEPTTL"),
        ("SET a 2 NX", "$-1|", ""),
        ("SET a 2 NX GET", "$1|2|", ""),
        ("SET a 3 IFEQ 1", "$-1|", ""),
        ("SET a 3 IFEQ 2", "+OK|", "SET a 3"),
        ("SET a 2 IFEQ 3 GET", "$1|3|", "SET a 2"),
        ("SET a 2 IFEQ 2 KEEPTTL", "+OK|", "SET a 2 KEEPTTL"),
        ("SET a 2 IFEQ 2 EX 10", "+OK|", "SET a 2 PXAT 1700000010000"),
        ("SETNX a 2", ":0|", ""),
        ("SETNX b 2", ":1|", "SETNX b 2"),
        ("SETEX a 5 x", "+OK|", "SET a x PXAT 1700000005000"),
        ("PSETEX a 5 x", "+OK|", "SET a x PXAT 1700000000005"),
        ("GETSET a y", "$1|x|", "SET a y"),
        ("GETEX a", "$1|y|", ""),
        ("GETEX a PERSIST", "$1|y|", ""),
        ("GETEX a EX 1", "$1|y|", "PEXPIREAT a 1700000001000"),
        ("GETEX a PERSIST", "$1|y|", "PERSIST a"),
        ("GETEX a PXAT 1", "$1|y|", "DEL a"),
        ("GETDEL a", "$-1|", ""),
        ("GETDEL b", "$1|2|", "DEL b"),
        ("MSET a 1 b 2", "+OK|", "MSET a 1 b 2"),
        ("MSETNX a 1 c 2", ":0|", ""),
        ("MSETNX c 1 d 2", ":1|", "MSETNX c 1 d 2"),
        ("INCRBY a 5", ":6|", "INCRBY a 5"),
        ("INCRBYFLOAT a 0.5", "$3|6.5|", "SET a 6.5 KEEPTTL"),
        ("APPEND a 1", ":4|", "APPEND a 1"),
        ("SETRANGE a 0 7", ":4|", "SETRANGE a 0 7"),
        ("SETRANGE a 0 ''", ":4|", ""),
        ("SETBIT a 0 0", ":0|", ""),
        ("SETBIT a 7 0", ":1|", "SETBIT a 7 0"),
        ("BITFIELD a GET u8 0", "*1|:54|", ""),
        ("BITFIELD a SET u8 0 54", "*1|:54|", ""),
        (
            "BITFIELD a SET u8 0 55",
            "*1|:54|",
            "BITFIELD a SET u8 0 55",
        ),
        ("BITFIELD a OVERFLOW FAIL SET u8 0 555", "*1|$-1|", ""),
        ("BITOP NOT e missing", ":0|", ""),
        ("BITOP NOT e a", ":4|", "BITOP NOT e a"),
        ("BITOP NOT e missing", ":0|", "BITOP NOT e missing"),
        (
            "INCR e2 1",
            "-ERR wrong number of arguments for 'incr' command|",
            "",
        ),
    ] {
        kit.expect(line, reply);
        let words: Vec<&str> = logged.split_terminator(' ').collect();
        let encode = |words: &[&str]| {
            let words = words.iter().map(|word| format!("${}|{word}|", word.len()));
            format!("*{}|{}", words.len(), words.collect::<String>())
        };
        kit.logged(&if words.is_empty() {
            String::new()
        } else {
            encode(&words)
        });
    }
    assert_eq!(kit.now_ms, NOW);
}

#[test]
fn each_change_is_told_once_with_its_events() {
    let mut kit = kit();
    for (line, events) in [
        ("GET a", "keymiss a"),
        ("SET a 1", "new a,set a"),
        ("SET a 1 EX 10", "set a,expire a"),
        ("GETEX a PERSIST", "persist a"),
        ("GETEX a EX 10", "expire a"),
        ("GETEX a EXAT 1", "del a"),
        ("APPEND a x", "new a,append a"),
        ("APPEND a x", "append a"),
        ("SETRANGE a 3 x", "setrange a"),
        ("SETRANGE r 3 x", "new r,setrange r"),
        ("INCR n", "new n,incrby n"),
        ("DECRBY n 2", "incrby n"),
        ("INCRBYFLOAT n 2", "incrbyfloat n"),
        ("MSET n 1 m 2", "set n,new m,set m"),
        ("GETDEL m", "del m"),
        ("SETBIT n 1 1", "setbit n"),
        ("SETBIT n 1 1", ""),
        ("BITFIELD f SET u8 0 1", "new f,setbit f"),
        ("BITOP OR d a n", "new d,set d"),
        ("BITOP AND d missing", "keymiss missing,del d"),
    ] {
        let args = crate::command::testkit::split(line);
        kit.run(&args.iter().map(Vec::as_slice).collect::<Vec<_>>());
        kit.events(events);
    }
}

#[test]
fn a_value_expires_one_millisecond_after_its_moment() {
    let mut kit = kit();
    kit.expect("SET a 1 PX 100", "+OK|");
    kit.advance_ms(100);
    kit.expect("GET a", "$1|1|");
    kit.expect("INCR a", ":2|");
    kit.advance_ms(1);
    kit.expect("GET a", "$-1|");
    kit.expect("SET a 1 XX", "$-1|");
    kit.expect("SET a 1 NX", "+OK|");
}

#[test]
fn large_values_go_in_and_out_unchanged() {
    let mut kit = kit();
    let value: Vec<u8> = (0..3 * BIG_ARGUMENT_BYTES_MIN)
        .map(|index| index as u8)
        .collect();
    let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    assert_eq!(kit.run(&[b"SET", b"a", &value]), b"+OK\r\n");
    assert_eq!(kit.run(&[b"GET", b"a"]), bulk(&value));
    assert_eq!(
        kit.run(&[b"GETRANGE", b"a", b"5", b"-5"]),
        bulk(&value[5..value.len() - 4])
    );
    assert_eq!(
        kit.run(&[b"GETRANGE", b"a", b"5", b"6"]),
        bulk(&value[5..7])
    );
    assert_eq!(kit.run(&[b"GETSET", b"a", &value[1..]]), bulk(&value));
    assert_eq!(kit.run(&[b"APPEND", b"a", b"tail"]), b":49155\r\n");
    assert_eq!(kit.run(&[b"APPEND", b"b", &value]), b":49152\r\n");
    assert_eq!(
        kit.run(&[b"GETDEL", b"a"]),
        bulk(&[&value[1..], b"tail"].concat())
    );
    assert_eq!(kit.run(&[b"MSET", b"a", &value, b"c", b"1"]), b"+OK\r\n");
    assert_eq!(
        kit.run(&[b"INCR", b"a"]),
        b"-ERR value is not an integer or out of range\r\n"
    );
    assert_eq!(
        kit.run(&[b"BITOP", b"XOR", b"c", b"a", b"b"]),
        b":49152\r\n"
    );
    assert_eq!(kit.run(&[b"BITCOUNT", b"c"]), b":0\r\n");
}

#[test]
fn strings_stay_within_their_limit() {
    let mut kit = kit();
    kit.config.proto_max_bulk_len = 1 << 20;
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)|";
    kit.expect("SETRANGE a 1048575 x", ":1048576|");
    kit.expect("APPEND a x", too_long);
    kit.expect("STRLEN a", ":1048576|");
    kit.expect("SETRANGE a 1048575 xy", too_long);
    kit.expect("SETRANGE new 9223372036854775807 xy", too_long);
    kit.expect("SETBIT a 8388607 1", ":0|");
    kit.expect(
        "SETBIT a 8388608 1",
        "-ERR bit offset is not an integer or out of range|",
    );
    kit.expect(
        "LCS a a",
        "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len|",
    );
}

#[test]
fn nulls_and_maps_follow_the_protocol() {
    let mut kit = kit();
    kit.expect("GET a", "$-1|");
    kit.expect("LCS a b IDX", "*4|$7|matches|*0|$3|len|:0|");
    kit.resp3();
    kit.expect("GET a", "_|");
    kit.expect("MGET a b", "*2|_|_|");
    kit.expect("LCS a b IDX", "%2|$7|matches|*0|$3|len|:0|");
    kit.expect("BITFIELD a OVERFLOW FAIL SET u1 0 2", "*1|_|");
}
