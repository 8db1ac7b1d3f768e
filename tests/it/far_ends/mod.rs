//! Odd far ends, and the real command line against them: each kind is one that people have met.
//!
//! [`FarEnd`] is a plain one that answers, echoes and takes BYE; a test makes it odd by an [`Odd`] of its own.

mod accounts;
mod answers;
mod auth;
mod carrier;
mod codec;
mod contact;
mod domain;
mod early;
mod hold;
mod late_offer;
mod machine;
mod prack;
mod redirect;
mod register;
mod session;
mod streams;
mod unreadable;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loadtest::clock::Timeline;
use loadtest::sip::{Message, Transport};
use loadtest::stamp::Stamp;

use self::carrier::{Carrier, Here};
use self::machine::Machine;
use crate::harness::{Place, ends_with, rows};

const LOCAL: &str = "127.0.0.1:0";
/// Pause of the one loop in which a far end does everything.
const TICK: Duration = Duration::from_millis(1);
/// First interval at which a 200 is sent again (RFC 3261 13.3.1.4).
const T1: Duration = Duration::from_millis(500);
/// Largest one.
const T2: Duration = Duration::from_secs(4);

/// The way in which a far end is odd; without any it is a plain one.
pub trait Odd: Send + 'static {
    /// Answers a new call.
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        io.reply(call, 180);
        let ok = call.ok(call.description().as_bytes());
        io.accept(call, ok);
    }

    /// The call is up.
    fn on_ack(&mut self, _io: &mut Io, _call: &mut FarCall) {}

    /// A time that was asked for by [`Io::later`].
    fn on_time(&mut self, _io: &mut Io, _call: &mut FarCall) {}

    /// Answers an INVITE within the dialog.
    fn on_reinvite(&mut self, io: &mut Io, call: &mut FarCall, invite: &Message) {
        let sdp = call.description();
        io.send(call, &call.response(invite, 200, "", Some("application/sdp"), sdp.as_bytes()));
    }

    /// Answers any other request within the dialog but BYE.
    fn on_request(&mut self, io: &mut Io, call: &mut FarCall, request: &Message) {
        io.send(call, &call.response(request, 200, "", None, b""));
    }

    /// An answer to a request of its own.
    fn on_response(&mut self, _io: &mut Io, _call: &mut FarCall, _response: &Message) {}

    /// Answers a REGISTER: the code, and headers each with its line end.
    fn on_register(&mut self, _request: &Message) -> Option<(u16, String)> {
        None
    }

    /// True for a REGISTER without an answer whose connection is to be ended.
    fn ends_connection(&mut self) -> bool {
        false
    }

    /// Changes the answer to an OPTIONS outside of calls.
    fn options(&mut self, answer: Vec<u8>) -> Vec<u8> {
        answer
    }
}

/// A far end that is not odd.
pub struct Plain;

impl Odd for Plain {}

/// A call as the far end knows it.
pub struct FarCall {
    /// Its number, from 0.
    pub number: usize,
    /// The INVITE that counts: the last one outside of the dialog.
    pub invite: Message,
    /// The caller's last message as it came.
    pub heard: String,
    pub contact: Here,
    source: SocketAddr,
    rtp: UdpSocket,
    /// Its media before that was moved; it still echoes there.
    former: Vec<UdpSocket>,
    /// It speaks from its new port alone, which nobody may know yet.
    pub speaks_ahead: bool,
    cseq: u32,
    /// The 200 until its ACK, and when it is sent again.
    unacknowledged: Option<(Vec<u8>, Stamp, Duration)>,
    wanted_at: Option<Stamp>,
    /// True from the ACK to the BYE.
    pub is_up: bool,
    /// Nothing is returned.
    pub is_on_hold: bool,
    /// Packets that came meanwhile.
    pub heard_on_hold: u32,
    /// Music is played on hold.
    pub plays_music: bool,
    /// Source of the last packet that came.
    heard_from: Option<SocketAddr>,
    turns: u16,
}

impl FarCall {
    /// Port of its media.
    pub fn port(&self) -> u16 {
        self.rtp.local_addr().expect("an address").port()
    }

    /// Moves the media to another port, and goes on echoing at those before.
    pub fn move_media(&mut self) {
        self.former.push(std::mem::replace(&mut self.rtp, media_socket()));
    }

