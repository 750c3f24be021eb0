//! Anything may happen in any order.

use super::*;
use crate::random::Random;

/// A number below `end`.
fn below(random: &mut Random, end: u64) -> i64 {
    i64::try_from(random.next() % end).unwrap()
}

/// One thing that happens at the site. Answers the name of a new record.
fn happen(world: &World, random: &mut Random, known: &mut Vec<(Kind, String, bool)>) {
    let kinds = [Kind::Entries, Kind::Treatments, Kind::Devicestatus];
    let kind = kinds[usize::try_from(below(random, 3)).unwrap()];
    let mut store = world.site.store();
    store.now_ms += below(random, 60_000);
    // Mostly just now, at times late by some hours.
    let late = if random.once_in(5.0) { below(random, 20 * 3_600_000) } else { 0 };
    let at = store.now_ms - late;
    let body = if kind == Kind::Entries { sgv(40 + u16::try_from(below(random, 300)).unwrap()) } else { note("x") };
    match below(random, 10) {
        0..4 => {
            let id = store.write_v3(kind, at, body);
            known.push((kind, id, true));
        }
        4..7 => {
            let id = store.write_v1(kind, at, body);
            known.push((kind, id, false));
        }
        other => {
            if known.is_empty() {
                return;
            }
            let place = usize::try_from(below(random, known.len() as u64)).unwrap();
            let (kind, id, newer) = known[place].clone();
            let field = if kind == Kind::Entries { "sgv" } else { "notes" };
            if other == 9 && newer {
                store.delete(kind, &id);
                known.remove(place);
            } else {
                store.edit(kind, &id, field, json!(50 + below(random, 200)));
            }
        }
    }
}

/// What the site holds in the end, as readings that count.
fn truth(world: &World) -> BTreeMap<(String, String), Vec<String>> {
    let mut truth = BTreeMap::new();
    for (kind, series) in
        [(Kind::Entries, "glucose"), (Kind::Treatments, "treatment"), (Kind::Devicestatus, "device.status")]
    {
        for record in world.site.store().all(kind).iter().filter(|record| record.get("isValid") != Some(&json!(false)))
        {
            let id = record.get("identifier").or(record.get("_id")).unwrap().as_str().unwrap();
            if kind == Kind::Entries {
                let at = record["date"].as_i64().unwrap() * 1_000;
                truth.insert((series.to_owned(), id.to_owned()), vec![format!("{at} {}", record["sgv"])]);
                truth.insert(("glucose.direction".to_owned(), id.to_owned()), vec![format!("{at} Flat")]);
            } else {
                truth.insert((series.to_owned(), id.to_owned()), vec![record["notes"].to_string()]);
            }
        }
    }
    truth
}

/// What counts of what was taken; of events, only the note in it.
fn counted(world: &World) -> BTreeMap<(String, String), Vec<String>> {
    let mut counted = world.counting();
    for ((series, _), values) in &mut counted {
        if series.starts_with("glucose") {
            continue;
        }
        for value in values {
            let json: serde_json::Value = serde_json::from_str(value.split_once(' ').unwrap().1).unwrap();
            *value = json["notes"].to_string();
        }
    }
    counted
}

#[tokio::test]
async fn whatever_happens_at_the_site_and_on_the_way_each_record_is_there_once_and_as_it_is() {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = given.unwrap_or_else(|| u64::from(std::process::id()));
    for seed in first..first + if given.is_some() { 1 } else { 6 } {
        println!("SEED={seed} repeats this");
        let mut random = Random::new(seed);
        let mut world = World::with_token("");
        let mut known = Vec::new();
        for _ in 0..30 {
            for _ in 0..below(&mut random, 20) {
                happen(&world, &mut random, &mut known);
            }
            for _ in 0..below(&mut random, 3) {
                let none = (0..below(&mut random, 9)).map(|_| Fault::None);
                let fault = match below(&mut random, 6) {
                    0 => Fault::Cut(usize::try_from(below(&mut random, 2_000)).unwrap()),
                    1 => Fault::Status(503, None),
                    2 => Fault::Status(401, None),
                    3 => Fault::Body("[{"),
                    4 => Fault::Status(429, None),
                    _ => Fault::Status(304, None),
                };
                world.site.spoil(none.chain([fault]));
            }
            let _ = world.try_look().await;
            if random.once_in(4.0) {
                world.restart();
            }
        }
        world.site.behave();
        for _ in 0..2 {
            world.try_look().await.unwrap();
        }
        assert_eq!(counted(&world), truth(&world), "SEED={seed}");
        world.assert_once();
    }
}
