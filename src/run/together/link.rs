//! A driver's link to the others: a thread that keeps its connection, and with it, where this process has claimed the
//! rendezvous, the coordinator's.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot, watch};

use super::claim::{Claimed, claim};
use super::coordinate::{Beats, Gathered, Office, coordinate};
use crate::clock;
use crate::driver::Stop;
use crate::gate::Watch;
use crate::rendezvous::{
    BEAT_EVERY, Beat, Hello, HowToEnd, Member, MemberInput, MemberOutput, RunSecret, Settings, Totals,
};
use crate::run::RunError;
use crate::stamp::Stamp;
use crate::values::{HostPort, visible};

/// Bytes read at a time.
const PIECE: usize = 64 << 10;

/// Meeting of a run's drivers: its place and its terms.
pub struct Rendezvous {
    /// Host and port: whoever owns the host listens.
    pub at: HostPort,
    /// This shard.
    pub hello: Hello,
    /// The run's key.
    pub secret: RunSecret,
    /// Time for all to come, and then to be ready.
    pub wait: Duration,
    /// For the coordinator: folder of the shards' files.
    pub folder: PathBuf,
    /// For the coordinator: gates that end the run.
    pub watch: Option<Watch>,
}

/// A message of the driver's to the link's thread.
#[derive(Debug)]
pub(super) enum Word {
    Ready,
    Interrupted,
    Ended(Stamp),
    File(&'static str, Vec<u8>),
    Delivered,
    Failed(String),
}

/// The coordinator's process has this besides.
pub struct Place {
    /// Told when no shard has a call left.
    pub all_ended: oneshot::Receiver<()>,
    /// Latest figures of each shard. Nobody gathers them once this is dropped.
    pub beats: watch::Receiver<Beats>,
    /// The end of the run.
    pub gathered: oneshot::Receiver<Gathered>,
    /// Takes the verdict: exit code and text for all.
    pub verdict: oneshot::Sender<(u8, String)>,
}

/// The link of a driver that takes part.
pub struct Link {
    /// Name of the run in every call and probe.
    pub run_id: u32,
    /// Where this process coordinates.
    pub place: Option<Place>,
    /// Live figures, of which the latest go out.
    pub beats: watch::Sender<Beat>,
    /// Start of second 0, by this machine's clock.
    pub start: watch::Receiver<Option<Stamp>>,
    /// Number of the last stage whose ramp is over, and when.
    pub ramp_over: watch::Receiver<Option<(u32, Stamp)>>,
    /// Counts of all shards.
    pub totals: watch::Receiver<Totals>,
    /// The wish that the run should end, and why.
    pub wish: watch::Receiver<(Stop, String)>,
    /// The verdict of all: exit code and text; `Err` where the coordinator is lost.
    pub verdict: watch::Receiver<Option<Result<(u8, String), String>>>,
    words: mpsc::UnboundedSender<Word>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Link {
    /// Says that everything is there for the first call, when called.
    pub fn when_ready(&self) -> impl FnOnce() + Send + 'static {
        let words = self.words.clone();
        move || drop(words.send(Word::Ready))
    }

    /// The user wants the run ended.
    pub fn interrupted(&self) {
        self.say(Word::Interrupted);
    }

    /// No call is left; the first was about to be placed at this time.
    pub fn ended(&self, started_at: Stamp) {
        self.say(Word::Ended(started_at));
    }

    /// A file of this shard's.
    pub fn file(&self, name: &'static str, bytes: Vec<u8>) {
        self.say(Word::File(name, bytes));
    }

    /// All files are handed over.
    pub fn delivered(&self) {
        self.say(Word::Delivered);
    }

    /// This shard cannot go on.
    pub fn failed(&self, why: String) {
        self.say(Word::Failed(why));
    }

    fn say(&self, word: Word) {
        // A thread that has ended has told why.
        let _ = self.words.send(word);
    }

