//! The cells of the heat map: calls and seconds put into rows and columns, and their colours.

use std::collections::HashMap;

use super::axis::Axis;
use super::notes::{CellsNote, rounded};
use crate::metrics::Summary;
use crate::record::{CallRecord, CallSecond};

/// Number of steps in the scale of colours.
pub(super) const STEPS: usize = 24;
/// Index of a cell in which a call sent, and nothing came back.
pub(super) const SILENT: u8 = STEPS as u8 + 1;

/// A call that sent for less of a second than this, and heard nothing in it, may just have begun or ended.
const LEAST_SENT_S: f64 = 0.2;

/// Viridis at every tenth, after its darkest: perceptually uniform, told apart by colour-blind readers
/// too, and without the colour of loss. Slow cells are bright, and stand out from dark ones on any
/// ground; the darkest tenth would be lost on a dark one.
const VIRIDIS: [[u8; 3]; 10] = [
    [0x48, 0x24, 0x75],
    [0x41, 0x44, 0x87],
    [0x35, 0x5f, 0x8d],
    [0x2a, 0x78, 0x8e],
    [0x21, 0x91, 0x8c],
    [0x22, 0xa8, 0x84],
    [0x44, 0xbf, 0x70],
    [0x7a, 0xd1, 0x51],
    [0xbd, 0xdf, 0x26],
    [0xfd, 0xe7, 0x25],
];

/// The colour of a step of the scale, 0 being the fastest.
pub(super) fn colour(step: usize) -> [u8; 3] {
    let at = step.min(STEPS - 1) as f64 / (STEPS - 1) as f64 * (VIRIDIS.len() - 1) as f64;
    let below = (at as usize).min(VIRIDIS.len() - 2);
    let share = at - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    [0, 1, 2].map(|part| mix(VIRIDIS[below][part], VIRIDIS[below + 1][part]))
}

/// Content of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
enum HeatCell {
    /// No call.
    Empty,
    /// The largest of the per-second medians in it, in ms.
    Ms(f32),
    /// A call sent, and nothing came back.
    Silent,
}

/// Meaning of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOf {
    /// One call after another, in the order of their numbers.
    Calls,
    /// Lines of calls, each of which holds one call after another.
    Lines,
}

/// Calls × time, no larger than asked for, however long the run and however many its calls.
#[derive(Debug)]
pub(super) struct Grid {
    pub columns: usize,
    pub rows: usize,
    pub row_of: RowOf,
    /// Calls or lines in all rows together.
    pub slots: u32,
    /// Seconds in all columns together.
    pub seconds: u32,
    /// Row by row, the first call's first.
    cells: Vec<HeatCell>,
}

impl Grid {
    /// Fills at most `most_columns` × `most_rows` cells, each with the worst second that falls into it.
    pub(super) fn of(summary: &Summary, most_columns: usize, most_rows: usize) -> Grid {
        let seconds = summary.seconds.last().map_or(0, |s| s.second.saturating_add(1));
        let calls = summary.calls.iter().map(|c| c.call.saturating_add(1)).max().unwrap_or(0);
        let lines = summary.calls.iter().map(|c| c.line.saturating_add(1)).max().unwrap_or(0);
        let (row_of, slots) =
            if calls as usize <= most_rows { (RowOf::Calls, calls) } else { (RowOf::Lines, lines) };
        let columns = (seconds as usize).min(most_columns);
        let rows = (slots as usize).min(most_rows);
        let cells = vec![HeatCell::Empty; columns * rows];
        let mut grid = Grid { columns, rows, row_of, slots, seconds, cells };
        let mut medians: HashMap<u32, &[CallSecond]> =
            summary.call_seconds.chunk_by(|a, b| a.call == b.call).map(|m| (m[0].call, m)).collect();
        let is_recorded = !summary.call_seconds.is_empty();
        let ptime_s = summary.environment.ptime_ms as f64 / 1000.0;
        for call in &summary.calls {
            let medians = medians.remove(&call.call).unwrap_or_default();
            let row = grid.row(match row_of {
                RowOf::Calls => call.call,
                RowOf::Lines => call.line,
            });
            for m in medians {
                grid.put(row, m.second, m.rtt_p50_ms);
            }
            // Runs of older versions have no medians, which does not mean that nothing came back.
            if is_recorded || call.total_received == 0 {
                grid.silences(row, call, medians, ptime_s);
            }
        }
        grid
    }

