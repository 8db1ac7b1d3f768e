//! A voice bot with set manners: the service that talks, and the ground truth for measurements of conversations.

mod bot;
mod ear;
mod manners;
mod settings;

pub use bot::{Bot, BotFrame, COMFORT_NOISE_EVERY, FRAME};
pub use ear::TURN_END;
pub use manners::{Between, BotCounts, BotVoice, Delay, FILLER_GAP, Manners, VoiceError};
pub use settings::TalkSettings;
