//! Overload: nothing can be delivered while senders send what they can, until the space for what waits is full; then the service is there again and they
//! go on. First over streams, then with datagrams. Only omsd: it alone tells what it has received, overwritten and sent.

use crate::measure::{Bench, FLUSH_FLOOD_S, SILENCE, free_tcp_port};
use crate::messages::{Messages, Taken};
use crate::process::Sampler;
use crate::program::{Input, Running, Settings};
use crate::report::{Figures, Row};
use crate::service::Service;
use crate::sys;
use omsd_standin::{Standin, serde_json};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Connections that send flat out.
const CONNECTIONS: usize = 4;
const MESSAGES_AT_ONCE: usize = 512;
/// What comes in while the backlog is worked off: ten times the rate at which it is two hours' worth.
const STEADY_PER_SECOND: u32 = 10_000;
const STEADY_BURST: usize = 100;
/// Senders that get rid of nothing for so long are held back.
const HELD: Duration = Duration::from_secs(3);
/// What may take long: less than the agent's own limits, more than a drain.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(10);
const PROBE_EVERY: Duration = Duration::from_millis(20);

impl Bench<'_> {
    /// Both runs.
    pub fn overload(&mut self, figures: &mut Figures) -> io::Result<()> {
        self.overloaded_streams(figures)?;
        self.overloaded_datagrams(figures)
    }

    /// The service is down until the ring is full; then it is there and the senders go on as they did; then a steady flow comes beside what has
    /// gathered.
    fn overloaded_streams(&mut self, figures: &mut Figures) -> io::Result<()> {
        let port = free_tcp_port()?;
        let probed = self.dir.join("probe.sock");
        let mut run = Run::start(self, &Input::Tcp(port), Some(&probed))?;
        let sampler = Sampler::start(run.running.pid());
        let flood = self.take_numbers(self.scale.backlog_messages * 3 / 2);
        let part = flood.len() / CONNECTIONS;
        let start = Instant::now();
        let senders = (0..CONNECTIONS).map(|number| {
            let first = flood.start + number * part;
            Door::tcp(port).map(|door| Sender::flood(door, self.messages.clone(), first..first + part))
        });
        let senders = senders.collect::<io::Result<Vec<_>>>()?;

        let filled = run.fill(&senders)? - start;
        let full = run.fresh_account()?;
        let held_back = flood.len() as f64 - full.received as f64;
        figures.set(Row::OverloadAccepted, full.received as f64);
        figures.set(Row::OverloadAcceptedRate, full.received as f64 / filled.as_secs_f64());
        figures.set(Row::OverloadHeldBack, held_back);

        let mut gone = run.recover()?;
        let next = Arc::new(AtomicUsize::new(flood.end));
        let probe = Probe::start(&probed, self.messages.clone(), next.clone())?;
        run.wait("the senders to be done", || senders.iter().all(Sender::is_done))?;
        let flat_out = run.lap(&mut gone);
        figures.set(Row::OverloadFlatDelivered, flat_out.per_second);
        figures.set(Row::OverloadFlatAccepted, held_back / flat_out.seconds);
        figures.set(Row::OverloadFlatFresh, probe.end()?);
        senders.into_iter().try_for_each(|sender| sender.end().map(drop))?;

        let steady = Sender::steady(Door::tcp(port)?, self.messages.clone(), next.clone());
        let probe = Probe::start(&probed, self.messages.clone(), next.clone())?;
        run.drain(&flood, flood.len())?;
        let drained = run.lap(&mut gone);
        let intake = steady.end()? as f64 / drained.seconds;
        figures.set(Row::OverloadSteadyDelivered, drained.per_second);
        figures.set(Row::OverloadSteadyAccepted, intake);
        figures.set(Row::OverloadTimesIntake, drained.per_second / intake);
        figures.set(Row::OverloadSteadyFresh, probe.end()?);
        figures.set(Row::OverloadDrain, (gone.at - run.opened).as_secs_f64());

        *self.next = next.load(Ordering::SeqCst);
        let sent = *self.next - flood.start;
        let end = run.finish(sent as u64)?;
        figures.set(Row::OverloadLost, sent as f64 - end.delivered as f64);
        figures.set(Row::OverloadTwice, end.duplicates as f64);
        figures.set(Row::OverloadPeak, sampler.peak().rss as f64);
        Ok(())
    }

    /// The service is down until far more came than the ring holds; then it is there, and a steady flow comes.
    fn overloaded_datagrams(&mut self, figures: &mut Figures) -> io::Result<()> {
        let path = self.dir.join("log.sock");
        let mut run = Run::start(self, &Input::UnixDatagram(path.clone()), None)?;
        let sampler = Sampler::start(run.running.pid());
        let flood = self.take_numbers(self.scale.backlog_messages * 3 / 2);
        let start = Instant::now();
        let sender = Sender::flood(Door::unix(&path)?, self.messages.clone(), flood.clone());
        run.wait("the sender to be done", || sender.is_done())?;
        sender.end()?;
        figures.set(Row::OverloadDatagrams, flood.len() as f64);
        figures.set(Row::OverloadDatagramsRate, flood.len() as f64 / start.elapsed().as_secs_f64());
        let full = run.account("all to be received", |account| account.received == flood.len() as u64)?;

        let mut gone = run.recover()?;
        let next = Arc::new(AtomicUsize::new(flood.end));
        let steady = Sender::steady(Door::unix(&path)?, self.messages.clone(), next.clone());
        // Nearly all: if a request takes long, what comes meanwhile overwrites a little more.
        let newest = usize::try_from(full.pending).unwrap_or(0) * 99 / 100;
        run.drain(&(flood.end - newest..flood.end), newest)?;
        figures.set(Row::OverloadDatagramsDelivered, run.lap(&mut gone).per_second);
        steady.end()?;
        *self.next = next.load(Ordering::SeqCst);

        let sent = *self.next - flood.start;
        let end = run.finish(sent as u64)?;
        let lost = sent as f64 - end.delivered as f64;
        // In order, so those that arrived are the last ones if the newest data won.
        let newest = *self.next - usize::try_from(end.delivered).unwrap_or(sent)..*self.next;
        let older = newest.len() - run.standin.seen().numbers.unique_in(newest);
        figures.set(Row::OverloadDatagramsOverwritten, end.overwritten as f64);
        figures.set(Row::OverloadDatagramsUncounted, (lost - end.overwritten as f64).abs());
        figures.set(Row::OverloadDatagramsOlder, older as f64);
        figures.set(Row::OverloadDatagramsPeak, sampler.peak().rss as f64);
        Ok(())
    }

    fn take_numbers(&mut self, count: usize) -> Range<usize> {
        let count = count / CONNECTIONS * CONNECTIONS;
        *self.next += count;
        *self.next - count..*self.next
    }
}

