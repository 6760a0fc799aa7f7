//! Administration: what a node tells about itself and lets be changed while it runs.
//!
//! All of it are client commands: a handler runs on the session's core, and what concerns the node visits the cores
//! and merges their answers (counters are added, lists joined and sorted). Nothing here knows how a visit travels.

pub mod command_info;
pub mod config_command;
pub mod debug;
pub mod info;
pub mod latency;
pub mod manual;
pub mod memory;
pub mod modules;
pub mod server;
pub mod slow_log;

mod facts;
mod lolwut;
#[cfg(test)]
mod testnode;

use std::sync::OnceLock;

use crate::command::{
    Command, Registry, bitmap, client_command, cluster, connection, database, dump, expire,
    generic, geo, hash, hyperloglog, list, object, pubsub, replication, saving, scan, set, sort,
    sorted_set, stream, string, transaction,
};

/// The tables of all families: the one place that knows which there are.
pub const TABLES: &[&[Command]] = &[
    bitmap::TABLE,
    client_command::TABLE,
    cluster::TABLE,
    command_info::TABLE,
    config_command::TABLE,
    connection::TABLE,
    database::TABLE,
    debug::TABLE,
    dump::TABLE,
    expire::TABLE,
    generic::TABLE,
    geo::TABLE,
    hash::TABLE,
    hyperloglog::TABLE,
    info::TABLE,
    latency::TABLE,
    list::TABLE,
    memory::TABLE,
    modules::TABLE,
    object::TABLE,
    pubsub::TABLE,
    replication::TABLE,
    saving::TABLE,
    scan::TABLE,
    server::TABLE,
    set::TABLE,
    slow_log::TABLE,
    sort::TABLE,
    sorted_set::TABLE,
    stream::TABLE,
    string::TABLE,
    transaction::TABLE,
];

/// All commands of this server, built at the first call.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::new(TABLES))
}
