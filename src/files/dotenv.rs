//! `.env` of the working directory: a few settings of ours, from a file that nobody else can have written.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use super::read::{opened, text};

/// Settings that are taken. Each is a word, never the name of a program: LOADTEST_ASTERISK is taken from the
/// environment alone.
pub const KEYS: [&str; 9] = [
    "ARI_URL",
    "ARI_USER",
    "ARI_PASS",
    "APP_NAME",
    "PORT_RANGE",
    "SIP_ADDRESS",
    "SIP_USER",
    "SIP_PASS",
    "RUST_LOG",
];
/// Settings of `docker-compose.yml`, which reads the same file.
const OF_COMPOSE: [&str; 6] =
    ["ASTERISK_RTP_PORTS", "MEDIA_PORTS", "SIP_PORT", "ARI_PORT", "SERVICE_PORT", "SCENARIO"];

const MOST_BYTES: u64 = 64 << 10;
/// Longest name that is shown, and most of them.
const NAME_SHOWN: usize = 40;
const NAMES_SHOWN: usize = 5;

/// The settings of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Those that are taken, in the file's order.
    pub taken: Vec<(String, String)>,
    /// Names of the others, cut to what can be printed.
    pub ignored: Vec<String>,
}

/// Reads a `.env` file, if there is one.
///
/// # Errors
/// In a sentence, with the cure: it is no regular file, another's, writable by others, or damaged.
pub fn settings(path: &Path) -> Result<Settings, String> {
    let unusable = |why: &str| format!("the file {} cannot be used: {why}", path.display());
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Settings::default()),
        Err(error) => return Err(unusable(&error.to_string())),
        // Whoever may lay a link chooses the file.
        Ok(entry) => ours(&entry).map_err(|why| unusable(&why))?,
    }
    // Owner and mode are those of the open file, not of one that stood there a moment ago.
    let file = opened(path).map_err(|error| unusable(&error.to_string()))?;
    let metadata = file.metadata().map_err(|error| unusable(&error.to_string()))?;
    ours(&metadata).map_err(|why| unusable(&why))?;
    let bytes = text(file, MOST_BYTES).map_err(|error| unusable(&error.to_string()))?;
    parse(&bytes).map_err(|why| unusable(&why))
}

/// Refuses what another user owns or may write.
fn ours(metadata: &fs::Metadata) -> Result<(), String> {
    let (owner, me) = (metadata.uid(), geteuid().as_raw());
    if owner != me && owner != 0 {
        return Err(format!(
            "it belongs to user {owner}, who could set what this program does; remove it, or take it over with chown"
        ));
    }
    // A link's own mode says nothing.
    let mode = if metadata.is_symlink() { 0 } else { metadata.mode() };
    let by_group = mode & 0o020 != 0 && metadata.gid() != getegid().as_raw();
    if mode & 0o002 != 0 || by_group {
        return Err("others may write it, and so set what this program does; chmod go-w would do".into());
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for pair in dotenvy::from_read_iter(bytes) {
        let (name, value) = pair.map_err(|error| match error {
            // Its display shows the line, which may hold a password.
            dotenvy::Error::LineParse(_, at) => {
                format!("a line of it is no NAME=VALUE, at byte {at} of that line")
            }
            dotenvy::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => "it is no text".into(),
            _ => "it is damaged".into(),
        })?;
        if KEYS.contains(&name.as_str()) {
            settings.taken.push((name, value));
        } else if !OF_COMPOSE.contains(&name.as_str()) {
            let shown = name.chars().take(NAME_SHOWN).map(|c| if c.is_ascii_graphic() { c } else { '?' });
            settings.ignored.push(shown.collect());
        }
    }
    Ok(settings)
}

impl Settings {
    /// The note on settings that are not taken, if there are any.
    pub fn note(&self) -> Option<String> {
        let count = self.ignored.len();
        let shown = self.ignored[..count.min(NAMES_SHOWN)].join(", ");
        let more =
            if count > NAMES_SHOWN { format!(" and {} more", count - NAMES_SHOWN) } else { String::new() };
        (count > 0).then(|| {
            format!(".env: {shown}{more} ignored; only {} are taken from it: export others", KEYS.join(", "))
        })
    }

    /// Sets those that are taken and not set yet in the environment of this process.
    ///
    /// # Safety
    /// No other thread may run.
    pub unsafe fn export(self) {
        for (name, value) in self.taken.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
            // SAFETY: the caller's.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn known_settings_are_taken_and_no_others() {
        let text = b"ARI_PASS='a b'\nLD_PRELOAD=/tmp/x.so\nPATH=/tmp\nSIP_PORT=5\nexport PORT_RANGE=1-2\nLOADTEST_ASTERISK=./x\n";
        let settings = parse(text).unwrap();
        let taken =
            [("ARI_PASS", "a b"), ("PORT_RANGE", "1-2")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(settings.taken, taken);
        let note = settings.note().unwrap();
        assert!(
            note.starts_with(".env: LD_PRELOAD, PATH, LOADTEST_ASTERISK ignored; only ARI_URL"),
            "{note}"
        );
        assert_eq!(parse(b"# nothing\n\nSCENARIO=x\n").unwrap().note(), None);
        let many: String = (0..9).map(|n| format!("N{n}=1\n")).collect();
        assert!(parse(many.as_bytes()).unwrap().note().unwrap().contains("N4 and 4 more ignored"));
        for damaged in [&b"ARI_PASS=secret word\n"[..], b"=\n", b"\xff\xfe=1\n"] {
            let why = parse(damaged).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_file_of_others_is_refused_with_its_cure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        assert_eq!(settings(&path).unwrap(), Settings::default());
        fs::write(&path, "ARI_USER=me\n").unwrap();
        let with = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            settings(&path)
        };
        assert_eq!(with(0o640).unwrap().taken.len(), 1);
        assert!(with(0o666).unwrap_err().contains("chmod go-w"));
        if geteuid().is_root() {
            with(0o644).unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            let why = settings(&path).unwrap_err();
            assert!(why.contains("user 12345") && why.contains("chown"), "{why}");
        }
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(settings(&path).unwrap_err().contains("a pipe"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(settings(&path).unwrap_err().contains("a folder"));
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/nowhere", &path).unwrap();
        assert!(settings(&path).unwrap_err().contains("cannot be used"));
    }
}
