//! DEBUG's subcommands that look at keys, as rows for DEBUG's table.
//!
//! DIGEST and DIGEST-VALUE are those of Redis, so that data here and there can be compared by 40 hex digits. A data
//! set's digest mixes in each database's number in order and then adds every key of it by exclusive or:
//! the order of keys doesn't matter, so each core adds up its own.
//!
//! Invariant: a key whose time has passed is in no digest, whether it is still in memory or not.

use super::digest::{Digest, add, mix, mix_value};
use super::object::reference_count;
use super::{
    ClientCx, Command, Cx, Done, Fault, Flow, Group, KeySpec, Merge, Run, Spread, Where, class,
    flag, key_flag,
};
use crate::base::glob;
use crate::base::number::{parse_i64, push_u64};
use crate::keyspace::{Entry, Key, Keyspace, NewExpiry, NewString, shard_of};
use crate::resp::Line;

/// `DEBUG OBJECT`.
pub const OBJECT: Command = Command {
    keys: &[KeySpec::one(2, key_flag::RO)],
    summary: "Shows low level information about a key and its value.",
    syntax: "key",
    ..row("debug|object", Run::Keys(object, Spread::One))
};

/// `DEBUG DIGEST`.
pub const DIGEST: Command = Command {
    complexity: "O(N) where N is the number of keys",
    summary: "Returns a signature of all data.",
    ..row("debug|digest", Run::Client(digest))
};

/// `DEBUG DIGEST-VALUE`.
pub const DIGEST_VALUE: Command = Command {
    keys: &[KeySpec::range(2, -1, 1, key_flag::RO)],
    complexity: "O(N) where N is the number of keys",
    summary: "Returns signatures of the values of keys.",
    syntax: "[key [key ...]]",
    ..row(
        "debug|digest-value",
        Run::Keys(digest_value, Spread::Gather),
    )
};

/// `DEBUG POPULATE`.
pub const POPULATE: Command = Command {
    flags: FLAGS | flag::WRITE | flag::DENYOOM,
    complexity: "O(N) where N is the number of keys",
    summary: "Creates string keys with numbered names; followers get none of them.",
    syntax: "count [prefix [size]]",
    ..row(
        "debug|populate",
        Run::Keys(populate, Spread::All(Merge::Same)),
    )
};

/// `DEBUG HTSTATS`.
pub const HTSTATS: Command = Command {
    summary: "Returns statistics of the tables of a database.",
    syntax: "dbid",
    ..row("debug|htstats", Run::Client(htstats))
};

/// `DEBUG HTSTATS-KEY`.
pub const HTSTATS_KEY: Command = Command {
    keys: &[KeySpec::one(2, key_flag::RO)],
    summary: "Returns statistics of the hash table that a key holds.",
    syntax: "key",
    ..row("debug|htstats-key", Run::Keys(htstats_key, Spread::One))
};

/// `DEBUG STRINGMATCH-LEN`.
pub const STRINGMATCH_LEN: Command = Command {
    summary: "Returns whether a string matches a pattern.",
    syntax: "pattern string",
    ..row("debug|stringmatch-len", Run::Client(stringmatch_len))
};

const FLAGS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::PROTECTED;

/// What the rows have in common. The handlers check the number of arguments themselves: DEBUG has its own text for it.
const fn row(name: &'static str, run: Run) -> Command {
    Command {
        group: Group::Server,
        ..Command::new(name, -2, FLAGS, run)
    }
}

/// The line has between `from` and `to` arguments, the names included.
fn check_length(line: &Line<'_>, from: usize, to: usize) -> Done {
    if (from..=to).contains(&line.len()) {
        return Ok(());
    }
    Err(Fault::subcommand("DEBUG", line.arg(1)))
}

fn object(cx: &mut Cx<'_>) -> Done {
    check_length(&cx.line, 3, 3)?;
    let key = cx.key(2);
    let entry = cx.keyspace.inspect(cx.db, key).ok_or(Fault::NoSuchKey)?;
    let text = format!(
        "Value at:{:p} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        entry,
        reference_count(entry),
        entry.encoding(),
        serialized_bytes(entry),
        entry.access(),
        cx.keyspace.idle_seconds(entry),
    );
    cx.reply.simple(&text);
    Ok(())
}

