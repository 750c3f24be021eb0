//! AWS IoT as the authority: moto's server, and by contract where that is laxer than the service.

use std::path::Path;
use std::time::SystemTime;

use gateway::config::authority::AwsIot as Settings;
use gateway::enrol::authority::aws_iot::AwsIot;

mod account;
mod contract;
mod moto;

const POLICY: &str = "tributary-device";

/// What leads to a server at `url`; the file of credentials lies in `folder`.
fn settings(url: &str, folder: &Path) -> Settings {
    let file = folder.join("credentials");
    if !file.exists() {
        let text = b"[default]\naws_access_key_id = any\naws_secret_access_key = any\n";
        certs::key_file::create_private(&file, text).unwrap();
    }
    Settings {
        region: "us-east-1".to_owned(),
        policy: POLICY.to_owned(),
        thing_type: None,
        endpoint_url: Some(url.to_owned()),
        credentials_file: Some(file),
    }
}

fn authority(url: &str, folder: &Path) -> AwsIot {
    AwsIot::new(&settings(url, folder)).unwrap()
}

/// A request for a new key, DER.
fn request(device: &str) -> Vec<u8> {
    certs::signing_request::request(&certs::signing_request::new_key().unwrap(), device).unwrap()
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "certificates are made for now")]
    SystemTime::now()
}
