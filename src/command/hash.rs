//! Commands on hashes: the table, and the commands that read and set fields.
//!
//! | file | what |
//! |---|---|
//! | `hash` | rows; HSET, HGET and their relatives, HSCAN |
//! | `hash/count` | values as numbers: HINCRBY and HINCRBYFLOAT |
//! | `hash/random` | HRANDFIELD |
//! | `hash/expire` | when fields end: HEXPIRE, HTTL, HPERSIST and their relatives |
//! | `hash/combined` | HGETEX, HSETEX, HGETDEL |
//!
//! A field that expired is never seen. Most are removed before a command gets to see its hash (see `keyspace::fields`); of what is
//! left then, each command says since when it does not count: [`fields_now`].
//!
//! [`fields_now`]: crate::keyspace::Keyspace::fields_now

mod combined;
mod count;
mod expire;
mod random;

use super::digest::{self, Digest};
use super::scan::{self, ScanOptions, Scanned, value_cursor};
use super::string::missed;
use super::{
    Command, Cx, Done, Fault, Group, KeySpec, Run, Spread, category, class, flag, key_flag,
};
use crate::config::Config;
use crate::keyspace::{Collection, Key};
use crate::resp::{Line, Reply};
use crate::structures::hash::{Field, Found, Hash, Limits, SEE_ALL, Ttl};
use crate::structures::listpack::Element;

const ACCESS: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const LOOK: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const ACCESS_UPDATE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::UPDATE,
)];
const ACCESS_DELETE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];
const INSERT: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)];
const DELETE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)];

const READS: u32 = flag::READONLY;
const READS_FAST: u32 = flag::READONLY | flag::FAST;
const SETS: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const REMOVES: u32 = flag::WRITE | flag::FAST;

const FIELDS: &str = "key FIELDS numfields field [field ...]";
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];

