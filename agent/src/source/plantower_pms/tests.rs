use emulators::air::Air;
use emulators::{Device as Emulator, Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::testing::{NOON, Running, configured};
use crate::source::{Configured, SourceClock};

/// A published frame of 20 bytes (DFRobot SEN0177, which is a PMS3003).
const FRAME: &[u8] = b"BM\x00\x14\x00\x0c\x00\x11\x00\x11\x00\x0c\x00\x11\x00\x11\x02\x8e\x00\x05\x97\x00\x02+";

fn bench(toml: &str) -> Bench {
    let settings: Settings = toml::from_str(&format!("port = \"/dev/x\"\n{toml}")).unwrap();
    settings.validate().unwrap();
    Bench::open(settings.codec(None).unwrap())
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/plantower_pms/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    sample.source[0].validate().unwrap();
    let crate::source::Settings::PlantowerPms(full) = &sample.source[0].settings else { panic!("plantower_pms") };
    let short: Settings = toml::from_str(&format!("port = {:?}", full.port)).unwrap();
    assert_eq!(&short, full);
    assert!(
        toml::from_str::<Settings>("port = \"x\"\nmodel = \"abacus\"").unwrap_err().to_string().contains("pms5003t")
    );
}

#[test]
fn the_published_frame_is_read_in_pieces_and_behind_damage() {
    let expected = ["pm1.standard 12", "pm2.5.standard 17", "pm10.standard 17", "pm1 12", "pm2.5 17", "pm10 17"];
    let expected = expected.map(|line| {
        let (name, number) = line.split_once(' ').unwrap();
        format!("boot 1000000 {name} [ug/m3] gauge {number}")
    });
    let mut bench = bench("");
    bench.hear_in_pieces(FRAME, 1);
    assert_eq!(bench.told().0, expected);
    let mut damaged = FRAME.to_vec();
    damaged[5] ^= 4;
    bench.hear(&[&FRAME[..9], &damaged[..], FRAME].concat());
    let told = bench.told().0;
    assert_eq!(told[..6], expected);
    assert!(told.iter().any(|line| line == "rejected frame: has a wrong checksum"), "{told:?}");
}

#[test]
fn the_larger_sensors_count_and_the_t_measures_warmth() {
    let words = [5, 8, 9, 4, 7, 8, 900, 300, 60, 8, 65_486, 405, 0];
    let frame = Air::plantower(&words, 1).idle();
    let last = |toml: &str| {
        let mut bench = bench(toml);
        bench.hear(&frame);
        bench
            .told()
            .0
            .into_iter()
            .skip(9)
            .map(|line| line.trim_start_matches("boot 1000000 ").to_owned())
            .collect::<Vec<_>>()
    };
    let largest = ["particles.5 [{particles/dL}] gauge 65486", "particles.10 [{particles/dL}] gauge 405"];
    assert_eq!(last(""), [&["particles.2.5 [{particles/dL}] gauge 8"], &largest[..]].concat());
    // The PMS5003ST has four words more, which are not read.
    let mut bench = bench("");
    bench.hear(&Air::plantower(&[&words[..], &[1, 2, 3, 4]].concat(), 1).idle());
    let told = bench.told().0;
    assert!(told.len() == 12 && told[11].ends_with("particles.10 [{particles/dL}] gauge 405"), "{told:?}");
    assert_eq!(last("model = \"pms5003t\"")[1..], ["temperature [Cel] gauge -5", "humidity [%] gauge 40.5"]);
}

#[tokio::test]
async fn a_sensor_with_bad_manners_gives_nothing_but_what_it_measured() {
    let mut socket = Socket::new().unwrap();
    let toml = format!("name = \"dust\"\ntype = \"plantower_pms\"\nport = {:?}", socket.path);
    let mut running = Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 4);
    let words: Vec<u16> = (1..=13).collect();
    let manners = Manners { damaged: 200, cut: 200, noisy: 200, ..Manners::bad(5) };
    socket.plug_in(Air::plantower(&words, 200), manners).unwrap();
    let (mut count, mut rejects) = (0, 0);
    while count < 60 * 12 || rejects < 5 {
        let intake = running.next().await;
        rejects += intake.rejects.len();
        for sample in intake.samples {
            assert_eq!(sample.reading.value, proto::Value::Number(f64::from(count % 12 + 1)));
            count += 1;
        }
    }
    running.stop().await;
}
