//! One message: known already, kept from long ago, too long, or to be read.

use proto::Instant;
use tracing::{debug, warn};

use super::{Content, Session};
use crate::source::device::Now;
use crate::source::mqtt::packet::{self, Publish};
use crate::source::mqtt::recent::Recent;

impl Session {
    pub(super) fn message(&mut self, publish: &Publish, now: Now) {
        let Publish { topic, id, dup, retain, payload, length } = publish;
        let hash = Recent::hash(&[topic, payload, &length.to_be_bytes()]);
        if let Some(id) = *id {
            self.batch.acks.push(id);
            if *dup && self.recent.knows(id, hash) {
                debug!(source = %self.name, "a message came again and is taken no second time");
                return;
            }
        }
        let before = (self.batch.live.len(), self.batch.past.len(), self.batch.rejects.len());
        match std::str::from_utf8(topic) {
            Err(_) => self.batch.reject(&String::from_utf8_lossy(topic), "has a topic that is not UTF-8 text", payload),
            Ok(topic) if !self.is_wanted(topic, *retain, hash) => {}
            Ok(topic) if publish.is_cut() => {
                let reason = format!(
                    "is {length} bytes long; up to {} are read, as `message_bytes_max` says",
                    self.manner.payload_bytes_max
                );
                self.batch.reject(topic, reason, payload);
            }
            Ok(topic) => self.read(topic, payload, now),
        }
        // What gave nothing may come again.
        if (self.batch.live.len(), self.batch.past.len(), self.batch.rejects.len()) != before
            && let Some(id) = *id
        {
            self.recent.take(id, hash, *dup);
        }
    }

    /// Whether a message is to be read, though it may have been kept by the broker since long ago.
    fn is_wanted(&mut self, topic: &str, retain: bool, hash: u64) -> bool {
        if !retain {
            return true;
        }
        match &self.content {
            // A birth or reading of long ago, out of any order.
            Content::Sparkplug(_) => false,
            Content::Topics(topics) => {
                self.manner.retained.unwrap_or_else(|| topics.has_time(topic)) && self.recent.is_new(hash)
            }
        }
    }

    fn read(&mut self, topic: &str, payload: &[u8], now: Now) {
        match &mut self.content {
            Content::Topics(topics) => {
                // To the millisecond: what is finer is chance, and costs bytes.
                let arrival = Instant(now.boot.0 - now.boot.0.rem_euclid(1_000));
                if !topics.take(topic, payload, arrival, &mut self.batch) {
                    if self.strays.is_power_of_two() || self.strays == 0 {
                        let strays = self.strays + 1;
                        warn!(
                            source = %self.name, strays,
                            "the broker still sends topics of earlier settings, which are ignored; another `client_id` ends that"
                        );
                    }
                    self.strays += 1;
                }
            }
            Content::Sparkplug(sparkplug) => {
                if let Some((topic, payload)) = sparkplug.take(topic, payload, now, &mut self.batch) {
                    self.write.extend(packet::publish(&topic, &payload));
                }
            }
        }
    }
}
