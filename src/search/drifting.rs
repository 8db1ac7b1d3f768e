//! Searches of services that carry a load at times, and at times not.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::simulated::{bad, calls, conditions, default_search, goals, play, settings, with};
use super::*;

#[test]
fn loads_that_are_carried_at_times_make_the_answer_as_wide_as_they_are() {
    // Good and bad in turn from 180 to 230 calls.
    let mut tries: BTreeMap<Load, u32> = BTreeMap::new();
    let played = play(default_search(), 60, |trial| {
        let tried = tries.entry(trial.load).or_default();
        *tried += 1;
        let is_good = match trial.load.number() as u32 {
            ..180 => true,
            180..=230 => *tried % 2 == 1,
            _ => false,
        };
        with(trial, if is_good { Outcome::Good } else { bad() })
    });
    let (Some(lower), Some(upper)) = played.bounds() else { panic!("{:?}", played.answer) };
    assert!((160..180).contains(&lower) && (231..=260).contains(&upper), "{:?}", played.answer);
    let Ending::Wavering { from, to } = played.goal().ending else { panic!("{:?}", played.answer) };
    assert!(calls(lower) < from && from <= to && to < calls(upper), "{:?}", played.answer);
    assert!(played.goal().sentence.contains("trials contradict each other"), "{:?}", played.answer);
}

/// A service on a machine whose speed drifts: the logarithm of its capacity is 0 on average and `deviation` wide, and
/// what it is now is forgotten by half in so many seconds.
struct Drifting {
    random: StdRng,
    log: f64,
    deviation: f64,
    half_life_s: f64,
}

impl Drifting {
    fn new(seed: u64, half_life_s: f64) -> Drifting {
        Drifting { random: StdRng::seed_from_u64(seed), log: 0.0, deviation: 0.08, half_life_s }
    }

    /// Goes on by so many seconds, and says what it carries.
    fn after(&mut self, seconds: f64, mean: f64) -> f64 {
        let kept = 0.5f64.powf(seconds / self.half_life_s);
        // Twelve uniform draws are normal enough.
        let normal: f64 = (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0;
        self.log = self.log * kept + normal * self.deviation * (1.0 - kept * kept).sqrt();
        mean * self.log.exp()
    }
}

/// Pairs of searches, one after the other on one drifting machine, that say different things, of 200; and the minutes
/// within which half of the searches end.
fn apart(settings: &Settings, half_life_s: f64) -> (usize, u64) {
    let (mut apart, mut minutes) = (0, Vec::new());
    for seed in 0..200 {
        let mut machine = Drifting::new(seed, half_life_s);
        let mut one = || {
            let search = Search::new(settings, goals(&["good"]), conditions(None));
            let played = play(search, 120, |trial| {
                let now = machine.after(trial.took_s, 265.0);
                let is_carried = trial.load.number() <= now;
                with(trial, if is_carried { Outcome::Good } else { bad() })
            });
            minutes.push(played.spent.as_secs() / 60);
            played.answer
        };
        let (first, second) = (one(), one());
        apart += usize::from(compare(&first, &second).iter().any(|found| found.change != Change::None));
    }
    minutes.sort_unstable();
    (apart, minutes[minutes.len() / 2])
}

#[test]
fn two_searches_on_a_machine_that_drifts_seldom_differ_where_what_wavers_is_let_waver() {
    let (usual, minutes) = apart(&Settings::default(), 180.0);
    let (one_ratio, _) = apart(&settings("exceed = '50%'"), 180.0);
    let (slow, _) = apart(&Settings::default(), 600.0);
    let (once, _) = apart(&settings("revisit = '0s'"), 600.0);
    let told = format!(
        "{usual} of 200 apart in {minutes} min, {one_ratio} with one ratio; on one that drifts slowly {slow}, {once} \
         where nothing is tried again"
    );
    assert!(usual <= 20 && minutes <= 26 && one_ratio >= 3 * usual && 3 * slow <= 2 * once, "{told}");
}
