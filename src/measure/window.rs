//! The measured windows: which packets count towards the headline.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::record::Scope;
use crate::stamp::Stamp;

/// The hold phases as all threads see them, one a stage. Unset, nothing is measured; each must be set before its
/// first packet is sent, and may later only be cut short to the present.
#[derive(Debug)]
pub struct Window {
    bounds: [Bounds; MOST_WINDOWS],
    /// Number of those that are set.
    count: AtomicUsize,
}

/// Most windows of a run.
pub const MOST_WINDOWS: usize = 32;

/// One window.
#[derive(Debug)]
struct Bounds {
    from: AtomicU64,
    to: AtomicU64,
}

impl Bounds {
    fn get(&self) -> Range<Stamp> {
        Stamp::from_ns(self.from.load(Ordering::Relaxed))..Stamp::from_ns(self.to.load(Ordering::Relaxed))
    }
}

impl Default for Window {
    fn default() -> Self {
        let unset = |_| Bounds { from: AtomicU64::new(u64::MAX), to: AtomicU64::new(u64::MAX) };
        Window { bounds: std::array::from_fn(unset), count: AtomicUsize::new(0) }
    }
}

impl Window {
    /// Fixes a window, after those before it: packets intended at or after `from` and before `to` count.
    pub fn set(&self, from: Stamp, to: Stamp) {
        let count = self.count.load(Ordering::Relaxed);
        if let Some(bounds) = self.bounds.get(count) {
            bounds.to.store(to.as_ns(), Ordering::Relaxed);
            bounds.from.store(from.as_ns(), Ordering::Relaxed);
            self.count.store(count + 1, Ordering::Release);
        }
    }

    /// Those that are set, in turn.
    fn all(&self) -> &[Bounds] {
        &self.bounds[..self.count.load(Ordering::Acquire).min(MOST_WINDOWS)]
    }

    /// Ends all windows at `to` at the latest.
    pub fn cut(&self, to: Stamp) {
        for bounds in &self.bounds {
            bounds.to.fetch_min(to.as_ns(), Ordering::Relaxed);
        }
    }

    /// Start of the first and end of the last, once set.
    pub fn bounds(&self) -> Option<(Stamp, Stamp)> {
        let (first, last) = (self.all().first()?.get(), self.all().last()?.get());
        Some((first.start, last.end.max(last.start)))
    }

    /// Times for which packets are intended that count in the latest window, of a call that counts from `call_from`
    /// on. While no window is set, everything lies before it.
    pub fn counted(&self, call_from: Stamp) -> Range<Stamp> {
        let latest = self.all().last().unwrap_or(&self.bounds[0]).get();
        latest.start.max(call_from)..latest.end
    }

    /// True if a packet intended at `at` counts, of such a call.
    pub fn holds(&self, at: Stamp, call_from: Stamp) -> bool {
        call_from <= at && self.all().iter().rev().any(|bounds| bounds.get().contains(&at))
    }

    /// The intervals that count such a packet.
    pub fn scope(&self, at: Stamp, call_from: Stamp) -> Scope {
        if self.holds(at, call_from) { Scope::Measured } else { Scope::Outside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Stamp {
        Stamp::from_ns(s)
    }

    #[test]
    fn only_packets_inside_count_and_a_cut_only_shortens() {
        let w = Window::default();
        assert!(!w.holds(at(5), Stamp::ZERO) && w.bounds().is_none());
        w.set(at(10), at(20));
        w.cut(at(30));
        assert_eq!(w.bounds(), Some((at(10), at(20))));
        w.cut(at(15));
        let held: Vec<_> = (8..22).filter(|n| w.holds(at(*n), at(12))).collect();
        assert_eq!(held, [12, 13, 14]);
        w.cut(at(3));
        assert_eq!(w.bounds(), Some((at(10), at(10))));
    }

    #[test]
    fn packets_of_every_window_count_and_those_between_do_not() {
        let w = Window::default();
        w.set(at(10), at(20));
        w.set(at(30), at(40));
        let held = |call_from| (0..50).filter(|n| w.holds(at(*n), at(call_from))).collect::<Vec<_>>();
        assert_eq!(held(0), (10..20).chain(30..40).collect::<Vec<_>>());
        assert_eq!(held(15), (15..20).chain(30..40).collect::<Vec<_>>());
        assert_eq!((w.bounds(), w.counted(at(35))), (Some((at(10), at(40))), at(35)..at(40)));
        w.cut(at(33));
        assert_eq!(held(25), [30, 31, 32]);
        (0..100).for_each(|n| w.set(at(100 + n), at(101 + n)));
    }
}
