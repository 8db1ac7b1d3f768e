//! OpenMetrics text: families of samples under a common prefix.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
pub use prometheus_client::registry::Unit as Suffix;

use crate::record::Durations;

/// Upper bounds of the histograms' buckets in microseconds: from a packet's time on loopback to the
/// longest set-up that is waited for.
const BOUNDS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 60_000, 100_000, 200_000, 500_000,
    1_000_000, 10_000_000,
];

/// Names and values of a sample's labels.
pub type Labels = Vec<(&'static str, String)>;

/// A text under way. Its families stand in the order in which they are added.
#[derive(Debug, Default)]
pub struct Page(Vec<Family>);

#[derive(Debug)]
struct Family {
    name: String,
    kind: MetricType,
    unit: Option<Suffix>,
    help: &'static str,
    samples: Samples,
}

impl Page {
    /// Adds values that rise and fall, unless there are none. A unit ends their name.
    pub fn gauge(
        &mut self,
        name: impl Into<String>,
        unit: Option<Suffix>,
        help: &'static str,
        samples: impl Into<Samples>,
    ) {
        let samples = samples.into();
        if !samples.0.is_empty() {
            self.0.push(Family { name: name.into(), kind: MetricType::Gauge, unit, help, samples });
        }
    }

    /// Adds counts, which never fall; `_total` ends their name.
    pub fn counter(&mut self, name: &str, help: &'static str, samples: impl Into<Samples>) {
        let (kind, samples) = (MetricType::Counter, samples.into());
        self.0.push(Family { name: name.into(), kind, unit: None, help, samples });
    }

    /// Adds histograms of durations; `_seconds` ends their name.
    pub fn durations(&mut self, name: &str, help: &'static str, samples: impl Into<Samples>) {
        let (kind, unit, samples) = (MetricType::Histogram, Some(Suffix::Seconds), samples.into());
        self.0.push(Family { name: name.into(), kind, unit, help, samples });
    }

    /// The text, which ends in `# EOF`. Every name begins with `prefix`, and every sample has `labels`.
    pub fn text(self, prefix: &str, labels: Labels) -> String {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut registry = Registry::with_prefix_and_labels(prefix, labels);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Invariant: writing to a String cannot fail, and nothing else here does.
        encode(&mut text, &registry).expect("metrics fit into a String");
        text
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, kind, unit, help, samples } in &self.0 {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            for (labels, sample) in &samples.0 {
                match labels.is_empty() {
                    true => sample.encode(*kind, &mut family)?,
                    false => sample.encode(*kind, &mut family.encode_family(labels)?)?,
                }
            }
        }
        Ok(())
    }
}

/// Values of one name with their labels, in their order.
#[derive(Debug)]
pub struct Samples(Vec<(Labels, Sample)>);

impl<V: Into<Sample>> FromIterator<(Labels, V)> for Samples {
    fn from_iter<I: IntoIterator<Item = (Labels, V)>>(samples: I) -> Samples {
        Samples(samples.into_iter().map(|(labels, value)| (labels, value.into())).collect())
    }
}

/// One value without labels.
impl<V: Into<Sample>> From<V> for Samples {
    fn from(value: V) -> Samples {
        Samples(vec![(Labels::new(), value.into())])
    }
}

/// A value as it is written.
#[derive(Debug)]
pub enum Sample {
    /// A whole number.
    Count(u64),
    /// Any number.
    Number(f64),
    /// A histogram: the sum in seconds, and per bucket its upper bound and what is in it alone.
    Histogram(f64, Vec<(f64, u64)>),
}

impl From<u64> for Sample {
    fn from(count: u64) -> Sample {
        Sample::Count(count)
    }
}

impl From<f64> for Sample {
    fn from(number: f64) -> Sample {
        Sample::Number(number)
    }
}

impl From<&Durations> for Sample {
    fn from(durations: &Durations) -> Sample {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_US.len() + 1);
        for bound in BOUNDS_US {
            let within = durations.count_within(Duration::from_micros(bound));
            buckets.push((bound as f64 / 1e6, within - below));
            below = within;
        }
        buckets.push((f64::INFINITY, durations.count() - below));
        Sample::Histogram(durations.sum().as_secs_f64(), buckets)
    }
}

impl Sample {
    fn encode(&self, kind: MetricType, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match (self, kind) {
            (Sample::Count(n), MetricType::Counter) => encoder.encode_counter::<NoLabelSet, _, u64>(n, None),
            (Sample::Count(n), _) => encoder.encode_gauge(n),
            (Sample::Number(n), _) => encoder.encode_gauge(n),
            (Sample::Histogram(sum, buckets), _) => {
                let count = buckets.iter().map(|(_, count)| count).sum();
                encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
            }
        }
    }
}
