//! TLS 1.2 and 1.3 as a client: whom to trust, whom to be, and errors in words with their cure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

use super::trust::{Anybody, Pinning, is_issuer};
use crate::files;
use crate::values::{cut, one_line};

/// Names of another's certificate, and bytes of them, that are shown.
const MOST_NAMES: usize = 8;
const MOST_SHOWN: usize = 300;
/// Last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// Largest file of certificates that is read: that of a distribution has 200 KB.
const MOST_BYTES: u64 = 4 << 20;
/// Certificates that the system trusts: Debian and Alpine, Fedora, others.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Files and names of a client. All files are PEM.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Certificates that are trusted, and whose issues are; the system's without them.
    pub ca: Option<PathBuf>,
    /// A certificate of our own, with those that lead to its issuer, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Name that the server's certificate must be for; the host that is called without one.
    pub server_name: Option<String>,
    /// Whoever answers is taken for the server.
    pub insecure: bool,
}

/// A client, ready to connect.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// The name in words.
    shown: String,
    /// Others are trusted than by the system.
    has_ca: bool,
}

impl Tls {
    /// Reads the files of a client that calls `host`, as its user has written it.
    ///
    /// # Errors
    /// A file or a name that cannot be used: which key names it, and why.
    pub fn new(settings: &TlsSettings, host: &str) -> Result<Tls, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("no TLS: {error}"))?;
        let builder = if settings.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            let (roots, pinned) = trusted(settings.ca.as_deref())?;
            let issuers = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| format!("no TLS: {error}"))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinning { issuers, pinned }))
        };
        let config = match &settings.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("sip.tls.certificate", certificate)?;
                let paths = (certificate.as_path(), key.as_path());
                builder
                    .with_client_auth_cert(chain, private_key(key)?)
                    .map_err(|error| no_pair(&error, paths))?
            }
        };
        let shown = settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(shown.to_string()).map_err(|_| {
            format!("`{shown}` is no name that a certificate can be for: set sip.tls.server_name to one")
        })?;
        let has_ca = settings.ca.is_some();
        Ok(Tls { config: Arc::new(config), name, shown: shown.into(), has_ca })
    }

    /// A session that is about to begin.
    ///
    /// # Errors
    /// None of a client that [`Tls::new`] has made, but for a lack of randomness.
    pub fn begin(&self) -> Result<ClientConnection, Error> {
        let mut session = ClientConnection::new(self.config.clone(), self.name.clone())?;
        // Whoever owns the connection bounds what waits for it.
        session.set_buffer_limit(None);
        Ok(session)
    }

    /// The reason of a failed session, with its cure.
    pub fn words(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(why) => self.distrust(why),
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                "it wants a certificate of the caller: name one in sip.tls.certificate, and its key in sip.tls.key"
                    .into()
            }
            Error::AlertReceived(
                alert @ (AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateExpired
                | AlertDescription::HandshakeFailure),
            ) => format!(
                "it refuses the session ({alert:?}): if it wants a certificate of the caller, name one that it trusts in \
                 sip.tls.certificate and sip.tls.key; its log says more"
            ),
            Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => format!(
                "it speaks neither TLS 1.2 nor 1.3 ({error}): for Asterisk set method = tlsv1_2 in its transport, \
                 without which it speaks 1.0"
            ),
            Error::InvalidMessage(_) => {
                "what answers does not speak TLS, or has a certificate beyond 64 KiB: is that its port for TLS (5061 is \
                 usual), or is asterisk.transport to be \"tcp\"?"
                    .into()
            }
            other => other.to_string(),
        }
    }

    fn distrust(&self, why: &CertificateError) -> String {
        let shown = &self.shown;
        // The two contradict each other.
        let and = if self.has_ca { " and leave sip.tls.ca out" } else { "" };
        let insecure = format!("or, where that is as intended, set sip.tls.insecure = true{and}");
        match why {
            // An issuer of the same name, and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "its certificate comes from nobody who is trusted here: name the issuer's certificate, or its own, in \
                 sip.tls.ca (PEM), {insecure}"
            ),
            CertificateError::NotValidForName => self.other_name(""),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> = presented.iter().take(MOST_NAMES).map(|name| plain(name)).collect();
                let names = names.join(", ");
                self.other_name(&format!(" but for {}", cut(&one_line(&names), MOST_SHOWN)))
            }
            CertificateError::ExpiredContext { time, not_after } => format!(
                "its certificate has expired: it was valid until {}, and here it is {}; renew it, see the clocks on both \
                 sides, {insecure}",
                date(*not_after),
                date(*time)
            ),
            CertificateError::NotValidYetContext { time, not_before } => format!(
                "its certificate is not valid yet: it will be from {}, and here it is {}; see the clocks on both sides, \
                 {insecure}",
                date(*not_before),
                date(*time)
            ),
            CertificateError::Expired | CertificateError::NotValidYet => {
                format!(
                    "its certificate is not valid today: renew it, see the clocks on both sides, {insecure}"
                )
            }
            other if is_issuer(other) => format!(
                "its certificate is that of an issuer (CA:TRUE), as `openssl req -x509` makes it, and not one for `{shown}`: \
                 name that very certificate in sip.tls.ca, make one with -addext basicConstraints=critical,CA:FALSE, \
                 {insecure}"
            ),
            other if format!("{other:?}").contains("UnsupportedCertVersion") => format!(
                "its certificate is of version 1, which has no names, as Asterisk's `ast_tls_cert` makes it: make one of \
                 version 3 with `{shown}` in subjectAltName, {insecure}"
            ),
            other => format!("its certificate cannot be used ({other}): mend it, {insecure}"),
        }
    }

    fn other_name(&self, but_for: &str) -> String {
        format!(
            "its certificate is not for `{}`{but_for}: set sip.tls.server_name to a name that it is for, or have it issued \
             for this one",
            self.shown
        )
    }
}

