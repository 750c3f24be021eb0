//! What the door has counted since it started, for metrics.

use crate::ingest::listener::counters::Count;

/// Counts since the start. Only ever grow, but for `connections_open` and `devices_open`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections to the broker whose subscriptions stand.
    pub connections_open: Count,
    /// Devices that are known to be there.
    pub devices_open: Count,
    /// Connections that were lost, or could not be made.
    pub connections_lost: Count,
    /// Connections on which the broker had forgotten our session.
    pub sessions_lost: Count,
    /// Messages delivered.
    pub messages: Count,
    /// Of those, the ones that the broker had delivered before.
    pub messages_again: Count,
    /// Acknowledged although the pipeline refused them: behind a broker there is nobody to give them back to.
    pub messages_refused: Count,
    /// Acknowledged and dropped: on a topic that is no device's, or larger than any frame.
    pub messages_strange: Count,
    /// Messages at QoS 0 for which there was no room.
    pub messages_dropped: Count,
    /// Messages to devices.
    pub messages_sent: Count,
}
