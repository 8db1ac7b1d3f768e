//! `--live`: figures of a run under way as OpenMetrics over HTTP.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Failure, say};
use crate::driver::Progress;
use crate::gate::{Gate, Outcome, so_far};
use crate::net::http_server;
use crate::openmetrics::{Form, Labels, Page, Sample, Samples, Suffix, plain};
use crate::record::{Live, LiveTarget, Phase, Quantile, Recent};
use crate::rendezvous::Beat;
use crate::run::RunPlan;
use crate::run::together::Beats;

/// First part of every name.
const PREFIX: &str = "loadtest_live";
/// Time between two states that are kept.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A server of the run's figures. It ends with this value.
#[derive(Debug)]
pub struct LiveServer {
    board: Arc<Mutex<Board>>,
    task: AbortHandle,
}

/// Figures as they were told last. Rendering takes a walk over histograms, and the run's own task tells of figures several
/// times a second: they are kept at most once a second, and rendered once if somebody asks.
#[derive(Debug)]
struct Board {
    gates: Vec<Gate>,
    name: String,
    part: Part,
    /// Addresses of the targets, in their order.
    targets: Vec<String>,
    told: Option<Told>,
    /// Text of these figures, once somebody has asked.
    text: Option<Arc<str>>,
}

/// Drivers of which a board tells.
#[derive(Debug)]
enum Part {
    /// The run has one driver.
    Whole,
    /// One of several, of this number: gates are for all of them.
    Share(u32),
    /// All of several, as the coordinator hears of them.
    All(watch::Receiver<Beats>),
}

/// A run's state at one moment.
#[derive(Debug)]
struct Told {
    phase: Phase,
    stage: usize,
    elapsed: Duration,
    /// Drivers by their number among several.
    drivers: Vec<(Option<u32>, Driver)>,
    /// Figures of the whole run, where they are known.
    whole: Option<Live>,
}

