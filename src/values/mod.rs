//! Small values as people write and read them: `5m`, `10/s`, `0.1%`, `21000-31000`, a figure with its unit.

mod bridge;
mod figure;
mod lanes;
mod media_way;
mod ns;
mod one_or_more;
mod realtime;
mod text;
mod uuid;
mod visible;

pub use bridge::{BridgeKind, JitterBuffer};
pub use figure::{Unit, Value, counted, show};
pub use lanes::{Lanes, MOST_LANES};
pub use media_way::MediaWay;
pub use ns::Ns;
pub use one_or_more::{Listed, MOST_LISTED, OneOrMore};
pub use realtime::Realtime;
pub use text::{WIDTH, cut, one_line, wrapped};
pub use uuid::Uuid;
pub use visible::{visible, visible_json};

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reads and writes a type by its `FromStr` and `Display`. `super::wording` knows the cure for what is no
/// text by the word that stands for the type here. The scenario's schema takes the pattern and the examples.
macro_rules! as_text {
    ($type:ty, $what:literal, $pattern:literal, $examples:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                        to.write_str($what)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Text)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        #[cfg(test)]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "title": $what, "type": "string", "pattern": $pattern, "examples": $examples,
                })
            }
        }
    };
}

/// A duration: `300ms`, `20s`, `5m`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

as_text!(
    Span,
    "a duration",
    r"^(0|(\s*[0-9]+(\.[0-9]+)?\s*(ns|nsec|nanos|us|µs|usec|ms|msec|millis|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days|w|wk|wks|week|weeks|M|month|months|y|yr|yrs|year|years)\s*)+)$",
    ["300ms", "20s", "5m", "1h 30m"]
);

impl Span {
    /// The value in milliseconds, with its fraction.
    pub fn as_ms(self) -> f64 {
        Ns::from(self.0).as_ms()
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Span)
            .map_err(|e| format!("`{text}` is not a duration ({e}); write it as in 300ms, 20s, 5m or 1h"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// A rate in events a second: `10/s`, `90/m`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

as_text!(Rate, "a rate", r"^\s*\+?[0-9.]+([eE][+-]?[0-9]+)?\s*/\s*(s|m|min)\s*$", ["10/s", "90/m"]);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate; write calls per second or minute as in 10/s or 90/m");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per_second = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let rate = number / per_second;
        if (0.001..=10_000.0).contains(&rate) {
            Ok(Rate(rate))
        } else if rate.is_finite() {
            Err(format!(
                "`{text}` is no rate of calls: 0.001/s is the lowest, 10000/s the highest; 10/s is usual"
            ))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1.0 { write!(f, "{}/m", self.0 * 60.0) } else { write!(f, "{}/s", self.0) }
    }
}

/// A way up to a load: by a rate of new calls, or within a time. `10/s`, `30s`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Ramp {
    /// So many new calls a second.
    At(Rate),
    /// All of them within this time.
    Within(Span),
}

as_text!(
    Ramp,
    "a rate or a duration",
    r"^(\s*\+?[0-9.]+([eE][+-]?[0-9]+)?\s*/\s*(s|m|min)\s*|0|(\s*[0-9]+(\.[0-9]+)?\s*(ns|nsec|nanos|us|µs|usec|ms|msec|millis|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days|w|wk|wks|week|weeks|M|month|months|y|yr|yrs|year|years)\s*)+)$",
    ["10/s", "30s"]
);

impl FromStr for Ramp {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse().map(Ramp::At);
        }
        text.parse().map(Ramp::Within).map_err(|_| {
            format!("`{text}` is no ramp; write calls per second as in 10/s, or the time for all of them as in 30s")
        })
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ramp::At(rate) => rate.fmt(f),
            Ramp::Within(span) => span.fmt(f),
        }
    }
}

/// A ratio written in per cent, 0–1 inside: `0.1%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

as_text!(Percent, "a share", r"^\s*[-+]?[0-9.]+([eE][+-]?[0-9]+)?\s*%\s*$", ["0.1%", "90%"]);

impl FromStr for Percent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        match number {
            Some(n) if (0.0..=100.0).contains(&n) => Ok(Percent(n / 100.0)),
            _ => Err(format!("`{text}` is not a share; write it in per cent, from 0% to 100%")),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Twelve digits drop what dividing by 100 and multiplying again has added.
        write!(f, "{}%", (self.0 * 100.0 * 1e12).round() / 1e12)
    }
}

/// A host and a port: `127.0.0.1:5060`, `pbx.example:5060`, `[::1]:5060`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address; one of IPv6 without its brackets.
    host: String,
    port: u16,
}

as_text!(
    HostPort,
    "host and port",
    r"^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]):\+?[0-9]{1,5}$",
    ["127.0.0.1:5060", "pbx.example:5060"]
);

impl Listed for HostPort {
    const ONE_OR_MORE: &'static str = "host and port, or a list of them";
    const EXAMPLE: &'static str = "127.0.0.1:5060";
}

impl HostPort {
    /// The name or address; one of IPv6 without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// True if it is surely this machine; a name other than `localhost` is not looked up.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// True for a name, false for an address.
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// The host as it stands in a URI, and its port unless that is `usual`.
    pub fn in_uri(&self, usual: u16) -> String {
        let HostPort { host, port } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == usual { host } else { format!("{host}:{port}") }
    }

    /// The host as it stands in a URI, without its port.
    pub fn host_in_uri(&self) -> String {
        self.in_uri(self.port)
    }
}

