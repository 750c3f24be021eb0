//! Devices that answer later than is waited, on a line where nothing says which question an answer is to.

use super::*;

const MS: Duration = Duration::from_millis(1);
/// Too far from each other to be asked for at once.
const TWO: &str = r#"registers = [
    { name = "one", address = 0, kind = "input", type = "f32" },
    { name = "two", address = 200, kind = "input", type = "f32" },
]"#;

/// A device that answers the first question, and the same when it is asked again, `after_ms` after that; what it said.
fn answers_late(bench: &mut Bench, device: &mut Modbus, after_ms: u32) -> Vec<u8> {
    let asked = bench.written();
    let answer = device.hear(&asked);
    bench.wait();
    assert_eq!(bench.written(), asked, "asked again");
    bench.live(after_ms * MS);
    bench.hear(&answer);
    answer
}

/// Values that were told, without the moment.
fn values(bench: &mut Bench) -> Vec<String> {
    bench.told().0.iter().filter_map(|line| Some(line.strip_prefix("boot ")?.split_once(' ')?.1.to_owned())).collect()
}

#[test]
fn the_second_answer_to_a_question_that_was_repeated_is_not_taken_for_the_next_questions() {
    // As late as the first one, which is later than the line is slow; and after the device has seen to both in turn.
    for (first_ms, second_ms) in [(1, 200), (500, 1_024), (900, 1_950)] {
        let mut device = Modbus::default();
        device.float(1, 0, 1.5);
        device.float(1, 200, 2.5);
        let mut bench = bench(&serial(TWO));
        let answer = answers_late(&mut bench, &mut device, first_ms);
        assert_eq!(values(&mut bench), ["one [1] gauge 1.5"]);
        bench.live(second_ms * MS);
        bench.hear(&answer);
        assert_eq!(values(&mut bench), Vec::<String>::new(), "an answer {second_ms} ms behind the first");
        bench.wait();
        let asked = bench.written();
        bench.hear(&device.hear(&asked));
        assert_eq!(values(&mut bench), ["two [1] gauge 2.5"]);
    }
}

#[test]
fn the_second_answer_to_the_last_question_of_a_round_is_not_taken_for_the_next_rounds() {
    let mut device = Modbus::sdm630();
    let mut bench = bench(&serial(&format!("every_s = 1\n{VOLTAGE}")));
    let answer = answers_late(&mut bench, &mut device, 500);
    assert_eq!(values(&mut bench), ["voltage [V] gauge 230.2"]);
    bench.live(1_024 * MS);
    bench.hear(&answer);
    assert_eq!(values(&mut bench), Vec::<String>::new(), "it was measured a round ago");
    device.float(1, 0, 231.0);
    bench.wait();
    let asked = bench.written();
    bench.hear(&device.hear(&asked));
    assert_eq!(values(&mut bench), ["voltage [V] gauge 231"]);
}

#[test]
fn another_device_is_not_kept_waiting_for_twice_the_time_of_one_that_is_mute() {
    let toml = r#"registers = [
        { name = "one", address = 0, kind = "input", type = "f32" },
        { name = "two", address = 0, kind = "input", type = "f32", slave = 2 },
    ]"#;
    let mut bench = bench(&serial(toml));
    bench.wait();
    bench.wait();
    assert!(bench.wait() < 1_100 * MS, "as long as an answer may take");
    assert_eq!(bench.written().last_chunk::<8>().map(|question| question[0]), Some(2));
}

#[test]
fn over_tcp_nothing_is_waited_out_as_answers_say_which_question_they_are_to() {
    let mut device = Modbus { over_tcp: true, ..Modbus::default() };
    device.float(1, 0, 1.5);
    device.float(1, 200, 2.5);
    let mut bench = bench(&tcp(TWO));
    let late = device.hear(&bench.written());
    bench.wait();
    let again = device.hear(&bench.written());
    bench.hear(&[late, again].concat());
    assert_eq!(values(&mut bench), ["one [1] gauge 1.5"]);
    assert!(bench.wait() < 10 * MS);
    let asked = bench.written();
    bench.hear(&device.hear(&asked));
    assert_eq!(values(&mut bench), ["two [1] gauge 2.5"]);
}
