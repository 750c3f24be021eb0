//! The port over time: open, write what the codec wants, feed it what comes, lose the port, wait, open it again.

use std::time::Duration;

use proto::{Instant, Lane};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

#[cfg(feature = "programs")]
use super::Program;
use super::limit::Limit;
use super::port::{Heard, Port};
use super::{Codec, Link, Now, Out};
use crate::source::{Intake, Outlet, SourceClock, SourceName};

/// How long to wait before opening again, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The most for a program that never prints a line that can be read.
#[cfg(feature = "programs")]
const PROGRAM_RETRY_MAX: Duration = Duration::from_secs(300);
/// How long a port may take to close when the agent stops.
const STOP_TIME: Duration = Duration::from_secs(1);
/// Bytes read at once: what a Linux terminal holds.
const PIECE_BYTES: usize = 4_096;
/// Patience where there is no deadline: long, and not so long that adding it to a time overflows.
const FOREVER: Duration = Duration::from_secs(86_400);
/// The least patience: a codec whose deadlines are always past must not spin.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// One source's port, and who understands what comes from it.
pub(crate) struct Shell {
    link: Link,
    codec: Box<dyn Codec>,
    name: SourceName,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
    limit: Limit,
    /// What is run in the place of a port.
    #[cfg(feature = "programs")]
    program: Option<Program>,
    /// How long to wait before opening again, at first and at most.
    pub(crate) retry: (Duration, Duration),
}

/// Why reading a port ended.
enum Why {
    Stopped,
    Lost(String),
    /// The codec wants it opened again.
    HungUp(String),
}

impl Shell {
    pub(crate) fn new(
        link: Link,
        codec: Box<dyn Codec>,
        name: SourceName,
        outlet: Outlet,
        clock: SourceClock,
        stop: CancellationToken,
    ) -> Self {
        let (limit, retry) = (Limit::default(), (RETRY_MIN, RETRY_MAX));
        Self {
            link,
            codec,
            name,
            outlet,
            clock,
            stop,
            limit,
            #[cfg(feature = "programs")]
            program: None,
            retry,
        }
    }

    /// The same with a program in the place of a port, if there is one.
    #[cfg(feature = "programs")]
    pub(crate) fn with(mut self, program: Option<Program>) -> Self {
        if let Some(Program { restart, .. }) = program {
            self.retry = (restart, restart.max(PROGRAM_RETRY_MAX));
        }
        self.program = program;
        self
    }

    /// A program that runs, or why it does not; none where there is a port.
    #[cfg(feature = "programs")]
    fn start(&self) -> Option<Result<Port, String>> {
        self.program.as_ref().map(Port::start)
    }

    #[cfg(not(feature = "programs"))]
    fn start(&self) -> Option<Result<Port, String>> {
        None
    }

    /// Until it is told to stop.
    pub(crate) async fn run(mut self) {
        let (mut retry, mut told) = (self.retry.0, String::new());
        // A device that does not answer is tried again and again: only what is new is worth a line in the log.
        let mut again = false;
        while !self.stop.is_cancelled() {
            let mut well = false;
            let opened = match self.start() {
                Some(started) => started,
                None => tokio::select! {
                    opened = Port::open(&self.link) => opened,
                    () = self.stop.cancelled() => return,
                },
            };
            let why = match opened {
                Ok(port) => {
                    match again {
                        false => info!(source = %self.name, port = self.link.port, "opened {}", self.link.port),
                        true => debug!(source = %self.name, port = self.link.port, "opened {} again", self.link.port),
                    }
                    self.attend(port, &mut well).await
                }
                Err(problem) => Why::Lost(problem),
            };
            again = matches!(why, Why::HungUp(_));
            let (Why::Lost(problem) | Why::HungUp(problem)) = why else { return };
            if well {
                (retry, told) = (self.retry.0, String::new());
            }
            if problem != told {
                warn!(source = %self.name, port = self.link.port, "{}: {problem}", self.link.port);
                told = problem;
            }
            tokio::select! {
                () = sleep(retry) => {}
                () = self.stop.cancelled() => return,
            }
            retry = (retry * 2).min(self.retry.1);
        }
    }

