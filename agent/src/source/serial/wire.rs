//! The port over time: open, read lines, lose it, wait, open it again.

use std::time::Duration;

use proto::Lane;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Settings;
use super::limit::{Limit, WINDOW};
use super::port::{CUT_WITHIN, Heard, Port};
use crate::source::lines::{Framer, Line};
use crate::source::record::Parser;
use crate::source::{INTAKE_SAMPLES_MAX, Intake, Outlet, Reject, SourceClock, SourceName};

/// How long to wait before opening again, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Bytes read at once: what a Linux terminal holds.
const PIECE_BYTES: usize = 4_096;
/// Patience where silence is allowed: long, and not so long that adding it to a time overflows.
const FOREVER: Duration = Duration::from_secs(86_400);

/// One source's port.
pub(super) struct Wire {
    settings: Settings,
    parser: Parser,
    name: SourceName,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
    /// Lines since the source started.
    lines: u64,
    limit: Limit,
}

/// Why reading a port ended.
enum Why {
    Stopped,
    Lost(String),
}

impl Wire {
    pub(super) fn new(
        settings: Settings,
        parser: Parser,
        name: SourceName,
        outlet: Outlet,
        clock: SourceClock,
        stop: CancellationToken,
    ) -> Self {
        Self { settings, parser, name, outlet, clock, stop, lines: 0, limit: Limit::default() }
    }

    /// Until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut retry = RETRY_MIN;
        let mut told = String::new();
        while !self.stop.is_cancelled() {
            let before = self.lines;
            let problem = match Port::open(&self.settings) {
                Ok(port) => {
                    info!(source = %self.name, port = self.settings.port, "opened {}", self.settings.port);
                    match self.listen(port).await {
                        Why::Stopped => return,
                        Why::Lost(problem) => problem,
                    }
                }
                Err(error) => format!("cannot open: {error}; check `port`, the cable, and the group that may use it"),
            };
            if self.lines > before {
                (retry, told) = (RETRY_MIN, String::new());
            }
            if problem != told {
                warn!(source = %self.name, port = self.settings.port, "{}: {problem}", self.settings.port);
                told = problem;
            }
            tokio::select! {
                () = sleep(retry) => {}
                () = self.stop.cancelled() => return,
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Reads lines until the port is lost. The port is closed when this returns.
    async fn listen(&mut self, mut port: Port) -> Why {
        let mut framer = Framer::new(self.settings.line_bytes_max);
        let mut buffer = vec![0; PIECE_BYTES];
        let mut maybe_cut = None;
        loop {
            let telling = self.limit.untold > 0;
            let patience = self.patience();
            let stop = self.stop.clone();
            let heard = tokio::select! {
                heard = port.read(&mut buffer, patience) => heard,
                () = stop.cancelled() => return Why::Stopped,
            };
            let arrival = self.clock.boot();
            let mut intake = Intake::empty(&self.name, Lane::Live);
            let lost = match heard {
                Heard::Bytes(count, after) => {
                    maybe_cut.get_or_insert(after < CUT_WITHIN && !self.settings.trust_first_line);
                    framer.push(&buffer[..count]);
                    while let Some(line) = framer.next() {
                        let cut = maybe_cut.replace(false) == Some(true);
                        self.take(&line, arrival, cut, &mut intake);
                        if intake.samples.len() + self.parser.mapping.len() > INTAKE_SAMPLES_MAX {
                            let full = std::mem::replace(&mut intake, Intake::empty(&self.name, Lane::Live));
                            if !self.hand_over(full).await {
                                return Why::Stopped;
                            }
                        }
                    }
                    None
                }
                Heard::Silence => {
                    intake.rejects.extend(self.limit.rest(self.settings.port.clone()));
                    (!telling).then(|| format!("silent for {} s", self.settings.silence_s))
                }
                Heard::Lost(problem) => Some(problem),
            };
            if let Some(problem) = lost {
                drop(port); // closed first: a replugged adapter gets its old name only when nobody holds it
                if let Some(line) = framer.rest() {
                    self.lines += 1;
                    self.reject(&line, "was cut off when the port was lost".into(), &mut intake);
                }
                intake.rejects.extend(self.limit.rest(self.settings.port.clone()));
                return if self.hand_over(intake).await { Why::Lost(problem) } else { Why::Stopped };
            }
            if !self.hand_over(intake).await {
                return Why::Stopped;
            }
        }
    }

    /// How long to wait for bytes: as the settings say, or until counted rejects are to be told of.
    fn patience(&self) -> Duration {
        match (self.limit.untold, self.settings.silence_s) {
            (1.., _) => WINDOW,
            (_, 0) => FOREVER,
            (_, seconds) => Duration::from_secs(seconds.into()),
        }
    }

    fn take(&mut self, line: &Line, arrival: proto::Instant, cut: bool, intake: &mut Intake) {
        self.lines += 1;
        if line.too_long {
            return self.reject(line, "is longer than `line_bytes_max`".into(), intake);
        }
        if cut {
            let reason = "may have lost its beginning, the port was opened while it was sent; if that cannot be, set \
                trust_first_line = true";
            return self.reject(line, reason.into(), intake);
        }
        match self.parser.read(&line.bytes, arrival) {
            Ok(None) => {}
            Ok(Some(taken)) => {
                intake.urgent |= taken.urgent;
                intake.samples.extend(taken.samples);
                if let Some(problem) = taken.problem {
                    self.reject(line, problem, intake);
                }
            }
            Err(problem) => self.reject(line, problem, intake),
        }
    }

    fn reject(&mut self, line: &Line, reason: String, intake: &mut Intake) {
        let place = format!("{} line {}", self.settings.port, self.lines);
        let reject = self.limit.admit(Reject::new(place, reason, &line.bytes), Instant::now());
        if let Some(reject) = &reject {
            warn!(source = %self.name, "rejected {}: {}", reject.place, reject.reason);
        }
        intake.rejects.extend(reject);
    }

    /// Whether it was taken; an empty intake need not be.
    async fn hand_over(&self, intake: Intake) -> bool {
        intake.is_empty() || self.outlet.put_or_stop(intake, &self.stop).await
    }
}
