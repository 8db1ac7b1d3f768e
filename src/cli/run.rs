//! `loadtest run`: place the calls of a scenario, measure, report, judge.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::environment::{Circumstances, gather};
use super::folder::Folder;
use super::progress::Display;
use super::scheduling::{self, Granted};
use super::stage::{Stage, sip_credentials};
use super::{Exit, Failure, say};
use crate::analysis::{Definition, Summary, catalogue, per_call, summarize};
use crate::asterisk::descriptors;
use crate::clock;
use crate::driver::{self, DriverConfig, Recorded, Stop};
use crate::gate::{Gate, Trust, Verdict, judge};
use crate::report::{Format, render, terminal};
use crate::samples::{CallRecord, Ending, Run, hlog};
use crate::scenario::values::PortRange;
use crate::scenario::{AsteriskMode, Limits, Needs, Problem, Resolved};
use crate::scheduling::Scheduling;

/// Largest scenario file that is read.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    loadtest run scenarios/smoke.toml\n  \
    loadtest run scenarios/50x5m.toml --set load.calls=100 --out /tmp/hundred\n  \
    loadtest run scenarios/smoke.toml --set 'gates.require=[\"rtt.p95 < 15ms\"]'")]
pub struct Args {
    /// The scenario file (TOML).
    #[arg(required_unless_present = "list_metrics")]
    scenario: Option<PathBuf>,
    /// Override a scenario key; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder for the results; it must not hold a run yet [default: reports/<name>-<UTC time>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Reports to write: html, png, csv, json, markdown, junit.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_format,
          default_value = "html,png,csv,json,markdown,junit")]
    report: Vec<Format>,
    /// Say nothing but errors; the exit code is the verdict.
    #[arg(long, short)]
    quiet: bool,
    /// List every metric that a gate can name, and end.
    #[arg(long)]
    list_metrics: bool,
}

fn parse_format(text: &str) -> Result<Format, String> {
    let names = Format::ALL.map(Format::name).join(", ");
    Format::ALL
        .into_iter()
        .find(|f| f.name() == text)
        .ok_or_else(|| format!("there is no report format `{text}`; there are {names}"))
}

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    if args.list_metrics {
        list_metrics();
        return Ok(Exit::Pass);
    }
    let path = args.scenario.clone().unwrap_or_default();
    let resolved = read_scenario(&path, &args.set)?;
    let gates = parse_gates(&resolved)?;
    let credentials = sip_credentials()?;
    preflight(&resolved)?;
    let Granted { scheduling, warning } = schedule(&resolved)?;
    let folder = Folder::create(args.out.as_deref(), &resolved.scenario.name, clock::now())?;
    folder.write("scenario.toml", resolved.to_toml().as_bytes())?;

    let (stop_sender, stop) = watch::channel(Stop::No);
    let mut interrupt = Interrupt::listen(stop_sender)?;
    let mut display = Display::new(args.quiet);
    display.say(&headline(&resolved));
    let warnings = ephemeral_ports(&resolved).into_iter().chain(warning.clone());
    warnings.for_each(|warning| display.say(&format!("warning: {warning}")));
    let logs = folder.logs();
    let stage = tokio::select! {
        stage = Stage::set(&resolved.scenario, &logs) => stage,
        () = interrupt.wait() => {
            folder.discard();
            return Ok(Exit::Interrupted);
        }
    };
    // A folder without a run in it would only look like one.
    let stage = stage.inspect_err(|_| folder.discard())?;
    let target = stage.target.to_string();
    let config = DriverConfig {
        scenario: &resolved.scenario,
        target: stage.target,
        credentials,
        run_id: rand::random(),
        watched: stage.watched(),
        scheduling: scheduling.clone(),
        stop,
    };
    let played = play(config, &stage, &mut interrupt, &mut display).await;
    display.finish();
    let struck = stage.strike().await;
    let (recorded, broken) = played?;
    let broken = broken.or_else(|| nobody_there(&recorded, &target));

    let remarks = struck.remarks.into_iter().chain(remarks_of(&resolved, &recorded)).chain(warning);
    let circumstances = Circumstances {
        asterisk: struck.asterisk_is,
        service: struck.service_is,
        scheduling: scheduling.to_string(),
        interrupted: interrupt.came,
        broken: broken.clone(),
        service_drops: struck.service_drops,
        remarks: remarks.collect(),
    };
    let (summary, log) = conclude(&resolved, recorded, circumstances)?;
    let verdict = judge(&summary, &gates, &trust(&resolved.scenario.limits));
    // The figures first: whatever becomes of the files, they have been said.
    if !args.quiet {
        tell(&summary, &verdict, &place(&folder, &args.report));
    }
    write(&folder, &args.report, &summary, &verdict, &resolved, &log)?;
    match broken {
        Some(why) => Err(Failure::broke(why)),
        None if interrupt.came => Ok(Exit::Interrupted),
        None => Ok(verdict.outcome.into()),
    }
}

