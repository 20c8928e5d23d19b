//! Files made to break the opener: random bytes, valid checksums over lies, marks everywhere. It never panics, never
//! loops, reads a bounded amount, and what it opens works.

use crate::every_write::{check_sum, pending};
use crate::random::{Random, Where, from_environment, seed};
use crate::storage::Disk;
use omsd::limits::{RING_BYTES_MAX, STREAMS_MAX};
use omsd::ring::cursor::{Account, Cursor};
use omsd::ring::frame::{Header, Seal};
use omsd::ring::layout::{DATA_OFFSET, FileHeader, HEADER_OFFSETS, Layout, SLOT_OFFSETS};
use omsd::ring::{Mark, Ring, flow, inspect};

const DATA: usize = 12288;
const _: () = assert!(DATA as u64 == DATA_OFFSET);

/// A file of which every part may be a lie, but a well-made one.
fn hostile(random: &mut Random) -> Vec<u8> {
    let file_bytes = DATA_OFFSET + random.within(256..4000);
    let salt = random.next();
    let mut bytes = vec![0; usize::try_from(file_bytes).unwrap()];
    fill_data(&mut bytes[DATA..], salt, random);
    for offset in SLOT_OFFSETS {
        if !random.one_in(4) {
            put(&mut bytes, offset, &slot(salt, file_bytes, random).encode());
        }
    }
    for offset in HEADER_OFFSETS {
        if !random.one_in(8) {
            put(&mut bytes, offset, &FileHeader { file_bytes, salt, created_us: random.next() }.encode());
        }
    }
    for _ in 0..random.below(4) {
        let at = random.index(bytes.len());
        bytes[at] = random.next().to_le_bytes()[0];
    }
    if random.one_in(6) {
        let length = random.index(bytes.len());
        bytes.truncate(length);
    }
    bytes
}

fn put(bytes: &mut [u8], offset: u64, part: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    bytes[offset..offset + part.len()].copy_from_slice(part);
}

fn fill_data(data: &mut [u8], salt: u64, random: &mut Random) {
    if random.one_in(3) {
        random.fill(data);
    }
    if random.one_in(3) {
        // Something that looks like a header at every step.
        for place in data.chunks_exact_mut(8) {
            place[..2].copy_from_slice(&salt.to_le_bytes()[..2]);
        }
    }
    let seal = Seal::new(salt);
    let mut at = 0;
    let mut sequence = number(random);
    while at < data.len() && !random.one_in(60) {
        let length = random.index(200);
        let header = Header {
            stream: random.next().to_le_bytes()[0] % 9,
            flags: random.next().to_le_bytes()[0],
            length: u32::try_from(length).unwrap(),
            sequence,
            received_us: random.next(),
        };
        let mut frame = Vec::new();
        seal.encode(&mut frame, DATA_OFFSET + at as u64, &header, &[&vec![7; length]]);
        let room = frame.len().min(data.len() - at);
        data[at..at + room].copy_from_slice(&frame[..room]);
        at += frame.len() + 8 * random.index(3);
        sequence = if random.one_in(6) { number(random) } else { sequence.saturating_add(random.below(3)) };
    }
}

/// Small, or next to where numbers end.
fn number(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => (1u64 << 62).wrapping_add(random.below(5)).wrapping_sub(3),
        1 => u64::MAX - random.below(3),
        2 => random.next(),
        _ => random.below(100),
    }
}

fn mark(random: &mut Random) -> Mark {
    Mark { position: number(random) / 8 * 8, sequence: number(random) }
}

fn slot(salt: u64, file_bytes: u64, random: &mut Random) -> Cursor {
    let mut cursor = Cursor::new(salt, file_bytes, 0);
    cursor.generation = number(random);
    cursor.tail = if random.one_in(3) { mark(random) } else { cursor.tail };
    let data_bytes = Layout::new(file_bytes).unwrap().data_bytes;
    let ahead = random.below(data_bytes / 8 + 1) * 8;
    cursor.head = Mark {
        position: cursor.tail.position.saturating_add(ahead),
        sequence: cursor.tail.sequence.saturating_add(random.below(50)),
    };
    cursor.lost_unattributed = number(random);
    for _ in 0..random.below(4) {
        let mut account = Account::new(cursor.head);
        (account.key, account.in_use) = (number(random), random.one_in(2));
        cursor.accounts.push(account);
    }
    for stream in cursor.accounts.iter_mut().flat_map(|account| &mut account.streams) {
        let sequence = random.below(cursor.head.sequence.saturating_add(2));
        stream.next = Mark { position: number(random), sequence };
        stream.handed_through = number(random);
        stream.counters.received = number(random);
        stream.counters.sent = number(random);
        stream.counters.overwritten = number(random);
        stream.counters.corrupt = number(random);
        stream.counters.sent_again = number(random);
        stream.reported.corrupt = number(random);
    }
    cursor
}

