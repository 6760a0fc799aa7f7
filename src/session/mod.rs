//! A client connection: its parser, its replies in the order of its lines, and what it waits for.
//!
//! A session lives on one core. Lines of its own shard run as plain calls and write straight into the outgoing bytes; as long
//! as nothing is under way elsewhere there is no bookkeeping at all. When a line is under way on another core, it and all
//! lines behind it get a slot, and replies leave in the order of the slots:
//!
//! ```text
//!   slots   [ pending ][ staged 0..5 ][ pending ][ staged 5..12 ]     next line gets slot 4
//!   staged  |+OK\r\n|$1\r\na\r\n|
//! ```
//!
//! Invariants:
//! - Replies leave in the order of the lines, each exactly once, or not at all when CLIENT REPLY says so.
//! - Without slots the session has nothing under way anywhere.
//! - A line that needs several shards, or that visits cores, starts when no slot is left, and the next line starts after it.

mod after;
mod blocking;
mod coordinate;
mod core;
mod dispatch;
mod exec;
mod gate;
mod leader;
mod loading;
mod monitor;
mod multi;
mod pubsub;
mod running;
mod serving;
mod sessions;
mod snapshot;
mod tracking;
mod visits;
mod watch;

use std::collections::VecDeque;
use std::ops::Range;

pub use self::core::{Core, CoreOptions, Peer};
pub use sessions::{SessionId, Sessions};

use crate::command::replicating::FollowRequest;
use crate::command::{Client, Close, ReplyMode};
use crate::mesh::{OwnedLine, Ticket};
use crate::resp::{Output, Parser, ProtocolError};

/// Staged replies of which more than half are gone are moved together beyond this size.
const STAGED_BYTES_COMPACT: usize = 1 << 20;

/// Replies of this size are sent even if more are expected.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// One line that was not answered when a line behind it came.
#[derive(Clone, Debug)]
enum Slot {
    /// Under way; `silent`: its reply is dropped.
    Pending { silent: bool },
    /// Answered: this range of the staged replies.
    Staged(Range<usize>),
}

/// Why a session runs no further lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It does run them.
    No,
    /// The next line starts when all before it are answered.
    Drain,
    /// A transaction over several shards, or a visit of other cores, is under way.
    Away,
    /// The last line waits for keys.
    Keys,
    /// CLIENT PAUSE.
    Pause,
    /// The outbox towards this core is full.
    Outbox(usize),
}

/// One client connection.
pub struct Session {
    /// What CLIENT shows and changes.
    pub client: Client,
    /// Replies that can be sent.
    pub out: Output,
    id: SessionId,
    parser: Parser,
    /// Bytes received and not parsed yet, from the start of a line on.
    input: Vec<u8>,
    /// `input` may hold whole lines that were not run: a limit or something to wait for came first.
    lines_wait: bool,
    /// Lines parsed and not run yet: the session was blocked in the middle of a window.
    queued: VecDeque<OwnedLine>,
    /// The lines since MULTI.
    queue: Option<Box<multi::Queue>>,
    /// What it watches.
    watched: Option<Box<watch::Watched>>,
    /// What it waits for.
    waiting: Option<Box<blocking::Waiting>>,
    /// Present in the session of the leader's stream.
    applying: Option<Box<leader::Applying>>,
    /// Monitors are shown the EXEC that started last when it has run.
    shown_later: bool,
    /// What follows the queued lines is no line: answered when they have run.
    broken: Option<ProtocolError>,
    slots: VecDeque<Slot>,
    /// Number of the line in the first slot.
    first_line: u32,
    staged: Output,
    /// Bytes of `staged` that slots still refer to.
    staged_live: usize,
    blocked: Blocked,
    /// It stands in the core's list of sessions with lines to run.
    runnable: bool,
    /// It stands in the core's list of sessions with bytes to send.
    touched: bool,
    /// Wall clock since when the replies exceed the soft limit, milliseconds.
    over_soft_limit_since: Option<i64>,
    /// The client sends no more.
    input_ended: bool,
    /// Its reading is to be paused.
    pub reading_paused: bool,
    /// A handle of the transport, of no meaning here.
    pub handle: u64,
    /// It is to be handed to the replication shard, as soon as its replies are sent.
    pub handoff: Option<Box<FollowRequest>>,
}

impl Session {
    fn new(id: SessionId, mut client: Client, handle: u64) -> Session {
        client.subscriber = id.into();
        Session {
            client,
            out: Output::default(),
            id,
            parser: Parser::default(),
            input: Vec::new(),
            lines_wait: false,
            queued: VecDeque::new(),
            queue: None,
            watched: None,
            waiting: None,
            applying: None,
            shown_later: false,
            broken: None,
            slots: VecDeque::new(),
            first_line: 0,
            staged: Output::default(),
            staged_live: 0,
            blocked: Blocked::No,
            runnable: false,
            touched: false,
            over_soft_limit_since: None,
            input_ended: false,
            reading_paused: false,
            handle,
            handoff: None,
        }
    }

    /// Nothing is under way and nothing waits to be run.
    pub fn is_drained(&self) -> bool {
        self.slots.is_empty() && self.queued.is_empty() && !self.lines_wait
    }

    /// As [`Session::is_drained`], or its last line waits for keys.
    pub fn is_at_rest(&self) -> bool {
        self.is_drained() || (self.waiting.is_some() && self.slots.len() == 1)
    }

    /// Its replies wait a moment for those that are under way on other cores: one send instead of two, and for a pipeline of
    /// lines over several shards, which run one after the other, instead of one for each.
    pub fn holds_replies(&self) -> bool {
        matches!(self.blocked, Blocked::No | Blocked::Drain | Blocked::Away)
            && !self.slots.is_empty()
            && self.out.len() < HELD_BYTES_MAX
            && self.client.close.is_none()
    }

