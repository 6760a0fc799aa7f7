//! The replication shard's core: its state machine bound to sockets and rings.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::node::{Envelope, Shared, StopHow, WRITE_PIECES, flush_outbox};
use super::saves::Saves;
use crate::command::Now;
use crate::command::replicating::FollowRequest;
use crate::config::Config;
use crate::replication::Replication;
use crate::rt::{self, Closed, ConnId, Io, Next, Socket, WriteResult};

/// Bytes that one follower gets in one turn: the others, and the shards, want theirs too.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// The stop of the node as far as this core has to do with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It comes when followers have everything and the data is saved.
    Parting(StopHow),
    /// It comes when the data is saved, or, with the flag, in any case.
    Saving(bool),
    /// Core 0 is to be told that it does not come.
    Stay,
    /// Core 0 is to be told.
    Tell,
    /// It has been told.
    Told,
}

/// The way to the leader: its address when that is known, then the connection.
#[derive(Default)]
struct Link {
    conn: Option<ConnId>,
    /// It is there.
    connected: bool,
    /// A thread looks the name up, and says here what it found.
    lookup: Option<Receiver<io::Result<SocketAddr>>>,
}

impl Link {
    /// Finds the address of `host`; a name takes a thread of its own, as looking it up may block.
    fn look_up(&mut self, host: String, port: u16) {
        let (found, lookup) = channel();
        self.lookup = Some(lookup);
        if let Ok(address) = host.parse::<IpAddr>() {
            // The receiver is right here.
            let _ = found.send(Ok((address, port).into()));
            return;
        }
        std::thread::spawn(move || {
            let address = (host.as_str(), port)
                .to_socket_addrs()
                .and_then(|mut all| all.next().ok_or(io::ErrorKind::NotFound.into()));
            // Nobody waits for it when another leader was named meanwhile.
            let _ = found.send(address);
        });
    }

    /// What the lookup found, once.
    fn looked_up(&mut self) -> Option<io::Result<SocketAddr>> {
        let found = match self.lookup.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(io::ErrorKind::NotFound.into()),
            Ok(found) => found,
        };
        self.lookup = None;
        Some(found)
    }
}

/// The replication shard.
pub(super) struct ReplicationCore {
    shards: usize,
    shared: Arc<Shared>,
    replication: Replication,
    saves: Saves,
    /// The node ends when it is saved; whether in any case.
    stop: Option<Stop>,
    config: Arc<Config>,
    /// The connection of each follower, by its handle.
    followers: Vec<(u64, ConnId)>,
    next_handle: u64,
    /// The way to the leader.
    link: Link,
    began: bool,
    ending: bool,
}

impl ReplicationCore {
    pub(super) fn new(shared: &Arc<Shared>) -> ReplicationCore {
        let mut seed = [0; 8];
        rt::sys::fill_random(&mut seed);
        let mut replication = Replication::new(
            shared.shards,
            shared.config.clone(),
            shared.node.replication_id.clone(),
            shared.hasher,
            u64::from_le_bytes(seed),
        );
        if shared.load.is_some() {
            replication.expect_load();
        }
        ReplicationCore {
            shards: shared.shards,
            shared: shared.clone(),
            saves: Saves::new(shared),
            stop: None,
            config: shared.config.clone(),
            replication,
            followers: Vec::new(),
            next_handle: 0,
            link: Link::default(),
            began: false,
            ending: false,
        }
    }

    /// The first callback of a turn tells the state machine the time.
    fn begin(&mut self, io: &Io<Envelope>) {
        if !self.began {
            self.began = true;
            let now = io.now();
            self.replication.begin_turn(Now {
                wall_us: now.wall_us as i64,
                mono_ns: now.monotonic_ns,
            });
        }
    }

