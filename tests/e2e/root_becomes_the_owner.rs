//! Root starts the agent, the state directory belongs to another account, which no passwd file knows: the agent opens a privileged port, becomes that
//! account for good, and everything it has and makes belongs to it. What it cannot do any more is said when a new configuration asks for it.

use crate::harness::{Site, Source, mode, tcp_listens, udp_bound, wait_until};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const ACCOUNT: u32 = 61_234;

/// A port that only root may open, or none that is free.
fn privileged_port(not: u16) -> u16 {
    (600..1024).rev().find(|&port| port != not && !tcp_listens(port) && !udp_bound(port)).expect("a free port")
}

fn give(path: &Path) {
    let status = Command::new("chown").arg("-R").arg(format!("{ACCOUNT}:{ACCOUNT}")).arg(path).status();
    assert!(status.expect("chown runs").success(), "this scenario needs root");
}

fn numbers(pid: u32, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn and_can_do_no_more_than_that() {
    let site = Site::new();
    let port = privileged_port(0);
    site.configure(&[Source::Udp(port)], "");
    std::fs::create_dir_all(site.var("")).expect("the state directory");
    give(&site.root);
    std::fs::set_permissions(&site.root, std::fs::Permissions::from_mode(0o755)).expect("it can be reached");
    let omsd = site.start();
    omsd.wait_for_stderr("listens on");

    let pid = omsd.pid();
    assert_eq!(numbers(pid, "Uid:"), vec![ACCOUNT.to_string(); 4]);
    assert_eq!(numbers(pid, "Gid:"), vec![ACCOUNT.to_string(); 4]);
    assert_eq!(numbers(pid, "Groups:"), Vec::<String>::new());
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(numbers(pid, name), ["0".repeat(16)], "{name}");
    }

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let line = "<13>Nov 22 20:00:00 web01 app: through a privileged port";
    socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, port)).expect("it is sent");
    site.wait("the message", |seen| seen.messages().any(|message| message == "through a privileged port"));
    wait_until("the status", || site.var("status").exists());
    for (name, expected) in [("ring", 0o600), ("lock", 0o600), ("machine", 0o600), ("status", 0o640)] {
        let found = std::fs::metadata(site.var(name)).expect(name);
        assert_eq!((found.uid(), found.gid(), mode(&site.var(name))), (ACCOUNT, ACCOUNT, expected), "{name}");
    }
    assert_eq!(site.status()["sandbox"]["account"], format!("user {ACCOUNT}"));

    site.configure(&[Source::Udp(privileged_port(port))], "");
    omsd.signal("HUP");
    omsd.wait_for_stderr(
        "wants root or a privilege, and the agent has given up both; restart it; the old one stays in force",
    );
    assert!(udp_bound(port), "the port that is open stays so");

    let for_everybody = Source::udp();
    site.configure(&[Source::Udp(port), for_everybody], "");
    omsd.signal("HUP");
    omsd.wait_for_stderr("configuration reloaded");
    assert!(udp_bound(port) && udp_bound(for_everybody.port()));
}

#[test]
fn unless_the_directory_is_roots_own() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let omsd = site.start();
    omsd.wait_for_stderr("listens on");
    assert_eq!(numbers(omsd.pid(), "Uid:"), ["0"; 4]);
    assert_eq!(numbers(omsd.pid(), "CapEff:"), ["0".repeat(16)]);
    wait_until("the status", || site.var("status").exists());
    assert_eq!(site.status()["sandbox"]["account"], "root");
}
