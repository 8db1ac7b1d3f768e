//! Services that are not this program's own: the example on a public ARI library, and broken ones.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{
    Place, UsersAsterisk, assert_replaced, cache, ends_with, rows, sentences, start_until, stderr,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const COUNTS: &str = r#"gates.require=["calls.answered == 100%", "calls.dropped_count == 0", "calls.silent_count == 0", "corrupted.count == 0"]"#;

/// The folder into which `tests/install.sh node-echo` puts the example's packages.
pub fn packages() -> PathBuf {
    let packages = cache().join("node-echo/node_modules");
    assert!(packages.join("ari-client").exists(), "type tests/install.sh node-echo first");
    packages
}

/// `loadtest run scenarios/own-service.toml` in `place`.
fn run(place: &Place, set: &[&str]) -> Command {
    let mut command = place.run("own-service", set);
    command.env("NODE_PATH", packages());
    command
}

/// `service.command=[…]` that runs a script of the shell.
fn shell(script: &str) -> String {
    format!("service.command={}", serde_json::json!(["sh", "-c", script]))
}

/// `service.command=[…]` that runs an ARI application whose events are handled by `body`.
fn node(place: &Place, body: &str) -> String {
    let path = place.path("app.js");
    let script = format!(
        "const e = process.env;\n\
         require('ari-client').connect(e.ARI_URL, e.ARI_USER, e.ARI_PASS).then((ari) => {{\n{body}\nari.start(e.ARI_APP);\n}});\n"
    );
    fs::write(&path, script).expect("the application is written");
    format!("service.command={}", serde_json::json!(["node", path]))
}

/// Asserts that the measured window held the packets of the schedule, but for those that a stalled
/// machine did not get to at its very end; returns how many there were.
#[track_caller]
fn assert_measured(place: &Place, scheduled: u64) -> u64 {
    let sent = place.count("packets.sent");
    assert!((scheduled / 2..=scheduled).contains(&sent), "{sent} of {scheduled} packets");
    sent
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("the process runs");
}

/// The process in `place` whose command line begins with `program`.
fn process(place: &Place, program: &str) -> u32 {
    let mark = place.path("").to_string_lossy().into_owned();
    let is_it = |dir: &Path| {
        let environment = fs::read(dir.join("environ")).unwrap_or_default();
        let line = fs::read(dir.join("cmdline")).unwrap_or_default();
        line.starts_with(program.as_bytes()) && String::from_utf8_lossy(&environment).contains(&mark)
    };
    let dirs = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let found = dirs.filter(|dir| is_it(dir)).find_map(|dir| dir.file_name()?.to_str()?.parse().ok());
    found.unwrap_or_else(|| panic!("no {program} in {:?}", place.processes()))
}

#[test]
fn the_example_answers_and_echoes_every_call() {
    let place = Place::new();
    // Long enough for the connections that it has pooled to be closed.
    ends_with(&mut run(&place, &["load.duration=16s", COUNTS]), 0);
    assert_eq!(place.count("calls.answered_count"), 5);
    let sent = assert_measured(&place, 5 * 16 * 50);
    assert_eq!(place.count("leaks.total"), 0, "{}", place.summary()["environment"]["leaks"]);
    assert_eq!(place.count("packets.received") + place.count("loss.count"), sent);
    // The payload comes back as it was, so that the round trip is known, and stamped by nobody.
    let summary = place.summary();
    assert_eq!(summary["samples"]["rtt"].as_u64(), Some(place.count("packets.received")));
    assert!(place.metric("rtt.p50").as_f64().is_some_and(|ms| ms > 0.0));
    for metric in ["up.p50", "down.p50", "service_time.p50", "path_rtt.p50"] {
        assert_eq!(place.metric(metric), Value::Null, "{metric} without the service's stamps");
    }
    assert!(place.metric("cpu.service_mean").is_number(), "it is watched");
    let is = summary["environment"]["service"].as_str().unwrap_or_default();
    assert!(is.contains("node") && is.contains("echo.js"), "{is}");
    let log = fs::read_to_string(place.out().join("logs/service.log")).expect("its output is kept");
    assert!(log.contains("ready"), "{log}");
    place.assert_nothing_left();
}

