//! A file system whose server never answers is mounted, as sshfs would be: whoever asks for its space hangs. The agent samples its
//! other file systems every second all the same, and no more than one child of it waits.

use crate::harness::{Omsd, Site, wait_until};
use crate::process::children_of;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

const SOURCE: &str = "<source>\n  type oms_omi\n  object_name \"Logical Disk\"\n  counter_name_regex \"Free Megabytes\"\n  \
                      interval 1s\n</source>\n";

/// Mounts on its first argument, where nobody else sees it, with itself as the server; then becomes the rest of them.
const IN_FRONT_OF_A_DEAD_SERVER: &str = "exec 3<>/dev/fuse && \
    mount -i -t fuse.sshfs -o fd=3,rootmode=40000,user_id=0,group_id=0 user@server:/home \"$1\" && shift && exec \"$@\"";

fn start(site: &Site, mount_point: &Path) -> Omsd {
    let run = site.command("run");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", IN_FRONT_OF_A_DEAD_SERVER, "sh"]);
    command.arg(mount_point).arg(run.get_program()).args(run.get_args());
    Omsd::spawn(command)
}

/// Asks in the agent's place, for a second.
fn hangs(agent: u32, mount_point: &Path) -> bool {
    let mut ask = Command::new("timeout");
    ask.args(["--signal=KILL", "1", "nsenter", "--mount", "--target", &agent.to_string(), "stat", "--file-system"]);
    let asked = ask.arg(mount_point).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("nsenter(1)");
    asked.code().is_none() || asked.code() == Some(137)
}

#[test]
fn a_file_system_that_hangs_is_left_out_and_the_others_are_sampled() {
    let site = Site::new();
    site.configure(&[], "");
    let outputs = std::fs::read_to_string(site.conf()).expect("the outputs");
    std::fs::write(site.conf(), format!("{SOURCE}{outputs}")).expect("omsd.conf is written");
    let mount_point = site.var("hangs");
    std::fs::create_dir_all(&mount_point).expect("a directory");
    let mut omsd = start(&site, &mount_point);
    wait_until("the agent runs", || site.status()["pid"].as_u64() == Some(u64::from(omsd.pid())));
    assert!(hangs(omsd.pid(), &mount_point), "{}", omsd.stderr());

    // The child's deadline is 5 s: samples of before, and of after it was given up.
    site.wait("ten samples", |seen| {
        seen.perf().map(|item| item.text("Timestamp")).collect::<BTreeSet<_>>().len() >= 10
    });
    let seen = site.standin.seen();
    let names: BTreeSet<&str> = seen.perf().map(|item| item.text("InstanceName")).collect();
    assert!(names.contains("_Total") && !names.contains(mount_point.to_str().expect("UTF-8")), "{names:?}");
    drop(seen);
    // One that uploads, and one that waits or is done.
    assert!(children_of(omsd.pid()).len() <= 2);
    assert!(omsd.terminate().0.success(), "{}", omsd.stderr());
}
