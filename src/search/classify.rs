//! Class of a load by the seconds of its trials: RFC 9971, Appendix A.

use crate::values::Percent;

/// An exceed ratio of one.
const WHOLE: u64 = 1_000_000;

/// A goal's exceed ratio and duration sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Millionths of the time in which a load may be bad and is carried nonetheless; below one million.
    exceed: u64,
    /// Time of full trials that decides whatever they say, in milliseconds.
    duration_sum_ms: u64,
}

impl Rule {
    /// With an exceed ratio below 100 %.
    pub fn new(exceed: Percent, duration_sum_ms: u64) -> Rule {
        let exceed = ((exceed.0 * WHOLE as f64).round() as u64).min(WHOLE - 1);
        Rule { exceed, duration_sum_ms }
    }
}

/// Milliseconds of all trials at one load, by their length and outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Good trials shorter than the final trial.
    pub short_good: u64,
    /// Bad ones.
    pub short_bad: u64,
    /// Good trials as long as the final trial.
    pub full_good: u64,
    /// Bad ones.
    pub full_bad: u64,
}

impl Sums {
    /// True if no trial counts at the load.
    pub fn are_empty(&self) -> bool {
        *self == Sums::default()
    }

    /// True if a trial at the load was good.
    pub(super) fn has_good(&self) -> bool {
        self.short_good + self.full_good > 0
    }

    /// True if a trial at the load was bad.
    pub(super) fn has_bad(&self) -> bool {
        self.short_bad + self.full_bad > 0
    }
}

/// Class of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Carried: even if the rest of the duration sum were bad.
    Lower,
    /// Not carried: even if the rest were good.
    Upper,
    /// More trials are needed.
    Undecided,
}

/// Classifies a load.
pub fn classify(sums: &Sums, rule: Rule) -> Class {
    // Everything is multiplied by (1 − X), in millionths, so that no fraction is rounded.
    let (exceed, rest) = (u128::from(rule.exceed), u128::from(WHOLE - rule.exceed));
    let scaled = |ms: u64| u128::from(ms) * rest;
    let excess = scaled(sums.short_bad).saturating_sub(u128::from(sums.short_good) * exceed);
    let good = scaled(sums.full_good);
    let bad = scaled(sums.full_bad) + excess;
    let whole = (good + bad).max(scaled(rule.duration_sum_ms));
    let (allowed, whole_in_millionths) = (whole * exceed, u128::from(WHOLE));
    if (whole - good) * whole_in_millionths <= allowed {
        Class::Lower
    } else if bad * whole_in_millionths > allowed {
        Class::Upper
    } else {
        Class::Undecided
    }
}

/// Exceed ratios of a goal: the share of bad time that a lower bound may have, and the share that an upper one has at the
/// least. These are two goals of RFC 9971; what lies between them wavers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Of a lower bound.
    carried: Rule,
    /// Of an upper bound.
    rejected: Rule,
}

impl Rules {
    /// A lower bound may be bad in that share of the time, an upper one may be good in it; from a half on both are
    /// judged by the one ratio.
    pub fn new(exceed: Percent, duration_sum_ms: u64) -> Rules {
        let mirrored = Percent((1.0 - exceed.0).max(exceed.0));
        Rules { carried: Rule::new(exceed, duration_sum_ms), rejected: Rule::new(mirrored, duration_sum_ms) }
    }

    /// No time of a lower bound may be bad, and any rejects.
    pub fn strict(duration_sum_ms: u64) -> Rules {
        let rule = Rule::new(Percent(0.0), duration_sum_ms);
        Rules { carried: rule, rejected: rule }
    }
}

/// Standing of a load by both ratios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A lower bound.
    Carried,
    /// An upper bound.
    Rejected,
    /// Neither, whatever more trials would say: too often bad to be carried, and too often good to be rejected.
    Wavering,
    /// More trials are needed.
    Undecided,
}

