//! Devices that keep records: meters and receivers.

use emulators::Test;
use emulators::codefree::CodeFree;
use emulators::contour::Contour;
use emulators::dexcom::{Generation, Receiver};
use emulators::freestyle::Freestyle;
use emulators::lifescan::LifeScan;
use emulators::taidoc::TaiDoc;
use emulators::ultra2::Ultra2;

use super::{Kind, Way};

/// A meter of that model, whose tests are a minute apart.
macro_rules! meter {
    ($model:literal, $at_once:literal, $count:literal, $device:expr) => {
        Kind {
            name: $model,
            toml: concat!("type = \"glucose_meter\"\ntime_zone = \"UTC\"\nevery_s = 10\nmodel = \"", $model, "\""),
            way: Way::Keeps { at_once: $at_once },
            series: "glucose",
            is_checked: true,
            count: $count,
            device: |range| Box::new($device(range.map(Test::number).collect())),
            said: |number| {
                let test = Test::number(number);
                (Some(i64::from(test.seconds_since(1970)) * 1_000_000), test.mg_dl.to_string())
            },
            frame: |_| Vec::new(),
        }
    };
}

pub(in super::super) const METERS: [Kind; 8] = [
    meter!("freestyle_lite", true, 20, |tests| Freestyle::lite("DBMN123-A4567", tests)),
    meter!("freestyle_optium", true, 20, |tests| Freestyle::optium("XCGM123-A4567", tests)),
    meter!("onetouch_ultra2", true, 20, |tests| Ultra2::new("C123ABC4Y", tests)),
    meter!("onetouch_ultra_mini", false, 20, |tests| LifeScan::ultra_mini("C176SA5C9", tests)),
    meter!("onetouch_verio_iq", false, 20, |tests| LifeScan::verio_iq("YZAB1234", tests)),
    meter!("contour", false, 20, |tests| Contour::new("7390-2336773", tests)),
    meter!("taidoc", false, 20, TaiDoc::new),
    // It cannot be asked again for one record: all of them have to come through at once.
    meter!("codefree", false, 4, CodeFree::new),
];

pub(in super::super) const DEXCOM: Kind = Kind {
    name: "dexcom_receiver",
    toml: "type = \"dexcom_receiver\"\nevery_s = 10",
    way: Way::Keeps { at_once: false },
    series: "glucose",
    is_checked: true,
    count: 50,
    device: |range| {
        let mut receiver = Receiver::new("sm40000000", Generation::G6);
        range.for_each(|number| receiver.glucose(number.into(), 40 + number % 361, 0));
        Box::new(receiver)
    },
    said: |number| {
        (Some((1_230_768_000 + 400_000_000 + 300 * i64::from(number)) * 1_000_000), (40 + number % 361).to_string())
    },
    frame: |_| Vec::new(),
};
