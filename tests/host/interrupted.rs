//! Installing and removing, killed at each system call that changes anything: removing then leaves nothing, and installing
//! again completes it.

use crate::listing::Listing;
use crate::tools::{Directory, omsd, omsd_bin, run, run_well};
use std::path::Path;
use std::process::Command;

/// Every call that the program changes a tree with.
const CALLS: &str =
    "mkdir,open,write,rename,unlink,unlinkat,rmdir,symlink,chmod,fchmod,fchown,lchown,chown,fsync,fdatasync";

fn tree() -> Directory {
    let tree = Directory::new();
    let files = [
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\nomsd:x:800:800::/:/bin/false\n"),
        ("etc/group", "omsd:x:800:\n"),
        ("etc/inittab", ""),
        ("etc/init.d/", ""),
        ("etc/rc3.d/", ""),
        ("usr/sbin/rsyslogd", ""),
        ("etc/rsyslog.conf", "$IncludeConfig /etc/rsyslog.d/*.conf\n"),
    ];
    files.iter().for_each(|(name, text)| tree.put(name, text));
    tree
}

/// Runs `omsd VERB` and kills it as it enters the `place`th of the calls. `false`: it ended before.
fn killed(verb: &str, options: &[&str], root: &Path, place: u32) -> bool {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
    command.args(["-e", &format!("inject={CALLS}:signal=KILL:when={place}")]);
    command.arg(omsd_bin()).arg(verb).arg("--root").arg(root).args(options);
    let ran = run(&mut command);
    assert!([0, -1].contains(&ran.code), "{verb}, killed at {place}: {}", ran.text);
    ran.code == -1
}

/// Kills at one place after the other, and runs `after` on what each leaves, until one ends before. The number of places.
fn at_each_place(prepare: impl Fn(&Path), verb: &str, options: &[&str], after: impl Fn(&Path, &Listing, &str)) -> u32 {
    let mut place = 1;
    loop {
        let tree = tree();
        let before = Listing::of(tree.path());
        prepare(tree.path());
        if !killed(verb, options, tree.path(), place) {
            return place;
        }
        after(tree.path(), &before, &format!("{verb} {options:?} killed at call {place}"));
        place += 1;
    }
}

#[test]
fn an_installation_that_was_interrupted_anywhere_is_taken_back() {
    let places = at_each_place(
        |_| {},
        "install",
        &[],
        |root, before, when| {
            run_well(&mut omsd("uninstall", root, &["--purge"]));
            before.check(root, when);
        },
    );
    assert!(places > 40, "only {places}");
}

#[test]
fn an_installation_that_was_interrupted_anywhere_is_completed_by_the_next() {
    let whole = tree();
    run_well(&mut omsd("install", whole.path(), &[]));
    let whole = manifest(whole.path());
    at_each_place(
        |_| {},
        "install",
        &[],
        |root, before, when| {
            run_well(&mut omsd("install", root, &[]));
            assert_eq!(manifest(root), whole, "{when}");
            run_well(&mut omsd("uninstall", root, &["--purge"]));
            before.check(root, when);
        },
    );
}

fn manifest(root: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(root.join("etc/opt/omsd/manifest")).expect("a manifest");
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    lines.sort();
    lines
}

#[test]
fn a_removal_that_was_interrupted_anywhere_is_completed_by_the_next() {
    let install = |root: &Path| {
        run_well(&mut omsd("install", root, &[]));
        std::fs::write(root.join("var/opt/omsd/ring"), "waiting").expect("some state");
    };
    let places = at_each_place(install, "uninstall", &["--purge"], |root, before, when| {
        run_well(&mut omsd("uninstall", root, &["--purge"]));
        before.check(root, when);
    });
    assert!(places > 10, "only {places}");
}
