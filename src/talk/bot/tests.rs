//! Tests of the bot in virtual time, by the audio that it sends.

use proptest::prelude::*;

use super::super::manners::Delay;
use super::*;
use crate::speech::Clip;

const RATE: u32 = 8000;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Stamps that fall on no frame of anybody's.
fn at(us: u64) -> Stamp {
    Stamp::from_ns(1_000_000_000_123 + us * 1000)
}

/// Voiced audio of so many milliseconds.
fn voice(ms: usize) -> Vec<i16> {
    (0..ms * 8).map(|n| if n % 2 == 0 { 8000 } else { -8000 }).collect()
}

fn bot_with(manners: Manners, seed: u64) -> Bot {
    let clip = |len| Clip { rate_hz: RATE, samples: voice(len) };
    let voices = BotVoice::new(clip(1010), clip(2015), clip(305)).unwrap();
    Bot::new(Arc::new(manners), Arc::new(voices), seed, at(0), 3)
}

fn plain() -> Manners {
    Manners { greeting: false, delay: Delay::Fixed(ms(700)), ..Manners::default() }
}

/// A call in which the caller speaks in these stretches, in ms from its start: the bot's stretches of voice
/// in µs, its frames, and its counts. `sends_silence`: the caller sends packets without a break.
struct Call {
    bot: Bot,
    spoken: Vec<(u64, u64)>,
    frames: Vec<(Stamp, BotFrame)>,
}

fn play(mut bot: Bot, caller: &[(usize, usize)], length_ms: usize, sends_silence: bool) -> Call {
    let mut audio = vec![0i16; length_ms * 8];
    for (from, to) in caller {
        audio[from * 8..to * 8].copy_from_slice(&voice(to - from));
    }
    let mut samples = Vec::new();
    let mut frames = Vec::new();
    let mut out = [0; 160];
    let mut drain = |bot: &mut Bot, until: Stamp| {
        while let Some(now) = bot.poll_timeout().filter(|t| *t <= until) {
            let mut sent = 0;
            while let Some(frame) = bot.poll(now, &mut out) {
                sent += 1;
                assert!(sent < 20, "a burst");
                frames.push((now, frame));
                let loud = out.iter().enumerate().filter(|(_, s)| s.unsigned_abs() > 100);
                samples.extend(loud.map(|(n, _)| (now + span(n, RATE)).ns_since(at(0)) as u64 / 1000));
            }
            assert!(bot.poll_timeout().is_none_or(|next| next > now), "stands still at {now}");
        }
    };
    for (n, packet) in audio.chunks(160).enumerate() {
        let now = at(n as u64 * 20_000);
        drain(&mut bot, now);
        if sends_silence || packet.iter().any(|s| *s != 0) {
            bot.hear(now, packet);
        }
    }
    let mut spoken: Vec<(u64, u64)> = Vec::new();
    for us in samples {
        match spoken.last_mut() {
            Some((_, to)) if us <= *to + 1000 => *to = us + 125,
            _ => spoken.push((us, us + 125)),
        }
    }
    Call { bot, spoken, frames }
}

fn assert_near(spoken: &[(u64, u64)], expected_ms: &[(u64, u64)]) {
    assert_eq!(spoken.len(), expected_ms.len(), "{spoken:?}");
    for ((from, to), (e_from, e_to)) in spoken.iter().zip(expected_ms) {
        let near = |us: u64, ms: u64| us.abs_diff(ms * 1000) <= 250;
        assert!(near(*from, *e_from) && near(*to, *e_to), "{spoken:?} for {expected_ms:?}");
    }
}

const MODES: [Between; 3] = [Between::Nothing, Between::Silence, Between::ComfortNoise];

#[test]
fn delays_are_exact_in_every_mode() {
    for between in MODES {
        for (set, sends) in [(200, true), (200, false), (700, true), (1500, false)] {
            let manners = Manners { delay: Delay::Fixed(ms(set)), between, ..plain() };
            let call = play(bot_with(manners, 1), &[(105, 1133), (5003, 6007)], 10_000, sends);
            let answers = [1133, 6007].map(|end| (end + set, end + set + 2015));
            assert_near(&call.spoken, &answers);
            let counts = call.bot.told();
            assert_eq!((counts.heard, counts.answered, counts.yielded), (2, 2, 0));
        }
    }
}