/// The commands of hashes.
pub const TABLE: &[Command] = &[
    Command {
        keys: UPDATE,
        complexity: "O(N) where N is the number of fields being set.",
        summary: "Sets the values of fields of a hash.",
        syntax: "key field value [field value ...]",
        ..row("hset", -4, SETS, hset)
    },
    Command {
        keys: UPDATE,
        complexity: "O(N) where N is the number of fields being set.",
        deprecated: Some(("4.0.0", "`HSET` with multiple field-value pairs")),
        summary: "Sets the values of fields of a hash.",
        syntax: "key field value [field value ...]",
        ..row("hmset", -4, SETS, hmset)
    },
    Command {
        keys: INSERT,
        summary: "Sets the value of a field of a hash when the field does not exist.",
        syntax: "key field value",
        ..row("hsetnx", 4, SETS, hsetnx)
    },
    Command {
        keys: ACCESS,
        summary: "Returns the value of a field of a hash.",
        syntax: "key field",
        ..row("hget", 3, READS_FAST, hget)
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the number of fields being requested.",
        summary: "Returns the values of fields of a hash.",
        syntax: "key field [field ...]",
        ..row("hmget", -3, READS_FAST, hmget)
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all fields of a hash and their values.",
        syntax: "key",
        tips: ANY_ORDER,
        ..row("hgetall", 2, READS, hgetall)
    },
    Command {
        keys: DELETE,
        complexity: "O(N) where N is the number of fields to be removed.",
        summary: "Deletes fields of a hash, and the hash with its last field.",
        syntax: "key field [field ...]",
        ..row("hdel", -3, REMOVES, hdel)
    },
    Command {
        keys: LOOK,
        summary: "Returns the number of fields of a hash.",
        syntax: "key",
        ..row("hlen", 2, READS_FAST, hlen)
    },
    Command {
        keys: LOOK,
        summary: "Says whether a hash has a field.",
        syntax: "key field",
        ..row("hexists", 3, READS_FAST, hexists)
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all fields of a hash.",
        syntax: "key",
        tips: ANY_ORDER,
        ..row("hkeys", 2, READS, hkeys)
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns the values of all fields of a hash.",
        syntax: "key",
        tips: ANY_ORDER,
        ..row("hvals", 2, READS, hvals)
    },
    Command {
        keys: LOOK,
        since: "3.2.0",
        summary: "Returns the length of the value of a field.",
        syntax: "key field",
        ..row("hstrlen", 3, READS_FAST, hstrlen)
    },
    Command {
        keys: ACCESS_UPDATE,
        summary: "Adds a number to the integer in a field.",
        syntax: "key field increment",
        ..row("hincrby", 4, SETS, count::hincrby)
    },
    Command {
        keys: ACCESS_UPDATE,
        since: "2.6.0",
        summary: "Adds a number to the floating-point number in a field.",
        syntax: "key field increment:double",
        ..row("hincrbyfloat", 4, SETS, count::hincrbyfloat)
    },
    Command {
        keys: ACCESS,
        since: "6.2.0",
        complexity: "O(N) where N is the number of fields returned.",
        summary: "Returns random fields of a hash.",
        syntax: "key [count [WITHVALUES]]",
        tips: ANY_OUTPUT,
        ..row("hrandfield", -2, READS, random::hrandfield)
    },
    Command {
        keys: ACCESS,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, N being the number of fields.",
        summary: "Iterates over the fields of a hash.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        tips: ANY_OUTPUT,
        ..row("hscan", -3, READS, hscan)
    },
    Command {
        summary: "Sets the expiration time of fields in seconds.",
        syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        ..expiry_row("hexpire", -6, SETS, UPDATE, expire::hexpire)
    },
    Command {
        summary: "Sets the expiration time of fields in milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        ..expiry_row("hpexpire", -6, SETS, UPDATE, expire::hpexpire)
    },
    Command {
        summary: "Sets the expiration time of fields to a Unix timestamp.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        ..expiry_row("hexpireat", -6, SETS, UPDATE, expire::hexpireat)
    },
    Command {
        summary: "Sets the expiration time of fields to a Unix milliseconds timestamp.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        ..expiry_row("hpexpireat", -6, SETS, UPDATE, expire::hpexpireat)
    },
    Command {
        summary: "Returns the expiration time in seconds of fields.",
        tips: ANY_OUTPUT,
        ..expiry_row("httl", -5, READS_FAST, ACCESS, expire::httl)
    },
    Command {
        summary: "Returns the expiration time in milliseconds of fields.",
        tips: ANY_OUTPUT,
        ..expiry_row("hpttl", -5, READS_FAST, ACCESS, expire::hpttl)
    },
    Command {
        summary: "Returns the expiration time of fields as Unix timestamps.",
        ..expiry_row("hexpiretime", -5, READS_FAST, ACCESS, expire::hexpiretime)
    },
    Command {
        summary: "Returns the expiration time of fields as Unix milliseconds timestamps.",
        ..expiry_row("hpexpiretime", -5, READS_FAST, ACCESS, expire::hpexpiretime)
    },
    Command {
        summary: "Removes the expiration time of fields.",
        ..expiry_row("hpersist", -5, REMOVES, UPDATE, expire::hpersist)
    },
    Command {
        since: "8.0.0",
        summary: "Returns the values of fields and sets or removes their expiration time.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
                 PERSIST] FIELDS numfields field [field ...]",
        ..expiry_row("hgetex", -5, REMOVES, ACCESS_UPDATE, combined::hgetex)
    },
    Command {
        since: "8.0.0",
        summary: "Sets the values of fields and their expiration time.",
        syntax: "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        ..expiry_row("hsetex", -6, SETS, UPDATE, combined::hsetex)
    },
    Command {
        since: "8.0.0",
        summary: "Returns the values of fields and deletes them.",
        ..expiry_row("hgetdel", -5, REMOVES, ACCESS_DELETE, combined::hgetdel)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: super::KeysHandler) -> Command {
    Command {
        group: Group::Hash,
        categories: category::HASH,
        since: "2.0.0",
        ..Command::new(name, arity, flags, Run::Keys(handler, Spread::One))
    }
}

const fn expiry_row(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: &'static [KeySpec],
    handler: super::KeysHandler,
) -> Command {
    Command {
        keys,
        since: "7.4.0",
        complexity: "O(N) where N is the number of specified fields.",
        syntax: FIELDS,
        ..row(name, arity, flags, handler)
    }
}

fn limits(config: &Config) -> Limits {
    let bounded = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Limits {
        entries: bounded(config.hash_max_listpack_entries),
        value_bytes: bounded(config.hash_max_listpack_value),
    }
}

