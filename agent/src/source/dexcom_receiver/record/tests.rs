//! Records as they are described, and what they become.

use super::super::frame::crc16;
use super::*;
use crate::source::testing::told;

fn written(kind: u8, fields: &[&[u8]]) -> Vec<String> {
    let mut record = fields.concat();
    record.extend(crc16(&record).to_le_bytes());
    let mut out = Out::default();
    Sheet::default().write(kind, 7, &record, &mut out);
    out.samples().map(told).collect()
}

/// 2015-05-27T11:50:00Z on the clock, two hours more on the display.
const NOON: u32 = 201_959_400;
const AT: [u8; 8] = {
    let ([a, b, c, d], [e, f, g, h]) = (NOON.to_le_bytes(), (NOON + 7_200).to_le_bytes());
    [a, b, c, d, e, f, g, h]
};
const SAID: &str = "source 1432727400000000";

#[test]
fn glucose_is_a_value_or_a_state_and_a_value_for_display_alone_is_none() {
    let glucose = |bits: u16, marks: u8| written(4, &[&AT, &bits.to_le_bytes(), &[marks]]);
    assert_eq!(
        glucose(0x0400 + 118, 0x24),
        [
            format!("{SAID} glucose [mg/dL] gauge 118 offset 120"),
            format!("{SAID} glucose.direction [1] state Text(\"Flat\") offset 120"),
            format!("{SAID} glucose.noise [1] state Text(\"light\") offset 120"),
        ]
    );
    for (bits, state) in [
        (39, "low(39)"),
        (401, "high(401)"),
        (40, "40"),
        (400, "400"),
        (5, "sensor_error(5)"),
        (38, "sensor_error(38)"),
    ] {
        assert_eq!(glucose(bits, 0x0f), [format!("{SAID} glucose [mg/dL] gauge {state} offset 120")]);
    }
    assert_eq!(glucose(0x8000 + 118, 4), Vec::<String>::new());
}

#[test]
fn what_was_filled_in_later_has_the_time_at_which_it_was_measured() {
    let before = (NOON - 3_600).to_le_bytes();
    let long = |bits: u16| written(18, &[&AT, &bits.to_le_bytes(), &before, &[0; 5], &[4, 6], &[0; 2]]);
    assert_eq!(long(0x2000 + 90)[0], "source 1432723800000000 glucose [mg/dL] gauge 90 offset 120");
    assert_eq!(long(90)[0], format!("{SAID} glucose [mg/dL] gauge 90 offset 120"));
    assert_eq!(long(90)[1], format!("{SAID} glucose.direction [1] state Text(\"Flat\") offset 120"));
}

#[test]
fn what_a_person_entered_has_the_time_that_it_was_entered_for() {
    // An hour before, by the display.
    let event = |kind: u8, subtype: u8, value: u32| {
        let at = (NOON + 3_600).to_le_bytes();
        written(11, &[&AT, &[kind, subtype], &at, &value.to_le_bytes()]).concat()
    };
    let said = |json: &str| format!("source 1432723800000000 treatment [1] event Json({json:?}) offset 120");
    assert_eq!(event(1, 0, 45), said("{\"eventType\":\"Carb Correction\",\"carbs\":45}"));
    assert_eq!(event(2, 0, 250), said("{\"eventType\":\"Correction Bolus\",\"insulin\":2.5}"));
    assert_eq!(event(3, 6, 0), said("{\"eventType\":\"Note\",\"notes\":\"alcohol\"}"));
    assert_eq!(event(4, 2, 30), said("{\"eventType\":\"Exercise\",\"duration\":30,\"notes\":\"medium\"}"));
    assert_eq!(event(9, 0, 0), "");
}

#[test]
fn a_display_that_is_no_zone_keeps_what_it_showed() {
    let shown = (NOON + 61).to_le_bytes();
    let told = written(10, &[&NOON.to_le_bytes(), &shown, &93_u16.to_le_bytes(), &[0; 4]]);
    assert_eq!(told, [format!("{SAID} glucose.meter [mg/dL] gauge 93 local 2015-05-27T11:51:01")]);
}
