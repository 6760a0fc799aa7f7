//! When keys end: set it, ask for it, take it away.
//!
//! A key's end is kept as wall clock milliseconds, so the four commands that set it differ only in the unit and the
//! origin of their argument. What followers get is always the absolute form: PEXPIREAT, or DEL (UNLINK with
//! `lazyfree-lazy-expire`) for a moment that has passed.

use super::string::missed;
use super::{
    Command, Cx, Done, Fault, Group, KeySpec, Run, Spread, category, class, flag, key_flag,
};
use crate::base::number::{parse_i64, push_i64};
use crate::keyspace::ExpiryPolicy;
use crate::resp::Line;

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        summary: "Sets the expiration time of a key in seconds.",
        syntax: "key seconds [NX | XX | GT | LT]",
        ..setter("expire", expire)
    },
    Command {
        since: "2.6.0",
        summary: "Sets the expiration time of a key in milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        ..setter("pexpire", pexpire)
    },
    Command {
        since: "1.2.0",
        summary: "Sets the expiration time of a key to a Unix timestamp.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        ..setter("expireat", expireat)
    },
    Command {
        since: "2.6.0",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        ..setter("pexpireat", pexpireat)
    },
    Command {
        summary: "Returns the expiration time in seconds of a key.",
        tips: &["nondeterministic_output"],
        ..getter("ttl", ttl)
    },
    Command {
        since: "2.6.0",
        summary: "Returns the expiration time in milliseconds of a key.",
        tips: &["nondeterministic_output"],
        ..getter("pttl", pttl)
    },
    Command {
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix timestamp.",
        ..getter("expiretime", expiretime)
    },
    Command {
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        ..getter("pexpiretime", pexpiretime)
    },
    Command {
        categories: category::KEYSPACE,
        keys: SET_KEYS,
        group: Group::Generic,
        since: "2.2.0",
        summary: "Removes the expiration time of a key.",
        syntax: "key",
        ..Command::new(
            "persist",
            2,
            flag::WRITE | flag::FAST,
            Run::Keys(persist, Spread::One),
        )
    },
];

const SET_KEYS: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const GET_KEYS: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];

/// What the rows of the commands that set an end have in common.
const fn setter(name: &'static str, handler: fn(&mut Cx<'_>) -> Done) -> Command {
    Command {
        categories: category::KEYSPACE,
        keys: SET_KEYS,
        group: Group::Generic,
        ..Command::new(
            name,
            -3,
            flag::WRITE | flag::FAST,
            Run::Keys(handler, Spread::One),
        )
    }
}

/// What the rows of the commands that ask for the end have in common.
const fn getter(name: &'static str, handler: fn(&mut Cx<'_>) -> Done) -> Command {
    Command {
        categories: category::KEYSPACE,
        keys: GET_KEYS,
        group: Group::Generic,
        syntax: "key",
        ..Command::new(
            name,
            2,
            flag::READONLY | flag::FAST,
            Run::Keys(handler, Spread::One),
        )
    }
}

fn expire(cx: &mut Cx<'_>) -> Done {
    set_end(cx, "expire", 1000, cx.now_ms)
}

fn pexpire(cx: &mut Cx<'_>) -> Done {
    set_end(cx, "pexpire", 1, cx.now_ms)
}

fn expireat(cx: &mut Cx<'_>) -> Done {
    set_end(cx, "expireat", 1000, 0)
}

fn pexpireat(cx: &mut Cx<'_>) -> Done {
    set_end(cx, "pexpireat", 1, 0)
}

