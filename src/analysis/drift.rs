//! Drift: a call that grows slower while it lasts. A queue that never drains shows here long before the
//! 99th percentile does.

/// Below so many points a slope says more of the noise than of the call.
const LEAST_POINTS: usize = 10;
/// Points that slopes are taken between; 300 make 44,850 pairs.
const MOST_POINTS: usize = 300;
const MINUTE_S: f64 = 60.0;

/// The slope through (second, median RTT in ms), in ms per minute: the median of the slopes between
/// all pairs (Theil 1950, Sen 1968). Up to 29 % of the points may lie anywhere without moving it far.
///
/// Points may come in any order, with seconds missing; what is no number is left out. More than 300
/// are first put together, neighbours with neighbours, each group by its median. `None` with fewer than
/// 10 points, or all of the same second.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<f64> {
    let points = bins(in_order(points)?);
    let pairs = points.len() * (points.len() - 1) / 2;
    let mut slopes = Vec::with_capacity(pairs);
    for (n, (from_s, from_ms)) in points.iter().enumerate() {
        let later = points[n + 1..].iter().filter(|(s, _)| s > from_s);
        slopes.extend(later.map(|(s, ms)| (ms - from_ms) / (s - from_s)));
    }
    median(&mut slopes).map(|per_second| per_second * MINUTE_S).filter(|slope| slope.is_finite())
}

/// The median RTT of the last minute minus that of the first, in ms, from (second, median RTT in ms)
/// as above. A minute's median is taken over its seconds' medians: at a constant packet rate every
/// second weighs the same. `None` if the minutes overlap or hold fewer than 10 points each.
pub fn last_minus_first(points: &[(f64, f64)]) -> Option<f64> {
    let points = in_order(points)?;
    let ((first_s, _), (last_s, _)) = (*points.first()?, *points.last()?);
    // Seconds are numbered by their begin: those of 120 s end at 119.
    if last_s - first_s + 1.0 < 2.0 * MINUTE_S {
        return None;
    }
    let minute = |within: &dyn Fn(f64) -> bool| {
        let mut values: Vec<_> = points.iter().filter(|(s, _)| within(*s)).map(|(_, ms)| *ms).collect();
        if values.len() < LEAST_POINTS { None } else { median(&mut values) }
    };
    let first = minute(&|s| s < first_s + MINUTE_S)?;
    let last = minute(&|s| s > last_s - MINUTE_S)?;
    Some(last - first)
}

/// The points that are numbers, by time; `None` if they are too few.
fn in_order(points: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
    let finite = |(s, ms): &&(f64, f64)| s.is_finite() && ms.is_finite();
    let mut points: Vec<_> = points.iter().filter(finite).copied().collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    (points.len() >= LEAST_POINTS).then_some(points)
}

/// At most [`MOST_POINTS`] points, each in the middle of as many neighbours as it takes.
fn bins(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MOST_POINTS);
    if size <= 1 {
        return points;
    }
    let middle = |bin: &[(f64, f64)]| {
        let seconds = bin.iter().map(|(s, _)| s).sum::<f64>() / bin.len() as f64;
        let mut values: Vec<_> = bin.iter().map(|(_, ms)| *ms).collect();
        median(&mut values).map(|ms| (seconds, ms))
    };
    points.chunks(size).filter_map(middle).collect()
}

