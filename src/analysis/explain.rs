//! The share of slow packets that the machine itself explains, in words for people.
//!
//! The control stream sends the same probes on the same schedule past the system under test. What it
//! feels, the machine did; what only the calls feel, Asterisk or the service did.

use std::fmt;

use crate::values::Value;

/// A tail shorter than this is the clock and the kernel at their best; there is nothing to explain.
const LEAST_TAIL_MS: f64 = 0.01;
/// Steps of a histogram with three significant digits: neither end of a shorter tail is known.
const LEAST_TAIL_RATIO: f64 = 0.002;

/// From this share on the machine hides what Asterisk and the service do.
const MOSTLY: f64 = 0.5;

/// The range of a stream's slow packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// Median RTT in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of RTT in milliseconds.
    pub p99_ms: f64,
}

impl Tail {
    /// The tail between two metrics; `None` where one is lost or was not measured.
    pub fn between(p50: Value, p99: Value) -> Option<Tail> {
        Some(Tail { p50_ms: p50.number()?, p99_ms: p99.number()? })
    }

    /// Milliseconds from the median to the 99th percentile.
    pub fn length_ms(&self) -> f64 {
        self.p99_ms - self.p50_ms
    }
}

/// The part of the calls' tail that the control stream shows too. Displayed, it is the sentence of a report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Explained {
    /// The calls' tail in milliseconds.
    pub tail_ms: f64,
    /// The part of it that the machine explains, 0–1.
    pub share: f64,
}

/// Holds the tail of the calls' RTT against that of the control stream.
///
/// The share is the ratio of the two lengths, and at most 1. It is no sum of causes: percentiles do not
/// add up, and what slows down Asterisk's process alone does not slow down the control stream. `None`
/// where a percentile is no number, or the calls have no tail worth explaining: shorter than 10 µs or
/// than two steps of a histogram.
pub fn explain(rtt: Tail, control: Tail) -> Option<Explained> {
    let (tail_ms, control_ms) = (rtt.length_ms(), control.length_ms());
    // A difference is finite only if both percentiles are.
    let known = tail_ms.is_finite() && control_ms.is_finite();
    let worth = tail_ms >= LEAST_TAIL_MS && tail_ms >= rtt.p99_ms * LEAST_TAIL_RATIO;
    (known && worth).then(|| Explained { tail_ms, share: (control_ms / tail_ms).clamp(0.0, 1.0) })
}

impl Explained {
    /// The part of the tail that the machine explains, in milliseconds.
    pub fn explained_ms(&self) -> f64 {
        self.tail_ms * self.share
    }
}

impl fmt::Display for Explained {
    /// `Of the 1.0 ms between the median and the 99th percentile, the machine itself explains 0.8 ms
    /// (80 %): …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.tail_ms {
            ms if ms >= 99.5 => 0,
            ms if ms >= 0.95 => 1,
            ms if ms >= 0.095 => 2,
            _ => 3,
        };
        // The rest is what is left of the rounded figures, so that the three add up on paper.
        let shown = |ms: f64| (ms * 10f64.powi(decimals)).round() / 10f64.powi(decimals);
        let (tail, explained) = (shown(self.tail_ms), shown(self.explained_ms()));
        let rest = tail - explained;
        let digits = decimals as usize;
        write!(f, "Of the {tail:.digits$} ms between the median and the 99th percentile, ")?;
        if explained <= 0.0 {
            return f.write_str(
                "the machine itself explains nothing: the control stream, which bypasses Asterisk, shows no \
                 such tail. It is Asterisk's or the service's.",
            );
        }
        let percent = self.share * 100.0;
        write!(f, "the machine itself explains {explained:.digits$} ms ({percent:.0} %): ")?;
        f.write_str("the control stream, which bypasses Asterisk, shows as much.")?;
        if rest > 0.0 {
            write!(f, " Asterisk and the service add the other {rest:.digits$} ms.")?;
        }
        if self.share >= MOSTLY {
            f.write_str(" A calmer machine would tell more of them.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tail(p50_ms: f64, p99_ms: f64) -> Tail {
        Tail { p50_ms, p99_ms }
    }

    fn says(rtt: Tail, control: Tail) -> String {
        explain(rtt, control).expect("something to explain").to_string()
    }

    #[test]
    fn the_sentence_names_who_it_was() {
        let sentences = [
            says(tail(0.2, 1.2), tail(0.05, 0.85)),
            says(tail(5.0, 25.0), tail(0.05, 1.05)),
            says(tail(0.2, 0.3), tail(0.1, 1.0)),
            says(tail(5.0, 25.0), tail(0.05, 0.06)),
        ];
        insta::assert_snapshot!(sentences.join("\n"), @r"
        Of the 1.0 ms between the median and the 99th percentile, the machine itself explains 0.8 ms (80 %): the control stream, which bypasses Asterisk, shows as much. Asterisk and the service add the other 0.2 ms. A calmer machine would tell more of them.
        Of the 20.0 ms between the median and the 99th percentile, the machine itself explains 1.0 ms (5 %): the control stream, which bypasses Asterisk, shows as much. Asterisk and the service add the other 19.0 ms.
        Of the 0.10 ms between the median and the 99th percentile, the machine itself explains 0.10 ms (100 %): the control stream, which bypasses Asterisk, shows as much. A calmer machine would tell more of them.
        Of the 20.0 ms between the median and the 99th percentile, the machine itself explains nothing: the control stream, which bypasses Asterisk, shows no such tail. It is Asterisk's or the service's.
        ");
    }

    #[test]
    fn figures_have_the_digits_that_they_need_and_add_up() {
        let starts = |rtt, control, text: &str| {
            let said = says(rtt, control);
            assert!(said.contains(text), "{said}");
        };
        starts(tail(1.0, 1.0401), tail(0.02, 0.0301), "Of the 0.040 ms");
        starts(tail(10.0, 250.4), tail(0.1, 0.2), "Of the 240 ms");
        // 1.04, 0.75 and 0.29 would round to 1.0, 0.8 and 0.3.
        starts(tail(0.0, 1.04), tail(0.0, 0.75), "the other 0.2 ms");
    }

    #[test]
    fn a_control_stream_that_is_steadier_than_its_own_median_explains_nothing() {
        let e = explain(tail(1.0, 3.0), tail(0.5, 0.4)).unwrap();
        assert_eq!((e.share, e.explained_ms()), (0.0, 0.0));
    }

    #[test]
    fn where_there_is_no_tail_or_no_number_nothing_is_said() {
        let control = tail(0.05, 0.85);
        for rtt in [
            tail(1.0, 1.0),
            tail(1.0, 0.9),
            tail(1.0, 1.009),
            tail(99.9, 100.0),
            tail(f64::NAN, 2.0),
            tail(1.0, f64::INFINITY),
        ] {
            assert_eq!(explain(rtt, control), None, "{rtt:?}");
        }
        assert_eq!(explain(tail(1.0, 2.0), tail(1.0, f64::NAN)), None);
        assert_eq!(Tail::between(Value::Number(1.0), Value::Lost), None);
        assert_eq!(Tail::between(Value::Number(1.0), Value::Number(2.0)), Some(tail(1.0, 2.0)));
    }

    proptest! {
        #[test]
        fn shares_are_shares(a in any::<f64>(), b in any::<f64>(), c in any::<f64>(), d in any::<f64>()) {
            if let Some(e) = explain(tail(a, b), tail(c, d)) {
                prop_assert!((0.0..=1.0).contains(&e.share));
                prop_assert!(e.to_string().starts_with("Of the "));
            }
        }
    }
}
