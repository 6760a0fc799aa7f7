//! Counters as plain data, one [`CoreStats`] per core.
//!
//! A core counts for itself; INFO and its like visit the cores and add the counters up. Nothing here knows the time or
//! another core.
//!
//! Invariants:
//! - Counting a command is an array index and a few additions; a command's histogram exists from its first use on.
//! - Everything but gauges is a sum, so that merging cores is addition.

mod histogram;
mod latency;
mod slow_log;

pub use histogram::Histogram;
pub use latency::{LatencyMonitor, SAMPLES_MAX, Sample, Spikes, Summary};
pub use slow_log::{SlowEntry, SlowLog, clip as slow_clip, merge as slow_merge};

/// Kinds of errors counted by name; further kinds only count in the total.
const ERROR_KINDS_MAX: usize = 128;
/// Samples that an instantaneous rate is the mean of.
const RATE_SAMPLES: usize = 16;

macro_rules! totals {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// The plain sums of one core.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Totals {
            /// Adds the sums of another core.
            pub fn merge(&mut self, other: &Totals) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

totals! {
    /// Connections accepted.
    connections,
    /// Connections turned away: too many clients, or protected mode.
    connections_rejected,
    /// Lines run.
    commands,
    /// Bytes received from clients.
    net_in_bytes,
    /// Bytes sent to clients.
    net_out_bytes,
    /// Error replies.
    errors,
    /// Clients closed because their unread replies outgrew the limit.
    output_limit_disconnections,
    /// Clients closed because their query buffer outgrew the limit.
    query_limit_disconnections,
    /// Error replies to the leader's lines, on a follower.
    leader_errors,
    /// Failed AUTHs.
    auth_denied,
    /// Nanoseconds spent in active expiry.
    expire_ns,
    /// Changes of keys.
    changes,
}

/// The counters of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    /// Times it ran.
    pub calls: u64,
    /// Nanoseconds in all.
    pub ns: u64,
    /// Lines turned away before they ran.
    pub rejected: u64,
    /// Lines that ran and failed.
    pub failed: u64,
    /// Its latencies, from the first use on while latencies are tracked.
    pub histogram: Option<Box<Histogram>>,
}

/// What instantaneous rates are kept of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Lines per second.
    Commands,
    /// Bytes received per second.
    NetIn,
    /// Bytes sent per second.
    NetOut,
}

const RATES: usize = 3;

/// The last samples of the rates.
#[derive(Clone, Debug, Default)]
struct Rates {
    samples: [[u64; RATE_SAMPLES]; RATES],
    next: usize,
    last: [u64; RATES],
    last_ns: Option<u64>,
}

/// The counters, slow log and latency records of one core. Lives on its core; only that core touches it.
#[derive(Clone, Debug)]
pub struct CoreStats {
    /// The plain sums.
    pub totals: Totals,
    /// `latency-tracking`: commands keep histograms.
    pub latency_tracking: bool,
    /// The slow log.
    pub slow: SlowLog,
    /// The latency monitor.
    pub latency: LatencyMonitor,
    /// The largest memory seen by [`CoreStats::tick`], bytes.
    pub memory_peak_bytes: u64,
    /// The largest number of bytes of one client's query buffer since the last reset.
    pub query_buffer_peak_bytes: u64,
    /// The largest number of bytes of one client's unsent replies since the last reset.
    pub output_buffer_peak_bytes: u64,
    commands: Vec<CommandStats>,
    errors: Vec<(Box<str>, u64)>,
    rates: Rates,
}

impl CoreStats {
    /// Counters for `commands` commands, under their ids.
    pub fn new(commands: usize) -> CoreStats {
        CoreStats {
            totals: Totals::default(),
            latency_tracking: true,
            slow: SlowLog::default(),
            latency: LatencyMonitor::default(),
            memory_peak_bytes: 0,
            query_buffer_peak_bytes: 0,
            output_buffer_peak_bytes: 0,
            commands: vec![CommandStats::default(); commands],
            errors: Vec::new(),
            rates: Rates::default(),
        }
    }

    /// Counts a line that ran.
    #[inline]
    pub fn record(&mut self, command: u16, ns: u64, failed: bool) {
        self.totals.commands += 1;
        let stats = &mut self.commands[command as usize];
        stats.calls += 1;
        stats.ns += ns;
        stats.failed += u64::from(failed);
        if self.latency_tracking {
            match &mut stats.histogram {
                Some(histogram) => histogram.record(ns),
                none => first_latency(none, ns),
            }
        }
    }

    /// Counts a line that was turned away before it ran.
    #[inline]
    pub fn rejected(&mut self, command: u16) {
        self.commands[command as usize].rejected += 1;
    }

