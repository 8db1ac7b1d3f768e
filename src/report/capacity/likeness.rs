//! Likeness of two searches: a capacity is that of its scenario, its gates and its machine.

use super::{CapacityReport, SearchPlace, SearchSettings};
use crate::report::words::one_line;
use crate::search::Goal;
use crate::values::cut;

/// Longest name of a machine, or of a version.
const LONGEST: usize = 200;

impl CapacityReport {
    /// Ways in which this search differs from an earlier one beside its answer, in words.
    pub fn differences(&self, base: &CapacityReport) -> Vec<String> {
        let (new, old) = (&self.environment, &base.environment);
        let gates = self.goals.iter().filter_map(|goal| {
            let former = base.goals.iter().find(|former| former.goal == goal.goal)?;
            (former.gates != goal.gates).then(|| format!("the gates of `{}`", goal.goal))
        });
        let scenario = (new.scenario_hash != old.scenario_hash).then(|| "the scenario".to_string());
        let settings = settings(&base.settings, &self.settings);
        scenario.into_iter().chain(gates).chain(settings).chain(places(old, new)).collect()
    }
}

impl CapacityReport {
    /// Ways in which machine and gates differ from those that the trials of this report were made with: `kernel`.
    pub fn differs_from(&self, here: &SearchPlace, goals: &[Goal]) -> Vec<String> {
        let then = &self.environment;
        let is_other_goal = |goal: &Goal| {
            let texts = goal.gates.iter().map(|gate| &gate.text);
            self.goals
                .iter()
                .find(|former| former.goal == goal.name)
                .is_none_or(|former| !texts.eq(&former.gates))
        };
        let found = [
            ("CPU", then.cpu != here.cpu || then.machine_cpus != here.machine_cpus),
            ("kernel", then.kernel != here.kernel),
            ("version of loadtest", then.version != here.version),
            ("scenario", then.scenario_hash != here.scenario_hash),
            ("list of gates", goals.iter().any(is_other_goal)),
        ];
        differing(found).map(String::from).collect()
    }
}

/// Names of what differs.
fn differing<const N: usize>(found: [(&'static str, bool); N]) -> impl Iterator<Item = &'static str> {
    found.into_iter().filter(|(_, is_other)| *is_other).map(|(name, _)| name)
}

/// Settings that decide what counts as carried, where they differ.
fn settings(old: &SearchSettings, new: &SearchSettings) -> Option<String> {
    let found = [
        ("strict", old.strict != new.strict),
        ("exceed", old.exceed_ratio != new.exceed_ratio),
        ("initial_trial", old.initial_trial_s != new.initial_trial_s),
        ("final_trial", old.final_trial_s != new.final_trial_s),
        ("duration_sum", old.duration_sum_s != new.duration_sum_s),
        ("revisit", old.revisit_s != new.revisit_s),
    ];
    let named: Vec<_> = differing(found).collect();
    (!named.is_empty()).then(|| format!("the search's settings ({})", named.join(", ")))
}

/// Differences of machine and programs.
fn places(old: &SearchPlace, new: &SearchPlace) -> Vec<String> {
    // Somebody else may have written the old one.
    let shown = |text: &str| cut(&one_line(text), LONGEST);
    let differs = |what: &str, old: &str, new: &str| {
        (old != new).then(|| format!("{what} ({} before, now {})", shown(old), shown(new)))
    };
    let cpus = |place: &SearchPlace| format!("{} x {}", place.machine_cpus, place.cpu);
    let found = [
        differs("the CPUs", &cpus(old), &cpus(new)),
        differs("the kernel", &old.kernel, &new.kernel),
        differs("Asterisk", &old.asterisk, &new.asterisk),
        differs("the service", &old.service, &new.service),
        differs("loadtest", &old.version, &new.version),
        differs("the driver's scheduling", &old.scheduling.driver, &new.scheduling.driver),
        differs("the service's scheduling", &old.scheduling.service, &new.scheduling.service),
        differs("Asterisk's scheduling", &old.scheduling.asterisk, &new.scheduling.asterisk),
    ];
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;

    #[test]
    fn what_differs_beside_the_answer_is_named() {
        let base = fixture::typical();
        assert_eq!(base.differences(&base), [] as [&str; 0]);
        let mut new = base.clone();
        new.environment.scenario_hash = "other".into();
        new.environment.machine_cpus += 2;
        new.goals[0].gates.pop();
        new.settings.strict = !base.settings.strict;
        new.settings.exceed_ratio += 0.1;
        new.settings.time_limit_s = Some(1.0);
        let cpus = |report: &super::CapacityReport| report.environment.machine_cpus;
        let found = new.differences(&base);
        let cpu = &base.environment.cpu;
        let of_cpus = format!("the CPUs ({} x {cpu} before, now {} x {cpu})", cpus(&base), cpus(&new));
        let gates = format!("the gates of `{}`", new.goals[0].goal);
        let settings = "the search's settings (strict, exceed)".into();
        assert_eq!(found, ["the scenario".into(), gates, settings, of_cpus]);
    }
}
