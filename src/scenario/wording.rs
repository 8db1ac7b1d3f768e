//! The deserialiser's words → fault and cure of a scenario.

use std::borrow::Cow;

use super::error::Problem;
use super::{keys, tried};

/// Longest name that is compared with others: a longer text is no name with a slip in it.
const LONGEST_NAME: usize = 64;

/// Rewords what the deserialiser says of `value`, a piece of TOML as it is written, that the key at `path` has. There
/// is no cure where the message holds it already.
pub(super) fn reword(said: &str, path: &str, value: &str) -> Problem {
    if let Some((name, known)) = said.strip_prefix("unknown field ").and_then(|rest| named(rest)) {
        return unknown_key(name, path, &known);
    }
    if let Some((word, known)) = said.strip_prefix("unknown variant ").and_then(|rest| named(rest)) {
        return unknown_word(word, path, &known);
    }
    let key = path.rsplit('.').next().unwrap_or_default();
    let types = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    if let Some((found, wanted)) = types.and_then(|rest| rest.split_once(", expected ")) {
        // A table is too long to be repeated.
        let shown = if value.lines().count() == 1 && value.len() <= 60 { value } else { found };
        let (what, cure) = wants(wanted, key, value);
        return Problem::new(path, format!("{path} = {shown}: {what} belongs here"), cure);
    }
    if let Some(name) = said.strip_prefix("missing field ") {
        return Problem::new(path, format!("{name} is missing"), format!("add {name}: it has no default"));
    }
    if let Some((fault, cure)) = said.split_once("; ").filter(|(fault, _)| fault.ends_with("is no address")) {
        let host = value.trim_matches(['"', '\'']);
        let is_target = path == "asterisk.sip" || path.starts_with("asterisk.sip.");
        let lacks_port = (is_target || path == "sip.proxy") && !host.contains(':');
        let with_port = || format!("write its port too: {host}:5060, over TLS mostly {host}:5061");
        let bare = ["sips:", "sip:", "http://", "https://"].into_iter().find_map(|scheme| {
            let rest = host.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
            rest.map(|start| (start, host[start.len()..].split([';', '?']).next().unwrap_or_default()))
        });
        let cure = match bare {
            _ if is_target && host.contains(',') => {
                let each: Vec<_> = host.split(',').map(|host| format!("\"{}\"", host.trim())).collect();
                format!("write a list: [{}]", each.join(", "))
            }
            Some((scheme, rest)) if rest.contains(':') => format!("write it without `{scheme}`: {rest}"),
            Some((scheme, rest)) => format!("write it without `{scheme}`, and with its port: {rest}:5060"),
            None if lacks_port => with_port(),
            None => cure.into(),
        };
        return Problem::new(path, format!("{path}: {fault}"), cure);
    }
    let belongs =
        |what: &str, cure: &str| Problem::new(path, format!("{path} = {value}: {what} belongs here"), cure);
    match said {
        "wanted string or table" => {
            let known = tried::word(&without_numbers(path).0, value.trim_matches(['[', ']', '"', '\'', ' ']));
            belongs("a word", known.unwrap_or("write it in quotes, as in \"PCMU\""))
        }
        "invalid IP address syntax" if value.trim_matches(['"', '\'']).starts_with('[') => {
            let bare = value.trim_matches(['"', '\'', '[', ']']);
            belongs("an IP address", &format!("write it without brackets: {bare}"))
        }
        "invalid IP address syntax" => {
            belongs("an IP address", "write it in digits, as in \"127.0.0.1\"; names are not looked up here")
        }
        "invalid socket address syntax" => belongs(
            "an address with its port",
            "write IP address and port, as in \"127.0.0.1:9090\"; port 0 is any free one",
        ),
        other => Problem::new(path, other, ""),
    }
}

/// The key `name` at `path`, in a table that has the keys `known`.
fn unknown_key(name: &str, path: &str, known: &[&str]) -> Problem {
    let (path, is_listed) = without_numbers(path);
    let table = path.rsplit_once('.').map_or("", |(table, _)| table);
    let (whole, of) = match (table, is_listed) {
        ("", _) => (name.to_string(), "a scenario".to_string()),
        (table, true) => (format!("{table}.{name}"), format!("[[{table}]]")),
        (table, false) => (format!("{table}.{name}"), format!("[{table}]")),
    };
    let known_words: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
    let message = format!("unknown key `{}`; {of} has {}", short(&whole), known_words.join(", "));
    let elsewhere = || {
        let same = |key: &&keys::Key| key.path.rsplit('.').next() == Some(name);
        keys::all().find(same).map(|key| format!("did you mean `{}`?", key.path))
    };
    let cure = nearest(name, known)
        .filter(|(distance, _)| *distance <= 1)
        .map(|(_, near)| format!("did you mean `{near}`?"))
        .or_else(|| tried::key(name).map(String::from))
        .or_else(elsewhere)
        .or_else(|| nearest(name, known).map(|(_, near)| format!("did you mean `{near}`?")))
        .unwrap_or_else(|| "`loadtest run --list-keys` names them all".into());
    Problem::new(&whole, message, cure)
}

