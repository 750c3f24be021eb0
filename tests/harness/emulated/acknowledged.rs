//! A server that acknowledges what it does not store, then the real gateway: an agent that takes the acknowledgement for
//! the end of it has lost readings.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Script};
use crate::judge::Verdict;
use crate::proxy::{End, Plan};
use crate::{Gateway, Outpost, Pki};

/// Readings that the liar gets at the least.
const READINGS: usize = 60;
/// For the liar to have acknowledged some.
const LIAR_DEADLINE: Duration = Duration::from_secs(30);
/// For the gateway to have all, where all is still there.
const GATEWAY_DEADLINE: Duration = Duration::from_secs(20);

/// Runs the journey in `folder` with `agent` as the agent's program, and `bug` switched on.
///
/// # Errors
/// When something does not start, or the agent never sends.
pub fn run(folder: &Path, agent: &Path, bug: Option<&str>) -> anyhow::Result<Verdict> {
    let pki = Pki::create(&folder.join("pki"));
    let files = pki.server();
    let broker = Broker::start(&files)?;
    let gateway = Gateway::start(&folder.join("gateway"), files, "");
    let mut outpost = Outpost::new(&folder.join("liar-1"), "liar-1", &pki, &gateway, "")?;
    outpost.agent.program = agent.to_owned();
    outpost.agent.environment = bug.iter().map(|bug| ("TRIBUTARY_SEEDED_BUG".to_owned(), (*bug).to_owned())).collect();
    outpost.proxy.aim(broker.port);
    outpost.proxy.open(Plan::default());
    broker.play(Script::default());
    outpost.agent.start();
    let began = Instant::now();
    outpost.offer(READINGS)?;
    // The first two acknowledgements are of its status and its hello.
    while broker.noted().frames.is_empty() || broker.noted().acknowledged < 4 {
        anyhow::ensure!(began.elapsed() < LIAR_DEADLINE, "it sends nothing");
        outpost.offer(1)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    outpost.proxy.aim(gateway.mqtt_port);
    outpost.proxy.cut_all(End::Fin);
    outpost.settles(GATEWAY_DEADLINE)?; // the judge says what is missing
    outpost.agent.stop();
    outpost.judge()
}
