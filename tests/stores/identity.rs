//! A batch is known by its device, epoch and number; a pack by its hash.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use gateway::store::{Item, Outcome, Pack};
use proto::message::{Refusal, Settlement};
use proto::{Basis, BodyHash, Epoch, Instant, Value};

use crate::backend::Backend;
use crate::batches::{EPOCH, MINUTE, NOW, alarm, batch, column, gap, gaps, held, hello, meter, range};

pub(crate) fn the_same_batch_twice_changes_nothing(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let first = batch(1, &[(NOW - MINUTE, 104.0)]);
    assert_eq!(bed.record([Item::Batch(first.clone())]), [Outcome::Recorded]);
    assert_eq!(bed.record([Item::Batch(first.clone()), Item::Batch(first)]), [Outcome::Known, Outcome::Known]);
    assert_eq!(bed.numbers(), [(NOW - MINUTE, 104.0)]);
    assert_eq!(bed.settled(), [(1, 1, Settlement::Stored)]);
    let device = bed.device();
    assert_eq!((device.readings, device.batches), (1, 1));
}

pub(crate) fn another_body_under_the_same_identity_is_refused_kept_aside_and_alarmed(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let second = batch(1, &[(NOW, 99.0)]);
    bed.record([Item::Batch(batch(1, &[(NOW, 98.0)]))]);
    let refused = [Outcome::Refused(Refusal::Conflict)];
    assert_eq!(bed.record([Item::Batch(second.clone())]), refused);
    assert_eq!(bed.record([Item::Batch(second)]), refused);
    assert_eq!(bed.numbers(), [(NOW, 98.0)]);
    assert_eq!(bed.settled(), [(1, 1, Settlement::Stored)]);
    assert_eq!(bed.ask(|view| view.quarantined(None)).len(), 1, "once, however often it comes");
    assert_eq!(bed.alarms(), [alarm("conflict", 2)]);
}

pub(crate) fn a_batch_whose_row_was_collapsed_is_known_whatever_its_hash(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([1, 2].map(|number| Item::Batch(batch(number, &[(NOW, 98.0)]))));
    bed.record([hello([held(EPOCH, &[(2, 2)], 3)])]);
    let (freed, held) = (batch(1, &[(NOW, 5.0)]), batch(2, &[(NOW, 5.0)]));
    assert_eq!(
        bed.record([Item::Batch(freed), Item::Batch(held)]),
        [Outcome::Known, Outcome::Refused(Refusal::Conflict)]
    );
}

pub(crate) fn every_order_of_delivery_ends_in_the_same_ledger_and_the_same_readings(backend: &dyn Backend) {
    let all =
        [1_u64, 2, 3, 4].map(|number| batch(number, &[(NOW - MINUTE * number.cast_signed(), 100.0 + number as f64)]));
    let mut seen = Vec::new();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let mut bed = backend.fresh();
        for place in order {
            bed.record([Item::Batch(all[place].clone())]);
        }
        seen.push((bed.numbers(), bed.settled()));
    }
    assert_eq!(seen[0].1, [(1, 4, Settlement::Stored)]);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

pub(crate) fn a_pack_is_known_by_its_hash_or_by_its_packet_among_the_last_64(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let pack = |content: u8, packet_id, resent, absolute| {
        Item::Pack(Pack {
            device: meter(),
            hash: BodyHash([content; 16]),
            absolute,
            packet_id,
            resent,
            arrived: Instant(NOW),
            columns: vec![column(Basis::Source, [(NOW, Value::Number(1.0))])],
            payload: Bytes::new(),
        })
    };
    let (recorded, known) = (Outcome::Recorded, Outcome::Known);
    assert_eq!(bed.record([pack(1, None, false, true), pack(1, Some(9), false, true)]), [recorded, known]);
    assert_eq!(
        bed.record([(2, false), (2, true), (3, true)].map(|(content, again)| pack(content, Some(1), again, false))),
        [recorded, known, recorded]
    );
    let same = [pack(2, Some(1), false, false)];
    assert_eq!(bed.record(same), [recorded], "not said to be a resend: a client that connects anew each time");
    bed.record((10..74).map(|packet_id| pack(4, Some(packet_id), false, false)));
    assert_eq!(bed.record([pack(2, Some(1), true, false)]), [recorded], "65 packs ago");
    assert_eq!(bed.record([pack(5, None, false, false), pack(5, None, false, false)]), [recorded, recorded]);
}

