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
