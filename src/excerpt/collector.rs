//! Choice of the excerpts of a run: made when a call ends, so that no more than the excerpts is held.

use std::time::Duration;

use super::SpeechRing;
use super::ring::RATE_HZ;
use super::worst::{Candidate, LONGEST_S, candidates, keep_worst};
use crate::record::{MOST_NAMED, TalkRow, TalkSide, TurnRow};
use crate::speech::Clip;
use crate::stamp::Stamp;

/// Most stretches of one excerpt: the detector finds no more than four a second, in a minute.
const MOST_PARTS: usize = 400;

/// Settings of a collector.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Start of the run.
    pub epoch: Stamp,
    /// Time for an answer to begin.
    pub reply_within: Duration,
    /// Calls of which there is an excerpt however they went.
    pub named: Vec<u32>,
    /// Audio is kept.
    pub has_audio: bool,
}

/// One call's talk, as it ended. Stretches are in order.
#[derive(Debug)]
pub struct Talk<'a> {
    /// Its number.
    pub call: u32,
    /// Its turns that count.
    pub turns: &'a [TurnRow],
    /// Stretches in which the caller spoke.
    pub caller: &'a [(Stamp, Stamp)],
    /// Stretches in which the service spoke.
    pub service: &'a [(Stamp, Stamp)],
    /// Stretches of which its packets were lost.
    pub lost: &'a [(Stamp, Stamp)],
    /// Reception of the answer.
    pub answered_at: Stamp,
    /// End of the call.
    pub ended_at: Stamp,
    /// Audio of the caller, and of the service.
    pub rings: [Option<&'a SpeechRing>; 2],
}

/// Excerpts so far.
#[derive(Debug)]
pub struct Collector {
    settings: Settings,
    /// The worst turns and their excerpts, the worst first.
    worst: Vec<Candidate>,
    excerpts: Vec<Excerpt>,
    named: Vec<Excerpt>,
}

/// An excerpt of a call.
#[derive(Debug)]
struct Excerpt {
    rows: Vec<TalkRow>,
    /// Samples of both sides, from the excerpt's start.
    audio: Option<[Vec<i16>; 2]>,
}

impl Collector {
    /// A collector without calls.
    pub fn new(settings: Settings) -> Self {
        Collector { settings, worst: Vec::new(), excerpts: Vec::new(), named: Vec::new() }
    }

    /// Takes a call that is over; holds of it what is among the worst so far, or named.
    pub fn take(&mut self, talk: &Talk<'_>) {
        let reply_within_s = self.settings.reply_within.as_secs_f64();
        let before = std::mem::take(&mut self.worst);
        let mut all = before.clone();
        all.extend(talk.turns.iter().flat_map(|row| candidates(row, reply_within_s)));
        keep_worst(&mut all);
        let mut held: Vec<_> = before.into_iter().zip(std::mem::take(&mut self.excerpts)).collect();
        for candidate in &all {
            let at = held.iter().position(|(known, _)| known == candidate);
            let excerpt = at.map(|at| held.swap_remove(at).1);
            self.excerpts.push(excerpt.unwrap_or_else(|| self.of_turn(talk, candidate)));
        }
        self.worst = all;
        let is_named = self.settings.named.contains(&talk.call) && self.named.len() < MOST_NAMED;
        if is_named {
            self.named.push(self.of_call(talk));
        }
    }

    /// Rows of `talk.csv`, and the WAV files by their paths in the run's folder.
    pub fn finish(mut self) -> (Vec<TalkRow>, Vec<(String, Vec<u8>)>) {
        self.named.sort_by_key(|excerpt| excerpt.rows.first().map(|row| row.call));
        let (mut rows, mut files) = (Vec::new(), Vec::new());
        for (number, mut excerpt) in (1..).zip(self.excerpts.into_iter().chain(self.named)) {
            excerpt.rows.iter_mut().for_each(|row| row.excerpt = number);
            if let (Some([caller, service]), Some(head)) = (excerpt.audio, excerpt.rows.first_mut()) {
                head.audio = head.audio_name();
                files.push((head.audio.clone(), Clip::to_wav_stereo(&caller, &service, RATE_HZ)));
            }
            rows.append(&mut excerpt.rows);
        }
        (rows, files)
    }