    /// Counts an error reply by its code, the first word of its text.
    pub fn error(&mut self, code: &str) {
        self.totals.errors += 1;
        if let Some((_, count)) = self.errors.iter_mut().find(|(known, _)| **known == *code) {
            *count += 1;
        } else if self.errors.len() < ERROR_KINDS_MAX {
            self.errors.push((code.into(), 1));
        }
    }

    /// Puts a line into the slow log. The dispatcher calls this only for a line that took at least
    /// `slowlog-log-slower-than`; `entries_max` is `slowlog-max-len`.
    #[cold]
    pub fn slow_check<'a>(
        &mut self,
        wall_us: i64,
        ns: u64,
        entries_max: usize,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
        addr: &str,
        name: &[u8],
    ) {
        let entry = SlowEntry {
            wall_us,
            duration_us: ns / 1000,
            args: slow_log::clip(args),
            addr: addr.into(),
            name: name.into(),
        };
        self.slow.push(entry, entries_max);
    }

    /// Puts a spike into the latency monitor. Called only for what took at least `latency-monitor-threshold`.
    #[cold]
    pub fn latency_spike(&mut self, event: &'static str, ns: u64, wall_ms: i64) {
        let sample = Sample {
            at_s: wall_ms / 1000,
            latency_ms: u32::try_from(ns / 1_000_000).unwrap_or(u32::MAX),
        };
        self.latency.add(event, sample);
    }

    /// Takes the samples of the instantaneous rates and the peaks; called every 100 ms or so.
    pub fn tick(&mut self, mono_ns: u64, memory_bytes: u64) {
        self.memory_peak_bytes = self.memory_peak_bytes.max(memory_bytes);
        let totals = &self.totals;
        let values = [totals.commands, totals.net_in_bytes, totals.net_out_bytes];
        let rates = &mut self.rates;
        if let Some(last_ns) = rates.last_ns {
            let elapsed_ns = mono_ns.saturating_sub(last_ns);
            if elapsed_ns == 0 {
                return;
            }
            for (rate, value) in values.iter().enumerate() {
                let delta = u128::from(value.saturating_sub(rates.last[rate]));
                let per_second = delta * 1_000_000_000 / u128::from(elapsed_ns);
                rates.samples[rate][rates.next] = per_second as u64;
            }
            rates.next = (rates.next + 1) % RATE_SAMPLES;
        }
        rates.last = values;
        rates.last_ns = Some(mono_ns);
    }

    /// The mean of a rate's last samples, per second.
    pub fn rate(&self, rate: Rate) -> u64 {
        self.rates.samples[rate as usize].iter().sum::<u64>() / RATE_SAMPLES as u64
    }

    /// The commands' counters; the index is the id.
    pub fn commands(&self) -> &[CommandStats] {
        &self.commands
    }

    /// The errors counted, by code, in no order.
    pub fn errors(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.errors.iter().map(|(code, count)| (&**code, *count))
    }

    /// Adds another core's counters. Peaks of clients are maxima; the slow logs stay apart, as [`slow_merge`] wants them.
    pub fn merge(&mut self, other: &CoreStats) {
        self.totals.merge(&other.totals);
        self.latency.merge(&other.latency);
        self.memory_peak_bytes += other.memory_peak_bytes;
        self.query_buffer_peak_bytes = self
            .query_buffer_peak_bytes
            .max(other.query_buffer_peak_bytes);
        self.output_buffer_peak_bytes = self
            .output_buffer_peak_bytes
            .max(other.output_buffer_peak_bytes);
        for (ours, theirs) in self.commands.iter_mut().zip(&other.commands) {
            ours.calls += theirs.calls;
            ours.ns += theirs.ns;
            ours.rejected += theirs.rejected;
            ours.failed += theirs.failed;
            if let Some(histogram) = &theirs.histogram {
                ours.histogram.get_or_insert_default().merge(histogram);
            }
        }
        for (code, count) in &other.errors {
            match self.errors.iter_mut().find(|(known, _)| known == code) {
                Some((_, sum)) => *sum += count,
                None => self.errors.push((code.clone(), *count)),
            }
        }
        for (ours, theirs) in self.rates.samples.iter_mut().zip(&other.rates.samples) {
            for (place, sample) in ours.iter_mut().enumerate() {
                let place =
                    (other.rates.next + place + RATE_SAMPLES - self.rates.next) % RATE_SAMPLES;
                *sample += theirs[place];
            }
        }
    }

    /// The counters alone, to be merged on another core: without the slow log and the latency monitor, and without the
    /// histograms unless they are asked for.
    pub fn snapshot(&self, histograms: bool) -> CoreStats {
        let command = |stats: &CommandStats| CommandStats {
            histogram: stats.histogram.clone().filter(|_| histograms),
            ..*stats
        };
        CoreStats {
            slow: SlowLog::default(),
            latency: LatencyMonitor::default(),
            commands: self.commands.iter().map(command).collect(),
            errors: self.errors.clone(),
            rates: self.rates.clone(),
            ..*self
        }
    }

    /// CONFIG RESETSTAT: all counters to zero; the changes, by which saves are due, the slow log, the latency monitor and the memory peak stay.
    pub fn reset(&mut self) {
        self.totals = Totals {
            changes: self.totals.changes,
            ..Totals::default()
        };
        self.commands.fill(CommandStats::default());
        self.errors.clear();
        self.rates = Rates::default();
        self.query_buffer_peak_bytes = 0;
        self.output_buffer_peak_bytes = 0;
    }

    /// Bytes on the heap from the start on.
    pub fn startup_bytes(&self) -> usize {
        self.commands.capacity() * size_of::<CommandStats>()
    }

    /// Bytes on the heap of what came when it was needed: the histograms of commands that were called.
    pub fn grown_bytes(&self) -> usize {
        let histograms = self
            .commands
            .iter()
            .filter_map(|stats| stats.histogram.as_ref());
        histograms
            .map(|histogram| histogram.heap_bytes() + size_of::<Histogram>())
            .sum()
    }
}

