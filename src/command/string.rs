//! String commands: the table, and the commands that read and set whole values.
//!
//! | file | what |
//! |---|---|
//! | `string` | rows; GET, SET and their relatives |
//! | `string/part` | parts of a value: APPEND, GETRANGE, SETRANGE, STRLEN |
//! | `string/count` | values as numbers: INCR and its relatives |
//! | `string/lcs` | the longest common subsequence |
//!
//! GET and SET are what most clients do most of the time: both allocate nothing of their own and look their key up
//! once. A large argument is kept as it was received, and a large value is replied by reference.

mod count;
mod expiry;
mod lcs;
#[cfg(test)]
mod model;
pub(super) mod part;

use super::{
    Command, Cx, Done, Fault, Group, KeySpec, Merge, Run, Spread, category, class, flag, key_flag,
};
use crate::keyspace::{Key, NewExpiry, NewString, StringView};
use crate::resp::{Line, Reply};
use expiry::{Expiry, Options};

const ACCESS: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const LOOK: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const ACCESS_UPDATE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::UPDATE,
)];
const ACCESS_DELETE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];
const SET_KEYS: &[KeySpec] = &[KeySpec {
    flags_of: Some(set_key_flags),
    notes: "RW and ACCESS due to the optional `GET` argument",
    ..KeySpec::one(
        1,
        key_flag::RW | key_flag::ACCESS | key_flag::UPDATE | key_flag::VARIABLE_FLAGS,
    )
}];
const GETEX_KEYS: &[KeySpec] = &[KeySpec {
    notes: "RW and UPDATE because it changes the TTL",
    ..KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)
}];
const INSERT: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const REPLACE: &[KeySpec] = &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)];
const CREATE: &[KeySpec] = &[KeySpec::one(1, key_flag::OW | key_flag::INSERT)];

const READS: u32 = flag::READONLY;
const READS_FAST: u32 = flag::READONLY | flag::FAST;
const WRITES: u32 = flag::WRITE | flag::DENYOOM;
const WRITES_FAST: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;

