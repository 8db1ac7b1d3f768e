//! Connections against a listener of the test's own, message by message.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::sip::{Heard, Method};

const SECOND: Duration = Duration::from_secs(1);

const TCP: WireConfig = WireConfig { transport: Transport::Tcp, tls: Vec::new() };

fn options(n: u32) -> String {
    format!(
        "OPTIONS sip:x@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{n}\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:x@h>\r\n\
         Call-ID: c\r\nCSeq: {n} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

struct Lab {
    listener: TcpListener,
    streams: Streams,
    counts: WireCounts,
    peer: TcpStream,
}

async fn lab() -> Lab {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let streams = Streams::open(&TCP, "127.0.0.1:0".parse().unwrap(), &[target]).await.unwrap();
    let (peer, from) = listener.accept().await.unwrap();
    assert_eq!(from, streams.local(0));
    Lab { listener, streams, counts: WireCounts::default(), peer }
}

impl Lab {
    fn send(&mut self, n: u32) {
        let destination = self.streams.homes[0].address;
        let message = SipDatagram { destination, bytes: options(n).into_bytes() };
        self.streams.send(clock::now(), &message, &mut self.counts);
    }

    /// CSeq numbers of what comes, until there are so many or the connection ends.
    async fn hear(&mut self, most: usize) -> (Vec<u32>, Option<Broken>) {
        let mut heard = Vec::new();
        loop {
            let (messages, _) = self.streams.receive(clock::now(), 0, &mut self.counts, &mut |_, _, _| ());
            for (message, _, from) in messages {
                let Heard::Message(message) = message else { panic!("{message:?}") };
                assert_eq!((message.method(), message.answer_to()), (&Method::Options, Some(from)));
                heard.push(message.cseq().number);
            }
            let broken = self.streams.poll_broken();
            if heard.len() >= most || broken.is_some() {
                return (heard, broken);
            }
            self.streams.ready().await;
        }
    }

    /// What is read at `now`, in words.
    fn told(&mut self, now: Stamp) -> Vec<String> {
        let (messages, _) = self.streams.receive(now, 0, &mut self.counts, &mut |_, _, _| ());
        let words = |heard| match heard {
            Heard::Message(message) => format!("{} {}", message.call_id(), message.method()),
            Heard::Unreadable(unreadable) => {
                format!("{} {unreadable}", unreadable.call_id.as_deref().unwrap_or("nobody's"))
            }
        };
        messages.into_iter().map(|(heard, ..)| words(heard)).collect()
    }

    /// What is read next, and the connection that has ended with it.
    async fn next(&mut self, now: Stamp) -> (Vec<String>, Option<Broken>) {
        loop {
            let (told, broken) = (self.told(now), self.streams.poll_broken());
            if !told.is_empty() || broken.is_some() {
                return (told, broken);
            }
            self.streams.ready().await;
        }
    }

    /// Sends a message to a far end that has never been called; its end of the connection.
    async fn call(&mut self, now: Stamp, host: [u8; 4]) -> TcpStream {
        let listener = TcpListener::bind(SocketAddr::from((host, 0))).await.unwrap();
        let message =
            SipDatagram { destination: listener.local_addr().unwrap(), bytes: options(1).into_bytes() };
        self.streams.send(now, &message, &mut self.counts);
        let (peer, _) = listener.accept().await.unwrap();
        while self.streams.connections.iter().any(|connection| !connection.is_open()) {
            self.streams.ready().await;
            assert!(self.told(now).is_empty());
        }
        peer
    }

    async fn expect(&mut self, text: &str) {
        let mut got = vec![0; text.len()];
        self.peer.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&got), text);
    }
}

#[tokio::test]
async fn messages_go_both_ways_in_any_pieces_and_a_ping_is_answered() {
    let mut lab = lab().await;
    lab.send(1);
    lab.send(2);
    lab.expect(&format!("{}{}", options(1), options(2))).await;
    let text = format!("{}\r\n\r\n{}{}", options(7), options(8), options(9));
    for piece in text.as_bytes().chunks(37) {
        lab.peer.write_all(piece).await.unwrap();
        lab.peer.flush().await.unwrap();
    }
    assert_eq!(lab.hear(3).await, (vec![7, 8, 9], None));
    lab.expect("\r\n").await;
    // Nothing was sent for a while.
    let later = lab.streams.poll_timeout().expect("a ping");
    lab.streams.handle_timeout(later);
    lab.expect("\r\n\r\n").await;
    assert_eq!(lab.counts, WireCounts::default());
}

