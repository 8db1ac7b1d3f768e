//! The results of all rounds, as tables with ratios.
//!
//! A figure is the median over the rounds. A ratio is the median of the rounds' ratios: both sides
//! of it ran within the same minute, so what the machine felt meanwhile cancels out better.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Outcome;

/// The rounds of one contestant.
type Rounds = Vec<Value>;

/// The Markdown for the results in `folder`, files named `WHAT.ROUND.json`.
pub fn write(folder: &Path) -> Outcome<String> {
    let load = |what: &str| -> Outcome<Rounds> {
        let mut rounds = Vec::new();
        while let Ok(text) = fs::read(folder.join(format!("{what}.{}.json", rounds.len() + 1))) {
            rounds.push(serde_json::from_slice(&text).map_err(|error| format!("{what}: {error}"))?);
        }
        Ok(rounds)
    };
    let mut text = String::new();
    round_trips(&mut text, &load)?;
    pacing(&mut text, &load)?;
    media(&mut text, folder, &load)?;
    transports(&mut text, &load)?;
    limit(&mut text, &load("limit")?)?;
    Ok(text)
}

fn round_trips(text: &mut String, load: &impl Fn(&str) -> Outcome<Rounds>) -> Outcome<()> {
    let base = load("rtt-loop")?;
    if base.is_empty() {
        return Ok(());
    }
    writeln!(text, "### Round trip on a bare echo, one stream\n")?;
    writeln!(text, "| | p50 ms | p99 ms | lost | p50, ratio to the minimal loop | p99, ratio |")?;
    writeln!(text, "|---|---:|---:|---:|---:|---:|")?;
    let contestants = [
        ("minimal loop", "rtt-loop"),
        ("minimal loop, kernel's receive stamp", "rtt-kernel"),
        ("loadtest ping", "rtt-loadtest"),
        ("irtt, without its server's time", "rtt-irtt"),
    ];
    for (name, what) in contestants {
        let rounds = load(what)?;
        if rounds.is_empty() {
            writeln!(text, "| {name} | not measured | | | | |")?;
            continue;
        }
        let lost = |round: &Value| Some(number(round, "/sent")? - number(round, "/received")?);
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} |",
            middle(&rounds, "/p50_ms", 3),
            middle(&rounds, "/p99_ms", 3),
            rounds.iter().filter_map(lost).sum::<f64>(),
            ratio(&rounds, &base, "/p50_ms"),
            ratio(&rounds, &base, "/p99_ms"),
        )?;
    }
    writeln!(text)?;
    Ok(())
}

