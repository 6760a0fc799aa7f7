//! Model tests: random operations on our structures and on std's, which must agree after every step.
//!
//! A failing run prints its seed; `SEED=` replays it. `ROUNDS=` makes the runs longer.

mod keyspace;
mod table;

use std::hash::{BuildHasher, Hasher, RandomState};

use shardine::base::random::Random;

/// Random numbers from `SEED`, or from a fresh seed, which is printed.
pub fn random() -> Random {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    println!("SEED={seed}");
    Random::new(seed)
}

/// True in `percent` of all calls.
pub fn chance(random: &mut Random, percent: u64) -> bool {
    random.below(100) < percent
}

/// How many times longer than usual a test runs.
pub fn rounds() -> usize {
    std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().expect("ROUNDS is a number"))
}
