//! Devices that speak by themselves: how often they are listened to, and how long they may be silent.

use std::time::Duration;

use proto::Instant;

use super::BadSetting;
use super::device::{Now, Out};

/// Takes one in a while of what a device says by itself, and notices when it says nothing.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    silence: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// 0 is: all of it; never.
    pub(super) fn new(every_s: u32, silence_s: u32) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Self { every: seconds(every_s), silence: seconds(silence_s), next: None }
    }

    /// The settings' check.
    pub(super) fn check(every_s: u32, silence_s: u32) -> Result<(), BadSetting> {
        if every_s > 86_400 {
            return Err(BadSetting::new("every_s", "is to be 0 to 86400"));
        }
        match silence_s {
            0 | 10..=86_400 => Ok(()),
            _ => Err(BadSetting::new("silence_s", "is to be 10 to 86400, or 0 for never")),
        }
    }

    /// Whether what came now is to be taken.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        let is_due = self.next.is_none_or(|next| next <= now.boot);
        if is_due {
            self.next = Some(now.after(self.every));
        }
        is_due
    }

    /// Something that can be read came, or the port was opened: the device has time anew.
    pub(super) fn expect(&self, now: Now, out: &mut Out) {
        if !self.silence.is_zero() {
            out.wake_at(now.after(self.silence));
        }
    }

    /// It said nothing that can be read in time.
    pub(super) fn give_up(&self, advice: &str, out: &mut Out) {
        out.hang_up(format!("says nothing that can be read for {} s; {advice}", self.silence.as_secs()));
    }
}
