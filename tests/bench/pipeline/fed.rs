//! The pipeline, fed from memory.

use std::time::{Duration, Instant};

use anyhow::Context;
use gateway::ingest::pipeline::{Recorder, judge_all};
use gateway::ingest::totals::Totals;
use gateway::ingest::{Arrival, ConnectionId, Event, Link, Ticket, Verdict};
use gateway::store::Ledger;
use proto::Channel;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::load::{Load, Published};
use crate::rounds::rate;

/// As many as the gateway's own channel takes.
const EVENTS_MAX: usize = 256;

/// What came of it.
#[derive(Clone, Copy)]
pub(super) struct Fed {
    /// Committed readings a second, from the first frame that counts until the last verdict.
    pub(super) rate: f64,
    /// How many transactions they were in.
    pub(super) commits: u64,
}

/// Feeds a pipeline that records into `ledger`. `begin` is called when what counts begins.
pub(super) fn fed(
    ledger: impl Ledger + 'static,
    load: &Load,
    begin: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Fed> {
    let totals: &'static Totals = Box::leak(Box::new(Totals::zero())); // the recorder wants it for good; a few bytes
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (recorder, thread) = Recorder::spawn(ledger, gateway::now, totals)?;
    let fed = runtime.block_on(async {
        let (events, arriving) = mpsc::channel(EVENTS_MAX);
        let judge = tokio::spawn(judge_all(arriving, recorder, None, gateway::now));
        let receipts = open_links(&events, load).await?;
        let (warm, counting) = load.frames();
        feed(&events, load, warm).await?;
        begin()?;
        let before = totals.commits.get();
        let took = feed(&events, load, counting).await?;
        let commits = totals.commits.get() - before;
        drop(events);
        judge.await?;
        anyhow::Ok((took, commits, receipts))
    });
    thread.join().map_err(|_| anyhow::anyhow!("the recorder panicked"))?;
    let (took, commits, receipts) = fed?;
    let mut received = 0;
    for receipts in receipts {
        received += runtime.block_on(receipts)?;
    }
    let committed = totals.readings.get();
    anyhow::ensure!(committed == load.rows.len() as u64, "{committed} of {} readings committed", load.rows.len());
    anyhow::ensure!(received > 0, "no receipt came");
    Ok(Fed { rate: rate(load.rows().1.len(), took), commits })
}

/// Connects every device; each answered task counts receipts until its link is gone.
async fn open_links(events: &mpsc::Sender<Event>, load: &Load) -> anyhow::Result<Vec<JoinHandle<usize>>> {
    let mut counts = Vec::new();
    for (place, device) in load.devices.iter().enumerate() {
        let (link, mut receipts) = Link::new(device.clone(), ConnectionId(place as u64));
        events.send(Event::Opened(link)).await.ok().context("the pipeline has ended")?;
        counts.push(tokio::spawn(async move {
            let mut count = 0;
            while receipts.recv().await.is_some() {
                count += 1;
            }
            count
        }));
    }
    Ok(counts)
}

/// Answers how long it took until the last verdict.
async fn feed(events: &mpsc::Sender<Event>, load: &Load, frames: &[Published]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut verdicts = Vec::with_capacity(frames.len());
    for (place, payload) in frames {
        let (ticket, verdict) = Ticket::new();
        let arrival = Arrival {
            claim: None,
            device: load.devices[*place].clone(),
            connection: ConnectionId(*place as u64),
            channel: Channel::Batch,
            packet_id: Some(1),
            resent: false,
            payload: payload.clone(),
            ticket,
        };
        events.send(Event::Arrived(arrival)).await.ok().context("the pipeline has ended")?;
        verdicts.push(verdict);
    }
    for verdict in verdicts {
        anyhow::ensure!(verdict.await? == Verdict::Settled, "a frame was refused");
    }
    Ok(start.elapsed())
}
