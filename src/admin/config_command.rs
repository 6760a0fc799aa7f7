//! The CONFIG container.
//!
//! Parameters are one value that all cores share by reference. Core 0 alone makes a new one, so that changes have an
//! order; then every core gets it, unless it has a later one already.

use std::sync::Arc;

use crate::command::{
    ClientCx, ClientHandler, Command, Fault, Flow, Group, Run, Where, flag, help,
    protected_action_allowed,
};
use crate::config::{Config, SetError};
use crate::resp::Line;

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for server configuration commands.",
    subcommands: SUBCOMMANDS,
    ..Command::new("config", -2, 0, Run::Container)
}];

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

const SUBCOMMANDS: &[Command] = &[
    Command {
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Returns the effective values of configuration parameters.",
        syntax: "parameter [parameter ...]",
        ..row("config|get", -3, ADMIN, get)
    },
    Command {
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..row("config|help", 2, flag::LOADING | flag::STALE, config_help)
    },
    Command {
        summary: "Resets the server's statistics.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("config|resetstat", 2, ADMIN, resetstat)
    },
    Command {
        since: "2.8.0",
        summary: "Persists the effective configuration to file.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("config|rewrite", 2, ADMIN, rewrite)
    },
    Command {
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Sets configuration parameters in-flight.",
        syntax: "parameter value [parameter value ...]",
        secret: Some(set_secret),
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("config|set", -4, ADMIN, set)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        since: "2.0.0",
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

fn config_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "CONFIG", HELP);
    Ok(Flow::Done)
}

fn get(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let found = cx.core.config.get(cx.line.args().skip(2));
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(name.as_bytes());
        cx.reply.bulk(value.as_bytes());
    }
    Ok(Flow::Done)
}

/// The value of a parameter that is a secret.
fn set_secret(line: &Line<'_>, index: usize) -> bool {
    const SECRETS: [&str; 5] = [
        "requirepass",
        "masterauth",
        "masteruser",
        "tls-key-file-pass",
        "tls-client-key-file-pass",
    ];
    index >= 3 && index % 2 == 1 && SECRETS.iter().any(|name| line.is(index - 1, name))
}

fn refusal(error: SetError) -> Fault {
    match error {
        SetError::Unknown(name) => Fault::showing(
            "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
            &[&name],
        ),
        refused => Fault::text(refused.to_string()),
    }
}

fn set(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.line.len() % 2 == 1 {
        return Err(Fault::Syntax);
    }
    let args: Vec<Vec<u8>> = cx.line.args().skip(2).map(<[u8]>::to_vec).collect();
    let protected_allowed =
        protected_action_allowed(cx.core.config.enable_protected_configs, cx.client);
    Ok(Flow::visit(
        Where::One(0),
        move |core| {
            let pairs: Vec<(&[u8], &[u8])> = args
                .chunks_exact(2)
                .map(|pair| (&pair[0][..], &pair[1][..]))
                .collect();
            let mut config = Config::clone(core.config);
            config.set(&pairs, protected_allowed).map_err(refusal)?;
            let config = Arc::new(config);
            core.switches.config_version += 1;
            adopt(core, &config);
            Ok((config, core.switches.config_version))
        },
        |parts: Vec<Result<(Arc<Config>, u64), Fault>>, _| {
            let part = parts.into_iter().next().expect("one core was visited");
            let (config, version) = part?;
            Ok(Flow::visit(
                Where::All,
                move |core| {
                    if core.switches.config_version < version {
                        core.switches.config_version = version;
                        adopt(core, &config);
                    }
                },
                |_, cx| {
                    cx.reply.ok();
                    Ok(Flow::Done)
                },
            ))
        },
    ))
}

/// Makes `config` the parameters of a core, and lets its counters follow them.
fn adopt(core: &mut crate::command::CoreView<'_>, config: &Arc<Config>) {
    *core.config = config.clone();
    core.stats.latency_tracking = config.latency_tracking;
    core.stats.slow.trim(config.slowlog_max_len as usize);
}

fn resetstat(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| {
            core.stats.reset();
            core.keyspace.reset_stats();
        },
        |_, cx| {
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

fn rewrite(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.core.node.config_file.is_empty() {
        return Err(Fault::text(
            "ERR The server is running without a config file",
        ));
    }
    // On core 0, so that two of them do not write at once and the newest parameters are written.
    Ok(Flow::visit(
        Where::One(0),
        |core| {
            let path = &core.node.config_file;
            // A file that is gone is written anew.
            let old = core.os.read_file(path).ok();
            core.os
                .write_file(path, &core.config.rewrite(old.as_deref()))
        },
        |parts, cx| {
            for part in parts {
                part.map_err(|error| Fault::text(format!("ERR Rewriting config file: {error}")))?;
            }
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

#[cfg(test)]
mod tests {
    use crate::admin::testnode::TestNode;

    #[test]
    fn every_core_gets_the_new_parameters() {
        let mut node = TestNode::new(3);
        node.connect(2);
        assert_eq!(
            node.run(0, "CONFIG SET maxmemory 1mb slowlog-max-len 7"),
            "+OK|"
        );
        for core in 0..3 {
            assert_eq!(
                (
                    node.config(core).maxmemory,
                    node.config(core).slowlog_max_len
                ),
                (1 << 20, 7)
            );
        }
        assert_eq!(
            node.run(0, "CONFIG GET maxmemory"),
            "*2|$9|maxmemory|$7|1048576|"
        );
        assert_eq!(node.run(0, "CONFIG SET latency-tracking no"), "+OK|");
        assert!((0..3).all(|core| !node.stats(core).latency_tracking));
    }

    #[test]
    fn all_or_nothing() {
        let mut node = TestNode::new(2);
        node.connect(0);
        assert_eq!(
            node.run(0, "CONFIG SET maxmemory 5 nosuch 1"),
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'|"
        );
        assert_eq!(node.config(1).maxmemory, 0);
        assert_eq!(
            node.run(0, "CONFIG SET maxmemory 1 port"),
            "-ERR syntax error|"
        );
    }

    #[test]
    fn protected_parameters_are_guarded() {
        let mut node = TestNode::new(1);
        node.connect(0);
        assert_eq!(
            node.run(0, "CONFIG SET dir /"),
            "-ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config|"
        );
    }

    #[test]
    fn rewrite_needs_a_file_and_keeps_its_comments() {
        let mut node = TestNode::new(2);
        node.connect(1);
        assert_eq!(
            node.run(0, "CONFIG REWRITE"),
            "-ERR The server is running without a config file|"
        );
        node.node.config_file = "/etc/x.conf".into();
        node.os.file.replace(Some("# mine\nmaxclients 50\n".into()));
        node.run(0, "CONFIG SET maxclients 60");
        assert_eq!(node.run(0, "CONFIG REWRITE"), "+OK|");
        let text = node.os.file.borrow().clone().expect("it was written");
        assert!(
            text.starts_with("# mine\n") && text.contains("maxclients 60"),
            "{text}"
        );
    }

    #[test]
    fn resetstat_reaches_every_core() {
        let mut node = TestNode::new(2);
        node.connect(0);
        for core in 0..2 {
            node.stats(core).error("ERR");
        }
        assert_eq!(node.run(0, "CONFIG RESETSTAT"), "+OK|");
        assert!((0..2).all(|core| node.stats(core).totals.errors == 0));
    }
}
