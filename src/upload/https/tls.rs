//! The TLS configuration: approved algorithms only, the trusted roots, the client's identity.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::env;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer, TrustAnchor};
use rustls::{ClientConfig, RootCertStore};

use super::{HttpsError, Identity};
use crate::crypto;
use crate::limits::CA_BYTES_MAX;

/// Where distributions keep the bundle of certificate authorities; the first that can be read is taken.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whether a finished client configuration says that it is FIPS: the module is in approved mode, and nothing unapproved is on
/// offer. Always false in the standard build, whose algorithms are approved but whose module is not validated.
pub fn fips() -> bool {
    configuration(RootCertStore::empty(), None).is_ok_and(|finished| finished.fips())
}

/// TLS 1.3 and 1.2 (with extended master secret), no resumption.
pub(super) fn configuration(roots: RootCertStore, identity: Option<Identity>) -> Result<ClientConfig, HttpsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::tls::approved()))
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpsError::Tls((&error).into()))?
        .with_root_certificates(roots);
    let mut finished = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = parse_identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| HttpsError::Identity(error.to_string()))?
        }
    };
    finished.require_ems = true;
    finished.resumption = Resumption::disabled();
    Ok(finished)
}

fn parse_identity(identity: Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), HttpsError> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| HttpsError::Identity(format!("certificate: {error}")))?;
    if chain.is_empty() {
        return Err(HttpsError::Identity("the certificate file holds none".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem)
        .map_err(|_| HttpsError::Identity("the key file holds no key that can be read".into()))?;
    Ok((chain, key))
}

/// Name and key of each authority that came with the program: see `build.rs`.
const AZURE_ROOTS: &[(&[u8], &[u8])] = &include!(concat!(env!("OUT_DIR"), "/azure_roots.rs"));

/// The system's authorities (or, on a host without any, those that came with the program) and those of `ca_file`.
pub(super) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, HttpsError> {
    let mut roots = system_roots()?;
    if let Some(path) = ca_file {
        add_bundle(&mut roots, path)?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, HttpsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        // Whoever sets it means this file and no other.
        add_bundle(&mut roots, &PathBuf::from(path))?;
        return Ok(roots);
    }
    for path in SYSTEM_BUNDLES {
        if add_bundle(&mut roots, Path::new(path)).is_ok() {
            return Ok(roots);
        }
    }
    roots.extend(AZURE_ROOTS.iter().map(|(name, key)| TrustAnchor {
        subject: Der::from_slice(name),
        subject_public_key_info: Der::from_slice(key),
        name_constraints: None,
    }));
    Ok(roots)
}

/// Streams a PEM file: one certificate at a time is in memory. Single ones that cannot be used are passed over, as bundles
/// hold odd old ones; a file without a usable one is an error.
fn add_bundle(roots: &mut RootCertStore, path: &Path) -> Result<(), HttpsError> {
    let trouble = |what: &dyn core::fmt::Display| HttpsError::Trust(format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| trouble(&error))?;
    let before = roots.len();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file.take(CA_BYTES_MAX))) {
        let Ok(certificate) = certificate else { continue };
        let _ = roots.add(certificate);
    }
    if roots.len() == before { Err(trouble(&"it holds no certificate that can be used")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_bundle_trusts_what_azure_is_issued_by() {
        for name in [
            "DigiCert Global Root G2",
            "DigiCert Global Root G3",
            "DigiCert TLS RSA4096 Root G5",
            "Microsoft ECC Root Certificate Authority 2017",
            "Microsoft RSA Root Certificate Authority 2017",
        ] {
            let names = |(subject, _): &(&[u8], &[u8])| subject.ends_with(name.as_bytes());
            assert!(AZURE_ROOTS.iter().any(names), "{name} is missing");
        }
        assert!(AZURE_ROOTS.len() < 20, "authorities that Azure has no use for");
    }
}
