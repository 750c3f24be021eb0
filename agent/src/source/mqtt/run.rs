//! The connection over time: made, listened to, lost, made again; and what was read, handed over and acknowledged.

use std::sync::Arc;
use std::time::Duration;

use proto::{Instant, Lane};
use rustls::ClientConfig;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::batch::Batch;
use super::link::Link;
use super::packet::{DISCONNECT, PING};
use super::session::Session;
use super::{Settings, link};
use crate::source::device::{Limit, Now};
use crate::source::{BadSetting, Ended, Intake, NotCommitted, Outlet, SourceClock, SourceName, Stopping};

/// How long to wait before connecting again, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A connection that stood so long was a good one: the next wait is a first one.
const STABLE: Duration = Duration::from_secs(10);
/// Bytes read at once.
const PIECE_BYTES: usize = 4_096;
/// How long, once the agent stops, what was handed over may take to be stored, so that it can be acknowledged.
const STOP_TIME: Duration = Duration::from_secs(2);

/// One source: its session, and where its readings go.
pub(super) struct Runner {
    settings: Arc<Settings>,
    session: Session,
    name: SourceName,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
    limit: Limit,
}

/// Why listening ended.
enum Why {
    Stopped,
    Lost(String),
}

impl Runner {
    pub(super) fn new(
        settings: Settings,
        session: Session,
        name: SourceName,
        outlet: Outlet,
        clock: SourceClock,
        stop: CancellationToken,
    ) -> Self {
        Self { settings: Arc::new(settings), session, name, outlet, clock, stop, limit: Limit::default() }
    }

