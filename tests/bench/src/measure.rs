//! The measurements. Each starts the program afresh, and gives its figures or says why there are none.

use crate::load::{self, Entrance};
use crate::messages::Messages;
use crate::process::{self, Memory, Sampler};
use crate::program::{Input, Program, Running, Settings};
use crate::report::{Figures, Row};
use crate::service::{Service, Totals};
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Nothing arrives.
    Idle,
    /// A thousand messages a second over TCP.
    Steady,
    /// TCP as fast as it goes.
    Flood,
    /// Unix datagrams as fast as they go.
    Unix,
    /// A burst of UDP that waits for nobody.
    Udp,
    /// See `counters.rs`. Of omsd and collectd only.
    Counters,
    /// Start, one upload at a time, the child's memory. Of omsd only.
    Tls,
    /// See `overload.rs`. Of omsd only.
    Overload,
}

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// How long what does nothing but wait, or sample, is looked at.
    pub idle: Duration,
    steady_messages: usize,
    flood_messages: usize,
    unix_messages: usize,
    /// Messages that wait when the ring is full.
    pub backlog_messages: usize,
}

const STEADY_PER_SECOND: u32 = 1_000;
const UDP_MESSAGES: usize = 100_000;
/// How often the program is only started.
const STARTS: usize = 101;
/// How many requests with one message.
const UPLOADS: usize = 30;
/// Some ten full requests.
const SOME_MIB_MESSAGES: usize = 50_000;
/// As omsd's default: a request may wait so long to become full.
pub const FLUSH_S: u32 = 20;
/// In floods less, lest the figures tell how long the last request waited.
pub const FLUSH_FLOOD_S: u32 = 1;
/// From the start to the first figure.
const SETTLE: Duration = Duration::from_secs(3);
/// Who delivers nothing for so long has delivered what it will; longer than any wait of the programs.
pub const SILENCE: Duration = Duration::from_secs(15);
/// How often deliveries are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// From the last delivery to the figure of memory that was given back.
const REST: Duration = Duration::from_secs(6);

impl Measure {
    /// All of them, in order.
    pub const ALL: [Measure; 8] = [
        Measure::Idle,
        Measure::Steady,
        Measure::Flood,
        Measure::Unix,
        Measure::Udp,
        Measure::Counters,
        Measure::Tls,
        Measure::Overload,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Idle => "idle",
            Measure::Steady => "steady",
            Measure::Flood => "flood",
            Measure::Unix => "unix",
            Measure::Udp => "udp",
            Measure::Counters => "counters",
            Measure::Tls => "tls",
            Measure::Overload => "overload",
        }
    }
}

impl Scale {
    /// Space on disk for the backlog of an overload, in MiB: a message and its frame take 236 bytes.
    pub fn overload_mib(self) -> u32 {
        const BYTES_A_MESSAGE: usize = 240;
        u32::try_from(self.backlog_messages * BYTES_A_MESSAGE / (1 << 20)).expect("a few gigabytes")
    }

    /// For figures that are to be quoted.
    pub const FULL: Scale = Scale {
        idle: Duration::from_secs(60),
        steady_messages: 60_000,
        flood_messages: 4_000_000,
        unix_messages: 1_000_000,
        backlog_messages: 7_200_000, // two hours' worth at 1,000 a second
    };
    /// For a look while something is being built.
    pub const QUICK: Scale = Scale {
        idle: Duration::from_secs(20),
        steady_messages: 15_000,
        flood_messages: 600_000,
        unix_messages: 150_000,
        backlog_messages: 720_000,
    };
}

/// One program, its service and its directory.
pub struct Bench<'a> {
    /// What is measured.
    pub program: Program,
    /// What it delivers to.
    pub service: &'a Service,
    /// A directory of its own on a real disk.
    pub dir: PathBuf,
    /// What is sent.
    pub messages: &'a mut Messages,
    /// The number of the next message: none is used twice, so that what arrives late disturbs no later count.
    pub next: &'a mut usize,
    /// How long and how much.
    pub scale: Scale,
    /// Space on disk for what waits, in MiB.
    pub queue_mib: u32,
}

/// What a load gave.
struct Outcome {
    sent: f64,
    sending_s: f64,
    arrived: Arrived,
    cpu_s: f64,
    write_bytes: f64,
    switches_per_s: f64,
    peak: Memory,
}

/// What the service got.
struct Arrived {
    unique: f64,
    duplicates: f64,
    wire_bytes: f64,
    /// Messages a second until nearly all were there: the last of them wait for their request to become full.
    per_second: f64,
}

