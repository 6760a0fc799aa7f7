//! Lines that wait for keys of one shard, in the order in which they came.
//!
//! Lives on a shard, which tells it every change of its keys; who serves the lines is the session core (`session::serving`).
//! Each key that somebody waits for has a queue. A line that any value of its type serves stands in the queue of that type,
//! so that who waits for something else costs nothing; a line with its own opinion ([`Ready`]) is asked.
//!
//! ```text
//!   db 0, key a:   lists   1 ── 4 ── 9          a list appears: 1, then 4, then 9
//!                  sorted  2                    a sorted set appears: 2
//!                  asking  3 ── 7               any change: 3 and 7 say whether it concerns them
//! ```
//!
//! Invariants:
//! - A line has one place in line for all of its keys here, and keeps it until it is removed: the number of its arrival.
//! - A key is in at most one round at a time ([`Waiters::claim`] to [`Waiters::finish`]); what changes meanwhile
//!   is noted for it.
//! - Behind a line that is being tried as a new one nobody is a candidate: it would be robbed.
//! - All steps are logarithmic in the lines that wait, but for those that are asked.
//!
//! [`Ready`]: crate::command::Ready

use std::collections::{BTreeMap, HashMap};

use crate::command::{WaitingCount, Write, class};
use crate::keyspace::{Entry, Type};
use crate::mesh::{Waiter, WaiterId};

/// A line and its place.
struct Waiting {
    waiter: Waiter,
    place: u64,
    /// It is being tried as a new line.
    tried: bool,
}

/// Who waits for one key, by their places.
#[derive(Default)]
struct Queue {
    plain: Vec<(Type, BTreeMap<u64, WaiterId>)>,
    asking: BTreeMap<u64, WaiterId>,
    /// Of those who are asked, how many want to hear that the key is gone.
    on_missing: usize,
    /// It stands among the signalled keys.
    signalled: bool,
    /// A round is under way, or its claim is.
    claimed: bool,
    /// The key changed since then.
    changed: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.asking.is_empty() && self.plain.iter().all(|(_, lines)| lines.is_empty())
    }

    fn lines(&mut self, waiter: &Waiter) -> &mut BTreeMap<u64, WaiterId> {
        if waiter.ready.is_some() {
            return &mut self.asking;
        }
        let at = match self.plain.iter().position(|(kind, _)| *kind == waiter.kind) {
            Some(at) => at,
            None => {
                self.plain.push((waiter.kind, BTreeMap::new()));
                self.plain.len() - 1
            }
        };
        &mut self.plain[at].1
    }
}

/// A key of a database.
type DbKey = (usize, Box<[u8]>);

/// All lines that wait for keys of one shard.
#[derive(Default)]
pub struct Waiters {
    waiting: HashMap<WaiterId, Waiting>,
    /// Per database and key.
    queues: HashMap<usize, HashMap<Box<[u8]>, Queue>>,
    next_place: u64,
    /// Keys that have changed and that no round has looked at since.
    signalled: Vec<DbKey>,
    count: WaitingCount,
}

impl Waiters {
    /// Nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How much waits here.
    pub fn count(&self) -> WaitingCount {
        self.count
    }

