//! What comes by itself. Nothing is written here.

use std::time::Duration;

use tokio::time::Instant;

use super::super::port::{Heard as Read, Port};
use super::trial::Trial;
use super::{Found, Wire, guess, is_same_line, link};
use crate::source::device::{Line, TCP};

/// Speeds at which text may come, the usual ones first.
const SPEEDS: [u32; 8] = [9_600, 115_200, 19_200, 38_400, 57_600, 4_800, 2_400, 1_200];
/// Bytes kept of what is heard at one speed: some seconds at the fastest.
const HEARD_MAX: usize = 64 * 1024;
/// Bytes read at once.
const PIECE_BYTES: usize = 4_096;
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What was heard.
pub(super) enum Heard {
    /// A device that was recognised.
    Found(Found),
    /// So many bytes of which nothing was made.
    Bytes(usize),
}

/// Listens at one speed after the other. Where nothing at all is heard at the first, the line is silent: at a wrong speed
/// a device is not understood, but heard.
pub(super) async fn listen(
    wire: &Wire<'_>,
    listeners: &mut [Trial],
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Heard, String> {
    let mut most = 0;
    for line in lines(wire, listeners) {
        let speed = if wire.port.starts_with(TCP) { String::new() } else { format!(" at {}", line.baud) };
        say(&format!("listening{speed} for up to {} s", wire.listen.as_secs()));
        let heard = listen_at(wire, line, listeners).await?;
        let here = listeners.iter().filter(|trial| is_same_line(wire.port, trial.link.line, line));
        let best = here.filter(|trial| trial.recognised_speech()).min_by_key(|trial| trial.misfit());
        if let Some(best) = best {
            return Ok(Heard::Found(best.found()));
        }
        if let Some(found) = text(wire, line, &heard)? {
            return Ok(Heard::Found(found));
        }
        most = most.max(heard.len());
        // Who wants to answer was understood at this speed: it is not looked for at others.
        if most == 0 || listeners.iter().any(|trial| trial.wants_to_answer) {
            break;
        }
    }
    Ok(Heard::Bytes(most))
}

/// The line settings to listen with.
fn lines(wire: &Wire<'_>, listeners: &[Trial]) -> Vec<Line> {
    let (usual, others) = SPEEDS.split_at(2);
    let plain = |speeds: &[u32]| speeds.iter().map(|speed| Line::plain(*speed)).collect::<Vec<_>>();
    let wanted = listeners.iter().map(|trial| trial.link.line);
    let mut lines = Vec::new();
    for line in plain(usual).into_iter().chain(wanted).chain(plain(others)) {
        if !lines.iter().any(|other| is_same_line(wire.port, *other, line)) {
            lines.push(line);
        }
    }
    lines
}

async fn listen_at(wire: &Wire<'_>, line: Line, listeners: &mut [Trial]) -> Result<Vec<u8>, String> {
    let mut port = Port::open(&link(wire, line)).await?;
    let those = listeners.iter_mut().filter(|trial| is_same_line(wire.port, trial.link.line, line));
    let mut those: Vec<&mut Trial> = those.collect();
    those.iter_mut().for_each(|trial| trial.open());
    let (mut heard, mut buffer) = (Vec::new(), vec![0; PIECE_BYTES]);
    let until = Instant::now() + wire.listen;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || those.iter().any(|trial| trial.recognised_speech() || trial.wants_to_answer) {
            return Ok(heard);
        }
        match port.read(&mut buffer, left.min(TICK)).await {
            Read::Bytes(count) => {
                let piece = &buffer[..count];
                those.iter_mut().for_each(|trial| trial.hear(piece));
                heard.extend_from_slice(&piece[..count.min(HEARD_MAX - heard.len())]);
            }
            Read::Silence => {}
            Read::Lost(problem) => return Err(problem),
        }
        those.iter_mut().for_each(|trial| trial.mind_deadline());
    }
}

/// What was heard as lines of text, if it is that.
fn text(wire: &Wire<'_>, line: Line, heard: &[u8]) -> Result<Option<Found>, String> {
    let Some(guess) = guess::settings(heard, line.baud) else { return Ok(None) };
    let mut trial = Trial::new(guess.what, &guess.settings, guess::CHECK, wire)?;
    trial.open();
    trial.hear(heard);
    Ok(trial.recognised_speech().then(|| trial.found()))
}
