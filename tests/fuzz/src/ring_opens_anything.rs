//! Whatever a ring file holds, opening it ends, within bounds of reading and of memory; what opens can be used, keeps its
//! accounts, and keeps what is put into it. Input: which file to begin with, changes to it (with checksums made good again, so that hostile
//! numbers get past them), the size asked for, then what is done with the ring.

use crate::input::Input;
use crate::memory::peak_bytes;
use omsd::limits::{APPEND_BUFFER_BYTES, READ_WINDOW_BYTES, STREAMS_MAX};
use omsd::ring::cursor::SLOT_BYTES;
use omsd::ring::frame::{Header, Seal, checksum, split};
use omsd::ring::layout::{DATA_OFFSET, FileHeader, HEADER_BYTES, HEADER_OFFSETS, Parsed, SLOT_OFFSETS};
use omsd::ring::{Fault, OpenError, Place, Ring, Storage, flow, inspect};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::OnceLock;

/// What changes are made of: their first bytes, and numbers at the edges.
pub const WORDS: &[&[u8]] = &[
    b"\x80\x00\x00\x30\x08",
    b"\x81\x00\x00\x10\x00\x00\x00\x00\x00\x00",
    b"\x82\x00\x20\x00",
    b"\x82\x01\x30\x00",
    b"\x82\x00\x80\x00",
    b"\x82\x01\x88\x00",
    b"\x83\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00\x00\x10\x00",
    b"\x84\x00\x31",
    b"\x85\x00\x30\x00\x31\x80\x00",
    b"\x86\x00\x30\x00\x04",
    b"\0\0\0\0\0\0\0\x40",
    b"\xff\xff\xff\xff\xff\xff\xff\x3f",
    b"\0\0\0\0\0\x40\0\0",
    b"\0\0\0\0\x10\0\0\0",
];

/// A small disk: claims beyond it fail as on a full one.
const DISK_BYTES: usize = 1 << 20;
/// Rings that are asked for. The smallest is what a file can be at all.
const SIZES: [u64; 5] = [16 * 1024, 16 * 1024 + 4, 12_544, 64 * 1024, 300_000];
const SALT: u64 = 0x1234_5678_9abc_0000;
const NOW_US: u64 = 1_782_993_600_000_000;

/// See the head of this file.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (bytes, forged) = file(&mut input);
    let disk = Disk::new(bytes);
    let ((), held) = peak_bytes(|| check_look(&disk));
    assert!(held <= 3 * READ_WINDOW_BYTES, "looking at it holds {held} bytes");
    let size = input.pick(&SIZES);
    let mut place = Directory { current: Some(disk), fresh: None };
    let (opened, held) = peak_bytes(|| open(&mut place, size));
    assert!(held <= DISK_BYTES + 2 * APPEND_BUFFER_BYTES + 3 * READ_WINDOW_BYTES, "opening it holds {held} bytes");
    let Some(mut ring) = opened else { return };
    check_accounts(&ring);
    let kept = use_it(&mut ring, &mut input);
    drop(ring);
    let Some(mut ring) = open(&mut place, size) else {
        assert!(forged, "it opened before");
        return;
    };
    check_accounts(&ring);
    if forged {
        return;
    }
    if let Some(kept) = kept {
        let place = ring.accounts().iter().position(|account| account.in_use).expect("one was attached");
        assert_eq!(drain(&mut ring, flow(place, kept.stream)).last(), Some(&kept), "what was synced last is there");
        check_accounts(&ring);
    }
}

fn open(place: &mut Directory, size: u64) -> Option<Ring<Disk>> {
    if let Some(disk) = &place.current {
        disk.allow_reading();
    }
    match Ring::open(place, size, SALT ^ 0xffff, NOW_US) {
        Ok((ring, _)) => Some(ring),
        Err(error) => {
            assert!(!error.to_string().is_empty() && error != OpenError::Blank && error != OpenError::TooSmall(size));
            None
        }
    }
}

