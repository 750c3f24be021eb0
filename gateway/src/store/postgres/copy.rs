//! Readings as binary COPY takes them (PostgreSQL 15 manual, COPY, "Binary Format").

use bytes::{BufMut, Bytes, BytesMut};

use super::cells::put_text;
use crate::store::ledger::{TENANT, to_sql, value};
use crate::store::sql::{ReadingRow, Run, SqlError};

/// The statement that takes them.
pub(super) const COPY: &str = "copy reading (id, tenant, series, time_us, ordinal, value, form, code, text, quality,
      utc_offset_minutes, local_text, epoch, number, flags) from stdin (format binary)";
const COLUMNS: i16 = 15;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Bytes of one message: large enough that its head does not count, small enough to be sent while the next is filled.
const CHUNK_BYTES: usize = 128 * 1024;
/// Most rows are shorter.
const ROW_BYTES: usize = 256;

/// Readings that are to be copied.
#[derive(Default)]
pub(super) struct Rows {
    full: Vec<Bytes>,
    chunk: BytesMut,
    rows: u64,
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn add(&mut self, run: &Run, row: &ReadingRow<'_>) -> Result<(), SqlError> {
        if self.chunk.len() + ROW_BYTES > CHUNK_BYTES {
            self.full.push(self.chunk.split().freeze());
        }
        if self.chunk.capacity() < ROW_BYTES {
            self.chunk.reserve(CHUNK_BYTES);
        }
        if self.rows == 0 {
            self.chunk.put_slice(HEADER);
        }
        self.rows += 1;
        let out = &mut self.chunk;
        let escaped = row.text.and_then(|text| value::escaped(row.form, text));
        let (form, text) = escaped.as_ref().map_or((row.form, row.text), |(form, text)| (*form, Some(&**text)));
        let (epoch, number) = run.batch.map(|(epoch, number)| (epoch, to_sql(number))).unzip();
        out.put_i16(COLUMNS);
        int8(out, Some(row.id));
        int4(out, TENANT)?;
        int8(out, Some(run.series));
        int8(out, Some(row.time_us));
        int4(out, row.ordinal)?;
        match row.value {
            Some(value) => {
                out.put_i32(8);
                out.put_f64(value);
            }
            None => out.put_i32(NULL),
        }
        int2(out, Some(form))?;
        int8(out, row.code);
        put_nullable(out, text)?;
        int2(out, Some(run.quality))?;
        int2(out, row.utc_offset_minutes.map(i64::from))?;
        put_nullable(out, row.local_text)?;
        int8(out, epoch);
        int8(out, number);
        int2(out, Some(row.flags))
    }

    /// All messages, and how many rows they hold.
    pub(super) fn finish(mut self) -> (Vec<Bytes>, u64) {
        self.chunk.put_i16(-1);
        self.full.push(self.chunk.freeze());
        (self.full, self.rows)
    }
}

/// The length of a field that is null.
const NULL: i32 = -1;

fn int8(out: &mut BytesMut, number: Option<i64>) {
    match number {
        Some(number) => {
            out.put_i32(8);
            out.put_i64(number);
        }
        None => out.put_i32(NULL),
    }
}

fn int4(out: &mut BytesMut, number: i64) -> Result<(), SqlError> {
    out.put_i32(4);
    out.put_i32(i32::try_from(number).map_err(|_| too_large("int4"))?);
    Ok(())
}

fn int2(out: &mut BytesMut, number: Option<i64>) -> Result<(), SqlError> {
    let Some(number) = number else {
        out.put_i32(NULL);
        return Ok(());
    };
    out.put_i32(2);
    out.put_i16(i16::try_from(number).map_err(|_| too_large("int2"))?);
    Ok(())
}

fn put_nullable(out: &mut BytesMut, text: Option<&str>) -> Result<(), SqlError> {
    let Some(text) = text else {
        out.put_i32(NULL);
        return Ok(());
    };
    let start = out.len();
    out.put_i32(0);
    put_text(text, out);
    let length = i32::try_from(out.len() - start - 4).map_err(|_| too_large("text"))?;
    if let Some(head) = out.get_mut(start..start + 4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn too_large(kind: &str) -> SqlError {
    SqlError::Misfit(format!("a value of a reading is too large for {kind}"))
}
