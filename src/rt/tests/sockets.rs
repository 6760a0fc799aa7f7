//! Connections: echo over every transport and number of cores, back-pressure, closing at awkward moments.

use std::collections::HashMap;
use std::io::{IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use bytes::BytesMut;

use super::*;

/// Sends back what comes, keeps what the socket does not take, and stops reading meanwhile.
#[derive(Default)]
struct Echo {
    unsent: HashMap<ConnId, Vec<u8>>,
    unsent_bytes_max: usize,
    next_core: usize,
}

fn echo() -> Script<Echo> {
    let mut script = Script::new(Echo::default());
    script.accepted = |echo, io, socket| {
        let core = echo.next_core % io.core_count();
        echo.next_core += 1;
        if core == io.core_index() {
            io.adopt(socket);
        } else {
            assert!(io.push(core, Message::Socket(socket)).is_ok());
        }
    };
    script.received = |echo, io, conn, data| {
        if data == b"CORE" {
            let core = [b'0' + io.core_index() as u8];
            assert_eq!(
                io.write(conn, &[IoSlice::new(&core)]),
                WriteResult::Wrote(1)
            );
            return;
        }
        echo.unsent.entry(conn).or_default().extend_from_slice(data);
        flush(echo, io, conn);
    };
    script.writable = flush;
    script.closed = |echo, _, conn, _| {
        echo.unsent.remove(&conn);
    };
    script
}

fn flush(echo: &mut Echo, io: &mut TestIo, conn: ConnId) {
    let unsent = echo.unsent.entry(conn).or_default();
    while !unsent.is_empty() {
        // In two pieces, for the sake of both ways to send.
        let (front, back) = unsent.split_at(unsent.len() / 2);
        match io.write(conn, &[IoSlice::new(front), IoSlice::new(back)]) {
            WriteResult::Wrote(bytes) => drop(unsent.drain(..bytes)),
            WriteResult::WouldBlock => break,
            WriteResult::Failed => return io.close(conn),
        }
    }
    echo.unsent_bytes_max = echo.unsent_bytes_max.max(unsent.len());
    if unsent.is_empty() {
        io.resume_reading(conn);
        io.want_writable(conn, false);
    } else {
        io.pause_reading(conn);
        io.want_writable(conn, true);
    }
}

fn round_trip(stream: &mut (impl Read + Write), data: &[u8]) {
    stream.write_all(data).unwrap();
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, data);
}

#[test]
fn echo_over_tcp_and_unix_sockets_on_one_two_and_four_cores() {
    for core_count in [1, 2, 4] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let unix = Listener::unix(&path, None, 64).unwrap();
        let node = Node::start(core_count, Options::default(), vec![unix], |_| echo());
        let mut cores_seen = vec![0; core_count];
        let mut streams: Vec<_> = (0..8).map(|_| node.connect()).collect();
        for (number, stream) in streams.iter_mut().enumerate() {
            round_trip(stream, b"CORE".map(|_| number as u8).as_slice());
            stream.write_all(b"CORE").unwrap();
            let mut core = [0];
            stream.read_exact(&mut core).unwrap();
            cores_seen[usize::from(core[0] - b'0')] += 1;
        }
        assert_eq!(cores_seen, vec![8 / core_count; core_count], "dealt evenly");
        for _ in 0..core_count {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            round_trip(&mut stream, b"over the unix socket");
        }
        for stream in &mut streams {
            for size in [1, 100, 40_000] {
                round_trip(stream, &vec![b'x'; size]);
            }
        }
        node.stop();
        assert!(!path.exists(), "the socket file goes with the node");
    }
}

#[test]
fn a_large_transfer_to_a_slow_reader_is_held_back_at_the_socket() {
    const BYTES: usize = 32 << 20;
    let (report, reports) = channel();
    let node = Node::start(1, Options::default(), Vec::new(), move |_| {
        let mut script = echo();
        script.turn = |echo, _| {
            assert!(echo.unsent_bytes_max <= Options::default().read_bytes_max);
            Next::Idle
        };
        report.send(()).unwrap();
        script
    });
    reports.recv_timeout(DEADLINE).unwrap();
    let data: Vec<u8> = (0..BYTES).map(|n| ((n * 31) >> 3) as u8).collect();
    let mut stream = node.connect();
    let mut writer = stream.try_clone().unwrap();
    let sent = data.clone();
    let sender = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut back = vec![0; BYTES];
    stream.read_exact(&mut back).unwrap();
    sender.join().unwrap();
    assert!(back == data);
    node.stop();
}

struct Large {
    value: BytesMut,
    left: usize,
    shared_bytes: usize,
    done: Sender<(BytesMut, usize)>,
}

