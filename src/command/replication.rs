//! Replication: PSYNC, SYNC, REPLCONF, REPLICAOF, FAILOVER, ROLE, WAIT.
//!
//! What concerns the stream and the followers is the replication shard's: these commands ask it. PSYNC and SYNC hand it the
//! whole connection.

use std::sync::Arc;

use super::replicating::{
    Answer, FollowRequest, FollowerInfo, FollowerStatus, LinkStatus, Question, Role, Status,
};
use super::{ClientCx, ClientHandler, Command, Fault, Flow, Group, Run, Where, category, flag};
use crate::base::number::parse_i64;
use crate::config::split_arguments;

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        since: "6.2.0",
        summary: "Starts a coordinated failover from a server to one of its replicas.",
        syntax: "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        ..row(
            "failover",
            -1,
            flag::ADMIN | flag::NOSCRIPT | flag::STALE,
            failover,
        )
    },
    Command {
        since: "2.8.0",
        summary: "An internal command used in replication.",
        syntax: "replicationid offset",
        ..row(
            "psync",
            -3,
            flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI,
            psync,
        )
    },
    Command {
        since: "3.0.0",
        summary: "An internal command for configuring the replication stream.",
        ..row(
            "replconf",
            -1,
            flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
            replconf,
        )
    },
    Command {
        since: "5.0.0",
        summary: "Configures a server as replica of another, or promotes it to a master.",
        syntax: "host port | NO ONE",
        ..row(
            "replicaof",
            3,
            flag::ADMIN | flag::NOSCRIPT | flag::STALE | flag::NO_ASYNC_LOADING,
            replicaof,
        )
    },
    Command {
        categories: category::ADMIN | category::DANGEROUS,
        since: "2.8.12",
        summary: "Returns the replication role.",
        ..row(
            "role",
            1,
            flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST,
            role,
        )
    },
    Command {
        deprecated: Some(("5.0.0", "`REPLICAOF`")),
        summary: "Sets a Redis server as a replica of another, or promotes it to being a master.",
        syntax: "host port | NO ONE",
        ..row(
            "slaveof",
            3,
            flag::ADMIN | flag::NOSCRIPT | flag::STALE | flag::NO_ASYNC_LOADING,
            replicaof,
        )
    },
    Command {
        summary: "An internal command used in replication.",
        ..row(
            "sync",
            1,
            flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI,
            sync,
        )
    },
    Command {
        categories: category::CONNECTION,
        group: Group::Generic,
        since: "3.0.0",
        summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection is \
                  completed.",
        syntax: "numreplicas timeout",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        ..row("wait", 3, flag::BLOCKING, wait)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

/// What followers that read version 12 of RDB data say: this server, and Redis from 8.0 on, which asks for a second connection
/// with it and does without when it gets none.
const CAPAS_OF_VERSION_12: [&[u8]; 2] = [CAPA_RDB_12, b"rdb-channel-repl"];
/// This server's own: others pass over what they do not know.
pub const CAPA_RDB_12: &[u8] = b"rdb-12";

/// Longest address that REPLCONF takes.
const ADDRESS_BYTES_MAX: usize = 255;

/// What a client says of itself before it follows. An acknowledgement of one that does not follow is passed over.
fn replconf(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    if line.len().is_multiple_of(2) {
        return Err(Fault::Syntax);
    }
    if cx.client.leader {
        cx.client.asked_for_acknowledgement |= line.is(1, "getack");
        return Ok(Flow::Done);
    }
    let mut info = cx.client.follower.take().unwrap_or_default();
    let done = apply_replconf(&line, &mut info);
    cx.client.follower = Some(info);
    if done? {
        cx.reply.ok();
    }
    Ok(Flow::Done)
}

/// Takes on all pairs; false when there must be no reply.
fn apply_replconf(line: &crate::resp::Line<'_>, info: &mut FollowerInfo) -> Result<bool, Fault> {
    for at in (1..line.len()).step_by(2) {
        let value = line.arg(at + 1);
        let text = || String::from_utf8_lossy(value).into_owned();
        let number = || parse_i64(value).ok_or(Fault::NotInteger);
        if line.is(at, "listening-port") {
            let port = number()?;
            info.listening_port = u16::try_from(port).unwrap_or_default();
        } else if line.is(at, "ip-address") {
            if value.len() > ADDRESS_BYTES_MAX {
                return Err(Fault::text(format!(
                    "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                )));
            }
            info.announced_ip = text();
        } else if line.is(at, "capa") {
            info.eof |= value.eq_ignore_ascii_case(b"eof");
            info.psync2 |= value.eq_ignore_ascii_case(b"psync2");
            info.version_12 |= CAPAS_OF_VERSION_12
                .iter()
                .any(|capa| value.eq_ignore_ascii_case(capa));
        } else if line.is(at, "version") {
            info.version = version(&text());
        } else if line.is(at, "ack") || line.is(at, "getack") {
            return Ok(false);
        } else if line.is(at, "fack") {
            // The durable offset, which goes with an acknowledgement.
        } else if line.is(at, "rdb-only") {
            let only = number()?;
            if !(0..=1).contains(&only) {
                return Err(Fault::text(
                    "ERR value is out of range, value must between 0 and 1",
                ));
            }
            info.rdb_only = only == 1;
        } else if line.is(at, "rdb-filter-only") {
            info.without_data = true;
            let filters = split_arguments(&text())
                .map_err(|_| Fault::text("ERR Missing rdb-filter-only values"))?;
            for filter in filters {
                if !filter.eq_ignore_ascii_case("functions") {
                    return Err(Fault::text(format!(
                        "ERR Unsupported rdb-filter-only option: {filter}"
                    )));
                }
            }
        } else {
            return Err(Fault::showing(
                "ERR Unrecognized REPLCONF option: {}",
                &[line.arg(at)],
            ));
        }
    }
    Ok(true)
}

/// `major.minor.patch` as one number that compares.
fn version(text: &str) -> u32 {
    let mut parts = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0).min(255);
    part() << 16 | part() << 8 | part()
}

fn sync(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    follow(cx, None, false)
}

fn psync(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let offset = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    let failover = cx.line.len() > 3 && cx.line.is(3, "failover");
    let from = Some((cx.line.arg(1).to_vec(), offset));
    follow(cx, from, failover)
}

fn follow(
    cx: &mut ClientCx<'_, '_>,
    from: Option<(Vec<u8>, i64)>,
    failover: bool,
) -> Result<Flow, Fault> {
    if cx.core.switches.standing.failing_over && !failover {
        return Err(Fault::text("NOMASTERLINK Can't SYNC while failing over"));
    }
    if cx.core.switches.standing.role == Role::Leader && failover {
        return Err(Fault::text("ERR PSYNC FAILOVER can't be sent to a master."));
    }
    if let Role::Follower { up: false } = cx.core.switches.standing.role
        && !failover
    {
        return Err(Fault::text(
            "NOMASTERLINK Can't SYNC while not connected with my master",
        ));
    }
    let info = cx.client.follower.take().unwrap_or_default();
    if info.without_data && !info.eof {
        return Err(Fault::text("ERR Filtered replica requires EOF capability"));
    }
    Ok(Flow::Follow(Box::new(FollowRequest {
        from,
        failover,
        info: *info,
        client: cx.client.id,
        addr: cx.client.addr.to_string(),
        shown: Arc::new(cx.client.as_follower()),
    })))
}

fn replicaof(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.core.switches.standing.failing_over {
        return Err(Fault::text("ERR REPLICAOF not allowed while failing over."));
    }
    if cx.line.is(1, "no") && cx.line.is(2, "one") {
        let wait = !cx.client.executing;
        return Ok(Flow::ask(Question::Lead { wait }, done));
    }
    let port = parse_i64(cx.line.arg(2))
        .and_then(|port| u16::try_from(port).ok())
        .ok_or(Fault::text("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(cx.line.arg(1)).into_owned();
    Ok(Flow::ask(Question::Follow { host, port }, done))
}

fn done(answer: Answer, cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    match answer {
        Answer::Done(text) => cx.reply.simple(text),
        Answer::Refused(text) => return Err(Fault::text(text)),
        Answer::Status(_) | Answer::Acknowledged(_) => unreachable!("another question's answer"),
    }
    Ok(Flow::Done)
}

fn failover(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    let (mut to, mut force, mut timeout_ms, mut abort) = (None, false, None, false);
    let mut at = 1;
    while at < line.len() {
        if line.is(at, "timeout") && at + 1 < line.len() && timeout_ms.is_none() {
            let timeout = parse_i64(line.arg(at + 1)).ok_or(Fault::NotInteger)?;
            if timeout <= 0 {
                return Err(Fault::text("ERR FAILOVER timeout must be greater than 0"));
            }
            timeout_ms = Some(timeout);
            at += 2;
        } else if line.is(at, "abort") && line.len() == 2 {
            abort = true;
            at += 1;
        } else if line.is(at, "to") && at + 2 < line.len() && to.is_none() {
            let port = parse_i64(line.arg(at + 2)).ok_or(Fault::NotInteger)?;
            let host = String::from_utf8_lossy(line.arg(at + 1)).into_owned();
            to = Some((host, u16::try_from(port).unwrap_or_default()));
            at += 3;
        } else if line.is(at, "force") && !force {
            force = true;
            at += 1;
        } else {
            return Err(Fault::Syntax);
        }
    }
    if abort {
        return Ok(Flow::ask(Question::Status, |answer, _| {
            if answer.status().failover_state == "no-failover" {
                return Err(Fault::text("ERR No failover in progress."));
            }
            Ok(Flow::ask(Question::AbortFailover, done))
        }));
    }
    if cx.core.switches.standing.role != Role::Leader {
        return Err(Fault::text(
            "ERR FAILOVER is not valid when server is a replica.",
        ));
    }
    let now_ms = cx.core.now.wall_ms();
    let until_ms = timeout_ms.map(|timeout| now_ms.saturating_add(timeout));
    let question = Question::Failover {
        to,
        force,
        until_ms,
    };
    Ok(Flow::ask(Question::Status, move |answer, _| {
        check_failover(&answer.status(), &question)?;
        Ok(Flow::ask(question, done))
    }))
}

/// A failover can begin: there is somebody to take over.
fn check_failover(status: &Status, question: &Question) -> Result<(), Fault> {
    let Question::Failover {
        to,
        force,
        until_ms,
    } = question
    else {
        return Ok(());
    };
    if status.failover_state != "no-failover" {
        return Err(Fault::text("ERR FAILOVER already in progress."));
    }
    if status.followers.is_empty() {
        return Err(Fault::text("ERR FAILOVER requires connected replicas."));
    }
    if *force && (until_ms.is_none() || to.is_none()) {
        return Err(Fault::text(
            "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ));
    }
    let Some((host, port)) = to else {
        return Ok(());
    };
    let named = |follower: &&FollowerStatus| follower.ip == *host && follower.port == *port;
    match status.followers.iter().find(named) {
        None => Err(Fault::text(
            "ERR FAILOVER target HOST and PORT is not a replica.",
        )),
        Some(follower) if follower.state != "online" => {
            Err(Fault::text("ERR FAILOVER target replica is not online."))
        }
        Some(_) => Ok(()),
    }
}

fn role(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::ask(Question::Status, |answer, cx| {
        let status = answer.status();
        let reply = &mut cx.reply;
        match &status.link {
            None => {
                let online = || {
                    status
                        .followers
                        .iter()
                        .filter(|follower| follower.state == "online")
                };
                reply.array(3);
                reply.bulk(b"master");
                reply.int(status.offset as i64);
                reply.array(online().count());
                for follower in online() {
                    reply.array(3);
                    reply.bulk(follower.ip.as_bytes());
                    reply.bulk(follower.port.to_string().as_bytes());
                    reply.bulk(follower.offset.to_string().as_bytes());
                }
            }
            Some(LinkStatus {
                host,
                port,
                state,
                applied_offset,
                ..
            }) => {
                reply.array(5);
                reply.bulk(b"slave");
                reply.bulk(host.as_bytes());
                reply.int(i64::from(*port));
                reply.bulk(state.as_bytes());
                reply.int(*applied_offset);
            }
        }
        Ok(Flow::Done)
    }))
}

/// Asks the shards how far their lanes are, then the replication shard when that is acknowledged.
fn wait(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.core.switches.standing.role != Role::Leader {
        return Err(Fault::text(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let followers = parse_i64(cx.line.arg(1)).ok_or(Fault::NotInteger)?;
    let timeout_ms = parse_i64(cx.line.arg(2))
        .ok_or(Fault::text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(Fault::text("ERR timeout is negative"));
    }
    let now_ms = cx.core.now.wall_ms();
    let until_ms = match timeout_ms {
        _ if cx.client.executing => Some(now_ms),
        0 => None,
        _ => Some(
            now_ms
                .checked_add(timeout_ms)
                .ok_or(Fault::text("ERR timeout is out of range"))?,
        ),
    };
    Ok(Flow::visit(
        Where::All,
        |core| core.lane.position(),
        move |positions, _| {
            let question = Question::Wait {
                positions,
                followers,
                until_ms,
            };
            Ok(Flow::ask(question, |answer, cx| {
                let Answer::Acknowledged(count) = answer else {
                    unreachable!("another question's answer");
                };
                cx.reply.int(count);
                Ok(Flow::Done)
            }))
        },
    ))
}
