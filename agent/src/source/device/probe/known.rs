//! Every device that is looked for. The first that is recognised is it, so the order is: those whose frames have the
//! strongest checksums first.

use super::Candidate;
#[cfg(any(feature = "energy", feature = "environment", feature = "glucose", feature = "vitals"))]
use super::Ids;

/// What is to be looked at in the settings of a device that knows local time only.
#[cfg(any(feature = "energy", feature = "glucose"))]
const LOCAL_TIME: &str = "time_zone is to be what the device's clock is set to";

/// The devices, in the order in which they are asked.
pub(super) const KNOWN: &[Candidate] = &[
    #[cfg(feature = "glucose")]
    device("Dexcom receiver", "type = \"dexcom_receiver\"", Ids::Own(&[(0x22a3, 0x0047)])),
    #[cfg(feature = "energy")]
    meter("P1 port of an energy meter", "type = \"dsmr\"\nversion = 5\ntime_zone = \"{zone}\"", Ids::Any),
    #[cfg(feature = "environment")]
    device("satellite receiver, 4800 baud", "type = \"nmea\"\nbaud = 4800", Ids::Any),
    #[cfg(feature = "environment")]
    device("satellite receiver, 9600 baud", "type = \"nmea\"\nbaud = 9600", Ids::Any),
    #[cfg(feature = "environment")]
    device("SDS011", "type = \"sds011\"", Ids::Any),
    #[cfg(feature = "environment")]
    device("Plantower PMS", "type = \"plantower_pms\"", Ids::Any),
    #[cfg(feature = "vitals")]
    device("Nonin, format 2", "type = \"nonin_oem3\"\nformat = 2", Ids::Any),
    #[cfg(feature = "vitals")]
    device("Nonin, format 7", "type = \"nonin_oem3\"\nformat = 7", Ids::Any),
    #[cfg(feature = "glucose")]
    meter(
        "OneTouch UltraMini or UltraEasy",
        "type = \"glucose_meter\"\nmodel = \"onetouch_ultra_mini\"\ntime_zone = \"{zone}\"",
        Ids::Any,
    ),
    #[cfg(feature = "glucose")]
    meter(
        "OneTouch Verio IQ",
        "type = \"glucose_meter\"\nmodel = \"onetouch_verio_iq\"\ntime_zone = \"{zone}\"",
        Ids::Own(&[(0x10c4, 0x85a7)]),
    ),
    #[cfg(feature = "glucose")]
    meter(
        "TaiDoc TD-42xx or GlucoRx Nexus",
        "type = \"glucose_meter\"\nmodel = \"taidoc\"\ntime_zone = \"{zone}\"",
        Ids::Any,
    ),
    #[cfg(feature = "glucose")]
    meter("SD Biosensor CodeFree", "type = \"glucose_meter\"\nmodel = \"codefree\"\ntime_zone = \"{zone}\"", Ids::Any),
    #[cfg(feature = "glucose")]
    meter("OneTouch Ultra2", "type = \"glucose_meter\"\nmodel = \"onetouch_ultra2\"\ntime_zone = \"{zone}\"", Ids::Any),
    // Abbott's cables are named in Linux: drivers/usb/serial/ti_usb_3410_5052.c.
    #[cfg(feature = "glucose")]
    meter(
        "FreeStyle Lite or Freedom Lite",
        "type = \"glucose_meter\"\nmodel = \"freestyle_lite\"\ntime_zone = \"{zone}\"",
        Ids::Cable(&[(0x1a61, 0x3410), (0x1a61, 0x3420)]),
    ),
    #[cfg(feature = "glucose")]
    meter(
        "FreeStyle Optium or Precision Xtra",
        "type = \"glucose_meter\"\nmodel = \"freestyle_optium\"\ntime_zone = \"{zone}\"",
        Ids::Cable(&[(0x1a61, 0x3410), (0x1a61, 0x3420)]),
    ),
    #[cfg(feature = "glucose")]
    meter(
        "Bayer or Ascensia Contour",
        "type = \"glucose_meter\"\nmodel = \"contour\"\ntime_zone = \"{zone}\"",
        Ids::Any,
    ),
    #[cfg(feature = "environment")]
    device("MH-Z19", "type = \"mhz19\"", Ids::Any),
    #[cfg(feature = "energy")]
    device("Eastron SDM630", "type = \"modbus\"\nmap = \"sdm630\"", Ids::Any),
];

/// Kinds of sources at the end of a wire that are not looked for by themselves, and why.
#[cfg(test)]
pub(super) const NOT_LOOKED_FOR: &[(&str, &str)] = &[
    ("contec_cms50", "its frames have no checksum, and noise looks like them now and then"),
    ("exec", "a program is at no port"),
    ("serial", "lines of text are guessed from what is heard"),
];

/// A device about whose settings there is nothing to be looked at.
#[cfg(any(feature = "environment", feature = "glucose", feature = "energy", feature = "vitals"))]
const fn device(what: &'static str, settings: &'static str, ids: Ids) -> Candidate {
    Candidate { what, settings, ids, check: "" }
}

/// A device that knows local time only.
#[cfg(any(feature = "energy", feature = "glucose"))]
const fn meter(what: &'static str, settings: &'static str, ids: Ids) -> Candidate {
    Candidate { what, settings, ids, check: LOCAL_TIME }
}
