//! Who supervises services on a host, and what each of them wants to know about ours.

use super::account::Account;
use super::{PREFIX, PROGRAM};
use alloc::format;
use alloc::string::String;
use core::fmt;
use std::fs;
use std::path::Path;

/// Who supervises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// systemd
    Systemd,
    /// Scripts in `/etc/init.d`, links in `/etc/rcN.d`.
    Sysv,
    /// upstart 1.0 and later
    Upstart,
    /// OpenRC
    Openrc,
    /// cron, by `run --ensure` every minute.
    Cron,
    /// Nobody: it is run in front, by hand, or as a container's first process.
    None,
}

/// The modes, by the names that `--mode` has for them.
pub const MODES: [(Mode, &str); 6] = [
    (Mode::Systemd, "systemd"),
    (Mode::Sysv, "sysv"),
    (Mode::Upstart, "upstart"),
    (Mode::Openrc, "openrc"),
    (Mode::Cron, "cron"),
    (Mode::None, "none"),
];

impl Mode {
    /// The mode of this name.
    pub fn from_name(wanted: &str) -> Option<Mode> {
        MODES.iter().find(|(_, name)| *name == wanted).map(|(mode, _)| *mode)
    }

    fn name(self) -> &'static str {
        MODES.iter().find(|(mode, _)| *mode == self).map_or("none", |(_, name)| name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// First processes of containers: what supervises there is outside. Source: the documentation of each.
const CONTAINER_INITS: &str =
    "tini docker-init podman-init catatonit dumb-init s6-svscan pause conmon sh bash sleep omsd";
/// What container engines leave for those inside.
const CONTAINER_MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];

/// Who supervises below this root, and by what that is known. A host that runs shows it by what its init made in `/run`; an image by
/// what `/sbin/init` leads to.
pub fn detect(root: &Path) -> (Mode, &'static str) {
    let has = |path: &str| root.join(path).exists();
    let leads_to_systemd =
        fs::read_link(root.join("sbin/init")).is_ok_and(|target| target.to_string_lossy().ends_with("systemd"));
    match () {
        () if has("run/systemd/system") => (Mode::Systemd, "/run/systemd/system is there"),
        () if !super::is_live(root) && leads_to_systemd => (Mode::Systemd, "/sbin/init leads to systemd"),
        () if is_container(root) => (Mode::None, "this is a container: what starts it supervises"),
        () if has("run/openrc") || has("lib/rc/init.d/softlevel") => (Mode::Openrc, "/run/openrc is there"),
        // Version 0.6, of Red Hat 6, keeps inittab and takes scripts.
        () if has("sbin/initctl") && has("etc/init") && !has("etc/inittab") => {
            (Mode::Upstart, "/sbin/initctl and /etc/init are there")
        }
        () if has("etc/init.d") && (has("sbin/runlevel") || has("etc/inittab")) && runlevels(root).is_some() => {
            (Mode::Sysv, "/etc/init.d and runlevels are there")
        }
        () if has_cron(root) => (Mode::Cron, "a cron daemon runs"),
        () => (Mode::None, "neither an init system that omsd knows nor a running cron daemon was found"),
    }
}

/// Whether this is a container, as far as can be seen from inside.
pub fn is_container(root: &Path) -> bool {
    let first = fs::read_to_string(root.join("proc/1/comm")).unwrap_or_default();
    CONTAINER_MARKS.iter().any(|path| root.join(path).exists())
        || CONTAINER_INITS.split_whitespace().any(|name| name == first.trim())
}

/// A process of one of the cron daemons, and a place for jobs.
fn has_cron(root: &Path) -> bool {
    let has_place = ["etc/cron.d", "var/spool/cron", "etc/crontabs"].iter().any(|path| root.join(path).is_dir());
    has_place && is_running(root, &["cron", "crond", "fcron"])
}

/// Whether a process of one of these names runs below the root, as far as its /proc tells.
pub fn is_running(root: &Path, names: &[&str]) -> bool {
    let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let ids = processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    ids.into_iter().any(|entry| {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        names.contains(&name.trim())
    })
}

/// The directory that the runlevels' directories are in: SUSE, Red Hat and Debian each have their own.
pub fn runlevels(root: &Path) -> Option<&'static str> {
    ["/etc/init.d", "/etc/rc.d", "/etc"].into_iter().find(|path| root.join(&path[1..]).join("rc3.d").is_dir())
}

/// What a service is defined by: where that is, its mode, and its text.
pub struct Definition {
    /// Where it goes.
    pub path: &'static str,
    /// Its permissions.
    pub mode: u32,
    text: &'static str,
}

