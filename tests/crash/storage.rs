//! A disk in memory. It logs every write, sync and rename; [`Crash`] says from the log what a crash may leave behind.
//!
//! What a power cut may do to a write that no sync followed: it landed; it did not; the first or the last sectors of it
//! did; its bytes, or one sector of them, are garbage; it landed before one that was made earlier. What it may not do:
//! change bytes that nothing wrote to since the last sync. A rename happens or does not.

use crate::random::Random;
use omsd::ring::layout::{FileHeader, Parsed};
use omsd::ring::{Fault, Place, Storage};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

pub const SECTOR: usize = 512;

/// Something the ring did to the disk.
#[derive(Debug, Clone)]
pub enum Event {
    Create { file: usize },
    Write { file: usize, offset: usize, bytes: Rc<[u8]> },
    Allocate { file: usize, length: usize },
    Sync { file: usize },
    Adopt { file: usize },
}

/// The machine's disk: two names, any number of files.
#[derive(Debug, Default)]
pub struct World {
    pub files: Vec<Vec<u8>>,
    pub ring: Option<usize>,
    fresh: Option<usize>,
    /// `None`: not recording.
    pub log: Option<Vec<Event>>,
    /// Every write, allocation and sync fails with this.
    pub broken: Option<Fault>,
    /// The same for reads.
    pub unreadable: Option<(Range<usize>, Fault)>,
    pub bytes_read: Cell<u64>,
    pub syncs: u64,
}

/// A handle to the world: the [`Place`] of its ring.
#[derive(Debug, Clone, Default)]
pub struct Disk(pub Rc<RefCell<World>>);

/// A handle to one file of the world.
#[derive(Debug)]
pub struct File {
    disk: Disk,
    file: usize,
}

impl Disk {
    pub fn recording() -> Disk {
        let disk = Disk::default();
        disk.0.borrow_mut().log = Some(Vec::new());
        disk
    }

    /// A disk whose ring file has these bytes.
    pub fn holding(bytes: Vec<u8>) -> Disk {
        let disk = Disk::default();
        disk.0.borrow_mut().files.push(bytes);
        disk.0.borrow_mut().ring = Some(0);
        disk
    }

    pub fn ring_bytes(&self) -> Vec<u8> {
        let world = self.0.borrow();
        world.files[world.ring.expect("there is a ring")].clone()
    }

    /// What the ring file's header says.
    pub fn header(&self) -> Option<FileHeader> {
        let world = self.0.borrow();
        match FileHeader::parse(world.files.get(world.ring?)?.first_chunk()?) {
            Parsed::Good(header) => Some(header),
            _ => None,
        }
    }

    pub fn file(&self) -> File {
        File { disk: self.clone(), file: self.0.borrow().ring.expect("there is a ring") }
    }

    pub fn events(&self) -> usize {
        self.0.borrow().log.as_ref().map_or(0, Vec::len)
    }

    fn record(&self, event: Event) {
        if let Some(log) = &mut self.0.borrow_mut().log {
            log.push(event);
        }
    }

    fn check(&self) -> Result<(), Fault> {
        self.0.borrow().broken.map_or(Ok(()), Err)
    }
}

impl Place for Disk {
    type Storage = File;

    fn current(&mut self) -> Result<Option<File>, Fault> {
        Ok(self.0.borrow().ring.map(|file| File { disk: self.clone(), file }))
    }

    fn fresh(&mut self) -> Result<File, Fault> {
        self.check()?;
        let file = self.0.borrow().files.len();
        self.0.borrow_mut().files.push(Vec::new());
        self.0.borrow_mut().fresh = Some(file);
        self.record(Event::Create { file });
        Ok(File { disk: self.clone(), file })
    }

    fn adopt(&mut self) -> Result<(), Fault> {
        self.check()?;
        let file = self.0.borrow_mut().fresh.take().expect("a fresh file");
        self.0.borrow_mut().ring = Some(file);
        self.record(Event::Adopt { file });
        Ok(())
    }
}

