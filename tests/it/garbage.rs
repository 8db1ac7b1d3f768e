//! Garbage at every open port of a run, and from the far end itself, changes no figure but its own.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::{Place, ends_with, rows, start_until};
use loadtest::clock::{self, Timeline};
use loadtest::rtp::packet::StreamSender;
use loadtest::rtp::probe::{Probe, RunKey};
use loadtest::rtp::{Codec, Format};
use loadtest::sip::{Message, parse};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const COUNTS: &str = r#"gates.require=["calls.answered == 100%", "packets.sent > 0"]"#;
const LOCAL: &str = "127.0.0.1:0";
const PTIME: Duration = Duration::from_millis(20);
/// Length of an RTP header.
const PAYLOAD: usize = 12;

/// A packet with a probe of the call `call` of the run `run`.
pub fn probe(run: u32, call: u32) -> Vec<u8> {
    let now = clock::now();
    StreamSender::new(RunKey::new(run, [0; 16]), call, 1, Format::of(Codec::Pcmu, PTIME))
        .packet(now, now)
        .to_vec()
}

fn pause(time: Duration) {
    let line = Timeline::start();
    line.sleep_until(line.now() + time, Duration::ZERO);
}

/// The local addresses of the sockets that a process has open: UDP, and TCP that listens.
fn open_ports(pid: u32) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let sockets: HashSet<String> = descriptors
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_string()))
        .collect();
    let of = |table: &str, listening: bool| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).expect("it runs");
        let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| sockets.contains(row[9]) && (!listening || row[3] == "0A"))
            .map(|row| {
                let (ip, port) = row[1].split_once(':').expect("address and port");
                let ip = u32::from_str_radix(ip, 16).expect("an address").swap_bytes();
                SocketAddr::from((Ipv4Addr::from(ip), u16::from_str_radix(port, 16).expect("a port")))
            })
            .collect()
    };
    (of("udp", false), of("tcp", true))
}

/// The process that the driver has started as its service.
fn service_of(driver: &Child) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", driver.id())).expect("it runs").flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let pids: Vec<u32> = children
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|b| *b == 0).any(|word| word == b"service")
        })
        .collect();
    pids.into_iter().next().expect("the driver has started a service")
}

/// One of everything that somebody might send to a UDP port.
fn missiles(dice: &mut SmallRng) -> Vec<Vec<u8>> {
    let mut bytes = |len: usize| (0..len).map(|_| dice.random()).collect::<Vec<u8>>();
    let mut flipped = probe(1, 1);
    flipped[PAYLOAD + 20] ^= 1;
    vec![
        Vec::new(),
        bytes(1),
        bytes(200),
        bytes(1400),
        bytes(9000),
        probe(1, 1)[..PAYLOAD - 1].to_vec(),
        probe(1, 1)[..PAYLOAD + 30].to_vec(),
        probe(1, 1),
        probe(0, u32::MAX),
        flipped,
        [&[0x80, 0, 0, 1][..], &bytes(168)].concat(),
        b"\r\n\r\n".to_vec(),
        b"INVITE sip:a@b SIP/2.0\r\nVia:\r\n\r\n".to_vec(),
        b"SIP/2.0 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
    ]
}

/// SIP that is well formed and of no call.
fn strays() -> Vec<Vec<u8>> {
    let headers = "Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
                   Call-ID: nobody's\r\nContent-Length: 0\r\n";
    ["BYE", "OPTIONS", "INVITE", "FROBNICATE"]
        .map(|method| format!("{method} sip:a@b SIP/2.0\r\n{headers}CSeq: 1 {method}\r\n\r\n"))
        .into_iter()
        .chain([format!("SIP/2.0 200 OK\r\n{headers}CSeq: 1 INVITE\r\n\r\n")])
        .map(String::into_bytes)
        .collect()
}

