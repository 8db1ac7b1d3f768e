//! Tests of the rules that a scenario must keep as a whole.

use super::super::{Override, Resolved};

fn check(set: &[&str]) -> Result<(), String> {
    let set: Vec<_> = set.iter().map(|s| Override::set(s)).collect();
    Resolved::read("name = \"t\"\n", "t.toml", &set).map(|_| ()).map_err(|e| e.rendered)
}

fn refused(set: &[&str], words: &[&str]) {
    let text = check(set).expect_err(&format!("{set:?} is refused"));
    for word in words {
        assert!(text.contains(word), "`{word}` in:\n{text}");
    }
}

#[test]
fn fifty_calls_for_five_minutes_are_fine() {
    assert_eq!(check(&["load.calls=50", "load.duration=5m"]), Ok(()));
}

#[test]
fn small_pools_are_refused_with_the_range_that_would_do() {
    let fifty = "load.calls=50";
    refused(&[fifty, "media.ports=40000-40050"], &["media.ports", "26 calls, 50", "40000-40099"]);
    refused(&[fifty, "service.ports=21000-21019"], &["service.ports", "20 calls", "21000-21049"]);
    refused(&[fifty, "asterisk.rtp_ports=10000-10100"], &["asterisk.rtp_ports", "25 calls", "10000-10199"]);
    refused(&["load.calls=30", "load.call_duration=5s", "service.ports=21000-21049"], &["60 are needed"]);
}

#[test]
fn a_rate_says_its_erlang_the_cap_and_the_number_that_would_do() {
    let (rate, call) = ("load.rate=12/s", "load.call_duration=30s");
    refused(&[rate], &["load.rate", "pile up", "load.call_duration"]);
    let words = ["load.rate: ", "360.0 erlang", "load.calls = 50", "load.calls = 408", "1.667/s"];
    refused(&[rate, call, "load.calls=50"], &words);
    assert_eq!(check(&[rate, call, "load.calls=408"]), Ok(()));
    refused(&["load.rate=9000/s", call, "load.calls=50"], &["erlang", "shorter calls"]);
    refused(&["load.rate=0/s", call], &["0.001/s is the lowest", "10/s is usual"]);
    refused(&["load.rate=1/s", "load.calls=50", "load.ramp=9days"], &["load.ramp", "30s is usual"]);
    // A pool is as large as the cap asks for.
    let small = "media.ports=40000-40100";
    refused(&["load.rate=1/s", "load.call_duration=5s", "load.calls=50", small], &["51 calls, 100"]);
    refused(&["load.call_duration={ exponential = \"30s\" }", "load.hangup=callee"], &["one length for all"]);
}

#[test]
fn overlapping_ranges_are_refused() {
    refused(&["service.ports=15000-25000"], &["service.ports", "overlaps", "asterisk.rtp_ports"]);
    refused(&["media.ports=30000-40000"], &["media.ports", "overlaps", "service.ports"]);
}

#[test]
fn times_out_of_reason_are_refused() {
    refused(&["load.duration=0s"], &["load.duration: ", "--set load.duration=0s", "between 1s and"]);
    refused(&["load.call_duration=1s"], &["outlast the warm-up", "3s"]);
    refused(&["media.ptime=25ms"], &["10, 20, 30"]);
    refused(&["media.ptime=20500us"], &["10, 20, 30"]);
    refused(&["measure.late_after=3s"], &["late before it is lost"]);
    refused(&["measure.lost_after=1h", "measure.late_after=1s"], &["10s 240ms"]);
    refused(&["load.calls=4000000000"], &["20000"]);
}

