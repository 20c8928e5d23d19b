//! A host with systemd as its first process: the service runs in the sandbox of its unit, does its work there, and leaves nothing.

use crate::debian::{releases, view};
use crate::listing::Listing;
use crate::tools::{apart, boot, put_script};
use std::path::Path;

/// What the host does once it is up.
const SCRIPT: &str = "\
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
systemctl reload omsd
grep -x 'reloads 1 0' /var/opt/omsd/lock
echo nonsense >>/etc/opt/omsd/omsd.conf
no systemctl reload omsd
sed -i '$d' /etc/opt/omsd/omsd.conf
test $pid = $(systemctl show --property=MainPID --value omsd)
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
";

const UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /root/script
ExecStopPost=/bin/touch /tmp/ended
";

/// Puts the script into a view of a release with systemd, to be run when that is up.
pub fn prepare(root: &Path, script: &str) {
    put_script(root, script);
    std::fs::write(root.join("etc/systemd/system/script.service"), UNIT).expect("a unit");
    let wanted = root.join("etc/systemd/system/multi-user.target.wants/script.service");
    std::os::unix::fs::symlink("../script.service", wanted).expect("a link");
}

/// Starts systemd there; what the script said, with `well` at its end if it went well.
pub fn start(root: &Path, network: Option<u32>) -> String {
    // As on a host, its mounts are shared with whoever copies them; the kernel's settings are not its own.
    let enter = "ip link set lo up && mount --make-rshared \"$1\" && mount -t proc proc \"$1/proc\" &&
        mount --bind -o ro \"$1/proc/sys\" \"$1/proc/sys\" && mount -t sysfs -o ro sysfs \"$1/sys\" &&
        mount -t cgroup2 cgroup2 \"$1/sys/fs/cgroup\" && mount -t tmpfs tmpfs \"$1/run\" &&
        exec chroot \"$1\" env -i container=test /lib/systemd/systemd";
    boot(apart(network, &["--cgroup", "--uts", "--ipc"], enter).arg(root), root)
}

/// The releases that have systemd.
pub fn releases_with_systemd() -> impl Iterator<Item = std::path::PathBuf> {
    releases().into_iter().filter(|release| release.join("lib/systemd/systemd").exists())
}

#[test]
fn systemd_starts_it_in_its_sandbox_and_forgets_it() {
    for release in releases_with_systemd() {
        let tree = view(&release);
        let root = tree.path();
        prepare(&root, SCRIPT);
        let before = Listing::of(&root);
        let said = start(&root, None);
        assert!(said.ends_with("well\n"), "{said}");
        before.check(&root, &said);
    }
}
