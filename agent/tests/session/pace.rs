//! What is sent when, and when a link counts as dead.

use std::time::{Duration, Instant};

use proto::{Lane, Range, Ranges};
use tributary_agent::buffer::Contents;
use tributary_agent::uplink::Pace;
use tributary_agent::uplink::session::{Command, Event, Session};

use crate::chance::{Step, perform};
use crate::world::{BATCH_BYTES, Buffer, PACE, Up, World, span};

#[test]
fn nothing_is_sent_before_the_gateway_has_said_what_it_has_and_then_only_what_it_lacks() {
    let mut world = World::new(20);
    world
        .stored
        .insert(span(1, 0).epoch.0, [Range::new(1, 7).unwrap(), Range::new(11, 18).unwrap()].into_iter().collect());
    world.connect();
    assert!(world.published.is_empty());
    world.settle_down();
    let sent: Ranges = world.published.iter().map(|(_, rows)| *rows).collect();
    assert_eq!(sent.as_slice(), [Range::new(8, 10).unwrap(), Range::new(19, 20).unwrap()]);
    assert_eq!(world.published.iter().map(|(_, rows)| rows.count()).sum::<u64>(), 5, "each once");
}

#[test]
fn live_batches_pass_a_long_backlog_newest_first_and_the_backlog_still_moves() {
    let mut world = World::new(1_000);
    world.connect();
    for _ in 0..30 {
        world.seal(1, Lane::Live, false);
        for _ in 0..2 {
            world.arrive();
            world.receive();
        }
    }
    let live =
        world.published.iter().filter(|(lane, _)| *lane == Lane::Live).map(|(_, rows)| rows.count()).sum::<u64>();
    assert!(live >= 25, "{live} of 30 live batches left, {:?}", world.published);
    let backfill: Vec<_> = world.published.iter().filter(|(lane, _)| *lane == Lane::Backfill).collect();
    assert!(backfill.len() >= 10, "{backfill:?}");
    assert!(backfill.windows(2).all(|pair| pair[0].1.last < pair[1].1.first), "oldest first: {backfill:?}");
    world.settle_down();
}

#[test]
fn a_window_that_is_full_waits_and_a_missed_deadline_asks_instead_of_sending_again() {
    let mut world = World::new(1_000);
    world.connect();
    world.arrive();
    world.receive();
    let bytes = |world: &World| world.published.iter().map(|(_, rows)| rows.count() * BATCH_BYTES).sum::<u64>();
    assert_eq!(bytes(&world), 500, "a connection begins small");
    for _ in 0..10 {
        world.arrive();
        world.receive();
    }
    let before = bytes(&world);
    let under_way = before - world.stored_rows().count() * BATCH_BYTES;
    assert!((1_000..=2_000).contains(&under_way), "and grows: {under_way}");
    world.under_way.clear(); // the network swallows them all, silently
    let sent = world.published.len();
    let asked = world.last_nonce;
    perform(&mut world, &Step::Wait(11));
    assert_ne!(world.last_nonce, asked, "a hello went out");
    assert_eq!(world.published.len(), sent, "and nothing else");
    world.settle_down();
}

#[test]
fn a_link_that_is_silent_with_frames_under_way_is_hung_up_within_one_and_a_half_keep_alives() {
    // Receipts may take minutes here: it is the silence alone that tells.
    let held: Ranges = Range::new(1, 1_000).into_iter().collect();
    let buffer = Buffer { held, epochs: vec![span(1, 0)], next_row: 1_001, ..Buffer::default() };
    let mut world = World::with(buffer, Pace { deadline_min: Duration::from_secs(200), ..PACE });
    world.connect();
    world.arrive();
    world.receive();
    let silent_since = world.now;
    for second in 0..60 {
        world.under_way.clear(); // a cut without a word
        world.now = silent_since + Duration::from_secs(second);
        world.session.handle_deadline(world.now);
        world.obey();
        if !world.connected {
            break;
        }
        world.seal(1, Lane::Live, false);
    }
    let took = world.now - silent_since;
    assert!(!world.connected && took.as_secs().abs_diff(45) <= 1, "{took:?}");
    world.settle_down();
}

#[test]
fn a_gateway_that_lives_but_confirms_nothing_for_long_is_asked_and_not_hung_up_on() {
    let mut world = World::new(10);
    world.connect();
    world.arrive();
    world.receive();
    for _ in 0..600 {
        world.now += Duration::from_secs(10);
        world.tell(Event::Heard); // it answers pings
        world.session.handle_deadline(world.now);
        world.obey();
        world.under_way.retain(|up| matches!(up, Up::Hello(_)));
        world.arrive();
        while !world.answers.is_empty() {
            world.receive();
        }
    }
    assert_eq!(world.hang_ups, 0);
    assert!(world.published.len() < 60, "{}", world.published.len());
    world.settle_down();
}

