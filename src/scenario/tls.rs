//! `[sip.tls]`: whom to trust, and whom to be.

use serde::{Deserialize, Deserializer, Serialize};

use super::error::Problems;
use super::{AsteriskMode, Scenario};
use crate::sip::Transport;

/// TLS of SIP, where `asterisk.transport` is `"tls"`. A managed Asterisk gets a certificate made for the run, which is
/// trusted without any key here. Files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SipTls {
    /// File of certificates that are trusted, and whose issues are: the issuer's, or the target's own. Absent or empty: those
    /// that the system trusts.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "unless_empty")]
    #[cfg_attr(test, schemars(extend("examples" = ["ca.pem"])))]
    pub ca: Option<String>,
    /// File of the caller's own certificate, with those that lead to its issuer, for a target that asks for one.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "unless_empty")]
    #[cfg_attr(test, schemars(extend("examples" = ["client.pem"])))]
    pub certificate: Option<String>,
    /// File of that certificate's private key, without a password.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "unless_empty")]
    #[cfg_attr(test, schemars(extend("examples" = ["client-key.pem"])))]
    pub key: Option<String>,
    /// Name that the target's certificate must be for. Absent: the host in `asterisk.sip`, as it is written there.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "unless_empty")]
    #[cfg_attr(test, schemars(extend("examples" = ["pbx.example"])))]
    pub server_name: Option<String>,
    /// True to take whoever answers for the target: nobody checks its certificate. The report says so.
    pub insecure: bool,
}

/// A text, where there is one: an empty one takes a key of the file back, as in `--set sip.tls.ca=`.
fn unless_empty<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    String::deserialize(source).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// A table that counts for nothing, since SIP goes over another transport.
pub fn idle(s: &Scenario) -> Option<String> {
    let transport = s.asterisk.transport;
    let is_idle = transport != Transport::Tls && s.sip.tls != SipTls::default();
    is_idle.then(|| {
        format!("sip.tls: SIP goes over {transport}, so that nothing in this table counts; set asterisk.transport = \"tls\" or leave it out")
    })
}

/// Longest path and name.
const LONGEST: usize = 4096;

/// Everything wrong with it.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    let SipTls { ca, certificate, key, server_name, insecure } = &s.sip.tls;
    let is_tls = s.asterisk.transport == Transport::Tls;
    let is_managed = s.asterisk.mode == AsteriskMode::Managed;
    found.refuse_if(
        is_tls && is_managed && s.sip.tls != SipTls::default(),
        "sip.tls",
        "a managed Asterisk's certificate is made for the run, and trusted as it is",
        "leave the table out, or use an external Asterisk",
    );
    found.refuse_if(
        certificate.is_some() != key.is_some(),
        if certificate.is_some() { "sip.tls.certificate" } else { "sip.tls.key" },
        "a certificate and its key go together",
        "name both files",
    );
    found.refuse_if(
        *insecure && ca.is_some(),
        "sip.tls.insecure",
        "nobody's certificate is checked, so that none need be trusted",
        "leave sip.tls.ca or sip.tls.insecure out; --set sip.tls.ca= takes back what the file has",
    );
    for (name, text) in [("ca", ca), ("certificate", certificate), ("key", key), ("server_name", server_name)]
    {
        let is_odd = |text: &String| text.len() > LONGEST || text.contains('\0');
        let path = format!("sip.tls.{name}");
        found.refuse_if(
            text.as_ref().is_some_and(is_odd),
            &path,
            "there is too much in it, or a zero byte",
            "name one",
        );
    }
}
