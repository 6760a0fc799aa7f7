//! DUMP and RESTORE: one value as bytes, in Redis's own format.
//!
//! What is dumped here, Redis 7.0 and later restores, and what any Redis since 2.6 dumped is restored here; see `rdb`.

use super::string::missed;
use super::{
    Command, Cx, Done, Fault, Group, KeySpec, Run, Spread, category, class, flag, key_flag,
};
use crate::base::number::{parse_i64, push_i64};
use crate::keyspace::{ExpiryPolicy, Usage};
use crate::rdb::{self, Limits, RestoreError};
use crate::resp::Line;

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        categories: category::KEYSPACE,
        keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) where N is the number of bytes of the value",
        summary: "Returns a serialized representation of the value stored at a key.",
        syntax: "key",
        tips: &["nondeterministic_output"],
        ..Command::new("dump", 2, flag::READONLY, Run::Keys(dump, Spread::One))
    },
    Command {
        group: Group::Generic,
        since: "2.6.0",
        summary: "Creates a key from the serialized representation of a value.",
        ..restore_row("restore", flag::WRITE | flag::DENYOOM)
    },
    Command {
        group: Group::Server,
        since: "3.0.0",
        summary: "An internal command for migrating keys in a cluster.",
        ..restore_row("restore-asking", flag::WRITE | flag::DENYOOM | flag::ASKING)
    },
];

const RESTORED_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)];

/// What RESTORE and RESTORE-ASKING have in common.
const fn restore_row(name: &'static str, flags: u32) -> Command {
    Command {
        categories: category::KEYSPACE | category::DANGEROUS,
        keys: RESTORED_KEY,
        complexity: "O(N) where N is the number of bytes of the value; O(N*log(N)) for the members of a sorted set",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        ..Command::new(name, -4, flags, Run::Keys(restore, Spread::One))
    }
}

fn dump(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read(cx.db, key) {
        Some(entry) => cx.reply.bulk(&rdb::dump(entry, cx.config.rdbcompression)),
        None => {
            missed(cx, key);
            cx.reply.null();
        }
    }
    Ok(())
}

/// RESTORE's options.
#[derive(Default)]
struct Options {
    replace: bool,
    /// The time is one, instead of a duration from now.
    absolute: bool,
    usage: Usage,
}

