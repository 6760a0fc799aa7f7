//! Stream commands: the table, and what its parts have in common.
//!
//! | file | what |
//! |---|---|
//! | `stream` | rows |
//! | `stream/args` | ids, intervals, trimming as arguments |
//! | `stream/write` | XADD XTRIM XDEL XSETID |
//! | `stream/read` | XLEN XRANGE XREVRANGE XREAD |
//! | `stream/group` | XGROUP XREADGROUP XACK |
//! | `stream/pending` | XPENDING XCLAIM XAUTOCLAIM |
//! | `stream/info` | XINFO |
//! | `stream/log` | what followers are told of groups |

mod args;
mod group;
mod info;
mod log;
mod pending;
mod read;
#[cfg(test)]
mod tests;
mod write;

use super::digest::{Digest, mix};
use super::{
    Begin, Command, Cx, Fault, Find, Group, KeySpec, Run, Spread, category, flag, key_flag,
};
use crate::keyspace::ExpiryPolicy;
use crate::resp::Reply;
use crate::structures::stream::{Stream, StreamId};

/// The keys behind the word STREAMS: the first half of what follows it.
const fn behind_streams(from: i32) -> KeySpec {
    KeySpec {
        begin: Begin::Keyword("STREAMS", from),
        find: Find::Range {
            last: -1,
            step: 1,
            limit: 2,
        },
        ..KeySpec::one(0, key_flag::RO | key_flag::ACCESS)
    }
}

const RANDOM: &[&str] = &["nondeterministic_output"];

const LOOK: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const ACCESS: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const DELETE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)];
const SUB_ACCESS: &[KeySpec] = &[KeySpec::one(2, key_flag::RO | key_flag::ACCESS)];
const SUB_INSERT: &[KeySpec] = &[KeySpec::one(2, key_flag::RW | key_flag::INSERT)];
const SUB_UPDATE: &[KeySpec] = &[KeySpec::one(2, key_flag::RW | key_flag::UPDATE)];
const SUB_DELETE: &[KeySpec] = &[KeySpec::one(2, key_flag::RW | key_flag::DELETE)];

const WRITES_FAST: u32 = flag::WRITE | flag::FAST;
const GROWS_FAST: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;

