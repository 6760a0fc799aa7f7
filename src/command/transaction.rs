//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! The rows and what they check. The queue of lines, the watched keys and the running of EXEC are the session's: it looks
//! after each client command at what the handler left in [`Client`](super::Client), and drops the queue and the watched keys
//! when the client has none any more.

use super::{ClientCx, Command, Fault, Flow, Group, KeySpec, Run, category, flag, key_flag};

const OWN: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::UNQUEUED;
const FAST: u32 = OWN | flag::FAST | flag::ALLOW_BUSY;

/// The family's rows.
pub const TABLE: &[Command] = &[
    Command {
        categories: category::TRANSACTION,
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), when N is the number of queued commands",
        summary: "Discards a transaction.",
        ..Command::new("discard", 1, FAST, Run::Client(discard))
    },
    Command {
        categories: category::TRANSACTION,
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "Depends on commands in the transaction",
        summary: "Executes all commands in a transaction.",
        ..Command::new("exec", 1, OWN | flag::SKIP_SLOWLOG, Run::Client(exec))
    },
    Command {
        categories: category::TRANSACTION,
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Starts a transaction.",
        ..Command::new("multi", 1, FAST, Run::Client(multi))
    },
    Command {
        categories: category::TRANSACTION,
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forgets about watched keys of a transaction.",
        ..Command::new("unwatch", 1, FAST & !flag::UNQUEUED, Run::Client(unwatch))
    },
    Command {
        categories: category::TRANSACTION,
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) for every key.",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        syntax: "key [key ...]",
        keys: &[KeySpec::range(1, -1, 1, key_flag::RO)],
        ..Command::new("watch", -2, FAST, Run::Client(watch))
    },
];

/// An EXEC that is refused before it is looked at ends the transaction all the same: the error that it answers instead of
/// `refusal`. `None` for other commands.
pub fn aborted(command: &Command, refusal: &str) -> Option<String> {
    let reason = refusal.strip_prefix("ERR ").unwrap_or(refusal);
    (command.name == "exec")
        .then(|| format!("EXECABORT Transaction discarded because of: {reason}"))
}

fn multi(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.client.multi.is_some() {
        return Err(Fault::text("ERR MULTI calls can not be nested"));
    }
    cx.client.multi = Some(0);
    cx.client.multi_failed = false;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn exec(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.client.multi.is_none() {
        return Err(Fault::text("ERR EXEC without MULTI"));
    }
    if cx.client.multi_failed {
        end(cx);
        return Err(Fault::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    Ok(Flow::Exec)
}

fn discard(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.client.multi.is_none() {
        return Err(Fault::text("ERR DISCARD without MULTI"));
    }
    end(cx);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The client has neither queued lines nor watched keys any more.
fn end(cx: &mut ClientCx<'_, '_>) {
    cx.client.multi = None;
    cx.client.watching = 0;
}

fn unwatch(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.client.watching = 0;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn watch(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.client.multi.is_some() {
        return Err(Fault::text("ERR WATCH inside MULTI is not allowed"));
    }
    Ok(Flow::Watch)
}
