//! Limits on clients: buffers, their number, idle time, who may come in, what an idle one costs.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::harness::{Server, judging_the_tests, wait_until};
use super::on_all_shards;
use super::wire::{Value, Wire, encode};

const SOON: Duration = Duration::from_secs(20);

/// The number of clients that CLIENT LIST shows.
fn clients(wire: &mut Wire) -> usize {
    wire.run("CLIENT LIST").text().lines().count()
}

#[test]
fn a_client_that_never_reads_is_cut_off_at_its_limit() {
    let args = ["--client-output-buffer-limit", "normal 1mb 0 0"];
    on_all_shards(&args, |server| {
        let mut control = server.wire();
        let value = vec![b'v'; 100_000];
        for n in 0..8 {
            let key = format!("key{n}");
            control.call(&[b"SET".as_slice(), key.as_bytes(), &value]);
        }
        let before = server.memory_bytes("VmRSS");
        let greedy = server.wire();
        let mut sender = greedy.sender();
        let bytes: Vec<u8> = (0..20_000)
            .flat_map(|n| encode(&["GET", &format!("key{}", n % 8)]))
            .collect();
        let sending = std::thread::spawn(move || {
            use std::io::Write;
            // Ends when the server has closed: the two gigabytes of replies never fit.
            sender.write_all(&bytes)
        });
        wait_until("the greedy client is cut off", SOON, || {
            let start = Instant::now();
            assert_eq!(control.run("PING").text(), "PONG");
            assert!(
                start.elapsed() < Duration::from_secs(2),
                "the others pay nothing"
            );
            clients(&mut control) == 1
        });
        let grown = server.memory_bytes("VmRSS").saturating_sub(before);
        assert!(grown < 64 << 20, "grew by {grown} bytes");
        drop(greedy);
        let _ = sending.join().expect("the sender");
    });
}

