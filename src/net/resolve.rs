//! Host names → addresses.

use std::net::{IpAddr, SocketAddr};

use crate::values::HostPort;

/// A host without an address.
#[derive(Debug, thiserror::Error)]
#[error("{what} = {target} cannot be used: {reason}")]
pub struct Unresolved {
    what: String,
    target: HostPort,
    reason: String,
}

/// An address of `target`, which the user gave as `what`: the first that can be reached from `from`; without that the
/// first IPv4 address, or where there is none the first.
///
/// # Errors
/// [`Unresolved`] when there is no such host, or none of that kind.
pub async fn resolve(target: &HostPort, what: &str, from: Option<IpAddr>) -> Result<SocketAddr, Unresolved> {
    let found = look_up(&target.to_string(), from).await;
    found.map_err(|reason| Unresolved { what: what.into(), target: target.clone(), reason })
}

/// An address of `host:port`, chosen as [`resolve`] does.
///
/// # Errors
/// There is none, in words.
pub async fn look_up(target: &str, from: Option<IpAddr>) -> Result<SocketAddr, String> {
    let addresses = tokio::net::lookup_host(target).await.map_err(|error| error.to_string())?;
    choose(&addresses.collect::<Vec<_>>(), from)
}

/// Addresses in words.
pub fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

fn choose(addresses: &[SocketAddr], from: Option<IpAddr>) -> Result<SocketAddr, String> {
    let fits = |address: &&SocketAddr| address.is_ipv4() == from.is_none_or(|from| from.is_ipv4());
    let fitting = addresses.iter().find(fits).copied();
    match (fitting, addresses.first(), from) {
        (Some(address), ..) => Ok(address),
        (None, None, _) => Err("it has no address".into()),
        (None, Some(first), None) => Ok(*first),
        (None, Some(first), Some(from)) => {
            let [kind, other] = if from.is_ipv4() { ["IPv4", "IPv6"] } else { ["IPv6", "IPv4"] };
            Err(format!(
                "it has no {kind} address to be reached at from {from}, only {}; for {other} set sip.local to this \
                 host's address of that kind",
                first.ip()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_chosen_that_can_be_reached() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (four, six) = (address("192.0.2.1:5060"), address("[2001:db8::1]:5060"));
        let [from_four, from_six] = ["127.0.0.1", "::1"].map(|ip| ip.parse().ok());
        let both = [six, four];
        assert_eq!(
            [None, from_four, from_six].map(|from| choose(&both, from)),
            [Ok(four), Ok(four), Ok(six)]
        );
        assert_eq!(choose(&[six], None), Ok(six));
        let error =
            resolve(&"[::1]:4000".parse().unwrap(), "asterisk.sip", from_four).await.unwrap_err().to_string();
        assert!(
            error.starts_with("asterisk.sip = [::1]:4000 cannot be used: it has no IPv4 address"),
            "{error}"
        );
        assert!(error.ends_with("for IPv6 set sip.local to this host's address of that kind"), "{error}");
        let found = resolve(&"[::1]:4000".parse().unwrap(), "HOST:PORT", None).await;
        assert_eq!(found.unwrap(), address("[::1]:4000"));
    }
}
