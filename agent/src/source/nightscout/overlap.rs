//! Reading by time: what is not in the order of change, looked for again and again over a while.

use proto::Change;

use super::memory::News;
use super::reader::{Halt, Reader, is_full, write};
use super::record::Record;
use super::{Collection, dates};
use crate::source::{Intake, Reject};

/// Records to ask for at once.
const COUNT: usize = 1_000;
/// Profiles: the newest, whenever they began.
const PROFILES: usize = 20;
/// How far back of the newest record each look goes; only the sweeps go over all of the overlap.
const SHORT_MS: i64 = 30 * 60_000;
/// Time that is asked for at once: at first, and at least.
const SLICE_MS: i64 = 24 * 3_600_000;
const SLICE_MS_MIN: i64 = 1_000;

/// What is asked for: from a time on, and to before another where that is not all that follows.
#[derive(Clone, Copy)]
struct Slice {
    from_ms: i64,
    to_ms: Option<i64>,
}

impl Slice {
    fn endpoint(self, collection: Collection) -> String {
        let (field, time): (_, fn(i64) -> String) = match collection {
            Collection::Profile => return format!("/api/v1/profile.json?count={PROFILES}"),
            Collection::Entries => ("date", |ms| ms.to_string()),
            Collection::Treatments | Collection::Devicestatus => ("created_at", dates::iso),
        };
        let from = format!("find%5B{field}%5D%5B$gte%5D={}", time(self.from_ms));
        let to = self.to_ms.map(|to| format!("&find%5B{field}%5D%5B$lt%5D={}", time(to))).unwrap_or_default();
        format!("/api/v1/{}.json?{from}{to}&count={COUNT}", collection.word())
    }
}

impl Reader {
    /// Hands over what was not taken yet. With `newer`, what is in the order of change is left to [`Self::history`].
    pub(super) async fn overlap(&mut self, collection: Collection, newer: bool, sweep: bool) -> Result<(), Halt> {
        let now_ms = self.site.latest_ms();
        let mut from_ms = self.begin(collection, sweep);
        // What was read lately is little; the first look may go back for years.
        let is_first = self.memory.place(collection).until_ms == 0;
        let mut length = if is_first { SLICE_MS } else { now_ms.saturating_sub(from_ms).max(SLICE_MS) };
        loop {
            let to_ms = from_ms.saturating_add(length);
            let slice =
                Slice { from_ms, to_ms: (to_ms < now_ms && collection != Collection::Profile).then_some(to_ms) };
            let listed = self.site.list(&slice.endpoint(collection), collection, false).await;
            let can_shrink = length > SLICE_MS_MIN && collection != Collection::Profile;
            let is_too_much = match &listed {
                Ok(records) => records.len() >= COUNT,
                Err(problem) => problem.is_of_size(),
            };
            if is_too_much && can_shrink {
                length = (length / 4).max(SLICE_MS_MIN);
                continue;
            }
            let mut records = listed?;
            if is_too_much && let Some((_, reject)) = records.last_mut() {
                let reason = format!("more than {COUNT} records of one moment; the site does not tell the others");
                reject.get_or_insert_with(|| Reject::new(collection.word().to_owned(), reason, &[]));
            }
            let few = records.len() < COUNT / 4;
            self.take_by_time(collection, slice, records, newer).await?;
            let Some(to_ms) = slice.to_ms else { break };
            from_ms = to_ms;
            length = if few { length.saturating_mul(4) } else { length };
        }
        // Where nothing was found, it need not all be looked at again.
        let empty_ms = self.site.earliest_ms().saturating_sub(self.overlap_ms);
        let place = self.memory.place(collection);
        place.until_ms = if place.until_ms == 0 { empty_ms } else { place.until_ms };
        Ok(())
    }

    /// Where to read from.
    fn begin(&mut self, collection: Collection, sweep: bool) -> i64 {
        let back = if sweep { self.overlap_ms } else { SHORT_MS.min(self.overlap_ms) };
        let first_ms = self.site.earliest_ms().saturating_sub(self.history_ms);
        let place = self.memory.place(collection);
        if place.until_ms == 0 {
            place.floor_ms = place.floor_ms.max(first_ms);
            return place.floor_ms;
        }
        place.until_ms.saturating_sub(back).max(place.floor_ms)
    }

    async fn take_by_time(
        &mut self,
        collection: Collection,
        slice: Slice,
        mut records: Vec<(Record, Option<Reject>)>,
        newer: bool,
    ) -> Result<(), Halt> {
        let now_ms = self.site.latest_ms();
        records.sort_by_key(|(record, _)| record.at_ms);
        let mut intake = self.intake();
        let mut newest_ms = 0;
        for (record, reject) in records {
            // A record is found again where the site files it, whatever its own text makes of that.
            let at_ms = record.at_ms.unwrap_or(slice.to_ms.unwrap_or(now_ms)).max(slice.from_ms);
            // A record of a time to come must not hide those of now.
            newest_ms = if at_ms <= now_ms { newest_ms.max(at_ms) } else { newest_ms };
            let place = self.memory.place(collection);
            if record.modified.is_some_and(|modified| newer || modified <= place.since) {
                continue;
            }
            let (news, revision) = place.news(&record);
            if news != News::Known {
                place.note(&record, at_ms, revision);
                tell(&record, reject, news, revision, &mut intake);
            }
            if is_full(&intake) {
                place.forget_before(i64::MIN); // a cursor has its bounds in the middle too
                self.hand_over(&mut intake).await?;
            }
        }
        let overlap_ms = self.overlap_ms;
        let place = self.memory.place(collection);
        place.until_ms = place.until_ms.max(newest_ms);
        let keep_ms =
            if collection == Collection::Profile { i64::MIN } else { place.until_ms.saturating_sub(overlap_ms) };
        place.forget_before(keep_ms);
        self.hand_over(&mut intake).await
    }
}

/// A record that counts its changes may have been told before, by their order.
fn tell(record: &Record, reject: Option<Reject>, news: News, revision: u64, intake: &mut Intake) {
    intake.rejects.extend(reject);
    let change = match (record.valid, news) {
        (_, News::New) if record.modified.is_some() => record.change(),
        (false, News::New) => return, // gone before it was ever seen
        (false, _) => Change::Retract,
        (true, News::New) => Change::Add,
        (true, _) => Change::Replace,
    };
    write(record, change, revision, intake);
}
