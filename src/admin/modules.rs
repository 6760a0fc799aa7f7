//! The MODULE container of a server that loads no modules.

use crate::command::{
    ClientCx, ClientHandler, Command, Fault, Flow, Group, Run, flag, help, protected_action_allowed,
};

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for module commands.",
    subcommands: SUBCOMMANDS,
    ..Command::new("module", -2, 0, Run::Container)
}];

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT;
const CHANGE: u32 = ADMIN | flag::NO_ASYNC_LOADING;

const SUBCOMMANDS: &[Command] = &[
    Command {
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..row("module|help", 2, flag::LOADING | flag::STALE, module_help)
    },
    Command {
        complexity: "O(N) where N is the number of loaded modules.",
        summary: "Returns all loaded modules.",
        tips: &["nondeterministic_output_order"],
        ..row("module|list", 2, ADMIN, list)
    },
    Command {
        summary: "Loads a module.",
        syntax: "path [arg [arg ...]]",
        ..row("module|load", -3, CHANGE, load)
    },
    Command {
        since: "7.0.0",
        summary: "Loads a module using extended parameters.",
        syntax: "path [CONFIG name value [CONFIG name value ...]] [ARGS args [args ...]]",
        ..row("module|loadex", -3, CHANGE, load)
    },
    Command {
        summary: "Unloads a module.",
        syntax: "name",
        ..row("module|unload", 3, CHANGE, unload)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        since: "4.0.0",
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

const HELP: &[&str] = &[
    "LIST",
    "    Return a list of loaded modules.",
    "LOAD <path> [<arg> ...]",
    "    Load a module library from <path>, passing to it any optional arguments.",
    "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
    "    Load a module library from <path>, while passing it module configurations and optional arguments.",
    "UNLOAD <name>",
    "    Unload a module.",
];

fn module_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "MODULE", HELP);
    Ok(Flow::Done)
}

fn list(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.reply.array(0);
    Ok(Flow::Done)
}

/// `enable-module-command` lets the client try.
fn check_allowed(cx: &ClientCx<'_, '_>) -> Result<(), Fault> {
    if protected_action_allowed(cx.core.config.enable_module_command, cx.client) {
        return Ok(());
    }
    Err(Fault::text(
        "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it from \
         a local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server.",
    ))
}

fn load(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_allowed(cx)?;
    Err(Fault::text(
        "ERR Error loading the extension. Please check the server logs.",
    ))
}

fn unload(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_allowed(cx)?;
    Err(Fault::text(
        "ERR Error unloading module: no such module with that name",
    ))
}
