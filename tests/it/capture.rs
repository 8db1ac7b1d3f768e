//! Captures and SIP ladders of calls, and what Wireshark's own program reads out of them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::far_ends::{FarCall, FarEnd, Io, Odd, Plain, run_against};
use crate::harness::{Place, ends_with};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Capture of the first call.
const CAPTURE: &str = "pcap/call-00000.pcapng";
/// One packet of so many does not come back.
const EVERY: u64 = 50;

/// A far end that loses packets after they were numbered.
struct Losing {
    media: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Losing {
    fn start(ip: IpAddr) -> Losing {
        let rtp = UdpSocket::bind((ip, 0)).expect("a port");
        rtp.set_read_timeout(Some(Duration::from_millis(30))).expect("a timeout");
        let (media, stop) = (rtp.local_addr().expect("an address"), Arc::new(AtomicBool::new(false)));
        let ended = stop.clone();
        thread::spawn(move || {
            let (mut buffer, mut packets) = ([0; 2048], 0);
            while !ended.load(Relaxed) {
                let Ok((len, from)) = rtp.recv_from(&mut buffer) else { continue };
                if packets % EVERY != EVERY / 2 {
                    rtp.send_to(&buffer[..len], from).expect("it is there");
                }
                packets += 1;
            }
        });
        Losing { media, stop }
    }

    /// Its answer. What comes back as it was can be opened with the caller's own keys, so they are the far end's as well.
    fn description(&self, offer: &str) -> String {
        let (ip, port) = (self.media.ip(), self.media.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let keys = offer.lines().find(|line| line.starts_with("a=crypto:"));
        let profile = if keys.is_some() { "RTP/SAVP" } else { "RTP/AVP" };
        let keys = keys.map_or(String::new(), |line| format!("{line}\r\n"));
        format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} {profile} 0\r\n{keys}"
        )
    }
}

impl Odd for Losing {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let sdp = self.description(&String::from_utf8_lossy(call.invite.body()));
        let ok = call.ok(sdp.as_bytes());
        io.accept(call, ok);
    }
}

