//! Words that people try who come from other tools, and the answer to each.

/// Names of unknown keys, and their cure. A key of the same name in another table needs no row.
const KEYS: &[(&[&str], &str)] = &[
    (
        &["tcp", "udp", "tls", "ssl", "proto", "protocol", "transport_protocol"],
        "did you mean `asterisk.transport`? It takes \"udp\", \"tcp\" and \"tls\"",
    ),
    (
        &["ws", "wss", "websocket", "sctp"],
        "not supported: SIP goes over UDP, TCP and TLS (README.md, Limitations); leave the key out",
    ),
    (&["cert", "cert_file", "client_cert", "tls_cert"], "did you mean `sip.tls.certificate`?"),
    (&["key_file", "private_key", "priv_key_file", "client_key", "tls_key"], "did you mean `sip.tls.key`?"),
    (
        &["ca_file", "ca_list_file", "cacert", "ca_cert", "root_ca", "tls_ca", "tls_ca_file"],
        "did you mean `sip.tls.ca`?",
    ),
    (&["verify", "verify_server", "insecure_skip_verify", "tls_verify"], "did you mean `sip.tls.insecure`?"),
    (
        &[
            "sdes",
            "encryption",
            "encrypted",
            "media_encryption",
            "crypto",
            "secure",
            "savp",
            "rtp_encryption",
        ],
        "did you mean `media.srtp`?",
    ),
    (
        &["dtls", "dtls_srtp", "zrtp", "fingerprint"],
        "not supported: SRTP takes its keys from SDP alone (SDES; README.md, Limitations); leave the key out",
    ),
    (
        &["ipv6", "ip6", "inet6", "ip_version", "family"],
        "did you mean `sip.local`? With an address of IPv6 there, as in \"::1\", SIP and media go over IPv6",
    ),
    (
        &["rtcp", "rtcp_mux", "rtcp_interval", "ice", "stun", "webrtc"],
        "not supported: RTP without RTCP and ICE (README.md, Limitations); leave the key out",
    ),
    (
        &["wav", "audio", "play", "play_file", "file", "media_file"],
        "did you mean `turn.say`? With media.mode = \"conversation\" callers say WAV files; in other runs every packet \
         carries a probe in the place of audio",
    ),
    (
        &["pcap", "rtp_stream", "video"],
        "not supported: audio comes from WAV files alone (media.mode = \"conversation\"); leave the key out",
    ),
    (&["codec"], "did you mean `media.codec`?"),
    (
        &["registrar", "registrar_uri", "registration_server"],
        "not a key: with `sip.register` callers register at `asterisk.sip`, or by way of `sip.proxy`",
    ),
    (&["register", "registration", "registrations", "reg"], "did you mean `sip.register`?"),
    (&["expires", "expiry", "register_interval"], "did you mean `sip.register_expires`?"),
    (
        &["user", "username", "login", "auth", "auth_user", "account", "au"],
        "not a key: SIP_USER (for ARI: ARI_USER) in the environment, or in `.env` in this folder",
    ),
    (
        &["pass", "password", "secret", "auth_pass", "auth_password", "ap", "token"],
        "not a key: SIP_PASS (for ARI: ARI_PASS) in the environment, or in `.env` in this folder",
    ),
    (
        &[
            "vus",
            "users",
            "max_vus",
            "limit",
            "l",
            "concurrency",
            "concurrent",
            "concurrent_calls",
            "max_calls",
            "calls_max",
            "channels",
            "sessions",
            "lines",
            "preallocated_vus",
        ],
        "did you mean `load.calls`?",
    ),
    (
        &["cps", "caps", "call_rate", "calls_per_second", "r", "rps", "arrival_rate", "bhca"],
        "did you mean `load.rate`? It is the rate of attempts, as in \"10/s\"; calls that are held come up at `load.ramp`",
    ),
    (
        &["ramp_up", "rampup", "ramp_rate", "spawn_rate", "start_rate", "ramp_time", "rise"],
        "did you mean `load.ramp`? It is the rate of new calls, as in \"10/s\", or the time for all, as in \"30s\"",
    ),
    (
        &["erlang", "erlangs", "traffic"],
        "not a key: offered erlang are `load.rate` times `load.call_duration`",
    ),
    (&["distribution", "pacing", "arrival", "poisson"], "did you mean `load.arrivals`?"),
    (
        &["random_seed", "rng", "randomseed"],
        "did you mean `load.seed`, of arrivals and call durations, or `impair.seed`?",
    ),
    (
        &["hold", "hold_time", "time", "run_time", "runtime", "test_duration", "length", "soak"],
        "did you mean `load.duration`? The length of one call is `load.call_duration`",
    ),
    (
        &["call_length", "call_time", "talk_time", "d", "acd", "call_hold", "duration_of_call"],
        "did you mean `load.call_duration`?",
    ),
    (
        &["iterations", "total", "total_calls", "m", "count", "repeat", "loops", "number_of_calls"],
        "not supported: a run lasts `load.duration`; with `load.call_duration` calls are replaced until then",
    ),
    (
        &["stages", "steps", "step", "executor", "scenarios", "scenario", "profile"],
        "did you mean `[[stage]]`? Each is a load (`calls` or `rate`) with its `ramp` and its `hold`",
    ),
    (
        &[
            "thresholds",
            "threshold",
            "assert",
            "asserts",
            "assertions",
            "checks",
            "expect",
            "criteria",
            "sla",
            "slo",
        ],
        "did you mean `gates.require`? It is a list, as in [\"rtt.p99 < 20ms\"]",
    ),
    (&["abort", "fail_fast", "abortonfail", "stop_on_failure"], "did you mean `gates.abort_on_fail`?"),
    (
        &["host", "server", "target", "address", "remote", "remote_host", "uri", "url", "rsa"],
        "did you mean `asterisk.sip`? It needs asterisk.mode = \"external\"; ARI's address is `asterisk.ari`",
    ),
    (
        &[
            "callee",
            "extension",
            "exten",
            "number",
            "dial",
            "called",
            "service_name",
            "s",
            "destination",
            "dst",
        ],
        "did you mean `sip.to`?",
    ),
    (&["proxy", "outbound_proxy", "outboundproxy", "route", "preloaded_route"], "did you mean `sip.proxy`?"),
    (&["inf", "csv", "users_file", "credentials"], "did you mean `sip.accounts`?"),
    (&["header", "custom_headers", "extra_headers"], "did you mean `sip.headers`?"),
    (&["display_name", "displayname"], "did you mean `sip.display`?"),
    (&["from_domain", "fromdomain", "sip_domain", "realm"], "did you mean `sip.domain`?"),
    (&["caller", "callerid", "caller_id", "from_user", "cli", "source", "src"], "did you mean `sip.from`?"),
    (
        &[
            "bind",
            "bind_address",
            "local_ip",
            "localip",
            "local_address",
            "interface",
            "ip",
            "i",
            "mi",
            "media_ip",
        ],
        "did you mean `sip.local`?",
    ),
    (
        &["timeout", "invite_timeout", "answer_timeout", "ring_timeout", "connect_timeout"],
        "did you mean `sip.setup_timeout`?",
    ),
    (&["codecs", "format", "payload", "payload_type", "encoding"], "did you mean `media.codec`?"),
    (
        &["packet_time", "packetization", "packet_interval", "frame", "frame_size", "interval"],
        "did you mean `media.ptime`?",
    ),
    (
        &[
            "port_range",
            "rtp_port",
            "min_rtp_port",
            "max_rtp_port",
            "rtp_port_min",
            "rtp_port_max",
            "mp",
            "rtp_start",
        ],
        "did you mean `media.ports`, the driver's, or `asterisk.rtp_ports`?",
    ),
    (&["warm_up", "warmup_time", "settle", "grace"], "did you mean `measure.warmup`?"),
    (
        &["jitter_buffer", "jitterbuffer", "playout", "playout_buffer", "buffer"],
        "did you mean `measure.late_after`?",
    ),
    (
        &["symmetric_rtp", "rtp_symmetric", "symmetric", "comedia", "nat", "latch", "latching", "strictrtp"],
        "did you mean `media.source`?",
    ),
    (&["packet_loss", "drop", "loss_rate"], "did you mean `impair.out.loss`?"),
    (&["latency", "lag"], "did you mean `impair.out.delay`?"),
    (&["faults", "chaos", "kill", "failure", "failures"], "did you mean `[[fault]]`?"),
    (&["pcap", "pcapng", "tcpdump", "sniff", "dump", "wireshark"], "did you mean `capture.calls`?"),
    (&["exec", "program", "binary", "cmd", "script"], "did you mean `service.command`?"),
    (&["application", "app_name", "stasis", "stasis_app"], "did you mean `service.app`?"),
    (&["rt", "priority", "nice", "sched", "fifo"], "did you mean `driver.realtime`?"),
    (
        &["capacity", "breakpoint", "find_max", "binary_search", "highest", "ceiling", "upper"],
        "did you mean `search.max`? loadtest search finds the highest load that passes",
    ),
    (&["lowest", "smallest", "lower", "first", "start"], "did you mean `search.min`?"),
    (&["precision", "resolution", "accuracy", "goal_width", "granularity"], "did you mean `search.width`?"),
    (
        &["trial", "trials", "trial_duration", "trial_length", "trial_time", "final_trial_duration"],
        "did you mean `search.final_trial`?",
    ),
    (&["exceed_ratio", "loss_ratio", "goal_exceed_ratio"], "did you mean `search.exceed`?"),
    (&["budget", "deadline", "max_duration", "max_time"], "did you mean `search.time_limit`?"),
    (&["goal", "goal_sets", "gate_sets", "search_goals"], "did you mean `search.goals`?"),
    (&["affinity", "cpu", "cores", "cpuset", "pin"], "did you mean `driver.cpus`?"),
    (&["threads", "workers", "parallel"], "did you mean `driver.lanes`?"),
];

