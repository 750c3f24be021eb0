//! A gateway that lives and does not answer, as while its database is away: who stays, who asks, and for how long.

use std::time::Duration;

use proto::message::Hello;
use proto::{Lane, Range, Ranges};
use tributary_agent::uplink::session::Event;

use crate::world::{Buffer, PACE, Up, World, span};

/// Of the window's frames, the notices of gaps and the hellos, the most that may be under way at once.
const UNDER_WAY_MAX: usize = PACE.window_frames + 16 + 12;

/// For so long nothing is recorded or answered, but the other end lives: it answers a ping every `keep_alive`. Something
/// is sealed every second.
fn unanswered(world: &mut World, time: Duration) {
    let (began, mut pings) = (world.now, 0);
    while world.now < began + time && world.connected {
        world.now += Duration::from_secs(1);
        if world.now >= began + PACE.keep_alive * pings {
            pings += 1;
            world.tell(Event::Heard);
        }
        world.seal(1, Lane::Live, false);
        world.session.handle_deadline(world.now);
        world.obey();
        assert!(world.under_way.len() <= UNDER_WAY_MAX, "{} messages under way", world.under_way.len());
    }
}

fn hellos(world: &World) -> Vec<&Hello> {
    let under_way = world.under_way.iter();
    under_way.filter_map(|up| if let Up::Hello(hello) = up { Some(hello) } else { None }).collect()
}

/// All that is under way arrives, and all answers come back.
fn exchange(world: &mut World) {
    while !world.under_way.is_empty() || !world.answers.is_empty() {
        world.arrive();
        world.receive();
    }
}

#[test]
fn a_database_that_is_away_for_ten_minutes_costs_no_connection_and_all_goes_as_soon_as_it_is_back() {
    for greeted_before in [false, true] {
        let mut world = World::new(20);
        world.connect();
        if greeted_before {
            exchange(&mut world);
            world.seal(1, Lane::Live, false);
        }
        unanswered(&mut world, Duration::from_secs(600));
        assert_eq!((world.hang_ups, world.connected), (0, true));
        assert!((5..=12).contains(&hellos(&world).len()), "{} hellos", hellos(&world).len());
        let back = world.now;
        exchange(&mut world);
        assert_eq!((world.session.unsettled(), world.hang_ups), (0, 0), "nothing waits for any deadline");
        assert_eq!((world.now, world.stored_rows().count()), (back, world.buffer.next_row - 1));
        assert_eq!((world.went_back, world.unexplained.len()), (0, 0));
    }
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_on_the_same_connection() {
    let mut world = World::new(20);
    world.connect();
    world.arrive();
    world.answers.clear(); // dropped on the way: receipts go at QoS 0
    let asked = world.last_nonce;
    world.now += Duration::from_secs(10);
    world.tell(Event::Heard);
    world.session.handle_deadline(world.now);
    world.obey();
    assert!(world.last_nonce != asked && world.published.is_empty(), "asked, and sent nothing blindly");
    exchange(&mut world);
    assert_eq!((world.session.unsettled(), world.hang_ups), (0, 0));
}

#[test]
fn a_gateway_that_lives_and_answers_nothing_for_ever_is_left_once_for_one_that_may() {
    let mut world = World::new(20);
    world.connect();
    let began = world.now;
    unanswered(&mut world, Duration::from_secs(7_200));
    let minutes = (world.now - began).as_secs() / 60;
    assert!((15..=18).contains(&minutes), "{minutes} minutes");
    assert_eq!((world.hang_ups, world.connected), (1, false));
    let left = world.now;
    world.connect();
    assert!(world.now - left <= PACE.reconnect_min, "it was a stable connection: {:?}", world.now - left);
    exchange(&mut world);
    assert_eq!((world.session.unsettled(), world.hang_ups), (0, 1));
}

#[test]
fn a_hello_without_an_answer_on_a_link_without_a_sign_of_life_ends_it_within_one_and_a_half_keep_alives() {
    let mut world = World::new(20);
    world.connect();
    let began = world.now;
    while world.connected {
        world.now = world.session.deadline();
        world.session.handle_deadline(world.now);
        world.obey();
    }
    assert_eq!(world.now - began, PACE.keep_alive * 3 / 2);
    world.settle_down();
}

#[test]
fn the_answer_to_an_earlier_hello_adds_what_it_says_and_takes_nothing_back() {
    let all: Ranges = Range::new(1, 20).into_iter().collect();
    let marked: Ranges = Range::new(1, 10).into_iter().collect();
    let buffer = Buffer { held: all, marked, epochs: vec![span(1, 0)], next_row: 21, ..Buffer::default() };
    let mut world = World::with(buffer, PACE);
    // The gateway was restored: it has less than it said once.
    world.stored.insert(span(1, 0).epoch.0, Range::new(15, 20).into_iter().collect());
    world.connect();
    world.arrive();
    world.now += Duration::from_secs(10);
    world.session.handle_deadline(world.now);
    world.obey();
    while !world.answers.is_empty() {
        world.receive();
    }
    let covered = [Range::new(1, 10).unwrap(), Range::new(15, 20).unwrap()];
    assert_eq!(world.buffer.marked.as_slice(), covered, "what it adds is believed");
    assert!(world.published.is_empty(), "and nothing is sent before the latest hello has its answer");
    exchange(&mut world);
    let sent: Ranges = world.published.iter().map(|(_, rows)| *rows).collect();
    assert_eq!(sent.as_slice(), [Range::new(1, 14).unwrap()], "which takes back what is gone");
}

#[test]
fn hellos_that_are_recorded_in_the_wrong_order_speak_of_one_buffer() {
    let mut world = World::new(20);
    world.connect();
    unanswered(&mut world, Duration::from_secs(20));
    world.evict(&Range::new(1, 4).into_iter().collect());
    world.seal(3, Lane::Live, true); // another epoch begins
    unanswered(&mut world, Duration::from_secs(200));
    let said = hellos(&world);
    assert!(said.len() >= 4 && said.iter().all(|hello| hello.epochs == said[0].epochs), "{said:?}");
    // As several gateways with one database might record them, each with what it has.
    world.under_way.make_contiguous().reverse();
    exchange(&mut world);
    assert_eq!((world.went_back, world.unexplained.len()), (0, 0));
    exchange(&mut world);
    world.settle_down();
    assert_eq!((world.went_back, world.unexplained.len(), world.hang_ups), (0, 0, 0));
}

#[test]
fn a_buffer_that_must_evict_while_the_database_is_away_fills_no_connection_with_notices() {
    let mut world = World::new(3_000);
    world.connect();
    for first in (1..1_200).step_by(2) {
        world.evict(&[Range::one(first)].into_iter().collect());
        unanswered(&mut world, Duration::from_secs(1));
    }
    assert_eq!((world.hang_ups, world.connected), (0, true));
    world.settle_down();
    assert_eq!((world.unexplained.len(), world.hang_ups), (0, 0));
}
