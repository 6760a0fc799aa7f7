//! HyperLogLog commands: estimates of how many distinct elements were added, in at most 12 KiB and with a standard error
//! of 0.81 %.
//!
//! | file | what |
//! |---|---|
//! | `hyperloglog` | rows and handlers |
//! | `hyperloglog/registers` | the two forms of the registers in a string |
//! | `hyperloglog/estimate` | hash and estimate |
//! | `hyperloglog/selftest` | PFSELFTEST |
//!
//! A HyperLogLog is a string: GET, SET and others move it between servers as it is. So any string may claim to be one, and
//! what claims it without being one is refused before anything changes.

mod estimate;
mod registers;
mod selftest;

use super::string::{missed, wrote_string};
use super::{
    ClientCx, Command, Cx, Done, Fault, Flow, Group, KeySpec, Run, Spread, category, flag, key_flag,
};
use crate::keyspace::{Entry, StringView};
use registers::{Corrupt, REGISTERS, View};

/// The rows of the HyperLogLog commands.
pub const TABLE: &[Command] = &[
    Command {
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
        complexity: "O(1) to add every element.",
        summary: "Adds elements to a HyperLogLog.",
        syntax: "key [element [element ...]]",
        ..row(
            "pfadd",
            -2,
            flag::WRITE | flag::DENYOOM | flag::FAST,
            Run::Keys(pfadd, Spread::One),
        )
    },
    Command {
        keys: &[KeySpec {
            notes: "RW because it may change the internal representation of the key, and propagate to replicas",
            ..KeySpec::range(1, -1, 1, key_flag::RW | key_flag::ACCESS)
        }],
        complexity: "O(1) with a kept count; O(N) for N keys, each some 10 microseconds.",
        summary: "Estimates how many distinct elements were added to HyperLogLogs, together.",
        syntax: "key [key ...]",
        ..row(
            "pfcount",
            -2,
            flag::READONLY | flag::MAY_REPLICATE,
            Run::Keys(pfcount, Spread::Gather),
        )
    },
    Command {
        keys: &[
            KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::INSERT),
            KeySpec::range(2, -1, 1, key_flag::RO | key_flag::ACCESS),
        ],
        complexity: "O(N) to merge N HyperLogLogs.",
        summary: "Merges HyperLogLogs into one.",
        syntax: "destkey [sourcekey [sourcekey ...]]",
        ..row(
            "pfmerge",
            -2,
            flag::WRITE | flag::DENYOOM,
            Run::Keys(pfmerge, Spread::Gather),
        )
    },
    Command {
        keys: &[KeySpec::one(2, key_flag::RW | key_flag::ACCESS)],
        complexity: "O(1), as every HyperLogLog has the same number of registers.",
        summary: "Shows what a HyperLogLog holds, or makes it dense.",
        syntax: "subcommand key",
        ..row(
            "pfdebug",
            3,
            flag::WRITE | flag::DENYOOM | flag::ADMIN,
            Run::Keys(pfdebug, Spread::One),
        )
    },
    Command {
        complexity: "O(1), some ten milliseconds.",
        summary: "Tests the implementation of HyperLogLogs.",
        ..row("pfselftest", 1, flag::ADMIN, Run::Client(pfselftest))
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        group: Group::HyperLogLog,
        categories: category::HYPERLOGLOG,
        since: "2.8.9",
        ..Command::new(name, arity, flags, run)
    }
}

const NONE: Fault = Fault::Text(std::borrow::Cow::Borrowed(
    b"WRONGTYPE Key is not a valid HyperLogLog string value.",
));

