//! The OPTIONS probe: asks a SIP target whether it is alive, repeated as RFC 3261 says.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::scenario::Scenario;
use crate::sip::options::Options;
use crate::sip::parse;

/// Pauses before the request is sent again, and before it is given up (RFC 3261 17.1.2.2: T1 doubles).
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(1500)];
const DATAGRAM: usize = 65_535;

/// The result of a probe.
pub enum ProbeResult {
    /// Status and reason of the answer.
    Answered(u16, String),
    /// No answer came back, with the time waited.
    Silent(String),
    /// The system reports that nobody can have received it, with its reason.
    Unreachable(String),
}

/// Probes `target` from the address that calls would come from.
pub async fn probe(scenario: &Scenario, target: SocketAddr) -> ProbeResult {
    ask(scenario, target).await.unwrap_or_else(|e| ProbeResult::Unreachable(e.to_string()))
}

async fn ask(scenario: &Scenario, target: SocketAddr) -> std::io::Result<ProbeResult> {
    let socket = UdpSocket::bind(SocketAddr::new(scenario.sip.local, 0)).await?;
    // Datagrams from elsewhere are dropped, and a closed port is reported.
    socket.connect(target).await?;
    let users = (scenario.sip.caller(None), scenario.sip.to.as_str());
    let options = Options::new(socket.local_addr()?, target, users, rand::random());
    for pause in PAUSES {
        socket.send(&options.to_bytes()).await?;
        if let Ok(answer) = tokio::time::timeout(pause, answer(&socket, &options)).await {
            return answer.map(|(status, reason)| ProbeResult::Answered(status, reason));
        }
    }
    Ok(ProbeResult::Silent(format!(
        "nothing came back within {} s",
        PAUSES.iter().sum::<Duration>().as_secs()
    )))
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
