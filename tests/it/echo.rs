//! `loadtest echo` as people run it: what comes back, what does not, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use loadtest::clock;
use loadtest::echo::{EchoServer, MOST_STREAMS_OF_SOCKET};
use loadtest::rtp::packet::{Incoming, StreamSender, read};
use loadtest::rtp::probe::RunKey;
use loadtest::rtp::{Codec, Format};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rtp_rs::{RtpPacketBuilder, RtpReader};

use crate::harness::{PATIENCE, program};

const RUN: RunKey = RunKey::new(0x5EED, [1; 16]);
const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));
/// Long enough for an answer that is not there to have come.
const SILENCE: Duration = Duration::from_millis(200);

/// The real program on a free port; killed if a test does not stop it.
struct Echo {
    child: Child,
    address: SocketAddr,
    said: BufReader<std::process::ChildStdout>,
}

impl Echo {
    fn start() -> Self {
        Echo::of(echo_command(&["--listen", "127.0.0.1:0"]))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line.split([' ', ';']).find_map(|word| word.parse().ok());
        Echo { address: address.unwrap_or_else(|| panic!("no address in `{line}`")), child, said }
    }

    /// Asks it to end; how it did, and its last words.
    fn stop(&mut self, signal: Signal) -> (ExitStatus, String) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        let mut last_output = String::new();
        self.said.read_to_string(&mut last_output).unwrap();
        (self.child.wait().unwrap(), last_output)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Fails when it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn echo_command(args: &[&str]) -> Command {
    let mut command = program();
    command.arg("echo").args(args);
    command
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn stream(call_id: u32) -> StreamSender {
    StreamSender::new(RUN, call_id, 77, FORMAT)
}

fn plain(ssrc: u32, number: u16) -> Vec<u8> {
    let builder = RtpPacketBuilder::new().payload_type(8).marked(true).timestamp(160).ssrc(ssrc);
    builder.sequence(number.into()).payload(&[0xD5; 160]).build().unwrap()
}

fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2048];
    socket.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())
}

/// Sends one probe and holds its answer against it.
#[track_caller]
fn probe_comes_back(socket: &UdpSocket, echo: SocketAddr, sender: &mut StreamSender, call_id: u32) {
    let sent_at = clock::now();
    socket.send_to(sender.packet(sent_at, sent_at), echo).unwrap();
    let answer = receive(socket).expect("an answer");
    let back_at = clock::now();
    let Incoming::Probe { probe, .. } = read(&answer, &FORMAT, &RUN, call_id) else {
        panic!("not a probe of ours")
    };
    let reflection = probe.reflection.expect("a reflection");
    assert!(sent_at <= reflection.in_at && reflection.in_at <= reflection.out_at);
    assert!(reflection.out_at <= back_at);
    assert_eq!((probe.seq + 1, reflection.received), (sender.sent(), sender.sent()));
    assert_eq!(reflection.window.count_ones(), sender.sent().min(64));
}

#[test]
fn probes_come_back_with_stamps_and_counts() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut echo = Echo::start();
        let (here, mut sender) = (socket(), stream(5));
        for _ in 0..100 {
            probe_comes_back(&here, echo.address, &mut sender, 5);
        }
        let (status, said) = echo.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert_eq!(said, "received 100, sent back 100 probes and 0 other RTP packets\n");
    }
}

/// As under `nohup`, which has SIGHUP ignored before the program begins.
#[test]
fn a_signal_that_is_ignored_from_the_start_stays_so() {
    let mut command = Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" echo --listen 127.0.0.1:0";
    command.args(["-c", script, env!("CARGO_BIN_EXE_loadtest")]);
    let mut echo = Echo::of(command);
    kill(Pid::from_raw(echo.child.id() as i32), Signal::SIGHUP).unwrap();
    probe_comes_back(&socket(), echo.address, &mut stream(5), 5);
    let (status, said) = echo.stop(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0));
    assert!(said.starts_with("received 1,"), "{said}");
}

#[test]
fn other_rtp_comes_back_as_it_was() {
    let echo = Echo::start();
    let here = socket();
    for number in [65_534, 65_535, 0, 1] {
        let question = plain(0xABCD, number);
        here.send_to(&question, echo.address).unwrap();
        let answer = receive(&here).expect("an answer");
        assert_eq!(answer.len(), question.len());
        let (asked, told) = (RtpReader::new(&question).unwrap(), RtpReader::new(&answer).unwrap());
        assert_eq!(asked.payload(), told.payload());
        assert_eq!(asked.payload_type(), told.payload_type());
        assert_eq!((asked.mark(), asked.timestamp()), (told.mark(), told.timestamp()));
        assert_eq!(u16::from(told.sequence_number()), number);
    }
}

