//! What other processes of this program do to a running agent: find it, stop it, have it read its configuration again.

use super::lock::{self, Holder, Record, holder};
use super::paths::Paths;
use crate::limits::{LOCK_STEP_MS, PROC_FILE_BYTES_MAX};
use crate::sys::process::{self, Signal};
use crate::sys::{clock, filesystem};
use alloc::string::String;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

/// How a request to a running agent ended.
#[derive(Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// It was done by SIGKILL.
    Killed,
    /// Nobody has the lock.
    NotRunning,
    /// The agent refused.
    Refused,
    /// The agent refused: one that starts afresh would not.
    Beyond,
    /// Nothing happened in the time there was.
    Late,
    /// It could not be made sure which process has the lock, so none was touched.
    Unsure,
    /// The kernel did not let us.
    Denied(io::Error),
}

/// Ends the holder of the lock: SIGTERM and, after `term_ms`, SIGKILL if `kill_ms` says how long to wait for that.
pub fn stop(paths: &Paths, term_ms: u64, kill_ms: Option<u64>) -> Answer {
    let record = match holder(paths) {
        Ok(Holder::Held(record)) => record,
        Ok(Holder::Free) => return Answer::NotRunning,
        Err(error) => return Answer::Denied(error),
    };
    let Some(pid) = process_of(paths, &record) else { return Answer::Unsure };
    let steps = [Some((Signal::Term, term_ms, Answer::Done)), kill_ms.map(|ms| (Signal::Kill, ms, Answer::Killed))];
    for (signal, wait_ms, answer) in steps.into_iter().flatten() {
        match process::send(pid, signal) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Answer::Denied(error),
            // Gone already, and with it the lock.
            Err(_) | Ok(()) => {}
        }
        if waited(wait_ms, || matches!(holder(paths), Ok(Holder::Free))) {
            return answer;
        }
    }
    Answer::Late
}

/// Has the holder of the lock take its configuration again, and waits until it says whether it did.
pub fn reload(paths: &Paths, wait_ms: u64) -> Answer {
    let before = match holder(paths) {
        Ok(Holder::Held(record)) => record,
        Ok(Holder::Free) => return Answer::NotRunning,
        Err(error) => return Answer::Denied(error),
    };
    let Some(pid) = process_of(paths, &before) else { return Answer::Unsure };
    if let Err(error) = process::send(pid, Signal::Reload) {
        return Answer::Denied(error);
    }
    let mut answer = Answer::Late;
    waited(wait_ms, || {
        answer = match holder(paths) {
            Ok(Holder::Held(now)) if now.beyond != before.beyond => Answer::Beyond,
            Ok(Holder::Held(now)) if now.refused != before.refused => Answer::Refused,
            Ok(Holder::Held(now)) if now.reloads != before.reloads => Answer::Done,
            Ok(Holder::Free) => Answer::NotRunning,
            _ => Answer::Late,
        };
        !matches!(answer, Answer::Late)
    });
    answer
}

/// Whether `condition` came true within this time.
fn waited(ms: u64, mut condition: impl FnMut() -> bool) -> bool {
    let until_ms = clock::monotonic_ms() + ms;
    loop {
        if condition() {
            return true;
        }
        if clock::monotonic_ms() >= until_ms {
            return false;
        }
        clock::sleep_ms(LOCK_STEP_MS);
    }
}

/// The process that has the lock. Who may write the lock file must not have root send a signal wherever they like, so the kernel's
/// own list of locks decides; where that does not tell, a process that is what the record says is believed if it runs as the owner of the
/// lock file, who could end it anyway.
fn process_of(paths: &Paths, record: &Record) -> Option<u32> {
    let file = fs::symlink_metadata(paths.lock()).ok()?;
    let is_recorded = || {
        let same_boot = record.boot_id == lock::boot_id();
        same_boot && record.pid > 1 && record.started > 0 && record.is_alive()
    };
    match locked_by(&locks(), (file.dev(), file.ino()), record.pid) {
        Some(pid) => Some(pid),
        None => (is_recorded() && process::owner(record.pid) == Some(file.uid())).then_some(record.pid),
    }
}

/// The kernel's list of locks; empty if it cannot be read. Source: proc_locks(5).
fn locks() -> String {
    let mut text = String::new();
    if let Ok(file) = File::open("/proc/locks") {
        let _ = file.take(PROC_FILE_BYTES_MAX as u64).read_to_string(&mut text);
    }
    text
}

/// Who has a file locked by flock(2) for itself alone. The device in the list is not the file's where file systems are stacked: there
/// the recorded process is confirmed by its inode, but no other is found.
fn locked_by(locks: &str, (device, inode): (u64, u64), recorded: u32) -> Option<u32> {
    let device = filesystem::device_text(device);
    let entries = locks.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == "FLOCK").then_some(())?;
        let pid: u32 = words.nth(2)?.parse().ok()?;
        let (found, number) = words.next()?.rsplit_once(':')?;
        (number.parse() == Ok(inode) && pid > 1).then_some((pid, found == device))
    });
    let mut confirmed = None;
    for (pid, is_same_device) in entries {
        if is_same_device {
            return Some(pid);
        }
        confirmed = confirmed.or((pid == recorded).then_some(pid));
    }
    confirmed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_tells_who_has_the_lock() {
        let locks = "1: POSIX  ADVISORY  WRITE 100 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 200 08:02:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 201 08:01:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 300 08:01:78 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 400 08:01:77 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 0 08:03:79 0 EOF\n";
        let device = |minor: u64| (8 << 8) | minor;
        for (file, recorded, expected) in [
            ((device(1), 77), 0, Some(400)),
            ((device(1), 77), 200, Some(400)),
            ((device(2), 77), 0, Some(200)),
            ((device(5), 77), 200, Some(200)),
            ((device(5), 77), 100, None),
            ((device(5), 77), 999, None),
            ((device(1), 79), 1, None),
            ((device(3), 79), 1, None),
        ] {
            assert_eq!(locked_by(locks, file, recorded), expected, "{file:?} {recorded}");
        }
    }
}
