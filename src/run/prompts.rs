//! What callers say: prompts read, turns checked and passages joined, before anybody is called.

use std::path::Path;
use std::sync::Arc;

use super::error::RunError;
use crate::conversation::{Digits, Script, Turn, Wait};
use crate::files::read_bytes;
use crate::quality::Passages;
use crate::scenario::{MediaMode, Problem, Resolved, TurnSettings, TurnWait};
use crate::signal::time_of;
use crate::speech::{BUILTIN, Clip, builtin};
use crate::values::{Span, visible};

/// Largest file of a prompt: a minute of 16 kHz, and some.
const MOST_BYTES: u64 = 4 << 20;
/// Rate of the callers' codecs.
const RATE_HZ: u32 = 8000;
/// The prompt of a script without turns.
const ALONE: &str = "question";

/// The script of a conversation; `None` where the media are probes.
pub(super) fn script(resolved: &Resolved) -> Result<Option<Arc<Script>>, RunError> {
    let scenario = &resolved.scenario;
    if scenario.media.mode != MediaMode::Conversation {
        return Ok(None);
    }
    let alone = [TurnSettings { say: Some(ALONE.into()), ..TurnSettings::default() }];
    let settings = if scenario.turn.is_empty() { &alone[..] } else { &scenario.turn[..] };
    let mut names = Vec::new();
    let mut prompts = Vec::new();
    let mut turns = Vec::new();
    for (n, turn) in settings.iter().enumerate() {
        let key =
            |key: &str| if scenario.turn.is_empty() { "turn".into() } else { format!("turn.{n}.{key}") };
        let mut prompt = |key: String, name: &Option<String>| -> Result<Option<usize>, RunError> {
            let Some(name) = name else { return Ok(None) };
            if let Some(at) = names.iter().position(|known| known == name) {
                return Ok(Some(at));
            }
            prompts.push(Arc::new(read(resolved, &key, name)?));
            names.push(name.clone());
            Ok(Some(names.len() - 1))
        };
        turns.push(Turn {
            say: prompt(key("say"), &turn.say)?,
            backchannel: prompt(key("backchannel"), &turn.backchannel)?,
            wait: match turn.wait {
                TurnWait::Reply => Wait::Reply,
                TurnWait::Nothing => Wait::Nothing,
            },
            interrupt_after: turn.interrupt_after.map(|span| span.0),
            pause: turn.pause.map_or(std::time::Duration::ZERO, |span| span.0),
            dtmf: digits(resolved, &key("dtmf"), turn.dtmf.as_deref())?,
        });
    }
    let conversation = &scenario.conversation;
    let script = Script::new(turns, conversation.greeting, conversation.reply_within.0, prompts, RATE_HZ);
    let script = script.map_err(|error| refused(resolved, "turn", error.to_string(), "change that turn"))?;
    Ok(Some(Arc::new(script)))
}

/// What callers read aloud; `None` where they do not.
pub(super) fn passages(resolved: &Resolved) -> Result<Option<Arc<Passages>>, RunError> {
    let scenario = &resolved.scenario;
    if scenario.media.mode != MediaMode::Speech {
        return Ok(None);
    }
    let key = "speech.say";
    let prompts = scenario.speech.prompts().into_iter().map(|name| read(resolved, key, name));
    let passages = Passages::join(&prompts.collect::<Result<Vec<_>, _>>()?);
    let cure = "list prompts in which somebody speaks, of 20 s at the most";
    let passages = passages.map_err(|error| refused(resolved, key, error.to_string(), cure))?;
    let lasts = Span(time_of(passages.longest() as u64));
    let (call, named) = match &scenario.load.call_duration {
        Some(duration) => (duration.longest().min(scenario.hold()), "load.call_duration"),
        None => (scenario.hold(), "load.duration"),
    };
    if Span(call) < lasts {
        let message = format!("a passage of {lasts} does not end within a call, and would have no score");
        let cure = "let calls last two passages and more, or list shorter prompts in speech.say";
        return Err(refused(resolved, named, message, cure));
    }
    Ok(Some(Arc::new(passages)))
}

fn digits(resolved: &Resolved, key: &str, text: Option<&str>) -> Result<Option<Digits>, RunError> {
    let parsed = text.map(str::parse::<Digits>).transpose();
    parsed.map_err(|error| refused(resolved, key, error.to_string(), "dial 0-9, *, # and A-D, as in \"1#\""))
}

/// A built-in prompt, or a file's.
fn read(resolved: &Resolved, key: &str, name: &str) -> Result<Clip, RunError> {
    if let Some(clip) = builtin(name) {
        return Ok(clip);
    }
    let is_file = name.contains(['.', '/']);
    let cure = match is_file {
        true => "name a WAV file that this process may read, from the folder that loadtest is started in"
            .to_string(),
        false => format!("name a WAV file, or one of {}", BUILTIN.join(", ")),
    };
    let shown = visible(name);
    let bytes = read_bytes(Path::new(name), MOST_BYTES)
        .map_err(|error| refused(resolved, key, format!("{shown} cannot be read: {error}"), &cure))?;
    let clip = Clip::from_wav(&bytes);
    let clip = clip.map_err(|error| {
        refused(resolved, key, format!("{shown}: {error}"), "convert it, or name another")
    })?;
    Ok(clip.at_rate(RATE_HZ))
}

fn refused(resolved: &Resolved, key: &str, message: String, cure: &str) -> RunError {
    resolved.error(&[Problem::new(key, message, cure)], 0).into()
}