/// The middle value, or the mean of the two middle ones; leaves `values` in another order.
pub fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let even = values.len().is_multiple_of(2);
    let (below, middle, _) = values.select_nth_unstable_by(values.len() / 2, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| even);
    Some(lower.map_or(*middle, |lower| lower / 2.0 + *middle / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A point a second on a line of `per_minute` ms per minute.
    fn line(seconds: usize, from_ms: f64, per_minute: f64) -> Vec<(f64, f64)> {
        (0..seconds).map(|s| (s as f64, from_ms + per_minute * s as f64 / 60.0)).collect()
    }

    fn near(actual: Option<f64>, expected: f64) -> bool {
        actual.is_some_and(|a| (a - expected).abs() < 1e-6)
    }

    #[test]
    fn a_line_has_its_slope_and_a_level_call_none() {
        assert!(near(theil_sen(&line(300, 20.0, 1.5)), 1.5));
        assert!(near(theil_sen(&line(300, 20.0, -0.25)), -0.25));
        assert!(near(theil_sen(&line(10, 20.0, 0.0)), 0.0));
        let mut gaps = line(3000, 5.0, 3.0);
        gaps.retain(|(s, _)| !(200.0..900.0).contains(s));
        gaps.reverse();
        assert!(near(theil_sen(&gaps), 3.0));
    }

    #[test]
    fn outliers_do_not_bend_it() {
        let mut points = line(300, 20.0, 2.0);
        // A fifth of the seconds stalled, most of them near the end, where least squares would be led
        // astray.
        for point in points.iter_mut().skip(100).step_by(5) {
            point.1 += 800.0;
        }
        for point in &mut points[280..] {
            point.1 = 2000.0;
        }
        let slope = theil_sen(&points).unwrap();
        assert!((slope - 2.0).abs() < 0.2, "{slope}");
        let change = last_minus_first(&points).unwrap();
        assert!((change - 8.0).abs() < 1.5, "{change}");
    }

    #[test]
    fn too_few_points_say_nothing() {
        assert_eq!(theil_sen(&[]), None);
        assert_eq!(theil_sen(&line(9, 20.0, 1.0)), None);
        assert_eq!(theil_sen(&[(3.0, 20.0); 50]), None);
        assert_eq!(theil_sen(&[(f64::NAN, 1.0); 50]), None);
        let mut odd = line(20, 20.0, 1.0);
        odd.extend([(f64::INFINITY, 1.0), (5.0, f64::NAN)]);
        assert!(near(theil_sen(&odd), 1.0));
        assert_eq!(last_minus_first(&line(119, 20.0, 1.0)), None);
        let mut sparse = line(120, 20.0, 1.0);
        sparse.retain(|(s, _)| *s < 60.0 || *s > 115.0);
        assert_eq!(last_minus_first(&sparse), None);
    }

    #[test]
    fn the_last_minute_is_held_against_the_first() {
        assert!(near(last_minus_first(&line(120, 20.0, 0.0)), 0.0));
        assert!(near(last_minus_first(&line(120, 20.0, 6.0)), 6.0));
        assert!(near(last_minus_first(&line(300, 20.0, 6.0)), 24.0));
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    proptest! {
        /// Noise of ±a turns the slope of a pair by at most 2a / distance. More than half of all pairs
        /// are a quarter of the call apart, so the median is turned by no more than theirs.
        #[test]
        fn bounded_noise_turns_the_slope_little(
            per_minute in -50.0..50.0f64, seconds in 60usize..700, amplitude in 0.0..5.0f64,
            noise in proptest::collection::vec(-1.0..1.0f64, 700),
        ) {
            let mut points = line(seconds, 100.0, per_minute);
            points.iter_mut().zip(&noise).for_each(|(p, n)| p.1 += amplitude * n);
            let slope = theil_sen(&points).unwrap();
            let most = 2.0 * amplitude / (seconds as f64 / 4.0) * 60.0;
            prop_assert!((slope - per_minute).abs() <= most + 1e-6, "{slope} {per_minute} ± {most}");
        }

        #[test]
        fn any_points_at_all_are_safe(
            points in proptest::collection::vec((any::<f64>(), any::<f64>()), 0..400),
        ) {
            prop_assert!(theil_sen(&points).is_none_or(f64::is_finite));
            let _ = last_minus_first(&points);
        }

        #[test]
        fn many_points_become_few_in_the_same_order(count in 0usize..5000) {
            let bins = bins(line(count, 1.0, 1.0));
            prop_assert!(bins.len() <= MOST_POINTS && bins.len() >= count.min(MOST_POINTS / 2));
            prop_assert!(bins.is_sorted_by(|a, b| a.0 < b.0));
        }
    }
}