/// Key, words that it does not take, and the cure.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("media.codec", &["alaw", "a-law", "g711a", "g.711a", "g711-alaw", "8"], "did you mean \"PCMA\"?"),
    (
        "media.codec",
        &["ulaw", "u-law", "mulaw", "mu-law", "µlaw", "g711u", "g.711u", "g711", "g.711", "g711-ulaw", "0"],
        "did you mean \"PCMU\"?",
    ),
    (
        "media.codec",
        &[
            "g729", "g.729", "g729a", "g726", "g723", "g723.1", "gsm", "ilbc", "speex", "silk", "amr",
            "amr-wb", "evs", "lpc10", "siren7", "siren14", "codec2", "slin", "slin8", "slin12", "slin24",
            "slin48", "adpcm", "vp8", "vp9", "h264", "h265",
        ],
        "not supported: calls carry \"PCMU\", \"PCMA\", \"G722\", \"opus\" or \"L16\" (README.md, Limitations)",
    ),
    ("media.codec", &["g.722", "g722-64", "9"], "did you mean \"G722\"?"),
    ("media.codec", &["slin16", "pcm16", "lpcm", "linear"], "did you mean \"L16\"?"),
    (
        "asterisk.mode",
        &["local", "own", "private", "auto", "start", "internal", "builtin"],
        "did you mean \"managed\"?",
    ),
    (
        "asterisk.mode",
        &["remote", "existing", "running", "docker", "unmanaged", "host"],
        "did you mean \"external\"?",
    ),
    (
        "service.mode",
        &["internal", "built-in", "default", "managed", "own", "local", "echo"],
        "did you mean \"builtin\"?",
    ),
    (
        "service.mode",
        &["exec", "process", "cmd", "program", "script", "custom", "node"],
        "did you mean \"command\"?",
    ),
    ("service.mode", &["remote", "existing", "running", "docker"], "did you mean \"external\"?"),
    (
        "asterisk.transport",
        &["ws", "wss", "websocket", "sctp"],
        "not supported: SIP goes over UDP, TCP and TLS (README.md, Limitations)",
    ),
    ("asterisk.transport", &["ssl", "sips", "tlsv1_2", "tlsv1_3"], "did you mean \"tls\"?"),
    ("service.mode", &["off", "no", "false", "null", "nothing"], "did you mean \"none\"?"),
    ("load.hangup", &["driver", "client", "uac", "us", "loadtest"], "did you mean \"caller\"?"),
    ("load.hangup", &["service", "server", "uas", "asterisk", "far"], "did you mean \"callee\"?"),
    ("load.hangup", &["alternate", "random", "either", "any"], "did you mean \"both\"?"),
    (
        "load.arrivals",
        &["constant", "uniform", "regular", "fixed", "deterministic", "constant_arrival_rate"],
        "did you mean \"even\"?",
    ),
    ("load.arrivals", &["random", "exponential", "markov"], "did you mean \"poisson\"?"),
    ("media.phase", &["spread", "even", "uniform", "stagger", "random"], "did you mean \"staggered\"?"),
    ("media.phase", &["align", "burst", "together", "sync", "synchronous"], "did you mean \"aligned\"?"),
    ("media.source", &["symmetric", "auto", "latch", "nat", "all", "learn"], "did you mean \"any\"?"),
    ("media.source", &["strict", "answer", "signalled", "fixed", "offer"], "did you mean \"sdp\"?"),
    ("search.kind", &["call", "concurrent", "concurrency", "sessions", "closed"], "did you mean \"calls\"?"),
    ("search.kind", &["cps", "caps", "attempts", "arrivals", "open"], "did you mean \"rate\"?"),
    ("fault.target", &["pbx", "managed"], "did you mean \"asterisk\"?"),
    ("fault.target", &["app", "application", "builtin", "ari"], "did you mean \"service\"?"),
    ("fault.action", &["crash", "sigkill", "terminate", "die"], "did you mean \"kill\"?"),
    ("fault.action", &["sigterm", "reboot", "reload", "stop-start"], "did you mean \"restart\"?"),
    ("fault.action", &["sigstop", "hang", "freeze", "pause", "suspend"], "did you mean \"stop\"?"),
];

