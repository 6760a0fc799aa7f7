//! HRANDFIELD: one random field, several that differ, or several that may be the same.

use std::collections::HashSet;

use super::push;
use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::command::string::missed;
use crate::command::{Cx, Done, Fault};
use crate::resp::Reply;
use crate::structures::hash::{Field, Hash};

/// Of a hash with this many times as many fields as are asked for, fields are drawn until enough differ; else some of all
/// are taken.
const DRAW_SHARE_MIN: usize = 3;

/// More fields with repetitions than this are refused: Redis would try, and die of it.
const REPETITIONS_MAX: u64 = 1 << 28;

pub(super) fn hrandfield(cx: &mut Cx<'_>) -> Done {
    if cx.line.len() == 2 {
        return one(cx);
    }
    let count = parse_i64(cx.line.arg(2)).ok_or(Fault::NotInteger)?;
    if count == i64::MIN {
        return Err(Fault::text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let with_values = match cx.line.len() {
        3 => false,
        4 if cx.line.is(3, "withvalues") => true,
        _ => return Err(Fault::Syntax),
    };
    let doubled = with_values && count.unsigned_abs() > i64::MAX as u64 / 2;
    if doubled || (count < 0 && count.unsigned_abs() > REPETITIONS_MAX) {
        return Err(Fault::text("ERR value is out of range"));
    }
    several(cx, count, with_values)
}

fn one(cx: &mut Cx<'_>) -> Done {
    let key = cx.key(1);
    let now = cx.keyspace.fields_now();
    match cx.keyspace.read_collection::<Hash>(cx.db, key)? {
        Some(hash) => match Pool::new(hash, now).draw(cx.random) {
            Some(field) => push(&mut cx.reply, field.name),
            None => cx.reply.null(),
        },
        None => {
            missed(cx, key);
            cx.reply.null();
        }
    }
    Ok(())
}

fn several(cx: &mut Cx<'_>, count: i64, with_values: bool) -> Done {
    let key = cx.key(1);
    let now = cx.keyspace.fields_now();
    let Some(hash) = cx.keyspace.read_collection::<Hash>(cx.db, key)? else {
        missed(cx, key);
        cx.reply.array(0);
        return Ok(());
    };
    let pool = Pool::new(hash, now);
    let len = pool.len();
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let repeats = count < 0;
    let replied = if repeats { wanted } else { wanted.min(len) };
    let nested = with_values && cx.reply.is_resp3();
    cx.reply.array(if with_values && !nested {
        replied * 2
    } else {
        replied
    });
    let reply = &mut cx.reply;
    let mut emit = |field: Field<'_>| push_field(reply, field, with_values, nested);
    if repeats {
        pool.repeat(wanted, cx.random, &mut emit);
    } else if wanted >= len {
        pool.all(&mut emit);
    } else if pool.draws_fast() && wanted <= len / DRAW_SHARE_MIN {
        pool.distinct(wanted, cx.random, &mut emit);
    } else {
        pool.sample(wanted, cx.random, &mut emit);
    }
    Ok(())
}

fn push_field(reply: &mut Reply<'_>, field: Field<'_>, with_values: bool, nested: bool) {
    if nested {
        reply.array(2);
    }
    push(reply, field.name);
    if with_values {
        push(reply, field.value);
    }
}

/// What fields are drawn from: the hash itself where any field may come and is found at once, else a list of those that
/// are there.
enum Pool<'a> {
    Hash(&'a Hash),
    List(Vec<Field<'a>>),
}

impl<'a> Pool<'a> {
    fn new(hash: &'a Hash, now: i64) -> Pool<'a> {
        let some_due = hash.deadline().is_some_and(|at| at < now);
        if some_due || !hash.is_table() {
            Pool::List(hash.iter(now).collect())
        } else {
            Pool::Hash(hash)
        }
    }

    fn len(&self) -> usize {
        match self {
            Pool::Hash(hash) => hash.len(),
            Pool::List(fields) => fields.len(),
        }
    }

    fn draws_fast(&self) -> bool {
        matches!(self, Pool::Hash(_))
    }

    fn draw(&self, random: &mut Random) -> Option<Field<'a>> {
        match self {
            Pool::Hash(hash) => hash.random(random),
            Pool::List(fields) if fields.is_empty() => None,
            Pool::List(fields) => Some(fields[random.index(fields.len())]),
        }
    }

    /// `count` fields, each drawn from all.
    fn repeat(&self, count: usize, random: &mut Random, emit: &mut impl FnMut(Field<'a>)) {
        (0..count).filter_map(|_| self.draw(random)).for_each(emit);
    }

    fn all(&self, emit: &mut impl FnMut(Field<'a>)) {
        match self {
            Pool::Hash(hash) => hash.iter(crate::structures::hash::SEE_ALL).for_each(emit),
            Pool::List(fields) => fields.iter().copied().for_each(emit),
        }
    }

    /// Draws until `count` fields differ; `count` is small beside their number.
    fn distinct(&self, count: usize, random: &mut Random, emit: &mut impl FnMut(Field<'a>)) {
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count
            && let Some(field) = self.draw(random)
        {
            // Names in a table lie apart, so that their places tell them apart.
            let place = match field.name {
                crate::structures::listpack::Element::Bytes(bytes) => bytes.as_ptr(),
                crate::structures::listpack::Element::Int(_) => {
                    unreachable!("a table keeps names as bytes")
                }
            };
            if drawn.insert(place) {
                emit(field);
            }
        }
    }

    /// `count` of all fields, in their order: one pass, each subset as likely as any other.
    fn sample(&self, count: usize, random: &mut Random, emit: &mut impl FnMut(Field<'a>)) {
        let (mut left, mut wanted) = (self.len(), count);
        self.all(&mut |field| {
            if wanted > 0 && random.index(left) < wanted {
                wanted -= 1;
                emit(field);
            }
            left -= 1;
        });
    }
}