/// The rows of the stream commands.
pub const TABLE: &[Command] = &[
    Command {
        keys: &[KeySpec {
            notes: "UPDATE instead of INSERT because of the optional trimming feature",
            ..KeySpec::one(1, key_flag::RW | key_flag::UPDATE)
        }],
        complexity: "O(1) without trimming; O(N) when N records are trimmed.",
        summary: "Appends a record to a stream, which is made if need be.",
        syntax: "key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
        tips: RANDOM,
        ..row("xadd", -5, GROWS_FAST, Run::Keys(write::xadd, Spread::One))
    },
    Command {
        keys: LOOK,
        summary: "Returns the number of records of a stream.",
        syntax: "key",
        ..row(
            "xlen",
            2,
            flag::READONLY | flag::FAST,
            Run::Keys(read::xlen, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the number of records returned.",
        summary: "Returns the records from one id to another.",
        syntax: "key start:string end:string [COUNT count]",
        ..row(
            "xrange",
            -4,
            flag::READONLY,
            Run::Keys(read::xrange, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the number of records returned.",
        summary: "Returns the records from one id to another, the last first.",
        syntax: "key end:string start:string [COUNT count]",
        ..row(
            "xrevrange",
            -4,
            flag::READONLY,
            Run::Keys(read::xrevrange, Spread::One),
        )
    },
    Command {
        keys: &[behind_streams(1)],
        complexity: "O(N) where N is the number of records returned.",
        summary: "Returns the records behind given ids of several streams. Waits for some when told to.",
        syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        ..row(
            "xread",
            -4,
            flag::READONLY | flag::BLOCKING | flag::MOVABLEKEYS,
            Run::Keys(read::xread, Spread::Gather),
        )
    },
    Command {
        keys: DELETE,
        complexity: "O(1) for each record, regardless of the stream's size.",
        summary: "Deletes records; returns how many were there.",
        syntax: "key id [id ...]",
        ..row("xdel", -3, WRITES_FAST, Run::Keys(write::xdel, Spread::One))
    },
    Command {
        keys: DELETE,
        complexity: "O(N) where N is the number of records removed; whole nodes go at once.",
        summary: "Removes the oldest records of a stream.",
        syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
        tips: RANDOM,
        ..row(
            "xtrim",
            -4,
            flag::WRITE,
            Run::Keys(write::xtrim, Spread::One),
        )
    },
    Command {
        keys: UPDATE,
        summary: "Sets what a stream knows of records that are gone. For replication.",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        ..row(
            "xsetid",
            -3,
            GROWS_FAST,
            Run::Keys(write::xsetid, Spread::One),
        )
    },
    Command {
        categories: 0,
        complexity: "Depends on subcommand.",
        summary: "A container for consumer group commands.",
        subcommands: &[
            Command {
                keys: SUB_DELETE,
                summary: "Deletes a consumer; returns how many records were pending with it.",
                syntax: "key group consumer",
                ..row(
                    "xgroup|delconsumer",
                    5,
                    flag::WRITE,
                    Run::Keys(group::delete_consumer, Spread::One),
                )
            },
            Command {
                keys: SUB_DELETE,
                complexity: "O(N) where N is the number of the group's pending records.",
                summary: "Deletes a consumer group.",
                syntax: "key group",
                ..row(
                    "xgroup|destroy",
                    4,
                    flag::WRITE,
                    Run::Keys(group::destroy, Spread::One),
                )
            },
            Command {
                keys: SUB_UPDATE,
                summary: "Sets up to which id a consumer group has read.",
                syntax: "key group <id | $> [ENTRIESREAD entries-read]",
                ..row(
                    "xgroup|setid",
                    -5,
                    flag::WRITE,
                    Run::Keys(group::set_id, Spread::One),
                )
            },
            Command {
                summary: "Returns helpful text about the different subcommands.",
                ..row(
                    "xgroup|help",
                    2,
                    flag::LOADING | flag::STALE,
                    Run::Client(group::xgroup_help),
                )
            },
            Command {
                keys: SUB_INSERT,
                summary: "Creates a consumer group.",
                syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
                ..row(
                    "xgroup|create",
                    -5,
                    flag::WRITE | flag::DENYOOM,
                    Run::Keys(group::create, Spread::One),
                )
            },
            Command {
                keys: SUB_INSERT,
                since: "6.2.0",
                summary: "Creates a consumer in a group.",
                syntax: "key group consumer",
                ..row(
                    "xgroup|createconsumer",
                    5,
                    flag::WRITE | flag::DENYOOM,
                    Run::Keys(group::create_consumer, Spread::One),
                )
            },
        ],
        ..row("xgroup", -2, 0, Run::Container)
    },
    Command {
        keys: &[behind_streams(4)],
        complexity: "O(N) where N is the number of records returned.",
        summary: "Returns records that no consumer of a group has seen, or those that are pending with one. Waits for some when \
                  told to.",
        syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        ..row(
            "xreadgroup",
            -7,
            flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
            Run::Keys(group::xreadgroup, Spread::Gather),
        )
    },
    Command {
        keys: UPDATE,
        complexity: "O(1) for each id.",
        summary: "Acknowledges records; returns how many were pending.",
        syntax: "key group id [id ...]",
        ..row("xack", -4, WRITES_FAST, Run::Keys(group::xack, Spread::One))
    },
    Command {
        keys: ACCESS,
        complexity: "O(N) where N is the number of entries returned, or looked at for IDLE; without a range, of consumers.",
        summary: "Returns what was delivered to a group's consumers and not acknowledged.",
        syntax: "key group [[IDLE min-idle-time:integer] start:string end:string count [consumer]]",
        tips: RANDOM,
        ..row(
            "xpending",
            -3,
            flag::READONLY,
            Run::Keys(pending::xpending, Spread::One),
        )
    },
    Command {
        keys: UPDATE,
        complexity: "O(log N) for each id, where N is the number of the group's pending records.",
        summary: "Makes a consumer the owner of pending records.",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] \
                 [JUSTID] [LASTID lastid]",
        tips: RANDOM,
        ..row(
            "xclaim",
            -6,
            WRITES_FAST,
            Run::Keys(pending::xclaim, Spread::One),
        )
    },
    Command {
        keys: DELETE,
        since: "6.2.0",
        complexity: "O(1) if COUNT is small.",
        summary: "Makes a consumer the owner of records that are pending for long.",
        syntax: "key group consumer min-idle-time start:string [COUNT count] [JUSTID]",
        tips: RANDOM,
        ..row(
            "xautoclaim",
            -6,
            WRITES_FAST,
            Run::Keys(pending::xautoclaim, Spread::One),
        )
    },
    Command {
        categories: 0,
        complexity: "Depends on subcommand.",
        summary: "A container for stream introspection commands.",
        subcommands: &[
            Command {
                keys: SUB_ACCESS,
                summary: "Returns the consumers of a group.",
                syntax: "key group",
                tips: RANDOM,
                ..row(
                    "xinfo|consumers",
                    4,
                    flag::READONLY,
                    Run::Keys(info::consumers, Spread::One),
                )
            },
            Command {
                keys: SUB_ACCESS,
                summary: "Returns what is known of a stream.",
                syntax: "key [FULL [COUNT count]]",
                ..row(
                    "xinfo|stream",
                    -3,
                    flag::READONLY,
                    Run::Keys(info::stream, Spread::One),
                )
            },
            Command {
                summary: "Returns helpful text about the different subcommands.",
                ..row(
                    "xinfo|help",
                    2,
                    flag::LOADING | flag::STALE,
                    Run::Client(info::xinfo_help),
                )
            },
            Command {
                keys: SUB_ACCESS,
                summary: "Returns the consumer groups of a stream.",
                syntax: "key",
                ..row(
                    "xinfo|groups",
                    3,
                    flag::READONLY,
                    Run::Keys(info::groups, Spread::One),
                )
            },
        ],
        ..row("xinfo", -2, 0, Run::Container)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        categories: category::STREAM,
        group: Group::Stream,
        since: "5.0.0",
        ..Command::new(name, arity, flags, run)
    }
}

/// The line comes from a leader, which has said what it did: nothing is limited or corrected.
fn must_obey(cx: &Cx<'_>) -> bool {
    cx.keyspace.expiry_policy() == ExpiryPolicy::Ignore
}

/// Replies with an id.
#[inline]
fn push_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(&id.text());
}

fn no_group(key: &[u8], group: &[u8]) -> Fault {
    Fault::showing(
        "NOGROUP No such key '{}' or consumer group '{}'",
        &[key, group],
    )
}

fn no_group_for_key(key: &[u8], group: &[u8]) -> Fault {
    Fault::showing(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        &[group, key],
    )
}

/// Mixes the records into Redis's digest of a value; groups do not count.
pub(super) fn mix_digest(stream: &Stream, digest: &mut Digest) {
    let (mut field_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    for record in stream.records().range(StreamId::MIN, StreamId::MAX) {
        let id = format!("{}.{}", record.id.ms, record.id.seq);
        mix(digest, id.as_bytes());
        for (field, value) in record {
            mix(digest, field.to_bytes(&mut field_digits));
            mix(digest, value.to_bytes(&mut value_digits));
        }
    }
}
