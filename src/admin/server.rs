//! TIME, SHUTDOWN, LOLWUT and MONITOR.

use super::lolwut;
use crate::base::number::parse_i64;
use crate::command::connection::REDIS_VERSION;
use crate::command::replicating::{Answer, Question, SaveHow};
use crate::command::{
    ClientCx, ClientHandler, Close, Command, Fault, Flow, Group, Run, Where, flag,
};

/// The family's rows.
pub const TABLE: &[Command] = &[
    Command {
        since: "5.0.0",
        summary: "Displays computer art and the Redis version.",
        syntax: "[VERSION version]",
        ..row("lolwut", -1, flag::READONLY | flag::FAST, lolwut)
    },
    Command {
        summary: "Listens for all requests received by the server in real-time.",
        ..row(
            "monitor",
            1,
            flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
            monitor,
        )
    },
    Command {
        complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, \
                     otherwise O(1)",
        summary: "Synchronously saves the database(s) to disk and shuts down the Redis server.",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        ..row(
            "shutdown",
            -1,
            flag::ADMIN
                | flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::NO_MULTI
                | flag::ALLOW_BUSY,
            shutdown,
        )
    },
    Command {
        since: "2.6.0",
        summary: "Returns the server time.",
        tips: &["nondeterministic_output"],
        ..row("time", 1, flag::LOADING | flag::STALE | flag::FAST, time)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

fn time(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let wall_us = cx.core.now.wall_us;
    cx.reply.array(2);
    cx.reply.bulk_int(wall_us / 1_000_000);
    cx.reply.bulk_int(wall_us % 1_000_000);
    Ok(Flow::Done)
}

/// Answers only with an error: a node that stops closes its clients instead.
fn shutdown(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let line = cx.line;
    let (mut save, mut nosave, mut abort, mut force) = (false, false, false, false);
    let mut now = false;
    for index in 1..line.len() {
        if line.is(index, "NOSAVE") && !save {
            nosave = true;
        } else if line.is(index, "SAVE") && !nosave {
            save = true;
        } else if line.is(index, "ABORT") && line.len() == 2 {
            abort = true;
        } else if line.is(index, "FORCE") {
            force = true;
        } else if line.is(index, "NOW") {
            now = true;
        } else {
            return Err(Fault::Syntax);
        }
    }
    if abort {
        return Ok(Flow::ask(Question::Stay, |answer, cx| match answer {
            Answer::Refused(text) => Err(Fault::text(text)),
            _ => {
                cx.reply.ok();
                Ok(Flow::Done)
            }
        }));
    }
    let saves = save || !nosave && !cx.core.config.save.is_empty();
    if now {
        return save_and_stop(cx, saves, force);
    }
    Ok(Flow::ask(Question::Part, move |answer, cx| match answer {
        Answer::Refused(text) => Err(Fault::text(text)),
        _ => save_and_stop(cx, saves, force),
    }))
}

/// The followers have everything, or are not waited for.
fn save_and_stop(cx: &mut ClientCx<'_, '_>, saves: bool, force: bool) -> Result<Flow, Fault> {
    if !saves || cx.core.switches.standing.loading {
        return Ok(stop(cx));
    }
    let question = Question::Save(SaveHow::AndHold);
    Ok(Flow::ask(question, move |answer, cx| match answer {
        // Writes go on, if they waited.
        Answer::Refused(_) if !force => Ok(Flow::ask(Question::Stay, |_, _| {
            Err(Fault::text("ERR Errors trying to SHUTDOWN. Check logs."))
        })),
        _ => Ok(stop(cx)),
    }))
}

fn stop(cx: &mut ClientCx<'_, '_>) -> Flow {
    cx.core.os.shutdown();
    cx.client.close(Close::AfterReply);
    Flow::Done
}

fn lolwut(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.line.len() >= 3 && cx.line.is(1, "VERSION") {
        parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    }
    let mut text = lolwut::draw(cx.core.os.random());
    text.push_str(&format!("Redis ver. {REDIS_VERSION}\n"));
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// From now on the client gets every line that any core runs.
fn monitor(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.client.executing {
        return Err(Fault::text(
            "ERR MONITOR isn't allowed for DENY BLOCKING client",
        ));
    }
    if cx.client.monitor {
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    cx.client.monitor = true;
    // The reply comes when every core knows: from then on no line is missing.
    Ok(Flow::visit(
        Where::All,
        |core| core.switches.monitored = true,
        |_, cx| {
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

#[cfg(test)]
mod tests {
    use crate::admin::testnode::TestNode;

    #[test]
    fn shutdown_reads_its_options() {
        let mut node = TestNode::new(1);
        node.connect(0);
        for line in ["SHUTDOWN SAVE NOSAVE", "SHUTDOWN x", "SHUTDOWN ABORT NOW"] {
            assert_eq!(node.run(0, line), "-ERR syntax error|", "{line}");
        }
        assert!(!node.os.stopped.get());
        assert_eq!(node.run(0, "SHUTDOWN NOSAVE NOW FORCE"), "");
        assert!(node.os.stopped.get());
    }

    #[test]
    fn monitor_switches_every_core() {
        let mut node = TestNode::new(2);
        node.connect(1);
        assert_eq!(node.run(0, "MONITOR"), "+OK|");
        assert!((0..2).all(|core| node.switches(core).monitored));
        assert!(node.client(0).monitor);
        assert_eq!(node.run(0, "RESET"), "+RESET|");
        assert!(!node.client(0).monitor);
    }
}
