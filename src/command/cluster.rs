//! What clients of a Redis Cluster ask a server that is none: every command that they may begin with, and its refusal.
//!
//! A node is one server to its clients, however many shards it has. Which subcommands of CLUSTER exist, and how many
//! arguments they take, is checked all the same: clients tell an old server from one without a cluster by that.

use super::{ClientCx, Command, Fault, Flow, Group, Run, category, flag};

/// The family's rows.
pub const TABLE: &[Command] = &[
    Command {
        summary: "Lets the next line use a slot that is being imported.",
        categories: category::CONNECTION,
        ..row("asking", 1, flag::FAST)
    },
    Command {
        complexity: "Depends on subcommand.",
        summary: "A container for cluster commands.",
        subcommands: SUBCOMMANDS,
        group: Group::Cluster,
        since: "3.0.0",
        ..Command::new("cluster", -2, 0, Run::Container)
    },
    Command {
        summary: "Allows reads from a replica of a cluster.",
        categories: category::CONNECTION,
        ..row("readonly", 1, flag::FAST | flag::LOADING | flag::STALE)
    },
    Command {
        summary: "Ends what READONLY allowed.",
        categories: category::CONNECTION,
        ..row("readwrite", 1, flag::FAST | flag::LOADING | flag::STALE)
    },
];

const VARYING: &[&str] = &["nondeterministic_output"];

const SUBCOMMANDS: &[Command] = &[
    Command {
        summary: "Returns the number of keys in a hash slot.",
        syntax: "slot",
        ..row("cluster|countkeysinslot", 3, flag::STALE)
    },
    Command {
        complexity: "O(N) where N is the number of requested keys",
        summary: "Returns keys in a hash slot.",
        syntax: "slot count",
        tips: VARYING,
        ..row("cluster|getkeysinslot", 4, flag::STALE)
    },
    Command {
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..row("cluster|help", 2, flag::LOADING | flag::STALE)
    },
    Command {
        summary: "Returns information about the state of a cluster's node.",
        tips: VARYING,
        ..row("cluster|info", 2, flag::STALE)
    },
    Command {
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "Returns the hash slot of a key.",
        syntax: "key:string",
        ..row("cluster|keyslot", 3, flag::STALE)
    },
    Command {
        complexity: "O(N) where N is the total number of Cluster nodes",
        since: "7.0.0",
        summary: "Returns the connections between a cluster's nodes.",
        tips: VARYING,
        ..row("cluster|links", 2, flag::STALE)
    },
    Command {
        summary: "Returns the id of a cluster's node.",
        ..row("cluster|myid", 2, flag::STALE)
    },
    Command {
        since: "7.2.0",
        summary: "Returns the id of the shard of a cluster's node.",
        tips: VARYING,
        ..row("cluster|myshardid", 2, flag::STALE)
    },
    Command {
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Returns how a node sees the cluster.",
        tips: VARYING,
        ..row("cluster|nodes", 2, flag::STALE)
    },
    Command {
        since: "5.0.0",
        summary: "Lists the replicas of a node.",
        syntax: "node-id",
        tips: VARYING,
        ..row("cluster|replicas", 3, flag::ADMIN | flag::STALE)
    },
    Command {
        complexity: "O(N) where N is the total number of cluster nodes",
        since: "7.0.0",
        summary: "Returns the shards of a cluster, their slots and nodes.",
        tips: VARYING,
        ..row("cluster|shards", 2, flag::LOADING | flag::STALE)
    },
    Command {
        deprecated: Some(("5.0.0", "`CLUSTER REPLICAS`")),
        summary: "Lists the replicas of a node.",
        syntax: "node-id",
        tips: VARYING,
        ..row("cluster|slaves", 3, flag::ADMIN | flag::STALE)
    },
    Command {
        complexity: "O(N) where N is the total number of Cluster nodes",
        deprecated: Some(("7.0.0", "`CLUSTER SHARDS`")),
        summary: "Returns which nodes have which slots.",
        tips: VARYING,
        ..row("cluster|slots", 2, flag::LOADING | flag::STALE)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32) -> Command {
    Command {
        group: Group::Cluster,
        since: "3.0.0",
        ..Command::new(name, arity, flags, Run::Client(disabled))
    }
}

fn disabled(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Err(Fault::text(
        "ERR This instance has cluster support disabled",
    ))
}