/// The rows of the string commands.
pub const TABLE: &[Command] = &[
    Command {
        keys: ACCESS,
        summary: "Returns the value of a key.",
        syntax: "key",
        ..row("get", 2, READS_FAST, Run::Keys(get, Spread::One))
    },
    Command {
        keys: SET_KEYS,
        summary: "Sets the value of a key, whatever it held before.",
        syntax: "key value [NX | XX | IFEQ comparison-value] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL]",
        ..row("set", -3, WRITES, Run::Keys(set, Spread::One))
    },
    Command {
        keys: CREATE,
        deprecated: Some(("2.6.12", "`SET` with the `NX` argument")),
        summary: "Sets the value of a key that does not exist.",
        syntax: "key value",
        ..row("setnx", 3, WRITES_FAST, Run::Keys(setnx, Spread::One))
    },
    Command {
        keys: REPLACE,
        since: "2.0.0",
        deprecated: Some(("2.6.12", "`SET` with the `EX` argument")),
        summary: "Sets the value of a key and the seconds that it lives.",
        syntax: "key seconds value",
        ..row("setex", 4, WRITES, Run::Keys(setex, Spread::One))
    },
    Command {
        keys: REPLACE,
        since: "2.6.0",
        deprecated: Some(("2.6.12", "`SET` with the `PX` argument")),
        summary: "Sets the value of a key and the milliseconds that it lives.",
        syntax: "key milliseconds value",
        ..row("psetex", 4, WRITES, Run::Keys(psetex, Spread::One))
    },
    Command {
        keys: ACCESS_UPDATE,
        deprecated: Some(("6.2.0", "`SET` with the `GET` argument")),
        summary: "Sets the value of a key and returns the old one.",
        syntax: "key value",
        ..row("getset", 3, WRITES_FAST, Run::Keys(getset, Spread::One))
    },
    Command {
        keys: ACCESS_DELETE,
        since: "6.2.0",
        summary: "Returns the value of a key and deletes the key.",
        syntax: "key",
        ..row(
            "getdel",
            2,
            flag::WRITE | flag::FAST,
            Run::Keys(getdel, Spread::One),
        )
    },
    Command {
        keys: GETEX_KEYS,
        since: "6.2.0",
        summary: "Returns the value of a key and sets or removes its expiry.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        ..row(
            "getex",
            -2,
            flag::WRITE | flag::FAST,
            Run::Keys(getex, Spread::One),
        )
    },
    Command {
        keys: &[KeySpec::range(1, -1, 1, key_flag::RO | key_flag::ACCESS)],
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Returns the values of several keys.",
        syntax: "key [key ...]",
        tips: &["request_policy:multi_shard"],
        ..row(
            "mget",
            -2,
            READS_FAST,
            Run::Keys(mget, Spread::Split(Merge::Interleave)),
        )
    },
    Command {
        keys: &[KeySpec::range(1, -1, 2, key_flag::OW | key_flag::UPDATE)],
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Sets the values of several keys.",
        syntax: "key value [key value ...]",
        tips: &[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ],
        ..row(
            "mset",
            -3,
            WRITES,
            Run::Keys(mset, Spread::Split(Merge::Same)),
        )
    },
    Command {
        keys: &[KeySpec::range(1, -1, 2, key_flag::OW | key_flag::INSERT)],
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Sets the values of several keys when none of them exists.",
        syntax: "key value [key value ...]",
        ..row("msetnx", -3, WRITES, Run::Keys(msetnx, Spread::Gather))
    },
    Command {
        keys: INSERT,
        since: "2.0.0",
        complexity: "O(1) amortized: a growing value is given spare room, so it is not copied at each call.",
        summary: "Appends to the value of a key.",
        syntax: "key value",
        ..row(
            "append",
            3,
            WRITES_FAST,
            Run::Keys(part::append, Spread::One),
        )
    },
    Command {
        keys: LOOK,
        since: "2.2.0",
        summary: "Returns the length of a value in bytes.",
        syntax: "key",
        ..row(
            "strlen",
            2,
            READS_FAST,
            Run::Keys(part::strlen, Spread::One),
        )
    },
    Command {
        keys: UPDATE,
        since: "2.2.0",
        complexity: "O(M) where M is the length of the value argument.",
        summary: "Overwrites a part of a value from an offset on.",
        syntax: "key offset value",
        ..row(
            "setrange",
            4,
            WRITES,
            Run::Keys(part::setrange, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the returned string; a large one is not copied.",
        summary: "Returns a part of a value.",
        syntax: "key start end",
        ..row("getrange", 4, READS, Run::Keys(part::getrange, Spread::One))
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the length of the returned string; a large one is not copied.",
        deprecated: Some(("2.0.0", "`GETRANGE`")),
        summary: "Returns a part of a value. The old name of GETRANGE.",
        syntax: "key start end",
        ..row("substr", 4, READS, Run::Keys(part::getrange, Spread::One))
    },
    Command {
        keys: ACCESS_UPDATE,
        summary: "Adds one to the integer in a key.",
        syntax: "key",
        ..row("incr", 2, WRITES_FAST, Run::Keys(count::incr, Spread::One))
    },
    Command {
        keys: ACCESS_UPDATE,
        summary: "Takes one from the integer in a key.",
        syntax: "key",
        ..row("decr", 2, WRITES_FAST, Run::Keys(count::decr, Spread::One))
    },
    Command {
        keys: ACCESS_UPDATE,
        summary: "Adds a number to the integer in a key.",
        syntax: "key increment",
        ..row(
            "incrby",
            3,
            WRITES_FAST,
            Run::Keys(count::incrby, Spread::One),
        )
    },
    Command {
        keys: ACCESS_UPDATE,
        summary: "Takes a number from the integer in a key.",
        syntax: "key decrement",
        ..row(
            "decrby",
            3,
            WRITES_FAST,
            Run::Keys(count::decrby, Spread::One),
        )
    },
    Command {
        keys: ACCESS_UPDATE,
        since: "2.6.0",
        summary: "Adds a number to the floating-point number in a key.",
        syntax: "key increment:double",
        ..row(
            "incrbyfloat",
            3,
            WRITES_FAST,
            Run::Keys(count::incrbyfloat, Spread::One),
        )
    },
    Command {
        keys: &[KeySpec::range(1, 1, 1, key_flag::RO | key_flag::ACCESS)],
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of the values, 64 columns at a time.",
        summary: "Finds the longest common subsequence of two values.",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        ..row("lcs", -3, READS, Run::Keys(lcs::lcs, Spread::Gather))
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        group: Group::String,
        categories: category::STRING,
        ..Command::new(name, arity, flags, run)
    }
}

fn get(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read(cx.db, key) {
        Some(entry) => push_string(&mut cx.reply, entry.string()?),
        None => {
            missed(cx, key);
            cx.reply.null();
        }
    }
    Ok(())
}

/// What SET does with its key: it reads it only with GET or IFEQ.
fn set_key_flags(line: &Line<'_>) -> u32 {
    if (3..line.len()).any(|index| line.is(index, "GET") || line.is(index, "IFEQ")) {
        key_flag::RW | key_flag::ACCESS | key_flag::UPDATE
    } else {
        key_flag::OW | key_flag::UPDATE
    }
}

fn set(cx: &mut Cx<'_>) -> Done {
    if cx.line.len() > 3 {
        return set_with_options(cx);
    }
    let key = cx.key(1);
    let value = new_string(&cx.line, 2);
    let existed = cx.keyspace.set_string(cx.db, key, value, NewExpiry::Clear);
    wrote_string(cx, key, "set", existed);
    cx.reply.ok();
    Ok(())
}

/// SET's conditions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// The key must not exist.
    Missing,
    /// The key must exist.
    Existing,
    /// It must hold the argument at this index.
    Equal(usize),
}

