//! Model tests: random operations on our structures and on std's, which must agree after every step.
//!
//! A failing run prints its seed; `SEED=` replays it. `ROUNDS=` makes the runs longer.

mod hash;
mod keyspace;
mod list;
mod listpack;
mod pairs;
mod set;
mod sorted_set;
mod stream;
mod table;

use std::hash::{BuildHasher, Hasher, RandomState};

/// Random numbers from a printed seed (xorshift64*).
pub struct Random(u64);

impl Random {
    /// Starts from `SEED`, or from a fresh seed.
    pub fn from_env() -> Random {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish() | 1,
        };
        println!("SEED={seed}");
        Random(seed | 1)
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `percent` of all calls.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How many times longer than usual a test runs.
pub fn rounds() -> usize {
    std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().expect("ROUNDS is a number"))
}
