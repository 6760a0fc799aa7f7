//! The session core's side of lines over several shards, and the shard's side of their steps.

use super::blocking::NewWait;
use super::{Blocked, Core, Session, SessionId};
use crate::command::{Block, CommandId};
use crate::keyspace::{ExpiryPolicy, OwnedEntry};
use crate::log::LogStep;
use crate::mesh::{Claim, Head, LentKey, Message, Others, OwnedLine, Returned, Share, TxnId};
use crate::resp::{Line, Output};
use crate::tracking::SessionAt;
use crate::txn::Txn;

impl Core {
    /// Starts a line over several shards, once all lines before it are answered. False when it must wait for them.
    pub(super) fn start_txn(
        &mut self,
        session: &mut Session,
        line: &Line<'_>,
        id: CommandId,
    ) -> bool {
        if !session.slots.is_empty() {
            session.blocked = Blocked::Drain;
            return false;
        }
        let head = Head {
            command: id,
            may_block: !session.is_leader(),
            args: line.len() as u32,
            ..session.head()
        };
        session.pend();
        session.blocked = Blocked::Away;
        let command = self.registry.get(id).command;
        let (txn, claims) = Txn::new(
            command,
            OwnedLine::new(head, line),
            self.planner.keys(),
            self.place.count,
        );
        let shares = claims
            .into_iter()
            .zip(txn.lines())
            .map(|((shard, claim), line)| Share { shard, claim, line });
        let id = self.order(shares.collect());
        self.txns.insert(id.number, txn);
        true
    }

    /// As [`Core::order`], of a transaction that does nothing before all shards have granted.
    pub(super) fn order_granting(&mut self, claims: Vec<(u16, Claim)>) -> TxnId {
        let share = |(shard, claim)| Share {
            shard,
            claim,
            line: None,
        };
        self.order(claims.into_iter().map(share).collect())
    }

    /// Asks the orderer for the place of a new transaction, and names it.
    pub(super) fn order(&mut self, shares: Vec<Share>) -> TxnId {
        let id = TxnId {
            core: self.place.index as u16,
            number: self.next_txn,
        };
        self.next_txn += 1;
        self.send(self.orderer, Message::Order(id, shares));
        id
    }

    fn txn(&mut self, id: TxnId) -> &mut Txn {
        debug_assert_eq!(id.core as usize, self.place.index);
        self.txns
            .get_mut(&id.number)
            .expect("a transaction lives until its last answer")
    }

    /// A shard granted one of this core's transactions.
    pub(super) fn txn_granted(&mut self, id: TxnId, broken: bool) {
        if self.execs.contains_key(&id.number) {
            self.exec_granted(id, broken);
        } else if let Some(messages) = self.txn(id).granted(id) {
            for (shard, message) in messages {
                self.send(shard, message);
            }
        }
    }

    /// A transaction's line for the own shard, which has just granted it. What is reserved stays so until all shards have done
    /// their part: nobody sees one part without the others.
    pub(super) fn txn_work(&mut self, id: TxnId, line: &OwnedLine) {
        let mut out = Output::default();
        self.enter(id, LogStep::default());
        let ran = self.run_here(id.core as usize, &line.head, &line.line(), &mut out);
        self.send(
            id.core as usize,
            Message::Worked(id, self.place.index as u16, out, ran.ns),
        );
        self.shard.lane.leave();
    }

    /// A shard answered its part of one of this core's transactions.
    pub(super) fn txn_worked(&mut self, id: TxnId, shard: u16, reply: Output, ns: u64) {
        if let Some(merged) = self.txn(id).worked(shard, reply, ns) {
            let txn = self.txns.remove(&id.number).expect("it was there");
            for (shard, message) in txn.release(id) {
                self.send(shard, message);
            }
            self.note_slow_txn(&txn);
            let len = merged.len();
            self.answer(txn.ticket, &merged, 0..len);
        }
    }

    /// A shard lent its entries. With the last of them the line runs here, and everything goes back.
    pub(super) fn txn_lent(&mut self, id: TxnId, shard: u16, entries: Vec<Option<OwnedEntry>>) {
        if self.execs.contains_key(&id.number) {
            self.exec_lent(id, shard, entries);
            return;
        }
        if !self.txn(id).lent(shard, entries) {
            return;
        }
        let mut txn = self.txns.remove(&id.number).expect("it was there");
        if self.follow(id, &mut txn) {
            self.txns.insert(id.number, txn);
            return;
        }
        if let Some(out) = self.run_lent(id, &mut txn, true) {
            let len = out.len();
            self.answer(txn.ticket, &out, 0..len);
        }
    }

