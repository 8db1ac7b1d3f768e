//! Tests of challenges and their answers.

use super::*;
use crate::sip::parse;

fn answer(challenge: &str, user: &str, password: &str, method: &str, uri: &str, cnonce: &str) -> String {
    let credentials = Credentials { username: user.into(), password: password.into() };
    let challenge = Challenge::parse(challenge).expect("the challenge parses");
    challenge.answer(&credentials, &Method::from_name(method), uri, cnonce).expect("it can be answered")
}

fn assert_response(answer: &str, response: &str) {
    assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
}

#[test]
fn the_example_of_rfc_2617() {
    let with_qop = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let answered = answer(with_qop, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", "0a4f113b");
    assert_response(&answered, "6629fae49393a05397450978507c4ef1");
    assert!(answered.contains("qop=auth, nc=00000001, cnonce=\"0a4f113b\""), "{answered}");
    assert!(answered.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""));
    // The same as a server from before qop would ask it (RFC 2069's formula).
    let without_qop = with_qop.replace("qop=\"auth,auth-int\", ", "");
    let answered = answer(&without_qop, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", "unused");
    assert_response(&answered, "670fd8c2df070c60b045671b8b24ff02");
    assert!(!answered.contains("cnonce") && !answered.contains("nc="));
}

#[test]
fn the_examples_of_rfc_7616() {
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("sha-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let challenge = format!(
            "digest  realm = \"http-auth@example.org\",qop=\"auth, auth-int\",algorithm={algorithm},\
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let answered = answer(&challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", cnonce);
        assert_response(&answered, response);
    }
}

#[test]
fn a_sip_invite() {
    // Computed apart from this code, by RFC 2617's formula.
    let challenge = "Digest realm=\"biloxi.com\", qop=\"auth\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    let answered = answer(challenge, "bob", "zanzibar", "INVITE", "sip:bob@biloxi.com", "0a4f113b");
    assert_response(&answered, "89eb0059246c02b2f6ee02c7961d5ea3");
    assert!(answered.contains("uri=\"sip:bob@biloxi.com\""));
}

#[test]
fn challenges_that_cannot_be_answered_say_why() {
    for (challenge, error) in [
        ("Basic realm=\"x\"", AuthError::NoChallenge),
        ("", AuthError::NoChallenge),
        ("Digest", AuthError::NoChallenge),
        ("Digest nonce=\"n\"", AuthError::Missing("realm")),
        ("Digest realm=\"r\"", AuthError::Missing("nonce")),
        ("Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"", AuthError::Qop("auth-int".into())),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=ROT13", AuthError::Algorithm("ROT13".into())),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess", AuthError::Algorithm("MD5-sess".into())),
    ] {
        assert_eq!(Challenge::parse(challenge), Err(error), "{challenge}");
    }
}

#[test]
fn quotes_escapes_and_other_alphabets_are_read() {
    let challenge = Challenge::parse(
        r#"Digest realm="Zürich, \"the\" 東京", nonce="a\\b", stale=TRUE, domain="sip:a,b""#,
    )
    .expect("it parses");
    assert_eq!(challenge.header.realm, "Zürich, \"the\" 東京");
    assert_eq!(challenge.header.nonce, "a\\b");
    assert!(challenge.is_stale());
}

/// A response with these challenges.
fn response(code: u16, challenges: &[&str]) -> Message {
    let lines: String = challenges.iter().map(|line| format!("{line}\r\n")).collect();
    let text = format!(
        "SIP/2.0 {code} Who\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
    );
    parse(text.as_bytes()).expect("it parses")
}

fn authorizations() -> Authorizations {
    let credentials = Credentials { username: "bob".into(), password: "zanzibar".into() };
    Authorizations::new(Some(credentials), "sip:bob@h".into(), 7)
}

/// Header, realm, nonce and nc of each answer.
fn answers(authorizations: &mut Authorizations) -> Vec<String> {
    let value = |line: &str, name: &str| {
        let found = split(line, ',')
            .find_map(|part| part.split_once(&format!("{name}=")).map(|(_, v)| v.to_string()));
        found.map_or("-".into(), |v| unquoted(&v))
    };
    let answers = authorizations.answers(&Method::Invite, "sip:b@h");
    let shown = |(header, line): &(&str, String)| {
        format!("{header} {} {} {}", value(line, "realm"), value(line, "nonce"), value(line, "nc"))
    };
    answers.iter().map(shown).collect()
}

