//! `rtt.hlog`: the interval log as a file, in HdrHistogram's own log format.
//!
//! A line holds one interval: one second of one series. Its tag is the series' name, with `_outside` for
//! packets outside the measured window, and `_above` for those that took longer than 60 s: counts, all at
//! 60 s, kept apart so that no value is clipped. Of a run against several targets there is a line more for each, over the
//! whole run: the measured round trips of its calls, `rtt_target_0` and so on. Any tool for the format can read and add the lines.

use std::io::Read as _;
use std::str;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::{DIGITS, HIGHEST_NS, Intervals, LOWEST_NS, Latencies, MOST_TARGETS, Scope, Series};
use crate::stamp::Stamp;

/// Largest histogram taken from a file, decoded: more than ours can be, with 9 bytes for each of their
/// 18,432 counts.
const MOST_BYTES: u64 = 256 << 10;
/// Most packets of one interval: far more than can be, and so few that no sum of a file's can overflow.
pub(super) const MOST_PACKETS: u64 = 1 << 36;
/// Most counts that a log may unpack to, by its length. Ours hold less than one a byte; a few bytes of
/// equal counts would otherwise unpack to a hundred times their length.
const MOST_COUNTS_A_BYTE: u64 = 16;
/// Counts that any log may unpack to.
const COUNTS_OF_ANY_LOG: u64 = 1 << 20;
/// Counts that a log may unpack to at the most: those of a day of hundreds of calls.
const MOST_COUNTS: u64 = 1 << 28;
/// Places of counts that the histograms of a log may have together; each takes time to be passed, in use or not.
/// Two days of runs at the usual ranges have fewer.
const MOST_PLACES: u64 = 1 << 35;
/// Places that take as long as the rest of an interval's reading.
const PLACES_OF_A_LINE: u64 = 4096;
/// Latest second of a run: some hundred days.
const LAST_SECOND: u64 = 10_000_000;
/// Bytes before the counts: cookie, length of the counts, offset, digits, bounds, ratio.
const HEADER: usize = 40;
/// First bytes of a histogram of version 2 with word size 1, as it is and compressed
/// (`EncodableHistogram.java`).
const V2_COOKIE: u64 = 0x1c84_9313;
const V2_COMPRESSED_COOKIE: u64 = 0x1c84_9314;

const OUTSIDE: &str = "_outside";
const ABOVE: &str = "_above";
const TARGET: &str = "rtt_target_";

/// A line that is not one of an interval log, or whose histogram is damaged.
#[derive(Debug, thiserror::Error)]
#[error("rtt.hlog is damaged in line {line}: {why}")]
pub struct Damaged {
    /// From 1.
    line: usize,
    why: String,
}

/// Writes the intervals of a run that began at `epoch`. Values are nanoseconds; the column of largest
/// values is in milliseconds.
pub fn write(intervals: &Intervals, epoch: Stamp) -> Vec<u8> {
    // Invariant: memory takes what is written, and no count of packets comes near the 2^63 that a line can
    // hold.
    const WRITTEN: &str = "it can be written";
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let start = UNIX_EPOCH + Duration::from_nanos(epoch.as_ns());
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("loadtest: latencies in ns by second, a tag per series")
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut bytes, &mut serializer)
        .expect(WRITTEN);
    let mut lines = |(from, length): (u32, u32), latencies: &Latencies, tag: &str| {
        let mut line = |histogram: &Histogram<u64>, tag: &str| {
            let (from, length) = (Duration::from_secs(from.into()), Duration::from_secs(length.into()));
            log.write_histogram(histogram, from, length, Tag::new(tag)).expect(WRITTEN);
        };
        if latencies.len() > latencies.above() {
            line(latencies.histogram(), tag);
        }
        if latencies.above() > 0 {
            let mut above = Latencies::default();
            above.record_n(HIGHEST_NS, latencies.above());
            line(above.histogram(), &format!("{tag}{ABOVE}"));
        }
    };
    for (second, series, scope, latencies) in intervals.iter() {
        let tag = format!("{}{}", series.name(), if scope == Scope::Outside { OUTSIDE } else { "" });
        lines((second, 1), &latencies, &tag);
    }
    let whole = (0, intervals.last_second() + 1);
    intervals
        .targets()
        .for_each(|(target, latencies)| lines(whole, &latencies, &format!("{TARGET}{target}")));
    bytes
}

