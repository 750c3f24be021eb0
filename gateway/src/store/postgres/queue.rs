//! Statements whose answers nobody needs before the transaction ends: they go to the server together, in their order,
//! and are waited for together, so that they cost one way there and back and not one each.

use std::cell::RefCell;
use std::error::Error;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use super::cells::Misfit;
use crate::store::sql::{Cell, SqlError};

/// Statements that may wait. Each holds the rows of one commit at most.
const WAITING_MAX: usize = 16;

/// Statements that wait to be sent.
#[derive(Default)]
pub(super) struct Queue(RefCell<Vec<Waiting>>);

enum Waiting {
    Begin,
    Execute(Statement, Vec<Encoded>),
}

impl Queue {
    pub(super) fn is_full(&self) -> bool {
        self.0.borrow().len() >= WAITING_MAX
    }

    /// A transaction is to begin.
    pub(super) fn begin(&self) {
        self.0.borrow_mut().push(Waiting::Begin);
    }

    /// `statement` is to run, with arrays as its parameters: the columns of `rows`.
    pub(super) fn execute(&self, statement: &Statement, rows: &[Vec<Cell<'_>>]) -> Result<(), SqlError> {
        self.0.borrow_mut().push(Waiting::Execute(statement.clone(), columns(statement, rows)?));
        Ok(())
    }

    /// Sends what waits; what is polled after this goes behind it. The first error counts: what came after that failed
    /// for its sake.
    pub(super) async fn run(&self, client: &Client) -> Result<(), SqlError> {
        let waiting = self.0.take();
        let answers = join_all(waiting.into_iter().map(|statement| statement.run(client))).await;
        answers.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(())
    }
}

impl Waiting {
    async fn run(self, client: &Client) -> Result<(), tokio_postgres::Error> {
        match self {
            Self::Begin => client.batch_execute("begin").await,
            Self::Execute(statement, columns) => client.execute_raw(&statement, columns).await.map(drop),
        }
    }
}

/// The parameters of `statement`: arrays, the columns of `rows`.
pub(super) fn columns(statement: &Statement, rows: &[Vec<Cell<'_>>]) -> Result<Vec<Encoded>, SqlError> {
    let column = |(place, kind): (usize, &Type)| {
        let cells: Vec<_> = rows.iter().map(|row| row.get(place).copied().unwrap_or(Cell::Null)).collect();
        Encoded::of(&cells, kind)
    };
    statement.params().iter().enumerate().map(column).collect()
}

/// A parameter as it goes to the server.
#[derive(Debug)]
pub(super) struct Encoded(Bytes);

impl Encoded {
    fn of(cells: &[Cell<'_>], kind: &Type) -> Result<Self, SqlError> {
        let mut bytes = BytesMut::new();
        match cells.to_sql_checked(kind, &mut bytes) {
            Ok(_) => Ok(Self(bytes.freeze())),
            Err(error) => {
                let misfit = error.downcast_ref::<Misfit>().map(ToString::to_string);
                Err(SqlError::Misfit(misfit.unwrap_or_else(|| error.to_string())))
            }
        }
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
