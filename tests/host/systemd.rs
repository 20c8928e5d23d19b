//! A host with systemd as its first process: the service runs in the sandbox of its unit, does its work there, and leaves nothing.

use crate::debian::{releases, view};
use crate::listing::Listing;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the host does once it is up.
const SCRIPT: &str = "\
exec >/tmp/said 2>&1
set -eux
omsd=/opt/omsd/bin/omsd
/root/omsd install
systemctl is-enabled omsd
systemctl is-active omsd
pid=$(systemctl show --property=MainPID --value omsd)
grep \"^Uid:.$(id -u omsd)\" /proc/$pid/status
grep '^CapEff:.0*$' /proc/$pid/status
grep '^NoNewPrivs:.1' /proc/$pid/status
$omsd service status
logger 'from a host with systemd'
until $omsd ring dump | grep 'from a host with systemd'; do sleep 0.1; done
grep ' /var/opt/omsd rw.* master:' /proc/$pid/mountinfo
$omsd service restart
test $pid != $(systemctl show --property=MainPID --value omsd)
$omsd service disable
no systemctl is-enabled omsd
$omsd service enable
$omsd service stop
no $omsd service status
no systemctl is-active omsd
$omsd service start
$omsd uninstall --purge
no systemctl cat omsd
gone omsd
echo well
";

const UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /root/script
ExecStopPost=/bin/touch /tmp/ended
";

#[test]
fn systemd_starts_it_in_its_sandbox_and_forgets_it() {
    for release in releases().iter().filter(|release| release.join("lib/systemd/systemd").exists()) {
        let tree = view(release);
        let root = tree.path();
        std::fs::write(root.join("root/script"), format!("{}{SCRIPT}", crate::tools::WORDS)).expect("a script");
        std::fs::write(root.join("etc/systemd/system/script.service"), UNIT).expect("a unit");
        std::os::unix::fs::symlink(
            "../script.service",
            root.join("etc/systemd/system/multi-user.target.wants/script.service"),
        )
        .expect("a link");
        let before = Listing::of(&root);
        // As on a host, its mounts are shared with whoever copies them; the kernel's settings are not its own.
        let boot = "mount --make-rshared \"$1\" && mount -t proc proc \"$1/proc\" && mount --bind -o ro \"$1/proc/sys\" \"$1/proc/sys\" &&
            mount -t sysfs -o ro sysfs \"$1/sys\" && mount -t cgroup2 cgroup2 \"$1/sys/fs/cgroup\" && mount -t tmpfs tmpfs \"$1/run\" &&
            exec chroot \"$1\" env -i container=test /lib/systemd/systemd";
        let mut host = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--net",
                "--cgroup",
                "--uts",
                "--ipc",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                boot,
                "sh",
            ])
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a host");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !root.join("tmp/ended").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        host.kill().expect("it runs");
        host.wait().expect("it ends");
        let said = std::fs::read_to_string(root.join("tmp/said")).unwrap_or_default();
        assert!(said.ends_with("well\n"), "{said}");
        before.check(&root, &said);
    }
}
