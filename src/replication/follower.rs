//! One follower's connection, on the leader.

use std::io::IoSlice;

use super::rounds::Round;
use crate::command::replicating::{FollowRequest, FollowerStatus};
use crate::log::Stream;
use crate::resp::{Arguments, Limits, Line, Parsed, Parser};

/// How far a follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for a round to begin.
    Waiting,
    /// It takes part in the round and gets its bytes; so many of them it has.
    Syncing(u64),
    /// It has all data, and is to say so before the stream goes on (`$EOF:`).
    Loading,
    /// It gets the stream.
    Online,
}

/// A follower. Lives on the replication shard.
pub(super) struct Follower {
    pub(super) request: FollowRequest,
    pub(super) state: State,
    /// What goes out before anything else.
    pub(super) out: Vec<u8>,
    sent: usize,
    /// Its place in the stream: the next byte that it gets.
    pub(super) cursor: u64,
    /// Acknowledged bytes.
    pub(super) acknowledged: u64,
    /// When it acknowledged, or did anything at all: monotonic nanoseconds.
    pub(super) heard_ns: u64,
    /// When bytes last went out.
    pub(super) moved_ns: u64,
    /// Since when its unsent bytes exceed the soft limit.
    pub(super) over_soft_since_ns: Option<u64>,
    /// The forty characters that end its payload; `None` when its length was announced.
    mark: Option<[u8; 40]>,
    parser: Parser,
    args: Arguments,
    input: Vec<u8>,
    /// It is to be closed.
    pub(super) closing: bool,
}

/// What a follower said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// REPLCONF ACK.
    Acknowledged,
    /// Something else, or nothing whole.
    Nothing,
}

impl Follower {
    pub(super) fn new(request: FollowRequest, now_ns: u64) -> Follower {
        Follower {
            request,
            state: State::Waiting,
            out: Vec::new(),
            sent: 0,
            cursor: 0,
            acknowledged: 0,
            heard_ns: now_ns,
            moved_ns: now_ns,
            over_soft_since_ns: None,
            mark: None,
            parser: Parser::default(),
            args: Arguments::default(),
            input: Vec::new(),
            closing: false,
        }
    }

    /// The cut of its round: it is told where the stream will go on, and gets the data; or, when it wants none, the bytes of
    /// `empty`.
    pub(super) fn begin_sync(&mut self, id: &str, offset: u64, mark: [u8; 40], empty: &[u8]) {
        if self.request.from.is_some() {
            self.out
                .extend_from_slice(format!("+FULLRESYNC {id} {offset}\r\n").as_bytes());
        }
        if self.request.info.eof {
            self.out.extend_from_slice(b"$EOF:");
            self.out.extend_from_slice(&mark);
            self.out.extend_from_slice(b"\r\n");
            self.mark = Some(mark);
        }
        self.cursor = offset;
        self.state = State::Syncing(0);
        // Such a one understands `$EOF:`, or it would have been refused.
        if self.request.info.without_data {
            self.out.extend_from_slice(empty);
            self.out.extend(self.mark.take().into_iter().flatten());
            self.state = State::Loading;
        }
    }

    /// It can go on from where it was.
    pub(super) fn go_on(&mut self, id: &str, offset: u64) {
        if self.request.info.psync2 {
            self.out
                .extend_from_slice(format!("+CONTINUE {id}\r\n").as_bytes());
        } else {
            self.out.extend_from_slice(b"+CONTINUE\r\n");
        }
        self.cursor = offset;
        self.acknowledged = offset;
        self.state = State::Online;
    }

    /// The round is complete: a follower that must know the length hears of it.
    pub(super) fn length_known(&mut self, bytes: u64) {
        if self.mark.is_none() && self.state == State::Syncing(0) {
            self.out
                .extend_from_slice(format!("${bytes}\r\n").as_bytes());
        }
    }

