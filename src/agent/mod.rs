//! The loop: what can happen, one sleep, bounded work. It alone joins intake, ring and upload.

pub mod caller;
pub mod control;
mod deadline;
pub mod ensure;
mod heartbeat;
mod inflow;
mod keeper;
pub mod lock;
pub mod log;
mod machine;
pub mod once;
pub mod paths;
mod rejected;
mod report;
mod sampler;
mod sandbox;
mod start;
pub mod status;
mod uploader;

pub use start::{Settings, StartError, describe, load, load_for_background, start};

use crate::config::{Config, Destination, LogLevel, SyslogSource, Target};
use crate::intake::{Datagrams, OpenError, Sources, Wanted};
use crate::limits::{
    DESTINATIONS_MAX, DISK_RETRY_MS, DRAIN_MS_MAX, FLOWS_MAX, MOVING_MS, RELEASE_MS_MAX, REPORT_MS, STATUS_MS,
    STOP_MS_MAX,
};
use crate::ring::disk::DiskRing;
use crate::ring::flow;
use crate::sys::poll::{PollFd, READABLE, poll};
use crate::sys::signal::{Arrived, Signals};
use crate::sys::{clock, memory, process};
use crate::upload::azure_ingestion::Ingestion;
use crate::upload::body::Body;
use crate::upload::data_collector::Collector;
use crate::upload::fips::Standing;
use crate::upload::oms::Oms;
use crate::upload::rows::Rows;
use crate::upload::stdout::Stdout;
use crate::upload::{self, Stream};
use alloc::boxed::Box;
use alloc::vec::Vec;
use heartbeat::Beat;
use inflow::{Inflow, except_all_but};
use keeper::Keeper;
use lock::Reloaded;
use log::Log;
use paths::Paths;
use sampler::{Cause, Missed, Sampler};
use sandbox::Sandbox;
use uploader::Uploader;

const _: () = assert!(DESTINATIONS_MAX * Stream::ALL.len() <= FLOWS_MAX);

/// A loop without traffic gives the memory that a burst filled back after this long.
const QUIET_MS: u64 = 2_000;
/// Datagram sockets that are left alone are looked at this often: none fills faster.
const FILLING_MS: u64 = 5;
/// How long to wait before an address that was ours is tried again.
const RELEASE_STEP_MS: u64 = 10;

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By SIGTERM or SIGINT, with everything synced.
    Stopped,
    /// By a signal, but the disk did not take the last frames.
    NotSynced,
    /// The cryptographic module failed in a child; everything is synced, as far as the disk takes it.
    ModuleBroken,
    /// A run of bounded time did not do all that is asked of it; everything is synced.
    Hindered(once::Hindrance),
}

/// The running agent.
pub struct Agent {
    settings: Settings,
    paths: Paths,
    config: Config,
    ring: DiskRing,
    sources: Sources,
    sandbox: Sandbox,
    /// One for each destination.
    uploaders: Vec<Uploader>,
    /// By stream: the flags that keep its records from destinations.
    except: [u8; Stream::ALL.len()],
    beat: Beat,
    sampler: Sampler,
    /// One for each identity.
    keepers: Vec<Keeper>,
    /// `None` in a demo, which leaves nothing behind.
    status: Option<status::Writer>,
    standing: Standing,
    log: Log,
    timers: Timers,
    held: start::Held,
}

/// Moments of the loop's clock.
#[derive(Debug)]
struct Timers {
    /// Gathered sources are left alone until then.
    gather_until_ms: u64,
    /// When gathered sources were last read.
    read_ms: u64,
    /// A source may have more: do not sleep.
    more: bool,
    /// The oldest unsynced frame must be synced then.
    sync_at_ms: Option<u64>,
    /// If nothing arrives until then, memory is given back.
    quiet_at_ms: Option<u64>,
    status_at_ms: u64,
    /// Losses are not told again before then.
    report_at_ms: u64,
}

impl Timers {
    fn new(now_ms: u64) -> Timers {
        Timers {
            gather_until_ms: now_ms,
            read_ms: now_ms,
            more: false,
            sync_at_ms: None,
            quiet_at_ms: None,
            status_at_ms: now_ms + STATUS_MS,
            report_at_ms: now_ms,
        }
    }
}

