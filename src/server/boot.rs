//! Starting: parameters, checks, listeners, cores. Everything that can refuse does so before the first core runs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use super::log;
use super::node::{NodeCore, Shared};
use crate::command::{Node, Registry};
use crate::config::{Config, Included, Invocation, parse_cpu_list, parse_file};
use crate::keyspace::KeyHasher;
use crate::rt::{self, CoreSpec, Listener, Options, Purger, StartError, sys};
use crate::structures::pairs::set_hash_seeds;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Bind(#[from] rt::BindError),
    #[error("the thread that gives memory back does not start: {0}")]
    Purger(std::io::Error),
    #[error("{0}")]
    Load(String),
}

/// Descriptors that the server itself needs besides its clients'.
pub(super) const OWN_DESCRIPTORS: u64 = 32;

/// Runs the server until it is told to stop.
pub(super) fn start(invocation: &Invocation) -> Result<(), BootError> {
    let (mut config, config_file) = configure(invocation)?;
    config.dir =
        std::path::absolute(&config.dir).map_or(config.dir, |path| path.display().to_string());
    sys::tune_allocator();
    log::start(config.loglevel, &config.logfile).map_err(BootError::Config)?;
    if config.disable_thp && !sys::disable_huge_pages() {
        tracing::warn!("the kernel does not let this process do without huge pages: expect pauses");
    }
    let plan = plan_cores(&config)?;
    let descriptors = rt::raise_nofile(config.maxclients + OWN_DESCRIPTORS);
    let clients_max = config
        .maxclients
        .min(descriptors.saturating_sub(OWN_DESCRIPTORS).max(1));
    let listeners = listen(&config)?;
    tracing::info!(
        "shardine {} starts, process {}",
        env!("CARGO_PKG_VERSION"),
        sys::process_id()
    );
    tracing::info!(
        "kernel {}, allocator {}",
        sys::kernel_name(),
        sys::allocator_name()
    );
    match &config_file {
        Some(path) => tracing::info!("configuration file {}", path.display()),
        None => tracing::info!("no configuration file: parameters have their defaults"),
    }
    plan.log();
    if clients_max < config.maxclients {
        tracing::warn!(
            "maxclients is {}, but the limit of open files (ulimit -n) allows only {clients_max} clients",
            config.maxclients
        );
    }
    let data_file = data_file(&config)?;
    let pid_file = write_pid_file(&config)?;
    let [a, b, c, d, ..] = random_words();
    set_hash_seeds([a, b, c, d]);
    let seeds = random_words();
    let shared = Arc::new(Shared {
        config: Arc::new(config),
        node: Arc::new(describe(
            config_file.as_deref(),
            plan.shards,
            seeds[4],
            seeds[5],
        )),
        registry: Box::leak(Box::new(Registry::new(crate::admin::TABLES))),
        hasher: KeyHasher::from_seeds([seeds[0], seeds[1], seeds[2], seeds[3]]),
        shards: plan.shards,
        purger: Purger::start().map_err(BootError::Purger)?,
        connections: AtomicU64::new(0),
        clients_max: AtomicU64::new(clients_max),
        load: data_file,
        failure: OnceLock::new(),
    });
    for listener in &listeners {
        match (listener.local_addr(), listener.path()) {
            (Some(address), _) => tracing::info!("ready to accept connections on {address}"),
            (_, Some(path)) => tracing::info!("ready to accept connections on {}", path.display()),
            _ => {}
        }
    }
    let options = Options {
        signals: true,
        ..Options::default()
    };
    let of_cores = shared.clone();
    let result = rt::run(
        &plan.cores,
        move |index| NodeCore::new(index, &of_cores),
        listeners,
        &options,
    );
    if let Some(path) = pid_file {
        // It may have been removed by hand.
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("shardine ends");
    result?;
    match shared.failure.get() {
        Some(why) => Err(BootError::Load(why.clone())),
        None => Ok(()),
    }
}

/// The file that is loaded at the start, if there is one. A folder that is not there is refused: nothing could be saved.
fn data_file(config: &Config) -> Result<Option<PathBuf>, BootError> {
    let folder = Path::new(&config.dir);
    if !folder.is_dir() {
        return Err(BootError::Config(format!(
            "dir: {} is no folder that can be reached",
            folder.display()
        )));
    }
    let path = folder.join(&config.dbfilename);
    match path.try_exists() {
        Ok(there) => Ok(there.then_some(path)),
        Err(error) => Err(BootError::Config(format!(
            "{} cannot be looked for: {error}",
            path.display()
        ))),
    }
}

/// The parameters: defaults, then the file, then standard input, then the command line.
fn configure(invocation: &Invocation) -> Result<(Config, Option<PathBuf>), BootError> {
    let mut config = Config::default();
    let mut path = None;
    if let Some(file) = &invocation.config_file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            BootError::Config(format!(
                "the configuration file {} cannot be read: {error}",
                file.display()
            ))
        })?;
        read_config(&text, &file.display().to_string(), &mut config)?;
        path = Some(std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    }
    if invocation.from_stdin {
        let text = std::io::read_to_string(std::io::stdin()).map_err(|error| {
            BootError::Config(format!("standard input cannot be read: {error}"))
        })?;
        read_config(&text, "standard input", &mut config)?;
    }
    invocation
        .apply(&mut config)
        .map_err(|error| BootError::Config(error.to_string()))?;
    Ok((config, path))
}

