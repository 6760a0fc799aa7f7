//! The slow log of one core, and how the slow logs of all cores read as one.
//!
//! Each core keeps its own newest entries. The newest n of the node are among the newest n of each core, so the merged
//! list, newest first and cut to the limit, is what one common log would hold; ids count the entries that the node ever
//! logged, and follow from the places in that list.
//!
//! Invariants:
//! - `entries` is ordered oldest first; a core's clock does not run backwards within it.
//! - `logged` never falls: SLOWLOG RESET forgets entries, not ids.

use std::collections::VecDeque;

/// Arguments kept of a line, the name and the note about the rest included.
const ARGS_MAX: usize = 32;
/// Bytes kept of an argument.
const ARG_BYTES_MAX: usize = 128;

/// One slow line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    /// Wall clock when it ended, microseconds since 1970.
    pub wall_us: i64,
    /// How long it ran, microseconds.
    pub duration_us: u64,
    /// The line, long arguments and long lines clipped.
    pub args: Vec<Box<[u8]>>,
    /// The client's address.
    pub addr: Box<str>,
    /// The client's name.
    pub name: Box<[u8]>,
}

/// The newest slow lines of one core.
#[derive(Clone, Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<SlowEntry>,
    logged: u64,
}

impl SlowLog {
    /// Adds an entry and drops the oldest beyond `entries_max`.
    pub fn push(&mut self, entry: SlowEntry, entries_max: usize) {
        self.logged += 1;
        self.entries.push_back(entry);
        self.trim(entries_max);
    }

    /// Drops the oldest entries beyond `entries_max`.
    pub fn trim(&mut self, entries_max: usize) {
        let excess = self.entries.len().saturating_sub(entries_max);
        self.entries.drain(..excess);
    }

    /// The number of entries kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No entry is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of entries ever added.
    pub fn logged(&self) -> u64 {
        self.logged
    }

    /// The `count` newest entries, oldest first.
    pub fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.entries
            .iter()
            .skip(self.entries.len().saturating_sub(count))
            .cloned()
            .collect()
    }

    /// Forgets all entries.
    pub fn reset(&mut self) {
        self.entries.clear();
    }
}

/// The line as the slow log keeps it.
pub fn clip<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Box<[u8]>> {
    let len = args.len();
    let kept = if len > ARGS_MAX { ARGS_MAX - 1 } else { len };
    let mut clipped: Vec<Box<[u8]>> = args.take(kept).map(clip_arg).collect();
    if len > kept {
        clipped.push(
            format!("... ({} more arguments)", len - kept)
                .into_bytes()
                .into(),
        );
    }
    clipped
}

fn clip_arg(arg: &[u8]) -> Box<[u8]> {
    if arg.len() <= ARG_BYTES_MAX {
        return arg.into();
    }
    let mut clipped = arg[..ARG_BYTES_MAX].to_vec();
    clipped.extend_from_slice(format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes());
    clipped.into()
}

/// One log of the cores' newest entries, newest first with their ids. `logged` is the sum over the cores.
pub fn merge(parts: Vec<Vec<SlowEntry>>, logged: u64, count: usize) -> Vec<(u64, SlowEntry)> {
    let mut entries: Vec<(usize, usize, SlowEntry)> = Vec::new();
    for (core, part) in parts.into_iter().enumerate() {
        entries.extend(
            part.into_iter()
                .enumerate()
                .map(|(place, entry)| (core, place, entry)),
        );
    }
    entries.sort_by_key(|(core, place, entry)| std::cmp::Reverse((entry.wall_us, *core, *place)));
    entries.truncate(count);
    let ids = (0..logged).rev();
    ids.zip(entries.into_iter().map(|(_, _, entry)| entry))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(wall_us: i64) -> SlowEntry {
        SlowEntry {
            wall_us,
            duration_us: 1,
            args: Vec::new(),
            addr: "".into(),
            name: Box::default(),
        }
    }

    #[test]
    fn long_lines_are_clipped_as_redis_does() {
        let long = [b'x'; 130];
        assert_eq!(
            &*clip([&long[..]].into_iter())[0],
            [&[b'x'; 128][..], b"... (2 more bytes)"].concat()
        );
        assert_eq!(clip([&b"a"[..]; 32].into_iter()).len(), 32);
        let clipped = clip([&b"a"[..]; 33].into_iter());
        assert_eq!(clipped.len(), 32);
        assert_eq!(&*clipped[31], b"... (2 more arguments)");
    }

    #[test]
    fn the_oldest_are_dropped_and_ids_go_on() {
        let mut log = SlowLog::default();
        for at in 0..5 {
            log.push(entry(at), 3);
        }
        assert_eq!((log.len(), log.logged()), (3, 5));
        let merged = merge(vec![log.newest(10)], log.logged(), 2);
        let ids: Vec<_> = merged
            .iter()
            .map(|(id, entry)| (*id, entry.wall_us))
            .collect();
        assert_eq!(ids, [(4, 4), (3, 3)]);
        log.reset();
        log.push(entry(9), 3);
        assert_eq!(merge(vec![log.newest(10)], log.logged(), 10)[0].0, 5);
        log.trim(0);
        assert!(log.is_empty());
    }

    #[test]
    fn cores_read_as_one_log() {
        let parts = vec![vec![entry(1), entry(4)], vec![entry(2), entry(3)]];
        let merged = merge(parts, 4, 3);
        let seen: Vec<_> = merged
            .iter()
            .map(|(id, entry)| (*id, entry.wall_us))
            .collect();
        assert_eq!(seen, [(3, 4), (2, 3), (1, 2)]);
    }
}
