//! The coordinator's sockets and files around [`rendezvous::Coordinator`].

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::clock;
use crate::gate::Watch;
use crate::record::EndedEarly;
use crate::rendezvous::{
    Attendance, BEAT_EVERY, Beat, Coordinator, CoordinatorEvent, CoordinatorInput, CoordinatorOutput,
    HowToEnd, Room, Settings, Task,
};
use crate::stamp::Stamp;

/// Messages that may wait for a connection: one that does not read is given up.
const MOST_WAITING: usize = 256;
/// A thread that has not looked at the clock for so long stood still itself: nobody else was silent.
pub(super) const STALLED: Duration = Duration::from_secs(2);
/// Time by which the clock may be late while something comes all the time.
const LAG: Duration = Duration::from_millis(200);
/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// Most bytes of one shard's files.
const MOST_OF_SHARD: u64 = 4 << 30;
/// Time for a piece that is sent: a connection that takes nothing for so long is given up.
const SENT_WITHIN: Duration = Duration::from_secs(30);

/// The end of a run, as the coordinator has it.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Every shard that should have been there.
    pub roll: Vec<Attendance>,
    /// Start of second 0, by the coordinator's clock; `None` where there was no run.
    pub start: Option<Stamp>,
    /// Gate that ended it early.
    pub ended_early: Option<EndedEarly>,
    /// Shard whose user has ended it.
    pub interrupted: Option<u32>,
    /// Rooms of the shards, by number, once all were prepared for the first of many runs.
    pub rooms: Vec<Room>,
}

/// Latest figures of the shards that are there, by number.
pub type Beats = Vec<(u32, Beat)>;

/// One run from outside, or what comes before the first of many.
pub(super) struct Course {
    /// Folder that gets the shards' files, each in one of its number.
    pub folder: PathBuf,
    /// Ends the run for a broken gate.
    pub watch: Option<Watch>,
    /// Told when no shard has a call left.
    pub all_ended: oneshot::Sender<()>,
    pub gathered: oneshot::Sender<Gathered>,
}

/// A wish of the coordinator's process, once a course is over.
pub(super) enum Order {
    /// The next run, its name and its task.
    Next(u32, Task, Course),
    /// Exit code and text for all.
    Verdict(u8, String),
}

/// The coordinator's part in a rendezvous, from outside.
pub(super) struct Office {
    pub settings: Settings,
    pub course: Course,
    /// Gets the latest figures of each shard.
    pub beats: watch::Sender<Beats>,
    pub orders: mpsc::UnboundedReceiver<Order>,
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

/// A course under way.
struct UnderWay {
    folder: PathBuf,
    /// Bytes of each shard's files so far.
    taken: HashMap<u32, u64>,
    watch: Option<Watch>,
    held_from: Option<Stamp>,
    gathered: Gathered,
    all_ended: Option<oneshot::Sender<()>>,
    /// Takes what was gathered, until it has.
    done: Option<oneshot::Sender<Gathered>>,
    is_complete: bool,
}

impl UnderWay {
    fn of(course: Course) -> UnderWay {
        let Course { folder, watch, all_ended, gathered } = course;
        UnderWay {
            folder,
            taken: HashMap::new(),
            watch,
            held_from: None,
            gathered: Gathered::default(),
            all_ended: Some(all_ended),
            done: Some(gathered),
            is_complete: false,
        }
    }

