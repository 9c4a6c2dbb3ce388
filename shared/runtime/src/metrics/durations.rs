//! `gotk_reconcile_duration_seconds`: a histogram for each object, in a fifth of the memory of the library's, which keeps
//! name, help and bounds of the family for each series.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::Result;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::queue::Key;

const NAME: &str = "gotk_reconcile_duration_seconds";
const HELP: &str = "The duration in seconds of a GitOps Toolkit resource reconciliation.";

/// The bounds: ten of them, geometric from 0.01 to 1800, with the exact digits that upstream computes, since they are
/// label values (RT-MET-003).
const BOUNDS: [f64; 10] = [
    0.01,
    0.038_363_583_488_692_544,
    0.147_176_453_809_388_3,
    0.564_621_617_328_616_9,
    2.166_090_855_590_701,
    8.309_900_738_254_731,
    31.879_757_075_478_317,
    122.302_172_216_434_93,
    469.194_959_467_365_44,
    1_799.999_999_999_998_6,
];

/// The durations of one object.
#[derive(Clone, Copy, Debug, Default)]
struct Series {
    /// How many were up to each bound, but above the one before.
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// The series of each object, by kind.
type ByKind = HashMap<String, HashMap<Key, Series>>;

/// The family. Clones share its series.
#[derive(Clone)]
pub(super) struct Durations {
    series: Arc<Mutex<ByKind>>,
    description: Desc,
}

impl Durations {
    pub(super) fn new() -> Result<Self> {
        let description = Desc::new(NAME.into(), HELP.into(), Vec::new(), HashMap::new())?;
        Ok(Self {
            series: Arc::default(),
            description,
        })
    }

    fn series(&self) -> MutexGuard<'_, ByKind> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Observes a duration in seconds.
    pub(super) fn observe(&self, kind: &str, key: Key, seconds: f64) {
        let mut by_kind = self.series();
        let of_kind = by_kind.entry(kind.to_owned()).or_default();
        of_kind.entry(key).or_default().observe(seconds);
    }

    /// Removes the series of an object.
    pub(super) fn remove(&self, kind: &str, key: &Key) {
        if let Some(of_kind) = self.series().get_mut(kind) {
            of_kind.remove(key);
        }
    }
}

impl Series {
    fn observe(&mut self, seconds: f64) {
        let mut counts = self.counts.iter_mut().zip(BOUNDS);
        if let Some((count, _)) = counts.find(|(_, bound)| seconds <= *bound) {
            *count += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn metric(&self, labels: [(&str, &str); 3]) -> Metric {
        let mut sum = 0;
        let buckets = self.counts.iter().zip(BOUNDS).map(|(count, bound)| {
            sum += count;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(sum);
            bucket.set_upper_bound(bound);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.sum);
        let labels = labels.map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(labels.into());
        metric.set_histogram(histogram);
        metric
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self.series();
        let metrics = series.iter().flat_map(|(kind, of_kind)| {
            of_kind.iter().map(move |(key, series)| {
                series.metric([
                    ("kind", kind.as_str()),
                    ("name", key.name.as_str()),
                    ("namespace", key.namespace.as_str()),
                ])
            })
        });
        let mut family = MetricFamily::default();
        family.set_name(NAME.to_owned());
        family.set_help(HELP.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}
