//! Reads the host's counters.

use super::diskstats::Disks;
use super::files::{Files, Reading};
use super::logical_disk::{self, Volume};
use super::memory::{self, Meminfo, Paging};
use super::network::{self, Interface};
use super::process::{self, Process, Spent};
use super::processor::{self, Processors};
use super::system::{self, System};
use super::text::{Name, lines, number, numbers};
use super::volumes::Volumes;
use super::{Object, Options, Sink, physical_disk};
use crate::limits::{INTERFACES_MAX, PROC_TRUSTED_MS, PROCESSES_MAX};
use crate::sys;
use alloc::vec::Vec;
use core::fmt;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What one `<source>` remembers from sample to sample: rates cover its own time, whatever other sources do.
#[derive(Debug)]
pub struct Window {
    object: Object,
    options: Options,
    /// When what follows was read. Of it only the object's part is ever filled.
    began_ms: Option<u64>,
    processors: Processors,
    paging: Option<Paging>,
    disks: Disks,
    processes: Vec<Spent>,
}

impl Window {
    /// For a source that has not sampled yet: its first sample knows no rates.
    pub fn new(object: Object, options: Options) -> Window {
        Window {
            object,
            options,
            began_ms: None,
            processors: Processors::default(),
            paging: None,
            disks: Disks::default(),
            processes: Vec::new(),
        }
    }

    /// Since the reading that is remembered; 0, in which nothing has a rate, if there is none.
    fn elapsed_ms(&self, now_ms: u64) -> u64 {
        self.began_ms.map_or(0, |began_ms| now_ms.saturating_sub(began_ms))
    }

    /// Adds what the kernel's files do not have, for [`Window::recall`] in a later process: what each process had spent by the last sample.
    pub fn save(&self, saved: &mut Vec<u8>) {
        let mut text = Vec::new();
        for [pid, start, user, system] in self.processes.iter().map(Spent::numbers) {
            // Writing to a Vec cannot fail.
            let _ = writeln!(text, "{pid} {start} {user} {system}");
        }
        if !text.is_empty() {
            add_section(saved, PROCESSES, &text);
        }
    }

    /// Goes on from what another process of this boot saved at `began_ms`.
    pub fn recall(&mut self, saved: &[u8], began_ms: u64) {
        let name = match self.object {
            Object::Processor => "proc/stat",
            Object::Memory => "proc/vmstat",
            Object::LogicalDisk | Object::PhysicalDisk => "proc/diskstats",
            Object::Process => PROCESSES,
            Object::Network | Object::System => return,
        };
        let Some(bytes) = section(saved, name) else { return };
        match self.object {
            Object::Processor => self.processors.parse(bytes),
            Object::Memory => self.paging = Paging::parse(bytes),
            Object::Process => {
                let spent = lines(bytes).filter_map(|line| Spent::from_numbers(numbers(line)?));
                self.processes = spent.take(PROCESSES_MAX).collect();
                self.processes.sort_unstable_by_key(|spent| spent.pid);
            }
            _ => self.disks.parse(bytes),
        }
        self.began_ms = Some(began_ms);
    }

    fn keep_disks(&mut self, now_ms: u64, disks: &Disks) {
        self.disks.copy(disks);
        self.began_ms = Some(now_ms);
    }
}

/// The kernel's counters that rates are made of.
const SAVED: [&str; 3] = ["proc/stat", "proc/vmstat", "proc/diskstats"];
/// The section of what processes had spent.
const PROCESSES: &str = "processes";

fn add_section(saved: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    // Writing to a Vec cannot fail.
    let _ = writeln!(saved, "{name} {}", bytes.len());
    saved.extend_from_slice(bytes);
}

fn section<'a>(mut saved: &'a [u8], name: &str) -> Option<&'a [u8]> {
    loop {
        let end = saved.iter().position(|&byte| byte == b'\n')?;
        let (head, rest) = (&saved[..end], &saved[end + 1..]);
        let space = head.iter().rposition(|&byte| byte == b' ')?;
        let bytes = usize::try_from(number(&head[space + 1..])?).ok()?;
        let (found, behind) = rest.split_at_checked(bytes)?;
        if &head[..space] == name.as_bytes() {
            return Some(found);
        }
        saved = behind;
    }
}

/// The file without which an object cannot be sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read /{}", self.0)
    }
}

type Sampled = Result<(), Unreadable>;

