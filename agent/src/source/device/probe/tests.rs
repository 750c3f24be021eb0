//! Devices that are recognised, and what is not one.

use std::collections::BTreeSet;
use std::time::Instant as Moment;

use emulators::{Device, Manners, Socket};
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;
use crate::source::Settings;
use crate::source::testing::NOON;

/// What `device` is found to be, and how long that took.
async fn found(
    device: impl Device + 'static,
    manners: Manners,
    ask: bool,
) -> (Result<Answer, String>, Duration, usize) {
    found_within(Duration::from_millis(300), device, manners, ask).await
}

/// The same, where what takes longer than `silence` is not heard.
async fn found_within(
    silence: Duration,
    device: impl Device + 'static,
    manners: Manners,
    ask: bool,
) -> (Result<Answer, String>, Duration, usize) {
    let mut socket = Socket::new().unwrap();
    socket.plug_in(device, manners).unwrap();
    let (port, began) = (socket.path.to_str().unwrap().to_owned(), Moment::now());
    let listen = silence.max(Duration::from_millis(400));
    let wire = Wire { port: &port, usb: None, listen, silence, ask, clock: SourceClock::invented(NOON) };
    let answer = probe(&wire, &mut |_| {}).await;
    (answer, began.elapsed(), socket.heard())
}

