//! SIP over TLS against servers of both versions, in this process.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::streams::Streams;
use super::{WireConfig, WireCounts};
use crate::clock;
use crate::net::tls::{Tls, TlsSettings};
use crate::sip::{Heard, SipDatagram, Transport};

const OPTIONS: &str = "OPTIONS sip:x@h SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\n\
    To: <sip:x@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// PEM files of an issuer, of a certificate that it has signed, and of that one's key.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn issue(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut issuer = CertificateParams::default();
        issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = issuer.self_signed(&key).unwrap().pem();
        let (issuer, own) = (Issuer::new(issuer, key), KeyPair::generate().unwrap());
        let certificate =
            CertificateParams::new(vec![name.to_string()]).unwrap().signed_by(&own, &issuer).unwrap();
        Files::of(&ca, &certificate.pem(), &own.serialize_pem())
    }

    /// A certificate that has signed itself and says that it may sign others, as `openssl req -x509` makes it.
    fn self_signed(name: &str, valid_until: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(valid_until, 1, 1);
        let certificate = params.self_signed(&key).unwrap().pem();
        Files::of(&certificate, &certificate, &key.serialize_pem())
    }

    fn of(ca: &str, certificate: &str, key: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("ca.pem", ca), ("certificate.pem", certificate), ("key.pem", key)] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Files { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// A server that takes one connection and sends back what it hears. With `callers` it asks for a certificate.
fn server(files: &Files, version: &'static SupportedProtocolVersion, callers: Option<&Files>) -> SocketAddr {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
    let builder = match callers {
        None => builder.with_no_client_auth(),
        Some(callers) => {
            let mut roots = RootCertStore::empty();
            certificates(&callers.path("ca.pem")).into_iter().for_each(|ca| roots.add(ca).unwrap());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_file(files.path("key.pem")).unwrap();
    serve(builder.with_single_cert(certificates(&files.path("certificate.pem")), key).unwrap())
}

/// A server that shows the certificate of one and has the key of another.
fn impostor(files: &Files, version: &'static SupportedProtocolVersion) -> SocketAddr {
    let provider = Arc::new(ring::default_provider());
    let key = PrivateKeyDer::from_pem_file(files.path("key.pem")).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let shown = CertifiedKey::new(certificates(&files.path("certificate.pem")), key);
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(shown));
    serve(builder.with_no_client_auth().with_cert_resolver(resolver))
}

fn serve(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut session = ServerConnection::new(Arc::new(config)).unwrap();
        let mut tls = rustls::Stream::new(&mut session, &mut stream);
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = tls.read(&mut buffer) {
            if tls.write_all(&buffer[..len]).is_err() {
                return;
            }
        }
    });
    address
}

/// Sends a message to `target` and waits for it to come back.
async fn call(target: SocketAddr, settings: &TlsSettings) -> Result<(), String> {
    let tls = vec![Tls::new(settings, "127.0.0.1")?];
    let config = WireConfig { transport: Transport::Tls, tls };
    let mut streams = Streams::open(&config, "127.0.0.1:0".parse().unwrap(), &[target])
        .await
        .map_err(|error| error.to_string())?;
    let (mut counts, message) =
        (WireCounts::default(), SipDatagram { destination: target, bytes: OPTIONS.into() });
    streams.send(clock::now(), &message, &mut counts);
    loop {
        let (messages, _) = streams.receive(clock::now(), 0, &mut counts, &mut |_, _, _| ());
        if let Some((heard, ..)) = messages.into_iter().next() {
            assert!(matches!(heard, Heard::Message(_)), "{heard:?}");
            return Ok(());
        }
        match streams.poll_broken() {
            Some(broken) => return Err(broken.why),
            None => streams.ready().await,
        }
    }
}

fn trusting(files: &Files) -> TlsSettings {
    TlsSettings { ca: Some(files.path("ca.pem")), ..TlsSettings::default() }
}

