//! What is said where no certificate comes of it.

use super::*;
use crate::uplink::reason::tests::{authority, secured};
use crate::uplink::{KeySettings, Pace};

/// What is said of asking with a code at `port` of this machine, of a device that trusts the authority `own` in `folder`.
async fn said(folder: &Path, port: u16) -> String {
    let uplink = Settings {
        host: "localhost".to_owned(),
        port,
        authority_file: folder.join("own/ca.crt"),
        certificate_file: folder.join("device.crt"),
        key: KeySettings::File(folder.join("device.key")),
        receipt_key_file: None,
        provisioning_template: None,
        pace: Pace { reconnect_min: Duration::from_secs(9), ..Pace::default() },
    };
    let (device, claim) = ("meter-7".parse().unwrap(), Claim::Code(Code::draw().unwrap()));
    let enrolment =
        Enrolment { device: &device, uplink: &uplink, claim: &claim, patience: Duration::ZERO, again: false };
    format!("{:#}", enrolment.run().await.unwrap_err())
}

#[tokio::test]
async fn where_nobody_is_that_is_said_once_and_a_broker_is_suspected_only_where_a_code_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (own, _) = (authority(folder.path(), "own"), authority(folder.path(), "other"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = said(folder.path(), closed).await;
    assert!(nobody.contains(&format!("nobody answers at localhost:{closed}: ")), "{nobody}");
    assert_eq!(nobody.matches("refused").count(), 1, "{nobody}");
    let elsewhere = said(folder.path(), secured(&own, "hub").await).await;
    assert!(elsewhere.contains("is for hub and not for localhost"), "{elsewhere}");
    for said in [nobody, elsewhere] {
        assert!(!said.contains("broker") && said.contains("it goes on"), "{said}");
    }
    // It knows no such code.
    let refused = said(folder.path(), secured(&own, "localhost").await).await;
    assert!(refused.contains("refused the handshake") && refused.contains("behind a broker"), "{refused}");
    assert_eq!(refused.matches("broker").count(), 1, "{refused}");
}
