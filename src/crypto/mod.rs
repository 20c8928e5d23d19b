//! The one door to the cryptographic module: digests, signatures, keys, random numbers, and what TLS is made of. Which module
//! it is, the feature decides when the program is built: `ring`, AWS-LC with `aws-lc`, or with `fips` AWS-LC's FIPS module.
//!
//! Only what SP 800-131A approves is here: SHA-2, HMAC with it, RSA of 2048 bits or more, and for TLS what [`tls`] lists. MD5
//! and SHA-1 are nowhere in the program. CRC-32 in the ring file finds damage, it protects from nobody.

#[cfg(feature = "aws-lc")]
mod aws_lc;
pub mod der;
#[cfg(feature = "ring")]
mod ring;
pub mod tls;

#[cfg(feature = "aws-lc")]
use aws_lc as module;
#[cfg(feature = "ring")]
use ring as module;

#[cfg(all(feature = "ring", feature = "aws-lc"))]
compile_error!("one module or the other: for the FIPS build, --no-default-features --features std,fips");
#[cfg(not(any(feature = "ring", feature = "aws-lc")))]
compile_error!("`std` needs a cryptographic module: one of the features `ring`, `aws-lc` and `fips`");

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use module::library::rand::SystemRandom;
use module::library::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use module::library::{digest, hmac};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

#[cfg(feature = "fips")]
pub use module::{CERTIFICATE, version};
pub use module::{NAME, fips};

use crate::sys;

/// What can go wrong with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoError {
    /// What was given is no RSA private key of 2048 to 8192 bits, PKCS#1 or PKCS#8, not encrypted.
    NoRsaKey,
    /// The module did not do it: it has no random bytes, or its own checks failed.
    Module,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CryptoError::NoRsaKey => "this is no RSA private key of 2048 bits or more, in PKCS#1 or PKCS#8",
            CryptoError::Module => "the cryptographic module failed",
        })
    }
}

/// SHA-256 of the parts put together. Source: FIPS 180-4.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    array(context.finish().as_ref())
}

/// SHA-256 in hex, as files are known by.
pub fn sha256_hex(bytes: &[u8]) -> String {
    sha256(&[bytes]).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA-256 of the parts put together. Source: FIPS 198-1.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    array(context.sign().as_ref())
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("SHA-256 has 32 bytes")
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (`RS256` of a JSON web token, `sha256WithRSAEncryption` of a certificate), as long as the
/// key's modulus. `key`: PEM or DER, PKCS#1 or PKCS#8. Source: RFC 8017 section 8.2.
pub fn sign_rs256(key: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    sign(key, &RSA_PKCS1_SHA256, message)
}

/// RSASSA-PSS with SHA-256 and a salt of 32 bytes (`PS256` of a JSON web token); the rest as [`sign_rs256`].
/// Source: RFC 7518 section 3.5.
pub fn sign_ps256(key: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    sign(key, &RSA_PSS_SHA256, message)
}

fn sign(key: &[u8], encoding: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = match PrivateKeyDer::from_pem_slice(key) {
        Ok(from_pem) => rsa_key(&from_pem),
        Err(_) => rsa_key(&PrivateKeyDer::try_from(key).map_err(|_| CryptoError::NoRsaKey)?),
    }?;
    let mut signature = vec![0; module::modulus_bytes(&key)];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| CryptoError::Module)?;
    Ok(signature)
}

/// Whether this is the private key of the RSA public key in a certificate (DER).
pub fn fits(key: &PrivateKeyDer, certificate: &[u8]) -> bool {
    rsa_key(key).is_ok_and(|pair| memchr::memmem::find(certificate, pair.public_key().as_ref()).is_some())
}

fn rsa_key(key: &PrivateKeyDer) -> Result<RsaKeyPair, CryptoError> {
    match key {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(CryptoError::NoRsaKey),
    }
    .map_err(|_| CryptoError::NoRsaKey)
}

/// An RSA key of 2048 bits. The private part is wiped when it is dropped and never shown.
pub struct RsaKey {
    /// `RSAPrivateKey` of PKCS#1, DER.
    pub private: Vec<u8>,
    /// `RSAPublicKey` of PKCS#1, DER.
    pub public: Vec<u8>,
}

impl RsaKey {
    /// Makes a new one: a tenth of a second to some seconds of CPU. Fails with [`CryptoError::Module`].
    pub fn generate() -> Result<RsaKey, CryptoError> {
        let mut key = RsaKey { private: module::new_rsa_2048()?, public: Vec::new() };
        let pair = RsaKeyPair::from_der(&key.private).map_err(|_| CryptoError::Module)?;
        key.public.extend_from_slice(pair.public_key().as_ref());
        Ok(key)
    }
}

