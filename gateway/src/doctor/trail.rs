//! Whether the audit trail is what was written.

use super::finding::Finding;
use crate::audit;
use crate::audit::verify::{VerifyError, Whole, verify};
use crate::config::Config;

const CHECK: &str = "audit";

/// As `audit verify` says.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let file = config.audit_checkpoints();
    if !file.exists() {
        let what = format!("{} is missing: nobody can tell whether entries were cut off at the end", file.display());
        let remedy =
            "run the doctor where the gateway runs, or find out who removed it; the gateway makes it at its start";
        return vec![Finding::fault(CHECK, what, remedy)];
    }
    let verified = audit::open(config).map(|mut trail| verify(trail.as_mut(), std::slice::from_ref(&file)));
    vec![match verified {
        Ok(Ok(Whole { entries, checkpoints, .. })) => {
            Finding::ok(CHECK, format!("{entries} entries, chain whole, {checkpoints} checkpoints agree"))
        }
        Ok(Err(VerifyError::Fault(fault))) => {
            let remedy = "keep the database and the checkpoints as they are, and find out who changed them";
            Finding::fault(CHECK, format!("the audit trail is not as it was written: {fault}"), remedy)
        }
        Ok(Err(error)) => Finding::unknown(CHECK, &anyhow::Error::new(error)),
        Err(error) => Finding::unknown(CHECK, &error),
    }]
}
