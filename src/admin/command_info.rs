//! The COMMAND container: what the registry's rows say, as clients read it.

use crate::base::glob;
use crate::command::syntax::{Argument, Kind, arguments};
use crate::command::{
    Begin, ClientCx, ClientHandler, Command, CommandId, Fault, Find, Flow, Group, KeyRef, KeySpec,
    Registry, Run, category, flag, help, key_flag, key_flag_names,
};
use crate::resp::{Line, Reply};

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns detailed information about all commands.",
    tips: &["nondeterministic_output_order"],
    subcommands: SUBCOMMANDS,
    ..row("command", -1, command)
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        since: "2.8.13",
        summary: "Returns a count of commands.",
        ..row("command|count", 2, count)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Returns documentary information about one, multiple or all commands.",
        syntax: "[command-name [command-name ...]]",
        tips: &["nondeterministic_output_order"],
        ..row("command|docs", -2, docs)
    },
    Command {
        since: "2.8.13",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names from an arbitrary command.",
        syntax: "command [arg [arg ...]]",
        ..row("command|getkeys", -3, getkeys)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names and access flags for an arbitrary command.",
        syntax: "command [arg [arg ...]]",
        ..row("command|getkeysandflags", -3, getkeysandflags)
    },
    Command {
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..row("command|help", 2, command_help)
    },
    Command {
        since: "2.8.13",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Returns information about one, multiple or all commands.",
        syntax: "[command-name [command-name ...]]",
        tips: &["nondeterministic_output_order"],
        ..row("command|info", -2, info)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the total number of Redis commands",
        summary: "Returns a list of command names.",
        syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        tips: &["nondeterministic_output_order"],
        ..row("command|list", -2, list)
    },
];

const fn row(name: &'static str, arity: i32, handler: ClientHandler) -> Command {
    Command {
        categories: category::CONNECTION,
        group: Group::Server,
        ..Command::new(
            name,
            arity,
            flag::LOADING | flag::STALE,
            Run::Client(handler),
        )
    }
}

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];

fn command_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "COMMAND", HELP);
    Ok(Flow::Done)
}

/// Also the answer to a subcommand that does not exist.
fn command(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.line.len() > 1 {
        let name = cx.line.arg(1);
        return Err(Fault::showing(
            "ERR unknown subcommand '{}'. Try COMMAND HELP.",
            &[&name[..name.len().min(128)]],
        ));
    }
    let registry = cx.core.registry;
    cx.reply.array(registry.commands().count());
    for (id, _) in registry.commands() {
        write_info(&mut cx.reply, registry, id);
    }
    Ok(Flow::Done)
}

fn count(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.reply.count(cx.core.registry.commands().count());
    Ok(Flow::Done)
}

