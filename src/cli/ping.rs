//! `loadtest ping`: isochronous round trips to an echo server, per packet and summed up.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::{Exit, Failure, interrupt, say};
use crate::driver::{PingConfig, ping};
use crate::gate::{Limits, doubt};
use crate::measure::ReceivedEcho;
use crate::metrics::{Metric, Summary, summarize};
use crate::net::resolve::resolve;
use crate::record::{Environment, FORMAT_VERSION};
use crate::report::figure;
use crate::run::preflight::raise_descriptors;
use crate::run::scheduling;
use crate::scenario::Measure;
use crate::values::{HostPort, Lanes, Realtime, Span};

/// Echoes that may wait to be printed; more are measured all the same, and not printed.
const ECHOES: usize = 4096;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest echo &\n  \
    loadtest ping 127.0.0.1:4000 --duration 10s\n  \
    loadtest ping 127.0.0.1:4000 --streams 1000 --duration 60s --json\n\n\
    Ends with 0 when anything came back. Doubt about the figures is said below them, and\n\
    is `doubt` in the JSON.")]
pub struct Args {
    /// The echo server; `loadtest echo` is one.
    #[arg(value_name = "HOST:PORT")]
    target: HostPort,
    /// Time to send for.
    #[arg(long, default_value = "10s")]
    duration: Span,
    /// Packet interval: 10 to 60 ms in steps of 10.
    #[arg(long, default_value = "20ms")]
    interval: Span,
    /// Streams side by side, spread over the interval.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    streams: u32,
    /// Lanes that send and receive, each a pacer and a receiver: a number from 1 to 64, or auto.
    #[arg(long, default_value = "auto", value_name = "LANES")]
    lanes: Lanes,
    /// Ask for a real-time priority of the media threads.
    #[arg(long)]
    realtime: bool,
    /// CPUs that the media threads keep to, by number, with commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,
    /// One JSON object at the end instead of text.
    #[arg(long)]
    json: bool,
    /// Only the summary.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let (duration, interval) = (args.duration.0, args.interval.0);
    let whole = interval.subsec_nanos().is_multiple_of(10_000_000) && interval.as_secs() == 0;
    if !whole || !(10..=60).contains(&interval.as_millis()) {
        return Err(Failure::usage("--interval takes 10ms, 20ms, 30ms, 40ms, 50ms or 60ms"));
    }
    if !(Duration::from_millis(100)..=Duration::from_secs(7 * 24 * 3600)).contains(&duration) {
        return Err(Failure::usage("--duration takes 100ms to 7 days"));
    }
    let limit = raise_descriptors()?;
    let needed = u64::from(args.streams) + 64;
    if limit < needed {
        return Err(Failure::broke(format!(
            "{} streams need {needed} file descriptors, {limit} are allowed",
            args.streams
        )));
    }
    let realtime = if args.realtime { Realtime::On } else { Realtime::Off };
    let granted =
        scheduling::grant(realtime, &args.cpus, |refused| Failure::usage(format!("--cpus: {refused}")))?;
    if let Some(warning) = &granted.warning {
        say::err(format_args!("warning: {warning}"));
    }
    let target = resolve(&args.target, "HOST:PORT", None).await?;
    let (echo_sender, echoes) = mpsc::channel(ECHOES);
    let measure = Measure::default();
    let each = args.streams == 1 && !args.json && !args.quiet;
    let environment = Environment {
        name: "ping".into(),
        format: FORMAT_VERSION,
        calls: args.streams,
        cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        ptime_ms: interval.as_millis() as u64,
        late_after_ms: measure.late_after.as_ms(),
        lost_after_ms: measure.lost_after.as_ms(),
        ..Environment::default()
    };
    let config = PingConfig {
        environment,
        target,
        streams: args.streams,
        lanes: args.lanes,
        duration,
        interval,
        late_after: measure.late_after.0,
        lost_after: measure.lost_after.0,
        run_id: rand::random(),
        scheduling: granted.scheduling,
        stop: interrupt::listen()?,
        echoes: each.then_some(echo_sender),
    };
    let printer = tokio::spawn(print(echoes));
    let summary = summarize(ping(config).await?);
    let _ = printer.await;
    let nobody = summary.calls.iter().all(|c| c.total_received == 0);
    let doubt = doubt(&summary, &Limits::default()).reasons;
    if args.json {
        say::out(to_json(&summary, &args, target, &doubt));
    } else {
        tell(&summary, &args, target);
        doubt.iter().for_each(|reason| say::out(format_args!("in doubt: {reason}")));
    }
    if nobody { Err(nothing_back(&summary, target)) } else { Ok(Exit::Pass) }
}

