//! What set commands tell, log and count.

use super::super::testkit::Kit;
use super::TABLE;
use crate::command::generic;

#[test]
fn events_and_counts() {
    let mut kit = Kit::new(&[TABLE, generic::TABLE]);
    kit.expect("SADD a 1 2 3 2", ":3|");
    kit.events("new a,sadd a");
    assert_eq!(kit.effects.dirty, 3);
    kit.expect("SADD a 1 2", ":0|");
    kit.events("");
    kit.logged("");
    kit.expect("SREM a 1 9", ":1|");
    kit.events("srem a");
    kit.expect("SMOVE a b 2", ":1|");
    kit.events("srem a,new b,sadd b");
    assert_eq!(kit.effects.dirty, 2);
    kit.logged("*4|$5|SMOVE|$1|a|$1|b|$1|2|");
    kit.expect("SMOVE a b 3", ":1|");
    kit.events("srem a,del a,sadd b");
    kit.expect("SUNIONSTORE c a b", ":2|");
    kit.events("keymiss a,new c,sunionstore c");
    kit.expect("SDIFFSTORE c b", ":2|");
    kit.events("sdiffstore c");
    kit.expect("SINTERSTORE c a b", ":0|");
    kit.events("keymiss a,del c");
    kit.expect("SINTERSTORE c a b", ":0|");
    assert_eq!(kit.effects.dirty, 0);
    kit.expect("SREM b 2 3", ":2|");
    kit.events("srem b,del b");
}

#[test]
fn random_members_are_logged_as_they_came_out() {
    let mut kit = Kit::new(&[TABLE, generic::TABLE]);
    kit.expect("SADD a 7", ":1|");
    kit.expect("SPOP a", "$1|7|");
    kit.events("spop a,del a");
    kit.logged("*3|$4|SREM|$1|a|$1|7|");
    kit.expect("SPOP a", "$-1|");
    kit.logged("");
    kit.expect("SADD a x y z", ":3|");
    kit.expect("SPOP a 3", "*3|$1|x|$1|y|$1|z|");
    kit.events("spop a,del a");
    assert_eq!(kit.effects.dirty, 3);
    kit.logged("*2|$3|DEL|$1|a|");
    kit.config.lazyfree_lazy_server_del = true;
    kit.expect("SADD a x", ":1|");
    kit.expect("SPOP a 10", "*1|$1|x|");
    kit.logged("*2|$6|UNLINK|$1|a|");
    let members: Vec<String> = (0..3000).map(|number| format!("m{number}")).collect();
    let mut line: Vec<&[u8]> = vec![b"SADD", b"a"];
    line.extend(members.iter().map(|member| member.as_bytes()));
    kit.run(&line);
    for count in ["100", "2500"] {
        kit.run(&[b"SPOP", b"a", count.as_bytes()]);
        let log = kit.effects.log.clone();
        kit.events("spop a");
        let lines = log.split(|&byte| byte == b'*').count() - 1;
        assert_eq!(lines, count.parse::<usize>().unwrap().div_ceil(1024));
    }
    kit.expect("SCARD a", ":400|");
}
