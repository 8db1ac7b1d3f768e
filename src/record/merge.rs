//! The records of several drivers → those of the run that they have made together. A fold: nothing is estimated.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Environment, Intervals, LogLine, MOST_LADDERS, MOST_LINES, Observed, RegisterRecord, Run, SecondRecord,
    StageRecord,
};

/// One driver's records.
#[derive(Debug, Clone)]
pub struct Share {
    /// Number of the shard.
    pub index: u32,
    /// Its records. Numbers of calls are those of the whole run.
    pub run: Run,
}

/// The run of these shares, in the order of their numbers; an empty one of none. Excerpts of conversations stay with the
/// shard that has their audio.
pub fn merge(mut shares: Vec<Share>) -> Run {
    if shares.len() <= 1 {
        return shares.pop().map(|share| share.run).unwrap_or_default();
    }
    shares.sort_by_key(|share| share.index);
    let environment = environment(&shares);
    let seconds = seconds(&shares);
    let mut merged = Run { environment, seconds, ..Run::default() };
    for Share { run, .. } in shares {
        merged.calls.extend(run.calls);
        merged.call_seconds.extend(run.call_seconds);
        merged.silences.extend(run.silences);
        merged.turns.extend(run.turns);
        merged.signals.extend(run.signals);
        merged.quality.extend(run.quality);
        add(&mut merged.intervals, &run.intervals);
    }
    merged.calls.sort_by_key(|call| call.call);
    merged.call_seconds.sort_by_key(|second| (second.call, second.second));
    // Audio stays with the shard that has it.
    merged.quality.iter_mut().for_each(|row| row.audio.clear());
    // Stable: a call's own are in their order.
    merged.silences.sort_by_key(|silence| silence.call);
    merged.turns.sort_by_key(|turn| turn.call);
    merged.signals.sort_by_key(|signal| (signal.call, signal.number));
    merged.quality.sort_by_key(|passage| (passage.call, passage.number));
    let ranks: BTreeMap<_, _> = merged.calls.iter().map(|call| (call.call, call.rank())).collect();
    let ladders = &mut merged.environment.observed.ladders;
    ladders.sort_by_key(|ladder| ranks.get(&ladder.call).copied());
    ladders.truncate(MOST_LADDERS);
    merged
}

fn add(sum: &mut Intervals, other: &Intervals) {
    for (second, series, scope, latencies) in other.iter() {
        sum.add(second, series, scope, &latencies);
    }
    for (target, latencies) in other.targets() {
        sum.add_target(target, &latencies);
    }
}

/// The machines of the shares: each counts once, by the first share that names it.
fn machines(shares: &[Share]) -> Vec<&Environment> {
    let mut seen = BTreeSet::new();
    let environments = shares.iter().map(|share| &share.run.environment);
    environments.filter(|environment| seen.insert(environment.host.as_str())).collect()
}

/// Rows by second since the common start.
fn seconds(shares: &[Share]) -> Vec<SecondRecord> {
    let mut rows: BTreeMap<u32, Vec<(&Environment, &SecondRecord)>> = BTreeMap::new();
    for Share { run, .. } in shares {
        for row in &run.seconds {
            rows.entry(row.second).or_default().push((&run.environment, row));
        }
    }
    rows.into_iter().map(|(second, rows)| joined(second, &rows)).collect()
}

