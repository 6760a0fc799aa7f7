//! What strings and keys are, as plainly as it can be said: one ordered map, one function per command.
//!
//! The model knows well-formed lines of the commands in [`Model::apply`] and the errors that random arguments meet often. It is
//! cloned at every step of a search for an order, so its state is small.

use std::collections::BTreeMap;

use shardine::base::number::parse_i64;
use shardine::resp::Value;

/// What a line must be answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Exactly(Value),
    /// An array with its elements in any order.
    InAnyOrder(Vec<Value>),
}

/// A key's value and end, milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    value: Vec<u8>,
    end_ms: Option<i64>,
}

/// All databases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    items: BTreeMap<(usize, Vec<u8>), Item>,
}

const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
const SYNTAX: &str = "ERR syntax error";

impl Expected {
    /// `got` is what was expected.
    pub fn admits(&self, got: &Value) -> bool {
        match (self, got) {
            (Expected::Exactly(value), got) => value == got,
            (Expected::InAnyOrder(values), Value::Array(got)) => {
                let sorted = |values: &[Value]| {
                    let mut texts: Vec<String> =
                        values.iter().map(|value| format!("{value:?}")).collect();
                    texts.sort();
                    texts
                };
                sorted(values) == sorted(got)
            }
            _ => false,
        }
    }
}

