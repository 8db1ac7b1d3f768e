//! Headers of IP and UDP for what was seen at a socket, where the kernel has taken them off.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Protocol number of UDP.
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const TTL: u8 = 64;

/// The IP and UDP headers of a datagram of `length` bytes, of which `bytes` are there. Its checksums are right where all
/// of it is; else that of UDP is left out, or over IPv6, which wants one, all ones.
pub(super) fn headers(from: SocketAddr, to: SocketAddr, bytes: &[u8], length: usize) -> Vec<u8> {
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let udp = clamped(UDP_HEADER + length);
            let ports = ports(from, to, udp);
            let mut sum = Sum::default();
            sum.add(&source.octets());
            sum.add(&target.octets());
            sum.add(&[0, UDP]);
            sum.add(&udp.to_be_bytes());
            [&v4(source, target, udp)[..], &ports, &checksum(sum, &ports, bytes, length, false)].concat()
        }
        (source, target) => {
            let (source, target, udp) = (mapped(source), mapped(target), clamped(UDP_HEADER + length));
            let ports = ports(from, to, udp);
            let mut sum = Sum::default();
            sum.add(&source.octets());
            sum.add(&target.octets());
            sum.add(&[0, 0]);
            sum.add(&udp.to_be_bytes());
            sum.add(&[0, 0, 0, UDP]);
            [&v6(source, target, udp)[..], &ports, &checksum(sum, &ports, bytes, length, true)].concat()
        }
    }
}

fn clamped(length: usize) -> u16 {
    // A message over TCP may be longer than any datagram.
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Ports and length: the UDP header but for its checksum (RFC 768).
fn ports(from: SocketAddr, to: SocketAddr, length: u16) -> [u8; 6] {
    let [a, b] = from.port().to_be_bytes();
    let [c, d] = to.port().to_be_bytes();
    let [e, f] = length.to_be_bytes();
    [a, b, c, d, e, f]
}

fn checksum(mut sum: Sum, ports: &[u8; 6], bytes: &[u8], length: usize, is_v6: bool) -> [u8; 2] {
    sum.add(ports);
    sum.add(bytes);
    if bytes.len() != length {
        // IPv6 takes none for damage, and any other is as good: tools do not check a packet that was cut (RFC 8200 8.1).
        return if is_v6 { [0xFF, 0xFF] } else { [0, 0] };
    }
    match sum.complement() {
        // Zero stands for none (RFC 768).
        0 => [0xFF, 0xFF],
        sum => sum.to_be_bytes(),
    }
}

/// RFC 791: no options, not to be fragmented.
fn v4(source: Ipv4Addr, target: Ipv4Addr, udp: u16) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&udp.saturating_add(20).to_be_bytes());
    header[6] = 0x40;
    (header[8], header[9]) = (TTL, UDP);
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&target.octets());
    let mut sum = Sum::default();
    sum.add(&header);
    header[10..12].copy_from_slice(&sum.complement().to_be_bytes());
    header
}

/// RFC 8200.
fn v6(source: Ipv6Addr, target: Ipv6Addr, udp: u16) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&udp.to_be_bytes());
    (header[6], header[7]) = (UDP, TTL);
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&target.octets());
    header
}

/// The internet checksum (RFC 1071). Parts but the last have an even length.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            self.0 += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }

    fn complement(&self) -> u16 {
        let mut sum = self.0;
        while sum > 0xFFFF {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The sum over everything, checksum included, which is all ones where that is right.
    fn is_right(parts: &[&[u8]]) -> bool {
        let mut sum = Sum::default();
        parts.iter().for_each(|part| sum.add(part));
        sum.complement() == 0
    }

    #[test]
    fn headers_are_those_of_a_datagram_of_either_family() {
        let payload = b"odd";
        let v4 = headers(address("192.0.2.1:5060"), address("192.0.2.2:4000"), payload, 3);
        assert_eq!((v4.len(), v4[0], &v4[2..4]), (28, 0x45, &[0, 31][..]));
        assert!(is_right(&[&v4[..20]]));
        assert_eq!(v4[20..26], [0x13, 0xC4, 0x0F, 0xA0, 0, 11]);
        assert!(is_right(&[&v4[12..20], &[0, UDP, 0, 11], &v4[20..], payload]));
        let v6 = headers(address("[::1]:5060"), address("[::2]:4000"), payload, 3);
        assert_eq!((v6.len(), v6[0], v6[6]), (48, 0x60, UDP));
        assert!(is_right(&[&v6[8..40], &[0, 0, 0, 11, 0, 0, 0, UDP], &v6[40..], payload]));
        // One family in the other's clothes, and one of each.
        let same = headers(address("[::ffff:192.0.2.1]:5060"), address("192.0.2.2:4000"), payload, 3);
        assert_eq!(same, v4);
        assert_eq!(headers(address("[::1]:1"), address("192.0.2.2:4000"), payload, 3).len(), 48);
    }

    #[test]
    fn what_is_cut_or_longer_than_a_datagram_has_its_length_and_no_checksum() {
        let cut = headers(address("192.0.2.1:1"), address("192.0.2.2:2"), b"1234", 1000);
        assert_eq!((&cut[24..26], &cut[26..28]), (&1008u16.to_be_bytes()[..], &[0, 0][..]));
        let long = headers(address("192.0.2.1:1"), address("192.0.2.2:2"), &[1; 70_000], 70_000);
        assert_eq!((&long[2..4], &long[24..26]), (&[0xFF, 0xFF][..], &[0xFF, 0xFF][..]));
    }
}