    /// Adds to a file of a shard's. The manifest among them finds what could not be kept.
    fn keep(&mut self, index: u32, name: &str, bytes: &[u8]) -> io::Result<()> {
        let taken = self.taken.entry(index).or_default();
        *taken = taken.saturating_add(bytes.len() as u64);
        if *taken > MOST_OF_SHARD {
            return Err(io::Error::other("its files are larger than any run's"));
        }
        if self.folder.as_os_str().is_empty() {
            return Err(io::Error::other("nobody has asked for one"));
        }
        let folder = self.folder.join(index.to_string());
        fs::create_dir_all(&folder)?;
        OpenOptions::new().create(true).append(true).open(folder.join(name))?.write_all(bytes)
    }
}

struct Desk {
    coordinator: Coordinator,
    connections: HashMap<u64, Connection>,
    /// Tasks that send, of connections that are closed as well: what was to be sent goes out.
    writing: JoinSet<()>,
    course: UnderWay,
    interrupted: Option<u32>,
    beats: watch::Sender<Beats>,
    next_beats: Stamp,
    /// Time of the last look at the clock.
    looked_at: Stamp,
    /// The clock is due then at the latest, whatever comes.
    next_tick: Stamp,
    heard: mpsc::Sender<(u64, Option<Vec<u8>>)>,
}

/// Coordinates run after run until the verdict has been handed out.
pub(super) async fn coordinate(listener: TcpListener, office: Office) {
    let Office { settings, course, beats, mut orders } = office;
    let (heard, mut hearing) = mpsc::channel(64);
    let mut desk = Desk {
        coordinator: Coordinator::new(settings, clock::now()),
        connections: HashMap::new(),
        writing: JoinSet::new(),
        course: UnderWay::of(course),
        interrupted: None,
        beats,
        next_beats: clock::now(),
        looked_at: clock::now(),
        next_tick: clock::now() + BEAT_EVERY,
        heard,
    };
    let (mut next_id, mut is_judged) = (0u64, false);
    while !is_judged {
        desk.keep_up();
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
                desk.tick();
            }
            order = orders.recv(), if desk.course.is_complete => is_judged = desk.obey(order),
        }
        desk.carry_out();
        desk.hand_over();
    }
    desk.flush().await;
}

