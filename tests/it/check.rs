//! `loadtest check`: every obstacle named with its cure, and nothing started.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};

use crate::harness::{Place, UsersAsterisk, ends_with, stderr};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The figures of a row: needed and free.
fn row(output: &Output, what: &str) -> (u64, u64) {
    let said = stdout(output);
    let line = said.lines().find(|l| l.contains(what)).unwrap_or_else(|| panic!("no {what} in\n{said}"));
    let mut numbers = line.split_once(what).expect("found above").1.split_whitespace();
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    (next(), next())
}

#[test]
fn every_scenario_that_is_shipped_can_be_run_here() {
    let place = Place::new();
    let names = fs::read_dir("scenarios").expect("scenarios").flatten().map(|e| e.path());
    let names = names.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let names: Vec<_> = names.filter_map(|p| Some(p.file_stem()?.to_str()?.to_string())).collect();
    assert!(names.contains(&"smoke".into()) && names.contains(&"own-service".into()), "{names:?}");
    // The one for containers finds none here.
    for name in names.into_iter().filter(|name| name != "compose") {
        let output = ends_with(&mut place.check(&name, &[]), 0);
        assert!(stdout(&output).contains("Nothing is in the way"), "{name}: {}", stdout(&output));
        assert!(stdout(&output).contains("Asterisk 2"), "{name} names Asterisk's version");
    }
    place.assert_nothing_left();
}

#[test]
fn needs_grow_with_the_calls_and_with_churn() {
    let place = Place::new();
    let needs = |set: &[&str]| {
        let output = ends_with(&mut place.check("smoke", set), 0);
        ["driver's ports", "service's ports", "Asterisk's port pairs", "descriptors"]
            .map(|what| row(&output, what).0)
    };
    let (five, ten) = (needs(&["load.calls=5"]), needs(&["load.calls=10"]));
    assert_eq!((five[0], five[1], five[2]), (5, 5, 10));
    assert_eq!((ten[0], ten[1], ten[2]), (10, 10, 20));
    assert!(ten[3] > five[3], "descriptors: {five:?}, {ten:?}");
    assert_eq!(needs(&["load.calls=5", "load.call_duration=5s"])[..3], ten[..3]);
}

#[test]
fn ports_that_others_hold_are_counted_and_run_refuses_too() {
    let place = Place::new();
    // Two even ports, one of which is held.
    let first = *place.lane().media().start();
    let _holder = UdpSocket::bind(("127.0.0.1", first)).expect("a port of this place");
    let range = format!("media.ports={first}-{}", first + 3);
    let output = ends_with(&mut place.check("smoke", &[&range, "load.calls=1"]), 0);
    let (needed, free) = row(&output, "driver's ports");
    assert_eq!((needed, free), (1, 1), "{}", stdout(&output));

    let set = [range.as_str(), "load.calls=2"];
    let said = stderr(&ends_with(&mut place.check("smoke", &set), 2));
    assert!(said.contains("media.ports") && said.contains("held by other programs"), "{said}");
    let said = stderr(&ends_with(&mut place.run("smoke", &set), 1));
    assert!(said.contains("media.ports") && said.contains("held by other programs"), "{said}");
    assert!(!place.out().exists(), "a run that never began leaves no folder");
}

