//! Debian releases below a directory, with their own tools for accounts, runlevels and logs: what `omsd install` does there works, and
//! after `omsd uninstall --purge` every file is what it was.

use crate::listing::Listing;
use crate::tools::{Directory, copy_program, omsd_bin, run, run_in, run_well};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The trees of `OMSD_HOST_ROOTS`.
pub fn releases() -> Vec<PathBuf> {
    let roots = std::env::var_os("OMSD_HOST_ROOTS").expect("OMSD_HOST_ROOTS names the trees of Debian releases");
    std::env::split_paths(&roots).collect()
}

/// What starts rsyslog anew where no init system runs.
const RSYSLOG_SCRIPT: &str = "\
#!/bin/sh
### BEGIN INIT INFO
# Provides: rsyslog
# Required-Start:
# Required-Stop:
# Default-Start:
# Default-Stop:
### END INIT INFO
test \"$1\" = restart || exit 2
kill $(cat /run/rsyslogd.pid)
while test -e /run/rsyslogd.pid; do sleep 0.1; done
exec rsyslogd
";

/// A release, changes to it in memory.
pub struct Tree(Directory);

impl Tree {
    /// Its root.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.path()).arg(self.0.path()));
    }
}

/// A view of a release, with the program in /root.
pub fn view(release: &Path) -> Tree {
    let tree = Tree(Directory::new());
    let place = tree.0.path();
    run_well(Command::new("mount").args(["-t", "tmpfs", "omsd-host"]).arg(place));
    let [upper, work] = ["upper", "work"].map(|name| place.join(name));
    for path in [&upper, &work, &tree.path()] {
        std::fs::create_dir(path).expect("a directory");
    }
    let layers = format!("lowerdir={},upperdir={},workdir={}", release.display(), upper.display(), work.display());
    run_well(Command::new("mount").args(["-t", "overlay", "-o", &layers, "omsd-host"]).arg(tree.path()));
    copy_program(&omsd_bin(), &tree.path().join("root/omsd"));
    // The kernel's log is the host's.
    let conf = tree.path().join("etc/rsyslog.conf");
    let text = std::fs::read_to_string(&conf).expect("rsyslog.conf");
    std::fs::write(&conf, text.replace("module(load=\"imklog\")", "#")).expect("rsyslog.conf");
    // Releases with systemd have none.
    let script = tree.path().join("etc/init.d/rsyslog");
    std::fs::write(&script, RSYSLOG_SCRIPT).expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    // Where that numbers the links of runlevels, it does so anew whenever a script comes or goes.
    run_in(&tree.path(), "insserv");
    tree
}

/// Runs a script in each release: it must succeed, and leave the tree as it was.
#[track_caller]
fn check(what: &str, script: &str) {
    for release in releases() {
        let tree = view(&release);
        let before = Listing::of(&tree.path());
        let ran = run_in(&tree.path(), script);
        assert_eq!(ran.code, 0, "{what}, {}:\n{}", release.display(), ran.text);
        before.check(&tree.path(), &format!("{what}: {}\n", ran.text));
    }
}

#[test]
fn an_account_of_its_own_comes_and_goes() {
    check(
        "account",
        "/root/omsd install --mode none --dry-run >/tmp/planned
         no grep omsd /etc/passwd
         /root/omsd install --mode none >/tmp/done
         for file in planned done; do grep '^[+-]' /tmp/$file >/tmp/$file.steps; done
         cmp /tmp/planned.steps /tmp/done.steps
         grep '^omsd:.*/nologin$' /etc/passwd
         test \"$(stat -c %U:%G:%a /var/opt/omsd /etc/opt/omsd/omsd.conf /opt/omsd/bin/omsd | xargs)\" = \
             'omsd:omsd:700 root:omsd:640 root:root:755'
         /opt/omsd/bin/omsd check -c /etc/opt/omsd/omsd.conf
         # Without --purge the account stays, and is still known as ours.
         /opt/omsd/bin/omsd uninstall | grep 'left: account omsd'
         grep '^omsd:' /etc/passwd
         test ! -e /opt/omsd
         /root/omsd install --mode none
         /opt/omsd/bin/omsd uninstall --purge
         no grep omsd /etc/passwd /etc/group /etc/shadow /etc/gshadow",
    );
}

