//! How many calls are under way at once: one more after each round of answers, half of them after a throttling. The
//! service grows with what it is sent, so it is asked again rather than left alone.

/// Calls under way at first.
const FIRST: f64 = 4.0;
/// Calls under way at most.
const MOST: f64 = 32.0;

/// Additive increase, multiplicative decrease (Chiu and Jain, 1989).
#[derive(Debug)]
pub(super) struct Window(f64);

impl Default for Window {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Window {
    /// How many calls may be under way.
    pub(super) fn calls(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 32")]
        let calls = self.0 as usize;
        calls
    }

    /// A call was answered.
    pub(super) fn answered(&mut self) {
        self.0 = (self.0 + 1.0 / self.0).min(MOST);
    }

    /// A call was throttled.
    pub(super) fn throttled(&mut self) {
        self.0 = (self.0 / 2.0).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_a_round_and_halves_when_throttled_between_its_bounds() {
        let mut window = Window::default();
        for _ in 0..5 {
            window.answered();
        }
        assert_eq!(window.calls(), 5);
        window.throttled();
        assert_eq!(window.calls(), 2);
        (0..10).for_each(|_| window.throttled());
        assert_eq!(window.calls(), 1);
        (0..10_000).for_each(|_| window.answered());
        assert_eq!(window.calls(), 32);
    }
}