fn set_with_options(cx: &mut Cx<'_>) -> Done {
    let options = Options::of_set(&cx.line)?;
    let expiry = match options.expiry {
        None => NewExpiry::Clear,
        Some(Expiry::Keep) => NewExpiry::Keep,
        Some(expiry) => NewExpiry::At(expiry.deadline(&cx.line, cx.now_ms, "set")?),
    };
    let key = cx.key(1);
    let mut found = None;
    if options.get {
        match cx.keyspace.read(cx.db, key) {
            Some(entry) => {
                push_string(&mut cx.reply, entry.string()?);
                found = Some(true);
            }
            None => {
                missed(cx, key);
                cx.reply.null();
                found = Some(false);
            }
        }
    }
    if let Some(condition) = options.condition {
        let found = found.unwrap_or_else(|| cx.keyspace.write(cx.db, key).is_some());
        let holds = match condition {
            Condition::Missing => !found,
            Condition::Existing => found,
            Condition::Equal(at) => found && holds_string(cx, key, at)?,
        };
        if !holds {
            if !options.get {
                cx.reply.null();
            }
            return Ok(());
        }
    }
    set_and_expire(cx, key, 2, expiry);
    let compares = matches!(options.condition, Some(Condition::Equal(_)));
    if (options.get || compares) && !matches!(expiry, NewExpiry::At(_)) {
        // A follower must not be asked for the old value, which may be of another type there and is of no use, and need not know
        // IFEQ.
        match expiry {
            NewExpiry::Keep => cx.log(&[b"SET", key.bytes, cx.line.arg(2), b"KEEPTTL"]),
            _ => cx.log(&[b"SET", key.bytes, cx.line.arg(2)]),
        }
    }
    if !options.get {
        cx.reply.ok();
    }
    Ok(())
}