#[test]
fn the_example_survives_churn_in_a_law_under_another_name() {
    let place = Place::new();
    let set = ["service.app=echoes", "media.codec=PCMA", "load.duration=4s", "load.call_duration=1s"];
    let output = ends_with(&mut run(&place, &[&set[..], &["measure.warmup=0s", COUNTS]].concat()), 0);
    let calls = rows(&place.out().join("calls.csv"));
    assert_replaced(&calls);
    assert!(calls.iter().all(|c| c["ending"] == "completed"), "{calls:?}");
    let log = fs::read_to_string(place.out().join("logs/service.log")).expect("its output is kept");
    assert!(log.contains("application echoes"), "{log}");
    assert!(!sentences(&output).contains("errors (logs/asterisk.log)"), "{output:?}");
    place.assert_nothing_left();
}

#[test]
fn a_service_that_ends_at_once_is_the_cause_with_its_last_output() {
    let place = Place::new();
    let command = shell("echo the database is away >&2; exit 3");
    let said = stderr(&ends_with(&mut run(&place, &[&command]), 1));
    assert!(said.contains("ended by itself (exit status: 3)"), "{said}");
    assert!(said.contains("application `loadtest`") && said.contains("the database is away"), "{said}");
    let logs = place.out().join("failed-start");
    assert!(said.contains(&format!("Logs of what was started are in {}", logs.display())), "{said}");
    assert!(fs::read_to_string(logs.join("service.log")).expect("its log").contains("the database is away"));
    let left = fs::read_dir(place.out()).expect("a folder").count();
    assert_eq!(left, 1, "nothing but the logs is left, which look like no run");
    place.assert_nothing_left();
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let place = Place::new();
    let said = stderr(&ends_with(&mut run(&place, &[r#"service.command=["/nowhere/app"]"#]), 1));
    assert!(said.contains("/nowhere/app") && said.contains("service.command"), "{said}");
    place.assert_nothing_left();
}

#[test]
fn a_service_that_never_connects_is_given_up_and_all_it_started_is_killed() {
    let place = Place::new();
    // Neither the shell nor its child ends when asked.
    let command = shell("trap '' TERM; echo waiting for the queue; sleep 1000 & sleep 1000; sleep 1000");
    let said = stderr(&ends_with(&mut run(&place, &[&command, "service.ready_within=1s"]), 1));
    assert!(said.contains("application `loadtest` did not appear") && said.contains("within 1s"), "{said}");
    assert!(said.contains("waiting for the queue") && said.contains("ready_within"), "{said}");
    place.assert_nothing_left();
}

#[test]
fn a_service_that_dies_in_mid_run_is_the_cause_in_the_report() {
    let place = Place::new();
    let mut child = start_until(&mut run(&place, &["load.duration=10m"]), "hold");
    // Its calls' sockets are on the ports that PORT_RANGE gives it, which are the place's.
    let calls = place.lane().service().filter(|port| UdpSocket::bind(("127.0.0.1", *port)).is_err()).count();
    assert_eq!(calls, 5);
    signal(process(&place, "node"), Signal::SIGKILL);
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let doubt = place.summary()["verdict"]["doubt"]["reasons"].to_string();
    assert!(doubt.contains("ended by itself") && doubt.contains("signal: 9"), "{doubt}");
    assert!(doubt.contains("application loadtest at"), "its last words: {doubt}");
    let page = fs::read_to_string(place.out().join("report.html")).expect("report.html is there");
    assert!(page.contains("ended by itself"), "the report says so too");
    let calls = rows(&place.out().join("calls.csv"));
    assert!(calls.iter().all(|c| !c["held_ms"].is_empty()), "every call was hung up: {calls:?}");
    place.assert_nothing_left();
}

#[test]
fn a_service_behind_a_shell_is_watched_and_stopped_with_it() {
    let place = Place::new();
    let command = shell("node examples/node-echo/echo.js; echo the end of the script");
    ends_with(&mut run(&place, &[&command, "load.duration=3s", COUNTS]), 0);
    assert!(place.metric("cpu.service_mean").is_number(), "not the shell's");
    let asterisk = fs::read_to_string(place.out().join("logs/asterisk.log")).expect("Asterisk's log");
    // The shell is gone at once when asked; what it has started still gets the time to say goodbye.
    assert!(!asterisk.contains("closed abruptly"), "{asterisk}");
    place.assert_nothing_left();
}

#[test]
fn a_service_in_a_session_of_its_own_is_found_watched_and_stopped() {
    // As sudo and daemons leave their parents: with a parent there, and without one.
    for script in [
        "setsid --wait node examples/node-echo/echo.js",
        "setsid --fork node examples/node-echo/echo.js; sleep 1000",
    ] {
        let place = Place::new();
        ends_with(&mut run(&place, &[&shell(script), "load.calls=2", "load.duration=2s", COUNTS]), 0);
        assert!(place.metric("cpu.service_mean").is_number(), "{script}");
        assert_eq!(place.summary()["environment"]["unseen"], "", "{script}");
        place.assert_nothing_left();
    }
}

#[test]
fn a_service_whose_connection_somebody_else_holds_is_ready_and_what_cannot_be_watched_is_said() {
    let place = Place::new();
    let relay = place.path("relay.js");
    let port = place.lane().spare();
    let script = format!(
        "const net = require('net'), url = new URL(process.env.ARI_URL);\n\
         net.createServer((near) => {{\n\
           const far = net.connect(url.port, url.hostname);\n\
           near.pipe(far).pipe(near);\n\
           [near, far].forEach((end) => end.on('error', () => {{}}).on('close', () => (near.destroy(), far.destroy())));\n\
         }}).listen({port}, '127.0.0.1');\n\
         setTimeout(() => process.exit(), 60000);\n"
    );
    fs::write(&relay, script).expect("the relay is written");
    // Without the run's mark and without a parent: a container's processes have neither.
    let command = shell(&format!(
        "env -u LOADTEST_KEEPER setsid --fork node {}; \
         export ARI_URL=http://127.0.0.1:{port}; until node examples/node-echo/echo.js; do sleep 0.2; done",
        relay.display()
    ));
    let output = ends_with(&mut run(&place, &[&command, "load.calls=2", "load.duration=2s", COUNTS]), 0);
    let said = format!("{}{}", sentences(&output), place.summary()["environment"]["remarks"]);
    assert!(said.contains("holds a connection to ARI"), "{said}");
    assert_eq!(place.summary()["environment"]["unseen"], "the service");
    assert!(place.metric("cpu.service_mean").is_null(), "the launcher's would pass for the service's");
    signal(process(&place, "node\0"), Signal::SIGTERM);
}

#[test]
fn a_service_that_lets_go_of_its_launcher_is_told_that_it_has_to_stay() {
    let place = Place::new();
    let said = stderr(&ends_with(&mut run(&place, &[&shell("setsid --fork sleep 1000")]), 1));
    assert!(said.contains("ended by itself (exit status: 0)") && said.contains("docker run -d"), "{said}");
    place.assert_nothing_left();
}

#[test]
fn calls_that_hear_nothing_point_at_the_application() {
    let place = Place::new();
    let app = node(&place, "ari.on('StasisStart', (event, channel) => channel.answer());");
    let output = ends_with(&mut run(&place, &[&app, "load.calls=2", "load.duration=1s", COUNTS]), 10);
    let said = sentences(&output);
    let finding = "all 2 calls answered and silent: no packet came back";
    assert!(said.contains(finding), "{said}");
    for file in ["report.html", "summary.md", "junit.xml", "summary.json"] {
        let text = fs::read_to_string(place.out().join(file)).expect("the report is there");
        assert!(text.contains(finding), "{file} says so too");
    }
    assert_eq!(place.count("calls.silent_count"), 2);
    place.assert_nothing_left();
}

#[test]
fn a_service_that_bridges_before_its_media_is_there_is_told_of_the_race() {
    let place = Place::new();
    // The race of docs/own-service.md, lost every time: the channel is added before Asterisk has it.
    let app = node(
        &place,
        "ari.on('StasisStart', async (event, channel) => {
           if (channel.name.startsWith('UnicastRTP')) return;
           const [port] = e.PORT_RANGE.split('-');
           const bridge = await ari.bridges.create({ type: 'mixing' });
           const media = `media-${channel.id}`;
           await ari.bridges.addChannel({ bridgeId: bridge.id, channel: [channel.id, media] }).catch(() => {});
           await ari.channels.externalMedia(
             { channelId: media, app: e.ARI_APP, external_host: `127.0.0.1:${port}`, format: e.MEDIA_FORMAT });
           await channel.answer();
         });",
    );
    let output = ends_with(&mut run(&place, &[&app, "load.calls=2", "load.duration=3s", COUNTS]), 10);
    let finding = place.summary()["findings"][0].clone();
    assert_eq!(finding["name"], "not_bridged", "{finding}");
    let said = sentences(&output);
    assert!(said.contains("2 of 2 callers were in no bridge"), "{said}");
    assert!(said.contains("bridge both only after the StasisStart of the external channel"), "{said}");
    place.assert_nothing_left();
}

#[test]
fn calls_that_nobody_answers_point_at_the_application() {
    let place = Place::new();
    let app = node(&place, "");
    let set = ["load.calls=2", "load.duration=1s", "sip.setup_timeout=1s", COUNTS];
    let output = ends_with(&mut run(&place, &[&[app.as_str()], &set[..]].concat()), 10);
    let said = sentences(&output);
    assert!(said.contains("all 2 calls were taken by the far end and not answered within 1s"), "{said}");
    assert_eq!(place.summary()["findings"][0]["name"], "never_answered");
    place.assert_nothing_left();
}

#[test]
fn a_service_that_somebody_else_runs_meets_the_managed_asterisk() {
    let place = Place::new();
    let port = place.lane().spare();
    let port_key = format!("asterisk.ari_port={port}");
    let external = ["service.mode=external", "service.command=[]", &port_key];
    let account = [("ARI_USER", "somebody"), ("ARI_PASS", "a-good-one")];

    let said = stderr(&ends_with(&mut run(&place, &external), 2));
    assert!(said.contains("ARI_USER and ARI_PASS"), "{said}");
    let mut lonely = run(&place, &[&external[..], &["service.ready_within=1s"]].concat());
    let said = stderr(&ends_with(lonely.envs(account), 1));
    assert!(said.contains("did not appear") && said.contains("has to be running"), "{said}");

    // As a supervisor would: again and again until there is an Asterisk.
    let mut service = Command::new("sh");
    service
        .args(["-c", "until node examples/node-echo/echo.js; do sleep 0.1; done"])
        .env("NODE_PATH", packages())
        .env("ARI_URL", format!("http://127.0.0.1:{port}"))
        .envs(account)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let service = Group::start(service);
    ends_with(run(&place, &[&external[..], &["load.duration=2s", COUNTS]].concat()).envs(account), 0);
    drop(service);
    assert_measured(&place, 5 * 2 * 50);
    assert!(place.metric("cpu.service_mean").is_number(), "its process is found");
    place.assert_nothing_left();
}

/// A process group that is killed at the end, also of a test that fails.
struct Group(Child);

impl Group {
    fn start(mut command: Command) -> Group {
        use std::os::unix::process::CommandExt as _;
        Group(command.process_group(0).spawn().expect("the program starts"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_that_somebody_else_runs_on_an_asterisk_of_the_users_own() {
    let place = Place::new();
    let asterisk = UsersAsterisk::start(&place, &[]);
    let account = asterisk.account();
    let settings = asterisk.settings();
    let external = ["service.mode=external", "service.command=[]", "load.duration=2s", COUNTS];
    let set = [&settings.each_ref().map(String::as_str)[..], &external].concat();

    let mut nobody = run(&place, &[&set[..], &["service.ready_within=1s"]].concat());
    let said = stderr(&ends_with(nobody.envs(account), 1));
    assert!(said.contains("is the service running"), "{said}");
    let mut nowhere =
        run(&place, &[&set[..], &["service.ready_within=1s", "asterisk.ari=http://127.0.0.1:1"]].concat());
    let said = stderr(&ends_with(nowhere.envs(account), 1));
    assert!(said.contains("ARI does not answer at http://127.0.0.1:1"), "{said}");
    let said = stderr(&ends_with(run(&place, &set).envs(account).env("ARI_PASS", "guess"), 2));
    assert!(said.contains("refuses user"), "{said}");

    let mut service = Command::new("node");
    service
        .arg("examples/node-echo/echo.js")
        .env("NODE_PATH", packages())
        .env("ARI_URL", &asterisk.said["ARI_URL"])
        .envs(account)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut service = Group::start(service);
    ends_with(run(&place, &set).envs(account), 0);
    assert_measured(&place, 5 * 2 * 50);
    // Both are this machine's, so that their CPU is the run's own.
    for metric in ["cpu.asterisk_mean", "cpu.service_mean"] {
        assert!(place.metric(metric).is_number(), "{metric}");
    }
    assert_eq!(place.summary()["environment"]["unseen"], "");
    assert!(service.0.try_wait().expect("a child").is_none(), "it is left alone");
    drop(service);
    asterisk.stop();
}
