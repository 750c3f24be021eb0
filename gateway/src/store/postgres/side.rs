//! A connection beside the writers'.

use super::driver::Driver;
use super::schema;
use super::session::{Patience, Session};
use super::settings::Settings;
use crate::store::error::StoreError;
use crate::store::side::PATIENCE;
use crate::store::sql::Db;

/// A lock is not waited for long: whoever asked asks again.
const OPTIONS: &str = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=10s -c statement_timeout=10s \
     -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 -c tcp_user_timeout=15000";

/// The way to one server, opened when it is first needed and anew after an error.
pub struct Side {
    settings: Settings,
    session: Option<Session>,
}

impl Side {
    pub(in crate::store) fn new(settings: Settings) -> Self {
        Self { settings, session: None }
    }

    pub(in crate::store) fn transact<T, E: From<StoreError>>(
        &mut self,
        act: impl FnOnce(Db<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Only what ends well is used again.
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.settings, "tributary side", OPTIONS)?;
                schema::check(&session, Patience::Each(PATIENCE), &self.settings)?;
                session
            }
        };
        let driver = Driver::new(&session, Patience::Each(PATIENCE));
        driver.begin();
        let answer = act(Db::new(&driver))?;
        driver.commit().map_err(StoreError::from)?;
        drop(driver);
        self.session = Some(session);
        Ok(answer)
    }
}