/// The key, which is there, holds the argument at `at`.
fn holds_string(cx: &mut Cx<'_>, key: Key<'_>, at: usize) -> Result<bool, Fault> {
    let expected = cx.line.arg(at);
    let Some(entry) = cx.keyspace.write(cx.db, key) else {
        return Ok(false);
    };
    let mut digits = itoa::Buffer::new();
    Ok(entry.string()?.with_bytes(&mut digits) == expected)
}

/// Sets the key to the argument at `value_at`. A follower is told the moment of the expiry, not the time to it.
fn set_and_expire(cx: &mut Cx<'_>, key: Key<'_>, value_at: usize, expiry: NewExpiry) {
    let value = new_string(&cx.line, value_at);
    let existed = cx.keyspace.set_string(cx.db, key, value, expiry);
    wrote_string(cx, key, "set", existed);
    if let NewExpiry::At(at) = expiry {
        cx.notify(cx.db, key.bytes, "expire", class::GENERIC);
        let at = itoa::Buffer::new().format(at).to_owned();
        cx.log(&[
            b"SET",
            key.bytes,
            cx.line.arg(value_at),
            b"PXAT",
            at.as_bytes(),
        ]);
    }
}

fn setnx(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let missing = cx.keyspace.write(cx.db, key).is_none();
    if missing {
        set_and_expire(cx, key, 2, NewExpiry::Clear);
    }
    cx.reply.int(i64::from(missing));
    Ok(())
}

fn setex(cx: &mut Cx<'_>) -> Done {
    let at = Expiry::InSeconds(2).deadline(&cx.line, cx.now_ms, "setex")?;
    set_and_expire(cx, cx.key(1), 3, NewExpiry::At(at));
    cx.reply.ok();
    Ok(())
}

fn psetex(cx: &mut Cx<'_>) -> Done {
    let at = Expiry::InMilliseconds(2).deadline(&cx.line, cx.now_ms, "psetex")?;
    set_and_expire(cx, cx.key(1), 3, NewExpiry::At(at));
    cx.reply.ok();
    Ok(())
}

fn getset(cx: &mut Cx<'_>) -> Done {
    get(cx)?;
    let key = cx.key(1);
    set_and_expire(cx, key, 2, NewExpiry::Clear);
    cx.log(&[b"SET", key.bytes, cx.line.arg(2)]);
    Ok(())
}

fn getdel(cx: &mut Cx<'_>) -> Done {
    get(cx)?;
    let key = cx.key(1);
    if cx.keyspace.remove(cx.db, key) {
        cx.wrote(key.bytes, "del", class::GENERIC);
        cx.log(&[b"DEL", key.bytes]);
    }
    Ok(())
}

fn getex(cx: &mut Cx<'_>) -> Done {
    let options = Options::of_getex(&cx.line)?;
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.read(cx.db, key) else {
        missed(cx, key);
        cx.reply.null();
        return Ok(());
    };
    let value = entry.string()?;
    // As in Redis, a wrong time is no error for a key that does not exist.
    let deadline = match options.expiry {
        None | Some(Expiry::Keep | Expiry::Persist) => None,
        Some(expiry) => Some(expiry.deadline(&cx.line, cx.now_ms, "getex")?),
    };
    push_string(&mut cx.reply, value);
    match deadline {
        Some(at) if at <= cx.now_ms => {
            cx.keyspace.remove(cx.db, key);
            cx.wrote(key.bytes, "del", class::GENERIC);
            let name: &[u8] = if cx.config.lazyfree_lazy_expire {
                b"UNLINK"
            } else {
                b"DEL"
            };
            cx.log(&[name, key.bytes]);
        }
        Some(at) => {
            cx.keyspace.set_expiry(cx.db, key, Some(at));
            cx.wrote(key.bytes, "expire", class::GENERIC);
            let at = itoa::Buffer::new().format(at).to_owned();
            cx.log(&[b"PEXPIREAT", key.bytes, at.as_bytes()]);
        }
        None if options.expiry == Some(Expiry::Persist)
            && cx.keyspace.expiry(cx.db, key).flatten().is_some() =>
        {
            cx.keyspace.set_expiry(cx.db, key, None);
            cx.wrote(key.bytes, "persist", class::GENERIC);
            cx.log(&[b"PERSIST", key.bytes]);
        }
        None => {}
    }
    Ok(())
}

