//! The checks of everything that reads what others have written, one home for both who run them: libFuzzer
//! (`fuzz_targets/`), and the replay of `tests/corpus` in the ordinary tests (`tests/it/corpus.rs`).
//!
//! A check panics where an invariant is broken: no panic of ours, no hang, nothing unbounded, and what is
//! printed reads back as what it was.

pub mod ari_call;
pub mod capture;
pub mod dialog;
pub mod echo;
pub mod external;
mod far;
pub mod folder;
pub mod framing;
pub mod load;
pub mod log;
pub mod media;
pub mod register;
pub mod signalling;
pub mod srtp;
pub mod text;
pub mod trials;

/// A check, and the name of its folder in `tests/corpus`, its program in `fuzz_targets` and its words in `dict`.
pub type Target = (&'static str, fn(&[u8]));

/// All checks.
pub const TARGETS: &[Target] = &[
    ("sip", signalling::message),
    ("framing", framing::stream),
    ("call", dialog::call),
    ("dialog", dialog::dialog),
    ("load", load::load),
    ("sdp", signalling::description),
    ("rtp", media::datagram),
    ("stream", media::stream),
    ("srtp", srtp::srtp),
    ("echo", echo::echo),
    ("hlog", log::intervals),
    ("folder", folder::folder),
    ("event", text::event),
    ("ari_call", ari_call::ari_call),
    ("body", text::body),
    ("gate", text::gate),
    ("scenario", text::scenario),
    ("trials", trials::trials),
    ("accounts", text::accounts),
    ("register", register::register),
    ("capture", capture::capture),
    ("audiosocket", external::audiosocket),
    ("websocket", external::websocket),
    ("talk", external::talk),
    ("coder", external::coder),
    ("wav", external::wav),
];