fn joined(second: u32, rows: &[(&Environment, &SecondRecord)]) -> SecondRecord {
    let mut sum = SecondRecord { second, ..SecondRecord::default() };
    rows.iter().for_each(|(_, row)| sum += *row);
    let all = |of: fn(&SecondRecord) -> Option<f64>| rows.iter().filter_map(move |(_, row)| of(row));
    // A machine's own figures are the same to each driver on it.
    let mut seen = BTreeSet::new();
    let of_machine: Vec<_> =
        rows.iter().filter(|(of, row)| row.cpu_machine.is_some() && seen.insert(&of.host)).collect();
    let cpus = |environment: &Environment| f64::from(environment.all_cpus());
    let all_cpus: f64 = of_machine.iter().map(|(of, _)| cpus(of)).sum();
    let busy: f64 = of_machine.iter().filter_map(|(of, row)| Some(row.cpu_machine? * cpus(of))).sum();
    let cpu_machine = match of_machine.as_slice() {
        [] => None,
        [(_, row)] => row.cpu_machine,
        _ => Some(busy / all_cpus),
    };
    SecondRecord {
        cpu_driver: all(|row| row.cpu_driver).reduce(|a, b| a + b),
        driver_rss_mib: all(|row| row.driver_rss_mib).reduce(|a, b| a + b),
        // Of these there is one, and who is on its machine sees it.
        cpu_service: all(|row| row.cpu_service).reduce(f64::max),
        cpu_asterisk: all(|row| row.cpu_asterisk).reduce(f64::max),
        service_rss_mib: all(|row| row.service_rss_mib).reduce(f64::max),
        asterisk_rss_mib: all(|row| row.asterisk_rss_mib).reduce(f64::max),
        cpu_steal: all(|row| row.cpu_steal).reduce(f64::max),
        cpu_machine,
        ..sum
    }
}

fn environment(shares: &[Share]) -> Environment {
    let all = || shares.iter().map(|share| &share.run.environment);
    let machines = machines(shares);
    let sum = |of: fn(&Environment) -> u64| all().map(of).sum::<u64>();
    let any = |is: fn(&Environment) -> bool| all().any(is);
    let words = |of: fn(&Environment) -> &String| distinct(all().map(of));
    let first = all().next().cloned().unwrap_or_default();
    let broken = shares.iter().find(|share| !share.run.environment.broken.is_empty());
    let mut merged = Environment {
        elapsed_s: all().map(|of| of.elapsed_s).fold(0.0, f64::max),
        interrupted: any(|of| of.interrupted),
        ended_early: all().find_map(|of| of.ended_early.clone()),
        broken: broken.map_or(String::new(), |share| {
            format!("shard {}: {}", share.index, share.run.environment.broken)
        }),
        broken_by: broken.and_then(|share| share.run.environment.broken_by.clone()),
        window_from_s: all().filter_map(|of| of.window_from_s).reduce(f64::min),
        window_to_s: all().filter_map(|of| of.window_to_s).reduce(f64::max),
        calls: all().map(|of| of.calls).fold(0, u32::saturating_add),
        calls_at_start: all().map(|of| of.calls_at_start).fold(0, u32::saturating_add),
        suppressed_attempts: sum(|of| of.suppressed_attempts),
        stages: stages(shares),
        host: words(|of| &of.host),
        cpu: words(|of| &of.cpu),
        kernel: words(|of| &of.kernel),
        scheduling: words(|of| &of.scheduling),
        unseen: words(|of| &of.unseen),
        cpus: machines.iter().map(|of| of.cpus).fold(0, u32::saturating_add),
        machine_cpus: machines.iter().map(|of| of.machine_cpus).fold(0, u32::saturating_add),
        memory_mib: machines.iter().map(|of| of.memory_mib).sum(),
        clock_step_ns: all()
            .map(|of| of.clock_step_ns)
            .max_by_key(|ns| ns.unsigned_abs())
            .unwrap_or_default(),
        negative_rtt: sum(|of| of.negative_rtt),
        unstamped: sum(|of| of.unstamped),
        no_stamps: any(|of| of.no_stamps),
        skipped: sum(|of| of.skipped),
        unsent: sum(|of| of.unsent),
        control_drops: sum(|of| of.control_drops),
        impaired: any(|of| of.impaired),
        sip_read_lag_max_ms: all().map(|of| of.sip_read_lag_max_ms).fold(0.0, f64::max),
        sip_drops: sum(|of| of.sip_drops),
        sip_garbage: sum(|of| of.sip_garbage),
        sip_strays: sum(|of| of.sip_strays),
        service_drops: sum(|of| of.service_drops),
        impair_overflows: sum(|of| of.impair_overflows),
        // Counted once, by one of them.
        leaks: all()
            .map(|of| &of.leaks)
            .find(|leaks| leaks.unknown.is_empty())
            .unwrap_or(&first.leaks)
            .clone(),
        service_record: all().find_map(|of| of.service_record.clone()),
        observed: observed(shares, &machines),
        register: register(shares),
        remarks: remarks(shares),
        share: None,
        // Those of each driver are in its own report.
        lanes: Vec::new(),
        ..first.clone()
    };
    merged.suppressed = Default::default();
    all().for_each(|of| merged.suppressed += of.suppressed);
    if let Some(offered) = &mut merged.offered {
        offered.rate_per_s = all().filter_map(|of| of.offered).map(|offered| offered.rate_per_s).sum();
    }
    merged
}