impl Drop for Losing {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// What tshark says of a file.
fn tshark(file: &Path, arguments: &[&str]) -> String {
    let mut program = Command::new("tshark");
    program.arg("-n").arg("-r").arg(file).args(arguments);
    let output = program.output().expect("tests/install.sh tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A row of tshark's table of RTP streams: ports, packets, lost and largest jitter.
#[derive(Debug)]
struct Stream {
    from: u16,
    to: u16,
    packets: u64,
    lost: u64,
    jitter_max_ms: f64,
}

fn streams(file: &Path) -> Vec<Stream> {
    let table = tshark(file, &["-q", "-z", "rtp,streams"]);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        // Behind the lost stands their share; a payload's name may have several words.
        let share = cells.iter().position(|cell| cell.starts_with('(') && cell.ends_with("%)"))?;
        Some(Stream {
            from: cells[3].parse().ok()?,
            to: cells[5].parse().ok()?,
            packets: cells[share - 2].parse().ok()?,
            lost: cells[share - 1].parse().ok()?,
            jitter_max_ms: cells[share + 6].parse().ok()?,
        })
    };
    let found: Vec<Stream> = table.lines().filter_map(row).collect();
    assert!(!found.is_empty(), "{table}");
    found
}

/// Runs one call whose capture opens without a fault, and holds its RTP against the report.
#[track_caller]
fn is_the_reports(far: FarEnd, set: &[&str]) -> Place {
    let place = Place::new();
    let plain = [
        "load.duration=3s",
        "capture.calls=[0]",
        "capture.seconds=1m",
        r#"gates.require=["calls.answered == 100%"]"#,
    ];
    let (_, calls) = run_against(&place, far, 1, &[&plain[..], set].concat(), 0);
    let file = place.out().join(CAPTURE);
    let faults = "_ws.malformed || _ws.short || ip.checksum.status == 0 || udp.checksum.status == 0";
    let checked = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", faults];
    assert_eq!(tshark(&file, &checked), "", "{set:?}");
    let signalling =
        tshark(&file, &["-Y", "sip", "-T", "fields", "-e", "sip.CSeq.method", "-e", "sip.Status-Code"]);
    let signalling: Vec<String> =
        signalling.lines().map(|line| line.replace('\t', " ").trim().into()).collect();
    assert_eq!(signalling, ["INVITE", "INVITE 200", "ACK", "BYE", "BYE 200"], "{set:?}");

    let call = &calls[0];
    let number = |column: &str| call[column].parse::<f64>().unwrap_or_else(|_| panic!("{column}: {call:?}"));
    let (sent, received) = (number("total_sent") as u64, number("total_received") as u64);
    let lost = sent - received;
    assert!(lost >= 3, "{call:?}");
    // One behind which nothing came is lost for us, and nobody can know of it by what has come.
    let is_last_lost = (sent - 1) % EVERY == EVERY / 2;
    let port = number("rtp_port") as u16;
    let streams = streams(&file);
    let out = streams.iter().find(|stream| stream.from == port).expect("what was sent");
    assert_eq!((out.packets, out.lost), (sent, 0), "{out:?}");
    let back = streams.iter().find(|stream| stream.to == port).expect("what came back");
    assert_eq!((back.packets, back.lost), (received, lost - u64::from(is_last_lost)), "{back:?}");
    let jitter = number("jitter_max_ms");
    assert!((back.jitter_max_ms - jitter).abs() < 0.01, "{back:?}, and {jitter} ms in calls.csv");
    place
}

#[test]
fn a_capture_opens_in_wireshark_and_its_rtp_has_the_reports_losses_and_jitter() {
    is_the_reports(FarEnd::start(Losing::start(HERE)), &[]);
}

#[test]
fn so_does_one_of_a_call_over_tcp() {
    is_the_reports(FarEnd::over_tcp(Losing::start(HERE)), &[]);
}

#[test]
fn so_does_one_of_a_call_over_ipv6() {
    let there = IpAddr::V6(Ipv6Addr::LOCALHOST);
    is_the_reports(FarEnd::over_ipv6(Losing::start(there)), &["sip.local=::1"]);
}

#[test]
fn so_does_one_of_protected_media_and_what_was_decrypted_is_plain_rtp_in_it() {
    let srtp = "media.srtp=true";
    is_the_reports(FarEnd::start(Losing::start(HERE)), &[srtp]);
    let place = is_the_reports(FarEnd::start(Losing::start(HERE)), &[srtp, "capture.plaintext=true"]);
    let file = place.out().join(CAPTURE);
    assert_eq!(tshark(&file, &["-Y", "srtp.enc_payload"]), "");
    assert_eq!(place.count("srtp.undecrypted_count"), 0);
}

/// Refuses every call.
struct Refusing;

impl Odd for Refusing {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        io.reply(call, 603);
    }
}

#[test]
fn calls_that_went_wrong_leave_captures_and_ladders_and_others_leave_none() {
    let place = Place::new();
    run_against(&place, FarEnd::start(Plain), 2, &["capture.calls=[]"], 0);
    assert!(!place.out().join("pcap").exists(), "nothing went wrong");
    let ladders = place.summary()["environment"]["observed"]["ladders"].clone();
    // The slowest have theirs all the same.
    assert_eq!(ladders.as_array().map(Vec::len), Some(2), "{ladders}");

    let place = Place::new();
    run_against(&place, FarEnd::start(Refusing), 3, &["capture.files=2"], 10);
    let mut files: Vec<_> =
        fs::read_dir(place.out().join("pcap")).expect("captures").map(|e| e.unwrap().path()).collect();
    files.sort();
    let names: Vec<_> =
        files.iter().map(|file| file.file_name().expect("a name").to_string_lossy()).collect();
    assert_eq!(names, ["call-00000.pcapng", "call-00001.pcapng"]);
    for file in &files {
        assert_eq!(tshark(file, &["-Y", "_ws.malformed"]), "");
        let codes = tshark(file, &["-Y", "sip.Status-Code", "-T", "fields", "-e", "sip.Status-Code"]);
        assert_eq!(codes.trim(), "603");
    }
    let summary = place.summary();
    let remarks = summary["environment"]["remarks"].to_string();
    assert!(remarks.contains("1 call more went wrong than the 2"), "{remarks}");
    let ladders = &summary["environment"]["observed"]["ladders"];
    let lines = |ladder: &serde_json::Value| {
        let messages = ladder["messages"].as_array().expect("messages").clone();
        messages
            .iter()
            .map(|m| m["line"].as_str().unwrap_or_default().split(' ').next().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ladders.as_array().map(Vec::len), Some(3), "{ladders}");
    assert_eq!(lines(&ladders[0]), ["INVITE", "SIP/2.0", "ACK"]);
    assert!(
        ladders[0]["messages"][0]["body"].as_str().is_some_and(|body| body.contains("m=audio")),
        "{ladders}"
    );
    assert_eq!(
        (&ladders[0]["capture"], &ladders[2]["capture"]),
        (&"pcap/call-00000.pcapng".into(), &"".into())
    );
    let page = fs::read_to_string(place.out().join("report.html")).expect("report.html is there");
    assert!(page.contains("SIP: 3 messages; with its media in pcap/call-00000.pcapng"));
    // The stored run tells the same.
    let report = ends_with(place.program().arg("report").arg(place.out()), 10);
    drop(report);
    assert_eq!(place.summary()["environment"]["observed"]["ladders"], *ladders);
}

#[test]
fn captures_can_be_switched_off() {
    let place = Place::new();
    run_against(&place, FarEnd::start(Refusing), 1, &["capture.seconds=0s"], 10);
    assert!(!place.out().join("pcap").exists());
    assert_eq!(place.summary()["environment"]["observed"]["ladders"][0]["capture"], "");
}
