//! `docs/troubleshooting.md` has every message that the program ends with.

use std::fs;
use std::path::{Path, PathBuf};

/// Places that make the messages which end the program, up to their text.
const MAKERS: [&str; 8] = [
    "Failure::usage(",
    "Failure::broke(",
    "RunError::Obstacle(",
    "RunError::Unusable(",
    "AsteriskError::Failed(",
    "AsteriskError::with_lines(",
    "obstacles.push(",
    "#[error(",
];
/// Code whose messages come to the user as they are.
const PLACES: [&str; 8] = [
    "src/cli",
    "src/run",
    "src/asterisk",
    "src/driver",
    "src/scheduling.rs",
    "src/net/ports.rs",
    "src/record/hlog.rs",
    "src/report/capacity/stored.rs",
];
/// Shorter pieces of text say nothing by themselves.
const SHORTEST: usize = 8;

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        return found.push(path.into());
    }
    for entry in fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
        sources(&entry.expect("an entry").path(), found);
    }
}

/// The first string literal in a piece of code, without what continues its lines.
fn literal(code: &str) -> Option<String> {
    let mut chars = code[code.find('"')? + 1..].chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                '\n' => {
                    let rest = chars.as_str().trim_start();
                    chars = rest.chars();
                }
                'n' => text.push(' '),
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    None
}

/// The piece that says what happened: the longest between values of the first part that is long enough. The cure, behind
/// a colon, may be worded otherwise in a table.
fn telling_piece(message: &str) -> Option<String> {
    let mut depth = 0;
    let plain: String = message
        .chars()
        .filter_map(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if depth > 0 => {}
                c => return Some(c),
            }
            (c == '}' && depth == 0).then_some('\0')
        })
        .collect();
    let longest = |part: &str| {
        let pieces = part.split('\0').map(|piece| piece.trim_matches([' ', '`', '\'', ')', ',']));
        pieces.max_by_key(|piece| piece.len()).map(String::from)
    };
    plain.split([':', ';', '(']).filter_map(longest).find(|piece| piece.len() >= SHORTEST)
}

/// Every message in the shipped code of a file, by the piece that a page must have.
fn messages(code: &str) -> Vec<String> {
    let shipped = code.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines: Vec<_> = shipped.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let shipped = lines.join("\n");
    let mut found = Vec::new();
    for maker in MAKERS {
        for (at, _) in shipped.match_indices(maker) {
            let rest = &shipped[at + maker.len()..];
            let end = if maker.starts_with('#') { ")]" } else { ";\n" };
            found.extend(rest.split(end).next().and_then(literal).and_then(|text| telling_piece(&text)));
        }
    }
    found
}

#[test]
fn every_message_has_its_row() {
    let page = fs::read_to_string("docs/troubleshooting.md").expect("the page");
    let (mut files, mut seen, mut missing) = (Vec::new(), 0, Vec::new());
    PLACES.iter().for_each(|place| sources(Path::new(place), &mut files));
    for file in files {
        for piece in messages(&fs::read_to_string(&file).expect("source")) {
            seen += 1;
            if !page.contains(&piece) {
                missing.push(format!("{}: `{piece}`", file.display()));
            }
        }
    }
    assert!(seen > 35, "{seen} messages: the code was not understood");
    let missing_text = missing.join("\n");
    assert!(
        missing.is_empty(),
        "not in docs/troubleshooting.md, each with its reason and its cure:\n{missing_text}"
    );
}

#[test]
fn the_scanner_reads_messages() {
    let code = "x(RunError::Obstacle(format!(\n \"{key}: {n:.0} are free, \\\n   taken: stop\")));\n#[error(\"cannot go to {0}\")]\n";
    assert_eq!(messages(code), ["are free, taken", "cannot go to"]);
}
