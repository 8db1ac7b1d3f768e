//! Printing that cannot fail: a closed pipe or a full disk behind it must not cost a run.

use std::fmt::Display;
use std::io::Write as _;

/// A line on standard output.
pub fn out(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on standard error.
pub fn err(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
