//! Commands on keys of any type: remove, count, rename, copy and move them.
//!
//! None of them looks into a value: an entry moves as a whole, with its expiry and access clock. RENAME and COPY
//! gather their keys, so the handlers find both in one keyspace whatever shards own them; a key keeps
//! its shard in every database, so MOVE never leaves it.

use super::string::missed;
use super::{
    Command, Cx, Done, Fault, Group, KeySpec, Merge, Run, Spread, category, class, flag, key_flag,
};
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::resp::Line;

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        categories: category::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, key_flag::RM | key_flag::DELETE)],
        group: Group::Generic,
        complexity: "O(N) where N is the number of keys",
        summary: "Deletes one or more keys.",
        syntax: "key [key ...]",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        ..Command::new(
            "del",
            -2,
            flag::WRITE,
            Run::Keys(del, Spread::Split(Merge::Sum)),
        )
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, key_flag::RM | key_flag::DELETE)],
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(1) for each key; large values are freed later, a little at a time",
        summary: "Deletes one or more keys and frees their memory later.",
        syntax: "key [key ...]",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        ..Command::new(
            "unlink",
            -2,
            flag::WRITE | flag::FAST,
            Run::Keys(del, Spread::Split(Merge::Sum)),
        )
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, key_flag::RO)],
        group: Group::Generic,
        complexity: "O(N) where N is the number of keys",
        summary: "Determines whether one or more keys exist.",
        syntax: "key [key ...]",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        ..Command::new(
            "exists",
            -2,
            flag::READONLY | flag::FAST,
            Run::Keys(exists, Spread::Split(Merge::Sum)),
        )
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, key_flag::RO)],
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys",
        summary: "Updates the last access time of one or more keys and counts those that exist.",
        syntax: "key [key ...]",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        ..Command::new(
            "touch",
            -2,
            flag::READONLY | flag::FAST,
            Run::Keys(touch, Spread::Split(Merge::Sum)),
        )
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[KeySpec::one(1, key_flag::RO)],
        group: Group::Generic,
        summary: "Determines the type of value stored at a key.",
        syntax: "key",
        ..Command::new(
            "type",
            2,
            flag::READONLY | flag::FAST,
            Run::Keys(type_, Spread::One),
        )
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[
            KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
            KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
        ],
        group: Group::Generic,
        summary: "Renames a key and overwrites the destination.",
        syntax: "key newkey",
        ..Command::new("rename", 3, flag::WRITE, Run::Keys(rename, Spread::Gather))
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[
            KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
            KeySpec::one(2, key_flag::OW | key_flag::INSERT),
        ],
        group: Group::Generic,
        summary: "Renames a key only when the target key name doesn't exist.",
        syntax: "key newkey",
        ..Command::new(
            "renamenx",
            3,
            flag::WRITE | flag::FAST,
            Run::Keys(renamenx, Spread::Gather),
        )
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[
            KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
            KeySpec {
                db: Some(copy_destination),
                ..KeySpec::one(2, key_flag::OW | key_flag::UPDATE)
            },
        ],
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
        summary: "Copies the value of a key to a new key.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        ..Command::new(
            "copy",
            -3,
            flag::WRITE | flag::DENYOOM,
            Run::Keys(copy, Spread::Gather),
        )
    },
    Command {
        categories: category::KEYSPACE,
        keys: &[KeySpec::one(
            1,
            key_flag::RW | key_flag::ACCESS | key_flag::UPDATE,
        )],
        group: Group::Generic,
        summary: "Moves a key to another database.",
        syntax: "key db",
        other_db: Some(move_destination),
        ..Command::new(
            "move",
            3,
            flag::WRITE | flag::FAST,
            Run::Keys(move_, Spread::One),
        )
    },
];

/// DEL and UNLINK: the keyspace frees large values in slices for both.
fn del(cx: &mut Cx<'_>) -> Done {
    let mut removed = 0;
    for index in 1..cx.line.len() {
        let key = cx.key(index);
        if cx.keyspace.remove(cx.db, key) {
            cx.wrote(key.bytes, "del", class::GENERIC);
            removed += 1;
        }
    }
    cx.reply.int(removed);
    Ok(())
}