fn read_config(text: &str, origin: &str, config: &mut Config) -> Result<(), BootError> {
    parse_file(text, origin, config, &mut include)
        .map_err(|error| BootError::Config(error.to_string()))
}

/// Reads what an `include` line names: one file, or all that a pattern in the file's name matches.
fn include(pattern: &str) -> Result<Vec<Included>, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map(|text| Included {
                origin: path.display().to_string(),
                text,
            })
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let path = Path::new(pattern);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if !name.contains(['*', '?', '[']) {
        return Ok(vec![read(path)?]);
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|found| {
            let found = found
                .file_name()
                .map(|name| name.as_encoded_bytes())
                .unwrap_or_default();
            crate::base::glob::matches(name.as_bytes(), found, false)
        })
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// Which cores there are, and where they run.
struct Plan {
    shards: usize,
    cores: Vec<CoreSpec>,
    cpus: usize,
}

/// One shard per CPU that the process may use, less the one that the replication shard gets when there are four or more.
fn plan_cores(config: &Config) -> Result<Plan, BootError> {
    let available = rt::available_cpus().map_err(|error| {
        BootError::Config(format!("the CPUs of this process cannot be read: {error}"))
    })?;
    let mut cpus = available;
    if !config.server_cpulist.is_empty() {
        cpus = parse_cpu_list(&config.server_cpulist)
            .map_err(|error| BootError::Config(format!("server-cpulist: {error}")))?;
        rt::check_cpus(&cpus)?;
    }
    let own_cpu = cpus.len() >= 4;
    let shards = match config.shards {
        0 => (cpus.len() - usize::from(own_cpu)).max(1),
        shards => shards as usize,
    };
    let pinned = shards <= cpus.len();
    let mut cores: Vec<CoreSpec> = (0..shards)
        .map(|shard| CoreSpec {
            name: format!("shard-{shard}"),
            cpu: pinned.then(|| cpus[shard]),
        })
        .collect();
    cores.push(CoreSpec {
        name: "replication".into(),
        cpu: (own_cpu && shards < cpus.len()).then(|| cpus[shards]),
    });
    Ok(Plan {
        shards,
        cores,
        cpus: cpus.len(),
    })
}