fn pacing(text: &mut String, load: &impl Fn(&str) -> Outcome<Rounds>) -> Outcome<()> {
    let (sipp, ours, floor) = (load("pacing-sipp")?, load("pacing-loadtest")?, load("pacing-floor")?);
    let (Some(one), false) = (sipp.first(), ours.is_empty()) else { return Ok(()) };
    let (streams, count) = (number(one, "/streams").unwrap_or_default(), ours.len());
    writeln!(text, "### Pacing of {streams} streams, seen by an independent receiver\n")?;
    writeln!(
        text,
        "| | bare sender | SIPp rtp_stream | loadtest | loadtest to SIPp, median of {count} rounds |"
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|")?;
    let rows = [
        ("error of the interval, p50 ms", "/gap_p50_ms", 4),
        ("error of the interval, p99 ms", "/gap_p99_ms", 4),
        ("distance from the 20 ms grid, p50 ms", "/grid_p50_ms", 4),
        ("distance from the 20 ms grid, p99 ms", "/grid_p99_ms", 4),
        ("CPU of the caller a packet sent, µs", "/cpu_us", 2),
        ("CPU of the caller a packet sent or read, µs", "/cpu_us_handled", 2),
        ("packets", "/packets", 0),
        ("dropped at the receiver", "/drops", 0),
    ];
    for (name, at, digits) in rows {
        let counted = matches!(at, "/packets" | "/drops");
        let ratio = if counted { String::new() } else { ratio(&ours, &sipp, at) };
        writeln!(
            text,
            "| {name} | {} | {} | {} | {ratio} |",
            middle(&floor, at, digits),
            middle(&sipp, at, digits),
            middle(&ours, at, digits)
        )?;
    }
    writeln!(text)?;
    Ok(())
}

/// Our lanes beside a bare sender and a bare reader.
fn media(text: &mut String, folder: &Path, load: &impl Fn(&str) -> Outcome<Rounds>) -> Outcome<()> {
    let mut settings = Vec::new();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix("media-")?.strip_suffix(".1.json"));
        if let Some((streams, lanes)) = parts.and_then(|parts| parts.split_once('-')) {
            settings.push((streams.parse::<u32>()?, lanes.parse::<u32>()?));
        }
    }
    settings.sort_unstable();
    let mut rows = String::new();
    for (streams, lanes) in settings {
        let rounds = load(&format!("media-{streams}-{lanes}"))?;
        let of = |who: &str| -> Rounds { rounds.iter().map(|round| round[who].clone()).collect() };
        let (bare, ours) = (of("bare"), of("loadtest"));
        let lost = |rounds: &Rounds| rounds.iter().filter_map(|r| number(r, "/lost")).sum::<f64>();
        writeln!(
            rows,
            "| {streams} | {lanes} | {} + {} | {} + {} | {} | {} | {} | {} |",
            middle(&bare, "/send_us", 2),
            middle(&bare, "/read_us", 2),
            middle(&ours, "/send_us", 2),
            middle(&ours, "/read_us", 2),
            ratio(&ours, &bare, "/send_us"),
            ratio(&ours, &bare, "/read_us"),
            ratio(&ours, &bare, "/handled_us"),
            format_args!("{} / {}", lost(&bare), lost(&ours)),
        )?;
    }
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "### What the kernel asks for, and what we do\n")?;
    writeln!(
        text,
        "| streams | lanes | bare, µs sent + read | loadtest, µs sent + read | ratio sent | ratio read | \
         ratio of both | lost, bare / loadtest |"
    )?;
    writeln!(text, "|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    writeln!(text, "{rows}")?;
    Ok(())
}

/// Calls over each transport: the driver's CPU, and what it has more of than over UDP.
fn transports(text: &mut String, load: &impl Fn(&str) -> Outcome<Rounds>) -> Outcome<()> {
    let figures = |what: &str| -> Outcome<Rounds> {
        let figure = |run: &Value| {
            let (cpu_us, lost) = (cpu_us(run)?, number(run, "/metrics/loss/count")?);
            Some(json!({ "cpu_us": cpu_us, "lost": lost }))
        };
        let rounds: Option<Rounds> = load(what)?.iter().map(figure).collect();
        rounds.ok_or_else(|| format!("{what}: summary.json lacks a figure").into())
    };
    let udp = figures("transport-udp")?;
    if udp.is_empty() {
        return Ok(());
    }
    writeln!(text, "### Transports\n")?;
    writeln!(
        text,
        "| SIP, media | CPU of the driver a packet sent or read, µs | more than over UDP, µs | \
         to UDP, median of {} rounds | lost |",
        udp.len()
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|")?;
    let contestants = [
        ("UDP, plain", "transport-udp"),
        ("TLS, plain", "transport-tls"),
        ("UDP, SRTP", "transport-srtp"),
        ("TLS, SRTP", "transport-tls-srtp"),
    ];
    for (name, what) in contestants {
        let rounds = figures(what)?;
        let pairs = rounds.iter().zip(&udp);
        let more = pairs.filter_map(|(of, to)| Some(number(of, "/cpu_us")? - number(to, "/cpu_us")?));
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            middle(&rounds, "/cpu_us", 2),
            median(more.collect()).map_or("–".into(), |us| format!("{us:.2}")),
            ratio(&rounds, &udp, "/cpu_us"),
            rounds.iter().filter_map(|round| number(round, "/lost")).sum::<f64>(),
        )?;
    }
    writeln!(text)?;
    Ok(())
}

/// CPU of a run's driver a packet sent or read, in the measured window.
fn cpu_us(run: &Value) -> Option<f64> {
    let seconds = number(run, "/environment/window_to_s")? - number(run, "/environment/window_from_s")?;
    let packets = number(run, "/metrics/packets/sent")? + number(run, "/metrics/packets/received")?;
    Some(1e6 * seconds * number(run, "/metrics/cpu/driver_mean")? / packets)
}

