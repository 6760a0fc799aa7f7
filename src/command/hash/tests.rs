//! Tests of what followers are told, of followers themselves, and of hashes that lose many fields at once.

use crate::command::testkit::Kit;
use crate::keyspace::{Expired, ExpiredPart, ExpiryPolicy};

fn kit() -> Kit {
    let mut kit = Kit::new(&[super::TABLE]);
    kit.expect("HSET h a 1 b 2 c 3", ":3|");
    kit
}

#[test]
fn followers_get_absolute_ends_of_the_fields_that_changed() {
    let mut kit = kit();
    assert_eq!(kit.now_ms, 1_700_000_000_000);
    let logged = "*7|$10|HPEXPIREAT|$1|h|$13|1700000010000|$6|FIELDS|$1|2|$1|a|$1|c|";
    for line in [
        "HEXPIRE h 10 FIELDS 3 a zzz c",
        "HPEXPIRE h 10000 XX FIELDS 3 a b c",
        "HEXPIREAT h 1700000010 XX FIELDS 3 a b c",
        "HPEXPIREAT h 1700000010000 FIELDS 2 a c",
        "HGETEX h PX 10000 FIELDS 3 a zzz c",
    ] {
        kit.run_line(line);
        kit.logged(logged);
        kit.events("hexpire h");
    }
    kit.expect("HEXPIRE h 20 NX FIELDS 1 a", "*1|:0|");
    kit.logged("");
    kit.expect("HGETEX h PERSIST FIELDS 3 a b zzz", "*3|$1|1|$1|2|$-1|");
    kit.logged("*5|$8|HPERSIST|$1|h|$6|FIELDS|$1|1|$1|a|");
    kit.expect("HGETEX h FIELDS 1 a", "*1|$1|1|");
    kit.logged("");
    kit.expect("HEXPIRE h 0 FIELDS 2 a zzz", "*2|:2|:-2|");
    kit.logged("*3|$4|HDEL|$1|h|$1|a|");
    kit.events("hdel h");
    kit.expect("HGETEX h EX 0 FIELDS 1 b", "*1|$1|2|");
    kit.logged("*3|$4|HDEL|$1|h|$1|b|");
    kit.expect("HGETDEL h FIELDS 2 b c", "*2|$-1|$1|3|");
    kit.logged("*3|$4|HDEL|$1|h|$1|c|");
    kit.events("hdel h,del h");
}

#[test]
fn followers_get_results_and_no_conditions() {
    let mut kit = kit();
    kit.expect("HINCRBYFLOAT h a 0.5", "$3|1.5|");
    kit.logged("*4|$4|HSET|$1|h|$1|a|$3|1.5|");
    kit.run_line("HPEXPIREAT h 1700000010000 FIELDS 1 a");
    kit.expect("HINCRBYFLOAT h a 0.5", "$1|2|");
    kit.logged(
        "*4|$4|HSET|$1|h|$1|a|$1|2|*6|$10|HPEXPIREAT|$1|h|$13|1700000010000|$6|FIELDS|$1|1|$1|a|",
    );
    kit.expect("HINCRBY h b 5", ":7|");
    kit.logged("*4|$7|HINCRBY|$1|h|$1|b|$1|5|");
    kit.expect("HSETEX h FXX EX 10 FIELDS 1 a 3", ":1|");
    kit.logged("*8|$6|HSETEX|$1|h|$4|PXAT|$13|1700000010000|$6|FIELDS|$1|1|$1|a|$1|3|");
    kit.events("hset h,hexpire h");
    kit.expect("HSETEX h KEEPTTL FIELDS 1 a 4", ":1|");
    kit.logged("*7|$6|HSETEX|$1|h|$7|KEEPTTL|$6|FIELDS|$1|1|$1|a|$1|4|");
    kit.expect("HSETEX h FNX FIELDS 1 new 4", ":1|");
    kit.logged("*4|$4|HSET|$1|h|$3|new|$1|4|");
    kit.expect("HSETEX h FNX FIELDS 1 new 5", ":0|");
    kit.logged("");
    kit.expect("HSETEX other PX 0 FIELDS 1 a 1", ":1|");
    kit.logged("*3|$4|HDEL|$5|other|$1|a|");
    kit.events("new other,hset other,hdel other,del other");
}

#[test]
fn an_access_finds_what_expired_and_tells_of_it() {
    let mut kit = kit();
    kit.keyspace.record_expired(true);
    kit.run_line("HPEXPIRE h 10 FIELDS 2 a b");
    kit.advance_ms(10);
    kit.expect("HLEN h", ":3|");
    kit.advance_ms(1);
    kit.expect("HSET h a 5", ":1|");
    kit.events("hexpired h,hset h");
    kit.run_line("HPEXPIRE h 10 FIELDS 2 a c");
    kit.advance_ms(11);
    kit.expect("HLEN h", ":0|");
    kit.events("hexpired h,del h,keymiss h");
    let expired = &kit.effects.expired;
    let [
        Expired {
            db: 0,
            key,
            part: ExpiredPart::Fields { names, last: true },
        },
    ] = &expired[..]
    else {
        panic!("{expired:?}");
    };
    assert_eq!((&key[..], names.len()), (&b"h"[..], 2));
    assert_eq!(kit.keyspace.len(0), 0);
    assert_eq!(kit.keyspace.stats().expired_fields, 4);
    assert_eq!(kit.keyspace.stats().expired, 0);
}

