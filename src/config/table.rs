//! The table of all parameters, and what is derived from it: [`Config`], its default and [`PARAMETERS`].
//!
//! A row reads
//!
//! ```text
//! /// What it does.
//! field_name: type = default, Shape, [old names], access, status;
//! ```
//!
//! The parameter's name is the field's with `-` for `_`. Names, aliases, defaults and bounds are those of Redis
//! 7.2 (and the few that 7.4 added), so that an existing redis.conf means the same here.

use super::choice::*;
use super::setting::{Lines, Setting, Shape, Source};
use super::special::*;
use Shape::{Checked, Clamped, Fixed, Integer, Memory, MemoryFloor, Octal, Plain, Unset};
use Status::{Accepted, Later, Works};

/// Who may change a parameter, and whether patterns of CONFIG GET find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// When it may be changed.
    pub change: Change,
    /// Found by its exact name only.
    pub hidden: bool,
}

/// When a parameter may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// At any time, by CONFIG SET.
    Mutable,
    /// By the file and the command line only.
    Immutable,
    /// By CONFIG SET only where `enable-protected-configs` allows.
    Protected,
}

const MUTABLE: Access = Access {
    change: Change::Mutable,
    hidden: false,
};
const IMMUTABLE: Access = Access {
    change: Change::Immutable,
    hidden: false,
};
const PROTECTED: Access = Access {
    change: Change::Protected,
    hidden: false,
};
const HIDDEN: Access = Access {
    change: Change::Mutable,
    hidden: true,
};
const HIDDEN_IMMUTABLE: Access = Access {
    change: Change::Immutable,
    hidden: true,
};

/// What a parameter means in this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// What it says.
    Works,
    /// Nothing yet: it comes with the named feature.
    Later(&'static str),
    /// Nothing, for the reason given; it is kept and shown so that existing configurations and tools work.
    Accepted(&'static str),
}

const REPLICATION: Status = Later("replication");
const PERSISTENCE: Status = Later("persistence");
const COLLECTIONS: Status = Later("the collection types");
const SCRIPTS: Status = Later("scripting");
const ACL: Status = Later("ACL");
const PUBSUB: Status = Later("publish and subscribe");
const EVICTION: Status = Later("the memory limit");
const CLUSTER: Status = Later("cluster mode");
const NO_TLS: Status = Accepted("connections are not encrypted here; put a TLS proxy in front");
const NO_FORK: Status =
    Accepted("there is no forked child: snapshots are made by the cores themselves");
const NO_DEFRAG: Status = Accepted("the allocator keeps its size classes apart; nothing is moved");
const NO_BIO: Status = Accepted("there are no background threads to place; see server-cpulist");
const NO_SYSLOG: Status =
    Accepted("the log goes to standard output or logfile; a service manager collects it");
const OWN_THREADS: Status = Accepted("every core serves its own sessions; see shards");
const INTERNAL: Status = Accepted("a testing aid of Redis");

/// Where in the manual a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(pub &'static str);

/// One row of the table.
pub struct Parameter {
    /// The name in lower case.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Where in the manual it stands.
    pub group: Group,
    /// Bounds and unit.
    pub shape: Shape,
    /// Who may change it.
    pub access: Access,
    /// What it means here.
    pub status: Status,
    /// Whether the value consists of any number of words.
    pub several: bool,
    pub(super) assign: fn(&mut Config, &[&str], Source) -> Result<(), String>,
    pub(super) show: fn(&Config) -> String,
    pub(super) differs: fn(&Config, &Config) -> bool,
    pub(super) lines: fn(&Config, &Config) -> Lines,
    pub(super) describe: fn() -> String,
}

impl std::fmt::Debug for Parameter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

impl Parameter {
    /// The name and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The value as CONFIG GET shows it.
    pub fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// The type in words.
    pub fn describe(&self) -> String {
        (self.describe)()
    }

    /// Sets the value from its words, of which a parameter that is not `several` takes exactly one.
    pub(super) fn assign(
        &self,
        config: &mut Config,
        words: &[&str],
        source: Source,
    ) -> Result<(), String> {
        if !self.several && words.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        if let Fixed(reason) = self.shape {
            let mut wanted = config.clone();
            (self.assign)(&mut wanted, words, source)?;
            return if (self.differs)(&wanted, &Config::default()) {
                Err(reason.into())
            } else {
                Ok(())
            };
        }
        (self.assign)(config, words, source)
    }
}

/// The row and the spelling that a name in any case belongs to.
pub(super) fn find_spelling(name: &str) -> Option<(&'static Parameter, &'static str)> {
    PARAMETERS.iter().find_map(|parameter| {
        let spelling = parameter
            .names()
            .find(|spelling| spelling.eq_ignore_ascii_case(name))?;
        Some((parameter, spelling))
    })
}

/// The row of a name or alias, in any case.
pub fn find(name: &str) -> Option<&'static Parameter> {
    find_spelling(name).map(|(parameter, _)| parameter)
}

