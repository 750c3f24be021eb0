use std::time::Duration;

use proto::State;

use super::*;
use crate::source::Configured;
use crate::source::testing::{NOON, Running, configured, told_all};

fn source(what: &str, more: &str) -> Configured {
    configured(&format!("name = \"made-up\"\ntype = \"simulate\"\nwhat = \"{what}\"\n{more}"))
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/simulate/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    assert_eq!(sample.source[0].settings, source("person", "").settings);
    assert_eq!(sample.source[1].settings, source("meter", "").settings);
}

#[test]
fn every_series_is_well_formed_and_its_unit_known() {
    for what in [What::Person, What::Meter] {
        assert!(what.series().iter().all(|series| series.unit.is_known()));
    }
}

#[test]
fn the_same_seed_is_the_same_person_and_another_is_not() {
    let week = |seed| Person::new(seed).take(2_016).collect::<Vec<_>>();
    assert_eq!(week(7), week(7));
    assert_ne!(week(7), week(8));
}

#[test]
fn a_persons_year_is_plausible() {
    let (mut numbers, mut low, mut high, mut warm, mut failed) = (Vec::new(), 0, 0, 0, 0);
    for (index, (seconds, value)) in Person::new(3).take(105_120).enumerate() {
        assert_eq!(seconds, 300 * i64::try_from(index).unwrap());
        match value {
            Value::Number(number) => numbers.push(number),
            Value::State(State::Low(39)) => low += 1,
            Value::State(State::High(401)) => high += 1,
            Value::State(State::WarmingUp) => warm += 1,
            Value::State(State::SensorError(9)) => failed += 1,
            other => panic!("{other:?}"),
        }
    }
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let in_range = numbers.iter().filter(|number| (70.0..=180.0).contains(*number)).count() as f64 / count;
    println!("mean {mean:.0}, in range {in_range:.2}, low {low}, high {high}, warming up {warm}, failed {failed}");
    assert!((110.0..190.0).contains(&mean), "mean {mean}");
    assert!((0.5..0.95).contains(&in_range), "in range {in_range}");
    assert!(numbers.iter().all(|number| (40.0..=400.0).contains(number) && number.fract() == 0.0));
    assert!(low > 20 && high > 20 && failed > 20, "low {low}, high {high}, failed {failed}");
    assert!((35 * 24..=37 * 24).contains(&warm), "a new sensor every ten days: {warm}");
    assert!(low + high < 4_000);
}

#[test]
fn a_meters_day_is_plausible_and_its_register_agrees_with_its_power() {
    let day: Vec<_> = Meter::new(5).take(86_401).collect();
    let watt = |value: &Value| if let Value::Number(number) = value { *number } else { panic!("{value:?}") };
    let watts: Vec<f64> = day.iter().map(|(_, power, _)| watt(power)).collect();
    assert!(watts.iter().all(|watts| (15.0..6_000.0).contains(watts) && (watts * 10.0).fract().abs() < 1e-9));
    assert!(watts.iter().any(|watts| *watts > 2_000.0), "something was cooked");
    let register: Vec<f64> = day.iter().filter_map(|(_, _, energy)| energy.as_ref().map(watt)).collect();
    assert_eq!(register.len(), 1_441);
    assert!(register.windows(2).all(|pair| pair[0] <= pair[1]));
    let used = watts[1..].iter().sum::<f64>() / 3_600.0;
    assert!((register[1_440] - register[0] - used).abs() <= 1.0);
}

#[test]
fn lines_are_json_that_a_serial_or_file_source_reads() {
    let lines: Vec<String> = lines(What::Meter, 1, NOON, 1.0).take(2).map(|(_, line)| line).collect();
    assert!(lines[0].starts_with(r#"{"time":"2026-03-01T12:00:00Z","power.active":"#), "{}", lines[0]);
    assert!(lines[0].contains(r#","energy.active":"#) && !lines[1].contains("energy"));
    assert!(lines[1].starts_with(r#"{"time":"2026-03-01T12:00:01Z","#), "{}", lines[1]);
    let times: Vec<i64> = super::lines(What::Person, 1, NOON, 4.0).take(3).map(|(at, _)| at.0 - NOON.0).collect();
    assert_eq!(times, [0, 250_000, 500_000]);
    let step = Step { seconds: 0, values: [Some(Value::State(State::Low(39))), None] };
    assert_eq!(line(What::Person, &step, NOON), r#"{"time":"2026-03-01T12:00:00Z","glucose":"low(39)"}"#);
}

#[tokio::test(start_paused = true)]
async fn readings_come_when_they_are_due_and_go_on_after_a_cut() {
    let source = source("person", "speed = 60.0");
    let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 1);
    let mut whole = Vec::new();
    for step in 0..5 {
        whole.push(running.next().await);
        assert_eq!(whole[step].samples[0].reading.time.0 - NOON.0, 5_000_000 * i64::try_from(step).unwrap());
    }
    running.stop().await;
    for cut in 0..4 {
        // A minute later what is overdue comes at once; what was said is said again alike.
        let clock = SourceClock::invented(Instant(NOON.0 + 60_000_000));
        let mut running = Running::start(&source, whole[cut].cursor.clone(), &clock, 1);
        let rest = running.next().await;
        assert_eq!(rest.samples.len(), 12 - cut, "steps up to the thirteenth are due after 60 s");
        assert_eq!(told_all(&[rest])[..4 - cut], told_all(&whole[cut + 1..]));
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_off_is_caught_up_in_bounded_intakes() {
    let source = source("meter", "");
    let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 1);
    let first = running.next().await;
    running.stop().await;
    let clock = SourceClock::invented(Instant(NOON.0 + 86_400_000_000));
    let mut running = Running::start(&source, first.cursor, &clock, 1);
    let mut steps = 0;
    while steps < 86_400 {
        let intake = tokio::time::timeout(Duration::from_secs(5), running.next()).await.unwrap();
        assert!(intake.samples.len() <= 2 * INTAKE_STEPS_MAX);
        steps += intake.samples.iter().filter(|sample| sample.series.name.as_str() == "power.active").count();
    }
    assert_eq!(steps, 86_400);
    running.stop().await;
}
