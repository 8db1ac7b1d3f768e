//! Modules of an Asterisk: those that modules.conf always names, and those that a run's media call for.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::config::TEMPLATES;
use super::error::AsteriskError;
use super::process::StartConfig;
use crate::rtp::Codec;
use crate::values::{BridgeKind, MediaWay};

/// Coders of the formats that externalMedia takes. Without the resampler delays grow, for what it would change is dropped.
const CODERS: [&str; 4] = ["codec_ulaw.so", "codec_alaw.so", "codec_g722.so", "codec_resample.so"];
const OPUS_CODER: &str = "codec_opus_open_source.so";
/// Bridges that pass packets on: any of them is preferred to the mixer.
const PASSING_BRIDGES: [&str; 2] = ["bridge_simple.so", "bridge_native_rtp.so"];
const MIXER: &str = "bridge_softmix.so";
/// Jitter buffers of channels.
const JITTER_BUFFER: &str = "func_jitterbuffer.so";

/// A need of modules: those, the setting from which it comes, and the way to do without.
struct Need {
    modules: Vec<&'static str>,
    setting: String,
    instead: &'static str,
}

/// Lines of modules.conf for the run's media.
///
/// # Errors
/// This Asterisk lacks one of the modules.
pub fn for_media(config: &StartConfig) -> Result<String, AsteriskError> {
    let mut lines: Vec<String> = Vec::new();
    for Need { modules, setting, instead } in needs(config) {
        let dir = &config.install.module_dir;
        if let Some(missing) = modules.iter().find(|name| !dir.join(name).exists()) {
            return Err(AsteriskError::Failed(format!(
                "{setting} needs a module that this Asterisk does not have: there is no {missing} in {}; use an Asterisk that \
                 has it (Debian's 22, as asterisk/install.sh gets it), or {instead}",
                dir.display()
            )));
        }
        lines.extend(modules.iter().map(|name| format!("require = {name}\n")));
    }
    lines.sort();
    lines.dedup();
    Ok(lines.concat())
}

fn needs(config: &StartConfig) -> Vec<Need> {
    let mut needs = Vec::new();
    let way = |modules| Need {
        modules,
        setting: format!("service.media = \"{}\"", config.media),
        instead: "set service.media = \"rtp\"",
    };
    match config.media {
        MediaWay::Rtp => {}
        // Without the codecs a call is silent, although its channels are bridged.
        MediaWay::AudioSocket => needs.push(way(vec![
            "codec_ulaw.so",
            "codec_alaw.so",
            "res_audiosocket.so",
            "chan_audiosocket.so",
        ])),
        MediaWay::WebSocket => needs.push(way(vec!["chan_websocket.so"])),
    }
    if !config.transcodes.is_empty() {
        let opus = config.transcodes.contains(&Codec::Opus).then_some(OPUS_CODER);
        let names: Vec<_> = config.transcodes.iter().map(|codec| codec.name()).collect();
        needs.push(Need {
            modules: CODERS.into_iter().chain(opus).collect(),
            setting: format!("transcoding {}", names.join(" and ")),
            instead: "leave service.codec out",
        });
    }
    if config.bridge == BridgeKind::Softmix {
        needs.push(Need {
            modules: CODERS.into_iter().chain([MIXER]).collect(),
            setting: "asterisk.bridge = \"softmix\"".into(),
            instead: "leave asterisk.bridge out",
        });
    }
    if config.jitter_buffer.is_some() {
        needs.push(Need {
            modules: vec![JITTER_BUFFER],
            setting: "asterisk.jitter_buffer".into(),
            instead: "leave asterisk.jitter_buffer out",
        });
    }
    needs
}

/// modules.conf as it is for this Asterisk: without the optional modules that it does not have (older versions lack
/// some), and without those that pass packets on where the bridges are to mix.
pub fn suited(modules_conf: &str, module_dir: &Path) -> String {
    let mixes = modules_conf.lines().any(|line| required(line) == Some(MIXER));
    let is_left_out = |line: &str| {
        optional(line).is_some_and(|module| !module_dir.join(module).exists())
            || mixes && required(line).is_some_and(|module| PASSING_BRIDGES.contains(&module))
    };
    modules_conf.lines().filter(|line| !is_left_out(line)).flat_map(|line| [line, "\n"]).collect()
}

fn optional(line: &str) -> Option<&str> {
    line.strip_prefix("load = ").map(str::trim)
}

fn required(line: &str) -> Option<&str> {
    line.strip_prefix("require = ").map(str::trim)
}

/// The modules without which an Asterisk is of no use here, as modules.conf lists them.
pub fn required_modules() -> impl Iterator<Item = &'static str> {
    let modules = TEMPLATES.iter().find(|(name, _)| *name == "modules.conf").map_or("", |(_, text)| text);
    modules.lines().filter_map(required)
}

/// The required modules that are not in `dir`.
pub fn missing_modules(dir: &Path) -> Vec<&'static str> {
    let there: HashSet<_> = fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|e| e.file_name()).collect())
        .unwrap_or_default();
    required_modules().filter(|m| !there.contains(std::ffi::OsStr::new(m))).collect()
}
