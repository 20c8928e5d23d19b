//! ring, in the standard build. Its algorithms are limited to approved ones; it is not a validated module.

use alloc::vec::Vec;

pub use ::ring as library;
use ::ring::rand::{SecureRandom, SystemRandom};
use rsa::RsaPrivateKey;
use rsa::rand_core::{self, CryptoRng, RngCore};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
pub use rustls::crypto::ring as provider;
pub use webpki::ring as signatures;

use super::{CryptoError, der};

/// The module's name, for people.
pub const NAME: &str = "ring";

/// What the module answers when asked whether it is a FIPS module: this one is none.
pub fn fips() -> bool {
    false
}

pub fn modulus_bytes(key: &library::rsa::KeyPair) -> usize {
    key.public().modulus_len()
}

/// A new key as `RSAPrivateKey` of PKCS#1. ring makes none, so the `rsa` crate does; whatever is signed with it, ring signs.
pub fn new_rsa_2048() -> Result<Vec<u8>, CryptoError> {
    SystemRandom::new().fill(&mut [0; 1]).map_err(|_| CryptoError::Module)?;
    let key = RsaPrivateKey::new(&mut Ring, 2048).map_err(|_| CryptoError::Module)?;
    pkcs1(&key).ok_or(CryptoError::Module)
}

/// Source: RFC 8017 appendix A.1.2.
fn pkcs1(key: &RsaPrivateKey) -> Option<Vec<u8>> {
    let [p, q] = key.primes() else { return None };
    Some(der::sequence(&[
        &der::integer(&[0]),
        &der::integer(&key.n().to_bytes_be()),
        &der::integer(&key.e().to_bytes_be()),
        &der::integer(&key.d().to_bytes_be()),
        &der::integer(&p.to_bytes_be()),
        &der::integer(&q.to_bytes_be()),
        &der::integer(&key.dp()?.to_bytes_be()),
        &der::integer(&key.dq()?.to_bytes_be()),
        &der::integer(&key.crt_coefficient()?.to_bytes_be()),
    ]))
}

/// ring's random numbers for the `rsa` crate. `new_rsa_2048` has asked for one, fallibly, before; if the kernel's generator was
/// not ready then, that has waited for it.
struct Ring;

impl RngCore for Ring {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        SystemRandom::new().fill(bytes).expect("the kernel's generator, which answered a moment ago");
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Ring {}
