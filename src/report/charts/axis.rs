//! Axes: places of values, and ticks at round numbers.

use serde::Serialize;

use crate::report::words::clock;

/// Spread of values along an axis.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::report) enum Scale {
    #[default]
    Linear,
    Log,
    /// Seconds since the run's start, spread evenly.
    Time,
}

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// The value.
    pub at: f64,
    /// Its label; empty for a mark between labelled ones.
    pub label: String,
}

/// One axis. Values outside its range land on its ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub from: f64,
    pub to: f64,
    pub scale: Scale,
    pub ticks: Vec<Tick>,
}

/// The smallest latency drawn on a logarithmic axis, 1 µs: the resolution of the histograms.
const SMALLEST_MS: f64 = 0.001;

/// Most labels of an axis; a tenth of them is usual.
const MOST_TICKS: f64 = 100.0;

impl Axis {
    /// From 0 to a round number that is no less than `max`, with about `count` labels, which are at least
    /// `least_step` apart: 1 for whole numbers.
    pub(super) fn linear(max: f64, count: usize, least_step: f64) -> Axis {
        // Anything smaller is nothing to anybody, and no step fits it.
        let max = if max.is_finite() && max > 1e-9 { max } else { 1.0 };
        let step = round_step(max / count.max(1) as f64).max(least_step);
        let last = (max / step - 1e-9).ceil().clamp(1.0, MOST_TICKS) as usize;
        let ticks = (0..=last).map(|n| {
            let at = n as f64 * step;
            Tick { at, label: number(at, step) }
        });
        Axis { from: 0.0, to: last as f64 * step, scale: Scale::Linear, ticks: ticks.collect() }
    }

    /// As [`Axis::linear`], but it ends at `to`, which need be no round number.
    pub(super) fn linear_to(to: f64, count: usize, least_step: f64) -> Axis {
        let mut axis = Axis::linear(to, count, least_step);
        if to.is_finite() && to > 0.0 {
            axis.to = to;
            axis.ticks.retain(|tick| tick.at <= to);
        }
        axis
    }

    /// Opinion scores of listening, from 1 to a little above that of an exact copy.
    pub(super) fn scores() -> Axis {
        let tick = |score: u8| Tick { at: f64::from(score), label: score.to_string() };
        Axis { from: 1.0, to: 4.7, scale: Scale::Linear, ticks: (1..=4).map(tick).collect() }
    }

