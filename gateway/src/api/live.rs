//! Live views: what was committed, sent to browsers as it happens (server-sent events).
//!
//! One task reads the feed, at most ten times a second and only while somebody looks, and tells all clients. A client
//! that does not keep up is told to read again, so that nobody waits for it and nothing piles up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::sse::{Event as Sent, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::State;
use super::json::{Point, many};
use super::problem::Problem;
use super::query::{Parameters, parse};
use crate::store::Place;
use crate::store::view::{Device, Reading};

/// Clients at once.
const CLIENTS_MAX: usize = 256;
/// Events that wait for a client; one that is further behind is told to read again.
const EVENTS_MAX: usize = 1_024;
/// Series a client may name.
const SERIES_MAX: usize = 1_000;
/// From one look at the feed to the next.
const FEED_EVERY: Duration = Duration::from_millis(100);
/// From one look at the devices to the next: their rows change with each commit.
const DEVICES_EVERY: Duration = Duration::from_secs(1);
/// From one sign of life to the next.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// A view ends after this, and the browser opens it anew: what a forgotten one holds is let go of.
const VIEW_MAX: Duration = Duration::from_secs(3_600);
/// Readings told at once. Where more have come since the last look, clients are told to read again.
const READINGS_MAX: usize = 5_000;

/// Where clients hear from.
pub(super) struct Hub {
    events: broadcast::Sender<Event>,
    clients: Arc<Semaphore>,
    closed: watch::Sender<bool>,
}

#[derive(Clone)]
enum Event {
    Readings { series: i64, device: Arc<str>, data: Arc<str> },
    Device { id: Arc<str>, data: Arc<str> },
    Resync,
}

impl Hub {
    pub(super) fn new() -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        Self { events, clients: Arc::new(Semaphore::new(CLIENTS_MAX)), closed: watch::Sender::new(false) }
    }

    /// Ends all views.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// Reads the feed and tells it, until `stop`.
pub(super) async fn drive(state: &State, stop: &CancellationToken) {
    let mut feed = state.0.feed.clone();
    let mut teller = Teller::new(state);
    loop {
        let devices_due = teller.devices_due;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = feed.changed() => if changed.is_err() { return stop.cancelled().await },
            () = sleep_until(devices_due.unwrap_or_else(Instant::now)), if devices_due.is_some() => {}
        }
        let end = feed.borrow_and_update().end;
        if state.0.live.events.receiver_count() == 0 {
            teller.skip_to(end);
        } else if let Err(problem) = teller.tell(end).await {
            tracing::warn!(?problem, "live views could not be told; they are to read again");
            teller.skip_to(end);
            let _ = state.0.live.events.send(Event::Resync);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FEED_EVERY) => {}
        }
    }
}

/// What is told, and how far.
struct Teller<'a> {
    state: &'a State,
    told: Place,
    /// By series.
    device_of: HashMap<i64, Arc<str>>,
    devices: HashMap<String, Device>,
    devices_looked: Option<Instant>,
    devices_due: Option<Instant>,
}

impl<'a> Teller<'a> {
    fn new(state: &'a State) -> Self {
        let (told, device_of, devices) = (state.0.feed.borrow().end, HashMap::new(), HashMap::new());
        Self { state, told, device_of, devices, devices_looked: None, devices_due: None }
    }

    /// Nobody looks: there is nothing to tell, and nothing to remember.
    fn skip_to(&mut self, end: Place) {
        *self = Self { told: end, ..Self::new(self.state) };
    }

    async fn tell(&mut self, end: Place) -> Result<(), Problem> {
        if end > self.told {
            self.tell_readings().await?;
        }
        if end > self.told {
            // There is more than is told at once.
            self.told = end;
            self.send(Event::Resync);
        }
        match self.devices_looked.map(|looked| looked + DEVICES_EVERY).filter(|due| *due > Instant::now()) {
            Some(due) => self.devices_due = Some(due),
            None => self.tell_devices().await?,
        }
        Ok(())
    }

