//! How fast bodies are sealed and read, beside the same readings in JSON and as plain structs.

use std::hint::black_box;
use std::time::Instant;

use proto::Body;

use crate::Bench;
use crate::data::Set;
use crate::rivals::{JsonReading, PlainRows, json_readings, plain_rows};
use crate::rounds::{Compared, alternate, rate};
use crate::table::{IN_MEMORY, Measure, Table};

/// Times that everything is encoded in one round: enough that a round takes long against the clock's steps.
const REPEATS: usize = 20;

/// Takes the measures of this group.
///
/// # Errors
/// When something cannot be encoded or read.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    for set in [Set::cgm(), Set::power()] {
        encoding(bench, &set, table)?;
        decoding(bench, &set, table)?;
    }
    Ok(())
}

fn encoding(bench: &Bench, set: &Set, table: &mut Table) -> anyhow::Result<()> {
    let bodies: Vec<Body> = set.batches().map(|rows| set.body(rows)).collect();
    let json: Vec<_> = set.batches().map(|rows| json_readings(&set.series, rows)).collect();
    let plain: Vec<_> = set.batches().map(|rows| plain_rows(&set.series, rows)).collect();
    let ours = || timed(bench, set, &bodies, |body| Ok(body.encode()?));
    let by_json = || timed(bench, set, &json, |rows| Ok(serde_json::to_vec(rows)?));
    let by_plain = || timed(bench, set, &plain, |rows| Ok(postcard::to_allocvec(rows)?));
    let compared = (alternate(bench.rounds(), ours, by_json)?, alternate(bench.rounds(), ours, by_plain)?);
    add(table, set, "encode", &compared);
    Ok(())
}

fn decoding(bench: &Bench, set: &Set, table: &mut Table) -> anyhow::Result<()> {
    let sealed = |rows| Ok(set.body(rows).encode()?);
    let sealed: Vec<Vec<u8>> = set.batches().map(sealed).collect::<anyhow::Result<_>>()?;
    let json = |rows| Ok(serde_json::to_vec(&json_readings(&set.series, rows))?);
    let json: Vec<Vec<u8>> = set.batches().map(json).collect::<anyhow::Result<_>>()?;
    let plain = |rows| Ok(postcard::to_allocvec(&plain_rows(&set.series, rows))?);
    let plain: Vec<Vec<u8>> = set.batches().map(plain).collect::<anyhow::Result<_>>()?;
    let ours = || timed(bench, set, &sealed, |bytes| Ok(Body::decode(bytes)?));
    let by_json = || timed(bench, set, &json, |bytes| Ok(serde_json::from_slice::<Vec<JsonReading<'_>>>(bytes)?));
    let by_plain = || timed(bench, set, &plain, |bytes| Ok(postcard::from_bytes::<PlainRows<'_>>(bytes)?));
    let compared = (alternate(bench.rounds(), ours, by_json)?, alternate(bench.rounds(), ours, by_plain)?);
    add(table, set, "decode", &compared);
    Ok(())
}

/// Readings a second of `act` on every batch of the set.
fn timed<'a, T, U>(
    bench: &Bench,
    set: &Set,
    batches: &'a [T],
    act: impl Fn(&'a T) -> anyhow::Result<U>,
) -> anyhow::Result<f64> {
    let repeats = bench.size(REPEATS);
    let start = Instant::now();
    for batch in std::iter::repeat_n(batches, repeats).flatten() {
        black_box(act(batch)?);
    }
    Ok(rate(repeats * batches.len() * set.batch, start.elapsed()))
}

fn add(table: &mut Table, set: &Set, act: &str, (json, plain): &(Compared, Compared)) {
    let name = format!("codec_{}.{act}", set.name);
    for (name, other, compared) in [(name.clone(), "serde_json", json), (name + ".vs_postcard", "postcard rows", plain)]
    {
        let note = format!("batches of {}; {}; {IN_MEMORY}", set.batch, compared.words());
        table.add(&Measure::new(name, compared.ours, "readings/s").against(other, compared.theirs).note(note));
    }
}