/// Replies with a field's name or value.
#[inline]
fn push(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Int(integer) => reply.bulk_int(integer),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// A hash got `changes` changes.
fn wrote(cx: &mut Cx<'_>, key: Key<'_>, event: &'static str, changes: usize, existed: bool) {
    if !existed {
        cx.notify(cx.db, key.bytes, "new", class::NEW);
    }
    cx.wrote(key.bytes, event, class::HASH);
    cx.effects.dirty += changes.saturating_sub(1) as u64;
}

/// A hash lost `changes` fields, and its key when they were its last.
fn wrote_less(cx: &mut Cx<'_>, key: Key<'_>, event: &'static str, changes: usize, emptied: bool) {
    wrote(cx, key, event, changes, true);
    if emptied {
        cx.notify(cx.db, key.bytes, "del", class::GENERIC);
    }
}

/// Sets the pairs from the argument `from` on; returns how many fields are new, and whether the key was there.
fn set_pairs<'a>(
    cx: &mut Cx<'a>,
    key: Key<'_>,
    from: usize,
    mut set: impl FnMut(&mut Hash, &'a [u8], &'a [u8]) -> Found,
) -> Result<(usize, bool), Fault> {
    let line = cx.line;
    let limits = limits(cx.config);
    let (mut longest, mut bytes) = (0, 0);
    for index in from..line.len() {
        let len = line.spans()[index].len();
        longest = longest.max(len);
        bytes += len;
    }
    Ok(cx.keyspace.edit_or_new(cx.db, key, |hash: &mut Hash| {
        hash.prepare((line.len() - from) / 2, longest, bytes, limits);
        let mut created = 0;
        for index in (from..line.len()).step_by(2) {
            let found = set(hash, line.arg(index), line.arg(index + 1));
            created += usize::from(found != Found::Field);
        }
        created
    })?)
}

/// HSET and HMSET; returns how many fields are new.
fn set_fields(cx: &mut Cx<'_>, name: &str) -> Result<usize, Fault> {
    if cx.line.len() % 2 == 1 {
        return Err(wrong_number(name));
    }
    let key = cx.key(1);
    let (limits, now) = (limits(cx.config), cx.keyspace.fields_now());
    let (created, existed) = set_pairs(cx, key, 2, |hash, field, value| {
        hash.set(field, value, Ttl::Clear, now, limits)
    })?;
    let pairs = cx.line.len() / 2 - 1;
    wrote(cx, key, "hset", pairs, existed);
    Ok(created)
}

fn wrong_number(name: &str) -> Fault {
    Fault::text(format!(
        "ERR wrong number of arguments for '{name}' command"
    ))
}

fn hset(cx: &mut Cx<'_>) -> Done {
    let created = set_fields(cx, "hset")?;
    cx.reply.count(created);
    Ok(())
}

fn hmset(cx: &mut Cx<'_>) -> Done {
    set_fields(cx, "hmset")?;
    cx.reply.ok();
    Ok(())
}

fn hsetnx(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let (name, value) = (cx.line.arg(2), cx.line.arg(3));
    let now = cx.keyspace.fields_now();
    let there = match cx.keyspace.write(cx.db, key) {
        Some(entry) => entry.collection::<Hash>()?.get(name, now).is_some(),
        None => false,
    };
    if !there {
        set_one(cx, key, value, "hset")?;
    }
    cx.reply.int(i64::from(!there));
    Ok(())
}

/// Sets the field that argument 2 names, keeping its expiry.
fn set_one(cx: &mut Cx<'_>, key: Key<'_>, value: &[u8], event: &'static str) -> Done {
    let name = cx.line.arg(2);
    let (limits, now) = (limits(cx.config), cx.keyspace.fields_now());
    let (found, existed) = cx.keyspace.edit_or_new(cx.db, key, |hash: &mut Hash| {
        hash.set(name, value, Ttl::Keep, now, limits)
    })?;
    if found == Found::Expired {
        // A follower still has the field, and would go by what is in it.
        cx.log(&[b"HSET", key.bytes, name, value]);
    }
    wrote(cx, key, event, 1, existed);
    Ok(())
}

fn hget(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let (name, now) = (cx.line.arg(2), cx.keyspace.fields_now());
    match cx.keyspace.read_collection::<Hash>(cx.db, key)? {
        Some(hash) => match hash.get(name, now) {
            Some(value) => push(&mut cx.reply, value),
            None => cx.reply.null(),
        },
        None => {
            missed(cx, key);
            cx.reply.null();
        }
    }
    Ok(())
}

fn hmget(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let (line, now) = (cx.line, cx.keyspace.fields_now());
    let hash = cx.keyspace.read_collection::<Hash>(cx.db, key)?;
    let there = hash.is_some();
    cx.reply.array(line.len() - 2);
    for index in 2..line.len() {
        match hash.and_then(|hash| hash.get(line.arg(index), now)) {
            Some(value) => push(&mut cx.reply, value),
            None => cx.reply.null(),
        }
    }
    if !there {
        missed(cx, key);
    }
    Ok(())
}

fn hgetall(cx: &mut Cx<'_>) -> Done {
    all(
        cx,
        |reply, len| reply.map(len),
        |reply, field| {
            push(reply, field.name);
            push(reply, field.value);
        },
    )
}

