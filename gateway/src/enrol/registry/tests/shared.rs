//! What claims that many share may do.

use super::*;

#[test]
fn a_shared_claim_makes_so_many_certificates_an_hour_and_in_all_and_no_more() {
    let mut rig = Rig::new();
    rig.registry.bounds = Bounds { per_hour_max: 3, in_all_max: 5, ..Bounds::default() };
    rig.registry.add_rule("*", START).unwrap();
    let claim = id("claim-fleet");
    let make = |rig: &mut Rig, number: u8, hours: i64| {
        let device = format!("m-{number}");
        let decision = rig.ask(shared(), &device, number, hours);
        if decision == Decision::Issue {
            let not_after = later(hours + 24);
            let (serial, key) = (format!("{number:02x}"), vec![number; 65]);
            let certificate = Certificate { serial, device: id(&device), key, not_after, chain: vec![1] };
            rig.keep(&certificate, Some(&claim), hours).unwrap();
        }
        decision
    };
    for number in 0..3 {
        assert_eq!(make(&mut rig, number, 0), Decision::Issue);
    }
    assert_eq!(make(&mut rig, 3, 0), Decision::Spent);
    assert_eq!(make(&mut rig, 2, 0), Decision::Known(vec![1]), "an answer that was lost is given again");
    let other = Claimant::Shared(id("claim-other"));
    assert_eq!(rig.ask(other, "m-9", 9, 0), Decision::Issue, "another claim has its own");
    assert_eq!(make(&mut rig, 3, 1), Decision::Issue, "the next hour");
    assert_eq!(make(&mut rig, 4, 1), Decision::Issue);
    assert_eq!(make(&mut rig, 5, 3), Decision::Spent, "that was all");
    // What the operator allows by name is issued all the same.
    rig.issued_at("m-7", 70, "70", 3);
    assert_eq!(rig.ask(shared(), "m-7", 7, 3), Decision::Waiting);
    rig.registry.answer(&id("m-7"), None, true).unwrap();
    assert_eq!(rig.ask(shared(), "m-7", 7, 3), Decision::Issue);
}

#[test]
fn strangers_with_a_claim_neither_fill_the_desk_nor_stay_at_it() {
    let mut rig = Rig::new();
    let ask = |rig: &mut Rig, claim: &str, number: usize, hours: i64| {
        let by = Claimant::Shared(id(claim));
        let key = number.to_be_bytes();
        let asked = Asked { by: &by, device: &id(&format!("d-{number}")), key: &key };
        rig.registry.decide(&asked, later(hours)).unwrap()
    };
    for number in 0..250 {
        assert_eq!(ask(&mut rig, "claim-stolen", number, 0), Decision::Waiting);
    }
    assert_eq!(ask(&mut rig, "claim-stolen", 250, 0), Decision::TooMany);
    assert_eq!(ask(&mut rig, "claim-stolen", 249, 0), Decision::Waiting, "who is there already waits on");
    assert_eq!(ask(&mut rig, "claim-fleet", 1_000, 0), Decision::Waiting, "another claim has its own room");
    for (claim, first) in [("claim-b", 2_000), ("claim-c", 3_000), ("claim-d", 4_000)] {
        (first..first + 250).for_each(|number| drop(ask(&mut rig, claim, number, 0)));
    }
    assert_eq!(ask(&mut rig, "claim-fleet", 1_001, 0), Decision::TooMany, "in all");
    // One asks again and again, as devices do; the others do not, and are gone a day later.
    (1..30).for_each(|hours| drop(ask(&mut rig, "claim-stolen", 0, hours)));
    assert_eq!(ask(&mut rig, "claim-fleet", 1_001, 30), Decision::Waiting);
    let waiting = |rig: &mut Rig| {
        let lines = rig.registry.list(later(30)).unwrap();
        lines.into_iter().filter(|line| line.what == "waits").map(|line| line.device).collect::<Vec<_>>()
    };
    assert_eq!(waiting(&mut rig), ["d-0", "d-1001"]);
}