#[test]
fn a_frame_that_takes_a_minute_to_leave_is_neither_dead_nor_late() {
    let mut world = World::new(10);
    world.connect();
    world.arrive();
    world.receive();
    world.tell(Event::Leaving);
    for _ in 0..80 {
        world.now += Duration::from_secs(1);
        world.session.handle_deadline(world.now);
        world.obey();
    }
    world.tell(Event::Left);
    assert!(world.connected);
    assert_eq!(world.under_way.len(), 1, "no hello was queued behind it: {:?}", world.under_way);
    world.arrive();
    world.receive();
    world.settle_down();
}

#[test]
fn a_connection_over_2g_may_take_longer_than_a_minute_to_stand() {
    let start = Instant::now();
    let mut session = Session::new(PACE, &Contents::default(), 1, start);
    session.handle_deadline(start);
    assert_eq!(session.next_command(), Some(Command::Dial));
    assert_eq!(session.deadline() - start, Duration::from_secs(90));
    session.handle_deadline(session.deadline());
    assert_eq!(session.next_command(), Some(Command::HangUp));
}

#[test]
fn under_a_rate_limit_live_and_backfill_take_turns() {
    let pace = Pace { publishes_per_s_max: 10, ..PACE };
    let held: Ranges = Range::new(1, 5_000).into_iter().collect();
    let buffer = Buffer { held, epochs: vec![span(1, 0)], next_row: 5_001, ..Buffer::default() };
    let mut world = World::with(buffer, pace);
    world.connect();
    let start = world.now;
    let mut seal_at = start;
    while world.now < start + Duration::from_secs(60) {
        world.now = world.now.max(world.session.deadline()).min(world.now + Duration::from_millis(20));
        world.session.handle_deadline(world.now);
        world.obey();
        if world.now >= seal_at {
            world.seal(1, Lane::Live, false); // more than the limit takes if each went by itself
            seal_at += Duration::from_millis(100);
        }
        while !world.under_way.is_empty() || !world.answers.is_empty() {
            world.arrive();
            world.receive();
        }
    }
    let in_second = |second: u64| {
        let from = start + Duration::from_secs(second);
        world.published_at.iter().filter(|at| **at >= from && **at < from + Duration::from_secs(1)).count()
    };
    assert!((0..60).all(|second| in_second(second) <= 10));
    let [live, backfill] =
        [Lane::Live, Lane::Backfill].map(|of| world.published.iter().filter(|(lane, _)| *lane == of).count());
    assert!(live.abs_diff(backfill) <= 3 + live / 10, "{live} live, {backfill} backfill");
    assert!(
        live + backfill > 60 * 4,
        "with as many receipts, that is nearly all that the limit allows: {live} {backfill}"
    );
}

#[test]
fn notices_of_gaps_keep_to_the_rate_limit_and_use_what_it_allows() {
    let pace = Pace { publishes_per_s_max: 10, ..PACE };
    let gaps: Ranges = (1..600).step_by(2).map(Range::one).collect();
    let held: Ranges = (2..=600).step_by(2).map(Range::one).collect();
    let buffer = Buffer { held, gaps, epochs: vec![span(1, 0)], next_row: 601, ..Buffer::default() };
    let mut world = World::with(buffer, pace);
    world.connect();
    let start = world.now;
    let mut received = 0;
    while !world.buffer.gaps.is_empty() {
        while !world.under_way.is_empty() || !world.answers.is_empty() {
            received += u32::from(!world.answers.is_empty());
            world.arrive();
            world.receive();
        }
        world.now = world.now.max(world.session.deadline());
        world.session.handle_deadline(world.now);
        world.obey();
        assert!(world.connected && world.now < start + Duration::from_secs(3_600));
    }
    let within_a_second = |from: &Duration| {
        let until = *from + Duration::from_secs(1);
        world.told_at.iter().filter(|at| (*from..until).contains(&(**at - start))).count()
    };
    let busiest = world.told_at.iter().map(|at| within_a_second(&(*at - start))).max();
    assert!(world.told_at.len() >= 100 && busiest <= Some(10), "{busiest:?} of {}", world.told_at.len());
    let messages = u32::try_from(world.told_at.len()).unwrap() + received;
    let took = world.now - start;
    assert!(took < Duration::from_secs(1) * messages / 6, "{messages} messages, 10 a second, took {took:?}");
}
