//! What a session says to a scripted broker, and what messages become.

use std::sync::Arc;
use std::time::Duration;

use emulators::mqtt::{self, Message, acknowledged, said};
use proto::Instant;

use super::batch::Batch;
use super::session::Session;
use super::*;
use crate::source::device::Now;
use crate::source::testing::{NOON, assert_golden, configured, told};
use crate::source::{Configured, Sample};

mod devices;
mod settings;
mod sparkplug;
mod talk;
mod wire;

/// A session in invented time, and what it says and hands over.
struct Bench {
    session: Session,
    now: Now,
    said: Vec<u8>,
    /// What was handed over, with its cursor.
    batches: Vec<(Batch, Vec<u8>)>,
    /// Whether batches are stored at once.
    stores: bool,
}

fn settings_of(configured: &Configured) -> Settings {
    match &configured.settings {
        crate::source::Settings::Mqtt(settings) => (**settings).clone(),
        other => panic!("{other:?}"),
    }
}

/// A source that reads `t` of any topic below `a`, with `more` lines of settings.
fn plain(more: &str) -> Settings {
    settings_of(&configured(&format!(
        "name = \"s\"\ntype = \"mqtt\"\nhost = \"127.0.0.1\"\n{more}\n[[topics]]\nfilter = \"a/+\"\n\
         series = [{{ pointer = \"/t\", name = \"t.{{1}}\", unit = \"Cel\" }}]"
    )))
}

impl Bench {
    fn new(settings: &Settings, cursor: Option<&[u8]>) -> Self {
        let (content, filters) = settings.content().unwrap();
        let manner = settings.manner("s", filters).unwrap();
        let session = Session::new(Arc::from("s"), manner, content, cursor);
        let now = Now { boot: Instant(0), wall: Some(NOON) };
        Self { session, now, said: Vec::new(), batches: Vec::new(), stores: true }
    }

    /// Connected, welcomed and subscribed.
    fn up(settings: &Settings, cursor: Option<&[u8]>) -> Self {
        let mut bench = Self::new(settings, cursor);
        bench.connect(false);
        bench.said.clear();
        bench.batches.clear();
        bench
    }

    fn connect(&mut self, session_present: bool) {
        self.session.opened(self.now);
        self.settle();
        self.hears(&mqtt::welcome(session_present, 0));
        if !self.session.is_up() {
            let filters = said(&self.said).iter().filter(|(first, _)| *first == 0x82).count();
            assert_eq!(filters, 1, "it subscribes");
            let wanted = self.session_filters();
            self.hears(&mqtt::subscribed(&vec![1; wanted]));
        }
        assert!(self.session.is_up());
    }

    /// How many filters its last SUBSCRIBE has.
    fn session_filters(&self) -> usize {
        let all = said(&self.said);
        let (_, body) = all.iter().rev().find(|(first, _)| *first == 0x82).unwrap();
        let (mut rest, mut count) = (&body[2..], 0);
        while let [high, low, ..] = rest {
            rest = &rest[usize::from(u16::from_be_bytes([*high, *low])) + 3..];
            count += 1;
        }
        count
    }

    fn tries(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.session.heard(bytes, self.now)?;
        self.settle();
        Ok(())
    }

    fn hears(&mut self, bytes: &[u8]) {
        self.tries(bytes).unwrap();
    }

    fn message(&mut self, id: u16, topic: &str, payload: &str) {
        self.hears(&Message::new(id, topic, payload.as_bytes()).encode());
    }

    fn settle(&mut self) {
        loop {
            self.said.extend(self.session.take_write());
            if !self.stores {
                return;
            }
            let Some(batch) = self.session.take_batch() else { return };
            self.batches.push(batch);
            assert!(acknowledged(&self.session.take_write()).is_empty(), "nothing is said before it is stored");
            self.session.stored(self.now);
            self.session.read_on(self.now).unwrap();
        }
    }

    fn passes(&mut self, time: Duration) -> Result<(), String> {
        self.now.boot = self.now.after(time);
        self.session.due(self.now)?;
        self.settle();
        Ok(())
    }

    fn acks(&mut self) -> Vec<u16> {
        acknowledged(&std::mem::take(&mut self.said))
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.batches.iter().flat_map(|(batch, _)| batch.live.iter().chain(&batch.past))
    }

    /// Every reading and reject, as lines.
    fn told(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.samples().map(told).collect();
        let rejects = self.batches.iter().flat_map(|(batch, _)| &batch.rejects);
        lines.extend(rejects.map(|reject| format!("rejected {}: {}", reject.place, reject.reason)));
        lines
    }
}
