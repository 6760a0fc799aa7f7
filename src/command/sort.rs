//! SORT and SORT_RO: the elements of a list, set or sorted set in another order, or values that they lead to.
//!
//! | file | what |
//! |---|---|
//! | `sort` | rows; loading, fetching weights, the reply or the list that is stored |
//! | `sort/options` | the arguments |
//! | `sort/pattern` | patterns that make keys of elements |
//! | `sort/items` | the elements in memory, and their order |
//!
//! The keys that patterns make of elements are known only when the elements are. With one shard they are all there. With
//! several, a line with such patterns reserves every shard, borrows its own keys first and the further ones then
//! ([`Spread::Follow`]); the handler finds them all in one keyspace either way.

mod items;
mod options;
mod pattern;

use super::list::node_limit;
use super::string::missed;
use super::{
    Begin, Command, Cx, Done, Fault, Find, Follow, KeySpec, Run, Spread, category, class, flag,
    key_flag,
};
use crate::keyspace::{Entry, Key, ValueView, WrongType};
use crate::resp::Line;
use crate::structures::list::{End, List};
use items::{Items, parse_weight};
use options::Options;
use pattern::Pattern;

const SOURCE: KeySpec = KeySpec::one(1, key_flag::RO | key_flag::ACCESS);
const PATTERNS: KeySpec = KeySpec {
    notes: "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort",
    ..unknown(key_flag::RO | key_flag::ACCESS, |_| None)
};
const DESTINATION: KeySpec = KeySpec {
    notes: "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array",
    ..unknown(key_flag::OW | key_flag::UPDATE, destination)
};

/// A key at a place that `find` knows.
const fn unknown(flags: u32, find: fn(&Line<'_>) -> Option<usize>) -> KeySpec {
    KeySpec {
        begin: Begin::Unknown(find),
        find: Find::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
        ..KeySpec::one(0, flags)
    }
}

const COMPLEXITY: &str = "O(N+M*log(M)) where N is the number of elements and M the number of elements to return; O(N) when they are not sorted";

/// The commands of this file.
pub const TABLE: &[Command] = &[
    Command {
        keys: &[SOURCE, PATTERNS, DESTINATION],
        summary: "Sorts the elements of a list, a set or a sorted set, and optionally stores the result.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
        ..row("sort", flag::WRITE | flag::DENYOOM, sort)
    },
    Command {
        keys: &[SOURCE, PATTERNS],
        since: "7.0.0",
        summary: "Returns the sorted elements of a list, a set or a sorted set.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        ..row("sort_ro", flag::READONLY, sort_ro)
    },
];

const fn row(name: &'static str, flags: u32, handler: fn(&mut Cx<'_>) -> Done) -> Command {
    const FOLLOW: Follow = Follow {
        is_needed: follows_patterns,
        keys: pattern_keys,
    };
    Command {
        categories: category::LIST | category::SET | category::SORTEDSET | category::DANGEROUS,
        complexity: COMPLEXITY,
        ..Command::new(name, -2, flags, Run::Keys(handler, Spread::Follow(FOLLOW)))
    }
}

fn sort(cx: &mut Cx<'_>) -> Done {
    run(cx, Options::parse(&cx.line, true)?)
}

fn sort_ro(cx: &mut Cx<'_>) -> Done {
    run(cx, Options::parse(&cx.line, false)?)
}

/// The argument that STORE names, the last one of several. What is no option is passed over: the line will fail.
fn destination(line: &Line<'_>) -> Option<usize> {
    let mut found = None;
    let mut at = 2;
    while at < line.len() {
        if line.is(at, "store") && at + 1 < line.len() {
            found = Some(at + 1);
            at += 1;
        } else if line.is(at, "limit") {
            at += 2;
        } else if line.is(at, "by") || line.is(at, "get") {
            at += 1;
        }
        at += 1;
    }
    found
}

fn follows_patterns(line: &Line<'_>) -> bool {
    Options::parse(line, true).is_ok_and(|options| options.lookups().next().is_some())
}

/// The keys that the line's patterns make of the elements of `entry`.
fn pattern_keys(line: &Line<'_>, entry: &Entry, keys: &mut Vec<Box<[u8]>>) {
    let Ok(options) = Options::parse(line, true) else {
        return;
    };
    let Ok(items) = load(entry, &options) else {
        return;
    };
    let mut key = Vec::new();
    for element in items.elements() {
        for pattern in options.lookups() {
            if pattern.make_key(element, &mut key) {
                keys.push(key.as_slice().into());
            }
        }
    }
}

fn run(cx: &mut Cx<'_>, mut options: Options<'_>) -> Done {
    let key = cx.key(1);
    let mut items = match cx.keyspace.read(cx.db, key) {
        Some(entry) => {
            if options.unsorted
                && options.store.is_some()
                && matches!(entry.value(), ValueView::Set(_))
            {
                // What is stored must not depend on the order in which a set happens to hold its elements.
                options.sort_plainly();
            }
            load(entry, &options)?
        }
        None => {
            missed(cx, key);
            Items::default()
        }
    };
    if !options.unsorted {
        weigh(cx, &options, &mut items)?;
        items.sort(options.alpha, options.descending);
    }
    match options.store {
        Some(destination) => store(cx, &options, &items, destination),
        None => reply(cx, &options, &items),
    }
    Ok(())
}

