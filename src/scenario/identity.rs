//! The rules of `[sip]`: names of callers and callees, headers of one's own, accounts.

use super::error::Problems;
use super::{AsteriskMode, Scenario};
use crate::accounts::{MOST_HEADERS, Template, is_domain, name_fault, value_fault};

/// Characters of a user beside letters and digits.
const MORE: &str = "-_.+*";
/// Longest user, name to be shown, and path.
const LONGEST_USER: usize = 64;
const LONGEST_DISPLAY: usize = 128;
const LONGEST_PATH: usize = 4096;

/// Everything wrong with the names that a scenario gives.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    let sip = &s.sip;
    user("sip.to", &sip.to, s, found);
    if !sip.from.is_empty() {
        user("sip.from", &sip.from, s, found);
    }
    if let Some(domain) = &sip.domain {
        let message = format!("`{}` is no domain", domain.escape_debug());
        found.refuse_if(!is_domain(domain), "sip.domain", message, "write it as in pbx.example");
    }
    if let Some(display) = &sip.display {
        let is_long = display.len() > LONGEST_DISPLAY;
        let cure = format!("use up to {LONGEST_DISPLAY} bytes");
        found.refuse_if(is_long, "sip.display", "the name is longer than any phone shows", cure);
        line("sip.display", display, s, found);
    }
    let many = sip.headers.len();
    found.refuse_if(
        many > MOST_HEADERS,
        "sip.headers",
        format!("{many} headers are more than a request has room for"),
        format!("use up to {MOST_HEADERS}"),
    );
    for (name, value) in sip.headers.iter().take(MOST_HEADERS) {
        let key = format!("sip.headers.{name}");
        if let Some((message, cure)) = name_fault(name) {
            found.refuse_if(true, &key, message, cure);
        }
        line(&key, value, s, found);
    }
    found.refuse_if(
        s.asterisk.mode == AsteriskMode::Managed && sip.proxy.is_some(),
        "sip.proxy",
        "a managed Asterisk is called directly",
        "leave sip.proxy out, or use an external Asterisk",
    );
    let is_path = |path: &String| (1..=LONGEST_PATH).contains(&path.len()) && !path.contains('\0');
    found.refuse_if(
        sip.accounts.as_ref().is_some_and(|path| !is_path(path)),
        "sip.accounts",
        "it names no file",
        "write its path as in accounts = \"users.csv\"",
    );
}

/// Rules of the user part of an address.
fn user(key: &str, text: &str, s: &Scenario, found: &mut Problems) {
    let Some(template) = template(key, text, s, found) else { return };
    let fits = |c: char| c.is_ascii_alphanumeric() || MORE.contains(c);
    let is_plain = template.texts().all(|text| text.chars().all(fits));
    let is_word = (1..=LONGEST_USER).contains(&text.len()) && is_plain && !text.starts_with('.');
    let message = format!("`{}` cannot be used as {key}", text.escape_debug());
    found.refuse_if(!is_word, key, message, format!("use 1 to {LONGEST_USER} letters, digits and {MORE}"));
}

/// Rules of a text that becomes a part of a header.
fn line(key: &str, text: &str, s: &Scenario, found: &mut Problems) {
    if let Some((message, cure)) = value_fault(text) {
        found.refuse_if(true, key, message, cure);
        return;
    }
    template(key, text, s, found);
}

/// The template that a text is; without a file of accounts all its words must be the call's.
fn template(key: &str, text: &str, s: &Scenario, found: &mut Problems) -> Option<Template> {
    match Template::parse(text) {
        Err(why) => {
            let cure = "write a word as in {user}, and a brace as {{ or }}";
            found.refuse_if(true, key, why, cure);
            None
        }
        Ok(template) => {
            let unfilled = template.unfilled_by(None).filter(|_| s.sip.accounts.is_none());
            let message = format!("nobody says what {} is", unfilled.as_deref().unwrap_or_default());
            let cure = "name a file with such a column as sip.accounts, or use {user}, {call} or {line}";
            found.refuse_if(unfilled.is_some(), key, message, cure);
            Some(template)
        }
    }
}