#[test]
fn a_large_value_is_received_into_the_cores_own_buffer() {
    const BYTES: usize = 20 << 20;
    let (done, values) = channel();
    let node = Node::start(1, Options::default(), Vec::new(), move |_| {
        let mut script = Script::new(Large {
            value: BytesMut::new(),
            left: 0,
            shared_bytes: 0,
            done: done.clone(),
        });
        // The first bytes announce the value; the rest goes where it belongs.
        script.received = |large, _, _, data| {
            large.shared_bytes += data.len();
            large.value.reserve(BYTES);
            large.value.extend_from_slice(data);
            large.left = BYTES - data.len();
        };
        script.read_target = |large, _| {
            (large.left > 0).then_some(ReadTarget {
                buffer: &mut large.value,
                bytes_max: large.left,
            })
        };
        script.filled = |large, _, _, bytes| {
            assert!(bytes <= Options::default().large_read_bytes_max);
            large.left -= bytes;
            if large.left == 0 {
                let value = std::mem::take(&mut large.value);
                large.done.send((value, large.shared_bytes)).unwrap();
            }
        };
        script
    });
    let data: Vec<u8> = (0..BYTES).map(|n| ((n * 7) >> 2) as u8).collect();
    node.connect().write_all(&data).unwrap();
    let (value, shared_bytes) = values.recv_timeout(DEADLINE).unwrap();
    assert!(value == data);
    assert!(shared_bytes <= Options::default().read_bytes_max);
    node.stop();
}

#[test]
fn a_peer_that_shut_down_its_side_still_gets_its_answer() {
    let node = Node::start(1, Options::default(), Vec::new(), |_| {
        let mut script = Script::new(None);
        script.input_ended = |ended, _, conn| {
            *ended = Some(conn);
            true
        };
        // The answer comes a turn later, as if another core had made it.
        script.turn = |ended, io| match ended.take() {
            Some(conn) if io.connection_count() == 1 => {
                io.write(conn, &[IoSlice::new(b"answer")]);
                io.close(conn);
                Next::Idle
            }
            _ => Next::Idle,
        };
        script
    });
    let mut stream = node.connect();
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    node.stop();
}

/// All connections; when bytes come on any, it is closed together with all others.
#[derive(Default)]
struct Closer {
    conns: Vec<ConnId>,
    gone: Vec<ConnId>,
}

#[test]
fn closing_any_connection_inside_a_callback_is_safe_and_stale_ids_are_harmless() {
    const CLIENTS: usize = 16;
    let node = Node::start(1, Options::default(), Vec::new(), |_| {
        let mut script = Script::new(Closer::default());
        script.accepted = |closer, io, socket| {
            let conn = io.adopt(socket);
            assert!(!closer.gone.contains(&conn), "ids are not reused");
            closer.conns.push(conn);
            // All wait until all are there, so that their bytes are ready in one turn.
            if closer.conns.len() < CLIENTS {
                io.pause_reading(conn);
            } else {
                for &conn in &closer.conns {
                    io.resume_reading(conn);
                }
            }
        };
        script.received = |closer, io, conn, _| {
            assert!(io.is_open(conn), "no bytes of a closed connection");
            for conn in closer.conns.drain(..) {
                io.close(conn);
                io.close(conn);
                assert_eq!(io.write(conn, &[IoSlice::new(b"x")]), WriteResult::Failed);
                io.want_writable(conn, true);
                io.pause_reading(conn);
                assert!(io.fd(conn).is_none() && io.peer_addr(conn).is_none());
                closer.gone.push(conn);
            }
        };
        script.closed = |closer, _, conn, _| {
            assert!(!closer.gone.contains(&conn), "own closes are not reported");
            closer.conns.retain(|&other| other != conn);
        };
        script
    });
    for _ in 0..20 {
        let mut streams: Vec<_> = (0..CLIENTS).map(|_| node.connect()).collect();
        for stream in &mut streams {
            // The node may be through with all of them already.
            let _ = stream.write_all(b"x");
        }
        for stream in &mut streams {
            // An end of file, or a reset for bytes that nobody read.
            let _ = stream.read(&mut [0]);
        }
    }
    // The listener leaves a single connection alone, but for its bytes.
    let mut last: Vec<_> = (0..CLIENTS - 1).map(|_| node.connect()).collect();
    last.push(node.connect());
    last[CLIENTS - 1].write_all(b"STOP").unwrap();
    node.join();
}

struct Paused {
    conn: Option<ConnId>,
    started_ns: u64,
    turns: u64,
    report: Sender<(u64, Vec<u8>, Option<bool>)>,
}

