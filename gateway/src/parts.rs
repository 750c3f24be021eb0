//! The parts of a running gateway: how they are introduced to each other, watched, and ended in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::audit;
use crate::config::Config;
use crate::enrol::watch::Told;
use crate::enrol::{self, Claims, Registry};
use crate::ingest::broker::Broker;
use crate::ingest::heart::Heart;
use crate::ingest::listener::Listener;
use crate::ingest::pipeline::{Barrier, Recorder, judge_all};
use crate::ingest::signing::ReceiptKey;
use crate::store::{Ledger, Store};
use crate::{Addresses, ROLLUPS, TOTALS, api, ends, lists, metrics, now, opening, renewal, rollup};

/// Events that wait to be judged. Each is at most one publish; connections that find no room are not read meanwhile.
const EVENTS_MAX: usize = 256;

/// How long the store may take at the end for what is to be in the audit trail.
const TRAIL_GRACE: Duration = Duration::from_secs(3);

type Thread = std::thread::JoinHandle<()>;

/// All that runs, each with the one who ends it.
pub(crate) struct Parts {
    /// Whether the pipeline gets on.
    pub(crate) heart: Arc<Heart>,
    /// They end with the gateway's own token: those who watch files and the registry.
    watchers: Vec<JoinHandle<()>>,
    doors: JoinHandle<()>,
    broker: JoinHandle<()>,
    judge: JoinHandle<()>,
    recorders: Vec<Thread>,
    /// No answer is worth waiting for any more: what a failing store still holds up is given up.
    hopeless: CancellationToken,
    desk: Option<Thread>,
    rollups: JoinHandle<()>,
    stop_rollups: CancellationToken,
    trail: audit::Keeper,
    api: JoinHandle<std::io::Result<()>>,
    stop_api: CancellationToken,
}

impl Parts {
    /// Opens all that `config` names, and starts it.
    pub(crate) async fn start(config: Config, stop: &CancellationToken) -> anyhow::Result<(Self, Addresses)> {
        let claims = Claims::with_grace(config.expired_grace());
        let files = renewal::Files::of(&config);
        let seen = renewal::stamps(&files);
        let (tls, _) = renewal::read(&files, &claims)?;
        let http_tls = renewal::read_http(&config.http)?.map(api::Tls::new);
        let Store { ledger, others, reader, feed, roller, trail } = open_store(&config).await?;
        let (auditor, trail) = opening::trail(&config, trail)?;
        let receipt_key = config.receipts.as_ref().map(|receipts| ReceiptKey::read(&receipts.key_file)).transpose()?;
        let receipt_key = receipt_key.map(Arc::new);
        let cuts = claims.cuts().clone();
        let (desk, desk_thread) = opening::desk(&config, receipt_key.as_deref(), &cuts, auditor.clone())?.unzip();
        let registry = known(&config, &claims).await?;

        let (events, arriving) = mpsc::channel(EVENTS_MAX);
        let broker = config.broker()?.map(|settings| Broker::new(settings, events.clone()).with_cuts(cuts.clone()));
        let intake = events.clone();
        let for_the_heart = events.clone();
        let listener = Listener::bind(config.listener(), tls, Arc::new(identify), events, auditor.clone()).await?;
        let listener = listener.with_claims(claims.clone());
        let http = api::bind(config.http.address).await?;
        let addresses =
            Addresses { mqtt: listener.local_addr(), http: http.local_addr()?, is_secure: http_tls.is_some() };
        let http = api::Door::new(http, http_tls.clone(), api::Bounds::default());
        let mut metrics = metrics::of(
            &TOTALS,
            &ROLLUPS,
            auditor.totals(),
            listener.counters(),
            broker.as_ref().map(Broker::counters),
        );
        metrics.extend(metrics::people(&http.counters()));
        let lists = Arc::new(lists::Counts::default());
        metrics.extend(metrics::lists(&lists, now));
        let ends = ends::of(&config);
        metrics.extend(metrics::ends(&ends, now));
        let told = Told { claims, control: listener.control(), intake, auditor: auditor.clone() };
        let mut watchers = watch(&config, seen, http_tls, registry, told, lists, stop);
        watchers.push(tokio::spawn(ends::keep(ends, stop.clone())));
        let hopeless = CancellationToken::new();
        let ledgers = std::iter::once(ledger).chain(others);
        let barrier = Barrier::new(cuts, auditor);
        let (recorder, recorders) = record(ledgers, receipt_key.as_ref(), &barrier, &hopeless)?;
        let heart = Arc::new(recorder.heart(&for_the_heart, &TOTALS));
        drop(for_the_heart); // the pipeline ends when the doors let go of it

        let (stop_rollups, stop_api) = (CancellationToken::new(), CancellationToken::new());
        let rollups = rollup::keep(roller, config.rollups(), now, &ROLLUPS, stop_rollups.clone());
        let state = api::State::new(reader, feed, metrics, Box::new(|| !TOTALS.store.is_failing()), now);
        let parts = Self {
            heart,
            watchers,
            rollups: tokio::spawn(rollups),
            judge: tokio::spawn(judge_all(arriving, recorder, desk, now)),
            doors: tokio::spawn(listener.run(stop.clone())),
            broker: tokio::spawn(behind(broker, stop.clone())),
            api: tokio::spawn(api::serve(http, state, stop_api.clone())),
            recorders,
            hopeless,
            desk: desk_thread,
            stop_rollups,
            trail,
            stop_api,
        };
        Ok((parts, addresses))
    }

