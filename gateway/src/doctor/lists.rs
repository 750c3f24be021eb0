//! Revocation lists: whether they are there, how old they are, and whether they revoke an authority that still counts.

use std::path::PathBuf;

use certs::inspect::ListFacts;

use super::certificates::{Seen, Whose};
use super::finding::{Finding, or_well};

const CHECK: &str = "revocation";
const DAY_S: i64 = 86_400;

/// What is known of revocations.
pub(super) struct Lists {
    /// The lists that the listener goes by; none where it has none.
    pub(super) of_listener: Option<Vec<(String, ListFacts)>>,
    /// Those that lie elsewhere, such as the root's beside an authority.
    pub(super) beside: Vec<(String, ListFacts)>,
    /// The file that the listener goes by and our own authority's list, where these are two.
    pub(super) copy: Option<(PathBuf, PathBuf)>,
}

/// How the lists are, and whom of `seen` they revoke.
pub(super) fn examine(lists: &Lists, seen: &[Seen], now_s: i64) -> Vec<Finding> {
    let mut found = Vec::new();
    if lists.of_listener.is_none() {
        let remedy = "set `listener.crl_file`, and renew the list from a daily timer (`tributary-certs crl --if-due`)";
        found.push(Finding::warning(
            CHECK,
            "the listener has no revocation list: only `devices revoke` counts",
            remedy,
        ));
    }
    if let Some((named, own)) = &lists.copy {
        let (named, own) = (named.display(), own.display());
        let what = format!(
            "`listener.crl_file` is {named}, and this gateway renews {own}: revocations do not reach the former, and when that \
             ends nobody is let in"
        );
        let remedy = format!("set `listener.crl_file` to {own}, unless something copies it every day");
        found.push(Finding::warning(CHECK, what, remedy));
    }
    let all: Vec<_> = lists.of_listener.iter().flatten().chain(&lists.beside).collect();
    found.extend(all.iter().filter_map(|(place, facts)| age(place, facts, now_s)));
    let authorities = seen.iter().filter(|seen| seen.whose == Whose::Authority || seen.facts.is_authority);
    for Seen { place, facts, .. } in authorities {
        let revokes = |list: &ListFacts| list.issuer == facts.issuer && list.serials.contains(&facts.serial);
        if all.iter().any(|(_, list)| revokes(list)) {
            let what = format!("{place}: the authority {} is revoked and still in use", facts.subject);
            found.push(Finding::fault(CHECK, what, "take it out, and have the devices below it enrol again"));
        }
    }
    for Seen { place, facts, .. } in seen.iter().filter(|seen| seen.whose == Whose::Own && !seen.facts.is_authority) {
        if all.iter().any(|(_, list)| list.issuer == facts.issuer && list.serials.contains(&facts.serial)) {
            let what = format!("{place}: {} is revoked and still in use", facts.subject);
            found.push(Finding::fault(
                CHECK,
                what,
                "issue the next one, with a key of its own, and put it in its place",
            ));
        }
    }
    or_well(found, CHECK, || format!("{} revocation lists, fresh; no authority in use is revoked", all.len()))
}

fn age(place: &str, ListFacts { from, until, issuer_name, .. }: &ListFacts, now_s: i64) -> Option<Finding> {
    let renew = "write it anew (`tributary-certs crl`), and do so from a daily timer (`--if-due`)";
    let of = format!("{place}: the list of {issuer_name}");
    let Some(until) = until else {
        return Some(Finding::warning(CHECK, format!("{of} has no end: an old copy would never be noticed"), renew));
    };
    if now_s > *until {
        return Some(Finding::fault(CHECK, format!("{of} has run out: nobody is let in by it"), renew));
    }
    let half = from.saturating_add(until.saturating_sub(*from) / 2);
    let days = until.saturating_sub(now_s) / DAY_S;
    (now_s > half)
        .then(|| Finding::warning(CHECK, format!("{of} is past half its life and ends in {days} days"), renew))
}
