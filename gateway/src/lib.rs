//! The gateway: from devices to the stores, from the stores to people.
//!
//! `ingest` and `api` know the store and not each other; [`run`] introduces them, with channels.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use proto::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::audit::Auditor;
use crate::config::Config;
use crate::enrol::{Claims, Desk, Registry};
use crate::ingest::broker::Broker;
use crate::ingest::listener::Listener;
use crate::ingest::pipeline::{Recorder, judge_all};
use crate::ingest::signing::ReceiptKey;
use crate::ingest::totals::Totals;
use crate::store::influx::Influx;
use crate::store::sink::{Sink, SinkError};
use crate::store::{Ledger, Store, SubjectSeed, outbox, postgres, sqlite};

pub mod api;
pub mod audit;
#[cfg(feature = "aws")]
mod aws;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod enrol;
mod half_open;
pub mod ingest;
mod metrics;
mod renewal;
pub mod rollup;
mod seeded;
pub mod store;
pub mod tls;
mod trouble;

/// Events that wait to be judged. Each is at most one publish; connections that find no room are not read meanwhile.
const EVENTS_MAX: usize = 256;

/// How long the store may take at the end for what is to be in the audit trail.
const TRAIL_GRACE: Duration = Duration::from_secs(3);

/// What the pipeline of this process has done.
static TOTALS: Totals = Totals::zero();
/// What the rollups of this process have done.
static ROLLUPS: rollup::Totals = rollup::Totals::zero();

/// Where the gateway can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// MQTT over TLS.
    pub mqtt: std::net::SocketAddr,
    /// Dashboard and API.
    pub http: std::net::SocketAddr,
    /// Whether that is HTTPS.
    pub is_secure: bool,
}