    /// A line waits. One that waits already keeps its place: it was tried and found nothing.
    pub fn add(&mut self, waiter: Waiter) {
        if let Some(known) = self.waiting.get_mut(&waiter.id) {
            known.tried = false;
            self.signal_all(waiter.id);
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.put(Waiting {
            waiter,
            place,
            tried: false,
        });
    }

    /// Takes a line out, with its place. Whoever it held up has his turn.
    pub fn remove(&mut self, id: WaiterId) -> Option<(Waiter, u64)> {
        if self.waiting.get(&id)?.tried {
            self.signal_all(id);
        }
        let Waiting { waiter, place, .. } = self.waiting.remove(&id)?;
        for (db, key) in &waiter.keys {
            let Some(of_db) = self.queues.get_mut(db) else {
                continue;
            };
            if let Some(queue) = of_db.get_mut(key) {
                let left = queue.lines(&waiter).remove(&place).is_some();
                if left && hears_of_missing(&waiter, key) {
                    queue.on_missing -= 1;
                    self.count.keys_on_missing -= usize::from(queue.on_missing == 0);
                }
                if queue.is_empty() && !queue.claimed {
                    of_db.remove(key);
                    self.count.keys -= 1;
                }
            }
            if of_db.is_empty() {
                self.queues.remove(db);
            }
        }
        Some((waiter, place))
    }

    /// Puts a line that was taken out back in its place.
    pub fn restore(&mut self, waiter: Waiter, place: u64) {
        self.put(Waiting {
            waiter,
            place,
            tried: false,
        });
    }

    fn put(&mut self, waiting: Waiting) {
        let waiter = &waiting.waiter;
        for (db, key) in &waiter.keys {
            let of_db = self.queues.entry(*db).or_default();
            if !of_db.contains_key(key) {
                of_db.insert(key.clone(), Queue::default());
                self.count.keys += 1;
            }
            let queue = of_db.get_mut(key).expect("it is there now");
            let new = queue
                .lines(waiter)
                .insert(waiting.place, waiter.id)
                .is_none();
            if new && hears_of_missing(waiter, key) {
                queue.on_missing += 1;
                self.count.keys_on_missing += usize::from(queue.on_missing == 1);
            }
        }
        self.waiting.insert(waiter.id, waiting);
    }

    /// The line is tried as a new one: until it is added again or removed, nobody behind it is served.
    pub fn try_anew(&mut self, id: WaiterId) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.tried = true;
        }
    }

    /// The line is no longer tried as a new one. Its place, if it still waits.
    pub fn tried(&mut self, id: WaiterId) -> Option<u64> {
        let waiting = self.waiting.get_mut(&id)?;
        waiting.tried = false;
        Some(waiting.place)
    }

    /// The line's keys are looked at again.
    pub fn signal_all(&mut self, id: WaiterId) {
        let Some(waiting) = self.waiting.get(&id) else {
            return;
        };
        for (db, key) in &waiting.waiter.keys {
            if let Some(queue) = self.queues.get_mut(db).and_then(|keys| keys.get_mut(key)) {
                signal(queue, *db, key, &mut self.signalled);
            }
        }
    }

    /// Signals the keys that a line changed and that somebody waits for.
    pub fn changed(&mut self, write: &Write) {
        if write.class & class::KEY_MISS != 0 {
            return;
        }
        let Some(of_db) = self.queues.get_mut(&write.db) else {
            return;
        };
        if write.key.is_empty() && write.class == 0 {
            for (key, queue) in of_db {
                signal(queue, write.db, key, &mut self.signalled);
            }
        } else if let Some(queue) = of_db.get_mut(&write.key) {
            signal(queue, write.db, &write.key, &mut self.signalled);
        }
    }

    /// The keys that changed, in the order in which they did.
    pub fn take_signalled(&mut self) -> Vec<DbKey> {
        for (db, key) in &self.signalled {
            if let Some(queue) = self.queues.get_mut(db).and_then(|keys| keys.get_mut(key)) {
                queue.signalled = false;
            }
        }
        std::mem::take(&mut self.signalled)
    }

    /// Some key has changed that somebody waits for.
    #[inline]
    pub fn has_signalled(&self) -> bool {
        !self.signalled.is_empty()
    }

    /// A round for the key begins.
    pub fn claim(&mut self, db: usize, key: &[u8]) {
        if let Some(queue) = self.queue(db, key) {
            queue.claimed = true;
        }
    }

    /// The key changed since the round began, or since this was asked.
    pub fn take_changed(&mut self, db: usize, key: &[u8]) -> bool {
        self.queue(db, key)
            .is_some_and(|queue| std::mem::take(&mut queue.changed))
    }

    /// The key is looked at again, if somebody waits for it.
    pub fn signal(&mut self, db: usize, key: &[u8]) {
        if let Some(queue) = self.queues.get_mut(&db).and_then(|keys| keys.get_mut(key)) {
            signal(queue, db, key, &mut self.signalled);
        }
    }

    /// The round for the key is over.
    pub fn finish(&mut self, db: usize, key: &[u8]) {
        let Some(queue) = self.queue(db, key) else {
            return;
        };
        queue.claimed = false;
        if queue.is_empty() {
            let of_db = self.queues.get_mut(&db).expect("the queue was there");
            of_db.remove(key);
            self.count.keys -= 1;
            if of_db.is_empty() {
                self.queues.remove(&db);
            }
        }
    }

    /// The first line with a place at or behind `from` that the key can serve, its value being `entry`; with its place.
    /// `None` too when somebody before it is being tried.
    pub fn candidate(
        &self,
        db: usize,
        key: &[u8],
        entry: Option<&Entry>,
        from: u64,
    ) -> Option<(&Waiter, u64)> {
        let queue = self.queues.get(&db)?.get(key)?;
        let kind = entry.map(Entry::type_);
        let plain = queue
            .plain
            .iter()
            .find(|(of, _)| Some(*of) == kind)
            .and_then(|(_, lines)| lines.range(from..).next());
        let end = plain.map_or(u64::MAX, |(place, _)| *place);
        let asked = queue.asking.range(from..end).find(|(_, id)| {
            let waiting = &self.waiting[*id];
            let ready = waiting.waiter.ready.expect("who is asked has an opinion");
            waiting.tried || ready(entry, key, &waiting.waiter.line.line())
        });
        let (place, id) = asked.or(plain)?;
        let waiting = &self.waiting[id];
        (!waiting.tried).then_some((&waiting.waiter, *place))
    }

    /// The line, if it waits.
    pub fn get(&self, id: WaiterId) -> Option<&Waiter> {
        Some(&self.waiting.get(&id)?.waiter)
    }

    fn queue(&mut self, db: usize, key: &[u8]) -> Option<&mut Queue> {
        self.queues.get_mut(&db)?.get_mut(key)
    }
}

