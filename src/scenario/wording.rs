//! The deserialiser's words → fault and cure of a scenario.

use super::error::Problem;

/// Rewords what the deserialiser says of `value`, a piece of TOML as it is written, that `key` has. There is no
/// cure where the message holds it already.
pub(super) fn reword(said: &str, key: &str, value: &str) -> Problem {
    if let Some((name, known)) = said.strip_prefix("unknown field ").and_then(|rest| named(rest)) {
        let nearest = known.iter().min_by_key(|known| strsim::osa_distance(known, name));
        let near = nearest.filter(|near| strsim::osa_distance(near, name) <= name.len() / 2);
        return Problem::new(key, said, near.map_or(String::new(), |near| format!("did you mean `{near}`?")));
    }
    let types = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    if let Some((found, wanted)) = types.and_then(|rest| rest.split_once(", expected ")) {
        // A table is too long to be repeated.
        let shown = if value.lines().count() == 1 && value.len() <= 60 { value } else { found };
        let (what, cure) = wants(wanted, key, value);
        return Problem::new(key, format!("{key} = {shown}: {what} belongs here"), cure);
    }
    if let Some(name) = said.strip_prefix("missing field ") {
        return Problem::new(key, format!("{name} is missing"), format!("add {name}: it has no default"));
    }
    match said {
        "wanted string or table" => Problem::new(
            key,
            format!("{key} = {value}: a word belongs here"),
            "write it in quotes, as in \"PCMU\"",
        ),
        "invalid IP address syntax" => Problem::new(
            key,
            format!("{key} = {value}: an IP address belongs here"),
            "write it in digits, as in \"127.0.0.1\"; names are not looked up here",
        ),
        "invalid socket address syntax" => {
            let cure = "write IP address and port, as in \"127.0.0.1:9090\"; port 0 is any free one";
            Problem::new(key, format!("{key} = {value}: an address with its port belongs here"), cure)
        }
        other => Problem::new(key, other, ""),
    }
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
        "a rate" => ("a rate", format!("say per what, as in \"{bare}/s\" or \"{bare}/m\"")),
        "a share" => ("a share in per cent", share(bare)),
        "host and port" => ("a host with its port", "write both, as in \"127.0.0.1:5060\"".into()),
        "a port range" => ("a port range", "write first and last port, as in \"21000-31000\"".into()),
        "socket address" => ("an address with its port", "write both, as in \"127.0.0.1:9090\"".into()),
        "IP address" => ("an IP address", "write it in quotes, as in \"127.0.0.1\"".into()),
        "a boolean" => ("true or false", "write it without quotes".into()),
        "a string" => ("text", format!("put it in quotes: \"{bare}\"")),
        "a sequence" if key == "fault" => {
            return ("tables".into(), "write [[fault]] and its keys below".into());
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
