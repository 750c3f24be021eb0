//! What the listener has counted since it started, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start. Only ever grow, but for `connections_open`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Devices connected now.
    pub connections_open: Count,
    /// CONNECTs accepted.
    pub connections: Count,
    /// Sockets closed at once because `connections_max` was reached.
    pub connections_turned_away: Count,
    /// TLS handshakes that failed: no certificate, a foreign or revoked one, no TLS at all, too slow.
    pub handshakes_failed: Count,
    /// TLS handshakes pushed out by newer ones.
    pub handshakes_evicted: Count,
    /// CONNECTs refused, or not sent in time.
    pub connects_refused: Count,
    /// Connections that a newer one of the same device ended.
    pub takeovers: Count,
    /// Of these, those at whose other end somebody still was: where there are many, a certificate is in use twice.
    pub takeovers_contested: Count,
    /// Publishes handed to the pipeline, last wills included.
    pub publishes: Count,
    /// Publishes that their sender has no right to.
    pub publishes_denied: Count,
    /// Publishes refused because their sender has used up its quota.
    pub publishes_over_quota: Count,
    /// Times that a device was not read from for a while, for the same reason.
    pub quota_pauses: Count,
    /// Subscriptions refused.
    pub subscriptions_denied: Count,
    /// Packets beyond the stated size.
    pub oversized: Count,
    /// Packets that are not MQTT, or not at that moment.
    pub protocol_errors: Count,
    /// Messages to devices that were not sent: not subscribed, or larger than the device takes.
    pub messages_skipped: Count,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less, for what can go away.
    pub(in crate::ingest) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
