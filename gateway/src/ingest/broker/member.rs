//! One connection after the other to the broker, as a member of the group: the waiting for what it delivers, for
//! verdicts, for messages to devices, and for time.
//!
//! Nothing here ever holds up the client's own task, so pings go on while the pipeline takes nothing. What waits then
//! is bounded by what the broker sends before it wants acknowledgements.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use proto::Topic;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::client::{self, Arrival, Dialling, Inlet, Outlet};
use super::counters::Counters;
use super::session::{Door, End, Session};
use super::settings::{Files, Settings};
use super::tls;
use crate::enrol::Cuts;
use crate::ingest::{Event, Intake, Messages, Trunk};
use crate::named::Named;

/// Receipts and commands that wait for the broker, of all devices together.
const OUTGOING_MAX: usize = 4_096;
/// The same in bytes. A receipt takes some 100; an answer to a hello at most a few KiB.
const OUTGOING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// For the farewell to reach the broker.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client of the broker that comes back.
pub(super) struct Member {
    settings: Settings,
    client_id: String,
    intake: Intake,
    cuts: Cuts,
    door: Door,
    messages: Messages,
}

/// Something to write to the broker.
enum Outgoing {
    Ack(u16),
    Message(Topic, Bytes),
}

/// An event for which the pipeline has no room yet.
type Reserving = Option<Pin<Box<dyn Future<Output = Permit> + Send>>>;
type Permit = Result<mpsc::OwnedPermit<Event>, mpsc::error::SendError<()>>;

impl Member {
    pub(super) fn new(
        settings: Settings,
        client_id: String,
        intake: Intake,
        cuts: Cuts,
        counters: Arc<Counters>,
    ) -> Self {
        let (trunk, messages) = Trunk::new(OUTGOING_MAX, OUTGOING_BYTES_MAX);
        let door = Door::new(trunk, settings.devices_max, counters);
        Self { settings, client_id, intake, cuts, door, messages }
    }

    /// Connects and serves until `stop`, however often the connection is lost; or until the pipeline has gone.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.settings.reconnect_min, self.settings.reconnect_max);
        while !stop.is_cancelled() {
            let (up, end) = self.connect(&stop).await;
            self.door.disown();
            if matches!(end, End::Stopping | End::PipelineGone) {
                break;
            }
            self.door.counters.connections_lost.add();
            let wait = backoff.failed(up.map(Instant::into_std), Instant::now().into_std());
            tracing::warn!(client_id = self.client_id, reason = %end, again_in = ?wait, "no connection to the broker");
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => break,
            }
        }
        tracing::info!(client_id = self.client_id, "left the broker");
    }

    /// One connection, from dialling to its end. Answers since when it stood, and why it ended.
    async fn connect(&mut self, stop: &CancellationToken) -> (Option<Instant>, End) {
        let (tls, password) = match identity(&self.settings).await {
            Ok(identity) => identity,
            Err(error) => return (None, End::Down(format!("{error:#}"))),
        };
        let dialling = Dialling { settings: &self.settings, client_id: &self.client_id, tls, password };
        let (mut inlet, outlet) = client::dial(dialling);
        let deadline = Instant::now() + self.settings.network_deadline + self.settings.subscribe_deadline;
        let mut serving = Serving {
            member: self,
            session: Session::default(),
            up: None,
            outgoing: None,
            quiet_until: Instant::now(),
            deadline,
        };
        let end = match serving.run(&mut inlet, &outlet, stop).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let up = serving.up;
        if up.is_some() {
            self.door.counters.connections_open.sub();
            if end == End::Stopping {
                inlet.leave(&outlet, FAREWELL).await;
            }
        }
        (up, end)
    }
}

/// A connection that is served.
struct Serving<'a> {
    member: &'a mut Member,
    session: Session,
    /// Since when the subscriptions stand.
    up: Option<Instant>,
    /// What waits for room in the client.
    outgoing: Option<Outgoing>,
    /// Until when no message to a device may leave.
    quiet_until: Instant,
    /// Until when the subscriptions must stand; once the gateway stops, until when all must be settled.
    deadline: Instant,
}

