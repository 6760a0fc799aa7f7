//! Walking the keys of a database: KEYS, SCAN and RANDOMKEY.
//!
//! A SCAN cursor names the shard and the place in that shard's hash order, so it holds across table growth, and no
//! state is kept for it anywhere:
//!
//! ```text
//!  63          48 47                                    0
//! ┌──────────────┬───────────────────────────────────────┐
//! │ shard index  │ position in the shard's hash order    │
//! └──────────────┴───────────────────────────────────────┘
//! ```
//!
//! 0 begins at shard 0; where a shard ends, the next cursor is the begin of the shard after it; after the last shard
//! it is 0 again. A call visits one shard, so that it is one plain call there. Any number is a valid
//! cursor: one that no SCAN gave out returns some keys, or none.

use std::borrow::Cow;

use super::{
    ClientCx, Command, Cx, Done, Fault, Flow, Group, Merge, Run, Spread, Where, category, flag,
};
use crate::base::glob;
use crate::base::number::{parse_i64, parse_u64};
use crate::base::random::Random;
use crate::resp::{Line, Reply};

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        categories: category::KEYSPACE | category::DANGEROUS,
        group: Group::Generic,
        complexity: "O(N) with N being the number of keys in the database",
        summary: "Returns all key names that match a pattern.",
        syntax: "pattern",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        ..Command::new(
            "keys",
            2,
            flag::READONLY,
            Run::Keys(keys, Spread::All(Merge::Concat)),
        )
    },
    Command {
        categories: category::KEYSPACE,
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, N being the number of keys in the database.",
        summary: "Iterates over the key names in the database.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        tips: &[
            "nondeterministic_output",
            "request_policy:special",
            "response_policy:special",
        ],
        ..Command::new(
            "scan",
            -2,
            flag::READONLY,
            Run::Keys(scan, Spread::Route(shard_of_cursor)),
        )
    },
    Command {
        categories: category::KEYSPACE,
        group: Group::Generic,
        summary: "Returns a random key name from the database.",
        tips: &[
            "request_policy:all_shards",
            "response_policy:special",
            "nondeterministic_output",
        ],
        ..Command::new("randomkey", 1, flag::READONLY, Run::Client(randomkey))
    },
];

/// Which keys a pattern selects; the two frequent plain forms are told apart once, not for every key.
enum Pattern<'a> {
    Any,
    Glob(&'a [u8]),
}

impl<'a> Pattern<'a> {
    fn new(text: &'a [u8]) -> Pattern<'a> {
        if text == b"*" {
            Pattern::Any
        } else {
            Pattern::Glob(text)
        }
    }

    fn matches(&self, key: &[u8]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Glob(pattern) => glob::matches(pattern, key, false),
        }
    }
}

fn keys(cx: &mut Cx<'_>) -> Done {
    let text = cx.line.arg(1);
    if !text.iter().any(|byte| b"*?[\\".contains(byte)) {
        // A plain name: only its owner can have it.
        let key = cx.key(1);
        if cx.keyspace.contains(cx.db, key) {
            cx.reply.array(1);
            cx.reply.bulk(text);
        } else {
            cx.reply.array(0);
        }
        return Ok(());
    }
    let pattern = Pattern::new(text);
    let at = cx.reply.begin_array();
    let mut count = 0;
    let reply = &mut cx.reply;
    cx.keyspace.for_each(cx.db, |entry| {
        if pattern.matches(entry.key()) {
            reply.bulk(entry.key());
            count += 1;
        }
    });
    cx.reply.end_array(at, count);
    Ok(())
}

/// Bits of a cursor that are the position in a shard.
const POSITION_BITS: u32 = 48;

/// Keys looked at by one SCAN without COUNT.
const SCAN_COUNT_DEFAULT: usize = 10;

/// What is scanned, which decides on the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// Keys: with TYPE.
    Keys,
    /// Members of one value.
    Members,
    /// Fields of one value: with NOVALUES.
    Fields,
}

/// The options of SCAN and of the scans of one value.
pub struct ScanOptions<'a> {
    pattern: Pattern<'a>,
    /// About how many elements one call looks at.
    pub count: usize,
    type_name: Option<&'a [u8]>,
    /// Fields are returned without their values.
    pub no_values: bool,
}