    async fn tell_readings(&mut self) -> Result<(), Problem> {
        let (after, known) = (self.told, self.device_of.keys().copied().collect::<HashSet<_>>());
        let (readings, told, new) = self
            .state
            .ask(move |view| {
                let (readings, told) = view.readings_after(after, READINGS_MAX)?;
                let unknown: HashSet<i64> = readings.iter().map(|reading| reading.series).collect();
                let mut new = Vec::new();
                for series in unknown.difference(&known) {
                    new.extend(view.device_of(*series)?.map(|device| (*series, Arc::from(device))));
                }
                Ok((readings, told, new))
            })
            .await?;
        self.told = told;
        self.device_of.extend(new);
        let mut by_series: BTreeMap<i64, Vec<Reading>> = BTreeMap::new();
        for reading in readings {
            by_series.entry(reading.series).or_default().push(reading);
        }
        for (series, readings) in by_series {
            let Some(device) = self.device_of.get(&series).cloned() else { continue };
            let points: Vec<Point> = many(readings);
            let data = Arc::from(json!({ "series": series, "points": points }).to_string());
            self.send(Event::Readings { series, device, data });
        }
        Ok(())
    }

    /// Tells which devices are no longer as they were told.
    async fn tell_devices(&mut self) -> Result<(), Problem> {
        let devices = self.state.ask(|view| view.devices()).await?;
        self.devices_looked = Some(Instant::now());
        self.devices_due = None;
        for device in devices {
            if self.devices.get(&device.id) == Some(&device) {
                continue;
            }
            // The first look says all that changed before somebody looked as well: harmless, and nothing is missed.
            if let Ok(data) = serde_json::to_string(&device) {
                self.send(Event::Device { id: Arc::from(&*device.id), data: Arc::from(data) });
            }
            self.devices.insert(device.id.clone(), device);
        }
        Ok(())
    }

    fn send(&self, event: Event) {
        // It fails when nobody looks any more.
        let _ = self.state.0.live.events.send(event);
    }
}

/// What a client wants to hear.
enum Filter {
    All,
    Series(HashSet<i64>),
    Device(String),
}

impl Filter {
    fn read(parameters: &Parameters) -> Result<Self, Problem> {
        match (parameters.text("series"), parameters.text("device")) {
            (None, None) => Ok(Self::All),
            (None, Some(device)) => Ok(Self::Device(device.to_owned())),
            (Some(_), Some(_)) => Err(Problem::parameter("series", "and `device` cannot both be there")),
            (Some(list), None) => {
                let ids = list.split(',').take(SERIES_MAX + 1);
                let read = |id: &str| parse("series", id, "a list of whole numbers with commas between");
                let series = ids.map(read).collect::<Result<HashSet<i64>, _>>()?;
                if series.len() > SERIES_MAX {
                    return Err(Problem::parameter("series", "names more than 1000 series; leave it out for all"));
                }
                Ok(Self::Series(series))
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        match (self, event) {
            (Self::All, _) | (_, Event::Resync) => true,
            (Self::Series(wanted), Event::Readings { series, .. }) => wanted.contains(series),
            (Self::Series(_), Event::Device { .. }) => false,
            (Self::Device(wanted), Event::Readings { device: id, .. } | Event::Device { id, .. }) => **id == **wanted,
        }
    }
}

/// One client's view.
struct Client {
    state: State,
    filter: Filter,
    events: broadcast::Receiver<Event>,
    closed: watch::Receiver<bool>,
    heartbeat: Interval,
    end: Instant,
    _permit: OwnedSemaphorePermit,
}

pub(super) async fn events(
    Shared(state): Shared<State>,
    parameters: Parameters,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let filter = Filter::read(&parameters)?;
    let hub = &state.0.live;
    let permit = hub.clients.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::busy("too many live views are open; close one"))?;
    let mut heartbeat = interval(HEARTBEAT_EVERY);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let client = Client {
        filter,
        events: hub.events.subscribe(),
        closed: hub.closed.subscribe(),
        heartbeat,
        end: Instant::now() + VIEW_MAX,
        _permit: permit,
        state,
    };
    Ok(Sse::new(unfold(client, async |mut client| {
        let event = client.next().await?;
        Some((Ok(event), client))
    })))
}

impl Client {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            tokio::select! {
                biased;
                _ = self.closed.wait_for(|closed| *closed) => return None,
                () = sleep_until(self.end) => return None,
                // The first comes at once: it tells the client that it is heard.
                _ = self.heartbeat.tick() => return Some(heartbeat(self.state.now_us())),
                event = self.events.recv() => match event {
                    Ok(event) if self.filter.wants(&event) => return Some(sent(&event)),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some(sent(&Event::Resync)),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn heartbeat(now_us: i64) -> Sent {
    Sent::default().event("heartbeat").data(json!({ "as_of_us": now_us }).to_string())
}

fn sent(event: &Event) -> Sent {
    match event {
        Event::Readings { data, .. } => Sent::default().event("reading").data(&**data),
        Event::Device { data, .. } => Sent::default().event("device").data(&**data),
        Event::Resync => Sent::default().event("resync").data("{}"),
    }
}
