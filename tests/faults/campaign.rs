//! A campaign: round after round an agent is started, loaded and killed, on one installation. What it had read and what arrived is kept by number and compared at
//! the end.

use crate::account;
use crate::harness::{Omsd, PATIENCE, Site, Source, omsd_bin};
use crate::load::{Load, Pace, Sent, Targets, Way, message, number_in};
use crate::process;
use crate::sockets::{Held, Unread, udp_drops};
use omsd_standin::{Answer, Manner, Route};
use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// Records in a request at default settings under light load.
const REQUEST_RECORDS_MAX: usize = 1000;
/// After so many requests of that size in a row, larger ones may follow.
const FULL_OF_BACKLOG: usize = 10;
/// Messages that one turn of the agent's loop may take from one source.
const TURN_MESSAGES_MAX: usize = 256 * 1024 / 100;

/// How an agent is started.
#[derive(Debug, Clone)]
pub enum Start {
    Plain,
    /// Under strace, which kills agent and child each at their n-th call of this name.
    KilledAt(&'static str, u32),
}

/// What is killed in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Parent,
    Child,
    Both,
}

/// What the service does during a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Well,
    Down,
    Unavailable,
    /// Takes the body and closes the connection.
    TakesAndCloses,
    /// Takes the body and answers a second later: the kill falls in between.
    TakesAndWaits,
}

/// One round.
#[derive(Debug, Clone)]
pub struct Round {
    pub start: Start,
    pub victim: Victim,
    pub service: Service,
    pub pace: Pace,
    pub kill_after: Duration,
}

/// What one agent had read from a socket, and what it had not.
struct Read {
    round: usize,
    way: Way,
    numbers: Vec<usize>,
    unread: Vec<usize>,
}

/// The whole campaign.
pub struct Campaign {
    pub site: Site,
    udp: Source,
    tcp: Source,
    next: [usize; 3],
    reads: Vec<Read>,
    /// Times delivered, by way and number.
    delivered: [Vec<u8>; 3],
    newest: [Option<usize>; 3],
    rounds: usize,
    /// Agents that strace killed.
    struck: usize,
    /// Kills, and answers that the service kept to itself: each may cost one request twice.
    excuses: usize,
    repeating_requests: usize,
    duplicates: usize,
    largest_repetition: usize,
    /// Requests with the most records that light load allows, one after the other, up to the last.
    full_in_a_row: usize,
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    pub read: usize,
    /// Messages in the ring that were still in their socket when the kill came.
    pub early: usize,
    pub duplicates: usize,
    /// Rounds that ended at the system call that they were to end at.
    pub struck: usize,
}

impl Campaign {
    /// An installation with three sources, default settings but for the waits.
    pub fn new() -> Campaign {
        let site = Site::new();
        let (udp, tcp) = (Source::udp(), Source::tcp());
        site.configure(&[udp, tcp, Source::UnixDatagram], "flush_interval 0.1\nretry_wait 0.1\nmax_retry_wait 0.2");
        Campaign {
            site,
            udp,
            tcp,
            next: [0; 3],
            reads: Vec::new(),
            delivered: Default::default(),
            newest: [None; 3],
            rounds: 0,
            struck: 0,
            excuses: 0,
            repeating_requests: 0,
            duplicates: 0,
            largest_repetition: 0,
            full_in_a_row: 0,
        }
    }

    /// Runs one round.
    pub fn round(&mut self, round: &Round) {
        self.rounds += 1;
        self.serve(round.service);
        let omsd = self.start(&round.start);
        let pid = match round.start {
            Start::Plain => Some(omsd.pid()),
            Start::KilledAt(..) => process::traced_by(omsd.pid()),
        };
        match pid {
            Some(pid) => self.load_and_kill(pid, &omsd, round),
            None => self.note_struck(&omsd, round),
        }
        self.excuses += 1;
        assert!(!omsd.stderr().contains("panicked"), "{}", omsd.stderr());
        drop(omsd);
        if round.service == Service::Down {
            self.site.standin.open().expect("the service listens again");
        }
        self.absorb();
    }

    fn serve(&self, service: Service) {
        let standin = &self.site.standin;
        standin.behave();
        match service {
            Service::Well => {}
            Service::Down => standin.close(),
            Service::Unavailable => standin.answer_always(Route::Data, Answer::status(503)),
            Service::TakesAndCloses => {
                standin.answer_next(Route::Data, [Answer::manner(Manner::Close { taken: true })])
            }
            Service::TakesAndWaits => {
                standin.answer_always(Route::Data, Answer::default().delayed(Duration::from_secs(1)))
            }
        }
    }