/// One run: the agent and the service, which is down at first.
struct Run<'a> {
    standin: &'a Standin,
    running: Running,
    status: PathBuf,
    opened: Instant,
    unique_before: u64,
    duplicates_before: u64,
}

/// What was delivered up to a moment.
struct Gone {
    at: Instant,
    unique: u64,
}

/// Deliveries between two moments.
struct Lap {
    seconds: f64,
    per_second: f64,
}

/// How it ended.
struct End {
    delivered: u64,
    duplicates: u64,
    overwritten: u64,
}

/// The agent's own account of the syslog stream.
#[derive(Debug, Default)]
struct Account {
    received: u64,
    sent: u64,
    pending: u64,
    overwritten: u64,
}

impl<'a> Run<'a> {
    fn start(bench: &Bench<'a>, input: &Input, probed: Option<&Path>) -> io::Result<Self> {
        let Service::Standin(standin) = bench.service else { return Err(io::Error::other("only omsd is overloaded")) };
        let queue_mib = bench.scale.overload_mib();
        standin.close();
        let running = bench.start_with(input, Settings { flush_s: FLUSH_FLOOD_S, queue_mib, probed, sampled: None })?;
        let seen = standin.seen();
        Ok(Self {
            standin,
            running,
            status: bench.dir.join("var/opt/omsd/status"),
            opened: Instant::now(),
            unique_before: seen.numbers.unique(),
            duplicates_before: seen.numbers.duplicates(),
        })
    }

