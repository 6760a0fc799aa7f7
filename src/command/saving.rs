//! SAVE, BGSAVE and LASTSAVE: the data to disk. The work is the replication shard's: these commands ask it.

use super::replicating::{Answer, Question, SaveHow};
use super::{ClientCx, ClientHandler, Command, Fault, Flow, Group, Run, category, flag};

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        complexity: "O(1)",
        summary: "Asynchronously saves the database(s) to disk.",
        syntax: "[SCHEDULE]",
        ..row(
            "bgsave",
            -1,
            flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
            bgsave,
        )
    },
    Command {
        categories: category::ADMIN | category::DANGEROUS,
        complexity: "O(1)",
        summary: "Returns the Unix timestamp of the last successful save to disk.",
        tips: &["nondeterministic_output"],
        ..row(
            "lastsave",
            1,
            flag::LOADING | flag::STALE | flag::FAST,
            lastsave,
        )
    },
    Command {
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Synchronously saves the database(s) to disk.",
        ..row(
            "save",
            1,
            flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI,
            save,
        )
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Server,
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

fn save(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::ask(Question::Save(SaveHow::Wait), saved))
}

fn saved(answer: Answer, cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    match answer {
        Answer::Done(text) => cx.reply.simple(text),
        Answer::Refused(text) => return Err(Fault::text(text)),
        Answer::Status(_) | Answer::Acknowledged(_) => unreachable!("another question's answer"),
    }
    Ok(Flow::Done)
}

/// SCHEDULE changes nothing: a save that must wait for a full synchronisation waits for it in any case.
fn bgsave(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    if cx.line.len() > 2 || cx.line.len() == 2 && !cx.line.is(1, "schedule") {
        return Err(Fault::Syntax);
    }
    let executing = cx.client.executing;
    let question = Question::Save(SaveHow::Background);
    Ok(Flow::ask(question, move |answer, cx| match answer {
        // Its cut comes when the transaction is done.
        Answer::Done(_) if executing => saved(Answer::Done("Background saving scheduled"), cx),
        answer => saved(answer, cx),
    }))
}

fn lastsave(_: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(Flow::ask(Question::Status, |answer, cx| {
        let Answer::Status(status) = answer else {
            unreachable!("another question's answer");
        };
        cx.reply.int(status.saving.last_save_s);
        Ok(Flow::Done)
    }))
}
