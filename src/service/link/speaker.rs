//! The side of a link that answers: an echo, or a bot.

use std::sync::Arc;

use super::echo::EchoSpeaker;
use crate::rtp::{Codec, g711};
use crate::stamp::Stamp;
use crate::talk::{Bot, BotCounts, BotFrame, BotVoice, Manners};

/// A frame to send.
pub struct Outgoing {
    /// Audio in the call's codec.
    pub audio: Vec<u8>,
    /// It follows on no other.
    pub restarts: bool,
    /// Comfort noise, for ways that have packets for it.
    pub is_noise: bool,
}

/// Manners and voice of a service's bots.
#[derive(Debug, Clone)]
pub struct Talking {
    pub manners: Arc<Manners>,
    pub voice: Arc<BotVoice>,
}

/// One call's answering side.
pub enum Speaker {
    Echo(Box<EchoSpeaker>),
    Bot(Box<BotSpeaker>),
}

/// A bot that speaks in a codec.
pub struct BotSpeaker {
    bot: Bot,
    codec: Codec,
    samples: Vec<i16>,
}

impl BotSpeaker {
    /// The bot of a call that begins at `now`.
    pub fn new(talking: &Talking, codec: Codec, seed: u64, now: Stamp, up: u32) -> Self {
        let bot = Bot::new(talking.manners.clone(), talking.voice.clone(), seed, now, up);
        BotSpeaker { bot, codec, samples: Vec::new() }
    }

    fn poll(&mut self, now: Stamp) -> Option<Outgoing> {
        self.samples.clear();
        self.samples.resize(self.bot.frame_len(), 0);
        let frame = self.bot.poll(now, &mut self.samples)?;
        let audio = self.samples.iter().map(|sample| g711::encode(self.codec, *sample)).collect();
        let (restarts, is_noise) = match frame {
            BotFrame::Audio { restarts } | BotFrame::Silence { restarts } => (restarts, false),
            BotFrame::ComfortNoise => (true, true),
        };
        Some(Outgoing { audio, restarts, is_noise })
    }
}

impl Speaker {
    /// Takes a frame that came at `at`, while `up` calls are up; false when there is no room, and it is lost.
    pub fn hear(&mut self, audio: &[u8], at: Stamp, up: u32) -> bool {
        match self {
            Speaker::Echo(echo) => echo.hear(audio, at, up),
            Speaker::Bot(bot) => {
                bot.samples.clear();
                g711::decode_into(bot.codec, audio, &mut bot.samples);
                bot.bot.hear(at, &bot.samples);
                true
            }
        }
    }

    /// Takes a digit of the caller's.
    pub fn hear_digit(&mut self, at: Stamp) {
        if let Speaker::Bot(bot) = self {
            bot.bot.hear_digit(at);
        }
    }

    /// A frame that goes out now.
    pub fn poll(&mut self, now: Stamp) -> Option<Outgoing> {
        match self {
            Speaker::Echo(echo) => {
                echo.poll(now).map(|audio| Outgoing { audio, restarts: false, is_noise: false })
            }
            Speaker::Bot(bot) => bot.poll(now),
        }
    }

    /// Time of the next one.
    pub fn wake(&self) -> Option<Stamp> {
        match self {
            Speaker::Echo(echo) => echo.wake(),
            Speaker::Bot(bot) => bot.bot.poll_timeout(),
        }
    }

    /// Probes expected and received since the last time.
    pub fn newly_counted(&mut self) -> (u64, u64) {
        match self {
            Speaker::Echo(echo) => echo.newly_counted(),
            Speaker::Bot(_) => (0, 0),
        }
    }

    /// Counts of a bot's turns.
    pub fn told(&self) -> Option<BotCounts> {
        match self {
            Speaker::Echo(_) => None,
            Speaker::Bot(bot) => Some(bot.bot.told()),
        }
    }
}
