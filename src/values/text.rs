//! Text that others have written, made fit for a line of a log or a report.

use std::fmt::Write as _;

/// Text with a blank in place of each control character, which could end the line or move a terminal's cursor. Reports
/// show a mark instead ([`super::visible`]): there it matters that something was hidden.
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The first `most` bytes of `text` and, where that is not all, its length. Control characters become blanks.
pub fn cut(text: &str, most: usize) -> String {
    // The start of the text is always a boundary.
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let mut shown = one_line(&text[..end]);
    if end < text.len() {
        // Writing to a string does not fail.
        let _ = write!(shown, "… ({} bytes)", text.len());
    }
    shown
}

/// Columns that printed text keeps to where it can.
pub const WIDTH: usize = 80;

/// Text in lines of `width` columns where its words allow it.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{cut, wrapped};

    #[test]
    fn long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("short\u{1b}[1m", 20), "short [1m");
        assert_eq!(cut("ééé", 3), "é… (6 bytes)");
        assert_eq!(cut("", 3), "");
        assert_eq!(cut(&"x".repeat(1 << 20), 4), "xxxx… (1048576 bytes)");
    }

    #[test]
    fn words_are_kept_whole_and_lines_short() {
        assert_eq!(wrapped("  one two\nthree  ✓✓✓✓✓✓✓✓ x", 8), ["one two", "three", "✓✓✓✓✓✓✓✓", "x"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
        assert!(wrapped(" ", 4).is_empty());
    }
}
