//! Whatever may happen, in any order.

use std::time::Duration;

use proptest::prelude::*;
use proto::{Lane, Range, Ranges};
use tributary_agent::uplink::session::Event;

use crate::world::World;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Connect,
    Cut,
    Arrive,
    Receive,
    LoseMessage,
    LoseReceipt,
    RepeatReceipt,
    Hear,
    Wait(u64),
    Seal(u64, bool, bool),
    Evict(u64, bool),
    Lose,
    Damage(u64),
    Restart,
    Copy,
    RestoreBuffer,
    RestoreGateway,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Connect),
        1 => Just(Step::Cut),
        6 => Just(Step::Arrive),
        6 => Just(Step::Receive),
        1 => Just(Step::LoseReceipt),
        1 => Just(Step::RepeatReceipt),
        1 => Just(Step::Hear),
        2 => (0_u64..2_000).prop_map(Step::Wait),
        4 => (1_u64..8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(n, live, new)| Step::Seal(n, live, new)),
        1 => (1_u64..9, any::<bool>()).prop_map(|(n, scattered)| Step::Evict(n, scattered)),
        1 => Just(Step::Lose),
        1 => (0_u64..20).prop_map(Step::Damage),
        1 => Just(Step::Restart),
    ]
}

/// Also what no honest device, no well-kept gateway and no connection in order does.
fn any_step_or_worse() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => any_step(),
        1 => Just(Step::LoseMessage),
        1 => Just(Step::Copy),
        1 => Just(Step::RestoreBuffer),
        1 => Just(Step::RestoreGateway),
    ]
}

pub(crate) fn perform(world: &mut World, step: &Step) {
    match step {
        Step::Connect => world.connect(),
        Step::Cut => {
            if world.connected {
                world.cut();
                world.tell(Event::Lost);
            }
        }
        Step::Arrive => world.arrive(),
        Step::Receive => world.receive(),
        Step::LoseMessage => drop(world.under_way.pop_front()),
        Step::LoseReceipt => drop(world.answers.pop_front()),
        Step::RepeatReceipt => {
            // Only what adds may come again: a nonce's receipt belongs to its hello.
            let again = world.answers.iter().find(|receipt| receipt.nonce.is_none()).cloned();
            world.answers.extend(again);
        }
        Step::Hear => world.tell(Event::Heard),
        Step::Wait(seconds) => {
            let until = world.now + Duration::from_secs(*seconds);
            while world.session.deadline() <= until && world.connected {
                world.now = world.now.max(world.session.deadline());
                world.session.handle_deadline(world.now);
                world.obey();
            }
            world.now = until;
        }
        Step::Seal(count, live, new) => {
            world.seal(*count, if *live { Lane::Live } else { Lane::Backfill }, *new);
        }
        Step::Evict(count, scattered) => {
            // As of low priority among others, or simply the oldest. The newest stays.
            let rows = world.buffer.held.iter().flat_map(|range| range.first..=range.last);
            let rows = rows.step_by(if *scattered { 2 } else { 1 }).take(usize::try_from(*count).unwrap());
            let rows: Ranges = rows.filter(|row| row + 1 < world.buffer.next_row).map(Range::one).collect();
            world.evict(&rows);
        }
        Step::Lose => {
            let (rows, began) = world.next_rows(1, false);
            world.buffer.gaps.insert(rows);
            world.tell(Event::Gaps { rows: [rows].into_iter().collect(), began });
        }
        Step::Damage(back) => world.damage(world.buffer.next_row.saturating_sub(*back)),
        Step::Restart => world.restart(world.buffer.clone()),
        Step::Copy => world.copies.push(world.buffer.clone()),
        Step::RestoreBuffer => {
            if let Some(copy) = world.copies.first().cloned() {
                world.restart(copy);
                world.seal(1, Lane::Live, true); // each start has an epoch of its own
            }
        }
        Step::RestoreGateway => {
            for stored in world.stored.values_mut() {
                let last = stored.iter().next_back();
                if let Some(last) = last {
                    stored.remove(last);
                }
            }
            // A restored gateway is a restarted one.
            if world.connected {
                world.cut();
                world.tell(Event::Lost);
            }
        }
    }
}

/// All that is held is stored and marked, and all that is gone is known to be gone.
fn check_settled(world: &mut World, steps: &[Step]) -> Result<(), TestCaseError> {
    // One more connection, so that a restored gateway is asked.
    perform(world, &Step::Cut);
    world.settle_down();
    let stored = world.stored_rows();
    for held in world.buffer.held.iter() {
        prop_assert!(stored.missing_in(held).is_empty(), "held {held:?}, stored {stored:?}, {steps:?}");
        prop_assert!(world.buffer.marked.missing_in(held).is_empty(), "held {held:?}, {:?}", world.buffer.marked);
    }
    prop_assert!(world.buffer.gaps.is_empty(), "gaps that nobody confirmed: {:?}", world.buffer.gaps);
    prop_assert!(world.buffer.aside.is_empty(), "nothing is wrong with any batch: {:?}", world.buffer.aside);
    let told = world.rows_of(&world.gaps);
    for held in world.buffer.held.iter() {
        prop_assert!(told.within(held).next().is_none(), "held and stored, and yet a gap: {told:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_all_that_is_held_gets_stored_once_the_network_works(
        backlog in 0_u64..60,
        steps in prop::collection::vec(any_step_or_worse(), 0..120),
    ) {
        let mut world = World::new(backlog);
        world.obey();
        for step in &steps {
            perform(&mut world, step);
        }
        check_settled(&mut world, &steps)?;
    }

    #[test]
    fn an_honest_device_leaves_nothing_unexplained(
        backlog in 0_u64..400,
        steps in prop::collection::vec(any_step(), 0..120),
    ) {
        let mut world = World::new(backlog);
        world.obey();
        for step in &steps {
            perform(&mut world, step);
            prop_assert!(world.unexplained.is_empty(), "{:?} after {step:?}", world.unexplained);
            prop_assert_eq!(world.went_back, 0, "no number is used twice; after {:?}", step);
        }
        check_settled(&mut world, &steps)?;
        prop_assert!(world.unexplained.is_empty() && world.owned_up.is_empty(), "{:?}", world.unexplained);
    }
}