/// A name of a certificate, which comes as `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
fn plain(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    format!("`{}`", inner.unwrap_or(presented).trim_matches('"'))
}

/// A time as people write it, to the second.
fn date(time: UnixTime) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    // Beyond the year 9999 there is no such form.
    let time = time.filter(|time| time.duration_since(UNIX_EPOCH).is_ok_and(|t| t.as_secs() <= LAST_SECOND));
    let text = time.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    text.map_or("a time beyond the year 9999".into(), |text| text.replace('T', " ").replace('Z', " UTC"))
}

/// The reason for which certificate and key of ours cannot be used, at the key of the one that is wrong.
fn no_pair(error: &Error, (certificate, key): (&Path, &Path)) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    match error {
        Error::InconsistentKeys(_) => {
            format!("sip.tls.key: {key} is not the key of the first certificate in {certificate}")
        }
        Error::InvalidCertificate(_) => {
            format!("sip.tls.certificate: the first certificate in {certificate} cannot be read")
        }
        _ => {
            format!("sip.tls.key: {key} holds a key that is neither RSA from 2048 bits on, ECDSA nor Ed25519")
        }
    }
}

/// Issuers that are trusted, and certificates that are trusted for themselves.
fn trusted(ca: Option<&Path>) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        // Some of a distribution's may be of a kind that nobody reads any more.
        let readable = SYSTEM.iter().find_map(|path| certificates("the system", Path::new(path)).ok());
        roots.add_parsable_certificates(readable.unwrap_or_default());
        return match roots.is_empty() {
            true => Err(format!(
                "this system trusts nobody (no certificates in {}): name the server's issuer in sip.tls.ca, or install \
                 ca-certificates",
                SYSTEM.join(", ")
            )),
            false => Ok((roots, Vec::new())),
        };
    };
    let named = certificates("sip.tls.ca", path)?;
    for certificate in &named {
        roots.add(certificate.clone()).map_err(|error| {
            format!("sip.tls.ca: {} holds a certificate that cannot be used: {error}", path.display())
        })?;
    }
    Ok((roots, named))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    files::read(path, MOST_BYTES).map_err(|error| format!("{key}: cannot read {}: {error}", path.display()))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!(
            "{key}: {} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
            path.display()
        )),
        Err(error) => Err(format!("{key}: {} is no PEM: {error}", path.display())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read("sip.tls.key", path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        format!("sip.tls.key: {} holds no private key in PEM without a password: {error}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ca: &Path) -> TlsSettings {
        TlsSettings { ca: Some(ca.into()), ..TlsSettings::default() }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_by_their_key() {
        let dir = tempfile::tempdir().unwrap();
        let (none, text) = (dir.path().join("none.pem"), dir.path().join("text.pem"));
        std::fs::write(&text, "no certificate\n").unwrap();
        for (settings, said) in [
            (settings(&none), "sip.tls.ca: cannot read"),
            (settings(&text), "holds no certificate in PEM"),
            (
                TlsSettings {
                    insecure: true,
                    certificate: Some((text.clone(), text.clone())),
                    ..TlsSettings::default()
                },
                "sip.tls.certificate: ",
            ),
            (
                TlsSettings { insecure: true, server_name: Some("a b".into()), ..TlsSettings::default() },
                "`a b` is no name that a certificate can be for",
            ),
        ] {
            let error = Tls::new(&settings, "127.0.0.1").expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        let insecure = TlsSettings { insecure: true, ..TlsSettings::default() };
        for host in ["127.0.0.1", "::1", "pbx.example", "localhost"] {
            assert!(
                Tls::new(&insecure, host).and_then(|tls| tls.begin().map_err(|e| e.to_string())).is_ok(),
                "{host}"
            );
        }
    }

    #[test]
    fn each_fault_has_its_cure() {
        let insecure = TlsSettings { insecure: true, ..TlsSettings::default() };
        let tls = Tls::new(&insecure, "pbx.example").unwrap();
        let alert = Error::AlertReceived;
        for (error, said) in [
            (CertificateError::UnknownIssuer.into(), "sip.tls.ca"),
            (CertificateError::NotValidForName.into(), "not for `pbx.example`: set sip.tls.server_name"),
            (
                CertificateError::NotValidForNameContext {
                    expected: ServerName::try_from("pbx.example").unwrap(),
                    presented: vec!["DnsName(\"localhost\")".into(), "IpAddress(127.0.0.1)".into()],
                }
                .into(),
                "not for `pbx.example` but for `localhost`, `127.0.0.1`: set sip.tls.server_name",
            ),
            (CertificateError::Expired.into(), "not valid today"),
            (CertificateError::BadEncoding.into(), "sip.tls.insecure"),
            (alert(AlertDescription::CertificateRequired), "sip.tls.certificate"),
            (alert(AlertDescription::UnknownCA), "sip.tls.certificate"),
            (alert(AlertDescription::ProtocolVersion), "method = tlsv1_2"),
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
        ] {
            let error: Error = error;
            assert!(tls.words(&error).contains(said), "{}", tls.words(&error));
        }
    }
}
