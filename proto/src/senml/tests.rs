#![allow(clippy::indexing_slicing, reason = "a test that panics has failed, as it should")]

use alloc::string::ToString;
use alloc::vec;

use ciborium::Value as Cbor;
use proptest::prelude::*;

use super::*;

const NOW: Instant = Instant(1_800_000_000_000_000);

fn pack(json: &str) -> Pack {
    parse(json.as_bytes(), NOW).unwrap()
}

fn problem(json: &str) -> String {
    parse(json.as_bytes(), NOW).unwrap_err().to_string()
}

fn cbor(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// (name, unit, kind, microseconds, value) of every reading.
fn said(pack: &Pack) -> Vec<(String, String, Kind, i64, Value)> {
    let mut all = Vec::new();
    for column in &pack.columns {
        assert_eq!(column.basis, Basis::Source);
        for reading in &column.readings {
            let Series { name, unit, kind } = &column.series;
            all.push((name.to_string(), unit.to_string(), *kind, reading.time.0, reading.value.clone()));
        }
    }
    all
}

fn gauge(name: &str, unit: &str, micros: i64, number: f64) -> (String, String, Kind, i64, Value) {
    (name.into(), unit.into(), Kind::Gauge, micros, Value::Number(number))
}

#[test]
fn base_fields_hold_until_they_are_said_anew() {
    let pack = pack(
        r#"[{"bn":"urn:dev:mac:0024befffe804ff1/","bt":1700000000,"bu":"Cel","bver":10,"n":"in","v":21.5},
            {"n":"out","v":-3,"t":60},
            {"n":"damp","u":"%RH","v":48,"t":0.25},
            {"bn":"hall:","bt":1700000100.5,"bv":20},
            {"n":"t","v":1.5}, {"n":"t","t":1}]"#,
    );
    let base = "urn:dev:mac:0024befffe804ff1/";
    assert_eq!(
        said(&pack),
        vec![
            gauge(&format!("{base}in"), "Cel", 1_700_000_000_000_000, 21.5),
            gauge(&format!("{base}out"), "Cel", 1_700_000_060_000_000, -3.0),
            gauge(&format!("{base}damp"), "%", 1_700_000_000_250_000, 48.0),
            gauge("hall:t", "Cel", 1_700_000_100_500_000, 21.5),
            gauge("hall:t", "Cel", 1_700_000_101_500_000, 20.0),
        ]
    );
    assert!(pack.all_absolute);
}

#[test]
fn times_below_two_to_the_28_count_from_now() {
    let near = pack(r#"[{"n":"a","v":1},{"n":"a","v":2,"t":-1.5},{"n":"a","v":3,"t":268435456}]"#);
    let times: Vec<i64> = near.columns[0].readings.iter().map(|reading| reading.time.0).collect();
    assert_eq!(times, [NOW.0, NOW.0 - 1_500_000, 268_435_456_000_000]);
    assert!(!near.all_absolute);
}

#[test]
fn each_kind_of_value_becomes_its_kind_of_series() {
    let pack = pack(
        r#"[{"bt":1700000000,"n":"door","vb":true},{"n":"mode","vs":"eco"},{"n":"power","u":"W","s":36000},
            {"n":"flow","u":"m3/s","v":0.5,"s":12},{"n":"ratio","u":"/","v":0.25,"ut":60,"extra":{"deep":[[1]]}}]"#,
    );
    let at = 1_700_000_000_000_000;
    assert_eq!(
        said(&pack),
        vec![
            ("door".into(), "1".into(), Kind::State, at, Value::Bool(true)),
            ("mode".into(), "1".into(), Kind::Text, at, Value::Text("eco".into())),
            ("power".into(), "J".into(), Kind::Counter, at, Value::Number(36_000.0)),
            gauge("flow", "m3/s", at, 0.5),
            ("flow".into(), "m3".into(), Kind::Counter, at, Value::Number(12.0)),
            gauge("ratio", "1", at, 0.25),
        ]
    );
}

