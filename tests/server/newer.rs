//! What newer peers say and send, with the bytes written down: the Redis that tests run beside says none of it.
//!
//! Leaders and followers are scripts here. A leader answers the handshake, gives its data and a stream, and hears how far that is
//! applied; a follower asks as one of those versions does, and looks at what it gets.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use super::harness::{Server, wait_until};
use super::on_all_shards;
use super::wire::{Value, Wire, encode};

const PATIENCE: Duration = Duration::from_secs(30);
const ID: &str = "feedfeedfeedfeedfeedfeedfeedfeedfeedfeed";
const MARK: &[u8; 40] = b"0123456789abcdef0123456789abcdef01234567";
/// Data without keys, and without a checksum.
const EMPTY: &[u8] = b"REDIS0011\xff\0\0\0\0\0\0\0\0";

/// A leader that does what it is told.
struct Leader {
    wire: Wire,
    /// The stream's end.
    offset: usize,
}

impl Leader {
    /// Has `follower` follow, and gives it `data`.
    #[track_caller]
    fn of(follower: &Server, data: &[u8]) -> Leader {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let line = format!("REPLICAOF 127.0.0.1 {port}");
        assert_eq!(follower.wire().run(&line).text(), "OK");
        let (socket, _) = listener.accept().expect("the follower connects");
        let mut wire = Wire::over(socket.into());
        loop {
            match wire.reply().elements()[0].text().as_str() {
                "PING" => wire.send(b"+PONG\r\n"),
                "PSYNC" => break,
                _ => wire.send(b"+OK\r\n"),
            }
        }
        wire.send(format!("+FULLRESYNC {ID} 100\r\n$EOF:").as_bytes());
        wire.send(&[MARK, &b"\r\n"[..], data, MARK].concat());
        let mut leader = Leader { wire, offset: 100 };
        leader.hear();
        leader
    }

    /// Waits until the follower has applied everything.
    #[track_caller]
    fn hear(&mut self) {
        let offset = self.offset.to_string();
        self.wire.read_until(&encode(&["REPLCONF", "ACK", &offset]));
    }

    /// Sends these lines, and waits until they are applied.
    #[track_caller]
    fn stream(&mut self, lines: &[&str]) {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let bytes = encode(&words);
            self.offset += bytes.len();
            self.wire.send(&bytes);
        }
        let asks = encode(&["REPLCONF", "GETACK", "*"]);
        self.offset += asks.len();
        self.wire.send(&asks);
        self.hear();
    }
}

fn get(server: &Server, key: &str) -> String {
    let mut wire = server.wire();
    let_in(&mut wire);
    wire.call(&["GET", key]).text()
}

/// Waits until the wire's core has heard that all data is there: the leader hears of it first.
fn let_in(wire: &mut Wire) {
    wait_until("data is loaded", PATIENCE, || {
        !wire.run("DBSIZE").is_error()
    });
}

#[test]
fn a_comparing_set_of_valkey_is_followed() {
    on_all_shards(&[], |follower| {
        let mut leader = Leader::of(follower, EMPTY);
        // Valkey 8.1 sends it as the client did.
        leader.stream(&[
            "SELECT 0",
            "SET a old",
            "SET a new IFEQ old",
            "SET b 1",
            "MULTI",
            "SET a newest IFEQ new",
            "SET b 2 IFEQ 1",
            "EXEC",
        ]);
        assert_eq!(get(follower, "a"), "newest");
        assert_eq!(get(follower, "b"), "2");
        assert_eq!(follower.info("unexpected_error_replies"), "0");
    });
}

