//! The coordinator's sockets and files around [`rendezvous::Coordinator`].

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock;
use crate::gate::Watch;
use crate::record::EndedEarly;
use crate::rendezvous::{
    Attendance, BEAT_EVERY, Beat, Coordinator, CoordinatorEvent, CoordinatorInput, CoordinatorOutput,
    HowToEnd, Settings,
};
use crate::stamp::Stamp;

/// Messages that may wait for a connection: one that does not read is given up.
const MOST_WAITING: usize = 256;
/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// Most bytes of one shard's files.
const MOST_OF_SHARD: u64 = 4 << 30;

/// The end of a run, as the coordinator has it.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Every shard that should have been there.
    pub roll: Vec<Attendance>,
    /// Start of second 0, by the coordinator's clock; `None` where there was no run.
    pub start: Option<Stamp>,
    /// Gate that ended it early.
    pub ended_early: Option<EndedEarly>,
}

/// Latest figures of the shards that are there, by number.
pub type Beats = Vec<(u32, Beat)>;

/// The coordinator's part of a run, from outside.
pub(super) struct Office {
    /// Folder that gets the shards' files, each in one of its number.
    pub folder: PathBuf,
    pub settings: Settings,
    /// Ends the run for a broken gate.
    pub watch: Option<Watch>,
    /// Told when no shard has a call left.
    pub all_ended: oneshot::Sender<()>,
    /// Gets the latest figures of each shard.
    pub beats: watch::Sender<Beats>,
    pub gathered: oneshot::Sender<Gathered>,
    /// Exit code and text for all.
    pub verdict: oneshot::Receiver<(u8, String)>,
}

