//! Reservations of one shard: who may touch which keys, in the order of arrival.
//!
//! Transactions over several shards reserve their keys on each; lines that meet a reserved key wait in line. A waiting line
//! is treated as a transaction of one step. Per key there is a queue; whoever is at its head (or behind readers only,
//! being a reader) holds the key; who holds all of its keys is ready.
//!
//! ```text
//!   key a:  T7(w)  L(r)  L(r)  T9(w)        T7 holds a and waits for b; T8 holds b.
//!   key b:  T8(r)  T7(w)                    When T8 releases, T7 is ready.
//! ```
//!
//! A claim on the whole shard is a barrier: it is ready when all before it are gone, and all after it wait behind it.
//!
//! A claim for lines that wait for a key goes first: behind those who hold the key, before those who wait for it, so that what
//! was put there is not taken by who came later. It cannot close a circle: it is for one key, and whoever holds that key waits for
//! nobody but those before him in the order.
//!
//! Invariants:
//! - Claims are granted per key in the order in which they came. As all shards see transactions in one order (the orderer's),
//!   no two transactions ever wait for each other.
//! - A key's queue exists only while somebody holds or waits: an idle shard has no queues, and the fast path is one test.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::command::cx::VisitPart;
use crate::log::{Lane, SlotId};
use crate::mesh::{Claim, ExecLines, OwnedLine, TxnId, WaiterId};

/// Identifies a claim until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimId(u32);

/// Who claims.
pub enum Claimant {
    /// A transaction over several shards, with what it runs here as soon as it holds its keys.
    Txn(TxnId, Option<Box<OwnedLine>>),
    /// A line of this shard alone, from the given core.
    Line(usize, Box<OwnedLine>),
    /// The lines of an EXEC of this shard alone, from the given core.
    Exec(usize, Box<ExecLines>),
    /// A transaction over several shards whose client watches keys here.
    Watcher(TxnId, u64),
    /// A visit of this shard, from the given core: it must not see the data while some of it is lent.
    Visit(usize, u64, VisitPart),
    /// The replication shard: an instant at which nothing runs on any shard.
    Cut,
    /// Active expiry, while what is deleted is logged: a key that somebody holds has its place in the log.
    Expiry,
    /// A key of a database that lines wait for has changed: a round of offers. With a line, the claim covers all that this line
    /// needs, and the round is for it alone.
    Offer(usize, Box<[u8]>, Option<WaiterId>),
}

/// Key marks are hashes already.
#[derive(Default)]
struct MarkHasher(u64);

impl Hasher for MarkHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("marks are u64");
    }
    fn write_u64(&mut self, mark: u64) {
        self.0 = mark;
    }
}

struct Pending {
    claim: Claim,
    claimant: Option<Claimant>,
    /// Keys that it does not hold yet.
    missing: usize,
    /// Its place in the shard's lane.
    slot: Option<SlotId>,
}

#[derive(Clone, Copy)]
struct Waiting {
    id: u32,
    write: bool,
    held: bool,
}

/// All reservations of one shard.
#[derive(Default)]
pub struct Reservations {
    pending: Vec<Option<Pending>>,
    free: Vec<u32>,
    live: usize,
    queues: HashMap<u64, VecDeque<Waiting>, BuildHasherDefault<MarkHasher>>,
    /// The claim on the whole shard that holds it or is next to.
    barrier: Option<u32>,
    /// What came after the barrier.
    behind: VecDeque<(Claim, Claimant)>,
    ready: VecDeque<(ClaimId, Claimant)>,
}

