//! Rules of `asterisk.sip`: each address by itself, and what a run against several Asterisks cannot have.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::error::Problems;
use super::{AsteriskMode, Scenario};
use crate::values::{HostPort, counted};

pub(super) const KEY: &str = "asterisk.sip";

/// Everything wrong with the addresses.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    let sip = &s.asterisk.sip;
    let is_list = sip.len() > 1;
    let mut seen = BTreeSet::new();
    for (n, target) in sip.iter().enumerate() {
        // Of a list the entry is pointed at.
        let key = if is_list { format!("{KEY}.{n}") } else { KEY.into() };
        found.refuse_if(
            !seen.insert(target.to_string()),
            &key,
            format!("{target} is named twice"),
            "name each Asterisk once: calls are dealt in equal parts",
        );
        reach(s.sip.local, target, &key, found);
    }
    let mut seen = BTreeSet::new();
    for (n, ari) in s.asterisk.ari.iter().enumerate() {
        found.refuse_if(
            !seen.insert(ari.to_string()),
            &format!("asterisk.ari.{n}"),
            format!("{ari} is named twice"),
            "name the ARI of each Asterisk once, in the order of asterisk.sip: what calls leave is asked of each",
        );
    }
    let (aris, count) = (s.asterisk.ari.len(), sip.len());
    found.refuse_if(
        !sip.is_empty() && aris > 0 && aris != count,
        "asterisk.ari",
        format!("it names {}, and asterisk.sip {}", counted(aris as u64, "ARI"), counted(count as u64, "Asterisk")),
        "name the ARI of each, in the order of asterisk.sip, as in ari = [\"http://10.0.0.1:8088\", \"http://10.0.0.2:8088\"]",
    );
    if is_list {
        several(s, found);
    }
}

/// Refuses an address that calls from `local` cannot reach. A name may mean anything; it is not looked up here.
fn reach(local: IpAddr, target: &HostPort, key: &str, found: &mut Problems) {
    let Ok(sip) = target.to_string().parse::<SocketAddr>() else { return };
    let is_other_family = sip.is_ipv4() != local.is_ipv4() && !local.is_unspecified();
    found.refuse_if(
        is_other_family,
        key,
        format!("{sip} cannot be reached from {local}: one is IPv4, the other IPv6"),
        "give both of one kind: set sip.local to this host's address of that kind, as in sip.local = \"::1\"",
    );
    found.refuse_if(
        !is_other_family && local.is_loopback() && !sip.ip().is_loopback(),
        "sip.local",
        format!("{sip} cannot be reached from the loopback address"),
        "set sip.local to the address that the target reaches this host under",
    );
}

/// Refuses what one of several Asterisks would have alone.
fn several(s: &Scenario, found: &mut Problems) {
    let count = s.asterisk.sip.len();
    // All speak to one socket.
    let families = s.asterisk.sip.iter().filter_map(|target| target.host().parse::<IpAddr>().ok());
    let is_mixed = families.map(|ip| ip.is_ipv4()).collect::<BTreeSet<_>>().len() > 1;
    found.refuse_if(
        is_mixed && s.sip.local.is_unspecified(),
        KEY,
        "some of the addresses are IPv4, others IPv6, and calls come from one address",
        "name those of one kind here, and make another run for the others",
    );
    found.refuse_if(
        s.sip.register,
        "sip.register",
        format!("accounts register at one registrar, and calls go to {count} Asterisks"),
        "leave sip.register out, and let each Asterisk know the callers by their endpoints; or name one asterisk.sip",
    );
    found.refuse_if(
        s.sip.proxy.is_some(),
        "sip.proxy",
        format!("an outbound proxy takes all calls, and asterisk.sip names {count} Asterisks"),
        "leave sip.proxy out, or name one asterisk.sip and let the proxy deal the calls",
    );
    let is_external = s.asterisk.mode == AsteriskMode::External;
    found.refuse_if(
        is_external && s.service.mode.is_started(),
        "service.mode",
        format!("the service that a run starts sits at one Asterisk, and asterisk.sip names {count}"),
        "run the service beside each Asterisk by yourself (`loadtest service` is one), and set mode = \"external\", with a list \
         of their ARI in asterisk.ari; or mode = \"none\", where nobody is to ask for it",
    );
}

#[cfg(test)]
mod tests {
    use super::super::{Override, Resolved};

    const FAR: [&str; 2] = ["asterisk.mode=external", "service.mode=none"];

    fn read(set: &[&str]) -> Result<Resolved, String> {
        let set: Vec<_> = FAR.iter().chain(set).map(|set| Override::set(set)).collect();
        Resolved::read("", "x.toml", &set).map_err(|error| error.rendered)
    }