#[test]
fn a_number_is_the_nearest_there_is_to_its_digits() {
    for text in
        ["3e23", "9007199254740993e1", "1.7976931348623157e308", "2.2250738585072011e-308", "0.30000000000000004"]
    {
        let nearest = Value::Number(text.parse().unwrap());
        assert_eq!(pack(&format!(r#"[{{"n":"a","v":{text}}}]"#)).columns[0].readings[0].value, nearest, "{text}");
    }
}

#[test]
fn the_same_pack_in_cbor_says_the_same_as_in_json() {
    let json =
        r#"[{"bn":"m:","bt":1700000000,"bu":"V","n":"u1","v":230.1},{"n":"on","vb":false},{"n":"id","vs":"A7"}]"#;
    let int = |number: i64| Cbor::from(number);
    let decimal = Cbor::Tag(4, alloc::boxed::Box::new(Cbor::Array(vec![int(-1), int(2301)])));
    let records = Cbor::Array(vec![
        Cbor::Map(vec![
            (int(-2), "m:".into()),
            (int(-3), int(1_700_000_000)),
            (int(-4), "V".into()),
            (int(0), "u1".into()),
            (int(2), decimal),
        ]),
        Cbor::Map(vec![(int(0), "on".into()), (int(4), false.into()), (int(99), Cbor::Null)]),
        Cbor::Map(vec![(int(0), "id".into()), (int(3), "A7".into()), ("free".into(), Cbor::Bytes(vec![1]))]),
    ]);
    assert_eq!(parse(&cbor(&records), NOW), Ok(pack(json)));
}

#[test]
fn every_mistake_names_its_record_and_field() {
    for (json, wanted) in [
        (r#"[{"n":"a","v":1},{"n":"b","u":"furlong","v":1}]"#, "record 2, field `u`: `furlong` is neither"),
        (r#"[{"bu":"parsec","n":"b","v":1}]"#, "record 1, field `bu`"),
        (r#"[{"n":"a","vd":"aGk"}]"#, "record 1, field `vd`: data values are not supported"),
        (r#"[{"n":"a","v":1,"bold_":2}]"#, "record 1, field `bold_`: ends in `_`"),
        (r#"[{"n":"a"}]"#, "record 1, field `v`: no value"),
        (r#"[{}]"#, "record 1, field `n`"),
        (r#"[{"n":"a","v":1,"vs":"x"}]"#, "record 1, field `v`: more than one value"),
        (r#"[{"n":"a","v":"1"}]"#, "record 1, field `v`: is to be a number"),
        (r#"[{"n":"a","vb":1}]"#, "record 1, field `vb`: is to be true or false"),
        (r#"[{"n":7,"v":1}]"#, "record 1, field `n`: is to be a text"),
        (r#"[{"n":"a b","v":1}]"#, "record 1, field `n`: series name `a b`"),
        (r#"[{"v":1}]"#, "record 1, field `n`"),
        (r#"[{"n":"a","v":1,"v":2}]"#, "record 1, field `v`: is there twice"),
        (r#"[{"n":"a","v":1,"t":1e15}]"#, "record 1, field `t`: is beyond the year 9999"),
        (r#"[{"bver":11,"n":"a","v":1}]"#, "record 1, field `bver`"),
        (r#"[{"bver":10,"n":"a","v":1},{"bver":26,"n":"a","v":1}]"#, "record 2, field `bver`"),
        (r#"[{"n":"a","v":[1]}]"#, "record 1, field `v`: is to be a number"),
        (r#"[{"bv":1.7e308,"n":"a","v":1.7e308}]"#, "record 1, field `v`: is to be a finite number"),
        (r#"[{"n":"a","v":NaN}]"#, "not a well-formed pack in JSON"),
        (r#"[{"n":"a","v":1}] x"#, "not a well-formed pack in JSON"),
        ("[1]", "not a well-formed pack in JSON"),
        ("[]", "the pack holds no records"),
        (" ", "the pack holds no records"),
        (r#"{"n":"a"}"#, "not with byte 0x7b"),
    ] {
        let found = problem(json);
        assert!(found.contains(wanted), "{json}: {found}");
    }
}

#[test]
fn bounds_are_kept() {
    assert_eq!(parse(&vec![b' '; FRAME_BYTES_MAX + 1], NOW), Err(SenmlError::TooLarge { bytes: FRAME_BYTES_MAX + 1 }));
    let many: Vec<String> = (0..=BODY_SERIES_MAX).map(|number| format!(r#"{{"n":"s{number}","v":1}}"#)).collect();
    assert_eq!(problem(&format!("[{}]", many.join(","))), "more than 1024 series in one pack; send several");
    let long = format!(r#"[{{"n":"a","vs":"{}"}}]"#, "x".repeat(TEXT_BYTES_MAX + 1));
    assert!(problem(&long).contains("record 1, field `vs`"));
    // A long array that is announced and does not come, nesting without end, and a text beyond the scratch space.
    for hostile in [&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0x81; 60_000], &[0x9f, 0x7b, 0xff]] {
        assert!(matches!(parse(hostile, NOW), Err(SenmlError::Malformed { format: "CBOR", .. })));
    }
    let deep = format!(r#"[{{"n":"a","v":1,"x":{}{}}}]"#, "[".repeat(60_000), "]".repeat(60_000));
    parse(deep.as_bytes(), NOW).ok(); // either answer is right; not overflowing the stack is what counts
    let nan = Cbor::Array(vec![Cbor::Map(vec![(0.into(), "a".into()), (2.into(), f64::NAN.into())])]);
    assert!(parse(&cbor(&nan), NOW).unwrap_err().to_string().contains("finite"));
}

#[test]
fn every_unit_of_the_registry_is_taken() {
    let registry = "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 \
        m3/s l/s W/m2 cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m B VA \
        VAs var vars J/m kg/m3 deg ms min h MHz kW kVA kvar Ah Wh kWh varh kvarh kVAh Wh/km KiB GB Mbit/s B/s MB/s \
        mV mA dBm ug/m3 mm/h m/h ppm /100 /1000 hPa mm cm km km/h";
    for unit in registry.split_whitespace().chain(["mg/dL", "{pulses}"]) {
        pack(&format!(r#"[{{"n":"a","u":"{unit}","v":1}}]"#));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes, NOW).ok();
    }

    #[test]
    fn any_damage_to_a_good_pack_is_answered(place in 0_usize..200, byte: u8, as_cbor: bool) {
        let json = r#"[{"bn":"m:","bt":1700000000,"bu":"V","n":"u1","v":230.1,"s":4},{"n":"on","vb":false},{"n":"i","vs":"A"}]"#;
        let mut bytes = json.as_bytes().to_vec();
        if as_cbor {
            let value: Cbor = serde_json::from_str(json).unwrap();
            bytes = cbor(&value);
        }
        let place = place % bytes.len();
        bytes[place] = byte;
        parse(&bytes, NOW).ok();
    }
}
