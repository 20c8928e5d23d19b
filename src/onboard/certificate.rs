//! The client certificate: an RSA key of 2048 bits that signs a certificate for itself, as the original's.
//!
//! The key is made here once and never used again by this code.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use std::io;

use base64::Engine;

use crate::crypto::{self, CryptoError, RsaKey, der};
use crate::sys;
use crate::syslog::{CivilTime, date_from_days};

/// How long a certificate is valid, in seconds: 365 days, as the original's.
const VALID_S: i64 = 365 * DAY_S;
const DAY_S: i64 = 86_400;

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
        let key = RsaKey::generate().map_err(failed)?;
        let certificate = self_signed(&key, subject, u32::from_be_bytes(serial), now_unix_s)?;
        Ok(Certificate {
            certificate_pem: pem("CERTIFICATE", &certificate),
            key_pem: pem("RSA PRIVATE KEY", &key.private),
        })
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

const OID_COMMON_NAME: &[u8] = &[0x55, 4, 3];
const OID_ORGANIZATION: &[u8] = &[0x55, 4, 10];
const OID_ORGANIZATIONAL_UNIT: &[u8] = &[0x55, 4, 11];
const OID_SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const OID_AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
const OID_RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const OID_SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];

fn self_signed(key: &RsaKey, subject: Subject, random: u32, now_unix_s: i64) -> io::Result<Vec<u8>> {
    let algorithm = der::sequence(&[&der::oid(OID_SHA256_WITH_RSA), &der::NULL]);
    let body = to_be_signed(&key.public, subject, 1 + random % 65_534, now_unix_s, &algorithm);
    let signature = crypto::sign_rs256(&key.private, &body).map_err(failed)?;
    Ok(der::sequence(&[&body, &algorithm, &der::bits(&signature)]))
}

fn failed(error: CryptoError) -> io::Error {
    io::Error::other(error.to_string())
}

/// `TBSCertificate`. Source: RFC 5280 section 4.1; order and content of names and extensions as the original's.
fn to_be_signed(public_key: &[u8], subject: Subject, serial: u32, now_unix_s: i64, algorithm: &[u8]) -> Vec<u8> {
    let name = der::sequence(&[
        &name_part(OID_COMMON_NAME, subject.workspace_id),
        &name_part(OID_COMMON_NAME, subject.agent_guid),
        &name_part(OID_ORGANIZATIONAL_UNIT, "Linux Monitoring Agent"),
        &name_part(OID_ORGANIZATION, "Microsoft"),
    ]);
    der::sequence(&[
        &der::tagged(0xa0, &[&der::integer(&[2])]),
        &der::integer(&serial.to_be_bytes()),
        algorithm,
        &name,
        &der::sequence(&[&time(now_unix_s), &time(now_unix_s + VALID_S)]),
        &name,
        &der::sequence(&[&der::sequence(&[&der::oid(OID_RSA_ENCRYPTION), &der::NULL]), &der::bits(public_key)]),
        &der::tagged(0xa3, &[&extensions(public_key)]),
    ])
}

fn name_part(kind: &[u8], text: &str) -> Vec<u8> {
    der::set(&der::sequence(&[&der::oid(kind), &der::utf8(text)]))
}

