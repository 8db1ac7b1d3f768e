//! Headlines: the figures that a reader sees first, each by its metric's name and with its words.

/// A card at the top of the page: metric, label, and the same of the control stream.
type Card = (&'static str, &'static str, Option<&'static str>);

/// Cards at the top of the page.
pub(super) const CARDS: [Card; 9] = [
    ("rtt.p50", "Median round trip", Some("control.p50")),
    ("rtt.p95", "95 % of packets are back within", Some("control.p95")),
    ("rtt.p99", "99 % of packets are back within", Some("control.p99")),
    ("rtt.p99.9", "99.9 % of packets are back within", Some("control.p99.9")),
    ("loss.ratio", "Packets lost", Some("control.lost_count")),
    ("late.ratio", "Packets too late to be played", None),
    ("mos.concealed", "Speech quality (MOS), estimated, 1 to 4.5", None),
    ("calls.answered", "Calls answered", None),
    ("answer_delay.p50", "Median time to answer", None),
];
/// Cards that are of packets: the first ones.
pub(super) const OF_PACKETS: usize = 7;
/// Those of a conversation.
pub(super) const TURNS: [Card; 6] = [
    ("turn.response.p50", "Median time until the service answers", None),
    ("turn.response.p95", "95 % of turns are answered within", None),
    ("turn.no_reply_ratio", "Turns without an answer", None),
    ("turn.count", "Turns judged", None),
    ("bargein.stop.p50", "Median time until it stops when interrupted", None),
    ("greeting.p50", "Median time until its greeting", None),
];
/// Those of calls whose path is measured by its audio.
pub(super) const SIGNALS: [Card; 4] = [
    ("signal_delay.p50", "Median delay of the audio", None),
    ("signal_delay.p95", "95 % of bursts are back within", None),
    ("signal_delay.rejected_ratio", "Bursts not found again", None),
    ("signal_delay.count", "Bursts found", None),
];
/// Those of calls that read aloud.
pub(super) const QUALITY: [Card; 4] = [
    ("speech_quality.p50", "Median quality of speech (MOS-LQO), 1 to 4.55", None),
    ("speech_quality.min", "Quality of the worst passage", None),
    ("speech_quality.unscored_ratio", "Passages without a score", None),
    ("speech_quality.count", "Passages scored", None),
];
/// One more of a run that registers.
pub(super) const REGISTERED: Card = ("register.ok_ratio", "Accounts registered", None);

/// A line of the text at the end of a run: its title, and metrics with their words.
type Line = (&'static str, &'static [(&'static str, &'static str)]);

/// Lines of the text at the end of a run.
pub(super) const LINES: [Line; 9] = [
    (
        "Round trip",
        &[("rtt.p50", "p50"), ("rtt.p95", "p95"), ("rtt.p99", "p99"), ("control.p99", "control p99")],
    ),
    (
        "Signal delay",
        &[
            ("signal_delay.p50", "p50"),
            ("signal_delay.p95", "p95"),
            ("signal_delay.max", "max"),
            ("signal_delay.rejected_ratio", "not found"),
            ("signal_delay.count", "found"),
        ],
    ),
    (
        "Speech",
        &[
            ("speech_quality.min", "MOS-LQO min"),
            ("speech_quality.p50", "p50"),
            ("speech_quality.missing_ratio", "missing"),
            ("speech_quality.unscored_ratio", "no score"),
            ("speech_quality.count", "scored"),
        ],
    ),
    (
        "Turns",
        &[
            ("turn.response.p50", "answered p50"),
            ("turn.response.p95", "p95"),
            ("turn.response.p99", "p99"),
            ("turn.no_reply_ratio", "not"),
            ("turn.count", "of"),
        ],
    ),
    (
        "Interrupted",
        &[("bargein.stop.p50", "silent p50"), ("bargein.stop.p95", "p95"), ("bargein.count", "of")],
    ),
    ("Packets", &[("loss.ratio", "lost"), ("late.ratio", "late"), ("mos.concealed", "MOS")]),
    ("Calls", &[("calls.attempts", "placed"), ("calls.answered", "answered"), ("answer_delay.p50", "in")]),
    (
        "Registered",
        &[("register.ok_ratio", "granted"), ("register.attempts", "of"), ("register.time.p50", "in")],
    ),
    (
        "CPU, cores",
        &[
            ("cpu.driver_mean", "driver"),
            ("cpu.service_mean", "service"),
            ("cpu.asterisk_mean", "Asterisk"),
            ("cpu.others_mean", "others"),
        ],
    ),
];

/// Latencies of `summary.md`, one row each.
pub(super) const LATENCIES: [(&str, &str); 6] = [
    ("rtt", "round trip"),
    ("control", "control stream, past Asterisk"),
    ("service_time", "service time"),
    ("answer_delay", "INVITE to 200"),
    ("first_echo", "200 to first echo"),
    ("send_lateness", "the driver's own lateness"),
];
/// Columns of latencies and stages.
pub(super) const STATISTICS: [&str; 4] = ["p50", "p95", "p99", "max"];

/// Counts and ratios of `summary.md`.
pub(super) const COUNTS: [(&str, &str); 13] = [
    ("calls.attempts", "calls"),
    ("calls.answered", "answered"),
    ("calls.dropped_count", "dropped"),
    ("calls.silent_count", "silent"),
    ("packets.sent", "packets"),
    ("loss.ratio", "lost"),
    ("late.ratio", "late"),
    ("mos.concealed", "MOS, estimated"),
    ("speech_quality.p50", "speech, median MOS-LQO"),
    ("speech_quality.min", "worst passage"),
    ("speech_quality.count", "passages"),
    ("register.attempts", "registrations"),
    ("register.ok_ratio", "registered"),
];

/// Stages of a call in the service, in the text at the end of a run.
pub(super) const STAGES: [&str; 4] = ["answered", "bridged", "first_packet", "event_lag"];