    pub(super) fn message(&mut self, io: &mut Io<Envelope>, from: usize, message: Envelope) {
        self.begin(io);
        match message {
            Envelope::Mesh(message) => self.replication.deliver(from, message),
            Envelope::Follower(socket, request, input) => {
                self.adopt(io, socket, *request, &input);
            }
            Envelope::Config(config) => {
                self.config = config.clone();
                self.replication.set_config(config.clone());
                self.saves.set_config(config);
            }
            Envelope::Stop { how } => {
                if self.stop.is_none() {
                    self.stop = Some(Stop::Parting(how));
                    match how.waits {
                        true => self.replication.part_for_the_end(),
                        false => self.part(how),
                    }
                }
            }
            Envelope::End => self.ending = true,
            Envelope::Connection(..) | Envelope::Finish | Envelope::Finished | Envelope::Stay => {
                unreachable!("clients stay on data cores")
            }
        }
    }

    fn adopt(
        &mut self,
        io: &mut Io<Envelope>,
        socket: Socket,
        request: FollowRequest,
        input: &[u8],
    ) {
        let conn = io.adopt(socket);
        let handle = self.next_handle;
        self.next_handle += 1;
        self.followers.push((handle, conn));
        self.replication.add_follower(handle, request);
        if !input.is_empty() {
            self.replication.follower_read(handle, input);
        }
    }

    fn handle_of(&self, conn: ConnId) -> Option<u64> {
        self.followers
            .iter()
            .find(|(_, of)| *of == conn)
            .map(|(handle, _)| *handle)
    }

    pub(super) fn received(&mut self, io: &mut Io<Envelope>, conn: ConnId, data: &[u8]) {
        self.begin(io);
        if self.link.conn == Some(conn) {
            self.replication.link_read(data);
        } else if let Some(handle) = self.handle_of(conn) {
            self.replication.follower_read(handle, data);
        }
    }

    /// A connection takes bytes, which the turn sends; or one that was begun is there.
    pub(super) fn writable(&mut self, io: &mut Io<Envelope>, conn: ConnId) {
        self.begin(io);
        if self.link.conn == Some(conn) && !self.link.connected {
            self.link.connected = true;
            self.replication.link_connected();
        }
    }

    pub(super) fn closed(&mut self, io: &mut Io<Envelope>, conn: ConnId, why: &Closed) {
        self.begin(io);
        if self.link.conn == Some(conn) {
            self.link = Link::default();
            let why = match why {
                Closed::EndOfFile => "the connection was closed".into(),
                Closed::Failed(error) => error.to_string(),
            };
            self.replication.link_lost(&why);
        } else if let Some(handle) = self.handle_of(conn) {
            self.followers.retain(|(of, _)| *of != handle);
            self.replication.remove_follower(handle);
        }
    }

    /// Sends a follower what its socket takes. False when it is gone.
    fn flush(&mut self, io: &mut Io<Envelope>, handle: u64, conn: ConnId) -> bool {
        let mut left = TURN_BYTES_MAX;
        let mut full = false;
        loop {
            let mut pieces = [IoSlice::new(&[]); WRITE_PIECES];
            let count = self.replication.pieces(handle, &mut pieces);
            if count == 0 || left == 0 {
                break;
            }
            match io.write(conn, &pieces[..count]) {
                WriteResult::Wrote(bytes) => {
                    self.replication.advance(handle, bytes);
                    left = left.saturating_sub(bytes);
                }
                WriteResult::WouldBlock => {
                    full = true;
                    break;
                }
                WriteResult::Failed => return false,
            }
        }
        // A socket that takes more is asked again in the next turn, which this brings about.
        io.want_writable(conn, full || left == 0);
        !self.replication.wants_close(handle)
    }

    /// Followers have everything, or are not waited for.
    fn part(&mut self, how: StopHow) {
        self.stop = Some(match how.saves {
            true => Stop::Saving(how.force),
            false => Stop::Tell,
        });
        if how.saves {
            self.replication.save_for_the_end();
        }
    }

