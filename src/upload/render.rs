//! `omsd render`: raw syslog lines to the items that would be uploaded, for an administrator's "why does it look like this?".

use super::items::rows::RowForm;
use super::items::{Renderer, ThisHost};
use super::text::Text;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::sys;
use alloc::vec::Vec;
use std::io::{self, BufRead, Write};

/// Whose form items have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `out_oms`
    Oms,
    /// `out_azure_ingestion`
    Rows(RowForm),
}

/// Reads lines and writes for each the item that would be uploaded, one JSON object a line. They count as received at
/// `now_us` (µs since 1970; `None`: when they are read), from nobody known: `HostIP` is `Unknown IP`. What a line has above
/// [`MESSAGE_BYTES_MAX`] is cut. Fails as its reader and its writer do.
pub fn render(form: Form, input: impl BufRead, output: impl Write, now_us: Option<u64>) -> io::Result<()> {
    let host = ThisHost { name: sys::host::computer(), address: None };
    render_with(Renderer::new(host, sys::clock::unix_from_local), form, input, output, now_us)
}

/// As [`render`], for a host and a zone that the caller chose.
pub fn render_with(
    mut renderer: Renderer,
    form: Form,
    mut input: impl BufRead,
    mut output: impl Write,
    now_us: Option<u64>,
) -> io::Result<()> {
    let (mut line, mut item) = (Vec::new(), Text::default());
    while next_line(&mut input, &mut line)? {
        item.truncate(0);
        let now_us = now_us.unwrap_or_else(sys::clock::wall_us);
        match &form {
            Form::Oms => renderer.syslog(now_us, None, &line, &mut item),
            Form::Rows(form) => renderer.syslog_row(form, now_us, None, &line, &mut item),
        }
        item.put(b"\n");
        output.write_all(item.as_bytes())?;
    }
    output.flush()
}

/// The next line without its line feed, cut; `false` at the end of the input.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut started = false;
    loop {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(started);
        }
        started = true;
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        line.extend_from_slice(&part[..part.len().min(MESSAGE_BYTES_MAX - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::{format, vec};

    #[track_caller]
    fn messages(input: &[u8]) -> Vec<String> {
        let mut output = Vec::new();
        // A reader of three bytes at a time finds what a line does across reads.
        render(Form::Oms, io::BufReader::with_capacity(3, input), &mut output, Some(0)).unwrap();
        let text = String::from_utf8(output).unwrap();
        text.lines().map(|line| String::from(field(line, "Message"))).collect()
    }

    fn field<'a>(item: &'a str, key: &str) -> &'a str {
        let start = format!(r#""{key}":""#);
        item.split(&start).nth(1).and_then(|rest| rest.split('"').next()).unwrap()
    }

    #[test]
    fn each_line_is_one_item_and_the_last_needs_no_line_feed() {
        assert_eq!(messages(b""), Vec::<String>::new());
        assert_eq!(messages(b"a\n\nb"), ["a", "", "b"]);
        assert_eq!(messages(b"a\r\nb\n"), ["a", "b"]);
    }

    #[test]
    fn a_line_above_the_bound_is_cut_and_the_next_is_whole() {
        let mut input = vec![b'x'; MESSAGE_BYTES_MAX + 10];
        input.extend_from_slice(b"\nnext\n");
        assert_eq!(messages(&input), ["x".repeat(MESSAGE_BYTES_MAX), String::from("next")]);
    }

    #[test]
    fn now_is_when_lines_count_as_received() {
        let mut output = Vec::new();
        render(Form::Oms, &b"text"[..], &mut output, Some(1_782_993_600_123_456)).unwrap();
        let item = String::from_utf8(output).unwrap();
        assert_eq!(field(&item, "Timestamp"), "2026-07-02T12:00:00.123Z");
        assert_eq!(field(&item, "EventTime"), "2026-07-02T12:00:00.123Z");
        assert_eq!(field(&item, "HostIP"), "Unknown IP");
    }
}
