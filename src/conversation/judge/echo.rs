//! The caller's own voice on the service's side: stretches that were found in the signal, and utterances that come back part
//! by part, all edges late alike.

use std::time::Duration;

use super::line::Line;
use crate::conversation::{Utterance, UtteranceKind};
use crate::speech::Segment;
use crate::stamp::Stamp;

/// Difference between the delays of two edges of one echo: the detector's error, and a packet.
const ALIKE: Duration = Duration::from_millis(40);
/// Difference from the call's usual delay at which a short utterance is still its echo.
const USUAL: Duration = Duration::from_millis(100);
/// Voice in an utterance below which lengths agree by chance.
const LONG_ENOUGH: Duration = Duration::from_millis(150);
/// Shortest speech that the detector reports (METRICS).
const SHORTEST: Duration = Duration::from_millis(60);
/// Gap below which the detector hears one segment (METRICS).
const JOINED: Duration = Duration::from_millis(200);
/// Most segments that are tried as the begin of one utterance's echo.
const TRIES: usize = 8;
/// All of time.
const ALWAYS: (Stamp, Stamp) = (Stamp::ZERO, Stamp::from_ns(u64::MAX));

/// Segments of the service's side that are the caller's own voice.
pub(super) struct Echoes {
    /// For each utterance: its voice came back, by the edges or by the signal.
    hits: Vec<bool>,
    /// Utterances that are long enough to tell.
    told: usize,
    parts: Vec<Segment>,
    /// Stretches found in the signal, with the detector's error around them.
    known: Line,
}

impl Echoes {
    /// Looks for every utterance in `heard`; `known` are stretches found in the signal.
    ///
    /// A parrot that answers by repeating is none: an echo begins while its utterance still lasts. Utterances
    /// shorter than the delay are held against the others' median delay.
    pub(super) fn find(said: &[&Utterance], heard: &Line, known: &[(Stamp, Stamp)]) -> Self {
        let runs: Vec<_> = runs(said).into_iter().filter(|run| run.voice() >= LONG_ENOUGH).collect();
        let told = runs.iter().map(|run| run.said.len()).sum();
        let known = Line::new(known.iter().map(|(from, to)| (*from - ALIKE, *to + ALIKE)), ALWAYS);
        let hits = said.iter().map(|said| known.is_near(said.to, super::EDGE)).collect();
        let mut echoes = Echoes { hits, told, parts: Vec::new(), known };
        let (mut delays, mut unsure) = (Vec::new(), Vec::new());
        for run in &runs {
            let (from, to) = run.span();
            match repeated(&run.voiced, heard, from, to) {
                Some(parts) => {
                    delays.extend(parts.first().map(|part| part.from.since(from)));
                    echoes.take(run, parts);
                }
                None => unsure.push(run),
            }
        }
        delays.sort();
        if let Some(usual) = delays.get(delays.len() / 2) {
            for run in unsure {
                let expected_at = run.span().0 + *usual;
                if let Some(parts) = repeated(&run.voiced, heard, expected_at - USUAL, expected_at + USUAL) {
                    echoes.take(run, parts);
                }
            }
        }
        echoes
    }

    fn take(&mut self, run: &Run, parts: &[Segment]) {
        run.said.iter().for_each(|at| self.hits[*at] = true);
        self.parts.extend(parts);
    }

    /// The voice of this utterance came back.
    pub(super) fn hit(&self, at: usize) -> bool {
        self.hits.get(at).copied().unwrap_or(false)
    }

    /// An edge here may be that of an echo which hides the service's own.
    pub(super) fn hide(&self, at: Stamp) -> bool {
        self.known.is_near(at, ALIKE)
    }

    /// Half of the utterances and more came back.
    pub(super) fn are_the_rule(&self) -> bool {
        let hits = self.hits.iter().filter(|hit| **hit).count();
        hits > 0 && hits * 2 >= self.told
    }

    /// `heard` without echoes: whole segments that repeat an utterance, and the stretches that the signal tells of.
    pub(super) fn taken_from(&self, heard: &Line) -> Line {
        let echoes = Line::new(self.parts.iter().map(|part| (part.from, part.to)), ALWAYS);
        let is_own = |part: &&Segment| echoes.shared(part.from, part.to).is_zero();
        let own = Line::new(heard.iter().filter(is_own).map(|part| (part.from, part.to)), ALWAYS);
        let left = own.without(&self.known).filter(|(from, to)| to.since(*from) >= SHORTEST);
        Line::new(left, ALWAYS)
    }
}

/// Utterances that the detector hears as one where they come back: less than 200 ms lie between them.
struct Run {
    /// Their places.
    said: Vec<usize>,
    /// Voiced parts with 200 ms and more between them; there is at least one.
    voiced: Vec<(Stamp, Stamp)>,
}

impl Run {
    fn span(&self) -> (Stamp, Stamp) {
        let ends = self.voiced.first().zip(self.voiced.last());
        ends.map_or((Stamp::ZERO, Stamp::ZERO), |(first, last)| (first.0, last.1))
    }

    fn add(&mut self, at: usize, (from, to): (Stamp, Stamp)) {
        if self.said.last() != Some(&at) {
            self.said.push(at);
        }
        match self.voiced.last_mut().filter(|last| from.since(last.1) < JOINED) {
            Some(last) => last.1 = last.1.max(to),
            None => self.voiced.push((from, to)),
        }
    }

    fn voice(&self) -> Duration {
        let parts = self.voiced.iter().map(|(from, to)| to.since(*from));
        parts.fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// The utterances that can come back, in runs.
fn runs(said: &[&Utterance]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, said) in said.iter().enumerate() {
        let can_come_back = said.kind != UtteranceKind::Dtmf && !said.cut;
        for (from, to) in said.voiced().filter(|_| can_come_back) {
            let joins = |run: &&mut Run| from.since(run.span().1) < JOINED || run.said.last() == Some(&at);
            match runs.last_mut().filter(joins) {
                Some(run) => run.add(at, (from, to)),
                None => runs.push(Run { said: vec![at], voiced: vec![(from, to)] }),
            }
        }
    }
    runs
}

/// The segments that repeat `voiced` part by part, of which the first begins between `from` and `until`.
fn repeated<'a>(
    voiced: &[(Stamp, Stamp)],
    heard: &'a Line,
    from: Stamp,
    until: Stamp,
) -> Option<&'a [Segment]> {
    let (begin, end) = (voiced.first()?.0, voiced.last()?.1);
    let length = end.since(begin);
    let parts = heard.within(from, until + length + ALIKE);
    let early = parts.partition_point(|part| part.from < from);
    let starts = (early..parts.len()).take_while(|at| parts[*at].from < until);
    starts.take(TRIES).find_map(|start| {
        let found = parts.get(start..start + voiced.len())?;
        let delay = found.first()?.from.since(begin);
        let is_late_alike =
            |edge: Stamp, said: Stamp| edge.since(said + delay).max((said + delay).since(edge)) <= ALIKE;
        let all_alike = found
            .iter()
            .zip(voiced)
            .all(|(part, (from, to))| is_late_alike(part.from, *from) && is_late_alike(part.to, *to));
        all_alike.then_some(found)
    })
}
