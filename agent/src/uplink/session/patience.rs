//! How long a hello's answer is waited for on a link that lives: the gateway answers nothing while its store is away, and
//! to come back by another connection would change nothing about that.

use std::time::{Duration, Instant};

use crate::random::Random;

/// The longest wait before the gateway is asked again. An answer that was lost on the way costs no more than this.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Hellos without an answer on one connection. With the largest window, as many notices of gaps as go out at once, and
/// a word about status and clock they are fewer than the gateway takes in before it acknowledges the first: beyond that
/// it reads nothing, pings included.
pub(super) const HELLOS_MAX: u32 = 12;
/// How long a gateway that answers nothing may keep a device: then another connection may find one that does.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);
/// What chance adds to each of these waits at most, so that a fleet does not ask, or come back, all at once.
const JITTER: f64 = 0.25;

/// How long to wait for an answer that is outstanding.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// Hellos without an answer.
    hellos: u32,
    /// How long the answer to the latest may take.
    wait: Duration,
    until: Instant,
    gives_up_at: Instant,
}

impl Patience {
    /// A hello goes out, whose answer should be there after `wait`.
    pub(super) fn new(wait: Duration, now: Instant, random: &mut Random) -> Self {
        Self { hellos: 1, wait, until: now + wait, gives_up_at: now + jittered(GIVE_UP_AFTER, random) }
    }

    /// The longest that the answer to a first hello may take, where a frame's receipt may take `deadline_min` anyway.
    pub(super) fn first_max(deadline_min: Duration) -> Duration {
        WAIT_MAX.max(deadline_min)
    }

    /// When to ask again; never, once as many hellos as there may be have gone out.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.hellos < HELLOS_MAX).then_some(self.until)
    }

    /// When the connection is given up, however lively.
    pub(super) fn gives_up_at(&self) -> Instant {
        self.gives_up_at
    }

    /// It is asked again: the next answer gets twice the time.
    pub(super) fn asked_again(&mut self, now: Instant, random: &mut Random) {
        self.hellos += 1;
        self.wait = self.wait.max((self.wait * 2).min(WAIT_MAX));
        self.until = now + jittered(self.wait, random);
    }

    /// Receipts come, if not this answer yet, or could not come any sooner: a slow link is not a dead one.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.until = self.until.max(now + self.wait);
    }

    /// A part of the answer is there.
    pub(super) fn answered_in_part(&mut self, now: Instant, random: &mut Random) {
        self.hellos = 1;
        self.gives_up_at = now + jittered(GIVE_UP_AFTER, random);
    }
}

fn jittered(wait: Duration, random: &mut Random) -> Duration {
    wait.mul_f64(random.between(1.0, 1.0 + JITTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(10);

    #[test]
    fn it_asks_ever_more_rarely_and_only_so_often_and_gives_up_after_a_quarter_of_an_hour() {
        for seed in 0..200 {
            let (start, mut random) = (Instant::now(), Random::new(seed));
            let mut patience = Patience::new(FIRST, start, &mut random);
            let (mut asked_at, mut now) = (vec![0.0], start);
            while let Some(due) = patience.due().filter(|due| *due < patience.gives_up_at()) {
                assert!(due - now >= FIRST && due - now <= WAIT_MAX.mul_f64(1.0 + JITTER), "{:?}", due - now);
                now = due;
                patience.asked_again(now, &mut random);
                asked_at.push((now - start).as_secs_f64());
            }
            assert!((8..=12).contains(&asked_at.len()), "{asked_at:?}");
            assert!(asked_at.windows(2).next_back().is_some_and(|last| last[1] - last[0] >= 120.0), "{asked_at:?}");
            let minutes = (patience.gives_up_at() - start).as_secs_f64() / 60.0;
            assert!((15.0..18.75).contains(&minutes), "{minutes}");
        }
    }

    #[test]
    fn a_fleet_that_began_to_wait_at_one_moment_does_not_ask_at_one_moment() {
        let start = Instant::now();
        let asks_at = |seed| {
            let mut random = Random::new(seed);
            let mut patience = Patience::new(FIRST, start, &mut random);
            (0..3).for_each(|_| patience.asked_again(start, &mut random));
            (patience.due(), patience.gives_up_at())
        };
        let mut all: Vec<_> = (0..100).map(asks_at).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 100);
        let spread = all[99].0.unwrap() - all[0].0.unwrap();
        assert!(spread > Duration::from_secs(10), "{spread:?}");
    }

    #[test]
    fn what_comes_puts_the_next_question_off_and_only_an_answer_puts_off_the_end() {
        let (start, mut random) = (Instant::now(), Random::new(1));
        let mut patience = Patience::new(FIRST, start, &mut random);
        let gives_up_at = patience.gives_up_at();
        patience.put_off(start + FIRST / 2);
        assert_eq!(patience.due(), Some(start + FIRST / 2 + FIRST));
        assert_eq!(patience.gives_up_at(), gives_up_at);
        (0..HELLOS_MAX).for_each(|_| patience.asked_again(start, &mut random));
        assert_eq!(patience.due(), None);
        patience.answered_in_part(start + 60 * FIRST, &mut random);
        assert!(patience.due().is_some() && patience.gives_up_at() >= start + 60 * FIRST + GIVE_UP_AFTER);
    }
}