#[test]
fn a_follower_hides_fields_and_deletes_none() {
    let mut kit = kit();
    kit.run_line("HPEXPIRE h 10 FIELDS 1 a");
    kit.keyspace.set_expiry_policy(ExpiryPolicy::Hide);
    kit.advance_ms(11);
    kit.expect("HMGET h a b", "*2|$-1|$1|2|");
    kit.expect("HLEN h", ":2|");
    kit.expect("HKEYS h", "*2|$1|b|$1|c|");
    kit.expect("HTTL h FIELDS 1 a", "*1|:-2|");
    assert_eq!(kit.keyspace.expire_slice(1_000).next_due_ms, None);
    kit.keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
    kit.expect("HLEN h", ":3|");
    kit.expect("HGET h a", "$1|1|");
    kit.expect("HINCRBY h a 1", ":2|");
    kit.expect("HPEXPIREAT h 1000 FIELDS 2 b c", "*2|:1|:1|");
    kit.keyspace.set_expiry_policy(ExpiryPolicy::Hide);
    kit.expect("HGETALL h", "*0|");
    assert_eq!(kit.keyspace.len(0), 1);
    kit.keyspace.set_expiry_policy(ExpiryPolicy::Delete);
    kit.expect("HLEN h", ":0|");
    assert_eq!(kit.keyspace.len(0), 0);
}

#[test]
fn a_field_that_expired_and_is_not_removed_counts_as_new() {
    let mut kit = kit();
    kit.run_line("HPEXPIRE h 10 FIELDS 2 a b");
    kit.keyspace.set_expiry_policy(ExpiryPolicy::Hide);
    kit.advance_ms(11);
    kit.expect("HINCRBY h a 5", ":5|");
    kit.logged("*4|$4|HSET|$1|h|$1|a|$1|5|");
    kit.expect("HTTL h FIELDS 1 a", "*1|:-1|");
    kit.expect("HSETEX h FNX KEEPTTL FIELDS 1 b 7", ":1|");
    kit.logged("*3|$4|HDEL|$1|h|$1|b|*7|$6|HSETEX|$1|h|$7|KEEPTTL|$6|FIELDS|$1|1|$1|b|$1|7|");
    kit.expect("HTTL h FIELDS 1 b", "*1|:-1|");
}

#[test]
fn many_fields_due_at_once_go_in_slices() {
    const FIELDS: usize = 20_000;
    let mut kit = Kit::new(&[super::TABLE]);
    kit.keyspace.record_expired(true);
    let moment = kit.now_ms + 10;
    for number in 0..FIELDS {
        kit.run_line(&format!(
            "HSETEX h PXAT {moment} FIELDS 1 f{number} {number}"
        ));
    }
    kit.expect("HSET h stays 1", ":1|");
    assert_eq!(kit.keyspace.next_due_ms(), Some(moment + 1));
    kit.advance_ms(11);
    // No command sees what is not removed yet.
    kit.expect("HLEN h", ":1|");
    assert!(kit.keyspace.stats().expired_fields <= 2_000);
    kit.expect("HGETALL h", "*2|$5|stays|$1|1|");
    kit.expect("HRANDFIELD h -3", "*3|$5|stays|$5|stays|$5|stays|");
    kit.expect("HGET h f19999", "$-1|");
    kit.expect("HDEL h f19998", ":0|");
    let mut slices = 0;
    while kit.keyspace.expire_slice(1_000).more_due {
        slices += 1;
        assert!(slices < 100, "the slices end");
    }
    assert!(slices > 10, "{slices} slices");
    assert_eq!(kit.keyspace.stats().expired_fields, FIELDS as u64);
    assert_eq!(kit.keyspace.next_due_ms(), None);
    let removed: usize = kit
        .keyspace
        .take_expired()
        .iter()
        .map(|expired| match &expired.part {
            ExpiredPart::Fields { names, last: false } => names.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    // Those that accesses removed were taken by the lines that wrote.
    assert!((FIELDS - 10_000..=FIELDS).contains(&removed), "{removed}");
    kit.expect("HGETALL h", "*2|$5|stays|$1|1|");
    kit.keyspace.remove(0, kit.keyspace.key(b"h"));
    while kit.keyspace.free_slice(1_000) {}
    assert!(kit.keyspace.memory() < 2_000, "{}", kit.keyspace.memory());
}
