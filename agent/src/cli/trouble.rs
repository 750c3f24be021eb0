//! What sources say of their troubles, counted as they say it in the log.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// That of one source.
#[derive(Clone, Debug, Default)]
struct Trouble {
    source: String,
    count: u64,
    last: String,
}

/// Sources of which troubles are kept.
const SOURCES_MAX: usize = 1_024;

/// Warnings and errors of each source: how many, and the last. What a source rejected is not among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles(Arc<Mutex<Vec<Trouble>>>);

impl Troubles {
    /// How many there were of that source, and the last.
    pub(super) fn of(&self, source: &str) -> (u64, String) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|trouble| trouble.source == source);
        found.map(|trouble| (trouble.count, trouble.last.clone())).unwrap_or_default()
    }
}

impl<S: Subscriber> Layer<S> for Troubles {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        if said.source.is_empty() || said.message.starts_with("rejected ") {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trouble) = all.iter_mut().find(|trouble| trouble.source == said.source) {
            (trouble.count, trouble.last) = (trouble.count + 1, said.message);
        } else if all.len() < SOURCES_MAX {
            all.push(Trouble { source: said.source, count: 1, last: said.message });
        }
    }
}

/// The fields that matter.
#[derive(Default)]
struct Said {
    source: String,
    message: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "source" => self.source = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}
