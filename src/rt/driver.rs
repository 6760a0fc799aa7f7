//! The loop of one core: events in, callbacks, and sleep when there is nothing to do.
//!
//! ```text
//!   ┌▶ gather   epoll: no wait while there is work; else flag, look again, sleep until the deadline
//!   │  now      both clocks, once
//!   │  events   per ready connection at most one receive into the core's one buffer (or the core's own)
//!   │  mesh     a bounded number of messages from each peer
//!   │  turn     the core flushes its outboxes and sockets, says when it must run again
//!   └─ finish   interest changes to the kernel, wakes to sleeping peers
//! ```
//!
//! Invariants:
//! - Readiness is level-triggered: what one turn leaves unread or unaccepted is reported again in the next,
//!   behind the others (the kernel's ready list is a queue). So fairness needs no list here.
//! - After every callback the connection is looked up again: the core may have closed it, or any other.
//! - The loop never blocks except in the one wait, and never there while a message or room is waiting.

use std::os::fd::OwnedFd;

use bytes::BytesMut;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::time::Timespec;

use super::clock::{Now, monotonic_ns_fresh};
use super::io::{Io, TOKEN_LISTENER, TOKEN_SIGNAL, TOKEN_WAKE};
use super::mesh::{Inbound, Outbound};
use super::net::Listener;
use super::signals;
use super::slab::ConnId;
use super::{Closed, Core, Next, Options};

/// Messages taken from one peer in one turn.
const MESSAGES_PER_PEER_MAX: usize = 64;
/// Connections accepted from one listener in one turn.
const ACCEPTS_MAX: usize = 64;
/// Rest of a listener after the process ran out of descriptors or memory.
const ACCEPT_PAUSE_NS: u64 = 100_000_000;
/// Distance between two complaints about accepting.
const ACCEPT_LOG_NS: u64 = 1_000_000_000;

/// One core's loop. Lives in the core's thread, as the only task of its executor.
pub(super) struct Driver<C: Core> {
    core: C,
    io: Io<C::Message>,
    inbound: Inbound<C::Message>,
    signals: Option<OwnedFd>,
    buffer: Box<[u8]>,
    events: Vec<Event>,
    options: Options,
    /// Some peer's ring was left non-empty: no sleep.
    backlog: bool,
    /// The last look at the kernel found something: the next one probably does, too.
    busy: bool,
    accept_logged_ns: Option<u64>,
}

/// The part of a driver that needs the system and may fail, made before the core exists.
pub(super) struct Parts<M> {
    io: Io<M>,
    inbound: Inbound<M>,
    signals: Option<OwnedFd>,
}

impl<M> Parts<M> {
    /// Called in the core's thread: a signal descriptor serves the thread that waits on it.
    pub fn new(
        core: usize,
        (outbound, inbound): (Outbound<M>, Inbound<M>),
        listeners: Vec<Listener>,
        with_signals: bool,
    ) -> std::io::Result<Self> {
        let mut io = Io::new(core, outbound)?;
        for listener in listeners {
            io.listen(listener)?;
        }
        // Edge-triggered: each wake is reported once, and the counter need never be read down.
        let edge = EventFlags::IN | EventFlags::ET;
        let data = EventData::new_u64(TOKEN_WAKE);
        epoll::add(&io.epoll, inbound.event(), data, edge)?;
        let mut signals = None;
        if with_signals {
            let fd = signals::descriptor()?;
            let data = EventData::new_u64(TOKEN_SIGNAL);
            epoll::add(&io.epoll, &fd, data, EventFlags::IN)?;
            signals = Some(fd);
        }
        Ok(Self {
            io,
            inbound,
            signals,
        })
    }
}

impl<C: Core> Driver<C> {
    pub fn new(core: C, parts: Parts<C::Message>, options: Options) -> Self {
        Self {
            core,
            io: parts.io,
            inbound: parts.inbound,
            signals: parts.signals,
            buffer: vec![0; options.read_bytes_max.max(1)].into(),
            events: Vec::with_capacity(options.events_max.max(1)),
            options,
            backlog: false,
            busy: true,
            accept_logged_ns: None,
        }
    }