impl Options {
    fn parse(line: &Line<'_>) -> Result<Options, Fault> {
        let mut options = Options::default();
        let mut at = 4;
        while at < line.len() {
            let has_value = at + 1 < line.len();
            if line.is(at, "replace") {
                options.replace = true;
            } else if line.is(at, "absttl") {
                options.absolute = true;
            } else if line.is(at, "idletime")
                && has_value
                && !matches!(options.usage, Usage::Frequency(_))
            {
                at += 1;
                let seconds = parse_i64(line.arg(at)).ok_or(Fault::NotInteger)?;
                let seconds = u64::try_from(seconds)
                    .map_err(|_| Fault::text("ERR Invalid IDLETIME value, must be >= 0"))?;
                options.usage = Usage::Idle(seconds);
            } else if line.is(at, "freq") && has_value && !matches!(options.usage, Usage::Idle(_)) {
                at += 1;
                let counter = parse_i64(line.arg(at)).ok_or(Fault::NotInteger)?;
                let counter = u8::try_from(counter)
                    .map_err(|_| Fault::text("ERR Invalid FREQ value, must be >= 0 and <= 255"))?;
                options.usage = Usage::Frequency(counter);
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn restore(cx: &mut Cx<'_>) -> Done {
    let options = Options::parse(&cx.line)?;
    let key = cx.key(1);
    if !options.replace && cx.keyspace.contains(cx.db, key) {
        return Err(Fault::text("BUSYKEY Target key name already exists."));
    }
    let ttl = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    if ttl < 0 {
        return Err(Fault::text("ERR Invalid TTL value, must be >= 0"));
    }
    let limits = Limits::new(cx.config, cx.keyspace.hasher());
    let mut entry = rdb::restore(key.bytes, cx.line.arg(3), &limits).map_err(|error| {
        Fault::text(match error {
            RestoreError::Footer => "ERR DUMP payload version or checksum are wrong",
            RestoreError::Value(_) => "ERR Bad data format",
        })
    })?;
    let expiry = match ttl {
        0 => None,
        at_ms if options.absolute => Some(at_ms),
        ttl_ms => Some(ttl_ms.saturating_add(cx.now_ms)),
    };
    // A follower deletes nothing by itself: it keeps a key whose time has passed until its leader's DEL comes.
    let is_past = expiry.is_some_and(|at_ms| at_ms <= cx.now_ms)
        && cx.keyspace.expiry_policy() == ExpiryPolicy::Delete;
    if is_past {
        if cx.keyspace.remove(cx.db, key) {
            let logged: &[u8] = if cx.config.lazyfree_lazy_server_del {
                b"UNLINK"
            } else {
                b"DEL"
            };
            cx.log(&[logged, key.bytes]);
            cx.wrote(key.bytes, "del", class::GENERIC);
        }
        cx.reply.ok();
        return Ok(());
    }
    entry.set_expiry(expiry);
    entry.set_access(cx.keyspace.restored_access(options.usage));
    cx.keyspace.put(cx.db, entry);
    if let Some(at_ms) = expiry
        && !options.absolute
    {
        log_absolute(cx, at_ms);
    }
    cx.notify(cx.db, key.bytes, "new", class::NEW);
    cx.wrote(key.bytes, "restore", class::GENERIC);
    cx.reply.ok();
    Ok(())
}

/// Logs the line with the time at which the key expires instead of how long it lives.
fn log_absolute(cx: &mut Cx<'_>, at_ms: i64) {
    let mut digits = Vec::new();
    push_i64(&mut digits, at_ms);
    let line = cx.line;
    let mut args: Vec<&[u8]> = line.args().collect();
    args[2] = &digits;
    args.push(b"ABSTTL");
    cx.log(&args);
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{Kit, escape};
    use super::super::{object, string};
    use super::*;
    use crate::keyspace::AccessPolicy;

    const VALUE: &[u8] = b"\x00\x05value\n\x00\x81\xf6\xc18\xc1\xaa\x9bn";

    fn kit() -> Kit {
        Kit::new(&[TABLE, string::TABLE, object::TABLE])
    }

    #[track_caller]
    fn restore(kit: &mut Kit, ttl: &str, options: &str, reply: &str) {
        let mut args: Vec<&[u8]> = vec![b"RESTORE", b"a", ttl.as_bytes(), VALUE];
        args.extend(options.split_whitespace().map(str::as_bytes));
        assert_eq!(escape(&kit.run(&args)), reply, "{ttl} {options}");
    }

    #[test]
    fn a_duration_is_logged_as_a_time() {
        let mut kit = kit();
        restore(&mut kit, "100", "", "+OK|");
        kit.events("new a,restore a");
        let log = escape(&kit.effects.log);
        assert!(
            log.starts_with("*5|$7|RESTORE|$1|a|$13|1700000000100|$"),
            "{log}"
        );
        assert!(log.ends_with("|$6|ABSTTL|"), "{log}");
        let key = kit.keyspace.key(b"a");
        assert_eq!(kit.keyspace.expiry(0, key), Some(Some(1_700_000_000_100)));
        restore(&mut kit, "9223372036854775807", "REPLACE", "+OK|");
        assert_eq!(kit.keyspace.expiry(0, key), Some(Some(i64::MAX)));
        restore(&mut kit, "1700000000200", "REPLACE ABSTTL", "+OK|");
        let log = escape(&kit.effects.log);
        assert!(
            log.starts_with("*6|$7|RESTORE|$1|a|$13|1700000000200|$"),
            "{log}"
        );
    }

    #[test]
    fn a_time_that_has_passed_only_removes_the_old_value() {
        let mut kit = kit();
        restore(&mut kit, "5", "ABSTTL", "+OK|");
        kit.logged("");
        kit.events("");
        kit.expect("SET a 1", "+OK|");
        restore(&mut kit, "5", "ABSTTL REPLACE", "+OK|");
        kit.logged("*2|$3|DEL|$1|a|");
        kit.events("del a");
        kit.expect("GET a", "$-1|");
        kit.keyspace.set_expiry_policy(ExpiryPolicy::Hide);
        restore(&mut kit, "5", "ABSTTL REPLACE", "+OK|");
        assert_eq!(kit.keyspace.len(0), 1);
    }

    #[test]
    fn the_access_clock_is_restored() {
        let mut kit = kit();
        restore(&mut kit, "0", "IDLETIME 100", "+OK|");
        kit.expect("OBJECT IDLETIME a", ":100|");
        kit.keyspace.set_access_policy(AccessPolicy::Lfu {
            log_factor: 10,
            decay_minutes: 0,
        });
        restore(&mut kit, "0", "FREQ 99 REPLACE", "+OK|");
        kit.expect("OBJECT FREQ a", ":99|");
    }

    #[test]
    fn a_read_that_misses_is_told() {
        let mut kit = kit();
        kit.expect("DUMP a", "$-1|");
        kit.events("keymiss a");
    }
}
