//! Many devices in one process: each with its own certificate, over TLS 1.3 and MQTT 3.1.1, publishing batches that
//! were encoded before the clock started. It is there to be cheap, so that a bench measures the gateway.
//!
//! See `harness::load` for what it is told and what it says.

#![allow(clippy::print_stdout, reason = "it answers the bench")]

use std::io::BufRead;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use harness::load::{Job, Order, Said};
use harness::trial::{self, Words};
use tokio::sync::mpsc;

use crate::crowd::Crowd;
use crate::plan::Plan;

mod crowd;
mod device;
mod dial;
mod plan;
mod tally;

const USAGE: &str = "\
tributary-load JOB
Many devices in one process, for tributary-bench, which starts it. JOB is JSON, and orders come over standard input:
tests/harness/load.rs says which.";

fn main() -> ExitCode {
    trial::judged(USAGE, run)
}

fn run(mut words: Words) -> anyhow::Result<bool> {
    let job = words.next_word().context("a job is wanted; --help says how")?;
    let job: Job = serde_json::from_str(&job).context("read the job; --help says what one is")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, lead(&job))?;
    Ok(true)
}

/// Has the devices do what is ordered, until there is nobody left to order anything.
async fn lead(job: &Job) -> anyhow::Result<()> {
    let crowd = Rc::new(Crowd::new(job.devices));
    dial::start_all(job, &crowd)?;
    let mut orders = orders();
    loop {
        tokio::select! {
            up = crowd.all_up() => say(&Said::Up(up))?,
            done = crowd.all_done() => say(&Said::Done(done))?,
            order = orders.recv() => match order {
                Some(Order::Publish(work)) => crowd.publish(Arc::new(Plan::make(&work)?)),
                Some(Order::Drop) => crowd.drop_all(),
                None => return Ok(()),
            },
        }
    }
}

/// Standard input, read by a thread of its own.
fn orders() -> mpsc::Receiver<Order> {
    let (sender, orders) = mpsc::channel(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) => {
                    if sender.blocking_send(order).is_err() {
                        return;
                    }
                }
                Err(error) => eprintln!("tributary-load: not an order: {error}"),
            }
        }
    });
    orders
}

fn say(said: &Said) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(said)?);
    Ok(())
}
