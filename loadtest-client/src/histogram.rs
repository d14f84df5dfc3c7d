//! How often something took how long, in little memory: a high dynamic range histogram.
//!
//! Values up to 127 have a bucket each, greater ones share one with those that differ by less than
//! one part in 64. It promises that [`Histogram::percentile`] is never below the true value and above
//! it by less than 1.6 %, and never above the greatest value recorded. It never allocates more than
//! [`BUCKETS_MAX`] counters.

use serde::{Deserialize, Serialize};

/// Values with a bucket of their own, and buckets for each doubling, twice.
const LINEAR: u64 = 128;
const HALF: u64 = LINEAR / 2;
/// Values above this count as this: 2^40 microseconds are twelve days.
pub const VALUE_MAX: u64 = (1 << 40) - 1;
/// Buckets of a histogram: those of the greatest value and below.
pub const BUCKETS_MAX: usize = bucket_of(VALUE_MAX) + 1;

/// See the module. Serialises as its count, sum, extremes, and a list of `[bucket, count]` of those
/// buckets that are not empty, where a bucket is named by its lowest value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Serialized", into = "Serialized")]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

/// Buckets by their lowest value, with how often they were met.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Serialized {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
    buckets: Vec<(u64, u64)>,
}

impl Histogram {
    /// Notes a value.
    pub fn record(&mut self, value: u64) {
        let value = value.min(VALUE_MAX);
        self.add(bucket_of(value), 1);
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
    }

    /// Notes all that another one has noted.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        for (bucket, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(bucket, *count);
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Forgets everything, but keeps the memory.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.sum, self.min, self.max) = (0, 0, 0, 0);
    }

    /// How many values it has.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least value, 0 if there is none.
    #[must_use]
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// The greatest value, 0 if there is none.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The mean, 0 if there is no value.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a mean to be read by people")]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The value that `percent` of all values (0 to 100) do not exceed; 0 if there is none.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank between 1 and the count, which is far below 2^52"
    )]
    pub fn percentile(&self, percent: f64) -> u64 {
        let rank = (percent.clamp(0.0, 100.0) / 100.0 * self.count as f64).ceil() as u64;
        let mut left = rank.max(1);
        for (bucket, count) in self.counts.iter().enumerate() {
            if left <= *count {
                return (lowest_of(bucket + 1) - 1).clamp(self.min, self.max);
            }
            left -= count;
        }
        self.max
    }

    /// The buckets that are not empty: lowest value, highest value, count. Ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (lowest_of(bucket), lowest_of(bucket + 1) - 1, *count))
    }

    fn add(&mut self, bucket: usize, count: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(counter) = self.counts.get_mut(bucket) {
            *counter = counter.saturating_add(count);
        }
    }
}

impl From<Histogram> for Serialized {
    fn from(histogram: Histogram) -> Self {
        Self {
            count: histogram.count,
            sum: histogram.sum,
            min: histogram.min,
            max: histogram.max,
            buckets: histogram.buckets().map(|(lowest, _, count)| (lowest, count)).collect(),
        }
    }
}

impl TryFrom<Serialized> for Histogram {
    type Error = String;

    fn try_from(serialized: Serialized) -> Result<Self, Self::Error> {
        let mut histogram = Self::default();
        let mut count = 0_u64;
        for (lowest, times) in &serialized.buckets {
            if *lowest > VALUE_MAX {
                return Err(format!("a histogram has a bucket at {lowest}, beyond {VALUE_MAX}"));
            }
            histogram.add(bucket_of(*lowest), *times);
            count = count.saturating_add(*times);
        }
        if count != serialized.count || serialized.min > serialized.max {
            return Err(format!("a histogram counts {}, its buckets {count}", serialized.count));
        }
        let Serialized { count, sum, min, max, .. } = serialized;
        Ok(Self { count, sum, min, max, ..histogram })
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a bucket's number is a few thousand at most")]
const fn bucket_of(value: u64) -> usize {
    if value < LINEAR {
        return value as usize;
    }
    // How many doublings above the linear part: 1 for 128 to 255, where two values share a bucket.
    let shift = (value / HALF).ilog2() as u64;
    (shift * HALF + (value >> shift)) as usize
}

const fn lowest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < LINEAR {
        return bucket;
    }
    let shift = bucket / HALF - 1;
    (bucket - shift * HALF) << shift
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn buckets_follow_each_other_without_gap_and_are_narrow() {
        for bucket in 0..BUCKETS_MAX {
            let (lowest, next) = (lowest_of(bucket), lowest_of(bucket + 1));
            assert_eq!(bucket_of(lowest), bucket);
            assert_eq!(bucket_of(next - 1), bucket);
            assert!(next - lowest <= (lowest / HALF).max(1), "{lowest} to {next}");
        }
        assert_eq!(lowest_of(BUCKETS_MAX), VALUE_MAX + 1);
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        let mut random = Random::new(7);
        let mut value = |_| {
            let doublings = random.below(30);
            random.below(1 << doublings)
        };
        let mut values: Vec<u64> = (0..10_000).map(&mut value).collect();
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        values.sort_unstable();
        for (percent, index) in [(0.0, 0), (50.0, 4999), (99.0, 9899), (99.99, 9998), (100.0, 9999)]
        {
            let (true_value, found) = (values[index], histogram.percentile(percent));
            assert!(found >= true_value && found <= true_value + true_value / 64, "{percent}");
        }
        assert_eq!((histogram.min(), histogram.max()), (values[0], values[9999]));
    }

    #[test]
    fn merged_is_as_if_recorded_together_and_survives_json() {
        let mut random = Random::new(8);
        let (mut one, mut other, mut both) = <(Histogram, Histogram, Histogram)>::default();
        for turn in 0..1000 {
            let value = random.below(1 << 20) + 5;
            if turn % 3 == 0 { &mut one } else { &mut other }.record(value);
            both.record(value);
        }
        one.merge(&other);
        one.merge(&Histogram::default());
        assert_eq!(one, both);
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&json).unwrap(), one);
        let wrong = json.replace("\"count\":1000", "\"count\":999");
        assert!(serde_json::from_str::<Histogram>(&wrong).is_err());
        one.clear();
        assert_eq!((one.count(), one.percentile(50.0), one.max()), (0, 0, 0));
    }
}