/// Distinct words, joined.
fn distinct<'a>(words: impl Iterator<Item = &'a String>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !seen.contains(&word.as_str()) {
            seen.push(word);
        }
    }
    seen.join(", ")
}

/// The stages that began with any of them.
fn stages(shares: &[Share]) -> Vec<StageRecord> {
    let mut merged: Vec<StageRecord> = Vec::new();
    for Share { run, .. } in shares {
        for (n, stage) in run.environment.stages.iter().enumerate() {
            let Some(sum) = merged.get_mut(n) else {
                merged.push(stage.clone());
                continue;
            };
            sum.calls = sum.calls.zip(stage.calls).map(|(a, b)| a.saturating_add(b));
            sum.calls_at_start = sum.calls_at_start.saturating_add(stage.calls_at_start);
            sum.suppressed += stage.suppressed;
            (sum.from_s, sum.to_s) = (sum.from_s.or(stage.from_s), sum.to_s.or(stage.to_s));
            if let Some((sum, offered)) = sum.offered.as_mut().zip(stage.offered) {
                sum.rate_per_s += offered.rate_per_s;
            }
        }
    }
    merged
}

fn observed(shares: &[Share], machines: &[&Environment]) -> Observed {
    let all = || shares.iter().map(|share| &share.run.environment.observed);
    let lines = |of: fn(&Observed) -> &Vec<LogLine>| lines(all().flat_map(of));
    let mut ladders: Vec<_> = all().flat_map(|of| of.ladders.iter().cloned()).collect();
    // Captures stay with the shard that has made them.
    ladders.iter_mut().for_each(|ladder| ladder.capture.clear());
    Observed {
        ari: all().find_map(|of| of.ari.clone()),
        unmatched: machines.iter().map(|of| of.observed.unmatched).sum(),
        unreadable: lines(|of| &of.unreadable),
        odd: lines(|of| &of.odd),
        asterisk_log: lines(|of| &of.asterisk_log),
        service_log: lines(|of| &of.service_log),
        ladders,
        ..all().next().cloned().unwrap_or_default()
    }
}

/// The first distinct lines, with the sums of their counts.
fn lines<'a>(all: impl Iterator<Item = &'a LogLine>) -> Vec<LogLine> {
    let mut merged: Vec<LogLine> = Vec::new();
    for line in all {
        let known = merged.iter().position(|known| known.text == line.text);
        match known {
            Some(at) => merged[at].count += line.count,
            None if merged.len() < MOST_LINES => merged.push(line.clone()),
            None => {}
        }
    }
    merged
}

/// Registrations of all accounts, each of which one shard has. Their times cannot be added: files have percentiles only.
fn register(shares: &[Share]) -> Option<RegisterRecord> {
    let records = shares.iter().filter_map(|share| share.run.environment.register.as_ref());
    records.fold(None, |sum: Option<RegisterRecord>, record| {
        let Some(sum) = sum else {
            return Some(RegisterRecord { time: Default::default(), ..record.clone() });
        };
        Some(RegisterRecord {
            wanted: sum.wanted + record.wanted,
            rate_per_s: sum.rate_per_s + record.rate_per_s,
            took_s: sum.took_s.max(record.took_s),
            attempts: sum.attempts + record.attempts,
            registered: sum.registered + record.registered,
            failed: sum.failed + record.failed,
            refreshed: sum.refreshed + record.refreshed,
            refresh_failed: sum.refresh_failed + record.refresh_failed,
            leaving: sum.leaving + record.leaving,
            left: sum.left + record.left,
            failures: lines(sum.failures.iter().chain(&record.failures)),
            time: Default::default(),
        })
    })
}

