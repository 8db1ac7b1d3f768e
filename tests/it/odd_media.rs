//! Far ends whose media are odd: heard from elsewhere than their SDP says, moved in mid-call, mixed with what is no
//! audio, under a source that changes.

mod extras;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::extras::extras;
use crate::garbage::{answer, description, forged, probe};
use crate::harness::{Place, ends_with, rows};
use loadtest::clock;
use loadtest::sip::{Message, parse};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Length of an RTP header.
const HEADER: usize = 12;
/// The measured window lies around this packet of a call of [`run`].
const MIDDLE: u64 = 175;

/// Sockets of a far end.
struct Io {
    /// Named in its answer.
    ear: UdpSocket,
    /// Named when it moves.
    next_ear: UdpSocket,
    /// Named nowhere.
    mouth: UdpSocket,
    /// Somebody else's.
    third: UdpSocket,
    /// It wants to move.
    moves: AtomicBool,
    /// It has been heard at its new place.
    has_moved: AtomicBool,
    /// Datagrams sent by kind.
    sent: Mutex<BTreeMap<&'static str, u64>>,
}

impl Io {
    /// Sends something besides the audio.
    fn send(&self, kind: &'static str, datagram: &[u8], to: SocketAddr) {
        self.ear.send_to(datagram, to).expect("it is there");
        *self.sent.lock().expect("no panic").entry(kind).or_default() += 1;
    }

    fn sent(&self, kind: &str) -> u64 {
        self.sent.lock().expect("no panic").get(kind).copied().unwrap_or_default()
    }
}

/// What came to an ear: a packet with its number and source, or nothing for a while.
type Heard<'a> = Option<(u64, &'a [u8], SocketAddr)>;

struct FarEnd {
    sip: SocketAddr,
    io: Arc<Io>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

fn socket(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(30))).expect("a timeout");
    socket
}

fn local(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("an address")
}

impl FarEnd {
    /// A far end whose mouth is at `mouth`; `ear` and `next_ear` do what is to be done with what they hear.
    fn start(
        mouth: IpAddr,
        ear: impl FnMut(&Io, Heard<'_>) + Send + 'static,
        next_ear: impl FnMut(&Io, Heard<'_>) + Send + 'static,
    ) -> Self {
        let io = Arc::new(Io {
            ear: socket(HERE),
            next_ear: socket(HERE),
            mouth: socket(mouth),
            third: socket(HERE),
            moves: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            sent: Mutex::default(),
        });
        let (sip, stop) = (socket(HERE), Arc::new(AtomicBool::new(false)));
        let address = local(&sip);
        let threads = vec![
            signal(sip, io.clone(), stop.clone()),
            listen(io.clone(), |io| &io.ear, stop.clone(), ear),
            listen(io.clone(), |io| &io.next_ear, stop.clone(), next_ear),
        ];
        FarEnd { sip: address, io, stop, threads }
    }

    /// Likewise, and it never moves.
    fn staying(mouth: IpAddr, ear: impl FnMut(&Io, Heard<'_>) + Send + 'static) -> Self {
        FarEnd::start(mouth, ear, |_, _| ())
    }

    /// Ends it.
    fn stop(mut self) -> Arc<Io> {
        self.stop.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
        self.io.clone()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn listen(
    io: Arc<Io>,
    ear: fn(&Io) -> &UdpSocket,
    stop: Arc<AtomicBool>,
    mut odd: impl FnMut(&Io, Heard<'_>) + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let (mut buffer, mut packets) = ([0; 2048], 0);
        while !stop.load(Relaxed) {
            match ear(&io).recv_from(&mut buffer) {
                Ok((len, from)) => {
                    odd(&io, Some((packets, &buffer[..len], from)));
                    packets += 1;
                }
                Err(_) => odd(&io, None),
            }
        }
    })
}

/// Answers a call, and moves its media when asked to.
fn signal(sip: UdpSocket, io: Arc<Io>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        let own = local(&sip);
        let mut buffer = [0; 4096];
        let mut caller: Option<(Message, SocketAddr)> = None;
        let mut number = 0;
        while !stop.load(Relaxed) {
            if let Some((invite, to)) = caller.as_ref().filter(|_| io.moves.swap(false, Relaxed)) {
                number += 1;
                let sdp = description(local(&io.next_ear));
                sip.send_to(&request("INVITE", invite, own, number, &sdp), to).expect("it is there");
            }
            let Ok((len, from)) = sip.recv_from(&mut buffer) else { continue };
            let message = parse(&buffer[..len]).expect("the driver speaks SIP");
            if let Some(status) = message.status() {
                let (_, to) = caller.as_ref().expect("it has called");
                assert_eq!(status, 200, "the move is agreed to");
                let (invite, _) = caller.as_ref().expect("it has called");
                sip.send_to(&request("ACK", invite, own, number, ""), to).expect("it is there");
                continue;
            }
            let sdp = match message.method().as_str() {
                "ACK" => continue,
                "INVITE" => description(local(&io.ear)),
                _ => String::new(),
            };
            sip.send_to(&answer(&message, own, 200, "OK", &sdp), from).expect("it is there");
            if message.method().as_str() == "INVITE" {
                caller = Some((message, from));
            }
        }
    })
}

/// A request of the far end's within the call of `invite`.
fn request(method: &str, invite: &Message, own: SocketAddr, number: u32, sdp: &str) -> Vec<u8> {
    let uri = invite.contact().expect("a Contact").trim_matches(['<', '>']).to_string();
    let about = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}{number}\r\nMax-Forwards: 70\r\n\
         From: {};tag=far\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nContact: <sip:far@{own}>\r\n{about}\
         Content-Length: {}\r\n\r\n{sdp}",
        invite.to(),
        invite.from(),
        invite.call_id(),
        sdp.len()
    )
    .into_bytes()
}

