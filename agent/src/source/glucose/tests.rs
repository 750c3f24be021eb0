use jiff::tz::TimeZone;

use super::*;
use crate::source::Configured;
use crate::source::device::testing::Bench;
use crate::source::settings::Settings as Any;

mod codefree;
mod emulated;

/// A meter of that model in Berlin, looked at every five minutes.
fn bench(model: Model, cursor: Option<&[u8]>) -> Bench {
    let settings = Settings { port: "/dev/null".into(), model, time_zone: "Europe/Berlin".into(), every_s: 300 };
    settings.validate().unwrap();
    Bench::open(settings.codec(cursor).unwrap())
}

/// An answer with its sum, from the lines before it.
fn summed(lines: &str) -> Vec<u8> {
    let sum: u32 = lines.bytes().map(u32::from).sum();
    format!("{lines}0x{:04X}  END\r\n", sum & 0xffff).into_bytes()
}

const TWO: &str = "\r\nDBMN123-A4567\r\n\r\n0.22     -P\r\nJuly 10 2013 14:26:44\r\n002\r\n\n\
                   093  July 09 2013 14:26 17 0x00\r\nHI   Apr  22 2013 02:14 17 0x00\r\n";
const THREE: &str = "\r\nDBMN123-A4567\r\n\r\n0.22     -P\r\nJuly 10 2013 15:26:44\r\n003\r\n\n\
                     108  July 10 2013 15:01 17 0x01\r\n093  July 09 2013 14:26 17 0x00\r\n\
                     HI   Apr  22 2013 02:14 17 0x00\r\n";

#[test]
fn the_samples_are_valid() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/glucose/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    for source in &sample.source {
        source.validate().unwrap();
        assert!(source.settings.resumes());
        let Any::GlucoseMeter(settings) = &source.settings else { panic!("a meter") };
        assert_eq!(settings.every_s, every_s(), "the sample shows the default");
    }
    // Every model is in the sample, in the page, and is read by that name.
    let page = std::fs::read_to_string("src/source/glucose/README.md").unwrap();
    for model in emulated::ALL {
        let word = toml::Value::try_from(model).unwrap();
        let word = word.as_str().unwrap();
        assert!(text.contains(word) && page.contains(&format!("| `{word}` |")), "{word}");
    }
}

#[test]
fn a_port_where_something_else_talks_is_given_up_and_what_it_says_is_told() {
    for model in emulated::ALL {
        let mut bench = bench(model, None);
        let why = bench.chatter(b"$GPGSV,3,1,11*7x\r", 900).unwrap_or_else(|| panic!("{model:?}: it listens for ever"));
        assert!(why.contains("of this model"), "{why}");
        assert!(!bench.told().0.is_empty(), "{model:?}: nothing is told");
    }
}

#[test]
fn settings_that_cannot_be_are_named() {
    let field = |toml: &str| {
        let settings: Settings = toml::from_str(toml).unwrap();
        settings.validate().unwrap_err().field
    };
    let with = |port: &str, zone: &str, every: u32| {
        field(&format!("model = \"freestyle_lite\"\nport = \"{port}\"\ntime_zone = \"{zone}\"\nevery_s = {every}"))
    };
    assert_eq!(with("", "Europe/Berlin", 60), "port");
    assert_eq!(with("tcp://meter", "Europe/Berlin", 60), "port");
    assert_eq!(with("/dev/x", "Mars/Base", 60), "time_zone");
    assert_eq!(with("/dev/x", "Europe/Berlin", 1), "every_s");
    let unknown = toml::from_str::<Settings>("port = \"x\"\nmodel = \"abacus\"\ntime_zone = \"UTC\"").unwrap_err();
    assert!(unknown.to_string().contains("freestyle_lite"), "{unknown} names those that are known");
}