impl Agent {
    /// Runs until a signal says stop.
    pub fn run(mut self: Box<Self>, mut signals: Signals) -> Ended {
        let mut set: Vec<PollFd> = Vec::new();
        let mut now_ms = clock::monotonic_ms();
        self.tell_of_permission(now_ms);
        loop {
            let wanted = self.wanted(now_ms);
            set.clear();
            set.push(PollFd { fd: signals.descriptor(), events: READABLE, revents: 0 });
            let ends = self.poll_uploaders(&mut set);
            let first_source = set.len();
            self.sources.poll_set(wanted, now_ms, &mut set);

            let sleep_ms = self.sleep_ms(wanted, now_ms);
            if let Err(error) = poll(&mut set, sleep_ms) {
                self.log.limited(now_ms, LogLevel::Error, "poll", format_args!("poll: {error}"));
            }
            now_ms = clock::monotonic_ms();

            let arrived = if set[0].revents == 0 { Arrived::default() } else { signals.take() };
            if arrived.stop {
                return self.stop(now_ms, status::STOPPED);
            }
            if arrived.reload {
                self.reload(now_ms);
            }
            if arrived.flush {
                self.uploaders.iter_mut().for_each(|uploader| uploader.flush(&self.ring));
            }
            self.take_in(&set[first_source..], now_ms);
            self.beat(now_ms);
            self.sample(now_ms);
            self.report(now_ms);
            self.keep(now_ms);
            self.upload(&set, &ends, now_ms);
            self.keep_identity(now_ms);
            if self.module_is_broken() {
                self.stop(now_ms, "failed");
                return Ended::ModuleBroken;
            }
            self.rest(now_ms);
        }
    }

    /// Adds what the uploaders poll for; where each one's entries end.
    fn poll_uploaders(&self, set: &mut Vec<PollFd>) -> [usize; DESTINATIONS_MAX] {
        let mut ends = [set.len(); DESTINATIONS_MAX];
        for (end, uploader) in ends.iter_mut().zip(&self.uploaders) {
            uploader.poll_set(set);
            *end = set.len();
        }
        ends
    }

    /// Which sources may be read now.
    fn wanted(&mut self, now_ms: u64) -> Wanted {
        let gathered = now_ms >= self.timers.gather_until_ms;
        let inflow = self.inflow(now_ms);
        Wanted { gathered, streams: inflow.room_for_streams(), datagrams: inflow.datagrams_wanted() }
    }

