//! The interval log of a stored run, which may have been written by anybody.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use loadtest::record::hlog;
use loadtest::stamp::Stamp;

/// The input as a log, and as the one histogram of a log: behind base64 and compression no mutation of the
/// text would ever get.
pub fn intervals(input: &[u8]) {
    log(input);
    log(&line(input));
}

/// A log that is taken reads back the same when it is written by us, and takes memory by its length.
fn log(bytes: &[u8]) {
    let intervals = match hlog::read(bytes) {
        Ok(intervals) => intervals,
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() <= 256, "{said}");
            return;
        }
    };
    let (_, packed) = intervals.size();
    assert!(packed <= 20 * ((1 << 20) + 16 * bytes.len()), "{packed} bytes of {}", bytes.len());
    let written = hlog::write(&intervals, Stamp::ZERO);
    assert_eq!(hlog::read(&written).expect("ours is one"), intervals);
}

/// A line whose histogram is `raw` before it was compressed.
fn line(raw: &[u8]) -> Vec<u8> {
    let mut compressed = 0x1c84_9314_u32.to_be_bytes().to_vec();
    compressed.extend([0; 4]);
    let mut zlib = ZlibEncoder::new(&mut compressed, Compression::fast());
    zlib.write_all(raw).and_then(|()| zlib.finish().map(drop)).expect("memory takes it");
    format!("Tag=rtt,3.000,1.000,2.0,{}\n", STANDARD.encode(compressed)).into_bytes()
}
