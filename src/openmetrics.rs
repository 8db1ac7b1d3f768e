//! OpenMetrics text: families of samples under a common prefix.

use std::collections::HashSet;
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

/// Form in which metrics are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON, where there is one.
    Json,
    /// OpenMetrics text.
    OpenMetrics,
    /// Prometheus' older text.
    Plain,
}

impl Form {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The form that a client with this Accept header (RFC 9110 section 12.5.1) likes best. One that asks for none by
    /// name gets JSON.
    pub fn preferred(accept: &str) -> Form {
        let quality = |kind: &str| {
            let named = accept.split(',').filter(|range| {
                range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(kind))
            });
            let weights = named.map(|range| {
                let said = range.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
                said.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0))
            });
            weights.fold(0.0, f64::max)
        };
        let (open, plain) = (quality("application/openmetrics-text"), quality("text/plain"));
        let best = open.max(plain);
        match (best > 0.0 && best >= quality("application/json"), open >= plain) {
            (false, _) => Form::Json,
            (true, true) => Form::OpenMetrics,
            (true, false) => Form::Plain,
        }
    }
}

/// OpenMetrics text as the older text format of Prometheus, in which a counter is called as its samples are.
pub fn plain(text: &str) -> String {
    let counters: HashSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(name) => {
                plain.extend(["# ", kind, " ", name, "_total ", rest, "\n"]);
            }
            _ => plain.extend([line, "\n"]),
        }
    }
    plain
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

/// The rules of `promtool check metrics` (client_golang's promlint) for text of either format.
#[cfg(test)]
pub(crate) mod lint {
    use std::collections::HashMap;

    const BASE: [&str; 9] =
        ["amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "seconds", "volts"];
    const OTHERS: [&str; 18] = [
        "minutes",
        "hours",
        "days",
        "weeks",
        "kelvins",
        "fahrenheit",
        "rankine",
        "inches",
        "yards",
        "miles",
        "bits",
        "calories",
        "pounds",
        "ounces",
        "amps",
        "metres",
        "feet",
        "percent",
    ];
    const PREFIXES: [&str; 20] = [
        "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi",
        "mebi", "giga", "gibi", "tera", "tebi", "peta", "pebi", "exa",
    ];
    const ABBREVIATIONS: [&str; 14] =
        ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

    /// Everything that is found fault with.
    pub(crate) fn problems(text: &str) -> Vec<String> {
        let (mut kinds, mut helped) = (HashMap::new(), HashMap::new());
        for line in text.lines() {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "TYPE", name, kind] => _ = kinds.insert(name, kind),
                ["#", "HELP", name, help] => _ = helped.insert(name, help),
                _ => {}
            }
        }
        let mut found = Vec::new();
        for (name, kind) in &kinds {
            let mut say = |is_broken: bool, what: &str| {
                if is_broken {
                    found.push(format!("{name} ({kind}): {what}"));
                }
            };
            let parts: Vec<_> = name.split('_').collect();
            let is_histogram = *kind == "histogram";
            say(helped.get(name).is_none_or(|help| help.is_empty()), "no help text");
            say((*kind == "counter") != name.ends_with("_total"), "counters end in _total, and they alone");
            say(
                !is_histogram && ["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end)),
                "a reserved ending",
            );
            say(parts.contains(kind), "its type in its name");
            say(
                name.contains(':') || name.chars().any(|c| c.is_ascii_uppercase()),
                "a reserved or a large letter",
            );
            say(parts.iter().any(|part| ABBREVIATIONS.contains(part)), "an abbreviated unit");
            let scaled = |part: &&str| {
                PREFIXES
                    .iter()
                    .any(|prefix| part.strip_prefix(prefix).is_some_and(|unit| BASE.contains(&unit)))
            };
            say(parts.iter().any(|part| OTHERS.contains(part) || scaled(part)), "not a base unit");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let ends = ["", "_bucket", "_sum", "_count", "_created"];
            if !ends.iter().any(|end| name.strip_suffix(end).is_some_and(|name| kinds.contains_key(name))) {
                found.push(format!("{name}: no help text, for its family has another name"));
            }
            let has_label =
                |label: &str| line.contains(&format!("{{{label}=")) || line.contains(&format!(",{label}="));
            if has_label("quantile") || has_label("le") && !name.ends_with("_bucket") {
                found.push(format!("{name}: a reserved label"));
            }
        }
        found
    }

    #[test]
    fn what_promtool_finds_fault_with_is_found() {
        let of = |name: &str, kind: &str| {
            problems(&format!("# HELP {name} Help.\n# TYPE {name} {kind}\n{name} 1\n")).len()
        };
        assert_eq!(of("loadtest_rtt_p99_seconds", "gauge"), 0);
        assert_eq!(of("loadtest_calls_total", "counter"), 0);
        for (name, kind) in [
            ("loadtest_leaks_total", "gauge"),
            ("loadtest_calls", "counter"),
            ("loadtest_calls_count", "gauge"),
            ("loadtest_rtt_ms", "gauge"),
            ("loadtest_rtt_milliseconds", "gauge"),
            ("loadtest_memory_mebibytes", "gauge"),
            ("loadtest_run_minutes", "gauge"),
            ("loadtest_Calls", "gauge"),
            ("loadtest_a_gauge", "gauge"),
        ] {
            assert_ne!(of(name, kind), 0, "{name}");
        }
        assert_eq!(problems("# TYPE x gauge\nx 1\n").len(), 1);
        assert_eq!(problems("# HELP x X.\n# TYPE x counter\nx_total 1\n").len(), 2, "as OpenMetrics has it");
        assert_eq!(problems(&super::plain("# HELP x X.\n# TYPE x counter\nx_total 1\n# EOF\n")), [""; 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_the_form() {
        // As Prometheus 2 and 3, a browser and curl ask.
        for (accept, text) in [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Form::OpenMetrics,
            ),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Form::OpenMetrics),
            ("application/openmetrics-text;q=0.9,application/json;q=0.1", Form::OpenMetrics),
            ("application/json,application/openmetrics-text;q=0.9", Form::Json),
            ("application/openmetrics-text;q=0", Form::Json),
            ("application/openmetrics-text;q=high", Form::Json),
            ("text/plain", Form::Plain),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Form::Plain),
            ("application/json,text/plain;q=0.9,*/*;q=0.8", Form::Json),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Json),
            ("*/*", Form::Json),
            ("", Form::Json),
        ] {
            assert_eq!(Form::preferred(accept), text, "{accept}");
        }
    }
}
