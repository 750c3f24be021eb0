//! A server that lies: it acknowledges what it does not store, withholds, delays, reverses and invents
//! acknowledgements, forgets sessions and claims to have kept them, refuses, falls silent, and answers the hello with
//! what is not so. In between and at the end the agent finds the real gateway; nothing may be missing there.

use std::time::{Duration, Instant};

use harness::broker::{Acks, Answer, Broker, Greeting, Noted, Script};
use harness::proxy::{End, Plan};
use harness::{Gateway, Outpost, Pki};

use super::line::{Random, conclude};
use crate::rig::{Fault, Found, Plan as Task, Size};

/// For the agent to do what a script waits for; where it does not, the script is over all the same.
const SCENE_DEADLINE: Duration = Duration::from_secs(10);
/// For the agent to come to the real gateway and send it what is new.
const REAL_DEADLINE: Duration = Duration::from_secs(12);
/// After what was waited for has happened, for what may follow from it.
const AFTERMATH: Duration = Duration::from_millis(20);

pub(crate) fn run(task: &Task) -> anyhow::Result<Found> {
    let pki = Pki::create(&task.folder.join("pki"));
    let files = pki.server();
    let broker = Broker::start(&files)?;
    let gateway = Gateway::start(&task.folder.join("gateway"), files, "");
    let mut found = Found::default();
    for round in 0..task.amount(1, 16, 100) {
        let device = format!("liar-{round}");
        let mut outpost = Outpost::new(&task.folder.join(&device), &device, &pki, &gateway, "")?;
        let mut random = Random::new(task.seed.wrapping_add(round));
        outpost.agent.start();
        let mut rounds = Rounds { broker: &broker, gateway: &gateway, outpost: &mut outpost, found: &mut found };
        rounds.run(&mut random, task.size)?;
        let how = format!("after servers that lie, seed {} round {round}", task.seed);
        conclude(&mut outpost, REAL_DEADLINE, &how, &mut found)?;
    }
    Ok(found)
}

/// Whether a scene has come to its point.
type WaitsFor = fn(&Noted) -> bool;

/// Every script, each with what it waits for.
fn scenes(random: &mut Random) -> Vec<(Script, WaitsFor)> {
    let plain = Script::default();
    let acks = |acks| Script { acks, ..plain };
    let welcome = Greeting::Welcome { session_present: random.below(2) == 0 };
    // CONNECT, SUBSCRIBE, status, hello, and the first frame: every agent comes so far.
    let packets_max = Some(usize::try_from(1 + random.below(5)).unwrap_or(1));
    let some_frames: WaitsFor = |noted| !noted.frames.is_empty() && noted.acknowledged > 2;
    let any_frame: WaitsFor = |noted| !noted.frames.is_empty();
    let back_again: WaitsFor = |noted| noted.connects >= 2;
    let greeted: WaitsFor = |noted| noted.hellos > 0;
    let mut scenes: Vec<(Script, WaitsFor)> = vec![
        (plain, some_frames),
        (acks(Acks::Withheld), any_frame),
        (acks(Acks::Late(Duration::from_millis(random.below(60)))), some_frames),
        (acks(Acks::Reversed(3)), some_frames),
        (acks(Acks::UnknownToo), back_again),
        (acks(Acks::Twice), back_again),
        (Script { greeting: welcome, ..plain }, some_frames),
        (Script { greeting: Greeting::Welcome { session_present: true }, ..acks(Acks::Withheld) }, any_frame),
        (Script { greeting: Greeting::Refuse(1 + u8::try_from(random.below(5)).unwrap_or(0)), ..plain }, back_again),
        (Script { greeting: Greeting::Silence, ..plain }, |noted| noted.connects > 0),
        (Script { packets_max, ..plain }, back_again),
        (Script { answer: Answer::Silence, ..plain }, greeted),
        (Script { answer: Answer::StaleNonce, ..plain }, greeted),
        (Script { answer: Answer::Garbage, ..plain }, greeted),
    ];
    random.shuffle(&mut scenes);
    scenes
}

struct Rounds<'a> {
    broker: &'a Broker,
    gateway: &'a Gateway,
    outpost: &'a mut Outpost,
    found: &'a mut Found,
}

impl Rounds<'_> {
    fn run(&mut self, random: &mut Random, size: Size) -> anyhow::Result<()> {
        self.outpost.proxy.open(Plan::default());
        for (script, waits_for) in scenes(random) {
            if self.scene(script, waits_for, random)? {
                self.found.did("server_scripts", 1);
            } else {
                let reason = format!("the agent did not do what it waits for within {SCENE_DEADLINE:?}");
                self.found.skip(&format!("{script:?}"), &reason);
            }
            // Most liars are followed by another one, as if the agent had gone from bad to worse.
            if size != Size::Short && random.below(3) == 0 {
                self.meet(self.gateway.mqtt_port, random);
                let back = self.reaches_the_gateway()?;
                let say = || format!("after {script:?} nothing more came to the gateway for {REAL_DEADLINE:?}");
                self.found.fault(Fault::Lost, u64::from(!back), say);
            }
        }
        self.meet(self.gateway.mqtt_port, random);
        Ok(())
    }

    /// The agent's connection ends, and the next ones go to `port`.
    fn meet(&self, port: u16, random: &mut Random) {
        self.outpost.proxy.aim(port);
        self.outpost.proxy.cut_all(if random.below(2) == 0 { End::Fin } else { End::Reset });
    }

    /// Answers whether what was waited for has come.
    fn scene(&mut self, script: Script, waits_for: WaitsFor, random: &mut Random) -> anyhow::Result<bool> {
        self.broker.play(script);
        self.outpost.offer(1)?;
        self.meet(self.broker.port, random);
        let began = Instant::now();
        while !waits_for(&self.broker.noted()) && began.elapsed() < SCENE_DEADLINE {
            self.outpost.offer(1)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(AFTERMATH);
        let noted = self.broker.noted();
        // Until a hello is answered nothing may be sent: an answer to another hello is none.
        if script.answer != Answer::NothingSettled && !noted.frames.is_empty() {
            let frames = noted.frames.len() as u64;
            self.found.fault(Fault::EarlyReceipt, frames, || {
                format!("{frames} frames were sent though no hello was answered: {script:?}")
            });
        }
        Ok(waits_for(&noted))
    }

    /// Waits until a reading that is offered now is stored.
    fn reaches_the_gateway(&mut self) -> anyhow::Result<bool> {
        let began = Instant::now();
        let before = self.outpost.stored()?;
        self.outpost.offer(1)?;
        while self.outpost.stored()? == before {
            if began.elapsed() > REAL_DEADLINE {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }
}