/// Bytes that are not HTTP, and HTTP that nobody should send.
fn throw_at_http(address: SocketAddr) {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes();
    let endless = b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n".to_vec();
    for request in
        [vec![0xff; 5000], long, endless, b"GET".to_vec(), b"DELETE /calls HTTP/1.1\r\n\r\n".to_vec()]
    {
        // It may hang up in the middle of it, as it should.
        let Ok(mut stream) = TcpStream::connect(address) else { panic!("{address} does not listen") };
        let _ = stream.write_all(&request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = stream.read(&mut [0; 1024]);
    }
}

#[test]
fn at_every_open_port_of_a_run_it_is_counted_and_changes_nothing() {
    let place = Place::new();
    let mut driver = start_until(&mut place.run("smoke", &["load.duration=6s", COUNTS]), "hold");
    let (ports, listening) = open_ports(driver.id());
    assert!(listening.is_empty(), "the driver takes no connections: {listening:?}");
    let (service_ports, http) = open_ports(service_of(&driver));
    assert_eq!(http.len(), 1, "the service's HTTP: {http:?}");
    // SIP, five calls, the control stream's two ends, and one to try others' addresses with; five calls behind
    // Asterisk.
    assert_eq!((ports.len(), service_ports.len()), (9, 5), "{ports:?} {service_ports:?}");

    let thrower = UdpSocket::bind(LOCAL).expect("a port");
    let mut dice = SmallRng::seed_from_u64(7);
    let (mut rounds, mut missiles_a_round) = (0, 0);
    let line = Timeline::start();
    let until = line.now() + Duration::from_secs(3);
    while line.now() < until {
        let missiles = missiles(&mut dice);
        missiles_a_round = missiles.len() as u64;
        for port in ports.iter().chain(&service_ports) {
            for missile in missiles.iter().chain(&strays()) {
                thrower.send_to(missile, port).expect("a datagram leaves");
            }
        }
        rounds += 1;
        throw_at_http(http[0]);
        pause(Duration::from_millis(20));
    }
    assert_eq!(driver.wait().expect("it ends").code(), Some(0));
    assert!(rounds > 0);

    assert_eq!(place.count("packets.sent"), 5 * 6 * 50);
    assert_eq!((place.count("packets.received"), place.count("loss.count")), (1500, 0));
    assert_eq!((place.count("loss.up_count"), place.count("loss.down_count")), (0, 0));
    for none in ["calls.failed_count", "calls.dropped_count", "calls.silent_count", "duplicate.count"] {
        assert_eq!(place.count(none), 0, "{none}");
    }
    for none in
        ["reordered.count", "corrupted.count", "strangers.count", "sockets.drops", "control.lost_count"]
    {
        assert_eq!(place.count(none), 0, "{none}");
    }
    // Everything at the SIP port was taken for what it is; the media ports were closed to strangers.
    assert_eq!(place.count("sip.garbage_count"), rounds * missiles_a_round);
    assert_eq!(place.count("sip.stray_count"), rounds * strays().len() as u64);
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(remarks.contains("were not SIP"), "{remarks}");
    place.assert_nothing_left();
}

/// A far end that answers one call and echoes it, with garbage of its own before each echo.
struct FarEnd {
    sip: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

/// The final answer to a call: its number, the far end's own media address, the INVITE; the status, the reason
/// phrase and the session description.
type Answers = fn(u32, SocketAddr, &Message) -> (u16, String, String);

impl FarEnd {
    /// `mix` makes of a packet that came what is sent back before it; while the call rings, `stray`
    /// times somebody else sends to the caller's media port.
    fn start(stray: usize, mix: fn(u64, &[u8]) -> Vec<Vec<u8>>) -> Self {
        FarEnd::answering(stray, mix, |_, media, _| (200, "OK".into(), description(media)))
    }

    /// The same, with an answer of its own to each call.
    fn answering(stray: usize, mix: fn(u64, &[u8]) -> Vec<Vec<u8>>, answers: Answers) -> Self {
        let (sip, rtp) = (UdpSocket::bind(LOCAL).expect("a port"), UdpSocket::bind(LOCAL).expect("a port"));
        let address = sip.local_addr().expect("an address");
        let media = rtp.local_addr().expect("an address");
        let stop = Arc::new(AtomicBool::new(false));
        for socket in [&sip, &rtp] {
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        }
        let (ended, over) = (stop.clone(), stop.clone());
        let signalling = thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut calls = 0;
            while !ended.load(Relaxed) {
                let Ok((len, from)) = sip.recv_from(&mut buffer) else { continue };
                let request = parse(&buffer[..len]).expect("the driver speaks SIP");
                let is_invite = request.uri().is_some() && request.cseq().method.as_str() == "INVITE";
                if is_invite && request.method().as_str() == "INVITE" {
                    sip.send_to(&answer(&request, address, 180, "Ringing", ""), from).expect("it is there");
                    disturb(caller_media(&request), stray);
                }
                let (code, reason, sdp) = match request.method().as_str() {
                    "ACK" => continue,
                    "INVITE" => answers(calls, media, &request),
                    _ => (200, "OK".into(), String::new()),
                };
                calls += u32::from(is_invite);
                sip.send_to(&answer(&request, address, code, &reason, &sdp), from).expect("it is there");
            }
            0
        });
        let echo = thread::spawn(move || {
            let (mut buffer, mut echoed) = ([0; 2048], 0);
            while !over.load(Relaxed) {
                let Ok((len, from)) = rtp.recv_from(&mut buffer) else { continue };
                for packet in mix(echoed, &buffer[..len]).iter().map(Vec::as_slice).chain([&buffer[..len]]) {
                    let _ = rtp.send_to(packet, from);
                }
                echoed += 1;
            }
            echoed
        });
        FarEnd { sip: address, stop, threads: vec![signalling, echo] }
    }

    /// Ends it; the number of packets that it has echoed.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        self.threads.drain(..).map(|thread| thread.join().expect("no panic")).sum()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

pub fn answer(request: &Message, from: SocketAddr, code: u16, reason: &str, sdp: &str) -> Vec<u8> {
    let (via, from_header, call_id, cseq) =
        (request.via(), request.from(), request.call_id(), request.cseq());
    let copied = format!(
        "Via: {via}\r\nFrom: {from_header}\r\nCall-ID: {call_id}\r\nCSeq: {} {}\r\n",
        cseq.number, cseq.method
    );
    let to = request.to();
    let tag = if request.to_tag().is_some() { "" } else { ";tag=far" };
    let about = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let contact = format!("Contact: <sip:far@{from}>\r\n");
    format!(
        "SIP/2.0 {code} {reason}\r\n{}To: {to}{tag}\r\n{contact}{about}Content-Length: {}\r\n\r\n{sdp}",
        copied,
        sdp.len()
    )
    .into_bytes()
}

pub fn description(media: SocketAddr) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
        media.port()
    )
}

