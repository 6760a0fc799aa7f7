//! What a core may do to the world from inside a callback: connections, messages, listeners, time.
//!
//! Everything here takes effect at once (writes, closes, pushes) or at the end of the turn (changes of what a
//! connection waits for, wakes of peers); nothing blocks and nothing calls back into the core.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::clock::{Now, monotonic_ns_fresh};
use super::mesh::Outbound;
use super::net::{self, Listener, Socket};
use super::slab::{Conn, ConnId, Interest, Slab};

/// The kernel takes at most this many pieces in one send.
pub const WRITE_PIECES_MAX: usize = 1024;

/// Tokens of the loop's own descriptors: generation 0, so that no connection has them.
pub(super) const TOKEN_WAKE: u64 = 0;
pub(super) const TOKEN_SIGNAL: u64 = 1;
pub(super) const TOKEN_LISTENER: u64 = 16;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    /// The kernel took this many bytes, perhaps fewer than were offered: offer the rest again, or wait for
    /// [`Core::writable`](super::Core::writable).
    Wrote(usize),
    /// The socket's buffer is full.
    WouldBlock,
    /// The connection is gone: close it. (The loop may report it closed as well, if that comes first.)
    Failed,
}

/// What a core has done since it started. Plain data of one core; others read a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rounds of the loop.
    pub turns: u64,
    /// All system calls that the loop and its [`Io`] made.
    pub system_calls: u64,
    /// Waits in which the kernel was allowed to put the thread to sleep.
    pub sleeps: u64,
    /// Sleeping peers that this core woke, each by a system call.
    pub wakes_sent: u64,
    pub messages_sent: u64,
    pub messages_received: u64,
    /// Pushes that found the ring full.
    pub messages_refused: u64,
    pub accepted: u64,
    /// Receives that brought bytes, and how many.
    pub receives: u64,
    pub received_bytes: u64,
    /// Sends that took bytes, and how many.
    pub sends: u64,
    pub sent_bytes: u64,
}

pub(super) struct Listening {
    /// None once it was closed on its own; its token is not used again.
    pub listener: Option<Listener>,
    /// Out of descriptors or memory: not asked again before this moment (monotonic).
    pub paused_until_ns: Option<u64>,
}

/// One core's hands. Lives in the core's loop and is lent to every callback; never leaves its thread.
/// `M` is the message type of the mesh.
pub struct Io<M> {
    core: usize,
    pub(super) epoll: OwnedFd,
    pub(super) conns: Slab,
    /// Connections whose interest differs (or differed for a moment) from what the kernel was told.
    changed: Vec<ConnId>,
    /// Connections that could not be registered: reported closed in the same turn.
    pub(super) broken: Vec<ConnId>,
    pub(super) listening: Vec<Listening>,
    pub(super) outbound: Outbound<M>,
    pub(super) now: Now,
    pub(super) counters: Counters,
}

impl<M> Io<M> {
    pub(super) fn new(core: usize, outbound: Outbound<M>) -> rustix::io::Result<Self> {
        Ok(Self {
            core,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            conns: Slab::new(),
            changed: Vec::new(),
            broken: Vec::new(),
            listening: Vec::new(),
            outbound,
            now: Now::read(),
            counters: Counters::default(),
        })
    }

    /// The number of this core.
    pub fn core_index(&self) -> usize {
        self.core
    }

    /// The number of cores in the mesh.
    pub fn core_count(&self) -> usize {
        self.outbound.core_count()
    }

    /// The moment at which this turn started.
    pub fn now(&self) -> Now {
        self.now
    }