    /// Milliseconds on a logarithmic axis around all `values`, with at most `count` labels.
    pub(super) fn log_ms(values: impl Iterator<Item = f64>, count: usize) -> Axis {
        let (low, high) = values
            .filter(|v| v.is_finite() && *v > 0.0)
            .map(|v| v.max(SMALLEST_MS))
            .fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (0.1, 10.0) };
        // A little air, then out to the next 1, 2 or 5.
        let (from, to) = (round_down(low / 1.08).max(SMALLEST_MS), round_step(high * 1.08));
        let to = if to / from < 9.9 { round_step(from * 9.9) } else { to };
        let decades = (to / from).log10();
        let all = ((decades * 3.0).round() as usize) < count;
        let every = (decades / count.max(1) as f64).ceil().max(1.0) as i32;
        let mut ticks = Vec::new();
        let first = from.log10().floor() as i32;
        for exponent in first..=to.log10().ceil() as i32 {
            for factor in 1..10 {
                let at = f64::from(factor) * 10f64.powi(exponent);
                let labelled = match factor {
                    1 => (exponent - first) % every == 0,
                    2 | 5 => all,
                    _ => false,
                };
                let fine = decades < 4.0 || matches!(factor, 1 | 2 | 5);
                if (from * 0.999..=to * 1.001).contains(&at) && (labelled || fine) {
                    ticks.push(Tick { at, label: if labelled { number(at, at) } else { String::new() } });
                }
            }
        }
        Axis { from, to, scale: Scale::Log, ticks }
    }

    /// Seconds since the run's start, labelled as minutes and seconds, with about `count` labels.
    pub(super) fn time(from: f64, to: f64, count: usize) -> Axis {
        const STEPS: [f64; 18] = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0,
            7200.0, 21600.0,
        ];
        let to = if to.is_finite() && to > from { to } else { from + 1.0 };
        let enough = (to - from) / count.max(1) as f64;
        let step = STEPS.into_iter().find(|s| *s >= enough).unwrap_or((enough / 86400.0).ceil() * 86400.0);
        let ticks = (0..)
            .map(|n| (from / step).ceil() * step + f64::from(n) * step)
            .take_while(|at| *at <= to + step * 1e-6)
            .map(|at| Tick { at, label: clock(at, step) });
        Axis { from, to, scale: Scale::Time, ticks: ticks.collect() }
    }

    /// Percentiles, as far as one in `10^decades`: equal distances from 90 to 99, to 99.9, and on.
    /// Values are `log10(1 / (1 − p))`.
    pub(super) fn percentiles(decades: f64) -> Axis {
        let to = decades.clamp(1.0, 9.0);
        let mut ticks = vec![Tick { at: 0.0, label: "0".into() }];
        ticks.push(Tick { at: 2f64.log10(), label: "50".into() });
        for n in 1..=to as usize {
            let label = match n {
                1 => "90".to_string(),
                2 => "99".to_string(),
                _ => format!("99.{}", "9".repeat(n - 2)),
            };
            ticks.push(Tick { at: n as f64, label });
        }
        Axis { from: 0.0, to, scale: Scale::Linear, ticks }
    }

    /// Named places 0, 1, 2, … with more room on the right, for notes beside them.
    pub(super) fn names(labels: &[&str]) -> Axis {
        let ticks =
            labels.iter().enumerate().map(|(n, label)| Tick { at: n as f64, label: (*label).to_string() });
        Axis { from: -0.4, to: labels.len() as f64 - 0.15, scale: Scale::Linear, ticks: ticks.collect() }
    }

    /// Places for `count` numbered things from 0, each of the same room, with at most `labels` of their
    /// numbers in the middle of their room.
    pub(super) fn numbered(count: u32, labels: usize) -> Axis {
        let step = round_step(f64::from(count) / labels.max(1) as f64).max(1.0);
        let ticks = (0..)
            .map(|n| f64::from(n) * step)
            .take_while(|at| *at < f64::from(count))
            .map(|at| Tick { at: at + 0.5, label: number(at, step) });
        Axis { from: 0.0, to: f64::from(count.max(1)), scale: Scale::Linear, ticks: ticks.collect() }
    }

    /// Places 1, 2, 3, … up to `count`, with at most `labels` of their numbers, and half a place at either end.
    pub(super) fn counted(count: usize, labels: usize) -> Axis {
        let step = round_step(count as f64 / labels.max(1) as f64).max(1.0);
        let numbers = (0..).map(|n| f64::from(n) * step).skip(usize::from(step == 1.0));
        let ticks = numbers.map(|n| n.max(1.0)).take_while(|at| *at <= count as f64);
        let ticks = ticks.map(|at| Tick { at, label: number(at, step) });
        let to = count.max(1) as f64 + 0.5;
        Axis { from: 0.5, to, scale: Scale::Linear, ticks: ticks.collect() }
    }

    pub(super) fn contains(&self, value: f64) -> bool {
        (self.from..=self.to).contains(&value)
    }

    /// A value's place, 0–1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = if self.scale == Scale::Log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// A value's pixel on an axis that reaches from one pixel to another.
    pub(super) fn pixel(&self, value: f64, from: i32, to: i32) -> i32 {
        from + (f64::from(to - from) * self.share(value)).round() as i32
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is no less than `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|f| f * power)
        .find(|s| *s >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// The largest of 1, 2, 5 × 10ⁿ that is no more than `most`.
fn round_down(most: f64) -> f64 {
    let power = 10f64.powf(most.log10().floor());
    [5.0, 2.0].into_iter().map(|f| f * power).find(|s| *s <= most * (1.0 + 1e-9)).unwrap_or(power)
}

/// A number with as many decimals as steps of `step` need; thousands as `20k`.
fn number(value: f64, step: f64) -> String {
    if value >= 10_000.0 && value % 1000.0 == 0.0 {
        return format!("{:.0}k", value / 1000.0);
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|t| t.label.as_str()).filter(|l| !l.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::linear(47.3, 5, 0.0)), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(labels(&Axis::linear(0.62, 4, 0.0)), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(&Axis::linear(1.0, 5, 1.0)), ["0", "1"]);
        assert_eq!(labels(&Axis::linear(0.0, 5, 1.0)), ["0", "1"]);
        assert_eq!(labels(&Axis::linear(30_000.0, 3, 1.0)), ["0", "10k", "20k", "30k"]);
        assert_eq!(labels(&Axis::time(0.0, 313.0, 8)), ["0:00", "1:00", "2:00", "3:00", "4:00", "5:00"]);
        assert_eq!(
            labels(&Axis::time(0.0, 1.0, 5)),
            ["0:00.0", "0:00.2", "0:00.4", "0:00.6", "0:00.8", "0:01.0"]
        );
        assert_eq!(
            labels(&Axis::log_ms([0.2, 31.0].into_iter(), 12)),
            ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50"]
        );
        assert_eq!(labels(&Axis::percentiles(4.3)), ["0", "50", "90", "99", "99.9", "99.99"]);
    }

    #[test]
    fn odd_ranges_still_make_an_axis() {
        for axis in [
            Axis::linear(0.0, 5, 0.0),
            Axis::linear(f64::NAN, 5, 0.0),
            Axis::log_ms(std::iter::empty(), 8),
            Axis::log_ms([0.0, f64::INFINITY].into_iter(), 8),
            Axis::log_ms([1e-9, 1e12].into_iter(), 3),
            Axis::time(0.0, 0.0, 8),
            Axis::time(0.0, 1e7, 8),
            Axis::percentiles(f64::INFINITY),
        ] {
            assert!(axis.from < axis.to, "{axis:?}");
            assert!(!axis.ticks.is_empty() && axis.ticks.len() < 120, "{axis:?}");
            assert!((0.0..=1.0).contains(&axis.share(f64::NAN)));
        }
    }

    #[test]
    fn the_percentile_axis_gives_every_nine_the_same_room() {
        let axis = Axis::percentiles(5.0);
        assert!((axis.share(2.0) - axis.share(1.0) - (axis.share(4.0) - axis.share(3.0))).abs() < 1e-12);
    }
}
