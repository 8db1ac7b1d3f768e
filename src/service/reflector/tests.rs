//! Tests of the reflector.

use super::*;
use crate::rtp::packet::{Incoming, StreamSender, read};
use crate::rtp::probe::RunKey;
use crate::rtp::{Codec, Format};
use std::net::{Ipv4Addr, UdpSocket};
use tokio::sync::mpsc::unbounded_channel;

const KEY: RunKey = RunKey::new(1, [1; 16]);
const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));

fn bound() -> (Sockets, SocketAddr) {
    let sockets = Sockets::bind((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap();
    let address = sockets.asterisk.local_addr().unwrap();
    (sockets, address)
}

/// Waits until the kernel stamps, which it begins a moment after the first socket has asked for it, and ends with the
/// last one: a datagram without a stamp counts as come when it is read.
fn stamped() -> UdpSocket {
    let socket = udp::bind_stamped((Ipv4Addr::LOCALHOST, 0).into(), 1 << 16).unwrap();
    let (own, mut batch) = (socket.local_addr().unwrap(), Batch::new(1, 64));
    loop {
        let before = batch.unstamped();
        socket.send_to(b"x", own).unwrap();
        if batch.receive(&socket, |_| ()).is_ok_and(|read| read == 1) && batch.unstamped() == before {
            return socket;
        }
    }
}

fn config(lanes: u32) -> ReflectorConfig {
    let range = PortRange { from: 1024, to: 65535 };
    ReflectorConfig { range, has_echo: false, hold: Hold::default(), priority: Priority::default(), lanes }
}

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

#[test]
fn echoes_its_peer_with_stamps_counts_and_nobody_else() {
    let _stamped = stamped();
    let (sender, mut events) = unbounded_channel();
    let reflector = Reflector::start(config(1), &sender).unwrap();
    drop(sender);
    let (sockets, address) = bound();
    let (asterisk, stranger) = (peer(), peer());
    // No RTP: that would be believed if it was read after `connect`, and before Asterisk's first packet.
    stranger.send_to(&[0; 40], address).unwrap();
    reflector.add(address.port(), sockets, 7);
    reflector.connect(address.port(), asterisk.local_addr().unwrap());
    // A connected socket refuses strangers in the kernel; wait until it is one.
    let mut sender = StreamSender::new(KEY, 2, 3, FORMAT);
    let mut buffer = [0; 300];
    asterisk.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let warm = (0..100).find_map(|_| {
        asterisk.send_to(&rtp(), address).unwrap();
        asterisk.recv(&mut buffer).ok()
    });
    assert_eq!(warm, Some(rtp().len()));
    asterisk.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let before = clock::now();
    for _ in 0..3 {
        asterisk.send_to(sender.packet(before, before), address).unwrap();
    }
    let mut seen = 0;
    while seen < 3 {
        let len = asterisk.recv(&mut buffer).unwrap();
        if let Incoming::Probe { probe, .. } = read(&buffer[..len], &FORMAT, &KEY, 2) {
            let reflection = probe.reflection.unwrap();
            assert!(before <= reflection.in_at && reflection.in_at <= reflection.out_at);
            seen += 1;
        }
    }
    reflector.remove(address.port());
    let Some(StreamEvent::FirstPacket { port, at }) = events.blocking_recv() else {
        panic!("no first packet")
    };
    assert!(port == address.port() && at <= before);
    let Some(StreamEvent::Removed { port, counts }) = events.blocking_recv() else { panic!("no end") };
    assert_eq!((port, counts.expected, counts.distinct), (address.port(), 3, 3));
    assert!(counts.sent > 3 && counts.strangers >= 1);
    assert_eq!(reflector.totals().now().loss_ratio(), Some(0.0));
    UdpSocket::bind(address).unwrap();
    drop(reflector);
    assert!(events.blocking_recv().is_none());
}

#[test]
fn media_from_elsewhere_are_sent_back_there_until_they_come_from_where_asterisk_said() {
    let (sender, mut events) = unbounded_channel();
    let reflector = Reflector::start(config(1), &sender).unwrap();
    let (sockets, address) = bound();
    let (named, mouth) = (peer(), peer());
    reflector.add(address.port(), sockets, 7);
    reflector.connect(address.port(), named.local_addr().unwrap());
    let mut buffer = [0; 300];
    for socket in [&mouth, &named] {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let back = (0..100).find_map(|_| {
            socket.send_to(&rtp(), address).unwrap();
            socket.recv(&mut buffer).ok()
        });
        assert_eq!(back, Some(rtp().len()));
    }
    // It is closed to the other one now.
    while mouth.recv(&mut buffer).is_ok() {}
    mouth.send_to(&rtp(), address).unwrap();
    assert!(mouth.recv(&mut buffer).is_err());
    reflector.remove(address.port());
    assert!(matches!(events.blocking_recv(), Some(StreamEvent::FirstPacket { .. })));
    let Some(StreamEvent::Elsewhere { told, from, .. }) = events.blocking_recv() else { panic!("told") };
    assert_eq!((told, from), (named.local_addr().unwrap(), mouth.local_addr().unwrap()));
}

fn rtp() -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    packet.extend([0xFF; 160]);
    packet
}

#[test]
fn each_lane_serves_the_calls_of_its_ports_and_all_count_together() {
    let _stamped = stamped();
    let (sender, mut events) = unbounded_channel();
    let reflector = Reflector::start(config(3), &sender).unwrap();
    drop(sender);
    let calls: Vec<_> = (0..12).map(|_| (bound(), peer())).collect();
    let mut ports = Vec::new();
    for ((sockets, address), asterisk) in calls {
        ports.push(address.port());
        reflector.add(address.port(), sockets, 7);
        reflector.connect(address.port(), asterisk.local_addr().unwrap());
        asterisk.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut buffer = [0; 300];
        let back = (0..100).find_map(|number| {
            let packet = [&[0x80, 0, 0, number][..], &[0; 168]].concat();
            asterisk.send_to(&packet, address).unwrap();
            asterisk.recv(&mut buffer).ok()
        });
        assert_eq!(back, Some(172));
    }
    ports.iter().for_each(|port| reflector.remove(*port));
    let (mut first, mut removed, mut received) = (Vec::new(), Vec::new(), 0);
    while removed.len() < ports.len() {
        match events.blocking_recv() {
            Some(StreamEvent::FirstPacket { port, .. }) => first.push(port),
            Some(StreamEvent::Removed { port, counts }) => {
                removed.push(port);
                received += counts.received;
            }
            other => panic!("{other:?}"),
        }
    }
    [&mut first, &mut removed, &mut ports].into_iter().for_each(|list| list.sort_unstable());
    assert_eq!((&first, &removed), (&ports, &ports));
    assert_eq!(reflector.totals().now().received, received);
    drop(reflector);
    assert!(events.blocking_recv().is_none(), "no lane has ended by itself");
}
