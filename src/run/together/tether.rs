//! The thread that keeps a shard's connection, and with it, where this process has claimed the rendezvous, the
//! coordinator's.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::claim::{Claimed, claim};
use super::coordinate::{STALLED, coordinate};
use super::link::{Place, Rendezvous, Word};
use crate::clock;
use crate::driver::Stop;
use crate::record::EndedEarly;
use crate::rendezvous::{
    BEAT_EVERY, Beat, HowToEnd, Member, MemberInput, MemberOutput, Settings, Task, Totals,
};
use crate::run::RunError;
use crate::stamp::Stamp;
use crate::values::{Span, visible};

/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// Messages that wait to be sent, below which the next piece of a file is made.
const FEW: usize = 8;
/// A coordinator that takes nothing for so long is no more heard than one that says nothing.
const TAKES_WITHIN: Duration = Duration::from_secs(30);
/// Pause before a shard that was not let in knocks again: others are to have their turn.
const KNOCKS_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// The thread's ends of the channels.
pub(super) struct Ends {
    pub welcome: Option<oneshot::Sender<Result<u32, RunError>>>,
    /// Takes the coordinator's place, where this process has it, once the shard is welcome.
    pub claims: Option<oneshot::Sender<Option<Place>>>,
    pub place: Option<Place>,
    pub start: watch::Sender<Option<Stamp>>,
    pub ramp_over: watch::Sender<Option<(u32, Stamp)>>,
    pub totals: watch::Sender<Totals>,
    pub wish: watch::Sender<(Stop, String)>,
    pub verdict: watch::Sender<Option<Result<(u8, String), String>>>,
    pub early: watch::Sender<Option<EndedEarly>>,
    pub next: watch::Sender<Option<(u32, Task)>>,
    /// Takes the figures back that are of the run before.
    pub fresh: watch::Sender<Beat>,
    pub beats: watch::Receiver<Beat>,
    pub words: mpsc::UnboundedReceiver<Word>,
}

/// The thread's life.
pub(super) async fn keep(rendezvous: Rendezvous, mut ends: Ends) {
    let Rendezvous { at, hello, secret, wait, folder, watch, hint } = rendezvous;
    let deadline = clock::now() + wait;
    let (mut terms, mut coordinating, mut was_told) = (Some((folder, watch)), None, false);
    loop {
        let Claimed { stream, listener } = match claim(&at, deadline).await {
            Ok(claimed) => claimed,
            Err(error) => {
                let why = format!("nobody is at the rendezvous {at}: {error}");
                return ends.refuse(RunError::Obstacle(why));
            }
        };
        if let Some((listener, (folder, watch))) =
            listener.and_then(|listener| Some((listener, terms.take()?)))
        {
            let settings =
                Settings { like: hello.clone(), secret: secret.clone(), run_id: rand::random(), wait };
            let (place, office) = Place::new(settings, folder, watch);
            (coordinating, ends.place) = (Some(tokio::spawn(coordinate(listener, office))), Some(place));
        }
        let member = Member::new(hello.clone(), secret.clone(), rand::random(), clock::now());
        match attend(stream, member, &mut ends).await {
            Fate::Told => break,
            Fate::Lost(why, true) if ends.is_awaited() && clock::now() < deadline => {
                // Strangers may have pushed it out, which looks the same as a key that is not the run's.
                if !std::mem::replace(&mut was_told, true) {
                    hint(&format!(
                        "not let in at the rendezvous yet: {why}; others may fill it, or LOADTEST_KEY may not be the same for \
                         all; trying again for up to {}",
                        Span(wait)
                    ));
                }
                tokio::time::sleep(KNOCKS_AGAIN_AFTER).await;
            }
            Fate::Lost(why, _) => {
                ends.give_up(&why);
                break;
            }
        }
    }
    if let Some(coordinating) = coordinating {
        let _ = coordinating.await;
    }
}

impl Ends {
    fn refuse(&mut self, error: RunError) {
        match self.welcome.take() {
            Some(welcome) => drop(welcome.send(Err(error))),
            None => self.lose(&error.to_string()),
        }
    }

    /// The coordinator is lost: this driver ends as well, and keeps what it has.
    fn lose(&mut self, why: &str) {
        self.wish.send_if_modified(|(stop, reason)| {
            let is_new = *stop < Stop::Soon;
            if is_new {
                (*stop, *reason) = (Stop::Soon, format!("the coordinator was lost: {why}"));
            }
            is_new
        });
        self.verdict.send_replace(Some(Err(why.into())));
    }

