//! The workspace's shared key: in memory only, wiped afterwards, never shown.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use std::fs::File;
use std::io::{self, Read};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::limits::SHARED_KEY_TEXT_BYTES_MAX;
use crate::sys;

/// A decoded key. `Debug` shows nothing of it; its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey(Vec<u8>);

/// What is wrong with a key; says nothing about what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKey;

impl SharedKey {
    /// Decodes base64, padded or not, white space around it and in it ignored; the text is wiped. Fails if it is anything else,
    /// empty, or longer than any key.
    pub fn parse(mut text: String) -> Result<SharedKey, NoKey> {
        const EITHER: GeneralPurpose = GeneralPurpose::new(
            &STANDARD,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        let mut digits = Vec::with_capacity(text.len());
        digits.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        sys::wipe_string(&mut text);
        let fine = !digits.is_empty() && digits.len() as u64 <= SHARED_KEY_TEXT_BYTES_MAX;
        let decoded = if fine { EITHER.decode(&digits).ok() } else { None };
        sys::wipe(&mut digits);
        decoded.map(SharedKey).ok_or(NoKey)
    }

    /// Reads a key from a file, or from standard input if the path is `-`. `Ok(Err(_))`: what stands there is no key.
    pub fn read(path: &str) -> io::Result<Result<SharedKey, NoKey>> {
        let mut text = String::with_capacity(1024); // not moved, and so not copied, while it grows
        let most = SHARED_KEY_TEXT_BYTES_MAX + 1;
        let read = match path {
            "-" => io::stdin().lock().take(most).read_to_string(&mut text),
            _ => File::open(path).and_then(|file| file.take(most).read_to_string(&mut text)),
        };
        match read {
            Ok(_) => Ok(SharedKey::parse(text)),
            Err(error) => {
                sys::wipe_string(&mut text);
                if error.kind() == io::ErrorKind::InvalidData { Ok(Err(NoKey)) } else { Err(error) }
            }
        }
    }

    /// The decoded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SharedKey {
    fn drop(&mut self) {
        sys::wipe(&mut self.0);
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was given is not a workspace key: those are 88 characters of base64")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[track_caller]
    fn check(text: &str, expected: Result<&[u8], NoKey>) {
        assert_eq!(SharedKey::parse(text.into()).as_ref().map(SharedKey::bytes), expected.as_ref().map(|key| *key));
    }

    #[test]
    fn base64_is_a_key_however_it_was_pasted() {
        check("a2V5IQ==", Ok(b"key!"));
        check("a2V5IQ", Ok(b"key!"));
        check(" a2V5\r\n IQ==\n", Ok(b"key!"));
        check("", Err(NoKey));
        check(" \n", Err(NoKey));
        check("key!", Err(NoKey));
        check("a2V5IQ==a2V5", Err(NoKey));
        check("a2V5-_==", Err(NoKey));
        check(&"A".repeat(2000), Err(NoKey));
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = SharedKey::parse("a2V5IQ==".into()).unwrap();
        assert_eq!(format!("{key:?}"), "SharedKey(..)");
    }

    #[test]
    fn a_key_file_is_read_and_one_that_never_ends_is_not() {
        let path = std::env::temp_dir().join(format!("omsd-key-{}", std::process::id()));
        let path = path.to_str().unwrap();
        std::fs::write(path, "a2V5IQ==\n").unwrap();
        assert_eq!(SharedKey::read(path).unwrap().unwrap().bytes(), b"key!");
        std::fs::write(path, b"\xff\xfe").unwrap();
        assert_eq!(SharedKey::read(path).unwrap(), Err(NoKey));
        std::fs::remove_file(path).unwrap();
        assert_eq!(SharedKey::read("/dev/zero").unwrap(), Err(NoKey));
        assert_eq!(SharedKey::read(path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
