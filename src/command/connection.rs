//! Commands about the client's own connection: PING, ECHO, AUTH, HELLO, QUIT, RESET, SELECT.

use super::client_tracking::end as end_tracking;
use super::pubsub::end_all;
use super::{ClientCx, Close, Command, Fault, Flow, Group, ReplyMode, Run, category, flag};
use crate::base::number::parse_i64;
use crate::resp::{Line, Proto};

/// The version of Redis whose behaviour this server has, as HELLO and INFO tell it.
pub const REDIS_VERSION: &str = "7.4.0";

/// Flags of what works at any time on a connection, even before authentication.
const ALWAYS: u32 =
    flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY;

/// The family's rows.
pub const TABLE: &[Command] = &[
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        complexity: "O(N) where N is the number of passwords defined for the user",
        summary: "Authenticates the connection.",
        syntax: "[username] password",
        secret: Some(auth_secret),
        ..Command::new("auth", -2, ALWAYS, Run::Client(auth))
    },
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        summary: "Returns the given string.",
        syntax: "message",
        ..Command::new(
            "echo",
            2,
            flag::LOADING | flag::STALE | flag::FAST,
            Run::Client(echo),
        )
    },
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        since: "6.0.0",
        summary: "Handshakes with the server.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        secret: Some(hello_secret),
        ..Command::new("hello", -1, ALWAYS, Run::Client(hello))
    },
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        summary: "Returns the server's liveliness response.",
        syntax: "[message]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..Command::new(
            "ping",
            -1,
            flag::FAST | flag::WHILE_SUBSCRIBED,
            Run::Client(ping),
        )
    },
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        deprecated: Some(("7.2.0", "just closing the connection")),
        summary: "Closes the connection.",
        ..Command::new(
            "quit",
            -1,
            ALWAYS | flag::UNQUEUED | flag::WHILE_SUBSCRIBED,
            Run::Client(quit),
        )
    },
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        since: "6.2.0",
        summary: "Resets the connection.",
        ..Command::new(
            "reset",
            1,
            ALWAYS | flag::UNQUEUED | flag::WHILE_SUBSCRIBED,
            Run::Client(reset),
        )
    },
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        summary: "Changes the selected database.",
        syntax: "index",
        ..Command::new(
            "select",
            2,
            flag::LOADING | flag::STALE | flag::FAST | flag::SELECTS,
            Run::Client(select),
        )
    },
];

fn ping(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    match cx.line.len() {
        1 | 2 if cx.proto() == Proto::Resp2 && cx.client.is_subscriber() => {
            // What a subscriber reads are arrays, so this reply is one too.
            cx.reply.array(2);
            cx.reply.bulk(b"pong");
            if cx.line.len() == 1 {
                cx.reply.bulk(b"");
            } else {
                reply_argument(cx);
            }
        }
        1 => cx.reply.simple("PONG"),
        2 => reply_argument(cx),
        _ => {
            return Err(Fault::text(
                "ERR wrong number of arguments for 'ping' command",
            ));
        }
    }
    Ok(Flow::Done)
}

fn echo(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    reply_argument(cx);
    Ok(Flow::Done)
}

fn reply_argument(cx: &mut ClientCx<'_, '_>) {
    match cx.line.shared(1) {
        Some(shared) => cx.reply.bulk_shared(shared),
        None => cx.reply.bulk(cx.line.arg(1)),
    }
}

/// AUTH's user and password. A line that is malformed is shown, so that the mistake can be found.
fn auth_secret(line: &Line<'_>, index: usize) -> bool {
    index > 0 && line.len() <= 3
}

/// The user and password behind HELLO's AUTH.
fn hello_secret(line: &Line<'_>, index: usize) -> bool {
    let mut at = 2;
    while at < line.len() {
        if line.is(at, "AUTH") {
            if (at + 1..=at + 2).contains(&index) {
                return true;
            }
            at += 3;
        } else {
            at += if line.is(at, "SETNAME") { 2 } else { 1 };
        }
    }
    false
}

