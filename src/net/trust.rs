//! Certificates of TLS servers that are taken: by their issuer, by themselves, or whatever they are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// True for a certificate that is taken for an issuer's, and therefore for no server's.
pub(super) fn is_issuer(why: &CertificateError) -> bool {
    // The library has no name for it.
    format!("{why:?}").contains("CaUsedAsEndEntity")
}

/// Takes what an issuer that is trusted has issued, and certificates that are trusted for themselves: a server that shows
/// one of these proves by its signature that it holds the key. Names and dates count for both.
#[derive(Debug)]
pub(super) struct Pinning {
    /// Takes what the issuers have issued.
    pub issuers: Arc<WebPkiServerVerifier>,
    /// The certificates themselves.
    pub pinned: Vec<CertificateDer<'static>>,
}

impl Pinning {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.iter().any(|pinned| pinned.as_ref() == certificate.as_ref())
    }
}

/// True for faults that lie with the issuer, of whom a certificate that is trusted for itself has no need. The dates are
/// looked at before them.
fn is_of_issuer(why: &CertificateError) -> bool {
    matches!(why, CertificateError::UnknownIssuer | CertificateError::BadSignature) || is_issuer(why)
}

impl ServerCertVerifier for Pinning {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.issuers.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(why)) if self.is_pinned(certificate) && is_of_issuer(&why) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issuers.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issuers.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issuers.supported_verify_schemes()
    }
}

/// Takes everybody for the server. The session itself is as sound as any: who holds the key has made it, as far as
/// the certificate can be read.
#[derive(Debug)]
pub(super) struct Anybody(pub Arc<CryptoProvider>);

impl Anybody {
    /// A signature by a certificate that is too odd to be read proves as little as that certificate.
    fn unless_odd(signed: Result<HandshakeSignatureValid, Error>) -> Result<HandshakeSignatureValid, Error> {
        match signed {
            Err(Error::InvalidCertificate(CertificateError::Other(_) | CertificateError::BadEncoding)) => {
                Ok(HandshakeSignatureValid::assertion())
            }
            signed => signed,
        }
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        Self::unless_odd(verify_tls12_signature(message, certificate, signed, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        Self::unless_odd(verify_tls13_signature(message, certificate, signed, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
