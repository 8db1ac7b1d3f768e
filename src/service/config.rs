//! Settings of the service: the flags of `loadtest service`, and the keys of the file of its `--config`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::delay::Hold;
use crate::rtp::Codec;
use crate::scheduling::Priority;
use crate::talk::TalkSettings;
use crate::values::{HostPort, Lanes, MediaWay, PortRange, Span};

/// Longer than a second, and callers would be waiting for the far end to speak.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// With a hundred calls ten seconds: nobody is served any more.
const LONGEST_DELAY_PER_CALL: Duration = Duration::from_millis(100);

/// Settings of the service.
// The doc comments of the fields are the help of the flags; a file has the fields' names as keys.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceConfig {
    /// Asterisk's HTTP server.
    #[arg(long, env = "ARI_URL", default_value_t = ServiceConfig::default().ari_url, value_name = "URL")]
    pub ari_url: String,
    /// The ARI user.
    #[arg(long, env = "ARI_USER", default_value_t = ServiceConfig::default().user)]
    pub user: String,
    /// The ARI user's password.
    ///
    /// Better given in the environment, where `ps` does not show it.
    #[arg(long, env = "ARI_PASS", default_value = "", hide_default_value = true, hide_env_values = true)]
    #[serde(skip)]
    pub password: String,
    /// The Stasis application.
    #[arg(long, env = "APP_NAME", default_value_t = ServiceConfig::default().app)]
    pub app: String,
    /// Address that Asterisk sends the media to.
    #[arg(long, default_value_t = ServiceConfig::default().media_ip, value_name = "IP")]
    pub media_ip: IpAddr,
    /// Ports that Asterisk sends the media to, one per call.
    #[arg(long, env = "PORT_RANGE", default_value_t = ServiceConfig::default().port_range, value_name = "FIRST-LAST")]
    pub port_range: PortRange,
    /// Way of the media between Asterisk and the service.
    ///
    /// Asterisk needs chan_audiosocket, res_audiosocket and its codecs of G.711 for audiosocket, and chan_websocket for
    /// websocket. Each call still takes one of the ports, as its place; AudioSocket is listened to on the first free one.
    #[arg(long, value_name = "WAY", default_value = "rtp")]
    pub media: MediaWay,
    /// Talk instead of echoing: a bot with the manners of --talk-delay and the like, to try measurements of conversations
    /// on.
    #[arg(long)]
    pub talk: bool,
    /// Manners of the bot.
    #[command(flatten)]
    pub manners: TalkSettings,
    /// Address of /health and /metrics; port 0 takes any free one.
    #[arg(long, default_value_t = ServiceConfig::default().http, value_name = "ADDRESS")]
    pub http: SocketAddr,
    /// Send the calls' media through this echo server.
    ///
    /// `loadtest echo` is one. The way there and back is measured. Without, the service itself sends it back at once.
    #[arg(long, value_name = "HOST:PORT")]
    pub echo: Option<HostPort>,
    /// Hold every packet for this long before it goes back, as in 1ms, at most 1s: a service slow on
    /// purpose, to try gates and comparisons on. Not with an echo server.
    #[arg(long, value_name = "DURATION")]
    pub delay: Option<Span>,
    /// Hold every packet longer by this for each call that is up, as in 100us, at most 100ms: a service whose capacity
    /// is known, to try searches on. Not with an echo server.
    #[arg(long, value_name = "DURATION")]
    pub delay_per_call: Option<Span>,
    /// Lanes that send the media back, each a thread: a number from 1 to 64, or auto, one less than CPUs and no more than
    /// one for each 250 ports.
    #[arg(long, value_name = "LANES", default_value = "auto")]
    pub lanes: Lanes,
    /// Priority of the threads that send the media back: a busy machine delays packets less with a raised one (nice
    /// -15), and least with real time (SCHED_FIFO), for which an Asterisk beside it pays.
    #[arg(long, value_name = "PRIORITY", default_value = "ordinary")]
    pub priority: Priority,
    /// Write all that was counted into this file at the end, as JSON.
    ///
    /// SIGUSR1 writes it at once, and SIGUSR2 counts from zero.
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Codec of the media channel.
    ///
    /// It has to be the callers', or no probe survives. A dialplan that knows better says so as first
    /// argument: Stasis(name,alaw).
    #[arg(long, default_value_t = ServiceConfig::default().codec, value_parser = codec, value_name = "PCMU|PCMA|G722")]
    pub codec: Codec,
    /// Hang up calls by itself once they have been bridged this long, as in 2s.
    #[arg(long, value_name = "DURATION")]
    pub hangup_after: Option<Span>,
    /// Hang up every Nth call only; the others are left to their callers.
    #[arg(long, value_name = "N", default_value_t = ServiceConfig::default().hangup_every)]
    pub hangup_every: u32,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        ServiceConfig {
            ari_url: "http://127.0.0.1:8088".into(),
            user: "loadtest".into(),
            password: String::new(),
            app: "loadtest".into(),
            media_ip: Ipv4Addr::LOCALHOST.into(),
            port_range: PortRange { from: 21_000, to: 31_000 },
            media: MediaWay::Rtp,
            talk: false,
            manners: TalkSettings::default(),
            http: (Ipv4Addr::LOCALHOST, 9090).into(),
            echo: None,
            delay: None,
            delay_per_call: None,
            lanes: Lanes::Auto,
            priority: Priority::Ordinary,
            metrics_file: None,
            codec: Codec::Pcmu,
            hangup_after: None,
            hangup_every: 1,
        }
    }
}

