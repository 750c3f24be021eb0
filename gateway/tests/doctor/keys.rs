//! Keys that are weak, and keys that two have.

use std::process::Command;

use proto::DeviceId;
use tributary_gateway::store::{Item, Ledger as _, sqlite};

use crate::bed::{Bed, days};

/// A certificate that signs itself, by the `openssl` command: the tools here make no weak ones.
fn openssl(bed: &Bed, name: &str, kind: &[&str]) -> String {
    let [certificate, key] = ["crt", "key"].map(|ending| bed.path(&format!("{name}.{ending}")));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "300", "-subj", &format!("/CN={name}")]).args(kind);
    let made = command.arg("-keyout").arg(key).arg("-out").arg(&certificate).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::read_to_string(certificate).unwrap()
}

#[test]
fn keys_of_rsa_and_of_other_curves_and_signatures_with_sha_1_are_faults() {
    let bed = Bed::new();
    let ec = |curve: &'static str| ["-newkey", "ec", "-pkeyopt", curve];
    let (p256, p384) = (ec("ec_paramgen_curve:P-256"), ec("ec_paramgen_curve:P-384"));
    let (bitcoin, short) = (ec("ec_paramgen_curve:secp256k1"), ec("ec_paramgen_curve:secp224r1"));
    let cases: [(&[&str], Option<&str>); 8] = [
        (&p256, None),
        (&p384, None),
        (&["-newkey", "ed25519"], None),
        (&["-newkey", "rsa:2048"], Some("has an RSA key of 2048 bits")),
        (&["-newkey", "rsa:4096"], Some("has an RSA key of 4096 bits")),
        (&bitcoin, Some("has a key on curve 1.3.132.0.10")),
        (&short, Some("has a key on curve 1.3.132.0.33")),
        (&[&p256[..], &["-sha1"]].concat(), Some("is signed with SHA-1")),
    ];
    for (place, (kind, finding)) in cases.into_iter().enumerate() {
        bed.write("own.crt", &openssl(&bed, &format!("own-{place}"), kind), 0o644);
        match finding {
            None => bed.assert_well(),
            Some(words) => bed.assert_finds("fault", "keys", words),
        }
    }
}

#[test]
fn a_weak_key_is_a_fault_of_an_authority_here_and_a_warning_of_one_elsewhere() {
    let mut bed = Bed::new();
    let weak = openssl(&bed, "weak", &["-newkey", "rsa:2048"]);
    let weak = bed.write("weak.crt", &weak, 0o644);
    let token = bed.write("token", "6f1d0c53a4b8e29b7d\n", 0o600);
    bed.tables = format!(
        "[timeseries]\ntype = \"influx-2\"\nurl = \"https://influx.local:8086\"\norg = \"o\"\nbucket = \"b\"\n\
         token_file = {token:?}\nauthority_file = {weak:?}\n"
    );
    bed.assert_finds("warning", "keys", "its owner should have");
    bed.tables.clear();
    bed.assert_well();
    let both = std::fs::read_to_string(bed.path("ca/ca.crt")).unwrap() + &std::fs::read_to_string(weak).unwrap();
    let both = bed.write("both.crt", &both, 0o644);
    bed.listener = format!("crl_file = {:?}\nauthority_file = {both:?}\n", bed.authority.crl_path());
    bed.assert_finds("fault", "keys", "has an RSA key of 2048 bits");
}

#[test]
fn one_key_under_two_names_is_a_fault_and_a_key_that_is_kept_at_a_renewal_is_none() {
    let bed = Bed::new();
    let key = certs::signing_request::new_key().unwrap();
    let request = certs::signing_request::request(&key, "meter-7").unwrap();
    let sign = |device: &str, begun: i64| bed.authority.sign_request(&request, device, 80, days(begun)).unwrap();
    bed.know(&sign("meter-7", 0), "meter-7");
    bed.know(&sign("meter-7", 0), "meter-7");
    bed.assert_well();
    bed.know(&sign("meter-8", 0), "meter-8");
    bed.assert_finds(
        "fault",
        "shared-keys",
        "CN=meter-7 (device meter-7) and CN=meter-7 (device meter-7) and CN=meter-8",
    );
}

#[test]
fn a_certificate_that_was_connected_from_two_places_is_a_fault() {
    let bed = Bed::new();
    let device: DeviceId = "meter-7".parse().unwrap();
    let contest = |now| {
        let mut store = sqlite::Store::open(&bed.path("gateway.db"), now).unwrap();
        store.writer.record(&[Item::Contested { device: device.clone() }]).unwrap();
    };
    contest(|| proto::Instant(tributary_gateway::now().0 - 30 * 86_400_000_000));
    bed.assert_well();
    contest(tributary_gateway::now);
    bed.assert_finds("fault", "shared-keys", "meter-7 was connected from two places at once");
}
