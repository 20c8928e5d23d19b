//! Overload: the service is down, and senders send what they can until the ring is full and longer. Streams are held back and lose nothing; datagrams overwrite the
//! oldest, and each is counted. Then the service is there again: what has gathered is worked off while more comes in. Memory keeps to the budget throughout.
//! How fast all this is, tests/bench measures.

use crate::account::{lost, syslog, wait_for_status_of};
use crate::harness::{Omsd, PATIENCE, Site, Source};
use crate::process::children_of;
use crate::random::{Random, from_environment};
use crate::sockets::udp_drops;
use omsd_standin::serde_json::Value;
use omsd_standin::{Numbers, Options};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages that wait when the ring is full.
const WAITING_DEFAULT: u64 = 60_000;
/// Parent and child together, as README says of the static program.
const MEMORY_BYTES_MAX: u64 = 6_000_000;
/// What goes on coming in while the backlog is worked off.
const STEADY_BURST: usize = 20;
const STEADY_PAUSE: Duration = Duration::from_millis(10);
/// So many of them may wait when the backlog is gone: those of a flush interval and of the status file's, and as many again.
const WAITING_WHEN_DONE: u64 = 8_000;
/// Of the ring, what may be free when it is full: room for one large message, and what is freed at once.
const FREE_BYTES_MAX: u64 = 256 * 1024;

/// An agent whose service is down, and what is sent to it.
struct Overload {
    site: Site,
    omsd: Omsd,
    peak: Peak,
    random: Random,
    /// Messages sent while the service is down, at least.
    flood: usize,
    /// Length of the shortest message.
    bytes: usize,
}

impl Overload {
    fn new(sources: &[Source]) -> Overload {
        let seed = from_environment("OMSD_OVERLOAD_SEED").unwrap_or_else(|| u64::from(std::process::id()));
        println!("OMSD_OVERLOAD_SEED={seed}");
        let mut random = Random::new(seed);
        let waiting = from_environment("OMSD_OVERLOAD_MESSAGES").unwrap_or(WAITING_DEFAULT);
        let bytes = random.within(60..300);
        let site = Site::with(Options { keep_items: false, marker: "seq=".to_owned(), ..Options::default() });
        // Frame and record header, half of what messages vary by, half of what they are aligned to.
        let ring_bytes = waiting * (bytes + 33 + 32 + 4);
        site.configure(sources, &format!("buffer_size {}k", ring_bytes / 1024));
        site.standin.close();
        let omsd = site.start();
        let peak = Peak::of(omsd.pid());
        let flood = usize::try_from(random.within(waiting * 3 / 2..waiting * 5 / 2)).expect("small");
        Overload { site, omsd, peak, random, flood, bytes: usize::try_from(bytes).expect("small") }
    }

    fn messages(&self) -> Messages {
        Messages { bytes: self.bytes }
    }

    /// Waits for such a status of the running agent.
    #[track_caller]
    fn wait(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        wait_for_status_of(&self.site, &self.omsd, what, condition)
    }

    /// The service is there again; waits until it has all of these, and the agent is up to date with what goes on coming in.
    #[track_caller]
    fn recover(&self, expected: Range<usize>) {
        self.site.standin.open().expect("the service listens again");
        let patience = PATIENCE + Duration::from_millis(self.flood as u64);
        let all_there = |numbers: &Numbers| {
            numbers.unique() >= expected.len() as u64 && numbers.unique_in(expected.clone()) == expected.len()
        };
        let arrived = self.site.standin.wait(patience, |seen| all_there(&seen.numbers));
        let seen = self.site.standin.seen();
        assert!(arrived, "{} of {expected:?} arrived: {:?}", seen.numbers.unique_in(expected.clone()), seen.counts);
        drop(seen);
        self.wait("catching up is faster than intake", |status| syslog(status, "pending") <= WAITING_WHEN_DONE);
    }

    /// Waits until everything that was sent is settled; nothing arrived twice, nothing was wrong, memory was within its budget.
    #[track_caller]
    fn finish(self, sent: usize) -> (Value, Numbers) {
        let status = self.wait("everything is settled", |status| {
            syslog(status, "received") == sent as u64 && syslog(status, "pending") == 0
        });
        let peak_bytes = self.peak.end();
        println!("{sent} messages, {} lost, {peak_bytes} bytes of memory at most", lost(&status));
        if std::env::var_os("OMSD_BIN").is_some() {
            assert!(peak_bytes <= MEMORY_BYTES_MAX, "parent and child had {peak_bytes} bytes");
        } else {
            println!("memory is not judged: OMSD_BIN names no static program");
        }
        let seen = self.site.standin.seen();
        assert_eq!(seen.complaints, [""; 0]);
        assert_eq!(seen.numbers.unique(), syslog(&status, "sent"), "{status}");
        assert_eq!(seen.numbers.duplicates(), 0);
        (status, seen.numbers.clone())
    }
}

/// Texts of numbered messages; their lengths vary.
#[derive(Clone, Copy)]
struct Messages {
    bytes: usize,
}

