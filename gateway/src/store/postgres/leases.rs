//! Work that one gateway does for all: whoever holds its lease.

use std::time::Duration;

use super::session::{Patience, Session};
use super::settings::Settings;
use crate::store::error::StoreError;

/// How long the server may take to say who holds a lease.
const ANSWER: Duration = Duration::from_secs(5);
const OPTIONS: &str = "-c lock_timeout=2s -c statement_timeout=4s -c jit=off";

/// The leases that one gateway holds. What is done under one must be right even if two do it for a moment: a holder that
/// was stopped may go on after its lease has passed to another.
pub struct Leases {
    settings: Settings,
    holder: String,
    session: Option<Session>,
}

impl Leases {
    /// For one gateway, or one part of it. Connects when it is first asked.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), holder: unique(), session: None }
    }

    /// Takes or renews the lease of `name` for `time`, by the server's clock. Answers whether it is ours now.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn hold(&mut self, name: &str, time: Duration) -> Result<bool, StoreError> {
        let sql =
            "insert into lease (name, holder, until) values ($1, $2, clock_timestamp() + make_interval(secs => $3))
             on conflict (name) do update set holder = excluded.holder, until = excluded.until
             where lease.holder = excluded.holder or lease.until < clock_timestamp()";
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.settings, "tributary leases", OPTIONS)?,
        };
        let (holder, seconds) = (&self.holder, time.as_secs_f64());
        let taken = session.wait(Patience::Each(ANSWER), async {
            Ok(session.client().execute(sql, &[&name, holder, &seconds]).await?)
        })?;
        self.session = Some(session);
        Ok(taken > 0)
    }

    /// Gives a lease back, so that nobody has to wait until it ends.
    ///
    /// # Errors
    /// The server does not answer; the lease ends by itself.
    pub fn release(&mut self, name: &str) -> Result<(), StoreError> {
        let Some(session) = &self.session else { return Ok(()) };
        let sql = "delete from lease where name = $1 and holder = $2";
        let holder = &self.holder;
        session.wait(Patience::Each(ANSWER), async { Ok(session.client().execute(sql, &[&name, holder]).await?) })?;
        Ok(())
    }
}

/// A name that nobody else has: std's hasher takes its keys from the system's randomness.
pub(crate) fn unique() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let half = || RandomState::new().build_hasher().finish();
    format!("{}-{:016x}{:016x}", std::process::id(), half(), half())
}
