//! Parts of a value: its length, a range read or overwritten, an end appended.

use super::{check_length, existed, missed, new_string, wrote_string};
use crate::base::number::parse_i64;
use crate::command::{Cx, Done, Fault};
use crate::keyspace::{NewExpiry, StringView};

pub(super) fn append(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let text = cx.line.arg(2);
    let len_max = cx.config.proto_max_bulk_len;
    let appended = cx.keyspace.edit_string(cx.db, key, false, |buffer| {
        let len = buffer.len() + text.len();
        if len as u64 <= len_max {
            buffer.extend_from_slice(text);
        }
        len
    })?;
    let len = match appended {
        Some(len) => {
            check_length(cx, len as u64)?;
            wrote_string(cx, key, "append", true);
            len
        }
        None => {
            let value = new_string(&cx.line, 2);
            cx.keyspace.set_string(cx.db, key, value, NewExpiry::Clear);
            wrote_string(cx, key, "append", false);
            text.len()
        }
    };
    cx.reply.count(len);
    Ok(())
}

pub(super) fn strlen(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    match cx.keyspace.read(cx.db, key) {
        Some(entry) => cx.reply.count(entry.string()?.len()),
        None => {
            missed(cx, key);
            cx.reply.int(0);
        }
    }
    Ok(())
}

pub(super) fn setrange(cx: &mut Cx<'_>) -> Done {
    let offset = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    let offset = u64::try_from(offset).map_err(|_| Fault::text("ERR offset is out of range"))?;
    let key = cx.key(1);
    let text = cx.line.arg(3);
    if text.is_empty() {
        let len = match cx.keyspace.write(cx.db, key) {
            Some(entry) => entry.string()?.len(),
            None => 0,
        };
        cx.reply.count(len);
        return Ok(());
    }
    let existed = existed(cx, key);
    if offset + text.len() as u64 > cx.config.proto_max_bulk_len {
        // The wrong type is the error that counts.
        if let Some(entry) = cx.keyspace.peek(cx.db, key) {
            entry.string()?;
        }
        return check_length(cx, offset + text.len() as u64);
    }
    let len = cx.keyspace.edit_string(cx.db, key, true, |buffer| {
        buffer.write_at(offset as usize, text);
        buffer.len()
    })?;
    wrote_string(cx, key, "setrange", existed);
    cx.reply.count(len.unwrap_or_default());
    Ok(())
}

pub(super) fn getrange(cx: &mut Cx<'_>) -> Done {
    let start = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    let end = parse_i64(cx.line.arg(3)).ok_or(Fault::NotInteger)?;
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.read(cx.db, key) else {
        missed(cx, key);
        cx.reply.bulk(b"");
        return Ok(());
    };
    let value = entry.string()?;
    let Some((first, last)) = range(start, end, value.len() as u64) else {
        cx.reply.bulk(b"");
        return Ok(());
    };
    let range = first as usize..last as usize + 1;
    match value {
        StringView::Shared(bytes) => cx.reply.bulk_shared(&bytes.slice(range)),
        other => cx
            .reply
            .bulk(&other.with_bytes(&mut itoa::Buffer::new())[range]),
    }
    Ok(())
}

/// The first and the last of `len` positions that a range names: negative ones count from the end, and what is out of
/// bounds is cut off. `None` for an empty range.
pub(in crate::command) fn range(start: i64, end: i64, len: u64) -> Option<(u64, u64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    clamped_range(start, end, len)
}

/// As [`range`], but two negative positions in the wrong order that both lie before the start name the first one. BITPOS takes
/// it so, GETRANGE and BITCOUNT do not.
pub(in crate::command) fn clamped_range(start: i64, end: i64, len: u64) -> Option<(u64, u64)> {
    let from_end = |at: i64| if at < 0 { (at.saturating_add(len as i64)).max(0) } else { at } as u64;
    let first = from_end(start);
    let last = from_end(end).min(len.checked_sub(1)?);
    (first <= last).then_some((first, last))
}
