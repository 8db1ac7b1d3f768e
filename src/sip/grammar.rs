//! Reading SIP's text: lists, parameters and addresses, with regard to quotes and angle brackets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::values;

/// The port of a SIP URI or Via that names none (RFC 3261 19.1.2).
pub(super) const DEFAULT_PORT: u16 = 5060;

/// Follows quoted strings (RFC 3261 25.1 `quoted-string`) and angle brackets along a text.
#[derive(Default)]
struct Nesting {
    quoted: bool,
    escaped: bool,
    bracketed: bool,
}

impl Nesting {
    /// Takes the next character; true if it stands outside of quotes and brackets.
    fn is_outside(&mut self, c: char) -> bool {
        if self.quoted {
            if self.escaped {
                self.escaped = false;
            } else if c == '\\' {
                self.escaped = true;
            } else if c == '"' {
                self.quoted = false;
            }
            return false;
        }
        match c {
            '"' => self.quoted = true,
            '<' => self.bracketed = true,
            '>' => self.bracketed = false,
            _ => return !self.bracketed,
        }
        false
    }
}

/// The trimmed, non-empty parts of `text` between `separator`s outside of quotes and brackets.
pub(super) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut nesting = Nesting::default();
    text.split(move |c| nesting.is_outside(c) && c == separator).map(str::trim).filter(|p| !p.is_empty())
}

/// The value of parameter `name` in `;a=b;c`; empty for a parameter without a value.
pub(super) fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    split(params, ';').find_map(|p| {
        let (key, value) = p.split_once('=').unwrap_or((p, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A From, To, Contact or route value (RFC 3261 20.10): the URI, and the header's own parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameAddr<'a> {
    pub(super) uri: &'a str,
    pub(super) params: &'a str,
}

impl<'a> NameAddr<'a> {
    pub(super) fn parse(value: &'a str) -> Self {
        let mut nesting = Nesting::default();
        let open = value.char_indices().find(|&(_, c)| {
            let outside = nesting.is_outside(c);
            !outside && nesting.bracketed
        });
        if let Some((at, _)) = open {
            let inner = &value[at + 1..];
            let (uri, params) = inner.split_once('>').unwrap_or((inner, ""));
            return NameAddr { uri: uri.trim(), params };
        }
        // Without brackets, what follows the first semicolon belongs to the header, not to the URI.
        let at = value.find(';').unwrap_or(value.len());
        NameAddr { uri: value[..at].trim(), params: &value[at..] }
    }
}

/// True for a text that can be a Request-URI: it has a scheme and is one word.
pub(super) fn is_uri(text: &str) -> bool {
    text.find(':').is_some_and(|at| at > 0) && !text.contains(char::is_whitespace)
}

/// The address of a Via's `host:port`, if the host is an IP literal: names are not resolved.
pub(super) fn host_port_address(text: &str) -> Option<SocketAddr> {
    host_port(text, DEFAULT_PORT)
}

/// The address of a `host:port`, with the usual port where there is none.
fn host_port(text: &str, usual: u16) -> Option<SocketAddr> {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (host, rest.trim().strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let ip: IpAddr = host.trim().parse().ok()?;
    let port = port.map_or(Some(usual), |p| p.trim().parse().ok())?;
    Some(SocketAddr::new(ip, port))
}

/// The address of a `sip:` URI, if its host is an IP literal. `usual` is the port of a URI without one.
pub(super) fn uri_address(uri: &str, usual: u16) -> Option<SocketAddr> {
    let (_, rest) = uri.split_once(':')?;
    let after_user = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    host_port(after_user.split([';', '?']).next()?, usual)
}

/// True for an address that can be one host's: one of many would multiply what is sent there.
pub(super) fn is_one_host(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    !ip.is_multicast() && !ip.is_unspecified() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// The user part of a SIP URI for `name` (RFC 3261 25.1 `user`): what may not stand there is escaped.
pub fn user_part(name: &str) -> String {
    name.bytes().fold(String::new(), |mut part, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'+' | b'*' => {
                part.push(byte.into())
            }
            _ => part += &format!("%{byte:02X}"),
        }
        part
    })
}

/// Text that is safe as a header value: nothing in it can end the line. White space of SIP is cut off at its ends;
/// Unicode's is somebody's text.
pub(super) fn one_line(text: &str) -> String {
    values::one_line(text).trim_matches(' ').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_outside_of_quotes_and_brackets() {
        let value = r#""a, \"b" <sip:a,b@h>;x="1,2" , <sip:c@h>,,"#;
        assert_eq!(split(value, ',').collect::<Vec<_>>(), [r#""a, \"b" <sip:a,b@h>;x="1,2""#, "<sip:c@h>"]);
    }

    #[test]
    fn parameters_of_the_uri_are_not_those_of_the_header() {
        let addr = NameAddr::parse(r#""x <y>;tag=no" <sip:a@h;tag=uri> ; TAG = yes"#);
        assert_eq!(addr.uri, "sip:a@h;tag=uri");
        assert_eq!(param(addr.params, "tag"), Some("yes"));
        let bare = NameAddr::parse("sip:a@h;tag=header");
        assert_eq!((bare.uri, param(bare.params, "tag")), ("sip:a@h", Some("header")));
        assert_eq!(NameAddr::parse("<sip:broken"), NameAddr { uri: "sip:broken", params: "" });
    }

    #[test]
    fn only_ip_literals_are_addresses() {
        for (uri, address) in [
            ("sip:bob@127.0.0.1", Some("127.0.0.1:5060")),
            ("sip:a:p@w@10.0.0.1:5080;transport=udp", Some("10.0.0.1:5080")),
            ("sip:[::1]:5070;lr", Some("[::1]:5070")),
            ("sip:[2001:db8::1]", Some("[2001:db8::1]:5060")),
            ("sip:example.org", None),
            ("sip:10.0.0.1:99999", None),
            ("nonsense", None),
            ("sip:", None),
        ] {
            assert_eq!(uri_address(uri, DEFAULT_PORT), address.map(|a| a.parse().unwrap()), "{uri}");
        }
    }
}