impl Bench<'_> {
    /// Runs one measurement. Fails if the program cannot be started, ends by itself or delivers nothing.
    pub fn run(&mut self, measure: Measure, figures: &mut Figures) -> io::Result<()> {
        match measure {
            Measure::Idle => self.idle(figures),
            Measure::Steady => self.steady(figures),
            Measure::Flood => self.flood(figures),
            Measure::Unix => self.unix(figures),
            Measure::Udp => self.udp(figures),
            Measure::Counters => self.counters(figures),
            Measure::Tls => self.tls(figures),
            Measure::Overload => self.overload(figures),
        }?;
        self.service.complaint().map_or(Ok(()), |complaint| Err(io::Error::other(format!("the service: {complaint}"))))
    }

    fn idle(&mut self, figures: &mut Figures) -> io::Result<()> {
        let mut running = self.start(&Input::Tcp(free_tcp_port()?), FLUSH_S)?;
        let before = process::used(running.pid());
        std::thread::sleep(self.scale.idle);
        running.check()?;
        let (after, memory) = (process::used(running.pid()), process::memory(running.pid()));
        figures.set(Row::ProgramBytes, process::program_bytes(running.pid()) as f64);
        figures.set(Row::IdleRss, memory.rss as f64);
        figures.set(Row::IdlePrivate, memory.private as f64);
        figures.set(Row::IdleAnonymous, memory.anonymous as f64);
        figures.set(Row::IdleWakeups, (after.switches - before.switches) as f64 / self.scale.idle.as_secs_f64());
        Ok(())
    }

    fn steady(&mut self, figures: &mut Figures) -> io::Result<()> {
        let port = free_tcp_port()?;
        let mut running = self.start(&Input::Tcp(port), FLUSH_S)?;
        let entrance = Entrance::Tcp(port, Some(STEADY_PER_SECOND));
        let outcome = self.load(&mut running, &entrance, self.scale.steady_messages, FLUSH_S)?;
        figures.set(Row::SteadyCpu, outcome.cpu_s * 1e6 / outcome.sent);
        figures.set(Row::SteadyWakeups, outcome.switches_per_s);
        figures.set(Row::SteadyDisk, outcome.write_bytes / outcome.sent);
        figures.set(Row::SteadyUploaded, outcome.arrived.wire_bytes / outcome.arrived.unique);
        figures.set(Row::SteadyPeak, outcome.peak.rss as f64);
        figures.set(Row::SteadyLost, outcome.sent - outcome.arrived.unique);
        Ok(())
    }

    fn flood(&mut self, figures: &mut Figures) -> io::Result<()> {
        let port = free_tcp_port()?;
        let mut running = self.start(&Input::Tcp(port), FLUSH_FLOOD_S)?;
        let outcome = self.load(&mut running, &Entrance::Tcp(port, None), self.scale.flood_messages, FLUSH_FLOOD_S)?;
        figures.set(Row::FloodCpu, outcome.cpu_s * 1e6 / outcome.sent);
        figures.set(Row::FloodAccepted, outcome.sent / outcome.sending_s);
        figures.set(Row::FloodDelivered, outcome.arrived.per_second);
        figures.set(Row::FloodLost, outcome.sent - outcome.arrived.unique);
        figures.set(Row::FloodTwice, outcome.arrived.duplicates);
        figures.set(Row::FloodPeak, outcome.peak.rss as f64);
        figures.set(Row::FloodPeakPss, outcome.peak.pss as f64);
        figures.set(Row::FloodDisk, outcome.write_bytes / outcome.sent);
        figures.set(Row::FloodUploaded, outcome.arrived.wire_bytes / outcome.arrived.unique);
        std::thread::sleep(REST);
        figures.set(Row::FloodAfter, process::memory(running.pid()).rss as f64);
        Ok(())
    }

    fn unix(&mut self, figures: &mut Figures) -> io::Result<()> {
        let path = self.dir.join("log.sock");
        let mut running = self.start(&Input::UnixDatagram(path.clone()), FLUSH_FLOOD_S)?;
        let count = self.scale.unix_messages;
        let outcome = self.load(&mut running, &Entrance::UnixDatagram(&path), count, FLUSH_FLOOD_S)?;
        figures.set(Row::UnixAccepted, outcome.sent / outcome.sending_s);
        figures.set(Row::UnixLost, outcome.sent - outcome.arrived.unique);
        Ok(())
    }

    fn udp(&mut self, figures: &mut Figures) -> io::Result<()> {
        let port = free_udp_port()?;
        let mut running = self.start(&Input::Udp(port), FLUSH_FLOOD_S)?;
        let outcome = self.load(&mut running, &Entrance::Udp(port), UDP_MESSAGES, FLUSH_FLOOD_S)?;
        figures.set(Row::UdpRate, outcome.sent / outcome.sending_s);
        figures.set(Row::UdpLost, outcome.sent - outcome.arrived.unique);
        Ok(())
    }

    fn tls(&mut self, figures: &mut Figures) -> io::Result<()> {
        let mut starts: Vec<Duration> = (0..STARTS).map(|_| self.program.start_to_end()).collect::<io::Result<_>>()?;
        starts.sort_unstable();
        figures.set(Row::TlsStart, starts[STARTS / 2].as_secs_f64());

        // A message a second, each in a request of its own, by a child of its own.
        let port = free_tcp_port()?;
        let mut running = self.start(&Input::Tcp(port), FLUSH_FLOOD_S)?;
        let outcome = self.load(&mut running, &Entrance::Tcp(port, Some(1)), UPLOADS, FLUSH_FLOOD_S)?;
        figures.set(Row::ProgramBytes, process::program_bytes(running.pid()) as f64);
        figures.set(Row::TlsUpload, outcome.cpu_s / outcome.sent);
        drop(running);

        // A child stays for a while after requests that were full: its peak is seen.
        let port = free_tcp_port()?;
        let mut running = self.start(&Input::Tcp(port), FLUSH_FLOOD_S)?;
        let outcome = self.load(&mut running, &Entrance::Tcp(port, None), SOME_MIB_MESSAGES, FLUSH_FLOOD_S)?;
        figures.set(Row::TlsChild, outcome.peak.child_high as f64);
        Ok(())
    }

    fn start(&self, input: &Input, flush_s: u32) -> io::Result<Running> {
        self.start_with(input, Settings { flush_s, queue_mib: self.queue_mib, probed: None, sampled: None })
    }

    /// Starts the program and lets it settle.
    pub fn start_with(&self, input: &Input, settings: Settings<'_>) -> io::Result<Running> {
        if let Input::UnixDatagram(path) = input {
            remove_if_there(path)?;
        }
        let running = self.program.start(&self.dir, self.service, input, settings)?;
        std::thread::sleep(SETTLE);
        Ok(running)
    }

    /// Sends so many messages and waits until all have been delivered, or no more come.
    fn load(
        &mut self,
        running: &mut Running,
        entrance: &Entrance<'_>,
        count: usize,
        flush_s: u32,
    ) -> io::Result<Outcome> {
        let numbers = *self.next..*self.next + count;
        *self.next += count;
        let (before, used_before) = (self.service.totals(), process::used(running.pid()));
        let sampler = Sampler::start(running.pid());
        let start = Instant::now();
        let (messages, service) = (&mut *self.messages, self.service);
        let sent = std::thread::scope(|scope| {
            let sender = scope.spawn(|| load::send(messages, numbers.clone(), entrance));
            let arrived = await_delivery(service, before, &numbers, start, flush_s, || sender.is_finished());
            sender.join().expect("the sender does not panic").map(|sending| (sending, arrived))
        });
        let elapsed_s = start.elapsed().as_secs_f64();
        let peak = sampler.peak();
        running.check()?;
        let used = process::used(running.pid());
        let (sending, arrived) = sent?;
        if arrived.unique == 0.0 {
            return Err(io::Error::other("nothing was delivered"));
        }
        Ok(Outcome {
            sent: count as f64,
            sending_s: sending.as_secs_f64(),
            arrived,
            cpu_s: used.cpu_s - used_before.cpu_s,
            write_bytes: (used.write_bytes - used_before.write_bytes) as f64,
            switches_per_s: used.switches.saturating_sub(used_before.switches) as f64 / elapsed_s,
            peak,
        })
    }
}