fn auth(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    match line.len() {
        2 if cx.core.config.requirepass.is_empty() => {
            return Err(Fault::text(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        2 => authenticate(cx, b"default", line.arg(1))?,
        3 => authenticate(cx, line.arg(1), line.arg(2))?,
        _ => return Err(Fault::Syntax),
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Makes the client the user it says it is, or fails.
fn authenticate(cx: &mut ClientCx<'_, '_>, user: &[u8], password: &[u8]) -> Result<(), Fault> {
    let expected = cx.core.config.requirepass.as_bytes();
    if user != b"default" || !(expected.is_empty() || equal_in_constant_time(expected, password)) {
        cx.core.stats.totals.auth_denied += 1;
        return Err(Fault::text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    cx.client.user = "default".into();
    cx.client.authenticated = true;
    Ok(())
}

/// Compares without telling by its duration where the difference is.
fn equal_in_constant_time(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = secret.len() ^ given.len();
    for (index, byte) in given.iter().enumerate() {
        difference |= usize::from(byte ^ secret[index % secret.len()]);
    }
    difference == 0
}

fn hello(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    let mut proto = None;
    if line.len() >= 2 {
        proto = match parse_i64(line.arg(1)) {
            None => {
                return Err(Fault::text(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
            Some(2) => Some(Proto::Resp2),
            Some(3) => Some(Proto::Resp3),
            Some(_) => return Err(Fault::text("NOPROTO unsupported protocol version")),
        };
    }
    let (mut login, mut name) = (None, None);
    let mut at = 2;
    while at < line.len() {
        let more = line.len() - 1 - at;
        if line.is(at, "AUTH") && more >= 2 {
            login = Some((line.arg(at + 1), line.arg(at + 2)));
            at += 3;
        } else if line.is(at, "SETNAME") && more >= 1 {
            check_name(line.arg(at + 1))?;
            name = Some(line.arg(at + 1));
            at += 2;
        } else {
            return Err(Fault::showing(
                "ERR Syntax error in HELLO option '{}'",
                &[line.arg(at)],
            ));
        }
    }
    if let Some((user, password)) = login {
        authenticate(cx, user, password)?;
    }
    if !cx.client.authenticated {
        return Err(Fault::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
             the same time",
        ));
    }
    if let Some(name) = name {
        cx.client.name = name.into();
    }
    if let Some(proto) = proto {
        cx.client.proto = proto;
        cx.reply.set_proto(proto);
    }
    let reply = &mut cx.reply;
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.int(cx.client.proto.number());
    reply.bulk(b"id");
    reply.int(cx.client.id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.empty_array();
    Ok(Flow::Done)
}

/// A client's name has no character that would break the lines of CLIENT LIST.
pub(super) fn check_name(name: &[u8]) -> Result<(), Fault> {
    if is_plain(name) {
        return Ok(());
    }
    Err(Fault::text(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

/// Only printable ASCII without spaces.
pub(super) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn quit(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.reply.ok();
    cx.client.close(Close::AfterReply);
    Ok(Flow::Done)
}

/// Back to how the connection was after accept. Queued lines and watched keys are the session's: it drops them.
fn reset(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.client.reply_mode = ReplyMode::On;
    cx.client.monitor = false;
    if cx.client.subscriptions.is_some() {
        return Ok(end_all(cx, reset_client));
    }
    reset_client(cx);
    Ok(Flow::Done)
}

fn reset_client(cx: &mut ClientCx<'_, '_>) {
    let client = &mut *cx.client;
    end_tracking(client, cx.core.tracking);
    client.multi = None;
    client.watching = 0;
    client.db = 0;
    client.proto = Proto::Resp2;
    client.no_evict = false;
    client.no_touch = false;
    client.name = Box::default();
    client.user = "default".into();
    client.authenticated = cx.core.config.requirepass.is_empty();
    cx.reply.set_proto(Proto::Resp2);
    cx.reply.simple("RESET");
}

fn select(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.client.db = selected(cx.line.arg(1), cx.core.config.databases)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The database that SELECT's argument names.
pub fn selected(index: &[u8], databases: u64) -> Result<usize, Fault> {
    let index = parse_i64(index).ok_or(Fault::NotInteger)?;
    if i32::try_from(index).is_err() {
        return Err(Fault::text(format!(
            "ERR value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        )));
    }
    match usize::try_from(index) {
        Ok(index) if (index as u64) < databases => Ok(index),
        _ => Err(Fault::text("ERR DB index is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Span;

    fn shown(text: &str) -> String {
        let mut spans = Vec::new();
        let mut at = 0;
        for word in text.split(' ') {
            spans.push(Span::inline(at, word.len()));
            at += word.len() + 1;
        }
        let line = Line::new(text.as_bytes(), &spans, &[]);
        let command = TABLE.iter().find(|command| line.is(0, command.name));
        let args = command.expect("a row of this file").shown_args(line);
        let words: Vec<_> = args.map(String::from_utf8_lossy).collect();
        words.join(" ")
    }

    #[test]
    fn passwords_are_not_shown() {
        for (line, expected) in [
            ("AUTH pass", "AUTH (redacted)"),
            ("AUTH user pass", "AUTH (redacted) (redacted)"),
            ("AUTH a b c", "AUTH a b c"),
            (
                "HELLO 3 SETNAME auth AUTH user pass SETNAME me",
                "HELLO 3 SETNAME auth AUTH (redacted) (redacted) SETNAME me",
            ),
            ("HELLO 3 AUTH user", "HELLO 3 AUTH (redacted)"),
            ("ECHO auth", "ECHO auth"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn passwords_are_compared_whole() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        for wrong in [&b""[..], b"secre", b"secrets", b"secretsecret", b"Secret"] {
            assert!(!equal_in_constant_time(b"secret", wrong));
        }
    }
}
