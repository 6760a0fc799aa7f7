//! The replication shard's core: its state machine bound to sockets and rings.

use std::io::IoSlice;
use std::sync::Arc;

use super::node::{Envelope, Shared, WRITE_PIECES, flush_outbox};
use super::saves::Saves;
use crate::command::Now;
use crate::command::replicating::FollowRequest;
use crate::replication::Replication;
use crate::rt::{self, ConnId, Io, Next, Socket, WriteResult};

/// Bytes that one follower gets in one turn: the others, and the shards, want theirs too.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// The stop of the node as far as this core has to do with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It comes when the data is saved, or, with the flag, in any case.
    Saving(bool),
    /// Core 0 is to be told.
    Tell,
    /// It has been told.
    Told,
}

/// The replication shard.
pub(super) struct ReplicationCore {
    shards: usize,
    shared: Arc<Shared>,
    replication: Replication,
    saves: Saves,
    /// The node ends when it is saved; whether in any case.
    stop: Option<Stop>,
    /// The connection of each follower, by its handle.
    followers: Vec<(u64, ConnId)>,
    next_handle: u64,
    began: bool,
    ending: bool,
}

impl ReplicationCore {
    pub(super) fn new(shared: &Arc<Shared>) -> ReplicationCore {
        let mut seed = [0; 8];
        rt::sys::fill_random(&mut seed);
        ReplicationCore {
            shards: shared.shards,
            shared: shared.clone(),
            saves: Saves::new(shared),
            stop: None,
            replication: Replication::new(
                shared.shards,
                shared.config.clone(),
                shared.node.replication_id.clone(),
                shared.hasher,
                u64::from_le_bytes(seed),
            ),
            followers: Vec::new(),
            next_handle: 0,
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
                self.replication.set_config(config.clone());
                self.saves.set_config(config);
            }
            Envelope::SaveAndStop { force } => {
                if self.stop.is_none() {
                    self.stop = Some(Stop::Saving(force));
                    self.replication.save_for_the_end();
                }
            }
            Envelope::End => self.ending = true,
            Envelope::Connection(..) | Envelope::Finish | Envelope::Finished => {
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
        if let Some(handle) = self.handle_of(conn) {
            self.replication.follower_read(handle, data);
        }
    }

    pub(super) fn closed(&mut self, io: &mut Io<Envelope>, conn: ConnId) {
        self.begin(io);
        if let Some(handle) = self.handle_of(conn) {
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

    /// Goes on with saves, and with the load at the start. Returns when it must be called again.
    fn turn_files(&mut self, io: &mut Io<Envelope>) -> u64 {
        let now_ns = io.now().monotonic_ns;
        let mut due_ns = u64::MAX;
        if self.stop.is_none_or(|stop| matches!(stop, Stop::Saving(_))) {
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
            }
            self.stop = (saved || force).then_some(Stop::Tell);
        }
        if self.stop == Some(Stop::Tell) {
            match io.push(0, Envelope::Finish) {
                Ok(()) => self.stop = Some(Stop::Told),
                Err(_) => due_ns = now_ns,
            }
        }
        due_ns
    }

    pub(super) fn turn(&mut self, io: &mut Io<Envelope>) -> Next {
        self.begin(io);
        let due_ns = self.replication.turn();
        let due_ns = due_ns.min(self.turn_files(io));
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
