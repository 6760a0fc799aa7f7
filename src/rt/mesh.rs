//! Messages between cores: a full mesh of bounded single-producer single-consumer rings, and the flags by
//! which a core that sleeps is woken.
//!
//! ```text
//!        core 0                     core 1
//!   producers[1] ──── ring 0→1 ───▶ consumers[0]
//!   consumers[1] ◀─── ring 1→0 ──── producers[0]          (and one ring from each core to itself)
//! ```
//!
//! Invariants:
//! - **No lost wake-up.** A core raises `sleeping`, then looks at its rings once more, then waits. Who pushes
//!   publishes the message, then looks at `sleeping`. A sequentially consistent fence between the two steps
//!   on either side means that at least one of them sees the other's first step (Dekker's argument).
//! - **No lost room.** Who finds a ring full raises `starving`, then tries once more. The reader frees slots,
//!   then looks at `starving`. The same fence argument holds; the reader answers with the `room` flag of the
//!   starving core, which that core looks at before it sleeps exactly like a message.
//! - A wake costs its system call at most once per sleep: whoever takes `sleeping` down writes the event.
//! - Wakes are sent at the end of a turn, so that many pushes of one turn cost one fence and at most one wake
//!   per peer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

/// The side of a core that others touch. Lives as long as the node; aligned so that two cores' flags never
/// share a cache line (or the pair of lines that x86 prefetches together).
#[repr(align(128))]
struct Peer {
    /// The core waits in the kernel, or is about to.
    sleeping: AtomicBool,
    /// Somebody made room in a ring that this core found full.
    room: AtomicBool,
    /// `starving[from]`: core `from` found its ring to this core full.
    starving: Box<[AtomicBool]>,
    /// Ends the core's wait.
    event: OwnedFd,
}

/// Makes the two ends of every core: element `i` belongs to core `i`.
pub(super) fn mesh<M>(
    core_count: usize,
    ring_capacity: usize,
) -> rustix::io::Result<Vec<(Outbound<M>, Inbound<M>)>> {
    let mut peers = Vec::with_capacity(core_count);
    for _ in 0..core_count {
        peers.push(Peer {
            sleeping: AtomicBool::new(false),
            room: AtomicBool::new(false),
            starving: (0..core_count).map(|_| AtomicBool::new(false)).collect(),
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        });
    }
    let peers: Arc<[Peer]> = peers.into();
    let mut producers: Vec<Vec<Producer<M>>> = (0..core_count).map(|_| Vec::new()).collect();
    let mut consumers: Vec<Vec<Consumer<M>>> = (0..core_count).map(|_| Vec::new()).collect();
    for from in producers.iter_mut() {
        for to in consumers.iter_mut() {
            let (producer, consumer) = RingBuffer::new(ring_capacity.max(1));
            from.push(producer);
            to.push(consumer);
        }
    }
    let ends = producers.into_iter().zip(consumers).enumerate();
    Ok(ends
        .map(|(core, (producers, consumers))| {
            let outbound = Outbound {
                core,
                producers,
                pushed: Marks::new(core_count),
                drained: Marks::new(core_count),
                peers: Arc::clone(&peers),
            };
            let inbound = Inbound {
                core,
                consumers,
                peers: Arc::clone(&peers),
            };
            (outbound, inbound)
        })
        .collect())
}

/// A set of cores that is filled and emptied once per turn.
struct Marks {
    marked: Box<[bool]>,
    list: Vec<usize>,
}

impl Marks {
    fn new(core_count: usize) -> Self {
        Self {
            marked: vec![false; core_count].into(),
            list: Vec::with_capacity(core_count),
        }
    }

    fn insert(&mut self, core: usize) {
        if !self.marked[core] {
            self.marked[core] = true;
            self.list.push(core);
        }
    }

    fn pop(&mut self) -> Option<usize> {
        let core = self.list.pop()?;
        self.marked[core] = false;
        Some(core)
    }
}

/// The sending side of one core's mesh. Lives in its [`Io`](super::Io).
pub(super) struct Outbound<M> {
    core: usize,
    producers: Vec<Producer<M>>,
    /// Peers that got messages in this turn and may have to be woken.
    pushed: Marks,
    /// Peers whose rings this core emptied in this turn and who may wait for room.
    drained: Marks,
    peers: Arc<[Peer]>,
}

impl<M> Outbound<M> {
    pub fn core_count(&self) -> usize {
        self.producers.len()
    }

    /// Queues `message` for `peer`, or gives it back when the ring is full. A message to a core that has
    /// ended is dropped: nobody will ever read it, and waiting for room would never end.
    pub fn push(&mut self, peer: usize, message: M) -> Result<(), M> {
        let producer = &mut self.producers[peer];
        let message = match producer.push(message) {
            Ok(()) => {
                self.pushed.insert(peer);
                return Ok(());
            }
            Err(PushError::Full(message)) => message,
        };
        if producer.is_abandoned() {
            return Ok(());
        }
        self.peers[peer].starving[self.core].store(true, Ordering::Relaxed);
        // Between raising the flag and looking again: see "no lost room" above.
        fence(Ordering::SeqCst);
        match producer.push(message) {
            Ok(()) => {
                self.pushed.insert(peer);
                Ok(())
            }
            Err(PushError::Full(message)) => Err(message),
        }
    }

    /// Remembers that messages of `peer` were taken out of its ring.
    pub fn note_drained(&mut self, peer: usize) {
        self.drained.insert(peer);
    }

