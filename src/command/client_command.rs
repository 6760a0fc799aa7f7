//! The CLIENT container.
//!
//! What concerns only the own connection is changed at once; LIST, KILL, PAUSE, UNBLOCK and UNPAUSE visit the cores. Followers are the
//! replication shard's: LIST and KILL ask it about them.
//! Tracking has a file of its own ([`client_tracking`]).

use std::sync::Arc;

use super::client_list::{KillFilter, ListFilter, describe};
use super::client_tracking;
use super::connection::{check_name, is_plain};
use super::help::help;
use super::replicating::Question;
use super::{
    Client, ClientCx, Close, Command, Fault, Flow, Group, Pause, ReplyMode, Run, Unblock, Where,
    category, flag,
};
use crate::base::number::parse_i64;
use crate::resp::Line;

const OWN: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
const ADMIN: u32 = flag::ADMIN | OWN;

/// The family's rows.
pub const TABLE: &[Command] = &[Command {
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "A container for client connection commands.",
    subcommands: SUBCOMMANDS,
    ..Command::new("client", -2, 0, Run::Container)
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        since: "6.0.0",
        summary: "Instructs the server whether to track the keys in the next request.",
        syntax: "<YES | NO>",
        ..row("client|caching", 3, OWN, client_tracking::caching)
    },
    Command {
        since: "2.6.9",
        summary: "Returns the name of the connection.",
        ..row("client|getname", 2, OWN, getname)
    },
    Command {
        since: "6.0.0",
        summary: "Returns the client id to which the connection's tracking notifications are redirected.",
        ..row("client|getredir", 2, OWN, client_tracking::getredir)
    },
    Command {
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..row("client|help", 2, flag::LOADING | flag::STALE, client_help)
    },
    Command {
        since: "5.0.0",
        summary: "Returns the unique client id of the connection.",
        ..row("client|id", 2, OWN, id)
    },
    Command {
        since: "6.2.0",
        summary: "Returns information about the connection.",
        tips: &["nondeterministic_output"],
        ..row("client|info", 2, OWN, info)
    },
    Command {
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Terminates open connections.",
        syntax: "<ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | \
                 [ADDR ip:port] | [LADDR ip:port] | [SKIPME <YES | NO>] | [MAXAGE maxage]> [...]>",
        ..row("client|kill", -3, ADMIN, kill)
    },
    Command {
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Lists open connections.",
        syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        tips: &["nondeterministic_output"],
        ..row("client|list", -2, ADMIN, list)
    },
    Command {
        since: "7.0.0",
        summary: "Sets the client eviction mode of the connection.",
        syntax: "<ON | OFF>",
        ..row("client|no-evict", 3, ADMIN, no_evict)
    },
    Command {
        since: "7.2.0",
        summary: "Controls whether commands sent by the client affect the access time of keys.",
        syntax: "<ON | OFF>",
        ..row("client|no-touch", 3, OWN, no_touch)
    },
    Command {
        since: "3.0.0",
        summary: "Suspends commands processing.",
        syntax: "timeout [WRITE | ALL]",
        ..row("client|pause", -3, ADMIN, pause)
    },
    Command {
        since: "3.2.0",
        summary: "Instructs the server whether to reply to commands.",
        syntax: "<ON | OFF | SKIP>",
        ..row("client|reply", 3, OWN, reply)
    },
    Command {
        since: "7.2.0",
        summary: "Sets information specific to the client or connection.",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("client|setinfo", 4, OWN, setinfo)
    },
    Command {
        since: "2.6.9",
        summary: "Sets the connection name.",
        syntax: "connection-name",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("client|setname", 3, OWN, setname)
    },
    Command {
        since: "6.0.0",
        complexity: "O(1). Some options may introduce additional complexity.",
        summary: "Controls server-assisted client-side caching for the connection.",
        syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        ..row("client|tracking", -3, OWN, client_tracking::tracking)
    },
    Command {
        since: "6.2.0",
        summary: "Returns information about server-assisted client-side caching for the connection.",
        ..row("client|trackinginfo", 2, OWN, client_tracking::trackinginfo)
    },
    Command {
        since: "5.0.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Ends the waiting of a client in a command that waits for keys.",
        syntax: "client-id [TIMEOUT | ERROR]",
        ..row("client|unblock", -3, ADMIN, unblock)
    },
    Command {
        since: "6.2.0",
        complexity: "O(N) Where N is the number of paused clients",
        summary: "Resumes processing commands from paused clients.",
        ..row("client|unpause", 2, ADMIN, unpause)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: super::ClientHandler) -> Command {
    Command {
        categories: category::CONNECTION,
        group: Group::Connection,
        ..Command::new(
            name,
            arity,
            flags | flag::KEEPS_CACHING,
            Run::Client(handler),
        )
    }
}

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "    * ID <client-id>",
    "      Kill connections by client id.",
    "    * MAXAGE <maxage>",
    "      Kill connections older than the specified age.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];

fn client_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "CLIENT", HELP);
    Ok(Flow::Done)
}