fn list_metrics() {
    let line = |d: &Definition| say::out(format_args!("{:24} {}", d.name, d.help));
    catalogue::all().for_each(line);
    say::out("\nAfter \"every call:\", for each call by itself\n");
    per_call::ALL.iter().for_each(|m| line(&m.definition));
}

fn read_scenario(path: &Path, set: &[String]) -> Result<Resolved, Failure> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot read the scenario {}: {e}; see scenarios/ for examples",
            path.display()
        ))
    };
    let mut text = String::new();
    // A path may be anything, a device without end too.
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|e| unreadable(&e))?;
    if read as u64 > MOST_BYTES {
        return Err(unreadable(&"it is longer than 1 MiB"));
    }
    // Command line before environment before file: later overrides win.
    let mut overrides = Vec::new();
    if let Some(range) = std::env::var("PORT_RANGE").ok().filter(|v| !v.is_empty()) {
        overrides.push(format!("service.ports={range}"));
    }
    overrides.extend_from_slice(set);
    Ok(Resolved::read(&text, &path.display().to_string(), &overrides)?)
}

fn parse_gates(resolved: &Resolved) -> Result<Vec<Gate>, Failure> {
    let mut problems = Vec::new();
    let mut gates = Vec::new();
    for (n, text) in resolved.scenario.gates.require.iter().enumerate() {
        match Gate::parse(text) {
            Ok(gate) => gates.push(gate),
            Err(e) => problems.push(Problem::new(&format!("gates.require.{n}"), e.reason, e.cure)),
        }
    }
    if problems.is_empty() { Ok(gates) } else { Err(resolved.error(&problems).into()) }
}

/// Checks what the machine must provide, before anything is started.
fn preflight(resolved: &Resolved) -> Result<(), Failure> {
    let limit = descriptors::raise().context("cannot raise the limit of file descriptors")?;
    let needs = Needs::of(&resolved.scenario);
    if limit < needs.descriptors {
        return Err(Failure::broke(format!(
            "{} calls need {} file descriptors, {limit} are allowed: raise the hard limit \
             (`ulimit -Hn {}`, or LimitNOFILE in the service's unit), or hold fewer calls",
            resolved.scenario.load.calls, needs.descriptors, needs.descriptors
        )));
    }
    Ok(())
}

/// What `[driver]` asks for, as far as the kernel permits.
fn schedule(resolved: &Resolved) -> Result<Granted, Failure> {
    let driver = &resolved.scenario.driver;
    let asked = Scheduling { realtime: driver.realtime, cpus: driver.cpus.clone() };
    scheduling::grant(asked, |refused| {
        let cure = "name CPUs that this process may use, or leave the key out";
        resolved.error(&[Problem::new("driver.cpus", refused.to_string(), cure)]).into()
    })
}

/// Asterisk takes its RTP ports blindly, where the pools of the driver and the service pass over what
/// others hold; so a range from which the kernel also hands out ports deserves a word.
fn ephemeral_ports(resolved: &Resolved) -> Option<String> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let (asterisk, kernel) =
        (&resolved.scenario.asterisk, PortRange { from: bounds.next()?, to: bounds.next()? });
    let overlap = asterisk.mode == AsteriskMode::Managed && asterisk.rtp_ports.overlaps(kernel);
    overlap.then(|| {
        format!(
            "asterisk.rtp_ports {} overlaps the kernel's ephemeral ports {kernel}: another program may \
             hold one of them (sysctl net.ipv4.ip_local_port_range)",
            asterisk.rtp_ports
        )
    })
}

fn headline(resolved: &Resolved) -> String {
    let (s, load) = (&resolved.scenario, &resolved.scenario.load);
    let churn = load.call_duration.map_or(String::new(), |d| format!(" of {d} each"));
    format!(
        "{}: {} calls{churn} held for {}, {} every {}, ramp {}",
        s.name, load.calls, load.duration, s.media.codec, s.media.ptime, load.ramp
    )
}

/// Runs the driver; if the stage breaks meanwhile, ends the run and says why.
async fn play(
    config: DriverConfig<'_>,
    stage: &Stage,
    interrupt: &mut Interrupt,
    display: &mut Display,
) -> Result<(Recorded, Option<String>), Failure> {
    let mut broken = None;
    let mut show = |progress: &driver::Progress| display.show(progress);
    let drive = driver::run(config, &mut show);
    tokio::pin!(drive);
    loop {
        tokio::select! {
            recorded = &mut drive => {
                let recorded = recorded.map_err(anyhow::Error::from)?;
                return Ok((recorded, broken));
            }
            (why, stop) = stage.broken(), if broken.is_none() => {
                broken = Some(why);
                interrupt.raise(stop);
            }
            () = interrupt.wait() => {}
        }
    }
}

/// Ctrl-C and SIGTERM: the first hangs up in order, the second ends at once.
struct Interrupt {
    stop: watch::Sender<Stop>,
    signals: [tokio::signal::unix::Signal; 2],
    came: bool,
}