fn exists(cx: &mut Cx<'_>) -> Done {
    let mut found = 0;
    for index in 1..cx.line.len() {
        let key = cx.key(index);
        if cx.keyspace.read_untouched(cx.db, key).is_some() {
            found += 1;
        } else {
            missed(cx, key);
        }
    }
    cx.reply.int(found);
    Ok(())
}

fn touch(cx: &mut Cx<'_>) -> Done {
    let mut found = 0;
    for index in 1..cx.line.len() {
        let key = cx.key(index);
        if cx.keyspace.touch(cx.db, key) {
            found += 1;
        } else {
            missed(cx, key);
        }
    }
    cx.reply.int(found);
    Ok(())
}

fn type_(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let name = match cx.keyspace.read_untouched(cx.db, key) {
        Some(entry) => entry.type_().name(),
        None => {
            missed(cx, key);
            "none"
        }
    };
    cx.reply.simple(name);
    Ok(())
}

fn rename(cx: &mut Cx<'_>) -> Done {
    rename_key(cx, false)?;
    cx.reply.ok();
    Ok(())
}

fn renamenx(cx: &mut Cx<'_>) -> Done {
    let renamed = rename_key(cx, true)?;
    cx.reply.int(i64::from(renamed));
    Ok(())
}

/// Gives the entry of the first key the second key's name. False when nothing changed: both are the same key, or
/// `only_new` and the destination exists.
fn rename_key(cx: &mut Cx<'_>, only_new: bool) -> Result<bool, Fault> {
    let (source, destination) = (cx.key(1), cx.key(2));
    if !cx.keyspace.contains(cx.db, source) {
        return Err(Fault::NoSuchKey);
    }
    if source.bytes == destination.bytes {
        return Ok(false);
    }
    if only_new && cx.keyspace.contains(cx.db, destination) {
        return Ok(false);
    }
    if let Some(entry) = cx.keyspace.take(cx.db, source) {
        cx.keyspace.put(cx.db, entry.renamed(destination.bytes));
    }
    cx.notify(cx.db, destination.bytes, "new", class::NEW);
    cx.wrote(source.bytes, "rename_from", class::GENERIC);
    cx.notify(cx.db, destination.bytes, "rename_to", class::GENERIC);
    Ok(true)
}

/// COPY's options.
struct CopyOptions<'a> {
    /// The last `DB` given, unparsed.
    db: Option<&'a [u8]>,
    replace: bool,
}

