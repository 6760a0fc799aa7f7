//! Shardine: a Redis-compatible in-memory server, one pinned executor per core, nothing shared.
//!
//! The modules are layers: each imports only from those above it in this list, and `tests/tidy.rs`
//! holds that. `base stats config resp structures keyspace command shard txn` are pure: no sockets,
//! files, clocks, threads or async, so that a seed can replay a whole node in one thread.

pub mod base;
pub mod stats;
pub mod config;
pub mod rt;
pub mod resp;
pub mod structures;
pub mod keyspace;
pub mod command;
pub mod mesh;
pub mod shard;
pub mod txn;
pub mod admin;
pub mod session;
pub mod server;
