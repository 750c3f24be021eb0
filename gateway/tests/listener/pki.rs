//! A certificate authority for one test.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tributary_gateway::enrol::Claims;
use tributary_gateway::ingest::listener::tls;

pub(crate) struct Pki {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate, its key, and both as files for commands.
pub(crate) struct Leaf {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test"); // not the leaves' name: OpenSSL
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "ca.crt", &certificate.pem());
        Self { root: certificate.der().clone(), issuer: Issuer::new(params, key), folder }
    }

    pub(crate) fn root_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    pub(crate) fn leaf(&self, name: &str, serial: u64, usage: ExtendedKeyUsagePurpose, valid_until: i32) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![usage];
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(valid_until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            certificate_file: write(&self.folder, &format!("{name}-{serial}.crt"), &certificate.pem()),
            key_file: write(&self.folder, &format!("{name}-{serial}.key"), &key.serialize_pem()),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    pub(crate) fn device(&self, name: &str) -> Leaf {
        self.leaf(name, 7, ExtendedKeyUsagePurpose::ClientAuth, 2100)
    }

    pub(crate) fn crl(&self, revoked: &[u64]) -> CertificateRevocationListDer<'static> {
        self.crl_until(revoked, 2100)
    }

    pub(crate) fn crl_until(&self, revoked: &[u64], year: i32) -> CertificateRevocationListDer<'static> {
        let revoke = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoke).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().into()
    }

    pub(crate) fn server(&self, crls: Vec<CertificateRevocationListDer<'static>>) -> Arc<ServerConfig> {
        self.server_with(crls, Claims::default())
    }

    pub(crate) fn server_with(
        &self,
        crls: Vec<CertificateRevocationListDer<'static>>,
        claims: Claims,
    ) -> Arc<ServerConfig> {
        self.server_beside(&[], crls, claims)
    }

    /// The same, which trusts the authorities of `others` too.
    pub(crate) fn server_beside(
        &self,
        others: &[&Self],
        crls: Vec<CertificateRevocationListDer<'static>>,
        claims: Claims,
    ) -> Arc<ServerConfig> {
        let roots = std::iter::once(self).chain(others.iter().copied()).map(|pki| pki.root.clone()).collect();
        let own = self.leaf("localhost", 1, ExtendedKeyUsagePurpose::ServerAuth, 2100);
        let tls_min = tributary_gateway::tls::TlsMin::default();
        tls::server_config(vec![own.certificate], own.key, roots, crls, claims, tls_min).unwrap()
    }

    /// A client's TLS, which trusts this authority and shows `leaf`.
    pub(crate) fn client(&self, leaf: Option<Leaf>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match leaf {
            Some(leaf) => builder.with_client_auth_cert(vec![leaf.certificate], leaf.key).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}
