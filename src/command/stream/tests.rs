//! What stream commands log and whom they tell. A follower that is fed the log must hold the same stream.

use super::super::testkit::{Kit, escape, split};
use super::TABLE;
use crate::base::random::Random;
use crate::keyspace::ExpiryPolicy;
use crate::resp::{Arguments, Limits, Parsed, Parser};

fn kit() -> Kit {
    Kit::new(&[TABLE])
}

#[test]
fn xadd_logs_the_id_and_an_exact_trim() {
    let mut kit = kit();
    kit.config.stream_node_max_entries = 2;
    kit.expect("XADD s 1-1 a 1", "$3|1-1|");
    kit.logged("*5|$4|XADD|$1|s|$3|1-1|$1|a|$1|1|");
    kit.events("new s,xadd s");
    kit.expect("XADD s 1-* a 1", "$3|1-2|");
    kit.logged("*5|$4|XADD|$1|s|$3|1-2|$1|a|$1|1|");
    kit.events("xadd s");
    kit.expect("XADD s * a 1", "$15|1700000000000-0|");
    kit.logged("*5|$4|XADD|$1|s|$15|1700000000000-0|$1|a|$1|1|");
    kit.expect(
        "XADD s NOMKSTREAM MAXLEN ~ 1 LIMIT 9 * a 2",
        "$15|1700000000000-1|",
    );
    kit.logged("*9|$4|XADD|$1|s|$10|NOMKSTREAM|$6|MAXLEN|$1|=|$1|2|$15|1700000000000-1|$1|a|$1|2|");
    kit.events("xadd s,xtrim s");
    kit.expect(
        "XADD s MAXLEN 1 9999999999999-0 a 3",
        "$15|9999999999999-0|",
    );
    kit.logged("*7|$4|XADD|$1|s|$6|MAXLEN|$1|1|$15|9999999999999-0|$1|a|$1|3|");
}

#[test]
fn xtrim_logs_what_is_left_and_nothing_when_nothing_goes() {
    let mut kit = kit();
    kit.config.stream_node_max_entries = 2;
    for record in 1..=5 {
        kit.run(
            &split(&format!("XADD s 1-{record} a 1"))
                .iter()
                .map(Vec::as_slice)
                .collect::<Vec<_>>(),
        );
    }
    kit.expect("XTRIM s MINID ~ 1-4", ":2|");
    kit.logged("*5|$5|XTRIM|$1|s|$5|MINID|$1|=|$3|1-3|");
    kit.events("xtrim s");
    kit.expect("XTRIM s MINID ~ 1-4", ":0|");
    kit.logged("");
    kit.expect("XTRIM s MAXLEN 1", ":2|");
    kit.logged("*4|$5|XTRIM|$1|s|$6|MAXLEN|$1|1|");
    assert_eq!(kit.effects.dirty, 2);
    kit.expect("XTRIM s MINID ~ 9-9", ":1|");
    kit.logged("*5|$5|XTRIM|$1|s|$5|MINID|$1|=|$41|18446744073709551615-18446744073709551615|");
}

#[test]
fn the_leaders_limit_of_an_exact_trim_is_passed_over() {
    let mut kit = kit();
    let line = "XADD s MAXLEN = 5 LIMIT 10 1-1 a 1";
    kit.expect(
        line,
        "-ERR syntax error, LIMIT cannot be used without the special ~ option|",
    );
    kit.keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
    kit.expect(line, "$3|1-1|");
}

#[test]
fn reads_of_a_group_are_logged_as_claims() {
    let mut kit = kit();
    kit.expect("XADD s 1-1 a 1", "$3|1-1|");
    kit.expect("XADD s 1-2 a 1", "$3|1-2|");
    kit.expect("XGROUP CREATE s g 0", "+OK|");
    kit.logged("*5|$6|XGROUP|$6|CREATE|$1|s|$1|g|$1|0|");
    kit.events("xgroup-create s");
    kit.expect(
        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
        "*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|a|$1|1|",
    );
    kit.logged(
        "*14|$6|XCLAIM|$1|s|$1|g|$1|c|$1|0|$3|1-1|$4|TIME|$13|1700000000000|$10|RETRYCOUNT|$1|1|$5|FORCE|$6|JUSTID|\
         $6|LASTID|$3|1-1|*7|$6|XGROUP|$5|SETID|$1|s|$1|g|$3|1-1|$11|ENTRIESREAD|$1|1|",
    );
    kit.events("xgroup-createconsumer s");
    assert_eq!(kit.effects.dirty, 2);
    kit.expect(
        "XREADGROUP GROUP g d NOACK STREAMS s >",
        "*1|*2|$1|s|*1|*2|$3|1-2|*2|$1|a|$1|1|",
    );
    kit.logged(
        "*5|$6|XGROUP|$14|CREATECONSUMER|$1|s|$1|g|$1|d|\
         *7|$6|XGROUP|$5|SETID|$1|s|$1|g|$3|1-2|$11|ENTRIESREAD|$1|2|",
    );
    kit.expect("XREADGROUP GROUP g e STREAMS s >", "*-1|");
    kit.logged("*5|$6|XGROUP|$14|CREATECONSUMER|$1|s|$1|g|$1|e|");
    kit.expect("XREADGROUP GROUP g e STREAMS s >", "*-1|");
    kit.logged("");
    kit.events("");
    kit.expect("XACK s g 1-1 1-2", ":1|");
    kit.logged("*5|$4|XACK|$1|s|$1|g|$3|1-1|$3|1-2|");
    kit.events("");
}

