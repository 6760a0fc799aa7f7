//! The access clock of entries: when a key was used (LRU), or how often (LFU), in 24 bits as Redis keeps it.

/// Counter of a new key, so that it is not evicted before it had a chance.
const LFU_INIT: u32 = 5;

/// What the access clock holds; `maxmemory-policy` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AccessPolicy {
    /// Seconds of the last access.
    #[default]
    Lru,
    /// Minutes of the last decrement (16 bits) and a logarithmic counter (8 bits).
    Lfu {
        /// `lfu-log-factor`: the higher, the more accesses it takes to raise the counter.
        log_factor: u32,
        /// `lfu-decay-time`: minutes after which the counter falls by one; 0 never.
        decay_minutes: u32,
    },
}

/// When or how often a key was used, as RDB data and RESTORE tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Usage {
    /// Nothing is told.
    #[default]
    Unknown,
    /// Last so many seconds ago.
    Idle(u64),
    /// As often as this logarithmic counter says.
    Frequency(u8),
}

/// The clock's hands for one moment, and the random numbers that the counter needs.
pub(super) struct AccessClock {
    pub(super) policy: AccessPolicy,
    seconds: u32,
    minutes: u32,
    random: u64,
}

impl AccessClock {
    pub(super) fn new(seed: u64) -> AccessClock {
        AccessClock {
            policy: AccessPolicy::Lru,
            seconds: 0,
            minutes: 0,
            random: seed | 1,
        }
    }

    pub(super) fn set_now(&mut self, now_ms: i64) {
        let seconds = now_ms.div_euclid(1000);
        self.seconds = (seconds & 0xFF_FFFF) as u32;
        self.minutes = (seconds.div_euclid(60) & 0xFFFF) as u32;
    }

    /// The clock of a key that is created now.
    #[inline]
    pub(super) fn fresh(&self) -> u32 {
        match self.policy {
            AccessPolicy::Lru => self.seconds,
            AccessPolicy::Lfu { .. } => self.minutes << 8 | LFU_INIT,
        }
    }

    /// The clock of a key that was used so. What another policy tells counts as nothing.
    pub(super) fn restored(&self, usage: Usage) -> u32 {
        match (self.policy, usage) {
            (AccessPolicy::Lru, Usage::Idle(seconds)) => {
                let idle = seconds.min(0xFF_FFFF) as u32;
                self.seconds.wrapping_sub(idle) & 0xFF_FFFF
            }
            (AccessPolicy::Lfu { .. }, Usage::Frequency(counter)) => {
                self.minutes << 8 | u32::from(counter)
            }
            _ => self.fresh(),
        }
    }

    /// The clock `access` after a use now.
    #[inline]
    pub(super) fn used(&mut self, access: u32) -> u32 {
        match self.policy {
            AccessPolicy::Lru => self.seconds,
            AccessPolicy::Lfu { log_factor, .. } => {
                let mut counter = self.frequency(access);
                if counter < 255 {
                    let base = counter.saturating_sub(LFU_INIT);
                    let odds = u64::from(base) * u64::from(log_factor) + 1;
                    if self.next_random().is_multiple_of(odds) {
                        counter += 1;
                    }
                }
                self.minutes << 8 | counter
            }
        }
    }

    /// The counter of `access` (LFU), decayed up to now.
    pub(super) fn frequency(&self, access: u32) -> u32 {
        let counter = access & 0xFF;
        match self.policy {
            AccessPolicy::Lfu { decay_minutes, .. } if decay_minutes > 0 => {
                let elapsed = self.minutes.wrapping_sub(access >> 8) & 0xFFFF;
                counter.saturating_sub(elapsed / decay_minutes)
            }
            _ => counter,
        }
    }

    /// Seconds since the last use (LRU).
    pub(super) fn idle_seconds(&self, access: u32) -> u64 {
        u64::from(self.seconds.wrapping_sub(access) & 0xFF_FFFF)
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_wraps_with_the_clock() {
        let mut clock = AccessClock::new(1);
        clock.set_now(0xFF_FFFF * 1000);
        let access = clock.fresh();
        clock.set_now((0xFF_FFFF + 10) * 1000);
        assert_eq!(clock.idle_seconds(access), 10);
    }

    #[test]
    fn a_restored_clock_tells_what_it_was_told() {
        let mut clock = AccessClock::new(1);
        clock.set_now(10_000);
        let idle = |clock: &AccessClock, usage| clock.idle_seconds(clock.restored(usage));
        assert_eq!(idle(&clock, Usage::Idle(7)), 7);
        assert_eq!(idle(&clock, Usage::Idle(100)), 100);
        assert_eq!(idle(&clock, Usage::Idle(u64::MAX)), 0xFF_FFFF);
        assert_eq!(idle(&clock, Usage::Frequency(9)), 0);
        clock.policy = AccessPolicy::Lfu {
            log_factor: 10,
            decay_minutes: 1,
        };
        let frequency = |usage| clock.frequency(clock.restored(usage));
        assert_eq!(frequency(Usage::Frequency(200)), 200);
        assert_eq!(frequency(Usage::Idle(7)), LFU_INIT);
        assert_eq!(frequency(Usage::Unknown), LFU_INIT);
    }

    #[test]
    fn the_counter_grows_slowly_and_decays() {
        let mut clock = AccessClock::new(1);
        clock.policy = AccessPolicy::Lfu {
            log_factor: 10,
            decay_minutes: 1,
        };
        let mut access = clock.fresh();
        assert_eq!(clock.frequency(access), 5);
        for _ in 0..1000 {
            access = clock.used(access);
        }
        let counter = clock.frequency(access);
        assert!((12..30).contains(&counter), "{counter}");
        clock.set_now(3 * 60_000);
        assert_eq!(clock.frequency(access), counter - 3);
        clock.policy = AccessPolicy::Lfu {
            log_factor: 0,
            decay_minutes: 0,
        };
        for _ in 0..300 {
            access = clock.used(access);
        }
        assert_eq!(clock.frequency(access), 255);
    }
}