/// Runs one call, 2 s of which are measured, with `more` settings; what the far end has sent.
fn run(place: &Place, far: FarEnd, more: &[&str]) -> Arc<Io> {
    let target = format!("asterisk.sip={}", far.sip);
    let gates = r#"gates.require=["calls.answered == 100%", "packets.sent > 0"]"#;
    let set =
        ["asterisk.mode=external", &target, "service.mode=none", "load.calls=1", "load.duration=2s", gates];
    ends_with(&mut place.run("smoke", &[&set[..], more].concat()), 0);
    assert_eq!(place.count("calls.scr"), 1, "it was hung up in order");
    far.stop()
}

/// Every packet of the window is back, once.
fn assert_whole(place: &Place) {
    assert_eq!((place.count("packets.sent"), place.count("packets.received")), (100, 100));
    for none in ["loss.count", "duplicate.count", "corrupted.count", "forged.count", "calls.silent_count"] {
        assert_eq!(place.count(none), 0, "{none}");
    }
}

/// The call's row tells where it was heard from, and what its SDP said.
fn assert_heard(place: &Place, from: &UdpSocket, named: &UdpSocket) {
    let call = &rows(&place.out().join("calls.csv"))[0];
    assert_eq!(
        [&call["heard_from"], &call["media_address"]],
        [from, named].map(|at| local(at).to_string()).each_ref()
    );
}

#[track_caller]
fn assert_finding(place: &Place, [first, second]: [&UdpSocket; 2], cure: &str) {
    let finding = place.summary()["findings"][0].clone();
    assert_eq!(finding["name"], "media_elsewhere", "{finding}");
    let told = format!("RTP comes from {}, the SDP says {}", local(first), local(second));
    assert!(finding["what"].as_str().is_some_and(|what| what.contains(&told)), "{finding}");
    assert!(finding["cure"].as_str().is_some_and(|text| text.contains(cure)), "{finding}");
}

/// Echoes by its mouth what its ear has heard.
fn by_mouth(io: &Io, heard: Heard<'_>) {
    if let Some((_, packet, from)) = heard {
        io.mouth.send_to(packet, from).expect("it is there");
    }
}

/// Echoes as everybody does.
fn plainly(io: &Io, heard: Heard<'_>) {
    if let Some((_, packet, from)) = heard {
        io.ear.send_to(packet, from).expect("it is there");
    }
}

#[test]
fn media_from_another_port_or_address_is_measured_and_named() {
    for mouth in [HERE, ELSEWHERE] {
        let place = Place::new();
        let io = run(&place, FarEnd::staying(mouth, by_mouth), &[]);
        assert_whole(&place);
        assert!(place.count("elsewhere.count") >= 150);
        assert_eq!((place.count("elsewhere.refused_count"), place.count("strangers.count")), (0, 0));
        assert_heard(&place, &io.mouth, &io.ear);
        assert_finding(&place, [&io.mouth, &io.ear], "media.source = \"sdp\" refuses it");
    }
}

#[test]
fn media_from_another_port_is_refused_counted_and_named_where_the_sdp_is_to_hold() {
    let place = Place::new();
    let io = run(&place, FarEnd::staying(HERE, by_mouth), &["media.source=sdp"]);
    assert_eq!((place.count("packets.received"), place.count("calls.silent_count")), (0, 1));
    assert!(place.count("elsewhere.refused_count") >= 150);
    assert_eq!((place.count("elsewhere.count"), place.count("strangers.count")), (0, 0));
    assert_heard(&place, &io.mouth, &io.ear);
    assert_finding(&place, [&io.mouth, &io.ear], "media.source = \"any\" measures it");
    // The same far end is heard by those who echo to where they are asked to.
    let place = Place::new();
    let io = run(&place, FarEnd::staying(HERE, plainly), &["media.source=sdp"]);
    assert_whole(&place);
    assert_eq!(place.count("elsewhere.refused_count"), 0);
    assert_heard(&place, &io.ear, &io.ear);
}

