//! Whether the broker between keeps devices apart, by a canary.

use anyhow::Context;

use super::finding::{Finding, or_well};
use crate::config::Config;
use crate::ingest::broker::{Files, doctor};

const CHECK: &str = "broker";

/// Tries it, if there is a broker. Blocks for some seconds.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    match tried(config) {
        Ok(findings) => findings,
        Err(error) => vec![Finding::unknown(CHECK, &error)],
    }
}

fn tried(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let Some(settings) = config.broker()? else { return Ok(Vec::new()) };
    let canary = config.broker.as_ref().and_then(|broker| broker.canary().ok().flatten()).context(
        "set `broker.canary_certificate_file` and `broker.canary_key_file` to a certificate that no device uses \
         (`tributary-certs issue --device canary`)",
    )?;
    let authority = settings.tls.as_ref().map(|files| files.authority.clone()).unwrap_or_default();
    let files = Files { authority, own: Some(canary) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let found = runtime.block_on(doctor::examine(&settings, files))?;
    let remedy = "correct the broker's access list before it carries anything: see gateway/brokers/README.md";
    let faults = found.faults.into_iter().map(|what| Finding::fault(CHECK, what, remedy)).collect();
    let host = &settings.host;
    Ok(or_well(faults, CHECK, || format!("{host}: a device cannot publish as another, nor hear it")))
}
