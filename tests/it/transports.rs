//! SIP over TCP, TLS and IPv6 against a real Asterisk, and what is said where a connection is not to be had.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loadtest::asterisk::{Managed, SearchPlaces, StartConfig, find};
use loadtest::clock::Timeline;
use loadtest::scenario::Transport;
use loadtest::sip::framing::{Frame, Framer};
use loadtest::sip::{Message, Method, parse};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::runtime::Runtime;

use crate::harness::{PATIENCE, Place, ends_with, rows};

/// Gates that do not depend on how fast the machine is.
const COUNTS: &str = r#"gates.require=["calls.answered == 100%", "calls.silent_count == 0", "calls.dropped_count == 0", "loss.count == 0", "sip.retransmissions == 0"]"#;
/// Over UDP a busy machine may answer late, and is asked again.
const COUNTS_OF_UDP: &str = r#"gates.require=["calls.answered == 100%", "calls.silent_count == 0", "calls.dropped_count == 0", "loss.count == 0"]"#;

#[test]
fn a_managed_asterisk_takes_calls_over_each_transport_and_over_ipv6() {
    let ways = [("tcp", "127.0.0.1"), ("tls", "127.0.0.1"), ("udp", "::1"), ("tcp", "::1"), ("tls", "::1")];
    for (transport, local) in ways {
        let place = Place::new();
        let (transport, local) = (format!("asterisk.transport={transport}"), format!("sip.local={local}"));
        let counts = if transport.ends_with("udp") { COUNTS_OF_UDP } else { COUNTS };
        let set = [&*transport, &local, "load.calls=3", "load.duration=3s", counts];
        ends_with(&mut place.run("smoke", &set), 0);
        assert_eq!(place.count("calls.answered_count"), 3, "{set:?}");
        let target = place.summary()["environment"]["observed"]["setup"]["target"].to_string();
        assert_eq!(target.contains("[::1]"), local.ends_with("::1"), "{target}");
        place.assert_nothing_left();
    }
}

/// An Asterisk of the test's own that takes SIP over one transport and no other.
struct Other {
    runtime: Runtime,
    managed: Managed,
}

impl Other {
    fn start(place: &Place, transport: Transport) -> Self {
        let install = find::find(&SearchPlaces::from_environment(None)).unwrap_or_else(|e| panic!("{e}"));
        let mut config = StartConfig::new(install, place.path("other-logs"));
        config.run_base = place.path("");
        config.ports.rtp = place.lane().asterisk();
        config.transport = transport;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let managed = runtime.block_on(Managed::start(config)).expect("Asterisk starts");
        Other { runtime, managed }
    }