    /// It is to be closed as soon as its replies are sent. A client that hangs up while its line waits hears of nothing
    /// any more.
    pub fn wants_close(&self) -> bool {
        match self.client.close {
            Some(Close::Now) => true,
            Some(Close::AfterReply) => self.slots.is_empty(),
            None => self.input_ended && (self.is_drained() || self.waiting.is_some()),
        }
    }

    /// What it has received and not run: for whoever takes the connection over.
    pub fn take_input(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    /// Lines of this session that are under way.
    pub fn under_way(&self) -> usize {
        self.slots.len()
    }

    /// Runs `write` on the output where the next line's reply belongs. Returns what `write` does.
    #[inline]
    fn reply<T>(&mut self, write: impl FnOnce(&mut Output) -> T) -> T {
        if self.slots.is_empty() && self.client.reply_mode == ReplyMode::On {
            return write(&mut self.out);
        }
        self.reply_slowly(write)
    }

    fn reply_slowly<T>(&mut self, write: impl FnOnce(&mut Output) -> T) -> T {
        if self.client.reply_mode != ReplyMode::On {
            let mut dropped = Output::default();
            let result = write(&mut dropped);
            // CLIENT REPLY ON itself answers, and it has just changed the mode.
            if self.client.reply_mode == ReplyMode::On {
                self.stage(&dropped, 0..dropped.len());
            }
            return result;
        }
        let start = self.staged.len();
        let result = write(&mut self.staged);
        let end = self.staged.len();
        self.staged_live += end - start;
        self.slots.push_back(Slot::Staged(start..end));
        result
    }

    /// Adds a reply behind all slots.
    fn stage(&mut self, reply: &Output, range: Range<usize>) {
        if self.slots.is_empty() {
            self.out.append_range(reply, range);
            return;
        }
        let start = self.staged.len();
        self.staged.append_range(reply, range);
        let end = self.staged.len();
        self.staged_live += end - start;
        self.slots.push_back(Slot::Staged(start..end));
    }

    /// Gives the next line a slot to be answered later.
    #[inline]
    fn pend(&mut self) -> Ticket {
        self.pend_reply(false)
    }

    /// As [`Session::pend`]; `always`: the reply is sent whatever CLIENT REPLY says.
    #[inline]
    fn pend_reply(&mut self, always: bool) -> Ticket {
        let line = self.first_line.wrapping_add(self.slots.len() as u32);
        self.slots.push_back(Slot::Pending {
            silent: !always && self.client.reply_mode != ReplyMode::On,
        });
        Ticket {
            session: self.id.slot,
            generation: self.id.generation,
            line,
        }
    }

    /// A line that was under way is answered by `range` of `reply`.
    #[inline]
    fn answer(&mut self, line: u32, reply: &Output, range: Range<usize>) {
        let index = line.wrapping_sub(self.first_line) as usize;
        let Some(Slot::Pending { silent }) = self.slots.get(index) else {
            unreachable!("a line is answered once");
        };
        let range = if *silent { 0..0 } else { range };
        if index == 0 {
            self.out.append_range(reply, range);
            self.slots.pop_front();
            self.first_line = self.first_line.wrapping_add(1);
            self.advance();
            return;
        }
        let start = self.staged.len();
        self.staged.append_range(reply, range);
        let end = self.staged.len();
        self.staged_live += end - start;
        self.slots[index] = Slot::Staged(start..end);
    }

    /// Moves the replies at the front to the outgoing bytes, up to the first pending one.
    fn advance(&mut self) {
        while let Some(Slot::Staged(range)) = self.slots.front() {
            // What was emptied meanwhile has no place for an empty reply.
            if !range.is_empty() {
                self.staged_live -= range.len();
                self.out.append_range(&self.staged, range.clone());
            }
            self.slots.pop_front();
            self.first_line = self.first_line.wrapping_add(1);
        }
        if self.staged_live == 0 {
            self.staged.clear();
        } else if self.staged.len() > STAGED_BYTES_COMPACT
            && self.staged_live * 2 < self.staged.len()
        {
            self.compact();
        }
    }

    /// Moves the staged replies together.
    fn compact(&mut self) {
        let mut staged = Output::default();
        for slot in &mut self.slots {
            if let Slot::Staged(range) = slot {
                let start = staged.len();
                staged.append_range(&self.staged, range.clone());
                *range = start..staged.len();
            }
        }
        self.staged = staged;
    }

    /// Memory of the session in all.
    fn memory_bytes(&self) -> usize {
        size_of::<Session>()
            + self.input.capacity()
            + self.out.memory_bytes()
            + self.staged.memory_bytes()
            + self.slots.capacity() * size_of::<Slot>()
            + self
                .queued
                .iter()
                .map(OwnedLine::memory_bytes)
                .sum::<usize>()
            + self.queue.as_ref().map_or(0, |queue| queue.bytes)
            + self
                .watched
                .as_ref()
                .map_or(0, |watched| watched.memory_bytes())
            + self
                .waiting
                .as_ref()
                .map_or(0, |waiting| waiting.memory_bytes())
            + self.client.name.len()
            + self.client.addr.len()
            + self.client.laddr.len()
            + self
                .client
                .subscriptions
                .as_ref()
                .map_or(0, |own| own.memory_bytes())
            + self
                .client
                .tracking
                .as_ref()
                .map_or(0, |tracking| tracking.memory_bytes())
    }

    /// Brings the sizes that CLIENT LIST shows up to date.
    fn measure(&mut self) {
        self.client.query_bytes = self.input.len();
        self.client.query_capacity_bytes = self.input.capacity();
        self.client.output_bytes = self.out.len() + self.staged_live;
        self.client.memory_bytes = self.memory_bytes();
    }
}