#[test]
fn garbage_gets_no_answer_and_does_not_disturb() {
    let mut echo = Echo::start();
    let (here, noisy, mut sender) = (socket(), socket(), stream(1));
    let mut random = SmallRng::seed_from_u64(4000);
    let mut sent = 0;
    let mut shout = |datagram: &[u8]| {
        noisy.send_to(datagram, echo.address).unwrap();
        sent += 1;
    };
    for round in 0..500 {
        let mut datagram = vec![0; random.random_range(0..1400)];
        random.fill(&mut datagram[..]);
        // Version 2 is what makes it RTP to the eye; all others are garbage.
        if let Some(first) = datagram.first_mut() {
            *first &= 0x7F;
        }
        shout(&datagram);
        if round % 50 == 0 {
            let giant = vec![0x80; random.random_range(1501..65_000)];
            shout(&giant);
            shout(&[&[0x80, 200, 0, 6][..], &[0; 24]].concat());
            probe_comes_back(&here, echo.address, &mut sender, 1);
        }
    }
    probe_comes_back(&here, echo.address, &mut sender, 1);
    noisy.set_read_timeout(Some(SILENCE)).unwrap();
    assert_eq!(receive(&noisy), None);
    let (status, said) = echo.stop(Signal::SIGINT);
    assert_eq!(status.code(), Some(0));
    assert!(said.contains(&format!("{sent} not RTP")), "{said}");
    assert!(said.contains(&format!("{} probes and 0 other", sender.sent())), "{said}");
}

/// Carries what comes out of one echo into the other, and returns how often; waits long for the expected ones only.
fn carry(question: &[u8], echoes: [SocketAddr; 2], expected: u32, on_the_way: impl Fn(&mut Vec<u8>)) -> u32 {
    let here = socket();
    here.send_to(question, echoes[0]).unwrap();
    let mut carried = 0;
    while let Some(mut answer) = receive(&here) {
        carried += 1;
        assert!(carried < 100, "they play ping-pong");
        if carried == expected {
            here.set_read_timeout(Some(SILENCE)).unwrap();
        }
        on_the_way(&mut answer);
        here.send_to(&answer, echoes[carried as usize % 2]).unwrap();
    }
    carried
}

#[test]
fn two_echoes_do_not_play_ping_pong() {
    let (one, other) = (Echo::start(), Echo::start());
    let both = [one.address, other.address];
    let now = clock::now();
    for question in [stream(1).packet(now, now), &plain(9, 1)] {
        assert_eq!(carry(question, both, 1, |_| ()), 1);
        assert_eq!(carry(question, [one.address; 2], 1, |_| ()), 1);
    }
    // An echo that puts its own SSRC on everything, as Asterisk does.
    let disguise = |answer: &mut Vec<u8>| answer[8..12].copy_from_slice(b"ABCD");
    assert_eq!(carry(&plain(9, 2), [one.address; 2], 2, disguise), 2);
}

#[test]
fn a_hundred_thousand_streams_find_a_bounded_table() {
    const BURST: u32 = 50;
    let echo = EchoServer::start(([127, 0, 0, 1], 0).into()).unwrap();
    let (here, flood) = (socket(), socket());
    let mut sender = stream(u32::MAX);
    probe_comes_back(&here, echo.local_addr(), &mut sender, u32::MAX);
    for first in (0..100_000).step_by(BURST as usize) {
        for call_id in first..first + BURST {
            let now = clock::now();
            flood.send_to(stream(call_id).packet(now, now), echo.local_addr()).unwrap();
        }
        probe_comes_back(&here, echo.local_addr(), &mut sender, u32::MAX);
    }
    // Somebody who comes only now finds room.
    probe_comes_back(&socket(), echo.local_addr(), &mut stream(5), 5);
    let counts = echo.stop();
    let (room, heard) = (u64::from(MOST_STREAMS_OF_SOCKET), u64::from(sender.sent()) + 1);
    assert_eq!((counts.drops, counts.received), (0, 100_000 + heard));
    assert_eq!(counts.probes + counts.no_room, counts.received);
    // On a machine so slow that streams of the flood are forgotten meanwhile, others take their room.
    let flooded = counts.probes - heard;
    assert!(flooded >= room && flooded.is_multiple_of(room) && flooded < 100_000 / 10, "{flooded}");
}

#[test]
fn a_taken_port_and_a_foreign_address_name_the_option() {
    let echo = Echo::start();
    for listen in [echo.address.to_string(), "192.0.2.1:4000".into()] {
        let output = echo_command(&["--listen", &listen]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&listen) && said.contains("--listen"), "{said}");
    }
    assert_eq!(echo_command(&["--listen", "here"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn quiet_says_nothing_but_a_warning_of_an_open_address() {
    let mut child = echo_command(&["--quiet", "--listen", "0.0.0.0:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut warning = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut warning).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(warning.starts_with("warning: 0.0.0.0:"), "{warning}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}