    /// Waits until the senders get rid of nothing more; the moment when they last did.
    fn fill(&mut self, senders: &[Sender]) -> io::Result<Instant> {
        let (mut last, mut last_at) = (0, Instant::now());
        self.wait("the ring to be full", || {
            let sent = senders.iter().map(Sender::sent).sum();
            if sent > last {
                (last, last_at) = (sent, Instant::now());
            }
            last_at.elapsed() > HELD
        })?;
        if senders.iter().all(Sender::is_done) {
            return Err(io::Error::other("the ring took all that was sent: nobody was held back"));
        }
        Ok(last_at)
    }

    /// The service is there again; returns when the first request is through.
    fn recover(&mut self) -> io::Result<Gone> {
        self.standin.open()?;
        self.opened = Instant::now();
        let (standin, before) = (self.standin, self.unique_before);
        self.wait("the first delivery", || standin.seen().numbers.unique() > before)?;
        Ok(self.gone())
    }

    /// Waits until so many messages of this range have arrived.
    fn drain(&mut self, numbers: &Range<usize>, count: usize) -> io::Result<()> {
        let (standin, enough) = (self.standin, self.unique_before + count as u64);
        self.wait("what has gathered to be delivered", || {
            let seen = standin.seen();
            seen.numbers.unique() >= enough && seen.numbers.unique_in(numbers.clone()) >= count
        })
    }

    /// Waits until everything is delivered or counted as lost.
    fn finish(&mut self, sent: u64) -> io::Result<End> {
        let account = self.account("the end", |account| account.received == sent && account.pending == 0)?;
        let (standin, unique_before) = (self.standin, self.unique_before);
        standin.wait(SILENCE, |seen| seen.numbers.unique() - unique_before == account.sent);
        let seen = self.standin.seen();
        Ok(End {
            delivered: seen.numbers.unique() - self.unique_before,
            duplicates: seen.numbers.duplicates() - self.duplicates_before,
            overwritten: account.overwritten,
        })
    }

    fn gone(&self) -> Gone {
        Gone { at: Instant::now(), unique: self.standin.seen().numbers.unique() }
    }

    /// What was delivered since `last`, which becomes now.
    fn lap(&self, last: &mut Gone) -> Lap {
        let now = self.gone();
        let seconds = (now.at - last.at).as_secs_f64().max(0.001);
        let per_second = (now.unique - last.unique) as f64 / seconds;
        *last = now;
        Lap { seconds, per_second }
    }

    /// The account that is written after now.
    fn fresh_account(&mut self) -> io::Result<Account> {
        let (now, status) = (SystemTime::now(), self.status.clone());
        let written = || status.metadata().and_then(|metadata| metadata.modified());
        self.account("a new status", |_| written().is_ok_and(|at| at > now))
    }

    fn account(&mut self, what: &str, condition: impl Fn(&Account) -> bool) -> io::Result<Account> {
        let (mut found, status) = (Account::default(), self.status.clone());
        let waited = self.wait(what, || {
            found = read_account(&status).unwrap_or_default();
            condition(&found)
        });
        waited.map_err(|error| io::Error::other(format!("{error}; {found:?}")))?;
        Ok(found)
    }

