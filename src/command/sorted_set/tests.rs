//! What the handlers tell and log.

use super::super::testkit::Kit;
use super::TABLE;

fn kit() -> Kit {
    let mut kit = Kit::new(&[TABLE]);
    kit.expect("ZADD z 1 a 2 b 3 c 4 d", ":4|");
    kit.events("new z,zadd z");
    assert_eq!(kit.effects.dirty, 4);
    kit
}

#[test]
fn zadd_counts_and_tells_what_changed() {
    let mut kit = kit();
    kit.expect("ZADD z 1 a", ":0|");
    kit.events("");
    kit.logged("");
    kit.expect("ZADD z 9 a 5 e 2 b", ":1|");
    kit.events("zadd z");
    assert_eq!(kit.effects.dirty, 2);
    kit.expect("ZADD z INCR 1 a", "$2|10|");
    kit.events("zincr z");
    kit.logged("*5|$4|ZADD|$1|z|$4|INCR|$1|1|$1|a|");
    kit.expect("ZADD z INCR XX 1 nosuch", "$-1|");
    kit.events("");
    kit.expect("ZADD nosuch XX 1 a", ":0|");
    kit.events("");
    kit.expect("ZADD z inf a", ":0|");
    kit.expect(
        "ZINCRBY z -inf a",
        "-ERR resulting score is not a number (NaN)|",
    );
    kit.events("");
}

#[test]
fn the_last_member_takes_the_key_along() {
    for line in [
        "ZREM z a b c d",
        "ZREMRANGEBYRANK z 0 -1",
        "ZREMRANGEBYSCORE z 1 4",
        "ZREMRANGEBYLEX z - +",
    ] {
        let mut kit = kit();
        kit.expect(line, ":4|");
        let event = line.split(' ').next().unwrap_or_default().to_lowercase();
        kit.events(&format!("{event} z,del z"));
        assert_eq!(kit.effects.dirty, 4);
        assert_eq!(kit.keyspace.len(0), 0);
    }
    let mut kit = kit();
    kit.expect("ZREM z a", ":1|");
    kit.events("zrem z");
    kit.expect("ZPOPMIN z", "*2|$1|b|$1|2|");
    kit.events("zpopmin z");
    kit.expect("ZPOPMAX z 9", "*4|$1|d|$1|4|$1|c|$1|3|");
    kit.events("zpopmax z,del z");
    assert_eq!(kit.effects.dirty, 2);
}

#[test]
fn zmpop_is_logged_as_a_pop_of_its_key() {
    let mut kit = kit();
    kit.expect(
        "ZMPOP 2 y z MAX COUNT 9",
        "*2|$1|z|*4|*2|$1|d|$1|4|*2|$1|c|$1|3|*2|$1|b|$1|2|*2|$1|a|$1|1|",
    );
    kit.events("zpopmax z,del z");
    kit.logged("*3|$7|ZPOPMAX|$1|z|$1|4|");
    kit.expect("ZMPOP 2 y z MAX", "*-1|");
    kit.logged("");
}

#[test]
fn what_is_stored_replaces_and_an_empty_result_removes() {
    let mut kit = kit();
    kit.expect("ZRANGESTORE d z 0 1", ":2|");
    kit.events("new d,zrangestore d");
    assert_eq!(kit.effects.dirty, 1);
    kit.expect("ZUNIONSTORE d 1 z", ":4|");
    kit.events("zunionstore d");
    kit.expect("ZINTERSTORE d 2 z nosuch", ":0|");
    kit.events("keymiss nosuch,del d");
    kit.expect("ZDIFFSTORE d 2 z z", ":0|");
    kit.events("");
    kit.logged("");
}

#[test]
fn reads_that_find_nothing_tell_so() {
    let mut kit = Kit::new(&[TABLE]);
    for line in [
        "ZCARD z",
        "ZSCORE z a",
        "ZMSCORE z a",
        "ZRANK z a",
        "ZCOUNT z 1 2",
        "ZLEXCOUNT z - +",
        "ZRANGE z 0 -1",
        "ZRANDMEMBER z",
        "ZSCAN z 0",
        "ZUNION 1 z",
    ] {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        kit.run(&args);
        kit.events("keymiss z");
    }
}

#[test]
fn random_members_are_distinct_and_about_equally_frequent() {
    let mut kit = Kit::new(&[TABLE]);
    for number in 0..300 {
        let member = format!("m{number}");
        kit.run(&[b"ZADD", b"z", b"1", member.as_bytes()]);
    }
    for count in [1, 5, 37, 38, 150, 299, 300] {
        let count = count.to_string();
        let reply = kit.run(&[b"ZRANDMEMBER", b"z", count.as_bytes()]);
        let text = String::from_utf8(reply).unwrap();
        let mut members: Vec<&str> = text.lines().filter(|line| line.starts_with('m')).collect();
        members.sort_unstable();
        members.dedup();
        assert_eq!(members.len().to_string(), count);
    }
    let reply = kit.run(&[b"ZRANDMEMBER", b"z", b"-60000"]);
    let text = String::from_utf8(reply).unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for member in text.lines().filter(|line| line.starts_with('m')) {
        *counts.entry(member).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 300);
    assert!(
        counts.values().all(|count| (100..320).contains(count)),
        "{counts:?}"
    );
}
