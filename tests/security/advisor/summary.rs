//! What devices did in all, as the log of a run of Device Advisor sums it up.

use std::collections::{BTreeMap, BTreeSet};

use harness::mqtt::Packet;
use serde_json::{Value, json};

/// The sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    connects: u64,
    keep_alive_s: BTreeSet<u16>,
    clean: BTreeSet<bool>,
    /// By topic and QoS.
    published: BTreeMap<(String, u8), u64>,
    subscribed: BTreeMap<(String, u8), u64>,
    pings: u64,
}

impl Summary {
    pub(super) fn note(&mut self, packet: &Packet, device: &str) {
        let of_any = |topic: &str| topic.replace(device, "{device}");
        match packet {
            Packet::Connect { clean, keep_alive_s, .. } => {
                self.connects += 1;
                self.keep_alive_s.insert(*keep_alive_s);
                self.clean.insert(*clean);
            }
            Packet::Publish { topic, id, .. } => {
                *self.published.entry((of_any(topic), u8::from(id.is_some()))).or_default() += 1;
            }
            Packet::Subscribe { filters, .. } => {
                for (filter, qos) in filters {
                    *self.subscribed.entry((of_any(filter), *qos)).or_default() += 1;
                }
            }
            Packet::PingReq => self.pings += 1,
            _ => {}
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.connects += other.connects;
        self.keep_alive_s.extend(other.keep_alive_s);
        self.clean.extend(other.clean);
        other.published.into_iter().for_each(|(topic, count)| *self.published.entry(topic).or_default() += count);
        other.subscribed.into_iter().for_each(|(topic, count)| *self.subscribed.entry(topic).or_default() += count);
        self.pings += other.pings;
    }

    /// Topics that were published, and filters that were subscribed; each once.
    pub(super) fn topics(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let names = |all: &BTreeMap<(String, u8), u64>| all.keys().map(|(topic, _)| topic.clone()).collect();
        (names(&self.published), names(&self.subscribed))
    }

    pub(super) fn json(&self, backoff: &str) -> Value {
        let list = |all: &BTreeMap<(String, u8), u64>| -> Vec<Value> {
            all.iter().map(|((topic, qos), count)| json!({ "topic": topic, "qos": qos, "count": count })).collect()
        };
        json!({
            "connects": self.connects,
            "keep_alive_s": self.keep_alive_s,
            "persistent_session": self.clean.contains(&false),
            "backoff": backoff,
            "pings": self.pings,
            "published": list(&self.published),
            "subscribed": list(&self.subscribed),
        })
    }
}
