//! TLS as the listener wants it: a client certificate, checked to the root, on every single connection.

use std::sync::Arc;
use std::time::Duration;

use certs::identity::IdentityError;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::enrol::Claims;
use crate::tls::TlsMin;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody could connect.
    #[error("there is no certificate of an authority that signs devices; give at least one")]
    NoRoots,
    /// One of the authority's certificates cannot be used.
    #[error("a certificate of the authority that signs devices cannot be used")]
    Root(#[source] rustls::Error),
    /// The verifier was refused, as with a revocation list that does not decode.
    #[error("the authority's certificates or revocation lists cannot be used")]
    Verifier(#[from] VerifierBuilderError),
    /// The gateway's own certificate or key cannot be used, or they do not belong together.
    #[error("the gateway's certificate and key cannot be used; do they belong together?")]
    Own(#[source] rustls::Error),
}

/// Revocation lists, and what becomes of those of whom they say nothing.
#[derive(Clone, Debug)]
pub struct Lists {
    /// The lists; where there is none, nobody is on one.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// What becomes of a certificate whose authority has none of them.
    pub unlisted: Unlisted,
}

/// What becomes of a certificate whose authority has no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// Nobody knows whether it is revoked: it is not let in.
    Refused,
    /// The lists are not meant for it.
    LetIn,
}

impl From<Vec<CertificateRevocationListDer<'static>>> for Lists {
    fn from(crls: Vec<CertificateRevocationListDer<'static>>) -> Self {
        Self { crls, unlisted: Unlisted::Refused }
    }
}