#[test]
fn the_topmost_challenge_that_is_known_is_taken() {
    let lines = [
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"0\", algorithm=SHA-1024",
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=SHA-256",
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", algorithm=MD5",
    ];
    assert_eq!(Challenge::of(&response(401, &lines)).expect("a challenge").header.nonce, "1");
    // A 407 may hand a server's challenge through (RFC 3261 22.3).
    assert_eq!(Challenge::of(&response(407, &lines)).expect("a challenge").header.nonce, "1");
    assert_eq!(Challenge::of(&response(407, &[])), Err(AuthError::NoChallenge));
    let mut known = authorizations();
    assert_eq!((known.told(), answers(&mut known)), (None, vec![]));
    known.challenged(&response(401, &lines), &mut Tries::default()).expect("it is answered");
    assert_eq!(answers(&mut known), ["Authorization r 1 -"]);
}

#[test]
fn realms_are_answered_one_after_another_and_all_at_once() {
    let lines = [
        "Proxy-Authenticate: Digest realm=\"one\", nonce=\"1\", qop=\"auth\"",
        "Proxy-Authenticate: Digest realm=\"two\", nonce=\"2\", qop=\"auth\", algorithm=SHA-256",
        "WWW-Authenticate: Digest realm=\"one\", nonce=\"3\", qop=\"auth\"",
    ];
    let all = ["Proxy-Authorization one 1", "Proxy-Authorization two 2", "Authorization one 3"];
    let counted = |nc: u32| all.map(|line| format!("{line} {nc:08x}")).to_vec();
    let mut known = authorizations();
    known.challenged(&response(407, &lines), &mut Tries::default()).expect("all are answered");
    assert_eq!((answers(&mut known), answers(&mut known)), (counted(1), counted(2)));

    let (mut known, mut tries) = (authorizations(), Tries::default());
    for (n, line) in lines.iter().enumerate() {
        let code = if line.starts_with("Proxy") { 407 } else { 401 };
        known.challenged(&response(code, &[line]), &mut tries).expect("it is answered");
        assert_eq!(known.answers(&Method::Invite, "sip:b@h").len(), n + 1);
    }
    // A nonce that was too old is replaced once, and its uses are counted anew.
    let stale = response(407, &[&lines[1].replace("\"2\"", "\"4\", stale=true")]);
    known.challenged(&stale, &mut tries).expect("it was too old");
    let again = answers(&mut known);
    assert_eq!(again[1], "Proxy-Authorization two 4 00000001");
    assert_eq!(again[2], "Authorization one 3 00000002");
    let refused = known.challenged(&stale, &mut tries).expect_err("twice is a refusal");
    let told = "it was told user `bob` for realm `two`, From sip:bob@h";
    assert_eq!(refused, AuthError::Refused(told.into()));
    assert_eq!(known.told().as_deref(), Some("it was told user `bob` for realm `one`, From sip:bob@h"));
    // Another request begins anew.
    known.challenged(&stale, &mut Tries::default()).expect("it may ask that one as well");
}

#[test]
fn what_is_answered_in_vain_says_why() {
    let known_one = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"";
    let odd = "WWW-Authenticate: Digest realm=\"s\", nonce=\"1\", algorithm=ROT13";
    let (mut known, mut tries) = (authorizations(), Tries::default());
    known.challenged(&response(401, &[odd, known_one]), &mut tries).expect("one of them is known");
    let why = known.challenged(&response(401, &[odd, known_one]), &mut tries);
    assert_eq!(why, Err(AuthError::Algorithm("ROT13".into())), "it is not the password");
    let mut nobody = Authorizations::new(None, "sip:bob@h".into(), 7);
    let mut asked = |lines: &[&str]| nobody.challenged(&response(401, lines), &mut Tries::default());
    assert_eq!(asked(&[known_one]), Err(AuthError::NoCredentials));
    assert_eq!(asked(&[odd]), Err(AuthError::Algorithm("ROT13".into())));
    assert_eq!(asked(&[]), Err(AuthError::NoChallenge));
}

#[test]
fn realms_and_rounds_are_bounded() {
    let line = |n: usize| format!("WWW-Authenticate: Digest realm=\"r{n}\", nonce=\"n\"");
    let (mut known, mut tries) = (authorizations(), Tries::default());
    for n in 0..MOST_REALMS {
        known.challenged(&response(401, &[&line(n)]), &mut tries).expect("so many are answered");
    }
    let one_more = known.challenged(&response(401, &[&line(MOST_REALMS)]), &mut tries);
    assert_eq!(one_more, Err(AuthError::TooManyRealms(MOST_REALMS)));
    let stale = |n: usize| response(401, &[&format!("{}, stale=true", line(n))]);
    known.challenged(&stale(0), &mut tries).expect("the tenth round");
    assert_eq!(known.challenged(&stale(1), &mut tries), Err(AuthError::Endless(MOST_ROUNDS)));
}

#[test]
fn the_password_stays_out_of_debug_output() {
    let credentials = Credentials { username: "bob".into(), password: "zanzibar".into() };
    assert!(!format!("{credentials:?}").contains("zanzibar"));
}
