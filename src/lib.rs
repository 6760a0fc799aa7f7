//! Shardine: a Redis-compatible in-memory server, one pinned executor per core, nothing shared.
//!
//! The modules are layers: each imports only from those above it in this list, and `tests/tidy.rs`
//! holds that. `base stats config resp structures keyspace rdb log pubsub tracking command shard txn` are pure: no sockets,
//! files, clocks, threads or async, so that a seed can replay a whole node in one thread.

pub mod admin;
pub mod base;
pub mod command;
pub mod config;
pub mod keyspace;
pub mod log;
pub mod mesh;
pub mod pubsub;
pub mod rdb;
pub mod replication;
pub mod resp;
pub mod rt;
pub mod server;
pub mod session;
pub mod shard;
pub mod stats;
pub mod structures;
pub mod tracking;
pub mod txn;
