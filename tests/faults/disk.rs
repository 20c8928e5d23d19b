//! A disk that is full, read-only, over a limit or failing. The agent stays up, goes on receiving, keeps what it can in memory, counts what it cannot, says so once,
//! does not spin, and recovers by itself. What it received and did not count as dropped is delivered.

use crate::account::{check_sums, lost, syslog, wait_for_status_of};
use crate::harness::{Omsd, Output, Site, Source, run, wait_until};
use crate::process::{Strace, Usage, pid_of};
use omsd_standin::{Answer, Refusal, RefuseWhen, Seen};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use rustix::process::{Resource, Rlimit, prlimit};
use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long each fault lasts, at least: several retries of a second each.
const FAULT: Duration = Duration::from_secs(4);
/// What recovering may take once the disk is well: a retry, a sync, an upload, on a busy machine.
const RECOVERY: Duration = Duration::from_secs(20);
/// A ring of a mebibyte: what is kept in memory while the disk fails is a quarter of that.
const SMALL_RING: &str = "buffer_size 1m";
/// Messages that do not fit in memory.
const TOO_MANY: usize = 6000;

const RING_FAILS: &str = "the ring file cannot be written";
const RECORDS_ARE_LOST: &str = "records are lost";
const STATUS_FAILS: &str = "the status file cannot be written";

/// A small file system of its own where the agent keeps its state. Unmounted when dropped.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts it; `options`: those of tmpfs(5).
    fn mounted(site: &Site, options: &str) -> Disk {
        let path = site.var("");
        fs::create_dir_all(&path).expect("a directory");
        let data = CString::new(options).expect("no zero byte");
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), data.as_c_str())
            .unwrap_or_else(|error| panic!("a small tmpfs cannot be mounted, which needs root: {error}"));
        Disk { path }
    }

    /// Changes its options.
    fn remount(&self, options: &str) {
        mount_remount(&self.path, MountFlags::empty(), options).expect("it is remounted");
    }

    /// Takes every byte that is left.
    fn fill(&self) -> File {
        let mut filler = File::create(self.path.join("filler")).expect("a file");
        for block in [64 * 1024, 4096, 1] {
            while filler.write_all(&vec![b'x'; block]).is_ok() {}
        }
        filler
    }

    fn empty(&self) {
        fs::remove_file(self.path.join("filler")).expect("the filler is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        // Of the site, which could not take its mounted directory away, only empty directories are left.
        for empty in self.path.ancestors().take(4) {
            let _ = fs::remove_dir(empty);
        }
    }
}

/// An agent with one connection to it.
struct Bench {
    site: Site,
    omsd: Omsd,
    stream: TcpStream,
    sent: usize,
}

impl Bench {
    fn new(site: Site, keys: &str) -> Bench {
        let source = Source::tcp();
        site.configure(&[source], keys);
        let omsd = site.start();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
        Bench { site, omsd, stream, sent: 0 }
    }

    fn send(&mut self, count: usize) {
        let line =
            |number| format!("<13>Nov 22 20:00:00 web01 app: seq={number} of those that come while the disk is ill\n");
        let lines: String = (self.sent..self.sent + count).map(line).collect();
        self.stream.write_all(lines.as_bytes()).expect("the agent goes on reading");
        self.sent += count;
    }

    #[track_caller]
    fn expect_all_delivered(&self) {
        self.site.wait("all that was sent", |seen| numbers(seen).len() == self.sent);
    }

    /// The lines of its standard error with this text.
    fn said(&self, text: &str) -> usize {
        self.omsd.stderr().lines().filter(|line| line.contains(text)).count()
    }

    /// The fault has just ended: within the time of recovery all is delivered but what was counted, and the sums hold.
    #[track_caller]
    fn expect_recovery(&mut self) {
        let ended = Instant::now();
        self.send(1); // its upload has the status written
        let all_sent = self.sent as u64;
        let status = wait_for_status_of(&self.site, &self.omsd, "everything is delivered after the fault", |status| {
            syslog(status, "received") == all_sent && syslog(status, "pending") == 0
        });
        println!("recovered in {:?}", ended.elapsed());
        assert!(ended.elapsed() < RECOVERY, "recovering took {:?}", ended.elapsed());
        let delivered = numbers(&self.site.standin.seen()).len();
        assert_eq!(delivered as u64, all_sent - lost(&status), "{status}");
        let end = self.omsd.terminate().0;
        assert!(end.success(), "{end}: {}", self.omsd.stderr());
    }

    /// The ring takes nothing: some messages wait in memory, then too many come.
    #[track_caller]
    fn endure_failing_ring(&mut self, cpu_max: Duration, switches_max: u64) {
        let begun = Instant::now();
        self.send(100);
        wait_until("it says that the ring fails", || self.said(RING_FAILS) > 0);
        // Beyond the flush interval: what waits in memory is wanted upstream, and cannot go.
        let usage = Usage::of(self.omsd.pid());
        std::thread::sleep(FAULT.saturating_sub(begun.elapsed()).max(FAULT / 2));
        usage.check_since(self.omsd.pid(), cpu_max, switches_max);
        self.send(TOO_MANY);
        wait_until("it says that records are lost", || self.said(RECORDS_ARE_LOST) > 0);
        assert!(self.omsd.runs());
        let said = (self.said(RING_FAILS), self.said(RECORDS_ARE_LOST));
        assert_eq!(said, (1, 1), "once for each cause: {}", self.omsd.stderr());
    }