/// How much later it is than at the beginning.
static LATER_US: AtomicI64 = AtomicI64::new(0);

pub(crate) fn a_pack_that_bears_another_devices_name_is_kept_aside_whole_and_alarmed(backend: &dyn Backend) {
    let mut bed = backend.fresh_at(|| Instant(NOW + LATER_US.load(Ordering::SeqCst)));
    let named = |device: &str, names: &[&str]| {
        let of = |name: &&str| {
            let mut column = column(Basis::Source, [(NOW, Value::Number(1.0))]);
            column.series.name = name.parse().unwrap();
            column
        };
        let payload = Bytes::from(format!("{device}: {names:?}"));
        Item::Pack(Pack {
            device: device.parse().unwrap(),
            hash: BodyHash::of(&payload),
            absolute: true,
            packet_id: None,
            resent: false,
            arrived: Instant(NOW),
            columns: names.iter().map(of).collect(),
            payload,
        })
    };
    // Whoever was heard once is known, and so is who has a certificate and was not heard yet; nobody else is.
    bed.record([Item::Presence { device: "meter-8".parse().unwrap(), connected: true }]);
    let certified = "insert into certificate (serial, tenant, device, key, issued_us, not_after_us, chain)
                     values ('07', 1, 'meter-9', KEY, 1, 2, KEY)";
    bed.beside().run(&certified.replace("KEY", &bed.beside().bytes("00")));
    let misnamed = [
        named("meter-7", &["meter-8/power"]),
        named("meter-7", &["glucose", "urn:dev:os:32473-meter-8:power"]),
        named("meter-7", &["meter-9:power"]),
    ];
    assert_eq!(bed.record(misnamed.clone()), [Outcome::Misnamed; 3]);
    let free = [
        named("meter-7", &["meter-10/power", "hall:t"]),
        named("meter-7", &["meter-7/power", "urn:dev:os:32473-meter-7:power", "meter-8", "meter-8.power"]),
        named("meter-8", &["meter-8/power"]),
        // Its own, although it could be read as another's.
        named("pump-meter-8", &["urn:dev:ops:32473-pump-meter-8:power"]),
    ];
    assert_eq!(bed.record(free), [Outcome::Recorded; 4]);
    assert_eq!(bed.record([misnamed[0].clone()]), [Outcome::Misnamed], "as often as it comes");
    let kept = bed.ask(|view| view.quarantined(Some("meter-7")));
    assert_eq!(kept.len(), 3, "and kept once, whole: {kept:?}");
    for (entry, other) in kept.iter().rev().zip(["meter-8", "meter-8", "meter-9"]) {
        assert!(entry.reason.contains(&format!("identity: its names are those of {other}")), "{entry:?}");
    }
    assert_eq!(bed.alarms(), [alarm("identity_mismatch", 4)]);
    assert_eq!(bed.device().readings, 6, "of the sender, nothing that bore another's name");
    // Who was nobody, is known soon after it has come.
    bed.record([Item::Presence { device: "meter-10".parse().unwrap(), connected: true }]);
    LATER_US.store(10_000_000, Ordering::SeqCst);
    assert_eq!(bed.record([named("meter-7", &["meter-10/power", "hall:u"])]), [Outcome::Misnamed]);
    // Full quarantine is the one way in which it is not settled.
    bed.beside().run(
        "insert into quarantine (tenant, device, channel, hash, arrived_us, reason, size_bytes, bytes)
         select tenant, device, channel, hash, arrived_us, reason, 16777216, bytes from quarantine",
    );
    let refused = bed.record([named("meter-7", &["meter-8/current"])]);
    assert_eq!(refused, [Outcome::Refused(Refusal::QuarantineFull)]);
}

