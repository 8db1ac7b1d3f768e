//! Names that a request goes by: From, To, headers of one's own, and the route to a proxy.

use std::net::SocketAddr;

use super::grammar::one_line;
use super::transport::Transport;

/// From, To and what else a request outside of a dialog says of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Value of From without its tag: `"Alice" <sip:alice@pbx.example>`.
    pub from: String,
    /// Value of To without a tag.
    pub to: String,
    /// Headers of one's own, in INVITE and REGISTER.
    pub headers: Vec<(String, String)>,
    /// Values of Route, the nearest first: an outbound proxy (RFC 3261 8.1.2).
    pub routes: Vec<String>,
}

impl Identity {
    /// Of two URIs, without anything else.
    pub fn plain(from: &str, to: &str) -> Identity {
        Identity {
            from: name_addr(None, from),
            to: name_addr(None, to),
            headers: Vec::new(),
            routes: Vec::new(),
        }
    }
}

/// A value of From or To: the URI in brackets, and before it a name to be shown (RFC 3261 25.1 `name-addr`).
pub fn name_addr(display: Option<&str>, uri: &str) -> String {
    let Some(display) = display.filter(|display| !display.is_empty()) else { return format!("<{uri}>") };
    let quoted = one_line(display).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{quoted}\" <{uri}>")
}

/// The Route value of a proxy that keeps the Request-URI as it is (RFC 3261 16.12, a loose router).
pub fn loose_route(proxy: &str, transport: Transport) -> String {
    format!("<sip:{proxy}{};lr>", transport.uri_param())
}

/// An address as it stands in a URI: without the port that is taken where none is named.
pub fn in_uri(address: SocketAddr, usual_port: u16) -> String {
    match (address.port() == usual_port, address) {
        (false, _) => address.to_string(),
        (true, SocketAddr::V4(v4)) => v4.ip().to_string(),
        (true, SocketAddr::V6(v6)) => format!("[{}]", v6.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::grammar::NameAddr;

    #[test]
    fn a_name_to_be_shown_is_quoted_and_ends_nothing() {
        assert_eq!(name_addr(None, "sip:a@h"), "<sip:a@h>");
        assert_eq!(name_addr(Some(""), "sip:a@h"), "<sip:a@h>");
        assert_eq!(name_addr(Some("Ada"), "sip:a@h"), "\"Ada\" <sip:a@h>");
        for display in ["a \"b\" <sip:x@y>", "\\", "\\\"", "a\r\nVia: b", "Zürich 東京"] {
            let value = name_addr(Some(display), "sip:a@h");
            assert!(!value.contains(['\r', '\n']), "{value}");
            assert_eq!(NameAddr::parse(&value), NameAddr { uri: "sip:a@h", params: "" }, "{value}");
        }
    }

    #[test]
    fn an_address_has_its_port_unless_it_is_the_usual_one() {
        let of = |text: &str| in_uri(text.parse().unwrap(), 5060);
        assert_eq!(of("192.0.2.1:5060"), "192.0.2.1");
        assert_eq!(of("192.0.2.1:5070"), "192.0.2.1:5070");
        assert_eq!(of("[::1]:5060"), "[::1]");
        assert_eq!(of("[::1]:5061"), "[::1]:5061");
    }
}
