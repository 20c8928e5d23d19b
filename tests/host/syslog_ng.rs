//! Debian releases with syslog-ng in rsyslog's place: its own check decides about our lines, messages go through them, and nothing of them stays.

use crate::debian::{Tree, releases, view};
use crate::listing::Listing;
use crate::tools::{run_in, run_well};
use std::path::Path;
use std::process::Command;

/// A view of a release, rsyslog's files replaced by syslog-ng's.
fn view_with_syslog_ng(release: &Path) -> Tree {
    let tree = view(release);
    let root = tree.path();
    for path in ["usr/sbin/rsyslogd", "etc/rsyslog.conf", "etc/init.d/rsyslog"] {
        std::fs::remove_file(root.join(path)).expect("it was there");
    }
    for package in std::fs::read_dir(root.join("syslog-ng")).expect("the packages").flatten() {
        // As dpkg does it: /lib stays a link to /usr/lib.
        let unpack = "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink -C \"$2\"";
        run_well(Command::new("sh").args(["-c", unpack, "sh"]).arg(package.path()).arg(&root));
    }
    let conf = root.join("etc/syslog-ng/syslog-ng.conf");
    let text = std::fs::read_to_string(&conf).expect("syslog-ng.conf");
    // The kernel's log, which is a part of that, is the host's.
    assert!(text.contains("system();"), "{text}");
    std::fs::write(&conf, text.replace("system();", "unix-dgram(\"/dev/log\");")).expect("syslog-ng.conf");
    assert_eq!(run_in(&root, "ldconfig").code, 0);
    tree
}

/// Runs a script in each release, syslog-ng running: it must succeed, and leave the tree as it was.
#[track_caller]
fn check(what: &str, script: &str) {
    for release in releases() {
        let tree = view_with_syslog_ng(&release);
        let before = Listing::of(&tree.path());
        let script = format!(
            "/etc/init.d/syslog-ng start
             while ! test -S /dev/log; do sleep 0.1; done
             {script}
             test ! -e /etc/syslog-ng/conf.d/omsd.conf
             syslog-ng --syntax-only
             gone omsd
             /etc/init.d/syslog-ng stop
             gone syslog-ng
             rm -f /var/lib/syslog-ng/* /dev/xconsole"
        );
        let ran = run_in(&tree.path(), &script);
        assert_eq!(ran.code, 0, "{what}, {}:\n{}", release.display(), ran.text);
        before.check(&tree.path(), &format!("{what}: {}\n", ran.text));
    }
}

#[test]
fn syslog_ng_forwards_from_the_first_message_after_the_installation_to_the_removal() {
    check(
        "forwarding",
        "/root/omsd install --mode cron
         syslog-ng --syntax-only
         logger -t first 'from here to the agent'
         i=0
         until /opt/omsd/bin/omsd ring dump | grep 'from here to the agent'; do i=$((i + 1)); test $i -lt 100; sleep 0.1; done
         /opt/omsd/bin/omsd uninstall --purge
         grep -qx syslog-ng /proc/[0-9]*/comm",
    );
}

#[test]
fn lines_that_syslog_ng_refuses_are_taken_back() {
    check(
        "refused lines",
        "echo 'destination d_omsd { file(\"/dev/null\"); };' >/etc/syslog-ng/conf.d/ours.conf
         syslog-ng --syntax-only
         rc=0; /root/omsd install --mode none >/tmp/said 2>&1 || rc=$?
         cat /tmp/said; test $rc = 75
         grep 'syslog-ng refuses our lines' /tmp/said
         grep 'duplicate destination definition' /tmp/said
         test ! -e /etc/syslog-ng/conf.d/omsd.conf
         no grep syslog-ng /etc/opt/omsd/manifest
         syslog-ng --syntax-only
         rm /etc/syslog-ng/conf.d/ours.conf
         # What was in its way is gone: now it takes them.
         /root/omsd install
         test -s /etc/syslog-ng/conf.d/omsd.conf
         /root/omsd uninstall --purge",
    );
}
