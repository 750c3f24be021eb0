//! What is fed hostile bytes: one function per thing that reads bytes from outside.
//!
//! Each takes any bytes, and panics where a promise is broken: that decoding ends in a value or an error, that what was
//! read is written and read again to the same, that bounds hold. `tests/corpora.rs` feeds them the corpora in `corpus/`
//! and damaged copies of them, on any toolchain; `libfuzzer/` feeds them what it finds by coverage, on nightly.

mod configs;
mod mutate;
mod protocol;
mod sources;

pub use configs::{agent_config, gateway_config};
pub use mutate::Mutator;
pub use protocol::{body, frame, message, mqtt, senml, topic};
pub use sources::{codefree, contour, csv, cursor, freestyle, json, key_value, lifescan, meter_cursor, taidoc, ultra2};
pub use sources::{dsmr, mhz19, modbus, nmea, pattern, plantower_pms, sds011};

/// Something that reads bytes from outside.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("agent_config", agent_config),
    ("body", body),
    ("codefree", codefree),
    ("contour", contour),
    ("csv", csv),
    ("cursor", cursor),
    ("dsmr", dsmr),
    ("frame", frame),
    ("freestyle", freestyle),
    ("gateway_config", gateway_config),
    ("json", json),
    ("key_value", key_value),
    ("lifescan", lifescan),
    ("message", message),
    ("meter_cursor", meter_cursor),
    ("mhz19", mhz19),
    ("modbus", modbus),
    ("mqtt", mqtt),
    ("nmea", nmea),
    ("pattern", pattern),
    ("plantower_pms", plantower_pms),
    ("sds011", sds011),
    ("senml", senml),
    ("taidoc", taidoc),
    ("topic", topic),
    ("ultra2", ultra2),
];