    /// The end of a turn: wakes the peers that sleep and got something. Returns the number of wakes sent.
    pub fn wake_peers(&mut self) -> u64 {
        if self.pushed.list.is_empty() && self.drained.list.is_empty() {
            return 0;
        }
        // Between publishing messages and freeing slots, and looking at the flags.
        fence(Ordering::SeqCst);
        let mut wakes = 0;
        while let Some(from) = self.drained.pop() {
            let starving = &self.peers[self.core].starving[from];
            if starving.load(Ordering::Relaxed) && starving.swap(false, Ordering::AcqRel) {
                self.peers[from].room.store(true, Ordering::Release);
                // Between raising `room` and looking at `sleeping`.
                fence(Ordering::SeqCst);
                wakes += u64::from(self.wake(from));
            }
        }
        while let Some(to) = self.pushed.pop() {
            wakes += u64::from(self.wake(to));
        }
        wakes
    }

    fn wake(&self, core: usize) -> bool {
        let peer = &self.peers[core];
        if !peer.sleeping.load(Ordering::Relaxed) || !peer.sleeping.swap(false, Ordering::AcqRel) {
            return false;
        }
        // The counter cannot overflow in the age of the universe, and the descriptor outlives all cores, so
        // that a failure here would be a broken invariant.
        rustix::io::write(&peer.event, &1u64.to_ne_bytes()).expect("an eventfd takes a wake");
        true
    }
}

/// The receiving side of one core's mesh. Lives in its loop.
pub(super) struct Inbound<M> {
    core: usize,
    consumers: Vec<Consumer<M>>,
    peers: Arc<[Peer]>,
}

impl<M> Inbound<M> {
    pub fn core_count(&self) -> usize {
        self.consumers.len()
    }

    /// The descriptor that becomes readable when somebody wakes this core.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.peers[self.core].event.as_fd()
    }

    pub fn pop(&mut self, from: usize) -> Option<M> {
        self.consumers[from].pop().ok()
    }

    /// Is there a message, or room that was waited for?
    pub fn has_work(&self) -> bool {
        self.peers[self.core].room.load(Ordering::Relaxed)
            || self.consumers.iter().any(|consumer| !consumer.is_empty())
    }

    /// Takes notice of room, so that it is not reported again. The turn that follows retries its pushes.
    pub fn take_room(&self) {
        let room = &self.peers[self.core].room;
        if room.load(Ordering::Relaxed) {
            room.swap(false, Ordering::AcqRel);
        }
    }

    /// Announces that this core is about to sleep. False: something came in, it must not.
    pub fn prepare_to_sleep(&self) -> bool {
        let sleeping = &self.peers[self.core].sleeping;
        sleeping.store(true, Ordering::Relaxed);
        // Between raising the flag and looking at the rings: see "no lost wake-up" above.
        fence(Ordering::SeqCst);
        if self.has_work() {
            sleeping.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// The core is awake, by whatever cause.
    pub fn awake(&self) {
        self.peers[self.core]
            .sleeping
            .store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_gives_the_message_back_and_reports_room() {
        let mut ends = mesh::<u32>(2, 2).unwrap();
        let (mut out1, mut in1) = ends.pop().unwrap();
        let (mut out0, in0) = ends.pop().unwrap();
        assert_eq!(out0.push(1, 1), Ok(()));
        assert_eq!(out0.push(1, 2), Ok(()));
        assert_eq!(out0.push(1, 3), Err(3));
        assert_eq!(out0.wake_peers(), 0);
        assert!(in0.prepare_to_sleep());

        assert_eq!(in1.pop(0), Some(1));
        out1.note_drained(0);
        assert_eq!(out1.wake_peers(), 1, "the starving core sleeps");
        in0.awake();
        assert!(!in0.prepare_to_sleep(), "room counts as work");
        in0.take_room();
        assert!(in0.prepare_to_sleep());
        in0.awake();
        assert_eq!(out0.push(1, 3), Ok(()));
        assert_eq!(in1.pop(0), Some(2));
        assert_eq!(in1.pop(0), Some(3));
        assert_eq!(in1.pop(0), None);
    }

    #[test]
    fn a_sleeper_is_woken_once_for_many_messages() {
        let mut ends = mesh::<u32>(2, 8).unwrap();
        let (_, in1) = ends.pop().unwrap();
        let (mut out0, _) = ends.pop().unwrap();
        assert!(in1.prepare_to_sleep());
        for message in 0..3 {
            out0.push(1, message).unwrap();
        }
        assert_eq!(out0.wake_peers(), 1);
        out0.push(1, 3).unwrap();
        assert_eq!(out0.wake_peers(), 0, "woken already");
        assert!(!in1.prepare_to_sleep());
    }

    #[test]
    fn messages_to_an_ended_core_are_dropped() {
        let mut ends = mesh::<u32>(2, 1).unwrap();
        drop(ends.pop());
        let (mut out0, _) = ends.pop().unwrap();
        for message in 0..10 {
            assert_eq!(out0.push(1, message), Ok(()));
        }
    }

    #[test]
    fn a_core_may_send_to_itself() {
        let mut ends = mesh::<u32>(1, 1).unwrap();
        let (mut out, mut inbound) = ends.pop().unwrap();
        out.push(0, 9).unwrap();
        assert_eq!(out.wake_peers(), 0);
        assert!(!inbound.prepare_to_sleep());
        assert_eq!(inbound.pop(0), Some(9));
    }
}