/// A percentile's name, and its value of a driver.
type Percentile = (&'static str, fn(&Driver) -> Option<Quantile>);

/// One driver's state.
#[derive(Debug)]
struct Driver {
    calls_up: u32,
    attempts: u32,
    failed: u64,
    calls: u32,
    recent: Recent,
    live: Live,
}

impl Driver {
    fn of(progress: &Progress<'_>) -> Driver {
        let Progress { calls_up, attempts, failed, calls, recent, live, .. } = *progress;
        Driver { calls_up, attempts, failed: failed.into(), calls, recent, live: live.clone() }
    }

    fn heard(beat: &Beat) -> Driver {
        let Beat { calls_up, attempts, failed, calls, lately, .. } = beat;
        let (calls_up, attempts, calls) = (*calls_up, *attempts, *calls);
        Driver { calls_up, attempts, failed: *failed, calls, recent: lately.recent(), live: beat.live() }
    }
}

impl Told {
    fn of(progress: &Progress<'_>, part: &Part) -> Told {
        let Progress { phase, stage, elapsed, .. } = *progress;
        let (drivers, whole) = match part {
            Part::Whole => (vec![(None, Driver::of(progress))], Some(progress.live.clone())),
            Part::Share(index) => (vec![(Some(*index), Driver::of(progress))], None),
            Part::All(beats) => {
                let drivers: Vec<_> =
                    beats.borrow().iter().map(|(index, beat)| (Some(*index), Driver::heard(beat))).collect();
                let mut whole = Live::default();
                drivers.iter().for_each(|(_, driver)| whole += &driver.live);
                (drivers, Some(whole))
            }
        };
        Told { phase, stage, elapsed, drivers, whole }
    }

    /// A value of each driver, under its number.
    fn each<V: Into<Sample>>(&self, value: impl Fn(&Driver) -> V) -> Samples {
        self.some(|driver| Some(value(driver)))
    }

    /// The same of those that have it.
    fn some<V: Into<Sample>>(&self, value: impl Fn(&Driver) -> Option<V>) -> Samples {
        self.drivers.iter().filter_map(|(index, driver)| Some((shard(*index), value(driver)?))).collect()
    }

    /// The same of percentiles.
    fn percentiles(&self, of: &[Percentile]) -> Samples {
        let one = |(index, driver): &(Option<u32>, Driver)| {
            let at = |(q, at): &Percentile| {
                let mut labels = shard(*index);
                labels.push(("percentile", q.to_string()));
                Some((labels, seconds(at(driver)?)?))
            };
            of.iter().filter_map(at).collect::<Vec<_>>()
        };
        self.drivers.iter().flat_map(one).collect()
    }
}

fn shard(index: Option<u32>) -> Labels {
    index.into_iter().map(|index| ("shard", index.to_string())).collect()
}

impl Board {
    fn new(name: &str, gates: &[Gate]) -> Board {
        let (gates, name) = (gates.to_vec(), name.into());
        Board { gates, name, part: Part::Whole, targets: Vec::new(), told: None, text: None }
    }

    /// Takes the run's present state, unless it has one of the same second and phase.
    fn tell(&mut self, progress: &Progress<'_>) {
        let is_new = |told: &Told| {
            told.phase != progress.phase || progress.elapsed.saturating_sub(told.elapsed) >= TOLD_EVERY
        };
        if self.told.as_ref().is_none_or(is_new) {
            (self.told, self.text) = (Some(Told::of(progress, &self.part)), None);
        }
    }

    /// The text of what was told last.
    fn text(&mut self) -> Arc<str> {
        let render = || match &self.told {
            Some(told) => text(told, &self.name, &self.targets, &self.gates),
            None => Page::default().text(PREFIX, Labels::new()),
        };
        self.text.get_or_insert_with(|| render().into()).clone()
    }
}

impl LiveServer {
    /// The server of a run of `plan`, where one is wanted.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn wanted(address: Option<SocketAddr>, plan: &RunPlan) -> Result<Option<LiveServer>, Failure> {
        match address {
            Some(address) => {
                let server = Self::start(address, &plan.scenario().name, &plan.gates).await?;
                let targets = plan.scenario().asterisk.sip.iter().map(ToString::to_string);
                locked(&server.board).targets = targets.collect();
                Ok(Some(server))
            }
            None => Ok(None),
        }
    }

    /// Listens at `address` for questions about the run of the scenario `name` with these gates.
    ///
    /// # Errors
    /// The address cannot be listened on.
    async fn start(address: SocketAddr, name: &str, gates: &[Gate]) -> Result<LiveServer, Failure> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::broke(format!(
                "cannot listen on {address} (--live): {error}; name another address or port, or 127.0.0.1:0 for any"
            ))
        })?;
        let at = listener.local_addr().unwrap_or(address);
        say::err(format_args!("live figures at http://{at}/metrics"));
        if !at.ip().to_canonical().is_loopback() {
            say::err(format_args!(
                "warning: {at} is not a loopback address: whoever reaches it reads the figures"
            ));
        }
        let board = Arc::new(Mutex::new(Board::new(name, gates)));
        let router = Router::new().route("/metrics", get(metrics)).with_state(board.clone());
        let task = tokio::spawn(http_server::serve(listener, router)).abort_handle();
        Ok(LiveServer { board, task })
    }

    /// Tells of one driver of several, which gates are not held against.
    pub fn tell_of_share(&self, index: u32) {
        locked(&self.board).part = Part::Share(index);
    }

    /// Tells of all drivers of several, of which `beats` brings word.
    pub fn tell_of_all(&self, beats: watch::Receiver<Beats>) {
        locked(&self.board).part = Part::All(beats);
    }

    /// Takes the run's present state.
    pub fn show(&self, progress: &Progress<'_>) {
        locked(&self.board).tell(progress);
    }
}

