//! Process tests: the real binary over TCP and unix sockets, with Redis's own tools and a client library.
//!
//! Every test that depends on how keys are spread runs with each count in [`SHARDS`].

mod blocking;
mod clients;
mod differential;
mod expiry;
mod failover;
mod fairness;
mod harness;
mod leading;
mod limits;
mod newer;
mod peers;
mod protocol;
mod pubsub;
mod rdb;
mod replication;
mod saving;
mod starting;
mod tools;
mod tracking;
mod transactions;
mod wire;

/// The numbers of shards that the process tests run with.
const SHARDS: [usize; 3] = [1, 2, 4];

/// Runs `test` once per number of shards, on a fresh server each.
#[track_caller]
fn on_all_shards(args: &[&str], test: impl Fn(&harness::Server)) {
    for shards in SHARDS {
        let count = shards.to_string();
        let mut all = vec!["--shards", &count];
        all.extend(args);
        let server = harness::Server::start(&all);
        test(&server);
    }
}
