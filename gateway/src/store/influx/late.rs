//! Readings that are older than what the relational store still has of their time: it cannot tell which ranks of their
//! instants were dealt, so InfluxDB is asked who has them.

use std::collections::HashMap;

use serde::Deserialize;

use super::client::Client;
use crate::store::sink::{Named, Record, Refused, SinkError, Why};

/// Late readings of one series that are asked for at once.
const RECORDS_AT_ONCE: usize = 500;
/// Points in one answer. A span that has more is asked for in halves.
const POINTS_MAX: usize = 50_000;

/// An answer to a query: only what is needed of it.
#[derive(Deserialize)]
struct Found {
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    error: Option<String>,
    #[serde(default)]
    series: Vec<Rows>,
}

#[derive(Deserialize)]
struct Rows {
    values: Vec<(i64, Option<String>, Option<i64>, Option<String>, Option<i64>)>,
}

/// What came at an instant: epoch or hash, number, place.
type Who = (String, Option<i64>, Option<i64>);

/// The late ones of `records` whose instant and rank another reading has, in their order.
pub(super) async fn collisions(client: &Client, records: &[Record]) -> Result<Vec<Refused>, SinkError> {
    let mut by_series: HashMap<i64, Vec<(usize, i64, &Record)>> = HashMap::new();
    for (place, record) in records.iter().enumerate().filter(|(_, record)| record.is_late) {
        // What has no time in nanoseconds is refused for that.
        if let Ok(time_ns) = record.time_ns() {
            by_series.entry(record.series.key).or_default().push((place, time_ns, record));
        }
    }
    let mut collided = Vec::new();
    for late in by_series.values_mut() {
        late.sort_unstable_by_key(|(_, time_ns, _)| *time_ns);
        for some in late.chunks(RECORDS_AT_ONCE) {
            let taken = points(client, some).await?;
            let collides = |(_, time_ns, record): &&(usize, i64, &Record)| {
                taken.get(time_ns).is_some_and(|who| *who != who_is(record))
            };
            collided.extend(some.iter().filter(collides).map(|(place, ..)| *place));
        }
    }
    collided.sort_unstable();
    Ok(collided.into_iter().map(|place| Refused { place, why: Why::Collision }).collect())
}

fn who_is(record: &Record) -> Who {
    let (name, number) = record.carrier.names();
    (name, number.map(u64::cast_signed), Some(i64::from(record.place)))
}

/// Who has which instants among those of `late`, which are of one series and in the order of time.
async fn points(client: &Client, late: &[(usize, i64, &Record)]) -> Result<HashMap<i64, Who>, SinkError> {
    let (mut points, mut to_ask) = (HashMap::new(), vec![late]);
    while let Some(some) = to_ask.pop() {
        let (Some((_, from, record)), Some((_, to, _))) = (some.first(), some.last()) else { continue };
        let found = ask(client, &record.series, *from, *to).await?;
        if found.len() >= POINTS_MAX && some.len() > 1 {
            let (left, right) = some.split_at(some.len() / 2);
            to_ask.extend([right, left]);
        } else {
            points.extend(found);
        }
    }
    Ok(points)
}

async fn ask(client: &Client, series: &Named, from: i64, to: i64) -> Result<Vec<(i64, Who)>, SinkError> {
    let Named { device, name, unit, kind, .. } = series;
    let text = format!(
        "select epoch, number, pack, place from reading where device = {} and quantity = {} and unit = {} and kind = {} \
         and time >= {from} and time <= {to} limit {POINTS_MAX}",
        quoted(device),
        quoted(name),
        quoted(unit),
        quoted(kind),
    );
    let answer = client.query(&text).await?;
    let unclear = |error| SinkError::Away(format!("InfluxDB's answer to a query is unclear: {error}"));
    let found: Found = serde_json::from_slice(&answer).map_err(unclear)?;
    if let Some(error) = found.results.iter().find_map(|result| result.error.as_ref()) {
        return Err(SinkError::Unfit(format!("InfluxDB does not say what it has: {error}")));
    }
    let rows = found.results.into_iter().flat_map(|result| result.series).flat_map(|rows| rows.values);
    Ok(rows
        .map(|(time, epoch, number, pack, place)| (time, (epoch.or(pack).unwrap_or_default(), number, place)))
        .collect())
}

/// A string of InfluxQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
