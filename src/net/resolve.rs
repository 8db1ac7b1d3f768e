//! Host names → addresses.

use std::net::SocketAddr;

use crate::values::HostPort;

/// A host without an address.
#[derive(Debug, thiserror::Error)]
#[error("{what} = {target} cannot be found: {reason}")]
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
            None => "it has no IPv4 address".into(),
        },
        Err(e) => e.to_string(),
    };
    Err(Unresolved { what: what.into(), target: target.clone(), reason })
}