impl From<Corrupt> for Fault {
    fn from(_: Corrupt) -> Fault {
        Fault::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// The entry's value, which must look like a HyperLogLog.
fn view(entry: &Entry) -> Result<View<'_>, Fault> {
    match entry.string()? {
        StringView::Int(_) => None,
        StringView::Bytes(bytes) => View::new(bytes),
        StringView::Shared(bytes) => View::new(bytes),
    }
    .ok_or(NONE)
}

fn pfadd(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let line = cx.line;
    let elements = (2..line.len()).map(|index| line.arg(index));
    let known = match cx.keyspace.peek(cx.db, key) {
        Some(entry) => {
            let view = view(entry)?;
            // Most elements change nothing in a dense form that has seen many.
            if view.is_dense() && elements.clone().all(|element| view.has(element)) {
                cx.keyspace.write(cx.db, key);
                cx.reply.int(0);
                return Ok(());
            }
            true
        }
        None => false,
    };
    let sparse_bytes_max = cx.config.hll_sparse_max_bytes;
    let added = cx.keyspace.edit_string(cx.db, key, true, |buffer| {
        if !known {
            registers::init(buffer);
        }
        let changed = registers::add(buffer, elements, sparse_bytes_max)? + u64::from(!known);
        if changed > 0 {
            registers::forget_count(buffer);
        }
        Ok::<u64, Corrupt>(changed)
    })?;
    let changed = added.unwrap_or(Ok(0))?;
    if changed > 0 {
        wrote_string(cx, key, "pfadd", known);
        cx.effects.dirty += changed - 1;
    }
    cx.reply.int(i64::from(changed > 0));
    Ok(())
}

fn pfcount(cx: &mut Cx<'_>) -> Done {
    if cx.line.len() == 2 {
        return pfcount_one(cx);
    }
    let mut union = [0; REGISTERS];
    for index in 1..cx.line.len() {
        let key = cx.key(index);
        match cx.keyspace.read(cx.db, key) {
            Some(entry) => view(entry)?.merge_into(&mut union)?,
            None => missed(cx, key),
        }
    }
    cx.reply.int(registers::count_of(&union) as i64);
    Ok(())
}

fn pfcount_one(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.read(cx.db, key) else {
        missed(cx, key);
        cx.reply.int(0);
        return Ok(());
    };
    let view = view(entry)?;
    let count = match view.kept_count() {
        Some(count) => count,
        None => {
            let count = view.count()?;
            cx.keyspace.edit_string(cx.db, key, false, |buffer| {
                registers::keep_count(buffer, count);
            })?;
            // A change of the value, of which there is no event.
            cx.wrote(key.bytes, "pfcount", 0);
            count
        }
    };
    cx.reply.int(count as i64);
    Ok(())
}

fn pfmerge(cx: &mut Cx<'_>) -> Done {
    let mut union = [0; REGISTERS];
    let mut dense = false;
    for index in 1..cx.line.len() {
        let key = cx.key(index);
        match cx.keyspace.read(cx.db, key) {
            Some(entry) => {
                let view = view(entry)?;
                dense |= view.is_dense();
                view.merge_into(&mut union)?;
            }
            None => missed(cx, key),
        }
    }
    let key = cx.key(1);
    let known = cx.keyspace.contains(cx.db, key);
    let sparse_bytes_max = cx.config.hll_sparse_max_bytes;
    let merged = cx.keyspace.edit_string(cx.db, key, true, |buffer| {
        if !known {
            registers::init(buffer);
        }
        if dense {
            registers::set_dense(buffer, &union);
        } else {
            registers::raise_all(buffer, &union, sparse_bytes_max)?;
        }
        registers::forget_count(buffer);
        Ok::<(), Corrupt>(())
    })?;
    merged.unwrap_or(Ok(()))?;
    wrote_string(cx, key, "pfadd", known);
    cx.reply.ok();
    Ok(())
}

fn pfdebug(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(2);
    let Some(entry) = cx.keyspace.write(cx.db, key) else {
        return Err(Fault::text("ERR The specified key does not exist"));
    };
    let view = view(entry)?;
    if cx.line.is(1, "getreg") {
        let mut registers = [0; REGISTERS];
        view.merge_into(&mut registers)?;
        make_dense(cx)?;
        cx.reply.array(REGISTERS);
        for register in registers {
            cx.reply.int(i64::from(register));
        }
    } else if cx.line.is(1, "decode") {
        if view.is_dense() {
            return Err(Fault::text("ERR HLL encoding is not sparse"));
        }
        cx.reply.bulk(decoded(view).as_bytes());
    } else if cx.line.is(1, "encoding") {
        let name = if view.is_dense() { "dense" } else { "sparse" };
        cx.reply.simple(name);
    } else if cx.line.is(1, "todense") {
        let made = make_dense(cx)?;
        cx.reply.int(i64::from(made));
    } else {
        return Err(Fault::showing(
            "ERR Unknown PFDEBUG subcommand '{}'",
            &[cx.line.arg(1)],
        ));
    }
    Ok(())
}

/// Makes PFDEBUG's key dense; says whether it was sparse.
fn make_dense(cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let key = cx.key(2);
    let made = cx.keyspace.edit_string(cx.db, key, false, |buffer| {
        let sparse = View::new(buffer).is_some_and(|view| !view.is_dense());
        if sparse {
            registers::make_dense(buffer)?;
        }
        Ok::<bool, Corrupt>(sparse)
    })?;
    let made = made.unwrap_or(Ok(false))?;
    if made {
        cx.wrote(key.bytes, "pfdebug", 0);
    }
    Ok(made)
}

/// The runs of a sparse form as text: `Z:` and `z:` for zeros in two bytes and in one, `v:` for a value.
fn decoded(view: View<'_>) -> String {
    let runs = view.runs().map(|run| match (run.value, run.bytes) {
        (0, 1) => format!("z:{}", run.registers),
        (0, _) => format!("Z:{}", run.registers),
        (value, _) => format!("v:{value},{}", run.registers),
    });
    runs.collect::<Vec<_>>().join(" ")
}

fn pfselftest(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    selftest::run().map_err(|what| Fault::text(format!("ERR TESTFAILED {what}")))?;
    cx.reply.ok();
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests;
