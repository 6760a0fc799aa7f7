//! The RDB codec against Redis: files that it writes are read, files of ours it reads, payloads go both ways.

use std::path::Path;
use std::process::Command;

use shardine::config::Config;
use shardine::keyspace::{KeyHasher, OwnedEntry, Usage};
use shardine::rdb::{Encoder, Error, Facts, Item, Limits, Reader, Version, Writer};

use super::harness::Server;
use super::wire::{Value, Wire};
use super::{on_all_shards, peers};
use crate::structures::{Random, rounds};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];

fn limits() -> Limits {
    Limits::new(&Config::default(), &KeyHasher::from_seeds([1, 2, 3, 4]))
}

/// Lines that make a key of each shape that Redis writes: small ones and large ones of each type.
fn data() -> Vec<Vec<String>> {
    let mut lines = vec![];
    let mut line = |text: &str| lines.push(text.split(' ').map(str::to_owned).collect());
    line("SET string:text hello");
    line("SET string:8 -128");
    line("SET string:16 32767");
    line("SET string:32 -2147483648");
    line("SET string:64 9223372036854775807");
    line("SET string:zeros 007");
    line(&format!("SET string:words {}", "abcdefghij".repeat(500)));
    line("SET string:expiring value PXAT 5000000000123");
    line("SETBIT string:bits 100000 1");
    for (name, count) in [("few", 5), ("some", 300), ("many", 3000)] {
        line(&format!("RPUSH list:{name} {}", elements(count).join(" ")));
    }
    for (name, count) in [("few", 5), ("some", 300)] {
        let mut text = format!("ZADD zset:{name}");
        for (index, member) in elements(count).iter().enumerate() {
            let index = index as f64;
            let score = match index as u32 % 3 {
                0 => index,
                1 => -index / 3.0,
                _ => index * 1e300,
            };
            text.push_str(&format!(" {score} {member}"));
        }
        line(&text);
    }
    for (name, count) in [("few", 5), ("some", 300), ("many", 1500)] {
        let mut text = format!("HSET hash:{name}");
        for element in elements(count) {
            text.push_str(&format!(" field:{element} {element}"));
        }
        line(&text);
    }
    for (name, count) in [("few", 5), ("some", 300), ("many", 3000)] {
        line(&format!("SADD set:{name} {}", elements(count).join(" ")));
    }
    line("SADD set:8 -1 5 127");
    line("SADD set:32 -1 70000");
    line("SADD set:64 -9223372036854775808 9223372036854775807");
    line("ZADD zset:infinite inf a -inf b 0 c 1e-300 d");
    let large = "x".repeat(20_000);
    line(&format!("RPUSH list:large a {large} 12 {large} b"));
    for index in 1..400 {
        let record = match index % 3 {
            0 => format!("XADD stream {index}-{index} a {index} b text"),
            1 => format!("XADD stream {index}-1 a 1 b 2 c {}", "z".repeat(index)),
            _ => format!("XADD stream {index}-2 field value"),
        };
        line(&record);
    }
    line("XDEL stream 7-1 200-2 399-399");
    line("XTRIM stream MINID 5");
    line("XGROUP CREATE stream group 0");
    line("XGROUP CREATE stream behind $ ENTRIESREAD 3");
    line("XGROUP CREATECONSUMER stream group idle");
    line("XREADGROUP GROUP group alice COUNT 20 STREAMS stream >");
    line("XREADGROUP GROUP group bob COUNT 5 STREAMS stream >");
    line("XACK stream group 8-2 10-1");
    line("XCLAIM stream group bob 0 9-9");
    line("XGROUP CREATE stream:empty group $ MKSTREAM");
    lines
}

/// Integers of all widths and texts of all lengths.
fn elements(count: i64) -> Vec<String> {
    let element = |index: i64| match index % 4 {
        0 => index.to_string(),
        1 => (index - (1 << (index % 62))).to_string(),
        2 => format!("{index}:{}", "y".repeat(index as usize % 100)),
        _ => format!("text {index}").replace(' ', "_"),
    };
    (0..count).map(element).collect()
}

/// Shows consumer groups, which no digest covers.
pub(super) const GROUPS: &str = "XINFO STREAM stream FULL COUNT 0";

/// Sends all lines; none may fail.
#[track_caller]
pub(super) fn fill(wire: &mut Wire) {
    for line in data() {
        let reply = wire.call(&line);
        assert!(!reply.is_error(), "{line:?}: {reply:?}");
    }
}

/// All keys, sorted.
fn keys(wire: &mut Wire) -> Vec<Vec<u8>> {
    let reply = wire.run("KEYS *").sorted();
    let bytes = |key: &Value| match key {
        Value::Bulk(bytes) => bytes.clone(),
        other => panic!("no key: {other:?}"),
    };
    reply.elements().iter().map(bytes).collect()
}

/// Copies every key of `from` to `to` by DUMP and RESTORE.
#[track_caller]
fn carry_over(from: &mut Wire, to: &mut Wire) {
    for key in keys(from) {
        let Value::Bulk(payload) = from.call(&[&b"DUMP"[..], &key]) else {
            panic!("no payload of {}", key.escape_ascii());
        };
        let expiry = from.call(&[&b"PEXPIRETIME"[..], &key]).int().max(0);
        let expiry = expiry.to_string();
        let reply = to.call(&[
            &b"RESTORE"[..],
            &key,
            expiry.as_bytes(),
            &payload,
            b"ABSTTL",
        ]);
        let ok = Value::Simple("OK".into());
        assert_eq!(reply, ok, "{}", key.escape_ascii());
    }
}

