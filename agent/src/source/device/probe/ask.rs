//! What answers when it is asked.

use std::time::Duration;

use tokio::time::Instant;

use super::super::port::{Heard, Port};
use super::Wire;
use super::trial::Trial;

/// How long one conversation may take: a whole memory is a matter of seconds. With a device that speaks by itself, what
/// comes need not be an answer: it has no longer than a silent one.
const TALK_MAX: Duration = Duration::from_secs(30);
/// How long nothing is to come before the first question, and how long that is waited for.
const HUSH: Duration = Duration::from_millis(80);
const HUSH_MAX: Duration = Duration::from_secs(1);
/// The least patience: a codec whose deadlines are always past must not spin.
const PATIENCE_MIN: Duration = Duration::from_millis(1);
/// Bytes read at once.
const PIECE_BYTES: usize = 4_096;

/// Whether the device at `wire` answers as `trial` expects it.
pub(super) async fn ask(wire: &Wire<'_>, trial: &mut Trial, speaks: bool) -> Result<bool, String> {
    let mut port = Port::open(&trial.link).await?;
    let mut buffer = vec![0; PIECE_BYTES];
    if !speaks {
        hush(&mut port, &mut buffer).await;
    }
    debug_assert!(wire.ask, "nothing is asked unless that is wanted");
    trial.open();
    let talk_max = if speaks { wire.silence } else { TALK_MAX };
    let (began, mut last) = (Instant::now(), Instant::now());
    loop {
        let write = trial.take_write();
        if !write.is_empty() {
            port.write(&write).await?;
        }
        if trial.recognised_answers() {
            hush(&mut port, &mut buffer).await;
            return Ok(true);
        }
        let left = wire.silence.saturating_sub(last.elapsed()).min(talk_max.saturating_sub(began.elapsed()));
        if trial.has_given_up || left.is_zero() {
            return Ok(false);
        }
        let patience = trial.patience().unwrap_or(left).min(left).max(PATIENCE_MIN);
        match port.read(&mut buffer, patience).await {
            Heard::Bytes(count) => {
                last = Instant::now();
                trial.hear(&buffer[..count]);
            }
            Heard::Silence => {}
            Heard::Lost(problem) => return Err(problem),
        }
        trial.mind_deadline();
    }
}

/// Waits until nothing comes any more: what is still under way answers what was asked before, and is not left to whoever
/// opens the port next.
async fn hush(port: &mut Port, buffer: &mut [u8]) {
    let began = Instant::now();
    while began.elapsed() < HUSH_MAX
        && let Heard::Bytes(_) = port.read(buffer, HUSH).await
    {}
}