    /// True while the shard is not welcome yet, and somebody waits for that.
    fn is_awaited(&self) -> bool {
        self.welcome.as_ref().is_some_and(|welcome| !welcome.is_closed())
    }

    /// What was of the run before is forgotten before anybody hears of the next.
    fn begin_anew(&mut self, run_id: u32, task: Task) {
        self.start.send_replace(None);
        self.ramp_over.send_replace(None);
        self.totals.send_replace(Totals::default());
        self.wish.send_replace((Stop::No, String::new()));
        self.early.send_replace(None);
        self.fresh.send_replace(Beat::default());
        self.next.send_replace(Some((run_id, task)));
    }

    /// Hands on an output; false when nothing more will come.
    fn tell(&mut self, output: MemberOutput) -> bool {
        match output {
            MemberOutput::Send(_) => {}
            MemberOutput::Welcome(run_id) => {
                self.claims.take().into_iter().for_each(|claims| drop(claims.send(self.place.take())));
                self.welcome.take().into_iter().for_each(|welcome| drop(welcome.send(Ok(run_id))));
            }
            MemberOutput::Next(run_id, task) => self.begin_anew(run_id, task),
            MemberOutput::EndsEarly(early) => drop(self.early.send_replace(Some(early))),
            MemberOutput::Start(at) => drop(self.start.send_replace(Some(at))),
            MemberOutput::RampOver(stage, at) => drop(self.ramp_over.send_replace(Some((stage, at)))),
            MemberOutput::Totals(totals) => drop(self.totals.send_replace(totals)),
            MemberOutput::End(how, why) => {
                let stop = if how == HowToEnd::Early { Stop::Early } else { Stop::Soon };
                self.wish.send_replace((stop, why));
            }
            MemberOutput::Verdict(exit, text) => {
                self.verdict.send_replace(Some(Ok((exit, text))));
                return false;
            }
            MemberOutput::Refused(why) => {
                self.refuse(RunError::Unusable(format!(
                    "the rendezvous refuses this shard: {}",
                    visible(&why)
                )));
                return false;
            }
            MemberOutput::Lost(why) => {
                self.give_up(&why);
                return false;
            }
        }
        true
    }

    /// The coordinator is not heard any more, or was never one of ours.
    fn give_up(&mut self, why: &str) {
        match self.welcome.is_some() {
            true => self.refuse(RunError::Obstacle(format!(
                "the rendezvous cannot be joined: {why}; does LOADTEST_KEY hold the same key for all, and is that the \
                 rendezvous of this run?"
            ))),
            false => self.lose(why),
        }
    }
}

/// End of a connection.
enum Fate {
    /// Whoever waits has been told.
    Told,
    /// It was lost, and may be had again.
    Lost(String, bool),
}

/// Bytes that wait for the connection.
struct Outbox {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of the first that are sent.
    sent: usize,
    /// When some were taken, or there were none to take.
    moved_at: Stamp,
}

impl Outbox {
    fn push(&mut self, bytes: Vec<u8>) {
        if self.waiting.is_empty() {
            self.moved_at = clock::now();
        }
        self.waiting.push_back(bytes);
    }

    fn rest(&self) -> &[u8] {
        self.waiting.front().and_then(|first| first.get(self.sent..)).unwrap_or_default()
    }

    fn advance(&mut self, by: usize) {
        (self.sent, self.moved_at) = (self.sent + by, clock::now());
        if self.waiting.front().is_some_and(|first| first.len() <= self.sent) {
            (self.sent, _) = (0, self.waiting.pop_front());
        }
    }

    /// The time at which it is given up that nothing is taken.
    fn gives_up(&self) -> Option<Stamp> {
        (!self.waiting.is_empty()).then(|| self.moved_at + TAKES_WITHIN)
    }
}

/// A file that goes out piece by piece, as fast as it is taken.
struct Outgoing {
    name: &'static str,
    bytes: Vec<u8>,
    at: usize,
}

impl Outgoing {
    /// Hands on the next piece; false after the last. An empty file is one piece.
    fn feed(&mut self, member: &mut Member) -> bool {
        let end = (self.at + PIECE).min(self.bytes.len());
        let piece = self.bytes.get(self.at..end).unwrap_or_default();
        member.handle(clock::now(), MemberInput::File(self.name, piece));
        self.at = end;
        end < self.bytes.len()
    }
}

