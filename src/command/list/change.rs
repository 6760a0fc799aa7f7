//! Changes inside of a list.

use super::super::{Cx, Done, Fault, class};
use super::{absolute, check_element, integer, node_limit, stretch};
use crate::structures::list::{End, List};

pub(super) fn lset(cx: &mut Cx<'_>) -> Done {
    let (key, line, limit) = (cx.key(1), cx.line, node_limit(cx.config));
    let element = line.arg(3);
    check_element(element)?;
    let set = cx.keyspace.edit(cx.db, key, |list: &mut List| {
        // As in Redis, that there is no key, or none with a list, comes before a wrong index.
        let index = integer(&line, 2)?;
        // As in Redis, a compact list that is full takes its full form even when the index is wrong.
        list.make_room(element.len(), 1, limit);
        let index = absolute(index, list.len()).filter(|index| *index < list.len());
        let index = index.ok_or(Fault::OutOfRange)?;
        list.set(index, element, limit);
        list.compact(limit, true);
        Ok::<(), Fault>(())
    })?;
    set.ok_or(Fault::NoSuchKey)??;
    cx.wrote(key.bytes, "lset", class::LIST);
    cx.reply.ok();
    Ok(())
}

pub(super) fn linsert(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let behind = if line.is(2, "after") {
        true
    } else if line.is(2, "before") {
        false
    } else {
        return Err(Fault::Syntax);
    };
    let (key, limit) = (cx.key(1), node_limit(cx.config));
    let (pivot, element) = (line.arg(3), line.arg(4));
    check_element(element)?;
    let inserted = cx.keyspace.edit(cx.db, key, |list: &mut List| {
        list.make_room(element.len(), 1, limit);
        let found = list.insert(pivot, behind, element, limit);
        found.then_some(list.len())
    })?;
    match inserted {
        None => cx.reply.int(0),
        Some(None) => cx.reply.int(-1),
        Some(Some(len)) => {
            cx.wrote(key.bytes, "linsert", class::LIST);
            cx.reply.count(len);
        }
    }
    Ok(())
}

pub(super) fn lrem(cx: &mut Cx<'_>) -> Done {
    let count = integer(&cx.line, 2)?;
    let max = match count.checked_abs() {
        None => {
            return Err(Fault::text(format!(
                "ERR value is out of range, value must between {} and {}",
                -i64::MAX,
                i64::MAX
            )));
        }
        Some(0) => usize::MAX,
        Some(max) => max as usize,
    };
    let end = if count < 0 { End::Back } else { End::Front };
    let (key, needle, limit) = (cx.key(1), cx.line.arg(3), node_limit(cx.config));
    let removed = cx.keyspace.edit(cx.db, key, |list: &mut List| {
        let removed = list.remove(needle, end, max);
        if removed > 0 {
            list.compact(limit, true);
        }
        (removed, list.is_empty())
    })?;
    let (removed, empty) = removed.unwrap_or((0, false));
    if removed > 0 {
        cx.effects.dirty += removed as u64;
        cx.notify(cx.db, key.bytes, "lrem", class::LIST);
        if empty {
            cx.notify(cx.db, key.bytes, "del", class::GENERIC);
        }
    }
    cx.reply.count(removed);
    Ok(())
}

pub(super) fn ltrim(cx: &mut Cx<'_>) -> Done {
    let (start, stop) = (integer(&cx.line, 2)?, integer(&cx.line, 3)?);
    let (key, limit) = (cx.key(1), node_limit(cx.config));
    let trimmed = cx.keyspace.edit(cx.db, key, |list: &mut List| {
        let len = list.len();
        let (start, count) = stretch(start, stop, len);
        list.remove_end(End::Back, len - start - count);
        list.remove_end(End::Front, start);
        list.compact(limit, true);
        (len - count, list.is_empty())
    })?;
    if let Some((removed, empty)) = trimmed {
        cx.effects.dirty += removed as u64;
        cx.notify(cx.db, key.bytes, "ltrim", class::LIST);
        if empty {
            cx.notify(cx.db, key.bytes, "del", class::GENERIC);
        }
    }
    cx.reply.ok();
    Ok(())
}
