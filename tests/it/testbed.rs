//! One testbed for several trials, called as a library.

use std::path::Path;

use loadtest::driver::{Progress, Stop};
use loadtest::metrics::Summary;
use loadtest::record::Phase;
use loadtest::run::{Finished, Observer, RunPlan, Testbed, execute};
use loadtest::values::Value;
use tokio::sync::watch;

use crate::harness::Place;

/// Hears of nothing, and wishes an end once calls are held, if it is told to.
struct Impatient(Option<watch::Sender<Stop>>);

impl Observer for Impatient {
    fn progress(&self, progress: &Progress<'_>) {
        if let Some(wish) = self.0.as_ref().filter(|_| progress.phase == Phase::Hold) {
            wish.send_replace(Stop::Soon);
        }
    }

    fn remark(&self, _: &str) {}
}

fn plan(place: &Place, set: &[&str]) -> RunPlan {
    let set: Vec<_> = place.settings().into_iter().chain(set.iter().map(|set| set.to_string())).collect();
    let mut plan = RunPlan::read(Path::new("scenarios/smoke.toml"), &set).expect("a valid scenario");
    plan.program = env!("CARGO_BIN_EXE_loadtest").into();
    plan
}

fn count(summary: &Summary, name: &str) -> u64 {
    match summary.metric(name).map(|metric| metric.value) {
        Some(Value::Number(count)) => count as u64,
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn a_testbed_outlives_its_trials_and_each_is_counted_by_itself() {
    let place = Place::new();
    let trial = |calls: u32| {
        let calls = format!("load.calls={calls}");
        plan(
            &place,
            &["load.duration=2s", &calls, r#"gates.require=["calls.answered == 100%", "leaks == 0"]"#],
        )
    };
    let mut testbed = Testbed::up(&trial(5), &place.path("logs")).await.expect("Asterisk and the service");
    let before = testbed.watched();
    for calls in [5, 3] {
        let (_wish, interrupt) = watch::channel(Stop::No);
        let finished = execute(&trial(calls), &mut testbed, interrupt, &Impatient(None)).await;
        let Finished { summary, verdict, .. } = finished.expect("a trial");
        let calls = u64::from(calls);
        assert_eq!(verdict.outcome.to_string(), "pass", "{verdict:?}");
        assert_eq!(count(&summary, "calls.attempts"), calls);
        assert_eq!(count(&summary, "packets.sent"), calls * 2 * 50);
        assert_eq!(count(&summary, "packets.received") + count(&summary, "loss.count"), calls * 2 * 50);
        // The service's own counts are the trial's too, not those of its life.
        assert_eq!(count(&summary, "ari.calls_count"), calls);
        let record = summary.environment.service_record.as_ref().expect("the service's record");
        assert_eq!(record.stages.bridged.count(), calls);
        assert!(!summary.environment.leaks.parts.is_empty(), "the leak check was made");
    }
    let (wish, interrupt) = watch::channel(Stop::No);
    let slow = plan(&place, &["service.delay=1ms"]);
    let refused = execute(&slow, &mut testbed, interrupt.clone(), &Impatient(None)).await;
    assert!(refused.is_err_and(|e| e.to_string().contains("[service]")), "its service has no delay");
    let finished = execute(&trial(2), &mut testbed, interrupt, &Impatient(Some(wish))).await;
    let environment = finished.expect("a trial").summary.environment;
    assert!(environment.interrupted && environment.broken.is_empty());
    assert_eq!(environment.leaks.total(None), Some(0), "{:?}", environment.leaks);
    let after = testbed.watched();
    assert_eq!((before.asterisk, before.service), (after.asterisk, after.service), "nothing was restarted");
    testbed.down().await;
    for pid in [after.asterisk, after.service].into_iter().flatten() {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left");
    }
}

#[tokio::test]
async fn whoever_ends_between_the_last_call_and_the_tear_down_breaks_the_run() {
    let is_asterisk = |who: &str| who == "Asterisk";
    for who in ["Asterisk", "the service"] {
        let place = Place::new();
        let plan = plan(&place, &["load.duration=1s", "load.calls=2"]);
        let mut testbed = Testbed::up(&plan, &place.path("logs")).await.expect("Asterisk and the service");
        let (_wish, interrupt) = watch::channel(Stop::No);
        let finished = execute(&plan, &mut testbed, interrupt, &Impatient(None)).await.expect("a trial");
        assert_eq!(finished.summary.environment.broken, "");
        let started = testbed.started();
        let pid = if is_asterisk(who) { started.asterisk } else { started.service }.expect("its process");
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
        // The other one is not torn down meanwhile, so nothing but this can be said.
        testbed.broken().await;
        let broken = testbed.down().await.expect("it has ended by itself");
        let said = broken.to_string();
        assert!(said.starts_with(&format!("{who} ended by itself during the run (signal: 9")), "{said}");
        let finished = finished.broken_since(&plan, Some(broken)).expect("it can be written");
        assert_eq!(finished.summary.environment.broken, said);
        let (_, written) =
            finished.raw.iter().find(|(name, _)| *name == "environment.json").expect("written");
        assert!(String::from_utf8_lossy(written).contains("ended by itself during the run"));
    }
}

#[tokio::test]
async fn a_run_keeps_what_ari_and_the_logs_say() {
    let place = Place::new();
    let plan = plan(&place, &["load.duration=3s", "load.calls=3"]);
    let mut testbed = Testbed::up(&plan, &place.path("logs")).await.expect("Asterisk and the service");
    let (_wish, interrupt) = watch::channel(Stop::No);
    let finished = execute(&plan, &mut testbed, interrupt, &Impatient(None)).await.expect("a trial");
    let observed = finished.summary.environment.observed;
    let ari = observed.ari.expect("ARI was asked");
    assert_eq!(
        (ari.callers, ari.unbridged, ari.outside, ari.media, ari.lone_bridges),
        (3, 0, 0, 3, 0),
        "{ari:?}"
    );
    assert_eq!(observed.asterisk_log, [], "a silent run");
    assert!(observed.service_log.last().is_some_and(|line| !line.text.is_empty()));
    assert_eq!(observed.setup.service, "builtin");
    assert_eq!(testbed.down().await, None, "nobody has ended by himself");
}
