//! The DEBUG container. `enable-debug-command` guards all of it: the rows say so with their flag, the gate asks.
//!
//! DEBUG has its own text for a wrong number of arguments, so its rows take any number and the handlers check.

use crate::base::number::parse_i64;
use crate::command::replicating::Question;
use crate::command::{
    ClientCx, ClientHandler, Command, Fault, Flow, Group, Run, Where, debug_keys, flag, help,
};

const FLAGS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::PROTECTED;

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    complexity: "Depends on subcommand.",
    summary: "A container for debugging commands.",
    subcommands: SUBCOMMANDS,
    ..row("debug", unknown)
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        summary: "Gives the write log a new id.",
        ..row("debug|change-repl-id", change_repl_id)
    },
    debug_keys::DIGEST,
    debug_keys::DIGEST_VALUE,
    Command {
        summary: "Replies with an error of the given text.",
        syntax: "string",
        ..row("debug|error", error)
    },
    Command {
        summary: "Returns helpful text about the different subcommands.",
        ..row("debug|help", debug_help)
    },
    debug_keys::HTSTATS,
    debug_keys::HTSTATS_KEY,
    Command {
        summary: "Writes a line to the server's log.",
        syntax: "message",
        ..row("debug|log", log)
    },
    debug_keys::OBJECT,
    debug_keys::POPULATE,
    Command {
        summary: "Replies with a test value of the given type.",
        syntax: "type",
        ..row("debug|protocol", protocol)
    },
    Command {
        summary: "Accepts the settings of Redis's reply buffers, which have no counterpart here.",
        syntax: "<PEAK-RESET-TIME time | RESIZING flag>",
        ..row("debug|replybuffer", replybuffer)
    },
    Command {
        summary: "Switches the deletion of expired keys in the background.",
        syntax: "flag",
        ..row("debug|set-active-expire", set_active_expire)
    },
    Command {
        summary: "Lets scripts run commands that are not for scripts.",
        syntax: "flag",
        ..row("debug|set-disable-deny-scripts", set_disable_deny_scripts)
    },
    Command {
        summary: "Stops every core for a time.",
        syntax: "seconds",
        ..row("debug|sleep", sleep)
    },
    debug_keys::STRINGMATCH_LEN,
];

const fn row(name: &'static str, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        ..Command::new(name, -2, FLAGS, Run::Client(handler))
    }
}

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Change the replication IDs of the instance.",
    "    Dangerous: should be used only for testing the replication subsystem.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "HTSTATS <dbid>",
    "    Return hash table statistics of the specified Redis database.",
    "HTSTATS-KEY <key>",
    "    Like HTSTATS but for the hash table stored at <key>'s value.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix. These are not propagated to",
    "    replicas.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Setting it to 1 lets scripts run commands that are not allowed in them.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "STRINGMATCH-LEN <pattern> <string>",
    "    Return whether <string> matches the glob-like <pattern>.",
    "REPLYBUFFER PEAK-RESET-TIME <NEVER||RESET|time>",
    "    Accepted without effect: there are no reply buffers of a fixed size.",
    "REPLYBUFFER RESIZING <0|1>",
    "    Accepted without effect, likewise.",
];

/// No such subcommand, or not with these arguments.
fn unknown_error(cx: &ClientCx<'_, '_>) -> Fault {
    Fault::subcommand("DEBUG", cx.line.arg(1))
}

fn unknown(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Err(unknown_error(cx))
}

/// The line has so many arguments, the names included.
fn check_len(cx: &ClientCx<'_, '_>, len: usize) -> Result<(), Fault> {
    if cx.line.len() == len {
        Ok(())
    } else {
        Err(unknown_error(cx))
    }
}

fn debug_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_len(cx, 2)?;
    help(&mut cx.reply, "DEBUG", HELP);
    Ok(Flow::Done)
}