    /// Goes on with saves, and with the load at the start. Returns when it must be called again.
    fn turn_files(&mut self, io: &mut Io<Envelope>) -> u64 {
        let now_ns = io.now().monotonic_ns;
        let mut due_ns = u64::MAX;
        if let Some(Stop::Parting(how)) = self.stop {
            match self.replication.parted() {
                Some(true) => self.part(how),
                Some(false) => self.stop = Some(Stop::Stay),
                None => {}
            }
        }
        if !matches!(self.stop, Some(Stop::Tell | Stop::Told)) {
            match self.saves.turn(&mut self.replication, now_ns) {
                Ok(at_ns) => due_ns = at_ns,
                Err(why) => {
                    self.shared.fail(why);
                    self.stop = Some(Stop::Tell);
                }
            }
        }
        if let Some(Stop::Saving(force)) = self.stop
            && let Some(saved) = self.replication.saved_for_the_end()
        {
            if !saved && !force {
                tracing::error!("Error trying to save the DB, can't exit.");
                self.replication.stay();
            }
            self.stop = Some(if saved || force {
                Stop::Tell
            } else {
                Stop::Stay
            });
        }
        if self.stop == Some(Stop::Stay) {
            match io.push(0, Envelope::Stay) {
                Ok(()) => self.stop = None,
                Err(_) => due_ns = now_ns,
            }
        }
        if self.stop == Some(Stop::Tell) {
            match io.push(0, Envelope::Finish) {
                Ok(()) => self.stop = Some(Stop::Told),
                Err(_) => due_ns = now_ns,
            }
        }
        due_ns
    }

    /// Makes, feeds, holds back or closes the connection to the leader.
    fn serve_link(&mut self, io: &mut Io<Envelope>) {
        if self.replication.link_drop() {
            if let Some(conn) = self.link.conn {
                io.close(conn);
            }
            self.link = Link::default();
        }
        if let Some((host, port)) = self.replication.link_connect() {
            self.link = Link::default();
            self.link.look_up(host, port);
        }
        if let Some(address) = self.link.looked_up() {
            let source = self.config.bind_source_addr.parse().ok();
            let begun = address.and_then(|address| io.connect(address, source));
            match begun {
                Ok(conn) => self.link.conn = Some(conn),
                Err(error) => self.replication.link_lost(&error.to_string()),
            }
        }
        let Some(conn) = self.link.conn.filter(|_| self.link.connected) else {
            return;
        };
        let out = self.replication.link_output();
        let mut full = false;
        if !out.is_empty() {
            match io.write(conn, &[IoSlice::new(out)]) {
                WriteResult::Wrote(bytes) => {
                    full = bytes < out.len();
                    self.replication.link_sent(bytes);
                }
                WriteResult::WouldBlock => full = true,
                WriteResult::Failed => {
                    io.close(conn);
                    self.link = Link::default();
                    return self
                        .replication
                        .link_lost("the connection cannot be written to");
                }
            }
        }
        io.want_writable(conn, full);
        match self.replication.link_reads() {
            true => io.resume_reading(conn),
            false => io.pause_reading(conn),
        }
    }

    pub(super) fn turn(&mut self, io: &mut Io<Envelope>) -> Next {
        self.begin(io);
        let due_ns = self.replication.turn();
        let due_ns = due_ns.min(self.turn_files(io));
        self.serve_link(io);
        for (handle, conn) in self.followers.clone() {
            if !self.flush(io, handle, conn) {
                io.close(conn);
                self.followers.retain(|(of, _)| *of != handle);
                self.replication.remove_follower(handle);
            }
        }
        // What was sent may let the shards' walks go on.
        self.replication.take_round();
        for shard in 0..self.shards {
            flush_outbox(io, shard, self.replication.outbox(shard));
        }
        self.began = false;
        if self.ending {
            return Next::Stop;
        }
        Next::At(due_ns)
    }
}
