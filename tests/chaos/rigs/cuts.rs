//! Cuts the connection after byte k, for every k of a whole session over TLS, each way: handshake, CONNECT, SUBSCRIBE,
//! status, hello, receipts, two publishes with what answers them; and, upward, the leave of an agent that is stopped.
//!
//! One agent lives through all cuts of one way. Each session has something to send, and carries no more than that, so
//! that k reaches its end. TLS sessions are never resumed here (the gateway hands out no tickets), so all are alike but
//! for a few bytes of signatures and of growing numbers: k goes on until the longest session seen has passed whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::proxy::{End, Link, Plan, Way};
use harness::{Gateway, Outpost, Pki};

use super::line::{Random, conclude};
use crate::rig::{Fault, Found, Plan as Task, Size};

/// For an agent that connects again after at most 10 ms.
const DIAL_DEADLINE: Duration = Duration::from_secs(20);
/// A session in which nothing has moved for so long has nothing more to say …
const QUIET: Duration = Duration::from_millis(40);
/// … unless something is still unsettled: then it is stuck.
const STUCK: Duration = Duration::from_secs(2);
/// Sessions that must pass whole before a sweep is over.
const WHOLE: usize = 5;
/// More bytes than a session of this rig has.
const SESSION_BYTES_MAX: u64 = 50_000;
/// For the backlog to reach zero once nothing is cut any more.
const LAST_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn run(task: &Task) -> anyhow::Result<Found> {
    let pki = Pki::create(&task.folder.join("pki"));
    let gateway = Gateway::start(&task.folder.join("gateway"), pki.server(), "");
    let mut found = Found::default();
    let ways = [(Way::Up, "cut-up"), (Way::Down, "cut-down")];
    let parts = std::thread::scope(|scope| {
        let sweeps = ways.map(|(way, device)| {
            let (pki, gateway) = (&pki, &gateway);
            scope.spawn(move || {
                let outpost = Outpost::new(&task.folder.join(device), device, pki, gateway, "")?;
                Sweep {
                    task,
                    way,
                    outpost,
                    random: Random::new(task.seed),
                    pass: 0,
                    patience: LAST_DEADLINE,
                    found: Found::default(),
                }
                .run()
            })
        });
        sweeps.map(|sweep| sweep.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a sweep panicked"))))
    });
    for part in parts {
        found.add(part?);
    }
    Ok(found)
}

/// How a session went.
enum Went {
    /// Cut.
    Cut,
    /// One of its ends ended it before the cut was due: that k is still to be tried.
    Early,
    /// All was said before a cut was due; so many bytes.
    Whole(u64),
    /// Nothing moved any more though something was unsettled.
    Stuck,
}

/// All cuts of one way.
struct Sweep<'a> {
    task: &'a Task,
    way: Way,
    outpost: Outpost,
    random: Random,
    /// The second pass over every k ends each connection the other way.
    pass: u64,
    /// For the backlog to reach zero in the end; nothing where that was waited for already.
    patience: Duration,
    found: Found,
}

