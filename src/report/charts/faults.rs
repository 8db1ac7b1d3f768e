//! Faults and stages in charts over time: numbers above the panel, their words in the legend, so that no label covers
//! the effect of a fault.

use super::canvas::Canvas;
use super::legend::{LegendKey, Mark};
use super::panel::Panel;
use super::theme::Ink;
use crate::analysis::fault::Recovery;
use crate::metrics::Summary;
use crate::report::stages;
use crate::report::words::{self, clock};

/// More faults than these have no words of their own in the legend.
const MOST_WORDS: usize = 6;

/// Writes the legend: other keys, then the faults or the stages by number. Leaves room above the first panel for the
/// numbers.
pub(super) fn legend(canvas: &mut Canvas, keys: Vec<LegendKey<'_>>, summary: &Summary) {
    let faults = &summary.faults;
    // A run has faults or stages, not both.
    let stages = summary.stages.iter().map(|stage| format!("from here on {}", stages::load(&stage.record)));
    let labels: Vec<String> = faults.iter().map(label).chain(stages).collect();
    let (count, what) = (labels.len(), if faults.is_empty() { "stages" } else { "faults" });
    let more = format!("{} to {count}: more {what}", MOST_WORDS + 1);
    let key = |(n, label)| LegendKey { label, ink: Ink::Vermillion, mark: Mark::Badge(n) };
    let numbered = (1..).zip(labels.iter().map(String::as_str)).take(MOST_WORDS).map(key);
    let mut keys: Vec<LegendKey<'_>> = keys.into_iter().chain(numbered).collect();
    if count > MOST_WORDS {
        keys.push(LegendKey { label: &more, ink: Ink::Vermillion, mark: Mark::Stroke });
    }
    if canvas.is_narrow() {
        // Each takes a line, which the panels would have to give up for it.
        canvas.grow(1.5 * count.min(MOST_WORDS + 1) as f64);
    } else if faults.iter().any(|f| f.fault.back_s.is_some()) {
        keys.push(LegendKey::new("back again", Ink::Text, Mark::DashedDown));
    }
    if count > 0 {
        canvas.leave_above(1.7);
    }
    canvas.legend(&keys);
}

/// `Asterisk killed at 1:40.2, back at 1:43.4`
fn label(fault: &Recovery) -> String {
    let at = |s: f64| clock(s, 0.1);
    let (what, done) = (words::one_line(&fault.what()), at(fault.fault.done_s));
    match fault.fault.back_s {
        Some(back) => format!("{what} at {done}, back at {}", at(back)),
        None => format!("{what} at {done}, never back"),
    }
}

/// Draws a line down at each fault, and one where its target was ready again.
pub(super) fn lines(panel: &Panel<'_>, summary: &Summary) {
    for fault in summary.faults.iter().map(|f| &f.fault) {
        panel.dashed_down(fault.done_s, Ink::Vermillion);
        if let Some(back) = fault.back_s {
            panel.dashed_down(back, Ink::Text);
        }
    }
}

/// As [`lines`], and above the panel each fault's number and a bar as long as the outage; the number of each stage
/// where its measured window begins.
pub(super) fn mark(panel: &Panel<'_>, summary: &Summary) {
    lines(panel, summary);
    let (canvas, place) = (panel.canvas, panel.place);
    for fault in summary.faults.iter().map(|f| &f.fault) {
        let (from, to) = (panel.across(fault.done_s), fault.back_s.map_or(place.right, |s| panel.across(s)));
        let (top, bottom) = (place.top - canvas.px(0.35), place.top - canvas.px(0.1));
        let to = (to.max(from + canvas.px(0.15)), bottom);
        panel.within(|| canvas.block((from, top), to, Ink::Vermillion, 1.0));
    }
    numbers(panel, summary.faults.iter().map(|f| f.fault.done_s));
    // A run has faults or stages, not both.
    numbers(panel, summary.stages.iter().filter_map(|stage| stage.record.from_s));
}

/// Numbers from 1 above the panel, at times in their order.
fn numbers(panel: &Panel<'_>, at: impl Iterator<Item = f64>) {
    let (canvas, place) = (panel.canvas, panel.place);
    let at: Vec<i32> = at.map(|at| panel.across(at)).collect();
    for badge in badges(&at, |label| canvas.badge_width(label)) {
        let half = canvas.badge_width(&badge.label()) / 2;
        let middle = badge.at.clamp(place.left + half, (place.right - half).max(place.left + half));
        panel.within(|| canvas.badge((middle, place.top - canvas.px(1.05)), &badge.label()));
    }
}

/// The number of one fault, or of several that lie too close for numbers of their own.
#[derive(Debug, PartialEq)]
struct Badge {
    at: i32,
    first: usize,
    last: usize,
}

impl Badge {
    fn label(&self) -> String {
        match self.last - self.first {
            0 => self.first.to_string(),
            1 => format!("{}, {}", self.first, self.last),
            _ => format!("{}–{}", self.first, self.last),
        }
    }
}

/// Numbers, from 1, for faults at these places in their order, none across another.
fn badges(at: &[i32], width: impl Fn(&str) -> i32) -> Vec<Badge> {
    let mut badges: Vec<Badge> = Vec::new();
    for (n, at) in (1..).zip(at) {
        let mut new = Badge { at: *at, first: n, last: n };
        while let Some(last) = badges.last() {
            let apart = (width(&last.label()) + width(&new.label())) / 2;
            if new.at - last.at > apart {
                break;
            }
            new = Badge { at: (last.at + new.at) / 2, first: last.first, last: new.last };
            badges.pop();
        }
        badges.push(new);
    }
    badges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn numbers_never_lie_across_each_other() {
        let width = |label: &str| 10 * label.chars().count() as i32 + 10;
        let labels = |at: &[i32]| badges(at, width).iter().map(Badge::label).collect::<Vec<_>>();
        assert_eq!(labels(&[0, 100, 200]), ["1", "2", "3"]);
        assert_eq!(labels(&[0, 100, 110]), ["1", "2, 3"]);
        assert_eq!(labels(&[0, 10, 20, 300]), ["1–3", "4"]);
        let many: Vec<i32> = (0..500).map(|n| n * 4).collect();
        let placed = badges(&many, width);
        for pair in placed.windows(2) {
            let apart = (width(&pair[0].label()) + width(&pair[1].label())) / 2;
            assert!(pair[1].at - pair[0].at > apart, "{pair:?}");
        }
        assert_eq!(placed.iter().map(|b| b.last - b.first + 1).sum::<usize>(), 500);
    }

    #[test]
    fn a_fault_that_ended_and_one_that_did_not_have_their_words() {
        let (mut summary, _) = fixture::faulted();
        summary.faults[1].fault.back_s = None;
        let all: Vec<String> = summary.faults.iter().map(label).collect();
        assert_eq!(
            all,
            ["Asterisk killed at 1:40.2, back at 1:43.4", "service restarted at 1:46.0, never back"]
        );
    }
}