#[test]
fn payloads_of_redis_are_restored_here_and_ours_there() {
    let Some(redis) = Server::redis(DEBUG) else {
        return;
    };
    on_all_shards(DEBUG, |server| {
        let (mut redis, mut ours) = (redis.wire(), server.wire());
        redis.run("FLUSHALL");
        fill(&mut redis);
        let digest = redis.run("DEBUG DIGEST");
        let groups = redis.run(GROUPS);
        carry_over(&mut redis, &mut ours);
        redis.run("FLUSHALL");
        carry_over(&mut ours, &mut redis);
        assert_eq!(redis.run("DEBUG DIGEST"), digest);
        assert_eq!(redis.run(GROUPS), groups);
    });
}

/// Reads a whole file in pieces of `piece` bytes: its keys by database.
fn read(file: &[u8], piece: usize) -> Result<Vec<(usize, OwnedEntry, Usage)>, Error> {
    let mut reader = Reader::new(true, limits());
    let mut keys = vec![];
    for piece in file.chunks(piece) {
        reader.feed(piece);
        while let Some(item) = reader.next_item()? {
            match item {
                Item::Key { db, entry, usage } => keys.push((db, entry, usage)),
                Item::End { checked } => assert!(checked, "the file has a checksum"),
                _ => {}
            }
        }
    }
    reader.finish()?;
    Ok(keys)
}

/// A file of ours with these keys.
fn write(keys: &[(usize, OwnedEntry, Usage)], version: Version, compress: bool) -> Vec<u8> {
    let mut encoder = Encoder::new(version, compress);
    let mut writer = Writer::new(version, true);
    let mut out = vec![];
    let facts = Facts {
        redis_version: "7.2.4",
        created_s: 1_700_000_000,
        used_memory_bytes: 1 << 20,
        ..Facts::default()
    };
    writer.begin(&facts, &mut out);
    let mut selected = None;
    for (db, entry, usage) in keys {
        if selected != Some(*db) {
            selected = Some(*db);
            writer.select(*db, keys.len() as u64, 1, &mut out);
        }
        let from = out.len();
        encoder.entry(entry, *usage, &mut out);
        writer.passed(&out[from..]);
    }
    writer.end(&mut out);
    out
}

/// What `redis-check-rdb` says of a file.
pub(super) fn check(path: &Path) -> Option<String> {
    let program = peers::require("redis-check-rdb")?;
    let output = Command::new(program)
        .arg(path)
        .output()
        .expect("redis-check-rdb runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    Some(text)
}

#[test]
fn files_of_redis_are_read_and_ours_are_loaded_by_redis() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_str().expect("a path in UTF-8");
    let Some(redis) = Server::redis(&["--dir", path, "--enable-debug-command", "yes"]) else {
        return;
    };
    let mut wire = redis.wire();
    fill(&mut wire);
    wire.run("SELECT 7");
    wire.run("SET in:seven 7");
    wire.run("SELECT 0");
    assert_eq!(wire.run("SAVE"), Value::Simple("OK".into()));
    let digest = wire.run("DEBUG DIGEST");
    let groups = wire.run(GROUPS);
    let file_path = dir.path().join("dump.rdb");
    let file = std::fs::read(&file_path).expect("the file that Redis saved");
    let keys = read(&file, file.len()).expect("Redis's file is read");
    assert_eq!(wire.run("DBSIZE"), Value::Int(keys.len() as i64 - 1));
    for piece in [1, 7, 4096] {
        let again = read(&file, piece).expect("Redis's file is read in pieces");
        assert_eq!(again.len(), keys.len());
    }
    for compress in [true, false] {
        std::fs::write(&file_path, write(&keys, Version::V10, compress)).expect("a file");
        if let Some(said) = check(&file_path) {
            assert!(said.contains("RDB looks OK"), "{said}");
        }
        // Redis forgets what it has and loads the file.
        let reply = wire.run("DEBUG RELOAD NOSAVE");
        assert_eq!(reply, Value::Simple("OK".into()));
        assert_eq!(wire.run("DEBUG DIGEST"), digest);
        assert_eq!(wire.run(GROUPS), groups);
    }
}

#[test]
fn a_broken_file_of_redis_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_str().expect("a path in UTF-8");
    let Some(redis) = Server::redis(&["--dir", path]) else {
        return;
    };
    let mut wire = redis.wire();
    fill(&mut wire);
    wire.run("SAVE");
    let file = std::fs::read(dir.path().join("dump.rdb")).expect("the file that Redis saved");
    // Without its checksum every change reaches the decoders.
    let mut file = file;
    let end = file.len() - 8;
    file[end..].fill(0);
    let mut random = Random::from_env();
    for _ in 0..150 * rounds() {
        let at = random.below(end as u64) as usize;
        let change = 1 << random.below(8);
        file[at] ^= change;
        let mut reader = Reader::new(true, limits());
        reader.feed(&file);
        while let Ok(Some(_)) = reader.next_item() {}
        file[at] ^= change;
        let at = random.below(end as u64) as usize;
        assert!(read(&file[..at], 1 << 20).is_err(), "cut at {at}");
    }
}
