//! The latency monitor: spikes of one core by event, and their statistics over all cores.
//!
//! Invariants:
//! - An event has at most one sample per second, the worst, and at most [`SAMPLES_MAX`] samples, oldest first.

use std::collections::{BTreeMap, VecDeque};

/// Samples kept of an event.
pub const SAMPLES_MAX: usize = 160;

/// The worst spike of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Wall clock, seconds since 1970.
    pub at_s: i64,
    /// Milliseconds.
    pub latency_ms: u32,
}

/// The spikes of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spikes {
    samples: VecDeque<Sample>,
    /// The worst spike since the last reset, milliseconds.
    pub worst_ms: u32,
}

/// The spikes of one core, or of all cores merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyMonitor {
    events: BTreeMap<&'static str, Spikes>,
}

/// What LATENCY DOCTOR says of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Samples.
    pub samples: usize,
    /// Their mean, milliseconds.
    pub mean_ms: u32,
    /// Mean absolute deviation, milliseconds.
    pub deviation_ms: u32,
    /// The smallest, milliseconds.
    pub least_ms: u32,
    /// The largest, milliseconds.
    pub most_ms: u32,
    /// Seconds from the oldest to now, over the number of samples.
    pub period_s: f64,
}

impl Spikes {
    fn add(&mut self, sample: Sample) {
        self.worst_ms = self.worst_ms.max(sample.latency_ms);
        if let Some(last) = self.samples.back_mut()
            && last.at_s == sample.at_s
        {
            last.latency_ms = last.latency_ms.max(sample.latency_ms);
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The samples, oldest first; never empty.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> + '_ {
        self.samples.iter().copied()
    }

    /// The last sample.
    pub fn last(&self) -> Option<Sample> {
        self.samples.back().copied()
    }

    /// The statistics of the samples.
    pub fn summary(&self, now_s: i64) -> Summary {
        let count = self.samples.len().max(1);
        let values = || {
            self.samples
                .iter()
                .map(|sample| u64::from(sample.latency_ms))
        };
        let mean = values().sum::<u64>() / count as u64;
        let deviation = values().map(|value| value.abs_diff(mean)).sum::<u64>() / count as u64;
        let oldest = self.samples.front().map_or(now_s, |sample| sample.at_s);
        Summary {
            samples: self.samples.len(),
            mean_ms: mean as u32,
            deviation_ms: deviation as u32,
            least_ms: values().min().unwrap_or(0) as u32,
            most_ms: values().max().unwrap_or(0) as u32,
            period_s: (now_s - oldest) as f64 / count as f64,
        }
    }
}

impl LatencyMonitor {
    /// Adds a spike of an event.
    pub fn add(&mut self, event: &'static str, sample: Sample) {
        self.events.entry(event).or_default().add(sample);
    }

    /// The events that had spikes, by name.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Spikes)> {
        self.events.iter().map(|(name, spikes)| (*name, spikes))
    }

    /// The spikes of an event, its name in any case.
    pub fn event(&self, name: &[u8]) -> Option<(&'static str, &Spikes)> {
        self.events()
            .find(|(event, _)| event.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Forgets the spikes of an event; true when there were any.
    pub fn reset(&mut self, name: &[u8]) -> bool {
        let before = self.events.len();
        self.events
            .retain(|event, _| !event.as_bytes().eq_ignore_ascii_case(name));
        self.events.len() < before
    }

    /// Forgets everything and returns the number of events forgotten.
    pub fn reset_all(&mut self) -> usize {
        std::mem::take(&mut self.events).len()
    }

    /// Adds the spikes of another core.
    pub fn merge(&mut self, other: &LatencyMonitor) {
        for (event, theirs) in &other.events {
            let ours = self.events.entry(event).or_default();
            let mut all: Vec<Sample> = ours
                .samples
                .iter()
                .chain(&theirs.samples)
                .copied()
                .collect();
            all.sort_by_key(|sample| sample.at_s);
            let worst_ms = ours.worst_ms.max(theirs.worst_ms);
            *ours = Spikes::default();
            all.into_iter().for_each(|sample| ours.add(sample));
            ours.worst_ms = worst_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: i64, latency_ms: u32) -> Sample {
        Sample { at_s, latency_ms }
    }

    #[test]
    fn a_second_keeps_its_worst() {
        let mut monitor = LatencyMonitor::default();
        for (at, ms) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            monitor.add("command", sample(at, ms));
        }
        let (_, spikes) = monitor.event(b"COMMAND").expect("it has spikes");
        assert_eq!(
            spikes.samples().collect::<Vec<_>>(),
            [sample(1, 9), sample(2, 3)]
        );
        assert_eq!((spikes.worst_ms, spikes.last()), (9, Some(sample(2, 3))));
        let summary = spikes.summary(5);
        assert_eq!(
            (summary.mean_ms, summary.deviation_ms, summary.period_s),
            (6, 3, 2.0)
        );
        assert!(monitor.reset(b"command") && !monitor.reset(b"command"));
    }

    #[test]
    fn only_the_newest_samples_stay() {
        let mut monitor = LatencyMonitor::default();
        for at in 0..200 {
            monitor.add("command", sample(at, 200 - at as u32));
        }
        let (_, spikes) = monitor.events().next().expect("one event");
        assert_eq!(spikes.samples().len(), SAMPLES_MAX);
        assert_eq!(spikes.samples().next(), Some(sample(40, 160)));
        assert_eq!(spikes.worst_ms, 200);
    }

    #[test]
    fn cores_merge_by_second() {
        let (mut a, mut b) = (LatencyMonitor::default(), LatencyMonitor::default());
        a.add("command", sample(1, 5));
        a.add("command", sample(3, 5));
        b.add("command", sample(1, 8));
        b.add("command", sample(2, 1));
        b.add("expire-cycle", sample(2, 1));
        a.merge(&b);
        let (_, spikes) = a.event(b"command").expect("it has spikes");
        assert_eq!(
            spikes.samples().collect::<Vec<_>>(),
            [sample(1, 8), sample(2, 1), sample(3, 5)]
        );
        assert_eq!(a.reset_all(), 2);
    }
}
