//! The owner's side of lines that wait for keys: rounds.
//!
//! When a line has changed a key that somebody waits for, the key is claimed at once (`Reservations::claim_first`), so that
//! nobody takes what was put there. When whoever holds the key is done, be it the line alone or the EXEC around it, the claim is
//! granted and the *round* begins: in the order of arrival each line that the key can serve is offered to its session's
//! core and, when that accepts, run again here. The round ends when the key can serve nobody any more.
//!
//! - A line that only reads takes nothing from others: it is served without asking, and a reply that nobody waits for is dropped.
//! - A line that needs other keys of this shard gets a round of its own, which claims all that it needs, behind who waits
//!   already: a claim that goes first must be for one key.
//! - A line that needs keys of other shards is tried as a new one, through the orderer. The key is *not* held for it: who stands
//!   before it in the order of transactions may need both keys, and would wait for the held one for ever. So another client
//!   may come first; the line then keeps its place, and those behind it wait until that is known.

use super::Core;
use crate::log::LogStep;
use crate::mesh::{Claim, Head, Message, Others, Ticket, Verdict, Waiter, WaiterId};
use crate::resp::{Line, Output};
use crate::session::blocking::NewWait;
use crate::shard::mark;
use crate::shard::reserve::{ClaimId, Claimant};

/// A round on one key.
pub(super) struct Round {
    claim: ClaimId,
    db: usize,
    key: Box<[u8]>,
    /// The claim covers what this line needs, and is for it alone.
    only: Option<WaiterId>,
    /// Lines before this place had their turn.
    from: u64,
    /// Whose turn it is, and whether it is to be tried anew.
    asked: Option<(WaiterId, bool)>,
}

/// What comes next in a round.
enum Turn {
    /// Ask the line's core; whether it is to be tried anew.
    Ask(bool),
    /// Run it.
    Run,
    /// It needs a claim on all of these.
    Claim(Vec<u64>),
}

impl Core {
    /// A line of a session of `core` that ran on the own shard waits: keeps it. Returns what its session's core must know.
    pub(super) fn wait_for_keys(&mut self, core: usize, head: &Head, line: &Line<'_>) -> NewWait {
        let block = self.shard.effects.block.take();
        let block = block.expect("a blocked line says what it waits for");
        let waiter = self.shard.waiter(self.registry, core, head, line, &block);
        self.await_here(waiter);
        NewWait {
            ticket: head.ticket,
            command: head.command,
            timeout_ms: block.timeout_ms,
            owners: vec![self.place.index],
            line: None,
        }
    }

    /// As [`Core::wait_for_keys`], and tells that core.
    #[cold]
    pub(super) fn wait_and_tell(&mut self, core: usize, head: &Head, line: &Line<'_>) {
        let wait = self.wait_for_keys(core, head, line);
        if core == self.place.index {
            self.waits(wait);
        } else {
            self.send(
                core,
                Message::Waits(wait.ticket, wait.command, wait.timeout_ms),
            );
        }
    }

    /// A line waits for keys of the own shard.
    pub(super) fn await_here(&mut self, waiter: Waiter) {
        self.shard.waiters.add(waiter);
        self.weigh_listening();
        self.begin_rounds();
    }

    /// A line of `core` waits no more.
    pub(super) fn forget_here(&mut self, core: usize, ticket: Ticket) {
        let core = core as u16;
        self.shard.waiters.remove(WaiterId { core, ticket });
        self.weigh_listening();
        self.begin_rounds();
    }

    /// A line of `core` missed an offer, and could take it now.
    pub(super) fn recheck(&mut self, core: usize, ticket: Ticket) {
        let core = core as u16;
        self.shard.waiters.signal_all(WaiterId { core, ticket });
        self.begin_rounds();
    }

    /// Claims the keys that have changed and can serve somebody.
    pub(super) fn begin_rounds(&mut self) {
        while self.shard.waiters.has_signalled() {
            for (db, key) in self.shard.waiters.take_signalled() {
                self.begin_round(db, key);
            }
        }
    }

    fn begin_round(&mut self, db: usize, key: Box<[u8]>) {
        let shard = &mut self.shard;
        let found = shard.keyspace.key(&key);
        let mark = mark(db, found.hash);
        // What somebody else holds may change, or be away: then the round looks.
        if shard.reservations.admits(&[mark], false, true) {
            let entry = shard.keyspace.inspect(db, found);
            if shard.waiters.candidate(db, &key, entry, 0).is_none() {
                return;
            }
        }
        shard.waiters.claim(db, &key);
        shard.claim_first(mark, Claimant::Offer(db, key, None));
    }

    /// A claim for waiting lines is granted.
    pub(super) fn start_round(
        &mut self,
        claim: ClaimId,
        db: usize,
        key: Box<[u8]>,
        only: Option<WaiterId>,
    ) {
        let mut from = 0;
        if let Some(only) = only {
            self.shard.waiters.claim(db, &key);
            // Who stands before it had his turn in the round that made the claim. One of them may be busy with an offer of
            // another owner: looked at again he would be in the way until the next message, which cannot come before this ends.
            from = self.shard.waiters.tried(only).unwrap_or(0);
        }
        self.go_round(Round {
            claim,
            db,
            key,
            only,
            from,
            asked: None,
        });
    }

