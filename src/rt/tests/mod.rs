//! Real cores with real sockets and threads: what the parts cannot show alone. No test waits for luck; each
//! waits for a condition, under a deadline that only a hang reaches.

mod child;
mod messages;
mod sockets;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Only a hang takes this long, also on a machine that does other things.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What scripted cores tell each other.
pub enum Message {
    Socket(Socket),
    Number(u64),
    Stop,
}

pub type TestIo = Io<Message>;

/// A core made of functions over a state: a test replaces the ones it is about. A connection that sends
/// `STOP`, or a message that says so, ends all cores.
pub struct Script<S> {
    pub state: S,
    pub accepted: fn(&mut S, &mut TestIo, Socket),
    pub received: fn(&mut S, &mut TestIo, ConnId, &[u8]),
    pub read_target: for<'a> fn(&'a mut S, ConnId) -> Option<ReadTarget<'a>>,
    pub filled: fn(&mut S, &mut TestIo, ConnId, usize),
    pub writable: fn(&mut S, &mut TestIo, ConnId),
    pub input_ended: fn(&mut S, &mut TestIo, ConnId) -> bool,
    pub closed: fn(&mut S, &mut TestIo, ConnId, Closed),
    pub message: fn(&mut S, &mut TestIo, usize, u64),
    pub signal: fn(&mut S, &mut TestIo, Signal),
    pub turn: fn(&mut S, &mut TestIo) -> Next,
    pub stop: bool,
}

impl<S> Script<S> {
    pub fn new(state: S) -> Self {
        Self {
            state,
            accepted: |_, io, socket| {
                io.adopt(socket);
            },
            received: |_, _, _, _| {},
            read_target: |_, _| None,
            filled: |_, _, _, _| {},
            writable: |_, _, _| {},
            input_ended: |_, _, _| false,
            closed: |_, _, _, _| {},
            message: |_, _, _, _| {},
            signal: |_, _, _| {},
            turn: |_, _| Next::Idle,
            stop: false,
        }
    }
}

/// Ends all cores of the caller's node, this one included.
pub fn stop_all(io: &mut TestIo) {
    for core in 0..io.core_count() {
        assert!(
            io.push(core, Message::Stop).is_ok(),
            "room for the last message"
        );
    }
}

impl<S: 'static> Core for Script<S> {
    type Message = Message;

    fn accepted(&mut self, io: &mut TestIo, socket: Socket) {
        (self.accepted)(&mut self.state, io, socket);
    }

    fn received(&mut self, io: &mut TestIo, conn: ConnId, data: &[u8]) {
        if data == b"STOP" {
            return stop_all(io);
        }
        (self.received)(&mut self.state, io, conn, data);
    }

    fn read_target(&mut self, conn: ConnId) -> Option<ReadTarget<'_>> {
        (self.read_target)(&mut self.state, conn)
    }

    fn filled(&mut self, io: &mut TestIo, conn: ConnId, bytes: usize) {
        (self.filled)(&mut self.state, io, conn, bytes);
    }

    fn writable(&mut self, io: &mut TestIo, conn: ConnId) {
        (self.writable)(&mut self.state, io, conn);
    }

    fn input_ended(&mut self, io: &mut TestIo, conn: ConnId) -> bool {
        (self.input_ended)(&mut self.state, io, conn)
    }

    fn closed(&mut self, io: &mut TestIo, conn: ConnId, why: Closed) {
        assert!(!io.is_open(conn), "the id is dead");
        (self.closed)(&mut self.state, io, conn, why);
    }

    fn message(&mut self, io: &mut TestIo, from: usize, message: Message) {
        match message {
            Message::Stop => self.stop = true,
            Message::Number(number) => (self.message)(&mut self.state, io, from, number),
            Message::Socket(socket) => {
                io.adopt(socket);
            }
        }
    }

    fn signal(&mut self, io: &mut TestIo, signal: Signal) {
        (self.signal)(&mut self.state, io, signal);
    }

    fn turn(&mut self, io: &mut TestIo) -> Next {
        let next = (self.turn)(&mut self.state, io);
        if self.stop { Next::Stop } else { next }
    }
}

/// A node on threads of its own.
pub struct Node {
    ended: Receiver<Result<(), StartError>>,
    pub address: SocketAddr,
}

impl Node {
    /// Starts `core_count` unpinned cores with a listener on a free port, beside those given.
    pub fn start<C, F>(
        core_count: usize,
        options: Options,
        mut listeners: Vec<Listener>,
        make: F,
    ) -> Self
    where
        C: Core,
        F: Fn(usize) -> C + Send + Clone + 'static,
    {
        let listener = Listener::tcp(LOOPBACK, 0, 512).unwrap();
        let address = listener.local_addr().unwrap();
        listeners.push(listener);
        let (report, ended) = channel();
        std::thread::spawn(move || {
            let _ = report.send(run(&specs(core_count), make, listeners, &options));
        });
        Self { ended, address }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Waits until all threads have ended by themselves.
    pub fn join(self) {
        let outcome = self.ended.recv_timeout(DEADLINE);
        outcome.expect("the node ends in time").unwrap();
    }

    pub fn stop(self) {
        self.connect().write_all(b"STOP").unwrap();
        self.join();
    }
}

pub fn specs(core_count: usize) -> Vec<CoreSpec> {
    (0..core_count)
        .map(|index| CoreSpec {
            name: format!("test-{index}"),
            cpu: None,
        })
        .collect()
}

#[test]
fn a_node_without_cores_or_with_foreign_cpus_does_not_start() {
    let make = |_| Script::new(());
    let options = Options::default();
    assert!(matches!(
        run(&[], make, Vec::new(), &options),
        Err(StartError::NoCores)
    ));
    let mut cores = specs(2);
    cores[1].cpu = Some(1023);
    assert!(matches!(
        run(&cores, make, Vec::new(), &options),
        Err(StartError::CpuNotAvailable { cpu: 1023, .. })
    ));
}

#[test]
fn cores_are_pinned_and_named_as_asked() {
    let cpus = available_cpus().unwrap();
    let cores: Vec<_> = (0..2)
        .map(|index| CoreSpec {
            name: format!("pinned-{index}"),
            cpu: Some(cpus[index % cpus.len()]),
        })
        .collect();
    let wanted = cores.clone();
    let make = move |index: usize| {
        let cpu: &CoreSpec = &wanted[index];
        assert_eq!(available_cpus().unwrap(), [cpu.cpu.unwrap()]);
        assert_eq!(std::thread::current().name(), Some(cpu.name.as_str()));
        let mut script = Script::new(());
        script.turn = |_, _| Next::Stop;
        script
    };
    run(&cores, make, Vec::new(), &Options::default()).unwrap();
}