#[test]
fn an_account_that_was_there_stays() {
    check(
        "account that was there",
        "cp -p /etc/passwd /etc/group /etc/shadow /etc/gshadow /tmp
         for file in /etc/shadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock; do test -e $file || echo $file >>/tmp/new; done
         useradd -r -M agent
         /root/omsd install --mode none --user agent
         test $(stat -c %U /var/opt/omsd) = agent
         /root/omsd uninstall --purge
         grep '^agent:' /etc/passwd
         cp -p /tmp/passwd /tmp/group /tmp/shadow /tmp/gshadow /etc
         xargs rm -f </tmp/new",
    );
}

#[test]
fn rsyslog_forwards_from_the_first_message_after_the_installation_to_the_removal() {
    check(
        "forwarding",
        "rsyslogd
         while ! test -S /dev/log; do sleep 0.1; done
         /root/omsd install --mode cron
         logger -t first 'from here to the agent'
         i=0
         until /opt/omsd/bin/omsd status | grep '^syslog: [1-9]'; do
             i=$((i + 1)); test $i -lt 100; sleep 0.2; kill -USR1 $(sed -n 's/^pid //p' /var/opt/omsd/lock)
         done
         /opt/omsd/bin/omsd ring dump | grep 'from here to the agent'
         /opt/omsd/bin/omsd uninstall --purge
         test ! -e /etc/rsyslog.d/95-omsd.conf
         grep -qx rsyslogd /proc/[0-9]*/comm
         gone omsd
         kill $(cat /run/rsyslogd.pid)",
    );
}

#[test]
fn the_service_is_what_cron_supervises_or_an_init_script() {
    for mode in ["cron", "sysv"] {
        check(
            mode,
            &format!(
                "/root/omsd install --mode {mode} --no-syslog
                 omsd=/opt/omsd/bin/omsd
                 $omsd service status
                 $omsd service start
                 first=$(sed -n 's/^pid //p' /var/opt/omsd/lock)
                 $omsd service restart
                 second=$(sed -n 's/^pid //p' /var/opt/omsd/lock)
                 test $first != $second
                 $omsd service stop
                 no $omsd service status
                 no kill -0 $second
                 $omsd service stop
                 $omsd service start
                 # A port below 1024 is for an agent that starts.
                 printf '%s\n' '<source>' 'type syslog' 'bind 127.0.0.1' 'port 600' '</source>' \
                     '<match oms.**>' 'type out_oms' '</match>' >/etc/opt/omsd/omsd.conf
                 rc=0; $omsd reload 2>/tmp/said || rc=$?
                 test $rc = 77
                 grep ': omsd service restart$' /tmp/said
                 PATH=/opt/omsd/bin:$PATH sh -c \"$(sed 's/.*: //' /tmp/said)\"
                 grep ': 0100007F:0258 ' /proc/net/udp
                 # An upgrade: the same program with a byte behind it.
                 cp /root/omsd /tmp/newer; printf x >>/tmp/newer
                 second=$(sed -n 's/^pid //p' /var/opt/omsd/lock)
                 /tmp/newer install
                 no kill -0 $second
                 $omsd service status
                 rm /etc/opt/omsd/omsd.conf; echo '<nonsense>' >/etc/opt/omsd/omsd.conf
                 no $omsd service restart
                 rm /etc/opt/omsd/omsd.conf
                 /tmp/newer uninstall --purge
                 gone omsd"
            ),
        );
    }
}

