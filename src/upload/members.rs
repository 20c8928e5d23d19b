//! The members of a small JSON object: enough to read a token, an error answer, and the items that the agent made itself.
//! Nothing is allocated, nothing recurses; what is no JSON gives fewer members, never wrong ones.

use alloc::string::String;
use alloc::vec::Vec;

/// The members of the object that `text` starts with, in their order: each key without its quotes, and its value as it stands
/// there (a text with its quotes). Ends where it is no object any more.
pub fn members(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = after(text, b'{').unwrap_or_default();
    core::iter::from_fn(move || {
        let key_bytes = text_bytes(rest)?;
        let (key, behind) = (&rest[1..key_bytes - 1], after(&rest[key_bytes..], b':')?);
        let value_bytes = value_bytes(behind)?;
        let (value, behind) = behind.split_at(value_bytes);
        rest = after(behind, b',').unwrap_or_default();
        Some((key, value.trim_ascii_end()))
    })
}

/// The value of the first member of this name, as it stands there.
pub fn member<'t>(text: &'t [u8], name: &str) -> Option<&'t [u8]> {
    members(text).find_map(|(key, value)| (key == name.as_bytes()).then_some(value))
}

/// What a value says, if it is a text, or a number, which is taken as it is written. Of escapes, those of one character are known;
/// a text with others is none.
pub fn plain(value: &[u8]) -> Option<String> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        let number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let text = value.iter().all(number).then_some(value)?;
        return String::from_utf8(Vec::from(text)).ok();
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [first, tail @ ..] = rest {
        let (byte, behind) = match (first, tail) {
            (b'\\', [escaped @ (b'"' | b'\\' | b'/'), behind @ ..]) => (*escaped, behind),
            (b'\\', _) => return None,
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

/// What is behind white space, this byte, and white space again.
fn after(text: &[u8], byte: u8) -> Option<&[u8]> {
    text.trim_ascii_start().strip_prefix(&[byte]).map(<[u8]>::trim_ascii_start)
}

/// Length of the text that stands at the front, both quotes included.
fn text_bytes(text: &[u8]) -> Option<usize> {
    text.strip_prefix(b"\"")?;
    let mut escaped = false;
    let end = text[1..].iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some(end + 2)
}

/// Length of the value that stands at the front: up to the comma or bracket that ends it.
fn value_bytes(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => at += text_bytes(&text[at..])? - 1,
            b'{' | b'[' => depth += 1,
            b',' | b'}' | b']' if depth == 0 => return (at > 0).then_some(at),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found: Vec<(&[u8], &[u8])> = members(text.as_bytes()).collect();
        let expected: Vec<(&[u8], &[u8])> =
            expected.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn members_are_found_in_their_order_whatever_their_values() {
        check(r#"{"a":"b","c":12}"#, &[("a", "\"b\""), ("c", "12")]);
        check(" { \"a\" : [1, {\"b\": \"]\"}] , \"c\" : null } ", &[("a", "[1, {\"b\": \"]\"}]"), ("c", "null")]);
        check(r#"{"a":"x\"},{\\","b":{}}"#, &[("a", r#""x\"},{\\""#), ("b", "{}")]);
        check("{}", &[]);
    }

    #[test]
    fn what_is_no_object_ends_early() {
        for text in
            ["", "[1]", "<html>", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\"b", "{\"a\":}", "{a:1}", "{,}"]
        {
            check(text, &[]);
        }
        check(r#"{"a":1,"b"}"#, &[("a", "1")]);
        let deep = "[".repeat(100_000);
        check(&alloc::format!("{{\"a\":{deep}"), &[]);
    }

    #[test]
    fn a_value_says_its_text_or_its_number() {
        let said = |value: &str| plain(value.as_bytes());
        assert_eq!(said(r#""a\"b\\c\/d""#), Some("a\"b\\c/d".to_string()));
        assert_eq!(said("3599"), Some("3599".to_string()));
        assert_eq!(said("-1.5e300"), Some("-1.5e300".to_string()));
        for value in ["null", "true", "[]", "{}", r#""a\u0041""#, r#""a\"#] {
            assert_eq!(said(value), None, "{value}");
        }
    }
}
