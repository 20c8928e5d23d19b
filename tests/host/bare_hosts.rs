//! Hosts that lack what programs take for granted. A root directory that holds nothing but the program, one that cannot be written but for the state
//! directory, an environment of nothing: omsd checks its configuration, runs in the background, takes a message and stops in each of them.
//! Under limits and with calls that fail, a run of bounded time delivers, or says what is in the way and leaves the records to the next one.

use crate::harness::{Output, Site, Source, at_the_same_time, copy_program, omsd_bin, run, udp_bound, wait_until};
use crate::watched::{Background, agents};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};

const CONF: &str = "etc/opt/omsd/omsd.conf";

/// Prepares a shell that runs `script` with `$omsd`, `$root` and `$conf`.
fn shell(site: &Site, wrapper: &[&str], script: &str) -> Command {
    let mut command = Command::new(wrapper.first().copied().unwrap_or("sh"));
    command.args(wrapper.iter().skip(1));
    if !wrapper.is_empty() {
        command.arg("sh");
    }
    command.args(["-c", script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("omsd", omsd_bin()).env("root", &site.root).env("conf", site.root.join(CONF));
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

/// One environment of a short run.
struct Row {
    /// Comes in front of the program in a shell's script. `$program` is a copy of it in `$root`, which `$at` names, too.
    script: &'static str,
    /// How the run ends.
    code: i32,
    /// A part of the one line that it says; nothing if that is empty.
    says: &'static str,
    /// Whether its heartbeat and the message that it is sent arrive with it, or only with the next run; none where that is a race.
    sends: Option<bool>,
}

/// A short run in this environment, then one as usual.
fn check_once(row: Row) {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    site.add_heartbeat();
    copy_program(&omsd_bin(), &site.root.join("omsd"));
    // Where another account may start it.
    std::fs::set_permissions(&site.root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    let script = format!(
        "program=$root/omsd at=$root
         {} \"$program\" run --once --budget 10 --root \"$at\"",
        row.script
    );
    let mut command = shell(&site, &[], &script);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut listens = false;
    wait_until("it listens or ends", || {
        listens = udp_bound(source.port());
        listens || child.try_wait().expect("it is ours").is_some()
    });
    if listens {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
        let line = b"<13>Nov 22 20:00:00 web01 app: from there";
        socket.send_to(line, ("127.0.0.1", source.port())).expect("it is sent");
    }
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(row.code), "{ended:?}");
    assert!(said.contains(row.says) && said.lines().count() == usize::from(!row.says.is_empty()), "{said:?}");
    let arrived = || {
        let seen = site.standin.seen();
        let beats = seen.items.iter().filter(|item| item.text("Category") == "Agent").count();
        (beats, seen.messages().filter(|text| *text == "from there").count())
    };
    if let Some(sends) = row.sends {
        assert_eq!(arrived(), if sends { (1, 1) } else { (0, 0) });
    }

    good(&run(site.command("run").args(["--once", "--budget", "10"])));
    let (beats, messages) = arrived();
    assert!(beats > usize::from(row.sends == Some(true)), "{beats} heartbeats");
    assert!(messages >= 1 || !listens, "what it received was lost");
    assert_eq!(site.status()["ring"]["pending_records"], 0);
}

#[test]
fn a_short_run_delivers_or_says_why_and_leaves_the_rest_to_the_next() {
    let sends = |script| Row { script, code: 0, says: "", sends: Some(true) };
    let ends = |code, says, script| Row { script, code, says, sends: Some(false) };
    at_the_same_time(vec![
        (
            "no environment, streams or directory",
            sends("umask 000; mkdir \"$root/gone\"; cd \"$root/gone\"; rmdir ../gone; exec <&- >&- 2>&-; exec env -i setsid"),
        ),
        (
            "temporary directories that run and take nothing",
            sends(
                "program=/mnt/omsd at=/mnt
                 exec unshare -m sh -c 'mount --make-rprivate /; mount --bind \"$root\" /mnt || exit 90
                 for d in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o ro,noexec,nosuid,nodev,mode=0 t $d || exit 91; done
                 exec \"$@\"' sh",
            ),
        ),
        (
            "a root that cannot be written, but for an account's state",
            sends(
                "mkdir -p \"$root/var/opt/omsd\"; chown -R 65534:65534 \"$root\"; chown 0:0 \"$root\"
                 exec unshare -m sh -c 'mount --make-rprivate /; cd \"$root\"; mount --bind . .; cd \"$root\"
                 mount --bind var/opt/omsd var/opt/omsd; mount -o remount,ro,bind .; mount -o remount,ro,bind / || exit 90
                 touch etc/x 2>/dev/null && exit 91
                 exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"' sh",
            ),
        ),
        ("a root of nothing but the program", sends("program=/omsd at=/; exec chroot \"$root\"")),
        ("no capability", sends("exec setpriv --bounding-set=-all --inh-caps=-all")),
        ("little memory", sends("exec prlimit --as=33554432")),
        ("some descriptors", sends("exec prlimit --nofile=32")),
        ("a clock ahead of all others", sends("exec unshare --fork --time --monotonic 1000000 --boottime 1000000")),
        ("few descriptors", ends(73, "(os error 24)", "exec prlimit --nofile=8")),
        ("no file may grow", ends(73, "(os error 27)", "exec prlimit --fsize=0")),
        (
            "no further process",
            ends(
                75,
                "no process to upload with",
                "chown -R 65534:65534 \"$root\"; exec setpriv --reuid=65534 --regid=65534 --clear-groups prlimit --nproc=1",
            ),
        ),
        ("no network yet", ends(0, "", "exec unshare --net")),
        ("no route", ends(0, "", "exec strace -f -qq -o /dev/null -e inject=connect:error=ENETUNREACH")),
        (
            "a disk that does not sync",
            Row {
                sends: Some(true),
                ..ends(
                    74,
                    "the run failed",
                    "exec strace -f -qq -o /dev/null -e inject=fsync,fdatasync:error=EIO:when=3+",
                )
            },
        ),
        (
            "a disk that is full",
            // It may not even say so.
            Row {
                sends: None,
                ..ends(74, "", "exec strace -f -qq -o /dev/null -e inject=write,pwrite64:error=ENOSPC:when=10+")
            },
        ),
    ], check_once);
}

#[test]
fn a_line_that_nobody_takes_changes_no_exit_code() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    for (arguments, code) in
        [("nonsense", 64), ("run --ensure --root /proc/nowhere", 78), ("reload --root \"$root\"", 75)]
    {
        let heard = run(&mut shell(&site, &[], &format!("\"$omsd\" {arguments}")));
        assert!(heard.code() == code && !heard.stderr.is_empty(), "{heard:?}");
        let full = run(&mut shell(&site, &[], &format!("\"$omsd\" {arguments} >/dev/full 2>/dev/full")));
        assert_eq!(full.code(), code, "{arguments}");
        let piped = format!("{{ \"$omsd\" {arguments} 2>&1; echo $? >\"$root/code\"; }} | true; cat \"$root/code\"");
        assert_eq!(run(&mut shell(&site, &[], &piped)).stdout, format!("{code}\n"), "{arguments}");
    }
}

/// Hosts have a product UUID or none: this one is given one.
#[test]
fn a_copy_of_another_host_is_told_so_once_with_the_way_out_and_stays_the_same_agent() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let identity = std::fs::read(site.root.join("etc/opt/omsd/conf/omsadmin.conf")).expect("an identity");
    std::fs::create_dir_all(site.var("")).expect("the state directory");
    let other = "boot_id 0c9f\nhostname the-original\nuuid 11111111-2222-3333-4444-555555555555\n";
    std::fs::write(site.var("machine"), other).expect("it is written");
    let start = "mount --make-rprivate /; mount -t tmpfs t /sys/class || exit 90
         mkdir -p /sys/class/dmi/id; echo 66666666-2222-3333-4444-555555555555 >/sys/class/dmi/id/product_uuid
         exec \"$omsd\" run --once --budget 5 --root \"$root\"";
    for _ in 0..2 {
        good(&run(&mut shell(&site, &["unshare", "-m"], start)));
    }
    let log = std::fs::read_to_string(site.var("log")).expect("a log");
    let told = "a copy of another: its boot, name and product UUID are others";
    assert!(log.matches(told).count() == 1 && log.contains("omsd onboard remove, omsd onboard\n"), "{log}");
    let after = std::fs::read(site.root.join("etc/opt/omsd/conf/omsadmin.conf")).expect("an identity");
    assert!(identity == after, "it has become another agent");
}

/// The kernel's answer is changed on its way: what it says of a file system is that it is NFS, which a test has none of.
#[test]
fn a_state_on_a_file_system_of_a_network_is_refused_unless_it_is_allowed() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let start = || {
        let strace = "exec strace -qq -o /dev/null -e inject=fstatfs:poke_exit=@arg2=6969000000000000";
        run(&mut shell(&site, &[], &format!("{strace} \"$omsd\" run --once --budget 5 --root \"$root\"")))
    };
    let refused = start();
    assert_eq!(refused.code(), 73, "{refused:?}");
    assert!(refused.stderr.contains("file system of a network") && !site.var("ring").exists(), "{refused:?}");
    let text = std::fs::read_to_string(site.conf()).expect("omsd.conf");
    let allowed = "<system>\n  allow_network_state true\n</system>\n".to_owned() + &text;
    std::fs::write(site.conf(), allowed).expect("omsd.conf is written");
    good(&start());
}

/// Whether a program wants a loader.
fn links(program: &Path) -> bool {
    std::fs::read(program).expect("the program").windows(9).take(4096).any(|bytes| bytes == b"ld-linux-")
}
