//! The instrument against known truth over real sockets: impairment in, the same out; the echo and
//! ping without SIP; the control stream.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Guarded, Place, ends_with, rows, stderr};
use loadtest::clock::Timeline;
use nix::sys::signal::Signal;
use serde_json::Value;

const COUNTS: &str = r#"gates.require=["calls.answered == 100%", "packets.sent > 0"]"#;

#[test]
fn what_is_injected_comes_back_up_and_down_told_apart() {
    let place = Place::new();
    let set = [
        "load.duration=10s",
        "impair.seed=7",
        "impair.out.delay=30ms",
        "impair.out.loss=4%",
        "impair.back.delay=50ms",
        "impair.back.loss=1%",
        COUNTS,
    ];
    ends_with(&mut place.run("smoke", &set), 0);
    let ms = |name: &str| place.metric(name).as_f64().unwrap_or_else(|| panic!("{name}"));
    assert!(ms("up.min") >= 30.0 && ms("down.min") >= 50.0 && ms("rtt.min") >= 80.0);
    // The machine adds to every packet, so only the order of the medians is certain.
    assert!(ms("up.p50") < ms("down.p50"));
    let (sent, lost) = (place.count("packets.sent"), place.count("loss.count"));
    let (up, down) = (place.count("loss.up_count"), place.count("loss.down_count"));
    assert_eq!(sent, 5 * 10 * 50);
    assert_eq!(lost, up + down + place.count("loss.unattributed_count"));
    // Losses without a way are those at the end of a call, after the last packet that came back: five at most.
    assert!(place.count("loss.unattributed_count") <= 5 * 5);
    assert_eq!(place.summary()["environment"]["impaired"], true);
    // 2,500 packets: five standard deviations around 4 % and 1 %.
    assert!((51..=149).contains(&up) && (1..=50).contains(&down), "{up} up, {down} down");
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(remarks.contains("on the way out") && remarks.contains("on the way back"), "{remarks}");
    assert_eq!(place.count("control.lost_count"), 0, "the control stream is not impaired");
}

#[test]
fn the_control_stream_is_measured_beside_the_calls() {
    let place = Place::new();
    ends_with(&mut place.run("smoke", &["load.duration=3s", "measure.control_streams=2", COUNTS]), 0);
    let seconds = rows(&place.out().join("seconds.csv"));
    let held = || seconds.iter().filter(|r| r["phase"] == "hold");
    let sum = |column: &str| held().map(|r| r[column].parse::<u64>().expect("a count")).sum::<u64>();
    // The window begins and ends within a second.
    assert!(sum("control_sent") <= place.count("control.sent_count") + 2 * 50);
    // The lost ones are samples too: they rank last.
    assert_eq!(Some(place.count("control.sent_count")), place.summary()["samples"]["control"].as_u64());
    assert!(place.count("control.sent_count") >= 2 * 2 * 50);
    assert!(
        place.metric("control.min").as_f64() < place.metric("rtt.min").as_f64(),
        "past Asterisk is shorter"
    );
    ends_with(&mut Place::new().run("smoke", &["load.duration=1s", "measure.control_streams=0", COUNTS]), 0);
}

