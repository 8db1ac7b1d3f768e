//! modules.conf: the modules that an Asterisk has to have, those for the way of an application's media, and what older
//! versions lack.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::config::TEMPLATES;
use super::error::AsteriskError;
use crate::values::MediaWay;

/// Coders of the formats that externalMedia takes. Without the resampler delays grow, for what it would change is dropped.
const TRANSCODING: [&str; 4] = ["codec_ulaw.so", "codec_alaw.so", "codec_g722.so", "codec_resample.so"];
/// Without the codecs a call is silent, although its channels are bridged: AudioSocket carries linear audio.
const AUDIOSOCKET: [&str; 4] =
    ["codec_ulaw.so", "codec_alaw.so", "res_audiosocket.so", "chan_audiosocket.so"];
const WEBSOCKET: [&str; 1] = ["chan_websocket.so"];

/// Modules beyond those of every run. Both bridges of every run stay the only ones: `bridge_simple` hands frames on, by way
/// of the coders where formats differ, and nothing mixes.
fn needed(media: MediaWay, transcodes: bool) -> &'static [&'static str] {
    match media {
        MediaWay::Rtp if transcodes => &TRANSCODING,
        MediaWay::Rtp => &[],
        MediaWay::AudioSocket => &AUDIOSOCKET,
        MediaWay::WebSocket => &WEBSOCKET,
    }
}

/// Lines of modules.conf for the way of an application's media. An Asterisk that lacks one cannot carry it.
///
/// # Errors
/// One is not in `dir`.
pub(super) fn of_media(dir: &Path, media: MediaWay, transcodes: bool) -> Result<String, AsteriskError> {
    let needed = needed(media, transcodes);
    if let Some(missing) = needed.iter().find(|name| !dir.join(name).exists()) {
        let (setting, cure) = match media {
            MediaWay::Rtp => ("service.codec".to_string(), "leave service.codec out"),
            _ => (format!("service.media = \"{media}\""), "set service.media = \"rtp\""),
        };
        return Err(AsteriskError::Failed(format!(
            "{setting} needs a module that this Asterisk does not have: there is no {missing} in {}; use an Asterisk that \
             has it (Debian's 22, as asterisk/install.sh gets it), or {cure}",
            dir.display(),
        )));
    }
    Ok(needed.iter().map(|name| format!("require = {name}\n")).collect())
}

/// Takes out the `load =` lines of modules that this Asterisk does not have: older versions lack some.
pub(super) fn without_missing(modules_conf: &str, dir: &Path) -> String {
    modules_conf
        .lines()
        .filter(|line| optional(line).is_none_or(|module| dir.join(module).exists()))
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn optional(line: &str) -> Option<&str> {
    line.strip_prefix("load = ").map(str::trim)
}

/// The modules without which an Asterisk is of no use here, as modules.conf lists them.
pub fn required() -> impl Iterator<Item = &'static str> {
    let modules = TEMPLATES.iter().find(|(name, _)| *name == "modules.conf").map_or("", |(_, text)| text);
    modules.lines().filter_map(|line| line.strip_prefix("require = ")).map(str::trim)
}

/// The required modules that are not in `dir`.
pub fn missing(dir: &Path) -> Vec<&'static str> {
    let there: HashSet<_> = fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|e| e.file_name()).collect())
        .unwrap_or_default();
    required().filter(|m| !there.contains(OsStr::new(m))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAYS: [(&str, MediaWay, bool); 4] = [
        ("`rtp`", MediaWay::Rtp, false),
        ("`rtp` with another `service.codec`", MediaWay::Rtp, true),
        ("`audiosocket`", MediaWay::AudioSocket, false),
        ("`websocket`", MediaWay::WebSocket, false),
    ];

    #[test]
    fn an_asterisk_without_modules_lacks_all_that_are_required() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(missing(dir.path()).len(), required().count());
        assert!(required().count() > 30);
    }

    #[test]
    fn a_way_is_refused_by_what_it_lacks_and_with_what_to_change() {
        let dir = tempfile::tempdir().unwrap();
        let lines = |media, transcodes| of_media(dir.path(), media, transcodes);
        assert_eq!(lines(MediaWay::Rtp, false).unwrap(), "");
        for (media, transcodes, setting, cure) in [
            (MediaWay::Rtp, true, "service.codec needs", "leave service.codec out"),
            (
                MediaWay::AudioSocket,
                false,
                "service.media = \"audiosocket\" needs",
                "set service.media = \"rtp\"",
            ),
            (MediaWay::WebSocket, false, "no chan_websocket.so in", "set service.media = \"rtp\""),
        ] {
            let said = lines(media, transcodes).unwrap_err().to_string();
            assert!(said.contains(setting) && said.ends_with(cure), "{said}");
        }
        TRANSCODING.iter().for_each(|name| fs::write(dir.path().join(name), "").unwrap());
        let expected: String = TRANSCODING.iter().map(|name| format!("require = {name}\n")).collect();
        assert_eq!(lines(MediaWay::Rtp, true).unwrap(), expected);
    }

    /// The table of asterisk/README.md names the codecs, ways and bridges of each setting, and no others.
    #[test]
    fn the_readme_says_which_modules_are_loaded_when() {
        let readme = include_str!("../../asterisk/README.md");
        let is_of_media = |name: &&str| ["codec_", "bridge_"].iter().any(|prefix| name.starts_with(prefix));
        let always: Vec<_> = required().filter(is_of_media).collect();
        assert!(always.len() == 2 && always.iter().all(|name| name.starts_with("bridge_")), "{always:?}");
        for (setting, media, transcodes) in WAYS {
            let row = readme.lines().find(|line| line.starts_with(&format!("| {setting} |"))).expect(setting);
            let named = row.split('`').filter(|word| word.contains('_') && !word.contains('.'));
            let expected = needed(media, transcodes).iter().map(|name| name.trim_end_matches(".so"));
            assert_eq!(named.collect::<HashSet<_>>(), expected.collect(), "{row}");
        }
        let bridges = readme.lines().find(|line| line.contains("`bridge_simple`")).expect("the bridges");
        assert!(always.iter().all(|name| bridges.contains(name.trim_end_matches(".so"))), "{bridges}");
    }
}