/// Remarks, each with the shards that make it, unless that is all of them.
fn remarks(shares: &[Share]) -> Vec<String> {
    let mut by_text: Vec<(&str, Vec<u32>)> = Vec::new();
    for Share { index, run } in shares {
        for remark in &run.environment.remarks {
            match by_text.iter_mut().find(|(text, _)| text == remark) {
                Some((_, of)) => of.push(*index),
                None => by_text.push((remark, vec![*index])),
            }
        }
    }
    let told = |(text, of): (&str, Vec<u32>)| match of.as_slice() {
        all if all.len() == shares.len() => text.to_string(),
        [one] => format!("shard {one}: {text}"),
        some => format!("shards {}: {text}", some.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    };
    by_text.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;
    use crate::record::{Latencies, fixture};

    /// A number dealt to `count` parts at random.
    fn dealt(whole: u64, count: usize, random: &mut Xoshiro256PlusPlus) -> Vec<u64> {
        let mut parts = vec![0; count];
        let mut left = whole;
        for part in parts.iter_mut().skip(1) {
            *part = random.next_u64() % (left + 1);
            left -= *part;
        }
        parts[0] = left;
        parts
    }

    /// The same run as `count` drivers would have recorded it: each packet, call and event in one of them.
    fn split(run: &Run, count: u32, seed: u64) -> Vec<Share> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let share = |index| {
            let mut environment = Environment { remarks: vec!["r".into()], ..run.environment.clone() };
            environment.calls = environment.calls / count + u32::from(environment.calls % count > index);
            environment.calls_at_start =
                environment.calls_at_start / count + u32::from(environment.calls_at_start % count > index);
            Share { index, run: Run { environment, ..Run::default() } }
        };
        let mut shares: Vec<_> = (0..count).map(share).collect();
        let of = |call: u32| (call % count) as usize;
        run.calls.iter().for_each(|call| shares[of(call.call)].run.calls.push(call.clone()));
        run.call_seconds.iter().for_each(|row| shares[of(row.call)].run.call_seconds.push(*row));
        run.silences.iter().for_each(|row| shares[of(row.call)].run.silences.push(*row));
        run.turns.iter().for_each(|row| shares[of(row.call)].run.turns.push(row.clone()));
        for (second, series, scope, latencies) in run.intervals.iter() {
            let mut parts = vec![Latencies::default(); count as usize];
            for (ns, whole) in latencies.counts() {
                let dealt = dealt(whole, count as usize, &mut random);
                parts.iter_mut().zip(dealt).for_each(|(part, n)| part.record_n(ns, n));
            }
            shares
                .iter_mut()
                .zip(parts)
                .for_each(|(share, part)| share.run.intervals.add(second, series, scope, &part));
        }
        for (target, latencies) in run.intervals.targets() {
            let mut parts = vec![Latencies::default(); count as usize];
            for (ns, whole) in latencies.counts() {
                let dealt = dealt(whole, count as usize, &mut random);
                parts.iter_mut().zip(dealt).for_each(|(part, n)| part.record_n(ns, n));
            }
            shares
                .iter_mut()
                .zip(parts)
                .for_each(|(share, part)| share.run.intervals.add_target(target, &part));
        }
        for row in &run.seconds {
            split_second(row, &mut shares, &mut random);
        }
        shares
    }

    fn split_second(row: &SecondRecord, shares: &mut [Share], random: &mut Xoshiro256PlusPlus) {
        type Field = fn(&mut SecondRecord) -> &mut u64;
        let counts: [Field; 14] = [
            |s| &mut s.sent,
            |s| &mut s.received,
            |s| &mut s.clipped,
            |s| &mut s.lost,
            |s| &mut s.late,
            |s| &mut s.duplicates,
            |s| &mut s.reordered,
            |s| &mut s.corrupted,
            |s| &mut s.control_sent,
            |s| &mut s.control_received,
            |s| &mut s.missed_slots,
            |s| &mut s.measured_sent,
            |s| &mut s.measured_missed_slots,
            |s| &mut s.socket_drops,
        ];
        let small: [fn(&mut SecondRecord) -> &mut u32; 5] = [
            |s| &mut s.calls_up,
            |s| &mut s.attempts,
            |s| &mut s.answered,
            |s| &mut s.failed,
            |s| &mut s.ended,
        ];
        let count = shares.len();
        let mut rows = vec![row.clone(); count];
        // One sees its own process; all see the machine.
        rows.iter_mut().skip(1).for_each(|row| (row.cpu_driver, row.driver_rss_mib) = (None, None));
        for field in counts {
            let parts = dealt(*field(&mut row.clone()), count, random);
            rows.iter_mut().zip(parts).for_each(|(row, n)| *field(row) = n);
        }
        for field in small {
            let parts = dealt((*field(&mut row.clone())).into(), count, random);
            rows.iter_mut().zip(parts).for_each(|(row, n)| *field(row) = n as u32);
        }
        shares.iter_mut().zip(rows).for_each(|(share, row)| share.run.seconds.push(row));
    }

    /// Made once: that takes longer than all that is done with them.
    static RUNS: LazyLock<Vec<Run>> = LazyLock::new(|| {
        vec![
            fixture::typical(),
            fixture::staged(),
            fixture::late_driver(),
            fixture::nothing_answered(),
            fixture::one_second(),
            fixture::of_targets(),
        ]
    });

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5, ..Default::default() })]

        #[test]
        fn the_records_of_shards_add_up_to_those_of_one_driver(count in 2u32..7, which in 0usize..6, seed in any::<u64>()) {
            let whole = RUNS[which].clone();
            let merged = merge(split(&whole, count, seed));
            prop_assert!(merged.intervals == whole.intervals, "the interval log");
            prop_assert!(merged.calls == whole.calls && merged.call_seconds == whole.call_seconds, "calls");
            prop_assert_eq!(&merged.silences, &whole.silences);
            prop_assert_eq!(&merged.environment.targets, &whole.environment.targets);
            prop_assert_eq!((merged.environment.calls, merged.environment.calls_at_start),
                (whole.environment.calls, whole.environment.calls_at_start));
            for (row, wanted) in merged.seconds.iter().zip(&whole.seconds) {
                let (rtt_p50_ms, rtt_p95_ms, rtt_p99_ms, rtt_max_ms) = Default::default();
                let (control_p50_ms, control_p99_ms, control_max_ms) = Default::default();
                let wanted = SecondRecord {
                    rtt_p50_ms, rtt_p95_ms, rtt_p99_ms, rtt_max_ms, control_p50_ms, control_p99_ms, control_max_ms,
                    ..wanted.clone()
                };
                prop_assert_eq!(row, &wanted);
            }
            prop_assert_eq!(merged.seconds.len(), whole.seconds.len());
        }
    }

    #[test]
    fn one_share_is_the_run_itself_and_none_is_an_empty_one() {
        let whole = fixture::typical();
        let merged = merge(vec![Share { index: 0, run: whole.clone() }]);
        assert_eq!(merged.environment, whole.environment);
        assert!(merged.seconds == whole.seconds && merge(Vec::new()).calls.is_empty());
    }

    #[test]
    fn machines_count_once_and_words_name_whose_they_are() {
        let share = |index: u32, host: &str, busy: f64, remark: &str| {
            let environment = Environment {
                host: host.into(),
                machine_cpus: 4,
                cpus: 2,
                memory_mib: 100,
                remarks: vec!["all".into(), remark.into()],
                ..Environment::default()
            };
            let row = SecondRecord {
                cpu_driver: Some(1.0),
                cpu_machine: Some(busy),
                cpu_steal: Some(busy / 10.0),
                cpu_asterisk: (index == 0).then_some(0.5),
                ..SecondRecord::default()
            };
            Share { index, run: Run { environment, seconds: vec![row], ..Run::default() } }
        };
        let shares = vec![share(1, "b", 0.8, "x"), share(2, "b", 0.81, "x"), share(0, "a", 0.4, "y")];
        let Run { environment, seconds, .. } = merge(shares);
        assert_eq!((environment.host.as_str(), environment.machine_cpus, environment.cpus), ("a, b", 8, 4));
        assert_eq!(environment.remarks, ["all", "shard 0: y", "shards 1, 2: x"]);
        let row = &seconds[0];
        assert_eq!((row.cpu_driver, row.cpu_asterisk, row.cpu_steal), (Some(3.0), Some(0.5), Some(0.081)));
        assert!((row.cpu_machine.unwrap() - 0.6).abs() < 1e-9);
    }
}