    /// Runs until the core says stop.
    pub fn run(mut self) {
        let mut next = self.finish_turn();
        while next != Next::Stop {
            self.gather(next);
            self.io.now = Now::read();
            self.dispatch();
            self.receive_messages();
            next = self.finish_turn();
        }
    }

    fn finish_turn(&mut self) -> Next {
        self.io.counters.turns += 1;
        self.report_broken();
        let next = self.core.turn(&mut self.io);
        self.io.finish_turn();
        next
    }

    /// Collects ready descriptors into `events`; sleeps if there is nothing else to do.
    fn gather(&mut self, next: Next) {
        let due = match next {
            Next::Now => true,
            Next::At(deadline_ns) => deadline_ns <= self.io.now.monotonic_ns,
            Next::Idle | Next::Stop => false,
        };
        if due || self.backlog || !self.io.broken.is_empty() {
            return self.poll();
        }
        // With peers, a core that raises its flag makes them send wakes, so a core that was busy looks
        // without the flag first. Alone, the waiting call is as quick and finds the same.
        if self.inbound.core_count() > 1 && (self.busy || self.inbound.has_work()) {
            self.poll();
            if self.has_work() {
                return;
            }
        }
        if self.options.spin_us > 0 {
            self.spin(next);
            if self.has_work() {
                return;
            }
        }
        if !self.inbound.prepare_to_sleep() {
            return self.poll();
        }
        // Measured from here, not from the start of the turn, which may have been a long one.
        let timeout = self.deadline_ns(next).map(|deadline_ns| {
            let left_ns = deadline_ns.saturating_sub(monotonic_ns_fresh());
            Timespec {
                tv_sec: (left_ns / 1_000_000_000) as i64,
                tv_nsec: (left_ns % 1_000_000_000) as i64,
            }
        });
        self.io.counters.sleeps += 1;
        self.wait(timeout.as_ref());
        self.inbound.awake();
    }

    fn has_work(&self) -> bool {
        !self.events.is_empty() || self.inbound.has_work()
    }

    /// The earliest moment at which this loop must run: the core's, or that of a resting listener.
    fn deadline_ns(&self, next: Next) -> Option<u64> {
        let core = match next {
            Next::At(deadline_ns) => Some(deadline_ns),
            _ => None,
        };
        let paused = self.io.listening.iter().filter_map(|l| l.paused_until_ns);
        paused.chain(core).min()
    }

