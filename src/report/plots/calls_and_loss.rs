//! `calls-and-loss.png`: calls up, attempts and failures, packets lost and late per second.

use super::axis::Axis;
use super::faults;
use super::figure::{DrawError, Drawn, Figure, Key, Mark, Rect};
use super::panel::Panel;
use super::theme::Ink;
use super::timeline;
use crate::metrics::Summary;
use crate::record::SecondRecord;

pub(super) fn draw(figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
    let keys = [
        Key { label: "calls up", ink: Ink::Blue, mark: Mark::Line },
        Key { label: "attempts", ink: Ink::Sky, mark: Mark::Block },
        Key { label: "late packets", ink: Ink::Orange, mark: Mark::Block },
        Key { label: "failed attempts, lost packets", ink: Ink::Vermillion, mark: Mark::Block },
        timeline::not_measured_key(figure),
    ];
    faults::legend(figure, &keys, summary)?;
    let [up, attempts, packets] = figure.rows([1.0, 0.8, 1.0]);
    let seconds = &summary.seconds;
    faults::mark(figure, &calls_up(figure, up, seconds)?, summary)?;
    faults::lines(&attempts_per_second(figure, attempts, seconds)?, summary)?;
    faults::lines(&packets_per_second(figure, packets, seconds)?, summary)
}

fn calls_up<'f, 'a>(
    figure: &'f Figure<'a>,
    place: Rect,
    seconds: &[SecondRecord],
) -> Result<Panel<'f, 'a>, DrawError> {
    let most = seconds.iter().map(|s| s.calls_up).max().unwrap_or(0);
    let panel = Panel::new(
        figure,
        place,
        timeline::axis(figure, seconds),
        Axis::whole(f64::from(most), place.labels(figure)),
    );
    timeline::shade_phases(&panel, seconds)?;
    panel.frame("calls up")?;
    // Counted at the end of each second.
    let ends = timeline::series(seconds, |s| Some(f64::from(s.calls_up))).map(|(x, y)| (x + 0.5, y));
    panel.area([(0.0, Some(0.0))].into_iter().chain(ends), Ink::Blue)?;
    Ok(panel)
}

fn attempts_per_second<'f, 'a>(
    figure: &'f Figure<'a>,
    place: Rect,
    seconds: &[SecondRecord],
) -> Result<Panel<'f, 'a>, DrawError> {
    let most = seconds.iter().map(|s| s.attempts.max(s.failed)).max().unwrap_or(0);
    let panel = Panel::new(
        figure,
        place,
        timeline::axis(figure, seconds),
        Axis::whole(f64::from(most), place.labels(figure)),
    );
    timeline::shade_phases(&panel, seconds)?;
    panel.frame("attempts and failures per second")?;
    let bars = |of: fn(&SecondRecord) -> u32| {
        seconds.iter().map(move |s| (f64::from(s.second), 0.0, f64::from(of(s))))
    };
    panel.bars(bars(|s| s.attempts), Ink::Sky)?;
    panel.bars(bars(|s| s.failed), Ink::Vermillion)?;
    Ok(panel)
}

fn packets_per_second<'f, 'a>(
    figure: &'f Figure<'a>,
    place: Rect,
    seconds: &[SecondRecord],
) -> Result<Panel<'f, 'a>, DrawError> {
    let most = seconds.iter().map(|s| s.lost + s.late).max().unwrap_or(0);
    let panel = Panel::new(
        figure,
        place,
        timeline::axis(figure, seconds),
        Axis::whole(most as f64, place.labels(figure)),
    );
    timeline::shade_phases(&panel, seconds)?;
    panel.frame("packets lost and late per second")?;
    panel.x_axis(timeline::TIME)?;
    panel.bars(seconds.iter().map(|s| (f64::from(s.second), 0.0, s.late as f64)), Ink::Orange)?;
    let on_top = |s: &SecondRecord| (f64::from(s.second), s.late as f64, (s.late + s.lost) as f64);
    panel.bars(seconds.iter().map(on_top), Ink::Vermillion)?;
    if most == 0 {
        panel.say("no packet was lost or late")?;
    }
    Ok(panel)
}