/// Visits all cores, then replies with OK.
fn on_all(
    part: impl Fn(&mut crate::command::CoreView<'_>) + Send + Sync + 'static,
) -> Result<Flow, Fault> {
    Ok(Flow::visit(Where::All, part, |_, cx| {
        cx.reply.ok();
        Ok(Flow::Done)
    }))
}

fn change_repl_id(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_len(cx, 2)?;
    let mut id = [0; 40];
    for chunk in id.chunks_mut(16) {
        let digits = format!("{:016x}", cx.core.os.random());
        chunk.copy_from_slice(&digits.as_bytes()[..chunk.len()]);
    }
    Ok(Flow::ask(Question::ChangeId(id), |_, cx| {
        cx.reply.ok();
        Ok(Flow::Done)
    }))
}

fn error(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_len(cx, 3)?;
    cx.reply.error(cx.line.arg(2));
    Ok(Flow::Done)
}

fn log(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_len(cx, 3)?;
    let text = String::from_utf8_lossy(cx.line.arg(2));
    cx.core.os.log_warning(&format!("DEBUG LOG: {text}"));
    cx.reply.ok();
    Ok(Flow::Done)
}

fn protocol(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_len(cx, 3)?;
    let kind = cx.line.arg(2).to_ascii_lowercase();
    let reply = &mut cx.reply;
    match &kind[..] {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double_text(b"3.141"),
        b"null" => reply.null(),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|value| reply.int(value));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|value| reply.int(value));
        }
        b"map" => {
            reply.map(3);
            for key in 0..3 {
                reply.int(key);
                reply.boolean(key == 1);
            }
        }
        b"attrib" => {
            if reply.is_resp3() {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !reply.is_resp3() {
                return Err(Fault::text("ERR RESP2 is not supported by this command"));
            }
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            return Err(Fault::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Flow::Done)
}

fn replybuffer(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_len(cx, 4)?;
    let line = cx.line;
    if line.is(2, "PEAK-RESET-TIME") {
        if !line.is(3, "NEVER") && !line.is(3, "RESET") {
            parse_i64(line.arg(3)).ok_or(Fault::NotInteger)?;
        }
    } else if !line.is(2, "RESIZING") {
        return Err(unknown_error(cx));
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The argument at 2 as C's atoi reads it: its leading digits, 0 without any.
fn truth(cx: &ClientCx<'_, '_>) -> Result<bool, Fault> {
    check_len(cx, 3)?;
    let text = cx.line.arg(2).trim_ascii_start();
    let digits = text
        .strip_prefix(b"-")
        .or(text.strip_prefix(b"+"))
        .unwrap_or(text);
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.into_iter().any(|digit| *digit != b'0'))
}

fn set_active_expire(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let on = truth(cx)?;
    on_all(move |core| core.switches.active_expire = on)
}

fn set_disable_deny_scripts(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let on = truth(cx)?;
    on_all(move |core| core.switches.deny_scripts_disabled = on)
}

fn sleep(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    check_len(cx, 3)?;
    let seconds = leading_number(cx.line.arg(2));
    let ms = (seconds * 1000.0).clamp(0.0, 1e12) as u64;
    on_all(move |core| core.os.sleep(ms))
}

/// The number that a text begins with, 0 without one, as C's strtod reads it in plain notation.
fn leading_number(text: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(text.trim_ascii_start());
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text[..end].parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testnode::TestNode;

    fn node() -> TestNode {
        let mut node = TestNode::new(2);
        node.connect(0);
        node
    }

    #[test]
    fn debug_is_guarded() {
        let mut node = node();
        let refusal = node.run(0, "DEBUG SLEEP 0");
        assert!(
            refusal.starts_with("-ERR DEBUG command not allowed. If the enable-debug-command"),
            "{refusal}"
        );
        node.allow_debug();
        assert_eq!(node.run(0, "DEBUG SLEEP 0.01"), "+OK|");
        assert_eq!(node.os.slept_ms.get(), 20);
    }

    #[test]
    fn switches_reach_every_core() {
        let mut node = node();
        node.allow_debug();
        assert_eq!(node.run(0, "DEBUG SET-ACTIVE-EXPIRE 0"), "+OK|");
        assert_eq!(node.run(0, "DEBUG SET-DISABLE-DENY-SCRIPTS 1"), "+OK|");
        for core in 0..2 {
            let switches = node.switches(core);
            assert!(!switches.active_expire && switches.deny_scripts_disabled);
        }
    }

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, number) in [
            ("0.5", 0.5),
            ("2x", 2.0),
            ("x", 0.0),
            ("-1", 0.0),
            ("", 0.0),
            (" 3", 3.0),
        ] {
            assert_eq!(leading_number(text.as_bytes()), number, "{text}");
        }
    }
}