/// TLS of `min` and newer with the gateway's `certificates` (leaf first) and `key`, for clients whose certificate leads to one
/// of `client_roots`.
///
/// With `lists`, every certificate of the chain below the root must be covered by one that is in date and does not name
/// it: unknown status is denied, unless they say otherwise. All that follows from the certificate alone is judged here: whom it names, what it is for,
/// its key, so that a peer whose certificate is no device's ends with the handshake and is never read from. Sessions are never resumed and there is no early data, so that each connection shows
/// its certificate and a revoked one cannot come back by a ticket.
///
/// Beside these, the certificate of a code among `claims` is taken, which signs itself; and that of a device that expired
/// so lately that `claims` lets it ask for its next one, if all else about it is as it should be. Whom `claims` says to be
/// cut off is refused, whatever the lists say.
pub fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_roots: Vec<CertificateDer<'static>>,
    lists: impl Into<Lists>,
    claims: Claims,
    min: TlsMin,
) -> Result<Arc<ServerConfig>, TlsError> {
    if client_roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let mut roots = RootCertStore::empty();
    for root in client_roots {
        roots.add(root).map_err(TlsError::Root)?;
    }
    let provider = Arc::new(ring::default_provider());
    let Lists { crls, unlisted } = lists.into();
    let lists_end = lists_end(&crls)?;
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    if !crls.is_empty() {
        // Whole chain and unknown-is-denied are the defaults; only the list's own end of life is not.
        verifier = verifier.with_crls(crls).enforce_revocation_expiration();
        if unlisted == Unlisted::LetIn {
            verifier = verifier.allow_unknown_revocation_status();
        }
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(min.versions())
        .map_err(TlsError::Own)?
        .with_client_cert_verifier(Arc::new(Admission { usual: verifier.build()?, lists_end, claims }))
        .with_single_cert(certificates, key)
        .map_err(TlsError::Own)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// What is spoken here, for clients that say what they mean to speak (ALPN, RFC 7301): one that means anything else was
/// led here by somebody in the middle, and is refused. The second is what Amazon's clients say.
const PROTOCOLS: [&[u8]; 2] = [b"mqtt", b"x-amzn-mqtt-ca"];

/// The second at which the first of the lists ends.
fn lists_end(crls: &[CertificateRevocationListDer<'_>]) -> Result<u64, TlsError> {
    let ends = crls.iter().map(|crl| {
        let end = certs::identity::list_ends(crl).map_err(|error| Error::General(error.to_string()));
        Ok(end.map_err(TlsError::Root)?.map_or(u64::MAX, |end| u64::try_from(end).unwrap_or(0)))
    });
    Ok(ends.collect::<Result<Vec<_>, TlsError>>()?.into_iter().min().unwrap_or(u64::MAX))
}

/// Whether a chain that is genuine is one that a device, or a claim that many share, may have.
fn is_of_a_device(leaf: &[u8], issuers: &[CertificateDer<'_>]) -> Result<(), Error> {
    let named = certs::identity::device_id(leaf);
    named.and_then(|_| certs::identity::check_issuers(issuers.iter().map(AsRef::as_ref))).map_err(|error| {
        let serial = certs::identity::serial(leaf).unwrap_or_default();
        tracing::warn!(serial, %error, "a certificate of our authority is no device's, and its connection ends");
        Error::InvalidCertificate(unfit(error))
    })
}

/// What TLS is to say of it (RFC 8446, section 6.2): bytes that are none are a bad certificate, a kind that devices may not
/// have is unsupported, and one that names nobody who could come in is denied access.
fn unfit(error: IdentityError) -> CertificateError {
    use IdentityError as Why;
    match error {
        Why::Malformed => CertificateError::BadEncoding,
        Why::TooLarge { .. } | Why::OtherUse | Why::OtherKeyUse | Why::WeakKey => CertificateError::InvalidPurpose,
        Why::NoName | Why::ManyNames { .. } | Why::NotDns | Why::NotADeviceId => {
            CertificateError::ApplicationVerificationFailure
        }
        Why::NotAnIssuer | Why::NotForServers | Why::MalformedCrl | Why::PartialCrl => {
            CertificateError::Other(OtherError(Arc::new(error)))
        }
    }
}

/// Takes devices by their authority, and claims by their key.
#[derive(Debug)]
struct Admission {
    usual: Arc<dyn ClientCertVerifier>,
    /// The second at which the first of the revocation lists ends.
    lists_end: u64,
    claims: Claims,
}

impl Admission {
    /// When a chain was good last, if what is wrong with it now is that the device's own certificate expired of late.
    /// Everything else has to be in date today: whoever issued it, and the lists that could have revoked it.
    fn was_good(&self, leaf: &[u8], issuers: &[CertificateDer<'_>], now: UnixTime) -> Option<UnixTime> {
        let until = self.claims.expired(leaf, now.as_secs())?;
        let is_good = |issuer: &CertificateDer<'_>| {
            certs::life(issuer).is_some_and(|(_, until)| u64::try_from(until).is_ok_and(|it| it >= now.as_secs()))
        };
        let is_all_good = self.lists_end >= now.as_secs() && issuers.iter().all(is_good);
        is_all_good.then_some(UnixTime::since_unix_epoch(Duration::from_secs(until)))
    }
}

impl ClientCertVerifier for Admission {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.usual.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // What the certificate says of itself does not count: that its owner has the key is shown by the handshake.
        if intermediates.is_empty() && self.claims.of(end_entity).is_some() {
            return Ok(ClientCertVerified::assertion());
        }
        let judged = self.usual.verify_client_cert(end_entity, intermediates, now);
        let is_expired = matches!(
            judged,
            Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }))
        );
        let judged = match self.was_good(end_entity, intermediates, now).filter(|_| is_expired) {
            // It may do no more than a claim: who comes in is judged again when it says what it wants.
            Some(until) => self.usual.verify_client_cert(end_entity, intermediates, until),
            None => judged,
        };
        let verified = judged?;
        is_of_a_device(end_entity, intermediates)?;
        // Whatever list it is on, or none: a list is of one authority, and a device may have had others.
        if self.claims.cuts().condemns_der(end_entity) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
