//! A run seen in a terminal: colours and one bar where it has them, lines where it has not, a word at an early Ctrl-C.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Guarded, Place, ends_with};

const SHORT: &[&str] = &["load.calls=2", "load.duration=2s", "gates.require=[]"];

/// All that a run writes into a terminal of the kind `term`, with more variables.
fn in_terminal(place: &Place, term: &str, variables: &[(&str, &str)]) -> String {
    let run = place.run("smoke", SHORT);
    let words = std::iter::once(run.get_program()).chain(run.get_args());
    let quoted: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"]);
    script.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("TERM", term).envs(variables.iter().copied());
    let output = ends_with(script.stdout(Stdio::piped()), 0);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_terminal_gets_colours_and_one_bar_whose_share_never_falls() {
    let said = in_terminal(&Place::new(), "xterm", &[]);
    assert!(said.contains("\x1b[1"), "no colours:\n{said}");
    let shares = said.split("] ").filter_map(|rest| rest.split_once(" %")?.0.trim().parse::<u32>().ok());
    let shares: Vec<_> = shares.collect();
    assert!(shares.len() > 5 && shares.is_sorted(), "{shares:?}");
    for word in ["ramp [", "hold 1 of 2 s [", "hanging up [", "reports [", "drawing the charts"] {
        assert!(said.contains(word), "`{word}` is not in:\n{}", said.escape_debug());
    }
}

#[test]
fn a_dumb_terminal_gets_lines_without_colours() {
    let said = in_terminal(&Place::new(), "dumb", &[]);
    assert!(!said.contains('\x1b'), "{}", said.escape_debug());
    for word in ["hold 0 of 2 s", "placed", "drawing the charts"] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

#[test]
fn no_color_leaves_the_bar_and_takes_the_colours() {
    let said = in_terminal(&Place::new(), "xterm", &[("NO_COLOR", "1")]);
    let colours = said.split("\x1b[").skip(1).filter(|rest| {
        let code: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ';').collect();
        rest[code.len()..].starts_with('m')
    });
    assert_eq!(colours.count(), 0, "{}", said.escape_debug());
    assert!(said.contains("hold 1 of 2 s ["), "{}", said.escape_debug());
}

#[test]
fn ctrl_c_before_the_first_call_says_that_there_is_no_report() {
    let place = Place::new();
    // It never connects to ARI.
    let set = ["service.mode=command", "service.command=[\"sleep\", \"600\"]", "service.ready_within=5m"];
    let mut command = place.run("smoke", &set);
    let mut child =
        Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("held for")), "it has begun");
    child.signal(Signal::SIGINT);
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(rest.iter().any(|line| line == "interrupted before the first call; no report"), "{rest:?}");
    let mut out = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    assert_eq!(out, "");
    assert!(!place.out().exists(), "a folder without a run would look like one");
    place.assert_nothing_left();
}