#[test]
fn a_far_end_that_speaks_from_elsewhere_in_mid_call_is_heard_again() {
    let place = Place::new();
    let far = FarEnd::staying(HERE, |io, heard| {
        let Some((n, packet, from)) = heard else { return };
        let speaker = if n < MIDDLE { &io.ear } else { &io.mouth };
        speaker.send_to(packet, from).expect("it is there");
    });
    let io = run(&place, far, &["load.duration=5s"]);
    assert!(place.count("elsewhere.count") > 50, "{}", place.count("elsewhere.count"));
    assert!(place.count("loss.count") > 0, "what came until it was looked for");
    assert_eq!(place.count("calls.media_lost_count"), 0);
    assert_heard(&place, &io.mouth, &io.ear);
}

#[test]
fn a_far_end_that_speaks_from_two_places_in_turn_is_measured_and_named() {
    let place = Place::new();
    let far = FarEnd::staying(HERE, |io, heard| {
        let Some((n, packet, from)) = heard else { return };
        let speaker = if n % 2 == 0 { &io.ear } else { &io.mouth };
        speaker.send_to(packet, from).expect("it is there");
    });
    let io = run(&place, far, &[]);
    assert_whole(&place);
    assert!(place.count("elsewhere.count") >= 75, "{}", place.count("elsewhere.count"));
    assert_heard(&place, &io.mouth, &io.ear);
    // From the middle on: what comes until that is seen is lost.
    let place = Place::new();
    let far = FarEnd::staying(HERE, |io, heard| {
        let Some((n, packet, from)) = heard else { return };
        let speaker = if n < MIDDLE || n % 2 == 0 { &io.ear } else { &io.mouth };
        speaker.send_to(packet, from).expect("it is there");
    });
    let io = run(&place, far, &["load.duration=5s"]);
    assert_heard(&place, &io.mouth, &io.ear);
    assert!(place.count("elsewhere.count") > place.count("loss.count"), "it is heard again");
}

#[test]
fn nobody_is_taken_for_the_far_end_without_a_packet_of_the_calls_own() {
    let place = Place::new();
    let far = FarEnd::staying(HERE, |io, heard| {
        let Some((n, packet, from)) = heard else { return };
        let run = u32::from_be_bytes(packet[HEADER + 4..HEADER + 8].try_into().expect("four bytes"));
        let mut cut = packet.to_vec();
        cut.truncate(HEADER + 80);
        let others =
            [forged(packet, |probe| probe.sent_at = clock::now()), probe(run, 77), probe(!run, 0), cut];
        for datagram in others {
            io.third.send_to(&datagram, from).expect("it is there");
        }
        // It says nothing for a while, in which only the other one is heard.
        if n >= 20 {
            io.mouth.send_to(packet, from).expect("it is there");
        }
    });
    let io = run(&place, far, &[]);
    assert_whole(&place);
    assert_heard(&place, &io.mouth, &io.ear);
    assert!(place.count("strangers.count") >= 4 * 20, "{}", place.count("strangers.count"));
    assert_eq!(place.count("sockets.drops"), 0);
}

