//! What a node knows of one client. Lives in its session, on the session's core; CLIENT's subcommands read and
//! change it there.

use super::replicating::FollowerInfo;
use super::{Command, flag};
use crate::pubsub::{Kind, Subscriber, Subscriptions};
use crate::resp::Proto;
use crate::tracking::Tracking;

/// CLIENT REPLY's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// No replies.
    Off,
    /// The line that set this has no reply, and neither has the next.
    SkipNext,
    /// The line that runs has no reply.
    Skip,
}

/// How a client that must go is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Close {
    /// When its replies are sent.
    AfterReply,
    /// At once.
    Now,
}

/// How the waiting of a client ends that no key has served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// One client connection.
#[derive(Debug)]
pub struct Client {
    /// Unique in the node for all time, rising from 1; 0 stands in for a client that has gone.
    pub id: u64,
    /// CLIENT SETNAME; empty without one.
    pub name: Box<[u8]>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Box<[u8]>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Box<[u8]>,
    /// The user it is authenticated as.
    pub user: Box<str>,
    /// The peer, `ip:port` or `path:0` for a unix socket.
    pub addr: Box<str>,
    /// The local end, in the same form.
    pub laddr: Box<str>,
    /// The file descriptor.
    pub fd: i32,
    /// It came over the unix socket.
    pub unix: bool,
    /// It came from the loopback interface or the unix socket.
    pub local: bool,
    /// It may run commands: no password is set or it gave the right one.
    pub authenticated: bool,
    /// The selected database.
    pub db: usize,
    /// The protocol.
    pub proto: Proto,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// It is a MONITOR.
    pub monitor: bool,
    /// How its core's subscription tables know it.
    pub subscriber: Subscriber,
    /// What it is subscribed to; present while there is anything.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING; present while it tracks.
    pub tracking: Option<Box<Tracking>>,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// It waits (for other cores, a pause or a block).
    pub blocked: bool,
    /// It waits for keys, and nobody is about to serve it.
    pub unblockable: bool,
    /// Set while it is `unblockable`: the session answers the line that waits.
    pub unblock: Option<Unblock>,
    /// It is between MULTI and EXEC: lines queued so far.
    pub multi: Option<u32>,
    /// A line between MULTI and EXEC was refused: EXEC will be, too.
    pub multi_failed: bool,
    /// The line that runs is one of an EXEC: it must not wait for anything.
    pub executing: bool,
    /// Keys it watches.
    pub watching: u32,
    /// What it said of itself as a follower (REPLCONF).
    pub follower: Option<Box<FollowerInfo>>,
    /// It follows: this stands for a connection that the replication shard serves.
    pub follows: bool,
    /// It is this follower's leader.
    pub leader: bool,
    /// A leader's REPLCONF GETACK: it is to be acknowledged when all before it is applied.
    pub asked_for_acknowledgement: bool,
    /// Set: the session closes it.
    pub close: Option<Close>,
    /// Wall clock at accept, milliseconds.
    pub created_ms: i64,
    /// Wall clock of the last bytes from it, milliseconds.
    pub active_ms: i64,
    /// The command it ran last.
    pub last_command: Option<&'static Command>,
    /// Lines run.
    pub commands: u64,
    /// Bytes received.
    pub net_in_bytes: u64,
    /// Bytes sent.
    pub net_out_bytes: u64,
    /// Bytes received and not run yet, kept up to date by the session before a visit.
    pub query_bytes: usize,
    /// Capacity of the query buffer, likewise.
    pub query_capacity_bytes: usize,
    /// Bytes of replies not sent yet, likewise.
    pub output_bytes: usize,
    /// Memory of the session in all, likewise.
    pub memory_bytes: usize,
}

impl Client {
    /// A client as it is right after accept.
    pub fn new(id: u64, now_ms: i64) -> Client {
        Client {
            id,
            name: Box::default(),
            lib_name: Box::default(),
            lib_version: Box::default(),
            user: "default".into(),
            addr: "".into(),
            laddr: "".into(),
            fd: -1,
            unix: false,
            local: false,
            authenticated: false,
            db: 0,
            proto: Proto::Resp2,
            reply_mode: ReplyMode::On,
            monitor: false,
            subscriber: Subscriber::default(),
            subscriptions: None,
            tracking: None,
            no_evict: false,
            no_touch: false,
            blocked: false,
            unblockable: false,
            unblock: None,
            multi: None,
            multi_failed: false,
            executing: false,
            watching: 0,
            follower: None,
            follows: false,
            leader: false,
            asked_for_acknowledgement: false,
            close: None,
            created_ms: now_ms,
            active_ms: now_ms,
            last_command: None,
            commands: 0,
            net_in_bytes: 0,
            net_out_bytes: 0,
            query_bytes: 0,
            query_capacity_bytes: 0,
            output_bytes: 0,
            memory_bytes: 0,
        }
    }

    /// What is shown of it while it follows.
    pub fn as_follower(&self) -> Client {
        Client {
            name: self.name.clone(),
            lib_name: self.lib_name.clone(),
            lib_version: self.lib_version.clone(),
            user: self.user.clone(),
            addr: self.addr.clone(),
            laddr: self.laddr.clone(),
            fd: self.fd,
            unix: self.unix,
            db: self.db,
            proto: self.proto,
            no_evict: self.no_evict,
            no_touch: self.no_touch,
            follows: true,
            active_ms: self.active_ms,
            last_command: self.last_command,
            ..Client::new(self.id, self.created_ms)
        }
    }

    /// It stands in for a client that has gone.
    pub fn is_nobody(&self) -> bool {
        self.id == 0
    }

    /// Keys that it reads now are to be remembered.
    #[inline]
    pub fn tracks_reads(&self) -> bool {
        self.tracking
            .as_ref()
            .is_some_and(|tracking| tracking.reads())
    }

    /// Its last line is over: what CLIENT CACHING said was about that line, unless it was CLIENT's own or its transaction goes
    /// on.
    pub fn end_line(&mut self) {
        self.end_caching(self.last_command);
    }

    /// A line was refused before it ran; `command` is unknown in the end.
    pub fn end_refused(&mut self, command: Option<&Command>) {
        self.end_caching(command);
    }

    fn end_caching(&mut self, command: Option<&Command>) {
        let kept = command.is_some_and(|command| command.has(flag::KEEPS_CACHING));
        if let Some(tracking) = &mut self.tracking
            && self.multi.is_none()
            && !kept
        {
            tracking.caching = false;
        }
    }

    /// Its subscriptions of one kind.
    pub fn subscribed(&self, kind: Kind) -> usize {
        self.subscriptions.as_ref().map_or(0, |own| own.len(kind))
    }

    /// It has a subscription.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions
            .as_ref()
            .is_some_and(|own| !own.is_empty())
    }

    /// Closes the client; a stricter way set before stays.
    pub fn close(&mut self, how: Close) {
        self.close = self.close.max(Some(how));
    }
}