/// The host's files, most of them kept open between samples, and what they say.
#[derive(Debug)]
pub struct Host {
    files: Files,
    stat: Reading<Processors>,
    meminfo: Reading<Option<Meminfo>>,
    vmstat: Reading<Option<Paging>>,
    uptime: Reading<Option<u64>>,
    diskstats: Reading<Disks>,
    mountinfo: Reading<Volumes>,
    net_dev: Reading<Vec<Interface>>,
    interfaces: Interfaces,
    processes: Processes,
    caption: Option<Vec<u8>>,
}

impl Host {
    /// The host whose files are below `root`: `/`, or a tree made for a test. Reads nothing yet.
    pub fn new(root: &Path) -> Host {
        Host {
            files: Files::new(root.into()),
            stat: Reading::new("proc/stat", Processors::parse),
            meminfo: Reading::new("proc/meminfo", |meminfo, bytes| *meminfo = Meminfo::parse(bytes)),
            vmstat: Reading::new("proc/vmstat", |paging, bytes| *paging = Paging::parse(bytes)),
            uptime: Reading::new("proc/uptime", |uptime_s, bytes| *uptime_s = system::uptime_s(bytes)),
            diskstats: Reading::new("proc/diskstats", Disks::parse),
            mountinfo: Reading::watched("proc/self/mountinfo", Volumes::parse),
            net_dev: Reading::new("proc/net/dev", |interfaces, bytes| {
                interfaces.clear();
                interfaces.extend(network::parse(bytes).take(INTERFACES_MAX));
                interfaces.sort_unstable_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
            }),
            interfaces: Interfaces::default(),
            processes: Processes::default(),
            caption: None,
        }
    }

    /// Samples the window's object at `now_ms` (monotonic) and hands its instances to `sink`. Samples of one `now_ms` share
    /// what was read, save the files of processes. Fails, without an instance, if the object's own file cannot be read.
    pub fn sample(&mut self, now_ms: u64, window: &mut Window, sink: &mut dyn Sink) -> Result<(), Unreadable> {
        match window.object {
            Object::Processor => self.sample_processor(now_ms, window, sink),
            Object::Memory => self.sample_memory(now_ms, window, sink),
            Object::LogicalDisk => self.sample_logical_disk(now_ms, window, sink),
            Object::PhysicalDisk => self.sample_physical_disk(now_ms, window, sink),
            Object::Network => self.sample_network(now_ms, sink),
            Object::System => self.sample_system(now_ms, sink),
            Object::Process => self.sample_process(now_ms, window, sink),
        }
    }

    /// Lets go of the child process that asks file systems, if there is one and it is done or takes too long. Samples do so too: for
    /// when none may come soon.
    pub fn tidy(&mut self, now_ms: u64) {
        self.mountinfo.last().tidy(now_ms);
    }

    /// Gives back the memory that only a sample needs.
    pub fn give_back(&mut self) {
        self.files.give_back();
    }

    /// Adds the counters that rates are made of as they are now, for [`Window::recall`] in a later process.
    pub fn save(&mut self, saved: &mut Vec<u8>) {
        for path in SAVED {
            if let Some(bytes) = self.files.read_once(path) {
                add_section(saved, path, bytes);
            }
        }
    }

    fn sample_processor(&mut self, now_ms: u64, window: &mut Window, sink: &mut dyn Sink) -> Sampled {
        let now = self.stat.at(now_ms, &mut self.files).ok_or(Unreadable("proc/stat"))?;
        processor::sample(&window.processors, now, window.options, sink);
        window.processors.copy(now);
        Ok(())
    }

    fn sample_memory(&mut self, now_ms: u64, window: &mut Window, sink: &mut dyn Sink) -> Sampled {
        let meminfo = self.meminfo.at(now_ms, &mut self.files).and_then(|meminfo| *meminfo);
        let meminfo = meminfo.ok_or(Unreadable("proc/meminfo"))?;
        let paging = self.vmstat.at(now_ms, &mut self.files).and_then(|paging| *paging);
        let both = window.paging.zip(paging).map(|(before, now)| (before, now, window.elapsed_ms(now_ms)));
        memory::sample(&meminfo, both, window.options, sink);
        if paging.is_some() {
            (window.paging, window.began_ms) = (paging, Some(now_ms));
        }
        Ok(())
    }

    fn sample_logical_disk(&mut self, now_ms: u64, window: &mut Window, sink: &mut dyn Sink) -> Sampled {
        let volumes = self.mountinfo.at(now_ms, &mut self.files).ok_or(Unreadable("proc/self/mountinfo"))?;
        let disks = self.diskstats.at(now_ms, &mut self.files);
        volumes.settle(now_ms, &self.files.root, disks.as_deref().unwrap_or(&Disks::default()));
        let elapsed_ms = window.elapsed_ms(now_ms);
        let volumes = volumes.spaces(now_ms).map(|(mount, space)| {
            let done = disks.as_ref().and_then(|disks| disks.since(&window.disks, mount.device));
            Volume { point: &mount.point, first: mount.first, space, done }
        });
        logical_disk::sample(volumes, elapsed_ms, window.options, sink);
        if let Some(disks) = disks {
            window.keep_disks(now_ms, disks);
        }
        Ok(())
    }

