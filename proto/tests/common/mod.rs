//! Bodies to try: any that the bounds allow, and the real ones.
#![allow(dead_code, reason = "each test binary uses its own part")]

use proptest::prelude::*;
use tributary_proto::*;

/// Any value, with the odd ones far more often than chance would have them.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (-5000_i64..5000, 0_u32..4).prop_map(|(whole, scale)| Value::Number(whole as f64 / 10_f64.powi(scale as i32))),
        2 => any::<u64>().prop_map(|bits| Value::Number(f64::from_bits(bits))),
        1 => prop_oneof![Just(-0.0), Just(f64::INFINITY), Just(f64::MIN_POSITIVE / 4.0), Just(f64::from_bits(0x7ff8_dead_beef_0001))].prop_map(Value::Number),
        2 => any::<bool>().prop_map(Value::Bool),
        2 => ".{0,12}".prop_map(Value::Text),
        1 => "[a-z]{0,8}".prop_map(|word| Value::Json(format!("{{\"word\":\"{word}\"}}"))),
        2 => any_state().prop_map(Value::State),
        1 => Just(Value::Absent),
    ]
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        any::<i32>().prop_map(State::Low),
        any::<i32>().prop_map(State::High),
        Just(State::WarmingUp),
        any::<i32>().prop_map(State::SensorError),
        any::<i32>().prop_map(State::Control),
        Just(State::CalibrationNeeded),
        any::<i32>().prop_map(State::Other),
    ]
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let change = prop_oneof![Just(Change::Add), Just(Change::Replace), Just(Change::Retract)];
    let origin = (".{0,6}", any::<u64>(), change).prop_map(|(id, revision, change)| Origin { id, revision, change });
    let time = prop_oneof![(0_i64..1000).prop_map(|step| step * 300_000_000), any::<i64>()];
    let rarely = |strategy| prop_oneof![5 => Just(None), 1 => strategy];
    (
        time,
        any_value(),
        prop_oneof![Just(None), any::<i16>().prop_map(Some)],
        rarely(".{0,6}".prop_map(|text: String| Some(text)).boxed()),
        prop_oneof![5 => Just(None), 1 => origin.prop_map(Some)],
    )
        .prop_map(|(time, value, offset, local, origin)| Reading {
            time: Instant(time),
            value,
            utc_offset_minutes: offset,
            local_text: local.map(String::into_boxed_str),
            origin: origin.map(Box::new),
        })
}

fn any_series() -> impl Strategy<Value = Series> {
    let kind = prop_oneof![
        Just(Kind::Gauge),
        Just(Kind::Counter),
        Just(Kind::Delta),
        Just(Kind::State),
        Just(Kind::Text),
        Just(Kind::Event)
    ];
    ("[A-Za-z0-9][A-Za-z0-9._:/-]{0,20}", "[!-~]{1,12}", kind).prop_map(|(name, unit, kind)| Series {
        name: name.parse().unwrap(),
        unit: unit.parse().unwrap(),
        kind,
    })
}

/// Any body of a few columns.
pub(crate) fn any_body() -> impl Strategy<Value = Body> {
    let basis = prop_oneof![Just(Basis::Boot), Just(Basis::Source)];
    let column = (any_series(), basis, prop::collection::vec(any_reading(), 0..40))
        .prop_map(|(series, basis, readings)| Column { series, basis, readings });
    (any::<[u8; 8]>(), prop::collection::vec(column, 0..5))
        .prop_map(|(boot, columns)| Body { boot: BootId(boot), columns })
}

/// Equality to the bit.
pub(crate) fn same_bits(left: &Body, right: &Body) -> bool {
    left.boot == right.boot
        && left.columns.len() == right.columns.len()
        && left.columns.iter().zip(&right.columns).all(|(left, right)| {
            left.series == right.series
                && left.basis == right.basis
                && left.readings.len() == right.readings.len()
                && left.readings.iter().zip(&right.readings).all(|(left, right)| left.same_bits(right))
        })
}
