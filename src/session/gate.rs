//! What stands between a client and a command: protected mode, authentication, arity, pauses, limits; and how the core
//! takes on changed parameters.

use std::sync::Arc;

use super::{Core, Session, SessionId};
use crate::command::replicating::{Role, Standing};
use crate::command::transaction::aborted;
use crate::command::{Client, ClientType, Close, Command, CommandId, Pause, check_protected, flag};
use crate::config::EvictionPolicy;
use crate::keyspace::{AccessPolicy, ExpiryPolicy};
use crate::mesh::Ticket;
use crate::resp::{Line, Output, Proto, Reply};
use crate::shard::error_code;
use crate::stats::{SlowEntry, slow_clip, threshold_ns};

/// Sent to a client that protected mode keeps out.
const PROTECTED_MODE: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect \
from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the \
command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is \
running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change \
permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the \
protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart \
it with the '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: You only need to do \
one of the above things in order for the server to start accepting connections from the outside.\r\n";

/// Arguments shown in the reply to an unknown command take up to this many bytes.
const UNKNOWN_ARGS_BYTES_MAX: usize = 128;

impl Core {
    /// What a new client is told when protected mode keeps it out.
    pub(super) fn protected_mode_refusal(&self, local: bool) -> Option<&'static [u8]> {
        let refused = self.config.protected_mode && self.config.requirepass.is_empty() && !local;
        refused.then_some(PROTECTED_MODE)
    }

    /// Why the line must not run, if so: arity, then protected commands, then authentication.
    #[cold]
    pub(super) fn refusal(
        &self,
        session: &Session,
        command: &Command,
        line: &Line<'_>,
    ) -> Option<String> {
        if !command.arity_holds(line.len()) {
            return Some(format!(
                "ERR wrong number of arguments for '{}' command",
                command.name
            ));
        }
        // What the leader could do, its follower does.
        if session.is_leader() {
            return None;
        }
        if let Err(fault) = check_protected(command, &self.config, &session.client) {
            return Some(fault.to_string());
        }
        if !session.client.authenticated && !command.has(flag::NO_AUTH) {
            return Some("NOAUTH Authentication required.".into());
        }
        if session.client.proto == Proto::Resp2
            && session.client.is_subscriber()
            && !command.has(flag::WHILE_SUBSCRIBED)
        {
            return Some(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                command.name
            ));
        }
        if self.gated {
            return self.refusal_by_state(command).map(String::from);
        }
        None
    }

    /// Answers a line that must not run.
    #[cold]
    pub(super) fn reject(&mut self, session: &mut Session, id: CommandId, refusal: &str) {
        self.stats.rejected(id);
        let command = self.registry.get(id).command;
        match aborted(command, refusal) {
            Some(refusal) => {
                session.client.multi = None;
                self.end_watching(session);
                self.follow_client(session);
                self.reply_error(session, Some(command), refusal.as_bytes());
            }
            None => self.reply_error(session, Some(command), refusal.as_bytes()),
        }
    }

    /// Answers a line that does not run; `refused` is its command, if it has one.
    ///
    /// It refuses the EXEC that follows, but for a leader's: that has run there, and all of it that can run here comes nearer to its
    /// data than nothing does.
    fn reply_error(&mut self, session: &mut Session, refused: Option<&Command>, text: &[u8]) {
        session.client.multi_failed = !session.is_leader();
        session.client.end_refused(refused);
        self.stats.error(error_code(text));
        let mut out = Output::default();
        Reply::new(&mut out, session.client.proto).error(text);
        session.stage_reply(&out);
    }

    /// Answers a line whose command is unknown, or whose subcommand is.
    #[cold]
    pub(super) fn reject_unknown(&mut self, session: &mut Session, line: &Line<'_>) {
        let name = line.arg(0);
        if matches!(name.to_ascii_lowercase().as_slice(), b"post" | b"host:") {
            // A browser was talked into sending lines to this port: what follows is not the user's will.
            self.os.log_warning(&format!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. \
                 Connection from {} aborted.",
                session.client.addr
            ));
            session.client.close(Close::Now);
            return;
        }
        let mut text = Vec::new();
        if self.registry.find(name).is_some() && line.len() > 1 {
            text.extend_from_slice(b"ERR unknown subcommand '");
            text.extend_from_slice(clipped(line.arg(1), 128));
            text.extend_from_slice(b"'. Try ");
            text.extend(name.to_ascii_uppercase());
            text.extend_from_slice(b" HELP.");
        } else {
            text.extend_from_slice(b"ERR unknown command '");
            text.extend_from_slice(clipped(name, 128));
            text.extend_from_slice(b"', with args beginning with: ");
            let mut shown = 0;
            for arg in line.args().skip(1) {
                if shown >= UNKNOWN_ARGS_BYTES_MAX {
                    break;
                }
                let arg = clipped(arg, UNKNOWN_ARGS_BYTES_MAX - shown);
                text.push(b'\'');
                text.extend_from_slice(arg);
                text.extend_from_slice(b"' ");
                shown += arg.len() + 3;
            }
        }
        self.reply_error(session, None, &text);
    }

    /// The replication shard said how things stand.
    pub(super) fn set_standing(&mut self, standing: Standing) {
        // While the role is handed over the log must not grow.
        let policy = match standing.role {
            Role::Leader if !standing.holds_writes() => ExpiryPolicy::Delete,
            _ => ExpiryPolicy::Hide,
        };
        self.shard.keyspace.set_expiry_policy(policy);
        self.scratch.keyspace.set_expiry_policy(policy);
        let replicaof = standing.replicaof.as_deref();
        if self.config.replicaof.as_ref() != replicaof {
            let replicaof = replicaof.cloned();
            Arc::make_mut(&mut self.config).replicaof = replicaof;
        }
        self.switches.standing = standing;
        self.weigh_gate();
    }

    /// Decides whether lines are asked whether the node's state lets them run.
    pub(super) fn weigh_gate(&mut self) {
        let standing = &self.switches.standing;
        self.gated = standing.role != Role::Leader
            || standing.loading
            || standing.save_failed
            || self.config.min_replicas_to_write > 0;
    }

    /// Why the node's state does not let a command run, if so.
    #[cold]
    pub(super) fn refusal_by_state(&self, command: &Command) -> Option<&'static str> {
        if command.has(flag::WRITE)
            && let Some(refusal) = self.refusal_of_writes()
        {
            return Some(refusal);
        }
        let standing = &self.switches.standing;
        if let Role::Follower { up: false } = standing.role
            && !self.config.replica_serve_stale_data
            && !command.has(flag::STALE)
        {
            return Some(
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            );
        }
        if standing.loading && !command.has(flag::LOADING) {
            return Some("LOADING Redis is loading the dataset in memory");
        }
        None
    }

    /// Why the node's state does not let clients write, if so.
    #[cold]
    pub(super) fn refusal_of_writes(&self) -> Option<&'static str> {
        let standing = &self.switches.standing;
        let config = &self.config;
        if standing.role == Role::Leader
            && config.min_replicas_to_write > 0
            && config.min_replicas_max_lag > 0
            && standing.good_followers < config.min_replicas_to_write
        {
            return Some("NOREPLICAS Not enough good replicas to write.");
        }
        if standing.save_failed && config.stop_writes_on_bgsave_error {
            return Some(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                 Commands that may modify the data set are disabled, because this instance is configured to report \
                 errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the \
                 Redis logs for details about the RDB error.",
            );
        }
        if standing.role != Role::Leader && config.replica_read_only {
            return Some("READONLY You can't write against a read only replica.");
        }
        None
    }

    /// Some commands wait: CLIENT PAUSE is in force, or the role is handed over.
    pub(super) fn is_paused_now(&self) -> bool {
        self.switches.standing.holds_writes() || self.switches.pause.is_in_force(self.now.wall_ms())
    }

    /// This command waits.
    pub(super) fn pauses(&mut self, command: &Command) -> bool {
        let changes = command.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0;
        if !self.switches.pause.is_in_force(self.now.wall_ms()) {
            self.switches.pause = Pause::Off;
        }
        match self.switches.pause {
            Pause::All(_) => true,
            Pause::Write(_) => changes,
            Pause::Off => changes && self.switches.standing.holds_writes(),
        }
    }

    /// Takes on the parameters that the core keeps in another form.
    pub(super) fn apply_config(&mut self) {
        let config = &self.config;
        self.limits.bulk_bytes_max = config.proto_max_bulk_len;
        let slow = threshold_ns(config.slowlog_log_slower_than, 1_000);
        let spike = match config.latency_monitor_threshold {
            0 => u64::MAX,
            ms => threshold_ns(ms as i64, 1_000_000),
        };
        self.slow_ns = slow.min(spike);
        self.stats.latency_tracking = config.latency_tracking;
        let access = if matches!(
            config.maxmemory_policy,
            EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu
        ) {
            AccessPolicy::Lfu {
                log_factor: config.lfu_log_factor.try_into().unwrap_or(u32::MAX),
                decay_minutes: config.lfu_decay_time.try_into().unwrap_or(u32::MAX),
            }
        } else {
            AccessPolicy::Lru
        };
        self.shard.keyspace.set_access_policy(access);
        self.scratch.keyspace.set_access_policy(access);
        let keys_max = config.tracking_table_max_keys;
        self.tracking.limit(keys_max, self.place.count);
        self.weigh_listening();
        self.weigh_gate();
    }

    /// Closes a client whose unread replies exceed its limit.
    #[inline]
    pub(super) fn check_output_limit(&mut self, session: &mut Session) {
        let limits = &self.config.client_output_buffer_limit;
        let limit = match ClientType::of(&session.client) {
            ClientType::Pubsub => &limits.pubsub,
            _ => &limits.normal,
        };
        let unlimited = limit.hard_bytes == 0 && limit.soft_bytes == 0;
        if unlimited || session.is_leader() || session.client.close == Some(Close::Now) {
            return;
        }
        let unread = (session.out.len() + session.staged_live) as u64;
        let over_hard = limit.hard_bytes > 0 && unread >= limit.hard_bytes;
        let mut over_soft = limit.soft_bytes > 0 && unread >= limit.soft_bytes;
        if over_soft {
            let since = *session
                .over_soft_limit_since
                .get_or_insert(self.now.wall_ms());
            over_soft = self.now.wall_ms() - since > limit.soft_seconds as i64 * 1000;
        } else {
            session.over_soft_limit_since = None;
        }
        if over_hard || over_soft {
            self.stats.totals.output_limit_disconnections += 1;
            self.os.log_warning(&format!(
                "Client id={} addr={} closed for overcoming of output buffer limits ({unread} bytes unread).",
                session.client.id, session.client.addr
            ));
            session.client.close(Close::Now);
        }
    }

    /// Closes a client whose unfinished line exceeds the limit.
    #[inline]
    pub(super) fn check_query_limit(&mut self, session: &mut Session) {
        let queued = session.queue.as_ref().map_or(0, |queue| queue.bytes);
        let held = session.input.len() + session.parser.memory_bytes() + queued;
        self.stats.query_buffer_peak_bytes = self.stats.query_buffer_peak_bytes.max(held as u64);
        if held as u64 > self.config.client_query_buffer_limit && !session.is_leader() {
            self.stats.totals.query_limit_disconnections += 1;
            self.os.log_warning(&format!(
                "Closing client id={} addr={} that reached max query buffer length ({held} bytes).",
                session.client.id, session.client.addr
            ));
            session.client.close(Close::Now);
            self.touch(session);
        }
    }

    /// Looks at a tenth of the sessions: idle ones are closed after `timeout`, output over its soft limit is noticed.
    pub(super) fn sweep_sessions(&mut self) {
        let timeout_ms = self.config.timeout as i64 * 1000;
        let limits = &self.config.client_output_buffer_limit;
        let limited = limits.normal.soft_bytes > 0 || limits.pubsub.soft_bytes > 0;
        if timeout_ms == 0 && !limited {
            return;
        }
        for id in self.sessions.next_tenth() {
            let Some(mut session) = self.sessions.take(id) else {
                continue;
            };
            let idle_ms = self.now.wall_ms() - session.client.active_ms;
            if timeout_ms > 0
                && idle_ms > timeout_ms
                && session.under_way() == 0
                && !session.client.monitor
                && !session.is_leader()
                && !session.client.is_subscriber()
            {
                session.client.close(Close::Now);
            }
            self.check_output_limit(&mut session);
            if session.client.close.is_some() {
                self.touch(&mut session);
            }
            self.sessions.put(session);
        }
    }

    /// Keeps a slow line in the slow log and the latency monitor of this core.
    #[cold]
    pub(super) fn note_slow(&mut self, client: &Client, id: CommandId, line: &Line<'_>, ns: u64) {
        if let Some(mut entry) = self.slow_entry(id, line, ns) {
            entry.addr = client.addr.clone();
            entry.name = client.name.clone();
            self.keep_slow(entry);
        }
    }

    /// What the slow log keeps of a line that took `ns`, its client left out: that is known where its session is.
    #[cold]
    pub(super) fn slow_entry(
        &mut self,
        id: CommandId,
        line: &Line<'_>,
        ns: u64,
    ) -> Option<SlowEntry> {
        let command = self.registry.get(id).command;
        self.note_spike(command, ns);
        let kept = ns >= threshold_ns(self.config.slowlog_log_slower_than, 1_000)
            && !command.has(flag::SKIP_SLOWLOG);
        kept.then(|| SlowEntry {
            wall_us: self.now.wall_us,
            duration_us: ns / 1000,
            args: slow_clip(command.shown_args(*line)),
            addr: Box::default(),
            name: Box::default(),
        })
    }

    /// Puts an entry that another core made into the slow log, with the client that it is about.
    #[cold]
    pub(super) fn keep_slow_of(&mut self, ticket: Ticket, mut entry: SlowEntry) {
        if let Some(session) = self.sessions.get(SessionId::of(ticket)) {
            entry.addr = session.client.addr.clone();
            entry.name = session.client.name.clone();
        }
        self.keep_slow(entry);
    }

    fn keep_slow(&mut self, entry: SlowEntry) {
        self.stats
            .slow
            .push(entry, self.config.slowlog_max_len as usize);
    }

    fn note_spike(&mut self, command: &Command, ns: u64) {
        let threshold_ms = self.config.latency_monitor_threshold;
        if threshold_ms > 0 && ns >= threshold_ns(threshold_ms as i64, 1_000_000) {
            let event = if command.has(flag::FAST) {
                "fast-command"
            } else {
                "command"
            };
            self.stats.latency_spike(event, ns, self.now.wall_ms());
        }
    }
}

fn clipped(bytes: &[u8], max: usize) -> &[u8] {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    &bytes[..end.min(max)]
}
