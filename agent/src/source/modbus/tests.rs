use emulators::modbus::Modbus;
use emulators::{Device as Emulator, Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::testing::{NOON, Running, configured};
use crate::source::{Configured, SourceClock};

mod late;

fn settings(toml: &str) -> Result<Settings, String> {
    let settings: Settings = toml::from_str(toml).map_err(|error| error.to_string())?;
    settings.validate().map_err(|error| error.to_string())?;
    Ok(settings)
}

fn bench(toml: &str) -> Bench {
    Bench::open(settings(toml).unwrap().codec(None).unwrap())
}

const VOLTAGE: &str =
    "registers = [{ name = \"voltage\", address = 0, kind = \"input\", type = \"f32\", unit = \"V\" }]";

fn serial(more: &str) -> String {
    format!("port = \"/dev/x\"\n{more}")
}

fn tcp(more: &str) -> String {
    format!("port = \"tcp://127.0.0.1:502\"\n{more}")
}

/// Until the next round, time passing as often as is needed; what was told, without the moment.
fn round(bench: &mut Bench, device: &mut dyn Emulator) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let asked = bench.written();
        if !asked.is_empty() {
            let answer = device.hear(&asked);
            bench.hear_in_pieces(&answer, 3);
        }
        lines.extend(bench.told().0.into_iter().map(|line| match line.strip_prefix("boot ") {
            Some(rest) => rest.split_once(' ').unwrap().1.to_owned(),
            None => line,
        }));
        if let Some(problem) = bench.hung_up() {
            lines.push(format!("hung up: {problem}"));
            bench.reopen();
            return lines;
        }
        if bench.wait() > Duration::from_secs(3) {
            return lines;
        }
    }
}

#[test]
fn the_samples_are_valid() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/modbus/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    sample.source.iter().for_each(|source| source.validate().unwrap());
    let crate::source::Settings::Modbus(full) = &sample.source[0].settings else { panic!("modbus") };
    let short = settings(&format!("port = {:?}\nmap = \"sdm630\"", full.port)).unwrap();
    let Settings { registers, framing, request_max, .. } = full.clone();
    assert_eq!(&Settings { registers, framing, request_max, ..short }, full, "the sample shows the defaults");
}

#[test]
fn settings_that_cannot_be_are_named_and_say_what_to_do() {
    let register = |change: &str, to: &str| {
        let good = "{ name = \"v\", address = 1, kind = \"holding\", type = \"u32\", unit = \"V\" }";
        serial(&format!(
            "registers = [{{ name = \"w\", address = 0, kind = \"holding\", type = \"u16\" }}, {}]",
            good.replace(change, to)
        ))
    };
    settings(&register("", "")).unwrap();
    for (toml, problem) in [
        (serial(""), "registers: 1 to 256 are needed"),
        (serial("map = \"sdm999\""), "map: `sdm999` is no map known here; there is sdm630"),
        (serial(&format!("baud = 1\n{VOLTAGE}")), "baud: is to be"),
        (serial(&format!("stop_bits = 3\n{VOLTAGE}")), "stop_bits: is to be"),
        (serial(&format!("slave = 0\n{VOLTAGE}")), "slave: is to be 1 to 247"),
        (serial(&format!("framing = \"tcp\"\n{VOLTAGE}")), "framing: `tcp` is for tcp://"),
        (serial(&format!("framing = \"ascii\"\n{VOLTAGE}")), "framing: `ascii` is neither"),
        (serial(&format!("every_s = 0\n{VOLTAGE}")), "every_s: is to be"),
        (serial(&format!("answer_ms = 1\n{VOLTAGE}")), "answer_ms: is to be"),
        (serial(&format!("request_max = 126\n{VOLTAGE}")), "request_max: is to be"),
        (serial(&format!("holes_max = 126\n{VOLTAGE}")), "holes_max: is to be"),
        (register("u32", "u23"), "registers[1].type: `u23` is none of u16, i16, u32"),
        (register("holding", "inputs"), "registers[1].kind: `inputs` is none of input, holding"),
        (register("holding", "coil"), "registers[1].type: is to be bool"),
        (register("address = 1", "address = 0"), ".address: overlaps `"),
        (register("address = 1", "address = 65535"), "registers[1].address: is to be 0 to 65535"),
        (register("address = 1", "address = -1"), "registers[1].address: is to be 0 to 65535"),
        (register("\"v\"", "\"w\""), "registers[1].name: `w` is there twice"),
        (register("\"V\"", "\"Volts\""), "registers[1].unit: `Volts` is no unit"),
        (register("unit = \"V\"", "scale = 0"), "registers[1].scale: is 0"),
        (register("unit = \"V\"", "word_order = \"middle\""), "registers[1].word_order: `middle` is none of"),
        (register("unit = \"V\"", "series_kind = \"text\""), "registers[1].series_kind: `text` is none of"),
        (register("unit = \"V\"", "scale = 0.12345678901234567"), "at most 15 digits"),
    ] {
        let found = settings(&toml).unwrap_err();
        assert!(found.contains(problem), "{toml}: {found}");
    }
}

