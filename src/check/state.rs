//! `state.dir`, `state.ring`: where records wait.

use super::{Finding, Scene, Tell, identity, proc};
use crate::agent::status::{size, span};
use crate::collect::logical_disk::Space;
use crate::ring::inspect::{self, Look};
use crate::ring::{OpenError, disk};
use crate::sys::filesystem;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Inodes that should be free: a directory that cannot take a new file is as full as one without space.
const INODES_MIN: u64 = 1000;
/// File systems of other hosts, whose locks and syncs are not this host's.
const REMOTE: [&str; 10] = ["nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "fuse.sshfs", "fuse.gluster"];

/// The directory as it was found.
struct Directory {
    path: String,
    /// The agent's account may write into it.
    is_writable: bool,
    mount: Option<proc::Mount>,
    space: Option<Space>,
    ring_bytes: u64,
    /// What the ring file has of it already.
    there_bytes: u64,
}

pub(super) fn directory(scene: &Scene, tell: Tell) {
    const ID: &str = "state.dir";
    scene.configured(&[ID], tell, |config, tell| {
        let ring = scene.paths.place(&config.ring.path);
        let path = ring.parent().unwrap_or(&ring);
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return tell(Finding::skip(ID, format!("{} is not there yet: omsd run makes it", path.display())));
            }
            Err(error) => return tell(Finding::skip(ID, format!("{}: {error}", path.display()))),
        };
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let mount = proc::text(Path::new("/proc/self/mountinfo")).ok().and_then(|table| proc::mount_of(&table, &real));
        // Asking a server that is gone would hang.
        let asks = !mount.as_ref().is_some_and(is_remote);
        let space = CString::new(real.as_os_str().as_bytes()).ok().filter(|_| asks);
        tell(judge_directory(&Directory {
            path: path.display().to_string(),
            is_writable: identity::account(scene).is_none_or(|account| identity::may_write(&found, account)),
            mount,
            space: space.and_then(|path| filesystem::space(&path)),
            ring_bytes: config.ring.bytes,
            there_bytes: fs::metadata(&ring).map_or(0, |ring| ring.len()),
        }));
    });
}

fn is_remote(mount: &proc::Mount) -> bool {
    REMOTE.iter().any(|kind| mount.kind.starts_with(kind))
}

fn judge_directory(directory: &Directory) -> Finding {
    const ID: &str = "state.dir";
    let Directory { path, is_writable, mount, space, ring_bytes, there_bytes } = directory;
    let kind = mount.as_ref().map_or("unknown", |mount| mount.kind.as_str());
    if mount.as_ref().is_some_and(is_remote) {
        let fix = "put it on a disk of this host: buffer_path, or --root";
        return Finding::fail(ID, format!("{path} is on {kind}, a file system of another host"), fix);
    }
    if mount.as_ref().is_some_and(|mount| mount.is_read_only) {
        return Finding::fail(
            ID,
            format!("{path} is on a read-only file system"),
            "mount it for writing, or use --root",
        );
    }
    if !is_writable {
        return Finding::fail(
            ID,
            format!("the agent's account may not write into {path}"),
            format!("chmod u+rwx {path}"),
        );
    }
    let Some(space) = space else { return Finding::skip(ID, format!("{path} is on {kind}, which tells no space")) };
    let free = space.available.saturating_mul(space.block_bytes);
    let missing = ring_bytes.saturating_sub(*there_bytes);
    if free < missing {
        let text = format!("{path} has {} free, the ring needs {}", size(free), size(missing));
        return Finding::fail(ID, text, "free space there, or set a smaller buffer_size");
    }
    if space.inodes > 0 && space.inodes_free == 0 {
        return Finding::fail(ID, format!("{path} has no inode free: no file can be made"), "delete files there");
    }
    if free < ring_bytes.saturating_mul(2) {
        let text = format!("{path} has {} free, less than twice the ring ({})", size(free), size(*ring_bytes));
        return Finding::warn(ID, text, "free space there");
    }
    if space.inodes > 0 && space.inodes_free < INODES_MIN {
        return Finding::warn(ID, format!("{path} has {} inodes free", space.inodes_free), "delete files there");
    }
    Finding::pass(ID, format!("{path} on {kind}, {} free", size(free)))
}

/// The ring as it was found.
struct Ring {
    path: String,
    problems: Vec<String>,
    /// Of the ring, by what waits.
    used_pct: u64,
    /// Age of the oldest record that waits; `None`: none does.
    oldest_s: Option<u64>,
}

pub(super) fn ring(scene: &Scene, tell: Tell) {
    const ID: &str = "state.ring";
    /// A frame that is written while one looks may show as a gap.
    const TRIES: usize = 3;
    scene.configured(&[ID], tell, |config, tell| {
        let path = scene.paths.place(&config.ring.path);
        let shown = path.display().to_string();
        let file = match disk::open_read_only(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return tell(Finding::skip(ID, format!("{shown} is not there yet: omsd run makes it")));
            }
            Err(error) => return tell(Finding::skip(ID, format!("{shown}: {error}"))),
        };
        let mut looked = inspect::look(&file);
        for _ in 1..TRIES {
            if looked.as_ref().is_ok_and(|look| look.problems().is_empty()) || scene.agent().is_none() {
                break;
            }
            looked = inspect::look(&file);
        }
        let found = looked.and_then(|look| Ok(summary(&shown, &look, oldest(&file)?, scene.now_us)));
        tell(match found {
            Ok(ring) => judge_ring(&ring),
            Err(error) => Finding::fail(ID, format!("{shown}: {error}"), MEND),
        });
    });
}