    /// A line's own keys have all been lent: asks for those that the first one's value names. False when there are none, or all are there.
    pub(super) fn follow(&mut self, id: TxnId, txn: &mut Txn) -> bool {
        let planner = &self.planner;
        let messages = txn.follow(id, |key| planner.place(key));
        let waits = !messages.is_empty();
        for (shard, message) in messages {
            self.send(shard, message);
        }
        waits
    }

    /// Runs a line on its entries, which have all been lent, and sends them back. `None`: it has no reply, as it waits.
    pub(super) fn run_lent(&mut self, id: TxnId, txn: &mut Txn, release: bool) -> Option<Output> {
        let policy = self.scratch.keyspace.expiry_policy();
        if txn.line.head.leader {
            self.scratch
                .keyspace
                .set_expiry_policy(ExpiryPolicy::Ignore);
        }
        for (db, entry) in txn.take_lent() {
            self.scratch.keyspace.put(db, entry);
        }
        let mut out = Output::default();
        let (mut effects, ran) = self.run_on_scratch(&txn.line, &mut out);
        if let Some(block) = effects.block.take() {
            self.wait_everywhere(txn, &block);
        }
        txn.ns = ran.ns;
        self.note_slow_txn(txn);
        // What the line has not looked at goes back as it came, and expires where that is logged.
        let scratch = &mut self.scratch.keyspace;
        scratch.set_expiry_policy(ExpiryPolicy::Ignore);
        let messages = txn.give_back(id, effects, release, |lent: &LentKey| {
            let key = crate::keyspace::Key {
                bytes: &lent.key,
                hash: lent.hash,
            };
            scratch.take(lent.db, key)
        });
        self.scratch.keyspace.set_expiry_policy(policy);
        for (shard, message) in messages {
            self.send(shard, message);
        }
        (!ran.blocked).then_some(out)
    }

    /// A line whose keys have several owners waits: they hear of it before they get their entries back.
    #[cold]
    fn wait_everywhere(&mut self, txn: &Txn, block: &Block) {
        let waiters = txn.waiters(self.place.index, block);
        let needs_others = waiters
            .iter()
            .any(|(_, waiter)| waiter.others != Others::None);
        let wait = NewWait {
            ticket: txn.ticket,
            command: txn.line.head.command,
            timeout_ms: block.timeout_ms,
            owners: waiters.iter().map(|(shard, _)| *shard).collect(),
            line: needs_others.then(|| waiters[0].1.line.clone()),
        };
        for (shard, waiter) in waiters {
            if shard == self.place.index {
                self.await_here(waiter);
            } else {
                self.send(shard, Message::Await(Box::new(waiter)));
            }
        }
        self.waits(wait);
    }

    /// Entries that the own shard lent come back.
    pub(super) fn txn_returned(&mut self, id: TxnId, returned: Returned) {
        let by = SessionAt {
            core: id.core,
            session: SessionId::of(returned.ticket).into(),
        };
        if returned.tracks {
            for (lent, _) in &returned.entries {
                self.remember_read(&lent.key, by);
            }
        }
        self.shard.take_back(returned.entries);
        self.enter(id, LogStep::of(returned.step));
        // What expired when the entries were lent came before what was done with them.
        self.tell_expired();
        for expired in &returned.expired {
            self.shard.log_one_expired(&self.config, expired);
        }
        self.shard.lane.append_encoded(returned.db, &returned.log);
        self.shard.lane.leave();
        if !returned.writes.is_empty() {
            self.tell(&returned.writes, Some(by));
        }
        if returned.release {
            self.txn_release(id);
        }
    }

    fn note_slow_txn(&mut self, txn: &Txn) {
        if txn.ns >= self.slow_ns
            && let Some(entry) = self.slow_entry(txn.line.head.command, &txn.line.line(), txn.ns)
        {
            self.keep_slow_of(txn.ticket, entry);
        }
    }

    /// The own shard has done its part of a transaction.
    pub(super) fn txn_release(&mut self, id: TxnId) {
        let claim = self
            .granted
            .remove(&id)
            .expect("only a granted transaction works");
        self.shard.release(claim);
        self.tracking.tell_all();
        if self.has_news() {
            self.send_news(None);
        }
        self.run_ready();
    }
}
