//! Sparkplug B: births, data by alias, deaths, and what is missing between them.

use emulators::sparkplug::{Metric, Payload, Value};
use proto::Basis;

use super::*;

/// 2026-03-01T12:00:00Z, in milliseconds.
const NOON_MS: u64 = 1_772_366_400_000;

struct Plant {
    bench: Bench,
    seq: u64,
}

impl Plant {
    /// With these metrics wanted of each device: name and kind.
    fn new(more: &str, series: &[(&str, &str)]) -> Self {
        let series = series.iter().zip(1..).map(|((metric, kind), number)| {
            format!("{{ metric = \"{metric}\", name = \"v{number}.{{1}}.{{2}}\", kind = \"{kind}\" }}")
        });
        let series = series.collect::<Vec<_>>().join(", ");
        let text = format!(
            "name = \"s\"\ntype = \"mqtt\"\nhost = \"127.0.0.1\"\nformat = \"sparkplug_b\"\n{more}\n\
             [[topics]]\nfilter = \"g/+\"\nalive = \"alive.{{1}}\"\n\
             [[topics]]\nfilter = \"g/+/+\"\nalive = \"alive.{{1}}.{{2}}\"\nseries = [{series}]"
        );
        Self { bench: Bench::up(&settings_of(&configured(&text)), None), seq: 255 }
    }

    fn says(&mut self, kind: &str, who: &str, payload: &Payload) {
        let topic = format!("spBv1.0/g/{kind}/{who}");
        self.bench.hears(&Message { id: None, ..Message::new(0, &topic, &payload.encode()) }.encode());
    }

    /// With the next number.
    fn counts(&mut self, kind: &str, who: &str, metrics: Vec<Metric>) {
        self.seq = (self.seq + 1) % 256;
        self.says(kind, who, &Payload::new(self.seq, NOON_MS, metrics));
    }

    fn node_born(&mut self, number: u64) {
        self.seq = 255;
        self.counts(
            "NBIRTH",
            "n",
            vec![Metric::birth_number(number), Metric::born("Node Control/Rebirth", 1, 11, Value::Boolean(false))],
        );
    }

