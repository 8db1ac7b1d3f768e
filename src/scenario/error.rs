//! Errors of a scenario, shown with the line, the reason and the cure.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

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

/// Renders one problem under the line that it is about.
pub(super) fn render(
    text: &str,
    path: &str,
    message: &str,
    span: Option<Range<usize>>,
    cure: &str,
) -> String {
    let mut group = Group::with_title(Level::ERROR.primary_title(message));
    if let Some(span) = span {
        let start = span.start.min(text.len());
        let annotation = AnnotationKind::Primary.span(start..span.end.clamp(start, text.len()));
        group = group.element(Snippet::source(text).path(path).annotation(annotation));
    }
    if !cure.is_empty() {
        group = group.element(Level::HELP.message(cure));
    }
    Renderer::plain().render(&[group]).to_string()
}
