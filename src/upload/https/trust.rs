//! Whose certificates are believed: the host's authorities, those that Azure's endpoints are issued by, and `ca_file`'s.
//!
//! The second kind came with the program, since a host whose bundle is of 2011 has none of them. `SSL_CERT_FILE` stands for the
//! first two: whoever sets it means this file and no other. There is no way to believe a certificate that none of them signed.

use alloc::format;
use std::env;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, TrustAnchor};

use super::HttpsError;
use crate::limits::CA_BYTES_MAX;

/// Where distributions keep the bundle of certificate authorities, below `/`; the first that holds one is taken.
const SYSTEM_BUNDLES: [&str; 8] = [
    "etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Alpine, Gentoo
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, Red Hat from 6 on
    "etc/pki/tls/certs/ca-bundle.crt",   // Red Hat 5
    "etc/ssl/ca-bundle.pem",             // SUSE
    "var/lib/ca-certificates/ca-bundle.pem", // SUSE, where the one before leads
    "etc/ssl/certs/ca-bundle.crt",       // NixOS and others
    "etc/ssl/cert.pem",                  // Alpine, older ones
    "usr/share/ssl/certs/ca-bundle.crt", // Red Hat 4
];

/// Name and key of each authority that came with the program: see `build.rs`.
const AZURE_ROOTS: &[(&[u8], &[u8])] = &include!(concat!(env!("OUT_DIR"), "/azure_roots.rs"));

/// All that is believed.
pub(super) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, HttpsError> {
    let mut roots = RootCertStore::empty();
    match env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        Some(path) => add_bundle(&mut roots, Path::new(&path))?,
        None => add_usual(&mut roots, Path::new("/")),
    }
    if let Some(path) = ca_file {
        add_bundle(&mut roots, path)?;
    }
    Ok(roots)
}

/// The bundle of the system whose root directory this is, if it has one, and what came with the program.
fn add_usual(roots: &mut RootCertStore, system: &Path) {
    let _ = SYSTEM_BUNDLES.iter().find(|path| add_bundle(roots, &system.join(path)).is_ok());
    roots.extend(AZURE_ROOTS.iter().map(|(name, key)| TrustAnchor {
        subject: Der::from_slice(name),
        subject_public_key_info: Der::from_slice(key),
        name_constraints: None,
    }));
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
    use super::super::tests::Authority;
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A root directory without any bundle; gone when dropped.
    struct System(PathBuf);

    impl System {
        fn new(name: &str) -> System {
            let root = env::temp_dir().join(format!("omsd-trust-{}-{name}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            System(root)
        }

        fn write(&self, path: &str, content: &[u8]) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        /// How many are believed beside those that came with the program.
        #[track_caller]
        fn check(&self, expected: usize) {
            let mut roots = RootCertStore::empty();
            add_usual(&mut roots, &self.0);
            assert_eq!(roots.len(), expected + AZURE_ROOTS.len(), "{}", self.0.display());
        }
    }

    impl Drop for System {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_bundle_is_found_where_each_distribution_keeps_it() {
        let certificate = fs::read(&Authority::new("trust test CA").file).unwrap();
        for (index, path) in SYSTEM_BUNDLES.iter().enumerate() {
            let system = System::new(&format!("at-{index}"));
            system.check(0);
            system.write(path, &certificate);
            system.check(1);
        }
    }

    #[test]
    fn a_bundle_without_a_usable_certificate_gives_way_to_the_next_and_bad_ones_are_passed_over() {
        let certificate = fs::read(&Authority::new("trust order test CA").file).unwrap();
        let system = System::new("order");
        system.write(SYSTEM_BUNDLES[0], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        system.check(0);
        system.write(
            SYSTEM_BUNDLES[1],
            &[&b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"[..], &certificate].concat(),
        );
        system.check(1);
        system.write(SYSTEM_BUNDLES[0], &[&certificate[..], &certificate].concat());
        system.check(2);
    }

    #[test]
    fn what_azure_is_issued_by_is_believed_on_a_host_without_it() {
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