    /// Closes the ports that the media was moved from.
    pub fn close_former(&mut self) {
        self.former.clear();
    }

    /// The values of a header in the caller's last message.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.heard.lines().take_while(|line| !line.is_empty());
        let values = lines.filter_map(|line| line.split_once(':'));
        values.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// A plain answer.
    pub fn description(&self) -> String {
        format!(
            "v=0\r\no=- 4711 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n",
            self.port()
        )
    }

    /// A plain 200 to the INVITE with this session description.
    pub fn ok(&self, sdp: &[u8]) -> Vec<u8> {
        self.response(&self.invite, 200, "", Some("application/sdp"), sdp)
    }

    /// A response with further headers, each with its line end.
    pub fn response(
        &self,
        request: &Message,
        code: u16,
        headers: &str,
        media_type: Option<&str>,
        body: &[u8],
    ) -> Vec<u8> {
        response(request, self.contact, code, headers, media_type, body)
    }
}

fn response(
    request: &Message,
    contact: Here,
    code: u16,
    headers: &str,
    media_type: Option<&str>,
    body: &[u8],
) -> Vec<u8> {
    let tag = if request.to_tag().is_some() { "" } else { ";tag=far" };
    let about = media_type.map_or(String::new(), |about| format!("Content-Type: {about}\r\n"));
    let head = format!(
        "SIP/2.0 {code} Because\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n\
         Contact: <sip:far@{contact}>\r\n{headers}{about}Content-Length: {}\r\n\r\n",
        request.via(),
        request.from(),
        request.to(),
        request.call_id(),
        request.cseq().number,
        request.method(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The wire of a far end, and its notes.
pub struct Io {
    wire: Carrier,
    line: Timeline,
    notes: Vec<(usize, String)>,
}

impl Io {
    /// Sends a message to the caller.
    pub fn send(&self, call: &FarCall, bytes: &[u8]) {
        self.wire.send(bytes, call.source);
    }

    /// Ends the caller's connection.
    pub fn close(&mut self, call: &FarCall) {
        self.wire.close(call.source);
    }

    /// Answers the INVITE with a status.
    pub fn reply(&self, call: &FarCall, code: u16) {
        self.send(call, &call.response(&call.invite, code, "", None, b""));
    }

    /// Sends a 200, again and again until its ACK comes.
    pub fn accept(&self, call: &mut FarCall, ok: Vec<u8>) {
        self.send(call, &ok);
        call.unacknowledged = Some((ok, self.line.now() + T1, T1));
    }

    /// Wants [`Odd::on_time`] after this long.
    pub fn later(&self, call: &mut FarCall, after: Duration) {
        call.wanted_at = Some(self.line.now() + after);
    }

    /// Sends a request within the dialog.
    pub fn request(&self, call: &mut FarCall, method: &str, sdp: &str) {
        self.request_with(call, method, "", sdp);
    }

    /// Likewise, with further headers, each with its line end.
    pub fn request_with(&self, call: &mut FarCall, method: &str, headers: &str, sdp: &str) {
        call.cseq += 1;
        let bytes = self.in_dialog(call, method, call.cseq, headers, sdp);
        self.send(call, &bytes);
    }

    /// Sends the ACK of a final answer to a request of the far end's.
    pub fn acknowledge(&self, call: &FarCall, response: &Message) {
        self.acknowledge_with(call, response, "");
    }

    /// Likewise, with a session description.
    pub fn acknowledge_with(&self, call: &FarCall, response: &Message, sdp: &str) {
        self.send(call, &self.in_dialog(call, "ACK", response.cseq().number, "", sdp));
    }

    fn in_dialog(&self, call: &FarCall, method: &str, cseq: u32, headers: &str, sdp: &str) -> Vec<u8> {
        let (here, number) = (call.contact, call.number);
        let (address, transport) = (here.address, here.transport);
        let about = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        // The ACK of a rejection has the branch of its INVITE (RFC 3261 17.1.1.3), and here that of a 200 as well.
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/{transport} {address};branch=z9hG4bKfar{number}-{cseq};rport\r\nMax-Forwards: 70\r\n\
             From: {};tag=far\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:far@{here}>\r\n\
             {headers}{about}Content-Length: {}\r\n\r\n{sdp}",
            call.invite.contact().expect("a Contact"),
            call.invite.to(),
            call.invite.from(),
            call.invite.call_id(),
            sdp.len(),
        )
        .into_bytes()
    }

    /// Keeps something for the test, under the call's number.
    pub fn note(&mut self, call: &FarCall, text: impl Into<String>) {
        self.notes.push((call.number, text.into()));
    }
}

/// A running far end.
pub struct FarEnd {
    pub sip: SocketAddr,
    transport: Transport,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<(usize, String)>>>,
}

impl FarEnd {
    /// Starts one on loopback.
    pub fn start(odd: impl Odd) -> Self {
        FarEnd::start_on(Carrier::datagrams(LOCAL), odd)
    }

    /// Starts one on `::1`, whose [`Odd`] describes media of its own.
    pub fn over_ipv6(odd: impl Odd) -> Self {
        FarEnd::start_on(Carrier::datagrams("[::1]:0"), odd)
    }

    /// Starts one that takes connections.
    pub fn over_tcp(odd: impl Odd) -> Self {
        FarEnd::start_on(Carrier::streams(), odd)
    }

    fn start_on(wire: Carrier, odd: impl Odd) -> Self {
        let here = wire.here();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let thread = thread::spawn(move || {
            let io = Io { wire, line: Timeline::start(), notes: Vec::new() };
            let mut far = Machine { odd, io, here, calls: Vec::new() };
            while !ended.load(Relaxed) {
                far.turn();
            }
            far.io.notes
        });
        FarEnd { sip: here.address, transport: here.transport, stop, thread: Some(thread) }
    }

    /// Ends it; what it has noted, with the numbers of the calls.
    pub fn stop(mut self) -> Vec<(usize, String)> {
        self.stop.store(true, Relaxed);
        self.thread.take().map(|thread| thread.join().expect("no panic")).unwrap_or_default()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn media_socket() -> UdpSocket {
    let socket = UdpSocket::bind(LOCAL).expect("a port");
    socket.set_nonblocking(true).expect("a socket");
    socket
}

/// Gates that a plain far end meets.
const GATES: &str = r#"gates.require=["calls.answered == 100%","calls.dropped_count == 0","calls.silent_count == 0","loss.count == 0"]"#;

/// What a far end has noted under the numbers of its calls, and the rows of `calls.csv`.
pub type Told = (Vec<(usize, String)>, Vec<HashMap<String, String>>);

/// Runs `calls` calls at once, and none after them, against a far end; the run ends with `code`. Returns what the far end
/// has noted, and the rows of `calls.csv`.
pub fn run_against(place: &Place, far: FarEnd, calls: usize, set: &[&str], code: i32) -> Told {
    run_as(place, far, calls, set, &[], code)
}

/// Likewise, in an environment.
pub fn run_as(
    place: &Place,
    far: FarEnd,
    calls: usize,
    set: &[&str],
    environment: &[(&str, &str)],
    code: i32,
) -> Told {
    let (target, load) = (format!("asterisk.sip={}", far.sip), format!("load.calls={calls}"));
    let transport = format!("asterisk.transport={}", far.transport.name().to_ascii_lowercase());
    let plain = [
        "asterisk.mode=external",
        &target,
        &transport,
        "service.mode=none",
        &load,
        "load.duration=2s",
        "load.ramp=100/s",
        "load.retry_after=60s",
        GATES,
    ];
    ends_with(place.run("smoke", &[&plain[..], set].concat()).envs(environment.iter().copied()), code);
    (far.stop(), rows(&place.out().join("calls.csv")))
}

/// Asserts that each call was held as planned, and that all its packets came back.
#[track_caller]
pub fn assert_all_went_well(place: &Place, calls: &[HashMap<String, String>], names: &[&str]) {
    assert_eq!(calls.len(), names.len());
    for (call, name) in calls.iter().zip(names) {
        assert_eq!((&*call["ending"], &*call["reason"]), ("completed", ""), "{name}: {call:?}");
        assert_eq!(call["total_received"], call["total_sent"], "{name}: {call:?}");
        assert_ne!(call["total_sent"], "0", "{name}: {call:?}");
    }
    assert_eq!(place.count("loss.count"), 0);
}

#[test]
fn a_plain_far_end_is_called() {
    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::start(Plain), 1, &[], 0);
    assert_all_went_well(&place, &calls, &["plain"]);
}