    /// Waits for the thread, which has told everything that it has to.
    pub fn close(mut self) {
        let Some(thread) = self.thread.take() else { return };
        drop(self);
        let _ = thread.join();
    }
}

/// The thread's ends of the channels.
struct Ends {
    welcome: Option<oneshot::Sender<Result<u32, RunError>>>,
    start: watch::Sender<Option<Stamp>>,
    ramp_over: watch::Sender<Option<(u32, Stamp)>>,
    totals: watch::Sender<Totals>,
    wish: watch::Sender<(Stop, String)>,
    verdict: watch::Sender<Option<Result<(u8, String), String>>>,
    beats: watch::Receiver<Beat>,
    words: mpsc::UnboundedReceiver<Word>,
}

/// Joins the drivers of a run; returns when the coordinator has taken this one in.
///
/// # Errors
/// Nobody can be reached at the rendezvous, or this shard is refused.
pub async fn join(rendezvous: Rendezvous) -> Result<Link, RunError> {
    let (welcome, welcomed) = oneshot::channel();
    let (claims, claimed) = oneshot::channel();
    let (start_tx, start) = watch::channel(None);
    let (ramp_tx, ramp_over) = watch::channel(None);
    let (totals_tx, totals) = watch::channel(Totals::default());
    let (wish_tx, wish) = watch::channel((Stop::No, String::new()));
    let (verdict_tx, verdict) = watch::channel(None);
    let (beats, beats_rx) = watch::channel(Beat::default());
    let (words, words_rx) = mpsc::unbounded_channel();
    let ends = Ends {
        welcome: Some(welcome),
        start: start_tx,
        ramp_over: ramp_tx,
        totals: totals_tx,
        wish: wish_tx,
        verdict: verdict_tx,
        beats: beats_rx,
        words: words_rx,
    };
    let broken =
        |error: io::Error| RunError::Obstacle(format!("cannot keep a thread for the rendezvous: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let thread = thread::Builder::new()
        .name("rendezvous".into())
        .spawn(move || runtime.block_on(keep(rendezvous, ends, claims)))
        .map_err(broken)?;
    let run_id = welcomed.await.unwrap_or_else(|_| {
        Err(RunError::Obstacle(
            "the thread of the rendezvous has ended; this is a fault of loadtest itself".into(),
        ))
    })?;
    let place = claimed.await.ok().flatten();
    Ok(Link { run_id, place, beats, start, ramp_over, totals, wish, verdict, words, thread: Some(thread) })
}

/// The thread's life.
async fn keep(rendezvous: Rendezvous, mut ends: Ends, claims: oneshot::Sender<Option<Place>>) {
    let Rendezvous { at, hello, secret, wait, folder, watch } = rendezvous;
    let Claimed { stream, listener } = match claim(&at, clock::now() + wait).await {
        Ok(claimed) => claimed,
        Err(error) => {
            let why = format!("nobody is at the rendezvous {at}: {error}");
            return ends.refuse(RunError::Obstacle(why));
        }
    };
    let office = listener.map(|listener| {
        let (ended, all_ended) = oneshot::channel();
        let (gather, gathered) = oneshot::channel();
        let (verdict, judged) = oneshot::channel();
        let (beats_tx, beats) = watch::channel(Beats::new());
        let settings = Settings { like: hello.clone(), secret: secret.clone(), run_id: rand::random(), wait };

        let office = Office {
            folder,
            settings,
            watch,
            all_ended: ended,
            beats: beats_tx,
            gathered: gather,
            verdict: judged,
        };
        (tokio::spawn(coordinate(listener, office)), Place { all_ended, beats, gathered, verdict })
    });
    let (coordinating, place) = office.unzip();
    let _ = claims.send(place);
    let member = Member::new(hello, secret, rand::random(), clock::now());
    attend(stream, member, &mut ends).await;
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

    /// Hands on an output; false when nothing more will come.
    fn tell(&mut self, output: MemberOutput) -> bool {
        match output {
            MemberOutput::Send(_) => {}
            MemberOutput::Welcome(run_id) => {
                self.welcome.take().into_iter().for_each(|welcome| drop(welcome.send(Ok(run_id))));
            }
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

/// Keeps the connection until the verdict.
async fn attend(stream: TcpStream, mut member: Member, ends: &mut Ends) {
    let (mut read, mut write) = stream.into_split();
    let mut piece = vec![0; PIECE];
    let mut next_beat = clock::now() + BEAT_EVERY;
    loop {
        while let Some(output) = member.poll() {
            let is_lost = match output {
                MemberOutput::Send(bytes) => !sent(&mut write, &bytes).await,
                output if !ends.tell(output.clone()) => return,
                _ => false,
            };
            if is_lost {
                return ends.give_up("it takes nothing any more");
            }
        }
        let wake = member.poll_timeout().map_or(next_beat, |at| at.min(next_beat));
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
            Some(word) = ends.words.recv() => {
                let input = match &word {
                    Word::Ready => MemberInput::Ready,
                    Word::Interrupted => MemberInput::Interrupted,
                    Word::Ended(started_at) => MemberInput::Ended(*started_at),
                    Word::File(name, bytes) => MemberInput::File(name, bytes),
                    Word::Delivered => MemberInput::Delivered,
                    Word::Failed(why) => MemberInput::Failed(why.clone()),
                };
                member.handle(clock::now(), input);
            }
            () = tokio::time::sleep_until(clock::tokio_deadline(wake)) => {
                let now = clock::now();
                member.handle_timeout(now);
                if next_beat <= now {
                    next_beat = now + BEAT_EVERY;
                    let beat = ends.beats.borrow_and_update().clone();
                    member.handle(now, MemberInput::Beat(beat));
                }
            }
        }
    }
}

async fn sent(write: &mut OwnedWriteHalf, bytes: &[u8]) -> bool {
    // A coordinator that takes nothing for so long is no more heard than one that says nothing.
    const WITHIN: Duration = Duration::from_secs(30);
    matches!(tokio::time::timeout(WITHIN, write.write_all(bytes)).await, Ok(Ok(())))
}
