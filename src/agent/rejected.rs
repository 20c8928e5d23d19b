//! Records that the service refused for good: one JSON object a line, in a file that never grows beyond a bound.

use crate::limits::REJECTED_BYTES_MAX;
use crate::ring::frame::Header;
use crate::sys::{clock, host};
use crate::upload::items;
use crate::upload::text::Text;
use crate::upload::times::time_text;
use crate::upload::{Outcome, Stream};
use alloc::format;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Who may read it: it holds log messages.
const MODE: u32 = 0o600;

/// Appends a record with the reason. When the file is full it becomes `NAME.old` in place of the one before, so at most twice
/// the bound stands on disk. Fails as the file system does.
pub fn keep(path: &Path, stream: Stream, header: &Header, payload: &[u8], outcome: &Outcome) -> io::Result<()> {
    let line = line(stream, header, payload, outcome);
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > 0 && bytes + line.len() as u64 > REJECTED_BYTES_MAX {
        fs::rename(path, old(path))?;
    }
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)?.write_all(line.as_bytes())
}

/// What a full file becomes.
pub fn old(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".old");
    PathBuf::from(name)
}

fn line(stream: Stream, header: &Header, payload: &[u8], outcome: &Outcome) -> Text {
    let mut line = Text::default();
    line.put(b"{\"refused\":\"");
    line.put(&time_text(i64::try_from(clock::wall_us() / 1000).unwrap_or(0)));
    line.put_slice(format!("\",\"status\":{},\"reason\":\"", outcome.status).as_bytes());
    line.put_escaped(outcome.reason.as_bytes());
    line.put_slice(format!("\",\"stream\":\"{}\",\"received\":\"", stream.name()).as_bytes());
    line.put(&time_text(i64::try_from(header.received_us / 1000).unwrap_or(0)));
    line.put(b"\",\"record\":\"");
    line.put_escaped(&items::shown(stream, header.received_us, payload, &host::computer()));
    line.put(b"\"}\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::Verdict;
    use alloc::string::String;

    fn write(path: &Path, bytes: usize) {
        let header = Header { stream: 0, flags: 0, length: 0, sequence: 1, received_us: 1_700_000_000_000_000 };
        let payload = [&b"\0"[..], &alloc::vec![b'x'; bytes]].concat();
        let outcome = Outcome { status: 400, ..Outcome::new(Verdict::Refused, String::from("no \"such\" field")) };
        keep(path, Stream::Syslog, &header, &payload, &outcome).unwrap();
    }

    #[test]
    fn the_file_is_lines_of_json_and_stays_within_its_bound() {
        let directory = std::env::temp_dir().join(format!("omsd-rejected-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("rejected");
        let step = usize::try_from(REJECTED_BYTES_MAX / 5).unwrap();
        for _ in 0..12 {
            write(&path, step);
        }
        assert!(fs::metadata(&path).unwrap().len() <= REJECTED_BYTES_MAX);
        assert!(fs::metadata(old(&path)).unwrap().len() <= REJECTED_BYTES_MAX);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            let object: miniserde::json::Object = miniserde::json::from_str(line).unwrap();
            assert!(
                matches!(&object["reason"], miniserde::json::Value::String(reason) if reason == "no \"such\" field")
            );
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
