//! Leak check after the last call: part of `environment.json`.

use serde::{Deserialize, Serialize};

/// Leak check: resources that the calls should have given back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Leaks {
    /// Reason for which nothing can be said; empty where every part could be counted.
    pub unknown: String,
    /// Counts before the first call and after the last.
    pub parts: Vec<LeakPart>,
}

/// One thing that was counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeakPart {
    /// `channels`, `bridges`, `ports`, `descriptors` or `threads`.
    pub kind: String,
    /// In words, with whose it is.
    pub what: String,
    /// Before the first call.
    pub before: u64,
    /// After the last.
    pub after: u64,
    /// Number of those left.
    pub leaked: u64,
    /// The first of them by name, where they have names.
    pub names: Vec<String>,
}

impl LeakPart {
    /// Compares two counts.
    pub fn counted(kind: &str, what: &str, before: u64, after: u64) -> Self {
        let leaked = after.saturating_sub(before);
        LeakPart { kind: kind.into(), what: what.into(), before, after, leaked, names: Vec::new() }
    }
}

impl Leaks {
    /// Everything that is left, or all of one kind; `None` where not everything could be counted.
    pub fn total(&self, kind: Option<&str>) -> Option<u64> {
        let wanted = |part: &&LeakPart| kind.is_none_or(|kind| part.kind == kind);
        let mut parts = self.parts.iter().filter(wanted).peekable();
        (self.unknown.is_empty() && parts.peek().is_some()).then(|| parts.map(|p| p.leaked).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_counted_is_not_zero() {
        let part = |kind: &str, after| LeakPart::counted(kind, "", 3, after);
        let mut leaks = Leaks { unknown: String::new(), parts: vec![part("threads", 2), part("ports", 7)] };
        assert_eq!((leaks.total(None), leaks.total(Some("threads"))), (Some(4), Some(0)));
        assert_eq!(leaks.total(Some("bridges")), None);
        leaks.unknown = "no ARI".into();
        assert_eq!(leaks.total(None), None);
        assert_eq!(Leaks::default().total(None), None);
    }
}