/// flupzor/flupzor.github.io:protocol.html has serial numbers, software and the order of lines, flupzor/glucosemeter:abfr.c
/// a record and a clock; the sum is of these bytes.
#[test]
fn published_lines_of_a_freestyle_are_read() {
    let published =
        "\r\nCDMK311-B0764\r\n0.31-P\r\nJan  21 2010 20:40:00\r\n001\r\n\n234  Jan  17 2010 00:39 00 0x00\r\n";
    let mut bench = bench(Model::FreestyleLite, None);
    bench.hear_in_pieces(&summed(published), 11);
    assert_eq!(bench.told().0, ["source 1263685140000000 glucose [mg/dL] gauge 234 offset 60"]);
}

/// glucometers-tech/glucometer-protocols, abbott/freestyle-optium: what was shown as 0.2 mmol/L of ketone is sent as 003, and
/// `HI` of ketone is 8.0; glucometers-tech/glucometerutils:test/test_fsoptium.py has the dates.
#[test]
fn published_values_of_a_freestyle_optium_are_read() {
    let published = "\r\nXCGM123-A4567\r\n1.43\r\nSep  29 2013 17:35:34\r\n003\r\n003  Sep  29 2013 17:35 K 0x00\r\n\
                     HI   July 10 2013 14:26 K 0x00\r\n093  Apr  22 2013 02:14 G 0x00\r\n";
    let mut bench = bench(Model::FreestyleOptium, None);
    bench.hear(&summed(published));
    let told = bench.told().0;
    let shown = told.iter().map(|line| line.split_once(' ').unwrap().1.split_once(' ').unwrap().1).collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            "glucose [mg/dL] gauge 93 offset 120",
            "ketone [mmol/L] gauge high(8) offset 120",
            "ketone [mmol/L] gauge 0.17 offset 120"
        ]
    );
    assert!(told[2].starts_with("source 1380468900000000 "), "2013-09-29T17:35 in Berlin: {told:?}");
}

#[test]
fn each_record_is_handed_over_once_oldest_first_across_looks_and_restarts() {
    let mut bench = bench(Model::FreestyleLite, None);
    assert_eq!(bench.written(), b"mem");
    bench.hear_in_pieces(&summed(TWO), 7);
    let (told, cursor) = bench.told();
    assert_eq!(
        told,
        [
            "source 1366589640000000 glucose [mg/dL] gauge high(500) offset 120",
            "source 1373372760000000 glucose [mg/dL] gauge 93 offset 120"
        ]
    );
    assert_eq!(bench.wait(), Duration::from_secs(300), "the next look");
    assert_eq!(bench.written(), b"mem");
    bench.hear(&summed(TWO));
    assert_eq!(bench.told(), (vec![], None), "nothing new");

    let mut again = super::tests::bench(Model::FreestyleLite, cursor.as_deref());
    again.hear(&summed(THREE));
    let (told, cursor) = again.told();
    assert_eq!(told, ["source 1373461260000000 glucose [mg/dL] gauge control(108) offset 120"]);
    let mut another = super::tests::bench(Model::FreestyleLite, cursor.as_deref());
    another.hear(&summed(&THREE.replace("DBMN123", "CBMN999")));
    assert_eq!(another.told().0.len(), 3, "another meter on the same cable is another memory");
}

#[test]
fn an_answer_with_a_wrong_sum_is_asked_for_again_and_a_mute_meter_is_left_alone() {
    let mut bench = bench(Model::FreestyleLite, None);
    let mut damaged = summed(TWO);
    damaged[60] ^= 1;
    bench.hear(&damaged);
    assert_eq!(bench.told().0, ["rejected answer: has a wrong checksum"]);
    bench.written();
    bench.hear(b"what was still under way");
    assert_eq!(bench.wait(), Duration::from_millis(300));
    assert_eq!(bench.written(), b"mem", "asked again once it is quiet");
    bench.hear(&summed(TWO)[..50]);
    bench.wait();
    assert_eq!(bench.written(), b"mem", "an answer that broke off is asked for again");
    assert_eq!(bench.told().0, ["rejected answer: broke off"]);
    bench.hear(&summed(TWO));
    assert_eq!(bench.told().0.len(), 2);

    bench.wait();
    for _ in 0..2 {
        bench.wait();
    }
    assert!(bench.hung_up().is_none());
    bench.wait();
    assert!(bench.hung_up().unwrap().contains("does not answer"));
    bench.reopen();
    assert_eq!(bench.written(), b"mem", "with the port, it begins anew");
}