#[test]
fn a_codec_must_come_back_and_fit_into_a_packet() {
    let echo = ["service.mode=none", "sip.to=echo"];
    let with = |set: &[&str]| check(&[&echo[..], set].concat());
    assert_eq!(check(&["media.codec=G722", "media.ptime=60ms"]), Ok(()));
    for codec in ["opus", "L16"] {
        let set = format!("media.codec={codec}");
        refused(&[&set], &["media.codec", "externalMedia", "sip.to = \"echo\"", "G722"]);
        assert_eq!(with(&[&set]), Ok(()));
    }
    refused(&[&echo[..], &["media.codec=opus", "media.ptime=40ms"]].concat(), &["media.ptime", "20ms"]);
    assert_eq!(with(&["media.codec=L16", "media.ptime=40ms"]), Ok(()));
    refused(&[&echo[..], &["media.codec=L16", "media.ptime=50ms"]].concat(), &["media.ptime", "1600 bytes"]);
    refused(&[&echo[..], &["media.codec=L16", "media.ptime=9days"]].concat(), &["10, 20, 30"]);
}

#[test]
fn a_far_end_that_hangs_up_must_know_when() {
    refused(&["service.delay=2s"], &["service.delay", "1s"]);
    refused(&["service.delay=1ms", "service.mode=none"], &["service.delay", "builtin"]);
    refused(&["service.delay=1ms", "service.echo=127.0.0.1:4000"], &["service.echo"]);
    refused(&["service.delay_per_call=1s"], &["service.delay_per_call", "100ms"]);
    for wrong in ["89s", "90500ms", "2d"] {
        let set = format!("sip.session_expires={wrong}");
        refused(&[set.as_str()], &["sip.session_expires", "30m"]);
    }
    refused(&["service.delay_per_call=10us", "service.mode=none"], &["service.delay_per_call"]);
    let both = "load.hangup=both";
    assert_eq!(check(&[both, "load.call_duration=3s"]), Ok(()));
    refused(&[both], &["load.hangup", "call_duration"]);
    refused(&[both, "load.call_duration=3s", "service.mode=none"], &["load.hangup", "builtin"]);
    refused(&["load.hangup=dog"], &["dog", "callee"]);
    refused(&["load.dead_after=10ms"], &["load.dead_after", "0s gives up none"]);
    assert_eq!(check(&["load.dead_after=0s"]), Ok(()));
}

#[test]
fn impairments_must_make_sense_together() {
    assert_eq!(check(&["impair.out.delay=30ms", "impair.out.jitter=30ms", "impair.back.loss=100%"]), Ok(()));
    refused(&["impair.out.delay=5ms", "impair.out.jitter=6ms"], &["impair.out.jitter", "delay = 5ms"]);
    refused(&["impair.back.burst=3"], &["impair.back.burst", "loss = \"2%\""]);
    for burst in ["0.5", "0", "-3", "1001", "inf", "nan"] {
        let set = format!("impair.out.burst={burst}");
        refused(&[&set, "impair.out.loss=2%"], &["impair.out.burst", "between 1"]);
    }
    refused(&["impair.out.loss=60%", "impair.out.burst=2"], &["impair.out.burst", "choose 2.5 or more"]);
    refused(&["impair.out.loss=100%", "impair.out.burst=2"], &["all is lost"]);
    assert_eq!(check(&["impair.out.loss=60%", "impair.out.burst=2.5"]), Ok(()));
    refused(&["impair.out.reorder=1%"], &["impair.out.reorder", "media.ptime = 20ms"]);
    refused(&["impair.out.reorder=1%", "impair.out.delay=20ms"], &["impair.out.reorder"]);
    refused(&["impair.out.reorder=100%", "impair.out.delay=30ms"], &["if all are"]);
    assert_eq!(check(&["impair.out.reorder=1%", "impair.out.delay=30ms"]), Ok(()));
}

#[test]
fn what_is_delayed_on_purpose_must_not_count_as_lost() {
    let ways = ["impair.out.delay=1s", "impair.back.delay=900ms"];
    assert_eq!(check(&ways), Ok(()));
    refused(&[&ways[..], &["impair.back.jitter=100ms"]].concat(), &["impair: ", "2s", "lost_after"]);
    refused(&["impair.out.delay=1000000000years"], &["impair: ", "lost_after"]);
}

