//! What the parts have counted, under the names that `/metrics` gives it.

use std::sync::Arc;

use crate::api::{self, Metric, MetricKind};
use crate::audit;
use crate::ends::{End, Whose};
use crate::ingest::broker;
use crate::ingest::listener::Counters;
use crate::ingest::totals::{Total, Totals};
use crate::lists;
use crate::rollup;
use crate::store::Now;
use crate::store::outbox::{self, totals::Count, totals::Totals as Sent};

/// The metrics of pipeline, rollups and doors.
pub(crate) fn of(
    totals: &'static Totals,
    rollup_totals: &'static rollup::Totals,
    audit_totals: Arc<audit::Totals>,
    counters: Arc<Counters>,
    broker: Option<Arc<broker::Counters>>,
) -> Vec<Metric> {
    let broker = broker.iter().flat_map(behind);
    let rollups = rollups(rollup_totals).into_iter().chain(timeseries());
    pipeline(totals)
        .into_iter()
        .chain([failing(totals)])
        .chain(rollups)
        .chain(trail(&audit_totals))
        .chain(listener(&counters))
        .chain(broker)
        .collect()
}

fn rollups(totals: &'static rollup::Totals) -> [Metric; 5] {
    let total = |name, help, total: &'static Total| Metric {
        name,
        labels: "",
        help,
        kind: MetricKind::Counter,
        read: Box::new(move || float(total.get())),
    };
    [
        total("tributary_rollup_readings_total", "Readings summed up.", &totals.readings),
        total("tributary_rollup_remade_total", "Minutes made anew: readings moved or withdrawn.", &totals.marks),
        total("tributary_rollup_rows_total", "Rows of sums written.", &totals.rows),
        total("tributary_rollup_failures_total", "Steps that failed and are tried again.", &totals.failures),
        total("tributary_readings_removed_total", "Old readings removed; their sums stay.", &totals.removed),
    ]
}

/// Reads one of the audit trail's counts.
type ReadTrail = fn(&audit::Totals) -> u64;

fn trail(totals: &Arc<audit::Totals>) -> [Metric; 3] {
    let all: [(&'static str, &'static str, ReadTrail); 3] = [
        ("tributary_audit_entries_total", "Entries of the audit trail written.", |totals| totals.entries.get()),
        ("tributary_audit_dropped_total", "Entries lost: no room, or the end came first.", |totals| {
            totals.dropped.get()
        }),
        ("tributary_audit_failures_total", "Times it could not be written.", |totals| totals.failures.get()),
    ];
    all.map(|(name, help, read)| {
        let totals = Arc::clone(totals);
        Metric { name, labels: "", help, kind: MetricKind::Counter, read: Box::new(move || float(read(&totals))) }
    })
}

fn timeseries() -> [Metric; 5] {
    use MetricKind::{Counter, Gauge};
    let metric = |name, help, kind, count: &'static Count| Metric {
        name,
        labels: "",
        help,
        kind,
        read: Box::new(move || float(count.get())),
    };
    let Sent { waiting, written, refused, collisions, failures } = &outbox::totals::TOTALS;
    [
        metric("tributary_timeseries_waiting", "Readings that wait for the time-series store.", Gauge, waiting),
        metric("tributary_timeseries_written_total", "Records written to it.", Counter, written),
        metric("tributary_timeseries_refused_total", "Records that it does not take.", Counter, refused),
        metric("tributary_timeseries_collisions_total", "Records that needed another rank.", Counter, collisions),
        metric("tributary_timeseries_failures_total", "Times it took nothing.", Counter, failures),
    ]
}

fn pipeline(totals: &'static Totals) -> [Metric; 10] {
    let total = |name, help, total: &'static Total| Metric {
        name,
        labels: "",
        help,
        kind: MetricKind::Counter,
        read: Box::new(move || float(total.get())),
    };
    [
        total("tributary_commits_total", "Transactions.", &totals.commits),
        total("tributary_batches_recorded_total", "Batches and packs recorded.", &totals.batches),
        total("tributary_readings_recorded_total", "Readings in them.", &totals.readings),
        total("tributary_batches_known_total", "Batches and packs that were there already.", &totals.known),
        total("tributary_quarantined_total", "Items put into quarantine.", &totals.quarantined),
        total("tributary_refused_total", "Batches and packs refused.", &totals.refused),
        total("tributary_cut_off_total", "Messages of devices that are cut off, not taken.", &totals.cut_off),
        total("tributary_receipts_sent_total", "Receipts handed to a connection.", &totals.receipts_sent),
        total("tributary_receipts_dropped_total", "Receipts that found no room.", &totals.receipts_dropped),
        total("tributary_store_failures_total", "Times the store took nothing.", &totals.store_failures),
    ]
}

