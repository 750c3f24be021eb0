//! What nobody can take, and what only looks like it.

use std::time::Duration;

use proto::message::Refusal;
use proto::{Lane, Range};
use tributary_agent::uplink::session::Event;

use crate::chance::{Step, perform};
use crate::world::World;

#[test]
fn a_refused_batch_is_set_aside_with_an_alarm_and_the_queue_moves_on() {
    let mut world = World::new(50);
    world.refuses = vec![(17, Refusal::Conflict)];
    world.connect();
    world.settle_down();
    assert_eq!(world.alarms, 1);
    assert!(!world.buffer.marked.contains(17), "it stays in the buffer as unsettled");
    assert_eq!(world.buffer.marked.missing_in(Range::new(1, 50).unwrap()).as_slice(), [Range::one(17)], "and only it");
}

#[test]
fn what_is_set_aside_stays_so_over_a_restart() {
    let mut world = World::new(20);
    world.refuses = vec![(17, Refusal::Conflict)];
    world.connect();
    world.settle_down();
    assert_eq!(world.buffer.aside.as_slice(), [Range::one(17)]);
    world.published.clear();
    perform(&mut world, &Step::Restart);
    world.settle_down();
    assert!(world.published.is_empty(), "{:?}", world.published);
    assert!(!world.buffer.marked.contains(17), "the other body under its number settles nothing");
}

#[test]
fn a_batch_that_connections_die_of_is_found_and_set_aside_and_all_others_arrive() {
    let mut world = World::new(60);
    world.dies_of = Some(23);
    let mut rounds = 0;
    while !world.buffer.aside.contains(23) {
        rounds += 1;
        assert!(rounds < 3_000, "{:?}", world.session);
        world.connect();
        if rounds % 20 == 0 {
            world.seal(1, Lane::Live, false); // others have to pass for any to be blamed
        }
        world.arrive();
        world.receive();
        if rounds == 400 {
            let lacking = world.stored_rows().missing_in(Range::new(1, 60).unwrap());
            assert!(lacking.count() <= 5, "the others have long passed: {lacking:?}");
        }
    }
    world.settle_down();
    assert_eq!(world.buffer.aside.as_slice(), [Range::one(23)]);
    assert_eq!(world.stored_rows().missing_in(Range::new(1, 60).unwrap()).as_slice(), [Range::one(23)]);
}

#[test]
fn a_link_that_dies_under_every_frame_sets_nothing_aside() {
    let mut world = World::new(60);
    for _ in 0..200 {
        world.connect();
        world.arrive();
        world.receive();
        assert!(world.connected && !world.published.is_empty());
        perform(&mut world, &Step::Cut);
    }
    assert!(world.buffer.aside.is_empty());
    world.settle_down();
}

#[test]
fn a_frame_that_the_gateway_makes_nothing_of_is_not_sent_over_and_over() {
    let mut world = World::new(40);
    world.cannot_read = Some(7);
    world.connect();
    for _ in 0..10_000 {
        world.arrive();
        world.receive();
        if world.under_way.is_empty() && world.answers.is_empty() {
            world.now = world.now.max(world.session.deadline().min(world.now + Duration::from_secs(10)));
            world.tell(Event::Heard); // a PUBACK, or the answer to a ping
            world.session.handle_deadline(world.now);
            world.obey();
        }
    }
    assert_eq!(world.stored_rows().missing_in(Range::new(1, 40).unwrap()).as_slice(), [Range::one(7)]);
    let hours = world.now.duration_since(world.published_at[0]).as_secs_f64() / 3_600.0;
    let times = world.published.iter().filter(|(_, rows)| rows.contains(7)).count();
    assert!(hours > 10.0 && (times as f64) < 15.0 + hours * 4.0 * 3.0, "{times} times in {hours} hours");
    world.cannot_read = None;
    world.settle_down();
}

#[test]
fn batches_that_are_refused_for_now_delay_nobody_and_are_tried_again_with_the_next_hello() {
    let mut world = World::new(500);
    world.refuses = (1..60).step_by(2).map(|number| (number, Refusal::QuarantineFull)).collect();
    world.connect();
    for _ in 0..2_000 {
        world.arrive();
        world.receive();
    }
    let lacking = |world: &World| world.stored_rows().missing_in(Range::new(1, 500).unwrap()).count();
    assert_eq!(lacking(&world), 30, "all others are there");
    assert!(world.published.len() < 400, "and nothing was sent over and over: {}", world.published.len());
    world.refuses.clear();
    perform(&mut world, &Step::Wait(901));
    world.settle_down();
    assert_eq!(lacking(&world), 0);
}