impl Serving<'_> {
    /// Serves until the connection must end, and says why it must.
    async fn run(
        &mut self,
        inlet: &mut Inlet,
        outlet: &Outlet,
        stop: &CancellationToken,
    ) -> Result<std::convert::Infallible, End> {
        let mut reserving: Reserving = None;
        let mut is_stopping = false;
        loop {
            if is_stopping {
                let is_silent = self.outgoing.is_none() && self.member.messages.is_empty();
                if is_silent && self.session.is_settled() {
                    return Err(End::Stopping);
                }
            } else {
                self.hand_on(&mut reserving)?;
            }
            let is_free = self.outgoing.is_none();
            let counters = &self.member.door.counters;
            tokio::select! {
                arrival = inlet.next(), if !is_stopping => self.arrived(arrival)?,
                permit = permit(&mut reserving), if !is_stopping => {
                    reserving = None;
                    let permit = permit.map_err(|_| End::PipelineGone)?;
                    if let Some(event) = self.session.hand_on(&mut self.member.door) {
                        permit.send(event);
                    }
                }
                settled = self.session.settled(counters), if is_free => match settled {
                    Ok(packet_id) => self.outgoing = Some(Outgoing::Ack(packet_id)),
                    Err(_) if is_stopping => return Err(End::Stopping),
                    Err(end) => return Err(end),
                },
                message = message(&mut self.member.messages, self.quiet_until), if is_free && self.up.is_some() => {
                    // There is one as long as there is a trunk, which we have ourselves. What waited for a device goes
                    // nowhere once that is cut off.
                    let message = message.filter(|(topic, _)| !self.member.cuts.is_barred(&topic.device));
                    self.outgoing = message.map(|(topic, payload)| Outgoing::Message(topic, payload));
                }
                room = outlet.room(), if !is_free => match self.outgoing.take() {
                    Some(Outgoing::Ack(packet_id)) => outlet.acknowledge(room, packet_id),
                    Some(Outgoing::Message(topic, payload)) => {
                        self.member.door.counters.messages_sent.add();
                        if let Some(pause) = Duration::from_secs(1).checked_div(self.member.settings.publishes_per_s_max) {
                            self.quiet_until = Instant::now() + pause;
                        }
                        outlet.publish(room, &topic, payload);
                    }
                    None => {}
                },
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.member.door.disown(); // what was not handed on is the broker's
                    self.deadline = Instant::now() + self.member.settings.stop_grace;
                }
                () = sleep_until(self.deadline), if is_stopping || self.up.is_none() => {
                    return Err(if is_stopping { End::Stopping } else { End::Down(UNANSWERED.to_owned()) });
                }
            }
        }
    }

    fn arrived(&mut self, arrival: Arrival) -> Result<(), End> {
        let Member { settings, client_id, door, .. } = &mut *self.member;
        match arrival {
            Arrival::Greeted { session_present: true } => {}
            Arrival::Greeted { session_present: false } => {
                door.counters.sessions_lost.add();
                tracing::info!(client_id, "the broker has no session of ours; what it had for us, devices send again");
                door.close_all();
            }
            Arrival::Up => {
                tracing::info!(client_id, host = settings.host, port = settings.port, "connected to the broker");
                door.counters.connections_open.add();
                self.up = Some(Instant::now());
            }
            Arrival::Message(delivery) => self.session.take(delivery, door, settings)?,
            Arrival::Down(reason) => return Err(End::Down(reason)),
        }
        Ok(())
    }

    /// Gives the pipeline as much as it has room for, and has `reserving` wait for the rest.
    fn hand_on(&mut self, reserving: &mut Reserving) -> Result<(), End> {
        let Member { intake, door, .. } = &mut *self.member;
        while reserving.is_none() && door.has_waiting() {
            match intake.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.session.hand_on(door) {
                        permit.send(event);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => *reserving = Some(Box::pin(intake.clone().reserve_owned())),
                Err(mpsc::error::TrySendError::Closed(())) => return Err(End::PipelineGone),
            }
        }
        Ok(())
    }
}

/// The next message to a device, not before `quiet_until`. Cancel safe.
async fn message(messages: &mut Messages, quiet_until: Instant) -> Option<(Topic, Bytes)> {
    if quiet_until > Instant::now() {
        sleep_until(quiet_until).await;
    }
    messages.recv_addressed().await
}

const UNANSWERED: &str = "the broker does not answer our subscription";

async fn permit(reserving: &mut Reserving) -> Permit {
    match reserving {
        Some(permit) => permit.as_mut().await,
        None => pending().await,
    }
}

/// TLS and password as the files say now.
async fn identity(settings: &Settings) -> anyhow::Result<(Option<Arc<ClientConfig>>, Option<String>)> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || read_identity(&settings)).await.context("read the broker's files")?
}

/// The same; blocks.
pub(super) fn read_identity(settings: &Settings) -> anyhow::Result<(Option<Arc<ClientConfig>>, Option<String>)> {
    let tls = settings.tls.as_ref().map(read_tls).transpose()?;
    let password =
        settings.login.as_ref().map(|login| login.password().named_by("broker.password_file")).transpose()?;
    Ok((tls, password))
}

/// Each file alone before all together, so that it is said of its setting what is wrong with it.
fn read_tls(files: &Files) -> anyhow::Result<Arc<ClientConfig>> {
    certs::read_certificates(&files.authority).named_by("broker.authority_file")?;
    if let Some((certificate, key)) = &files.own {
        certs::read_certificates(certificate).named_by("broker.certificate_file")?;
        certs::read_private_key(key).named_by("broker.key_file")?;
    }
    Ok(tls::client_config(files)?)
}
