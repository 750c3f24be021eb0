//! Secrets that everybody knows.

use std::process::Command;

use crate::bed::Bed;

fn influx(bed: &Bed, token: &str, url: &str) -> String {
    let token = bed.write("token", &format!("{token}\n"), 0o600);
    format!("[timeseries]\ntype = \"influx-2\"\nurl = \"{url}\"\norg = \"o\"\nbucket = \"b\"\ntoken_file = {token:?}\n")
}

#[test]
fn passwords_out_of_a_book_are_faults_and_short_ones_warnings_and_neither_is_printed() {
    let mut bed = Bed::new();
    let url = "https://influx.local:8086";
    for (token, expected) in [
        ("6f1d0c53a4b8e29b7d", None),
        ("password", Some(("fault", "`timeseries.token_file` holds a password out of a book"))),
        ("ChangeMe", Some(("fault", "`timeseries.token_file` holds a password out of a book"))),
        ("x7$kq2", Some(("warning", "`timeseries.token_file` holds a password of less than 12 characters"))),
    ] {
        bed.tables = influx(&bed, token, url);
        match expected {
            None => bed.assert_well(),
            Some((level, words)) => bed.assert_finds(level, "samples", words),
        }
        assert!(token == "password" || !bed.doctor(&[]).text.to_lowercase().contains(&token.to_lowercase()));
    }
    bed.tables =
        bed.tables.replace("influx-2", "influx-1").replace("org = \"o\"\nbucket", "user = \"grafana-7f3a\"\ndatabase");
    bed.tables = bed.tables.replace("token_file", "password_file");
    bed.write("token", "grafana-7f3a\n", 0o600);
    bed.assert_finds("fault", "samples", "`timeseries.password_file` holds a password out of a book");
}

#[test]
fn a_key_for_receipts_that_is_printed_somewhere_is_a_fault() {
    let mut bed = Bed::new();
    let key = bed.path("receipts.key");
    bed.tables = format!("[receipts]\nkey_file = {key:?}\n");
    // PKCS#8 around an Ed25519 seed (RFC 8410, section 7).
    let pkcs8 = |seed: [u8; 32]| {
        let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        certs::pem_file::to_pem("PRIVATE KEY", &[&head[..], &seed].concat())
    };
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]).output().unwrap();
    bed.write("receipts.key", std::str::from_utf8(&made.stdout).unwrap(), 0o600);
    bed.assert_well();
    let mut printed = [0; 32]; // RFC 8032, section 7.1, test 2
    let digits = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    for (place, byte) in printed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[place * 2..][..2], 16).unwrap();
    }
    for seed in [[7; 32], printed] {
        bed.write("receipts.key", &pkcs8(seed), 0o600);
        bed.assert_finds("fault", "samples", "`receipts.key_file` holds a key that is printed");
    }
}

#[test]
fn addresses_that_were_never_filled_in_are_warnings() {
    let mut bed = Bed::new();
    for (url, is_sample) in [
        ("https://influx.local:8086", false),
        ("https://influx.example:8086", true),
        ("https://influx.example.org/x", true),
        ("https://example.com", true),
        ("https://notexample.com", false),
    ] {
        bed.tables = influx(&bed, "6f1d0c53a4b8e29b7d", url);
        if is_sample {
            bed.assert_finds("warning", "samples", "`timeseries.url` still says https://");
        } else {
            bed.assert_well();
        }
    }
}