#[tokio::test]
async fn a_connection_that_ends_is_told_of_and_opened_again_from_the_same_port() {
    let mut lab = lab().await;
    let local = lab.streams.local(0);
    lab.peer.write_all(options(1).as_bytes()).await.unwrap();
    lab.peer.shutdown().await.unwrap();
    let (heard, broken) = lab.hear(usize::MAX).await;
    let why = broken.expect("it has ended").why;
    assert_eq!(heard, [1], "what came before the end counts");
    assert!(why.contains("has ended: the far end closed it"), "{why}");
    // Nobody sends anything: it is opened again all the same.
    let at = lab.streams.poll_timeout().expect("another try");
    lab.streams.handle_timeout(at);
    lab.peer = lab.listener.accept().await.unwrap().0;
    lab.send(2);
    // The kernel may not have opened it yet.
    let sent = options(2);
    tokio::select! {
        () = lab.streams.ready() => {}
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    lab.streams.receive(clock::now(), 0, &mut lab.counts, &mut |_, _, _| ());
    lab.expect(&sent).await;
    assert_eq!((lab.counts.reopened, lab.streams.local(0)), (1, local));
}

#[tokio::test]
async fn what_is_no_sip_ends_the_connection_with_a_reason() {
    for (text, why) in [
        (
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            "without Content-Length, `HTTP/1.1 400 Bad Request`",
        ),
        ("x\r\nContent-Length: 70000\r\n\r\n", "65536 allowed"),
    ] {
        let mut lab = lab().await;
        lab.peer.write_all(text.as_bytes()).await.unwrap();
        let broken = lab.hear(usize::MAX).await.1.expect("it has ended");
        assert!(broken.why.contains(why), "{}", broken.why);
    }
}

/// An answer whose body is two bytes shorter than it says.
const SHORT: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\n\
    To: <sip:x@h>;tag=b\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 7\r\n\r\nv=0\r\n";
const SHORT_IN_WORDS: &str = "c SIP/2.0 200 OK: the body ends after 5 of 7 bytes";

#[tokio::test]
async fn a_message_whose_rest_is_late_is_told_of_once_and_read_when_it_comes() {
    let mut lab = lab().await;
    lab.peer.write_all(SHORT.as_bytes()).await.unwrap();
    let now = clock::now();
    while lab.streams.poll_timeout() != Some(now + SECOND) {
        lab.streams.ready().await;
        assert!(lab.told(now).is_empty());
    }
    assert_eq!(lab.told(now + SECOND), [SHORT_IN_WORDS]);
    assert!(lab.told(now + SECOND * 5).is_empty());
    lab.peer.write_all(b"a=").await.unwrap();
    assert_eq!(lab.next(now + SECOND * 6).await, (vec!["c INVITE".into()], None));
    // The next one has a wait of its own.
    lab.peer.write_all(SHORT.as_bytes()).await.unwrap();
    while lab.streams.poll_timeout() != Some(now + SECOND * 7) {
        lab.streams.ready().await;
        assert!(lab.told(now + SECOND * 6).is_empty());
    }
    assert_eq!(lab.told(now + SECOND * 7), [SHORT_IN_WORDS]);
    assert_eq!(lab.counts, WireCounts::default());
}

#[tokio::test]
async fn a_message_that_ends_with_its_connection_is_told_of_before_it() {
    let mut lab = lab().await;
    lab.peer.write_all(SHORT.as_bytes()).await.unwrap();
    lab.peer.shutdown().await.unwrap();
    let (told, broken) = lab.next(clock::now()).await;
    let broken = broken.expect("it has ended");
    assert_eq!(told, [SHORT_IN_WORDS]);
    assert!(broken.was_open && !broken.is_unreadable && broken.why.contains("closed it"), "{broken:?}");
    assert_eq!(lab.streams.first_broken, Some(broken.why));
}

#[tokio::test]
async fn messages_without_a_length_that_can_be_read_end_the_connection_and_are_told_of() {
    for (length, words) in [
        ("X: 7", "c SIP/2.0 200 OK: no Content-Length header"),
        ("l: seven", "c SIP/2.0 200 OK: bad Content-Length `seven`"),
        ("l: 1000000", "c SIP/2.0 200 OK: 1000"),
        ("l: 0", "nobody's v=0: no message begins here: the Content-Length of `SIP/2.0 200 OK`"),
    ] {
        let mut lab = lab().await;
        let text = format!("{}\r\n\r\n", SHORT.replace("Content-Length: 7", length));
        lab.peer.write_all(text.as_bytes()).await.unwrap();
        let (mut told, mut broken) = lab.next(clock::now()).await;
        if broken.is_none() {
            assert_eq!(told, ["c INVITE"]);
            (told, broken) = lab.next(clock::now()).await;
        }
        let (last, broken) = (told.last().cloned().unwrap_or_default(), broken.expect("it has ended"));
        if words.starts_with("nobody's") {
            // It names no call, and is no SIP by itself.
            assert_eq!((lab.counts.garbage, broken.is_unreadable), (1, false), "{last}");
            assert!(broken.why.contains("`v=0` where a message should begin"), "{}", broken.why);
            continue;
        }
        assert!(last.starts_with(words), "{last}");
        assert!(broken.is_unreadable && broken.why.contains("it sent "), "{broken:?}");
    }
}

#[tokio::test]
async fn connections_to_many_far_ends_take_turns_and_the_targets_alone_is_kept_alive() {
    let mut lab = lab().await;
    let (begun, mut peers) = (clock::now(), Vec::new());
    let most = u8::try_from(MOST_CONNECTIONS).unwrap();
    // Each one is called when the one before has been idle for a minute.
    for n in 1..most + 5 {
        peers.push(lab.call(begun + SECOND * 60 * u32::from(n), [127, 0, 1, n]).await);
    }
    assert_eq!(lab.streams.connections.len(), MOST_CONNECTIONS);
    let ended: Vec<_> = std::iter::from_fn(|| lab.streams.poll_broken()).collect();
    assert_eq!(ended.len(), 5);
    assert!(ended.iter().all(|broken| broken.was_open), "{ended:?}");
    assert_eq!((lab.streams.first_broken.as_ref(), lab.counts), (None, WireCounts::default()));
    for (n, peer) in peers.iter_mut().enumerate().take(5) {
        let mut heard = String::new();
        peer.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, options(1), "the message came, and then the end: {n}");
    }
    let kept = lab.streams.connections.iter().filter(|connection| connection.poll_timeout().is_some());
    assert_eq!(kept.map(|connection| connection.peer).collect::<Vec<_>>(), [lab.streams.homes[0].address]);
    // One that has been of use a moment ago is told of.
    let now = begun + SECOND * (60 * u32::from(most + 4) + 1);
    for n in 1..most {
        assert_eq!(lab.streams.first_broken, None);
        peers.push(lab.call(now, [127, 0, 2, n]).await);
    }
    let why = lab.streams.first_broken.clone().expect("the last one");
    assert!(why.contains(&format!("127.0.1.{}:", most + 4)) && why.contains("takes its place"), "{why}");
}

