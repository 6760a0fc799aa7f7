//! Random members: SPOP and SRANDMEMBER.

use super::super::list::push_element;
use super::super::string::missed;
use super::limits;
use crate::base::number::parse_i64;
use crate::command::{Cx, Done, Fault, class};
use crate::structures::listpack::Element;
use crate::structures::set::Set;

/// The most members that SRANDMEMBER returns with repetition. Redis goes on until memory is full; while it does, nobody
/// else is served.
const DRAWN_MAX: u64 = 1 << 28;

/// Members of one line in the log.
const LOGGED_AT_ONCE_MAX: usize = 1024;

/// Members that went, for the log; nothing is kept when nobody logs.
#[derive(Default)]
struct Gone {
    logging: bool,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Gone {
    fn push(&mut self, member: Element<'_>) {
        if self.logging {
            let mut digits = itoa::Buffer::new();
            self.bytes.extend_from_slice(member.to_bytes(&mut digits));
            self.ends.push(self.bytes.len());
        }
    }

    /// Logs that they were removed.
    fn log(&self, cx: &mut Cx<'_>, key: &[u8]) {
        cx.log_nothing();
        let mut begin = 0;
        for ends in self.ends.chunks(LOGGED_AT_ONCE_MAX) {
            let mut args = vec![&b"SREM"[..], key];
            for &end in ends {
                args.push(&self.bytes[begin..end]);
                begin = end;
            }
            cx.log(&args);
        }
    }
}

pub(super) fn spop(cx: &mut Cx<'_>) -> Done {
    match cx.line.len() {
        2 => pop_one(cx),
        3 => {
            let count = parse_i64(cx.line.arg(2))
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(Fault::text("ERR value is out of range, must be positive"))?;
            pop_many(cx, count)
        }
        _ => Err(Fault::Syntax),
    }
}

fn pop_one(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    if cx.keyspace.peek(cx.db, key).is_none() {
        cx.reply.null();
        return Ok(());
    }
    pop(cx, 1)
}

/// Takes out members, not more than there are, and replies with each. There is such a key.
fn pop(cx: &mut Cx<'_>, count: usize) -> Done {
    let (key, limits) = (cx.key(1), limits(cx.config));
    let mut gone = Gone {
        logging: cx.effects.logging,
        ..Gone::default()
    };
    let (reply, random) = (&mut cx.reply, &mut *cx.random);
    let emptied = cx.keyspace.edit(cx.db, key, |set: &mut Set| {
        set.take(count, random, limits, |member| {
            push_element(reply, member);
            gone.push(member);
        });
        set.len() == 0
    })?;
    popped(cx, key.bytes, count, emptied == Some(true));
    gone.log(cx, key.bytes);
    Ok(())
}

/// Tells of members that were taken out.
fn popped(cx: &mut Cx<'_>, key: &[u8], count: usize, emptied: bool) {
    cx.notify(cx.db, key, "spop", class::SET);
    cx.effects.dirty += count as u64;
    if emptied {
        cx.notify(cx.db, key, "del", class::GENERIC);
    }
}

fn pop_many(cx: &mut Cx<'_>, count: usize) -> Done {
    let key = cx.key(1);
    let set = match cx.keyspace.write(cx.db, key) {
        Some(entry) => entry.collection::<Set>()?,
        None => {
            cx.reply.set(0);
            return Ok(());
        }
    };
    let len = set.len();
    cx.reply.set(count.min(len));
    if count == 0 {
        return Ok(());
    }
    if count < len {
        return pop(cx, count);
    }
    let reply = &mut cx.reply;
    set.iter().for_each(|member| push_element(reply, member));
    cx.keyspace.remove(cx.db, key);
    popped(cx, key.bytes, len, true);
    let name: &[u8] = if cx.config.lazyfree_lazy_server_del {
        b"UNLINK"
    } else {
        b"DEL"
    };
    cx.log(&[name, key.bytes]);
    Ok(())
}

pub(super) fn srandmember(cx: &mut Cx<'_>) -> Done {
    let count = match cx.line.len() {
        2 => None,
        3 => Some(count(cx.line.arg(2))?),
        _ => return Err(Fault::Syntax),
    };
    let key = cx.key(1);
    let Some(set) = cx.keyspace.read_collection::<Set>(cx.db, key)? else {
        missed(cx, key);
        match count {
            None => cx.reply.null(),
            Some(_) => cx.reply.empty_array(),
        }
        return Ok(());
    };
    let (reply, random) = (&mut cx.reply, &mut *cx.random);
    let Some(count) = count else {
        set.draw(1, random, |member| push_element(reply, member));
        return Ok(());
    };
    let wanted = count.unsigned_abs();
    if count < 0 {
        if wanted > DRAWN_MAX {
            return Err(Fault::text("ERR value is out of range"));
        }
        reply.array(wanted as usize);
        set.draw(wanted as usize, random, |member| {
            push_element(reply, member)
        });
    } else if wanted >= set.len() as u64 {
        reply.array(set.len());
        set.iter().for_each(|member| push_element(reply, member));
    } else {
        reply.array(wanted as usize);
        set.sample(wanted as usize, random, |member| {
            push_element(reply, member)
        });
    }
    Ok(())
}

/// The count of SRANDMEMBER; a negative one allows repetition.
fn count(text: &[u8]) -> Result<i64, Fault> {
    let count = parse_i64(text).ok_or(Fault::NotInteger)?;
    if count < -i64::MAX {
        return Err(Fault::text(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    Ok(count)
}