    /// Waits for `stop`.
    ///
    /// # Errors
    /// When a part ends before.
    pub(crate) async fn run_until(&mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            biased; // once told to stop, the listener ends at once where nobody is connected, and that is not early
            () = stop.cancelled() => info!("stopping"),
            ended = &mut self.judge => anyhow::bail!("the pipeline ended early: {ended:?}"),
            ended = &mut self.doors => anyhow::bail!("the listener ended early: {ended:?}"),
            ended = &mut self.broker => anyhow::bail!("the door to the broker ended early: {ended:?}"),
            ended = &mut self.api => anyhow::bail!("the API ended early: {ended:?}"),
            ended = &mut self.rollups => anyhow::bail!("the rollups ended early: {ended:?}"),
        }
        Ok(())
    }

    /// Ends all, after the token that the doors were started with: nobody before the last who brings them something.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        for watcher in self.watchers {
            watcher.await?;
        }
        self.doors.await?;
        self.broker.await?;
        // Whoever could be answered has been. What a failing store still holds up is nobody's, and must not hold us up.
        let failures = TOTALS.store_failures.get();
        self.hopeless.cancel();
        self.judge.await?;
        join("a recorder's thread", self.recorders).await?;
        // The way to it was the judge's.
        join("the desk", self.desk.into_iter().collect()).await?;
        self.stop_rollups.cancel();
        self.rollups.await?;
        tokio::task::spawn_blocking(move || self.trail.stop(TRAIL_GRACE)).await?;
        self.stop_api.cancel();
        self.api.await??;
        if TOTALS.store_failures.get() > failures {
            warn!("stopped while the store took nothing; what was not acknowledged is still with the devices");
        } else {
            info!("everything that came in is committed; stopped");
        }
        Ok(())
    }
}

/// Off the async threads: a server may be slow to answer.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let (config, subjects) = (config.clone(), config.subjects().collect::<Vec<_>>());
    tokio::task::spawn_blocking(move || opening::store(&config, &subjects)).await.context("open the store")?
}

/// Those who see that a certificate, a list or the registry is another than it was.
fn watch(
    config: &Config,
    seen: renewal::Stamps,
    http_tls: Option<api::Tls>,
    registry: Registry,
    told: Told,
    lists: Arc<lists::Counts>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let (auditor, stop) = (|| told.auditor.clone(), || stop.clone());
    let (claims, control) = (told.claims.clone(), told.control.clone());
    vec![
        tokio::spawn(renewal::watch(renewal::Files::of(config), seen, claims, control, auditor(), stop())),
        tokio::spawn(lists::keep(config.clone(), lists, auditor(), now, stop())),
        tokio::spawn(renewal::watch_http(config.http.clone(), http_tls, auditor(), stop())),
        tokio::spawn(enrol::watch::keep(registry, told, now, stop())),
    ]
}

/// The registry, and in `claims` what it says: before anybody is let in.
async fn known(config: &Config, claims: &Claims) -> anyhow::Result<Registry> {
    let (mut registry, claims) = (Registry::new(config.side()?), claims.clone());
    let learn = move || enrol::watch::learn(&mut registry, &claims, now).map(|()| registry);
    tokio::task::spawn_blocking(learn).await?.context("read who is cut off")
}

/// A recorder for all of `ledgers`, each on a thread of its own.
fn record(
    ledgers: impl Iterator<Item = Box<dyn Ledger>>,
    receipt_key: Option<&Arc<ReceiptKey>>,
    barrier: &Barrier,
    hopeless: &CancellationToken,
) -> anyhow::Result<(Recorder, Vec<Thread>)> {
    let (mut all, mut threads) = (None::<Recorder>, Vec::new());
    for ledger in ledgers {
        let (key, barrier) = (receipt_key.cloned(), barrier.clone());
        let (recorder, thread) = Recorder::spawn_until(ledger, now, &TOTALS, key, barrier, hopeless.clone())
            .context("start a recorder's thread")?;
        threads.push(thread);
        all = Some(match all {
            Some(all) => all.and(recorder),
            None => recorder,
        });
    }
    Ok((all.context("the store has nobody who writes")?, threads))
}

/// Waits for `threads`, which end by themselves by now.
async fn join(whose: &'static str, threads: Vec<Thread>) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(Thread::join))
        .await?
        .map_err(|_| anyhow::anyhow!("{whose} panicked"))
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
