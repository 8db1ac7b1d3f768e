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

/// Most lines of others that are passed over.
const MOST_UNREADABLE: usize = 100;

/// The settings of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Those that are taken, in the file's order.
    pub taken: Vec<(String, String)>,
    /// Names of the others, cut to what can be printed.
    pub ignored: Vec<String>,
    /// Numbers of lines that were passed over: they are no NAME=VALUE, and not of our names.
    pub unreadable: Vec<usize>,
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

/// Reads the settings out of a file that other programs' settings may share: a line that is no NAME=VALUE ends the
/// reading if its name is one of ours, and is passed over otherwise.
fn parse(bytes: &[u8]) -> Result<Settings, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(&text).split_inclusive('\n').collect();
    let (mut unreadable, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let line = lines[at].trim();
        let taken =
            if line.is_empty() || line.starts_with('#') { Some(1) } else { lines_taken(&lines[at..]) };
        if let Some(taken) = taken {
            at += taken;
            continue;
        }
        let number = at + 1;
        if let Some(name) = KEYS.into_iter().find(|key| *key == name_of(line)) {
            return Err(format!("line {number}, {name}, is no NAME=VALUE; a value with spaces has quotes"));
        }
        if unreadable.len() == MOST_UNREADABLE {
            return Err(format!("more than {MOST_UNREADABLE} of its lines are no NAME=VALUE"));
        }
        unreadable.push(number);
        lines[at] = "\n";
        at = number;
    }
    // Values may name those before them, so they are read as a whole.
    let settings = read(&lines.concat()).map_err(|_| "it is damaged")?;
    match settings.taken.iter().find(|(_, value)| value.contains('\u{fffd}')) {
        Some((name, _)) => Err(format!("the value of {name} is no UTF-8")),
        None => Ok(Settings { unreadable, ..settings }),
    }
}

/// Number of lines that the first setting takes, of which a quoted value may have several; `None` where the first
/// line is no setting.
fn lines_taken(lines: &[&str]) -> Option<usize> {
    let mut reader = ByLine { lines: lines.iter(), rest: b"", taken: 0 };
    let first = dotenvy::from_read_iter(&mut reader).next();
    first.is_some_and(|pair| pair.is_ok()).then_some(reader.taken)
}

/// Hands out a line at a time, so that the number of lines read is known.
struct ByLine<'a> {
    lines: std::slice::Iter<'a, &'a str>,
    rest: &'a [u8],
    taken: usize,
}

impl io::Read for ByLine<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            let Some(line) = self.lines.next() else { return Ok(0) };
            (self.rest, self.taken) = (line.as_bytes(), self.taken + 1);
        }
        self.rest.read(to)
    }
}

/// Reads all of a file whose lines are settings.
fn read(text: &str) -> Result<Settings, dotenvy::Error> {
    let mut settings = Settings::default();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = pair?;
        if KEYS.contains(&name.as_str()) {
            settings.taken.push((name, value));
        } else if !OF_COMPOSE.contains(&name.as_str()) {
            let shown = name.chars().take(NAME_SHOWN).map(|c| if c.is_ascii_graphic() { c } else { '?' });
            settings.ignored.push(shown.collect());
        }
    }
    Ok(settings)
}

/// The name that a line begins with, whatever follows it.
fn name_of(line: &str) -> &str {
    let line = line.trim_start();
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
    let line = exported.unwrap_or(line).trim_start();
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

impl Settings {
    /// Notes on settings that are not taken and lines that were passed over.
    pub fn notes(&self) -> impl Iterator<Item = String> + use<> {
        self.ignored_note().into_iter().chain(self.unreadable_note())
    }

    fn unreadable_note(&self) -> Option<String> {
        let numbers: Vec<_> = self.unreadable.iter().take(NAMES_SHOWN).map(usize::to_string).collect();
        let more = match self.unreadable.len().saturating_sub(NAMES_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (line, is) = if self.unreadable.len() == 1 { ("line", "is") } else { ("lines", "are") };
        let shown = numbers.join(", ");
        (!numbers.is_empty()).then(|| {
            format!("warning: .env: {line} {shown}{more} {is} no NAME=VALUE and of no setting of loadtest: passed over")
        })
    }

    fn ignored_note(&self) -> Option<String> {
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
        let note = settings.notes().next().unwrap();
        assert!(
            note.starts_with(".env: LD_PRELOAD, PATH, LOADTEST_ASTERISK ignored; only ARI_URL"),
            "{note}"
        );
        assert_eq!(parse(b"# nothing\n\nSCENARIO=x\n").unwrap().notes().next(), None);
        let many: String = (0..9).map(|n| format!("N{n}=1\n")).collect();
        assert!(parse(many.as_bytes()).unwrap().notes().next().unwrap().contains("N4 and 4 more ignored"));
    }

    #[test]
    fn a_bad_line_of_ours_is_named_and_one_of_others_is_passed_over() {
        for ours in
            ["ARI_PASS=secret word", " export ARI_PASS = secret word", "ARI_PASS secret", "ARI_PASS='secret"]
        {
            let why = parse(format!("A=1\n\n{ours}\nSIP_USER=me\n").as_bytes()).unwrap_err();
            assert!(why.starts_with("line 3, ARI_PASS, is no NAME=VALUE"), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
        let me = vec![("SIP_USER".to_string(), "me".to_string())];
        for theirs in ["OTHER=it's mine", "OTHER=a secret", "=", "secret: word", "-----END KEY-----"] {
            let settings = parse(format!("\u{feff}A='1\n2'\n{theirs}\nSIP_USER=me\nB=1").as_bytes()).unwrap();
            assert_eq!((&settings.taken, &settings.unreadable), (&me, &vec![3]), "{theirs}");
            let said: String = settings.notes().collect();
            assert!(said.contains("line 3 is no NAME=VALUE") && !said.contains("secret"), "{said}");
        }
        let settings = parse(b"A=1\nA\nSIP_USER=me\nA B # c\n").unwrap();
        assert_eq!((&settings.taken, &settings.unreadable), (&me, &vec![2, 4]));
        let settings = parse(b"X=me\n=\n\n# it's\nSIP_USER=${X} # mine\n").unwrap();
        assert_eq!((&settings.taken, &settings.unreadable), (&me, &vec![2]));
        let settings = parse(b"\xff\xfe=1\r\nSIP_USER=me\r\nNAME=caf\xe9\r\n").unwrap();
        assert_eq!((&settings.taken, &settings.unreadable), (&me, &vec![1]));
        assert!(parse(b"SIP_PASS=caf\xe9\n").unwrap_err().contains("SIP_PASS is no UTF-8"));
        let settings = parse("a b\n".repeat(7).as_bytes()).unwrap();
        assert!(settings.notes().any(|note| note.contains("lines 1, 2, 3, 4, 5 and 2 more are no")));
        assert!(parse("a b\n".repeat(101).as_bytes()).unwrap_err().contains("more than 100"));
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