    /// Marks the seconds in which the call sent for a while and nothing came back.
    fn silences(&mut self, row: usize, call: &CallRecord, medians: &[CallSecond], ptime_s: f64) {
        let Some(from) = call.answered_s() else { return };
        let to = (from + call.total_sent as f64 * ptime_s).min(f64::from(self.seconds));
        // A second without a median need not be silent: packets that come back after the next second's first
        // are left out of it.
        let missing_s = call.total_sent.saturating_sub(call.total_received) as f64 * ptime_s;
        if missing_s < LEAST_SENT_S {
            return;
        }
        let (first, last) = ((from + LEAST_SENT_S - 1.0).ceil(), (to - LEAST_SENT_S).floor());
        if last < 0.0 {
            return;
        }
        let (mut next, end) = (first as u32, (last as u32).saturating_add(1));
        for median in medians {
            self.silence(row, next, median.second.min(end));
            next = next.max(median.second.saturating_add(1));
        }
        self.silence(row, next, end);
    }

    /// Marks the seconds from one to before another. Goes by columns, so that no time is too long for it.
    fn silence(&mut self, row: usize, from: u32, to: u32) {
        if from < to.min(self.seconds) && row < self.rows {
            let columns = self.column(from)..=self.column(to.min(self.seconds) - 1);
            columns.for_each(|column| self.cells[row * self.columns + column] = HeatCell::Silent);
        }
    }

    /// The column of a second of the run.
    fn column(&self, second: u32) -> usize {
        second as usize * self.columns / self.seconds as usize
    }

    fn row(&self, slot: u32) -> usize {
        slot as usize * self.rows / self.slots.max(1) as usize
    }

    fn put(&mut self, row: usize, second: u32, ms: f32) {
        if second >= self.seconds || row >= self.rows {
            return;
        }
        let place = row * self.columns + self.column(second);
        self.cells[place] = match self.cells[place] {
            HeatCell::Silent => HeatCell::Silent,
            HeatCell::Ms(other) => HeatCell::Ms(other.max(ms)),
            HeatCell::Empty => HeatCell::Ms(ms),
        };
    }

