//! One reply out of the replies of a line's parts.

use crate::command::Merge;
use crate::resp::{Encoded, Output, Proto, Reply, merge as encoded};

/// Merges the parts' replies. Each part comes with the places of its keys among the line's keys. An error of any part
/// is the line's reply.
pub fn merge(how: Merge, proto: Proto, parts: &[(&Output, Vec<u32>)]) -> Output {
    let mut out = Output::default();
    let parts = parts
        .iter()
        .filter_map(|(part, places)| Some((Encoded::first(part)?, places.as_slice())))
        .collect();
    merge_encoded(how, proto, parts, &mut out);
    out
}

/// As [`merge`], of replies that stand anywhere in outputs, into `out`.
pub fn merge_encoded(
    how: Merge,
    proto: Proto,
    parts: Vec<(Encoded<'_>, &[u32])>,
    out: &mut Output,
) {
    let mut reply = Reply::new(out, proto);
    if how == Merge::Interleave {
        let len = parts.iter().map(|(_, places)| places.len()).sum();
        encoded::interleave(&mut reply, len, &parts);
        return;
    }
    let replies: Vec<Encoded<'_>> = parts.into_iter().map(|(reply, _)| reply).collect();
    match how {
        Merge::Sum => encoded::sum(&mut reply, &replies),
        Merge::Concat => encoded::concat(&mut reply, &replies),
        Merge::Same | Merge::Interleave => {
            if let Some(chosen) = encoded::first_error(&replies).or(replies.first()) {
                out.append_range(chosen.output(), chosen.range());
            }
        }
    }
}