    /// Goes on with a round until it is over, or until a core must be asked.
    fn go_round(&mut self, mut round: Round) {
        loop {
            let Some((id, place, turn)) = self.next_turn(&round) else {
                let again =
                    round.only.is_none() && self.shard.waiters.take_changed(round.db, &round.key);
                if again {
                    round.from = 0;
                    continue;
                }
                break;
            };
            round.from = place + 1;
            match turn {
                Turn::Claim(keys) => {
                    self.shard.waiters.try_anew(id);
                    let mut claim = Claim {
                        keys,
                        write: true,
                        ..Claim::default()
                    };
                    claim.finish();
                    let claimant = Claimant::Offer(round.db, round.key.clone(), Some(id));
                    self.shard.claim(claim, claimant);
                    break;
                }
                Turn::Run => self.serve(&round, id),
                Turn::Ask(anew) => {
                    round.asked = Some((id, anew));
                    let (core, own) = (id.core as usize, self.place.index);
                    if core != own {
                        let number = self.next_round;
                        self.next_round += 1;
                        self.send(core, Message::Offer(number, id.ticket, anew));
                        self.rounds.insert(number, round);
                        return;
                    }
                    let verdict = self.verdict(own, id.ticket, anew);
                    if !self.judge(&round, verdict) {
                        break;
                    }
                }
            }
        }
        self.end_round(round);
    }

    /// Whose turn it is, and how it is served.
    fn next_turn(&self, round: &Round) -> Option<(WaiterId, u64, Turn)> {
        let shard = &self.shard;
        let key = shard.keyspace.key(&round.key);
        let entry = shard.keyspace.inspect(round.db, key);
        let (waiter, place) = shard
            .waiters
            .candidate(round.db, &round.key, entry, round.from)?;
        let id = waiter.id;
        if round.only.is_some_and(|only| only != id) {
            return None;
        }
        let turn = match &waiter.others {
            Others::Elsewhere => Turn::Ask(true),
            Others::Here(marks) if round.only.is_none() => {
                let own = mark(round.db, key.hash);
                Turn::Claim(marks.iter().copied().chain([own]).collect())
            }
            _ if waiter.writes => Turn::Ask(false),
            _ => Turn::Run,
        };
        Some((id, place, turn))
    }

    /// The core that a round had asked has answered.
    pub(super) fn offer_answered(&mut self, number: u64, verdict: Verdict) {
        let round = self.rounds.remove(&number);
        let round = round.expect("a round waits for its answer");
        if self.judge(&round, verdict) {
            self.go_round(round);
        } else {
            self.end_round(round);
        }
        self.run_ready();
    }

    /// Does what a core said. False when nobody else has his turn in this round.
    fn judge(&mut self, round: &Round, verdict: Verdict) -> bool {
        let (id, anew) = round.asked.expect("somebody was asked");
        match verdict {
            Verdict::Accepted if anew => {
                self.shard.waiters.try_anew(id);
                return false;
            }
            Verdict::Accepted => self.serve(round, id),
            Verdict::Gone => {
                self.shard.waiters.remove(id);
            }
            Verdict::Busy => {}
        }
        true
    }

    /// Runs a line again, on the key of the round.
    fn serve(&mut self, round: &Round, id: WaiterId) {
        let Some((waiter, place)) = self.shard.waiters.remove(id) else {
            return;
        };
        let mut out = Output::default();
        let (head, line) = (waiter.line.head, waiter.line.line());
        self.shard.enter(round.claim, LogStep::default());
        let ran = self.run_woken(id.core as usize, &head, &line, Some(&round.key), &mut out);
        self.shard.lane.leave();
        if ran.ns >= self.slow_ns
            && !ran.blocked
            && let Some(entry) = self.slow_entry(head.command, &line, ran.ns)
        {
            if id.core as usize == self.place.index {
                self.keep_slow_of(id.ticket, entry);
            } else {
                self.outboxes[id.core as usize].push_late_slow(id.ticket, entry);
            }
        }
        let asked = waiter.writes;
        if ran.blocked {
            self.shard.effects.block = None;
            self.shard.waiters.restore(waiter, place);
            if !asked {
                return;
            }
        }
        let reply = (!ran.blocked).then_some(out);
        if id.core as usize == self.place.index {
            self.served(self.place.index, id.ticket, reply.as_ref());
        } else {
            self.send(id.core as usize, Message::Served(id.ticket, reply));
        }
    }

    fn end_round(&mut self, round: Round) {
        self.shard.waiters.finish(round.db, &round.key);
        if round.only.is_some() {
            self.shard.waiters.signal(round.db, &round.key);
        }
        self.begin_rounds();
        self.shard.release(round.claim);
        self.weigh_listening();
    }
}
