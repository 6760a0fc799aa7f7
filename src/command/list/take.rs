//! Elements taken from the ends of lists.

use super::super::{Cx, Done, Fault, class};
use super::{node_limit, parse_end, push_element, pushed};
use crate::base::number::parse_i64;
use crate::keyspace::Key;
use crate::resp::{Line, Reply};
use crate::structures::list::{End, List};

pub(super) fn lpop(cx: &mut Cx<'_>) -> Done {
    pop_command(cx, End::Front)
}

pub(super) fn rpop(cx: &mut Cx<'_>) -> Done {
    pop_command(cx, End::Back)
}

fn pop_command(cx: &mut Cx<'_>, end: End) -> Done {
    if cx.line.len() > 3 {
        let name = match end {
            End::Front => "lpop",
            End::Back => "rpop",
        };
        return Err(Fault::text(format!(
            "ERR wrong number of arguments for '{name}' command"
        )));
    }
    let count = match cx.line.len() {
        3 => Some(not_negative(&cx.line, 2)?),
        _ => None,
    };
    let key = cx.key(1);
    let found = pop(cx, key, end, count.unwrap_or(1), |reply, popped| {
        if count.is_some() {
            reply.array(popped);
        }
    })?;
    match (found, count) {
        (true, _) => {}
        (false, Some(_)) => cx.reply.null_array(),
        (false, None) => cx.reply.null(),
    }
    Ok(())
}

