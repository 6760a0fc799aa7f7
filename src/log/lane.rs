//! A shard's own stream of entries.
//!
//! Entries are in the order in which they must be applied, which is the order in which lines run, but for those that wait
//! for reservations. Such a line or transaction gets a *slot* when it begins to wait: its place in the lane. What runs
//! meanwhile touches other keys, so whether it stands before or behind the slot makes no difference. Nothing behind an open
//! slot leaves the shard.
//!
//! ```text
//!   sealed             slots
//!   SET a, INCR b  │  T7 (open)   SET c   line (open)   T8 (closed)
//! ```
//!
//! Why a place at once and not when it runs: all shards hear of transactions in one order, and so all lanes have them in
//! one order. Placed when they run, T7 could stand before T8 in one lane and behind it in another, and the merge,
//! which needs all parts of one together, would wait for ever.
//!
//! Invariants:
//! - While the lane is off there are no slots, and nothing costs anything.
//! - Slots close in any order, and leave in theirs.

use std::collections::VecDeque;

use super::chunk::{Chunk, Mark};
use super::{LogStep, TxnId};

/// A place in the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId {
    number: u64,
    /// Among those that were put behind the slot of that number; 0 is that slot itself.
    behind: usize,
}

#[derive(Debug)]
struct Slot {
    open: bool,
    /// The transaction over several shards that it belongs to.
    part: Option<TxnId>,
    entries: Chunk,
    /// Slots that were opened later and have their place right behind this one, before the next.
    behind: Vec<Slot>,
}

impl Slot {
    fn new(open: bool, part: Option<TxnId>) -> Slot {
        Slot {
            open,
            part,
            entries: Chunk::default(),
            behind: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        !self.open && self.behind.iter().all(|slot| !slot.open)
    }
}

/// Entries of one shard on their way out. Lives on the shard.
#[derive(Debug, Default)]
pub struct Lane {
    on: bool,
    sealed: Chunk,
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first_slot: u64,
    /// The slot whose line runs.
    current: Option<SlotId>,
    /// The step of its transaction.
    step: LogStep,
    /// Where the unit under way began: heads in the chunk that it goes to.
    unit: Option<usize>,
    /// Entries sealed since the lane was switched on.
    position: u64,
}

impl Lane {
    /// Entries are wanted.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Switches the lane on or off, at a cut: no slot is open. What was not taken is dropped.
    pub fn switch(&mut self, on: bool) {
        debug_assert!(self.slots.is_empty(), "a cut waits for all reservations");
        *self = Lane {
            on,
            first_slot: self.first_slot,
            position: self.position,
            ..Lane::default()
        };
    }

    /// Gives a claim its place, that of its part of `txn` if it is one over several shards which writes.
    pub fn open(&mut self, txn: Option<TxnId>) -> Option<SlotId> {
        if !self.on {
            return None;
        }
        self.slots.push_back(Slot::new(true, txn));
        Some(SlotId {
            number: self.first_slot + self.slots.len() as u64 - 1,
            behind: 0,
        })
    }

    /// Gives a claim a place right behind that of the claim which it waits for, before those who wait already.
    pub fn open_behind(&mut self, holder: Option<SlotId>) -> Option<SlotId> {
        let Some(SlotId { number, .. }) = holder else {
            return self.open(None);
        };
        let behind = &mut self.slots[(number - self.first_slot) as usize].behind;
        behind.push(Slot::new(true, None));
        Some(SlotId {
            number,
            behind: behind.len(),
        })
    }

    fn slot(&mut self, id: SlotId) -> &mut Slot {
        let slot = &mut self.slots[(id.number - self.first_slot) as usize];
        match id.behind {
            0 => slot,
            behind => &mut slot.behind[behind - 1],
        }
    }

    /// What is appended from now on belongs to this claim.
    pub fn enter(&mut self, slot: Option<SlotId>, step: LogStep) {
        self.current = slot;
        self.step = step;
    }

    /// What is appended from now on belongs to this step of the transaction.
    #[inline]
    pub fn set_step(&mut self, step: LogStep) {
        self.step = step;
    }

    /// The claim's line has run.
    pub fn leave(&mut self) {
        self.current = None;
    }