    /// The pieces to send next. Returns how many there are.
    pub(super) fn pieces<'a>(
        &'a self,
        round: Option<&'a Round>,
        stream: &'a Stream,
        pieces: &mut [IoSlice<'a>],
    ) -> usize {
        let mut count = 0;
        let mut add = |bytes: &'a [u8]| {
            let fits = count < pieces.len();
            if fits {
                pieces[count] = IoSlice::new(bytes);
                count += 1;
            }
            fits
        };
        if self.sent < self.out.len() {
            add(&self.out[self.sent..]);
            return count;
        }
        match (self.state, round) {
            (State::Syncing(at), Some(round)) if self.mark.is_some() || round.complete => {
                for piece in round.bytes.pieces(at) {
                    if !add(piece) {
                        break;
                    }
                }
            }
            (State::Online, _) => {
                for piece in stream.pieces(self.cursor) {
                    if !add(piece) {
                        break;
                    }
                }
            }
            _ => {}
        }
        count
    }

    /// So many bytes of the pieces were sent.
    pub(super) fn advance(&mut self, bytes: usize, round: Option<&Round>, now_ns: u64) {
        if bytes > 0 {
            self.moved_ns = now_ns;
        }
        if self.sent < self.out.len() {
            self.sent += bytes;
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
                if self.state == State::Loading && self.request.info.rdb_only {
                    self.closing = true;
                }
            }
            return;
        }
        match &mut self.state {
            State::Syncing(at) => {
                *at += bytes as u64;
                if round.is_some_and(|round| round.complete && *at == round.bytes.end()) {
                    self.end_sync(now_ns);
                }
            }
            State::Online => self.cursor += bytes as u64,
            State::Waiting | State::Loading => {}
        }
    }

    /// It has all data.
    fn end_sync(&mut self, now_ns: u64) {
        self.heard_ns = now_ns;
        match self.mark.take() {
            // Stream bytes right behind the mark would be taken for data.
            Some(mark) => {
                self.out.extend_from_slice(&mark);
                self.state = State::Loading;
            }
            None if self.request.info.rdb_only => self.closing = true,
            None => self.state = State::Online,
        }
    }

    /// Bytes that were not sent.
    pub(super) fn unsent(&self, stream: &Stream) -> u64 {
        let stream = match self.state {
            State::Waiting => 0,
            _ => stream.end().saturating_sub(self.cursor),
        };
        (self.out.len() - self.sent) as u64 + stream
    }

    /// Bytes that it sent: acknowledgements, and empty lines while it loads.
    pub(super) fn read(&mut self, data: &[u8], now_ns: u64) -> Said {
        self.heard_ns = now_ns;
        self.input.extend_from_slice(data);
        // It sends a few words at a time, whoever it is.
        let limits = Limits {
            unauthenticated: true,
            ..Limits::default()
        };
        let mut at = 0;
        let mut said = Said::Nothing;
        loop {
            self.args.clear();
            match self
                .parser
                .next(&self.input, &mut at, &limits, &mut self.args)
            {
                Ok(Parsed::Line) => {
                    let spans = 0..self.args.spans.len();
                    let line = self.args.line(&self.input, spans);
                    if let Some(offset) = acknowledged(&line) {
                        self.acknowledged = self.acknowledged.max(offset);
                        said = Said::Acknowledged;
                    }
                }
                Ok(Parsed::Empty) => {}
                Ok(Parsed::Incomplete) => break,
                Err(_) => {
                    self.closing = true;
                    break;
                }
            }
        }
        self.parser.compact(&mut self.input, at);
        if said == Said::Acknowledged && self.state == State::Loading {
            self.state = State::Online;
        }
        said
    }

    /// The address under which it is known.
    pub(super) fn ip(&self) -> &str {
        if self.request.info.announced_ip.is_empty() {
            self.request
                .addr
                .rsplit_once(':')
                .map_or("", |(ip, _)| ip.trim_matches(['[', ']']))
        } else {
            &self.request.info.announced_ip
        }
    }

    /// Its address and port, for the log.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.ip(), self.request.info.listening_port)
    }

    /// As INFO shows it.
    pub(super) fn status(&self, now_ns: u64, stream: &Stream) -> FollowerStatus {
        FollowerStatus {
            id: self.request.client,
            ip: self.ip().into(),
            port: self.request.info.listening_port,
            state: match self.state {
                State::Waiting => "wait_bgsave",
                State::Syncing(_) | State::Loading => "send_bulk",
                State::Online => "online",
            },
            offset: self.acknowledged,
            lag_seconds: now_ns.saturating_sub(self.heard_ns) / 1_000_000_000,
            client: Some(self.request.shown.clone()),
            unsent_bytes: self.unsent(stream),
        }
    }
}

/// The offset of a `REPLCONF ACK offset`.
fn acknowledged(line: &Line<'_>) -> Option<u64> {
    if line.len() < 3 || !line.is(0, "replconf") || !line.is(1, "ack") {
        return None;
    }
    let offset = crate::base::number::parse_i64(line.arg(2))?;
    u64::try_from(offset).ok()
}
