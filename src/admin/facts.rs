//! What INFO and MEMORY gather from every core, and how it adds up.

use crate::command::{CoreView, Os, WaitingCount};
use crate::keyspace::Stats as KeyspaceStats;
use crate::stats::CoreStats;

/// One database, on one core or on all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Database {
    pub keys: usize,
    pub expires: usize,
    /// Sum over the keys with an expiry.
    pub ttl_ms: i128,
    pub table_bytes: usize,
}

impl Database {
    /// The mean time to live, milliseconds.
    pub fn avg_ttl_ms(&self) -> i64 {
        match self.expires {
            0 => 0,
            expires => (self.ttl_ms / expires as i128) as i64,
        }
    }
}

/// The clients of one core, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientFacts {
    pub count: usize,
    pub blocked: usize,
    pub waiting: WaitingCount,
    pub subscribers: usize,
    pub watching: usize,
    pub watched_keys: usize,
    pub tracking: usize,
    pub memory_bytes: usize,
    pub query_bytes_max: usize,
    pub output_bytes_max: usize,
}

/// What one core knows, or all of them together.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub stats: CoreStats,
    pub keyspace: KeyspaceStats,
    pub databases: Vec<Database>,
    pub dataset_bytes: usize,
    pub garbage_keys: usize,
    pub clients: ClientFacts,
    /// Keys remembered for client-side caching, the same counted for each reader, and the memory of that.
    pub tracked: [usize; 3],
    pub runtime: Vec<(&'static str, u64)>,
    pub thread_cpu_s: [f64; 2],
    /// Of the counters, from the start on.
    pub startup_bytes: usize,
    /// Of the counters, what came with the commands that were called.
    pub stats_bytes: usize,
}

impl Facts {
    /// Gathers what this core knows; `histograms` says whether latencies are wanted.
    pub fn of(core: &mut CoreView<'_>, histograms: bool) -> Facts {
        let keyspace = &*core.keyspace;
        let databases = (0..keyspace.databases())
            .map(|db| Database {
                keys: keyspace.len(db),
                expires: keyspace.expires(db),
                ttl_ms: i128::from(keyspace.avg_ttl(db)) * keyspace.expires(db) as i128,
                table_bytes: keyspace.table_memory(db),
            })
            .collect();
        let mut clients = ClientFacts {
            waiting: core.waiting,
            ..ClientFacts::default()
        };
        core.clients.each(&mut |client| {
            clients.count += 1;
            clients.blocked += usize::from(client.blocked);
            clients.subscribers += usize::from(client.is_subscriber());
            clients.watching += usize::from(client.watching > 0);
            clients.watched_keys += client.watching as usize;
            clients.tracking += usize::from(client.tracking.is_some());
            clients.memory_bytes += client.memory_bytes;
            clients.query_bytes_max = clients.query_bytes_max.max(client.query_bytes);
            clients.output_bytes_max = clients.output_bytes_max.max(client.output_bytes);
        });
        Facts {
            stats: core.stats.snapshot(histograms),
            keyspace: core.keyspace.stats(),
            databases,
            dataset_bytes: core.keyspace.memory(),
            garbage_keys: core.keyspace.garbage_keys(),
            clients,
            tracked: [
                core.tracking.keys(),
                core.tracking.items(),
                core.tracking.memory_bytes(),
            ],
            runtime: core.os.runtime_counters(),
            thread_cpu_s: core.os.thread_cpu_seconds(),
            startup_bytes: core.stats.startup_bytes(),
            stats_bytes: core.stats.grown_bytes(),
        }
    }

    /// Everything of all cores. `parts` has at least one.
    pub fn merge(parts: Vec<Facts>) -> Facts {
        let mut parts = parts.into_iter();
        let mut all = parts.next().expect("a node has a core");
        let mut cores = 1.0;
        for part in parts {
            all.add(&part);
            cores += 1.0;
        }
        all.keyspace.expired_stale_percent /= cores;
        all
    }

    fn add(&mut self, part: &Facts) {
        self.stats.merge(&part.stats);
        self.keyspace.hits += part.keyspace.hits;
        self.keyspace.misses += part.keyspace.misses;
        self.keyspace.expired += part.keyspace.expired;
        self.keyspace.expired_fields += part.keyspace.expired_fields;
        self.keyspace.evicted += part.keyspace.evicted;
        self.keyspace.expired_time_cap_reached += part.keyspace.expired_time_cap_reached;
        self.keyspace.expired_stale_percent += part.keyspace.expired_stale_percent;
        for (database, more) in self.databases.iter_mut().zip(&part.databases) {
            database.keys += more.keys;
            database.expires += more.expires;
            database.ttl_ms += more.ttl_ms;
            database.table_bytes += more.table_bytes;
        }
        self.dataset_bytes += part.dataset_bytes;
        self.garbage_keys += part.garbage_keys;
        let (clients, more) = (&mut self.clients, &part.clients);
        clients.count += more.count;
        clients.blocked += more.blocked;
        clients.waiting.keys += more.waiting.keys;
        clients.waiting.keys_on_missing += more.waiting.keys_on_missing;
        clients.waiting.timeouts += more.waiting.timeouts;
        clients.subscribers += more.subscribers;
        clients.watching += more.watching;
        clients.watched_keys += more.watched_keys;
        clients.tracking += more.tracking;
        clients.memory_bytes += more.memory_bytes;
        clients.query_bytes_max = clients.query_bytes_max.max(more.query_bytes_max);
        clients.output_bytes_max = clients.output_bytes_max.max(more.output_bytes_max);
        for (sum, more) in self.tracked.iter_mut().zip(part.tracked) {
            *sum += more;
        }
        for (name, value) in &part.runtime {
            match self.runtime.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => self.runtime.push((name, *value)),
            }
        }
        self.thread_cpu_s[0] += part.thread_cpu_s[0];
        self.thread_cpu_s[1] += part.thread_cpu_s[1];
        self.startup_bytes += part.startup_bytes;
        self.stats_bytes += part.stats_bytes;
    }

    /// A counter of the runtime; 0 where the runtime has none of that name.
    pub fn runtime(&self, name: &str) -> u64 {
        let found = self.runtime.iter().find(|(known, _)| *known == name);
        found.map_or(0, |(_, value)| *value)
    }

    /// Keys of all databases.
    pub fn keys(&self) -> usize {
        self.databases.iter().map(|database| database.keys).sum()
    }
}

/// How memory is used, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// All that is accounted for.
    pub used: u64,
    /// Keys, values and their tables.
    pub dataset: u64,
    /// Clients and counters.
    pub overhead: u64,
    /// What an empty node has.
    pub startup: u64,
    /// The most that was ever used.
    pub peak: u64,
    /// Resident, by the kernel's account.
    pub resident: u64,
}

impl Memory {
    /// From the facts of all cores.
    pub fn of(facts: &Facts, os: &dyn Os) -> Memory {
        let dataset = facts.dataset_bytes as u64;
        let startup = facts.startup_bytes as u64;
        let grown = facts.stats_bytes + facts.clients.memory_bytes + facts.tracked[2];
        let overhead = startup + grown as u64;
        let used = dataset + overhead;
        Memory {
            used,
            dataset,
            overhead,
            startup,
            peak: facts.stats.memory_peak_bytes.max(used),
            resident: os.resident_bytes(),
        }
    }

    /// Resident bytes per byte used.
    pub fn fragmentation(&self) -> f64 {
        self.resident as f64 / self.used.max(1) as f64
    }

    /// The data's share of what is not there from the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        self.dataset as f64 * 100.0 / self.used.saturating_sub(self.startup).max(1) as f64
    }
}