/// The definition for a mode; `None` where there is none.
pub fn definition(mode: Mode) -> Option<Definition> {
    let (path, mode, text) = match mode {
        Mode::Systemd => ("/etc/systemd/system/omsd.service", 0o644, include_str!("../../conf/omsd.service")),
        Mode::Sysv => ("/etc/init.d/omsd", 0o755, include_str!("../../conf/omsd.sysv")),
        Mode::Openrc => ("/etc/init.d/omsd", 0o755, include_str!("../../conf/omsd.openrc")),
        Mode::Upstart => ("/etc/init/omsd.conf", 0o644, include_str!("../../conf/omsd.upstart")),
        Mode::Cron => ("/etc/cron.d/omsd", 0o600, include_str!("../../conf/omsd.cron")),
        Mode::None => return None,
    };
    Some(Definition { path, mode, text })
}

impl Definition {
    /// Its text for a program at this prefix. Only systemd's names the account; started by the others as root, the agent becomes the
    /// account by itself.
    pub fn text(&self, prefix: &str, account: &Account) -> String {
        let text = self.text.replace(&format!("{PREFIX}{PROGRAM}"), &format!("{prefix}{PROGRAM}"));
        let owner =
            if account.is_root() { String::new() } else { format!("User={}\nGroup={}\n", account.user, account.group) };
        text.replace("User=omsd\nGroup=omsd\n", &owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with these files, and with directories where the name ends in a slash.
    #[track_caller]
    fn check(name: &str, files: &[(&str, &str)], expected: Mode) {
        let root = std::env::temp_dir().join(format!("omsd-init-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (path, text) in files {
            let place = root.join(path);
            if path.ends_with('/') {
                fs::create_dir_all(&place).unwrap();
            } else {
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(&place, text).unwrap();
            }
        }
        let found = detect(&root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.0, expected, "{name}: {}", found.1);
    }

    #[test]
    fn each_family_is_known_by_its_marks() {
        let sysv = [("etc/init.d/", ""), ("sbin/runlevel", "")];
        check("redhat7", &[("run/systemd/system/", ""), ("etc/init.d/", ""), ("etc/rc.d/rc3.d/", "")], Mode::Systemd);
        check(
            "redhat6",
            &[
                ("etc/inittab", ""),
                ("sbin/initctl", ""),
                ("etc/init/", ""),
                ("etc/rc.d/rc3.d/", ""),
                ("etc/init.d/", ""),
            ],
            Mode::Sysv,
        );
        check("redhat5", &[("etc/inittab", ""), ("etc/init.d/", ""), ("etc/rc.d/rc3.d/", "")], Mode::Sysv);
        check("suse11", &[sysv[0], sysv[1], ("etc/init.d/rc3.d/", "")], Mode::Sysv);
        check("suse12", &[("run/systemd/system/", ""), sysv[0], ("etc/init.d/rc3.d/", "")], Mode::Systemd);
        check("debian7", &[sysv[0], sysv[1], ("etc/inittab", ""), ("etc/rc3.d/", "")], Mode::Sysv);
        check(
            "ubuntu14",
            &[sysv[0], sysv[1], ("etc/rc3.d/", ""), ("etc/init/", ""), ("sbin/initctl", "")],
            Mode::Upstart,
        );
        check("alpine", &[("run/openrc/", ""), ("etc/inittab", ""), ("etc/init.d/", "")], Mode::Openrc);
        check("gentoo", &[("lib/rc/init.d/softlevel", "default"), ("etc/init.d/", "")], Mode::Openrc);
        let busybox = [("etc/inittab", ""), ("etc/init.d/rcS", ""), ("var/spool/cron/", "")];
        check("busybox", &[busybox[0], busybox[1], busybox[2], ("proc/40/comm", "crond\n")], Mode::Cron);
        check("no crond", &busybox, Mode::None);
        check("container", &[("proc/1/comm", "tini\n"), ("proc/9/comm", "crond\n"), ("etc/cron.d/", "")], Mode::None);
        check("docker", &[(".dockerenv", ""), ("proc/9/comm", "crond\n"), ("etc/cron.d/", "")], Mode::None);
        check("bare", &[("bin/omsd", "")], Mode::None);
    }

    #[test]
    fn a_definition_names_the_prefix_and_the_account() {
        let account = Account { user: "svc".into(), group: "log".into(), uid: Some(7), gid: Some(8) };
        for (mode, _) in &MODES[..5] {
            let definition = definition(*mode).unwrap();
            let text = definition.text("/srv/agent", &account);
            assert!(text.contains("/srv/agent/bin/omsd") && !text.contains("/opt/omsd/bin"), "{mode}");
            assert!(text.ends_with('\n'), "{mode}: cron ignores a last line without its end");
            assert_eq!(text.contains("User=svc\nGroup=log\n"), *mode == Mode::Systemd, "{mode}");
            assert!(!definition.text(PREFIX, &Account::root()).contains("User="), "{mode}");
        }
    }
}
