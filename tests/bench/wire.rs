//! Bytes a reading on the wire, on real readings.

use proto::frame::{Header, Sealed};
use proto::{Frame, Lane, senml};

use crate::Bench;
use crate::data::{CLOCK, EPOCH, Row, Set};
use crate::rivals;
use crate::rounds::float;
use crate::table::{IN_MEMORY, Limit, Measure, Table};

/// A number that an agent reaches within a day at a batch a second: its length on the wire is that of most numbers.
const FIRST_NUMBER: u64 = 40_000;

/// Takes the measures of this group.
///
/// # Errors
/// When something cannot be encoded.
pub(crate) fn measure(_: &Bench, table: &mut Table) -> anyhow::Result<()> {
    one(&Set::cgm(), "wire_cgm_288", Limit::AtMost(1.3), table)?;
    one(&Set::power(), "wire_power_100", Limit::AtMost(2.5), table)
}

fn one(set: &Set, name: &str, limit: Limit, table: &mut Table) -> anyhow::Result<()> {
    let batches = set.batches().count();
    let readings = batches * set.batch;
    let mut numbers = FIRST_NUMBER..;
    let ours = average(set, |rows| Ok(frame(set, rows, numbers.next().unwrap_or(FIRST_NUMBER))?.len()))?;
    let json = average(set, |rows| Ok(serde_json::to_vec(&rivals::json_readings(&set.series, rows))?.len()))?;
    let plain = average(set, |rows| Ok(postcard::to_allocvec(&rivals::plain_rows(&set.series, rows))?.len()))?;
    let pack = average(set, |rows| checked_senml(set, rows))?;
    let note = format!(
        "{readings} readings in {batches} batches of {}, one a frame, frame header included; the others without one; \
         {IN_MEMORY}",
        set.batch
    );
    table.add(&Measure::new(name, ours, "B/reading").against("JSON objects", json).limit(limit).note(note));
    let other = |what: &str, value| {
        Measure::new(format!("{name}.{what}"), value, "B/reading").against("JSON objects", json).note(IN_MEMORY)
    };
    table.add(&other("senml_cbor", pack));
    table.add(&other("postcard_rows", plain));
    Ok(())
}

/// Bytes a reading over all batches of `set`.
fn average(set: &Set, mut size: impl FnMut(&[Row]) -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    let (mut bytes, mut readings) = (0, 0);
    for rows in set.batches() {
        bytes += size(rows)?;
        readings += rows.len();
    }
    Ok(float(bytes) / float(readings))
}

/// What is published for `rows`; it says what went in.
fn frame(set: &Set, rows: &[Row], first: u64) -> anyhow::Result<Vec<u8>> {
    let body = set.body(rows);
    let header = Header { epoch: EPOCH, first, lane: Lane::Backfill, clock: CLOCK };
    let bytes = Frame { header, bodies: vec![Sealed::new(body.encode()?)] }.encode();
    let read = Frame::decode(&bytes)?;
    anyhow::ensure!(proto::Body::decode(&read.bodies[0].body)? == body, "a frame that does not say what went in");
    Ok(bytes)
}

/// The size of a pack that says what went in.
fn checked_senml(set: &Set, rows: &[Row]) -> anyhow::Result<usize> {
    let bytes = rivals::senml(&set.series, rows)?;
    let pack = senml::parse(&bytes, proto::Instant(rows[0].time_us))?;
    anyhow::ensure!(pack.columns == set.body(rows).columns, "a pack that does not say what went in");
    Ok(bytes.len())
}
