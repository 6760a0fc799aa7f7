//! The clock as a core sees it: read once per turn and handed down, so that everything inside one turn
//! happens at one moment and a handler never asks the system for the time.

use std::sync::atomic::{AtomicU64, Ordering};

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
///
/// On x86-64 with a constant time-stamp counter it is that counter, scaled; elsewhere the monotonic clock, which costs
/// some three times as much. Good to a part in a thousand; only ever subtract two readings of one thread.
#[inline]
pub fn ticks_ns() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let scale = TSC_SCALE.load(Ordering::Relaxed);
        if scale != 0 {
            // SAFETY: every x86-64 CPU has the instruction; Linux never forbids it to a process that did not ask.
            let ticks = unsafe { core::arch::x86_64::_rdtsc() };
            return ((u128::from(ticks) * u128::from(scale)) >> TSC_SCALE_BITS) as u64;
        }
    }
    monotonic_ns_fresh()
}

/// Nanoseconds per tick as a fixed-point number; zero while the counter is not used.
static TSC_SCALE: AtomicU64 = AtomicU64::new(0);
const TSC_SCALE_BITS: u32 = 32;

/// Measures the time-stamp counter against the monotonic clock for a few milliseconds, if it runs at one rate in all states
/// of the CPU. Called once, before the cores start.
pub(super) fn calibrate_ticks() {
    #[cfg(target_arch = "x86_64")]
    {
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = flags
            .lines()
            .find(|line| line.starts_with("flags"))
            .unwrap_or_default();
        if !["constant_tsc", "nonstop_tsc"]
            .iter()
            .all(|flag| flags.split(' ').any(|found| found == *flag))
        {
            return;
        }
        const CALIBRATION_NS: u64 = 5_000_000;
        // SAFETY: as above.
        let read = || {
            (
                unsafe { core::arch::x86_64::_rdtsc() },
                monotonic_ns_fresh(),
            )
        };
        let (ticks_before, ns_before) = read();
        let (ticks, ns) = loop {
            let (ticks, ns) = read();
            if ns - ns_before >= CALIBRATION_NS {
                break (ticks - ticks_before, ns - ns_before);
            }
        };
        if ticks > 0 {
            let scale = (u128::from(ns) << TSC_SCALE_BITS) / u128::from(ticks);
            TSC_SCALE.store(scale as u64, Ordering::Relaxed);
        }
    }
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