/// Bytes of the value in an RDB file that compresses nothing.
fn serialized_bytes(entry: &Entry) -> usize {
    let Ok(view) = entry.string() else { return 0 };
    let mut digits = itoa::Buffer::new();
    let text = view.with_bytes(&mut digits);
    if text.len() <= 11
        && let Some(integer) = parse_i64(text)
    {
        match integer {
            -0x80..=0x7f => return 2,
            -0x8000..=0x7fff => return 3,
            -0x8000_0000..=0x7fff_ffff => return 5,
            _ => {}
        }
    }
    let length_bytes = match text.len() {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0xffff_ffff => 5,
        _ => 9,
    };
    length_bytes + text.len()
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One core's share of one database's digest.
#[derive(Clone, Copy, Default)]
struct Share {
    keys: u64,
    digest: Digest,
}

fn digest(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_length(&cx.line, 2, 2)?;
    Ok(Flow::visit(
        Where::All,
        |core| shares(core.keyspace),
        |parts: Vec<Vec<Share>>, cx| {
            cx.reply.simple(&hex(&whole_digest(&parts)));
            Ok(Flow::Done)
        },
    ))
}

/// A core's share of each database.
fn shares(keyspace: &Keyspace) -> Vec<Share> {
    let share = |db| {
        let mut share = Share::default();
        keyspace.for_each(db, |entry| {
            let mut of_key = Digest::default();
            mix(&mut of_key, entry.key());
            mix_value(&mut of_key, entry);
            add(&mut share.digest, &of_key);
            share.keys += 1;
        });
        share
    };
    (0..keyspace.databases()).map(share).collect()
}

/// The digest of all data from the cores' shares.
fn whole_digest(parts: &[Vec<Share>]) -> Digest {
    let mut whole = Digest::default();
    let databases = parts.iter().map(Vec::len).max().unwrap_or(0);
    for db in 0..databases {
        let shares = || parts.iter().filter_map(|shares| shares.get(db));
        if shares().all(|share| share.keys == 0) {
            continue;
        }
        mix(&mut whole, &(db as u32).to_be_bytes());
        for share in shares() {
            for (sum, byte) in whole.iter_mut().zip(share.digest) {
                *sum ^= byte;
            }
        }
    }
    whole
}

fn digest_value(cx: &mut Cx<'_>) -> Done {
    cx.reply.array(cx.line.len() - 2);
    for index in 2..cx.line.len() {
        let mut digest = Digest::default();
        let key = cx.key(index);
        if let Some(entry) = cx.keyspace.peek(cx.db, key) {
            mix_value(&mut digest, entry);
        }
        cx.reply.simple(&hex(&digest));
    }
    Ok(())
}

fn populate(cx: &mut Cx<'_>) -> Done {
    check_length(&cx.line, 3, 5)?;
    let number = |at: usize| {
        parse_i64(cx.line.arg(at))
            .and_then(|number| u64::try_from(number).ok())
            .ok_or(Fault::text("ERR value is out of range, must be positive"))
    };
    let count = number(2)?;
    let prefix = if cx.line.len() > 3 {
        cx.line.arg(3)
    } else {
        b"key"
    };
    let size = if cx.line.len() > 4 { number(4)? } else { 0 };
    if size > cx.config.proto_max_bulk_len {
        return Err(Fault::text(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    let mut name = prefix.to_vec();
    name.push(b':');
    let prefix_bytes = name.len();
    let mut value = Vec::new();
    cx.log_nothing();
    for index in 0..count {
        name.truncate(prefix_bytes);
        push_u64(&mut name, index);
        let hasher = cx.keyspace.hasher();
        let key = Key {
            bytes: &name,
            hash: hasher.hash(&name),
        };
        if shard_of(hasher, key.bytes, key.hash, cx.place.count) != cx.place.index
            || cx.keyspace.contains(cx.db, key)
        {
            continue;
        }
        value.clear();
        value.extend_from_slice(b"value:");
        push_u64(&mut value, index);
        if size > 0 {
            value.resize(size as usize, 0);
        }
        cx.keyspace
            .set_string(cx.db, key, NewString::Bytes(&value), NewExpiry::Clear);
        cx.notify(cx.db, &name, "new", class::NEW);
    }
    cx.reply.ok();
    Ok(())
}

fn htstats(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_length(&cx.line, 3, 3)?;
    let index = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    let db = usize::try_from(index)
        .ok()
        .filter(|&db| db < cx.core.config.databases as usize)
        .ok_or(Fault::text("ERR Out of range database"))?;
    Ok(Flow::visit(
        Where::All,
        move |core| TableCounts {
            slots: core.keyspace.slots(db),
            keys: core.keyspace.len(db),
            expires: core.keyspace.expires(db),
        },
        |parts: Vec<TableCounts>, cx| {
            cx.reply
                .verbatim("txt", table_statistics(&parts).as_bytes());
            Ok(Flow::Done)
        },
    ))
}

/// What one shard's table of one database holds.
struct TableCounts {
    slots: usize,
    keys: usize,
    expires: usize,
}

/// The statistics as text: sums under Redis's heads, where a database without keys or expiries has none, then the shards. Expiries
/// have no table of their own, so only their number is told.
fn table_statistics(shards: &[TableCounts]) -> String {
    let sum = |count: fn(&TableCounts) -> usize| shards.iter().map(count).sum::<usize>();
    let mut text = String::from("[Dictionary HT]\nHash table 0 stats (main hash table):\n");
    if sum(|shard| shard.keys) == 0 {
        text.push_str("No stats available for empty dictionaries\n");
    } else {
        let (slots, keys) = (sum(|shard| shard.slots), sum(|shard| shard.keys));
        text.push_str(&format!(
            " table size: {slots}\n number of elements: {keys}\n"
        ));
        for (index, shard) in shards.iter().enumerate() {
            let load = 100.0 * shard.keys as f64 / shard.slots.max(1) as f64;
            let TableCounts { slots, keys, .. } = shard;
            text.push_str(&format!(
                "   shard {index}: {keys} of {slots} slots ({load:.2}%)\n"
            ));
        }
    }
    text.push_str("[Expires HT]\nHash table 0 stats (main hash table):\n");
    match sum(|shard| shard.expires) {
        0 => text.push_str("No stats available for empty dictionaries\n"),
        expires => text.push_str(&format!(" number of elements: {expires}\n")),
    }
    text
}

fn htstats_key(cx: &mut Cx<'_>) -> Done {
    check_length(&cx.line, 3, 3)?;
    let key = cx.key(2);
    if !cx.keyspace.contains(cx.db, key) {
        return Err(Fault::NoSuchKey);
    }
    Err(Fault::text(
        "ERR The value stored at the specified key is not represented using an hash table",
    ))
}

/// Lets a test suite reach the pattern matcher without a key.
fn stringmatch_len(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_length(&cx.line, 4, 4)?;
    let matched = glob::matches(cx.line.arg(2), cx.line.arg(3), false);
    cx.reply.int(i64::from(matched));
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testkit::Kit;
    use super::*;
    use crate::keyspace::KeyHasher;

    const TABLE: &[Command] = &[Command {
        subcommands: &[OBJECT, DIGEST_VALUE, POPULATE, HTSTATS_KEY],
        ..Command::new("debug", -2, 0, Run::Container)
    }];

    fn keyspace() -> Keyspace {
        Keyspace::new(16, KeyHasher::from_seeds([1, 2, 3, 4]), 1)
    }

    fn set(keyspace: &mut Keyspace, db: usize, name: &[u8], value: &[u8], expiry: NewExpiry) {
        let hash = keyspace.hasher().hash(name);
        let key = Key { bytes: name, hash };
        keyspace.set_string(db, key, NewString::Bytes(value), expiry);
    }

    #[test]
    fn digests_are_those_of_redis() {
        let mut keyspace = keyspace();
        let digest = |keyspace: &Keyspace| hex(&whole_digest(&[shares(keyspace)]));
        assert_eq!(digest(&keyspace), "0".repeat(40));
        set(&mut keyspace, 0, b"a", b"1", NewExpiry::Clear);
        assert_eq!(
            digest(&keyspace),
            "943d800368fb9c0e951138f1bc0e313ac769d91f"
        );
        set(&mut keyspace, 3, b"a", b"hello", NewExpiry::At(1000));
        assert_eq!(
            digest(&keyspace),
            "80ab29aa538a6721d9f3fad500c890db783718f5"
        );
        keyspace.flush(0);
        assert_eq!(
            digest(&keyspace),
            "cfa7949d0a7d1d6ad007e8efe86296b2509d2750"
        );
        keyspace.set_now(1001);
        assert_eq!(digest(&keyspace), "0".repeat(40));
    }

    #[test]
    fn a_digest_does_not_depend_on_the_number_of_shards() {
        let mut whole = keyspace();
        let mut parts = [keyspace(), keyspace(), keyspace()];
        for index in 0..100 {
            let name = format!("key:{index}");
            let db = index % 2;
            set(&mut whole, db, name.as_bytes(), b"value", NewExpiry::Clear);
            set(
                &mut parts[index % 3],
                db,
                name.as_bytes(),
                b"value",
                NewExpiry::Clear,
            );
        }
        let shares_of_parts: Vec<Vec<Share>> = parts.iter().map(shares).collect();
        assert_eq!(
            whole_digest(&shares_of_parts),
            whole_digest(&[shares(&whole)])
        );
    }

    #[test]
    fn digest_value_mixes_in_value_and_expiry() {
        let mut kit = Kit::new(&[TABLE]);
        set(&mut kit.keyspace, 0, b"a", b"1", NewExpiry::Clear);
        set(
            &mut kit.keyspace,
            0,
            b"b",
            b"hello",
            NewExpiry::At(i64::MAX),
        );
        kit.expect("DEBUG DIGEST-VALUE", "*0|");
        kit.expect(
            "DEBUG DIGEST-VALUE a b missing",
            "*3|+b4fc66738120fba0b5aa500ab5c2bf89cea1c5da|+d037c4eb8a8b36b602fbced4000daeab0714c1e3|\
             +0000000000000000000000000000000000000000|",
        );
    }

    #[test]
    fn object_shows_encoding_and_length() {
        let mut kit = Kit::new(&[TABLE]);
        kit.expect("DEBUG OBJECT a", "-ERR no such key|");
        let wrong =
            "-ERR unknown subcommand or wrong number of arguments for 'OBJECT'. Try DEBUG HELP.|";
        kit.expect("DEBUG OBJECT", wrong);
        kit.expect("DEBUG OBJECT a b", wrong);
        for (value, shown) in [
            ("1", "refcount:2147483647 encoding:int serializedlength:2 "),
            ("-129", "refcount:1 encoding:int serializedlength:3 "),
            ("70000", "refcount:1 encoding:int serializedlength:5 "),
            ("2147483648", "refcount:1 encoding:int serializedlength:11 "),
            ("hello", "refcount:1 encoding:embstr serializedlength:6 "),
            (
                &"x".repeat(100),
                "refcount:1 encoding:raw serializedlength:102 ",
            ),
        ] {
            set(
                &mut kit.keyspace,
                0,
                b"a",
                value.as_bytes(),
                NewExpiry::Clear,
            );
            let reply = kit.run(&[b"DEBUG", b"OBJECT", b"a"]);
            let reply = String::from_utf8(reply).unwrap();
            assert!(
                reply.starts_with("+Value at:0x") && reply.contains(shown),
                "{reply}"
            );
            assert!(reply.ends_with(" lru_seconds_idle:0\r\n"), "{reply}");
        }
    }

    #[test]
    fn populate_creates_what_is_missing() {
        let mut kit = Kit::new(&[TABLE]);
        let value = |kit: &mut Kit, name: &[u8]| {
            let key = Key {
                bytes: name,
                hash: kit.keyspace.hasher().hash(name),
            };
            let entry = kit.keyspace.peek(0, key).expect("the key is there");
            entry
                .string()
                .unwrap()
                .with_bytes(&mut itoa::Buffer::new())
                .to_vec()
        };
        set(&mut kit.keyspace, 0, b"key:1", b"old", NewExpiry::Clear);
        kit.expect("DEBUG POPULATE 3", "+OK|");
        kit.logged("");
        kit.events("new key:0,new key:2");
        assert_eq!(value(&mut kit, b"key:0"), b"value:0");
        assert_eq!(value(&mut kit, b"key:1"), b"old");
        kit.expect("DEBUG POPULATE 2 p 10", "+OK|");
        assert_eq!(value(&mut kit, b"p:1"), b"value:1\0\0\0");
        kit.expect("DEBUG POPULATE 3 q 3", "+OK|");
        assert_eq!(value(&mut kit, b"q:2"), b"val");
        assert_eq!(kit.keyspace.len(0), 8);
        for line in [
            "DEBUG POPULATE x",
            "DEBUG POPULATE -3",
            "DEBUG POPULATE 3 p x",
            "DEBUG POPULATE 3 p -1",
        ] {
            kit.expect(line, "-ERR value is out of range, must be positive|");
        }
        let wrong =
            "-ERR unknown subcommand or wrong number of arguments for 'POPULATE'. Try DEBUG HELP.|";
        kit.expect("DEBUG POPULATE", wrong);
        kit.expect("DEBUG POPULATE 3 p 5 6", wrong);
    }

    #[test]
    fn htstats_key_wants_a_hash_table() {
        let mut kit = Kit::new(&[TABLE]);
        kit.expect("DEBUG HTSTATS-KEY a", "-ERR no such key|");
        set(&mut kit.keyspace, 0, b"a", b"1", NewExpiry::Clear);
        kit.expect(
            "DEBUG HTSTATS-KEY a",
            "-ERR The value stored at the specified key is not represented using an hash table|",
        );
    }
}
