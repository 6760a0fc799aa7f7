//! Sorted set commands: the table, and what the handlers share.
//!
//! | file | what |
//! |---|---|
//! | `sorted_set` | rows |
//! | `sorted_set/add` | ZADD, ZINCRBY |
//! | `sorted_set/read` | single members, their scores and ranks, ZSCAN |
//! | `sorted_set/bounds` | ranges as arguments: of ranks, scores, members |
//! | `sorted_set/range` | ZRANGE and its relatives, counts of ranges |
//! | `sorted_set/remove` | members, ranges, pops |
//! | `sorted_set/combine` | unions, intersections, differences |

mod add;
mod blocking;
mod bounds;
mod combine;
mod range;
mod read;
mod remove;
#[cfg(test)]
mod tests;

pub(super) use add::{Addition, Options as AddOptions, add_members};

use super::digest::{self, Digest};
use super::{Command, Cx, Group, KeySpec, Run, Spread, category, class, flag, key_flag};
use crate::base::number::format_f64_17;
use crate::keyspace::Key;
use crate::resp::Reply;
use crate::structures::listpack::Element;
use crate::structures::sorted_set::{Limits, SortedSet};

const ACCESS: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const LOOK: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const UPDATE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const ACCESS_UPDATE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::UPDATE,
)];
const DELETE: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)];
const ACCESS_DELETE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];
const SOURCES: &[KeySpec] = &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)];
const STORED_SOURCES: &[KeySpec] = &[
    KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
    KeySpec::counted(2, key_flag::RO | key_flag::ACCESS),
];

const READS: u32 = flag::READONLY;
const READS_FAST: u32 = flag::READONLY | flag::FAST;
const WRITES: u32 = flag::WRITE | flag::DENYOOM;
const WRITES_FAST: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const REMOVES: u32 = flag::WRITE;
const WAITS_FAST: u32 = flag::WRITE | flag::BLOCKING | flag::FAST;
const POPS: &[KeySpec] = &[KeySpec::range(
    1,
    -2,
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
)];
const REMOVES_FAST: u32 = flag::WRITE | flag::FAST;