fn failing(totals: &'static Totals) -> Metric {
    Metric {
        name: "tributary_store_failing",
        labels: "",
        help: "1 while the store takes nothing and devices keep what they have.",
        kind: MetricKind::Gauge,
        read: Box::new(move || f64::from(u8::from(totals.store.is_failing()))),
    }
}

/// Reads one of the counts of the door for people.
type ReadPeople = fn(&api::Counters) -> u64;

/// The metrics of the door for people.
pub(crate) fn people(counters: &Arc<api::Counters>) -> [Metric; 2] {
    let all: [(&'static str, &'static str, ReadPeople); 2] = [
        (
            "tributary_http_handshakes_failed_total",
            "TLS handshakes of browsers failed.",
            api::Counters::handshakes_failed,
        ),
        ("tributary_http_stalled_total", "Connections closed because nothing went on.", api::Counters::stalled),
    ];
    all.map(|(name, help, read)| {
        let counters = Arc::clone(counters);
        Metric { name, labels: "", help, kind: MetricKind::Counter, read: Box::new(move || float(read(&counters))) }
    })
}

/// The metrics of revocation lists.
pub(crate) fn lists(counts: &Arc<lists::Counts>, now: Now) -> [Metric; 3] {
    let metric = |name, help, kind, read: fn(&lists::Counts, Now) -> f64| {
        let counts = Arc::clone(counts);
        Metric { name, labels: "", help, kind, read: Box::new(move || read(&counts, now)) }
    };
    [
        metric(
            "tributary_revocation_list_seconds_left",
            "Until the first of the listener's revocation lists ends; NaN where it has none.",
            MetricKind::Gauge,
            |counts, now| {
                let left = counts.seconds_left(now().0.div_euclid(1_000_000)).map(i32::try_from);
                left.map_or(f64::NAN, |left| f64::from(left.unwrap_or(i32::MAX)))
            },
        ),
        metric(
            "tributary_revocation_lists_renewed_total",
            "Revocation lists written anew at half their life.",
            MetricKind::Counter,
            |counts, _| float(counts.renewed.get()),
        ),
        metric(
            "tributary_revocation_list_failures_total",
            "Times that one could not be written.",
            MetricKind::Counter,
            |counts, _| float(counts.failures.get()),
        ),
    ]
}

/// The metrics of certificates and authorities: what of this gateway's own ends by itself.
pub(crate) fn ends(ends: &[End], now: Now) -> Vec<Metric> {
    let metric = |end: &End| {
        let (name, help) = match end.whose {
            Whose::Own => ("tributary_certificate_seconds_left", "Until a certificate of this gateway ends."),
            Whose::Authority => ("tributary_authority_seconds_left", "Until an authority of devices ends."),
        };
        let (labels, end) = (end.labels, end.clone());
        let read = move || end.seconds_left(now().0.div_euclid(1_000_000)).map_or(f64::NAN, |left| left as f64);
        Metric { name, labels, help, kind: MetricKind::Gauge, read: Box::new(read) }
    };
    ends.iter().map(metric).collect()
}

/// Reads one of the listener's counts.
type Read = fn(&Counters) -> u64;

