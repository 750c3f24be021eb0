//! Lines, as they come.

use std::time::Duration;

use proto::Instant;

use super::Settings;
use crate::source::device::{Codec, Now, Out};
use crate::source::lines::{Framer, Line};
use crate::source::record::Parser;

/// Bytes that come sooner than this after opening belong to a line that had begun before: at 300 baud, the slowest in
/// use, a character takes 33 ms.
const CUT_WITHIN: Duration = Duration::from_millis(40);

/// Reads lines as the settings say.
pub(in crate::source) struct Lines {
    parser: Parser,
    framer: Framer,
    trust_first_line: bool,
    /// Silence after which the port is opened anew.
    silence: Option<Duration>,
    /// Lines since the source started.
    lines: u64,
    /// Until when bytes belong to a line that had begun before the port was opened.
    cut_until: Instant,
    /// Whether the present line may have lost its beginning; none before the first byte.
    maybe_cut: Option<bool>,
}

impl Lines {
    pub(in crate::source) fn new(settings: &Settings, parser: Parser) -> Self {
        let silence = (settings.silence_s > 0).then(|| Duration::from_secs(settings.silence_s.into()));
        Self {
            parser,
            framer: Framer::new(settings.line_bytes_max),
            trust_first_line: settings.trust_first_line,
            silence,
            lines: 0,
            cut_until: Instant(0),
            maybe_cut: None,
        }
    }

    fn take(&mut self, line: &Line, arrival: Instant, cut: bool, out: &mut Out) {
        self.lines += 1;
        out.well();
        if line.too_long {
            return self.reject(line, "is longer than `line_bytes_max`", out);
        }
        if cut {
            let reason = "may have lost its beginning, the port was opened while it was sent; if that cannot be, set \
                trust_first_line = true";
            return self.reject(line, reason, out);
        }
        match self.parser.read(&line.bytes, arrival) {
            Ok(None) => {}
            Ok(Some(taken)) => {
                taken.samples.into_iter().for_each(|sample| out.take(sample));
                if taken.urgent {
                    out.urgent();
                }
                if let Some(problem) = taken.problem {
                    self.reject(line, &problem, out);
                }
            }
            Err(problem) => self.reject(line, &problem, out),
        }
    }

    fn reject(&self, line: &Line, reason: &str, out: &mut Out) {
        // At a wrong speed characters come as other bytes.
        let is_text = std::str::from_utf8(&line.bytes).is_ok();
        let hint = if is_text { "" } else { "; is `baud` what the device is set to?" };
        out.reject(format!("line {}", self.lines), format!("{reason}{hint}"), &line.bytes);
    }

    fn expect_more(&self, now: Now, out: &mut Out) {
        if let Some(silence) = self.silence {
            out.wake_at(now.after(silence));
        }
    }
}

impl Codec for Lines {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.framer.clear();
        (self.cut_until, self.maybe_cut) = (now.after(CUT_WITHIN), None);
        self.expect_more(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        let trusted = self.trust_first_line;
        let cut_until = self.cut_until;
        self.maybe_cut.get_or_insert_with(|| now.boot < cut_until && !trusted);
        self.framer.push(bytes);
        while let Some(line) = self.framer.next() {
            let cut = self.maybe_cut.replace(false) == Some(true);
            self.take(&line, now.boot, cut, out);
        }
        self.expect_more(now, out);
    }

    fn due(&mut self, _now: Now, out: &mut Out) {
        let silence = self.silence.unwrap_or_default();
        out.hang_up(format!("silent for {} s", silence.as_secs()));
    }

    fn lost(&mut self, _now: Now, out: &mut Out) {
        if let Some(line) = self.framer.rest() {
            self.lines += 1;
            self.reject(&line, "was cut off when the port was lost", out);
        }
    }
}
