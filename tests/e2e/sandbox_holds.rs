//! What the running agent and its upload child may still do is little, and the kernel holds them to it. strace plays the attacker: it puts a call that is
//! not in conf/seccomp.txt in the place of one that is, in the very program that is shipped, and the process dies of SIGSYS. A file outside the directories
//! that the configuration names cannot be read. Each of these succeeds with `sandbox off`. What the status says is held against the kernel's own words.

use crate::harness::{Omsd, Site, Source, children_of, is_old_kernel, run, temp_dir, wait_until};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

const SIGSYS: i32 = 31;
/// What no program of ours ever calls, and strace may put in the place of another.
const FOREIGN: &str = "getegid";

fn site(sandbox: &str) -> (Site, Source) {
    let (site, source) = (Site::new(), Source::udp());
    site.configure(&[source], "");
    set(&site, sandbox);
    (site, source)
}

fn set(site: &Site, sandbox: &str) {
    let text = std::fs::read_to_string(site.conf()).expect("the configuration");
    std::fs::write(site.conf(), format!("<system>\n  sandbox {sandbox}\n</system>\n{text}")).expect("it is written");
}

/// Starts the agent below strace, which makes this call another one.
fn start_tampered(site: &Site, source: Source, call: &str, trace: &Path) -> Omsd {
    let omsd = spawn_tampered(site, call, &format!("error=EAGAIN:syscall={FOREIGN}"), trace);
    omsd.wait_for_sources(&[source], &site.socket());
    omsd
}

/// The same with any answer to the call.
fn spawn_tampered(site: &Site, call: &str, answer: &str, trace: &Path) -> Omsd {
    let plain = site.command("run");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", &format!("trace={call}"), "-o"]).arg(trace);
    command.args(["-e", &format!("inject={call}:{answer}")]);
    command.arg(plain.get_program()).args(plain.get_args()).env("TZ", "UTC");
    Omsd::spawn(command)
}

fn send(source: Source, text: &str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let line = format!("<13>Nov 22 20:00:00 web01 app: {text}");
    socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
}

/// A line of a process's `status` file. Source: proc_pid_status(5).
fn told(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many filters that process has, without the one that makes the kernel an old one.
fn filters_of(pid: u32) -> Option<u32> {
    told(pid, "Seccomp_filters").parse::<u32>().ok()?.checked_sub(is_old_kernel().into())
}

/// What the status says of landlock on this kernel, as the library that is under test asks it.
fn landlock() -> String {
    match omsd::sys::landlock::version() {
        Ok(version) if !is_old_kernel() => format!("on (ABI {version})"),
        Err(why) if !is_old_kernel() => format!("unsupported ({why})"),
        _ => String::from("unsupported (not in this kernel)"),
    }
}

fn has_landlock() -> bool {
    let has = landlock().starts_with("on");
    if !has {
        eprintln!("this kernel has no landlock: what it would stop is not tested");
    }
    has
}

#[test]
fn the_kernel_knows_of_all_that_the_status_says() {
    let (site, source) = site("on");
    let omsd = site.start();
    send(source, "one");
    let pid = omsd.pid();
    wait_until("the upload child's second filter", || {
        send(source, "more");
        children_of(pid).first().is_some_and(|child| filters_of(*child) == Some(2))
    });
    for (name, expected) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        assert_eq!(told(pid, name), expected, "{name}");
    }
    assert_eq!(filters_of(pid), Some(1));
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(told(pid, name), "0".repeat(16), "{name}");
    }
    let status = site.status();
    for (layer, expected) in [("account", "root"), ("no_new_privs", "on"), ("seccomp", "on"), ("landlock", &landlock())]
    {
        assert_eq!(status["sandbox"][layer], expected, "{layer}");
    }
    let said = run(&mut site.command("status")).stdout;
    let line =
        format!("sandbox: runs as root without capabilities; no_new_privs on, seccomp on, landlock {}\n", landlock());
    assert!(said.contains(&line), "{said}");
}

/// The agent on a kernel that answers so when it is asked for its landlock: what status and check say of it.
#[track_caller]
fn check_without_landlock(error: &str, why: &str) {
    let (site, source) = site("on");
    let omsd = spawn_tampered(&site, "landlock_create_ruleset", &format!("error={error}"), &temp_dir().join("trace"));
    omsd.wait_for_sources(&[source], &site.socket());
    send(source, "one");
    site.wait("the message", |seen| seen.messages().any(|message| message == "one"));
    let told = site.status()["sandbox"].clone();
    assert_eq!(told["landlock"], format!("unsupported ({why})"));
    assert_eq!(told["seccomp"], "on", "one layer less is no layer less of the others");
    // `check` has the true kernel's answer.
    let grade = if has_landlock() { "WARN" } else { "PASS" };
    let checked = run(site.command("check").arg("sys.sandbox")).stdout;
    let line = format!("{grade} sys.sandbox    no_new_privs on, seccomp on, landlock unsupported ({why})");
    assert!(checked.starts_with(&line), "{checked}");
    assert!(omsd.runs());
}

#[test]
fn a_kernel_without_landlock_is_told_from_one_that_has_it_switched_off() {
    check_without_landlock("ENOSYS", "not in this kernel");
    check_without_landlock("EOPNOTSUPP", "switched off at boot");
    check_without_landlock("EPERM", "Operation not permitted (os error 1)");
}

