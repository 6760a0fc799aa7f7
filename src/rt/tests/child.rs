//! Tests whose subject is the whole process: each runs this test binary again as a child, with a variable
//! that tells it to misbehave.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::mpsc::channel;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

const ROLE: &str = "SHARDINE_RT_TEST_CHILD";

/// Runs the named test of this module again with the role set. None in the child itself.
fn child(test: &str) -> Option<Output> {
    if std::env::var(ROLE).is_ok_and(|role| role == test) {
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("rt::tests::child::{test}"))
        .env(ROLE, test)
        .output()
        .unwrap();
    Some(output)
}

fn assert_passed(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 passed"), "the child ran it: {stdout}");
}

#[test]
fn a_panic_in_a_core_aborts_the_process() {
    let Some(output) = child("a_panic_in_a_core_aborts_the_process") else {
        let node = Node::start(2, Options::default(), Vec::new(), |index| {
            let mut script = Script::new(index);
            script.turn = |index, _| match index {
                1 => panic!("a broken invariant"),
                _ => Next::Idle,
            };
            script
        });
        return node.join();
    };
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("a broken invariant"), "{stderr}");
}

#[test]
fn signals_arrive_as_events() {
    let Some(output) = child("signals_arrive_as_events") else {
        let options = Options {
            signals: true,
            ..Options::default()
        };
        let (report, signals) = channel();
        let node = Node::start(2, options, Vec::new(), move |index| {
            let mut script = Script::new(report.clone());
            // To this thread alone: the test's other threads have not blocked it.
            if index == 0 {
                script.turn = |_, io| {
                    if io.counters().turns == 1 {
                        // SAFETY: raises a signal that is blocked here; no handler runs.
                        unsafe { libc::raise(libc::SIGINT) };
                    }
                    Next::Idle
                };
            }
            script.signal = |report, io, signal| {
                report.send(signal).unwrap();
                match signal {
                    // SAFETY: as above.
                    Signal::Interrupt => drop(unsafe { libc::raise(libc::SIGTERM) }),
                    Signal::Terminate => stop_all(io),
                }
            };
            script
        });
        node.join();
        assert_eq!(signals.recv(), Ok(Signal::Interrupt));
        assert_eq!(signals.recv(), Ok(Signal::Terminate));
        return;
    };
    assert_passed(&output);
}

/// Connects more clients than there are descriptors: the rest waits in the queue, the listener rests instead
/// of spinning, and goes on when there is room again.
#[test]
fn running_out_of_descriptors_does_not_spin() {
    let Some(output) = child("running_out_of_descriptors_does_not_spin") else {
        return out_of_descriptors();
    };
    assert_passed(&output);
}

fn out_of_descriptors() {
    let (report, reports) = channel();
    let node = Node::start(1, Options::default(), Vec::new(), move |_| {
        let mut script = Script::new((report.clone(), 0));
        script.accepted = |(report, _), io, socket| {
            io.adopt(socket);
            let _ = report.send(io.counters().turns);
        };
        script
    });
    let mut streams = vec![node.connect()];
    reports.recv_timeout(DEADLINE).unwrap();
    // Enough for the clients' own ends, not for the node's.
    let clients = 16;
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let limit = getrlimit(Resource::Nofile);
    let sockets: Vec<_> = (0..clients)
        .map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap())
        .collect();
    let low = Rlimit {
        current: Some(open + clients + 4),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, low).unwrap();
    for socket in sockets {
        socket.connect(&node.address.into()).unwrap();
        streams.push(socket.into());
    }
    let mut turns = 0;
    let mut accepted = 1;
    while let Ok(turn) = reports.recv_timeout(Duration::from_millis(500)) {
        turns = turn;
        accepted += 1;
    }
    assert!(accepted < clients, "the limit holds some back: {accepted}");
    // Room again.
    setrlimit(Resource::Nofile, limit).unwrap();
    while accepted < clients + 1 {
        let turn = reports.recv_timeout(DEADLINE).unwrap();
        assert!(turn - turns < 100, "{} turns while waiting", turn - turns);
        accepted += 1;
    }
    node.stop();
}
