//! Asks a SIP target whether it is there: one OPTIONS, repeated as RFC 3261 says.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::clock::Timeline;
use crate::scenario::Scenario;
use crate::sip::options::Options;
use crate::sip::parse;

/// Pauses before the request is sent again, and before it is given up (RFC 3261 17.1.2.2: T1 doubles).
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(1500)];
const DATAGRAM: usize = 65_535;

/// What became of the question.
pub enum Answer {
    /// Status and reason.
    Said(u16, String),
    /// Nothing came back, or only what is no answer.
    Silence(String),
    /// Nobody can have heard it, as the system says.
    Unreachable(String),
}

/// Asks `target` from the address that calls would come from.
pub async fn knock(scenario: &Scenario, target: SocketAddr) -> Answer {
    ask(scenario, target).await.unwrap_or_else(|e| Answer::Unreachable(e.to_string()))
}

async fn ask(scenario: &Scenario, target: SocketAddr) -> std::io::Result<Answer> {
    let socket = UdpSocket::bind(SocketAddr::new(scenario.sip.local, 0)).await?;
    // What comes from elsewhere is no answer, and a closed port makes itself known.
    socket.connect(target).await?;
    let users = (scenario.sip.from.as_str(), scenario.sip.to.as_str());
    let options = Options::new(socket.local_addr()?, target, users, rand::random());
    let timeline = Timeline::start();
    for pause in PAUSES {
        socket.send(&options.to_bytes()).await?;
        let until = timeline.tokio_deadline(timeline.now() + pause);
        if let Ok(said) = tokio::time::timeout_at(until, answer(&socket, &options)).await {
            return said.map(|(status, reason)| Answer::Said(status, reason));
        }
    }
    Ok(Answer::Silence(format!("nothing came back within {} s", PAUSES.iter().sum::<Duration>().as_secs())))
}

async fn answer(socket: &UdpSocket, options: &Options) -> std::io::Result<(u16, String)> {
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let size = socket.recv(&mut datagram).await?;
        let message = parse(&datagram[..size]).ok();
        if let Some(said) = message.and_then(|message| options.answer(&message)) {
            return Ok(said);
        }
    }
}
