//! Hosts that lack what programs take for granted. A root directory that holds nothing but the program, one that cannot be written but for the state
//! directory, an environment of nothing: omsd checks its configuration, runs in the background, takes a message and stops in each of them.

use crate::harness::{Output, Site, Source, copy_program, omsd_bin, run, udp_bound, wait_until};
use crate::watched::{Background, agents};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

const CONF: &str = "etc/opt/omsd/omsd.conf";

/// Prepares a shell that runs `script` with `$omsd`, `$root` and `$conf`.
fn shell(site: &Site, wrapper: &[&str], script: &str) -> Command {
    let mut command = Command::new(wrapper.first().copied().unwrap_or("sh"));
    command.args(wrapper.iter().skip(1));
    if !wrapper.is_empty() {
        command.arg("sh");
    }
    command.args(["-c", script]).env("omsd", omsd_bin()).env("root", &site.root).env("conf", site.root.join(CONF));
    command
}

#[track_caller]
fn good(output: &Output) {
    assert_eq!(output.code(), 0, "{output:?}");
}

/// Runs the script, which starts an agent in the background, and sees to it that this keeps a message.
#[track_caller]
fn check(wrapper: &[&str], script: &str) {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "flush_interval 1h");
    let _background = Background(&site);
    good(&run(&mut shell(&site, wrapper, script)));
    expect_kept(&site, source, || site.stream("syslog")["pending"] == 1);
    good(&run(&mut site.command("stop")));
    assert_eq!(agents(&site), [0; 0]);
}

#[track_caller]
fn expect_kept(site: &Site, source: Source, is_kept: impl Fn() -> bool) {
    assert!(udp_bound(source.port()), "{}", std::fs::read_to_string(site.var("log")).unwrap_or_default());
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.send_to(b"<13>hello", ("127.0.0.1", source.port())).expect("it is sent");
    // The status says so within half a minute.
    crate::harness::wait_for(std::time::Duration::from_secs(60), "the message is kept", is_kept);
}

#[test]
fn without_an_environment_streams_or_a_directory() {
    check(
        &[],
        "umask 000; mkdir \"$root/gone\"; cd \"$root/gone\"; rmdir ../gone
         exec env -i \"$omsd\" run --daemon --root \"$root\" <&- >&- 2>&-",
    );
}

#[test]
fn its_files_are_private_whatever_the_umask() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    good(&run(&mut shell(&site, &[], "umask 000; exec \"$omsd\" run --daemon --root \"$root\"")));
    for (name, expected) in [("lock", 0o600), ("log", 0o600), ("ring", 0o600), ("status", 0o640), ("", 0o700)] {
        assert_eq!(crate::harness::mode(&site.var(name)), expected, "{name}");
    }
}

#[test]
fn with_a_root_that_cannot_be_written_and_temporary_directories_that_run_nothing() {
    check(
        &["unshare", "-m"],
        "mount --make-rprivate /; mkdir -p \"$root/var/opt/omsd\"
         cp \"$omsd\" \"$root/omsd\"; mount --bind \"$root\" \"$root\"; cd \"$root\"
         mount --bind var/opt/omsd var/opt/omsd; mount -o remount,ro,bind \"$root\" || exit 90
         for d in /var/tmp /dev/shm; do mount -t tmpfs -o noexec,nosuid,nodev t $d; done
         touch \"$root/x\" 2>/dev/null && exit 91
         \"$root/omsd\" check --config \"$conf\" --root \"$root\" && exec \"$root/omsd\" run --daemon --root \"$root\"",
    );
}

#[test]
fn in_a_root_of_nothing_but_the_program() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "flush_interval 1h");
    let _background = Background(&site);
    copy_program(&omsd_bin(), &site.root.join("omsd"));
    let chrooted =
        |arguments: &str| run(&mut shell(&site, &[], &format!("exec chroot \"$root\" /omsd {arguments} --root /")));
    let bare = ["omsd", "etc", "run"];
    let found: Vec<_> =
        std::fs::read_dir(&site.root).expect("the root").flatten().map(|entry| entry.file_name()).collect();
    assert!(found.iter().all(|name| bare.iter().any(|bare| name == bare)), "{found:?}");
    let is_static = !Path::new("/lib64/ld-linux-x86-64.so.2").exists() || !links(&site.root.join("omsd"));
    if !is_static {
        eprintln!("skipped: the program that cargo built needs libraries; OMSD_BIN names the static one");
        assert!(std::env::var_os("OMSD_BIN").is_none(), "the program under test is not static");
        return;
    }
    good(&chrooted(&format!("check --config /{CONF}")));
    good(&chrooted("run --daemon"));
    expect_kept(&site, source, || site.stream("syslog")["pending"] == 1);
    wait_until("there is a log", || site.var("log").exists());
    good(&run(&mut site.command("stop")));
}

/// Whether a program wants a loader.
fn links(program: &Path) -> bool {
    std::fs::read(program).expect("the program").windows(9).take(4096).any(|bytes| bytes == b"ld-linux-")
}