fn caller_media(invite: &Message) -> SocketAddr {
    let sdp = String::from_utf8_lossy(invite.body()).into_owned();
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok());
    SocketAddr::from((Ipv4Addr::LOCALHOST, port.expect("a port in the offer")))
}

/// RTP and no RTP at a call's media port from somebody whom nobody called.
fn disturb(port: SocketAddr, times: usize) {
    let stranger = UdpSocket::bind(LOCAL).expect("a port");
    for n in 0..times {
        let packet = if n % 2 == 0 { vec![0x80; 172] } else { vec![0; 3] };
        stranger.send_to(&packet, port).expect("it is open");
    }
}

/// Runs one call for 2 s against the far end; what it has echoed.
fn run_against(place: &Place, far: FarEnd) -> u64 {
    let target = format!("asterisk.sip={}", far.sip);
    let set =
        ["asterisk.mode=external", &target, "service.mode=none", "load.calls=1", "load.duration=2s", COUNTS];
    ends_with(&mut place.run("smoke", &set), 0);
    assert_eq!(place.count("calls.scr"), 1, "it was hung up in order");
    far.stop()
}

#[test]
fn from_the_far_end_itself_each_kind_has_a_count_of_its_own() {
    let place = Place::new();
    let far = FarEnd::start(0, |n, packet| {
        let mut flipped = packet.to_vec();
        flipped[PAYLOAD + 30] ^= 0x10;
        let mut silence = packet.to_vec();
        silence[PAYLOAD..].fill(0xff);
        match n % 8 {
            // Not RTP: too short, or of no version that there is.
            0 => vec![packet[..PAYLOAD - 1].to_vec(), vec![0; 172]],
            1 => vec![probe(0xBAD, 0)],
            2 => vec![flipped, packet[..PAYLOAD + 60].to_vec(), silence],
            // The packet itself once more, before what then is the second.
            3 => vec![packet.to_vec()],
            _ => Vec::new(),
        }
    });
    let echoed = run_against(&place, far);
    let of = |kind: u64| (echoed + 7 - kind) / 8;
    assert_eq!((place.count("strangers.count"), place.count("other_datagrams.count")), (of(1), 2 * of(0)));
    // Silence beside packets that are all there is the far end's own.
    assert_eq!((place.count("corrupted.count"), place.count("own_audio.count")), (2 * of(2), of(2)));
    // Doubled ones count in the measured window, which begins and ends anywhere.
    assert!(place.count("duplicate.count").abs_diff(100 / 8) <= 1, "{}", place.count("duplicate.count"));
    assert_eq!((place.count("packets.sent"), place.count("packets.received")), (100, 100));
    assert_eq!((place.count("loss.count"), place.count("reordered.count")), (0, 0));
}