#[test]
fn ping_counts_every_packet_to_an_echo() {
    let place = Place::new();
    let mut echo = place.program();
    echo.args(["echo", "--listen", "127.0.0.1:0", "--lanes", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut echo = Guarded::spawn(&mut echo);
    let mut lines = BufReader::new(echo.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let address =
        lines.find_map(|l| l.split_whitespace().find(|w| w.starts_with("127.0.0.1:")).map(str::to_string));
    let address = address.expect("it says where it listens").trim_end_matches(';').to_string();
    let mut ping = place.program();
    let output = ends_with(ping.args(["ping", &address, "--duration", "2s", "--streams", "20", "--json"]), 0);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&said["sent"], &said["received"]), (&Value::from(2000), &Value::from(2000)), "{said}");
    assert_eq!((&said["lost_up"], &said["lost_down"]), (&Value::from(0), &Value::from(0)), "{said}");
    let mut ping = place.program();
    ping.args(["ping", &address, "--duration", "1s", "--streams", "9", "--lanes", "3", "--json"]);
    let said: Value = serde_json::from_slice(&ends_with(&mut ping, 0).stdout).expect("JSON");
    assert_eq!((&said["sent"], &said["received"]), (&Value::from(450), &Value::from(450)), "{said}");
    assert_a_stall_is_said(&place, &address);
    let mut each = place.program();
    let output = ends_with(each.args(["ping", &address, "--duration", "1s"]), 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let warming = |line: &&str| line.contains("warm-up");
    let each: Vec<_> = text.lines().filter(|l| l.starts_with("seq=")).collect();
    assert!(each.iter().filter(|line| warming(line)).count() > 0 && warming(&each[0]), "{text}");
    // Those of the window are those that were sent, less what was lost.
    let counted = each.iter().filter(|line| !warming(line)).count();
    assert!(text.contains(&format!("50 sent, {counted} received")), "{text}");
    echo.kill().expect("it runs");
    echo.wait().expect("it ends");

    let output = ends_with(place.program().args(["ping", &address, "--duration", "200ms"]), 1);
    assert!(stderr(&output).contains("nothing came back"), "{}", stderr(&output));
    ends_with(place.program().args(["ping", &address, "--interval", "25ms"]), 2);
    ends_with(place.program().args(["ping", "nowhere"]), 2);
    ends_with(place.program().args(["ping", &address, "--lanes", "65"]), 2);
}

#[test]
fn media_threads_keep_to_their_cpu_and_the_report_says_so() {
    let place = Place::new();
    // The last CPU that this test may use itself.
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("a set of CPUs");
    let cpu = (0..nix::sched::CpuSet::count()).rfind(|n| allowed.is_set(*n).unwrap()).expect("a CPU");
    let set = [
        format!("driver.cpus=[{cpu}]"),
        "driver.realtime=true".into(),
        "load.duration=2s".into(),
        COUNTS.into(),
    ];
    let output = ends_with(&mut place.run("smoke", &set.each_ref().map(String::as_str)), 0);
    let said = place.summary()["environment"]["scheduling"].as_str().expect("words").to_string();
    assert!(said.ends_with(&format!(", CPU {cpu}")), "{said}");
    // A real-time priority is a matter of permission: in force and said, or refused with the cure.
    let refused = stderr(&output).contains("cap_sys_nice");
    assert_eq!(said.starts_with("real-time"), !refused, "{said}");
    assert_eq!(place.count("packets.sent"), 5 * 2 * 50);
}

#[test]
fn two_lanes_count_what_one_does_and_each_has_figures_of_its_own() {
    let runs = [1, 2].map(|lanes| {
        let place = Place::new();
        let lanes = [format!("driver.lanes={lanes}"), format!("service.lanes={lanes}")];
        let set =
            [lanes[0].as_str(), lanes[1].as_str(), "load.duration=3s", "measure.control_streams=2", COUNTS];
        ends_with(&mut place.run("smoke", &set), 0);
        place
    });
    let counts = |place: &Place| {
        let names =
            ["calls.answered_count", "packets.sent", "packets.received", "loss.count", "control.sent_count"];
        names.map(|name| place.count(name))
    };
    let [one, two] = [&runs[0], &runs[1]].map(counts);
    assert_eq!((one[0], one[1]), (5, 5 * 3 * 50));
    // What comes back is the machine's to say; what is sent is the scenario's.
    assert_eq!((&two[..2], two[2] + two[3]), (&one[..2], two[1]));
    assert!(runs[0].summary()["environment"]["lanes"].is_null(), "its figures are the run's");
    let environment = runs[1].summary()["environment"].clone();
    let lanes = environment["lanes"].as_array().expect("two lanes").clone();
    let of = |key: &str| -> Vec<u64> { lanes.iter().map(|lane| lane[key].as_u64().expect(key)).collect() };
    let sum = |key: &str| of(key).iter().sum::<u64>();
    assert_eq!((of("lane"), of("calls")), (vec![0, 1], vec![3, 2]));
    assert_eq!(of("sent"), [3 * 3 * 50, 2 * 3 * 50]);
    assert_eq!((sum("received"), sum("socket_drops")), (two[2], runs[1].count("sockets.drops")));
    let max = |key: &str| lanes.iter().filter_map(|lane| lane[key].as_f64()).fold(0.0, f64::max);
    let whole = runs[1].metric("send_lateness.max").as_f64().expect("packets were sent");
    assert!((max("send_lateness_max_ms") - whole).abs() <= whole / 100.0, "{lanes:?} {whole}");
    assert!(max("pacer_cpu_max") > 0.0 && max("receiver_cpu_max") > 0.0, "{lanes:?}");
    let page = std::fs::read_to_string(runs[1].out().join("report.html")).expect("a page");
    assert!(page.contains("By lane of the driver"));
}

/// A machine that was stopped for longer than `lost_after` has sent nothing meanwhile, and says so.
fn assert_a_stall_is_said(place: &Place, address: &str) {
    let mut ping = place.program();
    ping.args(["ping", address, "--duration", "6s"]).stdout(Stdio::piped());
    let mut ping = Guarded::spawn(&mut ping);
    let mut lines = BufReader::new(ping.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let measured = |line: String| line.starts_with("seq=") && !line.contains("warm-up");
    assert!(lines.by_ref().any(measured), "it measures");
    ping.signal(Signal::SIGSTOP);
    let timeline = Timeline::start();
    timeline.sleep_until(timeline.now() + Duration::from_secs(3), Duration::ZERO);
    ping.signal(Signal::SIGCONT);
    let rest: Vec<_> = lines.filter(|line| !line.starts_with("seq=")).collect();
    let said = rest.join("\n");
    assert!(said.contains("never sent"), "{said}");
    let missed =
        said.split_once("missed slots ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(missed.is_some_and(|percent| percent > 20.0 && percent < 100.0), "{said}");
}