/// Runs the gateway until `stop`: doors close first, then what came in is committed and answered, then the API ends.
/// `ready` is told once all is open.
///
/// # Errors
/// When something cannot be opened, or a part of the gateway ends early.
pub async fn run(config: Config, stop: CancellationToken, ready: impl FnOnce(Addresses)) -> anyhow::Result<()> {
    let claims = Claims::with_grace(config.expired_grace());
    let (tls, _) = renewal::read(&config.listener, &claims)?;
    let http_tls = renewal::read_http(&config.http)?.map(api::Tls::new);
    let subjects: Vec<_> = config.subjects().collect();
    let settings = config.clone();
    // Off the async threads: a server may be slow to answer.
    let opening = tokio::task::spawn_blocking(move || open_store(&settings, &subjects)).await;
    let Store { ledger, others, reader, feed, roller, trail } = opening.context("open the store")??;
    let (auditor, trail_keeper) = keep_trail(&config, trail)?;

    let (events, arriving) = mpsc::channel(EVENTS_MAX);
    let broker = config.broker()?.map(|settings| Broker::new(settings, events.clone()));
    let listener = Listener::bind(config.listener(), tls, Arc::new(identify), events, auditor.clone()).await?;
    let listener = listener.with_claims(claims.clone());
    let http = api::bind(config.http.address).await?;
    let addresses = Addresses { mqtt: listener.local_addr(), http: http.local_addr()?, is_secure: http_tls.is_some() };
    let http = api::Door::new(http, http_tls.clone(), api::Bounds::default());
    let watch =
        renewal::watch(config.listener.clone(), claims.clone(), listener.control(), auditor.clone(), stop.clone());
    let watcher = tokio::spawn(watch);
    let watch = renewal::watch_http(config.http.clone(), http_tls, auditor.clone(), stop.clone());
    let http_watcher = tokio::spawn(watch);
    let receipt_key = config.receipts.as_ref().map(|receipts| ReceiptKey::read(&receipts.key_file)).transpose()?;
    let receipt_key = receipt_key.map(Arc::new);
    let (desk, desk_thread) = open_desk(&config, receipt_key.as_deref(), auditor.clone())?.unzip();
    let registry = Registry::new(config.side()?);
    let enrolment =
        tokio::spawn(enrol::watch::keep(registry, claims, listener.control(), auditor.clone(), now, stop.clone()));
    let broker_counters = broker.as_ref().map(Broker::counters);
    let mut metrics = metrics::of(&TOTALS, &ROLLUPS, auditor.totals(), listener.counters(), broker_counters);
    metrics.extend(metrics::people(&http.counters()));
    let hopeless = CancellationToken::new();
    let start = |ledger: Box<dyn Ledger>| {
        Recorder::spawn_until(ledger, now, &TOTALS, receipt_key.clone(), hopeless.clone())
            .context("start a recorder's thread")
    };
    let (mut recorder, first_thread) = start(ledger)?;
    let mut recorder_threads = vec![first_thread];
    for ledger in others {
        let (another, thread) = start(ledger)?;
        recorder = recorder.and(another);
        recorder_threads.push(thread);
    }

    let stop_rollups = CancellationToken::new();
    let rollups = rollup::keep(roller, config.rollups(), now, &ROLLUPS, stop_rollups.clone());
    let mut rollups = tokio::spawn(rollups);
    let stop_api = CancellationToken::new();
    let mut judge = tokio::spawn(judge_all(arriving, recorder, desk, now));
    let mut doors = tokio::spawn(listener.run(stop.clone()));
    let mut broker = tokio::spawn(behind(broker, stop.clone()));
    let state = api::State::new(reader, feed, metrics, Box::new(|| !TOTALS.store.is_failing()), now);
    let mut api = tokio::spawn(api::serve(http, state, stop_api.clone()));
    info!(mqtt = %addresses.mqtt, http = %addresses.http, "ready");
    ready(addresses);

    tokio::select! {
        biased; // once told to stop, the listener ends at once where nobody is connected, and that is not early
        () = stop.cancelled() => info!("stopping"),
        ended = &mut judge => anyhow::bail!("the pipeline ended early: {ended:?}"),
        ended = &mut doors => anyhow::bail!("the listener ended early: {ended:?}"),
        ended = &mut broker => anyhow::bail!("the door to the broker ended early: {ended:?}"),
        ended = &mut api => anyhow::bail!("the API ended early: {ended:?}"),
        ended = &mut rollups => anyhow::bail!("the rollups ended early: {ended:?}"),
    }
    watcher.await?;
    http_watcher.await?;
    enrolment.await?;
    doors.await?;
    broker.await?;
    // Whoever could be answered has been. What a failing store still holds up is nobody's, and must not hold us up.
    let failures = TOTALS.store_failures.get();
    hopeless.cancel();
    judge.await?;
    tokio::task::spawn_blocking(move || recorder_threads.into_iter().try_for_each(std::thread::JoinHandle::join))
        .await?
        .map_err(|_| anyhow::anyhow!("a recorder's thread panicked"))?;
    // The way to it was the judge's.
    if let Some(thread) = desk_thread {
        tokio::task::spawn_blocking(move || thread.join()).await?.map_err(|_| anyhow::anyhow!("the desk panicked"))?;
    }
    stop_rollups.cancel();
    rollups.await?;
    tokio::task::spawn_blocking(move || trail_keeper.stop(TRAIL_GRACE)).await?;
    stop_api.cancel();
    api.await??;
    if TOTALS.store_failures.get() > failures {
        warn!("stopped while the store took nothing; what was not acknowledged is still with the devices");
    } else {
        info!("everything that came in is committed; stopped");
    }
    Ok(())
}

/// The desk where certificates are asked for, if this gateway has an authority.
fn open_desk(
    config: &Config,
    receipt_key: Option<&ReceiptKey>,
    auditor: Auditor,
) -> anyhow::Result<Option<(Desk, std::thread::JoinHandle<()>)>> {
    let Some(authority) = &config.authority else { return Ok(None) };
    let settings = enrol::desk::Settings {
        authority: enrol::authority::open(authority).context("open the authority that issues certificates")?,
        anchors: enrol::authority::anchors(authority, &config.listener.authority_file)?,
        receipt_key: receipt_key.map(ReceiptKey::public),
    };
    Ok(Some(Desk::open(settings, Registry::new(config.side()?), auditor, now).context("open the desk")?))
}