/// A field's name with dashes.
const fn dashed<const LENGTH: usize>(field: &str) -> [u8; LENGTH] {
    let bytes = field.as_bytes();
    let mut name = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        name[at] = if bytes[at] == b'_' { b'-' } else { bytes[at] };
        at += 1;
    }
    name
}

macro_rules! parameters {
    ($($group:literal { $(
        $(#[doc = $doc:literal])+
        $field:ident: $type:ty = $default:expr, $shape:expr, [$($alias:literal)*], $access:expr, $status:expr;
    )+ })+) => {
        /// The value of every parameter, one field each, named as the parameter with `_` for `-`.
        ///
        /// Lives on the node; every core reads a copy of its own.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($($(#[doc = $doc])+ pub $field: $type,)+)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($($field: $default,)+)+ }
            }
        }

        /// All parameters, in the order of the manual.
        pub static PARAMETERS: &[Parameter] = &[$($({
            const FIELD: &str = stringify!($field);
            const NAME: &[u8; FIELD.len()] = &dashed(FIELD);
            const SHAPE: Shape = $shape;
            Parameter {
                name: match std::str::from_utf8(NAME) {
                    Ok(name) => name,
                    Err(_) => FIELD,
                },
                aliases: &[$($alias),*],
                doc: concat!($($doc),+),
                group: Group($group),
                shape: SHAPE,
                access: $access,
                status: $status,
                several: <$type as Setting>::SEVERAL,
                assign: |config, words, source| {
                    config.$field = config.$field.parse(&SHAPE, words, source)?;
                    Ok(())
                },
                show: |config| config.$field.show(&SHAPE),
                differs: |config, other| config.$field != other.$field,
                lines: |config, default| config.$field.lines(&default.$field, &SHAPE),
                describe: || <$type as Setting>::describe(&SHAPE),
            }
        },)+)+];
    };
}

const INT_MAX: i128 = i32::MAX as i128;
const INT_MIN: i128 = i32::MIN as i128;
const LONG_MAX: i128 = i64::MAX as i128;
const BYTES_MAX: u64 = i64::MAX as u64;
const COUNT: Shape = Integer(0, INT_MAX);
const LONG_COUNT: Shape = Integer(0, LONG_MAX);
const PORT: Shape = Integer(0, 65535);
const BYTES: Shape = Memory(0, BYTES_MAX);
const TLS_REFUSED: Shape = Fixed("TLS is not supported here: put a TLS proxy in front");
const ACL_FILE_REFUSED: Shape =
    Fixed("ACL files are not supported here, and without one its rules would not hold");

fn is_base_name(value: &str) -> bool {
    !value.contains(['/', '\\'])
}

fn dbfilename(value: &str) -> Result<(), &'static str> {
    if is_base_name(value) {
        Ok(())
    } else {
        Err("dbfilename can't be a path, just a filename")
    }
}

fn appendfilename(value: &str) -> Result<(), &'static str> {
    match value {
        "" => Err("appendfilename can't be empty"),
        _ if is_base_name(value) => Ok(()),
        _ => Err("appendfilename can't be a path, just a filename"),
    }
}

fn appenddirname(value: &str) -> Result<(), &'static str> {
    match value {
        "" => Err("appenddirname can't be empty"),
        _ if is_base_name(value) => Ok(()),
        _ => Err("appenddirname can't be a path, just a dirname"),
    }
}

fn hostname(value: &str) -> Result<(), &'static str> {
    if value.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    if value
        .bytes()
        .any(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')))
    {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    Ok(())
}

fn node_name(value: &str) -> Result<(), &'static str> {
    if value.len() >= 256 {
        return Err("Nodename must be less than 256 characters");
    }
    if value
        .bytes()
        .any(|byte| !byte.is_ascii_graphic() || b"!#$%&()*+:;<>?@[]^{|}~,=\"'`\\/".contains(&byte))
    {
        return Err("Announced human node name contained invalid character");
    }
    Ok(())
}

/// Like Redis, knows these variables in braces and no others, and wants some text even where they are empty.
fn title_template(value: &str) -> Result<(), &'static str> {
    const UNKNOWN: &str = "template format is invalid or contains unknown variables";
    let mut rest = value;
    let mut blank = true;
    while let Some((literal, tail)) = rest.split_once('{') {
        let (name, after) = tail.split_once('}').ok_or(UNKNOWN)?;
        blank &= match name {
            "listen-addr" | "server-mode" | "port" | "tls-port" => false,
            "title" | "unixsocket" | "config-file" => true,
            _ => return Err(UNKNOWN),
        };
        blank &= literal.trim().is_empty();
        rest = after;
    }
    if blank && rest.trim().is_empty() {
        Err(UNKNOWN)
    } else {
        Ok(())
    }
}

fn cpu_list(value: &str) -> Result<(), &'static str> {
    match super::cpulist::parse_cpu_list(value) {
        Ok(_) => Ok(()),
        Err(_) => Err("not a list of CPUs such as 0-3,8 or 0-7:2"),
    }
}

