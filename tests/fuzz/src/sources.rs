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

/// The same for a pattern.
pub fn pattern(bytes: &[u8]) {
    lines(Lines::Pattern, bytes);
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

/// Any bytes are what a Dexcom receiver says, or what is wrong with it; a page or a cursor of one, or none.
pub fn dexcom(bytes: &[u8]) {
    device("type = \"dexcom_receiver\"", bytes);
    let read = fuzzing::dexcom_page(bytes);
    assert!(read <= bytes.len() + 16, "a reading takes a byte at least, but for what one record is taken for");
}

/// Any bytes are what a Contec oximeter says, old or new, or noise.
pub fn contec(bytes: &[u8]) {
    device("type = \"contec_cms50\"\nprotocol = \"old\"", bytes);
    device("type = \"contec_cms50\"\nprotocol = \"v7\"", bytes);
}

/// Any bytes are what a Nonin oximeter says, in either format, or noise.
pub fn nonin(bytes: &[u8]) {
    device("type = \"nonin_oem3\"", bytes);
    device("type = \"nonin_oem3\"\nformat = 7", bytes);
}

fn device(toml: &str, bytes: &[u8]) {
    for pieces in [1, 7, bytes.len()] {
        let _ = fuzzing::device(toml, bytes, pieces);
    }
}

macro_rules! devices {
    ($($(#[$doc:meta])* $name:ident: $($toml:literal)*;)*) => {
        $($(#[$doc])* pub fn $name(bytes: &[u8]) {
            for pieces in [1, 7, bytes.len()] {
                $(let _ = fuzzing::device($toml, bytes, pieces);)*
            }
        })*
    };
}
devices! {
    /// Any bytes are what an MH-Z19 says, or what is wrong with it.
    mhz19: "type = 'mhz19'";
    /// The same for devices on Modbus, in either framing.
    modbus: "type = 'modbus'\nmap = 'sdm630'" "type = 'modbus'\nport = 'tcp://x:1'\nmap = 'sdm630'";
    /// The same for a satellite receiver.
    nmea: "type = 'nmea'";
    /// The same for Plantower sensors.
    plantower_pms: "type = 'plantower_pms'" "type = 'plantower_pms'\nmodel = 'pms5003t'";
    /// The same for an SDS011.
    sds011: "type = 'sds011'";
}

/// Any bytes are telegrams of a P1 port, or what is wrong with them; or a cursor of one.
pub fn dsmr(bytes: &[u8]) {
    for pieces in [1, 7, bytes.len()] {
        let _ = fuzzing::device("type = 'dsmr'", bytes, pieces);
        let _ = fuzzing::device("type = 'dsmr'\nversion = 2", bytes, pieces);
    }
    fuzzing::dsmr_cursor(bytes);
}

/// Any bytes are what was taken of meters, or an error.
pub fn meter_cursor(bytes: &[u8]) {
    fuzzing::meter_cursor(bytes);
}

/// What is guessed of lines that were heard at a serial port is a configuration, or nothing.
pub fn guess(bytes: &[u8]) {
    fuzzing::guess(bytes);
}

/// Any bytes are what a broker nearby says, or what is wrong with it, in whatever pieces they come. How many readings there
/// are is not always the same: a packet id that comes again is a repeat before its acknowledgement, and a message behind it,
/// and what was read decides when that goes out.
pub fn mqtt_broker(bytes: &[u8]) {
    let _ = fuzzing::mqtt_broker(bytes, bytes.len());
    let pieces = bytes.first().map_or(1, |first| usize::from(*first % 32) + 1);
    let _ = fuzzing::mqtt_broker(bytes, pieces);
}

/// Any bytes are a topic and a message with readings, or with what is wrong; or what was taken last, or an error.
pub fn mqtt_message(bytes: &[u8]) {
    let _ = fuzzing::mqtt_message(bytes);
    fuzzing::mqtt_cursor(bytes);
}

/// Any bytes are a payload of Sparkplug B, or what is wrong with it.
pub fn sparkplug(bytes: &[u8]) {
    let _ = fuzzing::sparkplug(bytes);
}

/// Any bytes are an export of Dexcom Clarity, or what is wrong with it.
pub fn clarity(bytes: &[u8]) {
    let _ = fuzzing::export(true, bytes);
}

/// The same for LibreView.
pub fn libreview(bytes: &[u8]) {
    let _ = fuzzing::export(false, bytes);
}

/// Any bytes are what was read of a folder, or an error.
pub fn folder_cursor(bytes: &[u8]) {
    fuzzing::folder_cursor(bytes);
}

/// Any bytes are a file of `/proc` or `/sys`, or say nothing.
pub fn system(bytes: &[u8]) {
    fuzzing::system(bytes);
}

/// Any bytes are records of a Nightscout site, or no list of them.
pub fn nightscout(bytes: &[u8]) {
    fuzzing::nightscout(bytes);
}

/// Any bytes are what was taken of a Nightscout site, or an error.
pub fn nightscout_cursor(bytes: &[u8]) {
    fuzzing::nightscout_cursor(bytes);
}
