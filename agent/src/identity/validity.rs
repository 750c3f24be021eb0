//! By which time the gateway's certificate is judged.
//!
//! A device without a battery wakes up in 1970, when no certificate is valid yet, and it learns the time from the
//! gateway. So the first connection takes the certificate's own time for granted. That is the best there is: the peer
//! still proves that it holds the key of a certificate that our authority signed for that very name; what it could be
//! is the holder of one that has expired meanwhile, and all that it gets is readings, encrypted to it. As soon as a
//! receipt has brought the time, the next connection is judged by it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::clock::{BootClock, system_wall_clock};

/// Certificates of a chain that may each be valid from a later time than the one before.
const CHAIN_MAX: usize = 8;

/// Judges by the time that this device knows.
#[derive(Debug)]
pub(super) struct Timely {
    webpki: Arc<WebPkiServerVerifier>,
    clock: Arc<BootClock>,
}

impl Timely {
    pub(super) fn new(webpki: Arc<WebPkiServerVerifier>, clock: Arc<BootClock>) -> Self {
        Self { webpki, clock }
    }
}

/// Judges all but the time.
#[derive(Debug)]
pub(super) struct Timeless {
    webpki: Arc<WebPkiServerVerifier>,
}

impl Timeless {
    pub(super) fn new(webpki: Arc<WebPkiServerVerifier>) -> Self {
        Self { webpki }
    }
}

/// What is judged.
#[derive(Clone, Copy)]
struct Shown<'a> {
    webpki: &'a WebPkiServerVerifier,
    end_entity: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
}

impl Shown<'_> {
    fn verify(&self, at: UnixTime) -> Result<ServerCertVerified, Error> {
        self.webpki.verify_server_cert(self.end_entity, self.intermediates, self.name, self.ocsp, at)
    }

    /// By the clock of this boot, or else by the system's: should either have been set wrong once, or step by years
    /// now, the other keeps the device connected. What has expired has expired by both.
    fn timely(&self, clock: &BootClock) -> Result<ServerCertVerified, Error> {
        let known = [clock.wall_clock(), system_wall_clock()];
        let mut verdict = Err(Error::General("the time is not known".to_owned()));
        for now in known.into_iter().flatten() {
            let now = Duration::from_micros(u64::try_from(now.0).unwrap_or(0));
            verdict = self.verify(UnixTime::since_unix_epoch(now));
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }

    /// At the first instant at which the whole chain is valid, if there is one.
    fn timeless(&self) -> Result<ServerCertVerified, Error> {
        let mut at = UnixTime::since_unix_epoch(Duration::ZERO);
        for _ in 0..CHAIN_MAX {
            match self.verify(at) {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                    at = not_before;
                }
                verdict => return verdict,
            }
        }
        self.verify(at)
    }
}

/// Both verify as rustls does, but for the time.
macro_rules! verifier {
    ($type:ty, $judge:expr) => {
        impl ServerCertVerifier for $type {
            fn verify_server_cert(
                &self,
                end_entity: &CertificateDer<'_>,
                intermediates: &[CertificateDer<'_>],
                name: &ServerName<'_>,
                ocsp: &[u8],
                _system_time: UnixTime,
            ) -> Result<ServerCertVerified, Error> {
                $judge(self, Shown { webpki: &self.webpki, end_entity, intermediates, name, ocsp })
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                self.webpki.verify_tls12_signature(message, certificate, signed)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                self.webpki.verify_tls13_signature(message, certificate, signed)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.webpki.supported_verify_schemes()
            }
        }
    };
}
verifier!(Timely, |own: &Timely, shown: Shown<'_>| shown.timely(&own.clock));
verifier!(Timeless, |_: &Timeless, shown: Shown<'_>| shown.timeless());