    /// Medians in the cells, in ms.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> + Clone {
        self.cells.iter().filter_map(|c| if let HeatCell::Ms(ms) = c { Some(f64::from(*ms)) } else { None })
    }

    /// The cells for the page's script, the last row first: rows are counted upwards.
    pub(super) fn notes(&self) -> CellsNote {
        let value = |cell: &HeatCell| match cell {
            HeatCell::Empty => None,
            HeatCell::Ms(ms) => Some(rounded(f64::from(*ms))),
            HeatCell::Silent => Some(-1.0),
        };
        let name = |row: usize| {
            let (of, many) = match self.row_of {
                RowOf::Calls => ("call", "calls"),
                RowOf::Lines => ("line", "lines"),
            };
            let first = |row: usize| (row * self.slots as usize).div_ceil(self.rows);
            match (first(row), first(row + 1) - 1) {
                (first, last) if first == last => format!("{of} {first}"),
                (first, last) => format!("{many} {first} to {last}"),
            }
        };
        let rows = self.cells.chunks(self.columns.max(1)).rev();
        CellsNote {
            rows: (0..self.rows).rev().map(name).collect(),
            values: rows.map(|row| row.iter().map(value).collect()).collect(),
        }
    }

    /// True if all cells are empty.
    pub(super) fn is_empty(&self) -> bool {
        self.cells.iter().all(|c| *c == HeatCell::Empty)
    }

    /// The cells as indices into the palette of `image`, the last row first: rows are counted upwards.
    pub(super) fn indices(&self, scale: &Axis) -> Vec<u8> {
        let index = |cell: &HeatCell| match cell {
            HeatCell::Empty => 0,
            HeatCell::Ms(ms) => {
                ((scale.share(f64::from(*ms)) * STEPS as f64) as usize).min(STEPS - 1) as u8 + 1
            }
            HeatCell::Silent => SILENT,
        };
        self.cells.chunks(self.columns.max(1)).rev().flatten().map(index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::charts::theme::Ink;
    use crate::report::fixture;

    /// A colour in CIE L*a*b*, as seen with all receptors or without those for green (Machado, Oliveira and
    /// Fernandes 2009, deuteranomaly of severity 1).
    fn seen([r, g, b]: [u8; 3], without_green: bool) -> [f64; 3] {
        let linear = |c: u8| match f64::from(c) / 255.0 {
            c if c <= 0.04045 => c / 12.92,
            c => ((c + 0.055) / 1.055).powf(2.4),
        };
        let (r, g, b) = (linear(r), linear(g), linear(b));
        let (r, g, b) = match without_green {
            true => (
                0.367_322 * r + 0.860_646 * g - 0.227_968 * b,
                0.280_085 * r + 0.672_501 * g + 0.047_413 * b,
                -0.011_820 * r + 0.042_940 * g + 0.968_881 * b,
            ),
            false => (r, g, b),
        };
        let x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505;
        let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089;
        let [x, y, z] = [x, y, z].map(|t| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    fn apart(a: [f64; 3], b: [f64; 3]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn the_scale_gets_brighter_evenly_and_is_never_taken_for_silence() {
        let rgb = Ink::Vermillion.rgb();
        for without_green in [false, true] {
            let scale: Vec<_> = (0..STEPS).map(|step| seen(colour(step), without_green)).collect();
            for pair in scale.windows(2) {
                let brighter = pair[1][0] - pair[0][0];
                assert!((1.5..6.0).contains(&brighter), "{brighter}: {pair:?}");
            }
            let silent = seen([rgb.0, rgb.1, rgb.2], without_green);
            for (step, colour) in scale.iter().enumerate() {
                let apart = apart(*colour, silent);
                assert!(apart > 20.0, "step {step} is {apart} from silence, without green {without_green}");
            }
        }
    }

    #[test]
    fn a_cell_has_the_worst_of_what_falls_into_it() {
        let (summary, _) = fixture::typical();
        let whole = Grid::of(&summary, 1000, 1000);
        assert_eq!((whole.columns, whole.rows, whole.row_of), (313, 51, RowOf::Calls));
        let small = Grid::of(&summary, 20, 10);
        assert_eq!((small.columns, small.rows, small.row_of), (20, 10, RowOf::Lines));
        let largest = |grid: &Grid| grid.values().fold(0.0, f64::max);
        assert_eq!(largest(&whole), largest(&small));
        let silent = |grid: &Grid| grid.cells.iter().filter(|c| **c == HeatCell::Silent).count();
        assert_eq!(silent(&whole), fixture::SILENT_SECONDS.len());
        assert!((1..=4).contains(&silent(&small)), "{}", silent(&small));
    }

    #[test]
    fn what_was_sent_and_not_answered_is_silent_and_what_was_not_recorded_is_not() {
        let cells = |run: &Summary| Grid::of(run, 1000, 1000).cells;
        let (all_lost, _) = fixture::all_lost();
        let seen = cells(&all_lost);
        assert!(seen.contains(&HeatCell::Silent) && !seen.iter().any(|c| matches!(c, HeatCell::Ms(_))));
        let (mut older, _) = fixture::typical();
        older.call_seconds.clear();
        assert!(Grid::of(&older, 1000, 1000).is_empty());
        let (mut all_back, _) = fixture::typical();
        for call in &mut all_back.calls {
            call.total_received = call.total_sent;
        }
        assert!(!cells(&all_back).contains(&HeatCell::Silent), "a median is missing, but no packet");
        assert!(Grid::of(&fixture::nothing_answered().0, 1000, 1000).is_empty());
        assert!(Grid::of(&fixture::no_seconds().0, 1000, 1000).is_empty());
    }

    #[test]
    fn no_number_in_a_table_is_too_odd() {
        let (mut summary, _) = fixture::typical();
        for odd in [0.0, -1e300, f64::NAN, f64::INFINITY, 1e12] {
            summary.calls[0].intended_s = odd;
            summary.calls[1].call = u32::MAX;
            summary.calls[2].total_sent = u64::MAX;
            summary.call_seconds[0].rtt_p50_ms = odd as f32;
            summary.call_seconds[1].second = u32::MAX;
            for second in [0, 312, u32::MAX] {
                summary.seconds[312].second = second;
                let grid = Grid::of(&summary, 30, 20);
                assert!(grid.columns <= 30 && grid.rows <= 20);
                let scale = Axis::log_ms(grid.values(), 8);
                assert!(grid.indices(&scale).iter().all(|index| *index <= SILENT));
            }
        }
    }
}
