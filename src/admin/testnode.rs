//! A node of several cores in one thread, for tests of client handlers: lines in, replies as escaped text out. Visits
//! run at once, in the order of the cores.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::registry;
use crate::command::replicating::Answer;
use crate::command::testkit::{escape, split};
use crate::command::{
    Client, ClientCx, Clients, CoreView, Fault, Flow, Node, Now, Os, Part, Place, Registry, Run,
    Switches, Visit, WaitingCount, Where, check_protected,
};
use crate::config::{Config, ProtectedAction};
use crate::keyspace::{KeyHasher, Keyspace};
use crate::log::Lane;
use crate::pubsub::Tables;
use crate::resp::{Line, Output, Reply, Span};
use crate::stats::CoreStats;
use crate::tracking;

/// What the node did to its operating system.
#[derive(Default)]
pub struct TestOs {
    pub file: RefCell<Option<String>>,
    pub stopped: Cell<bool>,
    pub purged: Cell<u32>,
    pub slept_ms: Cell<u64>,
}

impl Os for TestOs {
    fn resident_bytes(&self) -> u64 {
        64 << 20
    }
    fn machine_memory_bytes(&self) -> u64 {
        1 << 30
    }
    fn cpu_seconds(&self) -> [f64; 4] {
        [1.0, 2.0, 0.0, 0.0]
    }
    fn thread_cpu_seconds(&self) -> [f64; 2] {
        [0.5, 0.5]
    }
    fn runtime_counters(&self) -> Vec<(&'static str, u64)> {
        vec![("mesh_messages", 7)]
    }
    fn collect_memory(&self) {}

    fn trim_memory(&self) {}

    fn purge_memory(&self) {
        self.purged.set(self.purged.get() + 1);
    }
    fn allocator_report(&self) -> String {
        "none".into()
    }
    fn read_file(&self, _: &str) -> Result<String, String> {
        self.file
            .borrow()
            .clone()
            .ok_or_else(|| "No such file or directory".into())
    }
    fn write_file(&self, _: &str, text: &str) -> Result<(), String> {
        self.file.replace(Some(text.into()));
        Ok(())
    }
    fn sleep(&self, ms: u64) {
        self.slept_ms.set(self.slept_ms.get() + ms);
    }
    fn monotonic_ns(&self) -> u64 {
        0
    }
    fn log_warning(&self, _: &str) {}
    fn shutdown(&self) {
        self.stopped.set(true);
    }
    fn random(&self) -> u64 {
        42
    }
}

struct Core {
    keyspace: Keyspace,
    stats: CoreStats,
    clients: CoreClients,
    config: Arc<Config>,
    switches: Switches,
    pubsub: Tables,
    tracking: tracking::Tables,
}

#[derive(Default)]
struct CoreClients(Vec<Client>);

impl Clients for CoreClients {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Client)) {
        self.0.iter_mut().for_each(visit);
    }
    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The node. Clients are numbered in the order in which they connect; their ids are 10 and up.
pub struct TestNode {
    cores: Vec<Core>,
    homes: Vec<usize>,
    pub os: TestOs,
    pub node: Node,
    pub registry: &'static Registry,
    pub now: Now,
}

impl TestNode {
    /// A node of `cores` cores without clients.
    pub fn new(cores: usize) -> TestNode {
        let config = Arc::new(Config::default());
        let core = |index| Core {
            keyspace: Keyspace::new(16, KeyHasher::from_seeds([1, 2, 3, 4]), index),
            stats: CoreStats::new(registry().all().len()),
            clients: CoreClients::default(),
            config: config.clone(),
            switches: Switches::default(),
            pubsub: Tables::new(index as usize, cores),
            tracking: tracking::Tables::new(index as usize, cores, index),
        };
        TestNode {
            cores: (0..cores as u64).map(core).collect(),
            homes: Vec::new(),
            os: TestOs::default(),
            node: Node {
                run_id: "a".repeat(40),
                replication_id: "b".repeat(40),
                started_us: 1_700_000_000_000_000,
                pid: 1,
                executable: "/bin/shardine".into(),
                config_file: String::new(),
                os: "Linux".into(),
                multiplexing_api: "epoll",
                allocator: "none".into(),
                shards: cores,
            },
            registry: registry(),
            now: Now {
                wall_us: 1_700_000_010_000_000,
                mono_ns: 0,
            },
        }
    }

    /// A client on a core, authenticated.
    pub fn connect(&mut self, core: usize) {
        let mut client = Client::new(10 + self.homes.len() as u64, self.now.wall_ms());
        client.addr = format!("127.0.0.1:{}", 1000 + self.homes.len()).into();
        client.laddr = "127.0.0.1:6379".into();
        client.authenticated = true;
        self.cores[core].clients.0.push(client);
        self.homes.push(core);
    }

    pub fn stats(&mut self, core: usize) -> &mut CoreStats {
        &mut self.cores[core].stats
    }

    pub fn keyspace(&mut self, core: usize) -> &mut Keyspace {
        &mut self.cores[core].keyspace
    }