/// Cure for an unknown key called `name`.
pub(super) fn key(name: &str) -> Option<&'static str> {
    let name = name.trim_matches('-').to_lowercase().replace('-', "_");
    KEYS.iter().find(|(names, _)| names.contains(&name.as_str())).map(|(_, cure)| *cure)
}

/// Cure for a word that `key` does not take.
pub(super) fn word(key: &str, word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    WORDS.iter().find(|(of, words, _)| *of == key && words.contains(&word.as_str())).map(|(.., cure)| *cure)
}

#[cfg(test)]
mod tests {
    use super::super::{Override, Resolved, keys};
    use super::*;

    #[test]
    fn every_answer_names_what_there_is() {
        let known = |name: &str| {
            ["[[fault]]", "[[stage]]", "calls", "rate", "ramp", "hold"].contains(&name)
                || keys::all().any(|key| key.path == name)
        };
        for (_, cure) in KEYS {
            let named: Vec<_> = cure.split('`').skip(1).step_by(2).filter(|name| *name != ".env").collect();
            assert!(named.iter().all(|name| known(name)), "{cure}");
            assert!(cure.starts_with("not ") || cure.starts_with("did you mean `"), "{cure}");
        }
        for (path, words, cure) in WORDS {
            let key = keys::all().find(|key| key.path == *path).expect(path);
            let is_word = |word: &str| key.words.iter().any(|(known, _)| known == word);
            assert!(words.iter().all(|word| !is_word(word)), "{path} {words:?}");
            assert!(cure.split('"').skip(1).step_by(2).all(is_word), "{cure}");
        }
        let limitations =
            include_str!("../../README.md").split("## Limitations").nth(1).expect("limitations");
        for word in ["UDP", "SRTP", "IPv4", "RTCP", "PCMU", "probe"] {
            assert!(limitations.contains(word), "{word} is not in README's limitations");
        }
    }

