//! What is said of gateways that are not there, or are not what they should be: over real sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use certs::Authority;
use rumqttc::tokio_rustls::TlsAcceptor;
use rumqttc::{AsyncClient, MqttOptions, TlsConfiguration, Transport};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[allow(clippy::disallowed_methods, reason = "certificates that are valid now need to know when that is")]
fn now() -> SystemTime {
    SystemTime::now()
}

pub(crate) fn authority(folder: &Path, name: &str) -> Authority {
    Authority::create(&folder.join(name), name, 3_000, now() - Duration::from_secs(86_400)).unwrap()
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.anchor().clone()).unwrap();
    roots.into()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    rustls::crypto::ring::default_provider().into()
}

/// What is said to a device that trusts `trusted`, shows no certificate and dials `host` and `port`.
async fn said(trusted: &Authority, host: &str, port: u16) -> Reason {
    let tls = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(roots(trusted)).with_no_client_auth();
    let mut options = MqttOptions::new("meter-7", host, port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls))));
    let (_client, mut events) = AsyncClient::new(options, 1);
    Reason::new(&events.poll().await.unwrap_err(), host, port)
}

/// A server for one connection, which `serve` does; its port.
async fn serving<F: Future<Output = ()> + Send + 'static>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
    port
}

/// A server with a certificate of `issuer` for `name`, which wants one of its clients.
pub(crate) async fn secured(issuer: &Authority, name: &str) -> u16 {
    let own = issuer.issue_server(&[name], 1, now()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots(issuer), provider()).build().unwrap();
    let tls = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap();
    let tls = tls.with_client_cert_verifier(clients).with_single_cert(vec![own.leaf.der], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    serving(async move |stream| drop(acceptor.accept(stream).await)).await
}

#[tokio::test]
async fn each_says_whom_it_dialled_and_what_is_wrong_and_only_a_refusal_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (authority(folder.path(), "own"), authority(folder.path(), "other"));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let plain = serving(async |mut stream| {
        let _ = stream.write_all(b"220 mail.example ready\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let plain = plain.await;
    let curt = serving(async |mut stream| drop(stream.read(&mut [0; 9_999]).await)).await;
    for (host, port, words, is_refusal) in [
        ("localhost", closed, format!("nobody answers at localhost:{closed}: "), false),
        ("no..name", 8883, "no..name is not known: ".to_owned(), false),
        ("localhost", plain, format!("localhost:{plain} does not speak TLS: "), false),
        ("localhost", secured(&own, "hub").await, "is for hub and not for localhost; ".to_owned(), false),
        ("localhost", secured(&other, "localhost").await, "is of no authority in `uplink.auth".to_owned(), false),
        ("localhost", secured(&own, "localhost").await, "refused the handshake: ".to_owned(), true),
        ("localhost", curt, format!("localhost:{curt} closed the connection"), true),
    ] {
        let reason = said(&own, host, port).await;
        let text = reason.to_string();
        assert!(text.contains(&words) && text.contains(host), "{words}\n{text}");
        assert_eq!(reason.is_refusal(), is_refusal, "{text}");
        assert!(!reason.is_unwelcome() && !reason.is_for_good(), "{text}");
        assert!(std::error::Error::source(&reason).is_none(), "it is said once: {text}");
    }
}

#[test]
fn what_a_gateway_says_in_mqtt_is_told_apart() {
    let of = |code| Reason::new(&ConnectionError::ConnectionRefused(code), "hub", 8883);
    let misnamed = of(ConnectReturnCode::BadClientId);
    assert!(misnamed.is_refusal() && misnamed.is_for_good() && !misnamed.is_unwelcome(), "{misnamed}");
    assert!(misnamed.to_string().contains("`device.id`"), "{misnamed}");
    let unwelcome = of(ConnectReturnCode::NotAuthorized);
    assert!(unwelcome.is_refusal() && unwelcome.is_unwelcome() && !unwelcome.is_for_good(), "{unwelcome}");
    let busy = of(ConnectReturnCode::ServiceUnavailable);
    assert!(busy.to_string().starts_with("hub:8883 refused") && !busy.is_unwelcome(), "{busy}");
    let late = Reason::new(&ConnectionError::NetworkTimeout, "hub", 8883);
    assert!(late.to_string().starts_with("nobody answers at hub:8883") && !late.is_refusal(), "{late}");
}