impl<'a> ScanOptions<'a> {
    /// The options from the argument `from` on.
    pub fn parse(line: &Line<'a>, from: usize, scanned: Scanned) -> Result<ScanOptions<'a>, Fault> {
        let mut options = ScanOptions {
            pattern: Pattern::Any,
            count: SCAN_COUNT_DEFAULT,
            type_name: None,
            no_values: false,
        };
        let mut at = from;
        while at < line.len() {
            if line.is(at, "novalues") && scanned == Scanned::Fields {
                options.no_values = true;
                at += 1;
                continue;
            }
            if at + 1 == line.len() {
                return Err(Fault::Syntax);
            }
            let value = line.arg(at + 1);
            if line.is(at, "count") {
                let count = parse_i64(value).ok_or(Fault::NotInteger)?;
                if count < 1 {
                    return Err(Fault::Syntax);
                }
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if line.is(at, "match") {
                options.pattern = Pattern::new(value);
            } else if line.is(at, "type") && scanned == Scanned::Keys {
                options.type_name = Some(value);
            } else {
                return Err(Fault::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    /// MATCH asks for the element, or for all.
    #[inline]
    pub fn matches(&self, element: &[u8]) -> bool {
        self.pattern.matches(element)
    }
}

/// What a scan found, kept until the cursor is known, which comes first in the reply.
#[derive(Default)]
pub struct Found {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Found {
    /// Adds an element of the reply.
    #[inline]
    pub fn push(&mut self, element: &[u8]) {
        self.bytes.extend_from_slice(element);
        self.ends.push(self.bytes.len());
    }

    /// Replies with the cursor to go on from and all that was found.
    pub fn reply(&self, reply: &mut Reply<'_>, cursor: u64) {
        reply.array(2);
        reply.bulk_u64(cursor);
        reply.array(self.ends.len());
        let mut begin = 0;
        for &end in &self.ends {
            reply.bulk(&self.bytes[begin..end]);
            begin = end;
        }
    }
}

/// The cursor of a scan within one value: a place in its table. One that no scan gave out returns some elements, or none.
pub fn value_cursor(text: &[u8]) -> Result<u64, Fault> {
    let (_, position) = parse_cursor(text).ok_or(INVALID_CURSOR)?;
    Ok(position)
}

const INVALID_CURSOR: Fault = Fault::Text(Cow::Borrowed(b"ERR invalid cursor"));

fn parse_cursor(text: &[u8]) -> Option<(usize, u64)> {
    // As Redis reads cursors: nothing at all means 0, a sign is allowed and a minus sign counts from the end, but unlike
    // other unsigned numbers a cursor has no blank in front.
    let (digits, negative) = match text {
        [] => (&b"0"[..], false),
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    let cursor = parse_u64(digits).filter(|_| digits[0].is_ascii_digit())?;
    let cursor = if negative {
        cursor.wrapping_neg()
    } else {
        cursor
    };
    let shard = (cursor >> POSITION_BITS) as usize;
    Some((shard, cursor & ((1 << POSITION_BITS) - 1)))
}

/// The shard that a SCAN visits. A cursor beyond the last shard goes to the last, which finds that it is none of its own.
fn shard_of_cursor(line: &Line<'_>, shards: usize) -> usize {
    if line.len() < 2 {
        return 0;
    }
    let shard = parse_cursor(line.arg(1)).map_or(0, |(shard, _)| shard);
    shard.min(shards - 1)
}

fn scan(cx: &mut Cx<'_>) -> Done {
    let (shard, position) = parse_cursor(cx.line.arg(1)).ok_or(INVALID_CURSOR)?;
    let options = ScanOptions::parse(&cx.line, 2, Scanned::Keys)?;
    let mut found = Found::default();
    if shard != cx.place.index {
        // No SCAN gave this cursor out: there are fewer shards.
        found.reply(&mut cx.reply, 0);
        return Ok(());
    }
    let next = cx
        .keyspace
        .scan(cx.db, position, options.count, &mut |entry| {
            let right_type = options
                .type_name
                .is_none_or(|name| name.eq_ignore_ascii_case(entry.type_().name().as_bytes()));
            if right_type && options.matches(entry.key()) {
                found.push(entry.key());
            }
        });
    let cursor = match next {
        0 if shard + 1 < cx.place.count => ((shard + 1) as u64) << POSITION_BITS,
        0 => 0,
        next => (shard as u64) << POSITION_BITS | next,
    };
    found.reply(&mut cx.reply, cursor);
    Ok(())
}

fn randomkey(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let db = cx.client.db;
    Ok(Flow::visit(
        Where::All,
        move |core| {
            let mut random = Random::new(core.os.random());
            let drawn = core.keyspace.random(db, || random.next_u64());
            let drawn = drawn.map(|entry| entry.key().to_vec());
            (core.keyspace.len(db), drawn)
        },
        |parts: Vec<(usize, Option<Vec<u8>>)>, cx| {
            let mut random = Random::new(cx.core.os.random());
            match pick(parts, &mut random) {
                Some(key) => cx.reply.bulk(&key),
                None => cx.reply.null(),
            }
            Ok(Flow::Done)
        },
    ))
}

/// One of the keys that the shards drew, each as likely as its shard has keys. A shard may have drawn none.
fn pick(drawn: Vec<(usize, Option<Vec<u8>>)>, random: &mut Random) -> Option<Vec<u8>> {
    let drawn: Vec<(u64, Vec<u8>)> = drawn
        .into_iter()
        .filter_map(|(keys, key)| Some((keys as u64, key?)))
        .collect();
    let total = drawn.iter().map(|(keys, _)| keys).sum::<u64>();
    if total == 0 {
        return None;
    }
    let mut at = random.below(total);
    for (keys, key) in drawn {
        if at < keys {
            return Some(key);
        }
        at -= keys;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testkit::Kit;
    use super::super::{Effects, Place, Switches};
    use super::*;
    use crate::config::Config;
    use crate::keyspace::{Key, KeyHasher, Keyspace, NewExpiry, NewString, shard_of};
    use crate::resp::{Output, Proto, Span, Value, decode};

    fn set(keyspace: &mut Keyspace, name: &[u8], expiry: NewExpiry) {
        let hash = keyspace.hasher().hash(name);
        let key = Key { bytes: name, hash };
        keyspace.set_string(0, key, NewString::Bytes(b"value"), expiry);
    }

    /// Runs SCAN where the cursor says, on shards that share nothing; returns the next cursor and the keys.
    fn scan_at(shards: &mut [Keyspace], args: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let bytes = args.concat();
        let mut spans = Vec::new();
        let mut at = 0;
        for arg in args {
            spans.push(Span::inline(at, arg.len()));
            at += arg.len();
        }
        let line = Line::new(&bytes, &spans, &[]);
        let count = shards.len();
        let index = shard_of_cursor(&line, count);
        let mut out = Output::default();
        let mut cx = Cx {
            line,
            reply: Reply::new(&mut out, Proto::Resp2),
            keyspace: &mut shards[index],
            db: 0,
            hash: 0,
            now_ms: 0,
            config: &Config::default(),
            effects: &mut Effects::default(),
            random: &mut Random::new(0),
            place: Place { index, count },
            switches: &mut Switches::default(),
            may_block: false,
            woken_by: None,
        };
        scan(&mut cx).expect("a scan that works");
        let (value, _) = decode(&out.to_vec()).unwrap().unwrap();
        let Value::Array(parts) = value else {
            panic!("SCAN replies an array");
        };
        let [Value::Bulk(cursor), Value::Array(keys)] = &parts[..] else {
            panic!("SCAN replies a cursor and keys");
        };
        let bulk = |key: &Value| match key {
            Value::Bulk(key) => key.to_vec(),
            other => panic!("a key is no {other:?}"),
        };
        (cursor.to_vec(), keys.iter().map(bulk).collect())
    }

    fn shards(count: usize, keys: usize) -> Vec<Keyspace> {
        let hasher = KeyHasher::from_seeds([1, 2, 3, 4]);
        let mut shards: Vec<Keyspace> = (0..count)
            .map(|seed| Keyspace::new(16, hasher, seed as u64))
            .collect();
        for index in 0..keys {
            let name = format!("key:{index}");
            let owner = shard_of(
                &hasher,
                name.as_bytes(),
                hasher.hash(name.as_bytes()),
                count,
            );
            set(&mut shards[owner], name.as_bytes(), NewExpiry::Clear);
        }
        shards
    }

    #[test]
    fn a_scan_visits_every_key_of_every_shard_once() {
        for count in [1, 2, 3, 8] {
            for keys in [0, 1, 10, 1000] {
                let mut shards = shards(count, keys);
                let mut cursor = b"0".to_vec();
                let mut seen = BTreeSet::new();
                for calls in 0.. {
                    assert!(calls < 2000, "the scan ends");
                    let (next, found) = scan_at(&mut shards, &[b"SCAN", &cursor, b"COUNT", b"7"]);
                    for key in found {
                        assert!(seen.insert(key), "nothing changes, so no key comes twice");
                    }
                    cursor = next;
                    if cursor == b"0" {
                        break;
                    }
                }
                assert_eq!(seen.len(), keys, "{count} shards");
            }
        }
    }

    #[test]
    fn a_scan_returns_what_stays_while_other_keys_come_and_go() {
        let mut shards = shards(2, 500);
        let hasher = *shards[0].hasher();
        let mut cursor = b"0".to_vec();
        let mut seen = BTreeSet::new();
        let mut made = 0;
        loop {
            let (next, found) = scan_at(&mut shards, &[b"SCAN", &cursor, b"MATCH", b"key:*"]);
            seen.extend(found);
            for _ in 0..20 {
                let name = format!("other:{made}");
                made += 1;
                let owner = shard_of(&hasher, name.as_bytes(), hasher.hash(name.as_bytes()), 2);
                set(&mut shards[owner], name.as_bytes(), NewExpiry::Clear);
            }
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
        assert_eq!(seen.len(), 500);
    }

    #[test]
    fn a_cursor_that_no_scan_gave_out_is_harmless() {
        let mut shards = shards(3, 100);
        for cursor in [
            1,
            u64::MAX,
            1 << 47,
            1 << 48,
            2 << 48 | 5,
            3 << 48,
            (1 << 48) - 1,
            u64::MAX - 1,
        ] {
            let text = cursor.to_string();
            let (next, _) = scan_at(
                &mut shards,
                &[b"SCAN", text.as_bytes(), b"COUNT", b"9223372036854775807"],
            );
            assert!(parse_cursor(&next).is_some());
        }
        assert_eq!(
            scan_at(&mut shards, &[b"SCAN", b"844424930131968"]),
            (b"0".to_vec(), vec![])
        );
    }

    #[test]
    fn a_random_key_is_fair_among_shards() {
        let mut random = Random::new(7);
        let mut from_large = 0;
        for _ in 0..10_000 {
            let drawn = vec![
                (300, Some(b"large".to_vec())),
                (0, None),
                (100, Some(b"small".to_vec())),
                (50, None),
            ];
            from_large += usize::from(pick(drawn, &mut random).unwrap() == b"large");
        }
        assert!((7_200..7_800).contains(&from_large), "{from_large}");
        assert_eq!(pick(vec![(0, None), (5, None)], &mut random), None);
    }

    #[test]
    fn keys_and_scan_pass_over_expired_keys() {
        let mut kit = Kit::new(&[TABLE]);
        let end_ms = kit.now_ms + 10;
        set(&mut kit.keyspace, b"a", NewExpiry::At(end_ms));
        set(&mut kit.keyspace, b"b", NewExpiry::Clear);
        kit.advance_ms(10);
        kit.expect("KEYS a", "*1|$1|a|");
        kit.advance_ms(1);
        kit.expect("SCAN 0", "*2|$1|0|*1|$1|b|");
        kit.expect("KEYS *", "*1|$1|b|");
        kit.expect("KEYS ?", "*1|$1|b|");
        kit.expect("KEYS a", "*0|");
    }
}