    /// See [`monotonic_ns_fresh`].
    pub fn monotonic_ns_fresh(&self) -> u64 {
        monotonic_ns_fresh()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The number of connections that this core serves.
    pub fn connection_count(&self) -> usize {
        self.conns.len()
    }

    /// Serves this connection from now on. Should the kernel refuse to watch it, the connection is reported
    /// closed before the turn ends.
    pub fn adopt(&mut self, socket: Socket) -> ConnId {
        let (fd, unix) = socket.into_parts();
        let wanted = Interest {
            read: true,
            write: false,
        };
        let id = self.conns.insert(Conn {
            fd,
            wanted,
            registered: None,
            changed: false,
            input_ended: false,
            connecting: false,
            unix,
        });
        self.register(id);
        id
    }

    /// Begins a connection to `address`, from `source` if given. When it is there, [`Core::writable`](super::Core::writable)
    /// says so; when it fails, [`Core::closed`](super::Core::closed) does. An error: it cannot even begin.
    pub fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>) -> io::Result<ConnId> {
        self.counters.system_calls += 3;
        let fd = net::begin_connection(address, source)?;
        let wanted = Interest {
            read: true,
            write: true,
        };
        let id = self.conns.insert(Conn {
            fd,
            wanted,
            registered: None,
            changed: false,
            input_ended: false,
            connecting: true,
            unix: false,
        });
        self.register(id);
        Ok(id)
    }

    /// Sends as much of `pieces` as the socket takes now. At most [`WRITE_PIECES_MAX`] pieces are looked at.
    pub fn write(&mut self, conn: ConnId, pieces: &[IoSlice<'_>]) -> WriteResult {
        let Some(found) = self.conns.get(conn) else {
            return WriteResult::Failed;
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            self.counters.system_calls += 1;
            let sent = match pieces {
                [] => return WriteResult::Wrote(0),
                [piece] => rustix::net::send(&found.fd, piece, flags),
                _ => {
                    let pieces = &pieces[..pieces.len().min(WRITE_PIECES_MAX)];
                    let mut no_control = SendAncillaryBuffer::default();
                    rustix::net::sendmsg(&found.fd, pieces, &mut no_control, flags)
                }
            };
            match sent {
                Ok(bytes) => {
                    self.counters.sends += 1;
                    self.counters.sent_bytes += bytes as u64;
                    return WriteResult::Wrote(bytes);
                }
                Err(Errno::WOULDBLOCK) => return WriteResult::WouldBlock,
                Err(Errno::INTR) => {}
                Err(_) => return WriteResult::Failed,
            }
        }
    }

    /// Asks for [`Core::writable`](super::Core::writable) in every turn in which the socket takes bytes,
    /// until told otherwise.
    pub fn want_writable(&mut self, conn: ConnId, want: bool) {
        self.change(conn, |wanted| wanted.write = want);
    }

    /// Leaves the connection's bytes in the kernel, so that its peer feels the back-pressure. An end of file
    /// is noticed only after reading resumed, a broken connection at once.
    pub fn pause_reading(&mut self, conn: ConnId) {
        self.change(conn, |wanted| wanted.read = false);
    }

    /// Undoes [`Io::pause_reading`].
    pub fn resume_reading(&mut self, conn: ConnId) {
        let input_ended = self.conns.get(conn).is_some_and(|conn| conn.input_ended);
        if !input_ended {
            self.change(conn, |wanted| wanted.read = true);
        }
    }

    /// Closes at once; bytes already written still reach the peer. Safe in any callback, also for the
    /// connection at hand; the core is not told of a close of its own.
    pub fn close(&mut self, conn: ConnId) {
        if self.conns.remove(conn).is_some() {
            // Closing the only descriptor of a socket also ends its registration.
            self.counters.system_calls += 1;
        }
    }

    /// Gives a connection up to whoever serves it from now on; its id is dead.
    pub fn take(&mut self, conn: ConnId) -> Option<Socket> {
        self.unregister(conn);
        let conn = self.conns.remove(conn)?;
        Some(Socket::from_parts(conn.fd))
    }

    /// Is this a connection of this core that still exists?
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some()
    }