    /// The claim is released: its slot leaves when those before it do.
    pub fn close(&mut self, slot: Option<SlotId>) {
        let Some(slot) = slot else { return };
        self.slot(slot).open = false;
        while self.slots.front().is_some_and(Slot::is_done) {
            let mut slot = self.slots.pop_front().expect("there is a front");
            self.first_slot += 1;
            self.seal(&mut slot);
            for behind in &mut slot.behind {
                self.seal(behind);
            }
        }
    }

    fn seal(&mut self, slot: &mut Slot) {
        let count = slot.entries.entries();
        self.position += u64::from(count);
        if let Some(txn) = slot.part {
            // A part is a unit as a whole.
            self.sealed.mark(Mark::Part(txn, count));
            slot.entries.heads.retain(|head| head.mark == Mark::Entry);
        }
        self.sealed.append(&mut slot.entries);
    }

    /// The chunk that entries go to now.
    #[inline]
    fn target(&mut self) -> &mut Chunk {
        if let Some(slot) = self.current {
            return &mut self.slot(slot).entries;
        }
        if self.slots.is_empty() {
            return &mut self.sealed;
        }
        let extend = self
            .slots
            .back()
            .is_some_and(|slot| slot.is_done() && slot.part.is_none() && slot.behind.is_empty());
        if !extend {
            self.slots.push_back(Slot::new(false, None));
        }
        &mut self.slots.back_mut().expect("just seen or pushed").entries
    }

    /// Appends one entry: a line as a RESP array, which `write` writes.
    #[inline]
    pub fn append(&mut self, db: u16, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.on {
            return;
        }
        let step = self.step;
        if self.current.is_none() && self.slots.is_empty() {
            self.position += 1;
        }
        self.target().entry(db, step, write);
    }

    /// Appends entries that were encoded elsewhere, one RESP array behind the other. Several are one unit.
    pub fn append_encoded(&mut self, db: u16, encoded: &[u8]) {
        let lines = count_lines(encoded);
        let alone = self.unit.is_none() && lines > 1;
        if alone {
            self.begin_unit();
        }
        let mut rest = encoded;
        while !rest.is_empty() {
            let (line, behind) = rest.split_at(line_len(rest));
            self.append(db, |bytes| bytes.extend_from_slice(line));
            rest = behind;
        }
        if alone {
            self.end_unit();
        }
    }

    /// The entries up to [`Lane::end_unit`] leave together. Within a slot of a transaction over several shards that is so anyway.
    pub fn begin_unit(&mut self) {
        if self.on {
            let target = self.target();
            target.mark(Mark::Unit(0));
            let at = target.heads.len() - 1;
            self.unit = Some(at);
        }
    }

    /// A unit is under way.
    pub fn in_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// Ends the unit.
    pub fn end_unit(&mut self) {
        let Some(at) = self.unit.take() else { return };
        let target = self.target();
        let count = (target.heads.len() - at - 1) as u32;
        if count > 1 {
            target.heads[at].mark = Mark::Unit(count);
        } else {
            target.heads.remove(at);
        }
    }

    /// Nothing waits to be taken, and no slot is open.
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.slots.is_empty()
    }

    /// The entries that left so far, counted: what [`super::Merge::position`] of the lane comes to when they are merged.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What can leave.
    #[inline]
    pub fn take(&mut self) -> Option<Chunk> {
        if self.sealed.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut self.sealed))
    }
}

/// Bytes of the RESP array of bulk strings that `encoded` begins with. It was made by this process.
fn line_len(encoded: &[u8]) -> usize {
    let mut at = 0;
    let count = read_number(encoded, &mut at);
    for _ in 0..count {
        let len = read_number(encoded, &mut at);
        at += len + 2;
    }
    at
}

fn count_lines(mut encoded: &[u8]) -> usize {
    let mut count = 0;
    while !encoded.is_empty() {
        encoded = &encoded[line_len(encoded)..];
        count += 1;
    }
    count
}

/// Reads `*n\r\n` or `$n\r\n`.
fn read_number(encoded: &[u8], at: &mut usize) -> usize {
    let mut number = 0;
    *at += 1;
    while encoded[*at] != b'\r' {
        number = number * 10 + usize::from(encoded[*at] - b'0');
        *at += 1;
    }
    *at += 2;
    number
}