impl Interrupt {
    fn listen(stop: watch::Sender<Stop>) -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
        Ok(Interrupt { stop, signals: [interrupt, terminate], came: false })
    }

    /// Waits for a signal and passes it on.
    async fn wait(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        self.raise(if self.came { Stop::Now } else { Stop::Soon });
        self.came = true;
    }

    fn raise(&self, stop: Stop) {
        self.stop.send_if_modified(|current| {
            let raised = stop > *current;
            *current = stop.max(*current);
            raised
        });
    }
}

/// A target that has not said a word to anybody is not there: no outcome of calls, but a broken set-up.
fn nobody_there(recorded: &Recorded, target: &str) -> Option<String> {
    let silent = |call: &CallRecord| call.ending == Ending::Timeout && call.srd_ms.is_none();
    let all = !recorded.calls.is_empty() && recorded.calls.iter().all(silent);
    (all && !recorded.heard)
        .then(|| format!("nothing answers SIP at {target}: is it running, and is the address right?"))
}

fn remarks_of(resolved: &Resolved, recorded: &Recorded) -> Vec<String> {
    let mut remarks = Vec::new();
    let calls = resolved.scenario.load.calls;
    if recorded.window.is_none() {
        remarks.push("no call came up, so nothing was held or measured".into());
    } else if recorded.calls_at_start < calls {
        remarks.push(format!("the hold phase began with {} of {calls} calls up", recorded.calls_at_start));
    }
    if recorded.suppressed > 0 {
        remarks.push(format!(
            "{} calls could not be placed: {}",
            recorded.suppressed, recorded.suppressed_because
        ));
    }
    for (direction, impaired) in ["out", "back"].into_iter().zip(&recorded.impaired) {
        let counts = impaired.counts;
        if counts.seen() > 0 {
            remarks.push(format!(
                "impaired on purpose on the way {direction}: of {} packets {} lost, {} doubled, {} sent ahead, {} delayed",
                counts.seen(), counts.lost, counts.duplicated, counts.reordered, counts.delayed
            ));
        }
    }
    let mut trouble = |count: u64, what: &str| {
        if count > 0 {
            remarks.push(format!("{count} {what}"));
        }
    };
    trouble(recorded.troubles.garbage, "datagrams on the SIP port were not SIP");
    trouble(
        recorded.troubles.unsent,
        "SIP messages could not be sent: is the target reachable from sip.local?",
    );
    remarks
}

/// The Summary, and the interval log of the histograms.
fn conclude(
    resolved: &Resolved,
    recorded: Recorded,
    circumstances: Circumstances,
) -> Result<(Summary, Vec<u8>), Failure> {
    let environment = gather(resolved, &recorded, circumstances);
    let (from, to) = recorded.window.unwrap_or((recorded.epoch, recorded.epoch));
    let log = hlog::write(&recorded.histograms, from, to.since(from)).map_err(anyhow::Error::from)?;
    let run = Run {
        environment,
        calls: recorded.calls,
        seconds: recorded.seconds,
        call_seconds: recorded.call_seconds,
        histograms: recorded.histograms,
    };
    Ok((summarize(run), log))
}

fn trust(limits: &Limits) -> Trust {
    Trust {
        send_lateness_p99_ms: limits.send_lateness_p99.0.as_secs_f64() * 1000.0,
        missed_slots: limits.missed_slots.0,
        socket_drops: limits.socket_drops,
        thread_cpu: limits.thread_cpu.0,
    }
}

fn tell(summary: &Summary, verdict: &Verdict, place: &str) {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let colour = wanted && std::io::stdout().is_terminal();
    say::out(terminal::summary(summary, verdict, place, colour).trim_end());
}

/// Writes every file, the ones with figures first. One that cannot be written does not keep the
/// others from being written.
fn write(
    folder: &Folder,
    formats: &[Format],
    summary: &Summary,
    verdict: &Verdict,
    resolved: &Resolved,
    log: &[u8],
) -> Result<(), Failure> {
    let environment = serde_json::to_vec_pretty(&summary.environment).context("environment.json")?;
    let scenario = resolved.to_toml();
    let mut first_failure = None;
    let mut put = |result: Result<(), Failure>| {
        if let Err(failure) = result {
            first_failure.get_or_insert(failure);
        }
    };
    put(folder.write("environment.json", &environment));
    put(folder.write("rtt.hlog", log));
    for format in [Format::Json, Format::Junit, Format::Markdown, Format::Csv, Format::Html, Format::Png] {
        if !formats.contains(&format) {
            continue;
        }
        match render(format, summary, verdict, &scenario) {
            Ok(files) => files.iter().for_each(|file| put(folder.write(file.path, &file.bytes))),
            Err(e) => put(Err(anyhow::Error::from(e).into())),
        }
    }
    first_failure.map_or(Ok(()), Err)
}

fn place(folder: &Folder, formats: &[Format]) -> String {
    let html = formats.contains(&Format::Html);
    let path = if html { folder.path().join("report.html") } else { folder.path().to_path_buf() };
    path.display().to_string()
}