#[tokio::test]
async fn both_versions_are_spoken_with_a_server_that_is_trusted_and_with_no_other() {
    let files = Files::issue("127.0.0.1");
    let others = Files::issue("127.0.0.1");
    for version in [&TLS12, &TLS13] {
        let called = async |settings: &TlsSettings| call(server(&files, version, None), settings).await;
        assert_eq!(called(&trusting(&files)).await, Ok(()));
        let itself = TlsSettings { ca: Some(files.path("certificate.pem")), ..TlsSettings::default() };
        assert_eq!(called(&itself).await, Ok(()), "without its issuer");
        let why = called(&trusting(&others)).await.unwrap_err();
        assert!(why.contains("could not be opened") && why.contains("sip.tls.ca"), "{why}");
        let named = TlsSettings { server_name: Some("pbx.example".into()), ..trusting(&files) };
        let why = called(&named).await.unwrap_err();
        assert!(why.contains("not for `pbx.example`") && why.contains("sip.tls.server_name"), "{why}");
        let insecure = TlsSettings { insecure: true, ..TlsSettings::default() };
        assert_eq!(called(&insecure).await, Ok(()));
    }
}

#[tokio::test]
async fn a_certificate_as_people_make_it_is_taken_where_it_is_named_itself() {
    let [files, others, expired] = [4000, 4000, 2001].map(|year| Files::self_signed("127.0.0.1", year));
    for version in [&TLS12, &TLS13] {
        let called = async |files, settings: &TlsSettings| call(server(files, version, None), settings).await;
        assert_eq!(called(&files, &trusting(&files)).await, Ok(()));
        let why = called(&files, &trusting(&others)).await.unwrap_err();
        assert!(why.contains("openssl req -x509") && why.contains("and leave sip.tls.ca out"), "{why}");
        let named = TlsSettings { server_name: Some("pbx.example".into()), ..trusting(&files) };
        let why = called(&files, &named).await.unwrap_err();
        assert!(why.contains("not for `pbx.example` but for `127.0.0.1`"), "{why}");
        let why = called(&expired, &trusting(&expired)).await.unwrap_err();
        assert!(why.contains("it was valid until 2001-01-01 00:00:00 UTC"), "{why}");
        let insecure = TlsSettings { insecure: true, ..TlsSettings::default() };
        assert_eq!(called(&files, &insecure).await, Ok(()));
        let key_of_another = Files::of(
            &std::fs::read_to_string(files.path("ca.pem")).unwrap(),
            &std::fs::read_to_string(files.path("ca.pem")).unwrap(),
            &std::fs::read_to_string(others.path("key.pem")).unwrap(),
        );
        let why = call(impostor(&key_of_another, version), &trusting(&files)).await.unwrap_err();
        assert!(why.contains("comes from nobody who is trusted here"), "{why}");
    }
}

#[test]
fn a_certificate_with_the_key_of_another_is_named_at_its_key() {
    let [files, others] = ["a", "b"].map(Files::issue);
    let pair = |files: &Files| (files.path("certificate.pem"), files.path("key.pem"));
    let told = |certificate| {
        let settings =
            TlsSettings { certificate: Some(certificate), insecure: true, ..TlsSettings::default() };
        Tls::new(&settings, "127.0.0.1").map(drop)
    };
    assert_eq!(told(pair(&files)), Ok(()));
    let why = told((pair(&files).0, pair(&others).1)).unwrap_err();
    assert!(
        why.starts_with("sip.tls.key: ") && why.contains("is not the key of the first certificate in"),
        "{why}"
    );
}

#[tokio::test]
async fn a_server_that_asks_callers_for_a_certificate_gets_one_or_is_named() {
    let (files, callers) = (Files::issue("127.0.0.1"), Files::issue("caller.example"));
    for version in [&TLS12, &TLS13] {
        let why = call(server(&files, version, Some(&callers)), &trusting(&files)).await.unwrap_err();
        assert!(why.contains("sip.tls.certificate"), "{why}");
        let own = Some((callers.path("certificate.pem"), callers.path("key.pem")));
        let known = TlsSettings { certificate: own, ..trusting(&files) };
        assert_eq!(call(server(&files, version, Some(&callers)), &known).await, Ok(()));
    }
}