#[test]
fn the_published_question_is_asked_and_the_published_answer_is_230_2_volts() {
    // To the device, that is: the float is one step above 230.2, and 230.20001 is the shortest decimal that means it.
    let answer = [0x01, 0x04, 0x04, 0x43, 0x66, 0x33, 0x34, 0x1b, 0x38];
    let mut bench = bench(&serial(VOLTAGE));
    assert_eq!(bench.written(), [0x01, 0x04, 0, 0, 0, 2, 0x71, 0xcb]);
    bench.hear_in_pieces(&answer, 1);
    assert_eq!(bench.told().0, ["boot 1000000 voltage [V] gauge 230.20001"]);
    assert_eq!(bench.wait(), Duration::from_secs(10), "the next round");
    // An echo, noise, another's answer, then the answer: all of it at once.
    let echo = bench.written();
    bench.hear(&[&echo[..], &[0x00, 0x02, 0x04, 0x04], &answer[..]].concat());
    let told = bench.told().0;
    assert_eq!(told[0], "boot 11000000 voltage [V] gauge 230.20001");
    // What is no answer is told of before the next question, in one reject.
    bench.wait();
    let told: Vec<String> =
        told.into_iter().chain(bench.told().0).filter(|line| line.starts_with("rejected")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("4 bytes belong to no frame"), "{told:?}");
}

#[test]
fn a_damaged_answer_is_asked_for_again_and_a_mute_device_is_given_up() {
    let mut bench = bench(&serial(VOLTAGE));
    let question = bench.written();
    bench.hear(&[0x01, 0x04, 0x04, 0x43, 0x66, 0x33, 0x35, 0x1b, 0x38]);
    assert_eq!(bench.told().0, ["rejected register voltage: has a wrong checksum"]);
    bench.wait();
    assert_eq!(bench.written(), question);
    bench.wait();
    let told = bench.told().0;
    assert_eq!(told, ["rejected register voltage: device 1 does not answer within 1000 ms"]);
    assert!(bench.hung_up().unwrap().contains("check `slave`, baud rate, parity"));
    bench.reopen();
    assert_eq!(
        round(&mut bench, &mut Modbus::default()),
        ["hung up: nobody answers within 1000 ms; check `slave`, baud rate, parity, framing and wiring"]
    );
    assert_eq!(round(&mut bench, &mut Modbus::sdm630()), ["voltage [V] gauge 230.2"]);
}