fn mget(cx: &mut Cx<'_>) -> Done {
    cx.reply.array(cx.line.len() - 1);
    for index in 1..cx.line.len() {
        let key = cx.key(index);
        match cx.keyspace.read(cx.db, key).map(|entry| entry.string()) {
            Some(Ok(value)) => push_string(&mut cx.reply, value),
            Some(Err(_)) => cx.reply.null(),
            None => {
                missed(cx, key);
                cx.reply.null();
            }
        }
    }
    Ok(())
}

fn mset(cx: &mut Cx<'_>) -> Done {
    pairs(&cx.line, "mset")?;
    set_pairs(cx);
    cx.reply.ok();
    Ok(())
}

fn msetnx(cx: &mut Cx<'_>) -> Done {
    pairs(&cx.line, "msetnx")?;
    for index in (1..cx.line.len()).step_by(2) {
        if cx.keyspace.write(cx.db, cx.key(index)).is_some() {
            cx.reply.int(0);
            return Ok(());
        }
    }
    set_pairs(cx);
    cx.reply.int(1);
    Ok(())
}

/// The line's arguments come in pairs.
fn pairs(line: &Line<'_>, command: &str) -> Done {
    if line.len() % 2 == 1 {
        return Ok(());
    }
    Err(Fault::text(format!(
        "ERR wrong number of arguments for '{command}' command"
    )))
}

fn set_pairs(cx: &mut Cx<'_>) {
    for index in (1..cx.line.len()).step_by(2) {
        let key = cx.key(index);
        let value = new_string(&cx.line, index + 1);
        let existed = cx.keyspace.set_string(cx.db, key, value, NewExpiry::Clear);
        wrote_string(cx, key, "set", existed);
    }
}

/// The argument as a value to set: a large one is kept as it was received.
#[inline]
fn new_string<'a>(line: &Line<'a>, index: usize) -> NewString<'a> {
    match line.shared(index) {
        Some(bytes) => NewString::Shared(bytes.clone()),
        None => NewString::Bytes(line.arg(index)),
    }
}

/// Replies with a value: a large one by reference.
#[inline]
fn push_string(reply: &mut Reply<'_>, value: StringView<'_>) {
    match value {
        StringView::Bytes(bytes) => reply.bulk(bytes),
        StringView::Shared(bytes) => reply.bulk_shared(bytes),
        StringView::Int(integer) => reply.bulk_int(integer),
    }
}

/// Tells of a read that found nothing.
#[inline]
pub(super) fn missed(cx: &mut Cx<'_>, key: Key<'_>) {
    cx.notify(cx.db, key.bytes, "keymiss", class::KEY_MISS);
}

/// A string was set or modified.
#[inline]
pub(super) fn wrote_string(cx: &mut Cx<'_>, key: Key<'_>, event: &'static str, existed: bool) {
    if !existed {
        cx.notify(cx.db, key.bytes, "new", class::NEW);
    }
    cx.wrote(key.bytes, event, class::STRING);
}

/// The key exists, or nobody listens for new ones: what [`wrote_string`] needs to know where the change itself does not say.
#[inline]
pub(super) fn existed(cx: &mut Cx<'_>, key: Key<'_>) -> bool {
    !cx.effects.listening || cx.keyspace.contains(cx.db, key)
}

/// A string of `len` bytes is not longer than strings may be.
pub(super) fn check_length(cx: &Cx<'_>, len: u64) -> Done {
    if len <= cx.config.proto_max_bulk_len {
        return Ok(());
    }
    Err(Fault::text(
        "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    ))
}

#[cfg(test)]
mod tests;
