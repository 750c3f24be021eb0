//! A million readings queued: how soon the first of them leaves, and what they weigh while nobody takes them.

use std::time::Duration;

use anyhow::Context;
use harness::{Agent, Gateway, Pki, wait_for};
use rusqlite::{Connection, OpenFlags};

use crate::Bench;
use crate::buffer::proof;
use crate::data::HOUSEHOLD_SERIES;
use crate::drain::{BATCHES, fill};
use crate::proc::resident_mib;
use crate::rounds::median;
use crate::shipped::Shipped;
use crate::stores::Running;
use crate::table::{Limit, Measure, Table};

/// How long an agent is left alone before it is weighed.
const SETTLES_IN: Duration = Duration::from_secs(2);
/// Looks at its weight, and the time between two.
const LOOKS: (usize, Duration) = (20, Duration::from_millis(50));
/// What a weight may differ by, in MiB: the pages of a buffer that SQLite keeps, and the kernel's own grain.
const GRAIN_MIB: f64 = 1.0;

/// Takes the measures of this group.
///
/// # Errors
/// When a program does not start or cannot be looked at.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let batches = bench.size(BATCHES);
    let folder = bench.fresh("queued")?;
    let pki = Pki::create(&folder.join("pki"));
    let shipped = Shipped::find()?;
    let queued = format!("{} readings in {batches} batches", batches * HOUSEHOLD_SERIES);

    let files = pki.device("queued");
    // Nobody listens there: port 1 needs rights that no test has.
    let weigh = |name: &str, batches: usize| {
        let mut agent = Agent::new(&folder.join(name), "queued", Some(1), &files, "");
        fill(&agent.buffer(), batches)?;
        shipped.start(&mut agent)?;
        let id = agent.process.as_ref().context("an agent that runs")?.id();
        std::thread::sleep(SETTLES_IN);
        let look = |_| {
            std::thread::sleep(LOOKS.1);
            Ok(resident_mib(id)?.0)
        };
        let weight = median((0..LOOKS.0).map(look).collect::<anyhow::Result<_>>()?);
        agent.stop();
        anyhow::Ok((agent, weight))
    };
    let (_, empty) = weigh("empty", 0)?;
    let (full_agent, full) = weigh("full", batches)?;
    let proof = proof(&full_agent.buffer(), batches)?;
    let measure = Measure::new("agent_rss_backlog", full, "MiB")
        .against("the same agent with nothing queued", empty)
        .limit(Limit::AtMost(empty + GRAIN_MIB))
        .note(format!("VmRSS, median of {} looks; {queued}, no gateway to be reached", LOOKS.0))
        .note(proof);
    table.add(&measure);

    let gateway = Gateway::start(&folder.join("gateway"), pki.server(), "");
    let mut agent = Agent::new(&full_agent.folder, "queued", Some(gateway.mqtt_port), &files, "");
    shipped.start(&mut agent)?;
    let seconds = first_publish(&gateway)?;
    let measure = Measure::new("first_publish", seconds, "s")
        .limit(Limit::Below(1.0))
        .note(format!("{queued}; from the gateway's CONNACK to its first frame, subscription and hello included"));
    agent.stop();
    let (rows, settings) = (Running::Sqlite.rows(&gateway.database())?, Running::Sqlite.settings(&gateway.database())?);
    anyhow::ensure!(rows > 0, "nothing has arrived");
    table.add(&measure.note(format!("{rows} rows read back, those that had come by then; {settings}")));
    Ok(())
}

/// From the device's first sign of life at the gateway, which is its connection, to its first batch.
fn first_publish(gateway: &Gateway) -> anyhow::Result<f64> {
    let database = Connection::open_with_flags(gateway.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(Duration::from_secs(5))?;
    let query =
        "select min(epoch.first_arrival_us) - device.first_seen_us from epoch join device on device.id = epoch.device";
    let us: i64 = wait_for("the first frame", Duration::from_secs(60), || {
        database.query_row(query, [], |row| row.get::<_, Option<i64>>(0)).ok().flatten()
    });
    Ok(Duration::from_micros(us.max(0).unsigned_abs()).as_secs_f64())
}
