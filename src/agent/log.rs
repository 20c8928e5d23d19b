//! Our own log: lines on standard error, in the original's form, and never one per message. An agent that is detached from whoever started
//! it has a file in its place.

use super::rejected;
use crate::config::LogLevel;
use crate::limits::LOG_BYTES_MAX;
use crate::sys::{clock, file};
use crate::upload::times;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{Arguments, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The same cause is not logged again for this long.
const REPEAT_MS: u64 = 60_000;
/// Causes remembered; more than there are kinds in the program.
const CAUSES_MAX: usize = 64;

/// Where log lines go.
#[derive(Debug)]
pub struct Log {
    level: LogLevel,
    causes: Vec<Cause>,
    /// `None`: standard error.
    file: Option<File>,
}

/// What lines of one cause there were.
#[derive(Debug)]
struct Cause {
    name: &'static str,
    logged_ms: u64,
    /// Lines left out since then.
    left_out: u64,
    /// The end of it was not logged.
    lasts: bool,
}

impl Log {
    /// A log that shows this level and what is more severe.
    pub fn new(level: LogLevel) -> Log {
        Log { level, causes: Vec::new(), file: None }
    }

    /// Lines go to this file from now on. Fails as opening it does.
    pub fn write_to(&mut self, path: &Path) -> io::Result<()> {
        self.file = Some(file::open_to_append(path)?);
        Ok(())
    }

    /// A file that has grown to its bound becomes `NAME.old` in place of the one before, and a new one is begun; for now and again. A disk
    /// that does not do it is told of by others: lines go where they went.
    pub fn trim(&mut self, path: &Path) {
        let bytes = self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        if bytes >= LOG_BYTES_MAX && std::fs::rename(path, rejected::old(path)).is_ok() {
            let _ = self.write_to(path);
        }
    }

    /// Shows this level from now on.
    pub fn set_level(&mut self, level: LogLevel) {
        self.level = level;
    }

    /// One line.
    pub fn line(&self, level: LogLevel, text: Arguments<'_>) {
        if level > self.level {
            return;
        }
        let mut line = stamp(clock::wall_s());
        // Writing to a String cannot fail; a log that nobody takes is no reason to stop.
        let _ = writeln!(line, " [{}]: {text}", name(level));
        let _ = match &self.file {
            Some(file) => {
                let mut file = file;
                file.write_all(line.as_bytes())
            }
            None => io::stderr().write_all(line.as_bytes()),
        };
    }

    /// One line a minute for this cause, with the number of those left out.
    pub fn limited(&mut self, now_ms: u64, level: LogLevel, cause: &'static str, text: Arguments<'_>) {
        let known = self.causes.iter_mut().find(|known| known.name == cause);
        let left_out = match known {
            Some(known) if now_ms < known.logged_ms + REPEAT_MS => {
                known.left_out += 1;
                return;
            }
            Some(known) => {
                (known.logged_ms, known.lasts) = (now_ms, true);
                core::mem::take(&mut known.left_out)
            }
            None => {
                if self.causes.len() < CAUSES_MAX {
                    self.causes.push(Cause { name: cause, logged_ms: now_ms, left_out: 0, lasts: true });
                }
                0
            }
        };
        match left_out {
            0 => self.line(level, text),
            _ => self.line(level, format_args!("{text} ({left_out} more like this since the last such line)")),
        }
    }

    /// This cause is over: its next line is not held back.
    pub fn over(&mut self, cause: &'static str) {
        self.causes.retain(|known| known.name != cause);
    }

    /// This cause is over for now: one line, if it was logged and its end was not. Its next line is held back all the same, for
    /// what comes and goes.
    pub fn ended(&mut self, level: LogLevel, cause: &'static str, text: Arguments<'_>) {
        let known = self.causes.iter_mut().find(|known| known.name == cause && known.lasts);
        if let Some(known) = known {
            known.lasts = false;
            self.line(level, text);
        }
    }
}

/// `YYYY-MM-DD HH:MM:SS ±zzzz` in the host's zone.
fn stamp(unix_s: i64) -> String {
    let offset_s = clock::utc_offset_s(unix_s);
    let local = times::time_text((unix_s + i64::from(offset_s)) * 1000);
    let (date, time) = (String::from_utf8_lossy(&local[..10]), String::from_utf8_lossy(&local[11..19]));
    let sign = if offset_s < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset_s.abs() / 3600, offset_s.abs() / 60 % 60);
    alloc::format!("{date} {time} {sign}{hours:02}{minutes:02}")
}

fn name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Fatal => "fatal",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_a_file_stays_within_its_bound_and_loses_no_line_of_the_last_one() {
        let directory = std::env::temp_dir().join(alloc::format!("omsd-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("log");
        let mut log = Log::new(LogLevel::Info);
        log.write_to(&path).unwrap();
        let line = "x".repeat(1000);
        let lines = usize::try_from(LOG_BYTES_MAX).unwrap() / 1000 * 5 / 2;
        for number in 0..lines {
            log.line(LogLevel::Info, format_args!("{number} {line}"));
            log.line(LogLevel::Debug, format_args!("not shown"));
            log.trim(&path);
        }
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let both = text(&rejected::old(&path)) + &text(&path);
        let numbers: Vec<usize> =
            both.lines().map(|line| line.split(' ').nth(4).and_then(|word| word.parse().ok()).unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.last() == Some(&(lines - 1)));
        assert!(both.len() < usize::try_from(LOG_BYTES_MAX).unwrap() * 2 + 2000);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