#[test]
fn what_came_before_the_answer_is_a_strangers_and_takes_no_room() {
    let place = Place::new();
    // Far more than a socket's buffer holds: what then is dropped was not the peer's either.
    let echoed = run_against(&place, FarEnd::start(5000, |_, _| Vec::new()));
    assert!(echoed >= 100);
    let strangers = place.count("strangers.count");
    assert!((100..5000).contains(&strangers), "{strangers} found room");
    assert_eq!((place.count("corrupted.count"), place.count("sockets.drops")), (0, 0));
    assert_eq!((place.count("packets.sent"), place.count("packets.received")), (100, 100));
    assert_eq!(place.summary()["verdict"]["outcome"], "pass");
}

/// The probe of a packet, changed and sealed again by somebody who does not know the run's secret.
pub fn forged(packet: &[u8], change: impl FnOnce(&mut Probe)) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let mut probe = Probe::read(&packet[PAYLOAD..]).expect("a probe");
    change(&mut probe);
    probe.write(&mut packet[PAYLOAD..], &RunKey::new(probe.run_id, [0; 16]));
    packet
}

#[test]
fn what_the_far_end_makes_of_a_probe_is_counted_and_not_measured() {
    let place = Place::new();
    let echoed = run_against(
        &place,
        FarEnd::start(0, |_, packet| {
            vec![
                forged(packet, |probe| probe.sent_at = clock::now()),
                forged(packet, |probe| probe.seq += 1),
                forged(packet, |probe| probe.seq = u32::MAX),
            ]
        }),
    );
    assert_eq!(place.count("forged.count"), 3 * echoed);
    assert_eq!((place.count("packets.sent"), place.count("packets.received")), (100, 100));
    for count in ["loss.count", "duplicate.count", "reordered.count", "strangers.count", "corrupted.count"] {
        assert_eq!(place.count(count), 0, "{count}");
    }
    let findings = place.summary()["findings"].to_string();
    assert!(findings.contains("as this run had signed them"), "{findings}");
}

/// A 401 with its challenge.
fn challenge() -> (u16, String, String) {
    // A phrase that ends its line: the challenge follows as a header.
    let phrase = "Unauthorized\r\nWWW-Authenticate: Digest realm=\"far\", nonce=\"1\"";
    (401, phrase.into(), String::new())
}

/// Runs a call for a second against the far end with an account; the run ends with `code`.
fn run_as(place: &Place, far: FarEnd, [user, password]: [&str; 2], code: i32) {
    let target = format!("asterisk.sip={}", far.sip);
    let set = ["asterisk.mode=external", &target, "service.mode=none", "load.calls=1", "load.duration=1s"];
    let mut run = place.run("smoke", &[&set[..], &["load.retry_after=60s", COUNTS]].concat());
    ends_with(run.env("SIP_USER", user).env("SIP_PASS", password), code);
    far.stop();
}

#[test]
fn a_caller_that_authenticates_is_in_from_the_user_that_it_authenticates_as() {
    let place = Place::new();
    let answers: Answers = |call, media, invite| match call {
        0 => challenge(),
        _ if invite.from().contains("<sip:somebody@") => (200, "OK".into(), description(media)),
        _ => (403, invite.from().into(), String::new()),
    };
    let far = FarEnd::answering(0, |_, _| Vec::new(), answers);
    run_as(&place, far, ["somebody", "a-good-one"], 0);
    assert_eq!((place.count("packets.sent"), place.count("packets.received")), (50, 50));
}