#[test]
fn a_delay_below_the_end_of_turn_is_that() {
    let manners = Manners { delay: Delay::Fixed(ms(0)), ..plain() };
    let call = play(bot_with(manners, 1), &[(100, 1000)], 4000, true);
    assert_near(&call.spoken, &[(1160, 3175)]);
}

#[test]
fn greeting_and_filler_come_in_their_order() {
    for between in MODES {
        let manners = Manners { greeting: true, filler: true, between, ..plain() };
        let call = play(bot_with(manners, 1), &[(2000, 3000)], 8000, true);
        assert_near(&call.spoken, &[(0, 1010), (3700, 4005), (4505, 6520)]);
        assert_eq!(call.bot.told().greeted, 1);
    }
}

#[test]
fn it_yields_to_the_sample() {
    for between in MODES {
        for filler in [false, true] {
            let manners = Manners { yields_after: Some(ms(333)), filler, between, ..plain() };
            // The caller begins 603 ms after the answer has.
            let began = if filler { 1700 + 305 + 500 } else { 1700 };
            let caller = [(100, 1000), (began + 603, began + 1603)];
            let call = play(bot_with(manners, 1), &caller, 8000, true);
            let (stopped, next) = (began as u64 + 936, began as u64 + 2303);
            let (first, second) = (&call.spoken[..call.spoken.len() - 1 - usize::from(filler)], &call.spoken);
            assert_near(&first[first.len() - 1..], &[(began as u64, stopped)]);
            assert_near(&second[first.len()..][..1], &[(next, next + if filler { 305 } else { 2015 })]);
            let counts = call.bot.told();
            assert_eq!((counts.heard, counts.answered, counts.yielded, counts.talked_through), (2, 2, 1, 0));
        }
    }
}

#[test]
fn a_backchannel_and_a_deaf_bot_do_not_stop_it() {
    let brief = Manners { yields_after: Some(ms(500)), ..plain() };
    let deaf = Manners { yields_after: None, ..plain() };
    for (manners, until) in [(brief, 2450), (deaf, 3500)] {
        let call = play(bot_with(manners, 1), &[(100, 1000), (2100, until)], 8000, true);
        assert_near(&call.spoken, &[(1700, 3715)]);
        assert_eq!((call.bot.told().heard, call.bot.told().talked_through), (1, 1));
    }
    // Spoken on beyond the bot's end it is a turn.
    let call = play(bot_with(deaf, 1), &[(100, 1000), (2100, 4000)], 8000, true);
    assert_near(&call.spoken, &[(1700, 3715), (4700, 6715)]);
}

#[test]
fn a_pause_is_taken_for_the_end_if_the_delay_is_shorter() {
    let caller = [(100, 1000), (1600, 2500)];
    let hasty = Manners { delay: Delay::Fixed(ms(300)), yields_after: Some(ms(200)), ..plain() };
    let call = play(bot_with(hasty, 1), &caller, 6000, true);
    assert_near(&call.spoken, &[(1300, 1800), (2800, 4815)]);
    assert_eq!((call.bot.told().answered, call.bot.told().yielded, call.bot.told().resumed), (2, 1, 0));
    let patient = play(bot_with(plain(), 1), &caller, 6000, true);
    assert_near(&patient.spoken, &[(3200, 5215)]);
    assert_eq!((patient.bot.told().answered, patient.bot.told().resumed), (1, 1));
}

#[test]
fn shares_of_silence_are_exact_to_a_turn() {
    let caller: Vec<_> = (0..40).map(|n| (n * 1000 + 100, n * 1000 + 300)).collect();
    for (share, silent) in [(0.0, 0), (0.25, 10), (1.0, 40), (f64::NAN, 0), (7.0, 40)] {
        let manners =
            Manners { silent_share: share, delay: Delay::Fixed(ms(200)), yields_after: None, ..plain() };
        let mut bot = bot_with(manners, 7);
        bot.voice = Arc::new(BotVoice { answer: voice(200), ..(*bot.voice).clone() });
        let call = play(bot, &caller, 41_000, true);
        let counts = call.bot.told();
        assert!(counts.kept_silent.abs_diff(silent) <= 1, "{share}: {counts:?}");
        assert_eq!(counts.heard, 40);
        assert_eq!(call.spoken.len() as u32, counts.answered);
        assert_eq!(counts.heard, counts.answered + counts.kept_silent);
    }
}