#[tokio::test]
async fn a_target_that_is_not_there_is_an_error_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    drop(listener);
    let error = Streams::open(&TCP, "127.0.0.1:0".parse().unwrap(), &[target]).await.err().expect("an error");
    let words = error.to_string();
    assert!(
        words.contains(&format!("the TCP connection to {target} could not be opened: Connection refused")),
        "{words}"
    );
}

#[tokio::test]
async fn each_target_has_a_connection_of_its_own_and_one_that_is_away_keeps_none_waiting() {
    let any = "127.0.0.1:0".parse().unwrap();
    let [one, two, away] = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let targets = [&one, &away, &two].map(|listener| listener.local_addr().unwrap());
    drop(away);
    let mut streams = Streams::open(&TCP, any, &targets).await.unwrap();
    let [from_one, from_two] = [&one, &two].map(|listener| listener.accept().unwrap().1);
    assert_eq!([streams.local(0), streams.local(2)], [from_one, from_two]);
    assert_ne!(from_one, from_two);
    let why = streams.first_broken.clone().expect("the one that is away");
    assert!(why.contains(&targets[1].to_string()), "{why}");
    // It is tried again, whatever the others do.
    let at = streams.poll_timeout().expect("another try");
    let back = std::net::TcpListener::bind(targets[1]).unwrap();
    streams.handle_timeout(at);
    assert_eq!(back.accept().unwrap().1, streams.local(1));
    let none = Streams::open(&TCP, any, &[targets[1]]).await.map(drop);
    assert!(none.is_ok());
}
