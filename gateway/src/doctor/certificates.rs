//! Certificates that end soon, keys and signatures that are too weak, and keys that several share.

use std::collections::BTreeMap;
use std::path::Path;

use certs::inspect::Facts;

use super::finding::{Finding, or_well};

const ENDS: &str = "certificates";
const KEYS: &str = "keys";
const SHARED: &str = "shared-keys";
/// Days before the end of a certificate: from here on it is a warning …
const DAYS_WARNING: i64 = 30;
/// … and from here on a fault.
const DAYS_FAULT: i64 = 7;
/// An authority takes longer to replace: all devices have to learn of the next one.
const AUTHORITY_DAYS: [i64; 3] = [180, 90, 30];
const DAY_S: i64 = 86_400;

/// Whose a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This gateway's, towards devices or a broker.
    Own,
    /// An authority whose word counts here for who is a device.
    Authority,
    /// An authority that signs others' servers: a broker's, a database's.
    Foreign,
    /// A device's newest, as the registry knows it.
    Issued,
    /// A device's from before, which is good still.
    Former,
}

/// A certificate and where it was found.
pub(super) struct Seen {
    pub(super) whose: Whose,
    pub(super) place: String,
    pub(super) facts: Facts,
}

/// Findings of one kind that are worth a line each; of the others it is said how many there are.
const LINES_MAX: usize = 20;

/// How long they live on, how good their keys are, and who has whose. `authority` is the folder of our own, if there is one.
pub(super) fn examine(seen: &[Seen], authority: Option<&Path>, now_s: i64) -> Vec<Finding> {
    let count = seen.len();
    let own = authority.and_then(|folder| Some((folder, name_of(seen, &folder.join("ca.crt"))?)));
    let ends = worst_first(seen.iter().filter_map(|seen| end(seen, own, now_s)).collect());
    let weak = worst_first(seen.iter().flat_map(weak).collect());
    let lasting = seen.iter().filter(|seen| seen.whose != Whose::Former);
    let days = lasting.map(|seen| days_left(seen, now_s)).min().unwrap_or(0);
    let well = || format!("{count} certificates; the first to end has {days} days");
    let mut all = or_well(ends, ENDS, well);
    all.extend(or_well(weak, KEYS, || {
        format!("{count} certificates are of keys and signatures that are strong enough")
    }));
    all.extend(or_well(shared(seen), SHARED, || "no key is used by two".to_owned()));
    all
}

/// The worst, as many as a person reads, and how many more there are.
fn worst_first(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let more = found.len().saturating_sub(LINES_MAX);
    found.truncate(LINES_MAX);
    if let Some(last) = found.last_mut().filter(|_| more > 0) {
        last.what.push_str(&format!(", and {more} others like it"));
    }
    found
}

fn days_left(seen: &Seen, now_s: i64) -> i64 {
    seen.facts.life.1.saturating_sub(now_s).div_euclid(DAY_S)
}

/// The DER name of the first certificate in `file`.
fn name_of<'a>(seen: &'a [Seen], file: &Path) -> Option<&'a [u8]> {
    let there = seen.iter().find(|seen| Path::new(&seen.place) == file);
    there.map(|seen| seen.facts.name.as_slice())
}

/// How a certificate of this gateway's is followed by the next: by a command as it is to be typed, where our own authority has
/// issued it.
fn next(Seen { place, facts, .. }: &Seen, own: Option<(&Path, &[u8])>) -> String {
    let again = "it is read again at once";
    match own.filter(|(_, name)| facts.issuer == *name) {
        Some((folder, _)) => {
            format!("tributary-certs renew --dir {} --certificate {place}   # {again}", folder.display())
        }
        None => format!(
            "have whoever issued it issue the next one, such as by `tributary-certs renew` where the authority is, and put it \
             in the place of {place}: {again}"
        ),
    }
}

fn end(seen: &Seen, own: Option<(&Path, &[u8])>, now_s: i64) -> Option<Finding> {
    let Seen { whose, place, facts } = seen;
    let days = days_left(seen, now_s);
    let (warning, fault) = match whose {
        Whose::Authority | Whose::Foreign => (AUTHORITY_DAYS[0], AUTHORITY_DAYS[2]),
        Whose::Own | Whose::Issued => (DAYS_WARNING, DAYS_FAULT),
        // The next one is there.
        Whose::Former => return None,
    };
    if now_s < facts.life.0 {
        let remedy = "set this machine's clock, or wait";
        return Some(Finding::fault(ENDS, format!("{place}: {} is not valid yet", facts.subject), remedy));
    }
    if days >= warning {
        return None;
    }
    let what = if days < 0 {
        format!("{place}: {} has ended", facts.subject)
    } else {
        format!("{place}: {} ends in {days} days", facts.subject)
    };
    let remedy = match whose {
        Whose::Own => next(seen, own),
        Whose::Authority if days >= AUTHORITY_DAYS[1] => {
            "plan the next authority: both are trusted while devices move".to_owned()
        }
        Whose::Authority => "put the next authority beside it now, and have devices renew under that one".to_owned(),
        Whose::Foreign => "ask whoever runs that server for its next authority, and add it to the file".to_owned(),
        Whose::Issued | Whose::Former => {
            "it renews by itself when it connects: find out why it does not, or revoke it if it is gone".to_owned()
        }
    };
    Some(if days < fault { Finding::fault(ENDS, what, remedy) } else { Finding::warning(ENDS, what, remedy) })
}

fn weak(seen: &Seen) -> Vec<Finding> {
    let Seen { whose, place, facts } = seen;
    // Whoever verifies an anchor trusts its key and never looks at its signature.
    let is_anchor = matches!(whose, Whose::Authority | Whose::Foreign);
    let signature = facts.weak_signature.as_ref().filter(|_| !is_anchor).map(|how| format!("is signed {how}"));
    let found = facts.weak_key.as_ref().map(|key| format!("has {key}")).into_iter().chain(signature);
    let finding = |what: String| {
        let what = format!("{place}: {} {what}", facts.subject);
        match whose {
            Whose::Foreign => Finding::warning(KEYS, what, "its owner should have P-256, P-384 or Ed25519"),
            _ => Finding::fault(KEYS, what, "replace it by one with a key of P-256, P-384 or Ed25519 and SHA-256"),
        }
    };
    found.map(finding).collect()
}

/// Keys that two certificates are about, of different names or for different ends. The same name twice is a renewal that
/// kept its key, or the same file.
fn shared(seen: &[Seen]) -> Vec<Finding> {
    let mut by_key: BTreeMap<&[u8], Vec<&Seen>> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| matches!(seen.whose, Whose::Own | Whose::Issued | Whose::Former)) {
        by_key.entry(&seen.facts.key).or_default().push(seen);
    }
    let finding = |users: Vec<&Seen>| {
        let mut names: Vec<String> =
            users.iter().map(|user| format!("{} ({})", user.facts.subject, user.place)).collect();
        let mut subjects: Vec<&str> = users.iter().map(|user| user.facts.subject.as_str()).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let remedy = "whoever has one of them is the other too: revoke them, and have each make a key of its own";
        names.sort_unstable();
        (subjects.len() > 1)
            .then(|| Finding::fault(SHARED, format!("one key is used by {}", names.join(" and ")), remedy))
    };
    by_key.into_values().filter_map(finding).collect()
}
