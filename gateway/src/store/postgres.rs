//! PostgreSQL, with hypertables where TimescaleDB is there.

/// What went wrong, with the server's own words where it had any: the library's text names only the kind.
#[must_use]
pub fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        }
    }
}
