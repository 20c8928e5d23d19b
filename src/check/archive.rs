//! What `omsd collect-logs` writes: a tar archive, and texts without what nobody else should have.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What stands in place of a secret.
const REMOVED: &str = "[removed]";

/// Appends a file to a tar archive. `name` has at most 99 bytes. Source: POSIX.1-2024 pax, "ustar Interchange Format".
pub fn add(archive: &mut Vec<u8>, name: &str, mtime_unix_s: u64, bytes: &[u8]) {
    const BLOCK_BYTES: usize = 512;
    let mut header = [0; BLOCK_BYTES];
    header[..name.len().min(99)].copy_from_slice(&name.as_bytes()[..name.len().min(99)]);
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(100, "0000600\x000000000\x000000000");
    put(124, &format!("{:011o}", bytes.len()));
    put(136, &format!("{mtime_unix_s:011o}"));
    // The sum is taken with blanks in its own place.
    put(148, "        0");
    put(257, "ustar\x0000root");
    put(297, "root");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// Ends an archive.
pub fn end(archive: &mut Vec<u8>) {
    archive.resize(archive.len() + 1024, 0);
}

/// A text of ours without secrets: the values of keys that name one, credentials in URLs, and whatever looks like a key.
pub fn redacted(text: &str) -> String {
    text.lines().map(|line| redacted_line(line) + "\n").collect()
}

fn redacted_line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let content = line.trim_start();
    let key = content
        .split(|character: char| character.is_whitespace() || matches!(character, '=' | ':'))
        .next()
        .unwrap_or("");
    if names_secret(key) && content.len() > key.len() {
        return format!("{}{key} {REMOVED}", &line[..indent]);
    }
    let mut kept = String::with_capacity(line.len());
    for word in line.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        kept.push_str(&redacted_word(bare));
        kept.push_str(&word[bare.len()..]);
    }
    kept
}

/// A key whose value is a secret, not the path of one.
fn names_secret(key: &str) -> bool {
    const WORDS: [&str; 7] = ["key", "secret", "password", "passwd", "passphrase", "token", "credential"];
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word)) && !key.ends_with("path") && !key.ends_with("file")
}

fn redacted_word(word: &str) -> String {
    // An address before @ is a user with a password, if there is a colon in it.
    if let Some((front, host)) = word.rsplit_once('@') {
        let (scheme, user) = front.split_once("://").map_or(("", front), |(scheme, user)| (scheme, user));
        if user.contains(':') || !scheme.is_empty() {
            let end = if scheme.is_empty() { "" } else { "://" };
            return format!("{scheme}{end}{REMOVED}@{host}");
        }
    }
    match longest_run(word) {
        ..KEY_BYTES_MIN => word.to_string(),
        _ => REMOVED.to_string(),
    }
}

/// A run of base64 from which on it may be a key: a SHA-256 is shorter in base64, and nothing else of ours is as long.
const KEY_BYTES_MIN: usize = 44;

/// The longest run of characters of base64 with letters and digits: a path has a dot, a dash, or no digit.
fn longest_run(word: &str) -> usize {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let is_mixed = |run: &&[u8]| run.iter().any(u8::is_ascii_alphabetic) && run.iter().any(u8::is_ascii_digit);
    word.as_bytes().split(|byte| !is_base64(byte)).filter(is_mixed).map(<[u8]>::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const KEY: &str = "WlpaWlpaWlpaWlpaWlpaWlpaWlpa1234WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWg==";

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(redacted(line), expected.to_string() + "\n");
    }

    #[test]
    fn what_is_secret_is_removed_and_the_rest_stays() {
        check("  type out_oms", "  type out_oms");
        check("  shared_key_path /etc/opt/omsd/shared.key", "  shared_key_path /etc/opt/omsd/shared.key");
        check("  shared_key abc", "  shared_key [removed]");
        check("client_secret=abc", "client_secret [removed]");
        check("# old: -s abcdefgh", "# old: -s abcdefgh");
        check("http://user:pa@ss@proxy:3128/", "http://[removed]@proxy:3128/");
        check("  proxy user:pass@proxy:3128 # x", "  proxy [removed]@proxy:3128 # x");
        check("mail admin@example.com", "mail admin@example.com");
        check(&std::format!("# the workspace's: {KEY}"), "# the workspace's: [removed]");
        check(&KEY.to_uppercase(), "[removed]");
        check(
            "ca_file /etc/opt/omsd/certs/0c9f6c9e-3a52-4f0b-8a8e-6a1b4b7d5e21/Long1.pem",
            "ca_file /etc/opt/omsd/certs/0c9f6c9e-3a52-4f0b-8a8e-6a1b4b7d5e21/Long1.pem",
        );
    }

    #[test]
    fn tar_unpacks_what_was_added() {
        let directory = std::env::temp_dir().join(std::format!("omsd-archive-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut archive = Vec::new();
        let large = "x".repeat(513);
        let name = std::format!("d/{}", "n".repeat(97));
        for (name, text) in [("d/empty", ""), ("d/exact", &large[..512]), (&name, &large)] {
            add(&mut archive, name, 1_700_000_000, text.as_bytes());
        }
        end(&mut archive);
        std::fs::write(directory.join("a.tar"), archive).unwrap();
        let output =
            Command::new("tar").arg("-xf").arg("a.tar").current_dir(&directory).output().expect("tar is everywhere");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        for (name, expected) in [("d/empty", 0), ("d/exact", 512), (name.as_str(), 513)] {
            assert_eq!(std::fs::read(directory.join(name)).unwrap().len(), expected, "{name}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
