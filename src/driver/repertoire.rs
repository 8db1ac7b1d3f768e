//! Pieces played by callers whose path is judged by its audio: bursts, or passages; the mouth that plays it, and the judgement.

use std::sync::Arc;
use std::time::Duration;

use super::lane::LaneEvent;
use super::media::keeps_audio;
use crate::measure::Window;
use crate::quality::{Fate, Passages, Reader, Unscorable, Worst, judge};
use crate::record::{NoScore, QualityRow, SignalRejection, SignalRow};
use crate::scenario::{MediaMode, Scenario};
use crate::signal::{self, BURST_LEN, Correlator, Excerpt, Outcome, Sent};
use crate::stamp::Stamp;

/// Pieces of audio that callers play.
#[derive(Debug, Clone)]
pub(super) enum Repertoire {
    /// A burst every so often.
    Bursts(Duration),
    /// Passages, one after another; the audio of the worst is kept, or none is.
    Passages(Arc<Passages>, bool),
}

/// Mouth of one call.
pub(super) enum Mouth {
    Bursts(signal::Mouth),
    Reads(Reader),
}

impl Mouth {
    /// Fills the next packet, which is sent at `at`; tells of the piece that begins in it.
    pub fn play(&mut self, at: Stamp, packet: &mut [i16]) -> Option<Sent> {
        match self {
            Mouth::Bursts(mouth) => mouth.play(at, packet),
            Mouth::Reads(reader) => reader.play(at, packet),
        }
    }
}

impl Repertoire {
    /// That of a scenario's callers; `None` where they send probes or talk.
    pub fn of(scenario: &Scenario, passages: Option<Arc<Passages>>) -> Option<Repertoire> {
        match scenario.media.mode {
            MediaMode::Signal => Some(Repertoire::Bursts(scenario.signal.every.0)),
            MediaMode::Speech => passages.map(|all| Repertoire::Passages(all, keeps_audio(scenario))),
            MediaMode::Echo | MediaMode::Conversation => None,
        }
    }

    /// Mouth of call number `call`.
    pub fn mouth(&self, call: u32) -> Mouth {
        match self {
            Repertoire::Bursts(every) => Mouth::Bursts(signal::Mouth::new(call, *every)),
            Repertoire::Passages(passages, _) => Mouth::Reads(Reader::new(call, passages.clone())),
        }
    }

    /// Samples of the longest piece.
    pub fn longest(&self) -> usize {
        match self {
            Repertoire::Bursts(_) => BURST_LEN,
            Repertoire::Passages(passages, _) => passages.longest(),
        }
    }

    /// The bench of a run that began at `epoch`.
    pub fn bench(&self, epoch: Stamp, window: Arc<Window>) -> Bench {
        let case = match self {
            Repertoire::Bursts(_) => Case::Bursts(Box::default()),
            Repertoire::Passages(passages, keeps_audio) => {
                Case::Passages(passages.clone(), keeps_audio.then(Worst::default))
            }
        };
        Bench { case, epoch, window }
    }

    /// The row of a piece for whose judgement there was no room.
    pub fn not_judged(&self, excerpt: &Excerpt, epoch: Stamp) -> LaneEvent {
        match self {
            Repertoire::Bursts(_) => {
                let rejected = Some(SignalRejection::NotJudged);
                LaneEvent::Judged(SignalRow { rejected, ..burst(excerpt, Outcome::Silence, epoch) })
            }
            Repertoire::Passages(..) => LaneEvent::Scored(passage(excerpt, None, epoch)),
        }
    }
}

/// Place where what came back is judged, on a thread of its own.
pub(super) struct Bench {
    case: Case,
    epoch: Stamp,
    window: Arc<Window>,
}

enum Case {
    Bursts(Box<Correlator>),
    Passages(Arc<Passages>, Option<Worst>),
}

impl Bench {
    /// The fate of what `excerpt` is to hold.
    pub fn judge(&mut self, excerpt: &Excerpt) -> LaneEvent {
        match &mut self.case {
            Case::Bursts(correlator) => {
                let outcome = correlator.judge(excerpt.burst, excerpt);
                LaneEvent::Judged(burst(excerpt, outcome, self.epoch))
            }
            Case::Passages(passages, worst) => {
                let (fate, heard) = judge(passages, excerpt);
                let is_measured =
                    self.window.bounds().is_some_and(|(from, to)| (from..to).contains(&excerpt.sent_at));
                if let (Some(worst), Fate::Scored { mos_lqo, .. }, true) = (worst, fate, is_measured) {
                    worst.take(excerpt.burst, mos_lqo, passages.of(excerpt.burst.number), &heard);
                }
                LaneEvent::Scored(passage(excerpt, Some(fate), self.epoch))
            }
        }
    }

    /// Audio of the worst.
    pub fn finish(self) -> impl Iterator<Item = LaneEvent> {
        let worst = match self.case {
            Case::Bursts(_) | Case::Passages(_, None) => Worst::default(),
            Case::Passages(_, Some(worst)) => worst,
        };
        worst.finish().map(|(name, wav)| LaneEvent::Audio { call: name.call, passage: name.number, wav })
    }
}

fn burst(excerpt: &Excerpt, outcome: Outcome, epoch: Stamp) -> SignalRow {
    let Excerpt { burst, sent_at, is_cut, .. } = excerpt;
    let row = SignalRow {
        call: burst.call,
        number: burst.number,
        sent_s: sent_at.since(epoch).as_secs_f64(),
        ..SignalRow::default()
    };
    let because = |why| Some(if *is_cut { SignalRejection::CutOff } else { why });
    match outcome {
        Outcome::Found { delay, peak, inverted } => {
            SignalRow { delay_ms: Some(delay.into()), peak: Some(peak.into()), inverted, ..row }
        }
        Outcome::Unlike(peak) => {
            SignalRow { peak: Some(peak.into()), rejected: because(SignalRejection::Unlike), ..row }
        }
        Outcome::Silence => SignalRow { rejected: because(SignalRejection::Silence), ..row },
    }
}

/// `None` is one that was not judged.
fn passage(excerpt: &Excerpt, fate: Option<Fate>, epoch: Stamp) -> QualityRow {
    let row = QualityRow {
        call: excerpt.burst.call,
        number: excerpt.burst.number,
        sent_s: excerpt.sent_at.since(epoch).as_secs_f64(),
        ..QualityRow::default()
    };
    let unscored = |why| QualityRow { unscored: Some(why), ..row.clone() };
    match fate {
        Some(Fate::Scored { mos_lqo, missing }) => {
            // A thousandth of either is more than can be said.
            let rounded = |figure: f64| Some((figure * 1000.0).round() / 1000.0);
            QualityRow { mos_lqo: rounded(mos_lqo), missing_ratio: rounded(missing), ..row }
        }
        Some(Fate::CutOff) => unscored(NoScore::CutOff),
        Some(Fate::Unscored(Unscorable::NothingHeard)) => unscored(NoScore::Silence),
        Some(Fate::Unscored(_)) => unscored(NoScore::NoMatch),
        None => unscored(NoScore::NotJudged),
    }
}
