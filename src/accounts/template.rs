//! Text with words of the call and of its caller in it: `{user}`, `{call}`, `{line}`, `{field0}`, `{column}`.

use super::{Account, Accounts};

/// Longest text that a template makes: fields of a file are bounded, and so are templates.
const LONGEST: usize = 4096;

/// A text with places that each call fills by itself. `{{` and `}}` are braces; SIPp's `[field0]` is `{field0}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    User,
    Call,
    Line,
    Field(usize),
    Column(String),
}

/// What a template is filled with.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// User part of the caller.
    pub user: &'a str,
    /// Number of the call, from 0.
    pub call: u32,
    /// Number of its line, from 0.
    pub line: u32,
    /// The file and the account of it that calls.
    pub account: Option<(&'a Accounts, &'a Account)>,
}

impl Piece {
    fn of(word: &str) -> Result<Piece, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if word.is_empty() || word.len() > 64 || !word.chars().all(is_name) {
            return Err(format!("`{{{}}}` is no word", word.escape_debug()));
        }
        Ok(match word {
            "user" => Piece::User,
            "call" => Piece::Call,
            "line" => Piece::Line,
            other => match other.strip_prefix("field").map(str::parse) {
                Some(Ok(at)) => Piece::Field(at),
                _ => Piece::Column(other.into()),
            },
        })
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A brace without its other, or a word that can be none.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Template::default();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}', '[']) {
            pieces.text(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{") {
                pieces.text("{");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("}}") {
                pieces.text("}");
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let (word, after) = after.split_once('}').ok_or("a `{` has no `}`")?;
                pieces.0.push(Piece::of(word)?);
                rest = after;
            } else if let Some((field, after)) = of_sipp(rest) {
                pieces.0.push(Piece::Field(field));
                rest = after;
            } else {
                pieces.text(&rest[..1]);
                rest = &rest[1..];
            }
        }
        pieces.text(rest);
        Ok(pieces)
    }

    fn text(&mut self, more: &str) {
        match self.0.last_mut() {
            _ if more.is_empty() => {}
            Some(Piece::Text(text)) => text.push_str(more),
            _ => self.0.push(Piece::Text(more.into())),
        }
    }

    /// The text around its words.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of its words that nobody fills: it names no column of the file, or there is no file.
    pub fn unfilled_by(&self, accounts: Option<&Accounts>) -> Option<String> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Field(at) => {
                let is_there = accounts.is_some_and(|a| *at < a.width() && !a.secret.contains(at));
                (!is_there).then(|| format!("{{field{at}}}"))
            }
            Piece::Column(name) => {
                let is_there = accounts.is_some_and(|a| a.column(name).is_some());
                (!is_there).then(|| format!("{{{name}}}"))
            }
            Piece::Text(_) | Piece::User | Piece::Call | Piece::Line => None,
        })
    }

    /// True if a word of it is of a file of accounts.
    pub fn needs_accounts(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Field(_) | Piece::Column(_)))
    }

    /// The text for one call, cut where it would be beyond all bounds.
    pub fn fill(&self, of: Filling<'_>) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::User => filled.push_str(of.user),
                Piece::Call => filled.push_str(&of.call.to_string()),
                Piece::Line => filled.push_str(&of.line.to_string()),
                Piece::Field(at) => filled.push_str(field(of, Some(*at))),
                Piece::Column(name) => {
                    filled.push_str(field(of, of.account.and_then(|(accounts, _)| accounts.column(name))));
                }
            }
        }
        if filled.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| filled.is_char_boundary(*at)).unwrap_or(0);
            filled.truncate(end);
        }
        filled
    }
}

fn field(of: Filling<'_>, at: Option<usize>) -> &str {
    let account = of.account.map(|(_, account)| account);
    account.zip(at).and_then(|(account, at)| account.fields.get(at)).map_or("", String::as_str)
}

/// The number of a `[field0]` at the beginning of `text`, and the text behind it.
pub(super) fn of_sipp(text: &str) -> Option<(usize, &str)> {
    let (number, after) = text.strip_prefix("[field")?.split_once(']')?;
    Some((number.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::parse;

    fn filled(text: &str, accounts: &Accounts, at: usize) -> String {
        let account = Some((accounts, &accounts.all()[at]));
        Template::parse(text).unwrap().fill(Filling { user: "bob", call: 7, line: 3, account })
    }

    #[test]
    fn words_are_those_of_the_call_and_of_its_caller() {
        let accounts = parse("user,password,Tenant\nbob,x,acme\nada,y,\"a, b\"\n").unwrap();
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{user}-{call}-{line}", "bob-7-3"),
            ("{tenant}/{field2}/[field2]", "acme/acme/acme"),
            ("{{user}} [x] } [fieldx]", "{user} [x] } [fieldx]"),
        ] {
            assert_eq!(filled(text, &accounts, 0), expected, "{text}");
        }
        assert_eq!(filled("{tenant}", &accounts, 1), "a, b");
    }

    #[test]
    fn what_nobody_fills_is_named() {
        let accounts = parse("user,Tenant\nbob,acme\n").unwrap();
        let unfilled = |text: &str, accounts| Template::parse(text).unwrap().unfilled_by(accounts);
        assert_eq!(unfilled("{user}{call}{line}{{x}}", None), None);
        assert_eq!(unfilled("{tenant}", None).as_deref(), Some("{tenant}"));
        assert_eq!(unfilled("{tenant}{field1}", Some(&accounts)), None);
        assert_eq!(unfilled("{user}{nobody}", Some(&accounts)).as_deref(), Some("{nobody}"));
        assert_eq!(unfilled("[field2]", Some(&accounts)).as_deref(), Some("{field2}"));
        for wrong in ["{user", "{}", "{a b}", "{a\r\n}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn no_text_grows_beyond_all_bounds() {
        let accounts = parse(&format!("user,x\nbob,{}\n", "é".repeat(500))).unwrap();
        assert!(filled(&"{x}".repeat(300), &accounts, 0).len() <= LONGEST);
    }
}
