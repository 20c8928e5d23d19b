//! A host without a syslog daemon, where omsd itself listens on /dev/log: what becomes of that socket when omsd stops, is killed, is removed, and when a syslog daemon comes.
//! None is left that nobody listens on, and none of anybody else's is removed.

use crate::debian::{releases, view};
use crate::tools::{apart, boot, put_script};
use std::os::unix::fs::PermissionsExt;

/// For the scripts: the socket's place in the file system, and the process that has the lock.
const WORDS: &str = "\
omsd=/opt/omsd/bin/omsd
socket() { stat -c %i /dev/log; }
holder() { sed -n 's/^pid //p' /var/opt/omsd/lock; }
until_kept() {
    n=0
    until $omsd ring dump | grep \"$1\"; do n=$((n + 1)); test $n -lt 100; sleep 0.1; done
}
rsyslog_goes() { mv /usr/sbin/rsyslogd /root/rsyslogd; }
rsyslog_comes() { mv /root/rsyslogd /usr/sbin/rsyslogd; rsyslogd; }
rsyslog_goes
";

/// Runs the script on a host of each release, with no init system and no syslog daemon.
#[track_caller]
fn check(script: &str) {
    for release in releases() {
        let tree = view(&release);
        let root = tree.path();
        put_script(&root, &format!("{WORDS}{script}"));
        // The first process: one that is called sh would make it a container.
        let first = root.join("root/walk");
        std::fs::write(&first, "#!/bin/sh\n/bin/sh /root/script\ntouch /tmp/ended\n").expect("a script");
        std::fs::set_permissions(&first, PermissionsExt::from_mode(0o755)).expect("executable");
        let enter = "ip link set lo up && mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /root/walk";
        let said = boot(apart(None, &[], enter).arg(&root), &root);
        assert!(said.ends_with("well\n"), "{}: {said}", release.display());
    }
}

#[test]
fn a_socket_that_nobody_listens_on_goes_with_the_agent_or_with_the_installation() {
    check(
        "/root/omsd install --mode none
         $omsd service start
         logger -t first 'before it stopped'
         until_kept 'before it stopped'
         $omsd service stop
         test ! -e /dev/log
         $omsd service start
         test -S /dev/log
         kill -s KILL $(holder); gone omsd
         test -S /dev/log
         $omsd service start
         logger -t first 'after it was killed'
         until_kept 'after it was killed'
         kill -s KILL $(holder); gone omsd
         $omsd uninstall
         test ! -e /dev/log
         grep -x 'leftover /dev/log' /etc/opt/omsd/manifest
         # Installed again, on a host that has become one with systemd's journal.
         /root/omsd install
         $omsd service start
         $omsd service stop
         ln -s /run/systemd/journal/dev-log /dev/log
         $omsd uninstall --purge
         test -L /dev/log; rm /dev/log\n",
    );
}

#[test]
fn a_syslog_daemon_that_comes_later_has_the_socket_and_keeps_it() {
    check(
        "/root/omsd install --mode none
         $omsd service start
         ours=$(socket)
         rsyslog_comes
         while test -z \"$(socket)\" || test $(socket) = $ours; do sleep 0.1; done
         theirs=$(socket)
         rc=0; $omsd check --offline >/tmp/found || rc=$?
         grep 'WARN syslog.rule.*rsyslogd runs' /tmp/found
         $omsd service stop
         test $(socket) = $theirs
         rc=0; $omsd service start >/tmp/refused 2>&1 || rc=$?; cat /tmp/refused; test $rc != 0
         grep '/dev/log.*a syslog daemon has it: take this source out' /tmp/refused
         /root/omsd install
         $omsd service start
         logger -t first 'by way of rsyslog'
         until_kept 'by way of rsyslog'
         $omsd uninstall
         test -S /dev/log; logger -t first 'it is still there'
         kill $(cat /run/rsyslogd.pid)\n",
    );
}