impl Sweep<'_> {
    fn run(mut self) -> anyhow::Result<Found> {
        self.outpost.agent.start();
        let longest = self.measure()?;
        let mut done = true;
        for pass in 0..self.task.amount(1, 1, 2) {
            self.pass = pass;
            done &= if self.task.size == Size::Short { self.sample(longest)? } else { self.every(longest)? };
        }
        if done && self.way == Way::Up {
            self.leaves()?;
        }
        self.outpost.proxy.open(Plan::default());
        if self.outpost.agent.process.is_none() {
            self.outpost.agent.start();
        }
        let how = format!("cut {:?} after each byte, seed {}", self.way, self.task.seed);
        conclude(&mut self.outpost, self.patience, &how, &mut self.found)?;
        Ok(self.found)
    }

    /// The longest of some whole sessions, in bytes of this way.
    fn measure(&mut self) -> anyhow::Result<u64> {
        let mut longest = 0;
        for _ in 0..3 {
            if let Went::Whole(bytes) = self.session(SESSION_BYTES_MAX)? {
                longest = longest.max(bytes);
            }
        }
        anyhow::ensure!(longest > 0, "no session passed whole, though nothing was cut");
        Ok(longest)
    }

    /// Every k until the longest session has passed whole. Answers whether the agent still gets anything through.
    fn every(&mut self, measured: u64) -> anyhow::Result<bool> {
        let (mut longest, mut whole, mut k) = (measured, 0, 0);
        for tried in 0.. {
            if whole >= WHOLE && k > longest {
                break;
            }
            anyhow::ensure!(tried < SESSION_BYTES_MAX, "sessions of {longest} bytes never pass whole; k is at {k}");
            k += 1;
            match self.session(k)? {
                Went::Cut => self.found.did("cut_points", 1),
                Went::Whole(bytes) => (longest, whole) = (longest.max(bytes), whole + 1),
                Went::Early => k -= 1,
                Went::Stuck => return Ok(false),
            }
        }
        println!("    cuts {:?}: every k to {k}; a whole session is up to {longest} bytes", self.way);
        Ok(true)
    }

    /// Some k all over the session, most of them where batches and receipts pass.
    fn sample(&mut self, longest: u64) -> anyhow::Result<bool> {
        let busy = longest * 2 / 3;
        let start = self.random.below(40);
        let all = (0..8)
            .map(|step| 1 + start + step * busy / 8)
            .chain((0..22).map(|step| busy + step * (longest - busy) / 22));
        for k in all.collect::<Vec<_>>() {
            match self.session(k)? {
                Went::Cut => self.found.did("cut_points", 1),
                Went::Whole(_) | Went::Early => {}
                Went::Stuck => return Ok(false),
            }
        }
        Ok(true)
    }

    /// One session that is cut after `k` bytes. It begins with a batch to send; another one follows the first.
    fn session(&mut self, k: u64) -> anyhow::Result<Went> {
        if self.outpost.is_settled()? {
            self.outpost.offer(1)?;
        }
        let end = if (k + self.task.seed + self.pass).is_multiple_of(2) { End::Fin } else { End::Reset };
        let Some(link) = self.outpost.proxy.pass(Plan::cut(self.way, k, end), DIAL_DEADLINE) else {
            return Ok(if self.recovers()? { Went::Early } else { Went::Stuck });
        };
        let mut more = 1;
        loop {
            if link.is_over() {
                return Ok(if link.was_cut() { Went::Cut } else { Went::Early });
            }
            let (settled, quiet) = (self.outpost.is_settled()?, link.quiet_for());
            if settled && more > 0 {
                more -= 1;
                self.outpost.offer(1)?;
            } else if settled && quiet > QUIET {
                link.cut(End::Fin);
                return Ok(Went::Whole(link.passed(self.way)));
            } else if quiet > STUCK {
                link.cut(End::Fin);
                return Ok(if self.recovers()? { Went::Cut } else { Went::Stuck });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether what is stuck gets through once nothing is cut.
    fn recovers(&mut self) -> anyhow::Result<bool> {
        self.outpost.proxy.open(Plan::default());
        let settled = self.outpost.settles(LAST_DEADLINE)?;
        self.outpost.proxy.close();
        self.outpost.proxy.cut_all(End::Fin);
        self.patience = if settled { LAST_DEADLINE } else { Duration::ZERO };
        Ok(settled)
    }

    /// Cuts after each byte of the leave that a stopped agent takes, a batch freshly on its way.
    fn leaves(&mut self) -> anyhow::Result<()> {
        let step = if self.task.size == Size::Short { 60 } else { 1 };
        let mut more = 1 + self.random.below(step);
        loop {
            self.outpost.proxy.open(Plan::default());
            if self.outpost.agent.process.is_none() {
                self.outpost.agent.start();
            }
            self.outpost.offer(1)?;
            let Some(link) = self.settled_link()? else { return Ok(()) };
            self.outpost.offer(1)?;
            link.cut_after(Way::Up, more);
            self.outpost.agent.stop();
            anyhow::ensure!(link.wait_over(DIAL_DEADLINE), "a connection outlived its agent");
            if !link.was_cut() {
                return Ok(());
            }
            self.found.did("cut_points", 1);
            more += step;
        }
    }

    /// The connection by which all was settled, once it is quiet; none if that does not come about, which is a fault.
    fn settled_link(&mut self) -> anyhow::Result<Option<Arc<Link>>> {
        let began = Instant::now();
        while began.elapsed() < LAST_DEADLINE {
            if let Some(link) = self.outpost.proxy.newest()
                && self.outpost.is_settled()?
                && !link.is_over()
                && link.quiet_for() > QUIET
            {
                return Ok(Some(link));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.found.fault(Fault::Lost, 1, || "after a leave that was cut, the backlog never ended".into());
        Ok(None)
    }
}