/// The standing of a load.
pub fn standing(sums: &Sums, Rules { carried, rejected }: Rules) -> Standing {
    match (classify(sums, carried), classify(sums, rejected)) {
        (Class::Lower, _) => Standing::Carried,
        (_, Class::Upper) => Standing::Rejected,
        (Class::Upper, Class::Lower) => Standing::Wavering,
        _ => Standing::Undecided,
    }
}

/// True for a load that has been bad for more of its time than the exceed ratio allows, however short its trials were.
pub(super) fn leans_bad(sums: &Sums, Rules { rejected: rule, .. }: Rules) -> bool {
    let (exceed, rest) = (u128::from(rule.exceed), u128::from(WHOLE - rule.exceed));
    let total = |short: u64, full: u64| u128::from(short) + u128::from(full);
    total(sums.short_bad, sums.full_bad) * rest > total(sums.short_good, sums.full_good) * exceed
}

/// Milliseconds of one more bad trial after which a load is an upper bound.
pub(super) fn bad_to_reject(sums: &Sums, Rules { rejected: rule, .. }: Rules) -> u64 {
    let (exceed, rest) = (u128::from(rule.exceed), u128::from(WHOLE - rule.exceed));
    let per_rest = |ms: u64| (u128::from(ms) * exceed).div_ceil(rest);
    let of_sum = u128::from(rule.duration_sum_ms) * exceed / u128::from(WHOLE);
    let wanted = of_sum.max(per_rest(sums.full_good)) + 1;
    let missing = wanted.saturating_sub(u128::from(sums.full_bad));
    if missing == 0 {
        return 0;
    }
    // Good short trials make up for bad ones.
    let more = (missing + per_rest(sums.short_good)).saturating_sub(u128::from(sums.short_bad));
    u64::try_from(more).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use Class::*;

    /// Seconds of short good, short bad, full good, full bad.
    fn class(percent: f64, sum_s: u64, [short_good, short_bad, full_good, full_bad]: [u64; 4]) -> Class {
        let [short_good, short_bad, full_good, full_bad] =
            [short_good, short_bad, full_good, full_bad].map(|s| s * 1000);
        let sums = Sums { short_good, short_bad, full_good, full_bad };
        classify(&sums, Rule::new(Percent(percent / 100.0), sum_s * 1000))
    }

    /// The worked example of RFC 9971. For the last goal its text prints "lower" at 5 and 6, against its own code:
    /// 42.9 % and 27.3 % exceed 20 %.
    #[test]
    fn the_rfcs_own_example_is_classified_as_its_code_does() {
        type Row = ([u64; 4], Class);
        let goals: [(&str, f64, u64, [Row; 6]); 4] = [
            (
                "RFC 2544",
                0.0,
                60,
                [
                    ([59, 0, 0, 0], Undecided),
                    ([59, 1, 0, 0], Upper),
                    ([59, 60, 0, 0], Upper),
                    ([60, 60, 0, 0], Upper),
                    ([60, 60, 0, 60], Upper),
                    ([60, 60, 60, 60], Upper),
                ],
            ),
            (
                "TST009",
                50.0,
                120,
                [
                    ([59, 0, 0, 0], Undecided),
                    ([59, 1, 0, 0], Undecided),
                    ([59, 60, 0, 0], Undecided),
                    ([60, 60, 0, 0], Undecided),
                    ([60, 60, 0, 60], Undecided),
                    ([60, 60, 60, 60], Lower),
                ],
            ),
            (
                "1 s final",
                50.0,
                120,
                [
                    ([0, 0, 59, 0], Undecided),
                    ([0, 0, 59, 1], Undecided),
                    ([0, 0, 59, 60], Undecided),
                    ([0, 0, 60, 60], Lower),
                    ([0, 0, 120, 60], Lower),
                    ([0, 0, 180, 60], Lower),
                ],
            ),
            (
                "20 % exceed",
                20.0,
                60,
                [
                    ([59, 0, 0, 0], Undecided),
                    ([59, 1, 0, 0], Undecided),
                    ([59, 60, 0, 0], Upper),
                    ([60, 60, 0, 0], Upper),
                    ([60, 60, 60, 0], Upper),
                    ([60, 60, 120, 0], Upper),
                ],
            ),
        ];
        for (goal, exceed, sum_s, rows) in goals {
            for (n, (seconds, expected)) in (1..).zip(rows) {
                assert_eq!(class(exceed, sum_s, seconds), expected, "{goal}, {n}");
            }
        }
    }

    #[test]
    fn nothing_measured_decides_nothing_and_one_full_trial_of_the_defaults_carries() {
        assert_eq!(class(50.0, 120, [0; 4]), Undecided);
        assert_eq!(class(50.0, 120, [0, 0, 60, 0]), Lower);
        assert_eq!(class(50.0, 120, [0, 0, 0, 60]), Undecided);
        assert_eq!(class(50.0, 120, [0, 15, 0, 60]), Upper);
        assert_eq!(class(0.0, 60, [0, 0, 60, 0]), Lower);
        assert_eq!(class(100.0, 60, [0, 0, 1, 0]), Lower, "a ratio of one is taken as the next below");
    }

    /// Straight from the RFC's prose, second by second: short bad time counts as far as short good time, in the
    /// proportion that the exceed ratio allows, does not weigh it up; time that is missing from the duration sum may
    /// still be all good, or all bad; a load is a bound if the share of bad time then is, or is not, within the ratio.
    fn by_prose((p, q): (i128, i128), sum: i128, [sg, sb, fg, fb]: [i128; 4]) -> Class {
        // All times in parts of 1/(q − p) second.
        let unit = q - p;
        let unbalanced = (sb * unit - sg * p).max(0);
        let (good, bad) = (fg * unit, fb * unit + unbalanced);
        let missing = (sum * unit - good - bad).max(0);
        let exceeds = |bad: i128, whole: i128| bad * q > whole * p;
        let whole = good + bad + missing;
        match (exceeds(bad, whole), exceeds(bad + missing, whole)) {
            (true, _) => Upper,
            (false, false) => Lower,
            (false, true) => Undecided,
        }
    }

    #[test]
    fn a_load_leans_as_its_time_does() {
        let rule = Rules::new(Percent(0.5), 120_000);
        let sums = |short_good, short_bad| Sums { short_good, short_bad, ..Sums::default() };
        assert!(leans_bad(&sums(0, 10_000), rule) && leans_bad(&sums(10_000, 15_000), rule));
        assert!(!leans_bad(&sums(15_000, 15_000), rule) && !leans_bad(&Sums::default(), rule));
        assert_eq!(bad_to_reject(&sums(0, 15_000), rule), 45_001);
    }

    #[test]
    fn a_load_wavers_once_neither_ratio_can_be_met() {
        let stands = |exceed: f64, [short_good, short_bad, full_good, full_bad]: [u64; 4]| {
            let sums = Sums {
                short_good: short_good * 1000,
                short_bad: short_bad * 1000,
                full_good: full_good * 1000,
                full_bad: full_bad * 1000,
            };
            standing(&sums, Rules::new(Percent(exceed), 120_000))
        };
        for (seconds, expected) in [
            ([15, 0, 60, 0], Standing::Undecided),
            ([15, 0, 120, 0], Standing::Carried),
            ([0, 15, 120, 0], Standing::Carried),
            ([0, 15, 0, 60], Standing::Undecided),
            ([0, 15, 0, 120], Standing::Rejected),
            ([0, 31, 0, 60], Standing::Rejected),
            ([0, 0, 60, 60], Standing::Wavering),
            ([0, 0, 180, 60], Standing::Carried),
            ([0, 0, 60, 240], Standing::Rejected),
        ] {
            assert_eq!(stands(0.25, seconds), expected, "{seconds:?}");
        }
        assert_eq!(stands(0.5, [0, 0, 60, 60]), Standing::Carried, "one ratio leaves nothing between");
        assert_eq!(
            standing(&Sums { short_bad: 1, ..Sums::default() }, Rules::strict(60_000)),
            Standing::Rejected
        );
    }

    proptest! {
        #[test]
        fn so_much_bad_time_rejects_and_less_does_not(
            sums in proptest::array::uniform4(0u64..400_000),
            exceed in 0.0..0.99f64,
            sum_ms in 1u64..500_000,
        ) {
            let rules = Rules::new(Percent(exceed), sum_ms);
            let [short_good, short_bad, full_good, full_bad] = sums;
            let sums = Sums { short_good, short_bad, full_good, full_bad };
            let more = bad_to_reject(&sums, rules);
            let after = |ms: u64| classify(&Sums { short_bad: short_bad + ms, ..sums }, rules.rejected);
            prop_assert_ne!(after(more.max(1) + 1), Class::Lower);
            prop_assert_eq!(after(more + 1), Class::Upper);
            // Rounded up twice.
            prop_assert!(more < 5 || after(more - 4) != Class::Upper);
        }

        #[test]
        fn classes_are_those_of_the_prose(
            ratio in prop::sample::select(vec![(0, 1), (1, 2), (1, 5), (1, 4), (3, 4), (1, 100), (99, 100)]),
            sum in 0u64..200, times in [0u64..200, 0u64..200, 0u64..200, 0u64..200],
        ) {
            let (p, q): (i128, i128) = ratio;
            let expected = by_prose(ratio, sum.into(), times.map(i128::from));
            prop_assert_eq!(class(100.0 * p as f64 / q as f64, sum, times), expected);
        }

        /// More good time never turns a lower bound into another class, more bad time never an upper bound.
        #[test]
        fn more_of_the_same_keeps_the_class(
            exceed in 0.0..99.0f64, sum in 1u64..200, times in [0u64..200, 0u64..200, 0u64..200, 0u64..200],
            more in 1u64..100,
        ) {
            let add = |at: usize| { let mut times = times; times[at] += more; class(exceed, sum, times) };
            match class(exceed, sum, times) {
                Lower => { prop_assert_eq!(add(0), Lower); prop_assert_eq!(add(2), Lower); }
                Upper => { prop_assert_eq!(add(1), Upper); prop_assert_eq!(add(3), Upper); }
                Undecided => {}
            }
        }

        /// Bad time never makes a load better, good time never makes it worse.
        #[test]
        fn standings_follow_the_time(
            exceed in 0.0..99.0f64, sum in 1u64..200, times in [0u64..200, 0u64..200, 0u64..200, 0u64..200],
        ) {
            let of = |[short_good, short_bad, full_good, full_bad]: [u64; 4]| {
                standing(&Sums { short_good, short_bad, full_good, full_bad }, Rules::new(Percent(exceed / 100.0), sum))
            };
            let [a, b, c, d] = times;
            let full = [a, b, c + sum, d];
            prop_assert_ne!(of(full), Standing::Undecided, "the duration sum decides");
            if of(times) == Standing::Carried {
                prop_assert_eq!(of([a, b, c + 1, d]), Standing::Carried);
            }
            if of(times) == Standing::Rejected {
                prop_assert_eq!(of([a, b, c, d + 1]), Standing::Rejected);
            }
        }

        /// Full trials as long as the duration sum always decide.
        #[test]
        fn the_duration_sum_decides(exceed in 0.0..99.0f64, sum in 0u64..200, short in [0u64..99, 0u64..99], good in 0u64..=200) {
            let full_good = good.min(sum);
            let times = [short[0], short[1], full_good, sum - full_good];
            prop_assert_ne!(class(exceed, sum, times), Undecided);
        }

        #[test]
        fn no_sum_overflows(times in [any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()], sum: u64, exceed in 0.0..1.0f64) {
            let [short_good, short_bad, full_good, full_bad] = times;
            classify(&Sums { short_good, short_bad, full_good, full_bad }, Rule::new(Percent(exceed), sum));
        }
    }
}