/// Keeps the connection until the verdict. What comes is read while a large file goes out.
async fn attend(stream: TcpStream, mut member: Member, ends: &mut Ends) -> Fate {
    const TAKES_NOTHING: &str = "it takes nothing any more";
    let (mut read, mut write) = stream.into_split();
    let mut piece = vec![0; PIECE];
    let (mut looked_at, mut next_beat) = (clock::now(), clock::now() + BEAT_EVERY);
    let mut out = Outbox { waiting: VecDeque::new(), sent: 0, moved_at: clock::now() };
    let mut outgoing: Option<Outgoing> = None;
    loop {
        if out.waiting.len() < FEW
            && let Some(file) = &mut outgoing
            && !file.feed(&mut member)
        {
            outgoing = None;
        }
        while let Some(output) = member.poll() {
            match output {
                MemberOutput::Send(bytes) => out.push(bytes),
                MemberOutput::Lost(why) => return Fate::Lost(why, !member.is_elsewhere()),
                output if !ends.tell(output.clone()) => return Fate::Told,
                _ => {}
            }
        }
        let now = clock::now();
        if now.since(looked_at) > STALLED {
            member.awoke(now);
        }
        looked_at = now;
        let wakes = [member.poll_timeout(), out.gives_up(), Some(next_beat)];
        let wake = wakes.into_iter().flatten().min().unwrap_or(next_beat);
        // What has come is taken before the coordinator is given up for silent.
        tokio::select! {
            biased;
            read = read.read(&mut piece) => {
                let now = clock::now();
                match read.ok().and_then(|read| piece.get(..read)).filter(|bytes| !bytes.is_empty()) {
                    Some(bytes) => member.handle(now, MemberInput::Bytes(bytes)),
                    None => member.handle(now, MemberInput::Closed),
                }
            }
            sent = write.write(out.rest()), if !out.waiting.is_empty() => match sent {
                Ok(sent) if sent > 0 => out.advance(sent),
                // The end of the connection is read as well, and says more.
                _ => return Fate::Lost(TAKES_NOTHING.into(), true),
            },
            // Words keep their order: what follows a file waits for it.
            Some(word) = ends.words.recv(), if outgoing.is_none() => match word {
                Word::File(name, bytes) => outgoing = Some(Outgoing { name, bytes, at: 0 }),
                word => member.handle(clock::now(), input(&word)),
            },
            () = tokio::time::sleep_until(clock::tokio_deadline(wake)) => {
                let now = clock::now();
                if out.gives_up().is_some_and(|at| at <= now) {
                    return Fate::Lost(TAKES_NOTHING.into(), true);
                }
                if now.since(looked_at) > STALLED {
                    member.awoke(now);
                }
                member.handle_timeout(now);
                if next_beat <= now {
                    next_beat = now + BEAT_EVERY;
                    // What waits to be sent is a sign of life already.
                    if out.waiting.is_empty() {
                        let beat = ends.beats.borrow_and_update().clone();
                        member.handle(now, MemberInput::Beat(Box::new(beat)));
                    }
                }
            }
        }
    }
}

