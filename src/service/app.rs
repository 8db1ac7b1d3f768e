//! The loop that owns the calls: events, answers, times and media reports in; requests out.

mod admission;
mod reconciliation;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::JoinSet;

use super::events::EventMessage;
use super::http::SharedCounts;
use super::links::Links;
use super::media::MediaCounts;
use super::reflector::{Reflector, StreamEvent};
use super::repeats::Repeats;
use super::tasks::{self, TaskResult};
use super::{ServiceConfig, ServiceError, server};
use crate::ari::call::AriCall;
use crate::ari::event::Event;
use crate::ari::exchange::{AriInput, AriOutput, Note};
use crate::ari::outcome::{ServiceCall, ServiceOutcome};
use crate::ari::request::{Operation, is_read_only, read_only};
use crate::ari::{CallIds, MediaPeer};
use crate::clock;
use crate::net::http::HttpClient;
use crate::net::ports::PortPool;
use crate::record::ServicePorts;
use crate::stamp::Stamp;
use crate::table::Deadlines;
use crate::values::cut;
use admission::{NO_PORT, most_sockets};
use reconciliation::Reconciliation;

/// The bound of the whole shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// Pause before a port that another program held is tried again.
const PORT_RETRY: Duration = Duration::from_secs(60);

/// Bytes of a channel's id that are logged.
const ID_SHOWN: usize = 80;

/// One call with what belongs to it outside its state machine.
struct Entry {
    call: AriCall,
    /// Tells this call from an earlier one of the same caller.
    serial: u64,
    port: Option<u16>,
    /// Time of the hang-up from here, once bridged.
    hang_up_at: Option<Stamp>,
}

/// The owner of all calls.
pub struct App {
    config: ServiceConfig,
    echo: Option<SocketAddr>,
    client: Arc<HttpClient>,
    reflector: Reflector,
    /// Media that do not pass through the reflector, where the calls have such.
    links: Option<Links>,
    shared: Arc<SharedCounts>,
    ports: PortPool,
    /// Calls that may hold sockets at once: the descriptors that are left over serve requests and connections.
    most_sockets: u64,
    repeats: Repeats,
    calls: HashMap<Arc<str>, Entry>,
    timers: Deadlines<Arc<str>>,
    /// StasisStart of the call that holds a port, until its stream is removed.
    started: HashMap<u16, Stamp>,
    /// Calls that are over and wait for their media's counts, by port.
    closing: HashMap<u16, ServiceCall>,
    tasks: JoinSet<TaskResult>,
    serial: u64,
    seed: u64,
    /// Part of the names of media channels, which no two services share.
    life: u32,
    disconnected: Option<String>,
    reconciliation: Reconciliation,
    stop_by: Option<Stamp>,
    failure: Option<ServiceError>,
}

impl App {
    pub fn new(
        config: ServiceConfig,
        echo: Option<SocketAddr>,
        client: HttpClient,
        reflector: Reflector,
        links: Option<Links>,
        shared: Arc<SharedCounts>,
    ) -> Self {
        App {
            ports: PortPool::new(config.port_range, PORT_RETRY),
            most_sockets: most_sockets(echo.is_some()),
            repeats: Repeats::default(),
            config,
            echo,
            client: Arc::new(client),
            reflector,
            links,
            shared,
            calls: HashMap::new(),
            timers: Deadlines::new(),
            started: HashMap::new(),
            closing: HashMap::new(),
            tasks: JoinSet::new(),
            serial: 0,
            seed: rand::random(),
            life: rand::random(),
            disconnected: None,
            reconciliation: Reconciliation::default(),
            stop_by: None,
            failure: None,
        }
    }

