//! Saves and loads of the running server: SAVE, BGSAVE, save points, the file at the start, files of Redis.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::harness::{Server, free_port, judging_the_tests, run, wait_until};
use super::rdb::{GROUPS, check, fill};
use super::wire::{Value, Wire};
use super::{SHARDS, on_all_shards};

const DEBUG: &str = "yes";
/// How long a save or a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().to_str().expect("a path in UTF-8").to_owned();
    (folder, path)
}

/// The server under test with its data in `path`, and nothing saved by itself; its data is loaded.
#[track_caller]
fn start(path: &str, shards: usize, more: &[&str]) -> Server {
    let shards = shards.to_string();
    let mut args = vec!["--shards", &shards, "--dir", path, "--save", ""];
    args.extend(["--enable-debug-command", DEBUG]);
    args.extend(more);
    let server = Server::start(&args);
    wait_until("the data is loaded", PATIENCE, || {
        server.info("loading") == "0"
    });
    server
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

#[test]
fn files_go_both_ways_between_redis_and_all_numbers_of_shards() {
    let (folder, path) = folder();
    let file = folder.path().join("dump.rdb");
    let start_redis = || Server::redis(&["--dir", &path, "--enable-debug-command", DEBUG]);
    let (digest, groups) = {
        let Some(redis) = start_redis() else { return };
        let mut wire = redis.wire();
        fill(&mut wire);
        wire.run("SELECT 7");
        wire.run("SET in:seven 7 PX 1000000");
        wire.run("SELECT 0");
        assert_eq!(wire.run("SAVE"), ok());
        (wire.run("DEBUG DIGEST"), wire.run(GROUPS))
    };
    for shards in SHARDS {
        let server = start(&path, shards, &[]);
        let mut wire = server.wire();
        assert_eq!(wire.run("DEBUG DIGEST"), digest, "{shards} shards");
        std::fs::remove_file(&file).expect("the file was there");
        assert_eq!(wire.run("SAVE"), ok());
        drop(server);
        if let Some(said) = check(&file) {
            assert!(said.contains("RDB looks OK"), "{said}");
        }
        let redis = start_redis().expect("it was there before");
        let mut wire = redis.wire();
        wait_until("Redis has loaded the file", PATIENCE, || {
            !wire.run("DBSIZE").is_error()
        });
        assert_eq!(wire.run("DEBUG DIGEST"), digest, "{shards} shards");
        assert_eq!(wire.run(GROUPS), groups);
    }
}

#[test]
fn fields_that_expire_are_kept_and_those_that_have_expired_are_not() {
    for shards in SHARDS {
        let (_folder, path) = folder();
        let server = start(&path, shards, &[]);
        let mut wire = server.wire();
        wire.run("HSET hash a 1 b 2 c 3");
        wire.run("HPEXPIRE hash 1000000 FIELDS 1 a");
        wire.run("DEBUG SET-ACTIVE-EXPIRE 0");
        wire.run("SET gone 1 PX 1");
        wire.run("HPEXPIRE hash 1 FIELDS 1 b");
        let digest = wire.run("DEBUG DIGEST-VALUE hash");
        wait_until("the key has expired", PATIENCE, || {
            wire.run("EXISTS gone") == Value::Int(0)
        });
        assert_eq!(wire.run("SAVE"), ok());
        drop(server);
        let server = start(&path, shards, &[]);
        let mut wire = server.wire();
        assert_eq!(wire.run("HGET hash b"), Value::Null);
        assert!(wire.run("HPTTL hash FIELDS 1 a").elements()[0].int() > 0);
        assert_eq!(wire.run("HLEN hash"), Value::Int(2), "{digest:?}");
        assert_eq!(wire.run("DBSIZE"), Value::Int(1));
    }
}

#[test]
fn a_save_under_writes_is_one_moment() {
    const ACCOUNTS: usize = 50;
    on_all_shards(&["--save", ""], |server| {
        let folder = server.dir();
        let (moving, saves) = (AtomicBool::new(true), 5);
        let mut wire = server.wire();
        for account in 0..ACCOUNTS {
            wire.run(&format!("SET account{account} 1000"));
        }
        // Enough that a save takes its time.
        wire.run("DEBUG POPULATE 20000");
        std::thread::scope(|scope| {
            for mover in 0..3 {
                let (moving, mut wire) = (&moving, server.wire());
                scope.spawn(move || {
                    let mut step = mover;
                    while moving.load(Ordering::Relaxed) {
                        step = (step * 7 + 13) % (ACCOUNTS * ACCOUNTS);
                        let (from, to) = (step % ACCOUNTS, step / ACCOUNTS);
                        wire.run("MULTI");
                        wire.run(&format!("DECRBY account{from} 3"));
                        wire.run(&format!("INCRBY account{to} 3"));
                        wire.run("EXEC");
                    }
                });
            }
            for _ in 0..saves {
                assert_eq!(wire.run("SAVE"), ok());
                assert_eq!(
                    sum_in(&folder.join("dump.rdb"), ACCOUNTS),
                    1000 * ACCOUNTS as i64
                );
            }
            moving.store(false, Ordering::Relaxed);
        });
    });
}

/// What the accounts in a file add up to, as a server that loads it says.
fn sum_in(file: &Path, accounts: usize) -> i64 {
    let (folder, path) = folder();
    std::fs::copy(file, folder.path().join("dump.rdb")).expect("the file");
    let server = start(&path, 2, &[]);
    let names: Vec<String> = (0..accounts).map(|n| format!("account{n}")).collect();
    let reply = server.wire().run(&format!("MGET {}", names.join(" ")));
    let amounts = reply.elements().iter();
    amounts
        .map(|amount| amount.text().parse::<i64>().expect("a number"))
        .sum()
}

#[test]
fn kill_during_a_save_leaves_the_old_file() {
    let (folder, path) = folder();
    let mut server = start(&path, 2, &[]);
    let mut wire = server.wire();
    wire.run("SET old 1");
    assert_eq!(wire.run("SAVE"), ok());
    let old = std::fs::read(folder.path().join("dump.rdb")).expect("the file");
    let text = "x".repeat(100_000);
    wire.run("CONFIG SET rdbcompression no");
    for key in 0..500 {
        wire.run(&format!("SET key{key} {text}"));
    }
    wire.run("BGSAVE");
    server.signal(Signal::KILL);
    server.wait_for_end(PATIENCE);
    let now = std::fs::read(folder.path().join("dump.rdb")).expect("the file");
    // The kill may come late: then the new file is there as a whole.
    if now != old {
        assert!(now.len() > 500 * 100_000);
    }
    let server = start(&path, 1, &[]);
    assert_eq!(server.wire().run("GET old").text(), "1");
}

#[test]
fn save_points_fire_and_a_stop_saves() {
    let (_folder, path) = folder();
    let mut server = start(&path, 2, &["--save", "1 3"]);
    let mut wire = server.wire();
    wire.run("MSET a 1 b 2");
    assert_eq!(server.info("rdb_changes_since_last_save"), "2");
    wire.run("SET c 3");
    wait_until("the save point saves", PATIENCE, || {
        server.info("rdb_saves") == "1" && server.info("rdb_changes_since_last_save") == "0"
    });
    wire.run("SET d 4");
    assert_eq!(server.info("rdb_changes_since_last_save"), "1");
    server.signal(Signal::TERM);
    assert!(server.wait_for_end(PATIENCE).success());
    let mut server = start(&path, 4, &["--save", "3600 1000"]);
    let mut wire = server.wire();
    assert_eq!(wire.run("MGET a b c d").elements().len(), 4);
    assert_eq!(wire.run("GET d").text(), "4");
    wire.run("SET e 5");
    wire.send(b"SHUTDOWN\r\n");
    assert!(server.wait_for_end(PATIENCE).success());
    let mut server = start(&path, 1, &["--save", "3600 1000"]);
    let mut wire = server.wire();
    assert_eq!(wire.run("GET e").text(), "5");
    wire.run("SET e 6");
    wire.send(b"SHUTDOWN NOSAVE\r\n");
    assert!(server.wait_for_end(PATIENCE).success());
    let server = start(&path, 1, &[]);
    assert_eq!(server.wire().run("GET e").text(), "5");
}

#[test]
fn a_failed_save_stops_writes_and_the_end() {
    let (folder, path) = folder();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let mut server = start(&format!("{path}/inner"), 2, &["--save", "3600 1000"]);
    let mut wire = server.wire();
    wire.run("SET a 1");
    std::fs::remove_dir(&inner).expect("the folder is empty");
    assert_eq!(wire.run("SAVE"), Value::Error("ERR".into()));
    assert_eq!(wire.run("SET a 2"), ok());
    assert_eq!(wire.run("BGSAVE").text(), "Background saving started");
    wait_until("the save has failed", PATIENCE, || {
        server.info("rdb_last_bgsave_status") == "err"
    });
    wait_until("writes are refused", PATIENCE, || {
        wire.run("SET a 3").is_error()
    });
    let refusal = wire.run("SET a 3");
    let misconf = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                   Commands that may modify the data set are disabled, because this instance is configured to report \
                   errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the \
                   Redis logs for details about the RDB error.";
    assert_eq!(refusal, Value::Error(misconf.into()));
    assert_eq!(wire.run("GET a").text(), "2");
    wire.run("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(wire.run("SET a 4"), ok());
    let refused = Value::Error("ERR Errors trying to SHUTDOWN. Check logs.".into());
    assert_eq!(wire.run("SHUTDOWN"), refused);
    assert_eq!(wire.run("SET a 5"), ok());
    server.signal(Signal::TERM);
    wait_until("the end is refused", PATIENCE, || {
        server.log().contains("can't exit")
    });
    assert_eq!(wire.run("GET a").text(), "5");
    std::fs::create_dir(&inner).expect("a folder");
    assert_eq!(wire.run("SAVE"), ok());
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
    std::fs::remove_dir_all(&inner).expect("the folder");
    wire.send(b"SHUTDOWN FORCE\r\n");
    assert!(server.wait_for_end(PATIENCE).success());
}

#[test]
fn a_bad_file_is_refused_with_its_place() {
    if judging_the_tests() {
        return;
    }
    let (folder, path) = folder();
    let server = start(&path, 1, &[]);
    server.wire().run("MSET a 1 b 2 c 3");
    assert_eq!(server.wire().run("SAVE"), ok());
    drop(server);
    let file = folder.path().join("dump.rdb");
    let good = std::fs::read(&file).expect("the file");
    let mut wrong = good.clone();
    *wrong.last_mut().expect("a byte") ^= 1;
    for (bytes, why) in [
        (&good[..good.len() - 9], "the data ends"),
        (&wrong[..], "checksum"),
        (&b""[..], "the data ends"),
        (&b"no RDB file"[..], "this is no RDB data"),
    ] {
        std::fs::write(&file, bytes).expect("a file");
        let port = free_port().to_string();
        let outcome = run(&["--port", &port, "--dir", &path]);
        assert_eq!(outcome.status.code(), Some(1), "{}", outcome.output());
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(" at byte "), "{}", outcome.stderr);
    }
}

#[test]
fn clients_wait_for_the_data() {
    let (folder, path) = folder();
    let server = start(&path, 2, &[]);
    let mut wire = server.wire();
    wire.run("DEBUG POPULATE 200000");
    assert_eq!(wire.run("SAVE"), ok());
    drop(server);
    let shards = ["--shards", "2", "--dir", &path, "--save", ""];
    let server = Server::start(&shards);
    let mut wire: Wire = server.wire();
    // Whoever is served sees all of it.
    let mut keys = wire.run("DBSIZE");
    wait_until("the data is loaded", PATIENCE, || {
        if keys.is_error() {
            assert!(keys.text().starts_with("LOADING"), "{keys:?}");
            // It may be there by now.
            let value = wire.run("GET a");
            assert!(value == keys || value == Value::Null, "{value:?}");
            keys = wire.run("DBSIZE");
            return false;
        }
        true
    });
    assert_eq!(keys, Value::Int(200_000));
    drop(folder);
}
