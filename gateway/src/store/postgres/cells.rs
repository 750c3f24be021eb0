//! Values on their way to and from PostgreSQL, in its binary format.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::store::sql::{self, Cell, SqlError};

/// A value that its parameter cannot hold: what is written is to blame, not the server.
#[derive(Debug, thiserror::Error)]
#[error("{found} does not fit a parameter of type {wanted}")]
pub(super) struct Misfit {
    found: &'static str,
    wanted: String,
}

impl ToSql for Cell<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let misfit = |found| Misfit { found, wanted: wanted.to_string() };
        match (*self, wanted) {
            (Self::Null, _) => return Ok(IsNull::Yes),
            (Self::Int(number), &Type::INT8) => out.put_i64(number),
            (Self::Int(number), &Type::INT4) => out.put_i32(number.try_into().map_err(|_| misfit("a large number"))?),
            (Self::Int(number), &Type::INT2) => out.put_i16(number.try_into().map_err(|_| misfit("a large number"))?),
            (Self::Int(number), &Type::BOOL) => out.put_u8(u8::from(number != 0)),
            (Self::Real(number), &Type::FLOAT8) => out.put_f64(number),
            (Self::Text(text), &Type::TEXT) => put_text(text, out),
            (Self::Blob(bytes), &Type::BYTEA) => out.put_slice(bytes),
            (other, _) => return Err(Box::new(misfit(other.kind()))),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Text of PostgreSQL's may have any character but NUL. Of what is no reading but a name or a reason, that one is not
/// missed.
pub(super) fn put_text(text: &str, out: &mut BytesMut) {
    let mut parts = text.split('\0');
    out.put_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        out.put_slice("\u{fffd}".as_bytes());
        out.put_slice(part.as_bytes());
    }
}

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(kind, raw)?.into()),
            Type::BOOL => Self::Int(bool::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(kind, raw)?),
            Type::TEXT => Self::Text(<&str>::from_sql(kind, raw)?),
            Type::BYTEA => Self::Blob(raw),
            ref other => return Err(format!("a column of type {other} is not read here; cast it").into()),
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl sql::Cells for tokio_postgres::Row {
    fn cell(&self, column: usize) -> Result<Cell<'_>, SqlError> {
        Ok(self.try_get::<_, Option<Cell<'_>>>(column)?.unwrap_or(Cell::Null))
    }
}