/// The line wants to hear that a key of its is gone.
fn hears_of_missing(waiter: &Waiter, key: &[u8]) -> bool {
    waiter
        .ready
        .is_some_and(|ready| ready(None, key, &waiter.line.line()))
}

fn signal(queue: &mut Queue, db: usize, key: &[u8], signalled: &mut Vec<DbKey>) {
    if queue.claimed {
        queue.changed = true;
    } else if !queue.signalled {
        queue.signalled = true;
        signalled.push((db, key.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Ready;
    use crate::mesh::{Head, Others, OwnedLine, Ticket};
    use crate::resp::Line;
    use crate::structures::list::List;

    fn waiter(number: u32, keys: &[&str], kind: Type, ready: Option<Ready>) -> Waiter {
        let ticket = Ticket {
            session: number,
            generation: 0,
            line: 0,
        };
        let head = Head {
            ticket,
            command: 0,
            db: 0,
            resp3: false,
            no_touch: false,
            tracks: false,
            leader: false,
            may_block: true,
            args: 0,
            hash: 0,
        };
        Waiter {
            id: WaiterId { core: 0, ticket },
            line: OwnedLine::new(head, &Line::new(&[], &[], &[])),
            keys: keys.iter().map(|key| (0, key.as_bytes().into())).collect(),
            kind,
            ready,
            others: Others::None,
            writes: true,
        }
    }

    fn id(number: u32) -> WaiterId {
        waiter(number, &[], Type::List, None).id
    }

    fn list() -> Entry {
        Entry::from_collection(b"a", List::default(), None, 0)
    }

    /// The number of the line that is served first at or behind a place.
    fn first(all: &Waiters, key: &str, entry: Option<&Entry>, from: u64) -> Option<(u32, u64)> {
        let (waiter, place) = all.candidate(0, key.as_bytes(), entry, from)?;
        Some((waiter.id.ticket.session, place))
    }

    fn change(all: &mut Waiters, key: &str) -> Vec<String> {
        all.changed(&Write {
            db: 0,
            key: key.as_bytes().into(),
            event: "",
            class: if key.is_empty() { 0 } else { class::GENERIC },
        });
        let signalled = all.take_signalled().into_iter();
        signalled
            .map(|(_, key)| String::from_utf8_lossy(&key).into_owned())
            .collect()
    }

    #[test]
    fn the_first_that_the_value_serves_comes_first_and_keeps_its_place() {
        let mut all = Waiters::default();
        all.add(waiter(1, &["a"], Type::SortedSet, None));
        all.add(waiter(2, &["b", "a", "b"], Type::List, None));
        all.add(waiter(3, &["a"], Type::List, None));
        assert_eq!(all.count().keys, 2);
        let list = list();
        assert_eq!(first(&all, "a", None, 0), None);
        assert_eq!(first(&all, "a", Some(&list), 0), Some((2, 1)));
        assert_eq!(first(&all, "a", Some(&list), 2), Some((3, 2)));
        let (taken, place) = all.remove(id(2)).unwrap();
        assert_eq!(first(&all, "a", Some(&list), 0), Some((3, 2)));
        assert_eq!(all.count().keys, 1);
        all.restore(taken, place);
        assert_eq!(first(&all, "a", Some(&list), 0), Some((2, 1)));
        assert_eq!(first(&all, "b", Some(&list), 0), Some((2, 1)));
        for number in 1..=3 {
            assert!(all.remove(id(number)).is_some());
            assert!(all.remove(id(number)).is_none());
        }
        assert!(all.is_empty() && all.queues.is_empty());
        assert_eq!(all.count(), WaitingCount::default());
    }

    #[test]
    fn who_has_an_opinion_is_asked() {
        let gone: Ready = |entry, _, _| entry.is_none();
        let mut all = Waiters::default();
        all.add(waiter(1, &["a"], Type::Stream, Some(gone)));
        all.add(waiter(2, &["a"], Type::List, None));
        assert_eq!(all.count().keys_on_missing, 1);
        assert_eq!(first(&all, "a", None, 0), Some((1, 0)));
        assert_eq!(first(&all, "a", Some(&list()), 0), Some((2, 1)));
        all.remove(id(1));
        assert_eq!(all.count().keys_on_missing, 0);
        assert_eq!(first(&all, "a", None, 0), None);
    }

    #[test]
    fn nobody_passes_a_line_that_is_tried_anew() {
        let mut all = Waiters::default();
        all.add(waiter(1, &["a"], Type::List, None));
        all.add(waiter(2, &["a"], Type::List, None));
        all.try_anew(id(1));
        assert_eq!(first(&all, "a", Some(&list()), 0), None);
        assert!(!all.has_signalled());
        all.add(waiter(1, &["a"], Type::List, None));
        assert!(
            all.has_signalled(),
            "it found nothing: the key is looked at"
        );
        assert_eq!(first(&all, "a", Some(&list()), 0), Some((1, 0)));
        all.take_signalled();
        all.try_anew(id(1));
        all.remove(id(1));
        assert!(all.has_signalled(), "it was served: the next has his turn");
        assert_eq!(first(&all, "a", Some(&list()), 0), Some((2, 1)));
    }

    #[test]
    fn keys_that_nobody_waits_for_are_not_signalled() {
        let mut all = Waiters::default();
        all.add(waiter(1, &["a", "b"], Type::List, None));
        assert_eq!(change(&mut all, "c"), [""; 0]);
        assert_eq!(change(&mut all, "a"), ["a"]);
        let mut whole = change(&mut all, "");
        whole.sort();
        assert_eq!(whole, ["a", "b"]);
    }

    #[test]
    fn what_changes_within_a_round_is_noted_for_it() {
        let mut all = Waiters::default();
        all.add(waiter(1, &["a"], Type::List, None));
        all.claim(0, b"a");
        assert_eq!(change(&mut all, "a"), [""; 0]);
        assert!(all.take_changed(0, b"a"));
        assert!(!all.take_changed(0, b"a"));
        all.remove(id(1));
        assert_eq!(all.count().keys, 1, "a round keeps its key");
        all.finish(0, b"a");
        assert_eq!(all.count().keys, 0);
        assert!(all.queues.is_empty());
    }
}
