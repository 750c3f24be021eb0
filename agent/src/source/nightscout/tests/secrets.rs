//! Who may read, and who is trusted.

use std::sync::OnceLock;

use super::*;

#[tokio::test]
async fn a_pass_that_has_expired_is_asked_for_again() {
    let mut world = World::with_token("");
    world.site.store().open = false;
    world.site.store().pass_uses = 3;
    for _ in 0..20 {
        world.site.store().write_v3(Kind::Entries, NOW_MS, sgv(100));
        assert_eq!(world.look().await, 2);
    }
    let asked = world.site.asked();
    let passes = asked.iter().filter(|asked| asked.target.contains("/authorization/request/")).count();
    assert!((40..80).contains(&passes), "{passes} of {}", asked.len());
    let bearer = |asked: &emulators::nightscout::Asked| asked.header("authorization").is_some();
    assert!(asked.iter().filter(|asked| !asked.target.contains("/authorization/")).all(bearer));
    assert!(asked.iter().all(|asked| !asked.target.contains(TOKEN) || asked.target.contains("/authorization/")));
}

#[tokio::test]
async fn a_token_that_is_refused_is_said_and_a_new_one_taken_up() {
    let mut world = World::with_token("");
    world.site.store().token = Some("reader-fedcba9876543210".into());
    assert_eq!(world.try_look().await, Err(Problem::Unauthorized));
    assert_eq!(world.site.asked().len(), 1, "a site slows down who is refused: it is asked once");
    let file = world.folder.path().join("token");
    std::fs::remove_file(&file).unwrap();
    let problem = world.try_look().await.unwrap_err().to_string();
    assert!(problem.contains("`token_file`: cannot open"), "{problem}");
    certs::key_file::create_private(&file, b"reader-fedcba9876543210\n").unwrap();
    world.look().await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "x").unwrap();
    world.restart();
    let problem = world.try_look().await.unwrap_err().to_string();
    assert!(problem.contains("chmod 600"), "{problem}");
}

#[tokio::test]
async fn an_api_secret_is_sent_hashed_and_never_to_the_newer_interface() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    certs::key_file::create_private(&file, b"this is my long pass phrase\n").unwrap();
    let site = Site::start(None).unwrap();
    site.store().open = false;
    site.store().api_secret = Some("b723e97aa97846eb92d5264f084b2823f57c4aa1".into());
    site.store().write_v1(Kind::Entries, NOW_MS, sgv(100));
    let mut world = World::new(site, folder, &format!("api_secret_file = {file:?}"));
    assert_eq!(world.look().await, 2);
    assert!(world.site.asked().iter().all(|asked| asked.target.starts_with("/api/v1/")));
    world.site.store().api_secret = None;
    assert_eq!(world.try_look().await, Err(Problem::Unauthorized));
}

#[tokio::test]
async fn an_old_site_takes_the_token_itself() {
    let mut world = World::with_token("");
    world.site.store().has_v3 = false;
    world.site.store().open = false;
    world.site.store().write_v1(Kind::Entries, NOW_MS, sgv(100));
    // It gives no passes either.
    world.site.spoil([Fault::Status(404, None)]);
    assert_eq!(world.look().await, 2);
    let shown = world.site.asked().iter().filter(|asked| asked.header("api-secret") == Some(TOKEN)).count();
    assert!(shown >= 4, "{shown}");
}

#[tokio::test]
async fn this_machine_is_not_asked_unless_that_is_meant() {
    let mut world = World::open("");
    world.settings.allow_private_addresses = false;
    world.restart();
    assert_eq!(world.try_look().await, Err(Problem::Private));
    assert!(world.site.asked().is_empty());
}

/// An authority and a site with its certificate, for the time that it is in these tests.
fn over_tls() -> (Site, tempfile::TempDir) {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()));
    let folder = tempfile::tempdir().unwrap();
    let at = std::time::UNIX_EPOCH + Duration::from_micros(NOON.0.unsigned_abs()) - Duration::from_secs(86_400);
    let authority = certs::Authority::create(&folder.path().join("ca"), "test", 30, at).unwrap();
    let made = authority.issue_server(&["localhost"], 10, at).unwrap();
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(made.leaf.pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(provider));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let site = Site::start(Some(Arc::new(config.with_single_cert(chain, key).unwrap()))).unwrap();
    (site, folder)
}

#[tokio::test]
async fn over_tls_only_a_certificate_that_is_trusted_and_for_that_name_will_do() {
    let (site, folder) = over_tls();
    let authority = folder.path().join("ca/ca.crt");
    site.store().write_v1(Kind::Entries, NOW_MS, sgv(100));
    let port = site.port;
    let mut world = World::new(site, folder, "");
    for (url, trusted, says) in [
        (format!("https://localhost:{port}"), true, ""),
        (format!("https://127.0.0.1:{port}"), true, "another name"),
        (format!("https://localhost:{port}"), false, "not trusted"),
        (format!("http://localhost:{port}"), true, "the connection broke"),
    ] {
        let trust = if trusted { format!("authority_file = {authority:?}\n") } else { String::new() };
        let text = format!("url = \"{url}\"\nallow_private_addresses = true\nallow_http = true\n{trust}");
        world.settings = toml::from_str(&text).unwrap();
        world.restart();
        match world.try_look().await {
            Ok(()) => assert_eq!((says, world.taken.len()), ("", 2)),
            Err(problem) => {
                let text = problem.to_string();
                assert!(!says.is_empty() && text.contains(says), "{text}");
                assert!(!text.contains("localhost") && !text.contains("127.0.0.1"), "{text}");
            }
        }
    }
}
