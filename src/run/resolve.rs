//! Host names → addresses.

use std::net::SocketAddr;

use super::RunError;
use crate::values::HostPort;

/// The first IPv4 address of `target`, which the user gave as `what`.
///
/// # Errors
/// When there is no such host, or none with an IPv4 address.
pub async fn resolve(target: &HostPort, what: &str) -> Result<SocketAddr, RunError> {
    let reason = match tokio::net::lookup_host(target.to_string()).await {
        Ok(mut addresses) => match addresses.find(SocketAddr::is_ipv4) {
            Some(address) => return Ok(address),
            None => "it has no IPv4 address".into(),
        },
        Err(e) => e.to_string(),
    };
    Err(RunError::Unresolved { what: what.into(), target: target.clone(), reason })
}
