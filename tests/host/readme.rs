//! README.md by the letter, on hosts that know nothing of omsd: the commands of its code blocks, in their order, lead from the downloaded program
//! to the first record at the service, and to files that are what they were.
//!
//! The service is the stand-in, in the network of the host, by the names that the workspace has in Azure; the host trusts its authority. So
//! nothing is added to the commands.

use crate::busybox;
use crate::debian::{releases, view};
use crate::listing::Listing;
use crate::systemd;
use crate::tools::{Directory, apart, boot, omsd_bin, put_script, run_well};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The service, alone in a network of its own.
struct Service {
    process: Child,
    commands: ChildStdin,
    said: BufReader<ChildStdout>,
    workspace: String,
}

impl Service {
    /// Starts it, and has the host know its names, its authority, and in `/root/key` the workspace's key.
    fn start_for(root: &Path) -> Service {
        let program = std::env::var_os("OMSD_STANDIN").expect("OMSD_STANDIN names the stand-in service's program");
        let ca = root.join("root/ca.pem");
        let enter = "ip link set lo up && exec \"$1\" --listen 127.0.0.1:443 --marker hello --ca-file \"$2\"";
        let mut process = Command::new("unshare")
            .args(["--net", "sh", "-c", enter, "sh"])
            .arg(program)
            .arg(&ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let commands = process.stdin.take().expect("piped");
        let said = BufReader::new(process.stdout.take().expect("piped"));
        let mut service = Service { process, commands, said, workspace: String::new() };
        let mut told = |name: &str| service.line().strip_prefix(name).expect(name).trim().to_owned();
        told("address");
        let workspace = told("workspace");
        std::fs::write(root.join("root/key"), told("key") + "\n").expect("the key");
        told("ca");
        append(
            &root.join("etc/hosts"),
            &format!("127.0.0.1 {workspace}.oms.opinsights.azure.com {workspace}.ods.opinsights.azure.com\n"),
        );
        let ca = std::fs::read_to_string(ca).expect("the authority");
        append(&root.join("etc/ssl/certs/ca-certificates.crt"), &ca);
        service.workspace = workspace;
        service
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("the stand-in speaks");
        line
    }

    /// The message has arrived, and nothing was wrong with any request.
    #[track_caller]
    fn expect_hello(&mut self, said: &str) {
        writeln!(self.commands, "counts").expect("the stand-in listens");
        let counts = self.line();
        for expected in ["\"unique\":1,", "\"duplicates\":0,", "\"complaints\":0,", "\"agents\":1}"] {
            assert!(counts.contains(expected), "{expected} is not in {counts}\n{said}");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn append(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
}

/// The commands of a chapter from the first to the one that ends with `last`, as a script. What a person does beside typing them: fills in the workspace,
/// looks at warnings of `check` and goes on, and looks at `status` until the message is sent.
fn script(chapter: &str, last: &str, workspace: &str) -> String {
    let readme = include_str!("../../README.md");
    let text = readme.split_once(&format!("\n{chapter}\n")).expect(chapter).1;
    let text = text.split("\n#").next().expect("a chapter");
    let mut script = String::from("cd /root\n");
    for command in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        let command = command.replace("WORKSPACE-ID", workspace);
        let added = match command.rsplit_once("omsd ") {
            Some((_, "check")) => format!("{command} || test $? = 1"),
            Some((_, "status")) => format!(
                "n=0; until {command} | grep '^syslog: .* = [1-9]'; do n=$((n + 1)); test $n -lt 300; sleep 0.2; done\n{command}"
            ),
            _ => command.clone(),
        };
        writeln!(script, "{added}").expect("memory");
        if command.ends_with(last) {
            return script + "gone omsd\n";
        }
    }
    panic!("{chapter} has no command that ends with {last}");
}

const CHAPTER: &str = "### On a host";
const LAST: &str = "uninstall --purge";

/// With nothing but what every Debian has: no init, no syslog daemon, nor cron.
#[test]
fn on_a_minimal_debian_it_leads_to_a_first_record_and_away() {
    for release in releases() {
        let tree = view(&release);
        let root = tree.path();
        for path in ["usr/sbin/rsyslogd", "etc/rsyslog.conf", "etc/init.d/rsyslog"] {
            std::fs::remove_file(root.join(path)).expect("it was there");
        }
        let mut service = Service::start_for(&root);
        put_script(&root, &(script(CHAPTER, LAST, &service.workspace) + "test ! -e /dev/log\n"));
        // The first process: one that is called sh would make it a container.
        let first = root.join("root/walk");
        std::fs::write(&first, "#!/bin/sh\n/bin/sh /root/script\ntouch /tmp/ended\n").expect("a script");
        std::fs::set_permissions(&first, PermissionsExt::from_mode(0o755)).expect("executable");
        let before = Listing::of(&root);
        let enter = "mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /root/walk";
        let said = boot(apart(Some(service.process.id()), &[], enter).arg(&root), &root);
        assert!(said.ends_with("well\n"), "{said}");
        service.expect_hello(&said);
        before.check(&root, &said);
    }
}

#[test]
fn on_a_busybox_host_it_leads_to_a_first_record_and_away() {
    let tree = busybox::host();
    let root = tree.path();
    let mut service = Service::start_for(root);
    let ours = "test ! -e /dev/log\nrm -f /var/spool/cron/crontabs/cron.update\n";
    put_script(root, &(script(CHAPTER, LAST, &service.workspace) + ours));
    let before = Listing::of(root);
    let said = busybox::start(root, Some(service.process.id()));
    assert!(said.ends_with("well\n"), "{said}");
    service.expect_hello(&said);
    before.check(root, &said);
}

#[test]
fn on_a_systemd_host_it_leads_to_a_first_record_and_away() {
    for release in systemd::releases_with_systemd() {
        let tree = view(&release);
        let root = tree.path();
        let mut service = Service::start_for(&root);
        systemd::prepare(&root, &script(CHAPTER, LAST, &service.workspace));
        let before = Listing::of(&root);
        let said = systemd::start(&root, Some(service.process.id()));
        assert!(said.ends_with("well\n"), "{said}");
        service.expect_hello(&said);
        before.check(&root, &said);
    }
}

/// By the package, which the package manager takes away again, but for its own notes.
#[test]
fn as_a_package_it_leads_to_a_first_record_and_away() {
    let made = Directory::new();
    let make = ["--program", &omsd_bin().display().to_string(), "--out", &made.path().display().to_string(), "deb"]
        .map(str::to_owned);
    run_well(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cross/package")).args(make));
    for release in systemd::releases_with_systemd() {
        let tree = view(&release);
        let root = tree.path();
        for package in std::fs::read_dir(made.path()).expect("the package").flatten() {
            std::fs::copy(package.path(), root.join("root").join(package.file_name())).expect("copied");
        }
        // Who removes a package says yes.
        append(&root.join("etc/apt/apt.conf.d/yes"), "APT::Get::Assume-Yes \"true\";\n");
        let mut service = Service::start_for(&root);
        let last = "apt purge omsd";
        systemd::prepare(&root, &script("### As a package", last, &service.workspace));
        let before = Listing::of(&root);
        let said = systemd::start(&root, Some(service.process.id()));
        assert!(said.ends_with("well\n"), "{said}");
        service.expect_hello(&said);
        before.check(&root, &said);
    }
}