impl Drop for RsaKey {
    fn drop(&mut self) {
        sys::wipe(&mut self.private);
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey(..)")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use module::library::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use std::sync::LazyLock;

    /// One for all tests: making one takes long without optimisation.
    pub static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate().unwrap());

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_of_the_parts_put_together() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-4, first example
        assert_eq!(sha256_hex(b"abc"), abc);
        assert_eq!(hex(&sha256(&[b"a", b"", b"bc"])), abc);
        let second = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"; // RFC 4231, section 4.3
        assert_eq!(hex(&hmac_sha256(b"Jefe", &[b"what do ya ", b"want for nothing?"])), second);
    }

    #[test]
    fn a_key_signs_the_same_in_every_form() {
        let key = &*KEY;
        let signature = sign_rs256(&key.private, b"message").unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key.public);
        public.verify(b"message", &signature).unwrap();
        public.verify(b"messages", &signature).unwrap_err();

        let rsa_encryption = der::sequence(&[&der::oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), &der::NULL]);
        let pkcs8 = der::sequence(&[&der::integer(&[0]), &rsa_encryption, &der::octets(&key.private)]);
        assert_eq!(sign_rs256(&pkcs8, b"message").as_ref(), Ok(&signature));
        for (label, der) in [("RSA PRIVATE KEY", &key.private), ("PRIVATE KEY", &pkcs8)] {
            use base64::{Engine, engine::general_purpose::STANDARD};
            let pem =
                format!("# a comment\n-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
            assert_eq!(sign_rs256(pem.as_bytes(), b"message").as_ref(), Ok(&signature), "{label}");
        }
    }

    #[test]
    fn what_is_no_rsa_key_of_2048_bits_signs_nothing() {
        let cut = &KEY.private[..KEY.private.len() - 1];
        for key in [b"".as_slice(), b"\x30\x03\x02\x01\x00", &KEY.public, cut, KEY_OF_1024_BITS] {
            assert_eq!(sign_rs256(key, b"message"), Err(CryptoError::NoRsaKey));
        }
    }

    const KEY_OF_1024_BITS: &[u8] = b"\
-----BEGIN RSA PRIVATE KEY-----\n\
MIICXQIBAAKBgQCsKYZ2q3t4ks03BlquHGALkneIwBQFdF20Nox7+JzbJcap3WrE\n\
fDRqmZcWkSm8+wBGoQxzH1l7hQiB4D78WpduCvx5bkbLaGyypAqdoy4MM4pT+lyV\n\
UFOUATf2A7MVE7dINQuhgBWluhAm5g3l+E7uwq4GaJ8AhFv8D8tXhgar4wIDAQAB\n\
AoGALAhq5csyR0J0zlAHvWRwhEUv4YAPHt4GYWNaRxLtO3fL+gIxnpON7H3gENuL\n\
61PfXDEwt/kar+b0qBMsyOp6tDURxsrCzNd3sKZ1MCFqoAPThsIZhRys9xTZ0xnN\n\
xkQdhFt7G55JCYy0aPR8+p8DBEf5ROK96EcnI6GoOiuz6wECQQDZjYBmQS9I5cGb\n\
EApcQ9Jj87cANtdp0u7LXI0p4OrBCUC2Qoh7JKYgr7W7nubyu+I3zn/VeLHfP3x1\n\
suvyvSXBAkEAypZ4Tij8w6tZhzmUy4fwlkMISdX4NVa13EEBAKlDnbudXZ8cmjTH\n\
60TtCy/PxLOmz8J2yGDBW1p2fL5YRZQiowJBAIWtiy5J85Ipi5OKgbM8AXVldhdt\n\
m2PtNspC7oLDL7y5wMe9jjuMw3/mOBc3htW0WUbNXoN/jFyPmByCerVHQIECQQCc\n\
iP22bwc37duEmCJ3zbdBc9QgsTtTg4eMA5JRv3gmlcQ3he0k3imniZ+bqDrjI2l+\n\
WSVNGS3ud4zcQHuWb6r/AkAH/Ubr/IdvNGeEHjXYaCYZVQ2xLYV1ZQ1C0YMnU2dJ\n\
Nd8SITNyBcFanRtuVaXda2qzx+81ynqtrWkv6eYlIGXV\n\
-----END RSA PRIVATE KEY-----\n\
";
}