/// `omsd ring list`, `dump` and `verify`.
fn check_look(disk: &Disk) {
    disk.allow_reading();
    let Ok(look) = inspect::look(disk) else { return };
    let mut text = String::new();
    look.write_to(&mut text, |_| "stream").expect("writing to a String cannot fail");
    look.problems().iter().for_each(|problem| assert!(!problem.to_string().is_empty()));
    let mut frames = 0;
    let mut sequence = 0;
    disk.allow_reading();
    let dumped = inspect::dump(disk, |shown| {
        assert!(shown.at.sequence > sequence, "oldest first, each once");
        assert_eq!(shown.payload.len(), shown.header.length as usize);
        sequence = shown.at.sequence;
        frames += 1;
        true
    });
    assert_eq!((dumped, frames), (Ok(()), look.recovered.frames), "what is counted is shown");
}

/// received = sent + pending + every kind of loss, for each stream.
fn check_accounts(ring: &Ring<Disk>) {
    for flow in 0..flows(ring) {
        let counters = ring.stream(flow).expect("a flow").counters;
        let pending = ring.pending(flow).records;
        assert_eq!(counters.received, counters.settled().saturating_add(pending), "flow {flow}: {counters:?}");
    }
    assert!(ring.free_bytes() <= ring.data_bytes());
    assert!(ring.tail().position <= ring.head().position && ring.tail().sequence <= ring.head().sequence);
}

fn flows(ring: &Ring<Disk>) -> u8 {
    (ring.accounts().len() * STREAMS_MAX) as u8
}

#[derive(Debug, PartialEq, Eq)]
struct Kept {
    stream: u8,
    sequence: u64,
    payload: Vec<u8>,
}

/// Appends, reads and settles as the input says; returns the record that was synced last.
fn use_it(ring: &mut Ring<Disk>, input: &mut Input<'_>) -> Option<Kept> {
    let mut piece = Vec::new();
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let stream = input.byte();
        match input.byte() % 9 {
            8 => {
                let names = ["one", "two", "three", "four"];
                let names = &names[usize::from(stream % 4)..];
                let places = ring.attach(names, NOW_US).places;
                assert_eq!(places.len(), names.len(), "each has a place");
            }
            0..=2 => {
                let payload = vec![b'p'; input.short() % 9000];
                let _ = ring.append(stream % 9, stream, NOW_US, &[&payload]);
            }
            3 => ring.commit().expect("the disk has room"),
            4 => ring.sync().expect("the disk has room"),
            5 => {
                ring.begin_chunk(stream % 33, input.number(), u64::from(input.byte()));
            }
            6 => {
                piece.clear();
                let bytes_max = input.short();
                ring.next_piece(stream % 33, &mut piece, bytes_max).expect("the disk can be read");
            }
            _ => settle(ring, stream),
        }
    }
    (0..flows(ring)).for_each(|flow| ring.put_back(flow));
    ring.attach(&["one"], NOW_US);
    assert!(ring.accounts().iter().filter(|account| account.in_use).count() == 1);
    check_accounts(ring);
    let kept = Kept { stream: 2, payload: b"\0<13>kept".to_vec(), sequence: ring.head().sequence };
    let sequence = ring.append(kept.stream, 0, NOW_US, &[&kept.payload]).expect("it is small");
    assert_eq!(sequence, kept.sequence);
    ring.sync().expect("the disk has room");
    Some(kept)
}

fn settle(ring: &mut Ring<Disk>, stream: u8) {
    let index = stream % 33;
    match stream / 33 % 4 {
        0 => ring.acknowledge(index),
        1 => ring.refuse(index),
        2 => ring.discard(index),
        _ => {
            ring.put_back(index);
            Ok(())
        }
    }
    .expect("the disk has room");
}

/// Everything that is pending in a stream, acknowledged.
fn drain(ring: &mut Ring<Disk>, stream: u8) -> Vec<Kept> {
    let mut found = Vec::new();
    let mut piece = Vec::new();
    while ring.begin_chunk(stream, u64::MAX, u64::MAX) {
        while !ring.next_piece(stream, &mut piece, 4096).expect("the disk can be read").done {
            take_apart(&mut piece, &mut found);
        }
        take_apart(&mut piece, &mut found);
        ring.acknowledge(stream).expect("the disk has room");
    }
    assert_eq!(ring.pending(stream).records, 0);
    found
}

fn take_apart(piece: &mut Vec<u8>, found: &mut Vec<Kept>) {
    let mut rest = &piece[..];
    while let Some((header, payload, after)) = split(rest) {
        found.push(Kept { stream: header.stream, sequence: header.sequence, payload: payload.to_vec() });
        rest = after;
    }
    assert!(rest.is_empty(), "pieces are whole frames");
    piece.clear();
}

