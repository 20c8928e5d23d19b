//! What TLS may use of the module: the same list in both builds.

use alloc::sync::Arc;
use alloc::vec;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::{CipherSuiteCommon, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::{SignatureScheme, SupportedCipherSuite, Tls13CipherSuite};

use super::module::library::rand;
use super::module::{provider, signatures};

/// AES-GCM, P-256 and P-384, ECDSA and RSA of 2048 bits or more with SHA-2: what SP 800-52r2 approves, and nothing else.
pub fn approved() -> CryptoProvider {
    use provider::cipher_suite as suite;
    CryptoProvider {
        cipher_suites: vec![
            SupportedCipherSuite::Tls13(&AES_256),
            SupportedCipherSuite::Tls13(&AES_128),
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![provider::kx_group::SECP256R1, provider::kx_group::SECP384R1],
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Module,
        key_provider: &Module,
    }
}

static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        signatures::ECDSA_P256_SHA256,
        signatures::ECDSA_P256_SHA384,
        signatures::ECDSA_P384_SHA256,
        signatures::ECDSA_P384_SHA384,
        signatures::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        signatures::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        signatures::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        signatures::RSA_PKCS1_2048_8192_SHA256,
        signatures::RSA_PKCS1_2048_8192_SHA384,
        signatures::RSA_PKCS1_2048_8192_SHA512,
    ],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[signatures::ECDSA_P384_SHA384, signatures::ECDSA_P256_SHA384]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[signatures::ECDSA_P256_SHA256, signatures::ECDSA_P384_SHA256]),
        (SignatureScheme::RSA_PSS_SHA512, &[signatures::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[signatures::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[signatures::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[signatures::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[signatures::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[signatures::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// The TLS 1.3 suites without their QUIC half, which would otherwise bring ChaCha20 into the program.
static AES_256: Tls13CipherSuite = without_quic(&provider::cipher_suite::TLS13_AES_256_GCM_SHA384);
static AES_128: Tls13CipherSuite = without_quic(&provider::cipher_suite::TLS13_AES_128_GCM_SHA256);

const fn without_quic(suite: &SupportedCipherSuite) -> Tls13CipherSuite {
    let SupportedCipherSuite::Tls13(suite) = suite else { panic!() };
    Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: suite.common.suite,
            hash_provider: suite.common.hash_provider,
            confidentiality_limit: suite.common.confidentiality_limit,
        },
        hkdf_provider: suite.hkdf_provider,
        aead_alg: suite.aead_alg,
        quic: None,
    }
}

/// Random numbers and RSA client keys; the provider's own key loader would bring every other kind along.
#[derive(Debug)]
struct Module;

impl SecureRandom for Module {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        rand::SecureRandom::fill(&rand::SystemRandom::new(), bytes).map_err(|_| GetRandomFailed)
    }

    fn fips(&self) -> bool {
        super::fips()
    }
}

impl KeyProvider for Module {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Ok(Arc::new(provider::sign::RsaSigningKey::new(&key)?))
    }

    fn fips(&self) -> bool {
        super::fips()
    }
}
