//! Excerpts of conversations on the page: a picture of each in both shapes, and its audio.

use crate::metrics::Summary;
use crate::record::Why;
use crate::report::charts::{Look, excerpts as pictures};
use crate::report::excerpts;

/// An excerpt.
pub(super) struct PageExcerpt {
    pub number: u32,
    pub title: String,
    pub wide: String,
    pub narrow: String,
    /// File of its audio, beside the page.
    pub audio: Option<String>,
}

/// The worst turns, and the named calls.
pub(super) fn of_page(summary: &Summary) -> (Vec<PageExcerpt>, Vec<PageExcerpt>) {
    let all = excerpts::all(summary);
    let excerpt = |(number, excerpt): (u32, &excerpts::Excerpt<'_>)| {
        let drawn = |look| pictures::inline(summary, excerpt, look);
        let shown = PageExcerpt {
            number,
            title: excerpts::title(excerpt, summary),
            wide: drawn(Look::Wide),
            narrow: drawn(Look::Narrow),
            audio: excerpt.head.audio_file().map(str::to_string),
        };
        (shown, excerpt.head.why == Why::Named)
    };
    let shown = (1..).zip(&all).map(excerpt);
    let (named, worst): (Vec<_>, Vec<_>) = shown.partition(|(_, is_named)| *is_named);
    let bare =
        |excerpts: Vec<(PageExcerpt, bool)>| excerpts.into_iter().map(|(excerpt, _)| excerpt).collect();
    (bare(worst), bare(named))
}