    fn of_turn(&self, talk: &Talk<'_>, candidate: &Candidate) -> Excerpt {
        let Candidate { why, call, turn, from_s, to_s, .. } = *candidate;
        let at = |s: f64| self.settings.epoch + Duration::from_secs_f64(s.clamp(0.0, 1e9));
        let (from, to) = (at(from_s).max(talk.answered_at), at(to_s).min(talk.ended_at));
        self.excerpt(talk, TalkRow { call, turn: Some(turn), why, ..TalkRow::default() }, (from, to))
    }

    /// The last minute of a call, as far as its audio is still there.
    fn of_call(&self, talk: &Talk<'_>) -> Excerpt {
        let longest = Duration::from_secs_f64(LONGEST_S);
        let earliest = talk.answered_at.max(talk.ended_at - longest);
        let kept = talk.rings.iter().flatten().map(|ring| ring.lost_until());
        let from = kept.fold(earliest, Stamp::max).min(talk.ended_at);
        let head = TalkRow { call: talk.call, ..TalkRow::default() };
        self.excerpt(talk, head, (from, talk.ended_at))
    }

    fn excerpt(&self, talk: &Talk<'_>, head: TalkRow, (from, to): (Stamp, Stamp)) -> Excerpt {
        let to = to.max(from);
        let since = |at: Stamp| at.since(self.settings.epoch).as_secs_f64();
        let part = |side, (from, to): (Stamp, Stamp)| TalkRow {
            side,
            from_s: since(from),
            to_s: since(to),
            ..head.clone()
        };
        let mut rows = vec![part(TalkSide::Excerpt, (from, to))];
        let lines =
            [(TalkSide::Caller, talk.caller), (TalkSide::Service, talk.service), (TalkSide::Lost, talk.lost)];
        for (side, line) in lines {
            let inside = line.iter().filter(|part| part.1 > from && part.0 < to);
            let cut = inside.map(|part| (part.0.max(from), part.1.min(to)));
            rows.extend(cut.take(MOST_PARTS).map(|cut| part(side, cut)));
        }
        let is_whole = |ring: &SpeechRing| ring.lost_until() <= from;
        let audio = match talk.rings {
            [Some(caller), Some(service)]
                if self.settings.has_audio && is_whole(caller) && is_whole(service) =>
            {
                Some([caller, service].map(|ring| ring.samples(from, to.since(from))))
            }
            _ => None,
        };
        Excerpt { rows, audio }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Why;
    use crate::rtp::{Codec, g711};
    use crate::values::Ns;

    const MS: Duration = Duration::from_millis(1);
    const EPOCH: Stamp = Stamp::from_ns(5_000_000_000);

    fn at(ms: u64) -> Stamp {
        EPOCH + MS * u32::try_from(ms).unwrap()
    }

    fn settings() -> Settings {
        Settings { epoch: EPOCH, reply_within: MS * 5000, named: vec![7], has_audio: true }
    }

    fn ring(bytes: usize, from: u64, to: u64) -> SpeechRing {
        let mut ring = SpeechRing::new(Codec::Pcmu, bytes);
        (from..to).step_by(20).for_each(|ms| ring.put(at(ms), &[g711::ulaw_encode(9000); 160]));
        ring
    }

    /// A call of ten seconds whose caller speaks from 2 s to 3 s, and whose service answers after `response` ms.
    fn take(collector: &mut Collector, call: u32, response: u64, bytes: usize) {
        let turns = [TurnRow {
            call,
            said_from_s: 2.0,
            said_to_s: 3.0,
            response_ms: Some(Ns(response * 1_000_000)),
            ..TurnRow::default()
        }];
        let reply = (3000 + response, 5000 + response);
        let rings = [ring(bytes, 2000, 3000), ring(bytes, reply.0, reply.1)];
        collector.take(&Talk {
            call,
            turns: &turns,
            caller: &[(at(2000), at(3000))],
            service: &[(at(reply.0), at(reply.1))],
            lost: &[(at(9000), at(9100))],
            answered_at: at(1500),
            ended_at: at(10_000),
            rings: [Some(&rings[0]), Some(&rings[1])],
        });
    }

    /// Samples of both sides.
    fn sides(wav: &[u8]) -> [Vec<i16>; 2] {
        let frames = wav[44..].chunks_exact(4);
        let side = |n: usize| frames.clone().map(|f| i16::from_le_bytes([f[n], f[n + 1]])).collect();
        [side(0), side(2)]
    }

    #[test]
    fn the_worst_have_audio_whose_gap_is_the_response_and_named_calls_follow() {
        let mut collector = Collector::new(settings());
        for (call, response) in [(0, 700), (1, 900), (7, 650), (2, 1100), (3, 800), (4, 710), (5, 705)] {
            take(&mut collector, call, response, 480_000);
            assert!(collector.excerpts.len() <= 5 && collector.excerpts.len() == collector.worst.len());
        }
        let (rows, files) = collector.finish();
        let heads: Vec<_> = rows.iter().filter(|row| row.side == TalkSide::Excerpt).collect();
        let told: Vec<_> = heads.iter().map(|head| (head.excerpt, head.call, head.why)).collect();
        let slowest =
            [(1, 2), (2, 1), (3, 3), (4, 4), (5, 5)].map(|(n, call)| (n, call, Why::LongestResponse));
        assert_eq!(told, slowest.into_iter().chain([(6, 7, Why::Named)]).collect::<Vec<_>>());
        assert_eq!(
            files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            heads.iter().map(|head| head.audio_file().unwrap()).collect::<Vec<_>>()
        );
        // Cut at the answer of the call.
        assert_eq!((heads[0].from_s, heads[0].to_s), (1.5, 5.1));
        for ((_, wav), response) in files.iter().zip([1100, 900, 800, 710, 705]) {
            let [left, right] = sides(wav);
            let end = left.iter().rposition(|sample| *sample != 0).unwrap() + 1;
            let begin = right.iter().position(|sample| *sample != 0).unwrap();
            assert_eq!((begin - end) / 8, response);
        }
        let whole = rows.iter().filter(|row| row.excerpt == 6 && row.side != TalkSide::Excerpt);
        let whole: Vec<_> = whole.map(|row| (row.side, row.from_s, row.to_s)).collect();
        let parts =
            [(TalkSide::Caller, 2.0, 3.0), (TalkSide::Service, 3.65, 5.65), (TalkSide::Lost, 9.0, 9.1)];
        assert_eq!(whole, parts);
    }

    #[test]
    fn speech_that_was_pushed_out_makes_no_audio_of_silence() {
        let mut collector = Collector::new(settings());
        take(&mut collector, 0, 700, 4000);
        take(&mut collector, 7, 700, 4000);
        let (rows, files) = collector.finish();
        // Of the named call the part that is left.
        assert_eq!(files.len(), 1);
        let named = rows.iter().find(|row| row.why == Why::Named).unwrap();
        assert_eq!((named.from_s, named.to_s), (5.2, 10.0));
        assert!(rows[0].audio.is_empty() && rows[0].side == TalkSide::Excerpt);

        let mut silent = Collector::new(Settings { has_audio: false, ..settings() });
        take(&mut silent, 0, 700, 480_000);
        let (rows, files) = silent.finish();
        assert!(files.is_empty() && rows.len() == 3);
    }
}
