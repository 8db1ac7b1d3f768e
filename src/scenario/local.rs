//! `sip.local`: an address, or `"auto"`, which stands as the unspecified address until the machine has said which it is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Word for the address that this machine reaches the target from.
const AUTO: &str = "auto";

/// Writes an address as it is read.
pub(super) fn serialize<S: Serializer>(address: &IpAddr, to: S) -> Result<S::Ok, S::Error> {
    match address.is_unspecified() {
        true => to.serialize_str(AUTO),
        false => to.collect_str(address),
    }
}

/// Reads an address, or `auto`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpAddr, D::Error> {
    from.deserialize_str(Address)
}

struct Address;

impl Visitor<'_> for Address {
    type Value = IpAddr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IP address")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<IpAddr, E> {
        match text {
            AUTO => Ok(Ipv4Addr::UNSPECIFIED.into()),
            // The unspecified address is none that calls are placed from.
            text => text.parse().map_err(E::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Override, Resolved};

    #[test]
    fn auto_is_read_and_written_back_where_there_is_a_target() {
        let far =
            ["asterisk.mode=external", "asterisk.sip=192.0.2.1:5060", "service.mode=none", "sip.local=auto"];
        let read = |set: &[&str]| {
            let set: Vec<_> = set.iter().map(|set| Override::set(set)).collect();
            Resolved::read("", "x.toml", &set).map_err(|error| error.to_string())
        };
        let resolved = read(&far).unwrap();
        assert!(
            resolved.scenario.sip.local.is_unspecified() && resolved.to_toml().contains("local = \"auto\"")
        );
        let why = read(&["sip.local=auto"]).unwrap_err();
        assert!(why.contains("loopback only"), "{why}");
    }
}