#[test]
fn an_sdm630_is_read_whole_in_two_requests_over_either_framing() {
    for over_tcp in [false, true] {
        let mut meter = Modbus { over_tcp, echoes: !over_tcp, ..Modbus::sdm630() };
        meter.float(1, 0x34, -1_234.5);
        meter.float(1, 0x156, 17_250.25);
        let mut bench = if over_tcp { bench(&tcp("map = \"sdm630\"")) } else { bench(&serial("map = \"sdm630\"")) };
        let told = round(&mut bench, &mut meter);
        assert_eq!(told.len(), 29, "{told:?}");
        for line in [
            "voltage.l1 [V] gauge 230.2",
            "power.active [W] gauge -1234.5",
            "frequency [Hz] gauge 0",
            "energy.active [kW.h] counter 17250.25",
        ] {
            assert!(told.contains(&line.to_owned()), "{line}: {told:?}");
        }
        assert_eq!(round(&mut bench, &mut meter), told, "and again");
    }
    let settings = settings(&serial("map = \"sdm630\"")).unwrap();
    let (registers, request_max) = settings.registers(Framing::Rtu).unwrap();
    let asked: Vec<(u16, u16)> = plan::plan(&registers, request_max, settings.holes_max)
        .iter()
        .map(|block| (block.request.start, block.request.count))
        .collect();
    assert_eq!(asked, [(0, 80), (0x156, 4)]);
}

#[test]
fn every_type_in_either_order_is_read_and_scaled_exactly() {
    let mut device = Modbus::default();
    let words: [(u16, &[u16]); 9] = [
        (0, &[2_301]),
        (1, &[0xffff]),
        (2, &[0x0001, 0x86a0]),
        (4, &[0x7960, 0xfffe]),
        (6, &[0, 0, 0, 1_000]),
        (10, &[0xffff, 0xffff, 0xffff, 0xfff6]),
        (14, &[0x3333, 0x4366]),
        (16, &[0x406c, 0xc666, 0x6666, 0x6666]),
        (20, &[7]),
    ];
    for (start, words) in words {
        device.registers.extend((start..).zip(words).map(|(at, word)| ((1, 3, at), *word)));
    }
    device.registers.extend((0..10).map(|at| ((1, 1, at), u16::from(at == 9))));
    device.registers.insert((2, 2, 5), 1);
    let toml = r#"registers = [
        { name = "a", address = 0, kind = "holding", type = "u16", scale = 0.1, unit = "V" },
        { name = "b", address = 1, kind = "holding", type = "i16", scale = 0.5, offset = 20.25 },
        { name = "c", address = 2, kind = "holding", type = "u32", series_kind = "counter" },
        { name = "d", address = 4, kind = "holding", type = "i32", word_order = "little" },
        { name = "e", address = 6, kind = "holding", type = "u64", scale = 0.001 },
        { name = "f", address = 10, kind = "holding", type = "i64" },
        { name = "g", address = 14, kind = "holding", type = "f32", word_order = "little", scale = 0.01 },
        { name = "h", address = 16, kind = "holding", type = "f64" },
        { name = "i", address = 20, kind = "holding", type = "bool" },
        { name = "j", address = 1, kind = "coil", type = "bool" },
        { name = "k", address = 9, kind = "coil", type = "bool" },
        { name = "l", address = 5, kind = "discrete", type = "bool", slave = 2 },
    ]"#;
    let mut told = round(&mut bench(&serial(toml)), &mut device);
    told.sort();
    assert_eq!(
        told,
        [
            "a [V] gauge 230.1",
            "b [1] gauge 19.75",
            "c [1] counter 100000",
            "d [1] gauge -100000",
            "e [1] gauge 1",
            "f [1] gauge -10",
            "g [1] gauge 2.302",
            "h [1] gauge 230.2",
            "i [1] state Bool(true)",
            "j [1] state Bool(false)",
            "k [1] state Bool(true)",
            "l [1] state Bool(true)",
        ]
    );
}

#[test]
fn a_register_that_is_not_there_is_named_once_and_costs_no_other() {
    let mut device = Modbus::sdm630();
    let toml = r#"registers = [
        { name = "voltage", address = 0, kind = "input", type = "f32", unit = "V" },
        { name = "current", address = 6, kind = "input", type = "f32", unit = "A" },
        { name = "nothing", address = 82, kind = "input", type = "f32" },
        { name = "frequency", address = 70, kind = "input", type = "f32", unit = "Hz" },
    ]
    holes_max = 100"#;
    let mut bench = bench(&serial(toml));
    let mut told = round(&mut bench, &mut device);
    told.sort();
    assert_eq!(
        told,
        [
            "current [A] gauge 0",
            "frequency [Hz] gauge 0",
            "rejected register nothing: is refused with exception 2: the device has no register at this address",
            "voltage [V] gauge 230.2"
        ]
    );
    assert_eq!(round(&mut bench, &mut device).len(), 3, "told once");
    // A device that is busy is asked again.
    device.refuses = Some(6);
    assert_eq!(round(&mut bench, &mut device).len(), 3);
    device.float(1, 0, f32::NAN);
    let told = round(&mut bench, &mut device);
    assert!(told.iter().any(|line| line.contains("voltage is no number (NaN")), "{told:?}");
    assert_eq!(round(&mut bench, &mut device).len(), 2, "told once");
}

