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
pub(super) fn for_media(config: &StartConfig) -> Result<String, AsteriskError> {
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
pub(super) fn suited(modules_conf: &str, module_dir: &Path) -> String {
    let mixes = modules_conf.lines().any(|line| demanded(line) == Some(MIXER));
    let is_left_out = |line: &str| {
        optional(line).is_some_and(|module| !module_dir.join(module).exists())
            || mixes && demanded(line).is_some_and(|module| PASSING_BRIDGES.contains(&module))
    };
    modules_conf.lines().filter(|line| !is_left_out(line)).flat_map(|line| [line, "\n"]).collect()
}

fn optional(line: &str) -> Option<&str> {
    line.strip_prefix("load = ").map(str::trim)
}

fn demanded(line: &str) -> Option<&str> {
    line.strip_prefix("require = ").map(str::trim)
}

/// The modules without which an Asterisk is of no use here, as modules.conf lists them.
pub fn required() -> impl Iterator<Item = &'static str> {
    let modules = TEMPLATES.iter().find(|(name, _)| *name == "modules.conf").map_or("", |(_, text)| text);
    modules.lines().filter_map(demanded)
}

/// The required modules that are not in `dir`.
pub fn missing(dir: &Path) -> Vec<&'static str> {
    let there: HashSet<_> = fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|e| e.file_name()).collect())
        .unwrap_or_default();
    required().filter(|m| !there.contains(std::ffi::OsStr::new(m))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::Install;
    use crate::values::JitterBuffer;

    fn config(dir: &Path) -> StartConfig {
        let install = Install {
            program: "/usr/sbin/asterisk".into(),
            loader: None,
            module_dir: dir.into(),
            data_dir: "/usr/share/asterisk".into(),
            version: String::new(),
        };
        StartConfig::new(install, "/logs")
    }

    /// A change to the plain configuration.
    type Change = fn(&mut StartConfig);

    /// Each setting as asterisk/README.md has it, the words of an Asterisk without its modules, and the cure.
    const SETTINGS: [(&str, Change, &str, &str); 6] = [
        (
            "`service.media = \"audiosocket\"`",
            |config| config.media = MediaWay::AudioSocket,
            "service.media = \"audiosocket\" needs",
            "set service.media = \"rtp\"",
        ),
        (
            "`service.media = \"websocket\"`",
            |config| config.media = MediaWay::WebSocket,
            "no chan_websocket.so in",
            "set service.media = \"rtp\"",
        ),
        (
            "`service.codec` other than `media.codec`",
            |config| config.transcodes = vec![Codec::Pcmu, Codec::G722],
            "transcoding PCMU and G722 needs",
            "leave service.codec out",
        ),
        (
            "the same, and one of the two is Opus",
            |config| config.transcodes = vec![Codec::Opus, Codec::Pcmu],
            "transcoding opus and PCMU needs",
            "leave service.codec out",
        ),
        (
            "`asterisk.bridge = \"softmix\"`",
            |config| config.bridge = BridgeKind::Softmix,
            "asterisk.bridge = \"softmix\" needs",
            "leave asterisk.bridge out",
        ),
        (
            "`asterisk.jitter_buffer`",
            |config| config.jitter_buffer = Some(JitterBuffer::Adaptive),
            "no func_jitterbuffer.so in",
            "leave asterisk.jitter_buffer out",
        ),
    ];

    #[test]
    fn an_asterisk_without_modules_lacks_all_that_are_required() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(missing(dir.path()).len(), required().count());
        assert!(required().count() > 30);
    }

    #[test]
    fn a_setting_is_refused_by_what_it_lacks_and_with_what_to_change() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(for_media(&config(dir.path())).unwrap(), "");
        for (_, change, words, cure) in SETTINGS {
            let mut config = config(dir.path());
            change(&mut config);
            let said = for_media(&config).unwrap_err().to_string();
            assert!(said.contains(words) && said.ends_with(cure), "{said}");
        }
    }

    /// The table of asterisk/README.md names the modules of each setting, and no others.
    #[test]
    fn the_readme_says_which_modules_are_loaded_when() {
        let readme = include_str!("../../asterisk/README.md");
        for (setting, change, _, _) in SETTINGS {
            let mut config = config(Path::new("/none"));
            change(&mut config);
            let row = readme.lines().find(|line| line.starts_with(&format!("| {setting} |"))).expect(setting);
            let of_row = row.split('|').nth(2).expect("a column");
            let named = of_row.split('`').filter(|word| word.contains('_') && !word.contains('.'));
            let needed = needs(&config).into_iter().flat_map(|need| need.modules);
            assert_eq!(
                named.collect::<HashSet<_>>(),
                needed.map(|name| name.trim_end_matches(".so")).collect(),
                "{row}"
            );
        }
    }

    #[test]
    fn a_mixer_is_the_only_bridge() {
        let dir = tempfile::tempdir().unwrap();
        for name in CODERS.into_iter().chain([MIXER]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut config = config(dir.path());
        config.bridge = BridgeKind::Softmix;
        let plain: String = required().map(|name| format!("require = {name}\n")).collect();
        let bridges = |modules_conf: &str| -> Vec<String> {
            let text = suited(modules_conf, dir.path());
            text.lines().filter(|line| line.contains("bridge_")).map(str::to_string).collect()
        };
        assert_eq!(bridges(&plain), ["require = bridge_simple.so", "require = bridge_native_rtp.so"]);
        let mixed = plain + &for_media(&config).unwrap();
        assert_eq!(bridges(&mixed), ["require = bridge_softmix.so"]);
    }
}