    /// A node with the device `d`, whose metrics have the aliases 10, 11 …
    fn born(more: &str, metrics: &[(&'static str, &str, u32, Value)]) -> Self {
        let series: Vec<(&str, &str)> = metrics.iter().map(|(name, kind, ..)| (*name, *kind)).collect();
        let mut plant = Self::new(more, &series);
        plant.node_born(0);
        let born = metrics
            .iter()
            .zip(10..)
            .map(|((name, _, datatype, value), alias)| Metric::born(name, alias, *datatype, *value));
        plant.counts("DBIRTH", "n/d", born.collect());
        plant
    }

    fn changes(&mut self, metrics: Vec<Metric>) {
        self.counts("DDATA", "n/d", metrics);
    }

    /// What was told since the last call.
    fn told(&mut self) -> Vec<String> {
        let told = self.bench.told();
        self.bench.batches.clear();
        told
    }

    /// The births that were asked for since the last call.
    fn asked(&mut self) -> Vec<Vec<u8>> {
        let all = said(&std::mem::take(&mut self.bench.said));
        all.into_iter().filter(|(first, _)| *first == 0x30).map(|(_, body)| body).collect()
    }
}

#[test]
fn a_birth_says_what_there_is_and_data_names_it_by_number() {
    let mut plant = Plant::born(
        "",
        &[("Inputs/Temperature", "gauge", 9, Value::Float(21.5)), ("State", "state", 12, Value::Text("on"))],
    );
    plant.changes(vec![
        Metric::changed(10, Value::Float(-0.25)).at(NOON_MS - 5),
        Metric::changed(11, Value::Text("off")),
    ]);
    plant.counts("DDEATH", "n/d", vec![]);
    plant.says("NDEATH", "n", &Payload { metrics: vec![Metric::birth_number(0)], ..Payload::default() });
    assert_eq!(
        plant.told(),
        [
            "boot 0 alive.n [1] state Bool(true)",
            "boot 0 alive.n.d [1] state Bool(true)",
            "source 1772366400000000 v1.n.d [1] gauge 21.5",
            "source 1772366400000000 v2.n.d [1] state Text(\"on\")",
            "source 1772366399995000 v1.n.d [1] gauge -0.25",
            "source 1772366400000000 v2.n.d [1] state Text(\"off\")",
            "boot 0 alive.n.d [1] state Bool(false)",
            "boot 0 alive.n [1] state Bool(false)",
        ]
    );
    assert_eq!(plant.asked(), [] as [Vec<u8>; 0]);
    // A dead device says nothing.
    plant.changes(vec![Metric::changed(10, Value::Float(1.0))]);
    assert!(plant.told()[0].contains("rejected"));
}

#[test]
fn every_data_type_is_kept_to_the_bit() {
    let long = |value: i64| Value::Long(u64::from_le_bytes(value.to_le_bytes()));
    for (datatype, kind, value, expected) in [
        (1, "gauge", Value::Int(0xffff_ffff), "-1"),
        (1, "gauge", Value::Int(0xff), "-1"),
        (2, "gauge", Value::Int(0xffff_8000), "-32768"),
        (3, "gauge", Value::Int(0x8000_0000), "-2147483648"),
        (3, "gauge", Value::Long(0xffff_ffff_ffff_fffe), "-2"),
        (4, "gauge", long(-9_007_199_254_740_992), "-9007199254740992"),
        (4, "gauge", long(i64::MIN), "-9223372036854776000"),
        (5, "gauge", Value::Int(255), "255"),
        (7, "counter", Value::Long(4_294_967_295), "4294967295"),
        (8, "counter", Value::Long(9_007_199_254_740_991), "9007199254740991"),
        (8, "counter", Value::Long(0), "0"),
        (8, "text", Value::Long(u64::MAX), "Text(\"18446744073709551615\")"),
        (9, "gauge", Value::Float(21.1), "21.100000381469727"),
        (10, "gauge", Value::Double(-0.0), "-0"),
        (11, "state", Value::Boolean(true), "Bool(true)"),
        (12, "text", Value::Text("ü"), "Text(\"ü\")"),
        (13, "gauge", Value::Long(NOON_MS), "1772366400000"),
        (5, "gauge", Value::Int(256), "rejected: is beyond its data type"),
        (8, "counter", Value::Long(9_007_199_254_740_993), "rejected: has more digits"),
        (9, "gauge", Value::Float(f32::NAN), "rejected: is no finite number"),
        (9, "gauge", Value::Int(1), "rejected: is not carried"),
        (11, "gauge", Value::Boolean(true), "rejected: is no number"),
        (16, "gauge", Value::Int(1), "rejected: is of the data type 16"),
        (0, "gauge", Value::Int(1), "rejected: is not carried"),
    ] {
        let mut plant = Plant::born("", &[("m", kind, datatype, value)]);
        let told = plant.told();
        match expected.strip_prefix("rejected: ") {
            Some(problem) => assert!(told[2].contains("rejected") && told[2].contains(problem), "{datatype} {told:?}"),
            None => assert!(told[2].ends_with(&format!("{kind} {expected}")), "{datatype} {expected}: {told:?}"),
        }
        assert_eq!(plant.asked(), [] as [Vec<u8>; 0], "a birth would not help");
    }
}

#[test]
fn what_is_of_the_past_goes_by_the_other_lane_with_its_own_time() {
    let mut plant = Plant::born("", &[("m", "gauge", 9, Value::Float(1.0))]);
    plant.bench.batches.clear();
    let past = Metric { is_historical: true, ..Metric::changed(10, Value::Float(2.0)).at(NOON_MS - 60_000) };
    let null = Metric { is_null: true, ..Metric::changed(10, Value::Float(4.0)) };
    plant.changes(vec![past.clone(), Metric::changed(10, Value::Float(3.0)), null]);
    let (batch, _) = plant.bench.batches.last().unwrap();
    assert_eq!((batch.past.len(), batch.live.len()), (1, 1));
    assert_eq!((batch.past[0].reading.time, batch.past[0].basis), (Instant(NOON.0 - 60_000_000), Basis::Source));
    plant.told();
    // Of no time at all: as it arrives; unless it is of the past, or the time cannot be.
    plant.seq += 1;
    let timeless =
        Payload { timestamp: None, ..Payload::new(plant.seq, 0, vec![Metric::changed(10, Value::Float(5.0))]) };
    plant.says("DDATA", "n/d", &timeless);
    assert_eq!(plant.told(), ["boot 0 v1.n.d [1] gauge 5"]);
    plant.seq += 1;
    let past = Metric { timestamp: None, ..past };
    plant.says("DDATA", "n/d", &Payload { timestamp: None, ..Payload::new(plant.seq, 0, vec![past]) });
    assert!(plant.told()[0].contains("does not say of when"));
    plant.changes(vec![Metric::changed(10, Value::Float(5.0)).at(u64::MAX)]);
    assert!(plant.told()[0].contains("time that cannot be"));
}

#[test]
fn a_message_that_is_missing_makes_numbers_mean_nothing_until_the_next_birth() {
    let mut plant = Plant::born("", &[("m", "gauge", 9, Value::Float(1.0))]);
    plant.told();
    plant.seq += 1;
    plant.changes(vec![Metric::changed(10, Value::Float(2.0))]);
    plant.changes(vec![Metric::changed(10, Value::Float(3.0))]);
    let told = plant.told();
    assert!(told[0].contains("with 1 missing before it") && told[1].contains("not heard whole"), "{told:?}");
    // Once asked, it is not asked again at once. The request is the specification's: a boolean metric, true.
    let asked = plant.asked();
    let request = Payload {
        timestamp: Some(NOON_MS),
        seq: None,
        metrics: vec![Metric {
            name: Some("Node Control/Rebirth"),
            datatype: Some(11),
            value: Some(Value::Boolean(true)),
            ..Metric::default()
        }],
    };
    assert_eq!(asked, [[mqtt::text(b"spBv1.0/g/NCMD/n"), request.encode()].concat()]);
    plant.bench.now.boot = plant.bench.now.after(Duration::from_secs(30));
    plant.changes(vec![Metric::changed(10, Value::Float(3.0))]);
    assert_eq!(plant.asked().len(), 1);
    plant.told();
    plant.node_born(1);
    plant.counts("DBIRTH", "n/d", vec![Metric::born("m", 20, 9, Value::Float(4.0))]);
    plant.changes(vec![Metric::changed(20, Value::Float(5.0))]);
    let told = plant.told();
    assert!(told[2].ends_with("gauge 4") && told[3].ends_with("gauge 5"), "{told:?}");
    assert_eq!(plant.asked(), [] as [Vec<u8>; 0]);
}

#[test]
fn numbers_go_on_at_0_after_255() {
    let mut plant = Plant::born("", &[("m", "gauge", 9, Value::Float(1.0))]);
    plant.told();
    for _ in 0..600 {
        plant.changes(vec![Metric::changed(10, Value::Float(2.0))]);
    }
    assert_eq!(plant.told().iter().filter(|line| line.ends_with("gauge 2")).count(), 600);
}

#[test]
fn what_has_no_birth_is_rejected_and_asked_for() {
    let mut plant = Plant::new("", &[("m", "gauge")]);
    let value = || vec![Metric::changed(10, Value::Float(2.0))];
    plant.counts("DDATA", "n/d", value());
    assert!(plant.told()[0].contains("birth was not heard"));
    assert_eq!(plant.asked().len(), 1);
    plant.node_born(0);
    plant.told();
    plant.counts("DDATA", "n/d", value());
    assert!(plant.told()[0].contains("a device whose birth was not heard"));
    plant.counts(
        "DBIRTH",
        "n/d",
        vec![Metric::born("other", 9, 9, Value::Float(0.0)), Metric::born("m", 10, 9, Value::Float(1.0))],
    );
    plant.told();
    // A metric that nobody wants is none that was never born.
    plant.bench.now.boot = plant.bench.now.after(Duration::from_secs(60));
    plant.counts(
        "DDATA",
        "n/d",
        vec![Metric::changed(9, Value::Float(2.0)), Metric::changed(8, Value::Float(2.0)), value().remove(0)],
    );
    let told = plant.told();
    assert!(told[0].ends_with("gauge 2") && told[1].contains("alias is not of its birth"), "{told:?}");
    assert_eq!(plant.asked().len(), 1);
    // By name, where nodes use no numbers.
    let named = |name| Metric { name: Some(name), value: Some(Value::Float(7.0)), ..Metric::default() };
    plant.counts("DDATA", "n/d", vec![named("m"), named("never heard of")]);
    assert!(plant.told()[0].ends_with("gauge 7"));
}

#[test]
fn nobody_is_asked_where_that_is_not_wanted_and_commands_say_nothing() {
    let mut plant = Plant::new("rebirth = false", &[("m", "gauge")]);
    plant.counts("DDATA", "n/d", vec![]);
    assert_eq!((plant.told().len(), plant.asked().len()), (1, 0));
    for (kind, who) in [("NCMD", "n"), ("DCMD", "n/d"), ("NDATA", "n/d"), ("DDATA", "n"), ("DDATA", "n/d/x")] {
        plant.says(kind, who, &Payload::new(9, NOON_MS, vec![Metric::changed(1, Value::Boolean(true))]));
    }
    plant.bench.hears(&Message { id: None, ..Message::new(0, "spBv1.0/STATE/host", b"online") }.encode());
    assert_eq!(plant.told(), [] as [&str; 0]);
}

#[test]
fn a_death_of_an_earlier_life_kills_nobody() {
    let mut plant = Plant::born("", &[("m", "gauge", 9, Value::Float(1.0))]);
    plant.node_born(1);
    plant.counts("DBIRTH", "n/d", vec![Metric::born("m", 10, 9, Value::Float(1.0))]);
    plant.told();
    let death = |number| Payload { metrics: vec![Metric::birth_number(number)], ..Payload::default() };
    plant.says("NDEATH", "n", &death(0));
    assert_eq!(plant.told(), [] as [&str; 0]);
    plant.changes(vec![Metric::changed(10, Value::Float(2.0))]);
    assert!(plant.told()[0].ends_with("gauge 2"));
    plant.says("NDEATH", "n", &death(1));
    assert_eq!(plant.told(), ["boot 0 alive.n.d [1] state Bool(false)", "boot 0 alive.n [1] state Bool(false)"]);
}

#[test]
fn payloads_that_are_none_are_told_of_and_bounds_hold() {
    let mut plant = Plant::born("", &[("m", "gauge", 9, Value::Float(1.0))]);
    plant.told();
    let many = Payload::new(0, 0, vec![Metric::changed(1, Value::Int(1)); 2_049]).encode();
    let twice = Payload::new(
        2,
        0,
        vec![Metric::born("a", 1, 9, Value::Float(0.0)), Metric::born("b", 1, 9, Value::Float(0.0))],
    );
    for (payload, why) in [
        (b"\x12\x7f".to_vec(), "cut short"),
        (vec![0x0b], "no type"),
        (vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "does not end"),
        (b"\x12\x03\x0a\x01\xff".to_vec(), "UTF-8"),
        (b"\x0a\x01x".to_vec(), "another type"),
        (many, "2048"),
        (twice.encode(), "one alias"),
        (Payload::new(256, 0, vec![]).encode(), "`seq`"),
    ] {
        let message = Message { id: None, ..Message::new(0, "spBv1.0/g/DBIRTH/n/d", &payload) };
        plant.bench.hears(&message.encode());
        let told = plant.told();
        assert!(told.len() == 1 && told[0].contains(why), "{why}: {told:?}");
    }
    for number in 0..300 {
        let topic = format!("spBv1.0/g/NBIRTH/n{number}");
        let payload = Payload::new(0, 0, vec![]).encode();
        plant.bench.hears(&Message { id: None, ..Message::new(0, &topic, &payload) }.encode());
    }
    let told = plant.told();
    assert_eq!(told.iter().filter(|line| line.contains("256 nodes")).count(), 300 - 255);
}
