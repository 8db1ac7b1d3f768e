//! Starts real Asterisks and looks at what they answer, what they leave behind and how they fail.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use loadtest::asterisk::log::LogKind;
use loadtest::asterisk::{AsteriskError, Install, Managed, SearchPlaces, Socket, StartConfig, find};
use loadtest::scenario::Transport;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Lane, PATIENCE, Target, authorization};

const GRACE: Duration = PATIENCE;

fn install() -> Install {
    find::find(&SearchPlaces::from_environment(None)).unwrap_or_else(|e| panic!("{e}"))
}

/// A folder for an Asterisk, and ports for its RTP.
struct Folder {
    dir: TempDir,
    lane: Lane,
}

impl Folder {
    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn folder() -> Folder {
    Folder { dir: tempfile::tempdir().expect("a temporary folder"), lane: Lane::claim() }
}

/// A start configuration that keeps log and run folder in `dir`.
fn config(dir: &Folder) -> StartConfig {
    let mut config = StartConfig::new(install(), dir.path().join("logs"));
    config.run_base = dir.path().to_path_buf();
    config.ports.rtp = dir.lane.asterisk();
    config
}

async fn start(dir: &Folder) -> (Managed, StartConfig) {
    let config = config(dir);
    let managed = Managed::start(config.clone()).await.expect("Asterisk starts");
    (managed, config)
}

/// The status line's code of a GET.
async fn get(url: &str, path: &str, user: &str, password: &str) -> u16 {
    let host = url.strip_prefix("http://").expect("an ARI address");
    let mut stream = TcpStream::connect(host).await.expect("HTTP is there");
    let request = format!("GET /ari{path}?api_key={user}:{password} HTTP/1.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).await.expect("an answer");
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line")
}

/// There is such a process, and it has not ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Of a process whose parent has gone, nobody may have taken the status yet.
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn run_dirs(dir: &Folder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.path()).expect("the folder is readable");
    let paths = entries.map(|e| e.expect("an entry").path());
    paths.filter(|p| p.to_string_lossy().contains("loadtest-asterisk-")).collect()
}

/// The end of a conversation in which the answer to a challenge is answered with a challenge.
const REFUSED_AGAIN: &str = "401 twice";

/// Sends a request and returns the first line of every answer, until `last` has come. A challenge is answered once.
async fn ask(target: Target, request: &str, last: &str) -> Vec<String> {
    let addr = target.address;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    let request = request.replace("PORT", &port.to_string());
    let mut is_answered = false;
    socket.send_to(request.as_bytes(), addr).await.expect("sent");
    let mut lines = Vec::new();
    let mut buffer = vec![0; 8192];
    let is_over = |lines: &[String]| match last {
        REFUSED_AGAIN => lines.iter().filter(|line| line.contains(" 401 ")).count() > 1,
        last => lines.iter().any(|line| line.contains(last)),
    };
    while !is_over(&lines) {
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
            .await
            .unwrap_or_else(|_| panic!("{last} did not come, but {lines:?}"))
            .expect("an answer");
        let text = String::from_utf8_lossy(&buffer[..length]);
        // Asterisk keeps its BYE back until the answer is acknowledged, and repeats a refusal until it is.
        if text.starts_with("SIP/2.0 200") || text.starts_with("SIP/2.0 401") {
            socket.send_to(ack(&text).as_bytes(), addr).await.expect("sent");
        }
        if text.starts_with("SIP/2.0 401") && !std::mem::replace(&mut is_answered, true) {
            let uri = request.split(' ').nth(1).expect("a request line");
            let authorization = authorization(target, &text, "INVITE", uri);
            let again = request
                .replace("CSeq: 1 ", "CSeq: 2 ")
                .replace("branch=z9hG4bK", "branch=z9hG4bK-2")
                .replace("Max-Forwards", &format!("{authorization}Max-Forwards"));
            socket.send_to(again.as_bytes(), addr).await.expect("sent");
        }
        lines.push(text.lines().next().unwrap_or_default().to_string());
    }
    lines
}

fn ack(answer: &str) -> String {
    let same = ["Via:", "From:", "To:", "Call-ID:"];
    let kept = answer.lines().filter(|line| same.iter().any(|name| line.starts_with(name)));
    let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
    let number =
        answer.lines().find_map(|line| line.strip_prefix("CSeq: ")?.split(' ').next()).unwrap_or("1");
    format!(
        "ACK sip:asterisk@127.0.0.1 SIP/2.0\r\n{kept}CSeq: {number} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

fn invite(extension: &str, from: &str) -> String {
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    format!(
        "INVITE sip:{extension}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:PORT;branch=z9hG4bK-{extension}-{from}\r\n\
         From: <sip:{from}@127.0.0.1>;tag=1\r\nTo: <sip:{extension}@127.0.0.1>\r\nCall-ID: {extension}-{from}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:{from}@127.0.0.1:PORT>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

#[tokio::test]
async fn starts_answers_ari_and_leaves_nothing_behind() {
    let dir = folder();
    let (managed, config) = start(&dir).await;
    let (url, pid) = (managed.ari().url.clone(), managed.process().pid());
    let password = config.ari.password.expose();
    assert_eq!(get(&url, "/asterisk/info", &config.ari.user, password).await, 200);
    assert_eq!(get(&url, "/asterisk/info", &config.ari.user, "wrong").await, 401);
    assert_eq!(get(&url, "/asterisk/info", "stranger", password).await, 401);
    assert!(is_alive(pid));
    assert_eq!(run_dirs(&dir), [managed.run_dir()]);

    let (counts, tail) = (managed.take_log_counts(), managed.output().tail());
    let silent = [LogKind::Error, LogKind::Warning].iter().all(|kind| !counts.contains_key(kind));
    assert!(silent, "{counts:?} at the start: {tail:?}");
    let stopped = managed.stop(GRACE).await;
    assert!(!stopped.killed && stopped.status.is_some_and(|s| s.success()), "{stopped:?}");
    assert!(!is_alive(pid));
    let (tail, path) = (managed.output().tail(), managed.output().path().to_path_buf());
    drop(managed);
    assert!(run_dirs(&dir).is_empty());
    let copy = std::fs::read_to_string(path).expect("the log is kept");
    assert!(copy.lines().any(|line| line == "Asterisk Ready."), "{copy}");
    assert_eq!(copy.lines().last(), tail.last().map(String::as_str), "to its last line");
}

#[tokio::test]
async fn what_is_dropped_is_gone_at_once() {
    let dir = folder();
    let (managed, _) = start(&dir).await;
    let pid = managed.process().pid();
    drop(managed);
    assert!(!is_alive(pid));
    assert!(run_dirs(&dir).is_empty());
}

#[tokio::test]
async fn two_at_once_do_not_meet() {
    let (a, b) = (folder(), folder());
    let ((first, config), (second, _)) = tokio::join!(start(&a), start(&b));
    assert_ne!(first.sip_addr(), second.sip_addr());
    let password = config.ari.password.expose();
    assert_eq!(get(&first.ari().url, "/asterisk/ping", &config.ari.user, password).await, 200);
    assert_eq!(get(&second.ari().url, "/asterisk/ping", &config.ari.user, password).await, 401);
    first.stop(GRACE).await;
    assert_eq!(second.process().status(), None);
    second.stop(GRACE).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let (sip, http) = (udp.local_addr().expect("bound"), tcp.local_addr().expect("bound"));
    for (expected, at) in [(Socket::Sip, sip), (Socket::SipStream, http), (Socket::Http, http)] {
        let dir = folder();
        let mut config = config(&dir);
        match expected {
            Socket::Sip => config.ports.sip = at.port(),
            Socket::SipStream => (config.ports.sip, config.transport) = (at.port(), Transport::Tcp),
            Socket::Http => config.ports.http = at.port(),
        }
        let error = Managed::start(config).await.expect_err("the port is taken");
        assert!(error.to_string().contains(&format!("port {} is taken", at.port())), "{error}");
        let AsteriskError::PortTaken { socket, addr } = error else { panic!("{error}") };
        assert_eq!((socket, addr), (expected, at));
        assert!(run_dirs(&dir).is_empty());
    }
}

#[tokio::test]
async fn an_asterisk_that_is_killed_is_noticed() {
    let dir = folder();
    let (managed, _) = start(&dir).await;
    let pid = nix::unistd::Pid::from_raw(managed.process().pid().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    let status = tokio::time::timeout(GRACE, managed.process().ended()).await.expect("noticed in time");
    assert!(status.is_some_and(|s| !s.success()));
    assert_eq!(managed.process().status(), status);
}

/// Runs this very test in a process of its own, which only starts an Asterisk and gets killed.
#[tokio::test]
async fn a_killed_driver_takes_its_asterisk_along() {
    const HOLD: &str = "LOADTEST_TEST_HOLD";
    if let Some(base) = std::env::var_os(HOLD) {
        let mut config = StartConfig::new(install(), PathBuf::from(&base).join("logs"));
        config.run_base = base.into();
        let managed = Managed::start(config).await.expect("Asterisk starts");
        println!("pid={}", managed.process().pid());
        managed.process().ended().await;
        return;
    }
    let dir = folder();
    let mut driver = tokio::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "asterisk::a_killed_driver_takes_its_asterisk_along", "--nocapture"])
        .env(HOLD, dir.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
    let pid = loop {
        let line = lines.next_line().await.expect("text").expect("a line with the pid");
        // The test runner writes the test's name before it, on the same line.
        if let Some((_, pid)) = line.split_once("pid=") {
            break pid.parse().expect("a number");
        }
    };
    assert!(is_alive(pid));
    driver.kill().await.expect("it is killed");
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(GRACE, gone).await.expect("Asterisk is gone");
    // The next one tidies up what that driver could not.
    assert_eq!(run_dirs(&dir).len(), 1);
    let (managed, _) = start(&dir).await;
    assert_eq!(run_dirs(&dir), [managed.run_dir()]);
}

#[tokio::test]
async fn the_named_extensions_answer_as_they_say() {
    let dir = folder();
    let (managed, _) = start(&dir).await;
    for (extension, answer) in [
        ("busy", "486 Busy"),
        ("congestion", "503 Service"),
        ("noanswer", "180 Ringing"),
        ("echo", "200 OK"),
        ("hangup", "BYE sip:"),
    ] {
        ask(Target::of(&managed), &invite(extension, "driver"), answer).await;
    }
    // A call that went to the application as well, when it was hung up, would have left a warning.
    let counts = managed.take_log_counts();
    assert!(!counts.contains_key(&LogKind::Warning), "{:?}", managed.output().tail());
    // Nobody serves the application: Stasis fails, and the dialplan hangs up.
    ask(Target::of(&managed), &invite("1000", "driver"), "SIP/2.0 500").await;
    // There still are a call that rings and one that talks.
    let stopped = managed.stop(GRACE).await;
    assert!(!stopped.killed, "{stopped:?}");
}

#[tokio::test]
async fn nobody_calls_without_the_runs_own_password() {
    let dir = folder();
    let (managed, config) = start(&dir).await;
    let stranger = Target::of(&managed);
    let user = config.digest.user.as_str();
    for (from, target) in [
        ("somebody", stranger.with("somebody", "guess")),
        (user, stranger.with(user, "guess")),
        ("anonymous", stranger.with("", "")),
    ] {
        // From the driver's own address, and by the name of its user.
        let lines = ask(target, &invite("echo", from), REFUSED_AGAIN).await;
        assert!(lines.iter().all(|line| line.contains(" 401 ")), "{from}: {lines:?}");
    }
    ask(stranger, &invite("echo", "whoever"), "200 OK").await;
    let counts = managed.take_log_counts();
    assert!(!counts.contains_key(&LogKind::Warning), "{:?}", managed.output().tail());
    managed.stop(GRACE).await;
}

#[tokio::test]
async fn the_console_is_reached_with_the_same_configuration() {
    let dir = folder();
    let (managed, _) = start(&dir).await;
    let mut console = managed.console();
    let output = console.args(["-rx", "core show channels"]).stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("0 active channels"), "{text}");
    managed.stop(GRACE).await;
}

#[tokio::test]
async fn a_stuck_asterisk_is_killed() {
    let dir = folder();
    let (managed, _) = start(&dir).await;
    let number = managed.process().pid();
    let pid = nix::unistd::Pid::from_raw(number.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("it runs");
    // Until it stands still, a SIGTERM that comes later is taken first.
    let stands_still = || {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).expect("it is there");
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    while !stands_still() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // No time at all: on a busy machine it might end in order within any other.
    let stopped = managed.stop(Duration::ZERO).await;
    assert!(stopped.killed, "{stopped:?}");
    assert!(!is_alive(number));
}

/// A program in Asterisk's place that never listens.
#[tokio::test]
async fn what_does_not_get_ready_in_time_is_stopped() {
    let dir = folder();
    let mut config = config(&dir);
    config.install.program = dir.path().join("program");
    config.install.loader = None;
    config.ready_within = Duration::from_millis(300);
    // Written by another process, as one that this one has open could not be executed.
    let write = "printf '#!/bin/sh\necho here we go\nexec sleep 60\n' >\"$1\" && chmod 755 \"$1\"";
    let status = Command::new("sh").args(["-c", write, "sh"]).arg(&config.install.program).status();
    assert!(status.expect("sh runs").success());
    let error = Managed::start(config).await.expect_err("nothing listens");
    let said = error.to_string();
    assert!(said.contains("did not answer ARI") && said.ends_with("\n  here we go"), "{said}");
    assert!(run_dirs(&dir).is_empty());
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let dir = folder();
    let mut config = config(&dir);
    config.install.module_dir = dir.path().join("no-modules");
    let error = Managed::start(config).await.expect_err("there are no modules");
    let said = error.to_string();
    assert!(said.contains("ended before it was ready") && said.contains("no-modules"), "{said}");
    assert!(run_dirs(&dir).is_empty());
}