#[test]
fn delays_grow_with_calls_or_are_drawn_evenly() {
    let manners = Manners { delay: Delay::PerCall { base: ms(200), each: ms(50) }, ..plain() };
    assert_near(&play(bot_with(manners, 1), &[(100, 1000)], 4000, true).spoken, &[(1350, 3365)]);
    let caller: Vec<_> = (0..50).map(|n| (n * 5000 + 100, n * 5000 + 500)).collect();
    let manners = Manners { delay: Delay::Random { from: ms(1500), to: ms(500) }, ..plain() };
    let call = play(bot_with(manners, 1), &caller, 250_000, false);
    let delays: Vec<_> = (0u64..).zip(&call.spoken).map(|(n, (us, _))| us / 1000 - n * 5000 - 500).collect();
    assert!(delays.len() == 50 && delays.iter().all(|d| (500..=1500).contains(d)), "{delays:?}");
    let mean = delays.iter().sum::<u64>() / 50;
    assert!((880..1120).contains(&mean), "{mean}");
    let again = play(bot_with(manners, 1), &caller, 250_000, false);
    assert_eq!(again.spoken, call.spoken, "the same seed");
    assert_ne!(play(bot_with(manners, 2), &caller, 250_000, false).spoken, call.spoken);
}

#[test]
fn digits_are_a_turn_and_clicks_are_none() {
    for (delay, answer) in [(700, 2700), (200, 2300)] {
        let mut bot = bot_with(Manners { delay: Delay::Fixed(ms(delay)), ..plain() }, 1);
        bot.hear(at(0), &voice(50));
        for us in [1_600_000, 1_800_000, 2_000_000] {
            assert_eq!(bot.poll(at(us), &mut []), None);
            bot.hear_digit(at(us));
        }
        let call = play(bot, &[], 6000, false);
        assert_near(&call.spoken, &[(answer, answer + 2015)]);
        assert_eq!((call.bot.told().digits, call.bot.told().heard, call.bot.told().resumed), (3, 1, 0));
    }
}

#[test]
fn one_that_never_ends_repeats_until_it_yields() {
    let endless = Manners { ends: false, ..plain() };
    let call = play(bot_with(endless, 1), &[(100, 1000)], 20_000, true);
    assert_near(&call.spoken, &[(1700, 20_000)]);
    let call = play(bot_with(endless, 1), &[(100, 1000), (9000, 11_000)], 20_000, true);
    assert_near(&call.spoken, &[(1700, 9500), (11_700, 20_000)]);
}

#[test]
fn frames_between_are_those_of_the_mode() {
    for between in MODES {
        let call = play(bot_with(Manners { between, ..plain() }, 1), &[(100, 1000)], 6000, true);
        let gaps: Vec<_> = call.frames.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
        let is =
            |wanted: fn(&BotFrame) -> bool| call.frames.iter().filter(|(_, frame)| wanted(frame)).count();
        let noise = is(|frame| *frame == BotFrame::ComfortNoise);
        let restarts =
            is(|f| matches!(f, BotFrame::Audio { restarts: true } | BotFrame::Silence { restarts: true }));
        match between {
            Between::Nothing => assert!(noise == 0 && restarts == 1 && gaps.iter().all(|gap| *gap == FRAME)),
            Between::Silence => {
                assert!(noise == 0 && restarts == 1 && gaps.iter().all(|gap| *gap == FRAME));
                assert_eq!(call.frames.len(), 300, "a frame more or less than time has passed");
            }
            // Five before the answer, the end of which is at 3.72 s, and six from then on.
            Between::ComfortNoise => assert_eq!((noise, restarts), (11, 1)),
        }
    }
}

