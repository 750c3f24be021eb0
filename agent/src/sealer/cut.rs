//! From what was gathered to sealed batches: what is too large for a frame is cut.

use proto::body::EncodeError;
use proto::frame::{BODY_BYTES_MAX, Sealed};
use proto::{Body, BootId, Column, SeriesName};

use crate::source::Sample;

/// Why no batch takes `sample`. Asked only where all is to be stored, or nothing.
pub(super) fn refusal(sample: &Sample, boot: BootId) -> Option<EncodeError> {
    let (series, basis, readings) = (sample.series.as_ref().clone(), sample.basis, vec![sample.reading.clone()]);
    Body { boot, columns: vec![Column { series, basis, readings }] }.encode().err()
}

/// Seals `body`, in halves if it is larger than a frame takes; what cannot be sealed even alone is an error of its series.
pub(super) fn seal(body: Body, put: &mut impl FnMut(Result<(u64, Sealed), (SeriesName, EncodeError)>)) {
    let readings = body.readings();
    match body.encode() {
        Ok(bytes) if bytes.len() <= BODY_BYTES_MAX => put(Ok((readings as u64, Sealed::new(bytes)))),
        Err(error) if readings <= 1 => {
            body.columns.into_iter().for_each(|column| put(Err((column.series.name, error.clone()))));
        }
        _ => {
            let (left, right) = halves(body);
            seal(left, put);
            seal(right, put);
        }
    }
}

/// Cuts between columns, or through the only one: order within a series stays.
fn halves(body: Body) -> (Body, Body) {
    let Body { boot, mut columns } = body;
    let right = if columns.len() > 1 {
        columns.split_off(columns.len() / 2)
    } else {
        let cut = |column: &mut Column| Column {
            series: column.series.clone(),
            basis: column.basis,
            readings: column.readings.split_off(column.readings.len() / 2),
        };
        columns.iter_mut().map(cut).collect()
    };
    (Body { boot, columns }, Body { boot, columns: right })
}