/// Removes up to `count` elements at an end. Replies with what `head` writes, which is told their number, and with the elements.
/// False without the key: then nothing is written.
pub(in crate::command) fn pop(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
    head: impl FnOnce(&mut Reply<'_>, usize),
) -> Result<bool, Fault> {
    let limit = node_limit(cx.config);
    let reply = &mut cx.reply;
    let popped = cx.keyspace.edit(cx.db, key, |list: &mut List| {
        let count = count.min(list.len());
        head(reply, count);
        match end {
            End::Front => {
                let elements = list.range(0, count);
                elements.for_each(|element| push_element(reply, element));
            }
            End::Back => {
                let elements = list.range(list.len() - count, count).rev();
                elements.for_each(|element| push_element(reply, element));
            }
        }
        list.remove_end(end, count);
        list.compact(limit, true);
        (count, list.is_empty())
    })?;
    if let Some((count @ 1.., empty)) = popped {
        removed(cx, key, end, count, empty);
    }
    Ok(popped.is_some())
}

/// Tells of elements that were removed at an end, and of the key when they were the last.
fn removed(cx: &mut Cx<'_>, key: Key<'_>, end: End, count: usize, empty: bool) {
    let event = match end {
        End::Front => "lpop",
        End::Back => "rpop",
    };
    cx.effects.dirty += count as u64;
    cx.notify(cx.db, key.bytes, event, class::LIST);
    if empty {
        cx.notify(cx.db, key.bytes, "del", class::GENERIC);
    }
}

/// What LMPOP is asked for.
pub(in crate::command) struct PopMany {
    /// The argument with the first key.
    pub first: usize,
    /// The number of keys.
    pub keys: usize,
    /// Where elements are taken.
    pub end: End,
    /// How many at most.
    pub count: usize,
}

impl PopMany {
    /// Parses the arguments from the number of keys on, which is at `at`.
    pub fn parse(line: &Line<'_>, at: usize) -> Result<PopMany, Fault> {
        let keys = positive(line, at, "ERR numkeys should be greater than 0")?;
        let first = at + 1;
        let end_at = first.checked_add(keys).ok_or(Fault::Syntax)?;
        if end_at >= line.len() {
            return Err(Fault::Syntax);
        }
        let end = parse_end(line, end_at)?;
        let mut count = None;
        let mut at = end_at + 1;
        while at < line.len() {
            if count.is_some() || !line.is(at, "count") || at + 1 == line.len() {
                return Err(Fault::Syntax);
            }
            count = Some(positive(
                line,
                at + 1,
                "ERR count should be greater than 0",
            )?);
            at += 2;
        }
        Ok(PopMany {
            first,
            keys,
            end,
            count: count.unwrap_or(1),
        })
    }

    /// Takes elements from the first key that has some. Replies with the key and the elements; false, and no reply, when no key
    /// is there.
    pub fn run(&self, cx: &mut Cx<'_>) -> Result<bool, Fault> {
        for index in self.first..self.first + self.keys {
            let key = cx.key(index);
            if !cx.looks_at(key.bytes) {
                continue;
            }
            let mut popped = 0;
            let found = pop(cx, key, self.end, self.count, |reply, count| {
                reply.array(2);
                reply.bulk(key.bytes);
                reply.array(count);
                popped = count;
            })?;
            if found {
                let name: &[u8] = match self.end {
                    End::Front => b"LPOP",
                    End::Back => b"RPOP",
                };
                let mut buffer = itoa::Buffer::new();
                cx.log(&[name, key.bytes, buffer.format(popped).as_bytes()]);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

pub(super) fn lmpop(cx: &mut Cx<'_>) -> Done {
    if !PopMany::parse(&cx.line, 1)?.run(cx)? {
        cx.reply.null_array();
    }
    Ok(())
}

pub(super) fn lmove(cx: &mut Cx<'_>) -> Done {
    let (from, to) = (parse_end(&cx.line, 3)?, parse_end(&cx.line, 4)?);
    move_command(cx, from, to)
}

pub(super) fn rpoplpush(cx: &mut Cx<'_>) -> Done {
    move_command(cx, End::Back, End::Front)
}

fn move_command(cx: &mut Cx<'_>, from: End, to: End) -> Done {
    if !transfer(cx, cx.key(1), cx.key(2), from, to)? {
        cx.reply.null();
    }
    Ok(())
}

/// Moves an element from an end of one list to an end of another, which may be the same, and replies with it. False, and no reply,
/// when there is no source.
pub(in crate::command) fn transfer(
    cx: &mut Cx<'_>,
    source: Key<'_>,
    destination: Key<'_>,
    from: End,
    to: End,
) -> Result<bool, Fault> {
    let limit = node_limit(cx.config);
    if source.bytes == destination.bytes {
        let reply = &mut cx.reply;
        let turned = cx.keyspace.edit(cx.db, source, |list: &mut List| {
            let Some(element) = list.peek(from) else {
                return;
            };
            push_element(reply, element);
            if from != to {
                let element = element.to_vec();
                list.remove_end(from, 1);
                list.make_room(element.len(), 1, limit);
                list.push(to, &element, limit);
            }
            list.compact(limit, true);
        })?;
        if turned.is_some() {
            pushed(cx, destination, to, true);
            removed(cx, source, from, 1, false);
        }
        return Ok(turned.is_some());
    }
    let element = match cx.keyspace.write(cx.db, source) {
        Some(entry) => entry.collection::<List>()?.peek(from),
        None => None,
    };
    let Some(element) = element.map(|element| element.to_vec()) else {
        return Ok(false);
    };
    let ((), existed) = cx
        .keyspace
        .edit_or_new(cx.db, destination, |list: &mut List| {
            list.make_room(element.len(), 1, limit);
            list.push(to, &element, limit);
        })?;
    let empty = cx.keyspace.edit(cx.db, source, |list: &mut List| {
        list.remove_end(from, 1);
        list.compact(limit, true);
        list.is_empty()
    })?;
    cx.reply.bulk(&element);
    pushed(cx, destination, to, existed);
    removed(cx, source, from, 1, empty == Some(true));
    Ok(true)
}

/// An argument that must not be negative.
fn not_negative(line: &Line<'_>, index: usize) -> Result<usize, Fault> {
    let value = parse_i64(line.arg(index)).and_then(|value| usize::try_from(value).ok());
    value.ok_or(Fault::text("ERR value is out of range, must be positive"))
}

/// An argument that must be above zero, with the error for any other.
fn positive(line: &Line<'_>, index: usize, error: &'static str) -> Result<usize, Fault> {
    let value = parse_i64(line.arg(index)).and_then(|value| usize::try_from(value).ok());
    value.filter(|value| *value > 0).ok_or(Fault::text(error))
}