    /// What a command on its console says.
    fn says(&self, command: &str) -> String {
        let output = self.managed.console().args(["-rx", command]).output().expect("a console");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts it anew with these lines more in its transport's section.
    fn restart_with(&mut self, lines: &str) {
        let file = self.managed.run_dir().join("etc/pjsip.conf");
        let text = fs::read_to_string(&file).expect("its configuration");
        let at = text.find("method = tlsv1_2\n").expect("a transport for TLS");
        fs::write(&file, [&text[..at], lines, &text[at..]].concat()).expect("written");
        let Other { runtime, managed } = self;
        runtime.block_on(async {
            managed.stop(PATIENCE).await;
            managed.start_again().await.expect("Asterisk starts again");
        });
    }

    /// A command that calls it, with more settings.
    fn called_by(&self, mut command: Command, set: &[&str]) -> Command {
        let account = self.managed.sip_account();
        command.env("SIP_USER", &account.user).env("SIP_PASS", account.password.expose());
        let target = format!("asterisk.sip={}", self.managed.sip_addr());
        let external =
            ["asterisk.mode=external", &target, "service.mode=none", "sip.to=echo", "load.calls=3"];
        for setting in external.iter().chain(set) {
            command.args(["--set", setting]);
        }
        command
    }

    fn stop(self) {
        self.runtime.block_on(self.managed.stop(PATIENCE));
    }
}

fn all_said(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("{out}{err}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn asterisk_says_that_it_was_called_over_tcp() {
    let place = Place::new();
    let other = Other::start(&place, Transport::Tcp);
    let transports = other.says("pjsip show transports");
    assert!(transports.contains("tcp") && !transports.contains("udp"), "{transports}");
    let tcp = ["asterisk.transport=tcp", "load.duration=3s", COUNTS];
    ends_with(&mut other.called_by(place.run("smoke", &[]), &tcp), 0);
    let said = all_said(&ends_with(&mut other.called_by(place.check("smoke", &[]), &tcp), 0));
    assert!(said.contains("answers OPTIONS with"), "{said}");
    // Nobody there speaks TLS, and nobody takes datagrams.
    let tls = ["asterisk.transport=tls", "sip.tls.insecure=true"];
    let said = all_said(&ends_with(&mut other.called_by(place.check("smoke", &[]), &tls), 2));
    assert!(said.contains("the TLS connection to") && said.contains("could not be opened"), "{said}");
    other.stop();
}

#[test]
fn a_certificate_is_trusted_by_its_issuer_and_its_name_or_by_nobody() {
    let place = Place::new();
    let other = Other::start(&place, Transport::Tls);
    let transports = other.says("pjsip show transports");
    assert!(transports.contains("tls") && !transports.contains("udp"), "{transports}");
    let ca = format!("sip.tls.ca={}", other.managed.issuer().expect("an issuer").display());
    let tls = "asterisk.transport=tls";
    let called = |set: &[&str], code| {
        let command = other.called_by(place.check("smoke", &[]), &[&[tls], set].concat());
        all_said(&ends_with(&mut { command }, code))
    };
    assert!(called(&[&ca], 0).contains("answers OPTIONS with"));
    assert!(called(&[&ca, "sip.tls.server_name=localhost"], 0).contains("answers OPTIONS with"));
    let said = called(&[], 2);
    assert!(
        said.contains("name the issuer's certificate, or its own, in sip.tls.ca")
            || said.contains("in sip.tls.ca, or install"),
        "{said}"
    );
    let said = called(&[&ca, "sip.tls.server_name=pbx.example"], 2);
    assert!(said.contains("its certificate is not for `pbx.example`"), "{said}");
    let said = called(&["sip.tls.ca=/nowhere/ca.pem"], 2);
    assert!(said.contains("sip.tls.ca: cannot read /nowhere/ca.pem"), "{said}");

    let set = [tls, "sip.tls.insecure=true", "load.duration=2s", COUNTS];
    ends_with(&mut other.called_by(place.run("smoke", &[]), &set), 0);
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(remarks.contains("nobody has checked the target's certificate"), "{remarks}");
    let strict = Place::new();
    let said = all_said(&ends_with(&mut other.called_by(strict.run("smoke", &[]), &[tls]), 1));
    assert!(
        said.contains("cannot speak SIP over TLS from 127.0.0.1") && said.contains("sip.tls.ca"),
        "{said}"
    );
    other.stop();
}

/// Files of a certificate for a caller, of its key and of its issuer, in this folder.
fn issue_caller(folder: &Path) -> [PathBuf; 3] {
    let key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // One of its own: a certificate that bears its issuer's name is taken for one that has signed itself.
    ca.distinguished_name.push(DnType::CommonName, "issuer of callers");
    let ca_certificate = ca.self_signed(&key).expect("a certificate");
    let (issuer, own) = (Issuer::new(ca, key), KeyPair::generate().expect("a key"));
    let mut caller = CertificateParams::new(vec!["caller.example".to_string()]).expect("a name");
    caller.distinguished_name.push(DnType::CommonName, "caller.example");
    caller.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = caller.signed_by(&own, &issuer).expect("a certificate");
    fs::create_dir_all(folder).expect("a folder");
    let texts = [certificate.pem(), own.serialize_pem(), ca_certificate.pem()];
    let names = ["caller.pem", "caller-key.pem", "caller-ca.pem"];
    std::array::from_fn(|n| {
        let path = folder.join(names[n]);
        fs::write(&path, &texts[n]).expect("written");
        path
    })
}

#[test]
fn an_asterisk_that_wants_certificates_takes_the_callers_that_it_trusts() {
    let place = Place::new();
    let mut other = Other::start(&place, Transport::Tls);
    let [certificate, key, issuer] = issue_caller(&place.path("callers"));
    other.restart_with(&format!(
        "verify_client = yes\nrequire_client_cert = yes\nca_list_file = {}\n",
        issuer.display()
    ));
    let ca = format!("sip.tls.ca={}", other.managed.issuer().expect("an issuer").display());
    let plain = ["asterisk.transport=tls", &ca];
    let as_caller = |certificate: &Path, key: &Path| {
        [("certificate", certificate), ("key", key)]
            .map(|(name, path)| format!("sip.tls.{name}={}", path.display()))
    };
    let called = |own: &[String], code| {
        let set: Vec<&str> = plain.into_iter().chain(own.iter().map(String::as_str)).collect();
        all_said(&ends_with(&mut other.called_by(place.check("smoke", &[]), &set), code))
    };
    let known = as_caller(&certificate, &key);
    assert!(called(&known, 0).contains("answers OPTIONS with"));
    // Of a certificate that it does not trust it says so by a goodbye, once TLS has been agreed on.
    let [strange, strange_key, _] = issue_caller(&place.path("strangers"));
    for own in [&[][..], &as_caller(&strange, &strange_key)] {
        let said = called(own, 2);
        assert!(said.contains("the TLS connection to") && said.contains("sip.tls.certificate"), "{said}");
    }
    let set = [plain[0], plain[1], &known[0], &known[1], "load.duration=2s", COUNTS];
    ends_with(&mut other.called_by(place.run("smoke", &[]), &set), 0);
    assert_eq!(place.count("calls.answered_count"), 3);
    other.stop();
}

/// A far end over TCP that answers each call and echoes its media.
struct FarEnd {
    sip: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

/// What a [`FarEnd`] does with its connection in mid-call.
#[derive(Clone, Copy, PartialEq)]
enum Closing {
    /// Nothing.
    Never,
    /// Closes it once, half a second after the ACK.
    Once,
    /// Closes it in the place of an answer to INVITE, and listens no more.
    ForGood,
}

const TICK: Duration = Duration::from_millis(1);

impl FarEnd {
    fn start(closing: Closing) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let sip = listener.local_addr().expect("an address");
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let thread = thread::spawn(move || {
            let rtp = UdpSocket::bind("127.0.0.1:0").expect("a port");
            rtp.set_read_timeout(Some(TICK)).expect("a timeout");
            listener.set_nonblocking(true).expect("a listener");
            let mut far = Far {
                sip,
                rtp,
                line: Timeline::start(),
                stream: None,
                closing,
                close_at: None,
                heard: Vec::new(),
            };
            let mut listener = Some(listener);
            while !ended.load(Relaxed) {
                if let Some(Ok((stream, _))) = listener.as_ref().map(TcpListener::accept) {
                    stream.set_nonblocking(true).expect("a stream");
                    far.stream = Some((stream, Framer::default()));
                }
                if far.turn() && closing == Closing::ForGood {
                    listener = None;
                }
            }
            far.heard
        });
        FarEnd { sip, stop, thread }
    }

    /// Ends it; what it has heard.
    fn stop(self) -> Vec<String> {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("no panic")
    }
}

struct Far {
    sip: SocketAddr,
    rtp: UdpSocket,
    line: Timeline,
    stream: Option<(TcpStream, Framer)>,
    closing: Closing,
    close_at: Option<loadtest::stamp::Stamp>,
    heard: Vec<String>,
}

impl Far {
    /// Does what is there to be done; true if it has closed its connection.
    fn turn(&mut self) -> bool {
        let mut buffer = [0; 4096];
        if let Ok((len, from)) = self.rtp.recv_from(&mut buffer) {
            let _ = self.rtp.send_to(&buffer[..len], from);
        }
        let mut messages = Vec::new();
        if let Some((stream, framer)) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(0) => self.stream = None,
                Ok(len) => {
                    framer.push(&buffer[..len]);
                    while let Some(frame) = framer.next_frame().expect("the driver frames its messages") {
                        if let Frame::Message(bytes) = frame {
                            messages.push(parse(&bytes).expect("the driver speaks SIP"));
                        }
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let is_over = messages.iter().fold(false, |is_over, message| self.take(message) | is_over);
        let is_due = self.close_at.take_if(|at| *at <= self.line.now()).is_some();
        if is_over || is_due {
            self.stream = None;
        }
        is_over || is_due
    }

    /// Takes a message; true if the connection is to be closed for it.
    fn take(&mut self, message: &Message) -> bool {
        assert!(message.via().starts_with("SIP/2.0/TCP "), "{}", message.via());
        self.heard.push(message.method().to_string());
        match message.method() {
            Method::Invite if self.closing == Closing::ForGood => return true,
            Method::Invite => {
                assert!(message.contact().is_some_and(|uri| uri.ends_with(";transport=tcp")));
                self.reply(message, &self.description());
            }
            Method::Ack => {
                if self.closing == Closing::Once {
                    self.close_at = Some(self.line.now() + Duration::from_millis(500));
                    self.closing = Closing::Never;
                }
            }
            _ => self.reply(message, ""),
        }
        false
    }

    fn description(&self) -> String {
        let port = self.rtp.local_addr().expect("an address").port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        )
    }

    fn reply(&mut self, request: &Message, sdp: &str) {
        let tag = if request.to_tag().is_some() { "" } else { ";tag=far" };
        let about = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n\
             Contact: <sip:far@{};transport=tcp>\r\n{about}Content-Length: {}\r\n\r\n{sdp}",
            request.via(),
            request.from(),
            request.to(),
            request.call_id(),
            request.cseq().number,
            request.method(),
            self.sip,
            sdp.len(),
        );
        if let Some((stream, _)) = &mut self.stream {
            stream.write_all(text.as_bytes()).expect("a short answer is taken");
        }
    }
}

fn run_against(place: &Place, far: &FarEnd, code: i32) {
    let target = format!("asterisk.sip={}", far.sip);
    let set = [
        "asterisk.mode=external",
        &target,
        "asterisk.transport=tcp",
        "service.mode=none",
        "load.calls=1",
        "load.duration=2s",
        "load.retry_after=60s",
        COUNTS_OF_UDP,
    ];
    ends_with(&mut place.run("smoke", &set), code);
}

#[test]
fn a_far_end_that_closes_its_connection_in_mid_call_is_hung_up_over_another_one() {
    for (closing, reopened) in [(Closing::Never, false), (Closing::Once, true)] {
        let place = Place::new();
        let far = FarEnd::start(closing);
        run_against(&place, &far, 0);
        assert_eq!(far.stop(), ["INVITE", "ACK", "BYE"]);
        let calls = rows(&place.out().join("calls.csv"));
        assert_eq!((calls.len(), &*calls[0]["ending"]), (1, "completed"), "{calls:?}");
        let remarks = place.summary()["environment"]["remarks"].to_string();
        let said = "has ended: the far end closed it; connections opened again: 1";
        assert_eq!(remarks.contains(said), reopened, "{remarks}");
    }
}

#[test]
fn a_far_end_that_closes_its_connection_instead_of_an_answer_is_named() {
    let place = Place::new();
    let far = FarEnd::start(Closing::ForGood);
    run_against(&place, &far, 10);
    assert_eq!(far.stop(), ["INVITE"]);
    let calls = rows(&place.out().join("calls.csv"));
    assert_eq!(&*calls[0]["ending"], "unreachable", "{calls:?}");
    let reason = &calls[0]["reason"];
    assert!(
        reason.contains("the TCP connection to 127.0.0.1:") && reason.contains("the far end closed it"),
        "{reason}"
    );
}

#[test]
fn a_target_that_takes_no_connection_ends_the_run_with_the_reason() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("asterisk.sip={}", listener.local_addr().expect("an address"));
    drop(listener);
    let set = ["asterisk.mode=external", &target, "asterisk.transport=tcp", "service.mode=none"];
    let said = all_said(&ends_with(&mut place.run("smoke", &set), 1));
    assert!(
        said.contains("cannot speak SIP over TCP from 127.0.0.1") && said.contains("Connection refused"),
        "{said}"
    );
}
