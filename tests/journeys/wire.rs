//! How small real readings are on the wire; `make bench` tells the same beside others.

use harness::{data, offered};
use proto::frame::{Header, Sealed};
use proto::{Basis, Body, BootId, Clock, Column, Epoch, Frame, Instant, Kind, Lane, Quality, Reading, Series, Value};

/// Bytes a reading of whole batches of `size`, one a frame, header included.
fn bytes_per_reading(name: &str, unit: &str, rows: &[(i64, f64)], size: usize) -> f64 {
    let clock = Clock { boot: BootId([0x5a; 8]), offset_us: 1_790_000_000_123_456, quality: Quality::Synced };
    let series = Series { name: name.parse().unwrap(), unit: unit.parse().unwrap(), kind: Kind::Gauge };
    let (mut bytes, mut readings) = (0, 0);
    for (number, batch) in (1_000..).zip(rows.chunks_exact(size)) {
        let taken = batch.iter().map(|(time, value)| Reading::new(Instant(*time), Value::Number(*value))).collect();
        let column = Column { series: series.clone(), basis: Basis::Source, readings: taken };
        let body = Body { boot: clock.boot, columns: vec![column] };
        let header = Header { epoch: Epoch([0xe7; 8]), first: number, lane: Lane::Live, clock };
        bytes += Frame { header, bodies: vec![Sealed::new(body.encode().unwrap())] }.encode().len();
        readings += size;
    }
    #[expect(clippy::cast_precision_loss, reason = "some tens of thousands")]
    let average = bytes as f64 / readings as f64;
    average
}

#[test]
fn real_glucose_and_power_take_no_more_bytes_than_promised() {
    let cgm: Vec<(i64, f64)> =
        offered::cgm_rows(&data("cgm.csv.gz")).iter().map(|row| (row.time_us, row.value)).collect();
    let glucose = bytes_per_reading("glucose", "mg/dL", &cgm, 288);
    let power: Vec<(i64, f64)> = data("power.csv.gz")
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap())
        .map(|(second, watts)| (second.parse::<i64>().unwrap() * 1_000_000, watts.parse().unwrap()))
        .collect();
    let power = bytes_per_reading("power.active", "W", &power, 100);
    println!("glucose {glucose:.3}, power {power:.3} bytes a reading");
    assert!(glucose <= 1.3, "{glucose}");
    assert!(power <= 2.5, "{power}");
}