impl Desk {
    fn open(&mut self, id: u64, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let (mut read, mut write) = stream.into_split();
        let (out, mut queue) = mpsc::channel::<Vec<u8>>(MOST_WAITING);
        while self.writing.try_join_next().is_some() {}
        self.writing.spawn(async move {
            while let Some(bytes) = queue.recv().await {
                let sent = tokio::time::timeout(SENT_WITHIN, write.write_all(&bytes)).await;
                if !matches!(sent, Ok(Ok(()))) {
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

    /// Does what is due, also where what comes leaves no time to sleep: one connection that is never silent must not keep the
    /// others waiting for a sign of life.
    fn keep_up(&mut self) {
        if self.look_at_clock() >= self.next_tick + LAG {
            self.tick();
        }
    }

    /// Does what is due by the clock.
    fn tick(&mut self) {
        let now = self.look_at_clock();
        self.next_tick = now + BEAT_EVERY;
        self.coordinator.handle_timeout(now);
        self.look_at_gates();
        self.tell_beats();
    }

    /// The time; if this thread has stood still since the last look, nobody was silent meanwhile.
    fn look_at_clock(&mut self) -> Stamp {
        let now = clock::now();
        if now.since(self.looked_at) > STALLED {
            self.coordinator.awoke(now);
        }
        self.looked_at = now;
        now
    }

    /// Carries out a wish; true if that was the last.
    fn obey(&mut self, order: Option<Order>) -> bool {
        // A coordinator that has no verdict has broken.
        let order = order.unwrap_or_else(|| Order::Verdict(1, "the coordinator has no verdict".into()));
        match order {
            Order::Next(run_id, task, course) => {
                self.course = UnderWay::of(course);
                self.coordinator.handle(clock::now(), CoordinatorInput::Next(run_id, task));
                false
            }
            Order::Verdict(exit, text) => {
                self.coordinator.handle(clock::now(), CoordinatorInput::Verdict(exit, text));
                true
            }
        }
    }

    /// Hands over what was gathered, once it is complete.
    fn hand_over(&mut self) {
        if let Some(done) = self.course.done.take_if(|_| self.course.is_complete) {
            let mut gathered = std::mem::take(&mut self.course.gathered);
            (gathered.roll, gathered.interrupted) = (self.coordinator.roll(), self.interrupted);
            let _ = done.send(gathered);
        }
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
        let course = &mut self.course;
        match event {
            CoordinatorEvent::Prepared(rooms) => (course.gathered.rooms, course.is_complete) = (rooms, true),
            CoordinatorEvent::Starts(at) => course.gathered.start = Some(at),
            CoordinatorEvent::AllEnded => {
                let _ = course.all_ended.take().map(|told| told.send(()));
            }
            CoordinatorEvent::CalledOff | CoordinatorEvent::AllDelivered => {
                // Whoever waits for the end of all calls: there are none.
                let _ = course.all_ended.take().map(|told| told.send(()));
                course.is_complete = true;
            }
            CoordinatorEvent::File(index, name, bytes) => {
                if let Err(error) = course.keep(index, name, &bytes) {
                    let why = format!("a file of shard {index} cannot be kept: {error}");
                    self.coordinator.handle(clock::now(), CoordinatorInput::End(HowToEnd::Soon, why));
                }
            }
            CoordinatorEvent::EndsEarly(early) => self.course.gathered.ended_early = Some(early),
            CoordinatorEvent::Interrupted(index) => self.interrupted = self.interrupted.or(Some(index)),
            CoordinatorEvent::Came(_) | CoordinatorEvent::Absent(..) => {}
        }
    }

    /// Ends the run of all if a gate over all has made it hopeless.
    fn look_at_gates(&mut self) {
        let course = &mut self.course;
        let Some(watch) = &mut course.watch else { return };
        let Some(live) = self.coordinator.live() else { return };
        let now = clock::now();
        let from = *course.held_from.get_or_insert(now);
        if let Some(early) = watch.look(now.since(from), &live) {
            course.watch = None;
            self.coordinator.handle(now, CoordinatorInput::EndsEarly(early));
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

    /// Waits until everything that was to be sent is sent, or nobody takes it.
    async fn flush(&mut self) {
        const WITHIN: Duration = Duration::from_secs(2);
        self.connections.clear();
        let all = async { while self.writing.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(WITHIN, all).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::runtime::{Builder, Handle};

    use super::*;
    use crate::rendezvous::{Hello, Purpose, RunSecret};
    use crate::run::together::link::Place;

    /// Descriptors of this process on a port, but for that which listens.
    fn open_on(port: u16) -> usize {
        let all = procfs::net::tcp().unwrap();
        let is_open = |entry: &&procfs::net::TcpNetEntry| {
            entry.local_address.port() == port
                && entry.inode != 0
                && entry.state != procfs::net::TcpState::Listen
        };
        all.iter().filter(is_open).count()
    }

    #[test]
    fn a_thousand_connections_leave_no_task_and_no_descriptor_behind() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let at = listener.local_addr().unwrap();
            let like = Hello {
                index: 0,
                count: 2,
                version: "1".into(),
                scenario: String::new(),
                host: String::new(),
                purpose: Purpose::Run,
            };
            let secret = RunSecret::new("a key of this test alone").unwrap();
            let settings = Settings { like, secret, run_id: 1, wait: Duration::from_secs(600) };
            let (_place, office) = Place::new(settings, PathBuf::new(), None);
            let desk = tokio::spawn(coordinate(listener, office));
            let mut most = 0;
            for n in 0..1000u32 {
                let mut stream = TcpStream::connect(at).await.unwrap();
                // Some are greeted, some say something, some say nothing.
                match n % 3 {
                    0 => drop(stream.read_exact(&mut [0; 48]).await.unwrap()),
                    1 => drop(stream.write_all(&[n as u8; 100]).await),
                    _ => {}
                }
                most = most.max(Handle::current().metrics().num_alive_tasks());
            }
            assert!(most > 1, "each has tasks while it is there");
            let tasks = || Handle::current().metrics().num_alive_tasks();
            for _ in 0..600 {
                if tasks() == 1 && open_on(at.port()) == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!((tasks(), open_on(at.port())), (1, 0), "the desk's own alone");
            desk.abort();
        });
    }
}
