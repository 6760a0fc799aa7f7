//! Redis's own tools and a client library against the server.

use redis::{Commands, ProtocolVersion};

use super::harness::{Server, wait_until};
use super::on_all_shards;
use super::wire::encode;

use std::time::Duration;

/// Runs redis-cli; returns from the test when it is not installed (which `peers` has said).
macro_rules! cli {
    ($server:expr, $($arg:expr),+) => {
        match $server.cli(&[$($arg),+]) {
            Some(output) => output,
            None => return,
        }
    };
}

#[track_caller]
fn contains(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "nothing of {word:?} in:\n{output}");
    }
}

#[test]
fn redis_cli_runs_commands() {
    on_all_shards(&[], |server| {
        assert_eq!(cli!(server, "PING"), "PONG\n");
        assert_eq!(cli!(server, "SET", "a", "two words"), "OK\n");
        assert_eq!(cli!(server, "GET", "a"), "two words\n");
        assert_eq!(cli!(server, "-3", "GET", "a"), "two words\n");
        assert_eq!(cli!(server, "--no-raw", "GET", "missing"), "(nil)\n");
        assert_eq!(
            cli!(server, "-3", "--no-raw", "INCRBYFLOAT", "f", "1.5"),
            "\"1.5\"\n"
        );
        assert_eq!(cli!(server, "-n", "3", "DBSIZE"), "0\n");
        assert_eq!(cli!(server, "-r", "3", "INCR", "n"), "1\n2\n3\n");
        contains(
            &cli!(server, "INFO"),
            &["redis_version:7.", "# Server", "# Clients"],
        );
        contains(&cli!(server, "-3", "HELLO"), &["proto", "redis"]);
        contains(
            &cli!(server, "NOSUCH", "x"),
            &["ERR unknown command 'NOSUCH'"],
        );
        contains(&cli!(server, "COMMAND", "DOCS", "get"), &["summary"]);
    });
}

#[test]
fn redis_cli_fetches_the_data_or_only_functions() {
    on_all_shards(&["--repl-diskless-sync-delay", "0"], |server| {
        let mut wire = server.wire();
        for n in 0..50 {
            wire.run(&format!("SET key{n} {n}"));
        }
        for (option, keys) in [("--rdb", 50), ("--functions-rdb", 0)] {
            let path = server.dir().join("fetched.rdb");
            let file = path.to_str().expect("a path in UTF-8");
            contains(
                &cli!(server, option, file),
                &["Transfer finished with success"],
            );
            let Some(checked) = super::rdb::check(&path) else {
                return;
            };
            contains(&checked, &[&format!("{keys} keys read")]);
        }
    });
}

#[test]
fn redis_cli_pipe_loads_a_stream() {
    on_all_shards(&[], |server| {
        let stream: Vec<u8> = (0..20_000)
            .flat_map(|n| encode(&["SET", &format!("key{n}"), &n.to_string()]))
            .collect();
        let Some(output) = server.cli_with_input(&["--pipe"], &stream) else {
            return;
        };
        contains(&output, &["errors: 0, replies: 20000"]);
        assert_eq!(cli!(server, "DBSIZE"), "20000\n");
        let lines: String = (0..100).map(|n| format!("SET inline{n} {n}\r\n")).collect();
        let Some(output) = server.cli_with_input(&["--pipe"], lines.as_bytes()) else {
            return;
        };
        contains(&output, &["errors: 0, replies: 100"]);
    });
}

#[test]
fn redis_cli_looks_at_the_keys() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        for n in 1..=500 {
            wire.run(&format!("SET key:{n} {}", "x".repeat(n)));
        }
        let output = cli!(server, "--bigkeys");
        contains(
            &output,
            &["Sampled 500 keys", "Biggest string found", "key:500"],
        );
        let output = cli!(server, "--memkeys");
        contains(&output, &["Sampled 500 keys", "Biggest string found"]);
        let output = cli!(server, "--scan", "--pattern", "key:*");
        let mut keys: Vec<&str> = output.lines().collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 500);
        let output = cli!(server, "--scan", "--pattern", "key:49?");
        assert_eq!(output.lines().count(), 10, "{output}");
        let output = cli!(server, "--hotkeys");
        contains(&output, &["LFU maxmemory policy"]);
        cli!(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu");
        for _ in 0..200 {
            wire.run("GET key:7");
        }
        contains(&cli!(server, "--hotkeys"), &["hot key found", "key:7"]);
    });
}

#[test]
fn redis_cli_watches_the_server() {
    let server = Server::start(&["--shards", "2"]);
    // `--raw` makes the endless loop of `--latency` one round of a second, `-i` sets it.
    let output = cli!(server, "--latency", "--raw", "-i", "1");
    assert_eq!(
        output.split_whitespace().count(),
        4,
        "min, max, average, count: {output}"
    );
    // Endless: ended after its first round.
    let shown = |output: &str| output.lines().count() >= 4;
    let Some(output) = server.tool_until("redis-cli", &["--stat", "-i", "0.1"], b"", shown) else {
        return;
    };
    contains(&output, &["keys", "requests", "(+1)"]);
    let output = cli!(server, "--intrinsic-latency", "1");
    contains(&output, &["Max latency"]);
}