    fn start(&self, start: &Start) -> Omsd {
        let plain = self.site.command("run");
        match start {
            Start::Plain => Omsd::spawn(plain),
            Start::KilledAt(call, nth) => {
                let mut command = Command::new("strace");
                command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={nth}")]);
                command.arg(omsd_bin()).args(plain.get_args()).env("TZ", "UTC");
                Omsd::spawn(command)
            }
        }
    }

    fn load_and_kill(&mut self, pid: u32, omsd: &Omsd, round: &Round) {
        let Some(tcp) = connect(pid, self.tcp.port()) else { return self.note_struck(omsd, round) };
        let peer_port = tcp.local_addr().expect("an address").port();
        let held = Held::of(pid, self.udp, peer_port, &self.site.socket());
        let Some(held) = held else { return self.note_struck(omsd, round) };
        if matches!(round.start, Start::Plain) {
            account::wait_for_status(&self.site, pid, "the status of the new agent", |_| true);
        }
        let targets = Targets { udp_port: self.udp.port(), tcp, unix: self.site.socket() };
        let load = Load::start(targets, self.next, round.pace);
        let killed_at = Instant::now() + round.kill_after;
        while Instant::now() < killed_at && process::lives(pid) {
            std::thread::sleep(Duration::from_micros(500));
        }
        if !process::lives(pid) {
            self.note_struck(omsd, round);
        }
        let family = self.kill(pid, round);
        let drops = udp_drops(self.udp);
        let sent = load.stop();
        process::wait_for_end_of(&family);
        assert_eq!(drops, 0, "UDP messages were lost before they were read: the load is too much for this test");
        self.note_read(sent, held.drain());
    }

    /// The agent has ended before we killed it: only strace may have done that.
    #[track_caller]
    fn note_struck(&mut self, omsd: &Omsd, round: &Round) {
        let by_strace = matches!(round.start, Start::KilledAt(..)) && !omsd.stderr().contains("strace:");
        assert!(by_strace, "omsd ended by itself: {}", omsd.stderr());
        self.struck += 1;
    }

    /// Kills what the round says; then the agent in any case. Returns all that must be gone.
    fn kill(&mut self, pid: u32, round: &Round) -> Vec<u32> {
        let mut family = process::children_of(pid);
        match round.victim {
            Victim::Parent => {}
            Victim::Both => family.iter().for_each(|child| process::kill_now(*child)),
            Victim::Child if family.is_empty() => {}
            Victim::Child => {
                family.iter().for_each(|child| process::kill_now(*child));
                self.excuses += 1;
                // Time to notice, to start another child and to send the chunk again.
                std::thread::sleep(Duration::from_millis(150));
                assert!(process::lives(pid), "the agent died of its child's death");
                family.extend(process::children_of(pid));
            }
        }
        if round.service == Service::TakesAndCloses {
            self.excuses += 1;
        }
        if matches!(round.start, Start::KilledAt(..)) {
            self.excuses += 2; // one child, and another in its place
        }
        process::kill_now(pid);
        family.push(pid);
        family
    }

    fn note_read(&mut self, sent: Sent, unread: Unread) {
        for way in Way::ALL {
            let (first, end) = (self.next[way as usize], sent.next[way as usize]);
            let left: HashSet<usize> = match way {
                Way::Udp => numbers_of(&unread.udp),
                Way::Unix => numbers_of(&unread.unix),
                Way::Tcp => unread_lines(first..end, sent.tcp_bytes - unread.tcp_bytes),
            };
            let (unread, numbers) = (first..end).partition(|number| left.contains(number));
            self.reads.push(Read { round: self.rounds, way, numbers, unread });
            self.next[way as usize] = end + 1; // a message of which a part was sent has this number
        }
    }

    /// Takes what the service has got since the last time.
    fn absorb(&mut self) {
        let (items, requests) = {
            let mut seen = self.site.standin.seen();
            // A child that was killed while it sent its header leaves one that is cut off.
            let complaint = seen.complaints.iter().find(|complaint| !complaint.contains("cut off"));
            assert!(complaint.is_none(), "the service complains: {complaint:?}");
            (std::mem::take(&mut seen.items), std::mem::take(&mut seen.requests))
        };
        let mut items = items.iter();
        for request in requests.iter().filter(|request| request.route == Route::Data && request.taken) {
            let of_request = items.by_ref().take(request.records);
            let numbers: Vec<_> = of_request.filter_map(|item| number_in(item.text("Message"))).collect();
            self.deliver(&numbers);
        }
        assert_eq!(items.next(), None, "an item that belongs to no request");
    }