#[test]
fn a_stall_makes_no_burst() {
    for between in MODES {
        let mut bot = bot_with(Manners { between, greeting: true, ..plain() }, 1);
        let mut out = [0; 160];
        assert!(bot.poll(at(0), &mut out).is_some());
        let mut drained = |now| {
            let mut frames = Vec::new();
            while let Some(frame) = bot.poll(now, &mut out) {
                frames.push(frame);
            }
            frames
        };
        assert_eq!(
            drained(at(85_000)),
            vec![BotFrame::Audio { restarts: false }; 4],
            "up to 100 ms is caught up"
        );
        assert_eq!(drained(at(900_000)), [BotFrame::Audio { restarts: true }]);
    }
}

#[test]
fn voices_are_checked() {
    let clip = |rate_hz, len| Clip { rate_hz, samples: vec![1; len] };
    let voice = |a, b, c| BotVoice::new(a, b, c).map(|voice| voice.rate_hz());
    use super::super::manners::VoiceError::*;
    assert_eq!(voice(clip(16_000, 1), clip(16_000, 1), clip(16_000, 1)), Ok(16_000));
    assert_eq!(
        voice(clip(8000, 1), clip(44_100, 1), clip(8000, 1)),
        Err(Rate { prompt: "answer", hz: 44_100 })
    );
    assert_eq!(
        voice(clip(8000, 1), clip(8000, 1), clip(16_000, 1)),
        Err(Rates { greeting: 8000, answer: 8000, filler: 16_000 })
    );
    assert_eq!(voice(clip(8000, 1), clip(8000, 1), clip(8000, 0)), Err(Empty("filler")));
}

fn manners() -> impl Strategy<Value = Manners> {
    let delay = prop_oneof![
        (0u64..2000).prop_map(|d| Delay::Fixed(ms(d))),
        (any::<u64>(), any::<u64>())
            .prop_map(|(a, b)| Delay::Random { from: Duration::from_nanos(a), to: Duration::from_nanos(b) }),
        Just(Delay::PerCall { base: ms(9), each: Duration::MAX }),
    ];
    let rest = (prop::option::of(0u64..900), any::<f64>(), any::<(bool, bool, bool)>(), 0usize..3);
    (delay, rest).prop_map(|(delay, (yields, silent_share, (filler, greeting, ends), mode))| Manners {
        delay,
        yields_after: yields.map(ms),
        silent_share,
        filler,
        between: MODES[mode],
        greeting,
        ends,
    })
}

proptest! {
    #[test]
    fn counts_add_up_and_time_moves_on(
        manners in manners(),
        stretches in prop::collection::vec((0usize..1500, 0usize..900), 0..12),
        seed: u64,
        sends_silence: bool,
    ) {
        let mut caller = Vec::new();
        let mut end = 0;
        for (gap, length) in stretches {
            caller.push((end + gap, end + gap + length));
            end += gap + length;
        }
        let call = play(bot_with(manners, seed), &caller, end + 3000, sends_silence);
        let counts = call.bot.told();
        prop_assert_eq!(counts.heard, counts.answered + counts.kept_silent);
        prop_assert!((counts.heard + counts.resumed + counts.talked_through) as usize <= caller.len());
        prop_assert!(counts.greeted == u32::from(manners.greeting));
        let starts = counts.answered + counts.greeted;
        prop_assert!(counts.yielded <= starts && (manners.yields_after.is_some() || counts.yielded == 0));
    }

    #[test]
    fn nothing_makes_it_panic(
        manners in manners(),
        steps in prop::collection::vec((any::<u64>(), 0u8..4, prop::collection::vec(any::<i16>(), 0..400)), 0..40),
        len in 0usize..400,
    ) {
        let mut bot = bot_with(manners, 1);
        let mut out = vec![0; len];
        for (ns, what, samples) in steps {
            let now = Stamp::from_ns(if what == 3 { ns } else { ns % 5_000_000_000 });
            match what {
                0 => bot.hear(now, &samples),
                1 => bot.hear_digit(now),
                _ => { let _ = bot.poll(now, &mut out); }
            }
            let _ = bot.poll_timeout();
        }
    }
}
