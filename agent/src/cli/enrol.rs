//! `enrol`: the device's first certificate.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{ArgGroup, Args};

use super::owner::Owner;
use super::{At, log, say, set_in};
use crate::config::Config;
use crate::identity::claim::Claim;
use crate::identity::enrol::{Enrolment, typed};

/// Minutes that it is asked for, unless told otherwise.
const MINUTES: u64 = 15;
/// The longest that it is asked for: a week.
const MINUTES_MAX: u64 = 7 * 24 * 60;
/// A code is a line.
const TYPED_BYTES_MAX: u64 = 1024;
/// Whom to trust is for everybody to see.
const PUBLIC: u32 = 0o644;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["claim", "code", "claim_certificate"])))]
pub(super) struct Enrol {
    #[command(flatten)]
    at: At,
    /// The claim file that `tributary-gateway devices claim --out` wrote, mode 0600
    #[arg(long, value_name = "FILE")]
    claim: Option<PathBuf>,
    /// Read the code from standard input, one line: a code in an argument would be seen by others
    #[arg(long)]
    code: bool,
    /// The certificate that devices of one make share, PEM; with `--claim-key`
    #[arg(long, value_name = "FILE", requires = "claim_key")]
    claim_certificate: Option<PathBuf>,
    /// Its key, PEM, mode 0600
    #[arg(long, value_name = "FILE", requires = "claim_certificate")]
    claim_key: Option<PathBuf>,
    /// How long to ask again, while the operator has not said yes or the gateway is away
    #[arg(long, default_value_t = MINUTES, value_parser = clap::value_parser!(u64).range(1..=MINUTES_MAX))]
    minutes: u64,
    /// With a provisioning template: have another certificate, although the one that is there connects
    #[arg(long)]
    again: bool,
}

impl Enrol {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = Config::read(&self.at.config)?;
        log(None);
        let uplink = config.uplink().context("there is no [uplink] in this configuration: nowhere to enrol")?;
        let owner = Owner::of(&config)?;
        let claim = self.read(&uplink.authority_file)?;
        anyhow::ensure!(
            uplink.authority_file.exists(),
            "configuration {}: `uplink.authority_file`: {} is not there, and this claim does not say whom to trust: copy the \
             gateway's ca.crt there",
            self.at.config.display(),
            uplink.authority_file.display()
        );
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let patience = Duration::from_secs(self.minutes * 60);
        let again = self.again;
        let enrolment = Enrolment { device: &config.device.id, uplink: &uplink, claim: &claim, patience, again };
        let enrolled = runtime.block_on(enrolment.run());
        // Whatever came of it: another run goes on with what there is, and may not be root's.
        owner.map_or(Ok(()), |owner| owner.take(&uplink))?;
        enrolled.map_err(|error| set_in(&self.at.config, error))?;
        say(format_args!("{} is enrolled: {} has connected", config.device.id, uplink.certificate_file.display()))
    }

    /// The claim. Whom it says to trust is kept where nobody was named yet.
    fn read(&self, authority_file: &Path) -> anyhow::Result<Claim> {
        if let (Some(certificate_file), Some(key_file)) = (&self.claim_certificate, &self.claim_key) {
            return Ok(Claim::Shared { certificate_file: certificate_file.clone(), key_file: key_file.clone() });
        }
        let Some(path) = &self.claim else {
            let mut text = zeroize::Zeroizing::new(String::new());
            let input = std::io::stdin().lock();
            if input.is_terminal() {
                eprintln!("type the code, then Enter:");
            }
            input.take(TYPED_BYTES_MAX).read_line(&mut text).context("read the code")?;
            return typed(&text);
        };
        let (claim, anchors) = Claim::read(path)?;
        if let Some(anchors) = anchors.filter(|_| !authority_file.exists()) {
            certs::files::create(authority_file, anchors.as_bytes(), PUBLIC)?;
        }
        Ok(claim)
    }
}