impl ServiceConfig {
    /// Looks for values that cannot be right, alone or together.
    ///
    /// # Errors
    /// The first of them, with its cure.
    pub fn check(&self) -> Result<(), String> {
        let problems = [
            // An empty variable is one that is not set: compose files cannot tell the two apart.
            (
                self.password.is_empty(),
                "there is no password for ARI: set ARI_PASS, in the environment or in a .env file, to that of \
                 the user in Asterisk's ari.conf; `loadtest asterisk --write-env .env` writes it by itself",
            ),
            (
                self.ari_url.contains('@'),
                "--ari-url (ARI_URL) holds a user or a password: leave them out; --user or ARI_USER, and ARI_PASS say them",
            ),
            (self.delay.is_some_and(|delay| delay.0 > LONGEST_DELAY), "--delay is at most 1s"),
            (
                self.delay_per_call.is_some_and(|delay| delay.0 > LONGEST_DELAY_PER_CALL),
                "--delay-per-call is at most 100ms",
            ),
            (
                self.delay.or(self.delay_per_call).is_some() && self.echo.is_some(),
                "--delay, --delay-per-call and --echo exclude each other: leave --echo out, or the delays",
            ),
            (
                self.media != MediaWay::Rtp && self.echo.is_some(),
                "an echo server (--echo) is asked over RTP alone: leave it out, or choose --media rtp",
            ),
            (
                self.media != MediaWay::Rtp && !self.codec.is_g711(),
                "audiosocket and websocket carry G.711 here: choose --codec PCMU or PCMA, or --media rtp",
            ),
            (self.hangup_every == 0, "--hangup-every counts calls: give 1 or more"),
            (
                self.hangup_every > 1 && self.hangup_after.is_none(),
                "--hangup-every needs --hangup-after, the time after which calls are hung up",
            ),
        ];
        problems.into_iter().find(|(is_wrong, _)| *is_wrong).map_or(Ok(()), |(_, why)| Err(why.into()))
    }
}

impl ServiceConfig {
    /// Time for which packets are held before they go back.
    pub(super) fn hold(&self) -> Hold {
        let time = |span: Option<Span>| span.map_or(Duration::ZERO, |span| span.0);
        Hold { each: time(self.delay), per_call: time(self.delay_per_call) }
    }
}

fn codec(text: &str) -> Result<Codec, String> {
    match Codec::from_name(text) {
        Some(codec) if codec.is_via_external_media() => Ok(codec),
        Some(codec) => {
            Err(format!("Asterisk drops what externalMedia returns in {codec}: choose PCMU, PCMA or G722"))
        }
        None => Err(format!("`{}` is not PCMU, PCMA or G722", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_right_are_named() {
        let good = ServiceConfig { password: "x".into(), ..Default::default() };
        let delay = |text: &str| Some(text.parse().unwrap());
        assert_eq!(good.check(), Ok(()));
        for (config, word) in [
            (ServiceConfig { password: String::new(), ..good.clone() }, "ARI_PASS"),
            (ServiceConfig { ari_url: "http://bob:SECRET@h:8088".into(), ..good.clone() }, "leave them out"),
            (ServiceConfig { delay: delay("2s"), ..good.clone() }, "at most 1s"),
            (ServiceConfig { delay_per_call: delay("1s"), ..good.clone() }, "at most 100ms"),
            (
                ServiceConfig { delay: delay("1s"), echo: "h:1".parse().ok(), ..good.clone() },
                "exclude each other",
            ),
            (
                ServiceConfig { media: MediaWay::WebSocket, echo: "h:1".parse().ok(), ..good.clone() },
                "over RTP alone",
            ),
            (
                ServiceConfig { media: MediaWay::AudioSocket, codec: Codec::G722, ..good.clone() },
                "PCMU or PCMA",
            ),
            (ServiceConfig { hangup_every: 0, ..good.clone() }, "1 or more"),
            (ServiceConfig { hangup_every: 2, ..good.clone() }, "--hangup-after"),
        ] {
            let why = config.check().expect_err(word);
            assert!(why.contains(word) && !why.contains("SECRET"), "{why}");
        }
    }
}
