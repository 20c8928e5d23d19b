//! Trees made by hand, with no more than what tells one family of systems from another: installed with `--root`, each gets what its
//! init system wants, and nothing else is left when it is removed.

use crate::listing::Listing;
use crate::tools::{Directory, copy_program, omsd, omsd_bin, run, run_well};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

/// What is in every tree: Debian and Red Hat have these, too.
const ANY: [(&str, &str); 2] = [("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), ("usr/sbin/", "")];

fn tree(files: &[(&str, &str)]) -> Directory {
    let tree = Directory::new();
    ANY.iter().chain(files).for_each(|(name, text)| tree.put(name, text));
    tree
}

/// Installed and removed: what was said, and what of it in the tree.
#[track_caller]
fn check(family: &str, files: &[(&str, &str)], expected: &[&str]) {
    let tree = tree(files);
    let root = tree.path();
    let before = Listing::of(root);
    let planned = run_well(&mut omsd("install", root, &["--dry-run"]));
    before.check(root, &format!("{family}: after a dry run"));
    let done = run_well(&mut omsd("install", root, &[]));
    assert_eq!(steps(&planned), steps(&done), "{family}");
    for path in expected {
        assert!(
            done.contains(&format!(" {path}\n")) || done.contains(&format!("{path}:")),
            "{family}: {path}:\n{done}"
        );
        assert!(root.join(&path[1..]).symlink_metadata().is_ok(), "{family}: {path}");
    }
    let installed = Listing::of(root);
    run_well(&mut omsd("install", root, &[]));
    installed.check(root, &format!("{family}: after installing again"));
    let planned = run_well(&mut omsd("uninstall", root, &["--purge", "--dry-run"]));
    installed.check(root, &format!("{family}: after a dry run of the removal"));
    let done = run_well(&mut omsd("uninstall", root, &["--purge"]));
    assert_eq!(steps(&planned), steps(&done), "{family}");
    before.check(root, &format!("{family}: after the removal"));
}

/// The lines of what is made and removed; the rest is advice.
fn steps(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("+ ") || line.starts_with("- ")).collect()
}

#[test]
fn each_family_gets_what_its_init_wants_and_nothing_else_remains() {
    let unit = "/etc/systemd/system/omsd.service";
    let wanted = "/etc/systemd/system/multi-user.target.wants/omsd.service";
    let script = "/etc/init.d/omsd";
    let rsyslog = ("etc/rsyslog.conf", "include(file=\"/etc/rsyslog.d/*.conf\")\n");
    let rsyslogd = ("usr/sbin/rsyslogd", "");
    check(
        "Red Hat 9",
        &[("run/systemd/system/", ""), ("etc/opt/", ""), ("opt/", ""), ("var/opt/", ""), rsyslog, rsyslogd],
        &[unit, wanted, "/opt/omsd/bin/omsd", "/etc/rsyslog.d/95-omsd.conf", "/etc/opt/omsd/omsd.conf"],
    );
    check(
        "Red Hat 6",
        &[
            ("etc/inittab", "id:3:initdefault:\n"),
            ("etc/init.d/functions", ""),
            ("etc/rc.d/rc3.d/", ""),
            ("etc/rc.d/rc6.d/", ""),
            ("sbin/initctl", ""),
            ("etc/init/rcS.conf", ""),
        ],
        &[script, "/etc/rc.d/rc3.d/S95omsd", "/etc/rc.d/rc6.d/K05omsd"],
    );
    check(
        "SUSE 11",
        &[
            ("etc/inittab", ""),
            ("etc/init.d/rc5.d/", ""),
            ("etc/init.d/rc3.d/", ""),
            ("usr/sbin/syslog-ng", ""),
            ("etc/syslog-ng/syslog-ng.conf", "@include \"/etc/syslog-ng/conf.d/*.conf\"\nsource src {\n"),
        ],
        &[script, "/etc/init.d/rc3.d/S95omsd", "/etc/init.d/rc5.d/S95omsd", "/etc/syslog-ng/conf.d/omsd.conf"],
    );
    check("SUSE 15", &[("run/systemd/system/", ""), ("etc/init.d/rc3.d/", "")], &[unit, wanted]);
    check(
        "Ubuntu 14",
        &[("sbin/initctl", ""), ("etc/init/", ""), ("etc/init.d/", ""), ("sbin/runlevel", ""), ("etc/rc3.d/", "")],
        &["/etc/init/omsd.conf"],
    );
    check("Alpine", &[("run/openrc/", ""), ("etc/runlevels/default/", "")], &[script, "/etc/runlevels/default/omsd"]);
    check("cron", &[("etc/cron.d/", ""), ("proc/77/comm", "crond\n")], &["/etc/cron.d/omsd"]);
    check("container", &[("proc/1/comm", "tini\n")], &["/opt/omsd/bin/omsd"]);
}

#[test]
fn owners_and_modes_are_those_of_the_table() {
    let tree = tree(&[("run/systemd/system/", "")]);
    tree.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nagent:x:4711:4712::/:/bin/false\n");
    tree.put("etc/group", "root:x:0:\nlog:x:4712:\n");
    let workspace = "etc/opt/omsd/5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f10";
    tree.put(&format!("{workspace}/certs/oms.key"), "onboarded before");
    tree.put("etc/opt/omsd/proxy.conf", "proxy:3128");
    let root = tree.path();
    run_well(&mut omsd("install", root, &["--user", "agent", "--prefix", "/srv/agent/"]));
    let rows = [
        ("srv/agent/bin/omsd", 0o100_755, (0, 0)),
        ("etc/opt/omsd", 0o40_755, (0, 4712)),
        ("etc/opt/omsd/omsd.conf", 0o100_640, (0, 4712)),
        ("etc/opt/omsd/proxy.conf", 0o100_644, (0, 4712)),
        (workspace, 0o40_755, (4711, 4712)),
        (&format!("{workspace}/certs/oms.key"), 0o100_644, (4711, 4712)),
        ("var/opt/omsd", 0o40_700, (4711, 4712)),
        ("etc/systemd/system/omsd.service", 0o100_644, (0, 0)),
        ("etc/opt/omsd/manifest", 0o100_644, (0, 0)),
    ];
    for (path, mode, owner) in rows {
        let found = root.join(path).metadata().expect(path);
        assert_eq!((path, found.mode(), (found.uid(), found.gid())), (path, mode, owner));
    }
    let unit = std::fs::read_to_string(root.join("etc/systemd/system/omsd.service")).expect("the unit");
    assert!(
        unit.contains("\nUser=agent\nGroup=log\n") && unit.contains("\nExecStart=/srv/agent/bin/omsd run\n"),
        "{unit}"
    );
    let manifest = std::fs::read_to_string(root.join("etc/opt/omsd/manifest")).expect("the manifest");
    assert!(manifest.contains("directory 0700 agent:log /var/opt/omsd\n"), "{manifest}");
}

#[test]
fn what_the_administrator_changed_stays_and_is_named() {
    let tree = tree(&[("run/systemd/system/", ""), ("etc/opt/", ""), ("var/opt/", ""), ("opt/", "")]);
    let root = tree.path();
    run_well(&mut omsd("install", root, &[]));
    let unit = "etc/systemd/system/omsd.service";
    tree.put(unit, "[Service]\nExecStart=/opt/omsd/bin/omsd run -v\n");
    tree.put("etc/opt/omsd/omsd.conf", "# mine\n");
    let said = run_well(&mut omsd("install", root, &[]));
    assert!(said.contains("kept /etc/systemd/system/omsd.service"), "{said}");
    assert_eq!(std::fs::read_to_string(root.join("etc/opt/omsd/omsd.conf")).expect("kept"), "# mine\n");

    let said = run_well(&mut omsd("uninstall", root, &[]));
    assert!(said.contains("kept /etc/systemd/system/omsd.service"), "{said}");
    assert!(said.contains("left: /etc/systemd/system/omsd.service\n"), "{said}");
    assert!(said.contains("left: /etc/opt/omsd: configuration and identities\n"), "{said}");
    assert!(root.join(unit).exists() && !root.join("opt/omsd").exists());

    // Without trace is not kept as promised while the unit is there.
    let ran = run(&mut omsd("uninstall", root, &["--purge"]));
    assert_eq!(ran.code, 74, "{}", ran.text);
    assert!(root.join(unit).exists() && !root.join("var/opt/omsd").exists(), "{}", ran.text);
    std::fs::remove_file(root.join(unit)).expect("removed by hand");
    run_well(&mut omsd("uninstall", root, &["--purge"]));
    assert!(!root.join("etc/opt/omsd").exists() && !root.join("etc/systemd").exists());
}

#[test]
fn an_upgrade_replaces_the_program_and_nothing_that_was_changed() {
    let tree = tree(&[("etc/cron.d/", ""), ("proc/77/comm", "cron\n")]);
    let root = tree.path();
    let before = Listing::of(root);
    // An older program: the same with a byte behind it, which the loader does not look at.
    let older = Directory::new();
    let program = older.path().join("omsd");
    let mut bytes = std::fs::read(omsd_bin()).expect("the program");
    bytes.push(0);
    std::fs::write(&program, bytes).expect("a copy");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    run_well(std::process::Command::new(&program).args(["install", "--root"]).arg(root));
    tree.put("var/opt/omsd/ring", "waiting");
    let said = run_well(&mut omsd("install", root, &[]));
    assert_eq!(steps(&said), ["+ file 0755 root:root /opt/omsd/bin/omsd"]);
    let installed = |path: &Path| std::fs::read(path).expect("a program");
    assert!(installed(&root.join("opt/omsd/bin/omsd")) == installed(&omsd_bin()));
    let manifest = std::fs::read_to_string(root.join("etc/opt/omsd/manifest")).expect("the manifest");
    assert_eq!(manifest.matches("/opt/omsd/bin/omsd\n").count(), 1, "{manifest}");
    run_well(&mut omsd("uninstall", root, &["--purge"]));
    before.check(root, "after the removal");
}

#[track_caller]
fn check_refused(files: &[(&str, &str)], options: &[&str], code: i32, reason: &str) {
    let tree = tree(files);
    let ran = run(&mut omsd("install", tree.path(), options));
    assert!(ran.code == code && ran.text.contains(reason), "{options:?}: {} is not {code}, {reason}", ran.text);
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let strange = [("opt/omsd/bin/omsd", "of somebody else"), ("run/systemd/system/", "")];
    check_refused(&strange, &[], 73, "not of this installation: move it away");
    check_refused(&[], &["--mode", "runit"], 64, "--mode takes: systemd, sysv");
    check_refused(&[], &["--prefix", "opt"], 73, "--prefix takes an absolute path");
    check_refused(&[], &["--prefix", "/opt/a b"], 73, "--prefix takes an absolute path");
    check_refused(&[], &["--user", "nobody-here"], 73, "there is no account nobody-here");
    check_refused(&[], &["--mode", "sysv"], 73, "no directories of runlevels");
    let tree = tree(&[]);
    run_well(&mut omsd("install", tree.path(), &["--mode", "none"]));
    let ran = run(&mut omsd("install", tree.path(), &["--mode", "cron"]));
    assert!(ran.code == 73 && ran.text.contains("omsd uninstall first"), "{}", ran.text);
    let ran = run(&mut omsd("install", &tree.path().join("nowhere"), &[]));
    assert!(ran.code == 73 && ran.text.contains("is no directory"), "{}", ran.text);
}

#[test]
fn a_mount_that_forbids_it_is_told_before_anything_is_copied() {
    let script = |options: &str| {
        let tree = tree(&[("opt/", "")]);
        let mount =
            format!("mount -t tmpfs -o {options} tmpfs \"$1/opt\" && exec \"$2\" install --root \"$1\" --mode none");
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", &mount, "sh"]).arg(tree.path()).arg(omsd_bin());
        let ran = run(&mut command);
        let purged = run_well(&mut omsd("uninstall", tree.path(), &["--purge"]));
        assert!(!tree.path().join("etc/opt").exists(), "{purged}");
        ran
    };
    let ran = script("noexec");
    assert!(ran.code == 73 && ran.text.contains("(noexec): use another --prefix"), "{}", ran.text);
    let ran = script("ro");
    assert!(ran.code == 73 && ran.text.contains("make it writable"), "{}", ran.text);
}

#[test]
fn only_root_installs_on_a_host_that_runs() {
    for verb in ["install", "uninstall"] {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        // Where another account may start it.
        let tree = tree(&[("etc/opt/", "")]);
        let copy = tree.path().join("omsd");
        copy_program(&omsd_bin(), &copy);
        let ran = run(command.arg(&copy).arg(verb));
        assert!(ran.code == 77 && ran.text.contains("only root may do this"), "{verb}: {}", ran.text);
    }
}

#[test]
fn links_in_a_tree_that_is_purged_are_not_followed() {
    let (tree, other) = (tree(&[("run/systemd/system/", "")]), Directory::new());
    other.put("precious", "stays");
    run_well(&mut omsd("install", tree.path(), &[]));
    symlink(other.path(), tree.path().join("var/opt/omsd/elsewhere")).expect("a link");
    symlink(other.path(), tree.path().join("etc/opt/omsd/elsewhere")).expect("a link");
    run_well(&mut omsd("uninstall", tree.path(), &["--purge"]));
    assert_eq!(std::fs::read_to_string(other.path().join("precious")).expect("it stays"), "stays");
    assert!(!tree.path().join("var/opt").exists());
}
