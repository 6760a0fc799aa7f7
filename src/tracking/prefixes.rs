//! Who hears of which prefixes, and what has changed under them in this turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::SessionAt;
use crate::pubsub::Subscriber;

/// Keys under one prefix, in order, each with who changed it last (nobody when its time had come).
pub type Changes = Vec<(Arc<[u8]>, Option<SessionAt>)>;

/// The same while they are collected: a key is told once a turn.
type Changed = BTreeMap<Arc<[u8]>, Option<SessionAt>>;

/// What has changed under a prefix in one turn of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// The prefix.
    pub prefix: Arc<[u8]>,
    /// The keys.
    pub keys: Arc<Changes>,
}

#[derive(Debug)]
struct Members {
    here: BTreeSet<Subscriber>,
    /// How many sessions each core has; this core's own place is unused.
    elsewhere: Box<[u32]>,
}

/// The prefixes of the node, as one core knows them.
#[derive(Debug)]
pub(super) struct Prefixes {
    own: usize,
    cores: usize,
    members: HashMap<Arc<[u8]>, Members>,
    /// How many prefixes there are of each length: a key is looked up once for each.
    lengths: BTreeMap<usize, usize>,
    changed: BTreeMap<Arc<[u8]>, Changed>,
}

impl Prefixes {
    pub(super) fn new(own: usize, cores: usize) -> Prefixes {
        Prefixes {
            own,
            cores,
            members: HashMap::new(),
            lengths: BTreeMap::new(),
            changed: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    fn entry(&mut self, prefix: &Arc<[u8]>) -> &mut Members {
        let (cores, lengths) = (self.cores, &mut self.lengths);
        self.members.entry(prefix.clone()).or_insert_with(|| {
            *lengths.entry(prefix.len()).or_default() += 1;
            Members {
                here: BTreeSet::new(),
                elsewhere: vec![0; cores].into(),
            }
        })
    }

    fn shrink(&mut self, prefix: &[u8], change: impl FnOnce(&mut Members)) {
        let members = self.members.get_mut(prefix);
        let members = members.expect("a prefix with sessions is known");
        change(members);
        if !members.here.is_empty() || members.elsewhere.iter().any(|&count| count > 0) {
            return;
        }
        self.members.remove(prefix);
        self.changed.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    pub(super) fn join(&mut self, session: Subscriber, prefix: &Arc<[u8]>) {
        self.entry(prefix).here.insert(session);
    }

    pub(super) fn leave(&mut self, session: Subscriber, prefix: &[u8]) {
        self.shrink(prefix, |members| {
            members.here.remove(&session);
        });
    }

    pub(super) fn join_elsewhere(&mut self, core: usize, prefix: &Arc<[u8]>) {
        debug_assert!(core != self.own);
        self.entry(prefix).elsewhere[core] += 1;
    }

    pub(super) fn leave_elsewhere(&mut self, core: usize, prefix: &[u8]) {
        self.shrink(prefix, |members| members.elsewhere[core] -= 1);
    }

    /// A key has changed: it is noted under each of its prefixes.
    pub(super) fn changed(&mut self, key: &[u8], by: Option<SessionAt>) {
        let mut shared: Option<Arc<[u8]>> = None;
        for &len in self.lengths.keys().take_while(|&&len| len <= key.len()) {
            let Some((prefix, _)) = self.members.get_key_value(&key[..len]) else {
                continue;
            };
            let key = shared.get_or_insert_with(|| key.into()).clone();
            self.changed
                .entry(prefix.clone())
                .or_default()
                .insert(key, by);
        }
    }

    #[inline]
    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn take_broadcasts(&mut self) -> Vec<(usize, Broadcast)> {
        let mut broadcasts = Vec::new();
        for (prefix, keys) in std::mem::take(&mut self.changed) {
            let Some(members) = self.members.get(&prefix) else {
                continue;
            };
            let keys: Arc<Changes> = Arc::new(keys.into_iter().collect());
            for (core, &count) in members.elsewhere.iter().enumerate() {
                if count > 0 || (core == self.own && !members.here.is_empty()) {
                    let broadcast = Broadcast {
                        prefix: prefix.clone(),
                        keys: keys.clone(),
                    };
                    broadcasts.push((core, broadcast));
                }
            }
        }
        broadcasts
    }

    pub(super) fn members(&self, prefix: &[u8]) -> Vec<Subscriber> {
        let members = self.members.get(prefix);
        members.map_or_else(Vec::new, |members| members.here.iter().copied().collect())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let of = |(prefix, members): (&Arc<[u8]>, &Members)| {
            prefix.len()
                + size_of::<(Arc<[u8]>, Members)>()
                + members.here.len() * 2 * size_of::<Subscriber>()
                + members.elsewhere.len() * size_of::<u32>()
        };
        self.members.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(slot: u32) -> Subscriber {
        Subscriber {
            slot,
            generation: 0,
        }
    }

    /// What is broadcast, as `core prefix: keys`.
    fn broadcasts(prefixes: &mut Prefixes) -> Vec<String> {
        let all = prefixes.take_broadcasts();
        let shown = all.iter().map(|(core, broadcast)| {
            let keys = broadcast.keys.iter().map(|(key, by)| {
                let by = by.map_or(String::new(), |by| format!("({})", by.session.slot));
                format!(" {}{by}", key.escape_ascii())
            });
            let keys: String = keys.collect();
            format!("{core} {}:{keys}", broadcast.prefix.escape_ascii())
        });
        shown.collect()
    }

    #[test]
    fn every_prefix_of_a_key_hears_of_it_in_the_cores_that_listen() {
        let mut prefixes = Prefixes::new(0, 3);
        let by = |slot| {
            Some(SessionAt {
                core: 0,
                session: session(slot),
            })
        };
        prefixes.join(session(1), &b"a"[..].into());
        prefixes.join_elsewhere(2, &b"ab"[..].into());
        prefixes.join_elsewhere(1, &b"a"[..].into());
        for (key, slot) in [(&b"abc"[..], 1), (b"a", 2), (b"b", 3), (b"", 4), (b"a", 5)] {
            prefixes.changed(key, by(slot));
        }
        assert_eq!(
            broadcasts(&mut prefixes),
            ["0 a: a(5) abc(1)", "1 a: a(5) abc(1)", "2 ab: abc(1)"]
        );
        assert!(!prefixes.has_changes());
        prefixes.leave(session(1), b"a");
        prefixes.leave_elsewhere(1, b"a");
        prefixes.changed(b"ab", None);
        assert_eq!(broadcasts(&mut prefixes), ["2 ab: ab"]);
        prefixes.changed(b"ab", None);
        prefixes.leave_elsewhere(2, b"ab");
        assert!(prefixes.len() == 0 && prefixes.lengths.is_empty() && !prefixes.has_changes());
    }

    #[test]
    fn the_empty_prefix_hears_of_everything() {
        let mut prefixes = Prefixes::new(0, 1);
        prefixes.join(session(1), &b""[..].into());
        prefixes.changed(b"", None);
        prefixes.changed(b"x", None);
        assert_eq!(broadcasts(&mut prefixes), ["0 :  x"]);
    }
}