/// The settings of what was found, without its name and port.
fn settings(answer: Result<Answer, String>) -> Option<String> {
    let Answer::Found(found) = answer.unwrap() else { return None };
    configured(&found.table).unwrap();
    Some(found.table.lines().skip(3).collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_known_device_has_settings_that_are_accepted() {
    let wire = wire(None);
    assert_eq!(trials(&wire).unwrap().len(), known::KNOWN.len());
    let mut names = BTreeSet::new();
    for candidate in known::KNOWN {
        let source =
            configured(&table(candidate.what, "/dev/x", &candidate.settings.replace("{zone}", "UTC"))).unwrap();
        assert!(names.insert(source.name), "{} has a name of its own", candidate.what);
    }
}

/// Nobody can add a kind of source at the end of a wire and forget it here.
#[test]
fn every_kind_of_source_at_the_end_of_a_wire_is_looked_for_or_said_why_not() {
    let error = toml::from_str::<Settings>("type = \"no_such\"").unwrap_err().to_string();
    let words: BTreeSet<&str> = error.split('`').skip(1).step_by(2).filter(|word| *word != "no_such").collect();
    assert!(words.contains("serial"), "{error}");
    let samples = std::fs::read_dir("src/source").unwrap().flatten().map(|entry| entry.path().join("sample.toml"));
    let samples: String = samples.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    #[derive(Deserialize)]
    struct Sources {
        source: Vec<Configured>,
    }
    let sources: Sources = toml::from_str(&samples).unwrap();
    for source in sources.source.iter().filter(|source| source.settings.device().is_some()) {
        let kind = toml::Value::try_from(&source.settings).unwrap()["type"].as_str().unwrap().to_owned();
        assert!(words.contains(kind.as_str()), "{kind}");
        let line = format!("type = \"{kind}\"");
        let is_known = known::KNOWN.iter().any(|candidate| candidate.settings.lines().any(|known| known == line));
        let reason = known::NOT_LOOKED_FOR.iter().find(|(not, _)| *not == kind);
        assert!(is_known != reason.is_some(), "`{kind}` is to have a line in probe/known.rs, or a reason there");
    }
}

fn wire(usb: Option<&Usb>) -> Wire<'_> {
    let (listen, silence) = (Duration::ZERO, Duration::ZERO);
    Wire { port: "/dev/x", usb, listen, silence, ask: true, clock: SourceClock::invented(NOON) }
}

#[cfg(feature = "glucose")]
mod meters {
    use emulators::Test;
    use emulators::codefree::CodeFree;
    use emulators::contour::Contour;
    use emulators::freestyle::Freestyle;
    use emulators::lifescan::LifeScan;
    use emulators::taidoc::TaiDoc;
    use emulators::ultra2::Ultra2;

    use super::*;

    type Make = fn(Vec<Test>) -> Box<dyn Device>;

    const METERS: [(&str, Make); 8] = [
        ("onetouch_ultra_mini", |tests| Box::new(LifeScan::ultra_mini("C176SA5C9", tests))),
        ("onetouch_verio_iq", |tests| Box::new(LifeScan::verio_iq("YZAB1234", tests))),
        ("onetouch_ultra2", |tests| Box::new(Ultra2::new("C123ABC4Y", tests))),
        ("freestyle_lite", |tests| Box::new(Freestyle::lite("DBMN123-A4567", tests))),
        ("freestyle_optium", |tests| Box::new(Freestyle::optium("XCGM123-A4567", tests))),
        ("contour", |tests| Box::new(Contour::new("7390-2336773", tests))),
        ("taidoc", |tests| Box::new(TaiDoc::new(tests))),
        ("codefree", |tests| Box::new(CodeFree::new(tests))),
    ];

    /// A boxed device is one.
    struct Boxed(Box<dyn Device>);

    impl Device for Boxed {
        fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
            self.0.hear(bytes)
        }

        fn idle(&mut self) -> Vec<u8> {
            self.0.idle()
        }
    }

    async fn with_patience(model: &str, tests: u16) -> Option<String> {
        let (_, make) = METERS.iter().find(|(known, _)| *known == model).unwrap();
        let meter = Boxed(make((0..tests).map(Test::number).collect()));
        settings(found_within(Duration::from_secs(2), meter, Manners::good(), true).await.0)
    }

    /// What each meter is found to be, all at once.
    async fn all(tests: u16, manners: fn(u64) -> Manners) -> Vec<(&'static str, Option<String>)> {
        let mut tasks = JoinSet::new();
        for ((model, make), seed) in METERS.into_iter().zip(1..) {
            let meter = Boxed(make((0..tests).map(Test::number).collect()));
            tasks.spawn(async move { (model, settings(found(meter, manners(seed), true).await.0)) });
        }
        tasks.join_all().await
    }

    /// On a machine with much to do a meter may answer too late: it is then asked again, alone and with patience.
    #[tokio::test]
    async fn every_meter_is_recognised_full_or_empty() {
        for tests in [0, 300] {
            for (model, found) in all(tests, |_| Manners::good()).await {
                let found = match found {
                    Some(found) => Some(found),
                    None => with_patience(model, tests).await,
                };
                let found = found.unwrap_or_else(|| panic!("{model} with {tests} tests is not recognised"));
                assert!(found.contains(&format!("model = \"{model}\"")), "{model} is taken for {found}");
            }
        }
    }

    #[tokio::test]
    async fn a_meter_with_bad_manners_may_be_missed_but_is_never_taken_for_another() {
        let bad = |seed| Manners { damaged: 200, swallowed: 50, noisy: 100, ..Manners::bad(seed) };
        for (model, found) in all(20, bad).await {
            let is_right = found.as_ref().is_none_or(|found| found.contains(&format!("model = \"{model}\"")));
            assert!(is_right, "{model} is taken for {found:?}");
        }
    }

    #[tokio::test]
    async fn a_meter_behind_a_tcp_port_is_recognised_too() {
        let address = Socket::over_tcp(TaiDoc::new(vec![Test::number(1)])).unwrap();
        let port = format!("tcp://{address}");
        let (listen, silence) = (Duration::from_millis(100), Duration::from_secs(2));
        let answer = probe(&Wire { port: &port, listen, silence, ..wire(None) }, &mut |_| {}).await;
        assert!(settings(answer).unwrap().contains("model = \"taidoc\""));
    }

    #[tokio::test]
    async fn a_meter_that_waits_for_an_answer_gets_none_unless_it_may() {
        let meter = CodeFree::new(vec![Test::number(1)]);
        let (answer, _, heard) = found_within(Duration::from_secs(2), meter, Manners::good(), false).await;
        assert!(matches!(answer, Ok(Answer::Unknown(_))), "{answer:?}");
        assert_eq!(heard, 0);
    }

    #[test]
    fn a_plug_that_is_known_says_what_is_tried_there_and_first() {
        let usb = |vendor, product| Usb { vendor, product, manufacturer: None, called: None, serial_ends: None };
        let tried =
            |usb: &Usb| trials(&wire(Some(usb))).unwrap().into_iter().map(|trial| trial.what).collect::<Vec<_>>();
        assert_eq!(tried(&usb(0x10c4, 0x85a7)), ["OneTouch Verio IQ"]);
        let at_cable = tried(&usb(0x1a61, 0x3420));
        assert!(at_cable[0].starts_with("FreeStyle") && at_cable[1].starts_with("FreeStyle"), "{at_cable:?}");
        assert!(!tried(&usb(0x0403, 0x6001)).contains(&"OneTouch Verio IQ".to_owned()));
    }
}

type Says = fn(u32) -> Vec<u8>;
type Answers = fn(&[u8]) -> Vec<u8>;

/// What speaks by itself, in one way, and answers in another.
struct Speaker {
    says: Says,
    answers: Answers,
    turn: u32,
}

impl Speaker {
    fn new(says: Says, answers: Answers) -> Self {
        Self { says, answers, turn: 0 }
    }
}

impl Device for Speaker {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        (self.answers)(bytes)
    }

    /// Some twenty times a second.
    fn idle(&mut self) -> Vec<u8> {
        self.turn += 1;
        if self.turn.is_multiple_of(16) { (self.says)(self.turn) } else { Vec::new() }
    }
}

const NOTHING: Says = |_| Vec::new();
const MUTE: Answers = |_| Vec::new();