#[test]
fn a_client_that_reads_slowly_gets_everything_without_a_limit() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        let value = vec![b'v'; 1 << 20];
        assert_eq!(wire.call(&[b"SET".as_slice(), b"big", &value]).text(), "OK");
        wire.send(&encode(&["GET", "big"]).repeat(100));
        // Another client's work is done while the replies wait for the first.
        let mut other = server.wire();
        assert_eq!(other.run("SET big small").text(), "OK");
        for _ in 0..100 {
            match wire.reply() {
                Value::Bulk(got) => assert!(got == value || got == b"small"),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_query_larger_than_its_limit_closes_the_connection() {
    on_all_shards(&["--client-query-buffer-limit", "1mb"], |server| {
        let mut wire = server.wire();
        let mut bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388608\r\n".to_vec();
        bytes.extend(vec![b'v'; 8 << 20]);
        let _ = wire.try_send(&bytes);
        assert_eq!(wire.read_to_end(), b"");
        let mut other = server.wire();
        let value = vec![b'v'; 500_000];
        assert_eq!(other.call(&[b"SET".as_slice(), b"k", &value]).text(), "OK");
        assert_eq!(other.run("STRLEN k"), Value::Int(500_000));
    });
}

#[test]
fn an_argument_larger_than_its_limit_is_an_error() {
    on_all_shards(&["--proto-max-bulk-len", "1mb"], |server| {
        let mut wire = server.wire();
        wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n");
        assert_eq!(
            wire.read_to_end(),
            b"-ERR Protocol error: invalid bulk length\r\n"
        );
        let mut wire = server.wire();
        let value = vec![b'v'; 1 << 20];
        assert_eq!(wire.call(&[b"SET".as_slice(), b"k", &value]).text(), "OK");
        let error = wire.run("APPEND k x");
        assert_eq!(
            error.text(),
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        );
    });
}

#[test]
fn one_client_too_many_is_told_so() {
    on_all_shards(&["--maxclients", "10"], |server| {
        let mut control = server.wire();
        wait_until("the start's own connection is gone", SOON, || {
            clients(&mut control) == 1
        });
        let mut wires: Vec<Wire> = (0..9).map(|_| server.wire()).collect();
        for wire in &mut wires {
            assert_eq!(wire.run("PING").text(), "PONG");
        }
        for _ in 0..3 {
            let mut late = server.wire();
            assert_eq!(
                late.read_to_end(),
                b"-ERR max number of clients reached\r\n"
            );
        }
        drop(wires.pop());
        wait_until("the client that left is forgotten", SOON, || {
            clients(&mut control) == 9
        });
        assert_eq!(server.wire().run("PING").text(), "PONG");
        assert_eq!(control.run("CONFIG SET maxclients 20").text(), "OK");
        let mut more: Vec<Wire> = (0..8).map(|_| server.wire()).collect();
        for wire in &mut more {
            assert_eq!(wire.run("PING").text(), "PONG");
        }
    });
}

#[test]
fn an_idle_client_is_closed_after_its_time() {
    on_all_shards(&["--timeout", "1"], |server| {
        let mut busy = server.wire();
        let idle: Vec<Wire> = (0..8).map(|_| server.wire()).collect();
        let start = Instant::now();
        wait_until("the idle clients are closed", SOON, || {
            clients(&mut busy) == 1
        });
        assert!(
            start.elapsed() > Duration::from_millis(900),
            "not before their time"
        );
        for mut wire in idle {
            assert_eq!(wire.read_to_end(), b"");
        }
    });
}

/// An address of this machine other than loopback; connecting a UDP socket sends nothing.
fn outer_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

#[test]
fn without_a_password_only_this_machine_gets_in() {
    let Some(address) = outer_address() else {
        eprintln!("*** NOT TESTED: no address but loopback ***");
        return;
    };
    on_all_shards(&[], |server| {
        let mut wire = Wire::connect_to(&address, server.port);
        let text = String::from_utf8_lossy(&wire.read_to_end()).into_owned();
        assert!(text.starts_with("-DENIED "), "{text}");
        assert!(text.contains("protected mode"), "{text}");
        let mut control = server.wire();
        assert_eq!(control.run("CONFIG SET requirepass secret").text(), "OK");
        let mut wire = Wire::connect_to(&address, server.port);
        assert!(wire.run("PING").text().starts_with("NOAUTH "));
        assert_eq!(wire.run("AUTH secret").text(), "OK");
        assert_eq!(wire.run("PING").text(), "PONG");
        let opened = control.call(&["CONFIG", "SET", "requirepass", "", "protected-mode", "no"]);
        assert_eq!(opened.text(), "OK");
        let mut wire = Wire::connect_to(&address, server.port);
        assert_eq!(wire.run("PING").text(), "PONG");
    });
    let open = Server::start(&["--protected-mode", "no"]);
    assert_eq!(
        Wire::connect_to(&address, open.port).run("PING").text(),
        "PONG"
    );
}

/// Raises the limit of open files and returns it.
fn open_files_max() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[test]
fn an_idle_connection_costs_less_than_two_kibibytes() {
    if judging_the_tests() {
        return;
    }
    let count = if open_files_max() > 12_000 {
        10_000
    } else {
        2_000
    };
    for shards in ["1", "4"] {
        let server = Server::start(&["--shards", shards, "--maxclients", "11000"]);
        let open = |count: usize| -> Vec<Wire> {
            (0..count)
                .map(|_| {
                    let mut wire = server.wire();
                    wire.reset_at_end();
                    assert_eq!(wire.run("SET key value").text(), "OK");
                    assert_eq!(wire.run("GET key").text(), "value");
                    wire
                })
                .collect()
        };
        let first = open(100);
        let before = server.memory_bytes("RssAnon");
        let idle = open(count - 100);
        let each = server.memory_bytes("RssAnon").saturating_sub(before) / idle.len() as u64;
        assert!(
            each < 2048,
            "{each} bytes per idle connection with {shards} shards"
        );
        assert_eq!(server.info("connected_clients"), (count + 1).to_string());
        drop((first, idle));
        let mut control = server.wire();
        wait_until("all are gone", SOON, || clients(&mut control) == 1);
    }
}

#[test]
fn a_paused_server_answers_when_the_pause_is_over() {
    on_all_shards(&[], |server| {
        let mut control = server.wire();
        let mut wires: Vec<Wire> = (0..4).map(|_| server.wire()).collect();
        assert_eq!(control.run("CLIENT PAUSE 60000 WRITE").text(), "OK");
        for (n, wire) in wires.iter_mut().enumerate() {
            assert_eq!(wire.run("GET key"), Value::Null, "reads pass");
            wire.send(&encode(&["SET", &format!("key{n}"), "v"]));
        }
        wires[0].assert_silent(Duration::from_millis(50));
        assert_eq!(control.run("DBSIZE"), Value::Int(0));
        assert_eq!(control.run("CLIENT UNPAUSE").text(), "OK");
        for wire in &mut wires {
            assert_eq!(wire.reply().text(), "OK");
        }
        let start = Instant::now();
        assert_eq!(control.run("CLIENT PAUSE 200 ALL").text(), "OK");
        assert_eq!(wires[0].run("PING").text(), "PONG");
        assert!(
            start.elapsed() >= Duration::from_millis(190),
            "{:?}",
            start.elapsed()
        );
    });
}

#[test]
fn clients_on_all_cores_are_listed_and_killed() {
    on_all_shards(&[], |server| {
        let mut control = server.wire();
        let mut wires: Vec<Wire> = (0..9).map(|_| server.wire()).collect();
        let mut ids: Vec<i64> = vec![];
        for (n, wire) in wires.iter_mut().enumerate() {
            assert_eq!(wire.run(&format!("CLIENT SETNAME name{n}")).text(), "OK");
            ids.push(wire.run("CLIENT ID").int());
        }
        let list = control.run("CLIENT LIST").text();
        for (n, id) in ids.iter().enumerate() {
            let line = list
                .lines()
                .find(|line| line.starts_with(&format!("id={id} ")));
            let line = line.unwrap_or_else(|| panic!("no id {id} in\n{list}"));
            assert!(line.contains(&format!(" name=name{n} ")), "{line}");
        }
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "ids are unique: {ids:?}");
        assert_eq!(
            control.run(&format!("CLIENT KILL ID {}", ids[3])),
            Value::Int(1)
        );
        assert_eq!(wires[3].read_to_end(), b"");
        assert_eq!(
            control.run("CLIENT KILL TYPE normal SKIPME yes"),
            Value::Int(8)
        );
        for (n, mut wire) in wires.into_iter().enumerate() {
            if n != 3 {
                assert_eq!(wire.read_to_end(), b"");
            }
        }
        wait_until("all are gone", SOON, || clients(&mut control) == 1);
    });
}

#[test]
fn monitor_shows_the_lines_of_all_cores() {
    on_all_shards(&[], |server| {
        let mut monitor = server.wire();
        assert_eq!(monitor.run("MONITOR").text(), "OK");
        for n in 0..8 {
            let mut wire = server.wire();
            assert_eq!(
                wire.call(&["SET", &format!("key{n}"), "a \"b\"\n"]).text(),
                "OK"
            );
            let line = monitor.reply().text();
            let (_, command) = line.split_once("] ").expect("`time [db address] line`");
            assert_eq!(command, format!(r#""SET" "key{n}" "a \"b\"\n""#));
            assert!(line.contains(" [0 127.0.0.1:"), "{line}");
        }
    });
}