    fn sample_physical_disk(&mut self, now_ms: u64, window: &mut Window, sink: &mut dyn Sink) -> Sampled {
        let volumes = self.mountinfo.at(now_ms, &mut self.files).ok_or(Unreadable("proc/self/mountinfo"))?;
        let disks = self.diskstats.at(now_ms, &mut self.files).ok_or(Unreadable("proc/diskstats"))?;
        volumes.settle(now_ms, &self.files.root, disks);
        let done = volumes
            .disks
            .iter()
            .filter_map(|&device| Some((disks.find(device)?.name, disks.since(&window.disks, device)?)));
        physical_disk::sample(done, window.elapsed_ms(now_ms), window.options, sink);
        window.keep_disks(now_ms, disks);
        Ok(())
    }

    fn sample_network(&mut self, now_ms: u64, sink: &mut dyn Sink) -> Sampled {
        let all = self.net_dev.at(now_ms, &mut self.files).ok_or(Unreadable("proc/net/dev"))?;
        self.interfaces.update(all, &self.files.root);
        for interface in self.interfaces.listed.iter().filter_map(|name| find(all, name)) {
            network::sample(interface, sink);
        }
        Ok(())
    }

    fn sample_system(&mut self, now_ms: u64, sink: &mut dyn Sink) -> Sampled {
        let uptime_s = self.uptime.at(now_ms, &mut self.files).and_then(|uptime_s| *uptime_s);
        let users = self.files.read_once("var/run/utmp").map(system::users);
        let processes = self.processes.count(now_ms, &self.files.root).ok();
        let meminfo = self.meminfo.at(now_ms, &mut self.files).and_then(|meminfo| *meminfo);
        let caption = self.caption.get_or_insert_with(|| caption(&mut self.files));
        system::sample(caption, System { users, processes, uptime_s }, meminfo.as_ref(), sink);
        Ok(())
    }

    fn sample_process(&mut self, now_ms: u64, window: &mut Window, sink: &mut dyn Sink) -> Sampled {
        self.processes.list(now_ms, &self.files.root).map_err(|_| Unreadable("proc"))?;
        self.processes.sample(now_ms, window, &self.files.root, sink);
        Ok(())
    }
}

fn caption(files: &mut Files) -> Vec<u8> {
    let mut read = |path| files.read_once(path).map(<[u8]>::to_vec);
    let os_release = read("etc/os-release").or_else(|| read("usr/lib/os-release"));
    system::caption(read("etc/redhat-release").as_deref(), os_release.as_deref(), &sys::host::machine())
}

/// Which interfaces are listed: those of hardware that were up once, until they are gone.
#[derive(Debug, Default)]
struct Interfaces {
    /// In the order in which they came.
    listed: Vec<Name>,
    /// Those that never will be, by name.
    left_out: Vec<Name>,
}

impl Interfaces {
    /// `all`: what there is now, by name.
    fn update(&mut self, all: &[Interface], root: &Path) {
        self.listed.retain(|name| find(all, name).is_some());
        self.left_out.retain(|name| find(all, name).is_some());
        for Interface { name, .. } in all {
            let Err(place) = self.left_out.binary_search_by(|known| known.as_bytes().cmp(name.as_bytes())) else {
                continue;
            };
            if self.listed.contains(name) {
                continue;
            }
            match kind(name, root) {
                Kind::Up => self.listed.push(*name),
                Kind::NotYetUp => {}
                Kind::Virtual => self.left_out.insert(place, *name),
            }
        }
    }
}

fn find<'a>(all: &'a [Interface], name: &Name) -> Option<&'a Interface> {
    let place = all.binary_search_by(|interface| interface.name.as_bytes().cmp(name.as_bytes()));
    place.ok().map(|place| &all[place])
}

enum Kind {
    Up,
    NotYetUp,
    /// Traffic of these goes through others, or nowhere.
    Virtual,
}