fn listener(counters: &Arc<Counters>) -> Vec<Metric> {
    let gauge = (
        "tributary_connections_open",
        "Devices connected now.",
        MetricKind::Gauge,
        (|counters| counters.connections_open.get()) as Read,
    );
    let totals: [(&'static str, &'static str, Read); 11] = [
        ("tributary_connections_total", "CONNECTs accepted.", |counters| counters.connections.get()),
        ("tributary_handshakes_failed_total", "TLS handshakes failed.", |counters| counters.handshakes_failed.get()),
        ("tributary_connects_refused_total", "CONNECTs refused.", |counters| counters.connects_refused.get()),
        ("tributary_takeovers_total", "Connections ended by a newer one.", |counters| counters.takeovers.get()),
        ("tributary_takeovers_contested_total", "Of these, those whose client still answered.", |counters| {
            counters.takeovers_contested.get()
        }),
        ("tributary_publishes_total", "Publishes taken in.", |counters| counters.publishes.get()),
        ("tributary_publishes_denied_total", "Publishes without a right.", |counters| counters.publishes_denied.get()),
        ("tributary_publishes_over_quota_total", "Publishes refused: too many a second.", |counters| {
            counters.publishes_over_quota.get()
        }),
        ("tributary_quota_pauses_total", "Times a device was not read from: too much a second.", |counters| {
            counters.quota_pauses.get()
        }),
        ("tributary_oversized_total", "Packets too large.", |counters| counters.oversized.get()),
        ("tributary_protocol_errors_total", "Packets that are not MQTT.", |counters| counters.protocol_errors.get()),
    ];
    let totals = totals.map(|(name, help, read)| (name, help, MetricKind::Counter, read));
    let metric = |(name, help, kind, read): (_, _, _, Read)| {
        let counters = Arc::clone(counters);
        Metric { name, labels: "", help, kind, read: Box::new(move || float(read(&counters))) }
    };
    std::iter::once(gauge).chain(totals).map(metric).collect()
}

/// Reads one of the broker door's counts.
type ReadBehind = fn(&broker::Counters) -> u64;

fn behind(counters: &Arc<broker::Counters>) -> Vec<Metric> {
    use MetricKind::{Counter, Gauge};
    let all: [(&'static str, &'static str, MetricKind, ReadBehind); 10] = [
        ("tributary_broker_connections_open", "Connections to the broker that stand.", Gauge, |it| {
            it.connections_open.get()
        }),
        ("tributary_broker_devices_open", "Devices heard by the broker.", Gauge, |it| it.devices_open.get()),
        ("tributary_broker_connections_lost_total", "Connections lost or not made.", Counter, |it| {
            it.connections_lost.get()
        }),
        ("tributary_broker_sessions_lost_total", "Sessions the broker had forgotten.", Counter, |it| {
            it.sessions_lost.get()
        }),
        ("tributary_broker_messages_total", "Messages delivered.", Counter, |it| it.messages.get()),
        ("tributary_broker_messages_again_total", "Of those, again.", Counter, |it| it.messages_again.get()),
        ("tributary_broker_messages_refused_total", "Acknowledged though refused.", Counter, |it| {
            it.messages_refused.get()
        }),
        ("tributary_broker_messages_strange_total", "No device's topic, or too large.", Counter, |it| {
            it.messages_strange.get()
        }),
        ("tributary_broker_messages_dropped_total", "At QoS 0, without room.", Counter, |it| it.messages_dropped.get()),
        ("tributary_broker_messages_sent_total", "Messages to devices.", Counter, |it| it.messages_sent.get()),
    ];
    let metric = |(name, help, kind, read): (_, _, _, ReadBehind)| {
        let counters = Arc::clone(counters);
        Metric { name, labels: "", help, kind, read: Box::new(move || float(read(&counters))) }
    };
    all.into_iter().map(metric).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows doubles only; exact to 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::api::metrics::{counted, stored};
    use crate::store::view::Fleet;

    /// Every metric that a gateway can have, under its name with its kind, whatever its settings are.
    fn exported() -> BTreeMap<String, String> {
        static TOTALS: Totals = Totals::zero();
        static ROLLUPS: rollup::Totals = rollup::Totals::zero();
        let now: Now = || proto::Instant(0);
        let mut all = of(&TOTALS, &ROLLUPS, Arc::default(), Arc::default(), Some(Arc::default()));
        all.extend(people(&Arc::default()));
        all.extend(lists(&Arc::default(), now));
        all.extend(ends(&[Whose::Own, Whose::Authority].map(|whose| End::of(whose, "", Path::new("/nowhere"))), now));
        let text = counted(&all) + &stored(&Fleet::default());
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    }

    #[test]
    fn the_document_on_what_to_watch_names_each_metric_with_its_kind_and_no_other() {
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/watching.md")).unwrap();
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `tributary_"));
        let described: BTreeMap<_, _> = rows
            .map(|row| {
                let mut cells = row.split(" | ");
                let name = cells.next().unwrap().split(['`', '{']).next().unwrap();
                (format!("tributary_{name}"), cells.next().unwrap().split(',').next().unwrap().to_owned())
            })
            .collect();
        assert_eq!(described, exported());
    }
}
