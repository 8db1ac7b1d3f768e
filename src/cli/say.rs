//! Printing that cannot fail and cannot be hijacked: a closed pipe or a full disk behind it must not cost a run, and
//! foreign text must not reach the terminal as anything but text.

use std::fmt::Display;
use std::io::Write as _;

use crate::report::terminal::COLOURS;
use crate::values::visible;

/// A line on standard output.
pub fn out(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{}", visible(&text.to_string()));
}

/// A line on standard output, in which our own colours stay.
pub fn coloured(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", with_own_colours(text));
}

/// A line on standard error.
pub fn err(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", visible(&text.to_string()));
}

/// Text made visible but for the codes that this program writes itself.
fn with_own_colours(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (n, part) in text.split('\x1b').enumerate() {
        let code = part.strip_prefix('[').and_then(|rest| rest.split_once('m'));
        match code.filter(|(code, _)| n > 0 && (COLOURS.contains(code) || *code == "0")) {
            Some((code, rest)) => shown.extend(["\x1b[", code, "m", &visible(rest)]),
            None if n == 0 => shown.push_str(&visible(part)),
            None => shown.extend([visible("\x1b"), visible(part)]),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_colours_stay_and_foreign_codes_are_shown() {
        assert_eq!(with_own_colours("\x1b[1;31mFAIL\x1b[0m x"), "\x1b[1;31mFAIL\x1b[0m x");
        assert_eq!(with_own_colours("a\x1b[2Jb\x1b]0;t\x07\x1b"), "a␛[2Jb␛]0;t␇␛");
        assert_eq!(with_own_colours("[1mx\u{202e}"), "[1mx⟨U+202E⟩");
    }
}
