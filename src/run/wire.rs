//! The transport of a run's SIP, made of its scenario: whom TLS trusts, and whom it is.

use std::path::PathBuf;

use super::RunError;
use crate::driver::WireConfig;
use crate::net::tls::{Tls, TlsSettings};
use crate::scenario::{Scenario, Transport};
use crate::values::HostPort;

/// The transport of a scenario's SIP; `issuer` is that of a managed Asterisk's certificate.
///
/// # Errors
/// Files or names of TLS that cannot be used.
pub fn wire(scenario: &Scenario, issuer: Option<PathBuf>) -> Result<WireConfig, RunError> {
    let transport = scenario.asterisk.transport;
    if transport != Transport::Tls {
        return Ok(WireConfig { transport, tls: Vec::new() });
    }
    let given = &scenario.sip.tls;
    let file = |name: &Option<String>| name.as_ref().map(PathBuf::from);
    let settings = TlsSettings {
        ca: issuer.or_else(|| file(&given.ca)),
        certificate: file(&given.certificate).zip(file(&given.key)),
        server_name: given.server_name.clone(),
        insecure: given.insecure,
    };
    let managed = scenario.sip.loopback().to_string();
    let hosts: Vec<_> = scenario.next_hops().0.into_iter().map(HostPort::host).collect();
    let hosts = if hosts.is_empty() { vec![managed.as_str()] } else { hosts };
    let tls: Result<_, _> = hosts.into_iter().map(|host| Tls::new(&settings, host)).collect();
    Ok(WireConfig { transport, tls: tls.map_err(RunError::Unusable)? })
}

/// A remark on the certificate of a target that nobody has checked.
pub fn unchecked(scenario: &Scenario) -> Option<String> {
    let is_unchecked = scenario.asterisk.transport == Transport::Tls && scenario.sip.tls.insecure;
    is_unchecked.then(|| {
        "sip.tls.insecure: nobody has checked the target's certificate, so that whoever answers there was taken for it".into()
    })
}