/// Opens the store that the settings choose, and makes sure that `subjects` are there.
fn open_store(config: &Config, subjects: &[SubjectSeed]) -> anyhow::Result<Store> {
    let of = |subject: &SubjectSeed| format!("set up subject {}", subject.id);
    // First, because it may refuse its settings.
    let sink = config.timeseries.as_ref().map(open_sink).transpose()?;
    let beside = outbox::Settings::default();
    match config.store.kind {
        config::StoreKind::Sqlite => {
            let path = &config.store.path;
            let mut store = sqlite::Store::open(path, now).with_context(|| format!("open store {}", path.display()))?;
            subjects.iter().try_for_each(|subject| store.ensure_subject(subject).with_context(|| of(subject)))?;
            match sink {
                Some(sink) => store.beside(sink, beside, now).context("set the time-series store beside"),
                None => Ok(store.into()),
            }
        }
        config::StoreKind::Postgres => {
            let settings = config.store.postgres.ingest()?;
            let mut store = postgres::Store::open(&settings, now).context("open the store")?;
            subjects.iter().try_for_each(|subject| store.ensure_subject(subject).with_context(|| of(subject)))?;
            match sink {
                Some(sink) => store.beside(sink, beside, now).context("set the time-series store beside"),
                None => Ok(store.into()),
            }
        }
    }
}

/// Opens what the audit trail needs besides the store, and starts writing it.
fn keep_trail(config: &Config, trail: Box<dyn store::audit::Trail>) -> anyhow::Result<(Auditor, audit::Keeper)> {
    let file = config.audit_checkpoints();
    let opening = || {
        let file = file.display();
        format!("open {file} for checkpoints of the audit trail; `audit.checkpoint_file` names it")
    };
    let checkpoints = audit::checkpoint::Checkpoints::open(&file).with_context(opening)?;
    let settings = audit::Settings { keep: config.audit.keep(), ..audit::Settings::default() };
    audit::start(trail, checkpoints, settings, now).context("start the audit trail's thread")
}

/// Prepares to write to the time-series store that the settings choose. It need not be there yet.
fn open_sink(config: &config::TimeSeries) -> anyhow::Result<Box<dyn Sink>> {
    use config::TimeSeries::{Influx1, Influx2, Timestream};
    let sink: Result<Box<dyn Sink>, SinkError> = match config {
        Influx1(influx) => Influx::new(&influx.settings()).map(|sink| Box::new(sink) as _),
        Influx2(influx) => Influx::new(&influx.settings()).map(|sink| Box::new(sink) as _),
        #[cfg(feature = "aws")]
        Timestream(timestream) => {
            store::timestream::Timestream::new(&timestream.settings()).map(|sink| Box::new(sink) as _)
        }
        #[cfg(not(feature = "aws"))]
        Timestream(_) => Err(SinkError::Unfit(
            "this gateway was built without Timestream: build it with `--features aws`, or use InfluxDB".to_owned(),
        )),
    };
    sink.context("prepare the time-series store")
}

/// The door to the broker, if there is one: until `stop` either way.
async fn behind(broker: Option<Broker>, stop: CancellationToken) {
    match broker {
        Some(broker) => broker.run(stop).await,
        None => stop.cancelled().await,
    }
}

/// The device that a certificate names.
fn identify(certificate: &[u8]) -> Result<proto::DeviceId, String> {
    let id = certs::identity::device_id(certificate).map_err(|error| error.to_string())?;
    id.parse().map_err(|error: proto::device::BadDeviceId| error.to_string())
}

/// The one place where the gateway looks at the wall clock.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the shell that passes time in")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Instant(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