    /// Only the status file cannot be written: everything else goes on.
    #[track_caller]
    fn endure_failing_status(&mut self) {
        let usage = Usage::of(self.omsd.pid());
        let begun = Instant::now();
        while begun.elapsed() < FAULT {
            self.send(10);
            self.expect_all_delivered();
            std::thread::sleep(Duration::from_millis(200));
        }
        wait_until("it says that the status cannot be written", || self.said(STATUS_FAILS) > 0);
        usage.check_since(self.omsd.pid(), Duration::from_secs(2), 5000);
        assert_eq!(self.said(STATUS_FAILS), 1, "once: {}", self.omsd.stderr());
        assert_eq!(self.said(RING_FAILS), 0, "{}", self.omsd.stderr());
    }
}

fn numbers(seen: &Seen) -> HashSet<usize> {
    let number = |text: &str| text.strip_prefix("seq=")?.split(' ').next()?.parse().ok();
    seen.messages().filter_map(number).collect()
}

/// Starting fails with one of these exit codes and names the file and the cause.
#[track_caller]
fn expect_refusal(site: &Site, codes: [i32; 2], cause: &str) {
    let output: Output = run(&mut site.command("run"));
    assert!(codes.contains(&output.code()), "{output:?}");
    assert!(output.stderr.to_lowercase().contains(cause) && output.stderr.contains("var/opt/omsd"), "{output:?}");
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

#[test]
fn a_disk_too_small_for_the_ring_is_an_error_at_the_start() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=1m");
    site.configure(&[Source::tcp()], "");
    expect_refusal(&site, [73, 74], "no space left");
    let left: Vec<_> =
        fs::read_dir(&disk.path).expect("a directory").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "lock"), "{left:?} is left behind");
    disk.remount("size=16m");
    assert!(site.start().terminate().0.success(), "with room enough it starts");
}

#[test]
fn a_disk_without_inodes_is_an_error_at_the_start() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=16m,nr_inodes=2");
    site.configure(&[Source::tcp()], "");
    expect_refusal(&site, [73, 74], "no space left");
    disk.remount("nr_inodes=100");
    assert!(site.start().terminate().0.success(), "with inodes enough it starts");
}

#[test]
fn a_disk_that_fills_up_costs_the_status_file_only() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=12m");
    let mut bench = Bench::new(site, "");
    bench.send(100);
    bench.expect_all_delivered();
    let filler = disk.fill();
    bench.endure_failing_status();
    drop(filler);
    disk.empty();
    bench.expect_recovery();
}

#[test]
fn a_disk_that_is_full_does_not_keep_the_agent_from_starting_again() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=12m");
    let mut bench = Bench::new(site, "");
    bench.send(100);
    bench.expect_all_delivered();
    let _filler = disk.fill();
    bench.omsd.kill();
    let bench = Bench::new(bench.site, "");
    assert!(bench.omsd.runs(), "{}", bench.omsd.stderr());
}

#[test]
fn inodes_that_run_out_cost_the_status_file_only() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=16m,nr_inodes=50");
    let mut bench = Bench::new(site, "");
    bench.send(100);
    bench.expect_all_delivered();
    let name = |number: u32| disk.path.join(format!("filler{number}"));
    let taken = (0..100).take_while(|number| File::create(name(*number)).is_ok()).count();
    assert!(taken < 100);
    bench.endure_failing_status();
    (0..100).for_each(|number| drop(fs::remove_file(name(number))));
    bench.expect_recovery();
}

#[test]
fn a_refused_record_that_cannot_be_kept_is_counted_and_told() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=12m");
    let mut bench = Bench::new(site, "");
    bench.send(1);
    bench.expect_all_delivered();
    let filler = disk.fill();
    bench.site.standin.refuse(Refusal { when: RefuseWhen::Contains(b"seq=7 ".to_vec()), answer: Answer::status(400) });
    bench.send(19);
    bench.site.wait("all but the refused one", |seen| numbers(seen).len() == 19);
    bench.omsd.wait_for_stderr("var/opt/omsd/rejected: ");
    assert!(!numbers(&bench.site.standin.seen()).contains(&7));
    drop(filler);
    disk.empty();
    bench.send(1);
    let status = wait_for_status_of(&bench.site, &bench.omsd, "the account of all", |status| {
        syslog(status, "received") == 21 && syslog(status, "pending") == 0
    });
    assert_eq!((syslog(&status, "refused"), syslog(&status, "sent")), (1, 20), "{status}");
}