fn info(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let (registry, line) = (cx.core.registry, cx.line);
    if line.len() == 2 {
        cx.reply.array(registry.commands().count());
        for (id, _) in registry.commands() {
            write_info(&mut cx.reply, registry, id);
        }
        return Ok(Flow::Done);
    }
    cx.reply.array(line.len() - 2);
    for name in line.args().skip(2) {
        match find_full(registry, name) {
            Some(id) => write_info(&mut cx.reply, registry, id),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// A command or subcommand by its full name: `get`, `client|list`.
fn find_full(registry: &Registry, name: &[u8]) -> Option<CommandId> {
    match name.iter().position(|byte| *byte == b'|') {
        None => registry.find(name),
        Some(bar) => registry.find_subcommand(registry.find(&name[..bar])?, &name[bar + 1..]),
    }
}

fn simple_set(reply: &mut Reply<'_>, names: &[&str]) {
    reply.set(names.len());
    for name in names {
        reply.simple(name);
    }
}

fn write_info(reply: &mut Reply<'_>, registry: &Registry, id: CommandId) {
    let registered = registry.get(id);
    let command = registered.command;
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.int(i64::from(command.arity));
    simple_set(reply, &command.flag_names());
    let (range, _) = command.key_range();
    reply.int(range.first);
    reply.int(range.last);
    reply.int(range.step);
    let categories = command.category_names();
    reply.set(categories.len());
    for name in categories {
        reply.simple(&format!("@{name}"));
    }
    reply.set(command.tips.len());
    for tip in command.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(command.keys.len());
    for spec in command.keys {
        write_spec(reply, spec);
    }
    reply.set(registered.subcommands.len());
    for &sub in &registered.subcommands {
        write_info(reply, registry, sub);
    }
}

fn write_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    let number = |reply: &mut Reply<'_>, name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.int(value);
    };
    let kind = |reply: &mut Reply<'_>, name: &str| {
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(name.as_bytes());
        reply.bulk(b"spec");
    };
    reply.map(3 + usize::from(!spec.notes.is_empty()));
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    simple_set(reply, &key_flag_names(spec.flags));
    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => {
            kind(reply, "index");
            reply.map(1);
            number(reply, "index", index as i64);
        }
        Begin::Keyword(word, from) => {
            kind(reply, "keyword");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            number(reply, "startfrom", i64::from(from));
        }
        Begin::Unknown(_) => {
            kind(reply, "unknown");
            reply.map(0);
        }
    }
    reply.bulk(b"find_keys");
    if let Begin::Unknown(_) = spec.begin {
        kind(reply, "unknown");
        reply.map(0);
        return;
    }
    match spec.find {
        Find::Range { last, step, limit } => {
            kind(reply, "range");
            reply.map(3);
            number(reply, "lastkey", i64::from(last));
            number(reply, "keystep", step as i64);
            number(reply, "limit", limit as i64);
        }
        Find::Keynum {
            count_at,
            first,
            step,
        } => {
            kind(reply, "keynum");
            reply.map(3);
            number(reply, "keynumidx", count_at as i64);
            number(reply, "firstkey", first as i64);
            number(reply, "keystep", step as i64);
        }
    }
}

fn docs(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let (registry, line) = (cx.core.registry, cx.line);
    let ids: Vec<CommandId> = if line.len() == 2 {
        registry.commands().map(|(id, _)| id).collect()
    } else {
        line.args()
            .skip(2)
            .filter_map(|name| find_full(registry, name))
            .collect()
    };
    cx.reply.map(ids.len());
    for id in ids {
        write_docs(&mut cx.reply, registry, id);
    }
    Ok(Flow::Done)
}

/// A command's name and what COMMAND DOCS tells of it.
fn write_docs(reply: &mut Reply<'_>, registry: &Registry, id: CommandId) {
    let registered = registry.get(id);
    let command = registered.command;
    let arguments = arguments(command.syntax);
    reply.bulk(command.name.as_bytes());
    let fields = [
        command.deprecated.is_some(),
        command.deprecated.is_some(),
        command.deprecated.is_some(),
        !arguments.is_empty(),
        !registered.subcommands.is_empty(),
    ];
    reply.map(4 + fields.iter().filter(|present| **present).count());
    for (field, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ] {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if let Some((since, replacement)) = command.deprecated {
        reply.bulk(b"doc_flags");
        simple_set(reply, &["deprecated"]);
        reply.bulk(b"deprecated_since");
        reply.bulk(since.as_bytes());
        reply.bulk(b"replaced_by");
        reply.bulk(replacement.as_bytes());
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        let mut keys = KeyIndex {
            next: 0,
            specs: command.keys.len(),
        };
        write_arguments(reply, &arguments, &mut keys);
    }
    if !registered.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(registered.subcommands.len());
        for &sub in &registered.subcommands {
            write_docs(reply, registry, sub);
        }
    }
}

/// Hands the key specifications to the key arguments in their order; the last serves all that are left.
struct KeyIndex {
    next: usize,
    specs: usize,
}

impl KeyIndex {
    fn take(&mut self) -> usize {
        let index = self.next.min(self.specs.saturating_sub(1));
        self.next += 1;
        index
    }
}

