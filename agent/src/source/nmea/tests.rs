use emulators::air::Air;
use emulators::{Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::testing::{NOON, Running, configured};
use crate::source::{Configured, SourceClock};

fn bench(toml: &str) -> Bench {
    let settings: Settings = toml::from_str(&format!("port = \"/dev/x\"\n{toml}")).unwrap();
    settings.validate().unwrap();
    Bench::open(settings.codec(None).unwrap())
}

fn summed(body: &str) -> Vec<u8> {
    format!("${body}*{:02X}\r\n", body.bytes().fold(0, |sum, byte| sum ^ byte)).into_bytes()
}

/// Published by elmot/rp2040-data-logger.
const RMC: &[u8] = b"$GPRMC,201230.00,A,6026.86949,N,02217.14087,E,0.689,,150722,,,A*72\r\n";
const GGA: &[u8] = b"$GPGGA,201229.00,6026.86958,N,02217.14119,E,1,08,0.96,66.1,M,18.7,M,,*6C\r\n";

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/nmea/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    sample.source[0].validate().unwrap();
    let crate::source::Settings::Nmea(full) = &sample.source[0].settings else { panic!("nmea") };
    let short: Settings = toml::from_str(&format!("port = {:?}", full.port)).unwrap();
    assert_eq!(&short, full);
    assert_eq!(Settings { baud: 1, ..short }.validate().unwrap_err().field, "baud");
}

#[test]
fn published_sentences_have_the_receivers_time_once_the_date_is_known() {
    let mut bench = bench("");
    bench.hear_in_pieces(&[GGA, RMC, GGA].concat(), 5);
    assert_eq!(
        bench.told().0,
        [
            "boot 1000000 position.latitude [deg] gauge 60.44782633",
            "boot 1000000 position.longitude [deg] gauge 22.2856865",
            "boot 1000000 position.altitude [m] gauge 66.1",
            "boot 1000000 position.satellites [1] gauge 8",
            "boot 1000000 position.fix [1] state 1",
            "source 1657915950000000 position.latitude [deg] gauge 60.44782483",
            "source 1657915950000000 position.longitude [deg] gauge 22.28568117",
            "source 1657915950000000 position.speed [[kn_i]] gauge 0.689",
            "source 1657915949000000 position.latitude [deg] gauge 60.44782633",
            "source 1657915949000000 position.longitude [deg] gauge 22.2856865",
            "source 1657915949000000 position.altitude [m] gauge 66.1",
            "source 1657915949000000 position.satellites [1] gauge 8",
            "source 1657915949000000 position.fix [1] state 1",
        ]
    );
}

#[test]
fn a_moment_has_one_position_and_midnight_another_date() {
    let mut bench = bench("");
    let place = "5321.6802,N,00630.3372,W";
    let gga = |time: &str| summed(&format!("GNGGA,{time},{place},1,8,1.03,61.7,M,55.2,M,,"));
    bench.hear(&summed(&format!("GNRMC,235959.00,A,{place},0.0,12.5,311221,,,A")));
    bench.hear(&gga("235959.00"));
    bench.hear(&gga("000000.50"));
    let told = bench.told().0;
    let latitudes: Vec<&str> =
        told.iter().filter_map(|line| line.split_once(" position.latitude")).map(|(at, _)| at).collect();
    assert_eq!(latitudes, ["source 1640995199000000", "source 1640995200500000"]);
    assert!(told.contains(&"source 1640995199000000 position.course [deg] gauge 12.5".to_owned()));
    // Without a fix there is no place.
    bench.hear(&summed("GNGGA,000001.00,,,,,0,00,,,M,,M,,"));
    let told = bench.told().0;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].ends_with("position.fix [1] state 0"));
}

#[test]
fn a_position_is_in_no_reject_and_no_log_and_the_first_cut_line_is_no_fault() {
    let mut bench = bench("every_s = 10");
    bench.hear(&RMC[20..]);
    assert_eq!(bench.told().0, Vec::<String>::new());
    let mut damaged = RMC.to_vec();
    damaged[21] = b'7';
    bench.hear(&[&damaged[..], &[b'x'; 500], b"\r\n", GGA, RMC, b"\r\n!AIVDM,1,1,,A,x*00\r\n"].concat());
    let told = bench.told().0;
    assert_eq!(
        told.iter().filter(|line| !line.starts_with("rejected")).count(),
        5,
        "one moment in ten seconds: {told:?}"
    );
    let rejects: Vec<_> = told.iter().filter(|line| line.starts_with("rejected")).collect();
    assert_eq!(rejects.len(), 2, "{rejects:?}");
    assert!(rejects.iter().all(|line| !line.contains("86949") && !line.contains("02217")), "{rejects:?}");
    let mut out = Out::default();
    let settings: Settings = toml::from_str("port = \"/dev/x\"").unwrap();
    let mut codec = settings.codec(None).unwrap();
    codec.heard(RMC, Now { boot: Instant(1), wall: None }, &mut out);
    let shown = format!("{out:?}");
    assert!(shown.contains("redacted") && !shown.contains("60.4") && !shown.contains("22.2"), "{shown}");
}

#[tokio::test]
async fn a_receiver_with_bad_manners_gives_no_place_but_its_own() {
    let mut socket = Socket::new().unwrap();
    let toml = format!("name = \"van\"\ntype = \"nmea\"\nport = {:?}", socket.path);
    let mut running = Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 4);
    let sentence = |second: u32| {
        let time = format!("12{:02}{:02}.00", second / 60, second % 60);
        summed(&format!("GPRMC,{time},A,5321.6802,N,00630.3372,W,1.5,,150722,,,A"))
    };
    let manners = Manners { damaged: 150, cut: 150, noisy: 150, ..Manners::bad(11) };
    socket.plug_in(Air::pushing((0..300).rev().map(sentence).collect()), manners).unwrap();
    let (mut values, mut rejects) = (Vec::new(), 0);
    while values.len() < 3 * 100 || rejects < 5 {
        let intake = running.next().await;
        rejects += intake.rejects.len();
        values.extend(intake.samples.into_iter().map(|sample| sample.reading.value));
    }
    let expected = [53.361_336_7, -6.505_62, 1.5].map(proto::Value::Number);
    assert!(values.chunks_exact(3).all(|three| three == expected));
    running.stop().await;
}
