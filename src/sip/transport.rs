//! Transports of SIP (RFC 3261 18): one a run.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::grammar::param;

/// Transport that SIP goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams, sent again until they are answered.
    #[default]
    Udp,
    /// One connection for all calls.
    Tcp,
    /// One connection for all calls, encrypted (TLS 1.2 or 1.3).
    Tls,
}

impl Transport {
    /// True if nothing is sent again because it may have been lost (RFC 3261 17).
    pub const fn is_reliable(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls)
    }

    /// The name in Via, as in `SIP/2.0/TCP`, and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// The parameter of a URI that leads here (RFC 3261 19.1.1). A peer that finds none takes UDP.
    pub const fn uri_param(self) -> &'static str {
        match self {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        }
    }

    /// Port that a URI without one means (RFC 3261 19.1.2).
    pub const fn usual_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
        }
    }

    /// True if a URI leads here: it names this transport, over UDP none, or over TLS by its scheme.
    pub(super) fn is_named_by(self, uri: &str) -> bool {
        let is_secure = uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
        if is_secure {
            return self == Transport::Tls;
        }
        named(uri).map_or(self == Transport::Udp, |named| named.eq_ignore_ascii_case(self.name()))
    }

    /// True if a URI names another transport.
    pub fn is_contradicted_by(self, uri: &str) -> bool {
        named(uri).is_some_and(|named| !named.eq_ignore_ascii_case(self.name()))
    }
}

/// A connection that could not be opened or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The peer.
    pub peer: SocketAddr,
    /// The reason, in words.
    pub why: String,
    /// It had been open.
    pub was_open: bool,
    /// It was ended because nobody can tell where the peer's messages end: the answers that are awaited cannot be read.
    pub is_unreadable: bool,
}

/// The transport that a URI names. A user part may hold semicolons of its own.
fn named(uri: &str) -> Option<&str> {
    let uri = uri.split('?').next().unwrap_or_default();
    let host = uri.rsplit_once('@').map_or(uri, |(_, host)| host);
    param(host.find(';').map_or("", |at| &host[at..]), "transport")
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_leads_to_the_transport_that_it_names() {
        use Transport::{Tcp, Tls, Udp};
        for (uri, leads_to) in [
            ("sip:a@h", Some(Udp)),
            ("sip:a@h;transport=UDP", Some(Udp)),
            ("sip:a@h:5060;ob;transport=tcp;lr", Some(Tcp)),
            ("sip:h;transport=TLS?x=;transport=udp", Some(Tls)),
            ("sip:h;transport=ws", None),
            ("sip:a;b=c@h;transport=tcp", Some(Tcp)),
        ] {
            for transport in [Udp, Tcp, Tls] {
                assert_eq!(transport.is_named_by(uri), leads_to == Some(transport), "{uri} {transport}");
                let contradicts = uri.contains("transport=") && leads_to != Some(transport);
                assert_eq!(transport.is_contradicted_by(uri), contradicts, "{uri} {transport}");
            }
            let ours = format!("sip:a@h{}", Tls.uri_param());
            assert!(Tls.is_named_by(&ours) && !Tcp.is_named_by(&ours));
        }
    }
}