impl Messages {
    fn text(self, number: usize) -> String {
        let start = format!("<13>Nov 22 20:00:00 web01 app: seq={number} ");
        let filler = (self.bytes + number * 31 % 64).saturating_sub(start.len());
        start + &"x".repeat(filler)
    }

    fn lines(self, numbers: Range<usize>) -> String {
        numbers.map(|number| self.text(number) + "\n").collect()
    }
}

#[test]
fn overloaded_streams_are_held_back_and_lose_nothing() {
    let source = Source::tcp();
    let mut overload = Overload::new(&[source]);
    let (messages, flood) = (overload.messages(), overload.flood);
    let connect = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
        stream.set_write_timeout(Some(PATIENCE * 10)).expect("a timeout");
        stream
    };
    let connections = overload.random.index(6) + 1;
    let senders: Vec<JoinHandle<()>> = (0..connections)
        .map(|number| {
            let (numbers, mut stream) = (number * flood / connections..(number + 1) * flood / connections, connect());
            std::thread::spawn(move || {
                for first in numbers.clone().step_by(100) {
                    let lines = messages.lines(first..numbers.end.min(first + 100));
                    stream.write_all(lines.as_bytes()).expect("omsd takes it in the end");
                }
            })
        })
        .collect();
    let is_full = |status: &Value| {
        let ring = &status["ring"];
        ring["pending_bytes"]
            .as_u64()
            .zip(ring["bytes"].as_u64())
            .is_some_and(|(used, all)| used + FREE_BYTES_MAX >= all)
    };
    let full = overload.wait("the ring is full", is_full);
    assert!(syslog(&full, "received") < flood as u64, "nobody is held back: {full}");

    let mut stream = connect();
    let steady = Steady::start(messages, flood, move |text| stream.write_all(format!("{text}\n").as_bytes()));
    overload.recover(0..flood);
    let sent = steady.end();
    senders.into_iter().for_each(|sender| sender.join().expect("a sender does not fail"));
    assert!(sent > flood, "nothing came in meanwhile");
    let (status, numbers) = overload.finish(sent);
    assert_eq!(lost(&status), 0, "{status}");
    assert_eq!(numbers.missing(sent, 9), [0; 0]);
}

#[test]
fn of_overloading_datagrams_the_newest_are_kept_and_the_others_counted() {
    let udp = Source::udp();
    let overload = Overload::new(&[udp, Source::UnixDatagram]);
    let (messages, flood) = (overload.messages(), overload.flood);
    let network = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    network.connect((Ipv4Addr::LOCALHOST, udp.port())).expect("an address");
    let local = UnixDatagram::unbound().expect("a socket");
    local.connect(overload.site.socket()).expect("omsd listens");
    // One of eight over UDP: those of the unix socket hold the sender back, so that the kernel need not drop any.
    for number in 0..flood {
        let text = messages.text(number);
        let sent = if number % 8 == 0 { network.send(text.as_bytes()) } else { local.send(text.as_bytes()) };
        sent.expect("it is sent");
    }
    assert_eq!(udp_drops(udp), 0, "the kernel dropped datagrams: the load is too much for this test");
    let full = overload.wait("all are received", |status| syslog(status, "received") == flood as u64);
    let (waiting, overwritten) = (syslog(&full, "pending"), syslog(&full, "overwritten"));
    assert!(overwritten > 0 && lost(&full) == overwritten, "{full}");

    let steady = Steady::start(messages, flood, move |text| local.send(text.as_bytes()).map(drop));
    // The two sockets are read in turn, so that the oldest that is left may be older than one that is gone; and until an upload has succeeded, what
    // comes in overwrites more.
    let surely = usize::try_from(waiting).expect("small") / 2;
    overload.recover(flood - surely..flood);
    let sent = steady.end();
    let (status, numbers) = overload.finish(sent);
    let overwritten = syslog(&status, "overwritten");
    assert_eq!((lost(&status), numbers.unique()), (overwritten, sent as u64 - overwritten), "{status}");
}

/// Messages that come at a moderate rate until told to stop.
struct Steady {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Steady {
    fn start(
        messages: Messages,
        first: usize,
        mut send: impl FnMut(&str) -> std::io::Result<()> + Send + 'static,
    ) -> Steady {
        let stop: Arc<AtomicBool> = Arc::default();
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut next = first;
            while !told.load(Ordering::SeqCst) {
                for number in next..next + STEADY_BURST {
                    send(&messages.text(number)).expect("omsd takes it");
                }
                next += STEADY_BURST;
                std::thread::sleep(STEADY_PAUSE);
            }
            next
        });
        Steady { stop, thread }
    }

    /// The number behind the last one sent.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the sender does not fail")
    }
}

/// Looks at the resident memory of a process and its children until told to stop.
struct Peak {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Peak {
    fn of(pid: u32) -> Peak {
        let stop: Arc<AtomicBool> = Arc::default();
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::SeqCst) {
                let family = children_of(pid).into_iter().chain([pid]);
                peak = peak.max(family.map(resident_bytes).sum());
                std::thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        Peak { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("it only looks")
    }
}

/// Source: proc_pid_statm(5), field 2, in pages.
fn resident_bytes(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