    #[test]
    fn what_people_try_is_answered() {
        for (setting, said) in [
            ("media.codec=alaw", "did you mean \"PCMA\"?"),
            ("media.codec=ULAW", "did you mean \"PCMU\"?"),
            ("media.codec=pcma", "did you mean \"PCMA\"?"),
            ("media.codec=G.722", "did you mean \"G722\"?"),
            ("media.codec=g722", "did you mean \"G722\"?"),
            ("media.codec=OPUS", "did you mean \"opus\"?"),
            ("media.codec=slin16", "did you mean \"L16\"?"),
            ("media.codec=PCMX", "did you mean"),
            ("media.codec=8", "did you mean \"PCMA\"?"),
            ("media.codec=G729", "not supported"),
            ("media.encryption=sdes", "`media.srtp`"),
            ("media.dtls=true", "SDES"),
            ("media.srtp=sdes", "true or false"),
            ("media.srtp_suite=AES_CM_128_HMAC_SHA1_8", "AES_CM_128_HMAC_SHA1_80"),
            ("sip.transport=tcp", "did you mean `asterisk.transport`?"),
            ("transport=tls", "did you mean `asterisk.transport`?"),
            ("asterisk.transport=TCP", "did you mean \"tcp\"?"),
            ("asterisk.transport=ssl", "did you mean \"tls\"?"),
            ("asterisk.transport=wss", "not supported"),
            ("sip.tls.cert=x", "did you mean `sip.tls.certificate`?"),
            ("sip.tls_ca=x", "did you mean `sip.tls.ca`?"),
            ("sip.registrar=x", "register at `asterisk.sip`"),
            ("sip.registration=true", "did you mean `sip.register`?"),
            ("sip.outbound_proxy=a:5060", "did you mean `sip.proxy`?"),
            ("sip.proxy=edge.example", "sip.proxy: `edge.example` is no address"),
            ("asterisk.sip=sip:pbx:5070;transport=udp", "write it without `sip:`: pbx:5070"),
            ("asterisk.sip=SIPS:pbx", "write it without `SIPS:`, and with its port: pbx:5060"),
            ("sip.local=[::1]", "write it without brackets: ::1"),
            ("asterisk.sip=127.0.0.1", "127.0.0.1:5060, over TLS mostly 127.0.0.1:5061"),
            ("sip.ipv6=true", "`sip.local`"),
            ("load.vus=10", "`load.calls`"),
            ("load.rate=10", "\"10/s\""),
            ("load.cps=10", "`load.rate`"),
            ("load.ramp_up=10", "`load.ramp`"),
            ("load.arrivals=random", "did you mean \"poisson\"?"),
            ("load.max-calls=10", "`load.calls`"),
            ("thresholds.rtt=1", "`gates.require`"),
            ("sip.password=x", "SIP_PASS"),
            ("codec=PCMA", "did you mean `media.codec`?"),
            ("load.ptime=20ms", "did you mean `media.ptime`?"),
            ("laod.ptime=20ms", "did you mean `load`?"),
            ("service.mode=Builtin", "did you mean \"builtin\"?"),
            ("service.mode=exec", "did you mean \"command\"?"),
        ] {
            let error = Resolved::read("", "x.toml", &[Override::set(setting)]).expect_err(setting).rendered;
            assert!(
                error.contains(said) && error.contains(&format!("--> --set {setting}")),
                "{setting}:\n{error}"
            );
        }
    }
}