fn paused(report: Sender<(u64, Vec<u8>, Option<bool>)>) -> Script<Paused> {
    let mut script = Script::new(Paused {
        conn: None,
        started_ns: 0,
        turns: 0,
        report,
    });
    script.accepted = |paused, io, socket| {
        let conn = io.adopt(socket);
        io.pause_reading(conn);
        paused.conn = Some(conn);
        paused.started_ns = io.now().monotonic_ns;
        paused.turns = io.counters().turns;
    };
    script.received = |paused, io, _, data| {
        let turns = io.counters().turns - paused.turns;
        paused.report.send((turns, data.to_vec(), None)).unwrap();
    };
    script.closed = |paused, io, _, why| {
        let turns = io.counters().turns - paused.turns;
        let failed = matches!(why, Closed::Failed(_));
        let report = paused.report.send((turns, Vec::new(), Some(failed)));
        report.unwrap();
    };
    // Reads again after a tenth of a second.
    script.turn = |paused, io| {
        let Some(conn) = paused.conn else {
            return Next::Idle;
        };
        let due_ns = paused.started_ns + 100_000_000;
        if io.now().monotonic_ns < due_ns {
            return Next::At(due_ns);
        }
        io.resume_reading(conn);
        paused.conn = None;
        Next::Idle
    };
    script
}

#[test]
fn a_peer_that_hangs_up_while_reading_is_paused_costs_no_turns_and_loses_no_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let unix = Listener::unix(&path, None, 64).unwrap();
    let (report, reports) = channel();
    let node = Node::start(1, Options::default(), vec![unix], move |_| {
        paused(report.clone())
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"last words").unwrap();
    drop(stream);
    let (turns, data, _) = reports.recv_timeout(DEADLINE).unwrap();
    assert_eq!(data, b"last words");
    assert!(
        turns < 20,
        "{turns} turns in a tenth of a second of nothing"
    );
    let (_, _, failed) = reports.recv_timeout(DEADLINE).unwrap();
    assert_eq!(failed, Some(false));
    node.stop();
}

#[test]
fn a_reset_is_noticed_while_reading_is_paused() {
    let (report, reports) = channel();
    let node = Node::start(1, Options::default(), Vec::new(), move |_| {
        let mut script = paused(report.clone());
        script.turn = |_, _| Next::Idle;
        script.closed = |paused, io, _, why| {
            let failed = matches!(why, Closed::Failed(_));
            paused.report.send((0, Vec::new(), Some(failed))).unwrap();
            stop_all(io);
        };
        script
    });
    let stream = node.connect();
    // A close with nothing to linger for is a reset.
    socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(stream);
    let (_, _, failed) = reports.recv_timeout(DEADLINE).unwrap();
    assert_eq!(failed, Some(true));
    node.join();
}

#[test]
fn a_deadline_runs_the_core_in_time_and_not_before() {
    let started = Instant::now();
    let node = Node::start(1, Options::default(), Vec::new(), |_| {
        let mut script = Script::new(0);
        script.turn = |due_ns, io| {
            if *due_ns == 0 {
                *due_ns = io.now().monotonic_ns + 50_000_000;
            }
            if io.now().monotonic_ns >= *due_ns {
                assert!(io.counters().turns < 10);
                return Next::Stop;
            }
            Next::At(*due_ns)
        };
        script
    });
    node.join();
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_core_that_stops_listening_refuses_connections_and_keeps_the_others() {
    let node = Node::start(1, Options::default(), Vec::new(), |_| {
        let mut script = echo();
        script.accepted = |_, io, socket| {
            io.adopt(socket);
            io.stop_listening();
        };
        script
    });
    let mut stream = node.connect();
    round_trip(&mut stream, b"still served");
    assert!(TcpStream::connect(node.address).is_err());
    stream.write_all(b"STOP").unwrap();
    node.join();
}

#[test]
fn a_core_connects_and_hears_when_nobody_listens() {
    /// Who to ask, whether somebody answers there, and the connection.
    type Asking = (std::net::SocketAddr, Option<ConnId>);
    fn asking(address: std::net::SocketAddr) -> Script<Asking> {
        let mut script = Script::new((address, None));
        script.turn = |(address, conn), io| {
            if conn.is_none() {
                *conn = io.connect(*address, None).ok();
            }
            Next::Idle
        };
        script.writable = |_, io, conn| {
            assert_eq!(
                io.write(conn, &[IoSlice::new(b"hello")]),
                WriteResult::Wrote(5)
            );
            io.want_writable(conn, false);
        };
        script.closed = |(_, own), io, conn, why| {
            assert_eq!(*own, Some(conn));
            assert!(matches!(why, Closed::Failed(_)));
            stop_all(io);
        };
        script
    }
    let peer = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = peer.local_addr().unwrap();
    let node = Node::start(1, Options::default(), Vec::new(), move |_| asking(address));
    let (mut stream, _) = peer.accept().unwrap();
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    stream.write_all(b"STOP").unwrap();
    node.join();
    drop(peer);
    let node = Node::start(1, Options::default(), Vec::new(), move |_| asking(address));
    node.join();
}
