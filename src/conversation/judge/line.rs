//! Stretches of one side of a call, in order and apart, however they came.

use std::time::Duration;

use super::Discard;
use crate::speech::Segment;
use crate::stamp::Stamp;

/// Stretches in order, none empty, none touching another.
pub(super) struct Line(Vec<Segment>);

impl Line {
    /// Sorts and joins `parts`, and cuts off everything outside `span`.
    pub(super) fn new(parts: impl Iterator<Item = (Stamp, Stamp)>, span: (Stamp, Stamp)) -> Self {
        let cut = parts.map(|(from, to)| Segment { from: from.max(span.0), to: to.min(span.1) });
        let mut parts: Vec<_> = cut.filter(|part| part.from < part.to).collect();
        parts.sort_by_key(|part| part.from);
        parts.dedup_by(|later, earlier| {
            let is_joined = later.from <= earlier.to;
            if is_joined {
                earlier.to = earlier.to.max(later.to);
            }
            is_joined
        });
        Line(parts)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.0.iter()
    }

    /// Stretches that overlap `from` to `to`.
    pub(super) fn within(&self, from: Stamp, to: Stamp) -> &[Segment] {
        let first = self.0.partition_point(|part| part.to <= from);
        let end = self.0.partition_point(|part| part.from < to);
        self.0.get(first..end).unwrap_or_default()
    }

    /// The first stretch that begins at `from` or later, before `until`.
    pub(super) fn begun(&self, from: Stamp, until: Stamp) -> Option<Segment> {
        let first = self.0.partition_point(|part| part.from < from);
        self.0.get(first).filter(|part| part.from < until).copied()
    }

    /// Time covered between `from` and `to`.
    pub(super) fn shared(&self, from: Stamp, to: Stamp) -> Duration {
        let shared = self.within(from, to).iter().map(|part| part.to.min(to).since(part.from.max(from)));
        shared.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// A stretch touches `at`, or the time `near` before or after it.
    pub(super) fn is_near(&self, at: Stamp, near: Duration) -> bool {
        !self.within(at - near, at + near).is_empty()
    }

    /// End of the talk that goes on at `at`, up to the first `silence`.
    pub(super) fn talk_end(&self, at: Stamp, silence: Duration) -> Result<Stamp, Discard> {
        let first = self.0.partition_point(|part| part.to <= at);
        let parts = self.0.get(first..).unwrap_or_default();
        let going_on = parts.first().filter(|part| part.from < at).ok_or(Discard::NotTalking)?;
        let mut end = going_on.to;
        for part in &parts[1..] {
            if part.from.since(end) >= silence {
                break;
            }
            end = part.to;
        }
        Ok(end)
    }

    /// Talks: stretches with less than `silence` between them are one.
    pub(super) fn talks(&self, silence: Duration) -> impl Iterator<Item = (Stamp, Stamp)> {
        let parts = self.0.chunk_by(move |one, next| next.from.since(one.to) < silence);
        parts.filter_map(|talk| Some((talk.first()?.from, talk.last()?.to)))
    }

    /// Parts of these stretches that `other` leaves free.
    pub(super) fn without<'a>(&'a self, other: &'a Line) -> impl Iterator<Item = (Stamp, Stamp)> + 'a {
        self.0.iter().flat_map(|part| {
            let taken = other.within(part.from, part.to);
            let froms = [part.from].into_iter().chain(taken.iter().map(|taken| taken.to));
            let tos = taken.iter().map(|taken| taken.from).chain([part.to]);
            froms.zip(tos).filter(|(from, to)| from < to)
        })
    }
}