fn id(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.reply.int(cx.client.id as i64);
    Ok(Flow::Done)
}

fn getname(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.client.name.is_empty() {
        cx.reply.null();
    } else {
        cx.reply.bulk(&cx.client.name);
    }
    Ok(Flow::Done)
}

fn setname(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let name = cx.line.arg(2);
    check_name(name)?;
    cx.client.name = name.into();
    cx.reply.ok();
    Ok(Flow::Done)
}

fn setinfo(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let (line, value) = (cx.line, cx.line.arg(3));
    let option = line.arg(2);
    let (is_name, is_version) = (line.is(2, "lib-name"), line.is(2, "lib-ver"));
    if !is_name && !is_version {
        return Err(Fault::showing("ERR Unrecognized option '{}'", &[option]));
    }
    if !is_plain(value) {
        return Err(Fault::showing(
            "ERR {} cannot contain spaces, newlines or special characters.",
            &[option],
        ));
    }
    if is_name {
        cx.client.lib_name = value.into();
    } else {
        cx.client.lib_version = value.into();
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

fn info(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let mut text = Vec::new();
    describe(cx.client, cx.core.now.wall_ms(), &mut text);
    text.push(b'\n');
    cx.reply.verbatim("txt", &text);
    Ok(Flow::Done)
}

fn list(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let filter = Arc::new(ListFilter::parse(&cx.line)?);
    let of_cores = filter.clone();
    Ok(Flow::visit(
        Where::All,
        move |core| {
            let now_ms = core.now.wall_ms();
            let mut lines: Vec<ListLine> = Vec::new();
            core.clients.each(&mut |client| {
                if of_cores.matches(client) {
                    lines.push(list_line(client, now_ms));
                }
            });
            lines
        },
        move |parts, cx| {
            let lines: Vec<ListLine> = parts.into_iter().flatten().collect();
            if !filter.follower() {
                return Ok(reply_list(lines, cx));
            }
            Ok(Flow::ask(Question::Status, move |answer, cx| {
                let mut lines = lines;
                let now_ms = cx.core.now.wall_ms();
                for client in answer.status().follower_clients(now_ms) {
                    if filter.matches(&client) {
                        lines.push(list_line(&client, now_ms));
                    }
                }
                Ok(reply_list(lines, cx))
            }))
        },
    ))
}

/// A client's line in CLIENT LIST, with its id.
type ListLine = (u64, Vec<u8>);

fn list_line(client: &Client, now_ms: i64) -> ListLine {
    let mut line = Vec::new();
    describe(client, now_ms, &mut line);
    line.push(b'\n');
    (client.id, line)
}

fn reply_list(mut lines: Vec<ListLine>, cx: &mut ClientCx<'_, '_>) -> Flow {
    lines.sort_unstable_by_key(|(id, _)| *id);
    let text: Vec<u8> = lines.into_iter().flat_map(|(_, line)| line).collect();
    cx.reply.verbatim("txt", &text);
    Flow::Done
}

fn kill(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let own = cx.client.id;
    let by_address = cx.line.len() == 3;
    let filter = if by_address {
        KillFilter {
            addr: Some(cx.line.arg(2).into()),
            ..KillFilter::default()
        }
    } else {
        KillFilter::parse(&cx.line, own)?
    };
    let filter = Arc::new(filter);
    let of_cores = filter.clone();
    Ok(Flow::visit(
        Where::All,
        move |core| {
            let now_ms = core.now.wall_ms();
            let mut killed = 0i64;
            core.clients.each(&mut |client| {
                if of_cores.matches(client, now_ms) {
                    // Who kills itself gets its reply first.
                    let how = if client.id == own {
                        Close::AfterReply
                    } else {
                        Close::Now
                    };
                    client.close(how);
                    killed += 1;
                }
            });
            killed
        },
        move |parts, cx| {
            let killed: i64 = parts.iter().sum();
            if !filter.follower() {
                return reply_kill(by_address, killed, cx);
            }
            Ok(Flow::ask(Question::Status, move |answer, cx| {
                let now_ms = cx.core.now.wall_ms();
                let mut followers = answer.status().follower_clients(now_ms);
                followers.retain(|client| filter.matches(client, now_ms));
                let ids: Vec<u64> = followers.iter().map(|client| client.id).collect();
                let killed = killed + ids.len() as i64;
                if ids.is_empty() {
                    return reply_kill(by_address, killed, cx);
                }
                Ok(Flow::ask(Question::CloseFollowers(ids), move |_, cx| {
                    reply_kill(by_address, killed, cx)
                }))
            }))
        },
    ))
}

fn reply_kill(by_address: bool, killed: i64, cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    match (by_address, killed) {
        (false, _) => cx.reply.int(killed),
        (true, 0) => return Err(Fault::text("ERR No such client")),
        (true, _) => cx.reply.ok(),
    }
    Ok(Flow::Done)
}

fn pause(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    let writes_only = match line.len() {
        3 => false,
        4 if line.is(3, "WRITE") => true,
        4 if line.is(3, "ALL") => false,
        4 => return Err(Fault::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(misused(&line)),
    };
    let ms = parse_i64(line.arg(2))
        .ok_or_else(|| Fault::text("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err(Fault::text("ERR timeout is negative"));
    }
    let now_ms = cx.core.now.wall_ms();
    let until = now_ms
        .checked_add(ms)
        .ok_or_else(|| Fault::text("ERR timeout is out of range"))?;
    let wanted = if writes_only {
        Pause::Write(until)
    } else {
        Pause::All(until)
    };
    Ok(Flow::visit(
        Where::All,
        move |core| core.switches.pause = stricter(core.switches.pause, wanted, now_ms),
        |_, cx| {
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

/// A pause added to the one that holds: whatever stops more, until the later of the two ends.
fn stricter(held: Pause, wanted: Pause, now_ms: i64) -> Pause {
    let (Pause::Write(until) | Pause::All(until)) = wanted else {
        return held;
    };
    match (held, wanted) {
        (Pause::All(old), _) if old > now_ms => Pause::All(old.max(until)),
        (Pause::Write(old), Pause::All(_)) if old > now_ms => Pause::All(old.max(until)),
        (Pause::Write(old), _) if old > now_ms => Pause::Write(old.max(until)),
        _ => wanted,
    }
}

fn unpause(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::visit(
        Where::All,
        |core| core.switches.pause = Pause::Off,
        |_, cx| {
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

/// The subcommand was given more arguments than it takes.
fn misused(line: &Line<'_>) -> Fault {
    Fault::subcommand("CLIENT", line.arg(1))
}

fn unblock(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    let how = match line.len() {
        3 => Unblock::Timeout,
        4 if line.is(3, "timeout") => Unblock::Timeout,
        4 if line.is(3, "error") => Unblock::Error,
        4 => {
            return Err(Fault::text(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
        _ => return Err(misused(&line)),
    };
    let id = parse_i64(line.arg(2)).ok_or(Fault::NotInteger)?;
    Ok(Flow::visit(
        Where::All,
        move |core| {
            let mut ended = 0i64;
            core.clients.each(&mut |client| {
                let meant = i64::try_from(client.id) == Ok(id);
                if meant && client.unblockable && client.unblock.is_none() {
                    client.unblock = Some(how);
                    ended += 1;
                }
            });
            ended
        },
        |parts, cx| {
            cx.reply.int(parts.iter().sum());
            Ok(Flow::Done)
        },
    ))
}

fn reply(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    if line.is(2, "ON") {
        cx.client.reply_mode = ReplyMode::On;
        cx.reply.ok();
    } else if line.is(2, "OFF") {
        cx.client.reply_mode = ReplyMode::Off;
    } else if line.is(2, "SKIP") {
        if cx.client.reply_mode != ReplyMode::Off {
            cx.client.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(Fault::Syntax);
    }
    Ok(Flow::Done)
}

/// The argument at 2 as a switch.
fn on_or_off(cx: &ClientCx<'_, '_>) -> Result<bool, Fault> {
    if cx.line.is(2, "ON") {
        Ok(true)
    } else if cx.line.is(2, "OFF") {
        Ok(false)
    } else {
        Err(Fault::Syntax)
    }
}

fn no_evict(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.client.no_evict = on_or_off(cx)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn no_touch(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.client.no_touch = on_or_off(cx)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_never_gets_weaker() {
        assert_eq!(stricter(Pause::Off, Pause::Write(5), 0), Pause::Write(5));
        assert_eq!(stricter(Pause::All(9), Pause::Write(5), 0), Pause::All(9));
        assert_eq!(stricter(Pause::Write(9), Pause::All(5), 0), Pause::All(9));
        assert_eq!(
            stricter(Pause::Write(3), Pause::Write(5), 0),
            Pause::Write(5)
        );
        assert_eq!(stricter(Pause::All(3), Pause::Write(9), 4), Pause::Write(9));
    }
}
