//! AWS-LC: its FIPS module in the build with the feature `fips`, of which `fips/README.md` says what may be said; its library
//! without that, for processors that ring cannot do with.

use alloc::vec::Vec;

pub use aws_lc_rs as library;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
pub use rustls::crypto::aws_lc_rs as provider;
pub use webpki::aws_lc_rs as signatures;

use super::{CryptoError, der};

/// The module's name, for people.
pub const NAME: &str = if cfg!(feature = "fips") { "AWS-LC FIPS" } else { "AWS-LC" };

/// What may be said of a certificate. The version is the one that `Cargo.toml` pins; `tests/fips` holds it against what the
/// program says.
#[cfg(feature = "fips")]
pub const CERTIFICATE: &str = "CMVP #5314 covers the static module 3.1.0; this build carries library 3.6.0 of the same \
     branch, and whether that is within the certificate is open: fips/README.md";

/// The version of the library that carries the module, as it says itself.
#[cfg(feature = "fips")]
pub fn version() -> &'static str {
    library::awslc_version()
}

/// What the module answers when asked whether it is a FIPS module. A TLS configuration must be asked on its own: see
/// [`crate::upload::https::fips`].
pub fn fips() -> bool {
    library::try_fips_mode().is_ok()
}

pub fn modulus_bytes(key: &library::rsa::KeyPair) -> usize {
    key.public_modulus_len()
}

/// A new key as `RSAPrivateKey` of PKCS#1, made by the module, which has it checked by a pair of its own (FIPS 186-5).
pub fn new_rsa_2048() -> Result<Vec<u8>, CryptoError> {
    let key = library::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| CryptoError::Module)?;
    let pkcs8: Pkcs8V1Der = key.as_der().map_err(|_| CryptoError::Module)?;
    pkcs1(pkcs8.as_ref()).map(<[u8]>::to_vec).ok_or(CryptoError::Module)
}

/// The `RSAPrivateKey` inside a `PrivateKeyInfo`, whose content ends with it. Source: RFC 5208.
fn pkcs1(pkcs8: &[u8]) -> Option<&[u8]> {
    const BEFORE: &[u8] = &[2, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let key = pkcs8.get(4..)?.strip_prefix(BEFORE)?.get(4..)?;
    (der::sequence(&[BEFORE, &der::octets(key)]) == pkcs8).then_some(key)
}
