//! How fast the SQLite store is, beside a bare client that inserts the same rows in the same commits into the same
//! table with the same settings. Run with `cargo run --release --example store_speed`.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss, reason = "it answers a person")]

use std::path::Path;
use std::time::Instant as Moment;

use proto::{
    Basis, Body, BodyHash, BootId, Clock, Column, Epoch, Instant, Kind, Lane, Quality, Reading, Series, Value,
};
use rusqlite::{Connection, params};
use tributary_gateway::store::sqlite::Store;
use tributary_gateway::store::{Batch, Item};

const NOW: i64 = 1_772_323_200_000_000;
const SECOND: i64 = 1_000_000;
const RUNS: usize = 5;

/// How the same readings are cut into batches and commits.
struct Shape {
    name: &'static str,
    series: i64,
    /// Readings of each series in a batch.
    depth: i64,
    batches: i64,
    commit: usize,
    /// Whether the newest batch comes first, so that all others are older than what is there.
    is_backward: bool,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "20 series x 5, 50 batches a commit",
        series: 20,
        depth: 5,
        batches: 4_000,
        commit: 50,
        is_backward: false,
    },
    Shape {
        name: "20 series x 1, 100 batches a commit",
        series: 20,
        depth: 1,
        batches: 20_000,
        commit: 100,
        is_backward: false,
    },
    Shape { name: "the same, newest first", series: 20, depth: 1, batches: 20_000, commit: 100, is_backward: true },
    Shape {
        name: "1 series x 288 (CGM), 16 batches a commit",
        series: 1,
        depth: 288,
        batches: 1_400,
        commit: 16,
        is_backward: false,
    },
    Shape {
        name: "1 reading a batch, 64 batches a commit",
        series: 1,
        depth: 1,
        batches: 100_000,
        commit: 64,
        is_backward: false,
    },
];

impl Shape {
    fn readings(&self) -> i64 {
        self.series * self.depth * self.batches
    }

    fn time(&self, batch: i64, place: i64) -> i64 {
        NOW - (self.batches - batch) * self.depth * SECOND + place * SECOND
    }

    fn value(batch: i64, series: i64, place: i64) -> f64 {
        230.0 + ((batch * 7 + series * 13 + place * 3) % 97) as f64 / 10.0
    }

    fn order(&self) -> Vec<i64> {
        if self.is_backward { (0..self.batches).rev().collect() } else { (0..self.batches).collect() }
    }

    fn batch(&self, number: i64) -> Item {
        let column = |series: i64| Column {
            series: Series {
                name: format!("power.{series}").parse().unwrap(),
                unit: "W".parse().unwrap(),
                kind: Kind::Gauge,
            },
            basis: Basis::Boot,
            readings: (0..self.depth)
                .map(|place| {
                    let value = Value::Number(Self::value(number, series, place));
                    Reading::new(Instant(self.time(number, place)), value)
                })
                .collect(),
        };
        let body = Body { boot: BootId([1; 8]), columns: (0..self.series).map(column).collect() };
        let bytes = body.encode().unwrap();
        Item::Batch(Batch {
            device: "site-1".parse().unwrap(),
            epoch: Epoch([2; 8]),
            number: u64::try_from(number).unwrap() + 1,
            hash: BodyHash::of(&bytes),
            lane: Lane::Backfill,
            clock: Clock { boot: BootId([1; 8]), offset_us: 0, quality: Quality::Synced },
            arrived: Instant(NOW),
            columns: body.columns,
            body: bytes.into(),
        })
    }

    /// Readings per second by the store.
    fn through_store(&self, path: &Path) -> f64 {
        let mut store = Store::open(path, || Instant(NOW)).unwrap();
        let commits: Vec<Vec<Item>> = self
            .order()
            .chunks(self.commit)
            .map(|numbers| numbers.iter().map(|number| self.batch(*number)).collect())
            .collect();
        let start = Moment::now();
        for items in &commits {
            store.writer.record(items).unwrap();
        }
        self.readings() as f64 / start.elapsed().as_secs_f64()
    }

    /// Readings per second by a bare client.
    fn bare(&self, path: &Path) -> f64 {
        drop(Store::open(path, || Instant(NOW)).unwrap());
        let mut db = Connection::open(path).unwrap();
        db.pragma_update(None, "synchronous", "full").unwrap();
        db.pragma_update(None, "cache_size", -16 * 1024).unwrap();
        db.pragma_update(None, "wal_autocheckpoint", 4_000).unwrap();
        let start = Moment::now();
        let mut id = 0_i64;
        for numbers in self.order().chunks(self.commit) {
            let transaction = db.transaction().unwrap();
            let sql =
                "insert into reading (id, tenant, series, time_us, ordinal, value, form, quality, epoch, number, flags)
                       values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
            let mut insert = transaction.prepare_cached(sql).unwrap();
            for &number in numbers {
                for series in 0..self.series {
                    for place in 0..self.depth {
                        id += 1;
                        let (time, value) = (self.time(number, place), Self::value(number, series, place));
                        insert.execute(params![id, 1, series + 1, time, 0, value, 0, 2, 1, number + 1, 0]).unwrap();
                    }
                }
            }
            drop(insert);
            transaction.commit().unwrap();
        }
        let rate = self.readings() as f64 / start.elapsed().as_secs_f64();
        let rows: i64 = db.query_row("select count(*) from reading", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, self.readings());
        rate
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn year() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let mut store = Store::open(&path, || Instant(NOW)).unwrap();
    let shape = Shape { name: "", series: 1, depth: 288, batches: 365, commit: 1, is_backward: false };
    for number in shape.order() {
        store.writer.record(&[shape.batch(number)]).unwrap();
    }
    let mut figures = Vec::new();
    for _ in 0..2 * RUNS {
        let start = Moment::now();
        let deadline = start + std::time::Duration::from_secs(10);
        let excerpt = store.reader.view(deadline, |view| view.excerpt(1, (i64::MIN, i64::MAX), 1_000)).unwrap();
        assert_eq!((excerpt.readings_in_range, excerpt.is_thinned), (105_120, true));
        figures.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
    println!("a year of CGM, 105 120 readings at 1 000 points: {:.1} ms; {rss}", median(figures));
    drop(store);
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("stored: {:.1} bytes a reading", bytes as f64 / 105_120.0);
}

fn main() {
    // On a real disk: the temporary folder is often memory, where a sync costs nothing.
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    // A second argument picks shapes by a part of their name.
    let wanted = std::env::args().nth(2).unwrap_or_default();
    for shape in SHAPES.iter().filter(|shape| shape.name.contains(&wanted)) {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let folder = tempfile::tempdir_in(&base).unwrap();
            ours.push(shape.through_store(&folder.path().join("ours.db")));
            bare.push(shape.bare(&folder.path().join("bare.db")));
        }
        let (ours, bare) = (median(ours), median(bare));
        println!("{}: {ours:.0}/s, bare {bare:.0}/s, ratio {:.2} ({} rows)", shape.name, ours / bare, shape.readings());
    }
    year();
}
