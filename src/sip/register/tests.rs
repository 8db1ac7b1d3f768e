//! A registration and a scripted registrar, in virtual time.

use proptest::prelude::*;

use super::*;
use crate::sip::parse;

fn at_ms(n: u64) -> Stamp {
    Stamp::ZERO + Duration::from_millis(n)
}

fn registration() -> Registration {
    Registration::new(RegistrationConfig {
        registrar: "sip:pbx.example".into(),
        identity: Identity {
            headers: vec![("X-Tenant".into(), "acme".into())],
            ..Identity::plain("sip:7001@pbx.example", "sip:7001@pbx.example")
        },
        user: "7001".into(),
        remote: "192.0.2.1:5060".parse().unwrap(),
        local: "192.0.2.9:5070".parse().unwrap(),
        transport: Default::default(),
        call_id: "reg-1".into(),
        from_tag: "us".into(),
        seed: 7,
        credentials: Some(Credentials { username: "7001".into(), password: "secret".into() }),
        expires_s: 60,
        timeout: Duration::from_secs(10),
    })
}

/// What is sent, and what is told, since the last look.
fn drained(registration: &mut Registration) -> (Vec<Message>, Vec<RegisterEvent>) {
    let (mut sent, mut told) = (Vec::new(), Vec::new());
    while let Some(output) = registration.poll() {
        match output {
            RegisterOutput::Send(datagram) => sent.push(parse(&datagram.bytes).expect("it parses")),
            RegisterOutput::Event(event) => told.push(event),
        }
    }
    (sent, told)
}

fn sent(registration: &mut Registration) -> Message {
    let (mut sent, told) = drained(registration);
    assert_eq!((sent.len(), told.len()), (1, 0), "{sent:?} {told:?}");
    sent.remove(0)
}

fn told(registration: &mut Registration) -> RegisterEvent {
    let (sent, mut told) = drained(registration);
    assert_eq!((sent.len(), told.len()), (0, 1), "{sent:?} {told:?}");
    told.remove(0)
}