#[test]
fn unknown_and_mistyped_keys_of_an_impairment_are_refused() {
    refused(&["impair.out.dealy=5ms"], &["dealy", "delay"]);
    refused(&["impair.out.loss=0.02"], &["0.02", "\"0.02%\", or \"2%\""]);
    refused(&["impair.forth.loss=2%"], &["forth", "back"]);
    refused(&["impair.seed=-1"], &["-1"]);
}

#[test]
fn a_service_of_the_users_own_must_be_reachable() {
    let command = ["service.mode=command", "service.command=[\"node\", \"app.js\"]"];
    assert_eq!(check(&command), Ok(()));
    refused(&command[..1], &["service: ", "command = ["]);
    refused(&["service.mode=command", "service.command=[\"\"]"], &["command = ["]);
    refused(&command[1..], &["service.command", "mode = \"command\""]);
    refused(&[&command[..], &["service.ready_within=0s"]].concat(), &["ready_within", "1s and 10m"]);
    refused(&[&command[..], &["service.ports=40000-40100"]].concat(), &["overlaps"]);
    let long = format!("service.command=[\"{}\"]", "x".repeat(5000));
    refused(&[command[0], &long], &["too long"]);
    refused(&["service.mode=external"], &["asterisk.ari_port = 8088", "ARI_PASS"]);
    assert_eq!(check(&["service.mode=external", "asterisk.ari_port=8088"]), Ok(()));
    refused(&["asterisk.ari_port=80"], &["privileged"]);
    assert_eq!(check(&[&command[..], &["service.media=audiosocket"]].concat()), Ok(()));
    assert_eq!(
        check(&["service.mode=external", "asterisk.ari_port=8088", "service.media=websocket"]),
        Ok(())
    );
    let far = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "service.mode=external"];
    refused(&far, &["ARI"]);
    let ari = ["asterisk.ari=http://127.0.0.1:8088", "asterisk.ari_port=8088"];
    refused(&[&far[..], &ari].concat(), &["asterisk.ari_port", "remove"]);
    assert_eq!(check(&[&far[..], &ari[..1]].concat()), Ok(()));
    refused(
        &[&far[..], &ari[..1], &["service.media=websocket"]].concat(),
        &["service.media", "leave the key out"],
    );
}

