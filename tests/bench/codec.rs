//! How fast bodies are sealed and read, beside the same readings in JSON and as plain structs.

use std::hint::black_box;
use std::time::Instant;

use proto::Body;

use crate::Bench;
use crate::data::Set;
use crate::rivals::{JsonReading, PlainRows, json_readings, plain_rows};
use crate::rounds::{Compared, alternate, rate};
use crate::table::{Measure, Table};

/// Times that everything is encoded in one round: enough that a round takes long against the clock's steps.
const REPEATS: usize = 20;

/// Takes the measures of this group.
///
/// # Errors
/// When something cannot be encoded or read.
pub fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
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
    let ours = || timed(bench, set, || bodies.iter().try_for_each(|body| Ok(drop(black_box(body.encode()?)))));
    let by_json = || timed(bench, set, || json.iter().try_for_each(|rows| Ok(drop(black_box(serde_json::to_vec(rows)?)))));
    let by_plain =
        || timed(bench, set, || plain.iter().try_for_each(|rows| Ok(drop(black_box(postcard::to_allocvec(rows)?)))));
    let name = format!("codec_{}.encode", set.name);
    add(table, set, &name, "serde_json", &alternate(bench.rounds(), ours, by_json)?);
    add(table, set, &name, "postcard rows", &alternate(bench.rounds(), ours, by_plain)?);
    Ok(())
}

fn decoding(bench: &Bench, set: &Set, table: &mut Table) -> anyhow::Result<()> {
    let encode = |rows| Ok(set.body(rows).encode()?);
    let bodies: Vec<Vec<u8>> = set.batches().map(encode).collect::<anyhow::Result<_>>()?;
    let json = |rows| Ok(serde_json::to_vec(&json_readings(&set.series, rows))?);
    let json: Vec<Vec<u8>> = set.batches().map(json).collect::<anyhow::Result<_>>()?;
    let plain = |rows| Ok(postcard::to_allocvec(&plain_rows(&set.series, rows))?);
    let plain: Vec<Vec<u8>> = set.batches().map(plain).collect::<anyhow::Result<_>>()?;
    let ours = || timed(bench, set, || bodies.iter().try_for_each(|bytes| Ok(drop(black_box(Body::decode(bytes)?)))));
    let by_json = || {
        let read = |bytes: &Vec<u8>| Ok(drop(black_box(serde_json::from_slice::<Vec<JsonReading<'_>>>(bytes)?)));
        timed(bench, set, || json.iter().try_for_each(read))
    };
    let by_plain = || {
        let read = |bytes: &Vec<u8>| Ok(drop(black_box(postcard::from_bytes::<PlainRows<'_>>(bytes)?)));
        timed(bench, set, || plain.iter().try_for_each(read))
    };
    let name = format!("codec_{}.decode", set.name);
    add(table, set, &name, "serde_json", &alternate(bench.rounds(), ours, by_json)?);
    add(table, set, &name, "postcard rows", &alternate(bench.rounds(), ours, by_plain)?);
    Ok(())
}

/// Readings a second of `all`, which goes once through the whole set.
fn timed(bench: &Bench, set: &Set, mut all: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let repeats = bench.size(REPEATS);
    let start = Instant::now();
    for _ in 0..repeats {
        all()?;
    }
    Ok(rate(repeats * set.batches().count() * set.batch, start.elapsed()))
}

fn add(table: &mut Table, set: &Set, name: &str, other: &str, compared: &Compared) {
    let note = format!("batches of {}; {}", set.batch, compared.words());
    table.add(&Measure::new(name, compared.ours, "readings/s").against(other, compared.theirs).note(note));
}
