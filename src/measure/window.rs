//! The measured window: which packets count towards the headline.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::Scope;
use crate::stamp::Stamp;

/// The hold phase as all threads see it. Unset, nothing is measured; it must be set before its
/// first packet is sent, and may later only be cut short to the present.
#[derive(Debug)]
pub struct Window {
    from: AtomicU64,
    to: AtomicU64,
}

impl Default for Window {
    fn default() -> Self {
        Window { from: AtomicU64::new(u64::MAX), to: AtomicU64::new(u64::MAX) }
    }
}

impl Window {
    /// Fixes the window: packets intended at or after `from` and before `to` count.
    pub fn set(&self, from: Stamp, to: Stamp) {
        self.to.store(to.as_ns(), Ordering::Relaxed);
        self.from.store(from.as_ns(), Ordering::Release);
    }

    /// Ends the window at `to` at the latest.
    pub fn cut(&self, to: Stamp) {
        self.to.fetch_min(to.as_ns(), Ordering::Relaxed);
    }

    /// Start and end, once set.
    pub fn bounds(&self) -> Option<(Stamp, Stamp)> {
        let from = self.from.load(Ordering::Acquire);
        let to = self.to.load(Ordering::Relaxed);
        (from != u64::MAX).then(|| (Stamp::from_ns(from), Stamp::from_ns(to.max(from))))
    }

    /// Times for which packets are intended that count, of a call that counts from `call_from` on. While the
    /// window is not set, everything lies before it.
    pub fn counted(&self, call_from: Stamp) -> Range<Stamp> {
        let from = Stamp::from_ns(self.from.load(Ordering::Acquire));
        from.max(call_from)..Stamp::from_ns(self.to.load(Ordering::Relaxed))
    }

    /// True if a packet intended at `at` counts, of such a call.
    pub fn holds(&self, at: Stamp, call_from: Stamp) -> bool {
        self.counted(call_from).contains(&at)
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
}