    fn poll(&mut self) {
        self.wait(Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }));
    }

    fn wait(&mut self, timeout: Option<&Timespec>) {
        self.io.counters.system_calls += 1;
        self.events.clear();
        match epoll::wait(&self.io.epoll, spare_capacity(&mut self.events), timeout) {
            Ok(_) => {}
            // A stop and continue of the process, for one: simply a turn with no events.
            Err(Errno::INTR) => {}
            Err(error) => panic!("waiting for events failed: {error}"),
        }
        self.busy = !self.events.is_empty();
    }

    /// Watches the rings for a few microseconds, which is cheaper than a sleep if something comes; then looks
    /// at the sockets once more.
    fn spin(&mut self, next: Next) {
        let mut end_ns = monotonic_ns_fresh() + self.options.spin_us * 1_000;
        if let Some(deadline_ns) = self.deadline_ns(next) {
            end_ns = end_ns.min(deadline_ns);
        }
        while !self.inbound.has_work() && monotonic_ns_fresh() < end_ns {
            std::hint::spin_loop();
        }
        self.poll();
    }

    fn dispatch(&mut self) {
        self.resume_listeners();
        // Taken out for the loop, so that the callbacks may borrow the rest; its memory is reused.
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let token = event.data.u64();
            let flags = event.flags;
            match ConnId::from_token(token) {
                Some(conn) => self.connection_ready(conn, flags),
                None if token == TOKEN_WAKE => {}
                None if token == TOKEN_SIGNAL => self.read_signals(),
                None => self.accept((token - TOKEN_LISTENER) as usize),
            }
        }
        self.events = events;
    }

    fn read_signals(&mut self) {
        while let Some(fd) = &self.signals {
            self.io.counters.system_calls += 1;
            match signals::read(fd) {
                Some(signal) => self.core.signal(&mut self.io, signal),
                None => return,
            }
        }
    }

    fn connection_ready(&mut self, id: ConnId, flags: EventFlags) {
        let broken = EventFlags::ERR | EventFlags::HUP;
        let Some(conn) = self.io.conns.get(id) else {
            return;
        };
        let connecting = conn.connecting;
        if connecting && !self.has_connected(id) {
            return;
        }
        let Some(conn) = self.io.conns.get(id) else {
            return;
        };
        if (conn.wanted.write || connecting) && flags.intersects(EventFlags::OUT | broken) {
            self.core.writable(&mut self.io, id);
        }
        let Some(conn) = self.io.conns.get(id) else {
            return;
        };
        if conn.wanted.read {
            if flags.intersects(EventFlags::IN | broken) {
                self.receive(id);
            }
        } else if flags.contains(EventFlags::ERR) || (conn.input_ended && flags.intersects(broken))
        {
            let error = rustix::net::sockopt::socket_error(&conn.fd);
            self.io.counters.system_calls += 1;
            let error = error.and_then(|error| error.err().map_or(Ok(Errno::PIPE), Ok));
            let errno = error.unwrap_or(Errno::PIPE);
            self.closed(id, Closed::Failed(errno.into()));
        } else if flags.contains(EventFlags::HUP) && !conn.wanted.write {
            // The bytes that came before the hang-up are still to be read when the core wants them.
            self.io.unregister(id);
        }
    }

    /// The kernel has an answer for a connection that was begun here: false when it failed, which is reported.
    fn has_connected(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.io.conns.get_mut(id) else {
            return false;
        };
        conn.connecting = false;
        self.io.counters.system_calls += 1;
        match rustix::net::sockopt::socket_error(&conn.fd) {
            Ok(Ok(())) => true,
            Ok(Err(errno)) | Err(errno) => {
                self.closed(id, Closed::Failed(errno.into()));
                false
            }
        }
    }

    /// One receive: into the core's own buffer if it has one ready, else into the shared one.
    fn receive(&mut self, id: ConnId) {
        let Some(conn) = self.io.conns.get(id) else {
            return;
        };
        self.io.counters.system_calls += 1;
        let mut filled = false;
        let received = match self.core.read_target(id) {
            Some(target) if target.room(self.options.large_read_bytes_max) > 0 => {
                filled = true;
                target.receive(&conn.fd, self.options.large_read_bytes_max)
            }
            _ => rustix::net::recv(&conn.fd, &mut self.buffer[..], RecvFlags::DONTWAIT)
                .map(|(_, bytes)| bytes),
        };
        match received {
            Ok(0) => self.input_ended(id),
            Ok(bytes) => {
                self.io.counters.receives += 1;
                self.io.counters.received_bytes += bytes as u64;
                if filled {
                    self.core.filled(&mut self.io, id, bytes);
                } else {
                    let data = &self.buffer[..bytes];
                    self.core.received(&mut self.io, id, data);
                }
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => self.closed(id, Closed::Failed(error.into())),
        }
    }

    fn input_ended(&mut self, id: ConnId) {
        if self.core.input_ended(&mut self.io, id) {
            if let Some(conn) = self.io.conns.get_mut(id) {
                conn.input_ended = true;
            }
            self.io.pause_reading(id);
        } else {
            self.closed(id, Closed::EndOfFile);
        }
    }

    /// Ends a connection and tells the core, unless the core was quicker.
    fn closed(&mut self, id: ConnId, why: Closed) {
        if self.io.is_open(id) {
            self.io.close(id);
            self.core.closed(&mut self.io, id, why);
        }
    }

    fn report_broken(&mut self) {
        while let Some(id) = self.io.broken.pop() {
            self.closed(id, Closed::Failed(Errno::NOMEM.into()));
        }
    }

    fn receive_messages(&mut self) {
        self.inbound.take_room();
        self.backlog = false;
        for from in 0..self.inbound.core_count() {
            let mut count = 0;
            while count < MESSAGES_PER_PEER_MAX
                && let Some(message) = self.inbound.pop(from)
            {
                count += 1;
                self.core.message(&mut self.io, from, message);
            }
            if count > 0 {
                self.io.counters.messages_received += count as u64;
                self.io.outbound.note_drained(from);
                self.backlog |= count == MESSAGES_PER_PEER_MAX;
            }
        }
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_MAX {
            // Looked up each time: the core may stop listening in the callback.
            let Some(listener) = self
                .io
                .listening
                .get(index)
                .and_then(|listening| listening.listener.as_ref())
            else {
                return;
            };
            self.io.counters.system_calls += 1;
            match listener.accept() {
                Ok(socket) => {
                    self.io.counters.accepted += 1;
                    self.core.accepted(&mut self.io, socket);
                }
                Err(Errno::WOULDBLOCK) => return,
                // The peer gave up while it was in the queue: the next one may still be there.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                Err(error) => {
                    self.log_accept_failure(error);
                    // The connection stays in the queue and the listener stays ready: without a rest this
                    // would be a busy loop.
                    self.set_listener_paused(index, true);
                    return;
                }
            }
        }
    }

    fn log_accept_failure(&mut self, error: Errno) {
        let now_ns = self.io.now.monotonic_ns;
        let due = self
            .accept_logged_ns
            .is_none_or(|logged_ns| now_ns - logged_ns >= ACCEPT_LOG_NS);
        if due {
            self.accept_logged_ns = Some(now_ns);
            tracing::warn!(
                "cannot accept a connection: {}",
                std::io::Error::from(error)
            );
        }
    }

    fn resume_listeners(&mut self) {
        let now_ns = self.io.now.monotonic_ns;
        for index in 0..self.io.listening.len() {
            let paused = self.io.listening[index].paused_until_ns;
            if paused.is_some_and(|until_ns| until_ns <= now_ns) {
                self.set_listener_paused(index, false);
            }
        }
    }

    fn set_listener_paused(&mut self, index: usize, pause: bool) {
        let listening = &mut self.io.listening[index];
        let Some(listener) = &listening.listener else {
            listening.paused_until_ns = None;
            return;
        };
        let flags = if pause {
            EventFlags::empty()
        } else {
            EventFlags::IN
        };
        let data = EventData::new_u64(TOKEN_LISTENER + index as u64);
        listening.paused_until_ns = pause.then_some(self.io.now.monotonic_ns + ACCEPT_PAUSE_NS);
        self.io.counters.system_calls += 1;
        epoll::modify(&self.io.epoll, listener.fd(), data, flags)
            .expect("a listener stays registered");
    }
}

/// Where the core wants the next bytes of a connection, so that a large value is not copied out of the
/// shared buffer: the spare capacity of `buffer`, up to `bytes_max` bytes of it.
///
/// The buffer is never grown here: the core reserves what it expects.
pub struct ReadTarget<'a> {
    pub buffer: &'a mut BytesMut,
    pub bytes_max: usize,
}

impl ReadTarget<'_> {
    fn room(&self, bytes_max: usize) -> usize {
        let spare = self.buffer.capacity() - self.buffer.len();
        spare.min(self.bytes_max).min(bytes_max)
    }

    fn receive(self, fd: &OwnedFd, bytes_max: usize) -> rustix::io::Result<usize> {
        let room = self.room(bytes_max);
        let spare = &mut self.buffer.spare_capacity_mut()[..room];
        let (_, bytes) = rustix::net::recv(fd, spare, RecvFlags::DONTWAIT)?;
        let bytes = bytes.min(room);
        // SAFETY: the kernel wrote the first `bytes` bytes behind the old length, within the capacity
        // (`bytes` ≤ `room` ≤ capacity − length), so all bytes up to the new length are initialised.
        unsafe { self.buffer.set_len(self.buffer.len() + bytes) };
        Ok(bytes)
    }
}
