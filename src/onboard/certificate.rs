//! The client certificate: an RSA key of 2048 bits that signs a certificate for itself, as the original's.
//!
//! The key is made here once and never used again by this code: TLS signs with ring.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use std::io;

use base64::Engine;
use ring::digest;
use rsa::rand_core::{self, CryptoRng, RngCore};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};

use super::der;
use crate::sys;
use crate::syslog::date_from_days;

/// How long a certificate is valid, in seconds: 365 days, as the original's.
const VALID_S: i64 = 365 * DAY_S;
const DAY_S: i64 = 86_400;
const KEY_BITS: usize = 2048;

/// A new certificate with its key. The key is wiped when it is dropped and never shown by `Debug`.
pub struct Certificate {
    /// `BEGIN CERTIFICATE`, lines of 64 characters.
    pub certificate_pem: String,
    /// `BEGIN RSA PRIVATE KEY` (PKCS#1), not encrypted.
    pub key_pem: String,
}

/// Who a certificate is for: its two common names.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// GUID of the workspace.
    pub workspace_id: &'a str,
    /// GUID of the agent.
    pub agent_guid: &'a str,
}

impl Certificate {
    /// Makes a key and a certificate valid for 365 days from `now_unix_s`. Takes a tenth of a second to some seconds of CPU.
    /// Fails if the kernel gives no random bytes.
    pub fn generate(subject: Subject, now_unix_s: i64) -> io::Result<Certificate> {
        let mut serial = [0; 4];
        sys::random_bytes(&mut serial)?;
        let key = RsaPrivateKey::new(&mut Kernel, KEY_BITS).map_err(rsa_error)?;
        let certificate = self_signed(&key, subject, u32::from_be_bytes(serial), now_unix_s)?;
        let mut key_der = pkcs1(&key).ok_or_else(|| io::Error::other("the RSA key has no CRT values"))?;
        let made = Certificate {
            certificate_pem: pem("CERTIFICATE", &certificate),
            key_pem: pem("RSA PRIVATE KEY", &key_der),
        };
        sys::wipe(&mut key_der);
        Ok(made)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        sys::wipe_string(&mut self.key_pem);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

/// The kernel's random numbers for the `rsa` crate. `generate` has asked it once, fallibly, before.
struct Kernel;

impl RngCore for Kernel {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        sys::random_bytes(bytes).expect("the kernel's generator, which answered a moment ago");
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Kernel {}

const OID_COMMON_NAME: &[u8] = &[0x55, 4, 3];
const OID_ORGANIZATION: &[u8] = &[0x55, 4, 10];
const OID_ORGANIZATIONAL_UNIT: &[u8] = &[0x55, 4, 11];
const OID_SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const OID_AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
const OID_RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const OID_SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];

/// What stands in front of a SHA-256 digest in a PKCS#1 v1.5 signature. Source: RFC 8017 section 9.2, note 1.
const SHA256_PREFIX: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 0x05, 0x00, 0x04, 0x20];

fn rsa_error(error: rsa::Error) -> io::Error {
    io::Error::other(error.to_string())
}

fn self_signed(key: &RsaPrivateKey, subject: Subject, random: u32, now_unix_s: i64) -> io::Result<Vec<u8>> {
    let algorithm = der::sequence(&[&der::oid(OID_SHA256_WITH_RSA), &der::NULL]);
    let body = to_be_signed(key, subject, 1 + random % 65_534, now_unix_s, &algorithm);
    let scheme = Pkcs1v15Sign { hash_len: Some(32), prefix: SHA256_PREFIX.into() };
    let signature = key.sign(scheme, digest::digest(&digest::SHA256, &body).as_ref()).map_err(rsa_error)?;
    Ok(der::sequence(&[&body, &algorithm, &der::bits(&signature)]))
}

/// `TBSCertificate`. Source: RFC 5280 section 4.1; order and content of names and extensions as the original's.
fn to_be_signed(key: &RsaPrivateKey, subject: Subject, serial: u32, now_unix_s: i64, algorithm: &[u8]) -> Vec<u8> {
    let name = der::sequence(&[
        &name_part(OID_COMMON_NAME, subject.workspace_id),
        &name_part(OID_COMMON_NAME, subject.agent_guid),
        &name_part(OID_ORGANIZATIONAL_UNIT, "Linux Monitoring Agent"),
        &name_part(OID_ORGANIZATION, "Microsoft"),
    ]);
    let public_key = der::sequence(&[&der::integer(&key.n().to_bytes_be()), &der::integer(&key.e().to_bytes_be())]);
    der::sequence(&[
        &der::tagged(0xa0, &[&der::integer(&[2])]),
        &der::integer(&serial.to_be_bytes()),
        algorithm,
        &name,
        &der::sequence(&[&time(now_unix_s), &time(now_unix_s + VALID_S)]),
        &name,
        &der::sequence(&[&der::sequence(&[&der::oid(OID_RSA_ENCRYPTION), &der::NULL]), &der::bits(&public_key)]),
        &der::tagged(0xa3, &[&extensions(&public_key)]),
    ])
}

fn name_part(kind: &[u8], text: &str) -> Vec<u8> {
    der::set(&der::sequence(&[&der::oid(kind), &der::utf8(text)]))
}

/// The key identifier is the SHA-1 of the public key: a name for it, not a safeguard. Source: RFC 5280 section 4.2.1.2.
fn extensions(public_key: &[u8]) -> Vec<u8> {
    let identifier = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, public_key);
    let identifier = identifier.as_ref();
    let extension = |kind, value: &[u8]| der::sequence(&[&der::oid(kind), &der::octets(value)]);
    der::sequence(&[
        &extension(OID_SUBJECT_KEY_IDENTIFIER, &der::octets(identifier)),
        &extension(OID_AUTHORITY_KEY_IDENTIFIER, &der::sequence(&[&der::tagged(0x80, &[identifier])])),
        &extension(OID_BASIC_CONSTRAINTS, &der::sequence(&[&der::TRUE])),
    ])
}

/// `UTCTime` up to 2049, `GeneralizedTime` from then on. Source: RFC 5280 section 4.1.2.5.
fn time(unix_s: i64) -> Vec<u8> {
    let (year, month, day) = date_from_days(unix_s.div_euclid(DAY_S));
    let second = unix_s.rem_euclid(DAY_S);
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    if (1950..2050).contains(&year) {
        der::tagged(0x17, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        der::tagged(0x18, &[format!("{year:04}{rest}").as_bytes()])
    }
}

/// `RSAPrivateKey`. Source: RFC 8017 appendix A.1.2.
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

/// Lines of 64 characters between `BEGIN` and `END`. Source: RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        base64::engine::general_purpose::STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
