//! The E-model's estimate of what people would say of a call (ITU-T G.107, narrow band).
//!
//! An estimate for planning, not a measurement of speech: it knows delay and loss, and nothing of
//! echo, level or noise, for which it takes G.107's defaults.

/// R with every parameter at its default (G.107 clause 7.7, editions since 2003).
const R_DEFAULT: f64 = 93.2;
/// Delay that nobody notices: mT, at its default (G.107 clause 7.4).
const UNNOTICED_MS: f64 = 100.0;
/// Limit of the delay impairment as the delay grows without bound.
const IDD_MOST: f64 = 50.0;
/// Equipment impairment of G.711 without loss (G.113 appendix I).
const IE_G711: f64 = 0.0;
/// The most that loss can impair (G.107 clause 7.5).
const IE_MOST: f64 = 95.0;
/// Packet-loss robustness of G.711 with and without concealment (G.113 appendix I; determined
/// with 10 ms packets).
const BPL_G711: (f64, f64) = (25.1, 4.3);

/// Concealment: the listener's device covers a lost packet up (as G.711 appendix I does) or plays silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concealment {
    /// It covers losses up.
    Yes,
    /// It plays silence.
    No,
}

/// The mean opinion score for a rating `r` (G.107 annex B): 1 (bad) to 4.5.
///
/// The formula dips to 0.989 between 0 and R = 6.5, where annex B no longer inverts it; no opinion is
/// below 1, so 1 is given there. What is no number gives no number.
pub fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else if r.is_nan() {
        r
    } else {
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

/// The rating of a G.711 call (G.107 clause 7.1): at most 93.2, and below 0 if both ways of spoiling
/// a call come together.
///
/// `ta_ms` is the delay from mouth to ear, see [`mouth_to_ear_ms`]; `ppl_percent` what is lost or
/// comes too late for the playout buffer, in per cent (0–100); `burst_r` from [`burst_r`], where
/// less than 1 counts as 1. What is no number gives no number.
pub fn r_factor(ta_ms: f64, ppl_percent: f64, burst_r: f64, concealment: Concealment) -> f64 {
    R_DEFAULT - delay_impairment(ta_ms) - loss_impairment(ppl_percent, burst_r, concealment)
}

/// The delay from mouth to ear that a round trip suggests, in milliseconds: half of it, plus one
/// packet to fill before it is sent, plus the playout buffer. That the two ways take the same time
/// is an assumption; nothing else in a report halves a round trip.
pub fn mouth_to_ear_ms(rtt_ms: f64, ptime_ms: f64, playout_ms: f64) -> f64 {
    rtt_ms / 2.0 + ptime_ms + playout_ms
}

/// BurstR (G.107 clause 7.5): how much longer the runs of lost packets are than at random, where a
/// share of `loss_ratio` (0–1) comes in runs of 1 / (1 − loss) on average. 1 is loss at random.
pub fn burst_r(loss_ratio: f64, mean_burst: f64) -> f64 {
    (mean_burst * (1.0 - loss_ratio.clamp(0.0, 1.0))).max(1.0)
}

/// Idd (G.107 clause 7.4): a delay too long for easy talk, echo apart; sT is at its default of 1.
fn delay_impairment(ta_ms: f64) -> f64 {
    if ta_ms <= UNNOTICED_MS {
        return 0.0;
    }
    if ta_ms.is_infinite() {
        return IDD_MOST;
    }
    let x = (ta_ms / UNNOTICED_MS).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// Ie,eff (G.107 clause 7.5) of G.711.
fn loss_impairment(ppl_percent: f64, burst_r: f64, concealment: Concealment) -> f64 {
    let bpl = match concealment {
        Concealment::Yes => BPL_G711.0,
        Concealment::No => BPL_G711.1,
    };
    let ppl = ppl_percent.clamp(0.0, 100.0);
    IE_G711 + (IE_MOST - IE_G711) * ppl / (ppl / burst_r.max(1.0) + bpl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Equal to the digits given.
    #[track_caller]
    fn same(actual: f64, published: f64, digits: i32) {
        assert!((actual - published).abs() <= 0.5 * 10f64.powi(-digits), "{actual} is not {published}");
    }

    #[test]
    fn the_published_vectors() {
        same(mos(93.2), 4.409, 3);
        for (ta_ms, idd, score) in
            [(150.0, 0.164, 4.406), (200.0, 3.044, 4.343), (300.0, 14.761, 3.964), (400.0, 24.070, 3.556)]
        {
            same(delay_impairment(ta_ms), idd, 3);
            same(mos(r_factor(ta_ms, 0.0, 1.0, Concealment::Yes)), score, 3);
        }
        for (concealment, ie_eff, score) in [(Concealment::Yes, 3.64, 4.328), (Concealment::No, 17.92, 3.834)]
        {
            same(loss_impairment(1.0, 1.0, concealment), ie_eff, 2);
            same(mos(r_factor(100.0, 1.0, 1.0, concealment)), score, 3);
        }
    }

    #[test]
    fn the_ends_of_the_scale() {
        assert_eq!([-5.0, 0.0, 3.2, 100.0, 120.0].map(mos), [1.0, 1.0, 1.0, 4.5, 4.5]);
        assert_eq!(r_factor(0.0, 0.0, 1.0, Concealment::No), 93.2);
        same(delay_impairment(1e12), delay_impairment(f64::INFINITY), 2);
        same(r_factor(f64::INFINITY, 100.0, 1.0, Concealment::No), 93.2 - 50.0 - 9500.0 / 104.3, 9);
        assert!(mos(f64::NAN).is_nan());
        assert!(r_factor(f64::NAN, 0.0, 1.0, Concealment::Yes).is_nan());
        assert!(r_factor(0.0, f64::NAN, 1.0, Concealment::Yes).is_nan());
    }

    #[test]
    fn bursts_are_measured_against_chance() {
        same(burst_r(0.02, 1.0 / 0.98), 1.0, 9);
        same(burst_r(0.02, 3.0), 2.94, 9);
        assert_eq!([burst_r(0.5, 1.0), burst_r(1.0, 9.0), burst_r(0.1, f64::NAN)], [1.0; 3]);
        assert!(loss_impairment(5.0, 3.0, Concealment::Yes) > loss_impairment(5.0, 1.0, Concealment::Yes));
        assert_eq!(mouth_to_ear_ms(60.0, 20.0, 60.0), 110.0);
    }

    proptest! {
        #[test]
        fn more_of_anything_bad_is_never_better(
            ta in 0.0..2000.0f64, ppl in 0.0..100.0f64, burst in 1.0..10.0f64, more in 0.0..100.0f64,
        ) {
            let score = |ta, ppl, burst, concealment| mos(r_factor(ta, ppl, burst, concealment));
            let here = score(ta, ppl, burst, Concealment::Yes);
            prop_assert!((1.0..=4.5).contains(&here));
            prop_assert!(score(ta + more, ppl, burst, Concealment::Yes) <= here + 1e-9);
            prop_assert!(score(ta, ppl + more, burst, Concealment::Yes) <= here + 1e-9);
            prop_assert!(score(ta, ppl, burst + more, Concealment::Yes) <= here + 1e-9);
            prop_assert!(score(ta, ppl, burst, Concealment::No) <= here + 1e-9);
        }
    }
}
