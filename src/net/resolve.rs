//! Host names → addresses.

use std::net::SocketAddr;

use crate::values::HostPort;

/// A host without an address.
#[derive(Debug, thiserror::Error)]
#[error("{what} = {target} cannot be used: {reason}")]
pub struct Unresolved {
    what: String,
    target: HostPort,
    reason: String,
}

/// The first IPv4 address of `target`, which the user gave as `what`.
///
/// # Errors
/// [`Unresolved`] when there is no such host, or none with an IPv4 address.
pub async fn resolve(target: &HostPort, what: &str) -> Result<SocketAddr, Unresolved> {
    let reason = match tokio::net::lookup_host(target.to_string()).await {
        Ok(mut addresses) => match addresses.find(SocketAddr::is_ipv4) {
            Some(address) => return Ok(address),
            None => "it has no IPv4 address, and IPv6 is not supported yet".into(),
        },
        Err(e) => e.to_string(),
    };
    Err(Unresolved { what: what.into(), target: target.clone(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ipv6_target_is_refused_with_that_reason() {
        let target = "[::1]:4000".parse().unwrap();
        let error = resolve(&target, "HOST:PORT").await.unwrap_err().to_string();
        assert_eq!(
            error,
            "HOST:PORT = [::1]:4000 cannot be used: it has no IPv4 address, and IPv6 is not supported yet"
        );
    }
}