#[test]
fn redis_cli_authenticates() {
    let server = Server::start(&["--shards", "2", "--requirepass", "secret"]);
    contains(&cli!(server, "PING"), &["NOAUTH Authentication required."]);
    contains(
        &cli!(server, "-a", "secret", "--no-auth-warning", "PING"),
        &["PONG"],
    );
    contains(
        &cli!(server, "-a", "wrong", "--no-auth-warning", "PING"),
        &["WRONGPASS"],
    );
    contains(
        &cli!(
            server,
            "--user",
            "default",
            "--pass",
            "secret",
            "--no-auth-warning",
            "-3",
            "PING"
        ),
        &["PONG"],
    );
}

#[test]
fn redis_benchmark_runs() {
    on_all_shards(&[], |server| {
        let tests = "ping_inline,ping_mbulk,set,get,incr,mset";
        for args in [
            vec!["-q", "-n", "1000", "-t", tests],
            vec!["-q", "-n", "10000", "-t", tests, "-P", "16", "-r", "1000"],
            vec![
                "-q",
                "-n",
                "10000",
                "-t",
                tests,
                "--threads",
                "2",
                "-r",
                "1000",
            ],
            vec![
                "-q", "-n", "1000", "-t", "set,get", "-d", "100000", "-c", "5",
            ],
            vec!["-q", "-n", "1000", "-3", "-t", "set,get"],
            vec!["-q", "-n", "1000", "-k", "0", "-t", "ping_mbulk"],
        ] {
            let Some(output) = server.tool("redis-benchmark", &args, b"") else {
                return;
            };
            let wanted = args[args.iter().position(|arg| *arg == "-t").expect("tests") + 1];
            let found = output.matches("requests per second").count();
            assert_eq!(found, wanted.split(',').count(), "{args:?}:\n{output}");
            assert!(
                !output.to_lowercase().contains("error"),
                "{args:?}:\n{output}"
            );
            // Said by the tool itself when it reconnects for every request.
            let output = output.replace("WARNING: Keepalive disabled", "");
            assert!(!output.contains("WARNING"), "{args:?}:\n{output}");
        }
    });
}

#[test]
fn the_redis_crate_works() {
    on_all_shards(&[], |server| {
        let mut client = server.client();
        let () = client.set("a", 1).expect("SET");
        let count: i64 = client.incr("a", 41).expect("INCRBY");
        assert_eq!(count, 42);
        let missing: Option<String> = client.get("missing").expect("GET");
        assert_eq!(missing, None);
        let () = client.set_ex("t", "v", 100).expect("SETEX");
        let ttl: i64 = client.ttl("t").expect("TTL");
        assert!((99..=100).contains(&ttl), "{ttl}");
        let mut pipe = redis::pipe();
        for n in 0..10_000 {
            pipe.set(format!("key{n}"), n).ignore();
            pipe.get(format!("key{}", n / 2));
        }
        let values: Vec<i64> = pipe.query(&mut client).expect("a pipeline");
        let expected: Vec<i64> = (0..10_000).map(|n| n / 2).collect();
        assert_eq!(values, expected);
        let names: Vec<String> = (0..1_000).map(|n| format!("key{n}")).collect();
        let values: Vec<i64> = client.mget(&names).expect("MGET");
        assert_eq!(values, (0..1_000).collect::<Vec<i64>>());
        let mut keys: Vec<String> = client
            .scan_match("key99*")
            .expect("SCAN")
            .map(|key| key.expect("a key"))
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 111);
        let deleted: i64 = client.del(&names).expect("DEL");
        assert_eq!(deleted, 1_000);
        let error = redis::cmd("NOSUCH")
            .query::<()>(&mut client)
            .expect_err("an unknown command");
        assert!(error.to_string().contains("unknown command"), "{error}");
    });
}

#[test]
fn the_redis_crate_works_with_resp3() {
    on_all_shards(&[], |server| {
        let url = format!("redis://127.0.0.1:{}/?protocol=resp3", server.port);
        let client = redis::Client::open(url).expect("an address");
        assert_eq!(
            client.get_connection_info().redis_settings().protocol(),
            ProtocolVersion::RESP3
        );
        let mut client = client.get_connection().expect("a connection");
        let () = client.mset(&[("a", 1), ("b", 2)]).expect("MSET");
        let values: Vec<Option<i64>> = client.mget(&["a", "b", "none"]).expect("MGET");
        assert_eq!(values, [Some(1), Some(2), None]);
        let config: std::collections::HashMap<String, String> = redis::cmd("CONFIG")
            .arg("GET")
            .arg("maxmemory*")
            .query(&mut client)
            .expect("CONFIG GET");
        assert_eq!(
            config.get("maxmemory-policy").map(String::as_str),
            Some("noeviction")
        );
        let info: String = redis::cmd("INFO").query(&mut client).expect("INFO");
        assert!(info.contains("redis_version:"), "{info}");
    });
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    on_all_shards(&[], |server| {
        for _ in 0..500 {
            let mut wire = server.wire();
            wire.reset_at_end();
            assert!(wire.run("INCR visits").int() > 0);
        }
        let mut wire = server.wire();
        wait_until("only one client is left", Duration::from_secs(10), || {
            wire.run("CLIENT LIST").text().lines().count() == 1
        });
        assert_eq!(wire.run("GET visits").text(), "500");
    });
}