/// The key identifier, a name for the key, is the first 160 bits of its SHA-256, where the original has its SHA-1.
/// Source: RFC 7093 section 2, method 1.
fn extensions(public_key: &[u8]) -> Vec<u8> {
    let identifier = &crypto::sha256(&[public_key])[..20];
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

/// When a certificate of ours ends, in seconds since 1970; `None` if the text holds none, or one of a kind we do not write.
pub fn expiry_unix_s(certificate_pem: &str) -> Option<i64> {
    let der = der(certificate_pem)?;
    // Validity: a SEQUENCE of two UTCTimes of 13 characters. Nothing in front of it in our certificates reads so.
    let start = der.windows(4).position(|bytes| bytes == [0x30, 30, 0x17, 13])?;
    let text = core::str::from_utf8(der.get(start + 19..start + 31)?).ok()?;
    let field = |index: usize| text.get(2 * index..2 * index + 2)?.parse::<u8>().ok();
    let two_digits = i32::from(field(0)?);
    let end = CivilTime {
        year: if two_digits < 50 { 2000 + two_digits } else { 1900 + two_digits },
        month: field(1)?,
        day: field(2)?,
        hour: field(3)?,
        minute: field(4)?,
        second: field(5)?,
        us: 0,
    };
    ((1..=12).contains(&end.month) && (1..=31).contains(&end.day)).then(|| end.unix_s_as_utc())
}

/// The bytes of a file with one certificate; `None` if it holds no base64.
pub fn der(certificate_pem: &str) -> Option<Vec<u8>> {
    let body: String = certificate_pem.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::KEY;
    use crate::upload::https::tests::CLIENT_CERTIFICATE;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const SUBJECT: Subject = Subject {
        workspace_id: "00000000-0000-0000-0000-000000000001",
        agent_guid: "00000000-0000-0000-0000-000000000002",
    };

    /// The certificate and key of the tests as files, for openssl(1).
    fn files(name: &str) -> (PathBuf, PathBuf) {
        let file = |end| std::env::temp_dir().join(format!("omsd-certificate-{}-{name}.{end}", std::process::id()));
        let (certificate, key) = (file("crt"), file("key"));
        fs::write(&certificate, &CLIENT_CERTIFICATE.certificate_pem).unwrap();
        fs::write(&key, &CLIENT_CERTIFICATE.key_pem).unwrap();
        (certificate, key)
    }

    /// What `openssl` prints, both ways; `None` (and a loud line) where there is no such program.
    fn openssl(arguments: &[&str]) -> Option<String> {
        let Ok(output) = Command::new("openssl").args(arguments).output() else {
            eprintln!("SKIPPED: openssl is not installed");
            return None;
        };
        let text = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[test]
    fn openssl_reads_the_certificate_as_the_original_writes_it() {
        let (certificate, _) = files("read");
        let show = ["x509", "-noout", "-in", text(&certificate), "-nameopt", "multiline,show_type", "-text"];
        let Some(shown) = openssl(&show) else { return };
        let shown: Vec<&str> = shown.lines().map(str::trim).collect();
        let name = [
            "commonName                = UTF8STRING:00000000-0000-0000-0000-000000000001",
            "commonName                = UTF8STRING:00000000-0000-0000-0000-000000000002",
            "organizationalUnitName    = UTF8STRING:Linux Monitoring Agent",
            "organizationName          = UTF8STRING:Microsoft",
        ];
        for owner in ["Issuer:", "Subject:"] {
            let at = shown.iter().position(|line| *line == owner).unwrap_or_else(|| panic!("{owner} in {shown:#?}"));
            assert_eq!(shown[at + 1..at + 5], name);
        }
        for line in ["Version: 3 (0x2)", "Signature Algorithm: sha256WithRSAEncryption", "Exponent: 65537 (0x10001)"] {
            assert!(shown.contains(&line), "{line} in {shown:#?}");
        }
        assert!(shown.iter().any(|line| line.starts_with("Public") && line.ends_with("Key: (2048 bit)")), "{shown:#?}");
        let at = |line: &str| {
            shown.iter().position(|found| *found == line).unwrap_or_else(|| panic!("{line} in {shown:#?}"))
        };
        let extensions =
            ["X509v3 Subject Key Identifier:", "X509v3 Authority Key Identifier:", "X509v3 Basic Constraints:"];
        let places = extensions.map(at);
        assert!(places.is_sorted(), "{shown:#?}");
        assert_eq!(shown[places[2] + 1], "CA:TRUE");
        assert!(shown[places[1] + 1].ends_with(shown[places[0] + 1]), "{shown:#?}");
    }

    #[test]
    fn openssl_verifies_certificate_and_key() {
        let (certificate, key) = files("verify");
        let (certificate, key) = (text(&certificate), text(&key));
        let Some(verified) = openssl(&["verify", "-check_ss_sig", "-CAfile", certificate, certificate]) else { return };
        assert!(verified.ends_with(": OK\n"), "{verified}");
        let checked = openssl(&["rsa", "-check", "-noout", "-in", key]).unwrap();
        assert!(checked.contains("RSA key ok"), "{checked}");
        let of_certificate = openssl(&["x509", "-noout", "-modulus", "-in", certificate]).unwrap();
        assert_eq!(openssl(&["rsa", "-noout", "-modulus", "-in", key]).unwrap(), of_certificate);
        assert!(CLIENT_CERTIFICATE.key_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    }

    #[test]
    fn openssl_finds_the_key_identifier_where_we_say_it_is() {
        let (certificate, _) = files("identifier");
        let Some(key) = openssl(&["x509", "-noout", "-pubkey", "-in", text(&certificate)]) else { return };
        let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
        let spki = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        // SubjectPublicKeyInfo of a 2048-bit key: 24 bytes in front of the content of the BIT STRING.
        let identifier = crypto::sha256(&[&spki[24..]]);
        let hex: Vec<String> = identifier[..20].iter().map(|byte| format!("{byte:02X}")).collect();
        let shown = openssl(&["x509", "-noout", "-ext", "subjectKeyIdentifier", "-in", text(&certificate)]).unwrap();
        assert!(shown.contains(&hex.join(":")), "{shown}");
    }

    #[test]
    fn a_certificate_ends_365_days_after_it_was_made() {
        // 2031-01-31 23:59:58, so that the end falls into another month of another year.
        for now_unix_s in [1_927_670_398, 951_782_400, 0] {
            let der = self_signed(&KEY, SUBJECT, 7, now_unix_s).unwrap();
            assert_eq!(expiry_unix_s(&pem("CERTIFICATE", &der)), Some(now_unix_s + 31_536_000));
        }
        assert_eq!(time(1_927_670_398)[..], *b"\x17\x0d310131235958Z");
        assert_eq!(time(2_524_608_000)[..], *b"\x18\x0f20500101000000Z");
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nMB4XDQ==\n-----END CERTIFICATE-----\n"] {
            assert_eq!(expiry_unix_s(text), None, "{text}");
        }
    }

    #[test]
    fn the_serial_number_is_from_1_to_65534() {
        let serial = |random| self_signed(&KEY, SUBJECT, random, 0).unwrap()[8 + 5..][..5].to_vec();
        assert_eq!(serial(0)[..3], [0x02, 0x01, 0x01]);
        assert_eq!(serial(65_533)[..], [0x02, 0x03, 0x00, 0xff, 0xfe]);
        assert_eq!(serial(65_534)[..3], [0x02, 0x01, 0x01]);
    }

    #[test]
    fn no_two_keys_are_alike_and_none_is_shown() {
        let other = Certificate::generate(SUBJECT, 0).unwrap();
        assert_ne!(other.key_pem, CLIENT_CERTIFICATE.key_pem);
        assert_eq!(format!("{other:?}"), "Certificate(..)");
    }
}
