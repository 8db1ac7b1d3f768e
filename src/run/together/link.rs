//! A driver's link to the others: what it is told, and what it tells them, over the thread that keeps its connection.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::coordinate::{Beats, Course, Gathered, Office, Order};
use super::tether::{Ends, keep};
use crate::driver::Stop;
use crate::gate::Watch;
use crate::record::EndedEarly;
use crate::rendezvous::{Beat, Hello, Room, RunSecret, Settings, Task, Totals};
use crate::run::RunError;
use crate::stamp::Stamp;
use crate::values::HostPort;

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
    /// Takes a sentence on what keeps this shard waiting.
    pub hint: Box<dyn Fn(&str) + Send>,
}

/// A message of the driver's to the link's thread.
#[derive(Debug)]
pub(super) enum Word {
    Prepared(Room),
    Ready,
    Interrupted,
    Ended(Stamp),
    File(&'static str, Vec<u8>),
    Delivered,
    Parted,
    Failed(String),
}

/// The coordinator's process has this besides.
pub struct Place {
    /// Told when no shard has a call left.
    pub all_ended: oneshot::Receiver<()>,
    /// Latest figures of each shard, gathered while somebody listens.
    beats: watch::Sender<Beats>,
    /// The end of the run.
    pub gathered: oneshot::Receiver<Gathered>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Place {
    /// Its ends, and the office of its desk.
    pub(super) fn new(settings: Settings, folder: PathBuf, watch: Option<Watch>) -> (Place, Office) {
        let (orders, ordered) = mpsc::unbounded_channel();
        let beats = watch::Sender::new(Beats::new());
        let (ended, all_ended) = oneshot::channel();
        let (gather, gathered) = oneshot::channel();
        let course = Course { folder, watch, all_ended: ended, gathered: gather };
        let office = Office { settings, course, beats: beats.clone(), orders: ordered };
        (Place { all_ended, beats, gathered, orders }, office)
    }

    /// The latest figures of each shard from now on.
    pub fn beats(&self) -> watch::Receiver<Beats> {
        self.beats.subscribe()
    }

    /// Begins the next of many runs: its task, the folder of the shards' files, and what may end it early.
    pub fn next(&mut self, task: Task, folder: PathBuf, watch: Option<Watch>) {
        let (ended, all_ended) = oneshot::channel();
        let (gather, gathered) = oneshot::channel();
        (self.all_ended, self.gathered) = (all_ended, gathered);
        let course = Course { folder, watch, all_ended: ended, gathered: gather };
        // A thread that has ended has told why.
        let _ = self.orders.send(Order::Next(rand::random(), task, course));
    }

    /// Hands out the verdict: exit code and text for all.
    pub fn judge(&self, exit: u8, text: String) {
        let _ = self.orders.send(Order::Verdict(exit, text));
    }
}

/// The coordinator's word between runs.
#[derive(Debug)]
pub enum Told {
    /// The next run.
    Next(Task),
    /// All is over: exit code and text for all; `Err` where the coordinator is lost.
    Over(Result<(u8, String), String>),
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
    /// Gate over all that has ended the run.
    pub early: watch::Receiver<Option<EndedEarly>>,
    /// The verdict of all: exit code and text; `Err` where the coordinator is lost.
    pub verdict: watch::Receiver<Option<Result<(u8, String), String>>>,
    /// Name and task of the run that comes next.
    next: watch::Receiver<Option<(u32, Task)>>,
    words: mpsc::UnboundedSender<Word>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Link {
    /// Says that everything is there for the first call, when called.
    pub fn when_ready(&self) -> impl FnOnce() + Send + 'static {
        let words = self.words.clone();
        move || drop(words.send(Word::Ready))
    }

    /// Everything is there for the first of many runs.
    pub fn prepared(&self, room: Room) {
        self.say(Word::Prepared(room));
    }

    /// Waits for the coordinator's next word. The link is that run's then.
    pub async fn told(&mut self) -> Told {
        tokio::select! {
            biased;
            over = self.verdict.wait_for(Option::is_some) => {
                let over = over.ok().and_then(|over| over.clone());
                Told::Over(over.unwrap_or_else(|| Err("its thread has ended".into())))
            }
            Some((run_id, task)) = next(&mut self.next) => {
                self.run_id = run_id;
                Told::Next(task)
            }
        }
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

    /// This shard was ended before its first call, by whoever ended all.
    pub fn parted(&self) {
        self.say(Word::Parted);
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

async fn next(tasks: &mut watch::Receiver<Option<(u32, Task)>>) -> Option<(u32, Task)> {
    tasks.changed().await.ok()?;
    tasks.borrow_and_update().clone()
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
    let (early_tx, early) = watch::channel(None);
    let (next_tx, next) = watch::channel(None);
    let (beats, beats_rx) = watch::channel(Beat::default());
    let (words, words_rx) = mpsc::unbounded_channel();
    let ends = Ends {
        welcome: Some(welcome),
        claims: Some(claims),
        place: None,
        start: start_tx,
        ramp_over: ramp_tx,
        totals: totals_tx,
        wish: wish_tx,
        verdict: verdict_tx,
        early: early_tx,
        next: next_tx,
        fresh: beats.clone(),
        beats: beats_rx,
        words: words_rx,
    };
    let broken =
        |error: io::Error| RunError::Obstacle(format!("cannot keep a thread for the rendezvous: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let thread = thread::Builder::new()
        .name("rendezvous".into())
        .spawn(move || runtime.block_on(keep(rendezvous, ends)))
        .map_err(broken)?;
    let run_id = welcomed.await.unwrap_or_else(|_| {
        Err(RunError::Obstacle(
            "the thread of the rendezvous has ended; this is a fault of loadtest itself".into(),
        ))
    })?;
    let place = claimed.await.ok().flatten();
    let thread = Some(thread);
    Ok(Link { run_id, place, beats, start, ramp_over, totals, wish, early, verdict, next, words, thread })
}
