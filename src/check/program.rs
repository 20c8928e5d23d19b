//! `bin.self`: the program's file.

use super::{Finding, Scene, Tell, proc};
use crate::crypto::sha256_hex;
use crate::host::manifest::{Entry, Manifest};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const ID: &str = "bin.self";

/// Others than its owner may write to it.
const WRITABLE: u32 = 0o022;

/// What `omsd install` wrote down of the program.
#[derive(Debug, PartialEq, Eq)]
struct Installed {
    /// Where it put it, before `--root`.
    path: String,
    /// SHA-256 of each version that it wrote, in hex.
    digests: Vec<String>,
}

pub(super) fn look(scene: &Scene, tell: Tell) {
    let installed = Manifest::load(&scene.root).ok().and_then(|manifest| installed(manifest.entries()));
    let path = match &installed {
        Some(installed) => scene.paths.place(&installed.path),
        None => std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
    };
    let shown = path.display().to_string();
    let mode = fs::metadata(&path).map(|found| found.permissions().mode());
    let digest = || fs::read(&path).map(|bytes| sha256_hex(&bytes));
    let mounts = proc::text(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let mount = fs::canonicalize(&path).ok().and_then(|real| proc::mount_of(&mounts, &real));
    let is_noexec = mount.is_some_and(|mount| mount.is_noexec);
    tell(match (mode, &installed) {
        (Err(error), Some(_)) => Finding::fail(ID, format!("{shown}: {error}"), "install it again: omsd install"),
        (Err(error), None) => Finding::skip(ID, format!("{shown}: {error}")),
        (Ok(mode), None) => judge(&shown, mode, is_noexec, None),
        (Ok(mode), Some(installed)) => match digest() {
            Ok(digest) => judge(&shown, mode, is_noexec, Some(installed.digests.contains(&digest))),
            Err(error) => Finding::skip(ID, format!("{shown}: {error}")),
        },
    });
}

/// `is_known`: whether the manifest has these bytes; `None`: there is no manifest.
fn judge(path: &str, mode: u32, is_noexec: bool, is_known: Option<bool>) -> Finding {
    let mode = mode & 0o7777;
    match is_known {
        _ if is_noexec => Finding::fail(
            ID,
            format!("{path} is on a file system from which no program is started (noexec)"),
            "put it elsewhere, or mount that without noexec",
        ),
        _ if mode & WRITABLE != 0 => {
            Finding::fail(ID, format!("{path} has mode {mode:o}: others may change it"), format!("chmod 755 {path}"))
        }
        Some(false) => Finding::fail(
            ID,
            format!("{path} is not what omsd install put there"),
            "find out who changed it, then install it again: omsd install",
        ),
        Some(true) => Finding::pass(ID, format!("{path} is as it was installed, mode {mode:o}")),
        None => {
            Finding::skip(ID, format!("{path}: mode {mode:o} is good; no manifest of omsd install tells its digest"))
        }
    }
}

/// The program's lines in the manifest.
fn installed(entries: &[Entry]) -> Option<Installed> {
    let files = entries.iter().filter_map(|entry| match entry {
        Entry::File { digest, path, .. } if path.ends_with("/bin/omsd") => Some((digest, path)),
        _ => None,
    });
    let all: Vec<(&String, &String)> = files.collect();
    let path = all.first()?.1.clone();
    Some(Installed { path, digests: all.into_iter().map(|(digest, _)| digest.clone()).collect() })
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn the_manifest_names_every_version_that_was_written() {
        let file = |digest: &str, path: &str| Entry::File {
            mode: 0o755,
            owner: "root:root".into(),
            digest: digest.into(),
            path: path.into(),
        };
        let program = "/opt/omsd/bin/omsd";
        let entries = [Entry::Mode("cron".into()), file("aa", program), file("bb", "/etc/x"), file("cc", program)];
        let expected = Installed { path: program.into(), digests: ["aa", "cc"].map(String::from).into() };
        assert_eq!(installed(&entries), Some(expected));
        assert_eq!(installed(&entries[..1]), None);
    }

    #[test]
    fn what_others_may_write_somebody_changed_or_cannot_be_started_fails() {
        for (mode, is_noexec, is_known, expected) in [
            (0o100755, false, Some(true), Grade::Pass),
            (0o100755, false, None, Grade::Skip),
            (0o100755, false, Some(false), Grade::Fail),
            (0o100775, false, None, Grade::Fail),
            (0o100757, false, Some(true), Grade::Fail),
            (0o100755, true, Some(true), Grade::Fail),
        ] {
            let found = judge("/opt/omsd/bin/omsd", mode, is_noexec, is_known);
            assert_eq!(found.result, expected, "{mode:o} {is_known:?}");
            assert_eq!(found.fix.is_empty(), expected != Grade::Fail);
        }
    }
}
