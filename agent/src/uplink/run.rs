//! Performs what the session decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::message::{Notice, Receipt};
use proto::{Channel, Clock, DeviceId, Lane, Ranges};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Settings;
use super::forged::Forged;
use super::mqtt::{Arrival, Connection};
use super::outage::{Outage, Said};
use super::reason::Reason;
use super::session::{Event, Session};
use crate::buffer::{Appended, BufferError, Contents, Handle};
use crate::clock::BootClock;
use crate::identity::Tls;
use crate::identity::expired::Comeback;
use crate::identity::receipts::ReceiptKey;
use crate::identity::renewal::{Renewal, Step};
use crate::identity::trust::Trust;

mod sending;

/// How long the last frames may take once the agent is asked to stop.
const LEAVE_GRACE: Duration = Duration::from_secs(3);

/// How often to look whether the clock is better known by now, while nothing is sent.
const CLOCK_LOOK_EVERY: Duration = Duration::from_secs(10);

/// What the sealer tells of each append.
pub type Accepted = (Lane, Appended);

/// Everything that the uplink works with.
pub struct Uplink {
    /// Whose readings they are.
    pub device: DeviceId,
    /// Where they go.
    pub settings: Settings,
    /// With whose certificate.
    pub tls: Tls,
    /// Where they are.
    pub buffer: Handle,
    /// What was in the buffer at start.
    pub contents: Contents,
    /// What receipts must be signed with, if they must.
    pub receipt_key: Option<ReceiptKey>,
    /// What is known of the time.
    pub clock: Arc<BootClock>,
    /// New batches.
    pub accepted: mpsc::Receiver<Accepted>,
}

/// Runs the uplink until `stop`. The network may fail as it likes; only a failing buffer ends the uplink.
///
/// # Errors
/// When the buffer's thread has ended, or a batch cannot be read.
pub async fn run(uplink: Uplink, stop: CancellationToken) -> Result<(), BufferError> {
    let Uplink { device, settings, tls, buffer, contents, receipt_key, clock, accepted } = uplink;
    let session = Session::new(settings.pace, &contents, seed(), Instant::now());
    let (kept, asked_at) = (clock.clock(), clock.now());
    let renewal = Renewal::new(&device, &settings.certificate_file, tls.key(), Trust::of(&settings));
    let (forged, connection) = (Forged::default(), None);
    let comeback = Comeback::new(&device, &settings, &tls, &clock);
    let mut shell = Shell {
        device,
        settings,
        tls,
        buffer,
        clock,
        session,
        connection,
        kept,
        asked_at,
        renewal,
        comeback,
        receipt_key,
        forged,
        outage: Outage::default(),
    };
    shell.run(accepted, stop).await?;
    let forged = shell.forged.rest();
    shell.tell_forged(forged).await?;
    if let Some(connection) = shell.connection {
        connection.leave(LEAVE_GRACE).await;
    }
    info!(unsettled = shell.session.unsettled(), "uplink stopped; what is unsettled stays in the buffer");
    Ok(())
}

/// What performs the session's commands.
struct Shell {
    device: DeviceId,
    settings: Settings,
    tls: Tls,
    buffer: Handle,
    clock: Arc<BootClock>,
    session: Session,
    connection: Option<Connection>,
    /// The clock that the buffer knows.
    kept: Clock,
    /// When the last hello was said, since boot.
    asked_at: proto::Instant,
    renewal: Renewal,
    comeback: Comeback,
    receipt_key: Option<ReceiptKey>,
    forged: Forged,
    outage: Outage,
}

impl Shell {
    async fn run(
        &mut self,
        mut accepted: mpsc::Receiver<Accepted>,
        stop: CancellationToken,
    ) -> Result<(), BufferError> {
        let mut sealer_is_there = true;
        let mut look = tokio::time::interval(CLOCK_LOOK_EVERY);
        loop {
            while let Some(command) = self.session.next_command() {
                self.perform(command).await?;
            }
            let deadline = self.session.deadline();
            tokio::select! {
                // What has arrived comes before the deadline that it may put off: this task may have been held up.
                biased;
                () = stop.cancelled() => return Ok(()),
                news = accepted.recv(), if sealer_is_there => match news {
                    Some((lane, appended)) => self.take_in(lane, appended),
                    None => sealer_is_there = false,
                },
                arrival = next_arrival(&mut self.connection) => self.arrived(arrival).await?,
                // The next try to connect is with it.
                Some(_) = self.comeback.answered() => {}
                _ = look.tick() => {
                    self.keep_clock(self.clock.clock()).await?;
                    self.keep_certificate().await;
                    let forged = self.forged.due(Instant::now());
                    self.tell_forged(forged).await?;
                }
                () = tokio::time::sleep_until(deadline.into()) => self.session.handle_deadline(Instant::now()),
            }
        }
    }

    /// What the sealer stored, and what had to go for it.
    fn take_in(&mut self, lane: Lane, appended: Appended) {
        let Appended { rows, mut began, evicted, gaps } = appended;
        let now = Instant::now();
        if !evicted.is_empty() {
            let lost: Ranges = evicted.iter().flat_map(|rows| gaps.within(rows).collect::<Vec<_>>()).collect();
            warn!(batches = evicted.count(), lost = lost.count(), "buffer full: let go of the oldest batches");
            self.session.handle(Event::Evicted(evicted), now);
        }
        if let Some(rows) = rows {
            self.session.handle(Event::Accepted { rows, lane, began: began.take() }, now);
        }
        if !gaps.is_empty() {
            self.session.handle(Event::Gaps { rows: gaps, began }, now);
        }
    }