fn await_delivery(
    service: &Service,
    before: Totals,
    numbers: &Range<usize>,
    start: Instant,
    flush_s: u32,
    all_sent: impl Fn() -> bool,
) -> Arrived {
    let nearly_all = numbers.len() as u64 * 99 / 100;
    let (mut last, mut last_at, mut per_second) = (0, Instant::now(), None);
    loop {
        std::thread::sleep(LOOK);
        let now = service.totals();
        let unique = now.unique - before.unique;
        if unique > last {
            (last, last_at) = (unique, Instant::now());
            if unique >= nearly_all && per_second.is_none() {
                per_second = Some(unique as f64 / start.elapsed().as_secs_f64());
            }
        }
        let silent = all_sent() && last_at.elapsed() > SILENCE + Duration::from_secs(flush_s.into());
        if unique == numbers.len() as u64 || silent {
            // An upload child ends after its answer; its processor time counts when it has.
            std::thread::sleep(Duration::from_millis(500));
            return Arrived {
                unique: unique as f64,
                duplicates: (now.duplicates - before.duplicates) as f64,
                wire_bytes: (now.wire_bytes - before.wire_bytes) as f64,
                per_second: per_second
                    .unwrap_or(unique as f64 / last_at.duration_since(start).as_secs_f64().max(0.001)),
            };
        }
    }
}

/// A port of the loopback address that nobody uses.
pub fn free_tcp_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn free_udp_port() -> io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