/// Reads what [`write()`] wrote, and the log of format 1. Unknown tags are passed over; intervals of the
/// same second and tag are added.
///
/// # Errors
/// The first line that is [`Damaged`].
pub fn read(bytes: &[u8]) -> Result<Intervals, Damaged> {
    let mut intervals = Intervals::default();
    let mut counts_left = COUNTS_OF_ANY_LOG
        .saturating_add(MOST_COUNTS_A_BYTE.saturating_mul(bytes.len() as u64))
        .min(MOST_COUNTS);
    let mut places_left = MOST_PLACES;
    // Line by line: given a whole log, the library looks for a point far beyond a line that has none.
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let damaged = |why: String| Damaged { line: number + 1, why };
        let interval = match IntervalLogIterator::new(line).next() {
            Some(Ok(LogEntry::Interval(interval))) => interval,
            Some(Err(_)) => return Err(damaged("it is neither an interval nor a comment".into())),
            Some(Ok(_)) | None => {
                if let Some((series, above)) = above_of_format_1(line) {
                    let mut latencies = Latencies::default();
                    latencies.record_n(u64::MAX, above.min(MOST_PACKETS));
                    intervals.add(0, series, Scope::Measured, &latencies);
                }
                continue;
            }
        };
        let tag = interval.tag().map_or("", |tag| tag.as_str());
        let (name, is_above) = tag.strip_suffix(ABOVE).map_or((tag, false), |name| (name, true));
        let (name, scope) =
            name.strip_suffix(OUTSIDE).map_or((name, Scope::Measured), |name| (name, Scope::Outside));
        let target = name.strip_prefix(TARGET).and_then(|number| number.parse::<u32>().ok());
        // Of a target there are measured packets alone.
        let target = target.filter(|n| scope == Scope::Measured && (*n as usize) < MOST_TARGETS);
        let series = match (target, name.parse::<Series>()) {
            (Some(_), _) => Series::Rtt,
            (None, Ok(series)) => series,
            (None, Err(_)) => continue,
        };
        let second = interval.start_timestamp().as_secs();
        let second = u32::try_from(second)
            .ok()
            .filter(|_| second <= LAST_SECOND)
            .ok_or_else(|| damaged("it begins after more than a hundred days".into()))?;
        let histogram = histogram(interval.encoded_histogram(), &mut places_left).map_err(damaged)?;
        let mut latencies = Latencies::default();
        if is_above {
            latencies.record_n(u64::MAX, histogram.len());
        } else {
            let recorded = || histogram.iter_recorded();
            counts_left = counts_left
                .checked_sub(recorded().count() as u64)
                .ok_or_else(|| damaged("the log unpacks to far more than its length".into()))?;
            let lowest = |value| histogram.lowest_equivalent(value);
            latencies.extend(recorded().map(|v| (lowest(v.value_iterated_to()), v.count_at_value())));
        }
        match target {
            Some(target) => intervals.add_target(target, &latencies),
            None => intervals.add(second, series, scope, &latencies),
        }
    }
    Ok(intervals)
}

/// Decodes a histogram of this tool's resolution. Its sizes are looked at before any is believed.
fn histogram(encoded: &str, places_left: &mut u64) -> Result<Histogram<u64>, String> {
    let wrong = |what: &str| format!("its histogram is {what}");
    let raw = STANDARD.decode(encoded).map_err(|e| wrong(&format!("no base64: {e}")))?;
    let compressed = raw.get(8..).ok_or_else(|| wrong("cut off"))?;
    if field(&raw, 0, 4) != V2_COMPRESSED_COOKIE {
        return Err(wrong("of another format"));
    }
    let mut raw = Vec::new();
    let inflated = ZlibDecoder::new(compressed).take(MOST_BYTES).read_to_end(&mut raw);
    inflated.map_err(|e| wrong(&format!("not compressed as it should be: {e}")))?;
    let [cookie, counts, digits, lowest, highest] =
        [(0, 4), (4, 4), (12, 4), (16, 8), (24, 8)].map(|(at, length)| field(&raw, at, length));
    if raw.len() < HEADER || counts != (raw.len() - HEADER) as u64 {
        return Err(wrong("cut off, or too large"));
    }
    // The library would unpack one that is compressed once more, without a bound.
    if cookie != V2_COOKIE {
        return Err(wrong("of another format"));
    }
    if (digits, lowest) != (DIGITS.into(), LOWEST_NS) || highest > HIGHEST_NS.next_power_of_two() {
        return Err(wrong("of another resolution"));
    }
    let places = PLACES_OF_A_LINE + places(highest);
    *places_left = places_left.checked_sub(places).ok_or("the log takes more time to read than any run's")?;
    // As a number this is i64::MIN, which the library negates.
    if raw[HEADER..].windows(9).any(|bytes| bytes == [0xff; 9]) {
        return Err(wrong("damaged"));
    }
    let histogram: Histogram<u64> =
        Deserializer::new().deserialize(&mut raw.as_slice()).map_err(|e| wrong(&format!("damaged: {e}")))?;
    if histogram.len() > MOST_PACKETS { Err(wrong("of too many packets")) } else { Ok(histogram) }
}

