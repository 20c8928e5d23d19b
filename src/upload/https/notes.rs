//! What was seen on the way to a server, as far as it went: `omsd check` says with it where the way ends.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Hop;
use crate::upload::oms::one_line;

/// The way of the last connection, or of the last attempt at one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Who is asked first: the proxy or the server. `None`: nobody yet.
    pub hop: Option<Hop>,
    /// Its name has an address.
    pub found: bool,
    /// The address that took the connection.
    pub address: Option<SocketAddr>,
    /// Time that connecting took.
    pub connect_ms: u64,
    /// The proxy leads to the server.
    pub tunnelled: bool,
    /// Protocol and suite that were agreed on; empty: TLS does not stand.
    pub tls: String,
    /// Who issued the certificate that the server showed, whether it is believed or not; empty: it showed none.
    pub issuer: String,
}

impl Notes {
    /// The name is known, everything behind it is to come.
    pub(super) fn begin(&mut self) {
        *self = Notes { hop: self.hop.take(), found: self.found, ..Notes::default() };
    }
}

/// Notes that the steps of a connection share. There is one thread: nobody ever waits for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Notes>>);

impl Shared {
    pub(super) fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn notes(&self) -> Notes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_tls(&self, conn: &ClientConnection) {
        let version = match conn.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let suite = conn.negotiated_cipher_suite().map(|suite| suite.suite());
        self.note(|notes| notes.tls = format!("{version}, {}", suite.and_then(|suite| suite.as_str()).unwrap_or("?")));
    }
}

/// What the TLS library's own verifier checks, without the revocation lists that it would bring into the program; and a note of
/// the issuer before it judges.
pub(super) struct Witness {
    pub roots: Arc<RootCertStore>,
    pub algorithms: WebPkiSupportedAlgorithms,
    pub notes: Shared,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.notes.note(|notes| notes.issuer = issuer(end_entity).unwrap_or_default());
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> alloc::vec::Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

/// Who a certificate (DER, maybe hostile) says issued it, as `O=..., CN=...`. `None` for what is no certificate.
/// Source: RFC 5280 section 4.1.
fn issuer(certificate: &[u8]) -> Option<String> {
    const VERSION: u8 = 0xa0;
    const SHOWN: [(&[u8], &str); 2] = [(&[0x55, 4, 3], "CN"), (&[0x55, 4, 10], "O")];
    const PART_BYTES_MAX: usize = 64;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut body, _) = element(certificate)?;
    if body.first() == Some(&VERSION) {
        body = element(body)?.2;
    }
    let after_serial = element(body)?.2;
    let after_algorithm = element(after_serial)?.2;
    let (_, mut name, _) = element(after_algorithm)?;
    let mut text = String::new();
    while let Some((_, part, behind)) = element(name) {
        name = behind;
        let (_, kind, value) = element(element(part)?.1)?;
        let Some((_, label)) = SHOWN.iter().find(|(shown, _)| *shown == kind) else { continue };
        let comma = if text.is_empty() { "" } else { ", " };
        let value = String::from_utf8_lossy(element(value)?.1);
        text.push_str(&format!("{comma}{label}={}", one_line(&value, PART_BYTES_MAX)));
    }
    Some(text)
}

/// One element off the front of DER: its tag, what is in it, what is behind it. Source: ITU-T X.690.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    // A length of 128 or more stands behind the number of its bytes.
    let long = usize::from(first.saturating_sub(0x80));
    let (length, rest) = rest.split_at_checked(long).filter(|_| long <= 3)?;
    let length = match long {
        0 => usize::from(first & 0x7f),
        _ => length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)),
    };
    let (inside, behind) = rest.split_at_checked(length)?;
    Some((tag, inside, behind))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Authority, CLIENT_CERTIFICATE};
    use super::*;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn the_issuer_is_read_from_certificates_of_every_length_of_anything() {
        let authority = Authority::new("notes test CA");
        let pem = std::fs::read(&authority.file).unwrap();
        let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
        assert_eq!(issuer(&certificate).as_deref(), Some("CN=notes test CA"));
        let ours = CertificateDer::from_pem_slice(CLIENT_CERTIFICATE.certificate_pem.as_bytes()).unwrap();
        assert!(issuer(&ours).is_some_and(|text| text.ends_with("O=Microsoft")), "{:?}", issuer(&ours));
        for end in 0..ours.len() {
            let _ = issuer(&ours[..end]);
        }
        assert_eq!(issuer(b"no certificate"), None);
    }
}