    fn wait(&mut self, what: &str, mut condition: impl FnMut() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            self.running.check()?;
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("waited in vain for {what}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Run<'_> {
    /// Other measurements need the service.
    fn drop(&mut self) {
        let _ = self.standin.open();
    }
}

fn read_account(status: &Path) -> Option<Account> {
    let status: serde_json::Value = serde_json::from_slice(&std::fs::read(status).ok()?).ok()?;
    let stream = status["streams"].as_array()?.iter().find(|stream| stream["name"] == "syslog")?;
    let number = |key: &str| stream[key].as_u64();
    Some(Account {
        received: number("received")?,
        sent: number("sent")?,
        pending: number("pending")?,
        overwritten: number("overwritten")?,
    })
}

/// A way in, open.
enum Door {
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

impl Door {
    fn tcp(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::Tcp(stream))
    }

    fn unix(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::Unix(socket))
    }

    fn send(&mut self, taken: &Taken<'_>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(taken.lines()),
            Self::Unix(socket) => sys::send_all(socket, &taken.datagrams()),
        }
    }
}

/// One sender, on a thread of its own.
struct Sender {
    thread: JoinHandle<io::Result<()>>,
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Sender {
    /// Sends these as fast as they are taken.
    fn flood(mut door: Door, mut messages: Messages, mut numbers: Range<usize>) -> Self {
        Self::start(move |sent, _| {
            while !numbers.is_empty() {
                let taken = messages.take(numbers.clone(), MESSAGES_AT_ONCE);
                door.send(&taken)?;
                numbers.start += taken.count();
                sent.fetch_add(taken.count(), Ordering::SeqCst);
            }
            Ok(())
        })
    }

    /// Sends at a steady rate until told to stop, numbers from `next` on, which others may take as well.
    fn steady(mut door: Door, mut messages: Messages, next: Arc<AtomicUsize>) -> Self {
        Self::start(move |sent, stop| {
            let start = Instant::now();
            while !stop.load(Ordering::SeqCst) {
                let mut numbers = numbers_from(&next, STEADY_BURST);
                while !numbers.is_empty() {
                    let taken = messages.take(numbers.clone(), STEADY_BURST);
                    door.send(&taken)?;
                    numbers.start += taken.count();
                    sent.fetch_add(taken.count(), Ordering::SeqCst);
                }
                let due = Duration::from_secs(sent.load(Ordering::SeqCst) as u64) / STEADY_PER_SECOND;
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            Ok(())
        })
    }

    fn start(send: impl FnOnce(&AtomicUsize, &AtomicBool) -> io::Result<()> + Send + 'static) -> Self {
        let (sent, stop) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (count, told) = (sent.clone(), stop.clone());
        Self { thread: std::thread::spawn(move || send(&count, &told)), sent, stop }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops it, or waits until all is sent; how many that were.
    fn end(self) -> io::Result<usize> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("a sender does not panic")?;
        Ok(self.sent.load(Ordering::SeqCst))
    }
}

/// A message now and then, each followed until the agent has taken it.
struct Probe {
    thread: JoinHandle<io::Result<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
}

impl Probe {
    fn start(path: &Path, mut messages: Messages, next: Arc<AtomicUsize>) -> io::Result<Self> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let stop: Arc<AtomicBool> = Arc::default();
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut delays = Vec::new();
            while !told.load(Ordering::SeqCst) {
                let start = Instant::now();
                stream.write_all(messages.take(numbers_from(&next, 1), 1).lines())?;
                while sys::unread_bytes(&stream)? > 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
                delays.push(start.elapsed());
                std::thread::sleep(PROBE_EVERY);
            }
            Ok(delays)
        });
        Ok(Self { thread, stop })
    }

    /// How long it took at most in nine of ten cases, in seconds.
    fn end(self) -> io::Result<f64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut delays = self.thread.join().expect("the probe does not panic")?;
        delays.sort_unstable();
        delays.get(delays.len() * 9 / 10).map(Duration::as_secs_f64).ok_or(io::Error::other("the probe sent nothing"))
    }
}

fn numbers_from(next: &AtomicUsize, count: usize) -> Range<usize> {
    let first = next.fetch_add(count, Ordering::SeqCst);
    first..first + count
}
