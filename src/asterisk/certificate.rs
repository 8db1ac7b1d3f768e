//! The certificate of a private Asterisk that speaks TLS: made for one run by an issuer of its own, whose key nobody keeps.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::error::AsteriskError;

/// The files in the folder of keys, as pjsip.conf names them.
const ISSUER: &str = "tls-ca.pem";
pub(super) const CERTIFICATE: &str = "tls.pem";
pub(super) const KEY: &str = "tls-key.pem";

/// The issuer's certificate of the Asterisk in `run_dir`, for its callers.
pub(super) fn issuer(run_dir: &Path) -> PathBuf {
    run_dir.join("keys").join(ISSUER)
}

/// Makes a certificate for `address` and `localhost`, and writes it with its key and its issuer's, each readable by its
/// owner alone.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write(run_dir: &Path, address: IpAddr) -> Result<(), AsteriskError> {
    let (ca, certificate, key) = make(address).map_err(|error| {
        AsteriskError::Failed(format!("cannot make a certificate for Asterisk's TLS: {error}"))
    })?;
    for (name, text) in [(ISSUER, ca), (CERTIFICATE, certificate), (KEY, key)] {
        let path = run_dir.join("keys").join(name);
        let io = |error| AsteriskError::file("cannot write", &path, error);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
    }
    Ok(())
}

/// An issuer's certificate, one that it has signed, and that one's key. A certificate that has signed itself is not taken
/// for a server's.
fn make(address: IpAddr) -> Result<(String, String, String), rcgen::Error> {
    let named = |name: &str| {
        let mut distinguished = DistinguishedName::new();
        distinguished.push(DnType::CommonName, name);
        distinguished
    };
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name = named("loadtest, for one run");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(vec!["localhost".to_string(), address.to_string()])?;
    leaf.distinguished_name = named("Asterisk");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok((ca_certificate.pem(), certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::net::tls::{Tls, TlsSettings};

    #[test]
    fn its_files_are_private_and_a_client_can_trust_the_issuer() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        write(dir.path(), "::1".parse().unwrap()).unwrap();
        for name in [ISSUER, CERTIFICATE, KEY] {
            let mode = fs::metadata(dir.path().join("keys").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let keys = dir.path().join("keys");
        let settings = TlsSettings {
            ca: Some(issuer(dir.path())),
            // As good as any of a caller's.
            certificate: Some((keys.join(CERTIFICATE), keys.join(KEY))),
            ..TlsSettings::default()
        };
        assert!(Tls::new(&settings, "::1").is_ok());
    }
}
