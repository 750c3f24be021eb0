//! What runs beside the writer on a thread and a connection of its own: it says that this gateway lives, tells the
//! others of commits and hears of theirs, and clears up behind gateways that died.

use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::driver::FEED_END;
use super::settings::Settings;
use crate::store::error::StoreError;
use crate::store::sql::SqlError;
use crate::store::{Place, Tick};
use crate::trouble::Trouble;

/// From one sign of life to the next.
const BEAT_EVERY: Duration = Duration::from_secs(3);
/// From one look at the feed to the next where nothing was heard: what was told while nobody listened.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks, and between two words to others, however much is committed.
const LOOKS_APART: Duration = Duration::from_millis(50);
/// How long an answer may take, and how long a farewell.
const ANSWER: Duration = Duration::from_secs(5);
const FAREWELL: Duration = Duration::from_millis(500);
/// Before the next attempt where the server cannot be reached.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Its commits need not be waited for: nothing that it writes must outlive a crash.
const OPTIONS: &str = "-c lock_timeout=2s -c statement_timeout=5s -c idle_in_transaction_session_timeout=10s \
     -c synchronous_commit=off -c jit=off";

/// This gateway lives. One that was silent for so long that its row is gone enters itself again.
const BEAT: &str = "insert into instance (id, seen) values ($1, clock_timestamp())
     on conflict (id) do update set seen = excluded.seen";
/// A gateway that was silent for 15 s holds no connection of any device. Rows that somebody has locked wait for the next
/// time, and locks are taken in the order in which all take them.
pub(super) const CLEAR: &str = "with silent as (
       select id from instance where seen < clock_timestamp() - interval '15 s'),
     stale as (
       select d.id from device d where d.connected = 1
         and (d.instance is null or not exists (select from instance i where i.id = d.instance
              and i.seen >= clock_timestamp() - interval '15 s'))
       order by d.name limit 10000 for update skip locked),
     gone as (
       delete from instance i using silent where i.id = silent.id and i.seen < clock_timestamp() - interval '1 day')
     update device d set connected = 0 from stale where d.id = stale.id";
/// A gateway that was stopped in the middle of a COPY keeps its locks: the server waits for the rest of the data, and no
/// timeout of its own counts there. Its transaction is ended from outside.
const REAP: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
     where application_name = 'tributary writer' and usename = current_user and datname = current_database()
       and state = 'active' and wait_event = 'ClientRead' and query_start < clock_timestamp() - interval '10 s'";
/// What was told to everybody who goes through the feed long ago.
const FORGET: &str = "delete from commit_feed where (xid, id) in (
       select xid, id from commit_feed where noted < clock_timestamp() - interval '7 days' order by xid, id limit 10000)";

/// The thread, for as long as its writer lives.
pub(super) struct Companion {
    committed: Arc<Notify>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Companion {
    pub(super) fn start(
        settings: Settings,
        instance: i64,
        tick: &Arc<watch::Sender<Tick>>,
    ) -> Result<Self, StoreError> {
        let (committed, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let work = Work { settings, instance, tick: Arc::downgrade(tick), committed: Arc::clone(&committed) };
        let failed = |error: std::io::Error| SqlError::Away(format!("the feed has no thread: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let stopped = stop.clone();
        let run = move || {
            runtime.block_on(work.run(&stopped));
            // Nothing is left to wait for.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("feed".into()).spawn(run).map_err(failed)?;
        Ok(Self { committed, stop, thread: Some(thread) })
    }

    /// Has the others hear that there was a commit.
    pub(super) fn tell(&self) {
        self.committed.notify_one();
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the feed's thread panicked");
        }
    }
}

struct Work {
    settings: Settings,
    instance: i64,
    /// Ends with the writer.
    tick: Weak<watch::Sender<Tick>>,
    committed: Arc<Notify>,
}

impl Work {
    async fn run(self, stop: &CancellationToken) {
        let mut trouble = Trouble::default();
        let heard = Arc::new(Notify::new());
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.settings.connect("tributary feed", OPTIONS, Some(Arc::clone(&heard))) => match ended {
                    Err(error) => Err(error),
                    Ok(client) => tokio::select! {
                        () = stop.cancelled() => return self.part(&client).await,
                        ended = self.attend(&client, &heard, &mut trouble) => ended,
                    },
                },
            };
            if let Err(error) = ended
                && trouble.is_news(&error.to_string(), Instant::now().into_std())
            {
                warn!(%error, "the feed is not followed; it is tried again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(RETRY_AFTER) => {}
            }
        }
    }

    /// Attends to everything, until the connection ends.
    async fn attend(&self, client: &Client, heard: &Notify, trouble: &mut Trouble) -> Result<(), StoreError> {
        answer(client.batch_execute("listen tributary_commit")).await?;
        let (mut beat, mut round) = (Instant::now(), 0_u32);
        while !client.is_closed() {
            if beat <= Instant::now() {
                beat = Instant::now() + BEAT_EVERY;
                self.keep_order(client, round).await?;
                round = round.wrapping_add(1);
            }
            self.look(client, round == 1).await?;
            if let Some(time) = trouble.is_over(Instant::now().into_std()) {
                info!(after_s = time.as_secs(), "the feed is followed again");
            }
            sleep(LOOKS_APART).await;
            tokio::select! {
                () = heard.notified() => self.bump(),
                () = self.committed.notified() => { answer(client.batch_execute("notify tributary_commit")).await?; }
                () = sleep(LOOK_EVERY) => {}
                // Not with the next look: gateways that stand still are given as long as their beats say, and no longer.
                () = sleep_until(beat) => {}
            }
        }
        Ok(())
    }

    /// This gateway ends in good order, and nobody has to wait until that is noticed.
    async fn part(&self, client: &Client) {
        let sql = "update instance set seen = '-infinity' where id = $1";
        let _ = timeout(FAREWELL, client.execute(sql, &[&self.instance])).await;
    }

    /// Looks where the feed ends.
    async fn look(&self, client: &Client, is_first: bool) -> Result<(), StoreError> {
        let row = answer(client.query_opt(FEED_END, &[])).await?;
        let Some((tick, row)) = self.tick.upgrade().zip(row) else { return Ok(()) };
        let end = Place { turn: row.try_get(0)?, reading: row.try_get(1)? };
        tick.send_if_modified(|tick| {
            let is_new = tick.end != end;
            tick.end = end;
            is_new || is_first
        });
        Ok(())
    }

    /// Another gateway has committed something, if only that a device came or went.
    fn bump(&self) {
        if let Some(tick) = self.tick.upgrade() {
            tick.send_modify(|tick| tick.commits += 1);
        }
    }

    async fn keep_order(&self, client: &Client, round: u32) -> Result<(), StoreError> {
        answer(client.execute(BEAT, &[&self.instance])).await?;
        answer(client.execute(CLEAR, &[])).await?;
        let row = answer(client.query_one(REAP, &[])).await?;
        let reaped: i64 = row.try_get(0)?;
        if reaped > 0 {
            info!(reaped, "ended transactions whose gateway does not go on with them");
        }
        if round.is_multiple_of(FORGET_ROUNDS) {
            answer(client.execute(FORGET, &[])).await?;
        }
        Ok(())
    }
}

/// Rounds from one look at what is old to the next.
const FORGET_ROUNDS: u32 = 100;

/// Waits for an answer, but not for ever.
async fn answer<T>(asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    let answer = timeout(ANSWER, asked).await.map_err(|_| SqlError::Late)?;
    Ok(answer.map_err(SqlError::from)?)
}
