//! The database ends in good order and is away for a while: who stays, what grows, and how fast all of it drains after.

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::servers::Sql;

use super::crowd::Crowd;
use super::{BACKLOG_DEADLINE, Door, Stage};
use crate::rig::Fault;

/// What comes in meanwhile must drain so many times as fast as it came.
const DRAIN_TIMES_LIVE: u64 = 5;
/// A smaller backlog drains in a moment, of which what begins and ends it is the most.
const MEASURABLE: u64 = 20_000;
/// Readings of each device every hundredth of a second: enough to see how fast they drain.
const LINES: u64 = 4;
/// For a gateway to find its database again and commit.
const FOUND_AGAIN: Duration = Duration::from_secs(15);
/// What a gateway's memory may grow by while its database is away: what is under way to it is bounded.
const GROWTH_KIB_MAX: u64 = 24 * 1024;
/// How often to look how much is committed. A drain is taken to last from the last look that found nothing of it to the
/// look that found all, so that it is at most this much longer than it was.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Nothing new for so long: all may be there.
const CALM: Duration = Duration::from_millis(100);

/// How readings were committed after the database came back.
struct Drain {
    readings: u64,
    /// From the database's return to the last look that found nothing committed.
    found_again: Duration,
    /// From then until all was.
    took: Duration,
}

impl Drain {
    fn per_s(&self) -> u64 {
        rate(self.readings, self.took)
    }
}

/// Things a second, whole ones.
fn rate(count: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000 / time.as_micros().max(1)).unwrap_or(u64::MAX)
}

impl Stage {
    /// The server is away for `time`.
    pub(super) fn away(&mut self, time: Duration) -> anyhow::Result<()> {
        self.live_for(Duration::from_secs(1));
        self.drain()?;
        // A broker answers pings by itself, and stops at what a gateway has not acknowledged.
        let mut crowd = match self.door {
            Door::Balancer => Crowd::connect(&self.world, self.proxy.port)?,
            Door::Broker => Crowd::default(),
        };
        let (links, memory) = (self.proxy.accepted(), self.memory());
        // Nothing is under way now.
        let (settled, before) = (self.settled()?, readings(&self.reader()?)?);
        self.server.stop()?;
        let began = Instant::now();
        crowd.press()?;
        let offered = self.live_for(time);
        let away = began.elapsed();
        let answered = crowd.answered()?;
        let grown = self.memory().saturating_sub(memory);
        let told = self.told()?;
        self.server.restart()?;
        let drain = self.watch(before)?;
        // Connections that the balancer has accepted since the server was told to end, until all was drained.
        let links = self.proxy.accepted() - links;
        self.found.fault(Fault::EarlyReceipt, u64::from(told > settled), || {
            format!("{} numbers were confirmed while the database was away", told - settled)
        });
        self.found.fault(Fault::SentAway, links as u64, || {
            format!("{links} connections were made anew in {away:?} without a database, or until all was drained")
        });
        self.found.fault(Fault::SentAway, (crowd.len() - answered) as u64, || {
            format!("of {} pings {answered} were answered while the pipelines were full", crowd.len())
        });
        self.found.fault(Fault::Lost, u64::from(grown > GROWTH_KIB_MAX), || {
            format!("gateways grew by {grown} KiB while the database was away")
        });
        self.judge_drain(offered, away, &drain);
        if self.door == Door::Balancer {
            self.found.did("database_away_s", away.as_secs());
        }
        self.found.did("connected_again", links as u64);
        self.found.did("grown_kib", grown);
        Ok(())
    }

    fn judge_drain(&mut self, offered: u64, away: Duration, drain: &Drain) {
        let (live, drained) = (rate(offered, away), drain.per_s());
        let is_slow = drain.readings >= MEASURABLE && drained < DRAIN_TIMES_LIVE * live;
        self.found.fault(Fault::Lost, u64::from(is_slow), || {
            format!(
                "{live} readings a second came in while the database was away, and no more than {drained} a second \
                 were committed after ({} in {:?})",
                drain.readings, drain.took
            )
        });
        self.found.fault(Fault::Lost, u64::from(drain.found_again > FOUND_AGAIN), || {
            format!("nothing was committed for {:?} after the database was back", drain.found_again)
        });
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let [live_name, drained_name, took_name, found_name] = match self.door {
            Door::Balancer => ["live_per_s", "drained_per_s", "drained_in_ms", "found_again_in_ms"],
            Door::Broker => {
                ["broker_live_per_s", "broker_drained_per_s", "broker_drained_in_ms", "broker_found_again_in_ms"]
            }
        };
        self.found.did(live_name, live);
        self.found.did(drained_name, drained);
        self.found.did(took_name, millis(drain.took));
        self.found.did(found_name, millis(drain.found_again));
    }

    /// Looks how readings beyond `before` are committed, until all that came is settled. The server is just back.
    fn watch(&self, before: u64) -> anyhow::Result<Drain> {
        let (back, reader) = (Instant::now(), self.reader()?);
        let (mut none_until, mut all_at, mut seen) = (back, back, before);
        loop {
            let looked = Instant::now();
            let now = readings(&reader)?;
            if now > seen {
                (seen, all_at) = (now, Instant::now());
            } else if now == before {
                none_until = looked;
            } else if all_at.elapsed() >= CALM && self.world.is_drained_of_lines()? {
                let (found_again, took) = (none_until - back, all_at - none_until);
                return Ok(Drain { readings: seen - before, found_again, took });
            }
            let waited = back.elapsed();
            anyhow::ensure!(waited < 3 * BACKLOG_DEADLINE, "the backlog is not gone after {waited:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// A new connection to the database, to look at what is committed.
    pub(super) fn reader(&self) -> anyhow::Result<Sql> {
        self.server.admin_of(super::DATABASE).context("look at the database")
    }

    /// As [`super::live`], with some readings at a time. Answers how many were sent in all.
    fn live_for(&mut self, time: Duration) -> u64 {
        let (began, mut sent) = (Instant::now(), 0);
        while began.elapsed() < time {
            for device in &mut self.world.devices {
                sent += (0..LINES).map(|_| u64::from(device.input.send())).sum::<u64>();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        sent
    }
}

/// How many readings are committed.
fn readings(reader: &Sql) -> anyhow::Result<u64> {
    Ok(reader.number("select count(*) from reading")?.unsigned_abs())
}
