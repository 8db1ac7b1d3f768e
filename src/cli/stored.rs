//! Reads the folder of a run.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::Context as _;

use super::Failure;
use crate::record::Run;
use crate::record::stored::Stored;

/// Largest file of a run that is read: some million calls.
const MOST_BYTES: u64 = 1 << 30;

/// The run stored in a folder.
///
/// # Errors
/// When it is not there, damaged, or of a newer version.
pub fn read(folder: &Path) -> Result<Run, Failure> {
    let bytes = |name: &str, needed: bool| -> Result<Vec<u8>, Failure> {
        let path = folder.join(name);
        let file = match File::open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound && !needed => return Ok(Vec::new()),
            Err(e) => {
                let made_without =
                    e.kind() == ErrorKind::NotFound && folder.join("environment.json").is_file();
                let cure = match made_without {
                    true => "a run made without csv in --report cannot be read again",
                    false => "name the folder of a run, as reports/example",
                };
                let path = path.display();
                return Err(Failure::usage(format!("cannot read {path}: {e}; {cure}")));
            }
            Ok(file) => file,
        };
        let mut bytes = Vec::new();
        let read = file.take(MOST_BYTES).read_to_end(&mut bytes);
        read.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(bytes)
    };
    let stored = Stored {
        environment: bytes("environment.json", true)?,
        calls: bytes("calls.csv", true)?,
        seconds: bytes("seconds.csv", true)?,
        // These came with later versions.
        call_seconds: bytes("call_seconds.csv", false)?,
        silences: bytes("silences.csv", false)?,
        hlog: bytes("rtt.hlog", true)?,
    };
    stored.read().map_err(|e| Failure::usage(format!("{}: {e}", folder.display())))
}