    fn deliver(&mut self, numbers: &[(Way, usize)]) {
        let mut repeated = 0;
        for &(way, number) in numbers {
            let delivered = &mut self.delivered[way as usize];
            if delivered.len() <= number {
                delivered.resize(number + 1, 0);
            }
            delivered[number] = delivered[number].saturating_add(1);
            if delivered[number] > 1 {
                repeated += 1;
                continue;
            }
            let newest = self.newest[way as usize].replace(number);
            assert!(newest < Some(number), "{way:?} {number} was delivered behind {newest:?}");
        }
        self.duplicates += repeated;
        self.repeating_requests += usize::from(repeated > 0);
        self.largest_repetition = self.largest_repetition.max(repeated);
        // Light load keeps requests small; a backlog shows itself by ten full ones in a row, and may go on with larger ones.
        let light = self.full_in_a_row < FULL_OF_BACKLOG;
        assert!(!light || numbers.len() <= REQUEST_RECORDS_MAX, "{} records in one request", numbers.len());
        match numbers.len() {
            0 => {} // of another stream, which counts for itself
            REQUEST_RECORDS_MAX.. => self.full_in_a_row += 1,
            _ => self.full_in_a_row = 0,
        }
    }

    /// Lets an undisturbed agent deliver the rest, and judges.
    pub fn finish(mut self) -> Outcome {
        self.site.standin.behave();
        let mut omsd = self.site.start();
        let drained = |status: &_| account::syslog(status, "pending") == 0;
        let status = account::wait_for_status_of(&self.site, &omsd, "everything is delivered", drained);
        assert!(omsd.terminate().0.success(), "{}", omsd.stderr());
        self.absorb();
        let outcome = self.judge();
        assert_eq!(account::lost(&status), 0, "{status}");
        let (received, sent) = (account::syslog(&status, "received"), account::syslog(&status, "sent"));
        assert_eq!((received, sent), ((outcome.read + outcome.early) as u64, received), "{status}");
        outcome
    }

    fn judge(&self) -> Outcome {
        let arrived =
            |way: Way, number: usize| self.delivered[way as usize].get(number).is_some_and(|times| *times > 0);
        let (mut read, mut early, mut unread_in_all) = (0, 0, 0);
        for Read { round, way, numbers, unread } in &self.reads {
            let lost: Vec<_> = numbers.iter().filter(|number| !arrived(*way, **number)).collect();
            assert!(lost.is_empty(), "round {round}: {way:?} messages {lost:?} had been read and are lost");
            // The ring has a message before its socket lets go of it: the oldest may be in both, a turn's worth at most.
            let kept = unread.iter().take_while(|number| arrived(*way, **number)).count();
            assert!(kept <= TURN_MESSAGES_MAX, "round {round} kept {kept} {way:?} messages and had not let go of them");
            assert!(!unread[kept..].iter().any(|number| arrived(*way, *number)), "a hole in round {round}, {way:?}");
            read += numbers.len();
            early += kept;
            unread_in_all += unread.len() - kept;
        }
        let delivered = self.delivered.iter().flatten().filter(|times| **times > 0).count();
        assert_eq!(delivered, read + early, "messages arrived that were never sent");
        println!(
            "{} rounds: {read} messages read, none of them lost; {early} more were in the ring and still in their socket when the kill came, {unread_in_all} died \
             unread; {} delivered twice, by {} requests of {} that may, {} in one at most",
            self.rounds, self.duplicates, self.repeating_requests, self.excuses, self.largest_repetition
        );
        assert!(
            self.repeating_requests <= self.excuses,
            "more requests were repeated than kills and lost answers explain"
        );
        Outcome { read, early, duplicates: self.duplicates, struck: self.struck }
    }
}

fn connect(pid: u32, port: u16) -> Option<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    while process::lives(pid) {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            return Some(stream);
        }
        assert!(Instant::now() < deadline, "the agent listens not");
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

fn numbers_of(texts: &[String]) -> HashSet<usize> {
    texts.iter().map(|text| number_in(text).expect("a message of ours").1).collect()
}

/// The messages of a connection whose last byte is not among the first `bytes`.
fn unread_lines(numbers: std::ops::Range<usize>, bytes: usize) -> HashSet<usize> {
    let mut end = 0;
    let is_unread = |number: &usize| {
        end += message(Way::Tcp, *number).len() + 1;
        end > bytes
    };
    numbers.filter(is_unread).collect()
}
