//! The interval log of a stored run, which may have been written by anybody.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use loadtest::record::hlog;
use loadtest::stamp::Stamp;

use crate::engine::place;

/// The input as a log, and as the one histogram of a log: behind base64 and compression no mutation of the
/// text would ever get.
pub fn intervals(input: &[u8]) -> u64 {
    place((log(input), log(&line(input))))
}

/// A log that is taken reads back the same when it is written by us, and takes memory by its length.
fn log(bytes: &[u8]) -> u64 {
    let intervals = match hlog::read(bytes) {
        Ok(intervals) => intervals,
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() <= 256, "{said}");
            return place(("no", said.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()));
        }
    };
    let (count, packed) = intervals.size();
    assert!(packed <= 20 * ((1 << 20) + 16 * bytes.len()), "{packed} bytes of {}", bytes.len());
    let written = hlog::write(&intervals, Stamp::ZERO);
    assert_eq!(hlog::read(&written).expect("ours is one"), intervals);
    let tags: Vec<_> = intervals.iter().take(6).map(|(_, series, scope, _)| (series.name(), scope)).collect();
    place(("yes", count.min(6), packed.min(20), tags))
}

/// A line whose histogram is `raw` before it was compressed.
fn line(raw: &[u8]) -> Vec<u8> {
    let mut compressed = 0x1c84_9314_u32.to_be_bytes().to_vec();
    compressed.extend([0; 4]);
    let mut zlib = ZlibEncoder::new(&mut compressed, Compression::fast());
    zlib.write_all(raw).and_then(|()| zlib.finish().map(drop)).expect("memory takes it");
    format!("Tag=rtt,3.000,1.000,2.0,{}\n", STANDARD.encode(compressed)).into_bytes()
}
