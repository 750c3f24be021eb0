//! What the pipeline into PostgreSQL is compared with: a bare client that copies rows, as lean as it can be written. It
//! names only the columns that the rows have, encodes them by hand, and does so while the server takes what came before.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::{Client, NoTls, Statement};

use super::load::Stored;

const COPY: &str = "copy reading (id, tenant, series, time_us, ordinal, value, form, quality, epoch, number, flags)
    from stdin (format binary)";
const COLUMNS: i16 = 11;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Bytes of one message.
const CHUNK_BYTES: usize = 64 * 1024;
/// No row is longer.
const ROW_BYTES: usize = 128;
/// Far more than a round may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// Copies `warm` in one transaction, then, after `begin`, `counting` evenly in `commits`. Answers how long that took.
pub(super) fn bare(
    dsn: &str,
    (warm, counting): (&[Stored], &[Stored]),
    commits: u64,
    begin: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    // One thread for the connection, beside the one that encodes.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let per_commit = counting.len().div_ceil(usize::try_from(commits)?.max(1));
    let work = async {
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
        let driven = tokio::spawn(connection);
        let copy = client.prepare(COPY).await?;
        let mut id = 0;
        transaction(&client, &copy, warm, &mut id).await?;
        begin()?;
        let start = Instant::now();
        for rows in counting.chunks(per_commit) {
            transaction(&client, &copy, rows, &mut id).await?;
        }
        let took = start.elapsed();
        drop(client);
        driven.await??;
        Ok(took)
    };
    runtime.block_on(async { tokio::time::timeout(DEADLINE, work).await }).context("the bare client does not end")?
}

async fn transaction(client: &Client, copy: &Statement, rows: &[Stored], id: &mut i64) -> anyhow::Result<()> {
    client.batch_execute("begin").await?;
    let sink = client.copy_in::<_, Bytes>(copy).await?;
    let mut sink = std::pin::pin!(sink);
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    chunk.put_slice(HEADER);
    for row in rows {
        *id += 1;
        encode(*id, row, &mut chunk);
        if chunk.len() + ROW_BYTES > CHUNK_BYTES {
            sink.feed(chunk.split().freeze()).await?;
            chunk.reserve(CHUNK_BYTES);
        }
    }
    chunk.put_i16(-1);
    sink.feed(chunk.freeze()).await?;
    let copied = sink.finish().await?;
    anyhow::ensure!(copied == rows.len() as u64, "{copied} of {} rows were copied", rows.len());
    client.batch_execute("commit").await?;
    Ok(())
}

fn encode(id: i64, Stored { key, row, number }: &Stored, out: &mut BytesMut) {
    let int8 = |out: &mut BytesMut, number: i64| {
        out.put_i32(8);
        out.put_i64(number);
    };
    let int4 = |out: &mut BytesMut, number: i32| {
        out.put_i32(4);
        out.put_i32(number);
    };
    let int2 = |out: &mut BytesMut, number: i16| {
        out.put_i32(2);
        out.put_i16(number);
    };
    out.put_i16(COLUMNS);
    int8(out, id);
    int4(out, 1);
    int8(out, *key);
    int8(out, row.time_us);
    int4(out, 0);
    out.put_i32(8);
    out.put_f64(row.value);
    int2(out, 0);
    int2(out, 3);
    int8(out, *key);
    int8(out, *number);
    int2(out, 0);
}
