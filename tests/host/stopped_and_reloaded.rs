//! An administrator starts omsd in the background, without any service manager, has it take a changed configuration, and stops it. Each
//! command ends when what it is for has happened, and its exit code says whether it did.

use crate::harness::{Site, Source, run, temp_dir, udp_bound};
use crate::watched::{Background, agents, holder, run_as, runs, signal};
use std::net::UdpSocket;

#[test]
fn it_runs_in_the_background_until_it_is_stopped() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    let _background = Background(&site);
    // None of its caller's pipes stays open, whatever their numbers: otherwise this would not return.
    let plain = site.command("run");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$@\" 7>&1 8>&2", "sh"]).arg(plain.get_program()).args(plain.get_args());
    let started = run(command.arg("--daemon"));
    assert_eq!((started.code(), started.stdout.as_str(), started.stderr.as_str()), (0, "", ""));
    assert!(udp_bound(source.port()), "it says that it runs when it does");
    let pid = holder(&site);
    assert_eq!(agents(&site), [pid]);
    let descriptor = |number| std::fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("a descriptor");
    assert!((0..=2).all(|number| descriptor(number) == std::path::Path::new("/dev/null")));
    let second = run_as(&site, "--daemon");
    assert_eq!(second.code(), 75, "{second:?}");
    assert!(second.stderr.contains("another omsd"), "{second:?}");
    let stopped = run(&mut site.command("stop"));
    assert_eq!((stopped.code(), stopped.stdout.as_str()), (0, "stopped\n"), "{stopped:?}");
    assert!(!runs(pid));
    assert_eq!(site.status()["state"], "stopped");
    let again = run(&mut site.command("stop"));
    assert_eq!((again.code(), again.stdout.as_str()), (0, "no omsd runs here\n"), "{again:?}");
    let log = std::fs::read_to_string(site.var("log")).expect("its log");
    assert!(log.contains("listens on") && log.ends_with("stopped\n"), "{log}");
}

#[test]
fn what_keeps_it_from_running_is_the_callers_exit_code() {
    let site = Site::new();
    let _background = Background(&site);
    let taken = UdpSocket::bind(("127.0.0.1", 0)).expect("a port");
    site.configure(&[Source::Udp(taken.local_addr().expect("its address").port())], "");
    let in_use = run_as(&site, "--daemon");
    assert_eq!(in_use.code(), 73, "{in_use:?}");
    assert!(in_use.stderr.contains("cannot listen on udp"), "{in_use:?}");
    std::fs::write(site.conf(), "<source>\n  type nonsense\n</source>\n").expect("omsd.conf is written");
    let wrong = run_as(&site, "--daemon");
    assert_eq!(wrong.code(), 78, "{wrong:?}");
    assert!(wrong.stderr.contains("nonsense"), "{wrong:?}");
    let bare = temp_dir();
    let nowhere = run(crate::harness::command().args(["run", "--daemon", "--root"]).arg(&bare));
    assert_eq!(nowhere.code(), 78, "{nowhere:?}");
    assert!(nowhere.stderr.contains("omsd onboard"), "{nowhere:?}");
    assert_eq!(agents(&site), [0; 0]);
    let _ = std::fs::remove_dir_all(bare);
}

#[test]
fn reload_says_whether_the_configuration_was_taken() {
    let site = Site::new();
    let (old, new) = (Source::udp(), Source::udp());
    site.configure(&[old], "");
    let _background = Background(&site);
    let none = run(&mut site.command("reload"));
    assert_eq!(none.code(), 75, "{none:?}");
    assert_eq!(run_as(&site, "--daemon").code(), 0);
    site.configure(&[new], "");
    let taken = run(&mut site.command("reload"));
    assert_eq!((taken.code(), taken.stdout.as_str()), (0, "the configuration was reloaded\n"), "{taken:?}");
    assert!(udp_bound(new.port()) && !udp_bound(old.port()), "it is in force when that is said");
    let good = std::fs::read_to_string(site.conf()).expect("omsd.conf");
    std::fs::write(site.conf(), good + "nonsense\n").expect("omsd.conf is written");
    let refused = run(&mut site.command("reload"));
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert!(udp_bound(new.port()));
}