impl FromStr for HostPort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no address; write host and port as in 127.0.0.1:5060, [::1]:5060 or pbx:5060"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if let Some(bracketed) = host.strip_prefix('[') {
            let ip: Ipv6Addr =
                bracketed.strip_suffix(']').and_then(|ip| ip.parse().ok()).ok_or_else(wrong)?;
            return Ok(HostPort { host: ip.to_string(), port });
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
        if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
            return Err(wrong());
        }
        Ok(HostPort { host: host.into(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A URL as it is written; rules of the scenario say what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(pub String);

as_text!(HttpUrl, "an http address", r"^http://", ["http://127.0.0.1:8088"]);

impl FromStr for HttpUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(HttpUrl(text.into()))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Listed for HttpUrl {
    const ONE_OR_MORE: &'static str = "an http address, or a list of them";
    const EXAMPLE: &'static str = "http://127.0.0.1:8088";
}

/// An inclusive range of UDP ports: `21000-31000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub from: u16,
    /// Last port.
    pub to: u16,
}

as_text!(PortRange, "a port range", r"^\s*\+?[0-9]{1,5}\s*-\s*\+?[0-9]{1,5}\s*$", ["21000-31000"]);

impl PortRange {
    /// Number of ports; at least one.
    pub fn count(self) -> u32 {
        u32::from(self.to) - u32::from(self.from) + 1
    }

    /// Number of even ports: RTP takes an even port and leaves the odd one above it to RTCP
    /// (RFC 3550 section 11).
    pub fn even_ports(self) -> u32 {
        let first = u32::from(self.from).next_multiple_of(2);
        let last = u32::from(self.to) & !1;
        if last < first { 0 } else { (last - first) / 2 + 1 }
    }

    /// Number of pairs of an even port and the odd one above it. Asterisk binds both, also
    /// an odd one just outside its range, so an even last port is not counted (`res_rtp_asterisk.c`).
    pub fn rtp_pairs(self) -> u32 {
        let first = u32::from(self.from).next_multiple_of(2);
        (u32::from(self.to) + 1).saturating_sub(first) / 2
    }

    /// True if the two ranges share a port.
    pub fn overlaps(self, other: PortRange) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

impl FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a port range; write first and last port as in 21000-31000");
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (from.trim().parse().map_err(|_| wrong())?, to.trim().parse().map_err(|_| wrong())?);
        if from > to {
            return Err(format!("the port range `{text}` ends before it begins; write {to}-{from}"));
        }
        if from < 1024 {
            return Err(format!(
                "the port range `{text}` reaches into the privileged ports; start at 1024 or above"
            ));
        }
        Ok(PortRange { from, to })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: FromStr<Err = String> + fmt::Display>(text: &str) -> String {
        text.parse::<T>().unwrap_or_else(|e| panic!("{e}")).to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(round_trip::<Span>("5m"), "5m");
        assert_eq!(round_trip::<Span>("1500ms"), "1s 500ms");
        assert_eq!(round_trip::<Rate>("10/s"), "10/s");
        assert_eq!(round_trip::<Rate>("90/m"), "1.5/s");
        assert_eq!(
            (round_trip::<Ramp>("90/m"), round_trip::<Ramp>("90s")),
            ("1.5/s".into(), "1m 30s".into())
        );
        assert_eq!(round_trip::<Percent>("0.1%"), "0.1%");
        assert_eq!(round_trip::<HostPort>("pbx.example:5060"), "pbx.example:5060");
        assert_eq!(round_trip::<HostPort>("[2001:DB8::0:1]:5060"), "[2001:db8::1]:5060");
        assert!("[::1]:5060".parse::<HostPort>().unwrap().is_loopback());
        let in_uri =
            |text: &str| text.parse::<HostPort>().map(|host| (host.in_uri(5060), host.host_in_uri()));
        assert_eq!(in_uri("pbx.example:5060").unwrap(), ("pbx.example".into(), "pbx.example".into()));
        assert_eq!(in_uri("[::1]:5061").unwrap(), ("[::1]:5061".into(), "[::1]".into()));
        assert_eq!(round_trip::<PortRange>("21000-31000"), "21000-31000");
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "5", "-5s", "5 parsecs", "99999999999999999999s"] {
            assert!(text.parse::<Span>().unwrap_err().contains("5m"), "{text}");
        }
        for text in ["10", "x/s", "0/s", "10/h", "inf/s", "NaN/s"] {
            assert!(text.parse::<Rate>().unwrap_err().contains("10/s"), "{text}");
        }
        assert!("0/s".parse::<Rate>().unwrap_err().contains("0.001/s is the lowest"));
        for text in ["10", "x/s", "10/h", "soon"] {
            assert!(text.parse::<Ramp>().unwrap_err().contains("10/s"), "{text}");
        }
        for text in ["0.1", "101%", "-1%", "NaN%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        for text in [
            "",
            "pbx",
            ":5060",
            "pbx:",
            "pbx:0",
            "pbx:sip",
            "a b:5060",
            "::1:5060",
            "[::1]",
            "[::1:5060",
            "[127.0.0.1]:5060",
            "[::1]x:5060",
        ] {
            assert!(text.parse::<HostPort>().unwrap_err().contains("127.0.0.1:5060"), "{text}");
        }
        for text in ["1", "1-2", "5000-4000", "70000-70001", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn even_ports_are_counted_from_both_ends() {
        let even = |text: &str| text.parse::<PortRange>().unwrap().even_ports();
        assert_eq!(
            (even("4000-4001"), even("4001-4001"), even("4001-4004"), even("40000-49998")),
            (1, 0, 2, 5000)
        );
    }
}
