//! What is logged of a connection that does not come to stand: once when it begins, once when it lasts, and once for each
//! reason; not with each try, for there may be thousands.

/// Tries in a row that fail before it is more than a hiccup. The first come within seconds.
const LASTS: u32 = 4;
/// Reasons of one outage that are told apart; whatever comes beyond has been said often enough.
const REASONS_MAX: usize = 8;

/// How loud it is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was said before.
    Quietly,
    /// It may pass.
    Once,
    /// It lasts: somebody should look.
    Loudly,
    /// Somebody has to change a setting.
    AsFault,
}

/// The tries since it last stood.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failed: u32,
    reasons: Vec<String>,
}

impl Outage {
    /// Another try failed, or the connection was lost. `is_for_good` says that a person has to change something first.
    pub(super) fn failed(&mut self, reason: &str, is_for_good: bool) -> Said {
        self.failed = self.failed.saturating_add(1);
        let is_new = self.reasons.len() < REASONS_MAX && !self.reasons.iter().any(|said| said == reason);
        if is_new {
            self.reasons.push(reason.to_owned());
        }
        match (is_new, self.failed) {
            (true, _) if is_for_good => Said::AsFault,
            (_, LASTS) if !is_for_good => Said::Loudly,
            (true, 1..LASTS) => Said::Once,
            (true, _) => Said::Loudly,
            (false, _) => Said::Quietly,
        }
    }

    /// It stands; answers how many tries had failed.
    pub(super) fn over(&mut self) -> u32 {
        std::mem::take(self).failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_when_it_begins_when_it_lasts_and_when_it_changes_and_never_with_each_try() {
        let mut outage = Outage::default();
        let said: Vec<Said> = (0..1_000).map(|_| outage.failed("nobody answers", false)).collect();
        let loud: Vec<_> = said.iter().enumerate().filter(|(_, said)| **said != Said::Quietly).collect();
        assert_eq!(loud, [(0, &Said::Once), (3, &Said::Loudly)]);
        assert_eq!(outage.failed("it is not known", false), Said::Loudly, "another reason");
        assert_eq!(outage.failed("it is not known", false), Said::Quietly);
        assert_eq!(outage.failed("nobody answers", false), Said::Quietly, "back to one that was said");
        let ever_new = (0..1_000).map(|count| outage.failed(&count.to_string(), false));
        assert_eq!(ever_new.filter(|said| *said != Said::Quietly).count(), REASONS_MAX - 2);
        assert_eq!(outage.over(), 2_003);
        assert_eq!(outage.failed("nobody answers", false), Said::Once, "it begins anew");
    }

    #[test]
    fn what_only_a_person_can_mend_is_a_fault_at_once_and_said_once() {
        let mut outage = Outage::default();
        let said: Vec<Said> = (0..1_000).map(|_| outage.failed("another's certificate", true)).collect();
        assert_eq!(said[0], Said::AsFault);
        assert!(said[1..].iter().all(|said| *said == Said::Quietly));
    }
}
