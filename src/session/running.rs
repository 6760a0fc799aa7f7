//! What a core runs on its shard: lines of its sessions and of other cores, what waited for reservations, and lines on lent entries.

use super::Core;
use crate::command::Effects;
use crate::command::cx::expired_writes;
use crate::log::LogStep;
use crate::mesh::{Batch, CutWork, Head, Message, OwnedLine, REPLIED_LATER, TxnId};
use crate::resp::{Line, Output};
use crate::shard::reserve::{ClaimId, Claimant};
use crate::shard::{Env, Ran};

impl Core {
    /// Runs another core's lines and sends the batch back.
    pub(super) fn run_batch(&mut self, from: usize, mut batch: Box<Batch>) {
        const WINDOW: usize = 16;
        let (lines, replies) = batch.parts();
        let mut first = 0;
        // Buckets are fetched one window ahead, so that they are there when their entries are looked for.
        if lines.heads.len() > 1 {
            for head in lines.heads.iter().take(WINDOW) {
                self.shard.prefetch_bucket(head.db as usize, head.hash);
            }
        }
        for (index, window) in lines.heads.chunks(WINDOW).enumerate() {
            for head in lines.heads.iter().skip((index + 1) * WINDOW).take(WINDOW) {
                self.shard.prefetch_bucket(head.db as usize, head.hash);
            }
            if window.len() > 1 {
                for head in window {
                    self.shard.prefetch_entry(head.db as usize, head.hash);
                }
            }
            for head in window {
                let line = lines.line(first, head.args as usize);
                first += head.args as usize;
                if !self.shard.reservations.is_idle() && !self.admits_here(head, &line) {
                    self.wait_here(from, OwnedLine::new(*head, &line));
                    replies.lens.push(REPLIED_LATER);
                    continue;
                }
                let before = replies.out.len();
                let ran = self.run_here(from, head, &line, replies.out);
                if ran.blocked {
                    self.wait_and_tell(from, head, &line);
                    replies.lens.push(REPLIED_LATER);
                    continue;
                }
                replies.lens.push(replies.out.len() - before);
                if ran.ns >= self.slow_ns
                    && let Some(entry) = self.slow_entry(head.command, &line, ran.ns)
                {
                    replies.slow.push((replies.lens.len() - 1, entry));
                }
            }
        }
        batch.clear_lines();
        self.send(from, Message::Replies(batch));
    }

    /// The line's keys are not reserved.
    #[cold]
    pub(super) fn admits_here(&mut self, head: &Head, line: &Line<'_>) -> bool {
        self.shard.admits(self.registry, head, line)
    }

    /// Keeps a line of the core `from` until its keys are free.
    #[cold]
    pub(super) fn wait_here(&mut self, from: usize, line: OwnedLine) {
        self.shard.wait(self.registry, from, line);
    }

    /// Runs a line of a session of the core `from` on the own shard.
    #[inline]
    pub(super) fn run_here(
        &mut self,
        from: usize,
        head: &Head,
        line: &Line<'_>,
        out: &mut Output,
    ) -> Ran {
        self.run_woken(from, head, line, None, out)
    }

    /// As [`Core::run_here`]; a line that had waited runs again because the key `woken_by` can serve it.
    #[inline]
    pub(super) fn run_woken(
        &mut self,
        from: usize,
        head: &Head,
        line: &Line<'_>,
        woken_by: Option<&[u8]>,
        out: &mut Output,
    ) -> Ran {
        let mut env = Env {
            registry: self.registry,
            config: &self.config,
            stats: &mut self.stats,
            switches: &mut self.switches,
            now_ms: self.now.wall_ms(),
            ticks: self.ticks,
            last_ticks: self.last_ticks,
            woken_by,
        };
        let ran = self.shard.run(&mut env, head, *line, out);
        self.last_ticks = env.last_ticks;
        self.after_run(from, head, line);
        ran
    }

    /// Answers the sessions of a batch that came back.
    pub(super) fn take_replies(&mut self, from: usize, batch: Box<Batch>) {
        let mut at = 0;
        for (head, &len) in batch.heads.iter().zip(&batch.reply_lens) {
            if len != REPLIED_LATER {
                self.answer(head.ticket, &batch.replies, at..at + len);
                at += len;
            }
        }
        let mut batch = batch;
        for (index, entry) in batch.slow.drain(..) {
            self.keep_slow_of(batch.heads[index].ticket, entry);
        }
        self.outboxes[from].recycle(batch);
    }

