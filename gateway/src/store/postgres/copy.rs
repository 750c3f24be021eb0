//! Readings as binary COPY takes them (PostgreSQL 15 manual, COPY, "Binary Format").

use bytes::{BufMut, Bytes, BytesMut};

use super::cells::put_text;
use crate::store::ledger::{TENANT, to_sql, value};
use crate::store::sql::{ReadingRow, Run, SqlError};

/// The statement that takes them: first what all readings of a run share, then what most of them lack, then the rest.
pub(super) const COPY: &str = "copy reading (tenant, series, quality, epoch, number,
      code, text, utc_offset_minutes, local_text, id, time_us, ordinal, value, form, flags) from stdin (format binary)";
const COLUMNS: i16 = 15;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// No columns but minus one.
const TRAILER: &[u8] = b"\xff\xff";
/// Bytes of one message: large enough that its head does not count, small enough that the server gets the first soon.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most rows are shorter.
const ROW_BYTES: usize = 256;
/// The length of a field that is null.
const NULL: i32 = -1;

/// What the readings of a run share, as it goes to the server.
pub(super) struct Head {
    shared: BytesMut,
    /// Behind it, that they have neither code nor text nor local time: most have not.
    plain: BytesMut,
}

impl Head {
    pub(super) fn of(run: &Run) -> Result<Self, SqlError> {
        let mut shared = BytesMut::with_capacity(96);
        let (epoch, number) = run.batch.map(|(epoch, number)| (epoch, to_sql(number))).unzip();
        shared.put_i16(COLUMNS);
        int4(&mut shared, TENANT)?;
        int8(&mut shared, Some(run.series));
        int2(&mut shared, Some(run.quality))?;
        int8(&mut shared, epoch);
        int8(&mut shared, number);
        let mut plain = shared.clone();
        (0..4).for_each(|_| plain.put_i32(NULL));
        Ok(Self { shared, plain })
    }
}

/// Readings that are to be copied.
#[derive(Default)]
pub(super) struct Rows {
    chunk: BytesMut,
    rows: u64,
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Enough for a message.
    pub(super) fn is_full(&self) -> bool {
        self.chunk.len() + ROW_BYTES > CHUNK_BYTES
    }

    pub(super) fn add(&mut self, head: &Head, row: &ReadingRow<'_>) -> Result<(), SqlError> {
        if self.chunk.capacity() - self.chunk.len() < ROW_BYTES {
            self.chunk.reserve(CHUNK_BYTES);
        }
        self.rows += 1;
        let out = &mut self.chunk;
        let is_plain =
            row.code.is_none() && row.text.is_none() && row.utc_offset_minutes.is_none() && row.local_text.is_none();
        let form = if is_plain {
            out.put_slice(&head.plain);
            row.form
        } else {
            out.put_slice(&head.shared);
            put_rare(out, row)?
        };
        int8(out, Some(row.id));
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
        int2(out, Some(row.flags))
    }

    /// What was added, and how many rows it is.
    pub(super) fn take(&mut self) -> (Bytes, u64) {
        (self.chunk.split().freeze(), std::mem::take(&mut self.rows))
    }

    /// What comes before the first row.
    pub(super) fn begin() -> Bytes {
        Bytes::from_static(HEADER)
    }

    /// What comes behind the last.
    pub(super) fn end() -> Bytes {
        Bytes::from_static(TRAILER)
    }
}

/// What most readings lack. Answers the form, which tells how the text is to be read.
fn put_rare(out: &mut BytesMut, row: &ReadingRow<'_>) -> Result<i64, SqlError> {
    let escaped = row.text.and_then(|text| value::escaped(row.form, text));
    let (form, text) = escaped.as_ref().map_or((row.form, row.text), |(form, text)| (*form, Some(&**text)));
    int8(out, row.code);
    put_nullable(out, text)?;
    int2(out, row.utc_offset_minutes.map(i64::from))?;
    put_nullable(out, row.local_text)?;
    Ok(form)
}

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
