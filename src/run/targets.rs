//! Addresses of the hosts that a run's SIP is sent to.

use std::net::SocketAddr;

use super::RunError;
use crate::asterisk::Ari;
use crate::net::resolve::resolve;
use crate::scenario::Scenario;

/// The addresses of all hosts that an external scenario's SIP is sent to, in their order.
///
/// # Errors
/// There is none, one that cannot be looked up, or two names for the same.
pub async fn resolve_all(scenario: &Scenario) -> Result<Vec<SocketAddr>, RunError> {
    let (hops, key) = scenario.next_hops();
    let mut found: Vec<SocketAddr> = Vec::new();
    for hop in &hops {
        let address = resolve(hop, key, Some(scenario.sip.local)).await?;
        if let Some(same) = found.iter().position(|known| *known == address) {
            return Err(RunError::Unusable(format!(
                "{key}: {} and {hop} are both {address}; name each Asterisk once",
                hops[same]
            )));
        }
        found.push(address);
    }
    match found.is_empty() {
        true => Err(RunError::Unusable("an external Asterisk needs asterisk.sip".into())),
        false => Ok(found),
    }
}

/// Versions of the Asterisks, each once, as they say over ARI; empty where none says.
pub async fn versions(aris: &[Ari]) -> String {
    let mut versions = Vec::new();
    for ari in aris {
        versions.extend(ari.version().await.ok().filter(|version| !versions.contains(version)));
    }
    versions.join(", ")
}
