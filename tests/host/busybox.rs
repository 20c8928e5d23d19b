//! A host of busybox alone: its init, its crond, its adduser, no /etc/cron.d, no syslog daemon that omsd knows.

use crate::listing::Listing;
use crate::tools::{Directory, apart, boot, copy_program, omsd_bin, put_script, run_well};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

/// What the host does once it is up; the last line says how it went.
const SCRIPT: &str = "\
echo '15 3 * * * /bin/true' | crontab -
/root/omsd install --dry-run
no grep omsd /etc/passwd
/root/omsd install
grep ^omsd: /etc/passwd /etc/group
crontab -l | grep 'omsd run --ensure'
crontab -l | grep '15 3'
test \"$(stat -c %U /var/opt/omsd)\" = omsd
/opt/omsd/bin/omsd service status
/opt/omsd/bin/omsd service stop
no /opt/omsd/bin/omsd service status
/opt/omsd/bin/omsd service start
/opt/omsd/bin/omsd uninstall --purge
crontab -l >/tmp/jobs; no grep omsd /tmp/jobs
crontab -l | grep '15 3'
crontab -r
# For crond to read, which it does within the minute.
rm -f /var/spool/cron/crontabs/cron.update
no grep omsd /etc/passwd /etc/group /etc/shadow
gone omsd
";

/// Debian's busybox lacks those applets; these take what the applets' help says, and nothing else, and leave a backup as they do.
const ACCOUNT_TOOLS: [(&str, &str); 4] = [
    ("addgroup", "#!/bin/sh\ntest \"$#$1\" = 2-S || exit 1\necho \"$2:x:101:\" >>/etc/group\n"),
    (
        "adduser",
        "#!/bin/sh\ntest \"$#$1$2$3$4$6$8\" = 10-S-D-H-h-s-G || exit 1\ncp /etc/passwd /etc/passwd-\n\
         echo \"${10}:x:100:101::$5:$7\" >>/etc/passwd\necho \"${10}:!:19000:0:99999:7:::\" >>/etc/shadow\n",
    ),
    ("deluser", "#!/bin/sh\nsed -i \"/^$1:/d\" /etc/passwd /etc/shadow\n"),
    ("delgroup", "#!/bin/sh\nsed -i \"/^$1:/d\" /etc/group\n"),
];

fn static_busybox() -> PathBuf {
    std::env::var_os("OMSD_BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from)
}

/// A host, with the program in /root; it runs /root/script when it is up.
pub fn host() -> Directory {
    let tree = Directory::new();
    let root = tree.path();
    for name in ["dev/", "proc/", "tmp/", "run/", "root/", "sbin/", "var/spool/cron/crontabs/"] {
        tree.put(name, "");
    }
    tree.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    tree.put("etc/group", "root:x:0:\n");
    tree.put("etc/shadow", "root:*:19000:0:99999:7:::\n");
    tree.put(
        "etc/inittab",
        "::sysinit:/bin/mount -t proc proc /proc\n::respawn:/bin/crond -f -L /tmp/crond\n::once:/bin/sh /root/first\n",
    );
    tree.put(
        "root/first",
        "until grep -sqx crond /proc/[0-9]*/comm; do sleep 0.1; done\n/bin/sh /root/script\ntouch /tmp/ended\n",
    );
    tree.put("bin/", "");
    copy_program(&omsd_bin(), &root.join("root/omsd"));
    copy_program(&static_busybox(), &root.join("bin/busybox"));
    for name in run_well(Command::new(root.join("bin/busybox")).arg("--list")).lines().filter(|name| *name != "busybox")
    {
        symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    symlink("/bin/init", root.join("sbin/init")).expect("a link");
    for (name, minor) in [("null", 3), ("zero", 5), ("urandom", 9)] {
        run_well(Command::new("mknod").args(["-m", "666"]).arg(root.join("dev").join(name)).args([
            "c",
            "1",
            &minor.to_string(),
        ]));
    }
    for (name, script) in ACCOUNT_TOOLS {
        let path = root.join("bin").join(name);
        if !path.exists() {
            std::fs::write(&path, script).expect("a script");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        }
    }
    tree
}

/// Starts its init; what the script said, with `well` at its end if it went well.
pub fn start(root: &std::path::Path, network: Option<u32>) -> String {
    let enter = "ip link set lo up && exec chroot \"$1\" /sbin/init";
    boot(apart(network, &[], enter).arg(root), root)
}

#[test]
fn a_busybox_host_installs_starts_and_removes_it() {
    let tree = host();
    put_script(tree.path(), SCRIPT);
    let before = Listing::of(tree.path());
    let said = start(tree.path(), None);
    assert!(said.ends_with("well\n"), "{said}");
    before.check(tree.path(), &said);
}
