//! What is told of gaps, and what hellos say.

use proto::{Lane, Range, Ranges};
use tributary_agent::buffer::EpochSpan;
use tributary_agent::uplink::Pace;
use tributary_agent::uplink::session::Event;

use crate::chance::{Step, perform};
use crate::world::{Buffer, PACE, Up, World, span};

#[test]
fn gaps_are_told_before_the_hello_that_lacks_them_and_until_a_receipt_confirms_them() {
    let mut world = World::new(60);
    let scattered: Ranges = (1..60).step_by(3).map(Range::one).collect();
    world.evict(&scattered);
    world.connect();
    let gaps = world.under_way.iter().take_while(|up| matches!(up, Up::Gaps(_))).count();
    assert_eq!((gaps, world.under_way.len()), (7, 8), "20 gaps, three a notice, and then hello");
    perform(&mut world, &Step::Cut); // all of it is lost
    assert_eq!(world.buffer.gaps, scattered, "nothing is confirmed");
    world.settle_down();
    assert!(world.buffer.gaps.is_empty() && world.unexplained.is_empty(), "{:?}", world.unexplained);
    // While connected: at once, without waiting for the next hello.
    let more: Ranges = [Range::one(world.buffer.next_row - 2)].into_iter().collect();
    world.buffer.marked.remove(Range::one(world.buffer.next_row - 2));
    world.evict(&more);
    assert!(matches!(world.under_way.back(), Some(Up::Gaps(_))), "{:?}", world.under_way);
}

#[test]
fn many_scattered_gaps_go_out_in_bounded_bursts_and_a_gateway_that_confirms_none_does_not_block_the_hello() {
    let scattered: Ranges = (1..400).step_by(2).map(Range::one).collect();
    let mut world = World::new(401);
    world.evict(&scattered);
    world.connect();
    assert_eq!(world.under_way.len(), 16, "then it waits for receipts");
    let mut ticks = 0;
    while !world.under_way.iter().any(|up| matches!(up, Up::Hello(_))) {
        world.under_way.clear(); // the gateway makes nothing of them
        world.tell(Event::Heard);
        world.now = world.session.deadline();
        world.session.handle_deadline(world.now);
        world.obey();
        ticks += 1;
        assert!(ticks < 50 && world.connected);
    }
    world.settle_down();
    assert!(world.buffer.gaps.is_empty());
}

#[test]
fn an_agent_with_many_epochs_says_hello_in_parts_and_a_new_epoch_is_a_part_of_its_own() {
    let epochs: Vec<EpochSpan> = (1..=150).map(|index| span(index, (index - 1) * 2)).collect();
    let held: Ranges = Range::new(1, 300).into_iter().collect();
    let mut world = World::with(Buffer { held, epochs, next_row: 301, ..Buffer::default() }, PACE);
    world.connect();
    let mut named = Vec::new();
    while let Some(Up::Hello(hello)) = world.under_way.front() {
        assert!(world.published.is_empty(), "nothing is sent before all of it is answered");
        named.push(hello.epochs.len());
        world.arrive();
        while !world.answers.is_empty() {
            world.receive();
        }
    }
    assert_eq!(named, [64, 64, 22]);
    world.settle_down();
    assert!(world.unexplained.is_empty());
    world.seal(1, Lane::Live, true);
    assert!(matches!(world.under_way.front(), Some(Up::Hello(hello)) if hello.epochs.len() == 1));
    world.settle_down();
}

#[test]
fn what_a_hello_cannot_name_and_neither_end_has_is_owned_up_to() {
    // Every second batch was settled and let go of; then the gateway forgot half of them.
    let mut world = World::new(400);
    world.connect();
    world.settle_down();
    let gone: Ranges = (2..400).step_by(2).map(Range::one).collect();
    world.evict(&gone);
    let forgotten: Vec<u64> = vec![10, 20, 398];
    for number in &forgotten {
        world.stored.get_mut(&span(1, 0).epoch.0).unwrap().remove(Range::one(*number));
    }
    perform(&mut world, &Step::Cut);
    world.settle_down();
    perform(&mut world, &Step::Wait(0));
    world.arrive();
    let mut known: Ranges = world.owned_up.clone();
    known.extend(world.unexplained.iter().map(|(_, number)| Range::one(*number)));
    assert_eq!(known, forgotten.into_iter().map(Range::one).collect());
    assert!(!world.owned_up.is_empty() && !world.unexplained.is_empty(), "the oldest by us, the newest by the gateway");
    perform(&mut world, &Step::Cut);
    world.owned_up = Ranges::new();
    world.settle_down();
    assert!(world.owned_up.is_empty(), "once is enough");
}