/// What to do about a damaged ring.
const MEND: &str = "restart omsd: it keeps every whole record, counts the rest, and sets aside what is no ring; look for a failing disk";

/// Position and time of receipt of the oldest record that waits.
fn oldest(file: &disk::DiskFile) -> Result<Option<(u64, u64)>, OpenError> {
    let mut oldest = None;
    inspect::dump(file, |shown| {
        oldest = shown.pending.then_some((shown.at.position, shown.header.received_us));
        oldest.is_none()
    })?;
    Ok(oldest)
}

fn summary(path: &str, look: &Look, oldest: Option<(u64, u64)>, now_us: u64) -> Ring {
    let recovered = &look.recovered;
    let waiting = oldest.map_or(0, |(position, _)| recovered.cursor.head.position.saturating_sub(position));
    Ring {
        path: path.to_string(),
        problems: look.problems().iter().map(ToString::to_string).collect(),
        used_pct: waiting * 100 / recovered.ground.layout.data_bytes.max(1),
        oldest_s: oldest.map(|(_, received_us)| now_us.saturating_sub(received_us) / 1_000_000),
    }
}

fn judge_ring(ring: &Ring) -> Finding {
    const ID: &str = "state.ring";
    const USED_PCT_MAX: u64 = 80;
    const AGE_S_MAX: u64 = 24 * 60 * 60;
    let Ring { path, problems, used_pct, oldest_s } = ring;
    if let Some(first) = problems.first() {
        let more = problems[1..].to_vec();
        return Finding::fail(ID, format!("{path} is damaged: {first}"), MEND).with(more);
    }
    let oldest = oldest_s.map_or_else(|| "nothing waits".to_string(), |s| format!("oldest record {}", span(s)));
    let text = format!("{path}: {used_pct} % used, {oldest}");
    if *used_pct > USED_PCT_MAX || oldest_s.is_some_and(|s| s > AGE_S_MAX) {
        return Finding::warn(ID, text, "records do not leave: see the checks net.*");
    }
    Finding::pass(ID, text)
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Directory), expected: Grade, part: &str) {
        let space = Space {
            block_bytes: 4096,
            blocks: 1 << 20,
            free: 1 << 19,
            available: 1 << 19,
            inodes: 1 << 20,
            inodes_free: 1 << 19,
        };
        let mut directory = Directory {
            path: "/var/opt/omsd".into(),
            is_writable: true,
            mount: Some(proc::Mount { kind: "ext4".into(), is_read_only: false, is_noexec: false }),
            space: Some(space),
            ring_bytes: 10 << 20,
            there_bytes: 0,
        };
        change(&mut directory);
        let found = judge_directory(&directory);
        assert!(found.result == expected && found.text.contains(part), "{found:?}");
        assert_eq!(found.fix.is_empty(), matches!(expected, Grade::Pass | Grade::Skip));
    }

    fn free(directory: &mut Directory, bytes: u64) {
        if let Some(space) = &mut directory.space {
            space.available = bytes / space.block_bytes;
        }
    }

    #[test]
    fn the_ring_has_room_on_a_disk_of_this_host() {
        check(|_| (), Grade::Pass, "ext4, 2.0 GiB free");
        check(|it| free(it, 15 << 20), Grade::Warn, "less than twice");
        check(|it| free(it, 9 << 20), Grade::Fail, "the ring needs 10.0 MiB");
        check(|it| (free(it, 9 << 20), it.there_bytes = 10 << 20).0, Grade::Warn, "less than twice");
        check(|it| it.is_writable = false, Grade::Fail, "may not write");
        check(
            |it| it.mount = Some(proc::Mount { kind: "nfs4".into(), is_read_only: false, is_noexec: false }),
            Grade::Fail,
            "another host",
        );
        check(
            |it| it.mount = Some(proc::Mount { kind: "xfs".into(), is_read_only: true, is_noexec: false }),
            Grade::Fail,
            "read-only",
        );
        check(|it| it.space.as_mut().map_or((), |space| space.inodes_free = 999), Grade::Warn, "999 inodes");
        check(|it| it.space.as_mut().map_or((), |space| space.inodes_free = 0), Grade::Fail, "no inode");
        check(|it| it.space.as_mut().map_or((), |space| (space.inodes, space.inodes_free) = (0, 0)), Grade::Pass, "");
        check(|it| it.space = None, Grade::Skip, "tells no space");
    }

    #[test]
    fn a_ring_is_whole_and_drains() {
        let ring = |problems: &[&str], used_pct, oldest_s| Ring {
            path: "/ring".into(),
            problems: problems.iter().map(ToString::to_string).collect(),
            used_pct,
            oldest_s,
        };
        for (ring, expected, part) in [
            (ring(&[], 0, None), Grade::Pass, "nothing waits"),
            (ring(&[], 80, Some(24 * 3600)), Grade::Pass, "oldest record 1 d"),
            (ring(&[], 81, Some(5)), Grade::Warn, "81 % used"),
            (ring(&[], 1, Some(24 * 3600 + 1)), Grade::Warn, "1 % used"),
            (ring(&["a", "b"], 1, None), Grade::Fail, "damaged: a"),
        ] {
            let found = judge_ring(&ring);
            assert!(found.result == expected && found.text.contains(part), "{found:?}");
        }
    }
}
