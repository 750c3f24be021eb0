//! Gateways that stop between lock and COMMIT.

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::proxy::End;
use harness::servers::Sql;

use super::{GATEWAYS, Stage, live};
use crate::rig::Fault;

/// A gateway that has stopped may hold its devices up for as long.
const HELD_UP_MAX: Duration = Duration::from_secs(15);
/// For what holds nothing up.
const PATIENCE: Duration = Duration::from_secs(40);
/// Writers that have locked their devices and wait.
const WAITING: &str = "select count(*) from pg_stat_activity where application_name = 'tributary writer'
    and wait_event_type = 'Lock'";
/// Devices that somebody has locked.
const LOCKED: &str = "select name from device where name like 'device-%' except
    select name from (select name from device where name like 'device-%' for update skip locked) as free";
/// Writers that have not done all up to the COMMIT, or all but that, and say nothing more.
const HOLDING: &str = "select count(*) from pg_stat_activity where application_name = 'tributary writer'
    and (state = 'idle in transaction' or state = 'active' and wait_event = 'ClientRead')
    and clock_timestamp() - state_change > interval '250 ms'";

impl Stage {
    /// Has every commit wait for its readings' table, once it has locked its devices, until the answer is dropped.
    pub(super) fn halt_commits(&mut self) -> anyhow::Result<Sql> {
        let commits = Sql::connect(self.shared.dsn())?;
        commits.run("begin; lock table reading in share mode").context("lock the readings' table")?;
        let began = Instant::now();
        while commits.number(WAITING)? == 0 && began.elapsed() < Duration::from_secs(1) {
            live(&mut self.world, Duration::from_millis(10));
        }
        Ok(commits)
    }

    /// Freezes a gateway between lock and COMMIT, for longer than it may hold anybody up. Its devices go elsewhere.
    pub(super) fn hold_up(&mut self) -> anyhow::Result<()> {
        let judge = Sql::connect(self.shared.dsn())?;
        let began = Instant::now();
        let (which, since) = loop {
            let commits = self.halt_commits()?;
            // Whoever waits may have none but devices of others: one of ours must be among those that are held up.
            let halted = Instant::now();
            while judge.rows(LOCKED)?.is_empty() && halted.elapsed() < Duration::from_millis(500) {
                live(&mut self.world, Duration::from_millis(10));
            }
            let which = self.world.random.index(GATEWAYS);
            self.gateway(which).freeze();
            let since = Instant::now();
            drop(commits);
            live(&mut self.world, Duration::from_millis(200));
            if self.is_holding(&judge)? && self.is_holding(&judge)? {
                break (which, since);
            }
            // That one had nothing under way.
            self.gateway(which).thaw();
            anyhow::ensure!(began.elapsed() < PATIENCE, "no gateway could be stopped between lock and COMMIT");
        };
        let ports = self.world.cloud.gateways().map(|gateway| gateway.mqtt_port);
        let others: Vec<u16> = ports.enumerate().filter(|(place, _)| *place != which).map(|(_, port)| port).collect();
        self.proxy.balance(&others);
        self.proxy.cut_all(End::Reset);
        let before = self.stored()?;
        let (mut held_up, mut waiting) = (Duration::ZERO, before.len());
        while waiting > 0 && since.elapsed() < PATIENCE {
            live(&mut self.world, Duration::from_millis(100));
            waiting = self.stored()?.iter().zip(&before).filter(|(now, before)| now <= before).count();
            held_up = since.elapsed();
        }
        self.found.did("pauses_in_commit", 1);
        self.found.did("held_up_ms", u64::try_from(held_up.as_millis()).unwrap_or(u64::MAX));
        self.found.fault(Fault::Lost, u64::from(held_up > HELD_UP_MAX), || {
            format!("a gateway that stopped between lock and COMMIT held devices up for {held_up:?}")
        });
        // It wakes up and finds its transaction gone.
        self.gateway(which).thaw();
        let ports: Vec<u16> = self.world.cloud.gateways().map(|gateway| gateway.mqtt_port).collect();
        self.proxy.balance(&ports);
        live(&mut self.world, Duration::from_millis(200));
        self.check_receipts()
    }

    /// Whether somebody who has stopped has one of the devices locked. Asked twice, it cannot be one that was just busy.
    fn is_holding(&mut self, judge: &Sql) -> anyhow::Result<bool> {
        live(&mut self.world, Duration::from_millis(200));
        Ok(judge.number(HOLDING)? > 0 && !judge.rows(LOCKED)?.is_empty())
    }

    /// How many numbers of each device are settled.
    fn stored(&self) -> anyhow::Result<Vec<i64>> {
        let count = |device: &harness::Device| {
            let ledger = self.world.cloud.database.numbers(&device.agent.device)?;
            Ok(ledger.settled.values().flatten().map(|(_, first, last)| last - first + 1).sum())
        };
        self.world.devices.iter().map(count).collect()
    }
}
