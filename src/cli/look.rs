//! Colours and bars: only where somebody sees them, or asks for them.

use std::io::IsTerminal as _;

/// True if standard output takes colours: NO_COLOR, CLICOLOR_FORCE and CLICOLOR decide, else the terminal.
pub fn has_colours() -> bool {
    colours(variable, std::io::stdout().is_terminal())
}

/// True if standard error takes a bar that is drawn again and again.
pub fn has_bars() -> bool {
    std::io::stderr().is_terminal() && moves(variable)
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// By <https://no-color.org> and <https://bixense.com/clicolors>, as clap colours the help.
fn colours(variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let is = |name: &str, said: fn(&str) -> bool| variable(name).is_some_and(|value| said(&value));
    if is("NO_COLOR", |value| !value.is_empty()) {
        return false;
    }
    if is("CLICOLOR_FORCE", |value| value != "0") {
        return true;
    }
    is_terminal && !is("CLICOLOR", |value| value == "0") && moves(variable)
}

/// True if the terminal can do more than print one line after another.
fn moves(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").is_some_and(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them_unless_said_otherwise() {
        for (variables, is_terminal, expected) in [
            (&[("TERM", "xterm")][..], true, true),
            (&[("TERM", "xterm")], false, false),
            (&[("TERM", "dumb")], true, false),
            (&[], true, false),
            (&[("TERM", "xterm"), ("NO_COLOR", "1")], true, false),
            (&[("TERM", "xterm"), ("NO_COLOR", "")], true, true),
            (&[("CLICOLOR_FORCE", "1")], false, true),
            (&[("CLICOLOR_FORCE", "0")], false, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
            (&[("TERM", "xterm"), ("CLICOLOR", "0")], true, false),
            (&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], true, true),
        ] {
            let value = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
            };
            assert_eq!(colours(value, is_terminal), expected, "{variables:?} {is_terminal}");
        }
        assert!(!moves(|_| Some("dumb".into())) && moves(|_| Some("vt100".into())));
    }
}