#[test]
fn targets_must_be_complete_and_usable() {
    refused(&["asterisk.mode=external"], &["SIP port", "ARI"]);
    refused(&["asterisk.sip=127.0.0.1:5060"], &["external"]);
    let six = ["asterisk.mode=external", "asterisk.sip=[::1]:5060", "service.mode=none"];
    refused(&six, &["asterisk.sip: [::1]:5060 cannot be reached from 127.0.0.1", "sip.local = \"::1\""]);
    assert_eq!(check(&[&six[..], &["sip.local=::1"]].concat()), Ok(()));
    assert_eq!(check(&["sip.local=::1"]), Ok(()));
    refused(&["sip.local=::"], &["sip.local", "an address of this host"]);
    refused(&["sip.local=2001:db8::1"], &["sip.local", "loopback only"]);
    refused(
        &[&six[..1], &["asterisk.sip=127.0.0.1:5060", "service.mode=none", "sip.local=::1"]].concat(),
        &["asterisk.sip: 127.0.0.1:5060 cannot be reached from ::1"],
    );
    let ari = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "asterisk.ari=http://[::1]:8088"];
    assert_eq!(check(&ari), Ok(()));
    for url in ["http://bob:SECRET@127.0.0.1:8088", "https://SECRET@h", "bob:SECRET@h"] {
        let set = format!("asterisk.ari={url}");
        let said = check(&[ari[0], ari[1], &set]).unwrap_err();
        assert!(said.contains("leave it out: ARI_USER and ARI_PASS say it"), "{said}");
        assert!(!said.contains("SECRET") && !said.contains("bob"), "{said}");
        let file = format!(
            "name = \"t\"\n[asterisk]\nmode = \"external\"\nsip = \"127.0.0.1:5060\"\nari = \"{url}\"\n"
        );
        let said = Resolved::read(&file, "t.toml", &[]).unwrap_err().rendered;
        assert!(said.contains("leave it out") && !said.contains("SECRET"), "{said}");
    }
    refused(&["sip.local=0.0.0.0"], &["0.0.0.0"]);
    let far = ["asterisk.mode=external", "asterisk.sip=192.0.2.1:5060", "service.mode=none"];
    refused(&far, &["sip.local", "192.0.2.1:5060 cannot be reached"]);
    refused(&["sip.to=\"a b\\r\\n\""], &["sip.to"]);
    for (set, words) in [
        ("sip.to={user", "`{`"),
        ("sip.to=a{b c}", "{b c}"),
        ("sip.from=a b{call}", "sip.from"),
        ("sip.to={tenant}", "sip.accounts"),
        ("sip.domain=a b", "sip.domain"),
        ("sip.domain=::1", "pbx.example"),
        ("sip.display=\"a\\r\\nVia: b\"", "ends a line"),
        ("sip.headers.X-Tenant=\"a\\r\\nVia: b\"", "ends a line"),
        ("sip.headers.Via=x", "by themselves"),
        ("sip.headers.X-Tenant={tenant}", "sip.accounts"),
        ("sip.accounts=\"\"", "sip.accounts"),
        ("sip.proxy=127.0.0.1:5060", "managed"),
        ("sip.register_expires=1s", "1h is usual"),
    ] {
        refused(&[set], &[words]);
    }
    let of_ones_own = [
        "sip.to={user}-{call}",
        "sip.from=+49{line}",
        "sip.display=Load {call}",
        "sip.domain=pbx.example:5070",
        "sip.headers.X-Tenant={user} \"of\" acme",
        "sip.headers.x=1",
    ];
    refused(&of_ones_own, &["sip.headers.x"]);
    assert_eq!(check(&of_ones_own[..5]), Ok(()));
    assert_eq!(check(&["sip.accounts=u.csv", "sip.to={to_user}", "sip.headers.X-T=[field2]"]), Ok(()));
    refused(&["load.calls=0"], &["sip.register"]);
    refused(&["load.calls=0", "sip.register=true", "load.rate=1/s"], &["load.calls"]);
    assert_eq!(check(&["load.calls=0", "sip.register=true"]), Ok(()));
    refused(&["name=../x"], &["name"]);
    refused(&["gates.abort_after=0s"], &["gates.abort_after", "10s"]);
    assert_eq!(
        check(&["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "service.mode=none"]),
        Ok(())
    );
}

#[test]
fn tls_has_its_table_where_it_is_spoken() {
    let external = ["asterisk.mode=external", "asterisk.sip=pbx.example:5061", "service.mode=none"];
    let tls = [&external[..], &["asterisk.transport=tls"]].concat();
    assert_eq!(check(&tls), Ok(()));
    assert_eq!(check(&["asterisk.transport=tls"]), Ok(()));
    assert_eq!(check(&[&tls[..], &["sip.tls.ca=ca.pem", "sip.tls.server_name=pbx"]].concat()), Ok(()));
    let pair = ["sip.tls.certificate=c.pem", "sip.tls.key=k.pem"];
    assert_eq!(check(&[&tls[..], &pair].concat()), Ok(()));
    refused(&[&tls[..], &pair[..1]].concat(), &["sip.tls.certificate", "go together"]);
    refused(&[&tls[..], &pair[1..]].concat(), &["sip.tls.key", "go together"]);
    refused(&[&tls[..], &["sip.tls.ca=ca.pem", "sip.tls.insecure=true"]].concat(), &["sip.tls.insecure"]);
    let taken_back = ["sip.tls.ca=ca.pem", "sip.tls.insecure=true", "sip.tls.ca="];
    assert_eq!(check(&[&tls[..], &taken_back].concat()), Ok(()), "an empty text is as none");
    assert_eq!(check(&[&external[..], &["sip.tls.insecure=true"]].concat()), Ok(()), "a warning tells of it");
    refused(&["asterisk.transport=tls", "sip.tls.insecure=true"], &["made for the run"]);
    refused(&["asterisk.transport=wss"], &["not supported"]);
}
