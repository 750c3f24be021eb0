//! What sources read: lines of files and wires, and the cursors that the buffer gives back.

use agent::source::fuzzing::{self, Lines};

/// Any bytes are rows of CSV with readings or with what is wrong, in whatever pieces they come.
pub fn csv(bytes: &[u8]) {
    lines(Lines::Csv, bytes);
}

/// The same for JSON objects.
pub fn json(bytes: &[u8]) {
    lines(Lines::Json, bytes);
}

/// The same for `name=value` pairs.
pub fn key_value(bytes: &[u8]) {
    lines(Lines::KeyValue, bytes);
}

/// However the bytes come, they are the same readings.
fn lines(lines: Lines, bytes: &[u8]) {
    let whole = fuzzing::read(lines, bytes, bytes.len());
    let pieces = bytes.first().map_or(1, |first| usize::from(*first % 32) + 1);
    assert_eq!(fuzzing::read(lines, bytes, pieces), whole, "in pieces of {pieces}");
}

/// Any bytes are a file's cursor or an error; one that was read is written and read again to the same.
pub fn cursor(bytes: &[u8]) {
    fuzzing::cursor(bytes);
}

macro_rules! meters {
    ($($(#[$doc:meta])* $name:ident: $($model:literal)*;)*) => {
        $($(#[$doc])* pub fn $name(bytes: &[u8]) {
            $(meter($model, bytes);)*
        })*
    };
}
meters! {
    /// Any bytes are what a FreeStyle meter says, or what is wrong with it.
    freestyle: "freestyle_lite" "freestyle_optium";
    /// The same for OneTouch UltraMini and Verio IQ.
    lifescan: "onetouch_ultra_mini" "onetouch_verio_iq";
    /// The same for OneTouch Ultra2.
    ultra2: "onetouch_ultra2";
    /// The same for Contour.
    contour: "contour";
    /// The same for TaiDoc meters.
    taidoc: "taidoc";
    /// The same for CodeFree.
    codefree: "codefree";
}

fn meter(model: &str, bytes: &[u8]) {
    for pieces in [1, 7, bytes.len()] {
        let _ = fuzzing::meter(model, bytes, pieces);
    }
}

/// Any bytes are what was taken of meters, or an error.
pub fn meter_cursor(bytes: &[u8]) {
    fuzzing::meter_cursor(bytes);
}

/// Any bytes are records of a Nightscout site, or no list of them.
pub fn nightscout(bytes: &[u8]) {
    fuzzing::nightscout(bytes);
}

/// Any bytes are what was taken of a Nightscout site, or an error.
pub fn nightscout_cursor(bytes: &[u8]) {
    fuzzing::nightscout_cursor(bytes);
}