    async fn arrived(&mut self, arrival: Arrival) -> Result<(), BufferError> {
        let event = match arrival {
            Arrival::Up => {
                let Settings { host, port, .. } = &self.settings;
                info!(%host, port, failed_before = self.outage.over(), "connected");
                self.tls.connected().await;
                Event::Connected
            }
            Arrival::Down(reason) => {
                self.tell_down(&reason);
                self.connection = None;
                self.tls.failed();
                self.renewal.lost();
                self.comeback.not_connected(reason.is_unwelcome(), Instant::now());
                Event::Lost
            }
            Arrival::Message(Channel::Receipt, payload) => match Receipt::decode(&payload) {
                Ok(receipt) if self.is_forged(&receipt) => {
                    let forged = self.forged.met(Instant::now());
                    self.tell_forged(forged).await?;
                    Event::Heard
                }
                Ok(receipt) => {
                    self.learn_the_time(&receipt).await?;
                    debug!(epoch = %receipt.epoch, ranges = receipt.ranges.len(), "receipt");
                    Event::Receipt(receipt)
                }
                Err(error) => {
                    warn!(%error, "a receipt could not be read; the next hello asks again");
                    Event::Heard
                }
            },
            #[cfg(feature = "seeded-bugs")]
            Arrival::Acknowledged => {
                for rows in self.session.under_way() {
                    self.buffer.forget(rows).await?;
                }
                Event::Heard
            }
            Arrival::Message(Channel::EnrolAnswer, payload) => {
                self.session.handle(Event::Heard, Instant::now());
                let step = self.renewal.answered(&payload, Instant::now()).await;
                self.step(step).await;
                return Ok(());
            }
            Arrival::Message(channel, _) => {
                debug!(channel = channel.path(), "a message that this version does not act on");
                Event::Heard
            }
            Arrival::Heard => Event::Heard,
            Arrival::Left => Event::Left,
        };
        let is_up = matches!(event, Event::Connected);
        self.session.handle(event, Instant::now());
        if is_up {
            self.say_owed_clock();
            // At once: a device may be connected for a short while only, now and then.
            self.keep_certificate().await;
        }
        Ok(())
    }

    /// Says why there is no connection, as loud as that is new.
    pub(super) fn tell_down(&mut self, reason: &Reason) {
        let (host, port) = (&self.settings.host, self.settings.port);
        match self.outage.failed(&reason.to_string(), reason.is_for_good()) {
            Said::Quietly => debug!(%reason, %host, port, "not connected"),
            Said::Once => info!(%reason, %host, port, "not connected"),
            Said::Loudly => warn!(%reason, %host, port, "not connected, again and again; readings are kept here"),
            Said::AsFault => error!(%reason, %host, port, "not connected, nor will it be; readings are kept here"),
        }
    }

    fn is_forged(&self, receipt: &Receipt) -> bool {
        self.receipt_key.as_ref().is_some_and(|key| !key.is_genuine(&self.device, receipt))
    }

    /// Says that so many receipts came which the gateway did not sign, where somebody looks: in the log, and in `status`.
    async fn tell_forged(&mut self, count: Option<u64>) -> Result<(), BufferError> {
        let Some(count) = count else { return Ok(()) };
        error!(
            count,
            "receipts that the gateway did not sign: they free nothing. Is `uplink.receipt_key_file` the gateway's, or does \
             somebody else write to this device?"
        );
        self.buffer.count_forged(count).await
    }

    /// A receipt that answers the last hello has the gateway's time: a device without one, or with a wrong one, takes it
    /// before it sends readings. An older answer, which somebody may have kept, says what the time was.
    async fn learn_the_time(&mut self, receipt: &Receipt) -> Result<(), BufferError> {
        if receipt.nonce.is_some_and(|nonce| self.session.is_last_hello(nonce)) {
            self.clock.learn(self.asked_at, receipt.gateway_time);
            self.keep_clock(self.clock.clock()).await?;
        }
        Ok(())
    }

    /// Has the buffer know the clock too: frames are made of what it knows, and a restart in this boot goes on with it.
    async fn keep_clock(&mut self, clock: Clock) -> Result<(), BufferError> {
        if clock != self.kept {
            let moved_s = clock.offset_us.saturating_sub(self.kept.offset_us) / 1_000_000;
            info!(quality = ?clock.quality, moved_s, "the time of this boot is better known now");
            self.buffer.set_clock(clock).await?;
            self.kept = clock;
            self.say_owed_clock();
        }
        Ok(())
    }

    /// Tells the gateway the time of readings that went out without: again on each connection, for it changes nothing
    /// to be told twice.
    fn say_owed_clock(&mut self) {
        if let Some(clock) = self.clock.owed().filter(|_| self.session.is_connected()) {
            self.send(Channel::Hello, Notice::Clocks(vec![clock]).encode());
        }
    }

    /// Sees to it that this device has a certificate tomorrow too.
    async fn keep_certificate(&mut self) {
        if self.session.is_connected() {
            let step = self.renewal.due(self.clock.wall_clock(), Instant::now()).await;
            self.step(step).await;
        }
    }

    async fn step(&mut self, step: Option<Step>) {
        match step {
            Some(Step::Ask(message)) => self.send(Channel::Enrol, message),
            Some(Step::Reconnect) => {
                if let Some(connection) = self.connection.take() {
                    connection.leave(LEAVE_GRACE).await;
                }
                self.session.handle(Event::Lost, Instant::now());
            }
            None => {}
        }
    }
}

async fn next_arrival(connection: &mut Option<Connection>) -> Arrival {
    match connection {
        Some(connection) => connection.next().await,
        None => std::future::pending().await,
    }
}

/// Jitter and nonces differ from device to device and from start to start.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        warn!("no random numbers from the system; jitter is the same on every device");
    }
    u64::from_be_bytes(bytes)
}
