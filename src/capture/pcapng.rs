//! The bytes of a pcapng file (draft-ietf-opsawg-pcapng): one section, one interface, one packet block a datagram.

use std::net::SocketAddr;

use super::Way;
use super::frame::headers;
use crate::stamp::Stamp;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// Whole IP packets without a link layer (LINKTYPE_RAW).
const RAW: u16 = 101;
/// Options.
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const TIMESTAMP_RESOLUTION: u16 = 9;
const FLAGS: u16 = 2;
/// Nanoseconds.
const NANO: u8 = 9;
/// Most bytes of a message over TCP that fit into the datagram that it is shown as.
const MOST: usize = 65_507;

/// A datagram, or a message shown as one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub at: Stamp,
    pub way: Way,
    /// The driver's address.
    pub local: SocketAddr,
    /// The far end's.
    pub peer: SocketAddr,
    /// What is there of it.
    pub bytes: &'a [u8],
    /// Its length.
    pub length: usize,
}

/// A file of `frames` with a `comment`.
pub(super) fn file<'a>(comment: &str, frames: impl IntoIterator<Item = Frame<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = Vec::new();
    section.extend(0x1A2B_3C4D_u32.to_le_bytes());
    section.extend([1, 0, 0, 0]);
    // Of a length that nobody needs to know.
    section.extend(u64::MAX.to_le_bytes());
    option(&mut section, USER_APPLICATION, concat!("loadtest ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut section, COMMENT, comment.as_bytes());
    end_of_options(&mut section);
    block(&mut out, SECTION_HEADER, &section);
    let mut interface = Vec::new();
    interface.extend(RAW.to_le_bytes());
    interface.extend([0, 0]);
    interface.extend(0_u32.to_le_bytes());
    option(&mut interface, TIMESTAMP_RESOLUTION, &[NANO]);
    end_of_options(&mut interface);
    block(&mut out, INTERFACE, &interface);
    frames.into_iter().for_each(|frame| packet(&mut out, &frame));
    out
}

fn packet(out: &mut Vec<u8>, frame: &Frame<'_>) {
    let length = frame.length.min(MOST);
    let bytes = &frame.bytes[..frame.bytes.len().min(length)];
    let (from, to, flags) = match frame.way {
        Way::Sent => (frame.local, frame.peer, 2_u32),
        Way::Received => (frame.peer, frame.local, 1),
    };
    let headers = headers(from, to, bytes, length);
    let mut body = Vec::with_capacity(48 + headers.len() + bytes.len());
    body.extend(0_u32.to_le_bytes());
    let ns = frame.at.as_ns();
    body.extend(((ns >> 32) as u32).to_le_bytes());
    body.extend((ns as u32).to_le_bytes());
    body.extend(((headers.len() + bytes.len()) as u32).to_le_bytes());
    body.extend(((headers.len() + length) as u32).to_le_bytes());
    body.extend(&headers);
    body.extend(bytes);
    pad(&mut body);
    option(&mut body, FLAGS, &flags.to_le_bytes());
    end_of_options(&mut body);
    block(out, ENHANCED_PACKET, &body);
}

/// A block: its kind, its length before and behind what is in it.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = (body.len() + 12) as u32;
    out.extend(kind.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(body);
    out.extend(length.to_le_bytes());
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// Everything begins at a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(way: Way, bytes: &[u8], length: usize) -> Frame<'_> {
        let at = Stamp::from_ns(0x0102_0304_0506_0708);
        Frame {
            at,
            way,
            local: "127.0.0.1:1".parse().unwrap(),
            peer: "127.0.0.2:2".parse().unwrap(),
            bytes,
            length,
        }
    }

    /// Kinds and bodies of a file's blocks.
    fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let mut found = Vec::new();
        while !file.is_empty() {
            let (kind, length) = (number(file), number(&file[4..]) as usize);
            assert_eq!((length % 4, number(&file[length - 4..])), (0, length as u32));
            found.push((kind, &file[8..length - 4]));
            file = &file[length..];
        }
        found
    }

    #[test]
    fn a_file_has_a_section_an_interface_and_a_block_a_packet() {
        let frames = [frame(Way::Sent, b"abcde", 5), frame(Way::Received, b"ab", 900)];
        let file = file("call 7", frames);
        let blocks = blocks(&file);
        assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [SECTION_HEADER, 1, 6, 6]);
        assert!(blocks[0].1.starts_with(&[0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0]));
        assert!(blocks[0].1.windows(6).any(|part| part == b"call 7"));
        // LINKTYPE_RAW, no limit, nanoseconds.
        assert_eq!(blocks[1].1, [101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        let sent = blocks[2].1;
        assert_eq!(sent[4..12], [4, 3, 2, 1, 8, 7, 6, 5], "high half first");
        assert_eq!((sent[12], sent[16]), (33, 33));
        assert_eq!(sent[20 + 28..20 + 33], *b"abcde");
        assert_eq!(sent[20 + 12..20 + 20], [127, 0, 0, 1, 127, 0, 0, 2], "from the driver");
        let received = blocks[3].1;
        assert_eq!((received[12], &received[16..18]), (30, &928u16.to_le_bytes()[..]), "cut from its length");
        assert_eq!(received[20 + 12..20 + 20], [127, 0, 0, 2, 127, 0, 0, 1]);
        assert!(received.ends_with(&[2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0]), "inbound");
    }

    #[test]
    fn no_length_breaks_a_block() {
        for (there, length) in [(0, 0), (1, 1), (70_000, 70_000), (0, usize::MAX), (4096, 66_000)] {
            let bytes = vec![b'x'; there];
            let file = file("", [frame(Way::Sent, &bytes, length)]);
            assert_eq!(blocks(&file).len(), 3);
        }
    }
}
