//! Errors of a scenario, shown with the line, the reason and the cure.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::values::visible;

/// Problems of which all is told; others are counted.
pub const MOST_SHOWN: usize = 5;
/// Longest message or cure in characters, and longest piece of a line of the file on each side of the place.
const LONGEST: usize = 1000;
const LONGEST_BESIDE: usize = 100;

/// Something wrong, or doubtful, with one key of the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key: `media.ports`. Empty for the text as a whole.
    pub key: String,
    /// The fault.
    pub message: String,
    /// The cure.
    pub cure: String,
}

impl Problem {
    /// A problem with `key`.
    pub fn new(key: &str, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Problem { key: key.into(), message: message.into(), cure: cure.into() }
    }
}

/// Problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes what is wrong with `key`, if `is_broken`.
    pub fn refuse_if(
        &mut self,
        is_broken: bool,
        key: &str,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        if is_broken {
            self.0.push(Problem::new(key, message, cure));
        }
    }
}

/// A scenario that cannot be run, rendered for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rendered}")]
pub struct ScenarioError {
    /// Line, caret, reason and cure of every problem.
    pub rendered: String,
}

/// Renders one problem under the line that it is about, or with the file's name alone.
pub(super) fn render(
    text: &str,
    path: &str,
    message: &str,
    span: Option<Range<usize>>,
    cure: &str,
) -> String {
    let (message, cure) = (cut(message), cut(cure));
    let mut group = Group::with_title(Level::ERROR.primary_title(&*message));
    let line = span.map(|span| line(text, span));
    group = match &line {
        Some(Line { number, text, span }) => {
            let annotation = AnnotationKind::Primary.span(span.clone());
            group
                .element(Snippet::source(text.as_str()).path(path).line_start(*number).annotation(annotation))
        }
        None => group.element(Origin::path(path)),
    };
    if !cure.is_empty() {
        group = group.element(Level::HELP.message(&*cure));
    }
    without_passwords(&Renderer::plain().render(&[group]).to_string())
}

/// A text in which the users and passwords of addresses are crossed out, letter by letter, so that carets stay right: an
/// error is copied into logs and tickets.
pub(super) fn without_passwords(text: &str) -> String {
    text.split_inclusive(|c: char| c.is_whitespace() || "\"'`".contains(c)).map(crossed_out).collect()
}

/// A word, as `asterisk.ari=http://user:password@host`. The user of a SIP URI is no secret.
fn crossed_out(word: &str) -> Cow<'_, str> {
    let Some(at) = word.rfind('@') else { return word.into() };
    let scheme = word[..at].find("://").map(|colon| colon + 3);
    let begin = scheme.unwrap_or_else(|| word[..at].find('=').map_or(0, |equals| equals + 1));
    let info = &word[begin..at];
    let is_sip = ["sip:", "sips:"].iter().any(|scheme| info.starts_with(scheme));
    if scheme.is_none() && (is_sip || !info.contains(':')) {
        return word.into();
    }
    format!("{}{}{}", &word[..begin], "*".repeat(info.chars().count()), &word[at..]).into()
}

/// The first line of a place in a text, cut around the place where it is long.
struct Line {
    number: usize,
    text: String,
    span: Range<usize>,
}

fn line(text: &str, span: Range<usize>) -> Line {
    let at =
        |index: usize| (0..=index.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let start = at(span.start);
    let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let (from, to) =
        (at(begin.max(start.saturating_sub(LONGEST_BESIDE))), at(end.min(start + 2 * LONGEST_BESIDE)));
    let (before, after) = (if from > begin { "…" } else { "" }, if to < end { "…" } else { "" });
    let stop = at(span.end).clamp(start, to);
    // The renderer would put one mark for all that is hidden.
    let (left, place) = (visible(&text[from..start]), visible(&text[start..stop]));
    let right = visible(text[stop..to].trim_end_matches('\r'));
    let first = before.len() + left.len();
    Line {
        number: text[..begin].matches('\n').count() + 1,
        text: format!("{before}{left}{place}{right}{after}"),
        span: first..first + place.len(),
    }
}

/// `text` without what is beyond the longest that is worth reading.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_addresses_are_crossed_out_and_names_are_not() {
        for (text, shown) in [
            ("--set asterisk.ari=http://bob:S=3@h:8088\n", "--set asterisk.ari=http://*******@h:8088\n"),
            ("ari = \"bob:S3@h\"", "ari = \"******@h\""),
            ("`asterisk.ari=bob:S@h`", "`asterisk.ari=*****@h`"),
            (
                "to = \"sip:bob@h\", bob@h, --set sip.from=bob@h:5060",
                "to = \"sip:bob@h\", bob@h, --set sip.from=bob@h:5060",
            ),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}