    /// Until it is told to stop.
    ///
    /// # Errors
    /// [`BadSetting`] for files that cannot be used.
    pub(super) async fn run(mut self) -> Result<Ended, BadSetting> {
        let (mut retry, mut told) = (RETRY_MIN, String::new());
        let place = format!("{}:{}", self.settings.host, self.settings.port());
        loop {
            let tls = self.tls().await?;
            let opened = tokio::select! {
                opened = Link::open(&self.settings, tls.as_ref()) => opened,
                () = self.stop.cancelled() => return Ok(Ended::Stopped),
            };
            let began = tokio::time::Instant::now();
            let why = match opened {
                Ok(link) => self.attend(link, &place).await,
                Err(problem) => Why::Lost(problem),
            };
            let Why::Lost(problem) = why else { return Ok(Ended::Stopped) };
            if !self.store_rest().await {
                return Ok(Ended::Stopped);
            }
            if self.session.is_up() && began.elapsed() >= STABLE {
                (retry, told) = (RETRY_MIN, String::new());
            }
            if problem != told {
                warn!(source = %self.name, broker = place, "{place}: {problem}");
                told = problem;
            }
            tokio::select! {
                () = sleep(retry) => {}
                () = self.stop.cancelled() => return Ok(Ended::Stopped),
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// How TLS is set up. The files are read anew for each connection: certificates are renewed.
    async fn tls(&self) -> Result<Option<Arc<ClientConfig>>, BadSetting> {
        let (settings, clock) = (Arc::clone(&self.settings), self.clock.clone());
        // Flash may take its time, and holds up nothing else with it.
        let read = tokio::task::spawn_blocking(move || link::tls(&settings, &clock)).await;
        read.unwrap_or_else(|error| Err(BadSetting::new("authority_file", format!("could not be read: {error}"))))
    }

    /// Listens until the connection is lost, or the agent stops.
    async fn attend(&mut self, mut link: Link, place: &str) -> Why {
        let (mut buffer, mut was_up) = (vec![0; PIECE_BYTES], false);
        self.session.opened(self.now());
        loop {
            match self.settle(&mut link).await {
                Ok(()) => {}
                Err(why) => return why,
            }
            if self.session.is_up() && !std::mem::replace(&mut was_up, true) {
                info!(source = %self.name, broker = place, "listening to {place}");
            }
            let patience = self.patience();
            let heard = tokio::select! {
                heard = timeout(patience, link.read(&mut buffer)) => heard,
                () = self.stop.cancelled() => {
                    let _ = link.write(&DISCONNECT).await;
                    return Why::Stopped;
                }
            };
            let now = self.now();
            let done = match heard {
                Ok(Ok(count)) => self.session.heard(&buffer[..count], now),
                Ok(Err(problem)) => Err(problem),
                Err(_) => self.session.due(now),
            };
            if let Err(problem) = done {
                return Why::Lost(problem);
            }
            if self.limit.patience(tokio::time::Instant::now()).is_some_and(|patience| patience.is_zero())
                && !self.tell_rest(place).await
            {
                return Why::Stopped;
            }
        }
    }

    /// Stores and acknowledges all that has been read, and sends what is to be sent.
    async fn settle(&mut self, link: &mut Link) -> Result<(), Why> {
        while let Some((batch, cursor)) = self.session.take_batch() {
            let mut lost = None;
            self.store(batch, cursor, Some(&mut *link), &mut lost).await?;
            lost.map_or(Ok(()), |problem| Err(Why::Lost(problem)))?;
            self.send(link).await?;
            // There may be more that has come, and did not fit.
            self.session.read_on(self.now()).map_err(Why::Lost)?;
        }
        self.send(link).await
    }

    async fn send(&mut self, link: &mut Link) -> Result<(), Why> {
        let bytes = Zeroizing::new(self.session.take_write()); // a password may be in it
        if bytes.is_empty() { Ok(()) } else { link.write(&bytes).await.map_err(Why::Lost) }
    }

    /// Hands a batch over, and waits until it is stored where the broker is to be told so. A connection that is lost
    /// meanwhile does not end the wait: what the next one brings again is then known to be safe.
    async fn store(
        &mut self,
        batch: Batch,
        cursor: Vec<u8>,
        mut link: Option<&mut Link>,
        lost: &mut Option<String>,
    ) -> Result<(), Why> {
        let (awaited, urgent) = (!batch.acks.is_empty(), batch.is_urgent());
        for mut intake in self.intakes(batch, cursor) {
            intake.urgent = urgent;
            if !awaited {
                if !self.outlet.put_or_stop(intake, &self.stop).await {
                    return Err(Why::Stopped);
                }
                continue;
            }
            let (stored, pings) = self.commit(intake, link.as_deref_mut(), lost).await;
            self.session.pinged(pings);
            if stored.is_err() {
                return Err(Why::Stopped); // its pieces are stored singly, so none can be refused
            }
        }
        self.session.stored(self.now());
        Ok(())
    }

    /// What a batch is handed over as: each is stored at once or not at all, in this order.
    fn intakes(&mut self, batch: Batch, cursor: Vec<u8>) -> Vec<Intake> {
        let mut all = Vec::new();
        if !batch.past.is_empty() {
            // Without the cursor, which stands for what follows too.
            let mut intake = Intake::empty(&self.name, Lane::Backfill);
            intake.samples = batch.past;
            all.push(intake);
        }
        let mut intake = Intake::empty(&self.name, Lane::Live);
        (intake.samples, intake.cursor) = (batch.live, Some(cursor));
        for reject in batch.rejects {
            if let Some(reject) = self.limit.admit(reject, tokio::time::Instant::now()) {
                warn!(source = %self.name, "rejected {}: {}", reject.place, reject.reason);
                intake.rejects.push(reject);
            }
        }
        all.push(intake);
        all
    }

    /// Waits until `intake` is stored, and meanwhile keeps the connection alive. Answers how many pings it took.
    async fn commit(
        &self,
        intake: Intake,
        mut link: Option<&mut Link>,
        lost: &mut Option<String>,
    ) -> (Result<(), NotCommitted>, u32) {
        let (every, mut pings) = (self.session.ping_every(), 0);
        let mut storing = std::pin::pin!(self.outlet.put_committed(intake));
        loop {
            tokio::select! {
                stored = &mut storing => return (stored, pings),
                () = sleep(every) => {
                    if let (Some(link), None) = (link.as_deref_mut(), &lost) {
                        *lost = link.write(&PING).await.err();
                        pings += 1;
                    }
                }
                () = self.stop.cancelled() => break,
            }
        }
        (timeout(STOP_TIME, storing).await.unwrap_or(Err(Stopping.into())), pings)
    }

    /// Stores what was read before the connection was lost. Whether that could be; if not, the agent stops.
    async fn store_rest(&mut self) -> bool {
        while let Some((batch, cursor)) = self.session.take_batch() {
            if self.store(batch, cursor, None, &mut None).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Tells of the rejects that were only counted; whether that was taken.
    async fn tell_rest(&mut self, place: &str) -> bool {
        let Some(reject) = self.limit.rest(place.to_owned()) else { return true };
        let mut intake = Intake::empty(&self.name, Lane::Live);
        intake.rejects.push(reject);
        self.outlet.put_or_stop(intake, &self.stop).await
    }

    fn now(&self) -> Now {
        Now { boot: self.clock.boot(), wall: self.clock.wall() }
    }

    /// How long to wait for bytes: to the session's deadline, or until rejects that were only counted are to be told of.
    fn patience(&self) -> Duration {
        let (Instant(now), Instant(due)) = (self.clock.boot(), self.session.deadline());
        let session = Duration::from_micros(u64::try_from(due.saturating_sub(now)).unwrap_or(0));
        let limit = self.limit.patience(tokio::time::Instant::now());
        limit.map_or(session, |limit| limit.min(session)).max(Duration::from_millis(1))
    }
}