pub(crate) fn a_restart_keeps_everything_and_takes_all_devices_for_disconnected(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let presence = Item::Presence { device: meter(), connected: true };
    bed.record([presence, Item::Batch(batch(1, &[(NOW, 1.0)])), gaps([gap(Some(range(3, 3)), None, None)])]);
    bed.record([hello([held(EPOCH, &[(1, 1)], 5)])]);
    assert!(bed.device().connected);
    let (before, ledger) = (bed.settled(), bed.ledger());
    bed.reopen();
    let after = bed.ledger();
    assert_eq!((bed.settled(), &after.epochs, &after.gaps), (before, &ledger.epochs, &ledger.gaps));
    assert!(!after.connected);
    assert_eq!(bed.numbers(), [(NOW, 1.0)]);
    assert_eq!(bed.record([Item::Batch(batch(1, &[(NOW, 1.0)]))]), [Outcome::Known]);
}

pub(crate) fn a_transaction_that_fails_leaves_nothing_behind(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([Item::Batch(batch(1, &[(NOW, 1.0)]))]);
    bed.beside().refuse_666();
    let items = [Item::Batch(batch(2, &[(NOW, 2.0)])), Item::Batch(batch(3, &[(NOW, 3.0), (NOW, 666.0)]))];
    let error = bed.try_record(&items).unwrap_err();
    assert!(!error.is_unavailable(), "{error}: it comes from what was to be written");
    assert_eq!(bed.settled(), [(1, 1, Settlement::Stored)]);
    assert_eq!(bed.numbers(), [(NOW, 1.0)]);
    assert_eq!(bed.record(items.into_iter().take(1)), [Outcome::Recorded]);
    assert_eq!(bed.settled(), [(1, 2, Settlement::Stored)]);
    let kept = bed.readings();
    assert_eq!(kept.iter().map(|kept| kept.ordinal).collect::<Vec<_>>(), [0, 1]);
    assert!(kept[0].id < kept[1].id, "in the order of commits");
}

pub(crate) fn a_transaction_that_fails_while_much_of_it_is_on_its_way_leaves_nothing_behind(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([Item::Batch(batch(1, &[(NOW, 1.0)]))]);
    bed.beside().refuse_666();
    let many = |number: i64| {
        let readings: Vec<(i64, f64)> = (1..=1_000).map(|place| (NOW + number * 1_000_000 + place, 1.0)).collect();
        Item::Batch(batch(number.unsigned_abs(), &readings))
    };
    let aside = || Item::Contested { device: meter() };
    let refused = Item::Batch(batch(3, &[(NOW, 666.0)]));
    for place in [1, 3, 5] {
        let mut items = vec![many(2), many(4), aside(), many(5), many(6)];
        items.insert(place, refused.clone());
        let error = bed.try_record(&items).unwrap_err();
        assert!(!error.is_unavailable(), "{error}: it comes from what was to be written");
        assert_eq!(bed.numbers(), [(NOW, 1.0)]);
    }
    bed.record([many(2), many(4), aside(), many(5), many(6)]);
    assert_eq!(bed.beside().rows("select count(*), count(distinct time_us) from reading"), [["4001", "4001"]]);
    assert_eq!(bed.settled(), [(1, 2, Settlement::Stored), (4, 6, Settlement::Stored)]);
}

pub(crate) fn only_what_is_settled_around_a_commit_is_told_after_it(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([1, 2, 5, 9].map(|number| Item::Batch(batch(number, &[(NOW, 1.0)]))));
    let around = bed.settled_around(range(2, 5));
    assert_eq!(around, [(range(1, 2), Settlement::Stored), (range(5, 5), Settlement::Stored)]);
    assert_eq!(bed.told(Epoch([9; 8])), []);
}
