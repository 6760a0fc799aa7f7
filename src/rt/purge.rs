//! Memory that is free, back to the system: in a thread of its own, so that no core waits for the kernel to take pages away.
//!
//! The kernel takes some 125 µs for a megabyte. The allocator does that by itself a while after memory became free, all that
//! has come together and in whichever thread asks it for memory next: 20–50 ms after a key of ten million elements. So it is
//! told not to (see [`super::sys::tune_allocator`]), and this thread does it when a core asks. Cores do not wait for it:
//! the allocator claims what it gives back with atomic operations, four megabytes at a time, and takes other memory meanwhile.
//!
//! The thread runs where a CPU has nothing else to do: whoever wakes up there goes first (`SCHED_IDLE`).

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use super::signals::Blocked;
use super::sys;

/// Between two rounds: what becomes free meanwhile goes together, and may be used again before.
const PAUSE_MS: u64 = 100;

/// The thread, as cores see it: one for the node, which ends when nobody holds this any more.
#[derive(Clone, Debug)]
pub struct Purger {
    asked: SyncSender<()>,
}

impl Purger {
    /// Starts the thread.
    pub fn start() -> io::Result<Purger> {
        let (asked, asks) = sync_channel(1);
        // Signals are for core 0: this thread would end the process with them.
        let _blocked = Blocked::new()?;
        Builder::new()
            .name("purge".into())
            .spawn(move || purge(&asks))?;
        Ok(Purger { asked })
    }

    /// Has free memory given back soon; returns at once.
    pub fn ask(&self) {
        // When it is full the thread has been asked already. It ends only after this.
        let _ = self.asked.try_send(());
    }
}

fn purge(asks: &Receiver<()>) {
    sys::yield_to_all();
    while asks.recv().is_ok() {
        sys::purge_memory();
        sys::sleep_ms(PAUSE_MS);
    }
}
