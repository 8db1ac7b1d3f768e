//! A caller small enough to read: one SIP call from a socket of its own, with probes as media.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::asterisk::Managed;
use loadtest::clock;
use loadtest::rtp::packet::{Incoming, StreamSender, read};
use loadtest::rtp::probe::{Probe, RunKey};
use loadtest::rtp::{Codec, Format};
use loadtest::sip::Method;
use loadtest::sip::digest::{Challenge, Credentials};
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::PATIENCE;

/// After so long what is missing does not come any more, on a busy machine either.
const SILENCE: Duration = Duration::from_secs(5);

/// Long enough for what comes twice.
const GRACE: Duration = Duration::from_millis(500);

/// The run id of all probes here.
const RUN: RunKey = RunKey::new(0x5EED, [1; 16]);

/// Address to call, and the account.
#[derive(Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    user: &'static str,
    password: &'static str,
}

impl Target {
    /// An Asterisk that the test has started. The few words of its account stay until the tests end.
    pub fn of(asterisk: &Managed) -> Target {
        let account = asterisk.sip_account();
        let (user, password) = (account.user.clone().leak(), account.password.expose().to_string().leak());
        Target { address: asterisk.sip_addr(), user, password }
    }
}

impl Target {
    /// An Asterisk that the user has started, by its address and account.
    pub fn at(address: &str, user: &str, password: &str) -> Target {
        let address = address.parse().expect("an address");
        Target { address, user: user.to_string().leak(), password: password.to_string().leak() }
    }

    /// The same Asterisk, called by somebody else.
    pub fn with(self, user: &str, password: &str) -> Target {
        Target { user: user.to_string().leak(), password: password.to_string().leak(), ..self }
    }
}

/// The Authorization header that answers a 401, with its end of line.
pub fn authorization(target: Target, challenge: &str, method: &str, uri: &str) -> String {
    let challenge = header(challenge, "WWW-Authenticate").expect("a challenge");
    let challenge = Challenge::parse(&challenge).expect("a digest");
    let credentials = Credentials { username: target.user.into(), password: target.password.into() };
    let answer =
        challenge.answer(&credentials, &Method::from_name(method), uri, "c0ffee").expect("an answer");
    format!("Authorization: {answer}\r\n")
}

/// A call that was answered.
pub struct Caller {
    id: u32,
    sip: UdpSocket,
    rtp: UdpSocket,
    media: SocketAddr,
    contact: String,
    to: String,
}

/// A call's probes, and those that came back.
#[derive(Debug, Default, Clone)]
pub struct Echo {
    pub sent: u32,
    pub probes: Vec<Probe>,
    pub rtt: Vec<Duration>,
    pub other: u32,
}

impl Echo {
    /// As many came back as were sent.
    fn is_back(&self) -> bool {
        self.probes.len() as u32 + self.other >= self.sent
    }
}

impl Caller {
    /// Calls `extension` with `codec`; the final status when it is not 200.
    pub async fn call(asterisk: Target, extension: &str, id: u32, codec: Codec) -> Result<Self, u16> {
        Caller::try_call(asterisk, extension, id, codec).await.map_err(|answer| status(&answer))
    }