/// Places of counts in a histogram up to `highest`: 1024 for each doubling beyond the first 2048 of 512 ns.
fn places(highest: u64) -> u64 {
    1024 * (2 + u64::from((u64::BITS - highest.leading_zeros()).saturating_sub(20)))
}

/// A big-endian number; 0 where the bytes end before.
fn field(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.get(at..at + length).unwrap_or_default();
    bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte))
}

/// The count in a comment of format 1, `#rtt: 3 above 60 s`.
fn above_of_format_1(line: &[u8]) -> Option<(Series, u64)> {
    let (name, rest) = str::from_utf8(line).ok()?.trim_end().strip_prefix('#')?.split_once(": ")?;
    Some((name.parse().ok()?, rest.strip_suffix(" above 60 s")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Stamp = Stamp::from_ns(1_763_800_000_123_456_789);

    fn log(packets: &[(u32, bool, bool, u64)]) -> Intervals {
        let mut intervals = Intervals::default();
        for (second, is_rtt, is_measured, ns) in packets {
            let mut latencies = Latencies::default();
            latencies.record(*ns);
            let series = if *is_rtt { Series::Rtt } else { Series::SendLateness };
            let scope = if *is_measured { Scope::Measured } else { Scope::Outside };
            intervals.add(*second, series, scope, &latencies);
        }
        intervals
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

        #[test]
        fn intervals_come_back_count_for_count(
            packets in prop::collection::vec((0u32..4000, any::<bool>(), any::<bool>(), 0u64..80_000_000_000), 0..20)
        ) {
            let mut written = log(&packets);
            for (second, .., ns) in &packets {
                let mut latencies = Latencies::default();
                latencies.record(*ns);
                written.add_target(second % 3, &latencies);
            }
            prop_assert_eq!(read(&write(&written, EPOCH)).unwrap(), written);
        }

        #[test]
        fn no_line_is_too_strange(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            counts in prop::collection::vec(prop::sample::select(vec![0xffu8, 0xff, 0x80, 1, 0]), 0..60),
        ) {
            let _ = read(&bytes);
            let line = |raw: &[u8]| {
                let line = format!("Tag=rtt,0.000,1.000,2.0,{}\n", payload(raw));
                read(line.as_bytes()).is_ok()
            };
            line(&bytes);
            line(&header(counts.len() as u32, 1000, 60_000_000_000, &counts));
        }
    }

    #[test]
    fn a_log_that_unpacks_to_far_more_than_its_length_is_refused() {
        let mut all = Latencies::default();
        let mut ns = LOWEST_NS;
        while ns < HIGHEST_NS {
            all.record(ns);
            ns = all.histogram().next_non_equivalent(ns);
        }
        let log = |seconds| {
            let mut intervals = Intervals::default();
            (0..seconds).for_each(|second| intervals.add(second, Series::Rtt, Scope::Measured, &all));
            write(&intervals, EPOCH)
        };
        assert!(read(&log(10)).is_ok());
        let bomb = log(200);
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        let refused = read(&bomb).unwrap_err().to_string();
        assert!(refused.contains("unpacks to far more"), "{refused}");
    }

    #[test]
    fn what_a_log_takes_to_read_is_bounded_whatever_its_length() {
        let mut left = 3 * (PLACES_OF_A_LINE + places(HIGHEST_NS));
        let line = payload(&header(1, 1000, HIGHEST_NS, &[2]));
        let read: Vec<_> = (0..4).map(|_| histogram(&line, &mut left).is_ok()).collect();
        assert_eq!(read, [true, true, true, false]);
        for highest in [1, 2_000_000, 4_000_000, HIGHEST_NS] {
            let histogram = Histogram::<u64>::new_with_bounds(LOWEST_NS, highest.max(2000), DIGITS).unwrap();
            let exact = histogram.distinct_values() as u64;
            assert!(
                (exact..=exact + 1024).contains(&places(highest)),
                "{highest}: {} of {exact}",
                places(highest)
            );
        }
    }

    /// Raw histogram with a header of the format.
    fn header(length: u32, lowest: u64, highest: u64, counts: &[u8]) -> Vec<u8> {
        let mut raw = 0x1c84_9313_u32.to_be_bytes().to_vec();
        [length, 0, 3].into_iter().for_each(|n| raw.extend(n.to_be_bytes()));
        [lowest, highest].into_iter().for_each(|n| raw.extend(n.to_be_bytes()));
        raw.extend(1f64.to_be_bytes());
        raw.extend(counts);
        raw
    }

    /// A raw histogram as it stands in a line.
    fn payload(raw: &[u8]) -> String {
        use std::io::Write as _;
        let mut compressed = 0x1c84_9314_u32.to_be_bytes().to_vec();
        compressed.extend([0; 4]);
        let mut zlib = flate2::write::ZlibEncoder::new(&mut compressed, flate2::Compression::fast());
        zlib.write_all(raw).unwrap();
        zlib.finish().unwrap();
        STANDARD.encode(compressed)
    }

    #[test]
    fn other_tools_read_it_by_the_format_alone() {
        let intervals =
            log(&[(3, true, true, 5_000_000), (3, true, false, 7_000_000), (4, true, true, 61_000_000_000)]);
        let bytes = write(&intervals, EPOCH);
        let mut lines = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            match entry.unwrap() {
                LogEntry::StartTime(at) | LogEntry::BaseTime(at) => assert_eq!(at.as_secs(), 1_763_800_000),
                LogEntry::Interval(line) => {
                    let raw = STANDARD.decode(line.encoded_histogram()).unwrap();
                    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &raw[..]).unwrap();
                    let tag = line.tag().unwrap().as_str().to_string();
                    assert_eq!(line.duration(), Duration::from_secs(1));
                    lines.push((
                        tag,
                        line.start_timestamp().as_secs(),
                        histogram.len(),
                        line.max().round() as u64,
                    ));
                }
            }
        }
        let said = [("rtt", 3, 1, 5), ("rtt_outside", 3, 1, 7), ("rtt_above", 4, 1, 60_029)];
        assert_eq!(lines, said.map(|(tag, second, count, ms)| (tag.to_string(), second, count, ms)));
    }

    #[test]
    fn damage_is_named_by_its_line_and_nothing_in_a_file_is_believed() {
        let said = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(said("#[StartTime: 1.0]\nTag=rtt,0.0,1.0,2.0,AAAA\n").contains("line 2"));
        assert!(said("nonsense\n").contains("line 1"));
        assert!(said("Tag=rtt,99999999999.0,1.0,2.0,AAAA\n").contains("hundred days"));
        assert!(said("Tag=rtt,10000001.0,1.0,2.0,AAAA\n").contains("hundred days"));
        let line = |raw: &[u8]| said(&format!("Tag=rtt,0.0,1.0,2.0,{}\n", payload(raw)));
        assert!(line(&header(u32::MAX, 1000, 60_000_000_000, &[2])).contains("cut off"));
        assert!(line(&header(1, 1, 60_000_000_000, &[2])).contains("resolution"));
        assert!(line(&header(1, 1000, u64::MAX, &[2])).contains("resolution"));
        assert!(line(&header(9, 1000, 60_000_000_000, &[0xff; 9])).contains("damaged"));
        let many = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(line(&header(8, 1000, 60_000_000_000, &many)).contains("too many packets"));
        assert!(line(&vec![0; 1 << 20]).contains("too large"));
        // Compressed once more, or not at all: the cookie of another kind of payload.
        let mut nested = header(0, 1000, 60_000_000_000, &[]);
        nested[..4].copy_from_slice(&0x1c84_9314_u32.to_be_bytes());
        assert!(line(&nested).contains("another format"));
        let bare = STANDARD.encode(header(1, 1000, 60_000_000_000, &[2]));
        assert!(said(&format!("Tag=rtt,0.0,1.0,2.0,{bare}\n")).contains("another format"));
        assert!(read(b"").unwrap().iter().next().is_none());
        // More targets than there can be, no number, and packets outside the measured window.
        for number in ["64", "-1", "4294967296", "x", "", "1_outside", "1_outside_above"] {
            let line = format!("Tag=rtt_target_{number},0.0,1.0,2.0,AAAA\n");
            assert_eq!(read(line.as_bytes()).unwrap(), Intervals::default(), "{number}");
        }
        // Another's tag.
        assert!(read(b"Tag=else,0.0,1.0,2.0,AAAA\n").unwrap().iter().next().is_none());
    }

    #[test]
    fn a_log_of_many_lines_without_a_number_is_read_in_one_pass() {
        let log = "#\n".repeat(1 << 17);
        assert!(read(log.as_bytes()).unwrap().iter().next().is_none());
    }

    #[test]
    fn format_1_kept_counts_above_the_bounds_in_comments() {
        let log = read(b"#rtt: 3 above 60 s\n#rtt: many above 60 s\n#else\n").unwrap();
        assert_eq!(log.totals_among(|_| true)[&Series::Rtt].above(), 3);
    }
}