#[test]
fn a_mute_device_does_not_keep_the_others_from_being_read() {
    let mut device = Modbus::sdm630();
    let toml = r#"registers = [
        { name = "one", address = 0, kind = "input", type = "f32" },
        { name = "two", address = 0, kind = "input", type = "f32", slave = 2 },
        { name = "two.more", address = 90, kind = "input", type = "f32", slave = 2 },
        { name = "three", address = 0, kind = "input", type = "f32", slave = 3 },
    ]"#;
    device.float(3, 0, 1.5);
    let mut bench = bench(&serial(toml));
    assert_eq!(
        round(&mut bench, &mut device),
        [
            "one [1] gauge 230.2",
            "rejected register two: device 2 does not answer within 1000 ms",
            "three [1] gauge 1.5"
        ]
    );
    assert_eq!(round(&mut bench, &mut device), ["one [1] gauge 230.2", "three [1] gauge 1.5"]);
}

#[test]
fn over_tcp_late_answers_are_left_aside_and_another_protocol_is_noticed() {
    let mut meter = Modbus { over_tcp: true, ..Modbus::sdm630() };
    let mut bench = bench(&tcp(VOLTAGE));
    let late = meter.hear(&bench.written());
    bench.wait();
    meter.float(1, 0, 231.0);
    let answer = meter.hear(&bench.written());
    bench.hear(&[late, answer].concat());
    let told = bench.told().0;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("voltage [V] gauge 231"), "{told:?}");
    bench.wait();
    bench.written();
    bench.hear(b"HTTP/1.1 400 Bad Request");
    assert!(bench.hung_up().unwrap().contains("no Modbus TCP"));
}

fn running(port: &str, more: &str) -> Running {
    let toml = format!("name = \"meter\"\ntype = \"modbus\"\nport = \"{port}\"\nevery_s = 1\nanswer_ms = 60\n{more}");
    Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 4)
}

#[tokio::test]
async fn a_meter_with_bad_manners_on_a_terminal_gives_nothing_but_what_it_measured() {
    let mut socket = Socket::new().unwrap();
    let mut running = running(socket.path.to_str().unwrap(), VOLTAGE);
    let manners = Manners { damaged: 200, cut: 200, noisy: 200, swallowed: 100, piece_bytes: 2, ..Manners::bad(9) };
    socket.plug_in(Modbus::sdm630(), manners).unwrap();
    let (mut readings, mut rejects) = (0, 0);
    while readings < 4 || rejects == 0 {
        if readings == 2 {
            // In the middle of an answer, and back.
            socket.plug_in(Modbus::sdm630(), Manners { unplug_after: Some(5), ..Manners::good() }).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let manners = Manners { noisy: 500, ..Manners::good() };
            socket.plug_in(Modbus::sdm630(), manners).unwrap();
        }
        let intake = running.next().await;
        rejects += intake.rejects.len();
        for sample in &intake.samples {
            assert_eq!(sample.reading.value, proto::Value::Number(230.2));
            readings += 1;
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_meter_behind_tcp_is_read_in_either_framing() {
    for (over_tcp, more) in [(true, VOLTAGE.to_owned()), (false, format!("framing = \"rtu\"\n{VOLTAGE}"))] {
        let address = Socket::over_tcp(Modbus { over_tcp, ..Modbus::sdm630() }).unwrap();
        let mut running = running(&format!("tcp://{address}"), &more);
        let intake = running.next().await;
        assert_eq!(intake.samples[0].reading.value, proto::Value::Number(230.2));
        running.stop().await;
    }
}