    /// As [`Caller::call`], with the whole final answer when its status is not 200.
    pub async fn try_call(target: Target, extension: &str, id: u32, codec: Codec) -> Result<Self, String> {
        let asterisk = target.address;
        let sip = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sip.connect(asterisk).await.unwrap();
        let mut caller = Caller {
            id,
            media: rtp.local_addr().unwrap(),
            contact: format!("sip:{extension}@{asterisk}"),
            to: format!("<sip:{extension}@{asterisk}>"),
            sip,
            rtp,
        };
        let pt = codec.payload_type();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP {pt}\r\na=ptime:20\r\n",
            caller.media.port()
        );
        let invite = caller.request("INVITE", 1, "", &sdp);
        caller.send(&invite).await;
        let challenge = caller.final_answer(&invite).await;
        assert_eq!(status(&challenge), 401, "nobody calls without a password: {challenge}");
        let to = header(&challenge, "To").unwrap_or_default();
        // The ACK of a refusal belongs to the INVITE's own transaction (RFC 3261 17.1.1.3).
        let ack = caller.request("ACK", 1, "", "").replace("z9hG4bKACK", "z9hG4bKINVITE");
        caller.send(&ack.replace(&format!("To: {}", caller.to), &format!("To: {to}"))).await;
        let authorization = authorization(target, &challenge, "INVITE", &caller.contact);
        let invite = caller.request("INVITE", 2, &authorization, &sdp);
        caller.send(&invite).await;
        let answer = caller.final_answer(&invite).await;
        let status = status(&answer);
        caller.to = header(&answer, "To").unwrap_or_default();
        if let Some(contact) = header(&answer, "Contact") {
            caller.contact = contact.trim_matches(['<', '>']).to_string();
        }
        caller.send(&caller.request("ACK", 2, "", "")).await;
        if status != 200 {
            return Err(answer);
        }
        let port =
            answer.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok());
        caller.media = SocketAddr::new(asterisk.ip(), port.expect("an audio port in the answer"));
        Ok(caller)
    }

    /// Sends a probe every 20 ms for `hold` and reads what comes back: until nothing has come for half a second
    /// after all are back, or for [`SILENCE`] where some are not.
    pub async fn talk(&self, hold: Duration, codec: Codec) -> Echo {
        let ptime = Duration::from_millis(20);
        let format = Format::of(codec, ptime);
        let mut sender = StreamSender::new(RUN, self.id, self.id, format);
        let mut echo = Echo::default();
        let mut ticks = interval(ptime);
        // A test that was kept waiting does not send at once what it is behind with.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; 2048];
        let total = (hold.as_millis() / 20) as u32;
        loop {
            tokio::select! {
                // Reads first, so that no wait of the test's own passes for silence.
                biased;
                Ok((len, _)) = self.rtp.recv_from(&mut buffer) => match read(&buffer[..len], &format, &RUN, self.id) {
                    Incoming::Probe { probe, .. } => {
                        echo.rtt.push(clock::now().since(probe.sent_at));
                        echo.probes.push(probe);
                    }
                    _ => echo.other += 1,
                },
                _ = ticks.tick(), if echo.sent < total => {
                    let now = clock::now();
                    // A closed port at the far end shows in the counts.
                    let _ = self.rtp.send_to(sender.packet(now, now), self.media).await;
                    echo.sent += 1;
                }
                () = sleep(if echo.is_back() { GRACE } else { SILENCE }), if echo.sent == total => break,
            }
        }
        echo
    }

    /// Hangs up; the status of the answer to BYE, or 0 when there is none.
    pub async fn hang_up(&self) -> u16 {
        let bye = self.request("BYE", 3, "", "");
        self.send(&bye).await;
        status(&self.final_answer(&bye).await)
    }

    /// Waits for the far end's BYE and answers it.
    pub async fn is_hung_up(&self) -> bool {
        self.is_hung_up_within(PATIENCE).await
    }

    /// The same for a call that need not be.
    pub async fn is_hung_up_within(&self, within: Duration) -> bool {
        let waiting = async {
            loop {
                let message = self.receive().await;
                if message.starts_with("BYE ") {
                    let same: String = ["Via", "From", "To", "Call-ID", "CSeq"]
                        .iter()
                        .filter_map(|name| Some(format!("{name}: {}\r\n", header(&message, name)?)))
                        .collect();
                    self.send(&format!("SIP/2.0 200 OK\r\n{same}Content-Length: 0\r\n\r\n")).await;
                    return;
                }
            }
        };
        timeout(within, waiting).await.is_ok()
    }

    fn request(&self, method: &str, cseq: u32, more: &str, body: &str) -> String {
        let local = self.sip.local_addr().unwrap();
        let (id, to, contact) = (self.id, &self.to, &self.contact);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{method}{cseq}i{id}p{}\r\n\
             From: <sip:caller@{local}>;tag=f{id}\r\nTo: {to}\r\nCall-ID: call-{id}-{}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:caller@{local}>\r\nMax-Forwards: 70\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
            local.port(),
            local.port(),
            body.len(),
        )
    }

    async fn send(&self, message: &str) {
        self.sip.send(message.as_bytes()).await.unwrap();
    }

    async fn receive(&self) -> String {
        let mut buffer = vec![0; 8192];
        let len = self.sip.recv(&mut buffer).await.unwrap_or(0);
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    /// The final answer to `request`, which is repeated while nothing comes; empty after [`PATIENCE`].
    async fn final_answer(&self, request: &str) -> String {
        let cseq = header(request, "CSeq");
        let repeat_after = Duration::from_millis(500);
        for _ in 0..PATIENCE.as_millis() / repeat_after.as_millis() {
            match timeout(repeat_after, self.receive()).await {
                Ok(answer) if status(&answer) >= 200 && header(&answer, "CSeq") == cseq => return answer,
                Ok(_) => {}
                Err(_) => self.send(request).await,
            }
        }
        String::new()
    }
}

fn status(message: &str) -> u16 {
    message.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}

fn header(message: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    message.lines().find_map(|line| line.strip_prefix(prefix.as_str())).map(str::to_string)
}