#[test]
fn all_obstacles_are_named_at_once() {
    let place = Place::new();
    let taken =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr().map(|a| (l, a))).expect("a port");
    let http = format!("service.http={}", taken.1);
    let mut command = place.check("smoke", &[&http]);
    let said = stderr(&ends_with(command.env("LOADTEST_ASTERISK", place.path("nowhere")), 2));
    assert!(said.contains("nowhere") && said.contains(&taken.1.to_string()), "{said}");
    assert!(said.contains("--set service.http"), "the cure: {said}");
    let port = format!("asterisk.ari_port={}", taken.1.port());
    let said = stderr(&ends_with(&mut place.check("own-service", &[&port]), 2));
    assert!(said.contains("asterisk.ari_port") && said.contains("is taken"), "{said}");
    let said =
        stderr(&ends_with(&mut place.check("own-service", &[r#"service.command=["no-such-app"]"#]), 2));
    assert!(said.contains("no-such-app"), "{said}");
}

#[test]
fn a_scenario_that_is_wrong_by_itself_is_refused_as_by_run() {
    let place = Place::new();
    let gate = r#"gates.require=["rtt.p59 < 15ms"]"#;
    let said = stderr(&ends_with(&mut place.check("smoke", &[gate]), 2));
    assert!(said.contains("rtt.p59") && said.contains("rtt.p50"), "{said}");
    assert_eq!(said, stderr(&ends_with(&mut place.run("smoke", &[gate]), 2)));
    let said = stderr(&ends_with(&mut place.check("smoke", &["load.calls=5000"]), 2));
    assert!(said.contains("asterisk.rtp_ports") && said.contains("would do"), "{said}");
    let service = place.lane().service();
    let overlap = format!("media.ports={}-{}", service.start(), service.end());
    let said = stderr(&ends_with(&mut place.check("smoke", &[&overlap]), 2));
    assert!(said.contains("overlaps"), "{said}");
    ends_with(&mut place.check("no-such-scenario", &[]), 2);
}

#[test]
fn too_few_descriptors_are_refused_with_the_number_that_would_do() {
    let place = Place::new();
    let set = ["load.calls=50"];
    for (command, code) in [(place.check("smoke", &set), 2), (place.run("smoke", &set), 1)] {
        // The limit is lowered in a process of its own; it could not be raised again.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "ulimit -n 300; exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args());
        shell.current_dir(env!("CARGO_MANIFEST_DIR"));
        let said = stderr(&ends_with(&mut shell, code));
        assert!(said.contains("550 file descriptors, 300 are allowed"), "{said}");
        assert!(said.contains("ulimit -Hn 550"), "{said}");
    }
}

#[test]
fn asterisks_ports_among_the_kernels_are_a_warning() {
    let place = Place::new();
    let bounds = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("the kernel tells");
    let last: u16 = bounds.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    let range = format!("asterisk.rtp_ports={}-{last}", last - 399);
    let said = stderr(&ends_with(&mut place.check("smoke", &[&range]), 0));
    assert!(said.starts_with("warning: ") && said.contains("ephemeral ports"), "{said}");
}

#[test]
fn a_gate_that_nothing_can_be_said_of_is_told_before_the_run() {
    let place = Place::new();
    // 2,500 packets, of which a 95th percentile needs 2,000.
    let gates = "gates.require=[\"rtt.p95 < 1s\", \"rtt.p99 < 1s\", \"srd.p99 < 1s\"]";
    let said = stderr(&ends_with(&mut place.check("smoke", &[gates]), 0));
    assert!(said.contains("`rtt.p99 < 1s` cannot be judged: it needs 10000 packets, and 2500"), "{said}");
    assert!(said.contains("`srd.p99 < 1s` cannot be judged: it needs 10000 calls, and 5"), "{said}");
    assert!(!said.contains("rtt.p95"), "{said}");
}

#[test]
fn a_codec_that_an_application_cannot_return_is_warned_of() {
    let place = Place::new();
    let command = r#"service.command=["sleep", "1"]"#;
    let warned = |codec: &str| stderr(&ends_with(&mut place.check("own-service", &[command, codec]), 0));
    for codec in ["media.codec=opus", "media.codec=L16"] {
        let said = warned(codec);
        assert!(said.contains("warning: media.codec: Asterisk drops") && said.contains("G722"), "{said}");
    }
    assert!(!warned("media.codec=G722").contains("media.codec"));
}

#[test]
fn an_asterisk_of_the_users_own_is_asked() {
    let place = Place::new();
    let asterisk = UsersAsterisk::start(&place, &[]);
    let (settings, account) = (asterisk.settings(), asterisk.said.clone());
    let set = settings.each_ref().map(String::as_str);
    let ask = |set: &[&str], password: &str, code| {
        let mut check = place.check("smoke", set);
        check.env("ARI_USER", &account["ARI_USER"]).env("ARI_PASS", password);
        check.envs(["SIP_USER", "SIP_PASS"].map(|name| (name, &account[name])));
        let output = ends_with(&mut check, code);
        (stderr(&output), stdout(&output))
    };
    let password = account["ARI_PASS"].as_str();
    let answers = [
        ask(&set, password, 0),
        ask(&set, "guess", 2),
        ask(&[&set[..], &["service.mode=external"]].concat(), password, 2),
    ];
    asterisk.stop();
    let gone = ask(&set, password, 2);
    let said = &answers[0].1;
    assert_eq!(answers[0].0, "");
    assert!(said.contains("answers OPTIONS with ") && said.contains("Not tried: a call"), "{said}");
    assert!(answers[1].0.contains("refuses user"), "{}", answers[1].0);
    assert!(answers[2].0.contains("does not list the application `loadtest`"), "{}", answers[2].0);
    assert!(gone.0.contains("ARI does not answer"), "{}", gone.0);
    assert!(gone.0.contains("does not answer OPTIONS (Connection refused"), "{}", gone.0);
}

#[test]
fn a_target_that_stays_silent_is_named_with_the_cure() {
    let place = Place::new();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let (sip, external) = (format!("asterisk.sip={address}"), "asterisk.mode=external");
    // A target without ARI need not answer OPTIONS; an Asterisk must.
    let output = ends_with(&mut place.check("smoke", &[external, &sip, "service.mode=none"]), 0);
    let said = stderr(&output);
    assert!(said.starts_with("warning: asterisk.sip") && said.contains("nothing came back"), "{said}");
    let asked = std::iter::from_fn(|| {
        silent.set_nonblocking(true).ok()?;
        let mut datagram = [0; 2048];
        silent.recv(&mut datagram).ok().map(|size| datagram[..size].to_vec())
    });
    let asked: Vec<_> = asked.collect();
    assert!(asked.len() == 3 && asked.iter().all(|a| a.starts_with(b"OPTIONS sip:") && *a == asked[0]));
    let ari = ["asterisk.ari=http://127.0.0.1:1", "service.mode=external"];
    let mut check = place.check("smoke", &[&[external, &sip][..], &ari].concat());
    let said = stderr(&ends_with(check.env("ARI_USER", "u").env("ARI_PASS", "p"), 2));
    assert!(said.contains("error: asterisk.sip") && said.contains("firewall"), "{said}");
}

#[test]
fn one_call_is_placed_and_told_step_by_step() {
    let place = Place::new();
    let call = |set: &[&str], code| {
        let mut check = place.check("smoke", set);
        stdout(&ends_with(check.arg("--call"), code))
    };
    let said = call(&[], 0);
    for step in ["✓ SIP", "✓ login", "✓ answer", "✓ SDP", "✓ application", "✓ bridge", "✓ echo", "✓ hang-up"]
    {
        assert!(said.contains(step), "{step} in\n{said}");
    }
    assert!(said.contains("The call went through and was heard."), "{said}");
    for (to, step, finding) in [
        ("busy", "✗ answer       486", "were rejected with 486"),
        ("congestion", "✗ answer       503", "were rejected with 503"),
        ("noanswer", "✗ answer       timeout", "taken by the far end and not answered within 1s"),
    ] {
        let set = [&format!("sip.to={to}"), "service.mode=none", "sip.setup_timeout=1s"];
        let said = call(&set, 1);
        assert!(said.contains(step) && !said.contains("echo  "), "{step} in\n{said}");
        // One call, or the next in its place.
        let finding = finding.trim_start_matches("were ");
        assert!(
            said.split_whitespace().collect::<Vec<_>>().join(" ").contains(finding),
            "{finding} in\n{said}"
        );
    }
    assert_eq!(
        place.processes(),
        Vec::<String>::new(),
        "the logs of calls that failed are kept, and nothing else"
    );
}

#[test]
fn the_password_is_tried_where_options_are_challenged() {
    let place = Place::new();
    let far_end = Challenger::start(answer_to);
    let sip = format!("asterisk.sip={}", far_end.address);
    let set = ["asterisk.mode=external", &sip, "service.mode=none"];
    let ask = |account: Option<(&str, &str)>, code| {
        let mut check = place.check("smoke", &set);
        if let Some((user, password)) = account {
            check.env("SIP_USER", user).env("SIP_PASS", password);
        }
        let output = ends_with(&mut check, code);
        (stdout(&output), stderr(&output))
    };
    assert!(ask(Some(("7001", "right")), 0).0.contains("takes user `7001` (realm `pbx`)"));
    let (_, said) = ask(Some(("7001", "wrong")), 2);
    assert!(said.contains("refuses user `7001` with this password (realm `pbx`, From"), "{said}");
    let (_, said) = ask(None, 2);
    assert!(said.contains("asks for credentials (realm `pbx`)") && said.contains("SIP_USER"), "{said}");
}

#[test]
fn a_callee_that_options_do_not_find_is_warned_of() {
    let place = Place::new();
    let far_end = Challenger::start(|request| reply(request, "404 Not Found", ""));
    let sip = format!("asterisk.sip={}", far_end.address);
    let set = ["asterisk.mode=external", &sip, "service.mode=none", "sip.to=601"];
    let output = ends_with(&mut place.check("smoke", &set), 0);
    let (said, warned) = (stdout(&output), stderr(&output));
    assert!(
        warned.starts_with("warning: asterisk.sip: OPTIONS for `601` got 404 Not Found: no such"),
        "{warned}"
    );
    assert!(warned.contains("loadtest check --call"), "{warned}");
    assert!(said.contains("Nothing is in the way, but for what the warnings say."), "{said}");
}

/// A far end that answers each request on its own; by `answer_to` it knows one password: whoever has it sends the right
/// response.
struct Challenger {
    address: std::net::SocketAddr,
}

impl Challenger {
    fn start(answer: fn(&str) -> String) -> Challenger {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut datagram = [0; 4096];
            while let Ok((size, from)) = socket.recv_from(&mut datagram) {
                let request = String::from_utf8_lossy(&datagram[..size]).into_owned();
                let _ = socket.send_to(answer(&request).as_bytes(), from);
            }
        });
        Challenger { address }
    }
}

fn header(request: &str, name: &str) -> String {
    let prefix = format!("{name}: ");
    request.lines().find_map(|line| line.strip_prefix(prefix.as_str())).unwrap_or_default().to_string()
}

fn answer_to(request: &str) -> String {
    let authorization = header(request, "Authorization");
    let param = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}="))?;
        Some(rest.trim_start_matches('"').split(['"', ',']).next()?.to_string())
    };
    // RFC 2617 3.2.2 without qop, with the password `right`.
    let is_right = param("response").is_some_and(|response| {
        let answer = digest_auth::AuthContext::new_with_method(
            param("username").unwrap_or_default(),
            "right",
            param("uri").unwrap_or_default(),
            Option::<&[u8]>::None,
            digest_auth::HttpMethod("OPTIONS".into()),
        );
        let challenge = r#"Digest realm="pbx", nonce="n""#;
        let mut challenge = digest_auth::WwwAuthenticateHeader::parse(challenge).expect("a challenge");
        challenge.respond(&answer).expect("an answer").response == response
    });
    match is_right {
        true => reply(request, "200 OK", ""),
        false => {
            reply(request, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n\"\r\n")
        }
    }
}

fn reply(request: &str, line: &str, more: &str) -> String {
    let same = ["Via", "From", "To", "Call-ID", "CSeq"];
    let same = same.map(|name| format!("{name}: {}\r\n", header(request, name))).concat();
    format!("SIP/2.0 {line}\r\n{same}{more}Content-Length: 0\r\n\r\n")
}
