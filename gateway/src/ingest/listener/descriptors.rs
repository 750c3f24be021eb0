//! Files that may be open at once: each connection is one. Systems start programs with 1024 and let them have more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: the store's, standard streams, and the API's connections, of which there are 512 at most.
const BESIDE: u64 = 768;

/// Raises the soft limit so that `connections_max` fit, as far as the hard one allows; says so where it does not.
pub(super) fn make_room(connections_max: usize) {
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(BESIDE);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    if raised.is_err() || allowed < wanted {
        tracing::warn!(
            allowed,
            wanted,
            "fewer files may be open at once than `connections_max` needs; raise LimitNOFILE= of the unit (ulimit -n), or \
             lower it"
        );
    }
}
