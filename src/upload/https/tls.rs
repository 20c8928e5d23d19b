//! The TLS configuration: approved algorithms only, the client's identity.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::notes::{Shared, Witness};
use super::{HttpsError, Identity, TlsFault};
use crate::crypto;

/// Whether a finished client configuration says that it is FIPS: the module is in approved mode, and nothing unapproved is on
/// offer. Always false in the standard build, whose algorithms are approved but whose module is not validated.
pub fn fips() -> bool {
    configuration(RootCertStore::empty().into(), None, &Shared::default()).is_ok_and(|finished| finished.fips())
}

/// TLS 1.3 and 1.2 (with extended master secret), no resumption. In the FIPS build, one that is FIPS or none at all.
/// `notes`: where the issuer of each server's certificate is noted.
pub(super) fn configuration(
    roots: Arc<RootCertStore>,
    identity: Option<Identity>,
    notes: &Shared,
) -> Result<ClientConfig, HttpsError> {
    let provider = crypto::tls::approved();
    let witness = Witness { roots, algorithms: provider.signature_verification_algorithms, notes: notes.clone() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpsError::Tls((&error).into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(witness));
    let mut finished = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = parse_identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| HttpsError::Identity(error.to_string()))?
        }
    };
    finished.require_ems = true;
    finished.resumption = Resumption::disabled();
    if cfg!(feature = "fips") && !finished.fips() {
        return Err(HttpsError::Tls(TlsFault::Broken("this build's own configuration is not FIPS".into())));
    }
    Ok(finished)
}

fn parse_identity(identity: Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), HttpsError> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| HttpsError::Identity(format!("certificate: {error}")))?;
    if chain.is_empty() {
        return Err(HttpsError::Identity("the certificate file holds none".into()));
    }
    // While a renewal is under way the file holds two.
    let mut keys: Vec<_> = PrivateKeyDer::pem_slice_iter(identity.key_pem).flatten().collect();
    let fitting = keys.iter().position(|key| crypto::fits(key, &chain[0])).unwrap_or(0);
    if keys.is_empty() {
        return Err(HttpsError::Identity("the key file holds no key that can be read".into()));
    }
    Ok((chain, keys.swap_remove(fitting)))
}

/// The part of a key file, from `BEGIN` to the next, whose key is the certificate's.
pub fn fitting_key<'a>(certificate_pem: &str, key_pem: &'a str) -> Option<&'a str> {
    const BEGIN: &str = "-----BEGIN";
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
    let ends = key_pem.match_indices(BEGIN).skip(1).map(|(at, _)| at).chain([key_pem.len()]);
    let parts = key_pem.match_indices(BEGIN).zip(ends).map(|((start, _), end)| &key_pem[start..end]);
    let fits =
        |part: &&str| PrivateKeyDer::from_pem_slice(part.as_bytes()).is_ok_and(|key| crypto::fits(&key, &certificate));
    parts.into_iter().find(fits)
}