    #[track_caller]
    fn refused(set: &[&str], words: &[&str]) {
        let said = read(set).map(|resolved| resolved.to_toml()).expect_err("it is refused");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }

    #[test]
    fn one_in_a_list_is_the_same_scenario_as_the_address_alone() {
        let one = read(&["asterisk.sip=127.0.0.1:5060"]).unwrap();
        let listed = read(&["asterisk.sip=[\"127.0.0.1:5060\"]"]).unwrap();
        assert_eq!(one.scenario, listed.scenario);
        assert_eq!(one.scenario.hash(), listed.scenario.hash());
        assert!(listed.to_toml().contains("sip = \"127.0.0.1:5060\"\n"));
        let two = read(&["asterisk.sip=[\"127.0.0.1:5060\", \"127.0.0.1:5070\"]"]).unwrap();
        assert_ne!(one.scenario.hash(), two.scenario.hash());
        let again = Resolved::read(&two.to_toml(), "x.toml", &[]).unwrap();
        assert_eq!(again.scenario, two.scenario);
    }

    #[test]
    fn calls_are_dealt_by_their_number_whoever_places_them() {
        use crate::shard::Shard;
        let scenario =
            read(&["asterisk.sip=['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']"]).unwrap().scenario;
        let whole: Vec<_> = (0..12).map(|call| (call, scenario.target_of(call))).collect();
        assert_eq!(whole[..4].iter().map(|(_, target)| *target).collect::<Vec<_>>(), [0, 1, 2, 0]);
        for count in 1..6 {
            let shards = (0..count).map(|index| Shard::new(index, count).unwrap());
            let placed = shards.flat_map(|shard| (0..12).map(move |nth| shard.nth(nth)));
            let mut dealt: Vec<_> = placed.map(|call| (call, scenario.target_of(call))).collect();
            dealt.sort_unstable();
            assert_eq!(dealt[..12], whole, "{count} drivers");
        }
        assert_eq!(read(&["asterisk.sip=a:1"]).unwrap().scenario.target_of(7), 0);
    }

    #[test]
    fn each_fault_names_its_entry_and_its_cure() {
        let two = "asterisk.sip=['127.0.0.1:5060', '127.0.0.1:5070']";
        refused(&["asterisk.sip=['a:1', 'b:2', 'a:1']"], &["asterisk.sip.2: a:1 is named twice", "once"]);
        refused(&["asterisk.sip=['127.0.0.1:1', '[::1]:1']"], &["asterisk.sip.1: [::1]:1", "IPv6"]);
        refused(
            &["asterisk.sip=['127.0.0.1:1', '192.0.2.1:1']"],
            &["192.0.2.1:1 cannot be reached", "sip.local"],
        );
        refused(
            &["asterisk.sip=['192.0.2.1:1', '[2001:db8::1]:1']", "sip.local=auto"],
            &["some of the addresses are IPv4", "one kind"],
        );
        refused(&["asterisk.sip=['127.0.0.1:1', 'x']"], &["`x` is no address", "x:5060"]);
        refused(&["asterisk.sip=[]"], &["empty", "127.0.0.1:5060"]);
        refused(&["asterisk.sip=a:5060,b:5060"], &["write a list: [\"a:5060\", \"b:5060\"]"]);
        refused(&[two, "sip.register=true"], &["sip.register", "one registrar", "leave sip.register out"]);
        refused(&[two, "sip.proxy=127.0.0.1:9"], &["sip.proxy", "leave sip.proxy out"]);
        let ari = "asterisk.ari=http://127.0.0.1:1";
        refused(&[two, "service.mode=builtin", ari], &["service.mode", "sits at one", "loadtest service"]);
        refused(
            &[two, ari],
            &["asterisk.ari: it names 1 ARI, and asterisk.sip 2 Asterisks", "name the ARI of each"],
        );
        refused(
            &["asterisk.sip=a:1", "asterisk.ari=['http://a:1', 'http://b:1']"],
            &["it names 2 ARIs, and asterisk.sip 1 Asterisk"],
        );
        refused(
            &[two, "asterisk.ari=['http://a:1', 'https://b:1']"],
            &["`https://b:1` is not an http address"],
        );
        let secret = read(&[two, "asterisk.ari=['http://a:1', 'http://bob:S3@b:1']"]).unwrap_err();
        assert!(secret.contains("a password stands in the address") && !secret.contains("S3"), "{secret}");
        assert!(read(&[two, "service.mode=external", "asterisk.ari=['http://a:1', 'http://b:1']"]).is_ok());
        let command = ["service.mode=command", "service.command=['x']"];
        refused(&[two, ari, command[0], command[1]], &["service.mode", "beside each"]);
        refused(&[two, "asterisk.mode=managed"], &["a managed Asterisk takes no addresses"]);
        assert!(read(&[two]).is_ok());
    }
}