#[test]
fn a_transaction_with_a_line_that_is_unknown_here_is_followed_but_for_it() {
    on_all_shards(&[], |follower| {
        let mut leader = Leader::of(follower, EMPTY);
        // Lines of one shard, of several, and with another database in them; what is unknown is first, in the middle, last.
        leader.stream(&[
            "SELECT 0",
            "MULTI",
            "FUNCTION FLUSH",
            "SET a 1",
            "EXEC",
            "MULTI",
            "SET b 1",
            "NOSUCH b",
            "SET c 1",
            "MSET d 1 e 1",
            "LPUSH d 1",
            "SELECT 1",
            "SET f 1",
            "FUNCTION FLUSH",
            "EXEC",
            "SELECT 0",
            "MULTI",
            "FUNCTION FLUSH",
            "EXEC",
            "SET g 1",
        ]);
        for key in ["a", "b", "c", "d", "e", "g"] {
            assert_eq!(get(follower, key), "1", "{key}");
        }
        let mut wire = follower.wire();
        let_in(&mut wire);
        wire.run("SELECT 1");
        assert_eq!(wire.run("GET f").text(), "1");
        assert_eq!(follower.info("unexpected_error_replies"), "5");
        let log = follower.log();
        for error in ["unknown command 'NOSUCH'", "WRONGTYPE"] {
            let line =
                format!("== CRITICAL == This replica is sending an error to its master: '{error}");
            let line = line.replace("'unknown", "'ERR unknown");
            assert!(log.contains(&line), "{log}");
        }
    });
}

#[test]
fn a_leaders_link_is_no_normal_client() {
    on_all_shards(&[], |follower| {
        let mut leader = Leader::of(follower, EMPTY);
        leader.stream(&["SELECT 0", "SET a 0"]);
        let mut wire = follower.wire();
        let master = wire.run("CLIENT LIST TYPE master").text();
        assert!(master.contains(" flags=M "), "{master}");
        assert!(
            !wire
                .run("CLIENT LIST TYPE normal")
                .text()
                .contains(" flags=M ")
        );
        // As Sentinel does, with every change of roles.
        assert_eq!(wire.run("CLIENT KILL TYPE normal"), Value::Int(0));
        leader.stream(&["SET a 1"]);
        assert_eq!(get(follower, "a"), "1");
        assert_eq!(wire.run("CLIENT KILL TYPE master"), Value::Int(1));
        leader.wire.read_to_end();
    });
}

/// Asks for all data as a follower that says `hello`, and returns the data's first nine bytes.
#[track_caller]
fn header(leader: &Server, hello: &str) -> String {
    let mut wire = leader.wire();
    for line in hello.split(" | ") {
        assert_eq!(wire.run(line).text(), "OK", "{line}");
    }
    wire.send(&encode(&["PSYNC", "?", "-1"]));
    let answer = wire.reply().text();
    // No second connection, whatever was said.
    assert!(answer.starts_with("FULLRESYNC "), "{answer}");
    wire.read_until(b"$EOF:");
    wire.read_until(b"\r\n");
    let data = wire.read_until(b"redis-ver");
    String::from_utf8_lossy(&data[..9]).into_owned()
}

#[test]
fn followers_get_the_version_that_they_read_and_one_that_loses_nothing() {
    // What each says of itself, and what it gets before and after a field of a hash expires.
    let hellos = [
        ("REPLCONF capa eof capa psync2", "REDIS0010", "REDIS0012"),
        // Redis 8.0.
        (
            "REPLCONF capa eof capa psync2 capa rdb-channel-repl",
            "REDIS0012",
            "REDIS0012",
        ),
        // Valkey 8.1, which asks for a second connection.
        (
            "REPLCONF capa eof capa psync2 capa dual-channel | REPLCONF version 8.1.1",
            "REDIS0011",
            "REDIS0012",
        ),
        // This server.
        (
            "REPLCONF capa eof capa psync2 capa rdb-12",
            "REDIS0012",
            "REDIS0012",
        ),
    ];
    on_all_shards(&["--repl-diskless-sync-delay", "0"], |leader| {
        let mut wire = leader.wire();
        wire.run("HSET hash a 1 b 2");
        for (hello, version, _) in hellos {
            assert_eq!(header(leader, hello), version, "{hello}");
        }
        assert!(!leader.log().contains("RDB version 12"));
        wire.run("HPEXPIREAT hash 5000000000123 FIELDS 1 a");
        for (hello, _, version) in hellos {
            assert_eq!(header(leader, hello), version, "{hello}");
        }
        assert!(leader.log().contains("RDB version 12"));
    });
}