/// A file as the input says: one of a few rings, or the input itself, and changes. `true`: no damage makes such a file. Frames with good
/// checksums that this ring never wrote may lie under others and come to light when these are overwritten; forged slots may deny what is
/// there; lures end the search for it early. Then only the bounds and the accounts hold.
fn file(input: &mut Input<'_>) -> (Vec<u8>, bool) {
    let bases = bases();
    let base = usize::from(input.byte());
    let Some(base) = bases.get(base % (bases.len() + 1)) else {
        return (input.rest().to_vec(), false);
    };
    let mut bytes = base.clone();
    let mut forged = false;
    for _ in 0..input.byte() % 16 {
        let kind = input.byte() % 8;
        forged |= [FORGE_SLOT, FORGE_FRAME, LURE].contains(&kind);
        change(&mut bytes, kind, input);
    }
    (bytes, forged)
}

/// The change of a number in a slot, whose checksum is made good again.
const FORGE_SLOT: u8 = 2;
/// The change that puts in a frame of the input's own.
const FORGE_FRAME: u8 = 3;
/// The change that puts in many headers that look like frames and are none: each costs a checksum before that is known.
const LURE: u8 = 7;

fn change(bytes: &mut Vec<u8>, kind: u8, input: &mut Input<'_>) {
    match kind {
        0 => {
            let (at, count) = (input.short(), usize::from(input.byte() % 32));
            write(bytes, at, input.take(count));
        }
        1 => {
            let which = usize::from(input.byte() % 3);
            let header = FileHeader { file_bytes: input.number(), salt: input.number(), created_us: input.number() };
            HEADER_OFFSETS.iter().skip(which % 2).for_each(|&at| write(bytes, at as usize, &header.encode()));
        }
        FORGE_SLOT => {
            let (slot, at) = (SLOT_OFFSETS[usize::from(input.byte() % 2)] as usize, input.short() % SLOT_BYTES / 8 * 8);
            write(bytes, slot + at, &input.number().to_le_bytes());
            sign_slot(bytes, slot);
        }
        FORGE_FRAME => {
            let at = DATA_OFFSET as usize + input.short() / 8 * 8;
            let header = Header {
                stream: input.byte(),
                flags: input.byte(),
                sequence: input.number(),
                length: u32::from(input.byte()),
                received_us: NOW_US,
            };
            let mut frame = Vec::new();
            let payload = vec![input.byte(); header.length as usize];
            Seal::new(salt(bytes)).encode(&mut frame, at as u64, &header, &[&payload]);
            write(bytes, at, &frame);
        }
        4 => bytes.truncate(input.short()),
        5 => {
            let (from, to, count) = (input.short(), input.short(), usize::from(input.byte()) * 16);
            let piece = bytes.get(from..).map(|rest| rest[..count.min(rest.len())].to_vec()).unwrap_or_default();
            write(bytes, to, &piece);
        }
        6 => {
            let (at, count) = (input.short(), usize::from(input.byte()) * 64);
            write(bytes, at, &vec![0; count]);
        }
        _ => {
            let (at, length, count) = (input.short(), input.short(), usize::from(input.byte()) * 4);
            let mut lure = salt(bytes).to_le_bytes()[..2].to_vec();
            lure.extend_from_slice(&[0, 0, length.to_le_bytes()[0], length.to_le_bytes()[1], 0, 0]);
            write(bytes, DATA_OFFSET as usize + at / 8 * 8, &lure.repeat(count));
        }
    }
}

/// Writes; what lies beyond the small disk is left out.
fn write(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let end = (at + piece.len()).min(DISK_BYTES / 4);
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if at < end {
        bytes[at..end].copy_from_slice(&piece[..end - at]);
    }
}