fn check(bytes: Vec<u8>, random: &mut Random) {
    let length = bytes.len() as u64;
    let disk = Disk::holding(bytes);
    let _ = inspect::look(&disk.file());
    let _ = inspect::dump(&disk.file(), |_| true);
    disk.0.borrow().bytes_read.set(0);
    let file_bytes =
        if random.one_in(3) { DATA_OFFSET + random.within(256..4000) } else { length.max(DATA_OFFSET + 256) };
    let Ok((mut ring, _)) = Ring::open(&mut disk.clone(), file_bytes, 1, 1) else { return };
    let read = disk.0.borrow().bytes_read.get();
    assert!(read < 3_000_000, "read {read} bytes of a file of {length}");
    for stream in (0u8..).take(STREAMS_MAX) {
        check_sum_unless_absurd(&ring, stream);
    }
    for number in 0..100 {
        ring.append(number % 4, 0, 2, &[b"life goes on, whatever the file said"]).unwrap();
        if number % 7 == 0 {
            ring.commit().unwrap();
        }
    }
    ring.sync().unwrap();
    let expected = ring.head();
    drop(ring);
    let (mut ring, _) = Ring::open(&mut disk.clone(), file_bytes, 1, 1).expect("a ring that worked opens again");
    assert_eq!(ring.head(), expected);
    assert!(!pending_of_sane(&mut ring).is_empty());
    check_attach(ring, random);
}

/// Whatever destinations a file speaks of, those that are named get their places, each its own, and records.
fn check_attach(mut ring: crate::every_write::SimRing, random: &mut Random) {
    let names = ["one", "two", "three", "four"];
    let names = &names[..1 + random.index(4)];
    let places = ring.attach(names, 2).places;
    assert!(places.len() == names.len() && places.iter().enumerate().all(|(at, place)| !places[..at].contains(place)));
    ring.append(0, 0, 2, &[b"for all of them"]).unwrap();
    ring.sync().unwrap();
    for place in places {
        assert!(ring.pending(flow(place, 0)).records > 0);
    }
}

/// Counters next to the end of numbers stay there instead of adding up.
fn check_sum_unless_absurd(ring: &crate::every_write::SimRing, stream: u8) {
    let counters = ring.stream(stream).unwrap().counters;
    if counters.settled() < 1 << 60 {
        check_sum(ring, stream);
    }
}

fn pending_of_sane(ring: &mut crate::every_write::SimRing) -> Vec<u64> {
    let sane = (0u8..8).all(|stream| ring.stream(stream).unwrap().counters.settled() < 1 << 60);
    if sane { pending(ring, STREAMS_MAX).into_keys().collect() } else { vec![0] }
}

#[test]
fn hostile_files_never_break_the_opener() {
    let files = from_environment("OMSD_HOSTILE_FILES").unwrap_or(20_000);
    let first = seed("hostile");
    for number in 0..files {
        let seed = first.wrapping_add(number);
        let context = Where(|| format!("OMSD_CRASH_SEED={seed}"));
        let mut random = Random::new(seed);
        let bytes = hostile(&mut random);
        check(bytes, &mut random);
        drop(context);
    }
}

#[test]
fn a_file_full_of_forged_headers_does_not_keep_the_opener_busy() {
    let file_bytes = DATA_OFFSET + 4 * 1024 * 1024;
    let salt = 0x0123_4567_89ab_cdef_u64;
    let mut bytes = vec![0; usize::try_from(file_bytes).unwrap()];
    for offset in HEADER_OFFSETS {
        put(&mut bytes, offset, &FileHeader { file_bytes, salt, created_us: 0 }.encode());
    }
    let mut forged = [1; 32];
    forged[..2].copy_from_slice(&salt.to_le_bytes()[..2]);
    forged[4..8].copy_from_slice(&60_000_u32.to_le_bytes());
    forged[8..16].copy_from_slice(&77_u64.to_le_bytes());
    for place in bytes[DATA..].chunks_mut(32) {
        place.copy_from_slice(&forged[..place.len()]);
    }
    let disk = Disk::holding(bytes);
    Ring::open(&mut disk.clone(), file_bytes, 1, 1).unwrap();
    let read = disk.0.borrow().bytes_read.get();
    assert!(read < 80 * file_bytes, "read {} times the file", read / file_bytes);
}

#[test]
fn a_file_that_says_it_is_large_neither_gets_the_space_nor_the_time() {
    let (salt, file_bytes, claimed) = (7, DATA_OFFSET + 4096, RING_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(file_bytes).unwrap()];
    for offset in HEADER_OFFSETS {
        put(&mut bytes, offset, &FileHeader { file_bytes: claimed, salt, created_us: 0 }.encode());
    }
    let mut cursor = Cursor::new(salt, claimed, 0);
    cursor.head.position = claimed / 2;
    put(&mut bytes, SLOT_OFFSETS[0], &cursor.encode());
    let disk = Disk::holding(bytes);
    Ring::open(&mut disk.clone(), file_bytes, 1, 1).unwrap();
    let world = disk.0.borrow();
    assert!(world.files.iter().all(|file| file.len() as u64 <= file_bytes));
    assert!(world.bytes_read.get() < 1_000_000, "read {} bytes", world.bytes_read.get());
}
