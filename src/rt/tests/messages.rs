//! The mesh under stress: full rings in both directions, sleeps between messages.

use std::collections::VecDeque;

use super::*;

/// Floods every peer through an outbox, and checks that what comes is complete and in order.
struct Flood {
    outboxes: Vec<VecDeque<u64>>,
    expected: Vec<u64>,
    count: u64,
}

impl Flood {
    fn done(&self) -> bool {
        self.outboxes.iter().all(VecDeque::is_empty)
            && self.expected.iter().all(|&number| number == self.count)
    }
}

fn flood(core_count: usize, count: u64) -> Script<Flood> {
    let mut script = Script::new(Flood {
        outboxes: (0..core_count).map(|_| (0..count).collect()).collect(),
        expected: vec![0; core_count],
        count,
    });
    script.message = |flood, _, from, number| {
        assert_eq!(number, flood.expected[from], "in order, none lost");
        flood.expected[from] += 1;
    };
    // Idle although messages are left: room must bring the core back.
    script.turn = |flood, io| {
        for (peer, outbox) in flood.outboxes.iter_mut().enumerate() {
            while let Some(number) = outbox.pop_front() {
                if io.push(peer, Message::Number(number)).is_err() {
                    outbox.push_front(number);
                    break;
                }
            }
        }
        if flood.done() { Next::Stop } else { Next::Idle }
    };
    script
}

#[test]
fn full_rings_in_all_directions_drain() {
    for (core_count, ring_capacity) in [(2, 1), (2, 3), (4, 1)] {
        let options = Options {
            ring_capacity,
            ..Options::default()
        };
        let count = 30_000 / core_count as u64;
        let node = Node::start(core_count, options, Vec::new(), move |_| {
            flood(core_count, count)
        });
        node.join();
    }
}

/// Core 0 sends bursts of random size to random peers and goes idle until each message is answered.
struct Bursts {
    random: u64,
    left: u64,
    waiting: u64,
    unsent: VecDeque<(usize, u64)>,
}

impl Bursts {
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn send(&mut self, io: &mut TestIo) {
        while let Some((peer, number)) = self.unsent.pop_front() {
            if io.push(peer, Message::Number(number)).is_err() {
                self.unsent.push_front((peer, number));
                return;
            }
        }
    }
}

fn bursts(index: usize, messages: u64) -> Script<Bursts> {
    let mut script = Script::new(Bursts {
        random: 0x9e37_79b9_7f4a_7c15 + index as u64,
        left: if index == 0 { messages } else { 0 },
        waiting: 0,
        unsent: VecDeque::new(),
    });
    script.message = |bursts, io, from, number| {
        if io.core_index() == 0 {
            bursts.waiting -= 1;
            return;
        }
        // A pause of varying length, so that answers meet every moment of a falling asleep.
        for _ in 0..bursts.next_random() % 200 {
            std::hint::spin_loop();
        }
        bursts.unsent.push_back((from, number));
    };
    script.turn = |bursts, io| {
        if io.core_index() == 0 && bursts.waiting == 0 && bursts.unsent.is_empty() {
            if bursts.left == 0 {
                stop_all(io);
                return Next::Idle;
            }
            let burst = (bursts.next_random() % 24 + 1).min(bursts.left);
            for number in 0..burst {
                let peer = 1 + bursts.next_random() as usize % (io.core_count() - 1);
                bursts.unsent.push_back((peer, number));
            }
            bursts.left -= burst;
            bursts.waiting = burst;
        }
        bursts.send(io);
        Next::Idle
    };
    script
}

#[test]
fn a_million_messages_with_sleeps_between_lose_no_wake_up() {
    for (core_count, spin_us) in [(2, 0), (3, 0), (2, 5)] {
        let options = Options {
            ring_capacity: 8,
            spin_us,
            ..Options::default()
        };
        let node = Node::start(core_count, options, Vec::new(), |index| {
            bursts(index, 170_000)
        });
        node.join();
    }
}

#[test]
fn a_message_to_a_core_that_has_ended_is_dropped() {
    let options = Options {
        ring_capacity: 1,
        ..Options::default()
    };
    let node = Node::start(2, options, Vec::new(), |index| {
        let mut script = Script::new(0u32);
        script.turn = match index {
            0 => |_, _| Next::Stop,
            _ => |pushed, io| {
                // With one place in the ring, more than one success needs the other end gone.
                *pushed += u32::from(io.push(0, Message::Number(0)).is_ok());
                if *pushed > 10 { Next::Stop } else { Next::Now }
            },
        };
        script
    });
    node.join();
}