impl Reservations {
    /// Nobody holds or waits for anything.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.live == 0
    }

    /// A line on these keys may run now without claiming them.
    pub fn admits(&self, marks: &[u64], whole: bool, write: bool) -> bool {
        if self.live == 0 {
            return true;
        }
        if self.barrier.is_some() || whole {
            return false;
        }
        marks.iter().all(|mark| match self.queues.get(mark) {
            None => true,
            Some(queue) => !write && queue.iter().all(|waiting| !waiting.write),
        })
    }

    /// Adds a claim. It comes out of [`Reservations::next_ready`] once it holds everything. What it logs has its place in `lane`
    /// from now on.
    pub fn claim(&mut self, claim: Claim, claimant: Claimant, lane: &mut Lane) {
        debug_assert!(
            claim.keys.is_sorted_by(|a, b| a < b),
            "a claim's keys are sorted and distinct"
        );
        if self.barrier.is_some() {
            self.behind.push_back((claim, claimant));
            return;
        }
        let id = self.new_id();
        let mut missing = 0;
        if claim.whole {
            self.barrier = Some(id);
            missing = usize::from(self.live > 0);
        } else {
            for &mark in &claim.keys {
                let queue = self.queues.entry(mark).or_default();
                let held = queue.iter().all(|before| !claim.write && !before.write);
                missing += usize::from(!held);
                queue.push_back(Waiting {
                    id,
                    write: claim.write,
                    held,
                });
            }
        }
        let slot = match &claimant {
            Claimant::Txn(txn, _) | Claimant::Watcher(txn, _) => {
                lane.open(claim.write.then_some(*txn))
            }
            Claimant::Line(..) | Claimant::Exec(..) | Claimant::Offer(..) => lane.open(None),
            Claimant::Visit(..) | Claimant::Cut | Claimant::Expiry => None,
        };
        self.enter(id, claim, claimant, missing, slot);
    }

    fn new_id(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.pending.push(None);
            (self.pending.len() - 1) as u32
        })
    }

    /// Keeps a claim that stands in its queues; `missing` keys it does not hold yet.
    fn enter(
        &mut self,
        id: u32,
        claim: Claim,
        claimant: Claimant,
        missing: usize,
        slot: Option<SlotId>,
    ) {
        self.live += 1;
        let mut pending = Pending {
            claim,
            claimant: Some(claimant),
            missing,
            slot,
        };
        if missing == 0 {
            let claimant = pending.claimant.take().expect("just put there");
            self.ready.push_back((ClaimId(id), claimant));
        }
        self.pending[id as usize] = Some(pending);
    }

    /// A claim's place in the lane.
    pub fn slot(&self, id: ClaimId) -> Option<SlotId> {
        self.pending[id.0 as usize].as_ref()?.slot
    }

    /// Adds a claim on one key for writing, before all who wait for that key. What it logs stands behind what the holder does.
    pub fn claim_first(&mut self, mark: u64, claimant: Claimant, lane: &mut Lane) {
        let claim = Claim {
            keys: vec![mark],
            write: true,
            ..Claim::default()
        };
        let missing = |id: u32| self.pending[id as usize].as_ref().map(|held| held.missing);
        if self.barrier.and_then(missing) == Some(0) {
            let first = self
                .behind
                .iter()
                .take_while(|(_, claimant)| matches!(claimant, Claimant::Offer(.., None)))
                .count();
            self.behind.insert(first, (claim, claimant));
            return;
        }
        let id = self.new_id();
        let queue = self.queues.entry(mark).or_default();
        let place = queue.iter().take_while(|waiting| waiting.held).count();
        let holder = place.checked_sub(1).map(|last| queue[last].id);
        let waiting = Waiting {
            id,
            write: true,
            held: holder.is_none(),
        };
        queue.insert(place, waiting);
        let slot = match holder {
            Some(holder) => lane.open_behind(self.slot(ClaimId(holder))),
            None => lane.open(None),
        };
        self.enter(id, claim, claimant, usize::from(holder.is_some()), slot);
    }

    /// Some claim holds all it wants and has not been told.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next claim that holds all it wants.
    pub fn next_ready(&mut self) -> Option<(ClaimId, Claimant)> {
        self.ready.pop_front()
    }

    /// Gives back what a granted claim held.
    pub fn release(&mut self, id: ClaimId, lane: &mut Lane) {
        let pending = self.pending[id.0 as usize]
            .take()
            .expect("a claim is released once");
        debug_assert!(pending.missing == 0 && pending.claimant.is_none());
        lane.close(pending.slot);
        self.free.push(id.0);
        self.live -= 1;
        if self.barrier == Some(id.0) {
            self.barrier = None;
            debug_assert!(self.live == 0 && self.queues.is_empty());
            while self.barrier.is_none()
                && let Some((claim, claimant)) = self.behind.pop_front()
            {
                self.claim(claim, claimant, lane);
            }
            return;
        }
        for &mark in &pending.claim.keys {
            self.leave(mark, id.0);
        }
        if self.live == 1
            && let Some(barrier) = self.barrier
        {
            self.gained(barrier);
        }
    }

    /// Takes a claim out of a key's queue and passes the key on.
    fn leave(&mut self, mark: u64, id: u32) {
        let queue = self.queues.get_mut(&mark).expect("a held key has a queue");
        let at = queue
            .iter()
            .position(|waiting| waiting.id == id)
            .expect("a holder stands in its queue");
        queue.remove(at);
        if queue.is_empty() {
            self.queues.remove(&mark);
            return;
        }
        let mut gained = Vec::new();
        let mut readers_only = true;
        for (place, waiting) in queue.iter_mut().enumerate() {
            let may = if waiting.write {
                place == 0
            } else {
                readers_only
            };
            readers_only &= !waiting.write;
            if !may {
                break;
            }
            if !waiting.held {
                waiting.held = true;
                gained.push(waiting.id);
            }
        }
        for id in gained {
            self.gained(id);
        }
    }

    fn gained(&mut self, id: u32) {
        let pending = self.pending[id as usize]
            .as_mut()
            .expect("a waiting claim is pending");
        pending.missing -= 1;
        if pending.missing == 0 {
            let claimant = pending.claimant.take().expect("a claim becomes ready once");
            self.ready.push_back((ClaimId(id), claimant));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(number: u64) -> Claimant {
        Claimant::Txn(TxnId { core: 0, number }, None)
    }

    fn claim(keys: &[u64], write: bool) -> Claim {
        Claim {
            keys: keys.to_vec(),
            write,
            ..Claim::default()
        }
    }

    fn whole() -> Claim {
        Claim {
            whole: true,
            write: true,
            ..Claim::default()
        }
    }

    fn ready(reservations: &mut Reservations) -> Option<(ClaimId, u64)> {
        reservations
            .next_ready()
            .map(|(id, claimant)| match claimant {
                Claimant::Txn(txn, _) => (id, txn.number),
                _ => unreachable!(),
            })
    }

    #[test]
    fn conflicting_claims_are_granted_in_order() {
        let (mut all, mut lane) = (Reservations::default(), Lane::default());
        all.claim(claim(&[1, 2], true), txn(1), &mut lane);
        all.claim(claim(&[2, 3], true), txn(2), &mut lane);
        all.claim(claim(&[4], true), txn(3), &mut lane);
        let (first, number) = ready(&mut all).unwrap();
        assert_eq!(number, 1);
        assert_eq!(ready(&mut all).unwrap().1, 3);
        assert!(ready(&mut all).is_none());
        assert!(!all.admits(&[3], false, false));
        assert!(all.admits(&[5], false, true));
        all.release(first, &mut lane);
        assert_eq!(ready(&mut all).unwrap().1, 2);
    }

    #[test]
    fn readers_share_and_a_writer_waits_for_all_of_them() {
        let (mut all, mut lane) = (Reservations::default(), Lane::default());
        all.claim(claim(&[1], false), txn(1), &mut lane);
        all.claim(claim(&[1], false), txn(2), &mut lane);
        all.claim(claim(&[1], true), txn(3), &mut lane);
        all.claim(claim(&[1], false), txn(4), &mut lane);
        let (first, _) = ready(&mut all).unwrap();
        let (second, _) = ready(&mut all).unwrap();
        assert!(ready(&mut all).is_none());
        all.release(second, &mut lane);
        assert!(ready(&mut all).is_none());
        all.release(first, &mut lane);
        let (third, number) = ready(&mut all).unwrap();
        assert_eq!(number, 3);
        assert!(ready(&mut all).is_none());
        all.release(third, &mut lane);
        assert_eq!(ready(&mut all).unwrap().1, 4);
    }

    #[test]
    fn who_goes_first_stands_behind_the_holder_only() {
        let (mut all, mut lane) = (Reservations::default(), Lane::default());
        all.claim(claim(&[1], true), txn(1), &mut lane);
        all.claim(claim(&[1, 2], true), txn(2), &mut lane);
        all.claim_first(1, txn(3), &mut lane);
        all.claim_first(1, txn(4), &mut lane);
        all.claim(whole(), txn(5), &mut lane);
        all.claim_first(2, txn(6), &mut lane);
        let (first, number) = ready(&mut all).unwrap();
        assert_eq!(number, 1);
        assert!(ready(&mut all).is_none());
        all.release(first, &mut lane);
        for number in [4, 3, 2, 6] {
            let (id, found) = ready(&mut all).unwrap();
            assert_eq!(found, number);
            assert!(ready(&mut all).is_none());
            all.release(id, &mut lane);
        }
        let (barrier, number) = ready(&mut all).unwrap();
        assert_eq!(number, 5);
        all.claim(claim(&[1], true), txn(7), &mut lane);
        all.claim_first(1, txn(8), &mut lane);
        assert!(ready(&mut all).is_none());
        all.release(barrier, &mut lane);
        let (last, number) = ready(&mut all).unwrap();
        assert_eq!(number, 8, "first behind a barrier, too");
        all.release(last, &mut lane);
        let (last, _) = ready(&mut all).unwrap();
        all.release(last, &mut lane);
        assert!(all.is_idle());
    }

    #[test]
    fn a_whole_claim_is_a_barrier() {
        let (mut all, mut lane) = (Reservations::default(), Lane::default());
        all.claim(claim(&[1], false), txn(1), &mut lane);
        all.claim(whole(), txn(2), &mut lane);
        all.claim(claim(&[9], false), txn(3), &mut lane);
        all.claim(whole(), txn(4), &mut lane);
        all.claim(claim(&[9], false), txn(5), &mut lane);
        let (first, _) = ready(&mut all).unwrap();
        assert!(ready(&mut all).is_none());
        assert!(!all.admits(&[7], false, false));
        all.release(first, &mut lane);
        for number in 2..=5 {
            let (id, found) = ready(&mut all).unwrap();
            assert_eq!(found, number);
            assert!(ready(&mut all).is_none());
            all.release(id, &mut lane);
        }
        assert!(all.is_idle());
    }
}
