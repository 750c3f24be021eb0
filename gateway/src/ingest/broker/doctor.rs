//! Whether the broker lets one device publish as another: tried with a canary, a device that exists for nothing else.
//!
//! All of the table of topics is tried: on each topic of another the canary publishes, retains and leaves a last will; it
//! asks to hear each of them, and all of them by wildcards and shared subscriptions, and the broker's own. Each try has a
//! counterpart that must work, so that nothing is proven by silence: the canary publishes as somebody else and then as
//! itself, and the gateway must hear only the latter; the gateway writes to somebody else and then to the canary, which must
//! hear only the latter; the canary writes itself what only a gateway may, and then the gateway does.

use anyhow::Context;
use proto::DeviceId;

use super::settings::{Files, Settings};
use super::tls;
use probe::{Login, Mark, Probe};
use trial::Trial;

mod probe;
mod trial;

/// What the canary could do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Whose topics it tried.
    pub victim: DeviceId,
    /// What it could do and must not; empty when all is well.
    pub faults: Vec<String>,
}

/// Tries what a device must not be able to do. `canary` are the files of its certificate and key.
///
/// The gateway's own client is another one meanwhile; brokers that bind client ids to certificates take it for the same,
/// so there the gateway must not run, and what waits for it is forgotten (and sent again by devices).
///
/// # Errors
/// When it cannot be tried: nothing is proven then.
pub async fn examine(settings: &Settings, canary: Files) -> anyhow::Result<Findings> {
    let (certificate, _) = canary.own.as_ref().context("the canary has no certificate")?;
    let chain = certs::read_certificates(certificate)?;
    let leaf = chain.first().with_context(|| format!("{} holds no certificate", certificate.display()))?;
    let id: DeviceId = certs::identity::device_id(leaf)?.parse()?;
    let victim = victim_of(&id)?;
    let (tls, password) = super::member::read_identity(settings)?;
    anyhow::ensure!(tls.is_some(), "`broker.tls` is false: without certificates there is nothing to prove");
    let client_id = format!("{}-doctor", settings.client_id);
    let login = Login { settings, client_id: &client_id, tls, password };
    let gateway = Probe::connect(login, None).await.context("as the gateway")?;
    let identity = Identity { settings, files: &canary, id: &id };
    let mut trial = Trial { gateway, canary: identity.connect(None).await?, identity, victim: &victim };
    let mut faults = Vec::new();
    trial.publishes_as_another(&mut faults).await.context("try to publish as another")?;
    trial.wills_as_another(&mut faults).await.context("try to leave a last will as another")?;
    trial.hears_another(&mut faults).await.context("try to hear another")?;
    trial.writes_as_the_gateway(&mut faults).await.context("try to write a receipt")?;
    Ok(Findings { victim, faults })
}

/// Who the canary is, for as many connections as it needs.
struct Identity<'a> {
    settings: &'a Settings,
    files: &'a Files,
    id: &'a DeviceId,
}

impl Identity<'_> {
    async fn connect(&self, will: Option<&Mark>) -> anyhow::Result<Probe> {
        let tls = Some(tls::client_config(self.files)?);
        let login = Login { settings: self.settings, client_id: self.id.as_str(), tls, password: None };
        Probe::connect(login, will).await.context("as the canary")
    }
}

/// Somebody who is not there: the canary's name with another end.
fn victim_of(canary: &DeviceId) -> anyhow::Result<DeviceId> {
    let name: String = canary.as_str().chars().take(DeviceId::BYTES_MAX - "-victim".len()).collect();
    Ok(format!("{name}-victim").parse()?)
}
