//! Foreign text made visible: characters that move a cursor, turn the direction of reading or hide are shown as
//! marks, so that no text poses as another.

use std::borrow::Cow;
use std::fmt::Write as _;

/// True for a character that acts on its surroundings or shows nothing: controls (C0, DEL, C1), controls of the
/// direction of text, zero-width ones, separators of lines and paragraphs, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}'
            | '\u{ffa0}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text with a mark in place of each hidden character but line breaks and tabs: `␛` for an escape, `⟨U+202E⟩` for
/// what has no picture. The marks mean nothing in Markdown, HTML, XML, CSV and JSON.
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |c, shown| match c {
        '\0'..='\x1f' => shown.extend(char::from_u32(0x2400 + c as u32)),
        '\x7f' => shown.push('\u{2421}'),
        c => {
            let _ = write!(shown, "⟨U+{:04X}⟩", c as u32);
        }
    })
}

/// A JSON document that means the same, with every hidden character escaped.
pub fn visible_json(document: &str) -> Cow<'_, str> {
    replaced(document, |c, shown| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    })
}

fn replaced(text: &str, mut replace: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    let is_replaced = |c: char| is_hidden(c) && c != '\n' && c != '\t';
    if !text.contains(is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) { replace(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hidden_characters_have_marks_and_others_stay() {
        assert_eq!(visible("a\x1b[31mb\r\x07\x7f\u{9b}"), "a␛[31mb␍␇␡⟨U+009B⟩");
        assert_eq!(
            visible("x\u{202e}y\u{2066}\u{200b}\u{feff}\u{2028}"),
            "x⟨U+202E⟩y⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩⟨U+2028⟩"
        );
        for plain in ["", "a\nb\tc", "Zürich 東京 … ✓ ±", "🙂"] {
            assert!(matches!(visible(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn a_json_document_means_the_same() {
        let value = serde_json::json!({"a\u{202e}": "\x1b[2J\u{9b}\u{e0041}ü\n"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = visible_json(&text);
        assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            let shown = visible(&text);
            prop_assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'));
            prop_assert_eq!(visible(&shown), shown.as_ref());
        }
    }
}
