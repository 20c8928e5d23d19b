//! RFC 5424: `1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`, `-` for what is not given.

use super::{Message, Pri, Timestamp, after, iso8601, token};

/// Takes apart what follows the PRI; `None` if it does not start with version 1 and five further parts of a header.
/// Structured data that is not well-formed is text.
pub(super) fn parse(pri: Pri, bytes: &[u8]) -> Option<Message<'_>> {
    let (timestamp, rest) = timestamp(after(b' ', after(b'1', bytes)?)?)?;
    let (hostname, rest) = part(rest)?;
    let (app_name, rest) = part(rest)?;
    let (procid, rest) = part(rest)?;
    let (msgid, rest) = match token(rest) {
        ([], _) => return None,
        (msgid, rest) => (given(msgid), rest.unwrap_or(b"")),
    };
    let (structured_data, rest) = structured_data(rest);
    Some(Message {
        pri,
        timestamp,
        hostname,
        app_name: app_name.unwrap_or(b""),
        procid,
        msgid,
        structured_data,
        msg: msg(rest),
    })
}

fn timestamp(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    match bytes {
        [b'-', b' ', rest @ ..] => Some((Timestamp::Absent, rest)),
        _ => iso8601::parse(bytes).and_then(|(timestamp, rest)| Some((timestamp, after(b' ', rest)?))),
    }
}

/// Takes one part of the header and the space behind it; `None` if it is empty or the last.
fn part(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (part, rest) = token(bytes);
    (!part.is_empty()).then_some((given(part), rest?))
}

fn given(part: &[u8]) -> Option<&[u8]> {
    (part != b"-").then_some(part)
}

/// Takes `-` or a row of `[…]` from the front, with the space behind it; if there is neither, all is text.
fn structured_data(bytes: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let elements = elements_bytes(bytes);
    let end = if bytes.first() == Some(&b'-') { 1 } else { elements };
    match bytes.split_at(end) {
        (_, rest) if end == 0 => (None, rest),
        (data, []) => (given(data), b""),
        (data, [b' ', rest @ ..]) => (given(data), rest),
        _ => (None, bytes),
    }
}

/// Length of the elements at the front, 0 if there are none or one is not closed. Inside quotes `\` takes the next byte
/// with it. Source: RFC 5424 section 6.3.3.
fn elements_bytes(bytes: &[u8]) -> usize {
    let (mut end, mut inside, mut quoted, mut escaped) = (0, false, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if inside => quoted = !quoted,
            _ if quoted => {}
            b'[' if !inside => inside = true,
            b']' if inside => (end, inside) = (at + 1, false),
            _ if !inside => break,
            _ => {}
        }
    }
    if inside { 0 } else { end }
}

/// The text without its byte order mark. Where there is none, one space more is dropped: rsyslog's template puts it in
/// front of the text of a message that it received in RFC 3164.
fn msg(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").or(after(b' ', bytes)).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (Option<&'a str>, &'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str);

    #[track_caller]
    fn check(rest: &str, expected: Parts<'_>) {
        let line = std::format!("1 2026-08-18T01:11:40.123456Z {rest}");
        let message = parse(Pri::DEFAULT, line.as_bytes()).expect("a header");
        let text = |bytes| core::str::from_utf8(bytes).unwrap();
        let found = (
            message.hostname.map(text),
            text(message.app_name),
            message.procid.map(text),
            message.msgid.map(text),
            message.structured_data.map(text),
            text(message.msg),
        );
        assert_eq!(found, expected, "{rest}");
        assert_eq!(message.timestamp, Timestamp::Unix(1_787_015_500_123_456));
    }

    #[test]
    fn parts_are_taken_and_nil_is_absent_not_a_dash() {
        check("h su 77 ID47 - text", (Some("h"), "su", Some("77"), Some("ID47"), None, "text"));
        check("- - - - - text", (None, "", None, None, None, "text"));
        check("h su abc - - ", (Some("h"), "su", Some("abc"), None, None, ""));
        check("h su abc - -", (Some("h"), "su", Some("abc"), None, None, ""));
        check("h su abc ID47", (Some("h"), "su", Some("abc"), Some("ID47"), None, ""));
    }

    #[test]
    fn structured_data_ends_where_its_last_element_does() {
        check("h a - - [x@1 b=\"c\"] t", (Some("h"), "a", None, None, Some("[x@1 b=\"c\"]"), "t"));
        check("h a - - [x@1] [t]", (Some("h"), "a", None, None, Some("[x@1]"), "[t]"));
        check(r#"h a - - [x b="\"]\\"][y] t"#, (Some("h"), "a", None, None, Some(r#"[x b="\"]\\"][y]"#), "t"));
        check("h a - - [x]", (Some("h"), "a", None, None, Some("[x]"), ""));
    }

    #[test]
    fn structured_data_that_is_not_well_formed_is_text() {
        check("h a - - [x b=\"c] t", (Some("h"), "a", None, None, None, "[x b=\"c] t"));
        check("h a - - [x]t", (Some("h"), "a", None, None, None, "[x]t"));
        check("h a - - text", (Some("h"), "a", None, None, None, "text"));
        check("h a - - --- text", (Some("h"), "a", None, None, None, "--- text"));
    }

    #[test]
    fn byte_order_mark_or_one_space_is_not_text() {
        check("h a - - - \u{feff}  text", (Some("h"), "a", None, None, None, "  text"));
        check("h a - - -  text", (Some("h"), "a", None, None, None, "text"));
        check("h a - - -   text", (Some("h"), "a", None, None, None, " text"));
    }

    #[test]
    fn what_is_no_header_is_left_to_others() {
        for line in [
            "",
            "1",
            "1 ",
            "1 -",
            "1 - h",
            "1 - h a p ",
            "1  - h a p m",
            "2 - h a p m - t",
            "1 yesterday h a p m - t",
            "1 2026-08-18 h a p m - t",
            "01 - h a p m - t",
            "1 - h  p m - t",
        ] {
            assert_eq!(parse(Pri::DEFAULT, line.as_bytes()), None, "{line}");
        }
        assert!(parse(Pri::DEFAULT, b"1 - - - - -").is_some());
    }
}