/// The kernel refuses to make a file system read-only under a file that is open for writing; what it does to a failing ext4 comes from below. Here the directory becomes
/// read-only while the ring stays open, and below the ring fails as on such an ext4.
#[test]
fn a_read_only_directory_costs_the_status_file_only() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=16m");
    let mut bench = Bench::new(site, "");
    bench.send(100);
    bench.expect_all_delivered();
    mount_bind(&disk.path, &disk.path).expect("a bind mount");
    let upper = Disk { path: disk.path.clone() };
    mount_remount(&upper.path, MountFlags::BIND | MountFlags::RDONLY, "").expect("it becomes read-only");
    let refused = File::create(upper.path.join("x")).expect_err("it is read-only");
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    bench.endure_failing_status();
    drop(upper);
    bench.expect_recovery();
}

#[test]
fn a_file_size_limit_is_an_error_and_no_signal() {
    let mut bench = Bench::new(Site::new(), SMALL_RING);
    bench.send(100);
    bench.expect_all_delivered();
    let pid = Some(pid_of(bench.omsd.pid()));
    let limit = |current| Rlimit { current, maximum: None };
    prlimit(pid, Resource::Fsize, limit(Some(4096))).expect("a limit on another process, which needs root");
    bench.endure_failing_ring(Duration::from_millis(500), 200);
    prlimit(pid, Resource::Fsize, limit(None)).expect("no limit");
    bench.expect_recovery();
}

/// strace stops the agent twice in each of its system calls: these bounds are wide and still far from a loop that spins.
#[track_caller]
fn check_error(inject: &str) {
    let mut bench = Bench::new(Site::new(), SMALL_RING);
    bench.send(100);
    bench.expect_all_delivered();
    let strace = Strace::attach(bench.omsd.pid(), inject);
    bench.endure_failing_ring(Duration::from_secs(1), 1500);
    drop(strace);
    bench.expect_recovery();
}

#[test]
fn a_device_error_on_write_is_endured() {
    check_error("pwrite64:error=EIO");
}

#[test]
fn no_space_on_write_is_endured() {
    check_error("pwrite64:error=ENOSPC");
}

#[test]
fn a_file_system_that_becomes_read_only_is_endured() {
    check_error("pwrite64,fdatasync:error=EROFS");
}

#[test]
fn a_device_error_on_sync_loses_nothing() {
    let mut bench = Bench::new(Site::new(), "");
    bench.send(100);
    bench.expect_all_delivered();
    let strace = Strace::attach(bench.omsd.pid(), "fdatasync:error=EIO");
    let usage = Usage::of(bench.omsd.pid());
    let begun = Instant::now();
    while begun.elapsed() < FAULT {
        bench.send(10);
        bench.expect_all_delivered();
        std::thread::sleep(Duration::from_millis(200));
    }
    usage.check_since(bench.omsd.pid(), Duration::from_secs(2), 20_000);
    assert_eq!(bench.said(RING_FAILS), 1, "once: {}", bench.omsd.stderr());
    drop(strace);
    bench.expect_recovery();
    assert_eq!(numbers(&bench.site.standin.seen()).len(), bench.sent);
}

#[test]
fn a_ring_file_that_somebody_deletes_goes_on_working_until_the_end() {
    let mut bench = Bench::new(Site::new(), "");
    bench.send(100);
    bench.expect_all_delivered();
    fs::remove_file(bench.site.var("ring")).expect("the ring is there");
    bench.send(1000);
    bench.expect_all_delivered();
    bench.omsd.wait_for_stderr("the ring file was deleted");
    bench.expect_recovery();
    let bench = Bench::new(bench.site, "");
    assert_eq!(fs::metadata(bench.site.var("ring")).expect("a new one").len(), 10 * 1024 * 1024);
}

#[test]
fn a_ring_file_that_somebody_truncates_costs_what_it_held_and_no_more() {
    let mut bench = Bench::new(Site::new(), "flush_interval 3s");
    bench.send(100);
    wait_for_status_of(&bench.site, &bench.omsd, "a status", |_| true);
    std::thread::sleep(Duration::from_millis(300)); // they are in the file
    OpenOptions::new().write(true).open(bench.site.var("ring")).and_then(|file| file.set_len(0)).expect("it is cut");
    bench.send(50);
    let status = wait_for_status_of(&bench.site, &bench.omsd, "the others are delivered", |status| {
        syslog(status, "received") == 150 && syslog(status, "pending") == 0
    });
    assert_eq!((syslog(&status, "corrupt"), syslog(&status, "sent")), (100, 50), "{status}");
    bench.omsd.kill();

    let mut bench = Bench::new(bench.site, "");
    check_sums(&bench.site.status());
    bench.sent = 150;
    bench.send(10);
    bench.site.wait("what comes after the restart", |seen| numbers(seen).len() == 60);
}

/// The ring has lost its claim on space, and there is none: writes fail for want of room without any help.
#[test]
fn a_truncated_ring_on_a_full_disk_is_endured() {
    let site = Site::new();
    let disk = Disk::mounted(&site, "size=4m");
    let mut bench = Bench::new(site, SMALL_RING);
    bench.send(100);
    bench.expect_all_delivered();
    OpenOptions::new().write(true).open(disk.path.join("ring")).and_then(|file| file.set_len(0)).expect("it is cut");
    let filler = disk.fill();
    bench.endure_failing_ring(Duration::from_millis(500), 200);
    drop(filler);
    disk.empty();
    bench.expect_recovery();
}