fn hkeys(cx: &mut Cx<'_>) -> Done {
    all(
        cx,
        |reply, len| reply.array(len),
        |reply, field| push(reply, field.name),
    )
}

fn hvals(cx: &mut Cx<'_>) -> Done {
    all(
        cx,
        |reply, len| reply.array(len),
        |reply, field| push(reply, field.value),
    )
}

/// Replies what `each` makes of every field, behind a header for their number.
fn all(
    cx: &mut Cx<'_>,
    header: impl Fn(&mut Reply<'_>, usize),
    each: impl Fn(&mut Reply<'_>, Field<'_>),
) -> Done {
    let key = cx.key(1);
    let now = cx.keyspace.fields_now();
    match cx.keyspace.read_collection::<Hash>(cx.db, key)? {
        Some(hash) => {
            header(&mut cx.reply, hash.live_len(now));
            hash.iter(now).for_each(|field| each(&mut cx.reply, field));
        }
        None => {
            missed(cx, key);
            header(&mut cx.reply, 0);
        }
    }
    Ok(())
}

/// Removes a field that is there at `now`; one that expired before is left to active expiry, which tells of it.
fn remove_live(hash: &mut Hash, name: &[u8], now: i64) -> bool {
    let some_due = hash.deadline().is_some_and(|at| at < now);
    if some_due && hash.get(name, now).is_none() {
        return false;
    }
    hash.remove(name)
}

fn hdel(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let (line, now) = (cx.line, cx.keyspace.fields_now());
    let edited = cx.keyspace.edit(cx.db, key, |hash: &mut Hash| {
        let names = (2..line.len()).map(|index| line.arg(index));
        let removed = names.filter(|name| remove_live(hash, name, now)).count();
        (removed, hash.is_empty())
    })?;
    let (removed, emptied) = edited.unwrap_or_default();
    if removed > 0 {
        wrote_less(cx, key, "hdel", removed, emptied);
    }
    cx.reply.count(removed);
    Ok(())
}

fn hlen(cx: &mut Cx<'_>) -> Done {
    count_of(cx, |hash, now, _| hash.live_len(now))
}

fn hexists(cx: &mut Cx<'_>) -> Done {
    count_of(cx, |hash, now, line| {
        usize::from(hash.get(line.arg(2), now).is_some())
    })
}

fn hstrlen(cx: &mut Cx<'_>) -> Done {
    count_of(cx, |hash, now, line| {
        let value = hash.get(line.arg(2), now);
        value.map_or(0, |value| value.byte_len())
    })
}

/// Replies a number that `count` reads from the hash; 0 without the key.
fn count_of(cx: &mut Cx<'_>, count: impl Fn(&Hash, i64, Line<'_>) -> usize) -> Done {
    let key = cx.key(1);
    let (line, now) = (cx.line, cx.keyspace.fields_now());
    match cx.keyspace.read_collection::<Hash>(cx.db, key)? {
        Some(hash) => cx.reply.count(count(hash, now, line)),
        None => {
            missed(cx, key);
            cx.reply.int(0);
        }
    }
    Ok(())
}

fn hscan(cx: &mut Cx<'_>) -> Done {
    let cursor = value_cursor(cx.line.arg(2))?;
    let key = cx.key(1);
    let (line, now) = (cx.line, cx.keyspace.fields_now());
    let mut found = scan::Found::default();
    let mut next = 0;
    match cx.keyspace.read_collection::<Hash>(cx.db, key)? {
        // As in Redis, wrong options are no error for a key that does not exist.
        None => missed(cx, key),
        Some(hash) => {
            let options = ScanOptions::parse(&line, 3, Scanned::Fields)?;
            let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
            next = hash.scan(cursor, options.count, now, &mut |field| {
                let name = field.name.to_bytes(&mut a);
                if options.matches(name) {
                    found.push(name);
                    if !options.no_values {
                        found.push(field.value.to_bytes(&mut b));
                    }
                }
            });
        }
    }
    found.reply(&mut cx.reply, next);
    Ok(())
}

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(hash: &Hash, digest: &mut Digest) {
    let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
    for field in hash.iter(SEE_ALL) {
        let mut sum = Digest::default();
        digest::mix(&mut sum, field.name.to_bytes(&mut a));
        digest::mix(&mut sum, field.value.to_bytes(&mut b));
        if field.expiry.is_some() {
            digest::add(&mut sum, b"!!hexpire!!");
        }
        digest::add(digest, &sum);
    }
}

#[cfg(test)]
mod tests;