/// A protocol that takes a part of a memory for the whole.
struct Hasty;

impl Protocol for Hasty {
    fn begin(&mut self) -> session::Step {
        session::Step::Ask(b"all".to_vec(), Duration::from_secs(1))
    }

    fn heard(&mut self, bytes: &[u8], harvest: &mut harvest::Harvest) -> session::Step {
        harvest.of(b"serial", 2);
        harvest.add(record::Record::new(bytes, Err("is not read".to_owned())));
        session::Step::Done(Vec::new())
    }

    fn again(&mut self, question: &[u8]) -> Vec<u8> {
        question.to_vec()
    }

    fn half_read(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

#[test]
fn a_part_of_a_memory_is_not_handed_over_as_the_whole() {
    let session = Session::new(Box::new(Hasty), TimeZone::UTC, Memory::default(), Duration::from_secs(300));
    let mut bench = Bench::open(Box::new(session));
    bench.written();
    bench.hear(b"one of two");
    assert_eq!(bench.told(), (vec!["rejected answer: ends before its last record".to_owned()], None));
    assert_eq!(bench.wait(), Duration::from_millis(300));
    assert_eq!(bench.written(), b"all", "asked again");
}

#[test]
fn an_empty_meter_is_well_and_a_record_that_makes_no_sense_is_rejected_once() {
    let mut bench = bench(Model::FreestyleLite, None);
    bench.hear(b"\r\nDBMN123-A4567\r\n\r\n0.22  -P\r\nJuly 10 2013 14:26:44\r\nLog Empty END\r\n");
    assert_eq!(bench.told(), (vec![], None));
    bench.wait();
    let odd = TWO.replace("093  July 09", "093  July 39");
    bench.hear(&summed(&odd));
    let (told, cursor) = bench.told();
    assert_eq!(told[1], "rejected record 2: has no date and time");
    let mut again = super::tests::bench(Model::FreestyleLite, cursor.as_deref());
    again.hear(&summed(&odd));
    assert_eq!(again.told(), (vec![], None));
}

#[test]
fn ketone_is_told_apart_from_glucose() {
    let mut bench = bench(Model::FreestyleOptium, None);
    assert_eq!(bench.written(), b"$xmem\r\n");
    bench.hear(&summed(
        "\r\nXCGM123-A4567\r\n4.17\r\nSep  29 2013 17:35:34\r\n004\r\n003  Sep  29 2013 17:35 K 0x00\r\n\
         HI   Sep  29 2013 17:30 K 0x00\r\n101  Apr  22 2013 02:14 G 0x02\r\nLO   Apr  22 2013 02:13 G 0x00\r\n",
    ));
    assert_eq!(
        bench.told().0,
        [
            "source 1366589580000000 glucose [mg/dL] gauge low(20) offset 120",
            "source 1366589640000000 glucose [mg/dL] gauge 101 offset 120",
            "source 1366589640000000 glucose.note [1] state Text(\"clock_lost\") offset 120",
            "source 1380468600000000 ketone [mmol/L] gauge high(8) offset 120",
            "source 1380468900000000 ketone [mmol/L] gauge 0.17 offset 120",
        ]
    );
}

#[test]
fn a_zone_is_needed() {
    assert!(TimeZone::get("Europe/Berlin").is_ok());
    assert!(toml::from_str::<Settings>("port = \"x\"\nmodel = \"freestyle_lite\"").is_err());
}