/// Source: sysfs' `class/net/NAME/flags`, netdevice(7). Where there is no sysfs, all but `lo` are taken for hardware.
fn kind(name: &Name, root: &Path) -> Kind {
    const IFF_UP: u64 = 1;
    const IFF_LOOPBACK: u64 = 8;
    let below = |directory: &str| root.join(directory).join(OsStr::from_bytes(name.as_bytes()));
    let flags = fs::read(below("sys/class/net").join("flags")).ok().and_then(|flags| hexadecimal(&flags));
    match flags {
        _ if below("sys/devices/virtual/net").symlink_metadata().is_ok() => Kind::Virtual,
        Some(flags) if flags & IFF_LOOPBACK != 0 => Kind::Virtual,
        Some(flags) if flags & IFF_UP != 0 => Kind::Up,
        None if name.as_bytes() == b"lo" => Kind::Virtual,
        None if !root.join("sys/class/net").exists() => Kind::Up,
        _ => Kind::NotYetUp,
    }
}

fn hexadecimal(text: &[u8]) -> Option<u64> {
    let digits = core::str::from_utf8(text).ok()?.trim().strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

/// The processes that there are.
#[derive(Debug, Default)]
struct Processes {
    directory: Option<File>,
    listed_ms: Option<u64>,
    count: u64,
    /// What the directory has of links beside one for each process; `None` if that is not how it counts them.
    other_links: Option<u64>,
    pids: Vec<u32>,
    /// What they have spent by now: the window's next memory, while it is made.
    spent: Vec<Spent>,
    path: Vec<u8>,
}

impl Processes {
    /// How many there are at `now_ms`. Fails as reading a directory does. Listing them takes most of the time of a sample, so the links
    /// of /proc are counted where listings agree with them: not in a container, whose /proc counts the processes of the whole host, nor
    /// where we may not see all.
    fn count(&mut self, now_ms: u64, root: &Path) -> io::Result<u64> {
        let listed_ms = self.listed_ms.unwrap_or(now_ms);
        let is_recent = (1..PROC_TRUSTED_MS).contains(&now_ms.saturating_sub(listed_ms));
        match (&self.directory, self.other_links.filter(|_| is_recent)) {
            (Some(directory), Some(others)) => Ok(directory.metadata()?.nlink().saturating_sub(others)),
            _ => {
                self.list(now_ms, root)?;
                Ok(self.count)
            }
        }
    }

    fn list(&mut self, now_ms: u64, root: &Path) -> io::Result<()> {
        if self.listed_ms == Some(now_ms) {
            return Ok(());
        }
        let directory = match self.directory.take() {
            Some(directory) => directory,
            None => File::open(root.join("proc"))?,
        };
        (self.count, self.listed_ms) = (0, None);
        self.pids.clear();
        let mut others = 0;
        sys::filesystem::each_entry(&directory, |name, is_directory| {
            if let Some(pid) = number(name).and_then(|pid| u32::try_from(pid).ok()) {
                self.count += 1;
                if self.pids.len() < PROCESSES_MAX {
                    self.pids.push(pid);
                }
            } else if is_directory {
                others += 1;
            }
        })?;
        self.pids.sort_unstable();
        self.other_links = (directory.metadata()?.nlink() == self.count + others).then_some(others);
        self.listed_ms = Some(now_ms);
        self.directory = Some(directory);
        Ok(())
    }

    /// Those that are listed, by number. One that ends meanwhile, or that we may not look at, is left out.
    fn sample(&mut self, now_ms: u64, window: &mut Window, root: &Path, sink: &mut dyn Sink) {
        let page_bytes = sys::memory::page_bytes() as u64;
        let elapsed_ms = window.elapsed_ms(now_ms);
        let (mut stat, mut statm) = ([0; 1024], [0; 256]);
        self.spent.clear();
        for &pid in &self.pids {
            let path = &mut self.path;
            let Ok(stat) = read_small(path, root, pid, "stat", &mut stat) else { continue };
            let Ok(statm) = read_small(path, root, pid, "statm", &mut statm) else { continue };
            let Some(process) = Process::parse(pid, stat, statm) else { continue };
            let before = window.processes.binary_search_by_key(&pid, |spent| spent.pid).ok();
            let before = before.map(|index| (&window.processes[index], elapsed_ms));
            process::sample(&process, before, page_bytes, window.options, sink);
            self.spent.push(process.spent);
        }
        core::mem::swap(&mut window.processes, &mut self.spent);
        window.began_ms = Some(now_ms);
    }
}

/// The start of a process's file, in one read.
fn read_small<'a>(path: &mut Vec<u8>, root: &Path, pid: u32, name: &str, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    path.clear();
    path.extend_from_slice(root.as_os_str().as_bytes());
    write!(path, "/proc/{pid}/{name}")?;
    let count = File::open(OsStr::from_bytes(path))?.read(buffer)?;
    Ok(&buffer[..count])
}

#[cfg(test)]
mod tests;
