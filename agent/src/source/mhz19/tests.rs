use emulators::air::Air;
use emulators::{Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::testing::{NOON, Running, configured};
use crate::source::{Configured, SourceClock};

/// A published answer: 449 ppm.
const ANSWER: [u8; 9] = [0xff, 0x86, 0x01, 0xc1, 0x3c, 0x04, 0x3c, 0xc1, 0x7b];

fn bench() -> Bench {
    let settings: Settings = toml::from_str("port = \"/dev/x\"").unwrap();
    settings.validate().unwrap();
    Bench::open(settings.codec(None).unwrap())
}

#[test]
fn the_sample_is_valid_and_shows_the_default() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/mhz19/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    sample.source[0].validate().unwrap();
    let crate::source::Settings::Mhz19(full) = &sample.source[0].settings else { panic!("mhz19") };
    let short: Settings = toml::from_str(&format!("port = {:?}", full.port)).unwrap();
    assert_eq!(&short, full);
    assert_eq!(Settings { every_s: 1, ..short }.validate().unwrap_err().field, "every_s");
}

#[test]
fn the_published_answer_to_the_published_question_is_read() {
    let mut bench = bench();
    assert_eq!(bench.written(), QUESTION);
    bench.hear_in_pieces(&ANSWER, 2);
    assert_eq!(bench.told().0, ["boot 1000000 co2 [[ppm]] gauge 449", "boot 1000000 temperature [Cel] gauge 20"]);
    assert_eq!(bench.wait(), Duration::from_secs(10));
    assert_eq!(bench.written(), QUESTION);
    // The question given back, noise, a damaged answer, the answer.
    let mut damaged = ANSWER;
    damaged[3] ^= 1;
    bench.hear(&[&QUESTION[..], &[1, 2, 3], &damaged[..], &ANSWER[..]].concat());
    let told = bench.told().0;
    assert_eq!(told[0], "boot 11000000 co2 [[ppm]] gauge 449");
    let rejects: Vec<_> = told.iter().filter(|line| line.starts_with("rejected")).collect();
    assert!(rejects.iter().any(|line| line.contains("wrong checksum")), "{rejects:?}");
    // Unasked, it is no answer.
    bench.hear(&ANSWER);
    assert!(bench.told().0.iter().all(|line| line.starts_with("rejected")));
}

#[test]
fn a_mute_sensor_is_asked_three_times() {
    let mut bench = bench();
    for _ in 0..3 {
        assert_eq!(bench.written(), QUESTION);
        assert!(bench.hung_up().is_none());
        bench.wait();
    }
    assert!(bench.hung_up().unwrap().contains("TX and RX crossed"));
    bench.reopen();
    assert_eq!(bench.written(), QUESTION);
}

#[tokio::test]
async fn a_sensor_on_a_terminal_and_behind_tcp_is_asked_and_read() {
    let mut socket = Socket::new().unwrap();
    let start = |port: &str| {
        let toml = format!("name = \"air\"\ntype = \"mhz19\"\nevery_s = 2\nport = {port:?}");
        Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 4)
    };
    let values = |intake: crate::source::Intake| {
        intake.samples.into_iter().map(|sample| sample.reading.value).collect::<Vec<_>>()
    };
    let expected = [812.0, 23.0].map(proto::Value::Number);
    let mut running = start(socket.path.to_str().unwrap());
    socket.plug_in(Air::mhz19(812, 23), Manners { unplug_after: Some(5), ..Manners::good() }).unwrap();
    while socket.heard() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    socket.plug_in(Air::mhz19(812, 23), Manners::good()).unwrap();
    assert_eq!(values(running.next().await), expected);
    running.stop().await;
    let address = Socket::over_tcp(Air::mhz19(812, 23)).unwrap();
    let mut running = start(&format!("tcp://{address}"));
    assert_eq!(values(running.next().await), expected);
    running.stop().await;
}
