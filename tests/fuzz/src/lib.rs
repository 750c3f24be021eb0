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
pub use sources::*;

/// Something that reads bytes from outside.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("agent_config", agent_config),
    ("body", body),
    ("clarity", clarity),
    ("codefree", codefree),
    ("contec", contec),
    ("contour", contour),
    ("csv", csv),
    ("cursor", cursor),
    ("dexcom", dexcom),
    ("dsmr", dsmr),
    ("folder_cursor", folder_cursor),
    ("frame", frame),
    ("freestyle", freestyle),
    ("gateway_config", gateway_config),
    ("guess", guess),
    ("json", json),
    ("key_value", key_value),
    ("libreview", libreview),
    ("lifescan", lifescan),
    ("message", message),
    ("meter_cursor", meter_cursor),
    ("mhz19", mhz19),
    ("modbus", modbus),
    ("mqtt", mqtt),
    ("mqtt_broker", mqtt_broker),
    ("mqtt_message", mqtt_message),
    ("nightscout", nightscout),
    ("nightscout_cursor", nightscout_cursor),
    ("nmea", nmea),
    ("nonin", nonin),
    ("pattern", pattern),
    ("plantower_pms", plantower_pms),
    ("sds011", sds011),
    ("senml", senml),
    ("sparkplug", sparkplug),
    ("system", system),
    ("taidoc", taidoc),
    ("topic", topic),
    ("ultra2", ultra2),
];