fn int(number: i64) -> Value {
    Value::Int(number)
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn error(text: &str) -> Value {
    Value::Error(text.as_bytes().to_vec())
}

fn bulk(value: Option<Vec<u8>>) -> Value {
    value.map_or(Value::Null, Value::Bulk)
}

impl Model {
    /// Forgets what has ended before `now_ms`: a key is still there in the very millisecond of its end.
    pub fn expire(&mut self, now_ms: i64) {
        self.items
            .retain(|_, item| item.end_ms.is_none_or(|end_ms| end_ms >= now_ms));
    }

    /// The number of keys of a database.
    pub fn len(&self, db: usize) -> usize {
        self.items.keys().filter(|(in_db, _)| *in_db == db).count()
    }

    fn value(&self, db: usize, key: &[u8]) -> Option<Vec<u8>> {
        self.item(db, key).map(|item| item.value.clone())
    }

    fn item(&self, db: usize, key: &[u8]) -> Option<&Item> {
        self.items.get(&(db, key.to_vec()))
    }

    fn has(&self, db: usize, key: &[u8]) -> bool {
        self.item(db, key).is_some()
    }

    fn remove(&mut self, db: usize, key: &[u8]) -> bool {
        self.items.remove(&(db, key.to_vec())).is_some()
    }

    /// A new value without an end.
    fn set(&mut self, db: usize, key: &[u8], value: &[u8]) {
        self.put(
            db,
            key,
            Item {
                value: value.to_vec(),
                end_ms: None,
            },
        );
    }

    fn put(&mut self, db: usize, key: &[u8], item: Item) {
        self.items.insert((db, key.to_vec()), item);
    }

    /// A changed value, the end as it was.
    fn change(&mut self, db: usize, key: &[u8], value: Vec<u8>) {
        let end_ms = self.item(db, key).and_then(|item| item.end_ms);
        self.put(db, key, Item { value, end_ms });
    }

    /// Runs a line on the database `db` at the time `now_ms`. `None`: the model does not know this line.
    pub fn apply(&mut self, db: usize, args: &[Vec<u8>], now_ms: i64) -> Option<Expected> {
        self.expire(now_ms);
        let words: Vec<&[u8]> = args[1..].iter().map(Vec::as_slice).collect();
        let name = String::from_utf8(args[0].to_ascii_lowercase()).ok()?;
        if name == "keys" {
            if words != [b"*"] {
                return None;
            }
            let keys = self.items.keys().filter(|(in_db, _)| *in_db == db);
            return Some(Expected::InAnyOrder(
                keys.map(|(_, key)| Value::Bulk(key.clone())).collect(),
            ));
        }
        let reply = self
            .whole(db, &name, &words)
            .or_else(|| self.strings(db, &name, &words))
            .or_else(|| self.several(db, &name, &words))
            .or_else(|| self.ends(db, &name, &words, now_ms));
        reply.map(Expected::Exactly)
    }

    /// Commands on whole databases.
    fn whole(&mut self, db: usize, name: &str, words: &[&[u8]]) -> Option<Value> {
        match (name, words) {
            ("dbsize", []) => Some(int(self.len(db) as i64)),
            ("flushall", []) => {
                self.items.clear();
                Some(ok())
            }
            ("flushdb", []) => {
                self.items.retain(|(in_db, _), _| *in_db != db);
                Some(ok())
            }
            ("swapdb", [a, b]) => {
                let (a, b) = (parse_i64(a)? as usize, parse_i64(b)? as usize);
                let items = std::mem::take(&mut self.items);
                let swapped = |db| match db {
                    _ if db == a => b,
                    _ if db == b => a,
                    _ => db,
                };
                self.items = items
                    .into_iter()
                    .map(|((db, key), item)| ((swapped(db), key), item))
                    .collect();
                Some(ok())
            }
            _ => None,
        }
    }

    /// Commands on one string.
    fn strings(&mut self, db: usize, name: &str, words: &[&[u8]]) -> Option<Value> {
        Some(match (name, words) {
            ("get", [key]) => bulk(self.value(db, key)),
            ("set", [key, value, options @ ..]) => return self.set_with(db, key, value, options),
            ("setnx", [key, value]) => {
                let free = !self.has(db, key);
                if free {
                    self.set(db, key, value);
                }
                int(i64::from(free))
            }
            ("getset", [key, value]) => {
                let old = self.value(db, key);
                self.set(db, key, value);
                bulk(old)
            }
            ("getdel", [key]) => {
                let old = self.value(db, key);
                self.remove(db, key);
                bulk(old)
            }
            ("strlen", [key]) => int(self.value(db, key).map_or(0, |value| value.len() as i64)),
            ("append", [key, tail]) => {
                let mut value = self.value(db, key).unwrap_or_default();
                value.extend_from_slice(tail);
                let len = value.len();
                self.change(db, key, value);
                int(len as i64)
            }
            ("incr", [key]) => self.add(db, key, 1),
            ("decr", [key]) => self.add(db, key, -1),
            ("incrby" | "decrby", [key, by]) => match (parse_i64(by), name) {
                (None, _) => error(NOT_INTEGER),
                (Some(i64::MIN), "decrby") => error("ERR decrement would overflow"),
                (Some(by), "decrby") => self.add(db, key, -by),
                (Some(by), _) => self.add(db, key, by),
            },
            ("getrange", [key, from, to]) => {
                let (Some(from), Some(to)) = (parse_i64(from), parse_i64(to)) else {
                    return Some(error(NOT_INTEGER));
                };
                let value = self.value(db, key).unwrap_or_default();
                Value::Bulk(range(&value, from, to).to_vec())
            }
            ("setrange", [key, offset, part]) => match parse_i64(offset) {
                None => error(NOT_INTEGER),
                Some(offset) if offset < 0 => error("ERR offset is out of range"),
                Some(offset) => {
                    let mut value = self.value(db, key).unwrap_or_default();
                    if !part.is_empty() {
                        let end = offset as usize + part.len();
                        value.resize(value.len().max(end), 0);
                        value[offset as usize..end].copy_from_slice(part);
                        self.change(db, key, value.clone());
                    }
                    int(value.len() as i64)
                }
            },
            ("getbit", [key, offset]) => {
                let offset = bit_offset(offset).map_err(error);
                let value = self.value(db, key).unwrap_or_default();
                match offset {
                    Err(error) => error,
                    Ok(offset) => int(i64::from(bit(&value, offset))),
                }
            }
            ("setbit", [key, offset, to]) => {
                let offset = match bit_offset(offset) {
                    Ok(offset) => offset,
                    Err(text) => return Some(error(text)),
                };
                if *to != b"0" && *to != b"1" {
                    return Some(error("ERR bit is not an integer or out of range"));
                }
                let mut value = self.value(db, key).unwrap_or_default();
                let old = bit(&value, offset);
                value.resize(value.len().max(offset / 8 + 1), 0);
                let mask = 0x80 >> (offset % 8);
                value[offset / 8] &= !mask;
                value[offset / 8] |= if *to == b"1" { mask } else { 0 };
                self.change(db, key, value);
                int(i64::from(old))
            }
            ("bitcount", [key]) => {
                let value = self.value(db, key).unwrap_or_default();
                int(value.iter().map(|byte| i64::from(byte.count_ones())).sum())
            }
            ("type", [key]) => {
                let kind = if self.has(db, key) { "string" } else { "none" };
                Value::Simple(kind.into())
            }
            _ => return None,
        })
    }

    fn set_with(
        &mut self,
        db: usize,
        key: &[u8],
        value: &[u8],
        options: &[&[u8]],
    ) -> Option<Value> {
        let (mut nx, mut xx, mut get, mut keep, mut end_ms) = (false, false, false, false, None);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.to_ascii_uppercase().as_slice() {
                b"NX" => nx = true,
                b"XX" => xx = true,
                b"GET" => get = true,
                b"KEEPTTL" => keep = true,
                b"PXAT" => end_ms = Some(options.next().and_then(|ms| parse_i64(ms))?),
                _ => return Some(error(SYNTAX)),
            }
        }
        if (nx && xx) || (keep && end_ms.is_some()) {
            return Some(error(SYNTAX));
        }
        let old = self.value(db, key);
        let held = self.has(db, key);
        let done = !(nx && held || xx && !held);
        if done {
            let kept = self.item(db, key).and_then(|item| item.end_ms);
            let item = Item {
                value: value.to_vec(),
                end_ms: if keep { kept } else { end_ms },
            };
            self.put(db, key, item);
        }
        Some(match (get, done) {
            (true, _) => bulk(old),
            (false, true) => ok(),
            (false, false) => Value::Null,
        })
    }

    fn add(&mut self, db: usize, key: &[u8], by: i64) -> Value {
        let old = match self.value(db, key) {
            None => 0,
            Some(value) => match parse_i64(&value) {
                Some(number) => number,
                None => return error(NOT_INTEGER),
            },
        };
        let Some(new) = old.checked_add(by) else {
            return error("ERR increment or decrement would overflow");
        };
        self.change(db, key, new.to_string().into_bytes());
        int(new)
    }

    /// Commands on several keys.
    fn several(&mut self, db: usize, name: &str, words: &[&[u8]]) -> Option<Value> {
        let pairs = || words.chunks(2).map(|pair| (pair[0], pair[1]));
        Some(match (name, words) {
            ("mget", [_, ..]) => {
                Value::Array(words.iter().map(|key| bulk(self.value(db, key))).collect())
            }
            ("mset" | "msetnx", [_, ..]) => {
                if words.len() % 2 == 1 {
                    return Some(error(&format!(
                        "ERR wrong number of arguments for '{name}' command"
                    )));
                }
                if name == "msetnx" && pairs().any(|(key, _)| self.has(db, key)) {
                    return Some(int(0));
                }
                for (key, value) in pairs() {
                    self.set(db, key, value);
                }
                if name == "mset" { ok() } else { int(1) }
            }
            ("del" | "unlink", [_, ..]) => int(words
                .iter()
                .map(|key| i64::from(self.remove(db, key)))
                .sum()),
            ("exists" | "touch", [_, ..]) => {
                int(words.iter().map(|key| i64::from(self.has(db, key))).sum())
            }
            ("rename" | "renamenx", [from, to]) => {
                let Some(item) = self.item(db, from).cloned() else {
                    return Some(error("ERR no such key"));
                };
                if name == "renamenx" && self.has(db, to) {
                    return Some(int(0));
                }
                self.remove(db, from);
                self.put(db, to, item);
                if name == "rename" { ok() } else { int(1) }
            }
            ("copy", [from, to, options @ ..]) => return self.copy(db, from, to, options),
            ("move", [key, to]) => {
                let to = parse_i64(to)? as usize;
                if to == db {
                    return Some(error("ERR source and destination objects are the same"));
                }
                match self.item(db, key).cloned() {
                    Some(item) if !self.has(to, key) => {
                        self.remove(db, key);
                        self.put(to, key, item);
                        int(1)
                    }
                    _ => int(0),
                }
            }
            ("bitop", [how, to, from @ ..]) => return self.bitop(db, how, to, from),
            ("lcs", [a, b, how]) if how.eq_ignore_ascii_case(b"len") => {
                let a = self.value(db, a).unwrap_or_default();
                let b = self.value(db, b).unwrap_or_default();
                int(common_len(&a, &b))
            }
            _ => return None,
        })
    }

    fn copy(&mut self, db: usize, from: &[u8], to: &[u8], options: &[&[u8]]) -> Option<Value> {
        let (mut to_db, mut replace) = (db, false);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.to_ascii_uppercase().as_slice() {
                b"REPLACE" => replace = true,
                b"DB" => to_db = options.next().and_then(|db| parse_i64(db))? as usize,
                _ => return Some(error(SYNTAX)),
            }
        }
        if to_db == db && from == to {
            return Some(error("ERR source and destination objects are the same"));
        }
        let Some(item) = self.item(db, from).cloned() else {
            return Some(int(0));
        };
        if self.has(to_db, to) && !replace {
            return Some(int(0));
        }
        self.put(to_db, to, item);
        Some(int(1))
    }

    fn bitop(&mut self, db: usize, how: &[u8], to: &[u8], from: &[&[u8]]) -> Option<Value> {
        let how = how.to_ascii_uppercase();
        let fold: fn(u8, u8) -> u8 = match how.as_slice() {
            b"AND" => |a, b| a & b,
            b"OR" => |a, b| a | b,
            b"XOR" => |a, b| a ^ b,
            b"NOT" => |a, _| !a,
            _ => return Some(error(SYNTAX)),
        };
        if how == b"NOT" && from.len() != 1 {
            return Some(error(
                "ERR BITOP NOT must be called with a single source key.",
            ));
        }
        let sources: Vec<Vec<u8>> = from
            .iter()
            .map(|key| self.value(db, key).unwrap_or_default())
            .collect();
        let len = sources.iter().map(Vec::len).max()?;
        let byte = |source: &Vec<u8>, at: usize| source.get(at).copied().unwrap_or(0);
        let mut value: Vec<u8> = (0..len).map(|at| byte(&sources[0], at)).collect();
        for (at, into) in value.iter_mut().enumerate() {
            if how == b"NOT" {
                *into = !*into;
            }
            for source in &sources[1..] {
                *into = fold(*into, byte(source, at));
            }
        }
        if len == 0 {
            self.remove(db, to);
        } else {
            self.set(db, to, &value);
        }
        Some(int(len as i64))
    }

    /// Commands about the end of a key.
    fn ends(&mut self, db: usize, name: &str, words: &[&[u8]], now_ms: i64) -> Option<Value> {
        Some(match (name, words) {
            ("expire" | "pexpire" | "expireat" | "pexpireat", [key, time]) => {
                let Some(time) = parse_i64(time) else {
                    return Some(error(NOT_INTEGER));
                };
                let unit = if name.starts_with('p') { 1 } else { 1000 };
                let base = if name.ends_with("at") { 0 } else { now_ms };
                let end = time.checked_mul(unit).and_then(|ms| ms.checked_add(base));
                let Some(end_ms) = end else {
                    return Some(error(&format!(
                        "ERR invalid expire time in '{name}' command"
                    )));
                };
                let Some(mut item) = self.item(db, key).cloned() else {
                    return Some(int(0));
                };
                if end_ms <= now_ms {
                    self.remove(db, key);
                } else {
                    item.end_ms = Some(end_ms);
                    self.put(db, key, item);
                }
                int(1)
            }
            ("pexpiretime" | "pttl", [key]) => int(match self.item(db, key) {
                None => -2,
                Some(Item { end_ms: None, .. }) => -1,
                Some(Item {
                    end_ms: Some(ms), ..
                }) if name == "pttl" => ms - now_ms,
                Some(Item {
                    end_ms: Some(ms), ..
                }) => *ms,
            }),
            ("persist", [key]) => match self.item(db, key).cloned() {
                Some(mut item) if item.end_ms.is_some() => {
                    item.end_ms = None;
                    self.put(db, key, item);
                    int(1)
                }
                _ => int(0),
            },
            _ => return None,
        })
    }
}