impl Storage for File {
    fn file_bytes(&self) -> Result<u64, Fault> {
        Ok(self.disk.0.borrow().files[self.file].len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let world = self.disk.0.borrow();
        let start = usize::try_from(offset).unwrap();
        if let Some((range, fault)) = &world.unreadable
            && start < range.end
            && range.start < start + bytes.len()
        {
            return Err(*fault);
        }
        world.bytes_read.set(world.bytes_read.get() + bytes.len() as u64);
        let file = &world.files[self.file];
        let there = file.len().saturating_sub(start).min(bytes.len());
        if there > 0 {
            bytes[..there].copy_from_slice(&file[start..start + there]);
        }
        bytes[there..].fill(0);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.disk.check()?;
        let offset = usize::try_from(offset).unwrap();
        put(&mut self.disk.0.borrow_mut().files[self.file], offset, bytes);
        if self.disk.0.borrow().log.is_some() {
            self.disk.record(Event::Write { file: self.file, offset, bytes: bytes.into() });
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.disk.check()?;
        self.disk.0.borrow_mut().syncs += 1;
        self.disk.record(Event::Sync { file: self.file });
        Ok(())
    }

    fn allocate(&mut self, bytes: u64) -> Result<(), Fault> {
        self.disk.check()?;
        let length = usize::try_from(bytes).unwrap();
        lengthen(&mut self.disk.0.borrow_mut().files[self.file], length);
        self.disk.record(Event::Allocate { file: self.file, length });
        Ok(())
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    lengthen(file, offset + bytes.len());
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn lengthen(file: &mut Vec<u8>, length: usize) {
    if file.len() < length {
        file.resize(length, 0);
    }
}

/// What became of one unsynced write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Landed,
    Dropped,
    /// Only so many of its sectors, from the first on.
    FirstSectors(usize),
    /// All but so many of its sectors, from the first on.
    LastSectors(usize),
    /// Random bytes from this seed.
    Garbage(u64),
    /// Random bytes in one of its sectors; landed otherwise.
    GarbageSector(usize, u64),
}

/// The unsynced writes in the order in which they reached the disk, each with its fate.
pub type Fates = Vec<(usize, Fate)>;

/// A log, played up to one event: what is safe, and what is not.
pub struct Crash<'a> {
    log: &'a [Event],
    at: usize,
    synced: Vec<Vec<u8>>,
    ring: Option<usize>,
    /// Events that no sync followed, up to the one at which the crash happens.
    unsynced: Vec<usize>,
}

impl<'a> Crash<'a> {
    pub fn before(log: &'a [Event]) -> Crash<'a> {
        Crash { log, at: 0, synced: Vec::new(), ring: None, unsynced: Vec::new() }
    }

    /// Goes one event further. Call at the end of the log is a mistake.
    pub fn advance(&mut self) {
        match &self.log[self.at] {
            Event::Create { .. } => self.synced.push(Vec::new()),
            Event::Write { .. } | Event::Allocate { .. } => self.unsynced.push(self.at),
            Event::Sync { file } => {
                let (mine, others) =
                    self.unsynced.iter().copied().partition::<Vec<_>, _>(|&event| self.file_of(event) == *file);
                for event in mine {
                    apply(&self.log[event], Fate::Landed, &mut self.synced);
                }
                self.unsynced = others;
            }
            Event::Adopt { file } => self.ring = Some(*file),
        }
        self.at += 1;
    }

    fn file_of(&self, event: usize) -> usize {
        match self.log[event] {
            Event::Create { file }
            | Event::Write { file, .. }
            | Event::Allocate { file, .. }
            | Event::Sync { file }
            | Event::Adopt { file } => file,
        }
    }

    /// Beginnings of the interrupted write that may be there after a kill, in sectors. The kernel takes a write page by
    /// page and looks for a fatal signal in between; header and slots lie in one page each. (Source:
    /// generic_perform_write() in Linux, mm/filemap.c. A sector stands for a page of the data area here, so that small
    /// rings see this, too.)
    pub fn kill_cuts(&self) -> Range<usize> {
        match self.interrupted().map(|event| (event, &self.log[event])) {
            Some((_, Event::Write { offset, .. })) if (*offset as u64) < omsd::ring::layout::DATA_OFFSET => 0..1,
            Some((event, _)) => 0..self.sectors(event),
            None => 0..0,
        }
    }

    /// The event that the crash interrupts, if it changes anything: it counts as an unsynced write.
    fn interrupted(&self) -> Option<usize> {
        matches!(self.log.get(self.at), Some(Event::Write { .. } | Event::Allocate { .. })).then_some(self.at)
    }

    /// The writes that a power cut may spoil.
    pub fn at_risk(&self) -> Vec<usize> {
        self.unsynced.iter().copied().chain(self.interrupted()).collect()
    }

    pub fn sectors(&self, event: usize) -> usize {
        match &self.log[event] {
            Event::Write { offset, bytes, .. } => cuts(*offset, bytes.len()).len() + 1,
            _ => 1,
        }
    }

    /// The name under which the ring is found: the present one, or the next if a rename is interrupted and happened.
    pub fn names(&self) -> Vec<Option<usize>> {
        match self.log.get(self.at) {
            Some(Event::Adopt { file }) => vec![self.ring, Some(*file)],
            _ => vec![self.ring],
        }
    }

    /// The disk after a crash.
    pub fn disk(&self, name: Option<usize>, fates: &Fates) -> Disk {
        let Some(ring) = name else { return Disk::default() };
        let mut files = vec![Vec::new(); self.synced.len()];
        files[ring] = self.synced[ring].clone();
        for &(event, fate) in fates {
            if self.file_of(event) == ring {
                apply(&self.log[event], fate, &mut files);
            }
        }
        Disk::holding(files.swap_remove(ring))
    }
}

/// Where sector boundaries cut a write: lengths of its beginnings.
fn cuts(offset: usize, length: usize) -> Vec<usize> {
    let first = SECTOR - offset % SECTOR;
    (first..length).step_by(SECTOR).collect()
}

fn apply(event: &Event, fate: Fate, files: &mut [Vec<u8>]) {
    match event {
        Event::Allocate { file, length } if fate != Fate::Dropped => lengthen(&mut files[*file], *length),
        Event::Write { file, offset, bytes } => {
            let cuts = cuts(*offset, bytes.len());
            let cut = |sectors: usize| {
                if sectors == 0 { 0 } else { cuts.get(sectors - 1).copied().unwrap_or(bytes.len()) }
            };
            let file = &mut files[*file];
            match fate {
                Fate::Landed => put(file, *offset, bytes),
                Fate::Dropped => {}
                Fate::FirstSectors(sectors) => put(file, *offset, &bytes[..cut(sectors)]),
                Fate::LastSectors(sectors) => put(file, *offset + cut(sectors), &bytes[cut(sectors)..]),
                Fate::Garbage(seed) => put(file, *offset, &garbled(bytes, 0..bytes.len(), seed)),
                Fate::GarbageSector(sector, seed) => {
                    put(file, *offset, &garbled(bytes, cut(sector)..cut(sector + 1), seed));
                }
            }
        }
        _ => {}
    }
}

fn garbled(bytes: &[u8], range: Range<usize>, seed: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    Random::new(seed).fill(&mut bytes[range]);
    bytes
}
