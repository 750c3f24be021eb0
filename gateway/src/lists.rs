//! Revocation lists have an end, and behind it nobody is let in: the one of our own authority is written anew when half its
//! life is over, and of one that this gateway cannot write it is said in time that nobody does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant as Moment, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use certs::authority::CRL_DAYS;
use certs::inspect;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::audit::Auditor;
use crate::audit::entry::{Actor, Detail, Event};
use crate::config::{Config, Lists};
use crate::ingest::totals::Total;
use crate::store::Now;
use crate::trouble::Trouble;

/// How often it is looked whether a list is due. To look costs a word with the file system while nothing has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What could not be renewed is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// That nobody renews a list is said again after so long.
const REMIND_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// How long after half its life a list may still be on its way here, from whoever renews it.
const ON_ITS_WAY_S: i64 = 15 * 60;

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Lists written anew.
    pub(crate) renewed: Total,
    /// Times that it failed.
    pub(crate) failures: Total,
    /// When the first of the listener's lists ends, in seconds since 1970; 0 where it has none that ends.
    ends: AtomicI64,
}

impl Counts {
    /// Seconds until the first of the listener's lists ends, which are less than nothing once it has; none where there is
    /// none that ends.
    pub(crate) fn seconds_left(&self, now_s: i64) -> Option<i64> {
        let ends = self.ends.load(Ordering::Relaxed);
        (ends != 0).then(|| ends.saturating_sub(now_s))
    }
}

/// Keeps the lists in date, until `stop`.
pub(crate) async fn keep(config: Config, counts: Arc<Counts>, auditor: Auditor, now: Now, stop: CancellationToken) {
    let mut keeper = Keeper::new(&config, counts, auditor);
    loop {
        let at = now().0.div_euclid(1_000_000);
        let look = tokio::task::spawn_blocking(move || {
            keeper.look(at, Moment::now());
            keeper
        });
        let Ok(back) = look.await else { return }; // only when the runtime ends
        keeper = back;
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// A file of lists, as it was read last.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    stamp: Option<SystemTime>,
    /// When the first of them has lived half its life, and when the first of them ends.
    half: Option<i64>,
    ends: Option<i64>,
}

impl Seen {
    fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, half: None, ends: None }
    }

    /// Reads the file if it is another than before. Whether it was.
    fn look(&mut self, first_only: bool) -> bool {
        let stamp = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        if stamp == self.stamp && stamp.is_some() {
            return false;
        }
        self.stamp = stamp;
        let lists = certs::read_crls(&self.path).unwrap_or_default();
        let lists = lists.iter().take(if first_only { 1 } else { usize::MAX });
        let facts: Vec<_> = lists.filter_map(|list| inspect::list(list).ok()).collect();
        self.ends = facts.iter().filter_map(|list| list.until).min();
        let half = |list: &inspect::ListFacts| list.until.map(|until| list.from + until.saturating_sub(list.from) / 2);
        self.half = facts.iter().filter_map(half).min();
        true
    }
}

/// Who renews and reminds.
struct Keeper {
    /// The folder of our own authority, and its list; the root's behind it only the root can write.
    own: Option<(PathBuf, Seen)>,
    /// What the listener goes by.
    of_listener: Option<Seen>,
    counts: Arc<Counts>,
    auditor: Auditor,
    /// Whether the list was changed since its authority was asked.
    is_unsure: bool,
    again_at: Option<Moment>,
    reminded: Option<Moment>,
    trouble: Trouble,
}

impl Keeper {
    fn new(config: &Config, counts: Arc<Counts>, auditor: Auditor) -> Self {
        let (own, of_listener) = (config.own_list(), config.lists());
        Self::of(own.as_deref().and_then(Path::parent), of_listener.as_ref().map(Lists::file), counts, auditor)
    }

    fn of(own: Option<&Path>, listener: Option<&Path>, counts: Arc<Counts>, auditor: Auditor) -> Self {
        Self {
            own: own.map(|folder| (folder.to_path_buf(), Seen::new(folder.join("ca.crl")))),
            of_listener: listener.map(|list| Seen::new(list.to_path_buf())),
            counts,
            auditor,
            is_unsure: true,
            again_at: None,
            reminded: None,
            trouble: Trouble::none(),
        }
    }

    fn look(&mut self, now_s: i64, now: Moment) {
        self.renew(now_s, now);
        let Some(seen) = &mut self.of_listener else { return };
        seen.look(false);
        self.counts.ends.store(seen.ends.unwrap_or(0), Ordering::Relaxed);
        let is_late = seen.half.is_some_and(|half| now_s > half.saturating_add(ON_ITS_WAY_S));
        let is_told = self.reminded.is_some_and(|at| now.saturating_duration_since(at) < REMIND_AFTER);
        if !is_late {
            self.reminded = None;
        } else if !is_told {
            self.reminded = Some(now);
            let hours = seen.ends.map_or(0, |ends| ends.saturating_sub(now_s).div_euclid(3_600));
            let file = seen.path.display();
            warn!(%file, hours_left = hours, "a revocation list is past half its life and was not renewed: once it has run out, no device is let in");
        }
    }

    /// Has our own authority write its list, if it is due.
    fn renew(&mut self, now_s: i64, now: Moment) {
        let Some((folder, seen)) = &mut self.own else { return };
        self.is_unsure |= seen.look(true);
        let is_due = seen.half.is_none_or(|half| now_s >= half);
        if self.again_at.is_some_and(|at| now < at) || !(self.is_unsure || is_due) {
            return;
        }
        match renew(folder, now_s) {
            Ok(is_written) => {
                (self.again_at, self.is_unsure) = (None, false);
                self.trouble.is_over(now);
                if is_written {
                    self.counts.renewed.add(1);
                    info!(list = %seen.path.display(), days = CRL_DAYS, "the revocation list was renewed");
                    let detail =
                        Detail::none().text("what", "the revocation list was renewed").number("days", CRL_DAYS);
                    self.auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail);
                }
            }
            Err(error) => {
                self.again_at = Some(now + AGAIN_AFTER);
                self.counts.failures.add(1);
                let why = format!("{error:#}");
                if self.trouble.is_news(&why, now) {
                    error!(error = why, "the revocation list could not be renewed; this is tried again");
                    let what = "the revocation list could not be renewed";
                    let detail = Detail::none().text("what", what).text("why", &why);
                    self.auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail);
                }
            }
        }
    }
}

/// Whether the list of the authority in `folder` was due, and is written anew now.
fn renew(folder: &Path, now_s: i64) -> anyhow::Result<bool> {
    let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(now_s).unwrap_or(0));
    let authority = certs::Authority::open(folder).context("open the authority")?;
    Ok(authority.crl_if_due(CRL_DAYS, now)?)
}

#[cfg(test)]
mod tests;
