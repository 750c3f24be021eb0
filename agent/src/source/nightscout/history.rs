//! Reading by order of change: what was written, edited or deleted since, and by whom it may have been overlooked.

use super::Collection;
use super::problem::Problem;
use super::reader::{Halt, Reader, write};
use super::record::Record;
use crate::source::Reject;

/// Changes that are this much older than the newest are asked for again: what two apps write at one moment need not be
/// there in the order of its numbers.
const GUARD_MS: u64 = 5_000;
/// A site refuses to tell from before 2000-01-01.
const FIRST_MS: i64 = 946_684_800_001;
/// The most that a site tells at once.
const PAGE_MAX: usize = 1_000;

impl Collection {
    /// Records to ask for at once: as many as fit the memory of a small device.
    fn page(self) -> usize {
        match self {
            Self::Entries => PAGE_MAX,
            Self::Treatments | Self::Devicestatus => 100,
            Self::Profile => 20,
        }
    }
}

/// One page, and how far it goes.
struct Page {
    records: Vec<(Record, Option<Reject>)>,
    /// All changes up to this are in it, and those before it.
    up_to: u64,
    /// Whether there may be more.
    full: bool,
}

impl Reader {
    /// Hands over what has changed, page by page, each with where to go on.
    pub(super) async fn history(&mut self, collection: Collection) -> Result<(), Halt> {
        let (now_ms, overlap_ms) = (self.site.earliest_ms(), self.overlap_ms);
        let place = self.memory.place(collection);
        // A site that was read by time alone until now: what is not known again from that was written before.
        let by_time_ms = if place.until_ms == 0 { 0 } else { place.until_ms.saturating_sub(overlap_ms) };
        let first_ms = now_ms.saturating_sub(self.history_ms).max(by_time_ms).max(FIRST_MS);
        let mut from = match place.since {
            0 => u64::try_from(first_ms).unwrap_or(0),
            _ => place.guarded(GUARD_MS),
        };
        let mut limit = collection.page();
        loop {
            let Some(page) = self.page(collection, from, &mut limit).await? else { return Ok(()) };
            if page.up_to <= from {
                let problem = "changes that are older than what was asked for".to_owned();
                return Err(Problem::Nonsense { what: collection.word(), problem }.into());
            }
            (from, limit) = (page.up_to, limit.min(collection.page()));
            let full = page.full;
            self.take(collection, page).await?;
            if !full {
                return Ok(());
            }
        }
    }

    /// The changes behind `from`; none where there are none.
    async fn page(&mut self, collection: Collection, from: u64, limit: &mut usize) -> Result<Option<Page>, Halt> {
        let mut most = PAGE_MAX; // beyond it an answer is too long
        loop {
            let endpoint = format!("/api/v3/{}/history/{from}?limit={limit}", collection.word());
            let mut records = match self.site.list(&endpoint, collection, true).await {
                Err(problem) if problem.is_of_size() && *limit > 1 => {
                    (most, *limit) = (*limit - 1, (*limit / 4).max(1));
                    continue;
                }
                listed => listed?,
            };
            let Some(top) = records.iter().filter_map(|(record, _)| record.modified).max() else {
                return self.without_order(collection, records.is_empty());
            };
            let full = records.len() >= *limit;
            let before = records.iter().filter_map(|(record, _)| record.modified).filter(|one| *one < top).max();
            // A full page may end between changes of one moment: those are left to the next one.
            let up_to = match (full, before) {
                (true, Some(before)) => {
                    records.retain(|(record, _)| record.modified.is_none_or(|one| one < top));
                    before
                }
                (true, None) if *limit < most => {
                    *limit = if most == PAGE_MAX { most } else { (*limit + most).div_ceil(2) };
                    continue;
                }
                // That another change of the same moment is so long too is not to be expected.
                (true, None) if *limit == 1 => top,
                (true, None) => {
                    let reason = format!("more than {limit} changes of one moment; the site does not tell the others");
                    let place = format!("{} changed at {top}", collection.word());
                    if let Some((_, reject)) = records.last_mut() {
                        reject.get_or_insert_with(|| Reject::new(place, reason, &[]));
                    }
                    top
                }
                (false, _) => top,
            };
            return Ok(Some(Page { records, up_to, full }));
        }
    }

    /// An answer without any change that can be put in order.
    fn without_order(&self, collection: Collection, empty: bool) -> Result<Option<Page>, Halt> {
        if empty {
            return Ok(None);
        }
        let problem = "changes without `srvModified`".to_owned();
        Err(Problem::Nonsense { what: collection.word(), problem }.into())
    }

    async fn take(&mut self, collection: Collection, page: Page) -> Result<(), Halt> {
        let (mut intake, mut taken) = (self.intake(), Vec::new());
        for (record, reject) in page.records {
            let place = self.memory.place(collection);
            let Some(modified) = record.modified else {
                // Without a place in the order it is no reading. It is rejected once: asked for again, it is known by all that it says.
                let key = u64::from(record.content);
                if !place.has_key(key) {
                    taken.push((key, page.up_to));
                    intake.rejects.extend(reject);
                }
                continue;
            };
            if place.has(record.key, modified) {
                continue;
            }
            taken.push((record.key, modified));
            intake.rejects.extend(reject);
            write(&record, record.change(), modified, &mut intake);
        }
        self.memory.place(collection).moved(page.up_to, taken.into_iter(), GUARD_MS);
        self.hand_over(&mut intake).await
    }
}