#[test]
fn a_follower_of_this_server_has_what_only_newer_data_can_say() {
    on_all_shards(&["--repl-diskless-sync-delay", "0"], |leader| {
        let mut wire = leader.wire();
        for line in [
            "HSET small a 1 b 2",
            "HPEXPIREAT small 5000000000123 FIELDS 1 a",
            "XADD stream 1-1 a 1",
            "XGROUP CREATE stream group 0",
            "XGROUP CREATECONSUMER stream group idle",
        ] {
            let reply = wire.run(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        let port = leader.port.to_string();
        let follower = Server::start(&["--shards", "2", "--replicaof", "127.0.0.1", &port]);
        assert_eq!(wire.run("WAIT 1 20000"), Value::Int(1));
        let mut wire = follower.wire();
        let_in(&mut wire);
        let times = wire.run("HPEXPIRETIME small FIELDS 2 a b");
        assert_eq!(
            times,
            Value::Array(vec![Value::Int(5_000_000_000_123), Value::Int(-1)])
        );
        // A consumer that was never active is not as long inactive as it was not seen.
        let consumers = wire.run("XINFO CONSUMERS stream group");
        let inactive = consumers.elements()[0].elements().last().cloned();
        assert_eq!(inactive, Some(Value::Int(-1)), "{consumers:?}");
    });
}

/// What Redis 8.0.2 saves of a function, hashes with expiring fields in both forms, one whose field expires no more, a set, a stream
/// with a consumer that was never active, and a key that expires in another database.
const OF_REDIS_8: &[u8] = b"REDIS0012\xfa\x09redis-ver\x058.0.2\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2WS\x0ck\xfa\x08used-mem\xc2\x08\x88\
    \x0f\0\xfa\x08aof-base\xc0\0\xf5@B#!lua name=l\nredis.register_function('f', function() return 1 end)\xfe\0\
    \xfb\x05\0\x14\x03set\x0d\x0d\0\0\0\x02\0\x81x\x02\x81y\x02\xff\x19\x03was{P9'\x8c\x04\0\0\x0e\x0e\0\0\0\x03\0\
    \x81a\x02\x01\x01\0\x01\xff\x15\x06stream\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x1d\x1d\0\0\0\n\0\x01\
    \x01\0\x01\x01\x01\x81f\x02\0\x01\x02\x01\0\x01\0\x01\x81v\x02\x04\x01\xff\x01\x01\x01\x01\x01\0\0\x01\x01\x01\
    g\0\0\x81\xff\xff\xff\xff\xff\xff\xff\xff\0\x01\x01c3\x8e%(\xa2\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x18\
    \x05large{P9'\x8c\x04\0\0\x04\x01\x01b\xc0\x02\0\x01d\xc0\x04Cm\x01c\xc0\x03\0\x01a\xc0\x01\x19\x05small{P9'\
    \x8c\x04\0\0\x1d\x1d\0\0\0\x06\0\x81a\x02\x01\x01\xf4{P9'\x8c\x04\0\0\x09\x81b\x02\x02\x01\0\x01\xff\xfe\x01\
    \xfb\x01\x01\xfc{P9'\x8c\x04\0\0\0\x01k\x01v\xff]\xf6S\xd5(A\xffm";

/// What Valkey 8.1.1 saves as a node of a cluster: facts say how many keys the slots have.
const OF_VALKEY_8: &[u8] = b"REDIS0011\xfa\nvalkey-ver\x058.1.1\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2YS\x0ck\xfa\x08used-mem\xc2\xb8\xe7,\0\
    \xfa\x08aof-base\xc0\0\xf5@B#!lua name=l\nredis.register_function('f', function() return 1 end)\xfe\0\xfb\x04\
    \0\xfa\x09slot-info\x081386,1,0\x15\x06stream\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x1d\x1d\0\0\0\n\0\
    \x01\x01\0\x01\x01\x01\x81f\x02\0\x01\x02\x01\0\x01\0\x01\x81v\x02\x04\x01\xff\x01\x01\x01\x01\x01\0\0\x01\x01\
    \x01g\x01\x01\x01\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01+\x96%(\xa2\x01\0\0\x01\x01\x01c+\x96%(\xa2\x01\0\0+\
    \x96%(\xa2\x01\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\xfa\x09slot-info\x088157,1,0\x11\x01z\x0c\x0c\0\0\0\
    \x02\0\x81a\x02\x01\x01\xff\xfa\x09slot-info\x0911562,1,0\x12\x01l\x01\x02\x0d\x0d\0\0\0\x02\0\x81a\x02\x81b\
    \x02\xff\xfa\x09slot-info\x0915495,1,0\0\x01a\xc0\x01\xff1\x9b\xbf\x7f/\xa6\xc5m";

/// What Redis 8.0.2 saves as a node of a cluster: the slots have an opcode.
const OF_A_REDIS_CLUSTER: &[u8] = b"REDIS0012\xfa\x09redis-ver\x058.0.2\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2[S\x0ck\xfa\x08used-mem\xc2\x90\xd1\
    \x1f\0\xfa\x08aof-base\xc0\0\xfe\0\xfb\x01\0\xf4|\x87\x01\0\0\x01a\xc0\x01\xff\x8a\xcc7\x9e,P \n";

#[test]
fn data_of_newer_leaders_is_taken_over() {
    on_all_shards(&[], |follower| {
        let mut wire = follower.wire();
        // Each line, and the reply with its parts separated by spaces.
        let mut check = |expected: &[(&str, &str)]| {
            let_in(&mut wire);
            for (line, reply) in expected {
                assert_eq!(flat(wire.run(line)), *reply, "{line}");
            }
        };
        let _leader = Leader::of(follower, OF_REDIS_8);
        check(&[
            ("DBSIZE", "5"),
            ("HGETALL small", "a 1 b 2"),
            ("HPEXPIRETIME small FIELDS 2 a b", "5000000000123 -1"),
            ("HMGET large a b c d", "1 2 3 4"),
            (
                "HPEXPIRETIME large FIELDS 4 a b c d",
                "-1 5000000000123 5000000000999 -1",
            ),
            ("HGETALL was", "a 1"),
            ("HPEXPIRETIME was FIELDS 1 a", "-1"),
            ("SMISMEMBER set x y", "1 1"),
            ("XRANGE stream - +", "1-1 f v"),
            ("XPENDING stream g", "0 nil nil nil"),
            ("SELECT 1", "OK"),
            ("GET k", "v"),
            ("PEXPIRETIME k", "5000000000123"),
            ("SELECT 0", "OK"),
        ]);
        assert!(
            follower
                .log()
                .contains("1 functions or data of modules of the master are not kept")
        );
        let _leader = Leader::of(follower, OF_VALKEY_8);
        check(&[
            ("DBSIZE", "4"),
            ("GET a", "1"),
            ("LRANGE l 0 -1", "a b"),
            ("ZSCORE z a", "1"),
            ("XPENDING stream g", "1 1-1 1-1 c 1"),
        ]);
        let _leader = Leader::of(follower, OF_A_REDIS_CLUSTER);
        check(&[("DBSIZE", "1"), ("GET a", "1")]);
    });
}

/// The parts of a reply, separated by spaces.
fn flat(reply: Value) -> String {
    match reply {
        Value::Int(number) => number.to_string(),
        Value::Null => "nil".into(),
        Value::Array(parts) => {
            let parts: Vec<String> = parts.into_iter().map(flat).collect();
            parts.join(" ")
        }
        other => other.text(),
    }
}
