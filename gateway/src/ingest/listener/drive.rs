//! The waiting of one connected device: for its bytes, for verdicts, for messages to it, for time.
//!
//! All of it happens on the connection's one task. Nothing is read while the pipeline has no room, while `receive_max`
//! publishes wait for their verdict, or while the client does not take its answers; TCP then slows the device down.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::Channel;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::outbox::Outbox;
use super::packet;
use super::session::{End, Session};
use crate::ingest::{Event, Intake};

/// One connected device's session and what surrounds it.
pub(super) struct Drive<'a> {
    pub(super) shared: &'a Shared,
    pub(super) session: Session,
    /// Bytes read and not yet understood.
    pub(super) inbox: BytesMut,
    pub(super) outbox: Outbox,
    /// Messages to the device; `None` once the pipeline has let go of the link.
    pub(super) link: Option<mpsc::Receiver<(Channel, Bytes)>>,
    pub(super) silence_max: Duration,
    intake: Waiting,
}

/// An event for which the intake has no room yet.
type Waiting = Option<(Event, Pin<Box<dyn Future<Output = Permit> + Send>>)>;
type Permit = Result<mpsc::OwnedPermit<Event>, mpsc::error::SendError<()>>;

impl<'a> Drive<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        session: Session,
        inbox: BytesMut,
        link: mpsc::Receiver<(Channel, Bytes)>,
        silence_max: Duration,
    ) -> Self {
        Self { shared, session, inbox, outbox: Outbox::default(), link: Some(link), silence_max, intake: None }
    }

    /// Serves the device until its connection must end, and says why it must.
    pub(super) async fn run(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        kicked: &mut oneshot::Receiver<End>,
        stop: &CancellationToken,
    ) -> End {
        match self.serve(stream, kicked, stop).await {
            Ok(()) => End::Stopping,
            Err(end) => end,
        }
    }

    async fn serve(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        kicked: &mut oneshot::Receiver<End>,
        stop: &CancellationToken,
    ) -> Result<(), End> {
        let settings = &self.shared.settings;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut heard = Instant::now();
        let mut read_before = false;
        let mut stop_deadline = None;
        let mut alarm = Box::pin(sleep_until(heard + self.silence_max));
        loop {
            if stop_deadline.is_none() {
                self.take_in()?;
            }
            let writes = self.outbox.has_work();
            if stop_deadline.is_some() && !writes && self.intake.is_none() && self.session.in_flight.is_empty() {
                return Ok(());
            }
            let reads = stop_deadline.is_none() && self.has_room();
            let listens = stop_deadline.is_none() && self.outbox.bytes.len() < settings.write_bytes_max;
            if reads && !read_before {
                heard = Instant::now(); // who was not listened to was not silent
            }
            read_before = reads;
            let silence = reads.then(|| heard + self.silence_max);
            let deadline =
                [silence, self.outbox.deadline(settings.write_deadline), stop_deadline].into_iter().flatten().min();
            // The alarm may ring early and is then set again: most deadlines move on long before they pass.
            if let Some(deadline) = deadline.filter(|deadline| *deadline < alarm.deadline()) {
                alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                end = &mut *kicked => return Err(end.unwrap_or(End::Cut)),
                () = stop.cancelled(), if stop_deadline.is_none() => {
                    stop_deadline = Some(Instant::now() + settings.stop_grace);
                }
                read = read(&mut reader, &mut self.inbox), if reads => {
                    if read? == 0 {
                        return Err(End::Vanished);
                    }
                    heard = Instant::now();
                }
                written = self.outbox.write(&mut writer), if writes => written?,
                verdict = self.session.in_flight.next() => {
                    self.session.answer(verdict, &mut self.outbox.bytes)?;
                    self.session.answer_ready(&mut self.outbox.bytes)?;
                }
                permit = permit(&mut self.intake) => {
                    let event = self.intake.take().map(|(event, _)| event);
                    if let (Ok(permit), Some(event)) = (permit, event) {
                        permit.send(event);
                    } else {
                        return Err(End::Stopping); // the pipeline is gone
                    }
                }
                message = message(&mut self.link), if listens => match message {
                    Some((channel, payload)) => {
                        self.session.send(channel, &payload, &self.shared.counters, &mut self.outbox.bytes);
                    }
                    None => self.link = None,
                },
                () = &mut alarm => {
                    let now = Instant::now();
                    if stop_deadline.is_some_and(|at| at <= now) {
                        return Ok(());
                    }
                    if self.outbox.deadline(settings.write_deadline).is_some_and(|at| at <= now) {
                        return Err(End::Slow);
                    }
                    if silence.is_some_and(|at| at <= now) {
                        return Err(End::Silent);
                    }
                    alarm.as_mut().reset(deadline.unwrap_or(now + self.silence_max));
                }
            }
        }
    }

    /// Acts on the packets that are whole, as far as there is room for what they bring.
    fn take_in(&mut self) -> Result<(), End> {
        while self.has_room() {
            let version = self.session.version();
            let settings = &self.shared.settings;
            let packet = packet::next(&mut self.inbox, settings, |first, body| packet::parse(version, first, body))?;
            let Some(packet) = packet else { break };
            let arrival = self.session.handle(packet, &self.shared.counters, &mut self.outbox.bytes)?;
            if let Some(arrival) = arrival {
                self.hand_on(Event::Arrived(arrival))?;
            }
            self.session.answer_ready(&mut self.outbox.bytes)?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let settings = &self.shared.settings;
        self.intake.is_none()
            && self.session.in_flight.len() < usize::from(settings.receive_max.max(1))
            && self.outbox.bytes.len() < settings.write_bytes_max
    }

    /// Gives `event` to the pipeline, or keeps it until there is room. At most one is kept.
    fn hand_on(&mut self, event: Event) -> Result<(), End> {
        let intake: &Intake = &self.shared.intake;
        match intake.try_send(event) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(event)) => {
                // One place in the queue for as long as it takes, so that no other connection overtakes for ever.
                self.intake = Some((event, Box::pin(intake.clone().reserve_owned())));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Stopping),
        }
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin), inbox: &mut BytesMut) -> std::io::Result<usize> {
    // A quiet device costs 4 KiB; one that sends frames gets a TLS record's 16 KiB at a time, however large a packet
    // its fixed header has announced.
    inbox.reserve(if inbox.len() > 2 * 1024 { 16 * 1024 } else { 4 * 1024 });
    reader.read_buf(inbox).await
}

async fn permit(waiting: &mut Waiting) -> Permit {
    match waiting {
        Some((_, permit)) => permit.as_mut().await,
        None => pending().await,
    }
}

async fn message(link: &mut Option<mpsc::Receiver<(Channel, Bytes)>>) -> Option<(Channel, Bytes)> {
    match link {
        Some(link) => link.recv().await,
        None => pending().await,
    }
}
