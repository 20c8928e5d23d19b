//! The cron file of the distribution, under Debian's cron and under busybox crond, each on a spool of its own: at the start of cron and each minute omsd is
//! called, one agent runs, nobody gets mail, no process is left behind. In the full-length run for three minutes, with a kill in between.

use crate::harness::{Site, Source, children_of, copy_program, omsd_bin, wait_for};
use crate::is_full_length;
use crate::watched::{Background, agents, holder, kill, runs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Two of cron's minutes, and some more.
const MINUTES: Duration = Duration::from_secs(130);

/// A running cron; ended when dropped.
struct Cron(Child);

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn named(variable: &str, otherwise: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(otherwise), PathBuf::from)
}

/// The lines of the cron file that call omsd, for this installation; each also leaves a mark that it ran.
fn lines(site: &Site) -> String {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/omsd.cron");
    let text = std::fs::read_to_string(sample).expect("conf/omsd.cron");
    let program = site.root.join("omsd");
    copy_program(&omsd_bin(), &program);
    let calls = text.lines().filter(|line| line.contains("/opt/omsd/bin/omsd"));
    let root = site.root.display();
    let ours = |line: &str| {
        let line = line.replace("/opt/omsd/bin/omsd", &program.display().to_string());
        line.replace("--ensure", &format!("--ensure --root {root}"))
            .replace("&& exec", &format!("&& echo >>{root}/called && exec"))
    };
    calls.map(|line| ours(line) + "\n").collect()
}

fn calls(site: &Site) -> usize {
    std::fs::read_to_string(site.root.join("called")).unwrap_or_default().lines().count()
}

/// Waits for so many more calls than there are now, each of which has ended.
#[track_caller]
fn wait_for_calls(site: &Site, cron: &Cron, more: usize) {
    let wanted = calls(site) + more;
    wait_for(MINUTES, "cron calls omsd", || calls(site) >= wanted);
    wait_for(MINUTES, "cron waits for nobody", || children_of(cron.0.id()).is_empty());
}

/// The agent that cron started, after `more` calls that had nothing to do.
#[track_caller]
fn watch(site: &Site, cron: &Cron, more: usize) {
    wait_for_calls(site, cron, 1);
    let first = holder(site);
    assert_eq!(agents(site), [first]);
    let descriptors = || std::fs::read_dir(format!("/proc/{first}/fd")).expect("its descriptors").count();
    let before = descriptors();
    for _ in 0..more {
        wait_for_calls(site, cron, 1);
        assert_eq!(agents(site), [first], "a healthy agent stays");
        assert!(descriptors() <= before);
    }
    if is_full_length() {
        kill(first);
        wait_for_calls(site, cron, 1);
        assert!(runs(holder(site)) && holder(site) != first);
        wait_for_calls(site, cron, 1);
        assert_eq!(agents(site), [holder(site)]);
    }
}

#[test]
fn debians_cron_keeps_one_agent_alive_and_sends_no_mail() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    let dir = |name: &str| {
        let path = site.root.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    };
    let (table, sbin, mail) = (dir("cron.d"), dir("sbin"), site.root.join("mail"));
    // Without MAILTO="" whatever a line says is mailed.
    std::fs::write(table.join("omsd"), lines(&site)).expect("the cron file");
    std::fs::write(table.join("other"), "* * * * * root echo this is mailed\n").expect("another cron file");
    std::fs::write(sbin.join("sendmail"), format!("#!/bin/sh\ncat >>{}\n", mail.display())).expect("a mailer");
    let made = Command::new("chmod").args(["755"]).arg(sbin.join("sendmail")).status().expect("chmod runs");
    assert!(made.success());
    // A view of the file system of its own: the host's cron tables, spool and pid file are not touched.
    let script = "mount --make-rprivate / && mount --bind \"$1\" /etc/cron.d && mount --bind \"$2\" /usr/sbin
        for d in /run /var/spool; do mount -t tmpfs t $d || exit 90; done
        mkdir -p /var/spool/cron/crontabs; [ ! -e /etc/crontab ] || mount --bind /dev/null /etc/crontab
        exec \"$3\" -f";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).args([&table, &sbin, &named("OMSD_CRON", "/usr/sbin/cron")]);
    let cron = Cron(command.stdin(Stdio::null()).spawn().expect("unshare runs"));
    // Once when cron starts, then by the minute.
    watch(&site, &cron, 1);
    let mails = std::fs::read_to_string(&mail).unwrap_or_default();
    assert!(mails.contains("this is mailed"), "{mails}");
    assert!(!mails.contains("omsd"), "{mails}");
}

#[test]
fn busyboxs_crond_keeps_one_agent_alive() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    let table = site.root.join("crontabs");
    std::fs::create_dir_all(&table).expect("a directory");
    // No field for the account, and no @reboot.
    let lines: String = lines(&site)
        .lines()
        .filter(|line| line.starts_with('*'))
        .map(|line| line.replace(" root ", " ") + &format!(" >>{}/said 2>&1\n", site.root.display()))
        .collect();
    std::fs::write(table.join("root"), lines).expect("the crontab");
    let mut command = Command::new(named("OMSD_BUSYBOX", "busybox"));
    command.args(["crond", "-f", "-c"]).arg(&table).arg("-L").arg(site.root.join("crond.log"));
    let cron = Cron(command.stdin(Stdio::null()).spawn().expect("busybox runs"));
    watch(&site, &cron, usize::from(is_full_length()));
    assert_eq!(std::fs::read_to_string(site.root.join("said")).expect("what it said"), "");
}
