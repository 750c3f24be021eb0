//! Each verdict, by tampering with small databases.

use std::path::PathBuf;

use rusqlite::Connection;

use super::*;

/// A gateway's and an agent's database, in which two batches of two readings each came well.
struct Case {
    folder: tempfile::TempDir,
    offers: Vec<Offer>,
}

impl Case {
    fn new() -> Self {
        let case = Self { folder: tempfile::tempdir().unwrap(), offers: (1..=4).map(offer).collect() };
        let schema = include_str!("../../../gateway/src/store/sqlite/migrations/1_first.sql");
        case.gateway(schema);
        case.gateway(
            "insert into device (id, tenant, name) values (1, 1, 'd');
             insert into series (id, tenant, device, name, unit, kind) values (1, 1, 1, 's', '1', 'gauge');
             insert into epoch (id, tenant, device, epoch) values (1, 1, 1, x'0707070707070707');
             insert into settled values (1, 1, 0, 1, 2);
             insert into batch values (1, 1, 1, x'00', 0, 0, 0, 0, 2), (1, 1, 2, x'00', 0, 0, 0, 0, 2);",
        );
        (1..=4).for_each(|id| case.store(id, id * 10, f64::from(id), (id + 1) / 2));
        case.agent(
            "create table epoch (id integer primary key, epoch blob, base integer);
             create table batch (row integer primary key, readings integer);
             create table settled (first integer primary key, last integer);
             create table gap (first_row integer primary key, last_row integer);
             create table cursor (source text, position blob);
             insert into epoch values (1, x'0707070707070707', 100);
             insert into batch values (101, 2), (102, 2);
             insert into settled values (101, 102);
             insert into cursor values ('file', cast('{\"offset\":17}' as blob));",
        );
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn gateway(&self, sql: &str) {
        Connection::open(self.path("gateway")).unwrap().execute_batch(sql).unwrap();
    }

    fn agent(&self, sql: &str) {
        Connection::open(self.path("agent")).unwrap().execute_batch(sql).unwrap();
    }

    fn store(&self, id: i32, time_us: i32, value: f64, number: i32) {
        self.gateway(&format!(
            "insert into reading (id, tenant, series, time_us, ordinal, value, form, quality, epoch, number, flags)
             values ({id}, 1, 1, {time_us}, 0, {value}, 0, 3, 1, {number}, 0)"
        ));
    }

    fn rule(&self, allowed: Allowed) -> Ruling {
        let ledger = Ledger::read(&self.path("gateway"), "d").unwrap();
        let holdings = Holdings::read(&self.path("agent")).unwrap();
        judge(&self.offers, &ledger, Some(&holdings), allowed)
    }

    /// Lost, doubled, never offered, changed, wrong gaps, early receipts.
    fn faults(&self) -> [u64; 6] {
        let Ruling { lost, doubled, phantom, mutated, wrong_gap, early_receipt, .. } = self.rule(Allowed::default());
        [lost, doubled, phantom, mutated, wrong_gap, early_receipt]
    }
}

fn offer(id: i32) -> Offer {
    Offer { series: "s", when: When::At(i64::from(id) * 10), value: f64::from(id), sure: true }
}

#[test]
fn what_came_well_is_clean() {
    let case = Case::new();
    let ruling = case.rule(Allowed::default());
    assert!(ruling.is_clean(), "{ruling}");
    assert_eq!((ruling.matched, ruling.named), (4, 0));
}

#[test]
fn a_reading_that_is_gone_is_lost_and_its_batch_is_not_stored() {
    let case = Case::new();
    case.gateway("delete from reading where id = 3");
    assert_eq!(case.faults(), [1, 0, 0, 0, 0, 1]);
}

#[test]
fn a_reading_that_nobody_accepted_may_be_there_once_or_not_at_all_and_never_twice() {
    let mut case = Case::new();
    case.offers[3].sure = false;
    assert_eq!(case.faults(), [0; 6]);
    case.gateway("delete from reading where id = 4; update batch set readings = 1 where number = 2");
    case.agent("update batch set readings = 1 where row = 102");
    assert_eq!(case.faults(), [0; 6]);
    case.store(4, 40, 4.0, 2);
    case.store(5, 40, 4.0, 2);
    assert_eq!(case.faults(), [0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_repeat_a_stranger_another_value_and_another_time_are_told_from_one_another() {
    let case = Case::new();
    case.store(5, 40, 4.0, 2);
    assert_eq!(case.faults(), [0, 1, 0, 0, 0, 0], "a repeat");
    case.gateway("delete from reading where id = 5");
    case.store(5, 70, 9.0, 2);
    assert_eq!(case.faults(), [0, 0, 1, 0, 0, 0], "a stranger");
    case.gateway("delete from reading where id = 5; update reading set value = 8.0 where id = 2");
    assert_eq!(case.faults(), [0, 0, 0, 1, 0, 0], "another value");
    case.gateway("update reading set value = 2.0, time_us = 21 where id = 2");
    assert_eq!(case.faults(), [0, 0, 0, 1, 0, 0], "another time");
    case.gateway("update reading set time_us = 20, form = 2, value = null, code = 5 where id = 2");
    assert_eq!(case.faults(), [0, 0, 0, 1, 0, 0], "no number any more");
}

#[test]
fn readings_of_one_instant_both_have_to_be_there() {
    let mut case = Case::new();
    case.offers[1].when = When::At(10);
    case.gateway("update reading set time_us = 10, ordinal = 1 where id = 2");
    assert_eq!(case.faults(), [0; 6]);
    case.gateway("delete from reading where id = 2");
    assert_eq!(case.faults(), [1, 0, 0, 0, 0, 1]);
}

#[test]
fn order_is_by_number_within_an_epoch_and_epochs_do_not_mix() {
    let case = Case::new();
    case.gateway("update reading set number = 3 - number; ");
    assert_eq!(case.faults(), [0, 0, 0, 1, 0, 0], "numbers turned round");
    case.gateway("update reading set number = 3 - number; insert into epoch (id, tenant, device, epoch) values (2, 1, 1, x'0808080808080808')");
    case.gateway("insert into settled values (1, 2, 0, 1, 9); update reading set epoch = 2 where id in (1, 4)");
    let ruling = case.rule(Allowed { interleaved: true, ..Allowed::default() });
    assert_eq!(ruling.mutated, 0, "{ruling}");
    assert_eq!(case.rule(Allowed::default()).mutated, 1, "readings of one epoch between those of another");
}

#[test]
fn a_gap_has_to_name_what_is_lost_and_nothing_else() {
    let case = Case::new();
    case.gateway(
        "insert into gap (tenant, device, epoch, first, last, readings, reason) values (1, 1, 1, 3, 3, 2, 'evicted')",
    );
    assert_eq!(case.faults(), [0, 0, 0, 0, 2, 0], "nothing is lost");
    case.gateway(
        "delete from reading where number = 2; delete from batch where number = 2;
         update settled set last = 1; insert into settled values (1, 1, 2, 2, 2);
         update gap set first = 2, last = 2",
    );
    assert_eq!(case.faults(), [0; 6], "two are lost, and named");
    assert_eq!(case.rule(Allowed::default()).named, 2);
    case.gateway("update gap set readings = 1");
    assert_eq!(case.faults(), [1, 0, 0, 0, 0, 0], "one of two is not named");
    case.gateway("update gap set readings = null");
    assert_eq!(case.faults(), [0; 6], "how many is not known");
    case.gateway("update gap set first = 1");
    assert_eq!(case.faults(), [0, 0, 0, 0, 1, 0], "the first batch is there");
    case.gateway("update gap set first = 2, reason = 'unexplained'");
    assert_eq!(case.faults(), [0, 0, 0, 0, 1, 0], "it should be explained");
    assert!(case.rule(Allowed { unexplained: true, ..Allowed::default() }).is_clean());
}

#[test]
fn a_receipt_above_what_is_stored_is_found_by_the_agents_marks() {
    let case = Case::new();
    case.agent("insert into batch values (103, 2); update settled set last = 103");
    assert_eq!(case.faults(), [0, 0, 0, 0, 0, 1]);
    case.gateway("update settled set last = 1");
    assert_eq!(case.faults(), [0, 0, 0, 0, 0, 2]);
}

#[test]
fn what_is_still_to_come_is_what_was_given_and_is_not_settled() {
    let case = Case::new();
    case.agent("insert into batch values (105, 2); insert into epoch values (2, x'0909090909090909', 105); insert into batch values (106, 1)");
    let ledger = Ledger::read(&case.path("gateway"), "d").unwrap();
    let holdings = Holdings::read_marks(&case.path("agent")).unwrap();
    let open: Vec<i64> = unsettled(&holdings, &ledger).iter().map(|place| place.1).collect();
    assert_eq!(open, [3, 4, 5, 1]);
    assert_eq!(holdings.offsets["file"], 17);
}

#[test]
fn what_was_given_last_counts_when_it_has_left_with_a_gap() {
    let case = Case::new();
    case.agent("insert into batch values (103, 2); insert into gap values (104, 105)");
    let given = || Holdings::read_marks(&case.path("agent")).unwrap().epochs[0].1;
    assert_eq!(given(), 5);
    case.agent("delete from batch");
    assert_eq!(given(), 5);
}
