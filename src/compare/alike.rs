//! Which runs may be held against each other: the same load on the same machine, by the same instrument.

use crate::record::Environment;

/// What keeps two runs from being compared; `None` when nothing does.
pub fn unlike(first: &Environment, second: &Environment) -> Option<String> {
    let same = [
        ("CPU", &first.cpu, &second.cpu),
        ("kernel", &first.kernel, &second.kernel),
        ("codec", &first.codec, &second.codec),
        ("loadtest", &first.version, &second.version),
    ];
    if let Some((what, a, b)) = same.into_iter().find(|(_, a, b)| a != b) {
        return Some(format!("the runs are not alike: {what} {a} and {b}"));
    }
    let numbers = |e: &Environment| {
        [
            ("calls", e.calls.into()),
            ("packet time in ms", e.ptime_ms),
            ("CPUs", e.cpus.into()),
            ("lost_after in ms", e.lost_after_ms),
        ]
    };
    let differs = numbers(first).into_iter().zip(numbers(second)).find(|((_, a), (_, b))| a != b);
    let differs = differs.map(|((what, a), (_, b))| format!("the runs are not alike: {what} {a} and {b}"));
    differs.or_else(|| {
        let (a, b) = (measured_s(first)?, measured_s(second)?);
        let alike = (a - b).abs() <= LENGTHS_ALIKE * a.max(b);
        (!alike).then(|| format!("the runs are not alike: {a:.1} s measured and {b:.1} s"))
    })
}

/// Measured windows that differ by less than this share are of one length.
const LENGTHS_ALIKE: f64 = 0.1;

fn measured_s(run: &Environment) -> Option<f64> {
    Some(run.window_to_s? - run.window_from_s?)
}

/// Why a run is of no use for a comparison; `None` for one that is whole.
pub fn unusable(run: &Environment) -> Option<&'static str> {
    let reasons = [
        (run.interrupted, "it was interrupted"),
        (!run.broken.is_empty(), "it broke"),
        (run.ended_early.is_some(), "a gate ended it early"),
    ];
    reasons.into_iter().find(|(is_so, _)| *is_so).map(|(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_load_or_instrument_is_named() {
        let run = Environment { cpu: "EPYC".into(), calls: 50, cpus: 2, ..Environment::default() };
        assert_eq!(unlike(&run, &run), None);
        let other = Environment { cpu: "Xeon".into(), ..run.clone() };
        assert!(unlike(&run, &other).unwrap().ends_with("CPU EPYC and Xeon"));
        let other = Environment { calls: 100, ..run.clone() };
        assert!(unlike(&run, &other).unwrap().ends_with("calls 50 and 100"));
        let other = Environment { version: "9".into(), ..run.clone() };
        assert!(unlike(&run, &other).unwrap().contains("loadtest"));
        let (short, long) = (
            Environment { window_from_s: Some(1.0), window_to_s: Some(3.0), ..run.clone() },
            Environment { window_from_s: Some(1.0), window_to_s: Some(21.0), ..run.clone() },
        );
        assert!(unlike(&short, &long).unwrap().contains("2.0 s measured and 20.0 s"));
        assert_eq!(unusable(&run), None);
        assert!(unusable(&Environment { broken: "x".into(), ..run }).is_some());
    }
}