/// Failure of a ping of which nothing came back in time.
fn nothing_back(summary: &Summary, target: SocketAddr) -> Failure {
    let late: u64 = summary.calls.iter().map(|c| c.late_echoes).sum();
    Failure::broke(match late {
        0 => format!("nothing came back from {target}; is an echo there?"),
        _ => {
            let within_ms = summary.environment.lost_after_ms;
            format!("{late} packets came back from {target}, none within {within_ms} ms: all are lost")
        }
    })
}

async fn print(mut echoes: mpsc::Receiver<ReceivedEcho>) {
    while let Some(echo) = echoes.recv().await {
        let aside = if echo.measured { "" } else { "  (warm-up, not counted)" };
        say::out(format_args!("seq={} rtt={:.3} ms{aside}", echo.seq, echo.rtt_ns as f64 / 1e6));
    }
}

fn tell(summary: &Summary, args: &Args, target: SocketAddr) {
    let few = |m: &Metric| if m.too_few { "*" } else { "" };
    let shown = |name: &str| summary.metric(name).map(|m| format!("{m}{}", few(m))).unwrap_or_default();
    say::out(format_args!("--- {target}, {} streams every {} ---", args.streams, args.interval));
    say::out(format_args!(
        "{} sent, {} received, {} lost ({}), {} late, {} duplicates, {} reordered",
        shown("packets.sent"),
        shown("packets.received"),
        shown("loss.count"),
        shown("loss.ratio"),
        shown("late.count"),
        shown("duplicate.count"),
        shown("reordered.count"),
    ));
    let odd = [
        ("late_echoes.count", "came back too late to count"),
        ("forged.count", "came back forged: made or changed on the way, and not measured"),
        ("unbelieved.count", "came back with stamps or counts that cannot be true"),
    ];
    for (name, what) in odd {
        let count = summary.metric(name).and_then(|m| m.value.number()).unwrap_or(0.0);
        if count > 0.0 {
            say::out(format_args!("{count} {what}"));
        }
    }
    for group in ["rtt", "path_rtt", "ipdv", "send_lateness"] {
        let row = ["min", "p50", "p95", "p99", "max"].map(|key| shown(&format!("{group}.{key}")));
        say::out(format_args!(
            "{group:>13}  min {}  p50 {}  p95 {}  p99 {}  max {}",
            row[0], row[1], row[2], row[3], row[4]
        ));
    }
    if summary.metrics.iter().any(|m| m.too_few) {
        say::out("* rests on fewer than 100 / (1 - p) samples");
    }
    let cpu = crate::clock::process_cpu().as_secs_f64();
    say::out(format_args!("missed slots {}, CPU {cpu:.2} s", shown("slots.missed_ratio")));
}

fn to_json(summary: &Summary, args: &Args, target: SocketAddr, doubt: &[String]) -> serde_json::Value {
    let too_few: Vec<_> = summary.metrics.iter().filter(|m| m.too_few).map(Metric::name).collect();
    let value = |name: &str| json!(summary.metric(name).map(figure));
    let cpu_s = crate::clock::process_cpu().as_secs_f64();
    json!({
        "target": target.to_string(),
        "streams": args.streams,
        "interval_ms": args.interval.0.as_millis() as u64,
        "sent": value("packets.sent"),
        "received": value("packets.received"),
        "lost": value("loss.count"),
        "lost_up": value("loss.up_count"),
        "lost_down": value("loss.down_count"),
        "late": value("late.count"),
        "late_echoes": value("late_echoes.count"),
        "forged": value("forged.count"),
        "unbelieved": value("unbelieved.count"),
        "min_ms": value("rtt.min"),
        "p50_ms": value("rtt.p50"),
        "p95_ms": value("rtt.p95"),
        "p99_ms": value("rtt.p99"),
        "p99_9_ms": value("rtt.p99.9"),
        "max_ms": value("rtt.max"),
        "send_lateness_p99_ms": value("send_lateness.p99"),
        "missed_slots_ratio": value("slots.missed_ratio"),
        "socket_drops": value("sockets.drops"),
        "rss_max_mib": value("memory.driver_max"),
        "cpu_s": cpu_s,
        "too_few": too_few,
        "doubt": doubt,
    })
}
