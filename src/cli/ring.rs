//! `omsd ring`: looks at a ring file; it may be in use.

use super::{Exit, ended, options, parse_with_words, print, printed, root_of, root_option, say, usage_error};
use crate::agent::paths::Paths;
use crate::config::RingSettings;
use crate::record::{Sender, encode};
use crate::ring::inspect::{self, Shown};
use crate::ring::{OpenError, disk, frame};
use crate::sys::host;
use crate::upload::text::Text;
use crate::upload::{Stream, items, times};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const BRIEF: &str = "omsd ring list|dump|verify [options] [FILE]";

/// Runs `omsd ring`.
pub fn command(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    ended(|| {
        let matches = parse_with_words(&options, BRIEF, arguments)?;
        let (action, file) = match matches.free.as_slice() {
            [action] => (action, Paths::below(&root_of(&matches)).place(&RingSettings::default().path)),
            [action, file] => (action, PathBuf::from(file)),
            _ => return Err(usage_error(&format!("say what to do: {BRIEF}"))),
        };
        match action.as_str() {
            "list" => list(&file),
            "dump" => dump(&file),
            "verify" => verify(&file),
            other => Err(usage_error(&format!("there is no ring {other}; it takes list, dump or verify"))),
        }
    })
}

fn open(path: &Path) -> Result<disk::DiskFile, Exit> {
    disk::open_read_only(path).map_err(|error| {
        eprintln!("omsd: {}: {error}", path.display());
        if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::StateIo }
    })
}

fn unreadable(path: &Path, error: &OpenError) -> Exit {
    eprintln!("omsd: {}: {error}", path.display());
    Exit::StateIo
}

/// A stream by its number in a frame.
pub fn stream_name(number: u8) -> &'static str {
    Stream::from_number(number).map_or("unknown", Stream::name)
}

fn list(path: &Path) -> Result<Exit, Exit> {
    let look = inspect::look(&open(path)?).map_err(|error| unreadable(path, &error))?;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = look.write_to(&mut text, stream_name);
    print(&text)?;
    Ok(Exit::Ok)
}

fn verify(path: &Path) -> Result<Exit, Exit> {
    let look = inspect::look(&open(path)?).map_err(|error| unreadable(path, &error))?;
    let problems = look.problems();
    for problem in &problems {
        say(&format!("{problem}\n"));
    }
    let verdict = if problems.is_empty() { "whole" } else { "damaged; opening it mends what can be" };
    say(&format!("{}: {verdict}\n", path.display()));
    Ok(if problems.is_empty() { Exit::Ok } else { Exit::StateIo })
}

/// One JSON object a line: what stands in the frame, and the record as text.
fn dump(path: &Path) -> Result<Exit, Exit> {
    let file = open(path)?;
    let mut output = BufWriter::new(io::stdout().lock());
    let mut line = Text::default();
    let host = host::computer();
    let mut written = Ok(());
    let dumped = inspect::dump(&file, |shown| {
        line.truncate(0);
        write_frame(shown, &host, &mut line);
        written = output.write_all(line.as_bytes());
        written.is_ok()
    });
    dumped.map_err(|error| unreadable(path, &error))?;
    printed(written.and_then(|()| output.flush()))?;
    Ok(Exit::Ok)
}

fn write_frame(shown: &Shown<'_>, host: &str, line: &mut Text) {
    let header = &shown.header;
    line.put(b"{\"received\":\"");
    line.put(&times::time_text(i64::try_from(header.received_us / 1000).unwrap_or(0)));
    let facts = format!(
        "\",\"sequence\":{},\"stream\":\"{}\",\"offset\":{},\"pending\":{},\"cut\":{}",
        header.sequence,
        stream_name(header.stream),
        shown.offset,
        shown.pending,
        header.flags & frame::CUT != 0
    );
    line.put_slice(facts.as_bytes());
    let record = if header.stream == Stream::Syslog as u8 { encode::decode(shown.payload) } else { None };
    if let Some(Sender::Address(address)) = record.map(|record| record.sender) {
        line.put_slice(format!(",\"sender\":\"{address}\"").as_bytes());
    }
    line.put(b",\"record\":\"");
    let text = match Stream::from_number(header.stream) {
        Some(stream) => items::shown(stream, header.received_us, shown.payload, host),
        None => Cow::Borrowed(shown.payload),
    };
    line.put_escaped(&text);
    line.put(b"\"}\n");
}