/// The beginning of a word that may be of any length.
fn short(word: &str) -> Cow<'_, str> {
    match word.char_indices().nth(LONGEST_NAME) {
        Some((at, _)) => format!("{}…", &word[..at]).into(),
        None => word.into(),
    }
}

/// A path without the places in a list of tables, and true if there were some.
fn without_numbers(path: &str) -> (String, bool) {
    let parts: Vec<_> = path.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
    (parts.join("."), parts.len() < path.split('.').count())
}

/// A word that the key at `path` does not take.
fn unknown_word(word: &str, path: &str, known: &[&str]) -> Problem {
    let known_words: Vec<_> = known.iter().map(|known| format!("\"{known}\"")).collect();
    let message = format!("{path} = \"{}\": one of {} belongs here", short(word), known_words.join(", "));
    let same = known.iter().find(|known| known.eq_ignore_ascii_case(word));
    let cure = same
        .map(|same| format!("did you mean \"{same}\"?"))
        .or_else(|| tried::word(&without_numbers(path).0, word).map(String::from))
        .or_else(|| nearest(word, known).map(|(_, near)| format!("did you mean \"{near}\"?")))
        .unwrap_or_default();
    Problem::new(path, message, cure)
}

/// The known name that is nearest to `name`, with its distance, if it is near.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<(usize, &'a str)> {
    let name: String = name.chars().take(LONGEST_NAME).collect();
    let near = known.iter().map(|known| (strsim::osa_distance(known, &name), *known));
    near.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= name.len() / 2)
}

/// The unknown name and the known ones.
fn named(rest: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = rest.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

/// The expected type in words, and the cure for `value`.
fn wants(wanted: &str, key: &str, value: &str) -> (String, String) {
    let bare = value.trim_matches(['"', '\'']);
    let (what, cure) = match wanted {
        "a duration" => ("a duration", format!("give it a unit, as in \"{bare}s\" or \"{bare}ms\"")),
        "a duration of calls" => (
            "a duration of calls",
            format!(
                "write one for all as in \"{bare}s\", the mean of a distribution as in {{ exponential = \"{bare}s\" }}, or \
                 a list"
            ),
        ),
        "a rate or a duration" => (
            "a rate or a duration",
            format!("say per what as in \"{bare}/s\", or the time for all calls as in \"{bare}s\""),
        ),
        "a rate" => ("a rate", format!("say per what, as in \"{bare}/s\" or \"{bare}/m\"")),
        "a share" => ("a share in per cent", share(bare)),
        // `HostPort::ONE_OR_MORE`
        "host and port, or a list of them" => (
            "a host with its port, or a list of such,",
            "write both, as in \"127.0.0.1:5060\" or [\"10.0.0.1:5060\", \"10.0.0.2:5060\"]".into(),
        ),
        // `HttpUrl::ONE_OR_MORE`
        "an http address, or a list of them" | "an http address" => {
            ("an http address", "write it in quotes, as in \"http://127.0.0.1:8088\"".into())
        }
        "host and port" => ("a host with its port", "write both, as in \"127.0.0.1:5060\"".into()),
        "a port range" => ("a port range", "write first and last port, as in \"21000-31000\"".into()),
        "socket address" => ("an address with its port", "write both, as in \"127.0.0.1:9090\"".into()),
        "IP address" => ("an IP address", "write it in quotes, as in \"127.0.0.1\"".into()),
        "a boolean" => ("true or false", "write it without quotes".into()),
        "true, false or \"auto\"" => {
            ("true, false or \"auto\"", "write it without quotes, but for \"auto\"".into())
        }
        "a string" => ("text", format!("put it in quotes: \"{bare}\"")),
        "a sequence" if ["fault", "stage", "turn"].contains(&key) => {
            return ("tables".into(), format!("write [[{key}]] and its keys below"));
        }
        "a sequence" => ("a list", format!("write {}", list(key, value))),
        "u16" => ("a whole number from 0 to 65535", "write digits alone, as in 8088".into()),
        "u32" | "u64" | "usize" => {
            ("a whole number, not negative,", "write digits alone, as in 10, without quotes".into())
        }
        table if table.starts_with("struct ") => {
            ("a table", format!("write [{key}], and its keys in the lines below"))
        }
        other => return (other.into(), String::new()),
    };
    (what.into(), cure)
}

/// A bare number may be meant in per cent, or as a ratio.
fn share(bare: &str) -> String {
    match bare.parse::<f64>() {
        Ok(ratio) if ratio > 0.0 && ratio <= 1.0 => {
            format!("write \"{bare}%\", or \"{}%\" if {bare} of all is meant", (ratio * 1e12).round() / 1e10)
        }
        _ => format!("write it as in \"{bare}%\""),
    }
}

/// `value` as the list that was meant: words for a command, one element else.
fn list(key: &str, value: &str) -> String {
    let text = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match text.filter(|_| key == "command") {
        Some(text) => {
            let words: Vec<_> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
            format!("[{}]", words.join(", "))
        }
        None => format!("[{value}]"),
    }
}
