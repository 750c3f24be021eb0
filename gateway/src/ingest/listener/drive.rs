//! The waiting of one connected device: for its bytes, for verdicts, for messages to it, for time.
//!
//! All of it happens on the connection's one task. Nothing is read while `receive_max` publishes wait for their verdict or
//! for room in the pipeline, while all connections together hold as much as they may, while the device is over its quota, or
//! while the client does not take its answers; TCP then slows the device down.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use proto::Channel;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::deadlines::Deadlines;
use super::end::End;
use super::envelope;
use super::forbidden;
use super::held::Held;
use super::outbox::Outbox;
use super::packet::{self, PacketError, Version};
use super::quota::{Quota, Taken};
use super::session::Session;
use crate::ingest::{Event, Messages};

/// One connected device's session and what surrounds it.
pub(super) struct Drive<'a> {
    pub(super) shared: &'a Shared,
    pub(super) session: Session,
    /// Bytes read and not yet understood.
    pub(super) inbox: BytesMut,
    pub(super) outbox: Outbox,
    /// Messages to the device; `None` once the pipeline has let go of the link.
    pub(super) link: Option<Messages>,
    pub(super) silence_max: Duration,
    /// When the device was last heard.
    pub(super) heard: Instant,
    held: Held,
    pub(super) quota: Quota,
    /// Until when nothing is read: the device is over its quota.
    paused: Option<Instant>,
    /// Why the connection ends once nothing is held any more: the device has said or sent its last.
    leaving: Option<End>,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        session: Session,
        inbox: BytesMut,
        link: Messages,
        silence_max: Duration,
        quota: Quota,
    ) -> Self {
        Self {
            shared,
            session,
            inbox,
            outbox: Outbox::default(),
            link: Some(link),
            silence_max,
            heard: Instant::now(),
            held: Held::default(),
            quota,
            paused: None,
            leaving: None,
        }
    }

    /// Serves the device until its connection must end, and says why it must.
    pub(super) async fn run(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        kicked: &mut oneshot::Receiver<End>,
        stop: &CancellationToken,
    ) -> Result<Infallible, End> {
        let settings = &self.shared.settings;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut deadlines = Deadlines::new(self.silence_max, Instant::now());
        let mut alarm = Box::pin(sleep_until(deadlines.next(None, Instant::now())));
        loop {
            self.paused = self.paused.filter(|until| *until > Instant::now());
            if !deadlines.is_stopping() {
                self.take_in()?;
            }
            deadlines.pause(self.paused);
            if self.held.is_empty()
                && let Some(end) = self.leaving.take()
            {
                return Err(end);
            }
            let writes = self.outbox.has_work();
            if deadlines.is_stopping() && !writes && self.is_settled() {
                return Err(End::Stopping);
            }
            let reads = !deadlines.is_stopping() && self.has_room();
            let listens = !deadlines.is_stopping() && self.outbox.bytes.len() < settings.write_bytes_max;
            deadlines.reads(reads, Instant::now());
            let write_deadline = self.outbox.deadline(settings.write_deadline);
            let next = deadlines.next(write_deadline, Instant::now());
            if next < alarm.deadline() {
                alarm.as_mut().reset(next); // one that moved on is left to ring early: most never pass
            }
            tokio::select! {
                end = &mut *kicked => return Err(end.unwrap_or(End::Cut)),
                () = stop.cancelled(), if !deadlines.is_stopping() => {
                    deadlines.stop(Instant::now() + settings.stop_grace);
                }
                read = read(&mut reader, &mut self.inbox), if reads => match read {
                    Ok(0) => self.leaving = Some(End::Vanished),
                    Ok(_) => {
                        self.heard = Instant::now();
                        deadlines.heard(self.heard);
                    }
                    Err(error) => self.leaving = Some(error.into()),
                },
                written = self.outbox.write(&mut writer), if writes => written?,
                verdict = self.session.in_flight.next() => {
                    self.session.answer(verdict, &mut self.outbox.bytes)?;
                    self.session.answer_ready(&mut self.outbox.bytes)?;
                }
                place = self.held.room() => self.held.handed_on(place)?,
                message = message(&mut self.link), if listens => self.tell(message),
                () = &mut alarm => match deadlines.passed(write_deadline, Instant::now()) {
                    Some(end) => return Err(end),
                    None => alarm.as_mut().reset(next),
                },
            }
        }
    }

    /// Acts on the packets that are whole, as far as there is room for what they bring.
    fn take_in(&mut self) -> Result<(), End> {
        while self.has_room() {
            let version = self.session.version();
            if version == Version::V5 && forbidden::is_padded(&self.inbox) {
                return Err(PacketError::Malformed(MqttError::MalformedPacket).into());
            }
            let settings = &self.shared.settings;
            let Some(head) = envelope::head(&self.inbox, settings)? else { break };
            let is_refusable = version == Version::V5 && head.is_refusable();
            let is_within = match self.quota.take(head.end, is_refusable, Instant::now()) {
                Taken::Within => true,
                Taken::Refused => false,
                Taken::Until(then) => {
                    self.paused = Some(then);
                    self.session.is_paused(self.shared);
                    break;
                }
            };
            let packet = envelope::next(&mut self.inbox, settings, |first, body| packet::parse(version, first, body))?;
            let Some(packet) = packet else { break };
            match self.session.handle(packet, is_within, self.shared, &mut self.outbox.bytes) {
                Ok(Some(arrival)) => {
                    self.held.hand_on(Event::Arrived(arrival), &self.shared.intake, &self.shared.shares)?;
                }
                Ok(None) => {}
                Err(end @ (End::Left | End::LeftWithWill)) => self.leaving = Some(end),
                Err(end) => return Err(end),
            }
            self.session.answer_ready(&mut self.outbox.bytes)?;
        }
        Ok(())
    }

    /// Nothing that the device has sent waits for the pipeline.
    fn is_settled(&self) -> bool {
        self.held.is_empty() && self.session.in_flight.is_empty()
    }

    /// Whether another packet may be acted on.
    fn has_room(&self) -> bool {
        let settings = &self.shared.settings;
        let receive_max = usize::from(settings.receive_max.max(1));
        self.leaving.is_none()
            && self.paused.is_none()
            && self.held.has_room(receive_max)
            && self.session.in_flight.len() < receive_max
            && self.outbox.bytes.len() < settings.write_bytes_max
    }

    /// A message to the device, or the news that there will be none.
    fn tell(&mut self, message: Option<(Channel, Bytes)>) {
        match message {
            Some((channel, payload)) => {
                self.session.send(channel, &payload, &self.shared.counters, &mut self.outbox.bytes);
            }
            None => self.link = None,
        }
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin), inbox: &mut BytesMut) -> std::io::Result<usize> {
    // A quiet device costs 4 KiB; one that sends frames gets a TLS record's 16 KiB at a time, however large a packet
    // its fixed header has announced.
    inbox.reserve(if inbox.len() > 2 * 1024 { 16 * 1024 } else { 4 * 1024 });
    reader.read_buf(inbox).await
}

async fn message(link: &mut Option<Messages>) -> Option<(Channel, Bytes)> {
    match link {
        Some(link) => link.recv().await,
        None => pending().await,
    }
}