    fn inflow(&mut self, now_ms: u64) -> Inflow<'_> {
        let state = self.inflow_state(now_ms);
        Inflow::new(&mut self.ring, self.config.ring.full_action, state)
    }

    /// A full ring holds senders back for destinations that take what they are sent. One that fails loses its oldest records
    /// instead, as long as another does not fail.
    fn inflow_state(&self, now_ms: u64) -> inflow::State {
        let all_fail = self.uploaders.iter().all(Uploader::is_failing);
        let holders = || self.uploaders.iter().filter(|uploader| all_fail || !uploader.is_failing());
        let without_progress_ms = holders().map(|holder| now_ms.saturating_sub(holder.progress_ms)).min().unwrap_or(0);
        inflow::State {
            without_progress_ms,
            moving: holders().any(|holder| holder.is_moving(now_ms, MOVING_MS)),
            holders: holders().fold(0, |places, holder| places | 1 << holder.place),
            except: self.except,
        }
    }

    fn sleep_ms(&self, wanted: Wanted, now_ms: u64) -> Option<u64> {
        let moments = [
            self.uploaders.iter().filter_map(|uploader| uploader.deadline_ms(&self.ring)).min(),
            self.beat.deadline_ms(),
            self.sampler.deadline_ms(),
            self.keepers.iter().filter_map(Keeper::deadline_ms).min(),
            self.has_unreported().then_some(self.timers.report_at_ms),
        ];
        deadline::sleep_ms(now_ms, self.intake_moments(wanted, now_ms).into_iter().chain(moments))
    }

    /// When there is something to do about sources, the ring and what is done at rest.
    fn intake_moments(&self, wanted: Wanted, now_ms: u64) -> [Option<u64>; 7] {
        let timers = &self.timers;
        [
            timers.more.then_some(now_ms),
            (!wanted.gathered).then_some(timers.gather_until_ms),
            timers.sync_at_ms,
            timers.quiet_at_ms,
            Some(timers.status_at_ms),
            (wanted.datagrams == Datagrams::Filling).then_some(now_ms + FILLING_MS),
            self.sources.deadline_ms(wanted, now_ms),
        ]
    }

    /// Reads the sources that are ready, and decides how long they may be left alone now.
    fn take_in(&mut self, set: &[PollFd], now_ms: u64) {
        let state = self.inflow_state(now_ms);
        let mut inflow = Inflow::new(&mut self.ring, self.config.ring.full_action, state);
        let turn = self.sources.turn(set, now_ms, &mut inflow);
        if let Some(fault) = inflow.fault() {
            let text = format_args!("records are lost, the ring takes none: {fault}");
            self.log.limited(now_ms, LogLevel::Error, "lost", text);
        }
        self.timers.more = turn.more;
        if turn.bytes == 0 {
            return;
        }
        self.timers.quiet_at_ms = Some(now_ms + QUIET_MS);
        if !turn.more {
            let elapsed_ms = now_ms.saturating_sub(self.timers.read_ms);
            self.timers.gather_until_ms = now_ms + deadline::gather_ms(turn.gather_ms, elapsed_ms, turn.bytes);
        }
        self.timers.read_ms = now_ms;
    }

    fn beat(&mut self, now_ms: u64) {
        if let Some(item) = self.beat.take(now_ms) {
            self.inflow(now_ms).append(Stream::Heartbeat, &item);
        }
    }

    /// Tells the service, once a start, of uploads that only `allow_non_fips` allows. A heartbeat has no key for it.
    fn tell_of_permission(&mut self, now_ms: u64) {
        if self.standing.needs_permission() && self.config.uploads() {
            let item = report::operation(clock::wall_us(), "omsd FIPS", &alloc::format!("{}", self.standing));
            self.inflow(now_ms).append(Stream::Operation, &item);
        }
    }

    fn sample(&mut self, now_ms: u64) {
        if self.sampler.deadline_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        let state = self.inflow_state(now_ms);
        let mut inflow = Inflow::new(&mut self.ring, self.config.ring.full_action, state);
        self.timers.quiet_at_ms = Some(now_ms + QUIET_MS);
        let mut append = |payload: &[u8]| inflow.append(Stream::Perf, payload);
        let log = &mut self.log;
        let mut tell = |missed: Missed| match missed.cause {
            Cause::Unreadable(_) => log.limited(now_ms, LogLevel::Error, missed.object, format_args!("{missed}")),
            Cause::NoInstance | Cause::NoneWanted => log.line(LogLevel::Warn, format_args!("{missed}")),
        };
        self.sampler.take(now_ms, clock::wall_us() / 1000, &mut append, &mut tell);
    }

    fn flows(&self) -> impl Iterator<Item = (usize, Stream)> + use<> {
        let places: Vec<usize> = self.uploaders.iter().map(|uploader| uploader.place).collect();
        places.into_iter().flat_map(|place| Stream::ALL.map(|stream| (place, stream)))
    }

    fn has_unreported(&self) -> bool {
        let losses =
            |uploader: &Uploader, stream: Stream| self.ring.unreported(flow(uploader.place, stream as u8)).lost();
        self.uploaders.iter().any(|uploader| Stream::ALL.iter().any(|&stream| losses(uploader, stream) > 0))
    }

    /// Tells of losses in the log, and each destination of its own, once an interval.
    fn report(&mut self, now_ms: u64) {
        if now_ms < self.timers.report_at_ms || !self.has_unreported() {
            return;
        }
        self.timers.report_at_ms = now_ms + REPORT_MS;
        for (place, stream) in self.flows() {
            let number = flow(place, stream as u8);
            let losses = self.ring.unreported(number);
            let Some(state) = self.ring.stream(number).filter(|_| losses.lost() > 0) else { continue };
            let item = report::item(stream, &losses, &state, clock::wall_us());
            let sentence = report::sentence(stream, &losses, &state);
            match self.uploaders.iter().find(|uploader| uploader.place == place).filter(|_| self.uploaders.len() > 1) {
                Some(uploader) => {
                    self.log.line(LogLevel::Warn, format_args!("lost on the way to {}: {sentence}", uploader.name));
                }
                None => self.log.line(LogLevel::Warn, format_args!("lost: {sentence}")),
            }
            let mut inflow = self.inflow(now_ms);
            inflow.append_for(place, Stream::Operation, &item);
            if inflow.fault().is_none() {
                self.ring.mark_reported(number);
            }
        }
    }

    /// Writes what was appended, and syncs when it is time.
    fn keep(&mut self, now_ms: u64) {
        let committed = self.ring.commit();
        let sync_at_ms = *match committed {
            Ok(()) if !self.ring.is_dirty() => {
                self.timers.sync_at_ms = None;
                return;
            }
            Ok(()) => self.timers.sync_at_ms.get_or_insert(now_ms + self.config.ring.sync_ms),
            Err(_) => self.timers.sync_at_ms.get_or_insert(now_ms + DISK_RETRY_MS),
        };
        let synced = if now_ms >= sync_at_ms { Some(self.ring.sync()) } else { None };
        match (committed, synced) {
            (Err(fault), _) | (_, Some(Err(fault))) => {
                self.timers.sync_at_ms = Some(now_ms + DISK_RETRY_MS);
                let text = format_args!(
                    "the ring file cannot be written: {fault}; records wait in memory as long as they fit"
                );
                self.log.limited(now_ms, LogLevel::Error, "disk", text);
            }
            (Ok(()), Some(Ok(()))) => {
                self.timers.sync_at_ms = None;
                self.log.ended(LogLevel::Info, "disk", format_args!("the ring file is written again"));
            }
            (Ok(()), None) => {}
        }
    }

    fn upload(&mut self, set: &[PollFd], ends: &[usize], now_ms: u64) {
        let (paths, sandbox, mut from, mut answered) = (&self.paths, &self.sandbox, 1, false);
        for ((uploader, target), &end) in self.uploaders.iter_mut().zip(&self.config.targets).zip(ends) {
            let make = || make_destination(&target.destination, paths, sandbox);
            answered |= uploader.turn(&mut self.ring, &set[from..end], now_ms, &mut self.log, make);
            from = end;
        }
        if answered {
            self.write_status_soon(now_ms);
        }
    }

    fn keep_identity(&mut self, now_ms: u64) {
        let turned = self.keepers.iter_mut().map(|keeper| keeper.turn(now_ms, &mut self.log));
        if turned.fold(false, |any, told| any | told) {
            self.write_status_soon(now_ms);
        }
    }

    fn module_is_broken(&self) -> bool {
        self.uploaders.iter().any(Uploader::module_is_broken) || self.keepers.iter().any(Keeper::module_is_broken)
    }

    fn write_status_soon(&mut self, now_ms: u64) {
        if let Some(status) = &self.status {
            self.timers.status_at_ms = self.timers.status_at_ms.min(status.not_before_ms().max(now_ms));
        }
    }

    /// What is done when there is nothing else: the status file, memory given back.
    fn rest(&mut self, now_ms: u64) {
        if now_ms >= self.timers.status_at_ms {
            self.sampler.tidy(now_ms);
            self.log.trim(&self.paths.log());
            self.write_status("running", now_ms);
        }
        if self.timers.quiet_at_ms.is_some_and(|moment| now_ms >= moment) {
            self.timers.quiet_at_ms = None;
            self.sources.give_back();
            self.sampler.give_back();
            self.ring.release_memory();
            memory::let_go();
        }
    }

    fn write_status(&mut self, state: &str, now_ms: u64) {
        self.timers.status_at_ms = now_ms + STATUS_MS;
        if self.ring.storage().is_deleted() {
            let text =
                format_args!("the ring file was deleted: what is not sent when the agent ends is lost; restart it");
            self.log.limited(now_ms, LogLevel::Error, "deleted", text);
        }
        if let Some(path) = self.sources.lost() {
            let path = path.display();
            let text = format_args!(
                "nothing arrives at {path} any more: another program, a syslog daemon perhaps, removed it or put its own there"
            );
            self.log.line(LogLevel::Error, text);
        }
        let intake = status::Intake {
            connections: self.sources.connections(),
            turned_away: self.sources.turned_away,
            samples: self.sampler.account,
        };
        let Some(status) = &mut self.status else { return };
        if let Err(error) = status.write(now_ms, state, &self.ring, &self.uploaders, &self.keepers, intake) {
            let text = format_args!("the status file cannot be written: {error}");
            self.log.limited(now_ms, LogLevel::Warn, "status", text);
        }
    }

    /// Takes the sources and the upload side of a changed configuration; the ring stays as it is until a restart.
    fn reload(&mut self, now_ms: u64) {
        let reloaded = self.take_configuration(now_ms);
        self.held.note_reload(reloaded);
    }

    fn take_configuration(&mut self, now_ms: u64) -> Reloaded {
        let Some((config, digest)) = start::load(&self.settings, &self.paths, &self.log) else {
            self.log
                .line(LogLevel::Error, format_args!("the configuration was not reloaded: the old one stays in force"));
            return Reloaded::Refused;
        };
        let permitted = self.standing.permit(config.allow_non_fips);
        if let Err(refused) = permitted
            && config.uploads()
        {
            self.log.line(LogLevel::Error, format_args!("{refused}; the old configuration stays in force"));
            return Reloaded::Refused;
        }
        if let Some(why) = self.sandbox.refusal(&config, &self.config, &self.settings, &self.paths) {
            let text =
                format_args!("the configuration was not reloaded: {why}; restart it; the old one stays in force");
            self.log.line(LogLevel::Error, text);
            return Reloaded::Beyond;
        }
        if config.sandbox != self.config.sandbox {
            self.log.line(LogLevel::Warn, format_args!("sandbox takes effect only when the agent is restarted"));
        }
        if (&config.ring.path, config.ring.bytes) != (&self.config.ring.path, self.config.ring.bytes) {
            let text = format_args!("buffer_path and buffer_size take effect only when the agent is restarted");
            self.log.line(LogLevel::Warn, text);
        }
        if !self.change_sources(&config, now_ms) {
            return Reloaded::Refused;
        }
        self.log.set_level(self.settings.log_level(&config));
        self.send_to(&config, now_ms);
        self.beat = Beat::new(config.heartbeat_ms, now_ms);
        if (&config.targets, config.topology_ms) != (&self.config.targets, self.config.topology_ms) {
            self.keepers = start::keepers(&config, &self.paths, now_ms);
        }
        if config.perf != self.config.perf {
            self.sampler.configure(&config.perf, now_ms, clock::wall_us() / 1000);
        }
        self.config = config;
        self.log.line(LogLevel::Info, format_args!("configuration reloaded"));
        Reloaded::Taken(digest.0)
    }

    /// Keeps and uploads records for the destinations of a configuration from now on. What waits for one that is gone is given up.
    fn send_to(&mut self, config: &Config, now_ms: u64) {
        let named = |uploader: &Uploader, targets: &[Target]| targets.iter().any(|target| target.name == uploader.name);
        let old = core::mem::take(&mut self.uploaders);
        let (mut kept, gone): (Vec<_>, Vec<_>) = old.into_iter().partition(|uploader| named(uploader, &config.targets));
        let mut gone = gone;
        gone.iter_mut().for_each(|uploader| uploader.stop(&mut self.ring));
        let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
        let attached = self.ring.attach(&names, clock::wall_us());
        for (name, waiting) in attached.gone.into_iter().filter(|(_, waiting)| waiting.records > 0) {
            let text = format_args!(
                "{name} is configured no more: {} records that waited for it are discarded",
                waiting.records
            );
            self.log.line(LogLevel::Warn, text);
        }
        for (target, place) in config.targets.iter().zip(attached.places) {
            let uploader = match kept.iter().position(|uploader| uploader.name == target.name) {
                Some(index) => {
                    let mut uploader = kept.swap_remove(index);
                    uploader.configure(&target.sending);
                    uploader
                }
                None => {
                    let rejected = (!self.settings.demo).then(|| self.paths.rejected());
                    Uploader::new(target, place, rejected, &self.ring, now_ms)
                }
            };
            self.uploaders.push(uploader);
        }
        let several = self.uploaders.len() > 1;
        self.uploaders.iter_mut().for_each(|uploader| uploader.show_name(several));
        if let Some(first) = self.uploaders.first_mut() {
            gone.into_iter().for_each(|uploader| uploader.leave_children_to(first));
        }
        let routes = config.routes;
        self.except = Stream::ALL.map(|stream| {
            self.except_for(match stream {
                Stream::Syslog => routes.syslog,
                Stream::Perf => routes.perf,
                Stream::Heartbeat => routes.heartbeat,
                Stream::Operation => u8::MAX,
            })
        });
    }

    /// The flags of records for these targets, by their numbers in the configuration.
    fn except_for(&self, targets: u8) -> u8 {
        let chosen = self.uploaders.iter().enumerate().filter(|(target, _)| targets >> target & 1 == 1);
        except_all_but(&self.ring, chosen.fold(0, |places, (_, uploader)| places | 1 << uploader.place))
    }

    /// Opens the sources that are new and closes those that are wanted no more; if that fails, what it was before.
    fn change_sources(&mut self, config: &Config, now_ms: u64) -> bool {
        self.drain(now_ms);
        let Err(error) = self.listen_on(&config.sources, now_ms) else { return true };
        self.log.line(LogLevel::Error, format_args!("{error}; the old configuration stays in force"));
        let old = self.config.sources.clone();
        if let Err(error) = self.listen_on(&old, now_ms) {
            self.log.line(LogLevel::Error, format_args!("{error}; send SIGHUP when it is mended"));
        }
        false
    }

    fn listen_on(&mut self, sources: &[SyslogSource], now_ms: u64) -> Result<(), OpenError> {
        let until_ms = now_ms + RELEASE_MS_MAX;
        loop {
            let state = self.inflow_state(now_ms);
            let mut inflow = Inflow::new(&mut self.ring, self.config.ring.full_action, state);
            let changed = self.sources.change(sources, |path| self.paths.place(path), &mut inflow);
            let Err(error) = changed else { return Ok(()) };
            // A child that was forked a moment ago still has a copy of what we closed, until it closes its own.
            let was_ours = self.config.sources.iter().any(|source| source.listen.excludes(&error.listen));
            let in_use = error.cause.kind() == std::io::ErrorKind::AddrInUse;
            if !(was_ours && in_use) || clock::monotonic_ms() >= until_ms {
                return Err(error);
            }
            let _ = poll(&mut [], Some(RELEASE_STEP_MS));
        }
    }

    /// Takes what is half here, gives a chunk on its way a moment to be answered, syncs, and says so.
    fn stop(mut self: Box<Self>, now_ms: u64, state: &str) -> Ended {
        self.close_sources();
        let committed = self.ring.commit();
        self.await_answer(now_ms + STOP_MS_MAX / 2);
        self.uploaders.iter_mut().for_each(|uploader| uploader.stop(&mut self.ring));
        let synced = committed.and_then(|()| self.ring.sync());
        self.write_status(state, now_ms);
        match synced {
            Ok(()) => {
                self.log.line(LogLevel::Info, format_args!("stopped"));
                Ended::Stopped
            }
            Err(fault) => {
                self.log.line(LogLevel::Error, format_args!("stopped, but the ring file could not be synced: {fault}"));
                Ended::NotSynced
            }
        }
    }

    /// Takes what waits in the sources, then closes them.
    fn close_sources(&mut self) {
        let now_ms = clock::monotonic_ms();
        self.drain(now_ms);
        let sources = core::mem::replace(&mut self.sources, Sources::none());
        sources.close(&mut self.inflow(now_ms));
    }

    /// Reads what already waits in the sockets, gathered or not: closing them would throw it away.
    fn drain(&mut self, mut now_ms: u64) {
        let until_ms = now_ms + DRAIN_MS_MAX;
        let mut set: Vec<PollFd> = Vec::new();
        self.timers.gather_until_ms = now_ms;
        while now_ms < until_ms {
            let wanted = self.wanted(now_ms);
            set.clear();
            self.sources.poll_set(Wanted { gathered: true, ..wanted }, now_ms, &mut set);
            if !matches!(poll(&mut set, Some(0)), Ok(1..)) {
                return;
            }
            self.take_in(&set, now_ms);
            now_ms = clock::monotonic_ms();
        }
    }

    fn await_answer(&mut self, until_ms: u64) {
        let mut set: Vec<PollFd> = Vec::new();
        let mut now_ms = clock::monotonic_ms();
        while self.uploaders.iter().any(Uploader::is_busy) && now_ms < until_ms {
            set.clear();
            let ends = self.poll_uploaders(&mut set);
            let _ = poll(&mut set, Some(until_ms - now_ms));
            now_ms = clock::monotonic_ms();
            let mut from = 0;
            for (uploader, &end) in self.uploaders.iter_mut().zip(&ends) {
                uploader.finish(&mut self.ring, &set[from..end], now_ms, &mut self.log);
                from = end;
            }
        }
    }
}

/// What the upload child talks to. Only called in the child, which has done nothing yet and can do less from now on.
fn make_destination(destination: &Destination, paths: &Paths, sandbox: &Sandbox) -> Box<dyn upload::Destination> {
    if sandbox.narrow(destination).is_err() {
        process::exit_now(sandbox::EXIT_NOT_NARROWED);
    }
    match destination {
        Destination::Stdout => Box::new(Stdout::new(std::io::stdout(), Body::new(false))),
        Destination::Oms(files) => Box::new(Oms::new(paths.root(), files)),
        Destination::AzureIngestion(settings) => {
            Box::new(Rows::new(Box::new(Ingestion::new(paths.root(), settings)), &settings.rows))
        }
        Destination::DataCollector(settings) => {
            Box::new(Rows::new(Box::new(Collector::new(paths.root(), settings)), &settings.rows))
        }
    }
}