fn input(word: &Word) -> MemberInput<'_> {
    match word {
        Word::Prepared(room) => MemberInput::Prepared(room.clone()),
        Word::Ready => MemberInput::Ready,
        Word::Interrupted => MemberInput::Interrupted,
        Word::Ended(started_at) => MemberInput::Ended(*started_at),
        Word::File(name, bytes) => MemberInput::File(name, bytes),
        Word::Delivered => MemberInput::Delivered,
        Word::Parted => MemberInput::Parted,
        Word::Failed(why) => MemberInput::Failed(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::PathBuf;

    use tokio::net::TcpListener;

    use super::*;
    use crate::rendezvous::{FILES, Hello, Purpose, RunSecret};
    use crate::run::together::{Rendezvous, join};
    use crate::values::HostPort;

    fn rendezvous(port: u16, wait: Duration) -> (Rendezvous, std::sync::mpsc::Receiver<String>) {
        let (to, hints) = std::sync::mpsc::channel();
        let hello = Hello {
            index: 0,
            count: 2,
            version: "1".into(),
            scenario: String::new(),
            host: String::new(),
            purpose: Purpose::Run,
        };
        let rendezvous = Rendezvous {
            at: format!("127.0.0.1:{port}").parse::<HostPort>().unwrap(),
            hello,
            secret: RunSecret::new("a key of this test alone").unwrap(),
            wait,
            folder: PathBuf::new(),
            watch: None,
            hint: Box::new(move |text| drop(to.send(text.into()))),
        };
        (rendezvous, hints)
    }

    #[tokio::test]
    async fn a_shard_that_is_pushed_out_knocks_again_and_says_so_once() {
        let full = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (rendezvous, hints) = rendezvous(full.local_addr().unwrap().port(), Duration::from_secs(60));
        let joining = tokio::spawn(join(rendezvous));
        for _ in 0..3 {
            // Closed as a desk closes the oldest of too many strangers.
            drop(full.accept().await.unwrap());
        }
        // The rendezvous' owner has gone: this shard takes its place.
        drop(full);
        let link = joining.await.unwrap().unwrap();
        assert!(link.place.is_some());
        let said: Vec<String> = hints.try_iter().collect();
        assert!(said.len() == 1 && said[0].contains("LOADTEST_KEY"), "{said:?}");
    }

    #[tokio::test]
    async fn who_is_never_let_in_gives_up_at_its_deadline_and_what_is_no_rendezvous_at_once() {
        for (greeting, wait, word) in [
            (&b""[..], Duration::from_secs(1), "LOADTEST_KEY"),
            (b"220 a mail server", Duration::from_secs(600), "no rendezvous"),
        ] {
            let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let (rendezvous, _hints) = rendezvous(other.local_addr().unwrap().port(), wait);
            let mut joining = tokio::spawn(join(rendezvous));
            let error = loop {
                tokio::select! {
                    joined = &mut joining => break joined.unwrap().err().expect("it is not let in").to_string(),
                    Ok((mut stream, _)) = other.accept() => {
                        let _ = stream.write_all(greeting).await;
                        // Read, so that the greeting is not lost by a reset.
                        let _ = stream.shutdown().await;
                        let _ = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 64])).await;
                    }
                }
            };
            assert!(error.contains(word), "{error}");
        }
    }

    /// A coordinator that does not read for a while: what it says is heard all the same.
    #[tokio::test]
    async fn what_comes_is_read_while_a_large_file_goes_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let secret = RunSecret::new("a key of this test alone").unwrap();
        let (rendezvous, _hints) = rendezvous(at.port(), Duration::from_secs(60));
        let like = Hello { count: 1, ..rendezvous.hello.clone() };
        let joining = tokio::spawn(join(Rendezvous { hello: like.clone(), ..rendezvous }));
        let settings = Settings { like, secret, run_id: 7, wait: Duration::from_secs(60) };
        let mut coordinator = crate::rendezvous::Coordinator::new(settings, clock::now());
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut piece = vec![0; PIECE];
        use crate::rendezvous::{CoordinatorInput, CoordinatorOutput};
        coordinator.handle(clock::now(), CoordinatorInput::Opened(0, [1; 32]));
        let mut joining = Some(joining);
        let mut link = None;
        let (mut has_ended, mut is_silent_until) = (false, None);
        let heard = loop {
            while let Some(output) = coordinator.poll() {
                if let CoordinatorOutput::Send(_, bytes) = output {
                    stream.write_all(&bytes).await.unwrap();
                }
            }
            if link.is_none() && joining.as_ref().is_some_and(|joining| joining.is_finished()) {
                link = Some(joining.take().unwrap().await.unwrap().unwrap());
                link.as_ref().unwrap().when_ready()();
            }
            if let Some(link) = &link
                && link.start.borrow().is_some()
                && !std::mem::replace(&mut has_ended, true)
            {
                link.ended(clock::now());
                link.file(FILES[0], vec![7; 64 << 20]);
                // From here on nothing is taken off the connection.
                is_silent_until = Some(clock::now() + Duration::from_secs(3));
                coordinator.handle(clock::now(), CoordinatorInput::End(HowToEnd::Soon, "enough".into()));
                continue;
            }
            let silent = is_silent_until.is_some_and(|until| clock::now() < until);
            if is_silent_until.is_some() {
                let link = link.as_ref().unwrap();
                let is_heard = link.wish.borrow().0 == Stop::Soon;
                if is_heard || !silent {
                    break is_heard;
                }
            }
            tokio::select! {
                read = stream.read(&mut piece), if !silent => {
                    let read = read.unwrap();
                    coordinator.handle(clock::now(), CoordinatorInput::Bytes(0, &piece[..read]));
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        };
        assert!(heard, "the wish is heard before the file is through");
    }
}
