//! The clock as a core sees it: read once per turn and handed down, so that everything inside one turn
//! happens at one moment and a handler never asks the system for the time.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// One moment, on both clocks. Lives in a core's [`Io`](super::Io) and is replaced at the start of each turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Microseconds since the Unix epoch. Steps when somebody sets the system's clock.
    pub wall_us: u64,
    /// Nanoseconds since an arbitrary start. Never goes back: deadlines and durations are measured on it.
    pub monotonic_ns: u64,
}

impl Now {
    /// Reads both clocks (through the vDSO: no system call).
    pub fn read() -> Self {
        Self {
            wall_us: nanoseconds(clock_gettime(ClockId::Realtime)) / 1_000,
            monotonic_ns: monotonic_ns_fresh(),
        }
    }

    /// Milliseconds since the Unix epoch: the unit of expiry.
    pub fn wall_ms(&self) -> u64 {
        self.wall_us / 1_000
    }
}

/// The monotonic clock at this very moment, for measuring inside a turn.
pub fn monotonic_ns_fresh() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// A clock for short durations, in nanoseconds since an arbitrary start: cheap enough to be read for each command.
pub fn ticks_ns() -> u64 {
    monotonic_ns_fresh()
}

/// A clock before its epoch reads as zero: nothing here can use a negative time.
fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let fraction = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_agree_with_std() {
        let before = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_micros();
        let now = Now::read();
        assert!(u128::from(now.wall_us) >= before);
        assert_eq!(now.wall_ms(), now.wall_us / 1_000);
        assert!(monotonic_ns_fresh() >= now.monotonic_ns);
    }
}
