//! LPOS: where elements are.

use super::super::string::missed;
use super::super::{Cx, Done, Fault};
use super::integer;
use crate::base::number::parse_i64;
use crate::resp::Line;
use crate::structures::list::{End, List};
use crate::structures::listpack::Needle;

/// LPOS's options.
struct Options {
    /// The end where the search begins.
    from: End,
    /// The first match to be told of, counted from 1.
    rank: u64,
    /// How many matches; `None` for one that is not put into an array.
    count: Option<usize>,
    /// How many elements are compared.
    compared_max: usize,
}

impl Options {
    fn parse(line: &Line<'_>) -> Result<Options, Fault> {
        let mut options = Options {
            from: End::Front,
            rank: 1,
            count: None,
            compared_max: usize::MAX,
        };
        let mut at = 3;
        while at < line.len() {
            if at + 1 == line.len() {
                return Err(Fault::Syntax);
            }
            if line.is(at, "rank") {
                let rank = integer(line, at + 1)?;
                if rank == i64::MIN {
                    return Err(Fault::text(format!(
                        "ERR value is out of range, value must between {} and {}",
                        -i64::MAX,
                        i64::MAX
                    )));
                }
                if rank == 0 {
                    return Err(Fault::text(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                         or use negative to start from the end of the list",
                    ));
                }
                options.from = if rank < 0 { End::Back } else { End::Front };
                options.rank = rank.unsigned_abs();
            } else if line.is(at, "count") {
                let count = unlimited_at_zero(line, at + 1, "ERR COUNT can't be negative")?;
                options.count = Some(count);
            } else if line.is(at, "maxlen") {
                options.compared_max =
                    unlimited_at_zero(line, at + 1, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(Fault::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    /// The places of the matches that are asked for, in the order in which they are found.
    fn search<'a>(
        &self,
        mut elements: impl Iterator<Item = crate::structures::listpack::Element<'a>>,
        needle: Needle<'_>,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        let mut matches = 0;
        let wanted = self.count.unwrap_or(1);
        let mut at = 0;
        while at < self.compared_max
            && let Some(element) = elements.next()
        {
            if needle.is(element) {
                matches += 1;
                if matches >= self.rank {
                    found.push(at);
                    if found.len() == wanted {
                        break;
                    }
                }
            }
            at += 1;
        }
        found
    }
}

fn unlimited_at_zero(
    line: &Line<'_>,
    index: usize,
    negative: &'static str,
) -> Result<usize, Fault> {
    let value = parse_i64(line.arg(index)).and_then(|value| usize::try_from(value).ok());
    match value {
        None => Err(Fault::text(negative)),
        Some(0) => Ok(usize::MAX),
        Some(value) => Ok(value),
    }
}

pub(super) fn lpos(cx: &mut Cx<'_>) -> Done {
    let options = Options::parse(&cx.line)?;
    let key = cx.key(1);
    let Some(list) = cx.keyspace.read_collection::<List>(cx.db, key)? else {
        missed(cx, key);
        match options.count {
            Some(_) => cx.reply.empty_array(),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let needle = Needle::new(cx.line.arg(2));
    let found = match options.from {
        End::Front => options.search(list.iter(), needle),
        End::Back => options.search(list.iter().rev(), needle),
    };
    let index = |at: usize| match options.from {
        End::Front => at,
        End::Back => list.len() - 1 - at,
    };
    match (options.count, found.first()) {
        (Some(_), _) => {
            cx.reply.array(found.len());
            found.into_iter().for_each(|at| cx.reply.count(index(at)));
        }
        (None, Some(&at)) => cx.reply.count(index(at)),
        (None, None) => cx.reply.null(),
    }
    Ok(())
}