#[tokio::test]
async fn lines_of_text_are_guessed_and_their_port_is_never_written_to() {
    let boards: [(Says, &str); 4] = [
        (
            |turn| format!("t={turn}.5 rh=40\r\n").into(),
            "format = \"key_value\"\nseparator = \" \"\nseries = [\n  { column = \"t\", name = \"t\", unit = \"1\" },\n  { column = \"rh\", name = \"rh\", unit = \"1\" },",
        ),
        (
            |turn| format!("21.5;{turn};on\n").into(),
            "format = \"csv\"\nseparator = \";\"\nseries = [\n  { column = 1, name = \"column.1\", unit = \"1\" },\n  { column = 2,",
        ),
        (
            |turn| format!("{{\"Temp C\":{turn},\"ok\":true}}\n").into(),
            "format = \"json\"\nseries = [\n  { column = \"Temp C\", name = \"temp.c\", unit = \"1\" },\n]",
        ),
        (|turn| format!("{turn}\n").into(), "format = \"csv\""),
    ];
    for (says, expected) in boards {
        let (answer, _, heard) = found(Speaker::new(says, MUTE), Manners::good(), true).await;
        let found = settings(answer).unwrap_or_else(|| panic!("{expected}"));
        assert!(found.contains(expected), "{found}");
        assert_eq!(heard, 0, "a device that speaks by itself is not asked");
    }
}

#[tokio::test]
async fn what_is_no_known_device_yields_nothing_and_costs_a_bounded_time() {
    let others: [(&str, Says, Answers); 6] = [
        ("a mute one", NOTHING, MUTE),
        ("an echo", NOTHING, <[u8]>::to_vec),
        ("one that refuses", NOTHING, |_| b"ERROR\r\n".to_vec()),
        ("noise", |turn| turn.wrapping_mul(0x9e37_79b1).to_le_bytes().repeat(9), MUTE),
        (
            "noise that answers too",
            |turn| turn.wrapping_mul(0x85eb_ca6b).to_le_bytes().to_vec(),
            |_| vec![5, 5, 0x51, 2, 6],
        ),
        ("talk", |_| b"booting, please wait 30 seconds\r\n".to_vec(), |_| b"what?\r\n".to_vec()),
    ];
    let mut tasks = JoinSet::new();
    for (what, says, answers) in others {
        tasks.spawn(async move { (what, found(Speaker::new(says, answers), Manners::good(), true).await) });
    }
    for (what, (answer, took, _)) in tasks.join_all().await {
        assert!(matches!(answer, Ok(Answer::Silent | Answer::Unknown(_))), "{what}: {answer:?}");
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    }
}

#[tokio::test]
async fn a_silent_port_is_listened_to_at_one_speed_and_nothing_is_written_unless_devices_may_be_asked() {
    let mut socket = Socket::new().unwrap();
    socket.plug_in(Speaker::new(NOTHING, <[u8]>::to_vec), Manners::good()).unwrap();
    let (port, mut said) = (socket.path.to_str().unwrap().to_owned(), Vec::new());
    let wire = Wire { port: &port, listen: Duration::from_millis(400), ask: false, ..wire(None) };
    let answer = probe(&wire, &mut |what| said.push(what.to_owned())).await;
    assert!(matches!(answer, Ok(Answer::Silent)), "{answer:?}");
    assert_eq!(socket.heard(), 0);
    assert_eq!(said, ["listening at 9600 for up to 0 s"]);
}

#[test]
fn a_source_that_is_renamed_is_the_same_in_all_else() {
    let table = table("SDS 011, \"dust\"", "/dev/x", "type = \"simulate\"\nwhat = \"meter\"");
    let mut found =
        Found { what: String::new(), evidence: String::new(), name: "sds-011-dust".into(), table, check: "" };
    found.rename("dust-2".into());
    assert_eq!(
        found.table,
        "[[source]]\nname = \"dust-2\"\nport = \"/dev/x\"\ntype = \"simulate\"\nwhat = \"meter\"\n"
    );
}

proptest! {
    /// What is guessed is always a configuration that is accepted, whatever was heard.
    #[test]
    fn a_guess_is_a_configuration_whatever_was_heard(
        text in "([ -~µ°]{0,12}[=:,; \t\"{}0-9]{1,4}){0,8}\r?\n", bytes in proptest::collection::vec(any::<u8>(), 0..200),
        keys in proptest::collection::btree_map("\\PC{0,80}", -5..5_i32, 1..40),
    ) {
        let json = serde_json::to_string(&keys).unwrap() + "\n";
        prop_assert!(guess::settings(json.as_bytes(), 9_600).is_some());
        for heard in [text.as_bytes(), &bytes, json.as_bytes()] {
            fuzz_guess(heard, SourceClock::invented(NOON));
        }
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_says_why() {
    let error = probe(&Wire { port: "/dev/no-such-port", ..wire(None) }, &mut |_| {}).await.unwrap_err();
    assert!(error.contains("is it plugged in?"), "{error}");
}