/// GETRANGE's part of a value.
fn range(value: &[u8], from: i64, to: i64) -> &[u8] {
    let len = value.len() as i64;
    if from < 0 && to < 0 && from > to {
        return &[];
    }
    let place = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    let (from, to) = (
        place(from.max(-len - 1)),
        place(to.max(-len - 1)).min(len - 1),
    );
    if len == 0 || from > to {
        return &[];
    }
    &value[from as usize..=to as usize]
}

fn bit_offset(text: &[u8]) -> Result<usize, &'static str> {
    let most = 512 * 1024 * 1024 * 8;
    match parse_i64(text) {
        Some(offset) if (0..most).contains(&offset) => Ok(offset as usize),
        _ => Err("ERR bit offset is not an integer or out of range"),
    }
}

fn bit(value: &[u8], offset: usize) -> bool {
    value
        .get(offset / 8)
        .is_some_and(|byte| byte & (0x80 >> (offset % 8)) != 0)
}

/// Length of the longest common subsequence.
fn common_len(a: &[u8], b: &[u8]) -> i64 {
    let mut row = vec![0; b.len() + 1];
    for &from_a in a {
        let mut diagonal = 0;
        for (at, &from_b) in b.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if from_a == from_b {
                diagonal + 1
            } else {
                above.max(row[at])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}