#[test]
fn a_password_that_is_refused_is_a_finding_with_its_user() {
    let place = Place::new();
    let far = FarEnd::answering(0, |_, _| Vec::new(), |_, _, _| challenge());
    run_as(&place, far, ["somebody", "guess"], 10);
    let finding = place.summary()["findings"][0].clone();
    assert_eq!(finding["name"], "auth_refused", "{finding}");
    assert!(finding["what"].as_str().is_some_and(|what| what.contains("as `somebody`")), "{finding}");
}

/// Runs a call a line against the far end, all of them at once; the rows of `calls.csv`.
fn calls_against(place: &Place, far: FarEnd, calls: u32) -> Vec<HashMap<String, String>> {
    let (target, load) = (format!("asterisk.sip={}", far.sip), format!("load.calls={calls}"));
    let gates = r#"gates.require=["packets.sent > 0"]"#;
    let set = [
        "asterisk.mode=external",
        &target,
        "service.mode=none",
        &load,
        "load.duration=1s",
        "load.ramp=100/s",
        "load.retry_after=60s",
        gates,
    ];
    ends_with(&mut place.run("smoke", &set), 0);
    far.stop();
    rows(&place.out().join("calls.csv"))
}

#[test]
fn an_answer_that_would_send_media_to_ourselves_or_to_many_is_a_bad_one_of_its_call() {
    let place = Place::new();
    let answers: Answers = |call, media, invite| {
        let own = caller_media(invite);
        let honest = description(media);
        let at = |ip: &str| honest.replace("c=IN IP4 127.0.0.1", &format!("c=IN IP4 {ip}"));
        let sdp = match call {
            0 => honest,
            1 => description(own),
            2 => description(SocketAddr::new(own.ip(), own.port() - 4)),
            3 => at("127.255.255.255"),
            4 => at("224.0.0.1"),
            5 => at("0.0.0.0"),
            6 => at("255.255.255.255"),
            7 => honest + "a=inactive\r\n",
            _ => description(SocketAddr::new(own.ip(), 53)),
        };
        (200, "OK".into(), sdp)
    };
    let calls = calls_against(&place, FarEnd::answering(0, |_, _| Vec::new(), answers), 9);
    for (number, call) in calls.iter().enumerate() {
        // Two are on hold, and get nothing either.
        let is_good = [0, 5, 7].contains(&number);
        assert_eq!(call["ending"], if is_good { "completed" } else { "bad_answer" }, "{call:?}");
        assert_eq!(call["total_sent"] == "0", number != 0, "{call:?}");
        assert_eq!(call["holds"] == "1", is_good && number != 0, "{call:?}");
    }
    for (call, why) in [(1, "this driver"), (2, "this driver"), (3, "nothing can be sent")] {
        assert!(calls[call]["reason"].contains(why), "{}", calls[call]["reason"]);
    }
    let summary = place.summary();
    assert_eq!((place.count("calls.answered_count"), &summary["verdict"]["outcome"]), (3, &"pass".into()));
    assert_eq!((place.count("packets.sent"), place.count("packets.received")), (50, 50));
}

#[test]
fn reasons_of_sixty_kilobytes_are_cut_and_only_so_many_told_apart() {
    let place = Place::new();
    let answers: Answers = |call, media, _| match call {
        0 => (200, "OK".into(), description(media)),
        call => (486, format!("{call} {}", "é".repeat(30_000)), String::new()),
    };
    let calls = calls_against(&place, FarEnd::answering(0, |_, _| Vec::new(), answers), 60);
    assert_eq!(
        calls.iter().filter(|call| call["ending"] == "rejected" && call["status"] == "486").count(),
        59
    );
    assert!(calls.iter().all(|call| call["reason"].len() < 140));
    let endings = place.summary()["endings"].as_array().expect("a list").clone();
    assert!(endings.len() < 40, "{} kinds of endings", endings.len());
    let told: u64 = endings.iter().filter_map(|ending| ending["count"].as_u64()).sum();
    assert_eq!(told, 60);
}