#[test]
fn a_layer_that_the_kernel_has_and_refuses_ends_it_unless_best_effort_will_do() {
    if !has_landlock() {
        return;
    }
    // The version is told, rules are not taken.
    let (call, answer) = ("landlock_create_ruleset", "error=EPERM:when=2+");
    let (strict, _) = site("on");
    let mut omsd = spawn_tampered(&strict, call, answer, &temp_dir().join("trace"));
    assert_eq!(omsd.wait_for_end().code(), Some(77));
    wait_until("the reason", || omsd.stderr().contains("the kernel refuses the landlock"));
    let (lax, source) = site("best_effort");
    let omsd = spawn_tampered(&lax, call, answer, &temp_dir().join("trace"));
    omsd.wait_for_sources(&[source], &lax.socket());
    send(source, "one");
    lax.wait("the message", |seen| seen.messages().any(|message| message == "one"));
    assert_eq!(lax.status()["sandbox"]["landlock"], "failed: Operation not permitted (os error 1)");
    let checked = run(lax.command("check").arg("sys.sandbox"));
    assert_eq!(checked.code(), 1, "{checked:?}");
}

#[test]
fn a_call_that_is_not_in_the_list_ends_the_daemon() {
    let (site, source) = site("on");
    let trace = temp_dir().join("trace");
    let mut omsd = start_tampered(&site, source, "recvmmsg", &trace);
    send(source, "one");
    // strace ends as its child did.
    assert_eq!(omsd.wait_for_end().signal(), Some(SIGSYS), "{}", omsd.stderr());
}

#[test]
fn it_is_only_noted_or_made_where_the_administrator_says_so() {
    // Before Linux 4.14 nothing can be noted only.
    let log = if is_old_kernel() { ("log", 0, "unsupported") } else { ("log", 1, "log") };
    for (sandbox, filters, seccomp) in [log, ("off", 0, "off")] {
        let (site, source) = site(sandbox);
        let trace = temp_dir().join("trace");
        let omsd = start_tampered(&site, source, "recvmmsg", &trace);
        send(source, "one");
        let calls = || std::fs::read_to_string(&trace).unwrap_or_default();
        wait_until("the other call is made", || calls().contains("INJECTED") || !omsd.runs());
        assert!(omsd.runs() && !calls().contains("killed"), "{sandbox}: {}", calls());
        let daemon = children_of(omsd.pid())[0];
        assert_eq!(filters_of(daemon), Some(filters), "{sandbox}");
        assert_eq!(told(daemon, "NoNewPrivs"), "1", "{sandbox}");
        assert_eq!(site.status()["sandbox"]["seccomp"], seccomp);
        assert_eq!(site.status()["sandbox"]["landlock"], "off");
    }
}

#[test]
fn it_ends_the_upload_child_and_the_daemon_says_so_and_lives() {
    let (site, source) = site("on");
    let trace = temp_dir().join("trace");
    let omsd = start_tampered(&site, source, "connect", &trace);
    send(source, "one");
    omsd.wait_for_stderr("put off");
    assert!(omsd.stderr().contains("a system call that the sandbox forbids"), "{}", omsd.stderr());
    assert!(std::fs::read_to_string(&trace).unwrap_or_default().contains("killed by SIGSYS"));
    assert!(omsd.runs());
}

/// What is said of a proxy file that became a link to another directory while the agent ran.
#[track_caller]
fn check_a_link_that_leads_out(sandbox: &str, expected: &str) {
    let (site, source) = site(sandbox);
    let omsd = site.start();
    send(source, "one");
    site.wait("the first message", |seen| seen.messages().any(|message| message == "one"));
    let outside = temp_dir();
    std::fs::write(outside.join("proxy.conf"), "http://127.0.0.1:1\n").expect("a proxy that nobody is");
    std::os::unix::fs::symlink(outside.join("proxy.conf"), site.etc("proxy.conf")).expect("a link");
    send(source, "two");
    omsd.wait_for_stderr("put off");
    assert!(omsd.stderr().contains(expected), "{expected:?} with sandbox {sandbox}: {}", omsd.stderr());
}

#[test]
fn a_file_elsewhere_is_out_of_reach() {
    check_a_link_that_leads_out("off", "127.0.0.1:1");
    if has_landlock() {
        check_a_link_that_leads_out("on", "Permission denied");
    }
}

#[test]
fn a_new_configuration_that_needs_more_waits_for_a_restart() {
    if !has_landlock() {
        return;
    }
    let (site, source) = site("on");
    let omsd = site.start();
    std::fs::create_dir_all(site.root.join("srv/trust")).expect("another directory");
    std::fs::copy(site.etc("ca.pem"), site.root.join("srv/trust/ca.pem")).expect("the authority");
    site.configure(&[source], "ca_file /srv/trust/ca.pem");
    omsd.signal("HUP");
    omsd.wait_for_stderr("srv/trust, which the sandbox keeps from an agent that runs; restart it");
    send(source, "one");
    site.wait("a message", |seen| seen.messages().any(|message| message == "one"));
    drop(omsd);
    let omsd = site.start();
    send(source, "two");
    site.wait("the next message", |seen| seen.messages().any(|message| message == "two"));
    assert!(omsd.runs());
}