#[test]
fn after_a_restart_with_nothing_but_confirmed_gaps_the_hello_says_which_number_is_next() {
    let gaps: Ranges = Range::new(1, 5).into_iter().collect();
    let mut world = World::with(Buffer { epochs: vec![span(1, 0)], next_row: 6, ..Buffer::default() }, PACE);
    world.gaps.insert(span(1, 0).epoch.0, gaps);
    world.connect();
    assert!(matches!(world.under_way.front(), Some(Up::Hello(hello)) if hello.epochs[0].next == 6));
    world.seal(1, Lane::Live, false);
    world.settle_down();
    assert_eq!((world.hang_ups, world.published.len()), (0, 1));
}

#[test]
fn an_epoch_without_any_row_is_answered_as_any_other() {
    // Its first batch is gone and its rows were never counted: the next row is its first.
    let held: Ranges = Range::new(1, 5).into_iter().collect();
    let epochs = vec![span(1, 0), span(2, 5)];
    let mut world = World::with(Buffer { held, epochs, next_row: 6, ..Buffer::default() }, PACE);
    world.settle_down();
    assert_eq!((world.hang_ups, world.stored_rows().count()), (0, 5));
}

#[test]
fn a_batch_that_is_damaged_when_its_turn_comes_is_told_of_before_the_next_hello() {
    let mut world = World::new(20);
    world.damage(1);
    world.damage(9);
    world.connect();
    for _ in 0..20 {
        world.arrive();
        world.receive();
    }
    assert_eq!(world.stored_rows().count(), 18);
    perform(&mut world, &Step::Cut); // nothing is appended any more
    world.settle_down();
    assert!(world.unexplained.is_empty() && world.buffer.gaps.is_empty(), "{:?}", world.unexplained);
}

#[test]
fn a_batch_that_is_not_there_and_is_no_gap_either_is_not_told_of_for_ever() {
    let mut world = World::new(3);
    world.buffer.held.remove(Range::one(2)); // whatever became of it
    world.settle_down();
    assert_eq!((world.stored_rows().count(), world.unexplained.len()), (2, 0));
    perform(&mut world, &Step::Cut);
    world.settle_down();
    assert_eq!(world.unexplained, [(span(1, 0).epoch, 2)], "the gateway finds it missing, and a person is told");
}

#[test]
fn a_gateway_that_forgot_batches_is_told_again_of_gaps_that_it_had_confirmed() {
    let mut world = World::new(20);
    world.evict(&[Range::one(5)].into_iter().collect());
    world.settle_down();
    let epoch = span(1, 0).epoch.0;
    world.gaps.clear(); // restored to a day before both
    world.stored.get_mut(&epoch).unwrap().remove(Range::new(10, 20).unwrap());
    world.named.clear();
    perform(&mut world, &Step::Cut);
    world.settle_down();
    assert_eq!(world.stored_rows().count(), 19);
    assert!(world.named.get(&epoch).is_some_and(|named| named.contains(5)), "with its reason: {:?}", world.named);
    assert!(world.owned_up.is_empty());
}

#[test]
fn all_that_a_hello_cannot_name_is_owned_up_to_in_several_notices_within_the_rate_limit() {
    // Of 2 000 batches every second one is gone, and neither end knows why.
    let held: Ranges = (1..2_000).step_by(2).map(Range::one).collect();
    let pace = Pace { publishes_per_s_max: 10, ..PACE };
    let buffer = Buffer { held, epochs: vec![span(1, 0)], next_row: 2_001, ..Buffer::default() };
    let mut world = World::with(buffer, pace);
    world.settle_down();
    let mut until_hello = 0;
    while world.owned_up.iter().count() + world.unexplained.len() < 1_000 {
        assert!(world.session.deadline() > world.now && until_hello < 1_000, "{:?}", world.owned_up.iter().count());
        until_hello += 1;
        world.now = world.session.deadline();
        world.session.handle_deadline(world.now);
        world.obey();
        while !world.under_way.is_empty() || !world.answers.is_empty() {
            world.arrive();
            world.receive();
        }
    }
    assert_eq!(world.last_nonce, world.first_nonce, "without another hello");
    let gone: Ranges = (2..=2_000).step_by(2).map(Range::one).collect();
    let mut known = world.owned_up.clone();
    known.extend(world.unexplained.iter().map(|(_, number)| Range::one(*number)));
    assert_eq!(known, gone);
    assert!(world.owned_up_at.len() >= 4 && world.owned_up_at.windows(2).all(|pair| pair[0] < pair[1]));
}