/// One run's `summary.json`.
fn limit(text: &mut String, rounds: &[Value]) -> Outcome<()> {
    let Some(run) = rounds.first() else { return Ok(()) };
    if let Some(at) = LIMIT_METRICS.iter().find(|at| run.pointer(at).is_none()) {
        return Err(format!("summary.json has no {at}").into());
    }
    let figure = |at: &str| run.pointer(at).map_or("–".into(), Value::to_string);
    writeln!(text, "### The limit\n")?;
    writeln!(
        text,
        "| {} calls, {} packets sent | |",
        figure("/metrics/calls/attempts"),
        figure("/metrics/packets/sent")
    )?;
    writeln!(text, "|---|---:|")?;
    let percent = |at: &str| number(run, at).map_or("–".into(), |ratio| format!("{:.4} %", 100.0 * ratio));
    let plain = |at: &str| number(run, at).map_or_else(|| figure(at), |n| format!("{n:.3}"));
    writeln!(text, "| lost | {} |", figure("/metrics/loss/count"))?;
    writeln!(text, "| dropped at the driver's sockets | {} |", figure("/metrics/sockets/drops"))?;
    writeln!(text, "| missed slots | {} |", percent("/metrics/slots/missed_ratio"))?;
    writeln!(text, "| send lateness, p99 ms | {} |", plain("/metrics/send_lateness/p99"))?;
    writeln!(text, "| rtt, p50 ms | {} |", plain("/metrics/rtt/p50"))?;
    writeln!(text, "| rtt, p99 ms | {} |", plain("/metrics/rtt/p99"))?;
    writeln!(text, "| busiest thread of the driver, cores | {} |", plain("/metrics/cpu/busiest_thread_max"))?;
    writeln!(text, "| driver, cores | {} |", plain("/metrics/cpu/driver_mean"))?;
    writeln!(text, "| memory of the driver, MiB | {} |", plain("/metrics/memory/driver_max"))?;
    writeln!(text)?;
    Ok(())
}

/// The metrics of `summary.json` that are shown. One that is renamed is an error, not a dash.
const LIMIT_METRICS: [&str; 10] = [
    "/metrics/calls/attempts",
    "/metrics/packets/sent",
    "/metrics/loss/count",
    "/metrics/sockets/drops",
    "/metrics/slots/missed_ratio",
    "/metrics/send_lateness/p99",
    "/metrics/rtt/p50",
    "/metrics/rtt/p99",
    "/metrics/cpu/busiest_thread_max",
    "/metrics/memory/driver_max",
];

/// A figure of a round; a percentile that falls among the lost is slower than any other.
fn number(round: &Value, at: &str) -> Option<f64> {
    match round.pointer(at)? {
        Value::Null => Some(f64::INFINITY),
        Value::String(word) if word == "lost" => Some(f64::INFINITY),
        value => value.as_f64(),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

fn middle(rounds: &[Value], at: &str, digits: usize) -> String {
    let values = rounds.iter().filter_map(|round| number(round, at)).collect();
    match median(values) {
        Some(value) if value.is_finite() => format!("{value:.digits$}"),
        _ => "lost".into(),
    }
}

/// The median of the rounds' ratios, and how far they spread.
fn ratio(of: &[Value], to: &[Value], at: &str) -> String {
    let ratios: Vec<_> = of
        .iter()
        .zip(to)
        .filter_map(|(a, b)| Some(number(a, at)? / number(b, at)?))
        .filter(|r| !r.is_nan())
        .collect();
    let (low, high) = ratios.iter().fold((f64::MAX, f64::MIN), |(l, h), r| (l.min(*r), h.max(*r)));
    median(ratios)
        .map_or("–".into(), |ratio| format!("**{}** ({} – {})", short(ratio), short(low), short(high)))
}

/// Three significant digits, or so.
fn short(value: f64) -> String {
    if value < 0.1 { format!("{value:.4}") } else { format!("{value:.2}") }
}
