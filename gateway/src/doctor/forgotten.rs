//! Revocations that the authority knows of and the database does not, as after an older copy of it was put back.

use std::collections::{BTreeSet, HashSet};

use certs::authority::{Record, Role};
use proto::Instant;

use super::finding::{Finding, or_well};
use crate::config::Config;
use crate::enrol::Registry;

const CHECK: &str = "revocation";
/// Devices that are named in one line.
const NAMED_MAX: usize = 10;

/// Holds the authority's index against the registry. Nothing where certificates are not issued here, or by an account elsewhere.
///
/// # Errors
/// The authority or the database cannot be read.
pub(super) fn examine(config: &Config, now: Instant) -> anyhow::Result<Vec<Finding>> {
    let Some(folder) = config.authority.as_ref().and_then(|authority| authority.path.as_deref()) else {
        return Ok(Vec::new());
    };
    let records = certs::Authority::open(folder)?.list()?;
    let said = Registry::new(config.side()?).cut_off(now)?;
    let known: HashSet<String> = said.into_values().flat_map(|standing| standing.revoked).collect();
    Ok(judge(&records, &known, now))
}

fn judge(records: &[Record], known: &HashSet<String>, now: Instant) -> Vec<Finding> {
    let now_s = now.0.div_euclid(1_000_000).unsigned_abs();
    let counts = |record: &&Record| {
        record.role == Role::Device && record.revoked.is_some() && record.not_after.seconds() >= now_s
    };
    let revoked: Vec<&Record> = records.iter().filter(counts).collect();
    let is_unknown = |record: &&&Record| !known.contains(&record.serial.to_string());
    let forgotten: BTreeSet<&str> = revoked.iter().filter(is_unknown).map(|record| record.subject.as_str()).collect();
    let mut found = Vec::new();
    if !forgotten.is_empty() {
        let named: Vec<&str> = forgotten.iter().copied().take(NAMED_MAX).collect();
        let more = forgotten.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let what = format!("the authority has revoked {}{more}, and the database does not know it", named.join(", "));
        let remedy = "say `devices revoke` for each: after an older copy was put back, nothing else keeps a rule from letting \
                      it in again";
        found.push(Finding::warning(CHECK, what, remedy));
    }
    or_well(found, CHECK, || format!("{} certificates were revoked, and the database knows them", revoked.len()))
}
