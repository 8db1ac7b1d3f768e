//! Text of others in a cell of a table, which a spreadsheet must not take for a formula.

use std::borrow::Cow;

use serde::Serializer;

/// A cell that begins so is a formula to a spreadsheet, or becomes one (OWASP, "CSV Injection").
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];
/// Before it, a spreadsheet shows the cell as it is.
const TEXT: char = '\'';

/// True if a text is a formula behind any number of apostrophes.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches(TEXT).starts_with(FORMULA)
}

/// A cell's text, with an apostrophe before what would be a formula.
pub(crate) fn guarded(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("{TEXT}{text}")) } else { Cow::Borrowed(text) }
}

/// Writes a cell, guarded.
pub(super) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&guarded(text))
}

/// Takes that apostrophe away.
pub(super) fn restore(text: &mut String) {
    if text.starts_with(TEXT) && is_formula(text) {
        text.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut bytes = Vec::new();
        serialize(text, &mut serde_json::Serializer::new(&mut bytes)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    proptest! {
        #[test]
        fn no_cell_begins_as_a_formula_and_each_comes_back(text in "['=+@\t\r\na-]{0,4}.{0,4}") {
            let mut cell = written(&text);
            prop_assert!(!cell.starts_with(FORMULA), "{cell:?}");
            restore(&mut cell);
            prop_assert_eq!(cell, text);
        }
    }

    #[test]
    fn what_is_no_formula_stays_as_it_is() {
        assert_eq!(["Busy here", "'quoted'", "", "a=b"].map(written), ["Busy here", "'quoted'", "", "a=b"]);
        assert_eq!(written("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
    }
}
