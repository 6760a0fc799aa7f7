//! Simulated nodes: all cores, the orderer and the clients in one thread, moved by a seed.
//!
//! A failing run prints its seed; `SEED=` replays it. `SHARDINE_SIM_SEEDS=` tries more of them.

mod blocking;
mod clients;
mod fuzz;
mod lines;
mod model;
pub mod node;
mod order;
mod replication;
mod saving;
mod sessions;
mod tracking;
mod transactions;
mod types;

/// Runs `test` with every seed of a run: `SEED` alone, or `SHARDINE_SIM_SEEDS` of them, or `usual` ones.
fn with_seeds(usual: u64, mut test: impl FnMut(u64)) {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    if let Some(seed) = number("SEED") {
        return test(seed);
    }
    for seed in 1..=number("SHARDINE_SIM_SEEDS").unwrap_or(usual) {
        let _watch = Watch(seed);
        test(seed);
    }
}

/// Says which seed a panic belongs to.
struct Watch(u64);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("SEED={} replays this", self.0);
        }
    }
}