/// What the scans of CIS and STIG look for, whatever the umask of whoever installs and runs it.
#[test]
fn a_scan_of_modes_and_owners_finds_nothing_after_the_installation_nor_after_work() {
    check(
        "scan",
        "scan() {
             find /opt/omsd /etc/opt/omsd /var/opt/omsd /etc/cron.d/omsd /etc/rsyslog.d/95-omsd.conf -xdev \
                 '(' ! -type l -perm -0002 -o -nouser -o -nogroup -o -perm /6000 ')' >/tmp/found
             find /var/opt/omsd -type f -perm /0137 >>/tmp/found
             find /opt/omsd /etc/opt/omsd /etc/cron.d/omsd -user omsd -perm /0222 >>/tmp/found
             cat /tmp/found
             test ! -s /tmp/found
         }
         mkdir -p /etc/opt/omsd
         echo 'proxy:3128' >/etc/opt/omsd/proxy.conf
         chmod 640 /etc/opt/omsd/proxy.conf
         rsyslogd
         while ! test -S /dev/log; do sleep 0.1; done
         umask 000
         /root/omsd install --mode cron
         scan
         omsd=/opt/omsd/bin/omsd
         logger -t work 'one'
         $omsd reload
         $omsd stop
         $omsd run --once --budget 5
         $omsd run --ensure
         logger -t work 'two'
         $omsd status
         rc=0; $omsd check --offline || rc=$?
         test $rc = 2
         $omsd collect-logs -o /tmp/logs
         test \"$(stat -c %a /tmp/logs)\" = 600
         $omsd service restart
         $omsd service stop
         cd /var/opt/omsd; ls -l
         scan
         stat -c '%a %U:%G %n' . * /etc/opt/omsd/* /etc/cron.d/omsd /etc/rsyslog.d/95-omsd.conf /opt/omsd/bin/omsd >/tmp/modes
         cat /tmp/modes
         for line in '700 omsd:omsd .' '600 omsd:omsd lock' '600 omsd:omsd log' '600 omsd:omsd once' '600 omsd:omsd ring' \
             '640 omsd:omsd status' '640 root:omsd /etc/opt/omsd/omsd.conf' '640 root:omsd /etc/opt/omsd/proxy.conf' \
             '600 root:root /etc/cron.d/omsd' '644 root:root /etc/rsyslog.d/95-omsd.conf' '755 root:root /opt/omsd/bin/omsd'
         do grep -xF \"$line\" /tmp/modes; done
         cd /; $omsd uninstall --purge; gone omsd
         kill $(cat /run/rsyslogd.pid)",
    );
}

/// With the lines of Microsoft's agent, which `omsd import` leaves in force, each message would come twice.
#[test]
fn where_the_originals_lines_forward_ours_come_when_those_are_gone() {
    check(
        "the original's lines",
        "rsyslogd
         while ! test -S /dev/log; do sleep 0.1; done
         theirs=/etc/rsyslog.d/95-omsagent.conf ours=/etc/rsyslog.d/95-omsd.conf
         printf '# OMS Syslog collection for workspace\n*.warning @127.0.0.1:25224\n' >$theirs
         /root/omsd install --mode none >/tmp/said
         grep \"$theirs forwards already\" /tmp/said
         test ! -e $ours
         echo '# OMS Syslog collection for workspace' >$theirs
         /root/omsd install
         test -s $ours
         rm $theirs
         /opt/omsd/bin/omsd uninstall --purge
         kill $(cat /run/rsyslogd.pid)",
    );
}

#[test]
fn the_init_script_answers_as_others_do() {
    check(
        "sysv",
        "/root/omsd install --mode sysv --no-syslog
         script=/etc/init.d/omsd
         ls /etc/rc2.d/S*omsd /etc/rc0.d/K*omsd
         $script start
         $script status
         $script reload
         $script restart
         $script stop
         rc=0; $script status || rc=$?; test $rc = 3
         rc=0; $script nonsense || rc=$?; test $rc = 2
         $script stop
         /root/omsd uninstall --purge",
    );
}

/// What SUSE 11 and Debian 7 number the links of runlevels with, by the header of the script.
#[test]
fn insserv_takes_the_header_makes_the_links_and_removes_them() {
    check(
        "insserv",
        "mv /usr/sbin/update-rc.d /root/update-rc.d
         /root/omsd install --mode sysv --no-syslog >/tmp/said 2>&1
         cat /tmp/said
         grep 'run insserv omsd' /tmp/said
         no grep 'insserv: .*omsd' /tmp/said
         for level in 2 3 4 5; do ls /etc/rc$level.d/S*omsd; done
         for level in 0 1 6; do ls /etc/rc$level.d/K*omsd; done
         /opt/omsd/bin/omsd service disable
         no ls /etc/rc2.d/S*omsd
         /opt/omsd/bin/omsd service enable
         ls /etc/rc2.d/S*omsd
         /opt/omsd/bin/omsd uninstall --purge
         no ls /etc/rc*.d/*omsd
         mv /root/update-rc.d /usr/sbin/update-rc.d",
    );
}

#[test]
fn openrc_starts_and_stops_it() {
    check(
        "OpenRC",
        "for name in exclusive starting started stopping inactive wasinactive failed hotplugged daemons options scheduled init.d tmp; do
             mkdir -p /run/openrc/$name
         done
         echo default >/run/openrc/softlevel
         /root/omsd install --mode openrc --no-syslog
         rc-update show default | grep omsd
         rc-service omsd status
         rc-service omsd restart
         rc-service omsd stop
         rc=0; rc-service omsd status || rc=$?; test $rc = 3
         /opt/omsd/bin/omsd service start
         /opt/omsd/bin/omsd service status
         /opt/omsd/bin/omsd service disable
         rc-update show default >/tmp/enabled
         no grep omsd /tmp/enabled
         /opt/omsd/bin/omsd service enable
         /opt/omsd/bin/omsd uninstall --purge",
    );
}

/// What stands in rsyslogd's place refuses, says no, or does not come up, as soon as our lines are there.
#[test]
fn lines_that_rsyslog_does_not_take_are_taken_back() {
    let refused = "mv /usr/sbin/rsyslogd /usr/sbin/rsyslogd.real
         echo '#!/bin/sh
               test ! -e /etc/rsyslog.d/95-omsd.conf || { echo error in our lines; exit 1; }' >/usr/sbin/rsyslogd
         chmod +x /usr/sbin/rsyslogd
         rc=0; /root/omsd install --mode none >/tmp/said 2>&1 || rc=$?
         cat /tmp/said; test $rc = 75
         grep 'error in our lines' /tmp/said
         test ! -e /etc/rsyslog.d/95-omsd.conf
         no grep rsyslog /etc/opt/omsd/manifest
         test -x /opt/omsd/bin/omsd
         /root/omsd uninstall --purge
         mv /usr/sbin/rsyslogd.real /usr/sbin/rsyslogd";
    check("refused lines", refused);
    let older = refused.replace(
        "test ! -e /etc/rsyslog.d/95-omsd.conf ||",
        "test ! -e /etc/rsyslog.d/95-omsd.conf || grep -q @127 /etc/rsyslog.d/95-omsd.conf ||",
    );
    let older = older
        .replace("test $rc = 75", "test $rc = 0")
        .replace("test ! -e /etc/rsyslog.d/95-omsd.conf\n", "grep @127.0.0.1:25224 /etc/rsyslog.d/95-omsd.conf\n");
    check("an older version", &older.replace("no grep rsyslog /etc/opt/omsd/manifest", "/root/omsd install"));
    check(
        "refused before",
        "echo 'no such thing' >/etc/rsyslog.d/50-broken.conf
         echo 'module(load=\"no-such-module\")' >>/etc/rsyslog.d/50-broken.conf
         rc=0; /root/omsd install --mode none >/tmp/said 2>&1 || rc=$?
         cat /tmp/said; test $rc = 75
         grep 'refuses its configuration already' /tmp/said
         test ! -e /etc/rsyslog.d/95-omsd.conf
         /root/omsd uninstall --purge
         rm /etc/rsyslog.d/50-broken.conf",
    );
    check(
        "no restart",
        "rsyslogd
         cp -p /etc/init.d/rsyslog /tmp/script
         sed -i '2i test ! -e /etc/rsyslog.d/95-omsd.conf || exit 1' /etc/init.d/rsyslog
         rc=0; /root/omsd install --mode none >/tmp/said 2>&1 || rc=$?
         cat /tmp/said; test $rc = 75
         grep 'without our lines it runs again' /tmp/said
         test ! -e /etc/rsyslog.d/95-omsd.conf
         grep -qx rsyslogd /proc/[0-9]*/comm
         cp -p /tmp/script /etc/init.d/rsyslog
         /root/omsd uninstall --purge
         kill $(cat /run/rsyslogd.pid)",
    );
}