/// The rows of the sorted set commands.
pub const TABLE: &[Command] = &[
    Command {
        keys: UPDATE,
        since: "1.2.0",
        complexity: "O(log(N)) for each member added, where N is the number of members.",
        summary: "Adds members to a sorted set, or gives them other scores.",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        ..row("zadd", -4, WRITES_FAST, Run::Keys(add::zadd, Spread::One))
    },
    Command {
        keys: ACCESS_UPDATE,
        since: "1.2.0",
        complexity: "O(log(N)) where N is the number of members.",
        summary: "Adds a number to the score of a member.",
        syntax: "key increment member",
        ..row(
            "zincrby",
            4,
            WRITES_FAST,
            Run::Keys(add::zincrby, Spread::One),
        )
    },
    Command {
        keys: DELETE,
        since: "1.2.0",
        complexity: "O(M*log(N)) with N being the number of members and M the number of those to be removed.",
        summary: "Removes members from a sorted set.",
        syntax: "key member [member ...]",
        ..row(
            "zrem",
            -3,
            REMOVES_FAST,
            Run::Keys(remove::zrem, Spread::One),
        )
    },
    Command {
        keys: DELETE,
        since: "2.0.0",
        complexity: "O(log(N)+M) with N being the number of members and M the number of members removed.",
        summary: "Removes the members within a range of ranks.",
        syntax: "key start stop",
        ..row(
            "zremrangebyrank",
            4,
            REMOVES,
            Run::Keys(remove::zremrangebyrank, Spread::One),
        )
    },
    Command {
        keys: DELETE,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M the number of members removed.",
        summary: "Removes the members within a range of scores.",
        syntax: "key min:double max:double",
        ..row(
            "zremrangebyscore",
            4,
            REMOVES,
            Run::Keys(remove::zremrangebyscore, Spread::One),
        )
    },
    Command {
        keys: DELETE,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of members and M the number of members removed.",
        summary: "Removes the members within a lexicographical range.",
        syntax: "key min max",
        ..row(
            "zremrangebylex",
            4,
            REMOVES,
            Run::Keys(remove::zremrangebylex, Spread::One),
        )
    },
    Command {
        keys: ACCESS_DELETE,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of members, and M the number of members popped.",
        summary: "Removes and returns the members with the lowest scores.",
        syntax: "key [count]",
        ..row(
            "zpopmin",
            -2,
            REMOVES_FAST,
            Run::Keys(remove::zpopmin, Spread::One),
        )
    },
    Command {
        keys: ACCESS_DELETE,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of members, and M the number of members popped.",
        summary: "Removes and returns the members with the highest scores.",
        syntax: "key [count]",
        ..row(
            "zpopmax",
            -2,
            REMOVES_FAST,
            Run::Keys(remove::zpopmax, Spread::One),
        )
    },
    Command {
        keys: &[KeySpec::counted(
            1,
            key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
        )],
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) with K being the number of keys, N the number of members and M the number of members popped.",
        summary: "Removes and returns members of the first sorted set that has any.",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        ..row(
            "zmpop",
            -4,
            flag::WRITE | flag::MOVABLEKEYS,
            Run::Keys(remove::zmpop, Spread::Gather),
        )
    },
    Command {
        keys: POPS,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of members.",
        summary: "Removes and returns the member with the lowest score of the first of several sorted sets that has any, or waits for one.",
        syntax: "key [key ...] timeout:double",
        ..row(
            "bzpopmin",
            -3,
            WAITS_FAST,
            Run::Keys(blocking::bzpopmin, Spread::Gather),
        )
    },
    Command {
        keys: POPS,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of members.",
        summary: "Removes and returns the member with the highest score of the first of several sorted sets that has any, or waits for one.",
        syntax: "key [key ...] timeout:double",
        ..row(
            "bzpopmax",
            -3,
            WAITS_FAST,
            Run::Keys(blocking::bzpopmax, Spread::Gather),
        )
    },
    Command {
        keys: &[KeySpec::counted(
            2,
            key_flag::RW | key_flag::ACCESS | key_flag::DELETE,
        )],
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) with K being the number of keys, N the number of members and M the number of members popped.",
        summary: "Removes and returns members of the first sorted set that has any, or waits for some.",
        syntax: "timeout:double numkeys key [key ...] <MIN | MAX> [COUNT count]",
        ..row(
            "bzmpop",
            -5,
            flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
            Run::Keys(blocking::bzmpop, Spread::Gather),
        )
    },
    Command {
        keys: LOOK,
        since: "1.2.0",
        summary: "Returns the number of members of a sorted set.",
        syntax: "key",
        ..row("zcard", 2, READS_FAST, Run::Keys(read::zcard, Spread::One))
    },
    Command {
        keys: ACCESS,
        since: "1.2.0",
        summary: "Returns the score of a member.",
        syntax: "key member",
        ..row(
            "zscore",
            3,
            READS_FAST,
            Run::Keys(read::zscore, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members asked for.",
        summary: "Returns the scores of members.",
        syntax: "key member [member ...]",
        ..row(
            "zmscore",
            -3,
            READS_FAST,
            Run::Keys(read::zmscore, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.0.0",
        complexity: "O(log(N)) where N is the number of members.",
        summary: "Returns the rank of a member, the lowest score being the first.",
        syntax: "key member [WITHSCORE]",
        ..row("zrank", -3, READS_FAST, Run::Keys(read::zrank, Spread::One))
    },
    Command {
        keys: ACCESS,
        since: "2.0.0",
        complexity: "O(log(N)) where N is the number of members.",
        summary: "Returns the rank of a member, the highest score being the first.",
        syntax: "key member [WITHSCORE]",
        ..row(
            "zrevrank",
            -3,
            READS_FAST,
            Run::Keys(read::zrevrank, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "6.2.0",
        complexity: "O(N*log(M)) with N being the number of members returned and M the number of members.",
        summary: "Returns random members of a sorted set.",
        syntax: "key [count [WITHSCORES]]",
        tips: &["nondeterministic_output"],
        ..row(
            "zrandmember",
            -2,
            READS,
            Run::Keys(read::zrandmember, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, N being the number of members.",
        summary: "Iterates over the members of a sorted set and their scores.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        tips: &["nondeterministic_output"],
        ..row("zscan", -3, READS, Run::Keys(read::zscan, Spread::One))
    },
    Command {
        keys: ACCESS,
        since: "2.0.0",
        complexity: "O(log(N)) where N is the number of members.",
        summary: "Counts the members within a range of scores.",
        syntax: "key min:double max:double",
        ..row(
            "zcount",
            4,
            READS_FAST,
            Run::Keys(range::zcount, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.8.9",
        complexity: "O(log(N)) where N is the number of members.",
        summary: "Counts the members within a lexicographical range.",
        syntax: "key min max",
        ..row(
            "zlexcount",
            4,
            READS_FAST,
            Run::Keys(range::zlexcount, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M the number of members returned.",
        summary: "Returns the members within a range of ranks, of scores, or a lexicographical one.",
        syntax: "key start:string stop:string [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        ..row("zrange", -4, READS, Run::Keys(range::zrange, Spread::One))
    },
    Command {
        keys: &[
            KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
            KeySpec::one(2, key_flag::RO | key_flag::ACCESS),
        ],
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of members and M the number of members stored.",
        summary: "Stores the members within a range in another key.",
        syntax: "destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        ..row(
            "zrangestore",
            -5,
            WRITES,
            Run::Keys(range::zrangestore, Spread::Gather),
        )
    },
    Command {
        keys: ACCESS,
        since: "1.2.0",
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` argument")),
        complexity: "O(log(N)+M) with N being the number of members and M the number of members returned.",
        summary: "Returns the members within a range of ranks in reverse order.",
        syntax: "key start stop [WITHSCORES]",
        ..row(
            "zrevrange",
            -4,
            READS,
            Run::Keys(range::zrevrange, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "1.0.5",
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYSCORE` argument")),
        complexity: "O(log(N)+M) with N being the number of members and M the number of members returned.",
        summary: "Returns the members within a range of scores.",
        syntax: "key min:double max:double [WITHSCORES] [LIMIT offset count]",
        ..row(
            "zrangebyscore",
            -4,
            READS,
            Run::Keys(range::zrangebyscore, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.2.0",
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")),
        complexity: "O(log(N)+M) with N being the number of members and M the number of members returned.",
        summary: "Returns the members within a range of scores in reverse order.",
        syntax: "key max:double min:double [WITHSCORES] [LIMIT offset count]",
        ..row(
            "zrevrangebyscore",
            -4,
            READS,
            Run::Keys(range::zrevrangebyscore, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.8.9",
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYLEX` argument")),
        complexity: "O(log(N)+M) with N being the number of members and M the number of members returned.",
        summary: "Returns the members within a lexicographical range.",
        syntax: "key min max [LIMIT offset count]",
        ..row(
            "zrangebylex",
            -4,
            READS,
            Run::Keys(range::zrangebylex, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.8.9",
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")),
        complexity: "O(log(N)+M) with N being the number of members and M the number of members returned.",
        summary: "Returns the members within a lexicographical range in reverse order.",
        syntax: "key max min [LIMIT offset count]",
        ..row(
            "zrevrangebylex",
            -4,
            READS,
            Run::Keys(range::zrevrangebylex, Spread::One),
        )
    },
    Command {
        keys: SOURCES,
        since: "6.2.0",
        complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sets, and M the number of members of the result.",
        summary: "Returns the union of sorted sets.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        ..row(
            "zunion",
            -3,
            flag::READONLY | flag::MOVABLEKEYS,
            Run::Keys(combine::zunion, Spread::Gather),
        )
    },
    Command {
        keys: SOURCES,
        since: "6.2.0",
        complexity: "O(N*K)+O(M*log(M)) with N being the size of the smallest input set, K the number of input sets and M the number of members of the result.",
        summary: "Returns the intersection of sorted sets.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        ..row(
            "zinter",
            -3,
            flag::READONLY | flag::MOVABLEKEYS,
            Run::Keys(combine::zinter, Spread::Gather),
        )
    },
    Command {
        keys: SOURCES,
        since: "6.2.0",
        complexity: "O(L+(N-K)*log(N)) with L being the number of members of all input sets, N the size of the first one and K the size of the result.",
        summary: "Returns the members of the first sorted set that no other one has.",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        ..row(
            "zdiff",
            -3,
            flag::READONLY | flag::MOVABLEKEYS,
            Run::Keys(combine::zdiff, Spread::Gather),
        )
    },
    Command {
        keys: STORED_SOURCES,
        since: "2.0.0",
        complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sets, and M the number of members of the result.",
        summary: "Stores the union of sorted sets in a key.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        ..row(
            "zunionstore",
            -4,
            WRITES | flag::MOVABLEKEYS,
            Run::Keys(combine::zunionstore, Spread::Gather),
        )
    },
    Command {
        keys: STORED_SOURCES,
        since: "2.0.0",
        complexity: "O(N*K)+O(M*log(M)) with N being the size of the smallest input set, K the number of input sets and M the number of members of the result.",
        summary: "Stores the intersection of sorted sets in a key.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        ..row(
            "zinterstore",
            -4,
            WRITES | flag::MOVABLEKEYS,
            Run::Keys(combine::zinterstore, Spread::Gather),
        )
    },
    Command {
        keys: STORED_SOURCES,
        since: "6.2.0",
        complexity: "O(L+(N-K)*log(N)) with L being the number of members of all input sets, N the size of the first one and K the size of the result.",
        summary: "Stores the members of the first sorted set that no other one has in a key.",
        syntax: "destination numkeys key [key ...]",
        ..row(
            "zdiffstore",
            -4,
            WRITES | flag::MOVABLEKEYS,
            Run::Keys(combine::zdiffstore, Spread::Gather),
        )
    },
    Command {
        keys: SOURCES,
        since: "7.0.0",
        complexity: "O(N*K) with N being the size of the smallest input set and K the number of input sets.",
        summary: "Counts the members of the intersection of sorted sets.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        ..row(
            "zintercard",
            -3,
            flag::READONLY | flag::MOVABLEKEYS,
            Run::Keys(combine::zintercard, Spread::Gather),
        )
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        group: Group::SortedSet,
        categories: category::SORTEDSET,
        ..Command::new(name, arity, flags, run)
    }
}

/// When sorted sets leave their compact form.
#[inline]
pub(super) fn limits(cx: &Cx<'_>) -> Limits {
    let bounded = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    Limits {
        members: bounded(cx.config.zset_max_listpack_entries),
        member_bytes: bounded(cx.config.zset_max_listpack_value),
        seed: cx.keyspace.hasher().hash(b"members of sorted sets"),
    }
}

/// `count` members of a sorted set were changed.
fn wrote_members(cx: &mut Cx<'_>, key: Key<'_>, event: &'static str, count: usize) {
    cx.wrote(key.bytes, event, class::SORTED_SET);
    cx.effects.dirty += count as u64 - 1;
}

/// Puts a sorted set into a key whatever it held, or removes the key when the set is empty; replies its size. That is one change.
fn store(cx: &mut Cx<'_>, key: Key<'_>, set: SortedSet, event: &'static str) {
    store_members(cx, key, set, event);
    cx.effects.dirty = cx.effects.dirty.min(1);
}

/// As `store`; each member is a change.
pub(super) fn store_members(cx: &mut Cx<'_>, key: Key<'_>, set: SortedSet, event: &'static str) {
    let len = set.len();
    let existed = cx.keyspace.set_collection(cx.db, key, set, None);
    if len > 0 {
        if !existed {
            cx.notify(cx.db, key.bytes, "new", class::NEW);
        }
        wrote_members(cx, key, event, len);
    } else if existed {
        cx.wrote(key.bytes, "del", class::GENERIC);
    }
    cx.reply.count(len);
}

/// Replies with a member.
#[inline]
fn push_member(reply: &mut Reply<'_>, member: Element<'_>) {
    match member {
        Element::Int(integer) => reply.bulk_int(integer),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Replies with members, and with their scores if they are asked for: one array, or since RESP3 an array for each pair.
fn push_elements<'a>(
    reply: &mut Reply<'_>,
    len: usize,
    elements: impl Iterator<Item = (Element<'a>, f64)>,
    with_scores: bool,
) {
    let nested = with_scores && reply.is_resp3();
    reply.array(if with_scores && !nested { len * 2 } else { len });
    for (member, score) in elements {
        if nested {
            reply.array(2);
        }
        push_member(reply, member);
        if with_scores {
            reply.double(score);
        }
    }
}

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(sorted_set: &SortedSet, digest: &mut Digest) {
    let (mut digits, mut text) = (itoa::Buffer::new(), Vec::new());
    for (member, score) in sorted_set.iter() {
        let mut element = Digest::default();
        digest::mix(&mut element, member.to_bytes(&mut digits));
        text.clear();
        format_f64_17(&mut text, score);
        digest::mix(&mut element, &text);
        digest::add(digest, &element);
    }
}