/// The elements of a value that are to be sorted, or those that are to be returned when they are not.
fn load(entry: &Entry, options: &Options<'_>) -> Result<Items, WrongType> {
    let mut items = Items::default();
    match entry.value() {
        ValueView::List(list) => {
            let (part, selected) = options.part(list.len());
            items.select(selected);
            let elements = list.range(part.start, part.count);
            if options.takes_from_end() {
                items.extend(elements.rev());
            } else {
                items.extend(elements);
            }
        }
        ValueView::Set(set) => {
            items.select(options.stretch(set.len()));
            items.extend(set.iter());
        }
        ValueView::SortedSet(set) => {
            let (part, selected) = options.part(set.len());
            items.select(selected);
            let ranks = part.start..part.start + part.count;
            let members = set.range(ranks, options.takes_from_end());
            items.extend(members.map(|(member, _)| member));
        }
        _ => return Err(WrongType),
    }
    Ok(items)
}

/// Fetches what the elements are sorted by.
fn weigh(cx: &mut Cx<'_>, options: &Options<'_>, items: &mut Items) -> Done {
    let no_number = || Fault::text("ERR One or more scores can't be converted into double");
    let Some(pattern) = options.by else {
        return match options.alpha {
            true => Ok(()),
            false => items.weigh_by_themselves().ok_or_else(no_number),
        };
    };
    items.weigh_by_others();
    let (mut key, mut weight) = (Vec::new(), Vec::new());
    for index in 0..items.len() {
        weight.clear();
        let found = fetch(cx, pattern, items.element(index), &mut key, |value| {
            weight.extend_from_slice(value.unwrap_or_default());
            value.is_some()
        });
        if !found {
            continue;
        }
        if options.alpha {
            items.set_text(index, &weight);
        } else {
            items.set_number(index, parse_weight(&weight).ok_or_else(no_number)?);
        }
    }
    Ok(())
}

/// Calls `use_value` with what a pattern makes of an element. `key` is room for the key.
fn fetch<R>(
    cx: &mut Cx<'_>,
    pattern: Pattern<'_>,
    element: &[u8],
    key: &mut Vec<u8>,
    use_value: impl FnOnce(Option<&[u8]>) -> R,
) -> R {
    if matches!(pattern, Pattern::Element) {
        return use_value(Some(element));
    }
    if !pattern.make_key(element, key) {
        return use_value(None);
    }
    let hash = cx.keyspace.hasher().hash(key);
    let key = Key { bytes: key, hash };
    let now = cx.keyspace.fields_now();
    let mut buffer = itoa::Buffer::new();
    match cx.keyspace.read(cx.db, key) {
        Some(entry) => match (entry.value(), pattern.field()) {
            (ValueView::String(view), None) => use_value(Some(view.with_bytes(&mut buffer))),
            (ValueView::Hash(hash), Some(field)) => {
                let value = hash.get(field, now);
                use_value(value.as_ref().map(|value| value.to_bytes(&mut buffer)))
            }
            _ => use_value(None),
        },
        None => {
            missed(cx, key);
            use_value(None)
        }
    }
}

/// Replies with the selected elements, or with what the GET patterns make of them.
fn reply(cx: &mut Cx<'_>, options: &Options<'_>, items: &Items) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    cx.reply
        .array(items.selected().len() * options.get.len().max(1));
    for index in items.selected() {
        let element = items.element(index);
        if options.get.is_empty() {
            cx.reply.bulk(element);
        }
        for &pattern in &options.get {
            value.clear();
            let found = fetch(cx, pattern, element, &mut key, |found| {
                value.extend_from_slice(found.unwrap_or_default());
                found.is_some()
            });
            match found {
                true => cx.reply.bulk(&value),
                false => cx.reply.null(),
            }
        }
    }
}

/// Makes a list of what would be the reply; nothing leaves no key.
fn store(cx: &mut Cx<'_>, options: &Options<'_>, items: &Items, destination: usize) {
    let limit = node_limit(cx.config);
    let mut list = List::default();
    // Redis puts it together in the full form and looks at its size then.
    list.make_room(usize::MAX, 0, limit);
    let mut key = Vec::new();
    for index in items.selected() {
        let element = items.element(index);
        if options.get.is_empty() {
            list.push(End::Back, element, limit);
        }
        for &pattern in &options.get {
            fetch(cx, pattern, element, &mut key, |value| {
                list.push(End::Back, value.unwrap_or_default(), limit);
            });
        }
    }
    list.compact(limit, false);
    let len = list.len();
    let key = cx.key(destination);
    let existed = cx.keyspace.set_collection(cx.db, key, list, None);
    if len > 0 {
        if !existed {
            cx.notify(cx.db, key.bytes, "new", class::NEW);
        }
        cx.notify(cx.db, key.bytes, "sortstore", class::LIST);
        cx.effects.dirty += len as u64;
    } else if existed {
        cx.wrote(key.bytes, "del", class::GENERIC);
    }
    cx.reply.count(len);
}