/// `slowlog-log-slower-than` or `latency-monitor-threshold` as the nanoseconds that a line must reach, given the unit.
/// A negative limit is never reached.
pub fn threshold_ns(limit: i64, ns_per_unit: u64) -> u64 {
    u64::try_from(limit).map_or(u64::MAX, |limit| limit.saturating_mul(ns_per_unit))
}

#[cold]
fn first_latency(histogram: &mut Option<Box<Histogram>>, ns: u64) {
    histogram.get_or_insert_default().record(ns);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_under_their_id() {
        let mut stats = CoreStats::new(3);
        stats.record(1, 1500, false);
        stats.record(1, 2500, true);
        stats.rejected(2);
        stats.latency_tracking = false;
        stats.record(2, 10, false);
        assert_eq!(stats.totals.commands, 3);
        let get = &stats.commands()[1];
        assert_eq!(
            (get.calls, get.ns, get.failed, get.rejected),
            (2, 4000, 1, 0)
        );
        assert_eq!(
            get.histogram.as_ref().map(|histogram| histogram.total()),
            Some(2)
        );
        assert!(stats.commands()[2].histogram.is_none());
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut stats = CoreStats::new(0);
        for kind in 0..200 {
            stats.error(&format!("E{kind}"));
        }
        stats.error("E0");
        assert_eq!(stats.totals.errors, 201);
        assert_eq!(stats.errors().len(), ERROR_KINDS_MAX);
        assert_eq!(stats.errors().next(), Some(("E0", 2)));
    }

    #[test]
    fn a_rate_is_the_mean_of_its_samples() {
        let mut stats = CoreStats::new(1);
        stats.tick(0, 5);
        for tick in 1..=RATE_SAMPLES as u64 {
            stats.totals.net_in_bytes += 100;
            stats.record(0, 1, false);
            stats.tick(tick * 100_000_000, 3);
        }
        assert_eq!(
            (stats.rate(Rate::NetIn), stats.rate(Rate::Commands)),
            (1000, 10)
        );
        assert_eq!(stats.memory_peak_bytes, 5);
    }

    #[test]
    fn merging_cores_adds_and_reset_forgets() {
        let (mut a, mut b) = (CoreStats::new(2), CoreStats::new(2));
        a.record(0, 10, false);
        b.record(0, 20, true);
        b.error("ERR");
        a.error("ERR");
        b.error("WRONGTYPE");
        b.tick(0, 0);
        b.tick(1_000_000_000, 0);
        a.merge(&b);
        assert_eq!(
            (a.commands()[0].calls, a.commands()[0].ns, a.totals.errors),
            (2, 30, 3)
        );
        assert_eq!(
            a.errors().collect::<Vec<_>>(),
            [("ERR", 2), ("WRONGTYPE", 1)]
        );
        a.reset();
        assert_eq!(
            (a.totals, a.errors().len(), a.commands()[0].calls),
            (Totals::default(), 0, 0)
        );
    }

    #[test]
    fn thresholds_in_nanoseconds() {
        assert_eq!(threshold_ns(10_000, 1000), 10_000_000);
        assert_eq!(threshold_ns(-1, 1000), u64::MAX);
        assert_eq!(threshold_ns(0, 1000), 0);
    }
}