impl Drop for LiveServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The board is whole at every step: a panic elsewhere does not spoil it.
fn locked(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn metrics(State(board): State<Arc<Mutex<Board>>>, headers: HeaderMap) -> Response {
    let text = locked(&board).text();
    let accepted: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let (form, body) = match Form::preferred(&accepted.join(",")) {
        Form::OpenMetrics => (Form::OpenMetrics, text.to_string()),
        Form::Plain | Form::Json => (Form::Plain, plain(&text)),
    };
    ([(CONTENT_TYPE, form.content_type()), (VARY, "Accept")], body).into_response()
}

fn text(told: &Told, name: &str, targets: &[String], gates: &[Gate]) -> String {
    let mut page = Page::default();
    let phases = [Phase::Ramp, Phase::Warmup, Phase::Hold, Phase::Drain];
    let phases = phases.map(|at| (vec![("phase", at.to_string())], truth(at == told.phase)));
    page.gauge("phase", None, "1 under the phase of the run, 0 under the others", Samples::from_iter(phases));
    page.gauge("stage", None, "number of the stage, from 1", told.stage as f64);
    page.gauge("elapsed", Some(Suffix::Seconds), "time since the run began", told.elapsed.as_secs_f64());
    page.gauge("calls_up", None, "calls that are up", told.each(|driver| f64::from(driver.calls_up)));
    let help = "calls that are to be up in the hold phase";
    page.gauge("calls_wanted", None, help, told.each(|driver| f64::from(driver.calls)));
    counts(&mut page, told);
    by_target(&mut page, told, targets);
    let help = "round trip over the last settled seconds; +Inf where the rank falls among the lost";
    let rtt =
        told.percentiles(&[("50", |driver| driver.recent.rtt_p50), ("99", |driver| driver.recent.rtt_p99)]);
    page.gauge("rtt", Some(Suffix::Seconds), help, rtt);
    let help = "round trip of the control stream past Asterisk, over the same seconds";
    let control = told.percentiles(&[("99", |driver| driver.recent.control_p99)]);
    page.gauge("control", Some(Suffix::Seconds), help, control);
    conversations(&mut page, told);
    let ratio = || Some(Suffix::Other("ratio".into()));
    let help = "packets lost, of the same seconds";
    page.gauge("loss", ratio(), help, told.some(|driver| driver.recent.loss));
    let help = "packets late, of the same seconds";
    page.gauge("late", ratio(), help, told.some(|driver| driver.recent.late));
    let help = "greatest lateness of a packet that the driver sent, of the same seconds";
    let lateness = told.some(|driver| Some(driver.recent.send_lateness_max?.as_ms() / 1e3));
    page.gauge("send_lateness", Some(Suffix::Seconds), help, lateness);
    if let Some(whole) = &told.whole {
        verdict(&mut page, whole, gates);
    }
    page.text(PREFIX, vec![("scenario", name.into())])
}

fn conversations(page: &mut Page, told: &Told) {
    if told.drivers.iter().all(|(_, driver)| driver.recent.turns.is_none()) {
        return;
    }
    let help = "turns of callers whose fate is known, all phases";
    page.counter("turns", help, told.some(|driver| Some(driver.recent.turns?.count)));
    let help = "of these, turns without an answer in time";
    page.counter("turns_unanswered", help, told.some(|driver| Some(driver.recent.turns?.missing)));
    let help = "end of a caller's speech to the answer, over the answers of the last 30 s";
    let responses = told.percentiles(&[
        ("50", |driver| Some(driver.recent.turns?.response_p50)),
        ("95", |driver| Some(driver.recent.turns?.response_p95)),
    ]);
    page.gauge("turn_response", Some(Suffix::Seconds), help, responses);
}

fn counts(page: &mut Page, told: &Told) {
    type Count = (&'static str, &'static str, fn(&Driver) -> u64);
    const COUNTS: [Count; 8] = [
        ("attempts", "INVITEs of new calls", |driver| driver.attempts.into()),
        ("failed", "attempts that failed", |driver| driver.failed),
        ("answered", "attempts answered", |driver| driver.live.answered),
        ("dropped", "answered calls that ended before their time", |driver| driver.live.dropped),
        ("suppressed", "attempts that could not be placed", |driver| driver.live.suppressed.total()),
        (
            "packets_sent",
            "packets of the measured window of which nothing can come back any more",
            |driver| driver.live.sent,
        ),
        ("packets_lost", "of these, packets not back in time", |driver| driver.live.lost),
        ("packets_late", "of those back, the late ones", |driver| driver.live.late),
    ];
    for (name, help, of) in COUNTS {
        page.counter(name, help, told.each(of));
    }
}

/// Calls by target, where there are several.
fn by_target(page: &mut Page, told: &Told, targets: &[String]) {
    if told.drivers.iter().all(|(_, driver)| driver.live.targets.is_empty()) {
        return;
    }
    let samples = |of: fn(&LiveTarget) -> u64| -> Vec<(Labels, u64)> {
        let of_driver = |(index, driver): &(Option<u32>, Driver)| {
            let labels =
                |address: &String| shard(*index).into_iter().chain([("target", address.clone())]).collect();
            let each = targets.iter().zip(&driver.live.targets);
            each.map(|(address, target)| (labels(address), of(target))).collect::<Vec<_>>()
        };
        told.drivers.iter().flat_map(of_driver).collect()
    };
    let up = samples(|target| target.calls_up).into_iter().map(|(labels, up)| (labels, up as f64));
    page.gauge("target_calls_up", None, "calls to each target that are up", Samples::from_iter(up));
    let mut counter = |name, help, of| page.counter(name, help, Samples::from_iter(samples(of)));
    counter("target_attempts", "INVITEs of new calls to each target", |target| target.attempts);
    counter("target_answered", "of these, attempts answered", |target| target.answered);
    counter("target_failed", "of these, attempts that failed", |target| target.failed);
}

/// The gates that can be judged before the end, and the worst of them.
fn verdict(page: &mut Page, live: &Live, gates: &[Gate]) {
    let judged: Vec<(&Gate, Outcome)> =
        gates.iter().filter_map(|gate| Some((gate, so_far(gate, live)?))).collect();
    let by_outcome = |gate: Option<&Gate>, actual: Outcome| {
        [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive].map(|outcome| {
            let gate = gate.map(|gate| ("gate", gate.text.clone()));
            let labels: Labels = gate.into_iter().chain([("outcome", outcome.to_string())]).collect();
            (labels, truth(outcome == actual))
        })
    };
    let mut seen = HashSet::new();
    let once = judged.iter().filter(|(gate, _)| seen.insert(&gate.text));
    let all: Samples = once.flat_map(|(gate, outcome)| by_outcome(Some(gate), *outcome)).collect();
    page.gauge(
        "gate",
        None,
        "1 under each gate's outcome so far; gates judged at the end alone are not here",
        all,
    );
    let is = |outcome| judged.iter().any(|(_, actual)| *actual == outcome);
    let worst = match judged.is_empty() {
        true => Outcome::Inconclusive,
        false if is(Outcome::Fail) => Outcome::Fail,
        false if judged.iter().all(|(_, actual)| *actual == Outcome::Pass) => Outcome::Pass,
        false => Outcome::Inconclusive,
    };
    let help = "1 under the outcome so far of the gates that can be judged before the end";
    page.gauge("verdict", None, help, Samples::from_iter(by_outcome(None, worst)));
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn seconds(quantile: Quantile) -> Option<f64> {
    match quantile {
        Quantile::At(ns) => Some(ns as f64 / 1e9),
        Quantile::Above | Quantile::Lost => Some(f64::INFINITY),
        Quantile::NoData => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::tests::progress;
    use super::*;
    use crate::openmetrics::lint;
    use crate::record::RecentTurns;
    use crate::values::Ns;

    fn turns(response_p50: Quantile) -> RecentTurns {
        RecentTurns { count: 120, missing: 3, response_p50, response_p95: response_p50 }
    }

    fn text_of(recent: Recent, live: &Live, gates: &[&str]) -> String {
        let gates: Vec<_> = gates.iter().map(|gate| Gate::parse(gate).unwrap()).collect();
        let mut board = Board::new("a \"scenario\"", &gates);
        board.tell(&progress(recent, live));
        board.text().to_string()
    }

    #[test]
    fn a_run_under_way_is_told_in_base_units_and_gates_as_far_as_they_are_known() {
        let recent = Recent {
            rtt_p50: Some(Quantile::At(1_500_000)),
            rtt_p99: Some(Quantile::Lost),
            loss: Some(0.02),
            late: Some(0.0),
            send_lateness_max: Some(Ns(2_000_000)),
            control_p99: None,
            turns: Some(turns(Quantile::At(820_000_000))),
        };
        let mut live = Live { sent: 2000, lost: 40, answered: 50, failed: 2, ..Live::default() };
        live.rtt.record_n(1_500_000, 1960);
        let gates = ["loss.ratio < 1%", "rtt.p50 < 15ms", "rtt.p99.9 < 1s", "calls.silent_count == 0"];
        let text = text_of(recent, &live, &gates);
        let scenario = r#"scenario="a \"scenario\"""#;
        for line in [
            format!("loadtest_live_calls_up{{{scenario}}} 49.0"),
            format!("loadtest_live_attempts_total{{{scenario}}} 52"),
            format!("loadtest_live_packets_lost_total{{{scenario}}} 40"),
            format!("loadtest_live_rtt_seconds{{{scenario},percentile=\"50\"}} 0.0015"),
            format!("loadtest_live_rtt_seconds{{{scenario},percentile=\"99\"}} inf"),
            format!("loadtest_live_send_lateness_seconds{{{scenario}}} 0.002"),
            format!("loadtest_live_turns_total{{{scenario}}} 120"),
            format!("loadtest_live_turns_unanswered_total{{{scenario}}} 3"),
            format!("loadtest_live_turn_response_seconds{{{scenario},percentile=\"50\"}} 0.82"),
            format!("loadtest_live_gate{{{scenario},gate=\"loss.ratio < 1%\",outcome=\"fail\"}} 1.0"),
            format!("loadtest_live_gate{{{scenario},gate=\"rtt.p50 < 15ms\",outcome=\"pass\"}} 1.0"),
            format!("loadtest_live_verdict{{{scenario},outcome=\"fail\"}} 1.0"),
        ] {
            assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("calls.silent_count") && !text.contains("control"), "{text}");
        assert_eq!(lint::problems(&plain(&text)), [""; 0]);
    }

    /// Every metric that the dashboard asks for is there.
    #[test]
    fn the_dashboard_asks_for_what_there_is() {
        let at = Some(Quantile::At(1_500_000));
        let recent = Recent {
            rtt_p50: at,
            rtt_p99: at,
            control_p99: at,
            loss: Some(0.0),
            late: Some(0.0),
            send_lateness_max: Some(Ns(1)),
            turns: Some(turns(Quantile::At(1))),
        };
        let live = Live { targets: vec![LiveTarget::default()], ..Live::default() };
        let mut board = Board::new("x", &[Gate::parse("loss.count == 0").unwrap()]);
        board.targets = vec!["pbx:5060".into()];
        board.tell(&progress(recent, &live));
        let text = board.text();
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/grafana-live.json")).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let queries: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
        assert!(queries.len() > panels.len());
        for query in queries {
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = words.into_iter().find(|word| word.starts_with(PREFIX)).unwrap_or(query);
            let is_sample = |line: &str| line.split(['{', ' ']).next() == Some(name);
            assert!(text.lines().any(is_sample), "{name} of {query} is not in\n{text}");
        }
    }

    #[test]
    fn figures_are_kept_once_a_second_and_rendered_once_for_all_who_ask() {
        let (mut board, live) = (Board::new("x", &[]), Live::default());
        assert!(!board.text().contains("attempts"), "nothing has been told");
        let at = |ms: u64| Progress {
            elapsed: Duration::from_millis(ms),
            attempts: ms as u32,
            ..progress(Recent::default(), &live)
        };
        let said = |board: &mut Board| {
            let (text, again) = (board.text(), board.text());
            assert!(Arc::ptr_eq(&text, &again), "it was rendered twice");
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("loadtest_live_attempts_total{scenario=\"x\"} "));
            line.unwrap().parse::<u32>().unwrap()
        };
        for (ms, told) in [(1000, 1000), (1200, 1000), (1999, 1000), (2000, 2000), (2200, 2000), (9000, 9000)]
        {
            board.tell(&at(ms));
            assert_eq!(said(&mut board), told, "at {ms} ms");
        }
        board.tell(&Progress { phase: Phase::Drain, ..at(9200) });
        assert_eq!(said(&mut board), 9200, "another phase");
    }

    #[test]
    fn each_driver_of_several_has_its_figures_and_all_have_one_verdict() {
        let beat = |rtt_ns, calls_up| {
            let recent = Recent { rtt_p99: Some(Quantile::At(rtt_ns)), loss: Some(0.5), ..Recent::default() };
            let mut live = Live { sent: 100, lost: 2, ..Live::default() };
            live.rtt.record_n(rtt_ns, 98);
            Beat { calls_up, attempts: 30, lately: (&recent).into(), ..Beat::of(&live) }
        };
        let (beats, heard) = watch::channel(vec![(0, beat(1_000_000, 20)), (2, beat(7_000_000, 10))]);
        let gates = ["loss.ratio < 1%", "rtt.p50 < 5ms"].map(|gate| Gate::parse(gate).unwrap());
        let (mut board, live) = (Board::new("x", &gates), Live::default());
        board.part = Part::All(heard);
        board.tell(&progress(Recent::default(), &live));
        let text = board.text();
        for line in [
            "loadtest_live_calls_up{scenario=\"x\",shard=\"0\"} 20.0",
            "loadtest_live_calls_up{scenario=\"x\",shard=\"2\"} 10.0",
            "loadtest_live_packets_lost_total{scenario=\"x\",shard=\"2\"} 2",
            "loadtest_live_rtt_seconds{scenario=\"x\",shard=\"2\",percentile=\"99\"} 0.007",
            "loadtest_live_verdict{scenario=\"x\",outcome=\"fail\"} 1.0",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
        }
        assert_eq!(lint::problems(&plain(&text)), [""; 0]);
        // A share of them has no verdict of its own.
        let mut board = Board { part: Part::Share(2), ..Board::new("x", &gates) };
        board.tell(&progress(Recent::default(), &live));
        let text = board.text();
        assert!(
            text.contains("shard=\"2\"") && !text.contains("verdict") && !text.contains("gate"),
            "{text}"
        );
        drop(beats);
    }

    #[test]
    fn calls_are_told_by_target_where_there_are_several() {
        let target = |calls_up, failed| LiveTarget { calls_up, attempts: 9, answered: 9 - failed, failed };
        let live = Live { targets: vec![target(5, 0), target(2, 7)], ..Live::default() };
        let mut board = Board::new("x", &[]);
        board.targets = vec!["10.0.0.1:5060".into(), "pbx:5060".into()];
        board.tell(&progress(Recent::default(), &live));
        let text = board.text();
        for line in [
            "loadtest_live_target_calls_up{scenario=\"x\",target=\"10.0.0.1:5060\"} 5.0",
            "loadtest_live_target_failed_total{scenario=\"x\",target=\"pbx:5060\"} 7",
            "loadtest_live_target_answered_total{scenario=\"x\",target=\"pbx:5060\"} 2",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
        }
        assert_eq!(lint::problems(&plain(&text)), [""; 0]);
        assert!(!text_of(Recent::default(), &Live::default(), &[]).contains("target"));
    }

    #[test]
    fn nothing_measured_is_nothing_said() {
        let text = text_of(Recent::default(), &Live::default(), &[]);
        assert!(!text.contains("rtt_seconds") && text.contains("outcome=\"inconclusive\"} 1.0"), "{text}");
        assert_eq!(lint::problems(&plain(&text)), [""; 0]);
    }
}