    /// Goes on with what became ready on the own shard: transactions are told, waiting lines run.
    pub(super) fn run_ready(&mut self) {
        while let Some((claim, claimant)) = self.shard.reservations.next_ready() {
            match claimant {
                Claimant::Txn(txn, None) => self.grant(txn, claim, false),
                Claimant::Txn(txn, Some(line)) => {
                    self.granted.insert(txn, claim);
                    self.txn_work(txn, &line);
                }
                Claimant::Watcher(txn, client) => {
                    let broken = self.end_watch_here(client);
                    self.grant(txn, claim, broken);
                }
                Claimant::Expiry => {
                    self.expiry_claimed = false;
                    self.expire_now();
                    self.shard.release(claim);
                }
                Claimant::Visit(from, visit, part) => {
                    self.visited_here(from, visit, &part);
                    self.shard.release(claim);
                }
                Claimant::Exec(from, exec) => {
                    self.shard.enter(claim, LogStep::default());
                    self.run_exec(from, exec);
                    self.shard.release(claim);
                }
                Claimant::Cut => {
                    self.cut = Some(claim);
                    self.send_log();
                    self.send(self.orderer, Message::AtCut(self.cut_facts()));
                }
                Claimant::Offer(db, key, only) => self.start_round(claim, db, key, only),
                Claimant::Line(from, line) => {
                    let mut out = std::mem::take(&mut self.scratch_out);
                    self.shard.enter(claim, LogStep::default());
                    let ran = self.run_here(from, &line.head, &line.line(), &mut out);
                    if ran.blocked {
                        self.wait_and_tell(from, &line.head, &line.line());
                        self.shard.release(claim);
                        self.scratch_out = out;
                        continue;
                    }
                    self.shard.release(claim);
                    let ticket = line.head.ticket;
                    let slow = if ran.ns >= self.slow_ns {
                        self.slow_entry(line.head.command, &line.line(), ran.ns)
                    } else {
                        None
                    };
                    let len = out.len();
                    if from == self.place.index {
                        self.answer(ticket, &out, 0..len);
                        if let Some(entry) = slow {
                            self.keep_slow_of(ticket, entry);
                        }
                    } else {
                        self.outboxes[from].push_late(ticket, &out, 0..len);
                        if let Some(entry) = slow {
                            self.outboxes[from].push_late_slow(ticket, entry);
                        }
                    }
                    out.clear();
                    self.scratch_out = out;
                }
            }
        }
    }

    /// What the shard runs from now on is the work of a transaction that it granted, in this step.
    pub(super) fn enter(&mut self, txn: TxnId, step: LogStep) {
        if let Some(&claim) = self.granted.get(&txn) {
            self.shard.enter(claim, step);
        }
    }

    /// Hands what the shard logged to the replication shard.
    pub(super) fn send_log(&mut self) {
        if let Some(chunk) = self.shard.lane.take() {
            self.send(self.orderer, Message::Log(chunk));
        }
    }

    /// All shards were at the cut: does what it was for, and lets the shard go on.
    pub(super) fn cut_done(&mut self, work: &CutWork) {
        if let Some(on) = work.log {
            self.shard.switch_lane(on);
            self.weigh_listening();
        }
        if work.flush {
            self.drop_data();
        }
        if let Some(spec) = work.snapshot {
            self.begin_snapshot(spec);
        }
        self.held = work.hold;
        if self.held {
            return;
        }
        let claim = self.cut.take().expect("a cut is done once");
        self.shard.release(claim);
        self.run_ready();
    }

    fn grant(&mut self, txn: TxnId, claim: ClaimId, broken: bool) {
        self.granted.insert(txn, claim);
        self.send(
            txn.core as usize,
            Message::Granted(txn, self.place.index as u16, broken),
        );
    }

    /// Runs a line on the lent entries.
    pub(super) fn run_on_scratch(&mut self, line: &OwnedLine, out: &mut Output) -> (Effects, Ran) {
        let mut env = Env {
            registry: self.registry,
            config: &self.config,
            stats: &mut self.stats,
            switches: &mut self.switches,
            now_ms: self.now.wall_ms(),
            ticks: self.ticks,
            last_ticks: self.last_ticks,
            woken_by: None,
        };
        // The owners may listen although this shard does not.
        self.scratch.effects.listening = true;
        self.scratch.effects.logging = self.shard.effects.logging;
        let ran = self.scratch.run(&mut env, &line.head, line.line(), out);
        self.last_ticks = env.last_ticks;
        let mut effects = std::mem::take(&mut self.scratch.effects);
        if self.scratch.keyspace.has_expired() {
            effects
                .writes
                .extend(expired_writes(self.scratch.keyspace.take_expired()));
        }
        (effects, ran)
    }
}