    /// The peer's address; none on a unix socket or when the connection is gone.
    pub fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        net::peer_addr(self.conns.get(conn)?.fd.as_fd())
    }

    /// Our end's address; none on a unix socket or when the connection is gone.
    pub fn local_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        net::local_addr(self.conns.get(conn)?.fd.as_fd())
    }

    /// The number of the descriptor, for CLIENT LIST.
    pub fn fd(&self, conn: ConnId) -> Option<i32> {
        Some(self.conns.get(conn)?.fd.as_raw_fd())
    }

    /// Probes a silent peer after `idle_s` seconds, three times within as much again, then closes; zero
    /// switches probing off. A unix socket needs none of it.
    pub fn set_keepalive(&mut self, conn: ConnId, idle_s: u32) -> io::Result<()> {
        match self.conns.get(conn) {
            Some(found) if !found.unix => net::set_keepalive(found.fd.as_fd(), idle_s),
            _ => Ok(()),
        }
    }

    /// Hands `message` to a core (also to this one), or gives it back when the ring is full. After that the
    /// core's `turn` is called again once there is room, even if it goes idle: it need not poll.
    ///
    /// A message for a core that has ended is dropped.
    pub fn push(&mut self, peer: usize, message: M) -> Result<(), M> {
        let pushed = self.outbound.push(peer, message);
        match &pushed {
            Ok(()) => self.counters.messages_sent += 1,
            Err(_) => self.counters.messages_refused += 1,
        }
        pushed
    }

    /// Accepts connections from this listener, too, until [`Io::stop_listening`].
    pub fn listen(&mut self, listener: Listener) -> io::Result<()> {
        self.counters.system_calls += 1;
        let token = TOKEN_LISTENER + self.listening.len() as u64;
        let data = EventData::new_u64(token);
        epoll::add(&self.epoll, listener.fd(), data, EventFlags::IN)?;
        self.listening.push(Listening {
            listener: Some(listener),
            paused_until_ns: None,
        });
        Ok(())
    }

    /// Closes all listeners of this core; the files of unix sockets go with them.
    pub fn stop_listening(&mut self) {
        self.counters.system_calls += self.listening.len() as u64;
        self.listening.clear();
    }

    /// Closes the listeners of this core that are no unix sockets.
    pub fn stop_listening_tcp(&mut self) {
        for listening in &mut self.listening {
            if listening
                .listener
                .as_ref()
                .is_some_and(|listener| listener.path().is_none())
            {
                self.counters.system_calls += 1;
                listening.listener = None;
            }
        }
    }

    fn change(&mut self, id: ConnId, edit: impl FnOnce(&mut Interest)) {
        if let Some(conn) = self.conns.get_mut(id) {
            edit(&mut conn.wanted);
            if !conn.changed {
                conn.changed = true;
                self.changed.push(id);
            }
        }
    }

    /// The end of a turn: tells the kernel what connections wait for now, and wakes peers. Many changes of
    /// one connection in one turn cost one call, or none when they cancel out.
    pub(super) fn finish_turn(&mut self) {
        while let Some(id) = self.changed.pop() {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.changed = false;
                if conn.registered != Some(conn.wanted) {
                    self.register(id);
                }
            }
        }
        let wakes = self.outbound.wake_peers();
        self.counters.wakes_sent += wakes;
        self.counters.system_calls += wakes;
    }

    /// Brings the kernel's idea of a connection's interest up to date.
    fn register(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, conn.wanted.read);
        flags.set(EventFlags::OUT, conn.wanted.write);
        let data = EventData::new_u64(id.token());
        self.counters.system_calls += 1;
        let done = match conn.registered {
            None => epoll::add(&self.epoll, &conn.fd, data, flags),
            Some(_) => epoll::modify(&self.epoll, &conn.fd, data, flags),
        };
        match done {
            Ok(()) => conn.registered = Some(conn.wanted),
            // Out of kernel memory or over max_user_watches: a connection that nobody watches is as good
            // as lost, so say it is.
            Err(_) => self.broken.push(id),
        }
    }

    /// Takes a connection out of the kernel's sight until its interest changes again: it has hung up, which
    /// the kernel reports in every wait whatever one asks for, and the core does not want to read yet.
    pub(super) fn unregister(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && conn.registered.take().is_some()
        {
            self.counters.system_calls += 1;
            // It was registered, and stays open.
            epoll::delete(&self.epoll, &conn.fd).expect("the descriptor is registered");
        }
    }
}