/// Ports below 1024 are for an agent that starts as root and for no later one, whatever the kernel's sandbox.
#[test]
fn what_only_a_start_can_take_is_told_with_the_command_for_it() {
    let site = Site::new();
    let mut free = (600..1024).filter(|&port| !udp_bound(port));
    let mut next = || Source::Udp(free.next().expect("a free port below 1024"));
    let (first, second, third) = (Source::udp(), next(), next());
    site.configure(&[first], "");
    let _background = Background(&site);
    assert_eq!(run_as(&site, "--daemon").code(), 0);
    let refused = |wanted: Source, old: Source| {
        site.configure(&[wanted], "");
        let output = run(&mut site.command("reload"));
        assert_eq!(output.code(), 77, "{output:?}");
        assert!(udp_bound(old.port()) && !udp_bound(wanted.port()), "the old one stays in force");
        output.stderr
    };
    refused(second, first);
    crate::watched::ensure(&site);
    assert!(udp_bound(second.port()) && !udp_bound(first.port()), "--ensure starts another agent by itself");

    let said = refused(third, second);
    let (_, command) = said.trim_end().rsplit_once(": ").expect("a command");
    let root = site.root.display();
    assert_eq!(command, format!("omsd stop --root {root}; omsd run --daemon --root {root}"));
    let names = site.root.join("names");
    std::fs::create_dir(&names).expect("a directory");
    std::os::unix::fs::symlink(crate::harness::omsd_bin(), names.join("omsd")).expect("a link");
    let done = run(std::process::Command::new("/bin/sh").args(["-c", command]).env("PATH", names));
    assert_eq!((done.code(), done.stdout.as_str(), done.stderr.as_str()), (0, "stopped\n", ""), "{done:?}");
    assert!(udp_bound(third.port()) && !udp_bound(second.port()));
}

#[test]
fn one_that_does_not_end_is_killed_only_if_asked_for() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    assert_eq!(run_as(&site, "--daemon").code(), 0);
    let pid = holder(&site);
    signal(pid, "STOP");
    let late = run(&mut site.command("stop"));
    assert_eq!(late.code(), 75, "{late:?}");
    assert!(runs(pid));
    let killed = run(site.command("stop").arg("--kill"));
    assert_eq!(killed.code(), 0, "{killed:?}");
    assert!(killed.stdout.contains("killed") && !runs(pid), "{killed:?}");
}

#[test]
fn an_ordinary_account_has_an_agent_of_its_own_and_another_cannot_stop_it() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    let owned = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(&site.root).status();
    assert!(owned.expect("chown runs").success());
    let as_account = |account: &str, name: &str, way: &[&str]| {
        let plain = site.command(name);
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", account, "--regid", account, "--clear-groups"]).arg(plain.get_program());
        run(command.args(plain.get_args()).args(way))
    };
    for _ in 0..2 {
        let output = as_account("65534", "run", &["--ensure"]);
        assert!(output.code() == 0 && output.stderr.is_empty(), "{output:?}");
    }
    let pid = agents(&site);
    assert_eq!(pid.len(), 1, "{pid:?}");
    let denied = as_account("65533", "stop", &[]);
    assert_eq!(denied.code(), 77, "{denied:?}");
    assert_eq!(as_account("65534", "reload", &[]).code(), 0);
    assert_eq!(agents(&site), pid);
    assert_eq!(as_account("65534", "stop", &[]).code(), 0);
    assert_eq!(agents(&site), [0; 0]);
}

#[test]
fn a_forged_lock_file_sends_no_signal_to_another_process() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    assert_eq!(run_as(&site, "--daemon").code(), 0);
    let pid = holder(&site);
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep runs");
    crate::watched::forge(&site.var("lock"), "pid", &bystander.id().to_string());
    let stopped = run(&mut site.command("stop"));
    assert_eq!(stopped.code(), 0, "{stopped:?}");
    assert!(!runs(pid), "the kernel says who has the lock");
    assert!(bystander.try_wait().expect("it is our child").is_none(), "a bystander was ended");
    let _ = bystander.kill();
    let _ = bystander.wait();
}
