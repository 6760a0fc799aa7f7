//! A latency histogram with the buckets of HdrHistogram at two significant digits.
//!
//! Values below 256 have a bucket each; from there on every power of two is cut into 128 buckets, so a value is known to
//! within 0.8 %. A bucket's index is continuous over the whole range:
//!
//! ```text
//! value    0 … 255   256 … 511   512 … 1023   1024 … 2047
//! width        1          2           4             8
//! index    0 … 255   256 … 383   384 …  511    512 …  639
//! ```
//!
//! Invariants:
//! - `counts` is as long as the largest value seen needs, so that a command of a few microseconds costs a few KiB.
//! - `total` is the sum of `counts`.

/// Buckets per power of two, as a shift.
const HALF_SHIFT: u32 = 7;
/// Values up to here are kept; what is longer counts as this (about 18 minutes).
const VALUE_MAX: u64 = (1 << 40) - 1;

/// Counts of values, nanoseconds everywhere here. Lives in a core's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

/// The bucket of a value.
#[inline]
fn index_of(value: u64) -> usize {
    let exponent = (64 - (value | 0xff).leading_zeros()) - (HALF_SHIFT + 1);
    ((exponent as usize) << HALF_SHIFT) + (value >> exponent) as usize
}

/// The largest value of a bucket.
fn highest_of(index: usize) -> u64 {
    let half = 1usize << HALF_SHIFT;
    if index < 2 * half {
        return index as u64;
    }
    let exponent = (index >> HALF_SHIFT) - 1;
    let within = (index - (exponent << HALF_SHIFT)) as u64;
    ((within + 1) << exponent) - 1
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        let index = index_of(value.min(VALUE_MAX));
        if index >= self.counts.len() {
            self.grow(index);
        }
        self.counts[index] += 1;
        self.total += 1;
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        let half = 1 << HALF_SHIFT;
        self.counts.resize((index / half + 1) * half, 0);
    }

    /// The number of values.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The value that `percentile` per cent of all values do not exceed, rounded up to its bucket's end; 0 without values.
    pub fn percentile(&self, percentile: f64) -> u64 {
        if self.total == 0 {
            return 0;
        }
        let wanted = (percentile.clamp(0.0, 100.0) / 100.0 * self.total as f64 + 0.5) as u64;
        let wanted = wanted.max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest_of(index);
            }
        }
        highest_of(self.counts.len().saturating_sub(1))
    }

    /// The cumulative distribution at doubling steps from 1,024 ns: `(highest value of the step, values up to it)`, steps
    /// without new values left out.
    pub fn doubling_steps(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let mut limit = 1024u64;
        let (mut next, mut seen) = (0, 0);
        while seen < self.total {
            let end = index_of(limit);
            let before = seen;
            while next <= end && next < self.counts.len() {
                seen += self.counts[next];
                next += 1;
            }
            if seen > before {
                steps.push((highest_of(end), seen));
            }
            limit *= 2;
        }
        steps
    }

    /// Adds the values of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_continuous_and_narrow() {
        let mut last = 0;
        for value in
            (0..5000u64).chain((13..40).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 77]))
        {
            let index = index_of(value);
            assert!(index >= last || value < 5000, "index falls at {value}");
            if value < 5000 {
                assert!(index <= last + 1, "a gap before {value}");
                last = index;
            }
            let highest = highest_of(index);
            assert!(
                highest >= value
                    && index_of(highest) == index
                    && index_of(highest + 1) == index + 1
            );
            assert!((highest - value) as f64 <= value as f64 * 0.008 + 1.0);
        }
    }

    #[test]
    fn percentiles_of_a_plain_row() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(99.0), 0);
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!(histogram.percentile(50.0), 50);
        assert_eq!(histogram.percentile(99.0), 99);
        assert_eq!(histogram.percentile(100.0), 100);
        assert_eq!(histogram.percentile(0.0), 1);
        histogram.record(u64::MAX);
        assert!(histogram.percentile(100.0) >= VALUE_MAX);
    }

    #[test]
    fn steps_are_cumulative_and_skip_the_empty() {
        let mut histogram = Histogram::default();
        for value in [500, 900, 3000, 3100, 32_900, 60_000] {
            histogram.record(value);
        }
        let micros: Vec<_> = histogram
            .doubling_steps()
            .iter()
            .map(|&(ns, count)| (ns / 1000, count))
            .collect();
        assert_eq!(micros, [(1, 2), (4, 4), (33, 5), (66, 6)]);
        assert!(Histogram::default().doubling_steps().is_empty());
    }

    #[test]
    fn merging_adds() {
        let (mut a, mut b, mut both) = (
            Histogram::default(),
            Histogram::default(),
            Histogram::default(),
        );
        for value in [3, 70_000, 12] {
            a.record(value);
            both.record(value);
        }
        for value in [9_000_000, 12] {
            b.record(value);
            both.record(value);
        }
        a.merge(&b);
        assert_eq!(a.total(), 5);
        assert_eq!(a.doubling_steps(), both.doubling_steps());
        assert_eq!(a.percentile(100.0), both.percentile(100.0));
    }
}