impl Plan {
    fn log(&self) {
        let (replication, shards) = self
            .cores
            .split_last()
            .expect("there is always the replication shard");
        let places: Vec<String> = shards
            .iter()
            .map(|core| match core.cpu {
                Some(cpu) => format!("{} on CPU {cpu}", core.name),
                None => format!("{} not pinned", core.name),
            })
            .collect();
        tracing::info!("{} shards: {}", self.shards, places.join(", "));
        match replication.cpu {
            Some(cpu) => tracing::info!("replication shard on CPU {cpu}"),
            None => tracing::info!("replication shard not pinned"),
        }
        if self.shards > self.cpus {
            tracing::warn!(
                "there are {} shards for {} CPUs: they are not pinned and take turns",
                self.shards,
                self.cpus
            );
        }
    }
}

/// Opens the listening sockets of `bind`, `port` and `unixsocket`.
pub(super) fn listen(config: &Config) -> Result<Vec<Listener>, BootError> {
    let backlog = config.tcp_backlog as u32;
    let mut listeners = Vec::new();
    // First, so that whoever reaches the port finds the socket file too.
    if !config.unixsocket.is_empty() {
        let mode = (config.unixsocketperm != 0).then_some(config.unixsocketperm);
        listeners.push(Listener::unix(
            Path::new(&config.unixsocket),
            mode,
            backlog,
        )?);
    }
    if config.port != 0 {
        for bind in &config.bind {
            let (optional, name) = match bind.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, bind.as_str()),
            };
            for address in addresses(name)? {
                match Listener::tcp(address, config.port, backlog) {
                    Ok(listener) => listeners.push(listener),
                    Err(error) if optional && error.is_address_unavailable() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    if listeners.is_empty() {
        return Err(BootError::Config(
            "there is nothing to listen on: port is 0, or bind names only addresses that this machine does not have, and unixsocket is not set".into(),
        ));
    }
    Ok(listeners)
}

/// The addresses that an element of `bind` means.
fn addresses(name: &str) -> Result<Vec<IpAddr>, BootError> {
    use std::net::{Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
    match name {
        "*" => Ok(vec![Ipv4Addr::UNSPECIFIED.into()]),
        "::*" => Ok(vec![Ipv6Addr::UNSPECIFIED.into()]),
        _ => match name.parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => {
                let mut found: Vec<IpAddr> = (name, 0)
                    .to_socket_addrs()
                    .map_err(|error| {
                        BootError::Config(format!(
                            "bind: the name {name} cannot be resolved: {error}"
                        ))
                    })?
                    .map(|address| address.ip())
                    .collect();
                found.sort();
                found.dedup();
                Ok(found)
            }
        },
    }
}

fn write_pid_file(config: &Config) -> Result<Option<PathBuf>, BootError> {
    if config.pidfile.is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(&config.pidfile);
    match std::fs::write(&path, format!("{}\n", sys::process_id())) {
        Ok(()) => Ok(Some(path)),
        Err(error) => {
            // As in Redis: the server is more important than the file.
            tracing::warn!("the pid file {} cannot be written: {error}", path.display());
            Ok(None)
        }
    }
}

fn random_words() -> [u64; 8] {
    let mut bytes = [0; 64];
    sys::fill_random(&mut bytes);
    let mut words = [0; 8];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
    }
    words
}

fn describe(config_file: Option<&Path>, shards: usize, seed_a: u64, seed_b: u64) -> Node {
    let mut random = crate::base::random::Random::new(seed_a ^ seed_b.rotate_left(32));
    let mut id = || {
        let digits = format!(
            "{:016x}{:016x}{:016x}",
            random.next_u64(),
            random.next_u64(),
            random.next_u64()
        );
        digits[..40].to_string()
    };
    Node {
        run_id: id(),
        replication_id: id(),
        started_us: rt::Now::read().wall_us as i64,
        pid: sys::process_id(),
        executable: std::env::current_exe()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        config_file: config_file
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        os: sys::kernel_name(),
        multiplexing_api: "epoll",
        allocator: sys::allocator_name(),
        shards,
    }
}