/// Shorthand of the rows for a text.
fn text(value: &str) -> String {
    value.into()
}

parameters! {
    "Cores" {
        /// Number of data cores; 0 takes one per CPU that the process may run on.
        shards: u64 = 0, Integer(0, 1024), [], IMMUTABLE, Works;
        /// CPUs that the cores are pinned to, such as `0-3,8` or `0-7:2`; empty takes those that the process may run on.
        server_cpulist: String = text(""), Checked(cpu_list), ["server_cpulist"], IMMUTABLE, Works;
        /// CPUs of Redis's background threads.
        bio_cpulist: String = text(""), Unset, ["bio_cpulist"], IMMUTABLE, NO_BIO;
        /// CPUs of Redis's append-only rewrite child.
        aof_rewrite_cpulist: String = text(""), Unset, ["aof_rewrite_cpulist"], IMMUTABLE, NO_BIO;
        /// CPUs of Redis's snapshot child.
        bgsave_cpulist: String = text(""), Unset, ["bgsave_cpulist"], IMMUTABLE, NO_BIO;
        /// Threads of Redis that read and write sockets.
        io_threads: u64 = 1, Integer(1, 128), [], IMMUTABLE, OWN_THREADS;
        /// Whether those threads of Redis also read.
        io_threads_do_reads: bool = false, Plain, [], IMMUTABLE, OWN_THREADS;
    }
    "Network" {
        /// Addresses to listen on; `*` and `::*` are all of them, and one with a leading `-` may be missing on this machine.
        bind: Vec<String> = vec![text("*"), text("-::*")], Plain, [], MUTABLE, Works;
        /// TCP port to listen on; 0 listens on none.
        port: u16 = 6379, PORT, [], MUTABLE, Works;
        /// Without a password, let in only connections from this machine.
        protected_mode: bool = true, Plain, [], MUTABLE, Works;
        /// Connections that may wait to be accepted.
        tcp_backlog: u64 = 511, COUNT, [], IMMUTABLE, Works;
        /// Seconds between keep-alive probes of an idle connection; 0 sends none.
        tcp_keepalive: u64 = 300, COUNT, [], MUTABLE, Works;
        /// Seconds after which an idle client is disconnected; 0 means never.
        timeout: u64 = 0, COUNT, [], MUTABLE, Works;
        /// Path of the Unix socket to listen on.
        unixsocket: String = text(""), Unset, [], IMMUTABLE, Works;
        /// Permissions of the Unix socket; 0 leaves them to the umask.
        unixsocketperm: u32 = 0, Octal(0, 0o777), [], IMMUTABLE, Works;
        /// Address from which outgoing connections are made.
        bind_source_addr: String = text(""), Unset, [], MUTABLE, Works;
        /// Mark that the kernel puts on packets.
        socket_mark_id: u64 = 0, Integer(0, u32::MAX as i128), [], IMMUTABLE, Accepted("packets are not marked");
        /// New connections that are accepted in one turn.
        max_new_connections_per_cycle: u64 = 10, Integer(1, 1000), [], MUTABLE, OWN_THREADS;
        /// New TLS connections that are accepted in one turn.
        max_new_tls_connections_per_cycle: u64 = 1, Integer(1, 1000), [], MUTABLE, NO_TLS;
    }
    "Clients" {
        /// Clients that may be connected at the same time.
        maxclients: u64 = 10000, Integer(1, u32::MAX as i128), [], MUTABLE, Works;
        /// What a client may leave unread, per class, before it is disconnected.
        client_output_buffer_limit: OutputBufferLimits = OutputBufferLimits::default(), Plain, [], MUTABLE, Works;
        /// Bytes that a client may send without completing a command.
        client_query_buffer_limit: u64 = 1 << 30, Memory(1 << 20, BYTES_MAX), [], MUTABLE, Works;
        /// Longest argument that a client may send.
        proto_max_bulk_len: u64 = 512 << 20, Memory(1 << 20, BYTES_MAX), [], MUTABLE, Works;
        /// Memory that all clients may use together, before the largest are disconnected.
        maxmemory_clients: ClientsMemory = ClientsMemory::Bytes(0), Plain, [], MUTABLE, EVICTION;
        /// Keys remembered for client-side caching.
        tracking_table_max_keys: u64 = 1_000_000, LONG_COUNT, [], MUTABLE, Works;
    }
    "Security" {
        /// Password of the default user; empty means none.
        requirepass: String = text(""), Unset, [], MUTABLE, Works;
        /// Who may use DEBUG.
        enable_debug_command: ProtectedAction = ProtectedAction::No, Plain, [], IMMUTABLE, Works;
        /// Who may change protected parameters with CONFIG SET.
        enable_protected_configs: ProtectedAction = ProtectedAction::No, Plain, [], IMMUTABLE, Works;
        /// Who may use MODULE.
        enable_module_command: ProtectedAction = ProtectedAction::No, Plain, [], IMMUTABLE, Accepted("there are no modules");
        /// File of the ACL users.
        aclfile: String = text(""), ACL_FILE_REFUSED, [], IMMUTABLE, ACL;
        /// Entries that ACL LOG keeps.
        acllog_max_len: u64 = 128, LONG_COUNT, [], MUTABLE, ACL;
        /// Channels that a new ACL user may use.
        acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels, Plain, [], MUTABLE, ACL;
        /// Keep keys and values out of the log.
        hide_user_data_from_log: bool = false, Plain, [], MUTABLE, Accepted("keys and values are never logged");
    }
    "General" {
        /// Number of databases.
        databases: u64 = 16, Integer(1, INT_MAX), [], IMMUTABLE, Works;
        /// How much the log says.
        loglevel: LogLevel = LogLevel::Notice, Plain, [], MUTABLE, Works;
        /// File of the log; empty writes to standard output.
        logfile: String = text(""), Plain, [], IMMUTABLE, Works;
        /// Working directory, where all files are.
        dir: String = text("."), Plain, [], PROTECTED, Works;
        /// File that holds the process number while the server runs.
        pidfile: String = text(""), Unset, [], IMMUTABLE, Works;
        /// Go to the background.
        daemonize: bool = false, Plain, [], IMMUTABLE, Accepted("the server stays in the foreground; a service manager puts it in the background");
        /// Service manager that watches the process.
        supervised: Supervised = Supervised::No, Plain, [], IMMUTABLE, Accepted("the server needs no supervision protocol; use a service of type simple");
        /// What SIGINT does, as options of SHUTDOWN.
        shutdown_on_sigint: ShutdownOptions = ShutdownOptions::default(), Plain, [], MUTABLE, Works;
        /// What SIGTERM does, as options of SHUTDOWN.
        shutdown_on_sigterm: ShutdownOptions = ShutdownOptions::default(), Plain, [], MUTABLE, Works;
        /// Seconds that a shutdown waits for followers.
        shutdown_timeout: u64 = 10, COUNT, [], MUTABLE, Works;
        /// Send the log to syslog.
        syslog_enabled: bool = false, Plain, [], IMMUTABLE, NO_SYSLOG;
        /// Name under which syslog files the log.
        syslog_ident: String = text("redis"), Plain, [], IMMUTABLE, NO_SYSLOG;
        /// Facility under which syslog files the log.
        syslog_facility: SyslogFacility = SyslogFacility::Local0, Plain, [], IMMUTABLE, NO_SYSLOG;
        /// Write a report to the log after a crash.
        crash_log_enabled: bool = true, Plain, [], MUTABLE, Accepted("a panic prints its place and ends the process");
        /// Test the memory after a crash.
        crash_memcheck_enabled: bool = true, Plain, [], MUTABLE, Accepted("a panic prints its place and ends the process");
        /// Exit instead of aborting on a panic.
        use_exit_on_panic: bool = false, Plain, [], HIDDEN, INTERNAL;
        /// Print a logo at the start.
        always_show_logo: bool = false, Plain, [], IMMUTABLE, Accepted("there is no logo");
        /// Show the state of the server in the process's title.
        set_proc_title: bool = true, Plain, [], IMMUTABLE, Accepted("the process's title stays as it was started");
        /// What that title consists of.
        proc_title_template: String = text("{title} {listen-addr} {server-mode}"), Checked(title_template), [], MUTABLE, Accepted("the process's title stays as it was started");
        /// Warnings at the start that do not stop it.
        ignore_warnings: String = text(""), Plain, [], MUTABLE, Accepted("no warning stops the start");
        /// Switch transparent huge pages off for the process.
        disable_thp: bool = true, Plain, [], IMMUTABLE, Works;
        /// Locale that SORT with ALPHA and Lua compare texts in.
        locale_collate: String = text(""), Plain, [], MUTABLE, Accepted("texts are compared byte by byte");
        /// Tell the kernel which processes to end first when memory runs out.
        oom_score_adj: OomScoreAdj = OomScoreAdj::No, Plain, [], MUTABLE, Accepted("the score stays as the process was started");
        /// Scores of a leader, a follower and a saving child.
        oom_score_adj_values: OomScoreAdjValues = OomScoreAdjValues([0, 200, 800]), Plain, [], MUTABLE, Accepted("the score stays as the process was started");
        /// Signal that interrupts a command after so many milliseconds.
        watchdog_period: u64 = 0, COUNT, [], HIDDEN, INTERNAL;
        /// Text that Redis puts into its crash report.
        debug_context: String = text(""), Plain, [], HIDDEN, INTERNAL;
    }
    "Memory" {
        /// Memory that the data may use; 0 means no limit.
        maxmemory: u64 = 0, Memory(0, u64::MAX), [], MUTABLE, EVICTION;
        /// What happens to writes when the limit is reached.
        maxmemory_policy: EvictionPolicy = EvictionPolicy::NoEviction, Plain, [], MUTABLE, EVICTION;
        /// Keys that eviction looks at before it chooses one.
        maxmemory_samples: u64 = 5, Integer(1, INT_MAX), [], MUTABLE, EVICTION;
        /// How long eviction may take: 0 hardly at all, 100 until done.
        maxmemory_eviction_tenacity: u64 = 10, Integer(0, 100), [], MUTABLE, EVICTION;
        /// How fast the frequency counter of a key saturates.
        lfu_log_factor: u64 = 10, COUNT, [], MUTABLE, EVICTION;
        /// Minutes after which the frequency counter of a key is halved.
        lfu_decay_time: u64 = 1, COUNT, [], MUTABLE, EVICTION;
        /// Effort of removing expired keys, 1 to 10.
        active_expire_effort: u64 = 1, Integer(1, 10), [], MUTABLE, Works;
        /// Free evicted keys in the background.
        lazyfree_lazy_eviction: bool = false, Plain, [], MUTABLE, NO_BIO;
        /// Free expired keys in the background.
        lazyfree_lazy_expire: bool = false, Plain, [], MUTABLE, NO_BIO;
        /// Free keys that another command replaced in the background.
        lazyfree_lazy_server_del: bool = false, Plain, [], MUTABLE, NO_BIO;
        /// Let DEL behave as UNLINK.
        lazyfree_lazy_user_del: bool = false, Plain, [], MUTABLE, NO_BIO;
        /// Let FLUSHALL and FLUSHDB behave as with ASYNC.
        lazyfree_lazy_user_flush: bool = false, Plain, [], MUTABLE, NO_BIO;
        /// Rehash the main table a little at a time.
        activerehashing: bool = true, Plain, [], MUTABLE, Accepted("the table grows one small segment at a time and is never rehashed");
        /// How often Redis runs its background work, per second.
        hz: u64 = 10, Clamped(1, 500), [], MUTABLE, Accepted("each core does its background work in small slices of its own turns");
        /// Raise `hz` with the number of clients.
        dynamic_hz: bool = true, Plain, [], MUTABLE, Accepted("each core does its background work in small slices of its own turns");
        /// Let jemalloc return memory from a thread of its own.
        jemalloc_bg_thread: bool = true, Plain, [], MUTABLE, Accepted("the allocator is not jemalloc");
        /// Move values to where they leave no gaps.
        activedefrag: bool = false, Plain, [], MUTABLE, NO_DEFRAG;
        /// Fragmented bytes below which nothing is moved.
        active_defrag_ignore_bytes: u64 = 100 << 20, Memory(1, BYTES_MAX), [], MUTABLE, NO_DEFRAG;
        /// Percent of fragmentation below which nothing is moved.
        active_defrag_threshold_lower: u64 = 10, Integer(0, 1000), [], MUTABLE, NO_DEFRAG;
        /// Percent of fragmentation at which all effort is made.
        active_defrag_threshold_upper: u64 = 100, Integer(0, 1000), [], MUTABLE, NO_DEFRAG;
        /// Least percent of the CPU to spend.
        active_defrag_cycle_min: u64 = 1, Integer(1, 99), [], MUTABLE, NO_DEFRAG;
        /// Most percent of the CPU to spend.
        active_defrag_cycle_max: u64 = 25, Integer(1, 99), [], MUTABLE, NO_DEFRAG;
        /// Size of a collection above which its elements are moved later.
        active_defrag_max_scan_fields: u64 = 1000, Integer(1, LONG_MAX), [], MUTABLE, NO_DEFRAG;
    }
    "Observation" {
        /// Microseconds above which a command is kept in the slow log; -1 keeps none, 0 all.
        slowlog_log_slower_than: i64 = 10000, Integer(-1, LONG_MAX), [], MUTABLE, Works;
        /// Commands that the slow log keeps.
        slowlog_max_len: u64 = 128, LONG_COUNT, [], MUTABLE, Works;
        /// Milliseconds above which an event is kept for LATENCY; 0 keeps none.
        latency_monitor_threshold: u64 = 0, LONG_COUNT, [], MUTABLE, Works;
        /// Measure the time of each command.
        latency_tracking: bool = true, Plain, [], MUTABLE, Works;
        /// Percentiles of these times that INFO shows.
        latency_tracking_info_percentiles: Vec<f64> = vec![50.0, 99.0, 99.9], Plain, [], MUTABLE, Works;
        /// Classes of keyspace events that are published.
        notify_keyspace_events: KeyspaceEvents = KeyspaceEvents::default(), Plain, [], MUTABLE, PUBSUB;
    }
    "Snapshots" {
        /// When to save the data.
        save: Vec<SavePoint> = [(3600, 1), (300, 100), (60, 10000)].map(|(seconds, changes)| SavePoint { seconds, changes }).to_vec(), Plain, [], MUTABLE, Works;
        /// Name of the snapshot's file.
        dbfilename: String = text("dump.rdb"), Checked(dbfilename), [], PROTECTED, Works;
        /// Compress texts in snapshots.
        rdbcompression: bool = true, Plain, [], MUTABLE, Works;
        /// Put a checksum at the end of snapshots.
        rdbchecksum: bool = true, Plain, [], IMMUTABLE, Works;
        /// Refuse writes after a snapshot failed.
        stop_writes_on_bgsave_error: bool = true, Plain, [], MUTABLE, Works;
        /// Remove the snapshots that synchronisation made.
        rdb_del_sync_files: bool = false, Plain, [], MUTABLE, REPLICATION;
        /// Force snapshots to disk a little at a time.
        rdb_save_incremental_fsync: bool = true, Plain, [], MUTABLE, Works;
        /// Check serialised values in depth.
        sanitize_dump_payload: SanitizeDumpPayload = SanitizeDumpPayload::No, Plain, [], MUTABLE, PERSISTENCE;
        /// Slow saving down by so many microseconds per key.
        rdb_key_save_delay: i64 = 0, Integer(INT_MIN, INT_MAX), [], HIDDEN, INTERNAL;
        /// Slow loading down by so many microseconds per key.
        key_load_delay: i64 = 0, Integer(INT_MIN, INT_MAX), [], HIDDEN, INTERNAL;
        /// Bytes after which loading looks after clients.
        loading_process_events_interval_bytes: u64 = 2 << 20, Integer(1024, INT_MAX), [], HIDDEN, INTERNAL;
    }
    "Append-only file" {
        /// Log every write to a file.
        appendonly: bool = false, Plain, [], MUTABLE, PERSISTENCE;
        /// Beginning of the names of these files.
        appendfilename: String = text("appendonly.aof"), Checked(appendfilename), [], IMMUTABLE, PERSISTENCE;
        /// Directory of these files.
        appenddirname: String = text("appendonlydir"), Checked(appenddirname), [], IMMUTABLE, PERSISTENCE;
        /// When the log is forced to disk.
        appendfsync: AppendFsync = AppendFsync::EverySecond, Plain, [], MUTABLE, PERSISTENCE;
        /// Do not force it to disk while it is rewritten.
        no_appendfsync_on_rewrite: bool = false, Plain, [], MUTABLE, NO_FORK;
        /// Percent of growth after which the log is rewritten; 0 means never.
        auto_aof_rewrite_percentage: u64 = 100, COUNT, [], MUTABLE, PERSISTENCE;
        /// Size below which the log is not rewritten.
        auto_aof_rewrite_min_size: u64 = 64 << 20, BYTES, [], MUTABLE, PERSISTENCE;
        /// Start from a log whose end is cut off.
        aof_load_truncated: bool = true, Plain, [], MUTABLE, PERSISTENCE;
        /// Begin a rewritten log with a snapshot.
        aof_use_rdb_preamble: bool = true, Plain, [], MUTABLE, PERSISTENCE;
        /// Put the time into the log.
        aof_timestamp_enabled: bool = false, Plain, [], MUTABLE, PERSISTENCE;
        /// Force a rewritten log to disk a little at a time.
        aof_rewrite_incremental_fsync: bool = true, Plain, [], MUTABLE, PERSISTENCE;
        /// Keep old files of the log.
        aof_disable_auto_gc: bool = false, Plain, [], MUTABLE, PERSISTENCE;
    }
    "Replication" {
        /// Leader to follow.
        replicaof: Option<ReplicaOf> = None, Plain, ["slaveof"], IMMUTABLE, Works;
        /// Password for the leader.
        masterauth: String = text(""), Unset, [], MUTABLE, Works;
        /// User for the leader.
        masteruser: String = text(""), Unset, [], MUTABLE, Works;
        /// Answer from old data while the leader is out of reach.
        replica_serve_stale_data: bool = true, Plain, ["slave-serve-stale-data"], MUTABLE, Works;
        /// Refuse writes of clients on a follower.
        replica_read_only: bool = true, Plain, ["slave-read-only"], MUTABLE, Works;
        /// Leave eviction on a follower to its leader.
        replica_ignore_maxmemory: bool = true, Plain, ["slave-ignore-maxmemory"], MUTABLE, REPLICATION;
        /// Free the old data in the background before a full synchronisation.
        replica_lazy_flush: bool = false, Plain, ["slave-lazy-flush"], MUTABLE, NO_BIO;
        /// Rank for promotion, the lowest first; 0 means never.
        replica_priority: u64 = 100, COUNT, ["slave-priority"], MUTABLE, Works;
        /// Whether Sentinel lists this follower.
        replica_announced: bool = true, Plain, [], MUTABLE, Works;
        /// Address that a follower tells its leader.
        replica_announce_ip: String = text(""), Unset, ["slave-announce-ip"], MUTABLE, Works;
        /// Port that a follower tells its leader; 0 means its own.
        replica_announce_port: u16 = 0, PORT, ["slave-announce-port"], MUTABLE, Works;
        /// Let a follower go on when it cannot write to disk.
        replica_ignore_disk_write_errors: bool = false, Plain, [], MUTABLE, REPLICATION;
        /// What a follower does when the leader's stream makes an error.
        propagation_error_behavior: PropagationErrorBehavior = PropagationErrorBehavior::Ignore, Plain, [], MUTABLE, Works;
        /// Send a full synchronisation without a file.
        repl_diskless_sync: bool = true, Plain, [], MUTABLE, Accepted("a full synchronisation is always sent without a file");
        /// Seconds to wait for more followers before it starts.
        repl_diskless_sync_delay: u64 = 5, COUNT, [], MUTABLE, Works;
        /// Followers after which it starts at once; 0 means no such number.
        repl_diskless_sync_max_replicas: u64 = 0, COUNT, [], MUTABLE, REPLICATION;
        /// How a follower loads a full synchronisation.
        repl_diskless_load: DisklessLoad = DisklessLoad::Disabled, Plain, [], MUTABLE, Accepted("a full synchronisation is always loaded as it arrives");
        /// Seconds between pings to followers.
        repl_ping_replica_period: u64 = 10, Integer(1, INT_MAX), ["repl-ping-slave-period"], MUTABLE, Works;
        /// Seconds of silence after which the link is given up.
        repl_timeout: u64 = 60, Integer(1, INT_MAX), [], MUTABLE, Works;
        /// Send the stream in fewer, larger packets.
        repl_disable_tcp_nodelay: bool = false, Plain, [], MUTABLE, REPLICATION;
        /// Bytes of the stream that are kept for followers that come back.
        repl_backlog_size: u64 = 1 << 20, MemoryFloor(16 << 10), [], MUTABLE, Works;
        /// Seconds without followers after which they are dropped; 0 means never.
        repl_backlog_ttl: u64 = 3600, LONG_COUNT, [], MUTABLE, Works;
        /// Followers without which writes are refused.
        min_replicas_to_write: u64 = 0, COUNT, ["min-slaves-to-write"], MUTABLE, Works;
        /// Seconds of lag after which a follower does not count.
        min_replicas_max_lag: u64 = 10, COUNT, ["min-slaves-max-lag"], MUTABLE, Works;
        /// Close the connection after a reply that a follower must not send.
        close_on_replica_write: bool = true, Plain, [], HIDDEN, REPLICATION;
    }
    "Collections" {
        /// Fields up to which a hash stays compact.
        hash_max_listpack_entries: u64 = 512, LONG_COUNT, ["hash-max-ziplist-entries"], MUTABLE, Works;
        /// Length of a field or value up to which a hash stays compact.
        hash_max_listpack_value: u64 = 64, BYTES, ["hash-max-ziplist-value"], MUTABLE, Works;
        /// Elements of a list's node, or its size: -1 to -5 are 4 kb to 64 kb.
        list_max_listpack_size: i64 = -2, Integer(INT_MIN, INT_MAX), ["list-max-ziplist-size"], MUTABLE, Works;
        /// Nodes at both ends of a list that are not compressed; 0 compresses none.
        list_compress_depth: u64 = 0, COUNT, [], MUTABLE, COLLECTIONS;
        /// Members up to which a set of integers stays compact.
        set_max_intset_entries: u64 = 512, LONG_COUNT, [], MUTABLE, Works;
        /// Members up to which a set stays compact.
        set_max_listpack_entries: u64 = 128, LONG_COUNT, [], MUTABLE, Works;
        /// Length of a member up to which a set stays compact.
        set_max_listpack_value: u64 = 64, LONG_COUNT, [], MUTABLE, Works;
        /// Members up to which a sorted set stays compact.
        zset_max_listpack_entries: u64 = 128, LONG_COUNT, ["zset-max-ziplist-entries"], MUTABLE, Works;
        /// Length of a member up to which a sorted set stays compact.
        zset_max_listpack_value: u64 = 64, BYTES, ["zset-max-ziplist-value"], MUTABLE, Works;
        /// Bytes up to which a HyperLogLog stays compact.
        hll_sparse_max_bytes: u64 = 3000, BYTES, [], MUTABLE, Works;
        /// Bytes of a stream's node.
        stream_node_max_bytes: u64 = 4096, BYTES, [], MUTABLE, Works;
        /// Entries of a stream's node.
        stream_node_max_entries: u64 = 100, LONG_COUNT, [], MUTABLE, Works;
    }
    "Scripts" {
        /// Milliseconds after which a script makes the server answer BUSY.
        busy_reply_threshold: u64 = 5000, LONG_COUNT, ["lua-time-limit"], MUTABLE, SCRIPTS;
        /// Keep the parts of Lua's interface that Redis 7 dropped.
        lua_enable_deprecated_api: bool = false, Plain, [], HIDDEN_IMMUTABLE, SCRIPTS;
    }
    "Cluster" {
        /// Run as a node of a cluster.
        cluster_enabled: bool = false, Plain, [], IMMUTABLE, CLUSTER;
        /// File in which a node keeps what it knows of the cluster.
        cluster_config_file: String = text("nodes.conf"), Plain, [], IMMUTABLE, CLUSTER;
        /// Port of the cluster's bus; 0 means that of clients and 10,000.
        cluster_port: u16 = 0, PORT, [], IMMUTABLE, CLUSTER;
        /// Milliseconds of silence after which a node counts as failed.
        cluster_node_timeout: u64 = 15000, LONG_COUNT, [], MUTABLE, CLUSTER;
        /// Milliseconds between pings of the cluster's bus.
        cluster_ping_interval: u64 = 1000, Integer(1, INT_MAX), [], HIDDEN_IMMUTABLE, CLUSTER;
        /// Refuse requests while any slot is without a node.
        cluster_require_full_coverage: bool = true, Plain, [], MUTABLE, CLUSTER;
        /// Answer reads while the cluster is down.
        cluster_allow_reads_when_down: bool = false, Plain, [], MUTABLE, CLUSTER;
        /// Allow sharded publish and subscribe while the cluster is down.
        cluster_allow_pubsubshard_when_down: bool = true, Plain, [], MUTABLE, CLUSTER;
        /// How long a follower may have been cut off and still take over, in node timeouts.
        cluster_replica_validity_factor: u64 = 10, COUNT, ["cluster-slave-validity-factor"], MUTABLE, CLUSTER;
        /// Keep followers from taking over.
        cluster_replica_no_failover: bool = false, Plain, ["cluster-slave-no-failover"], MUTABLE, CLUSTER;
        /// Let followers move to leaders that have none.
        cluster_allow_replica_migration: bool = true, Plain, [], MUTABLE, CLUSTER;
        /// Followers that a leader keeps when others move.
        cluster_migration_barrier: u64 = 1, COUNT, [], MUTABLE, CLUSTER;
        /// Memory that the queue of a link may use; 0 means no limit.
        cluster_link_sendbuf_limit: u64 = 0, Memory(0, u64::MAX), [], MUTABLE, CLUSTER;
        /// What a node tells clients about where it is.
        cluster_preferred_endpoint_type: ClusterEndpointType = ClusterEndpointType::Ip, Plain, [], MUTABLE, CLUSTER;
        /// Address that a node announces.
        cluster_announce_ip: String = text(""), Unset, [], MUTABLE, CLUSTER;
        /// Host name that a node announces.
        cluster_announce_hostname: String = text(""), Checked(hostname), [], MUTABLE, CLUSTER;
        /// Name that a node announces to people.
        cluster_announce_human_nodename: String = text(""), Checked(node_name), [], MUTABLE, CLUSTER;
        /// Port that a node announces.
        cluster_announce_port: u16 = 0, PORT, [], MUTABLE, CLUSTER;
        /// TLS port that a node announces.
        cluster_announce_tls_port: u16 = 0, PORT, [], MUTABLE, CLUSTER;
        /// Port of the bus that a node announces.
        cluster_announce_bus_port: u16 = 0, PORT, [], MUTABLE, CLUSTER;
    }
    "TLS" {
        /// TCP port for TLS; 0 listens on none.
        tls_port: u16 = 0, TLS_REFUSED, [], MUTABLE, NO_TLS;
        /// Use TLS between the nodes of a cluster.
        tls_cluster: bool = false, TLS_REFUSED, [], MUTABLE, NO_TLS;
        /// Use TLS towards the leader.
        tls_replication: bool = false, TLS_REFUSED, [], MUTABLE, NO_TLS;
        /// Whether clients show a certificate.
        tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes, Plain, [], MUTABLE, NO_TLS;
        /// Certificate.
        tls_cert_file: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Key of the certificate.
        tls_key_file: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Password of the key.
        tls_key_file_pass: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Certificate for outgoing connections.
        tls_client_cert_file: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Key of that certificate.
        tls_client_key_file: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Password of that key.
        tls_client_key_file_pass: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Parameters of the Diffie-Hellman exchange.
        tls_dh_params_file: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// File of trusted certificates.
        tls_ca_cert_file: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Directory of trusted certificates.
        tls_ca_cert_dir: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Versions of TLS.
        tls_protocols: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Ciphers up to TLS 1.2.
        tls_ciphers: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Ciphers of TLS 1.3.
        tls_ciphersuites: String = text(""), Unset, [], MUTABLE, NO_TLS;
        /// Let the server choose the cipher.
        tls_prefer_server_ciphers: bool = false, Plain, [], MUTABLE, NO_TLS;
        /// Let clients resume sessions.
        tls_session_caching: bool = true, Plain, [], MUTABLE, NO_TLS;
        /// Sessions that are remembered.
        tls_session_cache_size: u64 = 20480, COUNT, [], MUTABLE, NO_TLS;
        /// Seconds for which they are remembered.
        tls_session_cache_timeout: u64 = 300, COUNT, [], MUTABLE, NO_TLS;
    }
}