    pub fn config(&self, core: usize) -> &Config {
        &self.cores[core].config
    }

    pub fn switches(&self, core: usize) -> &Switches {
        &self.cores[core].switches
    }

    /// Sets `enable-debug-command`, as only the file can.
    pub fn allow_debug(&mut self) {
        for core in &mut self.cores {
            Arc::make_mut(&mut core.config).enable_debug_command = ProtectedAction::Yes;
        }
    }

    pub fn client(&mut self, number: usize) -> &mut Client {
        let clients = &mut self.cores[self.homes[number]].clients.0;
        let id = 10 + number as u64;
        clients
            .iter_mut()
            .find(|client| client.id == id)
            .expect("it is connected")
    }

    /// Runs a client's line; the reply with CRLF as `|`.
    pub fn run(&mut self, client: usize, line: &str) -> String {
        let args = split(line);
        let (mut buffer, mut spans) = (Vec::new(), Vec::new());
        for arg in &args {
            spans.push(Span::inline(buffer.len(), arg.len()));
            buffer.extend_from_slice(arg);
        }
        escape(&self.run_line(client, Line::new(&buffer, &spans, &[])))
    }

    /// Runs a client's line that replies with a string, and returns that.
    pub fn text(&mut self, client: usize, line: &str) -> String {
        let reply = self
            .run(client, line)
            .replace('|', "\r\n")
            .replace("\\\r\n", "|");
        let (_, text) = reply.split_once("\r\n").expect("a header");
        text.strip_suffix("\r\n")
            .expect("an end")
            .replace("\\x0a", "\n")
    }

    fn run_line(&mut self, number: usize, line: Line<'_>) -> Vec<u8> {
        let mut out = Output::default();
        let proto = self.client(number).proto;
        let Some(id) = self.registry.resolve(&line) else {
            let name = String::from_utf8_lossy(line.arg(1));
            let container = String::from_utf8_lossy(line.arg(0)).to_uppercase();
            Reply::new(&mut out, proto).error(format!(
                "ERR unknown subcommand '{name}'. Try {container} HELP."
            ));
            return out.to_vec();
        };
        let command = self.registry.get(id).command;
        self.client(number).last_command = Some(command);
        let home = self.homes[number];
        let allowed = check_protected(
            command,
            &self.cores[home].config.clone(),
            self.client(number),
        );
        let mut result = if !command.arity_holds(line.len()) {
            Err(Fault::text(format!(
                "ERR wrong number of arguments for '{}' command",
                command.name
            )))
        } else {
            let Run::Client(handler) = command.run else {
                panic!("{} is no client command", command.name);
            };
            allowed.and_then(|()| self.with_client(number, line, &mut out, handler))
        };
        while let Ok(Flow::Visit(Visit {
            to, part, merge, ..
        })) = result
        {
            let cores = match to {
                Where::All | Where::Replication => 0..self.cores.len(),
                Where::One(core) => core..core + 1,
            };
            let parts: Vec<Part> = match to {
                Where::Replication => vec![Box::new(Answer::Status(Box::default()))],
                _ => cores
                    .map(|core| self.view(core, |view| part(view)))
                    .collect(),
            };
            let empty = Line::new(&[], &[], &[]);
            result = self.with_client(number, empty, &mut out, |cx| merge(parts, cx));
        }
        if let Err(fault) = result {
            Reply::new(&mut out, self.client(number).proto).error(fault.as_bytes());
        }
        out.to_vec()
    }

    /// Runs `body` as the session does: the own client stands beside the core's others.
    fn with_client(
        &mut self,
        number: usize,
        line: Line<'_>,
        out: &mut Output,
        body: impl FnOnce(&mut ClientCx<'_, '_>) -> Result<Flow, Fault>,
    ) -> Result<Flow, Fault> {
        let home = self.homes[number];
        let clients = &mut self.cores[home].clients.0;
        let place = clients
            .iter()
            .position(|client| client.id == 10 + number as u64);
        let mut client = clients.remove(place.expect("it is connected"));
        let reply = Reply::new(out, client.proto);
        let result = self.view(home, |core| {
            body(&mut ClientCx {
                line,
                reply,
                client: &mut client,
                core,
            })
        });
        self.cores[home].clients.0.push(client);
        result
    }

    fn view<R>(&mut self, index: usize, body: impl FnOnce(&mut CoreView<'_>) -> R) -> R {
        let count = self.cores.len();
        let core = &mut self.cores[index];
        body(&mut CoreView {
            place: Place { index, count },
            keyspace: &mut core.keyspace,
            waiting: WaitingCount::default(),
            stats: &mut core.stats,
            clients: &mut core.clients,
            pubsub: &mut core.pubsub,
            lane: &mut Lane::default(),
            tracking: &mut core.tracking,
            config: &mut core.config,
            node: &self.node,
            registry: self.registry,
            switches: &mut core.switches,
            os: &self.os,
            now: self.now,
        })
    }
}