    /// Does what the codec wants until the port is lost. The port is closed when this returns.
    async fn attend(&mut self, mut port: Port, well: &mut bool) -> Why {
        let mut out = Out::default();
        let why = self.converse(&mut port, &mut out, well).await;
        // Closed first: a replugged adapter gets its old name only when nobody holds it.
        let (name, at) = (&self.name, &self.link.port);
        let late =
            || warn!(source = %name, port = at, "{at} is slow to close: the adapter does not take what was sent");
        if matches!(why, Why::Stopped) {
            let _ = timeout(STOP_TIME, port.close(late)).await; // the end of the process closes it as well
            return why;
        }
        tokio::select! {
            () = port.close(late) => {}
            () = self.stop.cancelled() => return Why::Stopped,
        }
        self.codec.lost(self.now(), &mut out);
        *well |= out.well;
        if self.hand_over(&mut out).await && self.tell_rest().await { why } else { Why::Stopped }
    }

    /// The same while the port is open.
    async fn converse(&mut self, port: &mut Port, out: &mut Out, well: &mut bool) -> Why {
        let (mut buffer, mut is_heard) = (vec![0; PIECE_BYTES], false);
        self.codec.opened(self.now(), out);
        loop {
            *well |= std::mem::take(&mut out.well);
            // What was read is safe before the device is asked for more.
            if !self.hand_over(out).await {
                return Why::Stopped;
            }
            if let Some(problem) = out.hang_up.take() {
                return Why::HungUp(if *well { problem } else { self.advise(problem, is_heard) });
            }
            let (stop, patience) = (self.stop.clone(), self.patience(out));
            let heard = tokio::select! {
                heard = exchange(port, &mut out.write, &mut buffer, patience) => heard,
                () = stop.cancelled() => return Why::Stopped,
            };
            match heard {
                Heard::Bytes(count) => {
                    is_heard = true;
                    self.codec.heard(&buffer[..count], self.now(), out);
                }
                Heard::Silence => {}
                Heard::Lost(problem) => return Why::Lost(problem),
            }
            let now = self.now();
            if out.wake_at.is_some_and(|at| at <= now.boot) {
                out.wake_at = None;
                self.codec.due(now, out);
            }
            if self.limit.patience(tokio::time::Instant::now()).is_some_and(|patience| patience.is_zero())
                && !self.tell_rest().await
            {
                return Why::Stopped;
            }
        }
    }

    /// Why a codec gave up that understood nothing, with what to look at.
    fn advise(&self, problem: String, is_heard: bool) -> String {
        #[cfg(feature = "programs")]
        if self.program.is_some() {
            return problem; // it has no speed
        }
        format!("{problem}; {}", self.link.advice(is_heard))
    }

    fn now(&self) -> Now {
        Now { boot: self.clock.boot(), wall: self.clock.wall() }
    }

    /// How long to wait for bytes: to the codec's deadline, or until rejects that were only counted are to be told of.
    fn patience(&self, out: &Out) -> Duration {
        let Instant(now) = self.clock.boot();
        let codec = out.wake_at.map(|at| Duration::from_micros(u64::try_from(at.0.saturating_sub(now)).unwrap_or(0)));
        let limit = self.limit.patience(tokio::time::Instant::now());
        let patience = codec.into_iter().chain(limit).min().unwrap_or(FOREVER);
        patience.clamp(PATIENCE_MIN, FOREVER)
    }

    /// Tells of the rejects that were only counted; whether that was taken.
    async fn tell_rest(&mut self) -> bool {
        let Some(reject) = self.limit.rest(self.link.port.clone()) else { return true };
        let mut intake = Intake::empty(&self.name, Lane::Live);
        intake.rejects.push(reject);
        self.outlet.put_or_stop(intake, &self.stop).await
    }

    /// Whether all of it was taken.
    async fn hand_over(&mut self, out: &mut Out) -> bool {
        for part in std::mem::take(&mut out.parts) {
            let mut intake = Intake::empty(&self.name, Lane::Live);
            (intake.samples, intake.urgent, intake.cursor) = (part.samples, part.urgent, part.cursor);
            for mut reject in part.rejects {
                reject.place = format!("{} {}", self.link.port, reject.place).trim_end().to_owned();
                if let Some(reject) = self.limit.admit(reject, tokio::time::Instant::now()) {
                    warn!(source = %self.name, "rejected {}: {}", reject.place, reject.reason);
                    intake.rejects.push(reject);
                }
            }
            let empty = intake.is_empty() && intake.cursor.is_none();
            if !empty && !self.outlet.put_or_stop(intake, &self.stop).await {
                return false;
            }
        }
        true
    }
}

/// Writes what is to be written, then waits for bytes.
async fn exchange(port: &mut Port, write: &mut Vec<u8>, buffer: &mut [u8], patience: Duration) -> Heard {
    let bytes = std::mem::take(write);
    if !bytes.is_empty()
        && let Err(problem) = port.write(&bytes).await
    {
        return Heard::Lost(problem);
    }
    port.read(buffer, patience).await
}
