//! Kill anything at any moment.

use std::time::Duration;

use harness::stage::{CGM, METER, Stage};
use harness::wait_for;

/// How many processes die.
const KILLS: u32 = 50;
/// The last day passes in 17 s.
const SPEED: i64 = 5_000;

/// Xorshift (Marsaglia, 2003): the moments only have to differ.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
    println!("SEED={seed} repeats this run");
    seed
}

#[test]
fn fifty_kills_of_agent_or_gateway_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(seed());
    let mut stage = Stage::set(folder.path(), SPEED);
    let (mut agents, mut gateways) = (0, 0);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(5 + random.below(350)));
        if random.below(2) == 0 {
            stage.cgm.kill();
            stage.cgm.start();
            agents += 1;
        } else {
            // Frozen first, half the time: what devices send it meanwhile is lost with it.
            if random.below(2) == 0 {
                stage.gateway.process.as_ref().unwrap().freeze();
                std::thread::sleep(Duration::from_millis(random.below(200)));
            }
            stage.gateway.kill();
            stage.gateway.restart();
            gateways += 1;
        }
    }
    let all = (stage.backlog_len() + stage.replay_len()) as u64;
    let soon = Duration::from_secs(60);
    let begun = std::time::Instant::now();
    while stage.readings(CGM) < all && begun.elapsed() < soon {
        std::thread::sleep(Duration::from_millis(50)); // if it never comes, the judge says what is missing
    }
    stage.stop_meter();
    let sent = stage.meter_sent() as u64;
    wait_for("the meter", soon, || (stage.readings(METER) >= sent).then_some(()));
    stage.cgm.stop();
    stage.meter.stop();

    let findings = stage.judge();
    println!("{agents} kills of the agent, {gateways} of the gateway: {findings:?}");
    for verdict in [&findings.backlog, &findings.replay, &findings.meter] {
        assert!(verdict.is_clean(), "{verdict}");
    }
    assert_eq!(findings.replay.matched, stage.replay_len());
    assert_eq!(findings.meter.matched as u64, sent);
}