#[test]
fn a_line_that_fails_changes_nothing() {
    let mut kit = kit();
    kit.expect("XADD s 1-1 a 1", "$3|1-1|");
    kit.expect("XGROUP CREATE s g 0", "+OK|");
    for line in [
        "XDEL s 1-1 x",
        "XACK s g 1-1 x",
        "XREADGROUP GROUP g c STREAMS s none > >",
        "XREADGROUP GROUP g c STREAMS s s > x",
        "XCLAIM s g c 0 1-1 FORCE LASTID x",
        "XAUTOCLAIM s g c 0 0 COUNT x",
        "XGROUP CREATE none g x MKSTREAM",
        "XGROUP CREATE s g 0 MKSTREAM",
        "XADD none x a 1",
    ] {
        let args = split(line);
        let reply = kit.run(&args.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(reply[0], b'-', "{line}: {}", escape(&reply));
        kit.logged("");
    }
    kit.expect("XLEN s", ":1|");
    kit.expect("XINFO CONSUMERS s g", "*0|");
    assert_eq!(kit.keyspace.len(0), 1);
}

/// Runs the lines that `leader` logged.
fn follow(leader: &Kit, follower: &mut Kit) {
    let log = leader.effects.log.clone();
    let mut used = 0;
    while used < log.len() {
        let mut arguments = Arguments::default();
        let parsed = Parser::default().next(&log, &mut used, &Limits::default(), &mut arguments);
        assert!(matches!(parsed, Ok(Parsed::Line)), "{}", escape(&log));
        let spans = 0..arguments.spans.len();
        let line = arguments.line(&log, spans);
        let args: Vec<&[u8]> = line.args().collect();
        let reply = follower.run(&args);
        assert_ne!(reply[0], b'-', "{}: {}", escape(&log), escape(&reply));
    }
}

/// All that can be seen of the stream but times that followers are not told.
fn seen(kit: &mut Kit) -> Vec<String> {
    let full = escape(&kit.run(&[b"XINFO", b"STREAM", b"s", b"FULL", b"COUNT", b"0"]));
    let mut words: Vec<String> = full.split('|').map(String::from).collect();
    for index in 0..words.len() {
        if words[index] == "seen-time" || words[index] == "active-time" {
            words[index + 1].clear();
        }
        if words[index].starts_with("radix-tree") {
            words[index + 1].clear();
        }
    }
    words
}

#[test]
fn a_follower_of_the_log_holds_the_same_stream() {
    let seed = std::env::var("SEED").map_or(11, |seed| seed.parse().expect("a number"));
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let (mut leader, mut follower) = (kit(), kit());
    leader.config.stream_node_max_entries = 3;
    follower.config.stream_node_max_entries = 5;
    follower.keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
    leader.expect("XGROUP CREATE s g0 0 MKSTREAM", "+OK|");
    follow(&leader, &mut follower);
    for step in 0..4_000 {
        leader.advance_ms(random.below(3) as i64);
        follower.advance_ms(1);
        let now_ms = leader.now_ms;
        let mut id = || format!("{}-{}", now_ms - random.below(30) as i64, random.below(3));
        let (a, b) = (id(), id());
        let (group, consumer) = (random.below(3), random.below(3));
        let small = random.below(5);
        let line = match random.below(20) {
            0..=4 => "XADD s * a 1".to_owned(),
            5 => format!("XADD s * b 1 c {small}"),
            6 => format!("XADD s MAXLEN ~ {} * a 1", 10 + small),
            7 => format!("XADD s MINID ~ {a} LIMIT {small} * a 1"),
            8 => format!("XTRIM s MINID {a}"),
            9 => format!("XDEL s {a} {b}"),
            10 => format!("XGROUP CREATE s g{group} {a}"),
            11 if small == 0 => format!("XGROUP DESTROY s g{group}"),
            11 => format!("XGROUP DELCONSUMER s g{group} c{consumer}"),
            12 | 13 => {
                format!("XREADGROUP GROUP g{group} c{consumer} COUNT {small} STREAMS s >")
            }
            14 => format!("XREADGROUP GROUP g{group} c{consumer} NOACK COUNT 1 STREAMS s >"),
            15 => format!("XACK s g{group} {a} {b}"),
            16 => format!("XCLAIM s g{group} c{consumer} {small} {a} {b}"),
            17 => format!("XCLAIM s g{group} c{consumer} 0 {a} FORCE IDLE 5 LASTID {b}"),
            18 => format!("XAUTOCLAIM s g{group} c{consumer} {small} - COUNT 3"),
            _ => format!("XGROUP SETID s g{group} {a}"),
        };
        let args = split(&line);
        leader.run(&args.iter().map(Vec::as_slice).collect::<Vec<_>>());
        follow(&leader, &mut follower);
        assert!(
            seen(&mut leader) == seen(&mut follower),
            "step {step}: {line}"
        );
    }
}