/// When a new end takes the place of the current one.
#[derive(Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    /// Reads the words from the argument `from` on.
    fn parse(line: &Line<'_>, from: usize) -> Result<Conditions, Fault> {
        let mut conditions = Conditions::default();
        for index in from..line.len() {
            let word = line.arg(index);
            match () {
                _ if word.eq_ignore_ascii_case(b"nx") => conditions.only_without = true,
                _ if word.eq_ignore_ascii_case(b"xx") => conditions.only_with = true,
                _ if word.eq_ignore_ascii_case(b"gt") => conditions.only_later = true,
                _ if word.eq_ignore_ascii_case(b"lt") => conditions.only_earlier = true,
                _ => {
                    return Err(Fault::showing("ERR Unsupported option {}", &[word]));
                }
            }
        }
        if conditions.only_without
            && (conditions.only_with || conditions.only_later || conditions.only_earlier)
        {
            return Err(Fault::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.only_later && conditions.only_earlier {
            return Err(Fault::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// The end `at_ms` may replace `current_ms`. A key without an end counts as ending last.
    fn hold(&self, current_ms: Option<i64>, at_ms: i64) -> bool {
        match current_ms {
            None => !self.only_with && !self.only_later,
            Some(current_ms) => {
                let refused = self.only_without
                    || (self.only_later && at_ms <= current_ms)
                    || (self.only_earlier && at_ms >= current_ms);
                !refused
            }
        }
    }
}

/// Sets the end of a key to the second argument, in units of `unit_ms` since `origin_ms`.
fn set_end(cx: &mut Cx<'_>, name: &str, unit_ms: i64, origin_ms: i64) -> Done {
    let conditions = Conditions::parse(&cx.line, 3)?;
    let time = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    let at_ms = time
        .checked_mul(unit_ms)
        .and_then(|time_ms| time_ms.checked_add(origin_ms))
        .ok_or_else(|| Fault::text(format!("ERR invalid expire time in '{name}' command")))?;
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.peek(cx.db, key) else {
        cx.reply.int(0);
        return Ok(());
    };
    if !conditions.hold(entry.expiry(), at_ms) {
        cx.reply.int(0);
        return Ok(());
    }
    // A follower deletes nothing by itself: it keeps the passed end, hides the key and waits for its leader's DEL.
    if at_ms <= cx.now_ms && cx.keyspace.expiry_policy() == ExpiryPolicy::Delete {
        cx.keyspace.remove(cx.db, key);
        let logged: &[u8] = if cx.config.lazyfree_lazy_expire {
            b"UNLINK"
        } else {
            b"DEL"
        };
        cx.log(&[logged, key.bytes]);
        cx.wrote(key.bytes, "del", class::GENERIC);
    } else {
        cx.keyspace.set_expiry(cx.db, key, Some(at_ms));
        let mut digits = Vec::new();
        push_i64(&mut digits, at_ms);
        cx.log(&[b"PEXPIREAT", key.bytes, &digits]);
        cx.wrote(key.bytes, "expire", class::GENERIC);
    }
    cx.reply.int(1);
    Ok(())
}

fn ttl(cx: &mut Cx<'_>) -> Done {
    let left = |at_ms: i64, now_ms| rounded_seconds(at_ms.saturating_sub(now_ms).max(0));
    reply_end(cx, left)
}

fn pttl(cx: &mut Cx<'_>) -> Done {
    reply_end(cx, |at_ms, now_ms| at_ms.saturating_sub(now_ms).max(0))
}

fn expiretime(cx: &mut Cx<'_>) -> Done {
    reply_end(cx, |at_ms, _| rounded_seconds(at_ms))
}

fn pexpiretime(cx: &mut Cx<'_>) -> Done {
    reply_end(cx, |at_ms, _| at_ms)
}

fn rounded_seconds(ms: i64) -> i64 {
    ms.saturating_add(500) / 1000
}

/// Replies what `shown` makes of the key's end and the present: -1 without an end, -2 without the key.
fn reply_end(cx: &mut Cx<'_>, shown: impl Fn(i64, i64) -> i64) -> Done {
    let key = cx.key(1);
    let answer = match cx.keyspace.read_untouched(cx.db, key) {
        None => {
            missed(cx, key);
            -2
        }
        Some(entry) => entry.expiry().map_or(-1, |at_ms| shown(at_ms, cx.now_ms)),
    };
    cx.reply.int(answer);
    Ok(())
}

fn persist(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let ends = cx
        .keyspace
        .peek(cx.db, key)
        .is_some_and(|entry| entry.expiry().is_some());
    if ends {
        cx.keyspace.set_expiry(cx.db, key, None);
        cx.wrote(key.bytes, "persist", class::GENERIC);
    }
    cx.reply.int(i64::from(ends));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testkit::Kit;
    use super::*;
    use crate::keyspace::{NewExpiry, NewString};

    fn kit() -> Kit {
        let mut kit = Kit::new(&[TABLE]);
        set(&mut kit);
        kit
    }

    fn set(kit: &mut Kit) {
        let key = kit.keyspace.key(b"a");
        kit.keyspace
            .set_string(0, key, NewString::Bytes(b"value"), NewExpiry::Clear);
    }

    #[test]
    fn followers_get_absolute_times() {
        let mut kit = kit();
        assert_eq!(kit.now_ms, 1_700_000_000_000);
        for line in [
            "EXPIRE a 10",
            "PEXPIRE a 10000 XX",
            "EXPIREAT a 1700000010",
            "PEXPIREAT a 1700000010000",
        ] {
            kit.expect(line, ":1|");
            kit.logged("*3|$9|PEXPIREAT|$1|a|$13|1700000010000|");
            kit.events("expire a");
        }
        kit.expect("PERSIST a", ":1|");
        kit.logged("*2|$7|PERSIST|$1|a|");
        kit.events("persist a");
        kit.expect("PERSIST a", ":0|");
        kit.expect("EXPIRE a 10 XX", ":0|");
        kit.logged("");
        kit.events("");
    }

    #[test]
    fn a_passed_moment_deletes_and_logs_that() {
        let mut kit = kit();
        kit.expect("EXPIRE a -1", ":1|");
        kit.logged("*2|$3|DEL|$1|a|");
        kit.events("del a");
        kit.expect("TTL a", ":-2|");
        kit.config.lazyfree_lazy_expire = true;
        set(&mut kit);
        kit.expect("PEXPIREAT a 1700000000000", ":1|");
        kit.logged("*2|$6|UNLINK|$1|a|");
        kit.expect("TTL a", ":-2|");
    }

    #[test]
    fn a_follower_keeps_a_key_whose_moment_has_passed() {
        let mut kit = kit();
        kit.keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
        kit.expect("PEXPIREAT a 1000", ":1|");
        assert_eq!(kit.keyspace.len(0), 1);
        kit.keyspace.set_expiry_policy(ExpiryPolicy::Hide);
        kit.expect("TTL a", ":-2|");
        assert_eq!(kit.keyspace.len(0), 1);
    }

    #[test]
    fn a_key_lives_through_its_last_millisecond() {
        let mut kit = kit();
        kit.expect("PEXPIRE a 1500", ":1|");
        kit.expect("TTL a", ":2|");
        kit.advance_ms(1001);
        kit.expect("TTL a", ":0|");
        kit.expect("PTTL a", ":499|");
        kit.advance_ms(499);
        kit.expect("PTTL a", ":0|");
        kit.advance_ms(1);
        kit.expect("PTTL a", ":-2|");
    }

    #[test]
    fn asking_for_the_end_is_no_access() {
        let mut kit = kit();
        kit.advance_ms(3000);
        for line in ["TTL a", "PTTL a", "EXPIRETIME a", "PEXPIRETIME a"] {
            kit.expect(line, ":-1|");
        }
        let key = kit.keyspace.key(b"a");
        let entry = kit.keyspace.inspect(0, key).unwrap();
        assert_eq!(kit.keyspace.idle_seconds(entry), 3);
    }
}
