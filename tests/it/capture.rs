//! Captures and SIP ladders of calls, and what Wireshark's own program reads out of them.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::far_ends::{self, FarCall, Io, Odd, Plain, run_against};
use crate::garbage::{answer, description};
use crate::harness::{Place, ends_with, rows};
use loadtest::sip::parse;

/// One packet of so many does not come back.
const EVERY: u64 = 50;

/// A far end that loses packets after they were numbered.
struct Losing {
    sip: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Losing {
    fn start() -> Losing {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.set_read_timeout(Some(Duration::from_millis(30))).expect("a timeout");
            socket
        };
        let (sip, rtp, stop) = (socket(), socket(), Arc::new(AtomicBool::new(false)));
        let (address, media) = (sip.local_addr().expect("an address"), rtp.local_addr().expect("an address"));
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
        let ended = stop.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !ended.load(Relaxed) {
                let Ok((len, from)) = sip.recv_from(&mut buffer) else { continue };
                let message = parse(&buffer[..len]).expect("the driver speaks SIP");
                let sdp = match message.method().as_str() {
                    "ACK" => continue,
                    "INVITE" => description(media),
                    _ => String::new(),
                };
                sip.send_to(&answer(&message, address, 200, "OK", &sdp), from).expect("it is there");
            }
        });
        Losing { sip: address, stop }
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

#[test]
fn a_capture_opens_in_wireshark_and_its_rtp_has_the_reports_losses_and_jitter() {
    let (place, far) = (Place::new(), Losing::start());
    let target = format!("asterisk.sip={}", far.sip);
    let set = [
        "asterisk.mode=external",
        &target,
        "service.mode=none",
        "load.calls=1",
        "load.duration=3s",
        "capture.calls=[0]",
        "capture.seconds=1m",
        r#"gates.require=["calls.answered == 100%"]"#,
    ];
    ends_with(&mut place.run("smoke", &set), 0);
    let file = place.out().join("pcap/call-00000.pcapng");
    assert_eq!(tshark(&file, &["-Y", "_ws.malformed || _ws.short || ip.checksum.status == 0"]), "");
    let signalling =
        tshark(&file, &["-Y", "sip", "-T", "fields", "-e", "sip.CSeq.method", "-e", "sip.Status-Code"]);
    let signalling: Vec<String> =
        signalling.lines().map(|line| line.replace('\t', " ").trim().into()).collect();
    assert_eq!(signalling, ["INVITE", "INVITE 200", "ACK", "BYE", "BYE 200"]);

    let call = &rows(&place.out().join("calls.csv"))[0];
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
    run_against(&place, far_ends::FarEnd::start(Plain), 2, &["capture.calls=[]"], 0);
    assert!(!place.out().join("pcap").exists(), "nothing went wrong");
    let ladders = place.summary()["environment"]["observed"]["ladders"].clone();
    // The slowest have theirs all the same.
    assert_eq!(ladders.as_array().map(Vec::len), Some(2), "{ladders}");

    let place = Place::new();
    run_against(&place, far_ends::FarEnd::start(Refusing), 3, &["capture.files=2"], 10);
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
    run_against(&place, far_ends::FarEnd::start(Refusing), 1, &["capture.seconds=0s"], 10);
    assert!(!place.out().join("pcap").exists());
    assert_eq!(place.summary()["environment"]["observed"]["ladders"][0]["capture"], "");
}