impl<'a> CopyOptions<'a> {
    fn parse(line: &Line<'a>) -> Result<CopyOptions<'a>, Fault> {
        let mut options = CopyOptions {
            db: None,
            replace: false,
        };
        let mut at = 3;
        while at < line.len() {
            if line.is(at, "replace") {
                options.replace = true;
            } else if line.is(at, "db") && at + 1 < line.len() {
                at += 1;
                options.db = Some(line.arg(at));
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

/// The database of COPY's destination, where the line names one. Whether there is such a database the handler says.
fn copy_destination(line: &Line<'_>) -> Option<usize> {
    let db = CopyOptions::parse(line).ok()?.db?;
    usize::try_from(parse_i64(db)?).ok()
}

fn copy(cx: &mut Cx<'_>) -> Done {
    let options = CopyOptions::parse(&cx.line)?;
    let to_db = match options.db {
        Some(text) => parse_database(text, cx.config)?,
        None => cx.db,
    };
    let (source, destination) = (cx.key(1), cx.key(2));
    if to_db == cx.db && source.bytes == destination.bytes {
        return Err(same_object());
    }
    let Some(entry) = cx.keyspace.read(cx.db, source) else {
        missed(cx, source);
        cx.reply.int(0);
        return Ok(());
    };
    let copied = entry.with_key(destination.bytes);
    if !options.replace && cx.keyspace.contains(to_db, destination) {
        cx.reply.int(0);
        return Ok(());
    }
    cx.keyspace.put(to_db, copied);
    cx.notify(to_db, destination.bytes, "new", class::NEW);
    cx.wrote_in(to_db, destination.bytes, "copy_to", class::GENERIC);
    cx.reply.int(1);
    Ok(())
}

/// The database that MOVE moves to: its line must not run while a transaction holds the key there.
fn move_destination(line: &Line<'_>) -> Option<usize> {
    let db = line.args().nth(2)?;
    usize::try_from(parse_i64(db)?).ok()
}

fn move_(cx: &mut Cx<'_>) -> Done {
    let to_db = parse_database(cx.line.arg(2), cx.config)?;
    if to_db == cx.db {
        return Err(same_object());
    }
    let key = cx.key(1);
    if cx.keyspace.contains(to_db, key) {
        cx.reply.int(0);
        return Ok(());
    }
    let Some(entry) = cx.keyspace.take(cx.db, key) else {
        cx.reply.int(0);
        return Ok(());
    };
    cx.keyspace.put(to_db, entry);
    cx.notify(to_db, key.bytes, "new", class::NEW);
    cx.wrote(key.bytes, "move_from", class::GENERIC);
    cx.notify(to_db, key.bytes, "move_to", class::GENERIC);
    cx.reply.int(1);
    Ok(())
}

fn same_object() -> Fault {
    Fault::text("ERR source and destination objects are the same")
}

/// A database's number among the arguments of a command that moves data to it.
pub(super) fn parse_database(text: &[u8], config: &Config) -> Result<usize, Fault> {
    let index = parse_i64(text).ok_or(Fault::NotInteger)?;
    if i32::try_from(index).is_err() {
        return Err(Fault::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    check_database(index, config)
}

/// The number of an existing database.
pub(super) fn check_database(index: i64, config: &Config) -> Result<usize, Fault> {
    usize::try_from(index)
        .ok()
        .filter(|&index| index < config.databases as usize)
        .ok_or(Fault::text("ERR DB index is out of range"))
}

#[cfg(test)]
mod tests {
    use super::super::testkit::Kit;
    use super::*;
    use crate::keyspace::{ExpiryPolicy, Key, NewExpiry, NewString};
    use crate::resp::Span;

    fn set(kit: &mut Kit, db: usize, name: &str, value: &[u8], expiry: NewExpiry) {
        let bytes = name.as_bytes();
        let hash = kit.keyspace.hasher().hash(bytes);
        let key = Key { bytes, hash };
        kit.keyspace
            .set_string(db, key, NewString::Bytes(value), expiry);
    }

    fn kit(names: &[&str]) -> Kit {
        let mut kit = Kit::new(&[TABLE]);
        for name in names {
            set(&mut kit, 0, name, b"value", NewExpiry::Clear);
        }
        kit
    }

    #[test]
    fn del_counts_logs_and_tells_what_was_there() {
        let mut kit = kit(&["a", "b"]);
        kit.expect("DEL a missing a b", ":2|");
        kit.events("del a,del b");
        kit.logged("*5|$3|DEL|$1|a|$7|missing|$1|a|$1|b|");
        kit.expect("UNLINK a", ":0|");
        kit.events("");
        kit.logged("");
    }

    #[test]
    fn a_large_value_is_freed_later() {
        for line in ["DEL a", "UNLINK a"] {
            let mut kit = kit(&[]);
            set(&mut kit, 0, "a", &vec![b'x'; 8 << 20], NewExpiry::Clear);
            kit.expect(line, ":1|");
            assert!(kit.keyspace.has_garbage(), "{line}");
            while kit.keyspace.free_slice(100) {}
        }
    }

    #[test]
    fn an_expired_key_is_none() {
        let mut kit = kit(&[]);
        let end_ms = kit.now_ms + 10;
        set(&mut kit, 0, "a", b"1", NewExpiry::At(end_ms));
        kit.advance_ms(11);
        for line in ["DEL a", "UNLINK a", "MOVE a 1"] {
            kit.expect(line, ":0|");
            kit.events("");
        }
        for line in ["EXISTS a", "TOUCH a", "COPY a b"] {
            kit.expect(line, ":0|");
            kit.events("keymiss a");
        }
        kit.expect("TYPE a", "+none|");
        kit.expect("RENAME a b", "-ERR no such key|");
    }

    #[test]
    fn touch_renews_the_access_clock_and_exists_does_not() {
        let mut kit = kit(&["a"]);
        let idle = |kit: &Kit| {
            let key = kit.keyspace.key(b"a");
            kit.keyspace
                .idle_seconds(kit.keyspace.inspect(0, key).unwrap())
        };
        kit.advance_ms(5000);
        kit.expect("EXISTS a a b", ":2|");
        kit.expect("TYPE a", "+string|");
        assert_eq!(idle(&kit), 5);
        kit.keyspace.set_touch(false);
        kit.expect("TOUCH a b", ":1|");
        assert_eq!(idle(&kit), 0);
        assert_eq!(
            (kit.keyspace.stats().hits, kit.keyspace.stats().misses),
            (4, 2)
        );
    }

    #[test]
    fn rename_keeps_value_expiry_and_tells_both_keys() {
        let mut kit = kit(&["b"]);
        set(&mut kit, 0, "a", b"new", NewExpiry::At(i64::MAX));
        kit.expect("RENAMENX a b", ":0|");
        kit.events("");
        kit.expect("RENAME a a", "+OK|");
        kit.logged("");
        kit.expect("RENAME a b", "+OK|");
        kit.events("new b,rename_from a,rename_to b");
        kit.logged("*3|$6|RENAME|$1|a|$1|b|");
        assert_eq!(kit.effects.dirty, 1);
        let key = kit.keyspace.key(b"b");
        assert_eq!(kit.keyspace.expiry(0, key), Some(Some(i64::MAX)));
        assert_eq!(kit.keyspace.len(0), 1);
    }

    #[test]
    fn copy_and_move_reach_other_databases() {
        let mut kit = kit(&["a"]);
        kit.expect("COPY a b DB 3", ":1|");
        kit.logged("*5|$4|COPY|$1|a|$1|b|$2|DB|$1|3|");
        assert!(kit.effects.writes.iter().all(|write| write.db == 3));
        kit.events("new b,copy_to b");
        kit.expect("MOVE a 3", ":1|");
        kit.events("new a,move_from a,move_to a");
        let databases: Vec<usize> = kit.effects.writes.iter().map(|write| write.db).collect();
        assert_eq!(databases, [3, 0, 3]);
        assert_eq!((kit.keyspace.len(0), kit.keyspace.len(3)), (0, 2));
    }

    #[test]
    fn a_copy_under_a_used_name_replaces_only_when_asked() {
        let mut kit = kit(&["a", "b"]);
        kit.expect("COPY a b", ":0|");
        kit.logged("");
        kit.expect("COPY a b REPLACE", ":1|");
        kit.logged("*4|$4|COPY|$1|a|$1|b|$7|REPLACE|");
    }

    #[test]
    fn the_leaders_lines_work_on_expired_keys_too() {
        let mut kit = kit(&[]);
        let end_ms = kit.now_ms + 10;
        set(&mut kit, 0, "a", b"1", NewExpiry::At(end_ms));
        kit.advance_ms(100);
        kit.keyspace.set_expiry_policy(ExpiryPolicy::Ignore);
        kit.expect("RENAME a b", "+OK|");
        kit.expect("DEL b", ":1|");
    }

    #[test]
    fn the_destination_of_a_copy_is_in_the_database_that_it_names() {
        let db_of = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let bytes = args.concat();
            let mut at = 0;
            let mut spans = Vec::new();
            for arg in args {
                spans.push(Span::inline(at, arg.len()));
                at += arg.len();
            }
            copy_destination(&Line::new(bytes.as_bytes(), &spans, &[]))
        };
        assert_eq!(db_of("COPY a b"), None);
        assert_eq!(db_of("COPY a b DB 3"), Some(3));
        assert_eq!(db_of("COPY a b REPLACE db 3 DB 4"), Some(4));
        for malformed in [
            "COPY a b DB",
            "COPY a b DB x",
            "COPY a b DB -1",
            "COPY a b DB 3 x",
            "COPY a",
        ] {
            assert_eq!(db_of(malformed), None);
        }
    }
}