/// A connection's tasks.
struct Connection {
    out: mpsc::Sender<Vec<u8>>,
    reading: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

struct Desk {
    coordinator: Coordinator,
    connections: HashMap<u64, Connection>,
    folder: PathBuf,
    /// Bytes of each shard's files so far.
    taken: HashMap<u32, u64>,
    watch: Option<Watch>,
    held_from: Option<Stamp>,
    gathered: Gathered,
    all_ended: Option<oneshot::Sender<()>>,
    beats: watch::Sender<Beats>,
    next_beats: Stamp,
    is_complete: bool,
    heard: mpsc::Sender<(u64, Option<Vec<u8>>)>,
}

/// Coordinates a run until its verdict has been handed out.
pub(super) async fn coordinate(listener: TcpListener, office: Office) {
    let Office { folder, settings, watch, all_ended, beats, gathered, mut verdict } = office;
    let (heard, mut hearing) = mpsc::channel(64);
    let mut desk = Desk {
        coordinator: Coordinator::new(settings, clock::now()),
        connections: HashMap::new(),
        folder,
        taken: HashMap::new(),
        watch,
        held_from: None,
        gathered: Gathered::default(),
        all_ended: Some(all_ended),
        beats,
        next_beats: clock::now(),
        is_complete: false,
        heard,
    };
    let (mut next_id, mut gathered, mut is_judged) = (0u64, Some(gathered), false);
    while !is_judged {
        let wake = desk.coordinator.poll_timeout().unwrap_or_else(clock::now);
        // What has come is taken before anybody is given up for silent.
        tokio::select! {
            biased;
            Some((id, bytes)) = hearing.recv() => {
                let input = match &bytes {
                    Some(bytes) => CoordinatorInput::Bytes(id, bytes),
                    None => {
                        desk.connections.remove(&id);
                        CoordinatorInput::Closed(id)
                    }
                };
                desk.coordinator.handle(clock::now(), input);
            }
            Ok((stream, _)) = listener.accept() => {
                desk.open(next_id, stream);
                next_id += 1;
            }
            () = tokio::time::sleep_until(clock::tokio_deadline(wake)) => {
                desk.coordinator.handle_timeout(clock::now());
                desk.look_at_gates();
                desk.tell_beats();
            }
            judged = &mut verdict, if desk.is_complete => {
                // A coordinator that has no verdict has broken.
                let (exit, text) = judged.unwrap_or_else(|_| (1, "the coordinator has no verdict".into()));
                desk.coordinator.handle(clock::now(), CoordinatorInput::Verdict(exit, text));
                is_judged = true;
            }
        }
        desk.carry_out();
        if desk.is_complete
            && let Some(gathered) = gathered.take()
        {
            desk.gathered.roll = desk.coordinator.roll();
            let _ = gathered.send(std::mem::take(&mut desk.gathered));
        }
    }
    desk.flush().await;
}

impl Desk {
    fn open(&mut self, id: u64, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let (mut read, mut write) = stream.into_split();
        let (out, mut queue) = mpsc::channel::<Vec<u8>>(MOST_WAITING);
        tokio::spawn(async move {
            while let Some(bytes) = queue.recv().await {
                if write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            let _ = write.shutdown().await;
        });
        let heard = self.heard.clone();
        let reading = tokio::spawn(async move {
            let mut piece = vec![0; PIECE];
            loop {
                let read = read.read(&mut piece).await.unwrap_or_default();
                let bytes = piece.get(..read).filter(|bytes| !bytes.is_empty()).map(<[u8]>::to_vec);
                let is_over = bytes.is_none();
                if heard.send((id, bytes)).await.is_err() || is_over {
                    return;
                }
            }
        });
        self.connections.insert(id, Connection { out, reading });
        self.coordinator.handle(clock::now(), CoordinatorInput::Opened(id, rand::random()));
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.coordinator.poll() {
            match output {
                CoordinatorOutput::Send(id, bytes) => {
                    let is_full = self.connections.get(&id).is_some_and(|to| to.out.try_send(bytes).is_err());
                    if is_full {
                        self.connections.remove(&id);
                        self.coordinator.handle(clock::now(), CoordinatorInput::Closed(id));
                    }
                }
                CoordinatorOutput::Close(id) => drop(self.connections.remove(&id)),
                CoordinatorOutput::Event(event) => self.note(event),
            }
        }
    }

    fn note(&mut self, event: CoordinatorEvent) {
        match event {
            CoordinatorEvent::Starts(at) => self.gathered.start = Some(at),
            CoordinatorEvent::AllEnded => {
                let _ = self.all_ended.take().map(|told| told.send(()));
            }
            CoordinatorEvent::CalledOff | CoordinatorEvent::AllDelivered => self.is_complete = true,
            CoordinatorEvent::File(index, name, bytes) => {
                if let Err(error) = self.keep(index, name, &bytes) {
                    let why = format!("a file of shard {index} cannot be kept: {error}");
                    self.coordinator.handle(clock::now(), CoordinatorInput::End(HowToEnd::Soon, why));
                }
            }
            CoordinatorEvent::Came(_) | CoordinatorEvent::Absent(..) | CoordinatorEvent::Interrupted(_) => {}
        }
    }

    /// Adds to a file of a shard's. The manifest among them finds what could not be kept.
    fn keep(&mut self, index: u32, name: &str, bytes: &[u8]) -> io::Result<()> {
        let taken = self.taken.entry(index).or_default();
        *taken = taken.saturating_add(bytes.len() as u64);
        if *taken > MOST_OF_SHARD {
            return Err(io::Error::other("its files are larger than any run's"));
        }
        let folder = self.folder.join(index.to_string());
        fs::create_dir_all(&folder)?;
        OpenOptions::new().create(true).append(true).open(folder.join(name))?.write_all(bytes)
    }

    /// Ends the run of all if a gate over all has made it hopeless.
    fn look_at_gates(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let Some(live) = self.coordinator.live() else { return };
        let now = clock::now();
        let from = *self.held_from.get_or_insert(now);
        if let Some(early) = watch.look(now.since(from), &live) {
            let why = format!("gate `{}` {early}", early.gate);
            (self.watch, self.gathered.ended_early) = (None, Some(early));
            self.coordinator.handle(now, CoordinatorInput::End(HowToEnd::Early, why));
        }
    }

    /// Hands on the figures of each shard, where somebody wants them.
    fn tell_beats(&mut self) {
        let now = clock::now();
        if now >= self.next_beats && self.beats.receiver_count() > 0 {
            self.next_beats = now + BEAT_EVERY;
            self.beats
                .send_replace(self.coordinator.beats().map(|(index, beat)| (index, beat.clone())).collect());
        }
    }

    /// Waits until everything that was to be sent is sent, and the others have closed.
    async fn flush(&mut self) {
        const WITHIN: std::time::Duration = std::time::Duration::from_secs(2);
        self.connections.clear();
        tokio::time::sleep(WITHIN / 10).await;
    }
}
