//! A file system whose server never answers is mounted, as sshfs would be: whoever asks for its space hangs. The agent samples its
//! other file systems every second all the same, and no more than one child of it waits, however often it reloads.

use crate::harness::{Omsd, Site, wait_until};
use crate::process::children_of;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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

/// An agent with this source beside the file system, whose place it gives.
fn started(site: &Site, outputs: &str) -> (Omsd, PathBuf) {
    std::fs::write(site.conf(), format!("{SOURCE}{outputs}")).expect("omsd.conf is written");
    let mount_point = site.var("hangs");
    std::fs::create_dir_all(&mount_point).expect("a directory");
    let omsd = start(site, &mount_point);
    wait_until("the agent runs", || site.status()["pid"].as_u64() == Some(u64::from(omsd.pid())));
    assert!(hangs(omsd.pid(), &mount_point), "{}", omsd.stderr());
    (omsd, mount_point)
}

#[test]
fn a_file_system_that_hangs_is_left_out_and_the_others_are_sampled() {
    let site = Site::new();
    site.configure(&[], "");
    let outputs = std::fs::read_to_string(site.conf()).expect("the outputs");
    let (mut omsd, mount_point) = started(&site, &outputs);

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

/// All of an agent's children, ended ones that it did not reap included. Source: proc(5), needs Linux 3.5 with CHECKPOINT_RESTORE.
fn children_and_zombies(agent: u32) -> usize {
    let path = format!("/proc/{agent}/task/{agent}/children");
    std::fs::read_to_string(path).expect("the agent's children").split_whitespace().count()
}

#[test]
fn a_reload_while_it_hangs_leaves_neither_children_nor_descriptors() {
    let site = Site::new();
    site.configure(&[], "");
    site.add_heartbeat();
    let outputs = std::fs::read_to_string(site.conf()).expect("heartbeat and outputs");
    let (mut omsd, _) = started(&site, &outputs);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", omsd.pid())).expect("descriptors").count();
    let reload = |number: usize, sources: &str| {
        std::fs::write(site.conf(), format!("{sources}{outputs}")).expect("omsd.conf is written");
        omsd.signal("HUP");
        wait_until("it reloads", || omsd.stderr().matches("configuration reloaded").count() == number);
    };
    let before = descriptors();
    for number in 1..=20 {
        reload(number, &SOURCE.replace("1s", &format!("{}s", 1 + number % 2)));
        // One that uploads, and one that waits.
        assert!(children_and_zombies(omsd.pid()) <= 2, "after {number} reloads");
    }
    assert!(descriptors() <= before + 2, "{before} descriptors before, {} now", descriptors()); // its pipes to two children
    reload(21, "");
    wait_until("the child is gone", || children_and_zombies(omsd.pid()) == 0);
    assert!(omsd.terminate().0.success(), "{}", omsd.stderr());
}
