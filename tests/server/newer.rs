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
