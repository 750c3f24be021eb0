//! Records cut into calls, several under way at once, each answer read to the last record.

use std::collections::VecDeque;
use std::time::{Duration, Instant as Moment};

use aws_sdk_timestreamwrite::types::Record as Row;
use tokio::task::JoinSet;

use super::account::Account;
use super::answer::{self, Answer, Outcome};
use super::record;
use super::window::Window;
use crate::store::outbox::jittered;
use crate::store::sink::{Record, Refused, SinkError, Why};

/// Records of one call ("Quotas", Timestream's developer guide).
const RECORDS_MAX: usize = 100;
/// No call is made again this long after the first.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first wait after a throttling or a failure is at most this; it doubles.
const WAIT_FIRST: Duration = Duration::from_millis(50);
/// No wait is longer.
const WAIT_LONGEST: Duration = Duration::from_secs(5);

/// Whether the endpoint is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Valid,
    Invalid,
}

/// Records that go together, by their places.
type Places = Vec<usize>;

/// A write under way.
struct Writing<'a> {
    account: &'a Account,
    records: &'a [Record],
    to_call: VecDeque<Places>,
    calls: JoinSet<(Places, Outcome)>,
    refused: Vec<Refused>,
    /// What Timestream says is not as it must be, each in a call of its own.
    malformed: Vec<(usize, String)>,
    /// Whether any call was answered as it should be.
    is_well: bool,
    /// Failures since the last good answer.
    failures: u32,
}

/// Writes `records`.
pub(super) async fn write(
    account: &Account,
    window: &mut Window,
    records: &[Record],
) -> (Result<Vec<Refused>, SinkError>, Endpoint) {
    let (mut refused, mut fit) = (Vec::new(), Vec::with_capacity(records.len()));
    for (place, record) in records.iter().enumerate() {
        match record::of(record) {
            Ok(_) => fit.push(place),
            Err(reason) => refused.push(Refused { place, why: Why::Never(reason) }),
        }
    }
    let to_call = fit.chunks(RECORDS_MAX).map(<[usize]>::to_vec).collect();
    let (calls, malformed) = (JoinSet::new(), Vec::new());
    let mut writing = Writing { account, records, to_call, calls, refused, malformed, is_well: false, failures: 0 };
    match writing.run(window).await {
        Ok(()) => (writing.end(), Endpoint::Valid),
        Err(Stop::Failed(error)) => (Err(error), Endpoint::Valid),
        Err(Stop::Moved) => {
            (Err(SinkError::Away("Timestream's endpoint is not valid any more".to_owned())), Endpoint::Invalid)
        }
    }
}

/// Why a write ends before its end. Calls under way are given up; what they wrote, is written again.
enum Stop {
    Failed(SinkError),
    Moved,
}

impl Writing<'_> {
    async fn run(&mut self, window: &mut Window) -> Result<(), Stop> {
        let begun = Moment::now();
        loop {
            while self.calls.len() < window.calls()
                && let Some(places) = self.to_call.pop_front()
            {
                self.call(places);
            }
            let Some(ended) = self.calls.join_next().await else { return Ok(()) };
            let away = |error| Stop::Failed(SinkError::Away(format!("a call ended early: {error}")));
            let (places, outcome) = ended.map_err(away)?;
            let why = match answer::of(outcome) {
                Answer::Done(rejected) => {
                    window.answered();
                    (self.is_well, self.failures) = (true, 0);
                    let refused =
                        rejected.into_iter().filter_map(|(at, why)| Some(Refused { place: *places.get(at)?, why }));
                    self.refused.extend(refused);
                    continue;
                }
                Answer::Malformed(words) => {
                    self.cut(places, words);
                    continue;
                }
                Answer::Moved => return Err(Stop::Moved),
                Answer::Unfit(words) => return Err(Stop::Failed(SinkError::Unfit(words))),
                Answer::Throttled => {
                    window.throttled();
                    "Timestream throttles us".to_owned()
                }
                Answer::Again(words) => words,
            };
            if begun.elapsed() > PATIENCE {
                return Err(Stop::Failed(SinkError::Away(why)));
            }
            self.to_call.push_back(places);
            tokio::time::sleep(jittered(WAIT_FIRST.saturating_mul(1 << self.failures.min(10)).min(WAIT_LONGEST))).await;
            self.failures += 1;
        }
    }

    /// Begins a call.
    fn call(&mut self, places: Places) {
        let records: Vec<&Record> = places.iter().filter_map(|place| self.records.get(*place)).collect();
        let (common, rows) = rows(&records);
        let Account { client, database, table, .. } = self.account;
        let call = client.write_records().database_name(database).table_name(table);
        let call = call.common_attributes(common).set_records(Some(rows));
        self.calls.spawn(async move { (places, call.send().await) });
    }

    /// Finds out by halves which record is malformed, for the service does not say.
    fn cut(&mut self, mut places: Places, words: String) {
        if places.len() == 1 {
            self.malformed.extend(places.into_iter().map(|place| (place, words.clone())));
            return;
        }
        let later = places.split_off(places.len() / 2);
        self.to_call.extend([places, later]);
    }

    /// If nothing at all was well, it is not a record that is malformed.
    fn end(mut self) -> Result<Vec<Refused>, SinkError> {
        if let (false, Some((_, words))) = (self.is_well, self.malformed.first()) {
            return Err(SinkError::Unfit(format!(
                "Timestream calls all we send malformed ({words}): is the table right?"
            )));
        }
        let never =
            |(place, words)| Refused { place, why: Why::Never(format!("Timestream calls it malformed: {words}")) };
        self.refused.extend(self.malformed.into_iter().map(never));
        Ok(self.refused)
    }
}

/// What the records of a call share, and the rest of each. All are known to be fit.
fn rows(records: &[&Record]) -> (Row, Vec<Row>) {
    let mut common = record::common();
    let mut rows: Vec<Row> = records.iter().filter_map(|record| record::of(record).ok()).collect();
    let is_one_series =
        records.windows(2).all(|pair| matches!(pair, [left, right] if left.series.key == right.series.key));
    if let (true, Some(first)) = (is_one_series, rows.first_mut()) {
        common.dimensions = first.dimensions.take();
        rows.iter_mut().for_each(|row| row.dimensions = None);
    }
    (common, rows)
}
