//! Any text is a regular expression, or a fault that points into it; looking for one ends, and finds what it must. Input: the
//! expression, a zero byte, the text it is looked for in.

use crate::memory::peak_bytes;
use omsd::config::regex::Regex;

/// What expressions are made of.
pub const WORDS: &[&[u8]] = &[
    b"(% Processor Time|% Idle Time)",
    b".*",
    b"_Total",
    b"(/|/var)",
    b"(a*)*",
    b"(a|aa)+$",
    b"{2,3}",
    b"{1000}",
    b"{,5}",
    b"{99999999999999999999}",
    b"(?:",
    b"(?=",
    b"[^a-z0-9_-]",
    b"[]-a]",
    b"[\\d\\]]",
    b"\\b",
    b"\\A",
    b"\\z",
    b"\\Z",
    b"\\W",
    b"\\1",
    b"|",
    b"(",
    b")",
    b"[",
    b"]",
    b"?",
    b"+",
    b"^",
    b"$",
    b"\\",
    b"\0",
    b"\n",
    b"\xc3\xa9",
    b"\xff",
];

/// Heap that an expression of the longest kind, and a search for it, may hold.
const BYTES_MAX: usize = 256 * 1024;

/// See the head of this file.
pub fn check(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (expression, subject) = (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or_default());
    let ((), bytes) = peak_bytes(|| match Regex::new(&expression) {
        Ok(regex) => check_search(&regex, &expression, subject),
        Err(fault) => assert!(fault.at <= expression.chars().count() && !fault.reason.is_empty(), "{fault:?}"),
    });
    assert!(bytes <= BYTES_MAX + 8 * subject.len(), "{bytes} bytes of heap");
}

fn check_search(regex: &Regex, expression: &str, subject: &[u8]) {
    let found = regex.is_found_in(subject);
    // Put in front of, behind, and between, with what can only add ways to match.
    let optional = Regex::new(&format!("({expression})?"));
    assert!(optional.is_err() || optional.is_ok_and(|regex| regex.is_found_in(subject)), "nothing is in everything");
    if let Ok(either) = Regex::new(&format!("never\u{1}|{expression}")) {
        assert_eq!(either.is_found_in(subject), found || either_never(subject), "{expression:?}");
    }
    if let Ok(twice) = Regex::new(&format!("(?:{expression}){{1,2}}")) {
        assert_eq!(twice.is_found_in(subject), found, "{expression:?} once or twice");
    }
    let literal = !expression.contains(|letter: char| ".*+?()[]{}|^$\\\u{fffd}".contains(letter));
    if literal {
        let text = String::from_utf8_lossy(subject);
        assert_eq!(text.contains(expression), found, "{expression:?} in {text:?}");
    }
}

fn either_never(subject: &[u8]) -> bool {
    subject.windows(6).any(|window| window == b"never\x01")
}