/// Makes a slot's checksum good. Source: the format document of the ring.
fn sign_slot(bytes: &mut [u8], slot: usize) {
    const CRC: usize = 124;
    const FLOWS: usize = 384;
    let count = bytes.get(slot + 80).copied().map_or(0, usize::from);
    if let Some(slot) = bytes.get_mut(slot..slot + (FLOWS + count * 232).min(SLOT_BYTES)) {
        let crc = checksum(&[&slot[..CRC], &slot[CRC + 4..]]);
        slot[CRC..CRC + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

fn salt(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<HEADER_BYTES>().map(FileHeader::parse) {
        Some(Parsed::Good(header)) => header.salt,
        _ => SALT,
    }
}

/// Rings as they are found on real hosts: new, in use, full and overwritten, stopped between write and sync, larger than asked for.
fn bases() -> &'static [Vec<u8>] {
    static BASES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    BASES.get_or_init(|| {
        vec![
            ring_of(SIZES[0], 0, 0),
            ring_of(SIZES[0], 9, 3),
            ring_of(SIZES[0], 60, 10),
            ring_of(SIZES[0], 61, 0),
            ring_of(40_000, 300, 5),
        ]
    })
}

/// A ring with so many records appended, and some acknowledged. An odd number of records leaves the last one unsynced.
fn ring_of(size: u64, records: u64, acknowledged: u64) -> Vec<u8> {
    let mut place = Directory { current: None, fresh: None };
    let (mut ring, _) = Ring::open(&mut place, size, SALT, NOW_US).expect("a new ring");
    for number in 0..records {
        let text = format!("\0<13>Jul  2 12:00:00 host app[{number}]: {}", "text ".repeat(number as usize % 40));
        ring.append((number % 3) as u8, (number % 2) as u8, NOW_US + number, &[text.as_bytes()]).expect("it fits");
        ring.commit().expect("the disk has room");
        if number + 1 == acknowledged && ring.begin_chunk(0, u64::MAX, 3) {
            while !ring.next_piece(0, &mut Vec::new(), 4096).expect("the disk can be read").done {}
            ring.acknowledge(0).expect("the disk has room");
        }
        if number % 7 == 3 || number + 1 == records && number % 2 == 1 {
            ring.sync().expect("the disk has room");
        }
    }
    drop(ring);
    place.current.map(|disk| disk.bytes.borrow().clone()).unwrap_or_default()
}

/// A file in memory that counts what is read of it.
#[derive(Clone)]
struct Disk {
    bytes: Rc<RefCell<Vec<u8>>>,
    may_read_bytes: Rc<Cell<u64>>,
}

impl Disk {
    fn new(bytes: Vec<u8>) -> Disk {
        Disk { bytes: Rc::new(RefCell::new(bytes)), may_read_bytes: Rc::new(Cell::new(u64::MAX)) }
    }

    /// From here on, reading more than the file's size justifies is a failure: the walk may waste 32 times the ring, twice, and
    /// the largest header of a file that was cut short is that of [`DISK_BYTES`].
    fn allow_reading(&self) {
        let size = self.bytes.borrow().len().max(DISK_BYTES / 8) + READ_WINDOW_BYTES;
        self.may_read_bytes.set(100 * size as u64);
    }
}

impl Storage for Disk {
    fn file_bytes(&self) -> Result<u64, Fault> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let left = self.may_read_bytes.get().checked_sub(bytes.len() as u64);
        self.may_read_bytes.set(left.expect("reading is bounded by the file's size"));
        let file = self.bytes.borrow();
        let there = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)).unwrap_or_default();
        let count = there.len().min(bytes.len());
        bytes[..count].copy_from_slice(&there[..count]);
        bytes[count..].fill(0);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut file = self.bytes.borrow_mut();
        let place = usize::try_from(offset).ok().and_then(|offset| file.get_mut(offset..offset + bytes.len()));
        place.expect("writes stay within the space claimed").copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn allocate(&mut self, bytes: u64) -> Result<(), Fault> {
        let bytes = usize::try_from(bytes).ok().filter(|&bytes| bytes <= DISK_BYTES).ok_or(Fault::NO_SPACE)?;
        let mut file = self.bytes.borrow_mut();
        let bytes = bytes.max(file.len());
        file.resize(bytes, 0);
        Ok(())
    }
}

/// The ring file's name, and the one beside it.
struct Directory {
    current: Option<Disk>,
    fresh: Option<Disk>,
}

impl Place for Directory {
    type Storage = Disk;

    fn current(&mut self) -> Result<Option<Disk>, Fault> {
        Ok(self.current.clone())
    }

    fn fresh(&mut self) -> Result<Disk, Fault> {
        let disk = Disk::new(Vec::new());
        self.fresh = Some(disk.clone());
        Ok(disk)
    }

    fn adopt(&mut self) -> Result<(), Fault> {
        self.current = self.fresh.take();
        Ok(())
    }
}
