//! One reply out of the replies of a line's parts.

use crate::command::Merge;
use crate::resp::{Encoded, Output, Proto, Reply, merge as encoded};

/// Merges the parts' replies. Each part comes with the places of its keys among the line's keys. An error of any part
/// is the line's reply.
pub fn merge(how: Merge, proto: Proto, parts: &[(&Output, Vec<u32>)]) -> Output {
    let mut out = Output::default();
    let mut reply = Reply::new(&mut out, proto);
    let replies: Vec<Encoded<'_>> = parts
        .iter()
        .filter_map(|(part, _)| Encoded::first(part))
        .collect();
    match how {
        Merge::Sum => encoded::sum(&mut reply, &replies),
        Merge::Concat => encoded::concat(&mut reply, &replies),
        Merge::Interleave => {
            let len = parts.iter().map(|(_, places)| places.len()).sum();
            let placed: Vec<(Encoded<'_>, &[u32])> = replies
                .into_iter()
                .zip(parts.iter().map(|(_, places)| places.as_slice()))
                .collect();
            encoded::interleave(&mut reply, len, &placed);
        }
        Merge::Same => {
            let chosen = encoded::first_error(&replies).or(replies.first());
            if let Some(chosen) = chosen {
                let range = chosen.range();
                let from = chosen.output();
                out.append_range(from, range);
            }
        }
    }
    out
}
