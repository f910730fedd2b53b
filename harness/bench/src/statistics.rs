//! Medians, spreads, and the ratios of pairs.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The spread above which a run is disturbed: the samples say more about the machine than about the program.
pub const DISTURBED: f64 = 0.30;

/// The samples of one contestant, or the ratios of its pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The middle sample. Of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The distance of the largest sample from the smallest, as a part of the median.
    pub spread: f64,
    /// All samples, in the order in which they were taken.
    pub samples: Vec<f64>,
}

impl Summary {
    /// Returns the summary, or `None` if there is no sample or one is not finite.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        if !sorted.iter().all(|sample| sample.is_finite()) {
            return None;
        }
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        let spread = match most - least {
            0.0 => 0.0,
            distance => distance / median.abs(),
        };
        Some(Self {
            median,
            spread,
            samples: samples.to_vec(),
        })
    }

    /// Returns whether the samples differ too much for a conclusion.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        // A median of zero makes the spread infinite or undefined.
        !self.spread.is_finite() || self.spread > DISTURBED
    }
}

/// Returns the summary of `ours / theirs`, sample by sample. `None` if a pair is incomplete or a ratio is not finite.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Option<Summary> {
    if ours.len() != theirs.len() {
        return None;
    }
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    Summary::of(&ratios)
}

/// The distribution of a duration, with three digits that count.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        // From 1 ns to 2 minutes. Longer durations count as 2 minutes.
        let histogram = Histogram::new_with_bounds(1, 120_000_000_000, 3);
        Self(histogram.expect("the bounds are constant and valid"))
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.record_ns(ns);
    }

    pub(crate) fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    pub(crate) fn add(&mut self, others: &Self) {
        let added = self.0.add(&others.0);
        added.expect("all histograms have the same bounds");
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// Returns a quantile in microseconds. Not a number without samples, so that the run counts as failed.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// Returns the longest duration in milliseconds. Not a number without samples.
    pub(crate) fn longest_ms(&self) -> f64 {
        self.quantile_us(1.0) / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[f64]) -> Summary {
        Summary::of(samples).expect("samples")
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted_samples() {
        assert_eq!(of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(of(&[7.0]).median, 7.0);
        assert_eq!(of(&[3.0, 1.0, 2.0]).samples, [3.0, 1.0, 2.0]);
    }

    #[test]
    fn one_sample_far_away_disturbs_a_run_and_stays_in_it() {
        assert!(!of(&[100.0, 110.0, 120.0]).is_disturbed());
        let disturbed = of(&[100.0, 100.0, 131.0]);
        assert!(disturbed.is_disturbed());
        assert_eq!(disturbed.samples.len(), 3);
        assert_eq!(of(&[5.0, 5.0]).spread, 0.0);
    }

    #[test]
    fn a_median_of_zero_with_other_samples_is_disturbed() {
        assert!(of(&[0.0, 0.0, 5.0]).is_disturbed());
        assert!(!of(&[0.0, 0.0]).is_disturbed());
    }

    #[test]
    fn without_samples_or_with_an_endless_one_there_is_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
        assert_eq!(Summary::of(&[1.0, f64::INFINITY]), None);
    }

    #[test]
    fn the_ratio_is_the_median_of_the_ratios_of_pairs() {
        // The medians are 20 and 20, but each pair says something else.
        let ratios = ratios(&[10.0, 20.0, 60.0], &[20.0, 10.0, 30.0]).expect("ratios");
        assert_eq!(ratios.median, 2.0);
        assert_eq!(ratios.samples, [0.5, 2.0, 2.0]);
    }

    #[test]
    fn quantiles_are_in_microseconds_and_need_samples() {
        let mut latencies = Latencies::new();
        assert!(latencies.quantile_us(0.5).is_nan());
        for us in 1..=1_000 {
            latencies.record(Duration::from_micros(us));
        }
        let mut more = Latencies::new();
        more.record(Duration::from_secs(200));
        latencies.add(&more);
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.01;
        assert!(near(latencies.quantile_us(0.5), 500.0));
        assert!(near(latencies.quantile_us(0.99), 990.0));
        assert!(near(latencies.longest_ms(), 120_000.0));
        assert_eq!(latencies.len(), 1_001);
    }

    #[test]
    fn a_pair_without_its_other_half_has_no_ratio() {
        assert_eq!(ratios(&[1.0, 2.0], &[1.0]), None);
        assert_eq!(ratios(&[1.0], &[0.0]), None);
    }
}