/// An answer with further headers, each with its line end.
fn answer(request: &Message, code: u16, headers: &str) -> Message {
    let text = format!(
        "SIP/2.0 {code} Because\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=them\r\nCall-ID: {}\r\nCSeq: {} REGISTER\r\n{headers}\r\n",
        request.via(),
        request.from(),
        request.to(),
        request.call_id(),
        request.cseq().number,
    );
    parse(text.as_bytes()).expect("it parses")
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=SHA-256\r\n\
    WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=MD5\r\n";

/// Registers at 0 s through a challenge; the answers come at 1 and 2 s.
fn registered(expires: &str) -> Registration {
    let mut registration = registration();
    registration.start(at_ms(0));
    let first = sent(&mut registration);
    assert_eq!((first.uri(), first.header("Authorization")), (Some("sip:pbx.example"), None));
    assert_eq!(first.header("Expires").as_deref(), Some("60"));
    assert_eq!(
        (first.contact(), first.header("X-Tenant").as_deref()),
        (Some("sip:7001@192.0.2.9:5070"), Some("acme"))
    );
    registration.handle_message(at_ms(1000), &answer(&first, 401, CHALLENGE));
    let second = sent(&mut registration);
    assert!(second.header("Authorization").is_some_and(|value| value.contains("algorithm=SHA-256")));
    assert_eq!((second.cseq().number, second.call_id()), (2, first.call_id()));
    assert_ne!(second.branch(), first.branch());
    registration.handle_message(at_ms(2000), &answer(&second, 200, expires));
    assert_eq!(told(&mut registration), RegisterEvent::Registered { took: Duration::from_secs(2) });
    registration
}

#[test]
fn it_is_refreshed_before_it_runs_out_and_taken_back_at_the_end() {
    for (expires, granted_s) in [
        ("Contact: <sip:7001@192.0.2.9:5070>;expires=40\r\nExpires: 9\r\n", 40),
        ("Contact: <sip:x@192.0.2.3>;expires=3, <sip:7001@192.0.2.9:5070;x=y>;expires=40\r\n", 40),
        ("Expires: 40\r\n", 40),
        ("", 60),
    ] {
        let mut registration = registered(expires);
        let at = registration.poll_timeout().expect("a refresh");
        let after = at.since(at_ms(2000)).as_secs_f64();
        assert!((0.8..0.9).contains(&(after / f64::from(granted_s))), "{expires}: {after} s");
        registration.handle_timeout(at);
        let refresh = sent(&mut registration);
        assert!(
            refresh.header("Authorization").is_some_and(|value| value.contains("nc=00000002")),
            "{refresh:?}"
        );
        // The nonce has grown too old meanwhile.
        let stale = CHALLENGE.replace("nonce=\"1\"", "nonce=\"2\", stale=true");
        registration.handle_message(at, &answer(&refresh, 401, &stale));
        let again = sent(&mut registration);
        registration.handle_message(at, &answer(&again, 200, expires));
        assert_eq!(told(&mut registration), RegisterEvent::Refreshed);

        registration.stop(at);
        let leave = sent(&mut registration);
        assert_eq!(leave.header("Expires").as_deref(), Some("0"));
        registration.stop(at);
        registration.handle_message(at, &answer(&leave, 200, ""));
        assert_eq!(told(&mut registration), RegisterEvent::Left { is_agreed: true });
        assert!(registration.is_over() && registration.poll_timeout().is_none());
    }
}

#[test]
fn a_registrar_may_want_longer_once() {
    let mut registration = registration();
    registration.start(at_ms(0));
    let brief = sent(&mut registration);
    registration.handle_message(at_ms(1), &answer(&brief, 423, "Min-Expires: 600\r\n"));
    let longer = sent(&mut registration);
    assert_eq!(longer.header("Expires").as_deref(), Some("600"));
    registration.handle_message(at_ms(2), &answer(&longer, 423, "Min-Expires: 6000\r\n"));
    assert!(matches!(
        told(&mut registration),
        RegisterEvent::Failed(RegisterFailure { code: Some(423), .. })
    ));
    for min in ["", "Min-Expires: 60\r\n", "Min-Expires: x\r\n", "Min-Expires: 4294967295\r\n"] {
        let mut registration = self::registration();
        registration.start(at_ms(0));
        let brief = sent(&mut registration);
        registration.handle_message(at_ms(1), &answer(&brief, 423, min));
        assert!(matches!(told(&mut registration), RegisterEvent::Failed(_)), "{min}");
    }
}

#[test]
fn what_refuses_it_is_told() {
    for (code, headers, words) in [
        (403, "", "403 Because"),
        (503, "", "503 Because"),
        (200, "Contact: <sip:7001@192.0.2.9:5070>;expires=0\r\n", "0 s"),
        (401, "", "no digest challenge"),
    ] {
        let mut registration = registration();
        registration.start(at_ms(0));
        let request = sent(&mut registration);
        registration.handle_message(at_ms(1), &answer(&request, code, headers));
        let RegisterEvent::Failed(failure) = told(&mut registration) else { panic!("{code}") };
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(registration.is_over());
    }
    // Wrong password.
    let mut registration = registration();
    registration.start(at_ms(0));
    for is_last in [false, true] {
        let request = sent(&mut registration);
        registration.handle_message(at_ms(1), &answer(&request, 401, CHALLENGE));
        if is_last {
            let RegisterEvent::Failed(failure) = told(&mut registration) else { panic!("no failure") };
            assert!(failure.reason.contains("7001"), "{failure}");
        }
    }
}

#[test]
fn silence_ends_it_after_the_timeout_and_what_cannot_be_read_is_the_reason() {
    let mut registration = registration();
    registration.start(at_ms(0));
    let mut requests = 0;
    let failure = loop {
        let at = registration.poll_timeout().expect("a timer");
        assert!(at <= at_ms(10_000));
        registration.handle_timeout(at);
        let (sent, told) = drained(&mut registration);
        requests += sent.len();
        if let Some(RegisterEvent::Failed(failure)) = told.first() {
            break failure.clone();
        }
    };
    assert_eq!((failure.code, failure.to_string().as_str()), (None, "no answer in time"));
    assert_eq!(requests, 5, "at 0, 0.5, 1.5, 3.5 and 7.5 s");
    assert_eq!(registration.retransmissions(), 4);
}

#[test]
fn a_refresh_that_fails_is_tried_again() {
    for (granted_s, longest) in [(10, 1.0), (40, 4.0), (3600, 30.0)] {
        let mut registration = registered(&format!("Expires: {granted_s}\r\n"));
        let ends_at = at_ms(2000 + 1000 * granted_s);
        // It goes on trying beyond the end.
        for _ in 0..6 {
            let at = registration.poll_timeout().expect("a refresh");
            registration.handle_timeout(at);
            let refresh = sent(&mut registration);
            registration.handle_message(at, &answer(&refresh, 500, ""));
            assert!(matches!(
                told(&mut registration),
                RegisterEvent::RefreshFailed(RegisterFailure { code: Some(500), .. })
            ));
            let pause = registration.poll_timeout().expect("another try").since(at);
            let left = ends_at.since(at);
            let wanted = if left.is_zero() { Duration::from_secs(granted_s) / 2 } else { left / 2 };
            assert_eq!(pause, wanted.clamp(SOONEST_REFRESH, RETRY_AFTER), "{granted_s} s");
            assert!(left.is_zero() || pause.as_secs_f64() <= longest, "{granted_s} s: {pause:?}");
        }
    }
}

#[test]
fn a_request_whose_connection_has_ended_goes_out_once_more_and_then_fails_for_that_reason() {
    let broken = |peer: &str| Broken {
        peer: peer.parse().unwrap(),
        why: "the TLS connection to 192.0.2.1:5060 has ended: reset".into(),
        was_open: true,
        is_unreadable: false,
    };
    let (ours, others) = (broken("192.0.2.1:5060"), broken("192.0.2.1:5061"));
    for is_unreadable in [false, true] {
        let mut registration = registration();
        registration.handle_transport_error(at_ms(0), &ours);
        registration.start(at_ms(0));
        let request = sent(&mut registration);
        registration.handle_transport_error(at_ms(1), &others);
        assert_eq!(drained(&mut registration), (vec![], vec![]));
        registration.handle_transport_error(at_ms(1), &ours);
        assert_eq!(sent(&mut registration), request);
        if is_unreadable {
            let crate::sip::Heard::Unreadable(unreadable) = crate::sip::hear(b"SIP/2.0 200 OK\r\n\r\n")
            else {
                panic!("it can be read")
            };
            registration.handle_unreadable(&unreadable);
        }
        registration.handle_transport_error(at_ms(2), &ours);
        let RegisterEvent::Failed(failure) = told(&mut registration) else { panic!("no failure") };
        let words = match is_unreadable {
            true => "the registrar answers, but cannot be read: SIP/2.0 200 OK: no ",
            false => "the TLS connection to 192.0.2.1:5060 has ended: reset",
        };
        assert!(failure.code.is_none() && failure.reason.starts_with(words), "{failure}");
        assert!(registration.is_over());
    }
    // An answer that has come stays, and a refresh is tried later.
    let mut registration = registered("Expires: 40\r\n");
    registration.handle_transport_error(at_ms(3000), &ours);
    assert_eq!(drained(&mut registration), (vec![], vec![]));
    let at = registration.poll_timeout().expect("a refresh");
    registration.handle_timeout(at);
    drained(&mut registration);
    registration.handle_transport_error(at, &ours);
    drained(&mut registration);
    registration.handle_transport_error(at, &ours);
    assert!(matches!(told(&mut registration), RegisterEvent::RefreshFailed(_)));
    assert!(registration.poll_timeout().is_some_and(|again| again > at));
}

proptest! {
    /// Whatever a registrar says, a registration asks at most twice a second, once more for each of ten challenges.
    #[test]
    fn no_registrar_makes_a_flood(
        answers in proptest::collection::vec((0..7usize, 0..4usize, 0u32..5000), 1..60),
    ) {
        let codes = [100, 200, 200, 401, 407, 423, 500];
        let mut registration = registration();
        registration.start(at_ms(0));
        let mut now = at_ms(0);
        let mut requests = 0;
        for (code, header, number) in answers {
            let (sent, _) = drained(&mut registration);
            requests += sent.len() as u64;
            let header = match header {
                0 => String::new(),
                1 => format!("Expires: {number}\r\nMin-Expires: {number}\r\n"),
                2 => CHALLENGE.replace("realm=\"r\"", &format!("realm=\"{number}\"")),
                _ => CHALLENGE.replace("Digest", "Digest stale=true,"),
            };
            let header = if codes[code] == 407 { header.replace("WWW-", "Proxy-") } else { header };
            match sent.last() {
                Some(request) => registration.handle_message(now, &answer(request, codes[code], &header)),
                None => {
                    let Some(at) = registration.poll_timeout() else { break };
                    prop_assert!(at >= now);
                    now = at;
                    registration.handle_timeout(now);
                }
            }
        }
        let half_seconds = now.since(at_ms(0)).as_millis() as u64 / 500;
        prop_assert!(requests <= (half_seconds + 1) * 12 + 12, "{requests} requests in {half_seconds} half seconds");
    }
}