fn write_arguments(reply: &mut Reply<'_>, arguments: &[Argument], keys: &mut KeyIndex) {
    reply.array(arguments.len());
    for argument in arguments {
        let flags: Vec<&str> = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.multiple_token, "multiple_token"),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name)
        .collect();
        // Redis 7.2 names the text to display for everything but groups and tokens.
        let displayed = !matches!(argument.kind, Kind::OneOf | Kind::Block);
        let key = argument.kind == Kind::Key && keys.specs > 0;
        let fields = 2 + [
            displayed,
            key,
            argument.token.is_some(),
            !flags.is_empty(),
            !displayed,
        ]
        .iter()
        .filter(|present| **present)
        .count();
        reply.map(fields);
        reply.bulk(b"name");
        reply.bulk(argument.name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(argument.kind.name().as_bytes());
        if displayed {
            reply.bulk(b"display_text");
            reply.bulk(argument.name.as_bytes());
        }
        if key {
            reply.bulk(b"key_spec_index");
            reply.count(keys.take());
        }
        if let Some(token) = &argument.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            simple_set(reply, &flags);
        }
        if !displayed {
            reply.bulk(b"arguments");
            write_arguments(reply, &argument.children, keys);
        }
    }
}

fn list(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let (registry, line) = (cx.core.registry, cx.line);
    let wanted: Box<dyn Fn(&Command) -> bool + '_> = match line.len() {
        2 => Box::new(|_| true),
        5 if line.is(2, "FILTERBY") && line.is(3, "MODULE") => Box::new(|_| false),
        5 if line.is(2, "FILTERBY") && line.is(3, "ACLCAT") => Box::new(move |command| {
            let names = command.category_names();
            names.iter().any(|name| line.is(4, name))
        }),
        5 if line.is(2, "FILTERBY") && line.is(3, "PATTERN") => {
            Box::new(move |command| glob::matches(line.arg(4), command.name.as_bytes(), true))
        }
        _ => return Err(Fault::Syntax),
    };
    // A filter looks at subcommands as well, the bare list does not.
    let filtered = line.len() > 2;
    let names: Vec<&str> = registry
        .all()
        .iter()
        .filter(|registered| filtered || registered.parent.is_none())
        .map(|registered| registered.command)
        .filter(|command| wanted(command))
        .map(|command| command.name)
        .collect();
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name.as_bytes());
    }
    Ok(Flow::Done)
}

/// The keys of the line that follows `COMMAND GETKEYS`.
fn keys_of<'a>(registry: &Registry, line: Line<'a>) -> Result<(Line<'a>, Vec<KeyRef>), Fault> {
    let inner = line.with_spans(&line.spans()[2..]);
    let id = registry
        .resolve(&inner)
        .ok_or_else(|| Fault::text("ERR Invalid command specified"))?;
    let command = registry.get(id).command;
    let is_key = |spec: &KeySpec| spec.flags & key_flag::NOT_KEY == 0;
    if !command.keys.iter().any(is_key) {
        return Err(Fault::text("ERR The command has no key arguments"));
    }
    if !command.arity_holds(inner.len()) {
        return Err(Fault::text(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let mut keys = Vec::new();
    if !command.find_keys_by_place(&inner, &mut keys)
        || (keys.is_empty() && !command.has(flag::NO_MANDATORY_KEYS))
    {
        return Err(Fault::text("ERR Invalid arguments specified for command"));
    }
    keys.retain(|key| key.flags & key_flag::NOT_KEY == 0);
    Ok((inner, keys))
}

fn getkeys(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let (line, keys) = keys_of(cx.core.registry, cx.line)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.bulk(line.arg(key.arg));
    }
    Ok(Flow::Done)
}

fn getkeysandflags(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let (line, keys) = keys_of(cx.core.registry, cx.line)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.array(2);
        cx.reply.bulk(line.arg(key.arg));
        simple_set(&mut cx.reply, &key_flag_names(key.flags));
    }
    Ok(Flow::Done)
}