    /// Runs until `shutdown` completes and every call is cleared, or something fails for good.
    pub async fn run(
        mut self,
        mut incoming: Receiver<EventMessage>,
        mut stream_events: UnboundedReceiver<StreamEvent>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServiceError> {
        tokio::pin!(shutdown);
        self.reconcile();
        self.show_state();
        tracing::info!(app = self.config.app, ports = %self.config.port_range, "ready for calls");
        while !self.is_done(clock::now()) {
            let wake = self.next_wake();
            tokio::select! {
                () = &mut shutdown, if self.stop_by.is_none() => self.stop(clock::now()),
                Some(message) = incoming.recv() => self.on_incoming(message),
                Some(finished) = self.tasks.join_next() => match finished {
                    Ok(finished) => self.on_finished(finished),
                    Err(error) => tracing::error!(%error, "a request's task ended without an answer"),
                },
                event = stream_events.recv() => match event {
                    Some(StreamEvent::FirstPacket { port, at }) => self.on_first_packet(port, at),
                    Some(StreamEvent::Elsewhere { port, told, from }) => self.on_elsewhere(port, told, from),
                    Some(StreamEvent::Removed { port, counts }) => self.on_removed(port, &counts),
                    Some(StreamEvent::Ended) | None => return Err(ServiceError::media(io::Error::other("it has ended"))),
                },
                () = sleep_until(wake) => self.on_time(clock::now()),
            }
            self.show_state();
        }
        if !self.calls.is_empty() {
            tracing::warn!(calls = self.calls.len(), "calls left uncleared after {SHUTDOWN_LIMIT:?}");
        }
        self.failure.map_or(Ok(()), Err)
    }

    fn is_done(&self, now: Stamp) -> bool {
        let cleared = self.calls.is_empty() && self.closing.is_empty() && self.tasks.is_empty();
        self.stop_by.is_some_and(|by| cleared || now >= by)
    }

    fn next_wake(&self) -> Option<Stamp> {
        [self.timers.next(), self.stop_by, self.reconciliation.again_at()].into_iter().flatten().min()
    }

    fn stop(&mut self, now: Stamp) {
        tracing::info!(calls = self.calls.len(), "shutting down: hanging up");
        self.stop_by.get_or_insert(now + SHUTDOWN_LIMIT);
        let callers: Vec<_> = self.calls.keys().cloned().collect();
        for caller in callers {
            self.drive(&caller, now, AriInput::Shutdown);
        }
    }

    fn on_time(&mut self, now: Stamp) {
        while let Some((_, caller)) = self.timers.pop(now) {
            let Some(entry) = self.calls.get_mut(&caller) else { continue };
            let hangs_up = entry.hang_up_at.take_if(|at| *at <= now).is_some();
            self.drive(&caller, now, if hangs_up { AriInput::HangUp } else { AriInput::Timeout });
        }
        if self.reconciliation.again_at().is_some_and(|at| at <= now) {
            self.start_round();
        }
    }

    fn on_incoming(&mut self, message: EventMessage) {
        match message {
            EventMessage::Event { at, made_at, event } => {
                self.on_event(at, &event);
                self.shared.record().add_event(event.kind(), made_at, at, clock::now());
            }
            EventMessage::Malformed(error) => {
                self.shared.record().events.malformed += 1;
                self.warn("malformed", || format!("from the event connection: {error}"));
            }
            EventMessage::Disconnected(reason) => {
                self.shared.record().events.disconnects += 1;
                self.warn("lost", || format!("the event connection is lost; connecting again: {reason}"));
                self.disconnected = Some(reason);
            }
            EventMessage::StillDisconnected(reason, error) => {
                self.disconnected = Some(format!("{reason}; connecting again: {error}"));
            }
            EventMessage::Reconnected => {
                if self.repeats.add("back", clock::now()).is_some() {
                    tracing::info!("the event connection is back");
                }
                self.disconnected = None;
                self.reconcile();
            }
        }
    }

    fn on_event(&mut self, at: Stamp, event: &Event) {
        let app = &self.config.app;
        let caller = match event {
            Event::ApplicationReplaced => {
                tracing::error!(app, "another client has taken the application's events over");
                self.failure = Some(ServiceError(format!(
                    "another client has connected to Asterisk as application `{app}` and gets its events now: give \
                     one of the two another --app (in a scenario: service.app)"
                )));
                return self.stop(at);
            }
            Event::Other => return,
            Event::StasisStart { hung_up: true, .. } => {
                self.shared.record().events.hung_up_starts += 1;
                return;
            }
            Event::BridgeDestroyed { bridge } => CallIds::caller_of_bridge(app, bridge),
            other => other.channel().map(|channel| CallIds::caller_of_media(app, channel).unwrap_or(channel)),
        };
        let Some(caller) = caller else { return };
        if let Some((caller, _)) = self.calls.get_key_value(caller) {
            let caller = caller.clone();
            return self.drive(&caller, at, AriInput::Event(event));
        }
        let Event::StasisStart { channel, args, protocol_id, .. } = event else { return };
        if CallIds::caller_of_media(app, channel).is_some() {
            // Its call is over: it was created while nobody waited for it any more.
            return self.delete_stray(channel, Operation::DeleteMedia);
        }
        tracing::debug!(caller, protocol_id, "a call");
        self.on_call(at, channel, args);
    }

    fn drive(&mut self, caller: &Arc<str>, now: Stamp, input: AriInput<'_>) {
        if let Some(entry) = self.calls.get_mut(caller) {
            entry.call.handle(now, input);
            self.carry_out(caller);
        }
    }

    /// Does what the call asks for, and notes when it wants to be woken.
    fn carry_out(&mut self, caller: &Arc<str>) {
        while let Some(entry) = self.calls.get_mut(caller) {
            let (port, serial, started_at) = (entry.port, entry.serial, entry.call.started_at());
            let Some(output) = entry.call.poll() else { break };
            match output {
                AriOutput::Request(request) => {
                    let attempt = entry.call.attempts(request.operation);
                    self.shared.record().add_attempt(request.operation, attempt);
                    let call = Some((caller.clone(), serial));
                    self.tasks.spawn(tasks::ask(self.client.clone(), call, request));
                }
                AriOutput::ConnectMedia(peer) => {
                    let _ = port.map(|port| self.connect_media(port, peer));
                }
                AriOutput::ReleasePort => {
                    let _ = port.map(|port| self.remove_media(port));
                }
                AriOutput::Answered(at) => self.shared.record().stages.answered.record(at.since(started_at)),
                AriOutput::MediaReady(at) => {
                    self.shared.record().stages.media_ready.record(at.since(started_at));
                }
                AriOutput::Bridged(at) => self.on_bridged(caller, at),
                AriOutput::Note(note) => self.log_note(caller, note),
                AriOutput::Ended(record) => self.on_ended(caller, record),
            }
        }
        let times = self.calls.get(caller).map(|entry| [entry.call.poll_timeout(), entry.hang_up_at]);
        self.timers.set(caller.clone(), times.into_iter().flatten().flatten().min());
    }

    fn connect_media(&self, port: u16, peer: MediaPeer) {
        match (&self.links, peer) {
            (Some(links), peer) => links.connect(port, peer),
            (None, MediaPeer::Rtp(peer)) => self.reflector.connect(port, peer),
            (None, MediaPeer::Connects | MediaPeer::WebSocket(_)) => {}
        }
    }

    fn remove_media(&mut self, port: u16) {
        match &mut self.links {
            Some(links) => links.remove(port),
            None => self.reflector.remove(port),
        }
    }

    fn on_first_packet(&mut self, port: u16, at: Stamp) {
        if let Some(started_at) = self.started.get(&port) {
            self.shared.record().stages.first_packet.record(at.since(*started_at));
        }
    }

    fn on_bridged(&mut self, caller: &Arc<str>, at: Stamp) {
        let Some(entry) = self.calls.get_mut(caller) else { return };
        let mut record = self.shared.record();
        record.calls.bridged += 1;
        record.stages.bridged.record(at.since(entry.call.started_at()));
        let is_its_turn = entry.serial.is_multiple_of(self.config.hangup_every.into());
        let after = self.config.hangup_after.filter(|_| is_its_turn);
        entry.hang_up_at = after.map(|after| at + after.0);
    }

    fn on_ended(&mut self, caller: &Arc<str>, record: ServiceCall) {
        let Some(entry) = self.calls.remove(caller) else { return };
        self.reconciliation.call_ended(caller);
        match record.outcome {
            ServiceOutcome::Completed
            | ServiceOutcome::Shutdown
            | ServiceOutcome::CallerGone
            | ServiceOutcome::NoPort => {
                tracing::debug!(%caller, outcome = ?record.outcome, "a call is over");
            }
            failed => {
                self.warn("failed", || format!("a call failed caller={} outcome={failed:?}", shown(caller)))
            }
        }
        if record.left_behind.any() {
            let left = &record.left_behind;
            self.warn("left behind", || {
                format!("left behind in Asterisk caller={} left={left:?}", shown(caller))
            });
        }
        match entry.port {
            // Its counts come with the media's.
            Some(port) => drop(self.closing.insert(port, record)),
            None => self.shared.record().add_call(&record, &Default::default()),
        }
        self.count_active();
    }

    fn on_elsewhere(&mut self, port: u16, told: SocketAddr, from: SocketAddr) {
        self.warn("media elsewhere", || {
            format!(
                "the media of port {port} come from {from}, and Asterisk's externalMedia has named {told}: a NAT or a \
                 container's network in between; they are sent back to where they come from"
            )
        });
    }

    fn on_removed(&mut self, port: u16, counts: &MediaCounts) {
        self.ports.give_back(port);
        self.started.remove(&port);
        if let Some(record) = self.closing.remove(&port) {
            self.shared.record().add_call(&record, counts);
        }
    }

    /// Logs a warning of a kind: the first as it comes, then one in a while with their number.
    fn warn(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        match self.repeats.add(kind, clock::now()) {
            Some(0) => tracing::warn!("{}", text()),
            Some(more) => tracing::warn!("{}; {more} more like it since the last", text()),
            None => {}
        }
    }

    fn log_note(&mut self, caller: &str, note: Note) {
        match note {
            Note::Retry { operation, status, after } => self.warn("retry", || {
                format!(
                    "trying again caller={} operation={operation} status={status:?} after={after:?}",
                    shown(caller)
                )
            }),
            Note::NotDeleted { operation, status } => self.warn("not deleted", || {
                format!("given up caller={} operation={operation} status={status:?}", shown(caller))
            }),
            Note::EndNotHeard { operation } => self.warn("end not heard", || {
                let caller = shown(caller);
                format!(
                    "accepted, but the channel's end was not heard of caller={caller} operation={operation}"
                )
            }),
        }
    }

    fn count_active(&self) {
        self.shared.record().calls.active = self.calls.len() as u64;
    }

    fn on_finished(&mut self, result: TaskResult) {
        match result {
            TaskResult::Answer { call, request, asked_at, answered_at, result } => {
                let operation = request.operation;
                let status = result.as_ref().ok().map(|answer| answer.status);
                if result.as_ref().is_ok_and(|answer| is_read_only(answer.status, &answer.body)) {
                    let said = read_only(server(&self.config.ari_url), &self.config.user);
                    self.warn("read only", || said);
                }
                self.shared.record().add_answer(operation, status, answered_at.since(asked_at));
                match call {
                    Some((caller, serial)) if self.is_up(&caller, serial) => {
                        self.drive(&caller, answered_at, tasks::input_of(operation, &result));
                    }
                    Some(_) => {}
                    None => self.on_stray_answer(&request, result),
                }
            }
            TaskResult::Listing { number, known, result } => self.on_listing_result(number, &known, result),
        }
    }

    /// True while the call with this serial is not over: a later one of the same caller is another.
    fn is_up(&self, caller: &str, serial: u64) -> bool {
        self.calls.get(caller).is_some_and(|entry| entry.serial == serial)
    }

    fn show_state(&self) {
        self.shared.record().ports = ServicePorts {
            in_use: self.ports.in_use(),
            free: self.ports.free(),
            held_by_others: self.ports.held_by_others(),
            refused: self.repeats.total(NO_PORT),
        };
        let disconnected =
            || Some(format!("no event connection to Asterisk: {}", self.disconnected.as_ref()?));
        let full =
            || (self.ports.free() == 0).then(|| format!("all ports of {} are in use", self.ports.range()));
        let stopping = self.stop_by.map(|_| "shutting down".to_string());
        let unknown = || self.reconciliation.pending();
        self.shared.set_degraded(stopping.or_else(disconnected).or_else(unknown).or_else(full));
    }
}

/// A channel's id, which comes from outside, as it may stand in a line of the log.
fn shown(id: &str) -> String {
    cut(id, ID_SHOWN)
}

pub(super) async fn sleep_until(at: Option<Stamp>) {
    match at {
        Some(at) => tokio::time::sleep_until(clock::tokio_deadline(at)).await,
        None => std::future::pending().await,
    }
}
