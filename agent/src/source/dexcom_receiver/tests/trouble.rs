//! A receiver in trouble, or on a bad cable.

use super::*;

#[test]
fn through_noise_losses_and_damage_everything_is_read_once() {
    for seed in 1..=8 {
        let mut receiver = receiver(Generation::G4, 150);
        let mut manners = Manners { damaged: 100, cut: 60, swallowed: 60, noisy: 100, ..Manners::bad(seed) };
        let mut bench = bench(None);
        let mut lines = Vec::new();
        for _ in 0..6 {
            lines.extend(converse(&mut bench, &mut receiver, &mut manners, usize::MAX).lines);
        }
        assert_eq!(glucose(&lines), expected(0..150), "seed {seed}");
        assert!(lines.iter().any(|line| line.contains("has a wrong checksum")), "{lines:?}");
    }
}

#[test]
fn a_damaged_record_costs_itself_and_a_damaged_page_the_page_and_both_are_told_once() {
    let mut receiver = receiver(Generation::G4, 120);
    receiver.records.get_mut(&4).unwrap()[50][9] ^= 1;
    receiver.damaged = vec![(4, 2)];
    let first = read(&mut receiver, None);
    assert_eq!(glucose(&first.lines), [expected(0..50), expected(51..76), expected(114..120)].concat());
    let told = |given: &Given, what: &str| given.lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(told(&first, "rejected record 50 of kind 4: has a wrong checksum"), 1);
    assert_eq!(told(&first, "rejected page 2 of kind 4: has a header with a wrong checksum"), 1);
    let second = read(&mut receiver, first.cursor.as_deref());
    assert_eq!(without_clock(&second.lines), Vec::<String>::new());
    // The newest page is met at each look; it is told of once, and what follows it is read.
    receiver.damaged = vec![(4, 3)];
    let mut bench = bench(first.cursor.as_deref());
    let looks: Vec<Given> =
        (0..3).map(|_| converse(&mut bench, &mut receiver, &mut Manners::good(), usize::MAX)).collect();
    assert_eq!(looks.iter().map(|look| told(look, "page 3 of kind 4")).collect::<Vec<_>>(), [1, 0, 0]);
    add(&mut receiver, 120..160);
    let last = converse(&mut bench, &mut receiver, &mut Manners::good(), usize::MAX);
    assert_eq!(glucose(&last.lines), expected(152..160), "no known record again");
}

#[test]
fn a_page_that_is_never_answered_does_not_keep_the_others_waiting_for_ever() {
    let mut receiver = receiver(Generation::G4, 120);
    receiver.mute = vec![(4, 1)];
    let given = read(&mut receiver, None);
    assert_eq!(glucose(&given.lines), [expected(0..38), expected(76..120)].concat());
    let told = given.lines.iter().filter(|line| line.contains("page 1 of kind 4: is never answered"));
    assert_eq!(told.count(), 1);
    assert_eq!(without_clock(&read(&mut receiver, given.cursor.as_deref()).lines), Vec::<String>::new());
}

#[test]
fn what_was_overwritten_is_told_and_a_receiver_that_was_reset_is_read_anew() {
    let mut receiver = receiver(Generation::G4, 50);
    let first = read(&mut receiver, None);
    add(&mut receiver, 50..200);
    receiver.first_page.insert(4, 3);
    let second = read(&mut receiver, first.cursor.as_deref());
    assert_eq!(glucose(&second.lines), expected(114..200));
    assert!(second.lines.iter().any(|line| line.contains("64 records were overwritten")), "{:?}", second.lines);
    // Erased, and in use again: fewer records than before, or other ones.
    for count in [20, 300] {
        let mut reset = Receiver::new("sm40000000", Generation::G4);
        (0..count).for_each(|number| reset.glucose(number, 200, 4));
        let anew = read(&mut reset, second.cursor.as_deref());
        assert_eq!(glucose(&anew.lines).len(), usize::try_from(count).unwrap());
        assert_eq!(glucose(&read(&mut reset, anew.cursor.as_deref()).lines), Vec::<String>::new());
    }
    // Another receiver at the same port is another memory.
    let mut other = super::receiver(Generation::G6, 30);
    other.serial = "sm41111111".into();
    let third = read(&mut other, second.cursor.as_deref());
    assert_eq!(glucose(&third.lines), expected(0..30));
    assert_eq!(without_clock(&read(&mut receiver, third.cursor.as_deref()).lines), Vec::<String>::new());
}

#[test]
fn the_display_and_the_clock_are_told_where_they_change() {
    let mut receiver = Receiver::new("sm40000000", Generation::G4);
    // The bench's clock shows 2026-03-01T12:00 at first.
    receiver.system = 1_772_366_400 - 1_230_768_000 + 90;
    let first = read(&mut receiver, None);
    assert_eq!(
        first.lines,
        [
            "boot 1000000 receiver.clock_error [s] gauge 90".to_owned(),
            format!("source {} receiver.display_offset [s] state 3600", 1_772_366_490_000_000_i64),
        ]
    );
    assert_eq!(read(&mut receiver, first.cursor.as_deref()).lines, Vec::<String>::new());
    receiver.display_offset = -18_000;
    let second = read(&mut receiver, first.cursor.as_deref());
    assert_eq!(second.lines.len(), 1);
    assert!(second.lines[0].ends_with("receiver.display_offset [s] state -18000"), "{:?}", second.lines);
    receiver.system += 31;
    assert!(read(&mut receiver, second.cursor.as_deref()).lines[0].ends_with("clock_error [s] gauge 121"));
}

#[test]
fn a_receiver_that_is_busy_at_first_is_not_taken_for_another() {
    let mut receiver = receiver(Generation::G4, 10);
    let first = read(&mut receiver, None);
    let mut bench = bench(first.cursor.as_deref());
    let asked = bench.written();
    for (status, said) in [(6, &[][..]), (1, &[0; 4])] {
        bench.hear(&frame::frame(status, said));
        assert_eq!(bench.told().0, ["rejected answer: is not what was asked for"]);
        assert_eq!(bench.wait(), Duration::from_millis(300));
        assert_eq!(bench.written(), asked, "the same again");
    }
    bench.hear(&receiver.hear(&asked));
    assert_eq!(glucose(&converse(&mut bench, &mut receiver, &mut Manners::good(), usize::MAX).lines), [""; 0]);
}

#[test]
fn a_receiver_that_does_not_answer_is_left_alone() {
    let mut bench = bench(None);
    assert_eq!(bench.written(), [0x01, 0x07, 0x00, 0x10, 0x00, 0x0f, 0xf8]);
    for _ in 0..2 {
        assert_eq!(bench.wait(), Duration::from_secs(2));
        assert!(!bench.written().is_empty(), "asked again");
    }
    bench.wait();
    assert!(bench.hung_up().unwrap().contains("does not answer"));
    bench.reopen();
    assert_eq!(bench.written().len(), 7);
}
