//! The program's file is replaced by another version's while a sender is at it and the service is away; the old agent is stopped and the new one started,
//! as an upgrade does. What was sent before the stop and what was sent once the new one listens is delivered, once and in order, and no
//! file of the administrator's has changed. A version whose ring the program does not know is refused with a sentence.

use crate::harness::{Omsd, Site, Source, copy_program, is_old_kernel, omsd_bin, run};
use omsd_standin::{Answer, Route};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

#[test]
fn under_load_while_the_service_is_away() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    let program = site.root.join("opt/omsd/bin/omsd");
    install(&program);
    let settings = files(&site.etc(""));
    let mut old = start(&site, &program, source);
    let sender = Sender::start(source.port());
    site.wait("records that the old one delivers", |seen| seen.counts.records > 100);
    site.standin.answer_always(Route::Data, Answer::status(503));
    let requests = site.standin.seen().requests.len();
    site.wait("a request that is refused", |seen| seen.requests.len() > requests + 1);

    let inode = install(&program);
    let before = sender.sent();
    assert!(old.terminate().0.success(), "{}", old.stderr());
    let new = start(&site, &program, source);
    let after = sender.sent();
    let running = std::fs::metadata(format!("/proc/{}/exe", new.pid())).expect("it runs");
    // As on an old kernel, that file is a script.
    assert!(running.ino() == inode || is_old_kernel(), "the new file runs");
    crate::harness::wait_until("messages for the new one", || sender.sent() > after + 300);
    let sent = sender.stop();
    site.standin.behave();

    site.wait("the last message", |seen| {
        seen.messages().last().is_some_and(|message| message == format!("seq={}", sent - 1))
    });
    let seen = site.standin.seen();
    let numbers: Vec<usize> =
        seen.messages().filter_map(|message| message.strip_prefix("seq=")?.parse().ok()).collect();
    let of_gap = |number: &usize| (before..after).contains(number);
    let outside: Vec<usize> = numbers.iter().copied().filter(|number| !of_gap(number)).collect();
    let expected: Vec<usize> = (0..before).chain(after..sent).collect();
    assert!(outside == expected, "of {sent}, without {before}..{after}: {} arrived", outside.len());
    assert!(numbers.is_sorted_by(|one, next| one < next), "twice or out of order");
    assert_eq!(files(&site.etc("")), settings, "settings changed");
    assert_eq!(site.stream("syslog")["lost"].as_u64().unwrap_or(0), 0, "{}", site.status());
    assert_eq!(seen.complaints, [""; 0]);
}

#[test]
fn a_ring_of_a_later_format_is_refused_and_stays_as_it_is() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    assert!(site.start().terminate().0.success());
    let mut ring = std::fs::read(site.var("ring")).expect("the ring");
    for header in [0, 2048] {
        assert_eq!(&ring[header..header + 8], b"omsdring");
        ring[header + 8] += 1;
    }
    std::fs::write(site.var("ring"), &ring).expect("the ring is written");
    let output = run(&mut site.command("run"));
    assert_eq!(output.code(), 74, "{output:?}");
    assert!(output.stderr.contains("the ring has format 3, this program reads up to 2"), "{output:?}");
    assert!(std::fs::read(site.var("ring")).expect("the ring") == ring, "the ring was written to");
}

/// Puts the program under test there by a rename, as `omsd install` does; its inode.
fn install(program: &Path) -> u64 {
    let new = program.with_extension("new");
    std::fs::create_dir_all(program.parent().expect("a directory")).expect("it is made");
    copy_program(&omsd_bin(), &new);
    std::fs::rename(&new, program).expect("it is put there");
    std::fs::metadata(program).expect("it is there").ino()
}

fn start(site: &Site, program: &Path, source: Source) -> Omsd {
    let mut command = Command::new(program);
    command.args(["run", "--root"]).arg(&site.root).env("TZ", "UTC");
    let omsd = Omsd::spawn(command);
    omsd.wait_for_sources(&[source], &site.socket());
    omsd
}

/// Every file below a directory, with what it holds.
fn files(directory: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).expect("a file"));
        }
    }
    all
}

/// Sends a numbered message every half millisecond or so, whether or not anybody listens.
struct Sender {
    sent: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sender {
    fn start(port: u16) -> Sender {
        let (sent, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (sent.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            while !end.load(Ordering::SeqCst) {
                let line = format!("<13>Nov 22 20:00:00 web01 app: seq={}", count.load(Ordering::SeqCst));
                socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, port)).expect("it is sent");
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        Sender { sent, done, thread }
    }

    /// How many were sent: the numbers below this.
    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    fn stop(self) -> usize {
        self.done.store(true, Ordering::SeqCst);
        self.thread.join().expect("it sends to the end");
        self.sent.load(Ordering::SeqCst)
    }
}
