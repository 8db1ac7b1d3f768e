//! Headers of one's own: names and values that may stand in a request.

/// Most headers of one's own.
pub const MOST_HEADERS: usize = 32;
/// Longest value, in bytes.
pub const LONGEST_VALUE: usize = 1024;
const LONGEST_NAME: usize = 64;

/// Headers that requests have by themselves, and those that would say something of them which is not so. One letter is
/// the compact form of one of them (RFC 3261 7.3.3), or may become one.
const OWN: [&str; 31] = [
    "Via",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Authorization",
    "Proxy-Authorization",
    "User-Agent",
    "Allow",
    "Supported",
    "Require",
    "Proxy-Require",
    "Unsupported",
    "RSeq",
    "RAck",
    "Session-Expires",
    "Min-SE",
    "Expires",
    "Min-Expires",
    "Event",
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Content-Disposition",
    "MIME-Version",
    "Reason",
    "Replaces",
];

/// The fault of a header's name, and the cure.
pub fn name_fault(name: &str) -> Option<(String, &'static str)> {
    let shown = name.escape_debug();
    // RFC 3261 25.1 `token`.
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_token) {
        return Some((
            format!("`{shown}` is no name of a header"),
            "use letters, digits and -, as in X-Tenant",
        ));
    }
    let is_own = name.len() == 1 || OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
    is_own.then(|| {
        let message = format!("`{shown}` is a header that requests have by themselves");
        (
            message,
            "leave it out; sip.domain, sip.from, sip.to, sip.display and sip.proxy say what stands in them",
        )
    })
}

/// The fault of a header's value, and the cure.
pub fn value_fault(value: &str) -> Option<(String, &'static str)> {
    if value.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        let message =
            format!("`{}` has a character that ends a line or acts on a terminal", value.escape_debug());
        return Some((message, "keep it to one line of text"));
    }
    let bytes = value.len();
    (bytes > LONGEST_VALUE).then(|| {
        (format!("its value has {bytes} bytes"), "use up to 1024 bytes, templates counted as written")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ones_own_are_taken_and_those_of_requests_are_not() {
        for name in ["X-Tenant", "P-Asserted-Identity", "Diversion", "Subject", "X.y_z", "Privacy"] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in ["", "X Tenant", "X-Tenant:", "X\r\nVia", "Überschrift", &"x".repeat(65)] {
            assert!(name_fault(name).is_some_and(|(why, _)| why.contains("no name")), "{name}");
        }
        for name in ["From", "FROM", "via", "f", "l", "content-LENGTH", "Require"] {
            assert!(name_fault(name).is_some_and(|(why, _)| why.contains("by themselves")), "{name}");
        }
    }

    #[test]
    fn a_value_is_one_line() {
        for value in ["", "acme", "<sip:a@b>;x=\"y\"", "Zürich 東京", &"x".repeat(1024)] {
            assert_eq!(value_fault(value), None, "{value}");
        }
        for value in ["a\r\nVia: x", "a\nb", "a\0", "a\u{85}b", "a\u{2028}b", &"x".repeat(1025)] {
            assert!(value_fault(value).is_some(), "{value:?}");
        }
    }
}