/// Echoes three packets behind, and has the call moved in the middle; what it still holds then it sends only once it is
/// heard at its new place.
fn slowly_and_moving(speaker: fn(&Io) -> &UdpSocket) -> impl FnMut(&Io, Heard<'_>) + Send + 'static {
    let mut held = Vec::new();
    move |io, heard| {
        if let Some((n, packet, from)) = heard {
            held.push((packet.to_vec(), from));
            io.moves.fetch_or(n == MIDDLE, Relaxed);
        }
        let keep = if io.has_moved.load(Relaxed) { 0 } else { 3 };
        for (packet, to) in held.drain(..held.len().saturating_sub(keep)) {
            speaker(io).send_to(&packet, to).expect("it is there");
        }
    }
}

/// Echoes at its new place.
fn after_the_move(speaker: fn(&Io) -> &UdpSocket) -> impl FnMut(&Io, Heard<'_>) + Send + 'static {
    move |io, heard| {
        if let Some((_, packet, from)) = heard {
            speaker(io).send_to(packet, from).expect("it is there");
            io.has_moved.store(true, Relaxed);
        }
    }
}

#[test]
fn media_that_moves_in_mid_call_moves_without_losing_a_packet() {
    for source in ["media.source=any", "media.source=sdp"] {
        let place = Place::new();
        let far = FarEnd::start(HERE, slowly_and_moving(|io| &io.ear), after_the_move(|io| &io.next_ear));
        let io = run(&place, far, &[source]);
        assert_whole(&place);
        assert!(place.count("reordered.count") > 0, "packets of both places came side by side");
        for none in ["elsewhere.count", "elsewhere.refused_count", "strangers.count"] {
            assert_eq!(place.count(none), 0, "{none}");
        }
        assert_heard(&place, &io.next_ear, &io.next_ear);
    }
}

#[test]
fn a_far_end_that_has_moved_is_heard_from_elsewhere_as_well() {
    let place = Place::new();
    let far = FarEnd::start(HERE, slowly_and_moving(|io| &io.ear), after_the_move(|io| &io.mouth));
    let io = run(&place, far, &[]);
    assert_whole(&place);
    assert!(place.count("elsewhere.count") > 0);
    assert_heard(&place, &io.mouth, &io.next_ear);
    // One that was elsewhere from the beginning goes on from where it was.
    let place = Place::new();
    let far = FarEnd::start(HERE, slowly_and_moving(|io| &io.mouth), after_the_move(|io| &io.mouth));
    let io = run(&place, far, &[]);
    assert_whole(&place);
    assert_heard(&place, &io.mouth, &io.ear);
}

#[test]
fn what_a_peer_sends_beside_the_audio_is_counted_as_what_it_is_and_changes_nothing() {
    let place = Place::new();
    let (mut turn, all) = (extras().into_iter().cycle(), extras().len() as u64);
    let far = FarEnd::staying(HERE, move |io, heard| {
        if let Some((n, packet, from)) = heard {
            if n % 2 == 0 {
                let (kind, datagram) = turn.next().expect("it goes round");
                io.send(kind, &datagram, from);
            }
            // The audio itself under another header: marked, of another type, with an extension.
            let mut echo = packet.to_vec();
            match n % 4 {
                1 => echo[1] |= 0x80,
                2 => echo[1] = 101,
                3 => {
                    echo[0] = 0x90;
                    drop(echo.splice(HEADER..HEADER, [0xBE, 0xDE, 0, 1, 0x10, 1, 0, 0]));
                }
                _ => {}
            }
            io.ear.send_to(&echo, from).expect("it is there");
        }
    });
    let io = run(&place, far, &[]);
    assert_eq!((place.count("packets.sent"), place.count("packets.received")), (100, 100));
    assert_eq!((place.count("loss.count"), place.count("duplicate.count")), (0, 0));
    for (kind, _) in extras() {
        assert!(io.sent(kind) > 0, "{kind}: fewer than {} packets were sent", 2 * all);
        assert_eq!(place.count(&format!("{kind}.count")), io.sent(kind), "{kind}");
    }
    let call = &rows(&place.out().join("calls.csv"))[0];
    assert_eq!(call["other_payload_type"], "8");
}

/// The far end's own clock and source in a packet.
fn under(packet: &[u8], ssrc: u32, ticks: u32) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let stamp = u32::from_be_bytes(packet[4..8].try_into().expect("four bytes"));
    packet[4..8].copy_from_slice(&stamp.wrapping_add(ticks).to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

#[test]
fn a_source_that_changes_with_its_clock_is_no_jitter() {
    // No packet in time is off its place by more: another clock would be, by days.
    let most_ms = 2000.0;
    let sources: [fn(u64) -> (u32, u32); 3] = [
        |n| if n < MIDDLE { (1, 0) } else { (2, 807_813_896) },
        // Back to the first one, whose clock has gone on.
        |n| if (150..MIDDLE).contains(&n) { (2, 3_000_000_000) } else { (1, 0) },
        // Three in turn, and each changes among packets of the one before.
        |n| [(1, 0), (2, 1 << 31), (3, 99)][(n / 40 + u64::from(n % 40 == 37)) as usize % 3],
    ];
    for source in sources {
        let place = Place::new();
        let far = FarEnd::staying(HERE, move |io, heard| {
            if let Some((n, packet, from)) = heard {
                let (ssrc, ticks) = source(n);
                io.ear.send_to(&under(packet, ssrc, ticks), from).expect("it is there");
            }
        });
        run(&place, far, &[]);
        assert_whole(&place);
        let jitter = place.metric("jitter.max").as_f64().expect("packets came back");
        let call = &rows(&place.out().join("calls.csv"))[0];
        let largest: f64 = call["jitter_max_ms"].parse().expect("a number");
        assert!(jitter <= largest && largest < most_ms, "{jitter} {largest}");
    }
}
